//! UTILIZATION as a closed loop: late and noisy reports become an admitted rate (design.md 3.6).
//!
//! What members report is late by an unknown time and smoothed over an unknown window, so a report of now belongs to
//! rates of before. For each of several such lags a curve learns what a request costs; a step in the rate shows
//! which lags explain the reports, and the others are not believed any more. Each curve says at which rate utilization
//! reaches the target. The limit goes up to the least of these rates, and down to the greatest: while they disagree, it
//! stands and waits; at a steady rate they agree.
//!
//! * A slope that no step has shown yet is uncertain, and taken to be steep where the rate is to go up.
//! * Once the target has been met, the limit is raised only when it is used. What was learned under load is kept over
//!   idle times: the next step in demand meets the right limit at once.
//! * What comes above a limit because others had no room for a moment is held back from it.
//! * A base load hides what a request costs while few come: on the way to the target a small slope is believed, and that
//!   it bends upwards. Each step waits until every lag that is believed has seen it: from 40 to 300 requests a second
//!   over a base load of half the target takes some 25 readings, since what changes by less than reports scatter tells
//!   no lag from another.
//! * Where reports scatter by more than is usual, each says less: limits do not follow noise.
//! * A reading that cannot be explained (a change in cost, a lag that is not among ours) raises nothing.
//!
//! **What is merely not learned yet is not refused.** Until a load near the target has confirmed it, the limit is a guess.
//! What finds no room anywhere is placed above it, before anything is refused or placed above limits that are known:
//! as far as the last reading lets cost be thought in proportion, and no further than `GROWTH` times what was seen.
//!
//! Start: `START` per member, until readings at known rates say more; see `start` for how long. So late as the first
//! report came the others may be, too: such lags are believed until a step in the rate says otherwise, and the limit,
//! which goes up to the least of all rates only, waits for what it does to show.
//! When reports stop, the last limit stays and is not raised.
//! Rates are per healthy member here: when one fails, the limit falls with the number of members at once.

mod curve;
mod history;
mod scatter;
mod start;

use self::curve::{Curve, Lag};
use self::history::{History, Rates};
use self::scatter::Scatter;
use self::start::{START, Start};
use super::reading::{Look, Reading};
use crate::model::unit::{PerSecond, Ratio, Span};

/// The most by which a limit exceeds a rate whose cost is known.
const GROWTH: f64 = 4.0;

/// The least that a limit falls to at one reading.
const FALL: f64 = 0.4;

/// The limit is raised only when this part of it is used.
const USED: f64 = 0.8;

/// Requests per second and member that are always admitted, so that cost can be measured.
const FLOOR: f64 = 1.0;

/// A lag is not believed when readings were so much less probable by it than by the best, as a difference of −2 ln p.
const UNLIKELY: f64 = 9.0;

/// Lags whose rates differ by less than this factor agree: then the likeliest is right.
const AGREED: f64 = 1.1;

/// Where one request is so large a part of a reading, lags never agree: while they do not, the limit leans towards the
/// likeliest by this part of the way (as a ratio) at each reading.
const LEANING: (f64, f64) = (0.1, 0.1);

/// Where random arrivals find no room for a moment, a few are placed above the limit. So much of a limit is held back
/// for them at most, and this part of what came above it is added at each reading. While everything is full, only what
/// comes above the part that is due to all alike is chance [G 2.6].
const HELD_BACK: (f64, f64) = (0.1, 0.2);

/// Of a utilization: from here on a member has nothing left, and cost is more than it says.
const SATURATED: f64 = 0.97;

/// Part of the capacity that a saturated backend gets.
const DRAIN: f64 = 0.85;

/// A utilization counts as at least this: less cannot be told from nothing.
const LEAST: f64 = 0.002;

/// The loop of one backend. Owned by the planner; adopted over a reload.
#[derive(Debug, Clone)]
pub struct Governor {
    limit: Admitted,
    start: Start,
    /// What the first report said that told of traffic.
    first: Option<f64>,
    /// From here on a load says no more what a request costs; `None` where there is no such point.
    saturated: Option<f64>,
    history: History,
    scatter: Scatter,
    curves: Vec<Curve>,
    /// The load has met the target: from now on the limit is raised only when it is used.
    is_proven: bool,
    /// Part of the limit that is held back, because about as much comes above it; see [`HELD_BACK`].
    held_back: f64,
    /// Requests placed above the limit, at the last reading.
    above: u64,
    /// What it is due while everything is full, in parts of its capacity; 1 while there is room.
    overload: f64,
    /// No load near the target has confirmed the limit yet.
    is_guess: bool,
    /// Requests per second and member that the last reading leaves possible, if cost is in proportion; infinite before
    /// any.
    possible: f64,
    /// Someone looks at the members: the backend is filled by their load.
    is_asked: bool,
}

/// Requests per second and healthy member that are admitted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Admitted {
    /// No report has told of traffic yet.
    Start(f64),
    /// None did for longer than one can take.
    Open,
    /// By reports.
    Learned(f64),
}

/// Rates at which the target is reached, by the curves that are believed.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    least: f64,
    most: f64,
    best: f64,
    /// Utilization now, by the best curve.
    utilization: f64,
    is_surprised: bool,
    /// A reading holds a few requests only.
    is_coarse: bool,
}

impl Default for Governor {
    fn default() -> Self {
        Self::new(Some(SATURATED))
    }
}

impl Governor {
    /// A loop that knows nothing yet. `saturated`: the load from which on members have nothing left, so that more work
    /// shows no more in it; about 0.97 for CPU (the default), `None` for a load without such a point.
    #[must_use]
    pub fn new(saturated: Option<f64>) -> Self {
        Self {
            limit: Admitted::Start(START),
            start: Start::default(),
            first: None,
            saturated,
            history: History::default(),
            scatter: Scatter::default(),
            curves: Lag::all().map(Curve::new).collect(),
            is_proven: false,
            held_back: 0.0,
            above: 0,
            overload: 1.0,
            is_guess: true,
            possible: f64::INFINITY,
            is_asked: false,
        }
    }

    /// From when there is traffic, a report that tells of it is due in so long. Zero (the default): with the first answers.
    pub(super) fn report_is_due_in(&mut self, due: Span) {
        self.start.due = due.as_secs();
    }

    /// Requests per second that `members` healthy members may get; `None` = not limited.
    #[must_use]
    pub fn limit(&self, members: usize) -> Option<PerSecond> {
        let capacity = self.capacity(members)?;
        Some(PerSecond::new(capacity.get() * (1.0 - self.held_back)))
    }

    /// Requests per second at which `members` healthy members reach the target, as far as is known: the limit before
    /// anything is held back from it. Shares go by this.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn capacity(&self, members: usize) -> Option<PerSecond> {
        let rate = match self.limit {
            Admitted::Open => return None,
            Admitted::Start(rate) | Admitted::Learned(rate) => rate,
        };
        Some(PerSecond::new(rate * members as f64))
    }

    /// Requests per second that `members` healthy members may well be able to take, though nothing has shown it yet;
    /// `None` where the limit is known, or there is none.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn guess(&self, members: usize) -> Option<PerSecond> {
        let is_guess = self.is_learned() && self.is_guess;
        let limit = self.capacity(members).filter(|_| is_guess)?.get();
        let guess = (limit * GROWTH).min(self.possible * members as f64);
        (guess > limit).then(|| PerSecond::new(guess))
    }

    /// Everything is full, and each backend is due so many times its capacity; 1 while there is room.
    pub(super) const fn expect(&mut self, overload: f64) {
        self.overload = overload;
    }

    /// Whether the limit tells how much the backend can take, as far as is known: where it is filled by load, and was
    /// not given up as silent.
    #[must_use]
    pub const fn is_learned(&self) -> bool {
        self.is_asked && !matches!(self.limit, Admitted::Open)
    }

    /// A load near the target has confirmed the limit.
    pub(super) const fn is_confirmed(&self) -> bool {
        !self.is_guess
    }

    /// Takes in a look at the members. `target` is U·s; `above` counts the requests placed above the limit.
    pub(super) fn update(&mut self, look: Look, target: Ratio, above: u64) {
        self.is_asked = true;
        match look {
            Look::Wait => {}
            Look::Unknown { rate, seconds, is_failing } => {
                self.history.push(seconds, rate);
                if !is_failing {
                    self.wait(rate, seconds);
                }
            }
            Look::Known(reading) => {
                self.history.push(reading.seconds, reading.rate);
                if self.history.report() {
                    self.learn_again(reading);
                }
                let above = above.saturating_sub(std::mem::replace(&mut self.above, above));
                self.hold_back(above, reading);
                if self.tells(reading) {
                    self.learn(reading, target.get());
                } else {
                    self.wait(reading.rate, reading.seconds);
                }
            }
        }
    }

    /// Whether a report can be of a time with traffic.
    fn tells(&mut self, reading: Reading) -> bool {
        !matches!(self.limit, Admitted::Start(_)) || self.start.tells(reading)
    }

    fn wait(&mut self, rate: f64, seconds: f64) {
        let Admitted::Start(limit) = self.limit else { return };
        let next = self.start.wait(limit, (rate, rate >= USED * limit), seconds);
        self.limit = next.map_or(Admitted::Open, Admitted::Start);
    }

    fn learn(&mut self, reading: Reading, target: f64) {
        let limit = match self.limit {
            Admitted::Start(limit) | Admitted::Learned(limit) => limit,
            Admitted::Open => reading.rate.max(START),
        };
        let utilization = reading.utilization.get();
        if target <= 0.0 {
            // Drained: what was learned holds for when the backend is back.
            self.estimate(reading, target);
            return;
        }
        // Where reports are rare, a reading is the end of the time that its report is of.
        let rate = self.history.rates().readings.first().copied().unwrap_or(reading.rate);
        if rate > 0.0 {
            self.possible = rate * target / utilization.max(LEAST);
        }
        let is_saturated = |point: f64| utilization >= point && target < point;
        let next = if self.saturated.is_some_and(is_saturated) {
            // Cost is more than was thought, and not known how much; work has piled up: below the target, until it is
            // gone.
            self.is_proven = true;
            self.curves.iter_mut().for_each(Curve::forget_level);
            let rates = self.history.rates();
            // What is late tells of the rates of before it was cut: it is not cut again for them.
            let before = rates.slots.iter().take(expected(self.start.waited, rates.length));
            let most = rates.readings.iter().chain(before).fold(0.0_f64, |most, rate| most.max(*rate));
            limit.min(most * target * DRAIN)
        } else {
            match self.estimate(reading, target) {
                Some(estimate) => self.follow(limit, rate, target, estimate),
                None => limit,
            }
        };
        let next = next.max(limit * FALL).max(FLOOR);
        self.is_guess &= !self.is_proven || next * AGREED < self.possible;
        self.limit = Admitted::Learned(next);
    }

    /// How far reports are apart has come to be known: what the first one said belongs to other rates than was thought.
    fn learn_again(&mut self, reading: Reading) {
        let Some(first) = self.first else { return };
        self.curves = Lag::all().map(Curve::new).collect();
        let scatter = self.scatter.variance(first, grain(reading));
        teach(&mut self.curves, self.history.rates().before(), first, scatter);
    }

    /// Teaches the curves, and asks those that explain what was seen.
    fn estimate(&mut self, reading: Reading, target: f64) -> Option<Estimate> {
        let rates = self.history.rates();
        let expected = expected(self.start.waited, rates.length);
        let likeliest = |one: &&Curve, other: &&Curve| one.cost(expected).total_cmp(&other.cost(expected));
        let is_within = |curve: &&Curve| curve.is_within(rates);
        let is_idle = !self.curves.iter().filter(is_within).min_by(likeliest)?.has_traffic(rates);
        let grain = grain(reading);
        if self.is_proven {
            self.curves.iter_mut().for_each(Curve::arrive);
        }
        if !is_idle {
            let utilization = reading.utilization.get().max(LEAST);
            self.first.get_or_insert(utilization);
            // A climb scatters, too.
            if self.is_proven {
                self.scatter.see(utilization);
            }
            teach(&mut self.curves, rates, utilization, self.scatter.variance(utilization, grain));
        }
        let best = self.curves.iter().filter(is_within).min_by(likeliest)?;
        if is_idle || !best.is_known() {
            return None;
        }
        let is_believed = |curve: &&Curve| {
            curve.is_known()
                && curve.is_within(rates)
                && curve.cost(expected) < best.cost(expected) + UNLIKELY
        };
        let believed = self.curves.iter().filter(is_believed);
        let (least, most) = believed
            .map(|curve| curve.rate_at(target, GROWTH))
            .fold((f64::INFINITY, 0.0_f64), |(least, most), rate| (least.min(rate), most.max(rate)));
        Some(Estimate {
            least,
            most,
            best: best.rate_at(target, GROWTH),
            utilization: best.utilization(),
            is_surprised: best.is_surprised(),
            is_coarse: grain > LEANING.0,
        })
    }

    #[allow(clippy::cast_precision_loss)]
    fn hold_back(&mut self, above: u64, reading: Reading) {
        let Admitted::Learned(limit) = self.limit else { return };
        // What comes above a guess is no chance.
        if self.is_confirmed() {
            let above = above as f64 * reading.grain / limit;
            let too_much = above - self.held_back - (self.overload - 1.0);
            self.held_back = (self.held_back + HELD_BACK.1 * too_much).clamp(0.0, HELD_BACK.0);
        }
    }

    fn follow(&mut self, limit: f64, rate: f64, target: f64, by: Estimate) -> f64 {
        let is_used = rate >= USED * limit;
        self.is_proven |= is_used && by.utilization > target * USED;
        let next = if by.most < by.least * AGREED {
            by.best
        } else {
            let within = limit.clamp(by.least, by.most);
            if by.is_coarse { within * (by.best / within).powf(LEANING.1) } else { within }
        };
        if next > limit {
            let may_rise = !by.is_surprised && (is_used || !self.is_proven);
            if may_rise { next } else { limit }
        } else if by.utilization > target {
            next
        } else {
            limit
        }
    }
}

/// The curves take in a report of now.
fn teach(curves: &mut [Curve], rates: Rates<'_>, utilization: f64, scatter: f64) {
    for curve in curves {
        let rate = curve.belongs_to(rates);
        if rate > 0.0 && curve.has_traffic(rates) {
            curve.learn(rate, utilization, scatter);
        } else {
            curve.miss();
        }
    }
}

/// The part of a reading that one request is.
fn grain(reading: Reading) -> f64 {
    reading.grain / reading.rate.max(reading.grain)
}

/// Slots of this length that a first report which came after so many seconds may be late.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn expected(waited: f64, length: f64) -> usize {
    (waited / length).ceil() as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A loop whose members report `load(rate)` while they get all that is admitted.
    fn run(mut governor: Governor, target: f64, load: impl Fn(f64) -> f64) -> f64 {
        for _ in 0..60 {
            let rate = governor.limit(1).unwrap().get();
            let reading = Reading { utilization: Ratio::new(load(rate)), rate, grain: 0.1, seconds: 1.0 };
            governor.update(Look::Known(reading), Ratio::new(target), 0);
        }
        governor.limit(1).unwrap().get()
    }

    #[test]
    fn a_load_without_a_point_of_saturation_may_exceed_one() {
        let queue = |rate: f64| rate / 20.0;
        let limit = run(Governor::new(None), 3.0, queue);
        assert!((limit / 60.0 - 1.0).abs() < 0.02, "{limit}");
        let limit = run(Governor::new(None), 1.0, |rate| rate / 60.0);
        assert!((limit / 60.0 - 1.0).abs() < 0.02, "{limit}");
    }

    #[test]
    fn a_saturated_backend_is_drained_below_what_it_finished() {
        let mut governor = Governor::default();
        let reading = Reading { utilization: Ratio::ONE, rate: 30.0, grain: 0.1, seconds: 1.0 };
        governor.update(Look::Known(reading), Ratio::new(0.8), 0);
        assert!((governor.limit(1).unwrap().get() - 30.0 * 0.8 * DRAIN).abs() < 1e-9);
    }

    #[test]
    fn a_limit_is_a_guess_until_a_reading_is_near_the_target() {
        let mut governor = Governor::default();
        assert_eq!(governor.guess(2), None, "nobody asked");
        governor.update(Look::Wait, Ratio::ONE, 0);
        assert_eq!(governor.guess(2), Some(PerSecond::new(2.0 * START * GROWTH)));
        let reading = |utilization| Reading {
            utilization: Ratio::new(utilization),
            rate: 40.0,
            grain: 0.01,
            seconds: 1.0,
        };
        governor.update(Look::Known(reading(0.4)), Ratio::new(0.8), 0);
        assert_eq!(governor.guess(2), Some(PerSecond::new(160.0)), "in proportion");
        for _ in 0..4 {
            governor.update(Look::Known(reading(0.7)), Ratio::new(0.8), 0);
        }
        assert_eq!(governor.guess(2), None, "near the target");
    }

    #[test]
    fn only_a_backend_that_is_filled_by_load_and_reports_has_a_learned_limit() {
        let mut governor = Governor::default();
        assert!(!governor.is_learned(), "nobody asked");
        governor.update(Look::Wait, Ratio::ONE, 0);
        assert!(governor.is_learned());
        for _ in 0..120 {
            governor.update(Look::Unknown { rate: 5.0, seconds: 0.5, is_failing: false }, Ratio::ONE, 0);
        }
        assert!(!governor.is_learned() && governor.limit(3).is_none(), "silent means not limited");
    }
}
