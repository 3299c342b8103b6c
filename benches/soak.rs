//! A long run in which everything goes wrong that backends can do, and the configuration changes every second.
//!
//! `cargo bench --bench soak -- --minutes 30 --rate 500 --reload-seconds 1`. Six toy backends with faults, an open-loop load, one reload a
//! second: a member leaves, comes back, affinity comes and goes. At the end memory is flat, nothing is in flight, and
//! every request that was sent is accounted for: answered or failed at the client, and counted by the balancer under
//! the same class of status, or as cut. Exit code 1 when one of these does not hold. Linux only.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use overspill::cli::load::{Arrivals, Load, Options, Stats};
use overspill::cli::toy::{self, ToyBackend};
use overspill::engine::handle::Handle;
use overspill::engine::start::{Overrides, start_resolved};
use overspill::ledger::process::Traffic;
use overspill::model::resolve;
use overspill::telemetry::metrics;

const FAULTS: &str = "reset=1%,garbage=1%,half-close=1%,early=1%,trickle=1%,delay=50ms:5%";
/// Memory of the second half above that of the first.
const MOST_GROWTH: f64 = 0.10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str, or: f64| {
        let value = arguments.iter().position(|argument| argument == name).map(|at| &arguments[at + 1]);
        value.map_or(or, |value| value.parse().expect("a number"))
    };
    let time = Duration::from_secs_f64(60.0 * option("--minutes", 30.0));
    let (rate, every) = (option("--rate", 500.0), Duration::from_secs_f64(option("--reload-seconds", 1.0)));
    let backends: Vec<_> = (0..6).map(backend).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let is_good = runtime.block_on(soak(&backends, time, (rate, every)));
    ExitCode::from(u8::from(!is_good))
}

fn backend(n: usize) -> ToyBackend {
    let mut options = toy::Options::new(&format!("toy-{n}"));
    options.settings.latency = Duration::from_millis(2);
    options.settings.has_jitter = true;
    options.settings.faults = FAULTS.parse().unwrap();
    ToyBackend::start(options).unwrap()
}

async fn soak(backends: &[ToyBackend], time: Duration, (rate, every): (f64, Duration)) -> bool {
    let texts: Vec<_> = (0..4).map(|variant| document(backends, variant)).collect();
    let resolved = resolve::document(&texts[0]);
    let config = resolved.config.unwrap_or_else(|| panic!("{:#?}\n{}", resolved.problems, texts[0]));
    let overrides = Overrides { workers: Some(2), seed: Some(7), ..Overrides::default() };
    let handle = start_resolved(Arc::new(config), Path::new("soak"), overrides).await.unwrap();
    handle.ready().await;
    let options = Options::new(handle.listeners()[0].bound, rate);
    let load = Load::start(Options { arrivals: Arrivals::Poisson { seed: 7 }, ..options }).unwrap();
    // Whoever holds a world keeps the counts of members that have left.
    let first = handle.world();
    let (begun, mut resident) = (Instant::now(), Vec::new());
    for turn in 1.. {
        if begun.elapsed() >= time {
            break;
        }
        tokio::time::sleep(every).await;
        let applied = handle.apply(texts[turn % texts.len()].clone(), Path::new("soak")).await;
        assert!(applied.is_ok(), "a reload was refused");
        resident.push(resident_kib());
        if turn % 60 == 0 {
            let stats = load.stats();
            println!(
                "{:>5} reloads {:>9} sent {:>8} failed {:>8} KiB",
                turn,
                stats.sent,
                stats.failed(),
                resident_kib()
            );
        }
    }
    // Waits for what is under way, with the balancer running on.
    let stats = tokio::task::spawn_blocking(move || load.stop()).await.unwrap();
    let is_idle = idle(&handle).await;
    let is_good = [is_flat(&resident), is_idle, is_accounted_for(&stats, &handle)].iter().all(|good| *good);
    drop(first);
    handle.stop().await;
    is_good
}

/// Nothing in flight, no connection left, nobody panicked; within half a minute.
async fn idle(handle: &Handle) -> bool {
    let look = || {
        let world = handle.world();
        let members = world.services.iter().flat_map(|service| service.members());
        let in_flight: u64 = members.map(|(.., member)| member.numbered.member.in_flight()).sum();
        let process = handle.process();
        let open = process.sum(Traffic::Accepted).saturating_sub(process.sum(Traffic::Closed));
        (in_flight, open, process.sum(Traffic::Panics))
    };
    for _ in 0..300 {
        if look() == (0, 0, 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (in_flight, open, panics) = look();
    println!("in flight {in_flight}, open connections {open}, panics {panics}");
    (in_flight, open, panics) == (0, 0, 0)
}

/// The first tenth is warming up: pools grow, allocators keep what they had.
fn is_flat(resident: &[u64]) -> bool {
    let warm = &resident[resident.len() / 10..];
    let (first, second) = warm.split_at(warm.len() / 2);
    let mean = |part: &[u64]| part.iter().sum::<u64>() as f64 / part.len().max(1) as f64;
    let growth = mean(second) / mean(first) - 1.0;
    println!("resident {:.0} KiB, then {:.0} KiB: {:+.2} %", mean(first), mean(second), 100.0 * growth);
    growth <= MOST_GROWTH
}

fn is_accounted_for(stats: &Stats, handle: &Handle) -> bool {
    let errors: u64 = stats.errors.values().sum();
    let error = |name: &str| stats.errors.get(name).copied().unwrap_or(0);
    // What may never have reached the balancer.
    let unreached = error("cannot connect") + error("too many under way") + error("connection closed");
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for (status, count) in &stats.statuses {
        *seen.entry(u64::from(status / 100 * 100)).or_default() += count;
    }
    let counted = classes(&metrics::page(handle));
    let total: u64 = counted.values().sum();
    let ended: u64 =
        samples(&metrics::page(handle), "overspill_outcomes_total").map(|(_, count)| count).sum();
    println!(
        "client: {} sent, {} answered {seen:?}, {errors} failed {:?}",
        stats.sent,
        stats.answered(),
        stats.errors
    );
    println!("balancer: {total} requests {counted:?}, {ended} ended");
    // An answer that broke off is one with a status here and a failure there.
    let fits = |(class, count): (&u64, &u64)| counted.get(class).is_some_and(|counted| counted >= count);
    let is_complete = stats.sent == stats.answered() + errors;
    let is_alike = (stats.sent - unreached..=stats.sent).contains(&total) && ended == total;
    is_complete && is_alike && seen.iter().all(fits)
}

/// Requests by class of status.
fn classes(page: &str) -> BTreeMap<u64, u64> {
    let mut classes = BTreeMap::new();
    for (labels, count) in samples(page, "overspill_requests_total") {
        let class = labels.split("code_class=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        *classes.entry(class.parse().unwrap()).or_default() += count;
    }
    classes
}

fn samples<'a>(page: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
    page.lines().filter_map(move |line| {
        let (labels, count) = line.strip_prefix(name)?.rsplit_once(' ')?;
        Some((labels, count.parse().ok()?))
    })
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// One of four: all members; without the last; with a session cookie; with another policy.
fn document(backends: &[ToyBackend], variant: usize) -> String {
    let extra =
        ["", "", "\n  sessionAffinity: GENERATED_COOKIE", "\n  localityLbPolicy: LEAST_REQUEST"][variant];
    let mut text = format!(
        "proxy: {{zone: us-central1-a, accessLog: {{path: none}}}}\n\
         forwardingRules: [{{name: f, IPAddress: 127.0.0.1, portRange: \"0\", target: p}}]\n\
         targetHttpProxies: [{{name: p, urlMap: m}}]\n\
         urlMaps: [{{name: m, defaultService: s}}]\n\
         backendServices:\n\
         - name: s\n  timeoutSec: 5\n  portName: http\n  healthChecks: [c]{extra}\n  \
         backends: [{{group: near, balancingMode: RATE, maxRate: 300}}, \
         {{group: far, balancingMode: RATE, maxRate: 1000}}]\n\
         healthChecks:\n- {{name: c, type: HTTP, httpHealthCheck: {{requestPath: /healthz, portSpecification: USE_SERVING_PORT}}}}\n\
         instanceGroups:\n"
    );
    let (near, far) = backends.split_at(backends.len() / 2);
    let far = if variant == 1 { &far[1..] } else { far };
    for (name, zone, members) in [("near", "us-central1-a", near), ("far", "europe-west1-b", far)] {
        let _ = writeln!(
            text,
            "- name: {name}\n  zone: {zone}\n  namedPorts: [{{name: http, port: 1}}]\n  instances:"
        );
        for member in members {
            let (name, ip, port) = (member.name(), member.address().ip(), member.address().port());
            let _ = writeln!(text, "  - {{name: {name}, ipAddress: {ip}, ports: {{http: {port}}}}}");
        }
    }
    text
}
