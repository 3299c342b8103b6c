//! Every file of `config/` is good; every file of `config/invalid/` gives exactly the problems beside it.
//!
//! `UPDATE=1 cargo test --test examples` rewrites the expected problems; read the difference before it is committed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use overspill::cli::check::render;
use overspill::engine::files;
use overspill::model::problem::Severity;
use overspill::model::resolve::{Resolved, document};

/// The YAML files of a folder, sorted.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_example_is_good() {
    let files = files("config");
    assert!(files.len() >= 11, "{files:?}");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let Resolved { config, problems } = files::resolve(&text, &path).0;
        assert_eq!(render(&problems, &name(&path), &text), "");
        assert!(config.is_some(), "{}", path.display());
    }
}

#[test]
fn every_invalid_example_gives_exactly_its_problems() {
    let files = files("config/invalid");
    assert!(files.len() >= 45, "only {}", files.len());
    let mut wrong = String::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let Resolved { config, problems } = files::resolve(&text, &path).0;
        let rendered = render(&problems, &name(&path), &text);
        assert_eq!(
            config.is_none(),
            problems.iter().any(|p| p.severity == Severity::Error),
            "{}",
            path.display()
        );
        assert_eq!(problems.len(), 1, "one mistake, one problem:\n{rendered}");
        let expected_path = path.with_extension("problems");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected_path, &rendered).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if rendered != expected {
            wrong.push_str(&format!("--- expected\n{expected}+++ got\n{rendered}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The near backend of `config/rate.yaml`, and what the worked numbers put in its place.
fn rate_with(from: &str, to: &str) -> Vec<&'static str> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rate.yaml")).unwrap();
    assert!(text.contains(from), "{from}");
    let Resolved { problems, .. } = document(&text.replacen(from, to, 1));
    problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn w12_a_scaler_between_0_and_a_tenth_is_refused() {
    let near = "maxRate: 100}";
    for (scaler, codes) in
        [("0.05", vec!["out-of-range"]), ("0.1", vec![]), ("0", vec![]), ("1.01", vec!["out-of-range"])]
    {
        assert_eq!(rate_with(near, &format!("maxRate: 100, capacityScaler: {scaler}}}")), codes, "{scaler}");
    }
}

#[test]
fn all_that_is_wrong_with_a_backend_is_said_at_once() {
    let near = "maxRate: 100}";
    for (instead, codes) in [
        (
            "maxRate: 100, maxRatePerInstance: 50, maxUtilization: 0.8}",
            vec!["two-targets", "forbidden-field"],
        ),
        (
            "maxUtilization: 0.8, capacityScaler: 0.05}",
            vec!["missing-target", "forbidden-field", "out-of-range"],
        ),
        (
            "maxRate: 100, maxConnections: 5, trafficDuration: LONG}",
            vec!["forbidden-field", "forbidden-field"],
        ),
    ] {
        assert_eq!(rate_with(near, instead), codes, "{instead}");
    }
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/neg.yaml")).unwrap();
    let text =
        text.replacen("balancingMode: RATE", "maxRatePerInstance: 5\n        balancingMode: UTILIZATION", 1);
    let codes: Vec<_> = document(&text).problems.iter().map(|problem| problem.code).collect();
    assert!(codes.contains(&"forbidden-mode") && codes.contains(&"forbidden-field"), "{codes:?}");
}

#[test]
fn w13_a_lone_backend_cannot_be_drained() {
    let two = "      - {group: ig-near, balancingMode: RATE, maxRate: 100}               # the group as a whole\n      - {group: ig-far, balancingMode: RATE, maxRatePerInstance: 100}";
    let one = "      - {group: ig-near, balancingMode: RATE, maxRate: 100, capacityScaler: 0}";
    assert_eq!(rate_with(two, one), ["drained-single-backend"]);
}

#[test]
fn w14_timeouts_are_1_to_2147483647_s() {
    for (seconds, codes) in [
        ("0", vec!["out-of-range"]),
        ("1", vec![]),
        ("2147483647", vec![]),
        ("2147483648", vec!["out-of-range"]),
        ("99999999999999999999999999999999999999999999", vec!["wrong-type"]),
    ] {
        assert_eq!(rate_with("timeoutSec: 30", &format!("timeoutSec: {seconds}")), codes, "{seconds}");
    }
}

#[test]
fn w15_a_cookie_lives_up_to_two_weeks() {
    for (seconds, codes) in [("0", vec![]), ("1209600", vec![]), ("1209601", vec!["out-of-range"])] {
        let lines = format!(
            "timeoutSec: 30\n    sessionAffinity: GENERATED_COOKIE\n    affinityCookieTtlSec: {seconds}"
        );
        assert_eq!(rate_with("timeoutSec: 30", &lines), codes, "{seconds}");
    }
}

#[test]
fn w16_a_probe_ends_before_the_next_one_begins() {
    assert_eq!(rate_with("timeoutSec: 5\n", "timeoutSec: 6\n"), ["timeout-over-interval"]);
    assert_eq!(rate_with("timeoutSec: 5\n", "timeoutSec: 4\n"), [""; 0]);
}

/// A small generator with a seed, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }
}

/// Words that have a meaning somewhere, to be put where they have none.
const WORDS: &[&str] = &[
    "null",
    "~",
    "[]",
    "{}",
    "true",
    "-1",
    "0",
    "1e999",
    ".inf",
    ".nan",
    "0x7fffffffffffffff",
    "\"\"",
    "&a",
    "*a",
    "<<: *a",
    "!!str",
    "? ",
    "- ",
    ": ",
    "\t",
    "\r",
    "\n",
    "---\n",
    "|\n",
    ">\n",
    "'",
    "\"",
    "#",
    "%YAML 1.2\n",
    "\u{0}",
    "\u{feff}",
    "\u{1f600}",
    "zones/",
    "https://",
    "9223372036854775808",
    "RATE",
    "UTILIZATION",
    "name",
    "group",
];

fn mutate(text: &str, dice: &mut Dice) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        match dice.roll(6) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => {
                let at = at.min(bytes.len() - 1);
                bytes[at] ^= 1 << dice.roll(8);
            }
            2 => drop(bytes.splice(at..at, WORDS[dice.roll(WORDS.len())].bytes())),
            3 => drop(bytes.drain(at..(at + dice.roll(40)).min(bytes.len()))),
            4 => {
                let end = (at + dice.roll(80)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = dice.roll(bytes.len());
                drop(bytes.splice(to..to, piece));
            }
            _ => {
                let end = (at + 1 + dice.roll(8)).min(bytes.len());
                drop(bytes.splice(at..end, WORDS[dice.roll(WORDS.len())].bytes()));
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn no_text_makes_it_panic() {
    let texts: Vec<String> = files("config")
        .iter()
        .chain(&files("config/invalid"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(30);
    for (number, text) in texts.iter().enumerate() {
        for round in 0..rounds {
            let seed = 1 + number as u64 * 1_000_003 + round;
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mutated = mutate(text, &mut dice);
            let outcome = std::panic::catch_unwind(|| {
                let Resolved { config, problems } = document(&mutated);
                let has_errors = problems.iter().any(|problem| problem.severity == Severity::Error);
                assert_eq!(config.is_none(), has_errors, "a configuration exactly when there is no error");
                assert!(problems.iter().all(|problem| problem.code != "internal"));
                render(&problems, "mutated.yaml", &mutated)
            });
            assert!(outcome.is_ok(), "seed {seed}, text {number}, round {round}:\n{mutated}");
        }
    }
}

/// However broken the document is, nothing that is said about it repeats a private key.
#[test]
fn no_mutilated_document_shows_a_private_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/ssl-proxy.yaml");
    let text = fs::read_to_string(path).unwrap();
    let key: Vec<_> = text.lines().skip_while(|line| !line.contains("BEGIN PRIVATE KEY")).skip(1).collect();
    let key: Vec<_> = key.iter().map(|line| line.trim()).take_while(|line| !line.contains("-----")).collect();
    let secrets: Vec<&str> = key.iter().flat_map(|line| [&line[..16], &line[16..32]]).collect();
    assert!(secrets.len() >= 6);
    let start = text.find("privateKey").unwrap();
    let end = text.find("END PRIVATE KEY").unwrap();
    for seed in 1..=2000_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let at = start + dice.roll(end - start);
        let word = WORDS[dice.roll(WORDS.len())];
        let mutated = format!("{}{word}{}", &text[..at], &text[at + dice.roll(3)..]);
        let Resolved { problems, .. } = document(&mutated);
        let said = render(&problems, "mutated.yaml", &mutated) + &format!("{problems:?}");
        let shown = secrets.iter().find(|secret| said.contains(**secret));
        assert_eq!(shown, None, "seed {seed}:\n{said}");
    }
}

#[test]
fn exit_codes_tell_good_from_bad_and_strict_refuses_warnings() {
    use overspill::cli::check::{BAD, Format, GOOD, run};
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    let (good, bad) = (file("minimal.yaml"), file("invalid/misspelt-key.yaml"));
    let warning = file("invalid/warning-rate-zero.yaml");
    for format in [Format::Human, Format::Json] {
        assert_eq!(run(&good, format, true), GOOD);
        assert_eq!(run(&bad, format, false), BAD);
        assert_eq!(run(&warning, format, false), GOOD);
        assert_eq!(run(&warning, format, true), BAD);
    }
}
