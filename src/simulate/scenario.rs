//! What a simulation plays: demand, how members behave, what happens when. Values that were checked; the reader of the
//! file is the command's.

use std::sync::Arc;

use crate::model::place::{OriginId, Places, RegionId};
use crate::model::service::Group;
use crate::model::target::Scaler;
use crate::model::unit::{Span, Tick};

/// A scenario, ready to run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// For people.
    pub title: Arc<str>,
    /// The same seed gives the same run.
    pub seed: u64,
    /// How long.
    pub duration: Span,
    /// From row to row of the result.
    pub row: Span,
    /// From tick to tick of the planners.
    pub tick: Span,
    /// How members report.
    pub reports: Reports,
    /// Proxies that do not talk to each other, at least 1.
    pub proxies: usize,
    /// Where requests come from.
    pub demand: Vec<Demand>,
    /// How members behave; the last rule that fits a member counts.
    pub rules: Vec<Rule>,
    /// What happens, in the order of time.
    pub events: Vec<Event>,
    /// Groups that grow and shrink with their load.
    pub autoscalers: Vec<Autoscaler>,
    /// Regions of the configuration and those that clients come from; its origins are the clients' regions.
    pub places: Places,
}

/// A group's autoscaler, by load balancing utilization [G 11].
#[derive(Debug, Clone, PartialEq)]
pub struct Autoscaler {
    /// Name of the group, which is of one service.
    pub group: Arc<str>,
    /// Part of the serving capacity that is to be used; above 0.
    pub utilization_target: f64,
    /// Least members.
    pub min: u32,
    /// Most members.
    pub max: u32,
    /// `coolDownPeriodSec`: members younger than this do not count for scaling out.
    pub initialization: Span,
    /// Scaling in goes by the greatest recommendation in it.
    pub stabilization: Span,
    /// Limits to scaling in.
    pub scale_in: Option<ScaleIn>,
}

/// `scaleInControl`: how many members may go in a window [G 11.5].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaleIn {
    /// So many.
    pub fixed: Option<u32>,
    /// Or such a part of the group.
    pub percent: Option<f64>,
    /// In this time.
    pub window: Span,
}

/// How members report their utilization.
#[derive(Debug, Clone, Copy)]
pub struct Reports {
    /// From report to report.
    pub interval: Span,
    /// How late each one is.
    pub delay: Span,
    /// Part by which one may be wrong, either way.
    pub noise: f64,
}

/// Requests from one region for one service.
#[derive(Debug, Clone)]
pub struct Demand {
    /// Index of the service.
    pub service: usize,
    /// Where the clients are, of [`Scenario::places`].
    pub origin: OriginId,
    /// Requests per second at the start.
    pub rate: f64,
    /// In the order of time.
    pub changes: Vec<Change>,
    /// A curve over the day.
    pub daily: Option<Daily>,
    /// Chance in the rate.
    pub noise: Option<Noise>,
    /// Evenly spaced arrivals instead of random ones.
    pub is_even: bool,
    /// How many sessions there are, for services with affinity.
    pub sessions: u64,
    /// The one proxy that gets it all; `None` = spread over all.
    pub proxy: Option<usize>,
}

/// A new rate.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// When it begins.
    pub at: Tick,
    /// How long it takes to get there; zero = a step.
    pub over: Span,
    /// Requests per second from then on.
    pub rate: f64,
}

/// A sine around the rate.
#[derive(Debug, Clone, Copy)]
pub struct Daily {
    /// Part by which the rate swings, 0 to 1.
    pub part: f64,
    /// From peak to peak.
    pub period: Span,
    /// When the first peak is.
    pub peak: Tick,
}

/// The rate trembles.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    /// Greatest part up or down.
    pub part: f64,
    /// How long a draw holds.
    pub every: Span,
}

/// How some members behave.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Which.
    pub target: Target,
    /// How.
    pub profile: Profile,
}

/// How a member serves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// Mean time that a request takes when nothing waits, in seconds; CPU time is part of it.
    pub service: f64,
    /// Mean CPU time of a request, in seconds.
    pub cpu: f64,
    /// Cores; a request runs on one of them. 1 to 256.
    pub cores: u32,
    /// How both times vary, together.
    pub spread: Spread,
    /// Part of the requests that fail with a 5xx after their time.
    pub errors: f64,
    /// Utilization without traffic; what is left serves.
    pub base: f64,
}

impl Default for Profile {
    fn default() -> Self {
        Self { service: 0.02, cpu: 0.005, cores: 1, spread: Spread::Exponential, errors: 0.0, base: 0.0 }
    }
}

/// Distributions of times, by their mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// All alike.
    Constant,
    /// Exponential.
    Exponential,
    /// Lognormal with this standard deviation of the logarithm.
    Lognormal(f64),
}

/// Some members: those that everything given fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Of this service.
    pub service: Option<usize>,
    /// In this region.
    pub region: Option<RegionId>,
    /// In groups of this name.
    pub group: Option<Arc<str>>,
    /// Of this name.
    pub member: Option<Arc<str>>,
}

impl Target {
    /// Whether all of this group's members are meant, or those of them that [`Self::fits_member`].
    #[must_use]
    pub fn fits_group(&self, group: &Group, users: &[usize]) -> bool {
        self.region.is_none_or(|region| region == group.region)
            && self.group.as_ref().is_none_or(|name| *name == group.name)
            && self.service.is_none_or(|service| users.contains(&service))
    }

    /// Whether a member of that name is meant.
    #[must_use]
    pub fn fits_member(&self, name: &str) -> bool {
        self.member.as_ref().is_none_or(|member| **member == *name)
    }
}

/// Something happens.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: Tick,
    /// To whom.
    pub target: Target,
    /// What.
    pub action: Action,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Refuses connections; probes find out after their thresholds.
    Lost,
    /// Takes connections again; probes find out after their thresholds.
    Back,
    /// Probes fail from now on; it serves.
    Unhealthy,
    /// Probes succeed.
    Healthy,
    /// Each request takes so many times as long, CPU too.
    Slow(f64),
    /// Answers at once with a 5xx and burns nothing.
    FailsFast,
    /// So large a part fails with a 5xx.
    Errors(f64),
    /// Neither slow nor failing any more.
    Serves,
    /// Reports come so late.
    ReportsLate(Span),
    /// Reports stop, or come again.
    Reports(bool),
    /// `capacityScaler` of the backends is set.
    Scaler(Scaler),
    /// So many members join each group; healthy when probes have found out.
    Add(u32),
    /// So many members leave each group, the last ones first; they finish what they have.
    Remove(u32),
}
