//! One backend in an explanation: what it may take, what it has, and what state that makes.

use serde_json::{Map, Value, json};

use crate::admin::status::{mode, region, targets};
use crate::balance::capacity;
use crate::balance::explain::Stage;
use crate::balance::plan::Figures;
use crate::model::place::Places;
use crate::model::service::Backend;
use crate::model::target::Preference;
use crate::model::unit::Tick;
use crate::world::LiveService;

/// What backends are shown by.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) service: &'a LiveService,
    pub(super) places: &'a Places,
    pub(super) now: Tick,
}

/// The backends of a tier, those without a share too.
pub(super) fn of_tier(view: View<'_>, stage: &Stage) -> Vec<Value> {
    let share = |index: u32| stage.shares.iter().find(|(backend, _)| *backend == index).map(|one| one.1);
    let backend = |index: &u32| {
        let part = share(*index).map_or(Part::None, Part::Share);
        backend(view, *index, part, stage.full.contains(index))
    };
    stage.backends.iter().filter_map(backend).collect()
}

/// Backends that isolation keeps the request from.
pub(super) fn isolated(view: View<'_>, backends: &[u32]) -> Vec<Value> {
    backends.iter().filter_map(|index| backend(view, *index, Part::Isolated, false)).collect()
}

/// What a backend gets of the requests like this one.
#[derive(Clone, Copy)]
enum Part {
    /// So much of its tier's, 0 to 1.
    Share(f64),
    /// Nothing, in a tier.
    None,
    /// Nothing: it is in no tier.
    Isolated,
}

fn backend(view: View<'_>, index: u32, part: Part, was_full: bool) -> Option<Value> {
    let (service, index) = (view.service, index as usize);
    let (config, live) = (service.config.backends.get(index)?, service.backends.get(index)?);
    let is_full = was_full || live.ledger.gate.is_full(view.now);
    let figures = live.ledger.shown.read();
    let healthy = live.members.iter().filter(|member| member.is_healthy()).count();
    let state = match part {
        _ if config.scaler.is_drained() => "drained",
        _ if figures.is_auto_drained => "drained automatically",
        Part::None | Part::Isolated if healthy == 0 => "no healthy member",
        Part::None => "no share",
        Part::Isolated => "isolated",
        Part::Share(_) if is_full => "full",
        // What members report is held by a rate: between two requests there is room, however busy they are.
        Part::Share(_) if figures.fullness >= 1.0 => "above target, with room for a request now",
        Part::Share(_) => "room",
    };
    let targets: Map<String, Value> =
        targets(config).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let mut value = json!({
        "group": &*config.group.name,
        "zone": &*config.group.zone,
        "region": region(view.places, config.group.region),
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
        "share": match part { Part::Share(share) => Some(share), Part::None | Part::Isolated => None },
        "state": state,
    });
    if !config.mode.metrics().is_empty() {
        value["customMetrics"] = custom_metrics(config, &figures);
    }
    if let Some(binding) = binding(config, &figures) {
        value["bindingTarget"] = binding.into();
    }
    Some(value)
}

/// Each metric with its reading, and what it is filled up to: its maximum × the scaler [G 1.17].
fn custom_metrics(config: &Backend, figures: &Figures) -> Value {
    let metrics = config.mode.metrics().iter().zip(figures.metrics);
    let metric = metrics.map(|(metric, figures)| {
        json!({
            "name": &*metric.name,
            "maxUtilization": metric.max.get(),
            "target": metric.max.get() * config.scaler.get(),
            // null: nobody has reported it lately.
            "mean": finite(figures.mean),
            "fullness": finite(figures.fullness),
            "dryRun": metric.is_dry_run,
        })
    });
    metric.collect()
}

/// Which target is the nearest to being reached, by name, where there are several or they are metrics. A metric on a dry run is none [G 1.38].
fn binding(config: &Backend, figures: &Figures) -> Option<String> {
    let names = targets(config);
    let named = |starts: &[&str]| {
        let name = names.iter().find(|(name, _)| starts.iter().any(|start| name.starts_with(start)));
        name.map(|(name, _)| (*name).to_owned())
    };
    let part = |load: f64, target: f64| if target > 0.0 { load / target } else { f64::NAN };
    let rate = capacity::of_backend(config).map(|target| part(figures.rate, target.get()));
    #[allow(clippy::cast_precision_loss)]
    let count = capacity::count_of_backend(config).map(|target| part(figures.in_flight, target as f64));
    let used = capacity::utilization(config).map(|target| part(figures.utilization, target.get()));
    let metrics = config.mode.metrics().iter().zip(figures.metrics);
    let metrics = metrics.filter(|(metric, _)| !metric.is_dry_run);
    let metrics = metrics.map(|(metric, figures)| (Some((*metric.name).to_owned()), Some(figures.fullness)));
    let all = [
        (named(&["maxUtilization"]), used),
        (named(&["maxRate"]), rate),
        (named(&["maxInFlight", "maxConnections"]), count),
    ];
    let all: Vec<(String, f64)> = all.into_iter().chain(metrics).filter_map(|(n, f)| n.zip(f)).collect();
    if all.len() < 2 && config.mode.metrics().is_empty() {
        return None;
    }
    let known = all.into_iter().filter(|(_, fullness)| fullness.is_finite());
    known.reduce(|best, one| if one.1 > best.1 { one } else { best }).map(|one| one.0)
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
