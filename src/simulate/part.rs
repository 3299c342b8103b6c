//! Services that share no group know nothing of each other: each such part of a scenario is played by itself, on
//! another core if there is one, and comes out the same wherever and in whatever order it is played.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Model;
use super::record::{Record, Row, ServiceRow};
use super::scenario::{Scenario, Target};
use crate::balance::hash;
use crate::model::service::Service;

/// Services that are played together.
#[derive(Debug)]
pub struct Part {
    /// Their indices, in order.
    of: Vec<usize>,
    services: Vec<Arc<Service>>,
    /// The scenario as far as it is about them.
    scenario: Scenario,
}

/// The parts of a scenario, in the order of their first services.
#[must_use]
pub fn parts(services: &[Arc<Service>], scenario: &Scenario) -> Vec<Part> {
    grouped(services).into_iter().map(|of| Part::new(of, services, scenario)).collect()
}

/// The records of all parts as one.
#[must_use]
pub fn join(parts: &[Part], records: Vec<Record>) -> Record {
    let count = parts.iter().map(|part| part.of.len()).sum();
    let length = records.iter().map(|record| record.rows.len()).max().unwrap_or(0);
    let nobody = ServiceRow { backends: Vec::new(), origins: Vec::new() };
    let mut rows = vec![Row { end: 0.0, services: vec![nobody; count] }; length];
    for (part, record) in parts.iter().zip(records) {
        for (row, played) in rows.iter_mut().zip(record.rows) {
            row.end = played.end;
            for (index, service) in part.of.iter().zip(played.services) {
                if let Some(place) = row.services.get_mut(*index) {
                    *place = service;
                }
            }
        }
    }
    Record { rows }
}

impl Part {
    fn new(of: Vec<usize>, services: &[Arc<Service>], scenario: &Scenario) -> Self {
        let number = |service: usize| of.iter().position(|index| *index == service);
        // Those whose service is not of this part mean nobody here.
        let target = |target: &Target| match target.service {
            None => Some(target.clone()),
            Some(service) => Some(Target { service: Some(number(service)?), ..target.clone() }),
        };
        let mut own = Scenario {
            seed: match of.first() {
                // The first part is as if it were alone.
                None | Some(0) => scenario.seed,
                Some(first) => hash::mix(scenario.seed, *first as u64),
            },
            ..scenario.clone()
        };
        own.demand.retain_mut(|demand| {
            let found = number(demand.service);
            demand.service = found.unwrap_or_default();
            found.is_some()
        });
        own.rules.retain_mut(|rule| target(&rule.target).map(|own| rule.target = own).is_some());
        own.events.retain_mut(|event| target(&event.target).map(|own| event.target = own).is_some());
        let services = of.iter().filter_map(|index| services.get(*index).map(Arc::clone)).collect();
        Self { of, services, scenario: own }
    }

    /// Plays it.
    #[must_use]
    pub fn run(&self, model: Model) -> Record {
        match model {
            Model::Requests => super::requests::run(&self.services, &self.scenario),
            Model::Fluid => super::fluid::run(&self.services, &self.scenario),
        }
    }
}

/// Services by shared groups: each list in order, and the lists by their first.
fn grouped(services: &[Arc<Service>]) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = Vec::new();
    // Part of each group; parts that became one with another are empty.
    let mut known: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (index, service) in services.iter().enumerate() {
        let groups: Vec<_> =
            service.backends.iter().map(|backend| (&*backend.group.name, &*backend.group.zone)).collect();
        let mut met: Vec<usize> = groups.iter().filter_map(|group| known.get(group).copied()).collect();
        met.sort_unstable();
        met.dedup();
        let home = met.first().copied().unwrap_or(parts.len());
        if home == parts.len() {
            parts.push(Vec::new());
        }
        for other in met.iter().skip(1) {
            let moved = parts.get_mut(*other).map(std::mem::take).unwrap_or_default();
            if let Some(part) = parts.get_mut(home) {
                part.extend(moved);
            }
            known.values_mut().filter(|part| *part == other).for_each(|part| *part = home);
        }
        if let Some(part) = parts.get_mut(home) {
            part.push(index);
        }
        known.extend(groups.into_iter().map(|group| (group, home)));
    }
    parts.retain(|part| !part.is_empty());
    parts.iter_mut().for_each(|part| part.sort_unstable());
    parts
}
