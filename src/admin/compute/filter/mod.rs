//! `filter` of a list, in Google's two styles, which do not mix [G 12.5, 10.10].
//!
//! - AIP-160: `name=web*`, `port>80 AND NOT labels.owner:*`. `OR` binds closer than `AND`, as the AIP has it, and
//!   what stands side by side is an `AND`.
//! - Regular expressions: `name eq "web-.*"`, `(name eq a)(port ne 80)`. Each must match the whole field, and all must.
//!
//! A field may be nested (`logConfig.enable`); of a repeated one any entry counts. `!=` and `ne` take what `=` and `eq`
//! do not take, also where the field is missing.

mod aip;
mod regex;

use serde_json::Value;

use super::error::ApiError;
use crate::model::route::pattern::Pattern;

/// Longest filter, in bytes.
const LONGEST: usize = 4096;
/// Most comparisons of a filter.
const MOST: usize = 64;
/// Deepest filter, in parentheses and `NOT`s within each other.
const DEEPEST: usize = 32;

/// A filter that was read.
#[derive(Debug)]
pub(crate) struct Filter(Node);

#[derive(Debug)]
enum Node {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Is(Vec<String>, Test),
}

/// What a field is compared with.
#[derive(Debug)]
enum Test {
    /// `eq`: the whole of it matches.
    Matches(Pattern, Literal),
    /// `=`.
    Equals(Literal),
    /// `:`.
    Has(Literal),
    /// `:*`.
    IsThere,
    /// `<`, `<=`, `>`, `>=`: which orderings count.
    Compares(&'static [std::cmp::Ordering], Literal),
}

/// A value in a filter: text between wildcards. One part: no wildcard.
#[derive(Debug)]
struct Literal(Vec<String>);

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    ///
    /// 400 with what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let refused = |why: &str| {
            ApiError::invalid_field("filter", text, &format!("Invalid list filter expression: {why}"))
        };
        if text.len() > LONGEST {
            return Err(refused("it is too long."));
        }
        let read = if regex::is_meant(text) { regex::parse(text) } else { aip::parse(text) };
        read.map(Self).map_err(|why| refused(&why))
    }

    /// Whether a list shows `item`.
    pub(crate) fn takes(&self, item: &Value) -> bool {
        self.0.takes(item)
    }
}

impl Node {
    fn takes(&self, item: &Value) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.takes(item)),
            Self::Any(nodes) => nodes.iter().any(|node| node.takes(item)),
            Self::Not(node) => !node.takes(item),
            Self::Is(field, test) => any(item, field, test),
        }
    }
}

/// Whether any value of the field passes.
fn any(value: &Value, field: &[String], test: &Test) -> bool {
    match (value, field) {
        (Value::Array(list), _) => list.iter().any(|entry| any(entry, field, test)),
        (Value::Object(object), [first, rest @ ..]) => {
            object.get(first).is_some_and(|value| any(value, rest, test))
        }
        (Value::Null, _) | (_, [_, ..]) => false,
        (value, []) => test.takes(value),
    }
}

impl Test {
    fn takes(&self, value: &Value) -> bool {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Object(object) => {
                return match self {
                    Self::IsThere => true,
                    Self::Has(Literal(parts)) => {
                        matches!(&**parts, [key] if object.contains_key(key))
                    }
                    _ => false,
                };
            }
            Value::Array(_) | Value::Null => return false,
        };
        let equals = |literal: &Literal| match value {
            Value::String(_) => literal.takes(&text),
            Value::Bool(_) => literal.takes_folded(&text),
            _ => literal.takes(&text) || literal.compare(&text) == Some(std::cmp::Ordering::Equal),
        };
        match self {
            Self::IsThere => true,
            Self::Matches(pattern, literal) => {
                pattern.takes(text.as_bytes()) || value.is_number() && equals(literal)
            }
            Self::Equals(literal) => equals(literal),
            Self::Has(literal) if value.is_string() => literal.is_in(&text),
            Self::Has(literal) => equals(literal),
            Self::Compares(wanted, literal) => {
                // Times and other texts compare as texts; int64 is a text of digits [G 10.8].
                let ordering = literal.compare(&text).or_else(|| {
                    let numbers = value.is_number() || value.is_boolean();
                    Some(text.as_str().cmp(literal.plain()?)).filter(|_| !numbers)
                });
                ordering.is_some_and(|ordering| wanted.contains(&ordering))
            }
        }
    }
}

impl Literal {
    /// The text, if there is no wildcard.
    fn plain(&self) -> Option<&str> {
        match &*self.0 {
            [plain] => Some(plain),
            _ => None,
        }
    }

    /// Whether it is all of `text`, with anything in place of each wildcard.
    fn takes(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return text == first };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            let Some((_, after)) = rest.split_once(part.as_str()) else { return false };
            rest = after;
        }
        rest.ends_with(last.as_str())
    }

    fn takes_folded(&self, text: &str) -> bool {
        Self(self.0.iter().map(|part| part.to_ascii_lowercase()).collect()).takes(&text.to_ascii_lowercase())
    }

    /// Whether `text` has it somewhere, in any case; with wildcards, whether it is all of the text.
    fn is_in(&self, text: &str) -> bool {
        match self.plain() {
            Some(plain) => text.to_ascii_lowercase().contains(&plain.to_ascii_lowercase()),
            None => self.takes_folded(text),
        }
    }

    /// How `text` stands to it as a number; `None` if either is none.
    fn compare(&self, text: &str) -> Option<std::cmp::Ordering> {
        let plain = self.plain()?;
        if let (Ok(a), Ok(b)) = (text.parse::<i128>(), plain.parse::<i128>()) {
            return Some(a.cmp(&b));
        }
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        number(text)?.partial_cmp(&number(plain)?)
    }
}

/// The next field of `rest`: words with dots between.
fn field(rest: &mut &str) -> Option<Vec<String>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let (field, after) = rest.split_at_checked(end)?;
    let parts: Vec<String> = field.split('.').map(str::to_owned).collect();
    if field.starts_with('-') || parts.len() > DEEPEST || parts.iter().any(String::is_empty) {
        return None;
    }
    *rest = after;
    Some(parts)
}

/// Takes `text` off the beginning of `rest`; whether it was there.
fn eat(rest: &mut &str, text: &str) -> bool {
    match rest.strip_prefix(text) {
        Some(after) => {
            *rest = after;
            true
        }
        None => false,
    }
}

/// Takes white space off the beginning of `rest`.
fn skip(rest: &mut &str) {
    *rest = rest.trim_start();
}

/// Takes a quoted text off the beginning of `rest`: what stands between the quotes, with its backslashes. `None`
/// inside: the second quote is missing.
fn quoted<'a>(rest: &mut &'a str) -> Option<Option<&'a str>> {
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inside = rest.get(1..)?;
    let mut is_escaped = false;
    for (at, c) in inside.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if c == quote {
            *rest = inside.get(at + 1..)?;
            return Some(inside.get(..at));
        }
    }
    Some(None)
}

#[cfg(test)]
mod tests;
