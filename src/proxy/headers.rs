//! Headers on their way through: what is taken away and what is added, in both directions [G 6a].
//!
//! Hop-by-hop headers end here, with those that `Connection` names. A client must not use that to take away what
//! proxies before us have added or what frames the message: such names are passed over.
//!
//! One pass looks at the names that are there; nothing is searched for that is not. A request costs one allocation
//! for the trace and none for `X-Forwarded-For`, unless the client sent one.
//!
//! Lengths and Transfer-Encoding: whoever writes a message frames it. That no request has both is the guard's
//! promise; an answer that has both is refused (`has_two_framings`).

use std::io::Write;
use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{Method, Version};

use super::http1::scratch::Scratch;
use super::http1::text::write_number;
use crate::balance::report::{self, Malformed, Report};
use crate::model::header::elements;

/// How often a request may have passed a balancer of this name before it counts as going round in circles.
pub(crate) const MAX_HOPS: usize = 10;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Trace and span of a request.
pub(crate) const TRACE_CONTEXT: HeaderName = HeaderName::from_static("x-cloud-trace-context");
/// Load reports of members, the newest form first: it wins [G 1.41, 1.42]. With whether it is base64 of the protobuf.
const LOAD_REPORTS: [(HeaderName, bool); 6] = [
    (HeaderName::from_static("endpoint-load-metrics-bin"), true),
    (HeaderName::from_static("endpoint-load-metrics"), false),
    (HeaderName::from_static("endpoint-load-metrics-json"), false),
    (HeaderName::from_static("x-endpoint-load-metrics-bin"), true),
    (HeaderName::from_static("x-endpoint-load-metrics"), false),
    (HeaderName::from_static("x-endpoint-load-metrics-json"), false),
];
pub(super) const OUR_VIA: &str = "1.1 google";

/// What is the same for all requests of a client's connection.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    /// `<client>,<balancer>`, as text in place: sharing one value among requests would count up and down on a line of
    /// memory of its own.
    forwarded_for: [u8; MAX_PRINTED],
    length: usize,
    proto: HeaderValue,
}

/// What a request's headers are to say about its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The connection it came on.
    pub hop: &'a Hop,
    /// Whether its upgrade is passed on; else `Upgrade` ends here.
    pub keep_upgrade: bool,
    /// Trace and span, used where the client sent none.
    pub trace: (u128, u64),
    /// Where its text is cut from.
    pub(crate) scratch: &'a Scratch,
}

impl Hop {
    /// A connection from `client`, the peer as the socket has it, to `local`, our own address.
    pub(crate) fn new(client: IpAddr, local: IpAddr, https: bool) -> Self {
        let (forwarded_for, length) = two_addresses(client.to_canonical(), local.to_canonical());
        Self { forwarded_for, length, proto: HeaderValue::from_static(if https { "https" } else { "http" }) }
    }

    /// Whether the client came over TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.proto == "https"
    }

    fn forwarded_for(&self) -> &[u8] {
        self.forwarded_for.get(..self.length).unwrap_or_default()
    }
}

/// Makes a client's headers those that a backend gets [G 6a, 6.1]. `seen` is their survey.
pub(crate) fn to_backend(headers: &mut HeaderMap, seen: Seen, facts: &Facts<'_>) {
    strip_hop_by_hop(headers, seen, facts.keep_upgrade);
    headers.append(VIA, HeaderValue::from_static(OUR_VIA));
    if seen.has(Seen::FORWARDED_FOR) {
        append_forwarded_for(headers, facts.hop);
    } else {
        headers.append(X_FORWARDED_FOR, cut(facts.hop.forwarded_for(), facts.scratch));
    }
    headers.insert(X_FORWARDED_PROTO, facts.hop.proto.clone());
    if !seen.has(Seen::TRACE) {
        headers.append(TRACE_CONTEXT, trace_context(facts.trace, facts.scratch));
    }
}

/// Makes a backend's headers those that a client gets [G 6a].
pub(crate) fn to_client(headers: &mut HeaderMap, seen: Seen, keep_upgrade: bool) {
    strip_hop_by_hop(headers, seen, keep_upgrade);
    headers.append(VIA, HeaderValue::from_static(OUR_VIA));
}

/// The status of a call of gRPC whose answer has no more than a head.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Whether an answer has both Content-Length and Transfer-Encoding: whoever believes the other one sees an answer in
/// its body (RFC 9112, 6.3).
pub(crate) fn has_two_framings(headers: &HeaderMap, seen: Seen) -> bool {
    seen.0 & 1 << CHUNKED != 0 && headers.contains_key(CONTENT_LENGTH)
}

/// The load report in an answer's head, if there is one; the error is that of a report that cannot be read.
pub(crate) fn load_report(headers: &HeaderMap) -> Option<Result<Report, Malformed>> {
    let (value, is_binary) =
        LOAD_REPORTS.iter().find_map(|(name, is_binary)| Some((headers.get(name)?, *is_binary)))?;
    let parse = if is_binary { report::parse_binary } else { report::parse_header };
    Some(value.to_str().map_err(|_| Malformed::Syntax).and_then(parse))
}

/// Which of the names that a proxy must know are there. One pass over a head's names replaces a search for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen(u32);

impl Seen {
    pub(crate) const UPGRADE: Self = Self(1 << 8);
    pub(crate) const VIA: Self = Self(1 << 9);
    pub(crate) const FORWARDED_FOR: Self = Self(1 << 10);
    pub(crate) const TRACE: Self = Self(1 << 11);
    pub(crate) const EXPECT: Self = Self(1 << 12);
    pub(crate) const HOST: Self = Self(1 << 13);
    pub(crate) const ORCA: Self = Self(1 << 15);
    /// The names in [`HOP_BY_HOP`], in its order.
    const HOPS: u32 = (1 << HOP_BY_HOP.len()) - 1;

    /// Looks at all names once.
    pub(crate) fn survey(headers: &HeaderMap) -> Self {
        Self(headers.keys().filter_map(|name| bit_of(name.as_str())).fold(0, |seen, bit| seen | 1 << bit))
    }

    /// Whether one of `names` is there.
    pub(crate) const fn has(self, names: Self) -> bool {
        self.0 & names.0 != 0
    }
}

/// Whether a request asks for another protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// No; also when `Upgrade` stands alone, which then means nothing (RFC 9110, 7.8).
    None,
    /// For WebSocket.
    WebSocket,
    /// For something else: refused [G 6b].
    Other,
}

/// Whether `Connection` has this option, given in small letters.
pub(crate) fn connection_says(headers: &HeaderMap, option: &[u8]) -> bool {
    elements(headers, &CONNECTION).any(|said| said.eq_ignore_ascii_case(option))
}

/// What a request asks to be upgraded to.
pub(crate) fn upgrade_of(method: &Method, version: Version, headers: &HeaderMap) -> Upgrade {
    let Some(protocol) = headers.get(UPGRADE) else { return Upgrade::None };
    let is_asked_for = version == Version::HTTP_11 && connection_says(headers, b"upgrade");
    if !is_asked_for {
        return Upgrade::None;
    }
    let is_alone = headers.get_all(UPGRADE).iter().nth(1).is_none();
    if is_alone
        && method == Method::GET
        && protocol.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket")
    {
        Upgrade::WebSocket
    } else {
        Upgrade::Other
    }
}

/// Whether a request has been here before, more than [`MAX_HOPS`] times by its `Via`: `request_loop_detected`
/// [G 6b]. To be asked before [`to_backend`].
pub(crate) fn is_loop(headers: &HeaderMap) -> bool {
    elements(headers, &VIA).filter(|hop| hop.eq_ignore_ascii_case(OUR_VIA.as_bytes())).count() > MAX_HOPS
}

/// Whether the client takes trailers, which gRPC members want to know. To be asked before [`to_backend`].
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    elements(headers, &TE).any(|word| word.eq_ignore_ascii_case(b"trailers"))
}

/// Where a path with `.` or `..` segments really leads; `None` when it has none. Such a request is answered with 302
/// [G 6b]. The result starts with one slash, lest a browser take it for another host's name.
pub(crate) fn normalised_path(path: &str) -> Option<String> {
    if !path.starts_with('/') || !path.contains("/.") {
        return None;
    }
    let segments = path.split('/').skip(1);
    if !segments.clone().any(|segment| matches!(segment, "." | "..")) {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_dots = false;
    for segment in segments {
        ends_in_dots = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    if ends_in_dots {
        kept.push("");
    }
    let joined = kept.join("/");
    Some(format!("/{}", joined.trim_start_matches(['/', '\\'])))
}

/// Hop-by-hop headers [G 6a]; `Proxy-Connection` is nobody's standard, and many send it.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Of these, what a message of HTTP/2 or HTTP/3 does not have [RFC 9113 8.2.2], [RFC 9114 4.2]; `TE` it may have, with
/// the word `trailers`.
pub(crate) static OF_A_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Whether it is one of [`OF_A_CONNECTION`]: asked for every header of HTTP/2.
pub(crate) fn is_of_a_connection(name: &HeaderName) -> bool {
    match *name {
        CONNECTION | TRANSFER_ENCODING | UPGRADE => true,
        _ => matches!(name.as_str(), "keep-alive" | "proxy-connection"),
    }
}

/// Takes away what ends at a proxy. With `keep_upgrade`, `Upgrade` stays, and `Connection` says so.
fn strip_hop_by_hop(headers: &mut HeaderMap, seen: Seen, keep_upgrade: bool) {
    let found = seen.0 & Seen::HOPS;
    if found == 0 {
        return;
    }
    if found & 1 != 0 && !has_usual_connection(headers) {
        strip_named_by_connection(headers);
    }
    for (index, name) in HOP_BY_HOP.iter().enumerate() {
        if found & 1 << index != 0 && !(keep_upgrade && *name == UPGRADE) {
            headers.remove(name);
        }
    }
    if found & 1 << CHUNKED != 0 {
        // Overruled by Transfer-Encoding (RFC 9112, 6.3); left alone, it would frame what is sent on.
        headers.remove(CONTENT_LENGTH);
    }
    if keep_upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Index of Transfer-Encoding in [`HOP_BY_HOP`].
const CHUNKED: usize = 7;

/// Bit in [`Seen`]; the first are indices into [`HOP_BY_HOP`], and a test holds the two together.
fn bit_of(name: &str) -> Option<usize> {
    Some(match name {
        "connection" => 0,
        "keep-alive" => 1,
        "proxy-connection" => 2,
        "proxy-authenticate" => 3,
        "proxy-authorization" => 4,
        "te" => 5,
        "trailer" => 6,
        "transfer-encoding" => CHUNKED,
        "upgrade" => 8,
        "via" => 9,
        "x-forwarded-for" => 10,
        "x-cloud-trace-context" => 11,
        "expect" => 12,
        "host" => 13,
        "cookie" => 14,
        "endpoint-load-metrics"
        | "endpoint-load-metrics-bin"
        | "endpoint-load-metrics-json"
        | "x-endpoint-load-metrics"
        | "x-endpoint-load-metrics-bin"
        | "x-endpoint-load-metrics-json" => 15,
        _ => return None,
    })
}

/// Whether there is one `Connection` with one usual option: the rule, and nothing to look for.
fn has_usual_connection(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONNECTION).iter();
    values.next().is_some_and(|value| is_usual_option(value.as_bytes())) && values.next().is_none()
}

fn strip_named_by_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = elements(headers, &CONNECTION)
        .filter(|option| !is_usual_option(option))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| headers.contains_key(name) && !is_protected(name.as_str()))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Options that name no header, or one that is taken away in any case.
fn is_usual_option(option: &[u8]) -> bool {
    [&b"close"[..], b"keep-alive", b"upgrade"].iter().any(|usual| option.eq_ignore_ascii_case(usual))
}

/// Headers that `Connection` cannot take away: they concern all who handle the message, or a proxy vouches for them.
fn is_protected(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "host"
                | "content-length"
                | "content-type"
                | "content-encoding"
                | "authorization"
                | "cookie"
                | "set-cookie"
                | "cache-control"
                | "via"
                | "forwarded"
                | "x-real-ip"
                | "x-cloud-trace-context"
                | "traceparent"
                | "tracestate"
                | "upgrade"
        )
}

/// Adds client and balancer behind what the client sent, all in one line: many backends read the first line only.
fn append_forwarded_for(headers: &mut HeaderMap, hop: &Hop) {
    let ours = hop.forwarded_for();
    let mut joined = Vec::new();
    for value in headers.get_all(X_FORWARDED_FOR) {
        if joined.is_empty() {
            joined.reserve_exact(value.len() + 1 + ours.len());
        }
        joined.extend_from_slice(value.as_bytes());
        joined.push(b',');
    }
    if joined.iter().all(|b| *b == b',') {
        joined.clear();
    }
    joined.extend_from_slice(ours);
    // Joined from values, it is one.
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(X_FORWARDED_FOR, value);
    }
}

/// `<trace in 32 hex digits>/<span in decimal>`. Written by hand and cut from a larger piece: this is done for most
/// requests, formatting costs ten times as much, and a text of its own two allocations.
fn trace_context((trace, span): (u128, u64), scratch: &Scratch) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'/'; 32 + 1 + 20];
    for (at, byte) in trace.to_be_bytes().into_iter().enumerate() {
        text[2 * at] = DIGITS[usize::from(byte >> 4)];
        text[2 * at + 1] = DIGITS[usize::from(byte & 15)];
    }
    let mut rest = &mut text[33..];
    write_number(&mut rest, span);
    let unused = rest.len();
    cut(&text[..text.len() - unused], scratch)
}

/// A value of its own text, cut from a larger piece of memory.
fn cut(text: &[u8], scratch: &Scratch) -> HeaderValue {
    HeaderValue::from_maybe_shared(scratch.cut(text)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Longest text of two addresses and a comma is 91 characters.
const MAX_PRINTED: usize = 96;

/// `<client>,<balancer>`. IPv4 by hand: once per connection, and the formatting machinery is a twentieth of what a
/// connection with one request costs.
fn two_addresses(client: IpAddr, local: IpAddr) -> ([u8; MAX_PRINTED], usize) {
    let (IpAddr::V4(client), IpAddr::V4(local)) = (client, local) else {
        return printed(format_args!("{client},{local}"));
    };
    let (mut text, mut length) = ([0; MAX_PRINTED], 0);
    let mut push = |byte| {
        if let Some(place) = text.get_mut(length) {
            *place = byte;
            length += 1;
        }
    };
    for (at, octet) in client.octets().into_iter().chain(local.octets()).enumerate() {
        match at {
            0 => {}
            4 => push(b','),
            _ => push(b'.'),
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    (text, length)
}

fn printed(text: std::fmt::Arguments<'_>) -> ([u8; MAX_PRINTED], usize) {
    let mut buffer = [0; MAX_PRINTED];
    let mut rest = &mut buffer[..];
    let is_whole = rest.write_fmt(text).is_ok();
    let unused = rest.len();
    debug_assert!(is_whole, "a value of more than 96 characters");
    (buffer, MAX_PRINTED - unused)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    fn hop(client: &str, local: &str) -> Hop {
        Hop::new(client.parse().unwrap(), local.parse().unwrap(), false)
    }

    /// As a backend gets them.
    fn sent(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = headers(lines);
        let hop = hop("192.0.2.1", "198.51.100.9");
        let seen = Seen::survey(&map);
        to_backend(
            &mut map,
            seen,
            &Facts { hop: &hop, keep_upgrade: false, trace: (0xabc, 7), scratch: &Scratch::default() },
        );
        map
    }

    fn all<'a>(map: &'a HeaderMap, name: &str) -> Vec<&'a str> {
        map.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn backend_gets_googles_headers() {
        // [G 6a]
        let map = sent(&[("host", "a")]);
        assert_eq!(all(&map, "host"), ["a"]);
        assert_eq!(all(&map, "via"), ["1.1 google"]);
        assert_eq!(all(&map, "x-forwarded-for"), ["192.0.2.1,198.51.100.9"]);
        assert_eq!(all(&map, "x-forwarded-proto"), ["http"]);
        assert_eq!(all(&map, "x-cloud-trace-context"), ["00000000000000000000000000000abc/7"]);
        assert_eq!(map.len(), 5);
    }

    #[test]
    fn client_is_the_last_but_one_after_what_it_claimed() {
        // [G 6.1]
        for (claims, want) in [
            (vec!["1.2.3.4"], "1.2.3.4,192.0.2.1,198.51.100.9"),
            (vec!["1.2.3.4, 5.6.7.8", "nonsense"], "1.2.3.4, 5.6.7.8,nonsense,192.0.2.1,198.51.100.9"),
            (vec![""], "192.0.2.1,198.51.100.9"),
            (vec!["", ""], "192.0.2.1,198.51.100.9"),
        ] {
            let lines: Vec<_> = claims.iter().map(|claim| ("X-Forwarded-For", *claim)).collect();
            assert_eq!(all(&sent(&lines), "x-forwarded-for"), [want]);
        }
    }

    #[test]
    fn addresses_are_written_in_their_own_family() {
        for (client, local, want) in [
            ("::ffff:192.0.2.1", "::ffff:127.0.0.1", "192.0.2.1,127.0.0.1"),
            ("2001:db8::1", "::1", "2001:db8::1,::1"),
        ] {
            assert_eq!(hop(client, local).forwarded_for(), want.as_bytes());
        }
        let long = "1111:2222:3333:4444:5555:6666:7777:8888";
        assert_eq!(hop(long, long).forwarded_for(), format!("{long},{long}").as_bytes());
        let trace = trace_context((u128::MAX, u64::MAX), &Scratch::default());
        assert_eq!(trace, format!("{}/{}", "f".repeat(32), u64::MAX));
    }

    #[test]
    fn proto_is_ours_and_the_trace_is_the_clients_if_it_has_one() {
        let map = sent(&[
            ("x-forwarded-proto", "https"),
            ("x-forwarded-proto", "x"),
            ("x-cloud-trace-context", "1/2"),
        ]);
        assert_eq!(all(&map, "x-forwarded-proto"), ["http"]);
        assert_eq!(all(&map, "x-cloud-trace-context"), ["1/2"]);
        let mut map = HeaderMap::new();
        let hop = Hop::new("::1".parse().unwrap(), "::1".parse().unwrap(), true);
        let seen = Seen::survey(&map);
        to_backend(
            &mut map,
            seen,
            &Facts { hop: &hop, keep_upgrade: false, trace: (1, 1), scratch: &Scratch::default() },
        );
        assert_eq!(all(&map, "x-forwarded-proto"), ["https"]);
    }

    #[test]
    fn g_1_41_a_load_report_is_heard_by_all_its_names_and_the_newest_wins() {
        let cpu = |lines: &[(&str, &str)]| {
            load_report(&headers(lines)).map(|report| report.ok().and_then(|report| report.cpu_utilization))
        };
        for (name, _) in &LOAD_REPORTS {
            assert_eq!(bit_of(name.as_str()), Some(15));
        }
        let old = ("x-endpoint-load-metrics", "TEXT cpu_utilization=0.25");
        assert_eq!(cpu(&[old]), Some(Some(0.25)));
        assert_eq!(
            cpu(&[("endpoint-load-metrics-json", "JSON {\"cpu_utilization\": 0.5}")]),
            Some(Some(0.5))
        );
        // Field 1, a double: 0.75.
        let binary = "CQAAAAAAAOg/";
        assert_eq!(cpu(&[("x-endpoint-load-metrics-bin", binary)]), Some(Some(0.75)));
        assert_eq!(cpu(&[old, ("Endpoint-Load-Metrics", "TEXT cpu_utilization=0.5")]), Some(Some(0.5)));
        assert_eq!(cpu(&[("x-endpoint-load-metrics", "cpu_utilization=1")]), Some(None));
        assert_eq!(cpu(&[]), None);
    }

    #[test]
    fn hop_by_hop_headers_end_here_in_both_directions() {
        // [G 6a]
        for (index, name) in HOP_BY_HOP.iter().enumerate() {
            assert_eq!(bit_of(name.as_str()), Some(index));
        }
        let lines: Vec<_> =
            HOP_BY_HOP.iter().map(|name| (name.as_str(), "x")).chain([("x-mine", "y")]).collect();
        let map = sent(&lines);
        assert!(HOP_BY_HOP.iter().all(|name| !map.contains_key(name)));
        assert_eq!(all(&map, "x-mine"), ["y"]);
        let mut map = headers(&lines);
        let seen = Seen::survey(&map);
        to_client(&mut map, seen, false);
        assert_eq!((map.len(), all(&map, "x-mine"), all(&map, "via")), (2, vec!["y"], vec!["1.1 google"]));
    }

    #[test]
    fn length_beside_transfer_encoding_goes() {
        let mut map = headers(&[("content-length", "5"), ("transfer-encoding", "chunked")]);
        let seen = Seen::survey(&map);
        to_client(&mut map, seen, false);
        assert!(!map.contains_key("content-length"));
        let mut map = headers(&[("content-length", "5")]);
        let seen = Seen::survey(&map);
        to_client(&mut map, seen, false);
        assert_eq!(all(&map, "content-length"), ["5"]);
    }

    #[test]
    fn headers_that_connection_names_end_here() {
        let map = sent(&[
            ("Connection", "close, X-A ,, b@d"),
            ("connection", "x-b"),
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-b", "3"),
            ("x-c", "4"),
        ]);
        assert!(!map.contains_key("x-a") && !map.contains_key("x-b") && !map.contains_key("connection"));
        assert_eq!(all(&map, "x-c"), ["4"]);
    }

    #[test]
    fn connection_cannot_take_away_what_others_rely_on() {
        let names =
            ["Host", "Content-Length", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Cookie"];
        let mut lines = vec![("Connection", "host, content-length, via, x-forwarded-for, x-forwarded-host")];
        lines.push(("Connection", "X-Real-IP, cookie, x-forwarded-proto"));
        lines.extend(names.map(|name| (name, "1")));
        let map = sent(&lines);
        for name in names {
            assert!(all(&map, name)[0].starts_with('1'), "{name}");
        }
    }

    #[test]
    fn upgrade_passes_only_where_it_is_kept() {
        let lines = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), ("keep-alive", "5")];
        let mut map = headers(&lines);
        let hop = hop("::1", "::1");
        let seen = Seen::survey(&map);
        to_backend(
            &mut map,
            seen,
            &Facts { hop: &hop, keep_upgrade: true, trace: (1, 1), scratch: &Scratch::default() },
        );
        assert_eq!((all(&map, "connection"), all(&map, "upgrade")), (vec!["upgrade"], vec!["websocket"]));
        assert!(!map.contains_key("keep-alive"));
        let mut map = headers(&lines);
        let seen = Seen::survey(&map);
        to_client(&mut map, seen, true);
        assert_eq!((all(&map, "connection"), all(&map, "upgrade")), (vec!["upgrade"], vec!["websocket"]));
        assert!(!sent(&lines).contains_key("upgrade"));
    }

    #[test]
    fn websocket_is_told_from_other_upgrades() {
        // [G 6b]
        let find =
            |method: Method, version, lines: &[(&str, &str)]| upgrade_of(&method, version, &headers(lines));
        let asks = [("connection", "keep-alive, UPGRADE"), ("upgrade", "WebSocket")];
        assert_eq!(find(Method::GET, Version::HTTP_11, &asks), Upgrade::WebSocket);
        assert_eq!(find(Method::GET, Version::HTTP_10, &asks), Upgrade::None);
        assert_eq!(find(Method::POST, Version::HTTP_11, &asks), Upgrade::Other);
        assert_eq!(find(Method::GET, Version::HTTP_11, &[("upgrade", "websocket")]), Upgrade::None);
        assert_eq!(find(Method::GET, Version::HTTP_11, &[("connection", "upgrade")]), Upgrade::None);
        for other in ["h2c", "websocket, h2c", ""] {
            let lines = [("connection", "upgrade"), ("upgrade", other)];
            assert_eq!(find(Method::GET, Version::HTTP_11, &lines), Upgrade::Other, "{other}");
        }
        let twice = [("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")];
        assert_eq!(find(Method::GET, Version::HTTP_11, &twice), Upgrade::Other);
    }

    #[test]
    fn request_that_passed_here_too_often_goes_in_circles() {
        let mut map = headers(&[("via", "1.1 varnish, 1.0 fred")]);
        let hop = hop("::1", "::1");
        for _ in 0..=MAX_HOPS {
            assert!(!is_loop(&map));
            let seen = Seen::survey(&map);
            to_backend(
                &mut map,
                seen,
                &Facts { hop: &hop, keep_upgrade: false, trace: (1, 1), scratch: &Scratch::default() },
            );
        }
        assert!(is_loop(&map));
        assert!(is_loop(&headers(&[("via", &["1.1 Google"; MAX_HOPS + 1].join(", "))])));
        assert!(!is_loop(&HeaderMap::new()));
    }

    #[test]
    fn paths_with_dot_segments_have_a_normal_form() {
        // [G 6b]
        for (path, want) in [
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/../../x", "/x"),
            ("/a/../../../b/./c/", "/b/c/"),
            ("/a//../b", "/a/b"),
            ("/.", "/"),
            ("/..//evil.test/", "/evil.test/"),
            ("/./\\evil.test", "/evil.test"),
            ("//evil.test/./x", "/evil.test/x"),
        ] {
            assert_eq!(normalised_path(path).as_deref(), Some(want), "{path}");
            assert_eq!(normalised_path(want), None, "the normal form is final: {want}");
        }
        for path in ["/", "", "*", "/a/b", "/a.b/c", "/.well-known/x", "/a/...", "/a/..b", "/a/.b/", "//a"] {
            assert_eq!(normalised_path(path), None, "{path}");
        }
    }
}
