//! Who may use the admin API (ours).

use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::tls::Termination;

/// Shortest token, in characters.
pub const SHORTEST_TOKEN: usize = 16;
/// Longest token, in characters.
pub const LONGEST_TOKEN: usize = 1024;

/// `admin`, but for its address. By default anyone may do everything: then the address is a loopback one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AdminAccess {
    /// `readOnly`: changes are refused, whoever asks.
    pub is_read_only: bool,
    /// `tokens`. When there are some, every request needs one, or a certificate of `clientCa`.
    pub tokens: Vec<AdminToken>,
    /// `tls`; `None` = plain HTTP.
    pub tls: Option<AdminTls>,
}

impl AdminAccess {
    /// Whether nobody has to show anything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.tokens.is_empty() && !self.asks_for_certificates()
    }

    /// Whether a client's certificate opens the door.
    #[must_use]
    pub fn asks_for_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.0.clients.is_some())
    }

    /// The token that was shown, if there is one. Takes as long for a wrong one as for a right one.
    #[must_use]
    pub fn token(&self, shown: &[u8]) -> Option<&AdminToken> {
        let shown = digest(&SHA256, shown);
        let is_same = |token: &AdminToken| {
            token.digest.iter().zip(shown.as_ref()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
        };
        let mut found = None;
        for token in &self.tokens {
            if is_same(token) {
                found = Some(token);
            }
        }
        found
    }
}

/// How far somebody may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Look at everything, change nothing.
    ReadOnly,
    /// Everything.
    ReadWrite,
}

/// One of `tokens`. The token itself is not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// What the audit log calls it.
    pub name: Arc<str>,
    /// What it is good for.
    pub access: Access,
    digest: [u8; 32],
}

impl AdminToken {
    /// `None` when `token` is too short, too long, or has other characters than visible ASCII.
    #[must_use]
    pub fn of(name: &str, access: Access, token: &[u8]) -> Option<Self> {
        let is_sound = (SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&token.len());
        let is_sound = is_sound && token.iter().all(u8::is_ascii_graphic);
        let digest = digest(&SHA256, token).as_ref().try_into().ok()?;
        is_sound.then(|| Self { name: name.into(), access, digest })
    }

    /// `None` when `sha256` is not 64 hexadecimal digits.
    #[must_use]
    pub fn of_digest(name: &str, access: Access, sha256: &str) -> Option<Self> {
        let mut digest = [0; 32];
        let is_hex = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        for (index, byte) in digest.iter_mut().enumerate().filter(|_| is_hex) {
            *byte = u8::from_str_radix(sha256.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        is_hex.then(|| Self { name: name.into(), access, digest })
    }

    /// Whether both are the same token, whatever they are called.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminToken")
            .field("name", &self.name)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// `tls`: the certificate, and with `clientCa` whose clients are let in.
#[derive(Debug, Clone)]
pub struct AdminTls(pub Arc<Termination>);

impl PartialEq for AdminTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef";

    #[test]
    fn a_token_is_known_by_itself_or_by_its_digest_and_never_shown() {
        let digest = "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";
        let one = AdminToken::of("one", Access::ReadOnly, SECRET).unwrap();
        let two = AdminToken::of_digest("two", Access::ReadWrite, digest).unwrap();
        assert!(one.is_same(&two));
        let access = AdminAccess { tokens: vec![one], ..AdminAccess::default() };
        assert_eq!(access.token(SECRET).unwrap().access, Access::ReadOnly);
        for wrong in [&b""[..], b"0123456789abcdee", b"0123456789abcdef0", digest.as_bytes()] {
            assert_eq!(access.token(wrong), None);
        }
        let shown = format!("{access:?}");
        assert!(
            !shown.contains("0123456789") && !shown.contains("9f9f") && !shown.contains("159"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_short_or_odd_is_no_token() {
        for odd in [&b"0123456789abcde"[..], b"0123456789abcde f", &[b'a'; 1025], b"0123456789abcdef\xff"] {
            assert_eq!(AdminToken::of("x", Access::ReadOnly, odd), None);
        }
        for odd in ["", "9f", &"g".repeat(64), &"\u{e9}".repeat(32)] {
            assert_eq!(AdminToken::of_digest("x", Access::ReadOnly, odd), None);
        }
    }
}
