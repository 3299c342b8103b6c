//! A number that somebody reports now and then: the last value, when, how many so far and their sum.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::model::unit::{Ratio, Tick};

/// Written by whoever hears a report, read by the planner, which takes the mean between two looks.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Bits of the last value.
    value: AtomicU64,
    /// Tick of the last report; 0 = none yet.
    reported_at: AtomicU64,
    /// Reports heard.
    reports: AtomicU64,
    /// Sum of values since the start, in millionths.
    total_micros: AtomicU64,
}

/// A reading of the planner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reported {
    /// Last value.
    pub value: Ratio,
    /// When; `None` = never.
    pub at: Option<Tick>,
    /// How many so far.
    pub reports: u64,
    /// Sum of all values so far, in millionths.
    pub total_micros: u64,
}

impl Gauge {
    /// Records a report. Values are capped at 1000 (100,000 %).
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn observe(&self, value: Ratio, now: Tick) {
        let value = value.get().min(1000.0);
        self.value.store(value.to_bits(), Relaxed);
        self.total_micros.fetch_add((value * 1e6) as u64, Relaxed);
        self.reports.fetch_add(1, Relaxed);
        self.reported_at.store(now.0.max(1), Release);
    }

    /// A reading.
    #[must_use]
    pub fn read(&self) -> Reported {
        let at = self.reported_at.load(Acquire);
        Reported {
            value: Ratio::new(f64::from_bits(self.value.load(Relaxed))),
            at: (at != 0).then_some(Tick(at)),
            reports: self.reports.load(Relaxed),
            total_micros: self.total_micros.load(Relaxed),
        }
    }
}

/// A metric of one address that some backend of the world is filled by or shows [G 1.36, 1.38].
#[derive(Debug, Clone)]
pub struct Metric {
    /// As in the file.
    pub name: Arc<str>,
    /// What was reported under it.
    pub gauge: Arc<Gauge>,
}

/// Takes in a report: `value` finds a metric in it by name. Metrics that it does not have keep what they had.
pub fn observe(metrics: &[Metric], value: impl Fn(&str) -> Option<f64>, now: Tick) {
    for metric in metrics {
        if let Some(value) = value(&metric.name) {
            metric.gauge.observe(Ratio::new(value), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_that_a_report_lacks_keeps_what_it_had() {
        let named = |name: &str| Metric { name: name.into(), gauge: Arc::default() };
        let metrics = [named("queue"), named("heat")];
        observe(&metrics, |name| (name == "queue").then_some(0.25), Tick(5));
        observe(&metrics, |name| (name == "queue").then_some(0.75), Tick(6));
        let read = metrics[0].gauge.read();
        assert_eq!((read.value, read.at, read.reports), (Ratio::new(0.75), Some(Tick(6)), 2));
        assert_eq!(read.total_micros, 1_000_000);
        assert_eq!(metrics[1].gauge.read().at, None);
    }
}
