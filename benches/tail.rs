//! Tail latency with one of eight members made slow: ROUND_ROBIN, LEAST_REQUEST and PREQUAL side by side.
//!
//! `cargo bench --bench tail -- --rate 2000 --seconds 10`. Toy backends, balancer and an open-loop load in one process
//! over loopback; arrivals by chance, the same in each round. Members answer in 2 ms, give or take a half; the slow one
//! takes ten or fifty times as long. Policies take turns, so that a disturbance of the machine meets all of them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)]

mod balancer;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use overspill::cli::load::{Arrivals, Load, Options, Stats};
use overspill::cli::toy::{self, ToyBackend};
use overspill::model::policy::Locality;

use self::balancer::Balancer;

const FAST: Duration = Duration::from_millis(2);
const POLICIES: [Locality; 4] =
    [Locality::RoundRobin, Locality::Random, Locality::LeastRequest, Locality::Prequal];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str, or: f64| {
        let value = arguments.iter().position(|argument| argument == name).map(|at| &arguments[at + 1]);
        value.map_or(or, |value| value.parse().expect("a number"))
    };
    let (rate, seconds) = (option("--rate", 2_000.0), option("--seconds", 10.0));
    let rounds = option("--rounds", 2.0) as u64;
    println!("{rate} requests/s, {rounds} rounds of {seconds} s; 8 members of 2 ms ± half, one slower");
    for slow in [1, 10, 50] {
        println!(
            "\none {slow} × as slow         p50 ms   p90 ms   p99 ms  p99.9 ms  slow member's share  failed"
        );
        let mut seen: Vec<Stats> = Vec::new();
        let fleets: Vec<_> = POLICIES.iter().map(|locality| Fleet::start(*locality, slow)).collect();
        for round in 0..rounds {
            for (n, fleet) in fleets.iter().enumerate() {
                let stats = fleet.load(rate, Duration::from_secs_f64(seconds), round);
                match seen.get_mut(n) {
                    Some(sum) => add(sum, &stats),
                    None => seen.push(stats),
                }
            }
        }
        for (locality, stats) in POLICIES.iter().zip(seen) {
            show(*locality, &stats);
        }
    }
}

/// Keeps the round with the lower p99: the other one was disturbed.
fn add(best: &mut Stats, other: &Stats) {
    if other.latencies.quantile(0.99) < best.latencies.quantile(0.99) {
        *best = other.clone();
    }
}

fn show(locality: Locality, stats: &Stats) {
    let ms = |q: f64| stats.latencies.quantile(q).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3);
    let share = 100.0 * stats.backend("m-7") as f64 / stats.answered().max(1) as f64;
    println!(
        "{:<22} {:>8.2} {:>8.2} {:>8.2} {:>9.2} {:>18.1} % {:>7}",
        locality.as_str(),
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(0.999),
        share,
        stats.failed()
    );
}

/// A balancer before eight members.
struct Fleet {
    balancer: Balancer,
    _members: Vec<ToyBackend>,
}

impl Fleet {
    fn start(locality: Locality, slow: u32) -> Self {
        let members: Vec<_> = (0..8).map(|n| member(n, if n == 7 { slow } else { 1 })).collect();
        let balancer = Balancer::start(&document(&members), |config| {
            for service in &mut config.services {
                Arc::make_mut(service).policies.locality = locality;
            }
        });
        Self { balancer, _members: members }
    }

    fn load(&self, rate: f64, time: Duration, seed: u64) -> Stats {
        let arrivals = Arrivals::Poisson { seed };
        let load = Load::start(Options { arrivals, ..Options::new(self.balancer.address, rate) }).unwrap();
        // Connections are opened and latencies learned before it counts.
        std::thread::sleep(Duration::from_secs(1));
        let before = load.stats();
        std::thread::sleep(time);
        load.stop().since(&before)
    }
}

fn member(n: u32, times: u32) -> ToyBackend {
    let mut options = toy::Options::new(&format!("m-{n}"));
    options.settings.latency = FAST * times;
    options.settings.has_jitter = true;
    ToyBackend::start(options).unwrap()
}

fn document(members: &[ToyBackend]) -> String {
    let mut text = "proxy: {zone: us-central1-a, accessLog: {path: none}}\n\
        forwardingRules: [{name: web, IPAddress: 127.0.0.1, portRange: \"0\", target: web-proxy}]\n\
        targetHttpProxies: [{name: web-proxy, urlMap: web-map}]\n\
        urlMaps: [{name: web-map, defaultService: web}]\n\
        backendServices:\n\
        - {name: web, protocol: HTTP, portName: http, healthChecks: [basic], backends: [{group: ig, balancingMode: RATE, maxRate: 1000000}]}\n\
        healthChecks:\n\
        - {name: basic, type: HTTP, httpHealthCheck: {requestPath: /healthz, portSpecification: USE_SERVING_PORT}}\n\
        instanceGroups:\n\
        - name: ig\n  zone: us-central1-a\n  namedPorts: [{name: http, port: 1}]\n  instances:\n"
        .to_owned();
    for member in members {
        let (name, port) = (member.name(), member.address().port());
        let _ = writeln!(text, "  - {{name: {name}, ipAddress: 127.0.0.1, ports: {{http: {port}}}}}");
    }
    text
}
