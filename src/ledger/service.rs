//! A service's own counters, and the memory of where its sessions were served last.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::breaker::Breakers;
use super::budget::Budget;
use super::cell::{Cells, WorkerId};
use super::departed::Departed;
use super::member::Count;
use crate::model::detail::StatusDetail;

/// Live numbers of one service. Keyed by its name.
#[derive(Debug)]
pub struct Service {
    details: Cells<{ StatusDetail::ALL.len() }>,
    losses: Cells<{ Loss::ALL.len() }>,
    unplaced: Cells<6>,
    extra: Cells<7>,
    mirrored: Cells<{ Mirrored::ALL.len() }>,
    /// Requests that have come and that have ended.
    live: Cells<2>,
    /// Turn of the choice between backends, shared by all workers so that small loads stay smooth.
    pub turn: Turn,
    /// Members that it had.
    pub departed: Departed,
    /// What `circuitBreakers` limits.
    pub breakers: Breakers,
    /// Retries under way.
    pub budget: Budget,
    /// Empty until a world with an affinity comes.
    sessions: OnceLock<Box<[AtomicU64]>>,
}

/// A shared counter on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Turn(AtomicU64);

impl Turn {
    /// The next number.
    #[inline]
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }

    /// The number that would be next, for those who only ask.
    #[must_use]
    pub fn peek(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Why a session left its member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Loss {
    /// The member fails its health check, or was ejected as an outlier.
    Unhealthy,
    /// The member is not in the configuration any more.
    Gone,
    /// Its backend's capacityScaler is 0, or it was drained automatically.
    Drained,
    /// Its backend had no room.
    Full,
    /// It did not answer this request.
    Failed,
    /// Members or weights changed, or it went back to where it belongs.
    Rebalanced,
}

impl Loss {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Unhealthy, Self::Gone, Self::Drained, Self::Full, Self::Failed, Self::Rebalanced];

    /// The word in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unhealthy => "unhealthy",
            Self::Gone => "gone",
            Self::Drained => "drained",
            Self::Full => "full",
            Self::Failed => "failed",
            Self::Rebalanced => "rebalanced",
        }
    }
}

/// What became of a copy of a request to another service, which is this one [G 7c].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Mirrored {
    /// It was answered, whatever the answer said.
    Answered,
    /// It was not, or not in time; or the request's own body broke off.
    Failed,
    /// The request's body was too large to be kept.
    TooLarge,
    /// Too many copies were under way, or a circuit breaker was open.
    NoRoom,
    /// No member could take it.
    NoMember,
}

impl Mirrored {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Answered, Self::Failed, Self::TooLarge, Self::NoRoom, Self::NoMember];

    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::TooLarge => "too_large",
            Self::NoRoom => "no_room",
            Self::NoMember => "no_member",
        }
    }
}

/// Counters beside the outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Extra {
    /// Attempts repeated on another member [G 5.7].
    Retries,
    /// Attempts repeated because a kept connection had been closed by the member.
    Replays,
    /// Attempts that were not repeated for want of room in the retry budget.
    RetriesRefused,
    /// Affinity cookies given out.
    CookiesIssued,
    /// Affinity cookies that were not of our making.
    CookiesMalformed,
    /// Pages that it gave for errors, of its own or another service's.
    Pages,
    /// Pages that it was to give, and did not.
    PagesMissed,
}

impl Service {
    /// Slots of the session memory: 64 Ki, 512 KiB. Two sessions on one slot forget each other; only the count of
    /// losses suffers, never the routing.
    pub const SESSION_SLOTS: usize = 1 << 16;

    /// All zero.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            details: Cells::new(workers),
            losses: Cells::new(workers),
            unplaced: Cells::new(workers),
            extra: Cells::new(workers),
            mirrored: Cells::new(workers),
            live: Cells::new(workers),
            turn: Turn::default(),
            departed: Departed::default(),
            breakers: Breakers::new(workers),
            budget: Budget::default(),
            sessions: OnceLock::new(),
        }
    }

    /// From now on sessions are remembered: the service has an affinity. The memory stays when it has none any more.
    pub fn remember_sessions(&self) {
        self.sessions.get_or_init(|| (0..Self::SESSION_SLOTS).map(|_| AtomicU64::new(0)).collect());
    }

    /// A request has been routed here.
    #[inline]
    pub fn begin(&self, worker: WorkerId) {
        self.live.add(worker, 0, 1);
    }

    /// It has ended.
    #[inline]
    pub fn end(&self, worker: WorkerId) {
        self.live.add(worker, 1, 1);
    }

    /// Requests under way. One that begins and ends while this is summed up may be missed.
    #[must_use]
    pub fn live(&self) -> u64 {
        let ended = self.live.sum(1);
        self.live.sum(0).saturating_sub(ended)
    }

    /// Counts how a request ended.
    #[inline]
    pub fn count_detail(&self, worker: WorkerId, detail: StatusDetail) {
        self.details.add(worker, detail as usize, 1);
    }

    /// Requests that ended so.
    #[must_use]
    pub fn details(&self, detail: StatusDetail) -> u64 {
        self.details.sum(detail as usize)
    }

    /// Counts a request that ended without a member.
    pub fn count_unplaced(&self, worker: WorkerId, status: Option<u16>) {
        self.unplaced.add(worker, Count::class(status) as usize - Count::Class0 as usize, 1);
    }

    /// Requests that ended without a member, by class of status (0 to 5).
    #[must_use]
    pub fn unplaced(&self) -> [u64; 6] {
        self.unplaced.sums()
    }

    /// Counts a lost session.
    pub fn count_loss(&self, worker: WorkerId, loss: Loss) {
        self.losses.add(worker, loss as usize, 1);
    }

    /// Sessions lost for this reason.
    #[must_use]
    pub fn losses(&self, loss: Loss) -> u64 {
        self.losses.sum(loss as usize)
    }

    /// Counts a copy that this service was to get.
    pub fn count_mirrored(&self, worker: WorkerId, how: Mirrored) {
        self.mirrored.add(worker, how as usize, 1);
    }

    /// Copies that ended so.
    #[must_use]
    pub fn mirrored(&self, how: Mirrored) -> u64 {
        self.mirrored.sum(how as usize)
    }

    /// Counts something else.
    #[inline]
    pub fn count_extra(&self, worker: WorkerId, what: Extra) {
        self.extra.add(worker, what as usize, 1);
    }

    /// Its sum.
    #[must_use]
    pub fn extra(&self, what: Extra) -> u64 {
        self.extra.sum(what as usize)
    }

    /// Remembers that the session `key` is served by the member numbered `member` (from 1), and returns the member
    /// that served it last, if another one did.
    #[allow(clippy::cast_possible_truncation)]
    pub fn remember(&self, key: u64, member: u32) -> Option<u32> {
        // Odd multiplier: keys that were made by a hash already, and keys that were not, both spread.
        let mixed = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let sessions = self.sessions.get()?;
        let slot = sessions.get((mixed >> 48) as usize % sessions.len().max(1))?;
        let tag = mixed << 16 >> 32;
        let now = (tag << 32) | u64::from(member);
        let before = slot.load(Relaxed);
        if before == now {
            return None;
        }
        // Of two workers that see the same move, one wins the exchange and reports it.
        let won = slot.compare_exchange(before, now, Relaxed, Relaxed).is_ok();
        (won && before >> 32 == tag && before != 0).then_some(before as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_moves_is_reported_once() {
        let service = Service::new(1);
        service.remember_sessions();
        let answers: Vec<_> =
            [1, 1, 2, 2, 1].into_iter().map(|member| service.remember(77, member)).collect();
        assert_eq!(answers, [None, None, Some(1), None, Some(2)]);
    }

    #[test]
    fn without_affinity_nothing_is_remembered() {
        let service = Service::new(1);
        assert_eq!((service.remember(7, 1), service.remember(7, 2)), (None, None));
    }
}
