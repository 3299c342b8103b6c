//! What a backend is filled up to: mode, targets and scaler, so typed that a forbidden combination cannot be written.
//!
//! Rules: [G 1.1–1.20] and table 1c. `resolve` is the only maker; what it lets through is right.

use std::sync::Arc;

use super::unit::{PerSecond, Ratio};

/// How a backend's fullness is judged (`balancingMode` with its targets).
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// `RATE`: full when the rate target is reached.
    Rate(RateTarget),
    /// `UTILIZATION`: full when the mean utilization of the members reaches `max` × scaler, or, where another target
    /// is given too, when that is reached first [G 1.15].
    Utilization {
        /// `maxUtilization`, 0 to 1; 0.8 when the file has none.
        max: Ratio,
        /// The other target.
        beside: Beside,
    },
    /// `CUSTOM_METRICS`: full when the mean of one metric over the members reaches its own maximum × scaler, or the
    /// rate target [G 1.17, 1.35–1.40].
    CustomMetrics {
        /// One or two, at least one not on a dry run.
        metrics: Arc<[CustomMetric]>,
        /// `maxRate` or a rate per member, if given beside them.
        rate: Option<RateTarget>,
    },
    /// `IN_FLIGHT`: full when so many requests are under way.
    InFlight(CountTarget),
    /// `CONNECTION`, of TCP and SSL services: full when so many connections are open.
    Connection(CountTarget),
    /// Internet endpoints have no mode, no target and no scaler [G 1.5]: never full.
    Unlimited,
}

/// A second target of UTILIZATION [G 1.16].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Beside {
    /// None.
    Nothing,
    /// `maxRate*`, with trafficDuration SHORT.
    Rate(RateTarget),
    /// `maxInFlightRequests*`, with trafficDuration LONG.
    InFlight(CountTarget),
    /// `maxConnections*`, in TCP and SSL services.
    Connections(CountTarget),
}

/// A target in requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RateTarget {
    /// `maxRate`: the whole group, whatever its size.
    Group(PerSecond),
    /// `maxRatePerInstance` or `maxRatePerEndpoint`: times **all** members, healthy or not [G 1.20].
    PerMember(PerSecond),
}

/// A target in things at a time: requests in flight or open connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountTarget {
    /// The whole group, whatever its size.
    Group(u32),
    /// Times **all** members, healthy or not [G 1.20].
    PerMember(u32),
}

/// A metric that members report by ORCA [G 1.35–1.39].
#[derive(Debug, Clone, PartialEq)]
pub struct CustomMetric {
    /// As in the file: `orca.cpu_utilization`, `orca.named_metrics.queue`, or the bare name of a named metric.
    pub name: Arc<str>,
    /// `maxUtilization`, 0 to 1. Default 0.8.
    pub max: Ratio,
    /// Shown in metrics, not used for balancing [G 1.38].
    pub is_dry_run: bool,
}

impl Mode {
    /// As Google writes it; Google has no word for the last one.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Rate(_) => "RATE",
            Self::Utilization { .. } => "UTILIZATION",
            Self::CustomMetrics { .. } => "CUSTOM_METRICS",
            Self::InFlight(_) => "IN_FLIGHT",
            Self::Connection(_) => "CONNECTION",
            Self::Unlimited => "NONE",
        }
    }

    /// The rate target, alone or beside another.
    #[must_use]
    pub const fn rate(&self) -> Option<RateTarget> {
        match self {
            Self::Rate(rate) | Self::Utilization { beside: Beside::Rate(rate), .. } => Some(*rate),
            Self::CustomMetrics { rate, .. } => *rate,
            _ => None,
        }
    }

    /// The target in requests or connections at a time, alone or beside another.
    #[must_use]
    pub const fn count(&self) -> Option<CountTarget> {
        match self {
            Self::InFlight(count)
            | Self::Connection(count)
            | Self::Utilization { beside: Beside::InFlight(count) | Beside::Connections(count), .. } => {
                Some(*count)
            }
            _ => None,
        }
    }

    /// In CUSTOM_METRICS the metrics, in the order of the file; else none.
    #[must_use]
    pub fn metrics(&self) -> &[CustomMetric] {
        match self {
            Self::CustomMetrics { metrics, .. } => metrics,
            _ => &[],
        }
    }

    /// Whether members' reports decide about its fullness.
    #[must_use]
    pub const fn is_reported(&self) -> bool {
        matches!(self, Self::Utilization { .. } | Self::CustomMetrics { .. })
    }
}

/// `capacityScaler`: 0 (drained) or 0.1 to 1 [G 1.1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaler(f64);

impl Scaler {
    /// The default.
    pub const FULL: Self = Self(1.0);

    /// `None` unless 0 or in [0.1, 1] [G 1.1].
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        (value == 0.0 || (0.1..=1.0).contains(&value)).then_some(Self(value))
    }

    /// The bare factor.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// No new requests; running ones end by themselves [G 1.4].
    #[must_use]
    pub fn is_drained(self) -> bool {
        self.0 <= 0.0
    }
}

/// `preference`: PREFERRED backends are filled before DEFAULT ones [G 2.16].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Preference {
    /// Filled first.
    Preferred,
    /// The rest.
    #[default]
    Default,
}
