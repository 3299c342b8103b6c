//! Keyed hashing with a key that never changes: the same on every worker, in every process, after every restart.
//! It spreads; it is no secret. Session keys that must not be guessed are made elsewhere.

use std::hash::Hasher;
use std::net::SocketAddr;

use siphasher::sip::SipHasher13;

use crate::model::service::{Group, GroupKind, Member};

/// 2^64 ÷ golden ratio: steps of it spread over the circle more evenly than chance.
pub(super) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Identity of a member: name and address.
#[must_use]
pub fn member(member: &Member) -> u64 {
    let mut hasher = hasher();
    text(&mut hasher, &member.name);
    match member.address {
        SocketAddr::V4(address) => hasher.write(&address.ip().octets()),
        SocketAddr::V6(address) => hasher.write(&address.ip().octets()),
    }
    hasher.write(&member.address.port().to_le_bytes());
    hasher.finish()
}

/// Identity of a group: kind, zone and name.
#[must_use]
pub fn group(group: &Group) -> u64 {
    let mut hasher = hasher();
    hasher.write(match group.kind {
        GroupKind::InstanceGroup => b"i",
        GroupKind::NetworkEndpointGroup => b"n",
    });
    text(&mut hasher, &group.zone);
    text(&mut hasher, &group.name);
    hasher.finish()
}

/// Of a name.
#[must_use]
pub(super) fn text_of(name: &str) -> u64 {
    let mut hasher = hasher();
    text(&mut hasher, name);
    hasher.finish()
}

/// Two numbers into one that looks random: the finisher of splitmix64.
#[inline]
#[must_use]
pub const fn mix(a: u64, b: u64) -> u64 {
    let mut x = a ^ b.wrapping_mul(GOLDEN);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A random number as a part of the whole, 0 to 1.
#[inline]
#[allow(clippy::cast_precision_loss)]
pub(super) const fn part(chance: u64) -> f64 {
    (chance >> 11) as f64 / (1_u64 << 53) as f64
}

/// A random number as one below `n`; 0 for n = 0.
#[inline]
#[allow(clippy::cast_possible_truncation)]
pub(super) const fn below(chance: u64, n: usize) -> usize {
    ((chance as u128 * n as u128) >> 64) as usize
}

fn hasher() -> SipHasher13 {
    SipHasher13::new_with_keys(0x6F76_6572_7370_696C, 0x6C2D_7269_6E67_2D31)
}

/// With its end marked, so that no two pairs of texts run together.
fn text(hasher: &mut SipHasher13, text: &str) {
    hasher.write(text.as_bytes());
    hasher.write(&[0xFF]);
}
