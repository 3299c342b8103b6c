//! The configuration as text: collections in the order of a request's way, a line for what is short, and comments.

use super::input::Input;
use super::stock::Resource;
use crate::wire::document::{Entry, Node, Scalar, Value};
use crate::wire::read::COLLECTIONS;

/// Widest line that objects and lists are joined in.
const WIDTH: usize = 100;

/// The whole text. `zone` is where the proxy stands.
pub(super) fn text(resources: &[Resource], inputs: &[Input], zone: Option<&str>) -> String {
    let names: Vec<_> = inputs.iter().map(|input| clean(&input.name)).collect();
    let mut out = format!("# Made by `overspill import` from {}.\n", names.join(", "));
    if let Some(zone) = zone {
        out.push_str("\nproxy:\n  # Where this proxy stands: the nearest groups are filled first.\n");
        out.push_str(&format!("  zone: {}\n", word(zone, false)));
    }
    for collection in COLLECTIONS {
        let mut of = resources.iter().filter(|resource| resource.collection == *collection).peekable();
        if of.peek().is_some() {
            out.push_str(&format!("\n{collection}:\n"));
        }
        let mut from = "";
        for resource in of {
            if resource.from != from {
                out.push_str(&format!("  # From {}:\n", clean(&resource.from)));
                from = &resource.from;
            }
            item(&mut out, &resource.node, 2);
            for comment in &resource.comments {
                out.push_str(&format!("    # {}\n", clean(comment)));
            }
        }
    }
    out
}

/// One line of a comment.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}') { '?' } else { c })
        .collect()
}

/// An entry of a list; its dash stands `indent` columns in.
fn item(out: &mut String, node: &Node, indent: usize) {
    let blank = " ".repeat(indent);
    let is_top = indent == 2;
    if let Some(line) = line(node, indent + 2).filter(|_| !is_top) {
        out.push_str(&format!("{blank}- {line}\n"));
        return;
    }
    match &node.value {
        Value::Object(entries) if !entries.is_empty() => {
            for (index, entry) in entries.iter().enumerate() {
                out.push_str(&blank);
                out.push_str(if index == 0 { "- " } else { "  " });
                field(out, entry, indent + 2);
            }
        }
        Value::List(items) if !items.is_empty() => {
            out.push_str(&format!("{blank}-\n"));
            items.iter().for_each(|node| item(out, node, indent + 2));
        }
        Value::Scalar(scalar) => {
            out.push_str(&format!("{blank}-"));
            value(out, scalar, indent + 2);
        }
        Value::List(_) => out.push_str(&format!("{blank}- []\n")),
        Value::Object(_) => out.push_str(&format!("{blank}- {{}}\n")),
    }
}

/// A key with its value; the key stands `indent` columns in, where `out` already is.
fn field(out: &mut String, entry: &Entry, indent: usize) {
    let key = word(&entry.key, true);
    out.push_str(&format!("{key}:"));
    let is_list_of_objects = entry.node.items().len() > 1
        && entry.node.items().iter().any(|item| matches!(item.value, Value::Object(_)));
    let joined = line(&entry.node, indent + key.len() + 2).filter(|_| !is_list_of_objects);
    match (&entry.node.value, joined) {
        (Value::Scalar(scalar), _) => value(out, scalar, indent + 2),
        (_, Some(line)) => out.push_str(&format!(" {line}\n")),
        (Value::List(items), None) => {
            out.push('\n');
            items.iter().for_each(|node| item(out, node, indent + 2));
        }
        (Value::Object(entries), None) => {
            out.push('\n');
            for entry in entries {
                out.push_str(&" ".repeat(indent + 2));
                field(out, entry, indent + 2);
            }
        }
    }
}

/// A scalar behind its key or its dash.
fn value(out: &mut String, scalar: &Scalar, indent: usize) {
    let Some((header, lines)) = literal(&scalar.text).filter(|_| !scalar.is_plain) else {
        out.push_str(&format!(" {}\n", self::scalar(scalar, false)));
        return;
    };
    out.push_str(&format!(" {header}\n"));
    for line in lines {
        let blank = if line.is_empty() { String::new() } else { " ".repeat(indent) };
        out.push_str(&format!("{blank}{line}\n"));
    }
}

/// The value on one line, if it fits there behind `before` columns.
fn line(node: &Node, before: usize) -> Option<String> {
    let mut out = String::new();
    flow(node, WIDTH.checked_sub(before)?, &mut out).then_some(out)
}

/// Appends the value, until there is no room any more.
fn flow(node: &Node, room: usize, out: &mut String) -> bool {
    match &node.value {
        Value::Scalar(value) if literal(&value.text).is_some() => return false,
        Value::Scalar(value) => out.push_str(&scalar(value, true)),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                if !flow(item, room, out) {
                    return false;
                }
            }
            out.push(']');
        }
        Value::Object(entries) => {
            out.push('{');
            for (index, entry) in entries.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                out.push_str(&format!("{}: ", word(&entry.key, true)));
                if !flow(&entry.node, room, out) {
                    return false;
                }
            }
            out.push('}');
        }
    }
    out.len() <= room
}

/// A scalar on one line. Numbers and flags stay what they were, and so do strings that look like them.
fn scalar(scalar: &Scalar, is_inside: bool) -> String {
    let is_word = scalar.flag().is_some() || scalar.is_null();
    let is_number = scalar.number().is_some() || scalar.integer().is_some() || scalar.text.contains(".inf");
    if scalar.is_plain && (is_word || is_number) {
        return if scalar.is_null() { "null".to_owned() } else { scalar.text.clone() };
    }
    word(&scalar.text, is_inside)
}

/// A string, quoted where it could be read as something else.
fn word(text: &str, is_inside: bool) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.') || (!is_inside && c == ':');
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let lower = text.to_ascii_lowercase();
    let means_more =
        matches!(lower.as_str(), "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n");
    let is_address = text.parse::<std::net::Ipv4Addr>().is_ok();
    if is_address || (begins_well && text.chars().all(plain) && !text.ends_with(':') && !means_more) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// As in JSON, which YAML reads alike.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            c if c.is_alphanumeric() && !c.is_control() => out.push(c),
            c => match u32::from(c) {
                code @ 0..=0xffff => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    out.push('"');
    out
}

/// Header and lines of a block, for text of several lines such as certificates.
fn literal(text: &str) -> Option<(&'static str, Vec<&str>)> {
    let (header, body) = match text.strip_suffix('\n') {
        Some(body) => ("|", body),
        None => ("|-", text),
    };
    let is_odd = body.starts_with([' ', '\n'])
        || body.ends_with('\n')
        || body.is_empty()
        || body.split('\n').any(|line| line.ends_with(' '));
    let may_stand = |c: char| matches!(c, ' '..='~' | '\n');
    (text.contains('\n') && !is_odd && body.chars().all(may_stand))
        .then(|| (header, body.split('\n').collect()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::import::node;
    use crate::wire::flaw::Flaws;
    use crate::wire::yaml;

    fn written(text: &str) -> String {
        let node = yaml::parse(text, &mut Flaws::default()).unwrap();
        let resource = Resource::new("urlMaps", node, "f");
        self::super::text(&[resource], &[], None).split_once("urlMaps:\n").unwrap().1.to_owned()
    }

    #[test]
    fn short_values_stand_on_one_line_and_long_ones_do_not() {
        let long = "x".repeat(60);
        let text = format!(
            "{{name: a, short: {{b: [1, \"2\"]}}, long: [{long}, {long}], many: [{{a: 1}}, {{b: []}}]}}"
        );
        let expected = format!(
            "  # From f:\n  - name: a\n    short: {{b: [1, \"2\"]}}\n    long:\n      - {long}\n      - {long}\n    many:\n      - {{a: 1}}\n      - {{b: []}}\n"
        );
        assert_eq!(written(&text), expected);
    }

    #[test]
    fn what_is_written_means_what_it_meant() {
        for text in [
            "true",
            "\"true\"",
            "1.5",
            "\"1.5\"",
            "\"\"",
            "a: b",
            " a",
            "\"a\\nb\"",
            "\"a\\nb\\n\"",
            "\"\\n\"",
            "\" a\\nb\"",
            "-",
            "#",
            "\"\\u0085\\u2028\\U0001f600\"",
            "yes",
            "10.0.0.1",
            "::1",
            "a:",
            "http://h/p",
            "X-A:{b}",
            "0x1f",
            "\"0x1f\"",
        ] {
            for wrapped in [
                node::text(text),
                yaml::parse(&format!("k: {text}"), &mut Flaws::default()).unwrap_or_else(|| node::text(text)),
            ] {
                let inner = wrapped.get("k").cloned().unwrap_or(wrapped);
                let node = node::object(vec![
                    node::entry("k", inner.clone()),
                    node::entry("l", node::list(vec![inner.clone()])),
                ]);
                let mut out = String::new();
                item(&mut out, &node, 2);
                let back = yaml::parse(&out, &mut Flaws::default()).unwrap();
                let back = &back.items()[0];
                for there in [back.get("k").unwrap(), &back.get("l").unwrap().items()[0]] {
                    assert_eq!(there.text(), inner.text(), "{text:?} in {out:?}");
                }
            }
        }
    }
}
