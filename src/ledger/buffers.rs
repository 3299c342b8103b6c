//! Bytes of bodies that wait between a member and a client, by worker, and how often one had to wait for room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::cell::WorkerId;

/// One per process.
#[derive(Debug)]
pub struct Buffers {
    per_worker: Box<[Arc<Buffer>]>,
}

/// Of one worker, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Buffer {
    held: AtomicU64,
    waits: AtomicU64,
}

impl Buffers {
    /// For `workers` workers and at least one.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { per_worker: (0..workers.max(1)).map(|_| Arc::default()).collect() }
    }

    /// A worker's; nobody reads that of a worker who is not there.
    #[must_use]
    pub fn of(&self, worker: WorkerId) -> Arc<Buffer> {
        self.per_worker.get(worker.0).cloned().unwrap_or_default()
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.per_worker.iter().map(|buffer| buffer.held()).sum()
    }

    /// How often a body had to wait for room.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.per_worker.iter().map(|buffer| buffer.waits.load(Relaxed)).sum()
    }
}

impl Buffer {
    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    /// So many more.
    pub fn take(&self, bytes: u64) {
        self.held.fetch_add(bytes, Relaxed);
    }

    /// So many fewer; each is given back once.
    pub fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Relaxed);
    }

    /// A body has begun to wait.
    pub fn count_wait(&self) {
        self.waits.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_hold_adds_up() {
        let buffers = Buffers::new(2);
        let (a, b) = (buffers.of(WorkerId(0)), buffers.of(WorkerId(1)));
        a.take(10);
        b.take(5);
        b.count_wait();
        a.give_back(4);
        assert_eq!((a.held(), buffers.held(), buffers.waits()), (6, 11, 1));
    }
}
