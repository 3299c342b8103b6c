//! The fields that every client may point at without a word [RFC 7541 A].

use http::header::{self, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, StatusCode};

use super::field::{Entry, Field};

const COUNT: usize = 61;
/// Where `:status` stands first.
pub(super) const STATUS: u8 = 8;
/// Where `accept-encoding` stands: the only header with a value.
pub(super) const ACCEPT_ENCODING: u8 = 16;

/// The first has index 1.
#[rustfmt::skip]
pub(super) static FIELDS: [Entry; COUNT] = [
    entry(Field::Authority(None), 10),
    entry(Field::Method(Some(Method::GET)), 7 + 3),
    entry(Field::Method(Some(Method::POST)), 7 + 4),
    entry(Field::Path(Some(PathAndQuery::from_static("/"))), 5 + 1),
    entry(Field::Path(Some(PathAndQuery::from_static("/index.html"))), 5 + 11),
    entry(Field::Scheme(Some(Scheme::HTTP)), 7 + 4),
    entry(Field::Scheme(Some(Scheme::HTTPS)), 7 + 5),
    entry(Field::Status, 7 + 3),
    entry(Field::Status, 7 + 3),
    entry(Field::Status, 7 + 3),
    entry(Field::Status, 7 + 3),
    entry(Field::Status, 7 + 3),
    entry(Field::Status, 7 + 3),
    entry(Field::Status, 7 + 3),
    name(header::ACCEPT_CHARSET, 14),
    entry(Field::Header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate")), 15 + 13),
    name(header::ACCEPT_LANGUAGE, 15),
    name(header::ACCEPT_RANGES, 13),
    name(header::ACCEPT, 6),
    name(header::ACCESS_CONTROL_ALLOW_ORIGIN, 27),
    name(header::AGE, 3),
    name(header::ALLOW, 5),
    name(header::AUTHORIZATION, 13),
    name(header::CACHE_CONTROL, 13),
    name(header::CONTENT_DISPOSITION, 19),
    name(header::CONTENT_ENCODING, 16),
    name(header::CONTENT_LANGUAGE, 16),
    name(header::CONTENT_LENGTH, 14),
    name(header::CONTENT_LOCATION, 16),
    name(header::CONTENT_RANGE, 13),
    name(header::CONTENT_TYPE, 12),
    name(header::COOKIE, 6),
    name(header::DATE, 4),
    name(header::ETAG, 4),
    name(header::EXPECT, 6),
    name(header::EXPIRES, 7),
    name(header::FROM, 4),
    name(header::HOST, 4),
    name(header::IF_MATCH, 8),
    name(header::IF_MODIFIED_SINCE, 17),
    name(header::IF_NONE_MATCH, 13),
    name(header::IF_RANGE, 8),
    name(header::IF_UNMODIFIED_SINCE, 19),
    name(header::LAST_MODIFIED, 13),
    name(header::LINK, 4),
    name(header::LOCATION, 8),
    name(header::MAX_FORWARDS, 12),
    name(header::PROXY_AUTHENTICATE, 18),
    name(header::PROXY_AUTHORIZATION, 19),
    name(header::RANGE, 5),
    name(header::REFERER, 7),
    name(header::REFRESH, 7),
    name(header::RETRY_AFTER, 11),
    name(header::SERVER, 6),
    name(header::SET_COOKIE, 10),
    name(header::STRICT_TRANSPORT_SECURITY, 25),
    name(header::TRANSFER_ENCODING, 17),
    name(header::USER_AGENT, 10),
    name(header::VARY, 4),
    name(header::VIA, 3),
    name(header::WWW_AUTHENTICATE, 16),
];

/// Name and value have so many bytes.
const fn entry(field: Field, length: usize) -> Entry {
    Entry { field, size: length + 32 }
}

/// A header without a value, whose name has so many bytes.
const fn name(name: HeaderName, length: usize) -> Entry {
    entry(Field::Header(name, HeaderValue::from_static("")), length)
}

/// Where a status stands. 0: nowhere.
pub(super) fn find_status(status: StatusCode) -> u8 {
    match status.as_u16() {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => 0,
    }
}

/// Where a header's name stands. 0: nowhere. Names of other lengths are not looked at.
pub(super) fn find_name(name: &[u8]) -> u8 {
    match name.len() {
        0..=6 => find_short(name),
        7 => match name {
            b"expires" => 36,
            b"referer" => 51,
            b"refresh" => 52,
            _ => 0,
        },
        8 => match name {
            b"location" => 46,
            b"if-match" => 39,
            b"if-range" => 42,
            _ => 0,
        },
        10 => match name {
            b"set-cookie" => 55,
            b"user-agent" => 58,
            _ => 0,
        },
        11 if name == b"retry-after" => 53,
        12 => match name {
            b"content-type" => 31,
            b"max-forwards" => 47,
            _ => 0,
        },
        13 => match name {
            b"cache-control" => 24,
            b"last-modified" => 44,
            b"accept-ranges" => 18,
            b"content-range" => 30,
            b"authorization" => 23,
            b"if-none-match" => 41,
            _ => 0,
        },
        14 => match name {
            b"content-length" => 28,
            b"accept-charset" => 15,
            _ => 0,
        },
        15.. => find_long(name),
        _ => 0,
    }
}

fn find_short(name: &[u8]) -> u8 {
    match name.len() {
        3 => match name {
            b"age" => 21,
            b"via" => 60,
            _ => 0,
        },
        4 => match name {
            b"date" => 33,
            b"etag" => 34,
            b"vary" => 59,
            b"link" => 45,
            b"from" => 37,
            b"host" => 38,
            _ => 0,
        },
        5 => match name {
            b"allow" => 22,
            b"range" => 50,
            _ => 0,
        },
        6 => match name {
            b"server" => 54,
            b"accept" => 19,
            b"cookie" => 32,
            b"expect" => 35,
            _ => 0,
        },
        _ => 0,
    }
}

fn find_long(name: &[u8]) -> u8 {
    match name.len() {
        15 => match name {
            b"accept-encoding" => ACCEPT_ENCODING,
            b"accept-language" => 17,
            _ => 0,
        },
        16 => match name {
            b"content-encoding" => 26,
            b"content-language" => 27,
            b"content-location" => 29,
            b"www-authenticate" => 61,
            _ => 0,
        },
        17 => match name {
            b"transfer-encoding" => 57,
            b"if-modified-since" => 40,
            _ => 0,
        },
        18 if name == b"proxy-authenticate" => 48,
        19 => match name {
            b"content-disposition" => 25,
            b"if-unmodified-since" => 43,
            b"proxy-authorization" => 49,
            _ => 0,
        },
        25 if name == b"strict-transport-security" => 56,
        27 if name == b"access-control-allow-origin" => 20,
        _ => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    /// As the RFC has them: name and value.
    #[rustfmt::skip]
    const KNOWN: [(&str, &str); 61] = [
        (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
        (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
        (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
        ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
        ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""),
        ("cache-control", ""), ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""),
        ("content-length", ""), ("content-location", ""), ("content-range", ""), ("content-type", ""),
        ("cookie", ""), ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
        ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
        ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""),
        ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""), ("referer", ""), ("refresh", ""),
        ("retry-after", ""), ("server", ""), ("set-cookie", ""), ("strict-transport-security", ""),
        ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""), ("www-authenticate", ""),
    ];

    #[test]
    fn fields_are_those_of_the_rfc() {
        for (index, (entry, (name, value))) in FIELDS.iter().zip(KNOWN).enumerate() {
            let line = match name {
                ":authority" => ":authority: none".to_owned(),
                ":status" => ":status".to_owned(),
                _ => format!("{name}: {value}"),
            };
            assert_eq!(entry.field.line(), line, "{index}");
            assert_eq!(entry.size, name.len() + value.len() + 32, "{name}");
        }
    }

    #[test]
    fn names_and_statuses_are_found_where_they_stand() {
        for (index, (name, value)) in (1..).zip(KNOWN) {
            match name {
                ":status" => assert_eq!(find_status(value.parse().unwrap()), index),
                _ if name.starts_with(':') => assert_eq!(find_name(name.as_bytes()), 0),
                _ => assert_eq!(find_name(name.as_bytes()), index, "{name}"),
            }
            for other in [format!("{name}x"), format!("x{}", &name[1..]), name[1..].to_owned()] {
                assert!(
                    find_name(other.as_bytes()) == 0 || KNOWN.iter().any(|known| known.0 == other),
                    "{other}"
                );
            }
        }
        assert_eq!(find_status(StatusCode::CREATED), 0);
        assert_eq!((find_name(b""), find_name(&[b'x'; 300])), (0, 0));
        assert_eq!(usize::from(STATUS), KNOWN.iter().position(|known| known.0 == ":status").unwrap() + 1);
        assert_eq!(KNOWN[usize::from(ACCEPT_ENCODING) - 1].0, "accept-encoding");
    }
}
