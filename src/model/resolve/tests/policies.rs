//! What is resolved of a service's policies.

use super::*;
use crate::model::policy::Locality;

/// `MINIMAL` with lines added to its service.
fn service(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("\n    {line}")).collect();
    with("healthChecks: [basic]", &format!("healthChecks: [basic]{lines}"))
}

fn locality(lines: &str) -> Locality {
    good(&service(lines)).services[0].policies.locality
}

/// [G 2c]
#[test]
fn members_are_taken_in_turn_without_affinity_and_by_maglev_with_one() {
    assert_eq!(locality(""), Locality::RoundRobin);
    for affinity in ["CLIENT_IP", "GENERATED_COOKIE"] {
        assert_eq!(locality(&format!("sessionAffinity: {affinity}")), Locality::Maglev);
    }
    let classic = service("sessionAffinity: CLIENT_IP\nloadBalancingScheme: EXTERNAL")
        .replace("target: web-proxy}", "target: web-proxy, loadBalancingScheme: EXTERNAL}");
    assert_eq!(good(&classic).services[0].policies.locality, Locality::RoundRobin);
}

#[test]
fn every_policy_is_read_by_its_name() {
    let config = good(include_str!("../../../../config/locality.yaml"));
    let found: Vec<_> = config.services.iter().map(|service| service.policies.locality).collect();
    let expected = [
        Locality::RoundRobin,
        Locality::LeastRequest,
        Locality::Prequal,
        Locality::Random,
        Locality::WeightedRoundRobin,
        Locality::RingHash { minimum_size: 4096 },
    ];
    assert_eq!(found, expected);
    assert_eq!(config.services[4].policies.weight_metrics, ["queue".into()]);
    let lines = "sessionAffinity: GENERATED_COOKIE\nlocalityLbPolicy: RING_HASH";
    assert_eq!(locality(lines), Locality::RingHash { minimum_size: 1024 });
}

/// [G 3]: a cookie of the balancer's needs a hash; the classic balancer hashes without saying so.
#[test]
fn policies_without_a_hash_do_not_keep_sessions() {
    for policy in ["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "WEIGHTED_ROUND_ROBIN", "PREQUAL"] {
        let lines = format!("sessionAffinity: GENERATED_COOKIE\nlocalityLbPolicy: {policy}");
        assert_eq!(codes(&service(&lines)), ["forbidden-field"], "{policy}");
    }
    for policy in ["RING_HASH", "MAGLEV"] {
        good(&service(&format!("sessionAffinity: GENERATED_COOKIE\nlocalityLbPolicy: {policy}")));
    }
}

/// gcloud keeps `consistentHash` when the affinity changes [G 3.11].
#[test]
fn a_ring_size_that_was_left_behind_is_accepted() {
    assert_eq!(locality("consistentHash: {minimumRingSize: '1024'}"), Locality::RoundRobin);
}
