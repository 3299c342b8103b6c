//! Cases of every kind of edit, and random ones against the value.

use serde_json::{Value, json};

use std::ops::Range;

use super::place::{self, Place};
use super::source::{Form, Source};
use super::text;
use super::tree::{Tree, parent};
use super::{Edit, Refused, Step, apply, meaning};

fn way(path: &str) -> Vec<Step> {
    let parts = path.split(['.', '[']).filter(|part| !part.is_empty());
    let step = |part: &str| match part.strip_suffix(']') {
        Some(index) => Step::Index(index.parse().unwrap()),
        None => Step::Key(part.to_owned()),
    };
    parts.map(step).collect()
}

fn set(path: &str, value: Value) -> Edit {
    Edit::Set { at: way(path), value }
}

fn remove(path: &str) -> Edit {
    Edit::Remove { at: way(path) }
}

fn insert(path: &str, index: usize, value: Value) -> Edit {
    Edit::Insert { at: way(path), index, value }
}

/// Each line: a text, an edit, what comes of it. The same with the line ends of Windows.
fn check(cases: Vec<(&str, Edit, &str)>) {
    for (text, edit, expected) in cases {
        let made = apply(text, std::slice::from_ref(&edit));
        assert_eq!(
            made.as_deref(),
            Ok(expected),
            "{edit:?} on\n{text}\nmade\n{}",
            made.clone().unwrap_or_default()
        );
        let (text, expected) = (text.replace('\n', "\r\n"), expected.replace('\n', "\r\n"));
        let made = apply(&text, std::slice::from_ref(&edit));
        // A text without any line break shows no style.
        if text.contains('\r') {
            assert_eq!(made, Ok(expected), "{edit:?} on\n{text:?}");
        }
    }
}

#[test]
fn a_word_takes_the_place_of_a_word_and_nothing_else_moves() {
    check(vec![
        ("a:   1   # one\nb: 2\n", set("a", json!(5)), "a:   5   # one\nb: 2\n"),
        ("a: {b: x, c: y} # c\n", set("a.b", json!("z")), "a: {b: z, c: y} # c\n"),
        ("a: \"8080\"\n", set("a", json!("9090")), "a: \"9090\"\n"),
        ("a: 'it'\n", set("a", json!("it's")), "a: 'it''s'\n"),
        ("a: 'it'\n", set("a", json!("two\nlines")), "a: |-\n  two\n  lines\n"),
        ("a: 'it'\n", set("a", json!("two\n  ")), "a: \"two\\n  \"\n"),
        ("a: \"x\"\n", set("a", json!(7)), "a: 7\n"),
        ("a: x\n", set("a", json!("7")), "a: \"7\"\n"),
        ("a: x\n", set("a", json!("")), "a: \"\"\n"),
        ("a: x\n", set("a", json!("yes")), "a: \"yes\"\n"),
        ("a: x\n", set("a", json!("*.example.com")), "a: \"*.example.com\"\n"),
        ("a: x\n", set("a", json!("b: c")), "a: \"b: c\"\n"),
        ("a: x\n", set("a", json!("b #c")), "a: \"b #c\"\n"),
        ("a: x\n", set("a", json!("b#c")), "a: b#c\n"),
        ("a: x\n", set("a", json!("/a,b")), "a: /a,b\n"),
        ("a: [x]\n", set("a[0]", json!("/a,b")), "a: [\"/a,b\"]\n"),
        ("a: x\n", set("a", json!(null)), "a: null\n"),
        ("a: x\n", set("a", json!(true)), "a: true\n"),
        ("a: x\n", set("a", json!(0.25)), "a: 0.25\n"),
        ("a: # none\nb: 1\n", set("a", json!("x")), "a: x # none\nb: 1\n"),
        ("a:\nb: 1\n", set("a", json!(["x"])), "a: [x]\nb: 1\n"),
        ("- a\n-   b # c\n", set("[1]", json!("x")), "- a\n-   x # c\n"),
        ("-\n- b\n", set("[0]", json!("x")), "- x\n- b\n"),
        ("é: \"ü\" # ö\nb: 'ß' # c\n", set("b", json!("ä")), "é: \"ü\" # ö\nb: 'ä' # c\n"),
        ("a: !!str 12 # c\n", set("a", json!("13")), "a: \"13\" # c\n"),
        ("a: one\n  two # c\nb: 1\n", set("a", json!("x")), "a: x # c\nb: 1\n"),
        ("a:\n  x # c\n", set("a", json!("y")), "a:\n  y # c\n"),
        ("{a: , b: 1}\n", set("a", json!("x")), "{a: x, b: 1}\n"),
        ("{a, b: 1}\n", set("a", json!("x")), "{a: x, b: 1}\n"),
        ("? a\n: x # c\nb: 1\n", set("a", json!("y")), "? a\n: y # c\nb: 1\n"),
        ("a: [b: c]\n", set("a[0].b", json!("d")), "a: [b: d]\n"),
    ]);
}

#[test]
fn texts_of_several_lines_are_literal_blocks() {
    let pem = "-----BEGIN-----\nabc=\n-----END-----\n";
    check(vec![
        (
            "a:\n  b: x # c\n  d: e\n",
            set("a.b", json!(pem)),
            "a:\n  b: | # c\n    -----BEGIN-----\n    abc=\n    -----END-----\n  d: e\n",
        ),
        (
            "a: |\n  one\n  two\n\n# c\nb: 1\n",
            set("a", json!("three\n\nfour\n")),
            "a: |\n  three\n\n  four\n\n# c\nb: 1\n",
        ),
        ("a: >- # why\n  one\n  two\nb: 1\n", set("a", json!("x")), "a: x # why\nb: 1\n"),
        ("a: |+\n  one\n\n\nb: 1\n", set("a", json!(1)), "a: 1\nb: 1\n"),
        ("- |\n  one\n- b\n", set("[0]", json!("x\ny\n")), "- |\n  x\n  y\n- b\n"),
        ("- {a: b}\n", set("[0].a", json!("x\ny\n")), "- {a: \"x\\ny\\n\"}\n"),
        ("a: b\n", set("a", json!(" x\ny")), "a: \" x\\ny\"\n"),
        ("a: |\n  last", set("b", json!(1)), "a: |\n  last\n\nb: 1"),
    ]);
}

#[test]
fn a_key_is_added_behind_the_last_one_in_the_style_of_its_object() {
    check(vec![
        (
            "a:\n  b: 1 # one\n\n# d\nd: 2\n",
            set("a.c", json!("x")),
            "a:\n  b: 1 # one\n  c: x\n\n# d\nd: 2\n",
        ),
        (
            "a:\n    b:\n        c: 1\n    # e\nd: 2\n",
            set("a.x", json!({"y": 1})),
            "a:\n    b:\n        c: 1\n    x:\n        y: 1\n    # e\nd: 2\n",
        ),
        ("a: {b: 1} # c\n", set("a.c", json!("x")), "a: {b: 1, c: x} # c\n"),
        ("a: { b: 1 }\n", set("a.c", json!({"d": "e"})), "a: { b: 1, c: { d: e } }\n"),
        ("a: {}\n", set("a.c", json!("x")), "a:\n  c: x\n"),
        ("a: [{}]\n", set("a[0].c", json!("x")), "a: [{c: x}]\n"),
        ("a: # c\nb: 1\n", set("a.c", json!("x")), "a: # c\n  c: x\nb: 1\n"),
        (
            "- name: x\n  zone: y\n- z\n",
            set("[0].k", json!([{"a": {"b": 1}}])),
            "- name: x\n  zone: y\n  k:\n    - a:\n        b: 1\n- z\n",
        ),
        ("a:\n- b: 1\n", set("a[0].k", json!([{"a": 1}])), "a:\n- b: 1\n  k:\n  - a: 1\n"),
        ("a: 1\n", set("b", json!(2)), "a: 1\n\nb: 2\n"),
        ("a: 1\nc: 2", set("b", json!(2)), "a: 1\nc: 2\nb: 2"),
        (
            "a: 1\n\nc: 2\n# end\n",
            set("b", json!([{"name": "x", "z": 1}])),
            "a: 1\n\nc: 2\n# end\n\nb:\n  - name: x\n    z: 1\n",
        ),
        ("---\na: 1\n---\n", set("b", json!(2)), "---\na: 1\n\nb: 2\n---\n"),
        ("{\"a\": 1}\n", set("b", json!("x")), "{\"a\": 1, \"b\": \"x\"}\n"),
        ("a: [b: c]\n", set("a[0].d", json!("e")), "a: [{b: c, d: e}]\n"),
        ("a: {b: {c: 1}}\nd: {e: 1}\n", set("d.e", json!({"x": [1]})), "a: {b: {c: 1}}\nd: {e: {x: [1]}}\n"),
    ]);
    assert_eq!(apply("", &[set("a", json!({"b": 1}))]).unwrap(), "a:\n  b: 1\n");
    assert_eq!(
        apply("# only\n", &[set("a", json!(1)), set("b", json!(2))]).unwrap(),
        "# only\na: 1\n\nb: 2\n"
    );
}

#[test]
fn collections_and_words_take_the_place_of_each_other() {
    check(vec![
        (
            "a: 1 # c\nb: 2\n",
            set("a", json!({"x": 1, "y": [{"z": 1}]})),
            "a: # c\n  x: 1\n  y:\n    - z: 1\nb: 2\n",
        ),
        ("a: # c\n  b: 1\n  # d\n  c: 2 # e\n\n# f\nd: 2\n", set("a", json!(5)), "a: 5 # c\n\n# f\nd: 2\n"),
        ("a: # c\n- b: 1\nd: 2\n", set("a", json!({"x": "y"})), "a: # c\n  x: y\nd: 2\n"),
        ("- name: x # c\n  zone: y\n- z\n", set("[0]", json!(1)), "- 1\n- z\n"),
        (
            "- x # c\n- z\n",
            set("[0]", json!({"name": "n", "a": {"b": 1}})),
            "- name: n # c\n  a:\n    b: 1\n- z\n",
        ),
        ("a: {b: 1} # c\n", set("a", json!([1, 2])), "a: [1, 2] # c\n"),
        ("a: x\n", set("a", json!([])), "a: []\n"),
        ("a: x\n", set("a", json!({})), "a: {}\n"),
        ("a:\n  - 1\n  - 2\n", set("a", json!([])), "a: []\n"),
        ("a: &x # c\n  k: v\nb: 1\n", set("a", json!(1)), "a: 1 # c\nb: 1\n"),
        ("a: [1, {b: c}]\n", set("a[1]", json!([3])), "a: [1, [3]]\n"),
    ]);
}

#[test]
fn a_collection_over_a_collection_changes_what_differs() {
    check(vec![
        (
            "a:\n  b: 1 # b\n  c: 2 # c\n  d: 3\n",
            set("a", json!({"b": 1, "c": 5, "e": 6})),
            "a:\n  b: 1 # b\n  c: 5 # c\n  e: 6\n",
        ),
        ("a:\n  - 1 # b\n  - 2 # c\n  - 3 # d\n", set("a", json!([1, 3])), "a:\n  - 1 # b\n  - 3 # d\n"),
        ("a:\n  - 1 # b\n  - 3 # d\n", set("a", json!([1, 2, 3])), "a:\n  - 1 # b\n  - 2\n  - 3 # d\n"),
        ("a: {b: 1}   \n", set("a", json!({"b": 1})), "a: {b: 1}   \n"),
    ]);
}

#[test]
fn an_entry_joins_a_list_in_the_style_of_its_siblings() {
    check(vec![
        (
            "a:\n  - {name: x, z: 1}   # x\n  # last\nb: 1\n",
            insert("a", 1, json!({"z": 2, "name": "y"})),
            "a:\n  - {name: x, z: 1}   # x\n  - {name: y, z: 2}\n  # last\nb: 1\n",
        ),
        (
            "a:\n# x\n- name: x\n  z: 1\n",
            insert("a", 0, json!({"z": 2, "name": "y"})),
            "a:\n- name: y\n  z: 2\n# x\n- name: x\n  z: 1\n",
        ),
        (
            "a:\n  -   b: 1\n",
            insert("a", 1, json!({"b": 2, "c": "x\ny\n"})),
            "a:\n  -   b: 1\n  -   b: 2\n      c: |\n        x\n        y\n",
        ),
        ("a:\n  - x\n\n  # y\n  - y\n", insert("a", 1, json!("z")), "a:\n  - x\n  - z\n\n  # y\n  - y\n"),
        ("- - x\n  - y\n", insert("[0]", 0, json!("z")), "- - z\n  - x\n  - y\n"),
        ("a: [x, y] # c\n", insert("a", 2, json!("z")), "a: [x, y, z] # c\n"),
        ("a: [x, y]\n", insert("a", 0, json!("z")), "a: [z, x, y]\n"),
        ("a: [x, y, ]\n", insert("a", 2, json!({"k": "z"})), "a: [x, y, {k: z}, ]\n"),
        ("a: [x, y]\n", insert("a", 1, json!("z")), "a: [x, z, y]\n"),
        ("a: [ ] # c\n", insert("a", 0, json!("z")), "a: [z] # c\n"),
        (
            "a:\n  b: [] # c\nd: 1\n",
            insert("a.b", 0, json!({"k": {"l": 1}})),
            "a:\n  b: # c\n    - k:\n        l: 1\nd: 1\n",
        ),
        ("a: # c\n", insert("a", 0, json!("z")), "a: [z] # c\n"),
        ("a: 1\n", insert("b", 0, json!({"name": "z"})), "a: 1\n\nb:\n  - name: z\n"),
        ("a: [\n  x, # x\n  y # y\n]\n", insert("a", 2, json!("z")), "a: [\n  x, # x\n  y, # y\n  z\n]\n"),
        ("a: [\n  x, # x\n  y, # y\n]\n", insert("a", 2, json!("z")), "a: [\n  x, # x\n  y, # y\n  z,\n]\n"),
        ("a: [\n  x, # x\n  y # y\n]\n", insert("a", 1, json!("z")), "a: [\n  x, # x\n  z,\n  y # y\n]\n"),
        ("a: [\n  x # x\n]\n", insert("a", 0, json!("z")), "a: [\n  z,\n  x # x\n]\n"),
        ("a: [b: c]\n", insert("a", 1, json!("z")), "a: [b: c, z]\n"),
    ]);
    let long = "x".repeat(130);
    let expected = format!("a:\n  - {{n: x, k: y}}\n  - n: {long}\n    k: z\n");
    check(vec![("a:\n  - {n: x, k: y}\n", insert("a", 1, json!({"n": long, "k": "z"})), &expected)]);
}

#[test]
fn what_is_removed_takes_its_own_lines_and_comments_along() {
    check(vec![
        ("a: 1\n# about b\nb: 2 # b\n# about c\nc: 3\n", remove("b"), "a: 1\n# about c\nc: 3\n"),
        (
            "a: 1\n\n# head\n\n# about b\nb:\n  - 1\n  # x\n  - 2\n\nc: 3\n",
            remove("b"),
            "a: 1\n\n# head\n\nc: 3\n",
        ),
        ("# file\na: 1\nb: 2\n", remove("a"), "# file\nb: 2\n"),
        ("a:\n  - x # x\n  - y # y\n", remove("a[1]"), "a:\n  - x # x\n"),
        ("a:\n  - x # x\n  - y # y\n", remove("a[0]"), "a:\n  - y # y\n"),
        ("a:\n  b: # l\n    - x # x\nc: 1\n", remove("a.b[0]"), "a:\n  b: [] # l\nc: 1\n"),
        ("a:\n  b:\n    c: 1 # x\nd: 1\n", remove("a.b.c"), "a:\n  b: {}\nd: 1\n"),
        ("a:\n  - x\n\nb: 1\n", remove("a[0]"), "b: 1\n"),
        ("# c\na: 1 # x\n", remove("a"), "# c\n{}\n"),
        ("- name: x # x\n  zone: y\n", remove("[0].name"), "- zone: y\n"),
        ("- name: x # x\n  # z\n  zone: y\n", remove("[0].name"), "-\n  # z\n  zone: y\n"),
        ("- name: x\n- b\n", remove("[0].name"), "- {}\n- b\n"),
        ("a: {b: 1, c: 2, d: 3} # c\n", remove("a.b"), "a: {c: 2, d: 3} # c\n"),
        ("a: {b: 1, c: 2, d: 3}\n", remove("a.c"), "a: {b: 1, d: 3}\n"),
        ("a: {b: 1, c: 2, d: 3}\n", remove("a.d"), "a: {b: 1, c: 2}\n"),
        ("a: { b: 1 }\n", remove("a.b"), "a: {}\n"),
        ("a: {b: [x, ]}\n", remove("a.b[0]"), "a: {b: []}\n"),
        ("a: [\n  # x\n  x, # x\n  y # y\n]\n", remove("a[0]"), "a: [\n  y # y\n]\n"),
        ("a: [\n  x, # x\n  y # y\n]\n", remove("a[1]"), "a: [\n  x # x\n]\n"),
        ("a: [\n  x, # x\n  y, # y\n]\n", remove("a[1]"), "a: [\n  x, # x\n]\n"),
        ("a: [x, # x\n  y]\n", remove("a[0]"), "a: [\n  y]\n"),
        ("a: [x, # x\n  y]\n", remove("a[1]"), "a: [x # x\n  ]\n"),
        ("a: [b: c, d]\n", remove("a[0].b"), "a: [{}, d]\n"),
        ("? a\n: x\nb: 1\n", remove("a"), "b: 1\n"),
        ("a: 1\n\nb:\n  - x\n", remove("b[0]"), "a: 1\n"),
        ("a: 1\n\n# about b\nb: 2\n", remove("b"), "a: 1\n"),
        ("a: |+\n  x\n\nb: 1\n\nc: 2\n", remove("c"), "a: |+\n  x\n\nb: 1\n"),
    ]);
}

#[test]
fn who_shares_an_anchor_keeps_the_old_value() {
    check(vec![
        ("a: &x v # c\nb: *x # d\nc: *x\n", set("b", json!("w")), "a: &x v # c\nb: w # d\nc: *x\n"),
        ("a: &x v # c\nb: *x # d\nc: *x\n", set("a", json!("w")), "a: w # c\nb: &x v # d\nc: *x\n"),
        ("a: &x v\nb: *x\nc: *x\n", remove("a"), "b: &x v\nc: *x\n"),
        (
            "a: &x {k: v, l: 1}\nb: *x # b\nc: *x\n",
            set("b.k", json!("w")),
            "a: &x {k: v, l: 1}\nb: {k: w, l: 1} # b\nc: *x\n",
        ),
        (
            "a: &x {k: v, l: 1}\nb: *x # b\nc: *x\n",
            set("a.k", json!("w")),
            "a: {k: w, l: 1}\nb: &x {k: v, l: 1} # b\nc: *x\n",
        ),
        (
            "a: &x\n  k: v\nb: *x # b\nc: *x\n",
            set("a.k", json!("w")),
            "a:\n  k: w\nb: &x # b\n  k: v\nc: *x\n",
        ),
        (
            "a: &x\n  - k: v\n    l: w\nb:\n  - *x\n  - y\n",
            insert("b[0]", 1, json!("z")),
            "a: &x\n  - k: v\n    l: w\nb:\n  - - k: v\n      l: w\n    - z\n  - y\n",
        ),
        ("- &x\n  k: v\n- *x\n- *x\n", set("[0].k", json!("w")), "-\n  k: w\n- &x\n  k: v\n- *x\n"),
        ("a: {b: &x v, c: *x}\n", remove("a.b"), "a: {c: &x v}\n"),
        ("a: {b: &x v, c: *x}\nd: *x\n", remove("a"), "d: &x v\n"),
        ("a: &x v\nb: 1\n", set("a", json!("w")), "a: &x w\nb: 1\n"),
        ("a: &x [&y v, *y]\nb: *x\nc: *y\n", set("a[0]", json!("w")), "a: [w, &y v]\nb: &x [v, v]\nc: *y\n"),
        ("a: &x\n  'k': \"v\"\nb: *x\n", set("a.k", json!("w")), "a:\n  'k': \"w\"\nb: &x\n  k: v\n"),
        ("a: &k key\nb: {*k : 1}\n", set("a", json!("w")), "a: w\nb: {&k key : 1}\n"),
    ]);
}

#[test]
fn json_stays_json() {
    let text = "{\n  \"a\": [\n    {\n      \"name\": \"x\",\n      \"n\": 1\n    }\n  ],\n  \"b\": {\n    \"c\": null\n  }\n}\n";
    check(vec![
        (text, set("a[0].n", json!("two")), &text.replace(": 1", ": \"two\"")),
        (text, set("b.d", json!(true)), &text.replace("null", "null,\n    \"d\": true")),
        (text, remove("a[0].n"), &text.replace(",\n      \"n\": 1", "")),
        (
            text,
            insert("a", 1, json!({"n": 2, "name": "y"})),
            &text.replace("}\n  ],", "},\n    {\n      \"name\": \"y\",\n      \"n\": 2\n    }\n  ],"),
        ),
        (
            text,
            set("c", json!([{"name": "z"}])),
            &text.replace("  }\n}\n", "  },\n  \"c\": [\n    {\n      \"name\": \"z\"\n    }\n  ]\n}\n"),
        ),
        (text, remove("a[0]"), "{\n  \"b\": {\n    \"c\": null\n  }\n}\n"),
    ]);
    let made = apply(text, &[set("b.c", json!("ü\u{7}\u{1f600}\"\\"))]).unwrap();
    assert!(serde_json::from_str::<Value>(&made).is_ok(), "{made}");
}

#[test]
fn what_cannot_be_is_refused_with_a_sentence() {
    let deep = (0..100).fold(json!(1), |value, _| json!([value]));
    for (text, edit, is) in [
        ("a: [1\n", set("a", json!(1)), "Unreadable"),
        ("a: 1\na: 2\n", set("a", json!(1)), "Unreadable"),
        ("a: 1\n", set("b.c", json!(1)), "Missing"),
        ("a: 1\n", set("a.c", json!(1)), "Missing"),
        ("a: [1]\n", set("a[1]", json!(1)), "Missing"),
        ("a: [1]\n", insert("a", 2, json!(1)), "Missing"),
        ("a: {}\n", insert("a", 0, json!(1)), "Missing"),
        ("a: {}\n", insert("b", 1, json!(1)), "Missing"),
        ("a: 1\n", remove("b"), "Missing"),
        ("a: 1\n", remove(""), "Missing"),
        ("a: 1\n", set("", json!({})), "Missing"),
        ("a: 1\n", set("a", deep), "TooLarge"),
    ] {
        let refused = apply(text, std::slice::from_ref(&edit)).unwrap_err();
        assert!(format!("{refused:?}").starts_with(is), "{edit:?} on {text:?}: {refused:?}");
        assert!(!refused.to_string().is_empty() && !matches!(refused, Refused::Internal(_)), "{refused:?}");
    }
}

/// Chance that a seed decides; the seed is printed with what fails.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    fn is(&mut self, one_in: usize) -> bool {
        self.roll(one_in) == 0
    }
}

/// A document in odd styles.
struct Author {
    dice: Dice,
    anchors: usize,
    /// Names whose values have ended.
    known: Vec<usize>,
    has_anchors: bool,
}

impl Author {
    fn document(seed: u64) -> String {
        let mut dice = Dice(seed);
        let has_anchors = dice.is(2);
        let mut author = Self { dice, anchors: 0, known: Vec::new(), has_anchors };
        let start = author.dice.one(&[
            "",
            "",
            "",
            "---\n",
            "# the head\n",
            "# the head\n\n",
            "\u{feff}",
            "%YAML 1.2\n---\n",
        ]);
        let root = if author.dice.is(8) { author.flow(0, 3, 0) } else { author.object(0, 3) };
        let root = if root.starts_with(['[', '{']) { format!("{root}\n") } else { root };
        let end = author.dice.one(&["", "", "", "\n", "# the end\n", "\n# the end\n", "...\n", "---\n"]);
        let text = format!("{start}{}{end}", root.trim_start_matches('\n'));
        match author.dice.roll(6) {
            0 => text.replace('\n', "\r\n"),
            1 => text.trim_end_matches('\n').to_owned(),
            _ => text,
        }
    }

    fn comment(&mut self) -> &'static str {
        self.dice.one(&["", "", "", "", " # why", "   # ü: [x, {", "\t# tab"])
    }

    fn between(&mut self, indent: usize) -> String {
        let pad = " ".repeat(indent);
        match self.dice.roll(8) {
            0 => "\n".to_owned(),
            1 => format!("{pad}# about it\n"),
            2 => format!("\n{pad}# about it\n{pad}# and more\n"),
            3 => format!("{pad}# of none\n\n"),
            _ => String::new(),
        }
    }

    fn key(&mut self, number: usize) -> String {
        match self.dice.roll(10) {
            0 => format!("\"k {number}\""),
            1 => format!("'k:{number}'"),
            2 => format!("ké{number}"),
            _ => format!("k{number}"),
        }
    }

    /// Lines of an object in block style, each with its line break.
    fn object(&mut self, indent: usize, depth: usize) -> String {
        let mut out = String::new();
        for number in 0..=self.dice.roll(4) {
            out.push_str(&self.between(indent));
            let key = self.key(number);
            let value = self.value(indent, depth, false);
            let pad = " ".repeat(indent);
            let line = match self.dice.roll(12) {
                0 if !value.starts_with('\n') => format!("{pad}? {key}\n{pad}:{value}"),
                1 => format!("{pad}{key} :{value}"),
                _ => format!("{pad}{key}:{value}"),
            };
            out.push_str(&line);
        }
        out
    }

    fn list(&mut self, indent: usize, depth: usize) -> String {
        let mut out = String::new();
        for _ in 0..=self.dice.roll(3) {
            out.push_str(&self.between(indent));
            let pad = " ".repeat(indent);
            if depth > 0 && self.dice.is(3) {
                // On the line of the dash.
                let known = self.known.clone();
                let gap = 1 + self.dice.roll(3);
                let inner = indent + 1 + gap;
                let lines =
                    if self.dice.is(3) { self.list(inner, depth - 1) } else { self.object(inner, depth - 1) };
                let lines = lines.trim_start_matches('\n');
                if !lines.trim_start().starts_with('#') {
                    out.push_str(&format!("{pad}-{}{}", " ".repeat(gap), lines.trim_start_matches(' ')));
                    continue;
                }
                self.known = known;
            }
            let value = self.value(indent, depth, true);
            out.push_str(&format!("{pad}-{value}"));
        }
        out
    }

    /// What stands behind the colon or the dash in this column, with its line break.
    fn value(&mut self, indent: usize, depth: usize, is_item: bool) -> String {
        if self.has_anchors && !self.known.is_empty() && self.dice.is(4) {
            let name = self.known[self.dice.roll(self.known.len())];
            return format!(" *a{name}{}\n", self.comment());
        }
        let anchor = (self.has_anchors && self.dice.is(4)).then(|| {
            self.anchors += 1;
            self.anchors
        });
        let name = anchor.map(|number| format!(" &a{number}")).unwrap_or_default();
        let comment = self.comment();
        let deeper = indent + 1 + self.dice.roll(4);
        let body = match self.dice.roll(if depth > 0 { 9 } else { 6 }) {
            0 => format!("{comment}\n"),
            1 => {
                let header = self.dice.one(&["|", "|-", "|+", ">", ">-"]);
                let pad = " ".repeat(deeper);
                let more = self.dice.one(&["", "two # lines\n", "\n"]);
                let more = if more.starts_with('t') { format!("{pad}{more}") } else { more.to_owned() };
                format!(" {header}{}\n{pad}one: [line\n{more}", comment.replace('\t', " "))
            }
            2 => format!(" {}{comment}\n", self.flow(0, depth, indent)),
            3 => format!(" {}{comment}\n", self.flow(1, depth, indent)),
            4 | 5 => format!(" {}{comment}\n", self.word(false, deeper)),
            6 => format!("{comment}\n{}", self.object(deeper, depth - 1)),
            7 if !is_item => format!("{comment}\n{}", self.list(indent, depth - 1)),
            _ => format!("{comment}\n{}", self.list(deeper, depth - 1)),
        };
        self.known.extend(anchor);
        format!("{name}{body}")
    }

    fn word(&mut self, in_flow: bool, indent: usize) -> String {
        let pad = " ".repeat(indent);
        match self.dice.roll(12) {
            0 => "\"quoted \\\" # ü\"".to_owned(),
            1 => "'it''s # x'".to_owned(),
            2 => "~".to_owned(),
            3 => "\"\"".to_owned(),
            4 if !in_flow => format!("several\n{pad}lines"),
            5 if !in_flow => format!("\"several\n{pad}lines\""),
            6 => "!!str 12".to_owned(),
            7 => "-1.5e3".to_owned(),
            8 => "http://x/y?z#w".to_owned(),
            9 => "yes".to_owned(),
            _ => format!("w{}", self.dice.roll(100)),
        }
    }

    /// In brackets: 0 on one line, 1 over several.
    fn flow(&mut self, kind: usize, depth: usize, indent: usize) -> String {
        let inner = indent + 2;
        let (first, between, last) = if kind == 0 {
            let pad = self.dice.one(&["", "", " "]);
            (pad.to_owned(), self.dice.one(&[", ", ","]).to_owned(), pad.to_owned())
        } else {
            let pad = " ".repeat(inner);
            let comment = self.dice.one(&["", "", " # of it"]);
            (
                format!("{comment}\n{pad}"),
                format!(",{comment}\n{pad}"),
                format!("{comment}\n{}", " ".repeat(indent + 1)),
            )
        };
        let is_list = self.dice.is(2);
        let mut parts = Vec::new();
        for number in 0..self.dice.roll(4) {
            let value = if depth > 0 && self.dice.is(4) {
                self.flow(kind, depth - 1, inner)
            } else if self.has_anchors && !self.known.is_empty() && self.dice.is(4) {
                format!("*a{} ", self.known[self.dice.roll(self.known.len())])
            } else {
                self.word(true, inner)
            };
            let key = self.key(number);
            parts.push(match (is_list, self.dice.roll(10)) {
                (true, 0) => format!("{key}: {value}"),
                (true, _) => value,
                (false, 0) => format!("{key}: "),
                (false, 1) => key,
                (false, _) => format!("{key}: {value}"),
            });
        }
        let inside = parts.join(&between);
        let (open, close) = if is_list { ('[', ']') } else { ('{', '}') };
        let comma = if !parts.is_empty() && self.dice.is(6) { "," } else { "" };
        if parts.is_empty() {
            format!("{open}{close}")
        } else {
            format!("{open}{first}{inside}{comma}{last}{close}")
        }
    }
}

fn value_of(tree: &Tree) -> Value {
    match tree {
        Tree::Null => Value::Null,
        // Numbers are compared as they are written.
        Tree::Word(word) => json!({"written": word}),
        Tree::Text(text) => json!(text),
        Tree::List(items) => items.iter().map(value_of).collect(),
        Tree::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), value_of(value))).collect())
        }
    }
}

fn written(value: &Value) -> Value {
    match value {
        Value::Bool(_) | Value::Number(_) => json!({"written": value.to_string()}),
        Value::Array(items) => items.iter().map(written).collect(),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), written(value))).collect())
        }
        other => other.clone(),
    }
}

fn ways(tree: &Tree, at: &[Step], out: &mut Vec<Vec<Step>>) {
    let below = |step: Step| at.iter().cloned().chain([step]).collect::<Vec<_>>();
    match tree {
        Tree::List(items) => {
            for (index, item) in items.iter().enumerate() {
                out.push(below(Step::Index(index)));
                ways(item, &below(Step::Index(index)), out);
            }
        }
        Tree::Object(entries) => {
            for (key, value) in entries {
                out.push(below(Step::Key(key.clone())));
                ways(value, &below(Step::Key(key.clone())), out);
            }
        }
        _ => {}
    }
}

fn any_value(dice: &mut Dice) -> Value {
    let texts = [
        "w",
        "",
        "no",
        "a: b",
        "[x",
        "1",
        "two\nlines\n",
        "three\n\nlines",
        "x\n  ",
        "x\n\t\n",
        "x\n \ny\n",
        "x \ny\t\n\n z",
        " x\ny",
        "\"'\\",
        "é\u{7f}\u{2028}\u{1f600}",
        "x #",
        "a, b",
    ];
    match dice.roll(9) {
        0 => json!(null),
        1 => json!(17),
        2 => json!(false),
        3 => json!([]),
        4 => json!({}),
        5 => json!([dice.one(&texts), {"name": dice.one(&texts), "b": [1, {"c": dice.one(&texts)}]}]),
        6 => {
            json!({"k0": dice.one(&texts), "k1": {"x": [dice.one(&texts)]}, "w": "x".repeat(dice.roll(130))})
        }
        _ => json!(dice.one(&texts)),
    }
}

fn any_edit(dice: &mut Dice, tree: &Tree) -> Option<Edit> {
    let mut all = Vec::new();
    ways(tree, &[], &mut all);
    let at = (!all.is_empty()).then(|| all[dice.roll(all.len())].clone())?;
    let (found, value) = (tree.find(&at)?, any_value(dice));
    Some(match (dice.roll(3), found) {
        (0, Tree::List(items)) => Edit::Insert { at, index: dice.roll(items.len() + 1), value },
        (0, Tree::Null) => Edit::Insert { at, index: 0, value },
        (0, Tree::Object(_)) => {
            let key = dice.one(&["new", "new: key", "12", "é"]);
            Edit::Set { at: at.into_iter().chain([Step::Key(key.to_owned())]).collect(), value }
        }
        (1, _) => Edit::Remove { at },
        _ => Edit::Set { at, value },
    })
}

/// The edit on the value, by other means than the module's.
fn edited(mut root: Value, edit: &Edit) -> Value {
    fn find<'v>(root: &'v mut Value, at: &[Step]) -> &'v mut Value {
        at.iter().fold(root, |value, step| match step {
            Step::Key(key) => &mut value[key.as_str()],
            Step::Index(index) => &mut value[*index],
        })
    }
    match edit {
        Edit::Set { at, value } => *find(&mut root, at) = written(value),
        Edit::Insert { at, index, value } => {
            let list = find(&mut root, at);
            if list.is_null() {
                *list = json!([]);
            }
            list.as_array_mut().unwrap().insert(*index, written(value));
        }
        Edit::Remove { at } => {
            let (last, parent) = at.split_last().unwrap();
            let found = find(&mut root, parent);
            let is_whole_collection =
                parent.len() == 1 && found.as_array().is_some_and(|items| items.len() == 1);
            match last {
                _ if is_whole_collection && matches!(parent[0], Step::Key(_)) => {
                    return edited(root, &Edit::Remove { at: parent.to_vec() });
                }
                Step::Key(key) => drop(found.as_object_mut().unwrap().remove(key)),
                Step::Index(index) => drop(found.as_array_mut().unwrap().remove(*index)),
            }
        }
    }
    root
}

/// The lines that the edit may touch: those of the value, and of what it is in where that is in brackets or loses its
/// last entry.
fn touched(text: &str, edit: &Edit) -> Range<usize> {
    let source = Source::read(text).unwrap();
    let at = match edit {
        Edit::Set { at, .. } | Edit::Remove { at } | Edit::Insert { at, .. } => at,
    };
    let Ok(mut place) = Place::find(&source, at).or_else(|_| Place::find(&source, parent(at))) else {
        panic!("{edit:?}");
    };
    loop {
        let start = place::with_comments(text, place.slot_start());
        let range =
            text::line_start(text, start)..text::next_line(text, place.node.end.max(place.slot_start()));
        let Some((outer, _)) = place.parent() else { return range };
        let stays = outer.node.form() == Some(Form::Block) && outer.node.children().len() > 1;
        // The first key of an entry shares the line of its dash.
        let shares_line = !text::is_first(text, place.slot_start());
        if stays && !shares_line
            || !matches!(edit, Edit::Remove { .. }) && outer.node.form() == Some(Form::Block)
        {
            return range;
        }
        place = outer;
    }
}

fn check_random(text: &str, seed: u64) {
    let dice = &mut Dice(seed);
    // Some of what an author makes of chance is not YAML.
    let Ok(before) = meaning(text) else { return };
    let Some(edit) = any_edit(dice, &before) else { return };
    let context = || format!("seed {seed}: {edit:?} on\n{text}");
    let made = apply(text, std::slice::from_ref(&edit)).unwrap_or_else(|why| panic!("{why}: {}", context()));
    let expected = edited(value_of(&before), &edit);
    assert_eq!(value_of(&meaning(&made).unwrap()), expected, "{}", context());
    // Where values are shared, other lines change.
    if !Source::read(text).unwrap().anchors().is_empty() {
        return;
    }
    let range = touched(text, &edit);
    let (head, tail) = (&text[..range.start], text[range.end..].trim_start_matches(['\n', '\r']));
    // At the end of a file a line break may be missing.
    let tail_is_there = made.ends_with(tail) || tail.is_empty();
    let is_new_at_root = matches!(&edit, Edit::Set { at, .. } if at.len() == 1);
    assert!(
        made.starts_with(head.trim_end_matches(['\n', '\r'])) && (tail_is_there || is_new_at_root),
        "{}\nmade\n{made}",
        context()
    );
}

/// A text of pieces that YAML treats in ways of its own.
fn odd_text(dice: &mut Dice) -> String {
    let pieces = [
        "a", " ", "  ", "\t", "\n", "\n", "\n\n", "\r\n", "\r", "# b", ": ", "- ", "---", "...", "|", "é",
        "'", "\"",
    ];
    (0..dice.roll(9)).map(|_| dice.one(&pieces)).collect()
}

proptest::proptest! {
    #[test]
    fn whatever_text_is_set_is_read_back_to_the_last_blank(seed in 0u64..u64::MAX) {
        let dice = &mut Dice(seed);
        let text = odd_text(dice);
        for document in ["a: 1\n", "a: 1", "a: 1\r\nb: 2\r\n", "a: 'q'\n", "a: \"q\"\nb: 2\n", "a: |\n  one\n  two\n", "a: {b: 1}\n", "a:\n- 1\n"] {
            let made = apply(document, &[set("a", json!(text))]).unwrap_or_else(|why| panic!("{why}: {text:?}"));
            let now = value_of(&meaning(&made).unwrap());
            assert_eq!(now["a"], json!(text), "{made:?}");
        }
    }

    #[test]
    fn a_random_edit_means_what_it_says_and_leaves_the_other_lines_alone(seed in 0u64..u64::MAX) {
        check_random(&Author::document(seed), seed);
    }

    #[test]
    fn a_random_edit_of_an_example_leaves_the_other_lines_alone(seed in 0u64..u64::MAX) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        let file = &files[Dice(seed).roll(files.len())];
        check_random(&std::fs::read_to_string(file).unwrap(), seed);
    }
}

#[test]
fn a_text_of_lines_before_a_comment_that_stands_as_deep_is_quoted() {
    let text = "proxy:\n  admin:\n    a: 1\n    # b: 2\n\nrules: []\n";
    let edit = Edit::Set {
        at: vec![Step::Key("proxy".to_owned()), Step::Key("new".to_owned())],
        value: Value::String("two\nlines\n".to_owned()),
    };
    let new = apply(text, &[edit]).unwrap();
    assert!(new.contains("  new: \"two\\nlines\\n\"\n") && new.contains("    # b: 2\n"), "{new}");
}

#[test]
fn most_random_documents_can_be_read() {
    let refused: Vec<_> =
        (0..200).filter_map(|seed| Some((seed, meaning(&Author::document(seed)).err()?))).collect();
    assert!(refused.len() < 20, "{refused:?}");
}
