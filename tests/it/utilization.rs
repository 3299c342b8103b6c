//! UTILIZATION over real sockets: members that report with every answer, both groups unknown at first, an open-loop
//! load (design.md 3.6).

use std::time::Duration;

use overspill::cli::load::{Load, Options};
use overspill::cli::toy::{self, ToyBackend, Utilization};

use crate::support::lb::Lb;
use crate::support::setup::{FAR, NEAR, group, setup};
use crate::support::{let_pass, measuring};

/// Requests per second at which a member has nothing left, and the part of it that is the target.
const CAPACITY: f64 = 100.0;
const MODE: &str = "balancingMode: UTILIZATION, maxUtilization: 0.6";
const FULL: f64 = 60.0;

/// Readings are half a second apart.
const TEN_READINGS: usize = 5;

fn member(name: &str) -> ToyBackend {
    let mut options = toy::Options::new(name);
    options.settings.utilization = Utilization::OfRate(CAPACITY);
    ToyBackend::start(options).unwrap()
}

/// Requests per second of each toy in each of so many seconds.
fn watch(toys: &[ToyBackend], seconds: usize) -> Vec<Vec<f64>> {
    let counts = || toys.iter().map(ToyBackend::requests).collect::<Vec<_>>();
    let mut before = (std::time::Instant::now(), counts());
    (0..seconds)
        .map(|second| {
            let_pass(Duration::from_secs(1));
            let now = (std::time::Instant::now(), counts());
            let took = (now.0 - before.0).as_secs_f64();
            let rates =
                now.1.iter().zip(&before.1).map(|(now, before)| (now - before) as f64 / took).collect();
            before = now;
            println!("second {second}: {rates:.1?}");
            rates
        })
        .collect()
}

#[test]
fn a_step_in_demand_settles_on_the_target_within_ten_readings() {
    let _measuring = measuring();
    let toys = ["near", "far-1", "far-2"].map(member);
    let (near, far) = toys.split_at(1);
    let groups =
        [group("ig-near", NEAR).mode(MODE).members(near), group("ig-far", FAR).mode(MODE).members(far)];
    let by_header = "    utilization: {source: ORCA_HEADER}\n    instances:";
    let lb = Lb::start(&setup(&groups).text().replace("    instances:", by_header));
    let load = Load::start(Options::new(lb.address(), 30.0)).unwrap();
    let small = watch(&toys, 5);
    load.set_rate(150.0);
    let step: Vec<_> = watch(&toys, 15).iter().map(|rates| rates[0]).collect();
    let stats = load.stop();
    assert_eq!((stats.failed(), stats.answered()), (0, stats.sent), "{stats:?}");

    let spilled: f64 = small.iter().map(|rates| rates[1] + rates[2]).sum();
    assert!(spilled <= 3.0, "a small demand has room near: {small:?}");
    // A request more or less at each end of a second.
    let over = |rate: &f64| *rate > FULL * 1.05 + 2.0;
    assert!(!step.iter().any(over), "above the target: {step:?}");
    let settled = &step[TEN_READINGS..];
    let mean = settled.iter().sum::<f64>() / settled.len() as f64;
    assert!((mean / FULL - 1.0).abs() < 0.05, "{mean}: {step:?}");
    assert!(settled.iter().all(|rate| (rate - FULL).abs() <= FULL * 0.05 + 2.0), "it swings: {step:?}");
}
