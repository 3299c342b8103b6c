//! Regions in the order of their distance. The one place that knows how near things are to each other.

use crate::model::place::{Places, RegionId};

/// `regions` without doubles, nearest to `from` first; at equal distance in the order of their numbers.
pub(super) fn nearest_first(places: &Places, from: RegionId, regions: &[RegionId]) -> Vec<RegionId> {
    let mut order = regions.to_vec();
    order.sort_unstable();
    order.dedup();
    order.sort_by(|a, b| distance(places, from, *a).total_cmp(&distance(places, from, *b)));
    order
}

/// Great-circle distance in radians; unknown regions are farthest.
fn distance(places: &Places, a: RegionId, b: RegionId) -> f64 {
    if a == b {
        return 0.0;
    }
    let at = |id: RegionId| places.regions.get(usize::from(id.0));
    let (Some(a), Some(b)) = (at(a), at(b)) else { return f64::INFINITY };
    let (north_a, north_b) = (a.latitude.to_radians(), b.latitude.to_radians());
    let half = |difference: f64| (difference / 2.0).sin().powi(2);
    let east = half((b.longitude - a.longitude).to_radians());
    let haversine = half(north_b - north_a) + north_a.cos() * north_b.cos() * east;
    2.0 * haversine.sqrt().min(1.0).asin()
}
