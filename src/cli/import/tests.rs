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

const SERVICE: &str = "{kind: compute#backendService, name: web, fingerprint: x, timeoutSec: 30}";

#[test]
fn a_resource_that_stands_twice_is_taken_once() {
    let listed = "[{\"timeoutSec\": 30, \"name\": \"web\", \"fingerprint\": \"y\", \"kind\": \"compute#backendService\"}]";
    let made = many(&[("a", SERVICE), ("b", listed)], &Wishes::default()).unwrap();
    assert_eq!(made.text.matches("name: web").count(), 1);
}

#[test]
fn a_resource_that_stands_twice_with_different_content_is_refused() {
    let other = SERVICE.replace("30", "31");
    let refused = many(&[("a", SERVICE), ("b", &other)], &Wishes::default()).unwrap_err();
    assert!(
        refused[0].starts_with("backendServices[web] stands in a and, with different content, in b"),
        "{refused:?}"
    );
}

#[test]
fn what_does_not_say_what_it_is_is_asked_for() {
    let refused = one("name: web\ntimeoutSec: 5\n").unwrap_err();
    assert!(refused[0].contains("`--kind backendServices` says it"), "{refused:?}");
    let wishes = Wishes { kind: Some("backendServices"), ..Wishes::default() };
    assert!(many(&[("f", "name: web\ntimeoutSec: 5\n")], &wishes).is_ok());
    assert!(one("").is_err() && one("kind: compute#firewall").is_err() && one("[1]").is_err());
}

#[test]
fn rules_listen_where_it_is_said() {
    let rule = |name: &str, target: &str| {
        format!(
            "{{kind: compute#forwardingRule, name: {name}, IPAddress: 1.2.3.4, portRange: 80-80, target: {target}}}\n"
        )
    };
    let rules = format!("- {}- {}", rule("a", "x"), rule("b", "y"));
    let made = one(&rules).unwrap();
    assert!(
        made.said.gaps.iter().any(|gap| gap.contains("`--listen b=ADDR` gives it one")),
        "{:?}",
        made.said
    );
    let listen = ["0.0.0.0", "b=[::1]:8080"].map(|word| word.parse().unwrap()).into();
    let made = many(&[("f", &rules)], &Wishes { listen, ..Wishes::default() }).unwrap();
    assert!(made.text.contains("IPAddress: 0.0.0.0\n    portRange: \"80\""), "{}", made.text);
    assert!(made.text.contains("IPAddress: \"::1\"\n    portRange: \"8080\""), "{}", made.text);
    let listen = vec!["c=0.0.0.0".parse().unwrap()];
    assert!(many(&[("f", &rules)], &Wishes { listen, ..Wishes::default() }).is_err());
}

#[test]
fn members_of_an_unknown_group_are_not_forgotten() {
    let group = |zone: &str| format!("- {{kind: compute#instanceGroup, name: ig, zone: {zone}}}\n");
    let groups = group("us-east1-b") + &group("us-east1-c");
    let list = "- {instance: https://h/zones/us-east1-d/instances/vm, status: RUNNING}\n";
    let made = many(&[("groups", &groups), ("list", list)], &Wishes::default()).unwrap();
    assert!(made.said.lost[0].starts_with("list: lists instances (1) of a group"), "{:?}", made.said);
    let of = |members_of: &str| {
        let groups = Input { name: "groups".into(), text: groups.clone(), members_of: None };
        let list = Input { name: "list".into(), text: list.into(), members_of: Some(members_of.into()) };
        make(&[groups, list], &Wishes::default())
    };
    assert!(of("ig").is_err(), "there are two");
    assert!(
        of("us-east1-c/ig").unwrap().text.contains("[{name: vm}]"),
        "its address is still to be filled in"
    );
}

#[test]
fn a_file_that_is_there_is_replaced_by_force_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    save(&path, "longer", false).unwrap();
    assert!(save(&path, "b", false).unwrap_err().contains("--force"));
    save(&path, "c", true).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "c");
}
