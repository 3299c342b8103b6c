//! References: fields that name another resource. The API shows full URLs and takes any form [G 7.11]; the file keeps
//! the form it has.

use serde_json::Value as Json;

use super::catalog::{Catalog, Id, NETWORK_SERVICES};
use super::path::Scope;

/// Fields that hold references, or lists of them, wherever they stand in a resource, and what they may name.
const FIELDS: &[(&str, &[&str])] = &[
    ("backendService", &["backendServices"]),
    ("clientValidationTrustConfig", &["trustConfigs"]),
    ("defaultService", &["backendServices"]),
    ("group", &["instanceGroups", "networkEndpointGroups"]),
    ("healthChecks", &["healthChecks", "httpHealthChecks", "httpsHealthChecks"]),
    ("instance", &["instances"]),
    ("serverTlsPolicy", &["serverTlsPolicies"]),
    ("service", &["backendServices"]),
    ("serviceLbPolicy", &["serviceLbPolicies"]),
    ("sslCertificates", &["sslCertificates"]),
    ("sslPolicy", &["sslPolicies"]),
    ("target", &["targetHttpProxies", "targetHttpsProxies", "targetTcpProxies", "targetSslProxies"]),
    ("urlMap", &["urlMaps"]),
];

/// What a field of that key may name; `None` for fields that are no references.
pub(super) fn collections(key: &str) -> Option<&'static [&'static str]> {
    FIELDS.iter().find(|(field, _)| *field == key).map(|(_, collections)| *collections)
}

/// Where links start: `http://HOST/compute/v1/projects/P`.
#[derive(Debug, Clone)]
pub(in crate::admin) struct Base {
    /// `http://HOST`.
    pub(in crate::admin) origin: String,
    /// `v1`, `beta` or `alpha`.
    pub(in crate::admin) version: String,
    /// Project.
    pub(in crate::admin) project: String,
}

impl Base {
    /// A link to what stands behind `projects/P/`.
    pub(in crate::admin) fn link(&self, path: &str) -> String {
        let Self { origin, version, project } = self;
        if path.starts_with("locations/") {
            return format!("{origin}/v1/projects/{project}/{path}");
        }
        format!("{origin}/compute/{version}/projects/{project}/{path}")
    }
}

/// What `text` names: any tail of a URL, from the name alone on. `None` when it names nothing that could be there.
pub(super) fn read(text: &str, may_be: &'static [&'static str], catalog: &Catalog) -> Option<Id> {
    let path = text.split_once("://").map_or(text, |(_, rest)| rest);
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (name, collection, scope) = match segments.as_slice() {
        [] => return None,
        [name] => (*name, None, &[] as &[&str]),
        [scope @ .., collection, name] => (*name, Some(*collection), scope),
    };
    let named = match collection {
        Some(collection) => {
            let at = may_be.iter().position(|known| *known == collection)?;
            may_be.get(at..=at)?
        }
        None => may_be,
    };
    let scope = match scope {
        [.., "zones", zone] => Some(Scope::Zone((*zone).to_owned())),
        [.., "regions", region] => Some(Scope::Region((*region).to_owned())),
        [.., "global"] => Some(Scope::Global),
        _ => None,
    };
    match (scope, named) {
        (Some(scope), [collection]) if !NETWORK_SERVICES.contains(collection) => {
            let exact = Id { collection, scope, name: name.to_owned() };
            // What the file has without a region is global here, also where a URL puts it into one.
            let is_exact = matches!(exact.scope, Scope::Zone(_)) || catalog.find(&exact).is_some();
            let near = if is_exact { None } else { catalog.only(named, name).cloned() };
            Some(near.unwrap_or(exact))
        }
        (_, [collection, ..]) => {
            let is_elsewhere = NETWORK_SERVICES.contains(collection);
            let scope = if is_elsewhere { Scope::Location } else { Scope::Global };
            let unknown = || Id { collection, scope, name: name.to_owned() };
            Some(catalog.only(named, name).cloned().unwrap_or_else(unknown))
        }
        (_, []) => None,
    }
}

/// Shortest form that the file understands: the name alone for what is global, else the path from its scope on.
pub(super) fn short(id: &Id) -> String {
    match id.scope {
        Scope::Global | Scope::Location => id.name.clone(),
        _ if id.collection == "backendServices" => id.name.clone(),
        _ => id.path(),
    }
}

/// Calls `change` for each reference in a resource: its text, and what it may name.
pub(super) fn rewrite(json: &mut Json, change: &mut impl FnMut(&mut String, &'static [&'static str])) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(|item| rewrite(item, change)),
        Json::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                match (collections(key), value) {
                    (Some(may_be), Json::String(text)) if !text.is_empty() => change(text, may_be),
                    (Some(may_be), Json::Array(items)) if items.iter().all(Json::is_string) => {
                        for item in items {
                            if let Json::String(text) = item {
                                change(text, may_be);
                            }
                        }
                    }
                    (_, value) => rewrite(value, change),
                }
            }
        }
        _ => {}
    }
}

/// Everything that a resource refers to.
pub(super) fn all(json: &Json, catalog: &Catalog) -> Vec<Id> {
    let mut found = Vec::new();
    // Reading goes the way of writing; what is written back is what was read.
    rewrite(&mut json.clone(), &mut |text, may_be| found.extend(read(text, may_be, catalog)));
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog() -> Catalog {
        let text = "
backendServices: [{name: a}, {name: b, region: r1}]
instanceGroups: [{name: g, zone: z-a}]
networkEndpointGroups: [{name: n, zone: z-a}]
";
        Catalog::of(text.into())
    }

    #[test]
    fn g_7_11_any_tail_of_a_url_names_the_same_resource() {
        let groups = collections("group").unwrap();
        for text in [
            "g",
            "instanceGroups/g",
            "zones/z-a/instanceGroups/g",
            "projects/p/zones/z-a/instanceGroups/g",
            "https://www.googleapis.com/compute/v1/projects/other/zones/z-a/instanceGroups/g",
            "http://127.0.0.1:9901/compute/beta/projects/p/zones/z-a/instanceGroups/g",
        ] {
            assert_eq!(
                read(text, groups, &catalog()).unwrap().path(),
                "zones/z-a/instanceGroups/g",
                "{text}"
            );
        }
        assert_eq!(read("n", groups, &catalog()).unwrap().collection, "networkEndpointGroups");
        assert_eq!(read("urlMaps/g", groups, &catalog()), None);
        let elsewhere = read("zones/z-b/instanceGroups/g2", groups, &catalog()).unwrap();
        assert_eq!(short(&elsewhere), "zones/z-b/instanceGroups/g2");
    }

    #[test]
    fn references_are_found_wherever_they_stand() {
        let map = json!({
            "name": "m", "defaultService": "a",
            "pathMatchers": [{"defaultRouteAction": {"weightedBackendServices": [{"backendService": "b"}]}}],
        });
        let paths: Vec<_> = all(&map, &catalog()).iter().map(Id::path).collect();
        assert_eq!(paths, ["global/backendServices/a", "regions/r1/backendServices/b"]);
    }
}
