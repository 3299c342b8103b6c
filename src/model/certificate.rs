//! Certificates with their keys, checked to belong together. Nothing here shows a key.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::x509::{self, Facts};

/// Certificates of a chain, the server's own included [G 6.13].
pub const MAX_CHAIN: usize = 5;

/// A chain with the key of its first certificate.
#[derive(Clone)]
pub struct Certificate {
    /// `name` of the resource.
    pub name: Arc<str>,
    certified: Arc<CertifiedKey>,
    facts: Arc<Facts>,
}

/// What is wrong with a chain or a key. The words never repeat any of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The chain is no PEM, or holds no certificate.
    NoCertificate,
    /// More than [`MAX_CHAIN`].
    LongChain(usize),
    /// The first certificate is no X.509 of version 3.
    BadCertificate,
    /// The key is no PEM, or holds no private key; one that is encrypted counts as none.
    NoKey,
    /// A key of a kind that cannot sign: neither RSA of 2048 bits or more, nor ECDSA P-256 or P-384, nor Ed25519.
    BadKey,
    /// The key is that of another certificate.
    Mismatch,
}

impl Certificate {
    /// Reads a PEM chain and a PEM key.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn read(name: &str, chain: &str, key: &str) -> Result<Self, Fault> {
        let chain: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let chain = chain.map_err(|_| Fault::NoCertificate)?;
        let first = chain.first().ok_or(Fault::NoCertificate)?;
        if chain.len() > MAX_CHAIN {
            return Err(Fault::LongChain(chain.len()));
        }
        ParsedCertificate::try_from(first).map_err(|_| Fault::BadCertificate)?;
        let facts = Arc::new(x509::read(first).ok_or(Fault::BadCertificate)?);
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| Fault::NoKey)?;
        match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
            Ok(certified) => Ok(Self { name: name.into(), certified: Arc::new(certified), facts }),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(Fault::Mismatch),
            Err(_) => Err(Fault::BadKey),
        }
    }

    /// The same with an OCSP response in DER for clients that ask for one. `None` when it is none.
    #[must_use]
    pub fn stapled(self, ocsp: Vec<u8>) -> Option<Self> {
        if !x509::is_ocsp_response(&ocsp) {
            return None;
        }
        let mut certified = CertifiedKey::clone(&self.certified);
        certified.ocsp = Some(ocsp);
        Some(Self { certified: Arc::new(certified), ..self })
    }

    /// Its names, and when it is valid.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// To sign with.
    #[must_use]
    pub const fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CHAIN: &str = include_str!("testdata/one.pem");
    const KEY: &str = include_str!("testdata/one.key");
    const OTHER_KEY: &str = include_str!("testdata/two.key");

    #[test]
    fn only_what_says_that_it_is_a_good_ocsp_response_is_stapled() {
        let one = Certificate::read("one", CHAIN, KEY).unwrap();
        assert!(one.clone().stapled(b"-----BEGIN OCSP".to_vec()).is_none());
        let response = vec![0x30, 3, 0x0a, 1, 0];
        assert_eq!(one.stapled(response.clone()).unwrap().certified().ocsp, Some(response));
    }

    #[test]
    fn g_6_13_a_chain_has_at_most_five_certificates() {
        assert!(Certificate::read("five", &CHAIN.repeat(5), KEY).is_ok());
        assert_eq!(Certificate::read("six", &CHAIN.repeat(6), KEY).unwrap_err(), Fault::LongChain(6));
    }

    #[test]
    fn a_key_must_be_there_and_belong_to_the_certificate() {
        let fault = |chain, key| Certificate::read("x", chain, key).unwrap_err();
        assert_eq!(fault(CHAIN, OTHER_KEY), Fault::Mismatch);
        assert_eq!(fault(CHAIN, CHAIN), Fault::NoKey);
        assert_eq!(fault(KEY, KEY), Fault::NoCertificate);
        assert_eq!(fault("", KEY), Fault::NoCertificate);
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(fault(nonsense, KEY), Fault::BadCertificate);
        let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(fault(CHAIN, nonsense), Fault::BadKey);
    }

    #[test]
    fn no_key_is_shown() {
        let shown = format!("{:?}", Certificate::read("one", CHAIN, KEY).unwrap());
        assert_eq!(shown, "Certificate { name: \"one\", .. }");
    }
}
