//! A request comes in: refused, redirected, or routed and made ready for a member. [`super::visit`] takes it from there.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{ALT_SVC, EXPECT, HOST, REFERER, TE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version, request};
use pin_project_lite::pin_project;

use super::body::{ResponseBody, Source};
use super::custom_headers::{self, Edits, Known};
use super::error_page::{self, Asked, Coming};
use super::failure::{Failure, Stage};
use super::floor::Floor;
use super::headers::{self, Seen, Upgrade};
use super::mirror::Mirror;
use super::outbound::Outbound;
use super::record::{Facts, Record};
use super::serve::Client;
use super::session::{self, address};
use super::visit::{Session, Visit};
use super::{cors, respond, route_action};
use crate::clock;
use crate::model::compression::Wanted;
use crate::model::config::Front;
use crate::model::detail::StatusDetail;
use crate::model::route::Head;
use crate::world::LiveService;

/// Answers a request. Never fails: every failure becomes an answer or a cut connection, and is counted.
///
/// Not an `async fn`: all but the attempts is done at once, and the future that waits carries no request.
pub(crate) fn handle(
    client: &Rc<Client>,
    request: Request<Source>,
) -> impl Future<Output = Response<ResponseBody>> + use<> {
    let record = Record::open(client, client.context.world(), clock::now());
    let told = tells_of_http3(&record).then(|| client.clone());
    let (head, source) = request.into_parts();
    match admit(record, head, source) {
        Ok(visit) => Handling::Visiting { visit: visit.run(), told },
        Err(answer) => Handling::answered(*answer, told),
    }
}

/// Whether the answer says that HTTP/3 is spoken too.
fn tells_of_http3(record: &Record) -> bool {
    let client = &record.client;
    client.secured.is_some()
        && client.stream3().is_none()
        && record.world.front(client.listener).is_some_and(Front::has_http3)
}

pin_project! {
    #[project = Handled]
    enum Handling<V> {
        Visiting { #[pin] visit: V, told: Option<Rc<Client>> },
        // Its error page is under way.
        Replaced { coming: Coming, told: Option<Rc<Client>> },
        Answered { answer: Option<Box<Response<ResponseBody>>> },
    }
}

impl<V> Handling<V> {
    fn answered(answer: Response<ResponseBody>, told: Option<Rc<Client>>) -> Self {
        let applied = if error_page::is_due(&answer) { error_page::applied(answer) } else { Ok(answer) };
        match applied {
            Ok(answer) => Self::Answered { answer: Some(Box::new(telling(answer, &told))) },
            Err(coming) => Self::Replaced { coming, told },
        }
    }
}

impl<V: Future<Output = Response<ResponseBody>>> Future for Handling<V> {
    type Output = Response<ResponseBody>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                Handled::Visiting { visit, told } => {
                    let answer = ready!(visit.poll(cx));
                    if !error_page::is_due(&answer) {
                        return Poll::Ready(telling(answer, told));
                    }
                    let told = told.take();
                    self.set(Self::answered(answer, told));
                }
                Handled::Replaced { coming, told } => {
                    return coming.as_mut().poll(cx).map(|answer| telling(answer, told));
                }
                Handled::Answered { answer } => {
                    return answer.take().map_or(Poll::Pending, |answer| Poll::Ready(*answer));
                }
            }
        }
    }
}

/// The answer, and that HTTP/3 is spoken too; unless it says something else of that.
fn telling(mut answer: Response<ResponseBody>, told: &Option<Rc<Client>>) -> Response<ResponseBody> {
    if let Some(client) = told {
        answer.headers_mut().entry(ALT_SVC).or_insert_with(|| client.alternative());
    }
    answer
}

/// What is to become of a request that has come in.
pub(super) enum Turned {
    Away(Failure),
    /// Redirected: status and URL.
    To(u16, String),
    /// Told what a page of another origin may do.
    Preflight,
}

impl From<Failure> for Turned {
    fn from(failure: Failure) -> Self {
        Self::Away(failure)
    }
}

/// Refuses, routes, finds the session, and makes the head ready for a member.
fn admit(
    mut record: Box<Record>,
    mut head: request::Parts,
    source: Source,
) -> Result<Box<Visit>, Box<Response<ResponseBody>>> {
    match session_of(&mut record, &mut head) {
        Ok(session) => {
            let floor = || floor(&record, &session);
            let mut outbound = Outbound::new(head, source, &record, floor);
            let kept = &record.client.context.kept;
            if session.retry.is_some() {
                outbound.keep_body(kept);
            }
            if let Some(mirror) = record.mirror.take() {
                outbound.mirror(mirror, kept);
            }
            Ok(Visit::new(record, outbound, session))
        }
        Err(Turned::Preflight) => Err(Box::new(cors::preflight(record))),
        Err(Turned::To(status, target)) => Err(Box::new(respond::redirect(record, status, &target))),
        Err(Turned::Away(failure)) => Err(Box::new(respond::failure(record, failure))),
    }
}

/// How slowly the body may come. Not where members speak HTTP/2: a call of gRPC may have nothing to say for hours.
fn floor(record: &Record, session: &Session) -> Option<Floor> {
    let rate = record.world.config.proxy.limits.min_body_rate;
    let is_http2 = session.service.config.protocol.is_http2();
    if is_http2 { None } else { Floor::new(&record.client.watched, rate) }
}

fn session_of(record: &mut Record, head: &mut request::Parts) -> Result<Session, Turned> {
    let client = record.client.clone();
    let world = record.world.clone();
    client.canonical(head).map_err(Failure::client)?;
    let seen = Seen::survey(&head.headers);
    let upgrade = screen(head, seen)?;
    origin_form(head, seen, &client)?;
    let not_found = Failure::client(StatusDetail::ConfigNotFound);
    let front = world.front(client.listener).and_then(Front::http).ok_or(not_found)?;
    let trusted = &world.config.proxy.trusted_proxies;
    let address = address::client_address(client.peer.ip(), &head.headers, trusted);
    let route = front.url_map.find(&Head::of(head));
    record.errors = Asked::of(route.action, head, || world.config.places.origin_of(address));
    cors::apply(record, &route, head)?;
    let way = route_action::follow(&route, (&client, &world), head, address)?;
    let service = world.service(way.service).ok_or(not_found)?;
    record.enter(way.service, service);
    record.bound(route.action, &service.config);
    let is_http2 = service.config.protocol.is_http2();
    if is_http2 && upgrade == Upgrade::WebSocket {
        let detail = StatusDetail::WebsocketHandshakeFailed;
        return Err(Failure { stage: Stage::Pick, detail }.into());
    }
    let takes_trailers = is_http2 && headers::takes_trailers(&head.headers);

    let claim = session::claim(&client, service, head, (address, way.fresh));
    let random = client.context.rng.borrow_mut().next();
    let facts = headers::Facts {
        hop: &client.hop,
        keep_upgrade: upgrade == Upgrade::WebSocket,
        trace: (
            u128::from(random) << 64 | u128::from(random.rotate_left(29) ^ record.started.0),
            random >> 1,
        ),
        scratch: &client.context.scratch,
    };
    headers::to_backend(&mut head.headers, seen, &facts);
    if takes_trailers {
        head.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    keep_facts(record, service, head);
    let wanted = service.config.compresses.then(|| Wanted::of(&head.method, &head.headers));
    route_action::rewrite(&route, (&client, &service.config), head)?;
    let edits = Edits { route: way.edits.as_deref(), service: service.config.custom_headers.as_deref() };
    let known = Known { client: &client, places: &world.config.places, address };
    let filled = custom_headers::to_backend(edits, known, head);
    let tunnel = if upgrade == Upgrade::None { None } else { client.tunnel() };
    let origin = world.config.places.origin_of(address);
    record.mirror = (upgrade == Upgrade::None).then(|| Mirror::of(route.action, record, origin)).flatten();
    let (edits, fault) = (way.edits, route_action::fault(route.action, &client));
    Ok(Session {
        service: service.clone(),
        origin,
        claim,
        upgrade,
        tunnel,
        edits,
        filled,
        wanted,
        fault,
        retry: route.action.retry.clone(),
    })
}

/// What is refused or redirected whatever the configuration says [G 6b].
pub(super) fn screen(head: &request::Parts, seen: Seen) -> Result<Upgrade, Turned> {
    let upgrade = refuse(head, seen)?;
    if let Some(path) = headers::normalised_path(head.uri.path()) {
        let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        return Err(Turned::To(302, path + &query));
    }
    Ok(upgrade)
}

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
/// (HTTP/1.0); `Expect` ends here, since it is answered here.
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

/// Keeps what the log line needs, if this request is logged at all.
pub(super) fn keep_facts(record: &mut Record, service: &Arc<LiveService>, head: &request::Parts) {
    if is_logged(&record.client.context, service) {
        record.facts = Some(facts(head, record.client.version(head.version)));
    }
}

/// Whether this request or connection is logged (`logConfig.sampleRate`) [G 8.1].
#[allow(clippy::cast_precision_loss)]
pub(super) fn is_logged(context: &super::context::Context, service: &LiveService) -> bool {
    let sample = service.config.log_sample.get();
    if !context.has_log() || sample <= 0.0 {
        return false;
    }
    sample >= 1.0 || (context.rng.borrow_mut().next() as f64) < sample * u64::MAX as f64
}

fn facts(head: &request::Parts, version: Version) -> Box<Facts> {
    let take = |name: HeaderName| head.headers.get(name).cloned();
    Box::new(Facts {
        method: head.method.clone(),
        version,
        uri: head.uri.clone(),
        host: take(HOST),
        user_agent: take(USER_AGENT),
        referer: take(REFERER),
        trace: take(headers::TRACE_CONTEXT),
    })
}
