//! Backend services with their backends and members.

use std::net::SocketAddr;
use std::sync::Arc;

use super::check::Checks;
use super::flawed;
use super::group::{Groups, Listed, Roster};
use super::names::Names;
use super::report::Report;
use super::target;
use crate::model::policy::{Distribution, Policies};
use crate::model::probe::HealthCheck;
use crate::model::service::{Affinity, Backend, GroupKind, Member, Protocol, Scheme, Service};
use crate::model::target::Preference;
use crate::model::unit::{Ratio, Span};
use crate::wire::backend_service as wire;
use crate::wire::path::Path;
use crate::wire::read::Collection;

/// All services, by index and by name.
pub(super) struct Services<'a> {
    pub(super) names: Names<'a>,
    /// In the order of the document; `None` where a problem was reported.
    pub(super) list: Vec<Option<Placed>>,
}

/// A service with the groups behind its backends, in their order.
pub(super) struct Placed {
    pub(super) value: Service,
    pub(super) rosters: Vec<Arc<Roster>>,
}

/// Resolves all services.
pub(super) fn all<'a>(
    of: &'a Collection<wire::BackendService>,
    checks: &Checks<'_>,
    groups: &Groups,
    report: &mut Report<'_>,
) -> Services<'a> {
    let names = Names::new(of, "backend service", report);
    let list = Path::Root.key(of.key);
    let resolve = |(index, entry): (usize, &crate::wire::read::Entry<wire::BackendService>)| {
        let at = list.item(index);
        let Some(value) = entry.value.as_ref() else {
            if let Some(node) = report.root().get(of.key).and_then(|services| services.items().get(index)) {
                flawed::service(node, (checks, groups), &at, report);
            }
            return None;
        };
        one(value, (checks, groups), &at, report)
    };
    Services { names, list: of.entries.iter().enumerate().map(resolve).collect() }
}

fn one(
    service: &wire::BackendService,
    (checks, groups): (&Checks<'_>, &Groups),
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<Placed> {
    let scheme = scheme(service.load_balancing_scheme.as_deref());
    let protocol =
        if service.protocol.as_deref() == Some("HTTPS") { Protocol::Https } else { Protocol::Http };
    let port_name = service.port_name.as_deref().unwrap_or(match protocol {
        Protocol::Http => "http",
        Protocol::Https => "https",
        Protocol::Tcp => "tcp",
        Protocol::Ssl => "ssl",
    });
    let affinity = affinity(service, scheme, at, report);
    let log_sample = log_sample(service, at, report);
    let health_check = health_check(service, checks, at, report);
    let (backends, rosters) = backends(service, &About { scheme, port_name, groups }, at, report);
    let value = Service {
        name: service.name.as_str().into(),
        scheme,
        protocol,
        timeout: Span::secs(service.timeout_sec.unwrap_or(30).into()),
        health_check: Some(health_check?),
        affinity,
        draining_timeout: Span::secs(
            service
                .connection_draining
                .as_ref()
                .and_then(|draining| draining.draining_timeout_sec)
                .unwrap_or(0)
                .into(),
        ),
        log_sample,
        policies: policies(scheme),
        region: None,
        backends: backends?,
        // Known once the forwarding rules are.
        is_reachable: false,
    };
    Some(Placed { value, rosters })
}

/// What the scheme alone decides.
fn policies(scheme: Scheme) -> Policies {
    let threshold = match scheme {
        Scheme::External => Distribution::FAILOVER_THRESHOLD_CLASSIC,
        Scheme::ExternalManaged | Scheme::InternalManaged => Distribution::FAILOVER_THRESHOLD,
    };
    let distribution = Distribution { failover_threshold: Ratio::new(threshold), ..Distribution::default() };
    Policies { distribution, ..Policies::default() }
}

/// Absent, it is EXTERNAL_MANAGED (**ours**).
pub(super) fn scheme(word: Option<&str>) -> Scheme {
    match word {
        Some("EXTERNAL") => Scheme::External,
        Some("INTERNAL_MANAGED") => Scheme::InternalManaged,
        _ => Scheme::ExternalManaged,
    }
}

/// A TTL next to another affinity is legal, since gcloud leaves it behind [G 3.11].
fn affinity(
    service: &wire::BackendService,
    scheme: Scheme,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Affinity {
    let affinity = match service.session_affinity.as_deref() {
        Some("CLIENT_IP") => Affinity::ClientIp,
        Some("GENERATED_COOKIE") => {
            Affinity::GeneratedCookie { ttl: Span::secs(service.affinity_cookie_ttl_sec.unwrap_or(0).into()) }
        }
        _ => Affinity::None,
    };
    let is_cookie = matches!(affinity, Affinity::GeneratedCookie { .. });
    if is_cookie && scheme != Scheme::External && service.locality_lb_policy.is_some() {
        let message = format!("service `{}` wants members in turn and sessions that stay", service.name);
        let expected = "no `localityLbPolicy`: GENERATED_COOKIE needs a hash, RING_HASH or MAGLEV, which is the default with affinity [G 2c, 3]";
        report.error(&at.key("localityLbPolicy"), "forbidden-field", message, expected);
    }
    affinity
}

/// All without a `logConfig` (**ours**); with one, `enable` decides, and it is false when absent [G 8.1].
fn log_sample(service: &wire::BackendService, at: &Path<'_>, report: &mut Report<'_>) -> Ratio {
    let Some(config) = &service.log_config else { return Ratio::ONE };
    if config.enable == Some(true) {
        return Ratio::new(config.sample_rate.unwrap_or(1.0));
    }
    if config.sample_rate.is_some_and(|rate| rate > 0.0) {
        let message = format!("service `{}` samples a log that is off", service.name);
        report.error(
            &at.key("logConfig").key("sampleRate"),
            "forbidden-field",
            message,
            "`enable: true` next to it, or no `sampleRate` [G 8.1]",
        );
    }
    Ratio::ZERO
}

/// Exactly one; the schema refuses a second [G 4.11].
fn health_check(
    service: &wire::BackendService,
    checks: &Checks<'_>,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<Arc<HealthCheck>> {
    let Some(reference) = service.health_checks.as_ref().and_then(|list| list.first()) else {
        let message = format!("service `{}` has no health check", service.name);
        report.error(at, "missing-health-check", message, "`healthChecks: [NAME]`: groups need one [G 4.11]");
        return None;
    };
    let index = checks.names.follow(reference, &at.key("healthChecks").item(0), report)?;
    checks.list.get(index)?.clone()
}

/// What backends need to know of their service.
pub(super) struct About<'a> {
    pub(super) scheme: Scheme,
    pub(super) port_name: &'a str,
    pub(super) groups: &'a Groups,
}

/// The backends with their groups; no backends after a report, but all groups that were found.
fn backends(
    service: &wire::BackendService,
    about: &About<'_>,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> (Option<Vec<Backend>>, Vec<Arc<Roster>>) {
    let wires = service.backends.as_deref().unwrap_or_default();
    let list = at.key("backends");
    let mut rosters: Vec<Arc<Roster>> = Vec::new();
    let mut out = Some(Vec::new());
    for (index, wire) in wires.iter().enumerate() {
        let at = list.item(index);
        let group = about.groups.follow(&wire.group, &at.key("group"), report);
        let backend = backend(wire, group, about, &at, report);
        if let Some(roster) = group.and_then(|group| group.value.as_ref()) {
            agrees(roster, &rosters, &at, report);
            rosters.push(Arc::clone(roster));
        }
        out = out.zip(backend).map(|(mut out, backend)| {
            out.push(backend);
            out
        });
    }
    if let [only] = wires
        && only.capacity_scaler == Some(0.0)
    {
        let message = format!("service `{}` has one backend, and its `capacityScaler` is 0", service.name);
        report.error(
            &list.item(0).key("capacityScaler"),
            "drained-single-backend",
            message,
            "0.1 to 1: a lone backend cannot be drained [G 1.2]",
        );
    }
    (out, rosters)
}

/// No group twice, and no mixture of kinds [G 1.31].
fn agrees(roster: &Roster, before: &[Arc<Roster>], at: &Path<'_>, report: &mut Report<'_>) {
    let group = &roster.group;
    if before.iter().any(|other| Arc::ptr_eq(&other.group, group)) {
        let message = format!("group `{}` is a backend of this service already", group.name);
        report.error(
            &at.key("group"),
            "duplicate-backend",
            message,
            "each group once; one backend has one target [G 1.31]",
        );
    } else if let Some(other) = before.iter().find(|other| other.group.kind != group.kind) {
        let message = format!(
            "`{}` is one of {}, and `{}`, a backend of the same service, one of {}",
            group.name,
            group.kind.collection(),
            other.group.name,
            other.group.kind.collection()
        );
        report.error(
            &at.key("group"),
            "mixed-groups",
            message,
            "instance groups alone, or network endpoint groups alone [G 1.31]",
        );
    }
}

/// Checks what can be checked, even where the group is unknown or has problems of its own.
pub(super) fn backend(
    wire: &wire::Backend,
    group: Option<&Listed>,
    about: &About<'_>,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<Backend> {
    let scaler = target::scaler(wire, at, report);
    let group = group?;
    let mode = target::mode(wire, group.kind, (&group.name, at), report);
    let preference = match wire.preference.as_deref() {
        Some("PREFERRED") => Preference::Preferred,
        _ => Preference::Default,
    };
    if preference == Preference::Preferred && about.scheme == Scheme::External {
        let message = format!("backend `{}` is preferred in a service of scheme EXTERNAL", group.name);
        report.error(
            &at.key("preference"),
            "forbidden-field",
            message,
            "DEFAULT, or scheme EXTERNAL_MANAGED: the classic balancer knows no preference [G 1.33]",
        );
    }
    let roster = group.value.as_ref()?;
    let members = members(roster, about.port_name, at, report);
    Some(Backend {
        group: Arc::clone(&roster.group),
        mode: mode?,
        scaler: scaler?,
        preference,
        members: members?,
    })
}

/// Endpoints have their port; instances that behind the service's named port, their own first.
fn members(roster: &Roster, port_name: &str, at: &Path<'_>, report: &mut Report<'_>) -> Option<Vec<Member>> {
    let mut out: Vec<Member> = Vec::with_capacity(roster.entries.len());
    let mut seen = std::collections::BTreeSet::new();
    for entry in &roster.entries {
        let port = match roster.group.kind {
            GroupKind::NetworkEndpointGroup => entry.port,
            GroupKind::InstanceGroup => {
                entry.ports.get(port_name).or_else(|| roster.named_ports.get(port_name)).copied()
            }
        };
        let Some(port) = port else {
            let known: Vec<&str> = roster.named_ports.keys().map(String::as_str).collect();
            let message = format!(
                "the service speaks to port `{port_name}`, which instance `{}` of group `{}` does not have",
                entry.name, roster.group.name
            );
            let known = if known.is_empty() {
                String::new()
            } else {
                format!(", or `portName` {} on the service", known.join(" or "))
            };
            report.error(
                &at.key("group"),
                "missing-named-port",
                message,
                format!("`namedPorts: [{{name: {port_name}, port: …}}]` on the group{known}"),
            );
            return None;
        };
        let address = SocketAddr::new(entry.ip, port);
        if !seen.insert(address) {
            let message = format!(
                "instance `{}` of group `{}` is at {address}, and so is another",
                entry.name, roster.group.name
            );
            report.error(
                &at.key("group"),
                "duplicate-member",
                message,
                "an address and port of its own for each member, by `ipAddress` or `ports`",
            );
            return None;
        }
        out.push(Member { name: Arc::clone(&entry.name), address, host: None });
    }
    Some(out)
}
