//! Automatic capacity drain: which backends get nothing because too few of their members are healthy [G 2.13].
//!
//! A backend of which fewer than 25 % of the members pass their health check is drained, and undrained when 35 %
//! have passed for 60 s on end. Never more than half of a service's backends are drained. What Google leaves open is
//! decided so: when more than half ought to be drained, the worst are, up to half, of equal ones the first in the
//! file; a backend that is drained already keeps its place before one that is worse.
//!
//! **Ours**: a drain never takes the last healthy member: it happens only while another backend has one, and ends when
//! no other has any more. So an outage of the whole service drains nothing, and nobody waits 60 s when it is over.
//! Members that have no verdict yet, at start or when just added, are given the benefit of the doubt.
//!
//! Backends without capacity (scaler 0, or no members) are neither drained nor do they count as drained; they count
//! among all.

use crate::model::unit::{Span, Tick};

/// Fewer healthy members than this are too few, in percent of all.
const TOO_FEW: usize = 25;
/// So many are enough again, in percent of all.
const ENOUGH: usize = 35;
/// How long they must have been enough.
const HOLD: Span = Span::secs(60);

/// The drains of one service. Lives in its planner; a reload adopts it.
#[derive(Debug, Clone, Default)]
pub(super) struct Drains {
    /// By backend index.
    states: Vec<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// What the backend is called over reloads.
    identity: u64,
    is_drained: bool,
    /// Since when a drained one has had enough healthy members.
    enough_since: Option<Tick>,
    standing: Standing,
}

/// The members of a backend at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// Pass their health check.
    pub(super) healthy: usize,
    /// Have no verdict yet.
    pub(super) undecided: usize,
    /// All of them; 0 for a backend without capacity.
    pub(super) all: usize,
}

impl Standing {
    const fn has_too_few(self) -> bool {
        (self.healthy + self.undecided) * 100 < self.all * TOO_FEW
    }

    const fn has_enough(self) -> bool {
        self.healthy * 100 >= self.all * ENOUGH
    }

    /// Healthy members in millionths of all.
    fn share(self) -> usize {
        (self.healthy * 1_000_000).checked_div(self.all).unwrap_or(0)
    }
}

impl Drains {
    /// Nothing drained but what `old` has drained under the same identities.
    pub(super) fn new(identities: impl Iterator<Item = u64>, old: Option<&Self>) -> Self {
        let known = |identity| old?.states.iter().find(|state| state.identity == identity).copied();
        let fresh = |identity| State {
            identity,
            is_drained: false,
            enough_since: None,
            standing: Standing::default(),
        };
        Self {
            states: identities.map(|identity| known(identity).unwrap_or_else(|| fresh(identity))).collect(),
        }
    }

    /// Whether a backend gets nothing for now.
    pub(super) fn is_drained(&self, backend: usize) -> bool {
        self.states.get(backend).is_some_and(|state| state.is_drained)
    }

    /// Takes in how the backends stand now, in their order; what is missing has no capacity.
    pub(super) fn tick(&mut self, now: Tick, standings: impl Iterator<Item = Standing>) {
        for (state, standing) in
            self.states.iter_mut().zip(standings.chain(std::iter::repeat(Standing::default())))
        {
            state.standing = standing;
            state.recover(now);
        }
        self.release_beyond_half();
        self.drain_the_worst();
        self.release_the_last();
    }

    fn drained(&self) -> usize {
        self.states.iter().filter(|state| state.is_drained).count()
    }

    /// A reload may have taken away backends that made up the other half.
    fn release_beyond_half(&mut self) {
        for _ in self.states.len() / 2..self.drained() {
            let drained = self.states.iter_mut().filter(|state| state.is_drained);
            if let Some(best) = drained.max_by_key(|state| state.standing.share()) {
                best.release();
            }
        }
    }

    fn drain_the_worst(&mut self) {
        for _ in self.drained()..self.states.len() / 2 {
            let worst = (0..)
                .zip(&self.states)
                .filter(|(_, state)| !state.is_drained && state.standing.has_too_few())
                .min_by_key(|(index, state)| (state.standing.share(), *index))
                .map(|(index, _): (usize, _)| index);
            let Some(worst) = worst.filter(|worst| self.serves_without(*worst)) else { return };
            if let Some(state) = self.states.get_mut(worst) {
                state.is_drained = true;
            }
        }
    }

    /// Whether a backend other than this one is not drained and has a healthy member.
    fn serves_without(&self, backend: usize) -> bool {
        let others = (0..).zip(&self.states).filter(|(index, _)| *index != backend);
        others.map(|(_, state)| state).any(State::serves)
    }

    fn release_the_last(&mut self) {
        if self.serves_without(usize::MAX) {
            return;
        }
        for state in self.states.iter_mut().filter(|state| state.standing.healthy > 0) {
            state.release();
        }
    }
}

impl State {
    const fn serves(&self) -> bool {
        !self.is_drained && self.standing.healthy > 0 && self.standing.all > 0
    }

    fn recover(&mut self, now: Tick) {
        if !self.is_drained || self.standing.all == 0 {
            self.release();
        } else if !self.standing.has_enough() {
            self.enough_since = None;
        } else if now.since(*self.enough_since.get_or_insert(now)) >= HOLD {
            self.release();
        }
    }

    const fn release(&mut self) {
        self.is_drained = false;
        self.enough_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn drains(backends: u64) -> Drains {
        Drains::new(0..backends, None)
    }

    fn of(healthy: usize, all: usize) -> Standing {
        Standing { healthy, undecided: 0, all }
    }

    /// Indices of what is drained after a tick at that second.
    fn tick(drains: &mut Drains, second: u64, standings: &[Standing]) -> Vec<usize> {
        drains.tick(Tick(0) + Span::secs(second), standings.iter().copied());
        (0..standings.len()).filter(|index| drains.is_drained(*index)).collect()
    }

    #[test]
    fn w8_with_one_of_eight_healthy_one_of_four_backends_is_drained() {
        let fine = of(8, 8);
        assert_eq!(tick(&mut drains(4), 0, &[of(1, 8), fine, fine, fine]), [0]);
        assert_eq!(tick(&mut drains(4), 0, &[of(2, 8), fine, fine, fine]), NONE, "25 % is not below 25 %");
    }

    #[test]
    fn w9_of_three_candidates_among_four_the_two_worst_are_drained() {
        let now = [of(1, 8), of(8, 8), of(0, 8), of(1, 10)];
        assert_eq!(tick(&mut drains(4), 0, &now), [2, 3]);
        let equal = [of(1, 8), of(8, 8), of(1, 8), of(1, 8)];
        assert_eq!(tick(&mut drains(4), 0, &equal), [0, 2], "of equal ones the first");
    }

    #[test]
    fn w10_back_at_three_of_eight_for_60_seconds_it_is_undrained() {
        let mut drains = drains(2);
        let fine = of(8, 8);
        assert_eq!(tick(&mut drains, 0, &[of(1, 8), fine]), [0]);
        assert_eq!(tick(&mut drains, 10, &[of(3, 8), fine]), [0]);
        assert_eq!(tick(&mut drains, 69, &[of(3, 8), fine]), [0]);
        assert_eq!(tick(&mut drains, 70, &[of(3, 8), fine]), NONE);
    }

    #[test]
    fn g_2_13_what_falls_below_35_percent_in_between_waits_anew() {
        let mut drains = drains(2);
        let fine = of(8, 8);
        for (second, healthy) in [(0, 1), (10, 3), (60, 2), (69, 3), (100, 8), (128, 3)] {
            assert_eq!(tick(&mut drains, second, &[of(healthy, 8), fine]), [0]);
        }
        assert_eq!(tick(&mut drains, 129, &[of(3, 8), fine]), NONE);
    }

    #[test]
    fn g_2_13_at_most_half_is_drained_so_one_backend_alone_never_is() {
        assert_eq!(tick(&mut drains(1), 0, &[of(1, 8)]), NONE);
        assert_eq!(tick(&mut drains(3), 0, &[of(1, 8), of(0, 8), of(8, 8)]), [1]);
    }

    #[test]
    fn g_2_13_a_backend_without_capacity_is_not_drained_and_takes_nobodys_place() {
        let now = [of(0, 0), of(1, 8), of(8, 8), of(8, 8)];
        assert_eq!(tick(&mut drains(4), 0, &now), [1]);
        let mut drains = drains(2);
        assert_eq!(tick(&mut drains, 0, &[of(1, 8), of(8, 8)]), [0]);
        assert_eq!(tick(&mut drains, 1, &[of(0, 0), of(1, 8)]), NONE, "scaler 0 takes over from the drain");
    }

    #[test]
    fn the_last_healthy_member_is_never_drained() {
        assert_eq!(tick(&mut drains(4), 0, &[of(0, 8); 4]), NONE, "an outage of all drains nothing");
        assert_eq!(tick(&mut drains(2), 0, &[of(1, 8), of(0, 8)]), [1]);
        let mut drains = drains(3);
        assert_eq!(tick(&mut drains, 0, &[of(1, 8), of(8, 8), of(8, 8)]), [0]);
        assert_eq!(tick(&mut drains, 1, &[of(1, 8), of(0, 8), of(0, 8)]), NONE);
        let scaled_to_0 = Standing { healthy: 8, undecided: 0, all: 0 };
        assert_eq!(tick(&mut drains, 2, &[of(1, 8), scaled_to_0, of(0, 8)]), [2]);
    }

    #[test]
    fn members_without_a_verdict_are_not_held_against_their_backend() {
        let starting = Standing { healthy: 0, undecided: 8, all: 8 };
        assert_eq!(tick(&mut drains(2), 0, &[starting, of(8, 8)]), NONE);
        let half_known = Standing { healthy: 0, undecided: 1, all: 8 };
        assert_eq!(tick(&mut drains(2), 0, &[half_known, of(8, 8)]), [0]);
    }

    #[test]
    fn a_reload_keeps_drains_and_their_time_and_releases_what_is_over_half() {
        let mut old = drains(4);
        let fine = of(8, 8);
        assert_eq!(tick(&mut old, 0, &[of(1, 8), of(0, 8), fine, fine]), [0, 1]);
        assert_eq!(tick(&mut old, 30, &[of(3, 8), of(0, 8), fine, fine]), [0, 1]);
        let mut fewer = Drains::new([1, 0].into_iter(), Some(&old));
        assert_eq!(tick(&mut fewer, 31, &[of(0, 8), of(3, 8)]), [0], "the better one is released");
        let mut turned = Drains::new([2, 1, 0, 3].into_iter(), Some(&old));
        assert_eq!(tick(&mut turned, 89, &[fine, of(0, 8), of(3, 8), fine]), [1, 2]);
        assert_eq!(tick(&mut turned, 90, &[fine, of(0, 8), of(3, 8), fine]), [1]);
    }
}
