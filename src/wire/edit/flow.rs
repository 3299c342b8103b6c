//! Edits within brackets: a list or an object on one line, or pretty over several as JSON is.

use super::place::{Place, comma_after, indentation, is_loose, is_spread, trim_before, with_comments};
use super::scalar::{self, Around};
use super::source::{Form, Kind, Node};
use super::text::{Patch, column, has_breaks, is_first, next_line, rest_of_line, skip_blanks};
use super::tree::Tree;
use super::write::{Style, is_json, like};

/// Longest line that is made of several.
const LONGEST: usize = 120;

/// Where a value goes and how it may look there.
struct Spot {
    around: Around,
    /// Spaces before the line.
    indent: usize,
    /// Characters before it on its line.
    used: usize,
    /// What it replaces or joins goes over several lines.
    is_pretty: bool,
    /// It begins a line, so that it may go over several where it is long.
    begins_line: bool,
}

/// What an edit within brackets needs.
pub(super) struct Flow<'a> {
    pub text: &'a str,
    pub style: &'a Style,
}

impl Flow<'_> {
    /// Another value in place of one.
    pub(super) fn replace(&self, place: &Place<'_>, value: &Tree, patch: &mut Patch) {
        let (node, parent) = (place.node, place.above.last().map(|(node, _)| *node));
        let around = self.around(parent);
        let is_pretty = has_breaks(self.text, node.body..node.end) && node.form().is_some();
        let with = match &node.kind {
            Kind::Scalar { quotes, .. } if !value.is_collection() => {
                scalar::line(value, around, Some(*quotes))
            }
            _ => {
                let start = place.slot_start();
                let spot = Spot {
                    around,
                    indent: indentation(self.text, start),
                    used: column(self.text, node.start),
                    is_pretty,
                    begins_line: is_pretty || is_first(self.text, start),
                };
                self.write(value, &spot)
            }
        };
        let keeps_anchor = !node.has_tag && !value.is_collection() && !matches!(node.kind, Kind::Alias(_));
        let from = if keeps_anchor { node.body } else { node.start };
        let before = match place.entry() {
            Some(entry) if entry.colon.is_none() => ": ",
            _ if from == node.end => " ",
            _ => "",
        };
        // Blanks between a colon and the comma that follows at once.
        let blanks = skip_blanks(self.text, node.end);
        let is_before_comma =
            from == node.end && self.text.get(blanks..).is_some_and(|rest| rest.starts_with(','));
        let end = if is_before_comma { blanks } else { node.end };
        patch.put(from..end, format!("{before}{with}"));
    }

    /// A new entry of a list, or the key and the value of an object, before the entry `index`.
    pub(super) fn insert(&self, node: &Node, index: usize, entry: (Option<&str>, &Tree), patch: &mut Patch) {
        let text = self.text;
        let children = node.children();
        let around = self.around(Some(node));
        let beside = index.min(children.len().saturating_sub(1));
        let sibling = node.nth(beside);
        let at = children.get(beside).map_or(node.body + 1, |child| child.start);
        let spread = is_spread(text, &children);
        let indent = if spread { column(text, at) } else { indentation(text, at) };
        let is_pretty = spread
            && sibling.is_some_and(|sibling| {
                sibling.form().is_some() && has_breaks(text, sibling.body..sibling.end)
            });
        let key = entry.0.map(|key| format!("{} ", self.style.key(key, around))).unwrap_or_default();
        let value = match entry.0 {
            None => like(entry.1.clone(), sibling),
            Some(_) => entry.1.clone(),
        };
        let used = column(text, at) + key.chars().count();
        let value = self.write(&value, &Spot { around, indent, used, is_pretty, begins_line: spread });
        self.put(node, index, &format!("{key}{value}"), patch);
    }

    fn put(&self, node: &Node, index: usize, new: &str, patch: &mut Patch) {
        let children = node.children();
        let (text, open, close) = (self.text, node.body + 1, node.end.saturating_sub(1));
        let Some(first) = children.first() else {
            if text.get(open..close).is_some_and(|inner| inner.contains('#')) {
                let step = " ".repeat(self.style.step);
                let newline = self.style.newline(indentation(text, close));
                patch.put(close..close, format!("{step}{new}{newline}"));
            } else {
                let is_object = matches!(node.kind, Kind::Object { .. });
                let pad = if self.style.pads_braces && is_object { " " } else { "" };
                patch.put(open..close, format!("{pad}{new}{pad}"));
            }
            return;
        };
        let sibling = children.get(index).unwrap_or(first);
        let newline = self.style.newline(column(text, sibling.start));
        let is_spread = is_spread(text, &children);
        let Some(previous) = index.checked_sub(1).and_then(|before| children.get(before)) else {
            match rest_of_line(text, open).filter(|_| is_first(text, first.start)) {
                Some(end) => patch.put(end..end, format!("{newline}{new},")),
                None => patch.put(first.start..first.start, format!("{new}, ")),
            }
            return;
        };
        let newline =
            if index == children.len() { self.style.newline(column(text, previous.start)) } else { newline };
        let comma = comma_after(text, previous.end);
        let at = comma.map_or(previous.end, |comma| comma + 1);
        match (rest_of_line(text, at).filter(|_| is_spread), comma) {
            (Some(end), Some(_)) => patch.put(end..end, format!("{newline}{new},")),
            (Some(end), None) => {
                patch.put(at..at, ",");
                patch.put(end..end, format!("{newline}{new}"));
            }
            (None, Some(_)) => patch.put(at..at, format!(" {new},")),
            (None, None) => patch.put(at..at, format!(", {new}")),
        }
    }

    /// An entry with its comma.
    pub(super) fn remove(&self, node: &Node, index: usize, patch: &mut Patch) {
        let text = self.text;
        let children = node.children();
        let Some(child) = children.get(index) else { return };
        if node.form() == Some(Form::Pair) {
            patch.put(node.start..node.end, "{}");
            return;
        }
        if children.len() == 1 {
            patch.put(node.body + 1..node.end.saturating_sub(1), "");
            return;
        }
        let comma = comma_after(text, child.end);
        let end = comma.map_or(child.end, |comma| comma + 1);
        let previous = index.checked_sub(1).and_then(|before| children.get(before));
        let previous_comma = previous.and_then(|previous| comma_after(text, previous.end));
        let has_lines = is_first(text, child.start) && rest_of_line(text, end).is_some();
        match (children.get(index + 1), previous_comma) {
            (next, before) if has_lines => {
                patch.put(with_comments(text, child.start)..next_line(text, end), "");
                if let (None, None, Some(before)) = (next, comma, before) {
                    patch.put(before..before + 1, "");
                }
            }
            (Some(next), _) if is_loose(text, end..next.start) => {
                let from = trim_before(text, child.start, node.body + 1);
                patch.put(from..rest_of_line(text, end).unwrap_or(end), "");
            }
            (Some(next), _) => patch.put(child.start..next.start, ""),
            (None, Some(before)) if is_loose(text, before..child.start) => {
                if comma.is_none() {
                    patch.put(before..before + 1, "");
                }
                patch.put(child.start..end, "");
            }
            (None, Some(before)) if comma.is_some() => patch.put(before + 1..end, ""),
            (None, Some(_)) => {
                patch.put(previous.map_or(child.start, |previous| previous.end)..end, "");
            }
            (None, None) => {}
        }
    }

    /// How strings are written in this list or object.
    pub(super) fn around(&self, node: Option<&Node>) -> Around {
        if self.style.is_json || node.is_some_and(is_json) { Around::Json } else { Around::Flow }
    }

    /// On one line, or over several.
    fn write(&self, value: &Tree, spot: &Spot) -> String {
        let line = self.style.flow(value, spot.around);
        if spot.is_pretty || (spot.begins_line && spot.used + line.chars().count() > LONGEST) {
            self.style.pretty(value, spot.around, spot.indent)
        } else {
            line
        }
    }
}
