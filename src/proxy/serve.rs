//! One client connection: guard, hyper, deadlines, drain; and the answer to a head that hyper never saw. A client that
//! begins with HTTP/2 is refused by the guard like any other that speaks no HTTP/1, and goes on with [`super::http2`]:
//! so it costs HTTP/1 nothing to listen for it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::context::Context;
use super::guard::{self, GuardedIo, MAX_HEAD, MAX_HEAD_CLASSIC, Phase};
use super::handle::handle;
use super::headers::Hop;
use super::watch::{NEVER, Watched};
use super::{http2, record, respond};
use crate::clock;
use crate::ledger::process::Traffic;
use crate::model::config::Front;
use crate::model::detail::StatusDetail;
use crate::model::service::Scheme;
use crate::model::unit::{Span, Tick};
use crate::world::World;

/// How long a client may take over the head of a request, and over taking an answer of our own.
pub(crate) const HEAD_TIMEOUT: Span = Span::secs(30);
/// How long we listen to a client that we have refused, so that our answer is not lost in a reset.
const LINGER: Span = Span::secs(1);
/// How much of what it still sends is read meanwhile.
const LINGER_BYTES: usize = 256 * 1024;

/// Whoever has one request at a time: a connection of HTTP/1, or a stream of HTTP/2.
pub(crate) struct Client {
    pub(crate) context: Rc<Context>,
    /// Number of the listener that it came in by.
    pub(crate) listener: u32,
    pub(crate) peer: SocketAddr,
    /// The address that it asked for.
    pub(crate) local: SocketAddr,
    pub(crate) watched: Rc<Watched>,
    /// What is the same for all its requests' headers.
    pub(crate) hop: Hop,
    link: Link,
    keep_alive: Cell<Span>,
    is_in_flight: Cell<bool>,
}

/// What brings a client's requests.
enum Link {
    Connection(Arc<guard::Shared>),
    Stream(http2::Stream),
}

/// A connection that has come in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Number of its listener.
    pub(crate) listener: u32,
    pub(crate) peer: SocketAddr,
    /// The address that was asked for.
    pub(crate) local: SocketAddr,
    pub(crate) is_https: bool,
    pub(crate) spoken: Spoken,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// HTTP/1, or HTTP/2 if it begins so.
    Unknown,
    /// HTTP/2, as agreed on in TLS.
    #[allow(dead_code)]
    Http2,
}

impl Client {
    /// A stream of this connection.
    pub(super) fn of_stream(connection: &Self, stream: http2::Stream) -> Self {
        let watched = Rc::new(Watched::new(connection.listener));
        connection.context.watch.add(watched.clone());
        Self {
            context: connection.context.clone(),
            listener: connection.listener,
            peer: connection.peer,
            local: connection.local,
            watched,
            hop: connection.hop.clone(),
            link: Link::Stream(stream),
            keep_alive: Cell::new(Span::ZERO),
            is_in_flight: Cell::new(false),
        }
    }

    /// A request has come.
    pub(crate) fn begin_request(&self, world: &World, now: Tick) {
        self.is_in_flight.set(true);
        self.watched.set_deadline(now + HEAD_TIMEOUT);
        let front = world.front(self.listener).and_then(Front::http);
        match &self.link {
            Link::Connection(_) => {
                if let Some(front) = front {
                    self.keep_alive.set(front.keep_alive);
                }
            }
            Link::Stream(stream) => stream.begin(front.map(|front| front.keep_alive)),
        }
    }

    /// Its answer is handed over, or nobody waits for it any more.
    pub(crate) fn end_request(&self, now: Tick) {
        self.is_in_flight.set(false);
        self.watched.set_served_by(None);
        match &self.link {
            Link::Connection(guard) => {
                self.watched.set_deadline(now + self.keep_alive.get());
                guard.request_done();
            }
            Link::Stream(stream) => {
                self.watched.set_deadline(NEVER);
                self.watched.forget();
                stream.end(now);
            }
        }
    }

    /// Why the body of the request under way is refused, if it is.
    pub(crate) fn refusal(&self) -> Option<StatusDetail> {
        self.guard()?.refusal().map(|refusal| refusal.answer().1)
    }

    /// The connection becomes a tunnel.
    pub(crate) fn pass_through(&self) {
        if let Some(guard) = self.guard() {
            guard.pass_through();
        }
    }

    /// The stream of HTTP/2, if it is one.
    pub(crate) const fn stream(&self) -> Option<&http2::Stream> {
        match &self.link {
            Link::Connection(_) => None,
            Link::Stream(stream) => Some(stream),
        }
    }

    /// How long the connection may be idle.
    pub(super) fn keep_alive(&self) -> Span {
        self.keep_alive.get()
    }

    pub(super) fn set_keep_alive(&self, keep_alive: Span) {
        self.keep_alive.set(keep_alive);
    }

    const fn guard(&self) -> Option<&Arc<guard::Shared>> {
        match &self.link {
            Link::Connection(guard) => Some(guard),
            Link::Stream(_) => None,
        }
    }
}

/// Counts the connection as closed, whichever way it ends.
struct Open(Rc<Client>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.watched.forget();
        let (process, worker) = (&self.0.context.process, self.0.context.worker);
        process.count(worker, Traffic::Closed);
        if std::thread::panicking() {
            process.count(worker, Traffic::Panics);
        }
    }
}

/// Serves a connection in clear until it ends.
pub(crate) async fn serve(context: Rc<Context>, stream: TcpStream, peer: SocketAddr, listener: u32) {
    let Ok(local) = stream.local_addr() else { return };
    let arrival = Arrival { listener, peer, local, is_https: false, spoken: Spoken::Unknown };
    serve_on(context, stream, arrival).await;
}

/// Serves a connection until it ends, whatever carries it.
pub(crate) async fn serve_on<S>(context: Rc<Context>, stream: S, arrival: Arrival)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Arrival { listener, peer, local, is_https, spoken } = arrival;
    let world = context.world();
    let front = world.front(listener);
    let max_head = max_head(&world, front);
    let (io, guard) = GuardedIo::new(stream, max_head);
    let client = Rc::new(Client {
        listener,
        peer,
        local,
        watched: Rc::new(Watched::new(listener)),
        link: Link::Connection(guard.clone()),
        hop: Hop::new(peer.ip(), local.ip(), is_https),
        keep_alive: Cell::new(front.and_then(Front::http).map_or(HEAD_TIMEOUT, |f| f.keep_alive)),
        is_in_flight: Cell::new(false),
        context,
    });
    drop(world);
    let open = Open(client.clone());
    client.watched.set_deadline(clock::now() + client.keep_alive.get());
    client.context.watch.add(client.watched.clone());
    let owed = match spoken {
        Spoken::Unknown => drive(&client, &guard, io).await,
        Spoken::Http2 => Some(io),
    };
    let Some(mut io) = owed else { return };
    // Boxed: rare beside HTTP/1, and their buffers would be part of every connection.
    if spoken == Spoken::Http2 || guard.refusal() == Some(guard::Refusal::Http2) {
        let (io, early) = io.into_rest();
        Box::pin(http2::serve(client, io, early, max_head)).await;
    } else {
        Box::pin(refuse(&open.0, &guard, &mut io)).await;
    }
}

/// Lets hyper run until the connection ends. Returns the socket when an answer is still owed to it.
async fn drive<S>(client: &Rc<Client>, guard: &guard::Shared, io: GuardedIo<S>) -> Option<GuardedIo<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let of_request = client.clone();
    let service = service_fn(move |request| handle(&of_request, request));
    let conn = http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut conn = conn;
    let mut is_registered = false;
    let mut is_draining = false;
    poll_fn(|cx| {
        if !is_registered {
            client.watched.register(cx.waker());
            is_registered = true;
        }
        if client.watched.drain.get() && !is_draining {
            is_draining = true;
            Pin::new(&mut conn).graceful_shutdown();
        }
        if client.watched.kill.get() || Pin::new(&mut conn).poll(cx).is_ready() || is_over(client, guard) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    let is_owed =
        guard.refusal().is_some_and(|refusal| !refusal.is_in_body()) || has_timed_out(client, guard);
    let parts = if is_owed { conn.into_parts() } else { None };
    parts.map(|parts| parts.io.into_inner())
}

/// Whether a deadline has passed that ends the connection itself.
fn is_over(client: &Client, guard: &guard::Shared) -> bool {
    if !client.is_in_flight.get() && guard.phase() == Phase::Head {
        let deadline = guard.phase_since() + HEAD_TIMEOUT;
        client.watched.lower_deadline(deadline);
    }
    client.watched.is_expired()
}

fn has_timed_out(client: &Client, guard: &guard::Shared) -> bool {
    client.watched.is_expired() && guard.phase() == Phase::Head && !client.is_in_flight.get()
}

fn max_head(world: &World, front: Option<&Front>) -> usize {
    let service = front.and_then(Front::http).and_then(|f| world.service(f.url_map.default_service));
    match service.map(|s| s.config.scheme) {
        Some(Scheme::External) => MAX_HEAD_CLASSIC,
        _ => MAX_HEAD,
    }
}

/// Answers a head that was refused or never came whole, and waits a moment for the client to read it.
async fn refuse<S>(client: &Client, guard: &guard::Shared, io: &mut GuardedIo<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (status, detail) =
        guard.refusal().map_or((408, StatusDetail::ClientTimedOut), guard::Refusal::answer);
    client.context.process.count_unrouted(client.context.worker, detail, Some(status));
    record::log_refusal(client, status, detail);
    let answer = respond::raw(status, detail);
    let said = async {
        io.write_all(&answer).await?;
        // Past the guard, which keeps the socket open after a refused head for the sake of this very answer.
        io.socket().shutdown().await?;
        let mut rest = [0; 4096];
        let mut read = 0;
        while read < LINGER_BYTES {
            match io.socket().read(&mut rest).await? {
                0 => break,
                some => read += some,
            }
        }
        std::io::Result::Ok(())
    };
    // The client may be gone already; then there is nobody to tell.
    let _ = tokio::time::timeout(LINGER.to_std(), pin!(said)).await;
}
