//! What `overspill import` makes of any text: a refusal, or a configuration that says nothing unknown.

use overspill::cli::import::{Input, Wishes, make};
use overspill::wire::read;

use crate::kind;
use crate::run::{files, fuzz};

const WORDS: &[&str] = &[
    "---\n",
    "- ",
    ": ",
    "kind: compute#instanceGroup\n",
    "name: a\n",
    "items: ",
    "null",
    "\"\"",
    "[]",
    "{}",
    "zones/z-a/",
    "instances/a",
    "backend: ",
    "status: ",
    "instance: ",
    "networkEndpoint: ",
    "&a ",
    "*a",
    "|\n",
    "\u{85}",
    "\\ud83d",
    "1e9",
];

#[test]
fn an_import_of_any_text_is_refused_or_can_be_read() {
    let is_input = |path: &std::path::Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        !name.starts_with("expected") && (name.ends_with(".yaml") || name.ends_with(".json"))
    };
    let mut seeds = Vec::new();
    for case in ["external", "exports", "https", "regional"] {
        seeds.extend(files(&format!("tests/import/{case}"), is_input));
    }
    fuzz("import", seeds, WORDS, |input| check(&String::from_utf8_lossy(input)));
}

fn check(text: &str) -> u64 {
    let input = Input { name: "f".to_owned(), text: text.to_owned(), members_of: None };
    let Ok(made) = make(&[input], &Wishes::default()) else { return 0 };
    let (read, flaws) = read::read(&made.text);
    assert!(read.is_some(), "{flaws:?} in {}", made.text);
    let bad = flaws
        .iter()
        .find(|flaw| matches!(flaw.code, "unknown-key" | "not-supported" | "duplicate-key" | "wrong-type"));
    assert!(bad.is_none(), "{bad:?} in {}", made.text);
    let count = |lines: &[String]| lines.len().min(4);
    kind((
        count(&made.said.lost),
        count(&made.said.gaps),
        count(&made.said.notes),
        made.text.lines().count().min(20),
    ))
}
