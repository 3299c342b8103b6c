//! Choices and look-ups, timed in this process.

use std::hint::black_box;
use std::time::Instant;

use overspill::model::route::{Head, UrlMap};

use super::fleet::{self, Fleet};
use super::plot::{Line, Plot};
use super::routes::{self, KINDS};

const BATCHES: usize = 51;
/// Nanoseconds that a batch should take.
const BATCH: f64 = 2e5;

/// Nanoseconds of a choice, hot, by policy against members of one backend.
pub(crate) fn picks(sizes: &[u32]) -> Plot {
    let mut lines: Vec<Line> = Vec::new();
    for members in sizes {
        let mut fleet = Fleet::new(1, *members);
        for (place, (name, plan, is_keyed)) in fleet::policies(1, *members).into_iter().enumerate() {
            if lines.len() <= place {
                lines.push(Line::new(&name));
            }
            let nanos = nanos(|| {
                black_box(fleet.pick(black_box(&plan), is_keyed));
            });
            if let Some(line) = lines.get_mut(place) {
                line.add(*members, nanos);
            }
        }
    }
    Plot::new("A pick: time", ("members", "ns"), lines)
}

/// Nanoseconds of a look-up that finds the last of the rules.
pub(crate) fn routes(sizes: &[u32]) -> Plot {
    let mut lines = vec![Line::new("path rules")];
    lines.extend(KINDS.iter().map(|(name, _)| Line::new(&format!("route rules by {name}"))));
    for rules in sizes {
        let maps = std::iter::once(routes::paths(*rules));
        let maps = maps.chain(KINDS.iter().map(|(_, by)| routes::rules(*by, *rules)));
        for (line, map) in lines.iter_mut().zip(maps) {
            line.add(*rules, look_up(&map, rules - 1));
        }
    }
    Plot::new("A route: time", ("rules", "ns"), lines)
}

fn look_up(map: &UrlMap, last: u32) -> f64 {
    let (host, path) = (format!("shop-{last}.example.com"), routes::path(last));
    let headers = routes::headers(last);
    let head =
        Head { host: Some(host.as_bytes()), method: "GET", path: &path, query: None, headers: &headers };
    nanos(|| {
        black_box(map.find(black_box(&head)));
    })
}

/// Of one call: the median of batches that are long enough for the clock.
fn nanos(mut step: impl FnMut()) -> f64 {
    let mut batch = |times: usize| {
        let began = Instant::now();
        (0..times).for_each(|_| step());
        began.elapsed().as_secs_f64() * 1e9 / times as f64
    };
    // Warm, and how many make a batch.
    let times = (BATCH / batch(100).max(1.0)).max(1.0) as usize;
    let mut found: Vec<f64> = (0..BATCHES).map(|_| batch(times)).collect();
    found.sort_unstable_by(f64::total_cmp);
    found.get(BATCHES / 2).copied().unwrap_or(f64::NAN)
}
