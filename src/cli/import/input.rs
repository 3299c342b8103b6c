//! Texts as gcloud prints them: one YAML document or many, a list of resources, JSON. Each becomes the objects in it.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::wire::document::{Entry, Node, Scalar, Value};
use crate::wire::flaw::{Flaws, Spot};
use crate::wire::yaml::{self, MAX_BYTES, MAX_DEPTH, MAX_NODES};

/// A text to import.
#[derive(Debug, Clone)]
pub struct Input {
    /// What it is called in messages and comments: a file, or `standard input`.
    pub name: String,
    /// The text.
    pub text: String,
    /// The group whose members it lists, `NAME` or `ZONE/NAME`, if that was said.
    pub members_of: Option<String>,
}

/// Most documents of one text.
const MAX_DOCUMENTS: usize = 100_000;

/// All objects in all inputs, each with the index of its input. Lists are taken apart, whatever prints them.
///
/// # Errors
/// What cannot be read; nothing of it is used then.
pub(super) fn objects(inputs: &[Input]) -> Result<Vec<(usize, Node)>, Vec<String>> {
    let bytes: usize = inputs.iter().map(|input| input.text.len()).sum();
    if bytes > MAX_BYTES {
        return Err(vec![format!("the inputs have {bytes} bytes: at most {MAX_BYTES} (16 MiB) are read")]);
    }
    let (mut out, mut wrong, mut nodes) = (Vec::new(), Vec::new(), 0);
    for (index, input) in inputs.iter().enumerate() {
        match documents(&input.text, &mut nodes) {
            Ok(found) => {
                for node in found {
                    take_apart(node, &mut |node| match node.value {
                        Value::Object(_) => out.push((index, node)),
                        _ => wrong.push(format!("{}: a value stands here that is no resource", input.name)),
                    });
                }
            }
            Err(why) => wrong.extend(why.into_iter().map(|why| format!("{}{why}", input.name))),
        }
    }
    if wrong.is_empty() { Ok(out) } else { Err(wrong) }
}

fn take_apart(node: Node, each: &mut impl FnMut(Node)) {
    match node.value {
        Value::List(items) => items.into_iter().for_each(|item| take_apart(item, each)),
        _ => each(node),
    }
}

/// The documents of a text, without those in which nothing stands.
fn documents(text: &str, nodes: &mut usize) -> Result<Vec<Node>, Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let read = yaml_documents(text, nodes);
    if read.is_err()
        && text.trim_start().starts_with(['{', '['])
        && let Ok(found) = json_documents(text, nodes)
    {
        // JSON that YAML has no word for, such as escapes beyond the first plane.
        return Ok(found);
    }
    read
}

fn yaml_documents(text: &str, nodes: &mut usize) -> Result<Vec<Node>, Vec<String>> {
    let (mut out, mut wrong) = (Vec::new(), Vec::new());
    for (index, (first_line, text)) in split(text).into_iter().enumerate() {
        if index >= MAX_DOCUMENTS {
            wrong.push(format!(": there are more than {MAX_DOCUMENTS} documents"));
            break;
        }
        let mut flaws = Flaws::default();
        let node = yaml::parse(text, &mut flaws);
        let flaws = flaws.into_vec();
        if flaws.iter().any(|flaw| flaw.code == "yaml-empty") {
            continue;
        }
        wrong.extend(flaws.iter().map(|flaw| {
            let Spot { line, column, .. } = flaw.spot;
            format!(":{}:{column}: {}", line + first_line, flaw.message)
        }));
        if let Some(node) = node {
            limit(&node, nodes).map_err(|why| vec![why])?;
            out.push(node);
        }
        if wrong.len() > 100 {
            break;
        }
    }
    if wrong.is_empty() { Ok(out) } else { Err(wrong) }
}

/// Pieces between the lines that separate documents, each with the number of lines before it. Such a line begins at the
/// first column, where no value of a document may have it.
fn split(text: &str) -> Vec<(usize, &str)> {
    let (mut out, mut begin, mut begin_line, mut at) = (Vec::new(), 0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_marker = |marker: &str| {
            line.strip_prefix(marker)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        };
        if is_marker("---") || is_marker("...") {
            out.push((begin_line, text.get(begin..at).unwrap_or_default()));
            (begin, begin_line) = (at + 3, number);
        }
        at += line.len();
    }
    out.push((begin_line, text.get(begin..).unwrap_or_default()));
    out.retain(|(_, piece)| !piece.trim().is_empty());
    out
}

fn json_documents(text: &str, nodes: &mut usize) -> Result<Vec<Node>, String> {
    let mut out = Vec::new();
    for document in serde_json::Deserializer::from_str(text).into_iter::<Json>() {
        let Json(node) = document.map_err(|error| error.to_string())?;
        if depth(&node) > MAX_DEPTH || out.len() >= MAX_DOCUMENTS {
            return Err("too much".to_owned());
        }
        limit(&node, nodes)?;
        out.push(node);
    }
    Ok(out)
}

/// Counts on. Aliases make much of little text, in each document anew.
fn limit(node: &Node, nodes: &mut usize) -> Result<(), String> {
    *nodes += count(node);
    if *nodes > MAX_NODES { Err(format!(": there are more than {MAX_NODES} values")) } else { Ok(()) }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => items.iter().map(count).sum(),
        Value::Object(entries) => entries.iter().map(|entry| count(&entry.node)).sum(),
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.iter().map(|entry| depth(&entry.node)).max().unwrap_or(0),
    }
}

/// JSON as a tree; a key that stands twice is refused, as in YAML.
struct Json(Node);

struct Tree;

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Tree.deserialize(from).map(Self)
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(word("null"))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
        Ok(word(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(word(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(word(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(word(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(super::node::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(super::node::list(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut keys = std::collections::BTreeSet::new();
        let mut entries = Vec::new();
        while let Some(key) = from.next_key::<String>()? {
            if !keys.insert(key.clone()) {
                return Err(A::Error::custom("a key stands twice"));
            }
            let node = from.next_value_seed(Self)?;
            entries.push(Entry { key, key_spot: Spot::START, node });
        }
        Ok(super::node::object(entries))
    }
}

fn word(word: impl fmt::Display) -> Node {
    let value = Value::Scalar(Scalar { text: word.to_string(), is_plain: true });
    Node { spot: Spot::START, value }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<usize, Vec<String>> {
        let input = Input { name: "f".into(), text: text.into(), members_of: None };
        objects(&[input]).map(|found| found.len())
    }

    #[test]
    fn documents_lists_and_json_are_taken_apart() {
        for (text, count) in [
            ("a: 1\n", 1),
            ("---\na: 1\n---\nb: 1\n---\n", 2),
            ("--- {a: 1}\n...\n# nothing\n", 1),
            ("- a: 1\n- b: 1\n---\n- c: 1\n", 3),
            ("[\n  {\"a\": \"\\ud83d\\ude00\"},\n  {\"b\": null}\n]\n", 2),
            ("{\"a\": \"\\ud83d\\ude00\"}\n{\"b\": 1}\n", 2),
            ("a: |\n  ---\n  -----BEGIN\n", 1),
            ("", 0),
            ("Listed 0 items.", usize::MAX),
        ] {
            assert_eq!(read(text).unwrap_or(usize::MAX), count, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_shown_with_its_line() {
        assert_eq!(read("a: 1\n---\nb: 1\nb: 2\n").unwrap_err(), ["f:4:1: the key `b` stands here twice"]);
        assert!(read("{\"a\": \"\\ud83d\\ude00\", \"b\": 1, \"b\": 2}").is_err());
    }

    #[test]
    fn much_of_little_text_is_refused() {
        let bomb = format!("a: &a [{}]\nb: [{}]\n---\n", "1,".repeat(1000), "*a,".repeat(190));
        assert!(read(&bomb).is_ok());
        assert_eq!(read(&bomb.repeat(20)).unwrap_err(), ["f: there are more than 2000000 values"]);
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&"--- a\n".repeat(MAX_DOCUMENTS + 1)).is_err());
    }
}
