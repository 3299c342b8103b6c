//! Kept connections to members, of one worker: no locks, no `Arc`.
//!
//! A connection is not driven by a task of its own: whoever uses it polls it (see [`super::forward`] and
//! `driven`), which saves two wake-ups per request. While it is idle nobody polls it; it is looked at when taken
//! out and swept once a second, so a member that closes is noticed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;

use super::body::RequestBody;
use super::breaker::Held;
use super::driven::Driven;
use super::shared::{Seat, SharedPool};
use crate::ledger::service::Service;
use crate::model::unit::{Span, Tick};
use crate::net::connect::Stream;
use crate::world::LiveMember;

/// Idle connections that a worker keeps per member.
pub(crate) const MAX_IDLE_PER_MEMBER: usize = 4096;
/// Idle connections that a worker keeps in total.
pub(crate) const MAX_IDLE: usize = 16_384;
/// How long an idle connection is kept [G 5: backend keep-alive 600 s].
pub(crate) const IDLE_TIMEOUT: Span = Span::secs(600);

/// Hyper's side of a connection to a member.
pub(crate) type Conn = http1::Connection<TokioIo<Stream>, RequestBody>;

/// What hyper makes of a request.
pub(crate) type Answer = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// A connection to a member. Boxed, so that moving it between pool, handler and body costs a pointer.
pub(crate) struct Upstream {
    /// `None` once it was dropped after its end.
    conn: Option<Driven<Conn>>,
    /// Hyper has done with it: it has ended, or its socket is to be a tunnel's.
    has_ended: bool,
    link: Link,
    /// Number of the member that it leads to.
    member: u32,
    /// Where it leads, for a member that is known by name: the name may lead elsewhere by now.
    pub(crate) peer: Option<IpAddr>,
    /// Requests that it has served.
    served: u64,
    /// `maxRequestsPerConnection`: it is not kept beyond so many.
    pub(crate) most: u64,
    /// Its room under `maxConnections`; `None` = not limited.
    pub(crate) held: Option<Held>,
    idle_since: Tick,
}

/// What sends on a connection.
enum Link {
    /// One request after the other.
    Own(http1::SendRequest<RequestBody>),
    /// One stream of HTTP/2; others drive the connection.
    Seat(Seat),
}

impl Upstream {
    pub(crate) fn new(conn: Conn, send: http1::SendRequest<RequestBody>, member: u32) -> Box<Self> {
        Self::made(Some(conn), Link::Own(send), member)
    }

    /// A stream of a shared connection.
    pub(crate) fn of_seat(seat: Seat, member: u32) -> Box<Self> {
        let (peer, served) = (seat.peer(), seat.before());
        let mut upstream = Self::made(None, Link::Seat(seat), member);
        (upstream.peer, upstream.served) = (peer, served);
        upstream
    }

    fn made(conn: Option<Conn>, link: Link, member: u32) -> Box<Self> {
        Box::new(Self {
            has_ended: conn.is_none(),
            conn: conn.map(Driven::new),
            link,
            member,
            peer: None,
            served: 0,
            most: u64::MAX,
            held: None,
            idle_since: Tick(0),
        })
    }

    /// Its place on a shared connection.
    pub(crate) const fn seat(&self) -> Option<&Seat> {
        match &self.link {
            Link::Own(_) => None,
            Link::Seat(seat) => Some(seat),
        }
    }

    /// Requests that it had served before this one.
    pub(crate) const fn served(&self) -> u64 {
        self.served
    }

    /// Hands a request to a connection of its own, to be driven now; `None` on a shared one.
    pub(crate) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Option<impl Future<Output = Answer> + use<>> {
        let (Link::Own(send), Some(conn)) = (&mut self.link, &self.conn) else { return None };
        Some(conn.muted(|| send.try_send_request(request)))
    }

    /// Asks for the next piece of what comes on this connection. That of one of its own comes only while it is driven:
    /// nobody has to be woken for it, neither here nor there.
    pub(crate) fn poll_on<T>(
        &self,
        cx: &mut TaskContext<'_>,
        poll: impl FnOnce(&mut TaskContext<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match &self.conn {
            Some(conn) => conn.muted(|| poll(&mut TaskContext::from_waker(Waker::noop()))),
            None => poll(cx),
        }
    }

    fn is_ready(&self) -> bool {
        matches!(&self.link, Link::Own(send) if send.is_ready())
    }

    /// Drives the connection. What went wrong, if it has ended, is told by whatever waits for an answer on it.
    pub(crate) fn drive(&mut self, cx: &TaskContext<'_>) {
        if !self.has_ended {
            self.has_ended = self.conn.as_mut().is_none_or(|conn| conn.poll(cx).is_ready());
        }
    }

    /// Wakes `cx` if the connection is to be driven again.
    pub(crate) fn remind(&self, cx: &TaskContext<'_>) {
        if let (Some(conn), false) = (&self.conn, self.has_ended) {
            conn.remind(cx);
        }
    }

    /// Drives the connection until it has ended.
    pub(crate) fn poll_end(&mut self, cx: &TaskContext<'_>) -> Poll<()> {
        self.drive(cx);
        if self.has_ended { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Drops a connection that has ended; hyper then gives back a request that it had not sent. Whether there was one.
    pub(crate) fn bury(&mut self) -> bool {
        self.has_ended && self.conn.take().is_some()
    }

    /// The socket of a connection that hyper has done with after a 101, what of the tunnel's bytes it has read, and the
    /// connection's room.
    pub(crate) fn into_socket(self) -> Option<(Stream, Bytes, Option<Held>)> {
        let parts = self.conn?.into_inner().into_parts();
        Some((parts.io.into_inner(), parts.read_buf, self.held))
    }

    /// Whether it takes up room of this service.
    fn is_of(&self, service: &Arc<Service>) -> bool {
        self.held.as_ref().is_some_and(|held| held.is_of(service))
    }

    /// Whether it can take a request; looks at the socket.
    fn is_usable(&mut self) -> bool {
        self.drive(&TaskContext::from_waker(Waker::noop()));
        !self.has_ended && self.is_ready()
    }
}

/// Idle connections by member number.
#[derive(Default)]
// A connection is some kilobytes; it goes in and out of here at every request, and only its box moves.
#[allow(clippy::vec_box)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<u32, Vec<Box<Upstream>>, BuildHasherDefault<NumberHasher>>>,
    total: Cell<usize>,
    /// Connections of HTTP/2.
    pub(crate) shared: SharedPool,
    /// Whether a connection with room under a limit was ever kept here.
    has_limited: Cell<bool>,
}

impl Pool {
    /// The connection used last, if one still lives; or a seat on a shared one. None to an address that the member's
    /// name does not lead to any more: what is found of those is not kept.
    pub(crate) fn take(&self, member: &LiveMember) -> Option<Box<Upstream>> {
        let number = member.numbered.number;
        let resolution = member.endpoint.resolution.as_ref();
        let leads_there =
            |peer: Option<IpAddr>| peer.zip(resolution).is_none_or(|(peer, known)| known.has(peer));
        while let Some(upstream) = self.take_own(number) {
            if leads_there(upstream.peer) {
                return Some(upstream);
            }
        }
        self.shared.seat(number, leads_there).map(|seat| Upstream::of_seat(seat, number))
    }

    fn take_own(&self, member: u32) -> Option<Box<Upstream>> {
        let mut idle = self.idle.borrow_mut();
        let stack = idle.get_mut(&member)?;
        while let Some(upstream) = stack.pop() {
            self.total.set(self.total.get().saturating_sub(1));
            // Whether the member has closed it shows when it is first driven; the request then comes back unsent.
            if !upstream.has_ended && upstream.is_ready() {
                return Some(upstream);
            }
        }
        None
    }

    /// Keeps a connection that has ended its request, if it can take another.
    pub(crate) fn give(&self, mut upstream: Box<Upstream>, now: Tick) {
        if upstream.seat().is_some() {
            return;
        }
        if let Some(conn) = &upstream.conn {
            conn.leave();
        }
        if !upstream.is_ready() {
            // Hyper has to see the end of the message before it is ready for the next.
            upstream.drive(&TaskContext::from_waker(Waker::noop()));
        }
        upstream.served += 1;
        let is_spent = upstream.has_ended || !upstream.is_ready() || upstream.served >= upstream.most;
        if is_spent || self.total.get() >= MAX_IDLE {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let stack = idle.entry(upstream.member).or_default();
        if stack.len() < MAX_IDLE_PER_MEMBER {
            upstream.idle_since = now;
            if let Some(held) = &upstream.held {
                held.offer();
                self.has_limited.set(true);
            }
            stack.push(upstream);
            self.total.set(self.total.get() + 1);
        }
    }

    /// Whether idle connections may take up room that others wait for.
    pub(crate) const fn has_limited(&self) -> bool {
        self.has_limited.get()
    }

    /// A connection with room under a limit is kept in the pool.
    pub(crate) fn note_limited(&self, is_limited: bool) {
        self.has_limited.set(self.has_limited.get() || is_limited);
    }

    /// Closes up to `most` idle connections that take up room of this service, the longest idle of a member first; how
    /// many there were.
    pub(crate) fn evict(&self, service: &Arc<Service>, most: usize) -> usize {
        let mut evicted = Vec::new();
        for stack in self.idle.borrow_mut().values_mut() {
            while evicted.len() < most && stack.first().is_some_and(|one| one.is_of(service)) {
                evicted.push(stack.remove(0));
            }
        }
        self.total.set(self.total.get().saturating_sub(evicted.len()));
        evicted.len() + self.shared.evict(service, most.saturating_sub(evicted.len()))
    }

    /// Drops what the member has closed, what has idled too long, and what leads to members that are gone.
    pub(crate) fn sweep(&self, now: Tick, is_member: impl Fn(u32) -> bool) {
        self.shared.sweep(now, IDLE_TIMEOUT, &is_member);
        let mut idle = self.idle.borrow_mut();
        idle.retain(|member, stack| {
            if !is_member(*member) {
                stack.clear();
            }
            stack
                .retain_mut(|upstream| now.since(upstream.idle_since) < IDLE_TIMEOUT && upstream.is_usable());
            !stack.is_empty()
        });
        self.total.set(idle.values().map(Vec::len).sum());
    }
}

/// Member numbers are small and dense: spreading them is enough of a hash.
#[derive(Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
