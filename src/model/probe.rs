//! A health check, resolved [G 4a, 4b].

use std::sync::Arc;

use super::unit::Span;

/// One `healthChecks` resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// `name`.
    pub name: Arc<str>,
    /// `checkIntervalSec`, 1 to 300 s, from start to start. Default 5 s.
    pub interval: Span,
    /// `timeoutSec`, 1 s to the interval. Default 5 s.
    pub timeout: Span,
    /// `healthyThreshold`, 1 to 10 successes in a row. Default 2.
    pub healthy_threshold: u32,
    /// `unhealthyThreshold`, 1 to 10 failures in a row. Default 2.
    pub unhealthy_threshold: u32,
    /// Which port of the member is probed.
    pub port: ProbePort,
    /// Whether `PROXY UNKNOWN\r\n` is sent first (`proxyHeader: PROXY_V1`) [G 4.6].
    pub sends_proxy_header: bool,
    /// What is said and expected.
    pub probe: Probe,
}

/// `portSpecification` with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbePort {
    /// USE_FIXED_PORT: `port`, or the type's default.
    Fixed(u16),
    /// USE_SERVING_PORT [G 4.2].
    Serving,
}

/// What is said and expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// GET; healthy = 200 in time, and `response` within the first 1024 bytes where set [G 4.3, 4.4].
    Http {
        /// Which HTTP.
        spoken: Spoken,
        /// `host`; `None` = the probed address.
        host: Option<Arc<str>>,
        /// `requestPath`. Default `/`.
        path: Arc<str>,
        /// `response`.
        response: Option<Arc<str>>,
    },
    /// Connect; with `response`, those very bytes must come back [G 4.5].
    Tcp {
        /// SSL instead of TCP: the handshake belongs to connecting; the certificate is not verified [G 4.8].
        over_tls: bool,
        /// `request`: sent after the connection stands.
        request: Option<Arc<str>>,
        /// `response`.
        response: Option<Arc<str>>,
    },
    /// `grpc.health.v1.Health/Check`; healthy = gRPC status OK and SERVING in time [G 4.7].
    Grpc {
        /// GRPC_WITH_TLS instead of GRPC; the certificate is not verified [G 4.8].
        over_tls: bool,
        /// `grpcServiceName`; empty = the whole server.
        service: Arc<str>,
    },
}

/// Which HTTP a probe speaks [G 4.8].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.1 in clear.
    Http,
    /// HTTP/1.1 over TLS; the certificate is not verified.
    Https,
    /// HTTP/2 over TLS, agreed on by ALPN; the certificate is not verified.
    Http2,
}

impl Probe {
    /// `port` where nothing is said; `None` for gRPC, where something must be said [G 4b].
    #[must_use]
    pub const fn default_port(&self) -> Option<u16> {
        match self {
            Self::Http { spoken: Spoken::Http, .. } | Self::Tcp { over_tls: false, .. } => Some(80),
            Self::Http { .. } | Self::Tcp { over_tls: true, .. } => Some(443),
            Self::Grpc { .. } => None,
        }
    }
}
