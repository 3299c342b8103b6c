//! Strict HTTP/1 framing of what clients send, and where the parts of it stand.
//!
//! What one party forgives (a bare LF, equal lengths sent twice, Content-Length beside Transfer-Encoding) and the next
//! reads otherwise is how requests are smuggled, so the guard sees every byte first and lets through only what has one
//! meaning (RFC 9112, and stricter where that leaves a choice). Every refusal is answered in our words [G 6b, 8].
//!
//! The guard is pure: bytes in, verdict out. `http1::inbound` shows it what a socket brings.
//!
//! A head passes whole or not at all; a body passes as it comes. Cost: one `memchr` and two short loops per line of a
//! head, subtraction for a body with a length, one step per byte for chunk sizes and trailers only.

mod chunked;
mod head;

use std::ops::Range;

use self::chunked::{Chunked, Scanned};
use self::head::Head;
pub(crate) use self::head::{Length, Lines, MAX_HEADERS, Part, is_authority, is_target};
use crate::model::detail::StatusDetail;

/// Longest request line with headers: 60 KiB [G 6b].
pub(crate) const MAX_HEAD: usize = 60 * 1024;
/// The same for the classic product: 64 KiB [G 6b].
pub(crate) const MAX_HEAD_CLASSIC: usize = 64 * 1024;

/// Follows the requests of one connection, byte by byte of what the client sends.
#[derive(Debug)]
pub(crate) struct Guard {
    state: State,
    /// Most bytes in a head.
    max_head: usize,
    /// Heads let through.
    heads: u64,
}

#[derive(Debug)]
enum State {
    Head(Head),
    /// Bytes of a body that are still to come; never 0.
    Length(u64),
    Chunked(Chunked),
    Refused(Refusal),
}

/// What becomes of the bytes that were shown. What has not passed is to be kept, and shown again with what follows it.
#[derive(Debug)]
pub(crate) enum Passed {
    /// A part of a head: nothing passes before the rest of it.
    Nothing,
    /// A whole head, so long.
    Head { length: usize, lines: Lines },
    /// So many bytes of a body, with the place of the data among them.
    Body { used: usize, data: Range<usize>, has_ended: bool },
    /// Nothing more may ever pass.
    Refused(Refusal),
}

/// Where in a request the client is. For timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing of a next request has come.
    Idle,
    /// A part of a head has come.
    Head,
    /// A head has passed, its body has not ended.
    Body,
    /// Nothing more will pass.
    Refused,
}

/// Why a client's bytes were refused: the client's fault, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The head is over the limit, or has more than 100 headers.
    HeadersTooLong,
    /// No HTTP/1 head.
    FailedParsing(&'static str),
    /// A well-formed head that says something forbidden.
    InvalidHeaders(&'static str),
    /// A version other than 1.0 and 1.1.
    VersionNotSupported,
    /// No fault, though nothing for HTTP/1: a client that knows that HTTP/2 is spoken here.
    Http2,
    /// Bad framing of a chunked body or of its trailers. The head of this request has passed.
    InvalidChunkFraming(&'static str),
}

impl Guard {
    /// At the start of a connection. A head may be `max_head` bytes long.
    pub(crate) fn new(max_head: usize) -> Self {
        Self { state: State::Head(Head::default()), max_head, heads: 0 }
    }

    /// Judges the bytes that have come and not passed yet, up to the next border: those that the last judgement kept
    /// back, then new ones. Reads each byte once, however they are split.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Passed {
        let passed = match &mut self.state {
            State::Head(head) => match head.scan(bytes, self.max_head) {
                Ok(None) => Passed::Nothing,
                Ok(Some(length)) => {
                    self.heads += 1;
                    let lines = std::mem::take(head).into_lines();
                    self.state = State::after_head(lines.length);
                    return Passed::Head { length, lines };
                }
                Err(Refusal::Http2) if self.heads > 0 => Passed::Refused(Refusal::VersionNotSupported),
                Err(refusal) => Passed::Refused(refusal),
            },
            State::Length(left) => {
                let data = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= data as u64;
                Passed::Body { used: data, data: 0..data, has_ended: *left == 0 }
            }
            State::Chunked(chunked) => match chunked.scan(bytes) {
                (used, Scanned::Framing) => Passed::Body { used, data: 0..0, has_ended: false },
                (used, Scanned::Data(data)) => Passed::Body { used, data, has_ended: false },
                (used, Scanned::End) => Passed::Body { used, data: 0..0, has_ended: true },
                (0, Scanned::Bad(why)) => Passed::Refused(Refusal::InvalidChunkFraming(why)),
                // The bad byte is met again at the next call.
                (used, Scanned::Bad(_)) => Passed::Body { used, data: 0..0, has_ended: false },
            },
            State::Refused(refusal) => Passed::Refused(*refusal),
        };
        match passed {
            Passed::Refused(refusal) => self.state = State::Refused(refusal),
            Passed::Body { has_ended: true, .. } => self.state = State::Head(Head::default()),
            _ => {}
        }
        passed
    }

    /// Why these bytes, all that a client sends, would be refused.
    pub(crate) fn refusal_of(max_head: usize, mut bytes: &[u8]) -> Option<Refusal> {
        let mut guard = Self::new(max_head);
        while !bytes.is_empty() {
            let used = match guard.next(bytes) {
                Passed::Nothing => return None,
                Passed::Head { length, .. } => length,
                Passed::Body { used, .. } => used,
                Passed::Refused(refusal) => return Some(refusal),
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
        None
    }

    pub(crate) fn phase(&self) -> Phase {
        match &self.state {
            State::Head(head) if head.has_begun() => Phase::Head,
            State::Head(_) => Phase::Idle,
            State::Length(_) | State::Chunked(_) => Phase::Body,
            State::Refused(_) => Phase::Refused,
        }
    }

    /// How many heads have passed.
    #[cfg(test)]
    const fn heads(&self) -> u64 {
        self.heads
    }
}

impl State {
    fn after_head(length: Length) -> Self {
        match length {
            Length::Known(0) => Self::Head(Head::default()),
            Length::Known(length) => Self::Length(length),
            Length::Chunked => Self::Chunked(Chunked::default()),
        }
    }
}

impl Refusal {
    /// Status and word of the answer [G 6b, 8].
    pub(crate) const fn answer(self) -> (u16, StatusDetail) {
        match self {
            Self::HeadersTooLong => (413, StatusDetail::HeadersTooLong),
            Self::FailedParsing(_) => (400, StatusDetail::FailedParsingClientHeaders),
            Self::InvalidHeaders(_) => (400, StatusDetail::InvalidRequestHeaders),
            Self::VersionNotSupported | Self::Http2 => (400, StatusDetail::HttpVersionNotSupported),
            Self::InvalidChunkFraming(_) => (400, StatusDetail::InvalidChunkFraming),
        }
    }

    /// What was wrong, for logs: a few words without a full stop.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::HeadersTooLong => "request line and headers over the limit",
            Self::VersionNotSupported | Self::Http2 => "version other than HTTP/1.0 and HTTP/1.1",
            Self::FailedParsing(why) | Self::InvalidHeaders(why) | Self::InvalidChunkFraming(why) => why,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
