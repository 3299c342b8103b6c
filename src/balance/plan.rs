//! What the planner publishes and the hot path reads: tiers for each origin, shares inside a tier, usable members.

use std::sync::Arc;

use super::gcra::Limit;
use super::maglev::Maglev;
use super::pick::Reason;
use super::ring::Ring;
use crate::model::place::RegionId;
use crate::model::policy::{Locality, Overload};
use crate::model::unit::{Ratio, Tick};

/// Immutable. One per service; replaced whole when health, weights or members change.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// By `OriginId`.
    pub origins: Vec<Order>,
    /// By backend index of the service.
    pub backends: Vec<Usable>,
    /// What is done with requests that find every tier full.
    pub overload: Overload,
    /// How a member is chosen inside a backend.
    pub locality: Locality,
    /// No member is healthy, and the service tries all of them (`failOpen`).
    pub is_open: bool,
}

/// The order in which backends are tried for clients of one origin.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Nearest first.
    pub tiers: Vec<Tier>,
    /// Where requests go first when every tier is full: backends whose limit is a guess that nothing confirms yet.
    pub guesses: Shares,
    /// Where requests go then: all usable backends of the tiers, in proportion to capacity [G 2.6].
    pub overfill: Shares,
    /// By tier: its backends, usable or not. No choice reads it.
    pub roster: Vec<Arc<[u32]>>,
    /// What isolation keeps requests from: each region with its backends [G 2.15]. No choice reads it.
    pub isolated: Vec<(RegionId, Arc<[u32]>)>,
}

/// Backends that are tried together.
#[derive(Debug, Clone)]
pub struct Tier {
    /// Their region; in SPRAY_TO_WORLD the nearest one.
    pub region: RegionId,
    /// In proportion to capacity; empty when no backend here can be used.
    pub shares: Shares,
    /// In proportion to configured size and health: does not move with measured load, so that sessions stay.
    pub affinity_shares: Shares,
    /// Why requests that find no room here go on: [`Reason::Full`], or why no backend can be used at all.
    pub reason_to_leave: Reason,
    /// Part of the requests that may stay, of 2^64: all, unless too few members are healthy [G 2.14].
    pub keep: u64,
}

/// The members of a backend that may get requests.
#[derive(Debug, Clone, Default)]
pub struct Usable {
    /// Indices of healthy members; empty when the backend is drained or has none.
    pub members: Arc<[u32]>,
    /// Weights over **places in `members`**, where they are not all alike (slow start, reported weights).
    pub weights: Option<Arc<Shares>>,
    /// The same members by hash; only for services with affinity.
    pub hashed: Option<Hashed>,
    /// What the backend is called in the rendezvous of session keys: stays the same when backends change places in
    /// the file; see [`super::hash::group`].
    pub identity: u64,
}

/// Members by hash of a session key.
#[derive(Debug, Clone)]
pub enum Hashed {
    /// RING_HASH.
    Ring(Arc<Ring>),
    /// MAGLEV, and sessions whose service names no hash.
    Maglev(Arc<Maglev>),
}

/// What a backend's gate lets through until the next tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// New requests in time.
    pub rate: Limit,
    /// Requests (or connections) at a time; `u64::MAX` = not limited.
    pub count: u64,
}

impl Limits {
    /// Everything is let through.
    pub const OPEN: Self = Self { rate: Limit::OPEN, count: u64::MAX };
    /// Nothing is.
    pub const CLOSED: Self = Self { rate: Limit::CLOSED, count: u64::MAX };
}

/// Weights over backends, as thresholds on the 64-bit circle.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shares {
    /// (upper end of its arc, backend index, weight), ascending; the last end is `u64::MAX`.
    pub arcs: Vec<(u64, u32, f64)>,
}

/// What the planner reads of one service at a tick.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// By backend index.
    pub backends: Vec<BackendSample>,
}

/// What the planner reads of one backend.
#[derive(Debug, Clone, Default)]
pub struct BackendSample {
    /// Requests that its gate admitted, since the start.
    pub admitted: u64,
    /// Requests placed above the limit, since the start.
    pub overfilled: u64,
    /// Requests turned away, since the start.
    pub refused: u64,
    /// How far the gate's schedule is ahead of now, in units of [`super::gcra::Limit`].
    pub backlog: u64,
    /// Requests or connections under way.
    pub in_flight: u64,
    /// By member index.
    pub members: Vec<MemberSample>,
    /// What may be new about them.
    pub news: News,
}

/// What may have changed of a backend's members since the sample before: what cannot have, is not worked out again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// Nothing: they are the very same.
    Nothing,
    /// Counters and reports. Who is there, healthy and undecided, has not.
    Numbers,
    /// Anything, for all that is known.
    #[default]
    Anything,
}

/// What the planner reads of one member.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemberSample {
    /// Passes its health check.
    pub is_healthy: bool,
    /// Its health check has not decided yet, either way. Such a member gets nothing [G 4.13], but nothing is concluded
    /// from it about its backend.
    pub is_undecided: bool,
    /// Attempts that have ended, since the start.
    pub finished: u64,
    /// Of these, failed or answered with a 5xx.
    pub failed: u64,
    /// Last utilization report; `None` before the first.
    pub report: Option<ReportSample>,
    /// In CUSTOM_METRICS, the same by metric of the backend, in its order.
    pub metrics: [Option<ReportSample>; MAX_METRICS],
    /// What outlier detection and reported weights go by.
    pub conduct: Conduct,
}

/// At most so many custom metrics of a backend [G 1.37].
pub const MAX_METRICS: usize = 2;

/// How a member has answered. Sampled only for services that ask for it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Conduct {
    /// Full runs of `consecutiveErrors` 5xx answers and failures in a row, since the start.
    pub error_runs: u64,
    /// Full runs of `consecutiveGatewayFailure` 502, 503, 504 and failures in a row, since the start.
    pub gateway_failure_runs: u64,
    /// Last reported weight, qps ÷ utilization with its penalty for errors [G 1.45]; `None` = no fresh report.
    pub weight: Option<f64>,
}

/// A member's utilization as the ledger has it.
#[derive(Debug, Clone, Copy)]
pub struct ReportSample {
    /// Last value.
    pub utilization: Ratio,
    /// When.
    pub at: Tick,
    /// Reports since the start.
    pub reports: u64,
    /// Sum of all values since the start, in millionths.
    pub total_micros: u64,
}

/// Figures of one backend for people.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// Requests per second up to which it is filled; infinite = not limited (yet).
    pub capacity: f64,
    /// Requests or connections at a time up to which it is filled; infinite = not limited.
    pub count_capacity: f64,
    /// Requests or connections under way.
    pub in_flight: f64,
    /// Requests per second that it got, over about the last second.
    pub rate: f64,
    /// Load ÷ capacity in its balancing mode, whichever target is nearer; NaN = unknown.
    pub fullness: f64,
    /// Mean reported utilization of healthy members; NaN = unknown or not used.
    pub utilization: f64,
    /// Gets nothing for now, since too few of its members are healthy [G 2.13].
    pub is_auto_drained: bool,
    /// In CUSTOM_METRICS, by metric of the backend, in its order.
    pub metrics: [MetricFigures; MAX_METRICS],
}

/// Figures of one custom metric of a backend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricFigures {
    /// Mean over the healthy members; NaN = unknown.
    pub mean: f64,
    /// Mean ÷ (maximum × scaler); NaN = unknown.
    pub fullness: f64,
}

impl MetricFigures {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { mean: f64::NAN, fullness: f64::NAN };
}

impl Default for MetricFigures {
    fn default() -> Self {
        Self::UNKNOWN
    }
}
