//! Look-ups in URL maps of 0, 1, 10 and 1,000 host rules with as many path rules each, and of 1, 100 and 1,000 route
//! rules.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use overspill::model::config::ServiceId;
use overspill::model::route::action::Action;
use overspill::model::route::predicate::{HeaderTest, Source, Test};
use overspill::model::route::template::PathTemplate;
use overspill::model::route::{
    Head, HostPattern, HostRule, PathMatcher, PathPattern, PathRule, PathTest, RouteMatch, RouteRule, Rules,
    UrlMap,
};
use overspill::model::service::Scheme;

fn compiled(hosts: &[HostRule], rules: Rules) -> UrlMap {
    let default = Action::to(ServiceId(0));
    let matcher = PathMatcher { name: "all".into(), default: default.clone(), rules };
    UrlMap::new("map".into(), Scheme::ExternalManaged, default, hosts, vec![matcher])
}

fn map(rules: u32) -> UrlMap {
    let hosts: Vec<_> = (0..rules)
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
            action: Action::to(ServiceId(n)),
        })
        .collect();
    compiled(&hosts, Rules::Paths(paths))
}

fn find(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    let headers = HeaderMap::new();
    for rules in [0, 1, 10, 1000] {
        let map = map(rules);
        let last = rules.saturating_sub(1);
        let exact = (format!("shop-{last}.example.com"), format!("/api/v1/things-{last}"));
        let wildcard = (format!("www.shop-{last}.example.com"), format!("/api/v1/things-{last}/parts/7"));
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
        let last = count - 1;
        let text = |n: u32| format!("/api/v1/things-{n}").into_boxed_str();
        let header = |n: u32| HeaderTest {
            source: Source::Header(HeaderName::from_static("x-tenant")),
            test: Test::Exact(format!("tenant-{n}").into()),
            is_inverted: false,
        };
        type Make<'a> = Box<dyn Fn(u32) -> (PathTest, Vec<HeaderTest>) + 'a>;
        let kinds: [(&str, Make<'_>); 4] = [
            ("full", Box::new(|n| (PathTest::Full(text(n), false), vec![]))),
            ("prefix", Box::new(|n| (PathTest::Prefix(text(n), false), vec![]))),
            (
                "template",
                Box::new(|n| {
                    let template = PathTemplate::parse(&format!("/api/*/things-{n}")).unwrap();
                    (PathTest::Template(template), vec![])
                }),
            ),
            ("header", Box::new(|n| (PathTest::Prefix("/".into(), false), vec![header(n)]))),
        ];
        let (path, mut headers) = (text(last), HeaderMap::new());
        headers.insert("x-tenant", HeaderValue::from_str(&format!("tenant-{last}")).unwrap());
        for (name, make) in kinds {
            let rule = |n| {
                let (path, headers) = make(n);
                let matches = vec![RouteMatch { path, headers, queries: vec![] }];
                RouteRule { priority: n, matches, action: Action::to(ServiceId(n)) }
            };
            let hosts = [HostRule { patterns: vec![HostPattern::parse("*").unwrap()], matcher: 0 }];
            let map = compiled(&hosts, Rules::Routes((0..count).map(rule).collect()));
            let head = Head { host: None, method: "GET", path: &path, query: None, headers: &headers };
            group.bench_function(BenchmarkId::new(name, count), |b| b.iter(|| map.find(black_box(&head))));
        }
    }
    group.finish();
}

criterion_group!(benches, find, by_priority);
criterion_main!(benches);
