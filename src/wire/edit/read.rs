//! Reads where each value of a text stands.
//!
//! The parser's events tell the structure. Their positions are not to be relied on around quotes, comments and block
//! collections, so what stands between two values (indicators, anchors, comments) is read here again; there is little
//! that may stand there.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::Refused;
use super::source::{Entry, Form, Item, Kind, Node, Quotes};
use super::text::{is_break, line_end, skip};
use crate::wire::document::Scalar;

/// The root of a text that `yaml::parse` has accepted, or of one that was made of such a text.
pub(super) fn read(text: &str) -> Result<Node, Refused> {
    let bom = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let (open, names) = (Vec::new(), BTreeMap::new());
    Reader { text, at: bom, chars: (0, bom), open, root: None, names }.run(bom)
}

struct Open {
    node: Node,
    /// Where the entry of the parent begins.
    slot: Slot,
    /// The key that waits for its value.
    key: Option<(usize, Node, String)>,
}

#[derive(Clone, Copy)]
struct Slot {
    start: usize,
    colon: Option<usize>,
}

struct Reader<'t> {
    text: &'t str,
    /// Behind what has been read.
    at: usize,
    /// A place that the parser counts in characters, and the same in bytes.
    chars: (usize, usize),
    open: Vec<Open>,
    root: Option<Node>,
    /// Words that have an anchor: an alias may stand as a key.
    names: BTreeMap<usize, String>,
}

impl Reader<'_> {
    fn run(mut self, bom: usize) -> Result<Node, Refused> {
        let mut parser = Parser::new_from_str(self.text.get(bom..).unwrap_or_default());
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| lost(error.marker().line()))?;
            // What follows the first document is none.
            if self.root.is_some() {
                break;
            }
            let line = span.start.line();
            self.take(event, span).ok_or_else(|| lost(line))?;
        }
        self.root.ok_or_else(|| lost(1))
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let slot = self.approach()?;
                let quotes = match style {
                    ScalarStyle::Plain => Quotes::None,
                    ScalarStyle::SingleQuoted => Quotes::Single,
                    ScalarStyle::DoubleQuoted => Quotes::Double,
                    ScalarStyle::Literal | ScalarStyle::Folded => Quotes::Block,
                };
                let is_nothing = style == ScalarStyle::Plain && text.is_empty();
                let mut node = self.begin(anchor, tag.is_some(), is_nothing)?;
                node.end = self.scalar_end(quotes, is_nothing, span)?;
                let written = self.text.get(node.body..node.end)?;
                if quotes == Quotes::None && !written.contains(is_break) && written != text {
                    return None;
                }
                let is_plain = tag.as_deref().map_or(style == ScalarStyle::Plain, |tag| tag.suffix != "str");
                if anchor > 0 {
                    self.names.insert(anchor, text.clone().into_owned());
                }
                node.kind = Kind::Scalar { scalar: Scalar { text: text.into_owned(), is_plain }, quotes };
                self.place(slot, node)
            }
            Event::Alias(id) => {
                let slot = self.approach()?;
                let mut node = self.begin(0, false, false)?;
                self.at = self.word_end(node.body);
                node.end = self.at;
                node.kind = Kind::Alias(id);
                self.place(slot, node)
            }
            Event::SequenceStart(anchor, tag) => {
                let form = |form| Kind::List { form, items: Vec::new() };
                self.open(anchor, tag.is_some(), '[', form)
            }
            Event::MappingStart(anchor, tag) => {
                let form = |form| Kind::Object { form, entries: Vec::new() };
                self.open(anchor, tag.is_some(), '{', form)
            }
            Event::SequenceEnd => self.close(']'),
            Event::MappingEnd => self.close('}'),
            Event::DocumentStart(true) => self.document(),
            Event::DocumentStart(false)
            | Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentEnd => Some(()),
        }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self) {
        self.at = skip(self.text, self.at);
    }

    fn accept(&mut self, c: char) -> bool {
        let is_there = self.rest().starts_with(c);
        if is_there {
            self.at += c.len_utf8();
        }
        is_there
    }

    /// Directives and the marker before a document.
    fn document(&mut self) -> Option<()> {
        self.skip();
        while self.rest().starts_with('%') {
            self.at = line_end(self.text, self.at);
            self.skip();
        }
        if self.rest().starts_with("---") {
            self.at += 3;
        }
        Some(())
    }

    /// Reads the indicators before the next value: what the list or object around it has there.
    fn approach(&mut self) -> Option<Slot> {
        let Some(open) = self.open.last() else {
            return Some(Slot { start: self.at, colon: None });
        };
        let form = open.node.form()?;
        if open.key.is_some() {
            let before = self.at;
            self.skip();
            let colon = Some(self.at).filter(|_| self.accept(':'));
            if colon.is_none() {
                self.at = before;
            }
            return Some(Slot { start: self.at, colon });
        }
        let is_list = matches!(open.node.kind, Kind::List { .. });
        self.skip();
        if form == Form::Flow && self.accept(',') {
            self.skip();
        }
        let start = self.at;
        if is_list && form == Form::Block && !self.accept('-') {
            return None;
        }
        if !is_list && self.rest().starts_with('?') {
            let next = self.rest().chars().nth(1);
            if next.is_none_or(|c| c.is_ascii_whitespace()) {
                self.at += 1;
            }
        }
        Some(Slot { start, colon: None })
    }

    /// Reads the anchor and the tag, and up to the value itself unless that is nothing.
    fn begin(&mut self, anchor: usize, has_tag: bool, is_nothing: bool) -> Option<Node> {
        let before = self.at;
        let mut anchor_text = before..before;
        let mut start = None;
        for _ in 0..usize::from(anchor > 0) + usize::from(has_tag) {
            self.skip();
            let (from, first) = (self.at, self.rest().chars().next()?);
            self.at = match first {
                '&' => self.word_end(from),
                '!' if self.rest().starts_with("!<") => from + self.rest().find('>')? + 1,
                '!' => self.word_end(from),
                _ => return None,
            };
            if first == '&' {
                anchor_text = from..self.at;
            }
            start.get_or_insert(from);
        }
        let props_end = self.at;
        if !is_nothing {
            self.skip();
        }
        let (start, body) = (start.unwrap_or(self.at), self.at);
        let kind = Kind::Alias(0);
        Some(Node { start, body, end: body, anchor, anchor_text, has_tag, props_end, kind })
    }

    fn word_end(&self, from: usize) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}');
        from + rest.find(is_end).unwrap_or(rest.len())
    }

    fn scalar_end(&mut self, quotes: Quotes, is_nothing: bool, span: Span) -> Option<usize> {
        let (from, rest) = (self.at, self.rest());
        self.at = match quotes {
            _ if is_nothing => from,
            Quotes::Single | Quotes::Double => from + quoted_end(rest)?,
            Quotes::None => {
                let end = self.byte(span.end.index());
                from + self.text.get(from..end)?.trim_end().len()
            }
            Quotes::Block => {
                if !rest.starts_with(['|', '>']) {
                    return None;
                }
                let end = self.byte(span.end.index());
                block_end(self.text, from, end)?
            }
        };
        Some(self.at)
    }

    /// Places come in order, so that each character is counted once.
    fn byte(&mut self, index: usize) -> usize {
        let (chars, bytes) = self.chars;
        let rest = self.text.get(bytes..).unwrap_or_default();
        let ahead = index.saturating_sub(chars);
        let more = rest.char_indices().nth(ahead).map_or(rest.len(), |(at, _)| at);
        self.chars = (chars + ahead, bytes + more);
        self.chars.1
    }

    fn open(
        &mut self,
        anchor: usize,
        has_tag: bool,
        bracket: char,
        kind: impl Fn(Form) -> Kind,
    ) -> Option<()> {
        let slot = self.approach()?;
        let mut node = self.begin(anchor, has_tag, true)?;
        let after = skip(self.text, self.at);
        let is_flow_around = self.open.last().is_some_and(|open| open.node.form() != Some(Form::Block));
        let has_bracket = self.text.get(after..).unwrap_or_default().starts_with(bracket);
        let form = match (has_bracket, is_flow_around) {
            (true, _) => Form::Flow,
            (false, true) => Form::Pair,
            (false, false) => Form::Block,
        };
        node.body = after;
        if node.anchor == 0 && !has_tag {
            node.start = after;
        }
        if form == Form::Flow {
            self.at = after + 1;
        }
        node.kind = kind(form);
        self.open.push(Open { node, slot, key: None });
        Some(())
    }

    fn close(&mut self, bracket: char) -> Option<()> {
        let Open { mut node, slot, .. } = self.open.pop()?;
        if node.form() == Some(Form::Flow) {
            self.skip();
            if self.accept(',') {
                self.skip();
            }
            if !self.accept(bracket) {
                return None;
            }
        }
        node.end = self.at;
        self.place(slot, node)
    }

    fn place(&mut self, slot: Slot, node: Node) -> Option<()> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        match &mut open.node.kind {
            Kind::List { items, .. } => items.push(Item { start: slot.start, node }),
            Kind::Object { entries, .. } => match open.key.take() {
                Some((start, key, name)) => {
                    entries.push(Entry { start, key, name, colon: slot.colon, node });
                }
                None => {
                    let name = match &node.kind {
                        Kind::Scalar { scalar, .. } => scalar.text.clone(),
                        Kind::Alias(id) => self.names.get(id)?.clone(),
                        _ => return None,
                    };
                    open.key = Some((slot.start, node, name));
                }
            },
            _ => return None,
        }
        Some(())
    }
}

fn quoted_end(text: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    let (_, quote) = chars.next().filter(|(_, c)| matches!(c, '"' | '\''))?;
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote == '"' {
            chars.next();
        } else if c == quote {
            let is_doubled = quote == '\'' && text.get(at + 1..).is_some_and(|rest| rest.starts_with('\''));
            if !is_doubled {
                return Some(at + 1);
            }
            chars.next();
        }
    }
    None
}

/// The end of the last line of a `|` or `>` text that begins at `from`; the parser reads on to `end`.
fn block_end(text: &str, from: usize, end: usize) -> Option<usize> {
    let header_end = line_end(text, from);
    let header = text.get(from..header_end)?;
    let keeps_blank_lines = header.split('#').next().is_some_and(|header| header.contains('+'));
    let read = text.get(..end.max(header_end))?;
    if keeps_blank_lines {
        let lines = read.trim_end_matches([' ', '\t']);
        let lines = if end < text.len() || lines.len() == read.len() { lines } else { read };
        let stripped = lines.strip_suffix("\r\n").or_else(|| lines.strip_suffix(is_break));
        return Some(stripped.unwrap_or(lines).len().max(header_end));
    }
    Some(line_end(text, read.trim_end().len().max(header_end)))
}

fn lost(line: usize) -> Refused {
    Refused::Internal(format!("the text around line {line} is written in a way that edits cannot follow"))
}
