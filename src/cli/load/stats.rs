//! What a load saw, added up.

use std::collections::BTreeMap;
use std::time::Duration;

/// Counts since the start of a load, or between two looks at it ([`Stats::since`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that were due.
    pub sent: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers by `x-backend`; those without it under an empty name.
    pub backends: BTreeMap<String, u64>,
    /// Requests without a whole answer, by what went wrong.
    pub errors: BTreeMap<&'static str, u64>,
    /// How long answers took, counted from when the request was due: waiting for a slow server is part of it.
    pub latencies: Latencies,
}

impl Stats {
    /// Answers, whatever their status.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Requests that failed: no whole answer, or a 5xx.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum::<u64>() + self.statuses.range(500..).map(|(_, n)| n).sum::<u64>()
    }

    /// Answers from this backend.
    #[must_use]
    pub fn backend(&self, name: &str) -> u64 {
        self.backends.get(name).copied().unwrap_or(0)
    }

    /// What came after `earlier`, a look at the same load.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(earlier.sent),
            statuses: less(&self.statuses, &earlier.statuses),
            backends: less(&self.backends, &earlier.backends),
            errors: less(&self.errors, &earlier.errors),
            latencies: self.latencies.since(&earlier.latencies),
        }
    }
}

fn less<K: Ord + Clone>(all: &BTreeMap<K, u64>, earlier: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    all.iter()
        .map(|(key, n)| (key.clone(), n.saturating_sub(earlier.get(key).copied().unwrap_or(0))))
        .filter(|(_, n)| *n > 0)
        .collect()
}

/// A histogram from 1 µs to 100 s in steps of 5 %.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Grown on demand; index = steps above 1 µs.
    counts: Vec<u64>,
}

const STEP: f64 = 1.05;
/// 1 µs × 1.05^378 is 100 s.
const LAST: usize = 378;

impl Latencies {
    /// Adds one.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn add(&mut self, latency: Duration) {
        let micros = (latency.as_secs_f64() * 1e6).max(1.0);
        let place = ((micros.ln() / STEP.ln()).round() as usize).min(LAST);
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
    }

    /// The latency that the share `q` (0 to 1) of requests did not exceed, within 5 %; `None` when there were none.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let total: u64 = self.counts.iter().sum();
        let rank = ((total as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        let place = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_secs_f64(STEP.powi(i32::try_from(place).unwrap_or(0)) / 1e6))
    }

    fn since(&self, earlier: &Self) -> Self {
        let before = earlier.counts.iter().copied().chain(std::iter::repeat(0));
        Self { counts: self.counts.iter().zip(before).map(|(now, then)| now.saturating_sub(then)).collect() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_a_step() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        let within =
            |q: f64, ms: f64| (latencies.quantile(q).unwrap().as_secs_f64() * 1e3 / ms - 1.0).abs() < 0.03;
        assert!(within(0.5, 500.0) && within(0.99, 990.0) && within(0.0, 1.0) && within(1.0, 1000.0));
        assert_eq!(Latencies::default().quantile(0.5), None);
    }

    #[test]
    fn the_difference_of_two_looks_is_what_came_between() {
        let mut stats = Stats::default();
        stats.statuses.insert(200, 3);
        stats.latencies.add(Duration::from_millis(1));
        let earlier = stats.clone();
        stats.statuses.insert(200, 5);
        stats.statuses.insert(503, 1);
        stats.errors.insert("reset", 1);
        stats.latencies.add(Duration::from_millis(100));
        let between = stats.since(&earlier);
        assert_eq!(between.statuses, BTreeMap::from([(200, 2), (503, 1)]));
        assert_eq!((between.answered(), between.failed()), (3, 2));
        assert!(between.latencies.quantile(0.5).unwrap() > Duration::from_millis(90));
    }
}
