//! HTTP/2 in any pieces: long lists, short frames, tunnels, requests cut anywhere.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use http::Request;
use overspill::model::detail::StatusDetail;

use crate::http2_windows::{Arrived, Dice, PADDED, more, origin, padded, pattern, post};
use crate::support::backend::{Scripted, toy};
use crate::support::h2::{
    self, CONTINUATION, DATA, END, END_HEADERS, HEADERS, Raw, ask, connect, frame, get, good, list, run,
    send_all, try_status,
};
use crate::support::lb::Lb;
use crate::support::setup::scripted;
use crate::support::wait_until;

#[test]
fn a_long_list_of_headers_comes_whole_in_several_frames() {
    let (backend, health) = (origin(), toy("health"));
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        for number in [15, 16, 17, 33, 60] {
            let answer = ask(&mut send, get(&format!("/headers/{number}"))).await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
            for n in 0..number {
                assert_eq!(answer.header(&format!("x-{n}")).map(str::len), Some(1000), "{n} of {number}");
            }
        }
    });
    let mut raw = Raw::to(lb.address());
    raw.get(1, "/headers/40");
    let first = raw.until(HEADERS).unwrap();
    assert_eq!((first.flags, first.payload.len()), (0, 16_384));
    let (second, third) = (raw.frame().unwrap(), raw.frame().unwrap());
    assert_eq!((second.kind, second.flags), (CONTINUATION, 0));
    assert_eq!((third.kind, third.flags), (CONTINUATION, END_HEADERS));
}

#[test]
fn a_body_in_thousands_of_frames_of_one_byte_is_whole() {
    const LENGTH: usize = 10_000;
    let (backend, health) = (origin(), toy("health"));
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    let body = pattern(LENGTH);
    let length = list(&[("content-length", "10000")]);
    for more in [&[][..], &length] {
        let mut raw = Raw::to(lb.address());
        let mut all = frame(HEADERS, END_HEADERS, 1, &[&post("/echo"), more].concat());
        for (n, byte) in body.iter().enumerate() {
            let end = if n + 1 == LENGTH { END } else { 0 };
            all.extend(match n % 3 {
                0 => frame(DATA, end | PADDED, 1, &padded(&[*byte], 3)),
                _ => frame(DATA, end, 1, &[*byte]),
            });
        }
        raw.send(all);
        let mut arrived = Arrived::default();
        arrived.until(&mut raw, |arrived| arrived.ended == [1]);
        assert!(arrived.of(1) == body, "what came back differs");
    }
}

/// Accepts a WebSocket. `/echo` sends back what comes; `/end` takes as much as it then sends, and ends.
fn websocket(size: usize) -> Scripted {
    Scripted::start(move |conn| {
        let Some(seen) = conn.request() else { return };
        let mut accept = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
        accept.update(seen.header("sec-websocket-key").unwrap().as_bytes());
        accept.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let accept = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, accept.finish());
        conn.write(format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        ));
        let is_echo = seen.line().contains("/echo");
        let mut taken = 0;
        while (is_echo || taken < size)
            && let Some(bytes) = conn.raw()
        {
            taken += bytes.len();
            let _ = is_echo && conn.write(bytes);
        }
        let _: bool = !is_echo && conn.write(pattern(size));
    })
}

#[test]
fn a_websocket_carries_much_both_ways_and_ends_in_good_order_from_either_side() {
    const SIZE: usize = 4 << 20;
    let (backend, health) = (websocket(SIZE), toy("health"));
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    run(async {
        let mut send = connect(lb.address()).await;
        for (path, ended) in [("/echo", 1), ("/end", 2), ("/echo", 3)] {
            let request = Request::connect(format!("http://test{path}"))
                .extension(::h2::ext::Protocol::from_static("websocket"))
                .header("sec-websocket-version", "13");
            let (answer, mut up) = send.send_request(request.body(()).unwrap(), false).unwrap();
            let (head, mut down) = answer.await.unwrap().into_parts();
            assert_eq!(head.status, 200);
            let mut came = Vec::new();
            let reading = async {
                while came.len() < SIZE {
                    let data = down.data().await.expect("not ended").unwrap();
                    down.flow_control().release_capacity(data.len()).unwrap();
                    came.extend_from_slice(&data);
                }
            };
            tokio::join!(send_all(&mut up, Bytes::from_static(pattern(SIZE)), false), reading);
            assert!(came == pattern(SIZE), "{path}: what came differs");
            if path == "/end" {
                assert!(down.data().await.is_none_or(|data| data.unwrap().is_empty()), "ended by the member");
            }
            up.send_data(Bytes::new(), true).unwrap();
            while let Some(data) = down.data().await {
                assert!(data.unwrap().is_empty());
            }
            lb.wait_ended(StatusDetail::WebsocketClosed, ended);
        }
    });
    wait_until("nothing is under way", || lb.in_flight() == 0);
}

/// The frames of a request, in their order: its list of headers, which nothing may come between, then its body.
fn request(dice: &mut Dice, stream: u32, body: &[u8]) -> VecDeque<Vec<u8>> {
    let list = if body.is_empty() { good("/echo") } else { post("/echo") };
    let list = [list, h2::literal(b"x-filler", &vec![b'f'; dice.below(300)])].concat();
    let mut cuts: Vec<_> = (0..dice.below(6)).map(|_| dice.below(list.len() + 1)).collect();
    cuts.extend([0, list.len()]);
    cuts.sort_unstable();
    let mut headers = Vec::new();
    for (n, cut) in cuts.windows(2).enumerate() {
        let end = if n + 2 == cuts.len() { END_HEADERS } else { 0 };
        let ends = if n == 0 && body.is_empty() { END } else { 0 };
        let kind = if n == 0 { HEADERS } else { CONTINUATION };
        headers.extend(frame(kind, end | ends, stream, &list[cut[0]..cut[1]]));
    }
    let mut frames = VecDeque::from([headers]);
    let mut rest = body;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(1 + dice.below(rest.len()));
        let end = if later.is_empty() { END } else { 0 };
        frames.push_back(match dice.below(3) {
            0 => frame(DATA, end | PADDED, stream, &padded(piece, u8::try_from(dice.below(256)).unwrap())),
            _ => frame(DATA, end, stream, piece),
        });
        rest = later;
    }
    frames
}

#[test]
fn a_thousand_requests_in_any_pieces_are_all_answered() {
    const AT_ONCE: u32 = 50;
    let (backend, health) = (origin(), toy("health"));
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    for seed in [0x1dea, 0xd1ce] {
        println!("seed {seed:#x}");
        let (mut dice, mut arrived) = (Dice(seed), Arrived::default());
        let mut raw = Raw::to(lb.address());
        for batch in 0..20 {
            let (mut open, mut bodies, mut bytes) = (Vec::new(), BTreeMap::new(), Vec::new());
            let mut next = 0;
            while next < AT_ONCE || !open.is_empty() {
                if next < AT_ONCE && dice.below(2) == 0 {
                    let stream = 2 * (batch * AT_ONCE + next) + 1;
                    let body: Vec<u8> = (0..dice.below(600)).map(|_| dice.below(256) as u8).collect();
                    open.push(request(&mut dice, stream, &body));
                    bytes.extend(open.last_mut().unwrap().pop_front().unwrap());
                    bodies.insert(stream, body);
                    next += 1;
                } else if !open.is_empty() {
                    let which = dice.below(open.len());
                    match open[which].pop_front() {
                        Some(frame) => bytes.extend(frame),
                        None => drop(open.swap_remove(which)),
                    }
                }
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let most = [20, 4000][dice.below(2)];
                let length = 1 + dice.below(most);
                let (piece, later) = rest.split_at(length.min(rest.len()));
                raw.send(piece);
                rest = later;
            }
            arrived.until(&mut raw, |arrived| arrived.ended.len() == ((batch + 1) * AT_ONCE) as usize);
            raw.send(more(0, u32::try_from(bytes.len()).unwrap()));
            for (stream, body) in bodies {
                assert_eq!(try_status(&arrived.heads[&stream]), Some(200));
                assert_eq!(arrived.of(stream), body, "{stream}");
            }
        }
    }
    wait_until("nothing is under way", || lb.in_flight() == 0);
}
