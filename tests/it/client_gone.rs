//! Clients that leave: the backend's work ends too, and the numbers are right [G 5.6].

use overspill::model::detail::StatusDetail;

use crate::support::backend::{Scripted, toy};
use crate::support::client::Client;
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
