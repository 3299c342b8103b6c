//! A head that the guard has let through, as a request.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Inbound;
use super::answer::Asked;
use super::body::Body;
use crate::proxy::guard::{Length, Lines, Part, Refusal};
use crate::proxy::headers::connection_says;

/// What the guard lets through can be read; if not, it is nothing that we understand.
pub(super) const UNREADABLE: Refusal = Refusal::FailedParsing("head that cannot be read");
/// Room for headers that are added on a request's way.
const ADDED: usize = 6;

/// The request, and what its answer has to know of it.
pub(super) fn request<S>(
    connection: &Rc<Inbound<S>>,
    head: Bytes,
    lines: &Lines,
) -> Option<(Request<Body>, Asked)>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut expects = false;
    let mut has_connection = false;
    let mut headers = connection.scratch.take_map(lines.fields.len() + ADDED);
    for (name, value) in &lines.fields {
        let name = HeaderName::from_bytes(of(&head, name)?).ok()?;
        has_connection |= name == CONNECTION;
        let value = HeaderValue::from_maybe_shared(cut(&head, value)).ok()?;
        expects |= name == EXPECT && value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        headers.append(name, value);
    }
    let body = match lines.length {
        Length::Known(0) => Body::empty(),
        Length::Known(length) => Body::new(connection.clone(), Some(length)),
        Length::Chunked => Body::new(connection.clone(), None),
    };
    if expects && !lines.is_http10 && !body.is_end_stream() {
        connection.wire.borrow_mut().promise();
    }
    let method = Method::from_bytes(of(&head, &lines.method)?).ok()?;
    let keeps_alive = match (lines.is_http10, has_connection) {
        (is_http10, false) => !is_http10,
        (false, true) => !connection_says(&headers, b"close"),
        (true, true) => connection_says(&headers, b"keep-alive") && !connection_says(&headers, b"close"),
    };
    let asked = Asked { is_head: method == Method::HEAD, is_http10: lines.is_http10, keeps_alive };
    let mut request = Request::new(body);
    *request.uri_mut() = Uri::from_maybe_shared(cut(&head, &lines.target)).ok()?;
    *request.method_mut() = method;
    *request.version_mut() = if lines.is_http10 { Version::HTTP_10 } else { Version::HTTP_11 };
    *request.headers_mut() = headers;
    Some((request, asked))
}

fn of<'a>(head: &'a Bytes, part: &Part) -> Option<&'a [u8]> {
    head.get(part.start as usize..part.end as usize)
}

fn cut(head: &Bytes, part: &Part) -> Bytes {
    head.slice(part.start as usize..part.end as usize)
}
