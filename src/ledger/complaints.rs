//! So that trouble which lasts is told now and then, and not each time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::model::unit::{Span, Tick};

/// From one complaint to the next.
pub const GAP: Span = Span::secs(10);

/// One for each kind of trouble, shared by all who may complain of it.
#[derive(Debug, Default)]
pub struct Complaints(AtomicU64);

impl Complaints {
    /// Whether it may be told now: of all who ask within [`GAP`], one is told yes.
    pub fn is_due(&self, now: Tick) -> bool {
        let last = self.0.load(Relaxed);
        let is_due = last == 0 || now.since(Tick(last)) >= GAP;
        is_due && self.0.compare_exchange(last, now.0.max(1), Relaxed, Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_complaint_in_ten_seconds_however_many_ask() {
        let (complaints, start) = (Complaints::default(), Tick(5));
        let told = |seconds: u64| complaints.is_due(start + Span::secs(seconds));
        assert_eq!(
            [0, 0, 3, 9, 10, 11, 19, 20].map(told),
            [true, false, false, false, true, false, false, true]
        );
    }
}
