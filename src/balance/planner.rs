//! One service's planner: state from tick to tick, and the tick.
//!
//! A tick judges each backend by itself (its limit, its figures) and then asks whether anything that the plan holds
//! has changed: who is healthy, or a weight by more than `WEIGHT_STEP`. If not, the old plan stays, and only limits
//! go out. The first tick always brings a plan.

use std::sync::Arc;

use super::backend::Backend;
use super::capacity;
use super::plan::{BackendSample, Figures, Limits, Plan, Sample, Usable};
use super::tiers::{Layout, Weights};
use crate::model::place::Places;
use crate::model::service::{Affinity, Service};
use crate::model::unit::Tick;

/// A measured weight that moves by less than this part does not make a new plan.
const WEIGHT_STEP: f64 = 0.05;

/// Carries what is learned about a service (cost per request, recent demand) from tick to tick and over a reload.
#[derive(Debug)]
pub struct ServicePlanner {
    service: Arc<Service>,
    layout: Layout,
    /// By backend index.
    backends: Vec<Backend>,
    /// Weights as configured, by backend index.
    configured: Vec<f64>,
    /// What the last plan was made of.
    published: Option<Published>,
}

#[derive(Debug)]
struct Published {
    usable: Vec<Usable>,
    weights: Vec<f64>,
}

/// What a tick decides.
#[derive(Debug)]
pub struct Decision {
    /// The new plan; `None` when nothing that it holds has changed.
    pub plan: Option<Arc<Plan>>,
    /// New limits by backend index.
    pub limits: Vec<Limits>,
    /// For people, by backend index.
    pub figures: Vec<Figures>,
}

impl ServicePlanner {
    /// A planner for `service`, with what `old` has learned about backends of the same group and mode.
    #[must_use]
    pub fn new(service: Arc<Service>, places: &Places, old: Option<&Self>) -> Self {
        let learned = |backend: &Backend| old?.backends.iter().find(|old| old.is_same(backend));
        let has_affinity = service.affinity != Affinity::None;
        let backends = service.backends.iter().map(|config| {
            let fresh = Backend::new(config, has_affinity);
            let learned = learned(&fresh);
            fresh.adopt(learned)
        });
        Self {
            backends: backends.collect(),
            layout: Layout::new(&service, places),
            configured: capacity::static_weights(&service.backends),
            published: None,
            service,
        }
    }

    /// The service that is planned for.
    #[must_use]
    pub const fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// One tick. The first one always brings a plan. A sample that lacks backends or members stands for ones that
    /// are unhealthy and idle.
    pub fn tick(&mut self, now: Tick, sample: &Sample) -> Decision {
        let none = BackendSample::default();
        let samples = (0..).map(|index: usize| sample.backends.get(index).unwrap_or(&none));
        let (limits, figures) = self
            .backends
            .iter_mut()
            .zip(samples.clone())
            .map(|(backend, sample)| backend.tick(now, sample))
            .unzip();
        let usable = self.usable(samples);
        let weights = self.weights();
        let is_new = self.published.as_ref().is_none_or(|old| {
            let moved =
                old.weights.iter().zip(&weights).any(|(old, new)| (new / old - 1.0).abs() > WEIGHT_STEP);
            moved || !old.usable.iter().zip(&usable).all(|(old, new)| Arc::ptr_eq(&old.members, &new.members))
        });
        let plan = is_new.then(|| {
            let weigh = Weights { measured: &weights, configured: &self.configured };
            let plan = self.layout.plan(usable.clone(), weigh);
            self.published = Some(Published { usable, weights });
            Arc::new(plan)
        });
        Decision { plan, limits, figures }
    }

    /// Members that may get requests; lists that did not change are the same as before, not only equal.
    fn usable<'a>(&mut self, samples: impl Iterator<Item = &'a BackendSample>) -> Vec<Usable> {
        let layout = &self.layout;
        let usable = |(index, (backend, sample)): (usize, (&mut Backend, &BackendSample))| {
            backend.usable(if layout.is_drained(index) { &[] } else { &sample.members })
        };
        (0..).zip(self.backends.iter_mut().zip(samples)).map(usable).collect()
    }

    /// Measured capacity; a backend that is not limited yet counts as its configured size.
    fn weights(&self) -> Vec<f64> {
        let weight = |(backend, configured): (&Backend, &f64)| backend.weight().unwrap_or(*configured);
        self.backends.iter().zip(&self.configured).map(weight).collect()
    }
}
