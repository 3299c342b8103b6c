//! What a request costs in live numbers: room at a gate, alone and against another worker; a choice through gates;
//! a lease; the memory of a session; a latency.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use criterion::{Criterion, criterion_group, criterion_main};
use overspill::balance::gcra::Limit;
use overspill::balance::hash;
use overspill::balance::pick::{self, Ask, Reason, Room};
use overspill::balance::plan::{Limits, Order, Plan, Shares, Tier, Usable};
use overspill::clock;
use overspill::ledger::backend::Backend;
use overspill::ledger::cell::WorkerId;
use overspill::ledger::gate::Gate;
use overspill::ledger::histogram::Histogram;
use overspill::ledger::lease::Lease;
use overspill::ledger::member::Member;
use overspill::ledger::service::Service;
use overspill::model::place::{OriginId, RegionId};
use overspill::model::unit::{PerSecond, Span};

fn gate(rate: f64) -> Arc<Gate> {
    let gate = Gate::closed();
    let rate = Limit::new(PerSecond::new(rate), Span::millis(100));
    gate.set(Limits { rate, ..Limits::OPEN });
    Arc::new(gate)
}

/// Room for a request, the reading of the clock included.
fn gates(c: &mut Criterion) {
    let (roomy, full) = (gate(1e9), gate(1.0));
    while full.admit(clock::now()).is_some() {}
    c.bench_function("gate with room", |b| b.iter(|| roomy.admit(clock::now())));
    c.bench_function("gate that is full", |b| b.iter(|| full.admit(clock::now())));
    let stop = Arc::new(AtomicBool::new(false));
    let other = {
        let (gate, stop) = (roomy.clone(), stop.clone());
        std::thread::spawn(move || {
            while !stop.load(Relaxed) {
                black_box(gate.admit(clock::now()));
            }
        })
    };
    c.bench_function("gate with room, another worker at it all the time", |b| {
        b.iter(|| roomy.admit(clock::now()));
    });
    stop.store(true, Relaxed);
    other.join().unwrap();
    c.bench_function("the clock alone", |b| b.iter(clock::now));
}

/// Two tiers of two backends; the first is full, so that every request asks three gates or four.
fn choice(c: &mut Criterion) {
    let tier = |first: u32| {
        let shares = || Shares::new([(first, 100.0), (first + 1, 200.0)]);
        Tier {
            region: RegionId(0),
            shares: shares(),
            affinity_shares: shares(),
            reason_to_leave: Reason::Full,
            keep: u64::MAX,
        }
    };
    let usable = |identity: u64| Usable { members: (0..500).collect(), identity, ..Usable::default() };
    let plan = Plan {
        origins: vec![Order {
            tiers: vec![tier(0), tier(2)],
            overfill: Shares::new((0..4).map(|n| (n, 100.0))),
            ..Order::default()
        }],
        backends: (0..4).map(usable).collect(),
        ..Plan::default()
    };
    let gates = [gate(1.0), gate(1.0), gate(1e9), gate(1e9)];
    let service = Service::new(1);
    c.bench_function("choice through gates, first tier of two full", |b| {
        b.iter(|| {
            let now = clock::now();
            let ask =
                Ask { origin: OriginId(0), key: None, turn: service.turn.next(), pinned: None, tried: &[] };
            pick::choose(black_box(&plan), ask, &mut |backend: u32, room| {
                let gate = gates.get(backend as usize)?;
                match room {
                    Room::IfFree => gate.admit(now),
                    Room::Overfill => Some(gate.overfill()),
                }
            })
        });
    });
}

fn counters(c: &mut Criterion) {
    let worker = WorkerId(0);
    let member = Arc::new(Member::new(2));
    let backend = Arc::new(Backend::new(2));
    c.bench_function("lease, taken and paid back", |b| {
        b.iter(|| {
            backend.gate.overfill();
            Lease::take(backend.clone(), black_box(&member).clone(), worker)
        });
    });
    let service = Service::new(2);
    service.remember_sessions();
    let mut turn = 0;
    c.bench_function("session that stays", |b| {
        b.iter(|| {
            turn = (turn + 1) % 10_000;
            service.remember(hash::mix(turn, 1), 7)
        });
    });
    let histogram = Histogram::new(2);
    let mut latency = 0;
    c.bench_function("latency into a histogram", |b| {
        b.iter(|| {
            latency = (latency + 77_777) % 200_000_000;
            histogram.observe(worker, Span(latency));
        });
    });
}

criterion_group!(benches, gates, choice, counters);
criterion_main!(benches);
