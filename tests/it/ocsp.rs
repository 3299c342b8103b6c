//! OCSP responses from a file, shown to clients that ask for one (**ours**: `ocspFile` of a certificate).

use std::sync::{Arc, Mutex};

use overspill::cli::toy::ToyBackend;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::support::backend::toy;
use crate::support::setup::{NEAR, Setup, group, setup};
use crate::support::tls::{Authority, Tls};
use crate::support::wait_until;
use crate::tls_front::Serve;

/// Successful responses, told apart by what follows the word.
const FIRST: [u8; 5] = [0x30, 3, 0x0a, 1, 0];
const SECOND: [u8; 7] = [0x30, 5, 0x0a, 1, 0, 0xa0, 0];
/// "tryLater", which is no answer for a client.
const NOT_GOOD: [u8; 5] = [0x30, 3, 0x0a, 1, 3];

/// Takes any certificate, and keeps what was stapled to it.
#[derive(Debug, Default)]
struct Stapled(Mutex<Option<Vec<u8>>>);

impl ServerCertVerifier for Stapled {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = Some(ocsp.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What a new client is shown beside the certificate; empty = nothing. It is served, too.
#[track_caller]
fn stapled(serve: &Serve, version: &'static rustls::SupportedProtocolVersion) -> Vec<u8> {
    let seen = Arc::new(Stapled::default());
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(seen.clone())
        .with_no_client_auth();
    let mut tls = Tls::connect(serve.front, &Arc::new(client), "web.example").unwrap();
    assert_eq!(tls.get("/").unwrap().status, 200);
    seen.0.lock().unwrap().take().unwrap()
}

fn one_toy() -> (ToyBackend, Setup) {
    let toy = toy("a");
    let setup = setup(&[group("ig", NEAR).member("a", &toy)]);
    (toy, setup)
}

#[test]
fn without_a_file_nothing_is_stapled() {
    let (_toy, setup) = one_toy();
    let pair = Authority::new("ca").server(&["web.example"]);
    let serve = Serve::start(&setup, &pair);
    assert_eq!(stapled(&serve, &rustls::version::TLS13), b"");
}

#[test]
fn clients_see_what_the_file_says_and_what_is_no_answer_changes_nothing() {
    let (_toy, setup) = one_toy();
    let pair = Authority::new("ca").server(&["web.example"]);
    let serve = Serve::start_with(&setup, &pair, Some(&FIRST));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        assert_eq!(stapled(&serve, version), FIRST);
    }
    let certificate = || serve.status()["listeners"][0]["sslCertificates"][0].clone();
    assert_eq!(certificate()["ocsp"], true, "{}", certificate());
    let shown = || stapled(&serve, &rustls::version::TLS13);
    let put = |contents: &[u8]| {
        std::fs::write(serve.path("new"), contents).unwrap();
        std::fs::rename(serve.path("new"), serve.path("own.ocsp")).unwrap();
    };

    put(&SECOND);
    wait_until("the new response is shown", || shown() == SECOND);

    // Broken, not successful, gone: refused with the reason, and the last good one stays.
    let is_ok = || serve.status()["reload"]["ok"] == true;
    for (contents, code) in [
        (Some(&b"-----BEGIN"[..]), "bad-certificate"),
        (Some(&NOT_GOOD), "bad-certificate"),
        (None, "unreadable-file"),
    ] {
        match contents {
            Some(contents) => put(contents),
            None => std::fs::remove_file(serve.path("own.ocsp")).unwrap(),
        }
        wait_until("it is refused", || !is_ok());
        wait_until("with its reason", || serve.status()["reload"]["problems"][0]["code"] == code);
        assert_eq!(shown(), SECOND);
        put(&SECOND);
        wait_until("it is good again", is_ok);
        assert_eq!(shown(), SECOND);
    }
    put(&FIRST);
    wait_until("the first is shown again", || shown() == FIRST);
}
