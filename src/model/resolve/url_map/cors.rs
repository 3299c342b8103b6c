//! `corsPolicy` and `requestMirrorPolicy` [G 7c].

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::{Routes, push};
use crate::model::route::action::Mirror;
use crate::model::route::cors::CorsPolicy;
use crate::wire::flaw::quote;
use crate::wire::path::Path;
use crate::wire::route_action as wire;

#[allow(clippy::option_option)]
impl Routes<'_, '_, '_> {
    /// `None` after a report; `Some(None)` when nobody gets a copy.
    pub(super) fn mirror(
        &mut self,
        said: Option<&wire::RequestMirrorPolicy>,
        at: &Path<'_>,
    ) -> Option<Option<Mirror>> {
        let Some(said) = said else { return Some(None) };
        let service = self.service(&said.backend_service, &at.key("backendService"))?;
        let share = said.mirror_percent.unwrap_or(100.0) / 100.0;
        Some((share > 0.0).then_some(Mirror { service, share }))
    }

    /// `None` after a report; `Some(None)` when there is no policy, or a disabled one.
    pub(super) fn cors(
        &mut self,
        said: Option<&wire::CorsPolicy>,
        at: &Path<'_>,
    ) -> Option<Option<Arc<CorsPolicy>>> {
        let Some(said) = said.filter(|said| **said != wire::CorsPolicy::default()) else { return Some(None) };
        let origins = self.origins(said.allow_origins.as_deref(), &at.key("allowOrigins"));
        let list = at.key("allowOriginRegexes");
        let mut patterns = Some(Vec::new());
        for (index, text) in said.allow_origin_regexes.iter().flatten().enumerate() {
            patterns = push(patterns, self.pattern(text, &list.item(index)));
        }
        let is_method = |text: &str| text.parse::<Method>().is_ok();
        let is_name = |text: &str| text.parse::<HeaderName>().is_ok();
        let methods = self.names(said.allow_methods.as_deref(), is_method, &at.key("allowMethods"));
        let headers = self.names(said.allow_headers.as_deref(), is_name, &at.key("allowHeaders"));
        let exposed = self.names(said.expose_headers.as_deref(), is_name, &at.key("exposeHeaders"));
        let policy = CorsPolicy {
            origins: origins?,
            patterns: patterns?,
            methods: methods?,
            headers: headers?,
            exposed: exposed?,
            max_age: said.max_age.map(HeaderValue::from),
            has_credentials: said.allow_credentials.unwrap_or(false),
        };
        if said.disabled.unwrap_or(false) {
            return Some(None);
        }
        self.doubt(&policy, at);
        Some(Some(Arc::new(policy)))
    }

    /// What is legal, and likely wrong.
    fn doubt(&mut self, policy: &CorsPolicy, at: &Path<'_>) {
        if policy.origins.is_empty() && policy.patterns.is_empty() {
            let message = "this CORS policy allows nobody";
            let expected = "`allowOrigins`, or `disabled: true` [G 7c]";
            self.report.warning(at, "cors-for-nobody", message, expected);
        }
        if policy.has_credentials && policy.origins.iter().any(|one| &**one == "*") {
            let message = "every page on the web may ask in its visitors' names, and read the answers";
            let expected = "origins by name where `allowCredentials` is true [G 7c]";
            self.report.warning(&at.key("allowCredentials"), "cors-for-all", message, expected);
        }
    }

    fn origins(&mut self, said: Option<&[String]>, at: &Path<'_>) -> Option<Vec<Box<str>>> {
        let mut out = Some(Vec::new());
        for (index, text) in said.unwrap_or_default().iter().enumerate() {
            let origin = is_origin(text).then(|| text.as_str().into());
            if origin.is_none() {
                let message = format!("{} is no origin, and no request will have it", quote(text));
                let expected = "`*`, `null`, or `https://host` with a port if need be, in lower case, and nothing behind";
                self.report.error(&at.item(index), "bad-origin", message, expected);
            }
            out = push(out, origin);
        }
        out
    }

    /// All of a list as the value of one header.
    fn names(
        &mut self,
        said: Option<&[String]>,
        is_good: impl Fn(&str) -> bool,
        at: &Path<'_>,
    ) -> Option<Option<HeaderValue>> {
        let said = said.unwrap_or_default();
        for (index, text) in said.iter().enumerate() {
            if text != "*" && !is_good(text) {
                let message = format!("{} is no name", quote(text));
                self.report.error(
                    &at.item(index),
                    "bad-header",
                    message,
                    "one method, or one header, for each entry; or `*` [G 7c]",
                );
                return None;
            }
        }
        let value = HeaderValue::try_from(said.join(", ")).ok()?;
        Some((!said.is_empty()).then_some(value))
    }
}

/// As browsers write it [RFC 6454 6.2].
fn is_origin(text: &str) -> bool {
    let is_plain = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
            && !text.contains(['/', '?', '#', '@', ',', '*'])
    };
    let parts = || text.split_once("://");
    matches!(text, "*" | "null") || parts().is_some_and(|(scheme, rest)| is_plain(scheme) && is_plain(rest))
}
