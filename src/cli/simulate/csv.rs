//! All rows as CSV: a line for each piece of time and each backend or clients' region.

use std::fmt::Write as _;

use super::view::{Shown, View};
use crate::balance::pick::Reason;
use crate::simulate::record::{BackendRow, OriginRow, ServiceRow, Traffic};

/// The table with a header. What is unknown or unlimited is empty.
pub(super) fn render(view: &View<'_>) -> String {
    let mut out = String::from("second,service,scope,name,region,rate,spilled");
    for reason in Reason::ALL {
        let _ = write!(out, ",{}", reason.as_str());
    }
    out.push_str(
        ",unserved,rejected,errors,p50_ms,p99_ms,capacity,fullness,utilization,in_flight,healthy,members\n",
    );
    let services: Vec<_> = view.services().collect();
    for row in &view.record.rows {
        for shown in &services {
            if let Some(figures) = row.services.get(shown.index) {
                lines(&mut out, *shown, (row.end, figures));
            }
        }
    }
    out
}

fn lines(out: &mut String, shown: Shown<'_>, (end, row): (f64, &ServiceRow)) {
    let service = quoted(&shown.service.name);
    for (index, backend) in shown.backends() {
        let Some(figures) = row.backends.get(index) else { continue };
        let region = shown.view.region(backend.group.region);
        let _ = write!(out, "{},{service},backend,{},{region}", figure(end), quoted(&backend.group.name));
        traffic(out, &figures.traffic, None);
        backend_figures(out, figures);
    }
    for (index, region) in shown.origins() {
        let Some(figures) = row.origins.get(index) else { continue };
        let _ = write!(out, "{},{service},clients,{region},{region}", figure(end));
        traffic(out, &figures.traffic, Some(figures));
        out.push_str(",,,,,,\n");
    }
}

fn traffic(out: &mut String, traffic: &Traffic, lost: Option<&OriginRow>) {
    let _ = write!(out, ",{},{}", figure(traffic.rate()), figure(traffic.spilled()));
    for rate in traffic.reasons {
        let _ = write!(out, ",{}", figure(rate));
    }
    let (unserved, rejected) = lost.map_or((f64::NAN, f64::NAN), |lost| (lost.unserved, lost.rejected));
    for value in [unserved, rejected, traffic.errors, traffic.p50 * 1000.0, traffic.p99 * 1000.0] {
        let _ = write!(out, ",{}", figure(value));
    }
}

fn backend_figures(out: &mut String, row: &BackendRow) {
    for value in [row.capacity, row.fullness, row.utilization, row.in_flight] {
        let _ = write!(out, ",{}", figure(value));
    }
    let _ = writeln!(out, ",{},{}", row.healthy, row.members);
}

/// At most four decimals; empty when there is no number.
fn figure(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.into() }
}
