//! What becomes of a request: `service`, `routeAction`, `urlRedirect` [G 7.6, 7c].

use std::sync::Arc;

use http::uri::{Authority, PathAndQuery};

use super::{Routes, error_page};
use crate::model::resolve::protection::span;
use crate::model::route::RouteMatch;
use crate::model::route::action::{
    Action, Destination, Fault, GrpcStatuses, NewPath, Redirect, RetryPolicy, Rewrite, Split, Target, Timeout,
};
use crate::model::route::edit::HeaderEdits;
use crate::model::route::substitution::{Flaw, RegexRewrite};
use crate::model::route::template::TemplateRewrite;
use crate::model::unit::Span;
use crate::wire::flaw::quote;
use crate::wire::path::Path;
use crate::wire::route_action as wire;
use crate::wire::route_rule::RouteRule;
use crate::wire::url_map::{PathMatcher, PathRule, UrlMap};

/// What a place of a map says, whatever its fields are called there.
pub(super) struct Said<'a> {
    service: Option<&'a str>,
    action: Option<&'a wire::RouteAction>,
    redirect: Option<&'a wire::UrlRedirect>,
    /// The keys of the three.
    keys: [&'static str; 3],
}

const OF_RULES: [&str; 3] = ["service", "routeAction", "urlRedirect"];
const OF_DEFAULTS: [&str; 3] = ["defaultService", "defaultRouteAction", "defaultUrlRedirect"];

impl<'a> Said<'a> {
    pub(super) fn default_of_map(map: &'a UrlMap) -> Self {
        let (action, redirect) = (map.default_route_action.as_ref(), map.default_url_redirect.as_ref());
        Self { service: map.default_service.as_deref(), action, redirect, keys: OF_DEFAULTS }
    }

    pub(super) fn default_of_matcher(matcher: &'a PathMatcher) -> Self {
        let (action, redirect) =
            (matcher.default_route_action.as_ref(), matcher.default_url_redirect.as_ref());
        Self { service: matcher.default_service.as_deref(), action, redirect, keys: OF_DEFAULTS }
    }

    pub(super) fn of_path_rule(rule: &'a PathRule) -> Self {
        let (action, redirect) = (rule.route_action.as_ref(), rule.url_redirect.as_ref());
        Self { service: rule.service.as_deref(), action, redirect, keys: OF_RULES }
    }

    pub(super) fn of_route_rule(rule: &'a RouteRule) -> Self {
        let (action, redirect) = (rule.route_action.as_ref(), rule.url_redirect.as_ref());
        Self { service: rule.service.as_deref(), action, redirect, keys: OF_RULES }
    }
}

impl Said<'_> {
    /// The key of what excludes a redirect.
    fn beside_redirect(&self, action: Option<&wire::RouteAction>) -> Option<&'static str> {
        let [service, of_action, _] = self.keys;
        let found = [(service, self.service.is_some()), (of_action, action.is_some())];
        found.into_iter().find(|(_, is_said)| *is_said).map(|(key, _)| key)
    }

    fn one_of_three(&self) -> String {
        let [service, action, redirect] = self.keys;
        format!(
            "exactly one of `{service}`, `weightedBackendServices` in `{action}`, and `{redirect}` [G 7.6]"
        )
    }
}

/// What holds around a place of a map.
#[derive(Clone, Copy)]
pub(super) struct Outer<'a> {
    /// What happens to headers, the inner level first.
    pub(super) levels: &'a [&'a HeaderEdits],
    /// What clients see instead of errors.
    pub(super) errors: &'a error_page::Around,
}

impl Routes<'_, '_, '_> {
    /// `matches`: of a route rule.
    pub(super) fn action(
        &mut self,
        said: &Said<'_>,
        Outer { levels, errors }: Outer<'_>,
        matches: Option<&[RouteMatch]>,
        at: &Path<'_>,
    ) -> Option<Action> {
        let [_, action_key, redirect_key] = said.keys;
        let action = said.action.filter(|action| **action != wire::RouteAction::default());
        if let Some(redirect) = said.redirect.filter(|said| **said != wire::UrlRedirect::default()) {
            if let Some(key) = said.beside_redirect(action) {
                let message = format!(
                    "a request cannot be redirected and go on: `{key}` stands beside `{redirect_key}`"
                );
                self.report.error(&at.key(key), "two-destinations", message, said.one_of_three());
                return None;
            }
            let redirect = self.redirect(redirect, &at.key(redirect_key))?;
            return Some(Action::bare(Target::Redirect(Box::new(redirect))));
        }
        let target = self.target(said, action, levels, at);
        let errors = (!errors.pages.is_empty()).then(|| Arc::new(errors.pages.clone()));
        let Some(action) = action else {
            return target.map(|target| Action { errors, ..Action::bare(target) });
        };
        let inner = at.key(action_key);
        let rewrite = self.rewrite(action.url_rewrite.as_ref(), matches, &inner.key("urlRewrite"));
        let timeout = self.timeout(action, target.as_ref(), &inner.key("timeout"));
        let longest = self.longest(action, target.as_ref(), &inner.key("maxStreamDuration"));
        let retry = self.retry(action.retry_policy.as_ref(), &inner.key("retryPolicy"));
        let fault = fault(action.fault_injection_policy.as_ref());
        let mirror = self.mirror(action.request_mirror_policy.as_ref(), &inner.key("requestMirrorPolicy"));
        let cors = self.cors(action.cors_policy.as_ref(), &inner.key("corsPolicy"));
        let (rewrite, mirror, cors) = (rewrite?, mirror?, cors?);
        Some(Action { target: target?, rewrite, timeout, longest, retry, fault, mirror, cors, errors })
    }

    fn target(
        &mut self,
        said: &Said<'_>,
        action: Option<&wire::RouteAction>,
        levels: &[&HeaderEdits],
        at: &Path<'_>,
    ) -> Option<Target> {
        let [service_key, action_key, _] = said.keys;
        let weighted = action.and_then(|action| action.weighted_backend_services.as_deref());
        match (said.service, weighted.filter(|list| !list.is_empty())) {
            (Some(_), Some(_)) => {
                let message = format!("`{service_key}` stands beside services with weights");
                self.report.error(&at.key(service_key), "two-destinations", message, said.one_of_three());
                None
            }
            (Some(service), None) => {
                let service = self.service(service, &at.key(service_key))?;
                Some(Target::Service(Destination { service, edits: join(levels.iter().copied()) }))
            }
            (None, Some(list)) => {
                self.weighted(list, levels, &at.key(action_key).key("weightedBackendServices"))
            }
            (None, None) => {
                let message = "nothing says where requests go";
                self.report.error(at, "missing-field", message, said.one_of_three());
                None
            }
        }
    }

    fn weighted(
        &mut self,
        list: &[wire::WeightedBackendService],
        levels: &[&HeaderEdits],
        at: &Path<'_>,
    ) -> Option<Target> {
        let mut parts = Some(Vec::new());
        for (index, one) in list.iter().enumerate() {
            let at = at.item(index);
            let service = self.service(&one.backend_service, &at.key("backendService"));
            let own = self.edits(one.header_action.as_ref(), &at.key("headerAction"));
            let part = service.zip(own).map(|(service, own)| {
                let edits = join(std::iter::once(&own).chain(levels.iter().copied()));
                (Destination { service, edits }, one.weight)
            });
            parts = super::push(parts, part);
        }
        let parts = parts?;
        if let Some((first, second)) = twice(&parts) {
            let message = format!("weightedBackendServices[{first}] is the same service");
            let at = at.item(second);
            self.report.error(&at.key("backendService"), "duplicate-service", message, "each service once");
            return None;
        }
        let split = Split::new(parts);
        if split.is_none() {
            let message = "all weights are 0: nobody would get a request";
            self.report.error(at, "no-weight", message, "a weight above 0 somewhere [G 7c]");
        }
        split.map(Target::Weighted)
    }

    fn redirect(&mut self, said: &wire::UrlRedirect, at: &Path<'_>) -> Option<Redirect> {
        let host = self.host_text(said.host_redirect.as_deref(), &at.key("hostRedirect"))?;
        let path = match (&said.path_redirect, &said.prefix_redirect) {
            (Some(_), Some(_)) => {
                let message = "a redirect replaces the path or a part of it, and this one does both";
                let expected = "`pathRedirect` or `prefixRedirect` [G 7c]";
                self.report.error(&at.key("prefixRedirect"), "forbidden-field", message, expected);
                return None;
            }
            (Some(whole), None) => NewPath::Whole(self.path_text(whole, true, &at.key("pathRedirect"))?),
            (None, Some(prefix)) => {
                NewPath::Prefix(self.path_text(prefix, false, &at.key("prefixRedirect"))?)
            }
            (None, None) => NewPath::Same,
        };
        let redirect = Redirect {
            host,
            path,
            to_https: said.https_redirect.unwrap_or(false),
            strips_query: said.strip_query.unwrap_or(false),
            status: match said.redirect_response_code.as_deref() {
                Some("FOUND") => 302,
                Some("SEE_OTHER") => 303,
                Some("TEMPORARY_REDIRECT") => 307,
                Some("PERMANENT_REDIRECT") => 308,
                _ => 301,
            },
        };
        if redirect.to_https && self.to_https.is_none() {
            self.to_https = Some(at.key("httpsRedirect").to_string());
        }
        let goes_nowhere = redirect.host.is_none() && redirect.path == NewPath::Same && !redirect.to_https;
        if goes_nowhere && !redirect.strips_query {
            let message = "this redirect sends clients back to where they came from, for ever";
            let expected = "`hostRedirect`, `pathRedirect`, `prefixRedirect` or `httpsRedirect` [G 7c]";
            self.report.error(at, "redirect-loop", message, expected);
            return None;
        }
        Some(redirect)
    }

    #[allow(clippy::option_option)]
    fn rewrite(
        &mut self,
        said: Option<&wire::UrlRewrite>,
        matches: Option<&[RouteMatch]>,
        at: &Path<'_>,
    ) -> Option<Option<Box<Rewrite>>> {
        let Some(said) = said.filter(|said| **said != wire::UrlRewrite::default()) else { return Some(None) };
        let host = self.host_text(said.host_rewrite.as_deref(), &at.key("hostRewrite"));
        let ways = (&said.path_prefix_rewrite, &said.path_template_rewrite, &said.regex_rewrite);
        let path = match ways {
            (None, None, None) => Some(NewPath::Same),
            (Some(prefix), None, None) => {
                self.path_text(prefix, false, &at.key("pathPrefixRewrite")).map(NewPath::Prefix)
            }
            (None, Some(template), None) => self.template(template, matches, &at.key("pathTemplateRewrite")),
            (None, None, Some(regex)) => self.regex_rewrite(regex, &at.key("regexRewrite")),
            (_, _, third) => {
                let key = if third.is_some() { "regexRewrite" } else { "pathTemplateRewrite" };
                let message = "a path is rewritten in two ways";
                let expected = "one of `pathPrefixRewrite`, `pathTemplateRewrite` and `regexRewrite` [G 7c]";
                self.report.error(&at.key(key), "forbidden-field", message, expected);
                None
            }
        };
        Some(Some(Box::new(Rewrite { host: host?, path: path? })))
    }

    fn regex_rewrite(&mut self, said: &wire::RegexRewrite, at: &Path<'_>) -> Option<NewPath> {
        let (key, code, message, expected) = match RegexRewrite::parse(
            &said.path_pattern,
            &said.path_substitution,
        ) {
            Ok(rewrite) => return Some(NewPath::Regex(Box::new(rewrite))),
            Err(Flaw::Pattern(flaw)) => {
                let message = format!("{} is no regular expression: {flaw}", quote(&said.path_pattern));
                let expected = "RE2 syntax: no look-around, no back-references, ASCII alone; found anywhere in the path [G 7c]";
                ("pathPattern", "bad-regex", message, expected)
            }
            Err(Flaw::Substitution(flaw)) => {
                let message = format!("{} cannot stand in a path: {flaw}", quote(&said.path_substitution));
                let expected = r"text of a path, with `\1` to `\9` for groups of the pattern, `\0` for all that it finds, `\\` for a backslash [G 7c]";
                ("pathSubstitution", "bad-path", message, expected)
            }
        };
        self.report.error(&at.key(key), code, message, expected);
        None
    }

    /// It may name the variables that every one of the rule's templates has.
    fn template(&mut self, text: &str, matches: Option<&[RouteMatch]>, at: &Path<'_>) -> Option<NewPath> {
        let rewrite = match TemplateRewrite::parse(text) {
            Ok(rewrite) => rewrite,
            Err(expected) => {
                let message = format!("{} is no template for a path", quote(text));
                self.report.error(at, "bad-path", message, expected);
                return None;
            }
        };
        // Matches with a flaw were reported, and may have had a template.
        let Some(matches) = matches.filter(|matches| !matches.is_empty()) else {
            let message = "there is no template that a path could be rewritten from";
            let expected =
                "`pathTemplateMatch` in every matchRule of a route rule; else `pathPrefixRewrite` [G 7c]";
            self.report.error(at, "forbidden-field", message, expected);
            return None;
        };
        for matched in matches {
            let Some(template) = matched.path.template() else {
                let message =
                    "not all matchRules of this rule have a template that a path could be rewritten from";
                let expected = "`pathTemplateMatch` in every matchRule [G 7c]";
                self.report.error(at, "forbidden-field", message, expected);
                return None;
            };
            let unknown = rewrite.names().find(|name| !template.names().any(|known| known == *name));
            if let Some(name) = unknown {
                let message = format!("template {} has no variable `{name}`", quote(template.as_str()));
                self.report.error(
                    at,
                    "unknown-variable",
                    message,
                    "variables of the pathTemplateMatch [G 7c]",
                );
                return None;
            }
        }
        Some(NewPath::Template(rewrite))
    }

    /// Unset, it is the largest of the services that the rule leads to [G 5.2]; where there is one alone, its own.
    fn timeout(
        &mut self,
        action: &wire::RouteAction,
        target: Option<&Target>,
        at: &Path<'_>,
    ) -> Option<Timeout> {
        if let Some(said) = action.timeout {
            let said = span(said);
            if said == Span::ZERO {
                let expected = "more than nothing; the services' timeoutSec if absent [G 5.2]";
                self.report.error(at, "out-of-range", "no request is answered in 0 s", expected);
            }
            return Some(Timeout::Whole(said));
        }
        let Some(Target::Weighted(split)) = target else { return None };
        let services = split.parts().iter();
        let timeouts = services.filter_map(|part| self.services.list.get(part.to.service.index())?.as_ref());
        timeouts.map(|placed| placed.value.timeout).max().map(Timeout::Attempt)
    }

    /// Unset, it is the largest of the services that the rule leads to, if all have one; where there is one alone, its
    /// own.
    fn longest(
        &mut self,
        action: &wire::RouteAction,
        target: Option<&Target>,
        at: &Path<'_>,
    ) -> Option<Span> {
        if let Some(said) = action.max_stream_duration.map(span) {
            if said == Span::ZERO {
                let expected = "more than nothing; the services' own if absent [G 7c]";
                self.report.error(at, "out-of-range", "no request is answered in 0 s", expected);
            }
            return Some(said);
        }
        let Some(Target::Weighted(split)) = target else { return None };
        let services = split.parts().iter();
        let placed = services.filter_map(|part| self.services.list.get(part.to.service.index())?.as_ref());
        placed
            .map(|placed| placed.value.longest)
            .try_fold(Span::ZERO, |most, one| one.map(|one| most.max(one)))
    }

    fn retry(&mut self, said: Option<&wire::RetryPolicy>, at: &Path<'_>) -> Option<Arc<RetryPolicy>> {
        let said = said?;
        let has = |word: &str| said.retry_conditions.iter().any(|condition| condition == word);
        if said.retry_conditions.is_empty() {
            let expected = "at least one condition, such as 5xx, gateway-error or connect-failure [G 5]";
            let at = at.key("retryConditions");
            self.report.error(&at, "missing-field", "a retry policy that applies to nothing", expected);
        }
        let per_try = said.per_try_timeout.map(span);
        if per_try == Some(Span::ZERO) {
            let expected = "more than nothing; the time that the request has if absent [G 5]";
            self.report.error(&at.key("perTryTimeout"), "out-of-range", "no attempt takes 0 s", expected);
        }
        Some(Arc::new(RetryPolicy {
            most: said.num_retries.unwrap_or(1),
            per_try,
            on_server_error: has("5xx"),
            on_gateway_error: has("gateway-error"),
            on_connect_failure: has("connect-failure"),
            on_conflict: has("retriable-4xx"),
            on_refused_stream: has("refused-stream"),
            on_grpc: GrpcStatuses::among(&said.retry_conditions),
        }))
    }

    #[allow(clippy::option_option)]
    fn host_text(&mut self, text: Option<&str>, at: &Path<'_>) -> Option<Option<Box<str>>> {
        let Some(text) = text else { return Some(None) };
        if text.parse::<Authority>().is_err() || text.contains('@') {
            let message = format!("{} is no host", quote(text));
            self.report.error(
                at,
                "bad-host",
                message,
                "a host name of 1 to 255 characters, with an optional port [G 7c]",
            );
            return None;
        }
        Some(Some(text.into()))
    }

    fn path_text(&mut self, text: &str, may_have_query: bool, at: &Path<'_>) -> Option<Box<str>> {
        let is_path = text.starts_with('/')
            && !text.contains('#')
            && (may_have_query || !text.contains('?'))
            && text.parse::<PathAndQuery>().is_ok();
        if !is_path {
            let message = format!("{} is no path", quote(text));
            let expected =
                "a path that starts with `/`, of 1 to 1024 characters, without `#` and spaces [G 7c]";
            self.report.error(at, "bad-path", message, expected);
        }
        is_path.then(|| text.into())
    }
}

/// All levels, one behind the other.
fn join<'a>(levels: impl Iterator<Item = &'a HeaderEdits>) -> Option<Arc<HeaderEdits>> {
    let mut all = HeaderEdits::default();
    for level in levels {
        all.request.extend_from_slice(&level.request);
        all.response.extend_from_slice(&level.response);
    }
    (!all.is_empty()).then(|| all.into())
}

/// The first pair of one service.
fn twice(parts: &[(Destination, u32)]) -> Option<(usize, usize)> {
    let mut seen = std::collections::BTreeMap::new();
    parts.iter().enumerate().find_map(|(index, (to, _))| Some((seen.insert(to.service, index)?, index)))
}

fn fault(said: Option<&wire::FaultInjectionPolicy>) -> Option<Box<Fault>> {
    let said = said?;
    let share = |percentage: f64| percentage / 100.0;
    let fault = Fault {
        abort: said.abort.as_ref().map(|abort| (share(abort.percentage), abort.http_status)),
        delay: said.delay.as_ref().map(|delay| (share(delay.percentage), span(delay.fixed_delay))),
    };
    (fault != Fault::default()).then(|| Box::new(fault))
}
