//! Health checks [G 4a, 4b].

use std::sync::Arc;

use super::names::{Names, read_reference};
use super::report::Report;
use crate::model::probe::{HealthCheck, Probe, ProbePort, Spoken};
use crate::model::unit::Span;
use crate::wire::flaw::quote;
use crate::wire::health_check as wire;
use crate::wire::legacy_health_check::LegacyHealthCheck;
use crate::wire::path::Path;
use crate::wire::read::{Collection, Resources};

/// All health checks, those of older load balancers too.
pub(super) struct Checks<'a> {
    /// `healthChecks` first: a bare name means those where both have it.
    parts: [Part<'a>; 3],
}

/// The checks of one collection.
struct Part<'a> {
    names: Names<'a>,
    /// `None` where a problem was reported.
    list: Vec<Option<Arc<HealthCheck>>>,
}

impl<'a> Checks<'a> {
    /// Resolves all health checks.
    pub(super) fn new(resources: &'a Resources, report: &mut Report<'_>) -> Self {
        let Resources { health_checks, http_health_checks, https_health_checks, .. } = resources;
        Self {
            parts: [
                Part::new(health_checks, report, one),
                Part::new(http_health_checks, report, |check, at, report| {
                    legacy(check, Spoken::Http, at, report)
                }),
                Part::new(https_health_checks, report, |check, at, report| {
                    legacy(check, Spoken::Https, at, report)
                }),
            ],
        }
    }

    /// The check that `text` refers to; `None` when a problem has been reported, here or where the check stands.
    pub(super) fn follow(
        &self,
        text: &str,
        at: &Path<'_>,
        report: &mut Report<'_>,
    ) -> Option<Arc<HealthCheck>> {
        let reference = read_reference(text, at, "health check", report)?;
        let is_meant = |part: &&Part<'_>| match reference.collection {
            Some(collection) => part.names.collection() == collection,
            None => part.names.has(reference.name),
        };
        // Of none of them: the first one says so.
        let part = self.parts.iter().find(is_meant).or(self.parts.first())?;
        let index = part.names.follow(text, at, report)?;
        part.list.get(index)?.clone()
    }
}

impl<'a> Part<'a> {
    fn new<T>(
        of: &'a Collection<T>,
        report: &mut Report<'_>,
        mut resolve: impl FnMut(&T, &Path<'_>, &mut Report<'_>) -> Option<HealthCheck>,
    ) -> Self {
        let names = Names::new(of, "health check", report);
        let at = Path::Root.key(of.key);
        let entries = of.entries.iter().enumerate();
        let list = entries
            .map(|(index, entry)| resolve(entry.value.as_ref()?, &at.item(index), report).map(Arc::new))
            .collect();
        Self { names, list }
    }
}

/// A check of an older load balancer: HTTP or HTTPS at a port of its own, in a flat form [G 4.1a].
fn legacy(
    check: &LegacyHealthCheck,
    spoken: Spoken,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<HealthCheck> {
    if check.request_path.as_ref().is_some_and(|path| path.contains('?')) {
        let message = format!("legacy health check `{}` has a query in its path", check.name);
        let expected = "a path without `?`, or one of `healthChecks` [G 4b]";
        report.error(&at.key("requestPath"), "bad-path", message, expected);
    }
    let probe = wire::HttpHealthCheck {
        port: check.port,
        port_specification: None,
        host: check.host.clone(),
        request_path: check.request_path.clone(),
        response: None,
        proxy_header: None,
    };
    let rhythm = Rhythm {
        name: &check.name,
        interval: check.check_interval_sec,
        timeout: check.timeout_sec,
        thresholds: (check.healthy_threshold, check.unhealthy_threshold),
    };
    rhythm.with(http(&probe, spoken, at, report), at, report)
}

/// What all kinds of checks share.
struct Rhythm<'a> {
    name: &'a str,
    interval: Option<u32>,
    timeout: Option<u32>,
    thresholds: (Option<u32>, Option<u32>),
}

impl Rhythm<'_> {
    fn with(
        &self,
        probe: Option<(ProbePort, bool, Probe)>,
        at: &Path<'_>,
        report: &mut Report<'_>,
    ) -> Option<HealthCheck> {
        let (interval, timeout) = (self.interval.unwrap_or(5), self.timeout.unwrap_or(5));
        if timeout > interval {
            let message = format!(
                "health check `{}` waits {timeout} s for an answer and probes every {interval} s",
                self.name
            );
            let field = if self.timeout.is_some() { "timeoutSec" } else { "checkIntervalSec" };
            report.error(
                &at.key(field),
                "timeout-over-interval",
                message,
                format!("timeoutSec, 5 if absent, of at most checkIntervalSec, {interval} here [G 4a, 4.1]"),
            );
        }
        let (port, sends_proxy_header, probe) = probe?;
        let (healthy, unhealthy) = self.thresholds;
        Some(HealthCheck {
            name: self.name.into(),
            interval: Span::secs(interval.into()),
            timeout: Span::secs(timeout.into()),
            healthy_threshold: healthy.unwrap_or(2),
            unhealthy_threshold: unhealthy.unwrap_or(2),
            port,
            sends_proxy_header,
            probe,
        })
    }
}

fn one(check: &wire::HealthCheck, at: &Path<'_>, report: &mut Report<'_>) -> Option<HealthCheck> {
    let rhythm = Rhythm {
        name: &check.name,
        interval: check.check_interval_sec,
        timeout: check.timeout_sec,
        thresholds: (check.healthy_threshold, check.unhealthy_threshold),
    };
    rhythm.with(body(check, at, report), at, report)
}

/// The sub-object that goes with `type`; any other is a mistake [G 4a].
fn body(
    check: &wire::HealthCheck,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<(ProbePort, bool, Probe)> {
    let bodies = [
        ("HTTP", "httpHealthCheck", check.http_health_check.as_ref().map(|b| Body::Http(b, Spoken::Http))),
        (
            "HTTPS",
            "httpsHealthCheck",
            check.https_health_check.as_ref().map(|b| Body::Http(b, Spoken::Https)),
        ),
        (
            "HTTP2",
            "http2HealthCheck",
            check.http2_health_check.as_ref().map(|b| Body::Http(b, Spoken::Http2)),
        ),
        ("TCP", "tcpHealthCheck", check.tcp_health_check.as_ref().map(|b| Body::Tcp(b, OVER_TCP))),
        ("SSL", "sslHealthCheck", check.ssl_health_check.as_ref().map(|b| Body::Tcp(b, OVER_TLS))),
        ("GRPC", "grpcHealthCheck", check.grpc_health_check.as_ref().map(|b| Body::Grpc(b, OVER_TCP))),
        (
            "GRPC_WITH_TLS",
            "grpcTlsHealthCheck",
            check.grpc_tls_health_check.as_ref().map(|b| Body::Grpc(b, OVER_TLS)),
        ),
    ];
    let (_, wanted, _) = bodies.iter().find(|(word, ..)| *word == check.r#type)?;
    let mut own = None;
    for (word, field, body) in &bodies {
        let Some(body) = body else { continue };
        if *word == check.r#type {
            own = Some(body);
            continue;
        }
        let message = format!("health check `{}` is of type {} and has `{field}`", check.name, check.r#type);
        report.error(
            &at.key(field),
            "forbidden-field",
            message,
            format!("`{wanted}` alone: exactly one, the one of the type [G 4a]"),
        );
    }
    let sub = at.key(wanted);
    match own {
        Some(Body::Http(body, spoken)) => http(body, *spoken, &sub, report),
        Some(Body::Tcp(body, over_tls)) => tcp(body, *over_tls, &sub, report),
        Some(Body::Grpc(body, over_tls)) => grpc(body, *over_tls, &sub, report),
        None => {
            let message = format!("health check `{}` has no `{wanted}`", check.name);
            report.error(
                at,
                "missing-field",
                message,
                format!("`{wanted}: {{portSpecification: USE_SERVING_PORT}}`, or with a port [G 4a]"),
            );
            None
        }
    }
}

/// A sub-object with what its type adds.
enum Body<'a> {
    Http(&'a wire::HttpHealthCheck, Spoken),
    Tcp(&'a wire::TcpHealthCheck, bool),
    Grpc(&'a wire::GrpcHealthCheck, bool),
}

const OVER_TCP: bool = false;
const OVER_TLS: bool = true;

fn http(
    http: &wire::HttpHealthCheck,
    spoken: Spoken,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<(ProbePort, bool, Probe)> {
    let path = http.request_path.as_deref().unwrap_or("/");
    if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) || path.contains('#') {
        let expected = "a path that begins with `/`, without spaces, `#` or letters beyond ASCII [G 4b]";
        report.error(
            &at.key("requestPath"),
            "bad-path",
            format!("{} cannot be requested", quote(path)),
            expected,
        );
    }
    let host = http.host.as_deref().filter(|host| !host.is_empty());
    if let Some(host) = host.filter(|host| !host.bytes().all(|b| b.is_ascii_graphic()) || host.contains('/'))
    {
        report.error(
            &at.key("host"),
            "bad-host",
            format!("{} is no host", quote(host)),
            "a host name or an address, with a port if need be",
        );
    }
    let response = ascii(http.response.as_deref(), &at.key("response"), report);
    let probe = Probe::Http { spoken, host: host.map(Into::into), path: path.into(), response };
    let port = port(http.port, http.port_specification.as_deref(), &probe, (at, report))?;
    Some((port, http.proxy_header.as_deref() == Some("PROXY_V1"), probe))
}

fn tcp(
    tcp: &wire::TcpHealthCheck,
    over_tls: bool,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<(ProbePort, bool, Probe)> {
    let request = ascii(tcp.request.as_deref(), &at.key("request"), report);
    let response = ascii(tcp.response.as_deref(), &at.key("response"), report);
    let probe = Probe::Tcp { over_tls, request, response };
    let port = port(tcp.port, tcp.port_specification.as_deref(), &probe, (at, report))?;
    Some((port, tcp.proxy_header.as_deref() == Some("PROXY_V1"), probe))
}

fn grpc(
    grpc: &wire::GrpcHealthCheck,
    over_tls: bool,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<(ProbePort, bool, Probe)> {
    let service = ascii(grpc.grpc_service_name.as_deref(), &at.key("grpcServiceName"), report);
    let probe = Probe::Grpc { over_tls, service: service.unwrap_or_default() };
    let port = port(grpc.port, grpc.port_specification.as_deref(), &probe, (at, report))?;
    Some((port, false, probe))
}

fn port(
    port: Option<u16>,
    specification: Option<&str>,
    probe: &Probe,
    (at, report): (&Path<'_>, &mut Report<'_>),
) -> Option<ProbePort> {
    if specification != Some("USE_SERVING_PORT") {
        let port = port.or(probe.default_port());
        if port.is_none() {
            let message = "a gRPC health check has no port, and there is none that goes without saying";
            let expected = "`portSpecification: USE_SERVING_PORT`, or `port: 50051` [G 4b]";
            report.error(at, "missing-field", message.to_owned(), expected);
        }
        return port.map(ProbePort::Fixed);
    }
    if port.is_some() {
        let message = "a health check with USE_SERVING_PORT has a port of its own";
        report.error(
            &at.key("port"),
            "forbidden-field",
            message,
            "no `port`: the members' own is probed; or USE_FIXED_PORT [G 4b, 4.2]",
        );
    }
    Some(ProbePort::Serving)
}

/// Text to send or expect: ASCII; empty counts as absent [G 4b, 4.4, 4.5].
fn ascii(text: Option<&str>, at: &Path<'_>, report: &mut Report<'_>) -> Option<Arc<str>> {
    let text = text.filter(|text| !text.is_empty())?;
    if !text.is_ascii() {
        report.error(
            at,
            "not-ascii",
            format!("{} has letters beyond ASCII", quote(text)),
            "ASCII, up to 1024 characters [G 4b, 4.4, 4.5]",
        );
    }
    Some(text.into())
}
