//! Windows of HTTP/2 both ways, and bodies that nobody reads.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use overspill::ledger::process::Traffic;

use crate::support::backend::{Scripted, toy};
use crate::support::h2::{
    CONTINUATION, Came, DATA, END, END_HEADERS, Fate, GOAWAY, HEADERS, PING, RST_STREAM, Raw, SETTINGS,
    WINDOW_UPDATE, connect, frame, get, list, run, try_status, whole,
};
use crate::support::lb::Lb;
use crate::support::setup::scripted;
use crate::support::wait_until;

/// What a stream and a connection may send before anything is said of it.
const FIRST_WINDOW: usize = 65_535;
pub(crate) const PADDED: u8 = 8;
/// DATA with as much padding as there can be carries so much.
const PIECE: usize = 16_000;

/// `/size/N`: so many bytes. `/chunked/N`: the same without a length, and a trailer. `/headers/N`: so many of 1000
/// bytes. `/echo`: what was sent. `/early`: an answer before the body. `/hold`: none.
pub(crate) fn origin() -> Scripted {
    Scripted::start(|conn| {
        while let Some(head) = conn.head() {
            let target = head.line().split(' ').nth(1).unwrap().to_owned();
            let mut parts = target.split('/').skip(1);
            let (what, number) = (parts.next().unwrap(), parts.next().map_or(0, |n| n.parse().unwrap()));
            let takes_body = !matches!(what, "early" | "hold");
            let Some(body) = (if takes_body { conn.body(&head) } else { Some(Vec::new()) }) else { return };
            let is_whole = match what {
                "size" => {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {number}\r\n\r\n");
                    conn.write([head.as_bytes(), pattern(number)].concat())
                }
                "chunked" => {
                    conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                        && conn.write(format!("{number:x}\r\n"))
                        && conn.write(pattern(number))
                        && conn.write("\r\n0\r\nx-sum: 42\r\n\r\n")
                }
                "headers" => {
                    let line = |n| format!("x-{n}: {}\r\n", "v".repeat(1000));
                    let lines: String = (0..number).map(line).collect();
                    conn.write(format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\nok"))
                }
                "echo" => {
                    conn.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()))
                        && conn.write(body)
                }
                _ => {
                    let _ = what == "early" && conn.ok("early");
                    while conn.raw().is_some() {}
                    return;
                }
            };
            if !is_whole {
                return;
            }
        }
    })
}

/// Made once: whoever answers with it does so at once.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| (0..5_000_000_u32).map(|n| (n % 251) as u8).collect());

pub(crate) fn pattern(length: usize) -> &'static [u8] {
    &PATTERN[..length]
}

pub(crate) fn post(path: &str) -> Vec<u8> {
    list(&[(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", path)])
}

pub(crate) fn more(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

fn first_window(bytes: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&[0, 4], &bytes.to_be_bytes()[..]].concat())
}

/// A payload of DATA with this much padding, to be sent with [`PADDED`].
pub(crate) fn padded(data: &[u8], padding: u8) -> Vec<u8> {
    [&[padding], data, &vec![0; padding.into()]].concat()
}

/// Chance from a seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }
}

/// What has come of each stream.
#[derive(Default)]
pub(crate) struct Arrived {
    pub(crate) heads: BTreeMap<u32, Vec<u8>>,
    bodies: BTreeMap<u32, Vec<u8>>,
    pub(crate) ended: Vec<u32>,
    bytes: usize,
}

impl Arrived {
    #[track_caller]
    fn take(&mut self, came: Came) {
        assert!(!self.ended.contains(&came.stream), "a frame behind the end of its stream: {came:?}");
        assert!(!matches!(came.kind, GOAWAY | RST_STREAM), "{came:?}");
        if matches!(came.kind, HEADERS | DATA) && came.flags & END != 0 {
            self.ended.push(came.stream);
        }
        match came.kind {
            HEADERS => drop(self.heads.insert(came.stream, came.payload)),
            DATA => {
                self.bytes += came.payload.len();
                self.bodies.entry(came.stream).or_default().extend(came.payload);
            }
            _ => {}
        }
    }

    #[track_caller]
    pub(crate) fn until(&mut self, raw: &mut Raw, is_there: impl Fn(&Self) -> bool) {
        while !is_there(self) {
            self.take(raw.frame().expect("the connection lives on"));
        }
    }

    pub(crate) fn of(&self, stream: u32) -> &[u8] {
        self.bodies.get(&stream).map_or(&[], |body| body)
    }
}

#[test]
fn large_answers_take_turns_on_one_window_and_a_small_one_overtakes_them() {
    const LENGTH: usize = 3_000_000;
    const GIVEN: u32 = 32_768;
    let (backend, health) = (origin(), toy("health"));
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    let mut raw = Raw::to(lb.address());
    raw.send(first_window(0x7fff_ffff));
    for stream in [1, 3, 5] {
        raw.get(stream, "/size/3000000");
    }
    let (mut arrived, mut window) = (Arrived::default(), FIRST_WINDOW);
    arrived.until(&mut raw, |arrived| arrived.bytes == window);
    let mut turn = |arrived: &mut Arrived| {
        raw.send(more(0, GIVEN));
        window += GIVEN as usize;
        arrived.until(&mut raw, |arrived| arrived.bytes == window);
    };
    while arrived.bodies.len() < 3 {
        turn(&mut arrived);
    }
    let before = [1, 3, 5].map(|stream| arrived.of(stream).len());
    (0..30).for_each(|_| turn(&mut arrived));
    for (stream, before) in [1, 3, 5].into_iter().zip(before) {
        let came = arrived.of(stream).len() - before;
        assert!(came > 30 * GIVEN as usize / 6, "{came} bytes of {stream} in thirty turns of three");
    }
    raw.get(7, "/size/10");
    arrived.until(&mut raw, |arrived| arrived.heads.contains_key(&7));
    for _ in 0..10 {
        raw.send(more(0, 16_384));
        window += 16_384;
        arrived.until(&mut raw, |arrived| arrived.bytes == window || arrived.ended.contains(&7));
    }
    assert_eq!(arrived.of(7), pattern(10), "behind ten frames of the others at most");
    raw.send(more(0, 1 << 30));
    arrived.until(&mut raw, |arrived| arrived.ended.len() == 4);
    for stream in [1, 3, 5] {
        assert!(arrived.of(stream) == pattern(LENGTH), "what came on {stream} differs");
    }
    wait_until("nothing is under way", || lb.in_flight() == 0);
}

#[test]
fn no_byte_goes_beyond_a_window_that_settings_shrink_below_zero() {
    const LENGTH: usize = 600_000;
    let (backend, health) = (origin(), toy("health"));
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    for seed in [0x2bad, 0x5eed, 0xcafe] {
        println!("seed {seed:#x}");
        let mut dice = Dice(seed);
        let mut raw = Raw::to(lb.address());
        raw.send(more(0, 1 << 30)).get(1, &format!("/size/{LENGTH}"));
        let (mut window, mut first) = (FIRST_WINDOW as i64, FIRST_WINDOW as i64);
        let (mut arrived, mut said, mut lowest) = (Arrived::default(), 0, 0);
        let mut take = |raw: &mut Raw, window: &mut i64| {
            let came = raw.frame().expect("the connection lives on");
            if came.kind == DATA && !came.payload.is_empty() {
                *window -= i64::try_from(came.payload.len()).unwrap();
                assert!(*window >= 0, "{} bytes beyond the window", -*window);
            }
            let is_ack = came.kind == SETTINGS && came.flags == END;
            arrived.take(came);
            (is_ack, !arrived.ended.is_empty())
        };
        let mut has_ended = false;
        while !take(&mut raw, &mut window).0 {}
        while !has_ended {
            if said < 60 && dice.below(2) == 0 {
                let next = 1 + dice.below(60_000) as u32;
                raw.send(first_window(next));
                said += 1;
                // What comes before the answer to it was sent before it was known.
                loop {
                    let (is_ack, is_end) = take(&mut raw, &mut window);
                    has_ended |= is_end;
                    if is_ack {
                        break;
                    }
                }
                window += i64::from(next) - first;
                first = next.into();
                lowest = lowest.min(window);
            } else {
                let bytes = 1 + dice.below(30_000) as u32;
                raw.send(more(1, bytes));
                window += i64::from(bytes);
            }
            // All that is allowed comes, but not always does the client wait for it.
            while !has_ended && window > 0 && dice.below(10) > 0 {
                has_ended = take(&mut raw, &mut window).1;
            }
        }
        assert!(lowest < 0, "never below zero");
        assert!(arrived.of(1) == pattern(LENGTH), "what came differs");
    }
}

/// A client that sends bodies and counts what its connection's window allows.
struct Uploader {
    raw: Raw,
    window: i64,
    /// By stream: the status of its answer, or the code of its reset.
    fates: BTreeMap<u32, Fate>,
    downloaded: usize,
}

impl Uploader {
    fn to(lb: &Lb) -> Self {
        let raw = Raw::to(lb.address());
        let mut uploader = Self { raw, window: FIRST_WINDOW as i64, fates: BTreeMap::new(), downloaded: 0 };
        uploader.look();
        assert_eq!(uploader.window, 1 << 20);
        uploader
    }

    #[track_caller]
    fn data(&mut self, stream: u32, flags: u8, payload: &[u8]) {
        self.window -= i64::try_from(payload.len()).unwrap();
        assert!(self.window >= 0, "the connection's window is used up");
        self.raw.send(frame(DATA, flags, stream, payload));
    }

    /// Takes what has come until now.
    #[track_caller]
    fn look(&mut self) {
        self.raw.send(frame(PING, 0, 0, b"look now"));
        loop {
            let came = self.raw.frame().expect("the connection lives on");
            let number = |from| u32::from_be_bytes(came.payload[from..from + 4].try_into().unwrap());
            match came.kind {
                PING => return,
                GOAWAY => panic!("{came:?}, {}", String::from_utf8_lossy(&came.payload)),
                WINDOW_UPDATE if came.stream == 0 => self.window += i64::from(number(0)),
                HEADERS => {
                    let status = try_status(&came.payload).unwrap();
                    self.fates.insert(came.stream, Fate::Answered(status));
                }
                RST_STREAM => drop(self.fates.entry(came.stream).or_insert(Fate::Reset(number(0)))),
                DATA => self.downloaded += came.payload.len(),
                _ => {}
            }
        }
    }

    #[track_caller]
    fn wait(&mut self, name: &str, is_so: impl Fn(&Self) -> bool) {
        wait_until(name, || {
            self.look();
            is_so(self)
        });
    }

    /// More than half of the connection's window is there again.
    #[track_caller]
    fn wait_for_window(&mut self) {
        self.wait("the window comes back", |uploader| uploader.window > 1 << 19);
    }
}

#[test]
fn bodies_that_nobody_reads_and_padding_give_the_connections_window_back() {
    const STREAMS: u32 = 120;
    let (backend, health) = (origin(), toy("health"));
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    let mut up = Uploader::to(&lb);
    let kinds = [("/a/../b", 302), ("/early", 200), ("/echo", 200), ("/size/5", 200), ("", 400)];
    let long = "x".repeat(50_000);
    for n in 0..STREAMS {
        let (stream, (path, status)) = (2 * n + 1, kinds[n as usize % kinds.len()]);
        match path {
            // A method that is not served, and a head that is too long.
            "" if n % 2 == 0 => {
                let trace = [(":method", "TRACE"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
                up.raw.send(frame(HEADERS, END_HEADERS, stream, &list(&trace)));
            }
            "" => {
                let list = [post("/long"), list(&[("x-a", &long), ("x-b", &long)])].concat();
                let pieces: Vec<_> = list.chunks(16_384).collect();
                for (at, piece) in pieces.iter().enumerate() {
                    let flags = if at + 1 == pieces.len() { END_HEADERS } else { 0 };
                    up.raw.send(frame(if at == 0 { HEADERS } else { CONTINUATION }, flags, stream, piece));
                }
            }
            path => drop(up.raw.send(frame(HEADERS, END_HEADERS, stream, &post(path)))),
        }
        let ends = path == "/echo" || path == "/size/5" || path != "/early" && n % 3 == 0;
        for piece in 0..8 {
            let end = if ends && piece == 7 { END } else { 0 };
            up.data(stream, PADDED | end, &padded(&[b'x'; PIECE], 255));
        }
        let status = if path.is_empty() && n % 2 == 1 { 431 } else { status };
        up.wait("it is answered", |up| up.fates.contains_key(&stream));
        assert_eq!(up.fates[&stream], Fate::Answered(status), "{stream} {path}");
        up.raw.send(more(0, 1 << 20)).send(more(stream, 1 << 20));
        up.wait_for_window();
        // What comes late is no fault, nor does it cost the connection anything.
        if !ends {
            up.data(stream, PADDED, &padded(b"late", 200));
            up.raw.send(more(stream, 5));
            up.data(stream, END, b"later");
        }
    }
    wait_until("nothing is under way", || lb.in_flight() == 0);
    up.raw.get(1001, "/size/5");
    up.wait("it is answered", |up| up.fates.contains_key(&1001));
    wait_until("nothing is held", || lb.handle.process().buffers.held() == 0);
}

#[test]
fn many_resets_within_the_allowance_leave_nothing_behind() {
    let (backend, health) = (origin(), toy("health"));
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    let mut up = Uploader::to(&lb);
    let cancel = 8_u32.to_be_bytes();
    for n in 0..80 {
        let (sent, asked) = (4 * n + 1, 4 * n + 3);
        up.raw.send(frame(HEADERS, END_HEADERS, sent, &post("/hold")));
        for _ in 0..4 {
            up.data(sent, PADDED, &padded(&[b'x'; PIECE], 100));
        }
        let before = up.downloaded;
        up.raw.get(asked, "/size/1000000");
        up.wait("some has come", |up| up.downloaded > before);
        up.raw.send(frame(RST_STREAM, 0, sent, &cancel)).send(frame(RST_STREAM, 0, asked, &cancel));
        // No more than the first window of each is on its way.
        up.look();
        let came = u32::try_from(up.downloaded - before).unwrap();
        up.raw.send(more(0, came));
        up.wait_for_window();
    }
    wait_until("nothing is under way", || lb.in_flight() == 0);
    wait_until("nothing is held", || lb.handle.process().buffers.held() == 0);
    assert_eq!(lb.handle.process().sum(Traffic::Http2OverResets), 0);
    up.raw.send(more(0, 1 << 20)).get(999, "/size/5");
    up.wait("it is answered", |up| up.fates.contains_key(&999));
    assert_eq!(up.fates[&999], Fate::Answered(200));
}

#[test]
fn trailers_come_behind_a_body_that_is_larger_than_the_windows() {
    let (backend, health) = (origin(), toy("health"));
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    run(async {
        let send = connect(lb.address()).await;
        let asked = (0..5).map(|_| {
            let mut send = send.clone();
            tokio::spawn(async move {
                let (answer, _) = send.send_request(get("/chunked/3000000"), true).unwrap();
                whole(answer.await.unwrap()).await.unwrap()
            })
        });
        for asked in asked.collect::<Vec<_>>() {
            let answer = asked.await.unwrap();
            assert!(answer.body == pattern(3_000_000), "what came differs");
            assert_eq!(answer.trailers.unwrap()["x-sum"], "42");
        }
    });
}

#[test]
fn the_end_of_an_answer_needs_no_window() {
    let (backend, health) = (origin(), toy("health"));
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    for path in ["/size/65535", "/chunked/65535"] {
        let mut raw = Raw::to(lb.address());
        raw.get(1, path);
        let mut arrived = Arrived::default();
        arrived.until(&mut raw, |arrived| arrived.ended == [1]);
        assert!(arrived.of(1) == pattern(FIRST_WINDOW), "what came differs");
    }
}

#[test]
fn a_client_that_reads_late_is_listened_to() {
    let (backend, health) = (origin(), toy("health"));
    let lb = Lb::with_workers(&scripted(&backend, &health).text(), 1);
    let mut raw = Raw::to(lb.address());
    socket2::SockRef::from(&raw.0.writer()).set_recv_buffer_size(64 << 10).unwrap();
    raw.send(first_window(0x7fff_ffff)).send(more(0, 1 << 30));
    for n in 0..8 {
        raw.get(2 * n + 1, "/size/5000000");
    }
    // More than sockets hold: what is to be written waits.
    let buffers = &lb.handle.process().buffers;
    let (mut before, mut looks) = (0, 0);
    wait_until("nothing moves", || {
        let held = buffers.held();
        looks = if held > 0 && held == before { looks + 1 } else { 0 };
        before = held;
        looks > 100
    });
    assert_eq!(lb.in_flight(), 8);
    for stream in [1, 3, 5] {
        raw.send(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    wait_until("the resets are heard", || lb.in_flight() == 5);
    raw.get(17, "/hold");
    wait_until("the request is heard", || lb.in_flight() == 6);
}
