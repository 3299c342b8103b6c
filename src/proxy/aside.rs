//! Requests of our own making: copies for `requestMirrorPolicy`, and pages for `errorService` [G 5.10, 7c].
//!
//! On the service that it goes to such a request is load like any other: it has a lease, takes room of the gate, and is
//! in flight. It is nobody's request, though: it is not in the log, and its status is not among what clients got. It is
//! sent once, with deadlines of its own.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response, response};

use super::arriving::Arriving;
use super::body::RequestBody;
use super::breaker;
use super::context::Current;
use super::failure::{Failure, Stage};
use super::forward;
use super::http1::member::Outgoing;
use super::live::Numbers;
use super::pool::Upstream;
use super::serve::Client;
use crate::balance::pick::{self, Ask};
use crate::clock;
use crate::ledger::breaker::Limit;
use crate::ledger::lease::Lease;
use crate::ledger::member::Count;
use crate::model::config::ServiceId;
use crate::model::place::OriginId;
use crate::model::unit::Span;
use crate::world::{LiveMember, LiveService};

/// A request to one service.
pub(super) struct Aside {
    /// One of its own: the deadlines of the client's request are not this one's.
    client: Rc<Client>,
    world: Rc<Current>,
    service: Arc<LiveService>,
    id: ServiceId,
    origin: OriginId,
}

/// How long it may take, and what becomes of the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// From the choice of a member on; the service's `timeoutSec` and `maxStreamDuration` if they are shorter.
    pub(super) timeout: Span,
    /// Bytes of the answer that are read. Of a longer one, the connection is closed.
    pub(super) most: usize,
    /// Whether somebody wants to know what it says.
    pub(super) is_kept: bool,
}

/// An answer.
pub(super) struct Said {
    pub(super) head: response::Parts,
    /// Nothing, if it is not kept.
    pub(super) body: Vec<u8>,
    /// Whether all of it has come, in time and within the limit.
    pub(super) is_whole: bool,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missed {
    /// A circuit breaker is open.
    NoRoom,
    /// No member can take it.
    NoMember,
    /// It was not answered, or not in time.
    Failed,
}

/// A member's place.
type Place = (u32, u32);

impl Aside {
    /// On behalf of a client from `origin`. `None` for a service that the world does not have.
    pub(super) fn new(
        client: &Client,
        world: Rc<Current>,
        (id, origin): (ServiceId, OriginId),
    ) -> Option<Self> {
        let service = world.service(id)?.clone();
        Some(Self { client: Rc::new(Client::of_copy(client)), world, service, id, origin })
    }

    /// The service that it goes to.
    pub(super) const fn service(&self) -> &Arc<LiveService> {
        &self.service
    }

    /// Sends a request whose body is kept, or empty.
    pub(super) async fn ask(&self, request: Request<RequestBody>, terms: Terms) -> Result<Said, Missed> {
        let most = self.service.config.policies.circuit_breakers.max_requests;
        let entered = breaker::enter(&self.client, &self.service, Limit::Requests, most);
        let _permit = entered.map_err(|_| Missed::NoRoom)?;
        let (place, lease) = self.place(terms.timeout).ok_or(Missed::NoMember)?;
        let member = self.service.member(place.0, place.1).ok_or(Missed::NoMember)?;
        let mut answered = self.attempt((place, member, true), Box::new(request), terms).await;
        if let Err(Some(unsent)) = answered {
            // The kept connection was dead.
            answered = self.attempt((place, member, false), unsent, terms).await;
        }
        answered.map_err(|_| {
            lease.count(Count::Failed);
            Missed::Failed
        })
    }

    /// Chooses a member and takes its lease.
    fn place(&self, timeout: Span) -> Option<(Place, Lease)> {
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
        let longest = config.timeout.min(config.longest.unwrap_or(timeout)).min(timeout);
        self.client.watched.set_deadline(now + longest);
        Some(((pick.backend, pick.member), lease))
    }

    /// Sends it, and reads the answer. What never went out comes back.
    async fn attempt(
        &self,
        (place, member, may_keep): (Place, &LiveMember, bool),
        mut request: Box<Request<RequestBody>>,
        terms: Terms,
    ) -> Result<Said, Option<Box<Request<RequestBody>>>> {
        let mut upstream = self.connect(place, (member, may_keep)).await.map_err(|_| None)?;
        let answer = if upstream.seat().is_some() {
            let sent = forward::send_shared(&self.client, &mut upstream, request, None).await;
            sent.map_err(|failed| failed.unsent)?
        } else {
            let mut outgoing = Outgoing::of(&mut request);
            let sent = forward::send(&self.client, &mut upstream, &mut outgoing, None).ok_or(None)?.await;
            sent.map_err(|failed| {
                *request.body_mut() = outgoing.take_body();
                (failed.failure.stage == Stage::Unsent).then_some(request)
            })?
        };
        let said = self.read(&mut upstream, answer, terms).await;
        if said.is_whole {
            self.client.context.pool.give(upstream, clock::now());
        }
        Ok(said)
    }

    async fn connect(
        &self,
        place: Place,
        (member, may_keep): (&LiveMember, bool),
    ) -> Result<Box<Upstream>, Failure> {
        let client = &self.client;
        poll_fn(|cx| {
            client.watched.register(cx.waker());
            Poll::Ready(())
        })
        .await;
        let kept = if may_keep { client.context.pool.take(member) } else { None };
        match kept {
            Some(upstream) => Ok(upstream),
            None => forward::fresh(client, &self.service, place, may_keep).await,
        }
    }

    async fn read(&self, upstream: &mut Upstream, answer: Response<Arriving>, terms: Terms) -> Said {
        let (head, mut arriving) = answer.into_parts();
        let mut body = Vec::new();
        let mut left = terms.most;
        let is_whole = poll_fn(|cx| {
            loop {
                match arriving.poll_frame(Some(upstream), cx, &self.client.context.scratch) {
                    Poll::Ready(Some(Ok(frame))) => {
                        let data = frame.into_data().unwrap_or_else(|_| Bytes::new());
                        let Some(rest) = left.checked_sub(data.len()) else { return Poll::Ready(false) };
                        left = rest;
                        if terms.is_kept {
                            body.extend_from_slice(&data);
                        }
                    }
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                    Poll::Pending if self.client.watched.is_expired() => return Poll::Ready(false),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        Said { head, body, is_whole }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.client.watched.forget();
    }
}
