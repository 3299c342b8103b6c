//! Files of `simulate`: refused with reasons, or played to the end.

use overspill::cli::simulate::{outputs, scenario};
use overspill::model::config::Config;
use overspill::model::resolve;
use overspill::model::unit::Span;
use overspill::simulate::scenario::Scenario;
use overspill::simulate::{Model, demand};

use crate::kind;
use crate::run::{files, fuzz};

const WORDS: &[&str] = &[
    "LOGNORMAL",
    "CONSTANT",
    "EXPONENTIAL",
    "EVEN",
    "near",
    "far",
    "near-1",
    "joined-1",
    "us-central1",
    "web",
    "FLAPS",
    "events",
    "autoscalers",
    "tickMs: 1",
    "rowSec: 0.1",
    "changes: [{atSec: 1, rate: 5}]",
    "[]",
    "{}",
    "null",
];

#[test]
fn a_scenario_of_any_text_is_refused_with_reasons_or_played() {
    let config = resolve::document(include_str!("../../config/simulate.yaml")).config.unwrap();
    let seeds = files("config/scenarios", |_| true);
    fuzz("scenario", seeds, WORDS, |input| check(&String::from_utf8_lossy(input), &config));
}

fn check(text: &str, config: &Config) -> u64 {
    match scenario(text, config) {
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            kind(problems.iter().map(|problem| (problem.code, &problem.path)).collect::<Vec<_>>())
        }
        Ok(scenario) => {
            if is_short(&scenario) {
                let all = outputs(config, &scenario, Model::Fluid);
                assert_eq!(all, outputs(config, &scenario, Model::Fluid), "the same each time");
                assert!(all.iter().all(|text| !text.contains("NaN")), "{all:?}");
            }
            kind((
                scenario.events.len(),
                scenario.demand.len(),
                scenario.rules.len(),
                scenario.proxies.min(3),
            ))
        }
    }
}

/// So that thousands can be played.
fn is_short(scenario: &Scenario) -> bool {
    let ticks = scenario.duration.0 / scenario.tick.max(Span(1)).0;
    let rows = scenario.duration.0 / scenario.row.max(Span(1)).0;
    ticks * (scenario.proxies as u64) < 200
        && rows < 200
        && demand::expected(&scenario.demand, scenario.duration) < 1e9
}
