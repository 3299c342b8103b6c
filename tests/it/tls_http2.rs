//! HTTP/2 over TLS [G 6.2, 6.12].

use std::io::Read;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use overspill::cli::toy::ToyBackend;
use overspill::ledger::process::Traffic;
use overspill::model::detail::StatusDetail;
use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::http2::websocket;
use crate::support::backend::{Scripted, Valve, toy};
use crate::support::client::Client;
use crate::support::h2::{self, ask, connect_tls, run, send_all, whole};
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, Setup, group, scripted, setup};
use crate::support::tls::{Authority, Tls, https, offering};
use crate::support::wait_until;
use crate::tls_front::{ASKED, partners};

/// A balancer with a certificate for `web.example`, and who vouches for it.
struct Front {
    lb: Lb,
    authority: Authority,
}

impl Front {
    fn start(setup: &Setup) -> Self {
        Self::with(setup, |_| (String::new(), String::new()))
    }

    fn with(setup: &Setup, more: impl FnOnce(&Authority) -> (String, String)) -> Self {
        let authority = Authority::new("ca");
        let (fields, more) = more(&authority);
        let pair = authority.server(&["web.example"]);
        let lb = Lb::start(&https(setup, &[("web", &pair)], &fields, &more));
        Self { lb, authority }
    }

    fn offering(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        offering(&self.authority.trusting(None), protocols)
    }
}

fn one_toy() -> (ToyBackend, Setup) {
    let toy = toy("a");
    let setup = setup(&[group("ig", NEAR).member("a", &toy)]);
    (toy, setup)
}

pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(format!("https://web.example{path}")).body(()).unwrap()
}

#[test]
fn alpn_says_what_is_spoken_and_without_it_the_client_does() {
    let (_toy, setup) = one_toy();
    let front = Front::start(&setup);
    let agreed = |offered: &[&str]| {
        let mut tls = Tls::connect(front.lb.address(), &front.offering(offered), "web.example").unwrap();
        let agreed = tls.stream.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        if agreed.as_deref() != Some("h2") {
            assert_eq!(tls.get("/").unwrap().status, 200, "{offered:?}");
        }
        agreed
    };
    assert_eq!(agreed(&["http/1.1", "h2"]).as_deref(), Some("h2"), "whatever the client likes best");
    assert_eq!(agreed(&["http/1.1"]).as_deref(), Some("http/1.1"));
    assert_eq!(agreed(&["http/1.0", "http/1.1"]).as_deref(), Some("http/1.1"));
    assert_eq!(agreed(&[]), None);
    wait_until("all are over", || front.lb.open_connections() == 0);
    let before = front.lb.handle.process().sum(Traffic::Http2Connections);
    for offered in [&["h2"][..], &[]] {
        run(async {
            let mut send = connect_tls(front.lb.address(), &front.offering(offered)).await.unwrap();
            for _ in 0..20 {
                let answer = ask(&mut send, get("/")).await.unwrap();
                assert_eq!((answer.status, answer.header("x-backend")), (200, Some("a")), "{offered:?}");
            }
        });
    }
    assert_eq!(front.lb.handle.process().sum(Traffic::Http2Connections), before + 2);
    // Who has agreed on HTTP/2 and speaks HTTP/1.1 is not understood, and hurts nobody.
    let mut liar = Tls::connect(front.lb.address(), &front.offering(&["h2"]), "web.example").unwrap();
    liar.send("GET / HTTP/1.1\r\nhost: web.example\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = liar.stream.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP/1"), "{said:?}");
    wait_until("it is over", || front.lb.open_connections() == 0);
}

#[test]
fn g_6a_members_and_the_log_learn_of_tls_for_every_stream() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let fields = "optionalMode: CUSTOM, optionalFields: [tls.protocol, tls.cipher]";
    let setup = scripted(&backend, &health)
        .service(&format!("logConfig: {{enable: true, {fields}}}"))
        .proxy(&format!("accessLog: {{path: {}}}", file.display()));
    let front = Front::start(&setup);
    run(async {
        let mut send = connect_tls(front.lb.address(), &front.offering(&["h2"])).await.unwrap();
        for n in 0..3 {
            // Nobody but us says what a client spoke.
            let mut request = get(&format!("/{n}"));
            request.headers_mut().insert("x-forwarded-proto", http::HeaderValue::from_static("http"));
            assert_eq!(ask(&mut send, request).await.unwrap().status, 200);
        }
    });
    front.lb.stop();
    assert!(backend.seen().iter().all(|seen| seen.all("x-forwarded-proto") == ["https"]));
    assert!(backend.seen().iter().all(|seen| seen.all("host") == ["web.example"]));
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for (n, line) in lines.iter().enumerate() {
        let request = &line["httpRequest"];
        assert_eq!(request["protocol"], "HTTP/2");
        assert_eq!(request["requestUrl"], format!("https://web.example/{n}"));
        let tls = &line["jsonPayload"]["tls"];
        assert_eq!(tls["protocol"], "TLSv1.3", "{line}");
        assert!(tls["cipher"].as_str().unwrap().starts_with("TLS_"), "{line}");
    }
}

#[test]
fn a_client_that_must_show_a_certificate_may_speak_http_2() {
    let (_toy, setup) = one_toy();
    let front = Front::with(&setup, |authority| (ASKED.to_owned(), partners("REJECT_INVALID", authority)));
    let good = front.authority.trusting(Some(&front.authority.client("partner")));
    run(async {
        let mut send = connect_tls(front.lb.address(), &offering(&good, &["h2"])).await.unwrap();
        assert_eq!(ask(&mut send, get("/")).await.unwrap().status, 200);
        let nobody = connect_tls(front.lb.address(), &front.offering(&["h2"])).await;
        // With TLS 1.3 a client learns it after its own part of the handshake.
        let is_refused = match nobody {
            Ok(mut send) => ask(&mut send, get("/")).await.is_err(),
            Err(_) => true,
        };
        assert!(is_refused);
    });
    front.lb.wait_ended(StatusDetail::ClientCertNotProvided, 1);
    front.lb.wait_ended(StatusDetail::ResponseSentByBackend, 1);
}

#[test]
fn a_stop_says_goaway_lets_streams_end_and_ends_in_good_order() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let front = Front::start(&scripted(&backend, &health));
    let connect = || {
        let mut tls = Tls::connect(front.lb.address(), &front.offering(&["h2"]), "web.example").unwrap();
        tls.send(h2::PREFACE).unwrap();
        tls.send(h2::frame(h2::SETTINGS, 0, 0, b"")).unwrap();
        tls
    };
    let (mut busy, mut idle) = (connect(), connect());
    busy.send(h2::frame(h2::HEADERS, h2::END | h2::END_HEADERS, 1, &h2::good("/held"))).unwrap();
    wait_until("it is under way", || backend.requests() == 1);
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| front.lb.stop());
        assert_eq!(ended(&mut idle, || {}), [h2::GOAWAY]);
        let said = ended(&mut busy, || valve.open());
        assert_eq!(said, [h2::GOAWAY, h2::HEADERS, h2::DATA]);
        stopped.join().unwrap();
    });
    front.lb.wait_ended(StatusDetail::ResponseSentByBackend, 1);
}

/// Frames of an answer and the first GOAWAY, to the end that TLS tells; calls `once` at that GOAWAY.
fn ended(tls: &mut Tls, once: impl FnOnce()) -> Vec<u8> {
    let (mut said, mut once) = (Vec::new(), Some(once));
    loop {
        let head = match tls.bytes(9) {
            Ok(head) => head,
            // Of a connection that is merely cut, rustls itself says more than that.
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
                assert!(error.get_ref().is_none(), "without close_notify: {error}");
                return said;
            }
        };
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = tls.bytes(length).unwrap();
        match (head[3], head[4]) {
            (h2::PING, 0) => {
                tls.send(h2::frame(h2::PING, h2::END, 0, &payload)).unwrap();
            }
            (h2::GOAWAY, _) => {
                assert_eq!(payload[4..8], [0; 4], "NO_ERROR");
                if let Some(once) = once.take() {
                    said.push(h2::GOAWAY);
                    once();
                }
            }
            (kind @ (h2::HEADERS | h2::DATA), _) => said.push(kind),
            _ => {}
        }
    }
}

#[test]
fn for_the_limit_of_an_address_all_streams_are_one_connection() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    let setup = scripted(&backend, &health).proxy("accessLog: {path: none}\n  maxConnectionsPerAddress: 1");
    let front = Front::start(&setup);
    let client = front.offering(&["h2"]);
    run(async {
        let mut send = connect_tls(front.lb.address(), &client).await.unwrap();
        let waiting: Vec<_> = (0..20).map(|_| send.send_request(get("/held"), true).unwrap().0).collect();
        wait_until("all are under way", || backend.requests() == 20);
        assert!(connect_tls(front.lb.address(), &client).await.is_err(), "a second connection");
        assert_eq!(front.lb.handle.process().sum(Traffic::RefusedByAddress), 1);
        valve.open();
        for answer in waiting {
            assert_eq!(whole(answer.await.unwrap()).await.unwrap().status, 200);
        }
    });
    wait_until("it is gone", || front.lb.open_connections() == 0);
    run(async { assert!(connect_tls(front.lb.address(), &client).await.is_ok()) });
}

#[test]
fn g_5_4_a_websocket_over_http_2_over_tls() {
    let (backend, health) = (websocket(), toy("health"));
    let front = Front::start(&scripted(&backend, &health));
    run(async {
        let mut send = connect_tls(front.lb.address(), &front.offering(&["h2"])).await.unwrap();
        let handshake = Request::connect("https://web.example/chat")
            .extension(::h2::ext::Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .body(())
            .unwrap();
        let (answer, mut up) = send.send_request(handshake, false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut down = answer.into_body();
        let message = Bytes::from(vec![b'm'; 100_000]);
        let mut echo = Vec::new();
        let hear = async {
            while echo.len() < message.len() {
                let data = down.data().await.unwrap().unwrap();
                down.flow_control().release_capacity(data.len()).unwrap();
                echo.extend_from_slice(&data);
            }
        };
        tokio::join!(send_all(&mut up, message.clone(), false), hear);
        assert!(echo == message);
        up.send_data(Bytes::new(), true).unwrap();
        while let Some(data) = down.data().await {
            assert!(data.unwrap().is_empty());
        }
    });
    front.lb.wait_ended(StatusDetail::WebsocketClosed, 1);
    assert_eq!(backend.seen()[0].header("x-forwarded-proto"), Some("https"));
}

#[test]
fn explain_shows_what_an_https_front_is_asked_and_where_it_redirects_to() {
    let (_toy, setup) = one_toy();
    let front = Front::start(&setup);
    let admin = front.lb.admin();
    let question = json!({"request": "/cart", "headers": ["host: web.example"]}).to_string();
    let answer = Client::to_admin(admin.address()).request("POST", "/explain", "", question.as_bytes());
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(said["request"]["scheme"], "https");
    let output = Command::new(env!("CARGO_BIN_EXE_overspill"))
        .args(["explain", "--admin", &format!("http://{}", admin.address())])
        .args(["--request", "/cart", "--header", "host: web.example"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("GET https://web.example/cart\n"), "{text}");
    let moved = https(&setup, &[("web", &front.authority.server(&["web.example"]))], "", "");
    let to = "defaultService: web}";
    assert!(moved.contains(to), "{moved}");
    front.lb.reload(&moved.replace(to, "defaultUrlRedirect: {pathRedirect: /new}}"));
    let answer = Client::to_admin(admin.address()).request("POST", "/explain", "", question.as_bytes());
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(said["outcome"]["location"], "https://web.example/new");
    run(async {
        let mut send = connect_tls(front.lb.address(), &front.offering(&["h2"])).await.unwrap();
        let answer = ask(&mut send, get("/cart")).await.unwrap();
        assert_eq!((answer.status, answer.header("location")), (301, Some("https://web.example/new")));
    });
}

/// [RFC 9113 8.1]: the answer is whole, and the rest of the request is not wanted; neither is an error.
#[test]
fn an_answer_before_the_end_of_an_upload_is_whole_and_ends_its_stream_alone() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        let Some(head) = conn.head() else { return };
        let is_upload = head.line().starts_with("POST");
        conn.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nstop");
        while is_upload && conn.raw().is_some() {}
    });
    let front = Front::start(&scripted(&backend, &health));
    run(async {
        let mut send = connect_tls(front.lb.address(), &front.offering(&["h2"])).await.unwrap();
        let upload = Request::post("https://web.example/up").body(()).unwrap();
        let (answer, mut up) = send.send_request(upload, false).unwrap();
        up.send_data(Bytes::from_static(b"a part"), false).unwrap();
        let answer = whole(answer.await.unwrap()).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (403, "stop"));
        let told = std::future::poll_fn(|cx| up.poll_reset(cx)).await.unwrap();
        assert_eq!(told, ::h2::Reason::NO_ERROR);
        assert_eq!(ask(&mut send, get("/")).await.unwrap().status, 403, "the connection lives on");
    });
    front.lb.wait_ended(StatusDetail::AbortedRequestDueToEarlyResponse, 1);
}
