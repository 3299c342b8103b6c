//! Consistent hashing by a lookup table (`MAGLEV`): one look per key, members' shares even to about 1 %, and a member
//! that leaves or comes moves little more than its own keys [G 3.8].
//!
//! As published at NSDI 2016: each member has an order of preference over all slots of the table, which depends on its
//! name and address alone; members take a slot each in turns until none is left. Built only when health or membership
//! changes, and only for services with affinity.

use super::hash;

/// The smallest table.
const LEAST: usize = 65_537;
/// Slots per member, at least: with so many, the slots that move for no good reason are about one in a hundred. Tables
/// grow by doubling, since a table of another size is another table: all sessions move.
const PER_MEMBER: usize = 100;

/// A table of members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maglev {
    /// Member index by slot.
    slots: Vec<u32>,
}

impl Maglev {
    /// A table of (member index, identity), see [`hash::member`]; its size is that for `capacity` members, which
    /// should be the number of all members, healthy or not, so that their health does not change it.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = (u32, u64)>, capacity: usize) -> Self {
        let size = size(capacity);
        let mut orders: Vec<_> =
            members.into_iter().map(|(index, identity)| Order::new(index, identity, size)).collect();
        let mut slots = vec![FREE; if orders.is_empty() { 0 } else { size }];
        let mut left = slots.len();
        while left > 0 {
            for order in &mut orders {
                // A prime size means that every order passes every slot.
                while slots.get(order.next).is_some_and(|slot| *slot != FREE) {
                    order.step(size);
                }
                if let Some(slot) = slots.get_mut(order.next) {
                    *slot = order.member;
                }
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        Self { slots }
    }

    /// The member of `key`, or the first that `may` serve from its slot on; `None` when none may.
    #[inline]
    pub fn find(&self, key: u64, may: impl Fn(u32) -> bool) -> Option<u32> {
        let start = hash::below(hash::mix(key, 0), self.slots.len());
        let (before, after) = self.slots.split_at_checked(start)?;
        after.iter().chain(before).copied().find(|member| may(*member))
    }
}

/// A slot that nobody has taken.
const FREE: u32 = u32::MAX;

/// A member's order of preference: every slot, `skip` apart.
struct Order {
    member: u32,
    next: usize,
    skip: usize,
}

impl Order {
    fn new(member: u32, identity: u64, size: usize) -> Self {
        let next = hash::below(hash::mix(identity, 1), size);
        Self { member, next, skip: 1 + hash::below(hash::mix(identity, 2), size.saturating_sub(1)) }
    }

    const fn step(&mut self, size: usize) {
        self.next += self.skip;
        if self.next >= size {
            self.next -= size;
        }
    }
}

/// Slots for so many members.
fn size(capacity: usize) -> usize {
    let wanted = capacity.saturating_mul(PER_MEMBER).div_ceil(LEAST).max(1);
    prime_from(LEAST.saturating_mul(wanted.next_power_of_two()))
}

/// The first prime from `least` on.
fn prime_from(least: usize) -> usize {
    let is_prime = |n: usize| {
        !n.is_multiple_of(2) && (3..).step_by(2).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
    };
    (least.max(3)..).find(|n| is_prime(*n)).unwrap_or(LEAST)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn table(members: impl IntoIterator<Item = u32>, capacity: usize) -> Maglev {
        Maglev::new(members.into_iter().map(|index| (index, hash::mix(u64::from(index), 77))), capacity)
    }

    fn owner(table: &Maglev, key: u64) -> u32 {
        table.find(key, |_| true).unwrap()
    }

    #[test]
    fn shares_are_even_to_two_percent() {
        let table = table(0..500, 500);
        let mut counts = [0_u32; 500];
        for slot in &table.slots {
            counts[*slot as usize] += 1;
        }
        assert!(counts.iter().all(|count| count.abs_diff(131) <= 2), "{counts:?}");
    }

    #[test]
    fn taking_one_of_n_away_moves_little_more_than_its_own_keys() {
        let (all, without) = (table(0..10, 10), table((0..10).filter(|i| *i != 3), 10));
        let (mut own, mut others) = (0, 0);
        for key in 0..20_000 {
            let (before, after) = (owner(&all, key), owner(&without, key));
            own += u32::from(before == 3);
            others += u32::from(before != after && before != 3);
        }
        assert!(own.abs_diff(2_000) < 200 && others < 400, "{own} {others}");
    }

    #[test]
    fn g_3_8_one_more_moves_little_more_than_its_own_keys_in_large_groups_too() {
        let (few, more) = (table(0..700, 700), table(0..701, 701));
        let moved = (0..20_000).filter(|key| owner(&few, *key) != owner(&more, *key)).count();
        assert!(moved < 500, "{moved}");
    }

    #[test]
    fn a_member_that_was_tried_is_skipped() {
        let five = table(0..5, 5);
        let first = owner(&five, 42);
        assert!(five.find(42, |member| member != first).is_some_and(|second| second != first));
        assert_eq!(five.find(42, |_| false), None);
        assert_eq!(table([], 5).find(42, |_| true), None);
    }

    #[test]
    fn sizes_are_prime_and_large_enough() {
        assert_eq!((prime_from(LEAST), prime_from(1_000_000)), (65_537, 1_000_003));
        assert_eq!([size(2), size(655), size(656), size(1310)], [65_537, 65_537, 131_101, 131_101]);
        assert!((1_000_000..1_100_000).contains(&size(10_000)));
    }
}
