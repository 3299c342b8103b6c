//! Kept connections to members, of one worker: no locks, no `Arc`.
//!
//! A connection is not driven by a task of its own: whoever uses it polls it (see `http1::member`), which saves
//! two wake-ups per request. While it is idle nobody polls it; it is looked at before it is written to, and swept once a
//! second, so a member that closes is noticed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::breaker::Held;
use super::http1::member::Conn;
use super::shared::{Seat, SharedPool};
use crate::ledger::service::Service;
use crate::model::unit::{Span, Tick};
use crate::net::connect::Stream;
use crate::world::LiveMember;

/// Idle connections that a worker keeps per member.
pub(crate) const MAX_IDLE_PER_MEMBER: usize = 4096;
/// Idle connections that a worker keeps in total, where the file descriptors suffice.
pub(crate) const MAX_IDLE: usize = 16_384;
/// How long an idle connection is kept [G 5: backend keep-alive 600 s].
pub(crate) const IDLE_TIMEOUT: Span = Span::secs(600);

/// A connection to a member. Boxed, so that moving it between pool, handler and body costs a pointer.
pub(crate) struct Upstream {
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
// Only the box around it moves, and nearly all of them are of the larger kind.
#[allow(clippy::large_enum_variant)]
enum Link {
    /// One request after the other.
    Own(Conn),
    /// One stream of HTTP/2; others drive the connection.
    Seat(Seat),
}

impl Upstream {
    pub(crate) fn new(conn: Conn, member: u32) -> Box<Self> {
        Self::made(Link::Own(conn), member)
    }

    /// A stream of a shared connection.
    pub(crate) fn of_seat(seat: Seat, member: u32) -> Box<Self> {
        let (peer, served) = (seat.peer(), seat.before());
        let mut upstream = Self::made(Link::Seat(seat), member);
        (upstream.peer, upstream.served) = (peer, served);
        upstream
    }

    fn made(link: Link, member: u32) -> Box<Self> {
        Box::new(Self {
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

    /// The connection, if it is not a shared one.
    pub(crate) const fn own(&mut self) -> Option<&mut Conn> {
        match &mut self.link {
            Link::Own(conn) => Some(conn),
            Link::Seat(_) => None,
        }
    }

    /// The socket of a connection after a 101, what of the tunnel's bytes has been read, and the connection's room.
    pub(crate) fn into_socket(self) -> Option<(Stream, Bytes, Option<Held>)> {
        let Link::Own(conn) = self.link else { return None };
        let (socket, early) = conn.into_socket()?;
        Some((socket, early, self.held))
    }

    /// Whether it takes up room of this service.
    fn is_of(&self, service: &Arc<Service>) -> bool {
        self.held.as_ref().is_some_and(|held| held.is_of(service))
    }

    /// Whether it can take a request; looks at the socket.
    fn is_usable(&mut self) -> bool {
        self.own().is_some_and(|conn| conn.is_idle() && conn.is_quiet())
    }
}

/// Idle connections by member number.
#[derive(Default)]
// A connection goes in and out of here at every request, and only its box moves.
#[allow(clippy::vec_box)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<u32, Vec<Box<Upstream>>, BuildHasherDefault<NumberHasher>>>,
    total: Cell<usize>,
    /// As many may be kept as the file descriptors suffice for; `None` = not known.
    spare: Cell<Option<usize>>,
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
        // Whether the member has closed it shows before it is written to; the request then comes back unsent.
        let upstream = stack.pop()?;
        self.total.set(self.total.get().saturating_sub(1));
        Some(upstream)
    }

    /// Keeps a connection that has ended its request, if it can take another.
    pub(crate) fn give(&self, mut upstream: Box<Upstream>, now: Tick) {
        let Link::Own(conn) = &upstream.link else { return };
        let is_idle = conn.is_idle();
        upstream.served += 1;
        let is_spent = !is_idle || upstream.served >= upstream.most;
        if is_spent || self.total.get() >= self.spare.get().unwrap_or(MAX_IDLE).min(MAX_IDLE) {
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

    /// Says for how many idle connections there are file descriptors.
    pub(crate) fn provide(&self, spare: Option<u64>) {
        self.spare.set(spare.map(|spare| usize::try_from(spare).unwrap_or(usize::MAX)));
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

    /// Drops what the member has closed, what has idled too long, and what leads to members that are gone. Looks at the
    /// members of one `part` of so many `parts`: each idle connection costs a system call, and a worker with ten
    /// thousand of them would be held up by all at once.
    pub(crate) fn sweep(&self, now: Tick, (part, parts): (u64, u64), is_member: impl Fn(u32) -> bool) {
        if part == 0 {
            self.shared.sweep(now, IDLE_TIMEOUT, &is_member);
        }
        let mut idle = self.idle.borrow_mut();
        idle.retain(|member, stack| {
            if u64::from(*member) % parts != part {
                return true;
            }
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
