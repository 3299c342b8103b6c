//! TLS to clients: which certificates are shown, which versions and suites are spoken, and what clients must show.

use std::fmt;
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring as provider;
use rustls::crypto::ring::{cipher_suite, kx_group};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    SupportedCipherSuite,
};

use super::certificate::Certificate;

/// What a proxy agrees on with those who connect over TLS. One per target proxy and configuration.
#[derive(Debug)]
pub struct Termination {
    /// `sslCertificates`, at least one; the first one is for clients that name no server, or none that a certificate
    /// is for [G 6.13].
    pub certificates: Vec<Certificate>,
    /// `sslPolicy`.
    pub policy: TlsPolicy,
    /// `serverTlsPolicy`; `None` = clients are asked for no certificate.
    pub clients: Option<Arc<ClientAuth>>,
}

impl Termination {
    /// These certificates, anyone, and every version and suite that there is.
    #[must_use]
    pub fn new(certificates: Vec<Certificate>) -> Self {
        Self { certificates, policy: TlsPolicy::default(), clients: None }
    }
}

/// `sslPolicies` [G 6.12], as far as rustls goes: TLS 1.2 and 1.3, suites with forward secrecy and authenticated
/// encryption. The profiles COMPATIBLE, MODERN and RESTRICTED differ in older suites only, and so are one here.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsPolicy {
    /// Name of the resource; empty = none was given.
    pub name: Arc<str>,
    /// TLS 1.3 alone.
    pub is_1_3_only: bool,
    /// At least one.
    pub suites: Vec<SupportedCipherSuite>,
    /// P-256 and P-384 alone, as FIPS_202205 wants; else X25519 too.
    pub is_nist_only: bool,
}

impl Default for TlsPolicy {
    fn default() -> Self {
        Self {
            name: "".into(),
            is_1_3_only: false,
            suites: cipher_suite_list().to_vec(),
            is_nist_only: false,
        }
    }
}

impl TlsPolicy {
    /// What rustls is to use.
    #[must_use]
    pub fn provider(&self) -> rustls::crypto::CryptoProvider {
        let mut provider = provider::default_provider();
        provider.cipher_suites.clone_from(&self.suites);
        if self.is_nist_only {
            provider.kx_groups = vec![kx_group::SECP256R1, kx_group::SECP384R1];
        }
        provider
    }
}

/// All suites, best first.
#[must_use]
pub fn cipher_suite_list() -> &'static [SupportedCipherSuite] {
    provider::ALL_CIPHER_SUITES
}

/// Suites of the profile FIPS_202205: AES in GCM.
#[must_use]
pub fn fips_suites() -> Vec<SupportedCipherSuite> {
    vec![
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ]
}

/// The name that IANA, and Google, have for a suite; rustls writes `TLS13_` where they write `TLS_`.
#[must_use]
pub fn suite_name(suite: rustls::CipherSuite) -> &'static str {
    use rustls::CipherSuite as S;
    match suite {
        S::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        S::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        S::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}

/// `mtlsPolicy.clientValidationMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientValidation {
    /// `ALLOW_INVALID_OR_MISSING_CLIENT_CERT`: a certificate is asked for, and none, or a bad one, will do. Whoever
    /// shows one must have its key.
    Allow,
    /// `REJECT_INVALID`: no connection without a certificate that leads to a trust anchor.
    Reject,
}

/// `serverTlsPolicies` with the trust config behind it.
pub struct ClientAuth {
    /// Name of the policy.
    pub name: Arc<str>,
    /// Whom it lets in.
    pub mode: ClientValidation,
    /// SHA-256 over mode and certificates. Sessions are taken up again only where this is the same, so that nobody
    /// slips past it with a session from elsewhere.
    pub digest: [u8; 32],
    verifier: Arc<Verifier>,
}

impl ClientAuth {
    /// `None` when an anchor is no certificate that can be one, or there is none. With [`ClientValidation::Allow`]
    /// there may be none: then every certificate is as good as invalid.
    #[must_use]
    pub fn new(
        name: &str,
        mode: ClientValidation,
        anchors: &[CertificateDer<'static>],
        intermediates: &[CertificateDer<'static>],
    ) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        let mut digest = Context::new(&SHA256);
        digest.update(&[mode as u8]);
        for (kind, certificates) in [(0, anchors), (1, intermediates)] {
            for certificate in certificates {
                digest.update(&[kind]);
                digest.update(&(certificate.len() as u64).to_be_bytes());
                digest.update(certificate);
            }
        }
        for anchor in anchors {
            roots.add(anchor.clone()).ok()?;
        }
        let webpki = match (mode, roots.is_empty()) {
            (ClientValidation::Allow, true) => None,
            _ => Some(
                WebPkiClientVerifier::builder_with_provider(
                    roots.into(),
                    provider::default_provider().into(),
                )
                .build()
                .ok()?,
            ),
        };
        let digest = digest.finish().as_ref().try_into().ok()?;
        let verifier = Arc::new(Verifier {
            mode,
            webpki,
            intermediates: intermediates.to_vec(),
            provider: provider::default_provider(),
        });
        Some(Self { name: name.into(), mode, digest, verifier })
    }

    /// Whether a certificate that was shown leads to a trust anchor, and is one for clients.
    ///
    /// # Errors
    /// Why not, whatever the mode: who lets everyone in wants to know too.
    pub fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        self.verifier.judge(leaf, others, now).map(|_| ())
    }

    /// For rustls.
    #[must_use]
    pub fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        self.verifier.clone()
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuth")
            .field("name", &self.name)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Verifier {
    mode: ClientValidation,
    /// `None` without anchors.
    webpki: Option<Arc<dyn ClientCertVerifier>>,
    /// `intermediateCas`.
    intermediates: Vec<CertificateDer<'static>>,
    provider: rustls::crypto::CryptoProvider,
}

impl Verifier {
    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let Some(webpki) = &self.webpki else {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        if self.intermediates.is_empty() {
            return webpki.verify_client_cert(end_entity, intermediates, now);
        }
        let all: Vec<_> = intermediates.iter().chain(&self.intermediates).cloned().collect();
        webpki.verify_client_cert(end_entity, &all, now)
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mode == ClientValidation::Reject
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.as_ref().map_or(&[], |webpki| webpki.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.mode {
            ClientValidation::Allow => Ok(ClientCertVerified::assertion()),
            ClientValidation::Reject => self.judge(end_entity, intermediates, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn anchor(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    /// Without this, a session from a proxy that asks for nothing would open one that asks for a certificate.
    #[test]
    fn sessions_are_bound_to_mode_and_anchors() {
        let (one, two) = (anchor(include_str!("testdata/one.pem")), anchor(include_str!("testdata/two.pem")));
        let digest =
            |mode, anchors: &[_], between: &[_]| ClientAuth::new("p", mode, anchors, between).unwrap().digest;
        let [one, two] = [[one], [two]];
        let first = digest(ClientValidation::Reject, &one, &[]);
        assert_eq!(first, digest(ClientValidation::Reject, &one, &[]));
        for other in [
            digest(ClientValidation::Allow, &one, &[]),
            digest(ClientValidation::Reject, &two, &[]),
            digest(ClientValidation::Reject, &one, &two),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn without_anchors_nobody_could_be_let_in() {
        assert!(ClientAuth::new("p", ClientValidation::Reject, &[], &[]).is_none());
        assert!(ClientAuth::new("p", ClientValidation::Allow, &[], &[]).is_some());
        let nonsense = CertificateDer::from(vec![1, 2, 3]);
        assert!(ClientAuth::new("p", ClientValidation::Reject, &[nonsense], &[]).is_none());
    }

    #[test]
    fn fips_leaves_aes_in_gcm_and_the_curves_of_nist() {
        let policy = TlsPolicy { suites: fips_suites(), is_nist_only: true, ..TlsPolicy::default() };
        let provider = policy.provider();
        let names: Vec<_> = provider.cipher_suites.iter().map(|suite| suite_name(suite.suite())).collect();
        assert!(names.len() == 6 && names.iter().all(|name| name.contains("AES") && name.contains("GCM")));
        assert_eq!(provider.kx_groups.len(), 2);
    }
}
