//! The guard under a real hyper server, on a pipe in memory.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;

use super::super::MAX_HEAD;
use super::*;

/// An answer's body that says when it has ended, as the handler's must.
struct Answer(Full<Bytes>, Arc<Shared>);

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.get_mut().0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.1.request_done();
    }
}

/// What the handler of a test does before it answers.
#[derive(Clone, Default)]
struct Script {
    /// Waits for this.
    gate: Option<Rc<Notify>>,
    /// What it answers.
    body: Bytes,
    /// The client does not end its side before the server does.
    is_open_ended: bool,
}

async fn handle(request: Request<Incoming>, shared: Arc<Shared>, script: Script) -> Response<Answer> {
    let is_upgrade = request.headers().contains_key("upgrade");
    if let Some(gate) = script.gate {
        gate.notified().await;
    }
    let (status, body) = match request.into_body().collect().await {
        Ok(_) if is_upgrade => {
            shared.pass_through();
            (StatusCode::SWITCHING_PROTOCOLS, Bytes::new())
        }
        Ok(_) => (StatusCode::OK, script.body),
        Err(_) => (StatusCode::BAD_REQUEST, Bytes::new()),
    };
    Response::builder()
        .status(status)
        .header("x-by", "handler")
        .body(Answer(Full::new(body), shared))
        .unwrap()
}

/// Serves one connection as its owner does: hyper first, then our answer to a refused head; a tunnel echoes.
async fn serve(socket: DuplexStream, script: Script) -> Arc<Shared> {
    let (io, shared) = GuardedIo::new(socket, MAX_HEAD);
    let service = service_fn(|request| {
        let (shared, script) = (Arc::clone(&shared), script.clone());
        async { Ok::<_, Infallible>(handle(request, shared, script).await) }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(io), service);
    let _ = Pin::new(&mut connection).await;
    let parts = connection.into_parts();
    let mut io = parts.io.into_inner();
    if shared.phase() == Phase::Open {
        let mut seen = parts.read_buf.to_vec();
        io.read_to_end(&mut seen).await.unwrap();
        io.write_all(&seen).await.unwrap();
    } else if let Some(refusal) = shared.refusal().filter(|refusal| !refusal.is_in_body()) {
        let (status, detail) = refusal.answer();
        let answer = format!("HTTP/1.1 {status} No\r\nx-by: guard\r\nx-detail: {}\r\n\r\n", detail.as_str());
        io.write_all(answer.as_bytes()).await.unwrap();
    }
    drop(io);
    shared
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Sends the pieces, ends, and gives all that came back.
async fn exchange_with(pieces: impl Iterator<Item = &[u8]>, script: Script) -> (String, Arc<Shared>) {
    let (mut client, server) = tokio::io::duplex(MAX_HEAD * 2);
    let is_open_ended = script.is_open_ended;
    let talk = async {
        for piece in pieces {
            // A refusal may have ended the connection.
            if client.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        if !is_open_ended {
            let _ = client.shutdown().await;
        }
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    tokio::join!(talk, serve(server, script))
}

fn exchange(bytes: &[u8], step: usize) -> String {
    block_on(exchange_with(bytes.chunks(step), Script::default())).0
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Status lines of all answers, each with who gave it.
fn answers(text: &str) -> Vec<(&str, &str)> {
    let starts: Vec<usize> = text.match_indices("HTTP/1.1 ").map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let answer = |(start, end): (&usize, usize)| {
        let by =
            text[*start..end].split("x-by: ").nth(1).map_or("hyper", |rest| rest.lines().next().unwrap());
        (&text[start + 9..start + 12], by)
    };
    starts.iter().zip(ends).map(answer).collect()
}

#[test]
fn bad_heads_get_one_answer_and_it_is_ours() {
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET /\r\n\r\n", "400"),
        ("G(T / HTTP/1.1\r\n\r\n", "400"),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\nHost: a\n\n", "400"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{1}\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "400"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"),
        ("\u{16}\u{3}\u{1}", "400"),
        (&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100)), "413"),
        (&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(MAX_HEAD)), "413"),
        (&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(MAX_HEAD)), "413"),
    ] {
        for step in [1 << 20, 5000, 1] {
            let step = if head.len() > 10_000 { step.max(100) } else { step };
            let text = exchange(head.as_bytes(), step);
            assert_eq!(answers(&text), [(status, "guard")], "{head:.100} in steps of {step}");
        }
    }
}

#[test]
fn good_requests_pass_in_any_pieces() {
    let upload =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n";
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(MAX_HEAD - 40));
    for text in [GET.repeat(3), upload.repeat(3), long.repeat(3)] {
        // Without the last one hyper would wait for more; the end of input would come before the answers.
        let text = text + "GET / HTTP/1.0\r\n\r\n";
        for step in [1 << 20, 5000, 1] {
            let step = if text.len() > 10_000 { step.max(100) } else { step };
            let script = Script { is_open_ended: true, ..Script::default() };
            let (text, _) = block_on(exchange_with(text.as_bytes().chunks(step), script));
            assert_eq!(answers(&text.replace("HTTP/1.0", "HTTP/1.1")), [("200", "handler"); 4]);
        }
    }
}

#[test]
fn requests_before_a_bad_one_are_answered_first() {
    let text = format!("{GET}{GET}GET / HTTP/7.7\r\n\r\n{GET}");
    for step in [1 << 20, 20, 1] {
        assert_eq!(
            answers(&exchange(text.as_bytes(), step)),
            [("200", "handler"), ("200", "handler"), ("400", "guard")]
        );
    }
}

#[test]
fn bad_request_waits_for_a_slow_answer_before_it() {
    block_on(async {
        let gate = Rc::new(Notify::new());
        let script = Script { gate: Some(Rc::clone(&gate)), ..Script::default() };
        let (mut client, server) = tokio::io::duplex(4096);
        let talk = async {
            client.write_all(format!("{GET}(\r\n\r\n").as_bytes()).await.unwrap();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            gate.notify_one();
            let mut text = String::new();
            client.read_to_string(&mut text).await.unwrap();
            assert_eq!(answers(&text), [("200", "handler"), ("400", "guard")]);
        };
        let ((), shared) = tokio::join!(talk, serve(server, script));
        assert!(matches!(shared.refusal(), Some(Refusal::FailedParsing(_))));
    });
}

#[test]
fn large_answer_to_a_slow_reader_is_whole_before_ours() {
    block_on(async {
        let body = Bytes::from(vec![b'.'; 1 << 20]);
        let (mut client, server) = tokio::io::duplex(1000);
        let talk = async {
            client.write_all(format!("{GET}(\r\n\r\n").as_bytes()).await.unwrap();
            let mut text = Vec::new();
            let mut buffer = [0; 700];
            loop {
                tokio::task::yield_now().await;
                match client.read(&mut buffer).await.unwrap() {
                    0 => break,
                    n => text.extend_from_slice(&buffer[..n]),
                }
            }
            let text = String::from_utf8(text).unwrap();
            assert_eq!(answers(&text), [("200", "handler"), ("400", "guard")]);
            assert_eq!(text.matches('.').count(), (1 << 20) + 2, "the body, and twice HTTP/1.1");
        };
        tokio::join!(talk, serve(server, Script { body, ..Script::default() }));
    });
}

#[test]
fn bytes_after_a_last_request_get_no_answer() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n(garbage)\r\n\r\n";
    let (text, shared) = block_on(exchange_with(std::iter::once(text.as_bytes()), Script::default()));
    assert_eq!(answers(&text), [("200", "handler")]);
    assert_eq!(shared.refusal(), None);
}

#[test]
fn bad_body_is_answered_by_the_handler_alone() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["zz\r\n", "3\r\nabcd\r\n0\r\n\r\n", "1 \r\na\r\n0\r\n\r\n", "0\r\nX y\r\n\r\n"] {
        let text = format!("{head}{body}{GET}");
        for step in [1 << 20, 1] {
            let (text, shared) = block_on(exchange_with(text.as_bytes().chunks(step), Script::default()));
            assert_eq!(answers(&text), [("400", "handler")], "{body:?}");
            assert!(shared.refusal().unwrap().is_in_body());
        }
    }
}

#[test]
fn client_that_leaves_in_the_middle_of_a_head_gets_no_answer() {
    assert_eq!(exchange(b"GET / HTTP/1.1\r\nHos", 1), "");
    assert_eq!(exchange(b"\r\n", 1), "");
    assert_eq!(exchange(b"", 1), "");
}

#[test]
fn tunnel_gets_what_the_client_sent_early() {
    let frames = "\u{1}\u{2}\n not HTTP";
    let text =
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n{frames}");
    for step in [1 << 20, 1] {
        let (text, shared) = block_on(exchange_with(text.as_bytes().chunks(step), Script::default()));
        assert_eq!(answers(&text), [("101", "handler")]);
        assert!(text.ends_with(&format!("\r\n\r\n{frames}")), "{text}");
        assert_eq!((shared.refusal(), shared.phase()), (None, Phase::Open));
    }
}

#[test]
fn bytes_and_phases_are_known_outside() {
    block_on(async {
        let (mut client, server) = tokio::io::duplex(4096);
        let (mut io, shared) = GuardedIo::new(server, MAX_HEAD);
        assert_eq!(shared.phase(), Phase::Idle);
        let since = shared.phase_since();
        client.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
        let mut buffer = [0; 100];
        let mut buf = ReadBuf::new(&mut buffer);
        let mut poll = |buf: &mut ReadBuf<'_>| {
            Pin::new(&mut io).poll_read(&mut Context::from_waker(Waker::noop()), buf).map(|end| end.unwrap())
        };
        assert!(poll(&mut buf).is_pending());
        assert!(buf.filled().is_empty());
        assert_eq!(shared.phase(), Phase::Head);
        assert!(shared.phase_since() > since);
        client.write_all(b"Host: a\r\nContent-Length: 2\r\n\r\nx").await.unwrap();
        assert!(poll(&mut buf).is_ready());
        assert_eq!(shared.phase(), Phase::Body);
        assert!(buf.filled().ends_with(b"\r\n\r\nx"));
        client.write_all(b"y").await.unwrap();
        assert!(poll(&mut buf).is_ready());
        assert!(buf.filled().ends_with(b"xy"));
        assert_eq!(shared.phase(), Phase::Idle);
        assert_eq!(io.held.capacity(), 0, "an idle connection holds no memory");
    });
}

#[test]
fn guarded_socket_can_be_upgraded_by_hyper() {
    fn is_send<T: Send + 'static>() {}
    is_send::<TokioIo<GuardedIo<tokio::net::TcpStream>>>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// What passes the guard, hyper takes: no answer is ever its own.
    #[test]
    fn hyper_never_answers_by_itself(
        start in prop_oneof![
            Just(GET),
            Just("POST /a?b HTTP/1.1\r\nHost: a:80\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc"),
            Just("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n"),
            Just("GET http://a:80/ HTTP/1.0\r\nConnection: x\r\n\r\n"),
            Just("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ],
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            any::<u8>(), prop::sample::select(b"\r\n \t:/?#@*[]{}<>\"\\%,;01a".to_vec()),
        ], 0..3_u8), 0..4),
        step in 1_usize..200,
    ) {
        let mut bytes = format!("{start}{GET}").into_bytes();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        let text = exchange(&bytes, step);
        for (status, by) in answers(&text) {
            prop_assert!(by != "hyper" || status == "100", "{} to {}", status, bytes.escape_ascii());
        }
    }
}
