//! Counters that each worker writes alone and any thread may sum.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Number of a data worker, 0 and up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerId(pub usize);

/// `N` counters for each worker, every worker's on cache lines of its own.
#[derive(Debug)]
pub struct Cells<const N: usize> {
    per_worker: Box<[Padded<N>]>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Padded<const N: usize>([AtomicU64; N]);

impl<const N: usize> Cells<N> {
    /// All zero, for `workers` workers and at least one.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let zeroed = || Padded(std::array::from_fn(|_| AtomicU64::new(0)));
        Self { per_worker: (0..workers.max(1)).map(|_| zeroed()).collect() }
    }

    /// Adds to a counter. Only the thread of `worker` may call this; a plain load and store then suffice.
    /// Out of range is ignored.
    #[inline]
    pub fn add(&self, worker: WorkerId, which: usize, by: u64) {
        if let Some(cell) = self.per_worker.get(worker.0).and_then(|p| p.0.get(which)) {
            cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
        }
    }

    /// Sum over the workers; 0 when out of range.
    #[must_use]
    pub fn sum(&self, which: usize) -> u64 {
        self.per_worker
            .iter()
            .filter_map(|p| p.0.get(which))
            .fold(0, |sum, c| sum.wrapping_add(c.load(Relaxed)))
    }

    /// All sums.
    #[must_use]
    pub fn sums(&self) -> [u64; N] {
        std::array::from_fn(|which| self.sum(which))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_adds_alone_and_the_reader_sees_the_sum() {
        let cells = std::sync::Arc::new(Cells::<2>::new(3));
        let threads: Vec<_> = (0..3)
            .map(|w| {
                let cells = cells.clone();
                std::thread::spawn(move || (0..10_000).for_each(|_| cells.add(WorkerId(w), 1, 2)))
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(cells.sums(), [0, 60_000]);
    }
}
