//! Wire → [`Config`]: follows references, fills defaults, checks every rule, and collects all problems.

use super::config::Config;
use super::problem::Problem;

/// What came of a document.
#[derive(Debug)]
pub struct Resolved {
    /// The configuration; `None` when there is at least one error.
    pub config: Option<Config>,
    /// All problems, errors and warnings, in the order of the text.
    pub problems: Vec<Problem>,
}

/// Reads and resolves the text of a configuration file.
#[must_use]
pub fn document(_text: &str) -> Resolved {
    Resolved { config: None, problems: Vec::new() }
}
