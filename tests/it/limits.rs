//! Limits on client connections: in all, by address, and what the file descriptors suffice for.

use std::time::Duration;

use overspill::ledger::process::Traffic;

use crate::support::backend::toy;
use crate::support::client::Client;
use crate::support::installed::Installation;
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, setup};
use crate::support::wait_until;

#[test]
fn above_max_connections_a_new_one_waits_until_an_idle_one_has_made_room() {
    let a = toy("a");
    let proxy = "accessLog: {path: none}\n  maxConnections: 3";
    let lb = Lb::with_workers(&setup(&[group("ig", NEAR).member("a", &a)]).proxy(proxy).text(), 1);
    let mut held: Vec<_> = (0..3).map(|_| lb.client()).collect();
    for client in &mut held {
        assert_eq!(client.get("/").status, 200);
    }
    // The oldest of three idle ones goes.
    assert_eq!(lb.get("/").backend(), "a");
    assert_eq!(held.remove(0).try_answer("GET").err(), Some(crate::support::client::Cut::Before));
    assert!(lb.handle.process().sum(Traffic::Waited) >= 1);
    assert_eq!(lb.metrics().sum("overspill_connections_limit", &[]), 3.0);
}

#[test]
fn above_max_connections_those_that_are_busy_are_left_alone() {
    let a = toy("a");
    a.change(|settings| settings.latency = Duration::from_millis(600));
    let proxy = "accessLog: {path: none}\n  maxConnections: 2";
    let lb = Lb::with_workers(&setup(&[group("ig", NEAR).member("a", &a)]).proxy(proxy).text(), 1);
    let mut busy = [lb.sent("/"), lb.sent("/")];
    wait_until("both are with the member", || a.requests() == 2);
    let mut late = lb.sent("/");
    wait_until("it waits", || lb.handle.process().sum(Traffic::Waited) == 1);
    assert_eq!(lb.open_connections(), 2);
    for client in &mut busy {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(late.answer().status, 200);
}

#[test]
fn an_address_that_has_its_share_is_closed_on_and_others_are_served() {
    let a = toy("a");
    let proxy = "accessLog: {path: none}\n  maxConnectionsPerAddress: 2";
    let text = setup(&[group("ig", NEAR).member("a", &a)]).proxy(proxy).text();
    // Everything of 127/8 is this machine, and each of it another client.
    let lb = Lb::start(&text);
    let mut held = [lb.client(), lb.client()];
    for client in &mut held {
        assert_eq!(client.get("/").status, 200);
    }
    let mut third = lb.sent("/");
    assert!(third.try_answer("GET").is_err());
    assert_eq!(lb.handle.process().sum(Traffic::RefusedByAddress), 1);
    assert_eq!(lb.metrics().sum("overspill_connections_refused_by_address_total", &[]), 1.0);
    assert_eq!(Client::from(lb.address(), [127, 0, 0, 2]).get("/").status, 200);
    assert_eq!(held[0].get("/").status, 200);

    drop(held);
    wait_until("they are gone", || lb.open_connections() == 0);
    assert_eq!(lb.get("/").status, 200);
    // Whoever is trusted speaks for many.
    lb.reload(&text.replace("PerAddress: 2", "PerAddress: 1\n  trustedProxies: [127.0.0.0/8]"));
    let mut held = [lb.client(), lb.client()];
    for client in &mut held {
        assert_eq!(client.get("/").status, 200);
    }
}

#[test]
fn without_descriptors_accept_pauses_quietly_and_who_is_inside_is_served() {
    let a = toy("a");
    let proxy = "accessLog: {path: none}\n  maxConnections: 100000\n  workers: 1";
    let installed =
        Installation::new("descriptors", &setup(&[group("ig", NEAR).member("a", &a)]).proxy(proxy));
    let _served = installed.serve_by("ulimit -n 64; exec \"$0\" \"$@\"", |_| {});
    // Kept open, since there will be none to be had.
    let mut admin = Client::to_admin(installed.admin);
    let mut errors = || {
        let page = admin.get("/metrics").text();
        page.lines()
            .find_map(|line| line.strip_prefix("overspill_accept_errors_total ")?.parse::<u64>().ok())
            .unwrap()
    };
    assert_eq!(errors(), 0);
    let mut inside = Client::to(installed.front);
    assert_eq!(inside.get("/").backend(), "a");
    // More than it can hold; those wait in the queue.
    let crowd: Vec<_> = (0..100).map(|_| Client::to(installed.front)).collect();
    wait_until("accept fails", || errors() >= 3);
    // Longer than from probe to probe.
    wait_until("time has passed, as the errors of accept tell", || errors() >= 8);
    for _ in 0..20 {
        assert_eq!(inside.get("/").backend(), "a");
    }
    let log = installed.log();
    assert!(log.matches("cannot accept").count() <= 2, "{log}");
    assert!(!log.contains("member is unhealthy"), "{log}");
    drop(crowd);
    let mut late = Client::to(installed.front);
    assert_eq!(late.get("/").backend(), "a");
    a.set_health(500);
    wait_until("probes go on", || installed.metric_of("overspill_member_healthy") == Some(0));
}

#[test]
fn the_default_limit_follows_from_the_descriptors() {
    let a = toy("a");
    let installed = Installation::new("default", &setup(&[group("ig", NEAR).member("a", &a)]));
    let _served = installed.serve_by("ulimit -n 400; exec \"$0\" \"$@\"", |_| {});
    assert!(installed.metric("overspill_connections_limit 150"));
}
