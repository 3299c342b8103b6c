//! The one shared cell per backend that makes RATE, IN_FLIGHT and CONNECTION exact over all workers.
//!
//! Virtual scheduling (GCRA): `due` is the moment at which everything admitted so far would have been served at
//! exactly the target rate. A request has room while `due` is at most the tolerance ahead of now. The arithmetic is
//! [`crate::balance::gcra`], so that a simulation runs the same; here it is done on one atomic.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::balance::gcra::{self, Limit};
use crate::balance::plan::Limits;
use crate::model::unit::Tick;

/// Room of one backend of one service. Created by the registry, lives as long as a world names the backend.
#[derive(Debug)]
#[repr(align(128))]
pub struct Gate {
    due: AtomicU64,
    interval: AtomicU64,
    tolerance: AtomicU64,
    /// Requests or connections under way. Counted whatever the mode, so that a change of mode finds the truth.
    in_flight: AtomicU64,
    /// The most of these; `u64::MAX` = not limited.
    most: AtomicU64,
    /// Requests placed here, with or without room: one count for both, so that the member round robin is exact
    /// whichever comes next.
    turns: AtomicU64,
    /// Of these, sent although full, since everything was.
    overfilled: AtomicU64,
    /// Second and later attempts of requests, which take room and no turn.
    again: AtomicU64,
    /// Asked for room and got none.
    refused: AtomicU64,
}

/// What the planner reads at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests admitted within the limit.
    pub admitted: u64,
    /// Requests placed above it.
    pub overfilled: u64,
    /// Requests turned away.
    pub refused: u64,
}

impl Gate {
    /// A gate that refuses everything until the planner sets a limit.
    #[must_use]
    pub fn closed() -> Self {
        let limit = Limit::CLOSED;
        Self {
            due: AtomicU64::new(0),
            interval: AtomicU64::new(limit.interval),
            tolerance: AtomicU64::new(limit.tolerance),
            in_flight: AtomicU64::new(0),
            most: AtomicU64::new(u64::MAX),
            turns: AtomicU64::new(0),
            overfilled: AtomicU64::new(0),
            again: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Takes room for one request: its turn number, or `None` when the backend is full. Whoever gets room, by this or
    /// one of the next three, owes a [`Self::release`].
    #[inline]
    pub fn admit(&self, now: Tick) -> Option<u64> {
        self.take(now).then(|| self.turns.fetch_add(1, Relaxed))
    }

    /// The same for another attempt of a request. It takes no turn: if it did, of two members the failing one would
    /// be first in turn for every request.
    pub fn admit_again(&self, now: Tick) -> Option<u64> {
        self.take(now).then(|| self.turn_again())
    }

    #[inline]
    fn take(&self, now: Tick) -> bool {
        let has_room = match self.most.load(Relaxed) {
            u64::MAX => {
                let has_turn = self.take_turn(now);
                if has_turn {
                    self.in_flight.fetch_add(1, Relaxed);
                }
                has_turn
            }
            most => self.take_place(most) && (self.take_turn(now) || self.leave_place()),
        };
        if !has_room {
            self.refused.fetch_add(1, Relaxed);
        }
        has_room
    }

    /// Who is refused is never counted, not even for a moment: another worker would find the last place taken.
    fn take_place(&self, most: u64) -> bool {
        self.in_flight.fetch_update(Relaxed, Relaxed, |now| (now < most).then(|| now + 1)).is_ok()
    }

    /// There was a place and no turn.
    fn leave_place(&self) -> bool {
        self.release();
        false
    }

    #[inline]
    fn take_turn(&self, now: Tick) -> bool {
        let limit = Limit { interval: self.interval.load(Relaxed), tolerance: self.tolerance.load(Relaxed) };
        if limit.is_open() {
            return true;
        }
        let mut due = self.due.load(Relaxed);
        loop {
            let Some(next) = gcra::admit(due, now, limit) else { return false };
            match self.due.compare_exchange_weak(due, next, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(seen) => due = seen,
            }
        }
    }

    /// Gives back the room of one request that has ended, or was not sent after all.
    #[inline]
    pub fn release(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Requests or connections under way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Places a request above the limit: its turn number. It does not use up room, so that the backend goes on
    /// getting exactly its target plus its share of the overload [G 2.6].
    #[inline]
    pub fn overfill(&self) -> u64 {
        self.in_flight.fetch_add(1, Relaxed);
        self.overfilled.fetch_add(1, Relaxed);
        self.turns.fetch_add(1, Relaxed)
    }

    /// Places another attempt of a request, wherever the limit is; it takes no turn either.
    pub fn overfill_again(&self) -> u64 {
        self.in_flight.fetch_add(1, Relaxed);
        self.turn_again()
    }

    fn turn_again(&self) -> u64 {
        self.again.fetch_add(1, Relaxed);
        self.turns.load(Relaxed)
    }

    /// Sets the limits; only the planner calls this.
    pub fn set(&self, limits: Limits) {
        self.tolerance.store(limits.rate.tolerance, Relaxed);
        self.interval.store(limits.rate.interval, Relaxed);
        self.most.store(limits.count, Relaxed);
    }

    /// How far `due` is ahead of now, in the units of [`Limit`].
    #[must_use]
    pub fn backlog(&self, now: Tick) -> u64 {
        self.due.load(Relaxed).saturating_sub(gcra::units(now))
    }

    /// Goes on where another process's gate was: `due` is so far ahead of now, in the units of [`Limit`].
    pub fn resume(&self, backlog: u64, now: Tick) {
        self.due.store(gcra::units(now).saturating_add(backlog), Relaxed);
    }

    /// Whether the next request would be refused.
    #[must_use]
    pub fn is_full(&self, now: Tick) -> bool {
        let limit = Limit { interval: self.interval.load(Relaxed), tolerance: self.tolerance.load(Relaxed) };
        let is_late = !limit.is_open() && gcra::admit(self.due.load(Relaxed), now, limit).is_none();
        is_late || self.in_flight() >= self.most.load(Relaxed)
    }

    /// The turn that the next request would get, for those who only ask.
    #[must_use]
    pub fn peek(&self) -> u64 {
        self.turns.load(Relaxed)
    }

    /// The counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let overfilled = self.overfilled.load(Relaxed);
        let admitted = self.turns.load(Relaxed).saturating_sub(overfilled);
        Counts {
            admitted: admitted.wrapping_add(self.again.load(Relaxed)),
            overfilled,
            refused: self.refused.load(Relaxed),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn another_attempt_counts_and_takes_no_turn() {
        let gate = Gate::closed();
        gate.set(Limits::OPEN);
        let now = Tick(1);
        let turns =
            [gate.admit(now), gate.admit_again(now), gate.admit(now), gate.admit_again(now), gate.admit(now)];
        assert_eq!(turns, [Some(0), Some(1), Some(1), Some(2), Some(2)]);
        assert_eq!(gate.counts(), Counts { admitted: 5, overfilled: 0, refused: 0 });
    }

    #[test]
    fn turns_go_on_one_by_one_whether_there_is_room_or_not() {
        let gate = Gate::closed();
        gate.set(Limits::OPEN);
        let mut seen = Vec::new();
        for n in 0..100 {
            seen.push(if n % 3 == 1 { gate.overfill() } else { gate.admit(Tick(n)).unwrap() });
        }
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert_eq!(gate.counts(), Counts { admitted: 67, overfilled: 33, refused: 0 });
    }

    #[test]
    fn who_is_refused_is_not_under_way_for_a_moment() {
        let gate = Gate::closed();
        gate.set(Limits { count: 2, ..Limits::OPEN });
        gate.admit(Tick(1)).unwrap();
        std::thread::scope(|scope| {
            let visitors = [(); 3].map(|()| {
                scope.spawn(|| {
                    (0..20_000).filter(|_| gate.admit(Tick(1)).map(|_| gate.release()).is_some()).count()
                })
            });
            while visitors.iter().any(|visitor| !visitor.is_finished()) {
                assert!(gate.in_flight() <= 2);
            }
            let admitted: usize = visitors.into_iter().map(|visitor| visitor.join().unwrap()).sum();
            assert!(admitted > 0);
        });
        assert_eq!(gate.in_flight(), 1);
    }

    #[test]
    fn no_more_are_under_way_than_the_most_unless_overfilled() {
        let gate = Gate::closed();
        gate.set(Limits { count: 2, ..Limits::OPEN });
        let now = Tick(1);
        assert_eq!([gate.admit(now), gate.admit(now), gate.admit(now)], [Some(0), Some(1), None]);
        assert!(gate.is_full(now));
        gate.overfill();
        gate.release();
        assert_eq!((gate.admit(now), gate.in_flight()), (None, 2));
        gate.release();
        assert!(gate.admit(now).is_some());
    }
}
