//! Forwarding rules, with the target proxies behind them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::names::{Names, dangling, read_reference};
use super::relay::{self, Relay, Relays};
use super::report::Report;
use super::service::{Services, scheme};
use super::url_map::Maps;
use crate::model::config::{Front, FrontKind, HttpFront, ServiceId};
use crate::model::service::Scheme;
use crate::model::unit::Span;
use crate::wire::flaw::quote;
use crate::wire::front as wire;
use crate::wire::path::Path;
use crate::wire::read::{Entry, Resources};

/// `httpKeepAliveTimeoutSec` when the file has none [G 5].
const DEFAULT_KEEP_ALIVE_SEC: u32 = 610;

/// A front, its forwarding rule's index, and the services that it leads to.
pub(super) struct Placed<T> {
    pub(super) index: usize,
    services: BTreeSet<ServiceId>,
    pub(super) value: T,
}

/// Resolves all forwarding rules. Those with problems are left out; they have been reported.
pub(super) fn all(
    resources: &Resources,
    maps: &Maps<'_>,
    services: &Services<'_>,
    report: &mut Report<'_>,
) -> Vec<Placed<Front>> {
    let proxies = Proxies::new(resources, maps, services, report);
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
        let value =
            Front { name: rule.name.as_str().into(), address, proxy_name: target.name, kind: target.kind };
        out.push(Placed { index, services: target.services, value });
    }
    out
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
    entries: &'a [Entry<wire::TargetHttpProxy>],
    maps: &'a Maps<'a>,
    /// By target HTTP proxy: index of its URL map.
    map_of: Vec<Option<usize>>,
    relays: Relays<'a>,
}

/// Google's target proxies that forwarding rules cannot lead to yet.
const LATER: [&str; 2] = ["targetHttpsProxies", "targetGrpcProxies"];

impl<'a> Proxies<'a> {
    fn new(
        resources: &'a Resources,
        maps: &'a Maps<'a>,
        services: &Services<'_>,
        report: &mut Report<'_>,
    ) -> Self {
        let of = &resources.target_http_proxies;
        let http = Names::new(of, "target HTTP proxy", report);
        let list = Path::Root.key(of.key);
        let follow = |(index, entry): (usize, &Entry<wire::TargetHttpProxy>)| {
            maps.names.follow(&entry.value.as_ref()?.url_map, &list.item(index).key("urlMap"), report)
        };
        let map_of = of.entries.iter().enumerate().map(follow).collect();
        Self { http, entries: &of.entries, maps, map_of, relays: relay::all(resources, services, report) }
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
        } else {
            self.http(index, own, report)?
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
        let all = [&self.http, &self.relays.tcp, &self.relays.ssl];
        if let Some(collection) = reference.collection {
            if LATER.contains(&collection) {
                let message = format!("{} is not supported yet: HTTPS and other listeners", quote(text));
                report.error(at, "not-supported", message, "a target HTTP, TCP or SSL proxy");
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

    fn http(&self, index: usize, own: Scheme, report: &mut Report<'_>) -> Option<Target> {
        let proxy = self.entries.get(index)?.value.as_ref()?;
        let map = self.maps.list.get((*self.map_of.get(index)?)?)?.as_ref()?;
        if own == Scheme::External && proxy.http_keep_alive_timeout_sec.is_some() {
            let list = Path::Root.key("targetHttpProxies");
            let message = format!(
                "proxy `{}` sets a keep-alive time behind a forwarding rule of scheme EXTERNAL",
                proxy.name
            );
            report.error(
                &list.item(index).key("httpKeepAliveTimeoutSec"),
                "forbidden-field",
                message,
                "none: the classic balancer keeps to 610 s [G 5]",
            );
        }
        let keep_alive =
            Span::secs(proxy.http_keep_alive_timeout_sec.unwrap_or(DEFAULT_KEEP_ALIVE_SEC).into());
        Some(Target {
            name: proxy.name.as_str().into(),
            scheme: map.scheme.unwrap_or(own),
            services: map.services.clone(),
            kind: FrontKind::Http(HttpFront { keep_alive, url_map: Arc::clone(&map.value) }),
        })
    }
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
