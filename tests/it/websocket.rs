//! Upgrades: WebSocket passes and becomes a tunnel, everything else is refused [G 5.4, 6b, 6.5].

use std::time::{Duration, Instant};

use overspill::model::detail::StatusDetail;

use crate::support::backend::{Scripted, toy};
use crate::support::client::Client;
use crate::support::lb::Lb;
use crate::support::setup::{FAR, NEAR, group, scripted, setup};
use crate::support::wait_until;

pub(crate) const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Accepts every upgrade and sends back what comes.
pub(crate) fn echo() -> Scripted {
    Scripted::start(|conn| {
        if conn.request().is_some() && conn.write(ACCEPTED) {
            while let Some(bytes) = conn.raw() {
                conn.write(bytes);
            }
        }
    })
}

/// A client in a tunnel.
pub(crate) fn connected(lb: &Lb) -> Client {
    let mut client = lb.client();
    client.send(HANDSHAKE);
    let answer = client.answer();
    assert_eq!(answer.status, 101, "{}", answer.text());
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert!(answer.header("connection").unwrap().eq_ignore_ascii_case("upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client
}

#[test]
fn g_6_5_a_websocket_passes_and_echoes_both_ways() {
    let (backend, health) = (echo(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = connected(&lb);
    for n in 0..100 {
        let message = format!("message {n}");
        client.send(&message);
        assert_eq!(client.bytes(message.len()), message.as_bytes());
    }
    assert_eq!(lb.in_flight(), 1);
    let seen = &backend.seen()[0];
    assert_eq!((seen.header("upgrade"), seen.header("via")), (Some("websocket"), Some("1.1 google")));
    drop(client);
    wait_until("the backend's side ends", || backend.ended() == 1);
    lb.wait_ended(StatusDetail::WebsocketClosed, 1);
    lb.wait_sum("overspill_requests_total", &["code_class=\"100\""], 1.0);
}

#[test]
fn what_is_sent_right_behind_the_handshake_is_not_lost_nor_judged() {
    let (backend, health) = (echo(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    let early = b"\x81\x85\0\n\r\0not http";
    client.send([HANDSHAKE.as_bytes(), early].concat());
    assert_eq!(client.answer().status, 101);
    assert_eq!(client.bytes(early.len()), early);
    client.send("later");
    assert_eq!(client.bytes(5), b"later");
}

#[test]
fn a_backend_that_ends_a_websocket_ends_it_for_the_client() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        if conn.request().is_some() {
            conn.write(format!("{ACCEPTED}bye"));
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = connected(&lb);
    assert_eq!(client.rest(), b"bye");
    drop(client);
    lb.wait_ended(StatusDetail::WebsocketClosed, 1);
}

#[test]
fn g_5_4_an_idle_websocket_ends_at_timeout_sec_and_a_busy_one_does_not() {
    let (backend, health) = (echo(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).service("timeoutSec: 1").text());
    // A machine that stands still for a second makes the busy one an idle one: then once more.
    let is_shown = (0..10).any(|_| {
        let (mut idle, mut busy) = (connected(&lb), connected(&lb));
        let (ended, mut longest) = (lb.ended(StatusDetail::WebsocketClosed), Duration::ZERO);
        while lb.ended(StatusDetail::WebsocketClosed) == ended {
            let asked = Instant::now();
            busy.send("x");
            let echoed = busy.next();
            longest = longest.max(asked.elapsed());
            assert!(echoed == Some(b'x') || longest >= LONG, "the busy one was cut");
            if echoed.is_none() {
                return false;
            }
        }
        if longest >= LONG {
            return false;
        }
        idle.assert_closed();
        true
    });
    assert!(is_shown, "this machine stood still for a second, ten times");
}

/// A silence after which a limit of a second may have been passed.
const LONG: Duration = Duration::from_millis(800);

#[test]
fn g_6b_an_upgrade_to_anything_else_is_refused() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    for upgrade in ["h2c", "TLS/1.0", "websocket, h2c", "other"] {
        let mut client = lb.client();
        client
            .send(format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: {upgrade}\r\n\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{upgrade}");
        assert!(answer.text().contains("upgrade_header_rejected"), "{}", answer.text());
        client.assert_closed();
    }
    assert_eq!(backend.requests(), 0);
}

#[test]
fn a_websocket_that_the_backend_refuses_gets_the_backends_answer() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    client.send(HANDSHAKE);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, "good".to_owned()));
    lb.wait_ended(StatusDetail::WebsocketHandshakeFailed, 1);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_101_that_nobody_asked_for_opens_no_tunnel() {
    for headers in ["", "upgrade: websocket\r\n", "upgrade: other\r\n"] {
        let (backend, health) = (echo(), toy("health"));
        let lb = Lb::start(&scripted(&backend, &health).text());
        let mut client = lb.client();
        let answer = client.request("GET", "/", headers, b"");
        assert_eq!(answer.status, 503, "{headers:?}");
        assert!(answer.text().contains("backend_response_corrupted"), "{headers:?}: {}", answer.text());
        wait_until("the backend is let go", || backend.ended() == backend.connections());
    }
}

#[test]
fn a_websocket_is_in_flight_until_it_ends() {
    let (backend, far, health) = (echo(), Scripted::good(), toy("health"));
    let mode = "balancingMode: IN_FLIGHT, trafficDuration: LONG, maxInFlightRequests";
    let groups = [
        group("ig-near", NEAR).mode(&format!("{mode}: 1")).member("near", &backend),
        group("ig-far", FAR).mode(&format!("{mode}: 1000")).member("far", &far),
    ];
    let lb = Lb::start(&setup(&groups).probed_at(&health).text());
    let mut client = connected(&lb);
    client.send("hello");
    assert_eq!(client.bytes(5), b"hello");
    let near = || lb.handle.world().services[0].backends[0].ledger.gate.in_flight();
    for n in 1..=3 {
        assert_eq!((lb.get("/").backend(), near()), ("good", 1), "the near group is full");
        assert_eq!((backend.connections(), far.requests()), (1, n));
    }
    drop(client);
    wait_until("its room is given back", || near() == 0);
    drop(connected(&lb));
    assert_eq!(backend.connections(), 2, "there is room near again");
}
