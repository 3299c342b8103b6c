//! Hosts to path matchers [G 7.2].

use std::fmt;
use std::sync::Arc;

use super::ExactTable;
use super::prefix::PrefixTable;

/// `hostRules[]`: hosts that share a path matcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    /// `hosts`.
    pub patterns: Vec<HostPattern>,
    /// Index of the path matcher. One that does not exist counts as no match.
    pub matcher: usize,
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

/// Hosts to indexes of matchers.
#[derive(Debug, Clone, Default)]
pub(super) struct HostTable {
    exact: ExactTable<usize>,
    /// What follows the star, read backwards: a suffix becomes a prefix.
    wildcards: PrefixTable<usize>,
    /// The rule with `*`.
    any: Option<usize>,
}

impl HostTable {
    pub(super) fn build(rules: &[HostRule], ignores_port: bool) -> Self {
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

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcards.is_empty() && self.any.is_none()
    }

    pub(super) fn find(&self, host: &[u8], ignores_port: bool) -> Option<usize> {
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

/// Longest host name in the DNS.
const MAX_HOST_NAME: usize = 253;
/// The same with a colon and five digits.
const MAX_HOST: usize = MAX_HOST_NAME + 6;

/// `host:port` to its halves; a colon inside `[…]` belongs to the address.
pub(super) fn split_port(text: &[u8]) -> (&[u8], Option<&[u8]>) {
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
