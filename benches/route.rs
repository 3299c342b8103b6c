//! Look-ups in URL maps of 0, 1, 10 and 1,000 host rules with as many path rules each.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use overspill::model::config::ServiceId;
use overspill::model::route::{HostPattern, HostRule, PathMatcher, PathPattern, PathRule, UrlMap};

fn map(rules: u32) -> UrlMap {
    let hosts = (0..rules)
        .map(|n| HostRule {
            patterns: vec![
                HostPattern::parse(&format!("shop-{n}.example.com")).unwrap(),
                HostPattern::parse(&format!("*.shop-{n}.example.com")).unwrap(),
            ],
            matcher: 0,
        })
        .collect();
    let paths = (0..rules)
        .map(|n| PathRule {
            patterns: vec![
                PathPattern::parse(&format!("/api/v1/things-{n}")).unwrap(),
                PathPattern::parse(&format!("/api/v1/things-{n}/*")).unwrap(),
            ],
            service: ServiceId(n),
        })
        .collect();
    let matcher = PathMatcher { name: "all".into(), default_service: ServiceId(0), rules: paths };
    UrlMap::new("map".into(), ServiceId(0), hosts, vec![matcher], false)
}

fn find(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    for rules in [0, 1, 10, 1000] {
        let map = map(rules);
        let last = rules.saturating_sub(1);
        let exact = (format!("shop-{last}.example.com"), format!("/api/v1/things-{last}"));
        let wildcard = (format!("www.shop-{last}.example.com"), format!("/api/v1/things-{last}/parts/7"));
        for (name, (host, path)) in [("exact", exact), ("wildcard", wildcard)] {
            group.bench_function(BenchmarkId::new(name, rules), |b| {
                b.iter(|| map.find(black_box(Some(host.as_bytes())), black_box(&path)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, find);
criterion_main!(benches);
