//! Compiled matching of a URL map [G 7.1–7.6].
//!
//! A host picks a path matcher, a rule in it picks what becomes of the request; what matches nothing gets the
//! matcher's default, or the map's where no host matched [G 7.1]. Exact patterns live in hash tables. Wildcards and
//! prefixes live in sorted tables whose entries know their own longest prefix, so one binary search finds the longest
//! match among a thousand.
//!
//! Hosts [G 7.2], where Google's text leaves room:
//! - Letters are compared without case.
//! - An exact host beats a wildcard, the longest wildcard beats the shorter ones (ours [G 14.5]).
//! - Classic ignores ports: those of requests and those of patterns. The other products compare `host:port` as it
//!   stands, to the letter: `a.test` does not match the Host header `a.test:8080`, a pattern `a.test:8080` does.
//! - In `*.a.test` and `*-a.test` the star stands for `[a-z0-9-.]*`. A lone `*` takes every request, with a port
//!   or an odd letter or no host at all: it is how one writes a catch-all, and a default would not do better.
//!
//! Nothing allocates on the way to a [`Route`]; what an [`action`] then writes anew, a path or a host, does.

pub mod action;
pub mod cors;
pub mod edit;
pub mod error_page;
mod host;
mod path;
pub mod pattern;
pub mod predicate;
mod prefix;
mod rule;
pub mod substitution;
pub mod template;

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, request};
use siphasher::sip::SipHasher13;

pub use self::host::{HostPattern, HostRule};
pub use self::path::{PathPattern, PathRule};
pub use self::rule::{PathTest, RouteMatch, RouteRule};

use self::action::Action;
use self::host::HostTable;
use self::path::PathTable;
use self::rule::RuleTable;
use super::service::Scheme;

/// A URL map, compiled for look-up.
#[derive(Debug, Clone)]
pub struct UrlMap {
    /// `name`.
    pub name: Arc<str>,
    /// Of all services behind it; EXTERNAL_MANAGED for a map of redirects alone.
    pub scheme: Scheme,
    /// Of what no host rule takes.
    pub default: Action,
    hosts: HostTable,
    matchers: Vec<CompiledMatcher>,
}

/// `pathMatchers[]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PathMatcher {
    /// `name`.
    pub name: Arc<str>,
    /// For paths that no rule takes.
    pub default: Action,
    /// What is looked at before that.
    pub rules: Rules,
}

/// A matcher has rules of one kind [G 7.3].
#[derive(Debug, Clone, PartialEq)]
pub enum Rules {
    /// `pathRules`, in any order [G 7.4].
    Paths(Vec<PathRule>),
    /// `routeRules`, by priority [G 7.5].
    Routes(Vec<RouteRule>),
}

/// What a map looks at of a request's head.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// `Host`, or the authority; `None`: it has none.
    pub host: Option<&'a [u8]>,
    /// Method.
    pub method: &'a str,
    /// Path without its query.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: Option<&'a str>,
    /// All headers.
    pub headers: &'a HeaderMap,
}

impl<'a> Head<'a> {
    /// Of a request with `Host`, in origin form.
    #[must_use]
    pub fn of(head: &'a request::Parts) -> Self {
        Self {
            host: head.headers.get(HOST).map(HeaderValue::as_bytes),
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query(),
            headers: &head.headers,
        }
    }
}

/// What becomes of a request, and which words of the map said so.
#[derive(Debug, Clone, Copy)]
pub struct Route<'a> {
    /// What becomes of it.
    pub action: &'a Action,
    /// Name of the path matcher; `None` when no host rule matched.
    pub matcher: Option<&'a str>,
    /// What matched; `None` when a default decided.
    pub rule: Option<Rule<'a>>,
}

/// The rule that took a request. Shown, it is the pattern, or the priority with all that matched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule<'a> {
    /// One of `pathRules`, by this path.
    Path(&'a PathPattern),
    /// One of `routeRules`, by this entry of its `matchRules`.
    Route(u32, &'a RouteMatch),
}

impl UrlMap {
    /// Compiles a map. Where two rules hold the same pattern, the first one wins.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        scheme: Scheme,
        default: Action,
        hosts: &[HostRule],
        matchers: Vec<PathMatcher>,
    ) -> Self {
        Self {
            name,
            scheme,
            default,
            hosts: HostTable::build(hosts, scheme == Scheme::External),
            matchers: matchers.into_iter().map(CompiledMatcher::build).collect(),
        }
    }

    /// The way of a request.
    #[must_use]
    pub fn find(&self, head: &Head<'_>) -> Route<'_> {
        let default = Route { action: &self.default, matcher: None, rule: None };
        if self.hosts.is_empty() {
            return default;
        }
        // The classic balancer alone ignores the port in `Host` [G 7.2].
        let matcher = self.hosts.find(head.host.unwrap_or_default(), self.scheme == Scheme::External);
        matcher.and_then(|index| self.matchers.get(index)).map_or(default, |matcher| matcher.find(head))
    }
}

impl Route<'_> {
    /// How much of `path` the rule speaks for, in bytes: what a prefix in its place takes away. All of it where the
    /// whole path was compared, nothing where a default decided, so that a prefix there is put in front.
    #[must_use]
    pub fn matched(&self, path: &str) -> usize {
        match self.rule {
            None => 0,
            Some(Rule::Path(pattern)) => pattern.prefix().map_or(path.len(), str::len),
            Some(Rule::Route(_, matched)) => matched.path.matched(path),
        }
    }
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(pattern) => pattern.fmt(f),
            Self::Route(priority, matched) => write!(f, "priority {priority}: {matched}"),
        }
    }
}

/// Exact keys. The hash has a fixed key: what is stored comes from the configuration, never from a client.
type ExactTable<T> = HashMap<Box<[u8]>, T, BuildHasherDefault<SipHasher13>>;

/// One path matcher with its rules in tables.
#[derive(Debug, Clone)]
struct CompiledMatcher {
    name: Arc<str>,
    default: Action,
    rules: Table,
}

#[derive(Debug, Clone)]
enum Table {
    Paths(PathTable),
    Routes(RuleTable),
}

impl CompiledMatcher {
    fn build(matcher: PathMatcher) -> Self {
        let rules = match matcher.rules {
            Rules::Paths(rules) => Table::Paths(PathTable::build(rules)),
            Rules::Routes(rules) => Table::Routes(RuleTable::build(rules)),
        };
        Self { name: matcher.name, default: matcher.default, rules }
    }

    fn find(&self, head: &Head<'_>) -> Route<'_> {
        let found = match &self.rules {
            Table::Paths(table) => {
                table.find(head.path).map(|leaf| (&*leaf.action, Rule::Path(&leaf.pattern)))
            }
            Table::Routes(table) => {
                table.find(head).map(|(rule, matched)| (&rule.action, Rule::Route(rule.priority, matched)))
            }
        };
        let (action, rule) = found.map_or((&self.default, None), |(action, rule)| (action, Some(rule)));
        Route { action, matcher: Some(&self.name), rule }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
