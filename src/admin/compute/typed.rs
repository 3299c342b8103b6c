//! A resource as JSON: what the file or a request says, typed as the field tables of `wire` have it.
//!
//! A file may write a number in quotes and a name without; the API has one form of each. Nothing is judged here: what
//! does not fit its table stays as it is written, and `check` of the whole document refuses it.

use serde_json::{Map, Number, Value as Json};

use crate::wire::document::{Entry, Node, Scalar, Value};
use crate::wire::flaw::Spot;
use crate::wire::schema::{Kind, Table};

/// The object as the API writes it. Nulls count as absent; output-only fields are left out.
pub(super) fn object(node: &Node, table: &Table) -> Json {
    let Value::Object(entries) = &node.value else { return untyped(node) };
    let typed = entries.iter().filter(|entry| !entry.node.is_null()).filter_map(|entry| {
        let value = match table.find(&entry.key).map(|field| &field.kind) {
            Some(Kind::OutputOnly) => return None,
            Some(kind) => value(&entry.node, kind),
            None => untyped(&entry.node),
        };
        Some((entry.key.clone(), value))
    });
    Json::Object(typed.collect())
}

fn value(node: &Node, kind: &Kind) -> Json {
    match (kind, &node.value) {
        (Kind::Object(table), Value::Object(_)) => object(node, table),
        (Kind::List(of, _), Value::List(items)) => items.iter().map(|item| value(item, of)).collect(),
        (Kind::Map(of), Value::Object(entries)) => Json::Object(
            entries.iter().map(|entry| (entry.key.clone(), value(&entry.node, of))).collect::<Map<_, _>>(),
        ),
        (Kind::WordOr(word, other), Value::Scalar(scalar)) if scalar.text != *word => value(node, other),
        (Kind::Flag, Value::Scalar(scalar)) => scalar.flag().map_or_else(|| text(scalar), Json::from),
        (Kind::Integer(..), Value::Scalar(scalar)) => {
            integer(scalar).or_else(|| whole(scalar)).unwrap_or_else(|| text(scalar))
        }
        (Kind::Number(..), Value::Scalar(scalar)) => number(scalar).unwrap_or_else(|| text(scalar)),
        (
            Kind::Name
            | Kind::Text(_)
            | Kind::Ports
            | Kind::Word(_)
            | Kind::WordOr(..)
            | Kind::LimitedNote(_),
            Value::Scalar(scalar),
        ) => text(scalar),
        (Kind::Note, _) => words(node),
        _ => untyped(node),
    }
}

/// Descriptions and labels: all words.
fn words(node: &Node) -> Json {
    match &node.value {
        Value::Scalar(scalar) => text(scalar),
        Value::List(items) => items.iter().map(words).collect(),
        Value::Object(entries) => Json::Object(
            entries.iter().map(|entry| (entry.key.clone(), words(&entry.node))).collect::<Map<_, _>>(),
        ),
    }
}

/// By the look of it, for what no table types.
fn untyped(node: &Node) -> Json {
    match &node.value {
        Value::Object(entries) => Json::Object(
            entries.iter().map(|entry| (entry.key.clone(), untyped(&entry.node))).collect::<Map<_, _>>(),
        ),
        Value::List(items) => items.iter().map(untyped).collect(),
        Value::Scalar(scalar) if scalar.is_null() => Json::Null,
        Value::Scalar(scalar) if scalar.is_plain => scalar
            .flag()
            .map(Json::from)
            .or_else(|| integer(scalar))
            .or_else(|| number(scalar))
            .unwrap_or_else(|| text(scalar)),
        Value::Scalar(scalar) => text(scalar),
    }
}

fn text(scalar: &Scalar) -> Json {
    Json::from(scalar.text.as_str())
}

fn integer(scalar: &Scalar) -> Option<Json> {
    scalar.integer().and_then(|n| i64::try_from(n).ok()).map(Json::from)
}

/// A whole number that a client writes with a fraction of nothing: `30.0`.
fn whole(scalar: &Scalar) -> Option<Json> {
    let (digits, fraction) = scalar.text.split_once('.')?;
    let is_whole = !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0');
    digits.parse::<i64>().ok().filter(|_| is_whole).map(Json::from)
}

/// Infinite ones have no form in JSON.
fn number(scalar: &Scalar) -> Option<Json> {
    scalar.number().and_then(Number::from_f64).map(Json::Number)
}

/// JSON as a document's node, without places.
pub(super) fn node(json: &Json) -> Node {
    let scalar = |text: String, is_plain| Value::Scalar(Scalar { text, is_plain });
    let value = match json {
        Json::Null => scalar("null".to_owned(), true),
        Json::Bool(flag) => scalar(flag.to_string(), true),
        Json::Number(number) => scalar(number.to_string(), true),
        Json::String(text) => scalar(text.clone(), false),
        Json::Array(items) => Value::List(items.iter().map(node).collect()),
        Json::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| Entry { key: key.clone(), key_spot: Spot::START, node: node(value) })
                .collect(),
        ),
    };
    Node { spot: Spot::START, value }
}

/// A request's JSON in the same form: numbers in quotes become numbers, nulls and output-only fields go.
pub(super) fn from_request(json: &Json, table: &Table) -> Json {
    object(&node(json), table)
}

/// Whether both say the same; 1 and 1.0 do.
pub(super) fn is_same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => {
            a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() <= f64::EPSILON * a.abs())
        }
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same(a, b)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::backend_service::BACKEND_SERVICE;
    use crate::wire::flaw::Flaws;
    use crate::wire::yaml;

    fn service(text: &str) -> Json {
        object(&yaml::parse(text, &mut Flaws::default()).unwrap(), &BACKEND_SERVICE)
    }

    #[test]
    fn a_field_has_the_type_of_its_table_however_it_is_written() {
        let text = "
name: a
timeoutSec: '30'
description: 12
failOpen: true
id: '77'
port: ~
backends:
- {group: g, maxRatePerInstance: '5', capacityScaler: 1, maxUtilization: 0.8}
";
        let expected = json!({
            "name": "a", "timeoutSec": 30, "description": "12", "failOpen": true,
            "backends": [
                {"group": "g", "maxRatePerInstance": 5.0, "capacityScaler": 1.0, "maxUtilization": 0.8}
            ],
        });
        assert_eq!(service(text), expected);
        assert_eq!(from_request(&expected, &BACKEND_SERVICE), expected);
    }

    #[test]
    fn a_whole_number_may_have_a_fraction_of_nothing() {
        for (written, expected) in
            [(json!(30.0), json!(30)), (json!("30.00"), json!(30)), (json!(1e6), json!(1_000_000))]
        {
            let typed = from_request(&json!({"timeoutSec": written}), &BACKEND_SERVICE);
            assert_eq!(typed["timeoutSec"], expected);
        }
        for odd in [json!(30.5), json!("30."), json!(".0")] {
            let typed = from_request(&json!({"timeoutSec": odd}), &BACKEND_SERVICE);
            assert!(!typed["timeoutSec"].is_i64(), "{typed}");
        }
    }

    #[test]
    fn what_does_not_fit_stays_as_written_for_check_to_refuse() {
        let odd = json!({"name": ["x"], "timeoutSec": "soon", "nonsense": {"a": null, "b": 1.5}});
        assert_eq!(from_request(&odd, &BACKEND_SERVICE), odd);
        assert_eq!(from_request(&json!(3), &BACKEND_SERVICE), json!(3));
    }

    #[test]
    fn numbers_are_the_same_by_value() {
        assert!(is_same(&json!({"a": [1, 0.0]}), &json!({"a": [1.0, 0]})));
        assert!(!is_same(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
        assert!(!is_same(&json!(0.5), &json!(0.25)));
        assert!(!is_same(&json!("1"), &json!(1)));
    }
}
