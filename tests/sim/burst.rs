//! RATE is exact under steady demand above the target, and patient with chance below it (design.md 3.5).

use overspill::balance::pick::Reason;
use overspill::model::unit::Tick;

use crate::fleet::{backend, group_rate, places, service};
use crate::lab::Lab;

fn lab(target: f64, seed: u64) -> Lab {
    let near = backend(0, 0, 2, group_rate(target));
    Lab::new(service(vec![near, backend(1, 1, 2, group_rate(1e7))]), places(2)).jittered(seed)
}

/// The worst rate over any 5 s that lie in `from..to`, as distance from the target in requests per second.
fn worst(lab: &Lab, target: f64, from: f64, to: f64) -> f64 {
    let near: Vec<f64> =
        lab.log.iter().filter(|(_, pick)| pick.backend == 0).map(|(at, _)| at.0 as f64 / 1e9).collect();
    let count =
        |from: f64, to: f64| near.partition_point(|at| *at < to) - near.partition_point(|at| *at < from);
    let starts = (0..).map(|n| from + f64::from(n) * 0.05).take_while(|start| start + 5.0 <= to);
    starts.map(|start| (count(start, start + 5.0) as f64 / 5.0 - target).abs()).fold(0.0, f64::max)
}

#[test]
fn steady_demand_above_the_target_gets_the_target_two_seconds_later() {
    for target in [1.0_f64, 10.0, 20.0, 50.0, 100.0, 250.0, 5000.0] {
        for over in [1.02, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 3.0, 10.0] {
            for before in [0.0, 0.2, 0.5, 0.95] {
                let seed = (target * 1000.0 + over * 10.0) as u64;
                let mut lab = lab(target, seed);
                if before > 0.0 {
                    lab.even(target * before, 3.0);
                }
                let rise = lab.now.0 as f64 / 1e9;
                lab.even(target * over, 12.0);
                let allowed = if target < 100.0 { 1.0 } else { target * 0.01 };
                let off = worst(&lab, target, rise + 2.0, rise + 12.0);
                println!(
                    "target {target} × {over} after {before}: off by {off:.2} of {allowed:.2} (seed {seed})"
                );
                assert!(off <= allowed + 1e-9);
            }
        }
    }
}

#[test]
fn random_arrivals_below_the_target_do_not_spill() {
    for target in [50.0_f64, 100.0, 1000.0] {
        for (load, allowed) in [(0.5, 0.0), (0.8, 0.0), (0.9, 0.0005), (0.95, 0.01)] {
            let seconds = if target > 500.0 { 60.0 } else { 600.0 };
            let (mut spilled, mut all) = (0, 0);
            for seed in 1..=3 {
                let mut lab = lab(target, seed);
                lab.poisson(target * load, seconds);
                spilled += lab.count(Reason::Full);
                all += lab.log.len();
            }
            let part = spilled as f64 / all as f64;
            println!("target {target} × {load}: {spilled} of {all} spilled, {:.4} %", part * 100.0);
            assert!(part <= allowed);
        }
    }
}

#[test]
fn a_burst_of_one_seconds_worth_is_let_through_once() {
    let mut lab = lab(100.0, 7);
    lab.even(50.0, 5.0);
    let at = lab.now;
    let near = (0..200).filter(|_| lab.arrive(at, None).unwrap().backend == 0).count();
    assert!((98..=102).contains(&near), "{near}");
    let again = (0..100).filter(|_| lab.arrive(Tick(at.0 + 1_000_000), None).unwrap().backend == 0).count();
    assert!(again <= 1, "{again}");
}

#[test]
fn evenly_spaced_demand_just_below_the_target_never_spills() {
    for target in [1.0, 10.0, 100.0, 5000.0] {
        let mut lab = lab(target, 9);
        lab.even(target * 0.99, 30.0);
        assert_eq!(lab.count(Reason::Full), 0, "{target}");
    }
}
