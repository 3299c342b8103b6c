//! `compressionMode: AUTOMATIC`: which answers are compressed, and how [G 6.11].

use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::header::elements;

/// The smallest answer that is compressed: 1 KiB [G 6.11].
pub const MIN_LENGTH: u64 = 1024;
/// The largest one: 10 MiB [G 6.11]. Of an answer that does not say its length, nobody knows; it is compressed.
pub const MAX_LENGTH: u64 = 10 * 1024 * 1024;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `br`.
    Brotli,
    /// `gzip`.
    Gzip,
}

impl Coding {
    /// As `Content-Encoding` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// What a request lets be done with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The best that the client takes; `None` = it takes neither.
    pub coding: Option<Coding>,
    /// The answer is a head alone.
    pub is_head: bool,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It stays as it is, whoever asks.
    Untouched,
    /// It stays as it is for this client, and another might get it compressed.
    Varied,
    /// It is compressed.
    Compressed(Coding),
}

impl Wanted {
    /// Brotli is preferred wherever it is accepted [G 6.11].
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let mut accepted = Accepted::default();
        elements(headers, &ACCEPT_ENCODING).for_each(|element| accepted.hear(element));
        let takes = |said: Option<bool>| said.or(accepted.any).unwrap_or(false);
        let coding = match () {
            () if has_no_transform(headers) => None,
            () if takes(accepted.brotli) => Some(Coding::Brotli),
            () if takes(accepted.gzip) => Some(Coding::Gzip),
            () => None,
        };
        Self { coding, is_head: method == Method::HEAD }
    }

    /// What becomes of an answer with this head.
    #[must_use]
    pub fn decide(self, status: StatusCode, headers: &HeaderMap) -> Decision {
        match self.coding {
            _ if !is_eligible(status, headers) => Decision::Untouched,
            Some(coding) if !self.is_head => Decision::Compressed(coding),
            _ => Decision::Varied,
        }
    }
}

/// Whether a client takes what it named; `None` = it named it not.
#[derive(Default)]
struct Accepted {
    brotli: Option<bool>,
    gzip: Option<bool>,
    /// `*`.
    any: Option<bool>,
}

impl Accepted {
    /// One `coding;q=…`. What has a weight that is none is not accepted.
    fn hear(&mut self, element: &[u8]) {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let slot = match () {
            () if name.eq_ignore_ascii_case(b"br") => &mut self.brotli,
            () if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => {
                &mut self.gzip
            }
            () if name == b"*" => &mut self.any,
            () => return,
        };
        *slot = Some(parts.all(is_positive_weight) && slot.unwrap_or(true));
    }
}

/// `q=` with a number above 0 and at most 1 (RFC 9110, 12.4.2).
fn is_positive_weight(parameter: &[u8]) -> bool {
    let Some((name, number)) = parameter.split_at_checked(2) else { return false };
    if !name.eq_ignore_ascii_case(b"q=") {
        return false;
    }
    let (whole, rest) = number.split_first().map_or((b' ', &[][..]), |(whole, rest)| (*whole, rest));
    let digits = match rest {
        [] => rest,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return false,
    };
    let is_zero = digits.iter().all(|digit| *digit == b'0');
    match whole {
        b'0' => digits.iter().all(u8::is_ascii_digit) && !is_zero,
        b'1' => is_zero,
        _ => false,
    }
}

/// What is true of the bytes as they are, and would not be of those that a client gets.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Whether an answer may be compressed for those who take it: a whole one, of a type and a length for which it pays,
/// not encoded yet, which nobody forbade to transform.
fn is_eligible(status: StatusCode, headers: &HeaderMap) -> bool {
    let has_body = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    has_body
        && headers.get(CONTENT_TYPE).is_some_and(|value| is_compressible(value.as_bytes()))
        && has_good_length(headers)
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !DIGESTS.iter().any(|name| headers.contains_key(name))
        && !has_no_transform(headers)
}

fn has_good_length(headers: &HeaderMap) -> bool {
    let Some(length) = headers.get(CONTENT_LENGTH) else { return true };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    length.is_some_and(|length: u64| (MIN_LENGTH..=MAX_LENGTH).contains(&length))
}

fn has_no_transform(headers: &HeaderMap) -> bool {
    elements(headers, &CACHE_CONTROL).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

/// Types that are text, or as full of repetition.
const TYPES: [&str; 21] = [
    "application/dash+xml",
    "application/ecmascript",
    "application/javascript",
    "application/json",
    "application/vnd.apple.mpegurl",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-font-ttf",
    "application/x-javascript",
    "application/x-mpegurl",
    "application/x-ndjson",
    "application/xml",
    "application/yaml",
    "audio/mpegurl",
    "audio/x-mpegurl",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
];

/// By its type without parameters: `text/*`, [`TYPES`], and what ends in `+json`, `+text` or `+xml`. Messages of gRPC are
/// compressed by those who write them.
fn is_compressible(content_type: &[u8]) -> bool {
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let starts = |prefix: &[u8]| kind.get(..prefix.len()).is_some_and(|s| s.eq_ignore_ascii_case(prefix));
    let ends = |suffix: &[u8]| {
        let start = kind.len().checked_sub(suffix.len());
        start.and_then(|start| kind.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    if starts(b"application/grpc") {
        return false;
    }
    starts(b"text/")
        || TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known.as_bytes()))
        || [&b"+json"[..], b"+text", b"+xml"].into_iter().any(ends)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        map
    }

    fn coding(accepted: &[&str]) -> Option<&'static str> {
        let headers: Vec<_> = accepted.iter().map(|value| ("accept-encoding", *value)).collect();
        Wanted::of(&Method::GET, &map(&headers)).coding.map(Coding::as_str)
    }

    #[test]
    fn g_6_11_brotli_goes_before_gzip_wherever_it_is_accepted() {
        assert_eq!(coding(&["gzip, deflate, br"]), Some("br"));
        assert_eq!(coding(&["gzip;q=1.0, BR;q=0.001"]), Some("br"));
        assert_eq!(coding(&["gzip, br;q=0"]), Some("gzip"));
        assert_eq!(coding(&["x-gzip"]), Some("gzip"));
        assert_eq!(coding(&["deflate", "gzip ; q=0.5"]), Some("gzip"), "two headers are one list");
        assert_eq!(coding(&["*"]), Some("br"));
        assert_eq!(coding(&["*, br;q=0"]), Some("gzip"));
    }

    #[test]
    fn what_a_client_does_not_take_or_says_badly_it_does_not_get() {
        for nothing in [
            "",
            "identity",
            "deflate, zstd",
            "br;q=0, gzip;q=0.000",
            "*;q=0",
            "gzip;q=",
            "gzip;q=2",
            "br;x=1",
            "gzip;q=0.0001",
            "gzip;q=1.1",
            "gzip;q=-1",
            "brotli",
            "gzip;q=0.x",
            "br;q",
            "br, br;q=0",
        ] {
            assert_eq!(coding(&[nothing]), None, "{nothing}");
        }
        assert_eq!(coding(&[]), None);
        let asked = map(&[("accept-encoding", "br"), ("cache-control", "no-cache, no-transform")]);
        assert_eq!(Wanted::of(&Method::GET, &asked).coding, None, "a client may forbid it, too");
    }

    fn decide(method: &Method, status: u16, headers: &[(&'static str, &str)]) -> Decision {
        let asked = map(&[("accept-encoding", "gzip")]);
        Wanted::of(method, &asked).decide(StatusCode::from_u16(status).unwrap(), &map(headers))
    }

    const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

    fn with(name: &'static str, value: &str) -> Decision {
        decide(&Method::GET, 200, &[HTML, (name, value)])
    }

    #[test]
    fn g_6_11_from_1_kib_to_10_mib_and_what_does_not_say() {
        let compressed = Decision::Compressed(Coding::Gzip);
        assert_eq!(decide(&Method::GET, 200, &[HTML]), compressed);
        for good in ["1024", "10485760"] {
            assert_eq!(with("content-length", good), compressed, "{good}");
        }
        for bad in ["0", "1023", "10485761", "99999999999999999999", "many"] {
            assert_eq!(with("content-length", bad), Decision::Untouched, "{bad}");
        }
    }

    #[test]
    fn g_6_11_types_that_pay() {
        for good in [
            "text/plain",
            "TEXT/CSS",
            "text/event-stream",
            "application/json;charset=utf-8",
            "application/vnd.api+json",
            "image/svg+xml",
            "application/vnd.apple.mpegurl",
        ] {
            let decision = decide(&Method::GET, 200, &[("content-type", good)]);
            assert_eq!(decision, Decision::Compressed(Coding::Gzip), "{good}");
        }
        for bad in ["image/png", "application/grpc", "application/grpc+json", "video/mp4", "text", "", "+xm"]
        {
            let decision = decide(&Method::GET, 200, &[("content-type", bad)]);
            assert_eq!(decision, Decision::Untouched, "{bad}");
        }
        assert_eq!(decide(&Method::GET, 200, &[]), Decision::Untouched);
    }

    #[test]
    fn what_is_encoded_a_part_or_not_to_be_transformed_stays_as_it_is() {
        for (name, value) in [
            ("content-encoding", "gzip"),
            ("content-range", "bytes 0-9/10"),
            ("cache-control", "public, No-Transform"),
            ("content-digest", "sha-256=:AA==:"),
            ("content-md5", "AA=="),
        ] {
            assert_eq!(with(name, value), Decision::Untouched, "{name}");
        }
        for status in [101, 103, 204, 205, 206, 304] {
            assert_eq!(decide(&Method::GET, status, &[HTML]), Decision::Untouched, "{status}");
        }
        for status in [200, 201, 404, 503] {
            assert_eq!(decide(&Method::GET, status, &[HTML]), Decision::Compressed(Coding::Gzip), "{status}");
        }
    }

    #[test]
    fn a_head_alone_varies_and_so_does_what_this_client_does_not_take() {
        assert_eq!(decide(&Method::HEAD, 200, &[HTML]), Decision::Varied);
        let nobody = Wanted::of(&Method::GET, &HeaderMap::new());
        assert_eq!(nobody.decide(StatusCode::OK, &map(&[HTML])), Decision::Varied);
    }
}
