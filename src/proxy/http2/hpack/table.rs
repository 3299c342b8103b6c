//! The fields that a client may point at: those that everybody knows, then those that it has said, newest first.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::field::Entry;
use super::statics::FIELDS;

/// Bytes of entries, as they are counted: what a client may use as long as we announce nothing else [RFC 9113 6.5.2].
pub(super) const MAX_SIZE: usize = 4096;
/// Values of entries are cut from pieces of memory of this size, which no other connection shares: an entry may stay for
/// days, and would keep all of a worker's larger piece. As entries go in the order in which they came, those that stay
/// share their pieces with one another.
const PIECE: usize = 512;

/// One per connection.
#[derive(Debug)]
pub(super) struct Table {
    /// The newest is in front.
    entries: VecDeque<Entry>,
    /// Of all entries.
    size: usize,
    /// What the client has chosen, at most [`MAX_SIZE`].
    max: usize,
    piece: BytesMut,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new(), size: 0, max: MAX_SIZE, piece: BytesMut::new() }
    }

    /// What an index stands for. 0 stands for nothing.
    #[inline]
    pub(super) fn find(&self, index: usize) -> Option<&Entry> {
        let at = index.wrapping_sub(1);
        FIELDS.get(at).or_else(|| self.entries.get(at - FIELDS.len()))
    }

    pub(super) const fn has_room(&self, size: usize) -> bool {
        size <= self.max
    }

    /// Takes an entry; the oldest make room for it. One that is larger than the table empties it [RFC 7541 4.4].
    pub(super) fn push(&mut self, entry: Entry) {
        if !self.has_room(entry.size) {
            self.clear();
            return;
        }
        self.shrink(self.max - entry.size);
        self.size += entry.size;
        self.entries.push_front(entry);
    }

    /// Bounds it anew. `max` is at most [`MAX_SIZE`].
    pub(super) fn resize(&mut self, max: usize) {
        debug_assert!(max <= MAX_SIZE, "the decoder refuses more");
        self.max = max;
        if max == 0 {
            self.clear();
        } else {
            self.shrink(max);
        }
    }

    /// A copy of a value that goes into the table.
    pub(super) fn keep(&mut self, value: &[u8]) -> Bytes {
        if value.len() >= PIECE / 4 {
            return Bytes::copy_from_slice(value);
        }
        if self.piece.capacity() < value.len() {
            self.piece = BytesMut::with_capacity(PIECE);
        }
        self.piece.extend_from_slice(value);
        self.piece.split().freeze()
    }

    fn shrink(&mut self, size: usize) {
        while self.size > size
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size;
        }
    }

    /// Forgets all entries, and gives their memory back.
    fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.piece = BytesMut::new();
        self.size = 0;
    }
}

#[cfg(test)]
impl Table {
    /// The size, which is checked to be that of the entries.
    pub(super) fn size(&self) -> usize {
        let size = self.entries.iter().map(|entry| entry.size).sum();
        assert_eq!(self.size, size);
        assert!(size <= self.max && self.max <= MAX_SIZE);
        size
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.field.line()).collect()
    }

    pub(super) fn has_memory(&self) -> bool {
        self.entries.capacity() > 0 || self.piece.capacity() > 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::field::Name;
    use super::*;

    /// An entry of this size, from 34.
    fn entry(size: usize) -> Entry {
        let entry = Entry::read(Name::read(b"x").unwrap(), &vec![b'a'; size - 33], Bytes::copy_from_slice);
        let entry = entry.unwrap();
        assert_eq!(entry.size, size);
        entry
    }

    #[test]
    fn the_oldest_make_room_and_no_more_than_must() {
        let mut table = Table::new();
        for size in 1000..1005 {
            table.push(entry(size));
        }
        assert_eq!(table.size(), 1001 + 1002 + 1003 + 1004);
        table.push(entry(1087));
        assert_eq!(table.size(), 4096);
        assert_eq!(table.find(62).unwrap().size, 1087);
        assert_eq!(table.find(65).unwrap().size, 1002);
        table.push(entry(34));
        assert_eq!(table.size(), 4096 - 1002 + 34);
        table.push(entry(4096));
        assert_eq!((table.size(), table.entries.len()), (4096, 1));
    }

    #[test]
    fn an_entry_that_is_too_large_empties_it() {
        let mut table = Table::new();
        table.push(entry(34));
        table.push(entry(4097));
        assert_eq!((table.size(), table.entries.len()), (0, 0));
        table.resize(100);
        table.push(entry(34));
        table.push(entry(101));
        assert_eq!((table.size(), table.entries.len(), table.has_memory()), (0, 0, false));
    }

    #[test]
    fn a_smaller_bound_holds_at_once_and_for_what_comes() {
        let mut table = Table::new();
        (0..10).for_each(|_| table.push(entry(100)));
        table.resize(399);
        assert_eq!(table.size(), 300);
        table.resize(4096);
        assert_eq!(table.size(), 300);
        table.resize(0);
        assert!(table.size() == 0 && !table.has_memory());
        table.push(entry(34));
        assert_eq!(table.size(), 0);
    }

    #[test]
    fn an_index_behind_all_entries_or_before_them_finds_nothing() {
        let mut table = Table::new();
        for index in [0, 62, 63, usize::MAX] {
            assert!(table.find(index).is_none(), "{index}");
        }
        table.push(entry(34));
        assert!(table.find(61).is_some() && table.find(62).is_some() && table.find(63).is_none());
    }

    #[test]
    fn kept_values_share_small_pieces() {
        let mut table = Table::new();
        assert!(!table.has_memory());
        for length in [0, 1, 127, 128, 4000] {
            let value = vec![b'v'; length];
            assert_eq!(table.keep(&value), value);
        }
        for _ in 0..1000 {
            assert_eq!(table.keep(b"abc"), "abc");
            assert!(table.piece.capacity() <= PIECE);
        }
    }
}
