//! What holds for every fleet: random services, health and demand.

use proptest::prelude::*;

use overspill::balance::pick::{self, Ask, Reason, Room};
use overspill::balance::plan::{Plan, Sample};
use overspill::balance::planner::ServicePlanner;
use overspill::model::place::OriginId;
use overspill::model::service::{Backend, Service};
use overspill::model::unit::Tick;

use crate::fleet::{backend, group_rate, member_rate, places, preferred, scaled, service, with_affinity};
use crate::lab::Lab;

/// (region, members, rate, mode and preference, scaler, healthy members as bits)
type Draw = (u16, u16, u16, u8, u8, u8);

fn fleet() -> impl Strategy<Value = Vec<Draw>> {
    prop::collection::vec((0..3_u16, 1..6_u16, 1..200_u16, 0..4_u8, 0..4_u8, any::<u8>()), 1..7)
}

fn build(draws: &[Draw]) -> Vec<Backend> {
    let one = |(index, draw): (usize, &Draw)| {
        let (region, members, rate, kind, scaler, _) = *draw;
        let mode = if kind % 2 == 0 { group_rate(rate.into()) } else { member_rate(rate.into()) };
        let plain = backend(index, region, members, mode);
        let scaled = scaled(plain, [0.0, 0.5, 1.0, 1.0][usize::from(scaler)]);
        if kind >= 2 { preferred(scaled) } else { scaled }
    };
    draws.iter().enumerate().map(one).collect()
}

fn lab(draws: &[Draw], service: Service) -> Lab {
    let mut lab = Lab::new(service, places(3));
    for (members, draw) in lab.members.iter_mut().zip(draws) {
        for (n, member) in members.iter_mut().enumerate() {
            member.is_healthy = draw.5 & (1 << n) != 0;
        }
    }
    lab.advance(Tick(0));
    lab
}

fn plan_of(service: Service, sample: &Sample) -> Plan {
    let decision = ServicePlanner::new(service.into(), &places(3), None).tick(Tick(0), sample);
    decision.plan.unwrap().as_ref().clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_spills_while_a_nearer_tier_has_room(draws in fleet(), full in any::<u8>(), turn in any::<u64>()) {
        let lab = lab(&draws, service(build(&draws)));
        let ask = Ask { origin: OriginId(0), key: None, pinned: None, turn, tried: &[] };
        let has_room = |backend: u32| full & (1 << backend) == 0;
        let mut admit = |b: u32, room| (room == Room::Overfill || has_room(b)).then_some(turn);
        let picked = pick::choose(&lab.plan, ask, &mut admit);
        let tiers = &lab.plan.origins[0].tiers;
        let roomy = |tier: usize| tiers[tier].shares.arcs.iter().any(|arc| has_room(arc.1));
        let is_in = |tier: usize, backend: u32| tiers[tier].shares.arcs.iter().any(|arc| arc.1 == backend);
        match picked {
            Ok(pick) if pick.reason == Reason::Overfilled => prop_assert!(!(0..tiers.len()).any(roomy)),
            Ok(pick) => {
                let tier = (0..tiers.len()).find(|tier| is_in(*tier, pick.backend)).unwrap();
                prop_assert!(has_room(pick.backend));
                prop_assert_eq!(pick.reason == Reason::Nearest, tier == 0);
                // What a nearer tier with room lets go is what too few healthy members do not keep [G 2.14].
                prop_assert!((0..tier).all(|nearer| !roomy(nearer) || tiers[nearer].keep < u64::MAX));
            }
            Err(_) => prop_assert!(lab.plan.origins[0].overfill.arcs.is_empty()),
        }
    }

    #[test]
    fn drained_and_unhealthy_get_nothing(draws in fleet(), demand in 1..300_u32) {
        let mut lab = lab(&draws, service(build(&draws)));
        lab.even(f64::from(demand), 2.0);
        for ((members, backend), draw) in lab.members.iter().zip(&lab.service.backends).zip(&draws) {
            for (n, member) in members.iter().enumerate() {
                let may = !backend.scaler.is_drained() && draw.5 & (1 << n) != 0;
                prop_assert!(may || member.served == 0);
            }
        }
        let is_any = lab.service.backends.iter().zip(&lab.members).any(|(backend, members)| {
            !backend.scaler.is_drained() && members.iter().any(|member| member.is_healthy)
        });
        prop_assert_eq!(lab.lost == 0, is_any, "nothing is lost while anyone can serve");
    }

    #[test]
    fn shares_sum_to_one(draws in fleet()) {
        let lab = lab(&draws, service(build(&draws)));
        for tier in lab.plan.origins.iter().flat_map(|order| &order.tiers).filter(|tier| !tier.shares.arcs.is_empty()) {
            let sum: f64 = (0..7).map(|backend| tier.shares.part_of(backend)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
            prop_assert_eq!(tier.shares.arcs.last().unwrap().0, u64::MAX);
            prop_assert!(tier.shares.arcs.is_sorted_by_key(|arc| arc.0));
        }
    }

    #[test]
    fn more_capacity_never_lowers_a_share(draws in fleet(), which in any::<prop::sample::Index>(), by in 1..100_u16) {
        let which = which.index(draws.len());
        let mut more = draws.clone();
        more[which].2 += by;
        let (before, after) = (lab(&draws, service(build(&draws))), lab(&more, service(build(&more))));
        for (before, after) in before.plan.origins[0].tiers.iter().zip(&after.plan.origins[0].tiers) {
            let backend = u32::try_from(which).unwrap();
            prop_assert!(after.shares.part_of(backend) >= before.shares.part_of(backend) - 1e-12);
        }
    }

    #[test]
    fn the_same_input_gives_the_same_plan(draws in fleet()) {
        let lab = lab(&draws, with_affinity(service(build(&draws))));
        let one = plan_of(with_affinity(service(build(&draws))), &lab.sample());
        let two = plan_of(with_affinity(service(build(&draws))), &lab.sample());
        prop_assert_eq!(format!("{one:?}"), format!("{two:?}"));
    }

    #[test]
    fn removing_one_of_n_members_moves_about_its_own_sessions(members in 3..40_u16, gone in any::<prop::sample::Index>()) {
        let gone = gone.index(members.into());
        let fleet = || with_affinity(service(vec![backend(0, 0, members, group_rate(1e9))]));
        let (mut before, mut after) = (lab(&[], fleet()), Lab::new(fleet(), places(3)));
        after.members[0][gone].is_healthy = false;
        after.advance(Tick(0));
        let mut moved = 0;
        for key in 0..1000 {
            let (one, two) = (before.arrive(Tick(0), Some(key)).unwrap(), after.arrive(Tick(0), Some(key)).unwrap());
            moved += u32::from(one.member != two.member);
            prop_assert!(one.member == two.member || one.member as usize == gone);
        }
        prop_assert!(f64::from(moved) <= 2000.0 / f64::from(members), "{moved} of 1000 with {members} members");
    }
}
