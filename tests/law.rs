//! The law of the house: who may import whom, what each floor must not contain, how long a file may be.
//!
//! Reads `src/` as text, without comments, strings and tests. The rules in words stand in `src/lib.rs`; an exception
//! stands in [`EXCEPTIONS`] with its reason, and one that nothing needs any more is a failure too.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder or file of `src/`, what of ours it may import (a room, or one module of it), and what it must not say.
struct Room {
    place: &'static str,
    may_import: &'static [&'static str],
    must_not_say: &'static [&'static [&'static str]],
}

/// No clock, no I/O, no async, no threads, no logs, no global state.
const PURE: &[&str] = &[
    "tokio",
    "hyper",
    "tracing",
    "async ",
    ".await",
    "std::thread",
    "thread_local!",
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "Instant",
    "static mut",
    "OnceLock",
    "LazyLock",
];
/// Decisions are the same in every process, and nothing is shared while they are made.
const REPEATABLE: &[&str] = &["Atomic", "Mutex", "RwLock", "HashMap", "HashSet", "RandomState", "Cell<"];
/// Floor 1 is silent and never waits.
const SILENT: &[&str] =
    &["tokio", "hyper", "rustls", "tracing", "async ", ".await", "std::thread", "std::fs"];
/// No arguments with the operating system about files and threads.
const NO_FILES: &[&str] = &["std::fs", "std::thread::spawn", "println!", "eprintln!"];

const ROOMS: &[Room] = &[
    // Floor 0.
    Room { place: "wire/", may_import: &["wire"], must_not_say: &[PURE, REPEATABLE] },
    Room { place: "model/", may_import: &["model", "wire"], must_not_say: &[PURE] },
    Room { place: "balance/", may_import: &["balance", "model"], must_not_say: &[PURE, REPEATABLE] },
    Room {
        place: "simulate/",
        may_import: &["simulate", "balance", "model"],
        must_not_say: &[PURE, REPEATABLE],
    },
    // Floor 1.
    Room { place: "clock.rs", may_import: &["model::unit"], must_not_say: &[SILENT] },
    Room {
        place: "ledger/",
        may_import: &["ledger", "model", "balance::gcra", "balance::pick", "balance::plan"],
        must_not_say: &[SILENT, &["Instant"]],
    },
    Room {
        place: "world.rs",
        may_import: &["model", "ledger", "balance::hash", "balance::plan"],
        must_not_say: &[SILENT, &["Instant"]],
    },
    // Floor 2.
    Room { place: "net/", may_import: &["net", "model", "clock"], must_not_say: &[NO_FILES, &["hyper"]] },
    Room {
        place: "proxy/",
        may_import: &["proxy", "net", "world", "ledger", "clock", "balance", "model"],
        must_not_say: &[NO_FILES, &["static mut", "LazyLock"]],
    },
    Room {
        place: "health/",
        may_import: &["health", "net", "world", "ledger", "clock", "balance", "model"],
        must_not_say: &[NO_FILES],
    },
    Room {
        place: "engine/",
        may_import: &["engine", "proxy", "health", "net", "world", "ledger", "clock", "balance", "model"],
        must_not_say: &[&["println!", "eprintln!"]],
    },
    // Floor 3.
    Room {
        place: "source/",
        may_import: &[
            "source",
            "engine::files",
            "engine::handle",
            // Who is replaced changes nothing any more.
            "engine::upgrade",
            "model::problem",
            "clock",
        ],
        must_not_say: &[&["println!", "eprintln!"]],
    },
    Room {
        place: "telemetry/",
        may_import: &[
            "telemetry",
            "engine::handle",
            "world",
            "ledger",
            "clock",
            "balance::pick",
            "balance::plan",
            "model",
        ],
        must_not_say: &[],
    },
    Room {
        place: "admin/",
        may_import: &[
            "admin",
            // `explain` reads a session as the proxy does, and answers what it answers by itself.
            "proxy::screen",
            "proxy::session",
            "telemetry::metrics",
            // What is asked for is changed there, in the process and in its file.
            "source::store",
            // TLS on the admin address is that of the proxies.
            "net::accept",
            "engine::handle",
            "engine::upgrade",
            // The text that serves, its resources, and the door for changes.
            "source::store",
            "wire",
            "world",
            "ledger",
            "clock",
            "balance::capacity",
            "balance::explain",
            "balance::pick",
            "balance::plan",
            "model",
        ],
        must_not_say: &[NO_FILES],
    },
    // The commands put everything together.
    Room {
        place: "cli/",
        may_import: &[
            "cli",
            "admin",
            "telemetry",
            "simulate",
            "source",
            // `check` reads the files that a document names, as the engine does.
            "engine::files",
            "engine::handle",
            "engine::start",
            "engine::upgrade",
            "world",
            "ledger",
            "clock",
            // `explain` on a file plans as a running proxy does, and reads a session as it does.
            "balance::capacity",
            "balance::planner",
            "proxy::session",
            "balance::pick",
            "balance::plan",
            "model",
            "wire",
        ],
        must_not_say: &[],
    },
    Room { place: "lib.rs", may_import: &[], must_not_say: &[] },
    Room { place: "main.rs", may_import: &[], must_not_say: &[] },
];

/// What nobody says, with the one place that may.
const RESERVED: &[(&str, &str)] = &[
    ("Instant::now", "clock.rs"),
    ("SystemTime::now", "clock.rs"),
    ("serde_yaml", "wire/yaml.rs"),
    ("saphyr_parser", "wire/yaml.rs"),
    ("SO_REUSEPORT", "net/listen.rs"),
    ("thread::sleep", ""),
    ("unsafe ", ""),
    ("todo!", ""),
    ("unimplemented!", ""),
    ("dbg!", ""),
];

/// (file, what it says or imports, why that is right).
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("cli/get_health.rs", "serde_yaml", "prints YAML, as gcloud does; reads none"),
    (
        "wire/edit/read.rs",
        "saphyr_parser",
        "edits need the places of values to the byte, a document does not",
    ),
    (
        "health/local_process.rs",
        "std::fs",
        "what the kernel says of processes stands in files that never block",
    ),
];

/// Lines of a file, tests not counted.
const LONGEST: usize = 500;

/// A source file as the law sees it.
struct Source {
    /// From `src/`.
    path: String,
    /// All of it.
    text: String,
    /// Without tests, comments and the insides of strings.
    code: String,
    /// Lines before the tests.
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let sources = files.iter().map(|file| {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        let text = fs::read_to_string(file).unwrap();
        let live = without_tests(&text);
        Source { path, lines: live.lines().count(), code: bare(live), text }
    });
    // Files that are tests from end to end are modules of their own for length's sake.
    sources.filter(|source| !is_test_file(&source.path)).collect()
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path == "health/fixture.rs"
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Tests stand at the end of a file.
fn without_tests(text: &str) -> &str {
    let start = if text.starts_with("#[cfg(test)]\n") { Some(0) } else { text.find("\n#[cfg(test)]\n") };
    match start {
        Some(start) if text[start..].contains("\nmod tests {") => &text[..=start],
        _ => text,
    }
}

/// Blanks comments and what stands between quotes.
fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
        } else if c == '"' {
            quoted(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") {
            rest.find('"').unwrap() + 2
        } else {
            0
        };
        if skipped == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.push(' ');
            rest = &rest[skipped..];
        }
    }
    out
}

/// How many hashes a raw string here has.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    text[1 + hashes..].starts_with('"').then_some(hashes)
}

fn quoted(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The modules of ours that this code names, as `room` or `room::module`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let path = &code[at + "crate::".len()..];
        // `pub(in crate::…)` and `$crate::` name the same things.
        let room = word(path);
        assert!(!room.is_empty(), "crate::{{…}} hides what is imported: {}", &path[..path.len().min(60)]);
        let Some(inner) = path[room.len()..].strip_prefix("::") else {
            found.insert(room.to_owned());
            continue;
        };
        if let Some(list) = inner.strip_prefix('{') {
            for item in top_level(list) {
                found.insert(format!("{room}::{}", word(item.trim_start())));
            }
        } else {
            found.insert(format!("{room}::{}", word(inner)));
        }
    }
    found
}

/// The items of a list in braces, up to its end.
fn top_level(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("")
}

fn room_of(path: &str) -> Option<&'static Room> {
    ROOMS
        .iter()
        .find(|room| path == room.place || (room.place.ends_with('/') && path.starts_with(room.place)))
}

fn may_import(room: &Room, module: &str) -> bool {
    let mut parts = module.split("::");
    let top = parts.next().unwrap_or("");
    room.may_import.iter().any(|allowed| *allowed == module || *allowed == top)
}

fn says(code: &str, what: &str) -> bool {
    code.match_indices(what).any(|(at, _)| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        !(before.is_alphanumeric() || before == '_') || !what.starts_with(char::is_alphanumeric)
    })
}

/// Everything that breaks the law, as (file, what, sentence).
fn breaches() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for Source { path, code, .. } in sources() {
        let mut report = |what: &str, sentence: String| found.push((path.clone(), what.to_owned(), sentence));
        let Some(room) = room_of(&path) else {
            report("", format!("{path} is in no room of the law"));
            continue;
        };
        for module in imports(&code).iter().filter(|module| !may_import(room, module)) {
            report(module, format!("{path} imports {module}, which {} may not", room.place));
        }
        let depth = path.matches('/').count() + usize::from(!path.ends_with("mod.rs"));
        if code.contains(&"super::".repeat(depth.max(1))) && depth > 0 {
            report("super", format!("{path} leaves its room by super::"));
        }
        for what in room.must_not_say.iter().copied().flatten().filter(|what| says(&code, what)) {
            report(what, format!("{path} says `{what}`, which {} must not", room.place));
        }
        for (what, owner) in RESERVED.iter().filter(|(what, owner)| path != *owner && says(&code, what)) {
            let by = if owner.is_empty() { "nobody" } else { owner };
            report(what, format!("{path} says `{what}`; {by} may"));
        }
    }
    found
}

#[test]
fn imports_go_down_and_each_floor_keeps_its_silence() {
    let (mut broken, mut used) = (Vec::new(), BTreeSet::new());
    for (path, what, sentence) in breaches() {
        match EXCEPTIONS.iter().position(|(file, said, _)| *file == path && *said == what) {
            Some(exception) => drop(used.insert(exception)),
            None => broken.push(sentence),
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    for (n, (file, what, why)) in EXCEPTIONS.iter().enumerate() {
        assert!(used.contains(&n), "nothing needs the exception of {file} for `{what}` any more");
        assert!(!why.is_empty(), "the exception of {file} for `{what}` gives no reason");
    }
}

#[test]
fn a_file_is_one_idea_and_says_which() {
    let mut broken = Vec::new();
    for Source { path, text, lines, .. } in sources() {
        if lines > LONGEST {
            broken.push(format!("{path} has {lines} lines without its tests; {LONGEST} is the wall"));
        }
        let first = text.lines().next().unwrap_or("");
        if !first.starts_with("//! ") || first.len() < 12 {
            broken.push(format!("{path} does not begin with what it is: {first:?}"));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn unsafe_code_is_forbidden_and_every_public_item_is_documented() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    for lint in [
        "unsafe_code = \"forbid\"",
        "missing_docs = \"warn\"",
        "too_many_lines = \"warn\"",
        "unwrap_used = \"warn\"",
    ] {
        assert!(manifest.lines().any(|line| line.trim() == lint), "Cargo.toml lacks {lint}");
    }
}

#[test]
fn the_law_sees_through_comments_strings_and_tests() {
    let text = "//! tokio\nuse crate::a::{b::c, d};\nlet x = \"crate::e \\\" tokio\"; // crate::f\n\
                let y = r#\"tokio \" \"#;\n#[cfg(test)]\nmod tests {\n use crate::g;\n}\n";
    let code = bare(without_tests(text));
    assert_eq!(imports(&code).into_iter().collect::<Vec<_>>(), ["a::b", "a::d"]);
    assert!(!says(&code, "tokio") && says("use tokio::x;", "tokio") && !says("mytokio", "tokio"));
}

#[test]
fn the_law_covers_the_whole_house() {
    let sources = sources();
    assert!(sources.len() > 80, "{} files", sources.len());
    for room in ROOMS {
        assert!(
            sources.iter().any(|s| room_of(&s.path).is_some_and(|r| r.place == room.place)),
            "{} is empty",
            room.place
        );
    }
}
