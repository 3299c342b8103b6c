//! What a URL map may say behind which product [G 7b, 7c].

use crate::model::resolve::report::Report;
use crate::model::service::Scheme;
use crate::wire::error_page::ErrorPolicy;
use crate::wire::path::Path;
use crate::wire::route_action::{HeaderAction, RouteAction};
use crate::wire::route_rule::MatchRule;
use crate::wire::url_map::UrlMap;

/// Refuses what the product does not do. Without a scheme, there are redirects alone, or errors about services.
pub(super) fn check(
    map: &UrlMap,
    (scheme, is_regional): (Option<Scheme>, bool),
    at: &Path<'_>,
    report: &mut Report<'_>,
) {
    let scheme = scheme.unwrap_or(Scheme::ExternalManaged);
    let mut refuse = Refusing { scheme, is_regional, report };
    refuse.default(map.default_route_action.as_ref(), map.header_action.as_ref(), at);
    let key = "defaultCustomErrorResponsePolicy";
    refuse.errors(map.default_custom_error_response_policy.as_ref(), key, at);
    let list = at.key("pathMatchers");
    for (index, matcher) in map.path_matchers.iter().flatten().enumerate() {
        let at = list.item(index);
        refuse.default(matcher.default_route_action.as_ref(), matcher.header_action.as_ref(), &at);
        refuse.errors(matcher.default_custom_error_response_policy.as_ref(), key, &at);
        let key = "customErrorResponsePolicy";
        let list = at.key("pathRules");
        for (index, rule) in matcher.path_rules.iter().flatten().enumerate() {
            let at = list.item(index);
            refuse.action(rule.route_action.as_ref(), &at.key("routeAction"));
            refuse.errors(rule.custom_error_response_policy.as_ref(), key, &at);
        }
        let list = at.key("routeRules");
        for (index, rule) in matcher.route_rules.iter().flatten().enumerate() {
            let at = list.item(index);
            refuse.action(rule.route_action.as_ref(), &at.key("routeAction"));
            refuse.edits(rule.header_action.as_ref(), &at.key("headerAction"));
            refuse.errors(rule.custom_error_response_policy.as_ref(), key, &at);
            let list = at.key("matchRules");
            for (index, matched) in rule.match_rules.iter().enumerate() {
                refuse.predicates(matched, &list.item(index));
            }
        }
    }
}

struct Refusing<'r, 'd> {
    scheme: Scheme,
    is_regional: bool,
    report: &'r mut Report<'d>,
}

impl Refusing<'_, '_> {
    fn default(&mut self, action: Option<&RouteAction>, edits: Option<&HeaderAction>, at: &Path<'_>) {
        self.action(action, &at.key("defaultRouteAction"));
        self.edits(edits, &at.key("headerAction"));
    }

    fn action(&mut self, action: Option<&RouteAction>, at: &Path<'_>) {
        let Some(action) = action else { return };
        let weighted = action.weighted_backend_services.as_deref().unwrap_or_default();
        for (key, is_said) in [
            ("weightedBackendServices", !weighted.is_empty()),
            ("timeout", action.timeout.is_some()),
            ("retryPolicy", action.retry_policy.is_some()),
            ("faultInjectionPolicy", action.fault_injection_policy.is_some()),
            ("requestMirrorPolicy", action.request_mirror_policy.is_some()),
            ("corsPolicy", action.cors_policy.is_some()),
            ("maxStreamDuration", action.max_stream_duration.is_some()),
        ] {
            if is_said {
                self.not_classic(key, "`urlRewrite` alone, or scheme EXTERNAL_MANAGED [G 7c]", &at.key(key));
            }
        }
        let regexes = action.cors_policy.as_ref().and_then(|cors| cors.allow_origin_regexes.as_ref());
        if self.scheme != Scheme::External && regexes.is_some_and(|list| !list.is_empty()) {
            let key = "allowOriginRegexes";
            self.regex(&at.key("corsPolicy").key(key), key, "allowOrigins");
        }
    }

    /// Google has them on its global balancer alone.
    fn errors(&mut self, policy: Option<&ErrorPolicy>, key: &str, at: &Path<'_>) {
        let is_said = policy.is_some_and(|policy| *policy != ErrorPolicy::default());
        if is_said && (self.scheme != Scheme::ExternalManaged || self.is_regional) {
            let kind = if self.is_regional { "regional" } else { "global" };
            let message = format!("`{key}` in a {kind} URL map of scheme {}", self.scheme.as_str());
            let expected = "none, or global services of scheme EXTERNAL_MANAGED [G 5.10]";
            self.report.error(&at.key(key), "forbidden-field", message, expected);
        }
    }

    fn edits(&mut self, edits: Option<&HeaderAction>, at: &Path<'_>) {
        if edits.is_some_and(|edits| *edits != HeaderAction::default()) {
            self.not_classic("headerAction", "none, or scheme EXTERNAL_MANAGED [G 7c]", at);
        }
    }

    fn predicates(&mut self, matched: &MatchRule, at: &Path<'_>) {
        if matched.regex_match.is_some() {
            self.regex(&at.key("regexMatch"), "regexMatch", OTHER_MATCHES);
        }
        let list = at.key("headerMatches");
        for (index, one) in matched.header_matches.iter().flatten().enumerate() {
            let at = list.item(index);
            if one.regex_match.is_some() {
                self.regex(&at.key("regexMatch"), "regexMatch", OTHER_MATCHES);
            }
            if one.range_match.is_some() {
                let expected = "another match, or scheme EXTERNAL_MANAGED [G 7b]";
                self.not_classic("rangeMatch", expected, &at.key("rangeMatch"));
            }
        }
        let list = at.key("queryParameterMatches");
        for (index, one) in matched.query_parameter_matches.iter().flatten().enumerate() {
            if one.regex_match.is_some() {
                self.regex(&list.item(index).key("regexMatch"), "regexMatch", OTHER_MATCHES);
            }
        }
    }

    fn not_classic(&mut self, key: &str, expected: &str, at: &Path<'_>) {
        if self.scheme == Scheme::External {
            let message = format!("`{key}` in a URL map of scheme EXTERNAL");
            self.report.error(at, "forbidden-field", message, expected);
        }
    }

    fn regex(&mut self, at: &Path<'_>, key: &str, other: &str) {
        if self.scheme != Scheme::InternalManaged && !self.is_regional {
            let message = format!("`{key}` in a global URL map of scheme {}", self.scheme.as_str());
            let expected =
                format!("{other}: regular expressions are for regional, internal and mesh ones only [G 7b]");
            self.report.error(at, "forbidden-field", message, expected);
        }
    }
}

/// What may stand in place of `regexMatch`.
const OTHER_MATCHES: &str = "prefixMatch, fullPathMatch, pathTemplateMatch or exactMatch";
