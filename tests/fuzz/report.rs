//! Load reports in all their forms: believed whole or not at all, and the same in each form.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use overspill::balance::report::{MAX_BYTES, MAX_ENTRIES, Report, parse_binary, parse_body, parse_header};
use serde_json::{Value, json};

use crate::run::fuzz;
use crate::{kind, texts};

const WORDS: &[&str] = &[
    "TEXT ",
    "JSON ",
    "BIN ",
    "cpu_utilization",
    "cpuUtilization",
    "application_utilization",
    "mem_utilization",
    "rps_fractional",
    "rps",
    "eps",
    "named_metrics.",
    "utilization.",
    "request_cost.",
    "\"named_metrics\":{",
    "\"utilization\":{\"a\":0.5}",
    "NaN",
    "Infinity",
    "\\u0000",
    "\\ud800",
];

#[test]
fn a_load_report_is_believed_whole_or_not_at_all_in_every_form() {
    let seeds = texts(&[
        "TEXT cpu_utilization=0.7,mem_utilization=0.9,application_utilization=0.8,rps_fractional=1000,eps=2,named_metrics.foo=123,utilization.x=0.5,request_cost.y=-3",
        "TEXT cpu_utilization:0.3, eps:1",
        r#"JSON {"cpu_utilization": 1.5, "named_metrics": {"q": 3}, "rps": 7}"#,
        r#"JSON {"cpuUtilization": 1.5, "namedMetrics": {"q": -3e5}, "rps": "7", "utilization": {"g": 1}, "requestCost": {"c": 2}, "eps": 0}"#,
        "BIN CQAAAAAAANA/MQAAAAAAAElASQAAAAAAAOA/",
        "BIN CQAAAAAAANA/QgwKAWERAAAAAAAAAEA=",
        "{\"cpu_utilization\":0.5}\n",
        "cpu_utilization=0.5\n",
    ]);
    fuzz("report", seeds, WORDS, check);
}

fn check(input: &[u8]) -> u64 {
    // A binary report is bytes in base64: random letters would hardly ever be some.
    let (padded, bare) = (STANDARD.encode(input), STANDARD_NO_PAD.encode(input));
    let binary = parse_binary(&padded);
    assert_eq!(binary, parse_binary(&bare), "padded or not");
    // Without a word behind it `BIN` is no form.
    if !padded.is_empty() && padded.len() + 4 <= MAX_BYTES {
        assert_eq!(binary, parse_header(&format!("BIN {padded}")));
    }
    let text = String::from_utf8_lossy(input);
    let (header, body) = (parse_header(&text), parse_body(&text));
    if header.is_ok() {
        assert_eq!(header, body, "what a header may say, a body may say");
    }
    assert!(text.len() <= MAX_BYTES || body.is_err(), "longer than a report may be");
    for report in [&header, &body, &binary].into_iter().flatten() {
        check_report(report);
    }
    kind((shape(&header), shape(&body), shape(&binary)))
}

fn shape<E: std::fmt::Debug>(result: &Result<Report, E>) -> String {
    match result {
        Ok(report) => format!(
            "{:?}",
            (
                report.cpu_utilization.is_some(),
                report.application_utilization.is_some(),
                report.mem_utilization.is_some(),
                report.rps_fractional.is_some(),
                report.eps.is_some(),
                report.named.len().min(3),
            )
        ),
        Err(why) => format!("{why:?}"),
    }
}

fn check_report(report: &Report) {
    let fields = [
        ("cpu_utilization", report.cpu_utilization),
        ("application_utilization", report.application_utilization),
        ("mem_utilization", report.mem_utilization),
        ("rps_fractional", report.rps_fractional),
        ("eps", report.eps),
    ];
    assert!(fields.iter().all(|(_, value)| value.is_none_or(|v| v.is_finite() && v >= 0.0)), "{report:?}");
    assert!(report.mem_utilization.is_none_or(|value| value <= 1.0), "{report:?}");
    assert!(report.named.iter().all(|(_, value)| value.is_finite()), "{report:?}");
    assert!(report.utilization().is_none_or(|value| value.get().is_finite()), "{report:?}");
    assert!(report.named.len() <= MAX_ENTRIES, "{}", report.named.len());
    let names: BTreeMap<_, _> = report.named.iter().map(|(name, value)| (&**name, *value)).collect();
    assert_eq!(names.len(), report.named.len(), "each name once: {report:?}");
    // Written anew it says the same.
    let mut json = serde_json::Map::new();
    for (name, value) in fields.iter().filter_map(|(name, value)| value.map(|value| (name, value))) {
        json.insert((*name).to_owned(), json!(value));
    }
    for (name, value) in &names {
        let (map, name) = name.split_once('.').expect("a name in a map");
        let map = json.entry(map).or_insert_with(|| json!({}));
        map[name] = json!(value);
    }
    let text = format!("JSON {}", Value::from(json));
    if text.len() <= MAX_BYTES {
        let again = parse_header(&text).unwrap_or_else(|why| panic!("{why:?}: {text}"));
        assert!(is_alike(report, &again), "{text}: {report:?}, {again:?}");
    }
}

/// The last digit of a number in JSON is not exact.
fn is_alike(one: &Report, other: &Report) -> bool {
    let values = |report: &Report| {
        let named: BTreeMap<_, _> = report.named.iter().map(|(name, value)| (name.clone(), *value)).collect();
        let fields = [
            report.cpu_utilization,
            report.application_utilization,
            report.mem_utilization,
            report.rps_fractional,
            report.eps,
        ];
        (named.keys().cloned().collect::<Vec<_>>(), fields.into_iter().chain(named.into_values().map(Some)))
    };
    let ((names, values_of_one), (others, values_of_other)) = (values(one), values(other));
    names == others
        && values_of_one.zip(values_of_other).all(|pair| match pair {
            (Some(a), Some(b)) => (a - b).abs() <= a.abs() * 1e-14,
            (a, b) => a.is_none() && b.is_none(),
        })
}
