//! One service's planner: state from tick to tick, and the tick.

use std::sync::Arc;

use super::gcra::Limit;
use super::plan::{Figures, Plan, Sample};
use crate::model::place::Places;
use crate::model::service::Service;
use crate::model::unit::Tick;

/// Carries what is learned about a service (cost per request, recent demand) from tick to tick and over a reload.
#[derive(Debug)]
pub struct ServicePlanner {
    #[allow(dead_code)]
    service: Arc<Service>,
}

/// What a tick decides.
#[derive(Debug)]
pub struct Decision {
    /// The new plan; `None` when nothing that it holds has changed.
    pub plan: Option<Arc<Plan>>,
    /// New limits by backend index.
    pub limits: Vec<Limit>,
    /// For people, by backend index.
    pub figures: Vec<Figures>,
}

impl ServicePlanner {
    /// A planner for `service`, with what `old` has learned about backends of the same group and mode.
    #[must_use]
    pub fn new(service: Arc<Service>, _places: &Places, _old: Option<&Self>) -> Self {
        Self { service }
    }

    /// One tick. The first one always brings a plan.
    pub fn tick(&mut self, _now: Tick, _sample: &Sample) -> Decision {
        Decision { plan: None, limits: Vec::new(), figures: Vec::new() }
    }
}
