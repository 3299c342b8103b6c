//! **Ours**: where the utilization of a group's members comes from.

use std::collections::BTreeSet;

use super::group::RosterEntry;
use super::report::Report;
use crate::model::service::UtilizationSource;
use crate::model::unit::Span;
use crate::wire::flaw::quote;
use crate::wire::group as wire;
use crate::wire::path::Path;
use crate::wire::read::Resources;

/// Whether every member is on this host.
pub(super) fn are_local(entries: &[RosterEntry]) -> bool {
    !entries.is_empty() && entries.iter().all(|entry| entry.ip.is_loopback())
}

/// Names of groups of which a report must say more than how busy a process is: CUSTOM_METRICS wants metrics, and
/// WEIGHTED_ROUND_ROBIN rates, if no utilization is wanted as well.
pub(super) fn reporting(resources: &Resources) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for service in resources.backend_services.entries.iter().filter_map(|entry| entry.value.as_ref()) {
        let is_weighted = service.locality_lb_policy.as_deref() == Some("WEIGHTED_ROUND_ROBIN");
        let wants = |mode: Option<&str>| match mode {
            Some("CUSTOM_METRICS") => true,
            None | Some("UTILIZATION") => false,
            Some(_) => is_weighted,
        };
        let backends = service.backends.iter().flatten();
        let wanting = backends.filter(|backend| wants(backend.balancing_mode.as_deref()));
        names.extend(wanting.filter_map(|backend| backend.group.rsplit('/').next()));
    }
    names
}

/// Default (**ours**): LOCAL_PROCESS when every member is on this host and that will do, else ORCA_HEADER.
pub(super) fn utilization(
    said: Option<&wire::Utilization>,
    is_local: bool,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> UtilizationSource {
    const SECOND: f64 = 1.0;
    let Some(said) = said else {
        return if is_local {
            UtilizationSource::LocalProcess { cores: 1.0, interval: span(SECOND) }
        } else {
            UtilizationSource::OrcaHeader
        };
    };
    let given = [
        ("port", said.port.is_some(), &["HTTP", "PROMETHEUS"][..]),
        ("path", said.path.is_some(), &["HTTP", "PROMETHEUS"]),
        ("metric", said.metric.is_some(), &["PROMETHEUS"]),
        ("intervalSec", said.interval_sec.is_some(), &["HTTP", "PROMETHEUS", "LOCAL_PROCESS"]),
        ("cores", said.cores.is_some(), &["LOCAL_PROCESS"]),
    ];
    let source = said.source.as_str();
    for (field, _, of) in given.iter().filter(|(_, is_given, of)| *is_given && !of.contains(&source)) {
        let message = format!("`{field}` means nothing with source {source}");
        let expected = format!("no `{field}`, or source {}", of.join(" or "));
        report.error(&at.key(field), "forbidden-field", message, expected);
    }
    let interval = span(said.interval_sec.unwrap_or(SECOND));
    let default = if source == "PROMETHEUS" { "/metrics" } else { "/load" };
    let path = said.path.as_deref().unwrap_or(default);
    if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
        report.error(
            &at.key("path"),
            "bad-path",
            format!("{} cannot be requested", quote(path)),
            "a path that begins with `/`",
        );
    }
    if let Some(metric) = said.metric.as_deref().filter(|metric| !is_metric(metric)) {
        let message = format!("{} is no name of a metric", quote(metric));
        let expected = "letters, digits, `_` and `:`, no digit first, and no labels";
        report.error(&at.key("metric"), "bad-name", message, expected);
    }
    match source {
        "PROMETHEUS" => UtilizationSource::Prometheus {
            port: said.port,
            path: path.into(),
            metric: said.metric.as_deref().map(Into::into),
            interval,
        },
        "HTTP" => UtilizationSource::Http { port: said.port, path: path.into(), interval },
        "LOCAL_PROCESS" => UtilizationSource::LocalProcess { cores: said.cores.unwrap_or(1.0), interval },
        _ => UtilizationSource::OrcaHeader,
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`, as Prometheus has it.
fn is_metric(name: &str) -> bool {
    let may_stand = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
    name.bytes().all(may_stand) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// The schema lets 0.1 to 300 s through.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn span(seconds: f64) -> Span {
    Span::millis((seconds * 1000.0).round() as u64)
}
