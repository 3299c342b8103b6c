//! A service with a flaw in its form: what can be said of the rest of it all the same, so that one pass shows all.
//!
//! Only what stands by itself is looked at: references, and backends that are well-formed. What a flawed field would
//! have meant is not guessed at.

use super::backend::{About, backend};
use super::report::Report;
use super::service::{Around, default_port_name, protocol, scheme};
use crate::wire::document::Node;
use crate::wire::path::Path;
use crate::wire::read;

/// Follows the references and checks the sound backends of the service at `node`.
pub(super) fn service(node: &Node, around: Around<'_>, at: &Path<'_>, report: &mut Report<'_>) {
    let Around { checks, groups, lb_policies, .. } = around;
    let list = at.key("healthChecks");
    for (index, reference) in items(node, "healthChecks").iter().enumerate() {
        if let Some(text) = reference.text() {
            checks.names.follow(text, &list.item(index), report);
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
    for (index, item) in items(node, "backends").iter().enumerate() {
        let at = list.item(index);
        let Some(text) = item.get("group").and_then(Node::text) else { continue };
        let group = groups.follow(text, &at.key("group"), report);
        if let Some(wire) = read::sound_backend(item).filter(|_| judges) {
            backend(&wire, group, &about, &at, report);
        }
    }
}

fn items<'a>(node: &'a Node, key: &str) -> &'a [Node] {
    node.get(key).map_or(&[], Node::items)
}
