//! A client's socket, read in frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::http1::scratch::Scratch;

/// See the module.
pub(super) struct Wire<S> {
    pub(super) io: S,
    /// What has come of a frame. Empty and without memory when idle.
    held: Vec<u8>,
    /// Nobody has looked at what is held.
    is_fresh: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// `early`: what was read from it already.
    pub(super) fn new(io: S, early: &[u8]) -> Self {
        Self { io, held: early.to_vec(), is_fresh: !early.is_empty() }
    }

    /// Reads once. `take` is shown what has come, says how much of it was used, and sees the rest again with what comes
    /// next. Whether the client goes on.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<bool>> {
        if std::mem::take(&mut self.is_fresh) {
            let used = take(&self.held);
            self.held.drain(..used.min(self.held.len()));
            return Poll::Ready(Ok(true));
        }
        scratch.glance(|buffer| {
            let before = self.held.len();
            let room = buffer.get_mut(before..).unwrap_or_default();
            let mut read = ReadBuf::new(room);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            let came = read.filled().len();
            if came == 0 {
                return Poll::Ready(Ok(false));
            }
            let bytes = buffer.get_mut(..before + came).unwrap_or_default();
            if let Some(place) = bytes.get_mut(..before) {
                place.copy_from_slice(&self.held);
            }
            let rest = bytes.get(take(bytes)..).unwrap_or_default();
            if rest.is_empty() {
                self.held = Vec::new();
            } else {
                self.held.clear();
                self.held.extend_from_slice(rest);
            }
            Poll::Ready(Ok(true))
        })
    }
}
