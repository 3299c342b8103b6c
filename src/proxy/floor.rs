//! How slowly a client may send a body (`minBodyRate`): whoever sends a byte now and then holds a member's connection,
//! and its worker, for as long as `timeoutSec` allows [G 5.6].
//!
//! What counts is the time that the client is waited for, and not that which the member takes. It may be [`GRACE`], and
//! for every `minBodyRate` bytes that have come, a second more. Once a member answers, the client may be waiting for it:
//! nothing counts any more.

use std::cell::Cell;
use std::rc::Rc;

use super::watch::{NEVER, Watched};
use crate::model::unit::{SECOND, Span, Tick};

/// How long a client may be waited for whatever it sends.
const GRACE: Span = Span::secs(20);

/// One body's account.
#[derive(Debug)]
pub(crate) struct Floor {
    watched: Rc<Watched>,
    /// Bytes per second, at least 1.
    rate: u32,
    /// How long the client was waited for, up to the last time.
    waited: Cell<Span>,
    /// Since when it is waited for again.
    since: Cell<Option<Tick>>,
    is_lifted: Cell<bool>,
}

impl Floor {
    /// Of a body that has just begun; `None` where there is no floor.
    pub(crate) fn new(watched: &Rc<Watched>, rate: u32) -> Option<Self> {
        (rate > 0).then(|| Self {
            watched: watched.clone(),
            rate,
            waited: Cell::new(Span::ZERO),
            since: Cell::new(None),
            is_lifted: Cell::new(false),
        })
    }

    /// More is asked for and not there; so many bytes have come before.
    pub(crate) fn waits(&self, bytes: u64, now: impl FnOnce() -> Tick) {
        if self.is_lifted.get() || self.since.get().is_some() {
            return;
        }
        let now = now();
        self.since.set(Some(now));
        self.watched.set_floor(now + (allowed(bytes, self.rate) - self.waited.get()));
    }

    /// Something has come, if it was the end.
    pub(crate) fn came(&self, now: impl FnOnce() -> Tick) {
        if let Some(since) = self.since.take() {
            self.waited.set(self.waited.get() + now().since(since));
            self.watched.set_floor(NEVER);
        }
    }

    /// Nothing counts any more.
    pub(crate) fn lift(&self) {
        self.is_lifted.set(true);
        self.since.set(None);
        self.watched.set_floor(NEVER);
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // The next request on the connection has an account of its own, or none.
        self.watched.set_floor(NEVER);
    }
}

/// How long a client may be waited for that has sent so much.
fn allowed(bytes: u64, rate: u32) -> Span {
    let earned = u128::from(bytes) * u128::from(SECOND) / u128::from(rate.max(1));
    GRACE + Span(u64::try_from(earned).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::proxy::watch::Watch;

    const SECOND: Span = Span::secs(1);

    fn watched() -> (Watch, Rc<Watched>) {
        let (watch, watched) = (Watch::default(), Rc::new(Watched::new(0)));
        watch.add(watched.clone());
        (watch, watched)
    }

    /// When a client runs out of time that sends `bytes` every `pause`; `None` = not within an hour.
    fn ends(rate: u32, bytes: u64, pause: Span) -> Option<u64> {
        let (watch, watched) = watched();
        let floor = Floor::new(&watched, rate).unwrap();
        let (mut now, mut sent) = (Tick(0), 0);
        while now < Tick(0) + Span::secs(3600) {
            floor.waits(sent, || now);
            let next = now + pause;
            while now < next {
                now = now + Span::millis(100);
                watch.pass(now);
                if watched.is_expired() {
                    assert!(watched.is_below_floor());
                    return Some(now.0 / SECOND.0);
                }
            }
            floor.came(|| now);
            sent += bytes;
        }
        None
    }

    #[test]
    fn g_5_6_a_byte_now_and_then_is_not_enough_and_the_rate_is() {
        assert_eq!(ends(500, 1, SECOND), Some(20), "20 s, and what 20 bytes earn");
        assert_eq!(ends(500, 500, SECOND), None);
        assert_eq!(ends(500, 250, SECOND), Some(39), "half as fast lasts twice as long");
        assert_eq!(ends(500, 5000, Span::secs(10)), None, "in heaps is as good");
        assert_eq!(ends(500, 10_000, Span::secs(21)), Some(20), "but for the first");
    }

    #[test]
    fn only_the_time_that_the_client_is_waited_for_counts() {
        let (watch, watched) = watched();
        let floor = Floor::new(&watched, 500).unwrap();
        floor.waits(0, || Tick(0));
        floor.waits(0, || Tick(0) + Span::secs(10));
        floor.came(|| Tick(0) + Span::secs(15));
        watch.pass(Tick(0) + Span::secs(500));
        assert!(!watched.is_expired(), "the member takes its time");
        let again = Tick(0) + Span::secs(500);
        floor.waits(0, || again);
        watch.pass(again + Span::secs(4));
        assert!(!watched.is_expired());
        watch.pass(again + Span::secs(5));
        assert!(watched.is_expired());
    }

    #[test]
    fn nothing_counts_once_there_is_an_answer_or_the_body_is_gone() {
        let (watch, watched) = watched();
        let floor = Floor::new(&watched, 500).unwrap();
        floor.waits(0, || Tick(0));
        floor.lift();
        floor.waits(0, || Tick(0));
        watch.pass(Tick(0) + Span::secs(100));
        assert!(!watched.is_expired());
        drop(floor);
        let floor = Floor::new(&watched, 500).unwrap();
        floor.waits(0, || Tick(0));
        drop(floor);
        watch.pass(Tick(0) + Span::secs(200));
        assert!(!watched.is_expired());
        assert!(Floor::new(&watched, 0).is_none());
    }
}
