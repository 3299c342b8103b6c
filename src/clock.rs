//! The only file that asks for the time. A [`Tick`] comes from here; pure code takes it as an argument.

use std::sync::OnceLock;
use std::time::SystemTime;

use crate::model::unit::Tick;

static START: OnceLock<std::time::Instant> = OnceLock::new();

/// Nanoseconds since the first call in this process, never going backwards.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::disallowed_methods)]
pub fn now() -> Tick {
    // Half a second in: differences to "before the start" stay positive.
    Tick(START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64 + 500_000_000)
}

/// Wall-clock time, for log lines and cookie dates.
#[must_use]
#[allow(clippy::disallowed_methods)]
pub fn wall() -> SystemTime {
    SystemTime::now()
}
