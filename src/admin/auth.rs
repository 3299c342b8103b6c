//! Who asks, and how far they may go: a token, a client's certificate, or, where nothing is asked for, an address of
//! this host.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, Method, header};
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::clock;
use crate::model::admin::{Access, AdminAccess};
use crate::model::tls::Termination;
use crate::model::x509;

/// Paths that tell no more than whether the process lives, since load balancers and orchestrators have no token; and
/// the dashboard's page, which holds nothing and asks for a token itself.
const OPEN: [&str; 3] = ["/", "/healthz", "/readyz"];

/// Last words of paths whose POST changes nothing.
const QUESTIONS: [&str; 8] = [
    "explain",
    "getHealth",
    "validate",
    "wait",
    "listInstances",
    "listNetworkEndpoints",
    "testIamPermissions",
    // What its parts are is asked part by part.
    "batch",
];

/// Longest name out of a certificate, in characters.
const LONGEST_NAME: usize = 128;

/// Who asks; every request has one as an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// `token:NAME`, `certificate:NAME` or `local`, and from where.
    pub(crate) who: Arc<str>,
    /// How far they may go.
    pub(crate) access: Access,
    /// Whether the answer's links are https.
    pub(crate) over_tls: bool,
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Whether it speaks TLS.
    pub(super) over_tls: bool,
    /// A name from a certificate that leads to `clientCa`.
    pub(super) certificate: Option<Arc<str>>,
}

/// Why somebody may not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Nothing was shown.
    Missing,
    /// What was shown is not known.
    Wrong,
}

impl Caller {
    /// Whether they may do this.
    pub(crate) fn may(&self, method: &Method, path: &str) -> bool {
        self.access == Access::ReadWrite || !is_change(method, path)
    }
}

/// Finds out who asks. A certificate goes for everything, as a token of READ_WRITE does.
pub(super) fn caller(access: &AdminAccess, peer: &Peer, headers: &HeaderMap) -> Result<Caller, Unknown> {
    let Peer { address: from, over_tls, .. } = *peer;
    if access.is_open() {
        return Ok(Caller { who: format!("local {from}").into(), access: Access::ReadWrite, over_tls });
    }
    if let Some(name) = peer.certificate.as_ref().filter(|_| access.asks_for_certificates()) {
        return Ok(Caller {
            who: format!("certificate:{name} {from}").into(),
            access: Access::ReadWrite,
            over_tls,
        });
    }
    let shown = headers.get(header::AUTHORIZATION).ok_or(Unknown::Missing)?;
    let token = bearer(shown.as_bytes()).and_then(|token| access.token(token)).ok_or(Unknown::Wrong)?;
    Ok(Caller { who: format!("token:{} {from}", token.name).into(), access: token.access, over_tls })
}

/// The scheme's name is written as one likes.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Whether anybody may ask this.
pub(super) fn is_open(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && OPEN.contains(&path)
}

/// Whether it changes something.
pub(crate) fn is_change(method: &Method, path: &str) -> bool {
    if method.is_safe() {
        return false;
    }
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let is_question = QUESTIONS.contains(&last) || path.starts_with("/batch/");
    *method != Method::POST || !is_question
}

/// A name for who showed these certificates, if they lead to an authority of `terms`.
pub(super) fn certified(terms: &Termination, shown: &[CertificateDer<'_>]) -> Option<Arc<str>> {
    let clients = terms.clients.as_ref()?;
    let (leaf, others) = shown.split_first()?;
    let since = clock::wall().duration_since(std::time::UNIX_EPOCH).ok()?;
    clients.judge(leaf, others, UnixTime::since_unix_epoch(since)).ok()?;
    let identity = x509::identity(leaf)?;
    let name = identity.uris.first().or(identity.names.first()).copied().unwrap_or_default();
    let serial: String = identity.serial.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = name.escape_ascii();
    Some(format!("{name}#{serial}").chars().take(LONGEST_NAME).collect::<String>().into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::admin::AdminToken;

    const READER: &str = "a-token-that-reads";
    const WRITER: &str = "a-token-that-writes";

    fn access() -> AdminAccess {
        let token = |name, access, token: &str| AdminToken::of(name, access, token.as_bytes()).unwrap();
        let tokens = vec![token("r", Access::ReadOnly, READER), token("w", Access::ReadWrite, WRITER)];
        AdminAccess { tokens, ..AdminAccess::default() }
    }

    fn ask(access: &AdminAccess, authorization: Option<&str>) -> Result<Caller, Unknown> {
        let peer = Peer {
            address: ([10, 0, 0, 1], 7).into(),
            over_tls: true,
            certificate: Some("nobody asked".into()),
        };
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        caller(access, &peer, &headers)
    }

    #[test]
    fn without_tokens_everyone_who_gets_here_may_do_everything() {
        let caller = ask(&AdminAccess::default(), None).unwrap();
        assert_eq!((&*caller.who, caller.access), ("local 10.0.0.1:7", Access::ReadWrite));
    }

    #[test]
    fn tokens_are_asked_for_and_say_who_it_is_and_how_far_they_may_go() {
        let access = access();
        let reader = ask(&access, Some(&format!("Bearer {READER}"))).unwrap();
        assert_eq!((&*reader.who, reader.access), ("token:r 10.0.0.1:7", Access::ReadOnly));
        let writer = ask(&access, Some(&format!("bearer  {WRITER}"))).unwrap();
        assert_eq!(writer.access, Access::ReadWrite);
        assert_eq!(ask(&access, None), Err(Unknown::Missing));
        for wrong in ["", "Bearer", "Bearer ", "Bearer x", &format!("Basic {READER}"), READER] {
            assert_eq!(ask(&access, Some(wrong)), Err(Unknown::Wrong), "{wrong}");
        }
        let change = "/compute/v1/projects/p/global/backendServices";
        assert!(writer.may(&Method::POST, change) && !reader.may(&Method::POST, change));
        assert!(reader.may(&Method::GET, change) && !reader.may(&Method::DELETE, change));
    }

    #[test]
    fn a_question_is_no_change() {
        let base = "/compute/v1/projects/p/zones/z/instanceGroups/g";
        for question in ["/explain", "/batch/compute/v1", &format!("{base}/listInstances")] {
            assert!(!is_change(&Method::POST, question), "{question}");
        }
        for change in ["/upgrade", base, &format!("{base}/addInstances"), &format!("{base}/getHealth/x")] {
            assert!(is_change(&Method::POST, change), "{change}");
        }
        // A resource may have any name.
        assert!(is_change(&Method::DELETE, "/compute/v1/projects/p/global/urlMaps/validate"));
    }
}
