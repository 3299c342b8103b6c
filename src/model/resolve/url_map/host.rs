//! Host rules [G 7.2].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Routes, push};
use crate::model::resolve::names::dangling;
use crate::model::route::{HostPattern, HostRule};
use crate::wire::flaw::quote;
use crate::wire::path::Path;
use crate::wire::url_map as wire;

impl Routes<'_, '_, '_> {
    pub(super) fn hosts(&mut self, map: &wire::UrlMap, at: &Path<'_>) -> Option<Vec<HostRule>> {
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
}
