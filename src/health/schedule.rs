//! When probes start. Pure: chance is a number made from the seed and the member.
//!
//! Google measures the interval from start to start [G 4a] and says nothing of phases; these are ours. A member's
//! first probes come at once and fast, so that a start takes a moment and not `healthyThreshold × checkIntervalSec`;
//! after the first verdict each member keeps a phase of its own.

use crate::model::probe::HealthCheck;
use crate::model::unit::Span;

/// Above this many newcomers their first probes are spread.
pub const SPREAD_ABOVE: usize = 100;

/// The first probes of many newcomers begin within this time.
pub const SPREAD: Span = Span::millis(250);

/// Pause between two probes of a member that has no verdict yet, or the interval if that is shorter.
pub const QUICK_PAUSE: Span = Span::millis(100);

/// The beginnings of one member's probes.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    chance: u64,
}

impl Schedule {
    /// For the member with this number.
    #[must_use]
    pub const fn new(seed: u64, number: u32) -> Self {
        Self { chance: mix(seed ^ mix(number as u64)) }
    }

    /// Delay of the very first probe, among so many newcomers: none, or a part of [`SPREAD`].
    #[must_use]
    pub fn first(self, newcomers: usize) -> Span {
        if newcomers > SPREAD_ABOVE { part_of(SPREAD, self.chance) } else { Span::ZERO }
    }

    /// From the first verdict to the next probe: uniform over the interval. From then on probes follow each other by
    /// exactly the interval, so that the phases of the members stay as spread as they began.
    #[must_use]
    pub fn phase(self, interval: Span) -> Span {
        // A draw of its own: with that of the first delay, both would add up to more than the interval, and the
        // members beyond it would meet those at its beginning.
        part_of(interval, mix(self.chance))
    }

    /// Pause before the next probe of a member without a verdict.
    #[must_use]
    pub fn quick(interval: Span) -> Span {
        QUICK_PAUSE.min(interval)
    }

    /// How many probes may come fast: as many as reach any verdict without a change of mind. A member that keeps
    /// wavering falls back to its interval.
    #[must_use]
    pub const fn quick_probes(check: &HealthCheck) -> u32 {
        check.healthy_threshold.saturating_add(check.unhealthy_threshold)
    }
}

/// The part of `whole` that `chance` picks: uniform, less than `whole`.
#[allow(clippy::cast_possible_truncation)]
fn part_of(whole: Span, chance: u64) -> Span {
    // Upper half of the product: no division, no bias.
    Span(((u128::from(whole.0) * u128::from(chance)) >> 64) as u64)
}

/// The finalizer of splitmix64: neighbours in, strangers out.
const fn mix(value: u64) -> u64 {
    let a = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    c ^ (c >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_newcomers_are_probed_at_once_and_many_within_a_quarter_of_a_second() {
        for number in 1..=10_000 {
            let schedule = Schedule::new(7, number);
            assert_eq!(schedule.first(SPREAD_ABOVE), Span::ZERO);
            assert!(schedule.first(10_000) < SPREAD);
        }
    }

    #[test]
    fn phases_of_members_spread_evenly_over_the_interval() {
        let interval = Span::secs(5);
        let mut tenths = [0_u32; 10];
        for number in 1..=10_000 {
            let phase = Schedule::new(42, number).phase(interval);
            tenths[usize::try_from(phase.0 * 10 / interval.0).unwrap_or(99)] += 1;
        }
        assert!(tenths.iter().all(|n| (850..1150).contains(n)), "seed 42: {tenths:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
        let phase = |seed| Schedule::new(seed, 3).phase(Span::secs(5));
        assert_eq!(phase(1), phase(1));
        assert_ne!(phase(1), phase(2));
    }

    #[test]
    fn fast_probes_are_never_further_apart_than_the_interval() {
        assert_eq!(Schedule::quick(Span::secs(5)), QUICK_PAUSE);
        assert_eq!(Schedule::quick(Span::millis(10)), Span::millis(10));
    }
}
