//! What becomes of a request that a rule took: a service, one of several by weight, or a redirect; with what is
//! rewritten on the way [G 7c].

use std::sync::Arc;

use super::cors::CorsPolicy;
use super::edit::HeaderEdits;
use super::error_page::ErrorPages;
use super::substitution::RegexRewrite;
use super::template::TemplateRewrite;
use super::{Route, Rule};
use crate::model::config::ServiceId;
use crate::model::unit::Span;

/// `service`, `routeAction` and `urlRedirect` of one place, together.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Exactly one [G 7.6].
    pub target: Target,
    /// `urlRewrite`.
    pub rewrite: Option<Box<Rewrite>>,
    /// In place of the service's own [G 5.2].
    pub timeout: Option<Timeout>,
    /// `maxStreamDuration`, in place of the service's own: from a request's head to the end of its answer, retries included.
    /// Unset beside weights, the largest of the services, if all have one.
    pub longest: Option<Span>,
    /// `retryPolicy`, in place of the built-in rules [G 5.7].
    pub retry: Option<Arc<RetryPolicy>>,
    /// `faultInjectionPolicy`.
    pub fault: Option<Box<Fault>>,
    /// `requestMirrorPolicy`.
    pub mirror: Option<Mirror>,
    /// `corsPolicy`; `None` for one that is disabled too.
    pub cors: Option<Arc<CorsPolicy>>,
    /// `customErrorResponsePolicy` of all levels; `None` when none says anything.
    pub errors: Option<Arc<ErrorPages>>,
}

/// `requestMirrorPolicy`: copies of requests whose answers nobody hears.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mirror {
    /// Who gets them.
    pub service: ServiceId,
    /// Of all requests, above 0 to 1.
    pub share: f64,
}

/// Where it leads.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// `service`.
    Service(Destination),
    /// `weightedBackendServices`.
    Weighted(Split),
    /// `urlRedirect`.
    Redirect(Box<Redirect>),
}

/// A service, and what happens to headers on the way to it and back.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    /// The service.
    pub service: ServiceId,
    /// `headerAction` of all levels; `None` when there is nothing to do.
    pub edits: Option<Arc<HeaderEdits>>,
}

/// How long a request may take [G 5.2].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// `timeout`: with all its attempts.
    Whole(Span),
    /// The largest `timeoutSec` of the services that a rule leads to: each attempt.
    Attempt(Span),
}

/// `retryPolicy`: what is tried again on another member, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// `numRetries`, 1 to 25. Default 1.
    pub most: u32,
    /// `perTryTimeout`; `None` = as long as the request has.
    pub per_try: Option<Span>,
    /// `5xx`: any 5xx, or no answer at all.
    pub on_server_error: bool,
    /// `gateway-error`: 502, 503, 504.
    pub on_gateway_error: bool,
    /// `connect-failure`.
    pub on_connect_failure: bool,
    /// `retriable-4xx`: 409.
    pub on_conflict: bool,
    /// `refused-stream`.
    pub on_refused_stream: bool,
    /// `cancelled` and what else is a status of gRPC, by their numbers.
    pub on_grpc: GrpcStatuses,
}

/// A set of statuses of gRPC, 0 to 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GrpcStatuses(u32);

impl GrpcStatuses {
    /// Google's words for conditions that are statuses of gRPC, with their numbers [G 5].
    const NAMED: [(&'static str, u32); 5] = [
        ("cancelled", 1),
        ("deadline-exceeded", 4),
        ("resource-exhausted", 8),
        ("internal", 13),
        ("unavailable", 14),
    ];

    /// Not any.
    pub const NONE: Self = Self(0);

    /// Those among these conditions.
    #[must_use]
    pub fn among(conditions: &[String]) -> Self {
        let named = Self::NAMED.iter().filter(|(name, _)| conditions.iter().any(|one| one == name));
        Self(named.fold(0, |all, (_, number)| all | 1 << number))
    }

    /// Whether it is one of them.
    #[must_use]
    pub const fn has(self, status: u32) -> bool {
        status < u32::BITS && self.0 & (1 << status) != 0
    }
}

impl RetryPolicy {
    /// Whether an answer of this status is to be had again.
    #[must_use]
    pub const fn takes(&self, status: u16) -> bool {
        (self.on_server_error && status >= 500 && status <= 599)
            || (self.on_gateway_error && matches!(status, 502..=504))
            || (self.on_conflict && status == 409)
    }
}

impl Timeout {
    /// How long.
    #[must_use]
    pub const fn span(self) -> Span {
        match self {
            Self::Whole(span) | Self::Attempt(span) => span,
        }
    }
}

impl Action {
    /// To this service, and nothing else.
    #[must_use]
    pub const fn to(service: ServiceId) -> Self {
        Self::bare(Target::Service(Destination { service, edits: None }))
    }

    /// There, and nothing else.
    #[must_use]
    pub const fn bare(target: Target) -> Self {
        Self {
            target,
            rewrite: None,
            timeout: None,
            longest: None,
            retry: None,
            fault: None,
            mirror: None,
            cors: None,
            errors: None,
        }
    }

    /// All services that it may lead to, with their weights; 1 for a service alone.
    pub fn services(&self) -> impl Iterator<Item = (ServiceId, u32)> {
        let (one, many) = match &self.target {
            Target::Service(destination) => (Some((destination.service, 1)), &[][..]),
            Target::Weighted(split) => (None, split.parts()),
            Target::Redirect(_) => (None, &[][..]),
        };
        one.into_iter().chain(many.iter().map(|part| (part.to.service, part.weight)))
    }
}

/// `weightedBackendServices`: each gets weight ÷ sum of the requests [G 7c].
///
/// Weights lie side by side on a circle, in the order of the file, and a number says where on it a request falls: a
/// number by chance for a new session, one made of the session's key for an old one. So a session stays with its
/// service for as long as the weights stay; where they are changed, only those move whose part of the circle has
/// changed hands.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    parts: Box<[Part]>,
    total: u32,
}

/// One of `weightedBackendServices`.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// `backendService`, with `headerAction`.
    pub to: Destination,
    /// `weight`, 0 to 1000; 0 gets nothing.
    pub weight: u32,
    /// Where its part of the circle ends.
    end: u32,
}

impl Split {
    /// `None` when no weight is above 0.
    #[must_use]
    pub fn new(parts: impl IntoIterator<Item = (Destination, u32)>) -> Option<Self> {
        let mut total = 0_u32;
        let place = |(to, weight): (Destination, u32)| {
            total = total.saturating_add(weight);
            Part { to, weight, end: total }
        };
        let parts: Box<[Part]> = parts.into_iter().map(place).collect();
        (total > 0).then_some(Self { parts, total })
    }

    /// All parts, in the order of the file.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Sum of the weights, 1 or more.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.total
    }

    /// Who owns `point` of the circle; all 64 bits of it count, and it should be spread evenly.
    #[must_use]
    pub fn pick(&self, point: u64) -> Option<&Part> {
        let place = (u128::from(point) * u128::from(self.total)) >> 64;
        self.parts.iter().find(|part| place < u128::from(part.end))
    }
}

/// `urlRedirect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// `hostRedirect`; `None` = the request's own.
    pub host: Option<Box<str>>,
    /// `pathRedirect` or `prefixRedirect`.
    pub path: NewPath,
    /// `httpsRedirect`. Default false.
    pub to_https: bool,
    /// `stripQuery`. Default false.
    pub strips_query: bool,
    /// `redirectResponseCode` as a number: 301, 302, 303, 307 or 308. Default 301.
    pub status: u16,
}

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewPath {
    /// It stays.
    Same,
    /// This one instead.
    Whole(Box<str>),
    /// This in place of what matched; in front of the path where a default decided.
    Prefix(Box<str>),
    /// Made of what a template found.
    Template(TemplateRewrite),
    /// With what a regular expression finds replaced.
    Regex(Box<RegexRewrite>),
}

/// The URL that a client asked for.
#[derive(Debug, Clone, Copy)]
pub struct Url<'a> {
    /// Whether it came over TLS.
    pub is_https: bool,
    /// Authority, as it stands in `Host`.
    pub host: &'a str,
    /// Path.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: Option<&'a str>,
}

impl Url<'_> {
    /// As one text.
    #[must_use]
    pub fn text(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        let (mark, query) = self.query.map_or(("", ""), |query| ("?", query));
        format!("{scheme}://{}{}{mark}{query}", self.host, self.path)
    }
}

impl Redirect {
    /// Where the client is sent. The port 80 of a host goes with `http`: it is not asked for again over TLS.
    #[must_use]
    pub fn location(&self, route: &Route<'_>, url: &Url<'_>) -> String {
        let own = if self.to_https && !url.is_https {
            url.host.strip_suffix(":80").unwrap_or(url.host)
        } else {
            url.host
        };
        let path = self.path.of(route, url.path).unwrap_or_else(|| url.path.to_owned());
        // A path of the user's may bring a query of its own; the request's goes behind it.
        let (path, own_query) =
            path.split_once('?').map_or((&*path, None), |(path, query)| (path, Some(query)));
        let kept = url.query.filter(|_| !self.strips_query);
        let query = match (own_query, kept) {
            (Some(own), Some(kept)) => Some(format!("{own}&{kept}")),
            (one, other) => one.or(other).map(str::to_owned),
        };
        let host = self.host.as_deref().unwrap_or(own);
        Url { is_https: url.is_https || self.to_https, host, path, query: query.as_deref() }.text()
    }
}

/// `urlRewrite`: what a service gets to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// `hostRewrite`.
    pub host: Option<Box<str>>,
    /// `pathPrefixRewrite`, `pathTemplateRewrite` or `regexRewrite`.
    pub path: NewPath,
}

impl NewPath {
    /// The new path for one that `route` was found for. `None` when a regular expression makes something that is no path.
    #[must_use]
    pub fn of(&self, route: &Route<'_>, path: &str) -> Option<String> {
        Some(match self {
            Self::Same => path.to_owned(),
            Self::Whole(whole) => whole.to_string(),
            Self::Prefix(prefix) => {
                let rest = path.get(route.matched(path)..).unwrap_or_default();
                // In front of a whole path, one slash is enough.
                let prefix = if route.rule.is_none() { prefix.trim_end_matches('/') } else { prefix };
                format!("{prefix}{rest}")
            }
            Self::Template(rewrite) => match route.rule {
                Some(Rule::Route(_, matched)) => matched.path.template().map(|t| rewrite.fill(t, path)),
                _ => None,
            }
            .unwrap_or_else(|| path.to_owned()),
            Self::Regex(rewrite) => return rewrite.fill(path),
        })
    }
}

/// `faultInjectionPolicy`. Shares are of all requests, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Fault {
    /// `abort`: share and status, 200 to 599.
    pub abort: Option<(f64, u16)>,
    /// `delay`: share, and how long before the request goes on.
    pub delay: Option<(f64, Span)>,
}
