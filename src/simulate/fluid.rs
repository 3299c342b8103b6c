//! The run with flows: in each tick so many requests a second go where the plan says, and members that are alike are
//! one machine. Costs the same however many requests there are.
//!
//! Where arrivals are random, so many come in each piece of a tick as chance brings, so that gates, planners and reports
//! see the same scatter as with single requests.
//!
//! What it smooths over: inside a backend members share evenly, or by the plan's weights; waiting times, and how often
//! random arrivals find all places of a limit in number taken, are those of the textbook, plus what has piled up.

use std::sync::Arc;

use super::again::{self, Again};
use super::demand::Draws;
use super::ends::{Ends, Flows};
use super::fleet::{Fleet, Grain};
use super::flow::{Flow, Poured, Way};
use super::proxy::Ending;
use super::record::Record;
use super::scenario::{Demand, Scenario};
use super::spread::Spread;
use super::stage::Stage;
use crate::balance::hash;
use crate::balance::pick::Reason;
use crate::balance::rng::Rng;
use crate::model::service::{Affinity, Service};
use crate::model::unit::{Span, Tick};

/// Clients' regions pour so often in a tick, each its part, and another one first each time, so that none finds a
/// backend full of the others'.
const TURNS: u64 = 8;

/// Over what time it is seen how full gates are.
const AVERAGED: Span = Span::secs(1);

/// And how random what they let through is.
const WATCHED: Span = Span::secs(20);

/// Latencies are worked out so often in a row, at most.
const LOOKS: u64 = 12;

struct Run<'a> {
    stage: Stage<'a>,
    /// How each proxy spreads a backend's flow over machines, by proxy, service and backend.
    spreads: Vec<Vec<Spread>>,
    /// Requests of this tick, by proxy, service and backend.
    poured: Vec<Vec<Vec<f64>>>,
    /// Attempts of this tick that lost members refused, in the same order.
    refused: Vec<Vec<Vec<f64>>>,
    /// What was refused and asks again.
    waiting: Vec<Again>,
    /// Requests of this row, by service, origin and backend.
    routes: Vec<Vec<Vec<f64>>>,
    /// How clustered arrivals are, by service: 1 = random, 0 = even.
    scatter: Vec<f64>,
    /// By demand and proxy.
    draws: Vec<Vec<Draws>>,
    /// Requests of this turn, by demand and proxy.
    amounts: Vec<Vec<f64>>,
    /// Whose demand comes first.
    order: Rng,
    out: Poured,
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
        refused: vec![services.iter().map(zeros).collect(); stage.proxies.len()],
        waiting: Vec::new(),
        routes: services.iter().map(|service| vec![zeros(service); origins]).collect(),
        scatter: (0..services.len()).map(|service| scatter(&scenario.demand, service)).collect(),
        timeouts: services.iter().map(timeout).collect(),
        draws: draws(services, scenario),
        amounts: vec![vec![0.0; stage.proxies.len()]; scenario.demand.len()],
        order: Rng::new(scenario.seed ^ 0x5EED_0003),
        out: Poured::default(),
        stage,
    };
    run.play();
    run.stage.record
}

/// A limit in number knows of chance by formula: what comes there comes as expected.
fn draws(services: &[Arc<Service>], scenario: &Scenario) -> Vec<Vec<Draws>> {
    let is_counted = |service: &Arc<Service>| service.backends.iter().any(|one| one.mode.count().is_some());
    let of_demand = |(n, demand): (u64, &Demand)| {
        let of_proxy = |proxy: u64| match services.get(demand.service) {
            Some(service) if is_counted(service) => Draws::Even,
            _ => Draws::new(demand, hash::mix(hash::mix(scenario.seed, n), DRAWS.wrapping_add(proxy))),
        };
        (0..scenario.proxies.max(1) as u64).map(of_proxy).collect()
    };
    (1..).zip(&scenario.demand).map(of_demand).collect()
}

/// Any number; sets the draws of demands apart from others of the same seed.
const DRAWS: u64 = 0x6472_6177;

impl Run<'_> {
    fn play(&mut self) {
        let scenario = self.stage.scenario;
        let end = Tick(0) + scenario.duration;
        let mut events = scenario.events.iter().peekable();
        let mut next =
            Next { report: Tick(0) + scenario.reports.interval, row: Tick(0) + scenario.row, look: Tick(0) };
        let mut now = Tick(0);
        loop {
            let mut is_calm = true;
            while let Some(event) = events.next_if(|event| event.at <= now) {
                self.stage.happen(event, now);
                is_calm = false;
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
            if !is_calm {
                self.lose();
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

    /// What members had under way when they were lost, is lost too.
    fn lose(&mut self) {
        let Self { stage, spreads, poured, scatter, timeouts, .. } = self;
        let Stage { fleet: Fleet { sites, backends, .. }, counts, scenario, .. } = stage;
        // Nobody is in a spread who was lost before.
        Flows { spreads, poured, backends }.each(|at, portion, amount| {
            let lost = at.machine(sites, portion).filter(|machine| machine.condition.is_lost);
            let counts = counts.get_mut(at.service).and_then(|counts| counts.backends.get_mut(at.backend));
            if let (Some(machine), Some(counts)) = (lost, counts) {
                let timeout = timeouts.get(at.service).copied().unwrap_or(f64::INFINITY);
                let scatter = scatter.get(at.service).copied().unwrap_or(1.0);
                let stay = machine.stay(scatter / portion.sharers).min(timeout);
                counts.errors += amount / scenario.tick.as_secs() * portion.part * stay;
            }
        });
    }

    /// Requests of one step find their backends.
    #[allow(clippy::cast_precision_loss)]
    fn pour(&mut self, now: Tick, step: Span) {
        self.prepare(step);
        let middle = now + Span(step.0 / 2);
        let scenario = self.stage.scenario;
        let rates: Vec<_> = (1..)
            .zip(&scenario.demand)
            .map(|(n, demand)| demand.rate_at(middle, hash::mix(scenario.seed, n)) * step.as_secs())
            .collect();
        let is_plain = scenario.demand.len() <= 1 && scenario.demand.iter().all(|demand| demand.is_even);
        let turns = if is_plain { 1 } else { TURNS };
        let part = Span(step.0 / turns);
        for turn in 0..turns {
            let at = now + Span(part.0 * turn);
            for served in &mut self.stage.proxies {
                for (served, scatter) in served.iter_mut().zip(&self.scatter) {
                    served.gates.iter_mut().for_each(|gate| gate.open(at, part, *scatter));
                }
            }
            for (n, rate) in rates.iter().enumerate() {
                self.draw(n, rate / turns as f64);
            }
            self.turn();
        }
    }

    /// How many requests of a demand come in a turn.
    #[allow(clippy::cast_precision_loss)]
    fn draw(&mut self, n: usize, mean: f64) {
        let (Some(demand), Some(amounts), Some(draws)) =
            (self.stage.scenario.demand.get(n), self.amounts.get_mut(n), self.draws.get_mut(n))
        else {
            return;
        };
        let all = amounts.len() as f64;
        for (proxy, (amount, draws)) in amounts.iter_mut().zip(draws).enumerate() {
            *amount = match demand.proxy {
                Some(only) if only == proxy => draws.draw(mean),
                Some(_) => 0.0,
                None => draws.draw(mean / all),
            };
        }
    }

    /// All demands pour what was drawn.
    fn turn(&mut self) {
        let demands = &self.stage.scenario.demand;
        let first = usize::try_from(self.order.below(demands.len() as u64)).unwrap_or_default();
        for (n, demand) in demands.iter().enumerate().cycle().skip(first).take(demands.len()) {
            for proxy in 0..self.stage.proxies.len() {
                let amount = self.amounts.get(n).and_then(|amounts| amounts.get(proxy)).copied();
                if let Some(amount) = amount.filter(|amount| *amount > 0.0) {
                    self.pour_into(proxy, demand, amount);
                }
            }
        }
    }

    /// Proxies have new plans and limits.
    fn prepare(&mut self, step: Span) {
        let kept = (-step.as_secs() / AVERAGED.as_secs()).exp();
        let part = 1.0 - (-step.as_secs() / WATCHED.as_secs()).exp();
        self.refused.iter_mut().flatten().for_each(|refused| refused.fill(0.0));
        let Self { stage, spreads, poured, scatter, .. } = self;
        for (served, (spreads, poured)) in stage.proxies.iter_mut().zip(spreads.iter_mut().zip(poured)) {
            for (service, served) in served.iter_mut().enumerate() {
                let Some(spread) = spreads.get_mut(service) else { continue };
                spread.follow(served, (&stage.fleet, service));
                let scatter = scatter.get(service).copied().unwrap_or(1.0);
                let poured = poured.get_mut(service);
                for (gate, count) in served.gates.iter_mut().zip(poured.iter().flat_map(|all| all.iter())) {
                    gate.fade(kept);
                    gate.watch(*count, part);
                }
                let gates = served.gates.iter_mut().enumerate();
                for (number, gate) in gates.filter(|(_, gate)| gate.limits.count != u64::MAX) {
                    let stay = spread.stay(stage.fleet.site_of(service, number), number, scatter);
                    gate.hold(stay, scatter, step.as_secs());
                }
                if let Some(poured) = poured {
                    poured.fill(0.0);
                }
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
        let spread = self.spreads.get(proxy).and_then(|spreads| spreads.get(demand.service));
        let refusals = self.refused.get_mut(proxy).and_then(|refused| refused.get_mut(demand.service));
        let (Some(spread), Some(refusals)) = (spread, refusals) else { return };
        let out = &mut self.out;
        let has_sessions = service.affinity != Affinity::None;
        let mut place = |(backend, reason, amount): (u32, Reason, f64), fails: bool| {
            let backend = backend as usize;
            of_origin.place(reason, amount);
            if let Some(counts) = counts.backends.get_mut(backend) {
                counts.place(reason, amount);
                counts.errors += if fails { amount } else { 0.0 };
            }
            let poured = if fails { None } else { poured.get_mut(backend) };
            for sum in [poured, route.get_mut(backend)].into_iter().flatten() {
                *sum += amount;
            }
        };
        let all = amount;
        self.waiting.push(Again::first(all));
        let (mut unserved, mut rejected) = (0.0, 0.0);
        while let Some(part) = self.waiting.pop() {
            out.clear();
            let way = Way { plan: &served.plan, has_sessions, tried: part.tried() };
            Flow { way, gates: &mut served.gates, out }.pour(demand.origin, part.amount);
            (unserved, rejected) = (unserved + out.unserved, rejected + out.rejected);
            if let Some(last) = part.tried().last().filter(|_| out.stuck > 0.0) {
                place((*last, part.reason, out.stuck), true);
            }
            let from = self.waiting.len();
            for (backend, reason, amount) in out.placed.iter().copied() {
                let refused = amount * spread.refused(backend, part.tried_at(backend));
                place((backend, reason, amount - refused), false);
                if refused <= 0.0 {
                    continue;
                }
                if let Some(sum) = refusals.get_mut(backend as usize) {
                    *sum += refused;
                }
                match part.refused((backend, reason, refused)) {
                    Some(next) => again::wait(&mut self.waiting, from, next, all),
                    None => place((backend, reason, refused), true),
                }
            }
        }
        of_origin.unserved += unserved;
        of_origin.rejected += rejected;
    }

    /// Proxies count what lost members refused.
    fn refuse(&mut self) {
        let Self { stage, spreads, refused, .. } = self;
        let served = stage.proxies.iter_mut().flatten();
        for (served, (spread, refused)) in served.zip(spreads.iter().flatten().zip(refused.iter().flatten()))
        {
            for ((lost, amount), tallies) in spread.lost.iter().zip(refused).zip(&mut served.tallies) {
                for portion in &lost.portions {
                    if let Some(tally) = tallies.get_mut(portion.machine as usize) {
                        let amount = amount * portion.part / portion.members;
                        tally.flow(amount, 1.0, (1.0, Ending::Broken), served.full);
                    }
                }
            }
        }
    }

    /// Members serve what was poured.
    fn serve(&mut self, now: Tick, step: Span, look: &mut Tick) {
        let seconds = step.as_secs();
        self.refuse();
        let Self { stage, spreads, poured, scatter, timeouts, .. } = self;
        let Stage { fleet: Fleet { sites, backends, .. }, proxies, counts, scenario, .. } = stage;
        let flows = Flows { spreads, poured, backends };
        let machines = sites.iter_mut().flat_map(|site| &mut site.machines);
        machines.for_each(|machine| (machine.rate, machine.crowd) = (0.0, 0.0));
        flows.each(|at, portion, amount| {
            if let Some(machine) = at.machine(sites, portion) {
                machine.rate += amount * portion.part / portion.members / seconds;
                machine.crowd += amount / seconds;
            }
        });
        let is_random = scatter.iter().any(|scatter| *scatter > 0.0);
        let machines = sites.iter_mut().flat_map(|site| &mut site.machines);
        machines.for_each(|machine| machine.flow(seconds, is_random));
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
            let behind_gate = served.gates.get(at.backend).map_or(1.0, |gate| gate.scatter(machine.load()));
            let clumps = clumps * behind_gate;
            let ends = Ends { amount: amount * portion.part, clumps, timeout, part: machine.done };
            ends.settle(machine, portion, (served, at.backend), seconds);
            ends.measure(machine, counts, until);
        });
    }

    /// A row ends: clients' latencies and errors are those of the backends that they were sent to.
    fn close_row(&mut self, now: Tick) {
        for (counts, routes) in self.stage.counts.iter_mut().zip(&mut self.routes) {
            let placed: f64 = counts.origins.iter().flat_map(|origin| origin.reasons).sum();
            for (origin, route) in counts.origins.iter_mut().zip(routes) {
                let part = origin.reasons.iter().sum::<f64>() / placed;
                for (backend, amount) in counts.backends.iter().zip(route.iter_mut()) {
                    let all: f64 = backend.reasons.iter().sum();
                    if all > 0.0 && *amount > 0.0 {
                        origin.latency.merge(&backend.latency, *amount);
                        origin.errors += backend.errors * *amount / all;
                    } else if all <= 0.0 && part > 0.0 {
                        // Of requests of an earlier row: nobody knows any more whose they were.
                        origin.errors += backend.errors * part;
                    }
                    *amount = 0.0;
                }
            }
        }
        self.stage.row(now);
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
