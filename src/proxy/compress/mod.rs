//! Answers made smaller on their way to the client [G 6.11]. Which ones, [`crate::model::compression`] says.
//!
//! What a member sends goes through the encoder a piece at a time, and comes out when the encoder has enough of it, or
//! when the member pauses: what it has said so far must not wait for what it says next. Between two pieces everybody
//! else on the worker has a turn. Nothing is read from the member while the client does not take what there is.

mod encoder;

use std::future::Future;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;

pub(crate) use self::encoder::{Encoder, Encoders};
use super::arriving::Arriving;
use super::body::{BrokenOff, Forwarded};
use super::record::Record;
use crate::ledger::process::Traffic;
use crate::model::compression::{Coding, Decision, Wanted};
use crate::model::header::vary;

/// Bytes that are compressed in one go.
const PIECE: usize = 16 * 1024;

/// Makes an answer's head that of the answer as this client gets it. The encoder for its body, if it is compressed.
pub(super) fn begin(wanted: Wanted, record: &Record, response: &mut Response<Arriving>) -> Option<Encoder> {
    if response.body().is_end_stream() && !wanted.is_head {
        return None;
    }
    let decision = wanted.decide(response.status(), response.headers());
    if decision == Decision::Untouched {
        return None;
    }
    let headers = response.headers_mut();
    vary(headers, "Accept-Encoding");
    let Decision::Compressed(coding) = decision else { return None };
    let context = &record.client.context;
    let Some(encoder) = context.encoders.begin(coding) else {
        context.process.count(context.worker, Traffic::Uncompressed);
        return None;
    };
    describe(coding, headers);
    Some(encoder)
}

/// What is true of the bytes as they go out: their length is not known, no ranges of them can be asked for, and a
/// strong tag is that of other bytes (RFC 9110, 8.8.3).
fn describe(coding: Coding, headers: &mut HeaderMap) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    headers.remove(CONTENT_LENGTH);
    if headers.contains_key(ACCEPT_RANGES) {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    }
    let Some(tag) = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else { return };
    let weak = [b"W/", tag.as_bytes()].concat();
    // Two more visible letters: it stays a value.
    if let Ok(weak) = HeaderValue::from_maybe_shared(Bytes::from(weak)) {
        headers.insert(ETAG, weak);
    }
}

/// A member's answer on its way through an encoder.
pub(crate) struct Compressed {
    inner: Forwarded,
    /// `None` once all has gone through.
    encoder: Option<Encoder>,
    /// Has come, and has not gone in.
    rest: Bytes,
    /// Something has gone in that has not come out.
    is_dirty: bool,
    /// The member has paused, and a turn has been waited for it.
    has_waited: bool,
    /// The others have a turn first.
    owes_a_turn: bool,
    /// What follows the data: trailers, or that the member has broken off.
    last: Option<Result<Frame<Bytes>, BrokenOff>>,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BrokenOff>>>;

impl Compressed {
    pub(super) fn new(inner: Forwarded, encoder: Encoder) -> Self {
        Self {
            inner,
            encoder: Some(encoder),
            rest: Bytes::new(),
            is_dirty: false,
            has_waited: false,
            owes_a_turn: false,
            last: None,
        }
    }

    /// What the member sends.
    pub(super) const fn inner(&self) -> &Forwarded {
        &self.inner
    }

    /// The same, to be changed.
    pub(super) const fn inner_mut(&mut self) -> &mut Forwarded {
        &mut self.inner
    }

    /// The same, without the encoder.
    pub(super) fn into_inner(self) -> Forwarded {
        self.inner
    }

    /// Whether nothing more will come.
    pub(super) const fn is_over(&self) -> bool {
        self.encoder.is_none() && self.last.is_none()
    }

    pub(super) fn poll_frame(&mut self, cx: &mut TaskContext<'_>) -> Polled {
        loop {
            if std::mem::take(&mut self.owes_a_turn) {
                return give_way(cx);
            }
            if self.encoder.is_none() {
                return self.end();
            }
            let out = if self.rest.is_empty() { std::task::ready!(self.hear(cx)) } else { self.compress() };
            if !out.is_empty() {
                self.inner.record.bytes_down += out.len() as u64;
                self.inner.record.has_ended = self.is_over();
                return Poll::Ready(Some(Ok(Frame::data(out))));
            }
        }
    }

    /// One piece.
    fn compress(&mut self) -> Bytes {
        let piece = self.rest.split_to(PIECE.min(self.rest.len()));
        self.owes_a_turn = true;
        self.is_dirty = true;
        self.encoder.as_mut().map(|encoder| encoder.write(&piece)).unwrap_or_default()
    }

    /// What the member has to say, for the client; nothing = ask again.
    fn hear(&mut self, cx: &mut TaskContext<'_>) -> Poll<Bytes> {
        let polled = self.inner.poll_frame(cx);
        // All that the member has sent is not yet all that the client has got.
        self.inner.record.has_ended = false;
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.has_waited = false;
                match frame.into_data() {
                    Ok(data) => {
                        // Counted as it came; what counts is what goes out.
                        self.inner.record.bytes_down -= data.len() as u64;
                        self.rest = data;
                    }
                    Err(trailers) => self.last = Some(Ok(trailers)),
                }
                Poll::Ready(Bytes::new())
            }
            Poll::Ready(None) => Poll::Ready(self.encoder.take().map(Encoder::finish).unwrap_or_default()),
            Poll::Ready(Some(Err(error))) => {
                // What has come so far goes out, and without an end. It is written in the turn that it is given.
                let out = self.flush();
                self.encoder = None;
                self.last = Some(Err(error));
                self.owes_a_turn = !out.is_empty();
                Poll::Ready(out)
            }
            Poll::Pending if !self.is_dirty => Poll::Pending,
            Poll::Pending if !self.has_waited => {
                // Often the next bytes are here already, and nobody has looked.
                self.has_waited = true;
                self.owes_a_turn = true;
                Poll::Ready(Bytes::new())
            }
            Poll::Pending => Poll::Ready(self.flush()),
        }
    }

    fn flush(&mut self) -> Bytes {
        if !std::mem::take(&mut self.is_dirty) {
            return Bytes::new();
        }
        self.encoder.as_mut().map(Encoder::flush).unwrap_or_default()
    }

    fn end(&mut self) -> Polled {
        let last = self.last.take();
        self.inner.record.has_ended = !matches!(last, Some(Err(_)));
        Poll::Ready(last)
    }
}

/// Wakes the task once all others that can go on have done so, and what has come by sockets has been looked for.
fn give_way<T>(cx: &mut TaskContext<'_>) -> Poll<T> {
    // Asked once, it has taken its note, and is not needed any more.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
    Poll::Pending
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn a_strong_tag_becomes_weak_and_a_weak_one_stays() {
        let mut headers = map(&[("etag", "\"a\""), ("content-length", "5"), ("accept-ranges", "bytes")]);
        describe(Coding::Brotli, &mut headers);
        let expected = map(&[("etag", "W/\"a\""), ("accept-ranges", "none"), ("content-encoding", "br")]);
        assert_eq!(headers, expected);
        describe(Coding::Gzip, &mut headers);
        assert_eq!(
            (&headers[ETAG], &headers[CONTENT_ENCODING]),
            (&"W/\"a\"".parse().unwrap(), &"gzip".parse().unwrap())
        );
    }

    #[test]
    fn vary_names_what_it_does_not_name_yet() {
        for (before, after) in [
            (map(&[]), map(&[("vary", "Accept-Encoding")])),
            (map(&[("vary", "Origin")]), map(&[("vary", "Origin"), ("vary", "Accept-Encoding")])),
            (map(&[("vary", "Origin, accept-encoding")]), map(&[("vary", "Origin, accept-encoding")])),
            (map(&[("vary", "*")]), map(&[("vary", "*")])),
        ] {
            let mut headers = before;
            vary(&mut headers, "Accept-Encoding");
            assert_eq!(headers, after);
        }
    }
}
