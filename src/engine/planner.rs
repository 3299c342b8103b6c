//! The planner's shell: reads the ledger, calls `balance`, publishes plans and limits. No arithmetic here.

use std::collections::HashMap;
use std::sync::Arc;

use crate::balance::outlier::{Ejection, Verdict};
use crate::balance::plan::{BackendSample, Conduct, MemberSample, News, ReportSample, Sample};
use crate::balance::planner::ServicePlanner;
use crate::clock;
use crate::ledger::gauge::Reported;
use crate::ledger::member::{Count, Health};
use crate::model::policy::{Locality, Policies};
use crate::model::service::{Group, UtilizationSource};
use crate::model::unit::{Span, Tick};
use crate::world::{LiveBackend, LiveMember, LiveService, World};

/// From tick to tick.
pub(super) const TICK: Span = Span::millis(100);

/// The planners of the world that serves, by service name.
#[derive(Default)]
pub(super) struct Planners {
    by_service: HashMap<Arc<str>, ServicePlanner>,
}

impl Planners {
    /// Planners for a new world, with what the old ones have learned. Publishes a first plan into each slot, so that
    /// nobody ever sees a service without a plan.
    pub(super) fn adopt(&mut self, world: &World) {
        let places = &world.config.places;
        let fresh = world.services.iter().map(|service| {
            let old = self.by_service.get(service.name());
            (service.name().clone(), ServicePlanner::new(service.config.clone(), places, old))
        });
        self.by_service = fresh.collect();
        for service in &world.services {
            if let Some(planner) = self.by_service.get(service.name()) {
                show_ejected(planner, service);
            }
        }
        self.tick(world);
    }

    /// Members that outlier detection has ejected, by service.
    pub(super) fn ejections(&self, world: &World, now: Tick) -> Vec<(Arc<str>, Ejection)> {
        let services = world.services.iter().map(|service| service.name());
        let planners = services.filter_map(|name| Some((name, self.by_service.get(name)?)));
        planners
            .flat_map(|(name, planner)| planner.ejections(now).into_iter().map(|one| (name.clone(), one)))
            .collect()
    }

    /// What the process before this one knew of them.
    pub(super) fn recall(&mut self, world: &World, ejections: Vec<(Arc<str>, Ejection)>, now: Tick) {
        for (service, ejection) in ejections {
            if let Some(planner) = self.by_service.get_mut(&service) {
                planner.recall(ejection, now);
            }
        }
        for service in &world.services {
            if let Some(planner) = self.by_service.get(service.name()) {
                show_ejected(planner, service);
            }
        }
        self.tick(world);
    }

    /// One tick over all services.
    pub(super) fn tick(&mut self, world: &World) {
        let now = clock::now();
        for service in &world.services {
            if let Some(planner) = self.by_service.get_mut(service.name()) {
                tick(planner, service, now);
            }
        }
    }
}

fn tick(planner: &mut ServicePlanner, service: &LiveService, now: Tick) {
    let decision = planner.tick(now, &sample(service, now));
    for (backend, limits) in service.backends.iter().zip(decision.limits) {
        backend.ledger.gate.set(limits);
    }
    for (backend, figures) in service.backends.iter().zip(decision.figures) {
        backend.ledger.shown.store(figures);
    }
    for verdict in decision.verdicts {
        tell(service, verdict);
    }
    if let Some(plan) = decision.plan {
        service.plan.store(plan);
    }
}

/// What outlier detection has decided goes where workers and people see it.
fn tell(service: &LiveService, verdict: Verdict) {
    let backend = service.backends.get(verdict.backend);
    let Some(member) = backend.and_then(|backend| backend.members.get(verdict.member)) else { return };
    member.numbered.member.conduct.set_ejected(verdict.ejected.is_some());
    let (service, name) = (service.name(), &member.config.name);
    match verdict.ejected {
        Some((cause, time)) => {
            let (cause, seconds) = (cause.as_str(), time.as_secs());
            tracing::warn!(%service, member = %name, cause, seconds, "outlier ejected");
        }
        None => tracing::info!(%service, member = %name, "outlier let in again"),
    }
}

/// A reload may have taken outlier detection away.
fn show_ejected(planner: &ServicePlanner, service: &LiveService) {
    for (b, backend) in service.backends.iter().enumerate() {
        for (m, member) in backend.members.iter().enumerate() {
            member.numbered.member.conduct.set_ejected(planner.is_ejected(b, m));
        }
    }
}

fn sample(service: &LiveService, now: Tick) -> Sample {
    let backends =
        service.config.backends.iter().zip(&service.backends).map(|(config, live)| {
            backend_sample(live, config.mode.is_reported().then_some(&config.group), now)
        });
    let mut sample = Sample { backends: backends.collect() };
    add_conduct(&mut sample, service, now);
    sample
}

fn backend_sample(live: &LiveBackend, reports: Option<&Arc<Group>>, now: Tick) -> BackendSample {
    let gate = &live.ledger.gate;
    let counts = gate.counts();
    BackendSample {
        admitted: counts.admitted,
        overfilled: counts.overfilled,
        refused: counts.refused,
        backlog: gate.backlog(now),
        in_flight: gate.in_flight(),
        members: live.members.iter().map(|m| member_sample(m, reports.map(|g| &g.utilization))).collect(),
        news: News::Anything,
    }
}

/// Counters and reports are summed only for backends that need them: rates need the gate alone.
fn member_sample(live: &LiveMember, reports: Option<&UtilizationSource>) -> MemberSample {
    let member = &live.numbered.member;
    let health = member.health();
    let mut sample = MemberSample {
        is_healthy: health == Health::Healthy,
        is_undecided: health == Health::Unknown,
        ..MemberSample::default()
    };
    if reports.is_some() {
        sample.finished = member.sum(Count::Finished);
        sample.failed = member.sum(Count::Failed) + member.sum(Count::ServerErrors);
        sample.report = report_sample(live.endpoint.read());
        for (sample, gauge) in sample.metrics.iter_mut().zip(&live.metrics) {
            *sample = report_sample(gauge.read());
        }
    }
    sample
}

fn report_sample(read: Reported) -> Option<ReportSample> {
    read.at.map(|at| ReportSample {
        utilization: read.value,
        at,
        reports: read.reports,
        total_micros: read.total_micros,
    })
}

/// How members have answered, for services whose policies go by that.
fn add_conduct(sample: &mut Sample, service: &LiveService, now: Tick) {
    let Policies { outlier_detection, locality, .. } = &service.config.policies;
    let (is_judged, is_weighed) = (outlier_detection.is_some(), *locality == Locality::WeightedRoundRobin);
    if !is_judged && !is_weighed {
        return;
    }
    for (live, sample) in service.backends.iter().zip(&mut sample.backends) {
        for (live, sample) in live.members.iter().zip(&mut sample.members) {
            let member = &live.numbered.member;
            let (error_runs, gateway_failure_runs) = member.conduct.runs();
            let weight = is_weighed.then(|| member.conduct.weight(now)).flatten();
            sample.conduct = Conduct { error_runs, gateway_failure_runs, weight };
            if is_judged {
                sample.finished = member.sum(Count::Finished);
                sample.failed = member.sum(Count::Failed) + member.sum(Count::ServerErrors);
            }
        }
    }
}
