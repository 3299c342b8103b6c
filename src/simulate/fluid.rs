//! The run with flows: in each tick so many requests a second go where the plan says, and members that are alike are
//! one machine. Costs the same however many requests there are.
//!
//! What it smooths over: inside a backend members share evenly, or by the plan's weights; random arrivals fill no
//! backend for a moment; waiting times are those of the textbook, plus what has piled up.

use std::sync::Arc;

use super::fleet::{Fleet, Grain, Site};
use super::flow::Flow;
use super::machine::{AT_ONCE, Machine};
use super::proxy::{Ending, Served};
use super::record::{Counts, Record};
use super::scenario::{Demand, Scenario};
use super::spread::{Portion, Spread};
use super::stage::Stage;
use crate::balance::hash;
use crate::model::service::{Affinity, Service};
use crate::model::unit::{Span, Tick};

/// Clients' regions pour so often in a tick, each its part, so that none finds a backend full of the others'.
const TURNS: u64 = 8;

/// Latencies are worked out so often in a row at most.
const LOOKS: u64 = 5;

struct Run<'a> {
    stage: Stage<'a>,
    /// How each proxy spreads a backend's flow over machines, by proxy, service and backend.
    spreads: Vec<Vec<Spread>>,
    /// Requests of this tick, by proxy, service and backend.
    poured: Vec<Vec<Vec<f64>>>,
    /// Requests of this row, by service, origin and backend.
    routes: Vec<Vec<Vec<f64>>>,
    /// How clustered arrivals are, by service: 1 = random, 0 = even.
    scatter: Vec<f64>,
    /// Seconds after which an answer is too late, by service.
    timeouts: Vec<f64>,
}

/// Plays the scenario.
#[must_use]
pub(super) fn run(services: &[Arc<Service>], scenario: &Scenario) -> Record {
    let stage = Stage::new(services, scenario, Grain::Alike);
    let origins = scenario.places.origins.len();
    let timeout = |service: &Arc<Service>| match service.timeout {
        Span::ZERO => f64::INFINITY,
        timeout => timeout.as_secs(),
    };
    let zeros = |service: &Arc<Service>| vec![0.0; service.backends.len()];
    let mut run = Run {
        spreads: vec![vec![Spread::default(); services.len()]; stage.proxies.len()],
        poured: vec![services.iter().map(zeros).collect(); stage.proxies.len()],
        routes: services.iter().map(|service| vec![zeros(service); origins]).collect(),
        scatter: (0..services.len()).map(|service| scatter(&scenario.demand, service)).collect(),
        timeouts: services.iter().map(timeout).collect(),
        stage,
    };
    run.play();
    run.stage.record
}

impl Run<'_> {
    fn play(&mut self) {
        let scenario = self.stage.scenario;
        let end = Tick(0) + scenario.duration;
        let mut events = scenario.events.iter().peekable();
        let mut next =
            Next { report: Tick(0) + scenario.reports.interval, row: Tick(0) + scenario.row, look: Tick(0) };
        let mut now = Tick(0);
        loop {
            while let Some(event) = events.next_if(|event| event.at <= now) {
                self.stage.happen(event, now);
            }
            self.stage.probe(now);
            if next.report <= now {
                self.stage.report(now);
                // Reports more often than ticks come with each tick.
                next.report = (next.report + scenario.reports.interval).max(now + Span(1));
            }
            self.stage.tick(now);
            if next.row <= now {
                self.close_row(now);
                next.row = next.row + scenario.row;
            }
            if now >= end {
                self.close_row(now);
                break;
            }
            let step = (now + scenario.tick).min(end).since(now);
            self.pour(now, step);
            self.serve(now, step, &mut next.look);
            now = now + step;
        }
    }

    /// Requests of one step find their backends.
    #[allow(clippy::cast_precision_loss)]
    fn pour(&mut self, now: Tick, step: Span) {
        let Self { stage, spreads, poured, scatter, .. } = self;
        for (served, (spreads, poured)) in stage.proxies.iter_mut().zip(spreads.iter_mut().zip(poured)) {
            for (service, served) in served.iter_mut().enumerate() {
                let Some(spread) = spreads.get_mut(service) else { continue };
                spread.follow(served, (&stage.fleet, service));
                let scatter = scatter.get(service).copied().unwrap_or(1.0);
                for (number, gate) in served.gates.iter_mut().enumerate() {
                    let stay = spread.stay(stage.fleet.site_of(service, number), number, scatter);
                    gate.hold(stay, scatter, step.as_secs());
                }
                if let Some(poured) = poured.get_mut(service) {
                    poured.fill(0.0);
                }
            }
        }
        let middle = now + Span(step.0 / 2);
        let scenario = self.stage.scenario;
        let rates: Vec<_> = (1..)
            .zip(&scenario.demand)
            .map(|(n, demand)| demand.rate_at(middle, hash::mix(scenario.seed, n)) * step.as_secs())
            .collect();
        let turns = if scenario.demand.len() > 1 { TURNS } else { 1 };
        let part = Span(step.0 / turns);
        for turn in 0..turns {
            let at = now + Span(part.0 * turn);
            let served = self.stage.proxies.iter_mut().flatten();
            served.flat_map(|served| &mut served.gates).for_each(|gate| gate.open(at, part));
            for (demand, amount) in scenario.demand.iter().zip(&rates) {
                self.pour_demand(demand, amount / turns as f64);
            }
        }
    }

    fn pour_demand(&mut self, demand: &Demand, amount: f64) {
        let all = self.stage.proxies.len();
        for proxy in 0..all {
            let part = match demand.proxy {
                Some(only) if only == proxy => amount,
                Some(_) => 0.0,
                #[allow(clippy::cast_precision_loss)]
                None => amount / all as f64,
            };
            if part > 0.0 {
                self.pour_into(proxy, demand, part);
            }
        }
    }

    fn pour_into(&mut self, proxy: usize, demand: &Demand, amount: f64) {
        let Stage { fleet, proxies, counts, .. } = &mut self.stage;
        let served = proxies.get_mut(proxy).and_then(|proxy| proxy.get_mut(demand.service));
        let (Some(served), Some(counts), Some(service)) =
            (served, counts.get_mut(demand.service), fleet.services.get(demand.service))
        else {
            return;
        };
        let poured = self.poured.get_mut(proxy).and_then(|poured| poured.get_mut(demand.service));
        let origin = usize::from(demand.origin.0);
        let route = self.routes.get_mut(demand.service).and_then(|routes| routes.get_mut(origin));
        let (Some(poured), Some(route), Some(of_origin)) = (poured, route, counts.origins.get_mut(origin))
        else {
            return;
        };
        let mut flow = Flow::new(&served.plan, &mut served.gates, service.affinity != Affinity::None);
        flow.pour(demand.origin, amount);
        of_origin.unserved += flow.unserved;
        of_origin.rejected += flow.rejected;
        for (backend, reason, amount) in flow.placed {
            let backend = backend as usize;
            of_origin.place(reason, amount);
            if let Some(counts) = counts.backends.get_mut(backend) {
                counts.place(reason, amount);
            }
            for sum in [poured.get_mut(backend), route.get_mut(backend)].into_iter().flatten() {
                *sum += amount;
            }
        }
    }

    /// Members serve what was poured.
    fn serve(&mut self, now: Tick, step: Span, look: &mut Tick) {
        let seconds = step.as_secs();
        let Self { stage, spreads, poured, scatter, timeouts, .. } = self;
        let Stage { fleet: Fleet { sites, backends, .. }, proxies, counts, scenario, .. } = stage;
        let flows = Flows { spreads, poured, backends };
        sites.iter_mut().flat_map(|site| &mut site.machines).for_each(|machine| machine.rate = 0.0);
        flows.each(|at, portion, amount| {
            if let Some(machine) = at.machine(sites, portion) {
                machine.rate += amount * portion.part / portion.members / seconds;
            }
        });
        let machines =
            |site: &mut Site| site.machines.iter_mut().map(|machine| machine.flow(seconds)).collect();
        let done: Vec<Vec<f64>> = sites.iter_mut().map(machines).collect();
        // A row's latencies are looked at a few times, each time for all requests until the next look.
        let is_due = *look <= now;
        if is_due {
            *look = now + Span((scenario.row.0 / LOOKS).max(step.0));
        }
        let until = if is_due { look.since(now).as_secs() / seconds } else { 0.0 };
        for served in proxies.iter_mut().flatten() {
            served.gates.iter_mut().for_each(|gate| gate.in_flight = 0.0);
        }
        flows.each(|at, portion, amount| {
            let Some(machine) = at.machine(sites, portion) else { return };
            let timeout = timeouts.get(at.service).copied().unwrap_or(f64::INFINITY);
            let clumps = scatter.get(at.service).copied().unwrap_or(1.0) / portion.sharers;
            let served = proxies.get_mut(at.proxy).and_then(|proxy| proxy.get_mut(at.service));
            let counts = counts.get_mut(at.service).and_then(|counts| counts.backends.get_mut(at.backend));
            let (Some(served), Some(counts)) = (served, counts) else { return };
            let part = done.get(at.site).and_then(|site| site.get(portion.machine as usize));
            let ends =
                Ends { amount: amount * portion.part, clumps, timeout, part: part.copied().unwrap_or(1.0) };
            ends.settle(machine, portion, (served, at.backend), seconds);
            ends.measure(machine, counts, until);
        });
    }

    /// A row ends: clients' latencies and errors are those of the backends that they were sent to.
    fn close_row(&mut self, now: Tick) {
        for (counts, routes) in self.stage.counts.iter_mut().zip(&mut self.routes) {
            for (origin, route) in counts.origins.iter_mut().zip(routes) {
                for (backend, amount) in counts.backends.iter().zip(route.iter_mut()) {
                    let all: f64 = backend.reasons.iter().sum();
                    if all > 0.0 && *amount > 0.0 {
                        origin.latency.merge(&backend.latency, *amount);
                        origin.errors += backend.errors * *amount / all;
                    }
                    *amount = 0.0;
                }
            }
        }
        self.stage.row(now);
    }
}

/// What is poured where.
struct Flows<'a> {
    spreads: &'a [Vec<Spread>],
    poured: &'a [Vec<Vec<f64>>],
    backends: &'a [Vec<usize>],
}

/// A backend in a proxy.
#[derive(Clone, Copy)]
struct At {
    proxy: usize,
    service: usize,
    backend: usize,
    site: usize,
}

impl Flows<'_> {
    fn each(&self, mut each: impl FnMut(At, Portion, f64)) {
        for (proxy, (spreads, poured)) in self.spreads.iter().zip(self.poured).enumerate() {
            for (service, ((spread, poured), sites)) in
                spreads.iter().zip(poured).zip(self.backends).enumerate()
            {
                for (backend, ((portions, amount), site)) in
                    spread.backends.iter().zip(poured).zip(sites).enumerate()
                {
                    let at = At { proxy, service, backend, site: *site };
                    portions.iter().for_each(|portion| each(at, *portion, *amount));
                }
            }
        }
    }
}

impl At {
    fn machine(self, sites: &mut [Site], portion: Portion) -> Option<&mut Machine> {
        sites.get_mut(self.site)?.machines.get_mut(portion.machine as usize)
    }
}

/// Requests of a step that a machine's members got from one proxy, and how they end.
struct Ends {
    amount: f64,
    /// How clustered they come at one member.
    clumps: f64,
    /// Seconds after which an answer is too late.
    timeout: f64,
    /// Of what waits at the machine, so much is done in this step.
    part: f64,
}

impl Ends {
    /// Into the proxy's own figures.
    fn settle(
        &self,
        machine: &Machine,
        portion: Portion,
        (served, backend): (&mut Served, usize),
        seconds: f64,
    ) {
        let stay = if machine.condition.is_lost { 0.0 } else { machine.stay(self.clumps).min(self.timeout) };
        if let Some(gate) = served.gates.get_mut(backend) {
            gate.in_flight += self.amount / seconds * stay;
        }
        let tallies = served.tallies.get_mut(backend);
        if let Some(tally) = tallies.and_then(|tallies| tallies.get_mut(portion.machine as usize)) {
            let how = if machine.condition.is_lost { Ending::Broken } else { Ending::Failed };
            tally.flow(self.amount / portion.members, self.part, (self.errors(machine), how), served.full);
        }
    }

    /// Into the result. Latencies count for all requests `until` the next look, in steps.
    fn measure(&self, machine: &Machine, counts: &mut Counts, until: f64) {
        counts.errors += self.amount * self.errors(machine);
        let weight = self.amount * until;
        if weight <= 0.0 {
            return;
        }
        if machine.condition.is_lost {
            counts.latency.add(AT_ONCE, weight);
            return;
        }
        machine.latencies(self.clumps, |seconds, part| {
            counts.latency.add(seconds.min(self.timeout), weight * part);
        });
    }

    fn errors(&self, machine: &Machine) -> f64 {
        if machine.condition.is_lost || machine.queue() > self.timeout { 1.0 } else { machine.errors() }
    }
}

struct Next {
    report: Tick,
    row: Tick,
    /// When latencies are worked out next.
    look: Tick,
}

/// How clustered a service's arrivals are: 1 where all demand is random, 0 where it is even.
fn scatter(demand: &[Demand], service: usize) -> f64 {
    let of_service = || demand.iter().filter(|demand| demand.service == service);
    let sum: f64 = of_service().map(|demand| f64::from(u8::from(!demand.is_even))).sum();
    let count: f64 = of_service().map(|_| 1.0).sum();
    if count > 0.0 { sum / count } else { 1.0 }
}
