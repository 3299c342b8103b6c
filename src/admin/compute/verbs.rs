//! Changes of a part of a resource: the POSTs behind its name [G 12].

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::catalog::{Catalog, Id, last};
use super::compute::{Asking, Compute};
use super::error::ApiError;
use super::kinds::Verb;
use super::operation::Operation;
use super::path::Resource;
use super::stored::{Stored, requested};
use super::write::modify;

/// Most instances or endpoints of one request.
const MOST: usize = 1000;

/// A change by a verb.
pub(super) async fn change(
    compute: &Compute,
    (target, verb): (Resource, Verb),
    body: Json,
    asking: &Asking,
) -> Result<Arc<Operation>, ApiError> {
    let name = target.place.kind.verbs.iter().find(|rule| rule.verb == verb).map_or("", |rule| rule.name);
    let project = target.place.project.clone();
    modify(compute, (name, target), asking, |stored, catalog| {
        let mut wanted = stored.whole.clone();
        apply(verb, &mut wanted, &body, (stored, catalog, &project))?;
        Ok(wanted)
    })
    .await
}

fn apply(
    verb: Verb,
    wanted: &mut Json,
    body: &Json,
    (stored, catalog, project): (&Stored, &Catalog, &str),
) -> Result<(), ApiError> {
    // Fields of the body that become fields of the resource.
    let fields: &[&str] = match verb {
        Verb::AddInstances => return add_instances(wanted, body, (stored, catalog, project)),
        Verb::RemoveInstances => return remove_instances(wanted, body, stored),
        Verb::AttachNetworkEndpoints => return attach(wanted, body, (stored, catalog)),
        Verb::DetachNetworkEndpoints => return detach(wanted, body, (stored, catalog)),
        Verb::SetNamedPorts => {
            is_current(stored, body, "fingerprint")?;
            &["namedPorts"]
        }
        Verb::SetLabels => &["labels"],
        Verb::SetUrlMap => &["urlMap"],
        Verb::SetSslCertificates => &["sslCertificates"],
        Verb::SetSslPolicy => &["sslPolicy"],
        Verb::SetQuicOverride => &["quicOverride"],
        Verb::SetBackendService => &["service"],
        Verb::SetProxyHeader => &["proxyHeader"],
        Verb::SetTarget => &["target"],
        // Nothing is cached.
        Verb::InvalidateCache => &[],
        other => return Err(ApiError::not_supported(&format!("{other:?}"))),
    };
    let body = requested(&renamed(verb, body), stored.id.collection, catalog);
    for field in fields {
        match body.get(*field) {
            Some(value) => wanted[*field] = value.clone(),
            // An SSL policy is taken away by naming none.
            None if matches!(verb, Verb::SetSslPolicy | Verb::SetLabels | Verb::SetNamedPorts) => {
                wanted.as_object_mut().map(|fields| fields.remove(*field));
            }
            None => return Err(ApiError::required(field)),
        }
    }
    Ok(())
}

/// `setSslPolicy` says `sslPolicy`, as the resource does; only references to the policy come as an object of their own.
fn renamed(verb: Verb, body: &Json) -> Json {
    match (verb, body.get("sslPolicy")) {
        (Verb::SetSslPolicy, None) => json!({}),
        _ => body.clone(),
    }
}

fn is_current(stored: &Stored, body: &Json, key: &str) -> Result<(), ApiError> {
    match body.get(key) {
        Some(Json::String(text)) if !stored.is_at(text) => Err(ApiError::condition_not_met()),
        _ => Ok(()),
    }
}

fn list<'a>(body: &'a Json, key: &str) -> Result<&'a [Json], ApiError> {
    match body.get(key) {
        Some(Json::Array(items)) if items.len() <= MOST => Ok(items),
        Some(Json::Array(_)) => Err(ApiError::invalid(format!("'{key}' has more than {MOST} entries"))),
        Some(other) => Err(ApiError::invalid_field(key, &other.to_string(), "Must be a list.")),
        None => Err(ApiError::required(key)),
    }
}

fn entries<'a>(wanted: &'a mut Json, key: &str) -> Result<&'a mut Vec<Json>, ApiError> {
    if wanted.get(key).is_none() {
        wanted[key] = json!([]);
    }
    wanted.get_mut(key).and_then(Json::as_array_mut).ok_or_else(|| ApiError::internal("No list is there."))
}

/// The names of instances in a body: `{"instances": [{"instance": URL}, …]}`.
fn instances(body: &Json) -> Result<Vec<&str>, ApiError> {
    let name = |entry: &'_ Json| entry.get("instance").and_then(Json::as_str).map(str::len).is_some();
    let entries = list(body, "instances")?;
    if !entries.iter().all(name) {
        return Err(ApiError::required("instances[].instance"));
    }
    Ok(entries.iter().filter_map(|entry| entry.get("instance")?.as_str().map(last)).collect())
}

fn add_instances(
    wanted: &mut Json,
    body: &Json,
    (stored, catalog, project): (&Stored, &Catalog, &str),
) -> Result<(), ApiError> {
    let members = entries(wanted, "instances")?;
    for name in instances(body)? {
        let path = format!("projects/{project}/{}/instances/{name}", stored.id.scope);
        if members.iter().any(|member| member["name"] == name) {
            let why = format!("Instance '{path}' is already a member of '{}'.", stored.id.path());
            return Err(ApiError::invalid(why).at("instances"));
        }
        let id = Id { collection: "instances", scope: stored.id.scope.clone(), name: name.to_owned() };
        match catalog.find(&id) {
            Some(_) => members.push(json!({"name": name})),
            // One that only another group knows is known with its address there.
            None => members.push(inline(name, stored, catalog).ok_or_else(|| ApiError::not_found(&path))?),
        }
    }
    Ok(())
}

/// A member of another group of the zone that has its address in the group itself.
fn inline(name: &str, stored: &Stored, catalog: &Catalog) -> Option<Json> {
    let groups = catalog.all("instanceGroups").filter(|(id, _)| id.scope == stored.id.scope);
    let mut groups = groups.filter_map(|(id, _)| Stored::find(id, catalog));
    groups.find_map(|group| {
        let members = group.file.get("instances")?.as_array()?;
        members.iter().find(|member| member["name"] == name).cloned()
    })
}

fn remove_instances(wanted: &mut Json, body: &Json, stored: &Stored) -> Result<(), ApiError> {
    let members = entries(wanted, "instances")?;
    for name in instances(body)? {
        let before = members.len();
        members.retain(|member| member["name"] != name);
        if members.len() == before {
            let path = format!("{}/instances/{name}", stored.id.scope);
            let why = format!("Instance '{path}' is not a member of '{}'.", stored.id.path());
            return Err(ApiError::invalid(why).at("instances"));
        }
    }
    Ok(())
}

/// The endpoints of a body in canonical form.
fn endpoints(body: &Json, (stored, catalog): (&Stored, &Catalog)) -> Result<Vec<Json>, ApiError> {
    let named = json!({"networkEndpoints": list(body, "networkEndpoints")?});
    let canonical = requested(&named, stored.id.collection, catalog);
    Ok(canonical.get("networkEndpoints").and_then(Json::as_array).cloned().unwrap_or_default())
}

fn attach(wanted: &mut Json, body: &Json, context: (&Stored, &Catalog)) -> Result<(), ApiError> {
    let default_port = wanted.get("defaultPort").cloned();
    let members = entries(wanted, "networkEndpoints")?;
    for endpoint in endpoints(body, context)? {
        // What is there already stays as it is, as with Google.
        if !members.iter().any(|member| is_same(member, &endpoint, default_port.as_ref())) {
            members.push(endpoint);
        }
    }
    Ok(())
}

fn detach(wanted: &mut Json, body: &Json, context: (&Stored, &Catalog)) -> Result<(), ApiError> {
    let default_port = wanted.get("defaultPort").cloned();
    let members = entries(wanted, "networkEndpoints")?;
    for endpoint in endpoints(body, context)? {
        let before = members.len();
        members.retain(|member| !is_same(member, &endpoint, default_port.as_ref()));
        if members.len() == before {
            let why = "There is no such endpoint in the group.";
            return Err(ApiError::invalid_field("networkEndpoints", &endpoint.to_string(), why));
        }
    }
    Ok(())
}

/// Whether both name one endpoint; a port that one leaves out is the group's, an instance that one leaves out any.
fn is_same(a: &Json, b: &Json, default_port: Option<&Json>) -> bool {
    let port = |endpoint: &Json| endpoint.get("port").or(default_port).cloned();
    let agree = |key| match (a.get(key), b.get(key)) {
        (Some(a), Some(b)) => a == b,
        (a, b) => key == "instance" || a == b,
    };
    ["ipAddress", "fqdn", "instance"].into_iter().all(agree) && port(a) == port(b)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &str = "
instances: [{name: vm1, zone: z-a, networkInterfaces: [{networkIP: 10.0.0.1}]}]
instanceGroups:
- {name: ig, zone: z-a, namedPorts: [{name: http, port: 80}]}
- {name: other, zone: z-a, instances: [{name: vm2, ipAddress: 10.0.0.2}]}
- {name: far, zone: z-b, instances: [{name: vm3, ipAddress: 10.0.0.3}]}
networkEndpointGroups:
- {name: neg, zone: z-a, defaultPort: 80, networkEndpoints: [{ipAddress: 10.0.0.1}, {ipAddress: 10.0.0.2, port: 81}]}
targetHttpProxies: [{name: t, urlMap: m}]
urlMaps: [{name: m}, {name: n}]
";

    fn after(verb: Verb, path: &str, body: Json) -> Result<Json, ApiError> {
        let catalog = Catalog::of(FILE.into());
        let id = catalog.everything().map(|(id, _)| id).find(|id| id.path() == path).unwrap();
        let stored = Stored::find(id, &catalog).unwrap();
        let mut wanted = stored.whole.clone();
        apply(verb, &mut wanted, &body, (&stored, &catalog, "p")).map(|()| wanted)
    }

    const IG: &str = "zones/z-a/instanceGroups/ig";

    fn instances(urls: &[&str]) -> Json {
        json!({"instances": urls.iter().map(|url| json!({"instance": url})).collect::<Vec<_>>()})
    }

    #[test]
    fn instances_join_a_group_by_name_and_leave_it() {
        let both = instances(&["http://h/compute/v1/projects/p/zones/z-a/instances/vm1", "vm2"]);
        let joined = after(Verb::AddInstances, IG, both).unwrap();
        // One that stands by itself goes by its name; one that only a group has comes with its address.
        let expected = json!([{"name": "vm1"}, {"name": "vm2", "ipAddress": "10.0.0.2"}]);
        assert_eq!(joined["instances"], expected);
        let left = after(Verb::RemoveInstances, "zones/z-a/instanceGroups/other", instances(&["vm2"]));
        assert_eq!(left.unwrap()["instances"], json!([]));
    }

    #[test]
    fn instances_of_another_zone_or_of_none_and_doubles_are_refused() {
        for (verb, group, name, status) in [
            (Verb::AddInstances, IG, "vm3", 404),
            (Verb::AddInstances, IG, "vm9", 404),
            (Verb::AddInstances, "zones/z-a/instanceGroups/other", "vm2", 400),
            (Verb::RemoveInstances, IG, "vm1", 400),
        ] {
            assert_eq!(after(verb, group, instances(&[name])).unwrap_err().status.as_u16(), status, "{name}");
        }
        for body in [json!({}), json!({"instances": 1}), json!({"instances": [{}]})] {
            assert_eq!(after(Verb::AddInstances, IG, body).unwrap_err().status.as_u16(), 400);
        }
    }

    #[test]
    fn an_endpoint_is_the_same_with_the_groups_port_said_or_not() {
        let neg = "zones/z-a/networkEndpointGroups/neg";
        let body = |endpoint: Json| json!({"networkEndpoints": [endpoint]});
        let same = body(json!({"instance": "vm1", "ipAddress": "10.0.0.1", "port": 80}));
        let joined = after(Verb::AttachNetworkEndpoints, neg, same.clone()).unwrap();
        assert_eq!(joined["networkEndpoints"].as_array().unwrap().len(), 2);
        let left = after(Verb::DetachNetworkEndpoints, neg, same).unwrap();
        assert_eq!(left["networkEndpoints"], json!([{"ipAddress": "10.0.0.2", "port": 81}]));
        let new = body(json!({"ipAddress": "10.0.0.3", "port": "82"}));
        let joined = after(Verb::AttachNetworkEndpoints, neg, new.clone()).unwrap();
        assert_eq!(joined["networkEndpoints"][2], json!({"ipAddress": "10.0.0.3", "port": 82}));
        assert_eq!(after(Verb::DetachNetworkEndpoints, neg, new).unwrap_err().status.as_u16(), 400);
    }

    #[test]
    fn a_field_is_set_by_its_verb() {
        let proxy = "global/targetHttpProxies/t";
        let set = after(Verb::SetUrlMap, proxy, json!({"urlMap": "projects/p/global/urlMaps/n"})).unwrap();
        assert_eq!(set["urlMap"], "global/urlMaps/n");
        assert_eq!(after(Verb::SetUrlMap, proxy, json!({})).unwrap_err().reason, "required");
        let ports = json!({"namedPorts": [{"name": "web", "port": "8080"}], "fingerprint": "AAAAAAAAAAA="});
        assert_eq!(after(Verb::SetNamedPorts, IG, ports).unwrap_err().reason, "conditionNotMet");
        let ports = json!({"namedPorts": [{"name": "web", "port": "8080"}]});
        let set = after(Verb::SetNamedPorts, IG, ports).unwrap();
        assert_eq!(set["namedPorts"], json!([{"name": "web", "port": 8080}]));
        assert_eq!(after(Verb::SetIamPolicy, proxy, json!({})).unwrap_err().status.as_u16(), 501);
    }
}
