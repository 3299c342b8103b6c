//! Network endpoint groups: zonal, hybrid and on the internet [G 1c, 1.5, 9].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::group::{Context, NamedPorts, Roster, RosterEntry, address};
use super::report::Report;
use super::source::{are_local, utilization};
use crate::model::place::RegionId;
use crate::model::service::{EndpointType, Group, GroupKind, UtilizationSource};
use crate::wire::flaw::quote;
use crate::wire::group as wire;
use crate::wire::path::Path;

/// Most endpoints of an internet group [G 9].
const MAX_GLOBAL: usize = 1;
/// The same in a region [G 9].
const MAX_REGIONAL: usize = 256;

/// `networkEndpointType`; absent, it is GCE_VM_IP_PORT.
pub(super) fn endpoint_type(group: &wire::NetworkEndpointGroup) -> EndpointType {
    match group.network_endpoint_type.as_deref() {
        Some("NON_GCP_PRIVATE_IP_PORT") => EndpointType::NonGcpPrivateIpPort,
        Some("INTERNET_IP_PORT") => EndpointType::InternetIpPort,
        Some("INTERNET_FQDN_PORT") => EndpointType::InternetFqdnPort,
        _ => EndpointType::VmIpPort,
    }
}

/// A group in a zone.
pub(super) fn zonal(
    group: &wire::NetworkEndpointGroup,
    (index, reporting): (usize, &BTreeSet<&str>),
    (at, atlas, report): Context<'_, '_, '_>,
) -> Option<Roster> {
    let entries = entries(group, at, report);
    let is_local = !reporting.contains(group.name.as_str()) && are_local(&entries);
    let utilization = utilization(group.utilization.as_ref(), is_local, &at.key("utilization"), report);
    let Some(zone) = &group.zone else {
        no_zone(at, report);
        return None;
    };
    let place = atlas.zone(zone, &at.key("zone"), report)?;
    Some(roster(group, index, place, (entries, utilization)))
}

pub(super) fn no_zone(at: &Path<'_>, report: &mut Report<'_>) {
    let message = "a network endpoint group has no `zone`";
    let expected =
        "`zone: …`, a name or a URL that ends in one; groups of internet endpoints alone have none";
    report.error(at, "missing-field", message, expected);
}

/// A group on the internet: in its `region`, if it has one, else where the proxy is.
pub(super) fn internet(
    group: &wire::NetworkEndpointGroup,
    (index, home): (usize, Option<RegionId>),
    (at, atlas, report): Context<'_, '_, '_>,
) -> Option<Roster> {
    let entries = entries(group, at, report);
    out_of_place(group, (group.zone.is_some(), group.utilization.is_some()), at, report);
    too_many(group, entries.len(), at, report);
    let place = match &group.region {
        Some(region) => atlas.region_url(region, &at.key("region"), report),
        None => home.map(|home| ("global".into(), home)),
    };
    Some(roster(group, index, place?, (entries, UtilizationSource::OrcaHeader)))
}

/// What a group on the internet cannot have.
pub(super) fn out_of_place(
    group: &wire::NetworkEndpointGroup,
    (has_zone, has_utilization): (bool, bool),
    at: &Path<'_>,
    report: &mut Report<'_>,
) {
    for (field, is_given, expected) in [
        ("zone", has_zone, "none: internet endpoints stand in no zone [G 1.5]"),
        ("utilization", has_utilization, "none: internet endpoints are not limited [G 1.5]"),
    ] {
        if is_given {
            let word = endpoint_type(group).as_str();
            let message = format!("group `{}` of type {word} has a `{field}`", group.name);
            report.error(&at.key(field), "forbidden-field", message, expected);
        }
    }
}

/// As many endpoints as a group on the internet may have.
pub(super) fn too_many(
    group: &wire::NetworkEndpointGroup,
    count: usize,
    at: &Path<'_>,
    report: &mut Report<'_>,
) {
    let most = if group.region.is_some() { MAX_REGIONAL } else { MAX_GLOBAL };
    if count > most {
        let word = endpoint_type(group).as_str();
        let message = format!("group `{}` of type {word} has {count} endpoints", group.name);
        let expected = "one endpoint in a global group, 256 in one with a `region` [G 9]";
        report.error(&at.key("networkEndpoints"), "too-many", message, expected);
    }
}

fn roster(
    group: &wire::NetworkEndpointGroup,
    index: usize,
    (zone, region): (Arc<str>, RegionId),
    (entries, utilization): (Vec<RosterEntry>, UtilizationSource),
) -> Roster {
    let group = Group {
        name: group.name.as_str().into(),
        kind: GroupKind::NetworkEndpointGroup,
        endpoint_type: endpoint_type(group),
        zone,
        region,
        utilization,
    };
    Roster { group: Arc::new(group), index, named_ports: NamedPorts::new(), entries }
}

/// Endpoints, each address and port once.
fn entries(group: &wire::NetworkEndpointGroup, at: &Path<'_>, report: &mut Report<'_>) -> Vec<RosterEntry> {
    let (list, mut seen) = (at.key("networkEndpoints"), BTreeSet::new());
    let endpoints = group.network_endpoints.iter().flatten().enumerate();
    endpoints.filter_map(|(i, one)| endpoint(one, group, &mut seen, (&list.item(i), report))).collect()
}

/// One endpoint; `None` after a report.
pub(super) fn endpoint(
    endpoint: &wire::NetworkEndpoint,
    group: &wire::NetworkEndpointGroup,
    seen: &mut BTreeSet<(String, u16)>,
    (at, report): (&Path<'_>, &mut Report<'_>),
) -> Option<RosterEntry> {
    let (ip, host) = target(endpoint, endpoint_type(group), at, report)?;
    let shown = host.clone().unwrap_or_else(|| ip.to_string());
    let Some(port) = endpoint.port.or(group.default_port) else {
        let message = format!("endpoint {} of group `{}` has no port", quote(&shown), group.name);
        report.error(at, "missing-field", message, "`port`, or `defaultPort` on the group");
        return None;
    };
    let field = if host.is_some() { "fqdn" } else { "ipAddress" };
    if !seen.insert((shown.clone(), port)) {
        let message = format!("group `{}` has an endpoint {shown} port {port} already", group.name);
        report.error(&at.key(field), "duplicate-member", message, "each address and port once");
    }
    let instance = endpoint.instance.as_deref().and_then(|instance| instance.rsplit('/').next());
    let name = match (&host, instance) {
        (Some(host), _) => format!("{host}:{port}"),
        (None, Some(instance)) => instance.to_owned(),
        (None, None) => SocketAddr::new(ip, port).to_string(),
    };
    let host = host.map(Into::into);
    Some(RosterEntry { name: name.into(), ip, host, ports: BTreeMap::new(), port: Some(port) })
}

/// What can be said of a flawed endpoint: its address or host, as far as it belongs there.
pub(super) fn alone(
    endpoint: &wire::NetworkEndpoint,
    of: EndpointType,
    at: &Path<'_>,
    report: &mut Report<'_>,
) {
    let is_by_name = of == EndpointType::InternetFqdnPort;
    if (if is_by_name { &endpoint.fqdn } else { &endpoint.ip_address }).is_some() {
        target(endpoint, of, at, report);
    }
}

/// An endpoint's address or, for INTERNET_FQDN_PORT, its host; `None` after a report.
fn target(
    endpoint: &wire::NetworkEndpoint,
    of: EndpointType,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<(IpAddr, Option<String>)> {
    let is_by_name = of == EndpointType::InternetFqdnPort;
    let (own, other) = if is_by_name { ("fqdn", "ipAddress") } else { ("ipAddress", "fqdn") };
    let given = [
        (other, if is_by_name { endpoint.ip_address.is_some() } else { endpoint.fqdn.is_some() }),
        ("instance", endpoint.instance.is_some() && of != EndpointType::VmIpPort),
    ];
    for (field, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
        let message = format!("an endpoint of type {} has `{field}`", of.as_str());
        let expected = format!("`{own}` and `port` [G 1c]");
        report.error(&at.key(field), "forbidden-field", message, expected);
    }
    let said = if is_by_name { &endpoint.fqdn } else { &endpoint.ip_address };
    let Some(said) = said else {
        if !given.iter().any(|(field, is_given)| *is_given && *field == other) {
            let message = format!("an endpoint of type {} has no `{own}`", of.as_str());
            report.error(at, "missing-field", message, format!("`{own}: …` [G 1c]"));
        }
        return None;
    };
    if !is_by_name {
        return Some((address(said, &at.key("ipAddress"), report)?, None));
    }
    if !is_host(said) {
        let message = format!("{} is no host name", quote(said));
        let expected = "letters, digits and hyphens between dots, such as www.example.com, without a port";
        report.error(&at.key("fqdn"), "bad-host", message, expected);
        return None;
    }
    // Only the port counts; the address is found while the process runs.
    Some((IpAddr::V4(Ipv4Addr::UNSPECIFIED), Some(said.trim_end_matches('.').to_ascii_lowercase())))
}

/// A name that DNS can have: labels of 1 to 63, 253 characters at most, and no address.
fn is_host(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.len() <= 253 && name.parse::<IpAddr>().is_err() && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_labels_between_dots() {
        for good in ["localhost", "www.example.com", "a-1.example.", "1.example"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", ".", "a..b", "-a.b", "a_b", "10.0.0.1", "a.b:80", "https://a.b", &"a".repeat(64)] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
