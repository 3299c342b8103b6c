//! What both models play on: the fleet, the proxies, the counts; what happens on it at a moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::autoscaler::Scaling;
use super::fleet::{Effects, Fleet, Grain, Site, Verdict};
use super::proxy::Served;
use super::record::{BackendRow, Counts, OriginRow, Record, Row, ServiceRow};
use super::scenario::{Event, Scenario};
use crate::balance::capacity;
use crate::balance::rng::Rng;
use crate::model::service::{Backend, Service};
use crate::model::target::Mode;
use crate::model::unit::{PerSecond, Ratio, Tick};

/// The stage of one run.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    /// What is played.
    pub(super) scenario: &'a Scenario,
    /// All members.
    pub(super) fleet: Fleet,
    /// By proxy and service.
    pub(super) proxies: Vec<Vec<Served>>,
    /// By service.
    pub(super) counts: Vec<ServiceCounts>,
    /// Rows so far.
    pub(super) record: Record,
    /// Draws of members' times.
    pub(super) rng: Rng,
    noise: Rng,
    autoscalers: Vec<Scaling>,
    /// Verdicts of probes to come, in the order of time.
    verdicts: BTreeSet<Verdict>,
    row_began: Tick,
    /// Ticks since the row began.
    ticks: f64,
    /// When the row began, by site and machine.
    before: Vec<Vec<Before>>,
}

/// Counts of one service.
#[derive(Debug, Clone)]
pub(super) struct ServiceCounts {
    /// By backend.
    pub(super) backends: Vec<Counts>,
    /// By clients' region.
    pub(super) origins: Vec<Counts>,
}

impl<'a> Stage<'a> {
    /// Everything idle at moment zero.
    #[must_use]
    pub(super) fn new(services: &[Arc<Service>], scenario: &'a Scenario, grain: Grain) -> Self {
        let fleet = Fleet::new(services, &scenario.rules, grain);
        let served = |_| services.iter().map(|service| Served::new(service, scenario)).collect();
        let counts = |service: &Arc<Service>| ServiceCounts {
            backends: vec![Counts::default(); service.backends.len()],
            origins: vec![Counts::default(); scenario.places.origins.len()],
        };
        let before = vec![Vec::new(); fleet.sites.len()];
        Self {
            scenario,
            fleet,
            proxies: (0..scenario.proxies.max(1)).map(served).collect(),
            counts: services.iter().map(counts).collect(),
            record: Record::default(),
            rng: Rng::new(scenario.seed ^ 0x5EED_0001),
            noise: Rng::new(scenario.seed ^ 0x5EED_0002),
            autoscalers: scenario.autoscalers.iter().map(Scaling::new).collect(),
            verdicts: BTreeSet::new(),
            row_began: Tick(0),
            ticks: 0.0,
            before,
        }
    }

    /// An event of the scenario.
    pub(super) fn happen(&mut self, event: &Event, now: Tick) {
        let effects = self.fleet.apply(event, now);
        self.follow(effects);
    }

    fn follow(&mut self, Effects { changed, verdicts }: Effects) {
        self.verdicts.extend(verdicts);
        for index in changed {
            let Some(service) = self.fleet.services.get(index) else { continue };
            for served in self.proxies.iter_mut().filter_map(|proxy| proxy.get_mut(index)) {
                served.reload(service, self.scenario);
            }
        }
    }

    /// Members report.
    pub(super) fn report(&mut self, now: Tick) {
        let reports = self.scenario.reports;
        let Self { fleet, noise, .. } = self;
        fleet.report(now, reports.delay, || reports.noise * (2.0 * noise.unit() - 1.0));
    }

    /// Autoscalers look, and all planners tick.
    pub(super) fn tick(&mut self, now: Tick) {
        self.fleet.look(now);
        for number in 0..self.autoscalers.len() {
            let scaling = self.autoscalers.get_mut(number);
            if let Some(effects) = scaling.and_then(|scaling| scaling.tick(now, &mut self.fleet)) {
                self.follow(effects);
            }
        }
        for proxy in &mut self.proxies {
            for ((index, served), counts) in proxy.iter_mut().enumerate().zip(&mut self.counts) {
                served.tick(now, index, &self.fleet);
                for (counts, gate) in counts.backends.iter_mut().zip(&served.gates) {
                    counts.in_flight += gate.in_flight;
                }
            }
        }
        self.ticks += 1.0;
    }

    /// Verdicts of probes that are due.
    pub(super) fn probe(&mut self, now: Tick) {
        while let Some(verdict) = self.verdicts.first().copied().filter(|first| first.at <= now) {
            self.verdicts.pop_first();
            self.fleet.judge(verdict);
        }
    }

    /// A row ends.
    pub(super) fn row(&mut self, now: Tick) {
        let seconds = now.since(self.row_began).as_secs();
        if seconds <= 0.0 {
            return;
        }
        let used = self.used(now, seconds);
        let mut services = Vec::with_capacity(self.counts.len());
        for index in 0..self.counts.len() {
            services.push(self.service_row(index, seconds, &used));
        }
        self.record.rows.push(Row { end: now.since(Tick(0)).as_secs(), services });
        (self.row_began, self.ticks) = (now, 0.0);
    }

    /// What the members of each site have done since the row began. Those count that were healthy all the time; where
    /// none was, those that are healthy now.
    fn used(&mut self, now: Tick, seconds: f64) -> Vec<Used> {
        let site = |(site, before): (&Site, &mut Vec<Before>)| {
            grow(before, site);
            let (mut always, mut now_only, mut healthy) = ((0.0, 0.0), (0.0, 0.0), 0);
            for ((machine, count), before) in site.machines.iter().zip(site.counts()).zip(before) {
                let burnt = machine.burnt(now);
                let is_healthy = machine.condition.is_healthy;
                let Before { burnt: earlier, was_healthy } =
                    std::mem::replace(before, Before { burnt, was_healthy: is_healthy });
                if is_healthy && count > 0 {
                    healthy += count;
                    let sum = if was_healthy { &mut always } else { &mut now_only };
                    let members = f64::from(count);
                    *sum = (sum.0 + members * machine.utilization(burnt - earlier, seconds), sum.1 + members);
                }
            }
            let (sum, members) = if always.1 > 0.0 { always } else { now_only };
            Used {
                in_flight: 0.0,
                utilization: sum / members,
                healthy,
                members: u32::try_from(site.slots.len()).unwrap_or(u32::MAX),
            }
        };
        self.fleet.sites.iter().zip(&mut self.before).map(site).collect()
    }

    fn service_row(&mut self, index: usize, seconds: f64, used: &[Used]) -> ServiceRow {
        let Some(counts) = self.counts.get_mut(index) else {
            return ServiceRow { backends: Vec::new(), origins: Vec::new() };
        };
        let ticks = self.ticks.max(1.0);
        let close = |counts: &mut Counts| (counts.in_flight / ticks, counts.close(seconds));
        let traffic: Vec<_> = counts.backends.iter_mut().map(close).collect();
        let origins = counts.origins.iter_mut().map(|counts| counts.close(seconds)).collect();
        let backends = traffic.into_iter().enumerate().map(|(number, (in_flight, row))| {
            let site = self.fleet.backends.get(index).and_then(|sites| sites.get(number));
            let used = site.and_then(|site| used.get(*site)).copied().unwrap_or_default();
            self.backend_row((index, number), row, Used { in_flight, ..used })
        });
        ServiceRow { backends: backends.collect(), origins }
    }

    fn backend_row(&self, (index, number): (usize, usize), row: OriginRow, used: Used) -> BackendRow {
        let config = self.fleet.services.get(index).and_then(|service| service.backends.get(number));
        let Some(config) = config else { return BackendRow::default() };
        let served = || self.proxies.iter().filter_map(|proxy| proxy.get(index));
        let by_plan: f64 =
            served().filter_map(|served| served.figures.get(number)).map(|figures| figures.capacity).sum();
        let capacity = if config.scaler.is_drained() {
            0.0
        } else if config.mode.is_reported() {
            by_plan
        } else {
            capacity::of_backend(config).map_or(f64::INFINITY, PerSecond::get)
        };
        BackendRow {
            capacity,
            fullness: fullness(config, row.traffic.rate(), used),
            utilization: used.utilization,
            in_flight: used.in_flight,
            healthy: used.healthy,
            members: used.members,
            traffic: row.traffic,
        }
    }
}

/// A machine when the row began.
#[derive(Debug, Clone, Copy)]
struct Before {
    /// CPU time burnt.
    burnt: f64,
    was_healthy: bool,
}

/// Machines that are new were not healthy before; those split off were what their origin was.
fn grow(before: &mut Vec<Before>, site: &Site) {
    let is_first = before.is_empty();
    while let Some(parent) = site.parents.get(before.len()) {
        let origin = parent.and_then(|parent| before.get(parent as usize)).copied();
        before.push(origin.unwrap_or(Before { burnt: 0.0, was_healthy: is_first }));
    }
}

/// What the members of a backend have done.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    /// Mean over the ticks.
    in_flight: f64,
    utilization: f64,
    healthy: u32,
    members: u32,
}

/// True load ÷ target, whichever target is nearer.
#[allow(clippy::cast_precision_loss)]
fn fullness(backend: &Backend, rate: f64, used: Used) -> f64 {
    let part = |load: f64, target: f64| if target > 0.0 { load / target } else { f64::NAN };
    let by_rate = capacity::of_backend(backend).map_or(f64::NAN, |target| part(rate, target.get()));
    let by_count =
        capacity::count_of_backend(backend).map_or(f64::NAN, |most| part(used.in_flight, most as f64));
    let target = capacity::utilization(backend).map_or(0.0, Ratio::get);
    let least = match &backend.mode {
        Mode::CustomMetrics { metrics, .. } => metrics
            .iter()
            .filter(|metric| !metric.is_dry_run)
            .map(|metric| metric.max.get())
            .fold(f64::INFINITY, f64::min),
        _ => 1.0,
    };
    by_rate.max(by_count).max(part(used.utilization, target * least))
}
