//! YAML as gcloud prints it [G 10.8]: keys sorted, lists not indented, digits and dates in quotes where they are text,
//! floats with a point.
//!
//! Not left to a library: which strings it quotes, and how, differs from what gcloud's users compare with.

use serde_json::{Number, Value};

/// One document, with a newline at the end.
pub(super) fn document(value: &Value) -> String {
    let mut value = value.clone();
    with_floats(&mut value);
    let mut text = String::new();
    match &value {
        Value::Object(object) if !object.is_empty() => write(&value, 0, &mut text),
        Value::Array(list) if !list.is_empty() => write(&value, 0, &mut text),
        other => {
            text.push_str(&scalar(other, 0));
            text.push('\n');
        }
    }
    text
}

/// Fields of the API that are floats, whichever way JSON wrote them.
const FLOATS: &[&str] = &[
    "capacityScaler",
    "maxUtilization",
    "maxRatePerInstance",
    "maxRatePerEndpoint",
    "sampleRate",
    "failoverRatio",
    "percentage",
];

/// Gives the API's floats their point.
pub(super) fn with_floats(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                if FLOATS.contains(&key.as_str())
                    && let Some(number) = value.as_f64().and_then(Number::from_f64)
                {
                    *value = Value::Number(number);
                } else {
                    with_floats(value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(with_floats),
        _ => {}
    }
}

/// An object's or list's lines, each indented by `depth`.
fn write(value: &Value, depth: usize, out: &mut String) {
    let indent = " ".repeat(depth);
    match value {
        Value::Object(object) => {
            let mut keys: Vec<_> = object.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            for (key, value) in keys {
                out.push_str(&format!("{indent}{}:", plain_or_quoted(key, depth)));
                below(value, depth, out);
            }
        }
        Value::Array(list) => {
            for value in list {
                let mut entry = String::new();
                match value {
                    Value::Object(object) if !object.is_empty() => write(value, depth + 2, &mut entry),
                    Value::Array(list) if !list.is_empty() => write(value, depth + 2, &mut entry),
                    other => entry = format!("{indent}  {}\n", scalar(other, depth)),
                }
                // The first line of an entry stands behind its dash.
                out.push_str(&format!("{indent}- {}", entry.get(depth + 2..).unwrap_or_default()));
            }
        }
        _ => {}
    }
}

/// What stands behind a key's colon.
fn below(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            out.push('\n');
            write(value, depth + 2, out);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            write(value, depth, out);
        }
        other => out.push_str(&format!(" {}\n", scalar(other, depth))),
    }
}

fn scalar(value: &Value, depth: usize) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => plain_or_quoted(text, depth),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
    }
}

fn plain_or_quoted(text: &str, depth: usize) -> String {
    let is_block = text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && text.chars().all(|c| c == '\n' || !is_unprintable(c))
        && !text.lines().any(|line| line.ends_with(' '));
    if is_block {
        return block(text, depth);
    }
    if text.chars().any(is_unprintable) {
        return escaped(text);
    }
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

/// What a YAML text must not hold as it is.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
}

/// Between double quotes.
fn escaped(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_unprintable(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Lines as they are: certificates.
fn block(text: &str, depth: usize) -> String {
    let (mark, body) = match text.strip_suffix('\n') {
        None => ("|-", text),
        Some(body) if body.ends_with('\n') => ("|+", body),
        Some(body) => ("|", body),
    };
    let indent = " ".repeat(depth + 2);
    let line = |line: &str| if line.is_empty() { String::new() } else { format!("{indent}{line}") };
    let lines: Vec<String> = body.split('\n').map(line).collect();
    format!("{mark}\n{}", lines.join("\n"))
}

/// Whether no reader would take it for anything but this text.
fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let starts_well = !"-?:,[]{}#&*!|>'\"%@`= ~".contains(first)
        || (first == '-' || first == '?' || first == ':')
            && text.chars().nth(1).is_some_and(|c| !c.is_whitespace() && c != '-');
    starts_well
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !is_word_or_number(text)
}

/// Null, true, a number or a date, as YAML 1.1 or 1.2 has them.
fn is_word_or_number(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "<<") {
        return true;
    }
    let unsigned = lower.trim_start_matches(['+', '-']);
    let begins_as_number = unsigned.starts_with(|c: char| c.is_ascii_digit())
        || unsigned.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_number = begins_as_number
        && (unsigned.parse::<f64>().is_ok()
            || unsigned.chars().all(|c| c.is_ascii_digit() || "_:.".contains(c))
                && unsigned.matches('.').count() <= 1
            || unsigned.strip_prefix("0x").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_hexdigit()))
            || unsigned.strip_prefix("0o").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit())));
    is_number || matches!(unsigned, ".inf" | ".nan") || is_date(text)
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    digits(0..4) && bytes.get(4) == Some(&b'-') && digits(5..6)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_quoted_where_it_could_be_taken_for_something_else() {
        let value = json!({
            "id": "123", "creationTimestamp": "2026-05-01T10:00:00.000-07:00", "name": "web", "a": "", "b": "yes",
            "enable": true, "timeoutSec": 30, "capacityScaler": 0, "path": "/*", "star": "*.x", "note": "it's: so",
            "fingerprint": "3MAw_S_hHTE=", "ip": "127.0.0.1", "none": null, "list": [], "object": {}, "v6": "::1",
            "nested": [{"x": 1, "z": ["p", "q"]}, "s", [1]], "certificate": "A\nB\n",
        });
        let expected = "a: ''\nb: 'yes'\ncapacityScaler: 0.0\ncertificate: |\n  A\n  B\n\
                        creationTimestamp: '2026-05-01T10:00:00.000-07:00'\nenable: true\nfingerprint: 3MAw_S_hHTE=\n\
                        id: '123'\nip: 127.0.0.1\nlist: []\nname: web\nnested:\n- x: 1\n  z:\n  - p\n  - q\n- s\n- - 1\n\
                        none: null\nnote: 'it''s: so'\nobject: {}\npath: /*\nstar: '*.x'\ntimeoutSec: 30\nv6: ::1\n";
        assert_eq!(document(&value), expected);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same(text in ".{0,12}|[-?:,0-9.eExXoO+_# '\"|>\n]{0,10}", depth in 0_usize..3) {
            let mut value = json!({"k": [text.clone(), {"deep": text}]});
            for _ in 0..depth {
                value = json!([value, {"o": value}]);
            }
            let written = document(&value);
            let read: Value = serde_yaml::from_str(&written).unwrap();
            prop_assert_eq!(read, value, "{}", written);
        }
    }
}
