//! What a run has shown: a row for each piece of time, with figures by backend and by clients' region.

use super::histogram::Histogram;
use crate::balance::pick::Reason;

/// How many reasons there are.
pub const REASONS: usize = Reason::ALL.len();

/// The result of a run.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// In the order of time.
    pub rows: Vec<Row>,
}

/// One piece of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where it ends, in seconds.
    pub end: f64,
    /// By service.
    pub services: Vec<ServiceRow>,
}

/// One service in one piece of time.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRow {
    /// By backend.
    pub backends: Vec<BackendRow>,
    /// By clients' region, as the scenario's origins.
    pub origins: Vec<OriginRow>,
}

/// One backend in one piece of time. Rates are per second.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BackendRow {
    /// What it got, and for which reasons; how it answered.
    pub traffic: Traffic,
    /// Requests per second up to which it is filled, by all proxies together; infinite = not limited in time.
    pub capacity: f64,
    /// True load ÷ target, whichever target is nearer; NaN where there is no target.
    pub fullness: f64,
    /// Mean utilization of its healthy members; NaN without any.
    pub utilization: f64,
    /// Under way, mean over the ticks.
    pub in_flight: f64,
    /// Healthy members at the end.
    pub healthy: u32,
    /// All members at the end.
    pub members: u32,
}

/// Clients of one region in one piece of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OriginRow {
    /// What became of their requests.
    pub traffic: Traffic,
    /// Requests per second that no healthy member was found for.
    pub unserved: f64,
    /// Requests per second turned away because everything was full.
    pub rejected: f64,
}

/// Requests per second and what became of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Traffic {
    /// Placed, by [`Reason`].
    pub reasons: [f64; REASONS],
    /// Ended with a 5xx.
    pub errors: f64,
    /// Median latency in seconds; NaN without requests.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

impl Traffic {
    /// Placed in all.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.reasons.iter().sum()
    }

    /// Placed elsewhere than in the first tier.
    #[must_use]
    pub fn spilled(&self) -> f64 {
        let at_home = [Reason::Nearest as usize, Reason::Session as usize, Reason::FailOpen as usize];
        (0..).zip(&self.reasons).filter(|(n, _)| !at_home.contains(n)).map(|(_, rate)| rate).sum()
    }
}

/// Counts while a row is being made.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// By reason.
    pub(super) reasons: [f64; REASONS],
    /// Ended with a 5xx.
    pub(super) errors: f64,
    /// Without any healthy member.
    pub(super) unserved: f64,
    /// Turned away.
    pub(super) rejected: f64,
    /// Requests under way, summed over the ticks.
    pub(super) in_flight: f64,
    /// Of all that ended.
    pub(super) latency: Histogram,
}

impl Counts {
    /// Requests placed.
    pub(super) fn place(&mut self, reason: Reason, amount: f64) {
        if let Some(count) = self.reasons.get_mut(reason as usize) {
            *count += amount;
        }
    }

    /// A request has ended.
    pub(super) fn end(&mut self, seconds: f64, fails: bool) {
        self.errors += f64::from(u8::from(fails));
        self.latency.add(seconds, 1.0);
    }

    /// The figures of `seconds`; everything is zero again.
    pub(super) fn close(&mut self, seconds: f64) -> OriginRow {
        let row = OriginRow {
            traffic: Traffic {
                reasons: self.reasons.map(|count| count / seconds),
                errors: self.errors / seconds,
                p50: self.latency.quantile(0.5),
                p99: self.latency.quantile(0.99),
            },
            unserved: self.unserved / seconds,
            rejected: self.rejected / seconds,
        };
        self.latency.clear();
        *self = Self { latency: std::mem::take(&mut self.latency), ..Self::default() };
        row
    }
}
