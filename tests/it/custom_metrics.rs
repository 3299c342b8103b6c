//! CUSTOM_METRICS over real sockets: members report a metric that grows with their load, and it is held at its target
//! [G 1.17, 1.35–1.41].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use overspill::balance::pick::Reason;
use overspill::cli::load::{Load, Options};

use crate::support::backend::{Scripted, toy};
use crate::support::lb::Lb;
use crate::support::setup::{FAR, NEAR, group, setup};
use crate::support::{let_pass, measured, measuring, wait_until};

/// Longest time to settle, from the first request.
const SETTLE: Duration = Duration::from_secs(12);
const WINDOW: Duration = Duration::from_secs(5);

/// Answers at once and reports requests of the last second ÷ `most` as `named_metrics.queue`, and a CPU far beyond
/// any maximum.
fn member(most: f64) -> (Scripted, Arc<Mutex<VecDeque<Instant>>>) {
    let served: Arc<Mutex<VecDeque<Instant>>> = Arc::default();
    let of_backend = served.clone();
    let backend = Scripted::start(move |conn| {
        while let Some(request) = conn.request() {
            let mut served = of_backend.lock().unwrap();
            let now = Instant::now();
            if !request.line().contains("/healthz") {
                served.push_back(now);
            }
            let load = served.iter().rev().take_while(|at| now - **at < Duration::from_secs(1)).count();
            drop(served);
            let report = format!("TEXT cpu_utilization=3,named_metrics.queue={}", load as f64 / most);
            let head = format!("endpoint-load-metrics: {report}\r\ncontent-length: 0");
            if !conn.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n")) {
                return;
            }
        }
    });
    (backend, served)
}

/// Requests per second that came in the last `span`.
fn rate(served: &Mutex<VecDeque<Instant>>, span: Duration) -> f64 {
    let now = Instant::now();
    let served = served.lock().unwrap();
    served.iter().rev().take_while(|at| now - **at < span).count() as f64 / span.as_secs_f64()
}

const METRICS: &str = "balancingMode: CUSTOM_METRICS, customMetrics: [{name: queue, maxUtilization: 0.7}, \
                       {name: orca.cpu_utilization, maxUtilization: 0.8, dryRun: true}]";

#[test]
fn g_1_36_a_named_metric_is_held_at_its_maximum_and_one_on_a_dry_run_is_only_shown() {
    let _turn = measuring();
    let ((one, of_one), (two, of_two), far) = (member(100.0), member(100.0), toy("far"));
    let near = group("ig-near", NEAR).mode(METRICS).member("one", &one).member("two", &two);
    let lb = Lb::start(&setup(&[near, group("ig-far", FAR).member("far", &far)]).text());
    let load = Load::start(Options::new(lb.address(), 220.0)).unwrap();
    let_pass(SETTLE);
    let off = measured(&load, Duration::ZERO, || {
        let_pass(WINDOW);
        let got = rate(&of_one, WINDOW) + rate(&of_two, WINDOW);
        let metrics = lb.metrics();
        let queue = metrics.sum("overspill_backend_custom_metric", &["queue", "dry_run=\"false\""]);
        let fullness = metrics.sum("overspill_backend_custom_metric_fullness", &["queue"]);
        println!("near got {got}/s of 140, queue {queue}, fullness {fullness}");
        let is_held = (got - 140.0).abs() <= 7.0;
        let is_shown = (queue - 0.7).abs() < 0.1 && (fullness - 1.0).abs() < 0.15;
        (!is_held || !is_shown).then_some((got, queue, fullness)).into_iter().collect()
    });
    let metrics = lb.metrics();
    let stats = load.stop();
    assert!(off.is_empty(), "{off:?} instead of 140 per second ± 5 %, 0.7 and 1");
    assert_eq!((stats.failed(), stats.answered()), (0, stats.sent), "{stats:?}");
    assert!(metrics.sum("overspill_picks_total", &[&format!("\"{}\"", Reason::Full.as_str())]) > 0.0);
    let dry = metrics.sum("overspill_backend_custom_metric", &["orca.cpu_utilization", "dry_run=\"true\""]);
    assert_eq!(dry, 3.0);
}

#[test]
fn g_1_17_a_rate_beside_a_metric_is_the_target_when_it_is_reached_first() {
    let _turn = measuring();
    let ((near, of_near), far) = (member(1_000.0), toy("far"));
    let mode = format!("{METRICS}, maxRate: 50");
    let near = group("ig-near", NEAR).mode(&mode).member("near", &near);
    let lb = Lb::start(&setup(&[near, group("ig-far", FAR).member("far", &far)]).text());
    let load = Load::start(Options::new(lb.address(), 120.0)).unwrap();
    let_pass(Duration::from_secs(3));
    wait_until("the rate is that of the target", || {
        let_pass(Duration::from_millis(200));
        (rate(&of_near, Duration::from_secs(2)) - 50.0).abs() <= 2.0
    });
    assert_eq!(load.stop().failed(), 0);
}

#[test]
fn a_reload_that_adds_a_metric_finds_its_reports_and_keeps_what_is_known() {
    let (near, _) = member(1_000.0);
    let with = |mode: &str| setup(&[group("ig", NEAR).mode(mode).member("one", &near)]).text();
    let one = "balancingMode: CUSTOM_METRICS, customMetrics: [{name: queue}]";
    let lb = Lb::start(&with(one));
    lb.get("/");
    let count = |lb: &Lb, index: usize| {
        let world = lb.handle.world();
        world.services[0].backends[0].members[0].metrics.get(index).map(|gauge| gauge.read().reports)
    };
    wait_until("the report is heard", || count(&lb, 0) == Some(1));
    lb.reload(&with(METRICS));
    lb.get("/");
    wait_until("both are heard", || (count(&lb, 0), count(&lb, 1)) == (Some(2), Some(1)));
}
