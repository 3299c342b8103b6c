//! Worlds and scripted backends for the tests of this folder.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::ledger::registry::Registry;
use crate::model::config::{AccessLogTarget, Config, ProxySettings, SessionKey};
use crate::model::place::{Places, RegionId};
use crate::model::policy::Policies;
use crate::model::probe::{HealthCheck, Probe, ProbePort};
use crate::model::service::{
    Affinity, Backend, EndpointType, Group, GroupKind, Member, Protocol, Scheme, Service, UtilizationSource,
};
use crate::model::target::{Beside, Mode, Preference, RateTarget, Scaler};
use crate::model::unit::{PerSecond, Ratio, Span};
use crate::world::World;

/// GET / on the serving port, every 5 s, 2 of a kind decide.
pub(super) fn check() -> HealthCheck {
    HealthCheck {
        name: "basic".into(),
        interval: Span::secs(5),
        timeout: Span::secs(5),
        healthy_threshold: 2,
        unhealthy_threshold: 2,
        port: ProbePort::Serving,
        sends_proxy_header: false,
        probe: http("/", None),
    }
}

/// An HTTP probe of `path` that looks for `response`.
pub(super) fn http(path: &str, response: Option<&str>) -> Probe {
    Probe::Http { over_tls: false, host: None, path: path.into(), response: response.map(Into::into) }
}

/// A service of one RATE backend with these members, named by their addresses.
pub(super) fn service(name: &str, check: HealthCheck, members: &[SocketAddr]) -> Service {
    let group = Group {
        name: "group".into(),
        kind: GroupKind::InstanceGroup,
        endpoint_type: EndpointType::VmIpPort,
        zone: "us-central1-a".into(),
        region: RegionId(0),
        utilization: UtilizationSource::OrcaHeader,
    };
    let backend = Backend {
        group: Arc::new(group),
        mode: Mode::Rate(RateTarget::Group(PerSecond::new(100.0))),
        scaler: Scaler::FULL,
        preference: Preference::Default,
        members: members
            .iter()
            .map(|a| Member { name: a.to_string().into(), address: *a, host: None })
            .collect(),
    };
    Service {
        name: name.into(),
        scheme: Scheme::ExternalManaged,
        protocol: Protocol::Http,
        timeout: Span::secs(30),
        health_check: Some(Arc::new(check)),
        affinity: Affinity::None,
        draining_timeout: Span::ZERO,
        policies: Policies::default(),
        region: None,
        log_sample: Ratio::ONE,
        log_fields: crate::model::service::LogFields::default(),
        custom_headers: None,
        backends: vec![backend],
        is_reachable: true,
    }
}

/// The same service with a UTILIZATION backend whose load comes from `source`.
pub(super) fn by_utilization(mut service: Service, source: UtilizationSource) -> Service {
    let backend = &mut service.backends[0];
    backend.mode = Mode::Utilization { max: Ratio::new(0.8), beside: Beside::Nothing };
    backend.group = Arc::new(Group { utilization: source, ..(*backend.group).clone() });
    service
}

/// A world of these services.
pub(super) fn world(services: Vec<Service>, registry: &mut Registry) -> World {
    let proxy = ProxySettings {
        zone: "us-central1-a".into(),
        region: RegionId(0),
        workers: Some(1),
        admin: None,
        access_log: AccessLogTarget::None,
        trusted_proxies: Vec::new(),
        session_key: SessionKey::Kept,
        limits: Default::default(),
    };
    let config = Config {
        proxy,
        places: Places::default(),
        fronts: Vec::new(),
        services: services.into_iter().map(Arc::new).collect(),
        warnings: Vec::new(),
        fingerprint: 0,
    };
    World::build(Arc::new(config), 1, registry)
}

/// A backend on a port of its own.
pub(super) struct Scripted {
    pub(super) address: SocketAddr,
    /// What it heard on its first connection.
    pub(super) heard: JoinHandle<Vec<u8>>,
}

/// Accepts connections; on each it reads until `wanted` has come, then sends `answer`, then closes, or
/// (`stays`) keeps the connection open. `heard` ends with the first connection's answer sent.
pub(super) async fn scripted(wanted: &'static [u8], answer: &'static [u8], stays: bool) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        while memchr::memmem::find(&heard, wanted).is_none() {
            if stream.read_buf(&mut heard).await.unwrap() == 0 {
                break;
            }
        }
        let _ = stream.write_all(answer).await;
        if stays {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1]).await;
                std::future::pending::<()>().await;
            });
        }
        heard
    });
    Scripted { address, heard }
}
