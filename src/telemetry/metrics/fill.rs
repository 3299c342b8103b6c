//! What each family of metrics says: one function for those of one shape.

use std::collections::BTreeMap;

use super::{REMOVED, View};
use crate::balance::pick::Reason;
use crate::balance::plan::{Figures, MetricFigures};
use crate::ledger::breaker::Limit;
use crate::ledger::histogram::BOUNDS_US;
use crate::ledger::member::Count;
use crate::ledger::process::Traffic;
use crate::ledger::resolution::Resolution;
use crate::ledger::service::{Extra, Loss, Mirrored};
use crate::model::config::Front;
use crate::model::detail::StatusDetail;
use crate::model::service::Group;
use crate::telemetry::text::Page;
use crate::world::{LiveBackend, LiveMember, LiveService, World};

/// The classes of status with their names [G 8.4]; 0 = the client got no answer.
pub(crate) const CLASSES: [(Count, &str); 6] = [
    (Count::Class0, "0"),
    (Count::Class1, "100"),
    (Count::Class2, "200"),
    (Count::Class3, "300"),
    (Count::Class4, "400"),
    (Count::Class5, "500"),
];

pub(super) fn traffic(view: &View<'_>, page: &mut Page, label: &'static str, kinds: &[(&str, Traffic)]) {
    for (kind, what) in kinds {
        page.count(&[(label, kind)], view.process.sum(*what));
    }
}

pub(super) fn requests(view: &View<'_>, page: &mut Page) {
    let mut samples = |labels: [&str; 4], counts: [u64; 6]| {
        let [service, backend, zone, member] = labels;
        for ((class, name), count) in CLASSES.into_iter().zip(counts) {
            // 2xx and 5xx always, so that a rate can be taken from the first one on; the others when they happen.
            if count > 0 || matches!(class, Count::Class2 | Count::Class5) {
                let place = [("service", service), ("backend", backend), ("zone", zone)];
                let [service, backend, zone] = place;
                page.count(&[service, backend, zone, ("member", member), ("code_class", name)], count);
            }
        }
    };
    for service in &view.world.services {
        for (group, _, member) in service.members() {
            let counts = CLASSES.map(|(class, _)| member.numbered.member.sum(class));
            samples([service.name(), &group.name, &group.zone, &member.config.name], counts);
        }
        samples([service.name(), "", "", ""], service.ledger.unplaced());
        let departed = service.ledger.departed.classes();
        if departed != [0; 6] {
            samples([service.name(), REMOVED, "", REMOVED], departed);
        }
    }
    samples(["", "", "", ""], view.process.unrouted());
}

pub(super) fn outcomes(view: &View<'_>, page: &mut Page) {
    let mut samples = |service: &str, count: &dyn Fn(StatusDetail) -> u64| {
        for detail in StatusDetail::ALL {
            let n = count(*detail);
            if n > 0 || (*detail == StatusDetail::ResponseSentByBackend && !service.is_empty()) {
                page.count(&[("service", service), ("status_details", detail.as_str())], n);
            }
        }
    };
    for service in &view.world.services {
        samples(service.name(), &|detail| service.ledger.details(detail));
    }
    samples("", &|detail| view.process.details(detail));
}

pub(super) fn picks(view: &View<'_>, page: &mut Page) {
    for (service, group, backend) in backends(view.world) {
        for reason in Reason::ALL {
            let [a, b, c] = labels(service, group);
            page.count(&[a, b, c, ("reason", reason.as_str())], backend.ledger.picks(reason));
        }
    }
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn durations(view: &View<'_>, page: &mut Page) {
    let bounds = BOUNDS_US.map(|us| us as f64 / 1e6);
    for (service, group, backend) in backends(view.world) {
        let reading = backend.ledger.latency.read();
        page.histogram(&labels(service, group), &reading.buckets, &bounds, reading.sum_seconds);
    }
}

pub(super) fn figures(view: &View<'_>, page: &mut Page, which: fn(&Figures) -> f64) {
    for (service, group, backend) in backends(view.world) {
        page.number(&labels(service, group), which(&backend.ledger.shown.read()));
    }
}

pub(super) fn custom_metrics(view: &View<'_>, page: &mut Page, which: fn(&MetricFigures) -> f64) {
    for service in &view.world.services {
        for (config, live) in service.config.backends.iter().zip(&service.backends) {
            let figures = live.ledger.shown.read().metrics;
            for (metric, figures) in config.mode.metrics().iter().zip(&figures) {
                let [a, b, c] = labels(service, &config.group);
                let dry_run = if metric.is_dry_run { "true" } else { "false" };
                page.number(&[a, b, c, ("metric", &metric.name), ("dry_run", dry_run)], which(figures));
            }
        }
    }
}

pub(super) fn scalers(view: &View<'_>, page: &mut Page) {
    for service in &view.world.services {
        for backend in &service.config.backends {
            page.number(&labels(service, &backend.group), backend.scaler.get());
        }
    }
}

pub(super) fn members(view: &View<'_>, page: &mut Page, which: fn(&LiveMember) -> u64) {
    for service in &view.world.services {
        for (group, _, member) in service.members() {
            let [a, b, c] = labels(service, group);
            page.count(&[a, b, c, ("member", &member.config.name)], which(member));
        }
    }
}

pub(super) fn hosts(view: &View<'_>, page: &mut Page, which: fn(&Resolution) -> u64) {
    for service in &view.world.services {
        for (group, _, member) in service.members() {
            if let Some(resolution) = &member.endpoint.resolution {
                let [a, b, c] = labels(service, group);
                page.count(&[a, b, c, ("member", &member.config.name)], which(resolution));
            }
        }
    }
}

pub(super) fn certificates(view: &View<'_>, page: &mut Page) {
    let all = view.world.config.fronts.iter().filter_map(Front::tls).flat_map(|tls| &tls.certificates);
    // One that several proxies show is one line.
    let by_name: BTreeMap<&str, i64> = all.map(|one| (&*one.name, one.facts().not_after)).collect();
    for (name, not_after) in by_name {
        page.count(&[("certificate", name)], u64::try_from(not_after).unwrap_or(0));
    }
}

pub(super) fn extras(view: &View<'_>, page: &mut Page, which: Extra) {
    for service in &view.world.services {
        page.count(&[("service", service.name())], service.ledger.extra(which));
    }
}

/// Only of services that have such a limit, or had one that tripped.
pub(super) fn trips(view: &View<'_>, page: &mut Page) {
    for service in &view.world.services {
        let breakers = &service.config.policies.circuit_breakers;
        for limit in Limit::ALL {
            let is_set = match limit {
                Limit::Connections => breakers.max_connections,
                Limit::PendingRequests => breakers.max_pending_requests,
                Limit::Requests => breakers.max_requests,
                Limit::Retries => breakers.max_retries,
            };
            let trips = service.ledger.breakers.trips(limit);
            if is_set.is_some() || trips > 0 {
                page.count(&[("service", service.name()), ("limit", limit.as_str())], trips);
            }
        }
    }
}

/// Only of services that were to get some.
pub(super) fn mirrored(view: &View<'_>, page: &mut Page) {
    for service in &view.world.services {
        let counts = Mirrored::ALL.map(|how| (how, service.ledger.mirrored(how)));
        if counts.iter().any(|(_, count)| *count > 0) {
            for (how, count) in counts {
                page.count(&[("service", service.name()), ("result", how.as_str())], count);
            }
        }
    }
}

pub(super) fn losses(view: &View<'_>, page: &mut Page) {
    for service in &view.world.services {
        for loss in Loss::ALL {
            let labels = [("service", &**service.name()), ("reason", loss.as_str())];
            page.count(&labels, service.ledger.losses(loss));
        }
    }
}

pub(super) fn backends(world: &World) -> impl Iterator<Item = (&LiveService, &Group, &LiveBackend)> {
    world.services.iter().flat_map(|service| {
        let groups = service.config.backends.iter().map(|backend| &*backend.group);
        groups.zip(&service.backends).map(|(group, live)| (&**service, group, live))
    })
}

pub(super) fn labels<'a>(service: &'a LiveService, group: &'a Group) -> [(&'static str, &'a str); 3] {
    [("service", service.name()), ("backend", &group.name), ("zone", &group.zone)]
}
