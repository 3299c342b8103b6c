//! How datagrams of HTTP/3 find their connection: a client that moves, more workers than sockets, another process; and
//! who is let in at all.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h3_quinn::quinn::ConnectionError;
use http::Request;
use overspill::ledger::process::Traffic;
use overspill::model::detail::StatusDetail;

use crate::http3::Front;
use crate::support::backend::{Scripted, Valve, toy};
use crate::support::h3::{Http3, dial, endpoint, get, run, whole};
use crate::support::installed::Installation;
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, Setup, group, scripted, setup};
use crate::support::tls::{Authority, Pair, https};
use crate::support::{PATIENCE, hogging, wait_until};
use crate::tls_front::{ASKED, partners};

const ENABLED: &str = ", quicOverride: ENABLE";

/// The text of an installation that speaks HTTP/3.
fn text(installed: &Installation, setup: &Setup, pair: &Pair) -> String {
    let setup = setup.clone().fronts(&[("web", &installed.front.port().to_string())]);
    let own = format!("IPAddress: {}", installed.front.ip());
    https(&setup, &[("web", pair)], ENABLED, "").replace("IPAddress: 127.0.0.1", &own)
}

fn workers(count: usize) -> String {
    format!("accessLog: {{path: none}}\n  workers: {count}")
}

#[test]
fn a_client_whose_address_changes_goes_on_and_members_learn_the_new_one() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let setup = scripted(&backend, &health);
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let lb = Lb::with_workers(&https(&setup, &[("web", &pair)], ENABLED, ""), 3);
    let front = Front { lb, authority, pair };
    run(async {
        let mut client = front.connect().await;
        assert_eq!(client.get("/").await.unwrap().status, 200);
        let mut held = client.send.send_request(get("/held")).await.unwrap();
        held.finish().await.unwrap();
        wait_until("it has arrived", || front.lb.in_flight() == 1);
        // Each time the kernel may give its datagrams to another worker's socket.
        for n in 2..12 {
            client.endpoint.rebind(UdpSocket::bind(format!("127.0.0.{n}:0")).unwrap()).unwrap();
            assert_eq!(client.get("/").await.unwrap().status, 200, "{n}");
            // Its first datagram there is what tells; what follows bears the new address.
            let told = |n: u8| format!("127.0.0.{n},127.0.0.1");
            let is_told = || backend.seen().last().unwrap().header("x-forwarded-for") == Some(&*told(n));
            while !is_told() {
                assert_eq!(client.get("/").await.unwrap().status, 200, "{n}");
            }
        }
        valve.open();
        assert_eq!(whole(&mut held).await.unwrap().text(), "held", "what was begun before");
    });
    assert_eq!(front.count(Traffic::Http3Connections), 1);
}

#[test]
fn over_quic_too_a_client_must_show_a_certificate_where_it_is_asked_for_one() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let headers = "customRequestHeaders: ['x-cert: {client_cert_present} {client_cert_chain_verified} \
                   {client_cert_error}']";
    let setup = scripted(&backend, &health).service(headers);
    let (authority, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let pair = authority.server(&["web.example"]);
    let with =
        |mode| https(&setup, &[("web", &pair)], &format!("{ASKED}{ENABLED}"), &partners(mode, &authority));
    let lb = Lb::start(&with("REJECT_INVALID"));
    let shown = [None, Some(stranger.client("partner")), Some(authority.client("partner"))];
    let clients = shown.each_ref().map(|pair| authority.trusting(pair.as_ref()));
    run(async {
        for bad in &clients[..2] {
            // The client is done before it hears what the server thinks of its certificate.
            if let Ok((_endpoint, conn)) = dial(lb.address(), bad, "web.example").await {
                assert!(matches!(conn.closed().await, ConnectionError::ConnectionClosed(_)));
            }
        }
        let mut good = Http3::connect(lb.address(), &clients[2]).await.unwrap();
        assert_eq!(good.get("/").await.unwrap().status, 200);
    });
    lb.wait_ended(StatusDetail::ClientCertNotProvided, 1);
    lb.wait_ended(StatusDetail::ClientCertValidationFailed, 1);
    lb.wait_sum("overspill_tls_handshake_failures_total", &["reason=\"client_certificate\""], 2.0);
    let lenient = Lb::start(&with("ALLOW_INVALID_OR_MISSING_CLIENT_CERT"));
    run(async {
        for client in &clients {
            let mut http3 = Http3::connect(lenient.address(), client).await.unwrap();
            assert_eq!(http3.get("/").await.unwrap().status, 200);
        }
    });
    let told: Vec<_> = backend.seen().iter().map(|seen| seen.header("x-cert").unwrap().to_owned()).collect();
    assert_eq!(
        told,
        [
            "true true",
            "false false client_cert_not_provided",
            "true false client_cert_validation_failed",
            "true true"
        ]
    );
}

/// The first datagram of a connection that nobody goes on with.
async fn initial(client: &rustls::ClientConfig) -> Vec<u8> {
    let nobody = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(client);
    let _connecting = endpoint.connect(nobody.local_addr().unwrap(), "web.example").unwrap();
    let mut datagram = vec![0; 2000];
    let length = nobody.recv(&mut datagram).await.unwrap();
    datagram.truncate(length);
    datagram
}

#[test]
fn while_many_shake_hands_a_newcomer_must_show_that_its_address_is_its_own() {
    let toy = toy("a");
    let setup = setup(&[group("ig", NEAR).member("a", &toy)]);
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let front =
        Front { lb: Lb::with_workers(&https(&setup, &[("web", &pair)], ENABLED, ""), 1), authority, pair };
    let retries = || front.count(Traffic::QuicRetries);
    run(async {
        let client = front.authority.trusting(None);
        let flood = UdpSocket::bind("127.0.0.1:0").unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "nobody is asked");
            // Handshakes that are begun and never ended, until there are too many of them.
            let before = retries();
            while retries() == before {
                assert!(Instant::now() < end, "nobody is asked");
                flood.send_to(&initial(&client).await, front.lb.address()).unwrap();
            }
            let before = retries();
            let mut http3 = front.connect().await;
            assert_eq!(http3.get("/").await.unwrap().status, 200, "who is where it says gets in");
            if retries() > before {
                break;
            }
        }
    });
    assert!(front.lb.metrics().sum("overspill_quic_retries_total", &[]) >= 2.0);
}

#[test]
fn over_max_connections_a_newcomer_is_not_heard_until_there_is_room() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let front =
        Front::start(&scripted(&backend, &health).proxy("accessLog: {path: none}\n  maxConnections: 2"));
    run(async {
        let mut clients = [front.connect().await, front.connect().await];
        let mut held = Vec::new();
        for client in &mut clients {
            let mut stream = client.send.send_request(get("/held")).await.unwrap();
            stream.finish().await.unwrap();
            held.push(stream);
        }
        wait_until("both are busy", || front.lb.in_flight() == 2);
        let (address, client) = (front.lb.address(), front.authority.trusting(None));
        let third = tokio::spawn(async move { Http3::connect(address, &client).await });
        while front.count(Traffic::QuicUnheard) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!third.is_finished());
        valve.open();
        for stream in &mut held {
            assert_eq!(whole(stream).await.unwrap().text(), "held");
        }
        clients[0].conn.close(0x100_u32.into(), b"");
        // It has tried again by itself.
        let mut third = third.await.unwrap().unwrap();
        assert_eq!(third.get("/").await.unwrap().status, 200);
    });
    assert_eq!(front.count(Traffic::Http3Connections), 3);
}

#[test]
fn requests_of_http_3_outlive_upgrades_up_to_the_drain_limit() {
    let _alone = hogging();
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let setup = |count| scripted(&backend, &health).proxy(&workers(count));
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let installed = Installation::new("http3-outlive", &setup(2));
    installed.write(&text(&installed, &setup(2), &pair));
    let mut served = installed.serve();
    let client = authority.trusting(None);
    run(async {
        let mut http3 = Http3::connect(installed.front, &client).await.unwrap();
        let request = || Request::post("https://web.example/up").body(()).unwrap();
        let mut half = http3.send.send_request(request()).await.unwrap();
        half.send_data(Bytes::from(vec![b'x'; 100_000])).await.unwrap();
        let mut held = http3.send.send_request(get("/held")).await.unwrap();
        held.finish().await.unwrap();
        wait_until("it has arrived", || backend.requests() == 1);
        let began = Instant::now();
        for count in [3, 1] {
            installed.write(&text(&installed, &setup(count), &pair));
            let new = installed.upgraded();
            wait_until("the new process answers", || installed.pid() == new);
            let mut other = Http3::connect(installed.front, &client).await.unwrap();
            assert_eq!(other.get("/").await.unwrap().status, 200, "the new one serves HTTP/3");
        }
        valve.open();
        let whole_of = async {
            half.send_data(Bytes::from(vec![b'y'; 300_000])).await?;
            half.finish().await?;
            Ok::<_, h3::error::StreamError>((whole(&mut half).await?, whole(&mut held).await?))
        };
        let ended = whole_of.await;
        // Of a machine that stands still for so long there is nothing to learn: they may be cut after 30 s.
        if began.elapsed() < Duration::from_secs(25) {
            let (half, held) = ended.unwrap();
            assert_eq!((&*half.text(), &*held.text()), ("held", "held"));
            let bodies = backend.seen().iter().map(|seen| seen.body.len()).max();
            assert_eq!(bodies, Some(400_000), "the rest of a body came by way of the new processes");
            assert!(http3.get("/").await.is_err(), "the client was sent away");
        }
    });
    assert_eq!(served.wait_end(), Some(0), "{}", installed.log());
}

#[test]
fn where_the_new_process_speaks_no_http_3_the_old_one_ends_its_requests_by_itself() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let setup = scripted(&backend, &health).proxy(&workers(2));
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let installed = Installation::new("http3-off", &setup);
    installed.write(&text(&installed, &setup, &pair));
    let mut served = installed.serve();
    run(async {
        let mut http3 = Http3::connect(installed.front, &authority.trusting(None)).await.unwrap();
        let mut held = http3.send.send_request(get("/held")).await.unwrap();
        held.finish().await.unwrap();
        wait_until("it has arrived", || backend.requests() == 1);
        installed.write(&text(&installed, &setup, &pair).replace(ENABLED, ""));
        let began = Instant::now();
        let new = installed.upgraded();
        wait_until("the new process answers", || installed.pid() == new);
        valve.open();
        let ended = whole(&mut held).await;
        // As above.
        if began.elapsed() < Duration::from_secs(25) {
            assert_eq!(ended.unwrap().text(), "held");
        }
    });
    assert_eq!(served.wait_end(), Some(0), "{}", installed.log());
}

/// Nanoseconds that each worker of a process has run.
fn ran(pid: u64) -> HashMap<String, u64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let read = |task: std::io::Result<std::fs::DirEntry>| {
        let path = task.ok()?.path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let ran = std::fs::read_to_string(path.join("schedstat")).ok()?;
        Some((name.trim().to_owned(), ran.split(' ').next()?.parse().ok()?))
    };
    tasks.filter_map(read).filter(|(name, _)| name.starts_with("worker-")).collect()
}

/// Clients come until no worker has done less than a twentieth of what the busiest has; an idle one does far less.
fn all_work(pid: u64, count: usize, address: SocketAddr, client: &rustls::ClientConfig) {
    let before = ran(pid);
    assert_eq!(before.len(), count);
    let end = Instant::now() + PATIENCE;
    loop {
        run(async {
            for _ in 0..10 {
                let mut http3 = Http3::connect(address, client).await.unwrap();
                assert_eq!(http3.get("/").await.unwrap().status, 200);
            }
        });
        let work: Vec<u64> = ran(pid).iter().map(|(name, ran)| ran - before[name]).collect();
        if work.iter().min().unwrap() * 20 > *work.iter().max().unwrap() {
            return;
        }
        assert!(Instant::now() < end, "some do nothing: {work:?}");
    }
}

#[test]
fn after_an_upgrade_to_more_workers_all_of_them_speak_http_3() {
    let a = toy("a");
    let setup = |count| setup(&[group("ig", NEAR).member("a", &a)]).proxy(&workers(count));
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let installed = Installation::new("http3-more", &setup(1));
    installed.write(&text(&installed, &setup(1), &pair));
    let _served = installed.serve();
    installed.write(&text(&installed, &setup(3), &pair));
    let new = installed.upgraded();
    wait_until("the new process answers", || installed.pid() == new);
    all_work(new, 3, installed.front, &authority.trusting(None));
}

#[test]
fn sockets_of_udp_are_taken_over_from_systemd_by_name_and_by_address() {
    let a = toy("a");
    let setup = setup(&[group("ig", NEAR).member("a", &a)]).proxy(&workers(2));
    let authority = Authority::new("ca");
    let (pair, client) = (authority.server(&["web.example"]), authority.trusting(None));
    for names in ["web:web", "other:another"] {
        let installed = Installation::new(&format!("http3-fds-{}", names.len()), &setup);
        installed.write(&text(&installed, &setup, &pair));
        let tcp = TcpListener::bind(installed.front).unwrap();
        let udp = UdpSocket::bind(installed.front).unwrap();
        let script = format!(
            "exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES={names} exec \"$0\" \"$@\""
        );
        let served = installed.serve_by(&script, |command| {
            command.stdin(OwnedFd::from(tcp)).stdout(OwnedFd::from(udp));
        });
        // One socket for two workers.
        all_work(served.child.id().into(), 2, installed.front, &client);
        let new = installed.upgraded();
        wait_until("the new process answers", || installed.pid() == new);
        all_work(new, 2, installed.front, &client);
        assert!(!installed.log().contains("no forwarding rule"), "{}", installed.log());
    }
}
