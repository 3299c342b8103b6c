//! What an object of gcloud's output is: by its `kind`, else by its `selfLink` or its name, else by its fields.

use super::node::{entries, word};
use crate::wire::document::{Node, Value};
use crate::wire::read::COLLECTIONS;

/// What an object is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A resource of this collection.
    Resource(&'static str),
    /// A list, or an object of collections, that holds others.
    Holder,
    /// A line of `instance-groups list-instances`.
    Instance,
    /// A line of `network-endpoint-groups list-network-endpoints`.
    Endpoint,
    /// A part of what `backend-services get-health` prints.
    Health,
    /// Something of Google's that has no place here: what it calls itself, and why.
    Foreign(String, &'static str),
    /// It does not say what it is, and its fields could be those of all of these.
    Unclear(Vec<&'static str>),
}

/// Tells what `node` is; `fallback` is for those that do not say it themselves.
pub(super) fn of(node: &Node, fallback: Option<&'static str>) -> What {
    if let Some(kind) = word(node, "kind").filter(|kind| kind.contains('#')) {
        return by_kind(kind);
    }
    if is_holder(node) {
        return What::Holder;
    }
    let url = word(node, "selfLink").or_else(|| word(node, "name"));
    let collection = url.and_then(|url| url.rsplit('/').nth(1));
    if let Some(collection) = collection.filter(|collection| !collection.is_empty()) {
        return match ours(collection) {
            Some(collection) => What::Resource(collection),
            None => foreign(collection),
        };
    }
    let has = |key: &str| node.get(key).is_some_and(|node| !node.is_null());
    if has("networkEndpoint") {
        return What::Endpoint;
    }
    if has("instance") && (has("status") || has("instanceStatus") || has("currentAction")) {
        return What::Instance;
    }
    if has("backend") && has("status") {
        return What::Health;
    }
    match fallback {
        Some(collection) => What::Resource(collection),
        None => by_fields(node),
    }
}

/// `compute#backendService` and the like.
fn by_kind(kind: &str) -> What {
    let Some(name) = kind.strip_prefix("compute#") else { return foreign(kind) };
    if name.ends_with("List") {
        return What::Holder;
    }
    match name {
        "instanceWithNamedPorts" => return What::Instance,
        "backendServiceGroupHealth" => return What::Health,
        _ => {}
    }
    let plural = match name.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if name.ends_with('s') => format!("{name}es"),
        None => format!("{name}s"),
    };
    match ours(&plural) {
        Some(collection) => What::Resource(collection),
        None => foreign(&plural),
    }
}

/// The collection of that name in a path or a kind.
pub(super) fn ours(collection: &str) -> Option<&'static str> {
    COLLECTIONS.iter().copied().find(|known| *known == collection && *known != "proxy")
}

fn foreign(collection: &str) -> What {
    let why = FOREIGN.iter().find(|(known, _)| *known == collection).map(|(_, why)| *why);
    What::Foreign(collection.to_owned(), why.unwrap_or("there is nothing like it here"))
}

/// Why there is no collection such as a reference is to; `None` if there is.
pub(super) fn why_not(reference: &str) -> Option<&'static str> {
    let collection = reference.rsplit('/').nth(1)?;
    match ours(collection) {
        Some(_) => None,
        None => match foreign(collection) {
            What::Foreign(_, why) => Some(why),
            _ => None,
        },
    }
}

/// REST's lists, and objects whose keys are collections, as aggregated lists have them.
fn is_holder(node: &Node) -> bool {
    let is_list = |node: &Node| matches!(node.value, Value::List(_));
    let fields = entries(node);
    let are_collections = |known: fn(&str) -> bool| {
        !fields.is_empty() && fields.iter().all(|entry| known(&entry.key) && is_list(&entry.node))
    };
    let is_page = word(node, "name").is_none() && node.get("items").is_some_and(is_list);
    is_page || are_collections(|key| ours(key).is_some())
}

/// The objects in a holder.
pub(super) fn held(node: Node) -> Vec<Node> {
    let Value::Object(entries) = node.value else { return Vec::new() };
    let mut out = Vec::new();
    for entry in entries {
        match entry.node.value {
            Value::List(items) if entry.key == "items" || ours(&entry.key).is_some() => out.extend(items),
            // Of an aggregated list: an object for each place.
            Value::Object(places) if entry.key == "items" => {
                let inside = places.into_iter().flat_map(|place| match place.node.value {
                    Value::Object(lists) => lists,
                    _ => Vec::new(),
                });
                out.extend(inside.flat_map(|list| match list.node.value {
                    Value::List(items) => items,
                    _ => Vec::new(),
                }));
            }
            _ => {}
        }
    }
    out
}

fn by_fields(node: &Node) -> What {
    let has = |key: &&str| node.get(key).is_some_and(|node| !node.is_null());
    let mut found: Vec<_> =
        FIELDS.iter().filter(|(_, keys)| keys.iter().any(has)).map(|(collection, _)| *collection).collect();
    found.dedup();
    // Proxies of the four kinds share fields, and the further ones tell.
    let secure = ["sslCertificates", "certificateMap", "sslPolicy", "serverTlsPolicy"].iter().any(has);
    if has(&"urlMap") {
        found = vec![if secure || has(&"quicOverride") { "targetHttpsProxies" } else { "targetHttpProxies" }];
    } else if has(&"service") && (secure || has(&"proxyHeader") || entries(node).len() <= 3) {
        found = vec![if secure { "targetSslProxies" } else { "targetTcpProxies" }];
    }
    match found.as_slice() {
        [one] => What::Resource(one),
        _ => What::Unclear(found),
    }
}

/// Fields that resources of one collection have, and those of others do not.
static FIELDS: &[(&str, &[&str])] = &[
    (
        "backendServices",
        &[
            "backends",
            "sessionAffinity",
            "connectionDraining",
            "affinityCookieTtlSec",
            "localityLbPolicy",
            "portName",
            "enableCDN",
            "healthChecks",
        ],
    ),
    ("urlMaps", &["defaultService", "hostRules", "pathMatchers", "defaultUrlRedirect", "defaultRouteAction"]),
    ("forwardingRules", &["IPAddress", "IPProtocol", "portRange", "target"]),
    (
        "healthChecks",
        &[
            "httpHealthCheck",
            "httpsHealthCheck",
            "http2HealthCheck",
            "tcpHealthCheck",
            "sslHealthCheck",
            "grpcHealthCheck",
            "grpcTlsHealthCheck",
            "udpHealthCheck",
        ],
    ),
    ("httpHealthChecks", &["requestPath"]),
    ("httpsHealthChecks", &["requestPath"]),
    ("sslCertificates", &["certificate", "selfManaged", "managed", "privateKey"]),
    ("sslPolicies", &["minTlsVersion", "profile", "customFeatures"]),
    ("serverTlsPolicies", &["mtlsPolicy"]),
    ("trustConfigs", &["trustStores"]),
    (
        "serviceLbPolicies",
        &["loadBalancingAlgorithm", "autoCapacityDrain", "failoverConfig", "isolationConfig"],
    ),
    ("instanceGroups", &["namedPorts"]),
    ("networkEndpointGroups", &["networkEndpointType", "networkEndpoints"]),
    ("instances", &["networkInterfaces", "machineType"]),
];

/// What Google has around load balancers, and what becomes of it.
static FOREIGN: &[(&str, &str)] = &[
    ("instanceGroupManagers", "groups do not grow here; `instance-groups describe` shows the group itself"),
    ("autoscalers", "groups do not grow here"),
    ("instanceTemplates", "groups do not grow here"),
    ("backendBuckets", "buckets as backends are not supported yet"),
    ("securityPolicies", "filtering requests is not supported yet"),
    ("targetGrpcProxies", "gRPC listeners are not supported yet"),
    ("targetInstances", "forwarding of packets is no business of this load balancer"),
    ("targetPools", "forwarding of packets is no business of this load balancer"),
    ("addresses", "a forwarding rule names the address itself"),
    ("firewalls", "this machine's own firewall decides"),
    ("networks", "this machine's own networks are used"),
    ("subnetworks", "this machine's own networks are used"),
    (
        "certificateMaps",
        "maps of certificates are not supported yet; `sslCertificates` of a proxy lists them",
    ),
    ("certificates", "write it as an entry of `sslCertificates`"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::flaw::Flaws;
    use crate::wire::yaml;

    fn what(text: &str) -> What {
        of(&yaml::parse(text, &mut Flaws::default()).unwrap(), None)
    }

    #[test]
    fn resources_are_known_by_kind_link_name_or_fields() {
        for (text, collection) in [
            ("kind: compute#backendService", "backendServices"),
            ("kind: compute#targetHttpsProxy", "targetHttpsProxies"),
            ("kind: compute#sslPolicy", "sslPolicies"),
            ("{name: a, selfLink: https://h/compute/v1/projects/p/global/urlMaps/a}", "urlMaps"),
            ("name: projects/p/locations/global/serviceLbPolicies/a", "serviceLbPolicies"),
            ("{name: a, backends: []}", "backendServices"),
            ("{name: a, defaultService: b}", "urlMaps"),
            ("{name: a, urlMap: b}", "targetHttpProxies"),
            ("{name: a, urlMap: b, sslCertificates: [c]}", "targetHttpsProxies"),
            ("{name: a, service: b}", "targetTcpProxies"),
            ("{name: a, service: b, sslCertificates: [c]}", "targetSslProxies"),
            ("{name: a, type: TCP, tcpHealthCheck: {port: 1}}", "healthChecks"),
            ("{name: a, mtlsPolicy: {}}", "serverTlsPolicies"),
        ] {
            assert_eq!(what(text), What::Resource(collection), "{text}");
        }
    }

    #[test]
    fn what_could_be_several_things_is_unclear() {
        assert_eq!(
            what("{name: a, requestPath: /}"),
            What::Unclear(vec!["httpHealthChecks", "httpsHealthChecks"])
        );
        assert_eq!(what("{name: a}"), What::Unclear(vec![]));
        let node = yaml::parse("name: a", &mut Flaws::default()).unwrap();
        assert_eq!(of(&node, Some("backendServices")), What::Resource("backendServices"));
    }

    #[test]
    fn lists_hold_resources_and_lines_of_lists_are_members() {
        let list = "kind: compute#urlMapAggregatedList\nitems: {global: {urlMaps: [{name: a}, {name: b}]}}";
        let list = yaml::parse(list, &mut Flaws::default()).unwrap();
        assert_eq!((of(&list, None), held(list).len()), (What::Holder, 2));
        assert_eq!(what("{urlMaps: [{name: a}], backendServices: []}"), What::Holder);
        assert_eq!(what("{instance: https://h/a, status: RUNNING}"), What::Instance);
        assert_eq!(what("{networkEndpoint: {ipAddress: 10.0.0.1, port: 1}}"), What::Endpoint);
        assert_eq!(what("{backend: https://h/a, status: {}}"), What::Health);
        assert!(matches!(what("kind: compute#address"), What::Foreign(name, _) if name == "addresses"));
        for other in ["compute#firewall", "sql#instance"] {
            assert!(matches!(what(&format!("kind: {other}")), What::Foreign(..)), "{other}");
        }
    }
}
