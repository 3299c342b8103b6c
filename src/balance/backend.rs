//! One backend from tick to tick: its limit, its figures, its usable members.

use std::collections::VecDeque;
use std::sync::Arc;

use super::burst::Burst;
use super::gcra::{self, Limit};
use super::plan::{BackendSample, Figures, MemberSample, Usable};
use super::ring::Ring;
use super::{capacity, hash};
use crate::model::service;
use crate::model::unit::{PerSecond, Ratio, Span, Tick};

/// Over what time a rate is measured.
const RATE_WINDOW: Span = Span::secs(1);

/// Ticks that fit the window; more often than every 10 ms is not looked.
const MAX_HISTORY: usize = 128;

/// State of a backend in the planner. Lives as long as the service names the backend; a reload adopts it.
#[derive(Debug)]
pub(super) struct Backend {
    identity: u64,
    /// The rate target × scaler; `None` without one.
    rate: Option<PerSecond>,
    /// Target utilization × scaler; `None` in RATE.
    utilization: Option<Ratio>,
    usable: Members,
    learned: Learned,
}

/// What a reload keeps.
#[derive(Debug, Clone, Default)]
struct Learned {
    /// (when, requests that it got since the start), oldest first.
    history: VecDeque<(Tick, u64)>,
    /// Requests that asked for room, at the last tick.
    offered: u64,
    burst: Burst,
}

#[derive(Debug)]
struct Members {
    is_healthy: Vec<bool>,
    has_ring: bool,
    now: Option<Usable>,
}

impl Backend {
    pub(super) fn new(config: &service::Backend, has_affinity: bool) -> Self {
        Self {
            identity: hash::group(&config.group),
            rate: capacity::of_backend(config),
            utilization: capacity::utilization(config),
            usable: Members { is_healthy: Vec::new(), has_ring: has_affinity, now: None },
            learned: Learned::default(),
        }
    }

    /// Whether what one has learned holds for the other: the same group in the same mode.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity && self.utilization.is_some() == other.utilization.is_some()
    }

    /// With what `old` has learned.
    pub(super) fn adopt(mut self, old: Option<&Self>) -> Self {
        if let Some(old) = old {
            self.learned = old.learned.clone();
        }
        self
    }

    /// The limit until the next tick, and the figures now.
    pub(super) fn tick(&mut self, now: Tick, sample: &BackendSample) -> (Limit, Figures) {
        let rate = self.measure(now, sample.admitted.saturating_add(sample.overfilled));
        let offered = sample.admitted.saturating_add(sample.refused);
        let fresh = offered.saturating_sub(std::mem::replace(&mut self.learned.offered, offered));
        let Some(target) = self.rate else {
            return (
                Limit::OPEN,
                Figures { capacity: f64::INFINITY, rate, fullness: f64::NAN, utilization: f64::NAN },
            );
        };
        let tolerance = self.learned.burst.tolerance(now, fresh, target, gcra::span(sample.backlog));
        let figures =
            Figures { capacity: target.get(), rate, fullness: rate / target.get(), utilization: f64::NAN };
        (Limit::new(target, tolerance), figures)
    }

    /// Requests per second over the last [`RATE_WINDOW`].
    #[allow(clippy::cast_precision_loss)]
    fn measure(&mut self, now: Tick, total: u64) -> f64 {
        let history = &mut self.learned.history;
        history.push_back((now, total));
        while history.len() > MAX_HISTORY
            || history.get(1).is_some_and(|second| now.since(second.0) >= RATE_WINDOW)
        {
            history.pop_front();
        }
        let Some((then, before)) = history.front() else { return 0.0 };
        let seconds = now.since(*then).as_secs();
        if seconds > 0.0 { total.saturating_sub(*before) as f64 / seconds } else { 0.0 }
    }

    /// Measured capacity in requests per second; `None` when only the configuration says how large it is.
    pub(super) fn weight(&self) -> Option<f64> {
        self.rate.map(PerSecond::get)
    }

    /// The members that may get requests. As long as their health stands, the lists stay the very same.
    pub(super) fn usable(&mut self, config: &service::Backend, members: &[MemberSample]) -> Usable {
        let is_healthy = |index: usize| members.get(index).is_some_and(|member| member.is_healthy);
        let mut changed = false;
        self.usable.is_healthy.resize(config.members.len(), false);
        for (index, before) in self.usable.is_healthy.iter_mut().enumerate() {
            changed |= std::mem::replace(before, is_healthy(index)) != *before;
        }
        match &self.usable.now {
            Some(now) if !changed => now.clone(),
            _ => {
                let now = self.build(config);
                self.usable.now = Some(now.clone());
                now
            }
        }
    }

    fn build(&self, config: &service::Backend) -> Usable {
        let healthy = || {
            let members = (0_u32..).zip(&config.members).zip(&self.usable.is_healthy);
            members.filter(|(_, is_healthy)| **is_healthy).map(|(member, _)| member)
        };
        let ring = || Arc::new(Ring::new(healthy().map(|(index, member)| (index, hash::member(member)))));
        Usable {
            members: healthy().map(|(index, _)| index).collect(),
            ring: self.usable.has_ring.then(ring),
            identity: self.identity,
        }
    }
}
