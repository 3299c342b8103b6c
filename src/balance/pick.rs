//! Plan + key + turn → member, with the reason; or why there is none.

use super::hash::GOLDEN;
use super::plan::{Plan, Shares, Usable};
use crate::model::place::OriginId;

/// Why a request was placed where it was. The same words in the access log, in metrics and in `explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// In the first tier: no spill.
    Nearest,
    /// Spilled: nearer tiers were full.
    Full,
    /// Spilled: no healthy member nearer.
    Unhealthy,
    /// Spilled: nearer backends have capacityScaler 0.
    Drained,
    /// Everything was full; placed in proportion to capacity.
    Overfilled,
}

impl Reason {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Nearest, Self::Full, Self::Unhealthy, Self::Drained, Self::Overfilled];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Full => "full",
            Self::Unhealthy => "unhealthy",
            Self::Drained => "drained",
            Self::Overfilled => "overfilled",
        }
    }
}

/// What a request brings to the choice.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Where the client comes from.
    pub origin: OriginId,
    /// Session key; `None` without affinity.
    pub key: Option<u64>,
    /// Turn of the service: a number that no other request has.
    pub turn: u64,
    /// (backend, member) pairs that failed this request already.
    pub tried: &'a [(u32, u32)],
}

/// How room is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Only if the backend's limit has room.
    IfFree,
    /// Above the limit.
    Overfill,
}

/// The choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Backend index of the service.
    pub backend: u32,
    /// Member index of the backend.
    pub member: u32,
    /// Why here.
    pub reason: Reason,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPick {
    /// No healthy member in any backend with a scaler above 0.
    NoHealthyMember,
    /// Every usable member was tried already.
    AllTried,
}

/// Chooses a member. `admit` reserves room in a backend's gate and returns the backend's turn; it is called for a
/// backend only if that backend has a member that could be chosen.
///
/// A member that was tried is never picked again; a full backend does not block a retry, since what finds no room
/// anywhere is placed above the limits.
///
/// # Errors
/// [`NoPick`] when no member can be used.
pub fn choose(
    plan: &Plan,
    ask: Ask<'_>,
    mut admit: impl FnMut(u32, Room) -> Option<u64>,
) -> Result<Pick, NoPick> {
    let tiers = plan.origins.get(usize::from(ask.origin.0)).map_or(&[][..], Vec::as_slice);
    let mut reason = None;
    for (depth, tier) in tiers.iter().enumerate() {
        let shares = if ask.key.is_some() { &tier.affinity_shares } else { &tier.shares };
        let mut is_full = false;
        let placed = place(plan, &ask, (shares, depth), |backend| {
            is_full = true;
            admit(backend, Room::IfFree)
        });
        if let Some((backend, member)) = placed {
            return Ok(Pick { backend, member, reason: reason.unwrap_or(Reason::Nearest) });
        }
        // A tier that had members, all of them tried already, is left because these members failed.
        let why = if is_full || shares.is_empty() { tier.reason_to_leave } else { Reason::Unhealthy };
        reason.get_or_insert(why);
    }
    let placed = place(plan, &ask, (&plan.overfill, tiers.len()), |backend| admit(backend, Room::Overfill));
    match placed {
        Some((backend, member)) => Ok(Pick { backend, member, reason: Reason::Overfilled }),
        None if plan.overfill.is_empty() => Err(NoPick::NoHealthyMember),
        None => Err(NoPick::AllTried),
    }
}

/// The first backend of `shares`, in the order of the key or of the turn, that takes the request, and its member.
/// `depth` numbers the tier.
#[inline]
fn place(
    plan: &Plan,
    ask: &Ask<'_>,
    (shares, depth): (&Shares, usize),
    mut take: impl FnMut(u32) -> Option<u64>,
) -> Option<(u32, u32)> {
    let mut offer = |backend: u32| {
        let usable = plan.backends.get(backend as usize)?;
        if !has_untried(usable, backend, ask.tried) {
            return None;
        }
        let turn = take(backend)?;
        Some((backend, member(usable, backend, ask, turn)?))
    };
    match ask.key {
        Some(key) => {
            let identity =
                |backend: u32| plan.backends.get(backend as usize).map_or(0, |usable| usable.identity);
            shares.by_key(key, identity).find_map(offer)
        }
        None => {
            // Each tier turns its circle by a step of its own: what one tier spills in a rhythm meets no rhythm in
            // the next.
            let step = STEPS.get(depth).or(STEPS.last()).copied().unwrap_or(GOLDEN);
            shares.by_point(ask.turn.wrapping_mul(step)).find_map(&mut offer)
        }
    }
}

/// Odd multiples of the circle without a short period: golden ratio, then those of higher dimensions.
const STEPS: [u64; 3] = [GOLDEN, 0xC13F_A9A9_02A6_328F, 0x91E1_0DA5_C79E_7B1D];

#[inline]
fn has_untried(usable: &Usable, backend: u32, tried: &[(u32, u32)]) -> bool {
    if tried.is_empty() {
        return !usable.members.is_empty();
    }
    usable.members.iter().any(|member| !tried.contains(&(backend, *member)))
}

/// By the ring for a key, else in turn.
#[inline]
fn member(usable: &Usable, backend: u32, ask: &Ask<'_>, turn: u64) -> Option<u32> {
    let is_untried = |member: u32| ask.tried.is_empty() || !ask.tried.contains(&(backend, member));
    if let (Some(key), Some(ring)) = (ask.key, &usable.ring) {
        return ring.find(key, is_untried);
    }
    let start = usize::try_from(turn % (usable.members.len() as u64).max(1)).ok()?;
    let (before, after) = usable.members.split_at_checked(start)?;
    after.iter().chain(before).copied().find(|member| is_untried(*member))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::balance::plan::Tier;
    use crate::model::place::RegionId;

    /// One backend of weight `weights[i]` and two members per tier.
    fn plan(weights: &[f64]) -> Plan {
        let share = |(index, weight): (u32, &f64)| Shares::new([(index, *weight)]);
        let tiers = (0..).zip(weights).map(|one| Tier {
            region: RegionId(0),
            shares: share(one),
            affinity_shares: share(one),
            reason_to_leave: Reason::Full,
        });
        let usable = |n: usize| Usable { members: [0, 1].into(), ring: None, identity: n as u64 };
        Plan {
            origins: vec![tiers.collect()],
            backends: (0..weights.len()).map(usable).collect(),
            overfill: Shares::new((0..).zip(weights.iter().copied())),
        }
    }

    fn ask(turn: u64, tried: &[(u32, u32)]) -> Ask<'_> {
        Ask { origin: OriginId(0), key: None, turn, tried }
    }

    #[test]
    fn the_first_tier_with_room_takes_it_and_the_reason_is_that_of_the_first_tier_left() {
        let mut plan = plan(&[1.0, 1.0, 1.0]);
        plan.origins[0][1].reason_to_leave = Reason::Unhealthy;
        let pick = |room: u32| choose(&plan, ask(5, &[]), |b, _| (b == room).then_some(1)).unwrap();
        assert_eq!(pick(0), Pick { backend: 0, member: 1, reason: Reason::Nearest });
        assert_eq!(pick(2), Pick { backend: 2, member: 1, reason: Reason::Full });
        plan.origins[0][0].shares = Shares::default();
        plan.origins[0][0].reason_to_leave = Reason::Drained;
        let third = choose(&plan, ask(5, &[]), |b, _| (b == 2).then_some(1)).unwrap();
        assert_eq!(third.reason, Reason::Drained);
    }

    #[test]
    fn when_all_are_full_the_request_is_placed_in_proportion_to_capacity() {
        let plan = plan(&[100.0, 50.0]);
        let mut counts = [0, 0];
        for turn in 0..300 {
            let pick =
                choose(&plan, ask(turn, &[]), |_, room| (room == Room::Overfill).then_some(turn)).unwrap();
            assert_eq!(pick.reason, Reason::Overfilled);
            counts[pick.backend as usize] += 1;
        }
        assert!(200_u32.abs_diff(counts[0]) <= 2, "{counts:?}");
    }

    #[test]
    fn a_member_that_was_tried_is_not_picked_again_and_its_backend_not_asked_in_vain() {
        let plan = plan(&[1.0, 1.0]);
        let pick = choose(&plan, ask(0, &[(0, 0)]), |_, _| Some(0)).unwrap();
        assert_eq!((pick.backend, pick.member, pick.reason), (0, 1, Reason::Nearest));
        let mut asked = Vec::new();
        let pick = choose(&plan, ask(0, &[(0, 0), (0, 1)]), |b, _| {
            asked.push(b);
            Some(0)
        });
        assert_eq!(pick.unwrap(), Pick { backend: 1, member: 0, reason: Reason::Unhealthy });
        assert_eq!(asked, [1]);
        let all = [(0, 0), (0, 1), (1, 0), (1, 1)];
        assert_eq!(choose(&plan, ask(0, &all), |_, _| Some(0)), Err(NoPick::AllTried));
    }

    #[test]
    fn a_full_backend_does_not_block_a_retry() {
        let plan = plan(&[1.0]);
        let pick = choose(&plan, ask(0, &[(0, 1)]), |_, room| (room == Room::Overfill).then_some(1)).unwrap();
        assert_eq!(pick, Pick { backend: 0, member: 0, reason: Reason::Overfilled });
    }

    #[test]
    fn without_a_usable_member_there_is_no_pick() {
        assert_eq!(choose(&Plan::default(), ask(0, &[]), |_, _| Some(0)), Err(NoPick::NoHealthyMember));
    }
}
