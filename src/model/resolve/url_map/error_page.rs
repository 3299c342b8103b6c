//! Error pages of a URL map [G 5.10].

use std::collections::BTreeSet;

use http::uri::PathAndQuery;

use super::Routes;
use crate::model::config::ServiceId;
use crate::model::route::error_page::{Codes, ErrorPage, ErrorPages, ErrorRule, Level};
use crate::wire::error_page as wire;
use crate::wire::flaw::quote;
use crate::wire::path::Path;

/// What holds at a place of a map, and for what is inside of it.
#[derive(Clone, Default)]
pub(super) struct Around {
    pub(super) pages: ErrorPages,
    /// `errorService` of the nearest level that names one.
    service: Option<ServiceId>,
}

impl Routes<'_, '_, '_> {
    /// The same inside of a place that says this. What is wrong was reported, and nothing is said of it.
    pub(super) fn errors(
        &mut self,
        said: Option<&wire::ErrorPolicy>,
        around: &Around,
        at: &Path<'_>,
    ) -> Around {
        let Some(said) = said.filter(|said| **said != wire::ErrorPolicy::default()) else {
            return around.clone();
        };
        let own = said.error_service.as_deref();
        let own = own.map(|text| self.service(text, &at.key("errorService")));
        let is_named = own.is_some() || around.service.is_some();
        let service = own.unwrap_or(around.service);
        let mut level = Level::default();
        let mut seen = BTreeSet::new();
        let list = at.key("errorResponseRules");
        for (index, rule) in said.error_response_rules.iter().flatten().enumerate() {
            let at = list.item(index);
            let codes = self.codes(&rule.match_response_codes, &mut seen, &at.key("matchResponseCodes"));
            let path = rule.path.as_deref().filter(|path| self.is_page(path, is_named, &at.key("path")));
            if rule.path.is_none() && rule.override_response_code.is_none() {
                let expected = "a `path`, an `overrideResponseCode`, or both [G 5.10]";
                self.report.error(&at, "missing-field", "a rule for errors that changes nothing", expected);
            }
            let page = path.zip(service).map(|(path, service)| ErrorPage { service, path: path.into() });
            level.0.push(ErrorRule { codes, page, status: rule.override_response_code });
        }
        Around { pages: around.pages.within(level), service }
    }

    fn codes(&mut self, said: &[String], seen: &mut BTreeSet<Codes>, at: &Path<'_>) -> Vec<Codes> {
        if said.is_empty() {
            let expected = "at least one number from 400 to 599, `4xx` or `5xx` [G 5.10]";
            self.report.error(at, "missing-field", "a rule for no errors", expected);
        }
        let mut codes = Vec::new();
        for (index, text) in said.iter().enumerate() {
            let at = at.item(index);
            let Some(code) = Codes::parse(text) else {
                let message = format!("{} is no error of an answer", quote(text));
                let expected = "a number from 400 to 599, `4xx` or `5xx` [G 5.10]";
                self.report.error(&at, "unknown-value", message, expected);
                continue;
            };
            if !seen.insert(code) {
                let message = format!("{} stands in this policy already", quote(text));
                self.report.error(&at, "duplicate-code", message, "each code once in a policy [G 5.10]");
            }
            codes.push(code);
        }
        codes
    }

    /// Whether a page can be asked for by this path.
    fn is_page(&mut self, path: &str, is_named: bool, at: &Path<'_>) -> bool {
        let is_path = path.starts_with('/')
            && !path.ends_with('/')
            && !path.contains(['?', '#'])
            && path.parse::<PathAndQuery>().is_ok();
        if !is_path {
            let message = format!("{} is no path of a page", quote(path));
            let expected =
                "a path of 1 to 1024 characters that starts with `/` and does not end with it [G 5.10]";
            self.report.error(at, "bad-path", message, expected);
        } else if !is_named {
            let message = format!("nobody is named who has the page {}", quote(path));
            let expected = "an `errorService` in this policy, or in one around it [G 5.10]";
            self.report.error(at, "missing-field", message, expected);
        }
        is_path
    }
}
