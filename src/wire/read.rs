//! A whole document: collections of resources, each either sound or known by name alone.
//!
//! A resource that does not fit its table is kept as a name, so that what refers to it is not called dangling.

use serde::de::DeserializeOwned;

use super::backend_service::{BACKEND_SERVICE, BackendService};
use super::certificate::{SSL_CERTIFICATE, SslCertificate};
use super::document::{Node, Value};
use super::flaw::{Flaw, nearest, quote};
use super::front::{
    FORWARDING_RULE, ForwardingRule, TARGET_HTTP_PROXY, TARGET_HTTPS_PROXY, TARGET_SSL_PROXY,
    TARGET_TCP_PROXY, TargetHttpProxy, TargetHttpsProxy, TargetSslProxy, TargetTcpProxy,
};
use super::group::{INSTANCE_GROUP, InstanceGroup, NETWORK_ENDPOINT_GROUP, NetworkEndpointGroup};
use super::health_check::{HEALTH_CHECK, HealthCheck};
use super::instance::{INSTANCE, Instance};
use super::legacy_health_check::{LEGACY_HEALTH_CHECK, LegacyHealthCheck};
use super::path::Path;
use super::proxy::{PROXY, Proxy};
use super::schema::Table;
use super::service_lb_policy::{SERVICE_LB_POLICY, ServiceLbPolicy};
use super::tls::{SERVER_TLS_POLICY, SSL_POLICY, ServerTlsPolicy, SslPolicy, TRUST_CONFIG, TrustConfig};
use super::url_map::{URL_MAP, UrlMap};
use super::walk::{Misfit, Walk};
use super::yaml;

/// All resources of a document, in its order.
#[derive(Debug)]
pub struct Resources {
    /// `proxy`.
    pub proxy: Section<Proxy>,
    /// `forwardingRules`.
    pub forwarding_rules: Collection<ForwardingRule>,
    /// `targetHttpProxies`.
    pub target_http_proxies: Collection<TargetHttpProxy>,
    /// `targetHttpsProxies`.
    pub target_https_proxies: Collection<TargetHttpsProxy>,
    /// `targetTcpProxies`.
    pub target_tcp_proxies: Collection<TargetTcpProxy>,
    /// `targetSslProxies`.
    pub target_ssl_proxies: Collection<TargetSslProxy>,
    /// `sslCertificates`.
    pub ssl_certificates: Collection<SslCertificate>,
    /// `sslPolicies`.
    pub ssl_policies: Collection<SslPolicy>,
    /// `serverTlsPolicies`.
    pub server_tls_policies: Collection<ServerTlsPolicy>,
    /// `trustConfigs`.
    pub trust_configs: Collection<TrustConfig>,
    /// `urlMaps`.
    pub url_maps: Collection<UrlMap>,
    /// `backendServices`.
    pub backend_services: Collection<BackendService>,
    /// `serviceLbPolicies`.
    pub service_lb_policies: Collection<ServiceLbPolicy>,
    /// `instanceGroups`.
    pub instance_groups: Collection<InstanceGroup>,
    /// `instances`.
    pub instances: Collection<Instance>,
    /// `networkEndpointGroups`.
    pub network_endpoint_groups: Collection<NetworkEndpointGroup>,
    /// `healthChecks`.
    pub health_checks: Collection<HealthCheck>,
    /// `httpHealthChecks`.
    pub http_health_checks: Collection<LegacyHealthCheck>,
    /// `httpsHealthChecks`.
    pub https_health_checks: Collection<LegacyHealthCheck>,
}

/// A section that stands at most once.
#[derive(Debug)]
pub enum Section<T> {
    /// Not in the document.
    Absent,
    /// There, and its flaws are reported.
    Broken,
    /// There and sound.
    Sound(T),
}

/// The resources of one kind.
#[derive(Debug)]
pub struct Collection<T> {
    /// The collection's key.
    pub key: &'static str,
    /// Resources in the order of the document.
    pub entries: Vec<Entry<T>>,
    /// Whether there may be resources whose names could not be read.
    pub hides_names: bool,
}

/// One resource.
#[derive(Debug)]
pub struct Entry<T> {
    /// The last part of its `name`, if that could be read.
    pub name: Option<String>,
    /// The last part of its `zone`, if that could be read.
    pub zone: Option<String>,
    /// The resource; `None` when it has flaws, which are reported.
    pub value: Option<T>,
}

/// Reads a document. `None` for the tree and the resources when there is no tree.
#[must_use]
pub fn read(text: &str) -> (Option<(Node, Resources)>, Vec<Flaw>) {
    let mut walk = Walk::default();
    let Some(root) = yaml::parse(text, &mut walk.flaws) else {
        return (None, walk.flaws.into_vec());
    };
    let resources = resources(&root, &mut walk);
    (resources.map(|resources| (root, resources)), walk.flaws.into_vec())
}

fn resources(root: &Node, walk: &mut Walk) -> Option<Resources> {
    let Value::Object(entries) = &root.value else {
        let message = "a configuration is an object of collections".to_owned();
        walk.report(
            "wrong-type",
            (root.point(), &Path::Root),
            message,
            format!("keys such as {}", COLLECTIONS.join(", ")),
        );
        return None;
    };
    // What a misspelt or a second key holds cannot be seen, so nothing there may be called missing.
    let mut hidden: Vec<&str> = Vec::new();
    if walk.flaws.hold(&["duplicate-key", "yaml-key"]) {
        hidden.extend(COLLECTIONS);
    }
    for entry in entries.iter().filter(|entry| !COLLECTIONS.contains(&entry.key.as_str())) {
        if walk.flaws.is_full() {
            break;
        }
        hidden.extend(nearest(&entry.key, COLLECTIONS.iter().copied()));
        let at = Path::Root.key(&entry.key);
        let (code, message, expected) = refuse_collection(&entry.key);
        walk.report(code, (entry.key_spot, &at), message, expected);
    }
    let mut reader = Reader { root, hidden, walk };
    Some(Resources {
        proxy: reader.section("proxy", &PROXY),
        forwarding_rules: reader.collection("forwardingRules", &FORWARDING_RULE),
        target_http_proxies: reader.collection("targetHttpProxies", &TARGET_HTTP_PROXY),
        target_https_proxies: reader.collection("targetHttpsProxies", &TARGET_HTTPS_PROXY),
        target_tcp_proxies: reader.collection("targetTcpProxies", &TARGET_TCP_PROXY),
        target_ssl_proxies: reader.collection("targetSslProxies", &TARGET_SSL_PROXY),
        ssl_certificates: reader.collection("sslCertificates", &SSL_CERTIFICATE),
        ssl_policies: reader.collection("sslPolicies", &SSL_POLICY),
        server_tls_policies: reader.collection("serverTlsPolicies", &SERVER_TLS_POLICY),
        trust_configs: reader.collection("trustConfigs", &TRUST_CONFIG),
        url_maps: reader.collection("urlMaps", &URL_MAP),
        backend_services: reader.collection("backendServices", &BACKEND_SERVICE),
        service_lb_policies: reader.collection("serviceLbPolicies", &SERVICE_LB_POLICY),
        instance_groups: reader.collection("instanceGroups", &INSTANCE_GROUP),
        instances: reader.collection("instances", &INSTANCE),
        network_endpoint_groups: reader.collection("networkEndpointGroups", &NETWORK_ENDPOINT_GROUP),
        health_checks: reader.collection("healthChecks", &HEALTH_CHECK),
        http_health_checks: reader.collection("httpHealthChecks", &LEGACY_HEALTH_CHECK),
        https_health_checks: reader.collection("httpsHealthChecks", &LEGACY_HEALTH_CHECK),
    })
}

fn refuse_collection(key: &str) -> (&'static str, String, String) {
    if let Some((_, what)) = LATER.iter().find(|(later, _)| *later == key) {
        return ("not-supported", format!("`{key}` is not supported yet: {what}"), format!("no `{key}`"));
    }
    let expected = match nearest(key, COLLECTIONS.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of {}", COLLECTIONS.join(", ")),
    };
    ("unknown-collection", format!("there is no collection {}", quote(key)), expected)
}

struct Reader<'a> {
    root: &'a Node,
    /// Collections that may hold more than can be seen.
    hidden: Vec<&'a str>,
    walk: &'a mut Walk,
}

impl Reader<'_> {
    fn section<T: DeserializeOwned>(&mut self, key: &'static str, table: &Table) -> Section<T> {
        match self.root.get(key).filter(|node| !node.is_null()) {
            None if self.hidden.contains(&key) => Section::Broken,
            None => Section::Absent,
            Some(node) => {
                sound(node, table, &Path::Root.key(key), self.walk).map_or(Section::Broken, Section::Sound)
            }
        }
    }

    fn collection<T: DeserializeOwned>(&mut self, key: &'static str, table: &Table) -> Collection<T> {
        let mut out = Collection { key, entries: Vec::new(), hides_names: self.hidden.contains(&key) };
        let Some(node) = self.root.get(key).filter(|node| !node.is_null()) else {
            return out;
        };
        let at = Path::Root.key(key);
        let Value::List(items) = &node.value else {
            let message = format!("`{key}` holds no list");
            let expected = format!("a list, each entry {}", table.noun);
            self.walk.report("wrong-type", (self.root.locate(&at), &at), message, expected);
            out.hides_names = true;
            return out;
        };
        for (index, item) in items.iter().enumerate() {
            let text = |key| item.get(key).and_then(Node::text);
            let zone = text("zone").and_then(|zone| zone.rsplit('/').next()).map(str::to_owned);
            // Policies of the Network Services API have a path for a name.
            let name = text("name").map(|name| name.rsplit('/').next().unwrap_or(name).to_owned());
            out.hides_names |= name.is_none();
            out.entries.push(Entry { name, zone, value: sound(item, table, &at.item(index), self.walk) });
        }
        out
    }
}

fn sound<T: DeserializeOwned>(node: &Node, table: &Table, at: &Path<'_>, walk: &mut Walk) -> Option<T> {
    let json = walk.object(node, table, at).ok()?;
    match serde_json::from_value(json) {
        Ok(value) => Some(value),
        Err(error) => {
            // The tables and the structs disagree: a fault of ours, but the user should still learn where.
            debug_assert!(false, "{at}: {error}");
            let Misfit = walk.report(
                "internal",
                (node.point(), at),
                format!("this was understood and then not: {error}"),
                "a report of this fault".into(),
            );
            None
        }
    }
}

/// Collections that a document may hold.
pub static COLLECTIONS: &[&str] = &[
    "proxy",
    "forwardingRules",
    "targetHttpProxies",
    "targetHttpsProxies",
    "targetTcpProxies",
    "targetSslProxies",
    "sslCertificates",
    "sslPolicies",
    "serverTlsPolicies",
    "trustConfigs",
    "urlMaps",
    "backendServices",
    "serviceLbPolicies",
    "instanceGroups",
    "instances",
    "networkEndpointGroups",
    "healthChecks",
    "httpHealthChecks",
    "httpsHealthChecks",
];

/// The fields of a collection's resources; `None` for what is no collection.
#[must_use]
pub fn table(collection: &str) -> Option<&'static Table> {
    Some(match collection {
        "forwardingRules" => &FORWARDING_RULE,
        "targetHttpProxies" => &TARGET_HTTP_PROXY,
        "targetHttpsProxies" => &TARGET_HTTPS_PROXY,
        "targetTcpProxies" => &TARGET_TCP_PROXY,
        "targetSslProxies" => &TARGET_SSL_PROXY,
        "sslCertificates" => &SSL_CERTIFICATE,
        "sslPolicies" => &SSL_POLICY,
        "serverTlsPolicies" => &SERVER_TLS_POLICY,
        "trustConfigs" => &TRUST_CONFIG,
        "urlMaps" => &URL_MAP,
        "backendServices" => &BACKEND_SERVICE,
        "serviceLbPolicies" => &SERVICE_LB_POLICY,
        "instanceGroups" => &INSTANCE_GROUP,
        "instances" => &INSTANCE,
        "networkEndpointGroups" => &NETWORK_ENDPOINT_GROUP,
        "healthChecks" => &HEALTH_CHECK,
        "httpHealthChecks" => &LEGACY_HEALTH_CHECK,
        "httpsHealthChecks" => &LEGACY_HEALTH_CHECK,
        _ => return None,
    })
}

/// Google's other collections around load balancing.
static LATER: &[(&str, &str)] = &[
    ("certificateMaps", "maps of certificates; `sslCertificates` of a proxy lists them"),
    ("targetGrpcProxies", "gRPC"),
    ("backendBuckets", "buckets as backends"),
    ("autoscalers", "groups that grow"),
    ("instanceGroupManagers", "groups that grow"),
    ("instanceTemplates", "groups that grow"),
    ("globalForwardingRules", "forwardingRules are global here"),
    ("regionBackendServices", "a `region` in backendServices says the same"),
    ("regionHealthChecks", "regional resources"),
    ("regionUrlMaps", "regional resources"),
    ("regionTargetHttpProxies", "regional resources"),
    ("regionTargetHttpsProxies", "regional resources"),
    ("regionSslCertificates", "regional resources"),
    ("regionSslPolicies", "regional resources"),
    ("regionInstanceGroups", "regional resources"),
    ("securityPolicies", "filtering requests"),
    ("addresses", "reserved addresses; IPAddress takes the address itself"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_can_be_written_and_read_again() {
        let text = include_str!("../../config/url-map.yaml");
        let (tree, flaws) = read(text);
        assert_eq!(flaws, []);
        let map = tree.unwrap().1.url_maps.entries.remove(0).value.unwrap();
        let json = serde_json::to_value(&map).unwrap();
        assert_eq!(json["pathMatchers"][1], serde_json::json!({"name": "api", "defaultService": "api"}));
        assert_eq!(serde_json::from_value::<UrlMap>(json).unwrap(), map);
    }

    #[test]
    fn a_wrong_file_does_not_give_a_million_flaws() {
        let text: String = (0..5000).map(|i| format!("k{i}: {i}\n")).collect();
        assert_eq!(read(&text).1.len(), super::super::flaw::MAX_FLAWS);
    }
}
