//! Services, backends and members as validated, resolved values.

use std::net::SocketAddr;
use std::sync::Arc;

use super::place::RegionId;
use super::policy::Policies;
use super::probe::HealthCheck;
use super::route::edit::HeaderEdits;
use super::target::{Mode, Preference, Scaler};
use super::unit::{Ratio, Span};

/// A backend service, resolved: every reference followed, every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// `name`.
    pub name: Arc<str>,
    /// `loadBalancingScheme`; EXTERNAL_MANAGED when the file has none (ours).
    pub scheme: Scheme,
    /// `protocol`: how members are spoken to.
    pub protocol: Protocol,
    /// `timeoutSec`: first request byte sent to last answer byte received [G 5.1]. Default 30 s.
    pub timeout: Span,
    /// `maxStreamDuration`: from a request's head to the end of its answer, retries included; `None` = no limit.
    pub longest: Option<Span>,
    /// The one health check; `None` for services of internet endpoints, whose members count as healthy [G 4.11].
    pub health_check: Option<Arc<HealthCheck>>,
    /// `sessionAffinity`.
    pub affinity: Affinity,
    /// `connectionDraining.drainingTimeoutSec`, 0 to 3600 s; 0 = off.
    pub draining_timeout: Span,
    /// `logConfig`: the share of requests that the access log keeps, 0 to 1; 1 without a `logConfig`, 0 when `enable: false`.
    pub log_sample: Ratio,
    /// `logConfig.optionalFields`.
    pub log_fields: LogFields,
    /// `customRequestHeaders` and `customResponseHeaders`; `None` when there are none [G 6c].
    pub custom_headers: Option<Arc<HeaderEdits>>,
    /// `compressionMode: AUTOMATIC`: answers are compressed for clients that take that [G 6.11].
    pub compresses: bool,
    /// Which backends, which member, and what when they run out.
    pub policies: Policies,
    /// `region` of a regional service, which never leaves it [G 2.10]; `None` = global.
    pub region: Option<RegionId>,
    /// Backends in the order of the file.
    pub backends: Vec<Backend>,
    /// Whether a forwarding rule leads here; if not, it is not probed [G 4.15].
    pub is_reachable: bool,
}

/// Fields of the access log that are there when they are asked for [G 8.1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFields {
    /// `tls.protocol`.
    pub has_tls_protocol: bool,
    /// `tls.cipher`.
    pub has_tls_cipher: bool,
}

/// `loadBalancingScheme` of the products that we speak for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Classic.
    External,
    /// Global external, the default of a file.
    ExternalManaged,
    /// Internal.
    InternalManaged,
}

impl Scheme {
    /// As Google writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::External => "EXTERNAL",
            Self::ExternalManaged => "EXTERNAL_MANAGED",
            Self::InternalManaged => "INTERNAL_MANAGED",
        }
    }

    /// Name of the generated affinity cookie [G 3.1].
    #[must_use]
    pub const fn cookie_name(self) -> &'static str {
        match self {
            Self::External | Self::ExternalManaged => "GCLB",
            Self::InternalManaged => "GCILB",
        }
    }

    /// Status when no backend could answer: 502 classic, 503 managed [G 4.16, 8].
    #[must_use]
    pub const fn backend_failure_status(self) -> u16 {
        match self {
            Self::External => 502,
            Self::ExternalManaged | Self::InternalManaged => 503,
        }
    }
}

/// `protocol` towards members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1 in clear.
    Http,
    /// HTTP/1.1 over TLS, certificate not verified [G 6.4].
    Https,
    /// HTTP/2 over TLS, certificate not verified [G 6.4].
    Http2,
    /// HTTP/2 in clear.
    H2c,
    /// Bytes in clear, behind a target TCP or SSL proxy.
    Tcp,
    /// Bytes over TLS, certificate not verified, behind a target TCP or SSL proxy.
    Ssl,
}

impl Protocol {
    /// As Google writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Http2 => "HTTP2",
            Self::H2c => "H2C",
            Self::Tcp => "TCP",
            Self::Ssl => "SSL",
        }
    }

    /// Whether requests are balanced; else connections.
    #[must_use]
    pub const fn is_http(self) -> bool {
        !matches!(self, Self::Tcp | Self::Ssl)
    }

    /// Whether members speak HTTP/2.
    #[must_use]
    pub const fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::H2c)
    }
}

/// `sessionAffinity`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Affinity {
    /// No session.
    None,
    /// Hash of client and proxy address.
    ClientIp,
    /// Our cookie. `ttl` zero: a session cookie; else 1 to 1,209,600 s [G 3.4].
    GeneratedCookie {
        /// `affinityCookieTtlSec`.
        ttl: Span,
    },
    /// A cookie whose value is hashed; made by us where the client has none [G 3.5].
    HttpCookie(Cookie),
    /// The value of this request header, lower-case.
    HeaderField(Arc<str>),
    /// A cookie that names its member and cannot be forged [G 3.6].
    StrongCookie(Cookie),
}

impl Affinity {
    /// As Google writes it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::ClientIp => "CLIENT_IP",
            Self::GeneratedCookie { .. } => "GENERATED_COOKIE",
            Self::HttpCookie(_) => "HTTP_COOKIE",
            Self::HeaderField(_) => "HEADER_FIELD",
            Self::StrongCookie(_) => "STRONG_COOKIE_AFFINITY",
        }
    }
}

/// A cookie of the user's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// `name`.
    pub name: Arc<str>,
    /// `path`. Default `/`.
    pub path: Arc<str>,
    /// `ttl`; zero = a session cookie.
    pub ttl: Span,
}

/// A group inside a service, with its target.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// The group.
    pub group: Arc<Group>,
    /// Mode and targets.
    pub mode: Mode,
    /// `capacityScaler`.
    pub scaler: Scaler,
    /// `preference`.
    pub preference: Preference,
    /// The group's members as this service sees them: with the port behind its named port.
    pub members: Vec<Member>,
}

/// An instance group or a network endpoint group: where members stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// `name`; unique in its zone and kind.
    pub name: Arc<str>,
    /// Which collection it is of.
    pub kind: GroupKind,
    /// `networkEndpointType`; VM_IP_PORT for instance groups.
    pub endpoint_type: EndpointType,
    /// `zone`.
    pub zone: Arc<str>,
    /// The zone's region.
    pub region: RegionId,
    /// Where members' utilization comes from; `None` for groups that no UTILIZATION backend uses and that set none.
    pub utilization: UtilizationSource,
}

/// Kind of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupKind {
    /// `instanceGroups`.
    InstanceGroup,
    /// `networkEndpointGroups` of type GCE_VM_IP_PORT.
    NetworkEndpointGroup,
}

impl GroupKind {
    /// The collection's name in the API.
    #[must_use]
    pub const fn collection(self) -> &'static str {
        match self {
            Self::InstanceGroup => "instanceGroups",
            Self::NetworkEndpointGroup => "networkEndpointGroups",
        }
    }
}

/// `networkEndpointType` [G 1c].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EndpointType {
    /// GCE_VM_IP_PORT, and the members of instance groups.
    #[default]
    VmIpPort,
    /// NON_GCP_PRIVATE_IP_PORT: the same rules, elsewhere.
    NonGcpPrivateIpPort,
    /// INTERNET_IP_PORT: no mode, no scaler, no health check [G 1.5, 4.11].
    InternetIpPort,
    /// INTERNET_FQDN_PORT: the same, found by name.
    InternetFqdnPort,
}

impl EndpointType {
    /// As Google writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VmIpPort => "GCE_VM_IP_PORT",
            Self::NonGcpPrivateIpPort => "NON_GCP_PRIVATE_IP_PORT",
            Self::InternetIpPort => "INTERNET_IP_PORT",
            Self::InternetFqdnPort => "INTERNET_FQDN_PORT",
        }
    }

    /// Whether it stands in the internet: not probed, not limited.
    #[must_use]
    pub const fn is_internet(self) -> bool {
        matches!(self, Self::InternetIpPort | Self::InternetFqdnPort)
    }
}

/// One `ip:port` that serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// Instance name, or `ip:port` where an endpoint has none.
    pub name: Arc<str>,
    /// Where requests go; for an endpoint with a `host`, the unspecified address (0.0.0.0) and its port.
    pub address: SocketAddr,
    /// `fqdn` of an INTERNET_FQDN_PORT endpoint: resolved while the process runs.
    pub host: Option<Arc<str>>,
}

impl Member {
    /// Where it is, for people: `ip:port`, or `host:port`.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}:{}", self.address.port()),
            None => self.address.to_string(),
        }
    }
}

/// **Ours**: where a member's utilization comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum UtilizationSource {
    /// Reports in `endpoint-load-metrics` response headers [G 1.41–1.45].
    OrcaHeader,
    /// A polled endpoint that answers such a report.
    Http {
        /// Port to poll; `None` = the serving port.
        port: Option<u16>,
        /// Path to poll. Default `/load`.
        path: Arc<str>,
        /// From poll to poll. Default 1 s.
        interval: Span,
    },
    /// A polled page in Prometheus' text format.
    Prometheus {
        /// Port to poll; `None` = the serving port. A node exporter's is 9100.
        port: Option<u16>,
        /// Path to poll. Default `/metrics`.
        path: Arc<str>,
        /// A gauge whose 1 is full, the mean where it has several series; `None` = busy CPU of the machine, as a node
        /// exporter counts it in `node_cpu_seconds_total`: all modes but idle.
        metric: Option<Arc<str>>,
        /// From poll to poll. Default 1 s.
        interval: Span,
    },
    /// CPU of the process on this host that listens on the member's port.
    LocalProcess {
        /// How many busy cores count as utilization 1. Default 1.
        cores: f64,
        /// From reading to reading. Default 1 s.
        interval: Span,
    },
}
