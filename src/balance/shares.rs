//! Weights laid out on a circle, and the two ways to choose by them: in turn, and by key.
//!
//! In turn: the n-th request stands at n × golden ratio of the circle. Such points are spread more evenly than chance,
//! at every scale, so proportions are exact after a handful of requests already [G 2.2, 2.4].
//!
//! By key: weighted rendezvous. Each backend draws a number from (key, backend); the best wins. When a backend's
//! weight changes, only the keys that its change is worth move.

use super::hash;
use super::plan::Shares;

impl Shares {
    /// Shares of (backend index, weight). What has no weight gets no share; infinite weights are left out.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub fn new(weights: impl IntoIterator<Item = (u32, f64)>) -> Self {
        let usable: Vec<_> =
            weights.into_iter().filter(|(_, weight)| *weight > 0.0 && weight.is_finite()).collect();
        let total: f64 = usable.iter().map(|(_, weight)| weight).sum();
        let mut sum = 0.0;
        let mut arcs: Vec<_> = usable
            .into_iter()
            .map(|(backend, weight)| {
                sum += weight;
                ((sum / total * u64::MAX as f64) as u64, backend, weight)
            })
            .collect();
        if let Some(last) = arcs.last_mut() {
            last.0 = u64::MAX;
        }
        Self { arcs }
    }

    /// Whether no backend has a share.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.arcs.is_empty()
    }

    /// Part of the whole that a backend gets, 0 to 1.
    #[must_use]
    pub fn part_of(&self, backend: u32) -> f64 {
        let total: f64 = self.arcs.iter().map(|arc| arc.2).sum();
        let own: f64 = self.arcs.iter().filter(|arc| arc.1 == backend).map(|arc| arc.2).sum();
        if total > 0.0 { own / total } else { 0.0 }
    }

    /// Backends in the order of the circle, from the one that `point` falls on.
    #[inline]
    pub(super) fn by_point(&self, point: u64) -> impl Iterator<Item = u32> {
        let start = match self.arcs.len() {
            0 | 1 => 0,
            _ => self.arcs.partition_point(|arc| arc.0 < point),
        };
        let (before, after) = self.arcs.split_at_checked(start).unwrap_or((&[], &self.arcs));
        after.iter().chain(before).map(|arc| arc.1)
    }

    /// Backends in the order of `key`'s preference. `identity` says what a backend is called on the circle.
    #[inline]
    pub(super) fn by_key(&self, key: u64, identity: impl Fn(u32) -> u64) -> impl Iterator<Item = u32> {
        let mut last: Option<(f64, u32)> = None;
        let mut left = self.arcs.len();
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let next = match last {
                None => self.first_by_key(key, &identity),
                Some(last) => self.next_by_key(key, &identity, last),
            };
            last = next;
            next.map(|next| next.1)
        })
    }

    /// The best for `key`, with its draw. Most are out of the question at a glance: a logarithm is worked out for a
    /// handful only.
    #[inline]
    fn first_by_key(&self, key: u64, identity: impl Fn(u32) -> u64) -> Option<(f64, u32)> {
        if let [only] = self.arcs.as_slice() {
            return Some((0.0, only.1));
        }
        let mut best: Option<(f64, u32)> = None;
        // What has this times its weight, and a little more, to go to the end of its draw cannot be the best.
        let mut limit = f64::INFINITY;
        for (_, backend, weight) in &self.arcs {
            let bits = hash::mix(key, identity(*backend));
            if to_go(bits) >= limit * weight + SLACK {
                continue;
            }
            let one = (draw(bits) / weight, *backend);
            if best.is_none_or(|best| is_before(one, best)) {
                best = Some(one);
                limit = one.0 / PER_UNIT;
            }
        }
        best
    }

    /// The best behind `last`. No list is kept, so that nothing is allocated.
    fn next_by_key(&self, key: u64, identity: impl Fn(u32) -> u64, last: (f64, u32)) -> Option<(f64, u32)> {
        let mut next: Option<(f64, u32)> = None;
        let mut bound = f64::INFINITY;
        for (_, backend, weight) in &self.arcs {
            let bits = hash::mix(key, identity(*backend));
            if least(bits) >= bound * weight {
                continue;
            }
            let one = (draw(bits) / weight, *backend);
            if next.is_none_or(|next| is_before(one, next)) && is_before(last, one) {
                next = Some(one);
                bound = one.0;
            }
        }
        next
    }
}

fn is_before(a: (f64, u32), b: (f64, u32)) -> bool {
    a.0 < b.0 || (a.0 <= b.0 && a.1 < b.1)
}

/// What [`draw`] is not below: -log2(u) is at least (1 - u) ÷ ln 2, less what its polynomial may be off.
#[inline]
fn least(bits: u64) -> f64 {
    (to_go(bits) - SLACK) * PER_UNIT
}

/// 1 - u, in units of 2^-53.
#[inline]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
const fn to_go(bits: u64) -> f64 {
    // Signed: there is an instruction for that, and the upper bits are zero.
    (!bits >> 11) as i64 as f64
}

/// What such a unit adds to a draw, at least: 1 ÷ ln 2 of it.
const PER_UNIT: f64 = 1.442 / (1_u64 << 53) as f64;
/// Units that the polynomial may be off, and rounding besides.
const SLACK: f64 = 1e-4 / PER_UNIT;

/// -log2 of `bits` read as a fraction of 2^64: exponentially distributed, 0 and up. The polynomial for the mantissa
/// is good to 0.00002, which shifts shares by less than that; a true logarithm costs several times as much.
#[inline]
fn draw(bits: u64) -> f64 {
    let bits = bits | 1;
    let zeros = bits.leading_zeros();
    // The bits behind the leading one as the mantissa of a number from 1 to 2; minus 1, as the polynomial wants it.
    let x = f64::from_bits(0x3FF0_0000_0000_0000 | ((bits << zeros) << 1 >> 12)) - 1.0;
    // log2(1 + x) in Horner form; exact at both ends.
    let log =
        x * (1.441_775_4 + x * (-0.707_782_2 + x * (0.411_788_35 + x * (-0.189_187_46 + x * 0.043_405_91))));
    f64::from(zeros) + 1.0 - log
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
mod tests {
    use super::*;
    use crate::balance::hash::GOLDEN;

    fn first_counts(shares: &Shares, keys: std::ops::Range<u64>) -> [u32; 3] {
        let mut counts = [0; 3];
        for key in keys {
            counts[shares.by_key(key, u64::from).next().unwrap() as usize] += 1;
        }
        counts
    }

    #[test]
    fn turns_are_shared_exactly_in_proportion() {
        let shares = Shares::new([(0, 30.0), (1, 10.0)]);
        for start in [0_u64, 7, 12_345, u64::MAX - 40] {
            let mut first = 0;
            for n in 0..20 {
                let point = start.wrapping_add(n).wrapping_mul(GOLDEN);
                first += u32::from(shares.by_point(point).next() == Some(0));
            }
            assert!(first.abs_diff(15) <= 1, "{first} of 20");
        }
    }

    #[test]
    fn keys_are_shared_in_proportion_to_weight() {
        let counts = first_counts(&Shares::new([(0, 10.0), (1, 30.0), (2, 60.0)]), 0..100_000);
        for (count, wanted) in counts.into_iter().zip([10_000_u32, 30_000, 60_000]) {
            assert!(count.abs_diff(wanted) < 600, "{counts:?}");
        }
    }

    #[test]
    fn a_greater_weight_takes_keys_and_moves_no_others() {
        let (before, after) =
            (Shares::new([(0, 1.0), (1, 1.0), (2, 1.0)]), Shares::new([(0, 1.0), (1, 1.0), (2, 1.5)]));
        for key in 0..10_000 {
            let one = before.by_key(key, u64::from).next();
            let two = after.by_key(key, u64::from).next();
            assert!(one == two || two == Some(2));
        }
    }

    #[test]
    fn the_order_of_a_key_names_each_backend_once() {
        let shares = Shares::new((0..50).map(|n| (n, 1.0 + f64::from(n))));
        let mut order: Vec<_> = shares.by_key(99, u64::from).collect();
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn the_logarithm_is_close() {
        for bits in [1, u64::MAX, 1 << 63, 3 << 62, 0x1234_5678_9ABC_DEF0, 0xC000_0000_0000_0001] {
            #[allow(clippy::cast_precision_loss)]
            let exact = -((bits | 1) as f64 / 2_f64.powi(64)).log2();
            assert!((draw(bits) - exact).abs() < 5e-5, "{bits:x}: {} {exact}", draw(bits));
        }
    }

    #[test]
    fn nothing_is_passed_over_that_would_have_been_chosen() {
        for n in 0..100_000_u64 {
            let bits = [hash::mix(n, 3), u64::MAX - n, u64::MAX - (n << 40), n, n << 30][n as usize % 5];
            assert!(least(bits) < draw(bits), "{bits:x}");
        }
        for (key, count) in (0..900).flat_map(|key| [2, 50, 150].map(|count| (key, count))) {
            let shares = Shares::new((0..count).map(|n| (n, 1.0 + f64::from(n % 7))));
            let score = |arc: &(u64, u32, f64)| (draw(hash::mix(key, u64::from(arc.1))) / arc.2, arc.1);
            let best = shares.arcs.iter().map(score).min_by(|a, b| a.partial_cmp(b).unwrap());
            assert_eq!(shares.by_key(key, u64::from).next(), best.map(|best| best.1));
            let mut order: Vec<_> = shares.arcs.iter().map(score).collect();
            order.sort_by(|a, b| a.partial_cmp(b).unwrap());
            assert!(shares.by_key(key, u64::from).eq(order.iter().map(|one| one.1)));
        }
    }

    #[test]
    fn weights_of_nothing_give_no_share() {
        assert!(Shares::new([(0, 0.0), (1, f64::INFINITY), (2, f64::NAN)]).is_empty());
        assert_eq!(Shares::default().by_point(5).count(), 0);
        assert_eq!(Shares::default().by_key(5, u64::from).count(), 0);
    }
}
