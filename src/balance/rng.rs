//! A small seeded generator (splitmix64): the same seed, the same numbers, on every machine. Not for secrets.

use super::hash::{GOLDEN, mix};

/// State of the generator. Callers own one each; the seed comes from outside.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Any seed will do.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0, 0)
    }

    /// Even over [0, 1).
    #[allow(clippy::cast_precision_loss)]
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Even over [0, n); 0 for n = 0.
    #[allow(clippy::cast_possible_truncation)]
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// Exponential with mean 1: the time between arrivals that know nothing of each other.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Normal with mean 0 and variance 1.
    pub fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_they_spread() {
        let (mut a, mut b) = (Rng::new(7), Rng::new(7));
        let draws: Vec<f64> = (0..10_000).map(|_| a.unit()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw) && draw.to_bits() == b.unit().to_bits()));
        assert!((draws.iter().sum::<f64>() / 10_000.0 - 0.5).abs() < 0.02);
        let mean = (0..10_000).map(|_| a.exponential()).sum::<f64>() / 10_000.0;
        assert!((mean - 1.0).abs() < 0.05);
        assert!((0..1000).all(|_| a.below(3) < 3) && a.below(0) == 0);
    }
}
