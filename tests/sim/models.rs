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
