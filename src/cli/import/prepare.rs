//! What a resource has to become before its fields are looked at: places that are other here than at Google.

use super::node::{self, last, word};
use super::said::{Said, shown};
use super::stock::Resource;
use crate::wire::document::Node;

/// Fields of a machine that mean something here.
const MACHINE: &[&str] = &["name", "zone", "description", "networkInterfaces"];

/// Changes what is other here.
pub(super) fn resource(resource: &mut Resource, said: &mut Said) {
    let label = resource.label();
    match resource.collection {
        "instances" => machine(&mut resource.node, said),
        "instanceGroups" => group(resource, &label, said),
        "forwardingRules" => rule(&mut resource.node),
        "backendServices" => service(&mut resource.node),
        "sslCertificates" => certificate(resource, &label, said),
        _ => {}
    }
}

/// The region that a resource loses by being global here.
pub(super) fn lost_region(resource: &Resource) -> Option<String> {
    if matches!(resource.collection, "backendServices" | "networkEndpointGroups" | "instanceGroups") {
        return None;
    }
    let node = &resource.node;
    let field = last(node, "region").map(str::to_owned);
    field.or_else(|| {
        let name = word(node, "name").filter(|name| name.contains('/'))?;
        let mut segments = name.split('/').skip_while(|segment| *segment != "locations").skip(1);
        segments.next().filter(|place| *place != "global").map(str::to_owned)
    })
}

/// The port that servers add beside a name for it.
fn service(node: &mut Node) {
    if word(node, "portName").is_some() {
        node::remove(node, "port");
    }
}

fn machine(node: &mut Node, said: &mut Said) {
    let has_more = node::entries(node).iter().any(|entry| !MACHINE.contains(&entry.key.as_str()));
    node::keep(node, MACHINE);
    let several = node.get("networkInterfaces").is_some_and(|list| list.items().len() > 1);
    if several {
        let label = format!("instances[{}]", shown(last(node, "name").unwrap_or_default()));
        said.note(&label, "has several network interfaces; the address of the first is its own");
    }
    if let Some(list) = node::get_mut(node, "networkInterfaces") {
        let first = list.items().first().cloned().map(|mut first| {
            node::keep(&mut first, &["networkIP"]);
            first
        });
        *list = node::list(first.into_iter().collect());
    }
    if has_more {
        said.note(
            "instances",
            "of a machine its name, its zone and its address are carried over, and no more",
        );
    }
}

fn group(resource: &mut Resource, label: &str, said: &mut Said) {
    let node = &mut resource.node;
    if word(node, "zone").is_some() {
        return;
    }
    if let Some(region) = last(node, "region").map(str::to_owned) {
        // Some zone of the region, until a member says which.
        node::set(node, "zone", node::text(&format!("{region}-a")));
        said.note(
            label,
            &format!(
                "stood in several zones of {}; a group has one zone here, and all its members in it",
                shown(&region)
            ),
        );
        resource.region = Some(region);
    }
}

fn rule(node: &mut Node) {
    if node.get("portRange").is_none_or(Node::is_null) {
        let ports = node.get("ports").map(Node::items).unwrap_or_default();
        if let [one] = ports
            && let Some(port) = one.text().map(str::to_owned)
        {
            node::set(node, "portRange", node::text(&port));
            node::remove(node, "ports");
        }
    }
    if let Some((first, last)) = word(node, "portRange").and_then(|range| range.split_once('-'))
        && first == last
    {
        let port = node::text(first);
        node::set(node, "portRange", port);
    }
    // The address is replaced in any case; its form matters to nobody.
    let address = last(node, "IPAddress").unwrap_or("0.0.0.0").chars().take(64).collect::<String>();
    node::set(node, "IPAddress", node::text(&address));
    node::remove(node, "ipVersion");
}

fn certificate(resource: &mut Resource, label: &str, said: &mut Said) {
    let node = &mut resource.node;
    if word(node, "type") == Some("MANAGED")
        || node.get("managed").is_some_and(|managed| !node::is_empty(managed))
    {
        let domains = node.get("managed").and_then(|managed| managed.get("domains")).map(Node::items);
        let domains: Vec<_> =
            domains.unwrap_or_default().iter().filter_map(Node::text).take(100).map(shown).collect();
        node::keep(node, &["name", "description", "region"]);
        let why = format!(
            "Google renews it and never shows its key: a certificate for {} with its key",
            domains.join(", ")
        );
        said.miss(label, &why);
        resource
            .comments
            .push(format!("To be filled in: a certificate for {} with its key:", domains.join(", ")));
        resource.comments.push("certificateFile: …".to_owned());
        resource.comments.push("privateKeyFile: …".to_owned());
        return;
    }
    // gcloud prints the same certificate in both places.
    let own = node.get("selfManaged").and_then(|own| own.get("certificate")).cloned();
    if let Some(own) = own {
        match node.get("certificate") {
            Some(there) if !node::is_same(there, &own) => {}
            _ => {
                node::set(node, "certificate", own);
                node::remove(node, "selfManaged");
            }
        }
    }
    let has_key = |node: &Node| node.get("privateKey").is_some_and(|key| !node::is_empty(key));
    if !has_key(node) && !node.get("selfManaged").is_some_and(has_key) {
        said.miss(label, "its private key, which Google never shows");
        resource.comments.push("To be filled in, since Google never shows it:".to_owned());
        resource.comments.push("privateKeyFile: …".to_owned());
    }
}
