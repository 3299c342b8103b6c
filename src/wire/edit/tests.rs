//! Cases of every kind of edit, and random ones against the value.

use serde_json::{Value, json};

use super::{Edit, Refused, Step, apply};

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
        ("a: |+\n  x\n\nb: 1\n\nc: 2\n", remove("c"), "a: |+\n  x\n\nb: 1\n\n"),
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
