//! Rules between services that use the same groups, and between groups [G 1.27, 1.29].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::group::Roster;
use super::report::Report;
use super::service::{Placed, Services};
use crate::model::service::GroupKind;
use crate::wire::backend_service::BackendService;
use crate::wire::path::Path;
use crate::wire::read::Collection;

/// Checks both rules.
pub(super) fn check(of: &Collection<BackendService>, services: &Services<'_>, report: &mut Report<'_>) {
    let list = Path::Root.key(of.key);
    let mut modes = BTreeMap::new();
    for (index, placed) in sound(services) {
        let at = list.item(index);
        for (position, backend) in placed.value.backends.iter().enumerate() {
            let group = &backend.group;
            let word = backend.mode.as_str();
            let key = (group.kind.collection(), &*group.zone, &*group.name);
            let (first, other) = *modes.entry(key).or_insert((word, &placed.value.name));
            if first != word {
                let message = format!(
                    "group `{}` is in mode {word} here and in mode {first} in backend service `{other}`",
                    group.name
                );
                let field = at.key("backends");
                let field = field.item(position);
                report.error(
                    &field.key("group"),
                    "incompatible-modes",
                    message,
                    "the same mode in all services that share a group [G 1.27]",
                );
            }
        }
    }
    instances(services, report);
}

/// A VM may belong to at most one load-balanced instance group. A VM is a name in a zone.
fn instances(services: &Services<'_>, report: &mut Report<'_>) {
    let mut rosters: Vec<&Arc<Roster>> = Vec::new();
    for (_, placed) in sound(services) {
        for roster in &placed.rosters {
            if roster.group.kind == GroupKind::InstanceGroup
                && !rosters.iter().any(|other| Arc::ptr_eq(other, roster))
            {
                rosters.push(roster);
            }
        }
    }
    rosters.sort_by_key(|roster| roster.index);
    let groups = Path::Root.key("instanceGroups");
    let mut homes = BTreeMap::new();
    for roster in rosters {
        for (index, entry) in roster.entries.iter().enumerate() {
            let key = (&*roster.group.zone, &*entry.name);
            let first = *homes.entry(key).or_insert(roster);
            if !Arc::ptr_eq(first, roster) {
                let message = format!(
                    "instance `{}` is in group `{}` and in group `{}`",
                    entry.name, first.group.name, roster.group.name
                );
                let group = groups.item(roster.index);
                let list = group.key("instances");
                report.error(
                    &list.item(index).key("name"),
                    "instance-in-two-groups",
                    message,
                    "one load-balanced group for each instance; two services can share a group [G 1.29]",
                );
            }
        }
    }
}

fn sound<'s>(services: &'s Services<'_>) -> impl Iterator<Item = (usize, &'s Placed)> {
    services
        .list
        .iter()
        .enumerate()
        .filter_map(|(index, placed)| placed.as_ref().map(|placed| (index, placed)))
}
