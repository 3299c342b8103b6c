//! The order in which backends are filled, for each place that clients come from.
//!
//! PREFERRED backends first, nearest region first; then the DEFAULT ones as `loadBalancingAlgorithm` says [G 2.16]:
//! a tier for each region, nearest first [G 2.5]; for each region one of the proxy's own zone and one of the rest,
//! which are equally near, since zones have no distances; or one tier of the whole world. Backends of a tier share by
//! capacity [G 2.4, 2.11].
//!
//! **Failover** [G 2.7, 2.14]. Of a backend with a smaller share of healthy members than the threshold, weight counts
//! only as far as that share goes into the threshold, so that others of its tier take over; and a tier keeps only as
//! large a part of its requests as its share of healthy members goes into the threshold. The rest goes on, as long as
//! there is anything usable further on. Drained backends do not count.
//!
//! **Isolation** [G 2.15]. STRICT leaves the tiers of the client's region, NEAREST those up to the nearest region
//! that has anything usable. What is not left gets nothing, not even when all is full, and is named in the plan.

use std::sync::Arc;

use super::capacity;
use super::pick::Reason;
use super::plan::{Order, Plan, Shares, Tier, Usable};
use crate::model::place::{Places, RegionId};
use crate::model::policy::{Algorithm, Isolation, Policies};
use crate::model::service::{Backend, Service};
use crate::model::target::Preference;

/// What of a plan does not change while the configuration stands.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// By `OriginId`.
    origins: Vec<Vec<Row>>,
    /// By backend index: capacity as configured, which does not move with load and health.
    configured: Vec<f64>,
    /// By backend index: all members, healthy or not.
    sizes: Vec<usize>,
    policies: Policies,
}

/// A tier to be.
#[derive(Debug, Clone)]
struct Row {
    region: RegionId,
    /// Place of the region in the order of nearness, from 0.
    rank: usize,
    backends: Arc<[u32]>,
    /// Not in the clients' region, while the service says STRICT.
    is_foreign: bool,
}

/// Who may get requests.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// By backend index.
    pub(super) usable: Vec<Usable>,
    /// By backend index: takes no new requests, by its scaler or automatically.
    pub(super) is_drained: Vec<bool>,
    /// By backend index: members that were never judged. They are new, not lost (**ours**): a group that grows does
    /// not send a part of its requests away until the first probes are over.
    pub(super) undecided: Vec<usize>,
    /// By backend index: its limit is a guess yet, and more may well fit.
    pub(super) may_have_room: Vec<bool>,
    /// Whether all are tried because nobody is healthy.
    pub(super) is_open: bool,
}

impl Layout {
    pub(super) fn new(service: &Service, places: &Places) -> Self {
        let rows = |origin: &RegionId| rows(service, places, *origin);
        Self {
            origins: places.origins.iter().map(rows).collect(),
            configured: capacity::static_weights(&service.backends),
            sizes: service.backends.iter().map(|backend| backend.members.len()).collect(),
            policies: service.policies.clone(),
        }
    }

    /// Members that count for the health of a backend: all, or 0 when it has no capacity.
    pub(super) fn size(&self, backend: usize) -> usize {
        let has_capacity = self.configured.get(backend).is_some_and(|capacity| *capacity > 0.0);
        if has_capacity { self.sizes.get(backend).copied().unwrap_or(0) } else { 0 }
    }

    /// Capacity as configured, as far as the health of the backend lets it count.
    pub(super) fn weight(&self, backend: usize, standing: &Standing) -> f64 {
        let share = self.healthy_share(backend, standing).unwrap_or(0.0);
        self.configured.get(backend).copied().unwrap_or(0.0) * self.kept(share)
    }

    /// The plan for these members and these weights by backend index.
    pub(super) fn plan(&self, standing: &Standing, weights: &[f64]) -> Plan {
        let stable: Vec<f64> = (0..self.sizes.len()).map(|index| self.weight(index, standing)).collect();
        let order = |rows: &Vec<Row>| {
            let (rows, isolated) = self.by_isolation(rows, standing);
            let last = rows.iter().rposition(|row| row.is_usable(standing)).unwrap_or(0);
            let tier = |(depth, row): (usize, &&Row)| Tier {
                region: row.region,
                shares: row.shares(standing, weights),
                affinity_shares: row.shares(standing, &stable),
                reason_to_leave: row.reason_to_leave(standing),
                keep: if depth < last { self.keep(row, standing) } else { u64::MAX },
            };
            Order {
                tiers: (0..).zip(&rows).map(tier).collect(),
                guesses: guesses(&rows, standing, weights),
                overfill: overfill(&rows, standing, weights),
                roster: rows.iter().map(|row| Arc::clone(&row.backends)).collect(),
                isolated: isolated.iter().map(|row| (row.region, Arc::clone(&row.backends))).collect(),
            }
        };
        let Policies { overload, locality, .. } = self.policies;
        Plan {
            origins: self.origins.iter().map(order).collect(),
            backends: standing.usable.clone(),
            overload,
            locality,
            is_open: standing.is_open,
        }
    }

    /// Part of the requests that a tier keeps, of 2^64. One without usable members has none to keep, and is left for
    /// that reason instead.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn keep(&self, row: &Row, standing: &Standing) -> u64 {
        let capacity = |backend: usize| self.configured.get(backend).copied().unwrap_or(0.0);
        let backends = row.backends.iter().map(|backend| *backend as usize);
        let (mut healthy, mut all) = (0.0, 0.0);
        for (backend, share) in backends.filter_map(|b| Some((b, self.healthy_share(b, standing)?))) {
            healthy += capacity(backend) * share;
            all += capacity(backend);
        }
        let kept = if all > 0.0 { self.kept(healthy / all) } else { 1.0 };
        if kept >= 1.0 || !row.is_usable(standing) { u64::MAX } else { (kept * u64::MAX as f64) as u64 }
    }

    /// How far a share of healthy members goes into the threshold, 0 to 1.
    fn kept(&self, share: f64) -> f64 {
        let threshold = self.policies.distribution.failover_threshold.get();
        if share < threshold { share / threshold } else { 1.0 }
    }

    /// Members that can be used, of all that were judged; `None` where none count: in a drained backend and in an empty
    /// one.
    #[allow(clippy::cast_precision_loss)]
    fn healthy_share(&self, backend: usize, standing: &Standing) -> Option<f64> {
        let is_drained = standing.is_drained.get(backend).copied().unwrap_or(true);
        let size = self.sizes.get(backend).copied().filter(|size| *size > 0 && !is_drained)?;
        let undecided = standing.undecided.get(backend).copied().unwrap_or(0);
        let judged = size.saturating_sub(undecided).max(1);
        Some(standing.usable.get(backend)?.members.len() as f64 / judged as f64)
    }

    /// The rows that requests may go to, and those that they may not. Regions nearer than the one that NEAREST leaves
    /// have nothing usable; they stay in to say so.
    fn by_isolation<'a>(&self, rows: &'a [Row], standing: &Standing) -> (Vec<&'a Row>, Vec<&'a Row>) {
        let nearest = match self.policies.distribution.isolation {
            Some(Isolation::Nearest) => {
                rows.iter().filter(|row| row.is_usable(standing)).map(|row| row.rank).min()
            }
            // What STRICT leaves does not depend on health.
            Some(Isolation::Strict) | None => None,
        };
        rows.iter().partition(|row| !row.is_foreign && nearest.is_none_or(|nearest| row.rank <= nearest))
    }
}

impl Standing {
    fn is_usable(&self, backend: u32) -> bool {
        self.usable.get(backend as usize).is_some_and(|usable| !usable.members.is_empty())
    }
}

impl Row {
    fn is_usable(&self, standing: &Standing) -> bool {
        self.backends.iter().any(|backend| standing.is_usable(*backend))
    }

    fn shares(&self, standing: &Standing, weights: &[f64]) -> Shares {
        shares(self.backends.iter().copied(), standing, weights)
    }

    fn reason_to_leave(&self, standing: &Standing) -> Reason {
        let is_drained = |backend: &u32| standing.is_drained.get(*backend as usize).copied().unwrap_or(true);
        if self.is_usable(standing) {
            Reason::Full
        } else if self.backends.iter().all(is_drained) {
            Reason::Drained
        } else {
            Reason::Unhealthy
        }
    }
}

/// Usable backends in proportion to their weights.
fn shares(backends: impl Iterator<Item = u32>, standing: &Standing, weights: &[f64]) -> Shares {
    let weight = |backend: u32| (backend, weights.get(backend as usize).copied().unwrap_or(0.0));
    Shares::new(backends.filter(|backend| standing.is_usable(*backend)).map(weight))
}

/// What may have room in these rows though it counts as full.
fn guesses(rows: &[&Row], standing: &Standing, weights: &[f64]) -> Shares {
    let may = |backend: &u32| standing.may_have_room.get(*backend as usize).copied().unwrap_or(false);
    shares(rows.iter().flat_map(|row| row.backends.iter().copied()).filter(may), standing, weights)
}

/// Everything usable in these rows. Nothing is dropped because of capacity, not even where all of it is zero [G 2.6].
fn overfill(rows: &[&Row], standing: &Standing, weights: &[f64]) -> Shares {
    let mut all: Vec<u32> = rows.iter().flat_map(|row| row.backends.iter().copied()).collect();
    all.sort_unstable();
    match shares(all.iter().copied(), standing, weights) {
        none if none.is_empty() => {
            let usable = all.into_iter().filter(|backend| standing.is_usable(*backend));
            Shares::new(usable.map(|backend| (backend, 1.0)))
        }
        some => some,
    }
}

fn rows(service: &Service, places: &Places, origin: RegionId) -> Vec<Row> {
    let distribution = &service.policies.distribution;
    let mut regions: Vec<_> = service.backends.iter().map(|backend| backend.group.region).collect();
    regions.sort_unstable();
    regions.dedup();
    let regions = places.nearest_first(origin, &regions);
    let algorithm = match distribution.algorithm {
        // Inside one region it is no other than this; and isolation must find regions in tiers of their own.
        Algorithm::SprayToWorld if distribution.isolation.is_some() => Algorithm::WaterfallByRegion,
        algorithm => algorithm,
    };
    let row = |rank: usize, is_in: &dyn Fn(&Backend) -> bool| {
        let backends = (0..).zip(&service.backends).filter(|(_, backend)| is_in(backend));
        let backends: Arc<[u32]> = backends.map(|(index, _)| index).collect();
        let region = regions.get(rank).copied().filter(|_| !backends.is_empty())?;
        let is_foreign = distribution.isolation == Some(Isolation::Strict) && region != origin;
        Some(Row { region, rank, backends, is_foreign })
    };
    let is_of = |one: &Backend, preference, rank: usize| {
        one.preference == preference && Some(&one.group.region) == regions.get(rank)
    };
    let preferred = (0..regions.len()).map(|rank| row(rank, &|one| is_of(one, Preference::Preferred, rank)));
    let default = (0..regions.len()).flat_map(|rank| {
        let is_default = |one: &Backend| is_of(one, Preference::Default, rank);
        let is_own_zone = |one: &Backend| one.group.zone == places.zone;
        match algorithm {
            Algorithm::WaterfallByRegion | Algorithm::SprayToRegion => [row(rank, &is_default), None],
            Algorithm::WaterfallByZone => [
                row(rank, &|one| is_default(one) && is_own_zone(one)),
                row(rank, &|one| is_default(one) && !is_own_zone(one)),
            ],
            Algorithm::SprayToWorld if rank == 0 => {
                [row(rank, &|one| one.preference == Preference::Default), None]
            }
            Algorithm::SprayToWorld => [None, None],
        }
    });
    preferred.chain(default).flatten().collect()
}
