//! Where a demo's figures come from: the proxy's world and what its clients counted, over the last second.

use std::collections::VecDeque;

use super::frame::{Clients, Group, Member};
use crate::admin::status;
use crate::balance::pick::Reason;
use crate::cli::load::Stats;
use crate::model::unit::{Span, Tick};
use crate::world::{LiveService, World};

/// Looks at the load, oldest first, reaching back just over a second.
#[derive(Debug, Default)]
pub(super) struct Window {
    looks: VecDeque<Look>,
}

/// What was counted at a moment.
#[derive(Debug, Clone, Default)]
struct Look {
    at: Tick,
    stats: Stats,
    /// By backend and reason.
    picks: Vec<[u64; Reason::ALL.len()]>,
}

const REACH: Span = Span::secs(1);

impl Window {
    /// Takes a look.
    pub(super) fn look(&mut self, now: Tick, stats: Stats, world: &World) {
        let picks = service(world).map(|service| service.backends.iter().map(picks).collect());
        self.looks.push_back(Look { at: now, stats, picks: picks.unwrap_or_default() });
        // The first look older than the reach stays: rates are over at least the reach once it is there.
        while self.looks.get(1).is_some_and(|second| now.since(second.at) >= REACH) {
            self.looks.pop_front();
        }
    }

    /// What clients saw.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn clients(&self) -> Clients {
        let Some((first, last, seconds)) = self.ends() else { return Clients::default() };
        let between = last.stats.since(&first.stats);
        Clients {
            sent: between.sent as f64 / seconds,
            answered: between.answered() as f64 / seconds,
            requests: last.stats.sent,
            errors: last.stats.failed(),
            p50: between.latencies.quantile(0.5),
            p99: between.latencies.quantile(0.99),
        }
    }

    /// The backends of the first service.
    pub(super) fn groups(&self, world: &World) -> Vec<Group> {
        let Some(service) = service(world) else { return Vec::new() };
        (0..service.backends.len()).filter_map(|place| self.group(world, service, place)).collect()
    }

    #[allow(clippy::cast_precision_loss)]
    fn group(&self, world: &World, service: &LiveService, place: usize) -> Option<Group> {
        let (config, live) = (service.config.backends.get(place)?, service.backends.get(place)?);
        let figures = live.ledger.shown.read();
        let members = live.members.iter().map(|member| Member {
            name: member.config.name.to_string(),
            is_healthy: member.is_healthy(),
            rate: self.member_rate(&member.config.name),
        });
        Some(Group {
            region: status::region(&world.config.places, config.group.region).to_owned(),
            name: config.group.name.to_string(),
            scaler: config.scaler.get(),
            capacity: figures.capacity,
            rate: figures.rate,
            fullness: figures.fullness,
            spill: self.spill(place),
            members: members.collect(),
        })
    }

    #[allow(clippy::cast_precision_loss)]
    fn member_rate(&self, name: &str) -> f64 {
        self.ends().map_or(0.0, |(first, last, seconds)| {
            last.stats.backend(name).saturating_sub(first.stats.backend(name)) as f64 / seconds
        })
    }

    /// Requests per second that were not at home here, and the most frequent reason.
    #[allow(clippy::cast_precision_loss)]
    fn spill(&self, place: usize) -> Option<(f64, &'static str)> {
        let (first, last, seconds) = self.ends()?;
        // A reload may have brought the backend in between.
        let (before, after) = (first.picks.get(place).copied().unwrap_or_default(), last.picks.get(place)?);
        let counts = Reason::ALL
            .iter()
            .zip(after.iter().zip(before))
            .map(|(reason, (a, b))| (*reason, a.saturating_sub(b)));
        let spilled: Vec<_> = counts.filter(|(reason, n)| *reason != Reason::Nearest && *n > 0).collect();
        let (reason, _) = spilled.iter().max_by_key(|(_, n)| *n)?;
        let total: u64 = spilled.iter().map(|(_, n)| n).sum();
        Some((total as f64 / seconds, reason.as_str()))
    }

    fn ends(&self) -> Option<(&Look, &Look, f64)> {
        let (first, last) = (self.looks.front()?, self.looks.back()?);
        let seconds = last.at.since(first.at).as_secs();
        (seconds > 0.0).then_some((first, last, seconds))
    }
}

fn service(world: &World) -> Option<&LiveService> {
    world.services.first().map(|service| &**service)
}

fn picks(backend: &crate::world::LiveBackend) -> [u64; Reason::ALL.len()] {
    Reason::ALL.map(|reason| backend.ledger.picks(reason))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;
    use crate::ledger::cell::WorkerId;
    use crate::telemetry::fixture;

    #[test]
    fn rates_are_those_of_the_last_second() {
        let world = fixture::world(1);
        let far = &world.services[0].backends[1];
        let mut window = Window::default();
        let mut stats = Stats::default();
        for step in 0..=10_u64 {
            window.look(Tick(step * 200_000_000), stats.clone(), &world);
            stats.sent += 30;
            *stats.statuses.entry(200).or_default() += 30;
            *stats.backends.entry("far-1".to_owned()).or_default() += 10;
            (0..10).for_each(|_| far.ledger.count_pick(WorkerId(0), Reason::Full));
            far.ledger.count_pick(WorkerId(0), Reason::Nearest);
        }
        let (clients, groups) = (window.clients(), window.groups(&world));
        assert_eq!((clients.sent, clients.answered, clients.requests), (150.0, 150.0, 300));
        assert_eq!((groups[1].spill, groups[0].spill), (Some((50.0, "full")), None));
        assert_eq!((&*groups[1].members[0].name, groups[1].members[0].rate), ("far-1", 50.0));
        assert_eq!((&*groups[0].region, groups[0].scaler), ("us-central1", 1.0));
    }
}
