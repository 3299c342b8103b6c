//! Target TCP and SSL proxies, and the certificates of the latter.

use std::sync::Arc;

use super::names::{Names, region_of};
use super::report::Report;
use super::service::Services;
use crate::model::certificate::{Certificate, Fault, MAX_CHAIN};
use crate::model::config::{FrontKind, ServiceId, SslFront, TcpFront};
use crate::model::service::Scheme;
use crate::wire::certificate::SslCertificate;
use crate::wire::flaw::quote;
use crate::wire::path::Path;
use crate::wire::read::{Collection, Resources};

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
    report: &mut Report<'_>,
) -> Relays<'a> {
    let certificates = Certificates::new(&resources.ssl_certificates, report);
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
            let certificates = certificates.follow(&proxy.ssl_certificates, &at, report);
            let (service, scheme) = found?;
            refuse_internal(&proxy.name, scheme, &at, report);
            let has_proxy_header = proxy.proxy_header.as_deref() == Some("PROXY_V1");
            let relay = TcpFront { service, has_proxy_header };
            let kind = FrontKind::Ssl(SslFront { relay, certificates: certificates? });
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

/// All certificates.
struct Certificates<'a> {
    names: Names<'a>,
    list: Vec<Option<Certificate>>,
}

impl<'a> Certificates<'a> {
    fn new(of: &'a Collection<SslCertificate>, report: &mut Report<'_>) -> Self {
        let names = Names::new(of, "SSL certificate", report);
        let list = Path::Root.key(of.key);
        let mut read = |(index, value): (usize, &SslCertificate)| {
            let certificate = Certificate::read(&value.name, &value.certificate, value.private_key.expose());
            certificate.map_err(|fault| tell(fault, &value.name, &list.item(index), report)).ok()
        };
        let entries = of.entries.iter().enumerate();
        let list = entries.map(|(index, entry)| entry.value.as_ref().and_then(|value| read((index, value))));
        Self { list: list.collect(), names }
    }

    fn follow(
        &self,
        references: &[String],
        at: &Path<'_>,
        report: &mut Report<'_>,
    ) -> Option<Arc<[Certificate]>> {
        let at = at.key("sslCertificates");
        if references.is_empty() {
            let message = "an SSL proxy needs a certificate";
            report.error(&at, "missing-certificate", message, "1 to 15 of `sslCertificates` [G 6.13]");
        }
        let found: Vec<_> = references
            .iter()
            .enumerate()
            .map(|(index, reference)| self.names.follow(reference, &at.item(index), report))
            .collect();
        let found: Option<Vec<_>> = found.into_iter().map(|index| self.list.get(index?)?.clone()).collect();
        found.filter(|found| !found.is_empty()).map(Into::into)
    }
}

/// Faults of keys are told at the name, since whoever shows a place shows the line that stands there.
fn tell(fault: Fault, name: &str, at: &Path<'_>, report: &mut Report<'_>) {
    let name = quote(name);
    let (field, message, expected) = match fault {
        Fault::NoCertificate => (
            "certificate",
            format!("there is no certificate in `certificate` of {name}"),
            "PEM: lines from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----".to_owned(),
        ),
        Fault::LongChain(length) => (
            "certificate",
            format!("the chain of {name} has {length} certificates"),
            format!("at most {MAX_CHAIN}, the server's own first [G 6.13]"),
        ),
        Fault::BadCertificate => (
            "certificate",
            format!("the first certificate of {name} cannot be read"),
            "X.509 version 3 in PEM, the server's own certificate first".to_owned(),
        ),
        Fault::NoKey => (
            "name",
            format!("there is no private key in `privateKey` of {name}"),
            "PEM that is not encrypted: from -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----"
                .to_owned(),
        ),
        Fault::BadKey => (
            "name",
            format!("the private key of {name} cannot be used"),
            "RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519".to_owned(),
        ),
        Fault::Mismatch => (
            "name",
            format!("the private key of {name} does not belong to its first certificate"),
            "the key that the certificate was made for, the server's own certificate first".to_owned(),
        ),
    };
    report.error(&at.key(field), "bad-certificate", message, expected);
}
