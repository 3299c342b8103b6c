//! The functions of the hot path that can be called by themselves, each a good many times in a child of this program.

use std::hint::black_box;
use std::sync::Arc;

use http::HeaderMap;
use overspill::balance::gcra::Limit;
use overspill::balance::hash;
use overspill::balance::pick::{self, Ask, Room};
use overspill::balance::plan::Limits;
use overspill::clock;
use overspill::ledger::backend::Backend;
use overspill::ledger::cell::WorkerId;
use overspill::ledger::gate::Gate;
use overspill::ledger::histogram::Histogram;
use overspill::ledger::lease::Lease;
use overspill::ledger::member::Member;
use overspill::ledger::service::Service;
use overspill::model::place::OriginId;
use overspill::model::route::Head;
use overspill::model::route::UrlMap;
use overspill::model::unit::{PerSecond, Span};

use super::fleet::{self, Fleet};
use super::routes::{self, By};

/// With it, this program is what is counted; then come the function's name and how often it is called.
const FLAG: &str = "--be-counted";
/// Enough for tables to matter, few enough to be built soon.
const BACKENDS: u32 = 10;
const MEMBERS: u32 = 100;
const RULES: u32 = 1000;
/// Between two calls.
type Step = Box<dyn FnMut()>;
/// What makes one ready.
type Make = fn() -> Step;

const FUNCTIONS: [(&str, Make); 15] = [
    ("pick ROUND_ROBIN", || policy("ROUND_ROBIN")),
    ("pick LEAST_REQUEST", || policy("LEAST_REQUEST")),
    ("pick WEIGHTED_ROUND_ROBIN", || policy("WEIGHTED_ROUND_ROBIN")),
    ("pick PREQUAL", || policy("PREQUAL")),
    ("pick MAGLEV by key", || policy("MAGLEV by key")),
    ("pick RING_HASH by key", || policy("RING_HASH by key")),
    ("pick in turn, first tier of two full", full_tier),
    ("route by path, 1000 rules", || find(routes::paths(RULES))),
    ("route by prefix, 1000 rules", || find(routes::rules(By::Prefix, RULES))),
    ("route by template, 1000 rules", || find(routes::rules(By::Template, RULES))),
    ("route by header, 1000 rules", || find(routes::rules(By::Header, RULES))),
    ("gate with room", gate),
    ("lease, taken and paid back", lease),
    ("session that stays", session),
    ("latency into a histogram", histogram),
];

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, _)| *name)
}

/// What this program's child is told.
pub(crate) fn arguments(name: &str, times: u64) -> Vec<String> {
    vec![FLAG.to_owned(), name.to_owned(), times.to_string()]
}

/// Calls a function when the command line says so.
pub(crate) fn run_if_asked(arguments: &[String]) -> Option<Result<(), String>> {
    let [flag, name, times] = arguments else { return None };
    let times: u64 = (flag == FLAG).then(|| times.parse().unwrap_or(0))?;
    let Some((_, make)) = FUNCTIONS.iter().find(|(known, _)| known == name) else {
        return Some(Err(format!("there is no `{name}`")));
    };
    let mut step = make();
    (0..times).for_each(|_| step());
    Some(Ok(()))
}

fn policy(name: &str) -> Step {
    let found = fleet::policies(BACKENDS, MEMBERS).into_iter().find(|(known, ..)| known == name);
    let (_, plan, is_keyed) = found.unwrap_or_default();
    let mut fleet = Fleet::new(BACKENDS, MEMBERS);
    Box::new(move || {
        black_box(fleet.pick(black_box(&plan), is_keyed));
    })
}

fn full_tier() -> Step {
    let (plan, mut turn) = (fleet::plan(2, 2, MEMBERS), 0_u64);
    Box::new(move || {
        turn += 1;
        let ask = Ask { origin: OriginId(0), key: None, turn, pinned: None, tried: &[] };
        let room = &mut |backend: u32, _: Room| (backend >= 2).then_some(turn);
        let _ = black_box(pick::choose(black_box(&plan), ask, room));
    })
}

/// The last rule is found.
fn find(map: UrlMap) -> Step {
    let (path, headers) = (routes::path(RULES - 1), routes::headers(RULES - 1));
    let host = format!("shop-{}.example.com", RULES - 1);
    Box::new(move || {
        black_box(map.find(black_box(&head(&host, &path, &headers))));
    })
}

fn head<'a>(host: &'a str, path: &'a str, headers: &'a HeaderMap) -> Head<'a> {
    Head { host: Some(host.as_bytes()), method: "GET", path, query: None, headers }
}

fn gate() -> Step {
    let gate = Gate::closed();
    let rate = Limit::new(PerSecond::new(1e9), Span::millis(100));
    gate.set(Limits { rate, ..Limits::OPEN });
    Box::new(move || {
        black_box(gate.admit(clock::now()));
    })
}

fn lease() -> Step {
    let (backend, member) = (Arc::new(Backend::new(2)), Arc::new(Member::new(2)));
    Box::new(move || {
        backend.gate.overfill();
        black_box(Lease::take(backend.clone(), member.clone(), WorkerId(0)));
    })
}

fn session() -> Step {
    let (service, mut turn) = (Service::new(2), 0_u64);
    service.remember_sessions();
    Box::new(move || {
        turn = (turn + 1) % 10_000;
        black_box(service.remember(hash::mix(turn, 1), 7));
    })
}

fn histogram() -> Step {
    let (histogram, mut latency) = (Histogram::new(2), 0);
    Box::new(move || {
        latency = (latency + 77_777) % 200_000_000;
        histogram.observe(WorkerId(0), Span(latency));
    })
}
