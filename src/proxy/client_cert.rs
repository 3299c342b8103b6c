//! What the certificate of a client says, for `client_cert_*` in added headers [G 6.10]. The forms and the limits are
//! those of Google's page on custom headers and mutual TLS.
//!
//! What is said of a certificate that leads to no trust anchor is what it says of itself: `client_cert_chain_verified`
//! tells. Nothing is read before a header asks for it.

use std::cell::OnceCell;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};

use super::handshake;
use crate::clock;
use crate::model::detail::StatusDetail;
use crate::model::header::CertVariable;
use crate::model::timestamp::Timestamp;
use crate::model::tls::Termination;
use crate::model::x509::{self, Identity};

/// Longest serial number, in bytes.
const MAX_SERIAL: usize = 50;
/// Longest SPIFFE id.
const MAX_SPIFFE_ID: usize = 2048;
/// Longest value of the others that have a limit: names, and lists of them, as they are sent.
const MAX_VALUE: usize = 512;
/// Longest leaf, and leaf with its chain, in bytes of DER.
const MAX_CHAIN: usize = 16 * 1024;

/// What a client that was asked for a certificate has shown.
#[derive(Debug)]
pub(crate) struct ClientCert {
    /// The leaf first; empty = none was shown.
    chain: Vec<CertificateDer<'static>>,
    /// Why it is not one to be believed.
    flaw: Option<StatusDetail>,
    /// See [`Self::error`]; the same for all requests of a connection.
    error: OnceCell<&'static str>,
}

impl ClientCert {
    /// `None` where nobody asks for one.
    pub(crate) fn of(connection: &ServerConnection, terms: &Termination) -> Option<Rc<Self>> {
        let chain = connection.peer_certificates().unwrap_or_default();
        Self::judged(chain.iter().map(|one| one.clone().into_owned()).collect(), terms)
    }

    /// The same for QUIC.
    pub(crate) fn of_quic(connection: &quinn::Connection, terms: &Termination) -> Option<Rc<Self>> {
        let chain = connection.peer_identity().and_then(|identity| identity.downcast().ok());
        Self::judged(chain.map(|chain| *chain).unwrap_or_default(), terms)
    }

    fn judged(chain: Vec<CertificateDer<'static>>, terms: &Termination) -> Option<Rc<Self>> {
        let clients = terms.clients.as_ref()?;
        let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let flaw = match chain.split_first() {
            None => Some(StatusDetail::ClientCertNotProvided),
            Some((leaf, others)) => {
                let judged = clients.judge(leaf, others, UnixTime::since_unix_epoch(now));
                judged.err().map(|error| handshake::detail(&error))
            }
        };
        Some(Rc::new(Self { chain, flaw, error: OnceCell::new() }))
    }

    /// Appends what a variable is.
    pub(crate) fn write(&self, variable: CertVariable, out: &mut Vec<u8>) {
        let leaf = self.chain.first();
        match variable {
            CertVariable::Present => put(out, if leaf.is_some() { "true" } else { "false" }),
            CertVariable::ChainVerified => put(out, if self.flaw.is_none() { "true" } else { "false" }),
            CertVariable::Error => put(out, self.error.get_or_init(|| self.error())),
            CertVariable::Sha256Fingerprint => {
                let fingerprint = leaf.map(|leaf| STANDARD.encode(digest(&SHA256, leaf)));
                put(out, &fingerprint.unwrap_or_default());
            }
            other => {
                let of = leaf.and_then(|leaf| x509::identity(leaf));
                if let Some(Ok(text)) = of.map(|of| self.told(other, &of)) {
                    put(out, &text);
                }
            }
        }
    }

    /// What is wrong: with the certificate, else the first of its parts that is too long to be told.
    fn error(&self) -> &'static str {
        if let Some(flaw) = self.flaw {
            return flaw.as_str();
        }
        let Some(of) = self.chain.first().and_then(|leaf| x509::identity(leaf)) else { return "" };
        CertVariable::TOLD.iter().find_map(|one| self.told(*one, &of).err()).unwrap_or_default()
    }

    /// What the certificate says.
    ///
    /// # Errors
    /// Google's word for that it is too long.
    fn told(&self, variable: CertVariable, of: &Identity<'_>) -> Result<String, &'static str> {
        let within = |is_within: bool, text: String, flaw| if is_within { Ok(text) } else { Err(flaw) };
        let value = |text: String, flaw| within(text.len() <= MAX_VALUE, text, flaw);
        match variable {
            CertVariable::SerialNumber => {
                let flaw = "client_cert_serial_number_exceeded_size_limit";
                within(of.serial.len() <= MAX_SERIAL, hex(of.serial), flaw)
            }
            CertVariable::SpiffeId => {
                let id = spiffe_id(of).unwrap_or_default();
                let is_within = id.len() <= MAX_SPIFFE_ID;
                within(is_within, id.to_owned(), "client_cert_spiffe_id_exceeded_size_limit")
            }
            CertVariable::UriSans => {
                let uris = of.uris.iter().filter(|uri| !is_spiffe(uri)).copied();
                value(list(uris), "client_cert_uri_sans_exceeded_size_limit")
            }
            CertVariable::DnsnameSans => {
                value(list(of.names.iter().copied()), "client_cert_dnsname_sans_exceeded_size_limit")
            }
            CertVariable::ValidNotBefore => Ok(time(of.not_before)),
            CertVariable::ValidNotAfter => Ok(time(of.not_after)),
            CertVariable::IssuerDn => {
                value(STANDARD.encode(of.issuer), "client_cert_issuer_dn_exceeded_size_limit")
            }
            CertVariable::SubjectDn => {
                value(STANDARD.encode(of.subject), "client_cert_subject_dn_exceeded_size_limit")
            }
            CertVariable::Leaf | CertVariable::Chain => self.certificates(variable),
            // Told above.
            CertVariable::Present
            | CertVariable::ChainVerified
            | CertVariable::Error
            | CertVariable::Sha256Fingerprint => Ok(String::new()),
        }
    }

    /// As RFC 9440 writes certificates; only those that lead to a trust anchor.
    fn certificates(&self, variable: CertVariable) -> Result<String, &'static str> {
        let Some((leaf, others)) = self.chain.split_first().filter(|_| self.flaw.is_none()) else {
            return Ok(String::new());
        };
        let encoded = |one: &CertificateDer<'_>| format!(":{}:", STANDARD.encode(one));
        let all = self.chain.iter().map(|one| one.len()).sum::<usize>();
        match variable {
            CertVariable::Leaf if leaf.len() > MAX_CHAIN => {
                Err("client_cert_validated_leaf_exceeded_size_limit")
            }
            CertVariable::Leaf => Ok(encoded(leaf)),
            _ if all > MAX_CHAIN => Err("client_cert_validated_chain_exceeded_size_limit"),
            _ => Ok(others.iter().map(encoded).collect::<Vec<_>>().join(", ")),
        }
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn hex(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to memory does not fail.
        let _ = write!(out, "{byte:02x}");
    }
    String::from_utf8(out).unwrap_or_default()
}

/// In Base64, with commas between.
fn list<'a>(all: impl Iterator<Item = &'a [u8]>) -> String {
    all.map(|one| STANDARD.encode(one)).collect::<Vec<_>>().join(",")
}

/// `2022-07-01T18:05:09+00:00`; times before 1970 show as 1970.
fn time(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let text = UNIX_EPOCH.checked_add(since).map(|at| Timestamp(at).to_string()).unwrap_or_default();
    text.split_once('.').map_or(String::new(), |(whole, _)| format!("{whole}+00:00"))
}

fn is_spiffe(uri: &[u8]) -> bool {
    uri.starts_with(b"spiffe://")
}

/// The one SPIFFE id of a certificate; several are none.
fn spiffe_id<'a>(of: &Identity<'a>) -> Option<&'a str> {
    let mut ids = of.uris.iter().filter(|uri| is_spiffe(uri));
    let (id, more) = (ids.next()?, ids.next());
    let id = std::str::from_utf8(id).ok().filter(|_| more.is_none())?;
    let is_id = id.len() > "spiffe://".len()
        && id.bytes().all(|byte| byte.is_ascii_graphic())
        && !id.contains(['?', '#', '@', '%']);
    is_id.then_some(id)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber};

    use super::*;

    fn shown(edit: impl FnOnce(&mut CertificateParams), flaw: Option<StatusDetail>) -> ClientCert {
        let mut params = CertificateParams::new(vec!["a.test".to_owned(), "b.test".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(&[0x01, 0xab]));
        params.distinguished_name.push(DnType::OrganizationName, "org");
        let uri = |text: &str| SanType::URI(text.try_into().unwrap());
        params.subject_alt_names.push(uri("spiffe://test/ns/a"));
        params.subject_alt_names.push(uri("https://a.test/"));
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.self_signed(&key).unwrap().der().clone();
        ClientCert { chain: vec![leaf.clone(), leaf], flaw, error: OnceCell::new() }
    }

    fn said(cert: &ClientCert, variable: CertVariable) -> String {
        let mut out = Vec::new();
        cert.write(variable, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn g_6_10_a_certificate_is_told_in_googles_forms() {
        let cert = shown(|_| {}, None);
        let of = |variable| said(&cert, variable);
        let base64 = |text: &str| STANDARD.encode(text);
        assert_eq!([of(CertVariable::Present), of(CertVariable::ChainVerified)], ["true", "true"]);
        assert_eq!((&*of(CertVariable::Error), &*of(CertVariable::SerialNumber)), ("", "01ab"));
        assert_eq!(of(CertVariable::SpiffeId), "spiffe://test/ns/a");
        assert_eq!(of(CertVariable::UriSans), base64("https://a.test/"));
        assert_eq!(of(CertVariable::DnsnameSans), [base64("a.test"), base64("b.test")].join(","));
        assert_eq!(of(CertVariable::ValidNotBefore), "1975-01-01T00:00:00+00:00");
        let leaf = format!(":{}:", STANDARD.encode(&cert.chain[0]));
        assert_eq!((of(CertVariable::Leaf), of(CertVariable::Chain)), (leaf.clone(), leaf));
        let name = STANDARD.decode(of(CertVariable::SubjectDn)).unwrap();
        assert!(name.starts_with(&[0x30]) && name.windows(3).any(|part| part == b"org"));
        assert_eq!(of(CertVariable::SubjectDn), of(CertVariable::IssuerDn), "it signs itself");
        assert_eq!(STANDARD.decode(of(CertVariable::Sha256Fingerprint)).unwrap().len(), 32);
    }

    #[test]
    fn what_leads_to_no_anchor_is_told_without_its_bytes_and_what_is_missing_as_that() {
        let cert = shown(|_| {}, Some(StatusDetail::ClientCertValidationFailed));
        let of = |variable| said(&cert, variable);
        assert_eq!(
            (of(CertVariable::Present), of(CertVariable::ChainVerified)),
            ("true".into(), "false".into())
        );
        assert_eq!(of(CertVariable::Error), "client_cert_validation_failed");
        assert_eq!(
            (of(CertVariable::Leaf), of(CertVariable::SerialNumber)),
            (String::new(), "01ab".to_owned())
        );
        let flaw = Some(StatusDetail::ClientCertNotProvided);
        let none = ClientCert { chain: Vec::new(), flaw, error: OnceCell::new() };
        assert_eq!(said(&none, CertVariable::Error), "client_cert_not_provided");
        assert!(CertVariable::TOLD.iter().all(|one| said(&none, *one).is_empty()));
        assert_eq!(said(&none, CertVariable::Sha256Fingerprint), "");
    }

    #[test]
    fn what_is_too_long_is_empty_and_named() {
        let long = "x".repeat(600);
        let uri = |text: String| SanType::URI(text.try_into().unwrap());
        let of = |edit: &dyn Fn(&mut CertificateParams), variable| {
            let cert = shown(edit, None);
            (said(&cert, variable), said(&cert, CertVariable::Error))
        };
        let none = |word: &str| (String::new(), format!("client_cert_{word}_exceeded_size_limit"));
        let serial = |params: &mut CertificateParams| {
            params.serial_number = Some(SerialNumber::from_slice(&[1; 51]));
        };
        assert_eq!(of(&serial, CertVariable::SerialNumber), none("serial_number"));
        let uris = |params: &mut CertificateParams| {
            params.subject_alt_names.push(uri(format!("https://{long}")));
        };
        assert_eq!(of(&uris, CertVariable::UriSans), none("uri_sans"));
        let id = |params: &mut CertificateParams| {
            params.subject_alt_names = vec![uri(format!("spiffe://{}", "x".repeat(2048)))];
        };
        assert_eq!(of(&id, CertVariable::SpiffeId), none("spiffe_id"));
        let name =
            |params: &mut CertificateParams| params.distinguished_name.push(DnType::CommonName, &*long);
        // It signs itself: its issuer's name is as long, and is told first.
        assert_eq!(of(&name, CertVariable::SubjectDn), none("issuer_dn"));
        let leaf = |params: &mut CertificateParams| {
            params.subject_alt_names = vec![uri(format!("https://{}", "x".repeat(17 * 1024)))];
        };
        assert_eq!(of(&leaf, CertVariable::Leaf).0, "");
        let two =
            |params: &mut CertificateParams| params.subject_alt_names.push(uri("spiffe://test/b".to_owned()));
        assert_eq!(of(&two, CertVariable::SpiffeId), (String::new(), String::new()), "two are none");
    }
}
