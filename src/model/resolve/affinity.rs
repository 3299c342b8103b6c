//! Session affinity [G 3].

use std::sync::Arc;

use super::report::Report;
use crate::model::service::{Affinity, Cookie, Protocol, Scheme};
use crate::model::unit::Span;
use crate::wire::backend_service as wire;
use crate::wire::duration::Duration;
use crate::wire::flaw::quote;
use crate::wire::path::Path;

/// The longest life of a cookie in seconds (**ours**: Google's durations go up to 10,000 years).
const LONGEST: u64 = 315_576_000;

/// The affinity; `None` after a report. What belongs to another affinity is legal, since gcloud leaves it behind [G 3.11].
pub(super) fn affinity(
    service: &wire::BackendService,
    (scheme, protocol): (Scheme, Protocol),
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<Affinity> {
    let word = service.session_affinity.as_deref().unwrap_or("NONE");
    let mut refuse = |message: String, expected: &str| {
        let message = format!("service `{}` of {message}", service.name);
        report.error(&at.key("sessionAffinity"), "forbidden-field", message, expected);
    };
    if !protocol.is_http() && !matches!(word, "NONE" | "CLIENT_IP") {
        refuse(
            format!("protocol {} wants affinity by what stands in requests", protocol.as_str()),
            "NONE or CLIENT_IP: connections carry no cookies and no headers [G 3]",
        );
        return None;
    }
    let is_classic = matches!(word, "NONE" | "CLIENT_IP" | "GENERATED_COOKIE");
    if scheme == Scheme::External && !is_classic {
        refuse(
            format!("scheme EXTERNAL has sessionAffinity {word}"),
            "NONE, CLIENT_IP or GENERATED_COOKIE, or scheme EXTERNAL_MANAGED: the classic balancer has no other [G 3.10]",
        );
        return None;
    }
    let ttl = Span::secs(service.affinity_cookie_ttl_sec.unwrap_or(0).into());
    match word {
        "CLIENT_IP" => Some(Affinity::ClientIp),
        "GENERATED_COOKIE" => Some(Affinity::GeneratedCookie { ttl }),
        "HTTP_COOKIE" => http_cookie(service, ttl, at, report).map(Affinity::HttpCookie),
        "HEADER_FIELD" => header(service, at, report).map(Affinity::HeaderField),
        "STRONG_COOKIE_AFFINITY" => strong_cookie(service, at, report).map(Affinity::StrongCookie),
        _ => Some(Affinity::None),
    }
}

/// `consistentHash.httpCookie`; without a `ttl` of its own it has `affinityCookieTtlSec`, where gcloud writes it [G 3.11].
fn http_cookie(
    service: &wire::BackendService,
    ttl: Span,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<Cookie> {
    let hash = at.key("consistentHash");
    let said = service.consistent_hash.as_ref().and_then(|hash| hash.http_cookie.as_ref());
    let expected = "`consistentHash: {httpCookie: {name: …}}` [G 3, 3.5]";
    let Some(said) = said else {
        return missing(service, &at.key("sessionAffinity"), expected, report);
    };
    let at = hash.key("httpCookie");
    if said.name.is_none() {
        return missing(service, &at, expected, report);
    }
    let cookie = cookie(said, &at, report)?;
    Some(if said.ttl.is_none() { Cookie { ttl, ..cookie } } else { cookie })
}

fn strong_cookie(service: &wire::BackendService, at: &Path<'_>, report: &mut Report<'_>) -> Option<Cookie> {
    let expected = "`strongSessionAffinityCookie: {name: …}` [G 3, 3.6]";
    let Some(said) = &service.strong_session_affinity_cookie else {
        return missing(service, &at.key("sessionAffinity"), expected, report);
    };
    let at = at.key("strongSessionAffinityCookie");
    if said.name.is_none() {
        return missing(service, &at, expected, report);
    }
    cookie(said, &at, report)
}

/// `consistentHash.httpHeaderName`, in small letters.
fn header(service: &wire::BackendService, at: &Path<'_>, report: &mut Report<'_>) -> Option<Arc<str>> {
    let said = service.consistent_hash.as_ref().and_then(|hash| hash.http_header_name.as_ref());
    let Some(name) = said else {
        return missing(
            service,
            &at.key("sessionAffinity"),
            "`consistentHash: {httpHeaderName: …}` [G 3]",
            report,
        );
    };
    let hash = at.key("consistentHash");
    is_token(name, &hash.key("httpHeaderName"), report).then(|| name.to_ascii_lowercase().into())
}

fn missing<T>(
    service: &wire::BackendService,
    at: &Path<'_>,
    expected: &str,
    report: &mut Report<'_>,
) -> Option<T> {
    let word = service.session_affinity.as_deref().unwrap_or("NONE");
    let message =
        format!("service `{}` has sessionAffinity {word} and does not say what it goes by", service.name);
    report.error(at, "missing-field", message, expected);
    None
}

/// A cookie that has a name. A browser counts whole seconds, so parts of one are rounded up.
fn cookie(said: &wire::Cookie, at: &Path<'_>, report: &mut Report<'_>) -> Option<Cookie> {
    let path = said.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let is_path =
        path.starts_with('/') && path.bytes().all(|b| (b == b' ' || b.is_ascii_graphic()) && b != b';');
    if !is_path {
        let message = format!("{} is no path of a cookie", quote(path));
        report.error(&at.key("path"), "bad-path", message, "a path that begins with `/`, ASCII without `;`");
    }
    let name = said.name.as_deref().unwrap_or_default();
    let is_sound = is_token(name, &at.key("name"), report) && is_path;
    let seconds = said.ttl.map_or(0, |Duration { seconds, nanos }| {
        seconds.unwrap_or(0).saturating_add(u64::from(nanos.unwrap_or(0) > 0))
    });
    if seconds > LONGEST {
        let message = format!("cookie {} lives for {seconds} s", quote(name));
        let expected = "at most 315576000 s, ten years; browsers keep no cookie for longer than 400 days";
        report.error(&at.key("ttl"), "out-of-range", message, expected);
        return None;
    }
    is_sound.then(|| Cookie { name: name.into(), path: path.into(), ttl: Span::secs(seconds) })
}

/// Whether `name` can name a cookie or a header [RFC 9110, 5.6.2]; reports what cannot.
fn is_token(name: &str, at: &Path<'_>, report: &mut Report<'_>) -> bool {
    let is_token = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !is_token {
        let message = format!("{} names no cookie and no header", quote(name));
        report.error(at, "bad-name", message, "letters, digits and any of !#$%&'*+-.^_`|~, without a space");
    }
    is_token
}
