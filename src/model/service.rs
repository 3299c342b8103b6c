//! Services, backends and members as validated, resolved values.

use std::net::SocketAddr;
use std::sync::Arc;

use super::place::RegionId;
use super::probe::HealthCheck;
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
    /// The one health check [G 4.11].
    pub health_check: Arc<HealthCheck>,
    /// `sessionAffinity`.
    pub affinity: Affinity,
    /// `connectionDraining.drainingTimeoutSec`, 0 to 3600 s; 0 = off.
    pub draining_timeout: Span,
    /// `logConfig`: the share of requests that the access log keeps, 0 to 1; 1 without a `logConfig`, 0 when `enable: false`.
    pub log_sample: Ratio,
    /// Backends in the order of the file.
    pub backends: Vec<Backend>,
    /// Whether a forwarding rule leads here; if not, it is not probed [G 4.15].
    pub is_reachable: bool,
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
}

/// `sessionAffinity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    /// Members in turn.
    None,
    /// Hash of client and proxy address.
    ClientIp,
    /// Our cookie. `ttl` zero: a session cookie; else 1 to 1,209,600 s [G 3.4].
    GeneratedCookie {
        /// `affinityCookieTtlSec`.
        ttl: Span,
    },
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

/// One `ip:port` that serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// Instance name, or `ip:port` where an endpoint has none.
    pub name: Arc<str>,
    /// Where requests go.
    pub address: SocketAddr,
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
    /// CPU of the process on this host that listens on the member's port.
    LocalProcess {
        /// How many busy cores count as utilization 1. Default 1.
        cores: f64,
        /// From reading to reading. Default 1 s.
        interval: Span,
    },
}
