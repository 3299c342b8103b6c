//! What a process knows and its successor would have to find out anew: health, ejections, load reports, how far each
//! rate is used.
//!
//! Times go as ages, since two processes have two clocks. What the successor's configuration does not have is left
//! behind; counters begin at zero, as after any start.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::balance::outlier::Ejection;
use crate::ledger::gauge::Reported;
use crate::ledger::member::{Health, ProbeDetail};
use crate::ledger::registry::EndpointKey;
use crate::model::service::Group;
use crate::model::unit::{Ratio, Span, Tick};
use crate::world::{LiveMember, LiveService, World};

/// Changes whenever older or newer readers would misread it. A successor of another version starts afresh.
const VERSION: u64 = 1;

/// Made by the old process for the new one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Estate {
    members: Vec<MemberState>,
    endpoints: Vec<Reading>,
    backends: Vec<BackendState>,
    #[serde(default)]
    outliers: Vec<OutlierState>,
}

/// A member with a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct MemberState {
    service: Arc<str>,
    /// Collection, zone and name of its group.
    group: GroupName,
    name: Arc<str>,
    address: SocketAddr,
    health: String,
    succeeded: bool,
    streak: u32,
    reason: String,
    latency: u64,
    age: u64,
}

/// A member that outlier detection has ejected, now or before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OutlierState {
    service: Arc<str>,
    group: GroupName,
    name: Arc<str>,
    address: SocketAddr,
    /// How long it is still out; 0 = it is not.
    left: u64,
    times: u64,
}

type GroupName = (String, Arc<str>, Arc<str>);

/// The last report of an address: its utilization, or one of its metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Reading {
    host: Option<Arc<str>>,
    address: SocketAddr,
    metric: Option<Arc<str>>,
    value: f64,
    age: u64,
}

/// How far the schedule of a backend's rate is ahead of the clock, in the units of [`crate::balance::gcra`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct BackendState {
    service: Arc<str>,
    group: GroupName,
    backlog: u64,
}

/// A member's verdict and the probe that it ends with, by the member's number.
pub(super) type Verdict = (u32, Health, ProbeDetail);

impl Estate {
    /// All that is known in `world`, and who is ejected there.
    pub(super) fn of(world: &World, ejections: Vec<(Arc<str>, Ejection)>, now: Tick) -> Self {
        let outliers = ejections.into_iter().filter_map(|(service, one)| {
            let of = world.services.iter().find(|of| *of.name() == service)?;
            let group = &of.config.backends.get(one.backend)?.group;
            let member = of.backends.get(one.backend)?.members.get(one.member)?;
            Some(OutlierState {
                service,
                group: name_of(group),
                name: member.config.name.clone(),
                address: member.config.address,
                left: one.left.0,
                times: one.times,
            })
        });
        let mut estate = Self { outliers: outliers.collect(), ..Self::default() };
        let mut readings: HashMap<(EndpointKey, Option<Arc<str>>), Reported> = HashMap::new();
        for service in &world.services {
            estate.members.extend(
                service.members().filter_map(|(group, _, member)| state(service, group, member, now)),
            );
            for (config, live) in service.config.backends.iter().zip(&service.backends) {
                let (service, group) = (service.name().clone(), name_of(&config.group));
                let backlog = live.ledger.gate.backlog(now);
                estate.backends.push(BackendState { service, group, backlog });
            }
            for (.., member) in service.members() {
                readings.insert((key_of(member), None), member.endpoint.read());
                for metric in member.heard.iter() {
                    readings.insert((key_of(member), Some(metric.name.clone())), metric.gauge.read());
                }
            }
        }
        let readings = readings.into_iter().filter_map(|(((host, address), metric), reported)| {
            let age = now.since(reported.at?).0;
            Some(Reading { host, address, metric, value: reported.value.get(), age })
        });
        estate.endpoints = readings.collect();
        estate
    }

    /// Who of `world` is ejected, or was.
    pub(super) fn outliers(&self, world: &World) -> Vec<(Arc<str>, Ejection)> {
        let found = self.outliers.iter().filter_map(|one| {
            let of = world.services.iter().find(|of| *of.name() == one.service)?;
            let is_its = |group: &Group| name_of(group) == one.group;
            let backend = of.config.backends.iter().position(|backend| is_its(&backend.group))?;
            let mut members = of.backends.get(backend)?.members.iter();
            let is_it =
                |member: &LiveMember| member.config.name == one.name && member.config.address == one.address;
            let member = members.position(is_it)?;
            let ejection = Ejection { backend, member, left: Span(one.left), times: one.times };
            Some((one.service.clone(), ejection))
        });
        found.collect()
    }

    /// Puts what fits into the live numbers of `world`, and returns the verdicts for the prober.
    pub(super) fn settle(self, world: &World, now: Tick) -> Vec<Verdict> {
        let backlogs: HashMap<_, _> =
            self.backends.into_iter().map(|one| ((one.service, one.group), one.backlog)).collect();
        let readings: HashMap<_, _> = self
            .endpoints
            .into_iter()
            .map(|one| (((one.host, one.address), one.metric), (one.value, one.age)))
            .collect();
        let mut members: HashMap<_, _> = self
            .members
            .into_iter()
            .map(|one| ((one.service.clone(), one.group.clone(), one.name.clone(), one.address), one))
            .collect();
        let mut verdicts = Vec::new();
        for service in &world.services {
            for (config, live) in service.config.backends.iter().zip(&service.backends) {
                if let Some(backlog) = backlogs.get(&(service.name().clone(), name_of(&config.group))) {
                    live.ledger.gate.resume(*backlog, now);
                }
            }
            for (group, _, member) in service.members() {
                hear(member, &readings, now);
                let key = (
                    service.name().clone(),
                    name_of(group),
                    member.config.name.clone(),
                    member.config.address,
                );
                verdicts.extend(members.remove(&key).and_then(|one| one.verdict(member, now)));
            }
        }
        verdicts
    }

    /// With its version.
    pub(super) fn write(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value["version"] = VERSION.into();
        value
    }

    /// `None` when it is of another version, or not to be understood.
    pub(super) fn read(value: Value) -> Option<Self> {
        if value["version"] != VERSION {
            tracing::warn!(version = %value["version"], "the old process's state is of another version; starting afresh");
            return None;
        }
        let read = serde_json::from_value(value);
        read.inspect_err(|error| tracing::warn!(%error, "the old process's state is not understood")).ok()
    }
}

impl MemberState {
    fn verdict(self, member: &LiveMember, now: Tick) -> Option<Verdict> {
        let health = [Health::Healthy, Health::Unhealthy, Health::Timeout]
            .into_iter()
            .find(|health| health.as_str() == self.health)?;
        let detail = ProbeDetail {
            at: Some(before(now, self.age)),
            succeeded: self.succeeded,
            reason: self.reason,
            latency: Span(self.latency),
            streak: self.streak,
        };
        Some((member.numbered.number, health, detail))
    }
}

/// `None` for a member that no probe has decided on.
fn state(service: &LiveService, group: &Group, member: &LiveMember, now: Tick) -> Option<MemberState> {
    let health = member.numbered.member.health();
    let detail = member.numbered.member.probe_detail();
    let at = detail.at.filter(|_| health != Health::Unknown)?;
    Some(MemberState {
        service: service.name().clone(),
        group: name_of(group),
        name: member.config.name.clone(),
        address: member.config.address,
        health: health.as_str().to_owned(),
        succeeded: detail.succeeded,
        streak: detail.streak,
        reason: detail.reason,
        latency: detail.latency.0,
        age: now.since(at).0,
    })
}

type Readings = HashMap<(EndpointKey, Option<Arc<str>>), (f64, u64)>;

/// An address that several services use hears it once: the first of them makes it newer than the rest would.
fn hear(member: &LiveMember, readings: &Readings, now: Tick) {
    let key = key_of(member);
    if let Some((value, age)) =
        readings.get(&(key.clone(), None)).filter(|_| member.endpoint.read().at.is_none())
    {
        member.endpoint.hear(Some(Ratio::new(*value)), before(now, *age));
    }
    for metric in member.heard.iter().filter(|metric| metric.gauge.read().at.is_none()) {
        if let Some((value, age)) = readings.get(&(key.clone(), Some(metric.name.clone()))) {
            metric.gauge.observe(Ratio::new(*value), before(now, *age));
        }
    }
}

fn key_of(member: &LiveMember) -> EndpointKey {
    (member.config.host.clone(), member.config.address)
}

fn name_of(group: &Group) -> GroupName {
    (group.kind.collection().to_owned(), group.zone.clone(), group.name.clone())
}

/// Whatever is older than the clock happened at its beginning.
const fn before(now: Tick, age: u64) -> Tick {
    let at = now.0.saturating_sub(age);
    Tick(if at == 0 { 1 } else { at })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ledger::registry::Registry;
    use crate::model::resolve;

    const TEXT: &str = include_str!("../../config/utilization.yaml");

    fn world() -> World {
        let config = resolve::document(TEXT).config.unwrap();
        World::build(Arc::new(config), 1, &mut Registry::new(1))
    }

    #[test]
    fn health_readings_and_used_rates_come_over_with_their_ages() {
        let (old, new) = (world(), world());
        let (then, now) = (Tick(10_000_000_000), Tick(4_000_000_000_000));
        let of = |world: &World| -> Vec<_> {
            world.services[0].members().map(|(.., m)| (m.numbered.clone(), m.endpoint.clone())).collect()
        };
        let detail = ProbeDetail {
            at: Some(then),
            succeeded: false,
            reason: "connection refused".to_owned(),
            latency: Span::millis(3),
            streak: 4,
        };
        let (member, endpoint) = &of(&old)[0];
        member.member.record_probe(Health::Timeout, detail);
        endpoint.hear(Some(Ratio::new(0.7)), then + Span::secs(1));
        old.services[0].backends[0].ledger.gate.resume(640, then + Span::secs(2));
        let ejection = Ejection { backend: 0, member: 0, left: Span::secs(7), times: 3 };
        let ejections = vec![(old.services[0].name().clone(), ejection)];
        let read = Estate::read(Estate::of(&old, ejections, then + Span::secs(2)).write()).unwrap();
        assert_eq!(read.outliers(&new), [(new.services[0].name().clone(), ejection)]);
        let verdicts = read.settle(&new, now);
        let (member, endpoint) = &of(&new)[0];
        let [(number, health, detail)] = &verdicts[..] else { unreachable!("{verdicts:?}") };
        assert_eq!((*number, *health, detail.streak), (member.number, Health::Timeout, 4));
        assert_eq!((&*detail.reason, now.since(detail.at.unwrap())), ("connection refused", Span::secs(2)));
        let heard = endpoint.read();
        assert_eq!((heard.value, now.since(heard.at.unwrap())), (Ratio::new(0.7), Span::secs(1)));
        assert_eq!(new.services[0].backends[0].ledger.gate.backlog(now), 640);
    }

    #[test]
    fn another_version_is_a_fresh_start() {
        let mut value = Estate::of(&world(), Vec::new(), Tick(5)).write();
        assert!(Estate::read(value.clone()).is_some());
        value["version"] = 2.into();
        assert_eq!(Estate::read(value), None);
        assert_eq!(Estate::read(Value::Null), None);
    }
}
