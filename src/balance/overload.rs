//! How far above capacity everything together is that requests may be placed in [G 2.6].
//!
//! Such a part above its limit is due to each backend; what comes above that is chance, and a limit by load holds back
//! as much (see [`super::utilization`]).

use super::plan::Plan;
use crate::model::unit::{Span, Tick};

/// Over what time it is averaged: random arrivals are above and below capacity from second to second.
const AVERAGED: Span = Span::secs(5);

/// What a backend gets and what it can take, in requests per second; infinite = not limited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) rate: f64,
    pub(super) capacity: f64,
}

/// Rate ÷ capacity of all that a backend shares the excess with, by backend index.
#[derive(Debug, Clone, Default)]
pub(super) struct Overload {
    last: Option<Tick>,
    parts: Vec<f64>,
}

impl Overload {
    /// Takes in what backends get under `plan`, by backend index.
    pub(super) fn tick(&mut self, now: Tick, plan: &Plan, loads: &[Load]) {
        let seconds = self.last.replace(now).map_or(0.0, |last| now.since(last).as_secs());
        let step = 1.0 - (-seconds / AVERAGED.as_secs()).exp();
        self.parts.resize(loads.len(), 0.0);
        for (part, now) in self.parts.iter_mut().zip(parts(plan, loads)) {
            *part += (now - *part) * step;
        }
    }

    /// At least 1: what a backend is to get, in parts of its capacity, where it is full.
    pub(super) fn of(&self, backend: usize) -> f64 {
        self.parts.get(backend).map_or(1.0, |part| part.max(1.0))
    }
}

/// By backend index, the least over the origins whose excess may come there: 0 where anything has room without end.
fn parts(plan: &Plan, loads: &[Load]) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; loads.len()];
    for order in &plan.origins {
        let arcs = &order.overfill.arcs;
        let shared = arcs.iter().filter_map(|arc| loads.get(arc.1 as usize));
        let (rate, capacity) =
            shared.fold((0.0, 0.0), |(rate, capacity), load| (rate + load.rate, capacity + load.capacity));
        let part = if capacity > 0.0 { rate / capacity } else { 0.0 };
        for arc in arcs {
            if let Some(least) = least.get_mut(arc.1 as usize) {
                *least = part.min(*least);
            }
        }
    }
    least.iter_mut().filter(|part| part.is_infinite()).for_each(|part| *part = 0.0);
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::plan::{Order, Shares};
    use crate::model::unit::SECOND;

    fn order(backends: &[u32]) -> Order {
        Order { overfill: Shares::new(backends.iter().map(|backend| (*backend, 1.0))), ..Order::default() }
    }

    fn settled(origins: Vec<Order>, loads: &[(f64, f64)]) -> Vec<f64> {
        let plan = Plan { origins, ..Plan::default() };
        let loads: Vec<_> =
            loads.iter().map(|(rate, capacity)| Load { rate: *rate, capacity: *capacity }).collect();
        let mut overload = Overload::default();
        (0..100).for_each(|n| overload.tick(Tick(n * SECOND), &plan, &loads));
        (0..loads.len()).map(|backend| (overload.of(backend) * 1000.0).round() / 1000.0).collect()
    }

    #[test]
    fn all_that_share_the_excess_are_due_the_same_part_of_it() {
        assert_eq!(settled(vec![order(&[0, 1])], &[(90.0, 100.0), (90.0, 50.0)]), [1.2, 1.2]);
        assert_eq!(settled(vec![order(&[0, 1])], &[(50.0, 100.0), (80.0, 50.0)]), [1.0, 1.0]);
    }

    #[test]
    fn where_anything_has_room_without_end_nothing_is_due() {
        assert_eq!(settled(vec![order(&[0, 1])], &[(500.0, 100.0), (9.0, f64::INFINITY)]), [1.0, 1.0]);
    }

    #[test]
    fn what_isolation_keeps_apart_has_an_excess_of_its_own() {
        let apart = vec![order(&[0]), order(&[1])];
        assert_eq!(settled(apart, &[(150.0, 100.0), (10.0, 50.0)]), [1.5, 1.0]);
    }
}
