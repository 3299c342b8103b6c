//! TLS to members and probes: encrypted, and **not** authenticated.
//!
//! Google's balancer does not verify the certificate of a backend [G 6.4], nor does a health check [G 4.8]: expired,
//! self-signed and wrong names all pass. What is checked is that the handshake is sound: its signature must fit the
//! key in the certificate, where the certificate can be read at all.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// Servers whose sessions are kept for resumption, by IP address. Members that share an address share the entry; a
/// ticket that another one issued costs a full handshake, nothing else.
pub const SESSIONS: usize = 1024;

/// A client configuration that accepts every certificate: TLS 1.2 and 1.3, sessions resumed, no client certificate,
/// no ALPN (HTTP/1.1 is all that is spoken). Make one and share it: it holds the sessions.
#[must_use]
pub fn unverified() -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AcceptAll { algorithms: provider.signature_verification_algorithms });
    let mut config =
        with_provider(provider).dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Arc::new(config)
}

/// HTTP/2 in ALPN.
pub const HTTP2: &[u8] = b"h2";

/// The same, and it asks for HTTP/2 and nothing else.
#[must_use]
pub fn asking_for_http2(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Arc::new(config)
}

/// The name under which a member is greeted: its address. TLS sends no SNI for addresses.
#[must_use]
pub fn server_name(address: IpAddr) -> ServerName<'static> {
    ServerName::IpAddress(address.into())
}

#[allow(clippy::expect_used)]
fn with_provider(
    provider: Arc<CryptoProvider>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    // Both versions are compiled in, and ring has suites for both: this cannot fail.
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
}

#[derive(Debug)]
struct AcceptAll {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        forgive(verify_tls12_signature(message, certificate, signed, &self.algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        forgive(verify_tls13_signature(message, certificate, signed, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A certificate that our library cannot read (X.509 version 1, odd extensions) is no reason to refuse a member; a
/// signature that does not fit is.
fn forgive(verdict: Result<HandshakeSignatureValid, Error>) -> Result<HandshakeSignatureValid, Error> {
    match verdict {
        Err(Error::InvalidCertificate(CertificateError::BadSignature)) | Ok(_) => verdict,
        Err(Error::InvalidCertificate(_)) => Ok(HandshakeSignatureValid::assertion()),
        Err(_) => verdict,
    }
}

/// Servers with bad certificates, for tests.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod bad_servers {
    use super::*;
    use rustls::ServerConfig;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

    /// Self-signed for `wrong.example`, expired in 2020.
    pub(crate) const EXPIRED: &[u8] = include_bytes!("testdata/expired.der");
    /// Self-signed, X.509 version 1.
    pub(crate) const VERSION_1: &[u8] = include_bytes!("testdata/version1.der");

    /// A server with this certificate, over the key that all of them share.
    pub(crate) fn server(
        certificate: &'static [u8],
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Arc<ServerConfig> {
        #[derive(Debug)]
        struct Fixed(Arc<rustls::sign::CertifiedKey>);
        impl rustls::server::ResolvesServerCert for Fixed {
            fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
                Some(self.0.clone())
            }
        }
        let key =
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(include_bytes!("testdata/key.der").as_slice()));
        let key = ring::sign::any_supported_type(&key).unwrap();
        let certified = rustls::sign::CertifiedKey::new(vec![CertificateDer::from(certificate)], key);
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Fixed(Arc::new(certified))));
        Arc::new(config)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::bad_servers::{EXPIRED, VERSION_1, server};
    use super::*;
    use rustls::version::{TLS12, TLS13};
    use rustls::{HandshakeKind, SupportedProtocolVersion};

    async fn shake(
        client: Arc<ClientConfig>,
        certificate: &'static [u8],
        version: &'static SupportedProtocolVersion,
    ) -> std::io::Result<()> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let acceptor = tokio_rustls::TlsAcceptor::from(server(certificate, version));
        let connector = tokio_rustls::TlsConnector::from(client);
        let name = server_name([127, 0, 0, 1].into());
        tokio::try_join!(connector.connect(name, near), acceptor.accept(far)).map(|_| ())
    }

    /// [G 6.4, 4.8]
    #[tokio::test]
    async fn expired_self_signed_and_misnamed_certificates_pass() {
        for version in [&TLS12, &TLS13] {
            shake(unverified(), EXPIRED, version).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_certificate_of_version_1_passes_too() {
        for version in [&TLS12, &TLS13] {
            shake(unverified(), VERSION_1, version).await.unwrap();
        }
    }

    #[test]
    fn a_signature_that_does_not_fit_the_key_is_refused() {
        let bad = Error::InvalidCertificate(CertificateError::BadSignature);
        assert!(forgive(Err(bad)).is_err());
        let odd = Error::InvalidCertificate(CertificateError::BadEncoding);
        assert!(forgive(Err(odd)).is_ok());
    }

    #[tokio::test]
    async fn the_second_connection_to_a_server_resumes_the_session() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let client = unverified();
        let acceptor = tokio_rustls::TlsAcceptor::from(server(EXPIRED, &TLS13));
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let connector = tokio_rustls::TlsConnector::from(client.clone());
            let name = server_name([127, 0, 0, 1].into());
            let (mut near, mut far) =
                tokio::try_join!(connector.connect(name, near), acceptor.accept(far)).unwrap();
            // Tickets come after the handshake; a byte read is a ticket read.
            far.write_all(b"x").await.unwrap();
            far.flush().await.unwrap();
            near.read_u8().await.unwrap();
            kinds.push(near.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
    }

    #[test]
    fn a_server_is_named_by_its_address_so_that_no_name_is_sent() {
        assert!(matches!(server_name([10, 0, 0, 1].into()), ServerName::IpAddress(_)));
    }
}
