//! All that the inputs hold: resources, each once, and lines that name members of groups.

use std::collections::BTreeMap;

use super::clean;
use super::input::Input;
use super::kind::{self, What};
use super::node::{self, last, word};
use super::prepare;
use super::said::{Said, shown};
use crate::wire::document::Node;
use crate::wire::read::table;

/// A resource on its way into the configuration.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) collection: &'static str,
    pub(super) node: Node,
    /// The input that it came from.
    pub(super) from: String,
    /// What the output says behind it: what is still to be filled in.
    pub(super) comments: Vec<String>,
    /// The region of an instance group that Google has in several zones.
    pub(super) region: Option<String>,
}

/// A line about a member, before anyone knows whose.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) what: What,
    pub(super) node: Node,
    /// Index of its input.
    pub(super) input: usize,
}

/// What the inputs hold.
#[derive(Debug, Default)]
pub(super) struct Stock {
    pub(super) resources: Vec<Resource>,
    pub(super) lines: Vec<Line>,
    pub(super) said: Said,
    /// What makes the import impossible.
    pub(super) refused: Vec<String>,
    /// Index of a resource by collection, zone and name.
    by_name: BTreeMap<(&'static str, String, String), usize>,
}

impl Resource {
    pub(super) fn new(collection: &'static str, node: Node, from: &str) -> Self {
        Self { collection, node, from: from.to_owned(), comments: Vec::new(), region: None }
    }

    pub(super) fn name(&self) -> &str {
        last(&self.node, "name").unwrap_or_default()
    }

    /// What others see of it: its name and where it is.
    pub(super) fn named(&self) -> Self {
        let mut node = self.node.clone();
        node::keep(&mut node, &["name", "zone"]);
        Self::new(self.collection, node, "")
    }

    /// `backendServices[web]`.
    pub(super) fn label(&self) -> String {
        format!("{}[{}]", self.collection, shown(self.name()))
    }
}

impl Stock {
    /// Sorts everything that was read.
    pub(super) fn take(
        &mut self,
        objects: Vec<(usize, Node)>,
        inputs: &[Input],
        fallback: Option<&'static str>,
    ) {
        // Holders hold no holders in what Google prints; two levels are enough for pages of lists.
        let mut waiting: Vec<_> = objects.into_iter().rev().map(|(input, node)| (input, node, 0)).collect();
        while let Some((input, node, level)) = waiting.pop() {
            let from = inputs.get(input).map_or("", |input| input.name.as_str());
            match kind::of(&node, fallback) {
                What::Holder if level < 2 => {
                    let held = kind::held(node);
                    waiting.extend(held.into_iter().rev().map(|node| (input, node, level + 1)));
                }
                What::Resource(collection) => self.resource(collection, node, from),
                What::Foreign(collection, why) => {
                    let name = shown(word(&node, "name").unwrap_or("?"));
                    self.said.lose(&format!("{}[{name}]", shown(&collection)), why);
                }
                what @ (What::Instance | What::Endpoint | What::Health) => {
                    self.lines.push(Line { what, node, input });
                }
                What::Unclear(could_be) => self.unclear(&node, &could_be, from),
                What::Holder => self.refused.push(format!("{from}: a list of lists of lists stands here")),
            }
        }
    }

    fn unclear(&mut self, node: &Node, could_be: &[&str], from: &str) {
        let name = word(node, "name")
            .map_or("something without a name".to_owned(), |name| format!("`{}`", shown(name)));
        let (guess, example) = match could_be {
            [] => ("nothing that is known here".to_owned(), "backendServices"),
            [first, ..] => (format!("any of {}", could_be.join(", ")), *first),
        };
        self.refused.push(format!(
            "{from}: {name} does not say what it is, and could be {guess}; `--kind {example}` says it for all such"
        ));
    }

    fn resource(&mut self, collection: &'static str, node: Node, from: &str) {
        let mut resource = Resource::new(collection, node, from);
        let label = resource.label();
        let lost_region = prepare::lost_region(&resource);
        prepare::resource(&mut resource, &mut self.said);
        let Some(table) = table(collection) else { return };
        if !clean::fit(&mut resource.node, table, &label, &mut self.said) {
            return;
        }
        if let Some(region) = lost_region {
            self.said.note(&label, &format!("stood in region {}, and is global here", shown(&region)));
        }
        // Names are unique in a collection here, whatever the scope; those of groups and machines in a zone.
        let is_zonal = matches!(collection, "instanceGroups" | "networkEndpointGroups" | "instances");
        let zone = last(&resource.node, "zone").filter(|_| is_zonal).unwrap_or_default();
        let key = (collection, zone.to_owned(), resource.name().to_owned());
        match self.by_name.get(&key).and_then(|index| self.resources.get(*index)) {
            None => {
                self.by_name.insert(key, self.resources.len());
                self.resources.push(resource);
            }
            Some(there) if node::is_same(&there.node, &resource.node) => {}
            Some(there) => self.refused.push(format!(
                "{label} stands in {} and, with different content, in {from}: leave out the older one, or rename one \
                 (names are unique in a collection here, global and regional ones together)",
                there.from
            )),
        }
    }
}
