//! What a sample says of news spares the planner work and changes no decision.

use std::sync::Arc;

use overspill::balance::plan::{BackendSample, MemberSample, News, ReportSample, Sample};
use overspill::balance::planner::ServicePlanner;
use overspill::balance::rng::Rng;
use overspill::model::policy::{Locality, Policies};
use overspill::model::service::Service;
use overspill::model::unit::{Ratio, Span, Tick};

use crate::fleet::{backend, member_rate, places, service, utilization};

/// Ticks of a run.
const TICKS: u64 = 1500;

/// The next sample: members serve, and sometimes report, fail their probes or pass them, or go idle.
fn go_on(sample: &mut Sample, now: Tick, rng: &mut Rng) {
    let is_idle = now.0 / Span::secs(30).0 % 3 == 2;
    for backend in &mut sample.backends {
        let mut news = News::Nothing;
        if !is_idle && rng.below(3) > 0 {
            let more = rng.below(20);
            backend.admitted += more;
            for member in &mut backend.members {
                member.finished += more / 2;
                news = news.max(News::Numbers);
            }
        }
        if rng.below(12) == 0 && (now.0 / Span::secs(40).0).is_multiple_of(2) {
            for member in &mut backend.members {
                let value = rng.unit();
                let (reports, total) =
                    member.report.map_or((0, 0), |report| (report.reports, report.total_micros));
                member.report = Some(ReportSample {
                    utilization: Ratio::new(value),
                    at: now,
                    reports: reports + 1,
                    total_micros: total + (value * 1e6) as u64,
                });
            }
            news = News::Numbers;
        }
        if rng.below(50) == 0 {
            let which = rng.below(backend.members.len() as u64) as usize;
            let member = &mut backend.members[which];
            (member.is_healthy, member.is_undecided) = (!member.is_healthy, false);
            news = News::Anything;
        }
        backend.news = news;
    }
}

fn same_with(policies: Policies, seed: u64) {
    let backends = vec![
        backend(0, 0, 3, utilization(0.6)),
        backend(1, 0, 2, member_rate(50.0)),
        backend(2, 1, 4, utilization(0.8)),
    ];
    let service = Arc::new(Service { policies, ..service(backends) });
    let planner = || ServicePlanner::new(Arc::clone(&service), &places(2), None);
    let (mut told, mut looking, mut rng) = (planner(), planner(), Rng::new(seed));
    let undecided = MemberSample { is_undecided: true, ..MemberSample::default() };
    let backends = service
        .backends
        .iter()
        .map(|one| BackendSample { members: vec![undecided; one.members.len()], ..BackendSample::default() });
    let mut sample = Sample { backends: backends.collect() };
    for n in 0..TICKS {
        let now = Tick(n * Span::millis(100).0);
        let mut all_new = sample.clone();
        all_new.backends.iter_mut().for_each(|backend| backend.news = News::Anything);
        let (one, other) = (told.tick(now, &sample), looking.tick(now, &all_new));
        assert_eq!(format!("{one:?}"), format!("{other:?}"), "seed {seed}, tick {n}");
        go_on(&mut sample, now, &mut rng);
    }
}

#[test]
fn a_planner_that_is_told_what_is_new_decides_as_one_that_looks() {
    for seed in 0..6 {
        let weighted = Policies { locality: Locality::WeightedRoundRobin, ..Policies::default() };
        let slow = Policies { slow_start: Span::secs(20), ..Policies::default() };
        let open = Policies { fails_open: true, ..Policies::default() };
        for policies in [Policies::default(), weighted, slow, open] {
            same_with(policies, seed);
        }
    }
}
