//! One resource in its three forms: as the file has it, with the defaults that hold, and as the API shows it.
//!
//! The first two are *canonical*: numbers are numbers, a reference is the path behind `projects/P/`, a place is its
//! name. So whatever form a client echoes, comparing two of them tells what it wants changed.

use std::hash::Hasher as _;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use serde_json::{Value as Json, json};
use siphasher::sip::SipHasher13;

use super::catalog::{Catalog, Id, NETWORK_SERVICES, last};
use super::defaults;
use super::kinds::{self, Kind};
use super::reference::{self, Base};
use super::typed;
use crate::wire::document::Node;
use crate::wire::read::table;
use crate::wire::schema::Table;

/// A resource of the file.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) id: Id,
    /// Place in its collection's list.
    pub(super) index: usize,
    /// As the file has it, canonical.
    pub(super) file: Json,
    /// The same with defaults filled in.
    pub(super) whole: Json,
    /// As the file says; output only.
    created: Option<String>,
}

impl Stored {
    /// The resource of that id, if there is one.
    pub(super) fn find(id: &Id, catalog: &Catalog) -> Option<Self> {
        let (index, node) = catalog.find(id)?;
        let file = canonical(typed::object(node, fields(id.collection)), catalog);
        let mut whole = file.clone();
        defaults::fill(&mut whole, id.collection);
        let created = node.get("creationTimestamp").and_then(Node::text).map(str::to_owned);
        Some(Self { id: id.clone(), index, file, whole, created })
    }

    /// Eight bytes that change whenever the resource does [G 12.3].
    pub(super) fn fingerprint(&self) -> [u8; 8] {
        let mut hasher = SipHasher13::new();
        hasher.write(self.file.to_string().as_bytes());
        hasher.finish().to_be_bytes()
    }

    /// Whether a change must say which state it is based on [G 12.3].
    pub(super) fn has_fingerprint(&self) -> bool {
        kinds::of_collection(self.id.collection).is_some_and(|kind| kind.has_fingerprint)
    }

    /// Whether it is a group that lists this instance without an address of its own.
    pub(super) fn lists_instance(&self, name: &str) -> bool {
        let members = self.file.get("instances").and_then(Json::as_array);
        members.into_iter().flatten().any(|member| {
            member.get("name").and_then(Json::as_str) == Some(name) && member.get("ipAddress").is_none()
        })
    }

    /// The number that Google would have given it: the same as long as it has its name.
    pub(super) fn number(&self) -> u64 {
        number(&self.id)
    }

    /// As the API shows it: links in full, and what only servers write. `since`: when this process first saw it.
    pub(super) fn shown(&self, catalog: &Catalog, base: &Base, since: &str) -> Json {
        let mut shown = self.whole.clone();
        reference::rewrite(&mut shown, &mut |text, may_be| {
            if let Some(id) = reference::read(text, may_be, catalog) {
                *text = base.link(&id.path());
            }
        });
        conceal(&mut shown);
        quote(&mut shown);
        let created = self.created.as_deref().unwrap_or(since);
        let Some(fields) = shown.as_object_mut() else { return shown };
        let mut set = |key: &str, value: Json| {
            fields.insert(key.to_owned(), value);
        };
        if NETWORK_SERVICES.contains(&self.id.collection) {
            set("name", json!(format!("projects/{}/{}", base.project, self.id.path())));
            set("createTime", json!(created));
            set("updateTime", json!(created));
            return shown;
        }
        set("name", json!(self.id.name));
        set("kind", json!(kinds::of_collection(self.id.collection).map(Kind::kind)));
        set("id", json!(self.number().to_string()));
        set("selfLink", json!(base.link(&self.id.path())));
        set("creationTimestamp", json!(created));
        if let Some((key, name)) = self.id.place() {
            set(key, json!(base.link(&format!("{key}s/{name}"))));
        }
        if self.has_fingerprint() {
            set("fingerprint", json!(BASE64_STANDARD.encode(self.fingerprint())));
        }
        match self.id.collection {
            "instanceGroups" => set("size", json!(count(&self.file, "instances"))),
            "networkEndpointGroups" => set("size", json!(count(&self.file, "networkEndpoints"))),
            _ => {}
        }
        shown
    }

    /// Whether `text` is this resource's fingerprint, in either alphabet of base64 [G 10.2b].
    pub(super) fn is_at(&self, text: &str) -> bool {
        let bytes = BASE64_STANDARD.decode(text).or_else(|_| BASE64_URL_SAFE.decode(text));
        bytes.is_ok_and(|bytes| bytes == self.fingerprint())
    }
}

/// A request's resource in canonical form. Output-only fields and nulls are gone [G 12.8].
pub(super) fn requested(json: &Json, collection: &str, catalog: &Catalog) -> Json {
    let mut requested = canonical(typed::from_request(json, fields(collection)), catalog);
    if collection == "forwardingRules" {
        let range = requested.get("portRange").and_then(Json::as_str).map(defaults::port_range);
        if let (Some(range), Some(fields)) = (range, requested.as_object_mut()) {
            fields.insert("portRange".to_owned(), Json::from(range));
        }
    }
    requested
}

/// The fields of a collection's resources.
pub(super) fn fields(collection: &str) -> &'static Table {
    static NONE: Table = Table { noun: "a resource", fields: &[] };
    table(collection).unwrap_or(&NONE)
}

fn canonical(mut json: Json, catalog: &Catalog) -> Json {
    reference::rewrite(&mut json, &mut |text, may_be| {
        if let Some(id) = reference::read(text, may_be, catalog) {
            *text = id.path();
        }
    });
    for key in ["name", "zone", "region"] {
        if let Some(Json::String(text)) = json.get_mut(key) {
            *text = last(text).to_owned();
        }
    }
    json
}

/// No private key leaves.
fn conceal(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(conceal),
        Json::Object(fields) => {
            fields.remove("privateKey");
            fields.values_mut().for_each(conceal);
        }
        _ => {}
    }
}

/// Integers of 64 bits are words in JSON [G 10.8].
fn quote(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(quote),
        Json::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Json::Number(number) if matches!(key.as_str(), "seconds" | "minimumRingSize") => {
                        *value = Json::from(number.to_string());
                    }
                    value => quote(value),
                }
            }
        }
        _ => {}
    }
}

fn count(json: &Json, key: &str) -> usize {
    json.get(key).and_then(Json::as_array).map_or(0, Vec::len)
}

/// Stable, positive, of at most 19 digits.
pub(super) fn number(id: &Id) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(id.path().as_bytes());
    (hasher.finish() >> 2) | (1 << 60)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::admin::compute::path::Scope;

    fn base() -> Base {
        Base { origin: "http://h".to_owned(), version: "v1".to_owned(), project: "p".to_owned() }
    }

    fn find(text: &str, collection: &'static str, scope: Scope, name: &str) -> (Stored, Catalog) {
        let catalog = Catalog::of(text.into());
        let id = Id { collection, scope, name: name.to_owned() };
        (Stored::find(&id, &catalog).unwrap(), catalog)
    }

    const FILE: &str = "
backendServices:
- name: web
  fingerprint: old
  backends: [{group: ig}]
instanceGroups: [{name: ig, zone: zones/z-a, instances: [{name: a, ipAddress: 127.0.0.1}]}]
sslCertificates: [{name: c, certificate: PEM, selfManaged: {privateKey: secret}, privateKey: secret}]
";

    #[test]
    fn a_resource_is_shown_with_links_defaults_and_what_servers_write() {
        let (web, catalog) = find(FILE, "backendServices", Scope::Global, "web");
        let shown = web.shown(&catalog, &base(), "2026-01-01T00:00:00.000Z");
        let group = "http://h/compute/v1/projects/p/zones/z-a/instanceGroups/ig";
        assert_eq!(shown["backends"][0]["group"], group);
        assert_eq!(shown["backends"][0]["balancingMode"], "UTILIZATION");
        assert_eq!((&shown["kind"], &shown["timeoutSec"]), (&json!("compute#backendService"), &json!(30)));
        assert_eq!(shown["selfLink"], "http://h/compute/v1/projects/p/global/backendServices/web");
        let (group, catalog) = find(FILE, "instanceGroups", Scope::Zone("z-a".to_owned()), "ig");
        let shown = group.shown(&catalog, &base(), "");
        let zone = json!("http://h/compute/v1/projects/p/zones/z-a");
        assert_eq!((&shown["zone"], &shown["size"]), (&zone, &json!(1)));
    }

    #[test]
    fn what_a_client_read_says_the_same_when_it_comes_back() {
        let (web, catalog) = find(FILE, "backendServices", Scope::Global, "web");
        let shown = web.shown(&catalog, &base(), "");
        assert_eq!(requested(&shown, "backendServices", &catalog), web.whole);
    }

    #[test]
    fn g_10_2b_a_fingerprint_is_compared_by_its_bytes() {
        let (web, _) = find(FILE, "backendServices", Scope::Global, "web");
        assert!(web.is_at(&BASE64_STANDARD.encode(web.fingerprint())));
        assert!(web.is_at(&BASE64_URL_SAFE.encode(web.fingerprint())));
        assert!(!web.is_at("AAAAAAAAAAA=") && !web.is_at("?"));
    }

    #[test]
    fn a_private_key_is_never_shown() {
        let (certificate, catalog) = find(FILE, "sslCertificates", Scope::Global, "c");
        let shown = certificate.shown(&catalog, &base(), "").to_string();
        assert!(!shown.contains("secret") && shown.contains("PEM"), "{shown}");
    }
}
