//! Target TCP and SSL proxies over real sockets: bytes, ends, targets in connections, drain [G 1.13, 1.22, 4.24].

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use overspill::balance::pick::Reason;
use overspill::cli::toy::ToyBackend;
use overspill::ledger::member::Count;
use overspill::ledger::service::Extra;
use overspill::model::detail::StatusDetail;
use overspill::net::tls;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::support::backend::toy;
use crate::support::lb::Lb;
use crate::support::setup::{FAR, Group, NEAR, Serves, Setup, group, setup};
use crate::support::{PATIENCE, let_pass, most_in_buffers, own_address, wait_until};

/// A member on raw sockets; each connection runs the script on a thread that ends with the process.
struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    is_dead: Arc<AtomicUsize>,
}

impl Server {
    fn start(script: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let address = own_address();
        let listener = TcpListener::bind(address).unwrap();
        let (accepted, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let is_dead = Arc::new(AtomicUsize::new(0));
        let (counted, held, dead, script) =
            (accepted.clone(), open.clone(), is_dead.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if dead.load(SeqCst) > 0 {
                    return;
                }
                counted.fetch_add(1, SeqCst);
                stream.set_nodelay(true).unwrap();
                let other = stream.try_clone().unwrap();
                held.lock().unwrap().push(stream.try_clone().unwrap());
                let script = script.clone();
                std::thread::spawn(move || {
                    script(stream);
                    // Others hold it still.
                    let _ = other.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, accepted, open, is_dead }
    }

    /// Says its name, then repeats what it hears, to the end.
    fn echo(name: &'static str) -> Self {
        Self::start(move |mut stream| {
            let _ = stream.write_all(name.as_bytes());
            echo(&mut stream);
            let _ = stream.shutdown(Shutdown::Write);
        })
    }

    fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// Accepts nothing more, and resets what it has.
    fn kill(&self) {
        self.is_dead.store(1, SeqCst);
        let _ = TcpStream::connect(self.address);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        wait_until("nothing listens", || TcpStream::connect(self.address).is_err());
    }
}

impl Serves for Server {
    fn at(&self) -> SocketAddr {
        self.address
    }
}

fn echo(stream: &mut (impl Read + Write)) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..count]).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A connection, once its member has said its name of `N` letters.
fn greeted<const N: usize>(address: SocketAddr) -> (TcpStream, String) {
    let mut stream = connect(address);
    let name = hear::<N>(&mut stream);
    (stream, name)
}

#[track_caller]
fn hear<const N: usize>(stream: &mut impl Read) -> String {
    let mut name = [0; N];
    stream.read_exact(&mut name).unwrap();
    String::from_utf8(name.to_vec()).unwrap()
}

/// Sends a word and hears it again.
#[track_caller]
fn assert_lives(stream: &mut (impl Read + Write)) {
    assert!(lives(stream), "the connection has ended");
}

fn lives(stream: &mut (impl Read + Write)) -> bool {
    let mut word = [0; 4];
    let said = stream.write_all(b"ping").and_then(|()| stream.flush());
    said.and_then(|()| stream.read_exact(&mut word)).is_ok_and(|()| word == *b"ping")
}

/// A connection that has the draining time of a second from a moment after `since`: alive within it, and then reset.
#[track_caller]
fn assert_drained(stream: &mut (impl Read + Write), since: Instant) {
    if lives(stream) {
        assert_reset(stream);
    }
    assert!(since.elapsed() >= Duration::from_secs(1), "it had less than its draining time");
}

/// Waits for the reset that everything but an orderly end comes as.
#[track_caller]
fn assert_reset(stream: &mut impl Read) {
    let mut rest = Vec::new();
    let error = stream.read_to_end(&mut rest).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

/// The setup behind a target TCP proxy. `proxy` are further fields of it.
fn tcp_with(setup: &Setup, proxy: &str) -> String {
    let http = "targetHttpProxies:\n  - {name: web-proxy, urlMap: web-map}\nurlMaps:\n  - {name: web-map, defaultService: web}\n";
    let text = setup.text();
    assert!(text.contains(http), "{text}");
    let tcp = format!("targetTcpProxies:\n  - {{name: web-proxy, service: web{proxy}}}\n");
    text.replace(http, &tcp).replace("protocol: HTTP\n", "protocol: TCP\n")
}

fn tcp(setup: &Setup) -> String {
    tcp_with(setup, "")
}

/// The same behind a target SSL proxy with the two certificates of the tests.
fn ssl(setup: &Setup) -> String {
    let mut certificates = "sslCertificates:\n".to_owned();
    for (name, chain, key) in [("one", ONE, ONE_KEY), ("two", TWO, TWO_KEY)] {
        let block = |pem: &str| pem.lines().map(|line| format!("      {line}\n")).collect::<String>();
        certificates += &format!(
            "  - name: {name}\n    certificate: |\n{}    privateKey: |\n{}",
            block(chain),
            block(key)
        );
    }
    tcp_with(setup, ", sslCertificates: [one, two]").replace("targetTcpProxies", "targetSslProxies")
        + &certificates
}

const ONE: &str = include_str!("../../src/model/testdata/one.pem");
const ONE_KEY: &str = include_str!("../../src/model/testdata/one.key");
const TWO: &str = include_str!("../../src/model/testdata/two.pem");
const TWO_KEY: &str = include_str!("../../src/model/testdata/two.key");

fn connections(name: &str, zone: &'static str, most: u32) -> Group {
    group(name, zone).mode(&format!("balancingMode: CONNECTION, maxConnections: {most}"))
}

/// As healthy as the toy, so that members see connections of clients alone.
fn probed(groups: &[Group], health: &ToyBackend) -> Setup {
    setup(groups).probed_at(health)
}

/// Connections that are open, by backend.
fn open(lb: &Lb) -> Vec<u64> {
    let world = lb.handle.world();
    world.services[0].backends.iter().map(|backend| backend.ledger.gate.in_flight()).collect()
}

fn picks(lb: &Lb, backend: usize, reason: Reason) -> u64 {
    lb.handle.world().services[0].backends[backend].ledger.picks(reason)
}

#[test]
fn bytes_arrive_whole_both_ways_and_a_slow_reader_slows_the_writer_down() {
    // Client, proxy and member have a socket each way.
    let total = 5 * most_in_buffers();
    let (health, server) = (toy("health"), Server::start(|mut stream| echo(&mut stream)));
    let setup = probed(&[connections("ig", NEAR, 10).member("a", &server)], &health);
    let lb = Lb::start(&tcp(&setup));
    let mut stream = connect(lb.address());
    let sent = Arc::new(AtomicUsize::new(0));
    let (mut writer, count) = (stream.try_clone().unwrap(), sent.clone());
    let byte = |at: usize| (at.wrapping_mul(2_654_435_761) >> 16) as u8;
    let writing = std::thread::spawn(move || {
        let mut at = 0;
        while at < total {
            let chunk: Vec<u8> = (at..(at + 64 * 1024).min(total)).map(byte).collect();
            writer.write_all(&chunk).unwrap();
            at += chunk.len();
            count.store(at, SeqCst);
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut before = usize::MAX;
    wait_until("the writer is stuck", || {
        let_pass(Duration::from_millis(100));
        let now = sent.load(SeqCst);
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(sent.load(SeqCst) < total, "all of it was swallowed while nobody read");
    let mut back = Vec::with_capacity(total);
    stream.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert_eq!(back.len(), total);
    assert!(back.iter().enumerate().all(|(at, got)| *got == byte(at)), "the same bytes");
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 1);
    let world = lb.handle.world();
    let member = &world.services[0].backends[0].members[0].numbered.member;
    let sums = [Count::BytesUp, Count::BytesDown, Count::Class2].map(|what| member.sum(what));
    assert_eq!(sums, [total as u64, total as u64, 1]);
}

#[test]
fn each_side_may_end_first_and_goes_on_reading() {
    let health = toy("health");
    let after = Server::start(|mut stream| {
        let mut question = String::new();
        stream.read_to_string(&mut question).unwrap();
        let _ = stream.write_all(format!("heard {question}").as_bytes());
    });
    let heard = Arc::new(Mutex::new(String::new()));
    let (hearing, ended) = (heard.clone(), Arc::new(AtomicUsize::new(0)));
    let has_ended = ended.clone();
    let before = Server::start(move |mut stream| {
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_string(&mut hearing.lock().unwrap()).unwrap();
        has_ended.store(1, SeqCst);
    });
    for (server, is_after) in [(&after, true), (&before, false)] {
        let setup = probed(&[connections("ig", NEAR, 10).member("a", server)], &health);
        let lb = Lb::start(&tcp(&setup));
        let mut stream = connect(lb.address());
        let mut answer = String::new();
        if is_after {
            stream.write_all(b"the question").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "heard the question");
        } else {
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "bye");
            stream.write_all(b"and yet more").unwrap();
            drop(stream);
            wait_until("the member has heard it", || ended.load(SeqCst) == 1);
            assert_eq!(*heard.lock().unwrap(), "and yet more");
        }
        lb.wait_ended(StatusDetail::ResponseSentByBackend, 1);
    }
}

#[test]
fn proxy_v1_names_the_client_in_the_first_line() {
    let (health, server) = (toy("health"), Server::start(|mut stream| echo(&mut stream)));
    let setup = probed(&[connections("ig", NEAR, 10).member("a", &server)], &health);
    let lb = Lb::start(&tcp_with(&setup, ", proxyHeader: PROXY_V1"));
    let mut stream = connect(lb.address());
    let (from, to) = (stream.local_addr().unwrap(), lb.address());
    stream.write_all(b"then this").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\nthen this", from.port(), to.port()));
}

fn shake(address: SocketAddr, name: &'static str) -> StreamOwned<ClientConnection, TcpStream> {
    let connection = ClientConnection::new(tls::unverified(), ServerName::try_from(name).unwrap()).unwrap();
    StreamOwned::new(connection, connect(address))
}

#[test]
fn tls_ends_at_the_proxy_and_begins_anew_towards_the_members_of_an_ssl_service() {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(
        include_bytes!("../../src/net/testdata/key.der").as_slice(),
    ));
    let expired = CertificateDer::from(include_bytes!("../../src/net/testdata/expired.der").as_slice());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![expired], key)
        .unwrap();
    let config = Arc::new(config);
    // The PROXY line comes in clear, before the handshake.
    let server = Server::start(move |mut stream| {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        let _ = stream.write_all(&line[..10]);
        echo(&mut stream);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    let health = toy("health");
    let setup = probed(&[connections("ig", NEAR, 10).member("a", &server)], &health);
    let text = ssl(&setup).replace("protocol: TCP", "protocol: SSL");
    let text =
        text.replace("sslCertificates: [one, two]", "sslCertificates: [one, two], proxyHeader: PROXY_V1");
    let lb = Lb::start(&text);
    for (name, pem) in [("two.example", TWO), ("elsewhere.example", ONE)] {
        let mut stream = shake(lb.address(), name);
        assert_eq!(hear::<10>(&mut stream), "PROXY TCP4");
        assert_lives(&mut stream);
        let shown = stream.conn.peer_certificates().unwrap()[0].clone();
        let expected =
            <CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(pem.as_bytes());
        assert_eq!(shown, expected.unwrap(), "{name}");
        let big: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        let mut back = vec![0; big.len()];
        // The other way comes back meanwhile; both fit into the buffers on the way only in pieces.
        for (out, back) in big.chunks(50_000).zip(back.chunks_mut(50_000)) {
            stream.write_all(out).unwrap();
            stream.read_exact(back).unwrap();
        }
        assert!(back == big, "the same bytes");
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 2);
}

#[test]
fn a_client_that_speaks_no_tls_to_an_ssl_proxy_reaches_nobody() {
    let (health, server) = (toy("health"), Server::echo("a"));
    let setup = probed(&[connections("ig", NEAR, 10).member("a", &server)], &health);
    let lb = Lb::start(&ssl(&setup));
    let mut stream = connect(lb.address());
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    lb.wait_ended(StatusDetail::TlsHandshakeFailed, 1);
    assert_eq!((server.accepted(), lb.handle.process().details(StatusDetail::TlsHandshakeFailed)), (0, 1));
}

/// [G 1.22, 2.6]
#[test]
fn a_target_in_connections_is_not_exceeded_by_two_workers_while_another_backend_has_room() {
    let (health, near, far) = (toy("health"), Server::echo("near"), Server::echo("away"));
    let setup = probed(
        &[
            connections("ig-near", NEAR, 20).member("n", &near),
            connections("ig-far", FAR, 10).member("f", &far),
        ],
        &health,
    );
    let lb = Lb::start(&tcp(&setup));
    let address = lb.address();
    // Eight threads at once: both workers take part, and every one of them wants the last room.
    let burst = |each: usize| {
        let threads: Vec<_> = (0..each)
            .map(|_| std::thread::spawn(move || (0..3).map(|_| greeted::<4>(address)).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    };
    let mut held = burst(8);
    assert_eq!(open(&lb), [20, 4]);
    held.extend(burst(2));
    assert_eq!(open(&lb), [20, 10]);
    assert_eq!((picks(&lb, 1, Reason::Full), picks(&lb, 0, Reason::Overfilled)), (10, 0));
    // All full: nobody is refused, and both get more, two to one [G 2.6].
    held.extend(burst(5));
    let all = open(&lb);
    assert!(all[0].abs_diff(30) <= 2 && all[0] + all[1] == 45, "{all:?}");
    // Room that comes back is used again, and the far one is left alone meanwhile.
    held.retain(|(_, name)| name != "near");
    wait_until("the near ones have ended", || open(&lb) == [0, all[1]]);
    held.extend(burst(2));
    assert_eq!(open(&lb), [6, all[1]]);
}

/// What a member itself sees, while connections come and go on two workers.
#[test]
fn no_more_connections_than_the_target_are_ever_open_at_a_member_while_another_has_room() {
    let (health, far) = (toy("health"), Server::echo("away"));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (open_now, seen_most) = (now.clone(), most.clone());
    let near = Server::start(move |mut stream| {
        seen_most.fetch_max(open_now.fetch_add(1, SeqCst) + 1, SeqCst);
        let _ = stream.write_all(b"near");
        echo(&mut stream);
        // Before the other side can know that this one has ended.
        open_now.fetch_sub(1, SeqCst);
    });
    let setup = probed(
        &[
            connections("ig-near", NEAR, 4).member("n", &near),
            connections("ig-far", FAR, 1000).member("f", &far),
        ],
        &health,
    );
    let lb = Lb::start(&tcp(&setup));
    let address = lb.address();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..100 {
                    let (mut stream, _) = greeted::<4>(address);
                    assert_lives(&mut stream);
                    stream.shutdown(Shutdown::Write).unwrap();
                    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(most.load(SeqCst), 4, "filled, and never over");
    assert!(picks(&lb, 1, Reason::Full) > 0);
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 800);
}

#[test]
fn utilization_with_a_target_in_connections_is_full_at_that_target() {
    let (health, near, far) = (toy("health"), Server::echo("near"), Server::echo("away"));
    let mode = "balancingMode: UTILIZATION, maxConnections: 3";
    let setup = probed(
        &[
            group("ig-near", NEAR).mode(mode).member("n", &near),
            group("ig-far", FAR).mode(mode).member("f", &far),
        ],
        &health,
    );
    // Connections carry no reports: what decides is the count.
    let text =
        tcp(&setup).replace("    namedPorts", "    utilization: {source: ORCA_HEADER}\n    namedPorts");
    let lb = Lb::start(&text);
    let held: Vec<_> = (0..5).map(|_| greeted::<4>(lb.address())).collect();
    assert_eq!(open(&lb), [3, 2]);
    assert_eq!(held.iter().filter(|(_, name)| name == "near").count(), 3);
}

#[test]
fn a_dead_member_is_passed_over_and_its_connections_end_with_a_reset() {
    let (health, servers) = (toy("health"), [Server::echo("a"), Server::echo("b")]);
    let ig = connections("ig", NEAR, 100).member("a", &servers[0]).member("b", &servers[1]);
    let lb = Lb::start(&tcp(&probed(&[ig], &health)));
    let mut held: Vec<_> = (0..4).map(|_| greeted::<1>(lb.address())).collect();
    assert_eq!(held.iter().filter(|(_, name)| name == "a").count(), 2, "in turn");
    servers[0].kill();
    for _ in 0..6 {
        assert_eq!(greeted::<1>(lb.address()).1, "b");
    }
    assert!(lb.extra(Extra::Retries) >= 2, "its turn came, and another member was tried");
    for (stream, name) in &mut held {
        if name == "b" {
            assert_lives(stream);
        } else {
            let _ = stream.write_all(b"anyone?");
            let end = stream.read(&mut [0; 8]);
            assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        }
    }
}

#[test]
fn without_a_healthy_member_a_connection_is_reset_and_counted() {
    let (health, server) = (toy("health"), Server::echo("a"));
    health.set_health(500);
    let lb = Lb::start(&tcp(&probed(&[connections("ig", NEAR, 10).member("a", &server)], &health)));
    assert_reset(&mut connect(lb.address()));
    lb.wait_ended(StatusDetail::FailedToPickBackend, 1);
    server.kill();
    health.set_health(200);
    lb.wait_health("a", true);
    assert_reset(&mut connect(lb.address()));
    lb.wait_ended(StatusDetail::FailedToConnectToBackend, 1);
    assert_eq!(open(&lb), [0]);
}

#[test]
fn a_silent_connection_ends_after_timeout_sec_and_a_talking_one_does_not() {
    let (health, server) = (toy("health"), Server::echo("a"));
    let setup = probed(&[connections("ig", NEAR, 10).member("a", &server)], &health).service("timeoutSec: 1");
    let lb = Lb::start(&tcp(&setup));
    let (mut silent, _) = greeted::<1>(lb.address());
    let (mut talking, _) = greeted::<1>(lb.address());
    let (started, mut spoke, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    while started.elapsed() < Duration::from_millis(2200) {
        let_pass(Duration::from_millis(50));
        let is_alive = lives(&mut talking);
        longest = longest.max(spoke.elapsed());
        // A machine that stands still for a second makes it a silent one.
        assert!(is_alive || longest > Duration::from_millis(800), "cut while it talked");
        if !is_alive {
            (talking, _) = greeted::<1>(lb.address());
            (longest, spoke) = (Duration::ZERO, Instant::now());
            continue;
        }
        spoke = Instant::now();
    }
    assert_reset(&mut silent);
    wait_until("it is counted", || lb.ended(StatusDetail::BackendTimeout) >= 1);
}

/// [G 4.24]
#[test]
fn a_reload_keeps_connections_and_those_of_a_removed_member_have_the_draining_time() {
    let (health, servers) = (toy("health"), [Server::echo("a"), Server::echo("b")]);
    let ig = connections("ig", NEAR, 100).member("a", &servers[0]).member("b", &servers[1]);
    let of = |ig: &Group| {
        let setup = probed(std::slice::from_ref(ig), &health);
        tcp(&setup.service("connectionDraining: {drainingTimeoutSec: 1}"))
    };
    let lb = Lb::start(&of(&ig));
    let mut held: Vec<_> = (0..4).map(|_| greeted::<1>(lb.address())).collect();
    lb.reload(&of(&ig.clone().mode("balancingMode: CONNECTION, maxConnections: 7")));
    held.iter_mut().for_each(|(stream, _)| assert_lives(stream));
    assert_eq!(open(&lb), [4], "what is open counts on");
    let began = Instant::now();
    lb.reload(&of(&ig.without("a")));
    held.iter_mut().filter(|(_, name)| name == "a").for_each(|(stream, _)| assert_drained(stream, began));
    lb.wait_ended(StatusDetail::ConnectionDrained, 2);
    held.iter_mut().filter(|(_, name)| name == "b").for_each(|(stream, _)| assert_lives(stream));
    assert_eq!((open(&lb), greeted::<1>(lb.address()).1.as_str()), (vec![2], "b"));
}

#[test]
fn connections_of_a_removed_forwarding_rule_have_the_draining_time_too() {
    let (health, server) = (toy("health"), Server::echo("a"));
    let setup = probed(&[connections("ig", NEAR, 10).member("a", &server)], &health)
        .service("connectionDraining: {drainingTimeoutSec: 1}");
    let lb = Lb::start(&tcp(&setup.clone().fronts(&[("old", "0"), ("new", "0")])));
    let (mut old, _) = greeted::<1>(lb.front("old"));
    let (mut new, _) = greeted::<1>(lb.front("new"));
    let began = Instant::now();
    lb.reload(&tcp(&setup.fronts(&[("new", "0")])));
    assert_drained(&mut old, began);
    assert_lives(&mut new);
    lb.wait_ended(StatusDetail::ConnectionDrained, 1);
}

#[test]
fn a_stop_waits_for_open_connections_and_takes_no_new_ones() {
    let (health, server) = (toy("health"), Server::echo("a"));
    let lb = Lb::start(&tcp(&probed(&[connections("ig", NEAR, 10).member("a", &server)], &health)));
    let address = lb.address();
    let (mut stream, _) = greeted::<1>(address);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| lb.stop());
        wait_until("nothing listens", || TcpStream::connect(address).is_err());
        assert_lives(&mut stream);
        assert!(!stopping.is_finished());
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        stopping.join().unwrap();
    });
    assert_eq!((lb.open_connections(), lb.ended(StatusDetail::ConnectionDrained)), (0, 0));
}

#[test]
fn client_ip_keeps_a_client_on_its_member() {
    let (health, servers) = (toy("health"), [Server::echo("a"), Server::echo("b"), Server::echo("c")]);
    let mut ig = connections("ig", NEAR, 100);
    for (name, server) in ["a", "b", "c"].into_iter().zip(&servers) {
        ig = ig.member(name, server);
    }
    let lb = Lb::start(&tcp(&probed(&[ig], &health).service("sessionAffinity: CLIENT_IP")));
    let first = greeted::<1>(lb.address()).1;
    assert!((0..12).all(|_| greeted::<1>(lb.address()).1 == first));
}

#[test]
fn each_connection_is_one_line_of_the_access_log() {
    let path = std::env::temp_dir().join(format!("overspill-it-{}-tcp.log", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let (health, server) = (toy("health"), Server::echo("hello"));
    let setup = probed(&[connections("ig", NEAR, 10).member("a", &server)], &health)
        .proxy(&format!("accessLog: {{path: {}}}", path.display()));
    let lb = Lb::start(&tcp(&setup));
    let (mut stream, _) = greeted::<5>(lb.address());
    let port = stream.local_addr().unwrap().port();
    assert_lives(&mut stream);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    lb.stop();
    let text = std::fs::read_to_string(&path).unwrap();
    let _ = std::fs::remove_file(&path);
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let payload = &line["jsonPayload"];
    assert_eq!(text.lines().count(), 1);
    assert_eq!((&payload["bytesReceived"], &payload["bytesSent"]), (&"4".into(), &"9".into()));
    assert_eq!(payload["connection"]["clientPort"], port);
    assert_eq!(payload["connection"]["serverPort"], server.address.port());
    assert_eq!(payload["statusDetails"], "response_sent_by_backend");
    assert_eq!((&payload["backend"], &payload["spillReason"]), (&"ig".into(), &"nearest".into()));
}
