//! `backendServices`.

use super::backend::{BACKEND, Backend, METRIC_NAME};
use super::duration::{DURATION, Duration};
use super::protection::{CIRCUIT_BREAKERS, CircuitBreakers, OUTLIER_DETECTION, OutlierDetection};
use super::resource;
use super::schema::{Kind, Off, REFERENCE, Table, Word, later, never, note, optional, output, required};

resource! {
    /// A backend service.
    BackendService
    required {
        /// Name, unique among backend services.
        name: String,
    }
    optional {
        /// Region of a regional service, as a name or a URL.
        region: String,
        /// EXTERNAL, EXTERNAL_MANAGED or INTERNAL_MANAGED.
        load_balancing_scheme: String,
        /// HTTP, HTTPS, TCP or SSL.
        protocol: String,
        /// Named port of instance groups.
        port_name: String,
        /// Seconds for a whole answer.
        timeout_sec: u32,
        /// One reference.
        health_checks: Vec<String>,
        /// NONE, CLIENT_IP, GENERATED_COOKIE, HTTP_COOKIE, HEADER_FIELD or STRONG_COOKIE_AFFINITY.
        session_affinity: String,
        /// Life of the generated cookie, and of the HTTP cookie if that has none of its own.
        affinity_cookie_ttl_sec: u32,
        /// The cookie of STRONG_COOKIE_AFFINITY.
        strong_session_affinity_cookie: Cookie,
        /// ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH, MAGLEV, WEIGHTED_ROUND_ROBIN or, **ours**, PREQUAL.
        locality_lb_policy: String,
        /// What is hashed, and how.
        consistent_hash: ConsistentHash,
        /// Reference to a service load balancing policy.
        service_lb_policy: String,
        /// Ejecting members by their errors.
        outlier_detection: OutlierDetection,
        /// Limits of connections and requests.
        circuit_breakers: CircuitBreakers,
        /// **Ours**: OVERFILL or REJECT.
        overload: String,
        /// **Ours**: whether all members are tried when none is healthy.
        fail_open: bool,
        /// **Ours**: seconds that a recovered member takes to its full share.
        slow_start_sec: u32,
        /// Draining.
        connection_draining: ConnectionDraining,
        /// Access log.
        log_config: LogConfig,
        /// Added to requests: `Name:Value`.
        custom_request_headers: Vec<String>,
        /// Added to answers.
        custom_response_headers: Vec<String>,
        /// DISABLED or AUTOMATIC.
        compression_mode: String,
        /// All of a request, retries included; none: no limit.
        max_stream_duration: Duration,
        /// Metrics that WEIGHTED_ROUND_ROBIN weighs members by.
        custom_metrics: Vec<WeightMetric>,
        /// Groups with targets.
        backends: Vec<Backend>,
    }
}

resource! {
    /// One entry of `customMetrics` of a service.
    WeightMetric
    required {
        /// Name in the reports.
        name: String,
    }
    optional {
        /// Whether it is only looked at.
        dry_run: bool,
    }
}

resource! {
    /// `consistentHash`.
    ConsistentHash
    required {}
    optional {
        /// Places on the ring of RING_HASH.
        minimum_ring_size: u32,
        /// The cookie of HTTP_COOKIE.
        http_cookie: Cookie,
        /// The header of HEADER_FIELD.
        http_header_name: String,
    }
}

resource! {
    /// `httpCookie` and `strongSessionAffinityCookie`.
    Cookie
    required {}
    optional {
        /// Name.
        name: String,
        /// Path.
        path: String,
        /// Life; none or zero: until the browser closes.
        ttl: Duration,
    }
}

resource! {
    /// `connectionDraining`.
    ConnectionDraining
    required {}
    optional {
        /// Seconds, 0 to 3600.
        draining_timeout_sec: u32,
    }
}

resource! {
    /// `logConfig`.
    LogConfig
    required {}
    optional {
        /// Whether requests are logged at all.
        enable: bool,
        /// Share of requests, 0 to 1.
        sample_rate: f64,
        /// EXCLUDE_ALL_OPTIONAL or CUSTOM.
        optional_mode: String,
        /// With CUSTOM alone: tls.protocol, tls.cipher.
        optional_fields: Vec<String>,
    }
}

/// What an editing gcloud sends of a backend service; a field that it leaves out is to go [G 10b]. All others stay.
pub const EDITED: &[&str] = &[
    "backends",
    "customRequestHeaders",
    "customResponseHeaders",
    "description",
    "enableCDN",
    "healthChecks",
    "iap",
    "port",
    "portName",
    "protocol",
    "timeoutSec",
];

/// Fields of a backend service.
pub static BACKEND_SERVICE: Table = Table {
    noun: "a backend service",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        optional("region", REFERENCE).by("[G 2.10]"),
        optional("loadBalancingScheme", Kind::Word(SCHEMES)),
        optional("protocol", Kind::Word(PROTOCOLS)),
        optional("portName", Kind::Name),
        optional("timeoutSec", Kind::Integer(1, i32::MAX as i64)).by("[G 5]"),
        optional("healthChecks", Kind::List(&REFERENCE, 1)).by("[G 4.11]"),
        optional("sessionAffinity", Kind::Word(AFFINITIES)).by("[G 3]"),
        optional("affinityCookieTtlSec", Kind::Integer(0, 1_209_600)).by("[G 3.4]"),
        optional("strongSessionAffinityCookie", Kind::Object(&COOKIE)).by("[G 3.6]"),
        optional("localityLbPolicy", Kind::Word(POLICIES)).by("[G 2c]"),
        optional("consistentHash", Kind::Object(&CONSISTENT_HASH)).by("[G 2c, 3]"),
        optional("connectionDraining", Kind::Object(&CONNECTION_DRAINING)),
        optional("logConfig", Kind::Object(&LOG_CONFIG)),
        optional("backends", Kind::List(&Kind::Object(&BACKEND), 50)).by("[G 9]"),
        optional("serviceLbPolicy", REFERENCE).by("[G 2.12]"),
        optional("outlierDetection", Kind::Object(&OUTLIER_DETECTION)).by("[G 2e]"),
        optional("circuitBreakers", Kind::Object(&CIRCUIT_BREAKERS)).by("[G 2e]"),
        optional("overload", Kind::Word(OVERLOADS)),
        optional("failOpen", Kind::Flag),
        optional("slowStartSec", Kind::Integer(0, 900)),
        optional("customMetrics", Kind::List(&Kind::Object(&WEIGHT_METRIC), 16)).by("[G 1.36]"),
        optional("customRequestHeaders", CUSTOM_HEADERS).by("[G 6.7]"),
        optional("customResponseHeaders", CUSTOM_HEADERS).by("[G 6.7]"),
        optional("compressionMode", Kind::Word(COMPRESSION_MODES)).by("[G 6.11]"),
        optional("maxStreamDuration", Kind::Object(&DURATION)).by("[G 7c]"),
        later("enableCDN", "caching", &[Off::False]),
        later("cdnPolicy", "caching", &[Off::Empty]),
        later("iap", "sign-in in front of the service", &[Off::Empty, Off::Disabled("enabled")]),
        later("securityPolicy", "filtering requests", &[Off::Empty]),
        later("edgeSecurityPolicy", "filtering requests", &[Off::Empty]),
        later("securitySettings", "identities towards members", &[Off::Empty]),
        later("tlsSettings", "verifying the certificates of members", &[Off::Empty]),
        later("localityLbPolicies", "lists of policies, which gRPC clients read", &[Off::Empty]),
        later("subsetting", "subsets of members", &[Off::Empty, Off::Choice("policy", "NONE")]),
        never("failoverPolicy", "failover of passthrough balancers", &[Off::Empty]),
        never("connectionTrackingPolicy", "connection tracking of passthrough balancers", &[Off::Empty]),
        never("networkPassThroughLbTrafficPolicy", "passthrough balancing", &[Off::Empty]),
        never("haPolicy", "high availability of passthrough balancers", &[Off::Empty]),
        later("dynamicForwarding", "forwarding to addresses that requests name", &[Off::Empty]),
        later("ipAddressSelectionPolicy", "a choice between IPv4 and IPv6", &[Off::Word("IPV4_ONLY")]),
        later("externalManagedMigrationState", "moving from the classic balancer", &[Off::Empty]),
        later("externalManagedMigrationTestingPercentage", "moving from the classic balancer", &[Off::Zero]),
        later("port", "deprecated by Google; portName says it", &[]),
        later("serviceBindings", "binding by Service Directory", &[Off::Empty]),
        later("metadatas", "metadata of deployments", &[Off::Empty]),
        later("params", "resource tags", &[Off::Empty]),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("selfLinkWithId"),
        output("creationTimestamp"),
        output("fingerprint"),
        output("usedBy"),
        output("network"),
        output("orchestrationInfo"),
    ],
};

/// `Name:Value` each.
const CUSTOM_HEADERS: Kind = Kind::List(&Kind::Text(8192), 16);

/// Google names no upper end; a ring of a million places takes 10 MB for each backend.
const RING_SIZE: Kind = Kind::Integer(1, 1_048_576);

static CONSISTENT_HASH: Table = Table {
    noun: "consistentHash",
    fields: &[
        optional("minimumRingSize", RING_SIZE).by("[G 2c]"),
        optional("httpCookie", Kind::Object(&COOKIE)).by("[G 3.5]"),
        optional("httpHeaderName", Kind::Text(256)).by("[G 3]"),
    ],
};

static COOKIE: Table = Table {
    noun: "a cookie",
    fields: &[
        optional("name", Kind::Text(256)),
        optional("path", Kind::Text(1024)),
        optional("ttl", Kind::Object(&DURATION)),
    ],
};

static CONNECTION_DRAINING: Table = Table {
    noun: "connectionDraining",
    fields: &[optional("drainingTimeoutSec", Kind::Integer(0, 3600)).by("[G 4.22]")],
};

static WEIGHT_METRIC: Table = Table {
    noun: "a custom metric",
    fields: &[required("name", METRIC_NAME).by("[G 1.35]"), optional("dryRun", Kind::Flag)],
};

static LOG_CONFIG: Table = Table {
    noun: "logConfig",
    fields: &[
        optional("enable", Kind::Flag),
        optional("sampleRate", Kind::Number(0.0, 1.0)).by("[G 8.1]"),
        optional("optionalMode", Kind::Word(OPTIONAL_MODES)).by("[G 8.1]"),
        optional("optionalFields", Kind::List(&Kind::Word(OPTIONAL_FIELDS), 16)).by("[G 8.1]"),
        later("loggingHttpRequestHeaders", "headers in the access log", &[Off::Empty]),
        later("loggingHttpResponseHeaders", "headers in the access log", &[Off::Empty]),
    ],
};

/// `loadBalancingScheme`, also of forwarding rules.
pub(super) static SCHEMES: &[Word] = &[
    Word::Known("EXTERNAL_MANAGED"),
    Word::Known("EXTERNAL"),
    Word::Known("INTERNAL_MANAGED"),
    Word::Later("INTERNAL_SELF_MANAGED", "a service mesh"),
    Word::Never("INTERNAL", "passthrough balancing"),
    Word::Never("EXTERNAL_PASSTHROUGH", "passthrough balancing"),
];

static PROTOCOLS: &[Word] = &[
    Word::Known("HTTP"),
    Word::Known("HTTPS"),
    Word::Known("HTTP2"),
    Word::Known("H2C"),
    Word::Later("GRPC", "gRPC to members"),
    Word::Known("TCP"),
    Word::Known("SSL"),
    Word::Never("UDP", "balancing of packets"),
    Word::Never("ALL", "balancing of packets"),
    Word::Never("UNSPECIFIED", "balancing of packets"),
];

static AFFINITIES: &[Word] = &[
    Word::Known("NONE"),
    Word::Known("CLIENT_IP"),
    Word::Known("GENERATED_COOKIE"),
    Word::Known("HTTP_COOKIE"),
    Word::Known("HEADER_FIELD"),
    Word::Known("STRONG_COOKIE_AFFINITY"),
    Word::Never("CLIENT_IP_PROTO", "affinity of passthrough balancers"),
    Word::Never("CLIENT_IP_PORT_PROTO", "affinity of passthrough balancers"),
    Word::Never("CLIENT_IP_NO_DESTINATION", "affinity of passthrough balancers"),
];

static POLICIES: &[Word] = &[
    Word::Known("ROUND_ROBIN"),
    Word::Known("LEAST_REQUEST"),
    Word::Known("RANDOM"),
    Word::Known("RING_HASH"),
    Word::Known("MAGLEV"),
    Word::Known("WEIGHTED_ROUND_ROBIN"),
    // Ours.
    Word::Known("PREQUAL"),
    Word::Later("ORIGINAL_DESTINATION", "a service mesh"),
    Word::Never("WEIGHTED_MAGLEV", "passthrough balancing"),
    Word::Never("WEIGHTED_GCP_RENDEZVOUS", "passthrough balancing"),
];

static COMPRESSION_MODES: &[Word] = &[Word::Known("DISABLED"), Word::Known("AUTOMATIC")];

/// **Ours**.
static OVERLOADS: &[Word] = &[Word::Known("OVERFILL"), Word::Known("REJECT")];

static OPTIONAL_MODES: &[Word] = &[
    Word::Known("EXCLUDE_ALL_OPTIONAL"),
    Word::Later("INCLUDE_ALL_OPTIONAL", "optional fields in the access log"),
    Word::Known("CUSTOM"),
];

const REPORTS: &str = "load reports in the access log";

static OPTIONAL_FIELDS: &[Word] = &[
    Word::Known("tls.protocol"),
    Word::Known("tls.cipher"),
    Word::Later("orca_load_report", REPORTS),
    Word::Later("orca_load_report.cpu_utilization", REPORTS),
    Word::Later("orca_load_report.mem_utilization", REPORTS),
    Word::Later("orca_load_report.request_cost", REPORTS),
    Word::Later("orca_load_report.utilization", REPORTS),
    Word::Later("orca_load_report.rps_fractional", REPORTS),
    Word::Later("orca_load_report.eps", REPORTS),
    Word::Later("orca_load_report.named_metrics", REPORTS),
    Word::Later("orca_load_report.application_utilization", REPORTS),
];
