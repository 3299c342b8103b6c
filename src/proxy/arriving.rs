//! The body of a member's answer, as it comes on a connection of its own or on a stream of a shared one.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::http1::member::{Interrupted, Left};
use super::http1::scratch::Scratch;
use super::pool::Upstream;

/// See the module.
pub(crate) enum Arriving {
    /// What comes next on the connection; so much is left.
    Own(Left),
    /// A stream of HTTP/2.
    Shared(Incoming),
}

impl Arriving {
    /// The next part. `upstream`: the connection that it comes on, as long as it does.
    pub(super) fn poll_frame(
        &mut self,
        upstream: Option<&mut Upstream>,
        cx: &mut Context<'_>,
        scratch: &Scratch,
    ) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        match self {
            Self::Own(left) => {
                let Some(conn) = upstream.and_then(Upstream::own) else { return Poll::Ready(None) };
                let polled = conn.poll_frame(cx, scratch);
                *left = conn.left();
                polled
            }
            Self::Shared(incoming) => Pin::new(incoming)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|_| Interrupted))),
        }
    }

    /// Nothing is left.
    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(left) => *left == Left::Nothing,
            Self::Shared(incoming) => incoming.is_end_stream(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(Left::Nothing) => SizeHint::with_exact(0),
            Self::Own(Left::Exactly(left)) => SizeHint::with_exact(*left),
            Self::Own(Left::Unknown) => SizeHint::default(),
            Self::Shared(incoming) => incoming.size_hint(),
        }
    }
}
