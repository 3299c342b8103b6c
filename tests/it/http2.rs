//! HTTP/2 from clients in clear: the same handler, the same limits, each stream by itself [G 6.2].

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use overspill::ledger::process::Traffic;
use overspill::model::detail::StatusDetail;

use crate::support::backend::{Scripted, Valve, toy};
use crate::support::h2::{self, Raw, ask, connect, get, run, send_all, whole};
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, scripted, setup};
use crate::support::wait_until;

#[test]
fn http_2_and_http_1_are_spoken_on_one_port() {
    let toys = ["a"].map(toy);
    let lb = Lb::start(&setup(&[group("ig", NEAR).members(&toys)]).text());
    run(async {
        let mut send = connect(lb.address()).await;
        for n in 0..50 {
            let answer = ask(&mut send, get(&format!("/{n}"))).await.unwrap();
            assert_eq!((answer.status, answer.header("x-backend")), (200, Some("a")));
            assert_eq!(answer.header("via"), Some("1.1 google"));
        }
    });
    assert_eq!(lb.get("/").status, 200);
    assert_eq!(lb.handle.process().sum(Traffic::Http2Connections), 1);
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 51);
}

#[test]
fn it_does_not_matter_in_how_many_pieces_the_preface_comes() {
    let toys = ["a"].map(toy);
    let lb = Lb::start(&setup(&[group("ig", NEAR).members(&toys)]).text());
    let mut all = h2::PREFACE.to_vec();
    all.extend(h2::frame(h2::SETTINGS, 0, 0, b""));
    all.extend(h2::frame(h2::HEADERS, h2::END | h2::END_HEADERS, 1, &h2::good("/")));
    let mut client = lb.client();
    for byte in &all {
        client.send([*byte]);
    }
    assert_eq!(Raw(client).fate(1), h2::Fate::Answered(200));
}

#[test]
fn a_preface_that_is_none_or_comes_late_is_refused_as_before() {
    let toys = ["a"].map(toy);
    let lb = Lb::start(&setup(&[group("ig", NEAR).members(&toys)]).text());
    for bad in ["PRI * HTTP/2.1\r\n\r\n", "PRI / HTTP/2.0\r\n\r\n", "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut client = lb.client();
        client.send(bad);
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{bad:?}");
        assert!(answer.text().contains("http_version_not_supported"), "{}", answer.text());
        client.assert_closed();
    }
    let mut client = lb.client();
    assert_eq!(client.get("/").status, 200);
    client.send(h2::PREFACE);
    assert_eq!(client.answer().status, 400);
    client.assert_closed();
}

#[test]
fn streams_of_one_connection_are_served_beside_each_other() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        let waiting: Vec<_> = (0..20).map(|_| send.send_request(get("/held"), true).unwrap().0).collect();
        wait_until("all have arrived", || backend.requests() == 20);
        assert_eq!(lb.in_flight(), 20);
        assert_eq!(ask(&mut send, get("/")).await.unwrap().status, 200, "one that overtakes them");
        valve.open();
        for answer in waiting {
            assert_eq!(whole(answer.await.unwrap()).await.unwrap().text(), "held");
        }
    });
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 21);
}

#[test]
fn a_member_of_http_1_sees_a_plain_request() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    run(async {
        let mut send = connect(lb.address()).await;
        let request = Request::get("http://shop.example:81/a%20b?c=d")
            .header("cookie", "a=1")
            .header("x-mine", "yes")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .body(())
            .unwrap();
        assert_eq!(ask(&mut send, request).await.unwrap().text(), "good");
    });
    let seen = &backend.seen()[0];
    assert_eq!(seen.line(), "GET /a%20b?c=d HTTP/1.1");
    assert_eq!(seen.all("host"), ["shop.example:81"]);
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);
    assert_eq!((seen.header("x-mine"), seen.header("x-forwarded-proto")), (Some("yes"), Some("http")));
    assert!(seen.header("te").is_none() && seen.header("transfer-encoding").is_none());
    assert!(seen.header("x-forwarded-for").unwrap().starts_with("127.0.0.1,"));
}

#[test]
fn bodies_go_up_and_down_whole_with_a_length_and_without() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while let Some(seen) = conn.request() {
            let framing = seen.header("content-length").map_or("chunked".to_owned(), str::to_owned);
            conn.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-framing: {framing}\r\n\r\n",
                seen.body.len()
            ));
            if !conn.write(seen.body) {
                return;
            }
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    run(async {
        let send = connect(lb.address()).await;
        for length in [None, Some(body.len())] {
            let mut request = Request::post("http://test/");
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let mut send = send.clone().ready().await.unwrap();
            let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
            let bytes = Bytes::from(body.clone());
            let (answer, ()) = tokio::join!(answer, send_all(&mut stream, bytes, true));
            let answer = whole(answer.unwrap()).await.unwrap();
            let framing = length.map_or("chunked".to_owned(), |length| length.to_string());
            assert_eq!(answer.header("x-framing"), Some(&*framing));
            assert!(answer.body == body, "what came back differs");
        }
    });
}

#[test]
fn trailers_of_a_member_reach_the_client() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while conn.request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n");
            conn.write("4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n");
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    run(async {
        let mut send = connect(lb.address()).await;
        let answer = ask(&mut send, get("/")).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.header("transfer-encoding")), ("body", None));
        assert_eq!(answer.trailers.unwrap()["x-sum"], "42");
    });
    // Over HTTP/1 a client that did not say that it takes trailers gets none, and the answer is whole all the same.
    let mut client = lb.client();
    assert_eq!((client.get("/").text(), client.get("/").text()), ("body".to_owned(), "body".to_owned()));
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 3);
    assert_eq!(lb.ended(StatusDetail::ClientDisconnectedAfterPartial), 0);
}

#[test]
fn trailers_of_a_client_are_taken_and_end_its_body() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    run(async {
        let mut send = connect(lb.address()).await;
        let (answer, mut stream) =
            send.send_request(Request::post("http://test/").body(()).unwrap(), false).unwrap();
        stream.send_data(Bytes::from_static(b"sent"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("42"));
        stream.send_trailers(trailers).unwrap();
        assert_eq!(whole(answer.await.unwrap()).await.unwrap().status, 200);
    });
    assert_eq!(backend.seen()[0].body, b"sent");
}

#[test]
fn what_has_no_body_gets_none() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while let Some(seen) = conn.request() {
            conn.write(match seen.line().split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: \"x\"\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            });
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    run(async {
        let mut send = connect(lb.address()).await;
        let head = Request::head("http://test/").body(()).unwrap();
        let answer = ask(&mut send, head).await.unwrap();
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("5")));
        for status in [204, 304] {
            let answer = ask(&mut send, get(&format!("/{status}"))).await.unwrap();
            assert_eq!((answer.status, answer.body.len()), (status, 0));
        }
        let ours = Request::head("http://test/a/../b").body(()).unwrap();
        assert_eq!(ask(&mut send, ours).await.unwrap().status, 302);
        let refused = Request::builder().method("TRACE").uri("http://test/").body(()).unwrap();
        let answer = ask(&mut send, refused).await.unwrap();
        assert!(answer.status == 400 && answer.text().contains("unsupported_method"));
        assert_eq!(answer.header("connection"), None);
    });
}

#[test]
fn an_answer_of_ours_to_a_head_has_a_length_and_no_body() {
    let toys = ["a"].map(toy);
    toys[0].set_health(500);
    let lb = Lb::start(&setup(&[group("ig", NEAR).members(&toys)]).text());
    run(async {
        let mut send = connect(lb.address()).await;
        let answer = ask(&mut send, Request::head("http://test/").body(()).unwrap()).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (503, 0));
        assert!(answer.header("content-length").unwrap().parse::<u32>().unwrap() > 100);
        let answer = ask(&mut send, get("/")).await.unwrap();
        assert!(answer.status == 503 && answer.text().contains("failed_to_pick_backend"));
    });
}

#[test]
fn g_5_6_a_stream_that_the_client_resets_ends_at_the_member_and_is_counted() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while let Some(seen) = conn.request() {
            if seen.line().contains("/wait") {
                assert!(conn.closed());
                return;
            }
            if seen.line().contains("/long") {
                conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
                while conn.write(&chunk) {}
                return;
            }
            conn.ok("good");
        }
    });
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        let (answer, mut stream) = send.send_request(get("/wait"), true).unwrap();
        wait_until("the member works", || backend.requests() == 1);
        stream.send_reset(::h2::Reason::CANCEL);
        drop(answer);
        wait_until("the member is let go", || backend.ended() == 1);
        lb.wait_ended(StatusDetail::ClientDisconnectedBeforeAny, 1);
        let (answer, mut stream) = send.send_request(get("/long"), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        assert!(!body.data().await.unwrap().unwrap().is_empty());
        stream.send_reset(::h2::Reason::CANCEL);
        drop(body);
        wait_until("the member is let go", || backend.ended() == 2);
        lb.wait_ended(StatusDetail::ClientDisconnectedAfterPartial, 1);
        assert_eq!(ask(&mut send, get("/")).await.unwrap().status, 200, "the connection lives on");
    });
}

#[test]
fn g_5_3_a_timeout_concerns_its_stream_alone() {
    let (valve, health) = (Valve::default(), toy("health"));
    let held = valve.clone();
    let backend = Scripted::start(move |conn| {
        while let Some(seen) = conn.request() {
            if seen.line().contains("/part") {
                conn.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\npart");
            }
            if !seen.line().starts_with("GET / ") {
                held.pass();
            }
            conn.ok("good");
        }
    });
    let lb = Lb::with_workers(&scripted(&backend, &health).service("timeoutSec: 1").text(), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        let (none, _) = send.send_request(get("/none"), true).unwrap();
        let (part, _) = send.send_request(get("/part"), true).unwrap();
        let part = whole(part.await.unwrap()).await.unwrap_err();
        assert!(part.is_reset() && part.is_remote(), "{part}");
        let none = whole(none.await.unwrap()).await.unwrap();
        assert!(none.status == 503 && none.text().contains("backend_timeout"), "{}", none.text());
        assert_eq!(ask(&mut send, get("/")).await.unwrap().status, 200);
    });
    valve.open();
}

#[test]
fn a_client_that_reads_slowly_loses_its_stream_and_no_other() {
    let health = toy("health");
    let big = "x".repeat(4 << 20);
    let backend = Scripted::start(move |conn| {
        while let Some(seen) = conn.request() {
            let body = if seen.line().starts_with("GET /big ") { &big } else { "good" };
            if !conn.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())) {
                return;
            }
        }
    });
    let lb = Lb::with_workers(&scripted(&backend, &health).service("timeoutSec: 1").text(), 1);
    let mut raw = Raw::to(lb.address());
    raw.get(1, "/big");
    // The window of 64 KiB is all that it takes.
    let mut taken = 0;
    let reset = loop {
        let came = raw.frame().expect("the connection lives on");
        match came.kind {
            h2::DATA if came.stream == 1 => taken += came.payload.len(),
            h2::RST_STREAM => break came,
            _ => {}
        }
    };
    assert!(reset.stream == 1 && taken <= 65_535, "{taken} bytes, then {reset:?}");
    lb.wait_ended(StatusDetail::ClientTimedOut, 1);
    raw.send(h2::frame(h2::WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0])).get(5, "/");
    assert_eq!(raw.fate(5), h2::Fate::Answered(200));
    assert_eq!(lb.get("/").status, 200);
}

#[test]
fn g_4_24_only_the_streams_of_a_removed_member_are_cut() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backends = [Scripted::held(&valve), Scripted::held(&valve)];
    let yaml = |members: &[usize]| {
        let group =
            members.iter().fold(group("ig", NEAR), |group, n| group.member(&format!("m-{n}"), &backends[*n]));
        setup(&[group])
            .probed_at(&health)
            .service("connectionDraining: {drainingTimeoutSec: 1}")
            .service("localityLbPolicy: ROUND_ROBIN")
            .text()
    };
    let lb = Lb::with_workers(&yaml(&[0, 1]), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        let mut waiting: Vec<_> = (0..2).map(|_| send.send_request(post("/held"), true).unwrap().0).collect();
        wait_until("each has one", || backends.iter().all(|backend| backend.requests() == 1));
        tokio::task::block_in_place(|| lb.reload(&yaml(&[0])));
        let second = waiting.pop().unwrap();
        let first = waiting.pop().unwrap();
        let (cut, open) = (tokio::spawn(second), tokio::spawn(first));
        wait_until("one is cut", || cut.is_finished() || open.is_finished());
        valve.open();
        let mut statuses = Vec::new();
        for answer in [cut, open] {
            statuses.push(answer.await.unwrap().unwrap().status().as_u16());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 503]);
        assert_eq!(ask(&mut send, get("/")).await.unwrap().status, 200, "the connection lives on");
    });
}

#[test]
fn a_retired_listener_says_goaway_and_streams_under_way_finish() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let setup = scripted(&backend, &health).fronts(&[("web", "0"), ("other", "0")]);
    let lb = Lb::with_workers(&setup.text(), 1);
    let mut raw = Raw::to(lb.front("other"));
    raw.get(1, "/held");
    wait_until("it has arrived", || backend.requests() == 1);
    lb.reload(&setup.clone().fronts(&[("web", "0")]).text());
    let goaway = raw.until(h2::GOAWAY).expect("a GOAWAY");
    assert_eq!(&goaway.payload[4..8], [0; 4], "NO_ERROR");
    raw.send(h2::frame(h2::PING, h2::END, 0, b"\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54"));
    valve.open();
    assert_eq!(raw.fate(1), h2::Fate::Answered(200));
    raw.ended();
}

#[test]
fn a_stop_waits_for_streams_and_no_request_is_lost() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    let mut raw = Raw::to(lb.address());
    raw.get(1, "/held");
    wait_until("it has arrived", || backend.requests() == 1);
    std::thread::scope(|scope| {
        scope.spawn(|| lb.stop());
        raw.until(h2::GOAWAY).expect("a GOAWAY");
        valve.open();
        assert_eq!(raw.fate(1), h2::Fate::Answered(200));
        raw.ended();
    });
}

#[test]
fn an_idle_connection_is_sent_away() {
    let toys = ["a"].map(toy);
    let setup = setup(&[group("ig", NEAR).members(&toys)]).target("httpKeepAliveTimeoutSec: 5");
    let lb = Lb::start(&setup.text());
    let mut raw = Raw::to(lb.address());
    raw.get(1, "/");
    assert_eq!(raw.fate(1), h2::Fate::Answered(200));
    raw.until(h2::GOAWAY).expect("a GOAWAY");
}

#[test]
fn g_5_4_a_websocket_over_http_2_reaches_a_member_of_http_1() {
    let (backend, health) = (websocket(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    run(async {
        let mut send = connect(lb.address()).await;
        let (answer, mut up) = send.send_request(handshake("/chat"), false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        for name in ["upgrade", "connection", "sec-websocket-accept"] {
            assert!(!answer.headers().contains_key(name), "{name}");
        }
        assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
        let mut down = answer.into_body();
        for n in 0..50 {
            let message = format!("message {n}");
            send_all(&mut up, message.clone().into(), false).await;
            let mut echo = Vec::new();
            while echo.len() < message.len() {
                let data = down.data().await.unwrap().unwrap();
                down.flow_control().release_capacity(data.len()).unwrap();
                echo.extend_from_slice(&data);
            }
            assert_eq!(echo, message.as_bytes());
        }
        assert_eq!(lb.in_flight(), 1);
        up.send_data(Bytes::new(), true).unwrap();
        while let Some(data) = down.data().await {
            assert!(data.unwrap().is_empty());
        }
    });
    lb.wait_ended(StatusDetail::WebsocketClosed, 1);
    let seen = &backend.seen()[0];
    assert_eq!((seen.line(), seen.header("upgrade")), ("GET /chat HTTP/1.1", Some("websocket")));
    assert_eq!((seen.header("connection"), seen.header("host")), (Some("upgrade"), Some("test")));
}

#[test]
fn a_member_that_takes_no_websocket_opens_no_tunnel() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while let Some(seen) = conn.request() {
            conn.write(match seen.line().split(' ').nth(1).unwrap() {
                "/403" => "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
                "/wrong" => {
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                }
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            });
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    run(async {
        let mut send = connect(lb.address()).await;
        for (path, status) in [("/403", 403), ("/200", 503), ("/wrong", 503)] {
            let (answer, _up) = send.send_request(handshake(path), false).unwrap();
            assert_eq!(whole(answer.await.unwrap()).await.unwrap().status, status, "{path}");
        }
        let mut other = handshake("/");
        other.extensions_mut().insert(::h2::ext::Protocol::from_static("connect-udp"));
        let (answer, _up) = send.send_request(other, false).unwrap();
        assert_eq!(whole(answer.await.unwrap()).await.unwrap().status, 400);
    });
}

#[test]
fn the_access_log_names_the_protocol() {
    let toys = ["a"].map(toy);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let setup = setup(&[group("ig", NEAR).members(&toys)])
        .service("logConfig: {enable: true}")
        .proxy(&format!("accessLog: {{path: {}}}", file.display()));
    let lb = Lb::start(&setup.text());
    run(async { ask(&mut connect(lb.address()).await, get("/two")).await.unwrap() });
    assert_eq!(lb.get("/one").status, 200);
    let line = |path: &str| {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().find(|line| line.contains(path)).map(str::to_owned)
    };
    wait_until("both lines are there", || line("/one").is_some() && line("/two").is_some());
    assert!(line("/two").unwrap().contains("\"protocol\":\"HTTP/2\""));
    assert!(line("/one").unwrap().contains("\"protocol\":\"HTTP/1.1\""));
}

/// Never sent twice.
fn post(path: &str) -> Request<()> {
    Request::post(format!("http://test{path}")).body(()).unwrap()
}

/// Accepts a handshake by RFC 6455 and sends back what comes.
pub(crate) fn websocket() -> Scripted {
    Scripted::start(|conn| {
        let Some(seen) = conn.request() else { return };
        assert_eq!(seen.header("sec-websocket-version"), Some("13"));
        let key = seen.header("sec-websocket-key").unwrap();
        let mut accept = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
        accept.update(key.as_bytes());
        accept.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let accept = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, accept.finish());
        conn.write(format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-protocol: chat\r\nsec-websocket-accept: {accept}\r\n\r\n"
        ));
        while let Some(bytes) = conn.raw() {
            conn.write(bytes);
        }
    })
}

fn handshake(path: &str) -> Request<()> {
    Request::connect(format!("http://test{path}"))
        .extension(::h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap()
}
