//! What the planner publishes and the hot path reads: tiers for each origin, shares inside a tier, usable members.

use std::sync::Arc;

use super::pick::Reason;
use super::ring::Ring;
use crate::model::place::RegionId;
use crate::model::unit::{Ratio, Tick};

/// Immutable. One per service; replaced whole when health, weights or members change.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Tiers by `OriginId`, nearest first.
    pub origins: Vec<Vec<Tier>>,
    /// By backend index of the service.
    pub backends: Vec<Usable>,
    /// Where requests go when every tier is full: all usable backends in proportion to capacity [G 2.6].
    pub overfill: Shares,
}

/// Backends that are tried together.
#[derive(Debug, Clone)]
pub struct Tier {
    /// Their region.
    pub region: RegionId,
    /// In proportion to capacity; empty when no backend here can be used.
    pub shares: Shares,
    /// In proportion to configured size: does not move with measured load, so that sessions stay.
    pub affinity_shares: Shares,
    /// Why requests that find no room here go on: [`Reason::Full`], or why no backend can be used at all.
    pub reason_to_leave: Reason,
}

/// The members of a backend that may get requests.
#[derive(Debug, Clone, Default)]
pub struct Usable {
    /// Indices of healthy members; empty when the backend is drained or has none.
    pub members: Arc<[u32]>,
    /// The same members on a hash ring; only for services with affinity.
    pub ring: Option<Arc<Ring>>,
    /// What the backend is called in the rendezvous of session keys: stays the same when backends change places in
    /// the file; see [`super::hash::group`].
    pub identity: u64,
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
    /// By member index.
    pub members: Vec<MemberSample>,
}

/// What the planner reads of one member.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemberSample {
    /// Passes its health check.
    pub is_healthy: bool,
    /// Attempts that have ended, since the start.
    pub finished: u64,
    /// Of these, failed or answered with a 5xx.
    pub failed: u64,
    /// Last utilization report; `None` before the first.
    pub report: Option<ReportSample>,
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
    /// Requests per second that it got, over about the last second.
    pub rate: f64,
    /// Load ÷ capacity in its balancing mode, whichever target is nearer; NaN = unknown.
    pub fullness: f64,
    /// Mean reported utilization of healthy members; NaN = unknown or not used.
    pub utilization: f64,
}
