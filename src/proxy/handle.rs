//! A request comes in: refused, redirected, or routed and made ready for a member. [`super::visit`] takes it from there.

use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{EXPECT, HOST, REFERER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, request};
use hyper::body::Incoming;

use super::body::ResponseBody;
use super::failure::{Failure, Stage};
use super::headers::{self, Seen, Upgrade};
use super::record::{Facts, Record};
use super::respond;
use super::serve::Client;
use super::session::{self, CookieState};
use super::visit::Visit;
use crate::clock;
use crate::ledger::service::Extra;
use crate::model::detail::StatusDetail;
use crate::model::service::Affinity;
use crate::world::LiveService;

/// Answers a request. Never fails: every failure becomes an answer or a cut connection, and is counted.
pub(crate) async fn handle(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let mut record = Record::open(&client, client.context.world(), clock::now());
    let (mut head, incoming) = request.into_parts();
    Ok(match admit(&mut record, &mut head) {
        Ok(Admitted::Forward(visit)) => visit.run(record, head, incoming).await,
        Ok(Admitted::Redirect(target)) => respond::redirect(record, &target),
        Err(failure) => respond::failure(record, failure),
    })
}

/// What is to become of a request that has come in.
enum Admitted {
    Forward(Visit),
    Redirect(String),
}

/// Refuses, routes, finds the session, and makes the head ready for a member.
fn admit(record: &mut Record, head: &mut request::Parts) -> Result<Admitted, Failure> {
    let client = record.client.clone();
    let world = record.world.clone();
    let seen = Seen::survey(&head.headers);
    let upgrade = refuse(head, seen)?;
    origin_form(head, seen, &client)?;
    if let Some(path) = headers::normalised_path(head.uri.path()) {
        let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        return Ok(Admitted::Redirect(path + &query));
    }
    let not_found = Failure::client(StatusDetail::ConfigNotFound);
    let front = world.front(client.listener).ok_or(not_found)?;
    let host = head.headers.get(HOST).map(HeaderValue::as_bytes);
    let id = front.url_map.find(host, head.uri.path()).service;
    let service = world.service(id).ok_or(not_found)?;
    record.service = Some(id);

    let trusted = &world.config.proxy.trusted_proxies;
    let address = session::client_address(client.peer.ip(), &head.headers, trusted);
    let (key, cookie) = session_of(&client, service, (head, seen), address);
    let random = client.context.rng.borrow_mut().next();
    headers::to_backend(
        &mut head.headers,
        seen,
        &headers::Facts {
            hop: &client.hop,
            keep_upgrade: upgrade == Upgrade::WebSocket,
            trace: (
                u128::from(random) << 64 | u128::from(random.rotate_left(29) ^ record.started.0),
                random >> 1,
            ),
        },
    );
    keep_facts(record, service, head);
    Ok(Admitted::Forward(Visit::new(
        service.clone(),
        world.config.places.origin_of(address),
        key,
        cookie,
        upgrade,
    )))
}

/// What is refused whatever the configuration says [G 6b].
fn refuse(head: &request::Parts, seen: Seen) -> Result<Upgrade, Failure> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(Failure::client(StatusDetail::UnsupportedMethod));
    }
    if seen.has(Seen::VIA) && headers::is_loop(&head.headers) {
        return Err(Failure { stage: Stage::Client, detail: StatusDetail::RequestLoopDetected });
    }
    if !seen.has(Seen::UPGRADE) {
        return Ok(Upgrade::None);
    }
    match headers::upgrade_of(&head.method, head.version, &head.headers) {
        Upgrade::Other => Err(Failure::client(StatusDetail::UpgradeHeaderRejected)),
        upgrade => Ok(upgrade),
    }
}

/// Absolute form → origin form with `Host` from the authority [RFC 9112 3.2.2]; `Host` for clients that send none
/// (HTTP/1.0); `Expect` ends here, since hyper answers it.
fn origin_form(head: &mut request::Parts, seen: Seen, client: &Client) -> Result<(), Failure> {
    let malformed = Failure::client(StatusDetail::InvalidRequestHeaders);
    if let Some(authority) = head.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| malformed)?;
        head.headers.insert(HOST, host);
        let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        head.uri = Uri::from(path);
    } else if !seen.has(Seen::HOST) {
        let host = HeaderValue::from_str(&client.local.to_string()).map_err(|_| malformed)?;
        head.headers.insert(HOST, host);
    }
    if seen.has(Seen::EXPECT) {
        head.headers.remove(EXPECT);
    }
    Ok(())
}

/// The session's key, and the cookie to give out with the answer.
fn session_of(
    client: &Client,
    service: &LiveService,
    (head, seen): (&request::Parts, Seen),
    address: IpAddr,
) -> (Option<u64>, Option<HeaderValue>) {
    let ttl = match service.config.affinity {
        Affinity::None => return (None, None),
        Affinity::ClientIp => return (Some(session::client_ip_key(address, client.local.ip())), None),
        Affinity::GeneratedCookie { ttl } => ttl,
    };
    let (worker, ledger) = (client.context.worker, &service.ledger);
    let name = service.config.scheme.cookie_name();
    let state =
        if seen.has(Seen::COOKIE) { session::cookie_key(&head.headers, name) } else { CookieState::Absent };
    match state {
        CookieState::Key(key) => return (Some(key), None),
        CookieState::Malformed => ledger.count_extra(worker, Extra::CookiesMalformed),
        CookieState::Absent => {}
    }
    ledger.count_extra(worker, Extra::CookiesIssued);
    let mut rng = client.context.rng.borrow_mut();
    let random = u128::from(rng.next()) << 64 | u128::from(rng.next());
    let (cookie, key) = session::new_key_cookie(name, random, ttl, clock::wall());
    (Some(key), Some(cookie))
}

/// Keeps what the log line needs, if this request is logged at all (`logConfig.sampleRate`) [G 8.1].
#[allow(clippy::cast_precision_loss)]
fn keep_facts(record: &mut Record, service: &Arc<LiveService>, head: &request::Parts) {
    let context = &record.client.context;
    let sample = service.config.log_sample.get();
    if !context.has_log() || sample <= 0.0 {
        return;
    }
    if sample < 1.0 && context.rng.borrow_mut().next() as f64 >= sample * u64::MAX as f64 {
        return;
    }
    record.facts = Some(facts(head));
}

fn facts(head: &request::Parts) -> Box<Facts> {
    let take = |name: HeaderName| head.headers.get(name).cloned();
    Box::new(Facts {
        method: head.method.clone(),
        uri: head.uri.clone(),
        host: take(HOST),
        user_agent: take(USER_AGENT),
        referer: take(REFERER),
        trace: take(headers::TRACE_CONTEXT),
    })
}
