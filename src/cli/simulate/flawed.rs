//! A scenario with a flaw in its form: what can be said of the rest of it all the same, so that one pass shows all.
//!
//! Entries that are well-formed are read as in a sound scenario; of the others only the names are looked at. What a
//! flawed field would have meant is not guessed at.

use serde::de::DeserializeOwned;

use super::read::{Frame, Reader};
use super::schema::{self, AUTOSCALER, DEMAND, EVENT, MEMBERS, MOST, NAME_LENGTH, SCENARIO};
use crate::wire::document::{Node, Value};
use crate::wire::path::Path;
use crate::wire::schema::{Kind, Table};
use crate::wire::walk::Walk;

impl Reader<'_> {
    /// Reads what is sound.
    pub(super) fn flawed(&mut self) {
        let root = self.root();
        let frame = Frame {
            duration: number(root, "durationSec"),
            row: number(root, "rowSec"),
            tick: if has(root, "tickMs") { number(root, "tickMs") } else { Some(super::read::TICK_MS) },
            proxies: if has(root, "proxies") { number(root, "proxies") } else { Some(1.0) },
        };
        self.rows(&frame);
        if root.get("demand").is_some_and(|node| matches!(&node.value, Value::List(list) if list.is_empty()))
        {
            self.no_demand();
        }
        let list = Path::Root.key("demand");
        for (n, node) in items(root, "demand") {
            let at = list.item(n);
            match sound::<schema::Demand>(node, &DEMAND) {
                Some(written) => drop(self.demand(&written, &frame, &at)),
                None => self.clients(node, &at),
            }
        }
        let list = Path::Root.key("members");
        for (n, node) in items(root, "members") {
            match sound::<schema::Members>(node, &MEMBERS) {
                Some(written) => drop(self.rule(&written, &list.item(n))),
                None => drop(self.target(&target(node), &list.item(n))),
            }
        }
        self.flawed_events(&frame);
    }

    /// Events and autoscalers. How many members there are at a time is known where all of them are sound.
    fn flawed_events(&mut self, frame: &Frame) {
        let root = self.root();
        let (mut moves, mut autoscalers, mut are_sound) = (Vec::new(), Vec::new(), true);
        let list = Path::Root.key("events");
        for (n, node) in items(root, "events") {
            if let Some(written) = sound::<schema::Event>(node, &EVENT) {
                let mut events = Vec::new();
                self.event(&written, frame, &list.item(n), &mut events);
                moves.extend(events.into_iter().next().map(|event| (n, event)));
            } else {
                are_sound = false;
                self.target(&target(node), &list.item(n));
            }
        }
        let list = Path::Root.key("autoscalers");
        for (n, node) in items(root, "autoscalers") {
            if let Some(written) = sound::<schema::Autoscaler>(node, &AUTOSCALER) {
                self.autoscaler(&written, &list.item(n));
                autoscalers.push(written);
                continue;
            }
            are_sound = false;
            if let Some(group) = name(node, "group") {
                self.scaled_group(group, &list.item(n));
            }
        }
        if are_sound {
            self.moves(moves, &autoscalers);
        }
    }

    /// Whose demand it is.
    fn clients(&mut self, node: &Node, at: &Path<'_>) {
        if let Some(service) = name(node, "service") {
            self.service(service, &at.key("service"));
        }
        if let Some(region) = name(node, "region") {
            self.client_region(region, &at.key("region"));
        }
    }
}

/// The entries of a list; of one that is too long, as many as may be.
fn items<'a>(root: &'a Node, key: &str) -> impl Iterator<Item = (usize, &'a Node)> {
    root.get(key).map_or(&[][..], Node::items).iter().take(MOST).enumerate()
}

/// An entry that is well-formed by itself.
fn sound<T: DeserializeOwned>(node: &Node, table: &Table) -> Option<T> {
    let json = Walk::default().object(node, table, &Path::Root).ok()?;
    serde_json::from_value(json).ok()
}

/// The names that stand in an entry.
fn target(node: &Node) -> schema::Target {
    let owned = |key| name(node, key).map(str::to_owned);
    schema::Target {
        service: owned("service"),
        region: owned("region"),
        group: owned("group"),
        member: owned("member"),
    }
}

/// A text that can be a name.
fn name<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    let Value::Scalar(scalar) = &node.get(key)?.value else { return None };
    let is_other = scalar.is_plain && (scalar.flag().is_some() || scalar.number().is_some());
    (!is_other && scalar.text.chars().count() <= NAME_LENGTH).then_some(scalar.text.as_str())
}

/// Whether something stands there.
fn has(root: &Node, key: &str) -> bool {
    root.get(key).is_some_and(|node| !node.is_null())
}

/// A number of the scenario that is within its bounds.
#[allow(clippy::cast_precision_loss)]
fn number(root: &Node, key: &str) -> Option<f64> {
    let Value::Scalar(scalar) = &root.get(key)?.value else { return None };
    let value = scalar.number()?;
    let is_within = match SCENARIO.find(key)?.kind {
        Kind::Number(least, most) => (least..=most).contains(&value),
        Kind::Integer(least, most) => (least as f64..=most as f64).contains(&value),
        _ => false,
    };
    is_within.then_some(value)
}
