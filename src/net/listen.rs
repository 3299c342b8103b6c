//! Listening sockets: one per data worker on the same address, so that the kernel deals new connections out to them.
//!
//! `SO_REUSEPORT` instead of one shared listener: no worker wakes for a connection that another one takes, and a
//! reload can bind before it lets go. The price: a second process of the same user on the same address is not
//! refused by the kernel, it shares the connections.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::model::unit::Span;

/// Connections that may wait for `accept` per listener. The kernel caps it at `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;

/// First pause after `accept` failed for want of something; doubles with each failure in a row.
pub const FIRST_PAUSE: Span = Span::millis(5);

/// Longest pause between two tries of `accept`.
pub const LONGEST_PAUSE: Span = Span::secs(1);

/// `copies` (at least one) listeners on `address`: non-blocking, `SO_REUSEPORT`, backlog [`BACKLOG`].
///
/// An address where another process listens is refused, even if that one shares it.
///
/// Port 0 asks the system for a port once; all copies get that one, and `local_addr` tells it. An IPv6 wildcard
/// takes IPv4 connections too, whatever the system's default is.
///
/// # Errors
///
/// When a copy cannot be bound; none stays open then.
pub fn bind(address: SocketAddr, copies: usize, beside: Beside) -> io::Result<Vec<TcpListener>> {
    if beside == Beside::Nobody && address.port() != 0 {
        open(address, Shared::No, Type::STREAM)?;
    }
    let first = bind_one(address)?;
    let bound = first.local_addr()?;
    std::iter::once(Ok(first)).chain((1..copies).map(|_| bind_one(bound))).collect()
}

/// Who of `workers` (at least one) accepts on which socket: each has at least one, and each socket somebody. Where
/// there are fewer sockets than workers, as when another process opened them, some share one.
///
/// # Errors
///
/// When the system has no more descriptors.
pub fn deal(sockets: &[TcpListener], workers: usize) -> io::Result<Vec<(usize, TcpListener)>> {
    let workers = workers.max(1);
    let turns = 0..workers.max(sockets.len());
    let dealt = turns.zip(sockets.iter().cycle());
    dealt.map(|(turn, socket)| Ok((turn % workers, socket.try_clone()?))).collect()
}

/// The same for datagrams: `copies` sockets of UDP on `address`, whose port is not 0. The kernel gives all datagrams
/// between two addresses to one socket, as long as their number is the same.
///
/// # Errors
///
/// When a copy cannot be bound; none stays open then.
pub fn bind_datagrams(address: SocketAddr, copies: usize) -> io::Result<Vec<UdpSocket>> {
    open(address, Shared::No, Type::DGRAM)?;
    let bind_one = |_| {
        let socket = open(address, Shared::Yes, Type::DGRAM)?;
        make_room(&socket);
        Ok(socket.into())
    };
    (0..copies.max(1)).map(bind_one).collect()
}

/// Room for datagrams, as far as the system allows: a burst must not be lost while its worker serves others.
pub fn make_room(socket: &Socket) {
    let _ = socket.set_recv_buffer_size(DATAGRAM_BUFFER);
    let _ = socket.set_send_buffer_size(DATAGRAM_BUFFER);
}

/// [`bind`] with a port of the system's choice that is free for datagrams too.
///
/// # Errors
///
/// As there; when no such port was found.
pub fn bind_with_datagrams(address: SocketAddr, copies: usize) -> io::Result<Vec<TcpListener>> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..CHOICES {
        let listeners = bind(address, copies, Beside::Nobody)?;
        let chosen = listeners.first().map_or(Ok(address), TcpListener::local_addr)?;
        match bind_datagrams(chosen, 1) {
            Ok(_) => return Ok(listeners),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Ports that the system is asked for.
const CHOICES: usize = 20;

/// Bytes of datagrams that the system is asked to hold for a socket. It caps them at `net.core.rmem_max`.
const DATAGRAM_BUFFER: usize = 2 << 20;

/// Who may listen there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Nobody: another process that shares its port, such as a second proxy of the same user, would take a part of
    /// the connections unseen.
    Nobody,
    /// This process, on a listener that is about to be retired.
    Ourselves,
}

/// Bytes for a client that reads slowly that the system takes beyond what it may send now; without this, megabytes for
/// each, until its memory for TCP is used up and everybody waits.
#[cfg(target_os = "linux")]
const NOT_SENT: u32 = 128 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shared {
    Yes,
    No,
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address, Shared::Yes, Type::STREAM)?;
    hand_on(&socket)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What Linux hands on from a listening socket to accepted streams, which saves calls for each.
///
/// # Errors
///
/// Those of the system.
pub fn hand_on(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(NOT_SENT)?;
    Ok(())
}

fn open(address: SocketAddr, shared: Shared, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // For datagrams it would mean that anyone may share the port.
    socket.set_reuse_address(kind == Type::STREAM)?;
    socket.set_reuse_port(shared == Shared::Yes)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Sets `TCP_NODELAY` on an accepted stream: answers are written whole, waiting for more only delays them. A peer
/// that is gone already makes this fail; the next read says so, hence no error here.
pub fn prepare(stream: &tokio::net::TcpStream) {
    if !cfg!(target_os = "linux") {
        let _ = stream.set_nodelay(true);
    }
}

/// How long an accept loop waits after a failure. One per loop, owned by its worker.
///
/// Out of descriptors or memory, `accept` fails at once and again: without a pause the loop would take a whole core
/// from the requests whose end frees what is missing.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// No failure yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of a failed `accept`: how long to wait before the next. Zero when only that connection was at
    /// fault, as when the client gave up while it waited.
    pub fn failed(&mut self, error: &io::Error) -> Span {
        if is_of_connection(error) {
            return Span::ZERO;
        }
        let pause = FIRST_PAUSE.0 << self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        Span(pause).min(LONGEST_PAUSE)
    }

    /// Takes note of an accepted connection: the next pause is the first again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// Whether the failure says something about one connection, not about us. Unlisted kinds are ours: a needless pause
/// is harmless, a busy loop is not.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::TimedOut
            | Kind::Interrupted
            | Kind::WouldBlock
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TOO_MANY_FILES: i32 = 24;

    #[test]
    fn copies_share_the_port_that_the_system_gave_to_the_first() {
        for any in ["127.0.0.1:0", "[::]:0"] {
            let listeners = bind(any.parse().unwrap(), 3, Beside::Nobody).unwrap();
            let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
            assert!(ports[0] != 0 && ports == [ports[0]; 3], "{any}: {ports:?}");
        }
    }

    #[test]
    fn no_copies_still_means_one() {
        assert_eq!(bind("127.0.0.1:0".parse().unwrap(), 0, Beside::Nobody).unwrap().len(), 1);
    }

    #[test]
    fn a_port_that_someone_listens_on_without_sharing_is_refused() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = bind(taken.local_addr().unwrap(), 1, Beside::Nobody).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn an_ipv6_wildcard_takes_ipv4_connections() {
        let listeners = bind("[::]:0".parse().unwrap(), 1, Beside::Nobody).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    #[tokio::test]
    async fn an_accepted_stream_does_not_wait_for_more_to_send() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), 1, Beside::Nobody).unwrap().remove(0);
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, _client) = tokio::join!(listener.accept(), tokio::net::TcpStream::connect(address));
        let (stream, _) = accepted.unwrap();
        prepare(&stream);
        assert!(stream.nodelay().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket2::SockRef::from(&stream).tcp_notsent_lowat().unwrap(), NOT_SENT);
    }

    #[test]
    fn want_of_descriptors_doubles_the_pause_up_to_a_second_and_success_resets_it() {
        let (mut backoff, error) = (Backoff::new(), io::Error::from_raw_os_error(TOO_MANY_FILES));
        let pauses: Vec<u64> = (0..10).map(|_| backoff.failed(&error).0 / 1_000_000).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.succeeded();
        assert_eq!(backoff.failed(&error), FIRST_PAUSE);
    }

    #[test]
    fn a_client_that_gave_up_costs_no_pause() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.failed(&io::ErrorKind::ConnectionAborted.into()), Span::ZERO);
    }

    #[test]
    fn every_worker_gets_a_socket_and_every_socket_a_worker() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3, Beside::Nobody).unwrap();
        for (workers, expected) in
            [(1, vec![0, 0, 0]), (2, vec![0, 1, 0]), (3, vec![0, 1, 2]), (5, vec![0, 1, 2, 3, 4])]
        {
            let dealt: Vec<_> = deal(&sockets, workers).unwrap().into_iter().map(|(who, _)| who).collect();
            assert_eq!(dealt, expected, "{workers} workers");
        }
    }

    #[test]
    fn a_port_that_another_process_would_share_is_refused_and_our_own_is_not() {
        let mine = bind("127.0.0.1:0".parse().unwrap(), 2, Beside::Nobody).unwrap();
        let address = mine[0].local_addr().unwrap();
        assert_eq!(bind(address, 1, Beside::Nobody).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(bind(address, 1, Beside::Ourselves).unwrap().len(), 1);
    }
}
