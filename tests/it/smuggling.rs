//! Input that two parsers could read in two ways never reaches a backend, and what is malformed is answered and cut.

use std::time::{Duration, Instant};

use overspill::model::detail::StatusDetail;

use crate::support::backend::{Scripted, toy};
use crate::support::lb::Lb;
use crate::support::setup::scripted;
use crate::support::wait_until;

/// A request that would be smuggled: it must never be seen by a backend.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";

/// Heads that are refused, with the status and Google's word.
const HEADS: &[(&str, u16, &str)] = &[
    // Two framings, or two that differ, or one that is no number [RFC 9112 6.1, 6.3].
    (
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "invalid_request_headers",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
        400,
        "invalid_request_headers",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcd",
        400,
        "invalid_request_headers",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nabcd",
        400,
        "invalid_request_headers",
    ),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4, 4\r\n\r\nabcd", 400, "invalid_request_headers"),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +4\r\n\r\nabcd", 400, "invalid_request_headers"),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -4\r\n\r\nabcd", 400, "invalid_request_headers"),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x4\r\n\r\nabcd", 400, "invalid_request_headers"),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4 4\r\n\r\nabcd", 400, "invalid_request_headers"),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\nabcd", 400, "invalid_request_headers"),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\nabcd",
        400,
        "invalid_request_headers",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
        "invalid_request_headers",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        400,
        "invalid_request_headers",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        400,
        "invalid_request_headers",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        400,
        "invalid_request_headers",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "invalid_request_headers",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        400,
        "failed_parsing_client_headers",
    ),
    (
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "invalid_request_headers",
    ),
    // Names and lines that parsers see differently.
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 4\r\n\r\nabcd", 400, "failed_parsing_client_headers"),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
        "failed_parsing_client_headers",
    ),
    ("POST / HTTP/1.1\r\nhost: a\r\n content-length: 4\r\n\r\nabcd", 400, "failed_parsing_client_headers"),
    (
        "POST / HTTP/1.1\r\nhost: a\r\nx: y\r\n\ttransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "failed_parsing_client_headers",
    ),
    ("POST / HTTP/1.1\nhost: a\ncontent-length: 4\n\nabcd", 400, "failed_parsing_client_headers"),
    ("GET / HTTP/1.1\r\nhost: a\r\nx: y\nz: w\r\n\r\n", 400, "failed_parsing_client_headers"),
    ("GET / HTTP/1.1\r\nhost: a\r\nx: y\rz: w\r\n\r\n", 400, "failed_parsing_client_headers"),
    ("GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n", 400, "failed_parsing_client_headers"),
    ("GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n", 400, "failed_parsing_client_headers"),
    ("GET / HTTP/1.1\r\nhost: a\r\n: empty\r\n\r\n", 400, "failed_parsing_client_headers"),
    ("GET / HTTP/1.1\r\nhost: a\r\nx(y): z\r\n\r\n", 400, "failed_parsing_client_headers"),
    // Request lines.
    ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "failed_parsing_client_headers"),
    ("GET / HTTP/1.1 \r\nhost: a\r\n\r\n", 400, "failed_parsing_client_headers"),
    ("GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", 400, "failed_parsing_client_headers"),
    ("GET / HTTP/1.1 HTTP/1.1\r\nhost: a\r\n\r\n", 400, "failed_parsing_client_headers"),
    ("GET\t/\tHTTP/1.1\r\nhost: a\r\n\r\n", 400, "failed_parsing_client_headers"),
    ("GET /\r\nhost: a\r\n\r\n", 400, "failed_parsing_client_headers"),
    ("GET nothing HTTP/1.1\r\nhost: a\r\n\r\n", 400, "failed_parsing_client_headers"),
    ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 400, "http_version_not_supported"),
    ("GET / HTTP/1.2\r\nhost: a\r\n\r\n", 400, "http_version_not_supported"),
    ("PRI /x HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "http_version_not_supported"),
    ("\x16\x03\x01\x02\0\x01\0\x01", 400, "failed_parsing_client_headers"),
    // Whose request is it?
    ("GET / HTTP/1.1\r\n\r\n", 400, "invalid_request_headers"),
    ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "invalid_request_headers"),
    ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", 400, "invalid_request_headers"),
    ("GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", 400, "invalid_request_headers"),
    ("GET / HTTP/1.1\r\nhost:\r\n\r\n", 400, "invalid_request_headers"),
    // Methods that a balancer does not take [G 6b].
    ("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "unsupported_method"),
    ("CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", 400, "unsupported_method"),
];

/// Bodies whose chunks are bad.
const CHUNKS: &[&str] = &[
    "xyz\r\nabc\r\n0\r\n\r\n",
    "-1\r\nabc\r\n0\r\n\r\n",
    "+3\r\nabc\r\n0\r\n\r\n",
    "0x3\r\nabc\r\n0\r\n\r\n",
    " 3\r\nabc\r\n0\r\n\r\n",
    "3 \r\nabc\r\n0\r\n\r\n",
    "3\nabc\n0\n\n",
    "3\r\nabcX\r\n0\r\n\r\n",
    "3\r\nabc0\r\n\r\n",
    "ffffffffffffffff0\r\nabc",
    "\r\nabc\r\n0\r\n\r\n",
    "3;a\nb\r\nabc\r\n0\r\n\r\n",
    "0\r\nbad trailer\r\n\r\n",
    "0\r\n x: y\r\n\r\n",
];

#[test]
fn g_6b_a_head_with_two_meanings_is_answered_and_cut_and_no_backend_sees_it() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    for (head, status, word) in HEADS {
        let mut client = lb.client();
        client.send(head).send(HIDDEN);
        let answer = client.answer();
        assert_eq!(answer.status, *status, "{head:?}");
        assert!(answer.text().contains(word), "{head:?}: {}", answer.text());
        assert_eq!(answer.header("connection"), Some("close"), "{head:?}");
        client.assert_closed();
        assert_eq!(backend.requests(), 0, "{head:?}");
    }
    assert_eq!(backend.connections(), 0);
    let refused = || lb.metrics().sum("overspill_requests_total", &["code_class=\"400\""]);
    wait_until("all are counted", || refused() == HEADS.len() as f64);
}

#[test]
fn g_6b_bad_chunks_are_answered_and_cut_and_what_follows_is_no_request() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    for chunks in CHUNKS {
        let mut client = lb.client();
        client
            .send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
            .send(chunks)
            .send(HIDDEN);
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{chunks:?}");
        assert!(answer.text().contains("invalid_chunk_framing"), "{chunks:?}: {}", answer.text());
        client.assert_closed();
        assert_eq!(backend.requests(), 0, "{chunks:?}");
    }
    lb.wait_ended(StatusDetail::InvalidChunkFraming, CHUNKS.len() as u64);
}

#[test]
fn a_bad_head_after_a_good_request_is_answered_after_it() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    for (head, status, _) in HEADS.iter().filter(|(_, _, word)| *word != "unsupported_method") {
        let mut client = lb.client();
        client.send("GET /good HTTP/1.1\r\nhost: a\r\n\r\n").send(head).send(HIDDEN);
        assert_eq!(client.answer().status, 200, "{head:?}");
        assert_eq!(client.answer().status, *status, "{head:?}");
        client.assert_closed();
    }
    assert!(backend.seen().iter().all(|seen| seen.line() == "GET /good HTTP/1.1"));
}

#[test]
fn however_the_bytes_are_split_the_verdict_is_the_same() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let good = "POST /whole HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let bad = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n";
    for (text, status) in [(good, 200), (bad, 400)] {
        let mut client = lb.client();
        for byte in text.bytes() {
            client.send([byte]);
        }
        assert_eq!(client.answer().status, status);
    }
    assert_eq!(backend.seen()[0].body, b"abc");
}

#[test]
fn a_refused_client_sees_the_end_at_once() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    // It is listened to for a second more; of ten ends that came only then, none would come earlier.
    let ends = (0..10).map(|_| {
        let mut client = lb.client();
        let sent = Instant::now();
        client.send("GET / HTTP/1.1\r\n\r\n");
        assert_eq!(client.answer().status, 400);
        client.assert_closed();
        sent.elapsed()
    });
    let first = ends.min().unwrap();
    assert!(first < Duration::from_millis(500), "{first:?}");
}

#[test]
fn a_body_that_is_shorter_than_said_is_no_request() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc").finish();
    let rest = client.rest();
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    drop(client);
    wait_until("the attempt has ended", || lb.in_flight() == 0);
    assert_eq!(backend.requests(), 0);
}

#[test]
fn an_answer_with_two_framings_is_refused_and_its_connection_closed() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while let Some(seen) = conn.request() {
            if seen.line().contains("/two") {
                conn.write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
            } else {
                conn.ok("one");
            }
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "one");
        let answer = client.get("/two");
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    lb.wait_ended(StatusDetail::BackendResponseCorrupted, 5);
    // None of these connections was used again.
    lb.wait_sum("overspill_backend_connections_total", &[], 5.0);
}

#[test]
fn a_body_that_nobody_read_is_never_taken_for_a_request() {
    // 33 bytes that would be a request of their own.
    let body = "GET /hidden HTTP/1.1\r\nhost: aa\r\n\r\n";
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    health.set_health(500);
    lb.wait_health("s", false);
    for expect in ["", "expect: 100-continue\r\n"] {
        let mut client = lb.client();
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{expect}content-length: {}\r\n\r\n", body.len()));
        if expect.is_empty() {
            client.send(body);
        }
        let answer = client.answer();
        assert_eq!((answer.status, answer.interim.len()), (503, 0), "{expect}");
        if !expect.is_empty() {
            // A client that was refused may send its body all the same.
            client.send(body);
        }
        client.send("GET /next HTTP/1.1\r\nhost: a\r\n\r\n");
        let rest = String::from_utf8(client.finish().rest()).unwrap();
        assert!(rest.matches("HTTP/1.1 ").count() <= 1, "{rest}");
    }
    lb.wait_sum("overspill_requests_total", &["code_class=\"400\""], 0.0);
    assert!(lb.ended(StatusDetail::FailedToPickBackend) <= 4);
    assert_eq!(backend.requests(), 0);
}
