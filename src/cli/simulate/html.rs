//! The page: what was played, and five or six charts for each service. Self-contained: nothing is loaded from anywhere.

use std::fmt::Write as _;
use std::sync::Arc;

use super::chart::{COLOURS, Chart, Line, escaped};
use super::view::{Shown, View};
use crate::balance::pick::Reason;
use crate::simulate::record::{BackendRow, OriginRow};
use crate::simulate::scenario::Autoscaler;

/// Services with charts; the CSV has all.
const MOST_SERVICES: usize = 8;
/// Backends or regions with a line of their own.
const MOST_LINES: usize = COLOURS;
/// Demands that are listed.
const MOST_DEMAND: usize = 12;
/// Events that are listed.
const MOST_EVENTS: usize = 40;

const HEAD: &str = include_str!("page.html");

/// The whole page.
pub(super) fn render(view: &View<'_>) -> String {
    let title = escaped(&view.scenario.title);
    let mut out = HEAD.replace("{{title}}", &title);
    let _ = write!(out, "<header><h1>{title}</h1><p>{}</p></header>\n<main>\n", escaped(&view.facts()));
    story(&mut out, *view);
    let services: Vec<_> = view.services().collect();
    for shown in services.iter().take(MOST_SERVICES) {
        service(&mut out, *shown);
    }
    if services.len() > MOST_SERVICES {
        let more = services.len() - MOST_SERVICES;
        let _ = writeln!(out, "<p class=\"none\">{more} more services: see --csv.</p>");
    }
    out.push_str("</main></body></html>\n");
    out
}

/// Demand and events in words.
fn story(out: &mut String, view: View<'_>) {
    out.push_str("<section class=\"story\">");
    out.push_str("<div><h2>Demand</h2><ul>");
    for demand in view.scenario.demand.iter().take(MOST_DEMAND) {
        let _ = write!(out, "<li>{}</li>", escaped(&view.demand(demand)));
    }
    if view.scenario.demand.len() > MOST_DEMAND {
        let _ = write!(out, "<li class=\"none\">and {} more</li>", view.scenario.demand.len() - MOST_DEMAND);
    }
    out.push_str("</ul></div><div><h2>What happens</h2>");
    let events = &view.scenario.events;
    let autoscalers = &view.scenario.autoscalers;
    for scaler in autoscalers.iter().take(MOST_EVENTS) {
        let Autoscaler { group, min, max, utilization_target, .. } = scaler;
        let percent = utilization_target * 100.0;
        let text = format!("group {group}: {min} to {max} members, held at {percent:.0} % of its capacity");
        let _ = write!(out, "<p>{}</p>", escaped(&text));
    }
    if events.is_empty() && autoscalers.is_empty() {
        out.push_str("<p class=\"none\">Nothing but demand.</p>");
    } else if !events.is_empty() {
        out.push_str("<ol>");
        for event in events.iter().take(MOST_EVENTS) {
            let at = event.at.0 as f64 / 1e9;
            let _ = write!(out, "<li><b>{at} s</b> {}</li>", escaped(&view.event(event)));
        }
        out.push_str("</ol>");
        if events.len() > MOST_EVENTS {
            let _ = write!(out, "<p class=\"none\">and {} more</p>", events.len() - MOST_EVENTS);
        }
    }
    out.push_str("</div></section>\n");
}

fn service(out: &mut String, shown: Shown<'_>) {
    let times: Vec<_> = shown.rows().map(|(end, _)| end).collect();
    let events = &shown.view.scenario.events;
    let marks: Vec<_> = events.iter().take(MOST_EVENTS).map(|event| event.at.0 as f64 / 1e9).collect();
    let backends = shown.busiest(MOST_LINES);
    let all = shown.service.backends.len();
    let note = if all > backends.len() {
        format!(" <span>the {} busiest of {all} backends</span>", backends.len())
    } else {
        String::new()
    };
    let _ = writeln!(out, "<section><h2>Service {}{note}</h2>", escaped(&shown.service.name));
    let base = Chart { times: &times, marks: &marks, ..Chart::default() };
    for chart in charts(shown, &backends, &base) {
        out.push_str(&chart.render());
    }
    out.push_str("</section>\n");
}

fn charts<'a>(shown: Shown<'_>, backends: &[(usize, Arc<str>)], base: &Chart<'a>) -> Vec<Chart<'a>> {
    let lines = |backends: &[(usize, Arc<str>)], figure: fn(&BackendRow) -> f64| -> Vec<Line> {
        let line = |(colour, (number, name)): (usize, &(usize, Arc<str>))| Line {
            name: label(shown, *number, name),
            colour,
            is_dashed: false,
            values: shown.of_backend(*number, figure),
        };
        backends.iter().enumerate().map(line).collect()
    };
    let of_backends = |figure| lines(backends, figure);
    let chart = |title, unit, nothing, lines| Chart { title, unit, nothing, lines, ..base.clone() };
    let capacity = of_backends(|row| row.capacity).into_iter();
    let capacity = capacity.map(|line| Line { is_dashed: true, ..line });
    let rates = of_backends(|row| row.traffic.rate()).into_iter().chain(capacity).collect();
    let fullness = of_backends(|row| row.fullness * 100.0);
    // Who fails need not be busy.
    let errors = lines(&shown.foremost(MOST_LINES, |row| row.traffic.errors), |row| row.traffic.errors);
    let most_errors = if shown.service.backends.len() > MOST_LINES {
        "5xx/s; the backends with the most of them"
    } else {
        "5xx/s"
    };
    let elsewhere = "requests/s placed elsewhere than in the first tier, or not at all";
    let mut charts = vec![
        chart("Rate by backend", "requests/s; dashed: capacity", "No requests.", rates),
        Chart {
            level: Some((100.0, "target")),
            ..chart("Fullness by backend", "% of the target", "No backend has a target.", fullness)
        },
        Chart { is_stacked: true, ..chart("Spill by reason", elsewhere, "Nothing spilled.", spill(shown)) },
        chart(
            "Latency by clients' region",
            "ms; solid: median, dashed: 99th percentile",
            "No requests.",
            latency(shown),
        ),
        chart("Errors by backend", most_errors, "No errors.", errors),
    ];
    // Where nobody comes or goes, the line says nothing.
    if backends.iter().any(|(number, _)| shown.sizes(*number).vary()) {
        let healthy = of_backends(|row| row.healthy.into()).into_iter();
        let healthy = healthy.map(|line| Line { is_dashed: true, ..line });
        let sizes = of_backends(|row| row.members.into()).into_iter().chain(healthy).collect();
        charts.insert(2, chart("Members by backend", "members; dashed: healthy", "No members.", sizes));
    }
    charts
}

/// `group (region)`.
fn label(shown: Shown<'_>, number: usize, name: &str) -> String {
    let region =
        shown.service.backends.get(number).map_or("?", |backend| shown.view.region(backend.group.region));
    format!("{name} ({region})")
}

fn spill(shown: Shown<'_>) -> Vec<Line> {
    let sum = |figure: &dyn Fn(&OriginRow) -> f64| -> Vec<f64> {
        shown.rows().map(|(_, row)| row.origins.iter().map(figure).sum()).collect()
    };
    let elsewhere = Reason::ALL
        .iter()
        .filter(|reason| !matches!(reason, Reason::Nearest | Reason::Session | Reason::FailOpen));
    let mut lines: Vec<_> = elsewhere
        .map(|reason| {
            let of_reason =
                |row: &OriginRow| row.traffic.reasons.get(*reason as usize).copied().unwrap_or(0.0);
            (reason.as_str(), sum(&of_reason))
        })
        .collect();
    lines.push(("rejected", sum(&|row| row.rejected)));
    lines.push(("no healthy member", sum(&|row| row.unserved)));
    lines
        .into_iter()
        .enumerate()
        .filter(|(_, (_, values))| values.iter().any(|value| *value > 0.0))
        .map(|(colour, (name, values))| Line { name: name.to_owned(), colour, is_dashed: false, values })
        .collect()
}

fn latency(shown: Shown<'_>) -> Vec<Line> {
    let origins: Vec<_> = shown.origins().take(MOST_LINES / 2).enumerate().collect();
    let line = |(colour, (origin, region)): &(usize, (usize, &str)), quantile: &str| Line {
        name: (*region).to_owned(),
        colour: *colour,
        is_dashed: quantile == "p99",
        values: shown.of_origin(*origin, |row| {
            1000.0 * if quantile == "p99" { row.traffic.p99 } else { row.traffic.p50 }
        }),
    };
    let medians = origins.iter().map(|one| line(one, "p50"));
    medians.chain(origins.iter().map(|one| line(one, "p99"))).collect()
}
