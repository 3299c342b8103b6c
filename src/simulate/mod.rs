//! What-if: a modelled world around the very balancing code that the proxy runs. Demand by clients' region, members
//! with CPU and queues, several proxies that do not talk, and events, played from a [`scenario`].
//!
//! Two models of the same: [`Model::Requests`] plays each request, [`Model::Fluid`] plays rates. Both ask
//! [`crate::balance::planner::ServicePlanner`] for plans and limits at each tick; single requests go through
//! [`crate::balance::pick::choose`], flows through the same tiers, shares and gates. Nothing here asks for the time or
//! for chance: the same services and the same scenario give the same [`record`], number by number.

mod again;
pub mod autoscaler;
pub mod demand;
mod ends;
mod fleet;
mod flow;
mod fluid;
pub mod gate;
mod histogram;
mod machine;
pub mod part;
mod proxy;
pub mod record;
mod requests;
pub mod scenario;
mod spread;
mod stage;
mod times;

use std::sync::Arc;

use crate::model::service::Service;
use record::Record;
use scenario::Scenario;

/// How requests are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// One by one.
    Requests,
    /// As rates.
    Fluid,
}

/// More requests than this are played as rates, unless asked otherwise.
pub const MOST_REQUESTS: f64 = 2e7;

impl Model {
    /// What suits a scenario.
    #[must_use]
    pub fn suited(scenario: &Scenario) -> Self {
        let expected = demand::expected(&scenario.demand, scenario.duration);
        if expected > MOST_REQUESTS { Self::Fluid } else { Self::Requests }
    }

    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Fluid => "fluid",
        }
    }
}

/// Plays a scenario over services. Does nothing for people: no output, no clock.
#[must_use]
pub fn run(services: &[Arc<Service>], scenario: &Scenario, model: Model) -> Record {
    let parts = part::parts(services, scenario);
    part::join(&parts, parts.iter().map(|part| part.run(model)).collect())
}
