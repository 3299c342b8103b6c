//! UTILIZATION as a closed loop: late and noisy reports become an admitted rate (design.md 3.6).
//!
//! From each reading follows what a request costs, u = k · r^p: cost k and how steeply it grows, p
//! (1 = in proportion). The rate at which u reaches the target is the capacity, and the limit goes there. Three
//! things keep it from swinging:
//!
//! * Reports are late by an unknown time. While the rate moves, a report may belong to any rate of the last few
//!   readings, `LATE` until a step in the rate shows how late they are. To raise the limit the least of these rates
//!   is believed, to cut it the greatest; when the two disagree, the limit stays and waits.
//! * Until a step has shown how steeply cost grows, it is taken to grow faster than in proportion.
//! * The limit is raised only when it is used, and at most doubled. What was learned under load is kept over idle
//!   times: the next step in demand meets the right limit at once.
//! * At a steady rate the cost is averaged over about ten readings, so that noise does not move the limit. A change
//!   beyond noise starts the average anew.
//!
//! Start: `START` per member, doubled every second while it is used, until the first report. **Unknown means not
//! limited**: after `PATIENCE` looks with traffic and no report the backend is open. When reports stop, the last limit stays and is
//! not raised. Rates are per healthy member here: when one fails, the limit falls with the number of members at once.

use std::collections::VecDeque;

use super::reading::{Look, Reading};
use crate::model::unit::{PerSecond, Ratio};

/// Requests per second and member before the first report.
const START: f64 = 10.0;

/// Looks with traffic and without any report after which the backend is not limited; and readings after which a limit
/// that did not move counts as at rest.
const PATIENCE: u32 = 10;

/// Readings that a report may be late, with the one of now.
const LATE: usize = 4;

/// How steeply cost may grow where nothing is known yet: for a report of now, and for one that may be late.
const STEEP: (f64, f64) = (1.4, 1.7);

/// Rates that differ by less than this factor, or by less than one request of a reading, count as one.
const STEADY: f64 = 1.04;

/// Growth at each look, half a second apart, until the first report.
const RAMP: f64 = 1.4;

/// The most by which a limit grows at one reading, and by which a rate may exceed one whose cost is known.
const GROWTH: f64 = 2.0;

/// A utilization below the target by this factor is far from it: the limit may grow by the square of [`GROWTH`].
const FAR: f64 = 16.0;

/// The least that a limit falls to at one reading.
const FALL: f64 = 0.4;

/// While the rate moves by this factor, the limit grows by at least as much, or waits until the rate has come to rest.
const WORTHWHILE: f64 = 1.25;

/// The limit is raised only when this part of it is used.
const USED: f64 = 0.8;

/// Requests per second and member that are always admitted, so that cost can be measured.
const FLOOR: f64 = 1.0;

/// Weight of a reading in the average, after the first few.
const NOISE_GAIN: f64 = 0.12;

/// A logarithm of real over expected utilization beyond this is a change, not noise.
const CHANGE: f64 = 0.2;

/// A logarithm of new over old utilization from which on a step in the rate shows.
const SHOWN: f64 = 0.14;

/// From here on a member has nothing left, and cost is more than it says.
const SATURATED: f64 = 0.97;

/// Part of the capacity that a saturated backend gets.
const DRAIN: f64 = 0.85;

/// Below this a utilization says nothing about cost.
const MEANINGFUL: f64 = 0.02;

/// The loop of one backend. Owned by the planner; adopted over a reload.
#[derive(Debug, Clone)]
pub struct Governor {
    limit: Admitted,
    /// Rates of the last readings, newest first.
    rates: VecDeque<f64>,
    known: Option<Cost>,
    /// p of u = k · r^p; `None` until a step in the rate has shown it.
    steepness: Option<f64>,
    /// Readings that a report may be late, with the one of now; `None` until a step in the rate has shown it.
    late: Option<usize>,
    /// A step in the rate whose effect is waited for.
    step: Option<Step>,
    /// Readings since the limit moved: when it has stood for long, a rate that trembles is steady too.
    held: u32,
    /// The utilization has met the target: what one reading says while the rate moves does not raise the limit any
    /// more.
    is_proven: bool,
}

/// Requests per second and healthy member that are admitted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Admitted {
    /// No report yet.
    Ramp { rate: f64, looks: u32 },
    /// No report in a long time, and never one before.
    Open,
    /// By reports.
    Learned(f64),
}

/// A point of the curve that was measured at a steady rate.
#[derive(Debug, Clone, Copy)]
struct Cost {
    rate: f64,
    utilization: f64,
    /// Readings that went into it.
    readings: u32,
}

/// A step in the rate, from a steady one.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Utilization before.
    from: f64,
    /// 1 = up, -1 = down.
    sign: f64,
    /// Readings since, with that of the step itself.
    readings: usize,
}

impl Default for Governor {
    fn default() -> Self {
        let limit = Admitted::Ramp { rate: START, looks: 0 };
        let rates = VecDeque::with_capacity(LATE);
        Self { limit, rates, known: None, steepness: None, late: None, step: None, held: 0, is_proven: false }
    }
}

impl Governor {
    /// Requests per second that `members` healthy members may get; `None` = not limited.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn limit(&self, members: usize) -> Option<PerSecond> {
        match self.limit {
            Admitted::Open => None,
            Admitted::Ramp { rate, .. } | Admitted::Learned(rate) => {
                Some(PerSecond::new(rate * members as f64))
            }
        }
    }

    /// Whether the limit comes from reports.
    #[must_use]
    pub const fn is_learned(&self) -> bool {
        matches!(self.limit, Admitted::Learned(_))
    }

    /// Takes in a look at the members. `target` is U·s.
    pub(super) fn update(&mut self, look: Look, target: Ratio) {
        match look {
            Look::Wait => {}
            Look::Unknown(rate) => self.ramp(rate),
            Look::Known(reading) => self.learn(reading, target.get()),
        }
    }

    fn ramp(&mut self, used: f64) {
        let Admitted::Ramp { rate, looks } = &mut self.limit else { return };
        if used > 0.0 {
            *looks += 1;
        }
        if used > *rate * USED {
            *rate *= RAMP;
        }
        if *looks >= PATIENCE {
            self.limit = Admitted::Open;
        }
    }

    fn learn(&mut self, reading: Reading, target: f64) {
        self.rates.truncate(LATE - 1);
        self.rates.push_front(reading.rate);
        let utilization = reading.utilization.get();
        self.watch(utilization);
        let is_steady = self.measure(reading);
        let limit = match self.limit {
            Admitted::Learned(limit) => limit,
            Admitted::Ramp { rate, .. } => rate,
            Admitted::Open => (reading.rate * GROWTH).max(START),
        };
        let next = match self.known {
            // Cost is not known, and work has piled up: below the target, until it is gone.
            _ if utilization >= SATURATED && target < SATURATED => self.range().1 * target * DRAIN,
            // At a steady rate the average is better than the reading.
            Some(known) if is_steady => {
                let next = self.capacity(known.rate, known.utilization, target);
                self.is_proven |=
                    known.rate >= USED * limit && (known.utilization / target).ln().abs() < CHANGE;
                next
            }
            _ => self.transient(limit, reading.rate, utilization, target),
        };
        let is_used = reading.rate >= USED * limit;
        let next = if next > limit {
            let growth = if utilization < target / FAR { GROWTH * GROWTH } else { GROWTH };
            let most = (limit.min(reading.rate) * growth).max(limit);
            if is_used { next.min(most) } else { limit }
        } else if self.is_above(target, is_steady, utilization) {
            next.max(limit * FALL)
        } else {
            limit
        };
        let next = next.max(FLOOR);
        self.held = if (next / limit).ln().abs() < 0.01 { self.held.saturating_add(1) } else { 0 };
        self.limit = Admitted::Learned(next);
    }

    /// Learns from a step in the rate how late reports are.
    fn watch(&mut self, utilization: f64) {
        if let Some(step) = &mut self.step {
            step.readings += 1;
        } else if let (Some(known), [new, old, ..]) = (self.known, self.rates.make_contiguous()) {
            let (moved, drift) = ((*new / *old).ln(), (*old / known.rate).ln());
            if moved.abs() > 0.25 && moved.is_finite() && drift.abs() < CHANGE {
                self.step = Some(Step { from: known.utilization, sign: moved.signum(), readings: 1 });
            }
        }
        let Some(step) = self.step else { return };
        if (utilization / step.from).ln() * step.sign > SHOWN {
            // One more than was seen: a reading seldom begins with its report.
            self.late = Some((step.readings + 1).min(LATE));
            self.step = None;
        } else if step.readings >= LATE {
            self.step = None;
        }
    }

    /// Takes a reading into what is known, when the rate is steady; whether it is.
    fn measure(&mut self, reading: Reading) -> bool {
        let (rate, utilization) = (reading.rate, reading.utilization.get());
        let (least, most) = self.range();
        let trembles = self.held >= PATIENCE && most < least * WORTHWHILE;
        let is_moving = most > least * STEADY && most > least + reading.grain && !trembles;
        if utilization >= SATURATED
            || self.rates.len() < self.late()
            || is_moving
            || rate <= 0.0
            || utilization < MEANINGFUL
        {
            return false;
        }
        let Some(known) = self.known else {
            self.known = Some(Cost { rate, utilization, readings: 1 });
            return true;
        };
        let rate = f64::midpoint(least, most);
        let expected = self.expected(known, rate);
        let moved = (rate / known.rate).ln();
        if moved.abs() > 0.25 && known.utilization > MEANINGFUL {
            let steepness = ((utilization / known.utilization).ln() / moved).clamp(0.9, 3.0);
            let before = self.steepness.unwrap_or(steepness);
            self.steepness = Some(before + (moved.abs() / 0.7).min(1.0) * (steepness - before));
        }
        let is_change = moved.abs() > 0.25 || (utilization / expected).ln().abs() > CHANGE;
        let readings = if is_change { 1 } else { known.readings.saturating_add(1) };
        let gain = (1.0 / f64::from(readings)).max(NOISE_GAIN);
        self.known = Some(Cost { rate, utilization: expected + gain * (utilization - expected), readings });
        true
    }

    /// The capacity while the rate moves, as far as one reading may be believed.
    fn transient(&mut self, limit: f64, rate: f64, utilization: f64, target: f64) -> f64 {
        let utilization = utilization.max(MEANINGFUL / 10.0);
        let (least, most) = self.range();
        if utilization > target {
            let is_noise = self.is_proven && (utilization / target).ln() < CHANGE;
            self.is_proven = true;
            return if is_noise { limit } else { self.capacity(most, utilization, target).min(limit) };
        }
        let steep = self.steepness.unwrap_or(STEEP.1);
        let careful = least * (target / utilization).powf(1.0 / steep).min(GROWTH * GROWTH);
        let is_near_rest = most < least * WORTHWHILE;
        // Whatever the report is late, its rate was one of these, and they are all but the same: a rate that trembles
        // too much to count as steady must not hold the limit down.
        if is_near_rest && self.held as usize >= LATE && utilization < target / WORTHWHILE {
            return careful.max(limit);
        }
        if self.is_proven || (is_near_rest && utilization >= MEANINGFUL) {
            return limit;
        }
        let Some(known) = self.known else { return careful.max(limit) };
        let by_known = self.capacity(known.rate, known.utilization, target).min(known.rate * GROWTH);
        let bold = match self.late {
            Some(late) if late <= 2 => self.capacity(rate, utilization, target),
            _ => by_known,
        };
        // A small step would only keep the rate from coming to rest.
        let next = careful.max(bold);
        if next > limit * WORTHWHILE { next } else { limit }
    }

    fn is_above(&self, target: f64, is_steady: bool, utilization: f64) -> bool {
        match self.known {
            Some(known) if is_steady => known.utilization > target,
            _ => utilization > target,
        }
    }

    /// The rate at which utilization reaches the target, seen from one point of the curve.
    fn capacity(&self, rate: f64, utilization: f64, target: f64) -> f64 {
        rate * (target / utilization).powf(1.0 / self.steepness.unwrap_or(STEEP.0))
    }

    fn expected(&self, known: Cost, rate: f64) -> f64 {
        known.utilization * (rate / known.rate).powf(self.steepness.unwrap_or(1.0))
    }

    fn late(&self) -> usize {
        self.late.unwrap_or(LATE)
    }

    /// Least and greatest rate that a report of now may belong to.
    fn range(&self) -> (f64, f64) {
        self.rates
            .iter()
            .fold((f64::INFINITY, 0.0), |(least, most), rate| (least.min(*rate), most.max(*rate)))
    }
}
