//! URL maps and requests, both made from the input's bytes, against the rules of [G 7] in the plainest words.

use http::{HeaderMap, HeaderName, HeaderValue};
use overspill::model::config::ServiceId;
use overspill::model::route::action::Action;
use overspill::model::route::predicate::{HeaderTest, QueryTest, QueryValue, Source, Test};
use overspill::model::route::template::PathTemplate;
use overspill::model::route::{
    Head, HostPattern, HostRule, PathMatcher, PathPattern, PathRule, PathTest, RouteMatch, RouteRule, Rules,
    UrlMap,
};
use overspill::model::service::Scheme;

use crate::kind;
use crate::mutate::Chance;
use crate::run::fuzz;

/// Chooses by the bytes of the input, then always the first.
struct Choice<'a>(std::slice::Iter<'a, u8>);

impl Choice<'_> {
    fn below(&mut self, n: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % n
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn is(&mut self) -> bool {
        self.below(2) == 1
    }
}

const SEGMENTS: &[&str] = &["a", "b", "ab", "aa", "A", "", "a%2f", "\u{e4}"];
const LABELS: &[&str] = &["a", "b", "ab", "x", "test", "B"];

/// A URL map with all that it was made from.
struct Made {
    map: UrlMap,
    is_classic: bool,
    /// Pattern and matcher.
    hosts: Vec<(String, usize)>,
    matchers: Vec<Vec<Naive>>,
}

/// One path rule's pattern, or one of a route rule's matches.
enum Naive {
    Path(String, u32),
    Route { priority: u32, path: NaivePath, headers: Vec<HeaderTest>, queries: Vec<QueryTest>, service: u32 },
}

enum NaivePath {
    Prefix(String, bool),
    Full(String, bool),
    Template(String),
}

#[test]
fn g_7_a_url_map_sends_a_request_where_the_plain_rules_say() {
    let mut chance = Chance::new(1);
    let seeds = (0..64).map(|n| (0..40 + n * 4).map(|_| chance.next() as u8).collect()).collect();
    fuzz("route", seeds, &[], check);
}

fn check(input: &[u8]) -> u64 {
    let mut choice = Choice(input.iter());
    let made = made(&mut choice);
    let mut effects = Vec::new();
    for _ in 0..8 {
        let (host, path) = (host(&mut choice, false), path(&mut choice, ""));
        let host = (choice.below(8) > 0).then_some(host);
        let query =
            [None, Some(""), Some("q"), Some("q=1"), Some("x&q=2&q=1"), Some("=&q=")][choice.below(6)];
        let mut headers = HeaderMap::new();
        for _ in 0..choice.below(3) {
            let name = HeaderName::from_static(choice.of(&["x-a", "x-b"]));
            headers.append(
                name,
                HeaderValue::from_static(choice.of(&["1", "12", "-3", "a1", "", "9999999999999999999"])),
            );
        }
        let head = Head {
            host: host.as_deref().map(str::as_bytes),
            method: choice.of(&["GET", "POST"]),
            path: &path,
            query,
            headers: &headers,
        };
        let found = made.map.find(&head);
        let service = found.action.services().next().unwrap().0.0;
        let want = made.naive(&head);
        assert_eq!(service, want, "{head:?}: {:?}, hosts {:?}\n{:?}", found.rule, made.hosts, made.map);
        assert!(found.matched(&path) <= path.len(), "{head:?}: {:?}", found.rule);
        effects.push((found.matcher.is_some(), found.rule.is_some()));
    }
    kind((effects, made.hosts.len(), made.matchers.len(), made.is_classic))
}

fn made(choice: &mut Choice<'_>) -> Made {
    let is_classic = choice.is();
    let (mut hosts, mut matchers, mut compiled, mut services) = (Vec::new(), Vec::new(), Vec::new(), 100);
    let mut rules = Vec::new();
    for matcher in 0..choice.below(4) {
        let mut patterns = Vec::new();
        for _ in 0..=choice.below(3) {
            let text = host(choice, true);
            if let Ok(pattern) = HostPattern::parse(&text) {
                hosts.push((text, matcher));
                patterns.push(pattern);
            }
        }
        rules.push(HostRule { patterns, matcher });
        let mut naive = Vec::new();
        let rules = if choice.is() {
            Rules::Paths(path_rules(choice, &mut naive, &mut services))
        } else {
            Rules::Routes(route_rules(choice, &mut naive, &mut services))
        };
        let default = Action::to(ServiceId(u32::try_from(matcher).unwrap() + 1));
        compiled.push(PathMatcher { name: format!("m{matcher}").into(), default, rules });
        matchers.push(naive);
    }
    let scheme = if is_classic { Scheme::External } else { Scheme::ExternalManaged };
    let map = UrlMap::new("map".into(), scheme, Action::to(ServiceId(0)), &rules, compiled);
    Made { map, is_classic, hosts, matchers }
}

fn path_rules(choice: &mut Choice<'_>, naive: &mut Vec<Naive>, services: &mut u32) -> Vec<PathRule> {
    let mut rules = Vec::new();
    for _ in 0..choice.below(5) {
        *services += 1;
        let mut patterns = Vec::new();
        for _ in 0..=choice.below(2) {
            let end = choice.of(&["", "/*"]);
            let text = path(choice, end);
            if let Ok(pattern) = PathPattern::parse(&text) {
                naive.push(Naive::Path(text, *services));
                patterns.push(pattern);
            }
        }
        rules.push(PathRule { patterns, action: Action::to(ServiceId(*services)) });
    }
    rules
}

fn route_rules(choice: &mut Choice<'_>, naive: &mut Vec<Naive>, services: &mut u32) -> Vec<RouteRule> {
    let mut rules: Vec<RouteRule> = Vec::new();
    for _ in 0..choice.below(5) {
        *services += 1;
        let priority = u32::try_from(choice.below(100)).unwrap();
        if rules.iter().any(|rule| rule.priority == priority) {
            continue;
        }
        let mut matches = Vec::new();
        for _ in 0..=choice.below(2) {
            let (path, test) = path_test(choice);
            let Some(test) = test else { continue };
            let headers: Vec<_> = (0..choice.below(3)).map(|_| header_test(choice)).collect();
            let exact = choice.is().then(|| choice.of(&["1", "2", ""]).into());
            let test_of_query = exact.map_or(QueryValue::Any, QueryValue::Exact);
            let query = || QueryTest { name: "q".into(), test: test_of_query.clone() };
            let queries: Vec<_> = (0..choice.below(2)).map(|_| query()).collect();
            matches.push(RouteMatch { path: test, headers: headers.clone(), queries: queries.clone() });
            naive.push(Naive::Route { priority, path, headers, queries, service: *services });
        }
        rules.push(RouteRule { priority, matches, action: Action::to(ServiceId(*services)) });
    }
    rules
}

fn path_test(choice: &mut Choice<'_>) -> (NaivePath, Option<PathTest>) {
    let (text, ignores_case) = (path(choice, ""), choice.is());
    match choice.below(3) {
        0 => {
            let test = PathTest::Prefix(text.as_str().into(), ignores_case);
            (NaivePath::Prefix(text, ignores_case), Some(test))
        }
        1 => {
            let test = PathTest::Full(text.as_str().into(), ignores_case);
            (NaivePath::Full(text, ignores_case), Some(test))
        }
        _ => {
            let middle = choice.of(&["", "/*", "/{x}", "/{x=*}", "/*/*"]);
            let end = choice.of(&["", "/**", "/{rest=**}", "/*", "/a"]);
            let text = format!("{text}{middle}{end}");
            let template = PathTemplate::parse(&text).ok().map(PathTest::Template);
            (NaivePath::Template(text), template)
        }
    }
}

fn header_test(choice: &mut Choice<'_>) -> HeaderTest {
    let source = match choice.below(5) {
        0 => Source::Header(HeaderName::from_static("x-a")),
        1 => Source::Header(HeaderName::from_static("x-b")),
        2 => Source::Authority,
        3 => Source::Method,
        _ => Source::Port,
    };
    let text = choice.of(&["1", "a", "", "80", "GET", "test"]);
    let test = match choice.below(5) {
        0 => Test::Exact(text.into()),
        1 => Test::Prefix(text.into()),
        2 => Test::Suffix(text.into()),
        3 => Test::Present(choice.is()),
        _ => Test::Range(-5, 80),
    };
    HeaderTest { source, test, is_inverted: choice.is() }
}

fn host(choice: &mut Choice<'_>, is_pattern: bool) -> String {
    let mut text = String::new();
    if is_pattern {
        text += choice.of(&["", "", "*", "*.", "*-"]);
        if text == "*" {
            return text;
        }
    }
    text += choice.of(LABELS);
    for _ in 0..choice.below(4) {
        text += choice.of(&[".", ".", "-", if is_pattern { "." } else { "_" }]);
        text += choice.of(LABELS);
    }
    text + choice.of(&["", "", ":80", ":81"])
}

fn path(choice: &mut Choice<'_>, end: &str) -> String {
    let segments: Vec<_> = (0..choice.below(4)).map(|_| choice.of(SEGMENTS)).collect();
    let text = segments.iter().map(|segment| format!("/{segment}")).collect::<String>() + end;
    if text.is_empty() { "/".to_owned() } else { text }
}

impl Made {
    /// Host, then path, then the matcher's default, then the map's [G 7.1].
    fn naive(&self, head: &Head<'_>) -> u32 {
        let host = head.host.map(|host| String::from_utf8_lossy(host).into_owned()).unwrap_or_default();
        let Some(matcher) = self.naive_host(&host) else { return 0 };
        let rules = &self.matchers[matcher];
        let found = naive_path_rule(rules, head.path).or_else(|| naive_route_rule(rules, head));
        found.unwrap_or(u32::try_from(matcher).unwrap() + 1)
    }

    /// Without case; exact, then the longest wildcard, then `*` [G 7.2].
    fn naive_host(&self, host: &str) -> Option<usize> {
        let strip = |text: &str| match text.split_once(':') {
            Some((name, _)) if self.is_classic => name.to_lowercase(),
            _ => text.to_lowercase(),
        };
        let host = strip(host);
        let rank = |pattern: &str| {
            let pattern = strip(pattern);
            let Some(rest) = pattern.strip_prefix('*') else {
                return (pattern == host).then_some(usize::MAX);
            };
            let star = host.strip_suffix(rest)?;
            let fits = star.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
            (rest.is_empty() || fits).then_some(rest.len())
        };
        let ranked =
            self.hosts.iter().rev().filter_map(|(pattern, matcher)| Some((rank(pattern)?, *matcher)));
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, matcher)| matcher)
    }
}

/// Exact, then the longest prefix; of equal ones the first [G 7.4].
fn naive_path_rule(rules: &[Naive], path: &str) -> Option<u32> {
    let ranked = rules.iter().rev().filter_map(|rule| match rule {
        Naive::Path(pattern, service) => {
            let rank = match pattern.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix).then_some(prefix.len()),
                None => (pattern == path).then_some(usize::MAX),
            };
            rank.map(|rank| (rank, *service))
        }
        Naive::Route { .. } => None,
    });
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, service)| service)
}

/// The lowest priority that holds [G 7.5].
fn naive_route_rule(rules: &[Naive], head: &Head<'_>) -> Option<u32> {
    let holding = rules.iter().filter_map(|rule| match rule {
        Naive::Route { priority, path, headers, queries, service } => {
            let holds = path_holds(path, head.path)
                && headers.iter().all(|test| header_holds(test, head))
                && queries.iter().all(|test| query_holds(test, head.query));
            holds.then_some((*priority, *service))
        }
        Naive::Path(..) => None,
    });
    holding.min().map(|(_, service)| service)
}

fn path_holds(test: &NaivePath, path: &str) -> bool {
    let fold = |text: &str, ignores_case: bool| {
        if ignores_case { text.to_ascii_lowercase() } else { text.to_owned() }
    };
    match test {
        NaivePath::Prefix(text, any) => fold(path, *any).starts_with(&fold(text, *any)),
        NaivePath::Full(text, any) => fold(path, *any) == fold(text, *any),
        NaivePath::Template(text) => {
            let (pattern, path): (Vec<_>, Vec<_>) = (text.split('/').collect(), path.split('/').collect());
            let is_rest = |segment: &str| segment == "**" || segment.ends_with("=**}");
            let is_one = |segment: &str| segment == "*" || segment.starts_with('{');
            let last = pattern[pattern.len() - 1];
            let fixed = if is_rest(last) { &pattern[..pattern.len() - 1] } else { &pattern[..] };
            let has_length = if is_rest(last) { path.len() > fixed.len() } else { path.len() == fixed.len() };
            let fits = |(pattern, own): (&&str, &&str)| {
                if is_one(pattern) { !own.is_empty() } else { pattern == own }
            };
            has_length && fixed.iter().zip(&path).all(fits)
        }
    }
}

fn header_holds(test: &HeaderTest, head: &Head<'_>) -> bool {
    let host = head.host.map(|host| String::from_utf8_lossy(host).into_owned());
    let values: Vec<String> = match &test.source {
        Source::Header(name) => {
            head.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
        }
        Source::Authority => host.into_iter().collect(),
        Source::Method => vec![head.method.to_owned()],
        Source::Port => host.iter().filter_map(|host| Some(host.split_once(':')?.1.to_owned())).collect(),
    };
    let takes = |value: &String| match &test.test {
        Test::Exact(text) => *value == **text,
        Test::Prefix(text) => value.starts_with(&**text),
        Test::Suffix(text) => value.ends_with(&**text),
        Test::Present(_) => true,
        Test::Range(from, to) => {
            value.parse::<i128>().is_ok_and(|n| i128::from(*from) <= n && n < i128::from(*to))
        }
        Test::Regex(pattern) => pattern.takes(value.as_bytes()),
    };
    let is_met = if test.test == Test::Present(false) { values.is_empty() } else { values.iter().any(takes) };
    is_met != test.is_inverted
}

/// The first of the name counts.
fn query_holds(test: &QueryTest, query: Option<&str>) -> bool {
    for pair in query.unwrap_or("").split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name == &*test.name && !pair.is_empty() {
            return match &test.test {
                QueryValue::Any => true,
                QueryValue::Exact(exact) => **exact == *value,
                QueryValue::Regex(pattern) => pattern.takes(value.as_bytes()),
            };
        }
    }
    false
}
