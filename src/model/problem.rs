//! What is wrong with a document: where, what, and what would be right. Collected, never thrown one by one.

use crate::wire::flaw::{Flaw, Spot, masked};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// Legal and likely wrong; `check --strict` refuses it.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Stable code in kebab case, such as `unknown-key`; scripts may match on it.
    pub code: &'static str,
    /// Path in the document, such as `backendServices[0].backends[1].maxRate`.
    pub path: String,
    /// Where, if known.
    pub position: Option<Position>,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What would be right, with the rule it comes from where there is one.
    pub expected: Option<String>,
}

/// A place in the source text. Lines and columns start at 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column of the first character.
    pub column: usize,
    /// How many characters the caret line underlines; at least 1.
    pub width: usize,
}

impl From<Spot> for Position {
    fn from(spot: Spot) -> Self {
        Self { line: spot.line, column: spot.column, width: spot.width }
    }
}

impl From<Flaw> for Problem {
    fn from(flaw: Flaw) -> Self {
        Self {
            severity: Severity::Error,
            code: flaw.code,
            path: masked(&flaw.path).into_owned(),
            position: Some(flaw.spot.into()),
            message: masked(&flaw.message).into_owned(),
            expected: flaw.expected.map(|expected| masked(&expected).into_owned()),
        }
    }
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}
