//! The room of a backend as plain values: in time (virtual scheduling) and in number. What `ledger::gate` does on
//! atomics, by the same arithmetic; and the same for a flow of requests.

use crate::balance::gcra;
use crate::balance::pick::Room;
use crate::balance::plan::Limits;
use crate::model::unit::{Span, Tick};

/// Room of one backend, as one proxy keeps it. Counters hold whole numbers unless a flow is poured in.
#[derive(Debug, Clone)]
pub struct Gate {
    due: u64,
    /// What the planner set last; closed before the first tick.
    pub limits: Limits,
    /// Requests that got room.
    pub admitted: f64,
    /// Requests placed above the limit.
    pub overfilled: f64,
    /// Requests turned away.
    pub refused: f64,
    /// Second and later attempts, which take room and no turn.
    again: f64,
    /// Requests under way.
    pub in_flight: f64,
    /// Of a flow: how long a request is under way, in seconds.
    stay: f64,
    /// Of a flow: requests that asked since the last [`Self::hold`], and the part that finds room in number.
    held: (f64, f64),
    /// Of the step of a flow: requests that still have room.
    room: f64,
    /// Of it: requests that have asked.
    asked: f64,
    /// Of it: part of a flow that is admitted.
    fair: f64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            due: 0,
            limits: Limits::CLOSED,
            admitted: 0.0,
            overfilled: 0.0,
            refused: 0.0,
            again: 0.0,
            in_flight: 0.0,
            stay: 0.0,
            held: (0.0, 1.0),
            room: 0.0,
            asked: 0.0,
            fair: 1.0,
        }
    }
}

impl Gate {
    /// Room for one request: its turn, or `None` when the backend is full. Whoever gets room owes a
    /// [`Self::release`].
    pub fn take(&mut self, now: Tick, room: Room) -> Option<u64> {
        // One count of turns for both, so that the member round robin is exact whichever comes next.
        let turn = whole(self.admitted + self.overfilled);
        if room == Room::IfFree {
            self.admit(now)?;
            self.admitted += 1.0;
        } else {
            self.overfilled += 1.0;
        }
        self.in_flight += 1.0;
        Some(turn)
    }

    /// The same for another attempt of a request, which takes no turn.
    pub fn take_again(&mut self, now: Tick, room: Room) -> Option<u64> {
        if room == Room::IfFree {
            self.admit(now)?;
        }
        self.again += 1.0;
        self.in_flight += 1.0;
        Some(whole(self.admitted + self.overfilled))
    }

    fn admit(&mut self, now: Tick) -> Option<()> {
        let Limits { rate, count } = self.limits;
        let due = if rate.is_open() { Some(self.due) } else { gcra::admit(self.due, now, rate) };
        match due.filter(|_| whole(self.in_flight) < count) {
            Some(due) => {
                self.due = due;
                Some(())
            }
            None => {
                self.refused += 1.0;
                None
            }
        }
    }

    /// Gives back the room of a request that has ended.
    pub fn release(&mut self) {
        self.in_flight = (self.in_flight - 1.0).max(0.0);
    }

    /// Of a flow: a request is from now on under way for `stay` seconds. So many as have asked since the last time, in
    /// `seconds`, find all places taken now and then, the more so the more random they come (`scatter`, 0 to 1).
    #[allow(clippy::cast_precision_loss)]
    pub fn hold(&mut self, stay: f64, scatter: f64, seconds: f64) {
        self.stay = stay;
        let asked = std::mem::take(&mut self.held.0);
        let count = self.limits.count;
        if count == u64::MAX || asked <= 0.0 {
            self.held.1 = 1.0;
            return;
        }
        let offered = asked / seconds * stay;
        let most = (count as f64 / offered).min(1.0);
        self.held.1 = scatter * (1.0 - blocked(offered, count)).min(most) + (1.0 - scatter) * most;
    }

    /// Begins a step of a flow, `span` long from `now` on: works out how many requests have room in it.
    #[allow(clippy::cast_precision_loss)]
    pub fn open(&mut self, now: Tick, span: Span) {
        let Limits { rate, count } = self.limits;
        self.due = self.due.max(gcra::units(now));
        let in_time = if rate.is_open() {
            f64::INFINITY
        } else if rate.interval == u64::MAX {
            0.0
        } else {
            let end = gcra::units(now + span).saturating_add(rate.tolerance);
            end.saturating_sub(self.due) as f64 / rate.interval as f64
        };
        // Little's law: so many in this step keep `count` under way.
        let in_number = match count {
            u64::MAX => f64::INFINITY,
            count => count as f64 / self.stay.max(1e-6) * span.as_secs(),
        };
        self.room = in_time.min(in_number);
        let asked = std::mem::take(&mut self.asked);
        self.fair = if asked > self.room { self.room / asked } else { 1.0 };
    }

    /// So many of `wanted` requests are admitted in this step. Whoever asks gets the same part of it, by what was asked
    /// for in the step before: single requests of several origins find room in proportion to how many they are.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub fn pour(&mut self, wanted: f64) -> f64 {
        self.asked += wanted;
        self.held.0 += wanted;
        let taken = (wanted * self.fair.min(self.held.1)).min(self.room);
        self.room -= taken;
        self.admitted += taken;
        self.refused += wanted - taken;
        let rate = self.limits.rate;
        if !rate.is_open() && rate.interval != u64::MAX {
            self.due = self.due.saturating_add((taken * rate.interval as f64) as u64);
        }
        taken
    }

    /// Places a flow above the limit.
    pub fn overpour(&mut self, wanted: f64) {
        self.overfilled += wanted;
    }

    /// How far the schedule is ahead of now, in the units of [`gcra::Limit`].
    #[must_use]
    pub fn backlog(&self, now: Tick) -> u64 {
        self.due.saturating_sub(gcra::units(now))
    }

    /// Requests that found room, second attempts with them.
    #[must_use]
    pub fn admitted(&self) -> u64 {
        whole(self.admitted + self.again)
    }

    /// Requests placed above the limit.
    #[must_use]
    pub fn overfilled(&self) -> u64 {
        whole(self.overfilled)
    }

    /// Requests turned away.
    #[must_use]
    pub fn refused(&self) -> u64 {
        whole(self.refused)
    }
}

/// Erlang's formula: the part of random requests that finds all `places` taken, when `offered` are under way where
/// there is no limit. With very many places chance plays no part.
#[allow(clippy::cast_precision_loss)]
fn blocked(offered: f64, places: u64) -> f64 {
    const MANY: u64 = 500;
    if places > MANY {
        return (1.0 - places as f64 / offered).max(0.0);
    }
    (1..=places).fold(1.0, |part, n| offered * part / (n as f64 + offered * part))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> u64 {
    // A sum of parts may fall short of the whole number that it means.
    (value + 1e-6) as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::balance::gcra::Limit;
    use crate::model::unit::{PerSecond, SECOND};

    fn limited(rate: f64) -> Gate {
        let limits = Limits { rate: Limit::new(PerSecond::new(rate), Span::millis(100)), count: u64::MAX };
        Gate { limits, ..Gate::default() }
    }

    #[test]
    fn a_flow_and_single_requests_find_the_same_room() {
        let (mut single, mut flow) = (limited(70.0), limited(70.0));
        for step in 0..100 {
            let now = Tick(step * SECOND / 10);
            flow.open(now, Span::millis(100));
            flow.pour(20.0);
            for n in 0..20 {
                single.take(now + Span::millis(5 * n), Room::IfFree);
            }
        }
        assert!((single.admitted - flow.admitted).abs() <= 8.0, "{} {}", single.admitted, flow.admitted);
        assert!((flow.admitted - 707.0).abs() < 2.0 && (flow.refused - 1293.0).abs() < 2.0);
    }

    #[test]
    fn room_in_number_comes_back_with_the_release() {
        let mut gate = Gate { limits: Limits { count: 1, ..Limits::OPEN }, ..Gate::default() };
        assert_eq!((gate.take(Tick(0), Room::IfFree), gate.take(Tick(0), Room::IfFree)), (Some(0), None));
        assert_eq!(gate.take(Tick(0), Room::Overfill), Some(1));
        gate.release();
        gate.release();
        assert_eq!((gate.take_again(Tick(1), Room::IfFree), gate.admitted()), (Some(2), 2));
    }

    #[test]
    fn of_a_flow_no_more_is_under_way_than_the_most() {
        let mut gate = Gate { limits: Limits { count: 50, ..Limits::OPEN }, ..Gate::default() };
        gate.hold(0.5, 0.0, 0.1);
        gate.open(Tick(0), Span::millis(100));
        assert!((gate.pour(100.0) - 10.0).abs() < 1e-9, "50 under way for half a second each");
        assert!((blocked(25.0, 20) - 0.28).abs() < 0.01, "as in Erlang's table");
    }
}
