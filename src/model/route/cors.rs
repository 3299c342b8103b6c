//! `corsPolicy`: which other origins' pages may use a service [G 7c]. The rules are those of the Fetch standard, the
//! conduct is that of Envoy, which Google's newer balancers are made of.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::pattern::Pattern;
use crate::model::header::vary;

/// A policy that is not disabled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CorsPolicy {
    /// `allowOrigins`, to the letter; `*` = any.
    pub origins: Vec<Box<str>>,
    /// `allowOriginRegexes`.
    pub patterns: Vec<Pattern>,
    /// `allowMethods`, as one value; `None` = not said.
    pub methods: Option<HeaderValue>,
    /// `allowHeaders`.
    pub headers: Option<HeaderValue>,
    /// `exposeHeaders`.
    pub exposed: Option<HeaderValue>,
    /// `maxAge`, in seconds.
    pub max_age: Option<HeaderValue>,
    /// `allowCredentials`.
    pub has_credentials: bool,
}

impl CorsPolicy {
    /// Whether pages of this origin are allowed.
    #[must_use]
    pub fn allows(&self, origin: &[u8]) -> bool {
        let is_listed = |one: &str| one == "*" || one.as_bytes() == origin;
        !origin.is_empty()
            && (self.origins.iter().any(|one| is_listed(one))
                || self.patterns.iter().any(|one| one.takes(origin)))
    }

    /// The request's origin, if it is allowed.
    #[must_use]
    pub fn allowed<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        headers.get(ORIGIN).filter(|origin| self.allows(origin.as_bytes()))
    }

    /// Whether a browser asks with this request what it may ask for, and is allowed to: it is answered at once. One
    /// that is not allowed goes on to the service.
    #[must_use]
    pub fn answers(&self, method: &str, headers: &HeaderMap) -> bool {
        method == "OPTIONS"
            && headers.get(ACCESS_CONTROL_REQUEST_METHOD).is_some_and(|asked| !asked.is_empty())
            && self.allowed(headers).is_some()
    }

    /// Writes into an answer what a page of `origin` may do with it, in place of what the service says. Without an
    /// origin that is allowed, no more than that the answer depends on it.
    pub fn write(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        vary(headers, "Origin");
        let Some(origin) = origin else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.has_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        set(headers, ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.as_ref());
    }

    /// Writes into the answer to a preflight what may be asked for.
    pub fn write_preflight(&self, headers: &mut HeaderMap) {
        set(headers, ACCESS_CONTROL_ALLOW_METHODS, self.methods.as_ref());
        set(headers, ACCESS_CONTROL_ALLOW_HEADERS, self.headers.as_ref());
        set(headers, ACCESS_CONTROL_MAX_AGE, self.max_age.as_ref());
        headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<&HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value.clone());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::header::VARY;

    use super::*;

    fn policy(origins: &[&str]) -> CorsPolicy {
        let patterns = vec![Pattern::parse(r"https://[a-z]+\.example\.com").unwrap()];
        CorsPolicy {
            origins: origins.iter().map(|one| (*one).into()).collect(),
            patterns,
            ..CorsPolicy::default()
        }
    }

    #[test]
    fn g_7c_an_origin_is_allowed_to_the_letter_or_by_a_pattern_for_the_whole() {
        let allows = |origin: &str| policy(&["https://a.test"]).allows(origin.as_bytes());
        assert!(allows("https://a.test") && allows("https://www.example.com"));
        for other in
            ["", "https://a.test:444", "http://a.test", "https://www.example.com.evil.test", "null", "*"]
        {
            assert!(!allows(other), "{other}");
        }
        assert!(policy(&["*"]).allows(b"null") && !policy(&["*"]).allows(b""));
    }

    #[test]
    fn only_a_preflight_of_an_allowed_origin_is_answered() {
        let mut headers = HeaderMap::new();
        let answers = |method, headers: &HeaderMap| policy(&["https://a.test"]).answers(method, headers);
        headers.insert(ORIGIN, HeaderValue::from_static("https://a.test"));
        assert!(!answers("OPTIONS", &headers), "an OPTIONS of its own");
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
        assert!(answers("OPTIONS", &headers) && !answers("GET", &headers));
        headers.insert(ORIGIN, HeaderValue::from_static("https://b.test"));
        assert!(!answers("OPTIONS", &headers));
    }

    #[test]
    fn an_answer_varies_once() {
        for (said, want) in [(None, 1), (Some("accept, Origin"), 1), (Some("*"), 1), (Some("accept"), 2)] {
            let mut headers = HeaderMap::new();
            headers.extend(said.map(|said| (VARY, HeaderValue::from_static(said))));
            policy(&[]).write(None, &mut headers);
            assert_eq!((headers.get_all(VARY).iter().count(), headers.len()), (want, want), "{said:?}");
        }
    }
}
