//! What should be there: resources as a file has them, references by name alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use overspill::wire::document::{Node, Value};
use overspill::wire::flaw::Flaws;
use overspill::wire::yaml;
use serde_json::{Value as Json, json};

pub(crate) const ZONE: &str = "us-central1-a";
/// Collections that steps change.
pub(crate) const COLLECTIONS: &[&str] =
    &["urlMaps", "backendServices", "instanceGroups", "networkEndpointGroups", "healthChecks", "instances"];
/// What the load goes through, and what has the base's anchor: never deleted.
pub(crate) const HELD: &[&str] =
    &["front-map", "web", "web-ig", "web-neg", "far-neg", "probe", "held-vm", "anchored"];
/// Fields that name resources.
const REFERENCES: &[&str] = &["group", "healthChecks", "defaultService", "service", "zone"];

/// By collection and name.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Model {
    pub(crate) all: BTreeMap<&'static str, BTreeMap<String, Json>>,
}

impl Model {
    /// What [`base`] says.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        let root = parse(text)?;
        let mut model = Self::default();
        for collection in COLLECTIONS {
            let items = root.get(collection).map(Node::items).unwrap_or_default();
            let resources = model.all.entry(collection).or_default();
            for item in items {
                resources.insert(name_of(item), loose(item, ""));
            }
        }
        Ok(model)
    }

    pub(crate) fn get(&self, collection: &str, name: &str) -> Option<&Json> {
        self.all.get(collection)?.get(name)
    }

    pub(crate) fn names(&self, collection: &str) -> Vec<String> {
        self.all.get(collection).map(|all| all.keys().cloned().collect()).unwrap_or_default()
    }

    /// Those that may be deleted.
    pub(crate) fn free(&self, collection: &str) -> Vec<String> {
        let names = self.names(collection).into_iter();
        names.filter(|name| !HELD.contains(&name.as_str()) && !self.is_used(collection, name)).collect()
    }

    pub(crate) fn is_used(&self, collection: &str, name: &str) -> bool {
        let keys: &[&str] = match collection {
            "backendServices" => &["defaultService", "service"],
            "healthChecks" => &["healthChecks"],
            "instanceGroups" | "networkEndpointGroups" => &["group"],
            // Members of groups go by their names.
            "instances" => &["name"],
            _ => return false,
        };
        let users = match collection {
            "instances" => &["instanceGroups"][..],
            "backendServices" => &["urlMaps"],
            _ => &["backendServices"],
        };
        let resources = users.iter().filter_map(|users| self.all.get(users)).flat_map(BTreeMap::values);
        let mut parts = resources.flat_map(|resource| match collection {
            "instances" => resource["instances"].as_array().map(Vec::as_slice).unwrap_or_default(),
            _ => std::slice::from_ref(resource),
        });
        parts.any(|part| mentions(part, keys, name))
    }

    pub(crate) fn with(&self, collection: &'static str, name: &str, resource: Json) -> Self {
        let mut model = self.clone();
        model.all.entry(collection).or_default().insert(name.to_owned(), resource);
        model
    }

    pub(crate) fn without(&self, collection: &'static str, name: &str) -> Self {
        let mut model = self.clone();
        model.all.entry(collection).or_default().remove(name);
        model
    }

    /// Why the file's text says something else.
    pub(crate) fn differs_from_file(&self, text: &str) -> Option<String> {
        let root = match parse(text) {
            Ok(root) => root,
            Err(error) => return Some(error),
        };
        COLLECTIONS.iter().find_map(|collection| {
            let items = root.get(collection).map(Node::items).unwrap_or_default();
            let unquoted = items.iter().find_map(not_a_text);
            let items = items.iter().map(|item| (name_of(item), loose(item, "")));
            let why = unquoted.or_else(|| self.differs(collection, items.collect()));
            why.map(|why| format!("file: {collection} {why}"))
        })
    }

    /// Why the API's list of a collection says something else.
    pub(crate) fn differs_from_view(&self, collection: &str, list: &Json) -> Option<String> {
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let named = items.into_iter().map(|item| (item["name"].as_str().unwrap_or("").to_owned(), item));
        self.differs(collection, named.collect()).map(|why| format!("API: {collection} {why}"))
    }

    fn differs(&self, collection: &str, found: BTreeMap<String, Json>) -> Option<String> {
        let wanted = self.all.get(collection)?;
        let names = |all: &BTreeMap<String, Json>| all.keys().cloned().collect::<Vec<_>>();
        if !wanted.keys().eq(found.keys()) {
            return Some(format!("has {:?}, not {:?}", names(&found), names(wanted)));
        }
        wanted.iter().find_map(|(name, wanted)| {
            let why = differs(wanted, found.get(name)?, "")?;
            Some(format!("{name}{why}"))
        })
    }
}

pub(crate) fn parse(text: &str) -> Result<Node, String> {
    let mut flaws = Flaws::default();
    let root = yaml::parse(text, &mut flaws);
    let flaws = flaws.into_vec();
    root.filter(|_| flaws.is_empty()).ok_or_else(|| format!("file: {flaws:?}\n{text}"))
}

pub(crate) fn name_of(node: &Node) -> String {
    node.get("name").and_then(Node::text).unwrap_or("").to_owned()
}

fn mentions(json: &Json, keys: &[&str], name: &str) -> bool {
    match json {
        Json::Array(items) => items.iter().any(|item| mentions(item, keys, name)),
        Json::Object(fields) => fields.iter().any(|(key, value)| {
            let is_it = |value: &Json| value.as_str() == Some(name);
            let is_named = keys.contains(&key.as_str())
                && (is_it(value) || value.as_array().is_some_and(|items| items.iter().any(is_it)));
            is_named || mentions(value, keys, name)
        }),
        _ => false,
    }
}

/// A node whose scalars are what they look like where no field says otherwise.
fn loose(node: &Node, key: &str) -> Json {
    match &node.value {
        Value::List(items) => items.iter().map(|item| loose(item, key)).collect(),
        Value::Object(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), loose(&entry.node, &entry.key))).collect()
        }
        Value::Scalar(scalar) if is_text(key) => json!(scalar.text),
        Value::Scalar(scalar) => match (scalar.flag(), scalar.number().filter(|_| scalar.is_plain)) {
            (Some(flag), _) => json!(flag),
            (_, Some(number)) => match scalar.integer().and_then(|whole| i64::try_from(whole).ok()) {
                Some(whole) => json!(whole),
                None => json!(number),
            },
            _ => json!(scalar.text),
        },
    }
}

fn is_text(key: &str) -> bool {
    matches!(key, "description" | "name" | "portRange" | "requestPath" | "host") || REFERENCES.contains(&key)
}

/// A text that stands without quotes and is something else to readers of YAML who do not know the field.
fn not_a_text(node: &Node) -> Option<String> {
    match &node.value {
        Value::List(items) => items.iter().find_map(not_a_text),
        Value::Object(entries) => entries.iter().find_map(|entry| match &entry.node.value {
            Value::Scalar(scalar) if is_text(&entry.key) => {
                let is_other = scalar.is_plain
                    && (scalar.is_null() || scalar.flag().is_some() || scalar.number().is_some());
                is_other.then(|| format!("{} stands without quotes: {}", entry.key, scalar.text))
            }
            _ => not_a_text(&entry.node),
        }),
        Value::Scalar(_) => None,
    }
}

/// Where and how `found` is not `wanted`. What nobody asked for may be a default, or what servers write.
fn differs(wanted: &Json, found: &Json, key: &str) -> Option<String> {
    match (wanted, found) {
        (Json::Object(wanted), Json::Object(found)) => {
            let missing = wanted.iter().find_map(|(key, wanted)| match found.get(key) {
                Some(found) => differs(wanted, found, key).map(|why| format!(".{key}{why}")),
                None if is_default(key, wanted) => None,
                None => Some(format!(".{key} is missing, not {wanted}")),
            });
            let added = found.iter().find(|(key, found)| {
                !wanted.contains_key(*key) && !is_output(key) && !is_default(key, found)
            });
            missing.or_else(|| added.map(|(key, found)| format!(".{key} is there: {found}")))
        }
        (Json::Array(wanted), Json::Array(found)) if wanted.len() == found.len() => {
            let pairs = wanted.iter().zip(found).enumerate();
            pairs
                .map(|(index, (wanted, found))| {
                    differs(wanted, found, key).map(|why| format!("[{index}]{why}"))
                })
                .find_map(|why| why)
        }
        (Json::Number(a), Json::Number(b)) if a.as_f64() == b.as_f64() => None,
        (Json::String(a), Json::String(b)) if REFERENCES.contains(&key) && last(a) == last(b) => None,
        (wanted, found) if wanted == found => None,
        (wanted, found) => Some(format!(": {found}, not {wanted}")),
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_output(key: &str) -> bool {
    matches!(key, "kind" | "id" | "selfLink" | "creationTimestamp" | "fingerprint" | "size" | "status")
}

fn is_default(key: &str, value: &Json) -> bool {
    let number = |of: &[f64]| value.as_f64().is_some_and(|value| of.contains(&value));
    let text = |of: &str| value.as_str() == Some(of);
    match key {
        "loadBalancingScheme" => text("EXTERNAL_MANAGED"),
        "protocol" => text("HTTP"),
        "timeoutSec" => number(&[30.0, 5.0]),
        "checkIntervalSec" => number(&[5.0]),
        "healthyThreshold" | "unhealthyThreshold" => number(&[2.0]),
        "affinityCookieTtlSec" => number(&[0.0]),
        "sessionAffinity" | "proxyHeader" => text("NONE"),
        "connectionDraining" => *value == json!({"drainingTimeoutSec": 0}),
        "capacityScaler" => number(&[1.0]),
        "requestPath" => text("/"),
        "port" => number(&[80.0]),
        "networkEndpointType" => text("GCE_VM_IP_PORT"),
        _ => false,
    }
}

/// The first text: a front that stays, comments, an anchor, several styles.
pub(crate) fn base(front: SocketAddr, members: &[SocketAddr]) -> String {
    let endpoint = |at: &SocketAddr| format!("{{ipAddress: {}, port: {}}}", at.ip(), at.port());
    let [a, b, far, ..] = members else { return String::new() };
    let instance = |name: &str, at: &SocketAddr| {
        format!("{{name: {name}, ipAddress: {}, ports: {{http: {}}}}}", at.ip(), at.port())
    };
    format!(
        r#"# note-0: Torture
proxy: {{zone: {ZONE},   accessLog: {{path: none}}}}  # note-1: odd   spaces

forwardingRules: [{{name: front, IPAddress: {}, portRange: "{}", target: front-proxy}}]   # note-2: stays
targetHttpProxies:
  - {{name: front-proxy, urlMap: front-map}}
urlMaps:
- # note-3: the load goes through it
  name: front-map
  defaultService: web
  hostRules:
  - {{hosts: ["*"], pathMatcher: pm}}
  pathMatchers:
  - name: pm
    defaultService: web
    pathRules:
    - {{paths: [/ig/*], service: anchored}}

# note-4: services
backendServices:
  # note-5: the load's
  - name: web
    # note-6: inside
    protocol: HTTP
    timeoutSec:   90
    healthChecks: [probe]   # note-7: beside a list
    connectionDraining: {{drainingTimeoutSec: 2}}
    backends:
      # note-8: near
      - {{group: web-neg, balancingMode: RATE, maxRate: 1000000}}
      - group: far-neg
        balancingMode: RATE
        maxRate: 1000000
  - name: anchored   # note-9: its group is near
    timeoutSec: 60
    connectionDraining: &drain {{drainingTimeoutSec: 3}}
    portName: 'http'
    healthChecks: [probe]
    backends: [{{group: web-ig, balancingMode: RATE, maxRate: 1000000}}]
  - name: shares
    connectionDraining: *drain
    backends: [{{group: web-neg, balancingMode: RATE, maxRate: 5}}]
    healthChecks: [probe]

instanceGroups:
- name: web-ig
  zone: {ZONE}
  namedPorts: [{{name: http, port: 80}}]
  instances:
  - {}
  - {} # note-10: b
networkEndpointGroups:
- {{name: web-neg, zone: {ZONE}, networkEndpoints: [{}, {}]}}
- name: "far-neg"
  zone: europe-west1-b
  networkEndpoints:
  - {}
healthChecks:
- {{name: probe, type: HTTP, checkIntervalSec: 1, timeoutSec: 1, unhealthyThreshold: 8, healthyThreshold: 1,
   httpHealthCheck: {{requestPath: /healthz, portSpecification: USE_SERVING_PORT}}}}
# note-11: machines
instances:
- {{name: held-vm, zone: {ZONE}, networkInterfaces: [{{networkIP: 127.0.0.1}}]}}
# note-12: the end
"#,
        front.ip(),
        front.port(),
        instance("a", a),
        instance("b", b),
        endpoint(a),
        endpoint(b),
        endpoint(far),
    )
}
