//! Who may ask what: no web page on another site, nobody without a token where one is asked for, nothing too long, too
//! often or for more than 10 s.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::auth::{self, Caller, Peer, Unknown};
use super::failures::{FAILURES, Failures};
use super::health::error;
use crate::clock;
use crate::engine::handle::Handle;
use crate::model::unit::Tick;

/// Longest body of a question, in bytes.
pub(super) const BODY_LIMIT: usize = 1 << 20;
/// Longest body of a change, or of a batch, in bytes: as long as a configuration file may be.
pub(crate) const CHANGE_LIMIT: usize = 16 << 20;
/// Changes per second, of all callers together; each is a whole configuration that is read, checked and written.
const CHANGES_PER_SECOND: u64 = 100;
/// So many of them at once.
const CHANGES_AT_ONCE: u64 = 500;
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a page of another site can have a browser send without asking first.
const FORMS: [&str; 3] = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

/// What the check needs to know.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    handle: Handle,
    bound: SocketAddr,
    pace: Arc<Pace>,
    failures: Arc<Failures>,
}

impl Guard {
    pub(super) fn new(handle: Handle, bound: SocketAddr, pace: Arc<Pace>) -> Self {
        Self { handle, bound, pace, failures: Arc::default() }
    }
}

pub(super) async fn check(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.judge(&request) {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(guard.clone());
        }
        Ok(None) => {}
        Err(refusal) => return *refusal,
    }
    DefaultBodyLimit::max(limit(request.method(), request.uri().path())).apply(&mut request);
    match tokio::time::timeout(TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "took too long\n").into_response(),
    }
}

impl Guard {
    /// Who asks; `None` where nobody has to say.
    fn judge(&self, request: &Request) -> Result<Option<Caller>, Box<Response>> {
        let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
        self.same_site(method, headers)?;
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let limit = limit(method, path);
        if length.is_some_and(|length: usize| length > limit) {
            // Said at once, not after a megabyte.
            let message = format!("The request is longer than {} MiB", limit >> 20);
            return Err(Box::new(error(StatusCode::PAYLOAD_TOO_LARGE, "invalid", &message)));
        }
        if auth::is_open(method, path) {
            return Ok(None);
        }
        let address = (IpAddr::from([0, 0, 0, 0]), 0).into();
        let nobody = Peer { address, over_tls: false, certificate: None };
        let peer = request.extensions().get::<Peer>().unwrap_or(&nobody);
        let access = &self.handle.world().config.proxy.admin_access;
        let caller =
            auth::caller(access, peer, headers).map_err(|why| self.refused(why, peer.address.ip()))?;
        if !caller.may(method, path) {
            let message = "This token is READ_ONLY, and the request would change something";
            return Err(forbidden(message));
        }
        if auth::is_change(method, path) {
            self.allows_change(headers)?;
        }
        Ok(Some(caller))
    }

    /// Nobody whom we know. Tokens that are tried one after the other are counted.
    fn refused(&self, why: Unknown, from: IpAddr) -> Box<Response> {
        let wait = match why {
            // As a browser that opens the dashboard asks.
            Unknown::Missing => None,
            Unknown::Wrong => self.failures.note(from, clock::now()),
        };
        let Some(seconds) = wait else { return Box::new(unknown(why)) };
        let message = format!("More than {FAILURES} unknown tokens in a minute from this address");
        let mut answer = error(StatusCode::TOO_MANY_REQUESTS, "rateLimitExceeded", &message);
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        Box::new(answer)
    }

    /// A name that leads to this host by a trick of DNS, or a page of another site, gets nothing.
    fn same_site(&self, method: &Method, headers: &HeaderMap) -> Result<(), Box<Response>> {
        let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or(""));
        // HTTP/1.0 has no Host, and no browser that could be tricked. Elsewhere than on loopback nobody gets in without
        // a token, which no browser adds by itself, or a certificate, whose server has names that are checked.
        if self.bound.ip().is_loopback() && !host.is_none_or(|host| is_ours(host, self.bound.ip())) {
            return Err(forbidden("Host is neither a loopback name nor the address of the admin API"));
        }
        let is_page = matches!(*method, Method::GET | Method::HEAD);
        let is_foreign = headers.get(header::ORIGIN).is_some_and(|origin| !is_of(origin, host))
            || headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
        if is_foreign && !is_page {
            return Err(forbidden("The request comes from a page of another site"));
        }
        Ok(())
    }

    /// Whether a part of a batch may go on: each change counts as one that came by itself.
    pub(super) fn may_go_on(&self, method: &Method, path: &str) -> bool {
        !auth::is_change(method, path) || self.pace.takes(clock::now())
    }

    pub(super) fn allows_change(&self, headers: &HeaderMap) -> Result<(), Box<Response>> {
        let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or("text/plain"));
        if kind.is_some_and(|kind| FORMS.contains(&essence(kind).as_str())) {
            let message = "A change comes as application/json, not as what a form can send";
            return Err(Box::new(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "badRequest", message)));
        }
        if self.pace.takes(clock::now()) {
            return Ok(());
        }
        let message = format!("More than {CHANGES_PER_SECOND} changes per second");
        let mut answer = error(StatusCode::TOO_MANY_REQUESTS, "rateLimitExceeded", &message);
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        Err(Box::new(answer))
    }
}

fn forbidden(message: &str) -> Box<Response> {
    Box::new(error(StatusCode::FORBIDDEN, "forbidden", message))
}

fn unknown(why: Unknown) -> Response {
    let (reason, message, challenge) = match why {
        Unknown::Missing => ("required", "A token is needed: Authorization: Bearer TOKEN", "Bearer"),
        Unknown::Wrong => ("authError", "The token is not known", "Bearer error=\"invalid_token\""),
    };
    let mut answer = error(StatusCode::UNAUTHORIZED, reason, message);
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    answer
}

/// Longest body, in bytes.
fn limit(method: &Method, path: &str) -> usize {
    let is_long = auth::is_change(method, path) || path.starts_with("/batch") || path.ends_with("/validate");
    if is_long { CHANGE_LIMIT } else { BODY_LIMIT }
}

/// A content type without its parameters, in lower case.
fn essence(kind: &str) -> String {
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether an `Origin` is that of the very host that is asked.
fn is_of(origin: &HeaderValue, host: Option<&str>) -> bool {
    let origin = origin.to_str().unwrap_or("");
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

/// Whether `host`, with or without a port, is a loopback name or address, or the bound address.
fn is_ours(host: &str, bound: IpAddr) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    let is_ours = |ip: IpAddr| ip.to_canonical().is_loopback() || ip == bound;
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_ours)
}

/// How many changes may come: [`CHANGES_PER_SECOND`], [`CHANGES_AT_ONCE`] at a time.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last change that was let in would be done at that pace, in nanoseconds.
    until: Mutex<u64>,
}

impl Pace {
    /// One that lets nobody in for hours.
    #[cfg(test)]
    pub(super) fn used_up() -> Self {
        Self { until: Mutex::new(clock::now().0 + 3_600_000_000_000) }
    }

    fn takes(&self, now: Tick) -> bool {
        const EACH: u64 = 1_000_000_000 / CHANGES_PER_SECOND;
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*until).max(now.0) + EACH;
        let is_taken = next - now.0 <= CHANGES_AT_ONCE * EACH;
        if is_taken {
            *until = next;
        }
        is_taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::unit::Span;

    #[test]
    fn only_loopback_names_and_the_bound_address_are_ours() {
        let bound = IpAddr::from([10, 1, 2, 3]);
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:9901", "127.9.9.9", "[::1]:80", "10.1.2.3:9901"] {
            assert!(is_ours(host, bound), "{host}");
        }
        for host in
            ["", "evil.example", "127.0.0.1.evil.example", "10.1.2.4", "[::2]", "localhost.evil.example:80"]
        {
            assert!(!is_ours(host, bound), "{host}");
        }
    }

    #[test]
    fn an_origin_is_ours_when_it_is_the_host_that_is_asked() {
        let is_of = |origin: &'static str| is_of(&HeaderValue::from_static(origin), Some("localhost:9901"));
        assert!(is_of("http://localhost:9901") && is_of("https://LOCALHOST:9901"));
        for other in
            ["null", "", "http://localhost", "http://localhost:9902", "http://localhost:9901.evil.example"]
        {
            assert!(!is_of(other), "{other}");
        }
    }

    #[test]
    fn changes_come_in_bursts_and_then_at_their_pace() {
        let (pace, start) = (Pace::default(), Tick(5_000_000_000));
        let taken = (0..1000).filter(|_| pace.takes(start)).count();
        assert_eq!(taken as u64, CHANGES_AT_ONCE);
        let later = start + Span::secs(1);
        let taken = (0..1000).filter(|_| pace.takes(later)).count();
        assert_eq!(taken as u64, CHANGES_PER_SECOND);
    }

    #[test]
    fn a_form_is_known_by_its_kind_alone() {
        assert_eq!(essence("Text/Plain; charset=utf-8"), "text/plain");
        assert!(!FORMS.contains(&essence("multipart/mixed; boundary=x").as_str()));
    }
}
