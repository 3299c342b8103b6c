//! `compressionMode: AUTOMATIC` over sockets [G 6.11].

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use overspill::cli::toy::ToyBackend;
use overspill::model::detail::StatusDetail;

use crate::support::backend::{Scripted, Valve, toy};
use crate::support::client::{Answer, Cut};
use crate::support::h2::{connect, get, run, send_all, whole};
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, scripted, setup};
use crate::support::{hogging, let_pass, most_in_buffers, own_address, wait_until};

const HTML: &str = "content-type: text/html\r\n";
const BROTLI: &str = "accept-encoding: gzip, br\r\n";

fn lb(backend: &Scripted, health: &ToyBackend) -> Lb {
    Lb::start(&scripted(backend, health).service("compressionMode: AUTOMATIC").text())
}

/// Text that is worth it.
fn page() -> String {
    (0..500).map(|n| format!("<p>Line {n} of a page.</p>\n")).collect()
}

/// Answers every request with the page under these headers, `content-length` not among them, and says that.
fn pages(headers: &'static str) -> Scripted {
    Scripted::start(move |conn| {
        let page = page();
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n{page}", page.len());
        while conn.request().is_some() && conn.write(&answer) {}
    })
}

/// What a client reads in a body, up to where that ends; an end that is missing does not matter.
fn read(coding: Option<&str>, body: &[u8]) -> String {
    let mut out = Vec::new();
    let _ = match coding {
        Some("br") => brotli::Decompressor::new(body, 4096).read_to_end(&mut out),
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut out),
        _ => {
            out.extend(body);
            Ok(0)
        }
    };
    String::from_utf8(out).unwrap()
}

/// The same of a body that must be whole.
fn read_whole(coding: &str, mut body: &[u8]) -> String {
    let mut out = String::new();
    match coding {
        "br" => brotli::Decompressor::new(&mut body, 4096).read_to_string(&mut out).unwrap(),
        _ => flate2::read::GzDecoder::new(&mut body).read_to_string(&mut out).unwrap(),
    };
    out
}

fn assert_plain(answer: &Answer) {
    assert_eq!((answer.status, answer.header("content-encoding")), (200, None));
    assert_eq!(answer.header("content-length"), Some(&*page().len().to_string()));
    assert!(answer.text() == page());
}

#[test]
fn g_6_11_each_client_gets_the_coding_that_it_takes() {
    let (backend, health) =
        (pages("content-type: text/html\r\netag: \"v1\"\r\naccept-ranges: bytes\r\n"), toy("health"));
    let lb = lb(&backend, &health);
    let mut client = lb.client();
    for (accepted, coding) in [("gzip, deflate, br", "br"), ("gzip;q=0.1", "gzip"), ("br;q=0, *", "gzip")] {
        let answer = client.request("GET", "/", &format!("accept-encoding: {accepted}\r\n"), b"");
        assert_eq!(answer.header("content-encoding"), Some(coding), "{accepted}");
        assert!(read_whole(coding, &answer.body) == page(), "{accepted}");
        assert!(answer.body.len() < page().len() / 4, "{}", answer.body.len());
        let said = ["vary", "etag", "accept-ranges", "content-length", "transfer-encoding"]
            .map(|n| answer.header(n));
        assert_eq!(said, [Some("Accept-Encoding"), Some("W/\"v1\""), Some("none"), None, Some("chunked")]);
    }
    for accepted in ["", "accept-encoding: zstd, br;q=0\r\n"] {
        let answer = client.request("GET", "/", accepted, b"");
        assert_plain(&answer);
        let said = ["vary", "etag", "accept-ranges"].map(|name| answer.header(name));
        assert_eq!(said, [Some("Accept-Encoding"), Some("\"v1\""), Some("bytes")]);
    }
    let head = client.request("HEAD", "/", BROTLI, b"");
    assert_eq!(
        ["vary", "content-encoding", "etag"].map(|name| head.header(name)),
        [Some("Accept-Encoding"), None, Some("\"v1\"")]
    );
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 6);
    assert_eq!(backend.seen()[0].header("accept-encoding"), Some("gzip, deflate, br"), "members hear it too");
}

#[test]
fn g_6_11_without_the_mode_and_for_what_does_not_pay_answers_stay_as_they_are() {
    let health = toy("health");
    let backend = pages(HTML);
    let off = Lb::start(&scripted(&backend, &health).text());
    let answer = off.client().request("GET", "/", BROTLI, b"");
    assert_plain(&answer);
    assert_eq!(answer.header("vary"), None);
    for headers in [
        "content-type: image/png\r\n",
        "content-type: text/html\r\ncache-control: no-transform\r\n",
        "content-type: text/html\r\ncontent-md5: AA==\r\n",
        "",
    ] {
        let backend = pages(headers);
        let answer = lb(&backend, &health).client().request("GET", "/", BROTLI, b"");
        assert_plain(&answer);
        assert_eq!(answer.header("vary"), None, "{headers}");
    }
}

#[test]
fn a_client_of_http_1_0_gets_it_up_to_the_end_of_the_connection() {
    let (backend, health) = (pages(HTML), toy("health"));
    let lb = lb(&backend, &health);
    let mut client = lb.client();
    client.send("GET / HTTP/1.0\r\naccept-encoding: gzip\r\nconnection: keep-alive\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.header("content-encoding"), answer.header("transfer-encoding")), (Some("gzip"), None));
    assert!(read_whole("gzip", &answer.body) == page());
    client.assert_closed();
}

#[test]
fn trailers_come_after_a_compressed_body_over_http_2() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while conn.request().is_some() {
            let page = page();
            let answer = format!(
                "HTTP/1.1 200 OK\r\n{HTML}trailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{page}\r\n0\r\nx-sum: 7\r\n\r\n",
                page.len()
            );
            if !conn.write(answer) {
                return;
            }
        }
    });
    let lb = lb(&backend, &health);
    run(async {
        let mut send = connect(lb.address()).await;
        let mut request = get("/");
        request.headers_mut().insert("accept-encoding", "br".parse().unwrap());
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        let (answer, _) = send.send_request(request, true).unwrap();
        let whole = whole(answer.await.unwrap()).await.unwrap();
        assert_eq!((whole.header("content-encoding"), whole.header("content-length")), (Some("br"), None));
        assert!(read_whole("br", &whole.body) == page());
        assert_eq!(whole.trailers.unwrap()["x-sum"], "7");
    });
}

/// A member of HTTP/2 in clear: text of megabytes without a length, and trailers; or a call of gRPC that looks like JSON.
fn serve_h2c(listener: std::net::TcpListener, page: &'static str) -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let is_call = request.uri().path() == "/call";
                    let kind = if is_call { "application/grpc+json" } else { "text/plain" };
                    tokio::spawn(async move {
                        let head = Response::builder().header("content-type", kind).body(()).unwrap();
                        let mut stream = respond.send_response(head, false).unwrap();
                        send_all(&mut stream, Bytes::from_static(page.as_bytes()), false).await;
                        let mut trailers = HeaderMap::new();
                        trailers.insert("x-sum", "7".parse().unwrap());
                        let _ = stream.send_trailers(trailers);
                    });
                }
            });
        }
    });
    runtime
}

#[test]
fn megabytes_from_a_member_of_http_2_are_whole_with_their_trailers_and_grpc_is_left_alone() {
    let _machine = hogging();
    let page: &'static str = (0..200_000).map(|n| format!("line {n}\n")).collect::<String>().leak();
    let (address, health) = (own_address(), toy("health"));
    let _member = serve_h2c(std::net::TcpListener::bind(address).unwrap(), page);
    let setup = setup(&[group("ig", NEAR).member("m", &address)]).probed_at(&health);
    let text =
        setup.service("compressionMode: AUTOMATIC").text().replace("protocol: HTTP\n", "protocol: H2C\n");
    let lb = Lb::start(&text);
    run(async {
        let mut send = connect(lb.address()).await;
        for (path, accepted, coding) in
            [("/", "gzip", Some("gzip")), ("/", "gzip, br", Some("br")), ("/call", "gzip, br", None)]
        {
            let mut request = get(path);
            request.headers_mut().insert("accept-encoding", accepted.parse().unwrap());
            request.headers_mut().insert("te", "trailers".parse().unwrap());
            let (answer, _) = send.send_request(request, true).unwrap();
            let whole = whole(answer.await.unwrap()).await.unwrap();
            assert_eq!(whole.header("content-encoding"), coding, "{path} {accepted}");
            let body = coding.map_or_else(|| whole.text(), |coding| read_whole(coding, &whole.body));
            assert!(body == page, "{path} {accepted}");
            assert_eq!(whole.trailers.unwrap()["x-sum"], "7");
        }
    });
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 3);
}

/// Events come one by one: the next when the client has read the one before.
#[test]
fn what_a_member_has_said_does_not_wait_for_what_it_says_next() {
    for coding in ["br", "gzip"] {
        let valves: [Valve; 5] = Default::default();
        let (of_member, health) = (valves.clone(), toy("health"));
        let backend = Scripted::start(move |conn| {
            if conn.request().is_none() {
                return;
            }
            conn.write(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            );
            for (n, valve) in of_member.iter().enumerate() {
                let event = format!("data: {n}\n\n");
                conn.write(format!("{:x}\r\n{event}\r\n", event.len()));
                valve.pass();
            }
            conn.write("0\r\n\r\n");
        });
        let lb = lb(&backend, &health);
        run(async {
            let mut send = connect(lb.address()).await;
            let mut request = get("/");
            request.headers_mut().insert("accept-encoding", coding.parse().unwrap());
            let (answer, _) = send.send_request(request, true).unwrap();
            let mut stream = answer.await.unwrap().into_body();
            let (mut body, mut expected) = (Vec::new(), String::new());
            for (n, valve) in valves.iter().enumerate() {
                expected += &format!("data: {n}\n\n");
                while read(Some(coding), &body) != expected {
                    body.extend(stream.data().await.expect("an event").unwrap());
                }
                valve.open();
            }
            while let Some(data) = stream.data().await {
                body.extend(data.unwrap());
            }
            assert_eq!(read_whole(coding, &body), expected);
        });
        lb.wait_ended(StatusDetail::ResponseSentByBackend, 1);
    }
}

#[test]
fn when_a_member_breaks_off_the_client_has_what_came_and_sees_that_it_is_not_all() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        if conn.request().is_some() {
            conn.write(format!("HTTP/1.1 200 OK\r\n{HTML}content-length: 100000\r\n\r\n{}", page()));
        }
    });
    let lb = lb(&backend, &health);
    let mut client = lb.client();
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{BROTLI}\r\n"));
    let raw = client.rest();
    let head = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    assert!(String::from_utf8_lossy(&raw[..head]).contains("content-encoding: br"));
    // Chunks: sizes between the data, and no last one.
    let (mut rest, mut body) = (&raw[head + 4..], Vec::new());
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        assert!(size > 0, "an end that is none");
        body.extend(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 4 + size..];
    }
    assert!(read(Some("br"), &body) == page());
    lb.wait_ended(StatusDetail::BackendConnectionClosedAfterPartial, 1);
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{BROTLI}\r\n"));
    assert_eq!(client.try_answer("GET").err(), Some(Cut::Before));
}

/// Bytes that nothing makes smaller come only as fast as the client takes them.
#[test]
fn a_client_that_does_not_read_holds_back_its_member() {
    let _machine = hogging();
    let (written, health) = (Arc::new(AtomicU64::new(0)), toy("health"));
    let counter = written.clone();
    let backend = Scripted::start(move |conn| {
        if conn.request().is_none() || !conn.write(format!("HTTP/1.1 200 OK\r\n{HTML}\r\n")) {
            return;
        }
        let mut state = 1_u64;
        loop {
            let mut noise = Vec::with_capacity(64 * 1024);
            while noise.len() < 64 * 1024 {
                // As good as random.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                noise.extend((state >> 32).to_le_bytes());
            }
            if !conn.write(&noise) {
                return;
            }
            counter.fetch_add(noise.len() as u64, SeqCst);
        }
    });
    let lb = lb(&backend, &health);
    let mut client = lb.client();
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{BROTLI}\r\n"));
    // What two pairs of sockets hold, and a few pieces in between.
    let most = 2 * most_in_buffers() as u64 + 4 * 1024 * 1024;
    wait_until("something has come", || written.load(SeqCst) > 0);
    // Until nothing has moved for a while; a machine on which that takes longer shows less, and nothing wrong.
    let (mut before, mut still) = (0, 0);
    for _ in 0..1_000 {
        let now = written.load(SeqCst);
        assert!(now <= most, "{now} of at most {most}");
        still = if now == before { still + 1 } else { 0 };
        before = now;
        if still == 100 {
            break;
        }
        let_pass(Duration::from_millis(10));
    }
    drop(client);
    wait_until("the member is let go", || backend.ended() == 1);
}

#[test]
fn what_is_counted_and_logged_is_what_went_out() {
    let (backend, health) = (pages(HTML), toy("health"));
    let lb = lb(&backend, &health);
    let answer = lb.client().request("GET", "/", BROTLI, b"");
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 1);
    let world = lb.handle.world();
    let member = world.services[0].members().next().unwrap().2;
    let down = member.numbered.member.sum(overspill::ledger::member::Count::BytesDown);
    assert_eq!(down, answer.body.len() as u64);
}
