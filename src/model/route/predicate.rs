//! What `matchRules` ask of a request beside its path: headers and query parameters [G 7b].

use std::fmt;

use http::HeaderName;

use super::Head;
use super::host::split_port;
use super::pattern::Pattern;

/// One of `headerMatches`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderTest {
    /// `headerName`.
    pub source: Source,
    /// What is asked of its value.
    pub test: Test,
    /// `invertMatch`: the opposite is asked. A header that is not there then matches.
    pub is_inverted: bool,
}

/// Where a value is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A header. Of one that stands several times, any line may match.
    Header(HeaderName),
    /// `:authority`: the host with its port, as it stands.
    Authority,
    /// `:method`.
    Method,
    /// `PORT`: the port that the host names; a host that names none has none.
    Port,
}

/// What is asked of a value. Letters are compared with their case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// `exactMatch`.
    Exact(Box<str>),
    /// `prefixMatch`.
    Prefix(Box<str>),
    /// `suffixMatch`.
    Suffix(Box<str>),
    /// `presentMatch`: it is there, whatever it says, or it is not.
    Present(bool),
    /// `rangeMatch`: a whole number from the first up to, and without, the second.
    Range(i64, i64),
    /// `regexMatch`.
    Regex(Pattern),
}

/// One of `queryParameterMatches`. Nothing is decoded; of a parameter that stands several times, the first counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryTest {
    /// `name`.
    pub name: Box<str>,
    /// What is asked of its value.
    pub test: QueryValue,
}

/// What is asked of a parameter that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryValue {
    /// `presentMatch`.
    Any,
    /// `exactMatch`.
    Exact(Box<str>),
    /// `regexMatch`.
    Regex(Pattern),
}

impl HeaderTest {
    /// Whether the request passes.
    #[must_use]
    pub fn holds(&self, head: &Head<'_>) -> bool {
        let found = match &self.source {
            Source::Header(name) => head.headers.get_all(name).iter().any(|v| self.test.takes(v.as_bytes())),
            Source::Authority => head.host.is_some_and(|host| self.test.takes(host)),
            Source::Method => self.test.takes(head.method.as_bytes()),
            Source::Port => {
                head.host.and_then(|host| split_port(host).1).is_some_and(|port| self.test.takes(port))
            }
        };
        // `presentMatch: false` is met by what is absent alone.
        let is_met = found != (self.test == Test::Present(false));
        is_met != self.is_inverted
    }
}

impl Test {
    /// Of a value that is there; for `Present` that is all it takes.
    fn takes(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Suffix(suffix) => value.ends_with(suffix.as_bytes()),
            Self::Present(_) => true,
            Self::Range(start, end) => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .is_some_and(|number| (*start..*end).contains(&number)),
            Self::Regex(pattern) => pattern.takes(value),
        }
    }
}

impl QueryTest {
    /// Whether the request passes; without the parameter it does not.
    #[must_use]
    pub fn holds(&self, query: Option<&str>) -> bool {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let value = pairs.find(|(name, _)| *name == &*self.name).map(|(_, value)| value);
        value.is_some_and(|value| match &self.test {
            QueryValue::Any => true,
            QueryValue::Exact(exact) => **exact == *value,
            QueryValue::Regex(pattern) => pattern.takes(value.as_bytes()),
        })
    }
}

impl fmt::Display for HeaderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.source {
            Source::Header(name) => name.as_str(),
            Source::Authority => ":authority",
            Source::Method => ":method",
            Source::Port => "PORT",
        };
        let not = if self.is_inverted { "not " } else { "" };
        write!(f, "{not}header {name} {}", self.test)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "exactMatch {text}"),
            Self::Prefix(text) => write!(f, "prefixMatch {text}"),
            Self::Suffix(text) => write!(f, "suffixMatch {text}"),
            Self::Present(true) => f.write_str("presentMatch"),
            Self::Present(false) => f.write_str("presentMatch false"),
            Self::Range(start, end) => write!(f, "rangeMatch [{start},{end})"),
            Self::Regex(pattern) => write!(f, "regexMatch {pattern}"),
        }
    }
}

impl fmt::Display for QueryTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.test {
            QueryValue::Any => write!(f, "query {} presentMatch", self.name),
            QueryValue::Exact(exact) => write!(f, "query {} exactMatch {exact}", self.name),
            QueryValue::Regex(pattern) => write!(f, "query {} regexMatch {pattern}", self.name),
        }
    }
}
