//! An answer's head as bytes, and how its body is framed.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode, response};

use crate::proxy::date;
use crate::proxy::headers::connection_says;
use crate::proxy::http1::chunked;
use crate::proxy::http1::text::{write_header, write_length};
use crate::proxy::out::Out;

/// What the answer has to know of its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) is_head: bool,
    pub(super) is_http10: bool,
    /// The client would send another.
    pub(super) keeps_alive: bool,
}

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, whatever the headers say.
    None,
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    /// It ends with the connection.
    Close,
}

/// Writes the head. `length`: of the body; `None` = unknown. Nothing when the headers contradict each other.
pub(super) fn write_head(
    text: &mut Vec<u8>,
    head: &response::Parts,
    asked: &Asked,
    length: Option<u64>,
) -> Option<Framing> {
    text.reserve(64 + 48 * head.headers.len());
    write_status(text, head.status, asked.is_http10);
    let mut seen = Seen::default();
    for (name, value) in &head.headers {
        match *name {
            CONTENT_LENGTH => {
                seen.lengths(value, length, asked)?;
                continue;
            }
            // Of one hop, and the framing is ours.
            TRANSFER_ENCODING | TRAILER => continue,
            CONNECTION => seen.has_connection = true,
            DATE => seen.has_date = true,
            _ => {}
        }
        write_header(text, name.as_ref(), value.as_bytes());
    }
    let framing = framing(head.status, asked, length, seen.length);
    match (framing, seen.length) {
        (_, Some(length)) if has_body(head.status) => write_length(text, length),
        (Framing::Length(length), None) => write_length(text, length),
        (Framing::None, None) if asked.is_head && has_body(head.status) => {
            if let Some(length) = length.filter(|length| *length > 0) {
                write_length(text, length);
            }
        }
        (Framing::Chunked, _) => text.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        _ => {}
    }
    if !seen.has_connection && head.status != StatusCode::SWITCHING_PROTOCOLS {
        match (asked.is_http10, asked.keeps_alive && framing != Framing::Close) {
            (false, false) => text.extend_from_slice(b"connection: close\r\n"),
            (true, true) => text.extend_from_slice(b"connection: keep-alive\r\n"),
            (false, true) | (true, false) => {}
        }
    }
    if !seen.has_date {
        date::with(|date| write_header(text, b"date", date));
    }
    text.extend_from_slice(b"\r\n");
    Some(framing)
}

/// Whether the client may send another request after this answer.
pub(super) fn keeps_alive(head: &response::Parts, asked: &Asked, framing: Framing) -> bool {
    asked.keeps_alive && framing != Framing::Close && !connection_says(&head.headers, b"close")
}

/// What the headers say of framing.
#[derive(Default)]
struct Seen {
    length: Option<u64>,
    has_connection: bool,
    has_date: bool,
}

impl Seen {
    /// Takes a Content-Length. The body's own length, where it is known, is the better word, except for an answer to
    /// HEAD.
    fn lengths(&mut self, value: &HeaderValue, known: Option<u64>, asked: &Asked) -> Option<()> {
        let said: u64 = value.to_str().ok()?.trim().parse().ok()?;
        if self.length.is_some_and(|before| before != said) {
            return None;
        }
        self.length = Some(match known {
            Some(known) if !asked.is_head => known,
            _ => said,
        });
        Some(())
    }
}

fn framing(status: StatusCode, asked: &Asked, known: Option<u64>, said: Option<u64>) -> Framing {
    if asked.is_head || !has_body(status) {
        return Framing::None;
    }
    match known.or(said) {
        Some(length) => Framing::Length(length),
        None if asked.is_http10 => Framing::Close,
        None => Framing::Chunked,
    }
}

/// Whether such an answer may have a body, and tell its length.
fn has_body(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn write_status(text: &mut Vec<u8>, status: StatusCode, is_http10: bool) {
    if status == StatusCode::OK && !is_http10 {
        text.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    text.extend_from_slice(if is_http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    text.extend_from_slice(status.as_str().as_bytes());
    text.push(b' ');
    // Many parsers expect a reason.
    text.extend_from_slice(status.canonical_reason().unwrap_or("Unknown").as_bytes());
    text.extend_from_slice(b"\r\n");
}

impl Framing {
    /// Frames a piece of the body. What is too much is cut off.
    pub(super) fn write(&mut self, out: &mut Out, mut data: Bytes) {
        match self {
            Self::None => {}
            Self::Length(left) => {
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                out.push(data);
            }
            // A chunk of no bytes would be the last.
            Self::Chunked if data.is_empty() => {}
            Self::Chunked => {
                chunked::write_size(data.len(), out.text());
                out.push(data);
                out.text().extend_from_slice(chunked::AFTER);
            }
            Self::Close => out.push(data),
        }
    }

    /// Ends the body. Whether it has all that was said of it.
    pub(super) fn finish(&mut self, out: &mut Out) -> bool {
        match self {
            Self::Chunked => {
                out.text().extend_from_slice(chunked::END);
                true
            }
            Self::Length(left) => *left == 0,
            Self::None | Self::Close => true,
        }
    }
}
