//! How many requests come, and when.

use super::scenario::{Change, Demand};
use crate::balance::hash;
use crate::balance::rng::Rng;
use crate::model::unit::{Span, Tick};

/// Between two looks at a rate that changes.
const LOOK: f64 = 0.02;

impl Demand {
    /// Requests per second at a moment. `seed` sets the noise.
    #[must_use]
    pub fn rate_at(&self, at: Tick, seed: u64) -> f64 {
        let seconds = at.since(Tick(0)).as_secs();
        let daily = self.daily.map_or(1.0, |daily| {
            let turn = (seconds - daily.peak.since(Tick(0)).as_secs()) / daily.period.as_secs();
            1.0 + daily.part * (turn * std::f64::consts::TAU).cos()
        });
        let noise = self.noise.map_or(1.0, |noise| {
            let draw = at.0 / noise.every.0.max(1);
            1.0 + noise.part * (2.0 * Rng::new(hash::mix(seed, draw)).unit() - 1.0)
        });
        (self.base(at) * daily * noise).max(0.0)
    }

    fn base(&self, at: Tick) -> f64 {
        let begun = self.changes.iter().take_while(|change| change.at <= at);
        begun.fold(self.rate, |before, change| on_the_way(before, change, at))
    }
}

fn on_the_way(before: f64, change: &Change, at: Tick) -> f64 {
    let passed = at.since(change.at);
    if passed >= change.over {
        return change.rate;
    }
    before + (change.rate - before) * passed.as_secs() / change.over.as_secs()
}

/// The arrivals of one demand, one after the other.
#[derive(Debug, Clone)]
pub struct Arrivals<'a> {
    demand: &'a Demand,
    seed: u64,
    at: f64,
    rng: Rng,
}

impl<'a> Arrivals<'a> {
    /// From the start on. Evenly spaced ones begin at a phase of their own.
    #[must_use]
    pub fn new(demand: &'a Demand, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let phase = if demand.is_even { rng.unit() } else { 0.0 };
        let mut arrivals = Self { demand, seed, at: 0.0, rng };
        if demand.is_even {
            arrivals.wait(phase, f64::MAX);
        }
        arrivals
    }

    /// The next one before `end`; `None` when there is none.
    pub fn next(&mut self, end: Tick) -> Option<Tick> {
        let end = end.since(Tick(0)).as_secs();
        let turns = if self.demand.is_even { 1.0 } else { self.rng.exponential() };
        self.wait(turns, end);
        (self.at < end).then(|| tick(self.at))
    }

    /// Any number of a session's.
    pub fn session(&mut self) -> u64 {
        hash::mix(self.seed, self.rng.below(self.demand.sessions.max(1)))
    }

    /// Goes on until so many requests would have come at the rate of each moment.
    fn wait(&mut self, turns: f64, end: f64) {
        let mut left = turns;
        while self.at < end.min(1e9) {
            let rate = self.demand.rate_at(tick(self.at), self.seed);
            if rate * LOOK >= left {
                self.at += left / rate;
                return;
            }
            left -= rate * LOOK;
            self.at += LOOK;
        }
    }
}

/// So many requests as come in a time in which `mean` are to be expected.
#[derive(Debug, Clone)]
pub(super) enum Draws {
    /// As expected.
    Even,
    /// At random.
    Random(Rng),
}

impl Draws {
    /// How the requests of a demand come. The same seed gives the same draws.
    pub(super) const fn new(demand: &Demand, seed: u64) -> Self {
        if demand.is_even { Self::Even } else { Self::Random(Rng::new(seed)) }
    }

    /// The next draw. Of many the normal distribution says it well enough.
    pub(super) fn draw(&mut self, mean: f64) -> f64 {
        const MANY: f64 = 40.0;
        let rng = match self {
            Self::Random(rng) if mean > 0.0 => rng,
            _ => return mean,
        };
        if mean >= MANY {
            return (mean + mean.sqrt() * rng.normal()).max(0.0);
        }
        let (least, mut count) = ((-mean).exp(), 0.0);
        let mut left = rng.unit();
        while left > least {
            left *= rng.unit();
            count += 1.0;
        }
        count
    }
}

/// Requests that come in all, by rough count.
#[must_use]
pub fn expected(demand: &[Demand], duration: Span) -> f64 {
    let steps = 1000_u32;
    let step = duration.as_secs() / f64::from(steps);
    let at = |n: u32| tick((f64::from(n) + 0.5) * step);
    demand.iter().map(|one| (0..steps).map(|n| one.rate_at(at(n), 0) * step).sum::<f64>()).sum()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn tick(seconds: f64) -> Tick {
    Tick((seconds * 1e9) as u64)
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;
    use crate::model::place::OriginId;
    use crate::simulate::scenario::{Daily, Noise};

    fn demand(rate: f64, is_even: bool) -> Demand {
        Demand {
            service: 0,
            origin: OriginId(0),
            rate,
            changes: Vec::new(),
            daily: None,
            noise: None,
            is_even,
            sessions: 10,
            proxy: None,
        }
    }

    fn count(demand: &Demand, from: u64, to: u64) -> usize {
        let mut arrivals = Arrivals::new(demand, 7);
        let all: Vec<_> = std::iter::from_fn(|| arrivals.next(Tick(0) + Span::secs(100))).collect();
        let inside = |at: &&Tick| (Span::secs(from).0..Span::secs(to).0).contains(&at.0);
        all.iter().filter(inside).count()
    }

    #[test]
    fn steps_and_ramps_are_followed() {
        let change = |at, over, rate| Change { at: Tick(0) + Span::secs(at), over: Span::secs(over), rate };
        let changes = vec![change(10, 0, 300.0), change(20, 10, 100.0)];
        let demand = Demand { changes, ..demand(50.0, true) };
        let at = |seconds| demand.rate_at(Tick(0) + Span::secs(seconds), 1);
        assert_eq!([at(0), at(10), at(25), at(30), at(99)], [50.0, 300.0, 200.0, 100.0, 100.0]);
        for (from, to, wanted) in [(0, 10, 500), (10, 20, 3000), (20, 30, 2000), (30, 100, 7000)] {
            assert!(count(&demand, from, to).abs_diff(wanted) <= 8, "{from} to {to}");
        }
        assert!((expected(&[demand], Span::secs(100)) - 12_500.0).abs() < 50.0);
    }

    #[test]
    fn random_arrivals_have_the_rate_and_its_scatter() {
        let counts: Vec<_> =
            (0..100).map(|second| count(&demand(400.0, false), second, second + 1) as f64).collect();
        let mean = counts.iter().sum::<f64>() / 100.0;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 99.0;
        assert!((mean - 400.0).abs() < 8.0 && (variance / mean - 1.0).abs() < 0.4, "{mean} {variance}");
    }

    #[test]
    fn draws_have_the_mean_and_the_variance_of_random_arrivals() {
        for mean in [0.05, 3.0, 30.0, 300.0] {
            let mut draws = Draws::new(&demand(1.0, false), 5);
            let counts: Vec<_> = (0..20_000).map(|_| draws.draw(mean)).collect();
            let found = counts.iter().sum::<f64>() / 20_000.0;
            let variance = counts.iter().map(|count| (count - found).powi(2)).sum::<f64>() / 19_999.0;
            assert!(
                (found / mean - 1.0).abs() < 0.1 && (variance / mean - 1.0).abs() < 0.1,
                "{mean} {variance}"
            );
        }
        assert_eq!(Draws::new(&demand(1.0, true), 5).draw(3.3), 3.3);
    }

    #[test]
    fn a_day_has_its_peak_and_noise_stays_within_its_part() {
        let daily = Daily { part: 0.5, period: Span::secs(100), peak: Tick(0) + Span::secs(25) };
        let noise = Noise { part: 0.1, every: Span::secs(1) };
        let demand = Demand { daily: Some(daily), ..demand(100.0, true) };
        let at = |demand: &Demand, seconds| demand.rate_at(Tick(0) + Span::secs(seconds), 1);
        assert!((at(&demand, 25) - 150.0).abs() < 1e-9 && (at(&demand, 75) - 50.0).abs() < 1e-9);
        let noisy = Demand { noise: Some(noise), ..demand.clone() };
        assert!((0..100).all(|s| (at(&noisy, s) / at(&demand, s) - 1.0).abs() <= 0.1));
        assert!((0..100).any(|s| (at(&noisy, s) / at(&demand, s) - 1.0).abs() > 0.05));
    }
}
