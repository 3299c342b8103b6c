//! What returning clients of TLS take up their sessions with, sealed with keys that all workers share and that a
//! process which replaces this one is given.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use rustls::server::ProducesTickets;

use crate::clock;
use crate::model::unit::{Span, Tick};

/// How long tickets are made with one key; they are good for twice as long at most.
const TURN: Span = Span::secs(6 * 3600);
/// Keys whose tickets are good: the one in use and the one before.
const KEYS: usize = 2;
/// Bytes of a key.
pub const SECRET: usize = 32;
/// Bytes by which a ticket names its key.
const NAME: usize = 8;

/// Makes tickets and opens them.
pub struct Tickets {
    /// The one in use first.
    keys: Mutex<Vec<Arc<Key>>>,
}

struct Key {
    name: [u8; NAME],
    secret: [u8; SECRET],
    seal: LessSafeKey,
    since: Tick,
}

impl Key {
    fn new(secret: [u8; SECRET], since: Tick) -> Option<Arc<Self>> {
        let seal = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret).ok()?);
        let name = digest(&SHA256, &secret).as_ref().first_chunk().copied()?;
        Some(Arc::new(Self { name, secret, seal, since }))
    }

    /// `None` when the system has no randomness.
    fn fresh(now: Tick) -> Option<Arc<Self>> {
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret).ok()?;
        Self::new(secret, now)
    }
}

impl Tickets {
    /// With a key of its own. `None` when the system has no randomness.
    #[must_use]
    pub fn new(now: Tick) -> Option<Self> {
        Some(Self { keys: Mutex::new(vec![Key::fresh(now)?]) })
    }

    /// With those of another process, and the time that each has been in use; `None` when there are none.
    #[must_use]
    pub fn inherited(keys: &[([u8; SECRET], Span)], now: Tick) -> Option<Self> {
        let key = |(secret, age): &([u8; SECRET], Span)| Key::new(*secret, Tick(now.0.saturating_sub(age.0)));
        let keys: Vec<_> = keys.iter().take(KEYS).filter_map(key).collect();
        (!keys.is_empty()).then(|| Self { keys: Mutex::new(keys) })
    }

    /// For [`Self::inherited`].
    #[must_use]
    pub fn hand_on(&self, now: Tick) -> Vec<([u8; SECRET], Span)> {
        self.current(now).iter().map(|key| (key.secret, now.since(key.since))).collect()
    }

    /// The keys that are good now.
    fn current(&self, now: Tick) -> Vec<Arc<Key>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.first().is_none_or(|key| now.since(key.since) >= TURN)
            // Without randomness the old one goes on.
            && let Some(fresh) = Key::fresh(now)
        {
            keys.insert(0, fresh);
            keys.truncate(KEYS);
        }
        let is_good = |key: &Arc<Key>| now.since(key.since).0 < TURN.0 * KEYS as u64;
        keys.iter()
            .enumerate()
            .filter(|(at, key)| *at == 0 || is_good(key))
            .map(|(_, key)| key.clone())
            .collect()
    }

    fn seal(&self, plain: &[u8], now: Tick) -> Option<Vec<u8>> {
        let key = self.current(now).into_iter().next()?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        key.seal.seal_in_place_append_tag(unique, Aad::from(&key.name), &mut sealed).ok()?;
        Some([&key.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: Tick) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.current(now).into_iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.seal.open_in_place(nonce, Aad::from(name), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(TURN.0 * KEYS as u64 / 1_000_000_000).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, clock::now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, clock::now())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(secret)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const START: Tick = Tick(5);

    #[test]
    fn a_ticket_is_good_for_the_next_key_too_and_not_longer() {
        let tickets = Tickets::new(START).unwrap();
        let ticket = tickets.seal(b"session", START).unwrap();
        assert!(!ticket.windows(7).any(|part| part == b"session"));
        let opened = |after: Span| tickets.open(&ticket, START + after);
        assert_eq!(opened(Span::secs(1)).as_deref(), Some(&b"session"[..]));
        assert_eq!(opened(TURN).as_deref(), Some(&b"session"[..]));
        assert_ne!(tickets.seal(b"", START + TURN).unwrap()[..NAME], ticket[..NAME], "another key");
        assert_eq!(opened(TURN + TURN), None);
    }

    #[test]
    fn after_a_long_silence_nothing_old_is_good() {
        let tickets = Tickets::new(START).unwrap();
        let ticket = tickets.seal(b"session", START).unwrap();
        assert_eq!(tickets.open(&ticket, START + Span::secs(3600 * 24)), None);
    }

    #[test]
    fn what_was_changed_or_is_anothers_opens_nowhere() {
        let tickets = Tickets::new(START).unwrap();
        let ticket = tickets.seal(b"session", START).unwrap();
        for at in 0..ticket.len() {
            let mut bad = ticket.clone();
            bad[at] ^= 1;
            assert_eq!(tickets.open(&bad, START), None, "{at}");
        }
        assert_eq!(tickets.open(&ticket[..ticket.len() - 1], START), None);
        assert_eq!(tickets.open(b"", START), None);
        assert_eq!(Tickets::new(START).unwrap().open(&ticket, START), None);
    }

    #[test]
    fn a_successor_opens_what_was_sealed_before_and_its_keys_are_as_old() {
        let tickets = Tickets::new(START).unwrap();
        let first = tickets.seal(b"first", START).unwrap();
        let later = START + TURN + Span::secs(60);
        let second = tickets.seal(b"second", later).unwrap();
        // Two processes have two clocks.
        let now = Tick(later.0 * 100);
        let successor = Tickets::inherited(&tickets.hand_on(later), now).unwrap();
        assert_eq!(successor.open(&first, now).as_deref(), Some(&b"first"[..]));
        assert_eq!(successor.open(&second, now).as_deref(), Some(&b"second"[..]));
        let turned = Tick(now.0 + TURN.0 - Span::secs(60).0);
        assert_eq!(successor.open(&first, turned), None);
        assert_eq!(successor.open(&second, turned).as_deref(), Some(&b"second"[..]));
        assert!(Tickets::inherited(&[], now).is_none());
    }
}
