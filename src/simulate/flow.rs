//! Plan + amount → amounts by backend, with the reasons: what `balance::pick::choose` does with single requests, for a
//! flow of them. The same tiers, the same shares, the same order of the circle, the same gates.

use super::gate::Gate;
use crate::balance::pick::{PATIENCE, Reason};
use crate::balance::plan::{Order, Plan, Shares, Tier};
use crate::model::place::OriginId;
use crate::model::policy::Overload;

/// Less than this part of a flow is not followed any further.
const DUST: f64 = 1e-9;

/// A flow on its way through the tiers.
#[derive(Debug)]
pub(super) struct Flow<'a> {
    /// What it goes by.
    pub(super) way: Way<'a>,
    /// By backend index; each step has been opened.
    pub(super) gates: &'a mut [Gate],
    /// Where it went.
    pub(super) out: &'a mut Poured,
}

/// What a flow goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    /// The plan of the moment.
    pub(super) plan: &'a Plan,
    /// Whether its requests have session keys.
    pub(super) has_sessions: bool,
    /// Backends whose members have refused it already, once for each of them.
    pub(super) tried: &'a [u32],
}

impl Way<'_> {
    fn arcs<'t>(&self, tier: &'t Tier) -> &'t [(u64, u32, f64)] {
        if self.has_sessions { &tier.affinity_shares.arcs } else { &tier.shares.arcs }
    }

    /// Whether a backend has members that have not refused it.
    fn has_untried(&self, backend: u32) -> bool {
        let tried = self.tried.iter().filter(|one| **one == backend).count();
        tried == 0 || self.plan.backends.get(backend as usize).is_some_and(|one| one.members.len() > tried)
    }

    const fn is_out_of_patience(&self) -> bool {
        self.tried.len() >= PATIENCE
    }

    /// Whether it has been at a backend, and has no patience left.
    fn shuns(&self, backend: u32) -> bool {
        self.is_out_of_patience() && self.tried.contains(&backend)
    }
}

/// Where a flow went. Kept from one to the next for its memory.
#[derive(Debug, Default)]
pub(super) struct Poured {
    /// (backend, why, requests).
    pub(super) placed: Vec<(u32, Reason, f64)>,
    /// Requests without any healthy member.
    pub(super) unserved: f64,
    /// Requests turned away because everything is full.
    pub(super) rejected: f64,
    /// Requests that all members have refused.
    pub(super) stuck: f64,
    /// What has found no room so far.
    left: Vec<Part>,
    scratch: Vec<f64>,
}

/// A part of the flow: what its requests have met so far.
#[derive(Debug, Clone, Copy)]
struct Part {
    amount: f64,
    reason: Option<Reason>,
    /// Bits of the tiers that did not keep it.
    skipped: u64,
}

impl Poured {
    /// Nothing has flowed yet.
    pub(super) fn clear(&mut self) {
        self.placed.clear();
        (self.unserved, self.rejected, self.stuck) = (0.0, 0.0, 0.0);
    }
}

impl Flow<'_> {
    /// Lets `amount` requests of clients of `origin` flow.
    pub(super) fn pour(&mut self, origin: OriginId, amount: f64) {
        let plan = self.way.plan;
        let Some(order) = plan.origins.get(usize::from(origin.0)) else {
            self.out.unserved += amount;
            return;
        };
        let reason = plan.is_open.then_some(Reason::FailOpen);
        self.descend(order, 0, Part { amount, reason, skipped: 0 }, amount * DUST);
        // Only when all parts have asked is anything left over.
        for n in 0..self.out.left.len() {
            if let Some(part) = self.out.left.get(n).copied() {
                self.settle(order, part);
            }
        }
        self.out.left.clear();
    }

    fn descend(&mut self, order: &Order, depth: usize, part: Part, dust: f64) {
        if part.amount <= dust {
            return;
        }
        let Some(tier) = order.tiers.get(depth) else {
            self.out.left.push(part);
            return;
        };
        let is_given_up = self.way.arcs(tier).iter().any(|arc| self.way.shuns(arc.1));
        let (keep, why) = if is_given_up { (0.0, Reason::Unhealthy) } else { (kept(tier), Reason::Failover) };
        let going = Part {
            amount: part.amount * (1.0 - keep),
            reason: Some(part.reason.unwrap_or(why)),
            skipped: part.skipped | 1_u64.checked_shl(u32::try_from(depth).unwrap_or(64)).unwrap_or(0),
        };
        let staying = part.amount * keep;
        let ask = self.ask();
        let left = self.fill(tier, staying, part.reason.unwrap_or(Reason::Nearest), ask);
        let reason = Some(part.reason.unwrap_or_else(|| self.reason_to_leave(tier)));
        self.descend(order, depth + 1, Part { amount: left, reason, ..part }, dust);
        self.descend(order, depth + 1, going, dust);
    }

    /// What found no room anywhere: back to the tiers that did not keep it, to what others have left, then above the
    /// limits.
    fn settle(&mut self, order: &Order, part: Part) {
        let mut left = part.amount;
        let ask = self.ask();
        let is_skipped = |depth: usize| depth < 64 && part.skipped & (1 << depth) != 0;
        for (depth, tier) in order.tiers.iter().enumerate().filter(|(depth, _)| is_skipped(*depth)) {
            let reason = if depth == 0 { Reason::Nearest } else { part.reason.unwrap_or(Reason::Nearest) };
            left = self.fill(tier, left, reason, ask);
        }
        for (depth, tier) in order.tiers.iter().enumerate().filter(|_| self.way.tried.is_empty()) {
            let reason = if depth == 0 { Reason::Nearest } else { part.reason.unwrap_or(Reason::Nearest) };
            left = self.fill(tier, left, reason, Gate::pour_rest);
        }
        if left <= 0.0 {
            return;
        }
        if order.overfill.is_empty() {
            self.out.unserved += left;
        } else if self.overfill(&order.guesses, left) {
        } else if self.way.plan.overload == Overload::Reject && self.way.tried.is_empty() {
            self.out.rejected += left;
        } else if !self.overfill(&order.overfill, left) {
            self.out.stuck += left;
        }
    }

    /// How room is asked for.
    const fn ask(&self) -> fn(&mut Gate, f64) -> f64 {
        if self.way.tried.is_empty() { Gate::pour } else { Gate::pour_again }
    }

    /// A tier whose members have all refused it is left because of these.
    fn reason_to_leave(&self, tier: &Tier) -> Reason {
        let arcs = self.way.arcs(tier);
        let is_full = arcs.is_empty() || arcs.iter().any(|arc| self.way.has_untried(arc.1));
        if is_full { tier.reason_to_leave } else { Reason::Unhealthy }
    }

    /// Whether there was anybody to place it with, above the limits.
    fn overfill(&mut self, shares: &Shares, left: f64) -> bool {
        let way = self.way;
        let untried = || shares.arcs.iter().filter(|arc| way.has_untried(arc.1));
        let is_lonely = untried().all(|arc| way.shuns(arc.1));
        let usable = || untried().filter(|arc| is_lonely || !way.shuns(arc.1));
        let total: f64 = usable().map(|arc| arc.2).sum();
        if total <= 0.0 {
            return false;
        }
        for (_, backend, weight) in usable() {
            let amount = left * weight / total;
            if let Some(gate) = self.gates.get_mut(*backend as usize) {
                gate.overpour(amount);
            }
            self.out.placed.push((*backend, Reason::Overfilled, amount));
        }
        true
    }

    /// Fills a tier; what is left over. What has no patience left fills first where it was not yet.
    fn fill(
        &mut self,
        tier: &Tier,
        amount: f64,
        reason: Reason,
        pour: impl Fn(&mut Gate, f64) -> f64,
    ) -> f64 {
        let way = self.way;
        let arcs = way.arcs(tier);
        let mut left = amount;
        if way.is_out_of_patience() {
            let may = |backend| way.has_untried(backend) && !way.shuns(backend);
            left = self.fill_among(arcs, (left, reason), may, &pour);
        }
        self.fill_among(arcs, (left, reason), |backend| way.has_untried(backend), pour)
    }

    /// Each part of the circle tries its own backend first and then the next ones.
    fn fill_among(
        &mut self,
        arcs: &[(u64, u32, f64)],
        (amount, reason): (f64, Reason),
        may: impl Fn(u32) -> bool,
        pour: impl Fn(&mut Gate, f64) -> f64,
    ) -> f64 {
        let total: f64 = arcs.iter().map(|arc| arc.2).sum();
        if arcs.is_empty() || amount <= 0.0 {
            return amount;
        }
        let mut waiting = std::mem::take(&mut self.out.scratch);
        waiting.clear();
        waiting.extend(arcs.iter().map(|arc| amount * arc.2 / total));
        let mut left = amount;
        for step in 0..arcs.len() {
            for (from, waits) in waiting.iter_mut().enumerate().filter(|(_, waits)| **waits > 0.0) {
                let Some((_, backend, _)) = arcs.get((from + step) % arcs.len()) else { continue };
                if !may(*backend) {
                    continue;
                }
                let Some(gate) = self.gates.get_mut(*backend as usize) else { continue };
                let taken = pour(gate, *waits);
                if taken > 0.0 {
                    *waits -= taken;
                    left -= taken;
                    self.out.placed.push((*backend, reason, taken));
                }
            }
            if left <= amount * DUST {
                break;
            }
        }
        self.out.scratch = waiting;
        left.max(0.0)
    }
}

/// Part of the requests that a tier keeps [G 2.14].
#[allow(clippy::cast_precision_loss)]
fn kept(tier: &Tier) -> f64 {
    if tier.keep == u64::MAX { 1.0 } else { tier.keep as f64 / u64::MAX as f64 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation)]
mod tests {
    use super::*;
    use crate::balance::gcra::Limit;
    use crate::balance::pick::{self, Ask, NoPick};
    use crate::balance::plan::{Limits, Usable};
    use crate::model::place::RegionId;
    use crate::model::unit::{PerSecond, SECOND, Span, Tick};

    /// Two backends near, of which a part is kept, two far away.
    fn plan(keep: f64, overload: Overload) -> Plan {
        let tier = |backends: [(u32, f64); 2], keep: f64| Tier {
            region: RegionId(0),
            shares: Shares::new(backends),
            affinity_shares: Shares::new(backends),
            reason_to_leave: Reason::Full,
            keep: if keep >= 1.0 { u64::MAX } else { (keep * u64::MAX as f64) as u64 },
        };
        let usable = |n: u64| Usable { members: (0..4).collect(), identity: n, ..Usable::default() };
        let tiers = vec![tier([(0, 30.0), (1, 70.0)], keep), tier([(2, 50.0), (3, 50.0)], 1.0)];
        let overfill = Shares::new([(0, 30.0), (1, 70.0), (2, 50.0), (3, 50.0)]);
        Plan {
            origins: vec![Order { tiers, overfill, ..Order::default() }],
            backends: (0..4).map(usable).collect(),
            overload,
            ..Plan::default()
        }
    }

    fn gates(rates: [f64; 4]) -> Vec<Gate> {
        let gate = |rate: f64| {
            let mut gate = Gate::default();
            gate.limits =
                Limits { rate: Limit::new(PerSecond::new(rate), Span::millis(50)), count: u64::MAX };
            gate
        };
        rates.map(gate).to_vec()
    }

    /// (backend, reason) → requests in ten seconds, and what was rejected, one by one.
    fn singly(plan: &Plan, rates: [f64; 4], demand: u64, tried: &[u32]) -> ([[f64; 8]; 4], f64) {
        let (mut gates, mut counts, mut rejected) = (gates(rates), [[0.0; 8]; 4], 0.0);
        // Each time another member.
        let tried: Vec<_> = tried.iter().copied().zip(0..).collect();
        for turn in 0..demand * 10 {
            let now = Tick(turn * SECOND / demand);
            let ask = Ask { origin: OriginId(0), key: None, pinned: None, turn, tried: &tried };
            let mut admit = |backend: u32, room| match tried[..] {
                [] => gates[backend as usize].take(now, room),
                _ => gates[backend as usize].take_again(now, room),
            };
            match pick::choose(plan, ask, &mut admit) {
                Ok(pick) => counts[pick.backend as usize][pick.reason as usize] += 1.0,
                Err(NoPick::Overloaded) => rejected += 1.0,
                Err(why) => unreachable!("{why:?}"),
            }
        }
        (counts, rejected)
    }

    /// The same as a flow.
    fn flowing(plan: &Plan, rates: [f64; 4], demand: u64, tried: &[u32]) -> ([[f64; 8]; 4], f64) {
        let (mut gates, mut counts, mut rejected) = (gates(rates), [[0.0; 8]; 4], 0.0);
        for step in 0..100 {
            gates.iter_mut().for_each(|gate| gate.open(Tick(step * SECOND / 10), Span::millis(100), 0.0));
            let mut out = Poured::default();
            let way = Way { plan, has_sessions: false, tried };
            let mut flow = Flow { way, gates: &mut gates, out: &mut out };
            flow.pour(OriginId(0), demand as f64 / 10.0);
            rejected += out.rejected;
            for (backend, reason, amount) in out.placed {
                counts[backend as usize][reason as usize] += amount;
            }
        }
        (counts, rejected)
    }

    #[test]
    fn a_flow_goes_where_single_requests_go_for_the_same_reasons() {
        for keep in [1.0, 0.4] {
            for overload in [Overload::Overfill, Overload::Reject] {
                for (demand, rates) in [
                    (400, [1000.0, 1000.0, 1000.0, 1000.0]),
                    (400, [60.0, 1000.0, 1000.0, 1000.0]),
                    (400, [60.0, 140.0, 1000.0, 1000.0]),
                    (600, [60.0, 140.0, 100.0, 900.0]),
                    (900, [60.0, 140.0, 100.0, 200.0]),
                ] {
                    let plan = plan(keep, overload);
                    let (one, other) =
                        (singly(&plan, rates, demand, &[]), flowing(&plan, rates, demand, &[]));
                    let all = (demand * 10) as f64;
                    let pairs = one.0.iter().flatten().zip(other.0.iter().flatten());
                    for (a, b) in pairs.chain([(&one.1, &other.1)]) {
                        assert!((a - b).abs() < 0.02 * all, "{keep} {demand} {rates:?}:\n{one:?}\n{other:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_three_members_have_refused_leaves_their_tier_as_single_requests_do() {
        for (tried, rates) in
            [([0, 1, 0], [1000.0; 4]), ([0, 0, 0], [1000.0, 1000.0, 60.0, 60.0]), ([0, 2, 0], [1000.0; 4])]
        {
            let plan = plan(1.0, Overload::Overfill);
            let one = singly(&plan, rates, 400, &tried);
            let other = flowing(&plan, rates, 400, &tried);
            for (a, b) in one.0.iter().flatten().zip(other.0.iter().flatten()) {
                assert!((a - b).abs() < 80.0, "{tried:?} {rates:?}:\n{one:?}\n{other:?}");
            }
            let near: f64 = other.0[..2].iter().flatten().sum();
            assert!(rates[2] < 1000.0 || tried[1] == 2 || near == 0.0, "{other:?}");
        }
        // Above the limits it goes to others too.
        let plan = plan(1.0, Overload::Overfill);
        for (placed, _) in [singly(&plan, [10.0; 4], 400, &[1; 3]), flowing(&plan, [10.0; 4], 400, &[1; 3])] {
            assert!(placed[1][Reason::Overfilled as usize] == 0.0 && placed[0].iter().sum::<f64>() > 500.0);
        }
    }
}
