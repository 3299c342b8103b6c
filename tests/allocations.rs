//! Choosing a member allocates nothing: counted by an allocator, on this thread alone. The choices are those of
//! `benches/pick.rs`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../benches/fleet/mod.rs"]
mod fleet;

use allocation_counter::measure;
use fleet::{Fleet, plan};
use overspill::balance::hash;
use overspill::balance::pick::{self, Ask, NoPick, Room};
use overspill::model::place::OriginId;
use overspill::model::policy::Overload;

const BACKENDS: u32 = 50;
/// `benches/pick.rs` has 500: what is allocated does not depend on it, and tables of so many take a debug build minutes.
const MEMBERS: u32 = 20;
/// So many that whatever grows has grown.
const WARM_UP: u32 = 5_000;
const PICKS: u32 = 5_000;

#[test]
fn allocator_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1_u8]))).count_total, 1);
}

#[test]
fn a_choice_allocates_nothing_in_any_policy() {
    let mut fleet = Fleet::new(BACKENDS, MEMBERS);
    for (name, plan, is_keyed) in fleet::policies(BACKENDS, MEMBERS) {
        let mut run = |picks: u32| {
            for _ in 0..picks {
                fleet.pick(&plan, is_keyed);
            }
        };
        run(WARM_UP);
        assert_eq!(measure(|| run(PICKS)).count_total, 0, "{name}");
    }
}

#[test]
fn a_choice_that_spills_retries_or_finds_no_room_allocates_nothing() {
    let mut deep = plan(3, 4, MEMBERS);
    deep.origins[0].tiers[1].keep = u64::MAX / 2;
    let mut strict = deep.clone();
    strict.overload = Overload::Reject;
    let tried: Vec<_> = (0..4).flat_map(|backend| (0..MEMBERS - 1).map(move |n| (backend, n))).collect();
    let free = |_: u32, _| Some(1);
    let last_tier = |backend: u32, _| (backend >= 8).then_some(1);
    let full = |_: u32, room| (room == Room::Overfill).then_some(1);
    let mut refused = 0;
    let counted = measure(|| {
        for turn in 0..1_000 {
            for key in [None, Some(hash::mix(turn, 9))] {
                for (tried, pinned) in [(&[][..], None), (&tried, None), (&[], Some((5, 3)))] {
                    let ask = Ask { origin: OriginId(0), key, turn, pinned, tried };
                    pick::choose(&deep, ask, &mut { free }).unwrap();
                    pick::choose(&deep, ask, &mut { last_tier }).unwrap();
                    pick::choose(&deep, ask, &mut { full }).unwrap();
                    refused +=
                        u32::from(pick::choose(&strict, ask, &mut { full }) == Err(NoPick::Overloaded));
                }
            }
        }
    });
    assert_eq!(counted.count_total, 0);
    assert!(refused > 0, "nothing was ever refused");
}
