//! The counter of frames on a client's connection, between its socket and h2.
//!
//! Who is over an allowance is told so by h2 itself: it is shown a list of headers in more frames than it takes, at a
//! place between two frames, and answers with GOAWAY and ENHANCE_YOUR_CALM. The word for the limit in it is ours.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Frames, Over, Sent};
use crate::clock;
use crate::model::config::Http2Limits;
use crate::model::unit::Tick;
use crate::net::join;

/// HEADERS and CONTINUATION frames of stream 1 without END_HEADERS: more than h2 allows for our size of lists.
static TOO_MUCH: [u8; 9 * 12] = {
    let mut frames = [0; 9 * 12];
    let mut at = 0;
    while at < 12 {
        frames[at * 9 + 3] = if at == 0 { 1 } else { 9 };
        frames[at * 9 + 8] = 1;
        at += 1;
    }
    frames
};

/// What h2 says of it.
const ITS_WORD: &[u8] = b"too_many_continuations";

/// A client's connection. hyper owns it; what others need to know stands in [`Shared`].
#[derive(Debug)]
pub(crate) struct CountedIo<S> {
    io: S,
    /// Read before it was known that HTTP/2 is spoken.
    early: Bytes,
    /// Shown to h2 instead of what the client sends.
    told: &'static [u8],
    shared: Rc<Shared>,
}

/// What the connection's owner knows of its frames.
#[derive(Debug)]
pub(crate) struct Shared {
    frames: RefCell<Frames>,
    sent: RefCell<Sent>,
    head_since: Cell<Option<Tick>>,
}

impl<S> CountedIo<S> {
    pub(crate) fn new(io: S, early: Bytes, limits: &Http2Limits) -> (Self, Rc<Shared>) {
        let now = clock::now();
        let shared = Rc::new(Shared {
            frames: RefCell::new(Frames::new(limits, now)),
            sent: RefCell::default(),
            head_since: Cell::new(Some(now)),
        });
        (Self { io, early, told: &[], shared: shared.clone() }, shared)
    }

    /// What is to go out in the place of `buf`: the word for the limit that was met, where it stands there as a whole.
    fn reworded(&self, buf: &[u8]) -> Option<Vec<u8>> {
        let over = self.shared.over().filter(|_| self.shared.is_stopped())?;
        let mut said = buf.to_vec();
        self.shared.sent.borrow().reword(&mut said, ITS_WORD, over.as_str().as_bytes());
        Some(said)
    }

    /// Counts what stands in `buf` from `start` on, and takes away what may not pass.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, start: usize) {
        let fresh = buf.filled().get(start..).unwrap_or_default();
        let good = self.shared.judge(fresh);
        buf.set_filled(start + good);
        if self.shared.is_stopped() {
            self.told = &TOO_MUCH;
        }
    }
}

impl Shared {
    /// Since when the client owes a part of its preface or of a list of headers.
    pub(crate) const fn head_since(&self) -> Option<Tick> {
        self.head_since.get()
    }

    /// Which allowance was used up first.
    pub(crate) fn over(&self) -> Option<Over> {
        self.frames.borrow().over()
    }

    /// Streams that the client has opened.
    pub(crate) fn opened(&self) -> u64 {
        self.frames.borrow().opened()
    }

    /// Streams refused since the last call because too many were under way.
    pub(crate) fn take_refused(&self) -> u64 {
        self.sent.borrow_mut().take_refused()
    }

    /// The first `count` bytes of these went out.
    fn note_sent<'a>(&self, parts: impl Iterator<Item = &'a [u8]>, mut count: usize) {
        self.frames.borrow_mut().sent(count);
        let mut sent = self.sent.borrow_mut();
        for part in parts {
            let length = part.len().min(count);
            sent.feed(part.get(..length).unwrap_or_default());
            count -= length;
        }
    }

    fn judge(&self, fresh: &[u8]) -> usize {
        let now = clock::now();
        let mut frames = self.frames.borrow_mut();
        let good = frames.feed(fresh, now);
        if !frames.is_in_head() {
            self.head_since.set(None);
        } else if self.head_since.get().is_none() {
            self.head_since.set(Some(now));
        }
        good
    }

    fn is_stopped(&self) -> bool {
        self.frames.borrow().is_stopped()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedIo<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buf.filled().len();
        if this.shared.is_stopped() {
            // An end of input once it has been told.
            let length = this.told.len().min(buf.remaining());
            let (now, later) = this.told.split_at(length);
            buf.put_slice(now);
            this.told = later;
            return Poll::Ready(Ok(()));
        }
        if this.early.is_empty() {
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        } else {
            let length = this.early.len().min(buf.remaining());
            buf.put_slice(this.early.get(..length).unwrap_or_default());
            this.early.advance(length);
        }
        this.judge(buf, start);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let reworded = this.reworded(buf);
        let buf = reworded.as_deref().unwrap_or(buf);
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        this.shared.note_sent(std::iter::once(buf), written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.shared.is_stopped() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[], |first| first));
        }
        let this = self.get_mut();
        let written = ready!(join::poll_write(&mut this.io, cx, bufs))?;
        this.shared.note_sent(bufs.iter().map(|part| &**part), written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
