//! `pathRules`: paths in any order [G 7.4].

use std::fmt;
use std::sync::Arc;

use super::ExactTable;
use super::action::Action;
use super::prefix::PrefixTable;

/// `pathRules[]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PathRule {
    /// `paths`.
    pub patterns: Vec<PathPattern>,
    /// `service`, `routeAction` or `urlRedirect`.
    pub action: Action,
}

/// One entry of `paths`: `/exact`, or `/prefix/*`. Case counts [G 7.4].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    text: Arc<str>,
}

impl PathPattern {
    /// Reads a pattern. The error says what would be right.
    ///
    /// # Errors
    /// When it does not start with `/`, has a `*` elsewhere than at its end after a `/`, or holds `?`, `#`, a space
    /// or a control character [G 7.4].
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with('/') {
            return Err("a path that starts with `/`");
        }
        let fixed = if text.ends_with("/*") { &text[..text.len() - 1] } else { text };
        if fixed.contains('*') {
            return Err("`*` at the end only, after a `/` [G 7.4]");
        }
        if fixed.contains(['?', '#']) {
            return Err("a path without `?` and `#`; queries and fragments are not matched [G 7.4]");
        }
        if fixed.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("a path without spaces and control characters");
        }
        Ok(Self { text: text.into() })
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What a path must start with, where the pattern ends in `/*`.
    pub(super) fn prefix(&self) -> Option<&str> {
        self.text.strip_suffix('*')
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The rules of a matcher in tables.
#[derive(Debug, Clone)]
pub(super) struct PathTable {
    exact: ExactTable<Leaf>,
    wildcards: PrefixTable<Leaf>,
}

/// Where a path pattern leads.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) pattern: PathPattern,
    pub(super) action: Arc<Action>,
}

impl PathTable {
    /// Where two rules hold the same pattern, the first one wins.
    pub(super) fn build(rules: Vec<PathRule>) -> Self {
        let mut exact = ExactTable::default();
        let mut wildcards = Vec::new();
        for rule in rules {
            let action = Arc::new(rule.action);
            for pattern in rule.patterns {
                let leaf = Leaf { pattern: pattern.clone(), action: action.clone() };
                if let Some(prefix) = pattern.prefix() {
                    wildcards.push((prefix.as_bytes().into(), leaf));
                } else {
                    exact.entry(pattern.as_str().as_bytes().into()).or_insert(leaf);
                }
            }
        }
        Self { exact, wildcards: PrefixTable::build(wildcards) }
    }

    /// An exact path beats wildcards; the longest wildcard beats the others [G 7.4].
    pub(super) fn find(&self, path: &str) -> Option<&Leaf> {
        let path = path.as_bytes();
        let exact = if self.exact.is_empty() { None } else { self.exact.get(path) };
        exact.or_else(|| self.wildcards.find(path).map(|(_, leaf)| leaf))
    }
}
