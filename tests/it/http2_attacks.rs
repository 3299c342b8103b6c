//! Attacks on HTTP/2, each with what must happen, while an innocent client on another connection is served.

use overspill::ledger::process::Traffic;
use overspill::model::detail::StatusDetail;

use crate::support::backend::{Scripted, Valve, toy};
use crate::support::client::Client;
use crate::support::h2::{
    CONTINUATION, DATA, END, END_HEADERS, Fate, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, Raw, SETTINGS,
    WINDOW_UPDATE, frame, good, list, literal,
};
use crate::support::lb::Lb;
use crate::support::setup::scripted;
use crate::support::wait_until;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;
const CALM: u32 = 11;

/// A balancer with one worker, so that the innocent client shares it with the attacker.
struct Field {
    lb: Lb,
    backend: Scripted,
    innocent: Client,
    served: usize,
    _health: overspill::cli::toy::ToyBackend,
}

impl Field {
    fn new() -> Self {
        Self::with("accessLog: {path: none}")
    }

    /// With these lines of `proxy`.
    fn with(proxy: &str) -> Self {
        let (backend, health) = (Scripted::good(), toy("health"));
        let lb = Lb::with_workers(&scripted(&backend, &health).proxy(proxy).text(), 1);
        let innocent = lb.client();
        Self { lb, backend, innocent, served: 0, _health: health }
    }

    fn attacker(&self) -> Raw {
        Raw::to(self.lb.address())
    }

    /// The innocent client is served on the connection that it has had all along.
    #[track_caller]
    fn serves(&mut self) {
        assert_eq!(self.innocent.get("/innocent").status, 200);
        self.served += 1;
    }

    /// This came to the member in nobody's request but the innocent's.
    #[track_caller]
    fn unseen(&self) {
        assert_eq!(self.backend.requests(), self.served, "{:?}", self.backend.seen());
    }

    /// Connections that a limit has ended.
    fn limits(&self) -> u64 {
        [
            Traffic::Http2OverResets,
            Traffic::Http2OverPings,
            Traffic::Http2OverSettings,
            Traffic::Http2OverControl,
            Traffic::Http2OverContinuations,
            Traffic::Http2OverFaults,
        ]
        .map(|what| self.count(what))
        .iter()
        .sum()
    }

    fn count(&self, what: Traffic) -> u64 {
        self.lb.handle.process().sum(what)
    }
}

/// Sends one list of headers, whole, and tells its fate.
#[track_caller]
fn fate_of(field: &mut Field, list: &[u8]) -> Fate {
    let mut attacker = field.attacker();
    attacker.send(frame(HEADERS, END | END_HEADERS, 1, list));
    let fate = attacker.fate(1);
    field.serves();
    field.unseen();
    fate
}

/// Sends frames and tells with which code the connection was ended.
#[track_caller]
fn end_of(field: &mut Field, bytes: impl AsRef<[u8]>) -> Option<u32> {
    let mut attacker = field.attacker();
    attacker.send(bytes);
    let code = attacker.ended();
    field.serves();
    code
}

fn with(more: &[(&str, &str)]) -> Vec<u8> {
    [good("/attack"), list(more)].concat()
}

#[test]
fn malformed_heads_are_refused_and_no_member_sees_them() {
    let mut field = Field::new();
    let reset = Fate::Reset(PROTOCOL_ERROR);
    let lists: &[(&str, Vec<u8>)] = &[
        ("connection", with(&[("connection", "keep-alive")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("keep-alive", with(&[("keep-alive", "5")])),
        ("proxy-connection", with(&[("proxy-connection", "close")])),
        ("te", with(&[("te", "gzip")])),
        ("upper case", with(&[("X-Upper", "a")])),
        ("late pseudo-header", with(&[(":path", "/other")])),
        ("unknown pseudo-header", [list(&[(":nonsense", "a")]), good("/")].concat()),
        ("pseudo-header of an answer", [list(&[(":status", "200")]), good("/")].concat()),
        ("two paths", [list(&[(":path", "/one")]), good("/two")].concat()),
        ("two methods", [list(&[(":method", "POST")]), good("/")].concat()),
        ("no method", list(&[(":scheme", "http"), (":authority", "a"), (":path", "/")])),
        ("no path", list(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")])),
        ("no scheme", list(&[(":method", "GET"), (":authority", "a"), (":path", "/")])),
        ("empty path", list(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "")])),
        ("line feed in a name", [good("/"), literal(b"x\nhost", b"b")].concat()),
        ("colon in a name", [good("/"), literal(b"x:y", b"b")].concat()),
        ("space in a name", [good("/"), literal(b"x y", b"b")].concat()),
        ("space in a path", good("/a HTTP/1.1")),
        ("line end in a path", good("/a HTTP/1.1\r\nx: y\r\n\r\nGET /b")),
        ("nul in a path", good("/a\0b")),
        (
            "space in a method",
            list(&[(":method", "GET /x"), (":scheme", "http"), (":authority", "a"), (":path", "/")]),
        ),
        ("two lengths", with(&[("content-length", "1"), ("content-length", "2")])),
        ("length that is none", with(&[("content-length", "-1")])),
        ("length without a body", with(&[("content-length", "5")])),
    ];
    for (name, list) in lists {
        let fate = fate_of(&mut field, list);
        // What cannot even be unpacked ends the connection.
        let ends = fate == Fate::GoAway(PROTOCOL_ERROR);
        assert!(fate == reset || fate == Fate::Answered(400) || ends, "{name}: {fate:?}");
    }
    let refused = field.count(Traffic::Http2Refused);
    assert!(refused > 10, "{refused} were refused below the requests");
}

#[test]
fn what_could_inject_a_header_into_http_1_never_gets_there() {
    let mut field = Field::new();
    for value in [&b"a\r\nx-injected: b"[..], b"a\nb", b"a\rb", b"a\0b", b" a", b"a ", b"\ta"] {
        let fate = fate_of(&mut field, &[good("/"), literal(b"x", value)].concat());
        let is_refused = matches!(
            fate,
            Fate::Answered(400) | Fate::Reset(PROTOCOL_ERROR) | Fate::GoAway(_) | Fate::Closed
        );
        assert!(is_refused, "{value:?}: {fate:?}");
    }
}

#[test]
fn two_hosts_or_none_are_refused_in_googles_words() {
    let mut field = Field::new();
    let bare = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    let lists = [
        with(&[("host", "other")]),
        with(&[("host", "test"), ("host", "test")]),
        list(&bare),
        [list(&bare), list(&[("host", "a b")])].concat(),
        list(&[(":method", "GET"), (":scheme", "http"), (":authority", "u:p@test"), (":path", "/")]),
    ];
    for list in lists {
        let fate = fate_of(&mut field, &list);
        assert!(matches!(fate, Fate::Answered(400) | Fate::Reset(PROTOCOL_ERROR)), "{fate:?}");
    }
    let page = field.lb.metrics();
    assert!(page.sum("overspill_requests_ended_total", &["invalid_http2_client_header_format"]) >= 0.0);
}

#[test]
fn a_path_that_is_none_is_refused() {
    let mut field = Field::new();
    for path in ["*", "attack", "http://other/", "//\\..\u{7f}"] {
        let fate = fate_of(&mut field, &good(path));
        assert!(matches!(fate, Fate::Answered(400) | Fate::Reset(PROTOCOL_ERROR)), "{path}: {fate:?}");
    }
}

#[test]
fn a_body_longer_or_shorter_than_its_length_never_becomes_a_second_request() {
    let post = |length: &str| {
        let head = [(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/post")];
        frame(HEADERS, END_HEADERS, 1, &[list(&head), list(&[("content-length", length)])].concat())
    };
    for (length, body) in [("5", "hello GET /second HTTP/1.1\r\nhost: a\r\n\r\n"), ("100", "short")] {
        let mut field = Field::new();
        let mut attacker = field.attacker();
        attacker.send(post(length)).send(frame(DATA, END, 1, body.as_bytes()));
        let fate = attacker.fate(1);
        assert!(matches!(fate, Fate::Reset(PROTOCOL_ERROR) | Fate::Answered(400)), "{length}: {fate:?}");
        field.serves();
        field.unseen();
    }
}

#[test]
fn broken_framing_ends_the_connection_with_its_code() {
    let mut field = Field::new();
    let cases: &[(&str, Vec<u8>, &[u32])] = &[
        ("data on stream 0", frame(DATA, 0, 0, b"x"), &[PROTOCOL_ERROR]),
        ("headers on stream 0", frame(HEADERS, END | END_HEADERS, 0, &good("/")), &[PROTOCOL_ERROR]),
        ("an even stream", frame(HEADERS, END | END_HEADERS, 2, &good("/")), &[PROTOCOL_ERROR]),
        ("data on an idle stream", frame(DATA, 0, 9, b"x"), &[PROTOCOL_ERROR, STREAM_CLOSED]),
        ("reset of an idle stream", frame(RST_STREAM, 0, 9, &[0; 4]), &[PROTOCOL_ERROR]),
        ("a reset of 3 bytes", frame(RST_STREAM, 0, 1, &[0; 3]), &[FRAME_SIZE_ERROR]),
        ("a ping of 7 bytes", frame(PING, 0, 0, &[0; 7]), &[FRAME_SIZE_ERROR]),
        ("a ping on a stream", frame(PING, 0, 1, &[0; 8]), &[PROTOCOL_ERROR]),
        ("settings of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5]), &[FRAME_SIZE_ERROR]),
        ("settings on a stream", frame(SETTINGS, 0, 1, b""), &[PROTOCOL_ERROR]),
        (
            "a settled window over 2^31",
            frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
            &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR],
        ),
        ("a frame size of 0", frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 0]), &[PROTOCOL_ERROR]),
        ("a window that grows by 0", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), &[PROTOCOL_ERROR]),
        (
            "a window over 2^31",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2),
            &[FLOW_CONTROL_ERROR],
        ),
        ("a frame over 16 KiB", frame(DATA, 0, 1, &[0; 16_385]), &[FRAME_SIZE_ERROR]),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, b""), &[PROTOCOL_ERROR]),
        (
            "a frame between headers and continuation",
            [frame(HEADERS, END, 1, &good("/")), frame(PING, 0, 0, &[0; 8])].concat(),
            &[PROTOCOL_ERROR],
        ),
        (
            "a push from a client",
            [frame(HEADERS, END_HEADERS, 1, &good("/")), frame(5, END_HEADERS, 1, &[0, 0, 0, 2])].concat(),
            &[PROTOCOL_ERROR],
        ),
        ("padding longer than the frame", frame(DATA, 8, 1, &[200, 0]), &[PROTOCOL_ERROR]),
        (
            "an index that nobody set",
            frame(HEADERS, END | END_HEADERS, 1, &[0xff, 0x80, 0x01]),
            &[COMPRESSION_ERROR, PROTOCOL_ERROR],
        ),
        (
            "a table over its limit",
            frame(HEADERS, END | END_HEADERS, 1, &[0x3f, 0xff, 0xff, 0x03]),
            &[COMPRESSION_ERROR, PROTOCOL_ERROR],
        ),
    ];
    for (name, bytes, codes) in cases {
        let code = end_of(&mut field, bytes);
        // h2 does not tell a wrong size from other wrongs everywhere.
        let is_right = |code| codes.contains(&code) || codes == &[FRAME_SIZE_ERROR] && code == PROTOCOL_ERROR;
        assert!(code.is_some_and(is_right), "{name}: {code:?}");
    }
    field.unseen();
}

#[test]
fn a_second_preface_that_is_bad_ends_the_connection() {
    let mut field = Field::new();
    let mut client = field.lb.client();
    client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").send(frame(SETTINGS, 0, 0, b""));
    let rest = client.rest();
    assert!(rest.len() < 200, "{} bytes", rest.len());
    field.serves();
    field.unseen();
}

/// Floods until the connection ends or `most` pieces are sent; with which code it ended.
#[track_caller]
fn flood(field: &mut Field, begin: &[u8], piece: impl Fn(u32) -> Vec<u8> + Send, most: u32) -> Option<u32> {
    let mut attacker = field.attacker();
    attacker.send(begin);
    let mut writer = attacker.0.writer();
    let code = std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..most / 100 {
                let bytes: Vec<u8> = (n * 100..(n + 1) * 100).flat_map(&piece).collect();
                if std::io::Write::write_all(&mut writer, &bytes).is_err() {
                    return;
                }
            }
        });
        for _ in 0..20 {
            field.serves();
        }
        attacker.ended()
    });
    field.serves();
    code
}

/// More than any allowance, however long the flood takes.
const MANY: u32 = 1_000_000;

/// Each request is reset by a frame of this kind right behind it; the connection ends before many reach the member.
#[track_caller]
fn reset_many(kind: u8, payload: [u8; 4]) {
    let mut field = Field::new();
    let piece = |n| {
        let stream = 2 * n + 1;
        let mut both = frame(HEADERS, END | END_HEADERS, stream, &good("/reset"));
        both.extend(frame(kind, 0, stream, &payload));
        both
    };
    let code = flood(&mut field, b"", piece, MANY);
    assert!(code.is_none_or(|code| code == CALM), "{code:?}");
    wait_until("it is counted", || field.limits() == 1);
    assert!(field.backend.requests() < 2_000, "{} reached the member", field.backend.requests());
    wait_until("nothing is under way", || field.lb.in_flight() == 0);
}

#[test]
fn cve_2023_44487_rapid_reset_ends_the_connection() {
    reset_many(RST_STREAM, [0, 0, 0, 8]);
}

#[test]
fn cve_2023_44487_resets_of_requests_under_way_end_the_connection_too() {
    let mut field = Field::new();
    let mut attacker = field.attacker();
    let mut resets = 0;
    loop {
        // The answer to a ping says that the stream is under way.
        let stream = 2 * resets + 1;
        attacker.get(stream, "/reset").send(frame(PING, 0, 0, &[0; 8]));
        if attacker.until(PING).is_none() {
            break;
        }
        attacker.send(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        resets += 1;
        if resets.is_multiple_of(50) {
            assert_eq!(field.innocent.get("/innocent").status, 200);
        }
        assert!(resets < 100_000, "no end");
    }
    wait_until("it is counted", || field.count(Traffic::Http2OverResets) == 1);
    assert_eq!(field.innocent.get("/innocent").status, 200);
    wait_until("nothing is under way", || field.lb.in_flight() == 0);
}

#[test]
fn cve_2025_8671_made_you_reset_ends_the_connection() {
    // A stream's window that grows over 2^31 is the server's to answer with RST_STREAM.
    reset_many(WINDOW_UPDATE, [0x7f, 0xff, 0xff, 0xff]);
}

#[test]
fn a_continuation_flood_ends_the_connection() {
    let mut field = Field::new();
    let begin = frame(HEADERS, END, 1, &good("/"));
    for piece in [vec![], literal(b"x", b"y"), literal(b"x", &[b'y'; 16_000])] {
        let code = flood(&mut field, &begin, |_| frame(CONTINUATION, 0, 1, &piece), 2_000);
        assert!(code.is_none_or(|code| code == CALM), "{code:?}");
    }
    wait_until("all are counted", || field.count(Traffic::Http2OverContinuations) == 3);
    field.unseen();
}

#[test]
fn an_hpack_bomb_is_not_unpacked() {
    let mut field = Field::new();
    // One large header goes into the table, and then one byte each repeats it.
    let mut bomb = good("/bomb");
    let mut large = literal(b"x-bomb", &[b'y'; 3_900]);
    large[0] = 0x40;
    bomb.extend(large);
    bomb.extend([0xbe; 10_000]);
    let fate = fate_of(&mut field, &bomb);
    assert!(matches!(fate, Fate::Answered(413 | 431) | Fate::GoAway(CALM) | Fate::Closed), "{fate:?}");
}

#[test]
fn heads_over_the_limit_of_http_1_are_refused() {
    let mut field = Field::new();
    let value = "y".repeat(12_000);
    let big: Vec<u8> =
        with(&[("a", &value), ("b", &value), ("c", &value), ("d", &value), ("e", &value), ("f", &value)]);
    let mut attacker = field.attacker();
    let (first, rest) = big.split_at(16_000);
    attacker.send(frame(HEADERS, END, 1, first));
    let parts: Vec<_> = rest.chunks(16_000).collect();
    for (n, part) in parts.iter().enumerate() {
        let flags = if n + 1 == parts.len() { END_HEADERS } else { 0 };
        attacker.send(frame(CONTINUATION, flags, 1, part));
    }
    let fate = attacker.fate(1);
    assert!(matches!(fate, Fate::Answered(413 | 431)), "{fate:?}");
    let names: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "a")).collect();
    assert_eq!(fate_of(&mut field, &with(&many)), Fate::Answered(413));
    assert!(field.count(Traffic::Http2OverHeaders) >= 1);
}

#[test]
fn floods_of_frames_that_carry_nothing_end_the_connection() {
    let opened = frame(HEADERS, END_HEADERS, 1, &good("/"));
    let floods: &[(&str, &[u8], Vec<u8>)] = &[
        ("ping", b"", frame(PING, 0, 0, &[0; 8])),
        ("answers to no ping", b"", frame(PING, END, 0, &[0; 8])),
        ("settings", b"", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("empty settings", b"", frame(SETTINGS, 0, 0, b"")),
        ("priority", b"", frame(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("frames of an unknown kind", b"", frame(0xfa, 0, 0, b"grease")),
        ("window updates", &opened, frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("empty data", &opened, frame(DATA, 0, 1, b"")),
    ];
    for (name, begin, piece) in floods {
        let mut field = Field::new();
        let code = flood(&mut field, begin, |_| piece.clone(), MANY);
        assert!(code.is_none_or(|code| code == CALM), "{name}: {code:?}");
        wait_until("the connection is gone", || field.lb.open_connections() == 1);
        assert_eq!(field.limits(), 1, "{name}");
        wait_until("nothing is under way", || field.lb.in_flight() == 0);
    }
}

#[test]
fn streams_over_the_limit_are_refused_and_may_be_sent_again() {
    let mut field = Field::new();
    let mut attacker = field.attacker();
    // Bodies that never end hold their streams.
    let post = list(&[(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/hold")]);
    // As many as a client may open that has not heard of the limit yet; those under way go on.
    for n in 0..300 {
        attacker.send(frame(HEADERS, END_HEADERS, 2 * n + 1, &post));
    }
    assert_eq!(attacker.fate(599), Fate::Reset(7), "REFUSED_STREAM");
    field.serves();
    wait_until("the others are under way", || field.lb.in_flight() == 100);
    assert_eq!(field.count(Traffic::Http2OverStreams), 200);
    assert_eq!(field.lb.metrics().sum("overspill_http2_limits_total", &["streams"]), 200.0);
    drop(attacker);
    wait_until("nothing is under way", || field.lb.in_flight() == 0);
}

#[test]
fn limits_that_are_configured_hold() {
    let mut field =
        Field::with("http2: {maxConcurrentStreams: 2, maxPingsPerSecond: 1, maxSettingsPerSecond: 2}");
    let mut attacker = field.attacker();
    let post = list(&[(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/hold")]);
    for stream in [1, 3, 5] {
        attacker.send(frame(HEADERS, END_HEADERS, stream, &post));
    }
    assert_eq!(attacker.fate(5), Fate::Reset(7), "REFUSED_STREAM");
    drop(attacker);
    for (piece, what) in [
        (frame(PING, 0, 0, &[0; 8]), Traffic::Http2OverPings),
        (frame(SETTINGS, 0, 0, b""), Traffic::Http2OverSettings),
    ] {
        let code = flood(&mut field, b"", |_| piece.clone(), 10_000);
        assert!(code.is_none_or(|code| code == CALM), "{code:?}");
        wait_until("it is counted", || field.count(what) == 1);
    }
}

#[test]
fn answers_that_nobody_reads_wait_in_bounded_memory_and_others_are_served() {
    const CONNECTIONS: u32 = 20;
    const STREAMS: u32 = 10;
    let large = "x".repeat(4 << 20);
    let (whole, health) = (large.len(), toy("health"));
    let backend = Scripted::start(move |conn| {
        while let Some(seen) = conn.request() {
            let body = if seen.line().starts_with("GET /large ") { &large } else { "small" };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            if !conn.write(head) || !conn.write(body) {
                return;
            }
        }
    });
    let lb = Lb::with_workers(&scripted(&backend, &health).proxy("maxBufferedMiB: 1").text(), 1);
    // Windows as wide as can be.
    let attackers: Vec<Raw> = (0..CONNECTIONS)
        .map(|_| {
            let mut attacker = Raw::to(lb.address());
            attacker.send(frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
            attacker.send(frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0, 0]));
            for n in 0..STREAMS {
                attacker.get(2 * n + 1, "/large");
            }
            attacker
        })
        .collect();
    let buffers = &lb.handle.process().buffers;
    wait_until("bodies wait for their clients", || buffers.held() > 1 << 20);
    assert_eq!(lb.get("/small").text(), "small");
    assert_eq!(lb.get("/large").body.len(), whole, "who reads has room");
    // A piece for each body, and for each connection what it writes next.
    let most = u64::from(CONNECTIONS * (STREAMS + 2)) * (128 << 10);
    assert!(buffers.held() <= most, "{} bytes are held", buffers.held());
    drop(attackers);
    wait_until("nothing is held", || buffers.held() == 0);
}

#[test]
fn a_client_that_stops_in_the_middle_of_anything_holds_nobody_up() {
    let mut field = Field::new();
    let starts: &[Vec<u8>] = &[
        PREFACE[..20].to_vec(),
        PREFACE.to_vec(),
        [PREFACE, &frame(SETTINGS, 0, 0, b"")[..5]].concat(),
        [PREFACE, &frame(SETTINGS, 0, 0, b""), &frame(HEADERS, END, 1, &good("/"))].concat(),
    ];
    let open: Vec<Client> = starts
        .iter()
        .map(|start| {
            let mut client = field.lb.client();
            client.send(start);
            client
        })
        .collect();
    for _ in 0..10 {
        field.serves();
    }
    drop(open);
    wait_until("they are gone", || field.lb.open_connections() == 1);
    field.unseen();
}

#[test]
fn a_goaway_from_the_client_ends_the_connection_after_its_streams() {
    let mut field = Field::new();
    let mut attacker = field.attacker();
    attacker.get(1, "/").send(frame(GOAWAY, 0, 0, &[0; 8]));
    assert_eq!(attacker.fate(1), Fate::Answered(200));
    field.served += 1;
    attacker.ended();
    field.serves();
    field.unseen();
}

#[test]
fn data_beyond_a_window_ends_its_stream_or_the_connection() {
    let (valve, health) = (Valve::default(), toy("health"));
    let backend = Scripted::held(&valve);
    // One request has the only connection to the member. Nobody reads the bodies of the others, so no window moves.
    let one = scripted(&backend, &health).service("circuitBreakers: {maxConnections: 1}");
    let lb = Lb::with_workers(&one.text(), 1);
    let mut attacker = Raw::to(lb.address());
    let post = list(&[(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/hold")]);
    let streams = || (0..8).map(|n| 2 * n + 1);
    for stream in streams() {
        attacker.send(frame(HEADERS, END_HEADERS, stream, &post));
    }
    let mut writer = attacker.0.writer();
    std::thread::scope(|scope| {
        // Together beyond the connection's MiB; each beyond the 64 KiB that a stream has until our settings are
        // acknowledged, and within the 256 KiB that it has from then on.
        scope.spawn(move || {
            for stream in streams().cycle().take(8 * 15) {
                let piece = frame(DATA, 0, stream, &[0; 16_000]);
                if std::io::Write::write_all(&mut writer, &piece).is_err() {
                    return;
                }
            }
        });
        let code = loop {
            let Some(came) = attacker.frame() else { break None };
            let at = match came.kind {
                GOAWAY => 4,
                RST_STREAM => 0,
                _ => continue,
            };
            break Some(u32::from_be_bytes(came.payload[at..at + 4].try_into().unwrap()));
        };
        // A connection that is closed on unread data may lose its last frame.
        assert!(code.is_none_or(|code| code == FLOW_CONTROL_ERROR), "{code:?}");
    });
    assert_eq!(lb.get("/a/../innocent").status, 302);
    valve.open();
}

#[test]
fn a_goaway_names_the_limit_that_the_metric_names() {
    let mut field = Field::new();
    let cases: [(&str, Vec<u8>, Traffic); 4] = [
        ("over_pings", frame(PING, 0, 0, &[0; 8]), Traffic::Http2OverPings),
        ("over_settings", frame(SETTINGS, 0, 0, b""), Traffic::Http2OverSettings),
        ("over_control_frames", frame(77, 0, 0, b""), Traffic::Http2OverControl),
        ("over_continuations", Vec::new(), Traffic::Http2OverContinuations),
    ];
    for (word, flood, what) in cases {
        let mut attacker = field.attacker();
        if flood.is_empty() {
            attacker.send(frame(HEADERS, END, 1, &good("/attack")));
            attacker.send(frame(CONTINUATION, 0, 1, b"").repeat(20));
        } else {
            attacker.send(flood.repeat(30_000));
        }
        let mut said = String::new();
        while let Some(came) = attacker.until(GOAWAY) {
            said = String::from_utf8_lossy(&came.payload[8..]).trim_end().to_owned();
        }
        assert_eq!(said, word);
        wait_until("it is counted", || field.count(what) == 1);
        field.serves();
    }
}

#[test]
fn a_body_that_is_not_as_long_as_its_head_says_is_logged_as_the_clients_fault() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (backend, health) = (Scripted::good(), toy("health"));
    let setup = scripted(&backend, &health)
        .proxy(&format!("accessLog: {{path: {}, format: json}}", log.display()))
        .service("logConfig: {enable: true}");
    let lb = Lb::with_workers(&setup.text(), 1);
    let head = [(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/post")];
    let post =
        |length| frame(HEADERS, END_HEADERS, 1, &[list(&head), list(&[("content-length", length)])].concat());
    for (length, is_later) in [("2", false), ("5", false), ("2", true), ("5", true)] {
        let mut attacker = Raw::to(lb.address());
        if is_later {
            attacker.send(post(length)).send(frame(DATA, 0, 1, b"a"));
            wait_until("the member is asked", || lb.in_flight() == 1);
            attacker.send(frame(DATA, END, 1, b"bc"));
        } else {
            attacker.send(post(length)).send(frame(DATA, END, 1, b"abc"));
        }
        assert_eq!(attacker.fate(1), Fate::Reset(PROTOCOL_ERROR), "{length} {is_later}");
    }
    lb.wait_ended(StatusDetail::ClientDisconnectedBeforeAny, 4);
    assert_eq!(lb.metrics().sum("overspill_attempts_failed_total", &[]), 0.0);
    let lines = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    wait_until("all are logged", || lines().len() == 4);
    for line in lines() {
        assert_eq!(line["jsonPayload"]["statusDetails"], "client_disconnected_before_any_response", "{line}");
        assert_eq!(line["httpRequest"]["status"], 0, "{line}");
    }
}
