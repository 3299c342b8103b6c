//! A request of HTTP/2, made one that could have come by HTTP/1.1 and means the same to every parser.
//!
//! [`super::list`] has refused what is malformed by itself: pseudo-headers that are unknown, missing, repeated or late, upper case,
//! control bytes, headers of a connection. What is left is refused here, as strictly as the guard of HTTP/1.1 does, so
//! that nothing on the way to an HTTP/1.1 member can become a header, a path or a request of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{Method, Uri, Version, request};
use ring::digest;

use crate::model::detail::StatusDetail;
use crate::proxy::guard::{MAX_HEADERS, is_authority, is_target};

/// The `:protocol` of a CONNECT [RFC 8441 4].
#[derive(Debug, Clone)]
pub(super) struct Protocol(pub(super) Bytes);

/// Makes a head of HTTP/2 one of HTTP/1.1. For a WebSocket [RFC 8441], `key` is the key that a member is shown.
///
/// # Errors
/// Why it is refused; all of it is the client's fault.
pub(in crate::proxy) fn canonical(
    head: &mut request::Parts,
    max_head: usize,
    key: impl FnOnce() -> [u8; 16],
) -> Result<Option<HeaderValue>, StatusDetail> {
    bounded(head, max_head)?;
    plain_headers(&head.headers)?;
    let protocol = head.extensions.remove::<Protocol>();
    if head.method == Method::CONNECT && protocol.is_none() {
        return Err(StatusDetail::UnsupportedMethod);
    }
    let host = host(head)?;
    head.headers.insert(HOST, host);
    head.uri = Uri::from(path(head)?);
    join_cookies(&mut head.headers);
    let Some(protocol) = protocol else { return Ok(None) };
    if protocol.0 != "websocket" {
        return Err(StatusDetail::UpgradeHeaderRejected);
    }
    Ok(Some(websocket(head, key())))
}

/// The same bounds as in HTTP/1.1: bytes of method, path, names and values, each line with four of its own.
fn bounded(head: &request::Parts, max_head: usize) -> Result<(), StatusDetail> {
    let headers = &head.headers;
    let authority = head.uri.authority().map_or(0, |authority| authority.as_str().len());
    let path = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let lines: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    // Crumbs of a cookie become one header.
    let crumbs = headers.get_all(COOKIE).iter().count().saturating_sub(1);
    if authority + path + lines > max_head || headers.len() - crumbs > MAX_HEADERS {
        return Err(StatusDetail::HeadersTooLong);
    }
    Ok(())
}

/// No name has a quotation mark, which is no character of one [RFC 9110 5.6.2] and the only such that `http` takes. No
/// value starts or ends with a space [RFC 9113 8.2.1]; one length at most, in digits without zeros before them, as in
/// HTTP/1.1.
fn plain_headers(headers: &HeaderMap) -> Result<(), StatusDetail> {
    let is_space = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    let has_space =
        |value: &HeaderValue| is_space(value.as_bytes().first()) || is_space(value.as_bytes().last());
    let has_mark = |name: &HeaderName| name.as_str().contains('"');
    if headers.values().any(has_space) || headers.keys().any(has_mark) {
        return Err(StatusDetail::InvalidHttp2ClientHeaderFormat);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let is_length = |value: &HeaderValue| match value.as_bytes() {
        [] | [b'0', _, ..] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    };
    if lengths.next().is_some_and(|length| !is_length(length)) || lengths.next().is_some() {
        return Err(StatusDetail::InvalidHttp2ClientHeaderFormat);
    }
    Ok(())
}

/// `:authority`, or `Host` where that is missing. Two that differ would lead two readers to two places.
fn host(head: &request::Parts) -> Result<HeaderValue, StatusDetail> {
    let malformed = StatusDetail::InvalidHttp2ClientHeaderFormat;
    let mut hosts = head.headers.get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let found = match (head.uri.authority(), host) {
        (Some(authority), Some(host))
            if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            return Err(malformed);
        }
        (Some(authority), _) => HeaderValue::from_str(authority.as_str()).map_err(|_| malformed)?,
        (None, Some(host)) => host.clone(),
        (None, None) => return Err(malformed),
    };
    if more.is_some() || !is_authority(found.as_bytes()) {
        return Err(malformed);
    }
    Ok(found)
}

fn path(head: &request::Parts) -> Result<PathAndQuery, StatusDetail> {
    let malformed = StatusDetail::InvalidHttp2ClientRequestPath;
    // Where :path and :authority are missing, h2 makes a path without a byte, which says that it is `/` and is written as
    // nothing.
    if head.uri.path().is_empty() {
        return Err(malformed);
    }
    let path = head.uri.path_and_query().ok_or(malformed)?;
    let text = path.as_str();
    let is_asterisk = text == "*" && head.method == Method::OPTIONS;
    // As a method that takes no form of its own.
    if text == "/" {
        // The same where h2 has cut off a fragment with nothing before it.
        Ok(PathAndQuery::from_static("/"))
    } else if is_asterisk || (text.starts_with('/') && is_target(b"GET", text.as_bytes())) {
        Ok(path.clone())
    } else {
        Err(malformed)
    }
}

/// Crumbs become one header [RFC 9113 8.2.3].
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    // Joined from values, it is one.
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
        headers.insert(COOKIE, joined);
    }
}

/// A CONNECT for WebSocket becomes the handshake of HTTP/1.1. Gives what a member must answer.
fn websocket(head: &mut request::Parts, key: [u8; 16]) -> HeaderValue {
    const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    head.method = Method::GET;
    head.version = Version::HTTP_11;
    let key = BASE64.encode(key);
    let mut accept = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    accept.update(key.as_bytes());
    accept.update(GUID.as_bytes());
    let accept = value(&BASE64.encode(accept.finish()));
    head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(SEC_WEBSOCKET_KEY, value(&key));
    accept
}

/// Base64 is a value.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::Request;

    use super::*;

    const MAX: usize = 1000;

    fn head(uri: &str, headers: &[(&str, &str)]) -> request::Parts {
        let mut builder = Request::builder().version(Version::HTTP_2).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn made(uri: &str, headers: &[(&str, &str)]) -> Result<request::Parts, &'static str> {
        let mut head = head(uri, headers);
        canonical(&mut head, MAX, || [0; 16]).map(|_| head).map_err(StatusDetail::as_str)
    }

    fn refused(uri: &str, headers: &[(&str, &str)]) -> &'static str {
        made(uri, headers).map(|_| "nothing").unwrap_or_else(|word| word)
    }

    #[test]
    fn the_authority_becomes_the_host_and_leaves_the_target() {
        let head = made("http://a.example:8080/p?q", &[]).unwrap();
        assert_eq!(head.uri, "/p?q");
        assert_eq!(head.headers[HOST], "a.example:8080");
        let head = made("http://a/", &[("host", "A")]).unwrap();
        assert_eq!(head.headers.get_all(HOST).iter().collect::<Vec<_>>(), ["a"]);
        let head = made("/p", &[("host", "b")]).unwrap();
        assert_eq!(head.headers[HOST], "b");
    }

    #[test]
    fn what_two_readers_could_take_for_two_hosts_or_none_is_refused() {
        let word = "invalid_http2_client_header_format";
        assert_eq!(refused("http://a/", &[("host", "b")]), word);
        assert_eq!(refused("http://a/", &[("host", "a"), ("host", "a")]), word);
        assert_eq!(refused("/", &[("host", "a"), ("host", "b")]), word);
        assert_eq!(refused("/", &[]), word);
        assert_eq!(refused("http://user@a/", &[]), word);
        assert_eq!(refused("/", &[("host", "a/b")]), word);
    }

    #[test]
    fn crumbs_are_joined_in_their_order() {
        let cookies = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")];
        let head = made("http://a/", &cookies).unwrap();
        assert_eq!(head.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn lengths_and_values_have_one_meaning() {
        let word = "invalid_http2_client_header_format";
        assert_eq!(refused("http://a/", &[("content-length", "1"), ("content-length", "1")]), word);
        assert_eq!(refused("http://a/", &[("content-length", "+1")]), word);
        assert_eq!(refused("http://a/", &[("content-length", "01")]), word);
        assert!(made("http://a/", &[("content-length", "0")]).is_ok());
        assert_eq!(refused("http://a/", &[("x", " y")]), word);
        // As h2 makes names; others are refused by `http` itself.
        let mut marked = head("http://a/", &[]);
        marked.headers.insert(HeaderName::from_lowercase(b"x\"").unwrap(), HeaderValue::from_static("y"));
        assert_eq!(canonical(&mut marked, MAX, || [0; 16]).map_err(StatusDetail::as_str), Err(word));
        assert_eq!(refused("http://a/", &[("x", "y\t")]), word);
        assert!(made("http://a/", &[("content-length", "10"), ("x", "y z")]).is_ok());
    }

    #[test]
    fn a_head_has_the_bounds_of_http_1() {
        let long = "x".repeat(MAX);
        assert_eq!(refused("http://a/", &[("x", &long)]), "headers_too_long");
        let many: Vec<_> = (0..=MAX_HEADERS).map(|_| ("x", "")).collect();
        assert_eq!(refused("http://a/", &many), "headers_too_long");
        let crumbs: Vec<_> = (0..=MAX_HEADERS).map(|_| ("cookie", "")).collect();
        assert!(made("http://a/", &crumbs[..50]).is_ok());
    }

    #[test]
    fn a_path_is_one_or_the_request_is_refused() {
        let word = "invalid_http2_client_request_path";
        assert_eq!(refused("*", &[("host", "a")]), word);
        let mut without = head("*", &[("host", "a")]);
        without.uri = Uri::from_parts(http::uri::Parts::default()).unwrap();
        let refused_too = canonical(&mut without, MAX, || [0; 16]).map_err(StatusDetail::as_str);
        assert_eq!(refused_too, Err(word), "as h2 makes it without :path and :authority");
        let mut parts = http::uri::Parts::default();
        (parts.scheme, parts.authority) = (Some("http".parse().unwrap()), Some("a".parse().unwrap()));
        parts.path_and_query = Some("#b".parse().unwrap());
        let mut fragment = head("*", &[]);
        fragment.uri = Uri::from_parts(parts).unwrap();
        assert!(canonical(&mut fragment, MAX, || [0; 16]).is_ok());
        assert_eq!(fragment.uri.to_string(), "/", "as h2 makes it of :path #b");
        assert!(made("http://a/%20/\"{}", &[]).is_ok(), "as in HTTP/1.1");
        let mut options = head("*", &[("host", "a")]);
        options.method = Method::OPTIONS;
        assert!(canonical(&mut options, MAX, || [0; 16]).is_ok());
    }

    #[test]
    fn a_connect_for_websocket_becomes_a_handshake_and_any_other_is_refused() {
        let connect = |protocol: Option<&'static str>| {
            let mut head = head("http://a/chat", &[("sec-websocket-version", "13")]);
            head.method = Method::CONNECT;
            if let Some(protocol) = protocol {
                head.extensions.insert(Protocol(Bytes::from_static(protocol.as_bytes())));
            }
            let accept = canonical(&mut head, MAX, || *b"the sample nonce");
            (head, accept)
        };
        let (head, accept) = connect(Some("websocket"));
        assert_eq!((&head.method, head.version), (&Method::GET, Version::HTTP_11));
        assert_eq!(head.headers[SEC_WEBSOCKET_KEY], "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept.unwrap().unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "the example of RFC 6455");
        assert_eq!(head.headers[UPGRADE], "websocket");
        assert_eq!(head.headers[CONNECTION], "upgrade");
        assert_eq!(connect(Some("connect-udp")).1.unwrap_err(), StatusDetail::UpgradeHeaderRejected);
        assert_eq!(connect(None).1.unwrap_err(), StatusDetail::UnsupportedMethod);
    }
}
