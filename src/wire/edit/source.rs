//! A document as it is written: where each value begins and ends, with its indicators, in bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use super::read::read;
use super::tree::Tree;
use super::{Refused, Step};
use crate::wire::document::Scalar;

/// A document with its text.
pub(super) struct Source<'t> {
    pub text: &'t str,
    pub root: Node,
}

/// A value in the text.
pub(super) struct Node {
    /// From the anchor or tag if there is one.
    pub start: usize,
    /// From the value itself: an opening bracket or quote, `|`, the first key, the first `-`.
    pub body: usize,
    /// Behind the last character.
    pub end: usize,
    /// 0: none.
    pub anchor: usize,
    /// `&name`.
    pub anchor_text: Range<usize>,
    pub has_tag: bool,
    /// Behind the anchor and the tag.
    pub props_end: usize,
    pub kind: Kind,
}

pub(super) enum Kind {
    Scalar {
        scalar: Scalar,
        quotes: Quotes,
    },
    /// The number of its anchor.
    Alias(usize),
    List {
        form: Form,
        items: Vec<Item>,
    },
    Object {
        form: Form,
        entries: Vec<Entry>,
    },
}

/// How a scalar is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    None,
    Single,
    Double,
    /// `|` or `>`.
    Block,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Block,
    Flow,
    /// `[key: value]`, an object of one key without braces.
    Pair,
}

pub(super) struct Item {
    /// Of the `-`, or of the value in brackets.
    pub start: usize,
    pub node: Node,
}

pub(super) struct Entry {
    /// Of the key or the `?` before it.
    pub start: usize,
    pub key: Node,
    pub name: String,
    /// Of the `:`, which may be missing behind `?` and in braces.
    pub colon: Option<usize>,
    pub node: Node,
}

impl Node {
    pub(super) const fn form(&self) -> Option<Form> {
        match self.kind {
            Kind::List { form, .. } | Kind::Object { form, .. } => Some(form),
            _ => None,
        }
    }

    pub(super) const fn is_block_scalar(&self) -> bool {
        matches!(self.kind, Kind::Scalar { quotes: Quotes::Block, .. })
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.body == self.end
    }

    /// Where its entries begin and end.
    pub(super) fn children(&self) -> Vec<Range<usize>> {
        match &self.kind {
            Kind::List { items, .. } => items.iter().map(|item| item.start..item.node.end).collect(),
            Kind::Object { entries, .. } => entries.iter().map(|entry| entry.start..entry.node.end).collect(),
            _ => Vec::new(),
        }
    }

    /// The value of an entry.
    pub(super) fn nth(&self, index: usize) -> Option<&Self> {
        match &self.kind {
            Kind::List { items, .. } => items.get(index).map(|item| &item.node),
            Kind::Object { entries, .. } => entries.get(index).map(|entry| &entry.node),
            _ => None,
        }
    }

    /// The number of an entry, and its value.
    pub(super) fn child(&self, step: &Step) -> Option<(usize, &Self)> {
        match (&self.kind, step) {
            (Kind::List { items, .. }, Step::Index(index)) => {
                items.get(*index).map(|item| (*index, &item.node))
            }
            (Kind::Object { entries, .. }, Step::Key(key)) => {
                let index = entries.iter().position(|entry| entry.name == *key)?;
                entries.get(index).map(|entry| (index, &entry.node))
            }
            _ => None,
        }
    }

    /// Calls `see` for this value and all below, keys too, in the order of the text.
    pub(super) fn visit<'n>(&'n self, see: &mut impl FnMut(&'n Self)) {
        see(self);
        match &self.kind {
            Kind::List { items, .. } => items.iter().for_each(|item| item.node.visit(see)),
            Kind::Object { entries, .. } => {
                for entry in entries {
                    entry.key.visit(see);
                    entry.node.visit(see);
                }
            }
            _ => {}
        }
    }

    /// What it means. `anchors` has the nodes that aliases in it stand for.
    pub(super) fn tree(&self, anchors: &BTreeMap<usize, &Self>) -> Tree {
        match &self.kind {
            Kind::Scalar { scalar, .. } => Tree::of_scalar(scalar.clone()),
            Kind::Alias(id) => anchors.get(id).map_or(Tree::Null, |node| node.tree(anchors)),
            Kind::List { items, .. } => {
                Tree::List(items.iter().map(|item| item.node.tree(anchors)).collect())
            }
            Kind::Object { entries, .. } => {
                let entry = |entry: &Entry| (entry.name.clone(), entry.node.tree(anchors));
                Tree::Object(entries.iter().map(entry).collect())
            }
        }
    }
}

impl<'t> Source<'t> {
    /// Reads a text that `yaml::parse` has accepted, or one that was made of such a text.
    pub(super) fn read(text: &'t str) -> Result<Self, Refused> {
        Ok(Self { text, root: read(text)? })
    }

    /// The nodes that aliases stand for.
    pub(super) fn anchors(&self) -> BTreeMap<usize, &Node> {
        let mut anchors = BTreeMap::new();
        self.root.visit(&mut |node| {
            if node.anchor > 0 {
                anchors.insert(node.anchor, node);
            }
        });
        anchors
    }
}
