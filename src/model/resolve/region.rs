//! Regional backend services: what `region` allows and forbids [G 2.10, 2.12].

use std::sync::Arc;

use super::place::Atlas;
use super::report::Report;
use crate::model::place::RegionId;
use crate::model::service::{Group, Scheme};
use crate::wire::backend_service::BackendService;
use crate::wire::path::Path;
use crate::wire::read::Collection;

/// Name and number of a service's region; `None` for global services, and after a report.
pub(super) type Home = Option<(Arc<str>, RegionId)>;

/// The regions of all services, by index.
pub(super) fn all(
    of: &Collection<BackendService>,
    atlas: &mut Atlas<'_>,
    report: &mut Report<'_>,
) -> Vec<Home> {
    let list = Path::Root.key(of.key);
    let home = |(index, entry): (usize, &crate::wire::read::Entry<BackendService>)| {
        let region = entry.value.as_ref()?.region.as_deref()?;
        atlas.region_url(region, &list.item(index).key("region"), report)
    };
    of.entries.iter().enumerate().map(home).collect()
}

/// What a regional service cannot have.
pub(super) fn check(
    service: &BackendService,
    scheme: Scheme,
    (region, _): &(Arc<str>, RegionId),
    (at, report): (&Path<'_>, &mut Report<'_>),
) {
    if scheme == Scheme::External {
        let message = format!("service `{}` of scheme EXTERNAL is in region {region}", service.name);
        let expected = "no `region`, or scheme EXTERNAL_MANAGED: the classic balancer is global [G 0]";
        report.error(&at.key("region"), "forbidden-field", message, expected);
    } else if service.service_lb_policy.as_ref().is_some_and(|policy| !policy.is_empty()) {
        let message = format!("service `{}` in region {region} has a `serviceLbPolicy`", service.name);
        let expected = "none, or no `region`: gcloud forbids such policies for regional services [G 2.12]";
        report.error(&at.key("serviceLbPolicy"), "forbidden-field", message, expected);
    }
}

/// A regional service never leaves its region, so its groups are all there.
pub(super) fn group(
    group: &Group,
    (region, id): &(Arc<str>, RegionId),
    at: &Path<'_>,
    report: &mut Report<'_>,
) {
    // A regional group of internet endpoints has its region for a zone; a global one is in none.
    let is_elsewhere = group.endpoint_type.is_internet() && group.zone != *region;
    if group.region != *id || is_elsewhere {
        let place = if group.endpoint_type.is_internet() { "" } else { "in zone " };
        let message =
            format!("group `{}` is {place}{}, and its service is in region {region}", group.name, group.zone);
        let expected = format!("a group of {region}: a regional service never leaves its region [G 2.10]");
        report.error(&at.key("group"), "region-mismatch", message, expected);
    }
}
