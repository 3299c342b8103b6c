//! URL maps of any size, and heads that find the last of their rules.

use http::{HeaderMap, HeaderName, HeaderValue};
use overspill::model::config::ServiceId;
use overspill::model::route::action::Action;
use overspill::model::route::predicate::{HeaderTest, Source, Test};
use overspill::model::route::template::PathTemplate;
use overspill::model::route::{
    HostPattern, HostRule, PathMatcher, PathPattern, PathRule, PathTest, RouteMatch, RouteRule, Rules, UrlMap,
};
use overspill::model::service::Scheme;

fn compiled(hosts: &[HostRule], rules: Rules) -> UrlMap {
    let default = Action::to(ServiceId(0));
    let matcher = PathMatcher { name: "all".into(), default: default.clone(), rules };
    UrlMap::new("map".into(), Scheme::ExternalManaged, default, hosts, vec![matcher])
}

/// So many host rules with two patterns each, and as many path rules.
pub(crate) fn paths(rules: u32) -> UrlMap {
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

/// What route rules look at: each at a path, a prefix, a template of its own, or at a header's value on the same path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    Full,
    Prefix,
    Template,
    Header,
}

pub(crate) const KINDS: [(&str, By); 4] =
    [("full", By::Full), ("prefix", By::Prefix), ("template", By::Template), ("header", By::Header)];

/// So many route rules.
pub(crate) fn rules(by: By, count: u32) -> UrlMap {
    let rule = |n| {
        let (path, headers) = predicate(by, n);
        let matches = vec![RouteMatch { path, headers, queries: vec![] }];
        RouteRule { priority: n, matches, action: Action::to(ServiceId(n)) }
    };
    let hosts = [HostRule { patterns: vec![HostPattern::parse("*").unwrap()], matcher: 0 }];
    compiled(&hosts, Rules::Routes((0..count).map(rule).collect()))
}

fn predicate(by: By, n: u32) -> (PathTest, Vec<HeaderTest>) {
    let text = path(n).into_boxed_str();
    match by {
        By::Full => (PathTest::Full(text, false), vec![]),
        By::Prefix => (PathTest::Prefix(text, false), vec![]),
        By::Template => {
            let template = PathTemplate::parse(&format!("/api/*/things-{n}")).unwrap();
            (PathTest::Template(template), vec![])
        }
        By::Header => {
            let header = HeaderTest {
                source: Source::Header(HeaderName::from_static("x-tenant")),
                test: Test::Exact(format!("tenant-{n}").into()),
                is_inverted: false,
            };
            (PathTest::Prefix("/".into(), false), vec![header])
        }
    }
}

/// What a rule of this number asks for.
pub(crate) fn path(n: u32) -> String {
    format!("/api/v1/things-{n}")
}

/// The same.
pub(crate) fn headers(n: u32) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from_str(&format!("tenant-{n}")).unwrap());
    headers
}
