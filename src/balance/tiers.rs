//! The order in which backends are filled, for each place that clients come from.
//!
//! PREFERRED backends first, nearest region first; then the DEFAULT ones, nearest region first [G 2.5, 2.16].
//! Backends of one region and one preference form a tier and share by capacity [G 2.4].

use super::near;
use super::pick::Reason;
use super::plan::{Order, Plan, Shares, Tier, Usable};
use crate::model::place::{Places, RegionId};
use crate::model::policy::Policies;
use crate::model::service::Service;
use crate::model::target::Preference;

/// What of a plan does not change while the configuration stands.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// By `OriginId`.
    origins: Vec<Vec<Row>>,
    /// By backend index.
    is_drained: Vec<bool>,
    policies: Policies,
}

#[derive(Debug, Clone)]
struct Row {
    region: RegionId,
    backends: Vec<u32>,
}

/// Weights of the backends by index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights<'a> {
    /// Capacity as it is known now.
    pub(super) measured: &'a [f64],
    /// Capacity as configured, for sessions.
    pub(super) configured: &'a [f64],
}

impl Layout {
    pub(super) fn new(service: &Service, places: &Places) -> Self {
        let rows = |origin: &RegionId| {
            [Preference::Preferred, Preference::Default]
                .into_iter()
                .flat_map(|preference| rows(service, places, *origin, preference))
                .collect()
        };
        Self {
            origins: places.origins.iter().map(rows).collect(),
            is_drained: service.backends.iter().map(|backend| backend.scaler.is_drained()).collect(),
            policies: service.policies.clone(),
        }
    }

    /// Whether a backend takes no new requests [G 1.4].
    pub(super) fn is_drained(&self, backend: usize) -> bool {
        self.is_drained.get(backend).copied().unwrap_or(true)
    }

    /// The plan for these members and weights.
    pub(super) fn plan(&self, usable: Vec<Usable>, weights: Weights<'_>) -> Plan {
        let is_usable =
            |backend: &u32| usable.get(*backend as usize).is_some_and(|usable| !usable.members.is_empty());
        let shares = |backends: &[u32], weights: &[f64]| {
            let weight = |backend: &u32| (*backend, weights.get(*backend as usize).copied().unwrap_or(0.0));
            Shares::new(backends.iter().filter(|backend| is_usable(backend)).map(weight))
        };
        let tier = |row: &Row| Tier {
            region: row.region,
            shares: shares(&row.backends, weights.measured),
            affinity_shares: shares(&row.backends, weights.configured),
            reason_to_leave: self.reason_to_leave(row, is_usable),
            keep: u64::MAX,
        };
        let all: Vec<u32> = (0..).take(usable.len()).collect();
        let overfill = match shares(&all, weights.measured) {
            // Nothing is dropped because of capacity, not even where all of it is zero.
            none if none.is_empty() => {
                Shares::new(all.into_iter().filter(is_usable).map(|backend| (backend, 1.0)))
            }
            some => some,
        };
        let order =
            |rows: &Vec<Row>| Order { tiers: rows.iter().map(tier).collect(), overfill: overfill.clone() };
        let origins = self.origins.iter().map(order).collect();
        let Policies { overload, locality, .. } = self.policies;
        Plan { origins, overload, locality, backends: usable, is_open: false }
    }

    fn reason_to_leave(&self, row: &Row, is_usable: impl Fn(&u32) -> bool) -> Reason {
        if row.backends.iter().any(is_usable) {
            Reason::Full
        } else if row.backends.iter().all(|backend| self.is_drained(*backend as usize)) {
            Reason::Drained
        } else {
            Reason::Unhealthy
        }
    }
}

fn rows(service: &Service, places: &Places, origin: RegionId, preference: Preference) -> Vec<Row> {
    let of_preference = || (0_u32..).zip(&service.backends).filter(|(_, one)| one.preference == preference);
    let regions: Vec<_> = of_preference().map(|(_, backend)| backend.group.region).collect();
    let row = |region: RegionId| Row {
        region,
        backends: of_preference()
            .filter(|(_, backend)| backend.group.region == region)
            .map(|(index, _)| index)
            .collect(),
    };
    near::nearest_first(places, origin, &regions).into_iter().map(row).collect()
}
