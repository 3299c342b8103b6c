//! How a member answers lately: runs of errors, latency, reported weight; and whether outlier detection has taken it out.
//!
//! Each figure is written only for services whose policy reads it. Workers write the same cells, relaxed and without
//! taking turns: of two answers at the same moment one may be lost to a figure, which is one of many.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::model::policy::OutlierDetection;
use crate::model::unit::{Span, Tick};

/// Latency from before this long counts half.
const HALF_LIFE: Span = Span::secs(1);
/// Part of the latency figure that one answer makes up, at least.
const STEP: f64 = 1.0 / 16.0;
/// A failure or a 5xx counts as an answer that took at least so long: a member that fails fast is not a fast member.
const FAILURE: Span = Span::secs(1);
/// A reported weight is good for so long.
const WEIGHT_AGE: Span = Span::secs(10);

/// See the module.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Conduct {
    /// 5xx and failures in a row, in the run that is not full yet.
    errors: AtomicU32,
    gateway_failures: AtomicU32,
    error_runs: AtomicU64,
    gateway_failure_runs: AtomicU64,
    /// Milliseconds of the clock above, microseconds of latency below; 0 = none yet.
    latency: AtomicU64,
    /// Bits of the last reported weight.
    weight: AtomicU64,
    /// Tick of it; 0 = none yet.
    weighed_at: AtomicU64,
    is_ejected: AtomicBool,
    ejections: AtomicU64,
}

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer below 500.
    Good,
    /// A 5xx of the member's own.
    ServerError,
    /// 502, 503, 504, or no answer: no connection, a reset, a timeout.
    GatewayFailure,
}

impl Outcome {
    /// That of an answer.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            502..=504 => Self::GatewayFailure,
            500..=599 => Self::ServerError,
            _ => Self::Good,
        }
    }
}

impl Conduct {
    /// Counts runs of errors, for outlier detection [G 2e].
    pub fn judge(&self, outcome: Outcome, rules: &OutlierDetection) {
        let is_error = outcome != Outcome::Good;
        streak(&self.errors, &self.error_runs, is_error, rules.consecutive_errors);
        let is_gateway = outcome == Outcome::GatewayFailure;
        streak(
            &self.gateway_failures,
            &self.gateway_failure_runs,
            is_gateway,
            rules.consecutive_gateway_failure,
        );
    }

    /// Full runs since the start: of errors, of gateway failures.
    #[must_use]
    pub fn runs(&self) -> (u64, u64) {
        (self.error_runs.load(Relaxed), self.gateway_failure_runs.load(Relaxed))
    }

    /// Takes in how long an answer's head took.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn observe(&self, took: Span, outcome: Outcome, now: Tick) {
        let took = if outcome == Outcome::Good { took } else { took.max(FAILURE) };
        let last = self.latency.load(Relaxed);
        let sample = took.0 as f64 / 1e3;
        let figure = if last == 0 {
            sample
        } else {
            // After a long silence the last answer says more than all before it.
            let silence = silence(last, now).as_secs();
            let part = (silence / (silence + HALF_LIFE.as_secs())).max(STEP);
            let before = aged(last, now);
            before + part * (sample - before)
        };
        let micros = (figure as u64).clamp(1, u64::from(u32::MAX));
        self.latency.store(u64::from(millis(now)) << 32 | micros, Relaxed);
    }

    /// How long answers took lately; zero = none came. It fades with silence, so that a member that was slow is tried
    /// again.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn latency(&self, now: Tick) -> Span {
        let last = self.latency.load(Relaxed);
        if last == 0 { Span::ZERO } else { Span((aged(last, now) * 1e3) as u64) }
    }

    /// Takes in a reported weight [G 1.45].
    pub fn report_weight(&self, weight: f64, now: Tick) {
        self.weight.store(weight.to_bits(), Relaxed);
        self.weighed_at.store(now.0.max(1), Relaxed);
    }

    /// The last reported weight, if it is not too old.
    #[must_use]
    pub fn weight(&self, now: Tick) -> Option<f64> {
        let at = self.weighed_at.load(Relaxed);
        (at != 0 && now.since(Tick(at)) <= WEIGHT_AGE).then(|| f64::from_bits(self.weight.load(Relaxed)))
    }

    /// Outlier detection has spoken; only the planner calls this. What was counted so far is forgotten: a member that
    /// comes back begins anew.
    pub fn set_ejected(&self, is_ejected: bool) {
        if self.is_ejected.swap(is_ejected, Relaxed) != is_ejected {
            self.errors.store(0, Relaxed);
            self.gateway_failures.store(0, Relaxed);
            self.ejections.fetch_add(u64::from(is_ejected), Relaxed);
        }
    }

    /// Whether outlier detection keeps requests from it.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.is_ejected.load(Relaxed)
    }

    /// How often it was ejected.
    #[must_use]
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }
}

fn streak(streak: &AtomicU32, runs: &AtomicU64, is_bad: bool, full: u32) {
    if !is_bad {
        // Most answers are good, and follow good ones: nothing is written then.
        if streak.load(Relaxed) != 0 {
            streak.store(0, Relaxed);
        }
    } else if streak.fetch_add(1, Relaxed).saturating_add(1) >= full {
        streak.store(0, Relaxed);
        runs.fetch_add(1, Relaxed);
    }
}

#[allow(clippy::cast_possible_truncation)]
const fn millis(now: Tick) -> u32 {
    (now.0 / 1_000_000) as u32
}

/// Time since the answer that `latency` was written for; right for 49 days.
fn silence(latency: u64, now: Tick) -> Span {
    #[allow(clippy::cast_possible_truncation)]
    let at = (latency >> 32) as u32;
    Span::millis(u64::from(millis(now).wrapping_sub(at)))
}

/// Microseconds.
#[allow(clippy::cast_precision_loss)]
fn aged(latency: u64, now: Tick) -> f64 {
    let micros = (latency & u64::from(u32::MAX)) as f64;
    let silence = silence(latency, now);
    // Between the answers of a busy member nothing fades.
    if silence < HALF_LIFE { micros } else { micros * (1.0 - silence.as_secs() / HALF_LIFE.as_secs()).exp2() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Tick {
        Tick(0) + Span::millis(millis)
    }

    #[test]
    fn g_2e_runs_are_counted_when_they_are_full_and_a_good_answer_breaks_them() {
        let (conduct, rules) = (Conduct::default(), OutlierDetection::default());
        let judge = |outcomes: &[Outcome]| outcomes.iter().for_each(|one| conduct.judge(*one, &rules));
        judge(&[Outcome::GatewayFailure, Outcome::GatewayFailure, Outcome::Good, Outcome::GatewayFailure]);
        assert_eq!(conduct.runs(), (0, 0));
        judge(&[Outcome::GatewayFailure, Outcome::GatewayFailure]);
        assert_eq!(conduct.runs(), (0, 1));
        judge(&[Outcome::ServerError, Outcome::ServerError]);
        assert_eq!(conduct.runs(), (1, 1), "five errors, gateway failures or not");
        assert_eq!(Outcome::of_status(503), Outcome::GatewayFailure);
        assert_eq!((Outcome::of_status(500), Outcome::of_status(404)), (Outcome::ServerError, Outcome::Good));
    }

    #[test]
    fn a_member_that_is_ejected_or_returns_begins_anew() {
        let (conduct, rules) = (Conduct::default(), OutlierDetection::default());
        conduct.judge(Outcome::GatewayFailure, &rules);
        conduct.judge(Outcome::GatewayFailure, &rules);
        conduct.set_ejected(true);
        conduct.set_ejected(true);
        conduct.judge(Outcome::GatewayFailure, &rules);
        assert_eq!((conduct.runs(), conduct.ejections(), conduct.is_ejected()), ((0, 0), 1, true));
    }

    #[test]
    fn latency_follows_answers_and_fades_with_silence() {
        let conduct = Conduct::default();
        assert_eq!(conduct.latency(at(5)), Span::ZERO);
        for n in 0..100 {
            conduct.observe(Span::millis(20), Outcome::Good, at(1000 + n * 10));
        }
        assert_eq!(conduct.latency(at(2000)), Span::millis(20));
        for n in 0..100 {
            conduct.observe(Span::millis(40), Outcome::Good, at(2000 + n * 10));
        }
        assert!(conduct.latency(at(3000)) > Span::millis(39));
        let later = conduct.latency(at(2990 + 5000));
        assert!(later < Span::millis(3) && later > Span::millis(2), "{later:?}");
        conduct.observe(Span::millis(40), Outcome::Good, at(2990 + 60_000));
        assert!(
            conduct.latency(at(63_000)) > Span::millis(38),
            "the first after a silence counts nearly alone"
        );
    }

    #[test]
    fn a_fast_failure_is_not_a_fast_answer() {
        let conduct = Conduct::default();
        conduct.observe(Span::millis(1), Outcome::GatewayFailure, at(1));
        assert_eq!(conduct.latency(at(1)), FAILURE);
    }

    #[test]
    fn a_weight_lapses() {
        let conduct = Conduct::default();
        assert_eq!(conduct.weight(at(1)), None);
        conduct.report_weight(5.0, at(1));
        assert_eq!((conduct.weight(at(9000)), conduct.weight(at(10_002))), (Some(5.0), None));
    }
}
