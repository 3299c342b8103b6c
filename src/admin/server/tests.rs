use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

mod api;

use super::*;
use crate::admin::failures::FAILURES;
use crate::admin::guard::Pace;
use crate::engine::start::{Overrides, start};

const READER: &str = "a-token-that-only-reads";
const WRITER: &str = "a-token-that-may-write";

/// An engine with this `proxy.admin`, and files beside its configuration.
struct Stage {
    folder: tempfile::TempDir,
    text: String,
    handle: Handle,
    server: AdminServer,
}

impl Stage {
    async fn new(admin: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tls");
        for name in ["localhost.pem", "localhost.key", "ca.pem"] {
            std::fs::copy(config.join(name), folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("reader"), READER.to_owned() + "\n").unwrap();
        std::fs::write(folder.path().join("writer"), WRITER).unwrap();
        let text = format!("proxy: {{zone: us-central1-a, accessLog: {{path: none}}, admin: {{{admin}}}}}\n");
        let origin = folder.path().join("lb.yaml");
        let overrides = Overrides { workers: Some(1), ..Overrides::default() };
        let handle = start(text.clone(), &origin, overrides).await.unwrap();
        let store = Store::in_memory(handle.clone(), &origin, text.clone());
        let server = AdminServer::start(handle.clone(), store, ([127, 0, 0, 1], 0).into()).await.unwrap();
        Self { folder, text, handle, server }
    }

    /// Status of an answer over plain HTTP.
    async fn ask(&self, line: &str, headers: &[&str]) -> u16 {
        let stream = TcpStream::connect(self.server.address()).await.unwrap();
        status(stream, line, &self.server.address().to_string(), headers).await.unwrap()
    }

    /// The same over TLS; `None` when the server will not have it.
    async fn ask_tls(&self, config: ClientConfig, line: &str, headers: &[&str]) -> Option<u16> {
        let stream = TcpStream::connect(self.server.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        status(stream, line, "localhost", headers).await
    }

    async fn end(self) {
        self.handle.stop().await;
    }
}

async fn status(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    line: &str,
    host: &str,
    headers: &[&str],
) -> Option<u16> {
    let mut request = format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for header in headers {
        request += &format!("{header}\r\n");
    }
    stream.write_all((request + "\r\n").as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // A server that closes without a word of TLS is an error to rustls, and no matter.
    let _ = stream.read_to_end(&mut answer).await;
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}")
}

/// Trusts the example authority; shows its client's certificate if it is to.
fn client(has_certificate: bool) -> ClientConfig {
    let file = |name: &str| {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tls").join(name)).unwrap()
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&file("ca.pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    if has_certificate {
        let chain = vec![CertificateDer::from_pem_slice(&file("client.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&file("client.key")).unwrap();
        builder.with_client_auth_cert(chain, key).unwrap()
    } else {
        builder.with_no_client_auth()
    }
}

const TOKENS: &str =
    "tokens: [{name: r, access: READ_ONLY, file: reader}, {name: w, access: READ_WRITE, file: writer}]";

/// What `POST /upgrade` says to whoever may ask, in a process that nobody could start anew.
const PASSED: u16 = 501;

#[tokio::test]
async fn tokens_are_asked_for_on_loopback_too_but_for_whether_it_lives() {
    let stage = Stage::new(TOKENS).await;
    for open in ["GET /", "GET /healthz", "HEAD /readyz"] {
        assert!([200, 503].contains(&stage.ask(open, &[]).await), "{open}");
    }
    for closed in ["GET /status", "GET /metrics", "POST /healthz", "POST /upgrade", "GET /nonsense"] {
        assert_eq!(stage.ask(closed, &[]).await, 401, "{closed}");
        assert_eq!(stage.ask(closed, &[&bearer("a-token-of-nobody")]).await, 401, "{closed}");
    }
    assert_eq!(stage.ask("GET /status", &[&bearer(READER)]).await, 200);
    assert_eq!(stage.ask("POST /upgrade", &[&bearer(READER)]).await, 403);
    assert_eq!(stage.ask("POST /upgrade", &[&bearer(WRITER)]).await, PASSED);
    stage.end().await;
}

#[tokio::test]
async fn unknown_tokens_are_429_after_so_many_and_a_known_one_from_the_same_address_is_let_in() {
    let stage = Stage::new(TOKENS).await;
    // No token is no guess.
    for _ in 0..=FAILURES {
        assert_eq!(stage.ask("GET /status", &[]).await, 401);
    }
    for guess in 0..FAILURES {
        assert_eq!(stage.ask("GET /status", &[&bearer(&format!("a-token-of-nobody-{guess}"))]).await, 401);
    }
    assert_eq!(stage.ask("GET /status", &[&bearer("a-token-of-nobody")]).await, 429);
    assert_eq!(stage.ask("GET /status", &[&bearer(READER)]).await, 200);
    assert_eq!(stage.ask("GET /healthz", &[&bearer("a-token-of-nobody")]).await, 200);
    assert_eq!(stage.ask("GET /status", &[]).await, 401);
    stage.end().await;
}

#[tokio::test]
async fn a_token_file_that_has_changed_counts_from_the_next_reload_on() {
    let stage = Stage::new(TOKENS).await;
    let path = stage.folder.path().join("reader");
    assert!(stage.handle.files().iter().any(|seen| seen.path == path), "it is followed");
    std::fs::write(&path, "another-token-that-reads").unwrap();
    stage.handle.apply(stage.text.clone(), Path::new("lb.yaml")).await.unwrap();
    assert_eq!(stage.ask("GET /status", &[&bearer(READER)]).await, 401);
    assert_eq!(stage.ask("GET /status", &[&bearer("another-token-that-reads")]).await, 200);
    stage.end().await;
}

#[tokio::test]
async fn pages_of_other_sites_and_forms_change_nothing() {
    let stage = Stage::new("readOnly: true").await;
    let own = format!("origin: http://{}", stage.server.address());
    assert_eq!(stage.ask("POST /upgrade", &[]).await, PASSED);
    assert_eq!(stage.ask("POST /upgrade", &[&own]).await, PASSED);
    for foreign in ["origin: http://evil.example", "origin: null", "sec-fetch-site: cross-site"] {
        assert_eq!(stage.ask("POST /upgrade", &[foreign]).await, 403, "{foreign}");
        assert_eq!(stage.ask("OPTIONS /status", &[foreign]).await, 403, "{foreign}");
        assert_eq!(stage.ask("GET /status", &[foreign]).await, 200, "{foreign}");
    }
    for form in ["text/plain", "Application/X-WWW-form-urlencoded; x=y", "multipart/form-data; boundary=b"] {
        assert_eq!(stage.ask("POST /upgrade", &[&format!("content-type: {form}")]).await, 415, "{form}");
    }
    for kind in ["application/json", "multipart/mixed; boundary=b"] {
        assert_eq!(stage.ask("POST /upgrade", &[&format!("content-type: {kind}")]).await, PASSED, "{kind}");
    }
    stage.end().await;
}

#[tokio::test]
async fn what_is_too_long_or_too_often_is_refused() {
    let stage = Stage::new("readOnly: true").await;
    let long = |bytes: usize| format!("content-length: {bytes}");
    assert_eq!(stage.ask("POST /upgrade", &[&long(guard::CHANGE_LIMIT + 1)]).await, 413);
    assert_eq!(stage.ask("POST /explain", &[&long(guard::BODY_LIMIT + 1)]).await, 413);
    let guard = Guard::new(stage.handle.clone(), stage.server.address(), Arc::new(Pace::used_up()));
    let refusal = guard.allows_change(&http::HeaderMap::new()).unwrap_err();
    assert_eq!(refusal.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refusal.headers()[header::RETRY_AFTER], "1");
    stage.end().await;
}

const TLS: &str = "tls: {certificate: localhost.pem, privateKey: localhost.key, clientCa: ca.pem}";

#[tokio::test]
async fn with_an_authority_alone_everyone_shows_a_certificate() {
    let stage = Stage::new(TLS).await;
    assert_eq!(stage.ask_tls(client(false), "GET /healthz", &[]).await, None);
    assert_eq!(stage.ask_tls(client(true), "POST /upgrade", &[]).await, Some(PASSED));
    stage.end().await;
}

#[tokio::test]
async fn with_an_authority_and_tokens_one_of_them_will_do() {
    let stage = Stage::new(&format!("{TOKENS}, {TLS}")).await;
    assert_eq!(stage.ask_tls(client(false), "GET /healthz", &[]).await, Some(200));
    assert_eq!(stage.ask_tls(client(false), "GET /status", &[]).await, Some(401));
    assert_eq!(stage.ask_tls(client(false), "GET /status", &[&bearer(READER)]).await, Some(200));
    assert_eq!(stage.ask_tls(client(true), "POST /upgrade", &[]).await, Some(PASSED));
    stage.end().await;
}

#[tokio::test]
async fn connections_that_are_idle_or_slow_keep_nobody_out() {
    let stage = Stage::new("readOnly: true").await;
    let host = stage.server.address();
    let answered = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let slow_body = format!("POST /explain HTTP/1.1\r\nhost: {host}\r\ncontent-length: 9\r\n\r\n{{");
    for said in ["", "GET /healthz HTTP/1.1\r\nhost: a", &answered, &slow_body] {
        let mut others = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(host).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            others.spawn(async move {
                let mut heard = Vec::new();
                let _ = stream.read_to_end(&mut heard).await;
                heard
            });
        }
        for _ in 0..3 {
            assert_eq!(stage.ask("GET /healthz", &[]).await, 200, "{said:?}");
        }
        // One of them made room, the others stay.
        let heard = others.join_next().await.unwrap().unwrap();
        assert_eq!(heard.starts_with(b"HTTP/1.1 200"), said == answered, "{said:?}");
    }
    stage.end().await;
}
