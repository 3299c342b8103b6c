//! Too much of something: a limit, a clear word, and others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use overspill::model::detail::StatusDetail;

use crate::support::backend::{Scripted, Valve, toy};
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, scripted, setup};
use crate::support::{most_in_buffers, wait_until};

#[test]
fn two_thousand_idle_connections_do_not_disturb_a_working_one() {
    let toys = [toy("a")];
    let lb = Lb::start(&setup(&[group("ig", NEAR).members(&toys)]).text());
    let mut idle: Vec<_> = (0..2_000).map(|_| lb.client()).collect();
    wait_until("all are accepted", || lb.open_connections() == 2_000);
    for (n, client) in idle.iter_mut().enumerate().filter(|(n, _)| n % 2 == 0) {
        client.send(if n % 4 == 0 { "GET / HTTP/1.1\r\nhost: a" } else { "G" });
    }
    let mut working = lb.client();
    for _ in 0..200 {
        assert_eq!(working.get("/").status, 200);
    }
    // The idle ones are served when they wake up.
    for client in idle.iter_mut().filter(|_| true).step_by(100) {
        client.send("\r\n\r\n");
    }
    for client in idle.iter_mut().step_by(100) {
        assert_eq!(client.answer().status, 200);
    }
    drop(idle);
    drop(working);
    wait_until("all are closed", || lb.open_connections() == 0);
}

#[test]
fn g_6b_a_megabyte_of_headers_gets_413() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let one = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let many = format!(
        "GET / HTTP/1.1\r\nhost: a\r\n{}\r\n",
        "x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(30_000)
    );
    let url = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "y".repeat(1 << 20));
    for text in [one, many, url] {
        let mut client = lb.client();
        let mut writer = client.writer();
        let answer = std::thread::scope(|scope| {
            // A refused client may well be cut while it still writes.
            scope.spawn(|| drop(std::io::Write::write_all(&mut writer, text.as_bytes())));
            client.answer()
        });
        assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
        assert!(answer.text().contains("headers_too_long"), "{}", answer.text());
    }
    lb.wait_ended(StatusDetail::HeadersTooLong, 3);
    assert_eq!(backend.connections(), 0);
}

#[test]
fn g_6b_60_kib_of_headers_pass_and_more_do_not() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let head = |length: usize| {
        let bare = "GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(length - bare))
    };
    for (length, status) in [(60 * 1024, 200), (60 * 1024 + 1, 413)] {
        let mut client = lb.client();
        client.send(head(length));
        assert_eq!(client.answer().status, status, "{length}");
    }
}

#[test]
fn a_stop_lets_running_requests_finish_and_takes_no_new_ones() {
    let health = toy("health");
    let go = Arc::new(AtomicBool::new(false));
    let may_answer = go.clone();
    let backend = Scripted::start(move |conn| {
        while conn.request().is_some() {
            wait_until("it may answer", || may_answer.load(SeqCst));
            conn.ok("late");
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let address = lb.address();
    let (mut running, mut idle) = (lb.client(), lb.client());
    running.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    wait_until("the request is under way", || backend.requests() == 1);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| lb.stop());
        idle.assert_closed();
        wait_until("nobody listens", || std::net::TcpStream::connect(address).is_err());
        assert!(!stopping.is_finished(), "it stopped with a request under way");
        go.store(true, SeqCst);
        let answer = running.answer();
        assert_eq!((answer.status, answer.text()), (200, "late".to_owned()));
        assert_eq!(answer.header("connection"), Some("close"));
        running.assert_closed();
        stopping.join().unwrap();
    });
}

#[test]
fn who_is_being_answered_when_the_process_is_replaced_may_ask_once_more() {
    let health = toy("health");
    let valve = Valve::default();
    let may_end = valve.clone();
    let backend = Scripted::start(move |conn| {
        while conn.request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbe");
            may_end.pass();
            conn.write("st");
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let address = lb.address();
    let mut client = lb.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let first = client.begun();
    std::thread::scope(|scope| {
        let leaving = scope.spawn(|| lb.retire());
        wait_until("nobody listens", || std::net::TcpStream::connect(address).is_err());
        valve.open();
        assert_eq!(client.ended(first).text(), "best");
        let last = client.get("/");
        assert_eq!((last.status, last.header("connection")), (200, Some("close")));
        client.assert_closed();
        leaving.join().unwrap();
    });
}

/// More than the sockets on the way hold, by far less than what could be sent.
fn held() -> u64 {
    3 * most_in_buffers() as u64 + (16 << 20)
}

#[test]
fn an_answer_is_read_no_faster_than_the_client_takes_it() {
    let (health, written) = (toy("health"), Arc::new(AtomicU64::new(0)));
    let count = written.clone();
    let backend = Scripted::start(move |conn| {
        if conn.request().is_some() {
            conn.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40));
            let piece = vec![b'x'; 1 << 16];
            while conn.write(&piece) {
                count.fetch_add(1 << 16, SeqCst);
            }
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).service("timeoutSec: 1").text());
    let mut client = lb.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    wait_until("the client is cut", || backend.ended() == 1);
    assert!(written.load(SeqCst) < held(), "{} bytes were taken from the backend", written.load(SeqCst));
}

#[test]
fn a_request_is_read_no_faster_than_the_backend_takes_it() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        if conn.head().is_some() {
            // Reads nothing more until the balancer has given up.
            wait_until("it is given up", || conn.is_cut());
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).service("timeoutSec: 1").text());
    let mut client = lb.client();
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40));
    let (mut writer, piece, mut written) = (client.writer(), vec![b'x'; 1 << 16], 0);
    while std::io::Write::write_all(&mut writer, &piece).is_ok() {
        written += 1 << 16;
    }
    assert!(written < held(), "{written} bytes were taken from the client");
    drop(client);
    wait_until("nothing is under way", || lb.in_flight() == 0);
}

#[test]
fn idle_connections_to_members_leave_file_descriptors_for_others() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    let mut clients: Vec<_> = (0..6).map(|_| lb.client()).collect();
    let mut ask_at_once = || {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        }
        clients.iter_mut().for_each(|client| assert_eq!(client.answer().status, 200));
    };
    ask_at_once();
    assert_eq!(backend.ended(), 0, "all are kept");
    // Enough for 8 clients, of which a fourth are kept idle beside them.
    lb.handle.process().doors.provide(8);
    wait_until("no more than two are kept", || {
        ask_at_once();
        backend.connections() > backend.ended() && backend.connections() - backend.ended() <= 2
    });
    assert_eq!(lb.get("/").status, 200);
}
