//! References: gcloud prints whole URLs, and a file reads better with names. A name that several resources share keeps
//! as much of its URL as tells them apart.

use std::collections::{BTreeMap, BTreeSet};

use super::kind;
use super::node;
use super::said::{Said, shown};
use super::stock::Resource;
use crate::wire::document::{Node, Scalar, Value};
use crate::wire::read::table;
use crate::wire::schema::{Kind, REFERENCE, Table};

/// What there is: by name and collection, the zones; `None` for what stands in none.
pub(super) struct Index<'a> {
    places: BTreeMap<(&'a str, &'static str), BTreeSet<Option<&'a str>>>,
}

/// Collections of which a bare name may be any.
static FAMILIES: &[&[&str]] = &[
    &["instanceGroups", "networkEndpointGroups"],
    &["targetHttpProxies", "targetHttpsProxies", "targetTcpProxies", "targetSslProxies"],
    &["healthChecks", "httpHealthChecks", "httpsHealthChecks"],
];

impl<'a> Index<'a> {
    pub(super) fn new(resources: &'a [Resource]) -> Self {
        let mut places: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for resource in resources {
            let zone = node::last(&resource.node, "zone");
            places.entry((resource.name(), resource.collection)).or_default().insert(zone);
        }
        Self { places }
    }

    /// The shortest text that names what `text` names; the second is what it names when that is not there.
    fn shorten(&self, text: &str) -> (String, Option<String>) {
        let segments: Vec<&str> = path(text).split('/').filter(|segment| !segment.is_empty()).collect();
        let [scope @ .., collection, name] = segments.as_slice() else { return (text.to_owned(), None) };
        let zone = match scope {
            [.., "zones", zone] => Some(*zone),
            _ => None,
        };
        // Names may be shared by tens of thousands, each in a zone of its own.
        let family = FAMILIES.iter().find(|family| family.contains(collection));
        let kin = family.copied().unwrap_or(std::slice::from_ref(collection));
        let count: usize =
            kin.iter().filter_map(|kin| self.places.get(&(*name, *kin))).map(BTreeSet::len).sum();
        let own = self.places.get(&(*name, *collection));
        let exact: Vec<Option<&str>> = match (own, zone) {
            (None, _) => Vec::new(),
            (Some(own), None) => own.iter().copied().take(2).collect(),
            (Some(own), Some(_)) => [None, zone].into_iter().filter(|place| own.contains(place)).collect(),
        };
        let short = || match zone {
            Some(zone) => format!("zones/{zone}/{collection}/{name}"),
            None => format!("{collection}/{name}"),
        };
        match exact.as_slice() {
            [_] if count == 1 => ((*name).to_owned(), None),
            [] => (short(), Some(short())),
            [Some(zone)] => (format!("zones/{zone}/{collection}/{name}"), None),
            _ => (short(), None),
        }
    }
}

/// The part of a URL behind its host.
fn path(text: &str) -> &str {
    let rest = text.split_once("://").map(|(_, rest)| rest).or_else(|| text.strip_prefix("//"));
    rest.map_or(text, |rest| rest.split_once('/').map_or("", |(_, path)| path))
}

/// Shortens every reference of a resource, and says which of them lead nowhere.
pub(super) fn shorten(resource: &mut Resource, index: &Index<'_>, said: &mut Said) {
    let label = resource.label();
    if let Some(table) = table(resource.collection) {
        object(&mut resource.node, table, &label, &mut |at, key, text| {
            if matches!(key, "name" | "zone" | "region" | "instance") {
                return last(text).to_owned();
            }
            let (short, missing) = index.shorten(text);
            if let Some(missing) = missing {
                let why = kind::why_not(&missing).unwrap_or("it is not among the inputs");
                said.miss(at, &format!("what `{}` stands for: {why}", shown(&missing)));
            }
            short
        });
    }
}

fn last(text: &str) -> &str {
    text.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or(text)
}

type Shorten<'s> = dyn FnMut(&str, &str, &str) -> String + 's;

fn object(node: &mut Node, table: &Table, at: &str, shorten: &mut Shorten<'_>) {
    let Value::Object(entries) = &mut node.value else { return };
    for entry in entries {
        if let Some(field) = table.find(&entry.key) {
            value(&mut entry.node, &field.kind, (&format!("{at}.{}", entry.key), &entry.key), shorten);
        }
    }
}

/// A value, where it stands, and the key that it is of.
fn value(node: &mut Node, kind: &Kind, (at, key): (&str, &str), shorten: &mut Shorten<'_>) {
    match (kind, &mut node.value) {
        (Kind::Object(table), _) => object(node, table, at, shorten),
        (Kind::List(of, _), Value::List(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                value(item, of, (&format!("{at}[{index}]"), key), shorten);
            }
        }
        (Kind::Text(most), Value::Scalar(scalar)) if matches!(REFERENCE, Kind::Text(longest) if longest == *most) =>
        {
            *scalar = Scalar { text: shorten(at, key, &scalar.text), is_plain: false };
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(collection: &'static str, name: &str, zone: Option<&str>) -> Resource {
        let mut node = node::object(vec![node::entry("name", node::text(name))]);
        if let Some(zone) = zone {
            node::set(&mut node, "zone", node::text(zone));
        }
        Resource::new(collection, node, "f")
    }

    #[test]
    fn a_reference_becomes_as_short_as_it_can_be() {
        let resources = [
            resource("backendServices", "web", None),
            resource("urlMaps", "web", None),
            resource("instanceGroups", "ig", Some("us-east1-b")),
            resource("instanceGroups", "twin", Some("us-east1-b")),
            resource("instanceGroups", "twin", Some("us-east1-c")),
            resource("healthChecks", "hc", None),
            resource("httpHealthChecks", "hc", None),
        ];
        let index = Index::new(&resources);
        let base = "https://www.googleapis.com/compute/v1/projects/p";
        for (text, short) in [
            ("web", "web"),
            ("global/backendServices/web", "web"),
            ("zones/us-east1-b/instanceGroups/ig", "ig"),
            ("regions/us-east1/instanceGroups/ig", "ig"),
            ("zones/us-east1-c/instanceGroups/twin", "zones/us-east1-c/instanceGroups/twin"),
            ("global/httpHealthChecks/hc", "httpHealthChecks/hc"),
        ] {
            assert_eq!(index.shorten(text), (short.to_owned(), None));
            if text.contains('/') {
                assert_eq!(index.shorten(&format!("{base}/{text}")), (short.to_owned(), None));
            }
        }
    }

    #[test]
    fn one_name_in_thousands_of_zones_is_found_in_each() {
        let zones: Vec<String> = (0..3000).map(|n| format!("z{n}-a")).collect();
        let resources: Vec<_> =
            zones.iter().map(|zone| resource("instanceGroups", "ig", Some(zone))).collect();
        let index = Index::new(&resources);
        for zone in &zones {
            let text = format!("zones/{zone}/instanceGroups/ig");
            assert_eq!(index.shorten(&text), (text, None));
        }
        let nowhere = "zones/elsewhere/instanceGroups/ig".to_owned();
        assert_eq!(index.shorten(&nowhere), (nowhere.clone(), Some(nowhere)));
        assert_eq!(index.shorten("instanceGroups/ig"), ("instanceGroups/ig".to_owned(), None));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let index = Index { places: BTreeMap::new() };
        let url = "https://h/compute/v1/projects/p/global/backendBuckets/b";
        assert_eq!(index.shorten(url), ("backendBuckets/b".into(), Some("backendBuckets/b".into())));
        assert_eq!(path("//networkservices.googleapis.com/projects/p"), "projects/p");
    }
}
