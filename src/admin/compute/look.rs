//! Questions: resources one by one and in lists, members of groups, places.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value as Json, json};

use super::catalog::Catalog;
use super::catalog::Id;
use super::compute::{Asking, Compute};
use super::error::ApiError;
use super::path::{Api, Place, Resource, Scope};
use super::stored::{Stored, number};
use crate::model::config::Front;
use crate::model::place::{google_region_names, region_of_zone};
use crate::model::timestamp::Timestamp;
use crate::model::x509::{self, Facts};

/// Zones of a region that a list shows, besides those in use.
const LETTERS: &[&str] = &["a", "b", "c"];

/// One resource.
pub(super) fn get(
    compute: &Compute,
    resource: &Resource,
    (api, asking): (Api, &Asking),
) -> Result<Json, ApiError> {
    let missing = || ApiError::not_found(&resource.path());
    match resource.place.kind.collection {
        "operations" => {
            let found = compute.operations(|all| all.get(resource).cloned()).ok_or_else(missing)?;
            Ok(match api {
                Api::Compute(_) => found.view(&asking.prefix(api)),
                Api::NetworkServices(_) => found.long_running_view(),
            })
        }
        "projects" => Ok(project(&resource.name, asking)),
        "zones" => {
            let known = regions(&compute.catalog());
            let region =
                region_of_zone(&resource.name).filter(|region| known.iter().any(|known| known == region));
            region.map(|region| zone(&resource.name, region, asking)).ok_or_else(missing)
        }
        "regions" => {
            let catalog = compute.catalog();
            let known = regions(&catalog).contains(&resource.name);
            if known { Ok(region(&resource.name, asking)) } else { Err(missing()) }
        }
        _ => {
            let catalog = compute.catalog();
            match compute.stored(resource, &catalog) {
                Ok(stored) => Ok(shown(compute, &stored, &catalog, asking)),
                Err(error) => machines(&catalog, asking)
                    .into_iter()
                    .find(|(scope, instance)| {
                        resource.place.kind.collection == "instances"
                            && *scope == resource.place.scope
                            && (instance["name"] == resource.name || instance["id"] == resource.name)
                    })
                    .map(|(_, instance)| instance)
                    .ok_or(error),
            }
        }
    }
}

/// All resources of a kind with their scopes, by scope and name.
pub(super) fn all(compute: &Compute, place: &Place, (api, asking): (Api, &Asking)) -> Vec<(Scope, Json)> {
    let catalog = compute.catalog();
    match place.kind.collection {
        "operations" => compute.operations(|all| {
            let of = all.all(&place.project);
            of.map(|operation| {
                let view = match api {
                    Api::Compute(_) => operation.view(&asking.prefix(api)),
                    Api::NetworkServices(_) => operation.long_running_view(),
                };
                (operation.scope().clone(), view)
            })
            .collect()
        }),
        "zones" => {
            let shown = zones(&catalog).into_iter();
            let shown =
                shown.filter_map(|name| Some((Scope::Project, zone(&name, region_of_zone(&name)?, asking))));
            shown.collect()
        }
        "regions" => {
            regions(&catalog).into_iter().map(|name| (Scope::Project, region(&name, asking))).collect()
        }
        collection => {
            let ids = place.kind.file.into_iter().flat_map(|file| catalog.all(file).map(|(id, _)| id));
            let stored = ids.filter_map(|id| Stored::find(id, &catalog));
            let mut all: Vec<_> = stored
                .map(|stored| (stored.id.scope.clone(), shown(compute, &stored, &catalog, asking)))
                .collect();
            if collection == "instances" {
                all.extend(machines(&catalog, asking));
            }
            all
        }
    }
}

fn shown(compute: &Compute, stored: &Stored, catalog: &Catalog, asking: &Asking) -> Json {
    let mut shown = stored.shown(catalog, &asking.base, &compute.since(&stored.id));
    if stored.id.collection == "instances" {
        shown["status"] = json!("RUNNING");
    }
    if let Some(facts) = facts(compute, stored) {
        let end = u64::try_from(facts.not_after).map(Duration::from_secs).unwrap_or_default();
        shown["expireTime"] = json!(Timestamp(SystemTime::UNIX_EPOCH + end).to_string());
        shown["subjectAlternativeNames"] = json!(facts.names);
    }
    shown
}

/// What a certificate says of itself: that of the file's text, else the one that a proxy shows.
fn facts(compute: &Compute, stored: &Stored) -> Option<Facts> {
    if stored.id.collection != "sslCertificates" {
        return None;
    }
    let text = |json: &Json| json.get("certificate").and_then(Json::as_str).map(str::to_owned);
    if let Some(pem) = text(&stored.file).or_else(|| text(stored.file.get("selfManaged")?)) {
        return x509::read(&CertificateDer::from_pem_slice(pem.as_bytes()).ok()?);
    }
    let world = compute.handle().world();
    let mut all = world.config.fronts.iter().filter_map(Front::tls).flat_map(|tls| &tls.certificates);
    all.find(|one| *one.name == *stored.id.name).map(|one| one.facts().clone())
}

/// Instances that only groups know, each with the address that it has there.
fn machines(catalog: &Catalog, asking: &Asking) -> Vec<(Scope, Json)> {
    let mut found: BTreeMap<(Scope, String), Json> = BTreeMap::new();
    for (id, _) in catalog.all("instanceGroups") {
        let Some(group) = Stored::find(id, catalog) else { continue };
        for member in group.file.get("instances").and_then(Json::as_array).into_iter().flatten() {
            let (Some(name), Some(ip)) = (member["name"].as_str(), member["ipAddress"].as_str()) else {
                continue;
            };
            let machine = Id { collection: "instances", scope: id.scope.clone(), name: name.to_owned() };
            if catalog.find(&machine).is_some() {
                continue;
            }
            found.entry((id.scope.clone(), name.to_owned())).or_insert_with(|| {
                json!({
                    "kind": "compute#instance",
                    "id": number(&machine).to_string(),
                    "name": name,
                    "zone": asking.base.link(&id.scope.to_string()),
                    "status": "RUNNING",
                    "networkInterfaces": [{"networkIP": ip}],
                    "selfLink": asking.base.link(&machine.path()),
                })
            });
        }
    }
    found.into_iter().map(|((scope, _), instance)| (scope, instance)).collect()
}

/// What `listInstances` of a group answers, unpaged.
pub(super) fn instances(
    compute: &Compute,
    resource: &Resource,
    asking: &Asking,
) -> Result<Vec<Json>, ApiError> {
    let catalog = compute.catalog();
    let group = compute.stored(resource, &catalog)?;
    let members = group.file.get("instances").and_then(Json::as_array).cloned().unwrap_or_default();
    let ports = group.file.get("namedPorts").cloned().unwrap_or_else(|| json!([]));
    let one = |member: &Json| {
        let name = member["name"].as_str()?;
        let machine = format!("{}/instances/{name}", group.id.scope);
        Some(json!({"instance": asking.base.link(&machine), "status": "RUNNING", "namedPorts": ports}))
    };
    Ok(members.iter().filter_map(one).collect())
}

/// What `listNetworkEndpoints` of a group answers, unpaged.
pub(super) fn endpoints(compute: &Compute, resource: &Resource) -> Result<Vec<Json>, ApiError> {
    let catalog = compute.catalog();
    let group = compute.stored(resource, &catalog)?;
    let members = group.file.get("networkEndpoints").and_then(Json::as_array).cloned().unwrap_or_default();
    let default_port = group.file.get("defaultPort");
    let one = |member: &Json| {
        let mut endpoint = member.clone();
        if let (None, Some(port)) = (endpoint.get("port"), default_port) {
            endpoint["port"] = port.clone();
        }
        // A reference in the file, a bare name in the API [G 10.2a].
        if let Some(Json::String(name)) = endpoint.get_mut("instance") {
            *name = super::catalog::last(name).to_owned();
        }
        json!({"networkEndpoint": endpoint})
    };
    Ok(members.iter().map(one).collect())
}

fn project(name: &str, asking: &Asking) -> Json {
    let link = asking.base.link("");
    json!({"kind": "compute#project", "id": "1", "name": name, "selfLink": link.trim_end_matches('/')})
}

fn zone(name: &str, region: &str, asking: &Asking) -> Json {
    let id = Id { collection: "instances", scope: Scope::Zone(name.to_owned()), name: String::new() };
    json!({
        "kind": "compute#zone",
        "id": number(&id).to_string(),
        "name": name,
        "description": name,
        "status": "UP",
        "region": asking.base.link(&format!("regions/{region}")),
        "selfLink": asking.base.link(&format!("zones/{name}")),
    })
}

fn region(name: &str, asking: &Asking) -> Json {
    let id = Id { collection: "instances", scope: Scope::Region(name.to_owned()), name: String::new() };
    let zones = LETTERS.iter().map(|letter| asking.base.link(&format!("zones/{name}-{letter}")));
    json!({
        "kind": "compute#region",
        "id": number(&id).to_string(),
        "name": name,
        "description": name,
        "status": "UP",
        "zones": zones.collect::<Vec<_>>(),
        "selfLink": asking.base.link(&format!("regions/{name}")),
    })
}

/// All scopes that an aggregated list may have.
pub(super) fn scopes(catalog: &Catalog) -> Vec<Scope> {
    let regions = regions(catalog).into_iter().map(Scope::Region);
    std::iter::once(Scope::Global).chain(regions).chain(zones(catalog).into_iter().map(Scope::Zone)).collect()
}

/// Google's regions, and those that the configuration adds or uses.
fn regions(catalog: &Catalog) -> Vec<String> {
    let added = catalog.root().get("proxy").and_then(|proxy| proxy.get("regions"));
    let added = added
        .into_iter()
        .flat_map(|list| list.items().iter().filter_map(|region| region.get("name")?.text()));
    let used = catalog.everything().filter_map(|(id, _)| match &id.scope {
        Scope::Region(name) => Some(&**name),
        Scope::Zone(name) => region_of_zone(name.as_str()),
        _ => None,
    });
    let google = google_region_names().map(|name| -> &str { name });
    let names: std::collections::BTreeSet<&str> = google.chain(added).chain(used).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// The zones in use, and the first ones of every region.
fn zones(catalog: &Catalog) -> Vec<String> {
    let regions = regions(catalog);
    let first =
        regions.iter().flat_map(|region| LETTERS.iter().map(move |letter| format!("{region}-{letter}")));
    let used = catalog.everything().filter_map(|(id, _)| match &id.scope {
        Scope::Zone(name) => Some(name.clone()),
        _ => None,
    });
    let names: std::collections::BTreeSet<String> = first.chain(used).collect();
    names.into_iter().collect()
}
