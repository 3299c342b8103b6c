//! PREQUAL: the pool of probe results of one worker and one backend, and the hot/cold rule, as published at NSDI 2024
//! ("Load is not what you should balance").
//!
//! With each request [`PROBES`] random members are probed. What they say (requests in flight, recent latency) stays in
//! a pool of at most [`SIZE`] until it is a second old or used up. A member with more in flight than most is *hot*.
//! The request goes to the cold member of the pool with the lowest latency; if all are hot, to the one with the fewest
//! in flight. Each choice counts at once in the pool (as one more in flight), and takes one entry out of it: the oldest
//! and the worst in turns.
//!
//! **Ours**: a probe is no request to the member, which a plain HTTP server could not answer in time, but a look at
//! this proxy's own ledger: what all workers have in flight there, and how long its answers took lately. Other proxies'
//! requests show in the latency only.

use std::sync::Arc;

use super::hash;
use super::plan::Usable;
use crate::model::unit::{Span, Tick};

/// Probes per request.
pub const PROBES: u64 = 3;
/// Results that a pool holds.
pub const SIZE: usize = 16;
/// A member is hot when it has more in flight than this part of the recent probe results, in percent.
const HOT_PERCENT: usize = 84;
/// Results whose requests in flight say what is hot.
const RECENT: usize = 64;
/// How old a result may be.
const MAX_AGE: Span = Span::secs(1);

/// What a member says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Requests in flight, over all workers.
    pub in_flight: u32,
    /// How long its answers took lately; zero = not known.
    pub latency: Span,
}

/// What one choice needs.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// The members to choose from.
    pub members: &'a Usable,
    /// Index of their backend.
    pub backend: u32,
    /// A random number that no other choice has.
    pub chance: u64,
    /// (backend, member) pairs that failed this request already.
    pub tried: &'a [(u32, u32)],
}

/// Probe results. Costs nothing until it is first used.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    /// The list of members that the entries are of.
    of: Option<Arc<[u32]>>,
    /// In no order: nothing is moved to keep one.
    entries: Vec<Entry>,
    /// No entry is older: until this is too old, none is looked for that is.
    since: Tick,
    recent: Recent,
    /// Choices that one result of these members is good for.
    uses: f64,
    takes_oldest: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: Tick,
    latency: Span,
    place: u32,
    member: u32,
    in_flight: u32,
    /// Choices that it is still good for.
    uses: u32,
}

/// A member just probed: its place, itself, what it says.
type Fresh = (u32, u32, Probe);

impl Pool {
    /// Probes, and chooses; `None` when none of the pool may be chosen.
    pub fn choose(&mut self, draw: &Draw<'_>, now: Tick, probe: impl Fn(u32) -> Probe) -> Option<u32> {
        self.follow(&draw.members.members);
        self.forget(now);
        let fresh = probe_some(draw, probe);
        for (n, fresh) in (PROBES..).zip(fresh.into_iter().flatten()) {
            self.take_in(fresh, now, hash::mix(draw.chance, n));
        }
        let hot = self.recent.quantile();
        let mut passed = [u32::MAX; PASSES];
        for n in 0..=PASSES {
            let chosen = self.best(draw, hot, passed.get(..n).unwrap_or_default())?;
            let (place, member) = self.spend(chosen)?;
            let weight = draw.members.weight(place as usize);
            let chance = || hash::part(hash::mix(draw.chance, n as u64 ^ PASS));
            match passed.get_mut(n) {
                // It was its turn, and it is too light for it: that turn is another's.
                Some(slot) if weight < 1.0 && chance() >= weight => *slot = member,
                _ => {
                    self.remove_one(hot);
                    return Some(member);
                }
            }
        }
        None
    }

    /// A choice counts at once. The place of the member, and the member.
    fn spend(&mut self, index: usize) -> Option<(u32, u32)> {
        let entry = self.entries.get_mut(index)?;
        let spent = (entry.place, entry.member);
        entry.in_flight = entry.in_flight.saturating_add(1);
        entry.uses = entry.uses.saturating_sub(1);
        if entry.uses == 0 {
            self.entries.swap_remove(index);
        }
        Some(spent)
    }

    /// Starts anew when other members are usable.
    fn follow(&mut self, members: &Arc<[u32]>) {
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, members)) {
            *self = Self {
                of: Some(members.clone()),
                entries: std::mem::take(&mut self.entries),
                uses: uses(members.len()),
                ..Self::default()
            };
            self.entries.clear();
            self.entries.reserve(SIZE);
        }
    }

    /// What is too old goes.
    fn forget(&mut self, now: Tick) {
        if now.since(self.since) > MAX_AGE {
            self.entries.retain(|entry| now.since(entry.at) <= MAX_AGE);
            self.since = self.entries.iter().map(|entry| entry.at).min().unwrap_or(now);
        }
    }

    /// Instead of what the same member said before, or of the oldest entry when there is no room.
    fn take_in(&mut self, (place, member, probe): Fresh, now: Tick, chance: u64) {
        let Probe { in_flight, latency } = probe;
        self.recent.add(in_flight);
        let entry = Entry { at: now, latency, place, member, in_flight, uses: budget(self.uses, chance) };
        let before = self.entries.iter().position(|old| old.place == place);
        let slot = before.or_else(|| if self.entries.len() < SIZE { None } else { self.oldest() });
        match slot.and_then(|slot| self.entries.get_mut(slot)) {
            Some(slot) => *slot = entry,
            None => self.entries.push(entry),
        }
    }

    fn oldest(&self) -> Option<usize> {
        foremost(&self.entries, |entry| entry.at.0, |one, before| one < before)
    }

    /// Index of the entry to use.
    fn best(&self, draw: &Draw<'_>, hot: u32, passed: &[u32]) -> Option<usize> {
        // Cold before hot; of cold ones by latency, then by requests in flight; of hot ones the other way round.
        let rank = |entry: &Entry| {
            let in_flight = u64::from(entry.in_flight);
            let micros = (entry.latency.0 / 1_000).min(u64::from(u32::MAX >> 1));
            let cold = coarse(entry.latency) << u32::BITS | in_flight;
            if entry.in_flight > hot { HOT | in_flight << (u32::BITS - 1) | micros } else { cold }
        };
        if passed.is_empty() && draw.tried.is_empty() {
            return foremost(&self.entries, rank, |one, before| one < before);
        }
        let may = |entry: &Entry| {
            !passed.contains(&entry.member) && !draw.tried.contains(&(draw.backend, entry.member))
        };
        let candidates = self.entries.iter().enumerate().filter(|(_, entry)| may(entry));
        candidates.min_by_key(|(_, entry)| rank(entry)).map(|(index, _)| index)
    }

    /// The oldest and the worst in turns: what is bad would otherwise stay, since nothing chooses it.
    fn remove_one(&mut self, hot: u32) {
        self.takes_oldest = !self.takes_oldest;
        let badness = |entry: &Entry| {
            if entry.in_flight > hot { HOT | u64::from(entry.in_flight) } else { entry.latency.0 }
        };
        let worst = || foremost(&self.entries, badness, |one, before| one >= before);
        let index = if self.takes_oldest { self.oldest() } else { worst() };
        if let Some(index) = index {
            self.entries.swap_remove(index);
        }
    }
}

/// Above every latency and number of requests that there is.
const HOT: u64 = 1 << 63;

/// Looks at a few members, each another one where there are as many. All are looked at before anything is done with
/// it: what they say is far away in memory, and comes for all of them in the time that it takes for one.
#[inline]
fn probe_some(draw: &Draw<'_>, probe: impl Fn(u32) -> Probe) -> [Option<Fresh>; PROBES as usize] {
    let members = &draw.members.members;
    let count = members.len();
    let mut drawn = [usize::MAX; PROBES as usize];
    for n in 0..drawn.len().min(count) {
        // Whatever its weight, which counts when a choice is made.
        let mut place = hash::below(hash::mix(draw.chance, n as u64), count);
        while drawn.contains(&place) {
            place = if place + 1 == count { 0 } else { place + 1 };
        }
        if let Some(slot) = drawn.get_mut(n) {
            *slot = place;
        }
    }
    drawn.map(|place| {
        let member = *members.get(place)?;
        Some((u32::try_from(place).ok()?, member, probe(member)))
    })
}

/// Index of the entry whose rank is `ahead` of those before it. Without a branch for each entry: which one it is
/// cannot be foreseen.
#[inline]
fn foremost(
    entries: &[Entry],
    rank: impl Fn(&Entry) -> u64,
    ahead: impl Fn(u64, u64) -> bool,
) -> Option<usize> {
    let mut first = (rank(entries.first()?), 0);
    for (index, entry) in entries.iter().enumerate().skip(1) {
        let rank = rank(entry);
        first = if ahead(rank, first.0) { (rank, index) } else { first };
    }
    Some(first.1)
}

/// Latency in steps of an eighth to a quarter. What differs by less is alike (**ours**): a few microseconds must not
/// decide who gets all requests of a quiet service.
const fn coarse(latency: Span) -> u64 {
    let octave = 64 - latency.0.leading_zeros() as u64;
    if octave <= 3 { latency.0 } else { octave << 2 | (latency.0 >> (octave - 3) & 3) }
}

/// Any number; sets the draw of who passes a turn on apart from the others.
const PASS: u64 = 0x7061_7373;
/// Light members in a row that may pass a turn on.
const PASSES: usize = 3;

/// Choices that one result is good for: as many as keep the pool from running dry, max(1, 2 ÷ ((1 − m/n) · probes −
/// removals)). Where members are fewer than two pools, half of them count as being in it.
#[allow(clippy::cast_precision_loss)]
fn uses(members: usize) -> f64 {
    let in_pool = (SIZE as f64 / members.max(1) as f64).min(0.5);
    (2.0 / ((1.0 - in_pool) * PROBES as f64 - 1.0)).max(1.0)
}

/// `uses`, rounded by chance.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn budget(uses: f64, chance: u64) -> u32 {
    let whole = uses as u32;
    whole + u32::from(hash::part(chance) < uses - f64::from(whole))
}

/// The last results' requests in flight, and what is more than most of them.
#[derive(Debug, Clone)]
struct Recent {
    ring: [u32; RECENT],
    len: usize,
    next: usize,
    /// One of the values, and how many are below it, and not above it: counted as values come and go, so that it is
    /// looked for only when it has become another.
    quantile: u32,
    below: usize,
    up_to: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self { ring: [0; RECENT], len: 0, next: 0, quantile: 0, below: 0, up_to: 0 }
    }
}

impl Recent {
    fn add(&mut self, value: u32) {
        let Some(slot) = self.ring.get_mut(self.next) else { return };
        let old = std::mem::replace(slot, value);
        self.next = (self.next + 1) % RECENT;
        if self.len == RECENT {
            self.below -= usize::from(old < self.quantile);
            self.up_to -= usize::from(old <= self.quantile);
        } else {
            self.len += 1;
        }
        self.below += usize::from(value < self.quantile);
        self.up_to += usize::from(value <= self.quantile);
    }

    /// What is above this is hot.
    fn quantile(&mut self) -> u32 {
        let Some(last) = self.len.checked_sub(1) else { return u32::MAX };
        let index = last * HOT_PERCENT / 100;
        let values = self.ring.get(..self.len).unwrap_or_default();
        while self.up_to <= index || self.below > index {
            let now = self.quantile;
            let next = if self.up_to <= index {
                values.iter().filter(|value| **value > now).min()
            } else {
                values.iter().filter(|value| **value < now).max()
            };
            let Some(next) = next else { break };
            self.quantile = *next;
            self.below = values.iter().filter(|value| **value < self.quantile).count();
            self.up_to = values.iter().filter(|value| **value <= self.quantile).count();
        }
        self.quantile
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
mod tests {
    use super::*;
    use crate::balance::plan::Shares;

    fn usable(members: u32) -> Usable {
        Usable { members: (0..members).collect(), ..Usable::default() }
    }

    /// Choices among members that say this, a millisecond apart: no result is old.
    fn counts(usable: &Usable, turns: u64, says: impl Fn(u32) -> Probe) -> Vec<u32> {
        let mut pool = Pool::default();
        let mut counts = vec![0; usable.members.len()];
        for turn in 0..turns {
            let draw = Draw { members: usable, backend: 0, chance: hash::mix(turn, 77), tried: &[] };
            counts[pool.choose(&draw, Tick(turn * 1_000_000), &says).unwrap() as usize] += 1;
            assert!(pool.entries.len() <= SIZE);
        }
        counts
    }

    fn probe(in_flight: u32, latency: u64) -> Probe {
        Probe { in_flight, latency: Span::millis(latency) }
    }

    #[test]
    fn of_cold_members_the_fastest_and_never_a_hot_one() {
        // Member 0 is fast and hot, 1 slow, the rest alike.
        let says = |member: u32| match member {
            0 => probe(50, 1),
            1 => probe(1, 500),
            _ => probe(1, 10),
        };
        let counts = counts(&usable(20), 10_000, says);
        assert_eq!((counts[0], counts[1]), (0, 0), "{counts:?}");
    }

    #[test]
    fn if_all_in_the_pool_are_hot_the_one_with_fewest_in_flight() {
        let mut pool = Pool::default();
        for _ in 0..RECENT {
            pool.recent.add(0);
        }
        let all = usable(3);
        pool.of = Some(all.members.clone());
        let draw = Draw { members: &all, backend: 0, chance: 1, tried: &[] };
        let says = |member: u32| probe(10 - member, u64::from(member));
        assert_eq!(pool.choose(&draw, Tick(1), says), Some(2));
    }

    #[test]
    fn alike_members_get_alike() {
        for members in [2_u32, 8, 100, 500] {
            let turns = u64::from(members) * 500;
            let counts = counts(&usable(members), turns, |_| probe(0, 0));
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(*least > 380 && *most < 640, "{members}: {least} {most}");
        }
    }

    #[test]
    fn a_choice_counts_at_once() {
        let all = usable(40);
        let mut pool = Pool::default();
        let mut last = Vec::new();
        for turn in 0..200 {
            let draw = Draw { members: &all, backend: 0, chance: hash::mix(turn, 5), tried: &[] };
            last.push(pool.choose(&draw, Tick(1), |_| probe(0, 10)).unwrap());
        }
        let repeats = last.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(repeats < 20, "{repeats}");
    }

    #[test]
    fn what_was_tried_is_not_chosen_and_old_results_are_not_used() {
        let all = usable(2);
        let mut pool = Pool::default();
        let draw = |tried| Draw { members: &all, backend: 3, chance: 1, tried };
        assert_eq!(pool.choose(&draw(&[(3, 0)]), Tick(1), |_| probe(0, 1)), Some(1));
        assert_eq!(pool.choose(&draw(&[(3, 0), (3, 1)]), Tick(1), |_| probe(0, 1)), None);
        let many = usable(500);
        let draw = Draw { members: &many, backend: 0, chance: 9, tried: &[] };
        for turn in 0..10 {
            pool.choose(&Draw { chance: turn, ..draw }, Tick(1), |_| probe(0, 1));
        }
        assert!(pool.entries.len() > PROBES as usize);
        pool.choose(&draw, Tick(1) + Span::secs(2), |_| probe(0, 1));
        assert!(pool.entries.len() <= PROBES as usize);
    }

    #[test]
    fn other_members_start_another_pool() {
        let mut pool = Pool::default();
        let (before, after) = (usable(500), Usable { members: (10..20).collect(), ..Usable::default() });
        for turn in 0..50 {
            let draw = |members| Draw { members, backend: 0, chance: hash::mix(turn, 2), tried: &[] };
            let of = if turn < 25 { &before } else { &after };
            let member = pool.choose(&draw(of), Tick(1), |_| probe(0, 1)).unwrap();
            assert!(turn < 25 || (10..20).contains(&member));
        }
    }

    #[test]
    fn a_light_member_gets_its_part() {
        for members in [8_u32, 100] {
            let weights = (0..members).map(|place| (place, if place == 3 { 0.25 } else { 1.0 }));
            let light = Usable { weights: Some(Arc::new(Shares::new(weights))), ..usable(members) };
            let counts = counts(&light, u64::from(members) * 5_000, |_| probe(0, 0));
            let share = f64::from(counts[3]) / 5_000.0;
            assert!((0.18..0.35).contains(&share), "{members}: {share}");
        }
    }

    #[test]
    fn the_quantile_is_that_of_the_last_results() {
        let mut recent = Recent::default();
        assert_eq!(recent.quantile(), u32::MAX);
        let (mut all, spread) = (Vec::new(), [7, 1000, 3, 1]);
        for n in 0..4_000_u32 {
            let value = hash::below(hash::mix(n.into(), 3), spread[n as usize / 1000]) as u32 * 5;
            recent.add(value);
            all.push(value);
            let mut last = all[all.len().saturating_sub(RECENT)..].to_vec();
            last.sort_unstable();
            // Also where it is not asked for after each.
            if n % 3 != 1 {
                assert_eq!(recent.quantile(), last[(last.len() - 1) * HOT_PERCENT / 100], "{n}");
            }
        }
    }

    #[test]
    fn latencies_within_an_eighth_are_mostly_alike_and_order_stays() {
        let steps: Vec<_> = (0..10_000).map(|n| coarse(Span(n))).collect();
        assert!(steps.is_sorted());
        assert_eq!((coarse(Span(1024)), coarse(Span(1279))), (coarse(Span(1100)), coarse(Span(1025))));
        assert!(coarse(Span(1280)) > coarse(Span(1279)) && coarse(Span(u64::MAX)) > coarse(Span(1 << 62)));
    }

    #[test]
    fn a_result_is_used_as_often_as_keeps_the_pool_alive() {
        assert_eq!(budget(uses(8), 0), 4);
        let mean = (0..10_000).map(|n| f64::from(budget(uses(500), hash::mix(n, 1)))).sum::<f64>() / 10_000.0;
        assert!((mean - 2.0 / 1.904).abs() < 0.01, "{mean}");
    }
}
