//! ROUND_ROBIN, and WEIGHTED_ROUND_ROBIN by the plan's weights [G 2c, 1.45].

use super::super::hash::GOLDEN;
use super::Choice;

/// The member whose turn it is. With weights, turns stand at golden-ratio points of the circle of weights: spread more
/// evenly than chance, so that a heavy member's turns do not follow one another.
#[inline]
pub(super) fn choose(choice: Choice<'_>) -> Option<u32> {
    let place = match &choice.usable.weights {
        None => usize::try_from(choice.turn % (choice.usable.members.len() as u64).max(1)).ok()?,
        Some(_) => choice.usable.place_at(choice.turn.wrapping_mul(GOLDEN))?,
    };
    choice.next_from(place)
}
