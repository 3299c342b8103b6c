//! Who lets the other wait for too long, and what is said about it [G 5.1, 5.3, 5.6].

use std::time::{Duration, Instant};

use overspill::ledger::service::Extra;
use overspill::model::detail::StatusDetail;

use crate::support::backend::{Scripted, toy};
use crate::support::client::Cut;
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, scripted, setup};
use crate::support::wait_until;

/// Reads one request and answers nothing until the peer leaves.
fn silent() -> Scripted {
    Scripted::start(|conn| {
        if conn.request().is_some() {
            conn.closed();
        }
    })
}

#[test]
fn g_5_3_a_backend_that_never_answers_is_a_timeout() {
    let (backend, health) = (silent(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).service("timeoutSec: 1").text());
    let sent = Instant::now();
    let answer = lb.client().request("POST", "/", "", b"body");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("backend_timeout"), "{}", answer.text());
    let took = sent.elapsed();
    assert!(took >= Duration::from_millis(950), "{took:?}");
    lb.wait_ended(StatusDetail::BackendTimeout, 1);
    wait_until("the backend is let go", || backend.ended() == 1);
}

#[test]
fn g_5_3_a_get_that_times_out_with_no_other_member_to_try_says_timeout() {
    let (backend, health) = (silent(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).service("timeoutSec: 1").text());
    let answer = lb.get("/");
    assert!(answer.status == 503 && answer.text().contains("backend_timeout"), "{}", answer.text());
    assert_eq!(lb.extra(Extra::Retries), 0);
    assert!(backend.requests() <= 1);
}

#[test]
fn g_5_7_a_get_that_times_out_is_retried_on_another_member() {
    let (silent, good, health) = (silent(), Scripted::good(), toy("health"));
    let setup = setup(&[group("ig", NEAR).member("silent", &silent).member("good", &good)]);
    // The second attempt has as long, in which the good one answers however slow the machine is.
    let lb = Lb::start(&setup.probed_at(&health).service("timeoutSec: 3").text());
    for _ in 0..2 {
        assert_eq!(lb.get("/").text(), "good");
    }
    assert_eq!(lb.extra(Extra::Retries), silent.requests() as u64);
    assert!(silent.requests() >= 1 && good.requests() == 2);
}

#[test]
fn g_5_3_the_envoy_based_scheme_answers_504() {
    let (backend, health) = (silent(), toy("health"));
    let setup = scripted(&backend, &health)
        .service("timeoutSec: 1")
        .service("loadBalancingScheme: INTERNAL_MANAGED")
        .scheme("INTERNAL_MANAGED");
    let lb = Lb::start(&setup.text());
    assert_eq!(lb.client().request("POST", "/", "", b"body").status, 504);
}

#[test]
fn g_5_1_an_answer_that_is_not_whole_in_time_is_cut() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        if conn.request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
            conn.closed();
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).service("timeoutSec: 1").text());
    let mut client = lb.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.try_answer("GET").unwrap_err(), Cut::InBody(4));
    lb.wait_ended(StatusDetail::BackendTimeout, 1);
    wait_until("the backend is let go", || backend.ended() == 1);
}

#[test]
fn g_5_6_a_client_too_slow_with_its_body_gets_408() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).service("timeoutSec: 1").text());
    let mut client = lb.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(answer.text().contains("client_timed_out"), "{}", answer.text());
    client.assert_closed();
    lb.wait_ended(StatusDetail::ClientTimedOut, 1);
    wait_until("the backend is let go", || backend.ended() == 1);
}

#[test]
fn a_client_that_does_not_read_its_answer_is_cut_in_time() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        if conn.request().is_some() {
            conn.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 << 20));
            let piece = vec![b'x'; 1 << 16];
            while conn.write(&piece) {}
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).service("timeoutSec: 1").text());
    let mut client = lb.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    lb.wait_ended(StatusDetail::ClientTimedOut, 1);
    wait_until("the backend is let go", || backend.ended() == 1);
}

#[test]
fn an_idle_client_ends_at_the_keep_alive_timeout_and_one_within_a_head_gets_408() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).target("httpKeepAliveTimeoutSec: 5").text());
    let began = Instant::now();
    let [mut silent, mut idle, mut partial] = [(), (), ()].map(|()| lb.client());
    assert_eq!(idle.get("/").status, 200);
    partial.send("GET / HTTP/1.1\r\nhos");
    silent.assert_closed();
    idle.assert_closed();
    assert_eq!(partial.answer().status, 408);
    partial.assert_closed();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(4900), "{took:?}");
    wait_until("all are closed", || lb.open_connections() == 0);
    assert_eq!(lb.ended(StatusDetail::ClientTimedOut), 1);
}
