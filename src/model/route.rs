//! Compiled host and path matching of a URL map [G 7.1–7.4].
//!
//! A host picks a path matcher, a path picks a rule in it; what matches nothing gets the matcher's default, or the
//! map's where no host matched [G 7.1]. Exact patterns live in hash tables. Wildcards live in sorted tables whose
//! entries know their own longest prefix, so one binary search finds the longest match among a thousand.
//!
//! Hosts [G 7.2], where Google's text leaves room:
//! - Letters are compared without case.
//! - An exact host beats a wildcard, the longest wildcard beats the shorter ones (ours [G 14.5]).
//! - Classic ignores ports: those of requests and those of patterns. The other products compare `host:port` as it
//!   stands, to the letter: `a.test` does not match the Host header `a.test:8080`, a pattern `a.test:8080` does.
//! - In `*.a.test` and `*-a.test` the star stands for `[a-z0-9-.]*`. A lone `*` takes every request, with a port
//!   or an odd letter or no host at all: it is how one writes a catch-all, and a default would not do better.
//!
//! Nothing here allocates after [`UrlMap::new`].

mod prefix;

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use self::prefix::PrefixTable;
use super::config::ServiceId;

/// A URL map, compiled for look-up.
#[derive(Debug, Clone)]
pub struct UrlMap {
    /// `name`.
    pub name: Arc<str>,
    /// `defaultService`.
    pub default_service: ServiceId,
    hosts: HostTable,
    matchers: Vec<CompiledMatcher>,
    ignores_port: bool,
}

/// `hostRules[]`: hosts that share a path matcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    /// `hosts`.
    pub patterns: Vec<HostPattern>,
    /// Index of the path matcher. One that does not exist counts as no match.
    pub matcher: usize,
}

/// `pathMatchers[]` with `pathRules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathMatcher {
    /// `name`.
    pub name: Arc<str>,
    /// `defaultService`: for paths that no rule takes.
    pub default_service: ServiceId,
    /// `pathRules`, in any order [G 7.4].
    pub rules: Vec<PathRule>,
}

/// `pathRules[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// `paths`.
    pub patterns: Vec<PathPattern>,
    /// `service`.
    pub service: ServiceId,
}

/// Where a request goes, and which words of the map said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'a> {
    /// The service.
    pub service: ServiceId,
    /// Name of the path matcher; `None` when no host rule matched.
    pub matcher: Option<&'a str>,
    /// The path pattern that matched; `None` when a default decided.
    pub rule: Option<&'a str>,
}

impl UrlMap {
    /// Compiles a map. Where two rules hold the same pattern, the first one wins.
    ///
    /// `ignores_port` is true for the classic product alone [G 7.2].
    #[must_use]
    pub fn new(
        name: Arc<str>,
        default_service: ServiceId,
        hosts: Vec<HostRule>,
        matchers: Vec<PathMatcher>,
        ignores_port: bool,
    ) -> Self {
        Self {
            name,
            default_service,
            hosts: HostTable::build(&hosts, ignores_port),
            matchers: matchers.into_iter().map(CompiledMatcher::build).collect(),
            ignores_port,
        }
    }

    /// The route for a request with this Host (or authority; `None`: it has none) and this path without its query.
    #[must_use]
    pub fn find(&self, host: Option<&[u8]>, path: &str) -> Route<'_> {
        let default = Route { service: self.default_service, matcher: None, rule: None };
        if self.hosts.is_empty() {
            return default;
        }
        let matcher = self.hosts.find(host.unwrap_or_default(), self.ignores_port);
        matcher.and_then(|index| self.matchers.get(index)).map_or(default, |matcher| matcher.find(path))
    }
}

/// One entry of `hosts`, in small letters: `a.test`, `a.test:8080`, `*.a.test`, `*-a.test` or `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPattern {
    text: Arc<str>,
}

impl HostPattern {
    /// Reads a pattern. The error says what would be right.
    ///
    /// # Errors
    /// When it is no host name with an optional port, or its `*` is not the first character, alone or before a
    /// `-` or `.` [G 7.2].
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (host, port) = split_port(text.as_bytes());
        if port.is_some_and(|port| !is_port(port)) {
            return Err("a port from 1 to 65535 after the colon");
        }
        let name = match host.strip_prefix(b"*") {
            Some([]) if port.is_some() => return Err("`*` without a port, or a host name before the port"),
            Some([]) => return Ok(Self { text: "*".into() }),
            Some(rest @ [b'-' | b'.', _, ..]) => rest,
            Some(_) => return Err("`*` alone, or `*` followed by `-` or `.` and a host name [G 7.2]"),
            None => host,
        };
        if name.contains(&b'*') {
            return Err("`*` as the first character only [G 7.2]");
        }
        if name.is_empty()
            || name.len() > MAX_HOST_NAME
            || !(is_address(name) || name.iter().all(|b| is_host_byte(*b)))
        {
            return Err("a host name of letters, digits, `-` and `.`, with an optional `:port`");
        }
        Ok(Self { text: text.to_ascii_lowercase().into() })
    }

    /// The pattern in small letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
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
    fn prefix(&self) -> Option<&str> {
        self.text.strip_suffix('*')
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Exact keys. The hash has a fixed key: what is stored comes from the configuration, never from a client.
type ExactTable<T> = HashMap<Box<[u8]>, T, BuildHasherDefault<SipHasher13>>;

/// Hosts to indexes of matchers.
#[derive(Debug, Clone, Default)]
struct HostTable {
    exact: ExactTable<usize>,
    /// What follows the star, read backwards: a suffix becomes a prefix.
    wildcards: PrefixTable<usize>,
    /// The rule with `*`.
    any: Option<usize>,
}

impl HostTable {
    fn build(rules: &[HostRule], ignores_port: bool) -> Self {
        let mut table = Self::default();
        let mut wildcards = Vec::new();
        for (pattern, matcher) in
            rules.iter().flat_map(|rule| rule.patterns.iter().map(|p| (p, rule.matcher)))
        {
            let text = pattern.text.as_bytes();
            let text = if ignores_port { split_port(text).0 } else { text };
            match text.strip_prefix(b"*") {
                Some([]) => table.any = table.any.or(Some(matcher)),
                Some(suffix) => wildcards.push((suffix.iter().rev().copied().collect(), matcher)),
                None => {
                    table.exact.entry(text.into()).or_insert(matcher);
                }
            }
        }
        table.wildcards = PrefixTable::build(wildcards);
        table
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcards.is_empty() && self.any.is_none()
    }

    fn find(&self, host: &[u8], ignores_port: bool) -> Option<usize> {
        let host = if ignores_port { split_port(host).0 } else { host };
        self.find_named(host).or(self.any)
    }

    /// Everything but `*`. A host longer than any pattern can be matches none.
    fn find_named(&self, host: &[u8]) -> Option<usize> {
        let mut buffer = [0; MAX_HOST];
        let lower = buffer.get_mut(..host.len())?;
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        if let Some(matcher) = self.exact.get(&*lower) {
            return Some(*matcher);
        }
        if self.wildcards.is_empty() {
            return None;
        }
        lower.reverse();
        let (length, matcher) = self.wildcards.find(lower)?;
        // The rest is what the star stands for. A shorter suffix would leave it more, so it could not do better.
        lower[length..].iter().all(|b| is_host_byte(*b)).then_some(*matcher)
    }
}

/// One path matcher with its rules in tables.
#[derive(Debug, Clone)]
struct CompiledMatcher {
    name: Arc<str>,
    default_service: ServiceId,
    exact: ExactTable<Target>,
    wildcards: PrefixTable<Target>,
}

/// Where a path pattern leads.
#[derive(Debug, Clone)]
struct Target {
    pattern: PathPattern,
    service: ServiceId,
}

impl CompiledMatcher {
    fn build(matcher: PathMatcher) -> Self {
        let mut exact = ExactTable::default();
        let mut wildcards = Vec::new();
        for rule in matcher.rules {
            for pattern in rule.patterns {
                let target = Target { pattern: pattern.clone(), service: rule.service };
                if let Some(prefix) = pattern.prefix() {
                    wildcards.push((prefix.as_bytes().into(), target));
                } else {
                    exact.entry(pattern.as_str().as_bytes().into()).or_insert(target);
                }
            }
        }
        let wildcards = PrefixTable::build(wildcards);
        Self { name: matcher.name, default_service: matcher.default_service, exact, wildcards }
    }

    /// An exact path beats wildcards; the longest wildcard beats the others [G 7.4].
    fn find(&self, path: &str) -> Route<'_> {
        let path = path.as_bytes();
        let exact = if self.exact.is_empty() { None } else { self.exact.get(path) };
        let target = exact.or_else(|| self.wildcards.find(path).map(|(_, target)| target));
        Route {
            service: target.map_or(self.default_service, |target| target.service),
            matcher: Some(&self.name),
            rule: target.map(|target| target.pattern.as_str()),
        }
    }
}

/// Longest host name in the DNS.
const MAX_HOST_NAME: usize = 253;
/// The same with a colon and five digits.
const MAX_HOST: usize = MAX_HOST_NAME + 6;

/// `host:port` to its halves; a colon inside `[…]` belongs to the address.
fn split_port(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().rposition(|b| matches!(b, b':' | b']')) {
        Some(at) if text[at] == b':' => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    }
}

/// 1 to 65535, digits only.
fn is_port(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(text).is_ok_and(|text| text.parse::<u16>().is_ok_and(|port| port > 0))
}

/// An IPv6 address in brackets.
fn is_address(text: &[u8]) -> bool {
    let inner = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]"));
    inner
        .and_then(|inner| std::str::from_utf8(inner).ok())
        .is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok())
}

/// `[a-z0-9-.]`, without case.
const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
