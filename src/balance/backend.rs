//! One backend from tick to tick: its limit, its figures, its usable members.

use std::collections::VecDeque;

use super::burst::{self, Burst};
use super::chance::Chance;
use super::gcra::{self, Limit};
use super::members::{Bars, Members};
use super::metrics::Combiner;
use super::overload::Load;
use super::plan::{BackendSample, Figures, Limits, MAX_METRICS, MetricFigures, News, Usable};
use super::reading::Reader;
use super::utilization::Governor;
use super::{capacity, hash};
use crate::model::service::{self, Service, UtilizationSource};
use crate::model::target::Mode;
use crate::model::unit::{PerSecond, Ratio, Span, Tick};

/// Over what time a rate is measured.
const RATE_WINDOW: Span = Span::secs(1);

/// Requests that a limit by load lets through at once: two, so that even arrivals can follow one another; up to five
/// where fewer than 40 a second come: random arrivals that are so rare would leave a tenth of the limit unused.
const GAPS: (f64, f64) = (2.0, 5.0);
const FEW: f64 = 80.0;

/// Ticks that fit the window; more often than every 10 ms is not looked.
const MAX_HISTORY: usize = 128;

/// How long after the first traffic a report is due that tells of it: with the first answers, or when it was asked for.
const fn first_report(source: &UtilizationSource) -> Span {
    match source {
        UtilizationSource::OrcaHeader => Span::ZERO,
        UtilizationSource::Http { interval, .. }
        | UtilizationSource::Prometheus { interval, .. }
        | UtilizationSource::LocalProcess { interval, .. } => *interval,
    }
}

/// State of a backend in the planner. Lives as long as the service names the backend; a reload adopts it.
#[derive(Debug)]
pub(super) struct Backend {
    identity: u64,
    /// The rate target × scaler; `None` without one.
    rate: Option<PerSecond>,
    /// Requests or connections at a time, × scaler; `None` without such a target.
    count: Option<u64>,
    /// Target utilization × scaler; `None` where reports do not count.
    utilization: Option<Ratio>,
    /// Within so long of the first traffic a report tells of it.
    due: Span,
    members: Members,
    /// Healthy members at the last tick, and those of them that were never judged.
    healthy: usize,
    undecided: usize,
    /// What a sample says of news holds: there was one before, and nobody makes members healthy that are not
    /// (`failOpen`).
    hears: (bool, bool),
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
    chance: Chance,
    /// In CUSTOM_METRICS alone.
    metrics: Option<Combiner>,
    reader: Reader,
    governor: Governor,
}

impl Learned {
    /// Nothing learned yet.
    fn new(mode: &Mode) -> Self {
        match mode {
            // Parts of a maximum that is anybody's choice: there is no point at which a member has nothing left.
            Mode::CustomMetrics { metrics, .. } => Self {
                metrics: Some(Combiner::new(metrics.clone())),
                governor: Governor::new(None),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

impl Backend {
    pub(super) fn new(service: &Service, config: &service::Backend) -> Self {
        Self {
            identity: hash::group(&config.group),
            rate: capacity::of_backend(config),
            count: capacity::count_of_backend(config),
            utilization: capacity::utilization(config),
            due: first_report(&config.group.utilization),
            members: Members::new(service, config),
            healthy: 0,
            undecided: 0,
            hears: (false, !service.policies.fails_open),
            learned: Learned::new(&config.mode),
        }
    }

    /// A first report that tells of traffic is due in so long, whatever the configuration says of its source.
    pub(super) const fn report_is_due_in(&mut self, due: Span) {
        self.due = due;
    }

    /// What it is called over reloads, and in the rendezvous of session keys.
    pub(super) const fn identity(&self) -> u64 {
        self.identity
    }

    /// Whether what one has learned holds for the other: the same group in the same mode.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
            && self.utilization.is_some() == other.utilization.is_some()
            && self.learned.metrics.is_some() == other.learned.metrics.is_some()
    }

    /// With what `old` has learned.
    pub(super) fn adopt(mut self, old: Option<&Self>) -> Self {
        if let Some(old) = old {
            let metrics = std::mem::replace(&mut self.learned, old.learned.clone()).metrics;
            self.members.adopt(&old.members);
            let is_same =
                metrics.as_ref().zip(self.learned.metrics.as_ref()).is_none_or(|(a, b)| a.is_same(b));
            if self.members.identities() != old.members.identities() || !is_same {
                // Samples are by place in the list: another list is read anew.
                self.learned.reader = Reader::default();
                self.learned.metrics = metrics;
            }
        }
        self
    }

    /// What may be new since the tick before.
    fn news(&self, sample: &BackendSample) -> News {
        if self.hears == (true, true) { sample.news } else { News::Anything }
    }

    /// Members that were never judged, at the last tick.
    pub(super) const fn undecided(&self) -> usize {
        self.undecided
    }

    /// Whether its target is a utilization.
    pub(super) const fn is_by_load(&self) -> bool {
        self.utilization.is_some()
    }

    fn count(&mut self, sample: &BackendSample) {
        if self.news(sample) == News::Anything {
            if self.is_by_load() || self.learned.governor.is_learned() {
                self.healthy = sample.members.iter().filter(|member| member.is_healthy).count();
            }
            let known = sample.members.iter().take(self.members.identities().len());
            self.undecided = known.filter(|member| member.is_undecided).count();
        }
    }

    /// The limits until the next tick, and the figures now.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn tick(&mut self, now: Tick, sample: &BackendSample) -> (Limits, Figures) {
        self.count(sample);
        let rate = self.measure(now, sample.admitted.saturating_add(sample.overfilled));
        let offered = sample.admitted.saturating_add(sample.refused);
        let fresh = offered.saturating_sub(std::mem::replace(&mut self.learned.offered, offered));
        let by_rate = self.limit_by_rate(now, sample, fresh);
        let by_load = self.limit_by_load(now, sample, fresh);
        let limit = match (by_rate, by_load) {
            (Some(one), Some(other)) => {
                if one.0.get() <= other.0.get() {
                    one
                } else {
                    other
                }
            }
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => (PerSecond::new(f64::INFINITY), Span::ZERO),
        };
        let figures = self.figures(limit.0, rate, sample.in_flight as f64);
        let rate = if limit.0.get().is_finite() { Limit::new(limit.0, limit.1) } else { Limit::OPEN };
        (Limits { rate, count: self.count.unwrap_or(u64::MAX) }, figures)
    }

    #[allow(clippy::cast_precision_loss)]
    fn figures(&self, limit: PerSecond, rate: f64, in_flight: f64) -> Figures {
        let load = self.utilization.and(self.learned.reader.shown()).map_or(f64::NAN, Ratio::get);
        let unknown = [MetricFigures::UNKNOWN; MAX_METRICS];
        let (utilization, metrics) = match (&self.learned.metrics, self.utilization) {
            (Some(combiner), Some(scaler)) => (f64::NAN, combiner.figures(scaler)),
            _ => (load, unknown),
        };
        let part = |load: f64, target: f64| if target > 0.0 { load / target } else { f64::NAN };
        let count = self.count.map_or(f64::INFINITY, |count| count as f64);
        let by_rate = self.rate.map_or(f64::NAN, |target| part(rate, target.get()));
        let by_load = self.utilization.map_or(f64::NAN, |target| part(load, target.get()));
        let by_count = if count.is_finite() { part(in_flight, count) } else { f64::NAN };
        // `max` prefers a number to NaN: what is unknown does not hide what is known.
        let fullness = by_rate.max(by_load).max(by_count);
        Figures {
            // Drained: what was learned stays, and none of it is offered.
            capacity: if self.utilization.is_some_and(|target| target.get() <= 0.0) {
                0.0
            } else {
                limit.get()
            },
            count_capacity: count,
            in_flight,
            rate,
            fullness,
            utilization,
            metrics,
            // The planner knows.
            is_auto_drained: false,
        }
    }

    /// What it got and what it can take, for the [`super::overload`] of all.
    pub(super) fn load(&self, figures: &Figures) -> Load {
        let by_load = self.utilization.and_then(|_| self.learned.governor.capacity(self.healthy));
        let known = self.rate.into_iter().chain(by_load).map(PerSecond::get);
        // Requests at a time are as many a second as their duration allows now.
        let by_count = if figures.count_capacity.is_finite() && figures.in_flight > 0.0 {
            figures.rate * figures.count_capacity / figures.in_flight
        } else {
            f64::INFINITY
        };
        Load { rate: figures.rate, capacity: known.fold(by_count, f64::min) }
    }

    /// Whether its limit is a guess, and more than it gets may well fit: as far as its known targets go.
    pub(super) fn may_have_room(&self, figures: &Figures) -> bool {
        let guess = self.utilization.and_then(|_| self.learned.governor.guess(self.healthy));
        let most = self.rate.map_or(f64::INFINITY, PerSecond::get);
        guess.is_some_and(|guess| figures.rate < guess.get().min(most))
            && figures.in_flight < figures.count_capacity
    }

    /// Everything is full, and it is due so many times its capacity; 1 while there is room.
    pub(super) const fn expect(&mut self, overload: f64) {
        self.learned.governor.expect(overload);
    }

    /// `fresh` requests have asked for room since the last tick.
    fn limit_by_rate(&mut self, now: Tick, sample: &BackendSample, fresh: u64) -> Option<(PerSecond, Span)> {
        let target = self.rate?;
        let tolerance = self.learned.burst.tolerance(now, fresh, target, gcra::span(sample.backlog));
        Some((target, tolerance))
    }

    /// A burst would show as overshoot in the very next report: only what arrivals need to follow one another, and
    /// what chance makes of them.
    fn limit_by_load(&mut self, now: Tick, sample: &BackendSample, fresh: u64) -> Option<(PerSecond, Span)> {
        let target = self.utilization?;
        let news = if self.learned.metrics.is_some() { News::Anything } else { self.news(sample) };
        let members = match &mut self.learned.metrics {
            Some(combiner) => combiner.combine(now, &sample.members),
            None => &sample.members,
        };
        let look = self.learned.reader.look(now, members, news);
        self.learned.governor.report_is_due_in(self.due);
        self.learned.governor.update(look, target, sample.overfilled);
        let limit = self.learned.governor.limit(self.healthy)?;
        let room = self.learned.chance.room(now, fresh, limit);
        let room = if self.learned.governor.is_confirmed() { room } else { 0.0 };
        let gaps = (FEW / limit.get()).clamp(GAPS.0, GAPS.1).max(room) / limit.get();
        Some((limit, Span::millis(20).max(burst::span(gaps.min(1.0)))))
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

    /// Measured capacity in requests per second; `None` when only the configuration says how large it is. A rate
    /// target alone is configuration.
    pub(super) fn weight(&self) -> Option<f64> {
        let learned =
            self.learned.governor.is_learned().then(|| self.learned.governor.capacity(self.healthy))??;
        Some(self.rate.map_or(learned.get(), |rate| rate.get().min(learned.get())))
    }

    /// The members that may get requests. As long as they and their weights stand, the lists stay the very same.
    pub(super) fn usable(&mut self, now: Tick, sample: &BackendSample, bars: Bars<'_>) -> Usable {
        let has_news = self.news(sample) == News::Anything;
        self.hears.0 = true;
        let still = if has_news { None } else { self.members.still(bars) };
        still.unwrap_or_else(|| self.members.usable(now, &sample.members, bars))
    }
}
