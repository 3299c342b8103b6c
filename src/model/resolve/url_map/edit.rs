//! `headerAction` [G 7c, 6.7–6.9].

use std::collections::BTreeSet;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue};

use super::Routes;
use crate::model::route::edit::{Edit, HeaderEdits};
use crate::wire::flaw::quote;
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
        request.extend(self.added(&add(&said.request_headers_to_add), &at.key("requestHeadersToAdd"))?);
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
            let value =
                self.value(option.header_value.as_deref().unwrap_or_default(), &at.key("headerValue"));
            let edit = name.zip(value).map(|(name, value)| {
                if option.replace.unwrap_or(true) { Edit::Set(name, value) } else { Edit::Add(name, value) }
            });
            out = super::push(out, edit);
        }
        out
    }

    fn name(&mut self, text: &str, seen: &mut BTreeSet<String>, at: &Path<'_>) -> Option<HeaderName> {
        let Ok(name) = text.parse::<HeaderName>() else {
            let message = format!("{} is no name of a header", quote(text));
            self.report.error(at, "bad-header", message, "letters, digits and hyphens [G 6.8]");
            return None;
        };
        if is_forbidden(&name) {
            let message = format!("header `{name}` is not for header actions");
            let expected = "another name: not Host, Content-Length, X-User-IP, CDN-Loop, those of one hop, and what starts with X-Google, X-Goog-, X-GFE or X-Amz- [G 6.8]";
            self.report.error(at, "forbidden-header", message, expected);
            return None;
        }
        if !seen.insert(name.as_str().to_owned()) {
            let message = format!("header `{name}` stands in this list already");
            self.report.error(at, "duplicate-header", message, "each name once in a list [G 6.8]");
            return None;
        }
        Some(name)
    }

    fn value(&mut self, text: &str, at: &Path<'_>) -> Option<HeaderValue> {
        let Some(plain) = unescape(text.trim()) else {
            let message = format!("{} has variables, which are not supported yet", quote(text));
            let expected = "plain text; `{{` and `}}` for braces [G 6.9]";
            self.report.error(at, "not-supported", message, expected);
            return None;
        };
        match HeaderValue::from_str(&plain) {
            Ok(value) => Some(value),
            Err(_) => {
                let message = format!("{} is no value of a header", quote(text));
                self.report.error(at, "bad-header", message, "printable ASCII [G 6.7]");
                None
            }
        }
    }
}

/// Names that belong to the connection or the framing, to the URL, or to Google [G 6.8].
fn is_forbidden(name: &HeaderName) -> bool {
    let text = name.as_str();
    [CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || ["authority", "cdn-loop", "keep-alive", "proxy-connection", "trailers", "x-user-ip"]
            .contains(&text)
        || ["x-google", "x-goog-", "x-gfe", "x-amz-"].iter().any(|start| text.starts_with(start))
}

/// `{{` → `{`, `}}` → `}`; `None` when a brace stands alone, as it does around a variable.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if matches!(c, '{' | '}') && chars.next() != Some(c) {
            return None;
        }
        out.push(c);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_6_9_braces_are_written_twice() {
        assert_eq!(unescape("a{{b}}").as_deref(), Some("a{b}"));
        assert_eq!(unescape(""), Some(String::new()));
        for variable in ["{client_region}", "a{", "}", "{{{a}}}", "{ {"] {
            assert_eq!(unescape(variable), None, "{variable}");
        }
    }
}
