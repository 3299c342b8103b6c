//! `tests` of a URL map: all must pass before it is used [G 7.9].
//!
//! A test is a GET over `http`. Where services have weights, the expected one must be among those that get something
//! (ours).

use http::{HeaderMap, HeaderValue};

use crate::model::config::ServiceId;
use crate::model::resolve::report::Report;
use crate::model::resolve::service::Services;
use crate::model::route::action::{Target, Url};
use crate::model::route::{Head, Route, UrlMap};
use crate::wire::flaw::quote;
use crate::wire::path::Path;
use crate::wire::url_map as wire;

/// Reports tests that fail, and those that make no sense.
pub(super) fn check(
    of: &wire::UrlMap,
    map: &UrlMap,
    services: &Services<'_>,
    at: &Path<'_>,
    report: &mut Report<'_>,
) {
    let list = at.key("tests");
    for (index, test) in of.tests.iter().flatten().enumerate() {
        one(test, map, services, (&list.item(index), report));
    }
}

fn one(test: &wire::Test, map: &UrlMap, services: &Services<'_>, (at, report): (&Path<'_>, &mut Report<'_>)) {
    let Some(headers) = headers(test, at, report) else { return };
    if !is_asked(test, at, report) {
        return;
    }
    let (path, query) =
        test.path.split_once('?').map_or((&*test.path, None), |(path, query)| (path, Some(query)));
    let head = Head { host: Some(test.host.as_bytes()), method: "GET", path, query, headers: &headers };
    let route = map.find(&head);
    let url = Url { is_https: false, host: &test.host, path, query };
    let came = Came::of(&route, &url);
    let fail = |key: &str, expected: String, came: String, report: &mut Report<'_>| {
        let by = match (route.matcher, route.rule) {
            (Some(matcher), Some(rule)) => format!("path matcher `{matcher}`, {rule}"),
            (Some(matcher), None) => format!("the default of path matcher `{matcher}`"),
            (None, _) => "the default of the map".to_owned(),
        };
        let message = format!("test GET {} fails: {came}, by {by}", quote(&url.text()));
        report.error(&at.key(key), "failed-test", message, expected);
    };
    let name = |id: ServiceId| {
        let placed = services.list.get(id.index()).and_then(Option::as_ref);
        placed.map_or(String::new(), |placed| placed.value.name.to_string())
    };
    if let Some(text) = &test.service {
        let Some(wanted) = services.names.follow(text, &at.key("service"), report) else { return };
        if !came.services.iter().any(|id| id.index() == wanted) {
            let wanted = text.rsplit('/').next().unwrap_or_default();
            fail("service", format!("it to go to service `{wanted}` [G 7.9]"), came.text(name), report);
            return;
        }
    }
    if let Some(code) = test.expected_redirect_response_code.filter(|code| came.status != Some(*code)) {
        fail(
            "expectedRedirectResponseCode",
            format!("a redirect with {code} [G 7.9]"),
            came.text(name),
            report,
        );
        return;
    }
    if let Some(wanted) = test.expected_output_url.as_deref().filter(|wanted| !came.is_url(wanted)) {
        let came = format!("the URL becomes {}", whole(&came.url));
        fail("expectedOutputUrl", format!("{} [G 7.9]", quote(wanted)), came, report);
    }
}

/// The request's headers; `Host` says the same as `host`.
fn headers(test: &wire::Test, at: &Path<'_>, report: &mut Report<'_>) -> Option<HeaderMap> {
    let list = at.key("headers");
    let mut out = HeaderMap::new();
    for (index, header) in test.headers.iter().flatten().enumerate() {
        let at = list.item(index);
        let name = header.name.parse::<http::HeaderName>();
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&header.value)) else {
            let message = format!("{} with this value is no header", quote(&header.name));
            report.error(&at, "bad-header", message, "a name and a value of printable ASCII");
            return None;
        };
        if name == http::header::HOST && header.value != test.host {
            let message = format!("the test's host is {}, and its Host header another", quote(&test.host));
            report.error(&at.key("value"), "bad-host", message, "the same, or no Host header [G 7.9]");
            return None;
        }
        out.append(name, value);
    }
    if let Ok(host) = HeaderValue::from_str(&test.host) {
        out.insert(http::header::HOST, host);
    }
    Some(out)
}

/// Whether the test asks for something, and for no two things that exclude each other.
fn is_asked(test: &wire::Test, at: &Path<'_>, report: &mut Report<'_>) -> bool {
    if !test.path.starts_with('/') {
        let message = format!("{} is no path", quote(&test.path));
        report.error(
            &at.key("path"),
            "bad-path",
            message,
            "a path that starts with `/`, with a query if need be",
        );
        return false;
    }
    match (&test.service, test.expected_redirect_response_code, &test.expected_output_url) {
        (Some(_), Some(_), _) => {
            let message = "a test expects a service and a redirect";
            let expected = "`service` or `expectedRedirectResponseCode` [G 7.9]";
            report.error(&at.key("expectedRedirectResponseCode"), "forbidden-field", message, expected);
            false
        }
        (None, None, None) => {
            let expected = "`service`, `expectedRedirectResponseCode` or `expectedOutputUrl` [G 7.9]";
            report.error(at, "missing-field", "a test expects nothing", expected);
            false
        }
        _ => true,
    }
}

/// What came of the request.
struct Came {
    /// That it may go to.
    services: Vec<ServiceId>,
    /// Of a redirect.
    status: Option<u16>,
    /// As a service sees it, or as a client is told.
    url: String,
}

impl Came {
    fn of(route: &Route<'_>, url: &Url<'_>) -> Self {
        if let Target::Redirect(redirect) = &route.action.target {
            let url = redirect.location(route, url);
            return Self { services: Vec::new(), status: Some(redirect.status), url };
        }
        let services = route.action.services().filter(|(_, weight)| *weight > 0).map(|(id, _)| id).collect();
        let rewrite = route.action.rewrite.as_ref();
        let host = rewrite.and_then(|rewrite| rewrite.host.as_deref()).unwrap_or(url.host);
        let path =
            rewrite.map_or_else(|| Some(url.path.to_owned()), |rewrite| rewrite.path.of(route, url.path));
        // A rewrite that makes no path: no URL is the expected one.
        let path = path.unwrap_or_default();
        Self { services, status: None, url: Url { host, path: &path, ..*url }.text() }
    }

    /// The scheme counts for redirects alone [G 7.9]; it may be missing.
    fn is_url(&self, wanted: &str) -> bool {
        let bare = |url: &str| url.split_once("://").map_or(url.to_owned(), |(_, rest)| rest.to_owned());
        if self.status.is_some() && wanted.contains("://") {
            return wanted == self.url;
        }
        bare(wanted) == bare(&self.url)
    }

    fn text(&self, name: impl Fn(ServiceId) -> String) -> String {
        if let Some(status) = self.status {
            return format!("it is redirected with {status} to {}", whole(&self.url));
        }
        let names: Vec<_> = self.services.iter().map(|id| format!("`{}`", name(*id))).collect();
        format!("it goes to {}", names.join(" or "))
    }
}

/// A URL as `validate` gives it back: not shortened, as other words of the user's are.
fn whole(url: &str) -> String {
    let clean: String = url.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("`{clean}`")
}
