//! Look-ups in URL maps of 0, 1, 10 and 1,000 host rules with as many path rules each, and of 1, 100 and 1,000 route
//! rules.
#![allow(missing_docs, clippy::unwrap_used)]

mod routes;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use overspill::model::route::Head;

fn find(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    let headers = HeaderMap::new();
    for rules in [0, 1, 10, 1000] {
        let map = routes::paths(rules);
        let last = rules.saturating_sub(1);
        let exact = (format!("shop-{last}.example.com"), routes::path(last));
        let wildcard = (format!("www.shop-{last}.example.com"), format!("{}/parts/7", routes::path(last)));
        for (name, (host, path)) in [("exact", exact), ("wildcard", wildcard)] {
            let head = Head {
                host: Some(host.as_bytes()),
                method: "GET",
                path: &path,
                query: None,
                headers: &headers,
            };
            group.bench_function(BenchmarkId::new(name, rules), |b| b.iter(|| map.find(black_box(&head))));
        }
    }
    group.finish();
}

/// The last of so many route rules is found: one path each, one prefix each, one template each, or one header value
/// each on the same path.
fn by_priority(c: &mut Criterion) {
    let mut group = c.benchmark_group("route rules");
    for count in [1_u32, 100, 1000] {
        let (path, headers) = (routes::path(count - 1), routes::headers(count - 1));
        for (name, by) in routes::KINDS {
            let map = routes::rules(by, count);
            let head = Head { host: None, method: "GET", path: &path, query: None, headers: &headers };
            group.bench_function(BenchmarkId::new(name, count), |b| b.iter(|| map.find(black_box(&head))));
        }
    }
    group.finish();
}

criterion_group!(benches, find, by_priority);
criterion_main!(benches);
