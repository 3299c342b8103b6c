//! What a backend is filled up to: mode, targets and scaler, so typed that a forbidden combination cannot be written.
//!
//! Rules: [G 1.1–1.20] and table 1c. `resolve` is the only maker; what it lets through is right.

use super::unit::{PerSecond, Ratio};

/// How a backend's fullness is judged (`balancingMode` with its targets).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// `RATE`: full when the rate target is reached.
    Rate(RateTarget),
    /// `UTILIZATION`: full when the mean utilization of the members reaches `max` × scaler, or, where a rate is
    /// given too, when that is reached first [G 1.15].
    Utilization {
        /// `maxUtilization`, 0 to 1; 0.8 when the file has none.
        max: Ratio,
        /// `maxRate` or `maxRatePerInstance`, if given beside it.
        rate: Option<RateTarget>,
    },
}

/// A target in requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RateTarget {
    /// `maxRate`: the whole group, whatever its size.
    Group(PerSecond),
    /// `maxRatePerInstance` or `maxRatePerEndpoint`: times **all** members, healthy or not [G 1.20].
    PerMember(PerSecond),
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
