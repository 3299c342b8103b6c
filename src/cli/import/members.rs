//! Members. gcloud prints groups, the members of groups and the addresses of machines apart; here a group lists its members.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::clean;
use super::input::Input;
use super::kind::What;
use super::node::{self, last, word};
use super::said::{Said, shown};
use super::stock::{Line, Resource, Stock};
use crate::model::place::region_of_zone;
use crate::wire::document::Node;
use crate::wire::group::NETWORK_ENDPOINT;
use crate::wire::schema::is_name;

const MACHINES: &str = "instanceGroups";
const ENDPOINTS: &str = "networkEndpointGroups";

/// A machine in a group.
#[derive(Debug)]
struct Member {
    name: String,
    zone: Option<String>,
    /// As a health report has it.
    address: Option<String>,
}

/// What the lines say of each group, by its index among the resources.
#[derive(Debug, Default)]
struct Rosters {
    machines: BTreeMap<usize, Vec<Member>>,
    endpoints: BTreeMap<usize, Vec<Node>>,
    /// Where a machine stands in its group's list: by group, zone and name.
    seen_machines: BTreeMap<(usize, Option<String>, String), usize>,
    /// Group, address, host and port.
    seen_endpoints: BTreeSet<(usize, [Option<String>; 3])>,
    /// Groups that the lines of an input are taken to be about, by input and zone.
    guesses: BTreeMap<(usize, Option<String>), Option<usize>>,
    /// Lines of an input whose group nobody knows, by input and collection.
    homeless: BTreeMap<(usize, &'static str), usize>,
}

/// The groups among the resources: collection, name or place, and indices.
#[derive(Debug, Default)]
struct Groups {
    /// Under each place that it may be said to be in, and under none.
    by_name: BTreeMap<(&'static str, String, Option<String>), Vec<usize>>,
    /// By zone, or by region for those in several zones; endpoint groups under no place as well.
    by_place: BTreeMap<(&'static str, Option<String>), Vec<usize>>,
}

/// Gives every group the members that the lines name, and says which are missing.
pub(super) fn attach(stock: &mut Stock, inputs: &[Input]) {
    let mut rosters = Rosters::default();
    let groups = Groups::new(&stock.resources);
    for line in std::mem::take(&mut stock.lines) {
        match line.what {
            What::Health => rosters.health(&line.node, &groups, stock),
            _ => rosters.line(&line, inputs, &groups, stock),
        }
    }
    for ((input, collection), count) in &rosters.homeless {
        let name = inputs.get(*input).map_or("", |input| input.name.as_str());
        let (what, flag) = if *collection == MACHINES {
            ("instances", "--instances-of")
        } else {
            ("endpoints", "--endpoints-of")
        };
        let why = format!(
            "lists {what} ({count}) of a group that it does not name; `{flag} GROUP={name}` says which"
        );
        stock.said.lose(name, &why);
    }
    fill(stock, rosters);
}

impl Groups {
    fn new(resources: &[Resource]) -> Self {
        let mut out = Self::default();
        for (index, group) in resources.iter().enumerate() {
            let collection = group.collection;
            if !matches!(collection, MACHINES | ENDPOINTS) {
                continue;
            }
            let own = [last(&group.node, "zone"), last(&group.node, "region"), group.region.as_deref()];
            let own: BTreeSet<_> = own.into_iter().flatten().map(Some).chain([None]).collect();
            for place in own {
                let key = (collection, group.name().to_owned(), place.map(str::to_owned));
                out.by_name.entry(key).or_default().push(index);
            }
            let place = group.region.clone().or_else(|| last(&group.node, "zone").map(str::to_owned));
            out.by_place.entry((collection, place)).or_default().push(index);
            if collection == ENDPOINTS && last(&group.node, "zone").is_some() {
                out.by_place.entry((collection, None)).or_default().push(index);
            }
        }
        out
    }

    /// The group of that name, in that zone or region if one is said. `None` when there are several.
    fn find(&self, collection: &str, place: Option<&str>, name: &str) -> Option<usize> {
        let collection = [MACHINES, ENDPOINTS].into_iter().find(|known| *known == collection)?;
        let key = (collection, name.to_owned(), place.map(str::to_owned));
        match self.by_name.get(&key)?.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// The only group in that place.
    fn only(&self, collection: &'static str, zone: Option<&str>) -> Option<usize> {
        let region = zone.and_then(region_of_zone);
        let places = [zone.map(str::to_owned), region.map(str::to_owned)];
        let places = if zone.is_some() { &places[..] } else { &places[..1] };
        let mut all =
            places.iter().flat_map(|place| self.by_place.get(&(collection, place.clone()))).flatten();
        match (all.next(), all.next()) {
            (Some(one), None) => Some(*one),
            _ => None,
        }
    }
}

impl Rosters {
    /// A part of what get-health prints: a group, and its members with their addresses.
    fn health(&mut self, node: &Node, groups: &Groups, stock: &mut Stock) {
        let Some(url) = word(node, "backend") else { return };
        let collection = url.rsplit('/').nth(1).unwrap_or_default();
        let name = last(node, "backend").unwrap_or_default();
        let Some(group) = groups.find(collection, scope(url), name) else {
            let at = format!("{}[{}]", shown(collection), shown(name));
            stock.said.lose(&at, "its health is told, and the group itself is not among the inputs");
            return;
        };
        let label = stock.resources.get(group).map(Resource::label).unwrap_or_default();
        let statuses = node.get("status").and_then(|status| status.get("healthStatus"));
        for status in statuses.map(Node::items).unwrap_or_default() {
            if collection == ENDPOINTS {
                let mut endpoint = status.clone();
                node::keep(&mut endpoint, &["instance", "ipAddress", "port"]);
                self.endpoint(group, endpoint, &label, &mut stock.said);
            } else {
                self.machine(group, status, &label, &mut stock.said);
            }
        }
    }

    /// A line of list-instances or list-network-endpoints.
    fn line(&mut self, line: &Line, inputs: &[Input], groups: &Groups, stock: &mut Stock) {
        let collection = if line.what == What::Instance { MACHINES } else { ENDPOINTS };
        let Some(input) = inputs.get(line.input) else { return };
        let home = match &input.members_of {
            Some(group) => named(group, collection, groups, stock),
            None => {
                let zone = word(&line.node, "instance").and_then(scope).filter(|_| collection == MACHINES);
                let key = (line.input, zone.map(str::to_owned));
                let known = self.guesses.get(&key).copied();
                let home = known.unwrap_or_else(|| guessed(input, collection, zone, (groups, stock)));
                self.guesses.insert(key, home);
                home
            }
        };
        let Some(group) = home else {
            *self.homeless.entry((line.input, collection)).or_default() += 1;
            return;
        };
        let label = stock.resources.get(group).map(Resource::label).unwrap_or_default();
        if collection == MACHINES {
            self.machine(group, &line.node, &label, &mut stock.said);
        } else if let Some(endpoint) = line.node.get("networkEndpoint") {
            self.endpoint(group, endpoint.clone(), &label, &mut stock.said);
        }
    }

    fn machine(&mut self, group: usize, node: &Node, label: &str, said: &mut Said) {
        let name = last(node, "instance").unwrap_or_default();
        if !is_name(name) {
            said.lose(&format!("{label}.instances"), &format!("`{}` is no name", shown(name)));
            return;
        }
        let zone = word(node, "instance").and_then(scope).map(str::to_owned);
        let address = word(node, "ipAddress").map(str::to_owned);
        let members = self.machines.entry(group).or_default();
        let at = *self.seen_machines.entry((group, zone.clone(), name.to_owned())).or_insert(members.len());
        match members.get_mut(at) {
            Some(member) => member.address = member.address.take().or(address),
            None => members.push(Member { name: name.to_owned(), zone, address }),
        }
    }

    fn endpoint(&mut self, group: usize, mut node: Node, label: &str, said: &mut Said) {
        if !clean::fit(&mut node, &NETWORK_ENDPOINT, &format!("{label}.networkEndpoints"), said) {
            return;
        }
        let identity = ["ipAddress", "fqdn", "port"].map(|key| word(&node, key).map(str::to_owned));
        if self.seen_endpoints.insert((group, identity)) {
            self.endpoints.entry(group).or_default().push(node);
        }
    }
}

/// The zone or the region in a URL.
fn scope(url: &str) -> Option<&str> {
    let mut segments = url.split('/').skip_while(|segment| !matches!(*segment, "zones" | "regions")).skip(1);
    segments.next()
}

/// The group that the command line names for an input, `NAME` or `ZONE/NAME`.
fn named(group: &str, collection: &str, groups: &Groups, stock: &mut Stock) -> Option<usize> {
    let (zone, name) = match group.rsplit_once('/') {
        Some((zone, name)) => (Some(zone.rsplit('/').next().unwrap_or(zone)), name),
        None => (None, group),
    };
    let found = groups.find(collection, zone, name);
    if found.is_none() {
        let why = format!("{}: there is none of that name in `{collection}`, or several", shown(group));
        if !stock.refused.contains(&why) {
            stock.refused.push(why);
        }
    }
    found
}

/// The group that has the input's name, or is the only one that it can be.
fn guessed(
    input: &Input,
    collection: &'static str,
    zone: Option<&str>,
    (groups, stock): (&Groups, &mut Stock),
) -> Option<usize> {
    let stem = Path::new(&input.name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let (found, because) = match groups.find(collection, None, stem) {
        Some(found) => (found, "it has the name of that file".to_owned()),
        None => {
            let place = zone.map(|zone| format!(" in {}", shown(zone))).unwrap_or_default();
            (groups.only(collection, zone)?, format!("it is the only such group{place}"))
        }
    };
    let label = stock.resources.get(found).map(Resource::label)?;
    stock.said.note(&label, &format!("its members are those of {}, since {because}", input.name));
    Some(found)
}

/// Writes the members into their groups.
fn fill(stock: &mut Stock, mut rosters: Rosters) {
    let addresses: BTreeMap<(String, String), String> = stock.resources.iter().filter_map(address).collect();
    let (resources, said) = (&mut stock.resources, &mut stock.said);
    for (index, group) in resources.iter_mut().enumerate() {
        match group.collection {
            MACHINES => {
                machines(group, rosters.machines.remove(&index).unwrap_or_default(), &addresses, said);
            }
            ENDPOINTS => endpoints(group, rosters.endpoints.remove(&index).unwrap_or_default(), said),
            _ => {}
        }
    }
}

fn machines(
    group: &mut Resource,
    members: Vec<Member>,
    addresses: &BTreeMap<(String, String), String>,
    said: &mut Said,
) {
    let label = group.label();
    let first = members.iter().find_map(|member| member.zone.as_deref());
    if let Some(zone) = first.filter(|_| group.region.is_some()) {
        node::set(&mut group.node, "zone", node::text(zone));
    }
    let zone = last(&group.node, "zone").unwrap_or_default().to_owned();
    let mut list = Vec::new();
    for member in members {
        let entry = machine(&member, &zone, addresses);
        if entry.is_err() {
            let at = format!("{label}.instances[{}]", member.name);
            said.miss(&at, "its address, which `instances describe` shows");
            group.comments.push(format!("To be filled in: ipAddress of {}", member.name));
        }
        list.push(entry.unwrap_or_else(|node| node));
    }
    if !list.is_empty() {
        node::set(&mut group.node, "instances", node::list(list));
    } else if group.node.get("instances").is_none() {
        said.miss(&label, "its members, which `instance-groups list-instances` shows");
        group.comments.push("To be filled in:".to_owned());
        group.comments.push("instances: [{name: …, ipAddress: …}]".to_owned());
    }
}

fn endpoints(group: &mut Resource, list: Vec<Node>, said: &mut Said) {
    if !list.is_empty() {
        node::set(&mut group.node, "networkEndpoints", node::list(list));
    } else if group.node.get("networkEndpoints").is_none() {
        let why = "its endpoints, which `network-endpoint-groups list-network-endpoints` shows";
        said.miss(&group.label(), why);
        group.comments.push("To be filled in:".to_owned());
        group.comments.push("networkEndpoints: [{ipAddress: …, port: …}]".to_owned());
    }
}

/// Zone and name of a machine, and its address.
fn address(resource: &Resource) -> Option<((String, String), String)> {
    let machine = Some(&resource.node).filter(|_| resource.collection == "instances")?;
    let first = machine.get("networkInterfaces")?.items().first()?;
    let zone = last(machine, "zone")?.to_owned();
    Some(((zone, resource.name().to_owned()), word(first, "networkIP")?.to_owned()))
}

/// An entry of `instances`; as an error, one that still needs its address.
fn machine(member: &Member, zone: &str, known: &BTreeMap<(String, String), String>) -> Result<Node, Node> {
    let mut entry = node::object(vec![node::entry("name", node::text(&member.name))]);
    let own = member.zone.as_deref().unwrap_or(zone);
    let found = known.get(&(own.to_owned(), member.name.clone()));
    // A machine of the same zone is found by its name.
    match (found, &member.address) {
        (Some(_), _) if own == zone => {}
        (Some(address), _) | (None, Some(address)) => node::set(&mut entry, "ipAddress", node::text(address)),
        (None, None) => return Err(entry),
    }
    Ok(entry)
}
