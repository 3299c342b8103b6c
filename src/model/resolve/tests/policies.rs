//! What is resolved of a service's policies.

use super::*;
use crate::model::policy::{
    Algorithm, CircuitBreakers, Distribution, Isolation, Locality, OutlierDetection, Overload,
};

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
    // A strong cookie names its member, and a new session has nothing to hash.
    let strong = "sessionAffinity: STRONG_COOKIE_AFFINITY\nstrongSessionAffinityCookie: {name: session}";
    assert_eq!(locality(strong), Locality::RoundRobin);
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

/// [G 2b]
#[test]
fn a_policy_says_which_backends_and_its_scheme_says_the_rest() {
    let config = good(include_str!("../../../../config/service-lb-policy.yaml"));
    let found = |index: usize| config.services[index].policies.distribution.clone();
    let zone_first = Distribution {
        algorithm: Algorithm::WaterfallByZone,
        drains_automatically: true,
        failover_threshold: Ratio::new(0.8),
        isolation: None,
    };
    assert_eq!(found(0), zone_first);
    assert_eq!(found(1), Distribution { isolation: Some(Isolation::Nearest), ..Distribution::default() });
    assert_eq!(found(1).failover_threshold, Ratio::new(0.7));
}

#[test]
fn an_export_of_a_policy_can_be_pasted() {
    let export = "serviceLbPolicies:
- autoCapacityDrain: {enable: false}
  createTime: '2026-01-01T00:00:00Z'
  description: near first
  failoverConfig: {failoverHealthThreshold: 1}
  isolationConfig: {isolationGranularity: REGION, isolationMode: STRICT}
  labels: {team: web}
  loadBalancingAlgorithm: SPRAY_TO_REGION
  name: projects/p/locations/global/serviceLbPolicies/near
  updateTime: '2026-01-01T00:00:00Z'
";
    for reference in [
        "near",
        "//networkservices.googleapis.com/projects/p/locations/global/serviceLbPolicies/near",
        "https://networkservices.googleapis.com/v1/projects/p/locations/global/serviceLbPolicies/near",
    ] {
        let text = format!("{}{export}", service(&format!("serviceLbPolicy: {reference}")));
        let distribution = good(&text).services[0].policies.distribution.clone();
        assert_eq!(distribution.algorithm, Algorithm::SprayToRegion);
        assert_eq!(distribution.isolation, Some(Isolation::Strict));
        assert_eq!(distribution.failover_threshold, Ratio::new(0.01));
    }
}

#[test]
fn overload_fail_open_and_slow_start_are_read() {
    let policies = good(include_str!("../../../../config/overload.yaml")).services[0].policies.clone();
    assert_eq!(policies.overload, Overload::Reject);
    assert!(policies.fails_open);
    assert_eq!(policies.slow_start, Span::secs(30));
    let policies = good(MINIMAL).services[0].policies.clone();
    assert_eq!((policies.overload, policies.fails_open), (Overload::Overfill, false));
    assert_eq!(policies.slow_start, Span::ZERO);
}

/// [G 2b]: 70 percent, 50 for the classic balancer.
#[test]
fn the_failover_threshold_goes_by_the_scheme() {
    let classic = service("loadBalancingScheme: EXTERNAL")
        .replace("target: web-proxy}", "target: web-proxy, loadBalancingScheme: EXTERNAL}");
    assert_eq!(good(&classic).services[0].policies.distribution.failover_threshold, Ratio::new(0.5));
    assert_eq!(good(MINIMAL).services[0].policies.distribution.failover_threshold, Ratio::new(0.7));
}

/// [G 2e]
#[test]
fn outlier_detection_is_off_unless_something_is_said_and_then_has_google_s_defaults() {
    let found = |lines: &str| good(&service(lines)).services[0].policies.outlier_detection;
    assert_eq!(found(""), None);
    assert_eq!(found("outlierDetection: {}"), None);
    assert_eq!(
        found("outlierDetection: {consecutiveErrors: 7}"),
        Some(OutlierDetection { consecutive_errors: 7, ..OutlierDetection::default() })
    );
    assert_eq!(
        found(
            "outlierDetection: {interval: {seconds: '2', nanos: 500000000}, baseEjectionTime: {seconds: 0}}"
        ),
        Some(OutlierDetection {
            interval: Span::millis(2500),
            base_ejection_time: Span::ZERO,
            ..OutlierDetection::default()
        })
    );
}

/// [G 2e]
#[test]
fn circuit_breakers_limit_nothing_but_what_is_said_and_retries() {
    let found = |lines: &str| good(&service(lines)).services[0].policies.circuit_breakers;
    assert_eq!(found(""), CircuitBreakers::default());
    assert_eq!(found("circuitBreakers: {}"), CircuitBreakers::default());
    assert_eq!(
        found("circuitBreakers: {maxRequests: 9}"),
        CircuitBreakers { max_requests: Some(9), max_retries: Some(1), ..CircuitBreakers::default() }
    );
    let config = good(include_str!("../../../../config/protection.yaml"));
    let policies = &config.services[0].policies;
    assert_eq!(policies.circuit_breakers.max_retries, Some(3));
    assert_eq!(policies.circuit_breakers.max_connections, Some(200));
    assert_eq!(policies.outlier_detection.unwrap().base_ejection_time, Span::secs(30));
}
