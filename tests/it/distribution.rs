//! What a service does with its requests when regions, capacity or members run out: `serviceLbPolicies`, `overload`,
//! `failOpen`, `slowStartSec` and `outlierDetection`, as a file says them [G 2b–2e].

use overspill::balance::pick::Reason;
use overspill::cli::toy::ToyBackend;
use overspill::model::detail::StatusDetail;
use serde_json::Value;

use crate::support::backend::{Scripted, Valve, toy};
use crate::support::client::Answer;
use crate::support::lb::Lb;
use crate::support::setup::{FAR, Group, NEAR, NEAR_B, group, setup};
use crate::support::wait_until;

/// Farther than [`FAR`].
const FARTHEST: &str = "asia-east1-a";

/// So many requests under way fill a group, whatever the time does.
fn in_flight(most: u32) -> String {
    format!("balancingMode: IN_FLIGHT, trafficDuration: LONG, maxInFlightRequests: {most}")
}

fn get(lb: &Lb, times: usize) {
    let mut client = lb.client();
    for n in 0..times {
        let answer = client.get("/");
        assert_eq!(answer.status, 200, "request {n}: {}", answer.text());
    }
}

/// What each toy gets of so many requests.
fn counts<const N: usize>(lb: &Lb, toys: [&ToyBackend; N], times: usize) -> [u64; N] {
    let before = toys.map(ToyBackend::requests);
    get(lb, times);
    let mut after = toys.map(ToyBackend::requests);
    after.iter_mut().zip(before).for_each(|(after, before)| *after -= before);
    after
}

#[track_caller]
fn assert_refused(answer: &Answer, detail: StatusDetail) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains(detail.as_str()), "{}", answer.text());
}

fn outcomes(lb: &Lb, detail: StatusDetail) -> f64 {
    lb.metrics().sum("overspill_outcomes_total", &[&format!("status_details=\"{}\"", detail.as_str())])
}

/// One group of the only service, in `/status`.
fn backend(lb: &Lb, group: &str) -> Value {
    let status = lb.status();
    let backends = status["services"][0]["backends"].as_array().unwrap();
    backends.iter().find(|backend| backend["group"] == group).unwrap().clone()
}

/// A planner's tick has passed: it has seen all that was there before this member fell ill.
fn wait_for_a_tick(lb: &Lb, canary: &ToyBackend) {
    canary.set_health(500);
    lb.wait_health(canary.name(), false);
}

mod overload {
    use super::*;

    #[test]
    fn with_reject_a_request_that_finds_all_full_gets_503_with_retry_after_and_one_with_room_is_served() {
        let (valve, health) = (Valve::default(), toy("health"));
        let (near, far) = (Scripted::held(&valve), Scripted::held(&valve));
        let groups = [
            group("ig-near", NEAR).mode(&in_flight(1)).member("near", &near),
            group("ig-far", FAR).mode(&in_flight(1)).member("far", &far),
        ];
        let lb = Lb::start(&setup(&groups).probed_at(&health).service("overload: REJECT").text());
        wait_until("both are in the plan", || lb.plan_has("near") && lb.plan_has("far"));
        assert_eq!(lb.get("/").status, 200);
        wait_until("its room is given back", || lb.in_flight() == 0);
        let mut held = Vec::new();
        for backend in [&near, &far] {
            let before = backend.requests();
            held.push(lb.sent("/hold"));
            wait_until("it is under way", || backend.requests() > before);
        }
        let (at_near, at_far) = (near.requests(), far.requests());
        for _ in 0..3 {
            let refused = lb.get("/");
            assert_refused(&refused, StatusDetail::Overloaded);
            assert_eq!(refused.header("retry-after"), Some("1"));
        }
        assert_eq!((near.requests(), far.requests()), (at_near, at_far), "members are left in peace");
        lb.wait_ended(StatusDetail::Overloaded, 3);
        assert_eq!(outcomes(&lb, StatusDetail::Overloaded), 3.0);
        valve.open();
        assert!(held.iter_mut().all(|client| client.answer().status == 200));
        wait_until("there is room again", || lb.get("/").status == 200);
        assert_eq!(lb.picks(Reason::Overfilled), 0.0);
    }

    #[test]
    fn without_it_all_are_overfilled() {
        let (valve, health) = (Valve::default(), toy("health"));
        let near = Scripted::held(&valve);
        let groups = [group("ig", NEAR).mode(&in_flight(1)).member("near", &near)];
        let lb = Lb::start(&setup(&groups).probed_at(&health).text());
        let mut held = lb.sent("/hold");
        wait_until("it is under way", || near.requests() == 1);
        get(&lb, 5);
        assert_eq!(lb.picks(Reason::Overfilled), 5.0);
        valve.open();
        assert_eq!(held.answer().status, 200);
    }

    #[test]
    fn a_retry_of_a_request_that_was_let_in_is_not_rejected() {
        let (breaks, valve, health) = (Valve::default(), Valve::default(), toy("health"));
        let until_it_breaks = breaks.clone();
        let broken = Scripted::start(move |conn| {
            if conn.request().is_some() {
                until_it_breaks.pass();
            }
        });
        let far = Scripted::held(&valve);
        let groups = [
            group("ig-near", NEAR).mode(&in_flight(1)).member("broken", &broken),
            group("ig-far", FAR).mode(&in_flight(1)).member("far", &far),
        ];
        let lb = Lb::start(&setup(&groups).probed_at(&health).service("overload: REJECT").text());
        wait_until("both are in the plan", || lb.plan_has("broken") && lb.plan_has("far"));
        let mut let_in = lb.sent("/");
        wait_until("it is at the broken member", || broken.requests() == 1);
        let mut held = lb.sent("/hold");
        wait_until("the far group is full too", || far.requests() == 1);
        assert_refused(&lb.get("/"), StatusDetail::Overloaded);
        breaks.open();
        let answer = let_in.answer();
        assert_eq!((answer.status, answer.backend()), (200, "held"), "{}", answer.text());
        valve.open();
        assert_eq!(held.answer().status, 200);
        lb.wait_ended(StatusDetail::Overloaded, 1);
    }
}

mod fail_open {
    use super::*;

    #[test]
    fn without_any_healthy_member_all_are_tried_and_otherwise_nobody_is() {
        let toys = ["near", "far"].map(toy);
        toys.iter().for_each(|toy| toy.set_health(500));
        let [near, far] = &toys;
        let setup = setup(&[
            group("ig-near", NEAR).rate(1_000_000).member("near", near),
            group("ig-far", FAR).rate(1_000_000).member("far", far),
        ]);
        let lb = Lb::start(&setup.clone().service("failOpen: true").text());
        get(&lb, 20);
        assert_eq!((near.requests(), far.requests()), (20, 0), "the order stays that of a good day");
        assert_eq!((lb.picks(Reason::FailOpen), lb.picks(Reason::Nearest)), (20.0, 0.0));

        far.set_health(200);
        lb.wait_health("far", true);
        wait_until("it is over", || !lb.plan_has("near"));
        get(&lb, 10);
        assert_eq!((near.requests(), far.requests()), (20, 10));
        assert_eq!((lb.picks(Reason::FailOpen), lb.picks(Reason::Unhealthy)), (20.0, 10.0));
        far.set_health(500);
        wait_until("nobody is healthy again", || !lb.is_healthy("far") && lb.plan_has("near"));
        get(&lb, 1);
        assert_eq!(lb.picks(Reason::FailOpen), 21.0);

        lb.reload(&setup.text());
        assert_refused(&lb.get("/"), StatusDetail::FailedToPickBackend);
        assert_eq!(near.requests() + far.requests(), 31);
        lb.wait_ended(StatusDetail::FailedToPickBackend, 1);
    }
}

mod service_lb_policy {
    use super::*;

    #[test]
    fn g_2b_waterfall_by_zone_fills_the_proxys_own_zone_then_the_rest_of_the_region_then_the_next() {
        let (valve, health) = (Valve::default(), toy("health"));
        let backends = [(); 3].map(|()| Scripted::held(&valve));
        let zones = [("rest", NEAR_B), ("far", FAR), ("own", NEAR)];
        let groups = zones.iter().zip(&backends).map(|((name, zone), backend)| {
            group(&format!("ig-{name}"), zone).mode(&in_flight(2)).member(name, backend)
        });
        let groups: Vec<Group> = groups.collect();
        let policy = "loadBalancingAlgorithm: WATERFALL_BY_ZONE";
        let lb = Lb::start(&setup(&groups).probed_at(&health).policy(policy).text());
        wait_until("all are in the plan", || zones.iter().all(|(name, _)| lb.plan_has(name)));
        let [rest, far, own] = &backends;
        get(&lb, 20);
        assert_eq!((own.requests(), rest.requests(), far.requests()), (20, 0, 0));
        let mut held = Vec::new();
        for (backend, reason) in [(own, Reason::Nearest), (rest, Reason::Full), (far, Reason::Full)] {
            wait_until("room is given back", || lb.in_flight() == held.len() as u64);
            for _ in 0..2 {
                let (before, picks) = (backend.requests(), lb.picks(reason));
                held.push(lb.sent("/hold"));
                wait_until("it is under way", || backend.requests() > before);
                assert_eq!(lb.picks(reason), picks + 1.0);
            }
        }
        assert_eq!((own.requests(), rest.requests(), far.requests()), (22, 2, 2));
        valve.open();
        assert!(held.iter_mut().all(|client| client.answer().status == 200));
    }

    #[test]
    fn g_2b_spray_to_world_shares_by_capacity_wherever_groups_are() {
        let [near, far, farthest] = &["near", "far", "farthest"].map(toy);
        let groups = [
            group("ig-near", NEAR).rate(200_000).member("near", near),
            group("ig-far", FAR).rate(400_000).scaler("0.5").member("far", far),
            group("ig-farthest", FARTHEST).rate(100_000).member("farthest", farthest),
        ];
        let lb = Lb::start(&setup(&groups).policy("loadBalancingAlgorithm: SPRAY_TO_WORLD").text());
        assert_eq!(lb.status()["services"][0]["loadBalancingAlgorithm"], "SPRAY_TO_WORLD");
        let counts = counts(&lb, [near, far, farthest], 200);
        let is_share = |(count, want): (u64, u64)| count.abs_diff(want) <= 2;
        assert!(counts.into_iter().zip([80, 80, 40]).all(is_share), "{counts:?}");
        assert_eq!(lb.picks(Reason::Nearest), 200.0);
    }

    #[test]
    fn g_2_15_strict_isolation_fails_a_request_whose_region_has_nobody_usable() {
        let (near, far) = (toy("near"), toy("far"));
        let groups = [group("ig-near", NEAR).member("near", &near), group("ig-far", FAR).member("far", &far)];
        let strict = "isolationConfig: {isolationGranularity: REGION, isolationMode: STRICT}";
        let lb = Lb::start(&setup(&groups).policy(strict).text());
        get(&lb, 10);
        near.set_health(500);
        lb.wait_health("near", false);
        for _ in 0..5 {
            assert_refused(&lb.get("/"), StatusDetail::FailedToPickBackend);
        }
        lb.wait_ended(StatusDetail::FailedToPickBackend, 5);
        assert_eq!((near.requests(), far.requests()), (10, 0));
        lb.reload(&setup(&groups).text());
        get(&lb, 1);
        assert_eq!(far.requests(), 1, "without isolation it spills");
    }

    #[test]
    fn g_2_15_nearest_isolation_leaves_a_region_for_ill_health_and_never_for_capacity() {
        let (near, far) = (toy("near"), toy("far"));
        let groups =
            [group("ig-near", NEAR).rate(1).member("near", &near), group("ig-far", FAR).member("far", &far)];
        let nearest = "isolationConfig: {isolationGranularity: REGION, isolationMode: NEAREST}";
        let lb = Lb::start(&setup(&groups).policy(nearest).text());
        wait_until("near is full", || {
            get(&lb, 10);
            lb.picks(Reason::Overfilled) > 10.0
        });
        assert_eq!(far.requests(), 0);
        let before = near.requests();
        near.set_health(500);
        lb.wait_health("near", false);
        get(&lb, 10);
        assert_eq!((near.requests(), far.requests()), (before, 10));
        assert_eq!(lb.picks(Reason::Unhealthy), 10.0);
    }

    #[test]
    fn w11_with_six_of_ten_healthy_below_a_threshold_of_70_a_seventh_goes_to_the_far_region() {
        let (toys, far) = (["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(toy), toy("far"));
        let (healthy, sick) = toys.split_at(6);
        sick.iter().for_each(|toy| toy.set_health(500));
        let setup = setup(&[group("ig-near", NEAR).members(&toys), group("ig-far", FAR).member("far", &far)]);
        let threshold = |percent: u32| {
            setup.clone().policy(&format!("failoverConfig: {{failoverHealthThreshold: {percent}}}")).text()
        };
        let lb = Lb::start(&threshold(70));
        wait_until("the plan has who is healthy", || {
            healthy.iter().chain([&far]).all(|toy| lb.plan_has(toy.name()))
        });
        get(&lb, 280);
        // 1 − (6 ÷ 10) ÷ 0.7 of 280 [G 2.14].
        assert!(far.requests().abs_diff(40) <= 3, "{}", far.requests());
        assert_eq!(lb.picks(Reason::Failover), far.requests() as f64);
        assert_eq!(sick.iter().map(ToyBackend::requests).sum::<u64>(), 0);

        let before = far.requests();
        lb.reload(&threshold(60));
        get(&lb, 100);
        assert_eq!(far.requests(), before, "60 % is not below 60 %");
    }

    #[test]
    fn w8_with_one_of_eight_healthy_a_group_is_drained_and_stays_so_when_it_recovers() {
        let toys = ["a", "b", "c", "d", "e", "f", "g", "h"].map(toy);
        let others = ["far-1", "far-2", "far-3", "canary"].map(toy);
        let setup = setup(&[
            group("ig-near", NEAR).members(&toys),
            group("ig-1", FAR).members(&others[..1]),
            group("ig-2", FAR).members(&others[1..2]),
            group("ig-3", FAR).members(&others[2..]),
        ]);
        let lb = Lb::start(&setup.clone().policy("autoCapacityDrain: {enable: true}").text());
        let metric = || lb.metrics().sum("overspill_backend_auto_drained", &["backend=\"ig-near\""]);
        assert_eq!((backend(&lb, "ig-near")["autoDrained"].clone(), metric()), (Value::Bool(false), 0.0));
        let (sick, recovering) = (&toys[..4], &toys[4..7]);
        toys[..7].iter().for_each(|toy| toy.set_health(500));
        wait_until("it is drained", || metric() == 1.0);
        wait_until("the plan follows", || !lb.plan_has("h"));
        assert_eq!(backend(&lb, "ig-near")["autoDrained"], true);
        assert_eq!(lb.metrics().sum("overspill_backend_auto_drained", &[]), 1.0);
        assert_eq!(counts(&lb, [&toys[7]], 30), [0], "not even the healthy member gets anything");
        assert_eq!(lb.picks(Reason::Drained), 30.0);

        // 4 of 8 are more than 35 %, and 60 s have not passed.
        recovering.iter().for_each(|toy| toy.set_health(200));
        wait_until("half are healthy", || recovering.iter().all(|toy| lb.is_healthy(toy.name())));
        wait_for_a_tick(&lb, &others[3]);
        assert_eq!(metric(), 1.0);
        assert_eq!(counts(&lb, [&toys[7]], 30), [0]);
        assert!(sick.iter().all(|toy| !lb.is_healthy(toy.name())));

        lb.reload(&setup.text());
        wait_until("without the policy nothing is drained", || metric() == 0.0);
        let near: u64 = counts(&lb, toys.each_ref(), 30).iter().sum();
        assert!(near > 0, "the healthy half serves again");
    }

    #[test]
    fn g_2_10_a_regional_service_never_leaves_its_region() {
        let (near, far) = (toy("near"), toy("far"));
        let near_group = group("ig-near", NEAR).rate(1).member("near", &near);
        let places = "trustedProxies: [127.0.0.0/8]\n  accessLog: {path: none}\n  \
                      clientLocations: [{cidr: 10.1.0.0/16, region: europe-west1}]";
        let setup = |groups: &[Group]| setup(groups).proxy(places).service("region: us-central1").text();
        let lb = Lb::start(&setup(std::slice::from_ref(&near_group)));
        let mut client = lb.client();
        let mut from_europe = || client.request("GET", "/", "x-forwarded-for: 10.1.2.3\r\n", b"");
        for _ in 0..20 {
            assert_eq!(from_europe().backend(), "near", "however full it is");
        }
        assert!(lb.picks(Reason::Overfilled) > 0.0);
        let elsewhere = group("ig-far", FAR).member("far", &far);
        let refused = lb.try_reload(&setup(&[near_group, elsewhere])).unwrap_err();
        let codes: Vec<_> = refused.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["region-mismatch"]);
        near.set_health(500);
        lb.wait_health("near", false);
        assert_refused(&from_europe(), StatusDetail::FailedToPickBackend);
        assert_eq!(far.requests(), 0);
    }
}

mod members {
    use super::*;

    #[test]
    fn with_slow_start_a_recovered_member_gets_few_requests_and_later_its_share() {
        let [steady, recovered] = &["steady", "recovered"].map(toy);
        let setup = setup(&[group("ig", NEAR).member("steady", steady).member("recovered", recovered)]);
        let slow = |seconds: u32| setup.clone().service(&format!("slowStartSec: {seconds}")).text();
        let lb = Lb::start(&slow(600));
        let toys = [steady, recovered];
        assert_eq!(counts(&lb, toys, 40), [20, 20], "not at process start");
        recovered.set_health(500);
        lb.wait_health("recovered", false);
        assert_eq!(counts(&lb, toys, 10), [10, 0]);
        recovered.set_health(200);
        lb.wait_health("recovered", true);
        // A tenth of a share for the first 33 s: 1 of 11.
        let [_, few] = counts(&lb, toys, 110);
        assert!(few.abs_diff(10) <= 2, "{few}");
        // The same recovery in a window that ends soon.
        lb.reload(&slow(2));
        wait_until("it has its share", || counts(&lb, toys, 20) == [10, 10]);
    }

    #[test]
    fn without_slow_start_a_recovered_member_has_its_share_at_once() {
        let toys = ["a", "b"].map(toy);
        toys[0].set_health(500);
        let lb = Lb::start(&setup(&[group("ig", NEAR).members(&toys)]).text());
        toys[0].set_health(200);
        lb.wait_health("a", true);
        assert_eq!(counts(&lb, toys.each_ref(), 20), [10, 10]);
    }

    #[test]
    fn g_2c_sessions_are_hashed_by_maglev_unless_the_file_says_otherwise() {
        let toy = toy("a");
        let setup = setup(&[group("ig", NEAR).member("a", &toy)]);
        let lb = Lb::start(&setup.text());
        let shown = || {
            let status = lb.status();
            let word = |key: &str| status["services"][0][key].as_str().unwrap().to_owned();
            [word("sessionAffinity"), word("localityLbPolicy")]
        };
        assert_eq!(shown(), ["NONE", "ROUND_ROBIN"]);
        let affinities = [
            ("CLIENT_IP", ""),
            ("GENERATED_COOKIE", ""),
            ("HTTP_COOKIE", "consistentHash: {httpCookie: {name: session}}"),
            ("HEADER_FIELD", "consistentHash: {httpHeaderName: x-user}"),
        ];
        for scheme in ["EXTERNAL_MANAGED", "INTERNAL_MANAGED"] {
            let scheme_of = |setup: crate::support::setup::Setup| {
                setup.service(&format!("loadBalancingScheme: {scheme}")).scheme(scheme)
            };
            for (affinity, line) in affinities {
                let with = setup.clone().service(&format!("sessionAffinity: {affinity}")).service(line);
                lb.reload(&scheme_of(with.clone()).text());
                assert_eq!(shown(), [affinity, "MAGLEV"], "{scheme}");
                lb.reload(&scheme_of(with.service("localityLbPolicy: RING_HASH")).text());
                assert_eq!(shown(), [affinity, "RING_HASH"], "{scheme}");
            }
        }
    }

    #[test]
    fn g_2_20_a_member_that_answers_503_three_times_in_a_row_is_ejected_and_the_others_serve_all() {
        let toys = ["a", "b", "bad"].map(toy);
        let [a, b, bad] = &toys;
        let setup = setup(&[group("ig", NEAR).members(&toys)]);
        let lb = Lb::start(&setup.clone().service("outlierDetection: {consecutiveGatewayFailure: 3}").text());
        let member = ["member=\"bad\""];
        let ejected = || lb.metrics().sum("overspill_member_ejected", &member);
        get(&lb, 30);
        assert_eq!(ejected(), 0.0);
        bad.change(|settings| settings.status = 503);
        let mut client = lb.client();
        let mut bad_answers = 0;
        while bad_answers < 3 {
            let answer = client.get("/");
            assert_eq!(answer.status, if answer.backend() == "bad" { 503 } else { 200 });
            bad_answers += u32::from(answer.status == 503);
        }
        wait_until("it is ejected", || ejected() == 1.0 && !lb.plan_has("bad"));
        assert_eq!(counts(&lb, [a, b, bad], 40), [20, 20, 0]);
        assert_eq!(lb.metrics().sum("overspill_member_ejections_total", &member), 1.0);
        let status = backend(&lb, "ig");
        let shown = status["members"].as_array().unwrap().iter().map(|m| m["ejected"] == true);
        assert_eq!(shown.collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(status["members"][2]["healthState"], "HEALTHY", "its health check passes all the time");

        bad.change(|settings| settings.status = 200);
        lb.reload(&setup.text());
        wait_until("without outlier detection it is back", || ejected() == 0.0 && lb.plan_has("bad"));
        assert_eq!(counts(&lb, [a, b, bad], 30), [10, 10, 10]);
    }
}
