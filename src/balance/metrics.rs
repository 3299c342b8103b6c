//! CUSTOM_METRICS: several metrics become one load, so that one loop can hold it [G 1.17, 1.37].
//!
//! A backend is full when the mean of one metric over the healthy members reaches that metric's maximum × scaler. So
//! the load is the greatest of mean ÷ maximum over the metrics that are not on a dry run, and its target is the scaler.
//! Which metric leads is judged by means over about [`SMOOTH`]: if each look took the greatest of several noisy
//! numbers, noise would count as load. The members' reports of the leading metric, divided by its maximum, then go the
//! way that utilization goes.

use std::sync::Arc;

use super::plan::{MAX_METRICS, MemberSample, MetricFigures, ReportSample};
use super::reading::MAX_AGE;
use crate::model::target::CustomMetric;
use crate::model::unit::{Ratio, Span, Tick};

/// Time constant of the means.
const SMOOTH: Span = Span::secs(1);

/// A maximum counts as at least this: of one of 0, any load is more than all.
const LEAST_MAX: f64 = 0.001;

/// Makes one report of several. Owned by the planner, one per CUSTOM_METRICS backend; adopted over a reload.
#[derive(Debug, Clone)]
pub(super) struct Combiner {
    metrics: Arc<[CustomMetric]>,
    /// Mean over healthy members, smoothed; `None` = unknown.
    means: [Option<f64>; MAX_METRICS],
    /// Index of the metric that is nearest to its maximum.
    leading: usize,
    last: Option<Tick>,
    members: Vec<Member>,
    combined: Vec<MemberSample>,
}

/// What was seen of a member.
#[derive(Debug, Clone, Copy, Default)]
struct Member {
    metrics: [Option<ReportSample>; MAX_METRICS],
    combined: Option<ReportSample>,
}

impl Combiner {
    pub(super) fn new(metrics: Arc<[CustomMetric]>) -> Self {
        let leading = metrics.iter().position(|metric| !metric.is_dry_run).unwrap_or(0);
        Self {
            metrics,
            means: [None; MAX_METRICS],
            leading,
            last: None,
            members: Vec::new(),
            combined: Vec::new(),
        }
    }

    /// Whether what one has learned holds for the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.metrics == other.metrics
    }

    /// The members with one report for all metrics, in parts of the maximum. Members that changed places are read anew.
    pub(super) fn combine(&mut self, now: Tick, members: &[MemberSample]) -> &[MemberSample] {
        if self.members.len() != members.len() {
            self.members =
                members.iter().map(|one| Member { metrics: one.metrics, combined: None }).collect();
            self.last = None;
        }
        self.judge(now, members);
        self.last = Some(now);
        let max = self.maximum(self.leading);
        let leading = self.leading;
        self.combined.clear();
        for (seen, member) in self.members.iter_mut().zip(members) {
            let (before, new) = (seen.metrics.get(leading), member.metrics.get(leading));
            if let (Some(before), Some(Some(new))) = (before, new) {
                seen.combined = added(seen.combined, *before, *new, max);
            }
            seen.metrics = member.metrics;
            self.combined.push(MemberSample { report: seen.combined, ..*member });
        }
        &self.combined
    }

    /// For people, by metric; `scaler` is the target in parts of the maximum.
    pub(super) fn figures(&self, scaler: Ratio) -> [MetricFigures; MAX_METRICS] {
        let mut figures = [MetricFigures::UNKNOWN; MAX_METRICS];
        for (index, (figures, mean)) in figures.iter_mut().zip(self.means).enumerate() {
            if let Some(mean) = mean {
                let target = self.maximum(index) * scaler.get();
                let fullness = if target > 0.0 { mean / target } else { f64::NAN };
                *figures = MetricFigures { mean, fullness };
            }
        }
        figures
    }

    /// Brings the means up to date, and says which metric leads.
    fn judge(&mut self, now: Tick, members: &[MemberSample]) {
        let passed = self.last.map(|last| now.since(last).as_secs());
        for index in 0..self.metrics.len().min(MAX_METRICS) {
            let fresh = mean_of(index, now, &self.members, members);
            if let Some(mean) = self.means.get_mut(index) {
                *mean = match (*mean, fresh, passed) {
                    (Some(mean), Some(fresh), Some(passed)) => {
                        Some(mean + (fresh - mean) * passed / (passed + SMOOTH.as_secs()))
                    }
                    (_, fresh, _) => fresh,
                };
            }
        }
        let load = |index: usize| {
            let metric = self.metrics.get(index).filter(|metric| !metric.is_dry_run)?;
            let mean = self.means.get(index).copied().flatten()?;
            Some(mean / metric.max.get().max(LEAST_MAX))
        };
        for index in 0..self.metrics.len().min(MAX_METRICS) {
            if load(index) > load(self.leading) {
                self.leading = index;
            }
        }
    }

    fn maximum(&self, index: usize) -> f64 {
        self.metrics.get(index).map_or(1.0, |metric| metric.max.get()).max(LEAST_MAX)
    }
}

/// Mean of a metric over the healthy members whose report of it is fresh: of each the reports since the last look, or
/// the last one.
fn mean_of(index: usize, now: Tick, seen: &[Member], members: &[MemberSample]) -> Option<f64> {
    let of_member = |(seen, member): (&Member, &MemberSample)| {
        let report = member.metrics.get(index).copied().flatten()?;
        let before = seen.metrics.get(index).copied().flatten();
        let is_fresh = member.is_healthy && now.since(report.at) <= MAX_AGE;
        let (reports, total) = since(before, report);
        is_fresh.then(|| if reports > 0.0 { total / reports } else { report.utilization.get() })
    };
    let known = seen.iter().zip(members).filter_map(of_member);
    let (sum, count) = known.fold((0.0, 0.0), |(sum, count), one| (sum + one, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// Reports since `before` and their sum. A report after none counts alone: what is older is not of this time.
#[allow(clippy::cast_precision_loss)]
fn since(before: Option<ReportSample>, report: ReportSample) -> (f64, f64) {
    match before {
        Some(before) if report.reports >= before.reports && report.total_micros >= before.total_micros => {
            let total = (report.total_micros - before.total_micros) as f64 / 1e6;
            ((report.reports - before.reports) as f64, total)
        }
        _ => (1.0, report.utilization.get()),
    }
}

/// `combined` and what has been reported since `before`, in parts of `max`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn added(
    combined: Option<ReportSample>,
    before: Option<ReportSample>,
    report: ReportSample,
    max: f64,
) -> Option<ReportSample> {
    let (reports, total) = since(before, report);
    if reports <= 0.0 {
        return combined;
    }
    let (old_reports, old_total) = combined.map_or((0, 0), |one| (one.reports, one.total_micros));
    Some(ReportSample {
        utilization: Ratio::new(report.utilization.get() / max),
        at: report.at,
        reports: old_reports + reports as u64,
        total_micros: old_total.saturating_add((total / max * 1e6) as u64),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::unit::SECOND;

    const TENTH: u64 = SECOND / 10;

    /// Members whose metrics have the same value at every tick, from tick to tick.
    struct Bench {
        combiner: Combiner,
        members: Vec<MemberSample>,
        now: Tick,
    }

    impl Bench {
        fn new(metrics: &[(f64, bool)], members: usize) -> Self {
            let metric = |(max, is_dry_run): &(f64, bool)| CustomMetric {
                name: "m".into(),
                max: Ratio::new(*max),
                is_dry_run: *is_dry_run,
            };
            let member = MemberSample { is_healthy: true, ..MemberSample::default() };
            Self {
                combiner: Combiner::new(metrics.iter().map(metric).collect()),
                members: vec![member; members],
                now: Tick(SECOND),
            }
        }

        /// Each member reports these values, and a second goes by.
        fn second(&mut self, values: &[[Option<f64>; 2]]) -> Vec<Option<f64>> {
            for _ in 0..10 {
                self.now = Tick(self.now.0 + TENTH);
                for (member, values) in self.members.iter_mut().zip(values) {
                    for (sample, value) in member.metrics.iter_mut().zip(values) {
                        if let Some(value) = value {
                            let (reports, total) = sample.map_or((0, 0), |s| (s.reports, s.total_micros));
                            *sample = Some(ReportSample {
                                utilization: Ratio::new(*value),
                                at: self.now,
                                reports: reports + 1,
                                total_micros: total + (value * 1e6) as u64,
                            });
                        }
                    }
                }
                self.combiner.combine(self.now, &self.members);
            }
            self.combiner.combined.iter().map(|one| one.report.map(|r| r.utilization.get())).collect()
        }
    }

    fn near(value: f64, other: f64) -> bool {
        (value - other).abs() < 1e-6
    }

    #[test]
    fn g_1_37_the_metric_nearest_to_its_own_maximum_is_the_load() {
        let mut bench = Bench::new(&[(0.8, false), (0.5, false)], 2);
        let values = bench.second(&[[Some(0.4), Some(0.1)], [Some(0.2), Some(0.1)]]);
        assert!(near(values[0].unwrap(), 0.5) && near(values[1].unwrap(), 0.25), "{values:?}");
        for _ in 0..5 {
            bench.second(&[[Some(0.4), Some(0.6)], [Some(0.2), Some(0.2)]]);
        }
        let values = bench.second(&[[Some(0.4), Some(0.6)], [Some(0.2), Some(0.2)]]);
        assert!(near(values[0].unwrap(), 1.2) && near(values[1].unwrap(), 0.4), "{values:?}");
        let figures = bench.combiner.figures(Ratio::new(0.5));
        assert!((figures[0].mean - 0.3).abs() < 1e-3 && (figures[0].fullness - 0.75).abs() < 1e-2);
        assert!((figures[1].mean - 0.4).abs() < 1e-2 && (figures[1].fullness - 1.6).abs() < 1e-1);
    }

    #[test]
    fn g_1_38_a_metric_on_a_dry_run_is_shown_and_never_leads() {
        let mut bench = Bench::new(&[(0.5, true), (0.8, false)], 1);
        let values = bench.second(&[[Some(5.0), Some(0.4)]]);
        assert!(near(values[0].unwrap(), 0.5), "{values:?}");
        assert!((bench.combiner.figures(Ratio::ONE)[0].mean - 5.0).abs() < 1e-6);
    }

    #[test]
    fn unhealthy_and_silent_members_do_not_count_in_the_mean() {
        let mut bench = Bench::new(&[(1.0, false)], 3);
        bench.members[1].is_healthy = false;
        let values = bench.second(&[[Some(0.5), None], [Some(9.0), None], [None, None]]);
        assert_eq!(values[2], None);
        assert!((bench.combiner.figures(Ratio::ONE)[0].mean - 0.5).abs() < 1e-6);
        bench.now = bench.now + Span::secs(11);
        bench.combiner.combine(bench.now, &bench.members);
        assert!(
            bench.combiner.figures(Ratio::ONE)[0].mean.is_nan(),
            "a report that is too old means unknown"
        );
    }

    #[test]
    fn what_is_summed_up_is_the_leading_metrics_reports_in_parts_of_its_maximum() {
        let mut bench = Bench::new(&[(0.5, false)], 1);
        bench.second(&[[Some(0.25), None]]);
        let before = bench.combiner.combined[0].report.unwrap();
        bench.second(&[[Some(0.5), None]]);
        let after = bench.combiner.combined[0].report.unwrap();
        assert_eq!(after.reports - before.reports, 10);
        assert!((after.total_micros - before.total_micros).abs_diff(10_000_000) < 10);
    }
}
