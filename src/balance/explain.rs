//! Why a request goes where it goes: the very choice of [`super::pick`], with everything that it met written down.

use std::sync::Arc;

use super::pick::{self, Ask, Live, NoPick, Pick, Reason, Room};
use super::plan::{Plan, Tier};
use crate::model::place::RegionId;

/// The choice and its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Tiers of the request's origin, nearest first.
    pub tiers: Vec<Stage>,
    /// What isolation keeps the request from: each region with its backends [G 2.15].
    pub isolated: Vec<(RegionId, Arc<[u32]>)>,
    /// The choice, or why there is none.
    pub outcome: Result<Pick, NoPick>,
}

/// One tier as the choice met it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// All its backends, those that can take nothing too.
    pub backends: Arc<[u32]>,
    /// Backends that could take requests, with their part of this tier's, 0 to 1.
    pub shares: Vec<(u32, f64)>,
    /// Part of the requests that stay here by health [G 2.14], 0 to 1.
    pub keeps: f64,
    /// Backends that were asked for room here and had none.
    pub full: Vec<u32>,
    /// What became of the request here.
    pub verdict: Verdict,
}

/// What became of a request in a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Placed here.
    Taken,
    /// Went on, for this reason.
    Left(Reason),
    /// Never came here.
    NotReached,
}

impl Verdict {
    /// The word: `taken`, the reason to leave, or `not reached`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Left(reason) => reason.as_str(),
            Self::NotReached => "not reached",
        }
    }
}

/// Chooses as [`pick::choose`] does, and writes down the way. Whether `live` reserves room is its own affair: who only
/// asks looks whether there would be some.
pub fn explain(plan: &Plan, ask: Ask<'_>, live: &mut impl Live) -> Trace {
    let mut recorder = Recorder { live, refused: Vec::new() };
    let outcome = pick::choose(plan, ask, &mut recorder);
    let refused = recorder.refused;
    let order = plan.origins.get(usize::from(ask.origin.0));
    let tiers = order.map_or(&[][..], |order| order.tiers.as_slice());
    let place = outcome.ok().filter(|pick| !matches!(pick.reason, Reason::Overfilled | Reason::Session));
    let taken = place
        .and_then(|pick| tiers.iter().position(|tier| shares(tier, &ask).any(|one| one.0 == pick.backend)));
    let is_pinned = outcome.is_ok_and(|pick| pick.reason == Reason::Session);
    let stage = |(depth, tier): (usize, &Tier)| {
        let shares: Vec<_> = shares(tier, &ask).collect();
        let full: Vec<u32> =
            shares.iter().map(|one| one.0).filter(|backend| refused.contains(backend)).collect();
        let stays = pick::stays(tier, &ask, depth);
        let verdict = match taken {
            _ if is_pinned => Verdict::NotReached,
            Some(taken) if depth == taken => Verdict::Taken,
            Some(taken) if depth > taken && full.is_empty() => Verdict::NotReached,
            _ if !stays => Verdict::Left(Reason::Failover),
            _ if shares.is_empty() || !full.is_empty() => Verdict::Left(tier.reason_to_leave),
            _ => Verdict::Left(Reason::Unhealthy),
        };
        let backends = order.and_then(|order| order.roster.get(depth)).cloned().unwrap_or_default();
        Stage { backends, shares, keeps: part(tier.keep), full, verdict }
    };
    let isolated = order.map_or_else(Vec::new, |order| order.isolated.clone());
    Trace { tiers: tiers.iter().enumerate().map(stage).collect(), isolated, outcome }
}

/// Backends of a tier with their part.
fn shares<'a>(tier: &'a Tier, ask: &Ask<'_>) -> impl Iterator<Item = (u32, f64)> + use<'a> {
    let shares = if ask.key.is_some() { &tier.affinity_shares } else { &tier.shares };
    shares.arcs.iter().map(|arc| (arc.1, shares.part_of(arc.1)))
}

#[allow(clippy::cast_precision_loss)]
fn part(keep: u64) -> f64 {
    keep as f64 / u64::MAX as f64
}

/// Passes questions on, and remembers who had no room.
struct Recorder<'a, L> {
    live: &'a mut L,
    refused: Vec<u32>,
}

impl<L: Live> Live for Recorder<'_, L> {
    fn admit(&mut self, backend: u32, room: Room) -> Option<u64> {
        let turn = self.live.admit(backend, room);
        if turn.is_none() {
            self.refused.push(backend);
        }
        turn
    }

    fn in_flight(&self, backend: u32, member: u32) -> u64 {
        self.live.in_flight(backend, member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::plan::{Order, Shares, Usable};
    use crate::model::place::OriginId;

    fn plan() -> Plan {
        let tier = |backends: &[(u32, f64)], reason_to_leave| Tier {
            region: RegionId(0),
            shares: Shares::new(backends.iter().copied()),
            affinity_shares: Shares::new(backends.iter().copied()),
            reason_to_leave,
            keep: u64::MAX,
        };
        let tiers = vec![
            tier(&[], Reason::Drained),
            tier(&[(1, 30.0), (2, 10.0)], Reason::Full),
            tier(&[(3, 10.0)], Reason::Full),
            tier(&[(4, 10.0)], Reason::Full),
        ];
        let overfill = Shares::new((1..5).map(|backend| (backend, 10.0)));
        let usable = |identity| Usable { members: [0].into(), identity, ..Usable::default() };
        Plan {
            origins: vec![Order { tiers, overfill, ..Order::default() }],
            backends: (0..5).map(usable).collect(),
            ..Plan::default()
        }
    }

    fn trace(mut has_room: impl FnMut(u32) -> bool) -> Trace {
        let ask = Ask { origin: OriginId(0), key: None, pinned: None, turn: 3, tried: &[] };
        explain(&plan(), ask, &mut |backend: u32, room| {
            (room == Room::Overfill || has_room(backend)).then_some(0)
        })
    }

    fn verdicts(trace: &Trace) -> Vec<&'static str> {
        trace.tiers.iter().map(|tier| tier.verdict.as_str()).collect()
    }

    #[test]
    fn each_tier_says_why_it_was_left_until_one_took_the_request() {
        let trace = trace(|backend| backend == 3);
        assert_eq!(verdicts(&trace), ["drained", "full", "taken", "not reached"]);
        assert_eq!(trace.tiers[1].shares, [(1, 0.75), (2, 0.25)]);
        assert_eq!(trace.tiers[1].full, [1, 2]);
        assert_eq!(trace.outcome, Ok(Pick { backend: 3, member: 0, reason: Reason::Drained }));
    }

    #[test]
    fn what_is_full_everywhere_is_placed_above_the_targets() {
        let trace = trace(|_| false);
        assert_eq!(verdicts(&trace), ["drained", "full", "full", "full"]);
        assert!(trace.outcome.is_ok_and(|pick| pick.reason == Reason::Overfilled));
    }
}
