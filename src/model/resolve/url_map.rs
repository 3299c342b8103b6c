//! URL maps [G 7.1–7.4].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::names::{Names, dangling, region_of};
use super::report::Report;
use super::service::Services;
use crate::model::config::ServiceId;
use crate::model::route::{HostPattern, HostRule, PathMatcher, PathPattern, PathRule, UrlMap};
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
    /// Of all its services.
    pub(super) scheme: Scheme,
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
        let mut routes =
            Routes { services, report: &mut *report, found: BTreeSet::new(), scheme: None, region: None };
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
}

impl Routes<'_, '_, '_> {
    fn map(&mut self, map: &wire::UrlMap, at: &Path<'_>) -> Option<Placed> {
        let default_service = self.service(&map.default_service, &at.key("defaultService"));
        let matchers = self.matchers(map, at);
        let hosts = self.hosts(map, at);
        let (default_service, matchers, hosts) = (default_service?, matchers?, hosts?);
        if self.found.len() > MAX_SERVICES {
            let message = format!("URL map `{}` leads to {} backend services", map.name, self.found.len());
            self.report.error(&at.key("name"), "too-many", message, format!("at most {MAX_SERVICES} [G 9]"));
        }
        let (scheme, _) = self.scheme.clone()?;
        let name = map.name.as_str().into();
        // The classic balancer alone ignores the port in `Host` [G 7.2].
        let value = UrlMap::new(name, default_service, hosts, matchers, scheme == Scheme::External);
        Some(Placed { value: Arc::new(value), services: std::mem::take(&mut self.found), scheme })
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

    fn matchers(&mut self, map: &wire::UrlMap, at: &Path<'_>) -> Option<Vec<PathMatcher>> {
        let list = at.key("pathMatchers");
        let mut names = BTreeSet::new();
        let mut out = Some(Vec::new());
        for (index, matcher) in map.path_matchers.iter().flatten().enumerate() {
            let at = list.item(index);
            if !names.insert(&matcher.name) {
                let message =
                    format!("URL map `{}` has a path matcher {} already", map.name, quote(&matcher.name));
                self.report.error(
                    &at.key("name"),
                    "duplicate-name",
                    message,
                    "a name of its own for each path matcher",
                );
            }
            let default_service = self.service(&matcher.default_service, &at.key("defaultService"));
            let rules = self.rules(matcher, &at);
            let one = default_service.zip(rules).map(|(default_service, rules)| PathMatcher {
                name: matcher.name.as_str().into(),
                default_service,
                rules,
            });
            out = push(out, one);
        }
        out
    }

    fn rules(&mut self, matcher: &wire::PathMatcher, at: &Path<'_>) -> Option<Vec<PathRule>> {
        let list = at.key("pathRules");
        let mut seen: HashMap<PathPattern, usize> = HashMap::new();
        let mut out = Some(Vec::new());
        for (index, rule) in matcher.path_rules.iter().flatten().enumerate() {
            let at = list.item(index);
            let paths = at.key("paths");
            let mut patterns = Some(Vec::new());
            self.refuse_empty(&rule.paths, "a path rule", &paths);
            for (i, text) in rule.paths.iter().enumerate() {
                let pattern = match PathPattern::parse(text) {
                    Ok(pattern) => Some(pattern),
                    Err(expected) => {
                        self.report.error(
                            &paths.item(i),
                            "bad-path",
                            format!("{} is no path pattern", quote(text)),
                            expected,
                        );
                        None
                    }
                };
                if let Some(first) = pattern.as_ref().and_then(|pattern| seen.insert(pattern.clone(), index))
                {
                    let message = format!(
                        "path {} stands in pathRules[{first}] of `{}` already",
                        quote(text),
                        matcher.name
                    );
                    self.report.error(
                        &paths.item(i),
                        "duplicate-path",
                        message,
                        "each path once in a path matcher",
                    );
                }
                patterns = push(patterns, pattern);
            }
            let service = self.service(&rule.service, &at.key("service"));
            out = push(out, patterns.zip(service).map(|(patterns, service)| PathRule { patterns, service }));
        }
        out
    }

    fn hosts(&mut self, map: &wire::UrlMap, at: &Path<'_>) -> Option<Vec<HostRule>> {
        let list = at.key("hostRules");
        let matchers = map.path_matchers.as_deref().unwrap_or_default();
        let by_name: BTreeMap<&str, usize> = matchers
            .iter()
            .enumerate()
            .rev()
            .map(|(index, matcher)| (matcher.name.as_str(), index))
            .collect();
        let mut used = BTreeSet::new();
        let mut seen: HashMap<HostPattern, usize> = HashMap::new();
        let mut out = Some(Vec::new());
        for (index, rule) in map.host_rules.iter().flatten().enumerate() {
            let at = list.item(index);
            let matcher = by_name.get(rule.path_matcher.as_str()).copied();
            if matcher.is_none() {
                dangling(
                    &rule.path_matcher,
                    "path matcher",
                    by_name.keys().copied(),
                    (&at.key("pathMatcher"), self.report),
                );
            }
            used.extend(matcher);
            let patterns = self.patterns(rule, &mut seen, index, &at.key("hosts"));
            out = push(out, matcher.zip(patterns).map(|(matcher, patterns)| HostRule { patterns, matcher }));
        }
        let list = at.key("pathMatchers");
        for (index, matcher) in matchers.iter().enumerate().filter(|(index, _)| !used.contains(index)) {
            let message =
                format!("no host rule of URL map `{}` leads to path matcher `{}`", map.name, matcher.name);
            self.report.warning(
                &list.item(index).key("name"),
                "unused-path-matcher",
                message,
                "a host rule with this `pathMatcher`; `hosts: [\"*\"]` takes all hosts",
            );
        }
        out
    }

    fn patterns(
        &mut self,
        rule: &wire::HostRule,
        seen: &mut HashMap<HostPattern, usize>,
        index: usize,
        hosts: &Path<'_>,
    ) -> Option<Vec<HostPattern>> {
        let mut out = Some(Vec::new());
        self.refuse_empty(&rule.hosts, "a host rule", hosts);
        for (i, text) in rule.hosts.iter().enumerate() {
            let pattern = match HostPattern::parse(text) {
                Ok(pattern) => Some(pattern),
                Err(expected) => {
                    self.report.error(
                        &hosts.item(i),
                        "bad-host",
                        format!("{} is no host pattern", quote(text)),
                        expected,
                    );
                    None
                }
            };
            if let Some(first) = pattern.as_ref().and_then(|pattern| seen.insert(pattern.clone(), index)) {
                let message = format!("host {} stands in hostRules[{first}] already", quote(text));
                self.report.error(
                    &hosts.item(i),
                    "duplicate-host",
                    message,
                    "each host in one host rule only [G 7.2]",
                );
            }
            out = push(out, pattern);
        }
        out
    }

    fn refuse_empty(&mut self, list: &[String], noun: &str, at: &Path<'_>) {
        if list.is_empty() {
            self.report.error(at, "missing-field", format!("{noun} matches nothing"), "at least one pattern");
        }
    }
}

fn push<T>(list: Option<Vec<T>>, one: Option<T>) -> Option<Vec<T>> {
    list.zip(one).map(|(mut list, one)| {
        list.push(one);
        list
    })
}
