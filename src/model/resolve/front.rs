//! Forwarding rules, with the target proxies behind them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::names::Names;
use super::report::Report;
use super::service::scheme;
use super::url_map::Maps;
use crate::model::config::{Front, FrontKind, HttpFront};
use crate::model::service::Scheme;
use crate::model::unit::Span;
use crate::wire::flaw::quote;
use crate::wire::front as wire;
use crate::wire::path::Path;
use crate::wire::read::{Entry, Resources};

/// `httpKeepAliveTimeoutSec` when the file has none [G 5].
const DEFAULT_KEEP_ALIVE_SEC: u32 = 610;

/// A front and its forwarding rule's index.
pub(super) struct Placed<T> {
    pub(super) index: usize,
    pub(super) map: usize,
    pub(super) value: T,
}

/// Resolves all forwarding rules. Those with problems are left out; they have been reported.
pub(super) fn all(resources: &Resources, maps: &Maps<'_>, report: &mut Report<'_>) -> Vec<Placed<Front>> {
    let proxies = Proxies::new(resources, maps, report);
    Names::new(&resources.forwarding_rules, "forwarding rule", report);
    let list = Path::Root.key(resources.forwarding_rules.key);
    let mut out: Vec<Placed<Front>> = Vec::new();
    for (index, entry) in resources.forwarding_rules.entries.iter().enumerate() {
        let Some(rule) = &entry.value else { continue };
        let at = list.item(index);
        let address = address(rule, &at, report);
        let target = proxies.follow(rule, maps, &at, report);
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
        let Some((map, front)) = target else { continue };
        out.push(Placed { index, map, value: Front { address, ..front } });
    }
    out
}

/// For each service, whether a forwarding rule leads to it.
pub(super) fn reached(fronts: &[Placed<Front>], maps: &Maps<'_>, services: usize) -> Vec<bool> {
    let mut out = vec![false; services];
    for map in fronts.iter().filter_map(|front| maps.list.get(front.map)?.as_ref()) {
        for service in &map.services {
            if let Some(is_reached) = out.get_mut(service.index()) {
                *is_reached = true;
            }
        }
    }
    out
}

/// Target proxies with the index of their URL map.
struct Proxies<'a> {
    names: Names<'a>,
    entries: &'a [Entry<wire::TargetHttpProxy>],
    maps: Vec<Option<usize>>,
}

impl<'a> Proxies<'a> {
    fn new(resources: &'a Resources, maps: &Maps<'_>, report: &mut Report<'_>) -> Self {
        let of = &resources.target_http_proxies;
        let names = Names::new(of, "target HTTP proxy", report);
        let list = Path::Root.key(of.key);
        let follow = |(index, entry): (usize, &Entry<wire::TargetHttpProxy>)| {
            maps.names.follow(&entry.value.as_ref()?.url_map, &list.item(index).key("urlMap"), report)
        };
        let maps = of.entries.iter().enumerate().map(follow).collect();
        Self { names, entries: &of.entries, maps }
    }

    /// The map behind a rule, and the front but for its address. `None` after a report.
    fn follow(
        &self,
        rule: &wire::ForwardingRule,
        maps: &Maps<'_>,
        at: &Path<'_>,
        report: &mut Report<'_>,
    ) -> Option<(usize, Front)> {
        let target = at.key("target");
        if ["targetHttpsProxies/", "targetTcpProxies/", "targetSslProxies/", "targetGrpcProxies/"]
            .iter()
            .any(|kind| rule.target.contains(kind))
        {
            let message = format!("{} is not supported yet: HTTPS and other listeners", quote(&rule.target));
            report.error(&target, "not-supported", message, "a target HTTP proxy");
            return None;
        }
        let index = self.names.follow(&rule.target, &target, report)?;
        let proxy = self.entries.get(index)?.value.as_ref()?;
        let map_index = (*self.maps.get(index)?)?;
        let map = maps.list.get(map_index)?.as_ref()?;
        let own = scheme(rule.load_balancing_scheme.as_deref());
        if own != map.scheme {
            let message = format!(
                "forwarding rule `{}` is {}, and the services behind it are {}",
                rule.name,
                own.as_str(),
                map.scheme.as_str()
            );
            let field =
                if rule.load_balancing_scheme.is_some() { at.key("loadBalancingScheme") } else { target };
            let expected = "one loadBalancingScheme for a forwarding rule and all services behind it; EXTERNAL_MANAGED if absent";
            report.error(&field, "scheme-mismatch", message, expected);
        }
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
        let front = Front {
            name: rule.name.as_str().into(),
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            proxy_name: proxy.name.as_str().into(),
            kind: FrontKind::Http(HttpFront { keep_alive, url_map: Arc::clone(&map.value) }),
        };
        Some((map_index, front))
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
