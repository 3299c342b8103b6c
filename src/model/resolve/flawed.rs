//! A service or a group with a flaw in its form: what can be said of the rest of it all the same, so that one pass shows all.
//!
//! Only what stands by itself is looked at: references, and backends that are well-formed. What a flawed field would
//! have meant is not guessed at.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::backend::{About, Written, agrees, backend, once};
use super::group::{Context, Listed, NamedPorts, address, known_ports, named_once, named_ports};
use super::neg;
use super::report::Report;
use super::service::{Around, default_port_name, protocol, scheme};
use super::source::utilization;
use super::target;
use crate::model::service::EndpointType;
use crate::wire::backend::{BACKEND, Backend};
use crate::wire::document::Node;
use crate::wire::flaw::quote;
use crate::wire::group::{
    INSTANCE, INSTANCE_GROUP, NETWORK_ENDPOINT, NETWORK_ENDPOINT_GROUP, NamedPort, NetworkEndpoint,
    NetworkEndpointGroup, Utilization,
};
use crate::wire::loose::Loose;
use crate::wire::path::Path;

/// Follows the references and checks the sound backends of the service at `node`.
pub(super) fn service(node: &Node, around: Around<'_>, at: &Path<'_>, report: &mut Report<'_>) {
    let Around { checks, groups, lb_policies, .. } = around;
    let list = at.key("healthChecks");
    for (index, reference) in items(node, "healthChecks").iter().enumerate() {
        if let Some(text) = reference.text() {
            checks.follow(text, &list.item(index), report);
        }
    }
    if let Some(text) = node.get("serviceLbPolicy").and_then(Node::text).filter(|text| !text.is_empty()) {
        lb_policies.names.follow(text, &at.key("serviceLbPolicy"), report);
    }
    let word = |key| node.get(key).and_then(Node::text);
    let known = protocol(word("protocol"));
    let about = About {
        scheme: scheme(word("loadBalancingScheme")),
        protocol: known,
        port_name: word("portName").unwrap_or(default_port_name(known)),
        groups,
        // Known for sound services alone.
        home: None,
    };
    // Modes go by the protocol, so a misspelt one says nothing about them; those of Google's that are left are about requests.
    let judges = word("protocol").is_none_or(|word| [known.as_str(), "HTTP2", "H2C", "GRPC"].contains(&word));
    let list = at.key("backends");
    let (mut listed, mut rosters) = (Vec::new(), Vec::new());
    for (index, item) in items(node, "backends").iter().enumerate() {
        let at = list.item(index);
        let Some(text) = item.get("group").and_then(Node::text) else { continue };
        let group = groups.follow(text, &at.key("group"), report);
        once(group, &mut listed, &at, report);
        if let Some(roster) = group.and_then(|group| group.value.as_ref()) {
            agrees(roster, &rosters, &at, report);
            rosters.push(Arc::clone(roster));
        }
        let loose = Loose::new(item, &BACKEND);
        match loose.whole::<Backend>() {
            Some(wire) if judges => drop(backend(Written::loose(&wire, &loose), group, &about, &at, report)),
            // Internet endpoints have no scaler, so nothing is said of one that they cannot have.
            _ if group.is_some_and(Listed::is_internet) => {}
            _ => {
                let number = loose.get("capacityScaler");
                number.map(|number| target::scaler(number, &at, report));
            }
        }
    }
}

/// Looks at the zone, the ports, the source of utilization, and the instances of the group at `node`.
pub(super) fn instance_group(node: &Node, (at, atlas, report): Context<'_, '_, '_>) {
    let (loose, name) = (Loose::new(node, &INSTANCE_GROUP), name(node));
    if let Some(zone) = loose.get::<String>("zone") {
        atlas.zone(&zone, &at.key("zone"), report);
    }
    source(&loose, at, report);
    let instances = items(node, "instances");
    let ports: Option<Vec<NamedPort>> = loose.get("namedPorts");
    let ports = ports.map(|ports| named_ports(&ports, (&name, instances.len()), at, report));
    // Of ports that cannot be read, none is unknown.
    let ports = if loose.is_unsure("namedPorts") { NamedPorts::new() } else { ports.unwrap_or_default() };
    let (list, mut seen) = (at.key("instances"), BTreeSet::new());
    for (index, instance) in instances.iter().enumerate() {
        let (at, loose) = (list.item(index), Loose::new(instance, &INSTANCE));
        if let Some(own) = loose.get::<String>("name") {
            named_once(&own, &name, &mut seen, &at, report);
        }
        if let Some(ip) = loose.get::<String>("ipAddress") {
            address(&ip, &at.key("ipAddress"), report);
        }
        if let Some(own) = loose.get("ports") {
            known_ports(&own, &ports, &at.key("ports"), report);
        }
    }
}

/// Looks at the place, the source of utilization, and the endpoints of the group at `node`.
pub(super) fn endpoint_group(node: &Node, (at, atlas, report): Context<'_, '_, '_>) {
    let loose = Loose::new(node, &NETWORK_ENDPOINT_GROUP);
    let endpoints = items(node, "networkEndpoints");
    let group = NetworkEndpointGroup {
        name: name(node),
        zone: loose.get("zone"),
        region: loose.get("region"),
        network_endpoint_type: loose.get("networkEndpointType"),
        default_port: loose.get("defaultPort"),
        network_endpoints: None,
        utilization: None,
    };
    // What may stand in it goes by its type.
    let of = (!loose.is_unsure("networkEndpointType")).then(|| neg::endpoint_type(&group));
    if of.is_some_and(EndpointType::is_internet) {
        let has = |field| !loose.lacks(field);
        neg::out_of_place(&group, (has("zone"), has("utilization")), at, report);
        if !loose.is_unsure("region") {
            neg::too_many(&group, endpoints.len(), at, report);
        }
        if let Some(region) = &group.region {
            atlas.region_url(region, &at.key("region"), report);
        }
    } else {
        if let Some(zone) = &group.zone {
            atlas.zone(zone, &at.key("zone"), report);
        } else if of.is_some() && loose.lacks("zone") {
            neg::no_zone(at, report);
        }
        source(&loose, at, report);
    }
    let (list, mut seen) = (at.key("networkEndpoints"), BTreeSet::new());
    for (index, endpoint) in endpoints.iter().enumerate() {
        let (at, loose_one) = (list.item(index), Loose::new(endpoint, &NETWORK_ENDPOINT));
        let Some(wire) = loose_one.whole::<NetworkEndpoint>() else { continue };
        let may_lack_port = wire.port.is_none() && loose.is_unsure("defaultPort");
        match of {
            Some(_) if loose_one.is_sound() && !may_lack_port => {
                neg::endpoint(&wire, &group, &mut seen, (&at, report));
            }
            Some(of) => neg::alone(&wire, of, &at, report),
            None => {
                if let Some(ip) = &wire.ip_address {
                    address(ip, &at.key("ipAddress"), report);
                }
            }
        }
    }
}

fn source(loose: &Loose, at: &Path<'_>, report: &mut Report<'_>) {
    if let Some(said) = loose.get::<Utilization>("utilization") {
        utilization(Some(&said), false, &at.key("utilization"), report);
    }
}

/// What stands for its name, as it can be shown.
fn name(node: &Node) -> String {
    let text = node.get("name").and_then(Node::text).unwrap_or("?");
    quote(text).trim_matches('`').to_owned()
}

fn items<'a>(node: &'a Node, key: &str) -> &'a [Node] {
    node.get(key).map_or(&[], Node::items)
}
