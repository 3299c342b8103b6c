//! What is live: the configuration joined with the live numbers of its services, backends and members.
//!
//! Immutable but for the plan slots. A request reads one `Arc<World>` once and keeps it; a reload builds a new one
//! from the same registry, so that whatever is in both lives on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::balance::hash;
use crate::balance::plan::Plan;
use crate::ledger::registry::{MemberKey, Numbered, Registry};
use crate::ledger::{backend, endpoint, service};
use crate::model::config::{Config, Front, ServiceId};
use crate::model::service::{Affinity, Backend, Group, Member, Service};

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
}

impl World {
    /// Joins `config` with the numbers in `registry`. Plans are empty until the planner's first tick.
    #[must_use]
    pub fn build(config: Arc<Config>, generation: u64, registry: &mut Registry) -> Self {
        let services: Vec<_> =
            config.services.iter().map(|s| Arc::new(LiveService::build(s, registry))).collect();
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
    fn build(config: &Arc<Service>, registry: &mut Registry) -> Self {
        let remembers = !matches!(config.affinity, Affinity::None | Affinity::StrongCookie(_));
        Self {
            ledger: registry.service(&config.name, remembers),
            backends: config.backends.iter().map(|b| LiveBackend::build(&config.name, b, registry)).collect(),
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

impl LiveBackend {
    fn build(service: &Arc<str>, config: &Backend, registry: &mut Registry) -> Self {
        let group = (config.group.kind, config.group.zone.clone(), config.group.name.clone());
        let members = config.members.iter().map(|member| LiveMember {
            numbered: registry.member(MemberKey {
                service: service.clone(),
                group: group.clone(),
                name: member.name.clone(),
                address: member.address,
            }),
            endpoint: registry.endpoint(member.address),
            config: member.clone(),
        });
        let members = members.collect();
        Self { ledger: registry.backend(service, &group), members }
    }
}

impl LiveMember {
    /// Whether new requests may go here.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.numbered.member.is_healthy()
    }
}
