//! One service's planner: state from tick to tick, and the tick.
//!
//! A tick judges each backend by itself (its limit, its figures, whether it is drained) and then asks whether anything
//! that the plan holds has changed: who is healthy, who is drained, or a weight by more than `WEIGHT_STEP`. If not, the
//! old plan stays, and only limits go out. The first tick always brings a plan.
//!
//! With `failOpen`, and no healthy member in any backend that has a scaler above 0, the tick goes on as if all of them
//! were healthy; automatic drains do not hold then.

use std::borrow::Cow;
use std::sync::Arc;

use super::backend::Backend;
use super::drain::{self, Drains};
use super::members::Bars;
use super::outlier::{Ejection, Outliers, Verdict};
use super::overload::{Load, Overload};
use super::plan::{BackendSample, Figures, Limits, MemberSample, Plan, Sample, Usable};
use super::tiers::{Layout, Standing};
use crate::model::place::Places;
use crate::model::service::{self, Service};
use crate::model::unit::{Span, Tick};

/// A measured weight that moves by less than this part does not make a new plan.
const WEIGHT_STEP: f64 = 0.05;

/// Carries what is learned about a service (cost per request, recent demand) from tick to tick and over a reload.
#[derive(Debug)]
pub struct ServicePlanner {
    service: Arc<Service>,
    layout: Layout,
    /// By backend index.
    backends: Vec<Backend>,
    /// `None` unless `autoCapacityDrain` is on.
    drains: Option<Drains>,
    /// `None` without `outlierDetection`.
    outliers: Option<Outliers>,
    overload: Overload,
    /// What the last plan was made of.
    published: Option<Published>,
}

#[derive(Debug)]
struct Published {
    standing: Standing,
    weights: Vec<f64>,
    plan: Arc<Plan>,
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
    /// Members that outlier detection has ejected, or let in again.
    pub verdicts: Vec<Verdict>,
}

impl ServicePlanner {
    /// A planner for `service`, with what `old` has learned about backends of the same group and mode.
    #[must_use]
    pub fn new(service: Arc<Service>, places: &Places, old: Option<&Self>) -> Self {
        let learned = |backend: &Backend| old?.backends.iter().find(|old| old.is_same(backend));
        let backends = service.backends.iter().map(|config| {
            let fresh = Backend::new(&service, config);
            let learned = learned(&fresh);
            fresh.adopt(learned)
        });
        let backends: Vec<Backend> = backends.collect();
        let drains = || {
            let identities = backends.iter().map(Backend::identity);
            Drains::new(identities, old.and_then(|old| old.drains.as_ref()))
        };
        Self {
            layout: Layout::new(&service, places),
            drains: service.policies.distribution.drains_automatically.then(drains),
            outliers: Outliers::new(&service, old.and_then(|old| old.outliers.as_ref())),
            overload: Overload::default(),
            backends,
            published: None,
            service,
        }
    }

    /// From now on a first report that tells of traffic is due in so long, whatever the configuration says of where
    /// reports come from: for members that are modelled.
    pub fn reports_are_due_in(&mut self, due: Span) {
        self.backends.iter_mut().for_each(|backend| backend.report_is_due_in(due));
    }

    /// The service that is planned for.
    #[must_use]
    pub const fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Whether outlier detection keeps requests from this member.
    #[must_use]
    pub fn is_ejected(&self, backend: usize, member: usize) -> bool {
        let of_backend = self.outliers.as_ref().map_or(&[][..], |outliers| outliers.of_backend(backend));
        of_backend.get(member).copied().unwrap_or(false)
    }

    /// Members that outlier detection has ejected, now or before.
    #[must_use]
    pub fn ejections(&self, now: Tick) -> Vec<Ejection> {
        self.outliers.as_ref().map(|outliers| outliers.ejections(now)).unwrap_or_default()
    }

    /// Takes over what another process knew of a member; where nobody judges members now, it means nothing.
    pub fn recall(&mut self, ejection: Ejection, now: Tick) {
        if let Some(outliers) = &mut self.outliers {
            outliers.recall(ejection, now);
        }
    }

    /// One tick. The first one always brings a plan. A sample that lacks backends or members stands for ones that
    /// are unhealthy and idle.
    pub fn tick(&mut self, now: Tick, sample: &Sample) -> Decision {
        self.drain(now, sample);
        let opened = self.opened(sample);
        let is_open = opened.is_some();
        let sample = opened.map_or(Cow::Borrowed(sample), Cow::Owned);
        let none = BackendSample::default();
        let samples = (0..).map(|index: usize| sample.backends.get(index).unwrap_or(&none));
        let judge = |(index, (backend, sample)): (usize, (&mut Backend, &BackendSample))| {
            let (limits, figures) = backend.tick(now, sample);
            let is_auto_drained = self.drains.as_ref().is_some_and(|drains| drains.is_drained(index));
            (limits, Figures { is_auto_drained, ..figures })
        };
        let (limits, figures): (_, Vec<_>) =
            (0..).zip(self.backends.iter_mut().zip(samples.clone())).map(judge).unzip();
        self.expect(now, &figures);
        let verdicts = self.outliers.as_mut().map(|outliers| outliers.tick(now, &sample)).unwrap_or_default();
        let mut standing = self.standing(now, samples, is_open);
        standing.may_have_room =
            self.backends.iter().zip(&figures).map(|(one, figures)| one.may_have_room(figures)).collect();
        let weights = self.weights(&standing);
        let is_new = self.published.as_ref().is_none_or(|old| !old.holds(&standing, &weights));
        let plan = is_new.then(|| {
            let plan = Arc::new(self.layout.plan(&standing, &weights));
            self.published = Some(Published { standing, weights, plan: Arc::clone(&plan) });
            plan
        });
        Decision { plan, limits, figures, verdicts }
    }

    /// Tells each backend what it is due while everything is full.
    fn expect(&mut self, now: Tick, figures: &[Figures]) {
        let Some(published) = &self.published else { return };
        if !self.backends.iter().any(Backend::is_by_load) {
            return;
        }
        let loads: Vec<Load> =
            self.backends.iter().zip(figures).map(|(backend, figures)| backend.load(figures)).collect();
        self.overload.tick(now, &published.plan, &loads);
        for (index, backend) in self.backends.iter_mut().enumerate() {
            backend.expect(self.overload.of(index));
        }
    }

    fn drain(&mut self, now: Tick, sample: &Sample) {
        let Some(drains) = &mut self.drains else { return };
        let layout = &self.layout;
        let standing = |(index, (config, sample)): (usize, (&service::Backend, &BackendSample))| {
            let members = || sample.members.iter().take(config.members.len());
            drain::Standing {
                healthy: members().filter(|member| member.is_healthy).count(),
                undecided: members().filter(|member| member.is_undecided).count(),
                all: layout.size(index),
            }
        };
        let backends = self.service.backends.iter().zip(&sample.backends);
        drains.tick(now, (0..).zip(backends).map(standing));
    }

    /// The sample with every member healthy, when the service fails open now.
    fn opened(&self, sample: &Sample) -> Option<Sample> {
        let is_lost = |(config, sample): (&service::Backend, &BackendSample)| {
            config.scaler.is_drained() || !sample.members.iter().any(|member| member.is_healthy)
        };
        let none = BackendSample::default();
        let samples = || sample.backends.iter().chain(std::iter::repeat(&none));
        let backends = || self.service.backends.iter().zip(samples());
        if !self.service.policies.fails_open || !backends().all(is_lost) {
            return None;
        }
        let open = |(config, sample): (&service::Backend, &BackendSample)| {
            let mut open = sample.clone();
            open.members.resize(config.members.len(), MemberSample::default());
            open.members.iter_mut().for_each(|member| member.is_healthy = true);
            open
        };
        Some(Sample { backends: backends().map(open).collect() })
    }

    /// Members that may get requests; lists that did not change are the same as before, not only equal.
    fn standing<'a>(
        &mut self,
        now: Tick,
        samples: impl Iterator<Item = &'a BackendSample> + Clone,
        is_open: bool,
    ) -> Standing {
        let undecided = self.backends.iter().map(Backend::undecided).collect();
        let drains = self.drains.as_ref().filter(|_| !is_open);
        let is_drained = |(index, config): (usize, &service::Backend)| {
            config.scaler.is_drained() || drains.is_some_and(|drains| drains.is_drained(index))
        };
        let is_drained: Vec<bool> = (0..).zip(&self.service.backends).map(is_drained).collect();
        // Who fails open sends to all.
        let outliers = self.outliers.as_ref().filter(|_| !is_open);
        let usable =
            |((index, is_drained), (backend, sample)): ((usize, &bool), (&mut Backend, &BackendSample))| {
                let ejected = outliers.map_or(&[][..], |outliers| outliers.of_backend(index));
                backend.usable(now, sample, Bars { is_drained: *is_drained, ejected })
            };
        let usable =
            is_drained.iter().enumerate().zip(self.backends.iter_mut().zip(samples)).map(usable).collect();
        Standing { usable, is_drained, undecided, may_have_room: Vec::new(), is_open }
    }

    /// Measured capacity, which goes by healthy members anyway; of a backend that is not limited yet, the configured
    /// one as far as its health lets it count.
    fn weights(&self, standing: &Standing) -> Vec<f64> {
        let weight = |(index, backend): (usize, &Backend)| {
            backend.weight().unwrap_or_else(|| self.layout.weight(index, standing))
        };
        (0..).zip(&self.backends).map(weight).collect()
    }
}

impl Published {
    /// Whether the plan made of it is still right.
    fn holds(&self, standing: &Standing, weights: &[f64]) -> bool {
        let has_moved = |(old, new): (&f64, &f64)| (new / old - 1.0).abs() > WEIGHT_STEP;
        let is_same = |(old, new): (&Usable, &Usable)| old.is_same(new);
        self.standing.is_open == standing.is_open
            && self.standing.is_drained == standing.is_drained
            && self.standing.undecided == standing.undecided
            && self.standing.may_have_room == standing.may_have_room
            && self.standing.usable.iter().zip(&standing.usable).all(is_same)
            && !self.weights.iter().zip(weights).any(has_moved)
    }
}
