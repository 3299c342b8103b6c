//! A service of many members, and a plan for it in every policy. The test that a choice allocates nothing makes the very
//! choices that are measured.

use std::sync::Arc;

use overspill::balance::hash;
use overspill::balance::maglev::Maglev;
use overspill::balance::pick::{self, Ask, Live, Pick, Reason, Room};
use overspill::balance::plan::{Hashed, Order, Plan, Shares, Tier, Usable};
use overspill::balance::prequal::{Draw, Pool, Probe};
use overspill::balance::ring::Ring;
use overspill::ledger::cell::WorkerId;
use overspill::ledger::conduct::Outcome;
use overspill::ledger::member::{Count, Member};
use overspill::model::place::{OriginId, RegionId};
use overspill::model::policy::Locality;
use overspill::model::unit::{Span, Tick};

/// What policies look at: members in the ledger, with two workers, and pools that this worker keeps.
pub(crate) struct Fleet {
    members: Vec<Vec<Arc<Member>>>,
    pools: Vec<Pool>,
    turn: u64,
}

impl Fleet {
    pub(crate) fn new(backends: u32, members: u32) -> Self {
        let member = |backend: u64, n: u64| {
            let member = Arc::new(Member::new(2));
            for _ in 0..hash::mix(backend, n) % 8 {
                member.count(WorkerId(0), Count::Started);
            }
            member.conduct.observe(Span(1 + hash::mix(backend, n) % 10_000_000), Outcome::Good, Tick(1));
            member
        };
        let members = |backend| (0..u64::from(members)).map(|n| member(backend, n)).collect();
        Self {
            members: (0..u64::from(backends)).map(members).collect(),
            pools: (0..backends).map(|_| Pool::default()).collect(),
            turn: 0,
        }
    }

    /// The next request's choice.
    pub(crate) fn pick(&mut self, plan: &Plan, is_keyed: bool) -> Pick {
        self.turn += 1;
        let turn = self.turn;
        let key = is_keyed.then_some(hash::mix(turn, 9));
        let ask = Ask { origin: OriginId(0), key, turn, pinned: None, tried: &[] };
        pick::choose(plan, ask, self).unwrap()
    }
}

impl Live for Fleet {
    fn admit(&mut self, _: u32, _: Room) -> Option<u64> {
        Some(self.turn)
    }

    fn in_flight(&self, backend: u32, member: u32) -> u64 {
        self.members[backend as usize][member as usize].in_flight()
    }

    fn prequal(&mut self, draw: &Draw<'_>) -> Option<u32> {
        let (members, now) = (&self.members[draw.backend as usize], Tick(self.turn * 20_000));
        self.pools[draw.backend as usize].choose(draw, now, |member| {
            let member = &members[member as usize];
            Probe {
                in_flight: u32::try_from(member.in_flight()).unwrap(),
                latency: member.conduct.latency(now),
            }
        })
    }
}

/// Every policy, those that go by weights with weights too: name, plan, and whether requests bring keys.
pub(crate) fn policies(backends: u32, members: u32) -> Vec<(String, Plan, bool)> {
    let plain = plan(1, backends, members);
    let of = |locality: Locality, edit: &dyn Fn(&mut Usable)| {
        let mut plan = Plan { locality, ..plain.clone() };
        plan.backends.iter_mut().for_each(edit);
        plan
    };
    let weigh = |usable: &mut Usable| {
        let weights = (0..members).map(|n| (n, 1.0 + f64::from(n % 7)));
        usable.weights = Some(Arc::new(Shares::new(weights)));
    };
    let maglev = |usable: &mut Usable| {
        let of = (0..members).map(|n| (n, hash::mix(usable.identity, u64::from(n))));
        usable.hashed = Some(Hashed::Maglev(Arc::new(Maglev::new(of, members as usize))));
    };
    let mut all = Vec::new();
    for locality in [Locality::RoundRobin, Locality::Random, Locality::LeastRequest, Locality::Prequal] {
        all.push((locality.as_str().to_owned(), of(locality, &|_| ()), false));
        all.push((format!("{} with weights", locality.as_str()), of(locality, &weigh), false));
    }
    let weighted = Locality::WeightedRoundRobin;
    let ring = Locality::RingHash { minimum_size: 1024 };
    all.push((weighted.as_str().to_owned(), of(weighted, &weigh), false));
    all.push(("MAGLEV by key".to_owned(), of(Locality::Maglev, &maglev), true));
    all.push(("RING_HASH by key".to_owned(), of(ring, &|_| ()), true));
    all
}

/// `tiers` tiers of `backends` backends of so many members.
pub(crate) fn plan(tiers: u32, backends: u32, members: u32) -> Plan {
    let shares = |tier: u32| Shares::new((0..backends).map(|n| (tier * backends + n, 100.0 + f64::from(n))));
    let tier = |n: u32| Tier {
        region: RegionId(0),
        shares: shares(n),
        affinity_shares: shares(n),
        reason_to_leave: Reason::Full,
        keep: u64::MAX,
    };
    let usable = |backend: u32| Usable {
        members: (0..members).collect(),
        weights: None,
        hashed: Some(Hashed::Ring(Arc::new(Ring::new(
            (0..members).map(|n| (n, hash::mix(u64::from(backend), u64::from(n)))),
            1024,
        )))),
        identity: u64::from(backend),
    };
    let overfill = Shares::new((0..tiers * backends).map(|n| (n, 100.0)));
    Plan {
        origins: vec![Order { tiers: (0..tiers).map(tier).collect(), overfill, ..Order::default() }],
        backends: (0..tiers * backends).map(usable).collect(),
        ..Plan::default()
    }
}
