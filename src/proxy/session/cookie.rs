//! Affinity cookies: found in a request, and made for an answer [G 3.1–3.6].
//!
//! A session key is a number that every service on the host maps to a member by consistent hashing. It comes from the
//! cookie's value by a hash with a fixed key: the same on every worker, in every process and after a restart.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::Cookie;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use siphasher::sip::SipHasher13;

use crate::model::unit::Span;

/// Characters of a generated cookie's value: 16 bytes in base64url.
const VALUE_LENGTH: usize = 22;

/// What a request brings of a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// No cookie of the name.
    Absent,
    /// None that is any good; treated like a client without one.
    Malformed,
    /// The first good one.
    Good(T),
}

/// Looks for the cookie `name` in all `Cookie` headers; of several, the first that `read` takes counts.
pub(super) fn find<T>(headers: &HeaderMap, name: &str, read: impl Fn(&str) -> Option<T>) -> Found<T> {
    let mut found = Found::Absent;
    for header in headers.get_all(COOKIE) {
        // Most requests carry other cookies only: look for the name before taking the header apart.
        if memchr::memmem::find(header.as_bytes(), name.as_bytes()).is_none() {
            continue;
        }
        let text = String::from_utf8_lossy(header.as_bytes());
        for cookie in Cookie::split_parse(&*text).flatten().filter(|cookie| cookie.name() == name) {
            if let Some(good) = read(cookie.value_trimmed()) {
                return Found::Good(good);
            }
            found = Found::Malformed;
        }
    }
    found
}

/// The session key of a generated cookie's value, if we could have made it.
pub(super) fn generated_key(value: &str) -> Option<u64> {
    // Larger than 16 bytes, since the decoder asks for whole groups.
    let mut bytes = [0; 24];
    let is_ours =
        value.len() == VALUE_LENGTH && matches!(URL_SAFE_NO_PAD.decode_slice(value, &mut bytes), Ok(16));
    is_ours.then(|| hash(value.as_bytes()))
}

/// The session key of any value but an empty one: HTTP_COOKIE takes what the application has set [G 3.5].
pub(super) fn any_key(value: &str) -> Option<u64> {
    (!value.is_empty()).then(|| hash(value.as_bytes()))
}

/// A value for a new session, and its key. `random` must not be guessable.
pub(super) fn new_value(random: u128) -> (String, u64) {
    let value = URL_SAFE_NO_PAD.encode(random.to_be_bytes());
    let key = hash(value.as_bytes());
    (value, key)
}

/// A `Set-Cookie` [G 3.2–3.4]. With a `ttl` of zero it ends with the browser's session. `None` if name or path cannot
/// stand in a header; what a configuration lets through can.
pub(super) fn set(
    name: &str,
    value: &str,
    path: &str,
    (ttl, now): (Span, SystemTime),
) -> Option<HeaderValue> {
    let mut text = format!("{name}=\"{value}\"; path={path}; HttpOnly");
    if ttl > Span::ZERO {
        text += "; expires=";
        text += &httpdate::fmt_http_date(end(now, ttl));
    }
    HeaderValue::try_from(text).ok()
}

/// `now` and `ttl` added up; years beyond 9999 become that one.
pub(super) fn end(now: SystemTime, ttl: Span) -> SystemTime {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let end = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(ttl.to_std());
    UNIX_EPOCH + end.min(LAST)
}

/// The fixed key: digits of e, to show that nothing is hidden in it. Changing it moves every session.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    SipHasher13::new_with_keys(2_718_281_828_459_045, 2_353_602_874_713_526).hash(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn with(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    fn cookie(lines: &[&str]) -> Found<u64> {
        find(&with(lines), "GCLB", generated_key)
    }

    fn session(random: u128) -> (HeaderValue, u64) {
        let (value, key) = new_value(random);
        (set("GCLB", &value, "/", (Span::ZERO, UNIX_EPOCH)).unwrap(), key)
    }

    const VALUE: &str = "AAAAAAAAAAAAAAAAAAAABw";

    #[test]
    fn issued_cookie_comes_back_as_its_key() {
        // [G 3.2, 3.3]
        let (header, key) = session(7);
        assert_eq!(header, format!("GCLB=\"{VALUE}\"; path=/; HttpOnly"));
        assert_eq!(cookie(&[&format!("GCLB={VALUE}")]), Found::Good(key));
        assert_eq!(cookie(&[&format!("GCLB=\"{VALUE}\"")]), Found::Good(key));
        assert_ne!(session(8).1, key);
    }

    #[test]
    fn keys_are_the_same_after_a_restart() {
        // Written down from a first run: what counts is that it never changes.
        assert_eq!(new_value(7).1, 12_351_258_584_162_129_947);
    }

    #[test]
    fn g_3_5_any_value_but_an_empty_one_is_a_key_of_an_http_cookie() {
        let key = |line: &str| find(&with(&[line]), "user", any_key);
        assert!(matches!(key("user=jo%20e"), Found::Good(_)));
        assert_ne!(key("user=a"), key("user=b"));
        assert_eq!((key("user="), key("other=a")), (Found::Malformed, Found::Absent));
    }

    #[test]
    fn ttl_becomes_a_date() {
        // [G 3.3, 3.4]
        let date = |now, ttl| set("c", "v", "/p", (ttl, now)).unwrap().to_str().unwrap().to_owned();
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(
            date(now, Span::secs(60)),
            "c=\"v\"; path=/p; HttpOnly; expires=Sun, 06 Nov 1994 08:50:37 GMT"
        );
        for odd in [UNIX_EPOCH - Duration::from_secs(9), UNIX_EPOCH + Duration::from_secs(300_000_000_000)] {
            assert!(date(odd, Span::MAX).ends_with(" GMT"));
        }
    }

    #[test]
    fn cookie_is_found_among_others() {
        let Found::Good(key) = cookie(&[&format!("GCLB={VALUE}")]) else { panic!("no key") };
        for lines in [
            vec![format!("a=b; GCLB={VALUE}; c=d")],
            vec![format!("a=b;GCLB=\"{VALUE}\"")],
            vec!["a=b".to_owned(), format!("xGCLB=1; GCLB={VALUE}")],
            vec![format!("GCLB=bad; GCLB={VALUE}")],
            vec![format!("; nonsense; =; \u{e4}=\u{e4}; GCLB={VALUE}")],
        ] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(cookie(&lines), Found::Good(key), "{lines:?}");
        }
        let mut headers = HeaderMap::new();
        headers
            .append(COOKIE, HeaderValue::from_bytes(&[b"a=\xff; GCLB=", VALUE.as_bytes()].concat()).unwrap());
        assert_eq!(find(&headers, "GCLB", generated_key), Found::Good(key));
    }

    #[test]
    fn cookie_of_another_make_is_malformed_and_another_name_is_absent() {
        for value in
            ["", "x", "\"\"", "AAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAABww", "AAAAAAAAAAAAAAAAAAAA+w"]
        {
            assert_eq!(cookie(&[&format!("GCLB={value}")]), Found::Malformed, "{value}");
        }
        assert_eq!(cookie(&["GCLB=AAAAAAAAAAAAAAAAAAAABx"]), Found::Malformed, "stray bits at its end");
        assert_eq!(cookie(&[&format!("gclb={VALUE}; xGCLB={VALUE}; a=GCLB")]), Found::Absent);
        assert_eq!(cookie(&[]), Found::Absent);
    }
}
