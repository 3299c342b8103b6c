//! An address as a machine: the load that it reports, whichever service uses it.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::model::unit::{Ratio, Tick};

/// Reported load of one `ip:port`. Written by whoever hears a report (a worker for ORCA headers, the agents for
/// polled sources), read by the planner.
#[derive(Debug, Default)]
pub struct Endpoint {
    /// Bits of the last utilization.
    utilization: AtomicU64,
    /// Tick of the last report; 0 = none yet.
    reported_at: AtomicU64,
    /// Reports heard.
    reports: AtomicU64,
    /// Reports that could not be read.
    malformed: AtomicU64,
    /// Sum of utilizations since the start, in millionths: the planner takes the mean between two ticks.
    total_micros: AtomicU64,
}

/// A reading of the planner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reported {
    /// Last value.
    pub utilization: Ratio,
    /// When; `None` = never.
    pub at: Option<Tick>,
    /// How many so far.
    pub reports: u64,
    /// Sum of all values so far, in millionths.
    pub total_micros: u64,
}

impl Endpoint {
    /// Records a report. Values are capped at 1000 (100,000 %).
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn observe(&self, utilization: Ratio, now: Tick) {
        let value = utilization.get().min(1000.0);
        self.utilization.store(value.to_bits(), Relaxed);
        self.total_micros.fetch_add((value * 1e6) as u64, Relaxed);
        self.reports.fetch_add(1, Relaxed);
        self.reported_at.store(now.0.max(1), Release);
    }

    /// Counts a report that could not be read; it changes nothing else.
    pub fn count_malformed(&self) {
        self.malformed.fetch_add(1, Relaxed);
    }

    /// Malformed reports so far.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Relaxed)
    }

    /// A reading.
    #[must_use]
    pub fn read(&self) -> Reported {
        let at = self.reported_at.load(Acquire);
        Reported {
            utilization: Ratio::new(f64::from_bits(self.utilization.load(Relaxed))),
            at: (at != 0).then_some(Tick(at)),
            reports: self.reports.load(Relaxed),
            total_micros: self.total_micros.load(Relaxed),
        }
    }
}
