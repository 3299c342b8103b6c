//! How large a burst a limit by load lets through: as large as chance makes it, where demand is about at the limit.
//!
//! Random arrivals about as many as the limit find it full for a moment again and again: with room for `n` requests in
//! a row, one in 2·n is turned away though there is room on average, and so much of the target is left unused. But room
//! that has been saved up shows as overshoot when demand rises. So it is given only while it is of use: with demand
//! clearly below the limit chance does not fill it, and clearly above it there is always somebody who takes what is
//! free; the room needed is in proportion to scatter ÷ distance. Even arrivals scatter by nothing.
//!
//! It grows over [`GROWS`], so that a step through the limit finds none, and is taken back at once.

use crate::model::unit::{PerSecond, Tick};

/// Over what time demand and its scatter are measured, in seconds.
const AVERAGED: f64 = 5.0;

/// In so many seconds room grows from nothing to the most.
const GROWS: f64 = 10.0;

/// Requests in a row at most, for random arrivals: one in 200 is turned away then.
const MOST: f64 = 100.0;

/// Requests in a row × distance of demand from the limit, for random arrivals: one in a hundred is turned away.
const ROOM: f64 = 2.3;

/// Scatter is at most so many times that of random arrivals: what is more is a change in demand.
const MOST_SCATTER: f64 = 2.0;

/// Mean of the product of two differences in a row between counts that chance makes, both as positive numbers, in
/// parts of a count's variance. A change in demand makes one difference, and its product with the next is small.
const PRODUCT: f64 = 1.436;

/// Variance in requests² that rounding adds to the count of a tick: 1/6 on average, 1/4 at most.
const ROUNDING: f64 = 0.3;

/// Watches the arrivals at one gate. Owned by the planner, one per backend; adopted over a reload.
#[derive(Debug, Clone, Default)]
pub(super) struct Chance {
    last: Option<Tick>,
    /// Requests per second in the last tick, and by how much that was more or less than before.
    before: (f64, f64),
    /// Requests per second, and the variance of their number in a second, averaged.
    mean: f64,
    variance: f64,
    /// Requests in a row that are let through.
    room: f64,
}

impl Chance {
    /// Requests that are let through in a row, until the next tick. `offered` counts those that asked for room since
    /// the last one.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn room(&mut self, now: Tick, offered: u64, limit: PerSecond) -> f64 {
        let Some(last) = self.last.replace(now) else { return 0.0 };
        let seconds = now.since(last).as_secs();
        if seconds <= 0.0 {
            return self.room;
        }
        let rate = offered as f64 / seconds;
        let difference = (rate - self.before.0).abs();
        let variance = difference * self.before.1 / PRODUCT * seconds - ROUNDING / seconds;
        self.before = (rate, difference);
        let step = seconds / (AVERAGED + seconds);
        self.mean += (rate - self.mean) * step;
        self.variance += (variance.min(MOST_SCATTER * rate) - self.variance) * step;
        let needed = self.needed(limit.get());
        self.room = needed.min(self.room + MOST * seconds / GROWS);
        self.room
    }

    fn needed(&self, limit: f64) -> f64 {
        if self.mean <= 0.0 || limit <= 0.0 {
            return 0.0;
        }
        let scatter = (self.variance / self.mean).clamp(0.0, MOST_SCATTER);
        // What is measured of demand is off by so much itself.
        let chance = (scatter / (2.0 * AVERAGED * limit)).sqrt();
        let distance = (self.mean / limit - 1.0).abs() - chance;
        scatter * (ROOM / distance.max(ROOM / MOST))
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
mod tests {
    use super::*;
    use crate::balance::rng::Rng;
    use crate::model::unit::SECOND;

    const LIMIT: f64 = 500.0;

    /// The greatest room in each second, at these parts of the limit.
    fn rooms(is_random: bool, parts: &[f64]) -> Vec<f64> {
        let (mut chance, mut rng, mut next, mut asked) = (Chance::default(), Rng::new(1), 0.0, 0.0);
        let mut second = |(n, part): (usize, &f64)| {
            let ticks = (0..10).map(|tick| {
                let now = n as f64 + f64::from(tick) / 10.0;
                let before = asked;
                while next < now {
                    asked += 1.0;
                    next += if is_random { rng.exponential() } else { 1.0 } / (part * LIMIT);
                }
                chance.room(
                    Tick((now * SECOND as f64) as u64),
                    (asked - before) as u64,
                    PerSecond::new(LIMIT),
                )
            });
            ticks.fold(0.0, f64::max)
        };
        parts.iter().enumerate().map(&mut second).collect()
    }

    #[test]
    fn random_arrivals_find_room_where_they_are_as_many_as_the_limit() {
        let rooms = rooms(true, &[1.0; 40]);
        assert!(rooms[15..].iter().all(|room| *room > 25.0 && *room <= 2.0 * MOST), "{rooms:.0?}");
        assert!(rooms[15..].iter().sum::<f64>() / 25.0 > 60.0, "{rooms:.0?}");
    }

    #[test]
    fn far_from_the_limit_they_find_little() {
        for part in [0.3, 0.6, 1.5, 3.0] {
            let rooms = rooms(true, &[part; 30]);
            assert!(rooms[15..].iter().all(|room| *room < 14.0), "{part}: {rooms:.0?}");
        }
    }

    #[test]
    fn even_arrivals_find_none_and_a_step_through_the_limit_finds_next_to_none() {
        assert!(rooms(false, &[1.0; 30]).iter().all(|room| *room < 5.0));
        let mut parts = vec![0.3; 20];
        parts.extend([2.5; 20]);
        let rooms = rooms(false, &parts);
        assert!(rooms.iter().all(|room| *room < 7.0), "{rooms:.1?}");
    }

    #[test]
    fn idle_and_closed_gates_find_none() {
        let mut chance = Chance::default();
        for n in 0..20 {
            assert!(chance.room(Tick(n * SECOND), 0, PerSecond::new(10.0)).abs() < 1e-9);
        }
        assert!(chance.room(Tick(20 * SECOND), 5, PerSecond::ZERO).abs() < 1e-9);
    }
}
