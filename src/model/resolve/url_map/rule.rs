//! `routeRules` with their predicates [G 7.5, 7b].

use std::collections::HashMap;

use super::action::{Outer, Said};
use super::{Routes, push};
use crate::model::route::pattern::Pattern;
use crate::model::route::predicate::{HeaderTest, QueryTest, QueryValue, Source, Test};
use crate::model::route::template::PathTemplate;
use crate::model::route::{PathTest, RouteMatch, RouteRule};
use crate::wire::flaw::quote;
use crate::wire::path::Path;
use crate::wire::route_rule as wire;

/// Most predicates of a path matcher, and most templates among them [G 9].
const MAX_PREDICATES: usize = 1000;
const MAX_TEMPLATES: usize = 100;
/// Most regular expressions of a path matcher [G 7b].
const MAX_REGEXES: usize = 5;

impl Routes<'_, '_, '_> {
    pub(super) fn route_rules(
        &mut self,
        matcher: &str,
        rules: &[wire::RouteRule],
        outer: Outer<'_>,
        at: &Path<'_>,
    ) -> Option<Vec<RouteRule>> {
        let list = at.key("routeRules");
        self.count(matcher, rules, &list);
        let mut seen = HashMap::new();
        let mut out = Some(Vec::new());
        for (index, rule) in rules.iter().enumerate() {
            let at = list.item(index);
            if let Some(first) = seen.insert(rule.priority, index) {
                let message =
                    format!("routeRules[{first}] of `{matcher}` has priority {} already", rule.priority);
                let expected = "a priority of its own for each route rule [G 7.5]";
                self.report.error(&at.key("priority"), "duplicate-priority", message, expected);
            }
            let own = self.edits(rule.header_action.as_ref(), &at.key("headerAction"));
            let matches = self.matches(&rule.match_rules, &at.key("matchRules"));
            // What a broken match would have had of a template is not guessed at.
            let known = matches.as_deref().unwrap_or_default();
            let inner = own.clone().unwrap_or_default();
            let levels: Vec<_> = std::iter::once(&inner).chain(outer.levels.iter().copied()).collect();
            let policy = rule.custom_error_response_policy.as_ref();
            let errors = self.errors(policy, outer.errors, &at.key("customErrorResponsePolicy"));
            let inside = Outer { levels: &levels, errors: &errors };
            let is_whole = matches.is_some();
            let action = if is_whole {
                self.action(&Said::of_route_rule(rule), inside, Some(known), &at)
            } else {
                None
            };
            let one = own.and(matches).zip(action);
            if let Some((matches, action)) = &one {
                let prefixes = matches.iter().filter_map(|matched| matched.path.prefix());
                self.slashes(action, prefixes, &at);
            }
            let one = one.map(|(matches, action)| RouteRule { priority: rule.priority, matches, action });
            out = push(out, one);
        }
        out
    }

    fn count(&mut self, matcher: &str, rules: &[wire::RouteRule], at: &Path<'_>) {
        let matches = || rules.iter().flat_map(|rule| &rule.match_rules);
        let beside = |one: &wire::MatchRule| {
            one.header_matches.as_ref().map_or(0, Vec::len)
                + one.query_parameter_matches.as_ref().map_or(0, Vec::len)
        };
        let all: usize = matches().map(|one| 1 + beside(one)).sum();
        let templates = matches().filter(|one| one.path_template_match.is_some()).count();
        let regexes: usize = matches().map(regexes).sum();
        for (count, most, what, by) in [
            (all, MAX_PREDICATES, "predicates", "[G 9]"),
            (templates, MAX_TEMPLATES, "templates", "[G 9]"),
            (regexes, MAX_REGEXES, "regular expressions", "[G 7b]"),
        ] {
            if count > most {
                let message = format!("path matcher `{matcher}` has {count} {what}");
                self.report.error(at, "too-many", message, format!("at most {most} {by}"));
            }
        }
    }

    fn matches(&mut self, rules: &[wire::MatchRule], at: &Path<'_>) -> Option<Vec<RouteMatch>> {
        if rules.is_empty() {
            let expected = "at least one match rule; `prefixMatch: /` takes every path [G 7.5]";
            self.report.error(at, "missing-field", "a route rule matches nothing", expected);
            return None;
        }
        let mut out = Some(Vec::new());
        for (index, rule) in rules.iter().enumerate() {
            let at = at.item(index);
            let path = self.path_test(rule, &at);
            let mut headers = Some(Vec::new());
            let list = at.key("headerMatches");
            for (index, one) in rule.header_matches.iter().flatten().enumerate() {
                headers = push(headers, self.header(one, &list.item(index)));
            }
            let mut queries = Some(Vec::new());
            let list = at.key("queryParameterMatches");
            for (index, one) in rule.query_parameter_matches.iter().flatten().enumerate() {
                queries = push(queries, self.query(one, &list.item(index)));
            }
            let one = path.zip(headers).zip(queries);
            out = push(out, one.map(|((path, headers), queries)| RouteMatch { path, headers, queries }));
        }
        out
    }

    /// Exactly one of the four. Where regular expressions may stand is for the scheme to say, elsewhere.
    fn path_test(&mut self, rule: &wire::MatchRule, at: &Path<'_>) -> Option<PathTest> {
        let said = [
            ("prefixMatch", &rule.prefix_match),
            ("fullPathMatch", &rule.full_path_match),
            ("pathTemplateMatch", &rule.path_template_match),
            ("regexMatch", &rule.regex_match),
        ];
        let said: Vec<_> = said.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?))).collect();
        let [(key, text)] = said.as_slice() else {
            let keys: Vec<_> = said.iter().map(|(key, _)| *key).collect();
            let message = match keys.as_slice() {
                [] => "nothing is asked of the path".to_owned(),
                several => format!("the path is matched in several ways: {}", several.join(", ")),
            };
            let expected =
                "exactly one of prefixMatch, fullPathMatch, pathTemplateMatch and regexMatch [G 7b]";
            self.report.error(at, "path-match", message, expected);
            return None;
        };
        let ignores_case = rule.ignore_case.unwrap_or(false);
        if ignores_case && matches!(*key, "regexMatch" | "pathTemplateMatch") {
            let message = format!("`ignoreCase` does nothing for {key}");
            let expected = "`ignoreCase` beside prefixMatch or fullPathMatch alone [G 7b]";
            self.report.error(&at.key("ignoreCase"), "forbidden-field", message, expected);
            return None;
        }
        let found = match *key {
            "regexMatch" => return self.pattern(text, &at.key(key)).map(PathTest::Regex),
            "pathTemplateMatch" => PathTemplate::parse(text).map(PathTest::Template),
            _ if !text.starts_with('/') => Err("a path that starts with `/` [G 7b]"),
            _ if text.contains(['?', '#']) || text.chars().any(|c| c.is_control() || c.is_whitespace()) => {
                Err("a path without `?`, `#`, spaces and control characters [G 7b]")
            }
            "prefixMatch" => Ok(PathTest::Prefix(text.as_str().into(), ignores_case)),
            _ => Ok(PathTest::Full(text.as_str().into(), ignores_case)),
        };
        let bad = |expected| {
            self.report.error(&at.key(key), "bad-path", format!("{} cannot match", quote(text)), expected);
        };
        found.map_err(bad).ok()
    }

    fn header(&mut self, said: &wire::HeaderMatch, at: &Path<'_>) -> Option<HeaderTest> {
        let source = match said.header_name.as_str() {
            ":authority" => Some(Source::Authority),
            ":method" => Some(Source::Method),
            "PORT" => Some(Source::Port),
            name => name.parse().ok().map(Source::Header),
        };
        if source.is_none() {
            let message = format!("{} is no name of a header", quote(&said.header_name));
            let expected = "a header, or :authority, :method, PORT [G 7b]";
            self.report.error(&at.key("headerName"), "bad-header", message, expected);
        }
        let text = |text: &Option<String>| text.as_deref().map(Into::into);
        let range = said.range_match.as_ref();
        let tests = [
            text(&said.exact_match).map(Test::Exact),
            text(&said.prefix_match).map(Test::Prefix),
            text(&said.suffix_match).map(Test::Suffix),
            said.present_match.map(Test::Present),
            range.map(|range| Test::Range(range.range_start, range.range_end)),
        ];
        let mut tests = tests.into_iter().flatten();
        let (first, second) = (tests.next(), tests.next());
        let regex = said.regex_match.as_deref();
        if second.is_some() || first.is_some() == regex.is_some() {
            let message = format!("header match `{}` asks for none or several things", said.header_name);
            let expected = "exactly one of exactMatch, prefixMatch, suffixMatch, presentMatch, rangeMatch and regexMatch [G 7b]";
            self.report.error(at, "header-match", message, expected);
            return None;
        }
        if let Some(range) = range.filter(|range| range.range_start >= range.range_end) {
            let message = format!("no number is in [{},{})", range.range_start, range.range_end);
            let expected =
                "a `rangeEnd` above `rangeStart`: it is the first number that does not match [G 7b]";
            self.report.error(&at.key("rangeMatch"), "out-of-range", message, expected);
        }
        let regex = regex.map(|text| self.pattern(text, &at.key("regexMatch")).map(Test::Regex));
        let test = regex.unwrap_or(first);
        Some(HeaderTest { source: source?, test: test?, is_inverted: said.invert_match.unwrap_or(false) })
    }

    fn query(&mut self, said: &wire::QueryParameterMatch, at: &Path<'_>) -> Option<QueryTest> {
        let ways = [said.exact_match.is_some(), said.present_match.is_some(), said.regex_match.is_some()];
        if ways.into_iter().filter(|is_said| *is_said).count() != 1 || said.present_match == Some(false) {
            let message = format!("query parameter match `{}` asks for none or several things", said.name);
            let expected = "exactly one of exactMatch, `presentMatch: true` and regexMatch; without the parameter none matches [G 7b]";
            self.report.error(at, "query-match", message, expected);
            return None;
        }
        let exact = |text: &str| Some(QueryValue::Exact(text.into()));
        let test = match (said.regex_match.as_deref(), said.exact_match.as_deref()) {
            (Some(regex), _) => self.pattern(regex, &at.key("regexMatch")).map(QueryValue::Regex),
            (None, text) => text.map_or(Some(QueryValue::Any), exact),
        };
        Some(QueryTest { name: said.name.as_str().into(), test: test? })
    }

    /// A regular expression. `None` after a report.
    pub(super) fn pattern(&mut self, text: &str, at: &Path<'_>) -> Option<Pattern> {
        let bad = |flaw: String| {
            let message = format!("{} is no regular expression: {flaw}", quote(text));
            let expected =
                "RE2 syntax: no look-around, no back-references, ASCII alone; for the whole text [G 7b]";
            self.report.error(at, "bad-regex", message, expected);
        };
        Pattern::parse(text).map_err(bad).ok()
    }
}

/// How many regular expressions there are in a match rule.
fn regexes(one: &wire::MatchRule) -> usize {
    let headers = one.header_matches.iter().flatten().filter(|one| one.regex_match.is_some()).count();
    let queries =
        one.query_parameter_matches.iter().flatten().filter(|one| one.regex_match.is_some()).count();
    usize::from(one.regex_match.is_some()) + headers + queries
}
