//! `customErrorResponsePolicy` and `defaultCustomErrorResponsePolicy`: what a client sees instead of an error [G 5.9, 5.10].
//!
//! Google takes the pages from a backend bucket. **Ours**: there are no buckets, and `errorService` is a backend
//! service that serves them.

use std::sync::Arc;

use crate::model::config::ServiceId;

/// The policies of a place of a map, the most specific level first: route or path rule, path matcher, map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorPages(Vec<Arc<Level>>);

/// The `errorResponseRules` of one level.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Level(pub Vec<ErrorRule>);

/// One of `errorResponseRules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRule {
    /// `matchResponseCodes`.
    pub codes: Vec<Codes>,
    /// `path`, and whose it is; `None` = the answer's own body.
    pub page: Option<ErrorPage>,
    /// `overrideResponseCode`, 200 to 599; `None` = the answer's own.
    pub status: Option<u16>,
}

/// One of `matchResponseCodes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codes {
    /// This one, 400 to 599.
    One(u16),
    /// `4xx` or `5xx`, by its first digit.
    Class(u16),
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPage {
    /// `errorService`, of this level or of one above.
    pub service: ServiceId,
    /// `path`.
    pub path: Arc<str>,
}

impl Codes {
    /// A number from 400 to 599, `4xx` or `5xx`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "4xx" => Some(Self::Class(4)),
            "5xx" => Some(Self::Class(5)),
            _ if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().filter(|code| (400..600).contains(code)).map(Self::One)
            }
            _ => None,
        }
    }
}

impl Level {
    /// The rule for an answer of this status: a number goes before a class.
    #[must_use]
    pub fn find(&self, status: u16) -> Option<&ErrorRule> {
        let rule = |codes| self.0.iter().find(|rule| rule.codes.contains(&codes));
        rule(Codes::One(status)).or_else(|| rule(Codes::Class(status / 100)))
    }
}

impl ErrorPages {
    /// The same with a more specific level; levels without rules say nothing.
    #[must_use]
    pub fn within(&self, level: Level) -> Self {
        if level.0.is_empty() {
            return self.clone();
        }
        Self(std::iter::once(Arc::new(level)).chain(self.0.iter().cloned()).collect())
    }

    /// Whether no level says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rule for an answer of this status, of the most specific level that has one.
    #[must_use]
    pub fn find(&self, status: u16) -> Option<&ErrorRule> {
        self.0.iter().find_map(|level| level.find(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(codes: &[&str], status: u16) -> ErrorRule {
        let codes = codes.iter().filter_map(|code| Codes::parse(code)).collect();
        ErrorRule { codes, page: None, status: Some(status) }
    }

    #[test]
    fn g_5_10_a_number_goes_before_a_class_and_an_inner_level_before_an_outer_one() {
        let map = Level(vec![rule(&["404"], 210), rule(&["4xx", "5xx"], 211)]);
        let matcher = Level(vec![rule(&["5xx"], 220), rule(&["503"], 221)]);
        let pages = ErrorPages::default().within(map).within(matcher).within(Level::default());
        let of = |status| pages.find(status).and_then(|rule| rule.status);
        assert_eq!([404, 400, 503, 500].map(of), [210, 211, 221, 220].map(Some));
        assert_eq!([200, 302, 399, 600].map(of), [None; 4]);
        assert!(ErrorPages::default().find(404).is_none() && ErrorPages::default().is_empty());
    }

    #[test]
    fn g_5_10_codes_are_numbers_of_errors_or_their_classes() {
        assert_eq!(Codes::parse("400"), Some(Codes::One(400)));
        assert_eq!(Codes::parse("599"), Some(Codes::One(599)));
        assert_eq!(Codes::parse("5xx"), Some(Codes::Class(5)));
        for bad in ["399", "600", "3xx", "4XX", "+404", "0404", "", "4x", "404 "] {
            assert_eq!(Codes::parse(bad), None, "{bad}");
        }
    }
}
