//! The only file that asks for the time. A [`Tick`] comes from here; pure code takes it as an argument.

use std::sync::OnceLock;
use std::time::SystemTime;

use nix::time::{ClockId, clock_gettime};

use crate::model::unit::{SECOND, Span, Tick};

/// Where the clock starts: differences to "before the start" stay positive, also for what the process that this one
/// replaces has seen.
const BEFORE: Span = Span::secs(3600);

/// Nanoseconds of the system's clock at the first call.
static START: OnceLock<u64> = OnceLock::new();

/// Nanoseconds since an hour before the first call in this process, never going backwards.
#[must_use]
pub fn now() -> Tick {
    let now = monotonic();
    Tick((now + BEFORE.0).saturating_sub(*START.get_or_init(|| now)))
}

/// Nanoseconds, from wherever the system begins to count. Not by `Instant`, whose arithmetic takes longer than reading
/// the clock does, and this is read several times for each request.
fn monotonic() -> u64 {
    // Every system that this runs on has that clock; one without it would stand still.
    let (seconds, nanos) =
        clock_gettime(ClockId::CLOCK_MONOTONIC).map_or((0, 0), |t| (t.tv_sec(), t.tv_nsec()));
    seconds.unsigned_abs().wrapping_mul(SECOND).wrapping_add(nanos.unsigned_abs())
}

/// Wall-clock time, for log lines and cookie dates.
#[must_use]
#[allow(clippy::disallowed_methods)]
pub fn wall() -> SystemTime {
    SystemTime::now()
}
