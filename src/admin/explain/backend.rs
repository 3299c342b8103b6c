//! One backend in an explanation: what it may take, what it has, and what state that makes.

use serde_json::{Map, Value, json};

use crate::admin::status::{mode, region, targets};
use crate::balance::explain::Stage;
use crate::balance::plan::Tier;
use crate::model::place::Places;
use crate::model::service::Backend;
use crate::model::target::Preference;
use crate::world::{LiveBackend, LiveService};

/// The backends of a tier: those with a share, and those of its region that have none since they are drained or have
/// no healthy member. `seen` keeps a backend from being shown twice.
pub(super) fn of_tier(
    service: &LiveService,
    (tier, stage): (&Tier, &Stage),
    seen: &mut Vec<u32>,
    places: &Places,
) -> Vec<Value> {
    let all = (0..).zip(service.config.backends.iter().zip(&service.backends));
    let mut out = Vec::new();
    for (index, (config, live)) in all {
        let share = stage.shares.iter().find(|(backend, _)| *backend == index).map(|one| one.1);
        let is_idle_here =
            share.is_none() && config.group.region == tier.region && !has_share_anywhere(service, index);
        if (share.is_some() || is_idle_here) && !seen.contains(&index) {
            seen.push(index);
            out.push(backend((config, live), share, stage.full.contains(&index), places));
        }
    }
    out
}

/// Whether the plan gives the backend a share in any tier of any origin.
fn has_share_anywhere(service: &LiveService, backend: u32) -> bool {
    let plan = service.plan.load();
    let mut tiers = plan.origins.iter().flat_map(|order| &order.tiers);
    tiers.any(|tier| tier.shares.arcs.iter().chain(&tier.affinity_shares.arcs).any(|arc| arc.1 == backend))
}

fn backend(
    (config, live): (&Backend, &LiveBackend),
    share: Option<f64>,
    is_full: bool,
    places: &Places,
) -> Value {
    let figures = live.ledger.shown.read();
    let finite = |value: f64| value.is_finite().then_some(value);
    let healthy = live.members.iter().filter(|member| member.is_healthy()).count();
    let state = match share {
        _ if config.scaler.is_drained() => "drained",
        None if healthy == 0 => "no healthy member",
        None => "no share",
        Some(_) if is_full => "full",
        Some(_) => "room",
    };
    let targets: Map<String, Value> =
        targets(config).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    json!({
        "group": &*config.group.name,
        "zone": &*config.group.zone,
        "region": region(places, config.group.region),
        "balancingMode": mode(config),
        "targets": targets,
        "capacityScaler": config.scaler.get(),
        "preference": match config.preference { Preference::Preferred => "PREFERRED", Preference::Default => "DEFAULT" },
        "capacity": finite(figures.capacity),
        "countCapacity": finite(figures.count_capacity),
        "rate": finite(figures.rate),
        "inFlight": finite(figures.in_flight),
        "utilization": finite(figures.utilization),
        "fullness": finite(figures.fullness),
        "healthyMembers": healthy,
        "members": live.members.len(),
        "share": share,
        "state": state,
    })
}
