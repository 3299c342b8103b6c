//! Both models of `simulate` say the same where targets are small and where members are lost.

use overspill::cli::check::render;
use overspill::cli::simulate::scenario;
use overspill::model::config::Config;
use overspill::model::resolve::document;
use overspill::simulate::record::Record;
use overspill::simulate::{Model, run};

/// Two groups of four members, near and far.
fn config(policy: &str, near: &str, far: &str) -> Config {
    let group = |name: &str, zone: &str, net: u8| {
        let member = |n: u8| format!("{{name: {name}-{n}, ipAddress: 10.0.{net}.{n}}}");
        let members: Vec<_> = (1..=4).map(member).collect();
        format!(
            "  - {{name: {name}, zone: {zone}, namedPorts: [{{name: http, port: 80}}], instances: [{}]}}\n",
            members.join(", ")
        )
    };
    let text = format!(
        "proxy: {{zone: us-central1-a}}\n\
        forwardingRules: [{{name: web, IPAddress: 127.0.0.1, portRange: \"8080\", target: p}}]\n\
        targetHttpProxies: [{{name: p, urlMap: um}}]\n\
        urlMaps: [{{name: um, defaultService: s}}]\n\
        backendServices:\n  - name: s\n    healthChecks: [b]\n    {policy}\n    \
        backends: [{{group: near, balancingMode: {near}}}, {{group: far, balancingMode: {far}}}]\n\
        instanceGroups:\n{}{}\
        healthChecks: [{{name: b, type: HTTP, httpHealthCheck: {{portSpecification: USE_SERVING_PORT}}}}]\n",
        group("near", "us-central1-a", 0),
        group("far", "europe-west1-b", 1),
    );
    let resolved = document(&text);
    assert_eq!(render(&resolved.problems, "config", &text), "");
    resolved.config.unwrap()
}

fn both(config: &Config, text: &str) -> [Record; 2] {
    let scenario =
        scenario(text, config).unwrap_or_else(|problems| panic!("{}", render(&problems, "scenario", text)));
    [Model::Requests, Model::Fluid].map(|model| run(&config.services, &scenario, model))
}

fn rate(record: &Record, row: usize, backend: usize) -> f64 {
    record.rows[row].services[0].backends[backend].traffic.rate()
}

#[test]
fn a_small_target_is_kept_under_random_demand_far_above_it() {
    let calm = "members: [{serviceMs: 50, cpuMs: 2, cores: 64}]";
    for (target, demand) in [(1.0, 400.0), (5.0, 1000.0), (10.0, 400.0), (20.0, 400.0), (20.0, 30.0)] {
        let config = config("", &format!("RATE, maxRate: {target}"), "RATE, maxRate: 10000");
        let text = format!("durationSec: 60\nrowSec: 20\ndemand: [{{rate: {demand}}}]\n{calm}\n");
        for record in both(&config, &text) {
            for row in [1, 2] {
                let near = rate(&record, row, 0);
                assert!((near - target).abs() < 0.03 * target + 0.1, "{target} of {demand}: {near}");
            }
        }
    }
}

#[test]
fn where_everything_is_full_small_targets_are_kept_or_overfilled_in_proportion() {
    let text = "durationSec: 60\nrowSec: 20\ndemand: [{rate: 400}]\nmembers: [{serviceMs: 50, cpuMs: 2}]\n";
    let full = |policy| both(&config(policy, "RATE, maxRate: 20", "RATE, maxRate: 30"), text);
    for record in full("overload: REJECT") {
        for row in [1, 2] {
            let (near, far) = (rate(&record, row, 0), rate(&record, row, 1));
            assert!((near - 20.0).abs() < 0.6 && (far - 30.0).abs() < 0.9, "{near} {far}");
        }
    }
    for record in full("overload: OVERFILL") {
        for row in [1, 2] {
            let ratio = rate(&record, row, 0) / rate(&record, row, 1);
            assert!((ratio / (20.0 / 30.0) - 1.0).abs() < 0.03, "{ratio}");
        }
    }
}

/// Errors in all, in requests, when rows are five seconds long.
fn errors(record: &Record) -> f64 {
    record.rows.iter().map(|row| row.services[0].origins[0].traffic.errors * 5.0).sum()
}

#[test]
fn what_lost_members_refuse_goes_to_others_at_once_in_both_models() {
    let members = "members: [{serviceMs: 20, cpuMs: 5, times: CONSTANT}]";
    let play = |rates: [f64; 2], arrivals: &str, lost: &str| {
        let rate = |rate: f64| format!("RATE, maxRate: {rate}");
        let config = config("", &rate(rates[0]), &rate(rates[1]));
        let text = format!(
            "durationSec: 60\nrowSec: 5\ndemand: [{{rate: 600, arrivals: {arrivals}}}]\n{members}\nevents:\n{lost}"
        );
        both(&config, &text)
    };
    let group = "  - {atSec: 30, what: LOST, group: near}\n";
    // A full group is tried once, and what it has under way is lost.
    for record in play([400.0, 2000.0], "EVEN", group) {
        assert!((2.0..20.0).contains(&errors(&record)), "{}", errors(&record));
        for row in 6..8 {
            let (near, far) = (rate(&record, row, 0), rate(&record, row, 1));
            assert!(near < 5.0 && (far - 600.0).abs() < 6.0, "{near} {far}");
        }
    }
    // A group with room for all is tried three times, and then the next one is.
    for record in play([9000.0, 9000.0], "EVEN", group) {
        assert!((2.0..20.0).contains(&errors(&record)), "{}", errors(&record));
    }
    // Where nobody is left, a request is tried as often as it may be: four times, of which all fail.
    let both = "  - {atSec: 30, what: LOST, group: near}\n  - {atSec: 30, what: LOST, group: far}\n";
    let failed = play([9000.0, 9000.0], "EVEN", both).map(|record| errors(&record));
    assert!((failed[0] / failed[1] - 1.0).abs() < 0.05 && failed[0] > 3000.0, "{failed:?}");
    // Half of a group: the rest takes its part, and what the tries take up goes away.
    let half = "  - {atSec: 30, what: LOST, member: near-1}\n  - {atSec: 30, what: LOST, member: near-2}\n";
    let [one, other] = play([500.0, 2000.0], "RANDOM", half);
    for row in 4..8 {
        for index in 0..2 {
            let (one, other) = (rate(&one, row, index), rate(&other, row, index));
            assert!((one - other).abs() < 0.05 * 600.0, "row {row}, backend {index}: {one} {other}");
        }
    }
    assert!(errors(&one) < 20.0 && errors(&other) < 20.0, "{} {}", errors(&one), errors(&other));
}
