//! Regions and zones of the document, and where clients come from.

use std::net::IpAddr;
use std::sync::Arc;

use super::group::Groups;
use super::report::Report;
use crate::model::config::Cidr;
use crate::model::place::{Places, Region, RegionId, google_region, google_region_names, region_of_zone};
use crate::wire::flaw::{nearest, quote};
use crate::wire::path::Path;
use crate::wire::proxy::Proxy;
use crate::wire::read::Section;

pub(super) const PROXY: Path<'static> = Path::Key(&Path::Root, "proxy");

/// Gives regions their numbers as they come up.
pub(super) struct Atlas<'a> {
    regions: Vec<Region>,
    own: &'a [crate::wire::proxy::Region],
    /// `proxy` has flaws: it may hold regions that we cannot read, so none is called unknown.
    hides_regions: bool,
}

impl<'a> Atlas<'a> {
    pub(super) fn new(proxy: &'a Section<Proxy>, report: &mut Report<'_>) -> Self {
        let own = match proxy {
            Section::Sound(proxy) => proxy.regions.as_deref().unwrap_or_default(),
            _ => &[],
        };
        let list = PROXY.key("regions");
        for (index, region) in own.iter().enumerate() {
            if own.iter().take(index).any(|other| other.name == region.name) {
                let message = format!("there is a region {} already", quote(&region.name));
                report.error(&list.item(index).key("name"), "duplicate-name", message, "each region once");
            }
        }
        Self { regions: Vec::new(), own, hides_regions: matches!(proxy, Section::Broken) }
    }

    /// The region of that name; `None` after a report.
    pub(super) fn region(&mut self, name: &str, at: &Path<'_>, report: &mut Report<'_>) -> Option<RegionId> {
        if let Some(index) = self.regions.iter().position(|region| &*region.name == name) {
            return u16::try_from(index).ok().map(RegionId);
        }
        let own = self
            .own
            .iter()
            .find(|region| region.name == name)
            .map(|region| (region.latitude, region.longitude));
        let Some((latitude, longitude)) = own.or_else(|| google_region(name)) else {
            if !self.hides_regions {
                let mut known: Vec<&str> = google_region_names().collect();
                known.extend(self.own.iter().map(|region| region.name.as_str()));
                let expected = match nearest(name, known) {
                    Some(near) => format!("did you mean `{near}`? Places of your own stand in proxy.regions"),
                    None => {
                        "a region of Google's, or one of proxy.regions with its latitude and longitude".into()
                    }
                };
                report.error(at, "unknown-region", format!("there is no region {}", quote(name)), expected);
            }
            return None;
        };
        let id = u16::try_from(self.regions.len()).ok().map(RegionId)?;
        self.regions.push(Region { name: name.into(), latitude, longitude });
        Some(id)
    }

    /// The zone, without what stands before its name in a URL, and its region; `None` after a report.
    pub(super) fn zone(
        &mut self,
        text: &str,
        at: &Path<'_>,
        report: &mut Report<'_>,
    ) -> Option<(Arc<str>, RegionId)> {
        let zone = match text.rsplit_once('/') {
            None => text,
            Some((scope, zone)) if scope == "zones" || scope.ends_with("/zones") => zone,
            Some(_) => "",
        };
        let Some(region) = region_of_zone(zone) else {
            let message = format!("{} is no zone", quote(text));
            report.error(
                at,
                "bad-zone",
                message,
                "a region, a hyphen and a letter, such as us-central1-a or home-a",
            );
            return None;
        };
        Some((zone.into(), self.region(region, at, report)?))
    }

    /// The same for a region that may be a URL.
    pub(super) fn region_url(
        &mut self,
        text: &str,
        at: &Path<'_>,
        report: &mut Report<'_>,
    ) -> Option<(Arc<str>, RegionId)> {
        let name = match text.rsplit_once('/') {
            None => text,
            Some((scope, name)) if scope == "regions" || scope.ends_with("/regions") => name,
            Some(_) => {
                let message = format!("{} is no region", quote(text));
                report.error(
                    at,
                    "bad-region",
                    message,
                    "a name such as us-central1, or a URL that ends in regions/NAME",
                );
                return None;
            }
        };
        Some((name.into(), self.region(name, at, report)?))
    }

    /// All regions that came up, where the proxy stands, and where clients come from.
    pub(super) fn places(
        self,
        (zone, home): (Arc<str>, RegionId),
        mut client_locations: Vec<(Cidr, RegionId)>,
    ) -> Places {
        client_locations.sort_by_key(|(cidr, _)| std::cmp::Reverse(cidr.prefix));
        let mut origins = vec![home];
        for (_, region) in &client_locations {
            if !origins.contains(region) {
                origins.push(*region);
            }
        }
        Places { regions: self.regions, client_locations, origins, zone }
    }
}

/// Where the proxy stands: `proxy.zone`, else the zone of the first group (**ours**). `None` after a report.
pub(super) fn home(
    proxy: &Section<Proxy>,
    groups: &Groups,
    atlas: &mut Atlas<'_>,
    report: &mut Report<'_>,
) -> Option<(Arc<str>, RegionId)> {
    if let Section::Sound(Proxy { zone: Some(zone), .. }) = proxy {
        return atlas.zone(zone, &PROXY.key("zone"), report);
    }
    match groups.first() {
        Ok(first) => first.map(|roster| (Arc::clone(&roster.group.zone), roster.group.region)),
        Err(()) if matches!(proxy, Section::Broken) => None,
        Err(()) => {
            let message = "nothing says where this proxy stands";
            report.error(
                &PROXY.key("zone"),
                "missing-field",
                message,
                "proxy.zone, or a group, whose zone is then taken",
            );
            None
        }
    }
}

/// `clientLocations`, each range once.
pub(super) fn client_locations(
    proxy: &Section<Proxy>,
    atlas: &mut Atlas<'_>,
    report: &mut Report<'_>,
) -> Vec<(Cidr, RegionId)> {
    let Section::Sound(Proxy { client_locations: Some(locations), .. }) = proxy else {
        return Vec::new();
    };
    let list = PROXY.key("clientLocations");
    let mut out: Vec<(Cidr, RegionId)> = Vec::new();
    for (index, location) in locations.iter().enumerate() {
        let at = list.item(index);
        let range = cidr(&location.cidr, &at.key("cidr"), report);
        let region = atlas.region(&location.region, &at.key("region"), report);
        let (Some(range), Some(region)) = (range, region) else { continue };
        if out.iter().any(|(other, _)| *other == range) {
            let message = format!("{} stands here twice", quote(&location.cidr));
            report.error(
                &at.key("cidr"),
                "duplicate-name",
                message,
                "each range once: a client comes from one region",
            );
        }
        out.push((range, region));
    }
    out
}

/// A range `10.1.0.0/16` or a lone address; `None` after a report.
pub(super) fn cidr(text: &str, at: &Path<'_>, report: &mut Report<'_>) -> Option<Cidr> {
    let (address, prefix) =
        text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let Ok(network) = address.parse::<IpAddr>() else {
        report.error(
            at,
            "bad-address",
            format!("{} is no range of addresses", quote(text)),
            "such as 10.1.0.0/16, 2001:db8::/32 or 10.1.2.3",
        );
        return None;
    };
    if let IpAddr::V6(ip) = network
        && ip.to_ipv4_mapped().is_some()
    {
        let message = format!("{} is an IPv4 address in IPv6's clothes", quote(text));
        report.error(
            at,
            "bad-address",
            message,
            "the IPv4 address; clients that come mapped into IPv6 count as IPv4",
        );
        return None;
    }
    let longest = if network.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        Some(digits) => match digits.parse::<u8>() {
            Ok(prefix) if prefix <= longest && !digits.starts_with('+') => prefix,
            _ => {
                let message = format!("{} is no prefix length", quote(digits));
                report.error(at, "bad-address", message, format!("0 to {longest} after the slash"));
                return None;
            }
        },
    };
    let masked = masked(network, prefix);
    if masked != network {
        let message = format!("{} has bits set beyond its prefix", quote(text));
        report.error(at, "bad-address", message, format!("{masked}/{prefix}, or {network} alone"));
        return None;
    }
    Some(Cidr { network, prefix })
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::from((u32::from(ip) & mask).to_be_bytes())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::from((u128::from(ip) & mask).to_be_bytes())
        }
    }
}
