//! Every file of `config/` is good; every file of `config/invalid/` gives exactly the problems beside it.
//!
//! `UPDATE=1 cargo test --test examples` rewrites the expected problems; read the difference before it is committed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use overspill::cli::check::render;
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
        let Resolved { config, problems } = document(&text);
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
        let Resolved { config, problems } = document(&text);
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
