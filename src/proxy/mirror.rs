//! `requestMirrorPolicy`: a copy of a request goes to another service, and nobody hears what that says [G 7c].
//!
//! A copy is a task of its own on the same worker. It starts when its request is sent first, or when the request's body
//! has come whole, and the request never waits for it. It is sent once. On the service that it goes to it is load
//! like any other: it has a lease, takes room of the gate, and is in flight. It is nobody's request, though: it is
//! not in the log, and its status is not among what clients got.

use std::future::poll_fn;
use std::net::Ipv6Addr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::header::{HOST, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;

use super::body::RequestBody;
use super::breaker::{self, Way};
use super::context::Current;
use super::failure::Failure;
use super::forward;
use super::kept::{Copying, Kept};
use super::live::Numbers;
use super::pool::Upstream;
use super::record::Record;
use super::serve::Client;
use crate::balance::pick::{self, Ask};
use crate::clock;
use crate::ledger::breaker::Limit;
use crate::ledger::lease::Lease;
use crate::ledger::member::Count;
use crate::ledger::service::Mirrored;
use crate::model::config::ServiceId;
use crate::model::place::OriginId;
use crate::model::route::action::Action;
use crate::world::{LiveMember, LiveService};

/// Copies under way on a worker. Above, a request is not copied.
pub(crate) const MAX_COPIES: usize = 512;
/// How much of an answer is read, so that its connection can be kept. Of a longer one, the connection is closed.
const MAX_ANSWER: usize = 1024 * 1024;

/// Who gets a copy.
pub(crate) struct Mirror {
    client: Rc<Client>,
    world: Rc<Current>,
    service: Arc<LiveService>,
    id: ServiceId,
    origin: OriginId,
}

impl Mirror {
    /// Throws the dice for `mirrorPercent`.
    pub(super) fn of(action: &Action, record: &Record, origin: OriginId) -> Option<Box<Self>> {
        let policy = action.mirror?;
        let client = &record.client;
        if policy.share < 1.0 && client.context.rng.borrow_mut().unit() >= policy.share {
            return None;
        }
        let service = record.world.service(policy.service)?.clone();
        let world = record.world.clone();
        Some(Box::new(Self { client: client.clone(), world, service, id: policy.service, origin }))
    }

    /// Copies a request that is about to be sent. `copying`: its body, if it has one.
    pub(super) fn launch(self, request: &Request<RequestBody>, copying: Option<&Copying>) {
        let Self { client, world, service, id, origin } = self;
        let context = client.context.clone();
        if context.copies.get() >= MAX_COPIES {
            service.ledger.count_mirrored(context.worker, Mirrored::NoRoom);
            return;
        }
        context.copies.set(context.copies.get() + 1);
        let mut headers = request.headers().clone();
        shadow(&mut headers);
        if !service.config.protocol.is_http2() {
            headers.remove(TE);
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let client = Rc::new(Client::of_copy(&client));
        let result = Mirrored::Failed;
        let mut copy =
            Box::new(Copy { client, world, service, id, origin, result, head: Some((method, uri, headers)) });
        let Some(copying) = copying else { return copy.start(RequestBody::Empty) };
        copying.then(Box::new(move |kept: Option<Kept>| match kept {
            Some(kept) => copy.start(RequestBody::Kept(Some(kept))),
            None => copy.result = Mirrored::TooLarge,
        }));
    }
}

/// `-shadow` behind the name of the host, as Envoy has it; an address of IPv6 stays.
fn shadow(headers: &mut HeaderMap) {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return };
    let (name, port) = host.rsplit_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    if host.starts_with('[') || host.parse::<Ipv6Addr>().is_ok() {
        return;
    }
    let text = port.map_or_else(|| format!("{name}-shadow"), |port| format!("{name}-shadow:{port}"));
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(HOST, value);
    }
}

/// A copy. However it ends, it is counted once, by being dropped.
struct Copy {
    /// One of its own: the request's deadlines are not the copy's.
    client: Rc<Client>,
    world: Rc<Current>,
    service: Arc<LiveService>,
    id: ServiceId,
    origin: OriginId,
    head: Option<(Method, Uri, HeaderMap)>,
    result: Mirrored,
}

impl Drop for Copy {
    fn drop(&mut self) {
        let context = &self.client.context;
        context.copies.set(context.copies.get().saturating_sub(1));
        self.client.watched.forget();
        self.service.ledger.count_mirrored(context.worker, self.result);
    }
}

impl Copy {
    fn start(mut self: Box<Self>, body: RequestBody) {
        drop(tokio::task::spawn_local(async move {
            if let Err(result) = Box::pin(self.run(body)).await {
                self.result = result;
            } else {
                self.result = Mirrored::Answered;
            }
        }));
    }

    async fn run(&mut self, body: RequestBody) -> Result<(), Mirrored> {
        let Some((method, uri, headers)) = self.head.take() else { return Err(Mirrored::Failed) };
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        let most = self.service.config.policies.circuit_breakers.max_requests;
        let entered = breaker::enter(&self.client, &self.service, Limit::Requests, most);
        let _permit = entered.map_err(|_| Mirrored::NoRoom)?;
        let (place, lease) = self.place().ok_or(Mirrored::NoMember)?;
        let member = self.service.member(place.0, place.1).ok_or(Mirrored::NoMember)?;
        let mut answered = self.attempt((place, member, true), request).await;
        if let Err(Some(unsent)) = answered {
            // The kept connection was dead.
            answered = self.attempt((place, member, false), *unsent).await;
        }
        answered.map_err(|_| {
            lease.count(Count::Failed);
            Mirrored::Failed
        })
    }

    /// Chooses a member and takes its lease.
    fn place(&self) -> Option<((u32, u32), Lease)> {
        let (context, now) = (&self.client.context, clock::now());
        let backends = &self.service.backends;
        let turn = self.service.ledger.turn.next();
        let ask = Ask { origin: self.origin, key: None, pinned: None, turn, tried: &[] };
        let of = (self.world.generation, self.id);
        let mut numbers = Numbers { backends, now, is_first: true, pools: &context.pools, of };
        let pick = pick::choose(&self.service.plan.load(), ask, &mut numbers).ok()?;
        let backend = backends.get(pick.backend as usize)?;
        let member = backend.members.get(pick.member as usize)?;
        let lease = Lease::take(backend.ledger.clone(), member.numbered.member.clone(), context.worker);
        let config = &self.service.config;
        self.client.watched.set_served_by(Some((member.numbered.number, config.draining_timeout)));
        self.client.watched.set_deadline(now + config.timeout);
        Some(((pick.backend, pick.member), lease))
    }

    /// Sends it, and reads what nobody wants to know. What never went out comes back.
    async fn attempt(
        &self,
        (place, member, may_keep): ((u32, u32), &LiveMember, bool),
        request: Request<RequestBody>,
    ) -> Result<(), Option<Box<Request<RequestBody>>>> {
        let mut upstream = self.connect(place, (member, may_keep)).await.map_err(|_| None)?;
        let sent = if upstream.seat().is_some() {
            forward::send_shared(&self.client, &mut upstream, request, None).await
        } else {
            forward::send(&self.client, &mut upstream, request, None).ok_or(None)?.await
        };
        let answer = sent.map_err(|failed| failed.unsent)?;
        if self.read(&mut upstream, answer).await {
            self.client.context.pool.give(upstream, clock::now());
        }
        Ok(())
    }

    async fn connect(
        &self,
        place: (u32, u32),
        (member, may_keep): (&LiveMember, bool),
    ) -> Result<Box<Upstream>, Failure> {
        let (client, service) = (&self.client, &self.service);
        poll_fn(|cx| {
            client.watched.register(cx.waker());
            Poll::Ready(())
        })
        .await;
        let number = member.numbered.number;
        let pool = &client.context.pool;
        let kept = if may_keep { pool.take(number) } else { None };
        if let Some(upstream) = kept {
            return Ok(upstream);
        }
        let held = match breaker::connection(client, service, (number, may_keep)).await? {
            Way::Kept(upstream) => return Ok(upstream),
            Way::New(held) => held,
        };
        if service.config.protocol.is_http2() {
            pool.note_limited(held.is_some());
            return Ok(Upstream::of_seat(pool.shared.open(client, service, (place, number), held), number));
        }
        let mut upstream = forward::connect_to(client, member, service.config.protocol).await?;
        upstream.held = held;
        let most = service.config.policies.circuit_breakers.max_requests_per_connection;
        upstream.most = most.map_or(u64::MAX, u64::from);
        Ok(upstream)
    }

    /// Whether the answer ended well, and soon enough.
    async fn read(&self, upstream: &mut Upstream, answer: Response<Incoming>) -> bool {
        let mut body = answer.into_body();
        let mut left = MAX_ANSWER;
        poll_fn(|cx| {
            upstream.drive(cx);
            loop {
                match Pin::new(&mut body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        let length = frame.data_ref().map_or(0, bytes::Bytes::len);
                        let Some(rest) = left.checked_sub(length) else { return Poll::Ready(false) };
                        left = rest;
                        upstream.drive(cx);
                    }
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                    Poll::Pending if self.client.watched.is_expired() => return Poll::Ready(false),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn g_7c_the_host_of_a_copy_is_a_shadow() {
        for (host, want) in [
            ("a.test", "a.test-shadow"),
            ("a.test:8080", "a.test-shadow:8080"),
            ("127.0.0.1", "127.0.0.1-shadow"),
            ("[::1]:80", "[::1]:80"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            shadow(&mut headers);
            assert_eq!(headers.get(HOST).unwrap(), want);
        }
    }
}
