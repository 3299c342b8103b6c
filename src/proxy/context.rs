//! What a worker has: its number, its view of the world, its pool, its log. Lives on its thread, never leaves it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Cache};
use tokio_rustls::rustls::ClientConfig;

use super::access_log::{Channel, Entry, LogBuffer};
use super::breaker::Waiting;
use super::compress::Encoders;
use super::connection_log;
use super::handshake::Handshaking;
use super::http1::scratch::Scratch;
use super::kept::Store;
use super::live::Pools;
use super::pool::Pool;
use super::session::strong::Signer;
use super::watch::Watch;
use crate::balance::rng::Rng;
use crate::ledger::buffers::Buffer;
use crate::ledger::cell::WorkerId;
use crate::ledger::doors::Place;
use crate::ledger::process::{Process, Traffic};
use crate::net::accept::{Acceptors, Ticketer};
use crate::net::quic::{Configs, Keys};
use crate::world::World;

/// One per worker, behind an `Rc`.
pub struct Context {
    /// Number of this worker.
    pub worker: WorkerId,
    /// Numbers of the process.
    pub process: Arc<Process>,
    /// What of this worker's bodies waits for a slow side.
    pub(crate) buffer: Arc<Buffer>,
    /// TLS to HTTPS and SSL backends; certificates are not verified [G 6.4].
    pub tls: Arc<ClientConfig>,
    /// The same, asking for HTTP/2.
    pub(crate) tls_http2: Arc<ClientConfig>,
    /// TLS to clients.
    pub(crate) acceptors: Acceptors,
    /// QUIC to clients.
    pub(crate) quic: Configs,
    /// What its endpoints sign with.
    pub(crate) quic_keys: Keys,
    /// TLS handshakes under way.
    pub(crate) handshaking: Handshaking,
    /// Signs strong cookies; empty until a world has a service that gives such out.
    pub(crate) signer: Arc<OnceLock<Signer>>,
    world: RefCell<Cache<Arc<ArcSwap<World>>, Arc<World>>>,
    current: RefCell<Rc<Current>>,
    /// Kept connections to members.
    pub(crate) pool: Pool,
    /// What they read into and write from.
    pub(crate) scratch: Rc<Scratch>,
    /// Requests that wait for a connection.
    pub(crate) waiting: Rc<Waiting>,
    /// Encoders of answers under way.
    pub(crate) encoders: Encoders,
    /// Probe results for PREQUAL.
    pub(crate) pools: RefCell<Pools>,
    /// Bodies of requests that are kept.
    pub(crate) kept: Rc<Store>,
    /// Copies of requests under way.
    pub(crate) copies: Cell<usize>,
    /// Error pages under way.
    pub(crate) pages: Cell<usize>,
    /// Client connections with their deadlines.
    pub(crate) watch: Watch,
    /// Request lines not yet handed to the writer.
    log: Option<RefCell<LogBuffer>>,
    /// Trace ids, sampling, cookie keys.
    pub(crate) rng: RefCell<Rng>,
    /// Set while the process stops: answers carry `Connection: close`.
    pub(crate) is_draining: Cell<bool>,
}

/// A world as the requests of one worker hold it.
#[derive(Debug)]
pub(crate) struct Current(Arc<World>);

impl std::ops::Deref for Current {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

/// What a worker is made from.
pub struct Parts {
    /// Number of the worker.
    pub worker: WorkerId,
    /// Where worlds are published.
    pub world: Arc<ArcSwap<World>>,
    /// Numbers of the process.
    pub process: Arc<Process>,
    /// TLS to HTTPS backends.
    pub tls: Arc<ClientConfig>,
    /// Seals TLS sessions of clients.
    pub ticketer: Ticketer,
    /// What QUIC endpoints sign with.
    pub quic_keys: Keys,
    /// Signs strong cookies.
    pub signer: Arc<OnceLock<Signer>>,
    /// Log lines go here; `None` = no access log.
    pub(crate) log: Option<Channel>,
    /// Seed of this worker's generator.
    pub seed: u64,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl Context {
    /// A worker without connections.
    #[must_use]
    pub fn new(parts: Parts) -> Rc<Self> {
        let current = Rc::new(Current(parts.world.load_full()));
        Rc::new(Self {
            worker: parts.worker,
            buffer: parts.process.buffers.of(parts.worker),
            process: parts.process,
            tls_http2: crate::net::tls::asking_for_http2(&parts.tls),
            tls: parts.tls,
            quic: Configs::new(parts.ticketer.clone()),
            quic_keys: parts.quic_keys,
            acceptors: Acceptors::new(parts.ticketer),
            handshaking: Handshaking::default(),
            signer: parts.signer,
            world: RefCell::new(Cache::new(parts.world)),
            current: RefCell::new(current),
            pool: Pool::default(),
            scratch: Rc::default(),
            waiting: Rc::default(),
            encoders: Encoders::default(),
            pools: RefCell::default(),
            kept: Rc::default(),
            copies: Cell::new(0),
            pages: Cell::new(0),
            watch: Watch::default(),
            log: parts.log.map(|channel| RefCell::new(LogBuffer::new(channel))),
            rng: RefCell::new(Rng::new(parts.seed)),
            is_draining: Cell::new(false),
        })
    }

    /// Whether a client that has found a place may have it, by its address. Counts it either way.
    pub fn admits(&self, peer: SocketAddr, place: &mut Place) -> bool {
        let world = self.world();
        let proxy = &world.config.proxy;
        let is_trusted = || proxy.trusted_proxies.iter().any(|cidr| cidr.contains(peer.ip()));
        if let Some(most) = proxy.limits.max_connections_per_address
            && !is_trusted()
            && !place.count_for(peer.ip(), most)
        {
            self.process.count(self.worker, Traffic::RefusedByAddress);
            tracing::debug!(%peer, "its address has maxConnectionsPerAddress open");
            return false;
        }
        self.process.count(self.worker, Traffic::Accepted);
        true
    }

    /// The world at this moment. A request calls this once. The worker counts its users with an `Rc`, so that two
    /// workers do not fight over one atomic count per request.
    pub(crate) fn world(&self) -> Rc<Current> {
        let mut cache = self.world.borrow_mut();
        let newest = cache.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(newest, &current.0) {
            *current = Rc::new(Current(newest.clone()));
        }
        current.clone()
    }

    /// Bytes of bodies that this worker may hold: its part of `maxBufferedMiB`.
    pub(crate) fn most_buffered(&self, world: &World) -> u64 {
        world.config.proxy.limits.max_buffered / self.process.workers.max(1) as u64
    }

    /// Whether there is an access log.
    pub(crate) const fn has_log(&self) -> bool {
        self.log.is_some()
    }

    /// Writes a line of the access log. Lines that could not be kept are counted.
    pub(crate) fn log(&self, entry: &Entry<'_>) {
        if let Some(log) = &self.log {
            self.count_dropped(log.borrow_mut().append(|out| entry.write(out)));
        }
    }

    /// The same for a connection of a TCP or SSL proxy.
    pub(crate) fn log_connection(&self, entry: &connection_log::Entry<'_>) {
        if let Some(log) = &self.log {
            self.count_dropped(log.borrow_mut().append(|out| entry.write(out)));
        }
    }

    /// Hands waiting lines to the writer.
    pub(crate) fn flush_log(&self) {
        if let Some(log) = &self.log {
            self.count_dropped(log.borrow_mut().flush());
        }
    }

    fn count_dropped(&self, lines: u64) {
        if lines > 0 {
            self.process.add(self.worker, Traffic::LogLinesDropped, lines);
        }
    }
}
