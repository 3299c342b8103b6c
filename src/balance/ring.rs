//! Consistent hashing (`RING_HASH`): taking one of N members away moves only its own keys, adding one moves about
//! 1/N of them [G 3.8].
//!
//! Every member stands at some places (see [`points`]) that depend on its name and address alone; a key belongs to the
//! next place on the circle. Built only when health or membership changes, and only for services with affinity.

use super::hash;

/// Places of a member on the circle, at least. With 100, loads of members differ by about 10 % (one over its root).
pub const POINTS: u64 = 100;

/// Places of each of `members`, which are all members of the group, healthy or not: their health must not move the
/// places of others. The ring has at least `minimum_size` places in all; a ring that has fewer than members has one for
/// each [G 2c].
#[must_use]
pub fn points(members: usize, minimum_size: u32) -> u64 {
    let (members, least) = (members.max(1) as u64, u64::from(minimum_size));
    if members > least { 1 } else { least.div_ceil(members).max(POINTS) }
}

/// Members on a circle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ring {
    /// (place, member index), ascending.
    points: Vec<(u64, u32)>,
}

impl Ring {
    /// A ring of (member index, identity), see [`hash::member`], with so many places each, see [`points`].
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = (u32, u64)>, points: u64) -> Self {
        let mut points: Vec<_> = members
            .into_iter()
            .flat_map(|(index, identity)| {
                (0..points).map(move |n| (hash::mix(identity, n.wrapping_add(1)), index))
            })
            .collect();
        points.sort_unstable();
        Self { points }
    }

    /// The first member at or after `key` on the circle that `may` serve; `None` when none may.
    pub fn find(&self, key: u64, may: impl Fn(u32) -> bool) -> Option<u32> {
        let start = self.position(hash::mix(key, 0));
        let (before, after) = self.points.split_at_checked(start)?;
        after.iter().chain(before).map(|point| point.1).find(|member| may(*member))
    }

    /// Index of the first place at or after `place`. Places are spread evenly, so the guess by proportion is a few
    /// steps off at most; a binary search over 50,000 places would miss the cache sixteen times.
    #[allow(clippy::cast_possible_truncation)]
    fn position(&self, place: u64) -> usize {
        let len = self.points.len();
        let guess = ((u128::from(place) * len as u128) >> 64) as usize;
        // The spread of the guess is about the root of the number of places: look there first.
        let reach = len.isqrt() + 1;
        let (low, high) = (guess.saturating_sub(reach), (guess + reach).min(len));
        let is_before = |index: usize| self.points.get(index).is_none_or(|point| point.0 < place);
        let low_fits = low == 0 || is_before(low - 1);
        let high_fits = high == len || !is_before(high);
        let (low, high) = if low_fits && high_fits { (low, high) } else { (0, len) };
        low + self.points.get(low..high).map_or(0, |part| part.partition_point(|point| point.0 < place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(members: impl IntoIterator<Item = u32>) -> Ring {
        Ring::new(members.into_iter().map(|index| (index, hash::mix(u64::from(index), 77))), POINTS)
    }

    fn owner(ring: &Ring, key: u64) -> Option<u32> {
        ring.find(key, |_| true)
    }

    #[test]
    fn taking_one_of_n_away_moves_only_its_own_keys() {
        let (all, without) = (ring(0..10), ring((0..10).filter(|i| *i != 3)));
        for key in 0..20_000 {
            let before = owner(&all, key);
            assert!(before == Some(3) || before == owner(&without, key));
        }
    }

    #[test]
    fn adding_one_takes_about_one_nth() {
        let (few, more) = (ring(0..9), ring(0..10));
        let moved = (0..20_000).filter(|key| owner(&few, *key) != owner(&more, *key)).count();
        assert!((1_400..2_700).contains(&moved), "{moved}");
    }

    #[test]
    fn a_member_that_was_tried_is_skipped_for_the_next_on_the_circle() {
        let ring = ring(0..5);
        let first = owner(&ring, 42).unwrap_or(9);
        let second = ring.find(42, |member| member != first);
        assert!(second.is_some() && second != Some(first));
        assert_eq!(ring.find(42, |_| false), None);
        assert_eq!(Ring::default().find(42, |_| true), None);
    }

    #[test]
    fn the_guess_by_proportion_agrees_with_a_plain_search() {
        let ring = ring(0..300);
        for key in 0..5_000_u64 {
            let place = hash::mix(key, 5);
            assert_eq!(ring.position(place), ring.points.partition_point(|point| point.0 < place));
        }
        assert_eq!(ring.position(0), 0);
        assert_eq!(ring.position(u64::MAX), ring.points.len());
    }

    #[test]
    fn g_2c_the_ring_has_its_minimum_size_and_one_place_each_when_members_are_more() {
        assert_eq!(
            [points(3, 1024), points(100, 1024), points(1024, 1024), points(1025, 1024)],
            [342, 100, 100, 1]
        );
        assert_eq!([points(10, 100_000), points(0, 0)], [10_000, 1]);
    }

    #[test]
    fn ten_thousand_members_fit() {
        assert_eq!(ring(0..10_000).points.len(), 1_000_000);
    }
}
