//! Collects problems with their places.

use crate::model::problem::{Problem, Severity};
use crate::wire::document::Node;
use crate::wire::flaw::{Flaw, MAX_FLAWS, masked};
use crate::wire::path::Path;

/// All problems so far, and the tree that knows where things stand.
pub(super) struct Report<'a> {
    root: &'a Node,
    problems: Vec<Problem>,
    errors: usize,
    warnings: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(root: &'a Node, flaws: Vec<Flaw>) -> Self {
        Self {
            root,
            errors: flaws.len(),
            warnings: 0,
            problems: flaws.into_iter().map(Problem::from).collect(),
        }
    }

    /// The tree.
    pub(super) const fn root(&self) -> &'a Node {
        self.root
    }

    pub(super) fn error(
        &mut self,
        at: &Path<'_>,
        code: &'static str,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.push(Severity::Error, at, code, (message.into(), expected.into()));
    }

    pub(super) fn warning(
        &mut self,
        at: &Path<'_>,
        code: &'static str,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.push(Severity::Warning, at, code, (message.into(), expected.into()));
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many errors so far; what made none in between is sound.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// In the order of the text.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.position);
        self.problems
    }

    fn push(
        &mut self,
        severity: Severity,
        at: &Path<'_>,
        code: &'static str,
        (message, expected): (String, String),
    ) {
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        // A flood of problems has one cause; the first thousand will show it. Errors are never drowned by warnings.
        if *count > MAX_FLAWS {
            return;
        }
        let position = Some(self.root.locate(at).into());
        // A piece of a key may stand where a name should, and names are told.
        self.problems.push(Problem {
            severity,
            code,
            path: masked(&at.to_string()).into_owned(),
            position,
            message: masked(&message).into_owned(),
            expected: Some(masked(&expected).into_owned()),
        });
    }
}
