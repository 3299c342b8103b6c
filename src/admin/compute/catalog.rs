//! What the configuration holds: every resource by collection, scope and name, with its place in the document.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::path::Scope;
use crate::wire::document::{Node, Value};
use crate::wire::flaw::Flaws;
use crate::wire::read::COLLECTIONS;
use crate::wire::yaml;

/// Which resource: collection of the file, scope and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) collection: &'static str,
    pub(super) scope: Scope,
    pub(super) name: String,
}

impl Id {
    /// Behind `projects/P/`: `global/urlMaps/web`.
    pub(super) fn path(&self) -> String {
        format!("{}/{}/{}", self.scope, self.collection, self.name)
    }

    /// The key of the resource that says where it stands, with its value.
    pub(super) fn place(&self) -> Option<(&'static str, &str)> {
        match &self.scope {
            Scope::Region(name) => Some(("region", name)),
            Scope::Zone(name) => Some(("zone", name)),
            Scope::Global | Scope::Project | Scope::Location => None,
        }
    }
}

/// Collections of the Network Services and Network Security APIs, whose paths say `locations`.
pub(super) const NETWORK_SERVICES: &[&str] = &["serviceLbPolicies", "serverTlsPolicies", "trustConfigs"];

/// The resources of one text.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) text: Arc<str>,
    root: Node,
    places: BTreeMap<Id, usize>,
}

impl Catalog {
    /// Reads a text that the engine has taken; one that is no YAML has nothing.
    pub(super) fn of(text: Arc<str>) -> Self {
        let nothing = || {
            let value = Value::Object(Vec::new());
            Node { spot: crate::wire::flaw::Spot::START, value }
        };
        let root = yaml::parse(&text, &mut Flaws::default()).unwrap_or_else(nothing);
        let mut places = BTreeMap::new();
        if let Value::Object(collections) = &root.value {
            for entry in collections {
                let Some(&collection) = COLLECTIONS.iter().find(|known| **known == entry.key) else {
                    continue;
                };
                for (index, item) in entry.node.items().iter().enumerate() {
                    if let Some(name) = item.get("name").and_then(Node::text) {
                        // Policies of the Network Services API have a path for a name.
                        let name = last(name).to_owned();
                        places.insert(Id { collection, scope: scope_of(collection, item), name }, index);
                    }
                }
            }
        }
        Self { text, root, places }
    }

    /// The document.
    pub(super) const fn root(&self) -> &Node {
        &self.root
    }

    /// A resource and its place in its collection's list.
    pub(super) fn find(&self, id: &Id) -> Option<(usize, &Node)> {
        let index = *self.places.get(id)?;
        self.root.get(id.collection)?.items().get(index).map(|node| (index, node))
    }

    /// The resource of that name, whatever its scope; `None` too when there are several.
    pub(super) fn only(&self, collections: &[&'static str], name: &str) -> Option<&Id> {
        let mut found =
            self.places.keys().filter(|id| id.name == name && collections.contains(&id.collection));
        found.next().filter(|_| found.next().is_none())
    }

    /// All resources of a collection, by scope and name.
    pub(super) fn all(&self, collection: &str) -> impl Iterator<Item = (&Id, &Node)> {
        let items = self.root.get(collection).map(Node::items).unwrap_or_default();
        let of = self.places.iter().filter(move |(id, _)| id.collection == collection);
        of.filter_map(move |(id, index)| items.get(*index).map(|node| (id, node)))
    }

    /// All resources.
    pub(super) fn everything(&self) -> impl Iterator<Item = (&Id, &Node)> {
        COLLECTIONS.iter().flat_map(|collection| self.all(collection))
    }
}

/// Where an entry of the file says that it stands. Front ends are global here, wherever they were exported from.
fn scope_of(collection: &str, node: &Node) -> Scope {
    if NETWORK_SERVICES.contains(&collection) {
        return Scope::Location;
    }
    let said = |key| node.get(key).and_then(Node::text).filter(|text| !text.is_empty()).map(last);
    match collection {
        "instanceGroups" | "instances" => Scope::Zone(said("zone").unwrap_or_default().to_owned()),
        "backendServices" | "networkEndpointGroups" => match (said("zone"), said("region")) {
            (Some(zone), _) => Scope::Zone(zone.to_owned()),
            (None, Some(region)) => Scope::Region(region.to_owned()),
            (None, None) => Scope::Global,
        },
        _ => Scope::Global,
    }
}

/// The last part of a path.
pub(super) fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_found_by_collection_scope_and_name() {
        let text = "
backendServices: [{name: a}, {name: b, region: regions/r1}]
instanceGroups:
- {name: g, zone: z-a}
- {name: g, zone: zones/z-b}
serviceLbPolicies: [{name: projects/p/locations/global/serviceLbPolicies/l}]
";
        let catalog = Catalog::of(text.into());
        let id = |collection, scope, name: &str| Id { collection, scope, name: name.to_owned() };
        for (id, index, path) in [
            (id("backendServices", Scope::Region("r1".to_owned()), "b"), 1, "regions/r1/backendServices/b"),
            (id("instanceGroups", Scope::Zone("z-b".to_owned()), "g"), 1, "zones/z-b/instanceGroups/g"),
            (id("serviceLbPolicies", Scope::Location, "l"), 0, "locations/global/serviceLbPolicies/l"),
        ] {
            assert_eq!(catalog.find(&id).unwrap().0, index, "{id:?}");
            assert_eq!(id.path(), path);
        }
        assert_eq!(catalog.only(&["instanceGroups"], "g"), None);
        assert_eq!(catalog.only(&["backendServices"], "b").unwrap().path(), "regions/r1/backendServices/b");
        assert_eq!((catalog.everything().count(), catalog.all("instanceGroups").count()), (5, 2));
    }
}
