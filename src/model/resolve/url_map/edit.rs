//! `headerAction` [G 7c, 6.7–6.10].

use std::collections::BTreeSet;

use http::HeaderName;

use super::Routes;
use crate::model::resolve::header::{self, Host};
use crate::model::route::edit::{Edit, HeaderEdits};
use crate::wire::path::Path;
use crate::wire::route_action::{HeaderAction, HeaderOption};

impl Routes<'_, '_, '_> {
    /// What one level says. `None` after a report.
    pub(super) fn edits(&mut self, said: Option<&HeaderAction>, at: &Path<'_>) -> Option<HeaderEdits> {
        let Some(said) = said else { return Some(HeaderEdits::default()) };
        let remove = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let add = |list: &Option<Vec<HeaderOption>>| list.clone().unwrap_or_default();
        let mut request =
            self.removed(&remove(&said.request_headers_to_remove), &at.key("requestHeadersToRemove"))?;
        let added = self.added(&add(&said.request_headers_to_add), &at.key("requestHeadersToAdd"))?;
        self.warn_of_forgery(&request, &added, &at.key("requestHeadersToAdd"));
        request.extend(added);
        let mut response =
            self.removed(&remove(&said.response_headers_to_remove), &at.key("responseHeadersToRemove"))?;
        response.extend(self.added(&add(&said.response_headers_to_add), &at.key("responseHeadersToAdd"))?);
        Some(HeaderEdits { request, response })
    }

    fn removed(&mut self, names: &[String], at: &Path<'_>) -> Option<Vec<Edit>> {
        let mut seen = BTreeSet::new();
        let mut out = Some(Vec::new());
        for (index, name) in names.iter().enumerate() {
            let name = self.name(name, &mut seen, &at.item(index));
            out = super::push(out, name.map(Edit::Remove));
        }
        out
    }

    fn added(&mut self, options: &[HeaderOption], at: &Path<'_>) -> Option<Vec<Edit>> {
        let mut seen = BTreeSet::new();
        let mut out = Some(Vec::new());
        for (index, option) in options.iter().enumerate() {
            let at = at.item(index);
            let name = self.name(&option.header_name, &mut seen, &at.key("headerName"));
            let text = option.header_value.as_deref().unwrap_or_default();
            let parsed = header::value(text, &at.key("headerValue"), self.report);
            let edit = name.zip(parsed).map(|(name, parsed)| {
                // Google's default [G 7c].
                let replaces = option.replace.unwrap_or(!parsed.has_variables);
                if replaces { Edit::Set(name, parsed.value) } else { Edit::Add(name, parsed.value) }
            });
            out = super::push(out, edit);
        }
        out
    }

    /// What is told of a certificate stands behind the client's own header of that name, unless that goes first.
    fn warn_of_forgery(&mut self, removed: &[Edit], added: &[Edit], at: &Path<'_>) {
        for (index, edit) in added.iter().enumerate() {
            let Edit::Add(name, value) = edit else { continue };
            let is_removed = removed.iter().any(|edit| matches!(edit, Edit::Remove(gone) if gone == name));
            if value.has_client_cert() && !is_removed {
                let message = format!("a client's own `{name}` stays, in front of what is true");
                let expected =
                    "`replace: true`, which is false if absent where a value has a variable [G 7c]";
                self.report.warning(&at.item(index), "forgeable-header", message, expected);
            }
        }
    }

    fn name(&mut self, text: &str, seen: &mut BTreeSet<String>, at: &Path<'_>) -> Option<HeaderName> {
        header::name(text, (Host::Forbidden, seen), at, self.report)
    }
}
