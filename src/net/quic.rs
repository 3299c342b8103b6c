//! QUIC: endpoints on sockets of UDP, and what is agreed on with those who connect. HTTP/3 is another floor's.
//!
//! A worker has an endpoint of its own on each address, and all datagrams between two addresses reach the same worker.
//! So a connection belongs to two addresses for life: whoever changes its own, as behind a router that forgets, may
//! reach a worker that knows nothing of it, and is told so by a stateless reset, which all workers sign alike. It then
//! connects anew.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{
    AsyncUdpSocket, EndpointConfig, IdleTimeout, Incoming, Runtime as _, ServerConfig, TokioRuntime,
    TransportConfig, UdpPoller, VarInt,
};
use ring::hmac;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

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

/// Who talks QUIC on a socket.
#[derive(Debug)]
pub struct Endpoint {
    inner: quinn::Endpoint,
    socket: Arc<Socket>,
}

impl Endpoint {
    /// On `socket`, which it then owns. Whoever accepts a connection says with which [`ServerConfig`]; `config` is that of
    /// the first, and serves to read what the others begin with.
    ///
    /// # Errors
    /// When the socket is none of UDP.
    pub fn new(socket: UdpSocket, keys: &Keys, config: Arc<ServerConfig>) -> io::Result<Self> {
        let runtime = Arc::new(TokioRuntime);
        let socket =
            Arc::new(Socket { inner: runtime.wrap_udp_socket(socket)?, is_left: AtomicBool::new(false) });
        let (of_endpoint, config) = (EndpointConfig::new(keys.reset.clone()), Arc::unwrap_or_clone(config));
        let inner =
            quinn::Endpoint::new_with_abstract_socket(of_endpoint, Some(config), socket.clone(), runtime)?;
        Ok(Self { inner, socket })
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
    }

    /// Nothing is read any more, whoever still holds the socket.
    pub fn leave(&self) {
        self.socket.is_left.store(true, Relaxed);
    }
}

/// `H3_NO_ERROR`.
const NO_ERROR: VarInt = VarInt::from_u32(0x100);

/// A socket that another process may read one day.
#[derive(Debug)]
struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    is_left: AtomicBool,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.is_left.load(Relaxed) {
            return Poll::Pending;
        }
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
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
        .migration(false)
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
