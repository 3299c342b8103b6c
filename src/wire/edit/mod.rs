//! Edits of the text of a configuration that leave every byte outside the changed values as it was: comments, order,
//! blank lines, quotes, anchors, block or flow style, line ends.
//!
//! A change of a value is a patch of the text where the value stands, in the style of what stands around it. Whether that
//! was right is not left to the patch: the new text is read as any configuration is, and must mean what the old one
//! meant with the one value changed. What does not is refused as [`Refused::Internal`] and never written.

mod block;
mod flow;
mod place;
mod read;
mod scalar;
mod share;
mod source;
mod text;
mod tree;
mod write;

use std::fmt;

use serde_json::Value;

use self::block::Lines;
use self::flow::Flow;
use self::place::Place;
use self::source::{Form, Kind, Source};
use self::text::Patch;
use self::tree::{Change, Tree, plan};
use self::write::Style;
use super::flaw::{Flaws, quote};
use super::yaml;

/// One step of a way from the root of the document to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into an object.
    Key(String),
    /// Into a list; the first entry is 0.
    Index(usize),
}

/// A change of one value.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Replaces a value, or adds the key to the object that lacks it, as its last one. A list or an object over another
    /// changes only what differs.
    Set {
        /// Where; the root itself cannot be replaced.
        at: Vec<Step>,
        /// The new value.
        value: Value,
    },
    /// Removes a key with its value, or an entry of a list. A list or an object that loses its last entry stays as `[]`
    /// or `{}`, but a collection at the root goes as a whole.
    Remove {
        /// What.
        at: Vec<Step>,
    },
    /// Adds an entry to a list. A list that is null or whose key is absent is made where `index` is 0.
    Insert {
        /// The list.
        at: Vec<Step>,
        /// The entry before which it goes; the length of the list for its end.
        index: usize,
        /// The new entry.
        value: Value,
    },
}

/// Why a text has not been changed; each with a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The text is no YAML that we read.
    Unreadable(String),
    /// The path leads nowhere, or to what cannot take the edit.
    Missing(String),
    /// The result would be over a limit of `wire::yaml`.
    TooLarge(String),
    /// The text is written in a way that edits do not master; editing the file by hand helps.
    Internal(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) | Self::Missing(why) | Self::TooLarge(why) | Self::Internal(why) => {
                f.write_str(why)
            }
        }
    }
}

impl std::error::Error for Refused {}

/// Makes edits one after the other, each on the result of the last. All or none: the first that is refused ends it.
///
/// A text without any value takes a `Set` of a key at the root.
///
/// # Errors
///
/// As [`Refused`] tells; the text is then as it was.
pub fn apply(text: &str, edits: &[Edit]) -> Result<String, Refused> {
    match attempt(text, edits, true) {
        // A comment that is indented as deep as a text of several lines would belong to it; in quotes, it does not.
        Err(Refused::Internal(_)) => attempt(text, edits, false),
        done => done,
    }
}

/// `has_literals`: texts of several lines may stand in lines of their own.
fn attempt(text: &str, edits: &[Edit], has_literals: bool) -> Result<String, Refused> {
    let mut tree = meaning(text)?;
    let mut now = text.to_owned();
    for edit in edits {
        for change in plan(&tree, edit, yaml::MAX_DEPTH)? {
            let had_nothing = matches!(&tree, Tree::Object(entries) if entries.is_empty());
            tree.edit(&change)?;
            now = if had_nothing {
                begin(&now, &change, has_literals)?
            } else {
                make(&now, &change, has_literals)?
            };
            if now.len() > yaml::MAX_BYTES {
                return Err(Refused::TooLarge("the text would be larger than 16 MiB".to_owned()));
            }
        }
    }
    if now == text {
        return Ok(now);
    }
    match meaning(&now) {
        Ok(result) if result.is(&tree) => Ok(now),
        Err(Refused::TooLarge(why)) => Err(Refused::TooLarge(why)),
        Ok(_) => Err(Refused::Internal("the edited text would mean something else".to_owned())),
        Err(why) => Err(Refused::Internal(format!("the edited text could not be read: {why}"))),
    }
}

/// A path as messages show it: `backendServices[0].backends`.
pub(crate) fn show(at: &[Step]) -> String {
    let mut out = String::new();
    for step in at {
        match step {
            Step::Key(key) if out.is_empty() => out.push_str(key),
            Step::Key(key) => out.push_str(&format!(".{key}")),
            Step::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }
    if out.is_empty() { "the document as a whole".to_owned() } else { quote(&out) }
}

/// What a text means; a text without any value is an object without keys.
fn meaning(text: &str) -> Result<Tree, Refused> {
    let mut flaws = Flaws::default();
    let root = yaml::parse(text, &mut flaws);
    match (root, flaws.into_vec().first()) {
        (Some(root), None) => Ok(Tree::of_node(&root)),
        (_, Some(flaw)) if flaw.code == "yaml-empty" => Ok(Tree::Object(Vec::new())),
        (_, Some(flaw)) if flaw.code == "yaml-limit" => Err(Refused::TooLarge(flaw.message.clone())),
        (_, Some(flaw)) => Err(Refused::Unreadable(format!("line {}: {}", flaw.spot.line, flaw.message))),
        (None, None) => Err(Refused::Unreadable("the text has no value".to_owned())),
    }
}

/// Makes one change that the meaning of the text allows.
fn make(text: &str, change: &Change, has_literals: bool) -> Result<String, Refused> {
    let mut text = text.to_owned();
    // Each round writes out the aliases on one more level of the way.
    for _ in 0..=yaml::MAX_DEPTH + 1 {
        let source = Source::read(&text)?;
        let style = Style { has_literals, ..Style::of(&source) };
        let patch = share::separate(&source, &style, change);
        if patch.is_empty() {
            let patch = patch_of(&source, &style, change)?;
            return patch.apply(&text).ok_or_else(tangled);
        }
        text = patch.apply(&text).ok_or_else(tangled)?;
    }
    Err(tangled())
}

fn tangled() -> Refused {
    Refused::Internal("the text is written in a way that edits cannot follow".to_owned())
}

/// The first key of a text that holds no value, or an object without keys.
fn begin(text: &str, change: &Change, has_literals: bool) -> Result<String, Refused> {
    if Source::read(text).is_ok_and(|source| source.root.form().is_some()) {
        return make(text, change, has_literals);
    }
    let Change::Set { at, value } = change else { return Err(tangled()) };
    let [Step::Key(key)] = at.as_slice() else { return Err(tangled()) };
    let source = Source::read("{}")?;
    let line_break = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let style = Style { line_break, has_literals, ..Style::of(&source) };
    let lines = Lines { source: &source, style: &style };
    let newline = style.line_break;
    let between = if text.is_empty() || text.ends_with(['\n', '\r']) { "" } else { newline };
    let new = lines.entry(key, value, 0, write::Beside::Nothing);
    Ok(format!("{text}{between}{new}{newline}"))
}

fn patch_of(source: &Source<'_>, style: &Style, change: &Change) -> Result<Patch, Refused> {
    let mut patch = Patch::default();
    let (flow, lines) = (Flow { text: source.text, style }, Lines { source, style });
    match change {
        Change::Set { at, value } => match Place::find(source, at) {
            Ok(place) if place.above.is_empty() => {
                return Err(Refused::Missing("the document as a whole cannot be replaced".to_owned()));
            }
            Ok(place) => replace(&flow, &lines, (&place, value), &mut patch),
            Err(_) => {
                let Some((Step::Key(key), parent)) = at.split_last() else { return Err(tangled()) };
                let place = Place::find(source, parent)?;
                add_key(&flow, &lines, (&place, key, value), &mut patch);
            }
        },
        Change::Remove { at } => {
            let (parent, index) = Place::find(source, at)?.parent().ok_or_else(tangled)?;
            remove(&flow, &lines, (&parent, index), &mut patch);
        }
        Change::Insert { at, index, value } => {
            let place = Place::find(source, at)?;
            match place.node.form() {
                Some(Form::Block) => lines.insert(place.node, *index, value, &mut patch),
                Some(Form::Flow) if !place.node.children().is_empty() || place.is_in_flow() => {
                    flow.insert(place.node, *index, (None, value), &mut patch);
                }
                _ if place.above.is_empty() => flow.insert(place.node, *index, (None, value), &mut patch),
                _ => replace(&flow, &lines, (&place, &Tree::List(vec![value.clone()])), &mut patch),
            }
        }
    }
    Ok(patch)
}

fn replace(flow: &Flow<'_>, lines: &Lines<'_>, (place, value): (&Place<'_>, &Tree), patch: &mut Patch) {
    if place.is_in_flow() {
        flow.replace(place, value, patch);
    } else {
        lines.replace(place, value, patch);
    }
}

fn add_key(
    flow: &Flow<'_>,
    lines: &Lines<'_>,
    (place, key, value): (&Place<'_>, &str, &Tree),
    patch: &mut Patch,
) {
    let count = place.node.children().len();
    match place.node.form() {
        _ if place.above.is_empty() && (place.node.form() == Some(Form::Block) || count == 0) => {
            lines.add_to_root(key, value, patch);
        }
        Some(Form::Block) => lines.add_key(place.node, key, value, patch),
        Some(Form::Flow) if count > 0 || place.is_in_flow() => {
            flow.insert(place.node, count, (Some(key), value), patch);
        }
        form => {
            let mut entries = match (form, place.node.tree(&lines.source.anchors())) {
                (Some(Form::Pair), Tree::Object(entries)) => entries,
                _ => Vec::new(),
            };
            entries.push((key.to_owned(), value.clone()));
            replace(flow, lines, (place, &Tree::Object(entries)), patch);
        }
    }
}

fn remove(flow: &Flow<'_>, lines: &Lines<'_>, (parent, index): (&Place<'_>, usize), patch: &mut Patch) {
    let is_only = parent.node.children().len() == 1;
    match parent.node.form() {
        Some(Form::Flow | Form::Pair) => flow.remove(parent.node, index, patch),
        _ if !is_only => lines.remove(parent.node, index, patch),
        _ if parent.above.is_empty() => lines.clear_root(patch),
        _ => {
            let empty = match parent.node.kind {
                Kind::List { .. } => Tree::List(Vec::new()),
                _ => Tree::Object(Vec::new()),
            };
            lines.replace(parent, &empty, patch);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
