use proptest::prelude::*;

use super::*;
use StatusDetail::{
    FailedParsingClientHeaders as Unparsable, HeadersTooLong as TooLong, HttpVersionNotSupported as Version,
    InvalidChunkFraming as Chunk, InvalidRequestHeaders as Invalid,
};

/// What a stream came to: good bytes in all, where each piece of them ended, the refusal, heads, phase.
#[derive(Debug, PartialEq)]
struct Outcome {
    good: usize,
    refusal: Option<Refusal>,
    heads: u64,
    phase: Phase,
}

/// What a guard made of bytes: how many passed, and why nothing after them may.
#[derive(Debug, PartialEq)]
struct Verdict {
    good: usize,
    refusal: Option<Refusal>,
}

/// Shows it bytes as long as some pass.
fn feed(guard: &mut Guard, bytes: &[u8]) -> Verdict {
    let (mut good, mut refusal) = (0, None);
    while good < bytes.len() && refusal.is_none() {
        match guard.next(&bytes[good..]) {
            Passed::Nothing => break,
            Passed::Head { length, .. } => good += length,
            Passed::Body { used, data, .. } => {
                assert!(data.start <= data.end && data.end <= used);
                good += used;
            }
            Passed::Refused(why) => refusal = Some(why),
        }
    }
    if let State::Refused(why) = guard.state {
        refusal = Some(why);
    }
    Verdict { good, refusal }
}

/// Feeds the pieces as the socket does: what was not good is shown again.
fn feed_pieces<'a>(guard: &mut Guard, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let (mut good, mut window, mut refusal) = (0, Vec::new(), None);
    for piece in pieces {
        window.extend_from_slice(piece);
        let verdict = feed(guard, &window);
        assert!(verdict.good <= window.len());
        window.drain(..verdict.good);
        good += verdict.good;
        refusal = verdict.refusal;
        if refusal.is_some() {
            break;
        }
    }
    Outcome { good, refusal, heads: guard.heads(), phase: guard.phase() }
}

/// Xorshift: pieces of random lengths from a seed.
struct Rng(u64);

impl Rng {
    fn fresh() -> Self {
        let seed = getrandom::u64().unwrap() | 1;
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn pieces<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(1 + self.below(bytes.len().min(30)));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

/// The outcome, which must be the same whole, byte by byte and in random pieces.
fn judge(bytes: &[u8], rng: &mut Rng) -> Outcome {
    let guard = || Guard::new(MAX_HEAD);
    let whole = feed_pieces(&mut guard(), std::iter::once(bytes));
    assert_eq!(feed_pieces(&mut guard(), bytes.chunks(1)), whole, "byte by byte: {}", bytes.escape_ascii());
    for _ in 0..8 {
        let pieces = rng.pieces(bytes);
        assert_eq!(feed_pieces(&mut guard(), pieces.into_iter()), whole, "{}", bytes.escape_ascii());
    }
    whole
}

/// A head with this header line.
fn with(header: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n").into_bytes()
}

/// A head with this request line.
fn line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: a\r\n\r\n").into_bytes()
}

/// A chunked request with this body.
fn chunks(body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes()
}

fn raw(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn assert_all(cases: Vec<(Vec<u8>, Result<u64, StatusDetail>)>) {
    let mut rng = Rng::fresh();
    for (bytes, want) in cases {
        let outcome = judge(&bytes, &mut rng);
        let found = outcome.refusal.map_or(Ok(outcome.heads), |refusal| Err(refusal.answer().1));
        assert_eq!(found, want, "{}", bytes.escape_ascii());
        if want.is_ok() {
            assert_eq!((outcome.good, outcome.phase), (bytes.len(), Phase::Idle), "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn request_lines_have_one_form() {
    assert_all(vec![
        (line("GET / HTTP/1.1"), Ok(1)),
        (line("GET / HTTP/1.0"), Ok(1)),
        (raw("GET / HTTP/1.0\r\n\r\n"), Ok(1)),
        (line("get /a?b=c&d=%20{}|^ HTTP/1.1"), Ok(1)),
        (line("M-SEARCH!#$ / HTTP/1.1"), Ok(1)),
        (line("OPTIONS * HTTP/1.1"), Ok(1)),
        (line("GET http://a.test:80/x?y HTTP/1.1"), Ok(1)),
        (line("CONNECT a.test:443 HTTP/1.1"), Ok(1)),
        (raw("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(1)),
        (raw("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Unparsable)),
        (line("GET  / HTTP/1.1"), Err(Unparsable)),
        (line("GET /  HTTP/1.1"), Err(Unparsable)),
        (line("GET / HTTP/1.1 "), Err(Unparsable)),
        (line(" GET / HTTP/1.1"), Err(Unparsable)),
        (line("GET\t/ HTTP/1.1"), Err(Unparsable)),
        (line("GET /a b HTTP/1.1"), Err(Unparsable)),
        (line("GET /\u{7f} HTTP/1.1"), Err(Unparsable)),
        (line("GET /\u{e4} HTTP/1.1"), Err(Unparsable)),
        (line("GET /\0 HTTP/1.1"), Err(Unparsable)),
        (line("GET /#x HTTP/1.1"), Err(Unparsable)),
        (line("GET /<x> HTTP/1.1"), Err(Unparsable)),
        (line("GET a HTTP/1.1"), Err(Unparsable)),
        (line("GET a.test:80 HTTP/1.1"), Err(Unparsable)),
        (line("GET * HTTP/1.1"), Err(Unparsable)),
        (line("GET ftp://a/ HTTP/1.1"), Err(Unparsable)),
        (line("GET http://u@a/ HTTP/1.1"), Err(Unparsable)),
        (line("GET http:///x HTTP/1.1"), Err(Unparsable)),
        (line("GET /"), Err(Unparsable)),
        (line("GET"), Err(Unparsable)),
        (line("G\u{1}T / HTTP/1.1"), Err(Unparsable)),
        (line("G(T / HTTP/1.1"), Err(Unparsable)),
        (line("GET / http/1.1"), Err(Unparsable)),
        (line("GET / HTTP/1.x"), Err(Unparsable)),
        (line("GET / HTTP/"), Err(Unparsable)),
        (line("GET / HTTP/1.2"), Err(Version)),
        (line("GET / HTTP/0.9"), Err(Version)),
        (line("GET / HTTP/3"), Err(Version)),
        (raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(Version)),
        (raw("GET / HTTP/1.1\nHost: a\n\n"), Err(Unparsable)),
        (raw("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"), Err(Unparsable)),
        (raw("GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Unparsable)),
        (raw("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Unparsable)),
    ]);
    // A TLS handshake: refused at its first byte, without a line feed.
    let hello = b"\x16\x03\x01\x02\x00\x01";
    assert_eq!(feed(&mut Guard::new(MAX_HEAD), hello).refusal.unwrap().answer(), (400, Unparsable));
}

#[test]
fn header_lines_have_one_form() {
    assert_all(vec![
        (with("X: y"), Ok(1)),
        (with("X:"), Ok(1)),
        (with("X:\t y \t"), Ok(1)),
        (with("X-!#$%&'*+-.^_`|~1: \u{e4}\u{20ac}\ta"), Ok(1)),
        (with("X : y"), Err(Unparsable)),
        (with("X\t: y"), Err(Unparsable)),
        (with(" X: y"), Err(Unparsable)),
        (with("X: y\r\n folded"), Err(Unparsable)),
        (with("X: y\r\n\tfolded"), Err(Unparsable)),
        (with("X"), Err(Unparsable)),
        (with(": y"), Err(Unparsable)),
        (with("X(: y"), Err(Unparsable)),
        (with("\u{e4}: y"), Err(Unparsable)),
        (with("X\0: y"), Err(Unparsable)),
        (with("X: a\0b"), Err(Unparsable)),
        (with("X: a\u{1b}b"), Err(Unparsable)),
        (with("X: a\u{7f}b"), Err(Unparsable)),
        (with("X: a\rb"), Err(Unparsable)),
        (with("X: a\nY: b"), Err(Unparsable)),
        (with("X: a\r\r\nY: b"), Err(Unparsable)),
        (raw("GET / HTTP/1.1\r\nHost: a\r\n\n"), Err(Unparsable)),
        (raw("GET / HTTP/1.1\r\nHost: a\n\r\n"), Err(Unparsable)),
    ]);
}

#[test]
fn one_proper_host_in_http_11() {
    let host = |value: &str| format!("GET / HTTP/1.1\r\nHost:{value}\r\n\r\n").into_bytes();
    assert_all(vec![
        (host("a"), Ok(1)),
        (host(" a.test:8080 "), Ok(1)),
        (host(" [::1]:80"), Ok(1)),
        (host(" [::ffff:1.2.3.4]"), Ok(1)),
        (host(" a_b%20!"), Ok(1)),
        (host(" a:"), Ok(1)),
        (raw("GET / HTTP/1.1\r\n\r\n"), Err(Invalid)),
        (raw("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), Err(Invalid)),
        (raw("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), Err(Invalid)),
        (host(""), Err(Invalid)),
        (host(" "), Err(Invalid)),
        (host(" a b"), Err(Invalid)),
        (host(" a/b"), Err(Invalid)),
        (host(" u@a"), Err(Invalid)),
        (host(" a:b"), Err(Invalid)),
        (host(" a:123456"), Err(Invalid)),
        (host(" a:80:80"), Err(Invalid)),
        (host(" ::1"), Err(Invalid)),
        (host(" []"), Err(Invalid)),
        (host(" [::1"), Err(Invalid)),
        (host(" [::1]x"), Err(Invalid)),
        (host(" :80"), Err(Invalid)),
        (host(" \u{e4}"), Err(Invalid)),
        (host(" a\\b"), Err(Invalid)),
    ]);
}

#[test]
fn length_has_one_meaning() {
    let body = |headers: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}").into_bytes()
    };
    assert_all(vec![
        (body("Content-Length: 5", "hello"), Ok(1)),
        (body("content-LENGTH:5 ", "hello"), Ok(1)),
        (body("Content-Length: 05", "hello"), Err(Invalid)),
        (body("Content-Length: 00", ""), Err(Invalid)),
        (body("Content-Length: 0", ""), Ok(1)),
        (body("Content-Lengths: x", ""), Ok(1)),
        (body("Content-Length: 5\r\nContent-Length: 5", "hello"), Err(Invalid)),
        (body("Content-Length: 5\r\nContent-Length: 6", "hello"), Err(Invalid)),
        (body("Content-Length: 5, 5", "hello"), Err(Invalid)),
        (body("Content-Length: +5", "hello"), Err(Invalid)),
        (body("Content-Length: -1", ""), Err(Invalid)),
        (body("Content-Length:", ""), Err(Invalid)),
        (body("Content-Length: 0x5", "hello"), Err(Invalid)),
        (body("Content-Length: 5 5", "hello"), Err(Invalid)),
        (body("Content-Length: 5.0", "hello"), Err(Invalid)),
        (body("Content-Length: 9223372036854775808", ""), Err(Invalid)),
        (body("Content-Length: 18446744073709551621", ""), Err(Invalid)),
        (body("Content-Length: 99999999999999999999999999", ""), Err(Invalid)),
        (body("Content-Length: \u{663}", ""), Err(Invalid)),
        (body("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), Err(Invalid)),
        (body("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"), Err(Invalid)),
        (body("Transfer-Encoding: CHUNKED", "0\r\n\r\n"), Ok(1)),
        (body("Transfer-Encoding: gzip", ""), Err(Invalid)),
        (body("Transfer-Encoding: gzip, chunked", ""), Err(Invalid)),
        (body("Transfer-Encoding: chunked, chunked", ""), Err(Invalid)),
        (body("Transfer-Encoding: xchunked", ""), Err(Invalid)),
        (body("Transfer-Encoding: \"chunked\"", ""), Err(Invalid)),
        (body("Transfer-Encoding: identity", ""), Err(Invalid)),
        (body("Transfer-Encoding:", ""), Err(Invalid)),
        (body("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", ""), Err(Invalid)),
        (raw("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), Err(Invalid)),
    ]);
}

#[test]
fn chunks_have_one_form() {
    let extension = |n: usize| format!("1;{}\r\nx\r\n", "e".repeat(n));
    assert_all(vec![
        (chunks("0\r\n\r\n"), Ok(1)),
        (chunks("5\r\nhello\r\n0\r\n\r\n"), Ok(1)),
        (chunks("000000000000000a\r\n0123456789\r\n0\r\n\r\n"), Ok(1)),
        (chunks("B\r\n0\r\n\r\n67890a\r\n00\r\n\r\n"), Ok(1)),
        (chunks("1;a=b;c=\"d\"\r\nx\r\n0;last\r\n\r\n"), Ok(1)),
        (chunks("0\r\nX-Sum: 1\r\nY:\r\n\r\n"), Ok(1)),
        (chunks(&format!("{}0\r\n\r\n", extension(256))), Ok(1)),
        (chunks(&format!("{}0\r\n\r\n", extension(257))), Err(Chunk)),
        (chunks(&format!("{}0\r\n\r\n", extension(200).repeat(50))), Err(Chunk)),
        (chunks("\r\n"), Err(Chunk)),
        (chunks("g\r\n"), Err(Chunk)),
        (chunks("0x5\r\nhello\r\n0\r\n\r\n"), Err(Chunk)),
        (chunks("+5\r\nhello\r\n0\r\n\r\n"), Err(Chunk)),
        (chunks("-1\r\n"), Err(Chunk)),
        (chunks(" 5\r\nhello\r\n0\r\n\r\n"), Err(Chunk)),
        (chunks("5 \r\nhello\r\n0\r\n\r\n"), Err(Chunk)),
        (chunks("5 ;a\r\nhello\r\n0\r\n\r\n"), Err(Chunk)),
        (chunks(";a\r\n"), Err(Chunk)),
        (chunks("5\nhello\r\n0\r\n\r\n"), Err(Chunk)),
        (chunks("5\rhello"), Err(Chunk)),
        (chunks("5;a\nhello\r\n0\r\n\r\n"), Err(Chunk)),
        (chunks("5;a\0\r\nhello\r\n0\r\n\r\n"), Err(Chunk)),
        (chunks("5\r\nhello0\r\n\r\n"), Err(Chunk)),
        (chunks("5\r\nhello\n0\r\n\r\n"), Err(Chunk)),
        (chunks("5\r\nhello\rx0\r\n\r\n"), Err(Chunk)),
        (chunks("5\r\nhello!\r\n0\r\n\r\n"), Err(Chunk)),
        (chunks("00000000000000005\r\nhello\r\n0\r\n\r\n"), Err(Chunk)),
        (chunks("fffffffffffffffff\r\n"), Err(Chunk)),
        (chunks("0\r\n\n"), Err(Chunk)),
        (chunks("0\r\n\rx"), Err(Chunk)),
        (chunks("0\r\n X: y\r\n\r\n"), Err(Chunk)),
        (chunks("0\r\nX y\r\n\r\n"), Err(Chunk)),
        (chunks("0\r\nX : y\r\n\r\n"), Err(Chunk)),
        (chunks("0\r\nX: y\0\r\n\r\n"), Err(Chunk)),
        (chunks("0\r\nX: y\n\r\n"), Err(Chunk)),
        (chunks("0\r\nX: y\rz\r\n\r\n"), Err(Chunk)),
        (chunks(&format!("0\r\n{}\r\n", "a:b\r\n".repeat(101))), Err(Chunk)),
        (chunks(&format!("0\r\nX: {}\r\n\r\n", "y".repeat(9000))), Err(Chunk)),
    ]);
}

#[test]
fn head_over_the_limit_is_too_long() {
    // [G 6b]
    let of_length = |length: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(length - frame)).into_bytes()
    };
    let judged = |bytes: &[u8], max: usize, step: usize| {
        feed_pieces(&mut Guard::new(max), bytes.chunks(step)).refusal.map(Refusal::answer)
    };
    for max in [MAX_HEAD, MAX_HEAD_CLASSIC] {
        for step in [1 << 20, 1000, 7] {
            assert_eq!(judged(&of_length(max), max, step), None);
            assert_eq!(judged(&of_length(max + 1), max, step), Some((413, TooLong)));
            // Without any line feed, too.
            assert_eq!(judged(&vec![b'a'; max + 1], max, step), Some((413, TooLong)));
        }
    }
    let target = line(&format!("GET /{} HTTP/1.1", "x".repeat(MAX_HEAD)));
    assert_eq!(judged(&target, MAX_HEAD, 1 << 20), Some((413, TooLong)));
}

#[test]
fn one_hundred_headers_pass_and_one_more_does_not() {
    let headers =
        |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(n - 1)).into_bytes();
    assert_all(vec![(headers(100), Ok(1)), (headers(101), Err(TooLong))]);
}

#[test]
fn requests_in_a_row_pass_up_to_the_first_bad_one() {
    let good =
        [line("GET /1 HTTP/1.1"), chunks("3\r\nabc\r\n0\r\n\r\n"), raw("\r\n"), line("GET /2 HTTP/1.1")]
            .concat();
    let bad = line("GET /3 HTTP/9.9");
    let mut rng = Rng::fresh();
    let outcome = judge(&[good.clone(), bad, line("GET /4 HTTP/1.1")].concat(), &mut rng);
    assert_eq!(outcome.good, good.len());
    assert_eq!((outcome.heads, outcome.phase), (3, Phase::Refused));
    assert_eq!(outcome.refusal, Some(Refusal::VersionNotSupported));
}

#[test]
fn smuggled_request_is_never_let_through() {
    let smuggled = "GET /secret HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut rng = Rng::fresh();
    for framing in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 0\r\nContent-Length: 5"]
    {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n0\r\n\r\n{smuggled}");
        let outcome = judge(text.as_bytes(), &mut rng);
        assert_eq!((outcome.good, outcome.heads), (0, 0));
    }
}

#[test]
fn nothing_of_a_head_passes_before_it_is_whole() {
    let head = with("X: y");
    let mut guard = Guard::new(MAX_HEAD);
    for end in 1..head.len() {
        assert_eq!(feed(&mut guard, &head[..end]), Verdict { good: 0, refusal: None });
    }
    assert_eq!(feed(&mut guard, &head).good, head.len());
}

#[test]
fn phase_follows_the_request() {
    let mut guard = Guard::new(MAX_HEAD);
    assert_eq!(guard.phase(), Phase::Idle);
    feed(&mut guard, b"\r\n");
    assert_eq!(guard.phase(), Phase::Idle);
    feed(&mut guard, b"\r\nP");
    assert_eq!(guard.phase(), Phase::Head);
    let text = b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na";
    assert_eq!(feed(&mut guard, text).good, text.len());
    assert_eq!(guard.phase(), Phase::Body);
    feed(&mut guard, b"bc");
    assert_eq!(guard.phase(), Phase::Idle);
    feed(&mut guard, b"(");
    assert_eq!(guard.phase(), Phase::Refused);
}

#[test]
fn every_refusal_has_googles_word() {
    // [G 6b, 8]
    for (refusal, answer) in [
        (Refusal::HeadersTooLong, (413, "headers_too_long")),
        (Refusal::FailedParsing("x"), (400, "failed_parsing_client_headers")),
        (Refusal::InvalidHeaders("x"), (400, "invalid_request_headers")),
        (Refusal::VersionNotSupported, (400, "http_version_not_supported")),
        (Refusal::InvalidChunkFraming("x"), (400, "invalid_chunk_framing")),
    ] {
        let (status, detail) = refusal.answer();
        assert_eq!((status, detail.as_str()), answer);
        assert!(!refusal.why().is_empty());
    }
}

/// A valid request and where its head ends.
fn request() -> impl Strategy<Value = (Vec<u8>, usize)> {
    let method = "[A-Z]{1,7}";
    let target = r"/[a-zA-Z0-9._~%!$&'()*+,;=:@/-]{0,30}(\?[a-z=&]{0,10})?";
    let headers =
        prop::collection::vec(("x-[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}", r"[ \t]{0,2}[!-~ ]{0,20}"), 0..12);
    let body = prop_oneof![
        Just(None),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|body| Some(vec![body])),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6).prop_map(Some),
    ];
    (method, target, headers, body, any::<bool>()).prop_map(|(method, target, headers, body, is_chunked)| {
        let mut text = format!("{method} {target} HTTP/1.1\r\nhOsT: a.test\r\n");
        for (name, value) in headers {
            text += &format!("{name}:{value}\r\n");
        }
        let mut bytes = text.into_bytes();
        match body {
            None => bytes.extend(b"\r\n"),
            Some(parts) if is_chunked => {
                bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
                let head = bytes.len();
                for part in parts.iter().filter(|part| !part.is_empty()) {
                    bytes.extend(format!("{:x}\r\n", part.len()).bytes());
                    bytes.extend(part);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
                return (bytes, head);
            }
            Some(parts) => {
                let body = parts.concat();
                bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
                let head = bytes.len();
                bytes.extend(body);
                return (bytes, head);
            }
        }
        let head = bytes.len();
        (bytes, head)
    })
}

proptest! {
    #[test]
    fn valid_requests_pass_and_every_border_is_found(
        requests in prop::collection::vec(request(), 1..6),
        seed in 1_u64..,
    ) {
        // One after the other in one stream, each fed in two steps: its head with all before it, then its body.
        let mut guard = Guard::new(MAX_HEAD);
        for (n, (bytes, head)) in requests.iter().enumerate() {
            let verdict = feed(&mut guard, &bytes[..*head]);
            prop_assert_eq!(verdict, Verdict { good: *head, refusal: None });
            prop_assert_eq!(guard.heads(), n as u64 + 1);
            prop_assert_eq!(guard.phase() == Phase::Body, bytes.len() > *head);
            feed(&mut guard, &bytes[*head..]);
            prop_assert_eq!(guard.phase(), Phase::Idle);
        }
        // And in any pieces.
        let stream: Vec<u8> = requests.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let pieces = Rng(seed).pieces(&stream);
        let outcome = feed_pieces(&mut Guard::new(MAX_HEAD), pieces.into_iter());
        let want = Outcome { good: stream.len(), refusal: None, heads: requests.len() as u64, phase: Phase::Idle };
        prop_assert_eq!(outcome, want);
    }

    #[test]
    fn any_bytes_get_the_same_verdict_however_split(
        start in prop_oneof![Just("GET / HTTP/1.1\r\nHost: a\r\n"), Just("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), Just("")],
        tail in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b':'), Just(b' '), any::<u8>()], 0..60),
        seed in 1_u64..,
    ) {
        judge(&[start.as_bytes(), &tail].concat(), &mut Rng(seed));
    }
}
