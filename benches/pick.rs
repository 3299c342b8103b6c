//! The choice of a member: 50 backends of 500 members in one tier, with and without a session key, and the ways in
//! which it gets longer: a full first tier, everything full.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use overspill::balance::hash;
use overspill::balance::pick::{self, Ask, Reason, Room};
use overspill::balance::plan::{Hashed, Order, Plan, Shares, Tier, Usable};
use overspill::balance::ring::Ring;
use overspill::model::place::{OriginId, RegionId};

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
            100,
        )))),
        identity: u64::from(backend),
    };
    let overfill = Shares::new((0..tiers * backends).map(|n| (n, 100.0)));
    Plan {
        origins: vec![Order { tiers: (0..tiers).map(tier).collect(), overfill }],
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
    c.bench_function("build a ring of 10,000 members", |b| {
        b.iter(|| Ring::new((0..10_000).map(|n| (n, hash::mix(u64::from(n), 1))), 100));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
