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
    /// Of each backend: the parts of machines that refuse connections.
    pub(super) lost: Vec<Lost>,
}

/// Lost members that the plan still names.
#[derive(Debug, Clone, Default)]
pub(super) struct Lost {
    /// Their parts of what is refused.
    pub(super) portions: Vec<Portion>,
    /// What they are asked of the whole.
    part: f64,
    members: f64,
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
        (self.backends, self.lost) = served.plan.backends.iter().enumerate().map(portions).unzip();
        (self.plan, self.version) = (Some(Arc::clone(&served.plan)), fleet.version);
    }

    /// How long a request is under way at a backend on average, in seconds.
    pub(super) fn stay(&self, site: Option<&Site>, backend: usize, scatter: f64) -> f64 {
        let (Some(site), Some(portions)) = (site, self.backends.get(backend)) else { return 0.0 };
        let stay = |portion: &Portion| {
            let machine = site.machines.get(portion.machine as usize);
            machine.map_or(0.0, |machine| portion.part * machine.stay(scatter / portion.sharers))
        };
        let lost = self.lost.get(backend).map_or(0.0, |lost| lost.part);
        portions.iter().map(stay).sum::<f64>() * (1.0 - lost)
    }

    /// Part of the requests to a backend whose connection is refused, when `tried` of its members have refused before.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn refused(&self, backend: u32, tried: usize) -> f64 {
        let Some(lost) = self.lost.get(backend as usize) else { return 0.0 };
        if lost.part <= 0.0 || lost.part >= 1.0 {
            return lost.part;
        }
        let left = lost.part * (1.0 - tried as f64 / lost.members).max(0.0);
        left / (1.0 - lost.part + left)
    }
}

/// The parts of a backend's machines: of those that serve, and of those that refuse.
fn portions(usable: &Usable, site: Option<&Site>) -> (Vec<Portion>, Lost) {
    let Some(site) = site else { return (Vec::new(), Lost::default()) };
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
    let all: f64 = sums.values().map(|sum| sum.0).sum();
    let (lost, serving): (BTreeMap<_, _>, _) = sums.into_iter().partition(|(slot, _)| is_lost(*slot));
    let (lost, weight, members) = shared(lost);
    let part = if weight > 0.0 { weight / all } else { 0.0 };
    (shared(serving).0, Lost { portions: lost, part, members })
}

/// By weight and members; with the sums of these.
fn shared(sums: BTreeMap<u32, (f64, f64)>) -> (Vec<Portion>, f64, f64) {
    let total: f64 = sums.values().map(|sum| sum.0).sum();
    let sharers: f64 = sums.values().map(|sum| sum.1).sum();
    let portion = |(machine, (weight, members))| Portion { machine, part: weight / total, members, sharers };
    (sums.into_iter().map(portion).filter(|portion| portion.part > 0.0).collect(), total, sharers)
}
