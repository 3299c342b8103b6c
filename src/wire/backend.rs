//! `backends` of a backend service: groups with their targets [G 1a].

use super::resource;
use super::schema::{Kind, Off, REFERENCE, Table, Word, never, note, optional, output, required};

resource! {
    /// One entry of `backends`.
    Backend
    required {
        /// Reference to an instance group or a network endpoint group.
        group: String,
    }
    optional {
        /// UTILIZATION, RATE, CUSTOM_METRICS, IN_FLIGHT or CONNECTION.
        balancing_mode: String,
        /// 0 to 1.
        max_utilization: f64,
        /// Requests per second of the whole group.
        max_rate: u32,
        /// Requests per second of each instance.
        max_rate_per_instance: f64,
        /// Requests per second of each endpoint.
        max_rate_per_endpoint: f64,
        /// Open connections of the whole group.
        max_connections: u32,
        /// Open connections of each instance.
        max_connections_per_instance: u32,
        /// Open connections of each endpoint.
        max_connections_per_endpoint: u32,
        /// Requests at a time of the whole group.
        max_in_flight_requests: u32,
        /// Requests at a time of each instance.
        max_in_flight_requests_per_instance: u32,
        /// Requests at a time of each endpoint.
        max_in_flight_requests_per_endpoint: u32,
        /// 0, or 0.1 to 1.
        capacity_scaler: f64,
        /// PREFERRED or DEFAULT.
        preference: String,
        /// SHORT or LONG.
        traffic_duration: String,
        /// Metrics of mode CUSTOM_METRICS.
        custom_metrics: Vec<CustomMetric>,
    }
}

resource! {
    /// One entry of `customMetrics` of a backend.
    CustomMetric
    required {
        /// Name in the reports.
        name: String,
    }
    optional {
        /// 0 to 1.
        max_utilization: f64,
        /// Whether it is only looked at.
        dry_run: bool,
    }
}

const COUNT: Kind = Kind::Integer(0, i32::MAX as i64);
const TARGET: Kind = Kind::Number(0.0, f64::MAX);

/// Fields of a backend.
pub static BACKEND: Table = Table {
    noun: "a backend",
    fields: &[
        required("group", REFERENCE),
        optional("balancingMode", Kind::Word(MODES)).by("[G 1a]"),
        optional("maxUtilization", Kind::Number(0.0, 1.0)).by("[G 1a]"),
        optional("maxRate", COUNT).by("[G 1a]"),
        optional("maxRatePerInstance", TARGET).by("[G 1a]"),
        optional("maxRatePerEndpoint", TARGET).by("[G 1a]"),
        optional("capacityScaler", Kind::Number(f64::MIN, f64::MAX)).by("[G 1.1]"),
        optional("preference", Kind::Word(PREFERENCES)).by("[G 1a]"),
        note("description"),
        optional("maxConnections", COUNT).by("[G 1a]"),
        optional("maxConnectionsPerInstance", COUNT).by("[G 1a]"),
        optional("maxConnectionsPerEndpoint", COUNT).by("[G 1a]"),
        optional("maxInFlightRequests", COUNT).by("[G 1a]"),
        optional("maxInFlightRequestsPerInstance", COUNT).by("[G 1a]"),
        optional("maxInFlightRequestsPerEndpoint", COUNT).by("[G 1a]"),
        optional("trafficDuration", Kind::Word(DURATIONS)).by("[G 1a]"),
        optional("customMetrics", Kind::List(&Kind::Object(&CUSTOM_METRIC), 2)).by("[G 1.37]"),
        never("failover", "failover of passthrough balancers", &[Off::False]),
        output("orchestrationInfo"),
    ],
};

static CUSTOM_METRIC: Table = Table {
    noun: "a custom metric",
    fields: &[
        required("name", METRIC_NAME).by("[G 1.35]"),
        optional("maxUtilization", Kind::Number(0.0, 1.0)).by("[G 1a]"),
        optional("dryRun", Kind::Flag),
    ],
};

/// Name of a custom metric; what it may be made of, resolve knows.
pub(super) const METRIC_NAME: Kind = Kind::Text(64);

static MODES: &[Word] = &[
    Word::Known("RATE"),
    Word::Known("UTILIZATION"),
    Word::Known("CONNECTION"),
    Word::Known("IN_FLIGHT"),
    Word::Known("CUSTOM_METRICS"),
];

static PREFERENCES: &[Word] =
    &[Word::Known("DEFAULT"), Word::Known("PREFERRED"), Word::Known("PREFERENCE_UNSPECIFIED")];

static DURATIONS: &[Word] =
    &[Word::Known("SHORT"), Word::Known("TRAFFIC_DURATION_UNSPECIFIED"), Word::Known("LONG")];
