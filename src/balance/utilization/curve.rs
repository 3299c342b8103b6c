//! What a request costs, learned from (rate, utilization) pairs: ln u = level + slope · (ln r − ln r₀), where r₀ is the
//! rate of now.
//!
//! Level and slope are estimated together, with their uncertainty, by a Kalman filter: a slope that no step in the
//! rate has shown yet stays uncertain, and [`Curve::rate_at`] is careful in proportion. How probable the readings were
//! before they came is added up: that tells how well a [`Lag`] explains what was seen.

use super::history::Rates;

/// Slope before anything is known, and its variance: mostly in proportion or somewhat steeper.
const SLOPE: (f64, f64) = (1.15, 0.2);

/// Least slope that is believed where the rate is to go up or down: a base load makes a low rate look cheap.
const LEAST_SLOPE: f64 = 0.9;

/// What grows of a utilization with a base load in it is thought to grow with this power of the rate.
const BENT: f64 = 2.0;

/// Greatest slope.
const STEEPEST: f64 = 4.0;

/// Variance of a level that nothing is known of.
const UNKNOWN: f64 = 4.0;

/// Standard deviations by which level and slope drift from reading to reading.
const DRIFT: (f64, f64) = (0.006, 0.03);

/// While a curve climbs and has a base load in it, the variance by which its slope changes over a rate e times as high:
/// there the same load again is ever more of the whole.
const BENDS: f64 = 0.1;

/// From here on a surprise is a change in cost, not scatter: in the logarithm, and in standard deviations.
const CHANGE: (f64, f64) = (0.08, 2.0);

/// Part of the evidence that is kept from reading to reading.
const MEMORY: f64 = 0.98;

/// Which rates a report of now belongs to: by readings before now, or, when it is later, by slots of time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lag {
    /// The mean of `over` readings, after leaving out `late`.
    Mean { late: usize, over: usize },
    /// The mean of three readings, the middle one twice, after leaving out `late`: a sliding window seen on average.
    Window { late: usize },
    /// An average that takes in this part at each reading.
    Fading(f64),
}

/// Slots that the longest lag reaches back: half a minute of reports a second apart.
pub(super) const LONGEST: usize = 32;

/// Readings that the usual lags reach back, with the one of now.
pub(super) const SHORT: usize = 4;

/// That a report is later than the usual lags, and than the first one came, it must show: as −2 ln p.
const LATE: f64 = 15.0;

impl Lag {
    /// Those that are tried: the usual ones first, then those that are later.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let late = |over| move |late| Self::Mean { late, over };
        Self::USUAL
            .into_iter()
            .chain((SHORT..LONGEST).map(late(1)))
            .chain((SHORT - 1..LONGEST - 1).map(late(2)))
    }

    /// Readings or slots that it reaches back.
    const fn reach(self) -> usize {
        match self {
            Self::Mean { late, over } if late + over > SHORT => late + over,
            _ => SHORT,
        }
    }

    const USUAL: [Self; 12] = [
        Self::Mean { late: 0, over: 1 },
        Self::Mean { late: 1, over: 1 },
        Self::Mean { late: 2, over: 1 },
        Self::Mean { late: 3, over: 1 },
        Self::Mean { late: 0, over: 2 },
        Self::Mean { late: 1, over: 2 },
        Self::Mean { late: 2, over: 2 },
        Self::Mean { late: 0, over: 4 },
        Self::Window { late: 0 },
        Self::Window { late: 1 },
        Self::Fading(0.5),
        Self::Fading(0.25),
    ];
}

/// One curve for one lag.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    lag: Lag,
    /// ln of the rate that the last report belonged to; NaN before the first.
    at: f64,
    level: f64,
    slope: f64,
    /// Variances of level and slope, and covariance.
    variance: (f64, f64, f64),
    /// Readings in a row that were off in the same direction beyond scatter; below zero when below.
    surprised: i32,
    /// How improbable the readings were, as −2 ln p; forgets.
    cost: f64,
    faded: f64,
    /// The load has not met the target yet.
    is_climbing: bool,
}

impl Curve {
    pub(super) fn new(lag: Lag) -> Self {
        let variance = (UNKNOWN, SLOPE.1, 0.0);
        Self {
            lag,
            at: f64::NAN,
            level: 0.0,
            slope: SLOPE.0,
            variance,
            surprised: 0,
            cost: 0.0,
            faded: 0.0,
            is_climbing: true,
        }
    }

    /// Whether there was traffic all the time that its lag reaches back: else nothing can be said of its cost.
    pub(super) fn has_traffic(&self, rates: Rates<'_>) -> bool {
        let has_traffic = |of: &[f64], reach| of.iter().take(reach).all(|rate| *rate > 0.0);
        rates.is_busy
            && has_traffic(rates.readings, SHORT)
            && (!self.is_late() || (self.is_within(rates) && has_traffic(rates.slots, self.lag.reach())))
    }

    /// Whether rates are known as far as its lag reaches back.
    pub(super) const fn is_within(&self, rates: Rates<'_>) -> bool {
        !self.is_late() || rates.slots.len() >= self.lag.reach()
    }

    const fn is_late(&self) -> bool {
        self.lag.reach() > SHORT
    }

    /// Takes in the rate of a reading; returns the one that its report belongs to.
    pub(super) fn belongs_to(&mut self, rates: Rates<'_>) -> f64 {
        let rates = if self.is_late() { rates.slots } else { rates.readings };
        let at = |back: usize| rates.get(back).or(rates.last()).copied().unwrap_or(0.0);
        match self.lag {
            #[allow(clippy::cast_precision_loss)]
            Lag::Mean { late, over } => (late..late + over).map(at).sum::<f64>() / over as f64,
            Lag::Window { late } => (at(late) + 2.0 * at(late + 1) + at(late + 2)) / 4.0,
            Lag::Fading(part) => {
                let before = if self.faded > 0.0 { self.faded } else { at(0) };
                self.faded = before + part * (at(0) - before);
                self.faded
            }
        }
    }

    /// Takes in a report that belongs to `rate`, both above zero. `scatter`: the variance of the logarithm of a report.
    pub(super) fn learn(&mut self, rate: f64, utilization: f64, scatter: f64) {
        self.move_to(rate.ln());
        let (level, slope, both) = self.variance;
        let (off, expected) = (utilization.ln() - self.level, level + scatter);
        let is_surprise = off.abs() > CHANGE.0 && off.abs() > CHANGE.1 * expected.sqrt();
        self.cost = self.cost * MEMORY + off * off / expected + expected.ln();
        let sign = if off > 0.0 { 1 } else { -1 };
        self.surprised = match (is_surprise, self.surprised.signum() == sign) {
            (false, _) => 0,
            (true, true) => self.surprised + sign,
            (true, false) => sign,
        };
        // Once is chance, twice is a change: the level is to be found anew.
        let level = if self.surprised.abs() > 1 { level + off * off } else { level };
        let gain = (level / (level + scatter), both / (level + scatter));
        self.level += gain.0 * off;
        self.slope = (self.slope + gain.1 * off).clamp(0.0, STEEPEST);
        self.variance =
            ((level - gain.0 * level).max(0.0), (slope - gain.1 * both).max(0.0), both - gain.0 * both);
    }

    /// A report of a time that nothing is known of: what others explain, this lag does not.
    pub(super) fn miss(&mut self) {
        self.cost = self.cost * MEMORY + UNKNOWN.ln();
    }

    /// The load has met the target: the climb is over.
    pub(super) const fn arrive(&mut self) {
        self.is_climbing = false;
    }

    /// The next report says what a request costs, as at first. How cost grows and which lag is right stay known.
    pub(super) const fn forget_level(&mut self) {
        self.variance = (UNKNOWN, self.variance.1, 0.0);
        self.surprised = 0;
    }

    /// The level is kept for the rate of now, and drifts.
    fn move_to(&mut self, at: f64) {
        let step = if self.at.is_nan() { 0.0 } else { at - self.at };
        self.at = at;
        self.level += self.slope * step;
        let (level, slope, both) = self.variance;
        let is_bent = self.is_climbing && self.slope < LEAST_SLOPE;
        let bends = if is_bent { BENDS * step.abs() } else { 0.0 };
        let level = level + 2.0 * step * both + step * step * slope + DRIFT.0.powi(2);
        let both = both + step * slope;
        let (level, slope) = (level.min(UNKNOWN), slope + bends + DRIFT.1.powi(2));
        // No less certain than at first; and what is cut off of a variance is cut off of the covariance.
        let kept = (SLOPE.1 / slope).min(1.0);
        let most = (level * slope * kept).sqrt();
        self.variance = (level, slope * kept, (both * kept.sqrt()).clamp(-most, most));
    }

    /// The rate at which utilization reaches `target`. Above the rate of now, the slope is taken as steep as it may
    /// well be. While it climbs, a slope that is small is that of a base load: what is above that grows with the square
    /// of the rate at most, and so far it may go.
    pub(super) fn rate_at(&self, target: f64, most_growth: f64) -> f64 {
        let gap = target.ln() - self.level;
        let (slope, unsure) = (self.slope.max(LEAST_SLOPE), self.variance.1.sqrt());
        let step = if gap > 0.0 {
            let straight = gap / (slope + unsure);
            let bent = if self.is_climbing { bent(gap, self.slope + unsure) } else { 0.0 };
            straight.max(bent).min(most_growth.ln())
        } else {
            gap / slope
        };
        (self.at + step).exp()
    }

    /// Whether the last reading cannot be explained by scatter.
    pub(super) const fn is_surprised(&self) -> bool {
        self.surprised != 0
    }

    /// How improbable the readings were, and that a report is so late, as −2 ln p. Up to `expected` slots it may well
    /// be.
    pub(super) fn cost(&self, expected: usize) -> f64 {
        self.cost + if self.lag.reach() > expected.max(SHORT) { LATE } else { 0.0 }
    }

    /// Utilization as expected at the rate of now.
    pub(super) fn utilization(&self) -> f64 {
        self.level.exp()
    }

    /// Whether anything is known.
    pub(super) const fn is_known(&self) -> bool {
        !self.at.is_nan()
    }
}

/// How far a load whose logarithm grows by `slope` now, and whose growing part grows with the square of the rate (or
/// faster where `slope` says so), is from one that is higher by `gap`: all in the logarithm.
fn bent(gap: f64, slope: f64) -> f64 {
    let power = slope.max(BENT);
    (power / slope * gap.exp_m1()).ln_1p() / power
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCATTER: f64 = 0.0025;

    fn learned(rates: &[f64], utilization: impl Fn(f64) -> f64) -> Curve {
        let mut curve = Curve::new(Lag::Mean { late: 0, over: 1 });
        rates.iter().for_each(|rate| curve.learn(*rate, utilization(*rate), SCATTER));
        curve
    }

    #[test]
    fn the_first_report_says_what_a_request_costs_and_the_way_up_is_taken_to_be_steep() {
        let curve = learned(&[30.0], |rate| rate / 100.0);
        assert!((curve.utilization() - 0.3).abs() < 0.01);
        let up = curve.rate_at(0.6, 4.0);
        assert!((40.0..50.0).contains(&up), "{up}");
        assert!((curve.rate_at(0.9, 1.1) - 33.0).abs() < 0.5, "no further than that");
        let down = curve.rate_at(0.15, 4.0);
        assert!((15.0..18.0).contains(&down), "{down}");
    }

    #[test]
    fn a_base_load_that_was_seen_lets_a_climb_go_further_and_not_above_the_target() {
        for power in [1.0, 1.5, 2.0] {
            let load = |rate: f64| 0.4 + 0.4 * (rate / 300.0_f64).powf(power);
            let mut curve = learned(&[80.0; 8], load);
            [100.0; 20].iter().for_each(|rate| curve.learn(*rate, load(*rate), SCATTER));
            let climbing = curve.rate_at(0.8, 4.0);
            curve.arrive();
            let after = curve.rate_at(0.8, 4.0);
            assert!(climbing > 1.05 * after && climbing < 300.0, "{power}: {climbing} and {after}");
        }
    }

    #[test]
    fn a_step_shows_how_steeply_cost_grows() {
        let rates: Vec<_> = (0..60).map(|n| if n / 5 % 2 == 0 { 20.0 } else { 40.0 }).collect();
        for power in [1.0, 1.5, 2.0] {
            let curve = learned(&rates, |rate| 0.8 * (rate / 80.0).powf(power));
            let at = curve.rate_at(0.8, 4.0);
            assert!((72.0..84.0).contains(&at), "{power}: {at}");
        }
    }

    #[test]
    fn chance_moves_a_level_little_and_a_change_is_followed_the_second_time() {
        let mut curve = learned(&[60.0; 40], |_| 0.6);
        curve.learn(60.0, 0.9, 0.01);
        assert!(curve.is_surprised() && curve.utilization() < 0.68, "{}", curve.utilization());
        curve.learn(60.0, 0.9, 0.01);
        assert!(curve.utilization() > 0.85, "{}", curve.utilization());
    }

    #[test]
    fn the_right_lag_explains_a_step_better_than_the_wrong_ones() {
        for right in 0..4 {
            let mut rates = vec![30.0; 20];
            rates.extend([60.0; 10]);
            let mut curves: Vec<_> = Lag::USUAL.into_iter().map(Curve::new).collect();
            for now in 4..rates.len() {
                let newest_first: Vec<_> = rates[..=now].iter().rev().take(4).copied().collect();
                for curve in &mut curves {
                    let rate = curve.belongs_to(Rates {
                        readings: &newest_first,
                        slots: &[],
                        length: 1.0,
                        is_busy: true,
                    });
                    curve.learn(rate, rates[now - right] / 100.0, SCATTER);
                }
            }
            let best = (0..curves.len()).min_by(|a, b| curves[*a].cost(0).total_cmp(&curves[*b].cost(0)));
            assert_eq!(best, Some(right));
        }
    }

    #[test]
    fn numbers_stay_finite_whatever_is_reported() {
        let mut curve = Curve::new(Lag::Fading(0.5));
        for n in 0..10_000_u32 {
            let rate = [1e-3, 1e6, 50.0, 51.0][(n % 4) as usize];
            curve.learn(rate, [0.002, 1000.0, 0.6][(n % 3) as usize], f64::from(n % 2) + 1e-4);
            assert!(curve.cost(0).is_finite() && curve.rate_at(0.6, 4.0) > 0.0);
        }
    }
}
