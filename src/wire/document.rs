//! A document as a tree of nodes with positions.
//!
//! Scalars stay text until a field's type asks for a number or a word: `portRange: 8080` and `"8080"` are then one thing.

use super::flaw::Spot;
use super::path::Path;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// A scalar's own text; where a list or an object begins otherwise.
    pub spot: Spot,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A word, a number, a flag, a string: text whose meaning the field decides.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the text; keys are unique.
    Object(Vec<Entry>),
}

/// The text of a scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, quotes and escapes resolved.
    pub text: String,
    /// Whether it stood without quotes, so that it may be a number, a flag or null.
    pub is_plain: bool,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_spot: Spot,
    /// The value.
    pub node: Node,
}

impl Scalar {
    /// `null`, `~` or nothing, as the core schema has it.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.is_plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// `true` or `false`, without quotes.
    #[must_use]
    pub fn flag(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" | "True" | "TRUE" if self.is_plain => Some(true),
            "false" | "False" | "FALSE" if self.is_plain => Some(false),
            _ => None,
        }
    }

    /// A whole number, decimal, `0x` or `0o`. Quotes do not matter: gcloud prints int64 quoted.
    #[must_use]
    pub fn integer(&self) -> Option<i128> {
        let digits = self.text.strip_prefix('+').unwrap_or(&self.text);
        if digits.starts_with(['+', '_']) {
            return None;
        }
        if let Some(hex) = digits.strip_prefix("0x") {
            return i128::from_str_radix(hex, 16).ok().filter(|n| *n >= 0);
        }
        if let Some(octal) = digits.strip_prefix("0o") {
            return i128::from_str_radix(octal, 8).ok().filter(|n| *n >= 0);
        }
        digits.parse().ok()
    }

    /// A number; infinite and not-a-number are returned as such, for the range check to refuse.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self.text.as_str() {
            ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
            _ => {}
        }
        // Rust also reads `inf` and `nan`, which are words in YAML.
        let starts_right =
            self.text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if starts_right { self.text.parse().ok() } else { None }
    }
}

impl Node {
    /// Whether the value is null, which counts as absent.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// The text of a scalar; `None` for lists, objects and null.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(&scalar.text),
            _ => None,
        }
    }

    /// The value of a key, if this is an object that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entries, if this is a list; else none.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// What to underline when this value as a whole is meant: a scalar itself, else its first key or entry.
    #[must_use]
    pub fn point(&self) -> Spot {
        match &self.value {
            Value::Scalar(_) => self.spot,
            Value::List(items) => items.first().map_or(self.spot, |first| match first.value {
                Value::Scalar(_) => first.spot,
                _ => Spot { width: 1, ..first.spot },
            }),
            Value::Object(entries) => entries.first().map_or(self.spot, |first| first.key_spot),
        }
    }

    /// Where `path` stands, or the nearest part of it that exists. A field that holds a list or an object is shown by its key.
    #[must_use]
    pub fn locate(&self, path: &Path<'_>) -> Spot {
        self.descend(path).map_or_else(
            |spot| spot,
            |(node, key)| match (&node.value, key) {
                (Value::Scalar(scalar), Some(key)) if scalar.text.is_empty() => key,
                (Value::Scalar(_), _) => node.spot,
                (_, Some(key)) => key,
                (_, None) => node.point(),
            },
        )
    }

    /// Where a written path such as `forwardingRules[web].portRange` stands, or the nearest part of it that exists; an
    /// entry of a list goes by its number or its name. `None` when not even the first part is there.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Spot> {
        let (mut node, mut found) = (self, None);
        for part in path.split(['.', '[']) {
            let part = part.trim_end_matches(']');
            let (next, spot) = match &node.value {
                Value::Scalar(_) => break,
                Value::List(items) => {
                    let named = |item: &&Self| item.get("name").and_then(Self::text) == Some(part);
                    let numbered = || items.get(part.parse::<usize>().ok()?);
                    let Some(item) = items.iter().find(named).or_else(numbered) else { break };
                    (item, item.get("name").map_or_else(|| item.point(), |name| name.spot))
                }
                Value::Object(_) => {
                    let Some(entry) = node.entry(part) else { break };
                    let is_word =
                        matches!(&entry.node.value, Value::Scalar(scalar) if !scalar.text.is_empty());
                    (&entry.node, if is_word { entry.node.spot } else { entry.key_spot })
                }
            };
            (node, found) = (next, Some(spot));
        }
        found
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Object(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The node at `path` with the place of its key, or the place of the nearest ancestor.
    fn descend(&self, path: &Path<'_>) -> Result<(&Self, Option<Spot>), Spot> {
        match path {
            Path::Root => Ok((self, None)),
            Path::Key(parent, key) => {
                let (node, _) = self.descend(parent)?;
                node.entry(key).map(|entry| (&entry.node, Some(entry.key_spot))).ok_or_else(|| node.point())
            }
            Path::Item(parent, index) => {
                let (node, key) = self.descend(parent)?;
                match &node.value {
                    Value::List(items) => items
                        .get(*index)
                        .map(|item| (item, None))
                        .ok_or_else(|| key.unwrap_or_else(|| node.point())),
                    _ => Err(key.unwrap_or_else(|| node.point())),
                }
            }
        }
    }
}
