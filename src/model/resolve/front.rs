//! Forwarding rules, with the target proxies behind them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::names::{Names, dangling, read_reference};
use super::place::cidr;
use super::relay::{self, Relay, Relays};
use super::report::Report;
use super::service::{Services, scheme};
use super::tls::{Asked, Tls};
use super::url_map::Maps;
use crate::model::config::{Cidr, Front, FrontKind, HttpFront, HttpsFront, ServiceId};
use crate::model::service::Scheme;
use crate::model::tls::Termination;
use crate::model::unit::Span;
use crate::wire::flaw::quote;
use crate::wire::front as wire;
use crate::wire::path::Path;
use crate::wire::read::{Collection, Resources};

/// `httpKeepAliveTimeoutSec` when the file has none [G 5].
const DEFAULT_KEEP_ALIVE_SEC: u32 = 610;

/// A front, its forwarding rule's index, and the services that it leads to.
pub(super) struct Placed<T> {
    pub(super) index: usize,
    services: BTreeSet<ServiceId>,
    pub(super) value: T,
}

/// What target proxies refer to.
#[derive(Clone, Copy)]
pub(super) struct Behind<'a> {
    pub(super) maps: &'a Maps<'a>,
    pub(super) services: &'a Services<'a>,
    pub(super) tls: &'a Tls<'a>,
}

/// Resolves all forwarding rules. Those with problems are left out; they have been reported.
pub(super) fn all(resources: &Resources, behind: Behind<'_>, report: &mut Report<'_>) -> Vec<Placed<Front>> {
    let proxies = Proxies::new(resources, behind, report);
    Names::new(&resources.forwarding_rules, "forwarding rule", report);
    let list = Path::Root.key(resources.forwarding_rules.key);
    let mut out: Vec<Placed<Front>> = Vec::new();
    for (index, entry) in resources.forwarding_rules.entries.iter().enumerate() {
        let Some(rule) = &entry.value else { continue };
        let at = list.item(index);
        let address = address(rule, &at, report);
        let target = proxies.follow(rule, &at, report);
        let Some(address) = address else { continue };
        if let Some(first) = out.iter().find(|front| front.value.address == address && address.port() != 0) {
            let message = format!("forwarding rule `{}` listens at {address} already", first.value.name);
            report.error(
                &at.key("portRange"),
                "duplicate-listener",
                message,
                "an address and port of its own for each forwarding rule",
            );
        }
        let Some(target) = target else { continue };
        let value = Front {
            name: rule.name.as_str().into(),
            address,
            proxy_name: target.name,
            kind: target.kind,
            proxy_protocol: senders(rule, &at, report),
        };
        if value.has_http3() && value.proxy_protocol.is_some() {
            let message = format!(
                "forwarding rule `{}` leads to HTTP/3, for which there is no PROXY header",
                value.name
            );
            let expected = format!("no `proxyProtocol`, or no `quicOverride` of `{}`", value.proxy_name);
            report.error(&at.key("proxyProtocol"), "forbidden-field", message, expected);
        }
        out.push(Placed { index, services: target.services, value });
    }
    out
}

/// `proxyProtocol.from`.
fn senders(rule: &wire::ForwardingRule, at: &Path<'_>, report: &mut Report<'_>) -> Option<Arc<[Cidr]>> {
    let from = &rule.proxy_protocol.as_ref()?.from;
    let at = at.key("proxyProtocol");
    let at = at.key("from");
    if from.is_empty() {
        let message = format!("forwarding rule `{}` takes connections from nobody", rule.name);
        let expected = "the addresses of the balancers in front, such as 10.0.0.0/8";
        report.error(&at, "empty-list", message, expected);
    }
    let from = from.iter().enumerate();
    Some(from.filter_map(|(index, text)| cidr(text, &at.item(index), report)).collect())
}

/// For each service, whether a forwarding rule leads to it.
pub(super) fn reached(fronts: &[Placed<Front>], services: usize) -> Vec<bool> {
    let mut out = vec![false; services];
    for service in fronts.iter().flat_map(|front| &front.services) {
        if let Some(is_reached) = out.get_mut(service.index()) {
            *is_reached = true;
        }
    }
    out
}

/// A target proxy as a rule sees it.
struct Target {
    name: Arc<str>,
    /// Of all services behind it.
    scheme: Scheme,
    services: BTreeSet<ServiceId>,
    kind: FrontKind,
}

/// Target proxies of all kinds.
struct Proxies<'a> {
    http: Names<'a>,
    https: Names<'a>,
    maps: &'a Maps<'a>,
    http_list: Vec<Option<Web>>,
    https_list: Vec<Option<(Web, Secure)>>,
    relays: Relays<'a>,
}

/// A proxy with a URL map.
#[derive(Clone)]
struct Web {
    name: Arc<str>,
    /// Index of its URL map.
    map: usize,
    keep_alive_sec: Option<u32>,
}

/// What an HTTPS proxy has beyond that.
#[derive(Clone)]
struct Secure {
    tls: Arc<Termination>,
    has_http3: bool,
}

/// Google's target proxies that forwarding rules cannot lead to yet.
const LATER: [&str; 1] = ["targetGrpcProxies"];

impl<'a> Proxies<'a> {
    fn new(resources: &'a Resources, behind: Behind<'a>, report: &mut Report<'_>) -> Self {
        let (of, secure) = (&resources.target_http_proxies, &resources.target_https_proxies);
        let http = Names::new(of, "target HTTP proxy", report);
        let https = Names::new(secure, "target HTTPS proxy", report);
        let maps = behind.maps;
        let http_list = each(of, |proxy, at| {
            let map = maps.names.follow(&proxy.url_map, &at.key("urlMap"), report)?;
            let name = proxy.name.as_str().into();
            Some(Web { name, map, keep_alive_sec: proxy.http_keep_alive_timeout_sec })
        });
        let https_list = each(secure, |proxy, at| {
            let map = maps.names.follow(&proxy.url_map, &at.key("urlMap"), report);
            let placed = map.and_then(|map| maps.list.get(map)?.as_ref());
            if let Some(place) = placed.and_then(|placed| placed.to_https.as_deref()) {
                let message =
                    format!("its URL map sends clients to https, where they are already: `{place}`");
                let expected =
                    "a URL map without `httpsRedirect`, which is for target HTTP proxies alone [G 7c]";
                report.error(&at.key("urlMap"), "forbidden-field", message, expected);
            }
            let asked = Asked {
                certificates: proxy.ssl_certificates.as_deref().unwrap_or_default(),
                policy: proxy.ssl_policy.as_deref(),
                clients: proxy.server_tls_policy.as_deref(),
            };
            let tls = behind.tls.termination(asked, at, report);
            let name = proxy.name.as_str().into();
            let web = Web { name, map: map?, keep_alive_sec: proxy.http_keep_alive_timeout_sec };
            // NONE leaves it to the balancer [G 6.6], and this one does not open a port that nobody asked for.
            let has_http3 = proxy.quic_override.as_deref() == Some("ENABLE");
            Some((web, Secure { tls: tls?, has_http3 }))
        });
        let relays = relay::all(resources, behind.services, behind.tls, report);
        Self { http, https, maps, http_list, https_list, relays }
    }

    /// The proxy behind a rule. `None` after a report.
    fn follow(&self, rule: &wire::ForwardingRule, at: &Path<'_>, report: &mut Report<'_>) -> Option<Target> {
        let field = at.key("target");
        let own = scheme(rule.load_balancing_scheme.as_deref());
        let names = self.names(&rule.target, &field, report)?;
        let index = names.follow(&rule.target, &field, report)?;
        let target = if names.is(&self.relays.tcp) {
            relayed(self.relays.tcp_list.get(index)?.as_ref()?)
        } else if names.is(&self.relays.ssl) {
            relayed(self.relays.ssl_list.get(index)?.as_ref()?)
        } else if names.is(&self.https) {
            let (web, secure) = self.https_list.get(index)?.as_ref()?;
            let (target, http) = self.web(web, own, (&self.https, index), report)?;
            let Secure { tls, has_http3 } = secure.clone();
            Target { kind: FrontKind::Https(HttpsFront { http, tls, has_http3 }), ..target }
        } else {
            self.web(self.http_list.get(index)?.as_ref()?, own, (&self.http, index), report)?.0
        };
        if own != target.scheme {
            let message = format!(
                "forwarding rule `{}` is {}, and the services behind it are {}",
                rule.name,
                own.as_str(),
                target.scheme.as_str()
            );
            let field =
                if rule.load_balancing_scheme.is_some() { at.key("loadBalancingScheme") } else { field };
            let expected = "one loadBalancingScheme for a forwarding rule and all services behind it; EXTERNAL_MANAGED if absent";
            report.error(&field, "scheme-mismatch", message, expected);
        }
        Some(target)
    }

    /// Which kind of proxy a reference means; a bare name may be of any. `None` after a report.
    fn names(&self, text: &str, at: &Path<'_>, report: &mut Report<'_>) -> Option<&Names<'a>> {
        let reference = read_reference(text, at, "target proxy", report)?;
        let all = [&self.http, &self.https, &self.relays.tcp, &self.relays.ssl];
        if let Some(collection) = reference.collection {
            if LATER.contains(&collection) {
                let message = format!("{} is not supported yet: gRPC listeners", quote(text));
                report.error(at, "not-supported", message, "a target HTTP, HTTPS, TCP or SSL proxy");
                return None;
            }
            // Of what is no target proxy at all, the HTTP ones say so.
            return all.into_iter().find(|names| names.collection() == collection).or(Some(&self.http));
        }
        let found: Vec<_> = all.into_iter().filter(|names| names.has(reference.name)).collect();
        match found.as_slice() {
            [one] => Some(one),
            [] if all.iter().any(|names| names.hides_names()) => None,
            [] => {
                let known = all.iter().flat_map(|names| names.known());
                dangling(reference.name, "target proxy", known, (at, report));
                None
            }
            several => {
                let urls = several.iter().map(|names| format!("{}/{}", names.collection(), reference.name));
                let message = format!("{} could be any of {} target proxies", quote(text), several.len());
                report.error(at, "ambiguous-reference", message, urls.collect::<Vec<_>>().join(" or "));
                None
            }
        }
    }

    /// A proxy with a URL map, as far as both kinds are the same.
    fn web(
        &self,
        web: &Web,
        own: Scheme,
        of: (&Names<'_>, usize),
        report: &mut Report<'_>,
    ) -> Option<(Target, HttpFront)> {
        let map = self.maps.list.get(web.map)?.as_ref()?;
        if own == Scheme::External && web.keep_alive_sec.is_some() {
            let list = Path::Root.key(of.0.collection());
            let message = format!(
                "proxy `{}` sets a keep-alive time behind a forwarding rule of scheme EXTERNAL",
                web.name
            );
            report.error(
                &list.item(of.1).key("httpKeepAliveTimeoutSec"),
                "forbidden-field",
                message,
                "none: the classic balancer keeps to 610 s [G 5]",
            );
        }
        let keep_alive = Span::secs(web.keep_alive_sec.unwrap_or(DEFAULT_KEEP_ALIVE_SEC).into());
        let http = HttpFront { keep_alive, url_map: Arc::clone(&map.value) };
        let target = Target {
            name: Arc::clone(&web.name),
            scheme: map.scheme.unwrap_or(own),
            services: map.services.clone(),
            kind: FrontKind::Http(http.clone()),
        };
        Some((target, http))
    }
}

/// The sound ones of a collection, each with its place.
fn each<T, U>(of: &Collection<T>, mut resolve: impl FnMut(&T, &Path<'_>) -> Option<U>) -> Vec<Option<U>> {
    let list = Path::Root.key(of.key);
    let entries = of.entries.iter().enumerate();
    entries.map(|(index, entry)| resolve(entry.value.as_ref()?, &list.item(index))).collect()
}

fn relayed(relay: &Relay) -> Target {
    Target {
        name: Arc::clone(&relay.name),
        scheme: relay.scheme,
        services: BTreeSet::from([relay.service]),
        kind: relay.kind.clone(),
    }
}

fn address(rule: &wire::ForwardingRule, at: &Path<'_>, report: &mut Report<'_>) -> Option<SocketAddr> {
    let ip = match rule.ip_address.parse::<IpAddr>() {
        Ok(ip) => Some(ip),
        Err(_) => {
            let message = format!("{} is no address", quote(&rule.ip_address));
            let expected = "an IPv4 or IPv6 address, such as 127.0.0.1, or 0.0.0.0 for all; addresses by name are not supported yet";
            report.error(&at.key("IPAddress"), "bad-address", message, expected);
            None
        }
    };
    if let Some((ip, version)) =
        ip.zip(rule.ip_version.as_deref()).filter(|(ip, version)| ip.is_ipv4() != (*version == "IPV4"))
    {
        let message = format!("{ip} is no address of {version}");
        report.error(&at.key("ipVersion"), "forbidden-field", message, "the version of IPAddress, or none");
    }
    let port = port(&rule.port_range);
    if port.is_none() {
        let message = format!("{} is no port", quote(&rule.port_range));
        let expected = "one port from 1 to 65535, as \"8080\" or \"8080-8080\"; 0 lets the system choose";
        report.error(&at.key("portRange"), "bad-port", message, expected);
    }
    Some(SocketAddr::new(ip?, port?))
}

/// `80`, or `80-80` as gcloud prints it.
fn port(text: &str) -> Option<u16> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    match text.split_once('-') {
        None => digits(text),
        Some((first, last)) => digits(first).filter(|first| Some(*first) == digits(last)),
    }
}
