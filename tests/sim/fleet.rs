//! Services made by hand.

use std::net::SocketAddr;
use std::sync::Arc;

use overspill::model::place::{Places, Region, RegionId};
use overspill::model::policy::{Distribution, Policies};
use overspill::model::probe::{HealthCheck, Probe, ProbePort};
use overspill::model::service::{
    Affinity, Backend, EndpointType, Group, GroupKind, Member, Protocol, Scheme, Service, UtilizationSource,
};
use overspill::model::target::{Beside, Mode, Preference, RateTarget, Scaler};
use overspill::model::unit::{PerSecond, Ratio, Span};

/// Region 0 is where clients are; each next one is farther east.
pub(crate) fn places(regions: u16) -> Places {
    let region =
        |n: u16| Region { name: format!("region-{n}").into(), latitude: 0.0, longitude: f64::from(n) * 10.0 };
    Places {
        regions: (0..regions).map(region).collect(),
        client_locations: Vec::new(),
        origins: vec![RegionId(0)],
        zone: "region-0-a".into(),
    }
}

/// `maxRate`.
pub(crate) fn group_rate(rate: f64) -> Mode {
    Mode::Rate(RateTarget::Group(PerSecond::new(rate)))
}

/// `maxRatePerInstance`.
pub(crate) fn member_rate(rate: f64) -> Mode {
    Mode::Rate(RateTarget::PerMember(PerSecond::new(rate)))
}

/// `maxUtilization`.
pub(crate) fn utilization(max: f64) -> Mode {
    Mode::Utilization { max: Ratio::new(max), beside: Beside::Nothing }
}

/// A backend with `members` members in `region`, named after `index`.
pub(crate) fn backend(index: usize, region: u16, members: u16, mode: Mode) -> Backend {
    let member = |n: u16| Member {
        name: format!("member-{index}-{n}").into(),
        address: SocketAddr::from(([10, u8::try_from(index).unwrap(), 0, 1], 1000 + n)),
        host: None,
    };
    let group = Group {
        name: format!("group-{index}").into(),
        kind: GroupKind::InstanceGroup,
        endpoint_type: EndpointType::VmIpPort,
        zone: format!("region-{region}-a").into(),
        region: RegionId(region),
        utilization: UtilizationSource::OrcaHeader,
    };
    Backend {
        group: Arc::new(group),
        mode,
        scaler: Scaler::FULL,
        preference: Preference::Default,
        members: (0..members).map(member).collect(),
    }
}

pub(crate) fn scaled(backend: Backend, scaler: f64) -> Backend {
    Backend { scaler: Scaler::new(scaler).unwrap(), ..backend }
}

pub(crate) fn preferred(backend: Backend) -> Backend {
    Backend { preference: Preference::Preferred, ..backend }
}

/// The same in another zone of its region.
pub(crate) fn in_zone(backend: Backend, letter: char) -> Backend {
    let zone = format!("region-{}-{letter}", backend.group.region.0);
    Backend { group: Arc::new(Group { zone: zone.into(), ..(*backend.group).clone() }), ..backend }
}

pub(crate) fn service(backends: Vec<Backend>) -> Service {
    Service {
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
        log_fields: overspill::model::service::LogFields::default(),
        custom_headers: None,
        compresses: false,
        longest: None,
        backends,
        is_reachable: true,
    }
}

pub(crate) fn with_affinity(service: Service) -> Service {
    Service { affinity: Affinity::ClientIp, ..service }
}

/// With this `serviceLbPolicy`.
pub(crate) fn distributed(service: Service, distribution: Distribution) -> Service {
    Service { policies: Policies { distribution, ..service.policies }, ..service }
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
