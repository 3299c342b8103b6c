//! One connection to a member, in clear or over TLS, within a time limit; and a connection as such, whoever opened it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::join;
use super::tls;
use crate::model::unit::Span;

/// Longest wait for a connection to a member, TLS handshake included: 4.5 s [G 5].
pub const CONNECT_TIMEOUT: Span = Span::millis(4500);

/// A connection to a member, or of a client.
#[derive(Debug)]
pub enum Stream {
    /// In clear.
    Plain(TcpStream),
    /// Over TLS; boxed, since its state is some kilobytes.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why there is no connection. None of these has sent a byte of a request: trying another member is safe.
#[derive(Debug)]
pub enum ConnectError {
    /// Not within this limit. The member's or the network's fault.
    TimedOut(Span),
    /// Nothing listens there.
    Refused,
    /// No way to that host or network.
    Unreachable,
    /// The connection was cut while it was made.
    Reset,
    /// The TLS handshake failed; in the words of the library.
    Tls(String),
    /// The server speaks TLS, and none of the protocols that we asked for.
    NoProtocol,
    /// **We** have no descriptor, port or memory left for it. Another member would not help.
    Exhausted(io::Error),
    /// A host name that has not led to any address yet.
    Unresolved,
    /// Anything else.
    Io(io::Error),
}

/// Connects to `address` within `limit`, over TLS when `tls` is given. `TCP_NODELAY` is set. When the returned
/// future is dropped, the attempt ends.
///
/// # Errors
///
/// See [`ConnectError`].
pub async fn connect(
    address: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    limit: Span,
) -> Result<Stream, ConnectError> {
    let made = async {
        let stream = open(address).await?;
        match tls {
            None => Ok(Stream::Plain(stream)),
            Some(config) => secure(stream, address, config).await,
        }
    };
    tokio::time::timeout(limit.to_std(), made).await.unwrap_or(Err(ConnectError::TimedOut(limit)))
}

/// The TCP part of [`connect`], without a time limit.
///
/// # Errors
///
/// See [`ConnectError`].
pub async fn open(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    let stream = TcpStream::connect(address).await.map_err(ConnectError::of_tcp)?;
    if connects_to_itself(&stream, address) {
        return Err(ConnectError::Refused);
    }
    // Fails only when the peer has cut the connection again; the first use says so.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// On one host, a connection to a port where nothing listens may get that very port as its own, and then TCP
/// connects it to itself: an answer from nobody, and the member could not bind its port any more.
fn connects_to_itself(stream: &TcpStream, address: SocketAddr) -> bool {
    stream.local_addr().is_ok_and(|own| own == address)
}

/// The TLS part of [`connect`], without a time limit. What has been written to `stream` before (a PROXY line) is in
/// clear.
///
/// # Errors
///
/// [`ConnectError::Tls`], [`ConnectError::Reset`] or [`ConnectError::Io`].
pub async fn secure(
    stream: TcpStream,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<Stream, ConnectError> {
    secure_as(stream, tls::server_name(address.ip()), config).await
}

/// The same, greeting the server by this name.
///
/// # Errors
///
/// As [`secure`].
pub async fn secure_as(
    stream: TcpStream,
    name: ServerName<'static>,
    config: &Arc<ClientConfig>,
) -> Result<Stream, ConnectError> {
    let connector = TlsConnector::from(config.clone());
    // Boxed: a handshake is large, and callers hold this future whether or not they use TLS.
    let handshake = Box::pin(connector.connect(name, stream));
    let stream = handshake.await.map_err(ConnectError::of_handshake)?;
    Ok(Stream::Tls(Box::new(stream.into())))
}

impl Stream {
    /// What both sides have agreed on in TLS (ALPN).
    #[must_use]
    pub fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// Ends it with a reset instead of an orderly close, so that nobody takes what came so far for the whole.
    pub fn abort(self) {
        let socket = match &self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        abort(socket);
    }
}

/// Makes the close of this socket a reset.
pub fn abort(socket: &TcpStream) {
    // Fails only when the peer has cut the connection already; then there is nobody to tell.
    let _ = socket2::SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO));
}

fn is_no_protocol(error: &io::Error) -> bool {
    let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(alert, Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)))
}

impl ConnectError {
    /// One word for logs and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TimedOut(_) => "timed_out",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Tls(_) => "tls",
            Self::NoProtocol => "no_protocol",
            Self::Exhausted(_) => "exhausted",
            Self::Unresolved => "unresolved",
            Self::Io(_) => "io",
        }
    }

    fn of_tcp(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused => Self::Refused,
            Kind::ConnectionReset | Kind::ConnectionAborted => Self::Reset,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => Self::Unreachable,
            // The kernel's own limit, when it is shorter than ours.
            Kind::TimedOut => Self::Unreachable,
            Kind::AddrNotAvailable | Kind::OutOfMemory => Self::Exhausted(error),
            _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => Self::Exhausted(error),
            _ => Self::Io(error),
        }
    }

    fn of_handshake(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Self::Reset,
            Kind::UnexpectedEof => Self::Tls("connection closed during the handshake".to_owned()),
            // A TLS error travels inside an I/O error of this kind.
            Kind::InvalidData if is_no_protocol(&error) => Self::NoProtocol,
            Kind::InvalidData => Self::Tls(error.to_string()),
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "no connection within {} s", limit.as_secs()),
            Self::Refused => f.write_str("connection refused"),
            Self::Unreachable => f.write_str("host or network unreachable"),
            Self::Reset => f.write_str("connection reset while connecting"),
            Self::NoProtocol => f.write_str("TLS handshake failed: no protocol in common"),
            Self::Tls(words) => write!(f, "TLS handshake failed: {words}"),
            Self::Exhausted(error) => {
                write!(f, "no descriptor, port or memory left here for a connection: {error}")
            }
            Self::Unresolved => f.write_str("the host name has not been resolved"),
            Self::Io(error) => write!(f, "cannot connect: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Too many open files in this process; std has no name for it. The same number on Linux, macOS and the BSDs.
const EMFILE: i32 = 24;
/// Too many open files in this system.
const ENFILE: i32 = 23;

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => join::poll_write(stream, cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::net::tls::bad_servers::{EXPIRED, server};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Writes two slices in one call, reads them back from an echo.
    async fn echo_two_slices(mut stream: Stream) -> Vec<u8> {
        assert!(stream.is_write_vectored());
        let written =
            stream.write_vectored(&[io::IoSlice::new(b"ab"), io::IoSlice::new(b"cd")]).await.unwrap();
        assert_eq!(written, 4, "both slices went out in one call");
        stream.flush().await.unwrap();
        let mut back = vec![0; 4];
        stream.read_exact(&mut back).await.unwrap();
        stream.shutdown().await.unwrap();
        back
    }

    #[tokio::test]
    async fn a_plain_connection_carries_vectored_writes_without_delay() {
        let (listener, address) = listener().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
        let stream = connect(address, None, CONNECT_TIMEOUT).await.unwrap();
        let Stream::Plain(ref tcp) = stream else { panic!("plain was asked for") };
        assert!(tcp.nodelay().unwrap());
        assert_eq!(echo_two_slices(stream).await, b"abcd");
        server.await.unwrap();
    }

    /// [G 6.4]
    #[tokio::test]
    async fn a_tls_connection_accepts_any_certificate_and_carries_vectored_writes() {
        let (listener, address) = listener().await;
        let acceptor = tokio_rustls::TlsAcceptor::from(server(EXPIRED, &rustls::version::TLS13));
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (mut read, mut write) = tokio::io::split(acceptor.accept(stream).await.unwrap());
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let stream = connect(address, Some(&tls::unverified()), CONNECT_TIMEOUT).await.unwrap();
        assert_eq!(echo_two_slices(stream).await, b"abcd");
    }

    #[tokio::test]
    async fn a_port_where_nothing_listens_refuses() {
        let (listener, address) = listener().await;
        drop(listener);
        let error = connect(address, None, CONNECT_TIMEOUT).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), ("refused", "connection refused"));
    }

    #[tokio::test]
    async fn a_connection_of_a_socket_to_itself_counts_as_refused() {
        // Binding first makes sure of what otherwise happens by chance: our own port is the one we connect to.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        let stream = socket.connect(own).await.unwrap();
        assert_eq!(stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        assert!(connects_to_itself(&stream, own));
    }

    #[tokio::test]
    async fn a_server_that_never_shakes_hands_runs_into_the_limit() {
        let (_listener, address) = listener().await;
        let limit = Span::millis(20);
        let error = connect(address, Some(&tls::unverified()), limit).await.unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut(l) if l == limit));
        assert_eq!(error.to_string(), "no connection within 0.02 s");
    }

    #[tokio::test]
    async fn a_server_that_speaks_no_tls_is_told_apart_from_one_that_is_down() {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read(&mut [0; 1024]).await;
        });
        let error = connect(address, Some(&tls::unverified()), CONNECT_TIMEOUT).await.unwrap_err();
        assert_eq!(error.kind(), "tls", "{error}");
    }

    #[test]
    fn want_of_descriptors_or_ports_is_ours_and_not_the_members() {
        for error in [io::Error::from_raw_os_error(EMFILE), io::ErrorKind::AddrNotAvailable.into()] {
            assert_eq!(ConnectError::of_tcp(error).kind(), "exhausted");
        }
    }
}
