//! `instances`: addresses that groups find by name and zone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::group::address;
use super::names::dangling;
use super::place::Atlas;
use super::report::Report;
use crate::wire::flaw::quote;
use crate::wire::instance::Instance;
use crate::wire::path::Path;
use crate::wire::read::Collection;

/// All instances by zone and name; `None` where a problem was reported.
pub(super) struct Machines<'a> {
    by_name: BTreeMap<(&'a str, &'a str), Option<IpAddr>>,
    hides_names: bool,
}

/// Resolves all instances, and reports doubles.
pub(super) fn all<'a>(
    of: &'a Collection<Instance>,
    atlas: &mut Atlas<'_>,
    report: &mut Report<'_>,
) -> Machines<'a> {
    let list = Path::Root.key(of.key);
    let mut machines = Machines { by_name: BTreeMap::new(), hides_names: of.hides_names };
    for (index, entry) in of.entries.iter().enumerate() {
        let at = list.item(index);
        let ip = entry.value.as_ref().and_then(|instance| {
            atlas.zone(&instance.zone, &at.key("zone"), report);
            one(instance, &at, report)
        });
        let (Some(name), Some(zone)) = (entry.name.as_deref(), entry.zone.as_deref()) else {
            // It may be the one that a group names.
            machines.hides_names = true;
            continue;
        };
        if machines.by_name.insert((zone, name), ip).is_some() {
            let message = format!("there is an instance {} in zone {} already", quote(name), quote(zone));
            let expected = "a name of its own for each instance of a zone";
            report.error(&at.key("name"), "duplicate-name", message, expected);
        }
    }
    machines
}

fn one(instance: &Instance, at: &Path<'_>, report: &mut Report<'_>) -> Option<IpAddr> {
    let list = at.key("networkInterfaces");
    let Some(first) = instance.network_interfaces.first() else {
        let message = format!("instance `{}` has no network interface", instance.name);
        report.error(&list, "missing-field", message, "`networkInterfaces: [{networkIP: ADDRESS}]`");
        return None;
    };
    address(&first.network_ip, &list.item(0).key("networkIP"), report)
}

impl Machines<'_> {
    /// The address of a group's member that has none of its own. `None` after a report.
    pub(super) fn address(
        &self,
        name: &str,
        zone: Option<&str>,
        at: &Path<'_>,
        report: &mut Report<'_>,
    ) -> Option<IpAddr> {
        let zone = zone?;
        match self.by_name.get(&(zone, name)) {
            Some(ip) => *ip,
            None if self.hides_names => None,
            None => {
                let known = self.by_name.keys().filter(|(own, _)| *own == zone).map(|(_, name)| *name);
                if known.clone().next().is_some() {
                    dangling(name, "instance", known, (&at.key("name"), report));
                } else {
                    let message = format!("instance {} has no `ipAddress`", quote(name));
                    let expected =
                        format!("`ipAddress: …`, or an entry of that name and of zone {zone} in `instances`");
                    report.error(at, "missing-field", message, expected);
                }
                None
            }
        }
    }
}
