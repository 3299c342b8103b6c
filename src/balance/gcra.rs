//! Virtual scheduling: "is there room for one more at this rate?" as arithmetic on one number.

use crate::model::unit::{PerSecond, SECOND, Span, Tick};

/// Parts of a nanosecond that rates are kept in, so that 3,000,000 per second is still exact to 0.01 %.
/// A `u64` of them lasts nine years of uptime.
const PARTS: u64 = 64;

/// A rate limit, ready for the hot path. Units: 1/64 ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Time that one request takes up; 0 = not limited, `u64::MAX` = nothing is admitted.
    pub interval: u64,
    /// How far ahead of now the schedule may run: the burst that is let through, as time.
    pub tolerance: u64,
}

impl Limit {
    /// Everything is admitted.
    pub const OPEN: Self = Self { interval: 0, tolerance: 0 };
    /// Nothing is admitted.
    pub const CLOSED: Self = Self { interval: u64::MAX, tolerance: 0 };

    /// `rate` with a burst of `tolerance`; zero is [`Self::CLOSED`].
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub fn new(rate: PerSecond, tolerance: Span) -> Self {
        let interval = (SECOND * PARTS) as f64 / rate.get();
        if !interval.is_finite() || interval >= u64::MAX as f64 {
            return Self::CLOSED;
        }
        Self { interval: (interval.round() as u64).max(1), tolerance: tolerance.0.saturating_mul(PARTS) }
    }

    /// Whether it limits nothing.
    #[must_use]
    pub const fn is_open(self) -> bool {
        self.interval == 0
    }
}

/// A moment in the units of [`Limit`].
#[must_use]
pub const fn units(now: Tick) -> u64 {
    now.0.saturating_mul(PARTS)
}

/// A length of time in the units of [`Limit`] back as a span.
#[must_use]
pub const fn span(units: u64) -> Span {
    Span(units / PARTS)
}

/// The schedule after one more request, or `None` when it would run further ahead than the tolerance allows.
/// `due` is the schedule before; idle time is not saved up beyond the tolerance.
#[inline]
#[must_use]
pub fn admit(due: u64, now: Tick, limit: Limit) -> Option<u64> {
    let now = units(now);
    let ahead = due.saturating_sub(now);
    (limit.interval != u64::MAX && ahead <= limit.tolerance)
        .then(|| due.max(now).saturating_add(limit.interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(rate: f64, tolerance: Span, demand_interval: u64, seconds: u64) -> u64 {
        let limit = Limit::new(PerSecond::new(rate), tolerance);
        let (mut due, mut count) = (0, 0);
        for now in (0..seconds * SECOND).step_by(usize::try_from(demand_interval).unwrap_or(1)) {
            if let Some(next) = admit(due, Tick(now), limit) {
                due = next;
                count += 1;
            }
        }
        count
    }

    #[test]
    fn w3_a_scaled_rate_of_40_is_exact_over_ten_seconds() {
        assert!(admitted(40.0, Span::millis(25), SECOND / 100, 10).abs_diff(400) <= 2);
    }

    #[test]
    fn rates_that_divide_no_nanosecond_are_still_exact() {
        assert!(admitted(30_000.7, Span::millis(1), 10_000, 10).abs_diff(300_007) <= 33);
    }

    #[test]
    fn the_tolerance_is_a_burst_once() {
        assert!(admitted(100.0, Span::secs(1), SECOND / 1000, 10).abs_diff(1100) <= 2);
    }

    #[test]
    fn zero_admits_nothing_and_open_is_open() {
        assert_eq!(admit(0, Tick(5), Limit::new(PerSecond::ZERO, Span::secs(1))), None);
        assert!(Limit::OPEN.is_open() && !Limit::CLOSED.is_open());
    }
}
