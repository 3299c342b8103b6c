//! Capacity arithmetic and the order of decisions, rule by rule [G 1.20, 1.22, 2.2, 2.8, 3.7].

use std::collections::BTreeSet;

use overspill::balance::capacity;
use overspill::balance::pick::Reason;
use overspill::model::place::{OriginId, Places, RegionId};
use overspill::model::target::{CountTarget, Mode};
use overspill::model::unit::Tick;

use crate::fleet::{
    backend, group_rate, in_zone, member_rate, places, scaled, service, utilization, with_affinity,
};
use crate::lab::Lab;

#[test]
fn g_1_20_a_target_per_member_counts_all_members_and_one_of_the_group_none() {
    for (members, scaler) in [(1_u16, 1.0), (4, 1.0), (4, 0.5), (10, 0.1)] {
        let of = |mode: Mode| scaled(backend(0, 0, members, mode), scaler);
        let n = f64::from(members);
        let rate = |mode| capacity::of_backend(&of(mode)).unwrap().get();
        assert!((rate(member_rate(50.0)) - n * 50.0 * scaler).abs() < 1e-9);
        assert!((rate(group_rate(50.0)) - 50.0 * scaler).abs() < 1e-9);
        let count = |target| capacity::count_of_backend(&of(Mode::InFlight(target))).unwrap() as f64;
        assert!((count(CountTarget::PerMember(50)) - n * 50.0 * scaler).abs() < 1.0);
        assert!((count(CountTarget::Group(50)) - 50.0 * scaler).abs() < 1.0);
        assert!((capacity::utilization(&of(utilization(0.8))).unwrap().get() - 0.8 * scaler).abs() < 1e-9);
    }
}

#[test]
fn g_1_20_survivors_carry_what_the_lost_members_did() {
    let mut lab = Lab::new(
        service(vec![backend(0, 0, 4, member_rate(25.0)), backend(1, 1, 4, group_rate(1e4))]),
        places(2),
    );
    // One of four is lost: three quarters are above the threshold of health, so the group keeps its whole target.
    lab.members[0][3].is_healthy = false;
    lab.even(200.0, 20.0);
    assert!((lab.rate(0, 10.0, 20.0) - 100.0).abs() <= 1.0, "{}", lab.rate(0, 10.0, 20.0));
    let served: Vec<_> = lab.members[0].iter().map(|member| member.served).collect();
    assert_eq!(served[3], 0);
    assert!(served[..3].iter().all(|one| one.abs_diff(served[0]) <= 1), "{served:?}");
}

#[test]
fn g_1_22_a_rate_counts_new_requests_however_many_run() {
    // Requests of the lab end at once and those of a proxy do not: the gate of a rate looks at arrivals alone.
    let fleet = || vec![backend(0, 0, 2, group_rate(50.0)), backend(1, 1, 2, group_rate(1e4))];
    let mut lab = Lab::new(service(fleet()), places(2));
    lab.even(100.0, 20.0);
    assert!((lab.rate(0, 10.0, 20.0) - 50.0).abs() <= 0.5);
    assert_eq!(lab.count(Reason::Full), lab.on(1));
}

#[test]
fn g_2_2_origin_then_nearest_with_room_then_even_inside_the_region_then_the_next() {
    let origins = Places { origins: vec![RegionId(0), RegionId(2)], ..places(3) };
    let fleet = vec![
        backend(0, 0, 2, group_rate(40.0)),
        in_zone(backend(1, 0, 2, group_rate(40.0)), 'b'),
        backend(2, 1, 2, group_rate(1e4)),
        backend(3, 2, 2, group_rate(1e4)),
    ];
    let mut lab = Lab::new(service(fleet), origins);
    assert_eq!(lab.arrive_from(OriginId(1), Tick(0), None).unwrap().backend, 3, "(1) by origin");
    lab.even(60.0, 20.0);
    assert_eq!(lab.on(2), 0, "(3) the nearest region has room");
    assert!(lab.on(0).abs_diff(lab.on(1)) <= 2, "(4) even: {} and {}", lab.on(0), lab.on(1));
    lab.even(120.0, 20.0);
    let rates = [0, 1, 2, 3].map(|backend| lab.rate(backend, 30.0, 40.0));
    assert!((rates[0] - 40.0).abs() <= 1.0 && (rates[1] - 40.0).abs() <= 1.0, "(2) capacity: {rates:?}");
    assert!((rates[2] - 40.0).abs() <= 1.0 && rates[3] < 0.1, "(5) the next closest: {rates:?}");
}

#[test]
fn g_2_8_what_a_group_at_its_maximum_size_cannot_take_spills() {
    let of_size =
        |members| service(vec![backend(0, 0, members, member_rate(10.0)), backend(1, 1, 4, group_rate(1e4))]);
    let mut lab = Lab::new(of_size(3), places(2));
    lab.even(50.0, 20.0);
    assert!((lab.rate(0, 10.0, 20.0) - 30.0).abs() <= 0.5, "{}", lab.rate(0, 10.0, 20.0));
    assert!((lab.rate(1, 10.0, 20.0) - 20.0).abs() <= 0.5, "{}", lab.rate(1, 10.0, 20.0));
}

#[test]
fn g_3_7_a_best_effort_session_breaks_when_its_member_fails_or_its_backend_is_full_and_not_otherwise() {
    let fleet = vec![backend(0, 0, 8, group_rate(100.0)), backend(1, 1, 8, group_rate(1e4))];
    let mut lab = Lab::new(with_affinity(service(fleet)), places(2));
    let place = |lab: &mut Lab, key| {
        let pick = lab.arrive(lab.now, Some(key)).unwrap();
        (pick.backend, pick.member)
    };
    let before: Vec<_> = (0..60).map(|key| place(&mut lab, key)).collect();
    lab.advance(Tick(10_000_000_000));
    let again: Vec<_> = (0..60).map(|key| place(&mut lab, key)).collect();
    assert_eq!(before, again, "nothing has changed");
    let lost = before[0].1;
    lab.members[0][usize::from(u16::try_from(lost).unwrap())].is_healthy = false;
    lab.advance(Tick(20_000_000_000));
    let after: Vec<_> = (0..60).map(|key| place(&mut lab, key)).collect();
    let moved: BTreeSet<_> = before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, _)| a.1).collect();
    assert!(after.iter().all(|place| *place != (0, lost)));
    assert!(moved.contains(&lost) && moved.len() <= 2, "moved from {moved:?}");
    // A burst fills the near backend: sessions go where there is room.
    for _ in 0..400 {
        lab.arrive(lab.now, None);
    }
    assert_eq!(place(&mut lab, 1).0, 1, "full");
}
