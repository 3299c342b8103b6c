//! Heads of answers: read strictly, and what they say of the body behind them [RFC 9112 6.3].

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Fault;
use crate::proxy::forward::MAX_RESPONSE_HEAD;
use crate::proxy::http1::scratch::Scratch;

/// Lines of a head, without the first.
const MAX_LINES: usize = 100;
/// Headers that the way to the client adds; room for them is made at once.
const ADDED: usize = 4;

/// The head of an answer that says how a request went.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// The member keeps the connection open for another request.
    pub(super) is_kept: bool,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// Its chunks say so.
    Chunked,
    /// With the connection.
    Close,
}

/// What the lines say of the body and the connection.
#[derive(Default)]
struct Said {
    is_http10: bool,
    /// `Some(None)`: no number, or several.
    length: Option<Option<u64>>,
    /// Whether the last coding is `chunked`.
    coding: Option<bool>,
    closes: bool,
    keeps: bool,
}

/// Takes the head from the front of `text`, once it is whole. What is informational is passed over, except 101.
pub(super) fn parse(text: &mut Bytes, is_head: bool, scratch: &Scratch) -> Result<Option<Head>, Fault> {
    while !text.is_empty() {
        match parse_one(text, is_head, scratch)? {
            None => break,
            Some(head) if !is_interim(head.status) => return Ok(Some(head)),
            Some(_) => {}
        }
    }
    if text.len() >= MAX_RESPONSE_HEAD { Err(Fault::TooLarge) } else { Ok(None) }
}

/// Whether a head that began before these bytes may be whole with them, the first `before` of which have been looked
/// at.
pub(super) fn may_be_whole(text: &[u8], before: usize) -> bool {
    let new = text.get(before.saturating_sub(3)..).unwrap_or_default();
    memchr::memchr_iter(b'\n', new).any(|at| {
        let behind = new.get(at + 1..).unwrap_or_default();
        behind.starts_with(b"\n") || behind.starts_with(b"\r\n")
    })
}

fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

fn parse_one(text: &mut Bytes, is_head: bool, scratch: &Scratch) -> Result<Option<Head>, Fault> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_LINES];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, text, &mut lines) {
        Ok(httparse::Status::Complete(length)) if length > MAX_RESPONSE_HEAD => return Err(Fault::TooLarge),
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::TooLarge),
        Err(_) => return Err(Fault::Corrupt),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Fault::Corrupt)?;
    let mut said = Said { is_http10: parsed.version != Some(1), ..Said::default() };
    let mut headers = scratch.take_map(parsed.headers.len() + ADDED);
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Fault::TooLarge)?;
        let value = HeaderValue::from_maybe_shared(text.slice_ref(line.value)).map_err(|_| Fault::Corrupt)?;
        said.hear(&name, &value);
        headers.append(name, value);
    }
    text.advance(length);
    let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
    let is_kept = !said.closes && (!said.is_http10 || said.keeps) && !is_switch;
    Ok(Some(Head { status, headers, framing: said.framing(status, is_head)?, is_kept }))
}

impl Said {
    fn hear(&mut self, name: &HeaderName, value: &HeaderValue) {
        if *name == CONTENT_LENGTH {
            let before = self.length;
            let now = length_of(value);
            self.length = Some(now.filter(|_| before.is_none_or(|before| before == now)));
        } else if *name == TRANSFER_ENCODING {
            let codings = value.to_str().unwrap_or("");
            let last = codings.rsplit(',').next().unwrap_or("");
            self.coding = Some(last.trim().eq_ignore_ascii_case("chunked"));
        } else if *name == CONNECTION {
            self.closes |= has_option(value, "close");
            self.keeps |= has_option(value, "keep-alive");
        }
    }

    fn framing(&self, status: StatusCode, is_head: bool) -> Result<Framing, Fault> {
        let has_none = is_head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match (self.coding, self.length) {
            _ if has_none => Ok(Framing::Length(0)),
            (Some(_), _) if self.is_http10 => Err(Fault::Corrupt),
            (Some(true), _) => Ok(Framing::Chunked),
            (None, Some(length)) => length.map(Framing::Length).ok_or(Fault::Corrupt),
            (Some(false), _) | (None, None) => Ok(Framing::Close),
        }
    }
}

/// The one number that a value says, be it several times.
pub(super) fn length_of(value: &HeaderValue) -> Option<u64> {
    if let Some(number) = number(value.as_bytes()) {
        return Some(number);
    }
    let mut said = None;
    for word in value.to_str().ok()?.split(',') {
        let number = number(word.trim().as_bytes())?;
        if said.is_some_and(|said| said != number) {
            return None;
        }
        said = Some(number);
    }
    said
}

/// Digits and nothing else. The two greatest stand for something else at hyper, and are too many bytes anyway.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })?;
    (number < u64::MAX - 1).then_some(number)
}

/// Whether `Connection` has this option.
pub(super) fn has_option(value: &HeaderValue, option: &str) -> bool {
    value.to_str().is_ok_and(|words| words.split(',').any(|word| word.trim().eq_ignore_ascii_case(option)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, Fault> {
        parse(&mut Bytes::copy_from_slice(text.as_bytes()), false, &Scratch::default())
    }

    fn framing(head: &str) -> Result<(Framing, bool), Fault> {
        read(&format!("HTTP/1.1 200 OK\r\n{head}\r\n"))
            .map(|head| head.map(|h| (h.framing, h.is_kept)).unwrap())
    }

    #[test]
    fn rfc_9112_6_3_where_a_body_ends() {
        assert_eq!(framing("content-length: 5\r\n"), Ok((Framing::Length(5), true)));
        assert_eq!(framing("Content-Length: 5, 5\r\ncontent-length:5\r\n"), Ok((Framing::Length(5), true)));
        assert_eq!(framing(""), Ok((Framing::Close, true)));
        assert_eq!(framing("transfer-encoding: gzip, Chunked\r\n"), Ok((Framing::Chunked, true)));
        assert_eq!(
            framing("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n"),
            Ok((Framing::Chunked, true))
        );
        assert_eq!(framing("transfer-encoding: chunked, gzip\r\n"), Ok((Framing::Close, true)));
        assert_eq!(
            framing("content-length: 5\r\ntransfer-encoding: chunked\r\n"),
            Ok((Framing::Chunked, true))
        );
        for bad in
            ["5\r\ncontent-length: 6", "5, 6", "+5", "-5", "", "0x5", "5 5", "18446744073709551616", "\u{e9}"]
        {
            assert_eq!(framing(&format!("content-length: {bad}\r\n")), Err(Fault::Corrupt), "{bad}");
        }
        let old = |head: &str| read(&format!("HTTP/1.0 200 OK\r\n{head}\r\n")).map(|h| h.unwrap().framing);
        assert_eq!(old("transfer-encoding: chunked\r\n"), Err(Fault::Corrupt));
        assert_eq!(old("content-length: 7\r\n"), Ok(Framing::Length(7)));
    }

    #[test]
    fn what_never_has_a_body_has_none_whatever_its_head_says() {
        for (line, is_head) in [("204 No Content", false), ("304 Not Modified", false), ("200 OK", true)] {
            let text = format!("HTTP/1.1 {line}\r\ncontent-length: 5\r\n\r\n");
            let head = parse(&mut Bytes::from(text), is_head, &Scratch::default()).unwrap().unwrap();
            assert_eq!((head.framing, head.is_kept), (Framing::Length(0), true), "{line}");
        }
    }

    #[test]
    fn a_connection_is_kept_by_version_and_option_and_close_wins() {
        let kept = |version: &str, head: &str| {
            read(&format!("HTTP/{version} 200 OK\r\ncontent-length: 0\r\n{head}\r\n"))
                .unwrap()
                .unwrap()
                .is_kept
        };
        assert!(kept("1.1", "") && !kept("1.0", ""));
        assert!(kept("1.0", "connection: x, Keep-Alive\r\n"));
        assert!(!kept("1.1", "connection: x, Close\r\n"));
        assert!(!kept("1.1", "connection: close\r\nconnection: keep-alive\r\n"));
        assert!(!kept("1.0", "connection: keep-alive\r\nconnection: close\r\n"));
    }

    #[test]
    fn informational_answers_are_passed_over_and_101_is_final() {
        let mut text = Bytes::from_static(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\nnext",
        );
        let head = parse(&mut text, false, &Scratch::default()).unwrap().unwrap();
        assert_eq!((head.status, &text[..]), (StatusCode::CREATED, &b"next"[..]));
        let mut text = Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n");
        assert!(parse(&mut text, false, &Scratch::default()).unwrap().is_none() && text.is_empty());
        let mut text = Bytes::from_static(b"HTTP/1.1 101 Switching Protocols\r\n\r\nearly");
        let head = parse(&mut text, false, &Scratch::default()).unwrap().unwrap();
        assert_eq!(
            (head.status, head.is_kept, &text[..]),
            (StatusCode::SWITCHING_PROTOCOLS, false, &b"early"[..])
        );
    }

    #[test]
    fn what_is_no_head_is_refused_and_what_is_long_is_told_apart() {
        for bad in [
            "hello\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 2OO OK\r\n\r\n",
            "HTTP/1.1 099 Low\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\n folded: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        ] {
            assert!(matches!(read(bad), Err(Fault::Corrupt)), "{bad:?}");
        }
        let lines = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(read(&lines(MAX_LINES)).unwrap().unwrap().headers.len(), MAX_LINES);
        assert!(matches!(read(&lines(MAX_LINES + 1)), Err(Fault::TooLarge)));
        let long = |length: usize| format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(length));
        let rest = long(0).len();
        assert!(read(&long(MAX_RESPONSE_HEAD - rest)).unwrap().is_some());
        assert!(matches!(read(&long(MAX_RESPONSE_HEAD - rest + 1)), Err(Fault::TooLarge)));
        assert!(matches!(read(long(MAX_RESPONSE_HEAD).trim_end()), Err(Fault::TooLarge)));
    }

    #[test]
    fn a_head_is_looked_at_again_only_when_it_may_be_whole() {
        let text = b"HTTP/1.1 200 OK\r\na: b\r\n\r\n";
        let ends: Vec<_> = (1..=text.len()).filter(|to| may_be_whole(&text[..*to], to - 1)).collect();
        assert_eq!(ends, [text.len()]);
        assert!(may_be_whole(b"HTTP/1.1 200 OK\n\n", 16) && may_be_whole(text, 0));
    }
}
