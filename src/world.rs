//! What is live: the configuration joined with the live numbers of its services, backends and members.
//!
//! Immutable but for the plan slots. A request reads one `Arc<World>` once and keeps it; a reload builds a new one
//! from the same registry, so that whatever is in both lives on.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::balance::hash;
use crate::balance::plan::Plan;
use crate::ledger::gauge::{self, Gauge, Metric};
use crate::ledger::registry::{EndpointKey, MemberKey, Numbered, Registry};
use crate::ledger::{backend, endpoint, service};
use crate::model::config::{Config, Front, ServiceId};
use crate::model::service::{Affinity, Backend, Group, Member, Service};
use crate::model::unit::{Ratio, Tick};

/// Everything that a request needs.
#[derive(Debug)]
pub struct World {
    /// Counts worlds of this process, from 1.
    pub generation: u64,
    /// What it was built from.
    pub config: Arc<Config>,
    /// By [`ServiceId`].
    pub services: Vec<Arc<LiveService>>,
    /// By listener number: index into the configuration's fronts. A connection knows its listener's number, which
    /// stays the same over reloads.
    pub listeners: Vec<Option<u32>>,
    /// Numbers of all members, so that workers can drop kept connections to those that are gone.
    pub member_numbers: HashSet<u32>,
}

/// A service with its live numbers and its plan slot.
#[derive(Debug)]
pub struct LiveService {
    /// The resource.
    pub config: Arc<Service>,
    /// Its counters and its session memory.
    pub ledger: Arc<service::Service>,
    /// By backend index.
    pub backends: Vec<LiveBackend>,
    /// Backend and member index by their identities, for cookies that name a member; empty in services without.
    by_identity: HashMap<(u64, u64), (u32, u32)>,
    /// The planner writes, requests read.
    pub plan: ArcSwap<Plan>,
}

/// A backend with its live numbers.
#[derive(Debug)]
pub struct LiveBackend {
    /// Gate, latency, picks.
    pub ledger: Arc<backend::Backend>,
    /// By member index.
    pub members: Vec<LiveMember>,
}

/// A member with its live numbers.
#[derive(Debug)]
pub struct LiveMember {
    /// Name and address.
    pub config: Member,
    /// As this service sees it.
    pub numbered: Arc<Numbered>,
    /// As a machine.
    pub endpoint: Arc<endpoint::Endpoint>,
    /// In CUSTOM_METRICS what it reports, by metric of its backend, in the backend's order; else empty.
    pub metrics: Vec<Arc<Gauge>>,
    /// All metrics that somebody in this world wants of this address: a report concerns the machine, whichever
    /// service heard it.
    pub heard: Arc<[Metric]>,
}

/// By endpoint, the metrics that somebody wants.
type Wanted = HashMap<EndpointKey, Arc<[Metric]>>;

impl World {
    /// Joins `config` with the numbers in `registry`. Plans are empty until the planner's first tick.
    #[must_use]
    pub fn build(config: Arc<Config>, generation: u64, registry: &mut Registry) -> Self {
        let wanted = wanted(&config, registry);
        let build = |service| Arc::new(LiveService::build(service, &wanted, registry));
        let services: Vec<_> = config.services.iter().map(build).collect();
        let mut listeners = Vec::new();
        for (index, front) in (0u32..).zip(&config.fronts) {
            let number = registry.listener(&front.name, front.address) as usize;
            listeners.resize(listeners.len().max(number + 1), None);
            if let Some(slot) = listeners.get_mut(number) {
                *slot = Some(index);
            }
        }
        let member_numbers =
            services.iter().flat_map(|s| s.members()).map(|(.., m)| m.numbered.number).collect();
        Self { generation, config, services, listeners, member_numbers }
    }

    /// The service with this number.
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Arc<LiveService>> {
        self.services.get(id.index())
    }

    /// The forwarding rule behind a listener; `None` when it was removed.
    #[must_use]
    pub fn front(&self, listener: u32) -> Option<&Front> {
        self.config.fronts.get((*self.listeners.get(listener as usize)?)? as usize)
    }
}

impl LiveService {
    fn build(config: &Arc<Service>, wanted: &Wanted, registry: &mut Registry) -> Self {
        let remembers = !matches!(config.affinity, Affinity::None | Affinity::StrongCookie(_));
        let backends = config.backends.iter().map(|b| LiveBackend::build(&config.name, b, wanted, registry));
        let backends: Vec<_> = backends.collect();
        Self {
            ledger: registry.service(&config.name, remembers),
            backends,
            by_identity: identities(config),
            plan: ArcSwap::default(),
            config: config.clone(),
        }
    }

    /// Name of the service.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Where the member of these identities stands, if it is still here; see [`hash::group`] and [`hash::member`].
    #[must_use]
    pub fn find(&self, backend: u64, member: u64) -> Option<(u32, u32)> {
        self.by_identity.get(&(backend, member)).copied()
    }

    /// The member at these places of the lists, as a plan names it.
    #[must_use]
    pub fn member(&self, backend: u32, member: u32) -> Option<&LiveMember> {
        self.backends.get(backend as usize)?.members.get(member as usize)
    }

    /// All members with their backend's group, in order.
    pub fn members(&self) -> impl Iterator<Item = (&Arc<Group>, &LiveBackend, &LiveMember)> {
        self.config
            .backends
            .iter()
            .zip(&self.backends)
            .flat_map(|(config, live)| live.members.iter().map(move |member| (&config.group, live, member)))
    }
}

fn identities(config: &Service) -> HashMap<(u64, u64), (u32, u32)> {
    if !matches!(config.affinity, Affinity::StrongCookie(_)) {
        return HashMap::new();
    }
    let mut identities = HashMap::new();
    for (index, backend) in (0..).zip(&config.backends) {
        let group = hash::group(&backend.group);
        identities
            .extend((0..).zip(&backend.members).map(|(n, one)| ((group, hash::member(one)), (index, n))));
    }
    identities
}

/// The gauges of all metrics that backends in mode CUSTOM_METRICS name, on a dry run or not [G 1.38].
fn wanted(config: &Config, registry: &mut Registry) -> Wanted {
    let mut names: HashMap<EndpointKey, BTreeSet<&Arc<str>>> = HashMap::new();
    for backend in config.services.iter().flat_map(|service| &service.backends) {
        for metric in backend.mode.metrics() {
            for member in &backend.members {
                names.entry(key_of(member)).or_default().insert(&metric.name);
            }
        }
    }
    let gauges = names.into_iter().map(|(key, names)| {
        let metric =
            |name: &Arc<str>| Metric { name: name.clone(), gauge: registry.gauge(key.clone(), name) };
        let metrics = names.into_iter().map(metric).collect();
        (key, metrics)
    });
    gauges.collect()
}

fn key_of(member: &Member) -> EndpointKey {
    (member.host.clone(), member.address)
}

impl LiveBackend {
    fn build(service: &Arc<str>, config: &Backend, wanted: &Wanted, registry: &mut Registry) -> Self {
        let group = (config.group.kind, config.group.zone.clone(), config.group.name.clone());
        let none: Arc<[Metric]> = Arc::new([]);
        let members = config.members.iter().map(|member| LiveMember {
            numbered: registry.member(MemberKey {
                service: service.clone(),
                group: group.clone(),
                name: member.name.clone(),
                address: member.address,
            }),
            endpoint: registry.endpoint(key_of(member)),
            metrics: config.mode.metrics().iter().map(|m| registry.gauge(key_of(member), &m.name)).collect(),
            heard: wanted.get(&key_of(member)).unwrap_or(&none).clone(),
            config: member.clone(),
        });
        let members = members.collect();
        Self { ledger: registry.backend(service, &group), members }
    }
}

impl LiveMember {
    /// Whether new requests stay away: not healthy, or ejected.
    #[must_use]
    pub fn is_shunned(&self) -> bool {
        !self.is_healthy() || self.numbered.member.conduct.is_ejected()
    }

    /// Whether new requests may go here.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.numbered.member.is_healthy()
    }

    /// Takes in a load report: its utilization, if it has one, and what `value` finds in it by the names of metrics.
    pub fn hear(&self, utilization: Option<Ratio>, value: impl Fn(&str) -> Option<f64>, now: Tick) {
        self.endpoint.hear(utilization, now);
        gauge::observe(&self.heard, value, now);
    }
}
