//! Backends that break the rules: the client gets a clear word or a cut, and nothing leaks.
//!
//! That no lease leaks and nothing panics is checked by the balancer's drop at the end of every test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use overspill::model::detail::StatusDetail;

use crate::support::backend::{Scripted, toy};
use crate::support::client::Cut;
use crate::support::lb::Lb;
use crate::support::setup::scripted;
use crate::support::wait_until;

/// Asks a backend that answers every request with these bytes and closes.
fn ask(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> (u16, String, Lb) {
    let health = toy("health");
    let backend = Scripted::start(move |conn| {
        if conn.request().is_some() {
            conn.write(&bytes);
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let answer = lb.get("/");
    wait_until("nothing is under way", || lb.in_flight() == 0);
    (answer.status, answer.text(), lb)
}

#[test]
fn what_is_no_http_is_a_corrupted_answer() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(20_000));
    for garbage in [
        "garbage\r\n\r\n",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n",
        &many,
    ] {
        let (status, text, lb) = ask(garbage.to_owned());
        let shown = &garbage[..garbage.len().min(40)];
        assert_eq!(status, 503, "{shown:?}");
        let word =
            if garbage == many { "backend_response_headers_too_long" } else { "backend_response_corrupted" };
        assert!(text.contains(word), "{shown:?}: {text}");
        wait_until("it is counted", || lb.metrics().sum("overspill_outcomes_total", &[word]) == 1.0);
    }
}

#[test]
fn g_6b_a_head_over_128_kib_is_refused() {
    let (status, text, lb) = ask(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(200 * 1024)));
    assert_eq!(status, 503);
    assert!(text.contains("backend_response_headers_too_long"), "{text}");
    lb.wait_ended(StatusDetail::BackendResponseHeadersTooLong, 1);
}

#[test]
fn a_head_of_100_kib_passes() {
    let long = "y".repeat(100 * 1024);
    let (status, _, lb) = ask(format!("HTTP/1.1 200 OK\r\nx: {long}\r\ncontent-length: 0\r\n\r\n"));
    assert_eq!(status, 200);
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 1);
}

#[test]
fn nothing_at_all_is_a_close_before_data() {
    let (status, text, lb) = ask("");
    assert_eq!(status, 503);
    assert!(text.contains("backend_connection_closed_before_data_sent_to_client"), "{text}");
    lb.wait_ended(StatusDetail::BackendConnectionClosedBeforeData, 1);
}

#[test]
fn half_a_head_is_a_close_before_data_too() {
    let (status, text, _lb) = ask("HTTP/1.1 200 OK\r\ncontent-le");
    assert_eq!(status, 503);
    assert!(text.contains("backend_connection_closed_before_data_sent_to_client"), "{text}");
}

#[test]
fn a_body_that_breaks_off_cuts_the_client() {
    for (head, sent) in [("content-length: 100", "half"), ("transfer-encoding: chunked", "4\r\nhalf\r\n")] {
        for is_reset in [false, true] {
            let health = toy("health");
            let backend = Scripted::start(move |conn| {
                if conn.request().is_some() {
                    conn.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{sent}"));
                    // Only when the client has its part does the end come: a reset overtakes what is on the way.
                    conn.request();
                    if is_reset {
                        conn.reset();
                    }
                }
            });
            let lb = Lb::start(&scripted(&backend, &health).text());
            let mut client = lb.client();
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
            let head = client.bytes(12);
            assert_eq!(head, b"HTTP/1.1 200");
            drop(backend);
            let rest = client.rest();
            assert!(!rest.ends_with(b"0\r\n\r\n"), "the client was told that this was all");
            lb.wait_ended(StatusDetail::BackendConnectionClosedAfterPartial, 1);
            lb.wait_sum("overspill_requests_total", &["code_class=\"200\""], 1.0);
        }
    }
}

#[test]
fn bad_chunks_in_an_answer_cut_the_client() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        if conn.request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n");
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.try_answer("GET").unwrap_err(), Cut::InBody(4));
    lb.wait_ended(StatusDetail::BackendConnectionClosedAfterPartial, 1);
}

#[test]
fn an_answer_before_the_request_has_ended_reaches_the_client() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        if conn.head().is_some() {
            conn.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\nconnection: close\r\n\r\nstop");
            conn.closed();
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nfirst");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (403, "stop".to_owned()));
    client.assert_closed();
    lb.wait_ended(StatusDetail::AbortedRequestDueToEarlyResponse, 1);
}

#[test]
fn an_early_answer_to_an_upload_in_full_swing_reaches_the_client() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        if conn.head().is_some() {
            conn.write(
                "HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\nconnection: close\r\n\r\nstop",
            );
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let piece = vec![b'x'; 1 << 16];
    for _ in 0..20 {
        let mut client = lb.client();
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 1 << 30));
        client.send(&piece).send(&piece);
        let answer = client.answer();
        assert!(matches!(answer.status, 413 | 503), "{answer:?}");
    }
}

#[test]
fn bytes_after_an_answer_are_not_the_next_answer() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while conn.request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "ok");
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_not_the_next_answer() {
    let (health, unasked) = (toy("health"), Arc::new(AtomicUsize::new(0)));
    let count = unasked.clone();
    let backend = Scripted::start(move |conn| {
        while conn.request().is_some() {
            conn.ok("asked");
            conn.ok("evil");
            count.fetch_add(1, SeqCst);
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    for n in 1..=20 {
        assert_eq!(client.get("/").text(), "asked");
        // What comes after the next request has gone out is its answer, for all that anybody can tell.
        wait_until("it has come", || unasked.load(SeqCst) == n);
    }
}
