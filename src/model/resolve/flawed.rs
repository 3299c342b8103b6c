//! A service or a group with a flaw in its form: what can be said of the rest of it all the same, so that one pass shows all.
//!
//! Only what stands by itself is looked at: references, and backends that are well-formed. What a flawed field would
//! have meant is not guessed at.

use super::backend::{About, backend, once};
use super::group::{Listed, address};
use super::report::Report;
use super::service::{Around, default_port_name, protocol, scheme};
use super::target;
use crate::wire::document::{Node, Value};
use crate::wire::path::Path;
use crate::wire::read;

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
    let mut listed = Vec::new();
    for (index, item) in items(node, "backends").iter().enumerate() {
        let at = list.item(index);
        let Some(text) = item.get("group").and_then(Node::text) else { continue };
        let group = groups.follow(text, &at.key("group"), report);
        once(group, &mut listed, &at, report);
        match read::sound_backend(item) {
            Some(wire) if judges => drop(backend(&wire, group, &about, &at, report)),
            Some(_) => {}
            // Internet endpoints have no scaler, so nothing is said of one that they cannot have.
            None if group.is_some_and(Listed::is_internet) => {}
            None => {
                let number = item.get("capacityScaler").and_then(number);
                number.map(|number| target::scaler(number, &at, report));
            }
        }
    }
}

/// Looks at the addresses of the instances of the group at `node`.
pub(super) fn instance_group(node: &Node, at: &Path<'_>, report: &mut Report<'_>) {
    let list = at.key("instances");
    for (index, instance) in items(node, "instances").iter().enumerate() {
        if let Some(text) = instance.get("ipAddress").and_then(Node::text) {
            address(text, &list.item(index).key("ipAddress"), report);
        }
    }
}

fn number(node: &Node) -> Option<f64> {
    let Value::Scalar(scalar) = &node.value else { return None };
    // What is no finite number has been refused by its form.
    scalar.number().filter(|number| number.is_finite())
}

fn items<'a>(node: &'a Node, key: &str) -> &'a [Node] {
    node.get(key).map_or(&[], Node::items)
}
