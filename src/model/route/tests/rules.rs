//! `routeRules`, their predicates, and what becomes of the requests that they take [G 7.5, 7b, 7c].

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::model::route::action::{Destination, NewPath, Redirect, Split, Target, Url};
use crate::model::route::predicate::{HeaderTest, QueryTest, QueryValue, Source, Test};
use crate::model::route::template::{PathTemplate, TemplateRewrite};

fn prefix(text: &str) -> RouteMatch {
    RouteMatch { path: PathTest::Prefix(text.into(), false), headers: vec![], queries: vec![] }
}

fn full(text: &str) -> RouteMatch {
    RouteMatch { path: PathTest::Full(text.into(), false), ..prefix("/") }
}

fn template(text: &str) -> RouteMatch {
    RouteMatch { path: PathTest::Template(PathTemplate::parse(text).unwrap()), ..prefix("/") }
}

fn with_header(matched: RouteMatch, name: &str, test: Test, is_inverted: bool) -> RouteMatch {
    let source = match name {
        ":authority" => Source::Authority,
        ":method" => Source::Method,
        "PORT" => Source::Port,
        name => Source::Header(HeaderName::try_from(name).unwrap()),
    };
    RouteMatch { headers: vec![HeaderTest { source, test, is_inverted }], ..matched }
}

fn with_query(matched: RouteMatch, name: &str, exact: Option<&str>) -> RouteMatch {
    let test = exact.map_or(QueryValue::Any, |text| QueryValue::Exact(text.into()));
    RouteMatch { queries: vec![QueryTest { name: name.into(), test }], ..matched }
}

fn rule(priority: u32, matches: Vec<RouteMatch>, service: u32) -> RouteRule {
    RouteRule { priority, matches, action: Action::to(ServiceId(service)) }
}

/// Service 0 is the matcher's default.
fn map(rules: Vec<RouteRule>) -> UrlMap {
    let matcher =
        PathMatcher { name: "m".into(), default: Action::to(ServiceId(0)), rules: Rules::Routes(rules) };
    managed("map", 99, &[host_rule(&["*"], 0)], vec![matcher])
}

/// A request: `METHOD host target` and header lines.
fn ask(map: &UrlMap, request: &str, lines: &[(&str, &str)]) -> u32 {
    let mut words = request.split(' ');
    let (method, host, target) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let head = Head { host: Some(host.as_bytes()), method, path, query, headers: &headers };
    map.find(&head).action.services().next().unwrap().0.0
}

/// Whether a lone rule takes a GET of `/`.
fn takes(matched: RouteMatch, lines: &[(&str, &str)]) -> bool {
    ask(&map(vec![rule(1, vec![matched], 1)]), "GET h /", lines) == 1
}

#[test]
fn g_7_5_the_lowest_priority_comes_first_whatever_the_order_of_the_file() {
    let map = map(vec![
        rule(30, vec![prefix("/")], 3),
        rule(10, vec![full("/a/b")], 1),
        rule(20, vec![prefix("/a")], 2),
    ]);
    for (path, want) in [("/a/b", 1), ("/a/bc", 2), ("/abc", 2), ("/b", 3)] {
        assert_eq!(ask(&map, &format!("GET h {path}"), &[]), want, "{path}");
    }
}

#[test]
fn g_7_5_a_short_prefix_of_low_priority_number_beats_a_longer_one() {
    let map = map(vec![rule(2, vec![prefix("/a/b/c")], 2), rule(1, vec![prefix("/a")], 1)]);
    assert_eq!(ask(&map, "GET h /a/b/c", &[]), 1);
}

#[test]
fn g_7_5_match_rules_are_alternatives_and_their_predicates_all_must_hold() {
    let both = with_query(with_header(prefix("/a"), "x-beta", Test::Exact("1".into()), false), "debug", None);
    let map = map(vec![rule(1, vec![both, full("/other")], 1)]);
    assert_eq!(ask(&map, "GET h /a?debug", &[("x-beta", "1")]), 1);
    assert_eq!(ask(&map, "GET h /a", &[("x-beta", "1")]), 0);
    assert_eq!(ask(&map, "GET h /a?debug", &[]), 0);
    assert_eq!(ask(&map, "GET h /other", &[]), 1);
}

#[test]
fn g_7b_a_star_in_a_prefix_is_a_star() {
    let map = map(vec![rule(1, vec![prefix("/a*")], 1)]);
    assert_eq!((ask(&map, "GET h /a*b", &[]), ask(&map, "GET h /ab", &[])), (1, 0));
}

#[test]
fn g_7b_case_is_ignored_where_it_is_said_and_in_paths_alone() {
    let ignoring = |path| RouteMatch { path, ..prefix("/") };
    let map = map(vec![
        rule(1, vec![ignoring(PathTest::Full("/Full".into(), true))], 1),
        rule(2, vec![ignoring(PathTest::Prefix("/Pre".into(), true))], 2),
        rule(3, vec![prefix("/Case")], 3),
    ]);
    for (path, want) in [("/fULL", 1), ("/full/", 0), ("/pREfix", 2), ("/pr", 0), ("/Case", 3), ("/case", 0)]
    {
        assert_eq!(ask(&map, &format!("GET h {path}"), &[]), want, "{path}");
    }
}

#[test]
fn w20_a_range_is_of_whole_numbers_and_without_its_end() {
    let range = || with_header(prefix("/"), "x", Test::Range(-5, 0), false);
    for (value, want) in
        [("-3", true), ("-5", true), ("0", false), ("0.25", false), ("-3some", false), ("", false)]
    {
        assert_eq!(takes(range(), &[("x", value)]), want, "{value:?}");
    }
    assert!(!takes(range(), &[]));
}

#[test]
fn g_7b_headers_are_compared_in_whole_by_start_by_end_and_by_presence() {
    let test = |test, is_inverted| with_header(prefix("/"), "x-a", test, is_inverted);
    for (what, value, want) in [
        (test(Test::Exact("one".into()), false), Some("one"), true),
        (test(Test::Exact("one".into()), false), Some("One"), false),
        (test(Test::Exact("one".into()), false), None, false),
        (test(Test::Prefix("on".into()), false), Some("one"), true),
        (test(Test::Suffix("ne".into()), false), Some("one"), true),
        (test(Test::Suffix("on".into()), false), Some("one"), false),
        (test(Test::Present(true), false), Some(""), true),
        (test(Test::Present(true), false), None, false),
        (test(Test::Present(false), false), None, true),
        (test(Test::Present(false), false), Some("one"), false),
        (test(Test::Exact("one".into()), true), Some("two"), true),
        (test(Test::Exact("one".into()), true), Some("one"), false),
        (test(Test::Exact("one".into()), true), None, true),
    ] {
        let lines: Vec<_> = value.map(|value| ("x-a", value)).into_iter().collect();
        assert_eq!(takes(what.clone(), &lines), want, "{what} {value:?}");
    }
    assert!(takes(test(Test::Exact("one".into()), false), &[("x-a", "two"), ("x-a", "one")]), "any line");
}

#[test]
fn g_7b_authority_method_and_port_are_names_too() {
    let asks = |name, value: &str| {
        map(vec![rule(1, vec![with_header(prefix("/"), name, Test::Exact(value.into()), false)], 1)])
    };
    assert_eq!(ask(&asks(":authority", "a.test:81"), "GET a.test:81 /", &[]), 1);
    assert_eq!(ask(&asks(":authority", "a.test"), "GET a.test:81 /", &[]), 0);
    assert_eq!(ask(&asks(":method", "POST"), "POST h /", &[]), 1);
    assert_eq!(ask(&asks(":method", "POST"), "GET h /", &[]), 0);
    assert_eq!(ask(&asks("PORT", "81"), "GET [::1]:81 /", &[]), 1);
    assert_eq!(ask(&asks("PORT", "80"), "GET a.test /", &[]), 0);
}

#[test]
fn g_7b_query_parameters_are_compared_as_they_stand_and_the_first_counts() {
    let exact = || map(vec![rule(1, vec![with_query(prefix("/"), "a", Some("1"))], 1)]);
    let present = || map(vec![rule(1, vec![with_query(prefix("/"), "a", None)], 1)]);
    for (query, is_exact, is_present) in [
        ("?a=1", 1, 1),
        ("?b&a=1&c", 1, 1),
        ("?a=2&a=1", 0, 1),
        ("?a", 0, 1),
        ("?a=", 0, 1),
        ("?A=1", 0, 0),
        ("?a=%31", 0, 1),
        ("?", 0, 0),
        ("", 0, 0),
    ] {
        let request = format!("GET h /{query}");
        assert_eq!(
            (ask(&exact(), &request, &[]), ask(&present(), &request, &[])),
            (is_exact, is_present),
            "{query}"
        );
    }
}

#[test]
fn g_7b_templates_take_segments() {
    for (text, good, bad) in [
        ("/a/*/c", "/a/b/c", "/a/c"),
        ("/a/*/c", "/a/%2F/c", "/a//c"),
        ("/{x}/{y=*}", "/1/2", "/1/2/3"),
        ("/a/**", "/a/b/c", "/a"),
        ("/a/{rest=**}", "/a/", "/b/"),
        ("/**", "/", ""),
        ("/a/", "/a/", "/a"),
        ("/a", "/a", "/a/"),
    ] {
        let template = PathTemplate::parse(text).unwrap();
        assert!(template.holds(good) && !template.holds(bad), "{text} {good} {bad}");
    }
    for bad in
        ["", "a", "/**/b", "/{x}/{x}", "/{1x}", "/{x", "/a*", "/{x=a}", "/*/*/*/*/*/*", "/a?b", "/a b", "/{}"]
    {
        assert!(PathTemplate::parse(bad).is_err(), "{bad}");
    }
    assert!(PathTemplate::parse("/{a}/*/{b}/*/{c=**}").is_ok(), "five operators");
}

#[test]
fn g_7c_a_template_is_filled_with_what_another_one_found() {
    let template = PathTemplate::parse("/{country}/*/{rest=**}").unwrap();
    let rewrite = TemplateRewrite::parse("/x-{country}/{rest}/{rest}.m3u8").unwrap();
    assert_eq!(rewrite.names().collect::<Vec<_>>(), ["country", "rest", "rest"]);
    assert_eq!(rewrite.fill(&template, "/de/videos/a/b"), "/x-de/a/b/a/b.m3u8");
    for bad in ["x", "/{", "/{}", "/a}", "/{a b}", "/*", "/a?b"] {
        assert!(TemplateRewrite::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_a_rule_asks_can_be_read() {
    let matched = with_query(with_header(prefix("/a"), "x-b", Test::Range(1, 9), true), "c", Some("d"));
    let text = Rule::Route(5, &matched).to_string();
    assert_eq!(text, "priority 5: prefixMatch /a, not header x-b rangeMatch [1,9), query c exactMatch d");
    let any = RouteMatch { path: PathTest::Full("/A".into(), true), headers: vec![], queries: vec![] };
    assert_eq!(any.to_string(), "fullPathMatch /A ignoreCase");
    assert_eq!(template("/a/{b}").to_string(), "pathTemplateMatch /a/{b}");
}

fn split(weights: &[u32]) -> Option<Split> {
    let to = |service| Destination { service: ServiceId(service), edits: None };
    Split::new((0..).zip(weights).map(|(service, weight)| (to(service), *weight)))
}

/// Spread more evenly than chance would.
fn points(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[test]
fn w18_weights_95_and_5_give_95_and_5_percent() {
    let split = split(&[95, 5]).unwrap();
    let mut counts = [0_u32; 2];
    for point in points(100_000) {
        counts[split.pick(point).unwrap().to.service.index()] += 1;
    }
    assert!((4_990..=5_010).contains(&counts[1]), "{counts:?}");
    let mut exact = [0_u32; 2];
    for n in 0..10_000_u64 {
        exact[split.pick(u64::MAX / 10_000 * n + u64::MAX / 20_000).unwrap().to.service.index()] += 1;
    }
    assert_eq!(exact, [9_500, 500], "even points, even shares");
}

#[test]
fn g_7c_weight_0_gets_nothing_and_all_0_is_no_choice() {
    assert_eq!(split(&[0, 0]), None);
    assert_eq!(split(&[]), None);
    let split = split(&[0, 1, 0]).unwrap();
    for point in [0, 1, u64::MAX / 2, u64::MAX] {
        assert_eq!(split.pick(point).unwrap().to.service, ServiceId(1));
    }
}

#[test]
fn a_session_moves_only_where_the_shares_have_moved() {
    let (before, after) = (split(&[95, 5]).unwrap(), split(&[90, 10]).unwrap());
    let mut moved = 0;
    for point in points(10_000) {
        let (old, new) = (before.pick(point).unwrap().to.service, after.pick(point).unwrap().to.service);
        assert!(old == new || (old, new) == (ServiceId(0), ServiceId(1)));
        moved += u32::from(old != new);
    }
    assert!((490..=510).contains(&moved), "5 % move: {moved}");
}

fn redirect(path: NewPath) -> Redirect {
    Redirect { host: None, path, to_https: false, strips_query: false, status: 301 }
}

const URL: Url<'_> = Url { is_https: false, host: "a.test:80", path: "/old/x", query: Some("q=1") };

#[test]
fn g_7c_redirects_replace_what_they_say_and_keep_the_rest() {
    let action = Action::to(ServiceId(0));
    let (matched, pattern) = (prefix("/old"), PathPattern::parse("/old/*").unwrap());
    let by = |rule| Route { action: &action, matcher: Some("m"), rule };
    let (none, of_route, of_path) =
        (by(None), by(Some(Rule::Route(1, &matched))), by(Some(Rule::Path(&pattern))));
    let whole = |text: &str| NewPath::Whole(text.into());
    let start = |text: &str| NewPath::Prefix(text.into());
    for (redirect, route, want) in [
        (Redirect { to_https: true, ..redirect(NewPath::Same) }, none, "https://a.test/old/x?q=1"),
        (
            Redirect { host: Some("b.test".into()), ..redirect(NewPath::Same) },
            none,
            "http://b.test/old/x?q=1",
        ),
        (redirect(whole("/new")), of_route, "http://a.test:80/new?q=1"),
        (redirect(whole("/new?r=2")), of_route, "http://a.test:80/new?r=2&q=1"),
        (Redirect { strips_query: true, ..redirect(whole("/new?r=2")) }, none, "http://a.test:80/new?r=2"),
        (redirect(start("/new")), of_route, "http://a.test:80/new/x?q=1"),
        (redirect(start("/new/")), of_path, "http://a.test:80/new/x?q=1"),
        // At a default there is nothing to replace: it is put in front.
        (redirect(start("/new")), none, "http://a.test:80/new/old/x?q=1"),
        (redirect(start("/new/")), none, "http://a.test:80/new/old/x?q=1"),
    ] {
        assert_eq!(redirect.location(&route, &URL), want);
    }
}

#[test]
fn a_lone_action_has_one_service_and_a_redirect_none() {
    assert_eq!(Action::to(ServiceId(3)).services().collect::<Vec<_>>(), [(ServiceId(3), 1)]);
    let away = Target::Redirect(Box::new(redirect(NewPath::Same)));
    assert_eq!(Action { target: away, ..Action::to(ServiceId(3)) }.services().next(), None);
}

/// [G 7.5] in the plainest way: all rules by priority, all of their matches in turn.
fn naive(rules: &[RouteRule], path: &str, headers: &HeaderMap) -> u32 {
    let mut rules: Vec<_> = rules.iter().collect();
    rules.sort_by_key(|rule| rule.priority);
    let holds = |one: &RouteMatch| {
        let by_path = match &one.path {
            PathTest::Prefix(text, false) => path.starts_with(&**text),
            PathTest::Prefix(text, true) => path.to_lowercase().starts_with(&text.to_lowercase()),
            PathTest::Full(text, false) => path == &**text,
            PathTest::Full(text, true) => path.to_lowercase() == text.to_lowercase(),
            PathTest::Template(_) | PathTest::Regex(_) => false,
        };
        by_path && (one.headers.is_empty() || headers.contains_key("x"))
    };
    let found = rules.into_iter().find(|rule| rule.matches.iter().any(holds));
    found.and_then(|rule| rule.action.services().next()).map_or(0, |(service, _)| service.0)
}

proptest! {
    #[test]
    fn the_tables_find_what_asking_one_by_one_finds(
        rules in prop::collection::vec(
            prop::collection::vec(("(/[aAb]{0,2}){1,3}", 0..4_u8, any::<bool>()), 1..3),
            0..20,
        ),
        paths in prop::collection::vec("(/[aAb]{0,2}){1,4}", 1..20),
        has_header: bool,
    ) {
        let matched = |(text, kind, is_picky): &(String, u8, bool)| {
            let path = match kind {
                0 => PathTest::Prefix(text.as_str().into(), false),
                1 => PathTest::Prefix(text.as_str().into(), true),
                2 => PathTest::Full(text.as_str().into(), false),
                _ => PathTest::Full(text.as_str().into(), true),
            };
            let one = RouteMatch { path, ..prefix("/") };
            if *is_picky { with_header(one, "x", Test::Present(true), false) } else { one }
        };
        let count = rules.len() as u32;
        let rules: Vec<_> = (0..).zip(&rules)
            .map(|(n, matches)| rule((n * 7 + 3) % count.max(1) * 100 + n, matches.iter().map(matched).collect(), n + 1))
            .collect();
        let mut headers = HeaderMap::new();
        if has_header {
            headers.insert("x", HeaderValue::from_static("1"));
        }
        let map = map(rules.clone());
        for path in paths {
            let head = Head { host: None, method: "GET", path: &path, query: None, headers: &headers };
            let found = map.find(&head).action.services().next().unwrap().0.0;
            prop_assert_eq!(found, naive(&rules, &path, &headers), "{}", path);
        }
    }
}
