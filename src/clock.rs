//! The only file that asks for the time. A [`Tick`] comes from here; pure code takes it as an argument.

use std::sync::OnceLock;
use std::time::SystemTime;

use crate::model::unit::{Span, Tick};

/// Where the clock starts: differences to "before the start" stay positive, also for what the process that this one
/// replaces has seen.
const BEFORE: Span = Span::secs(3600);

static START: OnceLock<std::time::Instant> = OnceLock::new();

/// Nanoseconds since an hour before the first call in this process, never going backwards.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::disallowed_methods)]
pub fn now() -> Tick {
    Tick(START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64 + BEFORE.0)
}

/// Wall-clock time, for log lines and cookie dates.
#[must_use]
#[allow(clippy::disallowed_methods)]
pub fn wall() -> SystemTime {
    SystemTime::now()
}
