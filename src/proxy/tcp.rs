//! A connection of a target TCP or SSL proxy: TLS with the client, pick, lease, connect, then bytes both ways.
//!
//! A connection is to a TCP or SSL service what a request is to an HTTP one: it takes room in its backend's gate from
//! the pick to its end, and is counted and logged once. `timeoutSec` is how long neither side may be silent. Whatever
//! ends it early is a reset on both sides, so that nobody takes what came so far for the whole.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::access_log::Way;
use super::connection_log::Entry;
use super::context::Context;
use super::handle::is_logged;
use super::headers::Upgrade;
use super::live::Numbers;
use super::record::Placed;
use super::relay::{Relay, Side};
use super::retry::MAX_CONNECT_RETRIES;
use super::session::{Claim, address};
use super::visit::Session;
use super::watch::Watched;
use crate::balance::pick::{self, Ask, NoPick};
use crate::clock;
use crate::ledger::lease::Lease;
use crate::ledger::member::Count;
use crate::ledger::process::Traffic;
use crate::ledger::service::{Extra, Loss};
use crate::model::certificate::Certificate;
use crate::model::config::{Front, ServiceId};
use crate::model::detail::StatusDetail;
use crate::model::service::{Affinity, Protocol};
use crate::model::unit::{Span, Tick};
use crate::net::accept::HANDSHAKE_TIMEOUT;
use crate::net::connect::{self, CONNECT_TIMEOUT, ConnectError, Stream};
use crate::world::{LiveMember, World};

/// Members that one connection may try.
const MAX_TRIED: usize = 1 + MAX_CONNECT_RETRIES as usize;

/// Serves a connection until it ends.
pub(crate) async fn serve(context: Rc<Context>, stream: TcpStream, peer: SocketAddr, listener: u32) {
    let open = Open::new(context, listener);
    let world = open.context.world();
    let Some((front, local)) = world.front(listener).zip(stream.local_addr().ok()) else {
        open.context.process.count_unrouted(open.context.worker, StatusDetail::ConfigNotFound, None);
        return connect::abort(&stream);
    };
    let certificates = front.certificates().cloned();
    let Some(mut connection) = Connection::new(&open, (&world, front), peer, local) else {
        return connect::abort(&stream);
    };
    // A connection may last for days: it keeps its service, and not the world.
    drop(world);
    connection.run(stream, certificates).await;
}

/// A connection as the process counts it, whichever way it ends.
struct Open {
    context: Rc<Context>,
    watched: Rc<Watched>,
}

impl Open {
    fn new(context: Rc<Context>, listener: u32) -> Self {
        let watched = Rc::new(Watched::new(listener));
        context.watch.add(watched.clone());
        Self { context, watched }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.watched.forget();
        let (process, worker) = (&self.context.process, self.context.worker);
        process.count(worker, Traffic::Closed);
        if std::thread::panicking() {
            process.count(worker, Traffic::Panics);
        }
    }
}

/// A connection's way and book-keeping; dropping it counts and logs how it ended.
struct Connection<'a> {
    open: &'a Open,
    peer: SocketAddr,
    /// The address that the client asked for.
    local: SocketAddr,
    /// Names of the forwarding rule and the target proxy.
    names: (Arc<str>, Arc<str>),
    has_proxy_header: bool,
    session: Session,
    /// World and service, for PREQUAL's pools.
    of: (u64, ServiceId),
    started: Tick,
    tried: [(u32, u32); MAX_TRIED],
    retries: u32,
    placed: Option<Placed>,
    attempts: u32,
    bytes_up: u64,
    bytes_down: u64,
    loss: Option<Loss>,
    /// How it ended; `None` = the process did.
    detail: Option<StatusDetail>,
    is_logged: bool,
    /// Its forwarding rule is gone, and it has been told when to end.
    is_retiring: Cell<bool>,
}

impl<'a> Connection<'a> {
    /// `None` when the forwarding rule does not lead to a service of connections any more.
    fn new(
        open: &'a Open,
        (world, front): (&World, &Front),
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Option<Self> {
        let relay = front.relay()?;
        let service = world.service(relay.service)?.clone();
        let key = match service.config.affinity {
            Affinity::ClientIp => Some(address::client_ip_key(peer.ip(), local.ip())),
            _ => None,
        };
        Some(Self {
            open,
            peer,
            local,
            names: (front.name.clone(), front.proxy_name.clone()),
            has_proxy_header: relay.has_proxy_header,
            is_logged: is_logged(&open.context, &service),
            session: Session {
                service,
                origin: world.config.places.origin_of(peer.ip()),
                claim: Claim { key, ..Claim::default() },
                upgrade: Upgrade::None,
                tunnel: None,
            },
            of: (world.generation, relay.service),
            started: clock::now(),
            tried: [(u32::MAX, u32::MAX); MAX_TRIED],
            retries: 0,
            placed: None,
            attempts: 0,
            bytes_up: 0,
            bytes_down: 0,
            loss: None,
            detail: None,
            is_retiring: Cell::new(false),
        })
    }

    async fn run(&mut self, stream: TcpStream, certificates: Option<Arc<[Certificate]>>) {
        let client = match certificates {
            None => Stream::Plain(stream),
            // Boxed: a handshake is large, and most connections have none.
            Some(certificates) => match Box::pin(self.shake_hands(stream, &certificates)).await {
                Ok(client) => client,
                Err(detail) => return self.detail = Some(detail),
            },
        };
        match self.reach().await {
            Ok(member) => self.relay(client, member).await,
            Err(detail) => {
                self.detail = Some(detail);
                client.abort();
            }
        }
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        certificates: &Arc<[Certificate]>,
    ) -> Result<Stream, StatusDetail> {
        let handshake = self.open.context.acceptors.accept(stream, certificates);
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT.to_std(), handshake);
        match self.unless_cut(handshake).await {
            None => Err(StatusDetail::ConnectionDrained),
            Some(Err(_)) => Err(StatusDetail::ClientTimedOut),
            Some(Ok(Err(error))) => {
                tracing::debug!(client = %self.peer, %error, "TLS handshake failed");
                Err(StatusDetail::TlsHandshakeFailed)
            }
            Some(Ok(Ok(client))) => Ok(client),
        }
    }

    /// Members one after the other, until one is connected to. Nothing of the client's has been sent before.
    async fn reach(&mut self) -> Result<Stream, StatusDetail> {
        loop {
            self.place().map_err(|none| match none {
                // Nobody is left to try: what the last attempt met is the better word.
                _ if self.retries > 0 => StatusDetail::FailedToConnectToBackend,
                NoPick::NoHealthyMember => StatusDetail::FailedToPickBackend,
                NoPick::AllTried => StatusDetail::FailedToConnectToBackend,
                NoPick::Overloaded => StatusDetail::Overloaded,
            })?;
            if let Some(stream) = self.attempt().await? {
                return Ok(stream);
            }
            if self.retries >= MAX_CONNECT_RETRIES {
                return Err(StatusDetail::FailedToConnectToBackend);
            }
            // Its room is free for the next choice.
            if let (Some(placed), Some(slot)) =
                (self.placed.take(), self.tried.get_mut(self.retries as usize))
            {
                *slot = (placed.backend, placed.member);
            }
            self.retries += 1;
        }
    }

    /// Chooses a member and takes its lease.
    fn place(&mut self) -> Result<(), NoPick> {
        let (session, open) = (&self.session, self.open);
        let (worker, ledger) = (open.context.worker, &session.service.ledger);
        let is_first = self.retries == 0;
        let now = clock::now();
        let ask = Ask {
            origin: session.origin,
            key: session.claim.key,
            pinned: None,
            turn: ledger.turn.next(),
            tried: self.tried.get(..self.retries as usize).unwrap_or(&[]),
        };
        let backends = &session.service.backends;
        let mut numbers = Numbers { backends, now, is_first, pools: &open.context.pools, of: self.of };
        let pick = pick::choose(&session.service.plan.load(), ask, &mut numbers)?;
        // The plan is made from these very lists; one that names what is not there picks nobody.
        let backend = backends.get(pick.backend as usize).ok_or(NoPick::AllTried)?;
        let member = backend.members.get(pick.member as usize).ok_or(NoPick::AllTried)?;
        if is_first {
            backend.ledger.count_pick(worker, pick.reason);
        } else {
            ledger.count_extra(worker, Extra::Retries);
        }
        self.attempts += 1;
        open.watched.set_served_by(Some((member.numbered.number, session.service.config.draining_timeout)));
        self.is_retiring.set(false);
        let lease = Lease::take(backend.ledger.clone(), member.numbered.member.clone(), worker);
        let loss = session.loss((pick.backend, pick.member), (member, None), now);
        if let Some(loss) = loss.map(|loss| if is_first { loss } else { Loss::Failed }) {
            self.loss = Some(loss);
            ledger.count_loss(worker, loss);
        }
        self.placed = Some(Placed { backend: pick.backend, member: pick.member, reason: pick.reason, lease });
        Ok(())
    }

    /// A connection to the member that was chosen; `None` when there is none to be had.
    async fn attempt(&self) -> Result<Option<Stream>, StatusDetail> {
        let Some(member) = self.member() else { return Ok(None) };
        let context = &self.open.context;
        // While others were tried, a reload may have taken it away; nobody would end the connection then.
        if self.retries > 0 && !context.world().member_numbers.contains(&member.numbered.number) {
            return Ok(None);
        }
        match self.unless_cut(self.connect(member)).await {
            None => Err(StatusDetail::ConnectionDrained),
            Some(Ok(stream)) => {
                context.process.count(context.worker, Traffic::BackendConnections);
                Ok(Some(stream))
            }
            Some(Err(error)) => {
                tracing::debug!(member = %member.config.name, address = %member.config.address, %error, "connect failed");
                self.count(Count::Failed, 1);
                Ok(None)
            }
        }
    }

    /// The PROXY line goes first, in clear, as in health checks.
    async fn connect(&self, member: &LiveMember) -> Result<Stream, ConnectError> {
        let address = member.config.address;
        let made = async {
            let mut stream = connect::open(address).await?;
            if self.has_proxy_header {
                let line = proxy_line(self.peer, self.local);
                stream.write_all(&line).await.map_err(ConnectError::Io)?;
            }
            match self.session.service.config.protocol {
                Protocol::Ssl => connect::secure(stream, address, &self.open.context.tls).await,
                _ => Ok(Stream::Plain(stream)),
            }
        };
        let limited = tokio::time::timeout(CONNECT_TIMEOUT.to_std(), made).await;
        limited.unwrap_or(Err(ConnectError::TimedOut(CONNECT_TIMEOUT)))
    }

    async fn relay(&mut self, mut client: Stream, mut member: Stream) {
        let (watched, idle) = (&self.open.watched, self.session.service.config.timeout);
        watched.set_deadline(clock::now() + idle);
        let mut relay = Relay::default();
        let (mut bytes_up, mut bytes_down) = (0, 0);
        let relaying = poll_fn(|cx| {
            let polled = relay.poll(cx, &mut client, &mut member);
            let (up, down) = relay.take_moved();
            if up + down > 0 {
                self.count(Count::BytesUp, up);
                self.count(Count::BytesDown, down);
                bytes_up += up;
                bytes_down += down;
                watched.set_deadline(clock::now() + idle);
            }
            polled
        });
        let ended = self.unless_cut(relaying).await;
        let detail = match ended {
            Some(Ok(())) => StatusDetail::ResponseSentByBackend,
            Some(Err(Side::Client)) if bytes_down > 0 => StatusDetail::ClientDisconnectedAfterPartial,
            Some(Err(Side::Client)) => StatusDetail::ClientDisconnectedBeforeAny,
            Some(Err(Side::Member)) if bytes_down > 0 => StatusDetail::BackendConnectionClosedAfterPartial,
            Some(Err(Side::Member)) => StatusDetail::BackendConnectionClosedBeforeData,
            None if watched.kill.get() || watched.is_leaving() => StatusDetail::ConnectionDrained,
            None => StatusDetail::BackendTimeout,
        };
        if ended == Some(Err(Side::Member)) {
            self.count(Count::Failed, 1);
        }
        if ended != Some(Ok(())) {
            client.abort();
            member.abort();
        }
        (self.bytes_up, self.bytes_down, self.detail) = (bytes_up, bytes_down, Some(detail));
    }

    /// What `future` gives, unless the connection must end before.
    async fn unless_cut<F: Future>(&self, future: F) -> Option<F::Output> {
        let watched = &self.open.watched;
        let mut future = pin!(future);
        poll_fn(|cx| {
            watched.register(cx.waker());
            self.notice_retirement();
            if watched.kill.get() || watched.is_expired() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// A forwarding rule that is gone leaves its connections the time that members which are gone leave theirs.
    fn notice_retirement(&self) {
        let watched = &self.open.watched;
        let limit = self.session.service.config.draining_timeout;
        if watched.drain.get()
            && !self.open.context.is_draining.get()
            && limit > Span::ZERO
            && !self.is_retiring.replace(true)
        {
            watched.end_by(clock::now() + limit);
        }
    }

    fn member(&self) -> Option<&LiveMember> {
        let placed = self.placed.as_ref()?;
        self.session.service.backends.get(placed.backend as usize)?.members.get(placed.member as usize)
    }

    fn count(&self, what: Count, by: u64) {
        if let Some(placed) = &self.placed {
            placed.lease.member().add(self.open.context.worker, what, by);
        }
    }

    fn way(&self) -> Way<'_> {
        let (rule, proxy) = &self.names;
        let service = &self.session.service;
        let mut way =
            Way { forwarding_rule: rule, target_proxy: proxy, service: service.name(), ..Way::default() };
        let Some(placed) = &self.placed else { return way };
        if let Some(backend) = service.config.backends.get(placed.backend as usize) {
            way.backend = &backend.group.name;
            way.member = backend.members.get(placed.member as usize).map(|m| (&*m.name, m.address));
            way.reason = Some(placed.reason);
        }
        way
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        let (context, ledger) = (&self.open.context, &self.session.service.ledger);
        let worker = context.worker;
        let detail = self.detail.unwrap_or(StatusDetail::ConnectionDrained);
        let is_good = detail == StatusDetail::ResponseSentByBackend;
        if self.attempts == 0
            && matches!(detail, StatusDetail::TlsHandshakeFailed | StatusDetail::ClientTimedOut)
        {
            context.process.count_unrouted(worker, detail, None);
        } else {
            ledger.count_detail(worker, detail);
            match &self.placed {
                Some(_) => self.count(if is_good { Count::Class2 } else { Count::Class0 }, 1),
                None => ledger.count_unplaced(worker, None),
            }
        }
        if self.is_logged {
            context.log_connection(&Entry {
                at: clock::wall(),
                duration: clock::now().since(self.started),
                client: self.peer,
                way: self.way(),
                detail,
                is_good,
                bytes_up: self.bytes_up,
                bytes_down: self.bytes_down,
                attempts: self.attempts,
                affinity_loss: self.loss,
            });
        }
    }
}

/// The line of version 1 of the PROXY protocol: whence and whither the client connected.
fn proxy_line(peer: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let (from, to) = (peer.ip().to_canonical(), local.ip().to_canonical());
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    let mut line = Vec::with_capacity(108);
    // Writing to memory does not fail.
    let _ = write!(line, "PROXY {family} {from} {to} {} {}\r\n", peer.port(), local.port());
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_line_names_both_addresses_and_ports_and_no_mapped_ones() {
        let line = |peer: &str, local: &str| {
            String::from_utf8(proxy_line(peer.parse().unwrap(), local.parse().unwrap())).unwrap()
        };
        assert_eq!(line("192.0.2.1:4711", "10.0.0.1:443"), "PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n");
        assert_eq!(
            line("[::ffff:192.0.2.1]:1", "[::ffff:10.0.0.1]:2"),
            "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n"
        );
        assert_eq!(line("[2001:db8::1]:1", "[2001:db8::2]:2"), "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n");
    }
}
