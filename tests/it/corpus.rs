//! `tests/corpus/http1.yaml` against the proxy: what each request must come to, and that nothing reaches an origin in a
//! form that two parsers could read differently.

mod http2;
mod origin;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Deserialize;

use self::origin::{Origin, Request};
use crate::mutate::Mutator;
use crate::support::backend::toy;
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, setup};
use crate::support::wait_until;

const HTTP1: &str = include_str!("../corpus/http1.yaml");
/// Right behind whatever is to be refused: it must never be taken for a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: hidden\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Where the verdict comes from: for people.
    #[serde(rename = "rule")]
    _rule: String,
    send: Option<String>,
    chunks: Option<String>,
    refused: Option<(u16, String)>,
    #[serde(default)]
    reaches: Vec<Reaches>,
}

/// What an origin is to get.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reaches {
    line: String,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    body: String,
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let (before, rest) = match (&self.send, &self.chunks) {
            (Some(send), None) => ("", send),
            (None, Some(chunks)) => (CHUNKED, chunks),
            _ => panic!("{}: either `send` or `chunks`", self.name),
        };
        latin1(&(before.to_owned() + &expanded(rest)))
    }
}

/// With `${x*3}` written out, the innermost first.
fn expanded(text: &str) -> String {
    let Some(start) = text.rfind("${") else { return text.to_owned() };
    let end = start + text[start..].find('}').expect("a closing brace");
    let (what, times) = text[start + 2..end].rsplit_once('*').expect("a number of times");
    expanded(&(text[..start].to_owned() + &what.repeat(times.parse().expect("a number")) + &text[end + 1..]))
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect()
}

fn cases() -> Vec<Case> {
    let cases: Vec<Case> = serde_yaml::from_str(HTTP1).unwrap();
    let names: BTreeSet<_> = cases.iter().map(|case| (&case.name, case.chunks.is_some())).collect();
    assert_eq!(names.len(), cases.len(), "each name once");
    cases
}

/// A proxy before one recording origin.
fn start() -> (Lb, Origin) {
    let (origin, health) = (Origin::start(), toy("health"));
    let group = group("ig", NEAR).member("o", origin.backend());
    let lb = Lb::start(&setup(&[group]).probed_at(&health).text());
    // Healthy once is enough: nobody asks again in the time that this takes, and if so the answer is the same.
    (lb, origin.beside(health))
}

fn is_match(request: &Request, wanted: &Reaches) -> bool {
    let has = |(header, value): (&String, &Option<String>)| {
        let value: Vec<_> = value.iter().map(|value| latin1(value)).collect();
        request.all(header) == value
    };
    request.line == wanted.line && wanted.headers.iter().all(has) && request.body == latin1(&wanted.body)
}

#[test]
fn g_6b_every_request_of_the_corpus_comes_to_what_it_must() {
    let (lb, origin) = start();
    let cases = cases();
    assert!(cases.len() >= 150);
    for case in &cases {
        let mut client = lb.client();
        client.send(case.bytes());
        if let Some((status, word)) = &case.refused {
            client.send(HIDDEN);
            let answer = client.answer();
            assert_eq!(answer.status, *status, "{}: {}", case.name, answer.text());
            assert!(answer.text().contains(word.as_str()), "{}: {}", case.name, answer.text());
            assert_eq!(answer.header("connection"), Some("close"), "{}", case.name);
            client.assert_closed();
        } else {
            case.reaches.iter().for_each(|_| assert_eq!(client.answer().status, 200, "{}", case.name));
            let rest = client.finish().rest();
            assert_eq!(String::from_utf8_lossy(&rest), "", "{}", case.name);
        }
        let reached = origin.take();
        assert_eq!(reached.len(), case.reaches.len(), "{}: {reached:?}", case.name);
        let is_right = reached.iter().zip(&case.reaches).all(|(request, wanted)| is_match(request, wanted));
        assert!(is_right, "{}: {reached:?}", case.name);
        assert_eq!(origin.complaints(), [""; 0], "{}", case.name);
    }
    wait_until("nothing is left in flight", || lb.in_flight() == 0);
}

#[test]
fn what_is_refused_alone_is_refused_behind_a_good_request() {
    let (lb, origin) = start();
    for case in cases() {
        let Some((status, _)) = &case.refused else { continue };
        let mut client = lb.client();
        client.send("GET /good HTTP/1.1\r\nhost: a\r\n\r\n").send(case.bytes()).send(HIDDEN);
        assert_eq!(client.answer().status, 200, "{}", case.name);
        assert_eq!(client.answer().status, *status, "{}", case.name);
        client.assert_closed();
        let lines: Vec<_> = origin.take().into_iter().map(|request| request.line).collect();
        assert_eq!(lines, ["GET /good HTTP/1.1"], "{}", case.name);
    }
    assert_eq!(origin.complaints(), [""; 0]);
}

/// Words of HTTP/1 that change what a request means.
const WORDS: &[&str] = &[
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "HTTP/1.0",
    "HTTP/2.0",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "content-length: 3\r\n",
    "content-length: 0\r\n",
    "connection: close\r\n",
    "connection: host\r\n",
    "connection: upgrade\r\nupgrade: websocket\r\n",
    "expect: 100-continue\r\n",
    "host: b\r\n",
    "http://b/",
    "0\r\n\r\n",
    "3\r\nabc\r\n",
    "3;x=y\r\nabc\r\n",
    "\r\n ",
    "te: trailers\r\n",
    "trailer: host\r\n",
];

/// So many connections, or by OVERSPILL_FUZZ_SECONDS so long; the seed is OVERSPILL_FUZZ_SEED.
const CONNECTIONS: usize = 1500;
const SEED: u64 = 20_261_121;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a whole number"))
}

#[test]
fn however_requests_are_changed_none_reaches_an_origin_in_a_form_that_reads_two_ways() {
    let seed = variable("OVERSPILL_FUZZ_SEED").unwrap_or(SEED);
    let time = variable("OVERSPILL_FUZZ_SECONDS").map(Duration::from_secs);
    let (lb, origin) = start();
    let cases = cases();
    // Most of the corpus is to be refused, and what is bad already is seldom mended by a change.
    let good = cases.iter().filter(|case| case.refused.is_none()).flat_map(|case| [case; 8]);
    let seeds = cases.iter().chain(good).map(Case::bytes).filter(|bytes| bytes.len() < 4096);
    let seeds: Vec<_> = seeds.collect();
    let mut mutator = Mutator::new(&seeds, WORDS, seed);
    let (begun, mut count, mut reached, mut kinds) = (Instant::now(), 0, 0, BTreeSet::new());
    while time.map_or(count < CONNECTIONS, |time| begun.elapsed() < time) {
        let input = mutator.next();
        // Whatever was asked, all of it has been answered or refused when the connection ends.
        let rest = lb.client().send(&input).finish().rest();
        let shown =
            || format!("b\"{}\", answered with {:?}", input.escape_ascii(), String::from_utf8_lossy(&rest));
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1."), "no answer and no close: {}", shown());
        assert_eq!(lb.panics(), 0, "{}", shown());
        assert_eq!(origin.complaints(), [""; 0], "{}", shown());
        let requests = origin.take();
        reached += requests.len();
        let status = rest.get(9..12).unwrap_or_default().to_vec();
        let headers = requests.iter().map(Request::shape).collect::<Vec<_>>();
        if kinds.insert((status, headers)) {
            mutator.keep(input);
        }
        count += 1;
    }
    wait_until("nothing is left in flight", || lb.in_flight() == 0);
    wait_until("all connections are closed", || lb.open_connections() == 0);
    assert_eq!(origin.complaints(), [""; 0], "seed {seed}");
    assert!(reached > count / 20, "hardly anything reached the origin: {reached} of {count}");
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!(
        "seed {seed}: {count} connections, {rate:.0}/s, {reached} requests reached the origin, {} kinds",
        kinds.len()
    );
}
