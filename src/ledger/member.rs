//! A member as one service sees it: its health and its requests.

use std::sync::Mutex;
use std::sync::atomic::{
    AtomicU8, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::cell::{Cells, WorkerId};
use super::conduct::Conduct;
use crate::model::unit::{Span, Tick};

/// Live numbers of one member of one backend of one service. Made by the registry under (service, group, member
/// name, address), so that health and counters outlive a reload.
#[derive(Debug)]
pub struct Member {
    health: AtomicU8,
    /// When it was last asked by the prober, in ticks; 0 = never.
    last_probe: AtomicU64,
    detail: Mutex<ProbeDetail>,
    requests: Cells<{ Count::LEN }>,
    /// How it answers lately; kept only where a policy of the service asks for it.
    pub conduct: Conduct,
}

/// Detailed health state [G 4c].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Health {
    /// Not yet decided; treated and reported as UNHEALTHY [G 4.13].
    #[default]
    Unknown = 0,
    /// Passed its threshold.
    Healthy = 1,
    /// Failed its threshold.
    Unhealthy = 2,
    /// Failed its threshold, the last time by not answering in time.
    Timeout = 3,
}

impl Health {
    /// As Google writes the detailed state.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
            Self::Timeout => "TIMEOUT",
        }
    }

    /// The basic state that getHealth shows [G 4c].
    #[must_use]
    pub const fn basic(self) -> &'static str {
        if matches!(self, Self::Healthy) { "HEALTHY" } else { "UNHEALTHY" }
    }
}

/// Ground truth of the last probe.
#[derive(Debug, Clone, Default)]
pub struct ProbeDetail {
    /// When it ended; `None` before the first.
    pub at: Option<Tick>,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// Why, in words: `200 OK`, `connection refused`, `no answer within 5 s`.
    pub reason: String,
    /// From connect to verdict.
    pub latency: Span,
    /// Results of the same kind in a row.
    pub streak: u32,
}

/// What is counted per member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// Attempts sent.
    Started,
    /// Attempts that have ended, however.
    Finished,
    /// Attempts that failed before an answer: no connection, reset, timeout. They may have been retried elsewhere.
    Failed,
    /// Answers with a 5xx of the member's own.
    ServerErrors,
    /// Requests whose last word came from here, by class of the status that the client got; class 0 = none.
    Class0,
    /// 1xx (101).
    Class1,
    /// 2xx.
    Class2,
    /// 3xx.
    Class3,
    /// 4xx.
    Class4,
    /// 5xx, ours and the member's.
    Class5,
    /// Body bytes to the member.
    BytesUp,
    /// Body bytes from the member.
    BytesDown,
}

impl Count {
    /// How many there are.
    pub const LEN: usize = 12;

    /// The counter for a status; `None` status = the client got none.
    #[must_use]
    pub const fn class(status: Option<u16>) -> Self {
        match status {
            Some(100..=199) => Self::Class1,
            Some(200..=299) => Self::Class2,
            Some(300..=399) => Self::Class3,
            Some(400..=499) => Self::Class4,
            Some(_) => Self::Class5,
            None => Self::Class0,
        }
    }
}

impl Member {
    /// Unknown health, all zero.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            health: AtomicU8::new(Health::Unknown as u8),
            last_probe: AtomicU64::new(0),
            detail: Mutex::new(ProbeDetail::default()),
            requests: Cells::new(workers),
            conduct: Conduct::default(),
        }
    }

    /// For members that nobody probes [G 4.11].
    pub fn assume_healthy(&self) {
        self.health.store(Health::Healthy as u8, Release);
    }

    /// Detailed state.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.health.load(Acquire) {
            1 => Health::Healthy,
            2 => Health::Unhealthy,
            3 => Health::Timeout,
            _ => Health::Unknown,
        }
    }

    /// Whether new requests may go here.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health() == Health::Healthy
    }

    /// Records a probe; only the prober calls this. Returns whether the basic state changed.
    pub fn record_probe(&self, health: Health, detail: ProbeDetail) -> bool {
        if let Some(at) = detail.at {
            self.last_probe.store(at.0, Relaxed);
        }
        *self.detail.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = detail;
        let before = self.health.swap(health as u8, Release);
        (before == Health::Healthy as u8) != (health == Health::Healthy)
    }

    /// Whether at least one probe has ended.
    #[must_use]
    pub fn is_probed(&self) -> bool {
        self.last_probe.load(Relaxed) != 0
    }

    /// The last probe.
    #[must_use]
    pub fn probe_detail(&self) -> ProbeDetail {
        self.detail.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Adds one; worker's own thread only.
    #[inline]
    pub fn count(&self, worker: WorkerId, what: Count) {
        self.requests.add(worker, what as usize, 1);
    }

    /// Adds `by`; worker's own thread only.
    #[inline]
    pub fn add(&self, worker: WorkerId, what: Count, by: u64) {
        self.requests.add(worker, what as usize, by);
    }

    /// Sum over the workers.
    #[must_use]
    pub fn sum(&self, what: Count) -> u64 {
        self.requests.sum(what as usize)
    }

    /// Attempts under way. Finished is read first: a request that starts in between can only make it larger.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let finished = self.sum(Count::Finished);
        self.sum(Count::Started).saturating_sub(finished)
    }
}
