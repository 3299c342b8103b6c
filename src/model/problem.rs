//! What is wrong with a document: where, what, and what would be right. Collected, never thrown one by one.

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
