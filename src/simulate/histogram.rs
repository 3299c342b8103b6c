//! Latencies in buckets that each are 1.5 % wide: quantiles are right to one percent, sums of parts too.

/// Lower end of the first bucket, in seconds.
const LEAST: f64 = 1e-5;
/// Each bucket ends so many times above its beginning.
const STEP: f64 = 1.015;
/// The last bucket begins at about 1000 s.
const BUCKETS: usize = 1240;

/// Weights by latency. Empty until something is added.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    buckets: Vec<f64>,
    total: f64,
}

impl Histogram {
    /// Adds `weight` requests that took so many seconds.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn add(&mut self, seconds: f64, weight: f64) {
        if self.buckets.is_empty() {
            self.buckets.resize(BUCKETS, 0.0);
        }
        let index = ((seconds / LEAST).max(1.0).ln() / STEP.ln()) as usize;
        if let Some(bucket) = self.buckets.get_mut(index.min(BUCKETS - 1)) {
            *bucket += weight;
        }
        self.total += weight;
    }

    /// Adds another one, brought to `weight` requests in all.
    pub(super) fn merge(&mut self, other: &Self, weight: f64) {
        if other.total <= 0.0 || weight <= 0.0 {
            return;
        }
        self.buckets.resize(BUCKETS, 0.0);
        let factor = weight / other.total;
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += more * factor;
        }
        self.total += weight;
    }

    /// So large a part took at most so many seconds; NaN when empty.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn quantile(&self, part: f64) -> f64 {
        if self.total <= 0.0 {
            return f64::NAN;
        }
        let mut sum = 0.0;
        let found = self.buckets.iter().position(|bucket| {
            sum += bucket;
            sum >= part * self.total
        });
        LEAST * STEP.powf(found.unwrap_or(BUCKETS - 1) as f64 + 0.5)
    }

    /// Empties it; keeps its memory.
    pub(super) fn clear(&mut self) {
        self.buckets.fill(0.0);
        self.total = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_one_percent() {
        let mut histogram = Histogram::default();
        for n in 1..=1000_u32 {
            histogram.add(f64::from(n) / 1000.0, 1.0);
        }
        assert!((histogram.quantile(0.5) / 0.5 - 1.0).abs() < 0.01);
        assert!((histogram.quantile(0.99) / 0.99 - 1.0).abs() < 0.01);
        let mut sum = Histogram::default();
        sum.add(5.0, 10.0);
        sum.merge(&histogram, 990.0);
        assert!((sum.quantile(0.995) / 5.0 - 1.0).abs() < 0.01 && (sum.total - 1000.0).abs() < 1e-6);
        sum.clear();
        assert!(sum.quantile(0.5).is_nan());
    }
}
