//! Changes of a tree that was read: what documents, which are read alone, have no need of.

use crate::wire::document::{Entry, Node, Scalar, Value};
use crate::wire::flaw::Spot;

/// A string.
pub(super) fn text(text: &str) -> Node {
    Node { spot: Spot::START, value: Value::Scalar(Scalar { text: text.to_owned(), is_plain: false }) }
}

/// A list.
pub(super) const fn list(items: Vec<Node>) -> Node {
    Node { spot: Spot::START, value: Value::List(items) }
}

/// An object.
pub(super) const fn object(entries: Vec<Entry>) -> Node {
    Node { spot: Spot::START, value: Value::Object(entries) }
}

/// A field.
pub(super) fn entry(key: &str, node: Node) -> Entry {
    Entry { key: key.to_owned(), key_spot: Spot::START, node }
}

/// The text of a field that holds a word.
pub(super) fn word<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key).and_then(Node::text)
}

/// The last part of a field that holds a name or a URL.
pub(super) fn last<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    word(node, key).map(|text| text.rsplit('/').next().unwrap_or(text))
}

/// The fields of an object.
pub(super) fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Object(entries) => entries,
        _ => &[],
    }
}

/// The field, to be changed.
pub(super) fn get_mut<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    match &mut node.value {
        Value::Object(entries) => {
            entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
        }
        _ => None,
    }
}

/// Sets a field of an object.
pub(super) fn set(node: &mut Node, key: &str, value: Node) {
    if let Some(there) = get_mut(node, key) {
        *there = value;
    } else if let Value::Object(entries) = &mut node.value {
        entries.push(entry(key, value));
    }
}

/// Takes a field out of an object.
pub(super) fn remove(node: &mut Node, key: &str) -> Option<Node> {
    let Value::Object(entries) = &mut node.value else { return None };
    let at = entries.iter().position(|entry| entry.key == key)?;
    Some(entries.remove(at).node)
}

/// Keeps the fields of these keys.
pub(super) fn keep(node: &mut Node, keys: &[&str]) {
    if let Value::Object(entries) = &mut node.value {
        entries.retain(|entry| keys.contains(&entry.key.as_str()));
    }
}

/// Whether there is nothing in it: null, `""`, `[]`, `{}`.
pub(super) fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => scalar.text.is_empty() || scalar.is_null(),
        Value::List(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

/// Whether both say the same; quotes and the order of keys do not matter.
pub(super) fn is_same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Scalar(one), Value::Scalar(other)) => one.text == other.text,
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(entries), Value::Object(others)) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            let mut others: Vec<_> = others.iter().collect();
            sorted.sort_by(|a, b| a.key.cmp(&b.key));
            others.sort_by(|a, b| a.key.cmp(&b.key));
            let is_pair =
                |(one, other): (&&Entry, &&Entry)| one.key == other.key && is_same(&one.node, &other.node);
            sorted.len() == others.len() && sorted.iter().zip(&others).all(is_pair)
        }
        _ => false,
    }
}
