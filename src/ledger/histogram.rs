//! Latency in fixed log buckets, per worker.

use super::cell::{Cells, WorkerId};
use crate::model::unit::Span;

/// Upper bounds in microseconds; one more bucket takes the rest.
pub const BOUNDS_US: [u64; 20] = [
    100, 250, 500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 20_000, 30_000, 50_000, 75_000, 100_000,
    250_000, 500_000, 1_000_000, 2_500_000, 10_000_000, 60_000_000,
];
const BUCKETS: usize = BOUNDS_US.len() + 1;
/// Place of the sum of all values, in microseconds.
const SUM: usize = BUCKETS;

/// Counts per bucket and the sum.
#[derive(Debug)]
pub struct Histogram {
    cells: Cells<{ BUCKETS + 1 }>,
}

/// A reading.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Values in each bucket, not cumulated.
    pub buckets: [u64; BUCKETS],
    /// Sum of all values, in seconds.
    pub sum_seconds: f64,
}

impl Histogram {
    /// Empty.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { cells: Cells::new(workers) }
    }

    /// Adds a value, rounded down to microseconds.
    #[inline]
    pub fn observe(&self, worker: WorkerId, value: Span) {
        let us = value.0 / 1_000;
        self.cells.add(worker, BOUNDS_US.partition_point(|bound| *bound < us), 1);
        self.cells.add(worker, SUM, us);
    }

    /// Sums over the workers.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn read(&self) -> Reading {
        Reading {
            buckets: std::array::from_fn(|i| self.cells.sum(i)),
            sum_seconds: self.cells.sum(SUM) as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_that_bucket() {
        let h = Histogram::new(1);
        for us in [100, 101, 60_000_001] {
            h.observe(WorkerId(0), Span(us * 1000));
        }
        let reading = h.read();
        assert_eq!((reading.buckets[0], reading.buckets[1], reading.buckets[20]), (1, 1, 1));
        assert!((reading.sum_seconds - 60.000_202).abs() < 1e-9);
    }
}
