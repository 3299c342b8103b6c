//! Values as text, in the style of the document that they join.

use super::scalar::{self, Around, double_quoted, literal, may_be_plain};
use super::source::{Form, Kind, Node, Quotes, Source};
use super::text::{column, has_breaks};
use super::tree::Tree;

/// Longest line that a list or an object in brackets may make.
const LONGEST: usize = 120;
/// Longest line that an object in brackets makes among others that its document writes so.
const LONGEST_LEAF: usize = 90;

/// How a document is written.
pub(super) struct Style {
    /// `\n` or `\r\n`.
    pub line_break: &'static str,
    /// Spaces that a level is indented by.
    pub step: usize,
    /// Whether `-` stands further right than the key of its list.
    pub indents_lists: bool,
    /// Whether short objects stand in braces.
    pub has_short_objects: bool,
    /// Whether a space stands behind `{`.
    pub pads_braces: bool,
    /// Whether all keys are quoted.
    pub is_json: bool,
    /// Whether a blank line stands between the values of the root.
    pub has_blank_lines: bool,
    /// Whether texts of several lines stand in lines of their own, behind a `|`.
    pub has_literals: bool,
}

/// A value for a place in block style: what stands on the line of its key or `-`, and the lines below.
#[derive(Default)]
pub(super) struct Block {
    pub head: String,
    pub lines: Vec<String>,
}

/// Where a value in block style goes.
#[derive(Clone, Copy)]
pub(super) enum Under {
    /// A key that stands in this column.
    Key(usize),
    /// A `-` behind which values begin in this column.
    Dash(usize),
}

/// How what stands beside a value is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    Nothing,
    Block,
    Flow,
}

impl Beside {
    pub(super) const fn of(node: &Node) -> Self {
        match node.form() {
            Some(Form::Flow) if node.end - node.body > 2 => Self::Flow,
            Some(Form::Block) => Self::Block,
            _ => Self::Nothing,
        }
    }
}

impl Style {
    pub(super) fn of(source: &Source<'_>) -> Self {
        let text = source.text;
        let mut style = Self {
            line_break: if text.contains("\r\n") { "\r\n" } else { "\n" },
            step: 2,
            indents_lists: true,
            has_short_objects: false,
            pads_braces: false,
            is_json: is_json(&source.root),
            has_blank_lines: has_blank_lines(source),
            has_literals: true,
        };
        let (mut knows_step, mut knows_lists, mut knows_braces) = (false, false, false);
        source.root.visit(&mut |node| {
            let Kind::Object { form, entries } = &node.kind else { return };
            if *form == Form::Flow && !entries.is_empty() && !knows_braces {
                style.pads_braces = text.get(node.body + 1..).is_some_and(|rest| rest.starts_with(' '));
                knows_braces = true;
            }
            if let (Form::Flow, Some(first)) = (form, entries.first())
                && !knows_step
                && has_breaks(text, node.body..first.start)
                && column(text, first.start) > 0
            {
                style.step = column(text, first.start);
                knows_step = true;
            }
            // Only in block style: a column is far from the start of a line that holds a whole document in brackets.
            for entry in entries.iter().filter(|_| *form == Form::Block) {
                let columns = || (column(text, entry.start), column(text, entry.node.body));
                match &entry.node.kind {
                    Kind::List { form: Form::Block, .. } if !knows_lists => {
                        let (outer, inner) = columns();
                        style.indents_lists = inner > outer;
                        knows_lists = true;
                    }
                    Kind::Object { form: Form::Block, .. } if !knows_step => {
                        let (outer, inner) = columns();
                        style.step = inner.saturating_sub(outer).max(1);
                        knows_step = true;
                    }
                    Kind::Object { form: Form::Flow, entries } if entries.len() > 1 => {
                        style.has_short_objects = true;
                    }
                    _ => {}
                }
            }
        });
        source.root.visit(&mut |node| {
            let Kind::List { form: Form::Block, items } = &node.kind else { return };
            style.has_short_objects |= items.iter().any(|item| item.node.form() == Some(Form::Flow));
        });
        style
    }

    /// A key with its colon.
    pub(super) fn key(&self, key: &str, around: Around) -> String {
        if around != Around::Json && may_be_plain(key, around) {
            format!("{key}:")
        } else {
            format!("{}:", double_quoted(key))
        }
    }

    /// On one line, with brackets.
    pub(super) fn flow(&self, tree: &Tree, around: Around) -> String {
        let around = if around == Around::Block { Around::Flow } else { around };
        match tree {
            Tree::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.flow(item, around)).collect();
                format!("[{}]", items.join(", "))
            }
            Tree::Object(entries) => {
                let entry = |(key, value): &(String, Tree)| {
                    format!("{} {}", self.key(key, around), self.flow(value, around))
                };
                let entries: Vec<String> = entries.iter().map(entry).collect();
                let pad = if self.pads_braces && !entries.is_empty() { " " } else { "" };
                format!("{{{pad}{}{pad}}}", entries.join(", "))
            }
            scalar => scalar::line(scalar, around, None),
        }
    }

    /// With brackets over several lines, the last of which is indented by `indent`.
    pub(super) fn pretty(&self, tree: &Tree, around: Around, indent: usize) -> String {
        let inner = indent + self.step;
        let (open, close, parts): (_, _, Vec<String>) = match tree {
            Tree::List(items) if !items.is_empty() => {
                ('[', ']', items.iter().map(|item| self.pretty(item, around, inner)).collect())
            }
            Tree::Object(entries) if !entries.is_empty() => {
                let entry = |(key, value): &(String, Tree)| {
                    format!("{} {}", self.key(key, around), self.pretty(value, around, inner))
                };
                ('{', '}', entries.iter().map(entry).collect())
            }
            other => return self.flow(other, around),
        };
        let (newline, outer) = (self.newline(indent), self.newline(inner));
        format!("{open}{outer}{}{newline}{close}", parts.join(&format!(",{outer}")))
    }

    /// A line break and the indentation of the next line.
    pub(super) fn newline(&self, indent: usize) -> String {
        format!("{}{}", self.line_break, " ".repeat(indent))
    }

    /// The lines, each behind a line break.
    pub(super) fn join(&self, lines: &[String]) -> String {
        lines.iter().map(|line| format!("{}{line}", self.line_break)).collect()
    }

    /// For a place in block style.
    pub(super) fn block(&self, tree: &Tree, under: Under, beside: Beside) -> Block {
        let around = if self.is_json { Around::Json } else { Around::Block };
        let column = match under {
            Under::Key(column) | Under::Dash(column) => column,
        };
        if let (Tree::Text(text), true) = (tree, self.has_literals)
            && let Some((header, lines)) = literal(text)
        {
            let indent = match under {
                Under::Key(column) => column + self.step,
                Under::Dash(column) => column,
            };
            return Block { head: header.to_owned(), lines: indented(lines, indent) };
        }
        if !tree.is_collection() || tree.is_empty_collection() {
            let around = if tree.is_collection() { Around::Flow } else { around };
            let head =
                if tree.is_collection() { self.flow(tree, around) } else { scalar::line(tree, around, None) };
            return Block { head, lines: Vec::new() };
        }
        let flow = || Some(self.flow(tree, around)).filter(|_| !has_long_texts(tree));
        let longest = if beside == Beside::Flow { LONGEST } else { LONGEST_LEAF };
        if (beside == Beside::Flow || beside == Beside::Nothing && self.is_leaf(tree))
            && let Some(flow) = flow().filter(|flow| column + flow.chars().count() <= longest)
        {
            return Block { head: flow, lines: Vec::new() };
        }
        let at = match (under, tree) {
            (Under::Key(column), Tree::List(_)) if !self.indents_lists => column,
            (Under::Key(column), _) => column + self.step,
            (Under::Dash(column), _) => column,
        };
        let mut lines = Vec::new();
        self.lines(tree, at, &mut lines);
        match under {
            Under::Key(_) => Block { head: String::new(), lines },
            Under::Dash(_) => {
                let head = lines.first().map(|line| line.trim_start().to_owned()).unwrap_or_default();
                lines.drain(..lines.len().min(1));
                Block { head, lines }
            }
        }
    }

    /// A list or an object in block style, in this column.
    fn lines(&self, tree: &Tree, column: usize, out: &mut Vec<String>) {
        let around = if self.is_json { Around::Json } else { Around::Block };
        let indent = " ".repeat(column);
        let mut add = |before: String, block: Block| {
            let space = if block.head.is_empty() { "" } else { " " };
            out.push(format!("{indent}{before}{space}{}", block.head));
            out.extend(block.lines);
        };
        match tree {
            Tree::Object(entries) => {
                for (key, value) in entries {
                    add(self.key(key, around), self.block(value, Under::Key(column), Beside::Nothing));
                }
            }
            Tree::List(items) => {
                for item in items {
                    add("-".to_owned(), self.block(item, Under::Dash(column + 2), Beside::Nothing));
                }
            }
            _ => {}
        }
    }

    /// Whether it holds words alone and stands on one line beside others of the document: lists of words always do.
    fn is_leaf(&self, tree: &Tree) -> bool {
        match tree {
            Tree::List(items) => items.iter().all(|item| !item.is_collection()),
            Tree::Object(entries) => {
                self.has_short_objects && entries.iter().all(|(_, value)| !value.is_collection())
            }
            _ => false,
        }
    }
}

/// Whether it holds a text of several lines, which nobody can read with brackets around.
pub(super) fn has_long_texts(tree: &Tree) -> bool {
    match tree {
        Tree::Text(text) => text.contains('\n'),
        Tree::List(items) => items.iter().any(has_long_texts),
        Tree::Object(entries) => entries.iter().any(|(_, value)| has_long_texts(value)),
        Tree::Null | Tree::Word(_) => false,
    }
}

/// The same with the keys of objects in the order of those beside it.
pub(super) fn like(tree: Tree, beside: Option<&Node>) -> Tree {
    let (Tree::Object(mut entries), Some(Node { kind: Kind::Object { entries: others, .. }, .. })) =
        (tree.clone(), beside)
    else {
        return tree;
    };
    let place = |key: &str| others.iter().position(|other| other.name == key).unwrap_or(others.len());
    entries.sort_by_key(|(key, _)| place(key));
    Tree::Object(entries)
}

/// Whether a node and all in it is written as JSON: brackets, and quotes around every key and string.
pub(super) fn is_json(node: &Node) -> bool {
    let (mut is_json, mut has_quotes) = (true, false);
    node.visit(&mut |node| match &node.kind {
        Kind::Scalar { quotes: Quotes::Double, .. } => has_quotes = true,
        Kind::Scalar { scalar, .. } => {
            is_json &= !matches!(Tree::of_scalar(scalar.clone()), Tree::Text(_));
        }
        Kind::Alias(_) => is_json = false,
        Kind::Object { form, .. } | Kind::List { form, .. } => is_json &= *form == Form::Flow,
    });
    is_json && has_quotes
}

/// Whether most values of the root have a blank line before them.
fn has_blank_lines(source: &Source<'_>) -> bool {
    let Kind::Object { entries, .. } = &source.root.kind else { return false };
    let gaps: Vec<bool> = entries
        .iter()
        .zip(entries.iter().skip(1))
        .map(|(one, next)| {
            let gap = source.text.get(one.node.end..next.start).unwrap_or_default();
            let lines: Vec<&str> = gap.split('\n').skip(1).collect();
            lines.split_last().is_some_and(|(_, lines)| lines.iter().any(|line| line.trim().is_empty()))
        })
        .collect();
    let with = gaps.iter().filter(|is_blank| **is_blank).count();
    with * 2 >= gaps.len().max(1) || gaps.is_empty()
}

fn indented(lines: Vec<&str>, indent: usize) -> Vec<String> {
    let indent = " ".repeat(indent);
    let line = |line: &str| if line.is_empty() { String::new() } else { format!("{indent}{line}") };
    lines.into_iter().map(line).collect()
}
