//! Headers that URL map and service add or take away, on the way to a member and back [G 6c, 7c].
//!
//! The changes are the model's. Here their variables meet the request, once, when its head comes: what an answer is to
//! say is written down then as well, since the request's head will be gone. Requests whose route and service have no
//! such headers do nothing, and where no value has a variable nothing is allocated.

use std::io::Write;
use std::net::IpAddr;

use http::header::{HeaderMap, HeaderValue, ORIGIN};
use http::{Version, request};

use super::serve::Client;
use crate::model::header::{CertVariable, Variable};
use crate::model::place::Places;
use crate::model::route::edit::{self, HeaderEdits};

/// What is to happen to headers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edits<'a> {
    /// By `headerAction`. Where it sets a header, the service's word on that is not heard.
    pub(crate) route: Option<&'a HeaderEdits>,
    /// By `customRequestHeaders` and `customResponseHeaders`.
    pub(crate) service: Option<&'a HeaderEdits>,
}

/// Values that have variables, for the answer.
#[derive(Debug)]
pub(crate) struct Filled {
    route: Vec<HeaderValue>,
    service: Vec<HeaderValue>,
}

/// What variables are taken from.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) client: &'a Client,
    pub(super) places: &'a Places,
    /// Of the client, as far as the proxies before us are believed.
    pub(super) address: IpAddr,
}

/// Changes a request. Returns what its answer will need, if that is anything.
pub(super) fn to_backend(
    edits: Edits<'_>,
    known: Known<'_>,
    head: &mut request::Parts,
) -> Option<Box<Filled>> {
    if edits.route.is_none() && edits.service.is_none() {
        return None;
    }
    let (request, response) = {
        let of = Of { known, version: head.version, origin: head.headers.get(ORIGIN) };
        (edits.fill(|edits| &edits.request, of), edits.fill(|edits| &edits.response, of))
    };
    edits.apply(|edits| &edits.request, request, &mut head.headers);
    let is_needed = !response.route.is_empty() || !response.service.is_empty();
    is_needed.then(|| Box::new(response))
}

/// Changes an answer.
pub(super) fn to_client(edits: Edits<'_>, filled: Option<Box<Filled>>, headers: &mut HeaderMap) {
    if edits.route.is_none() && edits.service.is_none() {
        return;
    }
    let filled = filled.map_or(Filled { route: Vec::new(), service: Vec::new() }, |filled| *filled);
    edits.apply(|edits| &edits.response, filled, headers);
}

type Direction = fn(&HeaderEdits) -> &Vec<edit::Edit>;

impl Edits<'_> {
    fn fill(&self, direction: Direction, of: Of<'_>) -> Filled {
        let write = &mut |variable, out: &mut Vec<u8>| of.write(variable, out);
        let mut all = |edits: Option<&HeaderEdits>| {
            edits.map_or_else(Vec::new, |edits| edit::fill(direction(edits), write))
        };
        Filled { route: all(self.route), service: all(self.service) }
    }

    fn apply(&self, direction: Direction, filled: Filled, headers: &mut HeaderMap) {
        let of_route = self.route.map_or(&[][..], |edits| direction(edits));
        edit::apply(of_route, filled.route, headers);
        if let Some(edits) = self.service {
            edit::apply_beside(of_route, direction(edits), filled.service, headers);
        }
    }
}

/// What is known of one request.
#[derive(Clone, Copy)]
struct Of<'a> {
    known: Known<'a>,
    version: Version,
    origin: Option<&'a HeaderValue>,
}

impl Of<'_> {
    /// Appends what a variable is; nothing where it has no value.
    fn write(&self, variable: Variable, out: &mut Vec<u8>) {
        let Known { client, places, address } = self.known;
        // Writing to memory does not fail.
        let _ = match variable {
            Variable::ClientIpAddress => write!(out, "{address}"),
            Variable::ClientPort if address == client.peer.ip().to_canonical() => {
                write!(out, "{}", client.peer.port())
            }
            Variable::ClientPort => Ok(()),
            Variable::ClientProtocol => out.write_all(self.protocol()),
            Variable::ClientEncrypted => write!(out, "{}", client.hop.is_https()),
            Variable::ClientRegion => {
                out.write_all(places.region_of_client(address).unwrap_or("").as_bytes())
            }
            Variable::ClientCert(variable) => {
                match (&client.cert, variable) {
                    (Some(cert), variable) => cert.write(variable, out),
                    (None, CertVariable::Present | CertVariable::ChainVerified) => {
                        out.extend_from_slice(b"false");
                    }
                    (None, _) => {}
                }
                Ok(())
            }
            Variable::OriginRequestHeader => {
                out.write_all(self.origin.map_or(b"", |origin| origin.as_bytes()))
            }
            Variable::ServerIpAddress => write!(out, "{}", client.local.ip().to_canonical()),
            Variable::ServerPort => write!(out, "{}", client.local.port()),
            Variable::TlsVersion => {
                out.write_all(client.secured.map_or("", |secured| secured.protocol).as_bytes())
            }
            Variable::TlsCipherSuite => match client.secured {
                Some(secured) if secured.suite != 0 => write!(out, "{:04X}", secured.suite),
                _ => Ok(()),
            },
            Variable::TlsSniHostname => out.write_all(client.sni.as_deref().unwrap_or("").as_bytes()),
        };
    }

    /// On a stream of HTTP/2 or HTTP/3, a head says HTTP/1.1, in which it goes on.
    fn protocol(&self) -> &'static [u8] {
        match self.known.client.version(self.version) {
            Version::HTTP_3 => b"HTTP/3",
            Version::HTTP_10 => b"HTTP/1.0",
            Version::HTTP_2 => b"HTTP/2",
            _ => b"HTTP/1.1",
        }
    }
}
