//! Nothing spills while a nearer tier has room, where room is not a rate: requests under way, and measured utilization.

use proptest::prelude::*;

use overspill::balance::capacity;
use overspill::balance::pick::{self, Ask, Pick, Reason, Room};
use overspill::balance::plan::Tier;
use overspill::model::place::OriginId;
use overspill::model::service::Backend;
use overspill::model::target::{CountTarget, Mode};
use overspill::model::unit::{Span, Tick};

use crate::fleet::{backend, member_rate, places, scaled, service, utilization};
use crate::lab::{Lab, Reporting};

/// (region, members, target, whether it is the group's, scaler, healthy members as bits)
type Draw = (u16, u16, u32, bool, u8, u8);

fn build(draws: &[Draw]) -> Vec<Backend> {
    let one = |(index, draw): (usize, &Draw)| {
        let (region, members, target, is_of_group, scaler, _) = *draw;
        let target = if is_of_group { CountTarget::Group(target) } else { CountTarget::PerMember(target) };
        let plain = backend(index, region, members, Mode::InFlight(target));
        scaled(plain, [0.0, 0.3, 0.5, 1.0][usize::from(scaler)])
    };
    draws.iter().enumerate().map(one).collect()
}

/// The tier that a pick is of; `None` for what was placed above the limits.
fn tier_of(tiers: &[Tier], pick: Pick) -> Option<usize> {
    let is_in = |tier: &Tier| tier.shares.arcs.iter().any(|arc| arc.1 == pick.backend);
    if pick.reason == Reason::Overfilled { None } else { tiers.iter().position(is_in) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Requests come and end in any order; each is looked at with what is under way at its moment.
    #[test]
    fn nothing_spills_while_fewer_are_under_way_nearer_than_the_target_and_none_is_exceeded(
        draws in prop::collection::vec((0..3_u16, 1..5_u16, 1..9_u32, any::<bool>(), 0..4_u8, any::<u8>()), 1..6),
        steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..300),
    ) {
        let mut lab = Lab::new(service(build(&draws)), places(3));
        for (members, draw) in lab.members.iter_mut().zip(&draws) {
            for (n, member) in members.iter_mut().enumerate() {
                member.is_healthy = draw.5 & (1 << n) != 0;
            }
        }
        lab.advance(Tick(0));
        let most: Vec<_> =
            lab.service.backends.iter().map(|one| capacity::count_of_backend(one).unwrap() as f64).collect();
        let tiers = lab.plan.origins[0].tiers.clone();
        let mut under_way: Vec<u32> = Vec::new();
        for (turn, (ends, which)) in (0..).zip(&steps) {
            if *ends && !under_way.is_empty() {
                let backend = under_way.swap_remove(which.index(under_way.len()));
                lab.gates[backend as usize].release();
                continue;
            }
            let before: Vec<_> = lab.gates.iter().map(|gate| gate.in_flight).collect();
            let ask = Ask { origin: OriginId(0), key: None, pinned: None, turn, tried: &[] };
            let gates = &mut lab.gates;
            let mut admit = |backend: u32, room: Room| gates[backend as usize].take(Tick(turn), room);
            let Ok(pick) = pick::choose(&lab.plan, ask, &mut admit) else { continue };
            under_way.push(pick.backend);
            let has_room = |tier: &Tier| {
                tier.shares.arcs.iter().any(|arc| before[arc.1 as usize] < most[arc.1 as usize])
            };
            let tier = tier_of(&tiers, pick);
            // A tier with too few healthy members keeps a part only [G 2.14].
            let nearer = tiers[..tier.unwrap_or(tiers.len())].iter().filter(|tier| tier.keep == u64::MAX);
            prop_assert!(!nearer.clone().any(has_room), "{pick:?} with {before:?} of {most:?}");
            if tier.is_some() {
                prop_assert!(before[pick.backend as usize] < most[pick.backend as usize]);
            }
        }
    }
}

/// Near members of which one has nothing left at `most` requests per second, and as many as need be far away; demand is
/// `part` of what the near ones take at the target. Fullness near and requests that spilled, in the last 20 s.
fn played(members: u16, most: f64, target: f64, part: f64) -> (f64, usize) {
    const SETTLED: f64 = 60.0;
    const END: f64 = 80.0;
    let near = backend(0, 0, members, utilization(target));
    let far = backend(1, 1, 4, member_rate(1e6));
    let curve = move |rate: f64| (rate / most).min(1.0);
    let mut lab = Lab::new(service(vec![near, far]), places(2)).reporting(Reporting {
        curve: std::sync::Arc::new(curve),
        most,
        interval: Span::secs(1),
        lag: 0,
        noise: 0.0,
    });
    let at_target = f64::from(members) * most * target;
    lab.even(part * at_target, END);
    let late = |at: Tick| at >= Tick(0) + Span::secs(60);
    let spilled = lab.log.iter().filter(|(at, pick)| late(*at) && pick.backend == 1).count();
    (lab.rate(0, SETTLED, END) / at_target, spilled)
}

#[test]
fn nothing_spills_while_the_measured_load_nearer_is_below_the_target_and_what_spills_leaves_it_at_the_target()
{
    for members in [2, 5] {
        for most in [50.0, 300.0] {
            for target in [0.4, 0.8] {
                for part in [0.3, 0.7, 0.9] {
                    let (fullness, spilled) = played(members, most, target, part);
                    assert_eq!(spilled, 0, "{members} × {most}, {target}, {part} of it: {fullness:.3} full");
                }
                for part in [1.3, 2.0] {
                    let (fullness, spilled) = played(members, most, target, part);
                    let is_at_target = (fullness - 1.0).abs() <= 0.05;
                    assert!(
                        spilled > 0 && is_at_target,
                        "{members} × {most}, {target}, {part}: {fullness:.3}"
                    );
                }
            }
        }
    }
}
