//! UTILIZATION as it is met over sockets: members report with every answer what they measured over a window of their
//! own, and the group behind is in the same mode and as unknown (design.md 3.6).

use std::sync::Arc;

use overspill::model::unit::{SECOND, Span, Tick};

use crate::fleet::{backend, group_rate, places, service, utilization};
use crate::lab::{Lab, Reporting, Window};

const TARGET: f64 = 0.6;
/// Requests per second at which a member has nothing left.
const CAPACITY: f64 = 100.0;
/// Right for the near member.
const FULL: f64 = CAPACITY * TARGET;

/// One member near and two far, all of the same size.
fn lab(window: Window, noise: f64, seed: u64) -> Lab {
    let groups = vec![backend(0, 0, 1, utilization(TARGET)), backend(1, 1, 2, utilization(TARGET))];
    let reporting = Reporting {
        curve: Arc::new(|rate| rate / CAPACITY),
        most: f64::INFINITY,
        interval: Span::secs(1),
        lag: 0,
        noise,
    };
    let mut lab = Lab::new(service(groups), places(2)).jittered(seed).reporting(reporting);
    lab.answers = Some(window);
    lab
}

/// Requests per second of the near member, second by second.
fn near(lab: &Lab, from: u32, to: u32) -> Vec<f64> {
    (from..to).map(f64::from).map(|at| lab.rate(0, at, at + 1.0)).collect()
}

/// Within 5 % of what is right, or within a request.
fn is_right(rate: f64) -> bool {
    (rate - FULL).abs() <= FULL * 0.05 + 1.0
}

/// Seconds until the rate is right for good.
fn settled(rates: &[f64]) -> usize {
    rates.iter().rposition(|rate| !is_right(*rate)).map_or(0, |last| last + 1)
}

const WINDOWS: [Window; 5] =
    [Window::Slots(10), Window::Slots(5), Window::Slots(20), Window::Fading(0.5), Window::Fading(1.0)];

/// Readings are half a second apart.
const TEN_READINGS: usize = 6;

#[test]
fn a_step_in_demand_settles_within_ten_readings_and_never_overshoots() {
    for window in WINDOWS {
        for seed in 1..=4 {
            let mut lab = lab(window, 0.0, seed);
            lab.even(30.0, 10.0);
            assert_eq!(lab.on(1), 0, "a small demand has room near, from the first request on");
            lab.even(150.0, 30.0);
            let rates = near(&lab, 10, 40);
            println!("{window:?}, seed {seed}: {rates:?}");
            assert!(settled(&rates) <= TEN_READINGS);
            assert!(rates.iter().all(|rate| *rate <= FULL * 1.05));
        }
    }
}

#[test]
fn once_learned_a_step_meets_the_right_limit_at_once() {
    for window in WINDOWS {
        let mut lab = lab(window, 0.0, 1);
        lab.even(150.0, 20.0);
        lab.even(20.0, 20.0);
        lab.even(150.0, 20.0);
        let rates = near(&lab, 40, 60);
        println!("{window:?}: {rates:?}");
        assert!(rates.iter().all(|rate| is_right(*rate)));
    }
}

#[test]
fn a_cold_start_at_full_demand_settles_as_well() {
    for window in WINDOWS {
        for seed in 1..=4 {
            let mut lab = lab(window, 0.0, seed);
            lab.even(150.0, 40.0);
            let rates = near(&lab, 0, 40);
            println!("{window:?}, seed {seed}: {rates:?}");
            assert!(settled(&rates) <= TEN_READINGS + 2);
            assert!(rates.iter().all(|rate| *rate <= FULL * 1.08));
        }
    }
}

/// Random arrivals find a group full for a moment that is not, and some are placed above a limit.
#[test]
fn random_arrivals_settle_on_the_target_too() {
    for window in WINDOWS {
        for seed in 1..=4 {
            for noise in [0.0, 0.1] {
                let mut lab = lab(window, noise, seed);
                lab.poisson(30.0, 10.0);
                lab.poisson(150.0, 50.0);
                let means: Vec<_> =
                    (0..5).map(f64::from).map(|n| lab.rate(0, 15.0 + 9.0 * n, 24.0 + 9.0 * n)).collect();
                println!("{window:?}, seed {seed}, noise {noise}: {:?} {means:.1?}", near(&lab, 10, 20));
                assert!(means.iter().all(|mean| (mean / FULL - 1.0).abs() < 0.05));
            }
        }
    }
}

/// CPU of a process, read every second: no report waits for an answer, and each is of the second before.
#[test]
fn a_process_that_is_read_every_second_settles_as_well() {
    for lag in [0, 1] {
        for seed in 1..=4 {
            let mut lab = lab(Window::Slots(10), 0.0, seed);
            lab.answers = None;
            lab.reporting.as_mut().unwrap().lag = lag;
            lab.advance(Tick(5 * SECOND));
            lab.even(30.0, 10.0);
            assert_eq!(lab.on(1), 0, "a small demand has room near, from the first request on");
            lab.even(150.0, 30.0);
            let rates = near(&lab, 15, 45);
            println!("{lag} late, seed {seed}: {rates:?}");
            assert!(settled(&rates) <= 10 && rates.iter().all(|rate| *rate <= FULL * 1.08));
        }
    }
}

/// Everything full: both end at the same relative overload [G 2.6], and back on the target when demand falls.
#[test]
fn overload_is_shared_by_capacity_and_leaves_no_trace() {
    let mut lab = lab(Window::Slots(10), 0.0, 1);
    lab.even(150.0, 20.0);
    lab.even(225.0, 30.0);
    let (near, far) = (lab.rate(0, 30.0, 50.0), lab.rate(1, 30.0, 50.0) / 2.0);
    println!("overload {near} {far}");
    assert!((near - 75.0).abs() < 4.0 && (far - 75.0).abs() < 4.0);
    lab.even(150.0, 30.0);
    assert!((lab.rate(0, 60.0, 80.0) / FULL - 1.0).abs() < 0.05);
}

/// Two members near, one of which answers 5xx at once and burns nothing.
#[test]
fn a_member_that_fails_fast_does_not_look_idle() {
    let mut lab = lab(Window::Slots(10), 0.0, 1);
    lab.even(150.0, 20.0);
    let before = lab.rate(1, 15.0, 20.0);
    lab.members[1][0].fails_fast = true;
    lab.even(150.0, 20.0);
    let after = lab.rate(1, 30.0, 40.0);
    println!("{before} {after}");
    assert!(after < before + 5.0);
}

/// Far above what a member gets before anything is known, the limit climbs in steps, each measured before the next.
#[test]
fn a_large_capacity_is_found_without_overshoot() {
    for capacity in [300.0, 1000.0, 5000.0] {
        for answers in [Some(Window::Slots(10)), None] {
            let mut lab = lab(Window::Slots(10), 0.0, 1);
            let reporting = lab.reporting.as_mut().unwrap();
            (reporting.curve, reporting.most) = (Arc::new(move |rate| rate / capacity), capacity);
            lab.answers = answers;
            lab.reload(service(vec![
                backend(0, 0, 1, utilization(TARGET)),
                backend(1, 1, 2, group_rate(1e7)),
            ]));
            lab.even(capacity, 25.0);
            let parts: Vec<_> = near(&lab, 0, 25).iter().map(|rate| rate / capacity / TARGET).collect();
            println!("{capacity}, on answers: {}: {parts:.2?}", answers.is_some());
            assert!(parts.iter().all(|part| *part <= 1.05) && parts[15..].iter().all(|part| *part >= 0.95));
        }
    }
}

/// Nothing comes, so nothing is reported; then everything at once.
#[test]
fn after_an_idle_time_the_limit_is_still_right() {
    for window in WINDOWS {
        for idle in [1, 3, 8, 60] {
            let mut lab = lab(window, 0.0, 1);
            lab.even(150.0, 20.0);
            lab.advance(lab.now + Span::secs(idle));
            let start = u32::try_from(lab.now.0 / SECOND).unwrap();
            lab.even(150.0, 20.0);
            let rates = near(&lab, start, start + 20);
            println!("{window:?}, idle for {idle} s: {rates:?}");
            assert!(rates.iter().all(|rate| is_right(*rate)));
        }
    }
}

/// Requests that are heavy and few: a reading holds one or two of them.
#[test]
fn a_small_capacity_is_held_too() {
    for capacity in [5.0, 10.0, 30.0] {
        for lag in [0, 1] {
            let mut lab = lab(Window::Slots(10), 0.0, 1);
            let reporting = lab.reporting.as_mut().unwrap();
            let curve = move |rate: f64| (rate / capacity).min(1.0);
            (reporting.curve, reporting.most, reporting.lag) = (Arc::new(curve), capacity, lag);
            lab.answers = None;
            lab.reload(service(vec![
                backend(0, 0, 1, utilization(TARGET)),
                backend(1, 1, 2, group_rate(1e7)),
            ]));
            lab.even(50.0, 140.0);
            let part = |n: u32| lab.rate(0, f64::from(n), f64::from(n) + 20.0) / capacity / TARGET;
            let parts: Vec<_> = (0..7).map(|n| part(20 * n)).collect();
            println!("{capacity}, {lag} late: {parts:.2?}");
            assert!(parts[4..].iter().all(|part| (part - 1.0).abs() < 0.05));
        }
    }
}
