//! Backends: groups inside a service, and the members behind the service's port.

use std::net::SocketAddr;
use std::sync::Arc;

use super::group::{Groups, Listed, Roster, RosterEntry};
use super::region;
use super::report::Report;
use super::target;
use crate::model::place::RegionId;
use crate::model::service::{Backend, EndpointType, Group, GroupKind, Member, Protocol, Scheme};
use crate::model::target::{Mode, Preference, Scaler};
use crate::wire::backend as wire;
use crate::wire::backend_service::BackendService;
use crate::wire::loose::Loose;
use crate::wire::path::Path;

/// What backends need to know of their service.
pub(super) struct About<'a> {
    pub(super) scheme: Scheme,
    pub(super) protocol: Protocol,
    pub(super) port_name: &'a str,
    pub(super) groups: &'a Groups,
    /// The region of a regional service.
    pub(super) home: Option<&'a (Arc<str>, RegionId)>,
}

/// A backend as far as it can be read.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    /// The fields that are sound.
    pub(super) fields: &'a wire::Backend,
    /// Fields that stand there and cannot be used.
    flawed: &'a [&'static str],
    /// Fields that misspelt keys are probably meant to be.
    meant: &'a [&'static str],
}

impl<'a> Written<'a> {
    pub(super) const fn sound(fields: &'a wire::Backend) -> Self {
        Self { fields, flawed: &[], meant: &[] }
    }

    pub(super) fn loose(fields: &'a wire::Backend, loose: &'a Loose) -> Self {
        Self { fields, flawed: loose.flawed(), meant: loose.meant() }
    }

    pub(super) const fn is_sound(self) -> bool {
        self.flawed.is_empty() && self.meant.is_empty()
    }

    /// Whether a field stands there, sound or not.
    pub(super) fn has(self, field: &str, is_sound: bool) -> bool {
        is_sound || self.flawed.contains(&field)
    }

    /// Whether something is said of a field that cannot be used.
    pub(super) fn is_unsure(self, field: &str) -> bool {
        self.flawed.contains(&field) || self.meant.contains(&field)
    }

    /// Whether one of the targets is probably meant by a misspelt key.
    pub(super) fn means_target(self) -> bool {
        target::targets(self.fields).iter().any(|(field, ..)| self.meant.contains(field))
    }
}

/// The backends with their groups; no backends after a report, but all groups that were found.
pub(super) fn backends(
    service: &BackendService,
    about: &About<'_>,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> (Option<Vec<Backend>>, Vec<Arc<Roster>>) {
    let wires = service.backends.as_deref().unwrap_or_default();
    let list = at.key("backends");
    let mut rosters: Vec<Arc<Roster>> = Vec::new();
    let mut listed = Vec::new();
    let mut out = Some(Vec::new());
    for (index, wire) in wires.iter().enumerate() {
        let at = list.item(index);
        let group = about.groups.follow(&wire.group, &at.key("group"), report);
        once(group, &mut listed, &at, report);
        let backend = backend(Written::sound(wire), group, about, &at, report);
        if let Some(roster) = group.and_then(|group| group.value.as_ref()) {
            agrees(roster, &rosters, &at, report);
            if let Some(home) = about.home {
                region::group(&roster.group, home, &at, report);
            }
            rosters.push(Arc::clone(roster));
        }
        out = out.zip(backend).map(|(mut out, backend)| {
            out.push(backend);
            out
        });
    }
    if let [only] = wires
        && only.capacity_scaler == Some(0.0)
        && !rosters.iter().any(|roster| roster.group.endpoint_type.is_internet())
    {
        let message = format!("service `{}` has one backend, and its `capacityScaler` is 0", service.name);
        report.error(
            &list.item(0).key("capacityScaler"),
            "drained-single-backend",
            message,
            "0.1 to 1: a lone backend cannot be drained [G 1.2]",
        );
    }
    (out, rosters)
}

/// No group twice, whatever else is wrong with it [G 1.31].
pub(super) fn once<'g>(
    group: Option<&'g Listed>,
    before: &mut Vec<&'g Listed>,
    at: &Path<'_>,
    report: &mut Report<'_>,
) {
    let Some(group) = group else { return };
    if before.iter().any(|other| std::ptr::eq(*other, group)) {
        let message = format!("group `{}` is a backend of this service already", group.name);
        report.error(
            &at.key("group"),
            "duplicate-backend",
            message,
            "each group once; one backend has one target [G 1.31]",
        );
    }
    before.push(group);
}

/// No mixture of kinds [G 1.31].
pub(super) fn agrees(roster: &Roster, before: &[Arc<Roster>], at: &Path<'_>, report: &mut Report<'_>) {
    let group = &roster.group;
    if let Some(other) = before.iter().find(|other| class(&other.group) != class(group)) {
        let shown = if other.group.kind == group.kind {
            |group: &Group| group.endpoint_type.as_str()
        } else {
            |group: &Group| group.kind.collection()
        };
        let message = format!(
            "`{}` is one of {}, and `{}`, a backend of the same service, one of {}",
            group.name,
            shown(group),
            other.group.name,
            shown(&other.group)
        );
        report.error(
            &at.key("group"),
            "mixed-groups",
            message,
            "instance groups alone, or network endpoint groups alone, those on the internet apart from others [G 1.31]",
        );
    }
}

/// Groups of one class may stand in one service: instance groups, zonal and hybrid endpoints, each type on the internet.
fn class(group: &Group) -> (GroupKind, Option<EndpointType>) {
    (group.kind, Some(group.endpoint_type).filter(|of| of.is_internet()))
}

/// Checks what can be checked, even where the group is unknown or has problems of its own.
pub(super) fn backend(
    written: Written<'_>,
    group: Option<&Listed>,
    about: &About<'_>,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<Backend> {
    if group.is_some_and(|group| group.endpoint_type.is_none()) {
        // What may stand here goes by a type that could not be read.
        return None;
    }
    if let Some(group) = group.filter(|group| group.is_internet()) {
        return unlimited(written, group, about, (at, report));
    }
    let wire = written.fields;
    let scaler = target::scaler(wire.capacity_scaler.unwrap_or(1.0), at, report);
    let group = group?;
    let of =
        target::Of { group: &group.name, kind: group.kind, scheme: about.scheme, protocol: about.protocol };
    let mode = target::mode(written, of, at, report);
    let preference = match wire.preference.as_deref() {
        Some("PREFERRED") => Preference::Preferred,
        _ => Preference::Default,
    };
    if preference == Preference::Preferred && about.scheme == Scheme::External {
        let message = format!("backend `{}` is preferred in a service of scheme EXTERNAL", group.name);
        report.error(
            &at.key("preference"),
            "forbidden-field",
            message,
            "DEFAULT, or scheme EXTERNAL_MANAGED: the classic balancer knows no preference [G 1.33]",
        );
    }
    let roster = group.value.as_ref()?;
    let members = members(roster, about.port_name, at, report);
    Some(Backend {
        group: Arc::clone(&roster.group),
        mode: mode?,
        scaler: scaler?,
        preference,
        members: members?,
    })
}

/// A group of internet endpoints: without mode, target, scaler and preference [G 1.5, 1.33].
fn unlimited(
    written: Written<'_>,
    group: &Listed,
    about: &About<'_>,
    (at, report): (&Path<'_>, &mut Report<'_>),
) -> Option<Backend> {
    let (wire, before) = (written.fields, report.errors());
    let fields = [
        ("balancingMode", wire.balancing_mode.is_some()),
        ("capacityScaler", wire.capacity_scaler.is_some()),
        ("trafficDuration", wire.traffic_duration.is_some()),
        ("customMetrics", wire.custom_metrics.as_ref().is_some_and(|metrics| !metrics.is_empty())),
        ("preference", wire.preference.as_deref() == Some("PREFERRED")),
    ];
    let fields = fields.into_iter().filter(|(field, is_sound)| written.has(field, *is_sound));
    let targets = target::given(written).map(|(field, _)| field);
    for field in fields.map(|(field, _)| field).chain(targets) {
        let message = format!("group `{}` holds internet endpoints, and has `{field}`", group.name);
        let expected = if field == "preference" {
            "DEFAULT, or none: internet endpoints cannot be preferred [G 1.33]"
        } else {
            "none: internet endpoints have no mode, no target and no scaler [G 1.5]"
        };
        report.error(&at.key(field), "forbidden-field", message, expected);
    }
    let roster = group.value.as_ref().filter(|_| report.errors() == before && written.is_sound())?;
    Some(Backend {
        group: Arc::clone(&roster.group),
        mode: Mode::Unlimited,
        scaler: Scaler::FULL,
        preference: Preference::Default,
        members: members(roster, about.port_name, at, report)?,
    })
}

/// Endpoints have their port; instances those behind the service's named port, their own first.
fn members(roster: &Roster, port_name: &str, at: &Path<'_>, report: &mut Report<'_>) -> Option<Vec<Member>> {
    let mut out: Vec<Member> = Vec::with_capacity(roster.entries.len());
    let mut seen = std::collections::BTreeSet::new();
    for entry in &roster.entries {
        let ports = ports(roster, entry, port_name);
        if ports.is_empty() {
            no_port(roster, entry, port_name, (at, report));
            return None;
        }
        for port in ports {
            let address = SocketAddr::new(entry.ip, *port);
            if !seen.insert((&entry.host, address)) {
                let message = format!(
                    "instance `{}` of group `{}` is at {address}, and so is another",
                    entry.name, roster.group.name
                );
                report.error(
                    &at.key("group"),
                    "duplicate-member",
                    message,
                    "an address and port of its own for each member, by `ipAddress` or `ports`",
                );
                return None;
            }
            // Several members of one instance are told apart by their ports [G 1.34].
            let name = match ports {
                [_] => Arc::clone(&entry.name),
                _ => format!("{}:{port}", entry.name).into(),
            };
            out.push(Member { name, address, host: entry.host.clone() });
        }
    }
    Some(out)
}

/// The numbers at which `entry` serves; none if it has no such port.
fn ports<'r>(roster: &'r Roster, entry: &'r RosterEntry, port_name: &str) -> &'r [u16] {
    match roster.group.kind {
        GroupKind::NetworkEndpointGroup => entry.port.as_slice(),
        GroupKind::InstanceGroup => match entry.ports.get(port_name) {
            Some(own) => std::slice::from_ref(own),
            None => roster.named_ports.get(port_name).map_or(&[], Vec::as_slice),
        },
    }
}

fn no_port(
    roster: &Roster,
    entry: &RosterEntry,
    port_name: &str,
    (at, report): (&Path<'_>, &mut Report<'_>),
) {
    let known: Vec<&str> = roster.named_ports.keys().map(String::as_str).collect();
    let message = format!(
        "the service speaks to port `{port_name}`, which instance `{}` of group `{}` does not have",
        entry.name, roster.group.name
    );
    let known = if known.is_empty() {
        String::new()
    } else {
        format!(", or `portName` {} on the service", known.join(" or "))
    };
    report.error(
        &at.key("group"),
        "missing-named-port",
        message,
        format!("`namedPorts: [{{name: {port_name}, port: …}}]` on the group{known}"),
    );
}
