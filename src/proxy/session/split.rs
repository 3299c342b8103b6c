//! Which of several services with weights: by chance for what is new, and where it was for what is not [G 7c].
//!
//! Google's rule is that weights concern new traffic, and that a session then stays by the affinity of its service. So
//! the services are asked in the order of the file what they read in the request: a strong cookie is of the service
//! that made it; the first key that any of them finds decides by a hash. A new session gets its key first, and its
//! service by that key, so that the next request finds the way back.

use std::net::IpAddr;
use std::time::SystemTime;

use http::HeaderMap;

use super::cookie;
use super::strong::Signer;
use super::{Reading, read, seed};
use crate::balance::hash::mix;
use crate::balance::rng::Rng;
use crate::model::config::ServiceId;
use crate::model::route::action::{Part, Split};
use crate::model::service::{Affinity, Service};

/// Members are found by the same key: a service must not get the sessions of one part of their circle only.
const SALT: u64 = 0x7370_6C69_7421;

/// The service that the request's session is with; `None`: it has none yet. `services` finds them by number; the rest
/// is as for [`read`].
pub fn settled<'a, 's>(
    split: &'a Split,
    services: impl Fn(ServiceId) -> Option<&'s Service>,
    headers: &HeaderMap,
    addresses: (IpAddr, IpAddr),
    (signer, now): (Option<&Signer>, fn() -> SystemTime),
) -> Option<&'a Part> {
    let mut found = None;
    for part in split.parts().iter().filter(|part| part.weight > 0) {
        let Some(service) = services(part.to.service) else { continue };
        match read(service, headers, addresses, (signer, now)) {
            Reading::Named(_) => return Some(part),
            Reading::Key(key) => found = found.or(Some(key)),
            Reading::Nothing | Reading::Malformed => {}
        }
    }
    split.pick(mix(found?, SALT))
}

/// The service of what is new, and what its session is to be made of if the service keeps sessions by a cookie.
pub(crate) fn fresh<'a, 's>(
    split: &'a Split,
    services: impl Fn(ServiceId) -> Option<&'s Service>,
    rng: &mut Rng,
) -> Option<(&'a Part, Option<u128>)> {
    let makes_keys = |part: &Part| {
        let affinity = services(part.to.service).map(|service| &service.affinity);
        matches!(affinity, Some(Affinity::GeneratedCookie { .. } | Affinity::HttpCookie(_)))
    };
    if !split.parts().iter().any(makes_keys) {
        return Some((split.pick(rng.next())?, None));
    }
    let seed = seed(rng);
    let (_, key) = cookie::new_value(seed);
    Some((split.pick(mix(key, SALT))?, Some(seed)))
}
