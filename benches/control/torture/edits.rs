//! Edits of the file as people make them: entries in several styles, comments, blank lines.

use std::fmt::Write as _;
use std::ops::Range;

use overspill::wire::document::{Node, Value};
use serde_json::Value as Json;

use super::calls::Calls;
use super::chance::NAMES;
use super::model::{COLLECTIONS, HELD, Model, name_of, parse};

/// Notes of edits, at most.
const MOST_NOTES: usize = 40;
/// Resources of a collection that edits add to.
const MOST: usize = 9;

/// The text and what it says then. Notes are comments that nobody but an edit may take away.
pub(crate) struct Edited {
    pub(crate) text: String,
    pub(crate) model: Model,
    pub(crate) notes: Vec<String>,
    pub(crate) what: &'static str,
}

impl Calls<'_> {
    /// An edit of `text`, which says what the model says.
    pub(crate) fn edit(&mut self, text: &str, notes: &[String], turn: usize) -> Result<Edited, String> {
        loop {
            let collection = self.chance.pick(&["healthChecks", "urlMaps", "instances", "backendServices"]);
            let edited = match self.chance.below(8) {
                0 | 1 => self.add(text, collection)?,
                2 | 3 => self.rewrite(text, collection)?,
                4 => self.remove(text, collection)?,
                5 | 6 => self.note(text, notes, turn)?,
                _ => self.blank_line(text)?,
            };
            if let Some(mut edited) = edited {
                if edited.notes.is_empty() {
                    edited.notes = notes.to_vec();
                }
                return Ok(edited);
            }
        }
    }

    fn edited(&self, text: String, model: Option<Model>, what: &'static str) -> Option<Edited> {
        let model = model.unwrap_or_else(|| self.model.clone());
        Some(Edited { text, model, notes: Vec::new(), what })
    }

    fn add(&mut self, text: &str, collection: &'static str) -> Result<Option<Edited>, String> {
        let name = format!("{}-f", self.chance.pick(NAMES));
        let names = self.model.names(collection);
        if names.len() >= MOST || names.contains(&name) {
            return Ok(None);
        }
        let Some(resource) = self.resource(collection, &name) else { return Ok(None) };
        let all = entries(text, collection)?;
        let Some(place) = all.get(self.chance.below(all.len())) else { return Ok(None) };
        let entry = self.entry(&resource, place.column);
        // Above an entry are its comments, and it would be theirs.
        let at = line_start(text, place.lines.end);
        let text = format!("{}{entry}{}", &text[..at], &text[at..]);
        let model = self.model.with(collection, &name, resource);
        Ok(self.edited(text, Some(model), "an entry is added"))
    }

    fn rewrite(&mut self, text: &str, collection: &'static str) -> Result<Option<Edited>, String> {
        let names: Vec<_> =
            self.model.names(collection).into_iter().filter(|name| !HELD.contains(&name.as_str())).collect();
        let Some(name) = self.chance.one_of(&names).cloned() else { return Ok(None) };
        let Some(resource) = self.resource(collection, &name) else { return Ok(None) };
        if collection == "backendServices" && name == "shares" {
            // Its alias stays.
            return Ok(None);
        }
        let all = entries(text, collection)?;
        let Some(place) = all.iter().find(|entry| entry.name == name) else { return Ok(None) };
        let entry = self.entry(&resource, place.column);
        let text = replaced(text, &place.lines, &entry);
        let model = self.model.with(collection, &name, resource);
        Ok(self.edited(text, Some(model), "an entry is written anew"))
    }

    fn remove(&mut self, text: &str, collection: &'static str) -> Result<Option<Edited>, String> {
        let free = self.model.free(collection);
        let Some(name) = self.chance.one_of(&free) else { return Ok(None) };
        let all = entries(text, collection)?;
        let Some(place) = all.iter().find(|entry| entry.name == *name) else { return Ok(None) };
        let text = replaced(text, &place.lines, "");
        let model = self.model.without(collection, name);
        Ok(self.edited(text, Some(model), "an entry is removed"))
    }

    /// A comment comes, goes or says something else.
    fn note(&mut self, text: &str, notes: &[String], turn: usize) -> Result<Option<Edited>, String> {
        let new = format!(
            "# note-{turn}: {}",
            self.chance.text().replace(|c: char| c.is_control() || is_odd(c), "_")
        );
        let new = new.trim_end().to_owned();
        let (mut text, mut notes) = (text.to_owned(), notes.to_vec());
        if notes.len() > MOST_NOTES || self.chance.percent(30) {
            let index = self.chance.below(notes.len());
            let old = notes.remove(index);
            let new = if self.chance.percent(50) || notes.len() > MOST_NOTES { "#".to_owned() } else { new };
            if text.matches(&old).count() != 1 {
                return Ok(None);
            }
            text = text.replace(&old, &new);
            if new != "#" {
                notes.push(new);
            }
            return Ok(self
                .edited(text, None, "a comment is another")
                .map(|edited| Edited { notes, ..edited }));
        }
        let places = places(&text)?;
        let (line, column) = places[self.chance.below(places.len())];
        let at = line_start(&text, line);
        text.insert_str(at, &format!("{}{new}\n", " ".repeat(column)));
        notes.push(new);
        Ok(self.edited(text, None, "a comment comes").map(|edited| Edited { notes, ..edited }))
    }

    fn blank_line(&mut self, text: &str) -> Result<Option<Edited>, String> {
        let places = places(text)?;
        let (line, _) = places[self.chance.below(places.len())];
        let at = line_start(text, line);
        let mut text = text.to_owned();
        if text[..at].ends_with("\n\n") {
            text.remove(at - 1);
        } else {
            text.insert(at, '\n');
        }
        Ok(self.edited(text, None, "a blank line"))
    }

    fn entry(&mut self, resource: &Json, column: usize) -> String {
        let style = self.chance.below(4);
        let mut out = format!("{}- ", " ".repeat(column));
        if style == 0 {
            flow(&mut out, resource);
            out.push('\n');
        } else {
            let mut body = String::new();
            block(&mut body, resource, column + 2, style);
            out.push_str(body.trim_start_matches(' '));
        }
        out
    }
}

/// Lines that start an object at the root, or an entry that stays; with its column.
fn places(text: &str) -> Result<Vec<(usize, usize)>, String> {
    let root = parse(text)?;
    let Value::Object(roots) = &root.value else { return Err("the file has no collections".to_owned()) };
    let mut places: Vec<_> = roots.iter().map(|entry| (entry.key_spot.line, 0)).collect();
    for collection in COLLECTIONS {
        let held = entries(text, collection)?.into_iter().filter(|entry| HELD.contains(&entry.name.as_str()));
        places.extend(held.map(|entry| (entry.lines.start, entry.column)));
    }
    Ok(places)
}

/// An entry of a collection in the text: lines from 1, without what follows it, and the column of its dash from 0.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) lines: Range<usize>,
    pub(crate) column: usize,
}

/// The entries of a collection in block style.
pub(crate) fn entries(text: &str, collection: &str) -> Result<Vec<Entry>, String> {
    let root = parse(text)?;
    let Value::Object(roots) = &root.value else { return Err("the file has no collections".to_owned()) };
    let lines: Vec<&str> = text.split('\n').collect();
    let items = root.get(collection).map(Node::items).unwrap_or_default();
    let of = |key: &str| roots.iter().find(|entry| entry.key == key).map_or(1, |entry| entry.key_spot.line);
    let begin = of(collection);
    let end = roots.iter().map(|entry| entry.key_spot.line).filter(|line| *line > begin).min();
    let dash = |node: &Node| {
        // A comment may stand between the dash and the first key.
        let mut line = node.point().line.min(node.spot.line);
        while line > 1 && !lines[line - 1].trim_start().starts_with('-') {
            line -= 1;
        }
        line
    };
    let starts: Vec<usize> = items.iter().map(dash).collect();
    let entry = |(index, item): (usize, &Node)| {
        let start = starts[index];
        let column = lines[start - 1].len() - lines[start - 1].trim_start().len();
        let mut end = starts.get(index + 1).copied().or(end).unwrap_or(lines.len() + 1);
        let is_outside = |line: &str| {
            let inner = line.trim_start();
            // One of blanks alone is of a literal text.
            line.is_empty() || inner.starts_with('#') && line.len() - inner.len() <= column
        };
        while end > start + 1 && is_outside(lines[end - 2]) {
            end -= 1;
        }
        Entry { name: name_of(item), lines: start..end, column }
    };
    Ok(items.iter().enumerate().map(entry).collect())
}

/// Where a line begins, counted from 1.
fn line_start(text: &str, line: usize) -> usize {
    text.split('\n').take(line - 1).map(|line| line.len() + 1).sum::<usize>().min(text.len())
}

pub(crate) fn replaced(text: &str, lines: &Range<usize>, new: &str) -> String {
    format!("{}{new}{}", &text[..line_start(text, lines.start)], &text[line_start(text, lines.end)..])
}

/// Characters that no plain text or comment may have, or that readers take for line ends.
fn is_odd(c: char) -> bool {
    c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{7f}')
}

fn double(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_odd(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn flow(out: &mut String, json: &Json) {
    match json {
        Json::Object(fields) => {
            for (index, (key, value)) in fields.iter().enumerate() {
                out.push_str(if index == 0 { "{" } else { ", " });
                let _ = write!(out, "{key}: ");
                flow(out, value);
            }
            out.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        Json::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                flow(out, item);
            }
            out.push(']');
        }
        Json::String(text) => out.push_str(&double(text)),
        other => out.push_str(&other.to_string()),
    }
}

/// Style 1: double quotes; 2: the fewest quotes; 3: literal blocks.
fn block(out: &mut String, json: &Json, column: usize, style: usize) {
    let indent = " ".repeat(column);
    let Json::Object(fields) = json else { return };
    for (key, value) in fields {
        let _ = write!(out, "{indent}{key}:");
        match value {
            Json::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                block(out, value, column + 2, style);
            }
            Json::Array(items) if items.iter().any(Json::is_object) => {
                out.push('\n');
                for item in items {
                    let mut entry = String::new();
                    block(&mut entry, item, column + 4, style);
                    let _ = write!(out, "{indent}  - {}", entry.trim_start_matches(' '));
                }
            }
            Json::String(text) => {
                let _ = writeln!(out, " {}", scalar(text, column + 2, style));
            }
            other => {
                out.push(' ');
                flow(out, other);
                out.push('\n');
            }
        }
    }
}

fn scalar(text: &str, column: usize, style: usize) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/'))
        && !NAMES.contains(&text)
        && !["True", "null", "~"].contains(&text);
    let is_one_line = !text.contains(is_odd);
    let lines = || text.split('\n');
    match style {
        2 if is_word => text.to_owned(),
        2 if is_one_line => format!("'{}'", text.replace('\'', "''")),
        3 if text.contains('\n')
            && lines().all(|line| !line.contains(is_odd) && !line.is_empty())
            && !text.starts_with(char::is_whitespace) =>
        {
            let indent = " ".repeat(column);
            format!("|-\n{indent}{}", text.replace('\n', &format!("\n{indent}")))
        }
        _ => double(text),
    }
}
