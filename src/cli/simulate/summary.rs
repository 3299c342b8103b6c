//! The summary for programs: sums, means and extremes of the whole run as JSON.

use serde_json::{Map, Value, json};

use super::view::{Shown, View};
use crate::balance::pick::Reason;
use crate::simulate::record::Traffic;

/// One JSON object and a line end.
pub(super) fn render(view: &View<'_>) -> String {
    let scenario = view.scenario;
    let services: Vec<_> = view.services().map(service).collect();
    let document = json!({
        "title": *scenario.title,
        "model": view.model.as_str(),
        "seed": scenario.seed,
        "durationSec": scenario.duration.as_secs(),
        "rowSec": scenario.row.as_secs(),
        "proxies": scenario.proxies,
        "services": services,
    });
    format!("{document:#}\n")
}

fn service(shown: Shown<'_>) -> Value {
    let rows: Vec<_> = shown.rows().collect();
    let backends = shown.backends().map(|(number, backend)| {
        let of = |figure: fn(&crate::simulate::record::BackendRow) -> f64| shown.of_backend(number, figure);
        let traffic = rows.iter().filter_map(|(end, row)| Some((*end, &row.backends.get(number)?.traffic)));
        let traffic = traffic.collect::<Vec<_>>();
        let mut summary = sums(&traffic);
        let fullness = of(|row| row.fullness);
        summary.insert("group".into(), json!(*backend.group.name));
        summary.insert("region".into(), json!(shown.view.region(backend.group.region)));
        summary.insert("mode".into(), json!(backend.mode.as_str()));
        summary.insert("meanFullness".into(), figure(mean(&fullness)));
        summary.insert("maxFullness".into(), figure(most(&fullness)));
        summary.insert("lastFullness".into(), figure(fullness.last().copied().unwrap_or(f64::NAN)));
        let sizes = shown.sizes(number);
        let sizes = json!({
            "first": sizes.first, "least": sizes.least, "most": sizes.most, "last": sizes.last
        });
        summary.insert("members".into(), sizes);
        summary.insert("meanUtilization".into(), figure(mean(&of(|row| row.utilization))));
        summary.insert(
            "lastCapacity".into(),
            figure(of(|row| row.capacity).last().copied().unwrap_or(f64::NAN)),
        );
        Value::Object(summary)
    });
    let backends: Vec<_> = backends.collect();
    let clients = shown.origins().map(|(origin, region)| {
        let traffic: Vec<_> =
            rows.iter().filter_map(|(end, row)| Some((*end, &row.origins.get(origin)?.traffic))).collect();
        let mut summary = sums(&traffic);
        summary.insert("region".into(), json!(region));
        summary.insert("meanUnserved".into(), figure(mean(&shown.of_origin(origin, |row| row.unserved))));
        summary.insert("meanRejected".into(), figure(mean(&shown.of_origin(origin, |row| row.rejected))));
        Value::Object(summary)
    });
    json!({ "name": *shown.service.name, "backends": backends, "clients": clients.collect::<Vec<_>>() })
}

/// Requests, errors and latency.
fn sums(rows: &[(f64, &Traffic)]) -> Map<String, Value> {
    let mut before = 0.0;
    let mut reasons = [0.0; Reason::ALL.len()];
    let (mut errors, mut weighted) = (0.0, 0.0);
    for (end, traffic) in rows {
        let seconds = end - before;
        before = *end;
        for (sum, rate) in reasons.iter_mut().zip(traffic.reasons) {
            *sum += rate * seconds;
        }
        errors += traffic.errors * seconds;
        weighted += if traffic.p50.is_finite() { traffic.p50 * traffic.rate() * seconds } else { 0.0 };
    }
    let requests: f64 = reasons.iter().sum();
    let by_reason = Reason::ALL.iter().zip(reasons).filter(|(_, count)| *count > 0.0);
    let by_reason: Map<_, _> =
        by_reason.map(|(reason, count)| (reason.as_str().to_owned(), figure(count))).collect();
    let rates: Vec<_> = rows.iter().map(|(_, traffic)| traffic.rate()).collect();
    let slowest: Vec<_> = rows.iter().map(|(_, traffic)| traffic.p99 * 1000.0).collect();
    let mut out = Map::new();
    out.insert("requests".into(), figure(requests));
    out.insert("byReason".into(), Value::Object(by_reason));
    out.insert("errors".into(), figure(errors));
    out.insert("meanRate".into(), figure(requests / before));
    out.insert("maxRate".into(), figure(most(&rates)));
    out.insert("meanP50Ms".into(), figure(weighted / requests * 1000.0));
    out.insert("maxP99Ms".into(), figure(most(&slowest)));
    out
}

fn mean(values: &[f64]) -> f64 {
    let known = || values.iter().filter(|value| value.is_finite());
    known().sum::<f64>() / known().map(|_| 1.0).sum::<f64>()
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().filter(|value| value.is_finite()).fold(f64::NAN, f64::max)
}

/// Four decimals; null when there is no number.
fn figure(value: f64) -> Value {
    if value.is_finite() { json!((value * 1e4).round() / 1e4) } else { Value::Null }
}
