//! Static capacity: what a rate target means in requests per second.
//!
//! N counts **all** members, healthy or not [G 1.20]: when a member dies, the others are expected to carry its part.

use crate::model::service::Backend;
use crate::model::target::{Mode, RateTarget, Scaler};
use crate::model::unit::{PerSecond, Ratio};

/// Group target X·s; per-member target N·X·s [G 1.3, 1.20].
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn of_rate(target: RateTarget, members: usize, scaler: Scaler) -> PerSecond {
    match target {
        RateTarget::Group(rate) => rate * scaler.get(),
        RateTarget::PerMember(rate) => rate * (members as f64 * scaler.get()),
    }
}

/// The rate capacity of a backend, or `None` when it has no rate target.
#[must_use]
pub fn of_backend(backend: &Backend) -> Option<PerSecond> {
    let target = match backend.mode {
        Mode::Rate(target) => Some(target),
        Mode::Utilization { rate, .. } => rate,
    };
    target.map(|target| of_rate(target, backend.members.len(), backend.scaler))
}

/// The utilization that a backend is filled up to, U·s [G 1.3]; `None` in RATE.
#[must_use]
pub fn utilization(backend: &Backend) -> Option<Ratio> {
    match backend.mode {
        Mode::Rate(_) => None,
        Mode::Utilization { max, .. } => Some(Ratio::new(max.get() * backend.scaler.get())),
    }
}

/// Weights of the backends that do not move with measured load: the rate capacity, or, where there is none, members
/// times scaler in the mean size of a member of this service.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn static_weights(backends: &[Backend]) -> Vec<f64> {
    let known = backends.iter().filter_map(|backend| {
        let capacity = of_backend(backend)?.get();
        (capacity > 0.0).then_some((capacity, backend.members.len() as f64 * backend.scaler.get()))
    });
    let (capacity, size) = known.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let per_member = if capacity > 0.0 && size > 0.0 { capacity / size } else { 1.0 };
    let weight = |backend: &Backend| match of_backend(backend) {
        Some(capacity) => capacity.get(),
        None => backend.members.len() as f64 * backend.scaler.get() * per_member,
    };
    backends.iter().map(weight).collect()
}
