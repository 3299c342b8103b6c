//! A world for tests of what is shown: service `web` with a near group of two and a far one of one.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::ledger::registry::Registry;
use crate::model::config::{AccessLogTarget, Config, ProxySettings, SessionKey};
use crate::model::place::{Places, Region, RegionId};
use crate::model::policy::Policies;
use crate::model::probe::{HealthCheck, Probe, ProbePort};
use crate::model::service::{
    Affinity, Backend, EndpointType, Group, GroupKind, Member, Protocol, Scheme, Service, UtilizationSource,
};
use crate::model::target::{Beside, Mode, Preference, RateTarget, Scaler};
use crate::model::unit::{PerSecond, Ratio, Span};
use crate::world::World;

/// `web`: `near` in us-central1-a, RATE 100 per member, `members` members; `far` in europe-west1-b, UTILIZATION 0.8.
pub(crate) fn world(members: u16) -> World {
    let near = backend(
        "near",
        "us-central1-a",
        0,
        Mode::Rate(RateTarget::PerMember(PerSecond::new(100.0))),
        members,
    );
    let far = backend(
        "far",
        "europe-west1-b",
        1,
        Mode::Utilization { max: Ratio::new(0.8), beside: Beside::Nothing },
        1,
    );
    let service = Service {
        name: "web".into(),
        scheme: Scheme::ExternalManaged,
        protocol: Protocol::Http,
        timeout: Span::secs(30),
        health_check: Some(Arc::new(health_check())),
        affinity: Affinity::None,
        draining_timeout: Span::ZERO,
        policies: Policies::default(),
        region: None,
        log_sample: Ratio::ONE,
        log_fields: crate::model::service::LogFields::default(),
        custom_headers: None,
        compresses: false,
        backends: vec![near, far],
        is_reachable: true,
    };
    let region = |name: &str| Region { name: name.into(), latitude: 0.0, longitude: 0.0 };
    let config = Config {
        proxy: ProxySettings {
            zone: "us-central1-a".into(),
            region: RegionId(0),
            workers: None,
            admin: None,
            admin_access: crate::model::admin::AdminAccess::default(),
            access_log: AccessLogTarget::None,
            trusted_proxies: Vec::new(),
            session_key: SessionKey::Kept,
            limits: Default::default(),
        },
        places: Places {
            regions: vec![region("us-central1"), region("europe-west1")],
            client_locations: Vec::new(),
            origins: vec![RegionId(0)],
            zone: "us-central1-a".into(),
        },
        fronts: Vec::new(),
        services: vec![Arc::new(service)],
        warnings: Vec::new(),
        fingerprint: 0xabc,
    };
    World::build(Arc::new(config), 1, &mut Registry::new(1))
}

fn backend(name: &str, zone: &str, region: u16, mode: Mode, members: u16) -> Backend {
    let group = Group {
        name: name.into(),
        kind: GroupKind::InstanceGroup,
        endpoint_type: EndpointType::VmIpPort,
        zone: zone.into(),
        region: RegionId(region),
        utilization: UtilizationSource::OrcaHeader,
    };
    let address = |n: u16| SocketAddr::from(([127, 0, 0, 1], 1000 * (region + 1) + n));
    Backend {
        group: Arc::new(group),
        mode,
        scaler: Scaler::FULL,
        preference: Preference::Default,
        members: (1..=members)
            .map(|n| Member { name: format!("{name}-{n}").into(), address: address(n), host: None })
            .collect(),
    }
}

fn health_check() -> HealthCheck {
    HealthCheck {
        name: "basic".into(),
        interval: Span::secs(5),
        timeout: Span::secs(5),
        healthy_threshold: 2,
        unhealthy_threshold: 2,
        port: ProbePort::Serving,
        sends_proxy_header: false,
        probe: Probe::Tcp { over_tls: false, request: None, response: None },
    }
}
