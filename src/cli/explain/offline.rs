//! A world without sockets: every member healthy and idle, but for what the command line says.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::load::{Amount, Healthy, Load};
use crate::admin::explain::{Words, answer};
use crate::balance::capacity;
use crate::balance::plan::{BackendSample, Figures, Limits, MemberSample, Sample};
use crate::balance::planner::ServicePlanner;
use crate::cli::args::Explain;
use crate::cli::check;
use crate::ledger::registry::Registry;
use crate::model::config::{Config, SessionKey};
use crate::model::service::Backend;
use crate::model::unit::Tick;
use crate::proxy::session::strong::Signer;
use crate::world::{LiveBackend, LiveService, World};

/// Explains on the file.
///
/// # Errors
/// What is wrong with the file or the question, and the exit code.
pub(super) fn explain(file: &Path, ask: &Explain, words: &Words) -> Result<Value, (String, u8)> {
    let config = Arc::new(check::load(file)?);
    let usage = |why: String| (format!("overspill: {why}\n"), check::USAGE);
    known(&config, ask).map_err(usage)?;
    let world = World::build(config.clone(), 1, &mut Registry::new(1));
    for service in &world.services {
        settle(service, &world, ask);
    }
    let signer = match &config.proxy.session_key {
        SessionKey::Given(key) => Some(Signer::new(key)),
        SessionKey::Kept | SessionKey::File(_) => None,
    };
    answer(&world, signer.as_ref(), words).map_err(usage)
}

/// A load for a group that no service has would silently say nothing.
fn known(config: &Config, ask: &Explain) -> Result<(), String> {
    let named = ask.load.iter().map(|load| &load.group).chain(ask.healthy.iter().map(|one| &one.group));
    let mut backends = config.services.iter().flat_map(|service| &service.backends);
    for name in named {
        if !backends.clone().any(|backend| *backend.group.name == **name) {
            let groups: Vec<&str> = backends.by_ref().map(|backend| &*backend.group.name).collect();
            return Err(format!("no backend is called `{name}`; there are: {}", groups.join(", ")));
        }
    }
    Ok(())
}

/// Health, plan, loads and room of a service.
fn settle(service: &LiveService, world: &World, ask: &Explain) {
    let backends = service.config.backends.iter().zip(&service.backends);
    for (config, live) in backends.clone() {
        let healthy = healthy_members(&ask.healthy, config);
        live.members.iter().take(healthy).for_each(|member| member.numbered.member.assume_healthy());
    }
    let member = |member: &crate::world::LiveMember| MemberSample {
        is_healthy: member.is_healthy(),
        ..MemberSample::default()
    };
    let sample = |live: &LiveBackend| BackendSample {
        members: live.members.iter().map(member).collect(),
        ..BackendSample::default()
    };
    let sample = Sample { backends: service.backends.iter().map(sample).collect() };
    let mut planner = ServicePlanner::new(service.config.clone(), &world.config.places, None);
    if let Some(plan) = planner.tick(Tick(1), &sample).plan {
        service.plan.store(plan);
    }
    for (config, live) in backends {
        let figures = figures(config, &ask.load);
        // What is full refuses all, what is not refuses nothing: the question is one request.
        live.ledger.gate.set(if figures.fullness >= 1.0 { Limits::CLOSED } else { Limits::OPEN });
        live.ledger.shown.store(figures);
    }
}

fn healthy_members(said: &[Healthy], config: &Backend) -> usize {
    let said = said.iter().find(|one| *one.group == *config.group.name);
    said.map_or(config.members.len(), |one| one.members.min(config.members.len()))
}

/// Fullness is that of the nearest target [G 1.15, 1.17].
#[allow(clippy::cast_precision_loss)]
fn figures(config: &Backend, loads: &[Load]) -> Figures {
    let of_group = || loads.iter().filter(|load| *load.group == *config.group.name);
    let sum = |pick: fn(Amount) -> Option<f64>| {
        of_group().filter_map(|load| pick(load.amount)).fold(0.0, |sum, one| sum + one)
    };
    let rate = sum(|amount| if let Amount::Rate(rate) = amount { Some(rate) } else { None });
    let used = sum(|amount| if let Amount::Utilization(used) = amount { Some(used) } else { None });
    let count = sum(|amount| if let Amount::Count(count) = amount { Some(count) } else { None });
    let part = |load: f64, target: f64| if target > 0.0 { load / target } else { f64::INFINITY };
    let by_rate = capacity::of_backend(config).map(|target| (target.get(), part(rate, target.get())));
    let by_load = capacity::utilization(config).map(|target| part(used, target.get()));
    let by_count = capacity::count_of_backend(config).map(|most| (most as f64, part(count, most as f64)));
    let fullness = [by_rate.map(|one| one.1), by_load, by_count.map(|one| one.1)];
    Figures {
        capacity: by_rate.map_or(f64::INFINITY, |one| one.0),
        count_capacity: by_count.map_or(f64::INFINITY, |one| one.0),
        in_flight: count,
        rate,
        fullness: fullness.into_iter().flatten().fold(f64::NAN, f64::max),
        utilization: by_load.map_or(f64::NAN, |_| used),
        ..Figures::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Arguments, Command};

    fn explained(line: &str) -> Result<Value, (String, u8)> {
        let words = ["overspill", "explain"].into_iter().chain(line.split(' '));
        let Command::Explain(ask) = Arguments::try_parse_from(words).unwrap().command else { panic!() };
        let words = crate::cli::explain::words(&ask);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(ask.file.as_ref().unwrap());
        explain(&file, &ask, &words)
    }

    fn outcome(line: &str) -> (String, String) {
        let value = explained(line).unwrap();
        let word = |key: &str| value["outcome"][key].as_str().unwrap_or_default().to_owned();
        (word("group"), word("reason"))
    }

    #[test]
    fn g_2_5_a_full_group_spills_and_says_so() {
        assert_eq!(outcome("rate.yaml --load ig-near=99/s"), ("ig-near".into(), "nearest".into()));
        let line = "rate.yaml --load ig-near=100/s";
        assert_eq!(outcome(line), ("ig-far".into(), "full".into()));
        let value = explained(line).unwrap();
        let verdicts: Vec<_> =
            (0..2).map(|n| value["tiers"][n]["verdict"].as_str().unwrap().to_owned()).collect();
        assert_eq!(verdicts, ["full", "taken"]);
        assert_eq!(value["tiers"][0]["backends"][0]["fullness"], 1.0);
        let line = "rate.yaml --load ig-near=100/s --load ig-far=200/s";
        assert_eq!(outcome(line).1, "overfilled");
    }

    #[test]
    fn a_group_without_healthy_members_is_left_and_without_any_there_is_no_pick() {
        assert_eq!(outcome("rate.yaml --healthy ig-near=0"), ("ig-far".into(), "unhealthy".into()));
        let value = explained("rate.yaml --healthy ig-near=0 --healthy ig-far=0").unwrap();
        assert_eq!(value["outcome"]["statusDetails"], "failed_to_pick_backend");
        assert_eq!(value["outcome"]["status"], 503);
    }

    #[test]
    fn the_same_client_address_has_the_same_key_and_member() {
        let ask = |ip: &str| explained(&format!("affinity-client-ip.yaml --client-ip {ip}")).unwrap();
        let (one, again) = (ask("192.0.2.1"), ask("192.0.2.1"));
        assert_eq!(one["session"]["key"], again["session"]["key"]);
        assert_eq!(one["outcome"]["member"], again["outcome"]["member"]);
        assert_ne!(one["session"]["key"], ask("192.0.2.2")["session"]["key"]);
    }

    #[test]
    fn what_is_not_known_is_a_usage_error() {
        let (why, code) = explained("rate.yaml --load ig=3").unwrap_err();
        assert_eq!((&*why, code), ("overspill: no backend is called `ig`; there are: ig-near, ig-far\n", 2));
        assert_eq!(explained("rate.yaml --forwarding-rule nope").unwrap_err().1, 2);
        assert_eq!(explained("no-such-file.yaml").unwrap_err().1, 2);
        assert_eq!(explained("invalid/access-log-folder.yaml").unwrap_err().1, 1);
    }
}
