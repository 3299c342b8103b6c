//! Plan + key + turn → member, with the reason; or why there is none.

use super::plan::Plan;
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
/// # Errors
/// [`NoPick`] when no member can be used.
pub fn choose(
    _plan: &Plan,
    _ask: Ask<'_>,
    _admit: impl FnMut(u32, Room) -> Option<u64>,
) -> Result<Pick, NoPick> {
    Err(NoPick::NoHealthyMember)
}
