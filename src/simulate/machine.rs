//! A modelled member: cores that work off CPU time first come, first served, and time beside it that needs no CPU.
//!
//! With single requests one machine is one member. With flows it stands for all members of a group that are alike;
//! its numbers are those of one of them. Utilization is CPU time burnt ÷ (cores × time): what is asked for beyond
//! that waits, and latency grows.

use std::collections::VecDeque;

use super::scenario::{Action, Profile, Spread};
use super::times::{COARSE, FINE};
use crate::balance::plan::ReportSample;
use crate::balance::rng::Rng;
use crate::model::unit::{Ratio, Span, Tick};

/// How long it takes to be refused, or to fail at once, in seconds.
pub(super) const AT_ONCE: f64 = 0.001;

/// Utilization of cores from which on waiting is not worked out any more, but seen as work that piles up.
const DENSE: f64 = 0.99;

/// Over how many seconds chance is taken out of a rate: to see that it has changed, and to go by.
const AVERAGED: (f64, f64) = (1.0, 10.0);

/// From so many standard deviations on the rate has changed.
const CHANGED: f64 = 4.0;

/// One modelled member, or several alike.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// How it serves.
    pub(super) profile: Profile,
    /// When it joined its group; `None` = there from the start.
    pub(super) joined: Option<Tick>,
    /// What events made of it.
    pub(super) condition: Condition,
    /// When each core has worked off what it has.
    free: Vec<u64>,
    /// CPU time asked for, since the start, in seconds.
    assigned: f64,
    /// Of a flow: CPU time that waits, and that is burnt, in seconds.
    pending: f64,
    burnt: f64,
    /// Of a flow: requests per second now.
    pub(super) rate: f64,
    /// Of a flow: requests per second of all members that share it.
    pub(super) crowd: f64,
    /// Of a flow: the rate with little and with less chance in it, and the CPU time that waits by the latter, in
    /// seconds. Waiting times go by these, since they know of chance themselves.
    recent: f64,
    mean: f64,
    piled: f64,
    /// Of a flow: the part of what waited that was done in the last step.
    pub(super) done: f64,
    /// Requests that reached it.
    pub(super) reached: f64,
    reporter: Reporter,
}

/// What events have made of a member.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Condition {
    /// As probes see it.
    pub(super) is_healthy: bool,
    /// Probes have not found out anything yet.
    pub(super) is_undecided: bool,
    /// Refuses connections.
    pub(super) is_lost: bool,
    /// How often it was lost or came back: a probe's verdict about an older state is void.
    pub(super) turns: u32,
    slow: f64,
    fails_fast: bool,
    errors: Option<f64>,
    late: Option<Span>,
    reports: bool,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    /// The connection was refused.
    Refused,
    /// Ends after so many seconds.
    Ends {
        /// Seconds from now.
        after: f64,
        /// With a 5xx.
        fails: bool,
    },
}

#[derive(Debug, Clone, Default)]
struct Reporter {
    /// (when, CPU time burnt, requests) at the last one.
    last: (Tick, f64, f64),
    /// (when it arrives, utilization), oldest first.
    under_way: VecDeque<(Tick, f64, f64)>,
    arrived: Option<ReportSample>,
    weight: Option<f64>,
}

impl Machine {
    /// Idle; healthy or not.
    #[must_use]
    pub(super) fn new(profile: Profile, is_healthy: bool, now: Tick) -> Self {
        let condition = Condition {
            is_healthy,
            is_undecided: !is_healthy,
            is_lost: false,
            turns: 0,
            slow: 1.0,
            fails_fast: false,
            errors: None,
            late: None,
            reports: true,
        };
        Self {
            profile,
            joined: None,
            condition,
            free: vec![0; profile.cores.max(1) as usize],
            assigned: 0.0,
            pending: 0.0,
            burnt: 0.0,
            rate: 0.0,
            crowd: 0.0,
            recent: 0.0,
            mean: 0.0,
            piled: 0.0,
            done: 1.0,
            reached: 0.0,
            reporter: Reporter { last: (now, 0.0, 0.0), ..Reporter::default() },
        }
    }

    /// Something happens to it. What happens to backends and groups is not its business.
    pub(super) fn suffer(&mut self, action: Action) {
        let condition = &mut self.condition;
        match action {
            Action::Lost | Action::Back => {
                condition.is_lost = action == Action::Lost;
                condition.turns += 1;
            }
            Action::Unhealthy | Action::Healthy => self.judge(action == Action::Healthy),
            Action::Slow(factor) => condition.slow = factor,
            Action::FailsFast => condition.fails_fast = true,
            Action::Errors(part) => condition.errors = Some(part),
            Action::Serves => {
                (condition.slow, condition.fails_fast, condition.errors) = (1.0, false, None);
            }
            Action::ReportsLate(late) => condition.late = Some(late),
            Action::Reports(reports) => condition.reports = reports,
            Action::Scaler(_) | Action::Add(_) | Action::Remove(_) => {}
        }
    }

    /// Probes have found something out.
    pub(super) fn judge(&mut self, is_healthy: bool) {
        (self.condition.is_healthy, self.condition.is_undecided) = (is_healthy, false);
    }

    /// Part of the requests that fail, whatever the load.
    #[must_use]
    pub(super) fn errors(&self) -> f64 {
        if self.condition.fails_fast { 1.0 } else { self.condition.errors.unwrap_or(self.profile.errors) }
    }

    /// Mean CPU time of a request now, in seconds; the base load slows it down.
    fn cpu(&self) -> f64 {
        if self.condition.fails_fast {
            return 0.0;
        }
        self.profile.cpu * self.condition.slow / (1.0 - self.profile.base)
    }

    /// Mean time beside it.
    fn beside(&self) -> f64 {
        if self.condition.fails_fast {
            return AT_ONCE;
        }
        (self.profile.service - self.profile.cpu).max(0.0) * self.condition.slow
    }

    /// One request.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub(super) fn serve(&mut self, now: Tick, rng: &mut Rng) -> Outcome {
        if self.condition.is_lost {
            return Outcome::Refused;
        }
        self.reached += 1.0;
        let fails = self.errors() >= 1.0 || (self.errors() > 0.0 && rng.unit() < self.errors());
        if self.condition.fails_fast {
            return Outcome::Ends { after: AT_ONCE, fails };
        }
        let draw = self.profile.spread.draw(rng);
        let cpu = self.cpu() * draw;
        self.assigned += cpu;
        let Some(core) = self.free.iter_mut().min() else {
            return Outcome::Ends { after: 0.0, fails };
        };
        *core = now.0.max(*core).saturating_add((cpu * 1e9) as u64);
        let after = core.saturating_sub(now.0) as f64 / 1e9 + self.beside() * draw;
        Outcome::Ends { after, fails }
    }

    /// A flow at [`Self::rate`] for so many seconds, which comes at random or not.
    pub(super) fn flow(&mut self, seconds: f64, is_random: bool) {
        self.average(seconds, is_random);
        let over = self.mean * self.cpu() - f64::from(self.profile.cores);
        self.piled = (self.piled + over * seconds).max(0.0);
        self.reached += self.rate * seconds;
        self.pending += self.rate * self.cpu() * seconds;
        let done = self.pending.min(f64::from(self.profile.cores) * seconds);
        self.done = if self.pending > 0.0 { done / self.pending } else { 1.0 };
        self.pending -= done;
        self.burnt += done;
    }

    /// Takes chance out of the rate.
    fn average(&mut self, seconds: f64, is_random: bool) {
        if !is_random {
            (self.recent, self.mean) = (self.rate, self.rate);
            return;
        }
        let towards =
            |mean: &mut f64, over: f64| *mean = self.rate + (*mean - self.rate) * (-seconds / over).exp();
        towards(&mut self.recent, AVERAGED.0);
        towards(&mut self.mean, AVERAGED.1);
        // What chance does not explain is another rate.
        let scatter = 1.0 / (2.0 * AVERAGED.0 * self.crowd.max(self.rate)).max(1.0).sqrt();
        if (self.recent - self.mean).abs() > CHANGED * scatter * self.recent.max(self.mean) {
            self.mean = self.recent;
        }
    }

    /// CPU time burnt since the start, in seconds, without the base load.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn burnt(&self, now: Tick) -> f64 {
        let ahead: u64 = self.free.iter().map(|free| free.saturating_sub(now.0)).sum();
        self.burnt + self.assigned - ahead as f64 / 1e9
    }

    /// Utilization, when so much was burnt in so many seconds.
    #[must_use]
    pub(super) fn utilization(&self, burnt: f64, seconds: f64) -> f64 {
        let Profile { base, cores, .. } = self.profile;
        base + (1.0 - base) * (burnt / (f64::from(cores) * seconds)).clamp(0.0, 1.0)
    }

    /// A report is made; it arrives `delay` later, or as late as an event has said. `error` is the part by which it
    /// is wrong.
    pub(super) fn report(&mut self, now: Tick, delay: Span, error: f64) {
        let (at, burnt, reached) = self.reporter.last;
        let seconds = now.since(at).as_secs();
        let total = self.burnt(now);
        if self.condition.reports && !self.condition.is_lost && seconds > 0.0 {
            let utilization = self.utilization(total - burnt, seconds) * (1.0 + error);
            let rate = (self.reached - reached) / seconds;
            let arrival = now + self.condition.late.unwrap_or(delay);
            self.reporter.under_way.push_back((arrival, utilization.max(0.0), rate));
        }
        self.reporter.last = (now, total, self.reached);
    }

    /// Takes in the reports that have arrived; how many.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn look(&mut self, now: Tick) -> u64 {
        let mut count = 0;
        let Reporter { under_way, arrived, weight, .. } = &mut self.reporter;
        while let Some((at, utilization, rate)) = under_way.front().copied().filter(|first| first.0 <= now) {
            under_way.pop_front();
            count += 1;
            let (reports, total) = arrived.map_or((0, 0), |last| (last.reports, last.total_micros));
            *arrived = Some(ReportSample {
                utilization: Ratio::new(utilization),
                at,
                reports: reports + 1,
                total_micros: total + (utilization * 1e6) as u64,
            });
            *weight = (utilization > 0.0 && rate > 0.0).then_some(rate / utilization);
        }
        count
    }

    /// The last report that has arrived.
    #[must_use]
    pub(super) const fn shown(&self) -> Option<ReportSample> {
        self.reporter.arrived
    }

    /// What the member weighs by its last report: requests per second ÷ utilization.
    #[must_use]
    pub(super) const fn weight(&self) -> Option<f64> {
        self.reporter.weight
    }

    /// How long what has piled up takes, in seconds.
    #[must_use]
    pub(super) fn queue(&self) -> f64 {
        self.piled / f64::from(self.profile.cores)
    }

    /// How long a request of a flow is under way on average, in seconds. `scatter` is the squared coefficient of
    /// variation of the arrivals at one member: 1 for random ones.
    #[must_use]
    pub(super) fn stay(&self, scatter: f64) -> f64 {
        let (often, wait) = self.wait(scatter);
        self.queue() + often * wait + self.cpu() + self.beside()
    }

    /// Latencies of a flow as (seconds, part of the requests): some service times by some waits.
    pub(super) fn latencies(&self, scatter: f64, mut each: impl FnMut(f64, f64)) {
        let (often, wait) = self.wait(scatter);
        let queue = self.queue();
        let spread = if self.condition.fails_fast { Spread::Constant } else { self.profile.spread };
        for (part, draw) in spread.strata(&FINE) {
            let served = queue + (self.cpu() + self.beside()) * draw;
            each(served, part * (1.0 - often));
            if often > 0.0 {
                Spread::Exponential.strata(&COARSE).for_each(|(of_wait, long)| {
                    each(served + wait * long, part * often * of_wait);
                });
            }
        }
    }

    /// Part of the cores that the mean rate keeps busy.
    #[must_use]
    pub(super) fn load(&self) -> f64 {
        (self.mean * self.cpu() / f64::from(self.profile.cores)).min(DENSE)
    }

    /// How often a request waits for a core, and how long it then waits on average: Sakasegawa's and Allen's and
    /// Cunneen's approximations for several cores, with Krämer's and Langenbach-Belz's correction for arrivals that
    /// are more even than random ones.
    fn wait(&self, scatter: f64) -> (f64, f64) {
        let cores = f64::from(self.profile.cores);
        let load = self.load();
        if load <= 0.0 {
            return (0.0, 0.0);
        }
        let of_times = self.profile.spread.scatter();
        let random = load.powf((2.0 * (cores + 1.0)).sqrt() - 1.0);
        let even = 1.0 - scatter;
        let fewer = (1.0 + scatter + load * of_times)
            / (1.0 + load * (of_times - 1.0) + load * load * (4.0 * scatter + of_times));
        let often = (random * (1.0 - even * (1.0 - load) * fewer)).clamp(0.0, 1.0);
        let both = scatter + of_times;
        if often <= 1e-6 || both <= 0.0 {
            return (0.0, 0.0);
        }
        let shorter = (-2.0 * (1.0 - load) * even * even / (3.0 * load * both)).exp();
        let mean = random * self.cpu() / (cores * (1.0 - load)) * both / 2.0 * shorter;
        (often, mean / often)
    }
}
