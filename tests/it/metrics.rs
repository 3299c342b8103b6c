//! What is counted adds up to what clients saw (design.md 7).

use std::collections::BTreeMap;

use crate::support::backend::{Scripted, toy};
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, setup};
use crate::support::wait_until;

#[test]
fn requests_by_class_are_what_clients_saw_whatever_happened() {
    let (mixed, health) = (
        Scripted::start(|conn| {
            while let Some(seen) = conn.request() {
                let status = match seen.line().split(' ').nth(1).unwrap_or("") {
                    "/gone" => return,
                    "/garbage" => {
                        conn.write("garbage\r\n\r\n");
                        return;
                    }
                    "/half" => {
                        conn.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
                        return;
                    }
                    path => path.trim_start_matches('/').parse::<u16>().unwrap_or(200),
                };
                conn.write(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"));
            }
        }),
        toy("health"),
    );
    let lb = Lb::start(&setup(&[group("ig", NEAR).member("m", &mixed)]).probed_at(&health).text());
    let mut saw: BTreeMap<u16, f64> = BTreeMap::new();
    let good = [
        "/200", "/204", "/301", "/304", "/404", "/429", "/500", "/503", "/gone", "/garbage", "/half",
        "/a/../b",
    ];
    let mut texts: Vec<String> = good.map(|path| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).into();
    texts.push("GET / HTTP/1.1\r\n\r\n".to_owned());
    texts.push("\0".to_owned());
    texts.push("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned());
    texts.push("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n".to_owned());
    texts.push("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nbad\n".to_owned());
    texts.push(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(70_000)));
    for (n, text) in texts.iter().enumerate() {
        for _ in 0..=n {
            let mut client = lb.client();
            client.send(text);
            let status: u16 = String::from_utf8(client.bytes(12)).unwrap()[9..].parse().unwrap();
            *saw.entry(status / 100 * 100).or_default() += 1.0;
        }
    }
    health.set_health(500);
    lb.wait_health("m", false);
    for _ in 0..7 {
        assert_eq!(lb.get("/").status, 503);
        *saw.entry(500).or_default() += 1.0;
    }
    let counted = || {
        let metrics = lb.metrics();
        let classes = [200_u16, 300, 400, 500].map(|class| {
            (class, metrics.sum("overspill_requests_total", &[&format!("code_class=\"{class}\"")]))
        });
        BTreeMap::from(classes)
    };
    wait_until("all has ended", || lb.metrics().sum("overspill_requests_total", &[]) >= saw.values().sum());
    assert_eq!(counted(), saw);
    let metrics = lb.metrics();
    let total = saw.values().sum::<f64>();
    assert_eq!(metrics.sum("overspill_requests_total", &[]), total);
    assert_eq!(metrics.sum("overspill_outcomes_total", &[]), total, "every request ended in one way");
    assert_eq!(metrics.sum("overspill_member_in_flight", &[]), 0.0);
    assert_eq!(metrics.sum("overspill_member_healthy", &[]), 0.0);
}
