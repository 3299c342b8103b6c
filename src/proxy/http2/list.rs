//! A list of fields, made the head of a request, or trailers [RFC 9113 8].
//!
//! What is malformed by the rules of HTTP/2 alone never becomes a request; [`super::request`] refuses what would not mean
//! the same over HTTP/1.1.

use http::header::{CONTENT_LENGTH, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request, uri};

use super::MAX_HEADER_LIST;
use super::hpack::Field;
use super::request::Protocol;
use crate::proxy::headers::is_of_a_connection;
use crate::proxy::http1::scratch::Scratch;

/// A list is unpacked up to this size, for the sake of the table that later ones refer to. Beyond it, the connection
/// ends.
const MOST_UNPACKED: usize = 4 * MAX_HEADER_LIST as usize;
/// Room for headers that are added on a request's way.
const ROOM: usize = 16;

/// A list in the making.
pub(super) struct List {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    protocol: Option<Protocol>,
    headers: HeaderMap,
    size: usize,
    has_header: bool,
    /// A header belongs to a connection of HTTP/1.1 [RFC 9113 8.2.2].
    has_of_connection: bool,
    /// A pseudo-header is none, comes twice or late [RFC 9113 8.3].
    is_malformed: bool,
    /// A field is none.
    is_broken: bool,
}

/// Why a list is no head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Malformed,
    /// Longer than [`MAX_HEADER_LIST`].
    TooLong,
}

impl List {
    pub(super) fn new(scratch: &Scratch) -> Self {
        Self {
            method: None,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            headers: scratch.take_map(ROOM),
            size: 0,
            has_header: false,
            has_of_connection: false,
            is_malformed: false,
            is_broken: false,
        }
    }

    /// Takes a field. Whether to go on.
    pub(super) fn take(&mut self, field: &Field, size: usize) -> bool {
        self.size += size;
        if self.is_too_long() {
            return self.size <= MOST_UNPACKED;
        }
        match field {
            Field::Header(name, value) => self.header(name, value),
            pseudo => self.pseudo(pseudo),
        }
        !self.is_broken
    }

    fn header(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.has_header = true;
        let is_wrong_te = *name == TE && !value.as_bytes().eq_ignore_ascii_case(b"trailers");
        self.has_of_connection |= is_wrong_te || is_of_a_connection(name);
        self.headers.append(name.clone(), value.clone());
    }

    /// Each once, and before all others.
    fn pseudo(&mut self, field: &Field) {
        let is_new = match field {
            Field::Method(method) => {
                self.is_broken |= method.is_none();
                set(&mut self.method, method.as_ref())
            }
            Field::Scheme(scheme) => set(&mut self.scheme, scheme.as_ref()),
            Field::Authority(authority) => set(&mut self.authority, authority.as_ref()),
            Field::Path(path) => set(&mut self.path, path.as_ref()),
            Field::Protocol(text) => set(&mut self.protocol, Some(&Protocol(text.clone()))),
            Field::Status | Field::Header(..) => false,
        };
        self.is_malformed |= !is_new || self.has_header;
    }

    /// Whether nothing more is kept.
    pub(super) const fn is_too_long(&self) -> bool {
        self.size > MAX_HEADER_LIST as usize
    }

    /// Whether it cannot even be told where it would end.
    pub(super) const fn is_far_too_long(&self) -> bool {
        self.size > MOST_UNPACKED
    }

    /// The head of a request, and how long its body is, where that is said.
    pub(super) fn into_head(self) -> Result<(request::Parts, Option<u64>), Refused> {
        if self.is_too_long() {
            return Err(Refused::TooLong);
        }
        let length = length(&self.headers).ok_or(Refused::Malformed)?;
        if self.is_malformed || self.has_of_connection || !self.is_complete() {
            return Err(Refused::Malformed);
        }
        let mut head = Request::new(()).into_parts().0;
        head.uri = location(self.authority, self.path).ok_or(Refused::Malformed)?;
        head.method = self.method.unwrap_or_default();
        head.version = Version::HTTP_2;
        head.headers = self.headers;
        if let Some(protocol) = self.protocol {
            head.extensions.insert(protocol);
        }
        Ok((head, length))
    }

    /// Whether all pseudo-headers are there, and none that does not belong to the method. An `:authority` may be
    /// missing, and `:path` with it: that has an answer.
    fn is_complete(&self) -> bool {
        let has_path = self.path.is_some() || self.authority.is_none();
        match (&self.method, &self.protocol) {
            (Some(Method::CONNECT), None) => self.scheme.is_none() && self.path.is_none(),
            (Some(Method::CONNECT), Some(_)) => self.scheme.is_some() && self.path.is_some(),
            (Some(_), None) => self.scheme.is_some() && has_path,
            (Some(_), Some(_)) | (None, _) => false,
        }
    }

    /// Trailers. Pseudo-headers are none of them, and go no further.
    pub(super) fn into_trailers(self) -> Result<HeaderMap, Refused> {
        if self.is_too_long() {
            Err(Refused::TooLong)
        } else if self.has_of_connection {
            Err(Refused::Malformed)
        } else {
            Ok(self.headers)
        }
    }
}

/// Whether it was not there before, and is one.
fn set<T: Clone>(slot: &mut Option<T>, value: Option<&T>) -> bool {
    let is_new = slot.is_none() && value.is_some();
    if is_new {
        *slot = value.cloned();
    }
    is_new
}

/// How long the headers say that the body is, if they do; `None` where that is no number, or several.
fn length(headers: &HeaderMap) -> Option<Option<u64>> {
    let mut said = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        let length: u64 = digits.parse().ok()?;
        if said.is_some_and(|before| before != length) {
            return None;
        }
        said = Some(length);
    }
    Some(said)
}

/// Where a request goes to. Any scheme will do: it says nothing that the listener does not know.
fn location(authority: Option<Authority>, path: Option<PathAndQuery>) -> Option<Uri> {
    let mut parts = uri::Parts::default();
    if authority.is_some() && path.is_some() {
        parts.scheme = Some(Scheme::HTTP);
    }
    (parts.authority, parts.path_and_query) = (authority, path);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> Field {
        let bytes = bytes::Bytes::copy_from_slice(value.as_bytes());
        match name {
            ":method" => Field::Method(value.parse().ok()),
            ":scheme" => Field::Scheme(value.parse().ok()),
            ":authority" => Field::Authority(value.parse().ok()),
            ":path" => Field::Path(PathAndQuery::from_maybe_shared(bytes).ok()),
            ":protocol" => Field::Protocol(bytes),
            ":status" => Field::Status,
            _ => Field::Header(name.parse().unwrap(), value.parse().unwrap()),
        }
    }

    fn list(fields: &[(&str, &str)]) -> List {
        let mut list = List::new(&Scratch::default());
        for (name, value) in fields {
            list.take(&field(name, value), name.len() + value.len() + 32);
        }
        list
    }

    const GOOD: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/b?c")];

    #[test]
    fn a_good_list_is_a_head() {
        let (head, length) = list(&[&GOOD[..], &[("x", "1"), ("x", "2"), ("content-length", "5")]].concat())
            .into_head()
            .unwrap();
        assert_eq!((head.method, head.uri.to_string().as_str()), (Method::GET, "http://a/b?c"));
        assert_eq!((head.headers.len(), length), (3, Some(5)));
    }

    #[test]
    fn pseudo_headers_come_once_and_first_and_are_those_of_the_method() {
        for number in 0..GOOD.len() {
            let twice = [&GOOD[..], &GOOD[number..=number]].concat();
            assert_eq!(list(&twice).into_head().err(), Some(Refused::Malformed));
            let late = [&GOOD[..number], &GOOD[number + 1..], &[("x", "y")], &GOOD[number..=number]].concat();
            assert_eq!(list(&late).into_head().err(), Some(Refused::Malformed));
            let without = [&GOOD[..number], &GOOD[number + 1..]].concat();
            assert_eq!(list(&without).into_head().is_ok(), number == 2, "all but :authority must be there");
        }
        let connect = (":method", "CONNECT");
        let with =
            |more: &[(&'static str, &'static str)]| list(&[&[connect], more].concat()).into_head().is_ok();
        assert!(with(&[(":authority", "a:80")]));
        assert!(!with(&[(":authority", "a:80"), (":path", "/")]));
        assert!(with(&[
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/")
        ]));
        assert!(!with(&[(":protocol", "websocket"), (":authority", "a")]));
        assert!(list(&[&GOOD[..], &[(":protocol", "websocket")]].concat()).into_head().is_err());
        assert!(list(&[&GOOD[..], &[(":status", "200")]].concat()).into_head().is_err());
    }

    #[test]
    fn what_belongs_to_a_connection_is_malformed_in_a_head_and_behind_a_body() {
        for (name, value) in [
            ("connection", "close"),
            ("keep-alive", "5"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "trailers, gzip"),
        ] {
            assert!(list(&[&GOOD[..], &[(name, value)]].concat()).into_head().is_err(), "{name}");
            assert!(list(&[(name, value)]).into_trailers().is_err(), "{name}");
        }
        assert!(list(&[&GOOD[..], &[("te", "trailers")]].concat()).into_head().is_ok());
        assert!(list(&[("transfer-encoding", "chunked")]).into_trailers().is_err());
        let trailers = list(&[(":path", "/hidden"), ("x-sum", "1")]).into_trailers().unwrap();
        assert_eq!((trailers.len(), trailers["x-sum"].as_bytes()), (1, &b"1"[..]));
    }

    #[test]
    fn a_length_is_one_number() {
        let said = |values: &[&'static str]| {
            let lengths: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
            list(&[&GOOD[..], &lengths].concat()).into_head().map(|(_, length)| length)
        };
        assert_eq!((said(&[]), said(&["0"]), said(&["7", "07"])), (Ok(None), Ok(Some(0)), Ok(Some(7))));
        for bad in [&["+5"][..], &["5", "6"], &["5, 5"], &[""], &["-1"], &["18446744073709551616"]] {
            assert_eq!(said(bad).err(), Some(Refused::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_kept_and_what_is_far_too_long_is_not_unpacked() {
        let mut long = list(&GOOD);
        let large = field("x", &"y".repeat(4000));
        let taken = (0..).take_while(|_| long.take(&large, 4033)).count();
        assert!(long.is_far_too_long() && taken < 80);
        assert!(long.headers.len() < 20);
        assert_eq!(long.into_head().err(), Some(Refused::TooLong));
    }
}
