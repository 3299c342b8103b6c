//! `/status`: everything that is known, as JSON with Google's field names where there are any.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::balance::pick::Reason;
use crate::balance::plan::MetricFigures;
use crate::clock;
use crate::engine::handle::{Handle, Listening, ReloadState};
use crate::engine::upgrade::{Phase, UpgradeState};
use crate::ledger::breaker::Limit;
use crate::ledger::gauge::Gauge;
use crate::ledger::handshake::Handshake;
use crate::ledger::member::{Count, Member};
use crate::ledger::process::{Process, Traffic};
use crate::ledger::resolution::Resolution;
use crate::ledger::service::{Extra, Loss};
use crate::model::certificate::Certificate;
use crate::model::config::Front;
use crate::model::detail::StatusDetail;
use crate::model::place::{Places, RegionId};
use crate::model::problem::{Problem, Severity};
use crate::model::service::{Backend, GroupKind};
use crate::model::target::{Beside, CountTarget, CustomMetric, Mode, Preference, RateTarget};
use crate::model::timestamp::Timestamp;
use crate::model::unit::Tick;
use crate::telemetry::metrics::CLASSES;
use crate::world::{LiveBackend, LiveMember, LiveService, World};

/// The document.
pub(super) fn of(handle: &Handle) -> Value {
    let world = handle.world();
    let uptime = SystemTime::duration_since(&clock::wall(), handle.started()).unwrap_or_default();
    let listeners = handle.listeners();
    let listeners = listeners.iter().map(|listening| listener(&world, listening));
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptimeSeconds": uptime.as_secs_f64(),
        "pid": std::process::id(),
        "ready": handle.is_ready(),
        "upgrade": upgrade(&handle.upgrade()),
        "reload": reload(&handle.reload()),
        "listeners": listeners.collect::<Vec<_>>(),
        "process": process(handle.process()),
    });
    if let (Some(all), Value::Object(world)) = (status.as_object_mut(), of_world(&world, clock::now())) {
        all.extend(world);
    }
    status
}

fn listener(world: &World, listening: &Listening) -> Value {
    let front = world.config.fronts.iter().find(|front| front.name == listening.name);
    let tls = front.and_then(Front::tls);
    let mut value = json!({
        "name": &*listening.name,
        "configured": listening.configured.to_string(),
        "bound": listening.bound.to_string(),
        "kind": front.map(Front::word),
        "target": front.map(|front| &*front.proxy_name),
    });
    if front.is_some_and(Front::has_http3) {
        value["hasHttp3"] = true.into();
    }
    if let Some(tls) = tls {
        value["sslCertificates"] = tls.certificates.iter().map(certificate).collect();
        value["sslPolicy"] = Some(&*tls.policy.name).filter(|name| !name.is_empty()).into();
        value["serverTlsPolicy"] = tls.clients.as_ref().map(|clients| &*clients.name).into();
    }
    value
}

/// Names and dates, and no keys.
fn certificate(certificate: &Certificate) -> Value {
    let day = |seconds: i64| {
        let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Timestamp(SystemTime::UNIX_EPOCH + since).to_string()
    };
    let facts = certificate.facts();
    json!({
        "name": &*certificate.name,
        "subjectAlternativeNames": facts.names,
        "notBefore": day(facts.not_before),
        "expireTime": day(facts.not_after),
        "ocsp": certificate.certified().ocsp.is_some(),
    })
}

fn of_world(world: &World, now: Tick) -> Value {
    let places = &world.config.places;
    json!({
        "generation": world.generation,
        "fingerprint": format!("{:016x}", world.config.fingerprint),
        "zone": &*world.config.proxy.zone,
        "region": region(places, world.config.proxy.region),
        "warnings": world.config.warnings.iter().map(problem).collect::<Vec<_>>(),
        "services": world.services.iter().map(|s| service(places, s, now)).collect::<Vec<_>>(),
    })
}

fn reload(state: &ReloadState) -> Value {
    json!({
        "ok": state.is_ok,
        "at": Timestamp(state.at).to_string(),
        "origin": state.origin,
        "problems": state.problems.iter().map(problem).collect::<Vec<_>>(),
        "taken": state.taken,
        "refused": state.refused,
    })
}

fn upgrade(state: &UpgradeState) -> Value {
    let (pid, why) = match &state.phase {
        Phase::HandedOver(pid) => (Some(*pid), None),
        Phase::Failed(why) => (None, Some(why)),
        _ => (None, None),
    };
    json!({
        "phase": state.phase.as_str(),
        "at": Timestamp(state.at).to_string(),
        "failed": state.failed,
        // The process that serves instead.
        "pid": pid,
        "why": why,
    })
}

fn problem(problem: &Problem) -> Value {
    json!({
        "severity": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "code": problem.code,
        "path": problem.path,
        "line": problem.position.map(|p| p.line),
        "column": problem.position.map(|p| p.column),
        "message": problem.message,
        "expected": problem.expected,
    })
}

fn process(process: &Process) -> Value {
    let (accepted, closed) = (process.sum(Traffic::Accepted), process.sum(Traffic::Closed));
    json!({
        "workers": process.workers,
        "connectionsAccepted": accepted,
        "connectionsOpen": accepted.saturating_sub(closed),
        "connectionsWaited": process.sum(Traffic::Waited),
        "connectionsRefusedByAddress": process.sum(Traffic::RefusedByAddress),
        "acceptErrors": process.sum(Traffic::AcceptErrors),
        "backendConnections": process.sum(Traffic::BackendConnections),
        "logLinesDropped": process.sum(Traffic::LogLinesDropped),
        "panics": process.sum(Traffic::Panics),
        "tlsHandshakes": handshakes(process),
        "unroutedRequests": classes(process.unrouted()),
        "statusDetails": details(|detail| process.details(detail)),
    })
}

fn handshakes(process: &Process) -> Value {
    let counts = Handshake::ALL.into_iter().filter_map(|how| {
        let name = match (how.success(), how.failure()) {
            (Some((version, result)), _) => format!("{version} {result}"),
            (None, why) => why?.to_owned(),
        };
        Some((name, process.handshakes.ended(how))).filter(|(_, count)| *count > 0)
    });
    json!({
        "inProgress": process.handshakes.in_progress(),
        "ended": counts.map(|(name, count)| (name, count.into())).collect::<Map<_, Value>>(),
    })
}

fn service(places: &Places, service: &LiveService, now: Tick) -> Value {
    let (config, ledger) = (&service.config, &service.ledger);
    let losses = Loss::ALL.map(|loss| (loss.as_str(), ledger.losses(loss)));
    let trips = Limit::ALL.map(|limit| (limit.as_str().to_owned(), ledger.breakers.trips(limit).into()));
    let backends = config.backends.iter().zip(&service.backends);
    json!({
        "name": &*config.name,
        "loadBalancingScheme": config.scheme.as_str(),
        "protocol": config.protocol.as_str(),
        "sessionAffinity": config.affinity.as_str(),
        "localityLbPolicy": config.policies.locality.as_str(),
        "loadBalancingAlgorithm": config.policies.distribution.algorithm.as_str(),
        "healthCheck": config.health_check.as_ref().map(|check| &*check.name),
        "reachable": config.is_reachable,
        "backends": backends.map(|(config, live)| backend(places, config, live, now)).collect::<Vec<_>>(),
        "unplacedRequests": classes(ledger.unplaced()),
        "statusDetails": details(|detail| ledger.details(detail)),
        "affinityLosses": losses.into_iter().map(|(k, n)| (k.to_owned(), n.into())).collect::<Map<_, _>>(),
        "cookiesIssued": ledger.extra(Extra::CookiesIssued),
        "cookiesMalformed": ledger.extra(Extra::CookiesMalformed),
        "circuitBreakerTrips": trips.into_iter().collect::<Map<_, _>>(),
        "retries": ledger.extra(Extra::Retries),
        "replays": ledger.extra(Extra::Replays),
    })
}

fn backend(places: &Places, config: &Backend, live: &LiveBackend, now: Tick) -> Value {
    let figures = live.ledger.shown.read();
    let picks = Reason::ALL.map(|reason| (reason.as_str().to_owned(), live.ledger.picks(reason).into()));
    let mut value = json!({
        "group": &*config.group.name,
        "kind": config.group.kind.collection(),
        "zone": &*config.group.zone,
        "region": region(places, config.group.region),
        "balancingMode": mode(config),
        "capacityScaler": config.scaler.get(),
        "autoDrained": figures.is_auto_drained,
        "preference": match config.preference { Preference::Preferred => "PREFERRED", Preference::Default => "DEFAULT" },
        // null: not limited, or not known.
        "capacity": finite(figures.capacity),
        "rate": finite(figures.rate),
        // Requests, or connections of TCP and SSL services, at a time.
        "inFlightCapacity": finite(figures.count_capacity),
        "inFlight": live.ledger.gate.in_flight(),
        "fullness": finite(figures.fullness),
        "utilization": finite(figures.utilization),
        "picks": picks.into_iter().collect::<Map<_, _>>(),
        "members": live.members.iter().map(|m| member(config, m, now)).collect::<Vec<_>>(),
    });
    if !config.mode.metrics().is_empty() {
        let metrics = config.mode.metrics().iter().zip(figures.metrics);
        value["customMetrics"] = metrics.map(|(metric, figures)| custom_metric(metric, figures)).collect();
    }
    for (name, target) in targets(config) {
        value[name] = target.into();
    }
    value
}

fn custom_metric(metric: &CustomMetric, figures: MetricFigures) -> Value {
    json!({
        "name": &*metric.name,
        "maxUtilization": metric.max.get(),
        "dryRun": metric.is_dry_run,
        // null: not known.
        "mean": finite(figures.mean),
        "fullness": finite(figures.fullness),
    })
}

fn member(config: &Backend, live: &LiveMember, now: Tick) -> Value {
    let member = &live.numbered.member;
    let reported = live.endpoint.read();
    let (reports, last_report) = live.endpoint.heard();
    let mut value = json!({
        "name": &*live.config.name,
        "address": live.config.place(),
        "healthState": member.health().basic(),
        "detailedHealthState": member.health().as_str(),
        "lastProbe": probe(member, now),
        "ejected": member.conduct.is_ejected(),
        "ejections": member.conduct.ejections(),
        "inFlight": member.in_flight(),
        "attempts": member.sum(Count::Started),
        "attemptsFailed": member.sum(Count::Failed),
        "requests": classes(CLASSES.map(|(count, _)| member.sum(count))),
        "reports": {
            "utilization": reported.at.map(|_| reported.value.get()),
            "ageSeconds": last_report.map(|at| now.since(at).as_secs()),
            "count": reports,
            "malformed": live.endpoint.malformed(),
        },
    });
    if let Some(known) = &live.endpoint.resolution {
        value["resolution"] = resolution(known, now);
    }
    if !live.metrics.is_empty() {
        let metrics = config.mode.metrics().iter().zip(&live.metrics);
        value["customMetrics"] = metrics.map(|(metric, gauge)| reported_metric(metric, gauge, now)).collect();
    }
    value
}

/// Where a host name leads.
fn resolution(resolution: &Resolution, now: Tick) -> Value {
    let last = resolution.last();
    json!({
        "addresses": resolution.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "ttlSeconds": last.at.map(|_| last.ttl.as_secs()),
        "ageSeconds": last.at.map(|at| now.since(at).as_secs()),
        "lookups": last.succeeded,
        "lookupsFailed": last.failed,
        // Of the last lookup; null: it went well.
        "error": last.error,
    })
}

fn reported_metric(metric: &CustomMetric, gauge: &Gauge, now: Tick) -> Value {
    let reported = gauge.read();
    json!({
        "name": &*metric.name,
        "value": reported.at.map(|_| reported.value.get()),
        "ageSeconds": reported.at.map(|at| now.since(at).as_secs()),
        "count": reported.reports,
    })
}

fn probe(member: &Member, now: Tick) -> Value {
    let detail = member.probe_detail();
    let Some(at) = detail.at else { return Value::Null };
    json!({
        "succeeded": detail.succeeded,
        "reason": detail.reason,
        "latencySeconds": detail.latency.as_secs(),
        "ageSeconds": now.since(at).as_secs(),
        "streak": detail.streak,
    })
}

fn classes(counts: [u64; 6]) -> Value {
    CLASSES.iter().zip(counts).map(|((_, name), n)| ((*name).to_owned(), Value::from(n))).collect()
}

/// Those that have happened.
fn details(count: impl Fn(StatusDetail) -> u64) -> Value {
    let all = StatusDetail::ALL.iter().map(|detail| (detail.as_str().to_owned(), count(*detail)));
    all.filter(|(_, n)| *n > 0).map(|(word, n)| (word, Value::from(n))).collect()
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Name of a region.
pub(crate) fn region(places: &Places, id: RegionId) -> &str {
    places.regions.get(usize::from(id.0)).map_or("", |region| &region.name)
}

/// `balancingMode` as Google writes it.
pub(crate) const fn mode(backend: &Backend) -> &'static str {
    backend.mode.as_str()
}

/// The targets of a backend under Google's names.
pub(crate) fn targets(backend: &Backend) -> Vec<(&'static str, f64)> {
    let is_group = backend.group.kind == GroupKind::InstanceGroup;
    let rate = backend.mode.rate().map(|target| match target {
        RateTarget::Group(rate) => ("maxRate", rate.get()),
        RateTarget::PerMember(rate) if is_group => ("maxRatePerInstance", rate.get()),
        RateTarget::PerMember(rate) => ("maxRatePerEndpoint", rate.get()),
    });
    let names = match backend.mode {
        Mode::Connection(_) | Mode::Utilization { beside: Beside::Connections(_), .. } => {
            ["maxConnections", "maxConnectionsPerInstance", "maxConnectionsPerEndpoint"]
        }
        _ => ["maxInFlightRequests", "maxInFlightRequestsPerInstance", "maxInFlightRequestsPerEndpoint"],
    };
    let count = backend.mode.count().map(|target| match target {
        CountTarget::Group(count) => (names[0], f64::from(count)),
        CountTarget::PerMember(count) if is_group => (names[1], f64::from(count)),
        CountTarget::PerMember(count) => (names[2], f64::from(count)),
    });
    let max = match backend.mode {
        Mode::Utilization { max, .. } => Some(("maxUtilization", max.get())),
        _ => None,
    };
    max.into_iter().chain(rate).chain(count).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::balance::plan::Figures;
    use crate::ledger::cell::WorkerId;

    use crate::ledger::member::{Health, ProbeDetail};
    use crate::ledger::registry::Registry;
    use crate::model::config::{FrontKind, ServiceId, SslFront, TcpFront};
    use crate::model::tls::Termination;
    use crate::model::unit::{Ratio, Span};
    use crate::telemetry::fixture;

    #[test]
    fn a_listener_shows_its_kind_and_the_names_of_its_certificates_and_nothing_of_their_keys() {
        let mut world = fixture::world(2);
        let pem = (include_str!("../model/testdata/one.pem"), include_str!("../model/testdata/one.key"));
        let relay = TcpFront { service: ServiceId(0), has_proxy_header: false };
        let certificates = vec![Certificate::read("one", pem.0, pem.1).unwrap()];
        let address = "127.0.0.1:0".parse().unwrap();
        Arc::make_mut(&mut world.config).fronts = vec![Front {
            name: "mail".into(),
            address,
            proxy_name: "mail-proxy".into(),
            kind: FrontKind::Ssl(SslFront { relay, tls: Arc::new(Termination::new(certificates)) }),
            proxy_protocol: None,
        }];
        let shown = listener(&world, &Listening { name: "mail".into(), configured: address, bound: address });
        assert_eq!(
            shown,
            json!({
                "name": "mail", "configured": "127.0.0.1:0", "bound": "127.0.0.1:0",
                "kind": "SSL proxy", "target": "mail-proxy", "sslPolicy": null, "serverTlsPolicy": null, "sslCertificates": [{
                    "name": "one", "subjectAlternativeNames": ["one.example", "*.wild.example"],
                    "notBefore": "2026-11-21T13:05:07.000000Z", "expireTime": "2126-10-28T13:05:07.000000Z",
                    "ocsp": false,
                }],
            })
        );
    }

    #[test]
    fn custom_metrics_are_shown_by_backend_and_by_member() {
        let mut config = (*fixture::world(1).config).clone();
        let service = Arc::make_mut(&mut config.services[0]);
        let metric =
            |name: &str, is_dry_run| CustomMetric { name: name.into(), max: Ratio::new(0.8), is_dry_run };
        let metrics = Arc::new([metric("queue", false), metric("heat", true)]);
        service.backends[0].mode = Mode::CustomMetrics { metrics, rate: None };
        let world = World::build(Arc::new(config), 1, &mut Registry::new(1));
        let near = &world.services[0].backends[0];
        near.members[0].hear(None, |name| (name == "queue").then_some(0.4), Tick(5));
        let queue = MetricFigures { mean: 0.4, fullness: 0.5 };
        let metrics = [queue, MetricFigures::UNKNOWN];
        near.ledger.shown.store(Figures { metrics, ..Figures::default() });
        let backend = of_world(&world, Tick(5) + Span::secs(2))["services"][0]["backends"][0].clone();
        assert_eq!(backend["balancingMode"], "CUSTOM_METRICS");
        let shown = &backend["customMetrics"];
        assert_eq!(
            (&shown[0]["name"], &shown[0]["mean"], &shown[0]["fullness"]),
            (&json!("queue"), &json!(0.4), &json!(0.5))
        );
        assert_eq!((&shown[1]["dryRun"], &shown[1]["mean"]), (&json!(true), &Value::Null));
        let reported = &backend["members"][0]["customMetrics"];
        let reports = &backend["members"][0]["reports"];
        assert_eq!(
            (&reports["utilization"], &reports["ageSeconds"], &reports["count"]),
            (&Value::Null, &json!(2.0), &json!(1)),
            "a report without a utilization is a report"
        );
        assert_eq!((&reported[0]["value"], &reported[0]["ageSeconds"]), (&json!(0.4), &json!(2.0)));
        assert_eq!((&reported[1]["value"], &reported[1]["count"]), (&Value::Null, &json!(0)));
    }

    #[test]
    fn the_world_is_shown_down_to_each_members_last_probe() {
        let world = fixture::world(2);
        let near = &world.services[0].backends[0];
        near.ledger.shown.store(Figures {
            capacity: 200.0,
            rate: 50.0,
            fullness: 0.25,
            utilization: f64::NAN,
            is_auto_drained: true,
            ..Figures::default()
        });
        near.ledger.count_pick(WorkerId(0), Reason::Nearest);
        let probe = ProbeDetail {
            at: Some(Tick(5)),
            succeeded: false,
            reason: "connection refused".to_owned(),
            latency: Span::millis(2),
            streak: 3,
        };
        near.members[1].numbered.member.record_probe(Health::Unhealthy, probe);
        let status = of_world(&world, Tick(5) + Span::secs(2));
        let backend = &status["services"][0]["backends"][0];
        assert_eq!(status["fingerprint"], "0000000000000abc");
        assert_eq!(backend["group"], "near");
        assert_eq!(
            (&backend["balancingMode"], &backend["maxRatePerInstance"]),
            (&json!("RATE"), &json!(100.0))
        );
        assert_eq!((&backend["fullness"], &backend["utilization"]), (&json!(0.25), &Value::Null));
        assert_eq!(backend["picks"]["nearest"], 1);
        let other = &status["services"][0]["backends"][1];
        assert_eq!((&backend["autoDrained"], &other["autoDrained"]), (&json!(true), &json!(false)));
        assert_eq!(backend["members"][0]["lastProbe"], Value::Null);
        let sick = &backend["members"][1];
        assert_eq!(
            (&sick["healthState"], &sick["lastProbe"]["ageSeconds"]),
            (&json!("UNHEALTHY"), &json!(2.0))
        );
        assert_eq!(sick["lastProbe"]["reason"], "connection refused");
        assert_eq!(status["services"][0]["backends"][1]["maxUtilization"], 0.8);
    }
}
