//! Outlier detection and circuit breakers [G 2e, 2.20].

use super::report::Report;
use crate::model::policy::{CircuitBreakers, OutlierDetection};
use crate::model::service::{Protocol, Scheme};
use crate::model::unit::{SECOND, Span};
use crate::wire::backend_service::BackendService;
use crate::wire::duration::Duration;
use crate::wire::path::Path;
use crate::wire::protection as wire;

/// `maxRetries` of a service that has circuit breakers and does not say it [G 2e].
const DEFAULT_MAX_RETRIES: u32 = 1;

/// The longest interval and ejection (**ours**: Google's durations go up to 10,000 years).
const LONGEST: Span = Span::secs(604_800);

/// `outlierDetection`; absent or empty, it is off [G 2.20].
pub(super) fn outlier_detection(
    service: &BackendService,
    of: (Scheme, Protocol),
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<OutlierDetection> {
    let said =
        service.outlier_detection.as_ref().filter(|said| **said != wire::OutlierDetection::default())?;
    let at = at.key("outlierDetection");
    fits(service, "ejects members by their answers", of, (&at, report));
    let default = OutlierDetection::default();
    let found = OutlierDetection {
        consecutive_errors: said.consecutive_errors.unwrap_or(default.consecutive_errors),
        consecutive_gateway_failure: said
            .consecutive_gateway_failure
            .unwrap_or(default.consecutive_gateway_failure),
        interval: said.interval.map_or(default.interval, span),
        base_ejection_time: said.base_ejection_time.map_or(default.base_ejection_time, span),
        max_ejection_percent: said.max_ejection_percent.unwrap_or(default.max_ejection_percent),
        enforcing_consecutive_errors: said
            .enforcing_consecutive_errors
            .unwrap_or(default.enforcing_consecutive_errors),
        enforcing_consecutive_gateway_failure: said
            .enforcing_consecutive_gateway_failure
            .unwrap_or(default.enforcing_consecutive_gateway_failure),
        enforcing_success_rate: said.enforcing_success_rate.unwrap_or(default.enforcing_success_rate),
        success_rate_minimum_hosts: said
            .success_rate_minimum_hosts
            .unwrap_or(default.success_rate_minimum_hosts),
        success_rate_request_volume: said
            .success_rate_request_volume
            .unwrap_or(default.success_rate_request_volume),
        success_rate_stdev_factor: said
            .success_rate_stdev_factor
            .unwrap_or(default.success_rate_stdev_factor),
    };
    if found.interval == Span::ZERO {
        let message = format!("service `{}` looks at success rates every 0 s", service.name);
        report.error(&at.key("interval"), "out-of-range", message, "more than nothing; 1 s if absent [G 2e]");
    }
    for (field, said) in [("interval", said.interval), ("baseEjectionTime", said.base_ejection_time)] {
        if said.is_some_and(|said| span(said) > LONGEST) {
            let seconds = said.and_then(|said| said.seconds).unwrap_or(0);
            let message = format!("`{field}` of service `{}` is {seconds} s", service.name);
            report.error(&at.key(field), "out-of-range", message, "at most 604800 s, a week");
        }
    }
    harmless(service, &found, &at, report);
    Some(found)
}

/// `circuitBreakers`; absent or empty, nothing is limited.
pub(super) fn circuit_breakers(
    service: &BackendService,
    of: (Scheme, Protocol),
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> CircuitBreakers {
    let Some(said) =
        service.circuit_breakers.as_ref().filter(|said| **said != wire::CircuitBreakers::default())
    else {
        return CircuitBreakers::default();
    };
    fits(service, "has circuit breakers", of, (&at.key("circuitBreakers"), report));
    CircuitBreakers {
        max_connections: said.max_connections,
        max_pending_requests: said.max_pending_requests,
        max_requests: said.max_requests,
        max_requests_per_connection: said.max_requests_per_connection,
        max_retries: Some(said.max_retries.unwrap_or(DEFAULT_MAX_RETRIES)),
    }
}

/// Both are for managed schemes, and for requests.
fn fits(
    service: &BackendService,
    what: &str,
    (scheme, protocol): (Scheme, Protocol),
    (at, report): (&Path<'_>, &mut Report<'_>),
) {
    let name = &service.name;
    if scheme == Scheme::External {
        let message = format!("service `{name}` of scheme EXTERNAL {what}");
        let expected =
            "nothing here, or scheme EXTERNAL_MANAGED: the classic balancer does no such thing [G 2.20]";
        report.error(at, "forbidden-field", message, expected);
    } else if !protocol.is_http() {
        let message = format!("service `{name}` of protocol {} {what}", protocol.as_str());
        report.error(
            at,
            "forbidden-field",
            message,
            "nothing here: it is about requests and their answers [G 2e]",
        );
    }
}

/// Settings under which nobody is ever ejected.
fn harmless(service: &BackendService, found: &OutlierDetection, at: &Path<'_>, report: &mut Report<'_>) {
    let enforced = [
        found.enforcing_consecutive_errors,
        found.enforcing_consecutive_gateway_failure,
        found.enforcing_success_rate,
    ];
    let expected = if found.max_ejection_percent == 0 {
        "a `maxEjectionPercent` above 0 [G 2e]"
    } else if enforced == [0; 3] {
        "a percentage above 0 for one of `enforcingConsecutiveErrors`, `enforcingConsecutiveGatewayFailure`, `enforcingSuccessRate` [G 2e]"
    } else {
        return;
    };
    let message = format!("service `{}` will never eject a member", service.name);
    report.warning(at, "no-ejection", message, expected);
}

pub(super) fn span(Duration { seconds, nanos }: Duration) -> Span {
    Span(seconds.unwrap_or(0).saturating_mul(SECOND).saturating_add(nanos.unwrap_or(0).into()))
}
