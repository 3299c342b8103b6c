//! `/metrics`: one table of families, each with the function that writes its samples.
//!
//! `overspill_requests_total` adds up to what clients saw: requests with a member under its name, requests that a
//! service could not place under `member=""`, requests without a service under `service=""`. Within a service, groups
//! of one name in different zones differ by `zone`.

mod fill;

use std::time::SystemTime;

pub(crate) use self::fill::CLASSES;
use self::fill::{
    certificates, custom_metrics, durations, extras, figures, hosts, losses, members, mirrored, outcomes,
    picks, requests, scalers, traffic, trips,
};
use super::text::{Kind, Page};
use crate::clock;
use crate::engine::handle::{Handle, ReloadState};
use crate::ledger::handshake::Handshake;
use crate::ledger::member::Count;
use crate::ledger::process::{Process, Traffic};
use crate::ledger::service::Extra;
use crate::world::World;

/// Stands for members that a reload took away.
const REMOVED: &str = "(removed)";

/// What a scrape sees.
#[derive(Debug)]
struct View<'a> {
    world: &'a World,
    process: &'a Process,
    reload: &'a ReloadState,
    upgrades_failed: u64,
    is_ready: bool,
    started: SystemTime,
}

struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    fill: fn(&View<'_>, &mut Page),
}

/// The page for a scrape.
#[must_use]
pub fn page(handle: &Handle) -> String {
    render(&View {
        world: &handle.world(),
        process: handle.process(),
        reload: &handle.reload(),
        upgrades_failed: handle.upgrade().failed,
        is_ready: handle.is_ready(),
        started: handle.started(),
    })
}

fn render(view: &View<'_>) -> String {
    let mut page = Page::default();
    for family in FAMILIES {
        page.family(family.name, family.kind, family.help);
        (family.fill)(view, &mut page);
    }
    page.finish()
}

const fn counter(name: &'static str, help: &'static str, fill: fn(&View<'_>, &mut Page)) -> Family {
    Family { name, kind: Kind::Counter, help, fill }
}

const fn gauge(name: &'static str, help: &'static str, fill: fn(&View<'_>, &mut Page)) -> Family {
    Family { name, kind: Kind::Gauge, help, fill }
}

const FAMILIES: &[Family] = &[
    counter(
        "overspill_requests_total",
        "Requests as clients saw them, by class of status (0 = no answer); connections of TCP and SSL services, 200 = ended by both sides, 0 = failed or cut. member empty: none was found; (removed): a reload took it away; service empty: none was found.",
        requests,
    ),
    counter(
        "overspill_outcomes_total",
        "How requests ended, in the words of Google's statusDetails.",
        outcomes,
    ),
    counter(
        "overspill_picks_total",
        "Requests placed on a backend, by reason: nearest, or why they spilled.",
        picks,
    ),
    Family {
        name: "overspill_request_duration_seconds",
        kind: Kind::Histogram,
        help: "From the first byte of a request to the last of its answer.",
        fill: durations,
    },
    gauge(
        "overspill_backend_capacity",
        "Requests per second up to which a backend is filled; +Inf = not limited.",
        |view, page| figures(view, page, |f| f.capacity),
    ),
    gauge(
        "overspill_backend_in_flight_capacity",
        "Requests, or connections of TCP and SSL services, at a time up to which a backend is filled; +Inf = not limited.",
        |view, page| figures(view, page, |f| f.count_capacity),
    ),
    gauge(
        "overspill_backend_in_flight",
        "Requests, or connections of TCP and SSL services, under way.",
        |view, page| figures(view, page, |f| f.in_flight),
    ),
    gauge(
        "overspill_backend_rate",
        "Requests (or new connections) per second that a backend gets.",
        |view, page| {
            figures(view, page, |f| f.rate);
        },
    ),
    gauge("overspill_backend_fullness", "Load divided by capacity.", |view, page| {
        figures(view, page, |f| f.fullness);
    }),
    gauge("overspill_backend_utilization", "Mean reported utilization of healthy members.", |view, page| {
        figures(view, page, |f| f.utilization);
    }),
    gauge(
        "overspill_backend_custom_metric",
        "Mean of a custom metric over healthy members; dry_run: shown, not used.",
        |view, page| custom_metrics(view, page, |f| f.mean),
    ),
    gauge(
        "overspill_backend_custom_metric_fullness",
        "Mean of a custom metric divided by its maximum and the scaler.",
        |view, page| custom_metrics(view, page, |f| f.fullness),
    ),
    gauge("overspill_backend_capacity_scaler", "capacityScaler as configured; 0 = drained.", scalers),
    gauge(
        "overspill_backend_auto_drained",
        "1 when a backend gets nothing because too few of its members are healthy.",
        |view, page| figures(view, page, |f| f64::from(f.is_auto_drained)),
    ),
    gauge("overspill_member_healthy", "1 when a member passes its health check.", |view, page| {
        members(view, page, |m| u64::from(m.is_healthy()));
    }),
    gauge("overspill_member_in_flight", "Attempts under way.", |view, page| {
        members(view, page, |m| m.numbered.member.in_flight());
    }),
    gauge(
        "overspill_member_ejected",
        "1 while outlier detection keeps requests from a member.",
        |view, page| {
            members(view, page, |m| u64::from(m.numbered.member.conduct.is_ejected()));
        },
    ),
    counter(
        "overspill_member_ejections_total",
        "Times that a member was ejected as an outlier.",
        |view, page| {
            members(view, page, |m| m.numbered.member.conduct.ejections());
        },
    ),
    counter(
        "overspill_circuit_breaker_trips_total",
        "Requests in whose way a limit of circuitBreakers stood, by limit.",
        trips,
    ),
    counter("overspill_attempts_total", "Attempts sent to a member.", |view, page| {
        members(view, page, |m| m.numbered.member.sum(Count::Started));
    }),
    counter("overspill_attempts_failed_total", "Attempts that failed before an answer.", |view, page| {
        members(view, page, |m| m.numbered.member.sum(Count::Failed));
    }),
    counter("overspill_member_sent_bytes_total", "Body bytes sent to a member.", |view, page| {
        members(view, page, |m| m.numbered.member.sum(Count::BytesUp));
    }),
    counter("overspill_member_received_bytes_total", "Body bytes received from a member.", |view, page| {
        members(view, page, |m| m.numbered.member.sum(Count::BytesDown));
    }),
    counter("overspill_load_reports_total", "Load reports of a member.", |view, page| {
        members(view, page, |m| m.endpoint.heard().0);
    }),
    counter(
        "overspill_load_reports_malformed_total",
        "Load reports that could not be read.",
        |view, page| {
            members(view, page, |m| m.endpoint.malformed());
        },
    ),
    gauge(
        "overspill_host_addresses",
        "Addresses that the host name of an internet endpoint leads to.",
        |view, page| hosts(view, page, |known| known.addresses().len() as u64),
    ),
    counter(
        "overspill_host_lookups_total",
        "Lookups of the host name of an internet endpoint that brought addresses.",
        |view, page| hosts(view, page, |known| known.last().succeeded),
    ),
    counter(
        "overspill_host_lookups_failed_total",
        "Lookups that did not; the addresses stay.",
        |view, page| hosts(view, page, |known| known.last().failed),
    ),
    counter("overspill_retries_total", "Attempts repeated on another member.", |view, page| {
        extras(view, page, Extra::Retries);
    }),
    counter(
        "overspill_replays_total",
        "Attempts repeated because a kept connection had been closed by the member.",
        |view, page| extras(view, page, Extra::Replays),
    ),
    counter(
        "overspill_retries_refused_total",
        "Attempts not repeated for want of room in the retry budget (retryBudgetPercent).",
        |view, page| extras(view, page, Extra::RetriesRefused),
    ),
    counter(
        "overspill_mirrored_requests_total",
        "Copies of requests that a service was to get by requestMirrorPolicy, by result; not among its requests.",
        mirrored,
    ),
    counter(
        "overspill_error_pages_total",
        "Pages that a service gave for customErrorResponsePolicy; not among its requests.",
        |view, page| extras(view, page, Extra::Pages),
    ),
    counter(
        "overspill_error_pages_missed_total",
        "Pages that a service was to give, and did not.",
        |view, page| extras(view, page, Extra::PagesMissed),
    ),
    counter("overspill_affinity_losses_total", "Sessions that left their member, by reason.", losses),
    counter("overspill_affinity_cookies_issued_total", "Affinity cookies given out.", |view, page| {
        extras(view, page, Extra::CookiesIssued);
    }),
    counter(
        "overspill_affinity_cookies_malformed_total",
        "Affinity cookies not of our making.",
        |view, page| {
            extras(view, page, Extra::CookiesMalformed);
        },
    ),
    gauge("overspill_connections_open", "Client connections open now.", |view, page| {
        let closed = view.process.sum(Traffic::Closed);
        page.count(&[], view.process.sum(Traffic::Accepted).saturating_sub(closed));
    }),
    counter("overspill_connections_accepted_total", "Client connections accepted.", |view, page| {
        page.count(&[], view.process.sum(Traffic::Accepted));
    }),
    gauge("overspill_tls_handshakes_in_progress", "TLS handshakes with clients under way.", |view, page| {
        page.count(&[], view.process.handshakes.in_progress());
    }),
    counter("overspill_tls_handshakes_total", "TLS handshakes with clients that succeeded.", |view, page| {
        for how in Handshake::ALL {
            if let Some((version, result)) = how.success() {
                page.count(&[("version", version), ("result", result)], view.process.handshakes.ended(how));
            }
        }
    }),
    counter("overspill_tls_handshake_failures_total", "TLS handshakes that failed.", |view, page| {
        for how in Handshake::ALL {
            if let Some(reason) = how.failure() {
                page.count(&[("reason", reason)], view.process.handshakes.ended(how));
            }
        }
    }),
    gauge(
        "overspill_certificate_not_after_seconds",
        "When a certificate of a proxy expires, in seconds since 1970.",
        certificates,
    ),
    counter("overspill_accept_errors_total", "Errors of accept.", |view, page| {
        page.count(&[], view.process.sum(Traffic::AcceptErrors));
    }),
    gauge(
        "overspill_connections_limit",
        "Client connections that may be open: maxConnections.",
        |view, page| {
            let most = view.process.doors.most(view.world.config.proxy.limits.max_connections);
            page.number(&[], if most == u64::MAX { f64::INFINITY } else { most as f64 });
        },
    ),
    counter(
        "overspill_connections_waited_total",
        "Client connections that had to wait because maxConnections were open.",
        |view, page| page.count(&[], view.process.sum(Traffic::Waited)),
    ),
    counter(
        "overspill_connections_refused_by_address_total",
        "Client connections closed at once because their address had maxConnectionsPerAddress open.",
        |view, page| page.count(&[], view.process.sum(Traffic::RefusedByAddress)),
    ),
    counter("overspill_backend_connections_total", "Connections opened to members.", |view, page| {
        page.count(&[], view.process.sum(Traffic::BackendConnections));
    }),
    counter("overspill_log_lines_dropped_total", "Access log lines that were not written.", |view, page| {
        page.count(&[], view.process.sum(Traffic::LogLinesDropped));
    }),
    counter("overspill_panics_total", "Panics caught in a connection; each is a bug.", |view, page| {
        page.count(&[], view.process.sum(Traffic::Panics));
    }),
    counter("overspill_http2_connections_total", "Client connections of HTTP/2.", |view, page| {
        page.count(&[], view.process.sum(Traffic::Http2Connections));
    }),
    counter(
        "overspill_http2_streams_refused_total",
        "Streams that clients opened and that broke the rules of HTTP/2 before there was a request.",
        |view, page| page.count(&[], view.process.sum(Traffic::Http2Refused)),
    ),
    counter(
        "overspill_http2_limits_total",
        "Connections of HTTP/2 ended by a limit, and streams refused (streams, headers).",
        |view, page| {
            traffic(
                view,
                page,
                "limit",
                &[
                    ("requests", Traffic::Http2OverRequests),
                    ("resets", Traffic::Http2OverResets),
                    ("pings", Traffic::Http2OverPings),
                    ("settings", Traffic::Http2OverSettings),
                    ("control_frames", Traffic::Http2OverControl),
                    ("continuations", Traffic::Http2OverContinuations),
                    ("faults", Traffic::Http2OverFaults),
                    ("streams", Traffic::Http2OverStreams),
                    ("headers", Traffic::Http2OverHeaders),
                ],
            );
        },
    ),
    counter(
        "overspill_proxy_headers_refused_total",
        "Client connections closed where a header of the PROXY protocol was due: forbidden (not from who may send one), malformed (or missing), late.",
        |view, page| {
            traffic(
                view,
                page,
                "reason",
                &[
                    ("forbidden", Traffic::ProxyHeaderForbidden),
                    ("malformed", Traffic::ProxyHeaderMalformed),
                    ("late", Traffic::ProxyHeaderLate),
                ],
            );
        },
    ),
    counter(
        "overspill_slow_bodies_total",
        "Requests ended because their body came more slowly than minBodyRate.",
        |view, page| page.count(&[], view.process.sum(Traffic::SlowBodies)),
    ),
    counter(
        "overspill_answers_not_compressed_total",
        "Answers sent as they were because a worker had 64 MiB of encoders already.",
        |view, page| page.count(&[], view.process.sum(Traffic::Uncompressed)),
    ),
    counter("overspill_http3_connections_total", "Client connections of HTTP/3.", |view, page| {
        page.count(&[], view.process.sum(Traffic::Http3Connections));
    }),
    counter(
        "overspill_http3_streams_refused_total",
        "Streams that clients opened and that broke the rules of HTTP/3 before there was a request.",
        |view, page| page.count(&[], view.process.sum(Traffic::Http3Refused)),
    ),
    counter(
        "overspill_http3_limits_total",
        "Connections of HTTP/3 ended by a limit: resets, control_frames, requests, faults.",
        |view, page| {
            traffic(
                view,
                page,
                "limit",
                &[
                    ("resets", Traffic::Http3OverResets),
                    ("control_frames", Traffic::Http3OverControl),
                    ("requests", Traffic::Http3OverRequests),
                    ("faults", Traffic::Http3OverFaults),
                ],
            );
        },
    ),
    counter(
        "overspill_quic_retries_total",
        "Clients of QUIC that had to show that their address is theirs, because many handshakes were under way.",
        |view, page| page.count(&[], view.process.sum(Traffic::QuicRetries)),
    ),
    counter(
        "overspill_quic_unheard_total",
        "Connections of QUIC that were not answered because maxConnections were open; clients try again.",
        |view, page| page.count(&[], view.process.sum(Traffic::QuicUnheard)),
    ),
    gauge("overspill_buffered_bytes", "Bytes of bodies that wait for a slow side.", |view, page| {
        page.count(&[], view.process.buffers.held());
    }),
    gauge("overspill_buffered_bytes_limit", "How many there may be: maxBufferedMiB.", |view, page| {
        page.count(&[], view.world.config.proxy.limits.max_buffered);
    }),
    counter(
        "overspill_buffer_waits_total",
        "Bodies that had to wait because of maxBufferedMiB.",
        |view, page| page.count(&[], view.process.buffers.waits()),
    ),
    gauge(
        "overspill_ready",
        "1 when listeners are bound and the first health sweep is done.",
        |view, page| {
            page.count(&[], u64::from(view.is_ready));
        },
    ),
    gauge("overspill_config_last_reload_ok", "1 when the last configuration was taken.", |view, page| {
        page.count(&[], u64::from(view.reload.is_ok));
    }),
    counter("overspill_config_reloads_total", "Configurations by result.", |view, page| {
        page.count(&[("result", "taken")], view.reload.taken);
        page.count(&[("result", "refused")], view.reload.refused);
    }),
    counter(
        "overspill_upgrades_failed_total",
        "Binary upgrades that left this process in place.",
        |view, page| {
            page.count(&[], view.upgrades_failed);
        },
    ),
    gauge("overspill_config_generation", "Number of the world that serves, from 1.", |view, page| {
        page.count(&[], view.world.generation);
    }),
    gauge("overspill_config_info", "Always 1; the label is the fingerprint of the text.", |view, page| {
        page.count(&[("fingerprint", &format!("{:016x}", view.world.config.fingerprint))], 1);
    }),
    gauge("overspill_workers", "Data-plane threads.", |view, page| {
        page.count(&[], view.process.workers as u64)
    }),
    gauge("overspill_uptime_seconds", "Time since the start.", |view, page| {
        page.number(&[], clock::wall().duration_since(view.started).unwrap_or_default().as_secs_f64());
    }),
    gauge("overspill_build_info", "Always 1; the label is the version.", |_, page| {
        page.count(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    }),
];

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::balance::plan::Figures;
    use crate::ledger::cell::WorkerId;
    use crate::model::detail::StatusDetail;
    use crate::model::unit::Span;
    use crate::telemetry::fixture;

    const WORKER: WorkerId = WorkerId(0);

    fn render_world(world: &World, process: &Process) -> String {
        let reload = ReloadState {
            is_ok: true,
            at: clock::wall(),
            origin: String::new(),
            problems: Vec::new(),
            taken: 3,
            refused: 1,
        };
        let started = clock::wall();
        render(&View { world, process, reload: &reload, upgrades_failed: 0, is_ready: true, started })
    }

    #[test]
    fn requests_add_up_over_members_services_and_the_unrouted() {
        let (world, process) = (fixture::world(2), Process::new(1));
        let service = &world.services[0];
        service.backends[0].members[0].numbered.member.count(WORKER, Count::Class2);
        service.backends[1].members[0].numbered.member.count(WORKER, Count::Class4);
        service.ledger.count_unplaced(WORKER, Some(503));
        process.count_unrouted(WORKER, StatusDetail::ConfigNotFound, Some(404));
        let page = render_world(&world, &process);
        for line in [
            r#"overspill_requests_total{service="web",backend="near",zone="us-central1-a",member="near-1",code_class="200"} 1"#,
            r#"overspill_requests_total{service="web",backend="far",zone="europe-west1-b",member="far-1",code_class="400"} 1"#,
            r#"overspill_requests_total{service="web",backend="",zone="",member="",code_class="500"} 1"#,
            r#"overspill_requests_total{service="",backend="",zone="",member="",code_class="400"} 1"#,
            r#"overspill_outcomes_total{service="",status_details="config_not_found"} 1"#,
            r#"overspill_config_reloads_total{result="refused"} 1"#,
            r#"overspill_config_info{fingerprint="0000000000000abc"} 1"#,
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        let requests = page.lines().filter_map(|l| l.strip_prefix("overspill_requests_total{"));
        let total: u64 = requests.map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(total, 4);
    }

    #[test]
    fn figures_histograms_and_health_are_there() {
        let (world, process) = (fixture::world(2), Process::new(1));
        let near = &world.services[0].backends[0];
        near.ledger.latency.observe(WORKER, Span::millis(4));
        near.ledger.shown.store(Figures {
            capacity: 200.0,
            rate: 50.0,
            fullness: 0.25,
            utilization: f64::NAN,
            is_auto_drained: true,
            ..Figures::default()
        });
        let page = render_world(&world, &process);
        let near = r#"service="web",backend="near",zone="us-central1-a""#;
        for line in [
            format!("overspill_backend_capacity{{{near}}} 200"),
            format!("overspill_backend_fullness{{{near}}} 0.25"),
            format!("overspill_backend_auto_drained{{{near}}} 1"),
            format!("overspill_request_duration_seconds_bucket{{{near},le=\"0.003\"}} 0"),
            format!("overspill_request_duration_seconds_bucket{{{near},le=\"0.005\"}} 1"),
            format!("overspill_request_duration_seconds_sum{{{near}}} 0.004"),
            format!("overspill_request_duration_seconds_count{{{near}}} 1"),
            format!("overspill_member_healthy{{{near},member=\"near-2\"}} 0"),
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains(&format!("overspill_backend_utilization{{{near}}}")));
    }

    #[test]
    fn each_family_stands_once_and_no_sample_twice() {
        let page = render_world(&fixture::world(3), &Process::new(1));
        let mut families = BTreeSet::new();
        let mut samples = BTreeSet::new();
        let mut family = "";
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap();
                assert!(families.insert(family), "{family}");
            } else if !line.starts_with('#') {
                assert!(line.starts_with(family), "{line} is not of {family}");
                assert!(samples.insert(line.rsplit_once(' ').unwrap().0), "{line}");
            }
        }
        assert_eq!(families.len(), FAMILIES.len());
    }

    #[test]
    fn ten_thousand_members_are_shown() {
        let page = render_world(&fixture::world(10_000), &Process::new(1));
        assert_eq!(page.lines().filter(|l| l.starts_with("overspill_member_healthy{")).count(), 10_001);
    }
}
