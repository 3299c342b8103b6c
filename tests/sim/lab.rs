//! A load balancer without sockets: real planner, real pick, gates made of the real arithmetic, modelled members.

use std::collections::VecDeque;
use std::sync::Arc;

use overspill::balance::pick::{self, Ask, NoPick, Pick, Reason};
use overspill::balance::plan::{BackendSample, Conduct, Figures, MemberSample, Plan, ReportSample, Sample};
use overspill::balance::planner::ServicePlanner;
use overspill::balance::rng::Rng;
use overspill::model::place::{OriginId, Places, RegionId};
use overspill::model::service::Service;
use overspill::model::unit::{Ratio, SECOND, Span, Tick};
use overspill::simulate::gate::Gate;

/// Utilization of a member that serves so many requests per second.
pub(crate) type Curve = Arc<dyn Fn(f64) -> f64>;

/// A modelled member.
pub(crate) struct Member {
    pub(crate) is_healthy: bool,
    /// Answers at once with a 5xx and burns nothing.
    pub(crate) fails_fast: bool,
    pub(crate) reports: bool,
    /// What outlier detection and reported weights go by.
    pub(crate) conduct: Conduct,
    pub(crate) served: u64,
    failed: u64,
    /// Requests that have ended; behind `served` when more came than the member can do.
    finished: f64,
    at_last_report: f64,
    pending: VecDeque<f64>,
    report: Option<ReportSample>,
    /// A second metric, reported beside it.
    beside: Option<ReportSample>,
    /// What it measures of itself where it reports with every answer.
    meter: Meter,
}

/// How a member that reports with every answer measures its own rate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Window {
    /// Requests of so many slots of 100 ms that are over, as the toy backend does.
    Slots(u64),
    /// An average that forgets: its time constant in seconds.
    Fading(f64),
}

#[derive(Debug, Clone, Default)]
struct Meter {
    arrivals: VecDeque<Tick>,
    /// (when, requests per second) of a fading average.
    fading: (Tick, f64),
}

impl Meter {
    /// The rate that the member sees when one more request has come.
    fn rate(&mut self, now: Tick, window: Window) -> f64 {
        const SLOT: u64 = SECOND / 10;
        match window {
            Window::Slots(slots) => {
                let slot = now.0 / SLOT;
                self.arrivals.push_back(now);
                while self.arrivals.front().is_some_and(|at| at.0 / SLOT + slots < slot) {
                    self.arrivals.pop_front();
                }
                let over = self.arrivals.partition_point(|at| at.0 / SLOT < slot);
                over as f64 * 10.0 / slots as f64
            }
            Window::Fading(seconds) => {
                let (then, rate) = self.fading;
                let rate = rate * (-now.since(then).as_secs() / seconds).exp() + 1.0 / seconds;
                self.fading = (now, rate);
                rate
            }
        }
    }
}

/// How members report.
#[derive(Clone)]
pub(crate) struct Reporting {
    pub(crate) curve: Curve,
    /// Requests per second at which a member has nothing left; what is more waits.
    pub(crate) most: f64,
    /// From report to report.
    pub(crate) interval: Span,
    /// Reports that each is late.
    pub(crate) lag: usize,
    /// Part by which a report may be wrong, either way.
    pub(crate) noise: f64,
}

impl Member {
    /// The balancer hears a report of this member.
    fn hear(&mut self, at: Tick, value: f64) {
        if self.reports {
            self.report = Some(after(self.report, at, value));
        }
    }
}

fn after(last: Option<ReportSample>, at: Tick, value: f64) -> ReportSample {
    let (reports, total) = last.map_or((0, 0), |last| (last.reports, last.total_micros));
    ReportSample {
        utilization: Ratio::new(value),
        at,
        reports: reports + 1,
        total_micros: total + (value * 1e6) as u64,
    }
}

pub(crate) struct Lab {
    pub(crate) service: Arc<Service>,
    pub(crate) places: Places,
    pub(crate) planner: ServicePlanner,
    pub(crate) plan: Arc<Plan>,
    pub(crate) figures: Vec<Figures>,
    pub(crate) gates: Vec<Gate>,
    pub(crate) members: Vec<Vec<Member>>,
    pub(crate) reporting: Option<Reporting>,
    /// The second metric of members that report two, at the interval of `reporting`; its curve is the first.
    pub(crate) beside: Option<Curve>,
    /// Set: members report with every answer, by the curve of `reporting`, and not by its interval.
    pub(crate) answers: Option<Window>,
    pub(crate) now: Tick,
    pub(crate) plans: u32,
    /// (when, where), in order.
    pub(crate) log: Vec<(Tick, Pick)>,
    pub(crate) lost: u64,
    worked: Tick,
    next_tick: Tick,
    next_report: Tick,
    jitter: Option<Rng>,
    noise: Rng,
    turn: u64,
    demand: f64,
    rng: Rng,
}

impl Lab {
    pub(crate) fn new(service: Service, places: Places) -> Self {
        let service = Arc::new(service);
        let member = || Member {
            is_healthy: true,
            fails_fast: false,
            reports: true,
            conduct: Conduct::default(),
            served: 0,
            failed: 0,
            finished: 0.0,
            at_last_report: 0.0,
            pending: VecDeque::new(),
            report: None,
            beside: None,
            meter: Meter::default(),
        };
        let backends = service.backends.iter();
        Self {
            planner: ServicePlanner::new(Arc::clone(&service), &places, None),
            plan: Arc::default(),
            figures: Vec::new(),
            gates: vec![Gate::default(); service.backends.len()],
            members: backends.map(|one| one.members.iter().map(|_| member()).collect()).collect(),
            reporting: None,
            beside: None,
            answers: None,
            now: Tick(0),
            plans: 0,
            log: Vec::new(),
            lost: 0,
            worked: Tick(0),
            next_tick: Tick(0),
            next_report: Tick(0),
            jitter: None,
            noise: Rng::new(3),
            turn: 0,
            demand: 0.0,
            rng: Rng::new(1),
            service,
            places,
        }
    }

    /// Ticks 90 to 130 ms apart instead of 100.
    pub(crate) fn jittered(mut self, seed: u64) -> Self {
        self.jitter = Some(Rng::new(seed));
        self.rng = Rng::new(seed ^ 0xABCD);
        self.noise = Rng::new(seed ^ 0x1234);
        self
    }

    pub(crate) fn reporting(mut self, reporting: Reporting) -> Self {
        self.next_report = Tick(0) + reporting.interval;
        self.reporting = Some(reporting);
        self
    }

    /// Evenly spaced arrivals.
    pub(crate) fn even(&mut self, rate: f64, seconds: f64) {
        let end = self.now.0 as f64 + seconds * 1e9;
        let gap = 1e9 / rate;
        // A phase of its own, so that arrivals and ticks meet nowhere in particular.
        let mut at = self.now.0 as f64 + gap * self.rng.unit();
        while at < end {
            self.arrive(Tick(at as u64), None);
            at += gap;
        }
        self.advance(Tick(end as u64));
    }

    /// Random arrivals.
    pub(crate) fn poisson(&mut self, rate: f64, seconds: f64) {
        let end = self.now.0 as f64 + seconds * 1e9;
        let mut at = self.now.0 as f64 + self.rng.exponential() * 1e9 / rate;
        while at < end {
            self.arrive(Tick(at as u64), None);
            at += self.rng.exponential() * 1e9 / rate;
        }
        self.advance(Tick(end as u64));
    }

    /// One request of a client in the proxy's own region.
    pub(crate) fn arrive(&mut self, at: Tick, key: Option<u64>) -> Option<Pick> {
        self.arrive_from(OriginId(0), at, key)
    }

    /// One request.
    pub(crate) fn arrive_from(&mut self, origin: OriginId, at: Tick, key: Option<u64>) -> Option<Pick> {
        self.advance(at);
        self.demand += 1.0;
        let ask = Ask { origin, key, pinned: None, turn: self.turn, tried: &[] };
        self.turn += 1;
        let gates = &mut self.gates;
        // Requests of the lab end at once.
        let mut admit = |backend: u32, room| {
            let turn = gates[backend as usize].take(at, room)?;
            gates[backend as usize].release();
            Some(turn)
        };
        match pick::choose(&self.plan, ask, &mut admit) {
            Ok(pick) => {
                let member = &mut self.members[pick.backend as usize][pick.member as usize];
                let may = member.is_healthy || self.plan.is_open || at < self.next_tick;
                assert!(may, "unhealthy member got a request");
                member.served += 1;
                member.failed += u64::from(member.fails_fast);
                self.log.push((at, pick));
                self.answer(at, pick);
                Some(pick)
            }
            Err(NoPick::NoHealthyMember | NoPick::AllTried | NoPick::Overloaded) => {
                self.lost += 1;
                None
            }
        }
    }

    /// The report of an answer that comes at once.
    fn answer(&mut self, at: Tick, pick: Pick) {
        let (Some(window), Some(reporting)) = (self.answers, &self.reporting) else { return };
        let member = &mut self.members[pick.backend as usize][pick.member as usize];
        let value = if member.fails_fast { 0.0 } else { (reporting.curve)(member.meter.rate(at, window)) };
        let value = value * (1.0 + reporting.noise * (2.0 * self.noise.unit() - 1.0));
        member.hear(at, value);
    }

    /// Regions of the tiers of the proxy's own origin, in order.
    pub(crate) fn advance_and_list(&mut self) -> Vec<RegionId> {
        self.advance(self.now);
        self.plan.origins[0].tiers.iter().map(|tier| tier.region).collect()
    }

    /// Time goes by: ticks and reports.
    pub(crate) fn advance(&mut self, to: Tick) {
        while self.next_tick.min(self.next_report_due()) <= to {
            self.work(self.next_tick.min(self.next_report_due()));
            if self.next_report_due() <= self.next_tick {
                self.report();
            } else {
                self.now = self.next_tick;
                self.tick();
                let gap = self.jitter.as_mut().map_or(100, |rng| 90 + rng.below(41));
                self.next_tick = self.next_tick + Span::millis(gap);
            }
        }
        self.now = to;
    }

    /// Members do what they can until `to`.
    fn work(&mut self, to: Tick) {
        let most = self.reporting.as_ref().map_or(f64::INFINITY, |reporting| reporting.most);
        let seconds = to.since(self.worked).as_secs();
        self.worked = self.worked.max(to);
        for member in self.members.iter_mut().flatten() {
            let can = if member.fails_fast { f64::INFINITY } else { most * seconds };
            member.finished = (member.served as f64).min(member.finished + can.max(0.0));
        }
    }

    fn next_report_due(&self) -> Tick {
        if self.reporting.is_some() && self.answers.is_none() { self.next_report } else { Tick(u64::MAX) }
    }

    fn report(&mut self) {
        let reporting = self.reporting.clone().unwrap();
        let now = self.next_report;
        for member in self.members.iter_mut().flatten() {
            let ended = member.finished - member.at_last_report;
            member.at_last_report = member.finished;
            let rate = ended / reporting.interval.as_secs();
            let noise = 1.0 + reporting.noise * (2.0 * self.noise.unit() - 1.0);
            let value = if member.fails_fast { 0.0 } else { (reporting.curve)(rate) * noise };
            if let Some(curve) = &self.beside {
                member.beside = Some(after(member.beside, now, curve(rate) * noise));
            }
            member.pending.push_back(value);
            if member.pending.len() > reporting.lag {
                let value = member.pending.pop_front().unwrap();
                member.hear(now, value);
            }
        }
        self.next_report = now + reporting.interval;
    }

    /// A tick of the planner, now.
    pub(crate) fn tick(&mut self) {
        // Those that report with every answer do so as configured.
        if let Some(Reporting { interval, lag, .. }) =
            self.reporting.as_ref().filter(|_| self.answers.is_none())
        {
            self.planner.reports_are_due_in(Span(interval.0 * (*lag as u64 + 1)));
        }
        let sample = self.sample();
        let decision = self.planner.tick(self.now, &sample);
        for (gate, limits) in self.gates.iter_mut().zip(decision.limits) {
            gate.limits = limits;
        }
        self.figures = decision.figures;
        if let Some(plan) = decision.plan {
            self.plan = plan;
            self.plans += 1;
        }
    }

    pub(crate) fn sample(&self) -> Sample {
        let member = |member: &Member| MemberSample {
            is_healthy: member.is_healthy,
            finished: member.finished as u64,
            failed: member.failed,
            report: member.report,
            conduct: member.conduct,
            metrics: [member.report, member.beside],
            ..MemberSample::default()
        };
        let backend = |(gate, members): (&Gate, &Vec<Member>)| BackendSample {
            admitted: gate.admitted(),
            overfilled: gate.overfilled(),
            refused: gate.refused(),
            backlog: gate.backlog(self.now),
            in_flight: 0,
            members: members.iter().map(member).collect(),
            ..BackendSample::default()
        };
        Sample { backends: self.gates.iter().zip(&self.members).map(backend).collect() }
    }

    /// A new configuration takes over; live numbers stay.
    pub(crate) fn reload(&mut self, service: Service) {
        let service = Arc::new(service);
        self.planner = ServicePlanner::new(Arc::clone(&service), &self.places, Some(&self.planner));
        self.service = service;
        self.tick();
    }

    /// Requests per second that a backend got from `from` to `to`, in seconds of the simulation.
    pub(crate) fn rate(&self, backend: u32, from: f64, to: f64) -> f64 {
        let inside = |at: Tick| (from..to).contains(&(at.0 as f64 / SECOND as f64));
        let got = self.log.iter().filter(|(at, pick)| pick.backend == backend && inside(*at)).count();
        got as f64 / (to - from)
    }

    /// Requests placed for this reason.
    pub(crate) fn count(&self, reason: Reason) -> usize {
        self.log.iter().filter(|(_, pick)| pick.reason == reason).count()
    }

    /// Requests on this backend.
    pub(crate) fn on(&self, backend: u32) -> usize {
        self.log.iter().filter(|(_, pick)| pick.backend == backend).count()
    }
}
