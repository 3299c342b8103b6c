//! Clients that leave: the backend's work ends too, and the numbers are right [G 5.6].

use bytes::Bytes;
use http::Request;
use overspill::model::detail::StatusDetail;

use crate::support::backend::{Scripted, toy};
use crate::support::client::Client;
use crate::support::h2::{self, run};
use crate::support::lb::Lb;
use crate::support::setup::scripted;
use crate::support::wait_until;

/// How a client leaves.
const WAYS: [fn(Client); 2] = [drop::<Client>, Client::reset];

#[test]
fn a_client_that_leaves_while_waiting_takes_its_request_with_it() {
    for leave in WAYS {
        let health = toy("health");
        let backend = Scripted::start(|conn| {
            if conn.request().is_some() {
                assert!(conn.closed());
            }
        });
        let lb = Lb::start(&scripted(&backend, &health).text());
        let mut client = lb.client();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        wait_until("the backend works", || backend.requests() == 1);
        assert_eq!(lb.in_flight(), 1);
        leave(client);
        wait_until("the backend is let go", || backend.ended() == 1);
        lb.wait_ended(StatusDetail::ClientDisconnectedBeforeAny, 1);
        wait_until("nothing is under way", || lb.in_flight() == 0);
        lb.wait_sum("overspill_requests_total", &["code_class=\"0\""], 1.0);
        lb.wait_sum("overspill_attempts_failed_total", &[], 0.0);
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_download_ends_it() {
    for leave in WAYS {
        let health = toy("health");
        let backend = Scripted::start(|conn| {
            if conn.request().is_some() {
                conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                while conn.write("4\r\nmore\r\n") {}
            }
        });
        let lb = Lb::start(&scripted(&backend, &health).text());
        let mut client = lb.client();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client.bytes(1 << 16);
        leave(client);
        wait_until("the backend is let go", || backend.ended() == 1);
        lb.wait_ended(StatusDetail::ClientDisconnectedAfterPartial, 1);
        wait_until("nothing is under way", || lb.in_flight() == 0);
        lb.wait_sum("overspill_requests_total", &["code_class=\"200\""], 1.0);
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_an_upload_ends_it() {
    for leave in WAYS {
        let health = toy("health");
        let backend = Scripted::start(|conn| {
            if conn.head().is_some() {
                while conn.raw().is_some() {}
            }
        });
        let lb = Lb::start(&scripted(&backend, &health).text());
        let mut client = lb.client();
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nsome");
        wait_until("the backend works", || lb.in_flight() == 1);
        leave(client);
        wait_until("the backend is let go", || backend.ended() == 1);
        lb.wait_ended(StatusDetail::ClientDisconnectedBeforeAny, 1);
    }
}

#[test]
fn a_client_that_closes_its_side_counts_as_gone() {
    // A FIN is all that is seen of a client that has gone; who wants an answer keeps its side open.
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        if conn.request().is_some() {
            conn.closed();
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").finish();
    client.assert_closed();
    lb.wait_ended(StatusDetail::ClientDisconnectedBeforeAny, 1);
    wait_until("the backend is let go", || backend.ended() == backend.connections());
    let mut client = lb.client();
    client.send("nonsense\r\n\r\n").finish();
    assert_eq!(client.answer().status, 400, "our own answer needs nobody else's time");
}

#[test]
fn a_client_that_leaves_between_requests_is_no_event() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    for leave in WAYS {
        let mut client = lb.client();
        assert_eq!(client.get("/").status, 200);
        client.send("GET / HT");
        leave(client);
    }
    wait_until("all are closed", || lb.open_connections() == 0);
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 2);
    lb.wait_sum("overspill_requests_total", &[], 2.0);
}

#[test]
fn what_a_client_breaks_off_or_spoils_is_no_failure_of_the_member() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let setup = scripted(&backend, &health).service(
        "outlierDetection: {consecutiveErrors: 1, enforcingConsecutiveErrors: 100, maxEjectionPercent: 100}",
    );
    let lb = Lb::start(&setup.text());
    let begin = |framing: &str| {
        let mut client = lb.client();
        client.send(format!("POST /up HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n4\r\nsome\r\n"));
        wait_until("the member is asked", || lb.in_flight() == 1);
        client
    };
    for leave in WAYS {
        leave(begin("transfer-encoding: chunked"));
        wait_until("nothing is under way", || lb.in_flight() == 0);
        leave(begin("content-length: 1000"));
        wait_until("nothing is under way", || lb.in_flight() == 0);
    }
    let mut spoilt = begin("transfer-encoding: chunked");
    spoilt.send("no chunk\r\n");
    assert_eq!(spoilt.answer().status, 400);
    wait_until("nothing is under way", || lb.in_flight() == 0);
    run(async {
        let mut send = h2::connect(lb.address()).await;
        let request = Request::post("http://test/up").body(()).unwrap();
        let (answer, mut body) = send.send_request(request, false).unwrap();
        h2::send_all(&mut body, Bytes::from_static(b"some"), false).await;
        while lb.in_flight() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        body.send_reset(::h2::Reason::CANCEL);
        assert!(answer.await.is_err());
    });
    lb.wait_ended(StatusDetail::ClientDisconnectedBeforeAny, 5);
    lb.wait_ended(StatusDetail::InvalidChunkFraming, 1);
    lb.wait_tick();
    let metrics = lb.metrics();
    assert_eq!(metrics.sum("overspill_attempts_failed_total", &[]), 0.0);
    assert_eq!(metrics.sum("overspill_member_ejections_total", &[]), 0.0);
    assert_eq!(metrics.sum("overspill_requests_total", &["code_class=\"0\""]), 5.0);
}

#[test]
fn an_answer_of_our_own_before_the_body_has_come_says_that_it_was_the_last() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    for framing in
        ["content-length: 1000", "transfer-encoding: chunked", "content-length: 4\r\nexpect: 100-continue"]
    {
        let mut early = lb.client();
        early.send(format!("POST /a/../b HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n"));
        let answer = early.answer();
        assert_eq!((answer.status, answer.header("connection")), (302, Some("close")), "{framing}");
        assert!(early.rest().is_empty());
    }
    let mut whole = lb.client();
    for _ in 0..2 {
        whole.send("POST /a/../b HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
        let answer = whole.answer();
        assert_eq!((answer.status, answer.header("connection")), (302, None));
    }
    assert_eq!(whole.get("/").status, 200, "what was read to its end goes on");
}
