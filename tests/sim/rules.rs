//! Where requests go, rule by rule [G 1, 2], beside the worked numbers.

use std::sync::Arc;

use overspill::balance::capacity;
use overspill::balance::pick::Reason;
use overspill::balance::plan::{BackendSample, MemberSample, Sample};
use overspill::balance::planner::ServicePlanner;
use overspill::model::place::{OriginId, Places, RegionId};
use overspill::model::policy::{Algorithm, Distribution, Isolation, Overload};
use overspill::model::service::{Backend, Service};
use overspill::model::target::{Beside, CountTarget, Mode, RateTarget};
use overspill::model::unit::{PerSecond, Ratio, Span, Tick};

use crate::fleet::{
    backend, distributed, group_rate, in_zone, member_rate, places, preferred, scaled, service, utilization,
    with_affinity,
};
use crate::lab::{Lab, Reporting};

fn rate(region: u16, index: usize, target: f64) -> Backend {
    backend(index, region, 4, group_rate(target))
}

fn by(algorithm: Algorithm) -> Distribution {
    Distribution { algorithm, ..Distribution::default() }
}

fn isolated(isolation: Isolation) -> Distribution {
    Distribution { isolation: Some(isolation), ..Distribution::default() }
}

fn lose(lab: &mut Lab, backend: usize) {
    lab.members[backend].iter_mut().for_each(|member| member.is_healthy = false);
}

/// Parts of all requests by backend after some seconds of this demand.
fn parts(lab: &mut Lab, demand: f64) -> Vec<f64> {
    let before = lab.log.len();
    lab.even(demand, 10.0);
    let fresh = &lab.log[before..];
    let on = |backend: usize| fresh.iter().filter(|(_, pick)| pick.backend as usize == backend).count();
    (0..lab.gates.len()).map(|backend| on(backend) as f64 / fresh.len() as f64).collect()
}

fn close(found: &[f64], wanted: &[f64], tolerance: f64) {
    let is_close = found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() <= tolerance);
    assert!(found.len() == wanted.len() && is_close, "{found:?} instead of {wanted:?}");
}

#[test]
fn g_1_3_the_scaler_multiplies_whichever_target_the_mode_uses() {
    let of = |mode: Mode, scaler| scaled(backend(0, 0, 4, mode), scaler);
    let rate = |mode: Mode, scaler| capacity::of_backend(&of(mode, scaler)).unwrap().get();
    close(&[1.0, 0.5, 0.0].map(|s| rate(group_rate(80.0), s)), &[80.0, 40.0, 0.0], 0.0);
    close(&[1.0, 0.5, 0.0].map(|s| rate(member_rate(20.0), s)), &[80.0, 40.0, 0.0], 0.0);
    let count = |mode: Mode, scaler| capacity::count_of_backend(&of(mode, scaler)).unwrap();
    let in_flight = || Mode::InFlight(CountTarget::Group(80));
    let connections = || Mode::Connection(CountTarget::PerMember(20));
    assert_eq!([1.0, 0.5, 0.0].map(|s| count(in_flight(), s)), [80, 40, 0]);
    assert_eq!([1.0, 0.5, 0.0].map(|s| count(connections(), s)), [80, 40, 0]);
    let target = |scaler| capacity::utilization(&of(utilization(0.8), scaler)).unwrap().get();
    close(&[1.0, 0.5, 0.0].map(target), &[0.8, 0.4, 0.0], 0.0);
}

#[test]
fn g_1_9_a_target_is_no_circuit_breaker_and_all_are_overfilled_in_proportion() {
    let mut lab = Lab::new(service(vec![rate(0, 0, 30.0), rate(0, 1, 10.0), rate(1, 2, 40.0)]), places(2));
    lab.even(400.0, 10.0);
    let parts = parts(&mut lab, 400.0);
    close(&parts, &[0.375, 0.125, 0.5], 0.005);
    assert_eq!(lab.lost, 0);
}

#[test]
fn g_1_15_with_two_targets_the_one_that_is_reached_first_counts() {
    let mode = || Mode::Utilization {
        max: Ratio::new(0.8),
        beside: Beside::Rate(RateTarget::PerMember(PerSecond::new(100.0))),
    };
    // A member reaches 80 % at `full` requests per second.
    for (full, wanted) in [(50.0, 100.0), (400.0, 200.0)] {
        let curve = Arc::new(move |rate: f64| rate * 0.8 / full);
        let mut lab = Lab::new(service(vec![backend(0, 0, 2, mode()), rate(1, 1, 1e5)]), places(2))
            .reporting(Reporting { curve, most: full * 1.25, interval: Span::secs(1), lag: 0, noise: 0.0 });
        lab.even(300.0, 60.0);
        let rate = lab.rate(0, 40.0, 60.0);
        assert!((rate / wanted - 1.0).abs() < 0.05, "{rate} instead of {wanted}");
    }
}

#[test]
fn g_2_1_near_is_what_is_near_to_the_client() {
    let places = Places { origins: vec![RegionId(0), RegionId(2)], ..places(3) };
    let mut lab = Lab::new(service((0..3).map(|n| rate(n, n.into(), 1e4)).collect()), places);
    for (origin, backend) in [(0, 0), (1, 2)] {
        let pick = lab.arrive_from(OriginId(origin), Tick(0), None).unwrap();
        assert_eq!((pick.backend, pick.reason), (backend, Reason::Nearest));
    }
    lose(&mut lab, 2);
    lab.tick();
    let pick = lab.arrive_from(OriginId(1), Tick(0), None).unwrap();
    assert_eq!((pick.backend, pick.reason), (1, Reason::Unhealthy), "the one next to it");
}

#[test]
fn g_2_3_regions_are_tried_by_distance_not_in_the_order_of_the_file() {
    let mut lab = Lab::new(service(vec![rate(2, 0, 10.0), rate(1, 1, 10.0), rate(3, 2, 10.0)]), places(4));
    let order: Vec<_> = lab.advance_and_list();
    assert_eq!(order, [RegionId(1), RegionId(2), RegionId(3)]);
}

#[test]
fn g_2_4_within_a_region_in_proportion_to_capacity_and_within_a_zone_evenly() {
    let mut lab = Lab::new(
        service(vec![rate(0, 0, 100.0), in_zone(rate(0, 1, 200.0), 'b'), in_zone(rate(0, 2, 700.0), 'c')]),
        places(1),
    );
    close(&parts(&mut lab, 500.0), &[0.1, 0.2, 0.7], 0.001);
    for members in &lab.members {
        let served = members.iter().map(|member| member.served);
        assert!(served.clone().max().unwrap() - served.min().unwrap() <= 1);
    }
}

#[test]
fn g_2_4_members_of_a_backend_are_served_evenly_also_above_its_target() {
    for demand in [105.0, 180.0, 451.0] {
        let mut lab = Lab::new(service(vec![backend(0, 0, 2, group_rate(100.0))]), places(1));
        lab.poisson(demand, 10.0);
        assert!(lab.count(Reason::Overfilled) > 0);
        let [a, b] = [0, 1].map(|n: usize| lab.members[0][n].served);
        assert!(a.abs_diff(b) <= 1, "{a} and {b}");
    }
}

#[test]
fn g_2_5_spillover_cascades_from_region_to_region() {
    let mut lab = Lab::new(service((0..4).map(|n| rate(n, n.into(), 100.0)).collect()), places(4));
    // Each has a second's worth of burst once.
    lab.even(250.0, 20.0);
    close(&parts(&mut lab, 250.0), &[0.4, 0.4, 0.2, 0.0], 0.005);
    assert_eq!(lab.count(Reason::Overfilled), 0);
}

#[test]
fn g_2_7_the_classic_balancer_overflows_when_more_than_half_are_unhealthy() {
    let classic = Distribution {
        failover_threshold: Ratio::new(Distribution::FAILOVER_THRESHOLD_CLASSIC),
        ..Distribution::default()
    };
    let kept = |healthy: usize| {
        let service = distributed(service(vec![rate(0, 0, 1e4), rate(1, 1, 1e4)]), classic.clone());
        let mut lab = Lab::new(service, places(2));
        lab.members[0].iter_mut().skip(healthy).for_each(|member| member.is_healthy = false);
        parts(&mut lab, 200.0)[0]
    };
    // Half is not more than half.
    close(&[4, 3, 2].map(kept), &[1.0, 1.0, 1.0], 0.0);
    assert!((kept(1) - 0.5).abs() < 0.005, "even though the rest could carry it");
}

#[test]
fn g_2_9_estimates_are_periodic_a_member_that_fails_gets_requests_until_the_next_tick() {
    let mut lab = Lab::new(service(vec![rate(0, 0, 1e4), rate(1, 1, 1e4)]), places(2));
    lab.advance(Tick(0));
    lose(&mut lab, 0);
    assert_eq!(lab.arrive(Tick(1), None).unwrap().backend, 0);
    assert_eq!(lab.arrive(Tick(0) + Span::millis(100), None).unwrap().backend, 1);
}

#[test]
fn g_2_11_every_algorithm_weighs_by_target_times_scaler() {
    for algorithm in [Algorithm::WaterfallByRegion, Algorithm::SprayToRegion, Algorithm::SprayToWorld] {
        let fleet = vec![scaled(rate(0, 0, 600.0), 0.5), rate(0, 1, 100.0)];
        let mut lab = Lab::new(distributed(service(fleet), by(algorithm)), places(1));
        close(&parts(&mut lab, 200.0), &[0.75, 0.25], 0.005);
    }
    let fleet =
        vec![rate(0, 0, 1.0), scaled(in_zone(rate(0, 1, 600.0), 'b'), 0.5), in_zone(rate(0, 2, 100.0), 'c')];
    let mut lab = Lab::new(distributed(service(fleet), by(Algorithm::WaterfallByZone)), places(1));
    lose(&mut lab, 0);
    close(&parts(&mut lab, 200.0), &[0.0, 0.75, 0.25], 0.005);
}

#[test]
fn g_2b_waterfall_by_zone_fills_the_proxys_zone_then_the_region_then_the_next() {
    let fleet = || {
        vec![
            rate(0, 0, 100.0),
            in_zone(rate(0, 1, 60.0), 'b'),
            in_zone(rate(0, 2, 40.0), 'c'),
            rate(1, 3, 1e4),
        ]
    };
    let mut lab = Lab::new(distributed(service(fleet()), by(Algorithm::WaterfallByZone)), places(2));
    close(&parts(&mut lab, 90.0), &[1.0, 0.0, 0.0, 0.0], 0.0);
    lab.even(150.0, 10.0);
    close(&parts(&mut lab, 150.0), &[100.0 / 150.0, 30.0 / 150.0, 20.0 / 150.0, 0.0], 0.005);
    lab.even(400.0, 10.0);
    close(&parts(&mut lab, 400.0), &[0.25, 0.15, 0.1, 0.5], 0.005);
    // Without such a zone it is WATERFALL_BY_REGION.
    let elsewhere = Places { zone: "region-1-z".into(), ..places(2) };
    let mut lab = Lab::new(distributed(service(fleet()), by(Algorithm::WaterfallByZone)), elsewhere);
    close(&parts(&mut lab, 90.0), &[0.5, 0.3, 0.2, 0.0], 0.01);
}

#[test]
fn g_2b_spray_to_region_fills_a_region_evenly_before_the_next() {
    let fleet = vec![rate(0, 0, 100.0), in_zone(rate(0, 1, 100.0), 'b'), rate(1, 2, 1e4)];
    let mut lab = Lab::new(distributed(service(fleet), by(Algorithm::SprayToRegion)), places(2));
    close(&parts(&mut lab, 50.0), &[0.5, 0.5, 0.0], 0.005);
    lab.even(300.0, 10.0);
    close(&parts(&mut lab, 300.0), &[1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0], 0.005);
}

#[test]
fn g_2b_spray_to_world_is_by_capacity_however_far() {
    let fleet = vec![rate(0, 0, 100.0), rate(1, 1, 300.0), rate(2, 2, 600.0)];
    let mut lab = Lab::new(distributed(service(fleet), by(Algorithm::SprayToWorld)), places(3));
    close(&parts(&mut lab, 200.0), &[0.1, 0.3, 0.6], 0.005);
    assert_eq!(lab.count(Reason::Nearest), lab.log.len());
}

#[test]
fn g_2_13_without_the_policy_nothing_is_drained_and_with_it_the_scaler_stands() {
    let fleet = || service(vec![backend(0, 0, 8, group_rate(1e4)), backend(1, 1, 8, group_rate(1e4))]);
    let policy = Distribution { drains_automatically: true, ..Distribution::default() };
    for (service, is_drained) in [(fleet(), false), (distributed(fleet(), policy), true)] {
        let mut lab = Lab::new(service, places(2));
        lab.members[0].iter_mut().skip(1).for_each(|member| member.is_healthy = false);
        lab.even(100.0, 1.0);
        assert_eq!((lab.figures[0].is_auto_drained, lab.on(0) == 0), (is_drained, is_drained));
        assert_eq!(lab.count(Reason::Drained) > 0, is_drained);
        assert!((lab.service.backends[0].scaler.get() - 1.0).abs() < 1e-9);
    }
}

#[test]
fn g_2_14_first_the_other_members_of_the_backend_then_other_backends() {
    // Ten members, the threshold at 70 %.
    for (healthy, kept) in [(10, 1.0), (8, 1.0), (7, 1.0), (5, 5.0 / 7.0), (1, 1.0 / 7.0), (0, 0.0)] {
        let fleet = service(vec![backend(0, 0, 10, group_rate(1e4)), rate(1, 1, 1e4)]);
        let mut lab = Lab::new(fleet, places(2));
        lab.members[0].iter_mut().skip(healthy).for_each(|member| member.is_healthy = false);
        close(&parts(&mut lab, 350.0), &[kept, 1.0 - kept], 0.005);
        let reason = if healthy == 0 { Reason::Unhealthy } else { Reason::Failover };
        assert_eq!(lab.count(reason), lab.on(1));
    }
}

#[test]
fn g_2_14_inside_a_tier_a_sick_backend_counts_less_and_the_tier_goes_by_all_of_its_members() {
    let mut lab = Lab::new(service(vec![rate(0, 0, 1e4), rate(0, 1, 1e4), rate(1, 2, 1e4)]), places(2));
    lab.members[0].iter_mut().skip(1).for_each(|member| member.is_healthy = false);
    // 1 and 4 of 4 healthy: weights 0.25 ÷ 0.7 and 1; the tier has 5 of 8, and keeps 0.625 ÷ 0.7.
    let (sick, kept) = (0.25 / 0.7, 0.625 / 0.7);
    close(&parts(&mut lab, 500.0), &[kept * sick / (1.0 + sick), kept / (1.0 + sick), 1.0 - kept], 0.005);
}

#[test]
fn g_2_14_drained_backends_do_not_count_for_the_health_of_their_tier() {
    let fleet = vec![scaled(rate(0, 0, 1e4), 0.0), rate(0, 1, 1e4), rate(1, 2, 1e4)];
    let mut lab = Lab::new(service(fleet), places(2));
    lose(&mut lab, 0);
    close(&parts(&mut lab, 100.0), &[0.0, 1.0, 0.0], 0.0);
}

#[test]
fn g_2_14_what_a_tier_does_not_keep_comes_back_when_all_others_are_full() {
    let mut lab = Lab::new(service(vec![rate(0, 0, 1e4), rate(1, 1, 1.0)]), places(2));
    lab.members[0].iter_mut().skip(1).for_each(|member| member.is_healthy = false);
    lab.even(100.0, 10.0);
    close(&parts(&mut lab, 100.0), &[0.99, 0.01], 0.002);
    assert_eq!(lab.count(Reason::Overfilled), 0);
}

#[test]
fn g_2_14_a_session_is_always_on_the_same_side_of_the_threshold() {
    let fleet = vec![backend(0, 0, 10, group_rate(1e6)), backend(1, 1, 10, group_rate(1e6))];
    let mut lab = Lab::new(with_affinity(service(fleet)), places(2));
    lab.members[0].iter_mut().skip(5).for_each(|member| member.is_healthy = false);
    for key in 0..500 {
        let first = lab.arrive(Tick(1), Some(key)).unwrap();
        assert_eq!(lab.arrive(Tick(1), Some(key)).unwrap(), first);
    }
    assert!(lab.on(0).abs_diff(714) < 60, "{}", lab.on(0));
}

#[test]
fn g_2_15_strict_never_leaves_the_clients_region_and_fails_when_it_has_nobody() {
    let fleet = service(vec![rate(0, 0, 10.0), rate(1, 1, 1e4)]);
    let mut lab = Lab::new(distributed(fleet, isolated(Isolation::Strict)), places(3));
    close(&parts(&mut lab, 100.0), &[1.0, 0.0], 0.0);
    assert!(lab.count(Reason::Overfilled) > 800, "above its target, since that is no reason to leave");
    lab.members[0].iter_mut().skip(1).for_each(|member| member.is_healthy = false);
    close(&parts(&mut lab, 100.0), &[1.0, 0.0], 0.0);
    lose(&mut lab, 0);
    lab.even(100.0, 1.0);
    assert!(lab.lost >= 90);
    let nobody = Places { origins: vec![RegionId(2)], ..places(3) };
    let mut lab = Lab::new((*lab.service).clone(), nobody);
    lab.even(100.0, 1.0);
    assert_eq!((lab.lost, lab.log.len()), (100, 0));
}

#[test]
fn g_2_15_nearest_goes_on_for_ill_health_and_never_for_lack_of_capacity() {
    let fleet = service(vec![rate(0, 0, 10.0), rate(1, 1, 10.0), rate(2, 2, 1e4)]);
    let mut lab = Lab::new(distributed(fleet, isolated(Isolation::Nearest)), places(3));
    close(&parts(&mut lab, 100.0), &[1.0, 0.0, 0.0], 0.0);
    lose(&mut lab, 0);
    lab.tick();
    close(&parts(&mut lab, 100.0), &[0.0, 1.0, 0.0], 0.0);
    assert!(lab.count(Reason::Unhealthy) > 0 && lab.count(Reason::Overfilled) > 0);
    lose(&mut lab, 1);
    lab.tick();
    close(&parts(&mut lab, 100.0), &[0.0, 0.0, 1.0], 0.0);
    assert_eq!(lab.lost, 0);
}

#[test]
fn g_2_15_isolation_holds_for_preferred_backends_and_every_algorithm() {
    for algorithm in [Algorithm::SprayToWorld, Algorithm::WaterfallByZone, Algorithm::SprayToRegion] {
        for isolation in [Isolation::Strict, Isolation::Nearest] {
            let fleet = vec![rate(0, 0, 10.0), preferred(rate(1, 1, 1e4)), rate(1, 2, 1e4)];
            let policy = Distribution { algorithm, ..isolated(isolation) };
            let mut lab = Lab::new(distributed(service(fleet), policy), places(2));
            close(&parts(&mut lab, 100.0), &[1.0, 0.0, 0.0], 0.0);
        }
    }
}

#[test]
fn g_2_16_preferred_nearest_first_and_the_algorithm_only_for_the_overflow() {
    for algorithm in [Algorithm::WaterfallByRegion, Algorithm::SprayToWorld, Algorithm::WaterfallByZone] {
        let fleet =
            vec![rate(0, 0, 1e4), preferred(rate(2, 1, 50.0)), preferred(rate(1, 2, 50.0)), rate(1, 3, 1e4)];
        let mut lab = Lab::new(distributed(service(fleet), by(algorithm)), places(3));
        close(&parts(&mut lab, 40.0), &[0.0, 0.0, 1.0, 0.0], 0.0);
        lab.even(200.0, 10.0);
        let spread = if algorithm == Algorithm::SprayToWorld { 0.25 } else { 0.0 };
        close(&parts(&mut lab, 200.0), &[0.5 - spread, 0.25, 0.25, spread], 0.01);
    }
}

/// Ours: what was never judged is new, not lost.
#[test]
fn g_2_14_a_group_that_grows_sends_nothing_away_before_its_newcomers_are_judged() {
    let keeps = |is_undecided: bool| {
        let service = service(vec![rate(0, 0, 100.0), rate(1, 1, 100.0)]);
        let member = |is_healthy| MemberSample {
            is_healthy,
            is_undecided: is_undecided && !is_healthy,
            ..MemberSample::default()
        };
        let members = vec![member(true), member(false), member(false), member(false)];
        let backend = BackendSample { members, ..BackendSample::default() };
        let sample = Sample { backends: vec![backend.clone(), backend] };
        let mut planner = ServicePlanner::new(Arc::new(service), &places(2), None);
        planner.tick(Tick(1), &sample).plan.unwrap().origins[0].tiers[0].keep
    };
    assert_eq!(keeps(true), u64::MAX);
    assert!(keeps(false) < u64::MAX / 2);
}

#[test]
fn with_overload_reject_what_finds_no_room_is_turned_away_and_the_rest_is_served() {
    let mut service = service(vec![rate(0, 0, 60.0), rate(1, 1, 40.0)]);
    service.policies.overload = Overload::Reject;
    let mut lab = Lab::new(service, places(2));
    lab.even(90.0, 10.0);
    assert_eq!(lab.lost, 0);
    lab.even(200.0, 10.0);
    let before = lab.lost;
    lab.even(200.0, 10.0);
    assert!(((lab.lost - before) as f64 / 1000.0 - 1.0).abs() < 0.01);
    assert_eq!(lab.count(Reason::Overfilled), 0);
}

#[test]
fn with_fail_open_all_members_are_tried_when_none_is_healthy_and_only_then() {
    let open = |mut service: Service| {
        service.policies.fails_open = true;
        service.policies.distribution.drains_automatically = true;
        service
    };
    let fleet = vec![rate(0, 0, 1e4), scaled(rate(0, 1, 1e4), 0.0), rate(1, 2, 1e4)];
    let mut lab = Lab::new(open(service(fleet)), places(2));
    lab.even(100.0, 1.0);
    assert!(!lab.plan.is_open);
    lose(&mut lab, 0);
    lab.tick();
    assert_eq!((lab.arrive(lab.now, None).unwrap().backend, lab.plan.is_open), (2, false));
    (1..3).for_each(|backend| lose(&mut lab, backend));
    lab.tick();
    let plans = lab.plans;
    let served: Vec<_> = (0..8).map(|_| lab.arrive(lab.now, None).unwrap()).collect();
    assert!(served.iter().all(|pick| pick.reason == Reason::FailOpen && pick.backend == 0));
    assert!((0..4).all(|member| served.iter().filter(|pick| pick.member == member).count() == 2));
    lab.tick();
    assert_eq!(lab.plans, plans, "an open plan stays as long as nothing changes");
    lab.members[2][0].is_healthy = true;
    lab.tick();
    let pick = lab.arrive(lab.now, None).unwrap();
    // One of four is 25 %: enough for the last one, and the other is drained beside it [G 2.13].
    assert_eq!((pick.backend, pick.member, pick.reason), (2, 0, Reason::Drained));
}
