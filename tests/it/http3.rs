//! HTTP/3 from clients: the same handler, the same limits, each stream by itself [G 6.2, 6.6].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3_quinn::quinn::{Connection, ConnectionError};
use http::{HeaderMap, HeaderValue, Request};
use overspill::cli::toy::ToyBackend;
use overspill::ledger::process::Traffic;
use overspill::model::detail::StatusDetail;
use serde_json::Value;

use crate::grpc::Member;
use crate::support::backend::{Scripted, Valve, toy};
use crate::support::h2;
use crate::support::h3::{DATA, Fate, HEADERS, Http3, Raw, dial, frame, get, head, number, run, whole};
use crate::support::installed::Installation;
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, Setup, group, scripted, setup};
use crate::support::tls::{Authority, Pair, Tls, der, https, offering};
use crate::support::{hogging, own_address, wait_until};

const ENABLED: &str = ", quicOverride: ENABLE";

/// A balancer with a certificate for `web.example`, and who vouches for it.
pub(crate) struct Front {
    pub(crate) lb: Lb,
    pub(crate) authority: Authority,
    pub(crate) pair: Pair,
}

impl Front {
    pub(crate) fn start(setup: &Setup) -> Self {
        Self::with(setup, ENABLED)
    }

    fn with(setup: &Setup, fields: &str) -> Self {
        let authority = Authority::new("ca");
        let pair = authority.server(&["web.example"]);
        let lb = Lb::start(&https(setup, &[("web", &pair)], fields, ""));
        Self { lb, authority, pair }
    }

    fn text(&self, setup: &Setup, fields: &str) -> String {
        https(setup, &[("web", &self.pair)], fields, "")
    }

    pub(crate) async fn connect(&self) -> Http3 {
        Http3::connect(self.lb.address(), &self.authority.trusting(None)).await.unwrap()
    }

    async fn raw(&self) -> Raw {
        Raw::connect(self.lb.address(), &self.authority.trusting(None)).await
    }

    pub(crate) fn count(&self, what: Traffic) -> u64 {
        self.lb.handle.process().sum(what)
    }

    /// What the other versions say of HTTP/3.
    fn told(&self) -> Option<String> {
        let client = offering(&self.authority.trusting(None), &["http/1.1"]);
        let mut tls = Tls::connect(self.lb.address(), &client, "web.example").unwrap();
        tls.get("/").unwrap().header("alt-svc").map(str::to_owned)
    }
}

fn one_toy() -> (ToyBackend, Setup) {
    let toy = toy("a");
    let setup = setup(&[group("ig", NEAR).member("a", &toy)]);
    (toy, setup)
}

/// What waits for the balancer's own runtime waits outside of the client's.
fn aside<T: Send>(what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(what).join().unwrap())
}

fn code(error: &h3::error::StreamError) -> Option<u64> {
    match error {
        h3::error::StreamError::RemoteTerminate { code, .. } => Some(code.value()),
        _ => None,
    }
}

#[test]
fn g_6_6_http_3_is_spoken_beside_the_others_on_one_port_and_they_say_so() {
    let (_toy, setup) = one_toy();
    let front = Front::start(&setup);
    let told = format!("h3=\":{}\"; ma=2592000", front.lb.address().port());
    assert_eq!(front.told().as_deref(), Some(&*told));
    run(async {
        let client = offering(&front.authority.trusting(None), &["h2"]);
        let mut send = h2::connect_tls(front.lb.address(), &client).await.unwrap();
        let answer = h2::ask(&mut send, get("/")).await.unwrap();
        assert_eq!((answer.status, answer.header("alt-svc")), (200, Some(&*told)));
        let answer = h2::ask(&mut send, get("/a/../b")).await.unwrap();
        assert_eq!((answer.status, answer.header("alt-svc")), (302, Some(&*told)), "one of our own");
        let mut client = front.connect().await;
        for n in 0..50 {
            let answer = client.get(&format!("/{n}")).await.unwrap();
            assert_eq!((answer.status, answer.header("x-backend")), (200, Some("a")));
            assert_eq!((answer.header("via"), answer.header("alt-svc")), (Some("1.1 google"), None));
            assert!(answer.header("date").is_some() && answer.header("content-length").is_some());
        }
        let answer = client.get("/a/../b").await.unwrap();
        assert_eq!((answer.status, answer.header("location")), (302, Some("/b")));
    });
    assert_eq!(front.count(Traffic::Http3Connections), 1);
    assert_eq!(front.lb.status()["listeners"][0]["hasHttp3"], true);
    let labels = ["version=\"QUIC\"", "result=\"any\""];
    assert_eq!(front.lb.metrics().sum("overspill_tls_handshakes_total", &labels), 1.0);
    assert_eq!(front.lb.metrics().sum("overspill_http3_connections_total", &[]), 1.0);
    wait_until("all are over", || front.lb.open_connections() == 0);
}

#[test]
fn g_6_6_without_enable_nobody_speaks_quic() {
    let (_toy, setup) = one_toy();
    for fields in ["", ", quicOverride: NONE", ", quicOverride: DISABLE"] {
        let front = Front::with(&setup, fields);
        assert_eq!(front.told(), None, "{fields}");
        let free = std::net::UdpSocket::bind(front.lb.address());
        assert!(free.is_ok(), "{fields}: nobody has the port of UDP");
    }
}

#[test]
fn members_learn_of_the_client_what_they_learn_from_the_others() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let headers = "customRequestHeaders: {headers: ['x-proto: {client_protocol}', 'x-tls: {tls_version}', \
                   'x-sni: {tls_sni_hostname}', 'x-suite: {tls_cipher_suite}']}";
    let custom =
        headers.replace("customRequestHeaders: {headers: [", "customRequestHeaders: [").replace("]}", "]");
    let front = Front::start(&scripted(&backend, &health).service(&custom));
    run(async {
        let mut client = front.connect().await;
        let request =
            Request::get("https://WEB.example:8443/p?q=1").header("cookie", "a=1").header("cookie", "b=2");
        assert_eq!(client.ask(request.body(()).unwrap()).await.unwrap().text(), "good");
    });
    let seen = &backend.seen()[0];
    assert_eq!(seen.line(), "GET /p?q=1 HTTP/1.1");
    assert_eq!(seen.all("host"), ["WEB.example:8443"]);
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1,127.0.0.1"));
    let known = ["x-proto", "x-tls", "x-sni", "x-suite"].map(|name| seen.header(name));
    assert_eq!(known, [Some("HTTP/3"), Some("QUIC"), Some("web.example"), Some("")]);
    assert_eq!((seen.header("transfer-encoding"), seen.header("content-length")), (None, None), "no body");
}

#[test]
fn bodies_are_whole_both_ways_with_and_without_a_length_and_with_trailers() {
    let backend = Scripted::start(|conn| {
        while let Some(seen) = conn.request() {
            conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n");
            for part in seen.body.chunks(50_000) {
                conn.write(format!("{:x}\r\n", part.len()));
                conn.write(part);
                conn.write("\r\n");
            }
            conn.write(format!("0\r\nx-sum: {}\r\n\r\n", seen.body.len()));
        }
    });
    let health = toy("health");
    let front = Front::start(&scripted(&backend, &health));
    let body: Bytes = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect::<Vec<_>>().into();
    run(async {
        let mut client = front.connect().await;
        for length in [0, 1, 70_000, body.len()] {
            let part = body.slice(..length);
            for is_announced in [true, false] {
                let mut request = Request::post("https://web.example/echo");
                if is_announced {
                    request = request.header("content-length", length);
                }
                let answer = client.post(request.body(()).unwrap(), part.clone()).await.unwrap();
                assert!(answer.status == 200 && answer.body == part, "{length}");
                let sum = answer.trailers.unwrap()["x-sum"].to_str().unwrap().to_owned();
                assert_eq!(sum, length.to_string());
                assert!(!answer.headers.contains_key("transfer-encoding"));
            }
        }
    });
    let framed: Vec<_> = backend
        .seen()
        .iter()
        .map(|seen| (seen.header("content-length").is_some(), seen.header("transfer-encoding").is_some()))
        .collect();
    assert!(framed.chunks(2).all(|pair| pair[0] == (true, false)), "{framed:?}");
    front.lb.wait_ended(StatusDetail::ResponseSentByBackend, 8);
}

#[test]
fn answers_without_a_body_have_none_and_the_connection_goes_on() {
    let backend = Scripted::start(|conn| {
        while let Some(seen) = conn.request() {
            conn.write(match seen.line().split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 5\r\n\r\n",
                "/103" => "HTTP/1.1 103 Early Hints\r\nlink: </s>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n",
            });
        }
    });
    let health = toy("health");
    let front = Front::start(&scripted(&backend, &health));
    run(async {
        let mut client = front.connect().await;
        let head = Request::head("https://web.example/").body(()).unwrap();
        let answer = client.ask(head).await.unwrap();
        assert_eq!((answer.status, answer.header("content-length"), &*answer.text()), (200, Some("5"), ""));
        assert_eq!(answer.header("connection"), None);
        let refused = Request::head("https://web.example/a/../b").body(()).unwrap();
        assert_eq!(client.ask(refused).await.unwrap().status, 302);
        for (path, status, text) in [("/204", 204, ""), ("/304", 304, ""), ("/103", 200, "ok")] {
            let answer = client.get(path).await.unwrap();
            assert_eq!((answer.status, &*answer.text()), (status, text), "{path}");
        }
    });
    front.lb.wait_ended(StatusDetail::ResponseSentByBackend, 4);
}

#[test]
fn streams_of_one_connection_are_served_beside_each_other_and_no_more_than_allowed() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let front = Front::start(&scripted(&backend, &health));
    run(async {
        let mut client = front.connect().await;
        let mut waiting = Vec::new();
        for n in 0..98 {
            let mut stream = client.send.send_request(get(&format!("/held/{n}"))).await.unwrap();
            stream.finish().await.unwrap();
            waiting.push(stream);
        }
        wait_until("all have arrived", || backend.requests() == 98);
        assert_eq!(client.get("/").await.unwrap().status, 200, "one that overtakes them");
        let last = client.send.send_request(get("/held/99")).await.unwrap();
        let over =
            tokio::time::timeout(std::time::Duration::from_millis(200), client.send.send_request(get("/no")));
        assert!(over.await.is_err(), "the 101st waits at the client's");
        valve.open();
        for mut stream in waiting {
            assert_eq!(whole(&mut stream).await.unwrap().text(), "held");
        }
        drop(last);
    });
}

#[test]
fn a_client_that_gives_up_stops_the_members_work() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let front = Front::start(&scripted(&backend, &health));
    run(async {
        let mut client = front.connect().await;
        let mut stream = client.send.send_request(get("/held")).await.unwrap();
        stream.finish().await.unwrap();
        wait_until("it has arrived", || backend.requests() == 1);
        stream.stop_sending(Code::H3_REQUEST_CANCELLED);
        wait_until("no attempt is under way", || front.lb.in_flight() == 0);
        front.lb.wait_ended(StatusDetail::ClientDisconnectedBeforeAny, 1);
        let mut stream = client.send.send_request(get("/held")).await.unwrap();
        stream.finish().await.unwrap();
        wait_until("it has arrived", || backend.requests() == 2);
        client.conn.close(0x100_u32.into(), b"");
        wait_until("no attempt is under way", || front.lb.in_flight() == 0);
        front.lb.wait_ended(StatusDetail::ClientDisconnectedBeforeAny, 2);
    });
    valve.open();
}

#[test]
fn a_body_that_breaks_off_reaches_no_member_as_a_whole() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let front = Front::start(&scripted(&backend, &health));
    run(async {
        let mut client = front.connect().await;
        let request =
            || Request::post("https://web.example/up").header("content-length", 100).body(()).unwrap();
        let mut stream = client.send.send_request(request()).await.unwrap();
        stream.send_data(Bytes::from_static(b"part")).await.unwrap();
        stream.stop_stream(Code::H3_REQUEST_CANCELLED);
        let mut short = client.send.send_request(request()).await.unwrap();
        short.send_data(Bytes::from_static(b"part")).await.unwrap();
        short.finish().await.unwrap();
        let _ = whole(&mut short).await;
        let mut long = client.send.send_request(request()).await.unwrap();
        long.send_data(Bytes::from(vec![b'x'; 101])).await.unwrap();
        let _ = whole(&mut long).await;
        assert_eq!(client.get("/").await.unwrap().status, 200, "the connection goes on");
    });
    assert_eq!(backend.seen().iter().filter(|seen| seen.line().starts_with("POST")).count(), 0);
}

#[test]
fn what_comes_behind_a_body_of_the_announced_length_is_the_clients_fault() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let front = Front::start(&scripted(&backend, &health));
    let falsehood = Fate::Reset(Code::H3_MESSAGE_ERROR.value());
    let nothing = frame(DATA, b"");
    run(async {
        let raw = front.raw().await;
        for (length, body) in [("3", &b"abc"[..]), ("0", b"")] {
            let good =
                [head("POST", &[("content-length", length)]), frame(DATA, body), nothing.clone()].concat();
            let bad = [&good[..], &frame(DATA, b"d")].concat();
            assert_eq!(raw.fate(&bad).await, falsehood, "{length}: at once");
            // The same when the member has all that it was promised, and works.
            let (mut send, mut recv) = raw.conn.open_bi().await.unwrap();
            let before = backend.requests();
            send.write_all(&good).await.unwrap();
            wait_until("it has arrived", || backend.requests() > before);
            send.write_all(&frame(DATA, b"d")).await.unwrap();
            let end = recv.read_to_end(1 << 20).await.unwrap_err();
            assert_eq!(Fate::of_reading(end), falsehood, "{length}: later");
        }
        front.lb.wait_ended(StatusDetail::ClientDisconnectedBeforeAny, 4);
        wait_until("no attempt is under way", || front.lb.in_flight() == 0);
        valve.open();
        for (length, body) in [("3", &b"abc"[..]), ("0", b"")] {
            let good =
                [head("POST", &[("content-length", length)]), frame(DATA, body), nothing.clone()].concat();
            assert!(raw.fate(&good).await.holds("held"), "{length}");
            let trailers =
                [&good[..], &frame(HEADERS, &crate::support::h3::list(&[("x-sum", "3")]))].concat();
            assert!(raw.fate(&trailers).await.holds("held"), "{length}: with trailers");
        }
    });
    assert_eq!(front.lb.metrics().sum("overspill_attempts_failed_total", &[]), 0.0);
}

#[test]
fn a_body_that_is_not_as_long_as_its_head_says_is_the_clients_fault() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let setup = scripted(&backend, &health)
        .proxy(&format!("accessLog: {{path: {}, format: json}}", log.display()))
        .service("logConfig: {enable: true}");
    let front = Front::start(&setup);
    let falsehood = Fate::Reset(Code::H3_MESSAGE_ERROR.value());
    run(async {
        let raw = front.raw().await;
        for length in ["2", "5"] {
            let bytes = [head("POST", &[("content-length", length)]), frame(DATA, b"abc")].concat();
            assert_eq!(raw.fate(&bytes).await, falsehood, "{length}");
        }
        let mut client = front.connect().await;
        let request = Request::post("https://web.example/reset").header("content-length", 100);
        let mut stream = client.send.send_request(request.body(()).unwrap()).await.unwrap();
        stream.send_data(Bytes::from_static(b"part")).await.unwrap();
        stream.stop_stream(Code::H3_REQUEST_CANCELLED);
        let _ = whole(&mut stream).await;
        assert!(raw.fate(&head("GET", &[])).await.holds("good"), "the connection goes on");
    });
    front.lb.wait_ended(StatusDetail::ResponseSentByBackend, 1);
    let metrics = front.lb.metrics();
    assert_eq!(metrics.sum("overspill_requests_total", &["code_class=\"500\""]), 0.0);
    assert_eq!(metrics.sum("overspill_attempts_failed_total", &[]), 0.0, "the member did nothing");
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    wait_until("the answer is logged", || lines().iter().any(|line| line["httpRequest"]["status"] == 200));
    let posts: Vec<_> =
        lines().into_iter().filter(|line| line["httpRequest"]["requestMethod"] == "POST").collect();
    assert!(posts.len() >= 2, "{posts:?}");
    for line in posts {
        assert_eq!(line["httpRequest"]["status"], 0, "{line}");
        assert_eq!(line["jsonPayload"]["statusDetails"], "client_disconnected_before_any_response", "{line}");
    }
}

#[test]
fn a_false_length_resets_the_members_stream_and_its_connection_lives_on() {
    let member = Member::start();
    let setup = setup(&[group("ig", NEAR).member("m", &member)])
        .probed("type: TCP, tcpHealthCheck: {portSpecification: USE_SERVING_PORT}");
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let text = https(&setup, &[("web", &pair)], ENABLED, "").replace("protocol: HTTP\n", "protocol: H2C\n");
    let front = Front { lb: Lb::with_workers(&text, 1), authority, pair };
    run(async {
        let mut client = front.connect().await;
        let request = Request::post("https://web.example/held").header("content-length", 100);
        let mut stream = client.send.send_request(request.body(()).unwrap()).await.unwrap();
        stream.send_data(Bytes::from_static(b"part")).await.unwrap();
        wait_until("it has arrived", || member.calls() == 1);
        stream.finish().await.unwrap();
        let error = whole(&mut stream).await.unwrap_err();
        assert_eq!(code(&error), Some(Code::H3_MESSAGE_ERROR.value()), "{error:?}");
        wait_until("it is reset", || member.resets() == 1);
        assert_eq!(client.get("/").await.unwrap().status, 200);
    });
    assert_eq!(member.connections(), 1);
    front.lb.wait_ended(StatusDetail::ClientDisconnectedBeforeAny, 1);
    assert_eq!(front.lb.metrics().sum("overspill_attempts_failed_total", &[]), 0.0);
}

#[test]
fn a_member_that_breaks_off_resets_its_stream_alone() {
    let backend = Scripted::start(|conn| {
        while let Some(seen) = conn.request() {
            if seen.line().starts_with("GET /part") {
                conn.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart");
                return;
            }
            conn.ok("whole");
        }
    });
    let health = toy("health");
    let front = Front::start(&scripted(&backend, &health));
    run(async {
        let mut client = front.connect().await;
        let error = client.get("/part").await.unwrap_err();
        assert_eq!(code(&error), Some(Code::H3_INTERNAL_ERROR.value()), "{error:?}");
        assert_eq!(client.get("/").await.unwrap().text(), "whole");
    });
    front.lb.wait_ended(StatusDetail::BackendConnectionClosedAfterPartial, 1);
}

#[test]
fn a_client_that_reads_slowly_makes_us_hold_no_more_than_the_windows() {
    let sent = Arc::new(AtomicUsize::new(0));
    let of_backend = sent.clone();
    let backend = Scripted::start(move |conn| {
        while conn.request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\ncontent-length: 32000000\r\n\r\n");
            for _ in 0..500 {
                if !conn.write([b'x'; 64_000]) {
                    return;
                }
                of_backend.fetch_add(64_000, SeqCst);
            }
        }
    });
    let health = toy("health");
    let front = Front::start(&scripted(&backend, &health));
    run(async {
        let mut client = front.connect().await;
        let mut stream = client.send.send_request(get("/")).await.unwrap();
        stream.finish().await.unwrap();
        assert_eq!(stream.recv_response().await.unwrap().status(), 200);
        // Nothing is read: what has gone out is what stands in windows and sockets on the way.
        let mut before = usize::MAX;
        wait_until("the member waits", || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            let now = sent.load(SeqCst);
            std::mem::replace(&mut before, now) == now
        });
        assert!(sent.load(SeqCst) < 24_000_000, "{}", sent.load(SeqCst));
        let mut read = 0;
        while let Some(data) = stream.recv_data().await.unwrap() {
            read += data.remaining();
        }
        assert_eq!(read, 32_000_000, "it goes on where it stood");
    });
}

#[test]
fn what_is_malformed_is_refused_and_the_rest_of_the_connection_goes_on() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let front = Front::start(&scripted(&backend, &health));
    let message_error = Code::H3_MESSAGE_ERROR.value();
    let pseudo = |list: &[(&str, &str)]| frame(HEADERS, &crate::support::h3::list(list));
    let good = [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")];
    run(async {
        let raw = front.raw().await;
        for (name, value) in
            [("connection", "close"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"), ("te", "gzip")]
        {
            let fate = raw.fate(&head("GET", &[(name, value)])).await;
            assert!(fate.holds("invalid_request_headers"), "{name}: {fate:?}");
        }
        for bad in [("X-Upper", "a"), ("x y", "a"), ("x", "a\nb"), (":unknown", "a"), ("", "a")] {
            assert_eq!(raw.fate(&head("GET", &[bad])).await, Fate::Reset(message_error), "{bad:?}");
        }
        for missing in 0..4 {
            let mut list = good.to_vec();
            list.remove(missing);
            assert_eq!(raw.fate(&pseudo(&list)).await, Fate::Reset(message_error), "{missing}");
        }
        let differs = [&good[..], &[("host", "b.test")]].concat();
        assert_eq!(raw.fate(&pseudo(&differs)).await, Fate::Reset(message_error));
        for (more, word) in [
            (("content-length", "+1"), "invalid_http2_client_header_format"),
            (("x", " a"), "invalid_http2_client_header_format"),
        ] {
            let fate = raw.fate(&head("GET", &[more])).await;
            assert!(fate.holds(word), "{more:?}: {fate:?}");
        }
        for method in ["CONNECT", "TRACE"] {
            assert!(raw.fate(&head(method, &[])).await.holds("unsupported_method"), "{method}");
        }
        let websocket = [&[(":method", "CONNECT"), (":protocol", "websocket")], &good[1..]].concat();
        assert!(!matches!(raw.fate(&pseudo(&websocket)).await, Fate::Closed(_)));
        assert!(raw.fate(&head("GET", &[])).await.holds("good"));
    });
    assert_eq!(backend.requests(), 1, "the good one");
}

#[test]
fn a_head_has_the_limits_of_the_other_versions() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let front = Front::start(&scripted(&backend, &health));
    run(async {
        let raw = front.raw().await;
        let fate = raw.fate(&head("GET", &[("x", &"a".repeat(59_000))])).await;
        assert!(fate.holds("good"), "{fate:?}");
        let fate = raw.fate(&head("GET", &[("x", &"a".repeat(62_000))])).await;
        assert!(fate.holds("headers_too_long"), "{fate:?}");
        let fate = raw.fate(&head("GET", &[("x", &"a".repeat(100_000))])).await;
        assert!(fate.holds("431") || matches!(fate, Fate::Answered(_)), "{fate:?}");
        let many: Vec<_> = (0..2000).map(|_| ("x", "")).collect();
        assert!(raw.fate(&head("GET", &many)).await.holds("headers_too_long"));
        let bomb: Vec<_> = (0..40_000).map(|_| ("x", "")).collect();
        assert!(!raw.fate(&head("GET", &bomb)).await.holds("good"));
    });
    assert_eq!(backend.requests(), 1);
}

#[test]
fn a_frame_that_h3_would_wait_for_or_misread_ends_the_connection() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let front = Front::start(&scripted(&backend, &health));
    let load = Code::H3_EXCESSIVE_LOAD.value();
    run(async {
        let endless = |kind: u64| [number(kind), number(1 << 40), vec![0; 100]].concat();
        for bytes in [endless(HEADERS), endless(0x21), [head("POST", &[]), endless(HEADERS)].concat()] {
            let raw = front.raw().await;
            raw.fate(&bytes).await;
            assert_eq!(Fate::of(&raw.conn.closed().await), Fate::Closed(load));
        }
        let raw = front.raw().await;
        let cut = [head("POST", &[]), number(DATA), number(10), b"only".to_vec()].concat();
        raw.fate(&cut).await;
        assert_eq!(Fate::of(&raw.conn.closed().await), Fate::Closed(Code::H3_FRAME_ERROR.value()));
        let raw = front.raw().await;
        raw.fate(&[head("POST", &[]), frame(DATA, b"").repeat(100_000)].concat()).await;
        assert_eq!(Fate::of(&raw.conn.closed().await), Fate::Closed(load));
        assert_eq!(front.connect().await.get("/").await.unwrap().status, 200);
    });
    assert_eq!(front.count(Traffic::Http3OverFaults), 4);
    assert_eq!(front.count(Traffic::Http3OverControl), 1);
    assert_eq!(backend.seen().iter().filter(|seen| seen.line().starts_with("GET")).count(), 1);
}

#[test]
fn frames_of_data_without_any_do_not_end_a_body() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let front = Front::start(&scripted(&backend, &health));
    let empty = frame(DATA, b"");
    let parts =
        [&head("POST", &[]), &empty, &empty, &frame(DATA, b"one"), &empty, &frame(DATA, b"two"), &empty];
    run(async {
        let raw = front.raw().await;
        assert!(raw.fate(&parts.map(Clone::clone).concat()).await.holds("good"));
        assert!(raw.fate(&[head("GET", &[]), empty.clone()].concat()).await.holds("good"));
    });
    let seen = backend.seen();
    assert_eq!((&*seen[0].body, &*seen[1].body), (&b"onetwo"[..], &b""[..]));
}

#[test]
fn requests_that_are_given_up_at_once_end_the_connection_at_their_allowance() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let front = Front::start(&scripted(&backend, &health));
    run(async {
        let raw = front.raw().await;
        let mut opened = 0;
        let end = loop {
            let Ok((mut send, mut recv)) = raw.conn.open_bi().await else { break raw.conn.closed().await };
            let _ = send.write_all(&head("GET", &[])).await;
            let _ = recv.stop(0x10c_u32.into());
            let _ = send.reset(0x10c_u32.into());
            opened += 1;
            assert!(opened < 1_000_000, "never ended");
        };
        assert_eq!(Fate::of(&end), Fate::Closed(Code::H3_EXCESSIVE_LOAD.value()));
    });
    wait_until("it is counted", || front.count(Traffic::Http3OverResets) == 1);
}

#[test]
fn an_address_over_its_limit_is_refused_and_finds_room_again() {
    let (_toy, setup) = one_toy();
    let front = Front::start(&setup.proxy("accessLog: {path: none}\n  maxConnectionsPerAddress: 2"));
    run(async {
        let (first, mut second) = (front.connect().await, front.connect().await);
        let client = front.authority.trusting(None);
        let third = dial(front.lb.address(), &client, "web.example").await;
        assert!(matches!(third, Err(ConnectionError::ConnectionClosed(_))));
        assert_eq!(second.get("/").await.unwrap().status, 200);
        first.conn.close(0x100_u32.into(), b"");
        wait_until("one is over", || front.lb.open_connections() == 1);
        assert_eq!(front.connect().await.get("/").await.unwrap().status, 200);
    });
    assert_eq!(front.count(Traffic::RefusedByAddress), 1);
}

#[test]
fn a_reload_opens_and_closes_http_3_and_changes_certificates_and_loses_no_request() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let setup = scripted(&backend, &health).fronts(&[("web", "0")]);
    let mut front = Front::with(&setup, "");
    assert_eq!(front.told(), None);
    front.lb.reload(&front.text(&setup, ENABLED));
    assert!(front.told().is_some());
    run(async {
        let mut client = front.connect().await;
        assert_eq!(client.get("/").await.unwrap().status, 200);
        let shown = |conn: &Connection| {
            let chain = conn.peer_identity().unwrap();
            chain.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap()[0].clone()
        };
        assert!(shown(&client.conn) == der(&front.pair.chain));
        front.pair = front.authority.server(&["web.example"]);
        aside(|| front.lb.reload(&front.text(&setup, ENABLED)));
        assert_eq!(client.get("/").await.unwrap().status, 200, "a running connection lives on");
        assert!(shown(&front.connect().await.conn) == der(&front.pair.chain));

        let mut held = client.send.send_request(get("/held")).await.unwrap();
        held.finish().await.unwrap();
        wait_until("it has arrived", || front.lb.in_flight() == 1);
        aside(|| front.lb.reload(&front.text(&setup, ", quicOverride: DISABLE")));
        assert_eq!(front.told(), None);
        let refused = dial(front.lb.address(), &front.authority.trusting(None), "web.example").await;
        assert!(refused.is_err(), "nobody is let in");
        valve.open();
        assert_eq!(whole(&mut held).await.unwrap().text(), "held", "what runs may end");
        drop(held);
        assert_eq!(Fate::of(&client.conn.closed().await), Fate::Closed(Code::H3_NO_ERROR.value()));
        assert!(client.get("/").await.is_err());
    });
    wait_until("the port is free again", || std::net::UdpSocket::bind(front.lb.address()).is_ok());
    front.lb.reload(&front.text(&setup, ENABLED));
    run(async { assert_eq!(front.connect().await.get("/").await.unwrap().status, 200) });
}

#[test]
fn an_address_that_goes_to_another_rule_keeps_its_sockets() {
    let (_toy, setup) = one_toy();
    let address = own_address();
    let at = |text: &str| text.replace("IPAddress: 127.0.0.1", &format!("IPAddress: {}", address.ip()));
    let setup = setup.fronts(&[("old", &address.port().to_string())]);
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let text = at(&https(&setup, &[("web", &pair)], ENABLED, ""));
    let lb = Lb::start(&text);
    run(async {
        let client = authority.trusting(None);
        let mut old = Http3::connect(address, &client).await.unwrap();
        assert_eq!(old.get("/").await.unwrap().status, 200);
        aside(|| lb.reload(&text.replace("name: old", "name: new")));
        for _ in 0..10 {
            let mut new = Http3::connect(address, &client).await.unwrap();
            assert_eq!(new.get("/").await.unwrap().status, 200);
        }
        assert_eq!(Fate::of(&old.conn.closed().await), Fate::Closed(Code::H3_NO_ERROR.value()));
    });
}

#[test]
fn a_stop_lets_running_requests_end_and_tells_clients_that_it_was_the_last() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let front = Front::start(&scripted(&backend, &health));
    run(async {
        let (mut idle, mut busy) = (front.connect().await, front.connect().await);
        assert_eq!(idle.get("/").await.unwrap().status, 200);
        let mut held = busy.send.send_request(get("/held")).await.unwrap();
        held.finish().await.unwrap();
        wait_until("it has arrived", || front.lb.in_flight() == 1);
        std::thread::scope(|scope| {
            scope.spawn(|| front.lb.stop());
            let handle = tokio::runtime::Handle::current();
            let ended = std::thread::spawn({
                let conn = idle.conn.clone();
                move || handle.block_on(conn.closed())
            });
            assert_eq!(Fate::of(&ended.join().unwrap()), Fate::Closed(Code::H3_NO_ERROR.value()));
            valve.open();
        });
        assert_eq!(whole(&mut held).await.unwrap().text(), "held");
        drop(held);
        assert_eq!(Fate::of(&busy.conn.closed().await), Fate::Closed(Code::H3_NO_ERROR.value()));
    });
}

/// Asks on and on, over a new connection whenever the old one has ended; why a request failed for good.
async fn load(
    address: SocketAddr,
    client: rustls::ClientConfig,
    stop: &AtomicBool,
    answered: &AtomicUsize,
) -> Vec<String> {
    let mut failures = Vec::new();
    while !stop.load(SeqCst) {
        let mut http3 = match Http3::connect(address, &client).await {
            Ok(http3) => http3,
            Err(error) => {
                failures.push(format!("no connection: {error}"));
                continue;
            }
        };
        loop {
            match http3.get("/").await {
                Ok(answer) if answer.status == 200 => answered.fetch_add(1, SeqCst),
                Ok(answer) => {
                    failures.push(format!("{}", answer.status));
                    break;
                }
                Err(error) => {
                    // What was not begun is asked again; how the connection ends says whether all is well.
                    let end = http3.conn.closed().await;
                    if Fate::of(&end) != Fate::Closed(Code::H3_NO_ERROR.value()) {
                        failures.push(format!("{error} {end}"));
                    }
                    break;
                }
            };
            if stop.load(SeqCst) {
                break;
            }
        }
    }
    failures
}

#[test]
fn a_new_binary_goes_on_with_the_same_sockets_when_the_old_one_has_sent_its_clients_away() {
    let _alone = hogging();
    let toys = ["a", "b"].map(toy);
    let with = |workers: u32| {
        let proxy = format!("accessLog: {{path: none}}\n  workers: {workers}");
        setup(&[group("ig", NEAR).members(&toys)]).proxy(&proxy)
    };
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let installed = Installation::new("http3", &with(2));
    let text = |workers| {
        let setup = with(workers).fronts(&[("web", &installed.front.port().to_string())]);
        let own = format!("IPAddress: {}", installed.front.ip());
        https(&setup, &[("web", &pair)], ENABLED, "").replace("IPAddress: 127.0.0.1", &own)
    };
    installed.write(&text(2));
    let mut served = installed.serve();
    let client = authority.trusting(None);
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let loads =
            [(); 2].map(|()| scope.spawn(|| run(load(installed.front, client.clone(), &stop, &answered))));
        let goes_on = || {
            let so_far = answered.load(SeqCst);
            wait_until("the load goes on", || answered.load(SeqCst) > so_far + 50);
        };
        goes_on();
        for workers in [3, 1] {
            installed.write(&text(workers));
            let new = installed.upgraded();
            goes_on();
            wait_until("the new process answers", || installed.pid() == new);
        }
        assert_eq!(served.wait_end(), Some(0), "{}", installed.log());
        goes_on();
        stop.store(true, SeqCst);
        for load in loads {
            assert_eq!(load.join().unwrap(), Vec::<String>::new());
        }
    });
}

#[test]
fn a_taken_port_of_udp_refuses_the_configuration_and_says_so() {
    let (_toy, setup) = one_toy();
    let address = own_address();
    let _taken = std::net::UdpSocket::bind(address).unwrap();
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let setup = setup.fronts(&[("web", &address.port().to_string())]);
    let text = https(&setup, &[("web", &pair)], ENABLED, "")
        .replace("IPAddress: 127.0.0.1", &format!("IPAddress: {}", address.ip()));
    let Err(refused) = Lb::try_start(&text, 1) else { panic!("started") };
    let problem = &refused.problems[0];
    assert_eq!(problem.code, "cannot-bind");
    assert!(problem.message.contains("for HTTP/3, which is UDP"), "{}", problem.message);
}

#[test]
fn trailers_of_a_request_pass_and_those_of_a_connection_do_not() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let front = Front::start(&scripted(&backend, &health));
    run(async {
        let mut client = front.connect().await;
        let request = || Request::post("https://web.example/up").header("trailer", "x-sum").body(()).unwrap();
        let mut stream = client.send.send_request(request()).await.unwrap();
        stream.send_data(Bytes::from_static(b"body")).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("4"));
        stream.send_trailers(trailers).await.unwrap();
        stream.finish().await.unwrap();
        assert_eq!(whole(&mut stream).await.unwrap().text(), "good");
        let mut stream = client.send.send_request(request()).await.unwrap();
        stream.send_data(Bytes::from_static(b"body")).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("connection", HeaderValue::from_static("close"));
        stream.send_trailers(trailers).await.unwrap();
        stream.finish().await.unwrap();
        let _ = whole(&mut stream).await;
        assert_eq!(client.get("/").await.unwrap().status, 200);
    });
    let posts = backend.seen().iter().filter(|seen| seen.line().starts_with("POST")).count();
    assert_eq!(posts, 1);
}

#[test]
fn the_access_log_says_http_3() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (_toy, setup) = one_toy();
    let setup = setup
        .proxy(&format!("accessLog: {{path: {}, format: json}}", log.display()))
        .service("logConfig: {enable: true}");
    let front = Front::start(&setup);
    run(async { assert_eq!(front.connect().await.get("/logged").await.unwrap().status, 200) });
    let line = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines()
            .find(|line| line.contains("/logged"))
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
    };
    wait_until("it is logged", || line().is_some());
    let line = line().unwrap();
    assert_eq!(line["httpRequest"]["protocol"], "HTTP/3");
    assert_eq!(line["jsonPayload"]["statusDetails"], "response_sent_by_backend");
}
