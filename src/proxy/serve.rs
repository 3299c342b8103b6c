//! One client connection: HTTP/1.1, deadlines, drain; and the answer to a head that was refused. A client that
//! begins with HTTP/2 is refused by the guard like any other that speaks no HTTP/1, and goes on with `http2`:
//! so it costs HTTP/1 nothing to listen for it.

use std::cell::{Cell, OnceCell};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use http::{HeaderValue, Version, request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::arrival::Arrival;
use super::body::Source;
use super::client_cert::ClientCert;
use super::connection::Open;
use super::context::Context;
use super::guard::{MAX_HEAD, MAX_HEAD_CLASSIC, Phase, Refusal};
use super::handle::handle;
use super::handshake::Secured;
use super::headers::Hop;
use super::http1::inbound::{Bring, End, Inbound, Reins, Talk};
use super::upgrade::ClientSide;
use super::watch::{NEVER, Watched};
use super::{http2, http3, record, respond};
use crate::clock;
use crate::ledger::doors::Place;
use crate::model::config::Front;
use crate::model::detail::StatusDetail;
use crate::model::service::Scheme;
use crate::model::unit::{Span, Tick};
use crate::world::World;

/// How long a client may take over the head of a request, and over taking an answer of our own.
pub(crate) const HEAD_TIMEOUT: Span = Span::secs(30);
/// Seconds that a client may remember that HTTP/3 is spoken here: 30 days, as Google says.
const ALTERNATIVE_SEC: u32 = 2_592_000;
/// How long we listen to a client that we have refused, so that our answer is not lost in a reset.
const LINGER: Span = Span::secs(1);
/// How much of what it still sends is read meanwhile.
const LINGER_BYTES: usize = 1024 * 1024;

/// Whoever has one request at a time: a connection of HTTP/1, or a stream of HTTP/2.
pub(crate) struct Client {
    pub(crate) context: Rc<Context>,
    /// Number of the listener that it came in by.
    pub(crate) listener: u32,
    pub(crate) peer: SocketAddr,
    /// The address that it asked for.
    pub(crate) local: SocketAddr,
    pub(crate) watched: Rc<Watched>,
    /// What was agreed on, if TLS is spoken.
    pub(crate) secured: Option<Secured>,
    /// The host that it asked for by SNI.
    pub(crate) sni: Option<Rc<str>>,
    /// The certificate that it was asked for.
    pub(crate) cert: Option<Rc<ClientCert>>,
    /// What is the same for all its requests' headers.
    pub(crate) hop: Hop,
    link: Link,
    /// Of a connection, until its last request, or its tunnel, has ended.
    _place: Option<Place>,
    keep_alive: Cell<Span>,
    is_in_flight: Cell<bool>,
    alternative: OnceCell<HeaderValue>,
}

/// What brings a client's requests.
enum Link {
    Connection(Rc<dyn Bring>),
    Stream(Rc<http2::Stream>),
    /// Nobody: a copy of a request is sent to another service.
    Copy,
    /// A connection of HTTP/3, which brings none by itself.
    Quic,
    Stream3(http3::Stream),
}

impl Client {
    /// A stream of this connection.
    pub(super) fn of_stream(connection: &Self, stream: Rc<http2::Stream>) -> Self {
        let watched = stream.watched().clone();
        Self::of_link(connection, Link::Stream(stream), watched)
    }

    /// The same of HTTP/3, where the client may have come to another address meanwhile.
    pub(super) fn of_stream3(connection: &Self, stream: http3::Stream, peer: SocketAddr) -> Self {
        let watched = Rc::new(Watched::new(connection.listener));
        let mut client = Self::of_link(connection, Link::Stream3(stream), watched);
        if peer != client.peer {
            client.peer = peer;
            client.hop = Hop::new(peer.ip(), client.local.ip(), true);
        }
        client
    }

    /// A connection of HTTP/3.
    pub(super) fn of_quic(open: &Open, place: Place, ends: Ends, keep_alive: Span) -> Self {
        Self::of_connection(open, ends, (Link::Quic, place), keep_alive)
    }

    fn of_connection(open: &Open, ends: Ends, (link, place): (Link, Place), keep_alive: Span) -> Self {
        let Ends { listener, peer, local, secured, sni, cert } = ends;
        Self {
            context: open.context.clone(),
            listener,
            peer,
            local,
            watched: open.watched.clone(),
            secured,
            sni,
            cert,
            hop: Hop::new(peer.ip(), local.ip(), secured.is_some()),
            link,
            _place: Some(place),
            keep_alive: Cell::new(keep_alive),
            is_in_flight: Cell::new(false),
            alternative: OnceCell::new(),
        }
    }

    fn of_link(connection: &Self, link: Link, watched: Rc<Watched>) -> Self {
        connection.context.watch.add(watched.clone());
        Self {
            context: connection.context.clone(),
            listener: connection.listener,
            peer: connection.peer,
            local: connection.local,
            watched,
            secured: connection.secured,
            sni: connection.sni.clone(),
            cert: connection.cert.clone(),
            hop: connection.hop.clone(),
            link,
            _place: None,
            keep_alive: Cell::new(Span::ZERO),
            is_in_flight: Cell::new(false),
            alternative: OnceCell::new(),
        }
    }

    /// Who a copy of a request is sent for: with deadlines of its own.
    pub(super) fn of_copy(client: &Self) -> Self {
        Self::of_link(client, Link::Copy, Rc::new(Watched::new(client.listener)))
    }

    /// A request has come.
    pub(crate) fn begin_request(&self, world: &World, now: Tick) {
        self.is_in_flight.set(true);
        self.watched.set_deadline(now + HEAD_TIMEOUT);
        let front = world.front(self.listener).and_then(Front::http);
        match &self.link {
            Link::Connection(_) => {
                if self.context.is_draining.get() {
                    // Its answer says that it was the last.
                    self.watched.drain.set(true);
                }
                if let Some(front) = front {
                    self.keep_alive.set(front.keep_alive);
                }
            }
            Link::Stream(stream) => stream.begin(front.map(|front| front.keep_alive)),
            Link::Stream3(stream) => stream.begin(front.map(|front| front.keep_alive)),
            Link::Quic | Link::Copy => {}
        }
    }

    /// Its answer is handed over, or nobody waits for it any more.
    pub(crate) fn end_request(&self, now: Tick) {
        self.is_in_flight.set(false);
        self.watched.set_served_by(None);
        self.watched.set_limit(NEVER);
        match &self.link {
            Link::Connection(_) => self.watched.set_deadline(now + self.keep_alive.get()),
            Link::Stream(stream) => {
                self.watched.set_deadline(NEVER);
                self.watched.forget();
                stream.end(now);
            }
            Link::Stream3(stream) => {
                self.watched.set_deadline(NEVER);
                self.watched.forget();
                stream.end(now);
            }
            Link::Quic | Link::Copy => {}
        }
    }

    /// Why the body of the request under way is refused, if it is.
    pub(crate) fn refusal(&self) -> Option<StatusDetail> {
        self.connection()?.talk().refusal().map(|refusal| refusal.answer().1)
    }

    /// Whether a connection of HTTP/1 still owes a part of the request's body. Answered now, it must end: nobody reads
    /// the rest.
    pub(super) fn owes_body(&self) -> bool {
        self.connection().is_some_and(|connection| connection.owes_body())
    }

    /// The client's side of a tunnel, for after the answer to this request.
    pub(super) fn tunnel(&self) -> Option<ClientSide> {
        match &self.link {
            Link::Connection(connection) => Some(ClientSide::Connection(connection.talk().tunnel())),
            Link::Stream(stream) => {
                let asks = stream.asks_for_tunnel();
                asks.then(|| ClientSide::Stream(http2::Tunnel::new(stream.clone())))
            }
            Link::Quic | Link::Stream3(_) | Link::Copy => None,
        }
    }

    /// The stream of HTTP/2, if it is one.
    pub(crate) fn stream(&self) -> Option<&http2::Stream> {
        match &self.link {
            Link::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// The stream of HTTP/3, if it is one.
    pub(super) const fn stream3(&self) -> Option<&http3::Stream> {
        match &self.link {
            Link::Stream3(stream) => Some(stream),
            _ => None,
        }
    }

    /// What the client speaks, whose heads say HTTP/1.1 once they are made so; `said` is what this one says.
    pub(super) const fn version(&self, said: Version) -> Version {
        match &self.link {
            Link::Connection(_) | Link::Copy => said,
            Link::Stream(_) => Version::HTTP_2,
            Link::Quic | Link::Stream3(_) => Version::HTTP_3,
        }
    }

    /// The answer has no body, whatever it says, and nobody but us knows.
    pub(super) fn is_head(&self) -> bool {
        match &self.link {
            Link::Stream(stream) => stream.is_head(),
            Link::Stream3(stream) => stream.is_head(),
            Link::Connection(_) | Link::Quic | Link::Copy => false,
        }
    }

    /// Makes a head one of HTTP/1.1.
    ///
    /// # Errors
    /// Why the request is refused.
    pub(super) fn canonical(&self, head: &mut request::Parts) -> Result<(), StatusDetail> {
        match &self.link {
            Link::Stream(stream) => stream.canonical(head),
            Link::Stream3(stream) => stream.canonical(head),
            Link::Connection(_) | Link::Quic | Link::Copy => Ok(()),
        }
    }

    /// That HTTP/3 is spoken here too [RFC 7838]. The same for all requests of a connection.
    pub(super) fn alternative(&self) -> HeaderValue {
        let text = || format!("h3=\":{}\"; ma={ALTERNATIVE_SEC}", self.local.port());
        let made = || HeaderValue::try_from(text()).unwrap_or(HeaderValue::from_static("clear"));
        self.alternative.get_or_init(made).clone()
    }

    /// How long the connection may be idle.
    pub(super) fn keep_alive(&self) -> Span {
        self.keep_alive.get()
    }

    pub(super) fn set_keep_alive(&self, keep_alive: Span) {
        self.keep_alive.set(keep_alive);
    }

    const fn connection(&self) -> Option<&Rc<dyn Bring>> {
        match &self.link {
            Link::Connection(connection) => Some(connection),
            Link::Stream(_) | Link::Quic | Link::Stream3(_) | Link::Copy => None,
        }
    }
}

/// Where a connection comes from and what it came through.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    /// Number of the listener.
    pub(crate) listener: u32,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// The address that it asked for.
    pub(crate) local: SocketAddr,
    /// What was agreed on, if TLS is spoken.
    pub(crate) secured: Option<Secured>,
    /// The host that the client asked for by SNI.
    pub(crate) sni: Option<Rc<str>>,
    /// The certificate that the client was asked for.
    pub(crate) cert: Option<Rc<ClientCert>>,
}

/// What HTTP can be spoken over.
pub(crate) trait Channel: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Channel for S {}

/// Serves a connection in clear until it ends.
pub(crate) async fn serve(
    context: Rc<Context>,
    Arrival { stream, peer, local }: Arrival,
    place: Place,
    listener: u32,
) {
    let open = Open::new(context, listener);
    converse(&open, (stream, place), Ends { listener, peer, local, secured: None, sni: None, cert: None })
        .await;
}

/// Speaks HTTP until the connection ends.
pub(crate) async fn converse<S: Channel>(open: &Open, (stream, place): (S, Place), ends: Ends) {
    let world = open.context.world();
    let front = world.front(ends.listener);
    let max_head = max_head(front);
    let keep_alive = front.and_then(Front::http).map_or(HEAD_TIMEOUT, |front| front.keep_alive);
    drop(world);
    let is_agreed = ends.secured.is_some_and(|secured| secured.is_http2);
    let inbound = Inbound::new(stream, max_head, open.context.scratch.clone());
    let link = (Link::Connection(inbound.clone()), place);
    let client = Rc::new(Client::of_connection(open, ends, link, keep_alive));
    client.watched.set_deadline(clock::now() + keep_alive);
    if !is_agreed {
        let end = drive(&client, &inbound).await;
        let is_http2 = end == End::Refused && inbound.talk().refusal() == Some(Refusal::Http2);
        if !is_http2 {
            // Boxed: rare beside what goes on, and part of every connection otherwise.
            return Box::pin(part_with(&client, &inbound, end)).await;
        }
    }
    if let Some((io, early)) = inbound.take_rest() {
        drop(inbound);
        Box::pin(http2::serve(client, io, early, max_head)).await;
    }
}

/// Answers requests until the connection ends.
async fn drive<S: Channel>(client: &Rc<Client>, inbound: &Rc<Inbound<S>>) -> End {
    let talk = inbound.talk();
    let reins = Reins { watched: &client.watched, is_over: &|| is_over(client, talk) };
    inbound.serve(&reins, |request| handle(client, request.map(Source::Http1))).await
}

/// Whether a deadline has passed that ends the connection itself.
fn is_over(client: &Client, talk: &Talk) -> bool {
    if !client.is_in_flight.get() && talk.phase() == Phase::Head {
        let deadline = talk.phase_since() + HEAD_TIMEOUT;
        client.watched.lower_deadline(deadline);
    }
    client.watched.is_expired()
}

/// What a client is told at the end of its connection.
async fn part_with<S: Channel>(client: &Client, inbound: &Inbound<S>, end: End) {
    let talk = inbound.talk();
    let is_idle = !client.is_in_flight.get() && talk.phase() == Phase::Idle;
    let has_timed_out = end == End::Expired && !client.is_in_flight.get() && talk.phase() == Phase::Head;
    if end == End::Refused || has_timed_out {
        if let Some((mut io, _)) = inbound.take_rest() {
            refuse(client, talk, &mut io).await;
        }
    } else if client.secured.is_some() && (end == End::Over || is_idle) {
        // TLS has a message for an end in good order; without it, a client may think that it was cut off.
        let _ = tokio::time::timeout(LINGER.to_std(), inbound.shut_down()).await;
    }
    // Whatever else may still know the connection, its socket ends here.
    drop(inbound.take_rest());
}

pub(super) fn max_head(front: Option<&Front>) -> usize {
    match front.and_then(Front::http).map(|f| f.url_map.scheme) {
        Some(Scheme::External) => MAX_HEAD_CLASSIC,
        _ => MAX_HEAD,
    }
}

/// Answers a head that was refused or never came whole, and waits a moment for the client to read it.
async fn refuse<S: Channel>(client: &Client, talk: &Talk, socket: &mut S) {
    let (status, detail) = talk.refusal().map_or((408, StatusDetail::ClientTimedOut), Refusal::answer);
    let context = &client.context;
    context.process.count_unrouted(context.worker, detail, Some(status));
    record::log_refusal(context, (client.listener, client.peer.ip()), Some(status), detail);
    part(socket, &respond::raw(status, detail)).await;
}

/// A last answer; then listens for a moment, so that it is not lost in a reset.
pub(crate) async fn part<S: Channel>(socket: &mut S, answer: &[u8]) {
    let said = async {
        socket.write_all(answer).await?;
        socket.shutdown().await?;
        let mut rest = [0; 4096];
        let mut read = 0;
        while read < LINGER_BYTES {
            match socket.read(&mut rest).await? {
                0 => break,
                some => read += some,
            }
        }
        std::io::Result::Ok(())
    };
    // The client may be gone already; then there is nobody to tell.
    let _ = tokio::time::timeout(LINGER.to_std(), pin!(said)).await;
}
