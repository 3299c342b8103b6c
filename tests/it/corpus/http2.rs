//! `tests/corpus/http2.yaml` against the proxy: the same for what comes by HTTP/2 and goes on by HTTP/1.1.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::origin::Request;
use super::{Reaches, SEED, expanded, is_match, latin1, start, variable};
use crate::mutate::Mutator;
use crate::support::h2::{
    CONTINUATION, Came, DATA, END, END_HEADERS, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, Raw, SETTINGS,
    frame, list, literal, try_status,
};
use crate::support::lb::Lb;
use crate::support::wait_until;

const HTTP2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/http2.yaml");
/// The stream that a case is about.
const SUBJECT: u32 = 1;
/// In a PING, for the end of what was sent.
const MARK: [u8; 8] = *b"the end.";
/// A good request right behind each case, on the highest stream that a client may open.
const AFTER: u32 = 0x7fff_ffff;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Its place, which stands in the path of good heads in `frames`.
    #[serde(skip)]
    number: usize,
    /// Where the verdict comes from: for people.
    #[serde(rename = "rule")]
    _rule: String,
    fields: Option<Vec<String>>,
    with: Option<Vec<String>>,
    body: Option<String>,
    trailers: Option<Vec<String>>,
    #[serde(default)]
    frames: Vec<Frame>,
    connection: Option<String>,
    stream: Option<String>,
    status: Option<(u16, Option<String>)>,
    reaches: Option<Reaches>,
    #[serde(default)]
    ignored: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame {
    kind: String,
    stream: u32,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    before: String,
    head: Option<String>,
    #[serde(default)]
    list: Vec<String>,
    #[serde(default)]
    text: String,
    #[serde(default)]
    hex: String,
    length: Option<u32>,
}

const KINDS: &[&str] = &[
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];

const CODES: &[&str] = &[
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
];

fn kind(word: &str) -> u8 {
    let known = KINDS.iter().position(|kind| *kind == word);
    known.map_or_else(
        || {
            assert_eq!(word, "UNKNOWN");
            0xfa
        },
        |known| u8::try_from(known).unwrap(),
    )
}

fn flag(word: &str) -> u8 {
    match word {
        "END_STREAM" | "ACK" => END,
        "END_HEADERS" => END_HEADERS,
        "PADDED" => 8,
        "PRIORITY" => 32,
        _ => panic!("no flag: {word}"),
    }
}

fn code(number: u32) -> String {
    CODES.get(number as usize).map_or_else(|| number.to_string(), |word| (*word).to_owned())
}

/// Fields as they are written: name, =, value.
fn fields(texts: &[String]) -> Vec<u8> {
    let field = |text: &String| {
        let (name, value) = text.split_once('=').expect("a name, = and a value");
        literal(&latin1(&expanded(name)), &latin1(&expanded(value)))
    };
    texts.iter().flat_map(field).collect()
}

fn head(method: &str, path: &str) -> Vec<u8> {
    list(&[(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)])
}

fn hex(text: &str) -> Vec<u8> {
    let text = expanded(text);
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

impl Frame {
    fn bytes(&self, path: &str) -> Vec<u8> {
        let mut payload = hex(&self.before);
        payload.extend(self.head.iter().flat_map(|method| head(method, path)));
        payload.extend(fields(&self.list));
        payload.extend(latin1(&self.text));
        payload.extend(hex(&self.hex));
        let flags = self.flags.iter().fold(0, |all, word| all | flag(word));
        let mut bytes = frame(kind(&self.kind), flags, self.stream, &payload);
        if let Some(length) = self.length {
            bytes[..3].copy_from_slice(&length.to_be_bytes()[1..]);
        }
        bytes
    }
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let method = if self.body.is_some() { "POST" } else { "GET" };
        let block = match (&self.fields, &self.with) {
            (Some(all), None) => fields(all),
            (None, Some(more)) => [head(method, "/"), fields(more)].concat(),
            (None, None) => {
                let path = self.path();
                return self.frames.iter().flat_map(|frame| frame.bytes(&path)).collect();
            }
            (Some(_), Some(_)) => panic!("{}: either `fields` or `with`", self.name),
        };
        let end = |is_last: bool| if is_last { END } else { 0 };
        let mut bytes = frame(HEADERS, END_HEADERS | end(self.body.is_none()), SUBJECT, &block);
        if let Some(body) = &self.body {
            bytes.extend(frame(DATA, end(self.trailers.is_none()), SUBJECT, &latin1(body)));
        }
        if let Some(trailers) = &self.trailers {
            bytes.extend(frame(HEADERS, END_HEADERS | END, SUBJECT, &fields(trailers)));
        }
        bytes
    }

    /// Of good heads in `frames`.
    fn path(&self) -> String {
        format!("/case-{}", self.number)
    }

    /// The last of it is whole, so that another frame may follow.
    fn is_whole(&self) -> bool {
        self.frames.iter().all(|frame| frame.length.is_none())
    }

    fn verdict(&self) -> Verdict {
        let stated = [
            self.connection.as_ref().map(|code| Verdict::Connection(code.clone())),
            self.stream.as_ref().map(|code| Verdict::Stream(code.clone())),
            self.status.as_ref().map(|(status, _)| Verdict::Answer(*status)),
            self.reaches.as_ref().map(|_| Verdict::Answer(200)),
            self.ignored.then_some(Verdict::Ignored),
        ];
        let [verdict] = &stated.into_iter().flatten().collect::<Vec<_>>()[..] else {
            panic!("{}: one verdict", self.name)
        };
        verdict.clone()
    }
}

/// What becomes of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// The connection ends with this code.
    Connection(String),
    /// The stream does, and the connection goes on.
    Stream(String),
    Answer(u16),
    Ignored,
}

/// What a client has seen.
#[derive(Debug, Default)]
struct Saw {
    status: Option<u16>,
    text: Vec<u8>,
    reset: Option<u32>,
    is_over: bool,
    after: Option<u16>,
    gone: Option<u32>,
    /// Everything before the last PING has been read.
    is_answered: bool,
    is_closed: bool,
}

impl Saw {
    fn note(&mut self, came: Option<Came>) {
        let Some(came) = came else {
            self.is_closed = true;
            return;
        };
        let code = |from: usize| u32::from_be_bytes(came.payload[from..from + 4].try_into().unwrap());
        match (came.kind, came.stream) {
            (GOAWAY, 0) if code(4) != 0 => self.gone = Some(code(4)),
            (HEADERS, AFTER) => self.after = try_status(&came.payload),
            (HEADERS, SUBJECT) => self.status = self.status.or(try_status(&came.payload)),
            (DATA, SUBJECT) => self.text.extend(&came.payload),
            (PING, 0) => self.is_answered |= came.payload == MARK,
            (RST_STREAM, SUBJECT) => (self.reset, self.is_over) = (Some(code(0)), true),
            _ => {}
        }
        self.is_over |=
            came.stream == SUBJECT && matches!(came.kind, HEADERS | DATA) && came.flags & END != 0;
    }

    fn verdict(&self) -> Verdict {
        match (self.gone, self.status, self.reset) {
            (Some(gone), ..) => Verdict::Connection(code(gone)),
            (None, Some(status), _) => Verdict::Answer(status),
            (None, None, Some(reset)) => Verdict::Stream(code(reset)),
            (None, None, None) => Verdict::Ignored,
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = serde_yaml::from_str(&std::fs::read_to_string(HTTP2).unwrap()).unwrap();
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "each name once");
    cases.iter_mut().enumerate().for_each(|(number, case)| case.number = number);
    cases
}

fn after() -> Vec<u8> {
    let after = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/after")];
    frame(HEADERS, END | END_HEADERS, AFTER, &list(&after))
}

/// Sends a case with the good request behind it, unless the connection is to end.
fn send(lb: &Lb, case: &Case) -> Saw {
    println!("{}", case.name);
    let mut client = Raw::to(lb.address());
    let (wanted, mut saw) = (case.verdict(), Saw::default());
    let mark = frame(PING, 0, 0, &MARK);
    if matches!(wanted, Verdict::Connection(_)) {
        client.send([case.bytes(), mark].concat());
        while !saw.is_closed && !saw.is_answered {
            saw.note(client.frame());
        }
        return saw;
    }
    client.send([case.bytes(), after()].concat());
    while !saw.is_closed && saw.after.is_none() {
        saw.note(client.frame());
    }
    let is_answer = matches!(wanted, Verdict::Answer(_));
    if !saw.is_closed && !is_answer {
        client.send(mark);
    }
    while !(saw.is_closed || saw.is_answered || saw.is_over && is_answer) {
        saw.note(client.frame());
    }
    saw
}

#[test]
fn every_attack_of_the_corpus_comes_to_what_it_must() {
    let (lb, origin) = start();
    let cases = cases();
    assert!(cases.len() >= 60);
    let mut wrong = Vec::new();
    for case in &cases {
        let saw = send(&lb, case);
        let reached = of_case(case, origin.take());
        if !is_right(case, &saw, &reached) {
            wrong.push(format!("{}: {saw:?}, {reached:?}", case.name));
        }
        assert_eq!(origin.complaints(), [""; 0], "{}", case.name);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    wait_until("nothing is left in flight", || lb.in_flight() == 0);
}

/// Whether what was seen and what reached the origin are what the case says.
fn is_right(case: &Case, saw: &Saw, reached: &[Request]) -> bool {
    let wanted = case.verdict();
    let word = case.status.as_ref().and_then(|(_, word)| word.as_deref()).unwrap_or_default();
    let has_word = String::from_utf8_lossy(&saw.text).contains(word);
    let goes_on =
        matches!(wanted, Verdict::Connection(_)) || (saw.after, saw.is_closed) == (Some(200), false);
    // A good head may have gone on before what came behind it was seen.
    let is_known = |request: &Request| {
        let is_good = !case.frames.is_empty() || case.body.is_some() && request.body.is_empty();
        is_good && ["GET / HTTP/1.1", "POST / HTTP/1.1"].contains(&request.line.as_str())
    };
    let has_reached = match (&case.reaches, reached) {
        (Some(wanted), [request]) => is_match(request, wanted),
        (Some(_), _) => false,
        (None, _) => reached.iter().all(is_known),
    };
    saw.verdict() == wanted && has_word && goes_on && has_reached
}

/// Requests without the one behind the case, and without good heads of cases before, which a connection that had ended
/// may have left on the way.
fn of_case(case: &Case, mut requests: Vec<Request>) -> Vec<Request> {
    let path = case.path();
    requests.iter_mut().for_each(|request| request.line = request.line.replace(&format!("{path} "), "/ "));
    requests.retain(|request| !request.line.contains(" /after ") && !request.line.contains(" /case-"));
    requests
}

#[test]
fn nothing_behind_what_ends_a_connection_is_a_request() {
    let (lb, origin) = start();
    for case in cases() {
        let is_over = matches!(case.verdict(), Verdict::Connection(_));
        if !is_over || !case.is_whole() {
            continue;
        }
        let mut client = Raw::to(lb.address());
        client.send([case.bytes(), after()].concat());
        while client.frame().is_some() {}
        let lines: Vec<_> = origin.take().into_iter().map(|request| request.line).collect();
        assert!(lines.iter().all(|line| line.starts_with("GET /case-")), "{}: {lines:?}", case.name);
    }
    assert_eq!(origin.complaints(), [""; 0]);
}

/// Words of HTTP/2, and of the HTTP/1.1 that it becomes, which change what a request means.
const WORDS: &[&str] = &[
    "\u{1}:method=POST",
    "\u{1}:path=/hidden",
    "\u{1}:authority=b",
    "\u{1}:scheme=https",
    "\u{1}:protocol=websocket",
    "\u{1}host=b",
    "\u{1}content-length=3",
    "\u{1}transfer-encoding=chunked",
    "\u{1}te=trailers",
    "\u{1}expect=100-continue",
    "\u{1}cookie=a=b",
    " HTTP/1.1\r\nhost: a\r\n\r\n",
    "\r\ntransfer-encoding: chunked\r\n",
    "0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: a\r\n\r\n",
];

/// So many connections, or by OVERSPILL_FUZZ_SECONDS so long; the seed is OVERSPILL_FUZZ_SEED.
const CONNECTIONS: usize = 1500;

/// A case as a text that can be changed and is frames all the same: each begins with byte 2, a kind, flags and a stream;
/// each field of a list with byte 1.
fn script(case: &Case) -> Vec<u8> {
    let (mut out, bytes) = (Vec::new(), case.bytes());
    let mut rest = &bytes[..];
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        let end = (9 + length).min(rest.len());
        out.extend([2, b'a' + rest[3].min(20), b'a' + rest[4], b'a' + rest[8].min(25)]);
        match rest[3] {
            HEADERS | CONTINUATION => out.extend(unlisted(&rest[9..end])),
            _ => out.extend(&rest[9..end]),
        }
        rest = &rest[end..];
    }
    out
}

/// Literals as fields, anything else as it is.
fn unlisted(mut block: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [0, name_length @ 0..127, rest @ ..] = block {
        let Some((name, [value_length @ 0..127, rest @ ..])) = rest.split_at_checked((*name_length).into())
        else {
            break;
        };
        let Some((value, rest)) = rest.split_at_checked((*value_length).into()) else { break };
        out.extend([&[1], name, b"=", value].concat());
        block = rest;
    }
    if !block.is_empty() {
        out.extend([&[1], block].concat());
    }
    out
}

/// The frames that a script stands for, and whether another may follow.
fn played(script: &[u8]) -> (Vec<u8>, bool) {
    let (mut out, mut is_whole) = (Vec::new(), true);
    for piece in script.split(|byte| *byte == 2) {
        let [kind, flags, stream, rest @ ..] = piece else { continue };
        let (kind, flags) = (kind.wrapping_sub(b'a'), flags.wrapping_sub(b'a'));
        let mut payload = match kind {
            HEADERS | CONTINUATION => rest.split(|byte| *byte == 1).flat_map(field).collect(),
            _ => rest.to_vec(),
        };
        payload.truncate(16_384);
        if matches!(kind, HEADERS | CONTINUATION) {
            is_whole = flags & END_HEADERS != 0;
        }
        out.extend(frame(kind, flags, stream.wrapping_sub(b'a').into(), &payload));
    }
    (out, is_whole)
}

fn field(text: &[u8]) -> Vec<u8> {
    // The names of pseudo-headers and of cookies' crumbs hold no `=`.
    match text.iter().position(|byte| *byte == b'=') {
        Some(at) => literal(&text[..at], &text[at + 1..]),
        None => text.to_vec(),
    }
}

#[test]
fn however_frames_are_changed_no_request_reaches_an_origin_in_a_form_that_reads_two_ways() {
    let seed = variable("OVERSPILL_FUZZ_SEED").unwrap_or(SEED);
    let time = variable("OVERSPILL_FUZZ_SECONDS").map(Duration::from_secs);
    let (lb, origin) = start();
    let cases = cases();
    let good = cases.iter().filter(|case| case.reaches.is_some()).flat_map(|case| [case; 24]);
    let seeds: Vec<_> = cases.iter().chain(good).map(script).filter(|script| script.len() < 4096).collect();
    let mut mutator = Mutator::new(&seeds, WORDS, seed);
    let (begun, mut count, mut reached, mut kinds) = (Instant::now(), 0, 0, BTreeSet::new());
    while time.map_or(count < CONNECTIONS, |time| begun.elapsed() < time) {
        let input = mutator.next();
        let (bytes, is_whole) = played(&input);
        let fates = fates(&lb, &bytes, is_whole);
        let shown = || format!("b\"{}\", answered with {fates:?}", input.escape_ascii());
        assert_eq!(lb.panics(), 0, "{}", shown());
        assert_eq!(origin.complaints(), [""; 0], "{}", shown());
        let requests = origin.take();
        let requests: Vec<_> = requests.iter().filter(|request| !request.line.contains(" /after ")).collect();
        reached += requests.len();
        if kinds.insert((fates.clone(), requests.iter().map(|request| request.shape()).collect::<Vec<_>>())) {
            mutator.keep(input);
        }
        count += 1;
    }
    wait_until("nothing is left in flight", || lb.in_flight() == 0);
    wait_until("all connections are closed", || lb.open_connections() == 0);
    assert_eq!(origin.complaints(), [""; 0], "seed {seed}");
    assert!(reached > count / 50, "hardly anything reached the origin: {reached} of {count}");
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    let kinds = kinds.len();
    println!(
        "seed {seed}: {count} connections, {rate:.0}/s, {reached} requests reached the origin, {kinds} kinds"
    );
}

/// What came back: kinds of frames with their codes. Ends when the request behind the input has its fate, or the
/// connection has ended.
fn fates(lb: &Lb, bytes: &[u8], is_whole: bool) -> BTreeSet<(u8, u8, u32)> {
    let mut client = Raw(lb.client());
    let mut writer = client.0.writer();
    let all = [PREFACE, &frame(SETTINGS, 0, 0, b""), bytes, &after()].concat();
    // The connection may end in the middle of it.
    let _ = writer.write_all(&all);
    if !is_whole {
        client.0.finish();
    }
    let mut fates = BTreeSet::new();
    while let Some(came) = client.frame() {
        let code = match (came.kind, &came.payload[..]) {
            (GOAWAY, [_, _, _, _, code @ ..]) | (RST_STREAM, code) => {
                code.first_chunk().map_or(0, |code| u32::from_be_bytes(*code))
            }
            (HEADERS, list) => try_status(list).unwrap_or(0).into(),
            _ => 0,
        };
        if came.stream == AFTER && matches!(came.kind, HEADERS | RST_STREAM) {
            break;
        }
        if matches!(came.kind, HEADERS | RST_STREAM | GOAWAY) {
            fates.insert((came.kind, came.flags, code));
        }
    }
    fates
}
