//! How much reports scatter: what two in a row are apart, in the middle of the last few.
//!
//! A step in the rate makes a few of them differ much; the middle one does not see it. Where reports scatter by more
//! than is usual, each of them says less, and no limit follows one.

use std::collections::VecDeque;

/// Standard deviation of the logarithm of a report, at least and at most; the least before anything is known.
const WITHIN: (f64, f64) = (0.05, 0.2);

/// So small a difference in utilization is none: what reports are rounded to.
const ROUNDED: f64 = 0.004;

/// Differences that are thought to have been usual before the first; and how many count.
const FIRST: usize = 2;
const LAST: usize = 19;

/// The median of the difference of two numbers that scatter by 1.
const MEDIAN: f64 = 0.954;

/// Owned by a governor.
#[derive(Debug, Clone)]
pub(super) struct Scatter {
    /// ln of the last report; NaN before the first.
    before: f64,
    /// Differences in the logarithm, newest first.
    last: VecDeque<f64>,
}

impl Default for Scatter {
    fn default() -> Self {
        let mut last = VecDeque::with_capacity(LAST);
        last.extend([WITHIN.0 * MEDIAN; FIRST]);
        Self { before: f64::NAN, last }
    }
}

impl Scatter {
    /// Takes in a report above zero.
    pub(super) fn see(&mut self, utilization: f64) {
        let now = utilization.ln();
        let difference = (now - std::mem::replace(&mut self.before, now)).abs();
        if difference.is_finite() {
            self.last.truncate(LAST - 1);
            self.last.push_front(difference);
        }
    }

    /// Variance of the logarithm of a report of `utilization`. `grain`: the part of its rate that one request is.
    pub(super) fn variance(&self, utilization: f64, grain: f64) -> f64 {
        let mut sorted = [f64::INFINITY; LAST];
        sorted.iter_mut().zip(&self.last).for_each(|(to, from)| *to = *from);
        sorted.sort_unstable_by(f64::total_cmp);
        let median = sorted.get(self.last.len().saturating_sub(1) / 2).copied().unwrap_or_default();
        (median / MEDIAN).clamp(WITHIN.0, WITHIN.1).powi(2) + (ROUNDED / utilization).powi(2) + grain.powi(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deviation(reports: impl Iterator<Item = f64>) -> f64 {
        let mut scatter = Scatter::default();
        reports.for_each(|report| scatter.see(report));
        scatter.variance(1.0, 0.0).sqrt()
    }

    #[test]
    fn calm_reports_scatter_by_the_usual_and_a_step_among_them_changes_nothing() {
        let step = (0..40).map(|n| if n < 20 { 0.3 } else { 0.6 });
        for calm in [deviation(std::iter::empty()), deviation(step)] {
            assert!((calm - WITHIN.0).abs() < 0.001, "{calm}");
        }
    }

    #[test]
    fn reports_that_differ_by_more_scatter_by_so_much_and_never_without_bounds() {
        let wild = deviation((0..40_i32).map(|n| 0.6 * (0.1 * f64::from(n % 2)).exp()));
        assert!((wild - 0.1 / MEDIAN).abs() < 0.002, "{wild}");
        assert!(deviation((0..40_i32).map(|n| 10_f64.powi(n % 2))) < WITHIN.1 + 0.001);
    }
}
