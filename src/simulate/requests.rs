//! The run with single requests: each one is picked, served and ended at its moment. Exact, and too slow for millions
//! a second.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::demand::Arrivals;
use super::fleet::{Fleet, Grain};
use super::machine::{AT_ONCE, Outcome};
use super::proxy::{Asked, Ending, Tally};
use super::record::{Counts, Record};
use super::scenario::Scenario;
use super::stage::Stage;
use crate::balance::hash;
use crate::balance::pick::{self, Ask, NoPick, Pick};
use crate::model::place::OriginId;
use crate::model::service::{Affinity, Service};
use crate::model::unit::{Span, Tick};

/// Attempts of a request whose connections are refused, with the first.
pub(super) const ATTEMPTS: usize = 4;

/// One run.
struct Run<'a> {
    stage: Stage<'a>,
    arrivals: Vec<Arrivals<'a>>,
    /// What is to come; equal moments in the order of their numbers.
    heap: BinaryHeap<Reverse<(Tick, u64, Todo)>>,
    number: u64,
    end: Tick,
}

/// What is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Todo {
    /// An event of the scenario.
    Happen(usize),
    /// Members report.
    Report,
    /// Planners tick.
    Tick,
    /// A row ends.
    Row,
    /// A request of this demand comes.
    Arrive(usize),
    /// A request ends.
    End(Visit),
}

/// A request at a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Visit {
    began: Tick,
    proxy: usize,
    service: usize,
    backend: u32,
    machine: u32,
    origin: OriginId,
    how: Ending,
}

/// Plays the scenario.
#[must_use]
pub(super) fn run(services: &[Arc<Service>], scenario: &Scenario) -> Record {
    let numbered = (1..).zip(&scenario.demand);
    let arrivals = numbered.map(|(n, demand)| Arrivals::new(demand, hash::mix(scenario.seed, n)));
    let mut run = Run {
        stage: Stage::new(services, scenario, Grain::Single),
        arrivals: arrivals.collect(),
        heap: BinaryHeap::new(),
        number: 0,
        end: Tick(0) + scenario.duration,
    };
    run.prepare();
    while let Some(Reverse((now, _, todo))) = run.heap.pop() {
        if now > run.end {
            break;
        }
        run.stage.probe(now);
        run.perform(now, todo);
    }
    run.stage.row(run.end);
    run.stage.record
}

impl Run<'_> {
    fn prepare(&mut self) {
        let scenario = self.stage.scenario;
        for (n, event) in scenario.events.iter().enumerate() {
            self.push(event.at, Todo::Happen(n));
        }
        self.push(Tick(0), Todo::Tick);
        self.push(Tick(0) + scenario.reports.interval, Todo::Report);
        self.push(Tick(0) + scenario.row, Todo::Row);
        for n in 0..self.arrivals.len() {
            self.arrive_next(n);
        }
    }

    fn push(&mut self, at: Tick, todo: Todo) {
        self.number += 1;
        self.heap.push(Reverse((at, self.number, todo)));
    }

    fn arrive_next(&mut self, demand: usize) {
        let next = self.arrivals.get_mut(demand).and_then(|arrivals| arrivals.next(self.end));
        if let Some(at) = next {
            self.push(at, Todo::Arrive(demand));
        }
    }

    fn perform(&mut self, now: Tick, todo: Todo) {
        let scenario = self.stage.scenario;
        match todo {
            Todo::Happen(n) => {
                if let Some(event) = scenario.events.get(n) {
                    self.stage.happen(event, now);
                }
            }
            Todo::Report => {
                self.stage.report(now);
                self.push(now + scenario.reports.interval, todo);
            }
            Todo::Tick => {
                self.stage.tick(now);
                self.push(now + scenario.tick, todo);
            }
            Todo::Row => {
                self.stage.row(now);
                self.push(now + scenario.row, todo);
            }
            Todo::Arrive(demand) => {
                self.arrive(now, demand);
                self.arrive_next(demand);
            }
            Todo::End(visit) => self.end(now, visit),
        }
    }

    fn arrive(&mut self, now: Tick, number: usize) {
        let scenario = self.stage.scenario;
        let (Some(demand), Some(arrivals)) = (scenario.demand.get(number), self.arrivals.get_mut(number))
        else {
            return;
        };
        let Some(service) = self.stage.fleet.services.get(demand.service) else { return };
        let key = (service.affinity != Affinity::None).then(|| arrivals.session());
        let timeout = service.timeout;
        let proxy = match (demand.proxy, self.stage.proxies.len()) {
            (Some(only), _) => only,
            (None, 1) => 0,
            (None, all) => usize::try_from(self.stage.rng.below(all as u64)).unwrap_or_default(),
        };
        let asks = Asks { now, proxy, service: demand.service, origin: demand.origin, key };
        match self.visit(asks) {
            Ok(Placed { pick, machine, after, fails }) => {
                let is_late = timeout > Span::ZERO && after > timeout;
                let after = if is_late { timeout } else { after };
                self.count(asks, |counts| counts.place(pick.reason, 1.0), Some(pick.backend));
                let Asks { service, origin, .. } = asks;
                let visit = Visit {
                    began: now,
                    proxy,
                    service,
                    backend: pick.backend,
                    machine,
                    origin,
                    how: match (fails, is_late) {
                        (_, true) => Ending::Broken,
                        (true, _) => Ending::Failed,
                        _ => Ending::Answered,
                    },
                };
                self.push(now + after, Todo::End(visit));
            }
            Err(Lost::Unserved) => self.count(asks, |counts| counts.unserved += 1.0, None),
            Err(Lost::Rejected) => self.count(asks, |counts| counts.rejected += 1.0, None),
            Err(Lost::Refused(pick)) => {
                let place = |counts: &mut Counts| {
                    counts.place(pick.reason, 1.0);
                    counts.end(AT_ONCE * ATTEMPTS as f64, true);
                };
                self.count(asks, place, Some(pick.backend));
            }
        }
    }

    /// Picks members until one takes the connection.
    fn visit(&mut self, asks: Asks) -> Result<Placed, Lost> {
        let Stage { fleet, proxies, rng, .. } = &mut self.stage;
        let served = proxies.get_mut(asks.proxy).and_then(|proxy| proxy.get_mut(asks.service));
        let Some(served) = served else { return Err(Lost::Unserved) };
        let turn = served.turn;
        served.turn += 1;
        let mut tried = [(u32::MAX, u32::MAX); ATTEMPTS];
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            let tried_so_far = tried.get(..attempt).unwrap_or_default();
            let ask = Ask { origin: asks.origin, key: asks.key, pinned: None, turn, tried: tried_so_far };
            let mut asked = Asked {
                gates: &mut served.gates,
                tallies: &served.tallies,
                fleet: (fleet, asks.service),
                now: asks.now,
                is_retry: attempt > 0,
            };
            let pick = match pick::choose(&served.plan, ask, &mut asked) {
                Ok(pick) => pick,
                Err(why) => return Err(last.map_or_else(|| Lost::from(why), Lost::Refused)),
            };
            let Some((machine, tally)) = find(fleet, asks.service, pick, &mut served.tallies) else {
                return Err(Lost::Unserved);
            };
            tally.in_flight += 1.0;
            let (_, slot) = machine;
            match fleet.machine(machine).map(|machine| machine.serve(asks.now, rng)) {
                Some(Outcome::Ends { after, fails }) => {
                    let waited = AT_ONCE * f64::from(u8::try_from(attempt).unwrap_or(u8::MAX));
                    return Ok(Placed { pick, machine: slot, after: span(after + waited), fails });
                }
                _ => {
                    tally.end(Ending::Broken, served.full);
                    if let Some(gate) = served.gates.get_mut(pick.backend as usize) {
                        gate.release();
                    }
                    last = Some(pick);
                    if let Some(place) = tried.get_mut(attempt) {
                        *place = (pick.backend, pick.member);
                    }
                }
            }
        }
        Err(last.map_or(Lost::Unserved, Lost::Refused))
    }

    fn end(&mut self, now: Tick, visit: Visit) {
        let Visit { proxy, service, backend, machine, origin, .. } = visit;
        let key = (service, backend as usize);
        let site = self.stage.fleet.backends.get(key.0).and_then(|sites| sites.get(key.1)).copied();
        // What a lost member had under way is lost too.
        let is_lost = site
            .and_then(|site| self.stage.fleet.machine((site, machine)))
            .is_some_and(|machine| machine.condition.is_lost);
        let how = if is_lost { Ending::Broken } else { visit.how };
        let fails = how != Ending::Answered;
        let served = self.stage.proxies.get_mut(proxy).and_then(|proxy| proxy.get_mut(service));
        if let Some(served) = served {
            if let Some(gate) = served.gates.get_mut(key.1) {
                gate.release();
            }
            let tallies = served.tallies.get_mut(key.1);
            if let Some(tally) = tallies.and_then(|tallies| tallies.get_mut(machine as usize)) {
                tally.end(how, served.full);
            }
        }
        let latency = now.since(visit.began).as_secs();
        let asks = Asks { now, proxy, service, origin, key: None };
        self.count(asks, |counts| counts.end(latency, fails), Some(backend));
    }

    /// Counts something for the clients' region and, where there is one, for the backend.
    fn count(&mut self, asks: Asks, mut what: impl FnMut(&mut Counts), backend: Option<u32>) {
        let Some(counts) = self.stage.counts.get_mut(asks.service) else { return };
        if let Some(origin) = counts.origins.get_mut(usize::from(asks.origin.0)) {
            what(origin);
        }
        let backend = backend.and_then(|backend| counts.backends.get_mut(backend as usize));
        if let Some(backend) = backend {
            what(backend);
        }
    }
}

/// The machine of a pick as (site, machine), and what the proxy counts of it.
fn find<'a>(
    fleet: &Fleet,
    service: usize,
    pick: Pick,
    tallies: &'a mut [Vec<Tally>],
) -> Option<((usize, u32), &'a mut Tally)> {
    let site = *fleet.backends.get(service)?.get(pick.backend as usize)?;
    let slot = *fleet.sites.get(site)?.slots.get(pick.member as usize)?;
    let tally = tallies.get_mut(pick.backend as usize)?.get_mut(slot as usize)?;
    Some(((site, slot), tally))
}

/// A request that asks for a member.
#[derive(Debug, Clone, Copy)]
struct Asks {
    now: Tick,
    proxy: usize,
    service: usize,
    origin: OriginId,
    key: Option<u64>,
}

/// A request that a member took.
#[derive(Debug, Clone, Copy)]
struct Placed {
    pick: Pick,
    machine: u32,
    after: Span,
    fails: bool,
}

/// Why no member took it.
#[derive(Debug, Clone, Copy)]
enum Lost {
    /// None is healthy.
    Unserved,
    /// Everything is full.
    Rejected,
    /// All that were tried refused the connection.
    Refused(Pick),
}

impl From<NoPick> for Lost {
    fn from(why: NoPick) -> Self {
        match why {
            NoPick::NoHealthyMember | NoPick::AllTried => Self::Unserved,
            NoPick::Overloaded => Self::Rejected,
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn span(seconds: f64) -> Span {
    Span((seconds * 1e9) as u64)
}
