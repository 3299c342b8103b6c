//! An answer on its way to a stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;

use http::header::{CONTENT_LENGTH, DATE, TE};
use http::{HeaderMap, Response, StatusCode, response};
use http_body::Body as _;

use super::engine::Room;
use super::frame::Code;
use super::hpack;
use super::stream::Stream;
use crate::proxy::body::ResponseBody;
use crate::proxy::date;
use crate::proxy::headers::is_of_a_connection;
use crate::proxy::http1::text::write_number;

/// Sends an answer, with back-pressure: no more is asked of the member than the client takes.
pub(super) async fn send(stream: &Rc<Stream>, answer: Response<ResponseBody>) {
    let (head, mut body) = answer.into_parts();
    let is_tunnel = matches!(body, ResponseBody::Tunnel);
    let is_bare =
        stream.is_head() || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = if is_bare || is_tunnel { None } else { body.size_hint().exact() };
    let is_last = !is_tunnel && (is_bare || body.is_end_stream());
    let connection = stream.connection();
    connection.list_of(stream, is_last, |out| write_head(out, &head, length));
    connection.client.context.scratch.give_map(head.headers);
    if is_tunnel {
        stream.become_tunnel();
    }
    if is_last || is_tunnel {
        return;
    }
    while poll_fn(|cx| connection.poll_room(stream, cx)).await == Room::Some {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else {
            connection.offer(stream, bytes::Bytes::new(), true);
            break;
        };
        let Ok(frame) = frame else {
            return connection.reset(stream, Code::Internal);
        };
        let is_last = match frame.into_data() {
            Ok(data) => {
                let is_last = body.is_end_stream();
                if is_last || !data.is_empty() {
                    connection.offer(stream, data, is_last);
                }
                is_last
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => {
                    connection.list_of(stream, true, |out| write_trailers(out, &trailers));
                    true
                }
                Err(_) => false,
            },
        };
        if is_last {
            break;
        }
    }
    // Its time and its place are those of the request until the client has taken it.
    poll_fn(|cx| stream.poll_sent(cx)).await;
}

/// What belongs to a connection ends here [RFC 9113 8.2.2]; a length that is known is told, and the date.
fn write_head(out: &mut Vec<u8>, head: &response::Parts, length: Option<u64>) {
    hpack::write_status(out, head.status);
    let seen = write_headers(out, &head.headers);
    if let Some(length) = length.filter(|_| !seen.has_length) {
        let mut digits = Vec::with_capacity(20);
        write_number(&mut digits, length);
        hpack::write_header(out, &CONTENT_LENGTH, &digits, false);
    }
    if !seen.has_date {
        date::with(|date| hpack::write_header(out, &DATE, date, false));
    }
}

fn write_trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    write_headers(out, trailers);
}

#[derive(Default)]
struct Seen {
    has_length: bool,
    has_date: bool,
}

fn write_headers(out: &mut Vec<u8>, headers: &HeaderMap) -> Seen {
    let mut seen = Seen::default();
    for (name, value) in headers {
        match *name {
            TE => continue,
            CONTENT_LENGTH => seen.has_length = true,
            DATE => seen.has_date = true,
            _ if is_of_a_connection(name) => continue,
            _ => {}
        }
        hpack::write_header(out, name, value.as_bytes(), value.is_sensitive());
    }
    seen
}
