//! `healthChecks` [G 4a, 4b].

use super::resource;
use super::schema::{Kind, Off, PORT, Table, Word, later, never, note, optional, output, required};

resource! {
    /// A health check.
    HealthCheck
    required {
        /// Name, unique among health checks.
        name: String,
        /// HTTP, HTTPS, HTTP2, TCP, SSL, GRPC or GRPC_WITH_TLS.
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
        /// With type HTTP2.
        http2_health_check: HttpHealthCheck,
        /// With type TCP.
        tcp_health_check: TcpHealthCheck,
        /// With type SSL.
        ssl_health_check: TcpHealthCheck,
        /// With type GRPC.
        grpc_health_check: GrpcHealthCheck,
        /// With type GRPC_WITH_TLS.
        grpc_tls_health_check: GrpcHealthCheck,
    }
}

resource! {
    /// `httpHealthCheck`, `httpsHealthCheck` and `http2HealthCheck`.
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
    /// `tcpHealthCheck` and `sslHealthCheck`.
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

resource! {
    /// `grpcHealthCheck` and `grpcTlsHealthCheck`.
    GrpcHealthCheck
    required {}
    optional {
        /// Port of USE_FIXED_PORT.
        port: u16,
        /// USE_FIXED_PORT or USE_SERVING_PORT.
        port_specification: String,
        /// Service that is asked about; none = the whole server.
        grpc_service_name: String,
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
        optional("http2HealthCheck", Kind::Object(&HTTP2)),
        optional("tcpHealthCheck", Kind::Object(&TCP)),
        optional("sslHealthCheck", Kind::Object(&SSL)),
        optional("grpcHealthCheck", Kind::Object(&GRPC)),
        optional("grpcTlsHealthCheck", Kind::Object(&GRPC_TLS)),
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
    Word::Known("HTTP2"),
    Word::Known("TCP"),
    Word::Known("SSL"),
    Word::Known("GRPC"),
    Word::Known("GRPC_WITH_TLS"),
    Word::Later("UDP", "probes over UDP"),
];

static HTTP: Table = Table { noun: "httpHealthCheck", fields: HTTP_FIELDS };
static HTTPS: Table = Table { noun: "httpsHealthCheck", fields: HTTP_FIELDS };
static HTTP2: Table = Table { noun: "http2HealthCheck", fields: HTTP_FIELDS };
static TCP: Table = Table { noun: "tcpHealthCheck", fields: TCP_FIELDS };
static SSL: Table = Table { noun: "sslHealthCheck", fields: TCP_FIELDS };
static GRPC: Table = Table { noun: "grpcHealthCheck", fields: GRPC_FIELDS };
static GRPC_TLS: Table = Table { noun: "grpcTlsHealthCheck", fields: GRPC_FIELDS };

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

static TCP_FIELDS: &[super::schema::Field] = &[
    optional("port", PORT).by("[G 4b]"),
    optional("portSpecification", Kind::Word(SPECIFICATIONS)).by("[G 4b]"),
    optional("request", Kind::Text(1024)).by("[G 4b]"),
    optional("response", Kind::Text(1024)).by("[G 4.5]"),
    optional("proxyHeader", Kind::Word(PROXY_HEADERS)).by("[G 4b]"),
    later("portName", "probing a named port", &[Off::Empty]),
];

static GRPC_FIELDS: &[super::schema::Field] = &[
    optional("port", PORT).by("[G 4b]"),
    optional("portSpecification", Kind::Word(SPECIFICATIONS)).by("[G 4b]"),
    optional("grpcServiceName", Kind::Text(1024)).by("[G 4b]"),
    later("portName", "probing a named port", &[Off::Empty]),
];

static SPECIFICATIONS: &[Word] = &[
    Word::Known("USE_FIXED_PORT"),
    Word::Known("USE_SERVING_PORT"),
    Word::Later("USE_NAMED_PORT", "Google does not offer it either [G 4b]"),
];

static PROXY_HEADERS: &[Word] = &[Word::Known("NONE"), Word::Known("PROXY_V1")];
