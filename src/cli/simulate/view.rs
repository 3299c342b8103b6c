//! A run with the names that belong to its numbers.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::model::config::Config;
use crate::model::place::RegionId;
use crate::model::service::{Backend, Service};
use crate::model::unit::{Span, Tick};
use crate::simulate::Model;
use crate::simulate::record::{BackendRow, OriginRow, Record, Row, ServiceRow};
use crate::simulate::scenario::{Action, Demand, Event, Scenario};

/// What is shown.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The configuration at the start.
    pub config: &'a Config,
    /// What was played.
    pub scenario: &'a Scenario,
    /// What came of it.
    pub record: &'a Record,
    /// How it was played.
    pub model: Model,
}

/// One service of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) view: View<'a>,
    pub(super) index: usize,
    pub(super) service: &'a Service,
}

impl<'a> View<'a> {
    /// Services that have demand.
    pub(super) fn services(self) -> impl Iterator<Item = Shown<'a>> {
        let services = self.config.services.iter().enumerate();
        services
            .filter(move |(index, _)| self.scenario.demand.iter().any(|demand| demand.service == *index))
            .map(move |(index, service)| Shown { view: self, index, service })
    }

    /// A region of the scenario by name.
    pub(super) fn region(self, id: RegionId) -> &'a str {
        self.scenario.places.regions.get(usize::from(id.0)).map_or("?", |region| &region.name)
    }

    /// What was played, in a few words: model, seed, proxies, times.
    pub(super) fn facts(self) -> String {
        let Scenario { seed, duration, tick, reports, proxies, row, .. } = self.scenario;
        let plural = if *proxies == 1 { "proxy" } else { "proxies that do not talk" };
        format!(
            "{} model, seed {seed}, {} s in rows of {} s, tick {} s, reports every {} s{}, {proxies} {plural}",
            self.model.as_str(),
            duration.as_secs(),
            row.as_secs(),
            tick.as_secs(),
            reports.interval.as_secs(),
            if reports.delay.0 > 0 { format!(" {} s late", reports.delay.as_secs()) } else { String::new() },
        )
    }

    /// A demand in words: `web from us-central1: 320 requests/s, 1200 from 40 s on`.
    pub(super) fn demand(self, demand: &Demand) -> String {
        const MOST_CHANGES: usize = 6;
        let origin = self.scenario.places.origins.get(usize::from(demand.origin.0));
        let region = origin.map_or("?", |region| self.region(*region));
        let service = self.config.services.get(demand.service).map_or("?", |service| &service.name);
        let mut text = format!("{service} from {region}: {} requests/s", demand.rate);
        for change in demand.changes.iter().take(MOST_CHANGES) {
            let at = change.at.since(Tick(0)).as_secs();
            let _ = match change.over {
                Span::ZERO => write!(text, ", {} from {at} s on", change.rate),
                over => write!(text, ", to {} from {at} s to {} s", change.rate, at + over.as_secs()),
            };
        }
        if demand.changes.len() > MOST_CHANGES {
            text.push_str(", …");
        }
        if let Some(daily) = demand.daily {
            let _ = write!(text, ", ±{:.0} % every {} s", daily.part * 100.0, daily.period.as_secs());
        }
        if let Some(noise) = demand.noise {
            let _ = write!(text, ", noise ±{:.0} %", noise.part * 100.0);
        }
        text
    }

    /// An event in words: `group near: slow, 2 times`.
    pub(super) fn event(self, event: &Event) -> String {
        let target = &event.target;
        let service = target.service.and_then(|index| self.config.services.get(index));
        let parts = [
            service.map(|service| format!("service {}", service.name)),
            target.region.map(|region| format!("region {}", self.region(region))),
            target.group.as_ref().map(|name| format!("group {name}")),
            target.member.as_ref().map(|name| format!("member {name}")),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        let whom = if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") };
        format!("{whom}: {}", action(event.action))
    }
}

fn action(action: Action) -> String {
    match action {
        Action::Lost => "lost".into(),
        Action::Back => "back".into(),
        Action::Unhealthy => "unhealthy".into(),
        Action::Healthy => "healthy".into(),
        Action::Slow(factor) => format!("takes {factor} times as long"),
        Action::FailsFast => "fails at once".into(),
        Action::Errors(part) => format!("{} % errors", part * 100.0),
        Action::Serves => "serves as before".into(),
        Action::ReportsLate(late) => format!("reports {} s late", late.as_secs()),
        Action::Reports(true) => "reports again".into(),
        Action::Reports(false) => "reports no more".into(),
        Action::Scaler(scaler) => format!("capacityScaler {}", scaler.get()),
        Action::Add(count) => format!("{count} more members"),
        Action::Remove(count) => format!("{count} members fewer"),
    }
}

/// How many members a backend had over a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// By the configuration.
    pub(super) first: usize,
    /// At the ends of rows, and at first.
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) last: usize,
}

impl Sizes {
    /// Whether members came or went.
    pub(super) const fn vary(self) -> bool {
        self.least < self.most
    }
}

impl<'a> Shown<'a> {
    /// How many members a backend had.
    pub(super) fn sizes(self, backend: usize) -> Sizes {
        let first = self.service.backends.get(backend).map_or(0, |backend| backend.members.len());
        let seen = self.rows().filter_map(|(_, row)| Some(row.backends.get(backend)?.members as usize));
        seen.fold(Sizes { first, least: first, most: first, last: first }, |so_far, size| Sizes {
            first,
            least: so_far.least.min(size),
            most: so_far.most.max(size),
            last: size,
        })
    }

    /// (when the row ends, figures of this service).
    pub(super) fn rows(self) -> impl Iterator<Item = (f64, &'a ServiceRow)> {
        self.view
            .record
            .rows
            .iter()
            .filter_map(move |row: &Row| Some((row.end, row.services.get(self.index)?)))
    }

    /// Its backends by number.
    pub(super) fn backends(self) -> impl Iterator<Item = (usize, &'a Backend)> {
        self.service.backends.iter().enumerate()
    }

    /// Where its clients are: origin and name.
    pub(super) fn origins(self) -> impl Iterator<Item = (usize, &'a str)> {
        let origins = self.view.scenario.places.origins.iter().enumerate();
        let has_demand = move |origin: usize| {
            let demand = &self.view.scenario.demand;
            demand.iter().any(|one| one.service == self.index && usize::from(one.origin.0) == origin)
        };
        origins
            .filter(move |(origin, _)| has_demand(*origin))
            .map(move |(origin, region)| (origin, self.view.region(*region)))
    }

    /// One figure of a backend over time; NaN where there is none.
    pub(super) fn of_backend(self, backend: usize, figure: impl Fn(&BackendRow) -> f64) -> Vec<f64> {
        self.rows().map(|(_, row)| row.backends.get(backend).map_or(f64::NAN, &figure)).collect()
    }

    /// One figure of clients' region over time.
    pub(super) fn of_origin(self, origin: usize, figure: impl Fn(&OriginRow) -> f64) -> Vec<f64> {
        self.rows().map(|(_, row)| row.origins.get(origin).map_or(f64::NAN, &figure)).collect()
    }

    /// Backends, busiest first: at most `most`.
    pub(super) fn busiest(self, most: usize) -> Vec<(usize, Arc<str>)> {
        self.foremost(most, |row| row.traffic.rate())
    }

    /// Backends with the most of a figure over all time: at most `most`, in their order.
    pub(super) fn foremost(self, most: usize, figure: fn(&BackendRow) -> f64) -> Vec<(usize, Arc<str>)> {
        let mut all: Vec<_> = self
            .backends()
            .map(|(number, backend)| {
                let total: f64 = self.of_backend(number, figure).iter().sum();
                (total, number, Arc::clone(&backend.group.name))
            })
            .collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        all.truncate(most);
        all.sort_by_key(|one| one.1);
        all.into_iter().map(|(_, number, name)| (number, name)).collect()
    }
}
