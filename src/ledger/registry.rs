//! Identity → live numbers. Keeps them over a reload, and lets go of what no world holds any more.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use super::backend::Backend;
use super::endpoint::Endpoint;
use super::gauge::Gauge;
use super::member::Member;
use super::service::Service;

/// Owned by the supervisor; nobody else writes it.
#[derive(Debug)]
pub struct Registry {
    workers: usize,
    services: Shelf<Arc<str>, Service>,
    backends: Shelf<(Arc<str>, GroupKey), Backend>,
    members: Shelf<MemberKey, Numbered>,
    endpoints: Shelf<EndpointKey, Endpoint>,
    gauges: Shelf<(EndpointKey, Arc<str>), Gauge>,
    next_number: u32,
    listeners: HashMap<(Arc<str>, SocketAddr), u32>,
}

/// Host, where it is known by name, and address.
pub type EndpointKey = (Option<Arc<str>>, SocketAddr);

/// Kind, zone and name of a group.
pub type GroupKey = (crate::model::service::GroupKind, Arc<str>, Arc<str>);

/// Identity of a member as a service sees it. The health check is no part of it: when a check is edited, the last
/// verdict stands until the new check has one, so that an edit never empties a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemberKey {
    /// Service name.
    pub service: Arc<str>,
    /// Its group.
    pub group: GroupKey,
    /// Member name.
    pub name: Arc<str>,
    /// Where it serves.
    pub address: SocketAddr,
}

/// A member with a number that no other member of this process has had.
#[derive(Debug)]
pub struct Numbered {
    /// From 1.
    pub number: u32,
    /// The live numbers.
    pub member: Arc<Member>,
}

impl Registry {
    /// Empty.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            services: Shelf::default(),
            backends: Shelf::default(),
            members: Shelf::default(),
            endpoints: Shelf::default(),
            gauges: Shelf::default(),
            next_number: 1,
            listeners: HashMap::new(),
        }
    }

    /// The service's numbers, old or new.
    pub fn service(&mut self, name: &Arc<str>, remembers_sessions: bool) -> Arc<Service> {
        let workers = self.workers;
        let service = self.services.take(name.clone(), || Service::new(workers));
        if remembers_sessions {
            service.remember_sessions();
        }
        service
    }

    /// The backend's numbers, old or new.
    pub fn backend(&mut self, service: &Arc<str>, group: &GroupKey) -> Arc<Backend> {
        let workers = self.workers;
        self.backends.take((service.clone(), group.clone()), || Backend::new(workers))
    }

    /// The member's numbers, old or new.
    pub fn member(&mut self, key: MemberKey) -> Arc<Numbered> {
        let (workers, next) = (self.workers, &mut self.next_number);
        self.members.take(key, || {
            let number = *next;
            *next = next.wrapping_add(1).max(1);
            Numbered { number, member: Arc::new(Member::new(workers)) }
        })
    }

    /// The endpoint's numbers, old or new.
    pub fn endpoint(&mut self, key: EndpointKey) -> Arc<Endpoint> {
        let make = if key.0.is_some() { Endpoint::named } else { Endpoint::default };
        self.endpoints.take(key, make)
    }

    /// The gauge of an endpoint's metric, old or new.
    pub fn gauge(&mut self, key: EndpointKey, metric: &Arc<str>) -> Arc<Gauge> {
        self.gauges.take((key, metric.clone()), Gauge::default)
    }

    /// The number of a forwarding rule's listener: the same as long as its name and address are. Numbers are not
    /// used again; a process that sees a million different listeners keeps a million words.
    #[allow(clippy::cast_possible_truncation)]
    pub fn listener(&mut self, name: &Arc<str>, address: SocketAddr) -> u32 {
        let next = self.listeners.len() as u32;
        *self.listeners.entry((name.clone(), address)).or_insert(next)
    }

    /// Forgets what no world holds any more. Called after each swap.
    pub fn sweep(&mut self) {
        self.services.sweep();
        self.backends.sweep();
        self.members.sweep();
        self.endpoints.sweep();
        self.gauges.sweep();
    }
}

#[derive(Debug)]
struct Shelf<K, V>(HashMap<K, Weak<V>>);

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq, V> Shelf<K, V> {
    fn take(&mut self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        if let Some(kept) = self.0.get(&key).and_then(Weak::upgrade) {
            return kept;
        }
        let fresh = Arc::new(make());
        self.0.insert(key, Arc::downgrade(&fresh));
        fresh
    }

    fn sweep(&mut self) {
        self.0.retain(|_, held| held.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_held_is_handed_out_again_and_the_rest_is_forgotten() {
        let mut registry = Registry::new(1);
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let first = registry.endpoint((None, address));
        assert!(Arc::ptr_eq(&first, &registry.endpoint((None, address))));
        let named = registry.endpoint((Some("host".into()), address));
        assert!(!Arc::ptr_eq(&first, &named));
        drop((first, named));
        registry.sweep();
        assert!(registry.endpoints.0.is_empty());
    }
}
