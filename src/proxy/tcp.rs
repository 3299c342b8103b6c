//! A connection of a target TCP or SSL proxy: TLS with the client, pick, lease, connect, then bytes both ways.
//!
//! A connection is to a TCP or SSL service what a request is to an HTTP one: it takes room in its backend's gate from
//! the pick to its end, and is counted and logged once. `timeoutSec` is how long neither side may be silent. Whatever
//! ends it early is a reset on both sides, so that nobody takes what came so far for the whole.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::arrival::Arrival;
use super::connection::{Connection, Open};
use super::context::Context;
use super::relay::{Relay, Side};
use super::retry::MAX_CONNECT_RETRIES;
use super::{handshake, proxy_header};
use crate::balance::pick::NoPick;
use crate::clock;
use crate::ledger::member::Count;
use crate::ledger::process::Traffic;
use crate::model::detail::StatusDetail;
use crate::model::service::Protocol;
use crate::model::tls::Termination;
use crate::net::connect::{self, CONNECT_TIMEOUT, ConnectError, Stream};
use crate::net::{dial, tls};
use crate::world::LiveMember;

/// Serves a connection until it ends.
pub(crate) async fn serve(context: Rc<Context>, arrival: Arrival, listener: u32) {
    let Arrival { stream, peer, local } = arrival;
    let open = Open::new(context, listener);
    let world = open.context.world();
    let Some(front) = world.front(listener) else {
        open.context.process.count_unrouted(open.context.worker, StatusDetail::ConfigNotFound, None);
        return connect::abort(&stream);
    };
    let terms = front.tls().cloned();
    let Some(mut connection) = Connection::new(&open, (&world, front), peer, local) else {
        return connect::abort(&stream);
    };
    // A connection may last for days: it keeps its service, and not the world.
    drop(world);
    connection.run(stream, terms).await;
}

impl Connection<'_> {
    async fn run(&mut self, stream: TcpStream, terms: Option<Arc<Termination>>) {
        let client = match terms {
            None => Stream::Plain(stream),
            // Boxed: a handshake is large, and most connections have none.
            Some(terms) => match Box::pin(self.shake_hands(stream, &terms)).await {
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

    async fn shake_hands(&self, stream: TcpStream, terms: &Arc<Termination>) -> Result<Stream, StatusDetail> {
        let (context, watched) = (&self.open.context, &self.open.watched);
        let handshake = handshake::shake(context, watched, stream, terms, handshake::BYTES);
        match self.unless_cut(handshake).await {
            None => Err(StatusDetail::ConnectionDrained),
            Some(Err(failed)) => Err(failed.detail),
            Some(Ok(client)) => Ok(Stream::Tls(Box::new((*client).into()))),
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
            self.exclude();
        }
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
                tracing::debug!(member = %member.config.name, address = member.config.place(), %error, "connect failed");
                self.count(Count::Failed, 1);
                Ok(None)
            }
        }
    }

    /// The PROXY line goes first, in clear, as in health checks.
    async fn connect(&self, member: &LiveMember) -> Result<Stream, ConnectError> {
        let address = member.config.address;
        let addresses = match &member.endpoint.resolution {
            Some(resolution) => resolution.in_turn(),
            None => vec![address.ip()],
        };
        let name = match &member.config.host {
            Some(host) => dial::name_of(host)?,
            None => tls::server_name(address.ip()),
        };
        let attempt = |address| self.connect_to(address, name.clone());
        let connected = dial::in_turn((&addresses, address.port()), CONNECT_TIMEOUT, attempt).await;
        connected.map(|(stream, _)| stream)
    }

    async fn connect_to(
        &self,
        address: SocketAddr,
        name: ServerName<'static>,
    ) -> Result<Stream, ConnectError> {
        let mut stream = connect::open(address).await?;
        if self.has_proxy_header {
            let line = proxy_header::write_line(self.peer, self.local);
            stream.write_all(&line).await.map_err(ConnectError::Io)?;
        }
        match self.session.service.config.protocol {
            Protocol::Ssl => connect::secure_as(stream, name, &self.open.context.tls).await,
            _ => Ok(Stream::Plain(stream)),
        }
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
}
