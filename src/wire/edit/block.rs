//! Edits in block style, where lines and their indentation tell what belongs to what.

use super::place::{Place, trim_before, with_comments};
use super::scalar::{self, Around};
use super::source::{Form, Kind, Node, Source};
use super::text::{
    Patch, column, has_breaks, is_blank, is_first, line_before, line_end, line_start, next_line, skip_blanks,
};
use super::tree::Tree;
use super::write::{Beside, Block, Style, Under, like};

/// What an edit in block style needs.
pub(super) struct Lines<'a> {
    pub source: &'a Source<'a>,
    pub style: &'a Style,
}

impl Lines<'_> {
    /// Another value in place of one.
    pub(super) fn replace(&self, place: &Place<'_>, value: &Tree, patch: &mut Patch) {
        let node = place.node;
        let mut block = self.style.block(value, place.under(self.source.text), Beside::of(node));
        let is_word = !value.is_collection();
        if let (Kind::Scalar { quotes, .. }, true) = (&node.kind, is_word && block.lines.is_empty()) {
            let around = if self.style.is_json { Around::Json } else { Around::Block };
            block.head = scalar::line(value, around, Some(*quotes));
        }
        let keeps_anchor = is_word && !node.has_tag && !matches!(node.kind, Kind::Alias(_));
        self.put(place, &block, keeps_anchor, patch);
    }

    /// Writes a value over another; the comment behind it on the line of its key stays.
    pub(super) fn put(&self, place: &Place<'_>, block: &Block, keeps_anchor: bool, patch: &mut Patch) {
        let (text, node, after) = (self.source.text, place.node, place.slot_end());
        let lines = self.style.join(&block.lines);
        let space = |head: &str| if head.is_empty() { String::new() } else { format!(" {head}") };
        let from = if keeps_anchor { node.body } else { node.start };
        if place.entry().is_some_and(|entry| entry.colon.is_none()) {
            let newline = self.style.newline(column(text, place.slot_start()));
            let end = line_end(text, node.end);
            patch.put(end..end, format!("{newline}:{}{lines}", space(&block.head)));
        } else if node.is_block_scalar() {
            let header_end = line_end(text, node.body);
            let header = text.get(node.body..header_end).unwrap_or_default();
            let word = header.split(" #").next().unwrap_or_default().trim_end().len();
            let from = if block.head.is_empty() { trim_before(text, from, after) } else { from };
            patch.put(from..node.body + word, block.head.clone());
            patch.put(header_end..node.end, lines);
        } else if node.form() == Some(Form::Block) {
            if has_breaks(text, after..node.body) {
                let header_end = line_end(text, node.props_end.min(node.body).max(after));
                patch.put(after..after.max(node.props_end.min(header_end)), space(&block.head));
                patch.put(header_end..line_end(text, node.end), lines);
            } else {
                patch.put(node.start..line_end(text, node.end), format!("{}{lines}", block.head));
            }
        } else {
            let end = line_end(text, node.end);
            if from == node.end {
                patch.put(from..from, space(&block.head));
            } else {
                let from = if block.head.is_empty() { trim_before(text, from, after) } else { from };
                patch.put(from..node.end, block.head.clone());
            }
            patch.put(end..end, lines);
        }
    }

    /// A key and its value behind the last one of an object.
    pub(super) fn add_key(&self, object: &Node, key: &str, value: &Tree, patch: &mut Patch) {
        let Kind::Object { entries, .. } = &object.kind else { return };
        let Some(last) = entries.last() else { return };
        let left = entries.first().map_or(0, |first| column(self.source.text, first.start));
        let is_alike = |node: &Node| {
            matches!(
                (&node.kind, value),
                (Kind::List { .. }, Tree::List(_)) | (Kind::Object { .. }, Tree::Object(_))
            )
        };
        let mut beside = entries.iter().rev().map(|entry| &entry.node).filter(|node| is_alike(node));
        let beside = beside.next().map_or(Beside::Nothing, Beside::of);
        let new = self.entry(key, value, left, beside);
        let at = line_end(self.source.text, last.node.end);
        patch.put(at..at, format!("{}{new}", self.style.newline(left)));
    }

    /// A key and its value at the end of the document.
    pub(super) fn add_to_root(&self, key: &str, value: &Tree, patch: &mut Patch) {
        let (text, root) = (self.source.text, &self.source.root);
        let new = self.entry(key, value, 0, Beside::Nothing);
        let newline = self.style.line_break;
        if root.form() == Some(Form::Flow) {
            patch.put(root.start..root.end, new);
            return;
        }
        let tail = text.get(root.end..).unwrap_or_default();
        let has_marker = tail.lines().skip(1).any(|line| line.starts_with("---") || line.starts_with("..."));
        let blank =
            if self.style.has_blank_lines && !ends_with_kept_lines(text, root) { newline } else { "" };
        if has_marker {
            let at = line_end(text, root.end);
            patch.put(at..at, format!("{newline}{blank}{new}"));
            return;
        }
        let is_ended = text.ends_with(['\n', '\r']);
        let has_blank = is_ended
            && line_before(text, text.len())
                .is_some_and(|last| text.get(last..).is_some_and(|last| last.trim().is_empty()));
        let before = match (is_ended, has_blank) {
            (_, true) => String::new(),
            (true, false) => blank.to_owned(),
            (false, _) => format!("{newline}{blank}"),
        };
        let after = if is_ended { newline } else { "" };
        patch.put(text.len()..text.len(), format!("{before}{new}{after}"));
    }

    /// An entry of a list before the entry `index`.
    pub(super) fn insert(&self, list: &Node, index: usize, value: &Tree, patch: &mut Patch) {
        let Kind::List { items, .. } = &list.kind else { return };
        let text = self.source.text;
        let Some(beside) = items.get(index.saturating_sub(1)) else { return };
        let left = column(text, beside.start);
        let is_beside = !has_breaks(text, beside.start..beside.node.body) && !beside.node.is_empty();
        let gap = if is_beside { column(text, beside.node.body).saturating_sub(left).max(2) } else { 2 };
        // An anchor stands between the dash and the value.
        let gap = if beside.node.start < beside.node.body { 2 } else { gap };
        let value = like(value.clone(), Some(&beside.node));
        let block = self.style.block(&value, Under::Dash(left + gap), Beside::of(&beside.node));
        let new = format!("-{}{}{}", " ".repeat(gap - 1), block.head, self.style.join(&block.lines));
        if index > 0 {
            let at = line_end(text, beside.node.end);
            patch.put(at..at, format!("{}{new}", self.style.newline(left)));
        } else if is_first(text, beside.start) {
            let at = with_comments(text, beside.start);
            patch.put(at..at, format!("{}{new}{}", " ".repeat(left), self.style.line_break));
        } else {
            patch.put(beside.start..beside.start, format!("{new}{}", self.style.newline(left)));
        }
    }

    /// An entry with its lines; not the only one.
    pub(super) fn remove(&self, node: &Node, index: usize, patch: &mut Patch) {
        let text = self.source.text;
        let children = node.children();
        let Some(child) = children.get(index) else { return };
        let end = line_end(text, child.end);
        match children.get(index + 1) {
            Some(next) if !is_first(text, child.start) => {
                // It stands behind the dash of what it is in.
                let is_next_line = line_start(text, next.start) == next_line(text, child.end);
                let to = if is_next_line { next.start } else { end };
                let from = if is_next_line { child.start } else { trim_before(text, child.start, 0) };
                patch.put(from..to, "");
            }
            _ => {
                let mut from = with_comments(text, child.start);
                let mut to = next_line(text, child.end);
                let is_blank_line = |at: usize| is_blank(text, at..line_end(text, at));
                let is_blank_before = line_before(text, from).is_none_or(is_blank_line);
                // The text before it may be one that takes all blank lines behind it.
                let before = index.checked_sub(1).and_then(|before| node.nth(before));
                let is_kept = before.is_some_and(|before| ends_with_kept_lines(text, before));
                while (is_blank_before || is_kept) && to < text.len() && is_blank_line(to) {
                    to = next_line(text, to);
                    if !is_kept {
                        break;
                    }
                }
                // The blank line that stood between it and the one before has nothing to part any more.
                let blank = line_before(text, from).filter(|at| is_blank_line(*at));
                if let Some(blank) = blank.filter(|_| to == text.len() && index > 0 && !is_kept) {
                    from = blank;
                }
                patch.put(from..to, "");
            }
        }
    }

    /// An object without any entry in place of all that the document holds.
    pub(super) fn clear_root(&self, patch: &mut Patch) {
        let (text, root) = (self.source.text, &self.source.root);
        let braces = if matches!(root.kind, Kind::List { .. }) { "[]" } else { "{}" };
        let start = line_start(text, root.start);
        patch.put(skip_blanks(text, start)..line_end(text, root.end), braces);
    }

    /// `key: value` with its lines, in this column.
    pub(super) fn entry(&self, key: &str, value: &Tree, left: usize, beside: Beside) -> String {
        let around = if self.style.is_json { Around::Json } else { Around::Block };
        let block = self.style.block(value, Under::Key(left), beside);
        let space = if block.head.is_empty() { "" } else { " " };
        format!("{}{space}{}{}", self.style.key(key, around), block.head, self.style.join(&block.lines))
    }
}

/// Whether the last text of the document is one that keeps the blank lines behind it.
fn ends_with_kept_lines(text: &str, node: &Node) -> bool {
    let mut last = node;
    loop {
        last = match &last.kind {
            Kind::List { items, .. } => match items.last() {
                Some(item) => &item.node,
                None => return false,
            },
            Kind::Object { entries, .. } => match entries.last() {
                Some(entry) => &entry.node,
                None => return false,
            },
            _ => break,
        };
    }
    last.is_block_scalar()
        && text.get(last.body..line_end(text, last.body)).is_some_and(|header| header.contains('+'))
}
