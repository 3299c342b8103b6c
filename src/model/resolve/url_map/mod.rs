//! URL maps [G 7].

mod action;
mod cors;
mod edit;
mod error_page;
mod host;
mod rule;
mod scheme;
mod slash;
mod test;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use self::action::{Outer, Said};
use super::names::{Names, region_of};
use super::report::Report;
use super::service::Services;
use crate::model::config::ServiceId;
use crate::model::route::{PathMatcher, PathPattern, PathRule, Rules, UrlMap};
use crate::model::service::Scheme;
use crate::wire::flaw::quote;
use crate::wire::path::Path;
use crate::wire::read::Collection;
use crate::wire::url_map as wire;

/// All URL maps, by index and by name.
pub(super) struct Maps<'a> {
    pub(super) names: Names<'a>,
    /// `None` where a problem was reported.
    pub(super) list: Vec<Option<Placed>>,
}

/// A map with the services that it leads to.
pub(super) struct Placed {
    pub(super) value: Arc<UrlMap>,
    pub(super) services: BTreeSet<ServiceId>,
    /// Of all its services; `None` for a map of redirects alone, which goes with any.
    pub(super) scheme: Option<Scheme>,
    /// Where it first redirects with `httpsRedirect`: a map for HTTP proxies alone [G 7c].
    pub(super) to_https: Option<String>,
}

/// Resolves all URL maps.
pub(super) fn all<'a>(
    of: &'a Collection<wire::UrlMap>,
    services: &Services<'_>,
    report: &mut Report<'_>,
) -> Maps<'a> {
    let names = Names::new(of, "URL map", report);
    let list = Path::Root.key(of.key);
    let resolve = |(index, entry): (usize, &crate::wire::read::Entry<wire::UrlMap>)| {
        let mut routes = Routes {
            services,
            report: &mut *report,
            found: BTreeSet::new(),
            scheme: None,
            region: None,
            to_https: None,
        };
        routes.map(entry.value.as_ref()?, &list.item(index))
    };
    Maps { names, list: of.entries.iter().enumerate().map(resolve).collect() }
}

/// Most backend services of a URL map [G 9].
const MAX_SERVICES: usize = 2500;

/// One map in the making.
struct Routes<'s, 'r, 'd> {
    services: &'s Services<'s>,
    report: &'r mut Report<'d>,
    found: BTreeSet<ServiceId>,
    /// Scheme and name of the first service.
    scheme: Option<(Scheme, Arc<str>)>,
    /// Region and name of the first service.
    region: Option<(Option<Arc<str>>, Arc<str>)>,
    /// The first place of an `httpsRedirect`.
    to_https: Option<String>,
}

impl Routes<'_, '_, '_> {
    fn map(&mut self, map: &wire::UrlMap, at: &Path<'_>) -> Option<Placed> {
        let own = self.edits(map.header_action.as_ref(), &at.key("headerAction"));
        let around = own.clone().unwrap_or_default();
        let policy = map.default_custom_error_response_policy.as_ref();
        let key = at.key("defaultCustomErrorResponsePolicy");
        let errors = self.errors(policy, &error_page::Around::default(), &key);
        let outer = Outer { levels: &[&around], errors: &errors };
        let default = self.action(&Said::default_of_map(map), outer, None, at);
        let matchers = self.matchers(map, outer, at);
        let hosts = self.hosts(map, at);
        let scheme = self.scheme.as_ref().map(|(scheme, _)| *scheme);
        let is_regional = self.region.as_ref().is_some_and(|(region, _)| region.is_some());
        scheme::check(map, (scheme, is_regional), at, self.report);
        let (_, default, matchers, hosts) = (own?, default?, matchers?, hosts?);
        if self.found.len() > MAX_SERVICES {
            let message = format!("URL map `{}` leads to {} backend services", map.name, self.found.len());
            self.report.error(&at.key("name"), "too-many", message, format!("at most {MAX_SERVICES} [G 9]"));
        }
        let of = scheme.unwrap_or(Scheme::ExternalManaged);
        let value = UrlMap::new(map.name.as_str().into(), of, default, &hosts, matchers);
        test::check(map, &value, self.services, at, self.report);
        let services = std::mem::take(&mut self.found);
        Some(Placed { value: Arc::new(value), services, scheme, to_https: self.to_https.take() })
    }

    /// The service; all services of a map share one scheme.
    fn service(&mut self, text: &str, at: &Path<'_>) -> Option<ServiceId> {
        let index = self.services.names.follow(text, at, self.report)?;
        let placed = self.services.list.get(index)?.as_ref()?;
        let (scheme, name) = (placed.value.scheme, &placed.value.name);
        let (first, other) = self.scheme.get_or_insert_with(|| (scheme, Arc::clone(name)));
        if *first != scheme {
            let message = format!(
                "backend service `{name}` is {}, and `{other}`, which this map leads to as well, is {}",
                scheme.as_str(),
                first.as_str()
            );
            self.report.error(
                at,
                "scheme-mismatch",
                message,
                "one loadBalancingScheme for a forwarding rule and all services behind it",
            );
        }
        self.region(text, placed, at);
        let protocol = placed.value.protocol;
        if !protocol.is_http() {
            let message = format!(
                "backend service `{name}` is of protocol {}, and a URL map routes requests",
                protocol.as_str()
            );
            self.report.error(
                at,
                "protocol-mismatch",
                message,
                "a service of protocol HTTP or HTTPS; TCP and SSL services stand behind target TCP and SSL proxies [G 1.13]",
            );
        }
        let id = ServiceId(u32::try_from(index).ok()?);
        self.found.insert(id);
        Some(id)
    }

    /// A reference that names a region means a service there; all services of a map are of one region, or global.
    fn region(&mut self, text: &str, placed: &super::service::Placed, at: &Path<'_>) {
        let name = &placed.value.name;
        let said =
            |region: Option<&str>| region.map_or("global".to_owned(), |region| format!("in region {region}"));
        let own = placed.region.as_deref();
        if let Some(region) = region_of(text).filter(|region| own != Some(region)) {
            let message = format!("there is no backend service `{name}` in region {region}");
            let expected = format!("backend service `{name}` is {}", said(own));
            self.report.error(at, "wrong-reference", message, expected);
            return;
        }
        let (first, other) = self.region.get_or_insert_with(|| (placed.region.clone(), Arc::clone(name)));
        if first.as_deref() != own {
            let message = format!(
                "backend service `{name}` is {}, and `{other}`, which this map leads to as well, is {}",
                said(own),
                said(first.as_deref())
            );
            let expected = "one region for all services behind a forwarding rule, or none for any [G 2.10]";
            self.report.error(at, "region-mismatch", message, expected);
        }
    }

    fn matchers(&mut self, map: &wire::UrlMap, outer: Outer<'_>, at: &Path<'_>) -> Option<Vec<PathMatcher>> {
        let list = at.key("pathMatchers");
        let mut names = BTreeSet::new();
        let mut out = Some(Vec::new());
        for (index, matcher) in map.path_matchers.iter().flatten().enumerate() {
            let at = list.item(index);
            if !names.insert(&matcher.name) {
                let message =
                    format!("URL map `{}` has a path matcher {} already", map.name, quote(&matcher.name));
                let expected = "a name of its own for each path matcher";
                self.report.error(&at.key("name"), "duplicate-name", message, expected);
            }
            let own = self.edits(matcher.header_action.as_ref(), &at.key("headerAction"));
            let inner = own.clone().unwrap_or_default();
            let levels: Vec<_> = std::iter::once(&inner).chain(outer.levels.iter().copied()).collect();
            let policy = matcher.default_custom_error_response_policy.as_ref();
            let errors = self.errors(policy, outer.errors, &at.key("defaultCustomErrorResponsePolicy"));
            let inside = Outer { levels: &levels, errors: &errors };
            let default = self.action(&Said::default_of_matcher(matcher), inside, None, &at);
            let rules = match (&matcher.path_rules, &matcher.route_rules) {
                (Some(paths), Some(routes)) if !paths.is_empty() && !routes.is_empty() => {
                    let message = format!("path matcher `{}` has rules of both kinds", matcher.name);
                    let expected = "`pathRules` or `routeRules`, not both [G 7.3]";
                    self.report.error(&at.key("routeRules"), "forbidden-field", message, expected);
                    None
                }
                (_, Some(routes)) if !routes.is_empty() => {
                    self.route_rules(&matcher.name, routes, inside, &at).map(Rules::Routes)
                }
                _ => self.path_rules(matcher, inside, &at).map(Rules::Paths),
            };
            let name = matcher.name.as_str().into();
            let one =
                own.and(default).zip(rules).map(|(default, rules)| PathMatcher { name, default, rules });
            out = push(out, one);
        }
        out
    }

    fn path_rules(
        &mut self,
        matcher: &wire::PathMatcher,
        outer: Outer<'_>,
        at: &Path<'_>,
    ) -> Option<Vec<PathRule>> {
        let list = at.key("pathRules");
        let mut seen: HashMap<PathPattern, usize> = HashMap::new();
        let mut out = Some(Vec::new());
        for (index, rule) in matcher.path_rules.iter().flatten().enumerate() {
            let at = list.item(index);
            let patterns = self.paths(&matcher.name, &rule.paths, (&mut seen, index), &at.key("paths"));
            let policy = rule.custom_error_response_policy.as_ref();
            let errors = self.errors(policy, outer.errors, &at.key("customErrorResponsePolicy"));
            let outer = Outer { errors: &errors, ..outer };
            let action = self.action(&Said::of_path_rule(rule), outer, None, &at);
            let one = patterns.zip(action);
            if let Some((patterns, action)) = &one {
                let prefixes = patterns.iter().filter_map(|pattern| pattern.as_str().strip_suffix('*'));
                self.slashes(action, prefixes, &at);
            }
            out = push(out, one.map(|(patterns, action)| PathRule { patterns, action }));
        }
        out
    }

    fn paths(
        &mut self,
        matcher: &str,
        texts: &[String],
        (seen, index): (&mut HashMap<PathPattern, usize>, usize),
        paths: &Path<'_>,
    ) -> Option<Vec<PathPattern>> {
        let mut patterns = Some(Vec::new());
        self.refuse_empty(texts, "a path rule", paths);
        for (i, text) in texts.iter().enumerate() {
            let pattern = match PathPattern::parse(text) {
                Ok(pattern) => Some(pattern),
                Err(expected) => {
                    let message = format!("{} is no path pattern", quote(text));
                    self.report.error(&paths.item(i), "bad-path", message, expected);
                    None
                }
            };
            if let Some(first) = pattern.as_ref().and_then(|pattern| seen.insert(pattern.clone(), index)) {
                let message =
                    format!("path {} stands in pathRules[{first}] of `{matcher}` already", quote(text));
                let expected = "each path once in a path matcher";
                self.report.error(&paths.item(i), "duplicate-path", message, expected);
            }
            patterns = push(patterns, pattern);
        }
        patterns
    }

    fn refuse_empty(&mut self, list: &[String], noun: &str, at: &Path<'_>) {
        if list.is_empty() {
            self.report.error(at, "missing-field", format!("{noun} matches nothing"), "at least one pattern");
        }
    }
}

pub(super) fn push<T>(list: Option<Vec<T>>, one: Option<T>) -> Option<Vec<T>> {
    list.zip(one).map(|(mut list, one)| {
        list.push(one);
        list
    })
}
