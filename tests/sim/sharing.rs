//! One group in several services [G 1.27, 1.28, 1.29]: what is shared, and what is each service's own.

use std::sync::Arc;

use overspill::balance::plan::Limits;
use overspill::ledger::registry::Registry;
use overspill::model::config::{AccessLogTarget, Config, ProxySettings};
use overspill::model::place::RegionId;
use overspill::model::service::{Backend, Member, Service};
use overspill::model::unit::{Ratio, Tick};
use overspill::world::{LiveBackend, World};

use crate::fleet::{backend, group_rate, member_rate, places, service, utilization};

/// Services `web` and `api` with one backend each.
fn world(backends: [Backend; 2]) -> World {
    let names = ["web", "api"].into_iter().zip(backends);
    let services =
        names.map(|(name, backend)| Arc::new(Service { name: name.into(), ..service(vec![backend]) }));
    let config = Config {
        proxy: ProxySettings {
            zone: "region-0-a".into(),
            region: RegionId(0),
            workers: None,
            admin: None,
            access_log: AccessLogTarget::None,
            trusted_proxies: Vec::new(),
        },
        places: places(1),
        fronts: Vec::new(),
        services: services.collect(),
        warnings: Vec::new(),
        fingerprint: 1,
    };
    World::build(Arc::new(config), 1, &mut Registry::new(1))
}

fn both(world: &World) -> [&LiveBackend; 2] {
    [0, 1].map(|service: usize| &world.services[service].backends[0])
}

#[test]
fn g_1_27_a_rate_is_counted_for_each_service_and_utilization_for_the_machine() {
    let world = world([backend(0, 0, 2, utilization(0.8)), backend(0, 0, 2, utilization(0.8))]);
    let [web, api] = both(&world);
    web.ledger.gate.set(Limits::OPEN);
    assert!(web.ledger.gate.admit(Tick(1)).is_some());
    assert_eq!((web.ledger.gate.counts().admitted, api.ledger.gate.counts().admitted), (1, 0));
    for (web, api) in web.members.iter().zip(&api.members) {
        assert!(Arc::ptr_eq(&web.endpoint, &api.endpoint), "one machine");
        assert!(!Arc::ptr_eq(&web.numbered, &api.numbered), "two members, each with its health and counters");
    }
    web.members[1].endpoint.observe(Ratio::new(0.5), Tick(1));
    let heard = api.members[1].endpoint.read();
    assert_eq!((heard.utilization, heard.reports), (Ratio::new(0.5), 1));
}

#[test]
fn g_1_28_one_service_may_limit_the_rate_per_instance_and_the_other_that_of_the_group() {
    let world = world([backend(0, 0, 2, member_rate(10.0)), backend(0, 0, 2, group_rate(5.0))]);
    let capacity = |service: usize| {
        let backend = &world.config.services[service].backends[0];
        overspill::balance::capacity::of_backend(backend).unwrap().get()
    };
    assert_eq!((capacity(0), capacity(1)), (20.0, 5.0));
}

#[test]
fn g_1_28_behind_another_port_it_is_another_endpoint() {
    let moved =
        |member: Member| Member { address: ([10, 0, 0, 1], member.address.port() + 100).into(), ..member };
    let mut other = backend(0, 0, 2, utilization(0.8));
    other.members = other.members.into_iter().map(moved).collect();
    let world = world([backend(0, 0, 2, utilization(0.8)), other]);
    let [web, api] = both(&world);
    web.members[0].endpoint.observe(Ratio::new(0.5), Tick(1));
    assert_eq!(api.members[0].endpoint.read().at, None, "each process has its own load");
}
