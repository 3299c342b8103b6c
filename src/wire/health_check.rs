//! `healthChecks` [G 4a, 4b].

use super::resource;
use super::schema::{Kind, Off, PORT, Table, Word, later, never, note, optional, output, required};

resource! {
    /// A health check.
    HealthCheck
    required {
        /// Name, unique among health checks.
        name: String,
        /// HTTP, HTTPS or TCP.
        r#type: String,
    }
    optional {
        /// Seconds from start to start.
        check_interval_sec: u32,
        /// Seconds for one probe.
        timeout_sec: u32,
        /// Successes in a row.
        healthy_threshold: u32,
        /// Failures in a row.
        unhealthy_threshold: u32,
        /// With type HTTP.
        http_health_check: HttpHealthCheck,
        /// With type HTTPS.
        https_health_check: HttpHealthCheck,
        /// With type TCP.
        tcp_health_check: TcpHealthCheck,
    }
}

resource! {
    /// `httpHealthCheck` and `httpsHealthCheck`.
    HttpHealthCheck
    required {}
    optional {
        /// Port of USE_FIXED_PORT.
        port: u16,
        /// USE_FIXED_PORT or USE_SERVING_PORT.
        port_specification: String,
        /// `Host`.
        host: String,
        /// Path.
        request_path: String,
        /// Text in the first 1024 bytes of the body.
        response: String,
        /// NONE or PROXY_V1.
        proxy_header: String,
    }
}

resource! {
    /// `tcpHealthCheck`.
    TcpHealthCheck
    required {}
    optional {
        /// Port of USE_FIXED_PORT.
        port: u16,
        /// USE_FIXED_PORT or USE_SERVING_PORT.
        port_specification: String,
        /// Bytes sent after the connection stands.
        request: String,
        /// Bytes expected.
        response: String,
        /// NONE or PROXY_V1.
        proxy_header: String,
    }
}

/// Fields of a health check.
pub static HEALTH_CHECK: Table = Table {
    noun: "a health check",
    fields: &[
        required("name", Kind::Name),
        required("type", Kind::Word(TYPES)).by("[G 4a]"),
        note("description"),
        optional("checkIntervalSec", Kind::Integer(1, 300)).by("[G 4a]"),
        optional("timeoutSec", Kind::Integer(1, 300)).by("[G 4a]"),
        optional("healthyThreshold", Kind::Integer(1, 10)).by("[G 4a]"),
        optional("unhealthyThreshold", Kind::Integer(1, 10)).by("[G 4a]"),
        optional("httpHealthCheck", Kind::Object(&HTTP)),
        optional("httpsHealthCheck", Kind::Object(&HTTPS)),
        optional("tcpHealthCheck", Kind::Object(&TCP)),
        later("http2HealthCheck", "probes over HTTP/2", &[]),
        later("sslHealthCheck", "probes over TLS", &[]),
        later("grpcHealthCheck", "probes over gRPC", &[]),
        later("grpcTlsHealthCheck", "probes over gRPC", &[]),
        later("udpHealthCheck", "probes over UDP", &[]),
        later("logConfig", "health-check logs", &[Off::Empty, Off::Disabled("enable")]),
        later("sourceRegions", "probing from chosen regions", &[Off::Empty]),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("selfLinkWithId"),
        output("creationTimestamp"),
        output("region"),
    ],
};

static TYPES: &[Word] = &[
    Word::Known("HTTP"),
    Word::Known("HTTPS"),
    Word::Known("TCP"),
    Word::Later("HTTP2", "probes over HTTP/2"),
    Word::Later("SSL", "probes over TLS"),
    Word::Later("GRPC", "probes over gRPC"),
    Word::Later("GRPC_WITH_TLS", "probes over gRPC"),
    Word::Later("UDP", "probes over UDP"),
];

static HTTP: Table = Table { noun: "httpHealthCheck", fields: HTTP_FIELDS };
static HTTPS: Table = Table { noun: "httpsHealthCheck", fields: HTTP_FIELDS };

static HTTP_FIELDS: &[super::schema::Field] = &[
    optional("port", PORT).by("[G 4b]"),
    optional("portSpecification", Kind::Word(SPECIFICATIONS)).by("[G 4b]"),
    optional("host", Kind::Text(255)),
    optional("requestPath", Kind::Text(1024)),
    optional("response", Kind::Text(1024)).by("[G 4.4]"),
    optional("proxyHeader", Kind::Word(PROXY_HEADERS)).by("[G 4b]"),
    later("portName", "probing a named port", &[Off::Empty]),
    never(
        "weightReportMode",
        "weights in health-check answers, which passthrough balancers read",
        &[Off::Word("DISABLE")],
    ),
];

static TCP: Table = Table {
    noun: "tcpHealthCheck",
    fields: &[
        optional("port", PORT).by("[G 4b]"),
        optional("portSpecification", Kind::Word(SPECIFICATIONS)).by("[G 4b]"),
        optional("request", Kind::Text(1024)).by("[G 4b]"),
        optional("response", Kind::Text(1024)).by("[G 4.5]"),
        optional("proxyHeader", Kind::Word(PROXY_HEADERS)).by("[G 4b]"),
        later("portName", "probing a named port", &[Off::Empty]),
    ],
};

static SPECIFICATIONS: &[Word] = &[
    Word::Known("USE_FIXED_PORT"),
    Word::Known("USE_SERVING_PORT"),
    Word::Later("USE_NAMED_PORT", "Google does not offer it either [G 4b]"),
];

static PROXY_HEADERS: &[Word] = &[Word::Known("NONE"), Word::Known("PROXY_V1")];
