//! Inserts, updates, patches and deletions of whole resources.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::catalog::{Catalog, Id, NETWORK_SERVICES, last};
use super::change::edits;
use super::compute::{Asking, Compute, Plan};
use super::defaults;
use super::error::ApiError;
use super::merge::merge;
use super::operation::Operation;
use super::path::{Place, Resource, Scope};
use super::reference;
use super::stored::{Stored, requested};
use super::typed::is_same;
use crate::wire::backend_service::EDITED;
use crate::wire::edit::{Edit, Step};
use crate::wire::schema::is_name;

/// A new resource. `name`: from the query, as the Network Services API has it.
pub(super) async fn insert(
    compute: &Compute,
    place: Place,
    (body, name): (Json, Option<&str>),
    asking: &Asking,
) -> Result<Arc<Operation>, ApiError> {
    let target = new_resource(&place, &body, name)?;
    let id = id_of(&target)?;
    let plan = Plan { kind: "insert", target: target.clone(), id: id.clone() };
    let make = |catalog: &Catalog| {
        // Names are unique in a collection, but for what stands in zones.
        let is_zonal = matches!(id.scope, Scope::Zone(_));
        let taken =
            catalog.find(&id).is_some() || !is_zonal && catalog.only(&[id.collection], &id.name).is_some();
        if taken {
            return Err(ApiError::already_exists(&target.path()));
        }
        let mut entry = requested(&body, id.collection, catalog);
        complete(&mut entry, &id);
        Ok(vec![appended(catalog, id.collection, shortened(entry, catalog))])
    };
    compute.change(plan, asking, make).await
}

fn new_resource(place: &Place, body: &Json, name: Option<&str>) -> Result<Resource, ApiError> {
    if !body.is_object() {
        return Err(ApiError::invalid("Invalid JSON payload received. A resource is an object."));
    }
    let name = match (name, body.get("name")) {
        (Some(name), _) => name,
        (None, Some(Json::String(name))) => last(name),
        (None, Some(other)) => {
            return Err(ApiError::invalid_field("resource.name", &other.to_string(), "Must be a string."));
        }
        (None, None) => return Err(ApiError::required("resource.name")),
    };
    if !is_name(name) {
        let why = "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'";
        return Err(ApiError::invalid_field("resource.name", name, why));
    }
    Ok(place.resource(name))
}

/// The place in the file of a resource that may be there or not.
fn id_of(resource: &Resource) -> Result<Id, ApiError> {
    let place = &resource.place;
    let Some(collection) = place.kind.file else {
        return Err(ApiError::not_supported(place.kind.collection));
    };
    // The file says a region where it means something: front ends and checks are global here.
    if matches!(place.scope, Scope::Region(_))
        && !matches!(collection, "backendServices" | "networkEndpointGroups")
    {
        let what = format!("A {} of a region", place.kind.word);
        return Err(ApiError::not_supported(&what));
    }
    Ok(Id { collection, scope: place.scope.clone(), name: resource.name.clone() })
}

/// What the URL says of a new resource, and what Google's servers fill in that is not ours by default.
fn complete(entry: &mut Json, id: &Id) {
    if id.collection == "healthChecks" {
        defaults::complete_check(entry);
    }
    let Some(fields) = entry.as_object_mut() else { return };
    fields.insert("name".to_owned(), json!(id.name));
    if let Some((key, name)) = id.place() {
        fields.insert(key.to_owned(), json!(name));
    }
    let mut default = |key: &str, value: &str| {
        fields.entry(key).or_insert_with(|| json!(value));
    };
    match id.collection {
        // Absent in a file it would be EXTERNAL_MANAGED; the API keeps Google's default.
        "backendServices" => default("loadBalancingScheme", "EXTERNAL"),
        "forwardingRules" => {
            default("loadBalancingScheme", "EXTERNAL");
            // Google's servers choose an address; nobody outside is let in by chance.
            default("IPAddress", "127.0.0.1");
            if let Some(Json::String(range)) = fields.get_mut("portRange") {
                // As people write it: `80`.
                if let Some(port) = range.split_once('-').filter(|(a, b)| a == b).map(|(a, _)| a.to_owned()) {
                    *range = port;
                }
            }
        }
        _ => {}
    }
}

/// References in the form that people write.
pub(super) fn shortened(mut json: Json, catalog: &Catalog) -> Json {
    reference::rewrite(&mut json, &mut |text, may_be| {
        if let Some(id) = reference::read(text, may_be, catalog) {
            *text = reference::short(&id);
        }
    });
    json
}

/// A new entry at the end of its collection, which may be the first.
pub(super) fn appended(catalog: &Catalog, collection: &str, entry: Json) -> Edit {
    let at = vec![Step::Key(collection.to_owned())];
    match catalog.root().get(collection).filter(|list| !list.is_null()) {
        Some(list) => Edit::Insert { at, index: list.items().len(), value: entry },
        None => Edit::Set { at, value: json!([entry]) },
    }
}

/// PUT: the resource as it should be. PATCH: what should differ [G 12.2].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Update,
    Patch,
}

/// A change of a resource that is there.
pub(super) async fn update(
    compute: &Compute,
    target: Resource,
    (body, manner): (Json, Manner),
    asking: &Asking,
) -> Result<Arc<Operation>, ApiError> {
    let kind = if manner == Manner::Update { "update" } else { "patch" };
    modify(compute, (kind, target), asking, |stored, catalog| {
        let Some(fields) = body.as_object() else {
            return Err(ApiError::invalid("Invalid JSON payload received. A resource is an object."));
        };
        match fields.get("name") {
            Some(Json::String(name)) if last(name) != stored.id.name => {
                return Err(ApiError::invalid_field("resource.name", name, "A name cannot be changed."));
            }
            _ => {}
        }
        is_current(stored, fields, manner)?;
        let wanted = match manner {
            Manner::Patch => {
                let mut whole = stored.whole.clone();
                merge(&mut whole, body.clone())?;
                whole
            }
            Manner::Update => body.clone(),
        };
        let mut wanted = requested(&wanted, stored.id.collection, catalog);
        keep(&mut wanted, stored, manner);
        if stored.id.collection == "healthChecks" {
            defaults::complete_check(&mut wanted);
        }
        Ok(wanted)
    })
    .await
}

/// Whether the client knows the resource as it is [G 12.3].
fn is_current(stored: &Stored, fields: &Map<String, Json>, manner: Manner) -> Result<(), ApiError> {
    match fields.get("fingerprint") {
        Some(Json::String(text)) if stored.is_at(text) => Ok(()),
        Some(Json::String(_)) => Err(ApiError::condition_not_met()),
        // Whether Google takes a patch without is not known; an update names what it replaces.
        _ if manner == Manner::Update && stored.has_fingerprint() => Err(ApiError::condition_not_met()),
        _ => Ok(()),
    }
}

/// What a request cannot change, or does not mean to.
fn keep(wanted: &mut Json, stored: &Stored, manner: Manner) {
    let (Some(wanted), Some(whole)) = (wanted.as_object_mut(), stored.whole.as_object()) else { return };
    for key in ["name", "zone", "region"] {
        match whole.get(key) {
            Some(value) => wanted.insert(key.to_owned(), value.clone()),
            None => wanted.remove(key),
        };
    }
    silence(wanted, whole);
    outgrow(wanted, whole);
    if manner == Manner::Update && stored.id.collection == "backendServices" {
        for (key, value) in whole.iter().filter(|(key, _)| !EDITED.contains(&key.as_str())) {
            wanted.entry(key.as_str()).or_insert_with(|| value.clone());
        }
    }
}

/// A client that turns the log off echoes how it was sampled, which Google takes and `check` does not.
fn silence(wanted: &mut Map<String, Json>, whole: &Map<String, Json>) {
    let (Some(wanted), Some(was)) = (wanted.get_mut("logConfig"), whole.get("logConfig")) else { return };
    let Some(wanted) = wanted.as_object_mut().filter(|log| log.get("enable") == Some(&json!(false))) else {
        return;
    };
    wanted.retain(|key, value| key == "enable" || was.get(key) != Some(value));
}

/// A client that changes the mode of a backend echoes targets that the new mode has no use for: gcloud leaves
/// `maxUtilization` when it goes to IN_FLIGHT, and all of them when it goes to CUSTOM_METRICS [G 10.6]. What such a
/// backend was told before, and is not told anew, goes.
fn outgrow(wanted: &mut Map<String, Json>, whole: &Map<String, Json>) {
    let was = |group: &Json| {
        let mut all = whole.get("backends").and_then(Json::as_array).into_iter().flatten();
        all.find(|backend| backend.get("group") == Some(group)).and_then(Json::as_object)
    };
    for backend in wanted.get_mut("backends").and_then(Json::as_array_mut).into_iter().flatten() {
        let Some(backend) = backend.as_object_mut() else { continue };
        let Some(was) = backend.get("group").and_then(was) else { continue };
        let leftovers: &[&str] = match backend.get("balancingMode").and_then(Json::as_str) {
            mode if mode == was.get("balancingMode").and_then(Json::as_str) => continue,
            Some("IN_FLIGHT") => &["maxUtilization"],
            Some("CUSTOM_METRICS") => &["maxUtilization", "maxConnections", "maxInFlightRequests"],
            _ => continue,
        };
        let is_leftover = |key: &str| {
            let of_mode = |field: &&str| {
                key.strip_prefix(*field).is_some_and(|rest| rest.is_empty() || rest.starts_with("Per"))
            };
            leftovers.iter().any(of_mode)
        };
        backend.retain(|key, value| !is_leftover(key) || was.get(key).is_none_or(|was| !is_same(was, value)));
    }
}

/// What a request is about.
enum Found {
    /// Its place in the file, and the same by its name.
    Here(Id, Resource),
    /// The request was here before: what it is about may be gone since.
    Repeated(Arc<Operation>),
}

fn found((kind, target): (&str, &Resource), compute: &Compute, asking: &Asking) -> Result<Found, ApiError> {
    if let Some(first) = compute.repeated((kind, target), asking)? {
        return Ok(Found::Repeated(first));
    }
    // A number becomes a name here; whether it is there still is looked at again.
    let id = compute.id(target, &compute.catalog())?;
    let target = target.place.resource(id.name.clone());
    Ok(Found::Here(id, target))
}

/// Any change of one resource: `wanted` says in canonical form what it should be.
pub(super) async fn modify(
    compute: &Compute,
    (kind, target): (&'static str, Resource),
    asking: &Asking,
    wanted: impl Fn(&Stored, &Catalog) -> Result<Json, ApiError>,
) -> Result<Arc<Operation>, ApiError> {
    let (id, target) = match found((kind, &target), compute, asking)? {
        Found::Here(id, target) => (id, target),
        Found::Repeated(first) => return Ok(first),
    };
    let plan = Plan { kind, target: target.clone(), id: id.clone() };
    let make = |catalog: &Catalog| {
        let stored = Stored::find(&id, catalog).ok_or_else(|| ApiError::not_found(&target.path()))?;
        let wanted = wanted(&stored, catalog)?;
        Ok(edits_of(&stored, &wanted, catalog))
    };
    compute.change(plan, asking, make).await
}

/// The edits that make a resource what it should be.
pub(super) fn edits_of(stored: &Stored, wanted: &Json, catalog: &Catalog) -> Vec<Edit> {
    let at = [Step::Key(stored.id.collection.to_owned()), Step::Index(stored.index)];
    let mut edits = edits(&at, &stored.whole, &stored.file, wanted);
    for edit in &mut edits {
        let (Edit::Set { at, value } | Edit::Insert { at, value, .. }) = edit else { continue };
        // A value by itself is a reference or not by the key that it stands under.
        let key = at.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.clone()),
            Step::Index(_) => None,
        });
        let key = key.unwrap_or_default();
        let is_text = value.is_string();
        let within = if is_text { json!([value.take()]) } else { value.take() };
        let mut around = shortened(json!({ key.as_str(): within }), catalog);
        let within = around.get_mut(&key).map(Json::take).unwrap_or_default();
        *value = match within {
            Json::Array(mut items) if is_text => items.pop().unwrap_or_default(),
            other => other,
        };
    }
    edits
}

/// Removes a resource that nothing refers to [G 12.11].
pub(super) async fn delete(
    compute: &Compute,
    target: Resource,
    asking: &Asking,
) -> Result<Arc<Operation>, ApiError> {
    let (id, target) = match found(("delete", &target), compute, asking)? {
        Found::Here(id, target) => (id, target),
        Found::Repeated(first) => return Ok(first),
    };
    let plan = Plan { kind: "delete", target: target.clone(), id: id.clone() };
    let project = target.place.project.clone();
    let make = |catalog: &Catalog| {
        let Some((index, _)) = catalog.find(&id) else {
            return Err(ApiError::not_found(&target.path()));
        };
        if let Some(user) = user_of(&id, catalog) {
            let by = format!("projects/{project}/{}", user.path());
            return Err(ApiError::in_use(target.place.kind, &target.path(), &by));
        }
        Ok(vec![Edit::Remove { at: vec![Step::Key(id.collection.to_owned()), Step::Index(index)] }])
    };
    compute.change(plan, asking, make).await
}

/// The first resource that refers to `id`.
fn user_of(id: &Id, catalog: &Catalog) -> Option<Id> {
    let mut users = catalog.everything().filter(|(other, _)| *other != id);
    let refers = |(other, _): &(&Id, _)| {
        let Some(stored) = Stored::find(other, catalog) else { return false };
        if reference::all(&stored.file, catalog).contains(id) {
            return true;
        }
        // A group's members without an address are instances of its zone.
        id.collection == "instances"
            && other.collection == "instanceGroups"
            && other.scope == id.scope
            && stored.lists_instance(&id.name)
    };
    users.find(refers).map(|(other, _)| other.clone())
}

/// Whether the collection is of the Network Services API, whose names come in the query.
pub(super) fn is_named_in_query(place: &Place) -> bool {
    NETWORK_SERVICES.contains(&place.kind.collection)
}
