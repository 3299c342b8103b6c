//! Who a client is and which session it has: its address behind trusted proxies, and the generated affinity cookie
//! [G 3].
//!
//! A session key is a number that every service on the host maps to a member by consistent hashing. It comes from
//! the cookie's opaque value or from the pair of addresses, by a hash with a fixed key: the same on every worker,
//! in every process and after a restart.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::Cookie;
use http::HeaderName;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use siphasher::sip::SipHasher13;

use crate::model::config::Cidr;
use crate::model::unit::Span;

/// Most entries of `X-Forwarded-For` that are read, from the right.
pub(crate) const MAX_FORWARDED: usize = 64;

/// Characters of a cookie's value: 16 bytes in base64url.
const VALUE_LENGTH: usize = 22;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What a request brings of the generated cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CookieState {
    /// No cookie of the name.
    Absent,
    /// None that we could have made; treated like a client without one.
    Malformed,
    /// The session's key.
    Key(u64),
}

/// Looks for the cookie `name` in all `Cookie` headers; of several, the first that we could have made counts.
pub(crate) fn cookie_key(headers: &HeaderMap, name: &str) -> CookieState {
    let mut state = CookieState::Absent;
    for header in headers.get_all(COOKIE) {
        // Most requests carry other cookies only: look for the name before taking the header apart.
        if memchr::memmem::find(header.as_bytes(), name.as_bytes()).is_none() {
            continue;
        }
        let text = String::from_utf8_lossy(header.as_bytes());
        for cookie in Cookie::split_parse(&*text).flatten().filter(|cookie| cookie.name() == name) {
            let value = cookie.value_trimmed();
            if is_ours(value) {
                return CookieState::Key(hash(value.as_bytes()));
            }
            state = CookieState::Malformed;
        }
    }
    state
}

/// A `Set-Cookie` for a new session, and the session's key [G 3.2–3.4]. `random` becomes the opaque value and must not
/// be guessable. With a `ttl` of zero it ends with the browser's session.
pub(crate) fn new_key_cookie(name: &str, random: u128, ttl: Span, now: SystemTime) -> (HeaderValue, u64) {
    let value = URL_SAFE_NO_PAD.encode(random.to_be_bytes());
    let mut text = format!("{name}=\"{value}\"; path=/; HttpOnly");
    if ttl > Span::ZERO {
        text += "; expires=";
        text += &http_date(now, ttl);
    }
    let header = HeaderValue::try_from(text);
    debug_assert!(header.is_ok(), "the names of generated cookies are ours");
    (header.unwrap_or_else(|_| HeaderValue::from_static("")), hash(value.as_bytes()))
}

/// The address that a client has, as far as the proxies before us are believed [G 6.1]: `peer`, or, where that is
/// trusted, the first address of `X-Forwarded-For`, from the right, that is not; the leftmost where all are. What is no
/// address ends the search: nothing left of it can be believed.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Cidr]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|cidr| cidr.contains(address));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    // The values of a header iterate from either end; the last line is the newest.
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|b| *b == b','));
    for entry in entries.take(MAX_FORWARDED) {
        let Some(address) = address(entry.trim_ascii()) else { break };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// The session key for CLIENT_IP: from source and destination address [G 3].
pub(crate) fn client_ip_key(client: IpAddr, local: IpAddr) -> u64 {
    let mut pair = [0; 32];
    let (source, destination) = pair.split_at_mut(16);
    source.copy_from_slice(&wide(client));
    destination.copy_from_slice(&wide(local));
    hash(&pair)
}

/// Whether we could have made this value.
fn is_ours(value: &str) -> bool {
    // Larger than 16 bytes, since the decoder asks for whole groups.
    let mut bytes = [0; 24];
    value.len() == VALUE_LENGTH && matches!(URL_SAFE_NO_PAD.decode_slice(value, &mut bytes), Ok(16))
}

/// An entry of `X-Forwarded-For`: an address, or one with a port, as some proxies write it.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// `now` and `ttl` added up, as an HTTP date; years beyond 9999 become that one.
fn http_date(now: SystemTime, ttl: Span) -> String {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let end = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(ttl.to_std());
    httpdate::fmt_http_date(UNIX_EPOCH + end.min(LAST))
}

/// Sixteen bytes, the same for an IPv4 address and its IPv6 mapping.
fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The fixed key: digits of e, to show that nothing is hidden in it. Changing it moves every session.
fn hash(bytes: &[u8]) -> u64 {
    SipHasher13::new_with_keys(2_718_281_828_459_045, 2_353_602_874_713_526).hash(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn with(name: &'static str, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    fn cookie(lines: &[&str]) -> CookieState {
        cookie_key(&with("cookie", lines), "GCLB")
    }

    const VALUE: &str = "AAAAAAAAAAAAAAAAAAAABw";

    #[test]
    fn issued_cookie_comes_back_as_its_key() {
        // [G 3.2, 3.3]
        let (header, key) = new_key_cookie("GCLB", 7, Span::ZERO, UNIX_EPOCH);
        assert_eq!(header, format!("GCLB=\"{VALUE}\"; path=/; HttpOnly"));
        assert_eq!(cookie(&[&format!("GCLB={VALUE}")]), CookieState::Key(key));
        assert_eq!(cookie(&[&format!("GCLB=\"{VALUE}\"")]), CookieState::Key(key));
        let (_, other) = new_key_cookie("GCLB", 8, Span::ZERO, UNIX_EPOCH);
        assert_ne!(key, other);
        let (header, key) = new_key_cookie("GCILB", u128::MAX, Span::ZERO, UNIX_EPOCH);
        let pair = header.to_str().unwrap().split(';').next().unwrap().to_owned();
        assert_eq!(cookie_key(&with("cookie", &[&pair]), "GCILB"), CookieState::Key(key));
    }

    #[test]
    fn keys_are_the_same_after_a_restart() {
        assert_eq!(new_key_cookie("GCLB", 7, Span::ZERO, UNIX_EPOCH).1, KEY_OF_SEVEN);
        assert_eq!(client_ip_key("192.0.2.1".parse().unwrap(), "198.51.100.9".parse().unwrap()), KEY_OF_PAIR);
    }

    // Written down from a first run: what counts is that they never change.
    const KEY_OF_SEVEN: u64 = 12_351_258_584_162_129_947;
    const KEY_OF_PAIR: u64 = 1_666_545_414_232_791_614;

    #[test]
    fn ttl_becomes_a_date() {
        // [G 3.3, 3.4]
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let (header, _) = new_key_cookie("GCLB", 7, Span::secs(60), now);
        assert!(
            header.to_str().unwrap().ends_with("; path=/; HttpOnly; expires=Sun, 06 Nov 1994 08:50:37 GMT")
        );
        for odd in [UNIX_EPOCH - Duration::from_secs(9), UNIX_EPOCH + Duration::from_secs(300_000_000_000)] {
            let (header, _) = new_key_cookie("GCLB", 7, Span::MAX, odd);
            assert!(header.to_str().unwrap().ends_with(" GMT"));
        }
    }

    #[test]
    fn cookie_is_found_among_others() {
        let CookieState::Key(key) = cookie(&[&format!("GCLB={VALUE}")]) else { panic!("no key") };
        for lines in [
            vec![format!("a=b; GCLB={VALUE}; c=d")],
            vec![format!("a=b;GCLB=\"{VALUE}\"")],
            vec!["a=b".to_owned(), format!("xGCLB=1; GCLB={VALUE}")],
            vec![format!("GCLB=bad; GCLB={VALUE}")],
            vec![format!("; nonsense; =; \u{e4}=\u{e4}; GCLB={VALUE}")],
        ] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(cookie(&lines), CookieState::Key(key), "{lines:?}");
        }
        let mut headers = HeaderMap::new();
        headers
            .append(COOKIE, HeaderValue::from_bytes(&[b"a=\xff; GCLB=", VALUE.as_bytes()].concat()).unwrap());
        assert_eq!(cookie_key(&headers, "GCLB"), CookieState::Key(key));
    }

    #[test]
    fn cookie_of_another_make_is_malformed_and_another_name_is_absent() {
        for value in
            ["", "x", "\"\"", "AAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAABww", "AAAAAAAAAAAAAAAAAAAA+w"]
        {
            assert_eq!(cookie(&[&format!("GCLB={value}")]), CookieState::Malformed, "{value}");
        }
        assert_eq!(cookie(&["GCLB=AAAAAAAAAAAAAAAAAAAABx"]), CookieState::Malformed, "stray bits at its end");
        assert_eq!(cookie(&[&format!("gclb={VALUE}; xGCLB={VALUE}; a=GCLB")]), CookieState::Absent);
        assert_eq!(cookie(&[]), CookieState::Absent);
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = [("127.0.0.0", 8), ("10.0.0.0", 8), ("2001:db8::", 32)];
        let trusted = trusted.map(|(network, prefix)| Cidr { network: network.parse().unwrap(), prefix });
        client_address(peer.parse().unwrap(), &with("x-forwarded-for", lines), &trusted).to_string()
    }

    #[test]
    fn stranger_is_not_believed() {
        assert_eq!(client("192.0.2.1", &["1.2.3.4"]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &["1.2.3.4"]), "192.0.2.1");
    }

    #[test]
    fn trusted_proxies_are_skipped_from_the_right() {
        // [G 6.1]
        for (lines, want) in [
            (vec![], "127.0.0.1"),
            (vec!["1.2.3.4"], "1.2.3.4"),
            (vec!["6.6.6.6, 1.2.3.4 ,10.0.0.1"], "1.2.3.4"),
            (vec!["6.6.6.6,1.2.3.4", "10.0.0.1", "10.0.0.2,2001:db8::9"], "1.2.3.4"),
            (vec!["10.0.0.7,10.0.0.1"], "10.0.0.7"),
            (vec!["1.2.3.4:5678,10.0.0.1:80"], "1.2.3.4"),
            (vec!["[2001:dead::1]:80, [2001:db8::1]"], "2001:dead::1"),
            (vec!["::ffff:1.2.3.4"], "1.2.3.4"),
        ] {
            assert_eq!(client("127.0.0.1", &lines), want, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        for (lines, want) in [
            (vec!["unknown"], "127.0.0.1"),
            (vec![""], "127.0.0.1"),
            (vec!["1.2.3.4,"], "127.0.0.1"),
            (vec!["1.2.3.4, _hidden, 10.0.0.1"], "10.0.0.1"),
            (vec!["1.2.3.4, 1.2.3.999"], "127.0.0.1"),
            (vec!["1.2.3.4, \u{e4}, 10.0.0.1"], "10.0.0.1"),
        ] {
            assert_eq!(client("127.0.0.1", &lines), want, "{lines:?}");
        }
    }

    #[test]
    fn search_is_bounded() {
        let line = |n: usize| format!("1.2.3.4{}", ",10.0.0.1".repeat(n));
        assert_eq!(client("127.0.0.1", &[&line(MAX_FORWARDED - 1)]), "1.2.3.4");
        assert_eq!(client("127.0.0.1", &[&line(MAX_FORWARDED)]), "10.0.0.1");
    }

    #[test]
    fn client_ip_key_is_of_source_and_destination() {
        // [G 3]
        let key = |a: &str, b: &str| client_ip_key(a.parse().unwrap(), b.parse().unwrap());
        assert_eq!(key("192.0.2.1", "10.0.0.1"), key("::ffff:192.0.2.1", "10.0.0.1"));
        assert_ne!(key("192.0.2.1", "10.0.0.1"), key("192.0.2.2", "10.0.0.1"));
        assert_ne!(key("192.0.2.1", "10.0.0.1"), key("192.0.2.1", "10.0.0.2"));
        assert_ne!(key("192.0.2.1", "10.0.0.1"), key("10.0.0.1", "192.0.2.1"));
    }
}
