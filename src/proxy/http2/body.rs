//! The body of a request, as its stream brings it.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::stream::{Piece, Reset, Stream};

/// See the module. Dropped early, the rest is not kept.
pub(crate) struct Body {
    /// `None` once it has ended.
    from: Option<Rc<Stream>>,
    /// Bytes still to come, where the head says.
    left: Option<u64>,
}

impl Body {
    /// None.
    pub(super) const fn empty() -> Self {
        Self { from: None, left: Some(0) }
    }

    /// As long as `length` says, or to its end.
    pub(super) fn new(from: Rc<Stream>, length: Option<u64>) -> Self {
        from.want();
        Self { from: Some(from), left: length }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reset>>> {
        let Some(from) = &self.from else { return Poll::Ready(None) };
        let polled = from.poll_piece(cx);
        if let (Poll::Ready(Ok(Some(Piece::Data(data)))), Some(left)) = (&polled, &mut self.left) {
            *left = left.saturating_sub(data.len() as u64);
        }
        if matches!(polled, Poll::Ready(Ok(None) | Err(_))) || from.up.borrow().is_over() {
            self.end();
        }
        polled.map(|polled| {
            polled.transpose().map(|piece| {
                piece.map(|piece| match piece {
                    Piece::Data(data) => Frame::data(data),
                    Piece::Trailers(trailers) => Frame::trailers(trailers),
                })
            })
        })
    }

    /// Nothing is left.
    pub(crate) const fn is_end_stream(&self) -> bool {
        self.from.is_none()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn end(&mut self) {
        if let Some(from) = self.from.take() {
            from.unwant();
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.end();
    }
}
