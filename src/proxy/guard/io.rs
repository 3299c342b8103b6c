//! The guard on a socket.
//!
//! Bytes of a head are kept back until the head is whole and good, so hyper never sees a part of a bad one and never
//! answers with words of its own. Almost always a head comes in one read and passes without a copy.
//!
//! A refused head is an end of input to hyper, but only once all earlier requests are answered and flushed: until then
//! reads wait. hyper then ends, shutting down nothing, and the owner of the connection writes our answer. In a body
//! the reader gets an error of kind `InvalidData`, and the request's handler answers.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Guard, Phase, Refusal, Verdict};
use crate::clock;
use crate::model::unit::Tick;
use crate::net::join;

/// A client's socket with the guard on it. hyper owns it; what others need to know stands in [`Shared`].
#[derive(Debug)]
pub(crate) struct GuardedIo<S> {
    io: S,
    guard: Guard,
    shared: Arc<Shared>,
    /// Read and not passed on: a part of a head, or what a large head left. Empty and without memory when idle.
    held: BytesMut,
    /// How many leading bytes of `held` may pass.
    good: usize,
    refusal: Option<Refusal>,
}

/// What a connection's guard, its requests' handlers and its owner know of each other. All of them run on one thread;
/// atomics are here because hyper wants the sockets of upgradeable connections to be `Send`, and cost no more than
/// plain numbers.
#[derive(Debug)]
pub(crate) struct Shared {
    phase: AtomicU8,
    /// Since when, as [`Tick`].
    phase_since: AtomicU64,
    /// Requests whose head was passed on.
    begun: AtomicU64,
    /// Requests that are answered.
    done: AtomicU64,
    /// Whether a flush has ended since the last answer did.
    is_flushed: AtomicBool,
    passes_through: AtomicBool,
    refusal: OnceLock<Refusal>,
    /// Whether there is a waker; spares the lock.
    is_waited_for: AtomicBool,
    /// Of a reader that waits for an answer to end.
    waker: Mutex<Option<Waker>>,
}

impl<S> GuardedIo<S> {
    /// Guards a fresh connection. A head may be `max_head` bytes long.
    pub(crate) fn new(io: S, max_head: usize) -> (Self, Arc<Shared>) {
        let shared = Arc::new(Shared {
            phase: AtomicU8::new(Phase::Idle as u8),
            phase_since: AtomicU64::new(clock::now().0),
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
            is_flushed: AtomicBool::new(true),
            passes_through: AtomicBool::new(false),
            refusal: OnceLock::new(),
            is_waited_for: AtomicBool::new(false),
            waker: Mutex::new(None),
        });
        let guard = Guard::new(max_head);
        let io =
            Self { io, guard, shared: Arc::clone(&shared), held: BytesMut::new(), good: 0, refusal: None };
        (io, shared)
    }

    /// The socket, past the guard: for reading away what a refused client still sends.
    pub(crate) const fn socket(&mut self) -> &mut S {
        &mut self.io
    }

    /// The socket, and what was read from it and not passed on.
    pub(crate) fn into_rest(self) -> (S, Bytes) {
        (self.io, self.held.freeze())
    }

    /// Shows the guard bytes that have just come, which stand in `buf` from `start` on. Leaves those that may pass.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, start: usize) {
        let fresh = buf.filled().get(start..).unwrap_or_default();
        let verdict = if self.held.is_empty() {
            let verdict = self.guard.feed(fresh);
            self.held.extend_from_slice(fresh.get(verdict.good..).unwrap_or_default());
            buf.set_filled(start + verdict.good);
            verdict
        } else {
            self.held.extend_from_slice(fresh);
            buf.set_filled(start);
            let verdict = self.guard.feed(&self.held);
            self.good = verdict.good;
            verdict
        };
        self.note(verdict);
    }

    fn note(&mut self, verdict: Verdict) {
        self.refusal = verdict.refusal;
        self.shared.begun.store(self.guard.heads(), Relaxed);
        self.shared.enter(self.guard.phase());
    }

    /// Passes on what was held and is good.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.good.min(buf.remaining()).min(self.held.len());
        buf.put_slice(self.held.get(..length).unwrap_or_default());
        self.held.advance(length);
        self.good -= length;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    fn pass_through(&mut self) {
        self.guard.pass_through();
        self.good = self.held.len();
        self.refusal = None;
    }

    /// What a reader gets once nothing more will pass.
    fn refuse(&self, refusal: Refusal, cx: &Context<'_>) -> Poll<std::io::Result<()>> {
        if refusal.is_in_body() {
            self.shared.refusal.get_or_init(|| refusal);
            return Poll::Ready(Err(std::io::Error::new(std::io::ErrorKind::InvalidData, refusal.why())));
        }
        if self.shared.is_busy() {
            self.shared.wait(cx.waker());
            return Poll::Pending;
        }
        self.shared.refusal.get_or_init(|| refusal);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.shared.passes_through.load(Relaxed) && this.guard.phase() != Phase::Open {
            this.pass_through();
        }
        let start = buf.filled().len();
        while buf.filled().len() == start && buf.remaining() > 0 {
            if this.good > 0 {
                this.deliver(buf);
                break;
            }
            if let Some(refusal) = this.refusal {
                return this.refuse(refusal, cx);
            }
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            let fresh = buf.filled().len() - start;
            if fresh == 0 {
                // The client has ended. What is held is a part of a head: no request, so nobody waits for an answer.
                break;
            }
            this.judge(buf, start);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        join::poll_write(&mut self.get_mut().io, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        this.shared.flushed();
        Poll::Ready(Ok(()))
    }

    /// Leaves the socket open after a refused head: our answer is still to be written.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        if this.shared.refusal().is_some_and(|refusal| !refusal.is_in_body()) {
            return Pin::new(&mut this.io).poll_flush(cx);
        }
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

impl Shared {
    /// Where the client is with its requests.
    pub(crate) fn phase(&self) -> Phase {
        let phase = self.phase.load(Relaxed);
        let phases = [Phase::Idle, Phase::Head, Phase::Body, Phase::Refused];
        phases.into_iter().find(|known| *known as u8 == phase).unwrap_or(Phase::Open)
    }

    /// When that phase was entered. A request without a body whose head comes in one read enters none.
    pub(crate) fn phase_since(&self) -> Tick {
        Tick(self.phase_since.load(Relaxed))
    }

    /// Why the connection's input has ended, once the reader has met it. In a head, the owner of the connection
    /// answers when hyper has ended; in a body ([`Refusal::is_in_body`]), the request's handler does. `None` also
    /// when the connection ended before it came to the refused bytes: then nobody waits for an answer to them.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get().copied()
    }

    /// A request is answered: its handler must say so once for every request, when the answer's body has ended or was
    /// dropped.
    pub(crate) fn request_done(&self) {
        add(&self.done, 1);
        self.is_flushed.store(false, Relaxed);
        self.wake();
    }

    /// The connection becomes a tunnel, with all that the client has sent after the head of the request.
    pub(crate) fn pass_through(&self) {
        self.passes_through.store(true, Relaxed);
        self.enter(Phase::Open);
        self.wake();
    }

    /// Whether an answer is still to be written. An end of input now would make hyper drop it.
    fn is_busy(&self) -> bool {
        self.done.load(Relaxed) < self.begun.load(Relaxed) || !self.is_flushed.load(Relaxed)
    }

    fn flushed(&self) {
        if !self.is_flushed.load(Relaxed) {
            self.is_flushed.store(true, Relaxed);
            self.wake();
        }
    }

    fn enter(&self, phase: Phase) {
        if self.phase.load(Relaxed) != phase as u8 {
            self.phase.store(phase as u8, Relaxed);
            self.phase_since.store(clock::now().0, Relaxed);
        }
    }

    fn wait(&self, waker: &Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
        self.is_waited_for.store(true, Relaxed);
    }

    fn wake(&self) {
        if !self.is_waited_for.load(Relaxed) {
            return;
        }
        self.is_waited_for.store(false, Relaxed);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Without a locked instruction: one thread counts.
fn add(count: &AtomicU64, more: usize) {
    count.store(count.load(Relaxed).wrapping_add(more as u64), Relaxed);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
