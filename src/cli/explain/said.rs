//! What the command line says of groups, held against the configuration: nothing that is said is passed over.

use std::sync::Arc;

use super::load::{Amount, Healthy, Load};
use crate::balance::capacity;
use crate::balance::plan::{Figures, MetricFigures};
use crate::model::config::Config;
use crate::model::service::{Backend, Service};
use crate::model::target::{Beside, Mode};

/// Loads and health, each of a group that is there and in a unit that the group's mode has.
pub(super) struct Said<'a> {
    loads: &'a [Load],
    healthy: &'a [Healthy],
}

impl<'a> Said<'a> {
    /// # Errors
    /// What means nothing here, and what would.
    pub(super) fn new(config: &Config, loads: &'a [Load], healthy: &'a [Healthy]) -> Result<Self, String> {
        for load in loads {
            for (service, backend) in called(config, &load.group)? {
                once("--load", &load.group, backend, loads.iter().map(|load| &*load.group))?;
                check_unit(load, service, backend)?;
            }
        }
        for Healthy { group, members } in healthy {
            for (_, backend) in called(config, group)? {
                once("--healthy", group, backend, healthy.iter().map(|one| &*one.group))?;
                let (all, zone) = (backend.members.len(), &backend.group.zone);
                if *members > all {
                    return Err(format!(
                        "--healthy {group}={members} is more than `{}` in zone {zone} has: say 0 to {all}",
                        backend.group.name
                    ));
                }
            }
        }
        Ok(Self { loads, healthy })
    }

    /// What was said of groups that have no part in the answer, since `service` does not use them.
    pub(super) fn without_effect(&self, service: Option<&Arc<Service>>) -> Vec<String> {
        let is_used = |group: &str| {
            service.is_some_and(|service| service.backends.iter().any(|backend| is_called(backend, group)))
        };
        let loads =
            self.loads.iter().map(|load| (&*load.group, format!("--load {}={}", load.group, load.words)));
        let healthy =
            self.healthy.iter().map(|one| (&*one.group, format!("--healthy {}={}", one.group, one.members)));
        let why = service.map_or_else(
            || "the request comes to no service".to_owned(),
            |service| format!("service `{}`, where the request goes, does not use the group", service.name),
        );
        let unused = loads.chain(healthy).filter(|(group, _)| !is_used(group));
        unused.map(|(_, option)| format!("{option} has no effect: {why}")).collect()
    }

    /// Healthy members of a backend: the first so many.
    pub(super) fn healthy(&self, backend: &Backend) -> usize {
        let said = self.healthy.iter().find(|one| is_called(backend, &one.group));
        said.map_or(backend.members.len(), |one| one.members)
    }

    /// Fullness is that of the nearest target [G 1.15, 1.17].
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn figures(&self, backend: &Backend) -> Figures {
        let amount = self.loads.iter().find(|load| is_called(backend, &load.group)).map(|load| load.amount);
        let rate_target = capacity::of_backend(backend).map(|target| target.get());
        let count_target = capacity::count_of_backend(backend).map(|most| most as f64);
        let target = capacity::utilization(backend).map(|target| target.get());
        let (mut rate, mut count, mut used) = (0.0, 0.0, 0.0);
        match (amount, target) {
            (None, _) => {}
            (Some(Amount::Part(part)), Some(target)) => used = part * target,
            (Some(Amount::Part(part)), None) => {
                (rate, count) = (part * rate_target.unwrap_or(0.0), part * count_target.unwrap_or(0.0));
            }
            (Some(Amount::Rate(said)), _) => rate = said,
            (Some(Amount::Number(said)), _) if rate_target.is_some() => rate = said,
            (Some(Amount::Number(said)), _) => count = said,
        }
        let part = |load: f64, target: f64| if target > 0.0 { load / target } else { f64::INFINITY };
        let fullness = [
            rate_target.map(|target| part(rate, target)),
            target.map(|target| part(used, target)),
            count_target.map(|target| part(count, target)),
        ];
        let mut figures = Figures {
            capacity: rate_target.unwrap_or(f64::INFINITY),
            count_capacity: count_target.unwrap_or(f64::INFINITY),
            in_flight: count,
            rate,
            fullness: fullness.into_iter().flatten().fold(f64::NAN, f64::max),
            utilization: target.map_or(f64::NAN, |_| used),
            ..Figures::default()
        };
        let metrics = backend.mode.metrics();
        if !metrics.is_empty() {
            // Each metric has its own maximum: the load is the same part of all of them.
            figures.utilization = f64::NAN;
            for (figures, metric) in figures.metrics.iter_mut().zip(metrics).filter(|one| !one.1.is_dry_run) {
                let fullness = target.map_or(f64::NAN, |target| part(used, target));
                *figures = MetricFigures { mean: used * metric.max.get(), fullness };
            }
        }
        figures
    }
}

/// Whether a backend is meant by `said`, its name or `ZONE/NAME`: a name may stand in several zones.
fn is_called(backend: &Backend, said: &str) -> bool {
    let group = &backend.group;
    match said.split_once('/') {
        Some((zone, name)) => *group.zone == *zone && *group.name == *name,
        None => *group.name == *said,
    }
}

fn once<'a>(
    option: &str,
    group: &str,
    backend: &Backend,
    mut all: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    let is_meant = |said: &&str| is_called(backend, said);
    let again = all.by_ref().find(is_meant).and_then(|_| all.find(is_meant));
    if again.is_some() { Err(format!("{option} is given twice for `{group}`")) } else { Ok(()) }
}

/// The backends of a name, each with its service.
fn called<'a>(config: &'a Config, name: &str) -> Result<Vec<(&'a Service, &'a Backend)>, String> {
    let all = || {
        let of = |service: &'a Arc<Service>| service.backends.iter().map(move |one| (&**service, one));
        config.services.iter().flat_map(of)
    };
    let called: Vec<_> = all().filter(|(_, backend)| is_called(backend, name)).collect();
    if !called.is_empty() {
        return Ok(called);
    }
    let mut groups: Vec<&str> = Vec::new();
    for (_, backend) in all() {
        if !groups.contains(&&*backend.group.name) {
            groups.push(&backend.group.name);
        }
    }
    Err(format!("no backend is called `{name}`; there are: {}", groups.join(", ")))
}

/// A part of the target means something wherever there is one; a number only in the target's own unit.
fn check_unit(load: &Load, service: &Service, backend: &Backend) -> Result<(), String> {
    let (mode, group) = (&backend.mode, &load.group);
    let is_good = match load.amount {
        Amount::Part(_) => !matches!(mode, Mode::Unlimited),
        Amount::Rate(_) => mode.rate().is_some(),
        Amount::Number(_) => mode.rate().is_some() || mode.count().is_some(),
    };
    if is_good {
        return Ok(());
    }
    let connections = matches!(mode, Mode::Connection(_))
        || matches!(mode, Mode::Utilization { beside: Beside::Connections(_), .. });
    let also = match (mode.rate(), mode.count()) {
        (Some(_), _) => format!(", or requests per second such as --load {group}=90/s"),
        (None, Some(_)) if connections => format!(", or connections such as --load {group}=12"),
        (None, Some(_)) => format!(", or requests in flight such as --load {group}=12"),
        (None, None) => String::new(),
    };
    let what = match mode {
        Mode::Unlimited => {
            return Err(format!(
                "`{group}` has no target that a load could reach: internet endpoints are never full"
            ));
        }
        _ => format!("percent of its target such as --load {group}=50%{also}"),
    };
    Err(format!(
        "`{group}` is in mode {} in service `{}`, and `{}` is no load of that: say {what}",
        mode.as_str(),
        service.name,
        load.words,
    ))
}
