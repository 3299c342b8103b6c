//! How a service spreads its requests, and what it does when members or capacity run out.

use std::sync::Arc;

use super::unit::{Ratio, Span};

/// Everything about a service that is not a backend, a session or a probe. The default is what a service without any
/// such setting does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policies {
    /// Which backends: `serviceLbPolicy`.
    pub distribution: Distribution,
    /// Which member of a backend: `localityLbPolicy`.
    pub locality: Locality,
    /// `customMetrics` of the service: named metrics that WEIGHTED_ROUND_ROBIN falls back on, in order [G 1.36, 1.45].
    pub weight_metrics: Vec<Arc<str>>,
    /// **Ours**, `slowStartSec`: how long a recovered member takes to its full share; zero = at once.
    pub slow_start: Span,
    /// `outlierDetection`; `None` = off [G 2.20].
    pub outlier_detection: Option<OutlierDetection>,
    /// `circuitBreakers`.
    pub circuit_breakers: CircuitBreakers,
    /// **Ours**, `overload`.
    pub overload: Overload,
    /// **Ours**, `failOpen`: without any healthy member, all are tried.
    pub fails_open: bool,
}

/// Which backends get a request [G 2b].
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// `loadBalancingAlgorithm`.
    pub algorithm: Algorithm,
    /// `autoCapacityDrain.enable` [G 2.13].
    pub drains_automatically: bool,
    /// `failoverConfig.failoverHealthThreshold`, 0.01 to 0.99: below this share of healthy members requests go on to
    /// other backends [G 2.14]. 0.7, classic 0.5.
    pub failover_threshold: Ratio,
    /// `isolationConfig`, always with granularity REGION [G 2.15].
    pub isolation: Option<Isolation>,
}

impl Distribution {
    /// `failoverHealthThreshold` when nothing is said [G 2b].
    pub const FAILOVER_THRESHOLD: f64 = 0.7;
    /// The same for the classic balancer.
    pub const FAILOVER_THRESHOLD_CLASSIC: f64 = 0.5;
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::WaterfallByRegion,
            drains_automatically: false,
            failover_threshold: Ratio::new(Self::FAILOVER_THRESHOLD),
            isolation: None,
        }
    }
}

/// `loadBalancingAlgorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// Nearest region with capacity; inside it, groups by capacity.
    #[default]
    WaterfallByRegion,
    /// The same without a leaning to the proxy's own zone, which one proxy alone does not have anyway.
    SprayToRegion,
    /// Nearest region, and in it the nearest zone first.
    WaterfallByZone,
    /// All backends worldwide by capacity.
    SprayToWorld,
}

impl Algorithm {
    /// As Google writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaterfallByRegion => "WATERFALL_BY_REGION",
            Self::SprayToRegion => "SPRAY_TO_REGION",
            Self::WaterfallByZone => "WATERFALL_BY_ZONE",
            Self::SprayToWorld => "SPRAY_TO_WORLD",
        }
    }
}

/// `isolationMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// The nearest region that has usable backends, and no other, however full it is.
    Nearest,
    /// The client's own region, or none.
    Strict,
}

/// `localityLbPolicy` [G 2c].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Locality {
    /// Members in turn; the default without affinity.
    #[default]
    RoundRobin,
    /// Of two random members the one with fewer requests in flight.
    LeastRequest,
    /// A random member.
    Random,
    /// Consistent hashing on a ring of at least so many places. Default 1024.
    RingHash {
        /// `consistentHash.minimumRingSize`.
        minimum_size: u32,
    },
    /// Consistent hashing by a lookup table; the default with affinity.
    Maglev,
    /// In turn, by weights from ORCA reports [G 1.45].
    WeightedRoundRobin,
    /// **Ours**: hot and cold members by requests in flight and latency, as published at NSDI 2024.
    Prequal,
}

impl Locality {
    /// As Google writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "ROUND_ROBIN",
            Self::LeastRequest => "LEAST_REQUEST",
            Self::Random => "RANDOM",
            Self::RingHash { .. } => "RING_HASH",
            Self::Maglev => "MAGLEV",
            Self::WeightedRoundRobin => "WEIGHTED_ROUND_ROBIN",
            Self::Prequal => "PREQUAL",
        }
    }
}

/// `outlierDetection` [G 2e]. Percentages are of 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutlierDetection {
    /// `consecutiveErrors`: 5xx in a row. Default 5.
    pub consecutive_errors: u32,
    /// `consecutiveGatewayFailure`: 502, 503, 504 or no answer in a row. Default 3.
    pub consecutive_gateway_failure: u32,
    /// `interval` between two looks at success rates. Default 1 s.
    pub interval: Span,
    /// `baseEjectionTime`, times the number of ejections so far. Default 30 s.
    pub base_ejection_time: Span,
    /// `maxEjectionPercent` of all members of the service. Default 50.
    pub max_ejection_percent: u32,
    /// `enforcingConsecutiveErrors`. Default 0.
    pub enforcing_consecutive_errors: u32,
    /// `enforcingConsecutiveGatewayFailure`. Default 100.
    pub enforcing_consecutive_gateway_failure: u32,
    /// `enforcingSuccessRate`. Default 100.
    pub enforcing_success_rate: u32,
    /// `successRateMinimumHosts` with enough requests. Default 5.
    pub success_rate_minimum_hosts: u32,
    /// `successRateRequestVolume`: enough requests in an interval. Default 100.
    pub success_rate_request_volume: u32,
    /// `successRateStdevFactor`, in thousandths. Default 1900.
    pub success_rate_stdev_factor: u32,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_errors: 5,
            consecutive_gateway_failure: 3,
            interval: Span::secs(1),
            base_ejection_time: Span::secs(30),
            max_ejection_percent: 50,
            enforcing_consecutive_errors: 0,
            enforcing_consecutive_gateway_failure: 100,
            enforcing_success_rate: 100,
            success_rate_minimum_hosts: 5,
            success_rate_request_volume: 100,
            success_rate_stdev_factor: 1900,
        }
    }
}

/// `circuitBreakers` [G 2e]; `None` = unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CircuitBreakers {
    /// `maxConnections` to all members of the service.
    pub max_connections: Option<u32>,
    /// `maxPendingRequests` that wait for a connection.
    pub max_pending_requests: Option<u32>,
    /// `maxRequests` in flight.
    pub max_requests: Option<u32>,
    /// `maxRequestsPerConnection`; 1 disables keep-alive.
    pub max_requests_per_connection: Option<u32>,
    /// `maxRetries` in flight.
    pub max_retries: Option<u32>,
}

/// What happens when every backend is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overload {
    /// All are filled above their targets in proportion, as Google has it [G 2.6].
    #[default]
    Overfill,
    /// **Ours**: 503 with `Retry-After`.
    Reject,
}
