//! Distributions of times: draws of them, and the same in pieces.

use super::scenario::Spread;
use crate::balance::rng::Rng;

impl Spread {
    /// One draw, with mean 1.
    pub(super) fn draw(self, rng: &mut Rng) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Exponential => rng.exponential(),
            Self::Lognormal(sigma) => (sigma * rng.normal() - sigma * sigma / 2.0).exp(),
        }
    }

    /// Squared coefficient of variation.
    pub(super) fn scatter(self) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Exponential => 1.0,
            Self::Lognormal(sigma) => (sigma * sigma).exp() - 1.0,
        }
    }

    /// The distribution in pieces that end at `ends`: (part, value in its middle).
    pub(super) fn strata(self, ends: &[f64]) -> impl Iterator<Item = (f64, f64)> {
        ends.iter().zip(ends.iter().skip(1)).map(move |(from, to)| {
            let middle = f64::midpoint(*from, *to);
            let value = match self {
                Self::Constant => 1.0,
                Self::Exponential => -(1.0 - middle).ln(),
                Self::Lognormal(sigma) => (sigma * normal_quantile(middle) - sigma * sigma / 2.0).exp(),
            };
            (to - from, value)
        })
    }
}

/// Pieces of service times; narrow ones around the median and the 99th percentile, which are looked at.
pub(super) const FINE: [f64; 34] = [
    0.0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24, 0.28, 0.32, 0.36, 0.39, 0.42, 0.45, 0.47, 0.49, 0.51, 0.53, 0.55,
    0.58, 0.61, 0.64, 0.68, 0.72, 0.76, 0.8, 0.84, 0.88, 0.92, 0.95, 0.97, 0.982, 0.988, 0.992, 1.0,
];

/// Pieces of waiting times.
pub(super) const COARSE: [f64; 10] = [0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.88, 0.96, 0.99, 1.0];

/// Inverse of the normal distribution, to 0.5 %: Abramowitz and Stegun 26.2.23.
fn normal_quantile(part: f64) -> f64 {
    let tail = part.min(1.0 - part);
    let t = (-2.0 * tail.ln()).sqrt();
    let above = t
        - (2.515_517 + 0.802_853 * t + 0.010_328 * t * t)
            / (1.0 + 1.432_788 * t + 0.189_269 * t * t + 0.001_308 * t * t * t);
    if part < 0.5 { -above } else { above }
}
