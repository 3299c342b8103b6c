//! Backend services with their backends and members.

use std::sync::Arc;

use super::affinity;
use super::backend::{About, backends};
use super::check::Checks;
use super::distribution::LbPolicies;
use super::flawed;
use super::group::{Groups, Roster};
use super::header;
use super::names::Names;
use super::policy;
use super::protection::span;
use super::region::{self, Home};
use super::report::Report;
use crate::model::policy::Policies;
use crate::model::probe::HealthCheck;
use crate::model::service::{Affinity, LogFields, Protocol, Scheme, Service};
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
    /// Name of its region; `None` = global.
    pub(super) region: Option<Arc<str>>,
}

/// What services refer to.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) checks: &'a Checks<'a>,
    pub(super) groups: &'a Groups,
    pub(super) lb_policies: &'a LbPolicies<'a>,
    /// By service.
    pub(super) regions: &'a [Home],
}

/// Resolves all services.
pub(super) fn all<'a>(
    of: &'a Collection<wire::BackendService>,
    around: Around<'_>,
    report: &mut Report<'_>,
) -> Services<'a> {
    let names = Names::new(of, "backend service", report);
    let list = Path::Root.key(of.key);
    let resolve = |(index, entry): (usize, &crate::wire::read::Entry<wire::BackendService>)| {
        let at = list.item(index);
        let Some(value) = entry.value.as_ref() else {
            if let Some(node) = report.root().get(of.key).and_then(|services| services.items().get(index)) {
                flawed::service(node, around, &at, report);
            }
            return None;
        };
        one(value, (index, around), &at, report)
    };
    Services { names, list: of.entries.iter().enumerate().map(resolve).collect() }
}

fn one(
    service: &wire::BackendService,
    (index, around): (usize, Around<'_>),
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<Placed> {
    let scheme = scheme(service.load_balancing_scheme.as_deref());
    let protocol = protocol(service.protocol.as_deref());
    if (scheme, protocol) == (Scheme::External, Protocol::H2c) {
        let message = format!("service `{}` of scheme EXTERNAL speaks H2C to its members", service.name);
        let expected = "HTTP, HTTPS or HTTP2; H2C goes with EXTERNAL_MANAGED and INTERNAL_MANAGED [G 6.3]";
        report.error(&at.key("protocol"), "h2c-on-classic", message, expected);
    }
    let port_name = service.port_name.as_deref().unwrap_or(default_port_name(protocol));
    let affinity = affinity::affinity(service, (scheme, protocol), at, report);
    let session = affinity.as_ref().unwrap_or(&Affinity::None);
    let policies = Policies {
        distribution: around.lb_policies.of_service(service, scheme, at, report),
        ..policy::all(service, (scheme, protocol, session), at, report)
    };
    let home = around.regions.get(index).and_then(Option::as_ref);
    if let Some(home) = home {
        region::check(service, scheme, home, (at, report));
    }
    let log_sample = log_sample(service, at, report);
    let log_fields = log_fields(service, at, report);
    let custom_headers = header::custom(service, protocol, at, report);
    let compresses = compresses(service, protocol, at, report);
    let (backends, rosters) =
        backends(service, &About { scheme, protocol, port_name, groups: around.groups, home }, at, report);
    let health_check = health_check(service, (around.checks, &rosters), at, report);
    let value = Service {
        name: service.name.as_str().into(),
        scheme,
        protocol,
        timeout: Span::secs(service.timeout_sec.unwrap_or(30).into()),
        longest: longest(service, protocol, at, report),
        health_check: health_check?,
        affinity: affinity?,
        draining_timeout: Span::secs(
            service
                .connection_draining
                .as_ref()
                .and_then(|draining| draining.draining_timeout_sec)
                .unwrap_or(0)
                .into(),
        ),
        log_sample,
        log_fields,
        custom_headers: custom_headers?,
        compresses,
        policies,
        region: home.map(|(_, region)| *region),
        backends: backends?,
        // Known once the forwarding rules are.
        is_reachable: false,
    };
    Some(Placed { value, rosters, region: home.map(|(name, _)| Arc::clone(name)) })
}

/// Absent, it is EXTERNAL_MANAGED (**ours**).
pub(super) fn scheme(word: Option<&str>) -> Scheme {
    match word {
        Some("EXTERNAL") => Scheme::External,
        Some("INTERNAL_MANAGED") => Scheme::InternalManaged,
        _ => Scheme::ExternalManaged,
    }
}

/// Absent, it is HTTP.
pub(super) fn protocol(word: Option<&str>) -> Protocol {
    match word {
        Some("HTTPS") => Protocol::Https,
        Some("HTTP2") => Protocol::Http2,
        Some("H2C") => Protocol::H2c,
        Some("TCP") => Protocol::Tcp,
        Some("SSL") => Protocol::Ssl,
        _ => Protocol::Http,
    }
}

/// `portName` when the file has none: the protocol in small letters.
pub(super) const fn default_port_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Https => "https",
        Protocol::Http2 => "http2",
        Protocol::H2c => "h2c",
        Protocol::Tcp => "tcp",
        Protocol::Ssl => "ssl",
    }
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

/// `optionalFields` go with `optionalMode: CUSTOM` alone [G 8.1].
fn log_fields(service: &wire::BackendService, at: &Path<'_>, report: &mut Report<'_>) -> LogFields {
    let Some(config) = &service.log_config else { return LogFields::default() };
    let at = at.key("logConfig");
    let fields = config.optional_fields.as_deref().unwrap_or_default();
    let has = |word: &str| fields.iter().any(|field| field == word);
    let is_custom = config.optional_mode.as_deref() == Some("CUSTOM");
    if is_custom && config.enable != Some(true) {
        let message = format!("service `{}` chooses fields of a log that is off", service.name);
        let expected = "`enable: true` next to it, or no `optionalMode` [G 8.1]";
        report.error(&at.key("optionalMode"), "forbidden-field", message, expected);
    } else if !is_custom && !fields.is_empty() {
        let message =
            format!("service `{}` lists optional fields, and its optionalMode leaves them out", service.name);
        report.error(
            &at.key("optionalFields"),
            "forbidden-field",
            message,
            "`optionalMode: CUSTOM` next to it [G 8.1]",
        );
    }
    LogFields { has_tls_protocol: has("tls.protocol"), has_tls_cipher: has("tls.cipher") }
}

/// `compressionMode`. Without `enableCDN` next to it (**ours**): Google compresses only what its CDN serves [G 6.11].
fn compresses(
    service: &wire::BackendService,
    protocol: Protocol,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> bool {
    let is_automatic = service.compression_mode.as_deref() == Some("AUTOMATIC");
    if is_automatic && !protocol.is_http() {
        let message = format!(
            "service `{}` compresses answers, and protocol {} has none",
            service.name,
            protocol.as_str()
        );
        let expected = "no `compressionMode`, or a protocol of requests and answers [G 6.11]";
        report.error(&at.key("compressionMode"), "forbidden-field", message, expected);
    }
    is_automatic
}

/// `maxStreamDuration`, with every scheme (**ours**: Google has it for its mesh).
fn longest(
    service: &wire::BackendService,
    protocol: Protocol,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<Span> {
    let longest = service.max_stream_duration.map(span)?;
    let at = at.key("maxStreamDuration");
    if !protocol.is_http() {
        let name = protocol.as_str();
        let message = format!("service `{}` limits requests, and protocol {name} has none", service.name);
        let expected = "no `maxStreamDuration`, or a protocol of requests and answers [G 7c]";
        report.error(&at, "forbidden-field", message, expected);
    } else if longest == Span::ZERO {
        let message = format!("no request to service `{}` is answered in 0 s", service.name);
        report.error(&at, "out-of-range", message, "more than nothing; no limit if absent [G 7c]");
    }
    Some(longest)
}

/// Exactly one; the schema refuses a second. None for internet endpoints [G 4.11].
#[allow(clippy::option_option)]
fn health_check(
    service: &wire::BackendService,
    (checks, rosters): (&Checks<'_>, &[Arc<Roster>]),
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<Option<Arc<HealthCheck>>> {
    let is_internet = rosters.iter().any(|roster| roster.group.endpoint_type.is_internet());
    let reference = service.health_checks.as_ref().and_then(|list| list.first());
    if is_internet && reference.is_some() {
        let message = format!("service `{}` probes internet endpoints", service.name);
        let expected = "no `healthChecks`: internet endpoints count as healthy [G 4.11]";
        report.error(&at.key("healthChecks"), "forbidden-field", message, expected);
        return None;
    }
    let Some(reference) = reference else {
        // Without a backend it is not known yet what they will be: clients make the service first.
        if is_internet || service.backends.as_ref().is_none_or(Vec::is_empty) {
            return Some(None);
        }
        // A group that was not found could be one of internet endpoints, and has been reported.
        if rosters.len() == service.backends.as_ref().map_or(0, Vec::len) {
            let message = format!("service `{}` has no health check", service.name);
            let expected = "`healthChecks: [NAME]`: groups need one [G 4.11]";
            report.error(at, "missing-health-check", message, expected);
        }
        return None;
    };
    checks.follow(reference, &at.key("healthChecks").item(0), report).map(Some)
}
