//! Values of headers that the balancer adds: text with variables, parsed once, filled in for each request [G 6.9, 6.10].
//!
//! `{name}` stands for a variable, `{{` and `}}` for braces. What cannot be known here is the empty string, as it is at
//! Google's where a variable has no value; such variables are named in [`Parsed::always_empty`] and take no time later.
//! What a client has a hand in cannot end a header: a variable whose value is more than printable ASCII counts as empty.

use bytes::Bytes;
use http::header::VARY;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The value of a header to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The same for all requests.
    Fixed(HeaderValue),
    /// Made anew for each.
    Template(Box<[Piece]>),
}

/// A part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(Box<str>),
    /// What it is for this request.
    Variable(Variable),
}

/// What is known about a request and its connection [G 6.10].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variable {
    /// `client_ip_address`, as far as the proxies before us are believed [G 6.1].
    ClientIpAddress,
    /// `client_port`; empty where the client stands behind a proxy.
    ClientPort,
    /// `client_protocol`: `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`.
    ClientProtocol,
    /// `client_encrypted`: `true` or `false`.
    ClientEncrypted,
    /// `client_region`. **Ours**: the region that `clientLocations` names for the client's address, not a country.
    ClientRegion,
    /// `client_cert_…`.
    ClientCert(CertVariable),
    /// `origin_request_header`.
    OriginRequestHeader,
    /// `server_ip_address`: the one that the client asked for.
    ServerIpAddress,
    /// `server_port`.
    ServerPort,
    /// `tls_version`: `TLSv1.2`, `TLSv1.3`; empty in clear.
    TlsVersion,
    /// `tls_cipher_suite`: four hex digits; empty in clear.
    TlsCipherSuite,
    /// `tls_sni_hostname`: lower case, no trailing dot; empty where the client named none.
    TlsSniHostname,
}

/// What is known about the certificate of a client, in the forms of Google's page on mutual TLS. Without TLS, or where
/// nobody asks for a certificate, the first two are `false`, and the others empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertVariable {
    /// `client_cert_present`: `true` or `false`.
    Present,
    /// `client_cert_chain_verified`: `true` or `false`.
    ChainVerified,
    /// `client_cert_error`: a word; empty when all is well.
    Error,
    /// `client_cert_sha256_fingerprint`: Base64.
    Sha256Fingerprint,
    /// `client_cert_serial_number`: hexadecimal.
    SerialNumber,
    /// `client_cert_spiffe_id`.
    SpiffeId,
    /// `client_cert_uri_sans`: each in Base64, without the SPIFFE id.
    UriSans,
    /// `client_cert_dnsname_sans`: each in Base64.
    DnsnameSans,
    /// `client_cert_valid_not_before`.
    ValidNotBefore,
    /// `client_cert_valid_not_after`.
    ValidNotAfter,
    /// `client_cert_issuer_dn`: Base64 of DER.
    IssuerDn,
    /// `client_cert_subject_dn`: Base64 of DER.
    SubjectDn,
    /// `client_cert_leaf`: as in RFC 9440.
    Leaf,
    /// `client_cert_chain`: the same of the others that the client has shown.
    Chain,
}

impl CertVariable {
    /// Those that a certificate says itself.
    pub const TOLD: [Self; 10] = [
        Self::SerialNumber,
        Self::SpiffeId,
        Self::UriSans,
        Self::DnsnameSans,
        Self::ValidNotBefore,
        Self::ValidNotAfter,
        Self::IssuerDn,
        Self::SubjectDn,
        Self::Leaf,
        Self::Chain,
    ];
}

/// A value, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The value.
    pub value: Value,
    /// Whether a variable stands in it, also one that is always empty.
    pub has_variables: bool,
    /// Variables of Google's that nobody knows here, each once.
    pub always_empty: Vec<&'static str>,
}

/// Why a text is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// A brace that neither is written twice nor stands around a variable.
    Brace,
    /// No variable of this name.
    Unknown(String),
    /// More than printable ASCII, spaces and tabs.
    Unprintable,
}

impl Value {
    /// Reads a value; space around it does not count [G 6.7].
    ///
    /// # Errors
    ///
    /// The first [`Flaw`].
    pub fn parse(text: &str) -> Result<Parsed, Flaw> {
        let text = text.trim();
        if !text.bytes().all(is_printable) {
            return Err(Flaw::Unprintable);
        }
        let mut parsed = Reading::default();
        let mut rest = text;
        while let Some((before, brace, behind)) = split(rest) {
            parsed.text.push_str(before);
            rest = if let Some(behind) = behind.strip_prefix(brace) {
                parsed.text.push(brace);
                behind
            } else {
                let (name, behind) = behind.split_once('}').filter(|_| brace == '{').ok_or(Flaw::Brace)?;
                parsed.variable(name)?;
                behind
            };
        }
        parsed.text.push_str(rest);
        parsed.end()
    }

    /// The value for one request: `write` appends what a variable is. `None` for one that is the same for all.
    #[must_use]
    pub fn fill(&self, write: &mut dyn FnMut(Variable, &mut Vec<u8>)) -> Option<HeaderValue> {
        let Self::Template(pieces) = self else { return None };
        let mut out = Vec::with_capacity(64);
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Variable(variable) => {
                    let start = out.len();
                    write(*variable, &mut out);
                    if !out.get(start..).unwrap_or_default().iter().all(|byte| is_printable(*byte)) {
                        out.truncate(start);
                    }
                }
            }
        }
        // HTTP/2 forbids space around a value [RFC 9113 8.2.1], and empty variables may leave some there.
        let value = Bytes::from(out);
        let value = value.slice_ref(value.trim_ascii());
        Some(HeaderValue::from_maybe_shared(value).unwrap_or(HeaderValue::from_static("")))
    }
}

impl Value {
    /// Whether a variable stands in it.
    #[must_use]
    pub fn has(&self, variable: Variable) -> bool {
        let Self::Template(pieces) = self else { return false };
        pieces.contains(&Piece::Variable(variable))
    }

    /// Whether it tells anything of a client's certificate.
    #[must_use]
    pub fn has_client_cert(&self) -> bool {
        let Self::Template(pieces) = self else { return false };
        pieces.iter().any(|piece| matches!(piece, Piece::Variable(Variable::ClientCert(_))))
    }
}

impl Variable {
    /// By Google's name.
    fn named(name: &str) -> Option<Self> {
        KNOWN.iter().find(|(known, _)| *known == name).map(|(_, variable)| *variable)
    }
}

/// A value in the making.
#[derive(Default)]
struct Reading {
    pieces: Vec<Piece>,
    /// Behind the last piece.
    text: String,
    has_variables: bool,
    always_empty: Vec<&'static str>,
}

impl Reading {
    fn variable(&mut self, name: &str) -> Result<(), Flaw> {
        self.has_variables = true;
        if let Some(variable) = Variable::named(name) {
            self.end_text();
            self.pieces.push(Piece::Variable(variable));
            return Ok(());
        }
        let empty = EMPTY.iter().find(|empty| **empty == name);
        let empty = empty.ok_or_else(|| Flaw::Unknown(name.to_owned()))?;
        if !self.always_empty.contains(empty) {
            self.always_empty.push(empty);
        }
        Ok(())
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(&mut self.text).into()));
        }
    }

    fn end(mut self) -> Result<Parsed, Flaw> {
        let value = if self.pieces.is_empty() {
            // Behind what is always empty, space may be left at an end.
            Value::Fixed(HeaderValue::from_str(self.text.trim()).map_err(|_| Flaw::Unprintable)?)
        } else {
            self.end_text();
            Value::Template(self.pieces.into())
        };
        Ok(Parsed { value, has_variables: self.has_variables, always_empty: self.always_empty })
    }
}

/// At the first brace.
fn split(text: &str) -> Option<(&str, char, &str)> {
    let (index, brace) = text.char_indices().find(|(_, c)| matches!(c, '{' | '}'))?;
    Some((text.get(..index)?, brace, text.get(index + 1..)?))
}

/// Nothing that ends a header or a line, and no obsolete forms.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

const KNOWN: [(&str, Variable); 25] = [
    ("client_ip_address", Variable::ClientIpAddress),
    ("client_port", Variable::ClientPort),
    ("client_protocol", Variable::ClientProtocol),
    ("client_encrypted", Variable::ClientEncrypted),
    ("client_region", Variable::ClientRegion),
    ("client_cert_chain", Variable::ClientCert(CertVariable::Chain)),
    ("client_cert_chain_verified", Variable::ClientCert(CertVariable::ChainVerified)),
    ("client_cert_dnsname_sans", Variable::ClientCert(CertVariable::DnsnameSans)),
    ("client_cert_error", Variable::ClientCert(CertVariable::Error)),
    ("client_cert_issuer_dn", Variable::ClientCert(CertVariable::IssuerDn)),
    ("client_cert_leaf", Variable::ClientCert(CertVariable::Leaf)),
    ("client_cert_present", Variable::ClientCert(CertVariable::Present)),
    ("client_cert_serial_number", Variable::ClientCert(CertVariable::SerialNumber)),
    ("client_cert_sha256_fingerprint", Variable::ClientCert(CertVariable::Sha256Fingerprint)),
    ("client_cert_spiffe_id", Variable::ClientCert(CertVariable::SpiffeId)),
    ("client_cert_subject_dn", Variable::ClientCert(CertVariable::SubjectDn)),
    ("client_cert_uri_sans", Variable::ClientCert(CertVariable::UriSans)),
    ("client_cert_valid_not_after", Variable::ClientCert(CertVariable::ValidNotAfter)),
    ("client_cert_valid_not_before", Variable::ClientCert(CertVariable::ValidNotBefore)),
    ("origin_request_header", Variable::OriginRequestHeader),
    ("server_ip_address", Variable::ServerIpAddress),
    ("server_port", Variable::ServerPort),
    ("tls_version", Variable::TlsVersion),
    ("tls_cipher_suite", Variable::TlsCipherSuite),
    ("tls_sni_hostname", Variable::TlsSniHostname),
];

/// Google's other variables [G 6.10]: they want maps of the world, lists of devices, caches, or parts of a handshake
/// that are not kept.
const EMPTY: [&str; 11] = [
    "asn",
    "cdn_cache_id",
    "cdn_cache_status",
    "client_city",
    "client_city_lat_long",
    "client_region_subdivision",
    "client_rtt_msec",
    "device_request_type",
    "tls_ja3_fingerprint",
    "tls_ja4_fingerprint",
    "user_agent_family",
];

/// Elements of a header that is a list, over all its lines (RFC 9110, 5.6.1). Empty ones too.
pub fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii)
}

/// Tells caches, once, that the answer depends on this header of the request (RFC 9110, 12.5.5).
pub fn vary(headers: &mut HeaderMap, word: &'static str) {
    let covers = |said: &[u8]| said == b"*" || said.eq_ignore_ascii_case(word.as_bytes());
    if !elements(headers, &VARY).any(covers) {
        headers.append(VARY, HeaderValue::from_static(word));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Parsed {
        Value::parse(text).unwrap()
    }

    /// With every variable written as this.
    fn filled(text: &str, known: &str) -> String {
        let write = &mut |_: Variable, out: &mut Vec<u8>| out.extend_from_slice(known.as_bytes());
        parsed(text).value.fill(write).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn g_6_9_braces_are_written_twice() {
        for (text, want) in
            [("a{{b}}", "a{b}"), ("", ""), (" a b\t", "a b"), ("{{client_port}}", "{client_port}")]
        {
            let Parsed { value, has_variables, always_empty } = parsed(text);
            assert_eq!(value, Value::Fixed(HeaderValue::from_static(want)), "{text}");
            assert!(!has_variables && always_empty.is_empty(), "{text}");
        }
        for text in ["a{", "}", "}client_port{", "{client_port", "a}b", "{{}"] {
            assert_eq!(Value::parse(text), Err(Flaw::Brace), "{text}");
        }
        assert_eq!(filled("{{{client_port}}}", "1"), "{1}");
    }

    #[test]
    fn g_6_10_variables_stand_anywhere_in_a_value() {
        assert_eq!(filled("{client_port}", "1"), "1");
        assert_eq!(filled("a {client_port}-{server_port} b", "1"), "a 1-1 b");
        assert_eq!(filled(" {client_port} {tls_version} ", ""), "", "an empty value is one");
        for (name, variable) in KNOWN {
            let pieces: Box<[Piece]> = [Piece::Variable(variable)].into();
            assert_eq!(parsed(&format!("{{{name}}}")).value, Value::Template(pieces));
        }
    }

    #[test]
    fn an_unknown_variable_is_refused_by_its_name() {
        for name in ["client_ip", "", " client_port", "CLIENT_PORT", "a b", " {client_port"] {
            let text = format!("{{{name}}}");
            assert_eq!(Value::parse(&text), Err(Flaw::Unknown(name.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_nobody_knows_is_empty_and_named_once() {
        let Parsed { value, has_variables, always_empty } = parsed("{client_city} {asn}{client_city}");
        assert_eq!(value, Value::Fixed(HeaderValue::from_static("")));
        assert!(has_variables);
        assert_eq!(always_empty, ["client_city", "asn"]);
        assert!(EMPTY.iter().all(|name| Variable::named(name).is_none()));
    }

    #[test]
    fn a_value_from_outside_cannot_end_the_header() {
        for evil in ["a\r\nset-cookie: b=c", "a\nb", "\0", "\u{7f}", "\u{e4}"] {
            assert_eq!(filled("<{tls_sni_hostname}>", evil), "<>", "{evil:?}");
        }
        for text in ["a\r\nb", "\u{e4}", "a\0"] {
            assert_eq!(Value::parse(text), Err(Flaw::Unprintable), "{text:?}");
        }
    }
}
