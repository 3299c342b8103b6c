//! Balancing mode × target fields [G 1.1–1.20, table 1c].

use super::report::Report;
use crate::model::service::GroupKind;
use crate::model::target::{Beside, Mode, RateTarget, Scaler};
use crate::model::unit::{PerSecond, Ratio};
use crate::wire::backend_service::Backend;
use crate::wire::path::Path;

/// `maxUtilization` when the file has none [G 1a].
const DEFAULT_MAX_UTILIZATION: f64 = 0.8;

/// What a backend should be whose mode was refused: the one mode of network endpoint groups.
const POSSIBLE: Word = Word::Rate;

/// The two modes that are supported so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Rate,
    Utilization,
}

/// A backend's mode with its targets; `None` after a report. `group` names the backend in messages.
pub(super) fn mode(
    backend: &Backend,
    kind: GroupKind,
    (group, at): (&str, &Path<'_>),
    report: &mut Report<'_>,
) -> Option<Mode> {
    let before = report.errors();
    let known = word(backend, kind, (group, at), report);
    // What else is wrong is said at the same time as a wrong mode.
    let word = known.unwrap_or(POSSIBLE);
    refuse_fields(backend, (known, kind), (group, at), report);
    if known.is_some() && backend.traffic_duration.as_deref() == Some("LONG") {
        let (code, message, expected) = long(word, group);
        report.error(&at.key("trafficDuration"), code, message, expected);
    }
    let own = match kind {
        GroupKind::InstanceGroup => backend.max_rate_per_instance,
        GroupKind::NetworkEndpointGroup => backend.max_rate_per_endpoint,
    };
    if backend.max_rate.is_some() && own.is_some() {
        let field = per_member_field(kind);
        let message = format!("backend `{group}` has two rate targets, `maxRate` and `{field}`");
        let rule = if word == Word::Rate {
            "exactly one of them [G 1.8, table 1c]"
        } else {
            "at most one of them [G 1.16]"
        };
        report.error(&at.key(field), "two-targets", message, rule);
    }
    let per_member = backend.max_rate_per_instance.or(backend.max_rate_per_endpoint);
    let whole = backend.max_rate.map(|rate| RateTarget::Group(PerSecond::new(rate.into())));
    let rate = whole.or(per_member.map(|rate| RateTarget::PerMember(PerSecond::new(rate))));
    let mode = match (known?, rate) {
        (Word::Rate, Some(rate)) => Some(Mode::Rate(rate)),
        (Word::Rate, None) => {
            let message = format!("backend `{group}` is in mode RATE and has no target");
            report.error(
                at,
                "missing-target",
                message,
                format!("`maxRate` or `{}` [G 1.8, table 1c]", per_member_field(kind)),
            );
            None
        }
        (Word::Utilization, rate) => {
            let max = Ratio::new(backend.max_utilization.unwrap_or(DEFAULT_MAX_UTILIZATION));
            Some(Mode::Utilization { max, beside: rate.map_or(Beside::Nothing, Beside::Rate) })
        }
    };
    mode.filter(|_| report.errors() == before)
}

/// Fields that do not go with the mode or the kind of group; `known` is `None` where the mode was refused.
fn refuse_fields(
    backend: &Backend,
    (known, kind): (Option<Word>, GroupKind),
    (group, at): (&str, &Path<'_>),
    report: &mut Report<'_>,
) {
    let word = known.unwrap_or(POSSIBLE);
    for (field, is_given) in given(backend) {
        if known.is_none() && field == "maxUtilization" {
            continue;
        }
        if let Some(expected) = is_given.then(|| forbidden(field, word, kind)).flatten() {
            let is = known.map_or("is a network endpoint group".to_owned(), |word| {
                format!("is in mode {}", word.as_str())
            });
            let message = format!("backend `{group}` {is} and has `{field}`");
            report.error(&at.key(field), "forbidden-field", message, expected);
        }
    }
}

/// `capacityScaler`; `None` after a report [G 1.1].
pub(super) fn scaler(backend: &Backend, at: &Path<'_>, report: &mut Report<'_>) -> Option<Scaler> {
    let value = backend.capacity_scaler.unwrap_or(1.0);
    let scaler = Scaler::new(value);
    if scaler.is_none() {
        let message = format!("`capacityScaler` is {value:?}");
        report.error(
            &at.key("capacityScaler"),
            "out-of-range",
            message,
            "0, which drains, or a number from 0.1 to 1 [G 1.1]",
        );
    }
    scaler
}

/// Instance groups default to UTILIZATION [G 1a]; for endpoint groups that mode is refused [G 1.12], so they must say RATE.
fn word(
    backend: &Backend,
    kind: GroupKind,
    (group, at): (&str, &Path<'_>),
    report: &mut Report<'_>,
) -> Option<Word> {
    match (backend.balancing_mode.as_deref(), kind) {
        (Some("RATE"), _) => Some(Word::Rate),
        (_, GroupKind::InstanceGroup) => Some(Word::Utilization),
        (Some(_), GroupKind::NetworkEndpointGroup) => {
            let message = format!("backend `{group}` is a network endpoint group in mode UTILIZATION");
            let expected = "RATE with `maxRate` or `maxRatePerEndpoint`; UTILIZATION is for instance groups only [G 1.12]";
            report.error(&at.key("balancingMode"), "forbidden-mode", message, expected);
            None
        }
        (None, GroupKind::NetworkEndpointGroup) => {
            let message = format!("backend `{group}` is a network endpoint group and has no `balancingMode`");
            let expected = "balancingMode: RATE with a target; the default, UTILIZATION, is for instance groups only [G 1.12]";
            report.error(at, "missing-field", message, expected);
            None
        }
    }
}

const fn given(backend: &Backend) -> [(&'static str, bool); 9] {
    [
        ("maxUtilization", backend.max_utilization.is_some()),
        ("maxRatePerInstance", backend.max_rate_per_instance.is_some()),
        ("maxRatePerEndpoint", backend.max_rate_per_endpoint.is_some()),
        ("maxConnections", backend.max_connections.is_some()),
        ("maxConnectionsPerInstance", backend.max_connections_per_instance.is_some()),
        ("maxConnectionsPerEndpoint", backend.max_connections_per_endpoint.is_some()),
        ("maxInFlightRequests", backend.max_in_flight_requests.is_some()),
        ("maxInFlightRequestsPerInstance", backend.max_in_flight_requests_per_instance.is_some()),
        ("maxInFlightRequestsPerEndpoint", backend.max_in_flight_requests_per_endpoint.is_some()),
    ]
}

/// What to write instead, if the field may not stand with this mode and kind of group.
fn forbidden(field: &str, word: Word, kind: GroupKind) -> Option<&'static str> {
    match (field, word, kind) {
        ("maxUtilization", Word::Rate, _) => Some(
            "no `maxUtilization`: RATE is judged by the rate alone; or balancingMode: UTILIZATION [G 1.6]",
        ),
        ("maxRatePerInstance", _, GroupKind::NetworkEndpointGroup) => {
            Some("`maxRatePerEndpoint`: the members of a network endpoint group are endpoints [G table 1c]")
        }
        ("maxRatePerEndpoint", _, GroupKind::InstanceGroup) => {
            Some("`maxRatePerInstance`: the members of an instance group are instances [G table 1c]")
        }
        ("maxUtilization" | "maxRatePerInstance" | "maxRatePerEndpoint", _, _) => None,
        (in_flight, Word::Rate, _) if in_flight.starts_with("maxInFlight") => {
            Some("a rate: targets in flight do not go with RATE [G 1.7]")
        }
        (in_flight, Word::Utilization, _) if in_flight.starts_with("maxInFlight") => Some(
            "`maxUtilization`, with a rate if need be; targets in flight need trafficDuration LONG, which is not supported yet [G 1.16, table 1c]",
        ),
        (_, Word::Rate, _) => Some("a rate: connections are a target of mode CONNECTION alone [G 1.7]"),
        (_, Word::Utilization, _) => Some(
            "`maxUtilization`, with a rate if need be; connections are a target of TCP and SSL services [G 1.13, 1.16]",
        ),
    }
}

fn long(word: Word, group: &str) -> (&'static str, String, &'static str) {
    match word {
        Word::Rate => (
            "forbidden-field",
            format!("backend `{group}` is in mode RATE with trafficDuration LONG"),
            "trafficDuration SHORT, or none; LONG does not go with RATE [G 1.18]",
        ),
        Word::Utilization => (
            "not-supported",
            "`trafficDuration: LONG` is not supported yet: targets in requests at a time".to_owned(),
            "trafficDuration SHORT, or none [G 1.18]",
        ),
    }
}

const fn per_member_field(kind: GroupKind) -> &'static str {
    match kind {
        GroupKind::InstanceGroup => "maxRatePerInstance",
        GroupKind::NetworkEndpointGroup => "maxRatePerEndpoint",
    }
}

impl Word {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "RATE",
            Self::Utilization => "UTILIZATION",
        }
    }
}
