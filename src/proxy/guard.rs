//! Strict HTTP/1 framing of what clients send, checked before hyper reads it.
//!
//! hyper forgives: it takes bare LF and equal lengths sent twice, drops Content-Length beside Transfer-Encoding, and
//! answers what it cannot parse with words of its own. What one party forgives and the next reads otherwise is how
//! requests are smuggled, so the guard sees every byte first and lets through only what has one meaning
//! (RFC 9112, and stricter where that leaves a choice). It is at least as strict as hyper's parser: a head that
//! passes is a head that hyper takes, and every refusal is answered in our words [G 6b, 8].
//!
//! The guard is pure: bytes in, verdict out. `GuardedIo` puts it between a socket and hyper.
//!
//! A head passes whole or not at all; a body passes as it comes. Cost: one `memchr` and two short loops per line of a
//! head, subtraction for a body with a length, one step per byte for chunk sizes and trailers only.

mod chunked;
mod head;
mod io;

pub(crate) use io::{GuardedIo, Shared};

use self::chunked::Chunked;
use self::head::{Framing, Head};
pub(crate) use self::head::{MAX_HEADERS, is_authority, is_target};
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
    /// No HTTP any more.
    Open,
}

/// What to do with the bytes that were shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// How many of the leading bytes may pass. The rest is to be kept and shown again with what follows it.
    pub good: usize,
    /// Why nothing after those may ever pass.
    pub refusal: Option<Refusal>,
}

/// Where in a request the client is. For timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Nothing of a next request has come.
    Idle,
    /// A part of a head has come.
    Head,
    /// A head has passed, its body has not ended.
    Body,
    /// Nothing more will pass.
    Refused,
    /// A tunnel: nothing is looked at.
    Open,
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

    /// Judges the bytes that have come and not passed yet: those that the last verdict kept back, then new ones.
    /// Reads each byte once, however they are split.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Verdict {
        let mut good = 0;
        while let Some(rest) = bytes.get(good..).filter(|rest| !rest.is_empty()) {
            let (passed, next) = self.step(rest);
            good += passed;
            match next {
                Next::Stay => break,
                Next::Become(state) => self.state = state,
                Next::Refuse(refusal) => self.state = State::Refused(refusal),
            }
            if let State::Refused(refusal) = self.state {
                return Verdict { good, refusal: Some(refusal) };
            }
        }
        Verdict { good, refusal: self.refusal() }
    }

    /// From here on everything passes: the connection was upgraded. A refusal of bytes that followed the upgrade's
    /// head is forgotten; they were never HTTP.
    pub(crate) fn pass_through(&mut self) {
        self.state = State::Open;
    }

    pub(crate) fn phase(&self) -> Phase {
        match &self.state {
            State::Head(head) if head.has_begun() => Phase::Head,
            State::Head(_) => Phase::Idle,
            State::Length(_) | State::Chunked(_) => Phase::Body,
            State::Refused(_) => Phase::Refused,
            State::Open => Phase::Open,
        }
    }

    /// How many heads have passed.
    pub(crate) const fn heads(&self) -> u64 {
        self.heads
    }

    fn refusal(&self) -> Option<Refusal> {
        if let State::Refused(refusal) = self.state { Some(refusal) } else { None }
    }

    /// Judges up to the next border between head and body or two requests.
    fn step(&mut self, bytes: &[u8]) -> (usize, Next) {
        match &mut self.state {
            State::Head(head) => match head.scan(bytes, self.max_head) {
                Ok(None) => (0, Next::Stay),
                Ok(Some((length, framing))) => {
                    self.heads += 1;
                    (length, Next::Become(State::after_head(framing)))
                }
                Err(Refusal::Http2) if self.heads > 0 => (0, Next::Refuse(Refusal::VersionNotSupported)),
                Err(refusal) => (0, Next::Refuse(refusal)),
            },
            State::Length(left) => {
                let passed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= passed as u64;
                (passed, if *left == 0 { Next::Become(State::Head(Head::default())) } else { Next::Stay })
            }
            State::Chunked(chunked) => {
                let (passed, end) = chunked.scan(bytes);
                match end {
                    Ok(false) => (passed, Next::Stay),
                    Ok(true) => (passed, Next::Become(State::Head(Head::default()))),
                    Err(why) => (passed, Next::Refuse(Refusal::InvalidChunkFraming(why))),
                }
            }
            State::Refused(refusal) => (0, Next::Refuse(*refusal)),
            State::Open => (bytes.len(), Next::Stay),
        }
    }
}

impl State {
    fn after_head(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Head(Head::default()),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::default()),
        }
    }
}

/// What follows a step.
enum Next {
    /// All bytes are used up; more are needed.
    Stay,
    Become(State),
    Refuse(Refusal),
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

    /// Whether it came in the body of a request whose head has passed: then that request's handler answers.
    pub(crate) const fn is_in_body(self) -> bool {
        matches!(self, Self::InvalidChunkFraming(_))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
