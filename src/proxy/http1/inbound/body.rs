//! The body of a request, read from the client's socket by whoever asks for it.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Inbound, Talk};
use crate::proxy::guard::Phase;

/// See the module. It ends before its connection goes on to the next request, or with the connection.
pub(crate) struct Body {
    /// `None` once it has ended.
    from: Option<Rc<dyn Bring>>,
    /// Bytes still to come, where the head says.
    left: Option<u64>,
}

/// A connection, whatever it runs over.
pub(crate) trait Bring {
    fn talk(&self) -> &Talk;

    /// The next piece of the body under way; `None` at its end.
    fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>>;

    /// Whether a part of the body under way has not come yet. Nobody reads it from here on.
    fn owes_body(&self) -> bool;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Bring for Inbound<S> {
    fn talk(&self) -> &Talk {
        &self.talk
    }

    fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        self.wire.borrow_mut().poll_piece(cx, (&self.talk, &self.scratch))
    }

    fn owes_body(&self) -> bool {
        self.talk.phase() == Phase::Body && !self.wire.borrow_mut().skip_held(&self.talk)
    }
}

impl Body {
    /// None.
    pub(super) const fn empty() -> Self {
        Self { from: None, left: Some(0) }
    }

    /// As long as `left` says, or to its last chunk.
    pub(super) fn new(from: Rc<dyn Bring>, left: Option<u64>) -> Self {
        Self { from: Some(from), left }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(from) = &self.from else { return Poll::Ready(None) };
        let polled = from.poll_piece(cx).map(Result::transpose);
        match &polled {
            Poll::Ready(Some(Ok(piece))) => {
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(piece.len() as u64);
                    if *left == 0 {
                        self.from = None;
                    }
                }
            }
            Poll::Ready(_) => self.from = None,
            Poll::Pending => {}
        }
        polled.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    /// Nothing is left.
    pub(crate) const fn is_end_stream(&self) -> bool {
        self.from.is_none()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
