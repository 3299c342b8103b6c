//! An address as a machine: the load that it reports, whichever service uses it, and where its name leads.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::gauge::{Gauge, Reported};
use super::resolution::Resolution;
use crate::model::unit::{Ratio, Tick};

/// One `ip:port`, or `host:port`. Written by whoever hears a report (a worker for ORCA headers, the agents for polled
/// sources), read by the planner.
#[derive(Debug, Default)]
pub struct Endpoint {
    utilization: Gauge,
    /// Reports that were heard, whatever stood in them.
    heard: AtomicU64,
    /// Tick of the last one; 0 = none yet.
    heard_at: AtomicU64,
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

    /// Counts a report, and records its utilization, if it has one: it may bring named metrics only.
    pub fn hear(&self, utilization: Option<Ratio>, now: Tick) {
        self.heard.fetch_add(1, Relaxed);
        self.heard_at.store(now.0.max(1), Release);
        if let Some(utilization) = utilization {
            self.utilization.observe(utilization, now);
        }
    }

    /// Reports so far, and when the last one came.
    #[must_use]
    pub fn heard(&self) -> (u64, Option<Tick>) {
        let at = self.heard_at.load(Acquire);
        (self.heard.load(Relaxed), (at != 0).then_some(Tick(at)))
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
