//! Members by what they report and how they answer, through the real planner: weights, slow start, ejections.

use overspill::balance::pick::Pick;
use overspill::balance::plan::Conduct;
use overspill::model::policy::{Locality, OutlierDetection, Policies};
use overspill::model::service::Service;
use overspill::model::unit::{Span, Tick};

use crate::fleet::{backend, group_rate, places, service};
use crate::lab::Lab;

/// One backend of four members.
fn lab(policies: Policies) -> Lab {
    let service = service(vec![backend(0, 0, 4, group_rate(1e9))]);
    let mut lab = Lab::new(Service { policies, ..service }, places(1));
    lab.advance(Tick(0));
    lab
}

/// Members' parts of the requests of some seconds.
fn parts(lab: &mut Lab, seconds: f64) -> Vec<f64> {
    let before = lab.log.len();
    lab.even(200.0, seconds);
    let picks = &lab.log[before..];
    let of = |member: u32| picks.iter().filter(|(_, pick): &&(Tick, Pick)| pick.member == member).count();
    (0..4).map(|member| of(member) as f64 / picks.len() as f64).collect()
}

fn is_about(parts: &[f64], wanted: [f64; 4], tolerance: f64) -> bool {
    parts.iter().zip(wanted).all(|(part, wanted)| (part - wanted).abs() <= tolerance)
}

#[test]
fn g_1_45_turns_follow_reported_weights_and_the_unknown_counts_as_the_mean() {
    let mut lab = lab(Policies { locality: Locality::WeightedRoundRobin, ..Policies::default() });
    assert!(is_about(&parts(&mut lab, 2.0), [0.25; 4], 0.01), "nobody reports: all alike");
    for (member, weight) in lab.members[0].iter_mut().zip([Some(300.0), Some(100.0), Some(200.0), None]) {
        member.conduct = Conduct { weight, ..Conduct::default() };
    }
    lab.even(200.0, 3.0);
    let parts = parts(&mut lab, 5.0);
    assert!(is_about(&parts, [0.375, 0.125, 0.25, 0.25], 0.01), "{parts:?}");
    let plans = lab.plans;
    lab.even(200.0, 10.0);
    assert_eq!(lab.plans, plans, "steady reports make no new plans");
}

#[test]
fn a_recovered_member_gets_from_a_tenth_to_all_of_its_share_over_the_window() {
    for locality in
        [Locality::RoundRobin, Locality::Random, Locality::LeastRequest, Locality::WeightedRoundRobin]
    {
        let mut lab = lab(Policies { locality, slow_start: Span::secs(100), ..Policies::default() });
        let start = parts(&mut lab, 5.0);
        assert!(is_about(&start, [0.25; 4], 0.04), "never at the start: {locality:?} {start:?}");
        lab.members[0][1].is_healthy = false;
        lab.even(200.0, 1.0);
        lab.members[0][1].is_healthy = true;
        let mut shares = Vec::new();
        for _ in 0..11 {
            shares.push(parts(&mut lab, 10.0)[1]);
        }
        let wanted = |tenth: usize| {
            let weight = (0.1 + 0.9 * (tenth as f64 + 0.5) / 10.0).min(1.0);
            weight / (3.0 + weight)
        };
        let is_off = |(tenth, share): (usize, &f64)| (share - wanted(tenth)).abs() > 0.03;
        assert!(!shares.iter().enumerate().any(is_off), "{locality:?} {shares:?}");
    }
}

#[test]
fn g_2_20_an_ejected_member_gets_nothing_until_its_time_is_over() {
    let detection = OutlierDetection { base_ejection_time: Span::secs(5), ..OutlierDetection::default() };
    let mut lab = lab(Policies { outlier_detection: Some(detection), ..Policies::default() });
    lab.even(200.0, 1.0);
    lab.members[0][2].conduct.gateway_failure_runs = 1;
    lab.even(200.0, 0.2);
    assert!(parts(&mut lab, 4.5)[2] <= 0.0);
    assert!(parts(&mut lab, 5.0)[2] > 0.2);
    lab.members[0][2].conduct.gateway_failure_runs = 2;
    lab.even(200.0, 0.2);
    assert!(parts(&mut lab, 9.5)[2] <= 0.0, "the second time lasts twice as long");
    assert!(parts(&mut lab, 5.0)[2] > 0.2);
}

#[test]
fn an_ejection_outlives_a_reload_and_a_recovery_too() {
    let detection = OutlierDetection { base_ejection_time: Span::secs(60), ..OutlierDetection::default() };
    let policies =
        Policies { outlier_detection: Some(detection), slow_start: Span::secs(1000), ..Policies::default() };
    let mut lab = lab(policies.clone());
    lab.members[0][0].conduct.gateway_failure_runs = 1;
    lab.members[0][1].is_healthy = false;
    lab.even(200.0, 0.5);
    lab.members[0][1].is_healthy = true;
    lab.even(200.0, 0.5);
    let more = service(vec![backend(0, 0, 4, group_rate(1e8))]);
    lab.reload(Service { policies, ..more });
    let parts = parts(&mut lab, 5.0);
    assert!(parts[0] == 0.0 && parts[1] < 0.06, "{parts:?}");
}

#[test]
fn g_2_20_a_member_whose_success_rate_is_out_of_line_is_ejected() {
    let policies = Policies { outlier_detection: Some(OutlierDetection::default()), ..Policies::default() };
    let six = service(vec![backend(0, 0, 3, group_rate(1e9)), backend(1, 0, 3, group_rate(1e9))]);
    let mut lab = Lab::new(Service { policies, ..six }, places(1));
    lab.members[1][1].fails_fast = true;
    lab.even(1200.0, 4.0);
    let plan = &lab.plan.backends;
    assert_eq!((&*plan[0].members, &*plan[1].members), (&[0, 1, 2][..], &[0, 2][..]));
}
