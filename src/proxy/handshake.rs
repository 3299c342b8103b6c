//! TLS with a client, before anything else is said: within a time, and not too many at once.
//!
//! A handshake costs a hundred requests, and whoever only begins one costs us memory. So there is a limit to how many
//! are under way on a worker. Over it, the one that has taken longest is given up, since a client that means it is
//! done within a round trip or two; were all of them young, the newcomer is turned away.
//!
//! No log line per failure: metrics say how many and why.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use quinn::ConnectionError;
use quinn::crypto::rustls::HandshakeData;
use tokio::net::TcpStream;
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, Error, HandshakeKind, PeerIncompatible, ProtocolVersion,
    ServerConnection,
};
use tokio_rustls::server::TlsStream;

use super::context::Context;
use super::record;
use super::watch::Watched;
use crate::clock;
use crate::ledger::handshake::Handshake;
use crate::ledger::process::Traffic;
use crate::model::detail::StatusDetail;
use crate::model::tls::{Termination, suite_name};
use crate::model::unit::{Span, Tick};
use crate::net::accept::{Alpn, HANDSHAKE_TIMEOUT};

/// Protocols inside of HTTPS, best first.
pub(crate) const HTTP: Alpn = &[b"h2", b"http/1.1"];
/// Nothing is said about what the bytes of SSL proxies are.
pub(crate) const BYTES: Alpn = &[];

/// Handshakes under way at a time on one worker.
const MAX_HANDSHAKES: usize = 2048;
/// Handshakes under way from which on newcomers by QUIC must show that their address is theirs.
pub(crate) const RETRY_ABOVE: usize = 256;
/// How long none is given up for another.
const YOUNG: Span = Span::secs(1);

/// What was agreed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secured {
    /// `TLSv1.2`, `TLSv1.3` or `QUIC`.
    pub(crate) protocol: &'static str,
    /// As IANA has it; empty = not known.
    pub(crate) cipher: &'static str,
    /// The same, by its number; 0 = not known.
    pub(crate) suite: u16,
    /// HTTP/2 is to be spoken.
    pub(crate) is_http2: bool,
}

impl Secured {
    pub(crate) fn of(connection: &ServerConnection) -> Self {
        Self {
            protocol: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: connection.negotiated_cipher_suite().map_or("", |suite| suite_name(suite.suite())),
            suite: connection.negotiated_cipher_suite().map_or(0, |suite| suite.suite().into()),
            is_http2: connection.alpn_protocol() == Some(b"h2"),
        }
    }

    /// The same for QUIC, which does not tell its suite.
    pub(crate) const fn of_quic() -> Self {
        Self { protocol: "QUIC", cipher: "", suite: 0, is_http2: false }
    }
}

/// The host that a client asked for by SNI [G 6.10].
pub(crate) fn sni_of(connection: &ServerConnection) -> Option<Rc<str>> {
    connection.server_name().map(plain)
}

/// The same for QUIC.
pub(crate) fn sni_of_quic(connection: &quinn::Connection) -> Option<Rc<str>> {
    let data = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    data.server_name.as_deref().map(plain)
}

/// Lower case, no trailing dot.
fn plain(name: &str) -> Rc<str> {
    name.trim_end_matches('.').to_ascii_lowercase().into()
}

/// A handshake that came to nothing.
#[derive(Debug)]
pub(crate) struct Failed {
    /// In a word.
    pub(crate) detail: StatusDetail,
    /// The connection, when HTTP in clear has come by it: an answer in clear will be understood.
    pub(crate) plain: Option<TcpStream>,
}

impl From<StatusDetail> for Failed {
    fn from(detail: StatusDetail) -> Self {
        Self { detail, plain: None }
    }
}

/// Shakes hands, and counts how that ended. Ends early when `watched` is asked to.
pub(crate) async fn shake(
    context: &Context,
    watched: &Rc<Watched>,
    stream: TcpStream,
    terms: &Arc<Termination>,
    alpn: Alpn,
) -> Result<Box<TlsStream<TcpStream>>, Failed> {
    let turn = Turn::take(context, watched).ok_or(StatusDetail::TlsHandshakeFailed)?;
    let handshake = async {
        if !alpn.is_empty() && speaks_http(&stream).await? {
            return Ok(Err(stream));
        }
        context.acceptors.accept(stream, terms, alpn).await.map(Ok)
    };
    // Boxed: a handshake is large, and most of a connection's life is without it.
    let (how, result) = match tokio::time::timeout(HANDSHAKE_TIMEOUT.to_std(), Box::pin(handshake)).await {
        Err(_) => (Handshake::TimedOut, Err(StatusDetail::ClientTimedOut.into())),
        Ok(Ok(Err(stream))) => {
            let failed = Failed { detail: StatusDetail::PlainHttpToTls, plain: Some(stream) };
            (Handshake::PlainHttp, Err(failed))
        }
        Ok(Ok(Ok(stream))) => (success(stream.get_ref().1), Ok(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            let (how, detail) = failure(&error);
            (how, Err(detail.into()))
        }
    };
    turn.how.set(Some(how));
    result
}

/// The same for QUIC. While many are under way, whoever comes must show first that it is where it says. `None` = it
/// was asked to, and is to come again.
pub(crate) async fn shake_quic(
    context: &Context,
    watched: &Rc<Watched>,
    (incoming, config): (quinn::Incoming, Arc<quinn::ServerConfig>),
) -> Result<Option<quinn::Connection>, StatusDetail> {
    if context.handshaking.len() >= RETRY_ABOVE && !incoming.remote_address_validated() {
        context.process.count(context.worker, Traffic::QuicRetries);
        // What cannot be asked is refused.
        drop(incoming.retry());
        return Ok(None);
    }
    let turn = Turn::take(context, watched).ok_or(StatusDetail::TlsHandshakeFailed)?;
    let handshake = unless_cut(watched, async { incoming.accept_with(config)?.await });
    let (how, result) = match tokio::time::timeout(HANDSHAKE_TIMEOUT.to_std(), Box::pin(handshake)).await {
        Err(_) => (Some(Handshake::TimedOut), Err(StatusDetail::ClientTimedOut)),
        Ok(None) => (None, Err(StatusDetail::TlsHandshakeFailed)),
        Ok(Some(Ok(connection))) => (Some(Handshake::Quic), Ok(Some(connection))),
        Ok(Some(Err(error))) => {
            tracing::debug!(%error, "QUIC handshake failed");
            let (how, detail) = failure_of_quic(&error);
            (Some(how), Err(detail))
        }
    };
    turn.how.set(how);
    result
}

/// What `handshake` gives, unless the connection must end before.
pub(crate) async fn unless_cut<F: Future>(watched: &Watched, handshake: F) -> Option<F::Output> {
    let mut handshake = pin!(handshake);
    poll_fn(|cx| {
        watched.register(cx.waker());
        if watched.kill.get() {
            return Poll::Ready(None);
        }
        handshake.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Of QUIC only alerts are known [RFC 9001 4.8].
fn failure_of_quic(error: &ConnectionError) -> (Handshake, StatusDetail) {
    let failed = StatusDetail::TlsHandshakeFailed;
    let error = match error {
        ConnectionError::TransportError(error) => error,
        ConnectionError::ConnectionClosed(close) if alert(close.error_code.into()).is_some() => {
            return (Handshake::AlertReceived, failed);
        }
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset => return (Handshake::ClientClosed, failed),
        ConnectionError::TimedOut => return (Handshake::TimedOut, StatusDetail::ClientTimedOut),
        ConnectionError::VersionMismatch
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => return (Handshake::Other, failed),
    };
    match alert(error.code.into()) {
        Some(AlertDescription::NoApplicationProtocol) => (Handshake::NoCommonProtocol, failed),
        Some(AlertDescription::ProtocolVersion) => (Handshake::NoCommonVersion, failed),
        Some(AlertDescription::HandshakeFailure) => (Handshake::NoCommonCipher, failed),
        Some(AlertDescription::CertificateRequired) => {
            (Handshake::ClientCertificate, StatusDetail::ClientCertNotProvided)
        }
        Some(
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA,
        ) => (Handshake::ClientCertificate, StatusDetail::ClientCertValidationFailed),
        _ => (Handshake::Other, failed),
    }
}

/// The alert that a code of QUIC stands for.
fn alert(code: u64) -> Option<AlertDescription> {
    let alert = u8::try_from(code.checked_sub(0x100)?).ok()?;
    Some(AlertDescription::from(alert))
}

/// Whether a request in clear begins here: all methods are capital letters, and no record of TLS begins with one.
async fn speaks_http(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let seen = stream.peek(&mut first).await?;
    Ok(seen > 0 && first[0].is_ascii_uppercase())
}

fn success(connection: &ServerConnection) -> Handshake {
    let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    match (connection.protocol_version(), is_resumed) {
        (Some(ProtocolVersion::TLSv1_2), false) => Handshake::Full12,
        (Some(ProtocolVersion::TLSv1_2), true) => Handshake::Resumed12,
        (_, false) => Handshake::Full13,
        (_, true) => Handshake::Resumed13,
    }
}

/// What went wrong: for metrics, and for a log line.
fn failure(error: &io::Error) -> (Handshake, StatusDetail) {
    use PeerIncompatible as P;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let how = match inner {
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Handshake::ClientClosed,
            _ => Handshake::Other,
        },
        Some(Error::InvalidMessage(_)) => Handshake::NotTls,
        Some(Error::AlertReceived(_)) => Handshake::AlertReceived,
        Some(Error::NoApplicationProtocol) => Handshake::NoCommonProtocol,
        Some(Error::PeerIncompatible(
            P::Tls12NotOffered
            | P::Tls12NotOfferedOrEnabled
            | P::Tls13RequiredForQuic
            | P::SupportedVersionsExtensionRequired
            // What clients before TLS 1.2 do not send.
            | P::SignatureAlgorithmsExtensionRequired,
        )) => Handshake::NoCommonVersion,
        Some(Error::PeerIncompatible(_)) => Handshake::NoCommonCipher,
        Some(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => Handshake::ClientCertificate,
        Some(_) => Handshake::Other,
    };
    (how, inner.map_or(StatusDetail::TlsHandshakeFailed, detail))
}

pub(super) fn detail(error: &Error) -> StatusDetail {
    use CertificateError as C;
    match error {
        Error::NoCertificatesPresented => StatusDetail::ClientCertNotProvided,
        Error::InvalidCertificate(C::InvalidPurpose | C::InvalidPurposeContext { .. }) => {
            StatusDetail::ClientCertInvalidEku
        }
        Error::InvalidCertificate(
            C::UnsupportedSignatureAlgorithmContext { .. }
            | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => StatusDetail::ClientCertUnsupportedKey,
        Error::InvalidCertificate(_) => StatusDetail::ClientCertValidationFailed,
        _ => StatusDetail::TlsHandshakeFailed,
    }
}

/// Of failed handshakes only those count as requests that Google logs as such, or that get an answer; the rest is
/// the noise of the internet.
pub(crate) fn note(context: &Context, detail: StatusDetail, whence: (u32, IpAddr), status: Option<u16>) {
    let is_told = matches!(
        detail,
        StatusDetail::ClientCertNotProvided
            | StatusDetail::ClientCertValidationFailed
            | StatusDetail::ClientCertInvalidEku
            | StatusDetail::ClientCertUnsupportedKey
            | StatusDetail::PlainHttpToTls
    );
    if is_told {
        context.process.count_unrouted(context.worker, detail, status);
        record::log_refusal(context, whence, status, detail);
    }
}

/// A worker's handshakes under way, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Handshaking {
    all: RefCell<BTreeMap<u64, (Tick, Rc<Watched>)>>,
    next: Cell<u64>,
}

impl Handshaking {
    /// How many.
    fn len(&self) -> usize {
        self.all.borrow().len()
    }

    /// The number of a newcomer; `None` when there is no room for it.
    fn enter(&self, watched: &Rc<Watched>, now: Tick) -> Option<u64> {
        let mut all = self.all.borrow_mut();
        if all.len() >= MAX_HANDSHAKES {
            let oldest = all.first_entry().filter(|oldest| now.since(oldest.get().0) > YOUNG)?;
            oldest.remove().1.cut();
        }
        let number = self.next.replace(self.next.get() + 1);
        all.insert(number, (now, watched.clone()));
        Some(number)
    }

    /// Whether it was still there.
    fn leave(&self, number: u64) -> bool {
        self.all.borrow_mut().remove(&number).is_some()
    }
}

/// One handshake's place among those under way; dropping it counts how it ended.
struct Turn<'a> {
    context: &'a Context,
    number: u64,
    /// `None` = it was cut.
    how: Cell<Option<Handshake>>,
}

impl<'a> Turn<'a> {
    fn take(context: &'a Context, watched: &Rc<Watched>) -> Option<Self> {
        let handshakes = &context.process.handshakes;
        handshakes.begin(context.worker);
        let Some(number) = context.handshaking.enter(watched, clock::now()) else {
            handshakes.end(context.worker, Handshake::TooMany);
            return None;
        };
        Some(Self { context, number, how: Cell::new(None) })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let was_there = self.context.handshaking.leave(self.number);
        let cut = if was_there { Handshake::Drained } else { Handshake::TooMany };
        let how = self.how.get().unwrap_or(cut);
        self.context.process.handshakes.end(self.context.worker, how);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn over_the_limit_the_oldest_gives_way_unless_all_are_young() {
        let handshaking = Handshaking::default();
        let start = Tick(1);
        let watched: Vec<_> = (0..MAX_HANDSHAKES).map(|_| Rc::new(Watched::new(0))).collect();
        let numbers: Vec<_> = watched.iter().map(|one| handshaking.enter(one, start).unwrap()).collect();
        let late = Rc::new(Watched::new(0));
        assert_eq!(handshaking.enter(&late, start + YOUNG), None, "all of them are young");
        assert!(handshaking.leave(numbers[0]));
        assert!(handshaking.enter(&late, start + YOUNG).is_some(), "one has ended");
        assert!(handshaking.enter(&late, start + YOUNG + Span::millis(1)).is_some());
        assert!(watched[1].kill.get() && !watched[2].kill.get());
        assert!(!handshaking.leave(numbers[1]), "it was taken out");
        assert_eq!(handshaking.all.borrow().len(), MAX_HANDSHAKES);
    }

    #[test]
    fn each_kind_of_failure_has_its_word() {
        let told = |error: Error| failure(&io::Error::new(io::ErrorKind::InvalidData, error));
        let bad = |error| told(Error::InvalidCertificate(error));
        assert_eq!(
            told(Error::NoCertificatesPresented),
            (Handshake::ClientCertificate, StatusDetail::ClientCertNotProvided)
        );
        assert_eq!(
            bad(CertificateError::UnknownIssuer),
            (Handshake::ClientCertificate, StatusDetail::ClientCertValidationFailed)
        );
        assert_eq!(bad(CertificateError::InvalidPurpose).1, StatusDetail::ClientCertInvalidEku);
        let old = told(Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled));
        assert_eq!(old, (Handshake::NoCommonVersion, StatusDetail::TlsHandshakeFailed));
        let gone = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(failure(&gone), (Handshake::ClientClosed, StatusDetail::TlsHandshakeFailed));
    }
}
