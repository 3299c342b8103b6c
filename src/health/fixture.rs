//! Worlds and scripted backends for the tests of this folder.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::ledger::registry::Registry;
use crate::model::config::{AccessLogTarget, Config, ProxySettings, SessionKey};
use crate::model::place::{Places, RegionId};
use crate::model::policy::Policies;
use crate::model::probe::{HealthCheck, Probe, ProbePort, Spoken};
use crate::model::service::{
    Affinity, Backend, EndpointType, Group, GroupKind, Member, Protocol, Scheme, Service, UtilizationSource,
};
use crate::model::target::{Beside, Mode, Preference, RateTarget, Scaler};
use crate::model::unit::{PerSecond, Ratio, Span};
use crate::net::tls::bad_servers::{EXPIRED, server};
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
    Probe::Http { spoken: Spoken::Http, host: None, path: path.into(), response: response.map(Into::into) }
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
        compresses: false,
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
        admin_access: crate::model::admin::AdminAccess::default(),
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

/// What a server of HTTP/2 does with a call.
#[derive(Clone)]
pub(super) enum Act {
    /// Status, headers, body, trailers.
    Answer(u16, Headers, Vec<u8>, Headers),
    /// Sends a body that never ends.
    Endless,
    /// Holds the call for good.
    Hold,
    /// Resets the stream.
    Reset(h2::Reason),
}

/// Names and values.
pub(super) type Headers = &'static [(&'static str, &'static str)];

/// A server of HTTP/2 on a port of its own.
pub(super) struct Http2 {
    pub(super) address: SocketAddr,
    /// The first call with its body.
    pub(super) heard: JoinHandle<(http::request::Parts, Vec<u8>)>,
}

/// Does this with the first call, in clear or over TLS with these protocols and an expired certificate.
pub(super) async fn http2(protocols: Option<&[&[u8]]>, act: Act) -> Http2 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = protocols.map(|protocols| {
        let mut config = (*server(EXPIRED, &rustls::version::TLS13)).clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    });
    let heard = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        match acceptor {
            None => play(stream, act).await,
            Some(acceptor) => play(acceptor.accept(stream).await.unwrap(), act).await,
        }
    });
    Http2 { address, heard }
}

async fn play<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    act: Act,
) -> (http::request::Parts, Vec<u8>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    let (head, mut incoming) = request.into_parts();
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
    let mut body = Vec::new();
    while let Some(Ok(data)) = incoming.data().await {
        body.extend_from_slice(&data);
    }
    match act {
        Act::Answer(status, headers, body, trailers) => {
            let mut answer = http::Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(*name, *value);
            }
            let is_bare = body.is_empty() && trailers.is_empty();
            let mut stream = respond.send_response(answer.body(()).unwrap(), is_bare).unwrap();
            if !is_bare {
                stream.send_data(body.into(), trailers.is_empty()).unwrap();
            }
            if !trailers.is_empty() {
                let pair = |(name, value): &(&'static str, &'static str)| {
                    (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
                };
                stream.send_trailers(trailers.iter().map(pair).collect()).unwrap();
            }
        }
        Act::Endless => {
            let head = http::Response::builder().header("content-type", "application/grpc");
            let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
            stream.send_data(vec![b'x'; 1 << 20].into(), false).unwrap();
            tokio::spawn(held(stream));
        }
        Act::Hold => drop(tokio::spawn(held(respond))),
        Act::Reset(reason) => respond.send_reset(reason),
    }
    (head, body)
}

/// Dropping a stream would reset it.
async fn held<T>(stream: T) {
    std::future::pending::<()>().await;
    drop(stream);
}
