//! Which backends: service load balancing policies, and the services that name one [G 2b].

use super::names::{Names, read_reference};
use super::report::Report;
use crate::model::policy::{Algorithm, Distribution, Isolation};
use crate::model::service::Scheme;
use crate::model::unit::Ratio;
use crate::wire::backend_service::BackendService;
use crate::wire::path::Path;
use crate::wire::read::{Collection, Entry};
use crate::wire::service_lb_policy as wire;

/// All service load balancing policies, by index and by name.
pub(super) struct LbPolicies<'a> {
    pub(super) names: Names<'a>,
    entries: &'a [Entry<wire::ServiceLbPolicy>],
}

/// Checks all policies.
pub(super) fn all<'a>(of: &'a Collection<wire::ServiceLbPolicy>, report: &mut Report<'_>) -> LbPolicies<'a> {
    let names = Names::new(of, "service load balancing policy", report);
    let list = Path::Root.key(of.key);
    for (index, entry) in of.entries.iter().enumerate() {
        let Some(policy) = &entry.value else { continue };
        let at = list.item(index);
        name(policy, &at.key("name"), report);
        isolation(policy, &at, report);
        if algorithm(policy) == Algorithm::SprayToWorld {
            let message = "SPRAY_TO_WORLD is for service meshes at Google";
            let expected = "WATERFALL_BY_REGION or another for a configuration that Google shall take; here it works [G 2b]";
            report.warning(&at.key("loadBalancingAlgorithm"), "mesh-only", message, expected);
        }
    }
    LbPolicies { names, entries: &of.entries }
}

/// Policies that no service names. Only for documents without errors, since a misspelt reference could mean any.
pub(super) fn unused(
    of: &Collection<wire::ServiceLbPolicy>,
    services: &Collection<BackendService>,
    report: &mut Report<'_>,
) {
    let services = services.entries.iter().filter_map(|entry| entry.value.as_ref());
    let used: Vec<&str> =
        services.filter_map(|service| service.service_lb_policy.as_deref()?.rsplit('/').next()).collect();
    let list = Path::Root.key(of.key);
    for (index, entry) in of.entries.iter().enumerate() {
        let Some(name) = entry.name.as_deref().filter(|name| !used.contains(name)) else { continue };
        let message = format!("no backend service names policy `{name}`");
        let expected = "`serviceLbPolicy` on a service, or no such policy [G 2.12]";
        report.warning(&list.item(index).key("name"), "unused-policy", message, expected);
    }
}

impl LbPolicies<'_> {
    /// What a service's own policy says, and its scheme where that says nothing.
    pub(super) fn of_service(
        &self,
        service: &BackendService,
        scheme: Scheme,
        at: &Path<'_>,
        report: &mut Report<'_>,
    ) -> Distribution {
        let threshold = match scheme {
            Scheme::External => Distribution::FAILOVER_THRESHOLD_CLASSIC,
            Scheme::ExternalManaged | Scheme::InternalManaged => Distribution::FAILOVER_THRESHOLD,
        };
        let default = Distribution { failover_threshold: Ratio::new(threshold), ..Distribution::default() };
        let Some(text) = service.service_lb_policy.as_deref().filter(|text| !text.is_empty()) else {
            return default;
        };
        let at = at.key("serviceLbPolicy");
        if scheme == Scheme::External {
            let message = format!("service `{}` of scheme EXTERNAL has a `serviceLbPolicy`", service.name);
            let expected =
                "none, or scheme EXTERNAL_MANAGED: the classic balancer takes no such policy [G 2.12]";
            report.error(&at, "forbidden-field", message, expected);
        }
        let index = self.names.follow(text, &at, report);
        match index.and_then(|index| self.entries.get(index)?.value.as_ref()) {
            Some(policy) => distribution(policy, default),
            None => default,
        }
    }
}

fn distribution(policy: &wire::ServiceLbPolicy, default: Distribution) -> Distribution {
    let threshold = policy.failover_config.as_ref().and_then(|config| config.failover_health_threshold);
    Distribution {
        algorithm: algorithm(policy),
        drains_automatically: policy
            .auto_capacity_drain
            .as_ref()
            .is_some_and(|drain| drain.enable == Some(true)),
        failover_threshold: threshold
            .map_or(default.failover_threshold, |percent| Ratio::new(f64::from(percent) / 100.0)),
        isolation: match said(policy) {
            (true, Some("NEAREST")) => Some(Isolation::Nearest),
            (true, Some("STRICT")) => Some(Isolation::Strict),
            _ => None,
        },
    }
}

fn algorithm(policy: &wire::ServiceLbPolicy) -> Algorithm {
    match policy.load_balancing_algorithm.as_deref() {
        Some("SPRAY_TO_REGION") => Algorithm::SprayToRegion,
        Some("WATERFALL_BY_ZONE") => Algorithm::WaterfallByZone,
        Some("SPRAY_TO_WORLD") => Algorithm::SprayToWorld,
        _ => Algorithm::WaterfallByRegion,
    }
}

/// Whether isolation is by region, and the mode, if one is said.
fn said(policy: &wire::ServiceLbPolicy) -> (bool, Option<&str>) {
    let config = policy.isolation_config.as_ref();
    let granularity = config.and_then(|config| config.isolation_granularity.as_deref());
    let mode = config.and_then(|config| config.isolation_mode.as_deref());
    (granularity == Some("REGION"), mode.filter(|mode| *mode != "ISOLATION_MODE_UNSPECIFIED"))
}

/// One without the other isolates nothing [G 2.15].
fn isolation(policy: &wire::ServiceLbPolicy, at: &Path<'_>, report: &mut Report<'_>) {
    let expected = match said(policy) {
        (true, None) => "`isolationMode: NEAREST` or `STRICT` beside it [G 2.15]",
        (false, Some(_)) => "`isolationGranularity: REGION` beside it [G 2.15]",
        _ => return,
    };
    let message = "this isolates nothing";
    report.warning(&at.key("isolationConfig"), "no-isolation", message, expected);
}

/// A name, or a global URL that ends in one.
fn name(policy: &wire::ServiceLbPolicy, at: &Path<'_>, report: &mut Report<'_>) {
    let Some(reference) = read_reference(&policy.name, at, "service load balancing policy", report) else {
        return;
    };
    if reference.collection.is_some_and(|collection| collection != "serviceLbPolicies") {
        let message = format!("`{}` is the name of something else", policy.name);
        let expected = "a name, or projects/PROJECT/locations/global/serviceLbPolicies/NAME [G 2b]";
        report.error(at, "bad-name", message, expected);
    }
}
