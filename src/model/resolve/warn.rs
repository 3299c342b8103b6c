//! What is legal and likely wrong. `check --strict` refuses it; `serve` says it at start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::policy::{DEFAULT_RING_SIZE, is_hash};
use super::report::Report;
use super::service::{Placed, Services};
use super::target::per_member;
use crate::model::policy::Locality;
use crate::model::probe::ProbePort;
use crate::model::service::{Affinity, Backend, Scheme, UtilizationSource};
use crate::model::target::{Beside, CountTarget, CustomMetric, Mode, RateTarget};
use crate::model::unit::Span;
use crate::wire::backend_service::BackendService;
use crate::wire::path::Path;
use crate::wire::read::Collection;

/// Warnings about services by themselves.
pub(super) fn local(of: &Collection<BackendService>, services: &Services<'_>, report: &mut Report<'_>) {
    let list = Path::Root.key(of.key);
    for (index, (placed, entry)) in services.list.iter().zip(&of.entries).enumerate() {
        let (Some(placed), Some(wire)) = (placed, &entry.value) else { continue };
        let at = list.item(index);
        affinity(placed, wire, &at, report);
        probed_port(placed, &at, report);
        reports(placed, wire, &at, report);
        locality(placed, wire, &at, report);
        let backends = at.key("backends");
        for (position, backend) in placed.value.backends.iter().enumerate() {
            target(backend, &backends.item(position), report);
        }
        twice(placed, &backends, report);
        if placed.value.backends.len() > 1
            && placed.value.backends.iter().all(|backend| backend.scaler.is_drained())
        {
            let message = format!(
                "all backends of service `{}` are drained: every request will get an error",
                wire.name
            );
            report.warning(
                &backends,
                "all-drained",
                message,
                "a `capacityScaler` above 0 somewhere [G 1.2, 1.3]",
            );
        }
        if placed.value.backends.is_empty() {
            let message = format!("service `{}` has no backends: every request will get an error", wire.name);
            report.warning(&at.key("name"), "no-backends", message, "`backends:` with at least one group");
        }
    }
}

/// Warnings about services that no forwarding rule leads to. Only for documents without errors, since any could hide a way.
pub(super) fn unreachable(services: &Services<'_>, reached: &[bool], listens: bool, report: &mut Report<'_>) {
    let list = Path::Root.key("backendServices");
    if !listens {
        let message = "there is no forwarding rule: nothing will be served";
        report.warning(
            &Path::Root.key("forwardingRules"),
            "no-listener",
            message,
            "`forwardingRules:` with an address, a port and a target",
        );
        return;
    }
    for (index, placed) in services.list.iter().enumerate() {
        if let (Some(placed), Some(false)) = (placed, reached.get(index)) {
            let message = format!(
                "no forwarding rule leads to service `{}`: it gets no requests and no probes",
                placed.value.name
            );
            report.warning(
                &list.item(index).key("name"),
                "unreachable-service",
                message,
                if placed.value.protocol.is_http() {
                    "a URL map that names it, behind a forwarding rule [G 4.15]"
                } else {
                    "a target TCP or SSL proxy that names it, behind a forwarding rule [G 4.15]"
                },
            );
        }
    }
}

fn affinity(placed: &Placed, wire: &BackendService, at: &Path<'_>, report: &mut Report<'_>) {
    let by_utilization =
        placed.value.backends.iter().any(|backend| matches!(backend.mode, Mode::Utilization { .. }));
    if by_utilization && placed.value.affinity != Affinity::None {
        let message = format!("service `{}` keeps sessions while UTILIZATION moves them", wire.name);
        report.warning(
            &at.key("sessionAffinity"),
            "utilization-affinity",
            message,
            "RATE, or sessionAffinity NONE [G 1.25]",
        );
    }
    let has_ttl = wire.affinity_cookie_ttl_sec.is_some_and(|ttl| ttl > 0);
    let takes_ttl =
        matches!(placed.value.affinity, Affinity::GeneratedCookie { .. } | Affinity::HttpCookie(_));
    if has_ttl && !takes_ttl {
        let message = format!("service `{}` has a cookie lifetime and no generated cookie", wire.name);
        report.warning(
            &at.key("affinityCookieTtlSec"),
            "ttl-without-cookie",
            message,
            "sessionAffinity: GENERATED_COOKIE, or no `affinityCookieTtlSec` [G 3.4]",
        );
    }
    keys(placed, wire, at, report);
}

/// What gcloud leaves behind when the affinity changes [G 3.11], and a life that is said twice.
fn keys(placed: &Placed, wire: &BackendService, at: &Path<'_>, report: &mut Report<'_>) {
    let affinity = &placed.value.affinity;
    let hash = wire.consistent_hash.as_ref();
    let cookie = hash.and_then(|hash| hash.http_cookie.as_ref());
    let parent = at.key("consistentHash");
    let field = parent.key("httpCookie");
    if let (Affinity::HttpCookie(used), Some(ttl)) = (affinity, wire.affinity_cookie_ttl_sec)
        && cookie.is_some_and(|cookie| cookie.ttl.is_some())
        && ttl > 0
        && used.ttl != Span::secs(ttl.into())
    {
        let message = format!(
            "the cookie of service `{}` lives for {} s by `httpCookie.ttl` and for {ttl} s by `affinityCookieTtlSec`",
            wire.name,
            used.ttl.as_secs()
        );
        let expected = "one of them; `httpCookie.ttl` decides [G 3.11]";
        report.warning(&at.key("affinityCookieTtlSec"), "two-ttls", message, expected);
    }
    let unused = [
        (&field, cookie.is_some(), matches!(affinity, Affinity::HttpCookie(_)), "HTTP_COOKIE"),
        (
            &parent.key("httpHeaderName"),
            hash.is_some_and(|hash| hash.http_header_name.is_some()),
            matches!(affinity, Affinity::HeaderField(_)),
            "HEADER_FIELD",
        ),
        (
            &at.key("strongSessionAffinityCookie"),
            wire.strong_session_affinity_cookie.is_some(),
            matches!(affinity, Affinity::StrongCookie(_)),
            "STRONG_COOKIE_AFFINITY",
        ),
    ];
    for (field, _, _, word) in unused.into_iter().filter(|(_, is_there, is_used, _)| *is_there && !is_used) {
        let message = format!(
            "service `{}` says what {word} goes by, and its sessionAffinity is {}",
            wire.name,
            affinity.as_str()
        );
        report.warning(
            field,
            "unused-session-key",
            message,
            format!("sessionAffinity: {word}, or nothing here [G 3]"),
        );
    }
}

/// Metrics that nobody reports, or that nothing is weighed by.
fn reports(placed: &Placed, wire: &BackendService, at: &Path<'_>, report: &mut Report<'_>) {
    let list = at.key("backends");
    for (index, backend) in placed.value.backends.iter().enumerate() {
        header_of_connections(placed, backend, &list.item(index), report);
        let source = match backend.group.utilization {
            UtilizationSource::LocalProcess { .. } => "the CPU of processes",
            UtilizationSource::Prometheus { .. } => "a metrics page",
            UtilizationSource::OrcaHeader | UtilizationSource::Http { .. } => continue,
        };
        let is_weighted = placed.value.policies.locality == Locality::WeightedRoundRobin;
        if is_weighted {
            let message = format!(
                "group `{}` reads {source}, and WEIGHTED_ROUND_ROBIN wants reports of the members",
                backend.group.name
            );
            report.warning(
                &list.item(index).key("group"),
                "weights-without-reports",
                message,
                "`utilization: {source: ORCA_HEADER}` or HTTP on the group; else all members weigh the same [G 1.45]",
            );
        }
        if matches!(backend.mode, Mode::CustomMetrics { .. }) {
            let message = format!(
                "group `{}` reads {source}, and `customMetrics` want reports of the members",
                backend.group.name
            );
            report.warning(
                &list.item(index).key("customMetrics"),
                "metrics-without-reports",
                message,
                "`utilization: {source: ORCA_HEADER}` or HTTP on the group [G 1.41]",
            );
        }
    }
    let metrics = wire.custom_metrics.as_deref().unwrap_or_default();
    if !metrics.is_empty() && placed.value.policies.locality != Locality::WeightedRoundRobin {
        let message = format!("nothing in service `{}` is weighed by its metrics", wire.name);
        report.warning(
            &at.key("customMetrics"),
            "unused-metrics",
            message,
            "localityLbPolicy: WEIGHTED_ROUND_ROBIN; targets by metrics stand in the backends [G 1.36]",
        );
    }
}

/// Reports in the headers of answers, where there are none.
fn header_of_connections(placed: &Placed, backend: &Backend, at: &Path<'_>, report: &mut Report<'_>) {
    let protocol = placed.value.protocol;
    let is_listened_to = matches!(backend.mode, Mode::Utilization { .. })
        && backend.group.utilization == UtilizationSource::OrcaHeader;
    if is_listened_to && !protocol.is_http() {
        let message = format!(
            "group `{}` listens to the headers of answers, and a service of protocol {} sees none: its utilization is never known",
            backend.group.name,
            protocol.as_str()
        );
        report.warning(
            &at.key("group"),
            "utilization-without-reports",
            message,
            "`utilization: {source: HTTP}`, PROMETHEUS or LOCAL_PROCESS on the group, or CONNECTION [G 1.41]",
        );
    }
}

/// Policies that never choose, and hashes of nothing.
fn locality(placed: &Placed, wire: &BackendService, at: &Path<'_>, report: &mut Report<'_>) {
    let (affinity, locality) = (&placed.value.affinity, placed.value.policies.locality);
    let word = locality.as_str();
    let is_said = wire.locality_lb_policy.is_some();
    let mut warn = |code, message: String, expected: &str| {
        report.warning(&at.key("localityLbPolicy"), code, message, expected);
    };
    match affinity {
        Affinity::None if is_hash(locality) => warn(
            "hash-without-affinity",
            format!("service `{}` has no sessions to hash: {word} takes members in turn", wire.name),
            "a `sessionAffinity`, or another policy [G 2c, 3]",
        ),
        Affinity::ClientIp if is_said && !is_hash(locality) && placed.value.scheme != Scheme::External => {
            warn(
                "policy-without-effect",
                format!("every request of service `{}` has a session, and {word} never chooses", wire.name),
                "MAGLEV or RING_HASH, or no `localityLbPolicy`; or sessionAffinity NONE [G 2c, 3]",
            );
        }
        _ => {}
    }
    let size = wire.consistent_hash.as_ref().and_then(|hash| hash.minimum_ring_size);
    // The default stands in many exports.
    if size.is_some_and(|size| size != DEFAULT_RING_SIZE) && !matches!(locality, Locality::RingHash { .. }) {
        let message = format!("there is no ring in service `{}`: its policy is {word}", wire.name);
        let hash = at.key("consistentHash");
        let expected = "localityLbPolicy: RING_HASH, or no `minimumRingSize` [G 2c]";
        report.warning(&hash.key("minimumRingSize"), "unused-ring-size", message, expected);
    }
}

/// A port other than the type's default was chosen by someone; the default was often chosen by nobody.
fn probed_port(placed: &Placed, at: &Path<'_>, report: &mut Report<'_>) {
    let Some(check) = &placed.value.health_check else { return };
    let Some(default) = check.probe.default_port() else { return };
    let mut members = placed.value.backends.iter().flat_map(|backend| &backend.members).peekable();
    if check.port != ProbePort::Fixed(default) || members.peek().is_none() {
        return;
    }
    if members.all(|member| member.address.port() != default) {
        let message = format!(
            "health check `{}` probes port {default}, where no member of service `{}` serves",
            check.name, placed.value.name
        );
        report.warning(
            &at.key("healthChecks").item(0),
            "probed-port",
            message,
            "portSpecification: USE_SERVING_PORT on the health check, or its `port` [G 4b, 4.2]",
        );
    }
}

/// Members of one service that are one server. Each group knows its own share of that server's load and fills it up
/// without the other's. Said once for each pair of groups.
fn twice(placed: &Placed, list: &Path<'_>, report: &mut Report<'_>) {
    let mut homes = BTreeMap::new();
    let mut said = BTreeSet::new();
    for (position, backend) in placed.value.backends.iter().enumerate() {
        for member in &backend.members {
            let (first, group) = *homes.entry(member.address).or_insert((position, &backend.group));
            // The same group twice is an error of its own.
            if !Arc::ptr_eq(group, &backend.group) && said.insert((first, position)) {
                let message = format!(
                    "groups `{}` and `{}` both have a member at {}: it is filled twice over",
                    group.name, backend.group.name, member.address
                );
                report.warning(
                    &list.item(position).key("group"),
                    "member-in-two-groups",
                    message,
                    "each server in one group of the service",
                );
            }
        }
    }
}

fn target(backend: &Backend, at: &Path<'_>, report: &mut Report<'_>) {
    let group = &backend.group.name;
    let target = numeric(backend);
    if backend.members.is_empty() {
        if matches!(target, Some((_, true, _))) {
            let message =
                format!("group `{group}` has no members, so a target for each of them comes to nothing");
            report.warning(&at.key("group"), "unusable-target", message, "members in the group [G 1.20]");
        } else {
            let message = format!("group `{group}` has no members: it can never be chosen");
            report.warning(&at.key("group"), "empty-group", message, "members in the group, or no backend");
        }
        return;
    }
    let zero = match (target, &backend.mode) {
        (Some((stem, is_per_member, value)), _) if value <= 0.0 => {
            Some(if is_per_member { per_member(stem, backend.group.kind) } else { stem.to_owned() })
        }
        (_, Mode::Utilization { max, .. }) if max.get() <= 0.0 => Some("maxUtilization".to_owned()),
        _ => None,
    };
    let mut full = |at: &Path<'_>, field: &str| {
        let message = format!("`{field}` is 0: backend `{group}` is always full");
        let expected = "a number above 0; `capacityScaler: 0` drains a backend [G 1.3, 1.9]";
        report.warning(&at.key(field), "unusable-target", message, expected);
    };
    if let Some(field) = zero {
        full(at, &field);
    }
    if let Mode::CustomMetrics { metrics, .. } = &backend.mode {
        let list = at.key("customMetrics");
        let is_zero = |metric: &CustomMetric| metric.max.get() <= 0.0 && !metric.is_dry_run;
        for (index, _) in metrics.iter().enumerate().filter(|(_, metric)| is_zero(metric)) {
            full(&list.item(index), "maxUtilization");
        }
    }
}

/// The target that is a number of something: its field for the whole group, whether it counts for each member, its value.
fn numeric(backend: &Backend) -> Option<(&'static str, bool, f64)> {
    if let Some(rate) = backend.mode.rate() {
        let (is_per_member, rate) = match rate {
            RateTarget::Group(rate) => (false, rate),
            RateTarget::PerMember(rate) => (true, rate),
        };
        return Some(("maxRate", is_per_member, rate.get()));
    }
    let stem = match backend.mode {
        Mode::Connection(_) | Mode::Utilization { beside: Beside::Connections(_), .. } => "maxConnections",
        _ => "maxInFlightRequests",
    };
    backend.mode.count().map(|count| match count {
        CountTarget::Group(count) => (stem, false, count.into()),
        CountTarget::PerMember(count) => (stem, true, count.into()),
    })
}
