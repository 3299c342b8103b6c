//! Which session a request belongs to: where its client is, what it brings, and what it gets for the next time [G 3].

pub mod address;
mod cookie;
pub mod split;
pub mod strong;

use std::net::IpAddr;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, request};

use self::cookie::Found;
use self::strong::{Named, Signer};
use super::serve::Client;
use crate::balance::hash;
use crate::balance::rng::Rng;
use crate::clock;
use crate::ledger::service::Extra;
use crate::model::service::{Affinity, Cookie, Service};
use crate::model::unit::Span;
use crate::world::{LiveMember, LiveService};

/// What a request brings to the choice of its member.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    /// Session key; `None` without a session.
    pub(crate) key: Option<u64>,
    /// Whom the strong cookie names, whether or not it is there any more.
    pub(crate) named: Option<Named>,
    /// To be given out with the answer.
    pub(crate) cookie: Option<HeaderValue>,
}

/// What a request says of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// No session: the service keeps none, or the request has nothing to know one by.
    Nothing,
    /// The key that consistent hashing maps to a member.
    Key(u64),
    /// The member that a strong cookie names.
    Named(Named),
    /// A cookie that means nothing; treated like a client without one.
    Malformed,
}

/// Reads the session of a request with these headers, from the first address to the second. `signer` and
/// the clock are asked for strong cookies alone; without a signer they mean nothing.
#[must_use]
pub fn read(
    service: &Service,
    headers: &HeaderMap,
    (client, local): (IpAddr, IpAddr),
    (signer, now): (Option<&Signer>, fn() -> SystemTime),
) -> Reading {
    let key = |found| match found {
        Found::Good(key) => Reading::Key(key),
        Found::Malformed => Reading::Malformed,
        Found::Absent => Reading::Nothing,
    };
    match &service.affinity {
        Affinity::None => Reading::Nothing,
        Affinity::ClientIp => Reading::Key(address::client_ip_key(client, local)),
        Affinity::HeaderField(name) => {
            // Of a header that stands several times, the first line counts.
            let value = headers.get(&**name).filter(|value| !value.is_empty());
            value.map_or(Reading::Nothing, |value| Reading::Key(cookie::hash(value.as_bytes())))
        }
        Affinity::GeneratedCookie { .. } => {
            key(cookie::find(headers, service.scheme.cookie_name(), cookie::generated_key))
        }
        Affinity::HttpCookie(cookie) => key(cookie::find(headers, &cookie.name, cookie::any_key)),
        Affinity::StrongCookie(cookie) => {
            match cookie::find(headers, &cookie.name, |value| signer?.open(&service.name, value, now())) {
                Found::Good(named) => Reading::Named(named),
                Found::Malformed => Reading::Malformed,
                Found::Absent => Reading::Nothing,
            }
        }
    }
}

/// Reads the session of a request from `address`, and makes a new one where it has none.
/// `fresh` is what a new session is made of, where the choice of its service has seen to that already.
pub(crate) fn claim(
    client: &Client,
    service: &LiveService,
    head: &request::Parts,
    (address, fresh): (IpAddr, Option<u128>),
) -> Claim {
    let config = &service.config;
    if config.affinity == Affinity::None {
        return Claim::default();
    }
    let signer = client.context.signer.get();
    match read(config, &head.headers, (address, client.local.ip()), (signer, clock::wall)) {
        Reading::Key(key) => return Claim { key: Some(key), ..Claim::default() },
        Reading::Named(named) => return Claim { named: Some(named), ..Claim::default() },
        Reading::Malformed => {
            service.ledger.count_extra(client.context.worker, Extra::CookiesMalformed);
        }
        Reading::Nothing => {}
    }
    match &config.affinity {
        Affinity::GeneratedCookie { ttl } => {
            new_session((client, fresh), service, (config.scheme.cookie_name(), "/", *ttl))
        }
        Affinity::HttpCookie(Cookie { name, path, ttl }) => {
            new_session((client, fresh), service, (name, path, *ttl))
        }
        _ => Claim::default(),
    }
}

fn new_session(
    (client, fresh): (&Client, Option<u128>),
    service: &LiveService,
    (name, path, ttl): (&str, &str, Span),
) -> Claim {
    service.ledger.count_extra(client.context.worker, Extra::CookiesIssued);
    let mut rng = client.context.rng.borrow_mut();
    let random = fresh.unwrap_or_else(|| seed(&mut rng));
    let (value, key) = cookie::new_value(random);
    Claim { key: Some(key), named: None, cookie: cookie::set(name, &value, path, (ttl, clock::wall())) }
}

/// What a new session is made of.
fn seed(rng: &mut Rng) -> u128 {
    u128::from(rng.next()) << 64 | u128::from(rng.next())
}

/// The strong cookie that names the member which served; `None` in services without one.
pub(crate) fn naming(
    client: &Client,
    service: &LiveService,
    backend: u32,
    member: &LiveMember,
) -> Option<HeaderValue> {
    let Affinity::StrongCookie(Cookie { name, path, ttl }) = &service.config.affinity else { return None };
    let group = &service.config.backends.get(backend as usize)?.group;
    let named = Named { backend: hash::group(group), member: hash::member(&member.config) };
    let now = clock::wall();
    let end = (*ttl > Span::ZERO).then(|| cookie::end(now, *ttl));
    let value = client.context.signer.get()?.seal(&service.config.name, named, end);
    service.ledger.count_extra(client.context.worker, Extra::CookiesIssued);
    cookie::set(name, &value, path, (*ttl, now))
}
