//! One group in several services [G 1.27, 1.28, 1.29]: what is shared, and what is each service's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use overspill::balance::plan::Limits;
use overspill::ledger::registry::Registry;
use overspill::model::config::{AccessLogTarget, Config, ProxySettings, SessionKey};
use overspill::model::place::RegionId;
use overspill::model::service::{Backend, Member, Service};
use overspill::model::unit::{Ratio, Span, Tick};
use overspill::world::{LiveBackend, World};

use crate::fleet::{backend, group_rate, member_rate, places, service, utilization};
use crate::lab::{Curve, Lab, Reporting};

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
            admin_access: overspill::model::admin::AdminAccess::default(),
            access_log: AccessLogTarget::None,
            trusted_proxies: Vec::new(),
            session_key: SessionKey::Kept,
            limits: Default::default(),
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
    web.members[1].endpoint.hear(Some(Ratio::new(0.5)), Tick(1));
    let heard = api.members[1].endpoint.read();
    assert_eq!((heard.value, heard.reports), (Ratio::new(0.5), 1));
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
    web.members[0].endpoint.hear(Some(Ratio::new(0.5)), Tick(1));
    assert_eq!(api.members[0].endpoint.read().at, None, "each process has its own load");
}

/// Two services on the same three machines, which each reach 80 % at 50 requests per second of both together.
#[test]
fn g_1_27_two_services_on_one_group_hold_its_utilization_together() {
    let rates = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let mut labs = [0, 1].map(|own: usize| {
        let (mine, other) = (Arc::clone(&rates[own]), Arc::clone(&rates[1 - own]));
        let asked = AtomicU64::new(0);
        let curve: Curve = Arc::new(move |rate: f64| {
            // The three machines, then the two of the backend that takes the rest.
            if asked.fetch_add(1, Relaxed) % 5 >= 3 {
                return 0.0;
            }
            mine.store(rate.to_bits(), Relaxed);
            ((rate + f64::from_bits(other.load(Relaxed))) * 0.8 / 50.0).min(1.0)
        });
        let fleet = vec![backend(0, 0, 3, utilization(0.8)), backend(1, 1, 2, group_rate(1e7))];
        Lab::new(service(fleet), places(2)).jittered(own as u64 + 1).reporting(Reporting {
            curve,
            most: 62.5,
            interval: Span::secs(1),
            lag: 0,
            noise: 0.0,
        })
    });
    for _ in 0..900 {
        labs[0].even(200.0, 0.1);
        labs[1].even(200.0, 0.1);
    }
    for from in [20.0, 40.0, 60.0, 80.0] {
        let [one, two] = [0, 1].map(|lab: usize| labs[lab].rate(0, from, from + 10.0));
        println!("from {from} s: {one} and {two}");
        assert!(((one + two) / 150.0 - 1.0).abs() < 0.05, "{one} and {two} of 150");
    }
}
