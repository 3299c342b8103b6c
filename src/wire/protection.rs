//! `outlierDetection` and `circuitBreakers` of a backend service [G 2e].

use super::duration::{DURATION, Duration};
use super::resource;
use super::schema::{Kind, Table, later, optional};

resource! {
    /// `outlierDetection`. Percentages are of 100.
    #[derive(Copy, Default)]
    OutlierDetection
    required {}
    optional {
        /// 5xx in a row.
        consecutive_errors: u32,
        /// 502, 503, 504 in a row.
        consecutive_gateway_failure: u32,
        /// Between two looks at success rates.
        interval: Duration,
        /// Times the number of ejections so far.
        base_ejection_time: Duration,
        /// Of a backend's members.
        max_ejection_percent: u32,
        /// How often errors in a row eject.
        enforcing_consecutive_errors: u32,
        /// How often gateway failures in a row eject.
        enforcing_consecutive_gateway_failure: u32,
        /// How often a low success rate ejects.
        enforcing_success_rate: u32,
        /// Members with enough requests.
        success_rate_minimum_hosts: u32,
        /// Enough requests in an interval.
        success_rate_request_volume: u32,
        /// Standard deviations below the mean, in thousandths.
        success_rate_stdev_factor: u32,
    }
}

resource! {
    /// `circuitBreakers`.
    #[derive(Copy, Default)]
    CircuitBreakers
    required {}
    optional {
        /// To all members.
        max_connections: u32,
        /// Requests that wait for a connection.
        max_pending_requests: u32,
        /// Requests in flight.
        max_requests: u32,
        /// 1 disables keep-alive.
        max_requests_per_connection: u32,
        /// Retries in flight.
        max_retries: u32,
    }
}

const COUNT: Kind = Kind::Integer(0, i32::MAX as i64);
const SOME: Kind = Kind::Integer(1, i32::MAX as i64);
const PERCENT: Kind = Kind::Integer(0, 100);

pub(super) static OUTLIER_DETECTION: Table = Table {
    noun: "outlierDetection",
    fields: &[
        optional("consecutiveErrors", SOME).by("[G 2e]"),
        optional("consecutiveGatewayFailure", SOME).by("[G 2e]"),
        optional("interval", Kind::Object(&DURATION)).by("[G 2e]"),
        optional("baseEjectionTime", Kind::Object(&DURATION)).by("[G 2e]"),
        optional("maxEjectionPercent", PERCENT).by("[G 2e]"),
        optional("enforcingConsecutiveErrors", PERCENT).by("[G 2e]"),
        optional("enforcingConsecutiveGatewayFailure", PERCENT).by("[G 2e]"),
        optional("enforcingSuccessRate", PERCENT).by("[G 2e]"),
        optional("successRateMinimumHosts", COUNT).by("[G 2e]"),
        optional("successRateRequestVolume", COUNT).by("[G 2e]"),
        optional("successRateStdevFactor", COUNT).by("[G 2e]"),
    ],
};

pub(super) static CIRCUIT_BREAKERS: Table = Table {
    noun: "circuitBreakers",
    fields: &[
        optional("maxConnections", SOME).by("[G 2e]"),
        optional("maxPendingRequests", COUNT).by("[G 2e]"),
        optional("maxRequests", SOME).by("[G 2e]"),
        optional("maxRequestsPerConnection", SOME).by("[G 2e]"),
        optional("maxRetries", COUNT).by("[G 2e]"),
        later("connectTimeout", "a time limit for connections, which Google has in beta", &[]),
    ],
};
