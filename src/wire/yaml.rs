//! YAML text → a tree of nodes with positions. The only file that knows YAML.
//!
//! One document, core schema, anchors and aliases. Everything that could make a small text large has a named limit.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::document::{Entry, Node, Scalar, Value};
use super::flaw::{Flaw, Flaws, Spot, quote};
use super::syntax::{Diagnosis, diagnose, lines};

/// Largest text that is read: 16 MiB.
pub const MAX_BYTES: usize = 16 << 20;
/// Deepest nesting; Google's resources need eight levels.
pub const MAX_DEPTH: usize = 64;
/// Most nodes of a document, aliases expanded: enough for 100,000 members.
pub const MAX_NODES: usize = 2_000_000;
/// Most nodes that all aliases together may stand for, so that a few lines cannot become gigabytes.
pub const MAX_ALIASED_NODES: usize = 200_000;

/// Reads one YAML document. Duplicate keys and the like go to `flaws` and reading goes on; `None` when there is no tree.
pub fn parse(text: &str, flaws: &mut Flaws) -> Option<Node> {
    if text.len() > MAX_BYTES {
        let message = format!("the text has {} bytes", text.len());
        flaws.push(flaw("yaml-limit", Spot::START, message, format!("at most {MAX_BYTES} bytes (16 MiB)")));
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match Builder::new(flaws).run(text) {
        Ok(root) => Some(root),
        Err(stop) => {
            flaws.push(*stop);
            None
        }
    }
}

/// Where reading cannot go on. Boxed: it is rare and large.
type Stop = Box<Flaw>;

/// Turns events into nodes with a stack of its own, so that depth costs heap that is limited, not stack that is not.
struct Builder<'a> {
    flaws: &'a mut Flaws,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: BTreeMap<usize, Anchor>,
    nodes: usize,
    aliased: usize,
}

/// A list or an object whose end has not come.
struct Open {
    spot: Spot,
    anchor: usize,
    nodes_before: usize,
    holds: Holds,
}

enum Holds {
    List(Vec<Node>),
    /// The key waits for its value; `None` in it marks a key that was refused, whose value is read and dropped.
    Object {
        entries: Vec<Entry>,
        keys: BTreeSet<String>,
        key: Option<(Option<String>, Spot)>,
    },
}

struct Anchor {
    node: Node,
    nodes: usize,
    depth: usize,
}

impl<'a> Builder<'a> {
    fn new(flaws: &'a mut Flaws) -> Self {
        Self { flaws, open: Vec::new(), root: None, anchors: BTreeMap::new(), nodes: 0, aliased: 0 }
    }

    fn run(mut self, text: &str) -> Result<Node, Stop> {
        let mut parser = Parser::new_from_str(text);
        let mut marker = None;
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| syntax(&error, text))?;
            match (&event, marker) {
                (Event::DocumentStart(_), _) => marker = Some(span),
                // What is printed document by document often ends with a marker that nothing follows.
                (Event::Scalar(..), Some(_)) if self.root.is_some() && is_nothing(&event) => continue,
                (
                    Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_),
                    Some(marker),
                ) if self.root.is_some() => {
                    let expected = "one document: join them, each collection once";
                    let message = "a second YAML document begins here";
                    return Err(stop("yaml-documents", spot(marker), message, expected));
                }
                _ => {}
            }
            self.take(event, span)?;
        }
        match self.root {
            Some(root) if !root.is_null() => Ok(root),
            _ => Err(stop(
                "yaml-empty",
                Spot::START,
                "the document is empty",
                "collections such as forwardingRules, backendServices and instanceGroups",
            )),
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = match tag.as_deref() {
                    None => style == ScalarStyle::Plain,
                    Some(tag) => tag_is_plain(tag, spot(span))?,
                };
                let value = Value::Scalar(Scalar { text: text.into_owned(), is_plain });
                let node = Node { spot: spot(span), value };
                self.remember(anchor, &node, 1);
                self.place(node, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span)?;
                self.begin(span, anchor, Holds::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span)?;
                self.begin(
                    span,
                    anchor,
                    Holds::Object { entries: Vec::new(), keys: BTreeSet::new(), key: None },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(id, span),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, span: Span, anchor: usize, holds: Holds) -> Result<(), Stop> {
        if self.open.len() >= MAX_DEPTH {
            return Err(stop(
                "yaml-limit",
                spot(span),
                "this is nested too deeply",
                format!("at most {MAX_DEPTH} levels"),
            ));
        }
        self.open.push(Open {
            spot: Spot { width: 1, ..spot(span) },
            anchor,
            nodes_before: self.nodes,
            holds,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.holds {
            Holds::List(items) => Value::List(items),
            Holds::Object { entries, .. } => Value::Object(entries),
        };
        let node = Node { spot: open.spot, value };
        self.remember(open.anchor, &node, self.nodes - open.nodes_before + 1);
        self.place(node, 1)
    }

    /// Puts a finished node where it belongs: the root, the next list entry, a key, or the value of the waiting key.
    fn place(&mut self, node: Node, nodes: usize) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let message = "the document has too many values";
            return Err(stop(
                "yaml-limit",
                node.spot,
                message,
                format!("at most {MAX_NODES}, aliases expanded"),
            ));
        }
        match self.open.last_mut().map(|open| &mut open.holds) {
            None => self.root = Some(node),
            Some(Holds::List(items)) => items.push(node),
            Some(Holds::Object { entries, keys, key }) => match key.take() {
                Some((Some(name), key_spot)) => entries.push(Entry { key: name, key_spot, node }),
                Some((None, _)) => {}
                None => *key = Some((accept_key(&node, keys, self.flaws), node.spot)),
            },
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, node: &Node, nodes: usize) {
        // Number 0 means: no anchor.
        if anchor > 0 && nodes <= MAX_ALIASED_NODES {
            self.anchors.insert(anchor, Anchor { node: node.clone(), nodes, depth: depth(node) });
        }
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Stop> {
        let Some(anchor) = self.anchors.get(&id) else {
            let message = "this alias stands for something that contains itself or is too large";
            return Err(stop(
                "yaml-limit",
                spot(span),
                message,
                "an alias of something that ended before it",
            ));
        };
        self.aliased += anchor.nodes;
        if self.aliased > MAX_ALIASED_NODES || self.open.len() + anchor.depth > MAX_DEPTH {
            let expected = format!("aliases for at most {MAX_ALIASED_NODES} values, {MAX_DEPTH} levels deep");
            return Err(stop("yaml-limit", spot(span), "the aliases stand for too much", expected));
        }
        let (node, nodes) = (anchor.node.clone(), anchor.nodes);
        self.place(node, nodes)
    }

    /// Lists and objects may carry `!!seq` and `!!map`, which say nothing new.
    fn refuse_tag(&self, tag: Option<&Tag>, span: Span) -> Result<(), Stop> {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "seq" | "map")) => {
                Err(unknown_tag(tag, spot(span)))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a document holds no value at all.
fn is_nothing(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, 0, None) if matches!(&**text, "" | "~"))
}

/// The key's text, or `None` when it cannot be a key or has been seen before.
fn accept_key(node: &Node, keys: &mut BTreeSet<String>, flaws: &mut Flaws) -> Option<String> {
    let Value::Scalar(scalar) = &node.value else {
        flaws.push(flaw(
            "yaml-key",
            node.point(),
            "a list or an object stands here as a key",
            "a word and a colon",
        ));
        return None;
    };
    if !keys.insert(scalar.text.clone()) {
        let message = format!("the key {} stands here twice", quote(&scalar.text));
        flaws.push(flaw(
            "duplicate-key",
            node.spot,
            message,
            "each key once; the first one counts for the other messages",
        ));
        return None;
    }
    Some(scalar.text.clone())
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.iter().map(|entry| depth(&entry.node)).max().unwrap_or(0),
    }
}

fn tag_is_plain(tag: &Tag, at: Spot) -> Result<bool, Stop> {
    match tag.suffix.as_str() {
        "str" if tag.is_yaml_core_schema() => Ok(false),
        "int" | "float" | "bool" | "null" if tag.is_yaml_core_schema() => Ok(true),
        _ => Err(unknown_tag(tag, at)),
    }
}

fn unknown_tag(tag: &Tag, at: Spot) -> Stop {
    stop(
        "yaml-tag",
        at,
        format!("the tag {} means nothing here", quote(&tag.to_string())),
        "the value without a tag",
    )
}

fn syntax(error: &ScanError, text: &str) -> Stop {
    let (line, column) = (error.marker().line().max(1), error.marker().col() + 1);
    let Diagnosis { spot, message, expected } = diagnose(text, Spot { line, column, width: 1 }, error.info());
    stop("yaml-syntax", inside(text, spot), message, expected)
}

/// The place, or the end of the text where the parser counts on behind it.
fn inside(text: &str, spot: Spot) -> Spot {
    match lines(text).enumerate().take(spot.line).last() {
        Some((index, last)) if index + 1 < spot.line => {
            Spot { line: index + 1, column: last.chars().count() + 1, width: 1 }
        }
        _ => spot,
    }
}

/// From the parser's marks. A text of several lines is underlined by its first character.
fn spot(span: Span) -> Spot {
    let (start, end) = (span.start, span.end);
    let width = if start.line() == end.line() { end.col().saturating_sub(start.col()).max(1) } else { 1 };
    Spot { line: start.line().max(1), column: start.col() + 1, width }
}

fn stop(code: &'static str, spot: Spot, message: impl Into<String>, expected: impl Into<String>) -> Stop {
    Box::new(flaw(code, spot, message, expected))
}

fn flaw(code: &'static str, spot: Spot, message: impl Into<String>, expected: impl Into<String>) -> Flaw {
    Flaw { code, path: String::new(), spot, message: message.into(), expected: Some(expected.into()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::wire::path::Path;

    fn flaws(text: &str) -> Vec<Flaw> {
        let mut flaws = Flaws::default();
        parse(text, &mut flaws);
        flaws.into_vec()
    }

    fn tree(text: &str) -> Node {
        let mut flaws = Flaws::default();
        let node = parse(text, &mut flaws);
        assert_eq!(flaws.into_vec(), []);
        node.unwrap()
    }

    #[test]
    fn every_word_knows_its_place() {
        let root = tree("a:\n  - {b: 12, c: \"x\"}\n  - d\n");
        let (a, key) = (Path::Root.key("a"), Path::Root);
        let spot = |line, column, width| Spot { line, column, width };
        assert_eq!(root.locate(&a), spot(1, 1, 1));
        assert_eq!(root.locate(&a.item(0).key("b")), spot(2, 9, 2));
        assert_eq!(root.locate(&a.item(0).key("c")), spot(2, 16, 3));
        assert_eq!(root.locate(&a.item(0)), spot(2, 6, 1));
        assert_eq!(root.locate(&a.item(1)), spot(3, 5, 1));
        assert_eq!(root.locate(&key.key("missing")), spot(1, 1, 1));
    }

    #[test]
    fn written_paths_lead_to_places() {
        let root = tree("a:\n  - {b: 12, name: x}\n  - {b: 3}\nc: {d: e}\n");
        let spot = |line, column| Some((line, column));
        for (path, expected) in [
            ("a", spot(1, 1)),
            ("a[x]", spot(2, 19)),
            ("a[x].b", spot(2, 9)),
            ("a[1].b", spot(3, 9)),
            ("a[1].missing", spot(3, 6)),
            ("a[y]", spot(1, 1)),
            ("c.d", spot(4, 8)),
            ("c.d.e", spot(4, 8)),
            ("missing.d", None),
            ("", None),
        ] {
            assert_eq!(root.find(path).map(|spot| (spot.line, spot.column)), expected, "{path}");
        }
    }

    #[test]
    fn windows_line_ends_and_a_byte_order_mark_change_no_position() {
        let root = tree("\u{feff}a: 1\r\nb: 2\r\n");
        assert_eq!(root.locate(&Path::Root.key("b")), Spot { line: 2, column: 4, width: 1 });
    }

    #[test]
    fn a_marker_that_nothing_follows_begins_no_document() {
        for end in ["---\n", "---", "---\n# end\n", "...\n---\n", "---\n---\n"] {
            assert_eq!(
                tree(&format!("---\na: 1\n{end}")).get("a").and_then(Node::text),
                Some("1"),
                "{end:?}"
            );
        }
    }

    #[test]
    fn aliases_expand_and_bombs_do_not() {
        let root = tree("a: &x {k: v}\nb: *x\n");
        assert_eq!(root.get("b").and_then(|b| b.get("k")).and_then(Node::text), Some("v"));
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..20 {
            let last = format!("*a{}, ", i - 1).repeat(10);
            bomb.push_str(&format!("a{i}: &a{i} [{}]\n", last.trim_end_matches(", ")));
        }
        assert_eq!(flaws(&bomb)[0].code, "yaml-limit");
        assert_eq!(flaws("a: &x [*x]\n")[0].code, "yaml-limit");
    }

    #[test]
    fn depth_is_limited() {
        assert_eq!(flaws(&"[".repeat(200))[0].code, "yaml-limit");
        let block: String = (0..100).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        assert_eq!(flaws(&block)[0].code, "yaml-limit");
    }

    #[test]
    fn oddities_have_codes() {
        for (text, code) in [
            ("", "yaml-empty"),
            ("# only a comment\n", "yaml-empty"),
            ("a: 1\n---\nb: 2\n", "yaml-documents"),
            ("a: 1\n---\n---\n- b\n", "yaml-documents"),
            ("---\n---\n", "yaml-empty"),
            ("a: 1\na: 2\n", "duplicate-key"),
            ("[a]: 1\n", "yaml-key"),
            ("a: !secret x\n", "yaml-tag"),
            ("a: [1\n", "yaml-syntax"),
            ("a:\n\t- b\n", "yaml-syntax"),
        ] {
            assert_eq!(flaws(text).first().map(|flaw| flaw.code), Some(code), "{text:?}");
        }
    }

    #[test]
    fn scalars_read_as_the_core_schema_says() {
        let scalar = |text: &str| Scalar { text: text.into(), is_plain: true };
        assert_eq!(scalar("0x1F").integer(), Some(31));
        assert_eq!(scalar("1_000").integer(), None);
        assert_eq!(scalar("0.5").number(), Some(0.5));
        assert_eq!(scalar("inf").number(), None);
        assert!(scalar(".inf").number().unwrap().is_infinite());
        assert_eq!(scalar("yes").flag(), None);
        assert!(scalar("~").is_null());
    }
}
