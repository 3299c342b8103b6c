//! CUSTOM_METRICS as a closed loop: the metric that is nearest to its own maximum is held there [G 1.17, 1.35–1.38].

use std::sync::Arc;

use overspill::model::target::{CustomMetric, Mode};
use overspill::model::unit::{Ratio, Span};

use crate::fleet::{backend, group_rate, places, scaled, service};
use crate::lab::{Curve, Lab, Reporting};

const MEMBERS: u16 = 3;

/// In proportion; reaches its maximum of 0.8 at 150 requests per second and member.
fn first(rate: f64) -> f64 {
    0.8 * rate / 150.0
}

/// A queue that grows faster than its load; reaches its maximum of 0.5 at 100, and leads from 67 on.
fn second(rate: f64) -> f64 {
    0.5 * (rate / 100.0).powi(2)
}

fn metrics(second_is_dry_run: bool) -> Mode {
    let metric =
        |name: &str, max, is_dry_run| CustomMetric { name: name.into(), max: Ratio::new(max), is_dry_run };
    let metrics = Arc::new([metric("first", 0.8, false), metric("second", 0.5, second_is_dry_run)]);
    Mode::CustomMetrics { metrics, rate: None }
}

fn lab(mode: Mode, scaler: f64) -> Lab {
    let near = scaled(backend(0, 0, MEMBERS, mode), scaler);
    let reporting = Reporting {
        curve: Arc::new(first),
        most: f64::INFINITY,
        interval: Span::secs(1),
        lag: 0,
        noise: 0.03,
    };
    let mut lab = Lab::new(service(vec![near, backend(1, 1, 2, group_rate(1e7))]), places(2))
        .jittered(5)
        .reporting(reporting);
    let beside: Curve = Arc::new(second);
    lab.beside = Some(beside);
    lab
}

/// Requests per second and member from `from` on, second by second.
fn history(lab: &Lab, from: f64) -> Vec<f64> {
    let end = lab.now.0 as f64 / 1e9;
    let starts = (0..).map(|n| from + f64::from(n)).take_while(|start| start + 1.0 <= end);
    starts.map(|start| lab.rate(0, start, start + 1.0) / f64::from(MEMBERS)).collect()
}

/// Settles within ten reports, and stays within 5 % of `want`; before that it is never more than 5 % above.
fn assert_held(history: &[f64], want: f64, what: &str) {
    println!("{what}: {history:.1?}");
    let off = |rate: &f64| (rate / want - 1.0).abs() > 0.05;
    assert!(!history.iter().skip(10).any(off), "{what}: not held at {want}: {history:.1?}");
    assert!(history.iter().all(|rate| *rate <= want * 1.05), "{what}: above {want}: {history:.1?}");
}

#[test]
fn g_1_17_the_metric_that_reaches_its_maximum_first_is_held_there() {
    let mut lab = lab(metrics(false), 1.0);
    lab.even(900.0, 40.0);
    assert_held(&history(&lab, 0.0), 100.0, "cold");
    // A quiet time in which the other metric leads, and a step back.
    lab.even(90.0, 30.0);
    lab.even(900.0, 30.0);
    assert_held(&history(&lab, 70.0), 100.0, "step");
    let [first, second] = lab.figures[0].metrics;
    assert!((second.mean - 0.5).abs() < 0.05 && (second.fullness - 1.0).abs() < 0.1, "{second:?}");
    assert!((first.fullness - 2.0 / 3.0).abs() < 0.07, "{first:?}");
    assert!((lab.figures[0].fullness - 1.0).abs() < 0.1, "the fullest metric is the fullness");
}

#[test]
fn g_1_38_a_metric_on_a_dry_run_does_not_limit() {
    let mut lab = lab(metrics(true), 1.0);
    lab.even(900.0, 40.0);
    assert_held(&history(&lab, 0.0), 150.0, "dry run");
    let second = lab.figures[0].metrics[1];
    assert!((second.mean - 0.5 * 2.25).abs() < 0.15, "shown all the same: {second:?}");
}

#[test]
fn g_1_3_the_scaler_scales_every_maximum() {
    let mut lab = lab(metrics(false), 0.5);
    lab.even(900.0, 40.0);
    // Half of 0.5: at 71 the second, at 75 the first.
    assert_held(&history(&lab, 0.0), 100.0 * 0.5_f64.sqrt(), "scaled");
}
