//! The validated configuration: proof that the document is right. Immutable; the world is built from it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::admin::AdminAccess;
use super::place::{Places, RegionId};
use super::problem::Problem;
use super::route::UrlMap;
use super::service::Service;
use super::tls::Termination;
use super::unit::Span;

/// Where the admin listener is when nothing is said.
pub const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);

/// Everything that a file says, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// `proxy:`.
    pub proxy: ProxySettings,
    /// Regions by number, distances, and where clients come from.
    pub places: Places,
    /// One per forwarding rule.
    pub fronts: Vec<Front>,
    /// All services, reachable or not. A [`ServiceId`] indexes this.
    pub services: Vec<Arc<Service>>,
    /// Legal and likely wrong; shown by `check` and at start.
    pub warnings: Vec<Problem>,
    /// SipHash of the source text and the files that it names: equal texts, equal number. Shown in `/status` and
    /// metrics as 16 hex digits.
    pub fingerprint: u64,
}

/// Index into [`Config::services`] and into the world's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u32);

impl ServiceId {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A forwarding rule with the proxy behind it.
#[derive(Debug, Clone)]
pub struct Front {
    /// Name of the forwarding rule.
    pub name: Arc<str>,
    /// `IPAddress:portRange`; port 0 asks the system for one (**ours**, for tests).
    pub address: SocketAddr,
    /// Name of the target proxy.
    pub proxy_name: Arc<str>,
    /// What the proxy does with a connection.
    pub kind: FrontKind,
    /// **Ours**, `proxyProtocol.from`: connections come from these addresses alone, and begin with a header of the PROXY
    /// protocol; `None` = they come from anywhere, and do not.
    pub proxy_protocol: Option<Arc<[Cidr]>>,
}

/// Kinds of target proxies.
#[derive(Debug, Clone)]
pub enum FrontKind {
    /// `targetHttpProxies`.
    Http(HttpFront),
    /// `targetHttpsProxies`.
    Https(HttpsFront),
    /// `targetTcpProxies`.
    Tcp(TcpFront),
    /// `targetSslProxies`.
    Ssl(SslFront),
}

/// What HTTP and HTTPS proxies have in common.
#[derive(Debug, Clone)]
pub struct HttpFront {
    /// `httpKeepAliveTimeoutSec`, 5 to 1200 s. Default 610 s [G 5].
    pub keep_alive: Span,
    /// The compiled URL map.
    pub url_map: Arc<UrlMap>,
}

/// `targetHttpsProxies`: HTTP behind TLS.
#[derive(Debug, Clone)]
pub struct HttpsFront {
    /// What becomes of the requests inside.
    pub http: HttpFront,
    /// What is agreed on with clients.
    pub tls: Arc<Termination>,
    /// `quicOverride: ENABLE`: HTTP/3 is spoken on the same port of UDP, and the other answers say so.
    pub has_http3: bool,
}

/// `targetTcpProxies`: bytes to one service.
#[derive(Debug, Clone, Copy)]
pub struct TcpFront {
    /// `service`.
    pub service: ServiceId,
    /// `proxyHeader: PROXY_V1`: members first get a line that names the client.
    pub has_proxy_header: bool,
}

/// `targetSslProxies`: the same behind TLS.
#[derive(Debug, Clone)]
pub struct SslFront {
    /// What becomes of the bytes inside.
    pub relay: TcpFront,
    /// What is agreed on with clients.
    pub tls: Arc<Termination>,
}

impl Front {
    /// What kind of proxy it is, for people.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match &self.kind {
            FrontKind::Http(_) => "HTTP proxy",
            FrontKind::Https(_) => "HTTPS proxy",
            FrontKind::Tcp(_) => "TCP proxy",
            FrontKind::Ssl(_) => "SSL proxy",
        }
    }

    /// What a URL to it begins with, before `://`.
    #[must_use]
    pub const fn url_scheme(&self) -> &'static str {
        match &self.kind {
            FrontKind::Http(_) => "http",
            FrontKind::Https(_) => "https",
            FrontKind::Tcp(_) => "tcp",
            FrontKind::Ssl(_) => "ssl",
        }
    }

    /// What becomes of bytes, if it is no HTTP proxy.
    #[must_use]
    pub const fn relay(&self) -> Option<TcpFront> {
        match &self.kind {
            FrontKind::Http(_) | FrontKind::Https(_) => None,
            FrontKind::Tcp(front) | FrontKind::Ssl(SslFront { relay: front, .. }) => Some(*front),
        }
    }

    /// What an HTTPS or SSL proxy agrees on with its clients.
    #[must_use]
    pub const fn tls(&self) -> Option<&Arc<Termination>> {
        match &self.kind {
            FrontKind::Https(HttpsFront { tls, .. }) | FrontKind::Ssl(SslFront { tls, .. }) => Some(tls),
            FrontKind::Http(_) | FrontKind::Tcp(_) => None,
        }
    }

    /// Whether HTTP/3 is spoken.
    #[must_use]
    pub const fn has_http3(&self) -> bool {
        matches!(&self.kind, FrontKind::Https(HttpsFront { has_http3: true, .. }))
    }

    /// What an HTTP or HTTPS proxy does with requests, if it is one.
    #[must_use]
    pub const fn http(&self) -> Option<&HttpFront> {
        match &self.kind {
            FrontKind::Http(front) | FrontKind::Https(HttpsFront { http: front, .. }) => Some(front),
            FrontKind::Tcp(_) | FrontKind::Ssl(_) => None,
        }
    }
}

/// `proxy:` (ours).
#[derive(Debug, Clone, PartialEq)]
pub struct ProxySettings {
    /// Zone where this proxy stands.
    pub zone: Arc<str>,
    /// Its region.
    pub region: RegionId,
    /// Data-plane threads; `None` = one per core.
    pub workers: Option<usize>,
    /// Admin listener. Default `127.0.0.1:9901`; `None` = `admin: none`.
    pub admin: Option<SocketAddr>,
    /// Who may use it.
    pub admin_access: AdminAccess,
    /// Where request lines go.
    pub access_log: AccessLogTarget,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// What strong cookies are signed with.
    pub session_key: SessionKey,
    /// What the process may take up.
    pub limits: ProcessLimits,
}

/// Limits of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// `maxConnections`: client connections at a time; `None` = what the file descriptors suffice for.
    pub max_connections: Option<u32>,
    /// `maxConnectionsPerAddress`; `None` = not limited.
    pub max_connections_per_address: Option<u32>,
    /// `minBodyRate`: bytes per second of a request's body, below which its client is too slow; 0 = not limited.
    /// Default 500.
    pub min_body_rate: u32,
    /// `upgradeTimeoutSec`: how long a new binary may take to be ready, 1 s to 1 h. Default 60 s.
    pub upgrade_timeout: Span,
    /// `retryBudgetPercent`: retries under way of a service, of its requests under way, 0 to 100. Default 20.
    pub retry_budget: u8,
    /// `maxBufferedMiB`, in bytes: answers that wait for slow clients. Default 256 MiB.
    pub max_buffered: u64,
    /// `http2`.
    pub http2: Http2Limits,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            max_connections: None,
            max_connections_per_address: None,
            min_body_rate: 500,
            upgrade_timeout: Span::secs(60),
            retry_budget: 20,
            max_buffered: 256 << 20,
            http2: Http2Limits::default(),
        }
    }
}

/// What one client connection of HTTP/2 may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Limits {
    /// `maxConcurrentStreams`, 1 to 1000. Default 100.
    pub streams: u32,
    /// `maxRequestsPerSecond`, 1 to 10,000,000. Default 100,000.
    pub requests: u32,
    /// `maxResetsPerSecond`, RST_STREAM, 1 to 100,000. Default 50; four times as many at once.
    pub resets: u32,
    /// `maxPingsPerSecond`, 1 to 100,000. Default 1000, since clients of gRPC measure with them; ten times as many at once.
    pub pings: u32,
    /// `maxSettingsPerSecond`, 1 to 100,000. Default 10; ten times as many at once.
    pub settings: u32,
    /// `maxControlFramesPerSecond`, all other frames that carry nothing, 1 to 1,000,000. Default 1000; ten times as
    /// many at once.
    pub control: u32,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self { streams: 100, requests: 100_000, resets: 50, pings: 1000, settings: 10, control: 1000 }
    }
}

/// The secret behind STRONG_COOKIE_AFFINITY [G 3.6]. Proxies that share it share their sessions.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum SessionKey {
    /// Made when it is first needed, and kept in a file beside the configuration.
    #[default]
    Kept,
    /// `sessionKeyFile`: 64 hexadecimal digits; made if the file is not there.
    File(Arc<str>),
    /// `sessionKey`: 64 hexadecimal digits.
    Given([u8; 32]),
}

impl SessionKey {
    /// The file that holds the key, where `origin` is the configuration's: `lb.yaml` → `lb.yaml.session-key`. `None` for
    /// a key that is given.
    #[must_use]
    pub fn file(&self, origin: &Path) -> Option<PathBuf> {
        match self {
            Self::Given(_) => None,
            Self::File(path) => Some(PathBuf::from(&**path)),
            Self::Kept => {
                let mut path = origin.as_os_str().to_owned();
                path.push(".session-key");
                Some(path.into())
            }
        }
    }

    /// A key as [`Self::parse`] reads it.
    #[must_use]
    pub fn text(key: &[u8; 32]) -> String {
        key.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A key of 64 hexadecimal digits. All zeros are what an unset variable or a placeholder holds, and no secret.
    #[must_use]
    pub fn parse(text: &str) -> Option<[u8; 32]> {
        let mut key = [0; 32];
        if text.len() != 2 * key.len() {
            return None;
        }
        for (byte, pair) in key.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            *byte = u8::try_from(high? << 4 | low?).ok()?;
        }
        (key != [0; 32]).then_some(key)
    }
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kept => f.write_str("Kept"),
            Self::File(path) => write!(f, "File({path:?})"),
            Self::Given(_) => f.write_str("Given(secret)"),
        }
    }
}

/// `accessLog.path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// No access log; the default.
    None,
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(Arc<str>),
}

/// An address range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// First address; host bits are zero.
    pub network: IpAddr,
    /// Prefix length, 0 to 32 or 128.
    pub prefix: u8,
}

impl Cidr {
    /// Whether `address` lies inside. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (u32::from(net) ^ u32::from(ip)) & mask == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (u128::from(net) ^ u128::from(ip)) & mask == 0
            }
            _ => false,
        }
    }
}
