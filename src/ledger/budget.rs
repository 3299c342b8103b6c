//! The retry budget of a service: what is sent again is never more than a share of what is asked for, so that members
//! that fail do not get more work for it. Exact over all workers; a request's retry gives its room back by being
//! dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::service::Service;

/// Retries that may be under way however few requests are: a request that comes alone may be tried again too.
pub const ALWAYS: u64 = 3;

/// Retries under way, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Budget(AtomicU64);

impl Budget {
    /// How many there are.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many retries may be under way among `live` requests: `percent` of them, at least [`ALWAYS`], and none at all
/// with 0 %.
#[must_use]
pub const fn allowed(live: u64, percent: u8) -> u64 {
    let share = live.saturating_mul(percent as u64) / 100;
    match percent {
        0 => 0,
        _ if share < ALWAYS => ALWAYS,
        _ => share,
    }
}

/// A request's retry under way. Dropping it gives its room back.
#[derive(Debug)]
pub struct Retry(Arc<Service>);

impl Retry {
    /// Room for one more, if `percent` of the service's live requests leave any.
    #[must_use]
    pub fn take(service: &Arc<Service>, percent: u8) -> Option<Self> {
        let most = allowed(service.live(), percent);
        let more = |held| (held < most).then(|| held + 1);
        service.budget.0.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Self(service.clone()))
    }
}

impl Drop for Retry {
    fn drop(&mut self) {
        self.0.budget.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ledger::cell::WorkerId;

    #[test]
    fn a_fifth_of_live_requests_and_a_few_when_there_are_few() {
        let of = |live| allowed(live, 20);
        assert_eq!([of(0), of(1), of(15), of(19), of(20), of(100)], [3, 3, 3, 3, 4, 20]);
        assert_eq!((allowed(100, 0), allowed(100, 100), allowed(u64::MAX, 100) > 1 << 50), (0, 100, true));
    }

    #[test]
    fn never_more_than_the_budget_from_any_number_of_threads_and_all_is_given_back() {
        let service = Arc::new(Service::new(4));
        (0..50).for_each(|_| service.begin(WorkerId(0)));
        let most = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (service, most) = (service.clone(), most.clone());
                std::thread::spawn(move || {
                    for _ in 0..2_000 {
                        let held: Vec<_> = (0..5).filter_map(|_| Retry::take(&service, 20)).collect();
                        most.fetch_max(service.budget.held(), Relaxed);
                        drop(held);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(service.budget.held(), 0);
        assert!((5..=10).contains(&most.load(Relaxed)), "{most:?}");
    }

    #[test]
    fn room_grows_and_shrinks_with_what_is_under_way() {
        let service = Arc::new(Service::new(2));
        let held: Vec<_> = (0..5).filter_map(|_| Retry::take(&service, 20)).collect();
        assert_eq!(held.len(), 3);
        (0..20).for_each(|n| service.begin(WorkerId(n % 2)));
        let fourth = Retry::take(&service, 20);
        assert!(fourth.is_some() && Retry::take(&service, 20).is_none());
        drop(held);
        (0..20).for_each(|_| service.end(WorkerId(1)));
        assert_eq!((service.live(), service.budget.held()), (0, 1));
    }
}
