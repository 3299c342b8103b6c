//! Capacity over real sockets: targets, spill and overload with an open-loop load (design.md 3, google-semantics 13).
//!
//! What is asserted are counts against the time that has passed. A rate that is exact may still be off by the few
//! requests that are under way when a window begins or ends, and by what the clock of a busy machine adds.

use std::time::{Duration, Instant};

use overspill::balance::pick::Reason;
use overspill::cli::load::{Arrivals, Load, Options};
use overspill::cli::toy::ToyBackend;

use crate::support::backend::toy;
use crate::support::lb::Lb;
use crate::support::setup::{FAR, Group, NEAR, NEAR_B, group, setup};
use crate::support::{let_pass, measured, measuring, stood_still, wait_until};

/// Demand has risen this long before a window begins (design.md 3.5).
const SETTLE: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(5);

/// One service with a load of its own.
struct Case {
    name: String,
    workers: usize,
    demand: f64,
    settle: Duration,
    groups: Vec<Group>,
    /// Requests per second that each toy is to get, and by how much it may be off.
    want: Vec<(ToyBackend, f64, f64)>,
}

impl Case {
    fn new(name: &str, workers: usize, demand: f64) -> Self {
        Self { name: name.to_owned(), workers, demand, settle: SETTLE, groups: Vec::new(), want: Vec::new() }
    }

    /// Far backends see their demand rise only when the near ones have used up their burst, and have one too.
    fn settling(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// A group of one member that is to get so much.
    fn group(mut self, zone: &'static str, mode: &str, rate: f64, tolerance: f64) -> Self {
        let toy = toy(&format!("m-{}", self.groups.len()));
        let group = group(&format!("ig-{}", self.groups.len()), zone).mode(mode);
        self.groups.push(group.member(toy.name(), &toy));
        self.want.push((toy, rate, tolerance));
        self
    }

    fn run(self) {
        let lb = Lb::with_workers(&setup(&self.groups).text(), self.workers);
        let load = Load::start(Options::new(lb.address(), self.demand)).unwrap();
        let_pass(self.settle);
        let off = measured(&load, Duration::ZERO, || self.window());
        let stats = load.stop();
        assert_eq!((stats.failed(), stats.answered()), (0, stats.sent), "{}: {stats:?}", self.name);
        assert!(off.is_empty(), "{}: {off:?}", self.name);
    }

    /// What is off its rate in the next five seconds.
    fn window(&self) -> Vec<String> {
        let (began, before) = (Instant::now(), self.counts());
        let_pass(WINDOW);
        let (after, took) = (self.counts(), began.elapsed().as_secs_f64());
        let rates = after.iter().zip(before).map(|(after, before)| (after - before) as f64 / took);
        // A request under way at each end of the window.
        let under_way = 2.0 / took;
        let off = rates.zip(&self.want).filter_map(|(rate, (toy, want, tolerance))| {
            println!("{} {}: {rate:.2}/s of {want}", self.name, toy.name());
            let is_off = (rate - want).abs() > tolerance + under_way;
            is_off.then(|| format!("{}: {rate:.2}/s instead of {want} ± {tolerance}", toy.name()))
        });
        off.collect()
    }

    fn counts(&self) -> Vec<u64> {
        self.want.iter().map(|(toy, ..)| toy.requests()).collect()
    }
}

/// All at once: each has its own balancer, load and backends.
fn run(cases: Vec<Case>) {
    let _turn = measuring();
    std::thread::scope(|scope| {
        let threads: Vec<_> = cases.into_iter().map(|case| scope.spawn(|| case.run())).collect();
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

fn near_and_far(name: &str, workers: usize, demand: f64, mode: &str, target: f64) -> Case {
    // design.md 3.5: within 1 %, and within 1 per second below 100.
    let tolerance = (target * 0.01).max(1.0);
    Case::new(name, workers, demand).group(NEAR, mode, target, tolerance).group(
        FAR,
        "balancingMode: RATE, maxRate: 1000000",
        demand - target,
        tolerance + demand * 0.01,
    )
}

#[test]
fn near_gets_its_target_to_one_percent_and_far_the_rest() {
    run(vec![
        near_and_far("100 by 1 worker", 1, 150.0, "balancingMode: RATE, maxRate: 100", 100.0),
        near_and_far("100 by 2 workers", 2, 150.0, "balancingMode: RATE, maxRate: 100", 100.0),
        near_and_far("10", 2, 15.0, "balancingMode: RATE, maxRatePerInstance: 10", 10.0),
        near_and_far("50", 2, 75.0, "balancingMode: RATE, maxRate: 100, capacityScaler: 0.5", 50.0),
    ]);
}

#[test]
fn a_target_of_some_hundreds_is_as_exact() {
    // No more than a slow machine can serve: what it cannot would pile up.
    run(vec![near_and_far("300", 2, 400.0, "balancingMode: RATE, maxRate: 300", 300.0)]);
}

#[test]
fn arrivals_by_chance_below_the_target_do_not_spill() {
    let _turn = measuring();
    let (near, far) = (toy("near"), toy("far"));
    let groups =
        [group("ig-near", NEAR).rate(100).member("near", &near), group("ig-far", FAR).member("far", &far)];
    let lb = Lb::start(&setup(&groups).text());
    let arrivals = Arrivals::Poisson { seed: 7 };
    for _ in 0..5 {
        let load = Load::start(Options { arrivals, ..Options::new(lb.address(), 80.0) }).unwrap();
        wait_until("the load has run", || load.stats().sent >= 480);
        let stats = load.stop();
        assert_eq!(stats.failed(), 0, "{stats:?}");
        if stats.backend("far") == 0 {
            return;
        }
        // What was due while the machine stood still comes all at once, and that spills rightly.
        assert!(stood_still(&stats, Duration::ZERO), "{stats:?}");
    }
    println!("this machine is too busy to measure");
}

#[test]
fn the_worked_numbers_w3_to_w6_hold_over_sockets() {
    let rate = |rate: u32| format!("balancingMode: RATE, maxRate: {rate}");
    run(vec![
        // 80 × 0.5 [G 1.3].
        near_and_far("W3", 2, 60.0, "balancingMode: RATE, maxRate: 80, capacityScaler: 0.5", 40.0),
        // Two zones of one region: in proportion to capacity [G 2.4].
        Case::new("W4", 2, 20.0).group(NEAR, &rate(30), 15.0, 1.0).group(NEAR_B, &rate(10), 5.0, 1.0),
        // The next region takes what is over [G 2.5].
        Case::new("W5", 2, 120.0).group(NEAR, &rate(100), 100.0, 1.0).group(FAR, &rate(50), 20.0, 2.0),
        // Everything full: both 20 % over [G 2.6].
        Case::new("W6", 2, 180.0).settling(Duration::from_secs(5)).group(NEAR, &rate(100), 120.0, 1.2).group(
            FAR,
            &rate(50),
            60.0,
            1.2,
        ),
    ]);
}

#[test]
fn a_rate_per_instance_counts_all_members_healthy_or_not() {
    // W2: 2 of 3 healthy, the capacity stays 30 [G 1.20].
    let (toys, far) = (["a", "b", "sick"].map(toy), toy("far"));
    let _turn = measuring();
    toys[2].set_health(500);
    let near = group("ig-near", NEAR).mode("balancingMode: RATE, maxRatePerInstance: 10").members(&toys);
    let lb = Lb::start(&setup(&[near, group("ig-far", FAR).member("far", &far)]).text());
    let load = Load::start(Options::new(lb.address(), 45.0)).unwrap();
    let_pass(SETTLE);
    let off = measured(&load, Duration::ZERO, || {
        let (began, before) = (Instant::now(), toys.each_ref().map(ToyBackend::requests));
        let_pass(WINDOW);
        let (after, took) = (toys.each_ref().map(ToyBackend::requests), began.elapsed().as_secs_f64());
        let got = [0, 1].map(|toy| (after[toy] - before[toy]) as f64);
        got.into_iter().filter(|got| (got - 15.0 * took).abs() > took + 2.0).collect()
    });
    assert!(off.is_empty(), "{off:?} in {WINDOW:?}");
    assert_eq!(load.stop().failed(), 0);
    assert_eq!(toys[2].requests(), 0);
}

#[test]
fn a_drained_group_gets_nothing_and_the_spill_says_so() {
    let (near, far) = (toy("near"), toy("far"));
    let groups =
        [group("ig-near", NEAR).scaler("0").member("near", &near), group("ig-far", FAR).member("far", &far)];
    let lb = Lb::start(&setup(&groups).text());
    for _ in 0..20 {
        assert_eq!(lb.get("/").backend(), "far");
    }
    assert_eq!(near.requests(), 0);
    assert_eq!(lb.picks(Reason::Drained), 20.0);
}

#[test]
fn an_unhealthy_near_group_spills_with_that_reason_and_takes_over_again() {
    let (near, far) = (toy("near"), toy("far"));
    let groups = [group("ig-near", NEAR).member("near", &near), group("ig-far", FAR).member("far", &far)];
    let lb = Lb::start(&setup(&groups).text());
    assert_eq!(lb.get("/").backend(), "near");
    near.set_health(500);
    lb.wait_health("near", false);
    for _ in 0..20 {
        assert_eq!(lb.get("/").backend(), "far");
    }
    assert_eq!((lb.picks(Reason::Nearest), lb.picks(Reason::Unhealthy)), (1.0, 20.0));
    near.set_health(200);
    lb.wait_health("near", true);
    assert_eq!(lb.get("/").backend(), "near");
}

#[test]
fn a_full_near_group_spills_with_that_reason_and_an_overload_is_called_one() {
    let (near, far) = (toy("near"), toy("far"));
    let groups = [
        group("ig-near", NEAR).rate(1).member("near", &near),
        group("ig-far", FAR).rate(1).member("far", &far),
    ];
    let lb = Lb::start(&setup(&groups).text());
    let mut client = lb.client();
    wait_until("both are full", || {
        assert_eq!(client.get("/").status, 200, "nothing is dropped because of capacity [G 2.6]");
        lb.picks(Reason::Overfilled) > 0.0
    });
    assert!(lb.picks(Reason::Full) > 0.0 && lb.picks(Reason::Nearest) > 0.0);
    let metrics = lb.metrics();
    assert!(metrics.sum("overspill_backend_capacity", &["ig-near"]) == 1.0);
}

#[test]
fn members_of_a_group_take_turns() {
    let toys = ["a", "b", "c"].map(toy);
    let lb = Lb::start(&setup(&[group("ig", NEAR).members(&toys)]).text());
    for _ in 0..30 {
        lb.get("/");
    }
    assert_eq!(toys.each_ref().map(ToyBackend::requests), [10, 10, 10]);
}

#[test]
fn members_of_a_group_take_exact_turns_above_its_target_too() {
    let toys = ["a", "b"].map(toy);
    let lb = Lb::start(&setup(&[group("ig", NEAR).rate(5).members(&toys)]).text());
    for _ in 0..100 {
        lb.get("/");
    }
    assert_eq!(toys.each_ref().map(ToyBackend::requests), [50, 50]);
    assert!(lb.picks(Reason::Overfilled) > 0.0);
}

#[test]
fn g_2_14_below_the_threshold_part_goes_to_the_next_region_and_the_reason_is_failover() {
    let (toys, far) = (["a", "b"].map(toy), toy("far"));
    let groups = [group("ig-near", NEAR).members(&toys), group("ig-far", FAR).member("far", &far)];
    let lb = Lb::start(&setup(&groups).text());
    toys[0].set_health(500);
    lb.wait_health("a", false);
    for _ in 0..70 {
        lb.get("/");
    }
    // One of two healthy is 50 of 70 %.
    assert!(toys[1].requests().abs_diff(50) <= 3 && toys[0].requests() == 0);
    assert_eq!(lb.picks(Reason::Failover), far.requests() as f64);
}

#[test]
fn g_2_1_a_clients_own_region_decides_what_is_near() {
    let (home, away) = (toy("home"), toy("away"));
    let groups = [group("ig-home", NEAR).member("home", &home), group("ig-away", FAR).member("away", &away)];
    let places = "trustedProxies: [127.0.0.0/8]\n  clientLocations: [{cidr: 10.1.0.0/16, region: europe-west1}]\n  \
                  accessLog: {path: none}";
    let lb = Lb::start(&setup(&groups).proxy(places).text());
    let from = |address: &str| {
        let answer = lb.client().request("GET", "/", &format!("x-forwarded-for: {address}\r\n"), b"");
        answer.backend().to_owned()
    };
    assert_eq!((from("10.1.2.3"), from("10.2.2.3")), ("away".to_owned(), "home".to_owned()));
    assert_eq!(lb.picks(Reason::Nearest), 2.0);
}
