//! Outputs of gcloud in `tests/import/`, and what becomes of them. `UPDATE=1 cargo test --lib cli::import` rewrites what
//! is expected; read the difference before it is committed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(name)
}

/// All inputs of a case. `instances-of.GROUP.yaml` and `endpoints-of.GROUP.yaml` are what the options name.
fn inputs_of(case: &Path) -> Vec<Input> {
    let names = fs::read_dir(case).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with("expected.")).collect();
    names.sort();
    let input = |name: String| {
        let text = fs::read_to_string(case.join(&name)).unwrap();
        let members_of =
            name.split_once("-of.").map(|(_, group)| group.split_once('.').unwrap().0.to_owned());
        Input { name, text, members_of }
    };
    names.into_iter().map(input).collect()
}

fn one(text: &str) -> Result<Made, Vec<String>> {
    many(&[("f", text)], &Wishes::default())
}

fn many(texts: &[(&str, &str)], wishes: &Wishes) -> Result<Made, Vec<String>> {
    let input =
        |(name, text): &(&str, &str)| Input { name: (*name).into(), text: (*text).into(), members_of: None };
    make(&texts.iter().map(input).collect::<Vec<_>>(), wishes)
}

#[test]
fn outputs_of_gcloud_become_the_expected_configuration() {
    for name in ["external", "exports", "https", "regional"] {
        let case = case(name);
        let made = make(&inputs_of(&case), &Wishes::default()).unwrap();
        let resolved = files::resolve(&made.text, &case.join("expected.yaml")).0;
        let said = made.said.render() + &check::render(&resolved.problems, "expected.yaml", &made.text);
        for (file, is) in [("expected.yaml", &made.text), ("expected.txt", &said)] {
            let path = case.join(file);
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&path, is).unwrap();
            }
            assert_eq!(*is, fs::read_to_string(&path).unwrap(), "{name}/{file}");
        }
    }
}
