//! A connection to a member that says what the tests have it say.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Wake;

use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use http_body::Body as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::balance::rng::Rng;
use crate::proxy::body::RequestBody;
use crate::proxy::http1::scratch::{MOST, SMALL};
use crate::proxy::kept::{Copying, Store};

/// Bytes between the two ends.
const PIPE: usize = 1 << 20;

struct Pair {
    conn: Conn<DuplexStream>,
    member: DuplexStream,
    scratch: Scratch,
}

type Answered = Poll<Result<Response<Left>, Fault>>;

/// Data, lengths of its pieces, trailers, and how the body has ended.
type Read = (Vec<u8>, Vec<usize>, Option<String>, Poll<Result<(), Interrupted>>);

impl Pair {
    fn new(pipe: usize) -> Self {
        let (io, member) = duplex(pipe);
        Self { conn: Conn::new(io), member, scratch: Scratch::default() }
    }

    fn poll_answer(&mut self) -> Answered {
        self.conn.poll_answer(&mut Context::from_waker(Waker::noop()), &self.scratch)
    }

    /// Sends a request; what the member has got of it.
    fn ask(&mut self, request: Request<RequestBody>) -> String {
        assert_eq!(self.begin(request), Ok(()));
        self.heard()
    }

    fn begin(&mut self, mut request: Request<RequestBody>) -> Result<(), Unsent> {
        let mut outgoing = Outgoing::of(&mut request);
        let has_body = outgoing.has_body();
        let begun = self.conn.begin(&mut outgoing, &mut Context::from_waker(Waker::noop()), &self.scratch);
        assert_eq!(outgoing.has_body(), has_body && begun.is_err(), "what was not sent is still there");
        begun
    }

    fn heard(&mut self) -> String {
        let mut text = [0; 65536];
        let mut buf = ReadBuf::new(&mut text);
        let _ = Pin::new(&mut self.member).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf);
        String::from_utf8_lossy(buf.filled()).into_owned()
    }

    fn say(&mut self, text: &[u8]) {
        let polled = pin!(self.member.write_all(text)).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Ok(()))));
    }

    fn close(&mut self) {
        let _ = pin!(self.member.shutdown()).poll(&mut Context::from_waker(Waker::noop()));
    }

    /// Reads until the body ends or nothing comes.
    fn body(&mut self) -> Read {
        let (mut data, mut pieces, mut trailers) = (Vec::new(), Vec::new(), None);
        loop {
            match self.conn.poll_frame(&mut Context::from_waker(Waker::noop()), &self.scratch) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => {
                        pieces.push(piece.len());
                        data.extend_from_slice(&piece);
                    }
                    Err(frame) => trailers = Some(format!("{:?}", frame.into_trailers().unwrap())),
                },
                Poll::Ready(None) => return (data, pieces, trailers, Poll::Ready(Ok(()))),
                Poll::Ready(Some(Err(error))) => return (data, pieces, trailers, Poll::Ready(Err(error))),
                Poll::Pending => return (data, pieces, trailers, Poll::Pending),
            }
        }
    }
}

fn request(method: Method, target: &str) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::Empty);
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().unwrap();
    request.headers_mut().insert("host", HeaderValue::from_static("a"));
    request
}

fn get() -> Request<RequestBody> {
    request(Method::GET, "/")
}

fn post(body: &[u8]) -> Request<RequestBody> {
    let copying = Copying::new(&Rc::new(Store::default()));
    copying.add(body);
    copying.finish();
    let mut request = request(Method::POST, "/");
    *request.body_mut() = RequestBody::Kept(copying.whole());
    request
}

fn answer(polled: Answered) -> Response<Left> {
    let Poll::Ready(Ok(answer)) = polled else { panic!("no answer") };
    answer
}

fn fault(polled: Answered) -> Fault {
    let Poll::Ready(Err(fault)) = polled else { panic!("no fault") };
    fault
}

#[test]
fn one_request_after_the_other_goes_over_a_connection() {
    let mut pair = Pair::new(PIPE);
    assert!(pair.conn.is_idle() && pair.conn.is_quiet());
    assert_eq!(pair.ask(request(Method::OPTIONS, "*")), "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(!pair.conn.is_idle());
    pair.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx-a: 1\r\n\r\nhello");
    let head = answer(pair.poll_answer());
    assert_eq!(
        (head.status(), head.body(), &head.headers()["x-a"]),
        (StatusCode::OK, &Left::Exactly(5), &HeaderValue::from_static("1"))
    );
    assert!(!pair.conn.is_idle());
    let Poll::Ready(Some(Ok(frame))) =
        pair.conn.poll_frame(&mut Context::from_waker(Waker::noop()), &pair.scratch)
    else {
        panic!("it is there")
    };
    assert_eq!((frame.data_ref().unwrap(), pair.conn.left()), (&Bytes::from_static(b"hello"), Left::Nothing));
    assert!(pair.conn.is_idle() && pair.conn.is_quiet());
    assert_eq!(pair.ask(request(Method::HEAD, "http://b?x=1")), "HEAD /?x=1 HTTP/1.1\r\nhost: a\r\n\r\n");
    pair.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(answer(pair.poll_answer()).body(), &Left::Nothing);
    assert!(pair.conn.is_idle());
}

#[test]
fn a_body_that_is_kept_goes_out_with_its_length_and_however_little_the_member_takes_at_a_time() {
    for length in [1, 300, SMALL, 40_000] {
        for pipe in [7, 1000, PIPE] {
            let (mut pair, body) = (Pair::new(pipe), vec![b'x'; length]);
            let mut heard = pair.ask(post(&body));
            let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
            while heard.len() < head.len() + length {
                assert!(pair.poll_answer().is_pending());
                let more = pair.heard();
                assert!(!more.is_empty(), "{length} bytes through {pipe}");
                heard += &more;
            }
            assert_eq!(heard, head + std::str::from_utf8(&body).unwrap());
            pair.say(b"HTTP/1.1 204 No\r\n\r\n"[..pipe.min(19)].as_ref());
            if pipe > 19 {
                assert_eq!(answer(pair.poll_answer()).status(), StatusCode::NO_CONTENT);
                assert!(pair.conn.is_idle());
            }
        }
    }
}

#[test]
fn an_answer_is_the_same_wherever_it_is_cut() {
    let answers: [(&[u8], &str, Option<&str>, bool); 4] = [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", None, true),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello", None, true),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n", "hello", Some(r#"{"x-sum": "7"}"#), true),
        (b"HTTP/1.0 200 OK\r\na: b\r\n\r\nhello", "hello", None, false),
    ];
    for (text, said, trailers, is_kept) in answers {
        for cut in 0..=text.len() {
            let mut pair = Pair::new(PIPE);
            pair.ask(get());
            pair.say(&text[..cut]);
            let mut polled = pair.poll_answer();
            let (mut body, mut behind) = (Vec::new(), None);
            if polled.is_ready() {
                (body, _, behind, _) = pair.body();
            }
            pair.say(&text[cut..]);
            if !is_kept {
                pair.close();
            }
            if polled.is_pending() {
                polled = pair.poll_answer();
            }
            assert_eq!(answer(polled).status(), StatusCode::OK);
            let rest = pair.body();
            body.extend_from_slice(&rest.0);
            assert_eq!((&*body, rest.3), (said.as_bytes(), Poll::Ready(Ok(()))), "cut at {cut}");
            assert!(
                rest.2.or(behind).as_deref() == trailers && pair.conn.is_idle() == is_kept,
                "cut at {cut}"
            );
            assert!(!is_kept || pair.scratch.is_free(), "cut at {cut}");
        }
    }
}

#[test]
fn what_was_not_sent_comes_back_and_what_was_does_not() {
    let mut pair = Pair::new(PIPE);
    pair.close();
    assert!(pair.conn.is_idle() && !pair.conn.is_quiet());
    assert_eq!(pair.begin(post(b"x")), Err(Unsent));
    assert!(!pair.conn.is_idle());
    let mut pair = Pair::new(PIPE);
    pair.say(b"H");
    assert_eq!(pair.begin(get()), Err(Unsent), "an answer before the question");
    for front in ["", "HTTP/1.1 200 OK\r\na: b\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let mut pair = Pair::new(PIPE);
        pair.ask(get());
        pair.say(front.as_bytes());
        pair.close();
        assert_eq!(fault(pair.poll_answer()), Fault::Closed, "{front:?}");
        assert!(!pair.conn.is_idle());
    }
}

#[test]
fn a_connection_is_not_used_again_after_what_makes_its_answers_doubtful() {
    for (text, is_idle) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", false),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nx", false),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", false),
    ] {
        let mut pair = Pair::new(PIPE);
        pair.ask(get());
        pair.say(text.as_bytes());
        answer(pair.poll_answer());
        let (_, _, _, ended) = pair.body();
        assert_eq!((ended, pair.conn.is_idle()), (Poll::Ready(Ok(())), is_idle), "{text:?}");
    }
    let mut pair = Pair::new(PIPE);
    let mut last = get();
    last.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    pair.ask(last);
    pair.say(b"HTTP/1.1 204 No Content\r\n\r\n");
    answer(pair.poll_answer());
    assert!(!pair.conn.is_idle(), "the member was told that it is the last");
}

#[test]
fn a_body_that_breaks_off_is_told_from_one_that_ends() {
    for (text, is_whole) in [
        ("content-length: 5\r\n\r\nhell", false),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", false),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", false),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhelloo", false),
        ("\r\nhello", true),
    ] {
        let mut pair = Pair::new(PIPE);
        pair.ask(get());
        pair.say(format!("HTTP/1.1 200 OK\r\n{text}").as_bytes());
        pair.close();
        answer(pair.poll_answer());
        let (data, _, _, ended) = pair.body();
        assert!(data.starts_with(b"hell"));
        assert_eq!(ended, Poll::Ready(if is_whole { Ok(()) } else { Err(Interrupted) }), "{text:?}");
        assert!(!pair.conn.is_idle());
    }
}

#[test]
fn large_bodies_come_in_few_pieces_and_small_ones_keep_no_large_buffer() {
    let mut pair = Pair::new(PIPE);
    pair.ask(get());
    let body = vec![b'x'; 700_000];
    pair.say(b"HTTP/1.1 200 OK\r\ncontent-length: 700000\r\n\r\n");
    pair.say(&body);
    answer(pair.poll_answer());
    let (data, pieces, _, ended) = pair.body();
    assert!(data == body && ended == Poll::Ready(Ok(())) && pair.conn.is_idle());
    assert!(pieces.len() <= 7 && pieces.iter().all(|piece| *piece <= MOST), "{pieces:?}");
    pair.ask(get());
    pair.say(b"HTTP/1.1 200 OK\r\n\r\n");
    answer(pair.poll_answer());
    let mut held = Vec::new();
    for _ in 0..3 {
        pair.say(&[b'x'; 100]);
        let Poll::Ready(Some(Ok(frame))) =
            pair.conn.poll_frame(&mut Context::from_waker(Waker::noop()), &pair.scratch)
        else {
            panic!("it is there")
        };
        held.push(frame.into_data().unwrap());
    }
    for piece in held {
        assert!(BytesMut::from(piece).capacity() < SMALL);
    }
}

#[test]
fn a_tunnel_gets_the_socket_and_what_came_behind_the_101() {
    let mut pair = Pair::new(PIPE);
    pair.ask(get());
    pair.say(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\nearly");
    assert_eq!(answer(pair.poll_answer()).status(), StatusCode::SWITCHING_PROTOCOLS);
    assert!(!pair.conn.is_idle());
    let (_, early) = pair.conn.into_socket().unwrap();
    assert_eq!(early, "early");
    let mut pair = Pair::new(PIPE);
    pair.ask(get());
    assert!(pair.conn.into_socket().is_none(), "an answer is still due");
}

#[test]
fn no_answer_makes_it_panic_or_wait_for_what_cannot_come() {
    let seed = std::process::id().into();
    let mut rng = Rng::new(seed);
    let words: [&[u8]; 12] = [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"content-length: 4\r\n",
        b"transfer-encoding: chunked\r\n",
        b"connection: close\r\n",
        b"\r\n",
        b"4\r\n",
        b"data",
        b"0\r\n",
        b"\n",
        b": \0",
        b"x-sum: 7\r\n",
    ];
    for _ in 0..5_000 {
        let mut pair = Pair::new(PIPE);
        pair.ask(get());
        let mut said = Vec::new();
        for _ in 0..rng.below(9) {
            let word = words[rng.below(words.len() as u64) as usize];
            said.extend_from_slice(word);
            pair.say(word);
            let _ = pair.conn.reading_body() && pair.body().3.is_ready();
            if !pair.conn.reading_body() && pair.conn.is_waiting() {
                let _ = pair.poll_answer();
            }
        }
        pair.close();
        if pair.conn.is_waiting() {
            let polled = pair.poll_answer();
            assert!(polled.is_ready(), "seed {seed}: {:?}", String::from_utf8_lossy(&said));
        }
        if pair.conn.reading_body() {
            assert!(pair.body().3.is_ready(), "seed {seed}: {:?}", String::from_utf8_lossy(&said));
        }
    }
}

impl<S> Conn<S> {
    const fn reading_body(&self) -> bool {
        matches!(self.reading, Reading::Length(_) | Reading::Chunked(_) | Reading::Close)
    }

    const fn is_waiting(&self) -> bool {
        matches!(self.reading, Reading::Head)
    }
}

struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test]
async fn an_idle_connection_keeps_no_task_and_no_body_in_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (socket, accepted) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let (mut conn, mut member, scratch) =
        (Conn::new(socket.unwrap()), accepted.unwrap().0, Scratch::default());
    let task = Arc::new(Task);
    for mut body in [get(), post(&[b'x'; 60_000])] {
        let length = body.body().size_hint().exact().unwrap();
        let waker = Waker::from(task.clone());
        let begun = conn.begin(&mut Outgoing::of(&mut body), &mut Context::from_waker(&waker), &scratch);
        assert_eq!(begun, Ok(()));
        let mut text = Vec::new();
        while (text.len() as u64) < length || !text.windows(4).any(|end| end == b"\r\n\r\n") {
            assert!(conn.poll_answer(&mut Context::from_waker(&waker), &scratch).is_pending());
            let _ = member.read_buf(&mut text).await.unwrap();
        }
        assert_eq!(Arc::strong_count(&task), 3, "it is to be woken");
        member.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
        while conn.poll_answer(&mut Context::from_waker(&waker), &scratch).is_pending() {
            tokio::task::yield_now().await;
        }
        assert!(conn.poll_frame(&mut Context::from_waker(&waker), &scratch).is_ready());
        drop(waker);
        assert_eq!(Arc::strong_count(&task), 1);
        assert!(conn.is_idle() && conn.is_quiet());
        assert!(conn.sending.is_bare() && conn.early.is_empty() && conn.partial.capacity() == 0);
        assert!(scratch.is_free());
    }
    drop(member);
    while conn.is_quiet() {
        tokio::task::yield_now().await;
    }
}
