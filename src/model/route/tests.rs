use proptest::prelude::*;

mod rules;

use super::*;
use crate::model::config::ServiceId;

fn host_rule(patterns: &[&str], matcher: usize) -> HostRule {
    HostRule { patterns: patterns.iter().map(|p| HostPattern::parse(p).unwrap()).collect(), matcher }
}

fn path_rule(patterns: &[&str], service: u32) -> PathRule {
    let patterns = patterns.iter().map(|p| PathPattern::parse(p).unwrap()).collect();
    PathRule { patterns, action: Action::to(ServiceId(service)) }
}

fn matcher(name: &str, default: u32, rules: Vec<PathRule>) -> PathMatcher {
    PathMatcher { name: name.into(), default: Action::to(ServiceId(default)), rules: Rules::Paths(rules) }
}

/// Service 0 is the map's default; host rule n leads to service n + 1.
fn hosts_map(patterns: &[&str], ignores_port: bool) -> UrlMap {
    let hosts: Vec<_> = patterns.iter().enumerate().map(|(i, p)| host_rule(&[p], i)).collect();
    let matchers = (0..patterns.len()).map(|i| matcher(&format!("m{i}"), i as u32 + 1, vec![])).collect();
    let scheme = if ignores_port { Scheme::External } else { Scheme::ExternalManaged };
    UrlMap::new("map".into(), scheme, Action::to(ServiceId(0)), &hosts, matchers)
}

/// Service 0 is the matcher's default; pattern n leads to service n + 1.
fn paths_map(patterns: &[&str]) -> UrlMap {
    let rules = patterns.iter().enumerate().map(|(i, p)| path_rule(&[p], i as u32 + 1)).collect();
    managed("map", 99, &[host_rule(&["*"], 0)], vec![matcher("m", 0, rules)])
}

fn managed(name: &str, default: u32, hosts: &[HostRule], matchers: Vec<PathMatcher>) -> UrlMap {
    UrlMap::new(name.into(), Scheme::ExternalManaged, Action::to(ServiceId(default)), hosts, matchers)
}

/// A GET with no headers: service, matcher, rule.
fn find<'a>(map: &'a UrlMap, host: Option<&[u8]>, path: &str) -> (u32, Option<&'a str>, Option<String>) {
    let headers = HeaderMap::new();
    let route = map.find(&Head { host, method: "GET", path, query: None, headers: &headers });
    let (service, _) = route.action.services().next().unwrap();
    (service.0, route.matcher, route.rule.map(|rule| rule.to_string()))
}

fn service(map: &UrlMap, host: &str, path: &str) -> u32 {
    find(map, Some(host.as_bytes()), path).0
}

#[test]
fn map_without_host_rules_answers_its_default() {
    let map = managed("web-map", 7, &[], vec![]);
    assert_eq!(find(&map, None, "/"), (7, None, None));
    assert_eq!(&*map.name, "web-map");
}

#[test]
fn host_then_path_then_matcher_default_then_map_default() {
    // [G 7.1]
    let matchers = vec![matcher("video", 1, vec![path_rule(&["/hd/*", "/hd"], 2)])];
    let map = managed("m", 0, &[host_rule(&["a.test"], 0)], matchers);
    let at = |host: &'static str, path| find(&map, Some(host.as_bytes()), path);
    assert_eq!(at("a.test", "/hd/1"), (2, Some("video"), Some("/hd/*".into())));
    assert_eq!(at("a.test", "/hd"), (2, Some("video"), Some("/hd".into())));
    assert_eq!(at("a.test", "/sd"), (1, Some("video"), None));
    assert_eq!(at("b.test", "/hd"), (0, None, None));
    assert_eq!(find(&map, None, "/hd").0, 0);
}

#[test]
fn hosts_are_compared_without_case() {
    let map = hosts_map(&["WWW.A.test", "*.B.test"], false);
    assert_eq!(service(&map, "www.a.TEST", "/"), 1);
    assert_eq!(service(&map, "X.b.Test", "/"), 2);
}

#[test]
fn exact_host_beats_wildcards_and_the_longest_wildcard_wins() {
    // [G 7.2, 14.5]
    let map = hosts_map(&["*", "*.a.test", "*.b.a.test", "x.b.a.test", "*-b.a.test"], false);
    assert_eq!(service(&map, "x.b.a.test", "/"), 4);
    assert_eq!(service(&map, "y.b.a.test", "/"), 3);
    assert_eq!(service(&map, "y.c.a.test", "/"), 2);
    assert_eq!(service(&map, "y-b.a.test", "/"), 5);
    assert_eq!(service(&map, "a.test", "/"), 1);
    assert_eq!(service(&map, "other", "/"), 1);
    assert_eq!(find(&map, None, "/").0, 1);
}

#[test]
fn star_before_a_name_stands_for_letters_digits_hyphens_and_dots() {
    // [G 7.2]
    let map = hosts_map(&["*.a.test"], false);
    assert_eq!(service(&map, ".a.test", "/"), 1, "the star may stand for nothing");
    assert_eq!(service(&map, "x-1.y.a.test", "/"), 1);
    assert_eq!(service(&map, "x_1.a.test", "/"), 0);
    assert_eq!(service(&map, "xa.test", "/"), 0);
}

#[test]
fn classic_ignores_ports_of_requests_and_patterns() {
    // [G 7.2]
    let map = hosts_map(&["a.test", "b.test:81", "[::1]", "*.c.test"], true);
    for (host, want) in [
        ("a.test:8080", 1),
        ("a.test", 1),
        ("b.test", 2),
        ("b.test:1", 2),
        ("[::1]:80", 3),
        ("x.c.test:80", 4),
    ] {
        assert_eq!(service(&map, host, "/"), want, "{host}");
    }
}

#[test]
fn other_products_compare_host_and_port_as_they_stand() {
    // [G 7.2]
    let map = hosts_map(&["a.test", "a.test:81", "[::1]:80", "*.c.test:80", "*.c.test"], false);
    for (host, want) in [
        ("a.test", 1),
        ("a.test:8080", 0),
        ("a.test:81", 2),
        ("[::1]:80", 3),
        ("[::1]", 0),
        ("x.c.test:80", 4),
        ("x.c.test", 5),
    ] {
        assert_eq!(service(&map, host, "/"), want, "{host}");
    }
}

#[test]
fn hosts_of_any_length_and_any_bytes_are_looked_up() {
    let map = hosts_map(&["a.test", "*.b.test"], false);
    assert_eq!(service(&map, &"x".repeat(100_000), "/"), 0);
    assert_eq!(find(&map, Some(b"\xff\x00:]["), "/").0, 0);
    assert_eq!(service(&hosts_map(&["*"], false), &format!("{}.b.test", "x".repeat(9000)), "/"), 1);
}

#[test]
fn exact_path_beats_wildcard_and_the_longest_wildcard_wins() {
    // [G 7.4]
    let map = paths_map(&["/*", "/video/*", "/video/hd/*", "/video/hd/one", "/other"]);
    for (path, want) in [
        ("/video/hd/one", 4),
        ("/video/hd/two", 3),
        ("/video/hd", 2),
        ("/video/", 2),
        ("/video", 1),
        ("/videos", 1),
        ("/other/", 1),
        ("/Other", 1),
        ("/other", 5),
        ("*", 0),
        ("", 0),
    ] {
        assert_eq!(service(&map, "h", path), want, "{path}");
    }
}

#[test]
fn w19_video_star_does_not_match_video() {
    // [G 7.4]
    let map = paths_map(&["/video/*"]);
    assert_eq!(service(&map, "h", "/video"), 0);
    assert_eq!(service(&map, "h", "/video/"), 1);
}

#[test]
fn host_patterns_say_what_would_be_right() {
    for good in
        ["a", "a.test", "A-1.test:80", "*", "*.a.test", "*-a.test:65535", "10.0.0.1", "[::1]", "[::1]:80"]
    {
        assert_eq!(HostPattern::parse(good).map(|p| p.to_string()), Ok(good.to_ascii_lowercase()));
    }
    for bad in [
        "", ":80", "*a.test", "a.*", "a*", "**", "*.", "*.*", "*:80", "a:0", "a:65536", "a:x", "a:", "::1",
        "a b", "ä",
    ] {
        assert!(HostPattern::parse(bad).is_err(), "{bad}");
    }
    assert!(HostPattern::parse(&"a".repeat(254)).is_err());
}

#[test]
fn path_patterns_say_what_would_be_right() {
    for good in ["/", "/*", "/a", "/a/*", "/a%20b", "/ä"] {
        assert_eq!(PathPattern::parse(good).map(|p| p.to_string()), Ok(good.to_owned()));
    }
    for bad in ["", "a", "*", "/a*", "/*/a", "/a/**", "/a?b", "/a#b", "/a b", "/a\n", "/a?/*"] {
        assert!(PathPattern::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn equal_patterns_are_equal_after_folding_case() {
    assert_eq!(HostPattern::parse("A.test").unwrap(), HostPattern::parse("a.TEST").unwrap());
    assert_ne!(PathPattern::parse("/A").unwrap(), PathPattern::parse("/a").unwrap());
}

/// The rules of [G 7.2, 7.4] written down in the plainest way.
fn naive_host(patterns: &[String], host: &str, ignores_port: bool) -> Option<usize> {
    let strip = |text: &str| match text.rsplit_once(':') {
        Some((name, _)) if ignores_port => name.to_owned(),
        _ => text.to_owned(),
    };
    let host = strip(&host.to_ascii_lowercase());
    let rank = |pattern: &String| {
        let pattern = strip(&pattern.to_ascii_lowercase());
        match pattern.strip_prefix('*') {
            Some("") => Some(0),
            Some(rest) => host
                .strip_suffix(rest)
                .filter(|star| star.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'))
                .map(|_| pattern.len()),
            None => (pattern == host).then_some(usize::MAX),
        }
    };
    let ranked =
        patterns.iter().enumerate().filter_map(|(i, p)| rank(p).map(|rank| (rank, std::cmp::Reverse(i))));
    ranked.max().map(|(_, std::cmp::Reverse(i))| i)
}

fn naive_path(patterns: &[String], path: &str) -> Option<usize> {
    let rank = |pattern: &String| match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix).then_some(prefix.len()),
        None => (pattern == path).then_some(usize::MAX),
    };
    let ranked =
        patterns.iter().enumerate().filter_map(|(i, p)| rank(p).map(|rank| (rank, std::cmp::Reverse(i))));
    ranked.max().map(|(_, std::cmp::Reverse(i))| i)
}

proptest! {
    #[test]
    fn hosts_match_as_the_naive_matcher_says(
        patterns in prop::collection::vec(r"([*][-.])?[ab]([-.][aB]){0,3}(:8)?|[*]", 0..12),
        hosts in prop::collection::vec(r"[abA_]?([-.][ab]){0,4}(:[89])?", 1..20),
        ignores_port: bool,
    ) {
        let refs: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let map = hosts_map(&refs, ignores_port);
        for host in hosts {
            let want = naive_host(&patterns, &host, ignores_port).map_or(0, |i| i as u32 + 1);
            prop_assert_eq!(service(&map, &host, "/"), want, "{}", host);
        }
    }

    #[test]
    fn paths_match_as_the_naive_matcher_says(
        patterns in prop::collection::vec(r"/([ab]{1,2}/){0,3}([*]|[ab]{0,2})", 0..20),
        paths in prop::collection::vec(r"(/[ab]{0,2}){0,5}", 1..20),
    ) {
        let refs: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let map = paths_map(&refs);
        for path in paths {
            let want = naive_path(&patterns, &path).map_or(0, |i| i as u32 + 1);
            prop_assert_eq!(service(&map, "h", &path), want, "{}", path);
        }
    }
}
