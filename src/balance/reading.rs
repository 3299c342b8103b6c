//! What the members of a backend say about themselves since the last look: mean utilization and served rate over the
//! same period.
//!
//! Mean over the **healthy** members [G 1.22]. A report older than [`MAX_AGE`] means *unknown*. Where a member failed
//! part of its requests, that part counts as if it had been busy for it: a member that fails fast burns no CPU, and
//! must not look idle and attract traffic.

use super::plan::{MemberSample, News, ReportSample};
use crate::model::unit::{Ratio, Span, Tick};

/// A report older than this says nothing any more.
pub(super) const MAX_AGE: Span = Span::secs(10);

/// At least so far apart are two readings: what comes more often (a header on every answer) is averaged.
const MIN_PERIOD: Span = Span::millis(500);

/// A reading waits so long for the members that have not reported since the last one.
const MAX_PERIOD: Span = Span::secs(2);

/// Mean over the healthy members since the reading before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    /// Effective utilization; may exceed 1.
    pub(super) utilization: Ratio,
    /// Requests per second and healthy member that ended.
    pub(super) rate: f64,
    /// What one request more or less makes of the rate.
    pub(super) grain: f64,
    /// Since the reading before.
    pub(super) seconds: f64,
}

/// Reads the members. Owned by the planner, one per UTILIZATION backend; adopted over a reload.
#[derive(Debug, Clone, Default)]
pub(super) struct Reader {
    last: Option<Tick>,
    members: Vec<MemberSample>,
    /// The last effective utilization, for figures; `None` = unknown.
    shown: Option<Ratio>,
    /// Until then nothing follows from members of which there is no news.
    quiet: Option<Tick>,
}

/// What a look at the members brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Look {
    /// Nothing new yet.
    Wait,
    /// The period is over without a report that says anything.
    Unknown {
        /// Requests per second and member.
        rate: f64,
        /// Since the reading before.
        seconds: f64,
        /// Most of them failed: nothing that would report.
        is_failing: bool,
    },
    /// New reports.
    Known(Reading),
}

impl Reader {
    /// The last effective utilization; `None` = unknown.
    pub(super) const fn shown(&self) -> Option<Ratio> {
        self.shown
    }

    /// Looks at the members. Members that changed places are read anew.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn look(&mut self, now: Tick, members: &[MemberSample], news: News) -> Look {
        let Some(last) = self.last.filter(|_| self.members.len() == members.len()) else {
            self.start(now, members);
            return Look::Wait;
        };
        let period = now.since(last);
        self.quiet = self.quiet.filter(|until| news == News::Nothing && now <= *until);
        if period < MIN_PERIOD || self.quiet.is_some() {
            return Look::Wait;
        }
        let healthy = || self.members.iter().zip(members).filter(|(_, member)| member.is_healthy);
        let count = healthy().count();
        if count == 0 {
            return Look::Wait;
        }
        let is_new = |before: &MemberSample, member: &MemberSample| reports(member) != reports(before);
        let is_fresh = |member: &MemberSample| member.report.is_some_and(|it| now.since(it.at) <= MAX_AGE);
        let fresh = healthy().filter(|(_, member)| is_fresh(member)).count();
        let finished: u64 =
            healthy().map(|(before, member)| member.finished.saturating_sub(before.finished)).sum();
        let new = healthy().filter(|(before, member)| is_new(before, member)).count();
        if finished == 0 && new == 0 && period > MAX_PERIOD {
            // What comes after an idle time is not spread over it.
            self.start(now, members);
            self.shown = self.shown.filter(|_| fresh > 0);
            return Look::Unknown { rate: 0.0, seconds: period.as_secs(), is_failing: false };
        }
        if fresh > 0 && (new == 0 || (new < fresh && period < MAX_PERIOD)) {
            let latest = healthy().filter_map(|(_, member)| member.report).map(|report| report.at).max();
            let until = if finished > 0 { latest.map(|at| at + MAX_AGE) } else { Some(last + MAX_PERIOD) };
            self.quiet = until.filter(|_| new == 0);
            return Look::Wait;
        }
        let seconds = period.as_secs();
        let grain = 1.0 / seconds / count as f64;
        let rate = finished as f64 * grain;
        let (sum, known) = healthy()
            .filter_map(|(before, member)| utilization(before, member, is_fresh(member)))
            .fold((0.0, 0.0), |(sum, known), one| (sum + one, known + 1.0));
        self.start(now, members);
        self.shown = (known > 0.0).then(|| Ratio::new(sum / known));
        match self.shown {
            Some(utilization) if fresh > 0 => Look::Known(Reading { utilization, rate, grain, seconds }),
            // Of members without a report, only those that fail are known.
            known => Look::Unknown { rate, seconds, is_failing: known.is_some() },
        }
    }

    fn start(&mut self, now: Tick, members: &[MemberSample]) {
        (self.last, self.quiet) = (Some(now), None);
        self.members.clear();
        self.members.extend_from_slice(members);
    }
}

fn reports(member: &MemberSample) -> u64 {
    member.report.map_or(0, |report| report.reports)
}

/// Effective utilization of a member over the period; `None` when it is unknown.
#[allow(clippy::cast_precision_loss)]
fn utilization(before: &MemberSample, member: &MemberSample, is_fresh: bool) -> Option<f64> {
    let finished = member.finished.saturating_sub(before.finished);
    let failed = member.failed.saturating_sub(before.failed).min(finished);
    let failing = if finished > 0 { failed as f64 / finished as f64 } else { 0.0 };
    let reported = member.report.filter(|_| is_fresh).map(|report| mean(before.report, report));
    match reported {
        Some(value) if value < 1.0 => Some(value + (1.0 - value) * failing),
        Some(value) => Some(value),
        // Silent and mostly failing: as busy as the part that it fails.
        None => (failing > 0.5).then_some(failing),
    }
}

/// Mean of the reports since `before`; the last one when there is none.
#[allow(clippy::cast_precision_loss)]
fn mean(before: Option<ReportSample>, report: ReportSample) -> f64 {
    let (reports, total) = before.map_or((0, 0), |before| (before.reports, before.total_micros));
    let new = report.reports.saturating_sub(reports);
    if new == 0 || report.total_micros < total {
        return report.utilization.get();
    }
    (report.total_micros - total) as f64 / 1e6 / new as f64
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::model::unit::SECOND;

    fn member(finished: u64, failed: u64, report: Option<(u64, u64, f64)>) -> MemberSample {
        let report = report.map(|(at, reports, value)| ReportSample {
            utilization: Ratio::new(value),
            at: Tick(at * SECOND),
            reports,
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            total_micros: (value * reports as f64 * 1e6) as u64,
        });
        MemberSample { is_healthy: true, finished, failed, report, ..MemberSample::default() }
    }

    fn look(before: &[MemberSample], after: &[MemberSample]) -> Look {
        let mut reader = Reader::default();
        assert_eq!(reader.look(Tick(SECOND), before, News::Anything), Look::Wait);
        reader.look(Tick(2 * SECOND), after, News::Anything)
    }

    fn known(look: Look) -> (f64, f64) {
        let Look::Known(reading) = look else { panic!("{look:?}") };
        (reading.utilization.get(), reading.rate)
    }

    #[test]
    fn the_mean_is_over_healthy_members() {
        let before = [member(0, 0, None), member(0, 0, None), member(0, 0, None)];
        let mut after = [
            member(10, 0, Some((2, 1, 0.2))),
            member(30, 0, Some((2, 1, 0.6))),
            member(0, 0, Some((2, 1, 9.0))),
        ];
        after[2].is_healthy = false;
        assert_eq!(known(look(&before, &after)), (0.4, 20.0));
    }

    #[test]
    fn a_member_that_fails_fast_does_not_look_idle() {
        let (before, after) = ([member(0, 0, None)], [member(100, 75, Some((2, 1, 0.2)))]);
        let (utilization, _) = known(look(&before, &after));
        assert!((utilization - 0.8).abs() < 1e-9);
    }

    #[test]
    fn a_report_that_is_too_old_means_unknown() {
        let mut reader = Reader::default();
        let members = [member(0, 0, Some((1, 1, 0.5)))];
        assert_eq!(reader.look(Tick(SECOND), &members, News::Anything), Look::Wait);
        assert_eq!(reader.look(Tick(3 * SECOND), &members, News::Anything), Look::Wait);
        assert_eq!(
            reader.look(Tick(12 * SECOND), &members, News::Anything),
            Look::Unknown { rate: 0.0, seconds: 11.0, is_failing: false }
        );
        assert_eq!(reader.shown(), None);
    }
}
