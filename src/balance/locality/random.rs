//! RANDOM: a hash of the turn is chance enough, and needs no state [G 2c].

use super::Choice;

/// A random member; with weights, in proportion to them.
#[inline]
pub(super) fn choose(choice: Choice<'_>) -> Option<u32> {
    choice.next_from(choice.usable.place_at(choice.chance(0))?)
}
