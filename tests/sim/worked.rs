//! The worked numbers W1 to W7 of the rules [G 13], and what drains, fails and is preferred.

use overspill::balance::pick::Reason;
use overspill::model::target::{Beside, Mode, RateTarget};
use overspill::model::unit::{PerSecond, Ratio, Span};

use crate::fleet::{
    backend, group_rate, member_rate, places, preferred, scaled, service, utilization, with_affinity,
};
use crate::lab::{Lab, Reporting};

/// Long enough that the second's worth of burst is used up at any demand from 1.1 × target.
const SETTLED: f64 = 15.0;

#[test]
fn w1_three_members_of_10_have_a_capacity_of_30() {
    let mut lab = Lab::new(
        service(vec![backend(0, 0, 3, member_rate(10.0)), backend(1, 1, 1, group_rate(1e4))]),
        places(2),
    );
    lab.even(60.0, SETTLED);
    assert!((lab.figures[0].capacity - 30.0).abs() < 1e-9);
    assert!((lab.rate(0, 5.0, SETTLED) - 30.0).abs() <= 0.3);
}

#[test]
fn w2_with_two_of_three_healthy_the_capacity_is_still_30() {
    let mut lab = Lab::new(
        service(vec![backend(0, 0, 3, member_rate(10.0)), backend(1, 1, 1, group_rate(1e4))]),
        places(2),
    );
    lab.members[0][1].is_healthy = false;
    lab.even(60.0, SETTLED);
    assert!((lab.rate(0, 5.0, SETTLED) - 30.0).abs() <= 0.3);
    let [a, b, c] = [0, 1, 2].map(|n: usize| lab.members[0][n].served);
    assert!(b == 0 && a.abs_diff(c) <= 1, "{a} {b} {c}");
}

#[test]
fn w3_a_rate_of_80_scaled_by_half_is_40() {
    let mut lab = Lab::new(
        service(vec![scaled(backend(0, 0, 2, group_rate(80.0)), 0.5), backend(1, 1, 1, group_rate(1e4))]),
        places(2),
    );
    lab.even(100.0, SETTLED);
    assert!((lab.rate(0, 5.0, SETTLED) - 40.0).abs() <= 0.4);
}

#[test]
fn w4_capacities_30_and_10_share_a_demand_of_20_as_15_and_5() {
    let mut lab = Lab::new(
        service(vec![backend(0, 0, 3, group_rate(30.0)), backend(1, 0, 1, group_rate(10.0))]),
        places(1),
    );
    lab.even(20.0, SETTLED);
    for second in 0..15 {
        let second = f64::from(second);
        let (a, b) = (lab.rate(0, second, second + 1.0), lab.rate(1, second, second + 1.0));
        assert!((a - 15.0).abs() <= 1.0 && (b - 5.0).abs() <= 1.0, "{second}: {a} {b}");
    }
    assert_eq!(lab.count(Reason::Nearest), lab.log.len());
}

#[test]
fn w5_demand_of_120_fills_100_and_spills_20() {
    let mut lab = Lab::new(
        service(vec![backend(0, 0, 2, group_rate(100.0)), backend(1, 1, 2, group_rate(50.0))]),
        places(2),
    );
    lab.even(120.0, SETTLED);
    assert!((lab.rate(0, 5.0, SETTLED) - 100.0).abs() <= 1.0);
    assert!((lab.rate(1, 5.0, SETTLED) - 20.0).abs() <= 1.0);
    assert_eq!(lab.count(Reason::Overfilled), 0);
}

#[test]
fn w6_demand_of_180_overfills_100_and_50_to_120_and_60() {
    let mut lab = Lab::new(
        service(vec![backend(0, 0, 2, group_rate(100.0)), backend(1, 1, 2, group_rate(50.0))]),
        places(2),
    );
    lab.even(180.0, SETTLED);
    assert!((lab.rate(0, 5.0, SETTLED) - 120.0).abs() <= 1.2);
    assert!((lab.rate(1, 5.0, SETTLED) - 60.0).abs() <= 1.0);
    assert_eq!(lab.lost, 0);
}

#[test]
fn w7_with_cpu_at_30_percent_and_100_per_member_the_backend_is_full_by_rate() {
    let mode = Mode::Utilization {
        max: Ratio::new(0.8),
        beside: Beside::Rate(RateTarget::PerMember(PerSecond::new(100.0))),
    };
    let curve = std::sync::Arc::new(|rate: f64| rate * 0.003);
    let mut lab =
        Lab::new(service(vec![backend(0, 0, 2, mode), backend(1, 1, 2, utilization(0.8))]), places(2))
            .reporting(Reporting { curve, most: 333.0, interval: Span::secs(1), lag: 0, noise: 0.0 });
    lab.even(300.0, 30.0);
    assert!((lab.rate(0, 20.0, 30.0) - 200.0).abs() <= 2.0, "{}", lab.rate(0, 20.0, 30.0));
    assert!((lab.figures[0].fullness - 1.0).abs() < 0.05, "{:?}", lab.figures[0]);
    assert!((lab.figures[0].utilization - 0.3).abs() < 0.02);
}

#[test]
fn w23_per_endpoint_50_with_one_of_four_healthy_and_scaler_half_gives_100_to_the_one() {
    let near = scaled(backend(0, 0, 4, member_rate(50.0)), 0.5);
    let mut lab = Lab::new(service(vec![near, backend(1, 1, 1, group_rate(1e4))]), places(2));
    lab.members[0][..3].iter_mut().for_each(|member| member.is_healthy = false);
    lab.even(200.0, SETTLED);
    assert!((lab.rate(0, 5.0, SETTLED) - 100.0).abs() <= 1.0);
}

#[test]
fn a_drained_backend_gets_nothing_new_and_the_reason_is_drained() {
    let near = || backend(0, 0, 2, group_rate(100.0));
    let far = || backend(1, 1, 2, group_rate(100.0));
    let mut lab = Lab::new(service(vec![near(), far()]), places(2));
    lab.even(50.0, 2.0);
    lab.reload(service(vec![scaled(near(), 0.0), far()]));
    let before = lab.on(0);
    lab.even(50.0, 2.0);
    assert_eq!((lab.on(0), lab.on(1), lab.lost), (before, 100, 0));
    assert_eq!(lab.count(Reason::Drained), 100);
}

#[test]
fn an_unhealthy_backend_gets_nothing_and_gets_its_part_back_when_it_recovers() {
    let mut lab = Lab::new(
        service(vec![backend(0, 0, 2, group_rate(100.0)), backend(1, 1, 1, group_rate(100.0))]),
        places(2),
    );
    lab.members[0].iter_mut().for_each(|member| member.is_healthy = false);
    lab.even(50.0, 2.0);
    assert_eq!((lab.on(0), lab.count(Reason::Unhealthy)), (0, 100));
    lab.members[0][0].is_healthy = true;
    lab.even(50.0, 2.0);
    assert!(lab.on(0) >= 94, "{}", lab.on(0));
    assert_eq!(lab.members[0][1].served, 0);
}

#[test]
fn without_any_healthy_member_nothing_is_placed() {
    let mut lab = Lab::new(service(vec![backend(0, 0, 2, group_rate(100.0))]), places(1));
    lab.members[0].iter_mut().for_each(|member| member.is_healthy = false);
    lab.even(50.0, 1.0);
    assert_eq!((lab.log.len(), lab.lost), (0, 50));
}

#[test]
fn preferred_backends_are_filled_before_nearer_default_ones() {
    let far = preferred(backend(1, 1, 2, group_rate(50.0)));
    let mut lab = Lab::new(service(vec![backend(0, 0, 2, group_rate(1000.0)), far]), places(2));
    lab.even(40.0, 5.0);
    assert_eq!((lab.on(0), lab.on(1)), (0, 200));
    lab.even(100.0, SETTLED);
    assert!((lab.rate(1, 10.0, 20.0) - 50.0).abs() <= 1.0 && (lab.rate(0, 10.0, 20.0) - 50.0).abs() <= 1.0);
}

#[test]
fn sessions_stay_on_their_member_while_it_has_room() {
    let fleet = vec![backend(0, 0, 5, group_rate(1e4)), backend(1, 0, 5, group_rate(2e4))];
    let mut lab = Lab::new(with_affinity(service(fleet)), places(1));
    for key in 0..300 {
        let first = lab.arrive(lab.now, Some(key)).unwrap();
        for _ in 0..3 {
            assert_eq!(lab.arrive(lab.now, Some(key)).unwrap(), first);
        }
    }
    assert!(lab.on(0).abs_diff(400) < 120, "{}", lab.on(0));
}
