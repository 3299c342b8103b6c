//! One client connection of HTTP/2, in clear with prior knowledge or over TLS, on the worker's own thread: each stream is
//! a task and a client of its own to [`super::handle`].
//!
//! The connection's task reads frames and writes them; [`engine`] holds what they change. A stream's task puts its answer
//! into what is to be written, and is told of windows and resets by its [`stream`]. An idle connection holds no buffer.
//!
//! A stream has its own deadline and its own member. When its time is up, it alone is reset; the connection has a
//! deadline only while it has no streams, or owes a part of a list of headers. It ends with GOAWAY, and streams under
//! way end first.

pub(super) mod allowances;
mod answer;
mod body;
mod engine;
mod frame;
mod hpack;
mod list;
pub(super) mod request;
mod running;
mod stream;
mod tunnel;
mod wire;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderMap, Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};

use self::allowances::Over;
pub(crate) use self::body::Body;
use self::engine::{Engine, Opened, Refusals, Room, Step};
use self::frame::Code;
use self::running::Running;
pub(crate) use self::stream::Stream;
pub(crate) use self::tunnel::Tunnel;
use self::wire::Wire;
use super::body::Source;
use super::handle::handle;
use super::serve::{self, Channel, Client, HEAD_TIMEOUT};
use super::streams::Streams;
use super::watch::NEVER;
use crate::clock;
use crate::ledger::process::Traffic;
use crate::model::unit::{Span, Tick};

/// Bytes that a client may send ahead on one stream.
pub(crate) const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes that a client may send ahead on all streams of a connection: what it can make us hold.
pub(crate) const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of a decoded list of headers that are taken, each header with 32 of its own [RFC 9113 6.5.2]: room for every
/// head that the limit of HTTP/1.1 allows. More is answered with 431.
pub(crate) const MAX_HEADER_LIST: u32 = 72 * 1024;
/// How long a client that was sent away with GOAWAY may open streams, and may take to go once it has none.
const LEAVE: Span = Span::secs(5);

/// What the streams of a connection share.
pub(crate) struct Connection {
    client: Rc<Client>,
    engine: RefCell<Engine>,
    /// Most bytes in a head.
    max_head: usize,
    streams: Streams,
    /// Since when the client owes a part of what comes before a request.
    head_since: Cell<Option<Tick>>,
    /// It has been told that there is something to write.
    is_woken: Cell<bool>,
}

/// Serves a connection until it ends. `client` is the connection itself, `early` what was read from it already.
pub(crate) async fn serve<S: Channel>(client: Rc<Client>, io: S, early: Bytes, max_head: usize) {
    let limits = client.context.world().config.proxy.limits.http2;
    client.context.process.count(client.context.worker, Traffic::Http2Connections);
    let now = clock::now();
    let engine = Engine::new(&limits, client.context.scratch.clone(), now);
    let connection = Rc::new(Connection {
        client,
        engine: RefCell::new(engine),
        max_head,
        streams: Streams::new(LEAVE),
        head_since: Cell::new(Some(now)),
        is_woken: Cell::new(false),
    });
    let mut wire = Wire::new(io, &early);
    drop(early);
    let is_heard = poll_fn(|cx| connection.poll(cx, &mut wire)).await;
    connection.engine.borrow_mut().close();
    connection.count_end();
    if is_heard {
        // So that what was said last is not lost in a reset.
        serve::part(&mut wire.io, &[]).await;
    }
}

impl Connection {
    /// Reads and writes until the connection ends. Whether the client may still hear what was said.
    fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        wire: &mut Wire<S>,
    ) -> Poll<bool> {
        let watched = &self.client.watched;
        watched.register(cx.waker());
        self.is_woken.set(false);
        loop {
            if watched.kill.get() {
                return Poll::Ready(false);
            }
            self.look_whether_to_leave();
            if let Poll::Ready(is_heard) = self.poll_write(cx, wire) {
                return Poll::Ready(is_heard);
            }
            if self.engine.borrow().out.is_overfull() {
                // Whoever does not even read what it gets for its frames is not listened to.
                break;
            }
            let scratch = &self.client.context.scratch;
            match wire.poll_read(cx, scratch, |bytes| self.receive(bytes)) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false) | Err(_)) => return Poll::Ready(false),
                Poll::Pending => break,
            }
        }
        // A client that was sent away has a deadline already.
        let head_since = self.head_since.get().filter(|_| !self.streams.is_leaving());
        watched.set_floor(head_since.map_or(NEVER, |since| since + HEAD_TIMEOUT));
        if watched.is_expired() { Poll::Ready(true) } else { Poll::Pending }
    }

    /// Writes what there is. Ready once nothing more is to be.
    fn poll_write<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        wire: &mut Wire<S>,
    ) -> Poll<bool> {
        let mut engine = self.engine.borrow_mut();
        loop {
            engine.pump();
            if engine.out.is_empty() {
                return if engine.is_ending() { Poll::Ready(true) } else { Poll::Pending };
            }
            match engine.out.poll_write(&mut wire.io, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Takes frames from the front of what has come. Gives how many bytes they were.
    fn receive(self: &Rc<Self>, bytes: &[u8]) -> usize {
        let now = clock::now();
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let step = self.engine.borrow_mut().step(rest, now);
            let Step::Took(length, opened) = step else { break };
            used += length;
            if let Some(opened) = opened {
                self.begin(opened);
            }
        }
        let engine = self.engine.borrow();
        let goes_on = used == 0 || engine.is_in_list();
        let since = self.head_since.get().filter(|_| goes_on).unwrap_or(now);
        let is_in_head = engine.is_in_head(bytes.get(used..).unwrap_or_default());
        drop(engine);
        self.head_since.set(is_in_head.then_some(since));
        self.count_refused();
        used
    }

    /// A request has come on a stream of its own.
    fn begin(self: &Rc<Self>, opened: Box<Opened>) {
        let stream = Stream::new(self.clone(), &opened);
        self.engine.borrow_mut().insert(stream.clone());
        let is_bodiless = opened.is_whole || opened.head.method == Method::CONNECT;
        let body = if is_bodiless { Body::empty() } else { Body::new(stream.clone(), opened.length) };
        let client = Rc::new(Client::of_stream(&self.client, stream.clone()));
        let handled = handle(&client, Request::from_parts(opened.head, Source::Http2(body)));
        let of_task = stream.clone();
        let future = async move { answer::send(&of_task, handled.await).await };
        tokio::task::spawn_local(Running { future, stream });
    }

    /// Sends GOAWAY where it is time to; once.
    fn look_whether_to_leave(&self) {
        let watched = &self.client.watched;
        let is_over_requests = || self.engine.borrow().over() == Some(Over::Requests);
        if (watched.drain.get() || watched.is_expired() || is_over_requests()) && self.streams.leave(watched)
        {
            self.engine.borrow_mut().leave(clock::now());
        }
    }

    /// There is something to write.
    fn wake(&self) {
        if !self.is_woken.replace(true) {
            self.client.watched.wake();
        }
    }

    fn list_of(&self, stream: &Stream, is_last: bool, pack: impl FnOnce(&mut Vec<u8>)) {
        self.engine.borrow_mut().list_of(stream, is_last, pack);
        self.wake();
    }

    fn poll_room(&self, stream: &Rc<Stream>, cx: &Context<'_>) -> Poll<Room> {
        let polled = self.engine.borrow_mut().poll_room(stream, cx);
        if polled.is_pending() {
            self.wake();
        }
        polled
    }

    fn offer(&self, stream: &Rc<Stream>, data: Bytes, is_last: bool) {
        self.engine.borrow_mut().offer(stream, data, is_last);
        self.wake();
    }

    fn reset(&self, stream: &Stream, code: Code) {
        if !stream.is_over() {
            self.engine.borrow_mut().reset(stream.id(), code);
            self.wake();
        }
    }

    /// So much of a stream's body was read.
    fn release_of(&self, stream: &Stream, bytes: usize) {
        let mut engine = self.engine.borrow_mut();
        engine.release_of(stream, bytes);
        let has_more = !engine.out.is_empty();
        drop(engine);
        if has_more {
            self.wake();
        }
    }

    /// Nobody reads a stream's body any more, of which so much was not read.
    fn let_go(&self, stream: &Stream, unread: usize) {
        self.release_of(stream, unread);
        self.engine.borrow_mut().settle(stream);
        self.wake();
    }

    /// A stream's task has ended.
    fn finish(&self, stream: &Stream) {
        let is_through = {
            let down = stream.down.borrow();
            down.has_ended || stream.is_tunnel()
        };
        if !is_through {
            self.reset(stream, Code::Cancel);
        }
    }

    /// What has ended the connection, if it was an allowance.
    fn count_end(&self) {
        let over = self.engine.borrow().over().map(|over| match over {
            Over::Resets => Traffic::Http2OverResets,
            Over::Pings => Traffic::Http2OverPings,
            Over::Settings => Traffic::Http2OverSettings,
            Over::Control => Traffic::Http2OverControl,
            Over::Requests => Traffic::Http2OverRequests,
            Over::Continuations => Traffic::Http2OverContinuations,
            Over::Faults => Traffic::Http2OverFaults,
        });
        if let Some(what) = over {
            self.client.context.process.count(self.client.context.worker, what);
        }
    }

    /// Streams that did not become requests, and why.
    fn count_refused(&self) {
        let refused = std::mem::take(&mut self.engine.borrow_mut().refused);
        if refused == Refusals::default() {
            return;
        }
        let (process, worker) = (&self.client.context.process, self.client.context.worker);
        process.add(worker, Traffic::Http2Refused, refused.all);
        process.add(worker, Traffic::Http2OverStreams, refused.one_too_many);
        process.add(worker, Traffic::Http2OverHeaders, refused.too_long);
    }
}

/// A member's 101 as the answer to a CONNECT: what belongs to the handshake of HTTP/1.1 ends here [RFC 8441 5].
pub(super) fn without_handshake(headers: &mut HeaderMap) {
    for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
        headers.remove(name);
    }
}
