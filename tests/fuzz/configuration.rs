//! The text of a configuration: it never panics, and what is said about it is right.

use std::collections::HashSet;

use http::HeaderMap;
use overspill::cli::check::render;
use overspill::model::config::{Config, FrontKind};
use overspill::model::problem::{Problem, Severity};
use overspill::model::resolve::{Around, Resolved, document_in};
use overspill::model::route::Head;

use crate::kind;
use crate::run::{files, fuzz};

const WORDS: &[&str] = &[
    "PREFERRED",
    "UTILIZATION",
    "CONNECTION",
    "IN_FLIGHT",
    "CUSTOM_METRICS",
    "STRONG_COOKIE_AFFINITY",
    "RING_HASH",
    "MAGLEV",
    "INTERNAL_MANAGED",
    "EXTERNAL",
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "\"\"",
    "::1",
    "[::]:80",
    "0.0.0.0/0",
    "2001:db8::/32",
    "europe-west1-b",
    "*.example.com",
    "/{a}/{b=**}",
    "not-a-name-",
    "0s",
    "{seconds: 1}",
];

/// Fewer letters of a key than this may be shown by chance: they stand in other words too.
const SECRET: usize = 32;

#[test]
fn a_configuration_of_any_text_is_read_or_refused_with_reasons() {
    let is_yaml = |path: &std::path::Path| path.extension().is_some_and(|extension| extension == "yaml");
    let mut seeds = files("config", is_yaml);
    seeds.extend(files("config/invalid", is_yaml));
    let keys = Secrets::of(seeds.iter());
    fuzz("configuration", seeds, WORDS, |input| check(&String::from_utf8_lossy(input), &keys));
}

fn check(text: &str, keys: &Secrets) -> u64 {
    let (first, second) = (resolve(text), resolve(text));
    assert_eq!(first.problems, second.problems, "the same problems each time");
    let has_errors = first.problems.iter().any(|problem| problem.severity == Severity::Error);
    assert_eq!(first.config.is_none(), has_errors, "refused with a reason, or taken");
    let shown = render(&first.problems, "lb.yaml", text);
    keys.assert_not_in(&shown);
    for problem in &first.problems {
        assert!(is_inside(problem, text), "outside of the text: {problem:?}");
        let expected = problem.expected.as_deref().unwrap_or_default();
        for said in [&*problem.path, &*problem.message, expected] {
            keys.assert_not_in(said);
        }
        assert!(!problem.message.is_empty() && problem.message.len() < 2000, "{problem:?}");
    }
    if let (Some(first), Some(second)) = (&first.config, &second.config) {
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_eq!(format!("{first:?}"), format!("{second:?}"), "the same configuration each time");
        route(first);
    }
    let codes: std::collections::BTreeSet<_> = first.problems.iter().map(|problem| problem.code).collect();
    kind((codes, first.config.map(|config| (config.fronts.len(), config.services.len()))))
}

/// With the files of `config/tls`, and nothing else of this machine.
fn resolve(text: &str) -> Resolved {
    let read = |name: &str| match name.rsplit('/').next().unwrap_or(name) {
        "localhost.pem" => Ok(include_bytes!("../../config/tls/localhost.pem").to_vec()),
        "localhost.key" => Ok(include_bytes!("../../config/tls/localhost.key").to_vec()),
        "wildcard.pem" => Ok(include_bytes!("../../config/tls/wildcard.pem").to_vec()),
        "wildcard.key" => Ok(include_bytes!("../../config/tls/wildcard.key").to_vec()),
        "ca.pem" => Ok(include_bytes!("../../config/tls/ca.pem").to_vec()),
        _ => Err("no such file".to_owned()),
    };
    document_in(text, Around { read: &read, now: Some(1_800_000_000) })
}

fn is_inside(problem: &Problem, text: &str) -> bool {
    let Some(at) = problem.position else { return true };
    let mut lines = text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
    let line = at.line.checked_sub(1).and_then(|before| lines.nth(before));
    // Behind the last character is where something is missing.
    line.is_some_and(|line| {
        let length = line.chars().count();
        (1..=length + 1).contains(&at.column)
            && at.width >= 1
            && at.column + at.width <= length.max(at.column) + 1
    })
}

/// Every front finds a way for requests of all kinds.
fn route(config: &Config) {
    for front in &config.fronts {
        let map = match &front.kind {
            FrontKind::Http(front) => &front.url_map,
            FrontKind::Https(front) => &front.http.url_map,
            FrontKind::Tcp(_) | FrontKind::Ssl(_) => continue,
        };
        let headers = HeaderMap::new();
        for host in [None, Some(&b"www.example.com:80"[..]), Some(b"\xff[")] {
            for path in ["/", "*", "", "/a/b//c", "/videos/\u{e4}"] {
                let head = Head { host, method: "GET", path, query: Some("a&b=c"), headers: &headers };
                let found = map.find(&head);
                assert!(found.matched(path) <= path.len().max(1));
                for (service, _) in found.action.services() {
                    assert!(service.index() < config.services.len());
                }
            }
        }
    }
}

/// Private keys of the seeds, as what is not to be seen.
struct Secrets(HashSet<Vec<u8>>);

impl Secrets {
    fn of<'a>(seeds: impl Iterator<Item = &'a Vec<u8>>) -> Self {
        let mut windows = HashSet::new();
        for seed in seeds {
            let text = String::from_utf8_lossy(seed);
            // A key's body ends where its end line begins, or where the document does.
            for body in text.split("PRIVATE KEY-----").skip(1).step_by(2) {
                let body = body.split("-----").next().unwrap_or(body);
                for line in body.split(|c: char| !is_base64(c as u32)) {
                    windows.extend(line.as_bytes().windows(SECRET).map(Vec::from));
                }
            }
        }
        assert!(!windows.is_empty(), "no seed has a key");
        Self(windows)
    }

    fn assert_not_in(&self, said: &str) {
        for run in said.as_bytes().split(|byte| !is_base64((*byte).into())) {
            if let Some(seen) = run.windows(SECRET).find(|window| self.0.contains(*window)) {
                panic!("a private key is seen: {} in {said}", seen.escape_ascii());
            }
        }
    }
}

fn is_base64(c: u32) -> bool {
    u8::try_from(c).is_ok_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
}
