//! Where in the text an edit happens.

use std::ops::Range;

use super::source::{Entry, Form, Kind, Node, Source};
use super::text::{column, has_breaks, is_blank, is_break, is_first, line_before, line_start};
use super::write::Under;
use super::{Refused, Step, show};

/// A value with all that it is in.
pub(super) struct Place<'n> {
    /// From the root to the parent, each with the number of the entry that leads on.
    pub above: Vec<(&'n Node, usize)>,
    pub node: &'n Node,
}

impl<'n> Place<'n> {
    /// The value at a path. Aliases on the way have been written out before.
    pub(super) fn find(source: &'n Source<'_>, at: &[Step]) -> Result<Self, Refused> {
        let mut place = Self { above: Vec::new(), node: &source.root };
        for step in at {
            let missing = || Refused::Missing(format!("there is no {}", show(at)));
            let (index, node) = place.node.child(step).ok_or_else(missing)?;
            place.above.push((place.node, index));
            place.node = node;
        }
        Ok(place)
    }

    /// The value that begins at `start`; `None` if that is a key.
    pub(super) fn at(source: &'n Source<'_>, start: usize) -> Option<Self> {
        let mut place = Self { above: Vec::new(), node: &source.root };
        while place.node.start != start || matches!(place.node.kind, Kind::List { .. } | Kind::Object { .. })
        {
            let children = place.node.children();
            let index = children.partition_point(|child| child.start <= start).checked_sub(1)?;
            let node = place.node.nth(index)?;
            if node.start > start {
                return None;
            }
            place.above.push((place.node, index));
            place.node = node;
        }
        Some(place)
    }

    /// What holds it, as a place of its own, and its number there.
    pub(super) fn parent(&self) -> Option<(Self, usize)> {
        let mut above = self.above.clone();
        let (node, index) = above.pop()?;
        Some((Place { above, node }, index))
    }

    /// Whether brackets stand around it.
    pub(super) fn is_in_flow(&self) -> bool {
        self.above.iter().any(|(node, _)| node.form() != Some(Form::Block))
    }

    /// Its entry, if it stands behind a key.
    pub(super) fn entry(&self) -> Option<&'n Entry> {
        match self.above.last() {
            Some((Node { kind: Kind::Object { entries, .. }, .. }, index)) => entries.get(*index),
            _ => None,
        }
    }

    /// Where its key or `-` begins.
    pub(super) fn slot_start(&self) -> usize {
        match self.above.last() {
            Some((Node { kind: Kind::Object { entries, .. }, .. }, index)) => {
                entries.get(*index).map_or(self.node.start, |entry| entry.start)
            }
            Some((Node { kind: Kind::List { items, .. }, .. }, index)) => {
                items.get(*index).map_or(self.node.start, |item| item.start)
            }
            _ => self.node.start,
        }
    }

    /// Behind the `:` or the `-` in block style.
    pub(super) fn slot_end(&self) -> usize {
        match self.entry() {
            Some(entry) => entry.colon.map_or(entry.key.end, |colon| colon + 1),
            None => self.slot_start() + 1,
        }
    }

    /// For what replaces it in block style.
    pub(super) fn under(&self, text: &str) -> Under {
        let start = self.slot_start();
        let left = column(text, start);
        if self.entry().is_some() {
            return Under::Key(left);
        }
        let is_beside = !has_breaks(text, start..self.node.start) && !self.node.is_empty();
        Under::Dash(if is_beside { column(text, self.node.start) } else { left + 2 })
    }
}

/// Where the comments begin that belong to what begins at `start`: lines directly above, in its column. The head of the
/// file belongs to the file.
pub(super) fn with_comments(text: &str, start: usize) -> usize {
    let (mut from, left) = (line_start(text, start), column(text, start));
    while let Some(above) = line_before(text, from) {
        let is_comment = text.get(above + left..).is_some_and(|rest| rest.starts_with('#'));
        if !is_comment || !is_blank(text, above..above + left) {
            return from;
        }
        from = above;
    }
    // The first line of the text.
    if from < line_start(text, start) { line_start(text, start) } else { from }
}

/// Back over blanks on the same line, not further than `least`.
pub(super) fn trim_before(text: &str, at: usize, least: usize) -> usize {
    let before = text.get(least..at).unwrap_or_default();
    least + before.trim_end_matches([' ', '\t']).len()
}

/// The comma behind an entry that ends at `end`.
pub(super) fn comma_after(text: &str, end: usize) -> Option<usize> {
    let at = super::text::skip(text, end);
    text.get(at..).is_some_and(|rest| rest.starts_with(',')).then_some(at)
}

/// Spaces that the line at `at` begins with.
pub(super) fn indentation(text: &str, at: usize) -> usize {
    let line = text.get(line_start(text, at)..).unwrap_or_default();
    line.chars().take_while(|c| *c == ' ').count()
}

/// Whether the part of the text holds a comment or goes over lines.
pub(super) fn is_loose(text: &str, range: Range<usize>) -> bool {
    text.get(range).is_some_and(|part| part.contains(|c| is_break(c) || c == '#'))
}

/// Whether each entry of a list or an object in brackets has a line of its own.
pub(super) fn is_spread(text: &str, children: &[Range<usize>]) -> bool {
    children.last().is_some_and(|last| is_first(text, last.start))
}
