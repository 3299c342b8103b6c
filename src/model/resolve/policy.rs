//! How a service spreads its requests: the fields behind [`Policies`].

use super::metrics;
use super::protection;
use super::report::Report;
use crate::model::policy::{Locality, Overload, Policies};
use crate::model::service::{Affinity, Protocol, Scheme};
use crate::model::unit::Span;
use crate::wire::backend_service::BackendService;
use crate::wire::path::Path;

/// `consistentHash.minimumRingSize` when the file has none [G 2c].
pub(super) const DEFAULT_RING_SIZE: u32 = 1024;

/// All policies of a service but its distribution. What has a problem is reported, and stays at its default.
pub(super) fn all(
    service: &BackendService,
    (scheme, protocol, affinity): (Scheme, Protocol, &Affinity),
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Policies {
    Policies {
        locality: locality(service, (scheme, protocol, affinity), at, report),
        weight_metrics: metrics::of_service(service, scheme, at, report),
        slow_start: Span::secs(service.slow_start_sec.unwrap_or(0).into()),
        overload: match service.overload.as_deref() {
            Some("REJECT") => Overload::Reject,
            _ => Overload::Overfill,
        },
        fails_open: service.fail_open.unwrap_or(false),
        outlier_detection: protection::outlier_detection(service, (scheme, protocol), at, report),
        circuit_breakers: protection::circuit_breakers(service, (scheme, protocol), at, report),
        ..Policies::default()
    }
}

/// `localityLbPolicy` [G 2c, 3]. Absent: ROUND_ROBIN without a session to hash, MAGLEV with one: a strong cookie names
/// its member, and before it there is nothing to hash. The classic balancer knows no
/// other word than ROUND_ROBIN, and hashes sessions all the same.
fn locality(
    service: &BackendService,
    (scheme, protocol, affinity): (Scheme, Protocol, &Affinity),
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Locality {
    let Some(word) = service.locality_lb_policy.as_deref() else {
        return match (affinity, scheme) {
            (Affinity::None | Affinity::StrongCookie(_), _) | (_, Scheme::External) => Locality::RoundRobin,
            _ => Locality::Maglev,
        };
    };
    let locality = named(word, service);
    let mut refuse = |message: &str, expected: &str| {
        let message = format!("service `{}` {message}", service.name);
        report.error(&at.key("localityLbPolicy"), "forbidden-field", message, expected);
    };
    if scheme == Scheme::External && locality != Locality::RoundRobin {
        refuse(
            &format!("of scheme EXTERNAL chooses members by {word}"),
            "ROUND_ROBIN, or none, or scheme EXTERNAL_MANAGED: the classic balancer knows no other policy [G 2c]",
        );
    } else if !protocol.is_http() && matches!(locality, Locality::WeightedRoundRobin | Locality::Prequal) {
        refuse(
            &format!("of protocol {} chooses members by {word}", protocol.as_str()),
            "ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH or MAGLEV: this policy reads the answers to requests [G 1.41]",
        );
    } else if scheme != Scheme::External && wants_hash(affinity) && !is_hash(locality) {
        refuse(
            &format!("wants {word} and sessions that stay"),
            &format!(
                "RING_HASH, or MAGLEV, which is the default with affinity: {} needs a hash [G 2c, 3]",
                affinity.as_str()
            ),
        );
    }
    locality
}

fn named(word: &str, service: &BackendService) -> Locality {
    match word {
        "LEAST_REQUEST" => Locality::LeastRequest,
        "RANDOM" => Locality::Random,
        "RING_HASH" => {
            let hash = service.consistent_hash.as_ref();
            let size = hash.and_then(|hash| hash.minimum_ring_size).unwrap_or(DEFAULT_RING_SIZE);
            Locality::RingHash { minimum_size: size }
        }
        "MAGLEV" => Locality::Maglev,
        "WEIGHTED_ROUND_ROBIN" => Locality::WeightedRoundRobin,
        "PREQUAL" => Locality::Prequal,
        _ => Locality::RoundRobin,
    }
}

/// Whether sessions of this kind are found by a hash of what stands in requests [G 3].
const fn wants_hash(affinity: &Affinity) -> bool {
    matches!(affinity, Affinity::GeneratedCookie { .. } | Affinity::HttpCookie(_) | Affinity::HeaderField(_))
}

/// Whether members are found by consistent hashing.
pub(super) const fn is_hash(locality: Locality) -> bool {
    matches!(locality, Locality::RingHash { .. } | Locality::Maglev)
}
