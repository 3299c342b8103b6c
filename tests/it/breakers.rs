//! Circuit breakers over sockets: each limit holds, is answered or waited for, and is counted [G 2e].

use overspill::balance::pick::Reason;
use overspill::ledger::breaker::Limit;
use overspill::ledger::service::Extra;
use overspill::model::detail::StatusDetail;
use overspill::model::policy::CircuitBreakers;

use crate::support::backend::{Scripted, Valve, toy};
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, scripted, setup};
use crate::support::wait_until;

fn lb(yaml: &str, workers: usize, breakers: CircuitBreakers) -> Lb {
    Lb::with_policies(yaml, workers, |policies| policies.circuit_breakers = breakers)
}

fn trips(lb: &Lb, limit: Limit) -> f64 {
    let label = format!("limit=\"{}\"", limit.as_str());
    lb.metrics().sum("overspill_circuit_breaker_trips_total", &[&label])
}

fn held(lb: &Lb, limit: Limit) -> u64 {
    lb.handle.world().services[0].ledger.breakers.held(limit)
}

#[test]
fn g_2e_max_requests_over_all_workers() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let breakers = CircuitBreakers { max_requests: Some(3), ..CircuitBreakers::default() };
    let lb = lb(&scripted(&backend, &health).text(), 2, breakers);
    let mut under_way: Vec<_> = (0..3).map(|_| lb.sent("/hold")).collect();
    wait_until("three are under way", || backend.requests() == 3);
    for _ in 0..5 {
        let refused = lb.get("/");
        assert_eq!(refused.status, 503);
        assert!(refused.text().contains("circuit_breaker_open"), "{}", refused.text());
    }
    assert_eq!(backend.requests(), 3);
    lb.wait_ended(StatusDetail::CircuitBreakerOpen, 5);
    assert_eq!(trips(&lb, Limit::Requests), 5.0);
    valve.open();
    assert!(under_way.iter_mut().all(|client| client.answer().status == 200));
    wait_until("room is given back", || held(&lb, Limit::Requests) == 0);
    assert_eq!(lb.get("/").status, 200);
}

#[test]
fn g_2e_beyond_max_connections_a_request_waits_and_beyond_max_pending_it_is_refused() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let breakers = CircuitBreakers {
        max_connections: Some(2),
        max_pending_requests: Some(2),
        ..CircuitBreakers::default()
    };
    let lb = lb(&scripted(&backend, &health).text(), 1, breakers);
    let mut clients: Vec<_> = (0..4).map(|_| lb.sent("/hold")).collect();
    wait_until("two wait, two are served", || {
        held(&lb, Limit::PendingRequests) == 2 && backend.requests() == 2
    });
    let refused = lb.get("/");
    assert_eq!((refused.status, refused.text().contains("circuit_breaker_open")), (503, true));
    assert_eq!((backend.requests(), backend.connections()), (2, 2));
    assert_eq!((trips(&lb, Limit::Connections), trips(&lb, Limit::PendingRequests)), (3.0, 1.0));
    valve.open();
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
    assert_eq!((backend.requests(), backend.connections()), (4, 2), "those that waited took what came free");
    wait_until("nobody waits", || held(&lb, Limit::PendingRequests) == 0);
}

#[test]
fn g_2e_who_waits_longer_than_the_timeout_is_refused_and_who_leaves_gives_up_its_place() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let text = |timeout: u32| {
        // Whatever probes take, the answer is that of the breaker.
        let setup = scripted(&backend, &health).thresholds(1, 10);
        let setup = setup.service("circuitBreakers: {maxConnections: 1}");
        setup.service(&format!("timeoutSec: {timeout}")).text()
    };
    let lb = Lb::with_workers(&text(300), 1);
    let first = lb.sent("/hold");
    wait_until("one is under way", || backend.requests() == 1);
    let leaving = lb.sent("/");
    wait_until("one waits", || held(&lb, Limit::PendingRequests) == 1);
    leaving.reset();
    wait_until("it has left", || held(&lb, Limit::PendingRequests) == 0);
    // The first keeps the time that it began with, and the only connection.
    lb.reload(&text(1));
    let refused = lb.get("/");
    assert_eq!((refused.status, refused.text().contains("circuit_breaker_open")), (503, true));
    drop(first);
    wait_until("the room of the first is free", || held(&lb, Limit::Connections) == 0);
    valve.open();
    // With a second alone, an answer that a slow machine brings late would be cut off.
    lb.reload(&text(300));
    assert_eq!(lb.get("/").status, 200);
}

#[test]
fn an_idle_connection_to_one_member_gives_way_to_another_on_whatever_worker_it_is() {
    let toys = ["a", "b", "c"].map(toy);
    let yaml = setup(&[group("ig", NEAR).members(&toys)]).text();
    let breakers = CircuitBreakers { max_connections: Some(1), ..CircuitBreakers::default() };
    let lb = lb(&yaml, 2, breakers);
    let mut clients: Vec<_> = (0..8).map(|_| lb.client()).collect();
    for round in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/").status, 200, "round {round}");
            assert!(held(&lb, Limit::Connections) <= 1);
        }
    }
    assert!(toys.iter().all(|toy| toy.requests() > 0));
}

#[test]
fn g_2e_max_requests_per_connection_ends_it() {
    let health = toy("health");
    let backend = Scripted::good();
    let yaml = scripted(&backend, &health).text();
    let of = |most| CircuitBreakers { max_requests_per_connection: Some(most), ..CircuitBreakers::default() };
    let three = lb(&yaml, 1, of(3));
    let mut client = three.client();
    assert!((0..9).all(|_| client.get("/").status == 200));
    assert_eq!(backend.connections(), 3);
    let one = lb(&yaml, 1, of(1));
    let mut client = one.client();
    assert!((0..4).all(|_| client.get("/").status == 200));
    assert_eq!(backend.connections(), 3 + 4, "1 disables keep-alive");
}

#[test]
fn g_2e_max_retries_in_flight() {
    let (valve, health) = (Valve::default(), toy("health"));
    let (broken, slow) = (Scripted::start(|conn| drop(conn.request())), Scripted::held(&valve));
    let yaml =
        setup(&[group("ig", NEAR).member("broken", &broken).member("slow", &slow)]).probed_at(&health).text();
    let breakers = CircuitBreakers { max_retries: Some(1), ..CircuitBreakers::default() };
    let lb = lb(&yaml, 1, breakers);
    wait_until("both are in the plan", || lb.plan_has("broken") && lb.plan_has("slow"));
    let mut clients = Vec::new();
    // In turn: every other request meets the broken member first.
    while broken.requests() < 3 {
        clients.push(lb.sent("/hold"));
        let asked = clients.len();
        let placed = || Reason::ALL.into_iter().map(|reason| lb.picks(reason)).sum::<f64>();
        wait_until("it is placed", || placed() >= asked as f64);
    }
    // One more may have been sent before the third was seen at its member.
    wait_until("all but one are refused", || trips(&lb, Limit::Retries) == broken.requests() as f64 - 1.0);
    let refused = broken.requests() - 1;
    assert_eq!(lb.extra(Extra::Retries), 1);
    valve.open();
    let failed = clients.iter_mut().filter_map(|client| {
        let answer = client.answer();
        (answer.status == 503).then(|| answer.text())
    });
    let failed: Vec<_> = failed.collect();
    assert_eq!(failed.len(), refused);
    let word = "backend_connection_closed_before_data_sent_to_client";
    assert!(failed.iter().all(|text| text.contains(word)), "what the attempt met: {failed:?}");
}
