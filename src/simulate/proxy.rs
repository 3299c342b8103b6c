//! A simulated proxy: planners, plans and gates of its own, and what it has counted of members. It knows nothing of
//! the others.

use std::sync::Arc;

use super::fleet::{Fleet, Site};
use super::gate::Gate;
use super::machine::Machine;
use super::scenario::{Reports, Scenario};
use crate::balance::pick::{Live, Room};
use crate::balance::plan::{BackendSample, Conduct, Figures, MAX_METRICS, MemberSample, News, Plan, Sample};
use crate::balance::planner::ServicePlanner;
use crate::model::policy::Locality;
use crate::model::service::{Backend, Service};
use crate::model::target::Mode;
use crate::model::unit::{Span, Tick};

/// Members are sampled anew so often at least, where only reports can make a difference.
const SAMPLED: Span = Span::secs(1);

/// Only reports can make a difference where one is younger than this; where all are old, what was served does.
const FRESH: Span = Span::secs(9);

/// One service in one proxy.
#[derive(Debug)]
pub(super) struct Served {
    planner: ServicePlanner,
    /// The plan of the moment.
    pub(super) plan: Arc<Plan>,
    /// By backend.
    pub(super) gates: Vec<Gate>,
    /// By backend and machine; numbers of one member.
    pub(super) tallies: Vec<Vec<Tally>>,
    /// What the planner has found last.
    pub(super) figures: Vec<Figures>,
    /// Requests so far.
    pub(super) turn: u64,
    sample: Sample,
    /// Version of the fleet that the sample is of.
    seen: u64,
    /// By backend: when its members were sampled, and how many reports had arrived by then.
    sampled: Vec<(Tick, u64)>,
    /// Of one backend while it is sampled, by machine.
    of_machine: Vec<MemberSample>,
    /// How many failures in a row make a full run: of any kind, and of the gateway's kind.
    pub(super) full: (u32, u32),
}

/// What a proxy has counted of a member.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Attempts that have ended.
    pub(super) finished: f64,
    /// Of these, failed.
    pub(super) failed: f64,
    /// Under way.
    pub(super) in_flight: f64,
    /// Failures in a row, of any kind and of the gateway's kind, and how many full runs of them there were.
    streaks: (u32, u32),
    runs: (u64, u64),
}

impl Tally {
    /// An attempt has ended. `full` says how many failures in a row make a full run.
    pub(super) fn end(&mut self, how: Ending, full: (u32, u32)) {
        self.in_flight -= 1.0;
        self.finished += 1.0;
        self.failed += f64::from(u8::from(how != Ending::Answered));
        count(&mut self.streaks.0, &mut self.runs.0, how != Ending::Answered, full.0);
        count(&mut self.streaks.1, &mut self.runs.1, how == Ending::Broken, full.1);
    }

    /// So much of a flow has come; `part` of what is under way ends, and `errors` of that fails.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn flow(&mut self, amount: f64, part: f64, errors: (f64, Ending), full: (u32, u32)) {
        self.in_flight += amount;
        let ended = self.in_flight * part;
        self.in_flight -= ended;
        self.finished += ended;
        let before = self.failed;
        self.failed += ended * errors.0;
        // Runs are certain where all fail, and not looked for elsewhere.
        if errors.0 >= 1.0 {
            let runs = |full: u32| {
                let whole = |failed: f64| (failed / f64::from(full.max(1))) as u64;
                whole(self.failed) - whole(before)
            };
            self.runs.0 += runs(full.0);
            self.runs.1 += if errors.1 == Ending::Broken { runs(full.1) } else { 0 };
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// Well.
    Answered,
    /// With a 5xx of the member's own.
    Failed,
    /// Without an answer: refused, lost or too late.
    Broken,
}

fn count(streak: &mut u32, runs: &mut u64, fails: bool, full: u32) {
    *streak = if fails { *streak + 1 } else { 0 };
    if *streak >= full.max(1) {
        *runs += 1;
        *streak = 0;
    }
}

impl Served {
    /// Before its first tick.
    #[must_use]
    pub(super) fn new(service: &Arc<Service>, scenario: &Scenario) -> Self {
        Self {
            planner: planner(service, scenario, None),
            plan: Arc::default(),
            gates: vec![Gate::default(); service.backends.len()],
            tallies: vec![Vec::new(); service.backends.len()],
            figures: vec![Figures::default(); service.backends.len()],
            turn: 0,
            sample: Sample { backends: vec![BackendSample::default(); service.backends.len()] },
            seen: 0,
            sampled: vec![(Tick(0), 0); service.backends.len()],
            of_machine: Vec::new(),
            full: full(service),
        }
    }

    /// A new configuration takes over, with what was learned.
    pub(super) fn reload(&mut self, service: &Arc<Service>, scenario: &Scenario) {
        self.planner = planner(service, scenario, Some(&self.planner));
        self.seen = 0;
        self.full = full(service);
    }

    /// A tick of the planner. `index` is the service's.
    pub(super) fn tick(&mut self, now: Tick, index: usize, fleet: &Fleet) {
        let service = Arc::clone(self.planner.service());
        let is_new = std::mem::replace(&mut self.seen, fleet.version) != fleet.version;
        let policies = &service.policies;
        let watches =
            policies.outlier_detection.is_some() || policies.locality == Locality::WeightedRoundRobin;
        for (number, backend) in service.backends.iter().enumerate() {
            let Some(site) = fleet.site_of(index, number) else { continue };
            let news = if is_new {
                News::Anything
            } else if watches || self.has_reports(now, (number, backend), site) {
                News::Numbers
            } else {
                News::Nothing
            };
            self.look(now, (number, backend), site, news);
        }
        let decision = self.planner.tick(now, &self.sample);
        for (gate, limits) in self.gates.iter_mut().zip(decision.limits) {
            gate.limits = limits;
        }
        self.figures = decision.figures;
        if let Some(plan) = decision.plan {
            self.plan = plan;
        }
    }

    /// Whether there is anything new that counts: a planner of UTILIZATION waits for the next reports as long as it has
    /// fresh ones.
    fn has_reports(&self, now: Tick, (number, backend): (usize, &Backend), site: &Site) -> bool {
        let (at, reports) = self.sampled.get(number).copied().unwrap_or_default();
        let is_fresh = |machine: &Machine| {
            machine.condition.is_healthy && machine.shown().is_some_and(|report| now.since(report.at) < FRESH)
        };
        match backend.mode {
            Mode::Utilization { .. } => {
                reports != site.reports || now.since(at) >= SAMPLED || !site.machines.iter().any(is_fresh)
            }
            _ => backend.mode.is_reported(),
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn look(&mut self, now: Tick, (number, backend): (usize, &Backend), site: &Site, news: News) {
        let (Some(sample), Some(gate), Some(tallies)) =
            (self.sample.backends.get_mut(number), self.gates.get(number), self.tallies.get_mut(number))
        else {
            return;
        };
        sample.admitted = gate.admitted();
        sample.overfilled = gate.overfilled();
        sample.refused = gate.refused();
        sample.backlog = gate.backlog(now);
        sample.in_flight = gate.in_flight.round() as u64;
        sample.news = news;
        grow(tallies, site);
        if news > News::Nothing {
            let machines = site.machines.iter().zip(tallies.iter());
            self.of_machine.clear();
            self.of_machine.extend(machines.map(|(machine, tally)| member(machine, tally, &backend.mode)));
            sample.members.clear();
            let members = site.slots.iter().filter_map(|slot| self.of_machine.get(*slot as usize));
            sample.members.extend(members);
            if let Some(sampled) = self.sampled.get_mut(number) {
                *sampled = (now, site.reports);
            }
        }
    }
}

/// The source that a configuration names is not modelled: reports come as the scenario says.
fn planner(service: &Arc<Service>, scenario: &Scenario, old: Option<&ServicePlanner>) -> ServicePlanner {
    let Reports { interval, delay, .. } = scenario.reports;
    let mut planner = ServicePlanner::new(Arc::clone(service), &scenario.places, old);
    planner.reports_are_due_in(Span(interval.0.saturating_add(delay.0)));
    planner
}

fn full(service: &Service) -> (u32, u32) {
    let detection = service.policies.outlier_detection.unwrap_or_default();
    (detection.consecutive_errors, detection.consecutive_gateway_failure)
}

/// Machines that are new have no tally yet; those split off have that of their origin.
fn grow(tallies: &mut Vec<Tally>, site: &Site) {
    while let Some(parent) = site.parents.get(tallies.len()) {
        let tally = parent.and_then(|parent| tallies.get(parent as usize)).copied().unwrap_or_default();
        tallies.push(tally);
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn member(machine: &Machine, tally: &Tally, mode: &Mode) -> MemberSample {
    let report = machine.shown().filter(|_| mode.is_reported());
    let mut metrics = [None; MAX_METRICS];
    if let Mode::CustomMetrics { metrics: wanted, .. } = mode {
        // The one thing that members model, under whatever name.
        metrics.iter_mut().zip(wanted.iter()).for_each(|(metric, _)| *metric = report);
    }
    MemberSample {
        is_healthy: machine.condition.is_healthy,
        is_undecided: machine.condition.is_undecided,
        finished: (tally.finished + 1e-6) as u64,
        failed: (tally.failed + 1e-6) as u64,
        report,
        metrics,
        conduct: Conduct {
            error_runs: tally.runs.0,
            gateway_failure_runs: tally.runs.1,
            weight: machine.weight(),
        },
    }
}

/// What the choice asks of a proxy.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// By backend.
    pub(super) gates: &'a mut [Gate],
    /// By backend and machine.
    pub(super) tallies: &'a [Vec<Tally>],
    /// Machines of the members, by backend.
    pub(super) fleet: (&'a Fleet, usize),
    /// Now.
    pub(super) now: Tick,
    /// Whether this is a second or later attempt.
    pub(super) is_retry: bool,
}

impl Live for Asked<'_> {
    fn admit(&mut self, backend: u32, room: Room) -> Option<u64> {
        let gate = self.gates.get_mut(backend as usize)?;
        if self.is_retry { gate.take_again(self.now, room) } else { gate.take(self.now, room) }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn in_flight(&self, backend: u32, member: u32) -> u64 {
        let (fleet, service) = self.fleet;
        let slot = fleet.site_of(service, backend as usize).and_then(|site| site.slots.get(member as usize));
        let tallies = self.tallies.get(backend as usize);
        let tally = slot.zip(tallies).and_then(|(slot, tallies)| tallies.get(*slot as usize));
        tally.map_or(0, |tally| tally.in_flight.max(0.0) as u64)
    }
}
