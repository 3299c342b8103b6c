//! Which session a request belongs to: where its client is, what it brings, and what it gets for the next time [G 3].

pub(crate) mod address;
mod cookie;
pub(crate) mod strong;

use std::net::IpAddr;

use http::{HeaderValue, request};

use self::cookie::Found;
use self::strong::Named;
use super::headers::Seen;
use super::serve::Client;
use crate::balance::hash;
use crate::clock;
use crate::ledger::service::Extra;
use crate::model::service::{Affinity, Cookie};
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

/// Reads the session of a request from `address` to `service`.
pub(crate) fn claim(
    client: &Client,
    service: &LiveService,
    (head, seen): (&request::Parts, Seen),
    address: IpAddr,
) -> Claim {
    let by_key = |key| Claim { key: Some(key), ..Claim::default() };
    match &service.config.affinity {
        Affinity::None => Claim::default(),
        Affinity::ClientIp => by_key(address::client_ip_key(address, client.local.ip())),
        Affinity::HeaderField(name) => {
            // The hash of a header that stands several times is that of its first line.
            let value = head.headers.get(&**name).filter(|value| !value.is_empty());
            value.map_or_else(Claim::default, |value| by_key(cookie::hash(value.as_bytes())))
        }
        Affinity::GeneratedCookie { ttl } => {
            let name = service.config.scheme.cookie_name();
            let found = find(client, service, (head, seen), name, cookie::generated_key);
            found.map_or_else(|| new_session(client, service, (name, "/", *ttl)), by_key)
        }
        Affinity::HttpCookie(Cookie { name, path, ttl }) => {
            let found = find(client, service, (head, seen), name, cookie::any_key);
            found.map_or_else(|| new_session(client, service, (name, path, *ttl)), by_key)
        }
        Affinity::StrongCookie(Cookie { name, .. }) => {
            let signer = client.context.signer.get();
            let open = |value: &str| signer?.open(&service.config.name, value, clock::wall());
            Claim { named: find(client, service, (head, seen), name, open), ..Claim::default() }
        }
    }
}

/// The cookie's meaning; one that means nothing is counted.
fn find<T>(
    client: &Client,
    service: &LiveService,
    (head, seen): (&request::Parts, Seen),
    name: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    if !seen.has(Seen::COOKIE) {
        return None;
    }
    match cookie::find(&head.headers, name, read) {
        Found::Good(meaning) => Some(meaning),
        Found::Malformed => {
            service.ledger.count_extra(client.context.worker, Extra::CookiesMalformed);
            None
        }
        Found::Absent => None,
    }
}

fn new_session(client: &Client, service: &LiveService, (name, path, ttl): (&str, &str, Span)) -> Claim {
    service.ledger.count_extra(client.context.worker, Extra::CookiesIssued);
    let mut rng = client.context.rng.borrow_mut();
    let random = u128::from(rng.next()) << 64 | u128::from(rng.next());
    let (value, key) = cookie::new_value(random);
    Claim { key: Some(key), named: None, cookie: cookie::set(name, &value, path, (ttl, clock::wall())) }
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
