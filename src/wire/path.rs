//! Paths into a document, such as `backendServices[0].backends[1].maxRate`, without an allocation until one is shown.

use std::fmt;

/// A path; each step borrows the one before it.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// The document.
    Root,
    /// A field of an object.
    Key(&'a Self, &'a str),
    /// An entry of a list, from 0.
    Item(&'a Self, usize),
}

impl<'a> Path<'a> {
    /// The field `key` under this path.
    #[must_use]
    pub const fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    /// The entry `index` under this path.
    #[must_use]
    pub const fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Path::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
