//! Text of the user's as a resource: YAML or JSON, from a file, from standard input, from an editor.

use std::io::Read as _;

use serde_json::{Map, Number, Value};

use super::fault::Fault;
use crate::wire::document::{Node, Value as Tree};
use crate::wire::flaw::Flaws;
use crate::wire::yaml;

/// Reads one object.
///
/// # Errors
/// What is wrong with it, with the line.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let value = read_any(text)?;
    if value.is_object() { Ok(value) } else { Err("it is no object with fields".to_owned()) }
}

/// Reads any value; JSON is YAML.
///
/// # Errors
/// As [`read`].
pub(super) fn read_any(text: &str) -> Result<Value, String> {
    let mut flaws = Flaws::default();
    let tree = yaml::parse(text, &mut flaws);
    if let Some(flaw) = flaws.into_vec().into_iter().next() {
        let hint = flaw.expected.map(|expected| format!("; expected {expected}")).unwrap_or_default();
        return Err(format!("{} (line {}, column {}){hint}", flaw.message, flaw.spot.line, flaw.spot.column));
    }
    tree.as_ref().map(value).ok_or_else(|| "it is empty".to_owned())
}

/// The text of a file; `-` is standard input.
///
/// # Errors
/// In the words of gcloud.
pub(super) fn text_of(path: &str) -> Result<String, Fault> {
    let text = if path == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|why| Fault::new(format!("Unable to read file [{path}]: {why}")))
}

fn value(node: &Node) -> Value {
    match &node.value {
        Tree::List(list) => list.iter().map(value).collect(),
        Tree::Object(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), value(&entry.node))).collect::<Map<_, _>>().into()
        }
        Tree::Scalar(scalar) if scalar.is_null() => Value::Null,
        Tree::Scalar(scalar) => scalar.flag().map(Value::from).unwrap_or_else(|| {
            let number = scalar.is_plain.then(|| number(&scalar.text)).flatten();
            number.map_or_else(|| Value::from(scalar.text.as_str()), Value::Number)
        }),
    }
}

fn number(text: &str) -> Option<Number> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || "-.+".contains(c))
        && text.contains(|c: char| c.is_ascii_digit());
    if is_number { text.parse().ok().and_then(Number::from_f64) } else { None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_are_read_as_what_they_say() {
        let text = "name: web\nid: '12'\ntimeoutSec: 30\nscaler: 0.0\non: yes\nflag: true\nnone:\nlist: [a, 1, {b: c}]\n\
                    date: 2026-01-01\nip: 127.0.0.1\n";
        let expected = json!({"name": "web", "id": "12", "timeoutSec": 30, "scaler": 0.0, "on": "yes", "flag": true,
            "none": null, "list": ["a", 1, {"b": "c"}], "date": "2026-01-01", "ip": "127.0.0.1"});
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read(&expected.to_string()).unwrap(), expected);
        assert!(read("a: [").unwrap_err().contains("line"));
        assert!(read("").is_err() && read("[1]").is_err());
    }
}
