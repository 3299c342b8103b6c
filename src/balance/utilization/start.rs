//! Before any report has told of traffic: how much goes to members of which nothing is known, and for how long.
//!
//! Whoever polls, or hears answers, knows when a first report is due: until then nothing is raised, since soon it will
//! be known what a request costs. What is overdue is not waited for: **unknown means not limited**. Reports that come,
//! and still say what they said without any traffic, are of the time before: they tell nothing yet, but where they come
//! from the others will come, too, so the limit rises slowly, and is given up much later.

use super::super::reading::Reading;

/// Requests per second and member before anything is known.
pub(super) const START: f64 = 40.0;

/// Seconds that a first report is waited for beyond the time when it is due. None came: the backend is not limited.
/// Some came and said nothing new: from then on the limit rises.
const PATIENCE: f64 = 5.0;

/// In so many seconds it doubles then.
const DOUBLES: f64 = 20.0;

/// Seconds beyond the time when a first report is due, after which a backend whose reports say nothing new is not limited.
const SILENT: f64 = 60.0;

/// Up to such a multiple of it, and so much above it, a utilization is the same as without traffic.
const SAME: (f64, f64) = (1.05, 0.002);

/// What is known before anything is learned.
#[derive(Debug, Clone, Default)]
pub(super) struct Start {
    /// Seconds with traffic after which a report that tells of it is due.
    pub(super) due: f64,
    /// Seconds with traffic until a report first told of it: reports may well be so late.
    pub(super) waited: f64,
    /// Utilization without traffic, before there was any.
    idle: Option<f64>,
    /// A report has come under traffic.
    is_heard: bool,
}

impl Start {
    /// Whether a report can be of a time with traffic. Those that say what they said before there was any are not.
    pub(super) fn tells(&mut self, reading: Reading) -> bool {
        let utilization = reading.utilization.get();
        if reading.rate <= 0.0 && self.waited <= 0.0 {
            self.idle = Some(utilization);
            return false;
        }
        self.is_heard = true;
        let tells = self.idle.is_none_or(|idle| utilization > idle * SAME.0 + SAME.1);
        if tells {
            self.waited += reading.seconds;
        }
        tells
    }

    /// Nothing was told in so many seconds, in which a member answered `rate` requests a second. Returns the limit per
    /// member from now on; `None`: not limited any more.
    pub(super) fn wait(&mut self, limit: f64, (rate, is_used): (f64, bool), seconds: f64) -> Option<f64> {
        if rate > 0.0 {
            self.waited += seconds;
        }
        let overdue = self.waited - self.due;
        if overdue >= if self.is_heard { SILENT } else { PATIENCE } {
            None
        } else if overdue >= PATIENCE && is_used {
            Some(limit * (seconds / DOUBLES).exp2())
        } else {
            Some(limit)
        }
    }
}
