//! The choice of a member: 50 backends of 500 members in one tier, with and without a session key, in every policy, and
//! the ways in which it gets longer: a full first tier, everything full.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use overspill::balance::hash;
use overspill::balance::maglev::Maglev;
use overspill::balance::pick::{self, Ask, Live, Reason, Room};
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
struct Fleet {
    members: Vec<Vec<Arc<Member>>>,
    pools: Vec<Pool>,
    turn: u64,
}

impl Fleet {
    fn new(backends: u64) -> Self {
        let member = |backend: u64, n: u64| {
            let member = Arc::new(Member::new(2));
            for _ in 0..hash::mix(backend, n) % 8 {
                member.count(WorkerId(0), Count::Started);
            }
            member.conduct.observe(Span(1 + hash::mix(backend, n) % 10_000_000), Outcome::Good, Tick(1));
            member
        };
        let members = |backend| (0..500).map(|n| member(backend, n)).collect();
        Self {
            members: (0..backends).map(members).collect(),
            pools: (0..backends).map(|_| Pool::default()).collect(),
            turn: 0,
        }
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

/// Every policy at full size; those that go by weights with weights too.
fn policies(c: &mut Criterion) {
    let mut fleet = Fleet::new(50);
    let mut run = |name: String, locality: Locality, edit: &dyn Fn(&mut Usable), is_keyed: bool| {
        let mut plan = Plan { locality, ..plan(1, 50) };
        plan.backends.iter_mut().for_each(edit);
        c.bench_function(&name, |b| {
            b.iter(|| {
                fleet.turn += 1;
                let turn = fleet.turn;
                let key = is_keyed.then_some(hash::mix(turn, 9));
                let ask = Ask { origin: OriginId(0), key, turn, pinned: None, tried: &[] };
                pick::choose(black_box(&plan), ask, &mut fleet)
            });
        });
    };
    let weigh = |usable: &mut Usable| {
        usable.weights = Some(Arc::new(Shares::new((0..500).map(|n| (n, 1.0 + f64::from(n % 7))))));
    };
    let maglev = |usable: &mut Usable| {
        let members = (0..500).map(|n| (n, hash::mix(usable.identity, u64::from(n))));
        usable.hashed = Some(Hashed::Maglev(Arc::new(Maglev::new(members, 500))));
    };
    for locality in [Locality::RoundRobin, Locality::Random, Locality::LeastRequest, Locality::Prequal] {
        run(format!("{}, 50 backends", locality.as_str()), locality, &|_| (), false);
        run(format!("{} with weights, 50 backends", locality.as_str()), locality, &weigh, false);
    }
    run("WEIGHTED_ROUND_ROBIN, 50 backends".to_owned(), Locality::WeightedRoundRobin, &weigh, false);
    run("MAGLEV by key, 50 backends".to_owned(), Locality::Maglev, &maglev, true);
    let ring = Locality::RingHash { minimum_size: 1024 };
    run("RING_HASH by key, 50 backends".to_owned(), ring, &|_| (), true);
}

/// `tiers` tiers of `backends` backends of 500 members.
fn plan(tiers: u32, backends: u32) -> Plan {
    let shares = |tier: u32| Shares::new((0..backends).map(|n| (tier * backends + n, 100.0 + f64::from(n))));
    let tier = |n: u32| Tier {
        region: RegionId(0),
        shares: shares(n),
        affinity_shares: shares(n),
        reason_to_leave: Reason::Full,
        keep: u64::MAX,
    };
    let usable = |backend: u32| Usable {
        members: (0..500).collect(),
        weights: None,
        hashed: Some(Hashed::Ring(Arc::new(Ring::new(
            (0..500).map(|n| (n, hash::mix(u64::from(backend), u64::from(n)))),
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

fn bench(c: &mut Criterion) {
    let (wide, single, deep) = (plan(1, 50), plan(1, 1), plan(2, 2));
    let mut run = |name: &str, plan: &Plan, is_keyed: bool, room: fn(u32, Room) -> bool| {
        let mut turn = 0_u64;
        c.bench_function(name, |b| {
            b.iter(|| {
                turn += 1;
                let key = is_keyed.then_some(hash::mix(turn, 9));
                let ask = Ask { origin: OriginId(0), key, turn, pinned: None, tried: &[] };
                pick::choose(black_box(plan), ask, &mut |backend: u32, at| room(backend, at).then_some(turn))
            });
        });
    };
    run("in turn, 50 backends", &wide, false, |_, _| true);
    run("in turn, 1 backend", &single, false, |_, _| true);
    run("in turn, first tier of two full", &deep, false, |backend, _| backend >= 2);
    let mut sick = deep.clone();
    sick.origins[0].tiers[0].keep = u64::MAX / 2;
    run("in turn, first tier of two keeps half", &sick, false, |_, _| true);
    run("in turn, all 50 full", &wide, false, |_, room| room == Room::Overfill);
    run("by key, 50 backends", &wide, true, |_, _| true);
    run("by key, 1 backend", &single, true, |_, _| true);
    run("by key, first tier of two full", &deep, true, |backend, _| backend >= 2);
    c.bench_function("build a table of 500 members", |b| {
        b.iter(|| Maglev::new((0..500).map(|n| (n, hash::mix(u64::from(n), 1))), 500));
    });
    c.bench_function("build a ring of 10,000 members", |b| {
        b.iter(|| Ring::new((0..10_000).map(|n| (n, hash::mix(u64::from(n), 1))), 1024));
    });
}

criterion_group!(benches, bench, policies);
criterion_main!(benches);
