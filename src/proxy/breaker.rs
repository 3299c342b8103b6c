//! Circuit breakers on a request's way: room for a request, for a retry, and for a connection, which can be waited for.
//!
//! A connection of this worker that comes free wakes whoever has waited longest on this worker. Rooms that other
//! workers free are seen at the worker's next pass, about ten times a second; a worker with idle connections gives
//! them up when requests wait elsewhere.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::failure::{Failure, Stage};
use super::pool::Upstream;
use super::serve::Client;
use crate::ledger::breaker::{Limit, Permit};
use crate::ledger::service::Service;
use crate::model::detail::StatusDetail;
use crate::world::{LiveMember, LiveService};

/// 503, and no other member is tried: the limit is the service's.
pub(crate) const OPEN: Failure = Failure { stage: Stage::Pick, detail: StatusDetail::CircuitBreakerOpen };

/// Room under `most`, if that is set.
///
/// # Errors
/// [`OPEN`], and the trip is counted, when there is none.
pub(crate) fn enter(
    client: &Client,
    service: &LiveService,
    limit: Limit,
    most: Option<u32>,
) -> Result<Option<Permit>, Failure> {
    let Some(most) = most else { return Ok(None) };
    if let Some(permit) = Permit::take(&service.ledger, limit, most) {
        return Ok(Some(permit));
    }
    service.ledger.breakers.count_trip(client.context.worker, limit);
    Err(OPEN)
}

/// A connection's room under `maxConnections`. Dropped with the connection; whoever waits on this worker then is woken.
#[derive(Debug)]
pub(crate) struct Held {
    permit: Option<Permit>,
    waiting: Rc<Waiting>,
}

impl Held {
    /// Whether it is room of this service.
    pub(crate) fn is_of(&self, service: &Arc<Service>) -> bool {
        self.permit.as_ref().is_some_and(|permit| Arc::ptr_eq(permit.service(), service))
    }

    /// The connection is idle: somebody may want it, or its room.
    pub(crate) fn offer(&self) {
        if let Some(permit) = &self.permit {
            self.waiting.wake(permit.service());
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let service = permit.service().clone();
            drop(permit);
            self.waiting.wake(&service);
        }
    }
}

/// What a request goes on with.
pub(crate) enum Way {
    /// A kept connection that has come free.
    Kept(Box<Upstream>),
    /// Room for a new one; `None` = connections are not limited.
    New(Option<Held>),
}

/// A connection, or room for one, to a member. Waits while `maxConnections` is reached and
/// `maxPendingRequests` allows it, as long as the request has time.
///
/// # Errors
/// [`OPEN`] when there is no room to wait, or time has run out.
pub(crate) async fn connection(
    client: &Client,
    service: &LiveService,
    (member, may_keep): (&LiveMember, bool),
) -> Result<Way, Failure> {
    let breakers = &service.config.policies.circuit_breakers;
    let Some(most) = breakers.max_connections else { return Ok(Way::New(None)) };
    let context = &client.context;
    let look = || {
        let permit = || Permit::take(&service.ledger, Limit::Connections, most);
        let kept = if may_keep { context.pool.take(member) } else { None };
        if let Some(kept) = kept {
            return Some(Way::Kept(kept));
        }
        // An idle connection to another member makes room for this one.
        let permit =
            permit().or_else(|| (context.pool.evict(&service.ledger, 1) > 0).then(permit).flatten())?;
        Some(Way::New(Some(Held { permit: Some(permit), waiting: context.waiting.clone() })))
    };
    if let Some(way) = look() {
        return Ok(way);
    }
    service.ledger.breakers.count_trip(context.worker, Limit::Connections);
    let most_pending = Some(breakers.max_pending_requests.unwrap_or(u32::MAX));
    let _pending = enter(client, service, Limit::PendingRequests, most_pending)?;
    let place = Place::take(&context.waiting, &service.ledger);
    poll_fn(|cx| {
        place.look_again();
        if client.watched.is_expired() {
            return Poll::Ready(Err(OPEN));
        }
        look().map_or_else(
            || {
                place.wait(cx.waker());
                Poll::Pending
            },
            |way| Poll::Ready(Ok(way)),
        )
    })
    .await
}

/// Requests of one worker that wait for a connection, longest first.
#[derive(Debug, Default)]
pub(crate) struct Waiting(RefCell<VecDeque<Rc<Waiter>>>);

#[derive(Debug)]
struct Waiter {
    service: Arc<Service>,
    waker: RefCell<Option<Waker>>,
    /// Woken, and has not looked yet.
    is_woken: Cell<bool>,
}

impl Waiting {
    /// There may be room for one request of this service.
    fn wake(&self, service: &Arc<Service>) {
        let waiting = self.0.borrow();
        let first = waiting.iter().find(|one| !one.is_woken.get() && Arc::ptr_eq(&one.service, service));
        if let Some(first) = first {
            first.wake();
        }
    }

    /// All look again: other workers may have made room.
    pub(crate) fn wake_all(&self) {
        self.0.borrow().iter().for_each(|one| one.wake());
    }
}

impl Waiter {
    fn wake(&self) {
        self.is_woken.set(true);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// A place in the queue; given up when dropped.
struct Place {
    waiting: Rc<Waiting>,
    waiter: Rc<Waiter>,
}

impl Place {
    fn take(waiting: &Rc<Waiting>, service: &Arc<Service>) -> Self {
        let waiter = Rc::new(Waiter {
            service: service.clone(),
            waker: RefCell::new(None),
            is_woken: Cell::new(false),
        });
        waiting.0.borrow_mut().push_back(waiter.clone());
        Self { waiting: waiting.clone(), waiter }
    }

    fn look_again(&self) {
        self.waiter.is_woken.set(false);
    }

    fn wait(&self, waker: &Waker) {
        *self.waiter.waker.borrow_mut() = Some(waker.clone());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.0.borrow_mut().retain(|one| !Rc::ptr_eq(one, &self.waiter));
        if self.waiter.is_woken.get() {
            // It leaves without having looked: the room is somebody else's.
            self.waiting.wake(&self.waiter.service);
        }
    }
}
