//! The members of a backend from tick to tick: who may get requests, with what weight, and how sessions find them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::maglev::Maglev;
use super::plan::{Hashed, MemberSample, Shares, Usable};
use super::ring::Ring;
use super::{hash, weights};
use crate::model::policy::Locality;
use crate::model::service::{self, Affinity, Service};
use crate::model::unit::{Span, Tick};

/// From look to look at reported weights.
const WEIGH: Span = Span::secs(1);
/// A weight that moves by less makes no new plan.
const WEIGHT_STEP: f64 = 0.01;
/// Weight of a member that has just recovered.
const SLOW_START: f64 = 0.1;
/// Steps of a slow start: each makes a new plan.
const SLOW_STEPS: f64 = 18.0;

/// See the module. A reload adopts what was learned.
#[derive(Debug)]
pub(super) struct Members {
    /// Of the group.
    identity: u64,
    /// Of the members, in order.
    identities: Vec<u64>,
    hashing: Option<Hashing>,
    slow_start: Span,
    is_weighted: bool,
    /// By member index.
    standing: Vec<Standing>,
    weighed: Option<Tick>,
    /// Whether the backend was drained when `now` was made.
    was_drained: bool,
    now: Option<Usable>,
    /// Of `now`, by place; empty when all are alike.
    weights: Vec<f64>,
}

#[derive(Debug, Clone, Copy)]
enum Hashing {
    Ring { minimum_size: u32 },
    Maglev,
}

/// A member's.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// In the list now.
    is_listed: bool,
    /// Healthy and not ejected at the last tick.
    is_fit: bool,
    /// Was fit at some time before.
    was_fit: bool,
    /// When it became fit again.
    recovered: Option<Tick>,
    /// As reported, smoothed.
    weight: Option<f64>,
}

/// What else decides about who may get requests.
#[derive(Clone, Copy)]
pub(super) struct Bars<'a> {
    /// The backend takes no new requests.
    pub(super) is_drained: bool,
    /// Ejected members by index; what is beyond the end is not.
    pub(super) ejected: &'a [bool],
}

impl Members {
    pub(super) fn new(service: &Service, config: &service::Backend) -> Self {
        let locality = service.policies.locality;
        let count = config.members.len();
        let hashing = match (&service.affinity, locality) {
            // A strong cookie names its member.
            (Affinity::None | Affinity::StrongCookie(_), _) => None,
            (_, Locality::RingHash { minimum_size }) => Some(Hashing::Ring { minimum_size }),
            _ => Some(Hashing::Maglev),
        };
        Self {
            identity: hash::group(&config.group),
            identities: config.members.iter().map(hash::member).collect(),
            hashing,
            slow_start: service.policies.slow_start,
            is_weighted: locality == Locality::WeightedRoundRobin,
            standing: vec![Standing::default(); count],
            weighed: None,
            was_drained: false,
            now: None,
            weights: Vec::new(),
        }
    }

    pub(super) fn identities(&self) -> &[u64] {
        &self.identities
    }

    /// Takes over how members stood: a reload makes nobody recover.
    pub(super) fn adopt(&mut self, old: &Self) {
        let before: BTreeMap<_, _> = old.identities.iter().zip(&old.standing).collect();
        for (identity, standing) in self.identities.iter().zip(&mut self.standing) {
            if let Some(before) = before.get(identity) {
                *standing = Standing { is_listed: false, ..**before };
            }
        }
    }

    /// The same as before, where only health could make another list of it, and there is no news of that.
    pub(super) fn still(&self, bars: Bars<'_>) -> Option<Usable> {
        let is_plain = !self.is_weighted && self.slow_start == Span::ZERO && bars.ejected.is_empty();
        self.now.clone().filter(|_| is_plain && self.was_drained == bars.is_drained)
    }

    /// The members that may get requests. As long as they and their weights stand, the lists stay the very same.
    pub(super) fn usable(&mut self, now: Tick, samples: &[MemberSample], bars: Bars<'_>) -> Usable {
        self.was_drained = bars.is_drained;
        let mut is_other = false;
        for (index, standing) in self.standing.iter_mut().enumerate() {
            let is_ejected = bars.ejected.get(index).copied().unwrap_or(false);
            let is_fit = samples.get(index).is_some_and(|member| member.is_healthy) && !is_ejected;
            is_other |= standing.update(now, is_fit, is_fit && !bars.is_drained);
        }
        self.weigh(now, samples);
        let mut usable = match self.now.take() {
            Some(usable) if !is_other => usable,
            _ => self.list(),
        };
        let weights = self.weights(now, &usable.members);
        let has_moved = |(old, new): (&f64, &f64)| (new - old).abs() > WEIGHT_STEP * old;
        if weights.len() != self.weights.len() || self.weights.iter().zip(&weights).any(has_moved) || is_other
        {
            let shares = || Arc::new(Shares::new((0..).zip(weights.iter().copied())));
            usable.weights = (!weights.is_empty()).then(shares);
            self.weights = weights;
        }
        self.now = Some(usable.clone());
        usable
    }

    fn weigh(&mut self, now: Tick, samples: &[MemberSample]) {
        if !self.is_weighted || self.weighed.is_some_and(|last| now.since(last) < WEIGH) {
            return;
        }
        self.weighed = Some(now);
        for (standing, sample) in self.standing.iter_mut().zip(samples) {
            standing.weight = weights::smooth(standing.weight, sample.conduct.weight);
        }
    }

    /// Weights by place in `members`; empty when all are alike.
    fn weights(&mut self, now: Tick, members: &[u32]) -> Vec<f64> {
        if !self.is_weighted && self.slow_start == Span::ZERO {
            return Vec::new();
        }
        let standing = |place: usize| members.get(place).and_then(|index| self.standing.get(*index as usize));
        let mut weights = vec![1.0; members.len()];
        if self.is_weighted {
            weights::level(&mut weights, |place| standing(place)?.weight);
        }
        for (place, weight) in weights.iter_mut().enumerate() {
            *weight *= standing(place).map_or(1.0, |standing| standing.progress(now, self.slow_start));
        }
        let first = weights.first().copied().unwrap_or(1.0);
        if weights.iter().all(|weight| (weight - first).abs() <= WEIGHT_STEP * first) {
            Vec::new()
        } else {
            weights
        }
    }

    fn list(&self) -> Usable {
        let listed = || {
            let members = (0_u32..).zip(&self.identities).zip(&self.standing);
            members
                .filter(|(_, standing)| standing.is_listed)
                .map(|((index, identity), _)| (index, *identity))
        };
        let hashed = |hashing| match hashing {
            Hashing::Ring { minimum_size } => Hashed::Ring(Arc::new(Ring::new(listed(), minimum_size))),
            Hashing::Maglev => Hashed::Maglev(Arc::new(Maglev::new(listed(), self.identities.len()))),
        };
        Usable {
            members: listed().map(|(index, _)| index).collect(),
            weights: None,
            hashed: self.hashing.map(hashed),
            identity: self.identity,
        }
    }
}

impl Usable {
    /// Whether it is the very same as before.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same_weight = match (&self.weights, &other.weights) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        is_same_weight && Arc::ptr_eq(&self.members, &other.members)
    }
}

impl Standing {
    /// Whether its place in the list has changed.
    fn update(&mut self, now: Tick, is_fit: bool, is_listed: bool) -> bool {
        if is_fit && !self.is_fit && self.was_fit {
            self.recovered = Some(now);
        }
        self.is_fit = is_fit;
        self.was_fit |= is_fit;
        std::mem::replace(&mut self.is_listed, is_listed) != is_listed
    }

    /// How far its slow start has come, in steps from [`SLOW_START`] to 1.
    fn progress(&self, now: Tick, window: Span) -> f64 {
        let Some(recovered) = self.recovered else { return 1.0 };
        let since = now.since(recovered);
        if since >= window {
            return 1.0;
        }
        let part = (since.as_secs() / window.as_secs() * SLOW_STEPS).floor() / SLOW_STEPS;
        SLOW_START + (1.0 - SLOW_START) * part
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::balance::plan::Conduct;

    fn members(slow_start: u64, is_weighted: bool) -> Members {
        Members {
            identity: 7,
            identities: vec![1, 2, 3],
            hashing: None,
            slow_start: Span::secs(slow_start),
            is_weighted,
            standing: vec![Standing::default(); 3],
            weighed: None,
            was_drained: false,
            now: None,
            weights: Vec::new(),
        }
    }

    fn samples(healthy: [bool; 3]) -> Vec<MemberSample> {
        let sample = |is_healthy| MemberSample { is_healthy, ..MemberSample::default() };
        healthy.into_iter().map(sample).collect()
    }

    const OPEN: Bars<'_> = Bars { is_drained: false, ejected: &[] };

    fn weights(usable: &Usable) -> Vec<f64> {
        usable
            .weights
            .as_ref()
            .map(|weights| weights.arcs.iter().map(|arc| arc.2).collect())
            .unwrap_or_default()
    }

    fn at(seconds: u64) -> Tick {
        Tick(0) + Span::secs(seconds)
    }

    #[test]
    fn a_recovered_member_grows_from_a_tenth_to_all_and_a_new_one_is_whole_at_once() {
        let mut members = members(18, false);
        assert!(weights(&members.usable(at(0), &samples([true, true, false]), OPEN)).is_empty());
        assert!(weights(&members.usable(at(1), &samples([true, true, true]), OPEN)).is_empty(), "first time");
        members.usable(at(2), &samples([true, false, true]), OPEN);
        let back = members.usable(at(10), &samples([true, true, true]), OPEN);
        assert_eq!(weights(&back), [1.0, 0.1, 1.0]);
        let half = members.usable(at(19), &samples([true, true, true]), OPEN);
        assert!((weights(&half)[1] - 0.55).abs() < 1e-9);
        assert!(Arc::ptr_eq(&half.members, &back.members), "weights alone make no other list");
        assert!(weights(&members.usable(at(28), &samples([true, true, true]), OPEN)).is_empty());
    }

    #[test]
    fn an_ejected_member_recovers_and_a_drained_backend_does_not() {
        let mut members = members(10, false);
        let all = samples([true; 3]);
        members.usable(at(0), &all, OPEN);
        let ejected = members.usable(at(1), &all, Bars { ejected: &[false, true], ..OPEN });
        assert_eq!(*ejected.members, [0, 2]);
        assert_eq!(weights(&members.usable(at(2), &all, OPEN)), [1.0, 0.1, 1.0]);
        members.usable(at(50), &all, OPEN);
        assert!(members.usable(at(51), &all, Bars { is_drained: true, ..OPEN }).members.is_empty());
        assert!(weights(&members.usable(at(52), &all, OPEN)).is_empty());
    }

    #[test]
    fn a_reload_makes_nobody_recover_and_forgets_no_recovery() {
        let mut old = members(10, false);
        old.usable(at(0), &samples([true; 3]), OPEN);
        old.usable(at(1), &samples([true, true, false]), OPEN);
        old.usable(at(2), &samples([true; 3]), OPEN);
        let mut new = members(10, false);
        new.identities = vec![3, 9, 1];
        new.adopt(&old);
        let weights = weights(&new.usable(at(3), &samples([true; 3]), OPEN));
        assert!((weights[0] - 0.15).abs() < 1e-9 && weights[1..] == [1.0, 1.0], "{weights:?}");
    }

    #[test]
    fn g_1_45_reported_weights_are_looked_at_once_a_second() {
        let mut members = members(0, true);
        let report = |weights: [Option<f64>; 3]| {
            let mut samples = samples([true; 3]);
            for (sample, weight) in samples.iter_mut().zip(weights) {
                sample.conduct = Conduct { weight, ..Conduct::default() };
            }
            samples
        };
        let first = members.usable(at(0), &report([Some(300.0), Some(100.0), None]), OPEN);
        assert_eq!(weights(&first), [1.5, 0.5, 1.0]);
        let soon = Tick(500_000_000);
        let same = members.usable(soon, &report([Some(100.0), Some(100.0), None]), OPEN);
        assert!(Arc::ptr_eq(first.weights.as_ref().unwrap(), same.weights.as_ref().unwrap()));
        let second = members.usable(at(1), &report([Some(100.0), Some(100.0), None]), OPEN);
        assert!((weights(&second)[0] - 220.0 / 160.0).abs() < 1e-9, "{:?}", weights(&second));
        assert!(weights(&members.usable(at(2), &report([None; 3]), OPEN)).is_empty());
    }
}
