//! A request as it goes out: the text of its head, which may be sent again, and its body, which may not.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body::Body as _;

use super::head;
use crate::proxy::body::RequestBody;
use crate::proxy::http1::text::write_header;

/// See the module.
pub(crate) struct Outgoing {
    pub(super) text: Vec<u8>,
    /// That is all of it; else what frames the body is to be added, and the empty line.
    pub(super) is_whole: bool,
    pub(super) body: RequestBody,
    pub(super) method: Method,
    /// How long the head says that the body is.
    pub(super) length: Option<u64>,
    /// It says that it is the last of its connection.
    pub(super) is_last: bool,
}

impl Outgoing {
    /// Takes the body of a request, and the text of its head. That costs one small allocation; a copy of the map would
    /// cost several, and a count up and down for each of its values.
    pub(crate) fn of(request: &mut Request<RequestBody>) -> Self {
        let body = std::mem::take(request.body_mut());
        let mut outgoing = Self::head_of(request);
        if body.is_end_stream() {
            outgoing.text.extend_from_slice(b"\r\n");
            outgoing.is_whole = true;
        }
        outgoing.body = body;
        outgoing
    }

    /// A copy of the head of a request that goes out in another way.
    pub(crate) fn head_of(request: &Request<RequestBody>) -> Self {
        let (method, headers) = (request.method().clone(), request.headers());
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let slash = if target.starts_with(['/', '*']) { " " } else { " /" };
        let mut text = Vec::with_capacity(LINE + target.len() + headers.len() * HEADER);
        for part in [method.as_str(), slash, target, " HTTP/1.1\r\n"] {
            text.extend_from_slice(part.as_bytes());
        }
        let (mut length, mut is_last) = (None, false);
        for (name, value) in headers {
            if *name == CONTENT_LENGTH {
                length = head::length_of(value);
                if length.is_none() {
                    continue;
                }
            } else if *name == CONNECTION {
                is_last |= head::has_option(value, "close");
            } else if *name == TRANSFER_ENCODING {
                continue;
            }
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            text.reserve(name.len() + value.len() + 4);
            write_header(&mut text, name, value);
        }
        Self { text, is_whole: false, body: RequestBody::Empty, method, length, is_last }
    }

    /// Whether its body is still here, if it has one.
    pub(crate) const fn has_body(&self) -> bool {
        !matches!(self.body, RequestBody::Empty)
    }

    /// Gives it a body: that which was taken from it, or a copy.
    pub(crate) fn restore(&mut self, body: RequestBody) {
        self.body = body;
    }

    /// Takes the body out again.
    pub(crate) fn take_body(&mut self) -> RequestBody {
        std::mem::take(&mut self.body)
    }

    /// The request again, with the body that is here.
    pub(crate) fn request(&mut self) -> Option<Request<RequestBody>> {
        let mut request = Request::new(self.take_body());
        let mut lines =
            self.text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let target = lines.next()?.split(|byte| *byte == b' ').nth(1)?;
        *request.uri_mut() = Uri::try_from(target).ok()?;
        *request.method_mut() = self.method.clone();
        for line in lines.take_while(|line| !line.is_empty()) {
            let colon = memchr::memchr(b':', line)?;
            let (name, value) = (line.get(..colon)?, line.get(colon + 2..)?);
            let name = HeaderName::from_bytes(name).ok()?;
            request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
        }
        Some(request)
    }
}

/// Bytes of a first line without its target, and of the end.
const LINE: usize = 32;
/// Bytes of a header, as a rule: looking at all of them first would cost more than a few bytes too many.
const HEADER: usize = 56;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_what_the_request_said() {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = Method::OPTIONS;
        *request.uri_mut() = "/a%20b?c=d".parse().unwrap();
        for (name, value) in [("host", "h"), ("x-empty", ""), ("accept", "a"), ("accept", "b:c ")] {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        request.headers_mut().append("x-bytes", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        for mut copy in [Outgoing::head_of(&request), Outgoing::of(&mut request)] {
            let again = copy.request().unwrap();
            assert_eq!((again.method(), again.uri()), (request.method(), request.uri()));
            assert_eq!(again.headers(), request.headers());
        }
    }

    #[test]
    fn what_frames_a_body_is_not_taken_over_from_another_hop() {
        let mut request = Request::new(RequestBody::Empty);
        for (name, value) in [("content-length", "x"), ("transfer-encoding", "gzip"), ("a", "b")] {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        let outgoing = Outgoing::of(&mut request);
        assert_eq!((&*outgoing.text, outgoing.length), (&b"GET / HTTP/1.1\r\na: b\r\n\r\n"[..], None));
        request.headers_mut().insert("content-length", HeaderValue::from_static("7"));
        assert_eq!(Outgoing::of(&mut request).length, Some(7));
    }
}
