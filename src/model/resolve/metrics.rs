//! Metrics that members report by ORCA: `customMetrics` of backends and of services [G 1.35–1.40].

use std::sync::Arc;

use super::report::Report;
use super::target::Of;
use crate::model::service::Scheme;
use crate::model::target::CustomMetric;
use crate::model::unit::Ratio;
use crate::wire::backend::Backend;
use crate::wire::backend_service::BackendService;
use crate::wire::flaw::quote;
use crate::wire::path::Path;

/// `maxUtilization` of a metric when the file has none [G 1a].
const DEFAULT_MAX_UTILIZATION: f64 = 0.8;

/// The metrics of a backend in mode CUSTOM_METRICS; `None` after a report.
pub(super) fn of_backend(
    backend: &Backend,
    of: Of<'_>,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<Arc<[CustomMetric]>> {
    let before = report.errors();
    let list = backend.custom_metrics.as_deref().unwrap_or_default();
    let field = at.key("customMetrics");
    names(list.iter().map(|metric| metric.name.as_str()), &field, report);
    let is_dry = |dry: Option<bool>| dry.unwrap_or(false);
    if list.is_empty() {
        let message = format!("backend `{}` is in mode CUSTOM_METRICS and has no metric", of.group);
        let expected = "`customMetrics: [{name: …, maxUtilization: 0.8}]`, one or two [G 1.37, table 1c]";
        report.error(at, "missing-target", message, expected);
    } else if list.iter().all(|metric| is_dry(metric.dry_run)) {
        let message = format!("backend `{}` has no metric but on a dry run", of.group);
        let expected =
            "a metric with `dryRun: false`: what is on a dry run is shown and decides nothing [G 1.37, 1.38]";
        report.error(&field, "missing-target", message, expected);
    }
    let metric = |metric: &crate::wire::backend::CustomMetric| CustomMetric {
        name: metric.name.as_str().into(),
        max: Ratio::new(metric.max_utilization.unwrap_or(DEFAULT_MAX_UTILIZATION)),
        is_dry_run: is_dry(metric.dry_run),
    };
    (report.errors() == before).then(|| list.iter().map(metric).collect())
}

/// `customMetrics` of a service that are not on a dry run: what WEIGHTED_ROUND_ROBIN weighs by, in order.
pub(super) fn of_service(
    service: &BackendService,
    scheme: Scheme,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Vec<Arc<str>> {
    let list = service.custom_metrics.as_deref().unwrap_or_default();
    let field = at.key("customMetrics");
    if !list.is_empty() && scheme == Scheme::External {
        let message = format!("service `{}` of scheme EXTERNAL has custom metrics", service.name);
        let expected = "none, or scheme EXTERNAL_MANAGED: the classic balancer reads no reports [G 1.40]";
        report.error(&field, "forbidden-field", message, expected);
    }
    names(list.iter().map(|metric| metric.name.as_str()), &field, report);
    let used = list.iter().filter(|metric| !metric.dry_run.unwrap_or(false));
    used.map(|metric| metric.name.as_str().into()).collect()
}

/// Names follow the regular expression of the API, and each stands once.
fn names<'n>(names: impl Iterator<Item = &'n str>, list: &Path<'_>, report: &mut Report<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, name) in names.enumerate() {
        let entry = list.item(index);
        let at = entry.key("name");
        if !is_name(name) {
            let message = format!("{} is no name of a metric", quote(name));
            let expected = "1 to 64 lower-case letters, digits and `-_.`, a letter first, a letter or digit last [G 1.35]";
            report.error(&at, "bad-name", message, expected);
        } else if let Some(before) = seen.iter().copied().find(|before| is_same(before, name)) {
            let message = if before == name {
                format!("metric {} stands here twice", quote(name))
            } else {
                format!("{} and {} are one metric", quote(name), quote(before))
            };
            report.error(&at, "duplicate-name", message, "each metric once [G 1.39]");
        } else if name.starts_with("orca.") && !is_known(name) {
            let message = format!("a report has no field {}", quote(name));
            let expected = "orca.cpu_utilization, orca.mem_utilization, orca.application_utilization, orca.named_metrics.NAME, or the bare name of a named metric [G 1.39]";
            report.warning(&at, "unknown-metric", message, expected);
        }
        seen.push(name);
    }
}

/// Whether both read the same of a report [G 1.39]. The bare name of a field means the field, not a metric of that name.
fn is_same(one: &str, other: &str) -> bool {
    fn plain(name: &str) -> &str {
        let short = name.strip_prefix("orca.").unwrap_or(name);
        short.strip_prefix("named_metrics.").filter(|rest| !is_field(rest)).unwrap_or(short)
    }
    plain(one) == plain(other)
}

fn is_field(name: &str) -> bool {
    matches!(name, "cpu_utilization" | "mem_utilization" | "application_utilization")
}

/// `[a-z]([-_.a-z0-9]*[a-z0-9])?`, at most 64 [G 1.35].
fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=64).contains(&bytes.len())
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(ends)
        && bytes.iter().all(|b| ends(b) || b"-_.".contains(b))
}

/// The names that stand for a field of a report [G 1.39].
fn is_known(name: &str) -> bool {
    matches!(name, "orca.cpu_utilization" | "orca.mem_utilization" | "orca.application_utilization")
        || name.strip_prefix("orca.named_metrics.").is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_1_39_a_metric_has_several_names() {
        for (one, other) in [
            ("orca.cpu_utilization", "cpu_utilization"),
            ("orca.named_metrics.queue", "queue"),
            ("named_metrics.queue", "orca.named_metrics.queue"),
            ("a", "a"),
        ] {
            assert!(is_same(one, other) && is_same(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("orca.cpu_utilization", "orca.mem_utilization"),
            ("orca.named_metrics.cpu_utilization", "orca.cpu_utilization"),
            ("orca.utilization.queue", "orca.named_metrics.queue"),
        ] {
            assert!(!is_same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn metric_names_follow_the_regular_expression_of_the_api() {
        for good in ["a", "queue", "orca.named_metrics.queue-depth", "a_1", &"a".repeat(64)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "1a", "a.", "a-", "A", ".a", "a b", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
