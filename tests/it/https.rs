//! Backends behind TLS: HTTP/1.1 inside, and no certificate is too bad [G 6.3, 6.4, 4.8].

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::backend::toy;
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, Setup, group, setup};

/// Self-signed for another name, and expired in 2020.
const EXPIRED: &[u8] = include_bytes!("../../src/net/testdata/expired.der");
const KEY: &[u8] = include_bytes!("../../src/net/testdata/key.der");

/// Answers each request with its path. Its threads end with the process.
struct Secure {
    address: SocketAddr,
    handshakes: Arc<AtomicUsize>,
}

impl Secure {
    fn start() -> Self {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(KEY));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(EXPIRED)], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let handshakes = Arc::new(AtomicUsize::new(0));
        let count = handshakes.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, count) = (config.clone(), count.clone());
                std::thread::spawn(move || serve(config, stream, &count));
            }
        });
        Self { address, handshakes }
    }
}

fn serve(config: Arc<ServerConfig>, stream: TcpStream, handshakes: &AtomicUsize) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut held = Vec::new();
    let mut bytes = [0; 4096];
    let mut is_counted = false;
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        held.extend_from_slice(&bytes[..read]);
        while let Some(end) = held.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(held.drain(..end + 4).collect()).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            if path != "/healthz" && !is_counted {
                is_counted = true;
                handshakes.fetch_add(1, SeqCst);
            }
            let proto = head.lines().find(|line| line.starts_with("x-forwarded-proto")).unwrap_or("");
            let body = format!("{path} {proto}");
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    }
}

fn https(setup: &Setup) -> String {
    setup.text().replace("protocol: HTTP\n", "protocol: HTTPS\n")
}

#[test]
fn g_6_4_a_backend_with_an_expired_certificate_of_another_name_serves() {
    let secure = Secure::start();
    let setup = setup(&[group("ig", NEAR).member("s", &secure.address)]);
    let check = "type: HTTPS, httpsHealthCheck: {requestPath: /healthz, portSpecification: USE_SERVING_PORT}";
    let lb = Lb::with_workers(&https(&setup.probed(check)), 1);
    let mut client = lb.client();
    for n in 0..20 {
        let answer = client.get(&format!("/{n}"));
        assert_eq!((answer.status, answer.text()), (200, format!("/{n} x-forwarded-proto: http")));
    }
    assert_eq!(secure.handshakes.load(SeqCst), 1, "the connection is kept");
}

#[test]
fn a_backend_that_speaks_no_tls_cannot_be_connected_to() {
    let (plain, health) = (toy("plain"), toy("health"));
    let setup = setup(&[group("ig", NEAR).member("plain", &plain)]).probed_at(&health);
    let lb = Lb::start(&https(&setup));
    let answer = lb.get("/");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("failed_to_connect_to_backend"), "{}", answer.text());
    assert_eq!(plain.requests(), 0);
}
