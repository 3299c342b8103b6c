//! The table over time for people: one for each service, with what happened between the rows.

use std::fmt::Write as _;
use std::sync::Arc;

use super::view::{Shown, Sizes, View};
use crate::balance::pick::Reason;
use crate::simulate::record::ServiceRow;

/// Backends with columns of their own; the others are in the sums.
const MOST_BACKENDS: usize = 6;

/// Services that are shown; the CSV has all.
const MOST_SERVICES: usize = 4;

/// All of it.
pub(super) fn render(view: &View<'_>) -> String {
    let mut out = format!("{}\n{}\n", view.scenario.title, view.facts());
    let services: Vec<_> = view.services().collect();
    for shown in services.iter().take(MOST_SERVICES) {
        service(&mut out, *shown);
    }
    if services.len() > MOST_SERVICES {
        let more = services.len() - MOST_SERVICES;
        let _ = writeln!(out, "\n{more} more services: see --csv, or --format json for their sums");
    }
    out
}

fn service(out: &mut String, shown: Shown<'_>) {
    let columns: Vec<Column> = shown
        .busiest(MOST_BACKENDS)
        .into_iter()
        .map(|(number, name)| Column { number, name, sizes: shown.sizes(number) })
        .collect();
    let others = shown.service.backends.len() - columns.len();
    let note =
        if others > 0 { format!(", {others} less busy backends in the sums alone") } else { String::new() };
    let _ = writeln!(out, "\nservice {}{note}", shown.service.name);
    let _ = write!(out, "{:>9} {:>9}", "", "");
    for column in &columns {
        let width = if column.sizes.vary() { 24 } else { 16 };
        let name: String = column.name.chars().take(width).collect();
        let _ = write!(out, " | {name:>width$}");
    }
    let _ = write!(out, " |\n{:>9} {:>9}", "second", "demand/s");
    for column in &columns {
        let _ = write!(out, " | {:>9} {:>6}", "rate/s", "full");
        if column.sizes.vary() {
            let _ = write!(out, " {:>7}", "members");
        }
    }
    let _ = writeln!(out, " | {:>7} {:>9} {:>8} {:>8}", "spill", "errors/s", "p50 ms", "p99 ms");
    let mut events = shown.view.scenario.events.iter().peekable();
    for (end, row) in shown.rows() {
        while let Some(event) = events.next_if(|event| event.at.0 as f64 / 1e9 < end) {
            let _ = writeln!(out, "{:>9} {}", event.at.0 as f64 / 1e9, shown.view.event(event));
        }
        line(out, (end, row), &columns);
    }
    sums(out, shown);
    for column in columns.iter().filter(|column| column.sizes.vary()) {
        let Sizes { first, least, most, last } = column.sizes;
        let name = &column.name;
        let _ = writeln!(out, "members of {name}: {first} at first, {least} to {most}, {last} at last");
    }
}

/// A backend that is shown by itself.
struct Column {
    number: usize,
    name: Arc<str>,
    sizes: Sizes,
}

fn line(out: &mut String, (end, row): (f64, &ServiceRow), columns: &[Column]) {
    let placed: f64 = row.origins.iter().map(|origin| origin.traffic.rate()).sum();
    let lost: f64 = row.origins.iter().map(|origin| origin.unserved + origin.rejected).sum();
    let spilled: f64 = row.origins.iter().map(|origin| origin.traffic.spilled()).sum();
    let errors: f64 = row.origins.iter().map(|origin| origin.traffic.errors).sum();
    let _ = write!(out, "{end:>9} {:>9}", number(placed + lost));
    for column in columns {
        let Some(backend) = row.backends.get(column.number) else { continue };
        let _ = write!(out, " | {:>9} {:>6}", number(backend.traffic.rate()), percent(backend.fullness));
        if column.sizes.vary() {
            let _ = write!(out, " {:>7}", backend.members);
        }
    }
    let worst = |figure: fn(&crate::simulate::record::Traffic) -> f64| {
        row.origins.iter().map(|origin| figure(&origin.traffic)).fold(f64::NAN, f64::max) * 1000.0
    };
    let _ = writeln!(
        out,
        " | {:>7} {:>9} {:>8} {:>8}",
        percent(spilled / placed),
        number(errors + lost),
        number(worst(|traffic| traffic.p50)),
        number(worst(|traffic| traffic.p99)),
    );
}

/// Requests by reason over the whole run.
fn sums(out: &mut String, shown: Shown<'_>) {
    let mut before = 0.0;
    let mut reasons = [0.0; Reason::ALL.len()];
    for (end, row) in shown.rows() {
        for origin in &row.origins {
            for (sum, rate) in reasons.iter_mut().zip(origin.traffic.reasons) {
                *sum += rate * (end - before);
            }
        }
        before = end;
    }
    let total: f64 = reasons.iter().sum();
    let parts = Reason::ALL.iter().zip(reasons).filter(|(_, count)| *count > 0.0);
    let words: Vec<_> =
        parts.map(|(reason, count)| format!("{} {}", reason.as_str(), percent(count / total))).collect();
    let _ = writeln!(out, "{total:.0} requests placed: {}", words.join(", "));
}

/// Three or four digits that matter.
fn number(value: f64) -> String {
    match value {
        v if !v.is_finite() => "-".into(),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.1}"),
    }
}

fn percent(part: f64) -> String {
    if part.is_finite() { format!("{:.1}%", part * 100.0) } else { "-".into() }
}
