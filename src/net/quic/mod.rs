//! QUIC: endpoints on sockets of UDP, and what is agreed on with those who connect. HTTP/3 is another floor's.
//!
//! A worker has an endpoint of its own on each address, and connections live as long as it does. A datagram finds its
//! endpoint by the ID of its connection, whichever worker or process has read it: see [`ways`]. So a client may change
//! its address, and another process may take the sockets over.

mod socket;
pub mod ways;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, Incoming, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};
use ring::hmac;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

use self::socket::Socket;
use self::ways::{ID, Mark, Stand, Ways};
use super::accept::{Alpn, Ticketer, configure};
use crate::model::tls::Termination;
use crate::model::unit::Span;

/// What is spoken inside.
const HTTP3: Alpn = &[b"h3"];

/// Streams with a request that a client may have open at a time on a connection.
pub const MAX_STREAMS: u32 = 100;
/// Other streams that a client may have open: its control stream, two of QPACK, and some that mean nothing.
pub const MAX_CLIENT_STREAMS: u32 = 8;
/// Bytes that a client may send ahead on one stream.
pub const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes that a client may send ahead on all streams of a connection: what it can make us hold.
pub const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes that a connection holds for a client until it has acknowledged them.
pub const SEND_WINDOW: u64 = 1024 * 1024;
/// A connection without any datagram ends then [G 5], or after the client keep-alive time if that is shorter.
pub const LONGEST_IDLE: Span = Span::secs(240);
/// Connections of an endpoint that have come and that no worker has looked at yet.
const MAX_INCOMING: usize = 1024;
/// Bytes that they have sent ahead, each and all.
const INCOMING_BUFFER: (u64, u64) = (16 * 1024, 4 << 20);
/// How long a client may take to come back with the token of a Retry.
const RETRY_LIFETIME: Duration = Duration::from_secs(15);

/// What all endpoints of a process sign with.
#[derive(Clone)]
pub struct Keys {
    reset: Arc<hmac::Key>,
}

impl Keys {
    /// Keys of these bytes, which must be secret.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { reset: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)) }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(secret)")
    }
}

/// Who talks QUIC at an address.
#[derive(Debug)]
pub struct Endpoint {
    inner: quinn::Endpoint,
    socket: Arc<Socket>,
    ways: Arc<Ways>,
    seat: usize,
}

impl Endpoint {
    /// On `stand`, which it then owns. Whoever accepts a connection says with which [`ServerConfig`]; `config` is that of
    /// the first, and serves to read what the others begin with.
    ///
    /// # Errors
    /// When the socket is none of UDP.
    pub fn new(stand: Stand, keys: &Keys, config: Arc<ServerConfig>) -> io::Result<Self> {
        let (ways, seat) = (stand.ways.clone(), stand.seat);
        let mark = ways.mark(seat);
        let socket = Arc::new(Socket::new(stand)?);
        let mut of_endpoint = EndpointConfig::new(keys.reset.clone());
        of_endpoint.cid_generator(move || Box::new(Stamp { mark, next: 0 }));
        let (config, runtime) = (Arc::unwrap_or_clone(config), Arc::new(TokioRuntime));
        let inner =
            quinn::Endpoint::new_with_abstract_socket(of_endpoint, Some(config), socket.clone(), runtime)?;
        ways.settle(seat, false);
        Ok(Self { inner, socket, ways, seat })
    }

    /// The next connection; `None` after [`Self::close`].
    pub async fn accept(&self) -> Option<Incoming> {
        self.inner.accept().await
    }

    /// Ends all connections, each of which is told so.
    pub fn close(&self) {
        self.inner.close(NO_ERROR, b"");
    }

    /// Waits until there is no connection.
    pub async fn wait_idle(&self) {
        self.inner.wait_idle().await;
        self.settle();
    }

    /// There will be no connection any more.
    pub fn settle(&self) {
        self.ways.settle(self.seat, true);
    }

    /// Whether there is one at any endpoint of this address, which may need what this one reads.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        !self.ways.are_settled()
    }

    /// Whether another process reads the socket, and what it reads for this endpoint comes by its inbox.
    pub fn lend(&self, is_lent: bool) {
        self.socket.lend(is_lent);
    }

    /// Nothing is read any more, whoever still holds the socket.
    pub fn leave(&self) {
        self.socket.leave();
    }
}

/// `H3_NO_ERROR`.
const NO_ERROR: VarInt = VarInt::from_u32(0x100);

/// Makes the IDs of an endpoint's connections.
struct Stamp {
    mark: Mark,
    /// For a system that has no randomness any more.
    next: u32,
}

impl ConnectionIdGenerator for Stamp {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut nonce = [0; 3];
        if getrandom::fill(&mut nonce).is_err() {
            self.next = self.next.wrapping_add(1);
            let [_, a, b, c] = self.next.to_be_bytes();
            nonce = [a, b, c];
        }
        ConnectionId::new(&self.mark.id(nonce))
    }

    fn cid_len(&self) -> usize {
        ID
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// A worker's QUIC configurations, made when they are first asked for.
pub struct Configs {
    ticketer: Ticketer,
    made: RefCell<Vec<Made>>,
}

/// For these terms and this time without a datagram.
type Made = (Arc<Termination>, Span, Arc<ServerConfig>);

impl Configs {
    /// None yet.
    #[must_use]
    pub const fn new(ticketer: Ticketer) -> Self {
        Self { ticketer, made: RefCell::new(Vec::new()) }
    }

    /// What is agreed on as `terms` say; a connection that is silent for `keep_alive` ends.
    #[must_use]
    pub fn of(&self, terms: &Arc<Termination>, keep_alive: Span) -> Arc<ServerConfig> {
        let idle = keep_alive.min(LONGEST_IDLE);
        let mut made = self.made.borrow_mut();
        if let Some((.., config)) = made.iter().find(|(of, span, _)| Arc::ptr_eq(of, terms) && *span == idle)
        {
            return config.clone();
        }
        // Those that no world has any more.
        made.retain(|(of, ..)| Arc::strong_count(of) > 1);
        let config = Arc::new(server(terms, idle, &self.ticketer));
        made.push((terms.clone(), idle, config.clone()));
        config
    }
}

impl fmt::Debug for Configs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configs").finish_non_exhaustive()
    }
}

#[allow(clippy::expect_used)]
fn server(terms: &Termination, idle: Span, ticketer: &Ticketer) -> ServerConfig {
    let inner = Arc::new(configure(terms, HTTP3, ticketer.as_ref()));
    // Whatever a policy allows later, the first packets are sealed with this suite [RFC 9001 5.2].
    let initial = TLS13_AES_128_GCM_SHA256.tls13().and_then(|suite| suite.quic_suite());
    let crypto = initial.and_then(|initial| QuicServerConfig::with_initial(inner, initial).ok());
    // The suite is a constant of ring's that is of TLS 1.3 and goes with QUIC.
    let mut config = ServerConfig::with_crypto(Arc::new(crypto.expect("ring has the suite")));
    config
        .transport_config(Arc::new(transport(idle)))
        .retry_token_lifetime(RETRY_LIFETIME)
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BUFFER.0)
        .incoming_buffer_size_total(INCOMING_BUFFER.1);
    config
}

fn transport(idle: Span) -> TransportConfig {
    let idle = u32::try_from(idle.to_std().as_millis()).unwrap_or(u32::MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(MAX_STREAMS.into())
        .max_concurrent_uni_streams(MAX_CLIENT_STREAMS.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle))));
    transport
}
