//! What a worker's connections read into and write from: idle and waiting ones hold no buffers.

use std::cell::{RefCell, RefMut};

use bytes::BytesMut;
use http::HeaderMap;

/// Room for the first read of an answer, and for those of slow ones.
pub(super) const FIRST: usize = 16 * 1024;
/// Room for a read where the one before was full.
pub(super) const MOST: usize = 128 * 1024;
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
    text: RefCell<BytesMut>,
    maps: RefCell<Vec<HeaderMap>>,
}

impl Scratch {
    /// To be read into: empty, with room for at least `room` bytes. What was read is to be taken out.
    pub(super) fn inflow(&self, room: usize) -> RefMut<'_, BytesMut> {
        let mut inflow = self.inflow.borrow_mut();
        if inflow.capacity() < room && !inflow.try_reclaim(room) {
            // A piece that a slow client does not take keeps all of its block: that is not made much larger than it.
            *inflow = BytesMut::with_capacity(room.max(2 * FIRST));
        }
        inflow
    }

    /// Whether nobody has anything of what was read.
    #[cfg(test)]
    pub(crate) fn is_free(&self) -> bool {
        self.inflow.borrow_mut().try_reclaim(2 * FIRST)
    }

    /// To be written from: empty.
    pub(super) fn take_text(&self) -> BytesMut {
        self.text.take()
    }

    /// Takes it back.
    pub(super) fn give_text(&self, text: &mut BytesMut) {
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
