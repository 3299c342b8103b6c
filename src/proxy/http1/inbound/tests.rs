//! The loop with a handler of few words, on a pipe in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use http_body_util::Full;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;

use super::*;
use crate::proxy::guard::MAX_HEAD;

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

/// All of a request's body.
async fn collect(mut body: Body) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
        bytes.extend_from_slice(&frame?.into_data().unwrap());
    }
    assert!(body.is_end_stream());
    Ok(bytes)
}

type Waiting = Rc<RefCell<Option<oneshot::Receiver<Socket>>>>;

async fn handle(
    request: Request<Body>,
    talk: Rc<dyn Bring>,
    script: Script,
    tunnel: Waiting,
) -> Response<Full<Bytes>> {
    let is_upgrade = request.headers().contains_key("upgrade");
    if let Some(gate) = script.gate {
        gate.notified().await;
    }
    let (status, body) = match collect(request.into_body()).await {
        Ok(_) if is_upgrade => {
            *tunnel.borrow_mut() = Some(talk.talk().tunnel());
            (StatusCode::SWITCHING_PROTOCOLS, Bytes::new())
        }
        Ok(_) => (StatusCode::OK, script.body),
        Err(_) => (StatusCode::BAD_REQUEST, Bytes::new()),
    };
    let answer = Response::builder().status(status).header("x-by", "handler");
    let answer = if status == 400 { answer.header("connection", "close") } else { answer };
    answer.body(Full::new(body)).unwrap()
}

/// Serves one connection as its owner does: the loop first, then our answer to a refused head; a tunnel echoes.
async fn serve(socket: DuplexStream, script: Script) -> Rc<dyn Bring> {
    let (inbound, watched) = (Inbound::new(socket, MAX_HEAD, Rc::default()), Watched::new(0));
    let (talk, tunnel): (Rc<dyn Bring>, _) = (inbound.clone(), Waiting::default());
    let is_over = || false;
    let reins = Reins { watched: &watched, is_over: &is_over };
    let end =
        inbound.serve(&reins, |request| handle(request, talk.clone(), script.clone(), tunnel.clone())).await;
    let tunnel = tunnel.borrow_mut().take();
    if let Some(tunnel) = tunnel {
        let Socket { mut io, early } = tunnel.await.unwrap();
        let mut seen = early.to_vec();
        io.read_to_end(&mut seen).await.unwrap();
        io.write_all(&seen).await.unwrap();
    } else if end == End::Refused {
        let (mut io, _) = inbound.take_rest().unwrap();
        let (status, detail) = talk.talk().refusal().unwrap().answer();
        let answer = format!("HTTP/1.1 {status} No\r\nx-by: guard\r\nx-detail: {}\r\n\r\n", detail.as_str());
        io.write_all(answer.as_bytes()).await.unwrap();
    }
    drop(inbound.take_rest());
    talk
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Sends the pieces, ends, and gives all that came back.
async fn exchange_with(pieces: impl Iterator<Item = &[u8]>, script: Script) -> (String, Rc<dyn Bring>) {
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
        let by = text[*start..end].split("x-by: ").nth(1).map_or("loop", |rest| rest.lines().next().unwrap());
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
        // Without the last one the loop would wait for more; the end of input would come before the answers.
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
        assert!(matches!(shared.talk().refusal(), Some(Refusal::FailedParsing(_))));
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
    assert_eq!(shared.talk().refusal(), None);
}

#[test]
fn bad_body_is_answered_by_the_handler_alone() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["zz\r\n", "3\r\nabcd\r\n0\r\n\r\n", "1 \r\na\r\n0\r\n\r\n", "0\r\nX y\r\n\r\n"] {
        let text = format!("{head}{body}{GET}");
        for step in [1 << 20, 1] {
            let (text, shared) = block_on(exchange_with(text.as_bytes().chunks(step), Script::default()));
            assert_eq!(answers(&text), [("400", "handler")], "{body:?}");
            assert!(matches!(shared.talk().refusal(), Some(Refusal::InvalidChunkFraming(_))));
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
        assert_eq!(shared.talk().refusal(), None);
    }
}

#[test]
fn bytes_and_phases_are_known_outside() {
    block_on(async {
        let (mut client, server) = tokio::io::duplex(4096);
        let (inbound, watched) = (Inbound::new(server, MAX_HEAD, Rc::default()), Watched::new(0));
        let talk = inbound.talk();
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let since = talk.phase_since();
        assert_eq!(talk.phase(), Phase::Idle);
        client.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
        assert!(inbound.poll_head(cx, &watched).is_pending());
        assert_eq!(talk.phase(), Phase::Head);
        assert!(talk.phase_since() > since);
        client.write_all(b"Host: a\r\nContent-Length: 2\r\n\r\nx").await.unwrap();
        let Poll::Ready(Arrival::Head(head, lines)) = inbound.poll_head(cx, &watched) else {
            panic!("no head")
        };
        assert!(head.ends_with(b"\r\n\r\n"));
        assert_eq!(talk.phase(), Phase::Body);
        let (request, _) = head::request(&inbound, head, &lines).unwrap();
        let mut body = request.into_body();
        for (more, want) in [("", "x"), ("y", "y")] {
            client.write_all(more.as_bytes()).await.unwrap();
            let Poll::Ready(Some(Ok(frame))) = body.poll_frame(cx) else { panic!("no piece") };
            assert_eq!(frame.into_data().unwrap(), want);
        }
        assert!(body.is_end_stream());
        assert!(inbound.poll_head(cx, &watched).is_pending());
        assert_eq!(talk.phase(), Phase::Idle);
        assert_eq!(inbound.wire.borrow().held_capacity(), 0, "an idle connection holds no memory");
    });
}

#[test]
fn answers_are_framed_as_their_client_can_read_them() {
    let of = |request: &str, body: &'static str| {
        let script = Script { body: Bytes::from(body), is_open_ended: false, ..Script::default() };
        block_on(exchange_with(std::iter::once(request.as_bytes()), script)).0
    };
    let get = of("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "hello");
    assert!(get.starts_with("HTTP/1.1 200 OK\r\nx-by: handler\r\ncontent-length: 5\r\ndate: "), "{get}");
    assert!(get.ends_with(" GMT\r\n\r\nhello"), "{get}");
    let head = of("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "hello");
    assert!(head.contains("content-length: 5\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let old = of("GET / HTTP/1.0\r\n\r\n", "hello");
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n") && !old.contains("connection"), "{old}");
    let kept = of("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "hello");
    assert!(kept.contains("connection: keep-alive\r\n"), "{kept}");
    let last = of("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", "");
    assert!(last.contains("connection: close\r\n") && last.contains("content-length: 0\r\n"), "{last}");
}

/// A body of unknown length, in two pieces; the second may be an error.
struct Streamed(Vec<Result<Bytes, &'static str>>);

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, &'static str>>> {
        let piece = (!self.0.is_empty()).then(|| self.0.remove(0));
        Poll::Ready(piece.map(|piece| piece.map(http_body::Frame::data)))
    }
}

fn streamed(request: &str, pieces: &[Result<&'static [u8], &'static str>]) -> String {
    block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(request.as_bytes()).await.unwrap();
        let (inbound, watched) = (Inbound::new(server, MAX_HEAD, Rc::default()), Watched::new(0));
        let is_over = || false;
        let reins = Reins { watched: &watched, is_over: &is_over };
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.map(Bytes::from_static)).collect();
        let served = inbound.serve(&reins, |_| {
            watched.drain.set(true);
            let body = Streamed(pieces.clone());
            async { Response::new(body) }
        });
        assert_eq!(served.await, End::Over);
        drop(inbound);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    })
}

#[test]
fn a_body_of_unknown_length_is_chunked_or_ends_with_the_connection() {
    static LONG: [u8; 5000] = [b'.'; 5000];
    let text = streamed(GET, &[Ok(b"abc"), Ok(b""), Ok(&LONG)]);
    assert!(text.contains("transfer-encoding: chunked\r\nconnection: close\r\n"), "{text:.200}");
    let body = text.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(body, format!("3\r\nabc\r\n1388\r\n{}\r\n0\r\n\r\n", ".".repeat(5000)));
    let text = streamed("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &[Ok(b"abc"), Ok(b"d")]);
    assert!(text.ends_with("\r\n\r\nabcd") && !text.contains("keep-alive"), "{text}");
}

#[test]
fn a_body_that_breaks_off_has_no_end_and_what_came_before_goes_out() {
    let text = streamed(GET, &[Ok(b"abc"), Err("gone"), Ok(b"d")]);
    assert!(text.ends_with("3\r\nabc\r\n"), "{text}");
}

#[test]
fn a_client_that_waits_for_permission_gets_it_when_its_body_is_asked_for() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\nxGET";
    assert!(
        exchange(text.as_bytes(), 1 << 20).starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// What passes the guard can be read: every answer is the handler's or the guard's.
    #[test]
    fn whatever_comes_is_handled_or_refused(
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
            prop_assert!(by != "loop" || status == "100", "{} to {}", status, bytes.escape_ascii());
        }
    }
}
