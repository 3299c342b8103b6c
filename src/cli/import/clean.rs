//! Takes out of a resource what a configuration cannot have, and says so. What a file may say stands in the schema
//! tables, and a [`Walk`] holds the resource against them: there is no second opinion here of what is supported.

use std::collections::BTreeMap;

use super::node::{is_empty, word};
use super::said::{Said, shown};
use crate::wire::document::{Node, Value};
use crate::wire::flaw::Flaw;
use crate::wire::path::Path;
use crate::wire::schema::{Kind, Table};
use crate::wire::walk::Walk;

/// What Google's servers add to nearly everything, and gcloud to what it lists or exports.
const ADDED: &[&str] = &[
    "kind",
    "id",
    "selfLink",
    "selfLinkWithId",
    "creationTimestamp",
    "fingerprint",
    "labelFingerprint",
    "createTime",
    "updateTime",
    "etag",
    "region",
    "COMMENT",
    "isManaged",
    "instanceGroupManagerUri",
    "loadBalancer",
];

/// Without these an object would mean something else, so it goes with them.
const DEFINING: &[&str] = &[
    "loadBalancingScheme",
    "protocol",
    "IPProtocol",
    "type",
    "networkEndpointType",
    "balancingMode",
    "group",
    "target",
];

/// Rounds of taking out; each finds up to a thousand flaws, and one object may lose its reason to be by another's going.
const ROUNDS: usize = 32;

/// Makes `node` fit `table`. False when nothing is left of it; `label` is what it is called.
pub(super) fn fit(node: &mut Node, table: &Table, label: &str, said: &mut Said) -> bool {
    strip(node, table);
    for _ in 0..ROUNDS {
        let mut walk = Walk::default();
        let _ = walk.object(node, table, &Path::Root);
        let flaws = walk.flaws.into_vec();
        if flaws.is_empty() {
            settle(node, table, label, said);
            return true;
        }
        let doomed = doomed(&flaws);
        for (place, flaws) in &doomed {
            for flaw in flaws {
                said.lose(&at(label, &flaw.path), &reason(flaw, place, node));
            }
        }
        if doomed.contains_key("") {
            return false;
        }
        prune(node, &mut String::new(), &doomed);
    }
    said.lose(label, "left out as a whole: too much of it does not fit");
    false
}

/// Where each flaw leads to taking out, with the flaws.
fn doomed(flaws: &[Flaw]) -> BTreeMap<String, Vec<&Flaw>> {
    let mut out: BTreeMap<String, Vec<&Flaw>> = BTreeMap::new();
    for flaw in flaws {
        out.entry(place(flaw).to_owned()).or_default().push(flaw);
    }
    out
}

/// What has to go: the value, or what would mean something else without it.
fn place(flaw: &Flaw) -> &str {
    let path = flaw.path.as_str();
    // A rule that has lost a condition would match more than it should.
    if let Some((rule, _)) = path.split_once(".matchRules") {
        return rule;
    }
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    let is_defining = flaw.code != "missing-field" && DEFINING.contains(&key);
    if is_defining { parent } else { path }
}

fn reason(flaw: &Flaw, place: &str, node: &Node) -> String {
    let mut why = flaw.message.clone();
    if flaw.code == "unknown-key" {
        why.push_str(" here");
    }
    if place.is_empty() {
        why.push_str("; left out as a whole");
    } else if place != flaw.path {
        why.push_str(&format!("; `{place}` is left out"));
    } else if flaw.code == "missing-field" {
        why.push_str("; left out");
    } else if let Some(text) =
        word(node, place).filter(|text| flaw.code == "not-supported" && !why.contains(text))
    {
        why.push_str(&format!(" (it was {})", shown(text)));
    }
    why
}

/// `label` with the path under it.
fn at(label: &str, path: &str) -> String {
    match path {
        "" => label.to_owned(),
        path => format!("{label}.{}", shown_path(path)),
    }
}

fn shown_path(path: &str) -> String {
    const LONGEST: usize = 200;
    path.chars().take(LONGEST).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Removes what stands at the paths.
fn prune(node: &mut Node, path: &mut String, doomed: &BTreeMap<String, Vec<&Flaw>>) {
    let length = path.len();
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            let mut index = 0;
            items.retain_mut(|item| {
                path.push_str(&format!("[{index}]"));
                index += 1;
                let stays = !doomed.contains_key(path.as_str());
                if stays {
                    prune(item, path, doomed);
                }
                path.truncate(length);
                stays
            });
        }
        Value::Object(entries) => entries.retain_mut(|entry| {
            if length > 0 {
                path.push('.');
            }
            path.push_str(&entry.key);
            let stays = !doomed.contains_key(path.as_str());
            if stays {
                prune(&mut entry.node, path, doomed);
            }
            path.truncate(length);
            stays
        }),
    }
}

/// Takes out what says nothing: null, what the servers write, and unknown fields in which nothing stands.
fn strip(node: &mut Node, table: &Table) {
    each_object(node, table, &mut |node, table| {
        let Value::Object(entries) = &mut node.value else { return };
        entries.retain(|entry| match table.find(&entry.key) {
            _ if entry.node.is_null() => false,
            Some(field) => !matches!(field.kind, Kind::OutputOnly),
            None => !ADDED.contains(&entry.key.as_str()) && !is_empty(&entry.node),
        });
        let order = |key: &str| table.fields.iter().position(|field| field.key == key);
        entries.sort_by_key(|entry| order(&entry.key).unwrap_or(usize::MAX));
    });
}

/// What is refused in general and still stands has a value that means "not in use". Of what is for people alone, and
/// may look as it will, the empty goes too.
fn settle(node: &mut Node, table: &Table, label: &str, said: &mut Said) {
    each_object(node, table, &mut |node, table| {
        let Value::Object(entries) = &mut node.value else { return };
        entries.retain(|entry| match table.find(&entry.key).map(|field| &field.kind) {
            Some(Kind::Later(..) | Kind::Never(..)) => false,
            Some(Kind::Note | Kind::LimitedNote(_)) if is_empty(&entry.node) => false,
            Some(Kind::Note) if !is_modest(&entry.node, NOTE_DEPTH) => {
                said.lose(&at(label, &entry.key), "nested too deeply, or with too long a key");
                false
            }
            _ => true,
        });
    });
}

/// Levels of what is for people alone; Google's have two.
const NOTE_DEPTH: usize = 8;

/// Whether it can be written: YAML has shorter keys than JSON, and a configuration fewer levels.
fn is_modest(node: &Node, levels: usize) -> bool {
    const LONGEST_KEY: usize = 256;
    match &node.value {
        Value::Scalar(_) => true,
        _ if levels == 0 => false,
        Value::List(items) => items.iter().all(|item| is_modest(item, levels - 1)),
        Value::Object(entries) => {
            entries.iter().all(|entry| entry.key.len() <= LONGEST_KEY && is_modest(&entry.node, levels - 1))
        }
    }
}

/// Every object of which the tables know the fields, the outer ones first.
fn each_object(node: &mut Node, table: &Table, act: &mut impl FnMut(&mut Node, &Table)) {
    act(node, table);
    let Value::Object(entries) = &mut node.value else { return };
    for entry in entries {
        if let Some(field) = table.find(&entry.key) {
            inside(&mut entry.node, &field.kind, &mut |node, kind| {
                if let Kind::Object(table) = kind {
                    each_object(node, table, act);
                }
            });
        }
    }
}

/// The values that a kind of list, or of free keys, is about.
fn inside(node: &mut Node, kind: &Kind, act: &mut dyn FnMut(&mut Node, &Kind)) {
    match (kind, &mut node.value) {
        (Kind::List(of, _), Value::List(items)) => items.iter_mut().for_each(|item| inside(item, of, act)),
        (Kind::Map(of), Value::Object(entries)) => {
            entries.iter_mut().for_each(|entry| inside(&mut entry.node, of, act));
        }
        (Kind::WordOr(_, of), _) => inside(node, of, act),
        _ => act(node, kind),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::flaw::Flaws;
    use crate::wire::read::table;
    use crate::wire::yaml;

    fn fitted(collection: &str, text: &str) -> (Option<Node>, Vec<String>) {
        let mut node = yaml::parse(text, &mut Flaws::default()).unwrap();
        let mut said = Said::default();
        let is_left = fit(&mut node, table(collection).unwrap(), "x", &mut said);
        (is_left.then_some(node), said.lost)
    }

    #[test]
    fn what_the_servers_write_and_what_is_off_goes_without_a_word() {
        let text = "{kind: k, id: '1', usedBy: [{reference: r}], name: a, enableCDN: false, iap: {enabled: false}, \
                    port: null, somethingNew: [], backends: [{group: g, failover: false}]}";
        let (node, lost) = fitted("backendServices", text);
        let node = node.unwrap();
        assert_eq!(lost, [] as [&str; 0]);
        let keys: Vec<_> =
            super::super::node::entries(&node).iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["name", "backends"]);
        assert!(node.get("backends").unwrap().items()[0].get("failover").is_none());
    }

    #[test]
    fn what_is_refused_is_taken_out_and_said() {
        let text = "{name: a, securityPolicy: https://h/p, timeoutSec: 0, newThing: {x: 1}}";
        let (node, lost) = fitted("backendServices", text);
        assert_eq!(super::super::node::entries(&node.unwrap()).len(), 1);
        assert_eq!(
            lost,
            [
                "x.newThing: a backend service has no field `newThing` here",
                "x.securityPolicy: `securityPolicy` is not supported yet: filtering requests (it was https://h/p)",
                "x.timeoutSec: `timeoutSec` is 0",
            ]
        );
    }

    #[test]
    fn what_would_mean_something_else_goes_as_a_whole() {
        let (node, lost) = fitted("backendServices", "{name: a, loadBalancingScheme: INTERNAL}");
        assert!(node.is_none());
        assert!(lost[0].ends_with("passthrough balancing; left out as a whole"), "{lost:?}");
        let text = "{name: m, defaultService: a, pathMatchers: [{name: p, defaultService: a, routeRules: [
            {priority: 1, matchRules: [{prefixMatch: /, metadataFilters: [{x: y}]}], service: b},
            {priority: 2, matchRules: [{prefixMatch: /}], service: c}]}]}";
        let (node, lost) = fitted("urlMaps", text);
        let rules = node.unwrap().get("pathMatchers").unwrap().items()[0].get("routeRules").unwrap().clone();
        assert_eq!(rules.items().len(), 1);
        assert!(lost[0].contains("; `pathMatchers[0].routeRules[0]` is left out"), "{lost:?}");
    }

    #[test]
    fn an_object_without_what_it_needs_is_left_out() {
        let (node, lost) = fitted("backendServices", "{name: a, backends: [{maxRate: 1}, {group: g}]}");
        assert_eq!(node.unwrap().get("backends").unwrap().items().len(), 1);
        assert_eq!(lost, ["x.backends[0]: a backend has no `group`; left out"]);
        assert!(fitted("backendServices", "{name: Not_A_Name}").0.is_none());
    }
}
