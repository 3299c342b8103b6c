//! Words and strings as YAML takes them for what they are.

use super::source::Quotes;
use super::tree::Tree;
use crate::wire::document::Scalar;

/// What stands around a value, for what it may be written as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    Block,
    /// Brackets, in which commas and brackets end a word.
    Flow,
    /// Brackets of JSON: all strings are quoted.
    Json,
}

/// A scalar on one line, in the style of what it replaces where that can be. Lists and objects: nothing.
pub(super) fn line(tree: &Tree, around: Around, quotes: Option<Quotes>) -> String {
    let text = match tree {
        Tree::Null => return "null".to_owned(),
        Tree::Word(word) => return word.clone(),
        Tree::Text(text) => text,
        Tree::List(_) | Tree::Object(_) => return String::new(),
    };
    match quotes {
        Some(Quotes::Single) if around != Around::Json && text.chars().all(is_printable) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        Some(Quotes::Double) => double_quoted(text),
        _ if around != Around::Json && may_be_plain(text, around) => text.clone(),
        _ => double_quoted(text),
    }
}

/// The header and the lines of a literal block; `None` where the text is not several lines of what may stand in one.
pub(super) fn literal(text: &str) -> Option<(&'static str, Vec<&str>)> {
    let (header, body) = match text.strip_suffix('\n') {
        Some(body) => ("|", body),
        None => ("|-", text),
    };
    let is_odd = body.starts_with([' ', '\t', '\n']) || body.ends_with('\n') || body.is_empty();
    let may_stand = |c: char| is_printable(c) || matches!(c, '\n' | '\t');
    if !text.contains('\n') || is_odd || !body.chars().all(may_stand) {
        return None;
    }
    let lines: Vec<_> = body.split('\n').collect();
    // A line of blanks alone may be taken for an empty one, and is what editors take away.
    let is_blank = |line: &&str| !line.is_empty() && line.trim_matches([' ', '\t']).is_empty();
    (!lines.iter().any(is_blank)).then_some((header, lines))
}

/// Whether the text without quotes is this string and nothing else, to YAML of any version.
pub(super) fn may_be_plain(text: &str, around: Around) -> bool {
    let (Some(first), Some(last)) = (text.chars().next(), text.chars().last()) else { return false };
    let begins_well = first.is_alphanumeric() || matches!(first, '/' | '_' | '.' | '$' | '(' | '^' | ';');
    begins_well
        && !matches!(last, ' ' | ':')
        && text.chars().all(is_printable)
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.starts_with("...")
        && (around == Around::Block || !text.contains([',', '[', ']', '{', '}']))
        && !means_more(text)
}

/// Whether it would be read as null, a flag, a number or a date.
fn means_more(text: &str) -> bool {
    let scalar = Scalar { text: text.to_owned(), is_plain: true };
    if !matches!(Tree::of_scalar(scalar), Tree::Text(_)) {
        return true;
    }
    // YAML 1.1 had more words, and numbers with `_` and `:`.
    let lower = text.to_ascii_lowercase();
    let is_word = matches!(lower.as_str(), "yes" | "no" | "on" | "off" | "null" | "true" | "false");
    let begins_with_digit = text.starts_with(|c: char| c.is_ascii_digit());
    let is_number = begins_with_digit
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '_' | ':' | '-' | 'e' | 'E'));
    let is_special = begins_with_digit
        && (text.as_bytes().get(4) == Some(&b'-')
            || ["0x", "0b", "0o"].iter().any(|start| lower.starts_with(start)));
    is_word || is_number || is_special
}

/// Visible, a space, and nothing that ends a line or turns its direction.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~')
        || (c.is_alphanumeric() && !c.is_control())
        || matches!(c, '…' | '–' | '—' | '’' | '“' | '”' | '·' | '→' | '€')
}

/// As in JSON, which YAML reads alike.
pub(super) fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Beyond the first plane JSON and YAML escape differently, and both take the character itself.
            c if is_printable(c) || u32::from(c) > 0xffff => out.push(c),
            c => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}
