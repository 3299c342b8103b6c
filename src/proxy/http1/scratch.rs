//! What a worker's connections read into and write from: idle and waiting ones hold no buffers.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Room for the first read of a body, and for those of slow ones.
pub(super) const FIRST: usize = 16 * 1024;
/// Room for a read where the one before was full.
pub(super) const MOST: usize = 128 * 1024;
/// Pieces of a body below this are copied, lest they keep the whole of a large buffer.
pub(super) const SMALL: usize = 8 * 1024;
/// Bytes that are read at once where nothing may come, or what comes is copied: more than any head.
const GLANCE: usize = 80 * 1024;
/// Short texts are cut from pieces of memory of this size: an allocation for some twenty requests. A request that takes
/// long keeps no more than that in memory.
const ARENA: usize = 4096;
/// Bytes of heads that are going out for which room is kept.
const TEXT: usize = 64 * 1024;

/// Maps of headers that are kept for others.
const MAPS: usize = 64;
/// Headers that such a map has room for, at most.
const ROOM: usize = 48;

/// One per worker.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    inflow: RefCell<BytesMut>,
    glance: RefCell<Box<[u8]>>,
    arena: RefCell<BytesMut>,
    text: RefCell<Vec<u8>>,
    maps: RefCell<Vec<HeaderMap>>,
}

impl Scratch {
    /// Reads a piece; nothing at the end. `is_fast`: whether the last read could have had more. What is short is copied
    /// where `is_body`.
    pub(super) fn poll_read<S: AsyncRead + Unpin>(
        &self,
        io: &mut S,
        cx: &mut Context<'_>,
        (is_fast, is_body): (&mut bool, bool),
    ) -> Poll<io::Result<BytesMut>> {
        let mut inflow = self.inflow.borrow_mut();
        let room = if *is_fast { MOST } else { FIRST };
        if inflow.capacity() < room && !inflow.try_reclaim(room) {
            // A piece that a slow client does not take keeps all of its block: that is not made much larger than it.
            *inflow = BytesMut::with_capacity(room.max(2 * FIRST));
        }
        let offered = inflow.capacity();
        let read = ready!(pin!(io.read_buf(&mut *inflow)).poll(cx))?;
        *is_fast = read == offered || *is_fast && read >= FIRST;
        if read < SMALL && is_body {
            let copy = BytesMut::from(&**inflow);
            inflow.clear();
            return Poll::Ready(Ok(copy));
        }
        Poll::Ready(Ok(inflow.split()))
    }

    /// Lends a buffer for one read, of which nothing stays.
    pub(crate) fn glance<T>(&self, read: impl FnOnce(&mut [u8]) -> T) -> T {
        let mut glance = self.glance.borrow_mut();
        if glance.is_empty() {
            *glance = vec![0; GLANCE].into();
        }
        read(&mut glance)
    }

    /// A copy, cut from a larger piece of memory unless it is long.
    pub(crate) fn cut(&self, text: &[u8]) -> Bytes {
        if text.len() >= ARENA / 4 {
            return Bytes::copy_from_slice(text);
        }
        let mut arena = self.arena.borrow_mut();
        if arena.capacity() < text.len() {
            *arena = BytesMut::with_capacity(ARENA);
        }
        arena.extend_from_slice(text);
        arena.split().freeze()
    }

    /// Whether nobody has anything of what was read.
    #[cfg(test)]
    pub(crate) fn is_free(&self) -> bool {
        self.inflow.borrow_mut().try_reclaim(2 * FIRST)
    }

    /// To be written from: empty.
    pub(crate) fn take_text(&self) -> Vec<u8> {
        self.text.take()
    }

    /// Takes it back.
    pub(crate) fn give_text(&self, text: &mut Vec<u8>) {
        let mut text = std::mem::take(text);
        if text.capacity() > 0 && text.capacity() <= TEXT {
            text.clear();
            self.text.replace(text);
        }
    }

    /// An empty map with room for so many headers: one that nobody needs any more, or a new one.
    pub(crate) fn take_map(&self, room: usize) -> HeaderMap {
        let spare = self.maps.borrow_mut().pop();
        let mut map = spare.unwrap_or_default();
        map.reserve(room);
        map
    }

    /// Keeps a map that nobody needs any more, for the next who needs one.
    pub(crate) fn give_map(&self, mut map: HeaderMap) {
        let mut maps = self.maps.borrow_mut();
        if map.capacity() > 0 && map.capacity() <= ROOM && maps.len() < MAPS {
            map.clear();
            maps.push(map);
        }
    }
}
