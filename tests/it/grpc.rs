//! HTTP/2 to members: shared connections, all kinds of calls, and what members may refuse [G 6.3].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use overspill::model::detail::StatusDetail;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::support::backend::toy;
use crate::support::h2::{Whole, ask, connect, get, run, send_all, whole};
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, Serves, Setup, group, setup};
use crate::support::wait_until;

/// Self-signed for another name, and expired in 2020.
const EXPIRED: &[u8] = include_bytes!("../../src/net/testdata/expired.der");
const KEY: &[u8] = include_bytes!("../../src/net/testdata/key.der");

/// A member that speaks HTTP/2 in clear, or over TLS. Ends with its runtime.
pub(crate) struct Member {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

struct Shared {
    connections: AtomicUsize,
    heads: Mutex<Vec<Request<()>>>,
    /// Calls of `/held` wait for one.
    permits: Semaphore,
    /// Streams that were refused.
    refused: AtomicUsize,
    resets: AtomicUsize,
    most_streams: u32,
}

impl Serves for Member {
    fn at(&self) -> SocketAddr {
        self.address
    }
}

impl Member {
    pub(crate) fn start() -> Self {
        Self::with_streams(1000)
    }

    fn with_streams(most_streams: u32) -> Self {
        Self::made((Ipv4Addr::LOCALHOST, 0), most_streams, None)
    }

    /// At this address.
    pub(crate) fn start_at(address: (Ipv4Addr, u16)) -> Self {
        Self::made(address, 1000, None)
    }

    /// Over TLS with a certificate that has expired, and these protocols.
    fn over_tls(protocols: &[&[u8]]) -> Self {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(KEY));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(EXPIRED)], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Self::made((Ipv4Addr::LOCALHOST, 0), 1000, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn made(address: (Ipv4Addr, u16), most_streams: u32, tls: Option<TlsAcceptor>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            connections: AtomicUsize::new(0),
            heads: Mutex::default(),
            permits: Semaphore::new(0),
            refused: AtomicUsize::new(0),
            resets: AtomicUsize::new(0),
            most_streams,
        });
        let of_task = shared.clone();
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, tls) = (of_task.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, shared).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            serve(stream, shared).await;
                        }
                    }
                });
            }
        });
        Self { address, shared, _runtime: runtime }
    }

    pub(crate) fn resets(&self) -> usize {
        self.shared.resets.load(SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    pub(crate) fn calls(&self) -> usize {
        self.shared.heads.lock().unwrap().len()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: Arc<Shared>) {
    let builder = &mut h2::server::Builder::new();
    let Ok(mut connection) =
        builder.max_concurrent_streams(shared.most_streams).handshake::<_, Bytes>(stream).await
    else {
        return;
    };
    shared.connections.fetch_add(1, SeqCst);
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let path = request.uri().path().to_owned();
        if path == "/refused" && shared.refused.fetch_add(1, SeqCst) == 0 {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            continue;
        }
        let (head, body) = request.into_parts();
        shared.heads.lock().unwrap().push(Request::from_parts(head, ()));
        if path == "/goaway" {
            connection.graceful_shutdown();
        }
        tokio::spawn(call(path, body, respond, shared.clone()));
    }
}

/// One call; answers of gRPC end with trailers.
async fn call(
    path: String,
    mut body: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    shared: Arc<Shared>,
) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    match path.as_str() {
        "/held" => {
            tokio::select! {
                permit = shared.permits.acquire() => permit.unwrap().forget(),
                _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => {
                    shared.resets.fetch_add(1, SeqCst);
                    return;
                }
            }
        }
        "/only-trailers" => {
            let head = Response::builder().header("grpc-status", "5").body(()).unwrap();
            let _ = respond.send_response(head, true);
            return;
        }
        "/cut" => {
            let mut stream = respond.send_response(head, false).unwrap();
            // The client says something once it has the head.
            let _ = body.data().await;
            stream.send_reset(h2::Reason::INTERNAL_ERROR);
            return;
        }
        _ => {}
    }
    let mut stream = respond.send_response(head, false).unwrap();
    let mut received = 0;
    if path == "/server" {
        for n in 0..100 {
            send_all(&mut stream, Bytes::from(format!("message {n};")), false).await;
        }
    }
    while let Some(Ok(data)) = body.data().await {
        received += data.len();
        let _ = body.flow_control().release_capacity(data.len());
        if path == "/bidi" || path == "/unary" {
            send_all(&mut stream, data, false).await;
        }
    }
    let sent = body.trailers().await.ok().flatten();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-received", HeaderValue::from(received));
    if let Some(sum) = sent.and_then(|sent| sent.get("x-sum").cloned()) {
        trailers.insert("x-sum", sum);
    }
    let _ = stream.send_trailers(trailers);
}

fn h2c(setup: &Setup) -> String {
    setup.text().replace("protocol: HTTP\n", "protocol: H2C\n")
}

pub(crate) fn of(member: &Member, more: &str) -> String {
    let setup = setup(&[group("ig", NEAR).member("m", member)])
        .probed("type: TCP, tcpHealthCheck: {portSpecification: USE_SERVING_PORT}");
    h2c(&if more.is_empty() { setup } else { setup.service(more) })
}

pub(crate) fn rpc(path: &str) -> Request<()> {
    Request::post(format!("http://rpc.example{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "5S")
        .body(())
        .unwrap()
}

/// A call whose client says `body` and no more.
async fn say(send: &mut h2::client::SendRequest<Bytes>, path: &str, body: Bytes) -> Result<Whole, h2::Error> {
    let (answer, mut stream) = send.send_request(rpc(path), false)?;
    let sending = async {
        if body.is_empty() {
            let _ = stream.send_data(body, true);
        } else {
            send_all(&mut stream, body, true).await;
        }
    };
    let (answer, ()) = tokio::join!(async { whole(answer.await?).await }, sending);
    answer
}

#[test]
fn all_four_kinds_of_calls_pass_with_their_trailers() {
    let member = Member::start();
    let lb = Lb::with_workers(&of(&member, ""), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        let unary = say(&mut send, "/unary", "question".into()).await.unwrap();
        assert_eq!((unary.status, unary.text()), (200, "question".to_owned()));
        let trailers = unary.trailers.unwrap();
        assert_eq!((&trailers["grpc-status"], &trailers["x-received"]), (&"0".parse().unwrap(), &8.into()));
        let down = say(&mut send, "/server", Bytes::new()).await.unwrap();
        assert!(down.text().starts_with("message 0;") && down.text().ends_with("message 99;"));
        let up = say(&mut send, "/client", Bytes::from(vec![7; 3_000_000])).await.unwrap();
        assert_eq!(up.trailers.unwrap()["x-received"], "3000000");
        let bare = say(&mut send, "/only-trailers", "x".into()).await.unwrap();
        assert_eq!((bare.header("grpc-status"), bare.body.len()), (Some("5"), 0));
    });
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 4);
    assert_eq!(member.connections(), 1, "calls share a connection");
    let heads = member.shared.heads.lock().unwrap();
    let head = &heads[0];
    assert_eq!(head.uri(), "http://rpc.example/unary");
    assert_eq!(
        (&head.headers()["te"], &head.headers()["grpc-timeout"]),
        ("trailers".into_ref(), "5S".into_ref())
    );
    assert!(!head.headers().contains_key("host") && head.headers()["via"] == "1.1 google");
}

/// A header's value to compare with.
trait IntoRef {
    fn into_ref(self) -> &'static HeaderValue;
}

impl IntoRef for &'static str {
    fn into_ref(self) -> &'static HeaderValue {
        Box::leak(Box::new(HeaderValue::from_static(self)))
    }
}

#[test]
fn a_call_both_ways_is_a_conversation() {
    let member = Member::start();
    let lb = Lb::with_workers(&of(&member, ""), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        let (answer, mut up) = send.send_request(rpc("/bidi"), false).unwrap();
        let mut down = answer.await.unwrap().into_body();
        for n in 0..100 {
            let message = Bytes::from(format!("message {n}"));
            send_all(&mut up, message.clone(), false).await;
            let mut echo = Vec::new();
            while echo.len() < message.len() {
                let data = down.data().await.unwrap().unwrap();
                down.flow_control().release_capacity(data.len()).unwrap();
                echo.extend_from_slice(&data);
            }
            assert_eq!(echo, message);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("42"));
        up.send_trailers(trailers).unwrap();
        while let Some(data) = down.data().await {
            assert!(data.unwrap().is_empty());
        }
        let trailers = down.trailers().await.unwrap().unwrap();
        assert_eq!((&trailers["grpc-status"], &trailers["x-sum"]), ("0".into_ref(), "42".into_ref()));
    });
}

#[test]
fn clients_of_http_1_reach_members_of_http_2() {
    let member = Member::start();
    let lb = Lb::with_workers(&of(&member, ""), 1);
    let mut client = lb.client();
    for _ in 0..20 {
        let answer = client.request("POST", "/unary", "", b"one by one");
        assert_eq!((answer.status, answer.text()), (200, "one by one".to_owned()));
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(member.connections(), 1);
}

#[test]
fn g_6_3_a_hundred_streams_fill_a_connection_and_the_next_opens_another() {
    let member = Member::start();
    let lb = Lb::with_workers(&of(&member, ""), 1);
    run(async {
        let mut sends = Vec::new();
        for _ in 0..3 {
            sends.push(connect(lb.address()).await);
        }
        let waiting: Vec<_> =
            (0..250).map(|n| sends[n % 3].send_request(get("/held"), true).unwrap().0).collect();
        wait_until("all are there", || member.calls() == 250);
        assert_eq!(member.connections(), 3);
        assert_eq!(lb.in_flight(), 250);
        member.shared.permits.add_permits(250);
        for answer in waiting {
            assert_eq!(whole(answer.await.unwrap()).await.unwrap().status, 200);
        }
        assert_eq!(ask(&mut sends[0], get("/")).await.unwrap().status, 200);
    });
    assert_eq!(member.connections(), 3, "they are kept");
}

#[test]
fn a_member_that_takes_fewer_streams_gets_more_connections_and_nothing_fails() {
    let member = Member::with_streams(5);
    let lb = Lb::with_workers(&of(&member, ""), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        assert_eq!(ask(&mut send, get("/")).await.unwrap().status, 200, "its settings are known");
        let waiting: Vec<_> = (0..20).map(|_| send.send_request(get("/held"), true).unwrap().0).collect();
        member.shared.permits.add_permits(20);
        for answer in waiting {
            assert_eq!(whole(answer.await.unwrap()).await.unwrap().status, 200);
        }
    });
}

#[test]
fn a_refused_stream_is_sent_again_whatever_its_method() {
    for method in ["GET", "POST"] {
        let member = Member::start();
        let lb = Lb::with_workers(&of(&member, ""), 1);
        let answer = lb.client().request(method, "/refused", "", b"");
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        assert_eq!((member.shared.refused.load(SeqCst), member.calls()), (2, 1));
        lb.wait_sum("overspill_replays_total", &[], 1.0);
    }
}

#[test]
fn a_goaway_of_a_member_loses_no_call() {
    let member = Member::start();
    let lb = Lb::with_workers(&of(&member, ""), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        for n in 0..50 {
            let path = if n % 10 == 5 { "/goaway" } else { "/" };
            assert_eq!(ask(&mut send, get(path)).await.unwrap().status, 200, "call {n}");
        }
    });
    wait_until("new connections were opened", || member.connections() >= 5);
    lb.wait_ended(StatusDetail::ResponseSentByBackend, 50);
}

#[test]
fn a_client_that_leaves_resets_its_stream_at_the_member_and_no_other() {
    let member = Member::start();
    let lb = Lb::with_workers(&of(&member, ""), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        let (other, _) = send.send_request(get("/held"), true).unwrap();
        let (answer, mut stream) = send.send_request(get("/held"), true).unwrap();
        wait_until("both are there", || member.calls() == 2);
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
        wait_until("one is reset", || member.shared.resets.load(SeqCst) == 1);
        lb.wait_ended(StatusDetail::ClientDisconnectedBeforeAny, 1);
        member.shared.permits.add_permits(1);
        assert_eq!(whole(other.await.unwrap()).await.unwrap().status, 200);
    });
    assert_eq!(member.connections(), 1);
}

#[test]
fn a_timeout_resets_the_stream_at_the_member_and_the_connection_lives_on() {
    let member = Member::start();
    let lb = Lb::with_workers(&of(&member, "timeoutSec: 1"), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        let answer = say(&mut send, "/held", "x".into()).await.unwrap();
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.text().contains("backend_timeout"));
        wait_until("it is reset", || member.shared.resets.load(SeqCst) == 1);
        assert_eq!(ask(&mut send, get("/")).await.unwrap().status, 200);
    });
    assert_eq!(member.connections(), 1);
}

#[test]
fn a_member_that_breaks_off_resets_the_clients_stream() {
    let member = Member::start();
    let lb = Lb::with_workers(&of(&member, ""), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        let (answer, mut up) = send.send_request(rpc("/cut"), false).unwrap();
        let answer = answer.await.unwrap();
        send_all(&mut up, "x".into(), false).await;
        let error = whole(answer).await.unwrap_err();
        assert!(error.is_reset(), "{error}");
        assert_eq!(ask(&mut send, get("/")).await.unwrap().status, 200);
    });
    lb.wait_ended(StatusDetail::BackendConnectionClosedAfterPartial, 1);
}

#[test]
fn max_connections_holds_for_shared_ones_too() {
    let member = Member::with_streams(1000);
    let lb = Lb::with_workers(&of(&member, "circuitBreakers: {maxConnections: 1}"), 1);
    run(async {
        let mut sends = [connect(lb.address()).await, connect(lb.address()).await];
        let waiting: Vec<_> =
            (0..150).map(|n| sends[n % 2].send_request(get("/held"), true).unwrap().0).collect();
        wait_until("one connection is full", || member.calls() == 100);
        member.shared.permits.add_permits(150);
        for answer in waiting {
            assert_eq!(whole(answer.await.unwrap()).await.unwrap().status, 200);
        }
    });
    assert_eq!(member.connections(), 1);
}

#[test]
fn back_pressure_reaches_from_a_slow_client_to_the_member() {
    let member = Member::start();
    let lb = Lb::with_workers(&of(&member, ""), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        let (answer, mut up) = send.send_request(rpc("/bidi"), false).unwrap();
        let mut down = answer.await.unwrap().into_body();
        // Nothing is taken from the answer: the windows on the way fill up, and nothing more is taken from us.
        let sending = send_all(&mut up, Bytes::from(vec![1; 64 << 20]), true);
        let stuck = tokio::time::timeout(Duration::from_millis(1500), sending).await;
        assert!(stuck.is_err(), "64 MiB went nowhere");
        let mut taken = 0;
        while taken < 1 << 20 {
            let data = down.data().await.unwrap().unwrap();
            taken += data.len();
            down.flow_control().release_capacity(data.len()).unwrap();
            if taken < 1 << 20 && up.capacity() == 0 {
                up.reserve_capacity(16_384);
            }
            if up.capacity() > 0 {
                let some = up.capacity().min(16_384);
                up.send_data(Bytes::from(vec![1; some]), false).unwrap();
            }
        }
    });
}

fn http2(member: &Member) -> String {
    of(member, "").replace("protocol: H2C\n", "protocol: HTTP2\n")
}

#[test]
fn g_6_4_http_2_over_tls_needs_alpn_and_no_good_certificate() {
    let member = Member::over_tls(&[b"h2"]);
    let lb = Lb::with_workers(&http2(&member), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        let unary = say(&mut send, "/unary", "question".into()).await.unwrap();
        assert_eq!((unary.status, unary.text()), (200, "question".to_owned()));
    });
    assert_eq!(member.shared.heads.lock().unwrap()[0].uri().scheme_str(), Some("https"));
}

#[test]
fn g_6_3_a_member_that_agrees_on_no_http_2_is_said_to() {
    for protocols in [&[][..], &[&b"http/1.1"[..]]] {
        let member = Member::over_tls(protocols);
        let lb = Lb::with_workers(&http2(&member), 1);
        let answer = lb.get("/");
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("failed_to_negotiate_alpn"), "{}", answer.text());
        assert_eq!(member.calls(), 0);
    }
}

#[test]
fn a_member_that_speaks_no_http_2_fails_and_is_named() {
    let plain = toy("plain");
    let setup = setup(&[group("ig", NEAR).member("m", &plain)]);
    let lb = Lb::with_workers(&h2c(&setup), 1);
    assert_eq!(lb.get("/").status, 503);
    assert_eq!(plain.requests(), 0);
}
