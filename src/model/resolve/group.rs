//! Groups and the members in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::flawed;
use super::instance::{self, Machines};
use super::names::{Reference, dangling, read_reference};
use super::neg;
use super::place::Atlas;
use super::report::Report;
use super::source::{are_local, reporting, utilization};
use crate::model::place::RegionId;
use crate::model::service::{EndpointType, Group, GroupKind};
use crate::wire::document::Node;
use crate::wire::flaw::{nearest, quote};
use crate::wire::group as wire;
use crate::wire::path::Path;
use crate::wire::read::{Collection, Resources};

/// Groups that a message names.
const SHOWN: usize = 8;

/// All groups of both kinds.
pub(super) struct Groups {
    list: Vec<Listed>,
    /// Places in the list by name and zone.
    by_name: BTreeMap<(String, Option<String>), Vec<usize>>,
    hides_names: bool,
}

/// A group as references see it.
pub(super) struct Listed {
    pub(super) kind: GroupKind,
    /// `None` where that could not be read.
    pub(super) endpoint_type: Option<EndpointType>,
    /// Index in its own collection.
    index: usize,
    pub(super) name: String,
    zone: Option<String>,
    /// `None` where a problem was reported.
    pub(super) value: Option<Arc<Roster>>,
}

/// A group with its members, before a service has chosen their port.
pub(super) struct Roster {
    pub(super) group: Arc<Group>,
    /// Index in its own collection.
    pub(super) index: usize,
    /// `namedPorts`, each with its numbers in the order of the file; empty for endpoint groups.
    pub(super) named_ports: NamedPorts,
    pub(super) entries: Vec<RosterEntry>,
}

/// Numbers by name [G 1.34].
pub(super) type NamedPorts = BTreeMap<String, Vec<u16>>;

pub(super) struct RosterEntry {
    pub(super) name: Arc<str>,
    /// Of an endpoint with a host, 0.0.0.0.
    pub(super) ip: IpAddr,
    /// `fqdn` of an INTERNET_FQDN_PORT endpoint.
    pub(super) host: Option<Arc<str>>,
    /// `ports` of an instance: one number instead of all that the group has under a name.
    pub(super) ports: BTreeMap<String, u16>,
    /// The port of an endpoint.
    pub(super) port: Option<u16>,
}

/// Resolves all groups.
pub(super) fn all(resources: &Resources, atlas: &mut Atlas<'_>, report: &mut Report<'_>) -> Groups {
    let (instances, endpoints) = (&resources.instance_groups, &resources.network_endpoint_groups);
    let mut groups = Groups {
        list: Vec::new(),
        by_name: BTreeMap::new(),
        hides_names: instances.hides_names || endpoints.hides_names,
    };
    let reporting = reporting(resources);
    let machines = instance::all(&resources.instances, atlas, report);
    let list = Path::Root.key(instances.key);
    let vm = |_: &wire::InstanceGroup| EndpointType::VmIpPort;
    groups.list(instances, (GroupKind::InstanceGroup, vm), report, |index, group, report| {
        let at = list.item(index);
        let context = (&at, &mut *atlas, report);
        match group {
            Ok(group) => instance_group(group, (index, &reporting, &machines), context),
            Err(node) => {
                flawed::instance_group(node, context);
                None
            }
        }
    });
    let list = Path::Root.key(endpoints.key);
    let kind = (GroupKind::NetworkEndpointGroup, neg::endpoint_type as fn(&_) -> _);
    groups.list(endpoints, kind, report, |index, group, report| {
        let at = list.item(index);
        let context = (&at, &mut *atlas, report);
        match group {
            Ok(group) if neg::endpoint_type(group).is_internet() => None,
            Ok(group) => neg::zonal(group, (index, &reporting), context),
            Err(node) => {
                flawed::endpoint_group(node, context);
                None
            }
        }
    });
    groups
}

impl Groups {
    fn list<T>(
        &mut self,
        of: &Collection<T>,
        (kind, endpoint_type): (GroupKind, fn(&T) -> EndpointType),
        report: &mut Report<'_>,
        mut resolve: impl FnMut(usize, Result<&T, &Node>, &mut Report<'_>) -> Option<Roster>,
    ) {
        let list = Path::Root.key(of.key);
        let mut seen = BTreeSet::new();
        for (index, entry) in of.entries.iter().enumerate() {
            let errors = report.errors();
            let node = || report.root().get(of.key)?.items().get(index);
            let value = entry.value.as_ref().map(Ok).or_else(|| node().map(Err));
            let value = value.and_then(|value| resolve(index, value, report));
            let value = value.filter(|_| report.errors() == errors).map(Arc::new);
            let Some(name) = &entry.name else { continue };
            // An instance group without a zone is a mistake that has been reported; internet endpoints have none.
            let is_placed = entry.zone.is_some() || kind == GroupKind::NetworkEndpointGroup;
            if is_placed && !seen.insert((name, &entry.zone)) {
                let zone = entry.zone.as_deref().map(|zone| format!(" in zone {}", quote(zone)));
                let message = format!("there is a group {}{} already", quote(name), zone.unwrap_or_default());
                report.error(
                    &list.item(index).key("name"),
                    "duplicate-name",
                    message,
                    "a name of its own for each group of a zone",
                );
                continue;
            }
            let endpoint_type = match kind {
                GroupKind::InstanceGroup => Some(EndpointType::VmIpPort),
                GroupKind::NetworkEndpointGroup => entry.value.as_ref().map(endpoint_type),
            };
            let (name, zone) = (name.clone(), entry.zone.clone());
            self.by_name.entry((name.clone(), zone.clone())).or_default().push(self.list.len());
            self.list.push(Listed { kind, endpoint_type, index, name, zone, value });
        }
    }

    /// Resolves the groups of internet endpoints, which stand where the proxy does.
    pub(super) fn internet(
        &mut self,
        resources: &Resources,
        home: Option<RegionId>,
        atlas: &mut Atlas<'_>,
        report: &mut Report<'_>,
    ) {
        let endpoints = &resources.network_endpoint_groups;
        let list = Path::Root.key(endpoints.key);
        for listed in self.list.iter_mut().filter(|listed| listed.is_internet()) {
            let entry = endpoints.entries.get(listed.index).and_then(|entry| entry.value.as_ref());
            let (at, errors) = (list.item(listed.index), report.errors());
            let roster =
                entry.and_then(|entry| neg::internet(entry, (listed.index, home), (&at, atlas, report)));
            listed.value = roster.filter(|_| report.errors() == errors).map(Arc::new);
        }
    }

    /// The first group of the document that has a zone, if it is sound; `Err` when there is none at all.
    pub(super) fn first(&self) -> Result<Option<&Roster>, ()> {
        match self.list.iter().find(|listed| !listed.is_internet()) {
            Some(first) => Ok(first.value.as_deref()),
            None if self.hides_names => Ok(None),
            None => Err(()),
        }
    }

    /// Groups of that name, in that zone or in none, in the order of the document.
    fn named(&self, name: &str, zone: Option<&str>) -> impl Iterator<Item = &Listed> {
        let key = |zone: Option<&str>| (name.to_owned(), zone.map(str::to_owned));
        let found = match zone {
            Some(_) => {
                [self.by_name.get(&key(None)), self.by_name.get(&key(zone))].into_iter().flatten().collect()
            }
            None => {
                let all = self.by_name.range(key(None)..);
                all.take_while(|((other, _), _)| other == name)
                    .map(|(_, indices)| indices)
                    .collect::<Vec<_>>()
            }
        };
        let indices: BTreeSet<usize> = found.into_iter().flatten().copied().collect();
        indices.into_iter().filter_map(|index| self.list.get(index))
    }

    /// The group that a backend names. `None` after a report.
    pub(super) fn follow(&self, text: &str, at: &Path<'_>, report: &mut Report<'_>) -> Option<&Listed> {
        let Reference { collection, zone, region, name } = read_reference(text, at, "group", report)?;
        if region.is_some() && collection != Some("networkEndpointGroups") {
            let message = format!("{} is a regional group", quote(text));
            let expected = "zonal groups, one for each zone: regional ones are not supported yet";
            report.error(at, "not-supported", message, expected);
            return None;
        }
        if let Some(other) =
            collection.filter(|collection| !matches!(*collection, "instanceGroups" | "networkEndpointGroups"))
        {
            let message = format!("{} names one of `{other}`, and a group belongs here", quote(text));
            report.error(
                at,
                "wrong-reference",
                message,
                "a name, or zones/ZONE/instanceGroups/NAME, or zones/ZONE/networkEndpointGroups/NAME",
            );
            return None;
        }
        let of_kind = |listed: &&Listed| collection.is_none_or(|c| listed.kind.collection() == c);
        let in_region = |listed: &&Listed| {
            let own = listed.value.as_ref().map(|roster| &*roster.group.zone);
            region.is_none_or(|region| own.is_none_or(|own| own == region))
        };
        let found: Vec<&Listed> = self.named(name, zone).filter(of_kind).filter(in_region).collect();
        match found.as_slice() {
            [one] => Some(one),
            [] if self.hides_names => None,
            [] => {
                self.nothing_found((name, zone), collection, at, report);
                None
            }
            several => {
                let urls: Vec<_> = several.iter().take(SHOWN).map(|listed| listed.url()).collect();
                let more = several.len() - urls.len();
                let more = if more > 0 { format!(", or one of {more} more") } else { String::new() };
                let message = format!("{} could be any of {} groups", quote(text), several.len());
                report.error(at, "ambiguous-reference", message, urls.join(" or ") + &more);
                None
            }
        }
    }

    fn nothing_found(
        &self,
        (name, zone): (&str, Option<&str>),
        collection: Option<&str>,
        at: &Path<'_>,
        report: &mut Report<'_>,
    ) {
        if let Some(other) = self.list.iter().find(|listed| listed.name == name) {
            let place = match (zone, collection) {
                (Some(zone), Some(collection)) => format!("zones/{zone}/{collection}"),
                (None, Some(collection)) => collection.to_owned(),
                _ => "the document".to_owned(),
            };
            let message = format!("there is no group {} in {place}", quote(name));
            report.error(at, "wrong-reference", message, format!("`{}`", other.url()));
        } else {
            dangling(name, "group", self.list.iter().map(|listed| listed.name.as_str()), (at, report));
        }
    }
}

impl Listed {
    /// Whether it is known to hold internet endpoints.
    pub(super) fn is_internet(&self) -> bool {
        self.endpoint_type.is_some_and(EndpointType::is_internet)
    }

    fn url(&self) -> String {
        match &self.zone {
            Some(zone) => format!("zones/{zone}/{}/{}", self.kind.collection(), self.name),
            None => format!("{}/{}", self.kind.collection(), self.name),
        }
    }
}

/// The path of a resource, and where zones and problems go.
pub(super) type Context<'c, 'a, 'r> = (&'c Path<'c>, &'c mut Atlas<'a>, &'c mut Report<'r>);

fn instance_group(
    group: &wire::InstanceGroup,
    (index, reporting, machines): (usize, &BTreeSet<&str>, &Machines<'_>),
    (at, atlas, report): Context<'_, '_, '_>,
) -> Option<Roster> {
    let zone = atlas.zone(&group.zone, &at.key("zone"), report);
    let instances = group.instances.as_deref().unwrap_or_default();
    let named_ports = group.named_ports.as_deref().unwrap_or_default();
    let named_ports = self::named_ports(named_ports, (&group.name, instances.len()), at, report);
    let (list, mut seen) = (at.key("instances"), BTreeSet::new());
    let mut entries = Vec::new();
    for (i, instance) in instances.iter().enumerate() {
        let at = list.item(i);
        named_once(&instance.name, &group.name, &mut seen, &at, report);
        let ip = match &instance.ip_address {
            Some(text) => address(text, &at.key("ipAddress"), report),
            None => machines.address(&instance.name, zone.as_ref().map(|(zone, _)| &**zone), &at, report),
        };
        let Some(ip) = ip else { continue };
        let ports = instance.ports.clone().unwrap_or_default();
        known_ports(&ports, &named_ports, &at.key("ports"), report);
        entries.push(RosterEntry { name: instance.name.as_str().into(), ip, host: None, ports, port: None });
    }
    let is_local = !reporting.contains(group.name.as_str()) && are_local(&entries);
    let utilization = utilization(group.utilization.as_ref(), is_local, &at.key("utilization"), report);
    let (zone, region) = zone?;
    let group = Group {
        name: group.name.as_str().into(),
        kind: GroupKind::InstanceGroup,
        endpoint_type: EndpointType::VmIpPort,
        zone,
        region,
        utilization,
    };
    Some(Roster { group: Arc::new(group), index, named_ports, entries })
}

/// No two instances of a group have the same name.
pub(super) fn named_once(
    name: &str,
    group: &str,
    seen: &mut BTreeSet<String>,
    at: &Path<'_>,
    report: &mut Report<'_>,
) {
    if !seen.insert(name.to_owned()) {
        let message = format!("group `{group}` has an instance {} already", quote(name));
        report.error(&at.key("name"), "duplicate-name", message, "a name of its own for each instance");
    }
}

/// `ports` replaces numbers behind the group's named ports; another name would be read by nobody.
pub(super) fn known_ports(
    ports: &BTreeMap<String, u16>,
    named: &NamedPorts,
    at: &Path<'_>,
    report: &mut Report<'_>,
) {
    if named.is_empty() {
        return;
    }
    for name in ports.keys().filter(|name| !named.contains_key(*name)) {
        let expected = match nearest(name, named.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "a name that stands in the group's namedPorts".to_owned(),
        };
        let message = format!("the group has no named port {}", quote(name));
        report.error(&at.key(name), "unknown-port-name", message, expected);
    }
}

/// A name may have several numbers: each instance then counts as that many members [G 1.34].
pub(super) fn named_ports(
    ports: &[wire::NamedPort],
    (group, instances): (&str, usize),
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> NamedPorts {
    let list = at.key("namedPorts");
    let mut out = NamedPorts::new();
    for (i, port) in ports.iter().enumerate() {
        let numbers = out.entry(port.name.clone()).or_default();
        if numbers.contains(&port.port) {
            let message = format!("named port `{}` has number {} twice", port.name, port.port);
            let expected = "each number once under a name [G 1.34]";
            report.error(&list.item(i).key("port"), "duplicate-name", message, expected);
        } else {
            numbers.push(port.port);
        }
    }
    let most = out.values().map(Vec::len).max().unwrap_or(1);
    if instances * most > MAX_MEMBERS {
        let message = format!("group `{group}` has {instances} instances of {most} ports each");
        let expected =
            format!("at most {MAX_MEMBERS} members: instances times the numbers under one name [G 9]");
        report.error(&at.key("instances"), "too-many", message, expected);
    }
    out
}

/// Most members of an instance group [G 9].
const MAX_MEMBERS: usize = 10_000;

pub(super) fn address(text: &str, at: &Path<'_>, report: &mut Report<'_>) -> Option<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(ip) if !ip.is_unspecified() && !ip.is_multicast() => Some(ip),
        Ok(_) => {
            report.error(
                at,
                "bad-address",
                format!("nothing can be reached at {}", quote(text)),
                "the address of one host, such as 127.0.0.1",
            );
            None
        }
        Err(_) => {
            let expected = if text.parse::<std::net::SocketAddr>().is_ok() {
                "the address alone; ports stand in `ports`, `namedPorts` or `port`"
            } else {
                "an IPv4 or IPv6 address, such as 127.0.0.1"
            };
            report.error(at, "bad-address", format!("{} is no address", quote(text)), expected);
            None
        }
    }
}
