//! Probes over sockets: thresholds, transitions, and verdicts that outlive a reload [G 4].

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use overspill::engine::handle::Handle;
use overspill::ledger::member::Health;
use overspill::ledger::registry::Numbered;
use overspill::world::World;

use crate::support::backend::{Scripted, toy};
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, Serves, group, setup};
use crate::support::{own_address, wait_until};

fn state(lb: &Lb, member: &str) -> Health {
    state_in(&lb.handle.world(), member)
}

fn state_in(world: &World, member: &str) -> Health {
    numbered(world, member).member.health()
}

fn numbered(world: &World, member: &str) -> Arc<Numbered> {
    let found = world.services[0]
        .members()
        .find(|(.., m)| &*m.config.name == member)
        .map(|(.., m)| m.numbered.clone());
    found.expect("a member")
}

/// Waits until the last probe of a member ended so; one that a busy machine let time out is not the last.
#[track_caller]
fn wait_reason(lb: &Lb, member: &str, reason: &str) {
    let last = || numbered(&lb.handle.world(), member).member.probe_detail().reason;
    wait_until(&format!("{member}: {reason}"), || last() == reason);
}

#[test]
fn g_4_12_only_failures_in_a_row_reach_the_threshold() {
    // What each probe is answered, and the member's state before it.
    use Health::{Healthy as Up, Unhealthy as Down, Unknown as New};
    let script = [
        (200, New),
        (500, New),
        (500, New),
        (200, New),
        (500, New),
        (500, New),
        (500, New),
        (200, Down),
        (200, Down),
        (500, Up),
        (500, Up),
        (200, Up),
    ];
    let seen = Arc::new(Mutex::new(Vec::<(Instant, Option<Health>)>::new()));
    let engine: Arc<OnceLock<Handle>> = Arc::default();
    let (probes, handle) = (seen.clone(), engine.clone());
    let probed = Scripted::start(move |conn| {
        while conn.request().is_some() {
            let before = handle.get().map(|handle| state_in(&handle.world(), "a"));
            let mut probes = probes.lock().unwrap();
            let status = script.get(probes.len()).map_or(200, |(status, _)| *status);
            probes.push((Instant::now(), before));
            drop(probes);
            conn.write(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"));
        }
    });
    let toys = [toy("a")];
    let setup = setup(&[group("ig", NEAR).members(&toys)]).thresholds(2, 3).probed_at(&probed);
    let lb = Lb::try_start(&setup.text(), 2).unwrap();
    let _ = engine.set(lb.handle.clone());
    wait_until("all probes have come", || seen.lock().unwrap().len() > script.len());
    let seen = seen.lock().unwrap().clone();
    for ((at, state), (_, want)) in seen.iter().zip(script) {
        // The first may come before this test knows the engine.
        let state = state.unwrap_or(Health::Unknown);
        if state == Health::Timeout {
            println!(
                "the machine stood still at {at:?}: a probe that timed out is a failure that no script knows"
            );
            return;
        }
        assert_eq!(state, want, "{seen:?}");
    }
    assert_eq!(lb.get("/").status, 200);
}

#[test]
fn g_4_13_a_new_member_gets_nothing_until_it_has_passed() {
    let toys = [toy("a"), toy("new")];
    let lb = Lb::start(&setup(&[group("ig", NEAR).member("a", &toys[0])]).text());
    toys[1].set_health(500);
    lb.reload(&setup(&[group("ig", NEAR).members(&toys)]).text());
    assert_ne!(state(&lb, "new"), Health::Healthy);
    for _ in 0..10 {
        assert_eq!(lb.get("/").backend(), "a");
    }
    toys[1].set_health(200);
    lb.wait_health("new", true);
    let both: std::collections::HashSet<_> = (0..4).map(|_| lb.get("/").backend().to_owned()).collect();
    assert_eq!(both.len(), 2);
}

#[test]
fn g_4_14_an_unhealthy_member_gets_nothing_and_comes_back_by_itself() {
    let toys = [toy("a"), toy("b")];
    let lb = Lb::start(&setup(&[group("ig", NEAR).members(&toys)]).text());
    toys[0].set_health(503);
    lb.wait_health("a", false);
    let before = toys[0].requests();
    for _ in 0..20 {
        assert_eq!(lb.get("/").backend(), "b");
    }
    assert_eq!(toys[0].requests(), before);
    toys[0].set_health(200);
    lb.wait_health("a", true);
    for _ in 0..4 {
        assert_eq!(lb.get("/").status, 200);
    }
    assert_eq!(toys[0].requests(), before + 2);
}

#[test]
fn a_member_that_does_not_answer_its_probe_is_a_timeout_and_one_that_refuses_is_not() {
    let silent = Scripted::start(|conn| {
        if conn.request().is_some() {
            conn.closed();
        }
    });
    let nobody = own_address();
    let group = group("ig", NEAR).member("silent", &silent).member("nobody", &nobody);
    let lb = Lb::start(&setup(&[group]).text());
    wait_until("both have a verdict", || state(&lb, "silent") == Health::Timeout);
    assert_eq!(state(&lb, "nobody"), Health::Unhealthy);
    assert_eq!(state(&lb, "silent").basic(), "UNHEALTHY");
}

#[test]
fn verdicts_outlive_a_reload_without_a_gap() {
    let toys = [toy("well"), toy("sick")];
    toys[1].set_health(500);
    let setup = setup(&[group("ig", NEAR).members(&toys)]);
    let lb = Lb::start(&setup.text());
    assert_eq!((state(&lb, "well"), state(&lb, "sick")), (Health::Healthy, Health::Unhealthy));
    for timeout in 31..61 {
        let applied = lb.reload(&setup.clone().service(&format!("timeoutSec: {timeout}")).text());
        assert!(applied.changed);
        assert_eq!((state(&lb, "well"), state(&lb, "sick")), (Health::Healthy, Health::Unhealthy));
        assert_eq!(lb.get("/").backend(), "well");
    }
}

#[test]
fn g_4_3_only_200_is_a_success() {
    for status in [204, 301, 404, 500] {
        let toys = [toy("a")];
        toys[0].set_health(status);
        let lb = Lb::start(&setup(&[group("ig", NEAR).members(&toys)]).text());
        assert_eq!(state(&lb, "a"), Health::Unhealthy, "{status}");
    }
}

#[test]
fn a_tcp_check_is_passed_by_whoever_takes_the_connection() {
    let (backend, nobody) = (Scripted::good(), SocketAddr::from(([127, 0, 0, 1], 1)));
    let group = group("ig", NEAR).member("there", &backend).member("nobody", &nobody);
    let lb = Lb::start(
        &setup(&[group]).probed("type: TCP, tcpHealthCheck: {portSpecification: USE_SERVING_PORT}").text(),
    );
    assert_eq!((state(&lb, "there"), state(&lb, "nobody")), (Health::Healthy, Health::Unhealthy));
}

#[test]
fn when_it_says_ready_every_member_that_passed_is_in_the_plan() {
    let toys = ["a", "b", "c", "d"].map(toy);
    let setup = setup(&[group("ig", NEAR).members(&toys)]);
    for _ in 0..10 {
        let lb = Lb::start(&setup.text());
        assert!(toys.iter().all(|toy| lb.plan_has(toy.name())));
    }
}

/// A gRPC server with the standard health service, in clear. Ends with its runtime.
struct Rpc {
    address: SocketAddr,
    /// What it says to the next probe: a `ServingStatus`.
    status: Arc<AtomicU8>,
    _runtime: tokio::runtime::Runtime,
}

impl Serves for Rpc {
    fn at(&self) -> SocketAddr {
        self.address
    }
}

/// A status that is never said: probes are held.
const HUNG: u8 = 255;

fn rpc(status: u8) -> Rpc {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let status = Arc::new(AtomicU8::new(status));
    let said = status.clone();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(health_service(stream, said.clone()));
        }
    });
    Rpc { address, status, _runtime: runtime }
}

async fn health_service(stream: tokio::net::TcpStream, status: Arc<AtomicU8>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut held = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        let status = status.load(SeqCst);
        if status == HUNG {
            held.push(respond);
            continue;
        }
        let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
        let Ok(mut stream) = respond.send_response(head, false) else { return };
        let _ = stream.send_data(vec![0, 0, 0, 0, 2, 8, status].into(), false);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let _ = stream.send_trailers(trailers);
    }
}

/// [G 4.7]
#[test]
fn grpc_members_are_healthy_while_they_say_serving() {
    let (well, ill, hung) = (rpc(1), rpc(2), rpc(HUNG));
    let group = group("ig", NEAR).member("well", &well).member("ill", &ill).member("hung", &hung);
    let check = "type: GRPC, grpcHealthCheck: {portSpecification: USE_SERVING_PORT}";
    let lb = Lb::start(&setup(&[group]).probed(check).text());
    wait_until("all have a verdict", || state(&lb, "hung") == Health::Timeout);
    lb.wait_health("well", true);
    wait_reason(&lb, "ill", "status NOT_SERVING");
    wait_reason(&lb, "hung", "no answer within 1 s");
    assert_eq!(state(&lb, "ill").basic(), "UNHEALTHY");
    ill.status.store(1, SeqCst);
    well.status.store(3, SeqCst);
    lb.wait_health("ill", true);
    lb.wait_health("well", false);
    wait_reason(&lb, "well", "status SERVICE_UNKNOWN");
}
