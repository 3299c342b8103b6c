//! Connections of HTTP/2 to members: shared by the requests of a worker, each of which has a seat on one while its
//! stream lasts.
//!
//! A connection stands in the pool from the moment somebody begins to open it: who comes meanwhile waits for it
//! instead of opening another. A task drives it, and keeps nothing of it alive: it ends when the pool has let go of it
//! and the last seat is left.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::body::RequestBody;
use super::breaker::Held;
use super::failure::{Failure, Stage};
use super::forward::{self, MAX_RESPONSE_HEAD};
use super::serve::Client;
use crate::clock;
use crate::ledger::service::Service;
use crate::model::detail::StatusDetail;
use crate::model::service::Protocol;
use crate::model::unit::{Span, Tick};
use crate::net::connect::Stream;
use crate::world::LiveService;

/// Streams of a connection at a time [G 6.3]; fewer where the member says so.
pub(crate) const MAX_STREAMS: usize = 100;
/// Bytes that a member may send ahead on one stream.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes that a member may send ahead on all streams of a connection.
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// Bytes of a request's body that a stream holds for a member that reads slowly.
const SEND_BUFFER: usize = 64 * 1024;

/// A connection.
pub(crate) struct Shared {
    is_tls: bool,
    /// `None` while it is being opened, and for members that are not known by name.
    peer: Cell<Option<IpAddr>>,
    state: OnceCell<Result<SendRequest<RequestBody>, Failure>>,
    waiting: RefCell<Vec<Waker>>,
    /// Streams at a time that the member takes.
    most_at_a_time: Cell<usize>,
    seats: Cell<usize>,
    served: Cell<u64>,
    /// `maxRequestsPerConnection`.
    most: u64,
    /// It has ended.
    is_over: Cell<bool>,
    held: Option<Held>,
    idle_since: Cell<Tick>,
}

/// A stream's place on a connection, given up when dropped.
pub(crate) struct Seat {
    shared: Rc<Shared>,
    /// Requests that had a seat before this one.
    before: u64,
}

/// All of a worker.
#[derive(Default)]
pub(crate) struct SharedPool(RefCell<HashMap<u32, Vec<Rc<Shared>>>>);

impl SharedPool {
    /// A seat on a connection to this member, if one has room. Those to places that the member is not at any more are
    /// let go of, and end with their last stream.
    pub(crate) fn seat(&self, member: u32, leads_there: impl Fn(Option<IpAddr>) -> bool) -> Option<Seat> {
        let mut all = self.0.borrow_mut();
        let list = all.get_mut(&member)?;
        list.retain(|shared| !shared.is_ended() && leads_there(shared.peer.get()));
        list.iter().find(|shared| shared.has_room()).map(Seat::take)
    }

    /// Begins to open a connection to a member and takes a seat on it.
    pub(crate) fn open(
        &self,
        client: &Rc<Client>,
        service: &Arc<LiveService>,
        (place, number): ((u32, u32), u32),
        held: Option<Held>,
    ) -> Seat {
        let most = service.config.policies.circuit_breakers.max_requests_per_connection;
        let shared = Rc::new(Shared {
            is_tls: service.config.protocol == Protocol::Http2,
            peer: Cell::new(None),
            state: OnceCell::new(),
            waiting: RefCell::default(),
            most_at_a_time: Cell::new(MAX_STREAMS),
            seats: Cell::new(0),
            served: Cell::new(0),
            most: most.map_or(u64::MAX, u64::from),
            is_over: Cell::new(false),
            held,
            idle_since: Cell::new(clock::now()),
        });
        let seat = Seat::take(&shared);
        self.0.borrow_mut().entry(number).or_default().push(shared.clone());
        tokio::task::spawn_local(run(Rc::downgrade(&shared), client.clone(), service.clone(), place));
        seat
    }

    /// Lets go of up to `most` connections without streams that take up room of this service; how many there were.
    pub(crate) fn evict(&self, service: &Arc<Service>, most: usize) -> usize {
        let mut evicted = 0;
        for list in self.0.borrow_mut().values_mut() {
            list.retain(|shared| {
                let is_idle = shared.seats.get() == 0 && shared.is_of(service);
                let goes = is_idle && evicted < most;
                evicted += usize::from(goes);
                !goes
            });
        }
        evicted
    }

    /// Lets go of what has ended, what has idled too long, and what leads to members that are gone.
    pub(crate) fn sweep(&self, now: Tick, longest: Span, is_member: impl Fn(u32) -> bool) {
        self.0.borrow_mut().retain(|member, list| {
            let is_member = is_member(*member);
            list.retain(|shared| {
                let is_idle = shared.seats.get() == 0 && now.since(shared.idle_since.get()) >= longest;
                is_member && !is_idle && !shared.is_ended()
            });
            !list.is_empty()
        });
    }
}

impl Shared {
    fn is_ended(&self) -> bool {
        self.is_over.get() || self.served.get() >= self.most || self.has_closed()
    }

    fn has_closed(&self) -> bool {
        match self.state.get() {
            None => false,
            Some(Ok(send)) => send.is_closed(),
            Some(Err(_)) => true,
        }
    }

    fn has_room(&self) -> bool {
        self.seats.get() < self.most_at_a_time.get()
    }

    fn is_of(&self, service: &Arc<Service>) -> bool {
        self.held.as_ref().is_some_and(|held| held.is_of(service))
    }

    fn settle(&self, state: Result<SendRequest<RequestBody>, Failure>) {
        let _ = self.state.set(state);
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

impl Seat {
    fn take(shared: &Rc<Shared>) -> Self {
        shared.seats.set(shared.seats.get() + 1);
        let before = shared.served.replace(shared.served.get() + 1);
        Self { shared: shared.clone(), before }
    }

    /// Requests that had a seat before this one.
    pub(crate) const fn before(&self) -> u64 {
        self.before
    }

    /// Where it leads, for a member that is known by name.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        self.shared.peer.get()
    }

    /// Whether the connection is over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.shared.is_tls
    }

    /// What sends on the connection, once that is open.
    ///
    /// # Errors
    /// Why it could not be opened, or that the request has no time left.
    pub(crate) async fn ready(&self, client: &Client) -> Result<SendRequest<RequestBody>, Failure> {
        poll_fn(|cx| match self.shared.state.get() {
            Some(Ok(send)) => Poll::Ready(Ok(send.clone())),
            Some(Err(failure)) => Poll::Ready(Err(*failure)),
            None if client.watched.is_expired() => {
                Poll::Ready(Err(Failure { stage: Stage::Timeout, detail: StatusDetail::BackendTimeout }))
            }
            None => {
                self.shared.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// No request goes out on this connection any more.
    pub(crate) fn retire(&self) {
        self.shared.is_over.set(true);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.seats.set(shared.seats.get().saturating_sub(1));
        if shared.seats.get() == 0 {
            shared.idle_since.set(clock::now());
        }
        if let Some(held) = &shared.held {
            held.offer();
        }
    }
}

/// Opens a connection and drives it until it ends.
async fn run(shared: Weak<Shared>, client: Rc<Client>, service: Arc<LiveService>, place: (u32, u32)) {
    let opened = open(&client, &service, place).await;
    let Some(alive) = shared.upgrade() else { return };
    let conn = match opened {
        Ok((send, conn, peer)) => {
            alive.peer.set(peer);
            alive.settle(Ok(send));
            conn
        }
        Err(failure) => return alive.settle(Err(failure)),
    };
    drop((alive, client, service));
    let mut conn = pin!(conn);
    poll_fn(|cx| {
        let polled = conn.as_mut().poll(cx);
        if let Some(shared) = shared.upgrade() {
            // 0 once the member has said GOAWAY.
            shared.most_at_a_time.set(conn.current_max_send_streams().min(MAX_STREAMS));
        }
        polled.map(|_| ())
    })
    .await;
    if let Some(shared) = shared.upgrade() {
        shared.is_over.set(true);
    }
}

type Conn = http2::Connection<TokioIo<Stream>, RequestBody, Local>;

async fn open(
    client: &Client,
    service: &LiveService,
    (backend, member): (u32, u32),
) -> Result<(SendRequest<RequestBody>, Conn, Option<IpAddr>), Failure> {
    let failed = Failure { stage: Stage::Connect, detail: StatusDetail::FailedToConnectToBackend };
    let member = service.member(backend, member).ok_or(failed)?;
    let (stream, peer) = forward::open(&client.context, member, service.config.protocol).await?;
    let list = u32::try_from(MAX_RESPONSE_HEAD).unwrap_or(u32::MAX);
    let (send, conn) = http2::Builder::new(Local)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(list)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| failed)?;
    Ok((send, conn, peer))
}

/// Runs what belongs to a connection on the worker's own thread.
#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(Box::pin(future)));
    }
}
