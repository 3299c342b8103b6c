//! Which member gets a request, over sockets: policies that look at members, and outlier detection [G 2c, 2e].

use std::time::Duration;

use overspill::cli::load::{Load, Options};
use overspill::cli::toy::{Form, Utilization};
use overspill::model::policy::{Locality, OutlierDetection, Policies};
use overspill::model::unit::Span;

use crate::support::backend::{Scripted, toy};
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, setup};
use crate::support::{measuring, wait_until};

/// Requests to each of four members, of which the last is slow, out of about 1600.
fn with_a_slow_one(locality: Locality) -> Vec<u64> {
    let _turn = measuring();
    let toys = ["a", "b", "c", "slow"].map(toy);
    toys[3].change(|settings| settings.latency = Duration::from_millis(300));
    let yaml = setup(&[group("ig", NEAR).members(&toys)]).text();
    let lb = Lb::with_policies(&yaml, 2, |policies| policies.locality = locality);
    let load = Load::start(Options::new(lb.address(), 400.0)).unwrap();
    wait_until("the load has run", || load.stats().sent >= 1_600);
    let stats = load.stop();
    assert_eq!(stats.failed(), 0, "{locality:?}: {stats:?}");
    let counts = toys.iter().map(|toy| stats.backend(toy.name())).collect();
    println!("{locality:?}: {counts:?}");
    counts
}

/// Whether the slow one gets something, and at most one in so many of an even share's requests. A machine that stands still makes
/// all members slow ones: then once more.
fn is_spared(locality: Locality, one_in: u64) -> bool {
    (0..5).any(|_| (1..=400 / one_in).contains(&with_a_slow_one(locality)[3]))
}

#[test]
fn g_2c_least_request_spares_a_slow_member() {
    assert!(is_spared(Locality::LeastRequest, 2));
    let even = with_a_slow_one(Locality::RoundRobin);
    assert!(even.iter().all(|count| count.abs_diff(even[0]) <= 20), "{even:?}");
}

#[test]
fn prequal_spares_a_slow_member_more() {
    assert!(is_spared(Locality::Prequal, 4));
}

#[test]
fn g_1_45_weighted_round_robin_goes_by_reports() {
    let _turn = measuring();
    let toys = ["strong", "weak"].map(toy);
    for (toy, capacity) in toys.iter().zip([3_000.0, 1_000.0]) {
        toy.change(|settings| {
            settings.utilization = Utilization::OfRate(capacity);
            settings.report = Form::Text;
        });
    }
    let yaml = setup(&[group("ig", NEAR).members(&toys)]).text();
    let lb = Lb::with_policies(&yaml, 2, |policies| policies.locality = Locality::WeightedRoundRobin);
    let load = Load::start(Options::new(lb.address(), 200.0)).unwrap();
    wait_until("weights are known", || {
        let world = lb.handle.world();
        world.services[0].plan.load().backends[0].weights.is_some()
    });
    let share = || {
        let before = load.stats();
        wait_until("some have come", || load.stats().sent >= before.sent + 200);
        let stats = load.stats().since(&before);
        stats.backend("strong") as f64 / stats.answered() as f64
    };
    wait_until("three in four go to the strong one", || (share() - 0.75).abs() < 0.05);
    assert_eq!(load.stop().failed(), 0);
}

/// Ejects after three gateway failures, for so long.
fn detection(base: Span) -> impl Fn(&mut Policies) {
    let rules = OutlierDetection { base_ejection_time: base, ..OutlierDetection::default() };
    move |policies| policies.outlier_detection = Some(rules)
}

#[test]
fn g_2_20_a_member_that_answers_503_is_ejected_shown_and_let_in_again() {
    let toys = ["good", "bad"].map(toy);
    toys[1].change(|settings| settings.status = 503);
    let yaml = setup(&[group("ig", NEAR).members(&toys)]).text();
    let lb = Lb::with_policies(&yaml, 2, detection(Span::secs(2)));
    let mut client = lb.client();
    let ejected = |lb: &Lb| lb.metrics().sum("overspill_member_ejected", &["member=\"bad\""]);
    // What holds for two seconds must be seen within them: a slow machine may see a later ejection.
    wait_until("it is ejected and shown to be", || {
        client.get("/");
        !lb.plan_has("bad") && ejected(&lb) == 1.0
    });
    assert!(lb.metrics().sum("overspill_member_ejections_total", &[]) >= 1.0);
    assert!(lb.is_healthy("bad"), "its health check has not changed");
    toys[1].change(|settings| settings.status = 200);
    let before = toys[1].requests();
    let is_spared = (0..20).all(|_| client.get("/").backend() == "good");
    assert!(is_spared || lb.metrics().sum("overspill_member_ejected", &[]) == 0.0, "asked while ejected");
    wait_until("it is back", || lb.plan_has("bad"));
    wait_until("it gets requests", || {
        client.get("/");
        toys[1].requests() > before
    });
    assert_eq!(ejected(&lb), 0.0);
}

#[test]
fn g_2e_half_of_the_members_stay_whatever_they_answer() {
    let toys = ["a", "b", "c"].map(toy);
    toys.iter().for_each(|toy| toy.change(|settings| settings.status = 502));
    let yaml = setup(&[group("ig", NEAR).members(&toys)]).text();
    let lb = Lb::with_policies(&yaml, 1, detection(Span::secs(30)));
    let mut client = lb.client();
    for _ in 0..60 {
        assert_eq!(client.get("/").status, 502);
    }
    wait_until("one of three is out", || lb.metrics().sum("overspill_member_ejected", &[]) == 1.0);
    assert_eq!(lb.metrics().sum("overspill_member_ejections_total", &[]), 1.0);
}

#[test]
fn a_member_that_does_not_answer_is_an_outlier_too() {
    let (health, good) = (toy("health"), Scripted::good());
    let dead = Scripted::start(|conn| drop(conn.request()));
    let yaml =
        setup(&[group("ig", NEAR).member("good", &good).member("dead", &dead)]).probed_at(&health).text();
    let lb = Lb::with_policies(&yaml, 1, detection(Span::secs(30)));
    let mut client = lb.client();
    wait_until("it is ejected", || {
        assert_eq!(client.get("/").status, 200, "a retry finds the good one");
        !lb.plan_has("dead")
    });
}

#[test]
fn a_recovered_member_starts_slowly_and_a_new_one_does_not() {
    let toys = ["a", "b"].map(toy);
    let yaml = setup(&[group("ig", NEAR).members(&toys)]).text();
    let lb = Lb::with_policies(&yaml, 1, |policies| policies.slow_start = Span::secs(600));
    let mut client = lb.client();
    for _ in 0..20 {
        client.get("/");
    }
    assert_eq!((toys[0].requests(), toys[1].requests()), (10, 10), "never at the start");
    toys[1].set_health(500);
    lb.wait_health("b", false);
    toys[1].set_health(200);
    lb.wait_health("b", true);
    for _ in 0..110 {
        client.get("/");
    }
    let share = toys[1].requests() - 10;
    assert!((9..=11).contains(&share), "{share} of 110");
}
