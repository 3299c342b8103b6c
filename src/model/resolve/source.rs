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
        ("port", said.port.is_some(), "HTTP"),
        ("path", said.path.is_some(), "HTTP"),
        ("intervalSec", said.interval_sec.is_some() && said.source == "ORCA_HEADER", "HTTP or LOCAL_PROCESS"),
        ("cores", said.cores.is_some(), "LOCAL_PROCESS"),
    ];
    for (field, _, of) in given.iter().filter(|(_, is_given, of)| *is_given && *of != said.source) {
        let message = format!("`{field}` means nothing with source {}", said.source);
        report.error(&at.key(field), "forbidden-field", message, format!("no `{field}`, or source {of}"));
    }
    let interval = span(said.interval_sec.unwrap_or(SECOND));
    let path = said.path.as_deref().unwrap_or("/load");
    if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
        report.error(
            &at.key("path"),
            "bad-path",
            format!("{} cannot be requested", quote(path)),
            "a path that begins with `/`",
        );
    }
    match said.source.as_str() {
        "HTTP" => UtilizationSource::Http { port: said.port, path: path.into(), interval },
        "LOCAL_PROCESS" => UtilizationSource::LocalProcess { cores: said.cores.unwrap_or(1.0), interval },
        _ => UtilizationSource::OrcaHeader,
    }
}

/// The schema lets 0.1 to 300 s through.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn span(seconds: f64) -> Span {
    Span::millis((seconds * 1000.0).round() as u64)
}
