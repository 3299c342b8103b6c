//! Outlier detection: members of a service that answer worse than they should are taken out for a while [G 2.20, 2e].
//!
//! The pool is all members of the **service**: `maxEjectionPercent`, the mean and the number of hosts are "of the load
//! balancing pool for the backend service" in the API's words. Runs of errors are looked at in every tick, success
//! rates once per `interval`. Nobody is ejected if more than `maxEjectionPercent` of all members would then be out.
//! An ejection lasts `baseEjectionTime` × the number of times that the member has been ejected so far.

use std::collections::BTreeMap;

use super::hash;
use super::plan::{MemberSample, Sample};
use super::rng::Rng;
use crate::model::policy::OutlierDetection;
use crate::model::service::Service;
use crate::model::unit::{Span, Tick};

/// Why a member was ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `consecutiveErrors`.
    ConsecutiveErrors,
    /// `consecutiveGatewayFailure`.
    ConsecutiveGatewayFailure,
    /// `successRate*`.
    SuccessRate,
}

impl Cause {
    /// The word in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveErrors => "consecutive_errors",
            Self::ConsecutiveGatewayFailure => "consecutive_gateway_failure",
            Self::SuccessRate => "success_rate",
        }
    }
}

/// A member goes, or comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Backend index.
    pub backend: usize,
    /// Member index.
    pub member: usize,
    /// Why it goes and for how long; `None` = it is back.
    pub ejected: Option<(Cause, Span)>,
}

/// What is known of a member that was ejected, for another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Backend index.
    pub backend: usize,
    /// Member index.
    pub member: usize,
    /// How long it is still out; zero = it is not.
    pub left: Span,
    /// Ejections so far.
    pub times: u64,
}

/// Memory of a service's members. Lives in the planner; a reload adopts it.
#[derive(Debug)]
pub(super) struct Outliers {
    rules: OutlierDetection,
    /// By backend and member index.
    records: Vec<Vec<Record>>,
    /// The same, as others read it.
    ejected: Vec<Vec<bool>>,
    next_look: Option<Tick>,
    rng: Rng,
}

#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// Of group and member.
    identity: (u64, u64),
    /// When its ejection ends.
    until: Option<Tick>,
    /// Ejections so far.
    times: u64,
    error_runs: u64,
    gateway_failure_runs: u64,
    /// Attempts that had ended, and failed, at the last look at success rates.
    finished: u64,
    failed: u64,
}

impl Outliers {
    /// The service's; `None` when it has no `outlierDetection`. `old` lends what it knows about the same members.
    pub(super) fn new(service: &Service, old: Option<&Self>) -> Option<Self> {
        let rules = service.policies.outlier_detection?;
        let known: BTreeMap<_, _> = old
            .into_iter()
            .flat_map(|old| old.records.iter().flatten().map(|record| (record.identity, *record)))
            .collect();
        let record =
            |identity| known.get(&identity).copied().unwrap_or(Record { identity, ..Record::default() });
        let records: Vec<Vec<_>> = service
            .backends
            .iter()
            .map(|backend| {
                let group = hash::group(&backend.group);
                backend.members.iter().map(|member| record((group, hash::member(member)))).collect()
            })
            .collect();
        let is_out = |record: &Record| record.until.is_some();
        let ejected = records.iter().map(|records| records.iter().map(is_out).collect()).collect();
        let rng = old.map_or_else(|| Rng::new(hash::text_of(&service.name)), |old| old.rng.clone());
        Some(Self { rules, records, ejected, next_look: old.and_then(|old| old.next_look), rng })
    }

    /// Ejected members of a backend, by index.
    pub(super) fn of_backend(&self, backend: usize) -> &[bool] {
        self.ejected.get(backend).map_or(&[], Vec::as_slice)
    }

    /// Members that were ever ejected.
    pub(super) fn ejections(&self, now: Tick) -> Vec<Ejection> {
        let all = self.records.iter().enumerate().flat_map(|(backend, records)| {
            records.iter().enumerate().map(move |(member, record)| (backend, member, record))
        });
        all.filter(|(.., record)| record.times > 0)
            .map(|(backend, member, record)| {
                let left = record.until.map_or(Span::ZERO, |until| until.since(now));
                Ejection { backend, member, left, times: record.times }
            })
            .collect()
    }

    /// Takes over what another process knew of a member.
    pub(super) fn recall(&mut self, ejection: Ejection, now: Tick) {
        let Ejection { backend, member, left, times } = ejection;
        let record = self.records.get_mut(backend).and_then(|records| records.get_mut(member));
        let is_out = self.ejected.get_mut(backend).and_then(|ejected| ejected.get_mut(member));
        if let (Some(record), Some(is_out)) = (record, is_out) {
            record.times = times;
            record.until = (left > Span::ZERO).then(|| now + left);
            *is_out = record.until.is_some();
        }
    }

    /// A tick: who comes back, and who goes.
    pub(super) fn tick(&mut self, now: Tick, sample: &Sample) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        self.take_back(now, &mut verdicts);
        let mut suspects = self.runs(sample);
        if self.next_look.is_none_or(|next| now >= next) {
            let is_first = self.next_look.is_none();
            self.next_look = Some(now + self.rules.interval);
            let slow = self.success_rates(sample);
            // Before the first interval has passed, the counters are those of a longer time.
            suspects.extend(slow.into_iter().filter(|_| !is_first));
        }
        for (backend, member, cause) in suspects {
            if let Some(time) = self.eject(now, (backend, member), cause) {
                verdicts.push(Verdict { backend, member, ejected: Some((cause, time)) });
            }
        }
        verdicts
    }

    fn take_back(&mut self, now: Tick, verdicts: &mut Vec<Verdict>) {
        for (backend, (records, ejected)) in self.records.iter_mut().zip(&mut self.ejected).enumerate() {
            for (member, (record, is_out)) in records.iter_mut().zip(ejected).enumerate() {
                if record.until.is_some_and(|until| now >= until) {
                    record.until = None;
                    *is_out = false;
                    verdicts.push(Verdict { backend, member, ejected: None });
                }
            }
        }
    }

    /// Members with new full runs of errors. What an ejected one still answers does not count.
    fn runs(&mut self, sample: &Sample) -> Vec<(usize, usize, Cause)> {
        let mut suspects = Vec::new();
        each(&mut self.records, sample, |at, record, member| {
            let conduct = &member.conduct;
            let gateway = conduct.gateway_failure_runs.saturating_sub(record.gateway_failure_runs);
            let errors = conduct.error_runs.saturating_sub(record.error_runs);
            record.gateway_failure_runs = conduct.gateway_failure_runs;
            record.error_runs = conduct.error_runs;
            // A run is one suspicion, to be enforced with its own chance; a member that answers so fast that it has
            // hundreds in a tick needs no more than a few.
            let some = |count: u64, cause| (0..count.min(16)).map(move |_| (at.0, at.1, cause));
            suspects.extend(some(gateway, Cause::ConsecutiveGatewayFailure));
            suspects.extend(some(errors, Cause::ConsecutiveErrors));
        });
        suspects
    }

    /// Members whose success rate is below mean − stdev × factor ÷ 1000 of those with enough requests.
    #[allow(clippy::cast_precision_loss)]
    fn success_rates(&mut self, sample: &Sample) -> Vec<(usize, usize, Cause)> {
        let mut rates = Vec::new();
        let least = u64::from(self.rules.success_rate_request_volume).max(1);
        each(&mut self.records, sample, |at, record, member| {
            let ended = member.finished.saturating_sub(record.finished);
            let failed = member.failed.saturating_sub(record.failed).min(ended);
            (record.finished, record.failed) = (member.finished, member.failed);
            if ended >= least {
                rates.push((at, 1.0 - failed as f64 / ended as f64));
            }
        });
        if rates.is_empty() || rates.len() < self.rules.success_rate_minimum_hosts as usize {
            return Vec::new();
        }
        let count = rates.len() as f64;
        let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
        let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / count;
        let factor = f64::from(self.rules.success_rate_stdev_factor) / 1000.0;
        let threshold = mean - variance.sqrt() * factor;
        let low = rates.into_iter().filter(|(_, rate)| *rate < threshold);
        low.map(|((backend, member), _)| (backend, member, Cause::SuccessRate)).collect()
    }

    /// For how long, if chance and `maxEjectionPercent` allow it and it is not out already.
    fn eject(&mut self, now: Tick, (backend, member): (usize, usize), cause: Cause) -> Option<Span> {
        let rules = &self.rules;
        let percent = match cause {
            Cause::ConsecutiveErrors => rules.enforcing_consecutive_errors,
            Cause::ConsecutiveGatewayFailure => rules.enforcing_consecutive_gateway_failure,
            Cause::SuccessRate => rules.enforcing_success_rate,
        };
        let members = self.ejected.iter().map(Vec::len).sum::<usize>() as u64;
        let out = self.ejected.iter().flatten().filter(|is_out| **is_out).count() as u64;
        let is_out = self.ejected.get_mut(backend)?.get_mut(member)?;
        let record = self.records.get_mut(backend)?.get_mut(member)?;
        let is_too_many = (out + 1) * 100 > u64::from(rules.max_ejection_percent) * members;
        if *is_out || self.rng.below(100) >= u64::from(percent) || is_too_many {
            return None;
        }
        record.times += 1;
        let time = Span(rules.base_ejection_time.0.saturating_mul(record.times));
        record.until = Some(now + time);
        *is_out = true;
        Some(time)
    }
}

fn each(
    records: &mut [Vec<Record>],
    sample: &Sample,
    mut look: impl FnMut((usize, usize), &mut Record, &MemberSample),
) {
    for (backend, (records, sample)) in records.iter_mut().zip(&sample.backends).enumerate() {
        for (member, (record, sample)) in records.iter_mut().zip(&sample.members).enumerate() {
            look((backend, member), record, sample);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::balance::plan::{BackendSample, Conduct};

    /// One backend of so many members.
    fn outliers(rules: OutlierDetection, members: usize) -> Outliers {
        let record = |n: usize| Record { identity: (1, n as u64), ..Record::default() };
        Outliers {
            rules,
            records: vec![(0..members).map(record).collect()],
            ejected: vec![vec![false; members]],
            next_look: None,
            rng: Rng::new(1),
        }
    }

    fn sample(members: impl IntoIterator<Item = MemberSample>) -> Sample {
        Sample {
            backends: vec![BackendSample {
                members: members.into_iter().collect(),
                ..BackendSample::default()
            }],
        }
    }

    fn runs(of: &[u64]) -> Sample {
        sample(of.iter().map(|runs| MemberSample {
            conduct: Conduct { gateway_failure_runs: *runs, ..Conduct::default() },
            ..MemberSample::default()
        }))
    }

    fn rates(of: &[(u64, u64)]) -> Sample {
        let member = |(finished, failed): &(u64, u64)| MemberSample {
            finished: *finished,
            failed: *failed,
            ..MemberSample::default()
        };
        sample(of.iter().map(member))
    }

    fn at(seconds: u64) -> Tick {
        Tick(1) + Span::secs(seconds)
    }

    #[test]
    fn g_2_20_an_ejection_lasts_base_times_times_ejected_and_ends() {
        let mut outliers = outliers(OutlierDetection::default(), 4);
        let gone = outliers.tick(at(0), &runs(&[0, 1, 0, 0]));
        let cause = Cause::ConsecutiveGatewayFailure;
        assert_eq!(gone, [Verdict { backend: 0, member: 1, ejected: Some((cause, Span::secs(30))) }]);
        assert_eq!(outliers.of_backend(0), [false, true, false, false]);
        assert!(
            outliers.tick(at(29), &runs(&[0, 3, 0, 0])).is_empty(),
            "what it does while out counts for nothing"
        );
        let back = outliers.tick(at(30), &runs(&[0, 3, 0, 0]));
        assert_eq!(back, [Verdict { backend: 0, member: 1, ejected: None }]);
        let again = outliers.tick(at(31), &runs(&[0, 4, 0, 0]));
        assert_eq!(again[0].ejected, Some((cause, Span::secs(60))));
    }

    #[test]
    fn g_2e_at_most_so_many_percent_are_out() {
        let mut outliers = outliers(OutlierDetection::default(), 5);
        assert_eq!(outliers.tick(at(0), &runs(&[1, 1, 1, 1, 1])).len(), 2, "half of 5 are 2");
        let mut one = self::outliers(OutlierDetection::default(), 1);
        assert!(one.tick(at(0), &runs(&[1])).is_empty(), "the only member stays");
    }

    #[test]
    fn g_2e_consecutive_errors_are_not_enforced_by_default_and_by_chance_when_set() {
        let errors = |count: u64| {
            let conduct = Conduct { error_runs: count, ..Conduct::default() };
            sample([MemberSample { conduct, ..MemberSample::default() }, MemberSample::default()])
        };
        let mut off = outliers(OutlierDetection::default(), 2);
        assert!((0..100).all(|n| off.tick(at(n), &errors(n)).is_empty()));
        let rules = OutlierDetection { enforcing_consecutive_errors: 25, ..OutlierDetection::default() };
        let mut ejected = 0;
        for seed in 0..1000 {
            let mut some = Outliers { rng: Rng::new(seed), ..outliers(rules, 2) };
            ejected += some.tick(at(0), &errors(1)).len();
        }
        assert!(ejected.abs_diff(250) < 50, "{ejected}");
    }

    #[test]
    fn what_another_process_knew_goes_on_with_the_time_that_was_left() {
        let mut old = outliers(OutlierDetection::default(), 10);
        old.tick(at(0), &runs(&[0, 1]));
        let known = old.ejections(at(10));
        assert_eq!(known, [Ejection { backend: 0, member: 1, left: Span::secs(20), times: 1 }]);
        let mut new = outliers(OutlierDetection::default(), 10);
        known.into_iter().for_each(|one| new.recall(one, at(1000)));
        new.recall(Ejection { backend: 0, member: 10, left: Span::secs(1), times: 1 }, at(1000));
        assert_eq!(new.of_backend(0).iter().filter(|is_out| **is_out).count(), 1);
        assert_eq!(new.tick(at(1019), &runs(&[0, 0])), []);
        let back = Verdict { backend: 0, member: 1, ejected: None };
        assert_eq!(new.tick(at(1020), &runs(&[0, 0])), [back]);
        assert_eq!(new.tick(at(1021), &runs(&[0, 1]))[0].ejected.unwrap().1, Span::secs(60), "its second");
    }

    #[test]
    fn g_2_20_who_is_below_the_mean_by_1_9_deviations_is_ejected() {
        // Rates 1, 1, 1, 1, 1, 0.5: mean 0.917, deviation 0.186, threshold 0.563.
        let mut outliers = outliers(OutlierDetection::default(), 6);
        let all = |n: u64, bad: u64| rates(&[(n, 0), (n, 0), (n, 0), (n, 0), (n, 0), (n, bad)]);
        assert!(outliers.tick(at(0), &all(1000, 900)).is_empty(), "nothing to compare with yet");
        assert!(
            outliers.tick(at(0) + Span::millis(500), &all(1100, 950)).is_empty(),
            "the interval has not passed"
        );
        let gone = outliers.tick(at(1), &all(1100, 950));
        assert_eq!(gone.len(), 1);
        assert_eq!((gone[0].member, gone[0].ejected.unwrap().0), (5, Cause::SuccessRate));
    }

    #[test]
    fn g_2e_too_few_hosts_or_requests_say_nothing() {
        let rules = OutlierDetection::default();
        let mut few = outliers(rules, 4);
        few.tick(at(0), &rates(&[(0, 0); 4]));
        assert!(few.tick(at(1), &rates(&[(200, 0), (200, 0), (200, 0), (200, 200)])).is_empty());
        let mut quiet = outliers(rules, 6);
        quiet.tick(at(0), &rates(&[(0, 0); 6]));
        assert!(
            quiet.tick(at(1), &rates(&[(99, 0), (99, 0), (99, 0), (99, 0), (99, 0), (99, 99)])).is_empty()
        );
    }
}
