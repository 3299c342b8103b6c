//! Pieces of bodies that were taken from one side and not yet taken by the other, counted until they are written or
//! thrown away.
//!
//! Each worker may hold its part of `maxBufferedMiB`. Above that a body of which something is still held waits until it
//! is not: who reads slowly has one piece at a time, and who keeps up hardly notices.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;

use crate::ledger::buffers::Buffer;

/// A body's first piece is not counted below this: most answers are one small piece, and counting costs an allocation.
const SMALL: usize = 4096;

/// What is held of one body.
#[derive(Debug)]
pub(crate) struct Hold {
    /// Nothing has been kept yet.
    is_first: bool,
    /// Made for the first piece that is counted.
    held: Option<Arc<Held>>,
}

impl Default for Hold {
    fn default() -> Self {
        Self { is_first: true, held: None }
    }
}

#[derive(Debug)]
struct Held {
    buffer: Arc<Buffer>,
    bytes: AtomicU64,
    /// Of a body that waits for room. hyper's client and quinn want to send pieces, hence no `Cell`.
    waker: Mutex<Option<Waker>>,
}

/// Counted until it is dropped.
struct Piece {
    bytes: Bytes,
    held: Arc<Held>,
}

impl Hold {
    /// Counts a piece.
    pub(crate) fn keep(&mut self, buffer: &Arc<Buffer>, bytes: Bytes) -> Bytes {
        if bytes.is_empty() || std::mem::replace(&mut self.is_first, false) && bytes.len() < SMALL {
            return bytes;
        }
        let held = self.held.get_or_insert_with(|| Held::new(buffer)).clone();
        let length = bytes.len() as u64;
        held.bytes.fetch_add(length, Relaxed);
        held.buffer.take(length);
        Bytes::from_owner(Piece { bytes, held })
    }

    /// Whether the body must wait, with `most` bytes for all of the worker; then it will be woken.
    pub(crate) fn must_wait(&self, most: impl FnOnce() -> u64, cx: &Context<'_>) -> bool {
        let Some(held) = &self.held else { return false };
        if held.bytes.load(Relaxed) == 0 || held.buffer.held() <= most() {
            return false;
        }
        let mut waker = held.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if waker.is_none() {
            held.buffer.count_wait();
        }
        *waker = Some(cx.waker().clone());
        true
    }
}

impl Held {
    fn new(buffer: &Arc<Buffer>) -> Arc<Self> {
        Arc::new(Self { buffer: buffer.clone(), bytes: AtomicU64::new(0), waker: Mutex::new(None) })
    }

    fn give_back(&self, bytes: u64) {
        self.buffer.give_back(bytes);
        if self.bytes.fetch_sub(bytes, Relaxed) > bytes {
            return;
        }
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.held.give_back(self.bytes.len() as u64);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ledger::buffers::Buffers;
    use crate::ledger::cell::WorkerId;

    fn waits(hold: &Hold, most: u64) -> bool {
        hold.must_wait(|| most, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_piece_counts_until_the_last_part_of_it_is_gone() {
        let buffers = Buffers::new(1);
        let buffer = buffers.of(WorkerId(0));
        let mut hold = Hold::default();
        let mut piece = hold.keep(&buffer, Bytes::from(vec![1; SMALL]));
        let part = piece.split_to(10);
        drop(piece);
        assert_eq!((part.len(), buffers.held()), (10, SMALL as u64));
        drop(part);
        assert_eq!(buffers.held(), 0);
    }

    #[test]
    fn a_small_first_piece_is_not_worth_counting_and_a_second_one_is() {
        let buffers = Buffers::new(1);
        let buffer = buffers.of(WorkerId(0));
        let mut hold = Hold::default();
        let first = hold.keep(&buffer, Bytes::from_static(b"small"));
        assert_eq!(buffers.held(), 0);
        let second = hold.keep(&buffer, Bytes::from_static(b"next"));
        assert_eq!((&first[..], &second[..], buffers.held()), (&b"small"[..], &b"next"[..], 4));
    }

    #[test]
    fn without_room_a_body_waits_while_something_of_it_is_held_and_no_other_does() {
        let buffers = Buffers::new(1);
        let buffer = buffers.of(WorkerId(0));
        let (mut slow, mut prompt) = (Hold::default(), Hold::default());
        let kept = slow.keep(&buffer, Bytes::from(vec![1; 2 * SMALL]));
        drop(prompt.keep(&buffer, Bytes::from(vec![1; SMALL])));
        assert!(!waits(&slow, 2 * SMALL as u64), "there is room");
        assert!(waits(&slow, SMALL as u64) && waits(&slow, SMALL as u64));
        assert!(!waits(&prompt, SMALL as u64));
        assert_eq!(buffers.waits(), 1, "one wait, however often it is looked at");
        drop(kept);
        assert!(!waits(&slow, 0));
    }
}
