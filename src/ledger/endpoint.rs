//! An address as a machine: the load that it reports, whichever service uses it, and where its name leads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::gauge::{Gauge, Reported};
use super::resolution::Resolution;
use crate::model::unit::{Ratio, Tick};

/// One `ip:port`, or `host:port`. Written by whoever hears a report (a worker for ORCA headers, the agents for polled
/// sources), read by the planner.
#[derive(Debug, Default)]
pub struct Endpoint {
    utilization: Gauge,
    /// Reports that could not be read.
    malformed: AtomicU64,
    /// Where its host leads; `None` for one that is known by address.
    pub resolution: Option<Resolution>,
}

impl Endpoint {
    /// One that is known by a host name, which nobody has looked up yet.
    #[must_use]
    pub fn named() -> Self {
        Self { resolution: Some(Resolution::default()), ..Self::default() }
    }

    /// Records a reported utilization.
    pub fn observe(&self, utilization: Ratio, now: Tick) {
        self.utilization.observe(utilization, now);
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

    /// The reported utilization.
    #[must_use]
    pub fn read(&self) -> Reported {
        self.utilization.read()
    }
}
