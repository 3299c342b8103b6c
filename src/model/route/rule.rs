//! `routeRules`: by priority, the first match wins [G 7.5].
//!
//! A thousand rules are not all asked: those that want one path are found in a hash table, those that want a prefix in
//! a sorted one, and of them only as many as stand before the best that was found. What is left is asked one by one:
//! templates, paths without case, and rules of one and the same path.

use std::collections::BTreeMap;
use std::fmt;

use super::action::Action;
use super::pattern::Pattern;
use super::predicate::{HeaderTest, QueryTest};
use super::prefix::PrefixTable;
use super::template::PathTemplate;
use super::{ExactTable, Head};

/// `routeRules[]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteRule {
    /// `priority`, 0 to 2,147,483,647, unique; the lowest comes first.
    pub priority: u32,
    /// `matchRules`: any of them will do.
    pub matches: Vec<RouteMatch>,
    /// `service`, `routeAction` or `urlRedirect`.
    pub action: Action,
}

/// `matchRules[]`: all of it must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch {
    /// What is asked of the path.
    pub path: PathTest,
    /// `headerMatches`.
    pub headers: Vec<HeaderTest>,
    /// `queryParameterMatches`.
    pub queries: Vec<QueryTest>,
}

/// What is asked of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathTest {
    /// `prefixMatch`; `true` with `ignoreCase`.
    Prefix(Box<str>, bool),
    /// `fullPathMatch`; `true` with `ignoreCase`.
    Full(Box<str>, bool),
    /// `pathTemplateMatch`.
    Template(PathTemplate),
    /// `regexMatch`.
    Regex(Pattern),
}

impl PathTest {
    fn holds(&self, path: &str) -> bool {
        let start = |prefix: &str| path.as_bytes().get(..prefix.len());
        match self {
            Self::Prefix(prefix, false) => path.starts_with(&**prefix),
            Self::Prefix(prefix, true) => {
                start(prefix).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
            }
            Self::Full(full, false) => path == &**full,
            Self::Full(full, true) => path.eq_ignore_ascii_case(full),
            Self::Template(template) => template.holds(path),
            Self::Regex(pattern) => pattern.takes(path.as_bytes()),
        }
    }

    /// How much of a path that it takes it speaks for, in bytes.
    pub(super) fn matched(&self, path: &str) -> usize {
        match self {
            Self::Prefix(prefix, _) => prefix.len(),
            Self::Full(..) | Self::Template(_) | Self::Regex(_) => path.len(),
        }
    }

    /// The prefix, if it is one.
    #[must_use]
    pub const fn prefix(&self) -> Option<&str> {
        match self {
            Self::Prefix(prefix, _) => Some(prefix),
            Self::Full(..) | Self::Template(_) | Self::Regex(_) => None,
        }
    }

    /// The template, if it is one.
    #[must_use]
    pub const fn template(&self) -> Option<&PathTemplate> {
        match self {
            Self::Template(template) => Some(template),
            Self::Prefix(..) | Self::Full(..) | Self::Regex(_) => None,
        }
    }
}

impl RouteMatch {
    /// Whether all but the path holds.
    fn holds_beside(&self, head: &Head<'_>) -> bool {
        self.headers.iter().all(|test| test.holds(head))
            && self.queries.iter().all(|test| test.holds(head.query))
    }
}

impl fmt::Display for RouteMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            PathTest::Prefix(text, _) => write!(f, "prefixMatch {text}")?,
            PathTest::Full(text, _) => write!(f, "fullPathMatch {text}")?,
            PathTest::Template(template) => write!(f, "pathTemplateMatch {template}")?,
            PathTest::Regex(pattern) => write!(f, "regexMatch {pattern}")?,
        }
        if matches!(self.path, PathTest::Prefix(_, true) | PathTest::Full(_, true)) {
            f.write_str(" ignoreCase")?;
        }
        self.headers.iter().try_for_each(|test| write!(f, ", {test}"))?;
        self.queries.iter().try_for_each(|test| write!(f, ", {test}"))
    }
}

/// The rules of a matcher in tables. A number in them is a rank: the first is asked first.
#[derive(Debug, Clone)]
pub(super) struct RuleTable {
    rules: Vec<Compiled>,
    /// By rank: index of the rule, and what it asks.
    ranks: Vec<(usize, RouteMatch)>,
    full: ExactTable<Vec<u32>>,
    prefixes: PrefixTable<Vec<u32>>,
    others: Vec<u32>,
}

/// A rule without what it asks.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    pub(super) priority: u32,
    pub(super) action: Action,
}

impl RuleTable {
    pub(super) fn build(mut rules: Vec<RouteRule>) -> Self {
        rules.sort_by_key(|rule| rule.priority);
        let mut prefixes: BTreeMap<Box<[u8]>, Vec<u32>> = BTreeMap::new();
        let mut table = Self {
            rules: Vec::new(),
            ranks: Vec::new(),
            full: ExactTable::default(),
            prefixes: PrefixTable::default(),
            others: Vec::new(),
        };
        for (index, RouteRule { priority, matches, action }) in rules.into_iter().enumerate() {
            table.rules.push(Compiled { priority, action });
            for matched in matches {
                let Ok(rank) = u32::try_from(table.ranks.len()) else { continue };
                match &matched.path {
                    PathTest::Full(text, false) => {
                        table.full.entry(text.as_bytes().into()).or_default().push(rank);
                    }
                    PathTest::Prefix(text, false) => {
                        prefixes.entry(text.as_bytes().into()).or_default().push(rank);
                    }
                    _ => table.others.push(rank),
                }
                table.ranks.push((index, matched));
            }
        }
        table.prefixes = PrefixTable::build(prefixes.into_iter().collect());
        table
    }

    /// The first rule that takes the request, and by which of its `matchRules`.
    pub(super) fn find(&self, head: &Head<'_>) -> Option<(&Compiled, &RouteMatch)> {
        let path = head.path.as_bytes();
        let mut best = u32::MAX;
        if !self.full.is_empty()
            && let Some(ranks) = self.full.get(path)
        {
            best = self.first(ranks, best, |matched| matched.holds_beside(head));
        }
        for ranks in self.prefixes.all(path) {
            best = self.first(ranks, best, |matched| matched.holds_beside(head));
        }
        best = self
            .first(&self.others, best, |matched| matched.path.holds(head.path) && matched.holds_beside(head));
        let (rule, matched) = self.ranks.get(best as usize)?;
        Some((self.rules.get(*rule)?, matched))
    }

    /// The first of `ranks` that holds, if it comes before `best`; else that.
    fn first(&self, ranks: &[u32], best: u32, holds: impl Fn(&RouteMatch) -> bool) -> u32 {
        let mut before = ranks.iter().copied().take_while(|rank| *rank < best);
        before.find(|rank| self.ranks.get(*rank as usize).is_some_and(|(_, one)| holds(one))).unwrap_or(best)
    }
}
