//! Circuit breakers of a service: how many connections, waiting requests, requests and retries there are, exact over
//! all workers. Touched only for services that set the limit in question [G 2e].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::cell::{Cells, WorkerId};
use super::service::Service;

/// A limit of `circuitBreakers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Limit {
    /// `maxConnections`.
    Connections,
    /// `maxPendingRequests`.
    PendingRequests,
    /// `maxRequests`.
    Requests,
    /// `maxRetries`.
    Retries,
}

impl Limit {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Connections, Self::PendingRequests, Self::Requests, Self::Retries];

    /// As Google writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "maxConnections",
            Self::PendingRequests => "maxPendingRequests",
            Self::Requests => "maxRequests",
            Self::Retries => "maxRetries",
        }
    }
}

/// The counters.
#[derive(Debug)]
#[repr(align(128))]
pub struct Breakers {
    held: [AtomicU64; Limit::ALL.len()],
    trips: Cells<{ Limit::ALL.len() }>,
}

/// Room under a limit. Dropping it gives the room back.
#[derive(Debug)]
pub struct Permit {
    service: Arc<Service>,
    limit: Limit,
}

impl Breakers {
    pub(super) fn new(workers: usize) -> Self {
        Self { held: std::array::from_fn(|_| AtomicU64::new(0)), trips: Cells::new(workers) }
    }

    fn cell(&self, limit: Limit) -> &AtomicU64 {
        let [connections, pending, requests, retries] = &self.held;
        match limit {
            Limit::Connections => connections,
            Limit::PendingRequests => pending,
            Limit::Requests => requests,
            Limit::Retries => retries,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn held(&self, limit: Limit) -> u64 {
        self.cell(limit).load(Relaxed)
    }

    /// Counts that this limit stood in a request's way.
    pub fn count_trip(&self, worker: WorkerId, limit: Limit) {
        self.trips.add(worker, limit as usize, 1);
    }

    /// How often it did.
    #[must_use]
    pub fn trips(&self, limit: Limit) -> u64 {
        self.trips.sum(limit as usize)
    }
}

impl Permit {
    /// Room for one more, if there are fewer than `most`.
    #[must_use]
    pub fn take(service: &Arc<Service>, limit: Limit, most: u32) -> Option<Self> {
        let more = |held| (held < u64::from(most)).then(|| held + 1);
        service.breakers.cell(limit).fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Self { service: service.clone(), limit })
    }

    /// The service whose limit it is.
    #[must_use]
    pub const fn service(&self) -> &Arc<Service> {
        &self.service
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.service.breakers.cell(self.limit).fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_limit_from_any_number_of_threads() {
        let service = Arc::new(Service::new(4));
        let most = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (service, most) = (service.clone(), most.clone());
                std::thread::spawn(move || {
                    for _ in 0..10_000 {
                        let permit = Permit::take(&service, Limit::Requests, 3);
                        most.fetch_max(service.breakers.held(Limit::Requests), Relaxed);
                        drop(permit);
                    }
                })
            })
            .collect();
        assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
        assert_eq!(
            (service.breakers.held(Limit::Requests), most.load(Relaxed).min(4)),
            (0, most.load(Relaxed))
        );
        assert!(most.load(Relaxed) <= 3);
    }

    #[test]
    fn limits_know_nothing_of_one_another() {
        let service = Arc::new(Service::new(1));
        let one = Permit::take(&service, Limit::Retries, 1);
        assert!(one.is_some() && Permit::take(&service, Limit::Retries, 1).is_none());
        assert!(Permit::take(&service, Limit::Connections, 1).is_some());
        assert!(Permit::take(&service, Limit::Connections, 0).is_none());
    }
}
