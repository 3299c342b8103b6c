//! One client connection of HTTP/2, in clear with prior knowledge or over TLS: hyper's server on the worker's own
//! thread, each stream a client of its own to [`super::handle`].
//!
//! A stream has its own deadline and its own member. When its time is up, it alone is reset; the connection has a
//! deadline only while it has no streams, or owes a part of a list of headers. It ends with GOAWAY, and streams under
//! way end first.

pub(super) mod frames;
mod io;
pub(super) mod request;

use std::cell::{Cell, OnceCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};

use self::frames::Over;
use self::io::{CountedIo, Shared};
use super::body::{ResponseBody, Source};
use super::handle::handle;
use super::serve::{Client, HEAD_TIMEOUT};
use super::streams::Streams;
use crate::ledger::process::Traffic;
use crate::model::detail::StatusDetail;
use crate::model::unit::{Span, Tick};

/// Streams that a client may make us reset by breaking the rules on them, over the life of a connection
/// (CVE-2025-8671). h2 then ends it. It counts refused streams too, and a client may open many before it learns how
/// many it may.
pub(crate) const MAX_FAULTS: usize = 500;
/// Bytes that a client may send ahead on one stream.
pub(crate) const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes that a client may send ahead on all streams of a connection: what it can make us hold.
pub(crate) const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of an answer that a stream holds for a client that reads slowly.
pub(crate) const SEND_BUFFER: usize = 64 * 1024;
/// Bytes of a decoded list of headers that h2 takes, each header with 32 of its own [RFC 9113 6.5.2]: room for every
/// head that the limit of HTTP/1.1 allows. More is answered by h2 with 431.
pub(crate) const MAX_HEADER_LIST: u32 = 72 * 1024;
/// How long a client that was sent away with GOAWAY may take to go, once it has no streams.
const LEAVE: Span = Span::secs(5);

/// What the streams of a connection share.
pub(crate) struct Connection {
    client: Rc<Client>,
    frames: Rc<Shared>,
    /// Most bytes in a head.
    max_head: usize,
    streams: Streams,
    /// Streams that have come through h2.
    served: Cell<u64>,
    /// The stream whose request was just handed to us, for the task that is about to be made of it.
    called: Cell<Option<Rc<Client>>>,
}

/// What a stream is to its request's handler.
pub(crate) struct Stream {
    connection: Rc<Connection>,
    /// Hyper would send a body with the answer.
    is_head: Cell<bool>,
    /// What a member must say to the handshake of this WebSocket.
    accept: OnceCell<HeaderValue>,
}

/// Serves a connection until it ends. `client` is the connection itself, `early` what was read from it already.
pub(crate) async fn serve<S>(client: Rc<Client>, io: S, early: Bytes, max_head: usize)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let limits = client.context.world().config.proxy.limits.http2;
    let (io, frames) = CountedIo::new(io, early, &limits);
    client.context.process.count(client.context.worker, Traffic::Http2Connections);
    let connection = Rc::new(Connection {
        client,
        frames,
        max_head,
        streams: Streams::new(LEAVE),
        served: Cell::new(0),
        called: Cell::new(None),
    });
    let of_stream = connection.clone();
    let service = service_fn(move |request| of_stream.call(request));
    let conn = http2::Builder::new(Local(connection.clone()))
        .max_concurrent_streams(limits.streams)
        .max_local_error_reset_streams(MAX_FAULTS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEADER_LIST)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(io), service);
    let mut conn = pin!(conn);
    let ended = poll_fn(|cx| {
        let watched = &connection.client.watched;
        watched.register(cx.waker());
        if connection.must_leave() {
            conn.as_mut().graceful_shutdown();
        }
        if watched.kill.get() {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(ended) = conn.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        connection.look_at_head();
        connection.count_refused();
        if connection.must_leave() {
            conn.as_mut().graceful_shutdown();
            if let Poll::Ready(ended) = conn.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
        }
        if watched.is_expired() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await;
    connection.count(ended.is_err_and(|error| is_calm(&error)));
}

impl Connection {
    /// A request has come on a stream of its own.
    fn call(
        self: &Rc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + use<> {
        self.served.set(self.served.get() + 1);
        let stream = Stream {
            connection: self.clone(),
            is_head: Cell::new(request.method() == Method::HEAD),
            accept: OnceCell::new(),
        };
        let client = Rc::new(Client::of_stream(&self.client, stream));
        self.called.set(Some(client.clone()));
        let answered = handle(&client, request.map(Source::from));
        async move { Ok(answered.await) }
    }

    /// Whether GOAWAY is to be sent now; once.
    fn must_leave(&self) -> bool {
        let watched = &self.client.watched;
        let over_requests = self.frames.over() == Some(Over::Requests);
        (watched.drain.get() || watched.is_expired() || over_requests) && self.streams.leave(watched)
    }

    /// A list of headers that has begun must end in time, whatever else goes on.
    fn look_at_head(&self) {
        if let Some(since) = self.frames.head_since() {
            self.client.watched.lower_deadline(since + HEAD_TIMEOUT);
        }
    }

    /// Streams that were one too many.
    fn count_refused(&self) {
        let (process, worker) = (&self.client.context.process, self.client.context.worker);
        match self.frames.take_refused() {
            0 => {}
            refused => process.add(worker, Traffic::Http2OverStreams, refused),
        }
    }

    /// What went on below the requests. `is_calmed`: h2 has ended it for one of its own limits, or because we told it to.
    fn count(&self, is_calmed: bool) {
        let (process, worker) = (&self.client.context.process, self.client.context.worker);
        self.count_refused();
        let met = self.frames.over().map(|over| match over {
            Over::Resets => Traffic::Http2OverResets,
            Over::Pings => Traffic::Http2OverPings,
            Over::Settings => Traffic::Http2OverSettings,
            Over::Control => Traffic::Http2OverControl,
            Over::Requests => Traffic::Http2OverRequests,
            Over::Continuations => Traffic::Http2OverContinuations,
        });
        if let Some(what) = met.or(is_calmed.then_some(Traffic::Http2OverFaults)) {
            process.count(worker, what);
        }
        let refused = self.frames.opened().saturating_sub(self.served.get());
        process.add(worker, Traffic::Http2Refused, refused);
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
    }

    /// The connection is to end after the streams under way.
    fn leave(&self) {
        self.connection.client.watched.ask_to_end();
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
        let rng = &self.connection.client.context.rng;
        let key = || {
            let mut rng = rng.borrow_mut();
            (u128::from(rng.next()) << 64 | u128::from(rng.next())).to_ne_bytes()
        };
        let made = request::canonical(head, self.connection.max_head, key);
        if made == Err(StatusDetail::HeadersTooLong) {
            let context = &self.connection.client.context;
            context.process.count(context.worker, Traffic::Http2OverHeaders);
        }
        if let Some(accept) = made? {
            let _ = self.accept.set(accept);
        }
        Ok(())
    }

    /// Whether a member's 101 is the answer to the handshake that it was shown.
    pub(super) fn is_accepted(&self, headers: &HeaderMap) -> bool {
        self.accept.get().is_some_and(|accept| headers.get(SEC_WEBSOCKET_ACCEPT) == Some(accept))
    }
}

/// A member's 101 as the answer to a CONNECT: what belongs to the handshake of HTTP/1.1 ends here [RFC 8441 5].
pub(super) fn without_handshake(headers: &mut HeaderMap) {
    for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
        headers.remove(name);
    }
}

/// Whether h2 has had too much of a client.
fn is_calm(error: &hyper::Error) -> bool {
    let error = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_some_and(|error| error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
}

/// Runs streams on the worker's own thread.
#[derive(Clone)]
struct Local(Rc<Connection>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        match self.0.called.take() {
            // Hyper makes the task of a stream right after it has handed us the request.
            Some(client) => drop(tokio::task::spawn_local(Box::pin(Running { future, client }))),
            // The writer of a tunnel.
            None => drop(tokio::task::spawn_local(Box::pin(future))),
        }
    }
}

pin_project! {
    /// A stream, from its request to the last byte of its answer. Dropped early, it is reset.
    struct Running<F> {
        #[pin]
        future: F,
        client: Rc<Client>,
    }

    impl<F> PinnedDrop for Running<F> {
        fn drop(this: Pin<&mut Self>) {
            if std::thread::panicking() {
                let context = &this.client.context;
                context.process.count(context.worker, Traffic::Panics);
            }
        }
    }
}

impl<F: Future<Output = ()>> Future for Running<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.project();
        let watched = &this.client.watched;
        watched.register(cx.waker());
        if watched.drain.get()
            && let Some(stream) = this.client.stream()
        {
            stream.leave();
        }
        if this.future.poll(cx).is_ready() || watched.is_expired() || watched.kill.get() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
