//! How many client connections are open, in all and by address, and whether one more may come in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::complaints::Complaints;

/// Bits of an IPv6 address that count as one client: what a household or a host is given.
const IPV6_PREFIX: u32 = 64;

/// One per process. Written by whoever accepts, and by connections at their end.
#[derive(Debug, Default)]
pub struct Doors {
    open: AtomicU64,
    /// What the file descriptors suffice for; 0 = not known, and not limited.
    provided: AtomicU64,
    /// Only while there is a limit by address.
    by_address: Mutex<HashMap<IpAddr, u32>>,
    /// When it was last said that connections must wait.
    pub complaints: Complaints,
}

/// A client connection's place; dropping it makes room for another.
#[derive(Debug)]
pub struct Place {
    doors: Arc<Doors>,
    /// Where it is counted by address.
    address: Option<IpAddr>,
}

impl Doors {
    /// Says how many connections there may be where the configuration is silent.
    pub fn provide(&self, connections: u64) {
        self.provided.store(connections, Relaxed);
    }

    /// The limit in force, with `configured` or without; `u64::MAX` = none.
    #[must_use]
    pub fn most(&self, configured: Option<u32>) -> u64 {
        match (configured, self.provided.load(Relaxed)) {
            (Some(configured), _) => configured.into(),
            (None, 0) => u64::MAX,
            (None, provided) => provided,
        }
    }

    /// Idle connections to members that the file descriptors leave room for, beside a full house; `None` = not known.
    #[must_use]
    pub fn spare(&self) -> Option<u64> {
        match self.provided.load(Relaxed) {
            0 => None,
            provided => Some(provided / 4),
        }
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// A place for one more; `None` when there are `most`.
    #[must_use]
    pub fn enter(self: &Arc<Self>, most: u64) -> Option<Place> {
        if self.open.fetch_add(1, Relaxed) < most {
            return Some(Place { doors: self.clone(), address: None });
        }
        self.open.fetch_sub(1, Relaxed);
        None
    }

    /// A place above all limits, for connections that were accepted already when the process stops.
    #[must_use]
    pub fn enter_anyway(self: &Arc<Self>) -> Place {
        self.open.fetch_add(1, Relaxed);
        Place { doors: self.clone(), address: None }
    }
}

impl Place {
    /// Counts the connection for `client`; false when that one has `most` already.
    #[must_use]
    pub fn count_for(&mut self, client: IpAddr, most: u32) -> bool {
        let client = masked(client);
        let mut counts = self.doors.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        self.address = Some(client);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.doors.open.fetch_sub(1, Relaxed);
        let Some(address) = self.address else { return };
        let mut counts = self.doors.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

fn masked(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => {
            let mask = u128::MAX << (128 - IPV6_PREFIX);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_than_the_most_and_an_end_makes_room() {
        let doors = Arc::new(Doors::default());
        assert_eq!((doors.most(None), doors.spare()), (u64::MAX, None));
        doors.provide(8);
        assert_eq!((doors.most(None), doors.spare()), (8, Some(2)));
        doors.provide(2);
        assert_eq!((doors.most(None), doors.most(Some(7))), (2, 7));
        let places: Vec<_> = (0..3).map(|_| doors.enter(2)).collect();
        assert_eq!(places.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
        drop(places);
        assert!(doors.enter(2).is_some());
        assert_eq!(doors.open(), 0);
    }

    #[test]
    fn an_address_has_its_own_limit_and_64_bits_of_ipv6_are_one() {
        let doors = Arc::new(Doors::default());
        let mut held = Vec::new();
        let mut count = |client: &str| {
            let mut place = doors.enter(u64::MAX).unwrap();
            let counted = place.count_for(client.parse().unwrap(), 1);
            held.push(place);
            counted
        };
        assert!(
            count("192.0.2.1") && !count("192.0.2.1") && !count("::ffff:192.0.2.1") && count("192.0.2.2")
        );
        assert!(count("2001:db8::1") && !count("2001:db8::2") && count("2001:db8:0:1::1"));
        held.clear();
        assert!(doors.by_address.lock().unwrap().is_empty() && doors.open() == 0);
    }
}
