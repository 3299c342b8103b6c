//! The choice of a member: 50 backends of 500 members in one tier, with and without a session key, in every policy, and
//! the ways in which it gets longer: a full first tier, everything full.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod fleet;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fleet::{Fleet, plan};
use overspill::balance::hash;
use overspill::balance::maglev::Maglev;
use overspill::balance::pick::{self, Ask, Room};
use overspill::balance::plan::Plan;
use overspill::balance::ring::Ring;
use overspill::model::place::OriginId;

const BACKENDS: u32 = 50;
const MEMBERS: u32 = 500;

/// Every policy at full size; those that go by weights with weights too.
fn policies(c: &mut Criterion) {
    let mut fleet = Fleet::new(BACKENDS, MEMBERS);
    for (name, plan, is_keyed) in fleet::policies(BACKENDS, MEMBERS) {
        c.bench_function(&format!("{name}, 50 backends"), |b| {
            b.iter(|| fleet.pick(black_box(&plan), is_keyed));
        });
    }
}

fn bench(c: &mut Criterion) {
    let (wide, single, deep) = (plan(1, BACKENDS, MEMBERS), plan(1, 1, MEMBERS), plan(2, 2, MEMBERS));
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
