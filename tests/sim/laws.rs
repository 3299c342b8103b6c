//! What holds for every fleet: random services, health and demand.

use proptest::prelude::*;

use overspill::balance::pick::{self, Ask, Reason, Room};
use overspill::balance::plan::{Plan, Sample};
use overspill::balance::planner::ServicePlanner;
use overspill::model::place::{OriginId, Places, RegionId};
use overspill::model::policy::{Algorithm, Distribution, Isolation, Locality, Policies};
use overspill::model::service::{Backend, Service};
use overspill::model::unit::{Ratio, Span, Tick};

use crate::fleet::{
    backend, distributed, group_rate, in_zone, member_rate, places, preferred, scaled, service, with_affinity,
};
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
        let placed = if rate % 3 == 0 { in_zone(scaled, 'b') } else { scaled };
        if kind >= 2 { preferred(placed) } else { placed }
    };
    draws.iter().enumerate().map(one).collect()
}

fn policy() -> impl Strategy<Value = Distribution> {
    let algorithm = prop::sample::select(vec![
        Algorithm::WaterfallByRegion,
        Algorithm::SprayToRegion,
        Algorithm::WaterfallByZone,
        Algorithm::SprayToWorld,
    ]);
    let isolation = prop::sample::select(vec![None, Some(Isolation::Nearest), Some(Isolation::Strict)]);
    (algorithm, any::<bool>(), 1..100_u8, isolation).prop_map(|(algorithm, drains, percent, isolation)| {
        Distribution {
            algorithm,
            drains_automatically: drains,
            failover_threshold: Ratio::new(f64::from(percent) / 100.0),
            isolation,
        }
    })
}

/// A fleet with its policy; the planner has ticked once.
fn made(draws: &[Draw], policy: &Distribution) -> Lab {
    lab(draws, distributed(service(build(draws)), policy.clone()))
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
    fn nothing_spills_while_a_nearer_tier_has_room_and_is_healthy_enough(
        draws in fleet(), policy in policy(), full in any::<u8>(), turn in any::<u64>(),
    ) {
        let lab = made(&draws, &policy);
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
    fn a_tier_lets_go_only_what_its_health_does_not_keep_and_only_when_someone_else_can_serve(
        draws in fleet(), policy in policy(),
    ) {
        let lab = made(&draws, &policy);
        for tiers in lab.plan.origins.iter().map(|order| &order.tiers) {
            for (depth, tier) in tiers.iter().enumerate().filter(|(_, tier)| tier.keep < u64::MAX) {
                prop_assert!(!tier.shares.arcs.is_empty());
                prop_assert!(tiers[depth + 1..].iter().any(|later| !later.shares.arcs.is_empty()));
                let least = lab.members.iter().filter(|members| members.iter().any(|one| one.is_healthy));
                let share = |members: &Vec<crate::lab::Member>| {
                    members.iter().filter(|one| one.is_healthy).count() as f64 / members.len() as f64
                };
                prop_assert!(least.map(share).fold(1.0, f64::min) < 1.0, "all members are healthy");
            }
        }
    }

    #[test]
    fn drained_and_unhealthy_get_nothing_and_nothing_is_lost_while_anyone_may_serve(
        draws in fleet(), policy in policy(), demand in 1..300_u32,
    ) {
        let mut lab = made(&draws, &policy);
        lab.even(f64::from(demand), 2.0);
        let may_leave = |region: u16| policy.isolation != Some(Isolation::Strict) || region == 0;
        let mut is_any = false;
        for (index, (members, draw)) in lab.members.iter().zip(&draws).enumerate() {
            let backend = &lab.service.backends[index];
            let is_drained = backend.scaler.is_drained() || lab.figures[index].is_auto_drained;
            for (n, member) in members.iter().enumerate() {
                let may = !is_drained && may_leave(draw.0) && draw.5 & (1 << n) != 0;
                prop_assert!(may || member.served == 0);
                is_any |= may;
            }
        }
        prop_assert_eq!(lab.lost == 0, is_any, "nothing is lost while anyone can serve");
    }

    #[test]
    fn at_most_half_is_drained_automatically_and_never_the_last_healthy_member(
        draws in fleet(), later in prop::collection::vec(any::<u64>(), 1..20),
    ) {
        let policy = Distribution { drains_automatically: true, ..Distribution::default() };
        let mut lab = made(&draws, &policy);
        for bits in later {
            for (n, member) in lab.members.iter_mut().flatten().enumerate() {
                member.is_healthy = bits.rotate_right(n as u32) & 5 == 5;
            }
            lab.advance(lab.now + Span::secs(20));
            let drained = lab.figures.iter().filter(|figures| figures.is_auto_drained).count();
            prop_assert!(2 * drained <= draws.len());
            let may_serve = |index: &usize| {
                let is_scaled = !lab.service.backends[*index].scaler.is_drained();
                is_scaled && lab.members[*index].iter().any(|member| member.is_healthy)
            };
            let mut able = (0..draws.len()).filter(may_serve).peekable();
            let is_able = able.peek().is_some();
            prop_assert_eq!(able.any(|index| !lab.figures[index].is_auto_drained), is_able);
        }
    }

    #[test]
    fn shares_sum_to_one(draws in fleet(), policy in policy()) {
        let lab = made(&draws, &policy);
        let orders = lab.plan.origins.iter();
        let all = orders.flat_map(|order| {
            let of_tiers = order.tiers.iter().flat_map(|tier| [&tier.shares, &tier.affinity_shares]);
            of_tiers.chain([&order.overfill])
        });
        for shares in all.filter(|shares| !shares.arcs.is_empty()) {
            let sum: f64 = (0..7).map(|backend| shares.part_of(backend)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
            prop_assert_eq!(shares.arcs.last().unwrap().0, u64::MAX);
            prop_assert!(shares.arcs.is_sorted_by_key(|arc| arc.0));
        }
    }

    #[test]
    fn each_backend_stands_in_one_tier_and_overload_goes_where_the_tiers_are(
        draws in fleet(), policy in policy(),
    ) {
        let lab = made(&draws, &policy);
        let order = &lab.plan.origins[0];
        let mut in_tiers: Vec<_> =
            order.tiers.iter().flat_map(|tier| tier.shares.arcs.iter().map(|arc| arc.1)).collect();
        in_tiers.sort_unstable();
        let overfilled: Vec<_> = order.overfill.arcs.iter().map(|arc| arc.1).collect();
        prop_assert_eq!(in_tiers, overfilled);
    }

    #[test]
    fn more_capacity_never_lowers_a_share(
        draws in fleet(), policy in policy(), which in any::<prop::sample::Index>(), by in 1..100_u16,
    ) {
        let which = which.index(draws.len());
        let mut more = draws.clone();
        // By threes, since the zone goes by the rate.
        more[which].2 += 3 * by;
        let (before, after) = (made(&draws, &policy), made(&more, &policy));
        for (before, after) in before.plan.origins[0].tiers.iter().zip(&after.plan.origins[0].tiers) {
            let backend = u32::try_from(which).unwrap();
            prop_assert!(after.shares.part_of(backend) >= before.shares.part_of(backend) - 1e-12);
        }
    }

    #[test]
    fn a_larger_scaler_never_lowers_a_share(
        draws in fleet(), policy in policy(), which in any::<prop::sample::Index>(), from in 1..10_u8, by in 1..10_u8,
    ) {
        let which = which.index(draws.len());
        let scaled_by = |tenths: u8| {
            let mut fleet = build(&draws);
            fleet[which] = scaled(fleet[which].clone(), f64::from(tenths.min(10)) / 10.0);
            lab(&draws, distributed(service(fleet), policy.clone()))
        };
        let (before, after) = (scaled_by(from), scaled_by(from + by));
        for (before, after) in before.plan.origins[0].tiers.iter().zip(&after.plan.origins[0].tiers) {
            let backend = u32::try_from(which).unwrap();
            prop_assert!(after.shares.part_of(backend) >= before.shares.part_of(backend) - 1e-12);
        }
    }

    #[test]
    fn the_same_input_gives_the_same_plan(draws in fleet(), policy in policy()) {
        let fleet = || with_affinity(distributed(service(build(&draws)), policy.clone()));
        let lab = lab(&draws, fleet());
        let [one, two] = [(); 2].map(|()| plan_of(fleet(), &lab.sample()));
        prop_assert_eq!(format!("{one:?}"), format!("{two:?}"));
    }

    #[test]
    fn g_2_10_a_regional_service_never_leaves_its_region(
        draws in fleet(), policy in policy(), region in 0..3_u16, demand in 1..300_u32,
    ) {
        let draws: Vec<Draw> = draws.iter().map(|draw| (region, draw.1, draw.2, draw.3, draw.4, draw.5)).collect();
        let regional = Service {
            region: Some(RegionId(region)),
            ..distributed(service(build(&draws)), policy)
        };
        let places = Places { origins: vec![RegionId(0), RegionId(1), RegionId(2)], ..places(3) };
        let mut lab = Lab::new(regional, places);
        lab.even(f64::from(demand), 1.0);
        for origin in 0..3 {
            lab.arrive_from(OriginId(origin), lab.now, None);
        }
        let region_of = |backend: u32| lab.service.backends[backend as usize].group.region;
        prop_assert!(lab.log.iter().all(|(_, pick)| region_of(pick.backend) == RegionId(region)));
        prop_assert!(lab.plan.origins.iter().flat_map(|order| &order.tiers).all(|tier| tier.region == RegionId(region)));
    }

    #[test]
    fn removing_one_of_n_members_moves_about_its_own_sessions(members in 3..40_u16, gone in any::<prop::sample::Index>()) {
        let gone = gone.index(members.into());
        for locality in [Locality::RingHash { minimum_size: 1024 }, Locality::Maglev] {
            let moved = moved_by_removal(locality, members, gone);
            prop_assert!(f64::from(moved) <= 2000.0 / f64::from(members), "{moved} of 1000 with {members} members");
        }
    }

    #[test]
    fn taking_one_of_n_members_out_of_several_backends_moves_at_most_two_nths(
        sizes in prop::collection::vec(1..20_u16, 1..6), which in any::<prop::sample::Index>(),
    ) {
        const KEYS: u32 = 3000;
        let which = which.index(sizes.len());
        let all: u16 = sizes.iter().sum();
        prop_assume!(all > 2);
        let fleet = || sizes.iter().enumerate().map(|(n, size)| backend(n, 0, *size, member_rate(1e6)));
        let whole = with_affinity(service(fleet().collect()));
        let mut fewer = whole.clone();
        fewer.backends[which].members.pop();
        let (mut before, mut after) = (lab(&[], whole), lab(&[], fewer));
        let moved = (0..KEYS).filter(|key| {
            let place = |lab: &mut Lab| {
                let pick = lab.arrive(Tick(0), Some(u64::from(*key))).unwrap();
                (pick.backend, pick.member)
            };
            place(&mut before) != place(&mut after)
        });
        // Its own sessions, and as many again, since its backend is smaller by one.
        let two_nths = 2.0 * f64::from(KEYS) / f64::from(all);
        let moved = moved.count() as f64;
        prop_assert!(moved <= two_nths + 4.0 * two_nths.sqrt(), "{moved} of {KEYS} with {all} members");
    }
}

/// Sessions of 1000 that are elsewhere after one of `members` has failed.
fn moved_by_removal(locality: Locality, members: u16, gone: usize) -> u32 {
    let fleet = || {
        let service = with_affinity(service(vec![backend(0, 0, members, group_rate(1e9))]));
        Service { policies: Policies { locality, ..service.policies.clone() }, ..service }
    };
    let (mut before, mut after) = (lab(&[], fleet()), Lab::new(fleet(), places(3)));
    after.members[0][gone].is_healthy = false;
    after.advance(Tick(0));
    let mut moved = 0;
    for key in 0..1000 {
        let (one, two) =
            (before.arrive(Tick(0), Some(key)).unwrap(), after.arrive(Tick(0), Some(key)).unwrap());
        moved += u32::from(one.member != two.member);
        let is_own = one.member as usize == gone;
        // A ring moves nothing else; a table a little [G 3.8].
        assert!(one.member == two.member || is_own || locality == Locality::Maglev);
    }
    moved
}
