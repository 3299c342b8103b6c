//! Plan + key + turn → member, with the reason; or why there is none.

use super::hash::{self, GOLDEN};
use super::locality;
use super::plan::{Plan, Shares, Tier, Usable};
use super::prequal::Draw;
use crate::model::place::OriginId;
use crate::model::policy::Overload;

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
    /// Spilled: nearer backends have capacityScaler 0, or were drained automatically [G 2.13].
    Drained,
    /// Everything was full; placed in proportion to capacity, or where the limit is only a guess yet.
    Overfilled,
    /// Spilled: nearer tiers have too few healthy members for all of it [G 2.14].
    Failover,
    /// Where its session is, whatever else [G 3.6].
    Session,
    /// No member is healthy, and all are tried (`failOpen`).
    FailOpen,
}

impl Reason {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Nearest,
        Self::Full,
        Self::Unhealthy,
        Self::Drained,
        Self::Overfilled,
        Self::Failover,
        Self::Session,
        Self::FailOpen,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Full => "full",
            Self::Unhealthy => "unhealthy",
            Self::Drained => "drained",
            Self::Overfilled => "overfilled",
            Self::Failover => "failover",
            Self::Session => "session",
            Self::FailOpen => "fail_open",
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
    /// (backend, member) that the session names itself, if it still may [G 3.6].
    pub pinned: Option<(u32, u32)>,
    /// Turn of the service: a number that no other request has.
    pub turn: u64,
    /// (backend, member) pairs that failed this request already; from [`PATIENCE`] on, it goes where it was not yet.
    pub tried: &'a [(u32, u32)],
}

/// After so many failed members a request leaves the tiers and the backends that it has met, as long as others have
/// room: a whole group may be dead before its probes notice (**ours**).
pub const PATIENCE: usize = 3;

impl Ask<'_> {
    #[inline]
    const fn is_out_of_patience(&self) -> bool {
        self.tried.len() >= PATIENCE
    }

    fn has_met(&self, backend: u32) -> bool {
        self.tried.iter().any(|tried| tried.0 == backend)
    }
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
    /// No healthy member in any backend that is not drained and where isolation lets requests go.
    NoHealthyMember,
    /// Every usable member was tried already.
    AllTried,
    /// Everything is full, and the service says `overload: REJECT`.
    Overloaded,
}

/// The live numbers that the choice asks. A closure over (backend, room) will do where nothing else is known.
pub trait Live {
    /// Reserves room in a backend's gate, and returns the backend's turn; `None` when it is full.
    fn admit(&mut self, backend: u32, room: Room) -> Option<u64>;

    /// Requests of a member that are under way.
    fn in_flight(&self, backend: u32, member: u32) -> u64 {
        let _ = (backend, member);
        0
    }

    /// PREQUAL's choice, by the pool of this worker; `None` where there is no pool, or nothing in it that may be
    /// chosen: then the idler of two is.
    fn prequal(&mut self, draw: &Draw<'_>) -> Option<u32> {
        let _ = draw;
        None
    }
}

impl<F: FnMut(u32, Room) -> Option<u64>> Live for F {
    fn admit(&mut self, backend: u32, room: Room) -> Option<u64> {
        self(backend, room)
    }
}

/// Chooses a member. Room is asked of a backend only if it has a member that could be chosen.
///
/// A member that was tried is never picked again; a full backend does not block a retry, since what finds no room
/// anywhere is placed above the limits.
///
/// # Errors
/// [`NoPick`] when no member can be used.
pub fn choose(plan: &Plan, ask: Ask<'_>, live: &mut impl Live) -> Result<Pick, NoPick> {
    if let Some(pick) = pinned(plan, &ask, live) {
        return Ok(pick);
    }
    let Some(order) = plan.origins.get(usize::from(ask.origin.0)) else {
        return Err(NoPick::NoHealthyMember);
    };
    let mut reason = plan.is_open.then_some(Reason::FailOpen);
    let mut is_held_back = false;
    for (depth, tier) in order.tiers.iter().enumerate() {
        if let Some(why) = passes(tier, &ask, depth) {
            is_held_back = true;
            reason.get_or_insert(why);
            continue;
        }
        match try_tier(plan, &ask, (tier, depth), live) {
            Ok((backend, member)) => {
                return Ok(Pick { backend, member, reason: reason.unwrap_or(Reason::Nearest) });
            }
            Err(why) => {
                reason.get_or_insert(why);
            }
        }
    }
    // What a tier does not keep goes elsewhere, if there is an elsewhere.
    let is_passed = |depth, tier| is_held_back && passes(tier, &ask, depth).is_some();
    let held_back = order.tiers.iter().enumerate().filter(|(depth, tier)| is_passed(*depth, tier));
    for (depth, tier) in held_back {
        if let Ok((backend, member)) = try_tier(plan, &ask, (tier, depth), live) {
            let reason = if depth == 0 { Reason::Nearest } else { reason.unwrap_or(Reason::Nearest) };
            return Ok(Pick { backend, member, reason });
        }
    }
    if order.overfill.is_empty() {
        return Err(NoPick::NoHealthyMember);
    }
    let above = |live: &mut _, backend| Live::admit(live, backend, Room::Overfill);
    let depth = order.tiers.len();
    if let Some((backend, member)) = place(plan, &ask, (&order.guesses, depth), live, above) {
        return Ok(Pick { backend, member, reason: Reason::Overfilled });
    }
    if plan.overload == Overload::Reject && ask.tried.is_empty() {
        return Err(NoPick::Overloaded);
    }
    let placed = place(plan, &ask, (&order.overfill, depth), live, above);
    let (backend, member) = placed.ok_or(NoPick::AllTried)?;
    Ok(Pick { backend, member, reason: Reason::Overfilled })
}

/// Why a request passes a tier by as long as there is another one.
#[inline]
fn passes(tier: &Tier, ask: &Ask<'_>, depth: usize) -> Option<Reason> {
    if !stays(tier, ask, depth) {
        return Some(Reason::Failover);
    }
    let is_given_up = ask.is_out_of_patience() && shares(tier, ask).arcs.iter().any(|arc| ask.has_met(arc.1));
    is_given_up.then_some(Reason::Unhealthy)
}

/// What a request goes by in a tier.
#[inline]
const fn shares<'t>(tier: &'t Tier, ask: &Ask<'_>) -> &'t Shares {
    if ask.key.is_some() { &tier.affinity_shares } else { &tier.shares }
}

/// A backend of the tier with room, and its member; or why the request goes on.
#[inline]
fn try_tier<L: Live>(
    plan: &Plan,
    ask: &Ask<'_>,
    (tier, depth): (&Tier, usize),
    live: &mut L,
) -> Result<(u32, u32), Reason> {
    let shares = shares(tier, ask);
    let mut is_full = false;
    let placed = place(plan, ask, (shares, depth), live, |live, backend| {
        is_full = true;
        live.admit(backend, Room::IfFree)
    });
    // A tier that had members, all of them tried already, is left because these members failed.
    let why = || if is_full || shares.is_empty() { tier.reason_to_leave } else { Reason::Unhealthy };
    placed.ok_or_else(why)
}

/// Where a session's own cookie says, as long as that member is usable: above the limit, if need be [G 3.6].
fn pinned(plan: &Plan, ask: &Ask<'_>, live: &mut impl Live) -> Option<Pick> {
    let (backend, member) = ask.pinned?;
    let usable = plan.backends.get(backend as usize)?;
    if ask.tried.contains(&(backend, member)) || usable.members.binary_search(&member).is_err() {
        return None;
    }
    live.admit(backend, Room::IfFree).or_else(|| live.admit(backend, Room::Overfill))?;
    Some(Pick { backend, member, reason: Reason::Session })
}

/// Whether this request is of the part that a tier with too few healthy members keeps [G 2.14]. A session is always of
/// the same part.
#[inline]
pub(super) fn stays(tier: &Tier, ask: &Ask<'_>, depth: usize) -> bool {
    if tier.keep == u64::MAX {
        return true;
    }
    let draw = match (ask.key, KEEP_STEPS.get(depth)) {
        (None, Some(step)) => ask.turn.wrapping_mul(*step),
        (key, _) => hash::mix(key.unwrap_or(ask.turn), KEEP.wrapping_add(depth as u64)),
    };
    draw <= tier.keep
}

/// Any number; sets the draw of [`stays`] apart from others of the same key.
const KEEP: u64 = 0x6B65_6570;

/// Steps on the circle that in turn keep exact parts, and meet no rhythm of [`STEPS`]: the roots of 2 and of 3.
const KEEP_STEPS: [u64; 2] = [0x6A09_E667_F3BC_C909, 0xBB67_AE85_84CA_A73B];

/// The first backend of `shares`, in the order of the key or of the turn, that takes the request, and its member.
/// `depth` numbers the tier. A request out of patience prefers backends that it has not met.
#[inline]
fn place<L: Live>(
    plan: &Plan,
    ask: &Ask<'_>,
    (shares, depth): (&Shares, usize),
    live: &mut L,
    mut take: impl FnMut(&mut L, u32) -> Option<u64>,
) -> Option<(u32, u32)> {
    if ask.is_out_of_patience() {
        let take_unmet =
            |live: &mut L, backend| if ask.has_met(backend) { None } else { take(live, backend) };
        let unmet = place_at(plan, ask, (shares, depth), live, take_unmet);
        if unmet.is_some() {
            return unmet;
        }
    }
    place_at(plan, ask, (shares, depth), live, take)
}

#[inline]
fn place_at<L: Live>(
    plan: &Plan,
    ask: &Ask<'_>,
    (shares, depth): (&Shares, usize),
    live: &mut L,
    mut take: impl FnMut(&mut L, u32) -> Option<u64>,
) -> Option<(u32, u32)> {
    let mut offer = |backend: u32| {
        let usable = plan.backends.get(backend as usize)?;
        if !has_untried(usable, backend, ask.tried) {
            return None;
        }
        let turn = take(live, backend)?;
        Some((backend, locality::choose(plan.locality, (usable, backend), ask, turn, live)?))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::balance::plan::{Order, Tier};
    use crate::model::place::RegionId;

    /// One backend of weight `weights[i]` and two members per tier.
    fn plan(weights: &[f64]) -> Plan {
        let share = |(index, weight): (u32, &f64)| Shares::new([(index, *weight)]);
        let tiers = (0..).zip(weights).map(|one| Tier {
            region: RegionId(0),
            shares: share(one),
            affinity_shares: share(one),
            reason_to_leave: Reason::Full,
            keep: u64::MAX,
        });
        let usable = |n: usize| Usable { members: [0, 1].into(), identity: n as u64, ..Usable::default() };
        let overfill = Shares::new((0..).zip(weights.iter().copied()));
        Plan {
            origins: vec![Order { tiers: tiers.collect(), overfill, ..Order::default() }],
            backends: (0..weights.len()).map(usable).collect(),
            ..Plan::default()
        }
    }

    /// [`super::choose`] with a closure.
    fn choose(
        plan: &Plan,
        ask: Ask<'_>,
        mut admit: impl FnMut(u32, Room) -> Option<u64>,
    ) -> Result<Pick, NoPick> {
        super::choose(plan, ask, &mut admit)
    }

    fn ask(turn: u64, tried: &[(u32, u32)]) -> Ask<'_> {
        Ask { origin: OriginId(0), key: None, pinned: None, turn, tried }
    }

    #[test]
    fn what_finds_no_room_goes_where_the_limit_is_a_guess_before_anything_is_refused() {
        let mut plan = plan(&[1.0, 1.0]);
        plan.overload = Overload::Reject;
        let full = |_: u32, room| (room == Room::Overfill).then_some(0);
        assert_eq!(choose(&plan, ask(5, &[]), full), Err(NoPick::Overloaded));
        plan.origins[0].guesses = Shares::new([(1, 1.0)]);
        let pick = choose(&plan, ask(5, &[]), full).unwrap();
        assert_eq!((pick.backend, pick.reason), (1, Reason::Overfilled));
        let again = choose(&plan, ask(5, &[(1, 0), (1, 1)]), full).unwrap();
        assert_eq!(again.backend, 0, "a retry goes on");
    }

    #[test]
    fn the_first_tier_with_room_takes_it_and_the_reason_is_that_of_the_first_tier_left() {
        let mut plan = plan(&[1.0, 1.0, 1.0]);
        plan.origins[0].tiers[1].reason_to_leave = Reason::Unhealthy;
        let pick = |room: u32| choose(&plan, ask(5, &[]), |b, _| (b == room).then_some(1)).unwrap();
        assert_eq!(pick(0), Pick { backend: 0, member: 1, reason: Reason::Nearest });
        assert_eq!(pick(2), Pick { backend: 2, member: 1, reason: Reason::Full });
        plan.origins[0].tiers[0].shares = Shares::default();
        plan.origins[0].tiers[0].reason_to_leave = Reason::Drained;
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
    fn a_request_that_three_members_failed_leaves_their_tier_and_before_it_does_not() {
        let mut plan = plan(&[1.0, 1.0]);
        plan.backends[0].members = (0..9).collect();
        let tried = [(0, 4), (0, 5), (0, 6), (1, 0)];
        let to = |tried: &[(u32, u32)]| {
            (0..50)
                .map(|turn| choose(&plan, ask(turn, tried), |_, _| Some(turn)).unwrap())
                .collect::<Vec<_>>()
        };
        for known in 0..PATIENCE {
            assert!(to(&tried[..known]).iter().all(|pick| pick.backend == 0), "after {known}");
        }
        for pick in to(&tried[..PATIENCE]) {
            assert_eq!((pick.backend, pick.reason), (1, Reason::Unhealthy));
        }
        assert!(
            to(&tried).iter().all(|pick| pick.backend == 0 && pick.reason == Reason::Nearest),
            "met both"
        );
        let full =
            choose(&plan, ask(0, &tried[..PATIENCE]), |backend, _| (backend == 0).then_some(0)).unwrap();
        assert_eq!((full.backend, full.member, full.reason), (0, 0, Reason::Nearest), "no room elsewhere");
    }

    #[test]
    fn a_request_that_three_members_failed_prefers_another_backend_of_a_lonely_tier() {
        let mut plan = plan(&[1.0, 1.0]);
        let both = Shares::new([(0, 9.0), (1, 1.0)]);
        let tier =
            Tier { shares: both.clone(), affinity_shares: both.clone(), ..plan.origins[0].tiers[0].clone() };
        (plan.origins[0].tiers, plan.origins[0].overfill) = (vec![tier], both);
        plan.backends[0].members = (0..9).collect();
        let tried = [(0, 1), (0, 2), (0, 3)];
        for room in [Room::IfFree, Room::Overfill] {
            let pick = |turn, key| {
                let ask = Ask { key, ..ask(turn, &tried) };
                choose(&plan, ask, |_, asked| (asked == room).then_some(turn)).unwrap()
            };
            for turn in 0..50 {
                assert_eq!((pick(turn, None).backend, pick(turn, Some(turn)).backend), (1, 1), "{room:?}");
            }
        }
        let alone = choose(&plan, ask(0, &tried), |backend, _| (backend == 0).then_some(0)).unwrap();
        assert_eq!((alone.backend, alone.member), (0, 0), "the other one is full");
    }

    #[test]
    fn a_full_backend_does_not_block_a_retry() {
        let plan = plan(&[1.0]);
        let pick = choose(&plan, ask(0, &[(0, 1)]), |_, room| (room == Room::Overfill).then_some(1)).unwrap();
        assert_eq!(pick, Pick { backend: 0, member: 0, reason: Reason::Overfilled });
    }

    #[test]
    fn g_2_14_a_tier_with_too_few_healthy_members_keeps_its_part() {
        let mut plan = plan(&[1.0, 1.0]);
        plan.origins[0].tiers[0].keep = u64::MAX / 4 * 3;
        let pick = |turn| choose(&plan, ask(turn, &[]), |_, _| Some(0)).unwrap();
        let gone = (0..10_000).map(pick).filter(|pick| pick.reason == Reason::Failover && pick.backend == 1);
        assert!(gone.count().abs_diff(2_500) <= 5);
        let alone = |turn| choose(&plan, ask(turn, &[]), |b, _| (b == 0).then_some(0)).unwrap();
        assert!((0..1000).map(alone).all(|pick| pick.backend == 0 && pick.reason == Reason::Nearest));
    }

    #[test]
    fn g_3_6_a_session_stays_at_its_member_above_the_limit_and_leaves_one_that_is_unusable() {
        let plan = plan(&[1.0, 1.0]);
        let to = |pinned| Ask { pinned: Some(pinned), ..ask(0, &[]) };
        let full = |_, room| (room == Room::Overfill).then_some(0);
        let stays = choose(&plan, to((1, 1)), full).unwrap();
        assert_eq!(stays, Pick { backend: 1, member: 1, reason: Reason::Session });
        let leaves = choose(&plan, to((1, 7)), |_, _| Some(0)).unwrap();
        assert_eq!((leaves.backend, leaves.reason), (0, Reason::Nearest));
    }

    #[test]
    fn g_3_6_with_overload_reject_a_full_service_keeps_sessions_and_refuses_what_has_none() {
        let plan = Plan { overload: Overload::Reject, ..plan(&[1.0, 1.0]) };
        let full = |_, room| (room == Room::Overfill).then_some(0);
        let to = |pinned| Ask { pinned: Some(pinned), ..ask(0, &[]) };
        assert_eq!(choose(&plan, to((1, 1)), full).unwrap().reason, Reason::Session);
        assert_eq!(choose(&plan, ask(0, &[]), full), Err(NoPick::Overloaded));
        // Its member is gone: nothing holds the session any more.
        assert_eq!(choose(&plan, to((1, 7)), full), Err(NoPick::Overloaded));
        let hashed = Ask { key: Some(5), ..ask(0, &[]) };
        assert_eq!(choose(&plan, hashed, full), Err(NoPick::Overloaded), "best effort [G 3.7]");
    }

    #[test]
    fn without_a_usable_member_there_is_no_pick() {
        assert_eq!(choose(&Plan::default(), ask(0, &[]), |_, _| Some(0)), Err(NoPick::NoHealthyMember));
    }
}
