//! STRONG_COOKIE_AFFINITY: a cookie that names its member and cannot be forged [G 3.6].
//!
//! The value is base64url of 24 bytes and a tag: identity of the backend, identity of the member, the second at which it
//! ends (0 = with the browser's session), and HMAC-SHA-256 over these and the service's name. Identities are hashes of
//! names and addresses, so that a cookie tells nothing about the network behind us.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// Bytes that are signed, without the service's name.
const NAMED: usize = 24;
/// Bytes of the tag.
const TAG: usize = 32;
/// Characters of a value.
const VALUE_LENGTH: usize = (NAMED + TAG) * 4 / 3 + 1;

/// Bytes of a key.
pub(crate) const KEY_LENGTH: usize = 32;

/// Makes and reads strong cookies. One key for the process; several proxies that share a key share sessions.
#[derive(Debug)]
pub struct Signer(hmac::Key);

/// Who a cookie names: identities of backend and member; see [`crate::balance::hash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Of the backend's group.
    pub backend: u64,
    /// Of the member.
    pub member: u64,
}

impl Signer {
    /// With this secret key.
    #[must_use]
    pub fn new(key: &[u8; KEY_LENGTH]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The value that names a member of `service` until `end`; `None` = as long as the browser keeps it.
    pub(crate) fn seal(&self, service: &str, named: Named, end: Option<SystemTime>) -> String {
        let end = end.map_or(0, seconds);
        let mut bytes = Vec::with_capacity(NAMED + TAG);
        for part in [named.backend, named.member, end] {
            bytes.extend_from_slice(&part.to_be_bytes());
        }
        let tag = hmac::sign(&self.0, &signed(&bytes, service));
        bytes.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Who the value names; `None` when it is not of our making for this service, or has ended.
    pub(super) fn open(&self, service: &str, value: &str, now: SystemTime) -> Option<Named> {
        if value.len() != VALUE_LENGTH {
            return None;
        }
        // Whole groups of three, as the decoder asks for.
        let mut bytes = [0; NAMED + TAG + 1];
        let length = URL_SAFE_NO_PAD.decode_slice(value, &mut bytes).ok()?;
        let (named, tag) = bytes.get(..length)?.split_at_checked(NAMED)?;
        hmac::verify(&self.0, &signed(named, service), tag).ok()?;
        let mut parts = named.as_chunks::<8>().0.iter().map(|part| u64::from_be_bytes(*part));
        let (backend, member, end) = (parts.next()?, parts.next()?, parts.next()?);
        (end == 0 || seconds(now) < end).then_some(Named { backend, member })
    }
}

fn signed(named: &[u8], service: &str) -> Vec<u8> {
    [named, service.as_bytes()].concat()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const NAMED: Named = Named { backend: 7, member: u64::MAX };
    const NOW: SystemTime = UNIX_EPOCH;

    fn signer(seed: u8) -> Signer {
        Signer::new(&[seed; KEY_LENGTH])
    }

    #[test]
    fn g_3_6_a_cookie_names_its_member_until_it_ends() {
        let end = NOW + Duration::from_secs(60);
        let value = signer(1).seal("web", NAMED, Some(end));
        assert_eq!(value.len(), VALUE_LENGTH);
        assert_eq!(signer(1).open("web", &value, NOW + Duration::from_secs(59)), Some(NAMED));
        assert_eq!(signer(1).open("web", &value, end), None);
        let forever = signer(1).seal("web", NAMED, None);
        assert_eq!(signer(1).open("web", &forever, NOW + Duration::from_secs(1 << 40)), Some(NAMED));
    }

    #[test]
    fn a_cookie_of_another_key_or_service_names_nobody() {
        let value = signer(1).seal("web", NAMED, None);
        assert_eq!(signer(2).open("web", &value, NOW), None);
        assert_eq!(signer(1).open("api", &value, NOW), None);
    }

    proptest! {
        #[test]
        fn no_change_of_a_character_goes_unnoticed(at in 0..VALUE_LENGTH, by in any::<char>()) {
            let value = signer(1).seal("web", NAMED, None);
            let changed: String = value.chars().enumerate().map(|(n, c)| if n == at { by } else { c }).collect();
            prop_assume!(changed != value);
            prop_assert_eq!(signer(1).open("web", &changed, NOW), None);
        }

        #[test]
        fn any_text_is_read_without_harm(text in ".{0,100}") {
            prop_assert_eq!(signer(1).open("web", &text, NOW), None);
        }
    }
}
