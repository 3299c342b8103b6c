//! Members' weights for WEIGHTED_ROUND_ROBIN: from load reports, smoothed, and kept within bounds [G 1.45].
//!
//! A weight is what a member could serve at full utilization, qps ÷ utilization, less a penalty for errors. Google's
//! own formula is not published; this is the one of Envoy and gRPC, with their penalty of 1 and their bounds.

use std::sync::Arc;

use super::report::Report;

/// What a rate of errors equal to the rate of requests adds to the utilization.
const ERROR_PENALTY: f64 = 1.0;
/// Part of a new weight that counts at once; the rest is what was before.
const STEP: f64 = 0.4;
/// Furthest from the mean, either way.
const BOUNDS: (f64, f64) = (0.1, 10.0);

/// The weight that a report stands for: qps ÷ (utilization + eps ÷ qps). The utilization is the first of application
/// utilization, CPU utilization, and the service's `named` metrics in their order, as `orca.named_metrics.x`,
/// `named_metrics.x` or bare `x` [G 1.39, 1.45]. `None` without requests or without a utilization above zero.
#[must_use]
pub fn of_report(report: &Report, named: &[Arc<str>]) -> Option<f64> {
    let qps = report.rps_fractional.filter(|qps| *qps > 0.0)?;
    let measured = [report.application_utilization, report.cpu_utilization].into_iter().flatten();
    let utilization = measured
        .chain(named.iter().filter_map(|name| report.metric(name)))
        .find(|utilization| *utilization > 0.0)?;
    let errors = report.eps.unwrap_or(0.0) / qps;
    let weight = qps / (utilization + ERROR_PENALTY * errors);
    (weight > 0.0 && weight.is_finite()).then_some(weight)
}

/// The weight from now on, after `before`, when the last report says `fresh`.
pub(super) fn smooth(before: Option<f64>, fresh: Option<f64>) -> Option<f64> {
    match (before, fresh) {
        (Some(before), Some(fresh)) => Some(before + STEP * (fresh - before)),
        (_, fresh) => fresh,
    }
}

/// Weights with a mean of about 1: those that are not known get the mean of the others, and none is further from it
/// than [`BOUNDS`]. All 1 when none is known.
#[allow(clippy::cast_precision_loss)]
pub(super) fn level(weights: &mut [f64], known: impl Fn(usize) -> Option<f64>) {
    let (sum, count) = (0..weights.len()).filter_map(&known).fold((0.0, 0), |(s, n), one| (s + one, n + 1));
    let mean = sum / f64::from(count);
    for (place, weight) in weights.iter_mut().enumerate() {
        let part = known(place).map_or(1.0, |own| own / mean);
        *weight = if part.is_finite() { part.clamp(BOUNDS.0, BOUNDS.1) } else { 1.0 };
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::balance::report::parse_header;

    fn weight(text: &str, named: &[&str]) -> Option<f64> {
        let named: Vec<Arc<str>> = named.iter().map(|name| (*name).into()).collect();
        of_report(&parse_header(text).unwrap(), &named)
    }

    #[test]
    fn g_1_45_the_utilization_is_application_then_cpu_then_the_named_metrics_in_order() {
        let all =
            "TEXT application_utilization=0.5,cpu_utilization=0.25,named_metrics.q=0.1,rps_fractional=100";
        assert_eq!(weight(all, &["q"]), Some(200.0));
        let cpu = "TEXT cpu_utilization=0.25,named_metrics.q=0.1,rps_fractional=100";
        assert_eq!(weight(cpu, &["q"]), Some(400.0));
        let named = "TEXT named_metrics.q=0.1,named_metrics.p=0.2,rps_fractional=100";
        assert_eq!(weight(named, &["orca.named_metrics.p", "q"]), Some(500.0));
        assert_eq!(weight(named, &["named_metrics.q"]), Some(1000.0));
        assert_eq!(weight(named, &["x"]), None);
    }

    #[test]
    fn g_1_45_errors_lower_the_weight() {
        assert_eq!(weight("TEXT cpu_utilization=0.5,rps_fractional=100,eps=50", &[]), Some(100.0));
    }

    #[test]
    fn a_report_without_requests_or_load_says_nothing() {
        assert_eq!(weight("TEXT cpu_utilization=0.5", &[]), None);
        assert_eq!(weight("TEXT cpu_utilization=0.5,rps_fractional=0", &[]), None);
        assert_eq!(weight("TEXT cpu_utilization=0,rps_fractional=10", &[]), None);
    }

    #[test]
    fn who_does_not_report_counts_as_the_mean_and_none_is_out_of_bounds() {
        let known = [Some(300.0), Some(100.0), None];
        let mut weights = [0.0; 3];
        level(&mut weights, |place| known[place]);
        assert_eq!(weights, [1.5, 0.5, 1.0]);
        let wild = [Some(f64::MAX), Some(1.0), Some(1.0), None];
        let mut weights = [0.0; 4];
        level(&mut weights, |place| wild[place]);
        assert!(weights.iter().all(|weight| (0.1..=10.0).contains(weight)), "{weights:?}");
        let mut none = [0.0; 2];
        level(&mut none, |_| None);
        assert_eq!(none, [1.0, 1.0]);
    }

    #[test]
    fn a_weight_follows_its_reports_smoothly_and_lapses_with_them() {
        assert_eq!(smooth(None, Some(100.0)), Some(100.0));
        assert_eq!(smooth(Some(100.0), Some(200.0)), Some(140.0));
        assert_eq!(smooth(Some(100.0), None), None);
    }
}
