//! Where a host name leads: addresses from the last lookup that brought any, and how the last one went.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::model::unit::{Span, Tick};

/// Written by the one task that looks the name up, read by workers that connect.
#[derive(Debug, Default)]
pub struct Resolution {
    addresses: ArcSwap<Vec<IpAddr>>,
    /// Connections begin at different addresses, one after the other.
    turn: AtomicUsize,
    last: Mutex<Lookup>,
}

/// How lookups went, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookup {
    /// When the addresses were found; `None` = never.
    pub at: Option<Tick>,
    /// How long they hold, from then on.
    pub ttl: Span,
    /// Lookups that brought addresses.
    pub succeeded: u64,
    /// Lookups that did not.
    pub failed: u64,
    /// Why the last one failed; `None` when it did not. The addresses are those of the one before.
    pub error: Option<String>,
}

impl Resolution {
    /// Takes in what was found: never empty.
    pub fn found(&self, addresses: Vec<IpAddr>, ttl: Span, now: Tick) {
        // The same again is no news, and whoever holds it goes on holding the same.
        if **self.addresses.load() != addresses {
            self.addresses.store(Arc::new(addresses));
        }
        self.note(|last| {
            *last = Lookup {
                at: Some(now),
                ttl,
                succeeded: last.succeeded + 1,
                failed: last.failed,
                error: None,
            };
        });
    }

    /// A lookup failed: the addresses stay.
    pub fn failed(&self, reason: String) {
        self.note(|last| {
            last.failed += 1;
            last.error = Some(reason);
        });
    }

    fn note(&self, change: impl FnOnce(&mut Lookup)) {
        change(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The addresses; empty before the first lookup that brought any.
    #[must_use]
    pub fn addresses(&self) -> Arc<Vec<IpAddr>> {
        self.addresses.load_full()
    }

    /// Whether the name has ever led anywhere.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.addresses.load().is_empty()
    }

    /// Whether the name leads there.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.load().contains(&address)
    }

    /// The addresses in the order in which the next connection tries them.
    #[must_use]
    pub fn in_turn(&self) -> Vec<IpAddr> {
        let addresses = self.addresses.load();
        let start = self.turn.fetch_add(1, Relaxed) % addresses.len().max(1);
        addresses.iter().cycle().skip(start).take(addresses.len()).copied().collect()
    }

    /// How lookups went.
    #[must_use]
    pub fn last(&self) -> Lookup {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn connections_begin_at_each_address_in_turn() {
        let resolution = Resolution::default();
        assert!(resolution.in_turn().is_empty());
        resolution.found(vec![ip(1), ip(2), ip(3)], Span::secs(30), Tick(1));
        let firsts: Vec<_> = (0..4).map(|_| resolution.in_turn()).collect();
        let begins_with = |first: u8| firsts.iter().filter(|order| order.first() == Some(&ip(first))).count();
        assert!((1..=3).all(|n| begins_with(n) >= 1), "{firsts:?}");
        assert!(firsts.iter().all(|order| order.len() == 3));
    }

    #[test]
    fn a_failed_lookup_keeps_the_last_good_addresses_and_says_why() {
        let resolution = Resolution::default();
        resolution.found(vec![ip(1)], Span::secs(30), Tick(1));
        resolution.failed("no such name".to_owned());
        assert_eq!((resolution.in_turn(), resolution.is_known()), (vec![ip(1)], true));
        let last = resolution.last();
        assert_eq!((last.at, last.failed, last.error.as_deref()), (Some(Tick(1)), 1, Some("no such name")));
        resolution.found(vec![ip(2)], Span::secs(5), Tick(9));
        assert_eq!((resolution.last().error, resolution.in_turn()), (None, vec![ip(2)]));
    }
}
