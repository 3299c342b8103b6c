//! One client connection of HTTP/3: quinn below, h3 above it, on the worker's own thread, each stream a client of its own
//! to [`super::handle`], as in HTTP/2.
//!
//! A stream has its own deadline and its own member. When its time is up, it alone is reset; the connection has a
//! deadline only while it has no streams. It ends with GOAWAY, and streams under way end first. Early data is off. A
//! client may change its address: its requests are those of the address that it has when they begin.

mod answer;
mod frames;
mod request;
mod running;
mod signals;
mod transport;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h3::error::Code;
use h3::server::{self, RequestResolver};
use http::{Method, Request};

use self::frames::Fault;
pub(crate) use self::request::Body;
use self::running::Running;
use self::signals::{Shared, Signals};
use self::transport::{Transport, code};
use super::body::Source;
use super::client_cert::ClientCert;
use super::connection::Open;
use super::context::Context;
use super::handle::handle;
use super::handshake::{self, Secured};
use super::http2::MAX_HEADER_LIST;
use super::http2::allowances::Allowance;
use super::serve::{Client, Ends, HEAD_TIMEOUT, max_head};
use super::streams::Streams;
use crate::clock;
use crate::ledger::doors::Place;
use crate::ledger::process::Traffic;
use crate::model::detail::StatusDetail;
use crate::model::unit::{Span, Tick};

/// Requests of one connection in a second.
const REQUESTS_PER_SECOND: u32 = 100_000;
/// Requests that a client may give up in a second, and in how many seconds as many as it may at once.
const RESETS_PER_SECOND: u32 = 50;
const RESETS_AT_ONCE: u32 = 4;
/// How long a client that was sent away with GOAWAY may take to go, once it has no streams.
const LEAVE: Span = Span::secs(1);

/// What the streams of a connection share.
pub(super) struct Connection {
    client: Rc<Client>,
    conn: quinn::Connection,
    shared: Rc<Shared>,
    /// Most bytes in a head.
    max_head: usize,
    streams: Streams,
    /// Streams that have come and that the client does not have the end of.
    open: Cell<u32>,
    /// When the last request ended.
    idle_since: Cell<Tick>,
    resets: RefCell<Allowance>,
    requests: RefCell<Allowance>,
    is_over_requests: Cell<bool>,
}

/// What a stream is to its request's handler.
pub(crate) struct Stream {
    connection: Rc<Connection>,
    /// The answer has no body, whatever it says.
    is_head: Cell<bool>,
}

/// Serves a connection that has come to `local` until it ends. Whoever it does not become one with is told so, or
/// hears nothing.
pub(crate) async fn serve(
    context: Rc<Context>,
    incoming: quinn::Incoming,
    (place, local): (Place, SocketAddr),
    listener: u32,
) {
    let open = Open::new(context, listener);
    open.watched.is_quic.set(true);
    let peer = incoming.remote_address();
    let world = open.context.world();
    let front = world.front(listener).filter(|front| front.has_http3());
    let Some((terms, http)) = front.and_then(|front| Some((front.tls()?, front.http()?))) else {
        return incoming.refuse();
    };
    let terms = terms.clone();
    let config = open.context.quic.of(&terms, http.keep_alive);
    let (max_head, keep_alive) = (max_head(front), http.keep_alive);
    drop(world);
    let shaken = handshake::shake_quic(&open.context, &open.watched, (incoming, config)).await;
    let conn = match shaken {
        Ok(Some(conn)) => conn,
        Ok(None) => return,
        Err(detail) => return handshake::note(&open.context, detail, (listener, peer.ip()), None),
    };
    let local = SocketAddr::new(conn.local_ip().unwrap_or(local.ip()), local.port());
    let (secured, sni) = (Some(Secured::of_quic()), handshake::sni_of_quic(&conn));
    let cert = ClientCert::of_quic(&conn, &terms);
    drop(terms);
    let ends = Ends { listener, peer, local, secured, sni, cert };
    let client = Rc::new(Client::of_quic(&open, place, ends, keep_alive));
    client.watched.set_deadline(clock::now() + keep_alive);
    client.context.process.count(client.context.worker, Traffic::Http3Connections);
    let connection = Connection::new(client, conn, max_head);
    // Boxed: of HTTP/3 alone, and large.
    Box::pin(connection.converse()).await;
}

/// What happens to a connection.
#[allow(clippy::large_enum_variant)] // Never kept: it goes from one function to the next.
enum Event {
    /// GOAWAY is to be sent.
    Leave,
    /// A stream has been opened.
    Arrived(RequestResolver<Transport, Bytes>),
    /// The client has said that there will be no more, and all have been served.
    Served,
    /// It is over.
    End,
}

type Http3 = server::Connection<Transport, Bytes>;

impl Connection {
    fn new(client: Rc<Client>, conn: quinn::Connection, max_head: usize) -> Rc<Self> {
        let now = clock::now();
        Rc::new(Self {
            shared: Shared::new(client.watched.clone()),
            client,
            conn,
            max_head,
            streams: Streams::new(LEAVE),
            open: Cell::new(0),
            idle_since: Cell::new(now),
            resets: RefCell::new(Allowance::new(RESETS_AT_ONCE, RESETS_PER_SECOND, now)),
            requests: RefCell::new(Allowance::new(1, REQUESTS_PER_SECOND, now)),
            is_over_requests: Cell::new(false),
        })
    }

    /// Speaks HTTP/3 until the connection ends.
    async fn converse(self: Rc<Self>) {
        let transport = Transport::new(&self.conn, &self.shared);
        let mut builder = server::builder();
        builder.max_field_section_size(MAX_HEADER_LIST.into()).send_grease(false);
        let building = pin!(builder.build::<_, Bytes>(transport));
        if let Some(Ok(mut http3)) = self.unless_over(building).await {
            self.accept(&mut http3).await;
            // Before h3's own end, which knows no reason.
            self.conn.close(code(self.reason()), b"");
        }
        self.count();
    }

    async fn accept(self: &Rc<Self>, http3: &mut Http3) {
        loop {
            match self.next(http3).await {
                Event::End => return,
                Event::Served => {
                    let served = pin!(poll_fn(|_| {
                        if self.open.get() == 0 { Poll::Ready(()) } else { Poll::Pending }
                    }));
                    self.client.watched.set_deadline(clock::now() + HEAD_TIMEOUT);
                    self.streams.set_leaving();
                    self.unless_over(served).await;
                    return;
                }
                Event::Leave => {
                    self.shared.leave();
                    // The first number that is not served, whether or not anybody has it yet.
                    let told = pin!(http3.shutdown(1));
                    if !matches!(self.unless_over(told).await, Some(Ok(()))) {
                        return;
                    }
                }
                Event::Arrived(resolver) => {
                    let Some(signals) = self.shared.arrived() else { return };
                    self.begin(resolver, signals);
                }
            }
        }
    }

    async fn next(&self, http3: &mut Http3) -> Event {
        let watched = &self.client.watched;
        let mut accepting = pin!(http3.accept());
        poll_fn(|cx| {
            watched.register(cx.waker());
            if watched.kill.get() || self.shared.fault().is_some() {
                return Poll::Ready(Event::End);
            }
            if self.must_leave() {
                return Poll::Ready(Event::Leave);
            }
            match accepting.as_mut().poll(cx) {
                Poll::Ready(Ok(Some(resolver))) => return Poll::Ready(Event::Arrived(resolver)),
                Poll::Ready(Ok(None)) => return Poll::Ready(Event::Served),
                Poll::Ready(Err(_)) => return Poll::Ready(Event::End),
                Poll::Pending => {}
            }
            if self.has_ended() { Poll::Ready(Event::End) } else { Poll::Pending }
        })
        .await
    }

    /// What `future` gives, unless the connection is over before.
    async fn unless_over<F: Future + Unpin>(&self, mut future: F) -> Option<F::Output> {
        let watched = &self.client.watched;
        poll_fn(|cx| {
            watched.register(cx.waker());
            if watched.kill.get() || watched.is_expired() || self.shared.fault().is_some() {
                return Poll::Ready(None);
            }
            Pin::new(&mut future).poll(cx).map(Some)
        })
        .await
    }

    /// Whether GOAWAY is to be sent now; once.
    fn must_leave(&self) -> bool {
        let watched = &self.client.watched;
        let must = watched.drain.get() || watched.is_expired() || self.is_over_requests.get();
        must && self.streams.leave(watched)
    }

    /// Whether a client that was sent away is to go now. It may take its time over what was answered already.
    fn has_ended(&self) -> bool {
        let watched = &self.client.watched;
        if !watched.is_expired() {
            return false;
        }
        let now = clock::now();
        let is_over = self.open.get() == 0 || now.since(self.idle_since.get()) >= HEAD_TIMEOUT;
        if !is_over {
            watched.set_deadline(now + LEAVE);
        }
        is_over
    }

    /// A stream has been opened: the rest of it is a task of its own.
    fn begin(self: &Rc<Self>, resolver: RequestResolver<Transport, Bytes>, signals: Rc<Signals>) {
        let now = clock::now();
        if !self.requests.borrow_mut().take(now) {
            self.is_over_requests.set(true);
        }
        let stream = Stream { connection: self.clone(), is_head: Cell::new(false) };
        let client = Rc::new(Client::of_stream3(&self.client, stream, self.conn.remote_address()));
        client.watched.set_deadline(now + HEAD_TIMEOUT);
        let future = self.clone().answer(resolver, signals.clone(), client.clone());
        let connection = self.clone();
        self.open.set(self.open.get() + 1);
        tokio::task::spawn_local(Box::pin(Running {
            future,
            client,
            signals,
            connection,
            is_read: Cell::new(false),
        }));
    }

    async fn answer(
        self: Rc<Self>,
        resolver: RequestResolver<Transport, Bytes>,
        signals: Rc<Signals>,
        client: Rc<Client>,
    ) {
        let Ok((request, stream)) = resolver.resolve_request().await else { return self.refused() };
        let (mut send, recv) = stream.split();
        let (head, ()) = request.into_parts();
        signals.begin();
        let announced = request::announced(&head);
        let mut body = Box::new(Body::new(recv, announced, signals.clone(), client.watched.clone()));
        if announced.is_none()
            && request::is_bodiless(&head.method)
            && poll_fn(|cx| body.poll_first(cx)).await.is_err()
        {
            return self.refused();
        }
        let is_head = head.method == Method::HEAD;
        if let Some(stream) = client.stream3() {
            stream.is_head.set(is_head);
        }
        let request = Request::from_parts(head, Source::Http3(body));
        let answer = handle(&client, request).await;
        drop(client);
        if answer::send(answer, &mut send, is_head).await.is_err() {
            return;
        }
        // The connection must not end before the client has what was sent on it.
        drop(send);
        poll_fn(|cx| signals.poll_both(cx)).await;
    }

    /// A stream that did not become a request.
    fn refused(&self) {
        let context = &self.client.context;
        context.process.count(context.worker, Traffic::Http3Refused);
    }

    /// A client does not want an answer that it asked for.
    fn given_up(&self) {
        if !self.resets.borrow_mut().take(clock::now()) {
            self.shared.fail(Fault::Resets);
        }
    }

    /// The client has all of a stream, or will not get it.
    fn close_stream(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        if self.streams.is_leaving() && self.open.get() == 0 {
            self.client.watched.wake();
        }
    }

    /// The connection is to end after the streams under way.
    fn leave(&self) {
        self.client.watched.ask_to_end();
    }

    /// What the client is told at the end.
    fn reason(&self) -> Code {
        match self.shared.fault() {
            None => Code::H3_NO_ERROR,
            Some(Fault::Cut) => Code::H3_FRAME_ERROR,
            Some(Fault::TooLong | Fault::Control | Fault::Resets) => Code::H3_EXCESSIVE_LOAD,
        }
    }

    fn count(&self) {
        let (process, worker) = (&self.client.context.process, self.client.context.worker);
        match self.shared.fault() {
            Some(Fault::Resets) => process.count(worker, Traffic::Http3OverResets),
            Some(Fault::Control) => process.count(worker, Traffic::Http3OverControl),
            Some(Fault::TooLong | Fault::Cut) => process.count(worker, Traffic::Http3OverFaults),
            None if self.is_over_requests.get() => process.count(worker, Traffic::Http3OverRequests),
            None => {}
        }
    }
}

impl Stream {
    /// Its request is under way.
    pub(super) fn begin(&self, keep_alive: Option<Span>) {
        self.connection.streams.begin(&self.connection.client, keep_alive);
    }

    /// Its answer is handed over, or nobody waits for it any more.
    pub(super) fn end(&self, now: Tick) {
        self.connection.streams.end(&self.connection.client, now);
        self.connection.idle_since.set(now);
    }

    /// The answer has no body, whatever it says.
    pub(super) fn is_head(&self) -> bool {
        self.is_head.get()
    }

    /// Makes a head one of HTTP/1.1.
    ///
    /// # Errors
    /// Why the request is refused.
    pub(super) fn canonical(&self, head: &mut http::request::Parts) -> Result<(), StatusDetail> {
        request::canonical(head, self.connection.max_head)
    }
}
