//! What lost members refuse of a flow goes on to others at once, as often as a single request would.

use super::requests::ATTEMPTS;
use crate::balance::pick::Reason;

/// Refused parts that are smaller than this part of the whole are followed as one.
const SMALL: f64 = 1.0 / 16.0;

/// A part of a flow that asks for members, for the first time or again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Again {
    /// Requests.
    pub(super) amount: f64,
    /// Why they were where they were refused last.
    pub(super) reason: Reason,
    backends: [u32; ATTEMPTS],
    count: usize,
}

impl Again {
    /// For the first time.
    pub(super) const fn first(amount: f64) -> Self {
        Self { amount, reason: Reason::Nearest, backends: [u32::MAX; ATTEMPTS], count: 0 }
    }

    /// Backends that have refused it, in order.
    pub(super) fn tried(&self) -> &[u32] {
        self.backends.get(..self.count).unwrap_or_default()
    }

    /// How often one backend has.
    pub(super) fn tried_at(&self, backend: u32) -> usize {
        self.tried().iter().filter(|one| **one == backend).count()
    }

    /// The part of it that a backend refuses now; `None` when that was the last attempt.
    pub(super) fn refused(&self, (backend, reason, amount): (u32, Reason, f64)) -> Option<Self> {
        let mut next = Self { amount, reason, count: self.count + 1, ..*self };
        *next.backends.get_mut(self.count)? = backend;
        (next.count < ATTEMPTS).then_some(next)
    }
}

/// Adds a refused part to those that wait. `whole` is the flow that it came from, `from` the first one that waits of
/// those that were refused together with it.
pub(super) fn wait(waiting: &mut Vec<Again>, from: usize, part: Again, whole: f64) {
    let is_same = |other: &&mut Again| other.backends == part.backends && other.reason == part.reason;
    let mut others = waiting.iter_mut().skip(from);
    let is_small = |amount: f64| amount < whole * SMALL;
    let found = others.find(|other| is_same(other) || is_small(part.amount) && is_small(other.amount));
    match found {
        Some(other) => other.amount += part.amount,
        None => waiting.push(part),
    }
}
