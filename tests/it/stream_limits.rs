//! `maxStreamDuration`: an end for whatever a request becomes, from its head on, retries included [G 7c].

use std::time::{Duration, Instant};

use bytes::Bytes;
use overspill::model::detail::StatusDetail;

use crate::grpc::{Member, of, rpc};
use crate::support::backend::{Scripted, Valve, toy};
use crate::support::h2::{connect, run, whole};
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, scripted, setup};
use crate::support::{PATIENCE, measuring, wait_until};
use crate::websocket::{connected, echo};

const SHORT: &str = "maxStreamDuration: {seconds: 1}";
/// Less than that, and far less than any other limit.
const SECOND: Duration = Duration::from_millis(950);

/// Begins an answer, and goes on with it for ever.
fn endless() -> Scripted {
    Scripted::start(|conn| {
        while conn.request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while conn.write("1\r\nx\r\n") {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    })
}

#[test]
fn an_answer_that_goes_on_is_cut_and_the_services_timeout_is_another_matter() {
    let _measuring = measuring();
    let (backend, health) = (endless(), toy("health"));
    let text = scripted(&backend, &health).service(SHORT).service("timeoutSec: 600").text();
    let lb = Lb::start(&text);
    let began = Instant::now();
    let mut client = lb.sent("/");
    assert_eq!(client.begun().status, 200);
    client.rest();
    assert!(began.elapsed() >= SECOND, "{:?}", began.elapsed());
    lb.wait_ended(StatusDetail::BackendTimeout, 1);
    wait_until("the member is left", || backend.ended() == 1);
}

#[test]
fn without_an_answer_it_is_a_timeout_and_no_other_member_is_tried() {
    let (valve, health) = (Valve::default(), toy("health"));
    let members = [Scripted::held(&valve), Scripted::held(&valve)];
    let setup = setup(&[group("ig", NEAR).member("a", &members[0]).member("b", &members[1])]);
    let text = setup.probed_at(&health).service(SHORT).service("timeoutSec: 600").text();
    let lb = Lb::start(&text);
    let mut client = lb.client();
    let answer = client.get("/a");
    assert!(answer.status == 503 && answer.text().contains("backend_timeout"), "{}", answer.text());
    assert_eq!(members[0].requests() + members[1].requests(), 1);
    // The next request of the same connection has its own time.
    valve.open();
    assert_eq!(client.get("/a").status, 200);
}

#[test]
fn a_route_has_its_own_in_place_of_the_services() {
    let (backend, health) = (endless(), toy("health"));
    let map = "{name: web-map, defaultService: web, defaultRouteAction: {maxStreamDuration: {seconds: 0, nanos: 300000000}}}";
    let text = scripted(&backend, &health).service("maxStreamDuration: {seconds: 3600}").text();
    let lb = Lb::start(&text.replace("{name: web-map, defaultService: web}", map));
    let mut client = lb.sent("/");
    assert_eq!(client.begun().status, 200);
    client.rest();
    lb.wait_ended(StatusDetail::BackendTimeout, 1);
}

#[test]
fn a_websocket_in_use_is_closed() {
    let (backend, health) = (echo(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).service(SHORT).text());
    let mut client = connected(&lb);
    // Never idle: it would go on for a day.
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "it goes on");
        client.send("x");
        if client.next().is_none() {
            break;
        }
    }
    lb.wait_ended(StatusDetail::WebsocketClosed, 1);
}

#[test]
fn a_call_of_grpc_both_ways_is_reset_and_its_connections_live_on() {
    let member = Member::start();
    let lb = Lb::with_workers(&of(&member, SHORT), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        let (answer, mut stream) = send.send_request(rpc("/bidi"), false).unwrap();
        stream.send_data(Bytes::from_static(b"x"), false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let broken = whole(answer).await;
        assert!(broken.is_err(), "the client hears that it was cut: {broken:?}");
        let (answer, _) = send.send_request(rpc("/"), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200, "the client's connection lives on");
    });
    assert_eq!(member.connections(), 1);
}
