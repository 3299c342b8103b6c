//! A client's socket with the guard before it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Talk;
use crate::proxy::guard::{Guard, Lines, Passed, Phase, Refusal};
use crate::proxy::http1::scratch::Scratch;
use crate::proxy::out::Out;

/// See the module.
pub(super) struct Wire<S> {
    /// `None` once it was handed over.
    io: Option<S>,
    guard: Guard,
    /// Read and not used yet. Empty and without memory when idle.
    held: BytesMut,
    /// The last read of a body could have had more.
    is_fast: bool,
    /// What is left to be written of a `100 Continue`.
    promise: &'static [u8],
}

/// What has come instead of waiting.
pub(super) enum Arrival {
    Head(Bytes, Lines),
    /// The client has ended, or nothing more is wanted of it.
    End,
    Refused(Refusal),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(io: S, max_head: usize) -> Self {
        let (guard, held) = (Guard::new(max_head), BytesMut::new());
        Self { io: Some(io), guard, held, is_fast: false, promise: &[] }
    }

    pub(super) fn phase(&self) -> Phase {
        self.guard.phase()
    }

    #[cfg(test)]
    pub(super) fn held_capacity(&self) -> usize {
        self.held.capacity()
    }

    /// Whether anything of a next request has come.
    pub(super) fn has_begun(&self) -> bool {
        !self.held.is_empty()
    }

    /// The next request's head, whole.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<Arrival> {
        loop {
            if !self.held.is_empty() {
                match self.guard.next(&self.held) {
                    Passed::Head { length, lines } => {
                        let head = self.held.split_to(length).freeze();
                        self.tidy();
                        return Poll::Ready(Arrival::Head(head, lines));
                    }
                    Passed::Refused(refusal) => return Poll::Ready(Arrival::Refused(refusal)),
                    Passed::Nothing | Passed::Body { .. } => {}
                }
            }
            match ready!(self.poll_glance(cx, scratch)) {
                Ok(Some(arrival)) => return Poll::Ready(arrival),
                Ok(None) => {}
                // What is held is a part of a head: no request, so nobody waits for an answer.
                Err(_) => return Poll::Ready(Arrival::End),
            }
        }
    }

    /// Reads, and judges at once what stands alone: almost always a head comes in one read.
    fn poll_glance(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<io::Result<Option<Arrival>>> {
        scratch.glance(|buffer| {
            let bytes = ready!(poll_read(self.io.as_mut(), cx, buffer))?;
            if !self.held.is_empty() {
                self.held.extend_from_slice(bytes);
                return Poll::Ready(Ok(None));
            }
            let (used, arrival) = match self.guard.next(bytes) {
                Passed::Head { length, lines } => {
                    let head = scratch.cut(bytes.get(..length).unwrap_or_default());
                    (length, Some(Arrival::Head(head, lines)))
                }
                Passed::Refused(refusal) => (0, Some(Arrival::Refused(refusal))),
                Passed::Nothing | Passed::Body { .. } => (0, None),
            };
            if used < bytes.len() {
                self.held.extend_from_slice(bytes.get(used..).unwrap_or_default());
            }
            Poll::Ready(Ok(arrival))
        })
    }

    /// Ready once the client has ended its side.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<()> {
        if !self.held.is_empty() || self.phase() == Phase::Body {
            return Poll::Pending;
        }
        scratch.glance(|buffer| match ready!(poll_read(self.io.as_mut(), cx, buffer)) {
            Ok(bytes) => {
                self.held.extend_from_slice(bytes);
                Poll::Pending
            }
            Err(_) => Poll::Ready(()),
        })
    }

    /// The next piece of the body; `None` at its end.
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        (talk, scratch): (&Talk, &Scratch),
    ) -> Poll<io::Result<Option<Bytes>>> {
        while !self.promise.is_empty() {
            let Some(io) = &mut self.io else { break };
            let written = ready!(Pin::new(&mut *io).poll_write(cx, self.promise))?;
            self.promise = self.promise.get(written..).unwrap_or_default();
            let _ = Pin::new(io).poll_flush(cx)?;
        }
        loop {
            while !self.held.is_empty() && self.phase() == Phase::Body {
                let Some(data) = self.pass(talk)? else { continue };
                return Poll::Ready(Ok(Some(data)));
            }
            if self.phase() != Phase::Body {
                return Poll::Ready(Ok(None));
            }
            ready!(self.poll_body(cx, scratch))?;
        }
    }

    /// Lets what is held pass up to the next border. The data among it, if there is any.
    fn pass(&mut self, talk: &Talk) -> io::Result<Option<Bytes>> {
        let passed = self.guard.next(&self.held);
        talk.enter(self.guard.phase());
        match passed {
            Passed::Body { used, data, .. } => {
                let data = self.held.split_to(used).freeze().slice(data);
                self.tidy();
                Ok((!data.is_empty()).then_some(data))
            }
            Passed::Refused(refusal) => {
                talk.refusal.set(Some(refusal));
                Err(io::Error::new(io::ErrorKind::InvalidData, refusal.why()))
            }
            // Of a body, neither is ever said.
            Passed::Nothing | Passed::Head { .. } => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Reads a piece of a body.
    fn poll_body(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())) };
        let piece = ready!(scratch.poll_read(io, cx, (&mut self.is_fast, true)))?;
        if piece.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.held = piece;
        Poll::Ready(Ok(()))
    }

    /// Passes over what is here of a body that nobody wants. Whether that was the rest of it.
    pub(super) fn skip_held(&mut self, talk: &Talk) -> bool {
        while !self.held.is_empty() && self.phase() == Phase::Body {
            if self.pass(talk).is_err() {
                return false;
            }
        }
        self.phase() != Phase::Body
    }

    /// The same, and looks whether more has come.
    pub(super) fn skip_body(&mut self, cx: &mut Context<'_>, with: (&Talk, &Scratch)) -> bool {
        self.promise = &[];
        while let Poll::Ready(Ok(piece)) = self.poll_piece(cx, with) {
            if piece.is_none() {
                return true;
            }
        }
        false
    }

    /// The client waits to be told that its body is wanted; to be said when somebody asks for it.
    pub(super) fn promise(&mut self) {
        self.promise = b"HTTP/1.1 100 Continue\r\n\r\n";
    }

    /// An answer begins: no promise is due any more.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Out) -> Poll<io::Result<()>> {
        self.promise = &[];
        match &mut self.io {
            Some(io) => out.poll_write(io, cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().map_or(Poll::Ready(Ok(())), |io| Pin::new(io).poll_shutdown(cx))
    }

    /// The socket, which is no HTTP's any more, and what it has brought.
    pub(super) fn take(&mut self) -> (Option<S>, Bytes) {
        (self.io.take(), std::mem::take(&mut self.held).freeze())
    }

    fn tidy(&mut self) {
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }
}

/// Reads what is there; an end is an error.
fn poll_read<'a, S: AsyncRead + Unpin>(
    io: Option<&mut S>,
    cx: &mut Context<'_>,
    into: &'a mut [u8],
) -> Poll<io::Result<&'a [u8]>> {
    let Some(io) = io else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
    let mut buf = ReadBuf::new(into);
    ready!(Pin::new(io).poll_read(cx, &mut buf))?;
    let read = buf.filled().len();
    if read == 0 {
        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
    }
    Poll::Ready(Ok(into.get(..read).unwrap_or_default()))
}
