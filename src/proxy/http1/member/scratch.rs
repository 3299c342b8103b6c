//! What a worker's connections to members read into and write from: idle and waiting ones hold no buffers.

use std::cell::{RefCell, RefMut};

use bytes::BytesMut;

/// Room for the first read of an answer, and for those of slow ones.
pub(super) const FIRST: usize = 16 * 1024;
/// Room for a read where the one before was full. Reads are cut from a block of that size.
pub(super) const MOST: usize = 128 * 1024;
/// Bytes of heads that are going out for which room is kept.
const TEXT: usize = 64 * 1024;

/// One per worker.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    inflow: RefCell<BytesMut>,
    text: RefCell<BytesMut>,
}

impl Scratch {
    /// To be read into: empty, with room for at least `room` bytes. What was read is to be taken out.
    pub(super) fn inflow(&self, room: usize) -> RefMut<'_, BytesMut> {
        let mut inflow = self.inflow.borrow_mut();
        if inflow.capacity() < room && !inflow.try_reclaim(room) {
            *inflow = BytesMut::with_capacity(MOST);
        }
        inflow
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
}
