//! A group's autoscaler, by load balancing utilization [G 11]: as many members as bring the served load to a part of
//! the serving capacity, target × scaler of the balancing mode [G 11.1].
//!
//! * recommended = served load ÷ (utilization target × capacity of a member × scaler), rounded up [G 11.3, 11.4].
//! * Members in their initialization period do not count for scaling out, and do for scaling in [G 11.9].
//! * Scaling in goes by the greatest recommendation of the stabilization period, and at most as far as scale-in control
//!   lets it go [G 11.5].
//!
//! **Ours**: it looks every 10 s at the mean since the last look.

use std::collections::VecDeque;

use super::fleet::{Effects, Fleet, Site};
use super::scenario::{Autoscaler, ScaleIn};
use crate::model::service::Backend;
use crate::model::target::{Beside, Mode, RateTarget};
use crate::model::unit::{Span, Tick};

/// From look to look.
const EVERY: Span = Span::secs(10);

/// Part of a member that is a rounding error.
const DUST: f64 = 1e-3;

/// One autoscaler at work.
#[derive(Debug)]
pub(super) struct Scaling {
    config: Autoscaler,
    /// Last look.
    last: Tick,
    /// (CPU seconds burnt, requests) of each machine then.
    before: Vec<(f64, f64)>,
    /// (when, recommended, members), oldest first.
    history: VecDeque<(Tick, u32, u32)>,
}

/// What the members of a group serve, summed over those that count.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    /// Busy members.
    utilization: f64,
    /// Requests per second.
    rate: f64,
}

impl Scaling {
    pub(super) fn new(config: &Autoscaler) -> Self {
        Self { config: config.clone(), last: Tick(0), before: Vec::new(), history: VecDeque::new() }
    }

    /// Looks, when it is time, and changes the number of members if need be.
    pub(super) fn tick(&mut self, now: Tick, fleet: &mut Fleet) -> Option<Effects> {
        let seconds = now.since(self.last);
        if seconds < EVERY {
            return None;
        }
        let (index, service, backend) = fleet.find(&self.config.group)?;
        let site = fleet.sites.get(index)?;
        let size = u32::try_from(site.slots.len()).unwrap_or(u32::MAX);
        let [settled, all] = self.look(now, seconds.as_secs(), site);
        let config = fleet.services.get(service)?.backends.get(backend)?;
        let need = |load| recommended(load, config, self.config.utilization_target);
        let (out, scaled_in) = (need(settled)?, need(all)?);
        let advice = if out > size { out } else { scaled_in.min(size) };
        let wanted = self.decide(now, advice, size);
        (wanted != size).then(|| fleet.resize(index, wanted, now))
    }

    /// Load since the last look: of members past their initialization, and of all.
    fn look(&mut self, now: Tick, seconds: f64, site: &Site) -> [Load; 2] {
        self.last = now;
        let mut loads = [Load::default(); 2];
        for (place, (machine, count)) in site.machines.iter().zip(site.counts()).enumerate() {
            let after = (machine.burnt(now), machine.reached);
            if self.before.len() <= place {
                let parent = site.parents.get(place).copied().flatten();
                let origin = parent.and_then(|parent| self.before.get(parent as usize)).copied();
                self.before.push(origin.unwrap_or_default());
            }
            let Some(before) = self.before.get_mut(place) else { continue };
            let (burnt, reached) = std::mem::replace(before, after);
            let is_settled =
                machine.joined.is_none_or(|joined| now.since(joined) >= self.config.initialization);
            let members = f64::from(count);
            let counting = loads.iter_mut().skip(usize::from(!is_settled));
            for load in counting {
                load.utilization += members * machine.utilization(after.0 - burnt, seconds);
                load.rate += members * (after.1 - reached) / seconds;
            }
        }
        loads
    }

    /// The number of members from now on.
    fn decide(&mut self, now: Tick, advice: u32, size: u32) -> u32 {
        let Autoscaler { min, max, initialization, stabilization, scale_in, .. } = &self.config;
        if self.history.is_empty() {
            // What was there at the start was wanted then.
            self.history.push_back((Tick(0), size, size));
        }
        let advice = advice.clamp(*min, *max);
        self.history.push_back((now, advice, size));
        let window = (*stabilization).max(*initialization);
        let longest = scale_in.map_or(window, |control| window.max(control.window));
        while self.history.front().is_some_and(|first| now.since(first.0) > longest) {
            self.history.pop_front();
        }
        if advice >= size {
            return advice;
        }
        let since = |span: Span| self.history.iter().filter(move |one| now.since(one.0) <= span);
        let stable = since(window).map(|one| one.1).max().unwrap_or(advice).min(size.max(*min));
        let allowed = scale_in.map_or(0, |control| {
            let peak = since(control.window).map(|one| one.2).max().unwrap_or(size);
            peak.saturating_sub(control.allowance(size))
        });
        stable.max(allowed).min(size).clamp(*min, *max)
    }
}

impl ScaleIn {
    /// Members that may go in the window, when there are `size`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn allowance(self, size: u32) -> u32 {
        match (self.fixed, self.percent) {
            (Some(fixed), _) => fixed,
            (None, percent) => (f64::from(size) * percent.unwrap_or(100.0) / 100.0).round() as u32,
        }
    }
}

/// Members that the load needs, by the target that needs most [G 11.4]. `None` without a target per member, or with
/// a scaler of 0.
fn recommended(load: Load, backend: &Backend, utilization_target: f64) -> Option<u32> {
    let by = |load: f64, capacity: f64| {
        let of_member = utilization_target * capacity * backend.scaler.get();
        (of_member > 0.0).then(|| whole(load / of_member))
    };
    let by_rate = |rate: RateTarget| match rate {
        RateTarget::PerMember(rate) => by(load.rate, rate.get()),
        RateTarget::Group(_) => None,
    };
    match &backend.mode {
        Mode::Rate(rate) => by_rate(*rate),
        Mode::Utilization { max, beside } => {
            let beside = if let Beside::Rate(rate) = beside { by_rate(*rate) } else { None };
            by(load.utilization, max.get()).max(beside)
        }
        Mode::CustomMetrics { .. } | Mode::InFlight(_) | Mode::Connection(_) | Mode::Unlimited => None,
    }
}

/// Whether a group with this backend can be scaled by load balancing utilization [G 11.2].
#[must_use]
pub fn is_scalable(backend: &Backend) -> bool {
    match &backend.mode {
        Mode::Rate(rate) | Mode::Utilization { beside: Beside::Rate(rate), .. } => {
            matches!(rate, RateTarget::PerMember(_))
        }
        Mode::Utilization { .. } => true,
        Mode::CustomMetrics { .. } | Mode::InFlight(_) | Mode::Connection(_) | Mode::Unlimited => false,
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(members: f64) -> u32 {
    (members - DUST).ceil().max(0.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaling(scale_in: Option<ScaleIn>) -> Scaling {
        Scaling::new(&Autoscaler {
            group: "g".into(),
            utilization_target: 0.8,
            min: 2,
            max: 100,
            initialization: Span::secs(60),
            stabilization: Span::secs(600),
            scale_in,
        })
    }

    fn at(seconds: u64) -> Tick {
        Tick(0) + Span::secs(seconds)
    }

    #[test]
    fn g_11_3_what_is_needed_is_rounded_up() {
        assert_eq!([1.5, 2.0, 2.0 + 1e-9, 2.01, 0.0].map(whole), [2, 2, 2, 3, 0]);
    }

    #[test]
    fn scaling_in_goes_by_the_greatest_recommendation_of_ten_minutes_and_out_at_once() {
        let mut scaling = scaling(None);
        assert_eq!(scaling.decide(at(10), 7, 4), 7);
        assert_eq!(scaling.decide(at(20), 3, 7), 7);
        assert_eq!(scaling.decide(at(500), 5, 7), 7);
        assert_eq!(scaling.decide(at(611), 3, 7), 5);
        assert_eq!(scaling.decide(at(620), 200, 5), 100, "at most the maximum");
        assert_eq!(scaling.decide(at(1300), 0, 100), 2, "at least the minimum");
    }

    #[test]
    fn g_11_5_scale_in_control_keeps_the_peak_less_the_allowance() {
        let control = ScaleIn { fixed: Some(20), percent: None, window: Span::secs(1200) };
        let mut scaling = scaling(Some(control));
        assert_eq!(scaling.decide(at(10), 70, 70), 70);
        assert_eq!(scaling.decide(at(700), 10, 70), 50, "peak 70, allowance 20");
        assert_eq!(scaling.decide(at(1000), 10, 50), 50);
        assert_eq!(scaling.decide(at(1901), 10, 50), 30);
        assert_eq!(ScaleIn { fixed: None, percent: Some(25.0), ..control }.allowance(10), 3);
    }
}
