//! Wire → [`Config`]: follows references, fills defaults, checks every rule, and collects all problems.
//!
//! Bottom up, in the order in which resources refer to each other: places, health checks, groups, services, URL maps,
//! forwarding rules. What has a problem becomes a name without a value, so that one mistake gives one message.

mod admin;
mod affinity;
mod around;
mod backend;
mod certificate;
mod check;
mod distribution;
mod flawed;
mod front;
mod group;
mod header;
mod instance;
mod metrics;
mod names;
mod neg;
mod place;
mod policy;
mod protection;
mod proxy;
mod region;
mod relay;
mod report;
mod service;
mod sharing;
mod source;
mod target;
mod tls;
mod url_map;
mod warn;

use std::sync::Arc;

use super::config::Config;
use super::problem::Problem;
use super::service::Service;
use crate::wire::flaw::Flaws;
use crate::wire::read::{Resources, read};
use crate::wire::yaml;
pub use around::Around;
use around::Files;
use report::Report;

/// What came of a document.
#[derive(Debug)]
pub struct Resolved {
    /// The configuration; `None` when there is at least one error.
    pub config: Option<Config>,
    /// All problems, errors and warnings, in the order of the text.
    pub problems: Vec<Problem>,
}

/// Reads and resolves the text of a configuration file. Never panics, whatever the text. Files that it names are
/// refused as unreadable: see [`document_in`].
#[must_use]
pub fn document(text: &str) -> Resolved {
    document_in(text, Around::NOTHING)
}

/// The same with the files that it names, and with a look at the date.
#[must_use]
pub fn document_in(text: &str, around: Around<'_>) -> Resolved {
    let (tree, flaws) = read(text);
    let Some((root, resources)) = tree else {
        return Resolved { config: None, problems: flaws.into_iter().map(Problem::from).collect() };
    };
    let mut report = Report::new(&root, flaws);
    let config = config(&resources, Files::new(around, text), &mut report);
    let has_errors = report.has_errors();
    let problems = report.into_problems();
    let config = config.filter(|_| !has_errors);
    Resolved { config: config.map(|config| Config { warnings: problems.clone(), ..config }), problems }
}

/// Gives problems that were found outside of the text, such as a port that is taken, their places in it.
pub fn locate(problems: &mut [Problem], text: &str) {
    let Some(root) = yaml::parse(text, &mut Flaws::default()) else { return };
    for problem in problems.iter_mut().filter(|problem| problem.position.is_none()) {
        problem.position = root.find(&problem.path).map(Into::into);
    }
}

/// `None` when something is missing that an error tells about.
fn config(resources: &Resources, mut files: Files<'_>, report: &mut Report<'_>) -> Option<Config> {
    let mut atlas = place::Atlas::new(&resources.proxy, report);
    let client_locations = place::client_locations(&resources.proxy, &mut atlas, report);
    let checks = check::Checks::new(resources, report);
    let mut groups = group::all(resources, &mut atlas, report);
    let home = place::home(&resources.proxy, &groups, &mut atlas, report);
    groups.internet(resources, home.as_ref().map(|(_, region)| *region), &mut atlas, report);
    let lb_policies = distribution::all(&resources.service_lb_policies, report);
    let regions = region::all(&resources.backend_services, &mut atlas, report);
    let around =
        service::Around { checks: &checks, groups: &groups, lb_policies: &lb_policies, regions: &regions };
    let services = service::all(&resources.backend_services, around, report);
    sharing::check(&resources.backend_services, &services, report);
    let maps = url_map::all(&resources.url_maps, &services, report);
    let tls = tls::Tls::new(resources, &mut files, report);
    let fronts = front::all(resources, front::Behind { maps: &maps, services: &services, tls: &tls }, report);
    let checked = proxy::Checked {
        admin: admin::admin(&resources.proxy, &fronts, &mut files, report),
        access_log: proxy::access_log(&resources.proxy, report),
        trusted_proxies: proxy::trusted(&resources.proxy, report),
        session_key: proxy::session_key(&resources.proxy, report),
    };
    warn::local(&resources.backend_services, &services, report);
    if report.has_errors() {
        return None;
    }
    let reached = front::reached(&fronts, services.list.len());
    warn::unreachable(&services, &reached, !fronts.is_empty(), report);
    distribution::unused(&resources.service_lb_policies, &resources.backend_services, report);
    let (zone, region) = home?;
    let services = services.list.into_iter().zip(reached).map(|(service, is_reachable)| {
        service.map(|service| Arc::new(Service { is_reachable, ..service.value }))
    });
    Some(Config {
        proxy: proxy::settings(&resources.proxy, (zone.clone(), region), checked),
        places: atlas.places((zone, region), client_locations),
        fronts: fronts.into_iter().map(|front| front.value).collect(),
        services: services.collect::<Option<_>>()?,
        warnings: Vec::new(),
        fingerprint: files.fingerprint(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::too_many_lines)]
mod tests;
