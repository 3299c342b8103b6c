//! UTILIZATION over real sockets: both groups unknown at first, an open-loop load (design.md 3.6).

use std::time::{Duration, Instant};

use overspill::cli::load::{Load, Options};
use overspill::cli::toy::{self, ToyBackend, Utilization};

use crate::support::lb::Lb;
use crate::support::setup::{FAR, NEAR, group, setup};
use crate::support::{let_pass, measured, measuring, stood_still};

/// Requests per second at which a member has nothing left, and the part of it that is the target.
const CAPACITY: f64 = 100.0;
const TARGET: f64 = 0.6;
const FULL: f64 = 60.0;

/// Readings are half a second apart.
const TEN_READINGS: usize = 5;

fn member(name: &str, utilization: Utilization, cpu: Duration) -> ToyBackend {
    let mut options = toy::Options::new(name);
    (options.settings.utilization, options.settings.cpu) = (utilization, cpu);
    ToyBackend::start(options).unwrap()
}

/// Both groups in this mode, by what members say with each answer.
fn start(mode: &str, near: &[ToyBackend], far: &[ToyBackend]) -> Lb {
    let groups =
        [group("ig-near", NEAR).mode(mode).members(near), group("ig-far", FAR).mode(mode).members(far)];
    let by_header = "    utilization: {source: ORCA_HEADER}\n    instances:";
    Lb::start(&setup(&groups).text().replace("    instances:", by_header))
}

/// Requests per second of each toy in each of so many seconds.
fn watch(toys: &[ToyBackend], seconds: usize) -> Vec<Vec<f64>> {
    let counts = || toys.iter().map(ToyBackend::requests).collect::<Vec<_>>();
    let mut before = (Instant::now(), counts());
    (0..seconds)
        .map(|second| {
            let_pass(Duration::from_secs(1));
            let now = (Instant::now(), counts());
            let took = (now.0 - before.0).as_secs_f64();
            let rates =
                now.1.iter().zip(&before.1).map(|(now, before)| (now - before) as f64 / took).collect();
            before = now;
            println!("second {second}: {rates:.1?}");
            rates
        })
        .collect()
}

/// What is wrong with a step in demand from 30 to 150 requests per second, and whether the machine stood still in it.
fn step() -> (Vec<String>, bool) {
    let toys =
        ["near", "far-1", "far-2"].map(|name| member(name, Utilization::OfRate(CAPACITY), Duration::ZERO));
    let (near, far) = toys.split_at(1);
    let lb = start(&format!("balancingMode: UTILIZATION, maxUtilization: {TARGET}"), near, far);
    let load = Load::start(Options::new(lb.address(), 30.0)).unwrap();
    let small = watch(&toys, 5);
    load.set_rate(150.0);
    let step: Vec<_> = watch(&toys, 15).iter().map(|rates| rates[0]).collect();
    let stats = load.stop();
    assert_eq!((stats.failed(), stats.answered()), (0, stats.sent), "{stats:?}");
    let spilled: f64 = small.iter().map(|rates| rates[1] + rates[2]).sum();
    // A request more or less at each end of a second.
    let over = |rate: &f64| *rate > FULL * 1.05 + 2.0;
    let settled = &step[TEN_READINGS..];
    let mean = settled.iter().sum::<f64>() / settled.len() as f64;
    let swings = settled.iter().any(|rate| (rate - FULL).abs() > FULL * 0.05 + 2.0);
    let checks = [
        (spilled > 3.0, format!("a small demand has room near: {small:?}")),
        (step.iter().any(over), format!("above the target: {step:?}")),
        ((mean / FULL - 1.0).abs() >= 0.05, format!("settled at {mean}: {step:?}")),
        (swings, format!("it swings: {step:?}")),
    ];
    let wrong = checks.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, what)| what).collect();
    (wrong, stood_still(&stats, Duration::ZERO))
}

#[test]
fn a_step_in_demand_settles_on_the_target_within_ten_readings() {
    let _measuring = measuring();
    for _ in 0..4 {
        let (wrong, has_stood_still) = step();
        if wrong.is_empty() {
            return;
        }
        assert!(has_stood_still, "{wrong:?}");
        println!("the machine stood still: {wrong:?}");
    }
    println!("this machine is too busy to measure");
}

/// Of a core. So little that a busy machine gives it too.
const CORES: f64 = 0.1;
const BURNS: Duration = Duration::from_millis(1);
const WINDOW: Duration = Duration::from_secs(5);

/// The target is one of CPU time, which is what the members' threads really use: what a request costs, nobody says.
fn real_cpu_is_held(mode: &str) {
    let _measuring = measuring();
    let near = [member("near", Utilization::OfCpu(CORES), BURNS)];
    let far = [member("far", Utilization::OfCpu(100.0), Duration::ZERO)];
    if near[0].cpu_time().is_none() {
        println!("this system does not tell the CPU time of threads");
        return;
    }
    let lb = start(mode, &near, &far);
    let load = Load::start(Options::new(lb.address(), 150.0)).unwrap();
    let_pass(Duration::from_secs(8));
    let off = measured(&load, BURNS, || {
        let cpu = || near[0].cpu_time().unwrap_or_default();
        let (began, before, requests) = (Instant::now(), cpu(), near[0].requests());
        let_pass(WINDOW);
        let used = (cpu() - before).as_secs_f64() / began.elapsed().as_secs_f64() / CORES;
        println!("{mode}: {used:.3} of {TARGET}, {} requests", near[0].requests() - requests);
        // The promise of 5 % is kept by `cargo bench --bench hold`, on a machine of its own.
        ((used / TARGET - 1.0).abs() > 0.15).then_some(used).into_iter().collect()
    });
    let stats = load.stop();
    assert!(off.is_empty(), "{off:?} of the cores instead of {TARGET}");
    assert_eq!((stats.failed(), stats.answered()), (0, stats.sent), "{stats:?}");
    assert!(stats.backend("near") > 0 && stats.backend("far") > 0, "{stats:?}");
}

#[test]
fn members_that_burn_cpu_are_held_at_their_utilization() {
    real_cpu_is_held(&format!("balancingMode: UTILIZATION, maxUtilization: {TARGET}"));
}

#[test]
fn members_that_burn_cpu_are_held_at_their_custom_metric() {
    let metric = format!("{{name: orca.cpu_utilization, maxUtilization: {TARGET}}}");
    real_cpu_is_held(&format!("balancingMode: CUSTOM_METRICS, customMetrics: [{metric}]"));
}
