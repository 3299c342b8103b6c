//! TLS to clients: which certificate, and one configuration for each proxy that speaks TLS.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::model::certificate::Certificate;
use crate::model::tls::Termination;
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

type Made = (Arc<Termination>, Arc<ServerConfig>);

/// Protocols that may be spoken inside, best first; empty = none is named.
pub type Alpn = &'static [&'static [u8]];

impl Acceptors {
    /// None yet.
    #[must_use]
    pub const fn new(ticketer: Ticketer) -> Self {
        Self { ticketer, made: RefCell::new(Vec::new()) }
    }

    /// Shakes hands with a client as `terms` say. A proxy always comes with the same `alpn`. The certificate is the
    /// first one that has the very name that the client asks for, else the first with a wildcard for it, else the
    /// first of all [G 6.13]; among several, the first whose key the client understands. Without a time limit. When
    /// the returned future is dropped, the connection ends.
    ///
    /// # Errors
    /// Whatever the client did wrong, or that it has gone.
    pub async fn accept(
        &self,
        stream: TcpStream,
        terms: &Arc<Termination>,
        alpn: Alpn,
    ) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config(terms, alpn)).accept(stream).await
    }

    fn config(&self, terms: &Arc<Termination>, alpn: Alpn) -> Arc<ServerConfig> {
        let mut made = self.made.borrow_mut();
        if let Some((_, config)) = made.iter().find(|(of, _)| Arc::ptr_eq(of, terms)) {
            return config.clone();
        }
        // Those that no world has any more.
        made.retain(|(of, _)| Arc::strong_count(of) > 1);
        let config = Arc::new(configure(terms, alpn, self.ticketer.as_ref()));
        made.push((terms.clone(), config.clone()));
        config
    }
}

impl fmt::Debug for Acceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptors").finish_non_exhaustive()
    }
}

/// For a server of its own, whose clients begin every session anew; no protocol is named inside.
#[must_use]
pub fn server_config(terms: &Termination) -> Arc<ServerConfig> {
    Arc::new(configure(terms, &[], None))
}

#[allow(clippy::expect_used)]
pub(super) fn configure(
    terms: &Termination,
    alpn: Alpn,
    ticketer: Option<&Arc<dyn ProducesTickets>>,
) -> ServerConfig {
    let versions: &[_] = if terms.policy.is_1_3_only { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let clients = match &terms.clients {
        Some(clients) => clients.verifier(),
        None => WebPkiClientVerifier::no_client_auth(),
    };
    // A policy always has suites of TLS 1.3, and ring has groups for them: this cannot fail.
    let mut config = ServerConfig::builder_with_provider(Arc::new(terms.policy.provider()))
        .with_protocol_versions(versions)
        .expect("every policy has a suite of TLS 1.3")
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(ByName::new(&terms.certificates)));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    // Sessions are the clients' to keep: nothing grows here, and all workers take up each other's. No early data:
    // whoever has recorded it may send it again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if let Some(ticketer) = ticketer {
        let context = terms.clients.as_ref().map_or([0; CONTEXT], |clients| clients.digest);
        config.ticketer = Arc::new(Bound { ticketer: ticketer.clone(), context });
    }
    config
}

const CONTEXT: usize = 32;

/// Tickets that are good in one context alone: rustls asks nobody for a certificate whose session is taken up again.
#[derive(Debug)]
struct Bound {
    ticketer: Arc<dyn ProducesTickets>,
    context: [u8; CONTEXT],
}

impl ProducesTickets for Bound {
    fn enabled(&self) -> bool {
        self.ticketer.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.ticketer.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.ticketer.encrypt(&[&self.context, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.ticketer.decrypt(cipher)?.strip_prefix(&self.context).map(<[u8]>::to_vec)
    }
}

/// Chooses by the name that the client asks for.
#[derive(Debug)]
struct ByName {
    all: Vec<Arc<CertifiedKey>>,
    /// By name, those that have it, in the order of the proxy.
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// The same by what follows `*.`, which stands for one label.
    wild: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    fn new(certificates: &[Certificate]) -> Self {
        let all = certificates.iter().map(|one| one.certified().clone()).collect();
        let mut table = Self { all, exact: HashMap::new(), wild: HashMap::new() };
        for certificate in certificates {
            for name in &certificate.facts().names {
                let (of, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut table.wild, rest),
                    None => (&mut table.exact, &**name),
                };
                of.entry(name.to_owned()).or_default().push(certificate.certified().clone());
            }
        }
        table
    }

    /// At least one.
    fn of(&self, server: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(server) = server else { return &self.all };
        let server = if server.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(server.to_ascii_lowercase())
        } else {
            Cow::Borrowed(server)
        };
        let wild = || self.wild.get(server.split_once('.')?.1);
        self.exact.get(&*server).or_else(wild).unwrap_or(&self.all)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.of(hello.server_name());
        let understood =
            |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        match candidates {
            [one] => Some(one.clone()),
            several => several.iter().find(understood).or(several.first()).cloned(),
        }
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

    const HTTP: Alpn = &[b"http/1.1"];

    fn terms() -> Arc<Termination> {
        let one = (include_str!("../model/testdata/one.pem"), include_str!("../model/testdata/one.key"));
        let two = (include_str!("../model/testdata/two.pem"), include_str!("../model/testdata/two.key"));
        let read = |(name, (chain, key))| Certificate::read(name, chain, key).unwrap();
        Arc::new(Termination::new([("one", one), ("two", two)].map(read).to_vec()))
    }

    /// The certificate that a client gets who asks for `name`, and whether it had to show it.
    async fn shake(
        acceptors: &Acceptors,
        terms: &Arc<Termination>,
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
            let is_shown = |one: &Certificate| one.certified().cert.first() == Some(shown);
            let index = terms.certificates.iter().position(is_shown).unwrap();
            (index, connection.handshake_kind().unwrap())
        };
        let accepting = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptors.accept(stream, terms, HTTP).await.unwrap();
            stream.write_all(&[1]).await.unwrap();
            stream.flush().await.unwrap();
        };
        tokio::join!(connecting, accepting).0
    }

    #[tokio::test]
    async fn g_6_13_the_certificate_goes_by_the_name_asked_for_and_the_first_is_for_everyone_else() {
        let (acceptors, terms) = (Acceptors::new(ticketer()), terms());
        let mut chosen = Vec::new();
        for name in ["one.example", "two.example", "a.wild.example", "other.example", "127.0.0.1"] {
            chosen.push(shake(&acceptors, &terms, &tls::unverified(), name).await.0);
        }
        assert_eq!(chosen, [0, 1, 0, 0, 0]);
    }

    #[tokio::test]
    async fn a_session_is_taken_up_by_another_worker() {
        let (ticketer, terms, client) = (ticketer(), terms(), tls::unverified());
        let (first, second) = (Acceptors::new(ticketer.clone()), Acceptors::new(ticketer));
        let full = shake(&first, &terms, &client, "two.example").await;
        let resumed = shake(&second, &terms, &client, "two.example").await;
        assert_eq!((full.1, resumed.1), (HandshakeKind::Full, HandshakeKind::Resumed));
    }

    #[test]
    fn configurations_are_made_once_and_forgotten_with_their_proxy() {
        let (acceptors, old) = (Acceptors::new(None), terms());
        let made = acceptors.config(&old, HTTP);
        assert!(Arc::ptr_eq(&made, &acceptors.config(&old, HTTP)));
        drop(old);
        acceptors.config(&terms(), HTTP);
        assert_eq!(acceptors.made.borrow().len(), 1);
    }

    #[test]
    fn the_very_name_goes_before_a_wildcard_and_case_does_not_matter() {
        let terms = terms();
        let mut table = ByName::new(&terms.certificates);
        let [one, two] = [0, 1].map(|index| table.all[index].clone());
        table.exact.insert("a.wild.example".to_owned(), vec![two.clone()]);
        let chosen = |name| table.of(Some(name))[0].clone();
        assert!(Arc::ptr_eq(&chosen("A.Wild.example"), &two));
        assert!(Arc::ptr_eq(&chosen("b.WILD.example"), &one));
        assert_eq!(table.of(Some("a.b.wild.example")).len(), 2, "no certificate is for it");
        assert_eq!((table.of(None).len(), table.of(Some("wild.example")).len()), (2, 2));
    }

    #[test]
    fn a_ticket_is_good_in_its_own_context_alone() {
        let ticketer = ticketer().unwrap();
        let bound = |byte| Bound { ticketer: ticketer.clone(), context: [byte; CONTEXT] };
        let ticket = bound(1).encrypt(b"session").unwrap();
        assert_eq!(bound(1).decrypt(&ticket).unwrap(), b"session");
        assert_eq!(bound(0).decrypt(&ticket), None);
        assert_eq!(bound(1).decrypt(&ticketer.encrypt(b"session").unwrap()), None);
    }
}
