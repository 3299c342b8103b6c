//! LEAST_REQUEST: of two random healthy members the one with fewer requests in flight [G 2c].

use super::super::hash;
use super::super::pick::Live;
use super::Choice;

/// The idler of two different members. With weights, each of the two is drawn in proportion to them.
#[inline]
pub(super) fn choose(choice: Choice<'_>, live: &impl Live) -> Option<u32> {
    let place = choice.usable.place_at(choice.chance(0))?;
    let second = match &choice.usable.weights {
        Some(_) => choice.usable.place_at(choice.chance(1))?,
        None => {
            let count = choice.usable.members.len();
            (place + 1 + hash::below(choice.chance(1), count.saturating_sub(1))) % count.max(1)
        }
    };
    let (one, other) = (choice.next_from(place)?, choice.next_from(second)?);
    let in_flight = |member| live.in_flight(choice.backend, member);
    Some(if one != other && in_flight(other) < in_flight(one) { other } else { one })
}
