//! Both styles against one resource, and hostile filters.
#![allow(clippy::unwrap_used)]

use proptest::prelude::{any, proptest};
use serde_json::json;

use super::*;

fn item() -> Value {
    json!({
        "name": "web-1",
        "id": "12345678901234567890",
        "description": "the (first) \"one\", a*b",
        "creationTimestamp": "2026-03-01T12:00:00.000Z",
        "timeoutSec": 30,
        "share": 0.5,
        "logConfig": {"enable": true, "sampleRate": 1.0},
        "labels": {"owner": "ann"},
        "zone": "http://h/compute/v1/projects/p/zones/us-central1-a",
        "backends": [{"group": "g1", "maxRate": 100}, {"group": "g2"}],
        "hosts": ["a.example", "b.example"],
        "nothing": null,
        "empty": [],
    })
}

fn takes(filter: &str) -> bool {
    Filter::parse(filter).map_err(|error| error.message).unwrap().takes(&item())
}

fn refusal(filter: &str) -> String {
    let error = Filter::parse(filter).unwrap_err();
    assert_eq!((error.status.as_u16(), error.location.as_deref()), (400, Some("filter")), "{filter}");
    assert!(error.message.starts_with("Invalid value for field 'filter': '"), "{}", error.message);
    error.message
}

/// [G 12.5]: what takes the resource.
const TAKEN: &[&str] = &[
    "name=web-1",
    " name = \"web-1\" ",
    "name='web-1'",
    "name!=web",
    "name=web*",
    "name=*-1",
    "name=w*b*1",
    "name=*",
    "name:EB",
    "name:W*",
    "name:*",
    "missing!=x",
    "description=*a\\*b",
    "description:\"\\\"one\\\"\"",
    "id=12345678901234567890",
    "id>12345678901234567889",
    "timeoutSec=30",
    "timeoutSec=30.0",
    "timeoutSec:30",
    "timeoutSec>=30",
    "timeoutSec<100",
    "share<0.6",
    "timeoutSec>-5",
    "creationTimestamp>\"2026-02-28T00:00:00Z\"",
    "creationTimestamp<=2026-12-31",
    "logConfig.enable=true",
    "logConfig.enable=TRUE",
    "logConfig.sampleRate=1",
    "logConfig:enable",
    "logConfig:*",
    "labels.owner:*",
    "labels:owner",
    "hosts=b.example",
    "hosts:example",
    "backends.group=g2",
    "backends.maxRate>50",
];

/// What does not.
const LEFT: &[&str] = &[
    "name=web",
    "name!=web-1",
    "name=WEB-1",
    "name=web*2",
    "name=web-1*1",
    "name:webby",
    "missing=x",
    "missing:*",
    "nothing:*",
    "nothing.more:*",
    "empty:*",
    "name.more=x",
    "description=a\\*b",
    "timeoutSec>30",
    "timeoutSec<x",
    "timeoutSec=3*1",
    "labels:bob",
    "labels=owner",
    "backends.group!=g2",
    "backends.maxRate>100",
    "logConfig.enable=false",
    "logConfig.enable<zebra",
];

#[test]
fn comparisons_of_aip_160_hold() {
    for filter in TAKEN {
        assert!(takes(filter), "{filter}");
    }
    for filter in LEFT {
        assert!(!takes(filter), "{filter}");
    }
}

#[test]
fn or_binds_closer_than_and_as_aip_160_has_it() {
    let (yes, no) = ("name=web-1", "name=x");
    let cases = [
        (format!("{yes} AND {yes}"), true),
        (format!("{yes} AND {no}"), false),
        (format!("{yes} {no}"), false),
        (format!("({yes})({yes})"), true),
        (format!("({yes}) ({no})"), false),
        (format!("{no} OR {yes}"), true),
        (format!("{no} AND {no} OR {yes}"), false),
        (format!("({no} AND {no}) OR {yes}"), true),
        (format!("{yes} OR {no} AND {no}"), false),
        (format!("NOT {no}"), true),
        (format!("-{yes}"), false),
        (format!("NOT NOT {yes}"), true),
        (format!("NOT ({no} OR {no})"), true),
        (format!("NOT({no})AND({yes})"), true),
        ("ORder=1 OR NOTe=2 OR name:web".to_owned(), true),
    ];
    for (filter, expected) in cases {
        assert_eq!(takes(&filter), expected, "{filter}");
    }
}

#[test]
fn regular_expressions_match_the_whole_field() {
    // [G 10.10, 12.5], as gcloud writes them.
    for filter in [
        "name eq web-1",
        "name eq web.*",
        "name eq \"web-.*\"",
        "name eq 'web-.*'",
        "name ne web",
        "name ne .*-2",
        "missing ne x",
        r#"name eq ".*\bweb\b.*""#,
        r#"zone eq ".*\bus\-central1\-a\b.*""#,
        r#"name eq ".*(^w).*""#,
        r#"description eq ".*\(first\)\ \"one\".*""#,
        "description eq the .first. .*",
        "name eq (web|api)-[0-9]",
        "(name eq (web|api)-[0-9])",
        r"(name eq web.1\)?)",
        "(name eq web.*)(timeoutSec eq 30)",
        "(name eq \"web.*\") (name ne \"api.*\")",
        "((name eq web.*)(timeoutSec eq 30))(logConfig.enable eq true)",
        "timeoutSec eq 30",
        "timeoutSec eq 3.",
        "logConfig.sampleRate eq 1",
        "logConfig.enable eq true",
        "backends.group eq g.",
    ] {
        assert!(takes(filter), "{filter}");
    }
    for filter in [
        "name eq web",
        "name eq eb-1",
        "name ne web-1",
        "name eq \"\"",
        "missing eq .*",
        "(name eq web.*)(timeoutSec eq 31)",
        "((name eq web.*)(timeoutSec eq 31))(logConfig.enable eq true)",
        r#"name eq ".*\bwe\b.*""#,
        "timeoutSec eq 3",
    ] {
        assert!(!takes(filter), "{filter}");
    }
}

#[test]
fn the_styles_do_not_mix() {
    // [G 12.5].
    for filter in [
        "name eq web AND timeoutSec = 30",
        "(name eq web) AND (timeoutSec eq 30)",
        "(name eq web) (timeoutSec = 30)",
        "(name = web) (timeoutSec eq 30)",
        "timeoutSec = 30 OR name eq web",
        "NOT name eq web",
        "-name eq web",
        "name eq web timeoutSec eq 30",
        "name eq \"web\" timeoutSec eq 30",
        "(name eq web)name=x",
    ] {
        refusal(filter);
    }
    assert!(refusal("name=web AND name eq web").contains("do not mix"));
}

#[test]
fn a_malformed_filter_is_400_and_says_why() {
    for (filter, why) in [
        (" ", "a field name is expected"),
        ("name", "an operator is expected"),
        ("web*", "an operator is expected"),
        ("name=", "a value is expected"),
        ("=x", "a field name is expected"),
        ("a..b=x", "a field name is expected"),
        ("name=\"x", "a closing quote is missing"),
        ("name=x)", "a parenthesis too many"),
        ("(name=x", "a closing parenthesis is missing"),
        ("()", "a field name is expected"),
        ("name=x AND", "a field name is expected"),
        ("name=x OR", "a field name is expected"),
        ("name eq", "a pattern is expected"),
        ("name eq \"x", "a closing quote is missing"),
        ("name eq (", "unclosed group"),
        ("name eq a)|(b", "group"),
        ("name eq a{1000}{1000}", "bytes when compiled"),
        ("(name eq x", "a closing parenthesis is missing"),
        ("name eq (?x)a", "flags"),
    ] {
        let message = refusal(filter);
        assert!(message.contains(why), "{filter}: {message}");
    }
}

#[test]
fn long_and_deep_filters_are_400() {
    refusal(&format!("name={}", "a".repeat(LONGEST)));
    refusal(&("(".repeat(DEEPEST) + "name=x" + &")".repeat(DEEPEST)));
    refusal(&("(".repeat(DEEPEST + 1) + "name eq x" + &")".repeat(DEEPEST + 1)));
    refusal(&("NOT ".repeat(DEEPEST) + "name=x"));
    refusal(&"a=1 ".repeat(MOST + 1));
    refusal(&"(a eq 1)".repeat(MOST + 1));
    assert!(!takes(&"a=1 ".repeat(MOST)));
}

proptest! {
    #[test]
    fn no_filter_breaks_the_reader(
        text in any::<String>(),
        parts in r#"((name|a\.b|eq|ne|AND|OR|NOT|=|!=|:|<|\*|\(|\)|"|'|\\|-|ä|[a-z]|[0-9])[ ]?){0,24}"#,
    ) {
        for text in [text, parts] {
            if let Ok(filter) = Filter::parse(&text) {
                filter.takes(&item());
                filter.takes(&Value::Null);
            }
        }
    }
}
