//! Consistent hashing (`RING_HASH`): taking one of N members away moves only its own keys, adding one moves about
//! 1/N of them, whatever N is [G 3.8].
//!
//! Every member stands at [`POINTS`] places of a circle that depend on its name and address alone, and a key belongs to
//! the next place. The ring has `minimumRingSize` places of its own besides, always the same ones: each is lent to the
//! member that claims it first. So no member's places depend on how many members there are, and few members share
//! as evenly as the size promises. A member that comes takes places, and gives nothing to others; one that leaves
//! gives back its own. Built only when health or membership changes, and only for services with affinity.

use super::hash;

/// Places of a member's own. With 100, loads of members differ by about 10 % (one over its root). More than one each
/// always, so the ring never has fewer places than members [G 2c].
pub const POINTS: u64 = 100;

/// Members on a circle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ring {
    /// Ascending: the upper half of a place, then the index of its member.
    points: Vec<u64>,
    /// By the upper bits of a place: where the points from there on begin; one more at the end.
    starts: Vec<u32>,
    /// How far a place is shifted for these upper bits.
    shift: u32,
}

impl Ring {
    /// A ring of (member index, identity), see [`hash::member`], with so many places of its own: at least as many in
    /// all [G 2c].
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = (u32, u64)>, minimum_size: u32) -> Self {
        let members: Vec<_> = members.into_iter().collect();
        let owned = members
            .iter()
            .flat_map(|(index, identity)| (1..=POINTS).map(|n| point(hash::mix(*identity, n), *index)));
        let lent = (0..).zip(claims(&members, minimum_size)).filter_map(|(slot, claim)| {
            let (index, _) = claim?.of;
            Some(point(hash::mix(OWN, slot), index))
        });
        let mut points: Vec<_> = owned.chain(lent).collect();
        points.sort_unstable();
        // About four points in each part of the circle: what a search looks at lies side by side.
        let bits = (points.len() / 4).max(2).ilog2();
        let shift = u64::BITS - bits;
        Self { starts: starts(&points, shift), points, shift }
    }

    /// The first member at or after `key` on the circle that `may` serve; `None` when none may.
    #[inline]
    pub fn find(&self, key: u64, may: impl Fn(u32) -> bool) -> Option<u32> {
        let (before, after) = self.points.split_at_checked(self.position(hash::mix(key, 0)))?;
        after.iter().chain(before).map(|point| member(*point)).find(|member| may(*member))
    }

    /// Index of the first point at or after `place`.
    #[inline]
    fn position(&self, place: u64) -> usize {
        let part = (place >> self.shift.min(u64::BITS - 1)) as usize;
        let (Some(low), Some(high)) = (self.starts.get(part), self.starts.get(part + 1)) else { return 0 };
        let (low, high) = (*low as usize, *high as usize);
        let place = point(place, 0);
        low + self.points.get(low..high).map_or(0, |part| part.iter().take_while(|one| **one < place).count())
    }
}

/// Where the points of each part of the circle begin, and the end of the last. `points` are ascending.
fn starts(points: &[u64], shift: u32) -> Vec<u32> {
    let mut starts: Vec<u32> = vec![0; (1 << (u64::BITS - shift)) + 1];
    for point in points {
        if let Some(count) = starts.get_mut((point >> shift) as usize + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    starts
}

/// Any number; sets the ring's own places apart from those of members.
const OWN: u64 = 0x7269_6E67;
/// Any number; sets the claims of a member apart from its places.
const CLAIM: u64 = 0x636C_6169_6D00_0000;
/// Rounds of claims per place of the ring's, at most: what is unclaimed then, one in 2^90, is no place.
const ROUNDS: u32 = 64;

#[inline]
const fn point(place: u64, member: u32) -> u64 {
    place >> u32::BITS << u32::BITS | member as u64
}

#[inline]
#[allow(clippy::cast_possible_truncation)]
const fn member(point: u64) -> u32 {
    point as u32
}

/// Who was first at one of the ring's own places.
#[derive(Debug, Clone, Copy)]
struct Claim {
    round: u32,
    /// Member index, identity.
    of: (u32, u64),
}

/// Who holds each of the ring's own places. In each round every member claims one by chance, whether it is free or
/// not; the earliest claim counts, of the same round one by chance. What a member claims does not depend on others.
fn claims(members: &[(u32, u64)], size: u32) -> Vec<Option<Claim>> {
    let mut claims: Vec<Option<Claim>> = vec![None; if members.is_empty() { 0 } else { size as usize }];
    let mut left = claims.len();
    for round in 0..size.saturating_mul(ROUNDS) {
        if left == 0 {
            break;
        }
        for (index, identity) in members {
            let slot = hash::below(hash::mix(*identity, CLAIM + u64::from(round)), claims.len());
            let Some(claim) = claims.get_mut(slot) else { continue };
            let rank = |identity| hash::mix(identity, slot as u64);
            left -= usize::from(claim.is_none());
            if claim.is_none_or(|first| first.round == round && rank(*identity) < rank(first.of.1)) {
                *claim = Some(Claim { round, of: (*index, *identity) });
            }
        }
    }
    claims
}

#[cfg(test)]
#[allow(clippy::cast_precision_loss)]
mod tests {
    use super::*;

    fn sized(members: impl IntoIterator<Item = u32>, minimum_size: u32) -> Ring {
        let identity = |index| hash::mix(u64::from(index), 77);
        Ring::new(members.into_iter().map(|index| (index, identity(index))), minimum_size)
    }

    fn ring(members: impl IntoIterator<Item = u32>) -> Ring {
        sized(members, 1024)
    }

    fn owner(ring: &Ring, key: u64) -> Option<u32> {
        ring.find(key, |_| true)
    }

    /// Every part of the circle that has one owner in both: its size as a part of the whole, and the owners.
    fn arcs<'a>(one: &'a Ring, other: &'a Ring) -> impl Iterator<Item = (f64, u32, u32)> + 'a {
        let place = |point: Option<&u64>| point.map_or(1 << 32, |point| point >> 32);
        let owner =
            |ring: &Ring, at: usize| ring.points.get(at).or(ring.points.first()).copied().map_or(0, member);
        let (mut here, mut a, mut b) = (0, 0, 0);
        std::iter::from_fn(move || {
            if here == 1 << 32 {
                return None;
            }
            let next = place(one.points.get(a)).min(place(other.points.get(b)));
            let arc = ((next - here) as f64 / 2_f64.powi(32), owner(one, a), owner(other, b));
            here = next;
            a += one
                .points
                .get(a..)
                .map_or(0, |rest| rest.iter().take_while(|point| *point >> 32 == next).count());
            b += other
                .points
                .get(b..)
                .map_or(0, |rest| rest.iter().take_while(|point| *point >> 32 == next).count());
            Some(arc)
        })
    }

    /// Parts of all keys: that belong to another member in `after`, and of these, whose move is not to or from `member`.
    fn moved(before: &Ring, after: &Ring, member: u32) -> (f64, f64) {
        arcs(before, after).filter(|(_, old, new)| old != new).fold(
            (0.0, 0.0),
            |(all, others), (part, old, new)| {
                (all + part, others + if old == member || new == member { 0.0 } else { part })
            },
        )
    }

    #[test]
    fn g_3_8_one_of_n_members_moves_at_most_2_in_n_of_the_sessions_and_none_between_others() {
        for size in [1, 8, 100, 1024, 20_000] {
            let near = |n: u32| [8, 100].iter().any(|edge| n.abs_diff(*edge) <= 1);
            // Also where the places of all members together reach the size of the ring.
            let reaches = |n: u32| n.abs_diff(size / 100) <= 1;
            for n in (2..400).filter(|n| *n < 6 || n % 133 == 0 || near(*n) || reaches(*n)) {
                let (few, more) = (sized(0..n, size), sized(0..=n, size));
                let (all, others) = moved(&few, &more, n);
                assert!(
                    all <= 2.0 / f64::from(n + 1) && others < 1e-6,
                    "{size}, {n} and one: {all} {others}"
                );
                let one = n * 2 / 3;
                let (all, others) = moved(&more, &sized((0..=n).filter(|i| *i != one), size), one);
                assert!(
                    all <= 2.0 / f64::from(n + 1) && others < 1e-6,
                    "{size}, one of {n} and one: {all} {others}"
                );
            }
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
        assert_eq!(sized(0..0, 1024).find(42, |_| true), None);
    }

    #[test]
    fn a_search_by_parts_agrees_with_a_plain_one() {
        for ring in [ring(0..300), sized(0..1, 1), sized(0..3, 5000)] {
            for key in 0..5_000_u64 {
                let place = hash::mix(key, 5);
                assert_eq!(ring.position(place), ring.points.partition_point(|one| *one < point(place, 0)));
            }
            assert_eq!(ring.position(0), 0);
            let behind = ring.points.partition_point(|one| *one < point(u64::MAX, 0));
            assert_eq!(ring.position(u64::MAX), behind);
        }
    }

    #[test]
    fn g_2c_the_ring_has_its_minimum_size_and_never_fewer_places_than_members() {
        let places = |members, size| sized(0..members, size).points.len();
        assert_eq!([places(3, 1024), places(1, 1), places(300, 256)], [1324, 101, 30_256]);
        assert_eq!(places(10_000, 1024), 1_001_024);
    }

    #[test]
    fn g_2c_a_greater_minimum_size_shares_more_evenly() {
        let worst = |size| {
            let ring = sized(0..4, size);
            let part =
                |member| arcs(&ring, &ring).filter(|arc| arc.1 == member).map(|arc| arc.0).sum::<f64>();
            (0..4).map(|member| (part(member) * 4.0 - 1.0).abs()).fold(0.0, f64::max)
        };
        assert!(worst(1) < 0.35 && worst(1024) < 0.1 && worst(100_000) < 0.02);
    }
}
