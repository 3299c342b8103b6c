//! Static capacity: what a rate target means in requests per second.
//!
//! N counts **all** members, healthy or not [G 1.20]: when a member dies, the others are expected to carry its part.

use crate::model::service::Backend;
use crate::model::target::{CountTarget, Mode, RateTarget, Scaler};
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
    backend.mode.rate().map(|target| of_rate(target, backend.members.len(), backend.scaler))
}

/// Requests or connections at a time: X·s or N·X·s, rounded down, since it is never exceeded while there is room
/// elsewhere; at least 1 unless drained or 0 (**ours**).
#[must_use]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn of_count(target: CountTarget, members: usize, scaler: Scaler) -> u64 {
    let whole = match target {
        CountTarget::Group(count) => u64::from(count),
        CountTarget::PerMember(count) => u64::from(count).saturating_mul(members as u64),
    };
    if whole == 0 || scaler.is_drained() {
        return 0;
    }
    ((whole as f64 * scaler.get()) as u64).max(1)
}

/// The capacity in requests or connections at a time, or `None` when it has no such target.
#[must_use]
pub fn count_of_backend(backend: &Backend) -> Option<u64> {
    backend.mode.count().map(|target| of_count(target, backend.members.len(), backend.scaler))
}

/// The utilization that a backend is filled up to, U·s [G 1.3]; in CUSTOM_METRICS, where each metric is measured by
/// its own maximum, s. `None` where members' reports do not count.
#[must_use]
pub fn utilization(backend: &Backend) -> Option<Ratio> {
    match &backend.mode {
        Mode::Utilization { max, .. } => Some(Ratio::new(max.get() * backend.scaler.get())),
        Mode::CustomMetrics { .. } => Some(Ratio::new(backend.scaler.get())),
        Mode::Rate(_) | Mode::InFlight(_) | Mode::Connection(_) | Mode::Unlimited => None,
    }
}

/// Weights of the backends that do not move with measured load: capacity as configured, or, where there is none,
/// members times scaler. Capacities in unlike units (requests per second, requests at a time) are brought to one scale
/// by the mean size of a member of this service.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn static_weights(backends: &[Backend]) -> Vec<f64> {
    let rate = |backend: &Backend| of_backend(backend).map(PerSecond::get);
    let count = |backend: &Backend| count_of_backend(backend).map(|count| count as f64);
    let per_rate = per_member(backends, rate);
    let per_count = per_member(backends, count);
    let unit = per_rate.or(per_count).unwrap_or(1.0);
    let weight = |backend: &Backend| match (rate(backend), count(backend)) {
        (Some(rate), _) => rate,
        (None, Some(count)) => count / per_count.unwrap_or(1.0) * unit,
        (None, None) => size(backend) * unit,
    };
    backends.iter().map(weight).collect()
}

/// Mean capacity of a member, over the backends that have one in this unit.
fn per_member(backends: &[Backend], capacity: impl Fn(&Backend) -> Option<f64>) -> Option<f64> {
    let known = backends.iter().filter_map(|backend| {
        let capacity = capacity(backend)?;
        (capacity > 0.0).then(|| (capacity, size(backend)))
    });
    let (capacity, size) = known.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    (capacity > 0.0 && size > 0.0).then(|| capacity / size)
}

#[allow(clippy::cast_precision_loss)]
fn size(backend: &Backend) -> f64 {
    backend.members.len() as f64 * backend.scaler.get()
}
