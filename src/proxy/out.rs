//! What is to be written to a client: text of ours, and pieces of bodies that are not copied unless they are small.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::http1::scratch::Scratch;
use crate::net::join;

/// A piece up to this is copied: one buffer costs the kernel less than two.
const SMALL: usize = 4096;
/// Bytes that are gathered before a write.
const FULL: usize = 128 * 1024;
/// Pieces that are written at once.
const PIECES: usize = 16;

/// Of one connection; whoever writes answers appends, and the connection's task writes it out. Holds no buffer while
/// there is nothing to be written.
#[derive(Debug)]
pub(super) struct Out {
    scratch: Rc<Scratch>,
    text: Vec<u8>,
    /// Pieces, each behind so many bytes of text.
    pieces: Vec<(usize, Bytes)>,
    /// Bytes of the pieces.
    length: usize,
    /// Bytes of all that are written.
    written: usize,
}

impl Out {
    pub(super) const fn new(scratch: Rc<Scratch>) -> Self {
        Self { scratch, text: Vec::new(), pieces: Vec::new(), length: 0, written: 0 }
    }

    /// To be appended to.
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        if self.text.capacity() == 0 {
            self.text = self.scratch.take_text();
        }
        &mut self.text
    }

    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() <= SMALL {
            self.text().extend_from_slice(&data);
        } else {
            self.length += data.len();
            self.pieces.push((self.text.len(), data));
        }
    }

    /// Whether to write before more is gathered.
    pub(super) const fn is_full(&self) -> bool {
        self.length + self.text.len() >= FULL || self.pieces.len() >= PIECES
    }

    /// Whether even text of ours must wait.
    pub(super) const fn is_overfull(&self) -> bool {
        self.length + self.text.len() >= 2 * FULL
    }

    /// Whether all is written.
    pub(super) const fn is_empty(&self) -> bool {
        self.length + self.text.len() == 0
    }

    /// Writes and flushes all of it.
    pub(super) fn poll_write<W>(&mut self, io: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        let whole = self.length + self.text.len();
        while self.written < whole {
            let written = if self.pieces.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(cx, self.text.get(self.written..).unwrap_or_default()))?
            } else {
                ready!(self.poll_pieces(io, cx))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        if whole > 0 {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.clear();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_pieces<W>(&self, io: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        W: AsyncWrite + Unpin,
    {
        let mut slices = [IoSlice::new(&[]); 2 * PIECES + 1];
        let (mut count, mut skip, mut at) = (0, self.written, 0);
        let mut written_of = |bytes: &'_ [u8]| {
            let skipped = skip.min(bytes.len());
            skip -= skipped;
            skipped
        };
        let ends = self.pieces.iter().map(|(end, piece)| (*end, Some(piece)));
        for (end, piece) in ends.chain(std::iter::once((self.text.len(), None))) {
            let text = self.text.get(at..end).unwrap_or_default();
            at = end;
            for bytes in [Some(text), piece.map(|piece| &piece[..])].into_iter().flatten() {
                let rest = bytes.get(written_of(bytes)..).unwrap_or_default();
                if let (false, Some(slot)) = (rest.is_empty(), slices.get_mut(count)) {
                    *slot = IoSlice::new(rest);
                    count += 1;
                }
            }
        }
        join::poll_write(io, cx, slices.get(..count).unwrap_or_default())
    }

    fn clear(&mut self) {
        self.scratch.give_text(&mut self.text);
        self.pieces.clear();
        (self.length, self.written) = (0, 0);
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.scratch.give_text(&mut self.text);
    }
}
