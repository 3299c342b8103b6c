//! A change is taken whole or not at all, and no request notices (design.md 6).

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Instant;

use overspill::cli::load::{Load, Options};
use overspill::model::detail::StatusDetail;
use overspill::model::problem::Problem;

use crate::support::backend::{Scripted, toy};
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, scripted, setup};
use crate::support::wait_until;
use crate::websocket;

#[test]
fn fifty_reloads_in_a_row_under_load_lose_no_request() {
    let toys = ["a", "b", "c"].map(toy);
    let setup = setup(&[group("ig", NEAR).members(&toys)]);
    let lb = Lb::start(&setup.text());
    let load = Load::start(Options::new(lb.address(), 200.0)).unwrap();
    for round in 0..50 {
        let before = load.stats().answered();
        let applied = lb.reload(&setup.clone().service(&format!("timeoutSec: {}", 40 + round)).text());
        assert!(applied.changed && applied.generation == round + 2);
        wait_until("the load goes on", || load.stats().answered() > before);
    }
    let stats = load.stop();
    assert_eq!((stats.failed(), stats.answered()), (0, stats.sent), "{stats:?}");
    // Counters live on.
    lb.wait_sum("overspill_requests_total", &["code_class=\"200\""], stats.sent as f64);
    assert_eq!(toys.iter().map(|toy| toy.requests()).sum::<u64>(), stats.sent);
}

/// Whether a member got nothing of the next forty requests. Those that were placed before a swap may still be on their
/// way to it, so that this may hold only a little later; that it never does with a share of a third is certain.
fn gets_nothing(load: &Load, requests: impl Fn() -> u64) -> bool {
    let (before, last) = (requests(), load.stats());
    wait_until("the load goes on", || load.stats().since(&last).answered() >= 40);
    requests() == before
}

#[test]
fn members_that_come_and_go_under_load_cost_no_request() {
    let toys = ["a", "b", "c"].map(toy);
    let group = group("ig", NEAR).members(&toys);
    let (all, fewer) = (setup(std::slice::from_ref(&group)).text(), setup(&[group.without("c")]).text());
    let lb = Lb::start(&all);
    let load = Load::start(Options::new(lb.address(), 200.0)).unwrap();
    for _ in 0..5 {
        lb.reload(&fewer);
        wait_until("a removed member gets nothing", || gets_nothing(&load, || toys[2].requests()));
        let left = toys[2].requests();
        lb.reload(&all);
        lb.wait_health("c", true);
        wait_until("c is used again", || toys[2].requests() > left);
    }
    let stats = load.stop();
    assert_eq!((stats.failed(), stats.answered()), (0, stats.sent), "{stats:?}");
    // What the removed ones have counted stays in the sum.
    lb.reload(&fewer);
    lb.wait_sum("overspill_requests_total", &["code_class=\"200\""], stats.sent as f64);
}

#[test]
fn a_request_under_way_on_a_member_that_is_removed_ends_well() {
    let (may_answer, health) = (Arc::new(AtomicBool::new(false)), toy("health"));
    let go = may_answer.clone();
    let slow = Scripted::start(move |conn| {
        while conn.request().is_some() {
            wait_until("it may answer", || go.load(SeqCst));
            conn.ok("slow");
        }
    });
    let other = Scripted::good();
    let lb = Lb::start(&scripted(&slow, &health).text());
    let mut client = lb.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    wait_until("it is under way", || slow.requests() == 1);
    lb.reload(&scripted(&other, &health).text());
    lb.wait_health("s", true);
    assert_eq!(lb.get("/").text(), "good");
    may_answer.store(true, SeqCst);
    assert_eq!(client.answer().text(), "slow");
    assert_eq!(client.get("/").text(), "good");
}

#[test]
fn g_4_24_a_request_on_a_removed_member_is_cut_after_the_draining_time() {
    let health = toy("health");
    let silent = Scripted::start(|conn| while conn.request().is_some() {});
    let other = Scripted::good();
    let draining =
        |backend| scripted(backend, &health).service("connectionDraining: {drainingTimeoutSec: 1}").text();
    let lb = Lb::start(&draining(&silent));
    let mut client = lb.client();
    let began = Instant::now();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    wait_until("it is under way", || silent.requests() == 1);
    lb.reload(&draining(&other));
    assert_eq!(client.answer().status, 503, "cut long before timeoutSec");
    let took = began.elapsed();
    assert!((1.0..10.0).contains(&took.as_secs_f64()), "{took:?}");
}

#[test]
fn listeners_come_and_go_and_the_others_do_not_notice() {
    let toys = [toy("a")];
    let setup = setup(&[group("ig", NEAR).members(&toys)]);
    let lb = Lb::start(&setup.text());
    let mut stays = lb.client();
    assert_eq!(stays.get("/").status, 200);
    let first = lb.address();
    lb.reload(&setup.clone().fronts(&[("web", "0"), ("second", "0")]).text());
    let second = lb.front("second");
    assert_eq!(lb.front("web"), first, "an unchanged listener keeps its socket");
    let mut goes = crate::support::client::Client::to(second);
    assert_eq!(goes.get("/").status, 200);
    lb.reload(&setup.text());
    goes.assert_closed();
    wait_until("nobody listens", || TcpStream::connect(second).is_err());
    assert_eq!(stays.get("/").status, 200);
}

#[test]
fn a_request_under_way_on_a_listener_that_is_removed_ends_well() {
    let (may_answer, health) = (Arc::new(AtomicBool::new(false)), toy("health"));
    let go = may_answer.clone();
    let slow = Scripted::start(move |conn| {
        while conn.request().is_some() {
            wait_until("it may answer", || go.load(SeqCst));
            conn.ok("slow");
        }
    });
    let setup = scripted(&slow, &health);
    let lb = Lb::start(&setup.clone().fronts(&[("web", "0"), ("second", "0")]).text());
    let mut client = crate::support::client::Client::to(lb.front("second"));
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    wait_until("it is under way", || slow.requests() == 1);
    lb.reload(&setup.text());
    may_answer.store(true, SeqCst);
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    client.assert_closed();
}

#[test]
fn a_broken_text_changes_nothing_and_is_reported() {
    let toys = [toy("a")];
    let setup = setup(&[group("ig", NEAR).members(&toys)]);
    let lb = Lb::start(&setup.text());
    let world = lb.handle.world();
    for broken in [
        "a: [",
        "",
        "backendServices: 7",
        &setup.text().replace("defaultService: web", "defaultService: wbe"),
    ] {
        let refused = lb.try_reload(broken).unwrap_err();
        assert!(!refused.problems.is_empty(), "{broken:?}");
        assert!(Arc::ptr_eq(&world, &lb.handle.world()), "{broken:?}");
        let reload = lb.handle.reload();
        assert!(!reload.is_ok && reload.problems == refused.problems, "{broken:?}");
        lb.wait_sum("overspill_config_last_reload_ok", &[], 0.0);
        assert_eq!(lb.get("/").status, 200);
    }
    lb.wait_sum("overspill_config_reloads_total", &["refused"], 4.0);
    assert!(!lb.reload(&setup.text()).changed);
    assert!(lb.handle.reload().is_ok);
    lb.wait_sum("overspill_config_last_reload_ok", &[], 1.0);
}

/// What stands where a problem is said to be.
fn shown<'t>(problem: &Problem, text: &'t str) -> &'t str {
    let position = problem.position.expect("a place in the file");
    &text.lines().nth(position.line - 1).unwrap()[position.column - 1..]
}

#[test]
fn an_address_that_is_in_use_is_refused_and_nothing_else_of_the_change_is_taken() {
    let toys = [toy("a"), toy("b")];
    let lb = Lb::start(&setup(&[group("ig", NEAR).member("a", &toys[0])]).text());
    let world = lb.handle.world();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let change =
        setup(&[group("ig", NEAR).members(&toys)]).fronts(&[("web", "0"), ("third", "0"), ("second", &port)]);
    let refused = lb.try_reload(&change.text()).unwrap_err();
    let [problem] = &refused.problems[..] else { panic!("{:#?}", refused.problems) };
    assert_eq!((problem.code, &*problem.path), ("cannot-bind", "forwardingRules[second]"));
    assert!(shown(problem, &change.text()).starts_with("second"), "{problem:#?}");
    assert!(Arc::ptr_eq(&world, &lb.handle.world()));
    assert_eq!(lb.handle.listeners().len(), 1);
    assert_eq!(lb.get("/").backend(), "a");
    drop(taken);
    assert!(lb.reload(&change.text()).changed, "the same change is taken once the address is free");
}

#[test]
fn what_is_fixed_at_start_is_refused_and_not_ignored() {
    let toys = [toy("a")];
    let setup = setup(&[group("ig", NEAR).members(&toys)]);
    let lb = Lb::start(&setup.text());
    for proxy in ["workers: 3\n  accessLog: {path: none}", "accessLog: {path: stdout}"] {
        let refused = lb.try_reload(&setup.clone().proxy(proxy).text()).unwrap_err();
        assert_eq!(refused.problems[0].code, "fixed-at-start", "{proxy}");
        let text = setup.clone().proxy(proxy).text();
        let place = if proxy.starts_with("workers") { "3" } else { "accessLog:" };
        assert!(shown(&refused.problems[0], &text).starts_with(place), "{:#?}", refused.problems);
    }
}

#[test]
fn g_1_4_scaler_0_drains_without_a_lost_request_and_lets_running_ones_end() {
    let (may_answer, health) = (Arc::new(AtomicBool::new(false)), toy("health"));
    let go = may_answer.clone();
    let drained = Scripted::start(move |conn| {
        while let Some(seen) = conn.request() {
            if seen.line().contains("/slow") {
                wait_until("it may answer", || go.load(SeqCst));
            }
            conn.ok("drained");
        }
    });
    let other = toy("other");
    let text = |scaler: &str| {
        let groups = [
            group("ig-a", NEAR).member("a", &drained).scaler(scaler),
            group("ig-b", NEAR).member("b", &other),
        ];
        setup(&groups).probed_at(&health).text()
    };
    let lb = Lb::start(&text("1"));
    let load = Load::start(Options::new(lb.address(), 200.0)).unwrap();
    // In turn with all others: one at least is placed there.
    let mut slow: Vec<_> = (0..40).map(|_| lb.sent("/slow")).collect();
    wait_until("a slow one is under way there", || {
        drained.seen().iter().any(|seen| seen.line().contains("/slow"))
    });
    lb.reload(&text("0"));
    wait_until("a drained backend gets nothing", || gets_nothing(&load, || drained.requests() as u64));
    may_answer.store(true, SeqCst);
    let texts: Vec<_> = slow.iter_mut().map(|client| client.answer().text()).collect();
    assert!(texts.iter().any(|text| text == "drained"), "{texts:?}");
    let stats = load.stop();
    assert_eq!((stats.failed(), stats.answered()), (0, stats.sent), "{stats:?}");
}

#[test]
fn counters_outlive_an_edit_of_the_affinity() {
    let toys = [toy("a"), toy("b")];
    let setup = setup(&[group("ig", NEAR).members(&toys)]);
    let lb = Lb::start(&setup.text());
    for (n, affinity) in ["GENERATED_COOKIE", "CLIENT_IP", "NONE"].into_iter().enumerate() {
        assert_eq!(lb.get("/").status, 200);
        lb.wait_ended(StatusDetail::ResponseSentByBackend, n as u64 + 1);
        lb.reload(&setup.clone().service(&format!("sessionAffinity: {affinity}")).text());
        assert_eq!(lb.ended(StatusDetail::ResponseSentByBackend), n as u64 + 1);
    }
}

#[test]
fn a_websocket_survives_a_reload() {
    let (backend, health) = (websocket::echo(), toy("health"));
    let setup = scripted(&backend, &health);
    let lb = Lb::start(&setup.text());
    let mut client = websocket::connected(&lb);
    for timeout in 31..36 {
        lb.reload(&setup.clone().service(&format!("timeoutSec: {timeout}")).text());
        client.send("hello");
        assert_eq!(client.bytes(5), b"hello");
    }
    assert_eq!(lb.in_flight(), 1);
}
