//! The room of a backend as plain values: in time (virtual scheduling) and in number. What `ledger::gate` does on
//! atomics, by the same arithmetic; and the same for a flow of requests.

use crate::balance::gcra;
use crate::balance::pick::Room;
use crate::balance::plan::Limits;
use crate::model::unit::{Span, Tick};

/// A walk that is looked at in steps turns back a little beyond its bounds, at either one by 0.58 standard deviations of
/// a step: that much nearer they are put.
const WITHIN: f64 = 1.165;

/// From step to step so much of the mean of who asks is kept.
const ASKED: f64 = 0.8;

/// What comes above a limit comes when the schedule is full: it fills the gaps between those that are admitted, and with
/// so large a part of it nothing is left of the spacing.
const GAPS: f64 = 0.2;

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
    /// Of a flow: requests that ask in a step on average, and the part of a flow that has room.
    asked: (f64, f64),
    fair: f64,
    /// Of a flow: requests of a tick, mean and variance.
    counts: (f64, f64),
    /// Of a flow: requests that asked, that were admitted and that were placed above the limit; fading.
    seen: (f64, f64, f64),
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
            asked: (0.0, 0.0),
            fair: 1.0,
            counts: (0.0, 0.0),
            seen: (0.0, 0.0, 0.0),
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

    /// Begins a step of a flow, `span` long from `now` on: works out how many requests have room in it. `scatter` is 1
    /// where they come at random: inside of the step, too, they meet a full schedule now and an empty one then.
    #[allow(clippy::cast_precision_loss)]
    pub fn open(&mut self, now: Tick, span: Span, scatter: f64) {
        let Limits { rate, count } = self.limits;
        let (before, asked) = self.asked;
        self.asked = (before * ASKED + asked * (1.0 - ASKED), 0.0);
        if rate.is_open() && count == u64::MAX {
            (self.room, self.fair) = (f64::INFINITY, 1.0);
            return;
        }
        self.due = self.due.max(gcra::units(now));
        let in_time = if rate.is_open() {
            f64::INFINITY
        } else if rate.interval == u64::MAX {
            0.0
        } else {
            let interval = rate.interval as f64;
            let end = gcra::units(now + span).saturating_add(rate.tolerance);
            // Whoever finds a little room takes it whole, and thereby of the room to come: that is owed.
            let room = (i128::from(end) - i128::from(self.due)) as f64 / interval + 1.0;
            let in_step = gcra::units(Tick(span.0)) as f64 / interval;
            (room - WITHIN * (in_step * scatter).sqrt()).max(0.0)
        };
        // Little's law: so many in this step keep `count` under way.
        let in_number = match count {
            u64::MAX => f64::INFINITY,
            count => count as f64 / self.stay.max(1e-6) * span.as_secs(),
        };
        self.room = in_time.min(in_number);
        self.fair = if self.asked.0 > self.room { self.room / self.asked.0 } else { 1.0 };
    }

    /// So many of `wanted` requests are admitted in this step. Room comes back little by little: whoever asks gets the
    /// same part of it, by how many ask on average.
    pub fn pour(&mut self, wanted: f64) -> f64 {
        self.held.0 += wanted;
        self.asked.1 += wanted;
        self.ask(wanted, self.fair)
    }

    /// The same for what has asked before and found no room anywhere: it gets what the others have left.
    pub fn pour_rest(&mut self, wanted: f64) -> f64 {
        if self.limits.count != u64::MAX {
            return 0.0;
        }
        let taken = self.fill(wanted);
        self.seen.1 += taken;
        self.refused -= taken;
        taken
    }

    /// The same for what a member has refused: it asks right after it was admitted, and gets what is left. It takes no
    /// place for long.
    pub fn pour_again(&mut self, wanted: f64) -> f64 {
        self.ask(wanted, 1.0)
    }

    fn ask(&mut self, wanted: f64, fair: f64) -> f64 {
        let part = if self.limits.count == u64::MAX { 1.0 } else { self.held.1 };
        let taken = self.fill(wanted * fair.min(part));
        (self.seen.0, self.seen.1) = (self.seen.0 + wanted, self.seen.1 + taken);
        self.refused += wanted - taken;
        taken
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn fill(&mut self, wanted: f64) -> f64 {
        let taken = wanted.min(self.room);
        self.room -= taken;
        self.admitted += taken;
        let rate = self.limits.rate;
        if !rate.is_open() && rate.interval != u64::MAX {
            self.due = self.due.saturating_add((taken * rate.interval as f64) as u64);
        }
        taken
    }

    /// Places a flow above the limit.
    pub fn overpour(&mut self, wanted: f64) {
        self.overfilled += wanted;
        self.seen.2 += wanted;
    }

    /// Of what was seen of a flow, `kept` still counts from now on.
    pub fn fade(&mut self, kept: f64) {
        let (asked, admitted, above) = self.seen;
        self.seen = (asked * kept, admitted * kept, above * kept);
    }

    /// So much of a flow came through in a tick; `part` of the mean and the variance is the newest.
    pub fn watch(&mut self, count: f64, part: f64) {
        let (mean, variance) = self.counts;
        let off = count - mean;
        self.counts = (mean + part * off, variance + part * (off * off - variance));
    }

    /// How random a flow still is behind the gate, as squared variation, of what it was before. From one request to the
    /// next: where more ask than are admitted, the schedule spaces them, and what is left of chance is how soon the next
    /// one asks. And over a while, which is what counts at members with much to do (`load`, 0 to 1): as counts show.
    #[must_use]
    pub fn scatter(&self, load: f64) -> f64 {
        let (asked, admitted, above) = self.seen;
        if self.limits.rate.is_open() || admitted + above <= 0.0 {
            return 1.0;
        }
        let spaced = if asked > 0.0 { (admitted / asked).powi(2) } else { 1.0 };
        let gaps = (above / (admitted + above) / GAPS).min(1.0);
        let near = spaced + (1.0 - spaced) * gaps;
        let far = if self.counts.0 > 0.0 { (self.counts.1 / self.counts.0).min(1.0) } else { 1.0 };
        near + (far - near) * load
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
    use crate::balance::rng::Rng;
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
            flow.open(now, Span::millis(100), 0.0);
            flow.pour(20.0);
            for n in 0..20 {
                single.take(now + Span::millis(5 * n), Room::IfFree);
            }
        }
        assert!((single.admitted - flow.admitted).abs() <= 8.0, "{} {}", single.admitted, flow.admitted);
        assert!((flow.admitted - 707.0).abs() < 2.0 && (flow.refused - 1293.0).abs() < 2.0);
    }

    #[test]
    fn whatever_chance_draws_a_flow_gets_no_more_than_the_limit_and_its_burst() {
        for (rate, draw) in [(1.0, 3), (5.0, 2), (10.0, 5), (20.0, 40), (70.0, 9), (5000.0, 900)] {
            for burst in [Span::ZERO, Span::millis(100), Span::secs(1)] {
                let limits = Limits { rate: Limit::new(PerSecond::new(rate), burst), count: u64::MAX };
                let mut gate = Gate { limits, ..Gate::default() };
                let mut rng = Rng::new(7);
                for step in 1..=8000_u32 {
                    gate.open(Tick(u64::from(step) * SECOND / 80), Span(SECOND / 80), 1.0);
                    gate.pour(f64::from(u32::try_from(rng.below(draw)).unwrap()));
                    gate.pour_rest(f64::from(u32::try_from(rng.below(draw)).unwrap()));
                    let most = rate * (f64::from(step) / 80.0 + burst.as_secs()) + 1.0;
                    assert!(gate.admitted <= most + 1e-6, "{rate} {step}: {} of {most}", gate.admitted);
                }
            }
        }
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
        gate.open(Tick(0), Span::millis(100), 0.0);
        assert!((gate.pour(100.0) - 10.0).abs() < 1e-9, "50 under way for half a second each");
        assert!((blocked(25.0, 20) - 0.28).abs() < 0.01, "as in Erlang's table");
    }

    #[test]
    fn a_full_gate_lets_through_a_flow_that_is_less_random() {
        let scatter = |demand: f64, above: f64| {
            let mut gate = limited(100.0);
            for step in 0..100 {
                gate.open(Tick(step * SECOND / 10), Span::millis(100), 0.0);
                gate.pour(demand / 10.0);
                gate.overpour(above / 10.0);
                gate.fade(0.9);
            }
            gate.scatter(0.0)
        };
        assert!((scatter(80.0, 0.0) - 1.0).abs() < 1e-9);
        assert!((scatter(200.0, 0.0) - 0.25).abs() < 0.01);
        assert!((scatter(200.0, 11.1) - 0.625).abs() < 0.01, "a tenth of them are above the limit");
        assert!((scatter(200.0, 50.0) - 1.0).abs() < 1e-9);
    }
}
