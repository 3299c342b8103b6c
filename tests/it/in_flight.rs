//! IN_FLIGHT over real sockets: never more requests under way than the target while another backend has room
//! [G 1.9, 1.14, 1.18].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use overspill::balance::pick::Reason;
use overspill::cli::load::{Load, Options};

use crate::support::backend::{Scripted, toy};
use crate::support::lb::Lb;
use crate::support::setup::{FAR, Group, NEAR, group, setup};
use crate::support::{let_pass, measuring, wait_until};

/// Takes its time, and counts what is under way.
struct Slow {
    backend: Scripted,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Slow {
    fn start(takes: Duration) -> Self {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (under_way, seen) = (now.clone(), most.clone());
        let backend = Scripted::start(move |conn| {
            while let Some(request) = conn.request() {
                let is_probe = request.line().contains("/healthz");
                if !is_probe {
                    seen.fetch_max(under_way.fetch_add(1, SeqCst) + 1, SeqCst);
                    let_pass(takes);
                    // Before the answer: the balancer may send the next as soon as it has it.
                    under_way.fetch_sub(1, SeqCst);
                }
                let report = "endpoint-load-metrics: TEXT cpu_utilization=0.1\r\n";
                if !conn.write(format!("HTTP/1.1 200 OK\r\n{report}content-length: 0\r\n\r\n")) {
                    return;
                }
            }
        });
        Self { backend, now, most }
    }
}

fn in_flight(most: u32) -> String {
    format!("balancingMode: IN_FLIGHT, trafficDuration: LONG, maxInFlightRequests: {most}")
}

/// What the gates of the backends count.
fn gates(lb: &Lb) -> Vec<u64> {
    lb.handle.world().services[0].backends.iter().map(|b| b.ledger.gate.in_flight()).collect()
}

fn picks(lb: &Lb, group: &str, reason: Reason) -> f64 {
    let labels = [format!("backend=\"{group}\""), format!("reason=\"{}\"", reason.as_str())];
    lb.metrics().sum("overspill_picks_total", &[&labels[0], &labels[1]])
}

/// 40 requests would be under way at a time if all were taken.
fn run(near: Group, far: Group) -> (Lb, Load) {
    // Members in this process report what a test wants, not what this process uses.
    let zone = format!("zone: {NEAR}\n    namedPorts");
    let reported = format!("zone: {NEAR}\n    utilization: {{source: ORCA_HEADER}}\n    namedPorts");
    let lb = Lb::start(&setup(&[near, far]).text().replace(&zone, &reported));
    let load = Load::start(Options::new(lb.address(), 200.0)).unwrap();
    (lb, load)
}

#[test]
fn g_1_18_in_flight_is_never_above_its_target_while_the_far_backend_has_room() {
    let _turn = measuring();
    let takes = Duration::from_millis(200);
    let (near, far) = (Slow::start(takes), Slow::start(takes));
    let (lb, load) = run(
        group("ig-near", NEAR).mode(&in_flight(10)).member("near", &near.backend),
        group("ig-far", FAR).mode(&in_flight(1_000)).member("far", &far.backend),
    );
    wait_until("the load has run for a while", || {
        assert!(gates(&lb)[0] <= 10, "{:?}", gates(&lb));
        load.stats().sent >= 800
    });
    assert_eq!(near.most.load(SeqCst), 10, "as many as the target, never more");
    assert!(far.most.load(SeqCst) > 0);
    let stats = load.stop();
    assert_eq!((stats.failed(), stats.answered()), (0, stats.sent), "{stats:?}");
    wait_until("all is given back", || gates(&lb) == [0, 0]);
    assert_eq!((near.now.load(SeqCst), far.now.load(SeqCst)), (0, 0));
    assert!(picks(&lb, "ig-far", Reason::Full) > 0.0);
    assert_eq!(picks(&lb, "ig-far", Reason::Overfilled), 0.0);
}

#[test]
fn g_2_6_when_all_are_full_in_flight_is_overfilled_in_proportion_and_nothing_is_dropped() {
    let _turn = measuring();
    let takes = Duration::from_millis(200);
    let (near, far) = (Slow::start(takes), Slow::start(takes));
    let (lb, load) = run(
        group("ig-near", NEAR).mode(&in_flight(10)).member("near", &near.backend),
        group("ig-far", FAR).mode(&in_flight(5)).member("far", &far.backend),
    );
    wait_until("the load has run for a while", || load.stats().sent >= 800);
    let stats = load.stop();
    assert_eq!((stats.failed(), stats.answered()), (0, stats.sent), "{stats:?}");
    let [near, far] = ["ig-near", "ig-far"].map(|group| picks(&lb, group, Reason::Overfilled));
    assert!(near > 0.0 && (near / far - 2.0).abs() < 0.5, "{near} {far}");
    wait_until("all is given back", || gates(&lb) == [0, 0]);
}

#[test]
fn g_1_16_utilization_with_long_traffic_is_full_at_whichever_is_reached_first() {
    let _turn = measuring();
    let takes = Duration::from_millis(200);
    let (near, far) = (Slow::start(takes), Slow::start(takes));
    let mode =
        "balancingMode: UTILIZATION, maxUtilization: 0.8, trafficDuration: LONG, maxInFlightRequests: 6";
    let (lb, load) = run(
        group("ig-near", NEAR).mode(mode).member("near", &near.backend),
        group("ig-far", FAR).mode(&in_flight(1_000)).member("far", &far.backend),
    );
    wait_until("the load has run for a while", || load.stats().sent >= 1_000);
    assert_eq!(load.stop().failed(), 0);
    assert_eq!(near.most.load(SeqCst), 6);
    wait_until("all is given back", || gates(&lb) == [0, 0]);
}

#[test]
fn a_client_that_leaves_gives_its_room_back() {
    let near = Slow::start(Duration::from_millis(500));
    let groups = [group("ig-near", NEAR).mode(&in_flight(1)).member("near", &near.backend)];
    let lb = Lb::start(&setup(&groups).text());
    let mut client = lb.client();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    wait_until("it is under way", || gates(&lb) == [1]);
    client.reset();
    wait_until("its room is given back", || gates(&lb) == [0]);
}

#[test]
fn a_retry_finds_the_room_that_its_failed_attempt_had() {
    let health = toy("health");
    let (broken, good, far) =
        (Scripted::start(|conn| drop(conn.request())), Scripted::good(), Scripted::good());
    let near = group("ig-near", NEAR).mode(&in_flight(1)).member("broken", &broken).member("good", &good);
    let groups = [near, group("ig-far", FAR).member("far", &far)];
    let lb = Lb::start(&setup(&groups).probed_at(&health).text());
    wait_until("all are in the plan", || ["broken", "good", "far"].iter().all(|name| lb.plan_has(name)));
    for _ in 0..10 {
        assert_eq!(lb.get("/").status, 200);
        wait_until("room is given back", || gates(&lb) == [0, 0]);
    }
    assert_eq!((broken.requests(), good.requests(), far.requests()), (5, 10, 0));
}
