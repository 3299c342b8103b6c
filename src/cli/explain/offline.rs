//! A world without sockets: every member healthy and idle, but for what the command line says.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::said::Said;
use crate::admin::explain::{Asked, Words, answer};
use crate::balance::plan::{BackendSample, Limits, MemberSample, Sample};
use crate::balance::planner::ServicePlanner;
use crate::cli::args::Explain;
use crate::cli::check;
use crate::ledger::registry::Registry;
use crate::model::config::{Config, SessionKey};
use crate::model::unit::Tick;
use crate::proxy::session::strong::Signer;
use crate::world::{LiveBackend, LiveMember, LiveService, World};

/// Explains on the file.
///
/// # Errors
/// What is wrong with the file or the question, and the exit code.
pub(super) fn explain(file: &Path, ask: &Explain, words: &Words) -> Result<Value, (String, u8)> {
    let config = Arc::new(check::load(file)?);
    let usage = |why: String| (format!("overspill: {why}\n"), check::USAGE);
    let said = Said::new(&config, &ask.load, &ask.healthy).map_err(usage)?;
    let world = World::build(config.clone(), 1, &mut Registry::new(1));
    for service in &world.services {
        settle(service, &world, &said);
    }
    let signer = signer(&config, file);
    let signer = signer.as_ref().map_err(String::as_str);
    let mut value = answer(&Asked { world: &world, signer, listening: &[] }, words).map_err(usage)?;
    let service = value["route"]["service"].as_str();
    let notes = said.without_effect(config.services.iter().find(|one| Some(&*one.name) == service));
    if !notes.is_empty() {
        value["notes"] = notes.into();
    }
    Ok(value)
}

/// What reads strong cookies as the proxy that serves this file does. No key is made for it.
///
/// # Errors
/// Why a cookie cannot be judged, for people.
fn signer(config: &Config, file: &Path) -> Result<Signer, String> {
    let key = match (&config.proxy.session_key, config.proxy.session_key.file(file)) {
        (SessionKey::Given(key), _) => Ok(*key),
        (_, Some(path)) => read_key(&path),
        (_, None) => Err("no key".to_owned()),
    };
    let key = key.map_err(|why| format!("the cookie cannot be judged offline: {why}"))?;
    Ok(Signer::new(&key))
}

fn read_key(path: &Path) -> Result<[u8; 32], String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("no key at {shown}"),
        _ => format!("the key at {shown} cannot be read: {error}"),
    })?;
    SessionKey::parse(text.trim()).ok_or_else(|| format!("{shown} does not hold 64 hexadecimal digits"))
}

/// Health, plan, loads and room of a service.
fn settle(service: &LiveService, world: &World, said: &Said<'_>) {
    let backends = service.config.backends.iter().zip(&service.backends);
    for (config, live) in backends.clone() {
        let healthy = said.healthy(config);
        live.members.iter().take(healthy).for_each(|member| member.numbered.member.assume_healthy());
    }
    let member =
        |member: &LiveMember| MemberSample { is_healthy: member.is_healthy(), ..MemberSample::default() };
    let sample = |live: &LiveBackend| BackendSample {
        members: live.members.iter().map(member).collect(),
        ..BackendSample::default()
    };
    let sample = Sample { backends: service.backends.iter().map(sample).collect() };
    let mut planner = ServicePlanner::new(service.config.clone(), &world.config.places, None);
    let decision = planner.tick(Tick(1), &sample);
    if let Some(plan) = decision.plan {
        service.plan.store(plan);
    }
    for ((config, live), decided) in backends.zip(decision.figures) {
        let mut figures = said.figures(config);
        figures.is_auto_drained = decided.is_auto_drained;
        // What is full refuses all, what is not refuses nothing: the question is one request.
        live.ledger.gate.set(if figures.fullness >= 1.0 { Limits::CLOSED } else { Limits::OPEN });
        live.ledger.shown.store(figures);
    }
}

#[cfg(test)]
mod tests;
