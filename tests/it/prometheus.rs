//! Utilization from a metrics page over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::support::backend::Scripted;
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, setup};
use crate::support::wait_until;

#[test]
fn a_gauge_on_a_metrics_page_is_the_utilization_and_a_broken_page_is_counted() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let flag = is_broken.clone();
    let backend = Scripted::start(move |conn| {
        while let Some(request) = conn.request() {
            let page = match request.line().contains("/stats") {
                true if flag.load(SeqCst) => "busy{core=\"0\"} very",
                true => "# TYPE busy gauge\nbusy{core=\"0\"} 0.25\nbusy{core=\"1\"} 0.75\nbusy_total 9\n",
                false => "",
            };
            let length = page.len();
            if !conn.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{page}")) {
                return;
            }
        }
    });
    let mode = "balancingMode: UTILIZATION, maxUtilization: 0.8";
    let text = setup(&[group("ig", NEAR).mode(mode).member("one", &backend)]).text();
    let plain = format!("zone: {NEAR}\n    namedPorts");
    let source = "{source: PROMETHEUS, path: /stats, metric: busy, intervalSec: 0.1}";
    let polled = format!("zone: {NEAR}\n    utilization: {source}\n    namedPorts");
    let lb = Lb::start(&text.replace(&plain, &polled));
    wait_until("the mean of the series is known", || {
        lb.get("/");
        lb.metrics().sum("overspill_backend_utilization", &["ig"]) == 0.5
    });
    is_broken.store(true, SeqCst);
    wait_until("a broken page is counted", || {
        lb.metrics().sum("overspill_load_reports_malformed_total", &["one"]) > 0.0
    });
    assert_eq!(lb.metrics().sum("overspill_backend_utilization", &["ig"]), 0.5, "what is known stays");
}
