//! A connection to a member: one request after the other, each driven by whoever waits for its answer.
//!
//! Nothing runs when nobody asks: the request's own task writes to the socket and reads from it. While the connection
//! is idle, it holds no buffer and wakes nobody; what comes meanwhile is seen when it is next looked at, and makes it
//! useless. What is read and what is written stands in buffers of the worker ([`Scratch`]) until it is somebody's.

mod head;
mod outgoing;
mod sending;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, Response};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::head::{Framing, Head};
pub(crate) use self::outgoing::Outgoing;
use self::sending::Sending;
use super::chunked::{Decoder, Piece};
use super::scratch::Scratch;
use crate::net::connect::Stream;

/// A connection.
pub(crate) struct Conn<S = Stream> {
    io: S,
    sending: Sending,
    /// The front of a head that has not come whole.
    partial: BytesMut,
    /// Read, and of use to nobody yet.
    early: Bytes,
    reading: Reading,
    /// The request under way is a HEAD.
    is_head: bool,
    /// It may be used again.
    is_kept: bool,
    /// The last read could have had more.
    is_fast: bool,
}

/// What is expected of the member.
enum Reading {
    /// Nothing: all of the last answer is here, if there was one.
    Idle,
    /// The head of an answer.
    Head,
    Length(u64),
    Chunked(Decoder),
    /// A body that ends with the connection.
    Close,
    /// Nothing any more.
    Broken,
}

/// What an answer's body has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// So many bytes.
    Exactly(u64),
    /// Nobody knows.
    Unknown,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its head is longer than it may be, or has too many lines.
    TooLarge,
    /// It is none.
    Corrupt,
    /// The connection ended, or the request could not be sent to its end.
    Closed,
}

/// The connection is of no use: something has come that nobody asked for, be it the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsent;

/// A body ended before its end, or was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupted;

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    pub(crate) fn new(io: S) -> Self {
        Self {
            io,
            sending: Sending::default(),
            partial: BytesMut::new(),
            early: Bytes::new(),
            reading: Reading::Idle,
            is_head: false,
            is_kept: true,
            is_fast: false,
        }
    }

    /// Sends a request, as much of it as goes. For a connection that [`Self::is_idle`]; its answer is to be waited for.
    ///
    /// # Errors
    /// Nothing has been sent, and the request is as it was.
    pub(crate) fn begin(
        &mut self,
        outgoing: &mut Outgoing,
        cx: &mut Context<'_>,
        scratch: &Scratch,
    ) -> Result<(), Unsent> {
        // Looking before writing is also what has this task woken when something comes.
        if self.poll_disturbed(cx).is_ready() {
            self.reading = Reading::Broken;
            return Err(Unsent);
        }
        self.reading = Reading::Head;
        self.is_head = outgoing.method == Method::HEAD;
        self.is_kept = !outgoing.is_last;
        if let Poll::Ready(Err(_)) = self.sending.begin(outgoing, &mut self.io, cx, scratch) {
            // It is heard whether the member has said why.
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Sends the rest of the request and reads the head of the answer, which says what its body has.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
    ) -> Poll<Result<Response<Left>, Fault>> {
        let is_stuck = self.is_stuck(cx, scratch);
        let polled = match self.poll_head(cx, scratch) {
            Poll::Pending if is_stuck => Poll::Ready(Err(Fault::Closed)),
            polled => polled,
        };
        if let Poll::Ready(Err(_)) = polled {
            self.reading = Reading::Broken;
        }
        polled
    }

    /// The next part of the answer's body. While it is asked for, the rest of the request is sent.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
    ) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        let is_stuck = self.is_stuck(cx, scratch);
        match self.poll_piece(cx, scratch) {
            Poll::Pending if !is_stuck => Poll::Pending,
            Poll::Pending | Poll::Ready(Err(_)) => {
                self.reading = Reading::Broken;
                Poll::Ready(Some(Err(Interrupted)))
            }
            Poll::Ready(Ok(frame)) => Poll::Ready(frame.map(Ok)),
        }
    }

    /// What the answer's body has left.
    pub(crate) fn left(&self) -> Left {
        match self.reading {
            Reading::Idle => Left::Nothing,
            Reading::Length(left) => Left::Exactly(left),
            Reading::Head | Reading::Chunked(_) | Reading::Close | Reading::Broken => Left::Unknown,
        }
    }

    /// Whether it can take a request, as far as is known without looking at the socket.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.reading, Reading::Idle)
            && self.is_kept
            && self.early.is_empty()
            && self.sending.is_over()
    }

    /// Whether nothing has come, not even the end, while nothing may. Nobody is woken when something does.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.poll_disturbed(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// The socket, after an answer without a body, and what was read behind that.
    pub(crate) fn into_socket(self) -> Option<(S, Bytes)> {
        let is_free = matches!(self.reading, Reading::Idle) && self.sending.is_over();
        is_free.then_some((self.io, self.early))
    }

    /// Sends on what there is; whether that has come to nothing.
    fn is_stuck(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> bool {
        !self.sending.is_over() && matches!(self.sending.poll(&mut self.io, cx, scratch), Poll::Ready(Err(_)))
    }

    /// Ready when something has come.
    fn poll_disturbed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        Pin::new(&mut self.io).poll_read(cx, &mut ReadBuf::new(&mut byte)).map(|_| ())
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<Result<Response<Left>, Fault>> {
        loop {
            let read = ready!(self.poll_read(cx, scratch)).map_err(|_| Fault::Closed)?;
            if read.is_empty() {
                return Poll::Ready(Err(Fault::Closed));
            }
            let mut text = read;
            if !self.partial.is_empty() {
                let before = self.partial.len();
                self.partial.extend_from_slice(&text);
                if self.partial.len() < crate::proxy::forward::MAX_RESPONSE_HEAD
                    && !head::may_be_whole(&self.partial, before)
                {
                    continue;
                }
                text = std::mem::take(&mut self.partial).freeze();
            }
            if let Some(head) = head::parse(&mut text, self.is_head, scratch)? {
                self.keep_early(text);
                return Poll::Ready(Ok(self.open(head)));
            }
            self.partial = BytesMut::from(text);
        }
    }

    fn open(&mut self, head: Head) -> Response<Left> {
        self.is_kept &= head.is_kept && head.framing != Framing::Close;
        self.reading = match head.framing {
            Framing::Length(0) => Reading::Idle,
            Framing::Length(length) => Reading::Length(length),
            Framing::Chunked => Reading::Chunked(Decoder::default()),
            Framing::Close => Reading::Close,
        };
        let mut response = Response::new(self.left());
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
    ) -> Poll<Result<Option<Frame<Bytes>>, Interrupted>> {
        if matches!(self.reading, Reading::Idle) {
            return Poll::Ready(Ok(None));
        }
        loop {
            let mut early = std::mem::take(&mut self.early);
            let taken = self.take_piece(&mut early);
            self.keep_early(early);
            if let Some(frame) = taken? {
                return Poll::Ready(Ok(Some(frame)));
            }
            if matches!(self.reading, Reading::Idle) {
                return Poll::Ready(Ok(None));
            }
            self.early = ready!(self.poll_read(cx, scratch)).map_err(|_| Interrupted)?;
            if self.early.is_empty() {
                let is_end = matches!(self.reading, Reading::Close);
                self.reading = if is_end { Reading::Idle } else { Reading::Broken };
                return Poll::Ready(if is_end { Ok(None) } else { Err(Interrupted) });
            }
        }
    }

    /// What is left of a read. Nothing is left without the buffer: that is the worker's again.
    fn keep_early(&mut self, early: Bytes) {
        self.early = if early.is_empty() { Bytes::new() } else { early };
    }

    /// What has been read already; `None` if that is not enough, or was the end.
    fn take_piece(&mut self, early: &mut Bytes) -> Result<Option<Frame<Bytes>>, Interrupted> {
        match &mut self.reading {
            Reading::Idle | Reading::Head | Reading::Broken => Err(Interrupted),
            _ if early.is_empty() => Ok(None),
            Reading::Close => Ok(Some(Frame::data(std::mem::take(early)))),
            Reading::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(early.len());
                *left -= length as u64;
                if *left == 0 {
                    self.reading = Reading::Idle;
                }
                Ok(Some(Frame::data(early.split_to(length))))
            }
            Reading::Chunked(decoder) => match decoder.next(early).map_err(|_| Interrupted)? {
                None => Ok(None),
                Some(Piece::Data(data)) => {
                    if decoder.ends(early) {
                        self.reading = Reading::Idle;
                    }
                    Ok(Some(Frame::data(data)))
                }
                Some(Piece::End(trailers)) => {
                    self.reading = Reading::Idle;
                    Ok(trailers.map(Frame::trailers))
                }
            },
        }
    }

    /// What the socket has; nothing at its end.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<io::Result<Bytes>> {
        let is_body = !matches!(self.reading, Reading::Head);
        scratch.poll_read(&mut self.io, cx, (&mut self.is_fast, is_body)).map_ok(BytesMut::freeze)
    }
}
