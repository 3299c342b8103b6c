//! A request on its way out: its head, and its body as that comes.
//!
//! What is short is copied behind the head and goes out with it, in one write; what is long goes out from where it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite;

use super::Outgoing;
use crate::proxy::body::RequestBody;
use crate::proxy::http1::chunked;
use crate::proxy::http1::scratch::Scratch;
use crate::proxy::http1::text::write_length;

/// Up to how many bytes of a body are copied.
const SHORT: usize = 4096;
/// How many bytes are put together before they are written.
const ENOUGH: usize = 16 * 1024;

/// What is still to be sent.
#[derive(Default)]
pub(super) struct Sending {
    /// The worker's own, while there is something in it.
    text: Vec<u8>,
    /// Bytes of it that are out.
    written: usize,
    /// Goes out behind it.
    piece: Bytes,
    /// Goes out behind that.
    tail: &'static [u8],
    body: RequestBody,
    framing: Framing,
    /// Something may wait inside of the connection: that of TLS keeps what its socket does not take.
    is_dirty: bool,
}

/// How a body is told from what follows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Framing {
    /// Nothing is to come.
    #[default]
    Over,
    /// So many bytes are.
    Length(u64),
    /// In chunks.
    Chunked,
    /// It came to nothing.
    Failed,
}

/// It cannot be sent to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stuck;

impl Sending {
    /// Begins with a request, and goes on as [`Self::poll`].
    pub(super) fn begin<S: AsyncWrite + Unpin>(
        &mut self,
        outgoing: &mut Outgoing,
        io: &mut S,
        cx: &mut Context<'_>,
        scratch: &Scratch,
    ) -> Poll<Result<(), Stuck>> {
        self.body = outgoing.take_body();
        let mut rest = &*outgoing.text;
        if outgoing.is_whole {
            self.end();
            // As a rule it goes out as it is.
            if let Poll::Ready(Ok(written)) = Pin::new(&mut *io).poll_write(cx, rest) {
                rest = rest.get(written..).unwrap_or_default();
                self.is_dirty = true;
            }
        }
        if !rest.is_empty() {
            self.text = scratch.take_text();
            self.text.extend_from_slice(rest);
            if !outgoing.is_whole {
                self.frame(outgoing.length);
            }
        }
        self.poll(io, cx, scratch)
    }

    /// Ends the head with what it does not say of its body yet.
    fn frame(&mut self, said: Option<u64>) {
        self.framing = match (said, self.body.size_hint().exact()) {
            _ if self.body.is_end_stream() => Framing::Over,
            (Some(length), _) => Framing::Length(length),
            (None, Some(length)) => {
                write_length(&mut self.text, length);
                Framing::Length(length)
            }
            (None, None) => {
                self.text.extend_from_slice(b"transfer-encoding: chunked\r\n");
                Framing::Chunked
            }
        };
        self.text.extend_from_slice(b"\r\n");
        if matches!(self.framing, Framing::Over | Framing::Length(0)) {
            self.end();
        }
    }

    /// Whether all of it is out.
    pub(super) fn is_over(&self) -> bool {
        self.framing == Framing::Over && !self.has_some() && !self.is_dirty
    }

    /// Writes what there is and what comes. Ready once all of it is out, or nothing more will be.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        scratch: &Scratch,
    ) -> Poll<Result<(), Stuck>> {
        let polled = self.poll_out(io, cx, scratch);
        if let Poll::Ready(Err(Stuck)) = polled {
            *self = Self { framing: Framing::Failed, ..Self::default() };
        }
        polled
    }

    fn poll_out<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        scratch: &Scratch,
    ) -> Poll<Result<(), Stuck>> {
        if self.framing == Framing::Failed {
            return Poll::Ready(Err(Stuck));
        }
        loop {
            let waits = self.fill(cx, scratch)?;
            ready!(self.poll_write(io, cx)).map_err(|_| Stuck)?;
            scratch.give_text(&mut self.text);
            self.written = 0;
            if waits || self.framing == Framing::Over {
                if self.is_dirty {
                    ready!(Pin::new(&mut *io).poll_flush(cx)).map_err(|_| Stuck)?;
                    self.is_dirty = false;
                }
                return if waits { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
    }

    /// Takes of the body what there is, up to what is worth a write. Whether more is waited for.
    fn fill(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Result<bool, Stuck> {
        while self.framing != Framing::Over && self.piece.is_empty() && self.text.len() < ENOUGH {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(true),
                Poll::Ready(Some(Err(_))) => return Err(Stuck),
                Poll::Ready(Some(Ok(frame))) => self.take(frame, scratch)?,
                Poll::Ready(None) => self.take_end(scratch)?,
            }
        }
        Ok(false)
    }

    fn take(&mut self, frame: Frame<Bytes>, scratch: &Scratch) -> Result<(), Stuck> {
        // Trailers go no further: `TE` and `Trailer` are of one hop.
        let Ok(mut data) = frame.into_data() else { return self.take_end(scratch) };
        let is_last = self.body.is_end_stream();
        if data.is_empty() {
            return if is_last { self.take_end(scratch) } else { Ok(()) };
        }
        self.ready_text(scratch);
        let mut tail: &'static [u8] = b"";
        match &mut self.framing {
            Framing::Length(left) => {
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                if is_last && *left > 0 {
                    return Err(Stuck);
                }
                if *left == 0 {
                    self.end();
                }
            }
            Framing::Chunked => {
                chunked::write_size(data.len(), &mut self.text);
                tail = if is_last { chunked::AFTER_LAST } else { chunked::AFTER };
                if is_last {
                    self.end();
                }
            }
            Framing::Over | Framing::Failed => return Ok(()),
        }
        if data.len() <= SHORT {
            self.text.extend_from_slice(&data);
            self.text.extend_from_slice(tail);
        } else {
            (self.piece, self.tail) = (data, tail);
        }
        Ok(())
    }

    /// The body has come to its end.
    fn take_end(&mut self, scratch: &Scratch) -> Result<(), Stuck> {
        match self.framing {
            Framing::Length(left) if left > 0 => return Err(Stuck),
            Framing::Chunked => {
                self.ready_text(scratch);
                self.text.extend_from_slice(chunked::END);
            }
            _ => {}
        }
        self.end();
        Ok(())
    }

    /// Lets go of the body.
    fn end(&mut self) {
        self.framing = Framing::Over;
        self.body = RequestBody::Empty;
    }

    fn ready_text(&mut self, scratch: &Scratch) {
        if self.text.capacity() == 0 {
            self.text = scratch.take_text();
        }
    }

    fn has_some(&self) -> bool {
        self.written < self.text.len() || !self.piece.is_empty() || !self.tail.is_empty()
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.has_some() {
            let text = self.text.get(self.written..).unwrap_or_default();
            let io = Pin::new(&mut *io);
            let written = if self.piece.is_empty() && self.tail.is_empty() {
                ready!(io.poll_write(cx, text))?
            } else {
                let parts = [text, &self.piece, self.tail].map(IoSlice::new);
                ready!(io.poll_write_vectored(cx, &parts))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_dirty = true;
            let of_text = written.min(text.len());
            let of_piece = (written - of_text).min(self.piece.len());
            self.written += of_text;
            self.piece.advance(of_piece);
            self.tail = self.tail.get(written - of_text - of_piece..).unwrap_or_default();
        }
        // What was held of it is given back.
        self.piece = Bytes::new();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
impl Sending {
    /// Nothing is held.
    pub(super) fn is_bare(&self) -> bool {
        self.text.capacity() == 0 && self.piece.is_empty() && matches!(self.body, RequestBody::Empty)
    }
}
