//! A backend of a service: its gate, how requests came to it, and how long they took.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::cell::{Cells, WorkerId};
use super::gate::Gate;
use super::histogram::Histogram;
use crate::balance::pick::Reason;
use crate::balance::plan::{Figures, MAX_METRICS, MetricFigures};

/// Live numbers of one backend. Keyed by (service, group).
#[derive(Debug)]
pub struct Backend {
    /// Room.
    pub gate: Gate,
    /// Time from the request's first byte to the answer's last, of requests that this backend answered.
    pub latency: Histogram,
    picks: Cells<{ Reason::ALL.len() }>,
    /// What the planner found last, for `/status` and metrics.
    pub shown: Shown,
}

/// Figures that the planner publishes for people; bits of `f64`.
#[derive(Debug, Default)]
pub struct Shown {
    capacity: AtomicU64,
    count_capacity: AtomicU64,
    in_flight: AtomicU64,
    rate: AtomicU64,
    fullness: AtomicU64,
    utilization: AtomicU64,
    is_auto_drained: AtomicBool,
    /// Mean and fullness of each custom metric.
    metrics: [(AtomicU64, AtomicU64); MAX_METRICS],
}

impl Backend {
    /// All zero and closed.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            gate: Gate::closed(),
            latency: Histogram::new(workers),
            picks: Cells::new(workers),
            shown: Shown::default(),
        }
    }

    /// Counts a request placed here for this reason.
    #[inline]
    pub fn count_pick(&self, worker: WorkerId, reason: Reason) {
        self.picks.add(worker, reason as usize, 1);
    }

    /// Requests placed here for this reason.
    #[must_use]
    pub fn picks(&self, reason: Reason) -> u64 {
        self.picks.sum(reason as usize)
    }
}

impl Shown {
    /// Planner only.
    pub fn store(&self, figures: Figures) {
        self.capacity.store(figures.capacity.to_bits(), Relaxed);
        self.count_capacity.store(figures.count_capacity.to_bits(), Relaxed);
        self.in_flight.store(figures.in_flight.to_bits(), Relaxed);
        self.rate.store(figures.rate.to_bits(), Relaxed);
        self.fullness.store(figures.fullness.to_bits(), Relaxed);
        self.utilization.store(figures.utilization.to_bits(), Relaxed);
        self.is_auto_drained.store(figures.is_auto_drained, Relaxed);
        for ((mean, fullness), figures) in self.metrics.iter().zip(figures.metrics) {
            mean.store(figures.mean.to_bits(), Relaxed);
            fullness.store(figures.fullness.to_bits(), Relaxed);
        }
    }

    /// For people.
    #[must_use]
    pub fn read(&self) -> Figures {
        let get = |cell: &AtomicU64| f64::from_bits(cell.load(Relaxed));
        Figures {
            capacity: get(&self.capacity),
            count_capacity: get(&self.count_capacity),
            in_flight: get(&self.in_flight),
            rate: get(&self.rate),
            fullness: get(&self.fullness),
            utilization: get(&self.utilization),
            is_auto_drained: self.is_auto_drained.load(Relaxed),
            metrics: self
                .metrics
                .each_ref()
                .map(|(mean, fullness)| MetricFigures { mean: get(mean), fullness: get(fullness) }),
        }
    }
}
