//! `customRequestHeaders` and `customResponseHeaders`, and what `headerAction` shares with them [G 6.7–6.10].

use std::collections::BTreeSet;
use std::sync::Arc;

use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;

use super::report::Report;
use super::url_map::push;
use crate::model::header::{Flaw, Parsed, Value, Variable};
use crate::model::route::edit::{Edit, HeaderEdits};
use crate::model::service::Protocol;
use crate::wire::backend_service::BackendService;
use crate::wire::flaw::quote;
use crate::wire::path::Path;

/// Bytes of names and values of one list [G 6.7].
const MAX_BYTES: usize = 8 * 1024;

/// What a name may be, besides those that no list takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    /// Requests of a service may bring the host that its members want to see.
    Allowed,
    /// It is rewritten by `urlRewrite` alone.
    Forbidden,
}

/// What a service says. `None` after a report; `Some(None)` when it says nothing.
#[allow(clippy::option_option)]
pub(super) fn custom(
    service: &BackendService,
    protocol: Protocol,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<Option<Arc<HeaderEdits>>> {
    let lists = [
        ("customRequestHeaders", &service.custom_request_headers, Host::Allowed),
        ("customResponseHeaders", &service.custom_response_headers, Host::Forbidden),
    ];
    let [request, response] = lists.map(|(key, said, host)| {
        let said = said.as_deref().unwrap_or_default();
        let at = at.key(key);
        if !said.is_empty() && !protocol.is_http() {
            let message =
                format!("service `{}` of protocol {} has no headers", service.name, protocol.as_str());
            report.error(&at, "forbidden-field", message, format!("no `{key}`, or protocol HTTP [G 6c]"));
            return None;
        }
        list(said, host, &at, report)
    });
    let edits = HeaderEdits { request: request?, response: response? };
    Some((!edits.is_empty()).then(|| Arc::new(edits)))
}

fn list(said: &[String], host: Host, at: &Path<'_>, report: &mut Report<'_>) -> Option<Vec<Edit>> {
    let bytes: usize = said.iter().map(String::len).sum();
    if bytes > MAX_BYTES {
        let message = format!("these headers have {bytes} bytes together");
        report.error(at, "too-many", message, format!("at most {MAX_BYTES} bytes [G 6.7]"));
        return None;
    }
    let mut seen = BTreeSet::new();
    let mut out = Some(Vec::new());
    for (index, text) in said.iter().enumerate() {
        let edit = one(text, (host, &mut seen), &at.item(index), report);
        out = push(out, edit);
    }
    out
}

fn one(
    text: &str,
    (host, seen): (Host, &mut BTreeSet<String>),
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<Edit> {
    let Some((name, said)) = text.split_once(':') else {
        let message = format!("{} is no header", quote(text));
        report.error(at, "bad-header", message, "`Name:Value`; the value may be empty [G 6.7]");
        return None;
    };
    let name = self::name(name, (host, seen), at, report);
    let value = value(said, at, report);
    let (name, value) = (name?, value?.value);
    let is_host = |value: &Value| {
        matches!(value, Value::Fixed(value)
            if value.to_str().is_ok_and(|text| text.parse::<Authority>().is_ok_and(|of| !of.as_str().contains('@'))))
    };
    if name == HOST && !is_host(&value) {
        let message = format!("{} is no host", quote(said));
        report.error(at, "bad-header", message, "a host, with or without a port, and no variables");
        return None;
    }
    Some(Edit::Set(name, value))
}

/// The name of a header to be added or removed, each once in a list. `None` after a report.
pub(super) fn name(
    text: &str,
    (host, seen): (Host, &mut BTreeSet<String>),
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<HeaderName> {
    let Ok(name) = text.parse::<HeaderName>() else {
        let message = format!("{} is no name of a header", quote(text));
        report.error(at, "bad-header", message, "letters, digits and hyphens [G 6.8]");
        return None;
    };
    if is_forbidden(&name) || name == HOST && host == Host::Forbidden {
        let message = format!("header `{name}` may not be added or removed here");
        let expected = "another name: not Host, Content-Length, X-User-IP, CDN-Loop, those of one hop, and what starts with X-Google, X-Goog-, X-GFE or X-Amz- [G 6.8]";
        report.error(at, "forbidden-header", message, expected);
        return None;
    }
    if !seen.insert(name.as_str().to_owned()) {
        let message = format!("header `{name}` stands in this list already");
        report.error(at, "duplicate-header", message, "each name once in a list [G 6.8]");
        return None;
    }
    Some(name)
}

/// The value of a header to be added. `None` after a report.
pub(super) fn value(text: &str, at: &Path<'_>, report: &mut Report<'_>) -> Option<Parsed> {
    let (code, message, expected) = match Value::parse(text) {
        Ok(parsed) => {
            for name in &parsed.always_empty {
                let message = format!("variable `{name}` is always empty here: nothing tells this proxy");
                let expected = "a variable that has a value: see the README [G 6.10]";
                report.warning(at, "empty-variable", message, expected);
            }
            let proxy = || report.root().get("proxy");
            let has_locations = || proxy().is_some_and(|proxy| proxy.get("clientLocations").is_some());
            if parsed.value.has(Variable::ClientRegion) && !has_locations() {
                let message = "variable `client_region` is always empty: nothing says where clients are";
                let expected = "`clientLocations` in `proxy`, which name the regions [G 6.10]";
                report.warning(at, "empty-variable", message, expected);
            }
            return Some(parsed);
        }
        Err(Flaw::Brace) => (
            "bad-header",
            format!("{} has a brace that stands alone", quote(text)),
            "`{{` and `}}` for braces, `{name}` for a variable [G 6.9]",
        ),
        Err(Flaw::Unknown(name)) => (
            "unknown-variable",
            format!("there is no variable {}", quote(&name)),
            "a variable of [G 6.10], such as `{client_ip_address}`; `{{` and `}}` for braces",
        ),
        Err(Flaw::Unprintable) => {
            ("bad-header", format!("{} is no value of a header", quote(text)), "printable ASCII [G 6.7]")
        }
    };
    report.error(at, code, message, expected);
    None
}

/// Names that belong to the connection or the framing, to the URL, or to Google [G 6.8].
fn is_forbidden(name: &HeaderName) -> bool {
    let text = name.as_str();
    [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || ["authority", "cdn-loop", "keep-alive", "proxy-connection", "trailers", "x-user-ip"]
            .contains(&text)
        || ["x-google", "x-goog-", "x-gfe", "x-amz-"].iter().any(|start| text.starts_with(start))
}
