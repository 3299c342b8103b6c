//! Anchors and aliases: what is to change for one place alone is written out there first.

use std::collections::BTreeMap;

use super::block::Lines;
use super::flow::Flow;
use super::place::Place;
use super::scalar;
use super::source::{Form, Kind, Node, Quotes, Source};
use super::text::{Patch, line_end, skip_blanks};
use super::tree::{Change, Tree, parent};
use super::write::{Beside, Block, Style, Under};

/// The replacements after which the change touches nothing that others share; empty when that is so already.
pub(super) fn separate(source: &Source<'_>, style: &Style, change: &Change) -> Patch {
    let mut patch = Patch::default();
    let (anchors, mut aliases) = (source.anchors(), Vec::new());
    source.root.visit(&mut |node| {
        if let Kind::Alias(id) = node.kind {
            aliases.push((id, node));
        }
    });
    if aliases.is_empty() {
        return patch;
    }
    let writer = Writer { source, style, anchors: &anchors };
    let (way, goes) = match change {
        Change::Insert { at, .. } => (at.as_slice(), None),
        Change::Set { at, .. } | Change::Remove { at } => (parent(at), at.last()),
    };
    let (mut node, mut shared) = (&source.root, Vec::new());
    for step in way.iter().map(Some).chain([None]) {
        if let Kind::Alias(_) = node.kind {
            writer.write_out(node, None, &mut patch);
            return patch;
        }
        shared.extend(Some(node.anchor).filter(|anchor| *anchor > 0));
        let Some(step) = step else { break };
        let Some((_, child)) = node.child(step) else { return patch };
        node = child;
    }
    let range = goes.and_then(|step| node.child(step)).map(|(index, child)| match change {
        Change::Remove { .. } => node.children().get(index).cloned().unwrap_or(child.start..child.end),
        _ => child.start..child.end,
    });
    let is_gone = |node: &Node| range.as_ref().is_some_and(|range| range.contains(&node.start));
    // A value without any text is at the end of its entry, not in it; an anchor makes text.
    shared.extend(anchors.iter().filter(|(_, node)| is_gone(node)).map(|(id, _)| *id));
    let mut first: BTreeMap<usize, &Node> = BTreeMap::new();
    for (id, alias) in aliases.iter().filter(|(_, alias)| !is_gone(alias)) {
        first.entry(*id).or_insert(alias);
    }
    for id in shared {
        if let (Some(anchor), Some(alias)) = (anchors.get(&id), first.get(&id)) {
            writer.write_out(alias, Some(anchor), &mut patch);
            // What goes may still need the anchor while it is there.
            let is_needed = aliases.iter().any(|(of, alias)| *of == id && is_gone(alias));
            if !is_needed {
                writer.remove_anchor(anchor, &mut patch);
            }
        }
    }
    patch
}

struct Writer<'a> {
    source: &'a Source<'a>,
    style: &'a Style,
    anchors: &'a BTreeMap<usize, &'a Node>,
}

impl Writer<'_> {
    /// The value in place of an alias, with the anchor that later aliases are to find.
    fn write_out(&self, alias: &Node, anchor: Option<&Node>, patch: &mut Patch) {
        let Kind::Alias(id) = alias.kind else { return };
        let Some(original) = self.anchors.get(&id) else { return };
        let text = self.source.text;
        let name = anchor.and_then(|anchor| text.get(anchor.anchor_text.clone())).unwrap_or_default();
        let value = original.tree(self.anchors);
        let join = |head: &str| match (name.is_empty(), head.is_empty()) {
            (true, _) => head.to_owned(),
            (_, true) => name.to_owned(),
            _ => format!("{name} {head}"),
        };
        let flow = Flow { text, style: self.style };
        let place = Place::at(self.source, alias.start);
        let inline = self.as_it_stands(original, &value);
        let Some(place) = place.filter(|place| !place.is_in_flow()) else {
            let line = inline.unwrap_or_else(|| match value.is_collection() {
                true => self.style.flow(&value, flow.around(None)),
                false => scalar::line(&value, flow.around(None), None),
            });
            patch.put(alias.start..alias.end, join(&line));
            return;
        };
        let lines = Lines { source: self.source, style: self.style };
        let mut block = match inline {
            Some(head) => Block { head, lines: Vec::new() },
            None => self.style.block(&value, place.under(text), Beside::of(original)),
        };
        // Before the first key of an object an anchor would be the key's.
        if let (false, Under::Dash(column)) = (name.is_empty(), place.under(text))
            && value.is_collection()
            && !block.head.starts_with(['[', '{'])
        {
            block.lines.insert(0, format!("{}{}", " ".repeat(column), block.head));
            block.head.clear();
        }
        block.head = join(&block.head);
        lines.put(&place, &block, false, patch);
    }

    /// The text of a value that may stand anywhere as it is.
    fn as_it_stands(&self, original: &Node, value: &Tree) -> Option<String> {
        let text = self.source.text.get(original.body..original.end)?;
        let mut is_simple = !original.has_tag && !text.contains(['\n', '\r']);
        original.visit(&mut |node| {
            is_simple &=
                !matches!(node.kind, Kind::Alias(_)) && (node.anchor == 0 || node.start == original.start);
        });
        let is_quoted = matches!(original.kind, Kind::Scalar { quotes: Quotes::Single | Quotes::Double, .. });
        let has_brackets = original.form() == Some(Form::Flow);
        (is_simple && (is_quoted || has_brackets || matches!(value, Tree::Word(_)))).then(|| text.to_owned())
    }

    fn remove_anchor(&self, node: &Node, patch: &mut Patch) {
        let text = self.source.text;
        let range = node.anchor_text.clone();
        let next = skip_blanks(text, range.end);
        if next == line_end(text, range.end) {
            let before = text.get(..range.start).unwrap_or_default();
            patch.put(before.trim_end_matches([' ', '\t']).len()..range.end, "");
        } else {
            patch.put(range.start..next, "");
        }
    }
}
