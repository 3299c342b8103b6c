//! Balancing mode × target fields [G 1.1–1.20, table 1c].

use std::sync::Arc;

use super::backend::Written;
use super::metrics;
use super::report::Report;
use crate::model::service::{GroupKind, Protocol, Scheme};
use crate::model::target::{Beside, CountTarget, CustomMetric, Mode, RateTarget, Scaler};
use crate::model::unit::{PerSecond, Ratio};
use crate::wire::backend::Backend;
use crate::wire::path::Path;

/// `maxUtilization` when the file has none [G 1a].
const DEFAULT_MAX_UTILIZATION: f64 = 0.8;

/// What decides about a backend's mode beside its own fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of<'a> {
    /// Names the backend in messages.
    pub(super) group: &'a str,
    pub(super) kind: GroupKind,
    pub(super) scheme: Scheme,
    pub(super) protocol: Protocol,
}

/// `balancingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Rate,
    Utilization,
    CustomMetrics,
    InFlight,
    Connection,
}

/// What a target counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    Utilization,
    Rate,
    InFlight,
    Connections,
}

/// A backend's mode with its targets; `None` after a report.
pub(super) fn mode(written: Written<'_>, of: Of<'_>, at: &Path<'_>, report: &mut Report<'_>) -> Option<Mode> {
    let backend = written.fields;
    let is_said = !written.is_unsure("balancingMode");
    let word = if is_said { word(backend, of, at, report) } else { None };
    let Some(word) = word.filter(|_| !written.is_unsure("trafficDuration")) else {
        misnamed_alone(written, of, at, report);
        return None;
    };
    let is_long = backend.traffic_duration.as_deref() == Some("LONG");
    let before = report.errors();
    duration(backend, word, of, (at, report));
    let mut fitting = Vec::new();
    for (field, quantity) in given(written) {
        let wrong = misplaced(quantity, word, is_long, of.protocol).map(str::to_owned);
        // What is only named after the wrong kind of member is a target all the same.
        if wrong.is_none() && quantity != Quantity::Utilization {
            fitting.push((field, quantity));
        }
        let wrong = wrong.or_else(|| misnamed(field, of.kind));
        if let Some(expected) = wrong {
            let message = format!("backend `{}` is in mode {} and has `{field}`", of.group, word.as_str());
            report.error(&at.key(field), "forbidden-field", message, expected);
        }
    }
    let metrics = match word {
        Word::CustomMetrics if written.is_unsure("customMetrics") => None,
        Word::CustomMetrics => metrics::of_backend(backend, of, at, report),
        _ => no_metrics(written, word, of, (at, report)),
    };
    if !fitting.is_empty() || !written.means_target() {
        how_many(word, &fitting, of, (at, report));
    }
    if report.errors() > before || !written.is_sound() {
        return None;
    }
    built(backend, word, metrics?)
}

/// Where the mode was refused, names that fit no mode of such a group are wrong all the same.
fn misnamed_alone(written: Written<'_>, of: Of<'_>, at: &Path<'_>, report: &mut Report<'_>) {
    for (field, _) in given(written) {
        if let Some(expected) = misnamed(field, of.kind) {
            let message =
                format!("backend `{}` is one of {} and has `{field}`", of.group, of.kind.collection());
            report.error(&at.key(field), "forbidden-field", message, expected);
        }
    }
}

/// As many targets as the mode wants. `fitting` are those that may stand at all.
fn how_many(
    word: Word,
    fitting: &[(&'static str, Quantity)],
    of: Of<'_>,
    (at, report): (&Path<'_>, &mut Report<'_>),
) {
    match (fitting, word) {
        ([], Word::Rate | Word::InFlight | Word::Connection) => {
            let message = format!("backend `{}` is in mode {} and has no target", of.group, word.as_str());
            report.error(at, "missing-target", message, word.targets(of.kind));
        }
        ([(first, quantity), (second, _), ..], _) => {
            let message = format!(
                "backend `{}` has two {} targets, `{first}` and `{second}`",
                of.group,
                quantity.as_str()
            );
            report.error(&at.key(second), "two-targets", message, word.how_many());
        }
        _ => {}
    }
}

/// The mode of fields that fit it. `None` where a target is missing, which has been reported.
fn built(backend: &Backend, word: Word, metrics: Arc<[CustomMetric]>) -> Option<Mode> {
    let rate = rate(backend);
    let in_flight = count(
        backend.max_in_flight_requests,
        backend.max_in_flight_requests_per_instance.or(backend.max_in_flight_requests_per_endpoint),
    );
    let connections = count(
        backend.max_connections,
        backend.max_connections_per_instance.or(backend.max_connections_per_endpoint),
    );
    match word {
        Word::Rate => rate.map(Mode::Rate),
        Word::CustomMetrics => Some(Mode::CustomMetrics { metrics, rate }),
        Word::InFlight => in_flight.map(Mode::InFlight),
        Word::Connection => connections.map(Mode::Connection),
        Word::Utilization => {
            let beside = rate
                .map(Beside::Rate)
                .or(in_flight.map(Beside::InFlight))
                .or(connections.map(Beside::Connections));
            let max = Ratio::new(backend.max_utilization.unwrap_or(DEFAULT_MAX_UTILIZATION));
            Some(Mode::Utilization { max, beside: beside.unwrap_or(Beside::Nothing) })
        }
    }
}

/// No other mode has `customMetrics`.
fn no_metrics(
    written: Written<'_>,
    word: Word,
    of: Of<'_>,
    (at, report): (&Path<'_>, &mut Report<'_>),
) -> Option<Arc<[CustomMetric]>> {
    let none: Arc<[CustomMetric]> = Arc::new([]);
    if !written
        .has("customMetrics", written.fields.custom_metrics.as_ref().is_some_and(|list| !list.is_empty()))
    {
        return Some(none);
    }
    let message = format!("backend `{}` is in mode {} and has `customMetrics`", of.group, word.as_str());
    let expected = "none, or balancingMode: CUSTOM_METRICS [G 1.36, table 1c]";
    report.error(&at.key("customMetrics"), "forbidden-field", message, expected);
    None
}

fn rate(backend: &Backend) -> Option<RateTarget> {
    let whole = backend.max_rate.map(|rate| RateTarget::Group(PerSecond::new(rate.into())));
    let per_member = backend.max_rate_per_instance.or(backend.max_rate_per_endpoint);
    whole.or(per_member.map(|rate| RateTarget::PerMember(PerSecond::new(rate))))
}

fn count(whole: Option<u32>, per_member: Option<u32>) -> Option<CountTarget> {
    whole.map(CountTarget::Group).or(per_member.map(CountTarget::PerMember))
}

/// `capacityScaler`; `None` after a report [G 1.1].
pub(super) fn scaler(value: f64, at: &Path<'_>, report: &mut Report<'_>) -> Option<Scaler> {
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

/// Instance groups default to UTILIZATION [G 1a]; for endpoint groups that mode is refused [G 1.12], so they must say another.
fn word(backend: &Backend, of: Of<'_>, at: &Path<'_>, report: &mut Report<'_>) -> Option<Word> {
    let is_http = of.protocol.is_http();
    let field = at.key("balancingMode");
    let mut refuse = |message: String, expected: &str| {
        report.error(&field, "forbidden-mode", format!("backend `{}` {message}", of.group), expected);
        None
    };
    let word = match backend.balancing_mode.as_deref() {
        Some("RATE") => Word::Rate,
        Some("IN_FLIGHT") => Word::InFlight,
        Some("CONNECTION") => Word::Connection,
        Some("CUSTOM_METRICS") => Word::CustomMetrics,
        None if of.kind == GroupKind::NetworkEndpointGroup => {
            let message =
                format!("backend `{}` is a network endpoint group and has no `balancingMode`", of.group);
            let expected = if is_http {
                "balancingMode: RATE with a target; the default, UTILIZATION, is for instance groups only [G 1.12]"
            } else {
                "balancingMode: CONNECTION with a target; the default, UTILIZATION, is for instance groups only [G 1.12]"
            };
            report.error(at, "missing-field", message, expected);
            return None;
        }
        _ => Word::Utilization,
    };
    match word {
        Word::Utilization if of.kind == GroupKind::NetworkEndpointGroup => refuse(
            "is a network endpoint group in mode UTILIZATION".into(),
            if is_http {
                "RATE with `maxRate` or `maxRatePerEndpoint`; UTILIZATION is for instance groups only [G 1.12]"
            } else {
                "CONNECTION with `maxConnections` or `maxConnectionsPerEndpoint`; UTILIZATION is for instance groups only [G 1.12]"
            },
        ),
        Word::Connection if is_http => refuse(
            format!("is in mode CONNECTION in a service of protocol {}", of.protocol.as_str()),
            "RATE, IN_FLIGHT, CUSTOM_METRICS or UTILIZATION; connections are balanced in services of protocol TCP or SSL [G 1.13]",
        ),
        Word::CustomMetrics if !is_http => refuse(
            format!("is in mode CUSTOM_METRICS in a service of protocol {}", of.protocol.as_str()),
            "CONNECTION or UTILIZATION; metrics are reported in the headers of HTTP answers [G 1.41]",
        ),
        Word::CustomMetrics if of.scheme == Scheme::External => refuse(
            "is in mode CUSTOM_METRICS in a service of scheme EXTERNAL".into(),
            "RATE or UTILIZATION, or scheme EXTERNAL_MANAGED: the classic balancer reads no reports [G 1.40]",
        ),
        Word::Rate | Word::InFlight if !is_http => refuse(
            format!("is in mode {} in a service of protocol {}", word.as_str(), of.protocol.as_str()),
            "CONNECTION or UTILIZATION; requests are balanced in services of protocol HTTP or HTTPS [G 1.14]",
        ),
        Word::InFlight if of.scheme == Scheme::External => refuse(
            "is in mode IN_FLIGHT in a service of scheme EXTERNAL".into(),
            "RATE or UTILIZATION, or scheme EXTERNAL_MANAGED: the classic balancer does not count requests in flight [G 1.18]",
        ),
        word => Some(word),
    }
}

/// `trafficDuration`: LONG is a must for IN_FLIGHT and forbidden with RATE and CONNECTION [G 1.18].
fn duration(backend: &Backend, word: Word, of: Of<'_>, (at, report): (&Path<'_>, &mut Report<'_>)) {
    let said = backend.traffic_duration.as_deref();
    let field = at.key("trafficDuration");
    let expected = match (word, said) {
        (Word::InFlight, Some("LONG")) => return,
        (Word::InFlight, _) => {
            let message = format!("backend `{}` is in mode IN_FLIGHT without trafficDuration LONG", of.group);
            let at = if said.is_some() { &field } else { at };
            let expected = "`trafficDuration: LONG`; IN_FLIGHT is for requests that take longer than a second [G 1.18]";
            return report.error(at, "missing-field", message, expected);
        }
        (Word::Rate | Word::Connection, Some("LONG")) => {
            format!("trafficDuration SHORT, or none; LONG does not go with {} [G 1.18]", word.as_str())
        }
        (Word::CustomMetrics, Some("LONG")) => {
            "trafficDuration SHORT, or none: beside custom metrics stand rates, which do not go with LONG [G table 1c]".into()
        }
        (Word::Utilization, Some("LONG")) if !of.protocol.is_http() => {
            "trafficDuration SHORT, or none; LONG is about requests, and TCP and SSL services have none [G 1.14, 1.16]".into()
        }
        _ => return,
    };
    let message = format!("backend `{}` is in mode {} with trafficDuration LONG", of.group, word.as_str());
    report.error(&field, "forbidden-field", message, expected);
}

/// The targets that stand there, flawed or not.
pub(super) fn given(written: Written<'_>) -> impl Iterator<Item = (&'static str, Quantity)> {
    let all = targets(written.fields).into_iter();
    all.filter(move |(field, _, is_sound)| written.has(field, *is_sound)).map(|(field, of, _)| (field, of))
}

pub(super) const fn targets(backend: &Backend) -> [(&'static str, Quantity, bool); 10] {
    use Quantity::{Connections, InFlight, Rate, Utilization};
    [
        ("maxUtilization", Utilization, backend.max_utilization.is_some()),
        ("maxRate", Rate, backend.max_rate.is_some()),
        ("maxRatePerInstance", Rate, backend.max_rate_per_instance.is_some()),
        ("maxRatePerEndpoint", Rate, backend.max_rate_per_endpoint.is_some()),
        ("maxConnections", Connections, backend.max_connections.is_some()),
        ("maxConnectionsPerInstance", Connections, backend.max_connections_per_instance.is_some()),
        ("maxConnectionsPerEndpoint", Connections, backend.max_connections_per_endpoint.is_some()),
        ("maxInFlightRequests", InFlight, backend.max_in_flight_requests.is_some()),
        ("maxInFlightRequestsPerInstance", InFlight, backend.max_in_flight_requests_per_instance.is_some()),
        ("maxInFlightRequestsPerEndpoint", InFlight, backend.max_in_flight_requests_per_endpoint.is_some()),
    ]
}

/// What to write instead, if targets in this quantity may not stand with this mode [table 1c].
fn misplaced(quantity: Quantity, word: Word, is_long: bool, protocol: Protocol) -> Option<&'static str> {
    let expected = match (quantity, word) {
        (Quantity::Utilization, Word::Utilization)
        | (Quantity::Rate, Word::Rate)
        | (Quantity::InFlight, Word::InFlight)
        | (Quantity::Connections, Word::Connection) => return None,
        (Quantity::Rate, Word::Utilization) if protocol.is_http() => {
            if !is_long {
                return None;
            }
            "a target in flight, or trafficDuration SHORT: rates do not go with LONG [G 1.16, table 1c]"
        }
        (Quantity::InFlight, Word::Utilization) if protocol.is_http() => {
            if is_long {
                return None;
            }
            "`trafficDuration: LONG` beside it, or `maxUtilization`, with a rate if need be [G 1.16, table 1c]"
        }
        (Quantity::Connections, Word::Utilization) if !protocol.is_http() => return None,
        (Quantity::Rate, Word::CustomMetrics) => {
            if !is_long {
                return None;
            }
            "no rate, or trafficDuration SHORT: rates do not go with LONG [G 1.16, table 1c]"
        }
        (Quantity::Utilization, Word::CustomMetrics) => {
            "`maxUtilization` in the entries of `customMetrics`: each metric has its own [G table 1c]"
        }
        (Quantity::InFlight | Quantity::Connections, Word::CustomMetrics) => {
            "`customMetrics`, with a rate if need be [G 1.17, table 1c]"
        }
        (Quantity::Rate | Quantity::InFlight, Word::Utilization) => {
            "`maxUtilization`, with connections if need be; TCP and SSL services have no requests to count [G 1.14, 1.16]"
        }
        (Quantity::Connections, Word::Utilization) => {
            "`maxUtilization`, with a rate if need be; connections are a target of TCP and SSL services [G 1.13, 1.16]"
        }
        (Quantity::Utilization, Word::Rate) => {
            "no `maxUtilization`: RATE is judged by the rate alone; or balancingMode: UTILIZATION [G 1.6]"
        }
        (Quantity::InFlight, Word::Rate) => "a rate: targets in flight do not go with RATE [G 1.7]",
        (Quantity::Connections, Word::Rate) => {
            "a rate: connections are a target of mode CONNECTION alone [G 1.7]"
        }
        (_, Word::InFlight) => "targets in flight alone: IN_FLIGHT has no other [G table 1c]",
        (_, Word::Connection) => "connections alone: CONNECTION has no other target [G 1.7, table 1c]",
    };
    Some(expected)
}

/// What to write instead, if the field is of the other kind of group.
fn misnamed(field: &str, kind: GroupKind) -> Option<String> {
    let (stem, own, why) = match kind {
        GroupKind::InstanceGroup => {
            (field.strip_suffix("PerEndpoint")?, "PerInstance", "an instance group are instances")
        }
        GroupKind::NetworkEndpointGroup => {
            (field.strip_suffix("PerInstance")?, "PerEndpoint", "a network endpoint group are endpoints")
        }
    };
    Some(format!("`{stem}{own}`: the members of {why} [G table 1c]"))
}

/// Name of a target for each member: `maxRate` becomes `maxRatePerInstance` or `maxRatePerEndpoint`.
pub(super) fn per_member(stem: &str, kind: GroupKind) -> String {
    let suffix = match kind {
        GroupKind::InstanceGroup => "PerInstance",
        GroupKind::NetworkEndpointGroup => "PerEndpoint",
    };
    format!("{stem}{suffix}")
}

impl Word {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "RATE",
            Self::Utilization => "UTILIZATION",
            Self::CustomMetrics => "CUSTOM_METRICS",
            Self::InFlight => "IN_FLIGHT",
            Self::Connection => "CONNECTION",
        }
    }

    /// The targets of which one must stand.
    fn targets(self, kind: GroupKind) -> String {
        let (stem, rule) = match self {
            Self::Rate | Self::Utilization | Self::CustomMetrics => ("maxRate", "[G 1.8, table 1c]"),
            Self::InFlight => ("maxInFlightRequests", "[G table 1c]"),
            Self::Connection => ("maxConnections", "[G table 1c]"),
        };
        format!("`{stem}` or `{}` {rule}", per_member(stem, kind))
    }

    const fn how_many(self) -> &'static str {
        match self {
            Self::Rate => "exactly one of them [G 1.8, table 1c]",
            Self::InFlight | Self::Connection => "exactly one of them [G table 1c]",
            Self::Utilization => "at most one of them [G 1.16]",
            Self::CustomMetrics => "at most one of them [G 1.17]",
        }
    }
}

impl Quantity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Utilization => "utilization",
            Self::Rate => "rate",
            Self::InFlight => "in-flight",
            Self::Connections => "connection",
        }
    }
}
