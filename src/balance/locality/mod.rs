//! Which member of a backend: `localityLbPolicy` [G 2c].
//!
//! Every policy is a function of the backend's turn, of the plan and of what [`Live`] says: none keeps a state of its
//! own but PREQUAL, whose pool belongs to the worker. Where members' weights differ (slow start, reported weights),
//! a member gets its natural part times its weight.

mod least_request;
mod random;
mod turn;

use super::hash;
use super::pick::{Ask, Live};
use super::plan::{Hashed, Usable};
use super::prequal::Draw;
use crate::model::policy::Locality;

/// What all policies choose from.
#[derive(Clone, Copy)]
struct Choice<'a> {
    usable: &'a Usable,
    /// Index of the backend.
    backend: u32,
    /// The backend's own turn.
    turn: u64,
    /// (backend, member) pairs that failed this request already.
    tried: &'a [(u32, u32)],
}

/// A member that was not tried yet: by hash for a session, else by the policy. `turn` is the backend's own turn.
#[inline]
pub(super) fn choose<L: Live>(
    policy: Locality,
    (usable, backend): (&Usable, u32),
    ask: &Ask<'_>,
    turn: u64,
    live: &mut L,
) -> Option<u32> {
    let choice = Choice { usable, backend, turn, tried: ask.tried };
    if let (Some(key), Some(hashed)) = (ask.key, &usable.hashed) {
        return match hashed {
            Hashed::Ring(ring) => ring.find(key, |member| choice.is_untried(member)),
            Hashed::Maglev(table) => table.find(key, |member| choice.is_untried(member)),
        };
    }
    match policy {
        Locality::Random => random::choose(choice),
        Locality::LeastRequest => least_request::choose(choice, live),
        Locality::Prequal => {
            let draw = Draw { members: usable, chance: choice.chance(0), tried: ask.tried, backend };
            live.prequal(&draw).or_else(|| least_request::choose(choice, live))
        }
        // The weights of WEIGHTED_ROUND_ROBIN are the plan's. Consistent hashing without a key has nothing to hash.
        Locality::RoundRobin
        | Locality::WeightedRoundRobin
        | Locality::RingHash { .. }
        | Locality::Maglev => turn::choose(choice),
    }
}

impl Choice<'_> {
    #[inline]
    fn is_untried(&self, member: u32) -> bool {
        self.tried.is_empty() || !self.tried.contains(&(self.backend, member))
    }

    /// The `n`-th random number of this turn: the same turn of two backends has nothing in common.
    #[inline]
    const fn chance(&self, n: u64) -> u64 {
        hash::mix(self.turn ^ self.usable.identity, n.wrapping_add(SALT))
    }

    /// The first untried member from `place` on.
    #[inline]
    fn next_from(&self, place: usize) -> Option<u32> {
        let (before, after) = self.usable.members.split_at_checked(place)?;
        after.iter().chain(before).copied().find(|member| self.is_untried(*member))
    }
}

impl Usable {
    /// A random place in the list of members; in proportion to weights, if there are any.
    #[inline]
    pub(super) fn place_at(&self, chance: u64) -> Option<usize> {
        match &self.weights {
            None => (!self.members.is_empty()).then(|| hash::below(chance, self.members.len())),
            Some(weights) => weights.by_point(chance).next().map(|place| place as usize),
        }
    }

    /// Weight of the member at `place`.
    #[inline]
    pub(super) fn weight(&self, place: usize) -> f64 {
        self.weights.as_ref().and_then(|weights| weights.arcs.get(place)).map_or(1.0, |arc| arc.2)
    }
}

/// Any number; sets the draws of members apart from others of the same turn.
const SALT: u64 = 0x6D65_6D62;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::balance::pick::Room;
    use crate::balance::plan::Shares;
    use crate::model::place::OriginId;

    /// Members with so many requests in flight each.
    struct Fleet(Vec<u64>);

    impl Live for Fleet {
        fn admit(&mut self, _: u32, _: Room) -> Option<u64> {
            Some(0)
        }

        fn in_flight(&self, _: u32, member: u32) -> u64 {
            self.0[member as usize]
        }
    }

    fn usable(members: u32, weights: Option<&[f64]>) -> Usable {
        let shares = |weights: &[f64]| Arc::new(Shares::new((0..).zip(weights.iter().copied())));
        Usable { members: (0..members).collect(), weights: weights.map(shares), ..Usable::default() }
    }

    fn pick(policy: Locality, usable: &Usable, turn: u64, fleet: &mut Fleet, tried: &[(u32, u32)]) -> u32 {
        let ask = Ask { origin: OriginId(0), key: None, pinned: None, turn, tried };
        choose(policy, (usable, 0), &ask, turn, fleet).unwrap()
    }

    /// How often each member is picked in 60,000 turns.
    fn counts(policy: Locality, usable: &Usable, fleet: &mut Fleet) -> Vec<u32> {
        let mut counts = vec![0; usable.members.len()];
        for turn in 0..60_000 {
            counts[pick(policy, usable, turn, fleet, &[]) as usize] += 1;
        }
        counts
    }

    const CHOOSERS: [Locality; 5] = [
        Locality::RoundRobin,
        Locality::Random,
        Locality::LeastRequest,
        Locality::WeightedRoundRobin,
        Locality::Prequal,
    ];

    #[test]
    fn g_2c_idle_members_of_one_weight_get_the_same() {
        for policy in CHOOSERS {
            let counts = counts(policy, &usable(6, None), &mut Fleet(vec![0; 6]));
            assert!(counts.iter().all(|count| count.abs_diff(10_000) < 500), "{policy:?}: {counts:?}");
        }
    }

    #[test]
    fn a_member_of_a_tenth_of_the_weight_gets_a_tenth_of_a_share() {
        let usable = usable(6, Some(&[1.0, 1.0, 0.1, 1.0, 1.0, 1.0]));
        for policy in CHOOSERS {
            let counts = counts(policy, &usable, &mut Fleet(vec![0; 6]));
            let share = f64::from(counts[2]) / 60_000.0;
            assert!((share - 0.1 / 5.1).abs() < 0.005, "{policy:?}: {share} {counts:?}");
        }
    }

    #[test]
    fn weighted_turns_are_smooth() {
        let usable = usable(3, Some(&[2.0, 1.0, 1.0]));
        for start in [0, 1000, 77_777] {
            let first = |turn: &u64| {
                pick(Locality::WeightedRoundRobin, &usable, start + turn, &mut Fleet(vec![0; 3]), &[]) == 0
            };
            let count = (0..20).filter(first).count();
            assert!(count.abs_diff(10) <= 1, "{count} of 20");
        }
    }

    #[test]
    fn g_2c_least_request_takes_the_idler_of_two() {
        let counts = counts(Locality::LeastRequest, &usable(4, None), &mut Fleet(vec![0, 0, 9, 0]));
        // Never among two different ones of which one is idler.
        assert_eq!(counts[2], 0, "{counts:?}");
        let two = counts[0] + counts[1];
        assert!(two.abs_diff(40_000) < 1_500, "{counts:?}");
    }

    #[test]
    fn a_random_choice_has_no_rhythm() {
        let usable = usable(2, None);
        let picks: Vec<_> = (0..10_000)
            .map(|turn| pick(Locality::Random, &usable, turn, &mut Fleet(vec![0; 2]), &[]))
            .collect();
        let same = picks.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(same.abs_diff(5_000) < 250, "{same}");
    }

    #[test]
    fn no_policy_picks_what_was_tried() {
        let weighted = usable(3, Some(&[1.0, 0.5, 0.2]));
        for policy in CHOOSERS {
            for usable in [&usable(3, None), &weighted] {
                for turn in 0..200 {
                    let tried = [(0, 0), (0, 2), (1, 1)];
                    assert_eq!(pick(policy, usable, turn, &mut Fleet(vec![0; 3]), &tried), 1, "{policy:?}");
                }
            }
        }
    }
}
