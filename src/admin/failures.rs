//! Log-ins that failed: who shows unknown tokens is told in the log and, when it goes on, no longer answered in detail.
//!
//! A known token is let in whatever came before it from its address: many may share one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::model::unit::{Span, Tick};

/// Unknown tokens of one address within [`WINDOW`] that get a 401; further ones get a 429.
pub(super) const FAILURES: u32 = 20;
/// From the first of them on.
const WINDOW: Span = Span::secs(60);
/// Addresses that are counted each by itself; more of them count as one.
const ADDRESSES: usize = 1000;
/// At most one line of the log in this time, for all that came meanwhile.
const LINE_GAP: Duration = Duration::from_secs(1);
/// Addresses that one line names; the others are a number.
const NAMED: usize = 5;

/// The failures of one server; shared by all its connections.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// `None`: of all that found no place.
    windows: BTreeMap<Option<IpAddr>, Window>,
    /// What no line has told yet.
    untold: BTreeMap<Option<IpAddr>, u64>,
    /// Whether somebody is there to tell it.
    is_told: bool,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    start: Tick,
    count: u32,
}

impl Failures {
    /// Counts a failure and has it told. Seconds until the address is answered in detail again; `None` = now.
    pub(super) fn note(self: &Arc<Self>, from: IpAddr, now: Tick) -> Option<u64> {
        let (wait, must_tell) = self.with(|counts| {
            let wait = counts.note(from, now);
            (wait, !std::mem::replace(&mut counts.is_told, true))
        });
        if must_tell {
            tokio::spawn(self.clone().tell());
        }
        wait
    }

    /// Until there is nothing more to tell.
    async fn tell(self: Arc<Self>) {
        while let Some((failures, addresses)) = self.with(Counts::line) {
            tracing::warn!(
                target: "overspill::audit", failures, addresses, "unknown tokens were shown to the admin API"
            );
            tokio::time::sleep(LINE_GAP).await;
        }
    }

    fn with<T>(&self, with: impl FnOnce(&mut Counts) -> T) -> T {
        with(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Counts {
    fn note(&mut self, from: IpAddr, now: Tick) -> Option<u64> {
        let mut key = Some(network(from));
        if !self.windows.contains_key(&key) && self.windows.len() >= ADDRESSES {
            self.windows.retain(|_, window| now.since(window.start) < WINDOW);
            if self.windows.len() >= ADDRESSES {
                key = None;
            }
        }
        *self.untold.entry(key).or_default() += 1;
        let window = self.windows.entry(key).or_insert(Window { start: now, count: 0 });
        if now.since(window.start) >= WINDOW {
            *window = Window { start: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        let left = WINDOW.0.saturating_sub(now.since(window.start).0);
        (window.count > FAILURES).then(|| left.div_ceil(1_000_000_000).max(1))
    }

    /// What is untold: how many, and from where. `None`: nothing, and whoever tells goes.
    fn line(&mut self) -> Option<(u64, String)> {
        let untold = std::mem::take(&mut self.untold);
        if untold.is_empty() {
            self.is_told = false;
            return None;
        }
        let total = untold.values().sum();
        let mut most: Vec<_> = untold.into_iter().collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let named = most.iter().filter_map(|(address, count)| Some(((*address)?, count))).take(NAMED);
        let mut words: Vec<String> = named
            .map(|(address, count)| match address {
                IpAddr::V6(address) => format!("{address}/64 ({count})"),
                IpAddr::V4(address) => format!("{address} ({count})"),
            })
            .collect();
        let others = most.len() - words.len();
        if others > 0 {
            words.push(format!("{others} more"));
        }
        Some((total, words.join(", ")))
    }
}

/// What one client has of addresses: of IPv6 a /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick(5_000_000_000) + Span::secs(seconds)
    }

    fn v4(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn after_so_many_in_a_minute_an_address_waits_for_its_end_and_others_do_not() {
        let mut counts = Counts::default();
        for second in 0..u64::from(FAILURES) {
            assert_eq!(counts.note(v4(1), at(second)), None, "{second}");
        }
        assert_eq!(counts.note(v4(1), at(20)), Some(40));
        assert_eq!(counts.note(v4(2), at(20)), None);
        assert_eq!(counts.note(v4(1), at(59)), Some(1));
        assert_eq!(counts.note(v4(1), at(60)), None, "a new minute");
    }

    #[test]
    fn a_network_of_one_client_is_one_address() {
        let mut counts = Counts::default();
        let waits: Vec<_> = (0..=FAILURES)
            .map(|n| counts.note(format!("2001:db8:1:2::{n:x}").parse().unwrap(), at(0)).is_some())
            .collect();
        assert_eq!((waits.iter().filter(|waits| **waits).count(), waits.last()), (1, Some(&true)));
        assert_eq!(counts.note("2001:db8:1:3::1".parse().unwrap(), at(0)), None);
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(counts.line().unwrap(), (22, "2001:db8:1:2::/64 (21), 2001:db8:1:3::/64 (1)".to_owned()));
    }

    #[test]
    fn many_addresses_have_a_limit_and_old_ones_make_room() {
        let mut counts = Counts::default();
        for number in 0..5000 {
            counts.note(v4(number), at(0));
        }
        assert_eq!(counts.windows.len(), ADDRESSES + 1);
        let (failures, addresses) = counts.line().unwrap();
        assert_eq!(failures, 5000);
        assert_eq!(addresses, "0.0.0.0 (1), 0.0.0.1 (1), 0.0.0.2 (1), 0.0.0.3 (1), 0.0.0.4 (1), 996 more");
        // Those without a place of their own have gone too far together.
        assert!(counts.note(v4(9000), at(1)).is_some());
        assert_eq!(counts.note(v4(9000), at(61)), None);
        assert_eq!(counts.windows.len(), 1);
    }

    #[test]
    fn every_failure_is_told_once_and_the_one_who_tells_goes_when_there_is_nothing_more() {
        let mut counts = Counts { is_told: true, ..Counts::default() };
        for _ in 0..3 {
            counts.note(v4(1), at(0));
        }
        counts.note(v4(2), at(0));
        assert_eq!(counts.line(), Some((4, "0.0.0.1 (3), 0.0.0.2 (1)".to_owned())));
        counts.note(v4(2), at(1));
        assert_eq!(counts.line(), Some((1, "0.0.0.2 (1)".to_owned())));
        assert!(counts.is_told);
        assert_eq!(counts.line(), None);
        assert!(!counts.is_told);
    }
}
