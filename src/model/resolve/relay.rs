//! Target TCP and SSL proxies.

use std::sync::Arc;

use super::names::{Names, region_of};
use super::report::Report;
use super::service::Services;
use super::tls::{Asked, Tls};
use crate::model::config::{FrontKind, ServiceId, SslFront, TcpFront};
use crate::model::service::Scheme;
use crate::wire::path::Path;
use crate::wire::read::Resources;

/// All target proxies that forward bytes.
pub(super) struct Relays<'a> {
    pub(super) tcp: Names<'a>,
    pub(super) ssl: Names<'a>,
    /// In the order of the document; `None` where a problem was reported.
    pub(super) tcp_list: Vec<Option<Relay>>,
    pub(super) ssl_list: Vec<Option<Relay>>,
}

/// One of them.
pub(super) struct Relay {
    pub(super) name: Arc<str>,
    /// Of its service.
    pub(super) scheme: Scheme,
    pub(super) service: ServiceId,
    pub(super) kind: FrontKind,
}

/// Resolves them all.
pub(super) fn all<'a>(
    resources: &'a Resources,
    services: &Services<'_>,
    tls: &Tls<'_>,
    report: &mut Report<'_>,
) -> Relays<'a> {
    let (tcp, ssl) = (&resources.target_tcp_proxies, &resources.target_ssl_proxies);
    let names = (Names::new(tcp, "target TCP proxy", report), Names::new(ssl, "target SSL proxy", report));
    let list = Path::Root.key(tcp.key);
    let mut tcp_list = Vec::new();
    for (index, entry) in tcp.entries.iter().enumerate() {
        tcp_list.push(entry.value.as_ref().and_then(|proxy| {
            let at = list.item(index);
            let (service, scheme) = service(&proxy.service, services, &at, report)?;
            let has_proxy_header = proxy.proxy_header.as_deref() == Some("PROXY_V1");
            let kind = FrontKind::Tcp(TcpFront { service, has_proxy_header });
            Some(Relay { name: proxy.name.as_str().into(), scheme, service, kind })
        }));
    }
    let list = Path::Root.key(ssl.key);
    let mut ssl_list = Vec::new();
    for (index, entry) in ssl.entries.iter().enumerate() {
        ssl_list.push(entry.value.as_ref().and_then(|proxy| {
            let at = list.item(index);
            let found = service(&proxy.service, services, &at, report);
            let asked = Asked {
                certificates: &proxy.ssl_certificates,
                policy: proxy.ssl_policy.as_deref(),
                clients: None,
            };
            let tls = tls.termination(asked, &at, report);
            let (service, scheme) = found?;
            refuse_internal(&proxy.name, scheme, &at, report);
            let has_proxy_header = proxy.proxy_header.as_deref() == Some("PROXY_V1");
            let relay = TcpFront { service, has_proxy_header };
            let kind = FrontKind::Ssl(SslFront { relay, tls: tls? });
            Some(Relay { name: proxy.name.as_str().into(), scheme, service, kind })
        }));
    }
    Relays { tcp: names.0, ssl: names.1, tcp_list, ssl_list }
}

/// The service behind a proxy, with its scheme; it must be one of connections.
fn service(
    reference: &str,
    services: &Services<'_>,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<(ServiceId, Scheme)> {
    let at = at.key("service");
    let index = services.names.follow(reference, &at, report)?;
    let placed = services.list.get(index)?.as_ref()?;
    let service = &placed.value;
    if let Some(region) = region_of(reference).filter(|region| placed.region.as_deref() != Some(region)) {
        let message = format!("there is no backend service `{}` in region {region}", service.name);
        report.error(
            &at,
            "dangling-reference",
            message,
            "the `region` of the service, or none for a global one",
        );
        return None;
    }
    if service.protocol.is_http() {
        let message = format!(
            "backend service `{}` is of protocol {}, and this proxy forwards bytes",
            service.name,
            service.protocol.as_str()
        );
        let expected = "a service of protocol TCP or SSL; HTTP services stand behind a target HTTP proxy and its URL map [G 1.13]";
        report.error(&at, "protocol-mismatch", message, expected);
        return None;
    }
    Some((ServiceId(u32::try_from(index).ok()?), service.scheme))
}

fn refuse_internal(name: &str, scheme: Scheme, at: &Path<'_>, report: &mut Report<'_>) {
    if scheme == Scheme::InternalManaged {
        let message = format!("target SSL proxy `{name}` leads to a service of scheme INTERNAL_MANAGED");
        let expected =
            "EXTERNAL_MANAGED or EXTERNAL; inside, a target TCP proxy passes TLS through untouched";
        report.error(&at.key("service"), "forbidden-scheme", message, expected);
    }
}
