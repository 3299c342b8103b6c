//! Health checks [G 4a, 4b].

use std::sync::Arc;

use super::names::Names;
use super::report::Report;
use crate::model::probe::{HealthCheck, Probe, ProbePort};
use crate::model::unit::Span;
use crate::wire::flaw::quote;
use crate::wire::health_check as wire;
use crate::wire::path::Path;
use crate::wire::read::Collection;

/// All health checks, by index and by name.
pub(super) struct Checks<'a> {
    pub(super) names: Names<'a>,
    /// `None` where a problem was reported.
    pub(super) list: Vec<Option<Arc<HealthCheck>>>,
}

/// Resolves all health checks.
pub(super) fn all<'a>(of: &'a Collection<wire::HealthCheck>, report: &mut Report<'_>) -> Checks<'a> {
    let names = Names::new(of, "health check", report);
    let list = Path::Root.key(of.key);
    let resolve = |(index, entry): (usize, &crate::wire::read::Entry<wire::HealthCheck>)| {
        one(entry.value.as_ref()?, &list.item(index), report).map(Arc::new)
    };
    Checks { names, list: of.entries.iter().enumerate().map(resolve).collect() }
}

fn one(check: &wire::HealthCheck, at: &Path<'_>, report: &mut Report<'_>) -> Option<HealthCheck> {
    let interval = check.check_interval_sec.unwrap_or(5);
    let timeout = check.timeout_sec.unwrap_or(5);
    if timeout > interval {
        let message = format!(
            "health check `{}` waits {timeout} s for an answer and probes every {interval} s",
            check.name
        );
        let field = if check.timeout_sec.is_some() { "timeoutSec" } else { "checkIntervalSec" };
        report.error(
            &at.key(field),
            "timeout-over-interval",
            message,
            format!("timeoutSec, 5 if absent, of at most checkIntervalSec, {interval} here [G 4a, 4.1]"),
        );
    }
    let (port, sends_proxy_header, probe) = body(check, at, report)?;
    Some(HealthCheck {
        name: check.name.as_str().into(),
        interval: Span::secs(interval.into()),
        timeout: Span::secs(timeout.into()),
        healthy_threshold: check.healthy_threshold.unwrap_or(2),
        unhealthy_threshold: check.unhealthy_threshold.unwrap_or(2),
        port,
        sends_proxy_header,
        probe,
    })
}

/// The sub-object that goes with `type`; any other is a mistake [G 4a].
fn body(
    check: &wire::HealthCheck,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<(ProbePort, bool, Probe)> {
    let wanted = match check.r#type.as_str() {
        "HTTP" => "httpHealthCheck",
        "HTTPS" => "httpsHealthCheck",
        _ => "tcpHealthCheck",
    };
    let present = [
        ("httpHealthCheck", check.http_health_check.is_some()),
        ("httpsHealthCheck", check.https_health_check.is_some()),
        ("tcpHealthCheck", check.tcp_health_check.is_some()),
    ];
    for (field, _) in present.iter().filter(|(field, is_there)| *is_there && *field != wanted) {
        let message = format!("health check `{}` is of type {} and has `{field}`", check.name, check.r#type);
        report.error(
            &at.key(field),
            "forbidden-field",
            message,
            format!("`{wanted}` alone: exactly one, the one of the type [G 4a]"),
        );
    }
    let sub = at.key(wanted);
    match (wanted, &check.http_health_check, &check.https_health_check, &check.tcp_health_check) {
        ("httpHealthCheck", Some(http), _, _) => Some(self::http(http, false, &sub, report)),
        ("httpsHealthCheck", _, Some(http), _) => Some(self::http(http, true, &sub, report)),
        ("tcpHealthCheck", _, _, Some(tcp)) => Some(self::tcp(tcp, &sub, report)),
        _ => {
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

fn http(
    http: &wire::HttpHealthCheck,
    over_tls: bool,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> (ProbePort, bool, Probe) {
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
    let default = if over_tls { 443 } else { 80 };
    let probe = Probe::Http { over_tls, host: host.map(Into::into), path: path.into(), response };
    let port = port(http.port, http.port_specification.as_deref(), default, (at, report));
    (port, http.proxy_header.as_deref() == Some("PROXY_V1"), probe)
}

fn tcp(tcp: &wire::TcpHealthCheck, at: &Path<'_>, report: &mut Report<'_>) -> (ProbePort, bool, Probe) {
    let request = ascii(tcp.request.as_deref(), &at.key("request"), report);
    let response = ascii(tcp.response.as_deref(), &at.key("response"), report);
    let port = port(tcp.port, tcp.port_specification.as_deref(), 80, (at, report));
    (port, tcp.proxy_header.as_deref() == Some("PROXY_V1"), Probe::Tcp { request, response })
}

fn port(
    port: Option<u16>,
    specification: Option<&str>,
    default: u16,
    (at, report): (&Path<'_>, &mut Report<'_>),
) -> ProbePort {
    if specification != Some("USE_SERVING_PORT") {
        return ProbePort::Fixed(port.unwrap_or(default));
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
    ProbePort::Serving
}

/// Text to send or expect: ASCII; empty counts as absent [G 4.4, 4.5].
fn ascii(text: Option<&str>, at: &Path<'_>, report: &mut Report<'_>) -> Option<Arc<str>> {
    let text = text.filter(|text| !text.is_empty())?;
    if !text.is_ascii() {
        report.error(
            at,
            "not-ascii",
            format!("{} has letters beyond ASCII", quote(text)),
            "ASCII, up to 1024 characters [G 4.4, 4.5]",
        );
    }
    Some(text.into())
}
