//! How a backend's flow is spread over its machines: evenly over the plan's members, or by its weights.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fleet::{Fleet, Site};
use super::proxy::Served;
use crate::balance::plan::{Plan, Usable};

/// How a backend's flow is spread over its machines, as long as plan and fleet stand.
#[derive(Debug, Clone, Default)]
pub(super) struct Spread {
    plan: Option<Arc<Plan>>,
    version: u64,
    /// Of each backend: its machines' parts.
    pub(super) backends: Vec<Vec<Portion>>,
}

/// A machine's part of a flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portion {
    pub(super) machine: u32,
    /// Of the whole.
    pub(super) part: f64,
    /// Members of that machine that get it.
    pub(super) members: f64,
    /// Members of all machines of the backend that get a part.
    pub(super) sharers: f64,
}

impl Spread {
    /// Works out the parts anew when the plan or the fleet has changed.
    pub(super) fn follow(&mut self, served: &Served, (fleet, service): (&Fleet, usize)) {
        let is_same = self.plan.as_ref().is_some_and(|plan| Arc::ptr_eq(plan, &served.plan));
        if is_same && self.version == fleet.version {
            return;
        }
        let portions = |(number, usable)| portions(usable, fleet.site_of(service, number));
        self.backends = served.plan.backends.iter().enumerate().map(portions).collect();
        (self.plan, self.version) = (Some(Arc::clone(&served.plan)), fleet.version);
    }

    /// How long a request is under way at a backend on average, in seconds.
    pub(super) fn stay(&self, site: Option<&Site>, backend: usize, scatter: f64) -> f64 {
        let (Some(site), Some(portions)) = (site, self.backends.get(backend)) else { return 0.0 };
        let stay = |portion: &Portion| {
            let machine = site.machines.get(portion.machine as usize);
            machine.map_or(0.0, |machine| portion.part * machine.stay(scatter / portion.sharers))
        };
        portions.iter().map(stay).sum()
    }
}

/// The parts of a backend's machines. What a lost member refuses goes to the others, if there are any.
fn portions(usable: &Usable, site: Option<&Site>) -> Vec<Portion> {
    let Some(site) = site else { return Vec::new() };
    let weights: Option<BTreeMap<u32, f64>> =
        usable.weights.as_ref().map(|shares| shares.arcs.iter().map(|arc| (arc.1, arc.2)).collect());
    // By machine: weight and members.
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for (place, member) in (0..).zip(usable.members.iter()) {
        let weight = weights.as_ref().map_or(1.0, |all| all.get(&place).copied().unwrap_or_default());
        if let Some(slot) = site.slots.get(*member as usize) {
            let sum = sums.entry(*slot).or_default();
            *sum = (sum.0 + weight, sum.1 + 1.0);
        }
    }
    let is_lost =
        |slot: u32| site.machines.get(slot as usize).is_some_and(|machine| machine.condition.is_lost);
    if sums.keys().any(|slot| !is_lost(*slot)) {
        sums.retain(|slot, _| !is_lost(*slot));
    }
    let total: f64 = sums.values().map(|sum| sum.0).sum();
    let sharers: f64 = sums.values().map(|sum| sum.1).sum();
    let portion = |(machine, (weight, members))| Portion { machine, part: weight / total, members, sharers };
    sums.into_iter().map(portion).filter(|portion| portion.part > 0.0).collect()
}
