//! TLS to clients: which certificate, and one configuration for each list of certificates.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::connect::Stream;
use crate::model::certificate::Certificate;
use crate::model::unit::Span;

/// How long a client may take over the TLS handshake [G 5].
pub const HANDSHAKE_TIMEOUT: Span = Span::secs(10);

/// Seals what a returning client needs to take up its session again, whichever worker it meets. `None` when the system
/// has no randomness: then every handshake is a full one.
pub type Ticketer = Option<Arc<dyn ProducesTickets>>;

/// A ticketer with keys of its own, which it changes about every six hours. Make one for the process.
#[must_use]
pub fn ticketer() -> Ticketer {
    ring::Ticketer::new().ok()
}

/// A worker's TLS configurations, made when they are first asked for.
pub struct Acceptors {
    ticketer: Ticketer,
    made: RefCell<Vec<Made>>,
}

type Made = (Arc<[Certificate]>, Arc<ServerConfig>);

impl Acceptors {
    /// None yet.
    #[must_use]
    pub const fn new(ticketer: Ticketer) -> Self {
        Self { ticketer, made: RefCell::new(Vec::new()) }
    }

    /// Shakes hands with a client: TLS 1.2 or 1.3, no client certificate, no ALPN. The certificate is the first one
    /// that is for the server that the client names, else the first one [G 6.13]. Without a time limit. When the
    /// returned future is dropped, the connection ends.
    ///
    /// # Errors
    /// Whatever the client did wrong, or that it has gone.
    pub async fn accept(&self, stream: TcpStream, certificates: &Arc<[Certificate]>) -> io::Result<Stream> {
        let acceptor = TlsAcceptor::from(self.config(certificates));
        let stream = acceptor.accept(stream).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }

    fn config(&self, certificates: &Arc<[Certificate]>) -> Arc<ServerConfig> {
        let mut made = self.made.borrow_mut();
        if let Some((_, config)) = made.iter().find(|(of, _)| Arc::ptr_eq(of, certificates)) {
            return config.clone();
        }
        // Those that no world has any more.
        made.retain(|(of, _)| Arc::strong_count(of) > 1);
        let config = Arc::new(configure(certificates, &self.ticketer));
        made.push((certificates.clone(), config.clone()));
        config
    }
}

impl fmt::Debug for Acceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptors").finish_non_exhaustive()
    }
}

#[allow(clippy::expect_used)]
fn configure(certificates: &Arc<[Certificate]>, ticketer: &Ticketer) -> ServerConfig {
    // Both versions are compiled in, and ring has suites for both: this cannot fail.
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName(certificates.iter().cloned().collect())));
    // Sessions are the clients' to keep: nothing grows here, and all workers take up each other's.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if let Some(ticketer) = ticketer {
        config.ticketer = ticketer.clone();
    }
    config
}

/// Chooses by the name that the client asks for.
#[derive(Debug)]
struct ByName(Vec<Certificate>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.0.iter().find(|one| one.is_for(name)));
        named.or(self.0.first()).map(|certificate| certificate.certified().clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::net::tls;
    use rustls::HandshakeKind;
    use rustls::pki_types::ServerName;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn certificates() -> Arc<[Certificate]> {
        let one = (include_str!("../model/testdata/one.pem"), include_str!("../model/testdata/one.key"));
        let two = (include_str!("../model/testdata/two.pem"), include_str!("../model/testdata/two.key"));
        [("one", one), ("two", two)]
            .map(|(name, (chain, key))| Certificate::read(name, chain, key).unwrap())
            .into()
    }

    /// The certificate that a client gets who asks for `name`, and whether it had to show it.
    async fn shake(
        acceptors: &Acceptors,
        certificates: &Arc<[Certificate]>,
        client: &Arc<rustls::ClientConfig>,
        name: &'static str,
    ) -> (usize, HandshakeKind) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = async {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let name = ServerName::try_from(name).unwrap();
            let mut stream =
                tokio_rustls::TlsConnector::from(client.clone()).connect(name, stream).await.unwrap();
            // Tickets come with the first bytes.
            stream.read_exact(&mut [0]).await.unwrap();
            let (_, connection) = stream.get_ref();
            let shown = connection.peer_certificates().unwrap().first().unwrap();
            let index =
                certificates.iter().position(|one| one.certified().cert.first() == Some(shown)).unwrap();
            (index, connection.handshake_kind().unwrap())
        };
        let accepting = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptors.accept(stream, certificates).await.unwrap();
            stream.write_all(&[1]).await.unwrap();
            stream.flush().await.unwrap();
        };
        tokio::join!(connecting, accepting).0
    }

    #[tokio::test]
    async fn g_6_13_the_certificate_goes_by_the_name_asked_for_and_the_first_is_for_everyone_else() {
        let (acceptors, certificates) = (Acceptors::new(ticketer()), certificates());
        let mut chosen = Vec::new();
        for name in ["one.example", "two.example", "a.wild.example", "other.example", "127.0.0.1"] {
            chosen.push(shake(&acceptors, &certificates, &tls::unverified(), name).await.0);
        }
        assert_eq!(chosen, [0, 1, 0, 0, 0]);
    }

    #[tokio::test]
    async fn a_session_is_taken_up_by_another_worker() {
        let (ticketer, certificates, client) = (ticketer(), certificates(), tls::unverified());
        let (first, second) = (Acceptors::new(ticketer.clone()), Acceptors::new(ticketer));
        let full = shake(&first, &certificates, &client, "two.example").await;
        let resumed = shake(&second, &certificates, &client, "two.example").await;
        assert_eq!((full.1, resumed.1), (HandshakeKind::Full, HandshakeKind::Resumed));
    }

    #[test]
    fn configurations_are_made_once_and_forgotten_with_their_certificates() {
        let (acceptors, old) = (Acceptors::new(None), certificates());
        let made = acceptors.config(&old);
        assert!(Arc::ptr_eq(&made, &acceptors.config(&old)));
        drop(old);
        acceptors.config(&certificates());
        assert_eq!(acceptors.made.borrow().len(), 1);
    }
}
