//! HTTPS in front: certificates by name, sessions, clients that must show who they are, limits of a handshake, and
//! certificates that change while requests run [G 6.12, 6.13, 8].

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use overspill::model::detail::StatusDetail;
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection};
use serde_json::Value;

use crate::support::backend::{Scripted, toy};
use crate::support::client::Client;
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, Setup, group, scripted, setup};
use crate::support::tls::{Authority, Pair, Tls, block, der, https};
use crate::support::{let_pass, wait_until};
use crate::websocket;

/// Our word for how a handshake failed.
fn failures(lb: &Lb, reason: &str) -> f64 {
    lb.metrics().sum("overspill_tls_handshake_failures_total", &[&format!("reason=\"{reason}\"")])
}

/// Clients are told before it is counted.
#[track_caller]
fn wait_failures(lb: &Lb, reason: &str, times: f64) {
    wait_until(&format!("{times} × {reason}"), || failures(lb, reason) >= times);
    assert_eq!(failures(lb, reason), times, "{reason}");
}

fn handshakes(lb: &Lb, version: &str, result: &str) -> f64 {
    let labels = [format!("version=\"{version}\""), format!("result=\"{result}\"")];
    lb.metrics().sum("overspill_tls_handshakes_total", &[&labels[0], &labels[1]])
}

#[track_caller]
fn connect(lb: &Lb, client: &Arc<ClientConfig>, name: &str) -> Tls {
    Tls::connect(lb.address(), client, name).unwrap()
}

/// Whether a handshake, or with TLS 1.3 the first answer after it, is refused.
fn is_refused(address: SocketAddr, client: &Arc<ClientConfig>) -> bool {
    Tls::connect(address, client, "web.example").and_then(|mut tls| tls.get("/")).is_err()
}

fn one_toy() -> (overspill::cli::toy::ToyBackend, Setup) {
    let toy = toy("a");
    let setup = setup(&[group("ig", NEAR).member("a", &toy)]);
    (toy, setup)
}

#[test]
fn g_6_13_an_exact_name_goes_before_a_wildcard_and_the_first_certificate_is_for_everyone_else() {
    let (_toy, setup) = one_toy();
    let authority = Authority::new("ca");
    let [first, wild, exact] =
        [&["first.example"][..], &["*.web.example"], &["a.web.example"]].map(|names| authority.server(names));
    let text = https(&setup, &[("first", &first), ("wild", &wild), ("exact", &exact)], "", "");
    let lb = Lb::start(&text);
    let client = Arc::new(overspill::net::tls::unverified().as_ref().clone());
    for (name, pair) in [
        ("first.example", &first),
        ("a.web.example", &exact),
        ("b.web.example", &wild),
        ("B.WEB.example", &wild),
        ("a.b.web.example", &first),
        ("web.example", &first),
        ("127.0.0.1", &first),
    ] {
        let mut tls = connect(&lb, &client, name);
        assert!(tls.shown() == der(&pair.chain), "{name}");
        assert_eq!(tls.get("/").unwrap().backend(), "a");
    }
    let status = lb.status();
    assert_eq!(status["listeners"][0]["kind"], "HTTPS proxy");
    let names = &status["listeners"][0]["sslCertificates"][1]["subjectAlternativeNames"];
    assert_eq!(names, &serde_json::json!(["*.web.example"]));
}

#[test]
fn g_6a_members_learn_that_the_client_spoke_https_and_bodies_are_whole_both_ways() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let lb = Lb::start(&https(&scripted(&backend, &health), &[("web", &pair)], "", ""));
    let mut client = authority.trusting(None);
    client.alpn_protocols = vec![b"spdy/3".to_vec(), b"http/1.1".to_vec()];
    let mut tls = connect(&lb, &Arc::new(client), "web.example");
    assert_eq!(tls.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let body = vec![b'x'; 1 << 20];
    tls.send(format!("POST /up HTTP/1.1\r\nhost: web.example\r\ncontent-length: {}\r\n\r\n", body.len()))
        .unwrap();
    tls.send(&body).unwrap();
    assert_eq!(tls.answer().unwrap().text(), "good");
    let seen = &backend.seen()[0];
    assert_eq!((seen.header("x-forwarded-proto"), seen.body.len()), (Some("https"), body.len()));
    tls.send("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n").unwrap();
    let answer = tls.answer().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    assert_eq!(tls.bytes(1).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof, "an orderly end");
    assert_eq!(handshakes(&lb, "TLSv1.3", "full"), 1.0);
    wait_until("the connection is over", || lb.open_connections() == 0);
}

#[test]
fn large_answers_are_whole() {
    let body = Arc::new(vec![b'y'; 3_000_000]);
    let of_backend = body.clone();
    let backend = Scripted::start(move |conn| {
        while conn.request().is_some() {
            conn.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", of_backend.len()));
            conn.write(&*of_backend);
        }
    });
    let health = toy("health");
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let lb = Lb::start(&https(&scripted(&backend, &health), &[("web", &pair)], "", ""));
    let mut tls = connect(&lb, &Arc::new(authority.trusting(None)), "web.example");
    for _ in 0..3 {
        assert!(tls.get("/").unwrap().body == *body);
    }
}

#[test]
fn a_session_is_taken_up_by_every_worker_and_after_a_reload() {
    let (_toy, setup) = one_toy();
    let authority = Authority::new("ca");
    let (pair, more) = (authority.server(&["web.example"]), authority.server(&["more.example"]));
    let lb = Lb::start(&https(&setup, &[("web", &pair)], "", ""));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = Arc::new(authority.trusting_with(ring::default_provider(), &[version], None));
        let is_resumed = || {
            let mut tls = connect(&lb, &client, "web.example");
            tls.get("/").unwrap();
            tls.is_resumed()
        };
        assert!(!is_resumed());
        // Two workers: in twenty connections both have their turn.
        assert!((0..20).all(|_| is_resumed()), "{version:?}");
        let first = lb.handle.world().generation;
        let text = match version.version {
            rustls::ProtocolVersion::TLSv1_3 => https(&setup, &[("web", &pair), ("more", &more)], "", ""),
            _ => https(&setup, &[("web", &pair)], ", httpKeepAliveTimeoutSec: 60", ""),
        };
        lb.reload(&text);
        assert!(lb.handle.world().generation > first && is_resumed());
    }
    assert_eq!([handshakes(&lb, "TLSv1.3", "full"), handshakes(&lb, "TLSv1.3", "resumed")], [1.0, 21.0]);
    assert_eq!([handshakes(&lb, "TLSv1.2", "full"), handshakes(&lb, "TLSv1.2", "resumed")], [1.0, 21.0]);
}

/// A server TLS policy `partners` that believes this authority.
pub(crate) fn partners(mode: &str, authority: &Authority) -> String {
    format!(
        "serverTlsPolicies:\n  - {{name: partners, mtlsPolicy: {{clientValidationMode: {mode}, \
         clientValidationTrustConfig: projects/p/locations/global/trustConfigs/partners}}}}\n\
         trustConfigs:\n  - name: partners\n    trustStores:\n      - trustAnchors:\n          - pemCertificate: {}",
        block(&authority.pem, 14)
    )
}

pub(crate) const ASKED: &str = ", serverTlsPolicy: partners";

#[test]
fn reject_invalid_lets_in_who_shows_a_good_certificate_and_logs_the_others() {
    let (_toy, setup) = one_toy();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let setup = setup.proxy(&format!("accessLog: {{path: {}}}", log.display()));
    let (authority, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let pair = authority.server(&["web.example"]);
    let lb = Lb::start(&https(&setup, &[("web", &pair)], ASKED, &partners("REJECT_INVALID", &authority)));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = |pair: Option<&Pair>| {
            Arc::new(authority.trusting_with(ring::default_provider(), &[version], pair))
        };
        let good = client(Some(&authority.client("partner")));
        assert_eq!(connect(&lb, &good, "web.example").get("/").unwrap().status, 200);
        let again = {
            let mut tls = connect(&lb, &good, "web.example");
            tls.get("/").unwrap();
            tls.is_resumed()
        };
        assert!(again, "a session of theirs is as good as a certificate");
        for bad in [None, Some(stranger.client("partner")), Some(authority.server(&["partner"]))] {
            assert!(is_refused(lb.address(), &client(bad.as_ref())), "{version:?}");
        }
    }
    lb.wait_ended(StatusDetail::ClientCertNotProvided, 2);
    lb.wait_ended(StatusDetail::ClientCertValidationFailed, 2);
    lb.wait_ended(StatusDetail::ClientCertInvalidEku, 2);
    wait_failures(&lb, "client_certificate", 6.0);
    lb.stop();
    let lines = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let refused: Vec<_> = lines.iter().filter(|line| line["httpRequest"]["status"] == 0).collect();
    assert_eq!((lines.len(), refused.len()), (10, 6));
    for line in refused {
        let detail = line["jsonPayload"]["statusDetails"].as_str().unwrap();
        assert!(detail.starts_with("client_cert_"), "{line}");
        assert_eq!(line["resource"]["labels"]["target_proxy_name"], "web-proxy");
    }
}

#[test]
fn allow_invalid_lets_everyone_in_who_has_the_key_of_what_is_shown() {
    let (_toy, setup) = one_toy();
    let (authority, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let pair = authority.server(&["web.example"]);
    let more = partners("ALLOW_INVALID_OR_MISSING_CLIENT_CERT", &authority);
    let lb = Lb::start(&https(&setup, &[("web", &pair)], ASKED, &more));
    for shown in [None, Some(stranger.client("x")), Some(authority.client("partner"))] {
        let client = Arc::new(authority.trusting(shown.as_ref()));
        assert_eq!(connect(&lb, &client, "web.example").get("/").unwrap().status, 200);
    }
}

/// A session holds no certificate, so it must not open what asks for one.
#[test]
fn a_session_from_a_proxy_that_asks_for_nothing_is_no_certificate() {
    let (_toy, setup) = one_toy();
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let text = https(&setup.fronts(&[("web", "0"), ("partners", "0")]), &[("web", &pair)], "", "");
    let text = text.replacen("target: web-proxy}", "target: open}", 1).replacen(
        "targetHttpsProxies:\n",
        "targetHttpsProxies:\n  - {name: open, urlMap: web-map, sslCertificates: [web]}\n",
        1,
    );
    let text = text.replacen(
        "sslCertificates: [web]}\nurl",
        "sslCertificates: [web], serverTlsPolicy: partners}\nurl",
        1,
    );
    let lb = Lb::start(&(text + &partners("REJECT_INVALID", &authority)));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = Arc::new(authority.trusting_with(ring::default_provider(), &[version], None));
        let to = |front: &str| Tls::connect(lb.front(front), &client, "web.example");
        for _ in 0..2 {
            assert_eq!(to("web").unwrap().get("/").unwrap().status, 200);
        }
        assert!(is_refused(lb.front("partners"), &client), "{version:?}");
        assert!(to("web").unwrap().is_resumed(), "the session itself was good: {version:?}");
    }
    lb.wait_ended(StatusDetail::ClientCertNotProvided, 2);
}

#[test]
fn g_6_12_what_a_policy_leaves_out_is_not_spoken() {
    let (_toy, setup) = one_toy();
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let policy = |fields: &str| {
        let more = format!("sslPolicies: [{{name: tls, {fields}}}]\n");
        https(&setup, &[("web", &pair)], ", sslPolicy: global/sslPolicies/tls", &more)
    };
    let client = |version, suite: Option<rustls::SupportedCipherSuite>| {
        let mut provider = ring::default_provider();
        provider.cipher_suites.retain(|one| suite.is_none_or(|suite| *one == suite));
        Arc::new(authority.trusting_with(provider, &[version], None))
    };
    let (new, old) = (client(&rustls::version::TLS13, None), client(&rustls::version::TLS12, None));
    let lb = Lb::start(&policy("profile: RESTRICTED, minTlsVersion: TLS_1_3"));
    assert!(!is_refused(lb.address(), &new) && is_refused(lb.address(), &old));
    wait_failures(&lb, "no_common_version", 1.0);

    lb.reload(&policy("profile: FIPS_202205, minTlsVersion: TLS_1_2"));
    let chacha = ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    let chacha = client(&rustls::version::TLS12, Some(chacha));
    assert!(!is_refused(lb.address(), &new) && !is_refused(lb.address(), &old));
    assert!(is_refused(lb.address(), &chacha));
    wait_failures(&lb, "no_common_cipher", 1.0);

    lb.reload(&policy("profile: CUSTOM, customFeatures: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]"));
    assert!(!is_refused(lb.address(), &chacha));
    let mut foreign = authority.trusting(None);
    foreign.alpn_protocols = vec![b"spdy/3".to_vec()];
    assert!(is_refused(lb.address(), &Arc::new(foreign)));
    wait_failures(&lb, "no_common_protocol", 1.0);
}

#[test]
fn http_in_clear_is_answered_in_clear_and_noise_is_not_answered() {
    let (_toy, setup) = one_toy();
    let authority = Authority::new("ca");
    let lb = Lb::start(&https(&setup, &[("web", &authority.server(&["web.example"]))], "", ""));
    let answer = lb.get("/");
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    assert!(answer.text().contains("plain_http_to_tls"), "{}", answer.text());
    lb.wait_ended(StatusDetail::PlainHttpToTls, 1);
    let mut noise = TcpStream::connect(lb.address()).unwrap();
    noise.write_all(b"\x05\x01\x00 no TLS at all, and longer than the header of a record").unwrap();
    let mut rest = Vec::new();
    let _ = noise.read_to_end(&mut rest);
    assert!(rest.len() < 16 && !rest.starts_with(b"HTTP"), "an alert at most: {rest:?}");
    drop(TcpStream::connect(lb.address()).unwrap());
    wait_until("all three are over", || lb.open_connections() == 0);
    for reason in ["client_closed", "plain_http", "not_tls"] {
        wait_failures(&lb, reason, 1.0);
    }
    assert_eq!(lb.metrics().sum("overspill_tls_handshakes_in_progress", &[]), 0.0);
}

#[test]
fn a_handshake_that_trickles_is_cut_and_nobody_else_waits() {
    let (_toy, setup) = one_toy();
    let authority = Authority::new("ca");
    let lb = Lb::start(&https(&setup, &[("web", &authority.server(&["web.example"]))], "", ""));
    let client = Arc::new(authority.trusting(None));
    let mut hello = Vec::new();
    let name = "web.example".try_into().unwrap();
    ClientConnection::new(client.clone(), name).unwrap().write_tls(&mut hello).unwrap();
    let (start, mut sent) = (Instant::now(), 0);
    let mut slow = TcpStream::connect(lb.address()).unwrap();
    slow.set_nonblocking(true).unwrap();
    // Never the whole of it, however long this takes.
    let is_cut = |slow: &mut TcpStream| match slow.read(&mut [0; 64]) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    while !is_cut(&mut slow) {
        assert!(start.elapsed() < Duration::from_secs(60), "it is never cut");
        if sent + 1 < hello.len() {
            let _ = slow.write(&hello[sent..=sent]);
            sent += 1;
        }
        assert_eq!(connect(&lb, &client, "web.example").get("/").unwrap().status, 200);
        let_pass(Duration::from_millis(100));
    }
    assert!(start.elapsed() >= Duration::from_secs(9), "cut after {:?}", start.elapsed());
    wait_failures(&lb, "timed_out", 1.0);
}

#[test]
fn an_idle_connection_ends_in_good_order() {
    let (_toy, setup) = one_toy();
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let lb = Lb::start(&https(&setup, &[("web", &pair)], ", httpKeepAliveTimeoutSec: 5", ""));
    let mut tls = connect(&lb, &Arc::new(authority.trusting(None)), "web.example");
    assert_eq!(tls.get("/").unwrap().status, 200);
    tls.stream.sock.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(
        tls.stream.read(&mut [0; 64]).unwrap(),
        0,
        "rustls tells a mere end of the socket as an error"
    );
}

#[test]
fn g_6_5_a_websocket_passes_over_tls() {
    let (backend, health) = (websocket::echo(), toy("health"));
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let lb = Lb::start(&https(&scripted(&backend, &health), &[("web", &pair)], "", ""));
    let mut tls = connect(&lb, &Arc::new(authority.trusting(None)), "web.example");
    tls.send(websocket::HANDSHAKE).unwrap();
    assert_eq!(tls.answer().unwrap().status, 101);
    for n in 0..50 {
        let message = format!("message {n} {}", "x".repeat(n * 100));
        tls.send(&message).unwrap();
        assert_eq!(tls.bytes(message.len()).unwrap(), message.as_bytes());
    }
    drop(tls);
    lb.wait_ended(StatusDetail::WebsocketClosed, 1);
}

/// The program with a certificate in files; killed when dropped.
pub(crate) struct Serve {
    child: Child,
    folder: tempfile::TempDir,
    pub(crate) front: SocketAddr,
    admin: SocketAddr,
}

impl Serve {
    pub(crate) fn start(setup: &Setup, pair: &Pair) -> Self {
        Self::start_with(setup, pair, None)
    }

    /// With an OCSP response in a file beside it.
    pub(crate) fn start_with(setup: &Setup, pair: &Pair, ocsp: Option<&[u8]>) -> Self {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (front, admin, folder) = (free(), free(), tempfile::tempdir().unwrap());
        let setup = setup.clone().fronts(&[("web", &front.port().to_string())]);
        let text =
            https(&setup, &[], "", "").replace("sslCertificates: []", "sslCertificates: [own]").replace(
                "sslCertificates:\n",
                "sslCertificates: [{name: own, certificateFile: own.pem, privateKeyFile: own.key}]\n",
            );
        let text = match ocsp {
            Some(_) => text.replace("own.key}", "own.key, ocspFile: own.ocsp}"),
            None => text,
        };
        if let Some(response) = ocsp {
            std::fs::write(folder.path().join("own.ocsp"), response).unwrap();
        }
        let file = folder.path().join("overspill.yaml");
        std::fs::write(&file, text).unwrap();
        write(folder.path(), pair);
        let log = std::fs::File::create(folder.path().join("stderr")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_overspill"))
            .args(["serve", "-c", file.to_str().unwrap(), "--admin", &admin.to_string()])
            .args(["--workers", "2", "--log-level", "trace"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let serve = Self { child, folder, front, admin };
        wait_until("it is ready", || {
            TcpStream::connect(serve.admin).is_ok()
                && Client::to_admin(serve.admin).get("/readyz").status == 200
        });
        serve
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn page(&self, path: &str) -> String {
        Client::to_admin(self.admin).get(path).text()
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.page("/status")).unwrap()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As programs that renew certificates write: each file at once, one after the other.
fn write(folder: &Path, pair: &Pair) {
    for (file, text) in [("own.key", &pair.key), ("own.pem", &pair.chain)] {
        std::fs::write(folder.join("new"), text).unwrap();
        std::fs::rename(folder.join("new"), folder.join(file)).unwrap();
    }
}

/// Requests on old and new connections until told to stop; counts those that succeeded, gives the first that failed.
fn load(
    front: SocketAddr,
    client: &Arc<ClientConfig>,
    is_over: &AtomicBool,
    done: &AtomicUsize,
) -> Result<(), String> {
    while !is_over.load(SeqCst) {
        let mut tls =
            Tls::connect(front, client, "web.example").map_err(|error| format!("connect: {error}"))?;
        for n in 0..5 {
            let answer = tls.get("/").map_err(|error| format!("request {n}: {error}"))?;
            if answer.status != 200 {
                return Err(format!("request {n}: {}", answer.status));
            }
            done.fetch_add(1, SeqCst);
        }
    }
    Ok(())
}

#[test]
fn certificates_in_files_are_swapped_under_load_without_a_failure_and_broken_ones_are_not_taken() {
    let (_toy, setup) = one_toy();
    let authority = Authority::new("ca");
    let pairs = [(); 4].map(|()| authority.server(&["web.example"]));
    let serve = Serve::start(&setup, &pairs[0]);
    let client = Arc::new(authority.trusting(None));
    let shown = || Tls::connect(serve.front, &fresh(&authority), "web.example").unwrap().shown();
    let (is_over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let loads: Vec<_> =
            (0..3).map(|_| scope.spawn(|| load(serve.front, &client, &is_over, &done))).collect();
        for pair in &pairs[1..3] {
            let before = done.load(SeqCst);
            wait_until("requests run", || done.load(SeqCst) > before + 20);
            write(serve.folder.path(), pair);
            wait_until("the new certificate is shown", || shown() == der(&pair.chain));
        }
        // A key alone fits nothing, and changes nothing.
        std::fs::write(serve.path("own.key"), &pairs[3].key).unwrap();
        wait_until("it is refused", || serve.status()["reload"]["ok"] == false);
        assert!(shown() == der(&pairs[2].chain));
        let problem = serve.status()["reload"]["problems"][0].clone();
        assert_eq!(problem["code"], "bad-certificate", "{problem}");
        let before = done.load(SeqCst);
        wait_until("requests run on", || done.load(SeqCst) > before + 20);
        std::fs::write(serve.path("own.pem"), &pairs[3].chain).unwrap();
        wait_until("its certificate makes it whole", || shown() == der(&pairs[3].chain));
        is_over.store(true, SeqCst);
        for load in loads {
            assert_eq!(load.join().unwrap(), Ok(()));
        }
    });
    assert_eq!(serve.status()["reload"]["ok"], true);
    let said = [
        serve.page("/status"),
        serve.page("/metrics"),
        serve.page("/"),
        std::fs::read_to_string(serve.path("stderr")).unwrap(),
    ];
    assert!(said[3].contains("a file that it names changed"), "{}", said[3]);
    for line in pairs.iter().flat_map(|pair| pair.key.lines()).filter(|line| !line.contains("-----")) {
        assert!(!said.iter().any(|text| text.contains(line)), "a private key is told");
    }
}

/// A client without sessions: with one, the certificate would not be shown anew.
fn fresh(authority: &Authority) -> Arc<ClientConfig> {
    Arc::new(authority.trusting(None))
}
