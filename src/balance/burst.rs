//! How large a burst RATE lets through: exact under steady demand above the target, patient with chance below it.
//!
//! With one second's worth of tolerance, random arrivals below the target do not spill. But demand of 1.1 × target
//! would use that second up over ten seconds, and for so long the backend would get 10 % too much. So arrivals are
//! watched over the last `WINDOW`: when they exceed the target by more than their own scatter explains, demand is
//! steadily above it, and the tolerance is cut to what is in use, so that no more of it leaks away. It is one second
//! again once arrivals fall below the target.
//!
//! Scatter is what tells the two cases apart. Evenly spaced arrivals scatter by the rounding of a count to whole
//! requests and are judged within the window; Poisson arrivals scatter by the root of their number, and a cut that
//! chance brings about leaves them room for three times that.
//!
//! At start and when idle the tolerance is one second. Targets below about 7 per second need no cut: their second's
//! worth is within one request per second over any five seconds, and it holds too few arrivals to judge.

use std::collections::VecDeque;

use crate::model::unit::{PerSecond, Span, Tick};

/// The tolerance of a target that is not exceeded: one second's worth.
pub const FULL: Span = Span::secs(1);

/// How long arrivals are watched: a rise of demand is judged before it is 2 s old, with ticks up to 130 ms apart.
const WINDOW: Span = Span::millis(1500);

/// Ticks may come closer together than planned (a health change is planned for at once); more are not kept.
const MAX_SLOTS: usize = 64;

/// A cut needs this many slots: fewer say nothing about scatter.
const MIN_SLOTS: usize = 8;

/// Excess in requests that rounding alone may show, at the two ends of the window.
const ROUNDING: f64 = 1.5;

/// Variance in requests² that rounding adds to the count of a slot: 1/6 on average, 1/4 at most.
const ROUNDING_VARIANCE: f64 = 0.3;

/// Excess in standard deviations that chance shows less than once in a thousand windows.
const SIGMAS: f64 = 3.0;

/// Requests that a cut tolerance leaves beside what is in use, so that the schedule never runs dry between two
/// evenly spaced arrivals.
const SLACK: f64 = 2.0;

/// Watches the arrivals at one gate. Owned by the planner, one per backend with a rate target; adopted over a reload.
#[derive(Debug, Clone, Default)]
pub struct Burst {
    slots: VecDeque<Slot>,
    last: Option<Tick>,
    /// The tolerance while demand is steadily above the target.
    cut: Option<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    seconds: f64,
    /// Requests that asked for room, whether they got it or not.
    offered: f64,
}

impl Burst {
    /// The tolerance until the next tick. `offered` counts the requests that asked for room since the last tick;
    /// `backlog` is how far the gate's schedule is ahead of now.
    #[allow(clippy::cast_precision_loss)]
    pub fn tolerance(&mut self, now: Tick, offered: u64, target: PerSecond, backlog: Span) -> Span {
        let Some(last) = self.last.replace(now) else { return FULL };
        let seconds = now.since(last).as_secs();
        if seconds > 0.0 {
            self.push(Slot { seconds, offered: offered as f64 });
        }
        let (excess, scatter) = self.excess(target);
        if excess < -(ROUNDING + 0.5 * scatter) {
            self.cut = None;
        } else if excess > ROUNDING + SIGMAS * scatter && self.is_filled() {
            // The scatter of the first windows still has the rise in it; the cut is tightened as it passes.
            let cut = backlog + span((SLACK + SIGMAS * scatter) / target.get());
            self.cut = Some(self.cut.map_or(cut, |before| before.min(cut)));
        }
        self.cut.map_or(FULL, |cut| cut.min(FULL))
    }

    fn push(&mut self, slot: Slot) {
        self.slots.push_back(slot);
        while self.slots.len() > MAX_SLOTS
            || self.slots.front().is_some_and(|first| self.seconds() - first.seconds >= WINDOW.as_secs())
        {
            self.slots.pop_front();
        }
    }

    /// Whether there are enough slots to judge by.
    fn is_filled(&self) -> bool {
        self.slots.len() >= MIN_SLOTS && self.seconds() >= WINDOW.as_secs()
    }

    fn seconds(&self) -> f64 {
        self.slots.iter().map(|slot| slot.seconds).sum()
    }

    /// Requests above the target in the window, and the standard deviation that arrivals of this scatter give it.
    #[allow(clippy::cast_precision_loss)]
    fn excess(&self, target: PerSecond) -> (f64, f64) {
        let seconds = self.seconds();
        let offered: f64 = self.slots.iter().map(|slot| slot.offered).sum();
        let slots = self.slots.len() as f64;
        if slots < 2.0 {
            return (0.0, 0.0);
        }
        let rate = offered / seconds;
        let squares: f64 = self.slots.iter().map(|slot| (slot.offered - rate * slot.seconds).powi(2)).sum();
        let variance = (squares / (slots - 1.0) - ROUNDING_VARIANCE).max(0.0);
        (offered - target.get() * seconds, (variance * slots).sqrt())
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn span(seconds: f64) -> Span {
    Span((seconds * 1e9) as u64)
}
