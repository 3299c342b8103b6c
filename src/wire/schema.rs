//! What a field may hold, as data. Every resource has a [`Table`]; [`super::walk`] holds documents against it.
//!
//! A setting that Google has and we do not yet is [`Kind::Later`] or [`Word::Later`]: named, explained, refused. A value
//! that means "off" is accepted there, since exports are full of those.

/// The fields of an object.
#[derive(Debug)]
pub struct Table {
    /// What the object is, for messages: `a backend service`.
    pub noun: &'static str,
    /// All keys that may stand in it.
    pub fields: &'static [Field],
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// Google's spelling.
    pub key: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Whether the object is nothing without it.
    pub is_required: bool,
    /// Where the rule stands: `[G 5.1]`, or empty.
    pub rule: &'static str,
}

/// What a field may hold.
#[derive(Debug)]
pub enum Kind {
    /// A resource name, 1 to 63 characters [G 9].
    Name,
    /// Any string up to so many characters.
    Text(usize),
    /// A port or a range of ports; a bare number will do.
    Ports,
    /// `true` or `false`.
    Flag,
    /// A whole number from … to …; quotes do not matter.
    Integer(i64, i64),
    /// A number from … to …, never infinite.
    Number(f64, f64),
    /// One of some words.
    Word(&'static [Word]),
    /// This very word, or else the other kind.
    WordOr(&'static str, &'static Self),
    /// An object with known fields.
    Object(&'static Table),
    /// An object with free keys, which are names.
    Map(&'static Self),
    /// A list of at most so many.
    List(&'static Self, usize),
    /// Written by Google's servers: accepted and ignored [G 12.8].
    OutputOnly,
    /// For people: accepted, and nothing follows from it.
    Note,
    /// The same, up to so many characters.
    LimitedNote(usize),
    /// Not supported yet: what it would be, and which values mean that it is not in use.
    Later(&'static str, &'static [Off]),
    /// Of load balancers of another kind: whose, and which values mean that it is not in use.
    Never(&'static str, &'static [Off]),
}

/// A word of an enumeration.
#[derive(Debug)]
pub enum Word {
    /// Understood.
    Known(&'static str),
    /// Google's, and not supported yet: the word and what it would be.
    Later(&'static str, &'static str),
    /// Google's, for load balancers of another kind: the word and whose it is.
    Never(&'static str, &'static str),
}

/// A value that means "not in use".
#[derive(Debug)]
pub enum Off {
    /// `false`.
    False,
    /// 0.
    Zero,
    /// `[]`, `{}` or an empty string.
    Empty,
    /// This word.
    Word(&'static str),
    /// An object in which this key is false, whatever else it says.
    Disabled(&'static str),
    /// An object that holds this one key with this word.
    Choice(&'static str, &'static str),
}

impl Table {
    /// The field of that key.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}

impl Field {
    /// The same, with the rule that the range or the words come from.
    #[must_use]
    pub const fn by(mut self, rule: &'static str) -> Self {
        self.rule = rule;
        self
    }
}

/// A field that must stand.
#[must_use]
pub const fn required(key: &'static str, kind: Kind) -> Field {
    Field { key, kind, is_required: true, rule: "" }
}

/// A field that may stand.
#[must_use]
pub const fn optional(key: &'static str, kind: Kind) -> Field {
    Field { key, kind, is_required: false, rule: "" }
}

/// A field of Google's servers.
#[must_use]
pub const fn output(key: &'static str) -> Field {
    optional(key, Kind::OutputOnly)
}

/// A field for people.
#[must_use]
pub const fn note(key: &'static str) -> Field {
    optional(key, Kind::Note)
}

/// A setting that is not supported yet.
#[must_use]
pub const fn later(key: &'static str, what: &'static str, off: &'static [Off]) -> Field {
    optional(key, Kind::Later(what, off))
}

/// A setting of load balancers of another kind, which packets pass through.
#[must_use]
pub const fn never(key: &'static str, what: &'static str, off: &'static [Off]) -> Field {
    optional(key, Kind::Never(what, off))
}

/// Longest reference to a resource.
pub const REFERENCE: Kind = Kind::Text(2048);
/// A port that can be served or probed.
pub const PORT: Kind = Kind::Integer(1, 65_535);

/// Whether this may be the name of a resource: `[a-z]([-a-z0-9]{0,61}[a-z0-9])?` [G 9, 12.7].
#[must_use]
pub fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&bytes.len())
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(ends)
        && bytes.iter().all(|b| ends(b) || *b == b'-')
}

/// Says what [`is_name`] wants.
pub const NAME_RULE: &str =
    "1 to 63 lower-case letters, digits and hyphens, a letter first, no hyphen last [G 9]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_regular_expression_of_the_api() {
        for good in ["a", "web-1", &"a".repeat(63)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "1a", "a-", "A", "a_b", "a.b", "-a", &"a".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
