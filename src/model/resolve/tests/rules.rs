//! What is refused or warned about, rule by rule [G 1, 2, 3].

use super::*;

const BACKEND: &str = "{group: ig-web, balancingMode: RATE, maxRatePerInstance: 100}";
const GROUP: &str = "instanceGroups:\n";

/// `MINIMAL` with these backends: lines of flow mappings.
fn backends(lines: &[&str]) -> String {
    with(BACKEND, &lines.join("\n      - "))
}

/// `MINIMAL` with one backend on its instance group, with these fields.
fn backend(fields: &str) -> Vec<&'static str> {
    codes(&backends(&[&format!("{{group: ig-web, {fields}}}")]))
}

/// More lines of `MINIMAL`'s service.
fn service(lines: &str) -> Vec<&'static str> {
    codes(&with("healthChecks: [basic]", &format!("healthChecks: [basic]\n    {lines}")))
}

/// A second group beside `ig-web`.
fn with_spare(text: &str, more: &str) -> String {
    let spare = format!(
        "{GROUP}  - {{name: spare, zone: us-central1-b, namedPorts: [{{name: http, port: 9}}], instances: [{{name: s, \
         ipAddress: 127.0.0.1}}]{more}}}\n"
    );
    text.replacen(GROUP, &spare, 1)
}

/// An endpoint group of this type instead of `ig-web`, with one endpoint.
fn endpoints(kind: &str, endpoint: &str, fields: &str) -> Vec<&'static str> {
    let place = if kind.starts_with("INTERNET") { "" } else { "zone: us-central1-a, " };
    let text = backends(&[&format!("{{group: neg{fields}}}")]);
    let (before, _) = text.split_at(text.find(GROUP).unwrap());
    let checks = text.split_at(text.find("healthChecks:\n").unwrap()).1;
    codes(&format!(
        "{before}networkEndpointGroups:\n  - {{name: neg, {place}networkEndpointType: {kind}, networkEndpoints: \
         [{endpoint}]}}\n{checks}"
    ))
}

fn zonal(fields: &str) -> Vec<&'static str> {
    endpoints("GCE_VM_IP_PORT", "{ipAddress: 127.0.0.1, port: 81}", fields)
}

const NOTHING: [&str; 0] = [];

#[test]
fn g_1_1_the_scaler_is_0_or_from_a_tenth_to_1() {
    let scaled = |scaler: &str| {
        let of_two = [
            format!("{{group: ig-web, balancingMode: RATE, maxRate: 9, capacityScaler: {scaler}}}"),
            "{group: spare, balancingMode: RATE, maxRate: 9}".to_owned(),
        ];
        codes(&with_spare(&backends(&[&of_two[0], &of_two[1]]), ""))
    };
    for good in ["0", "0.0", "0.1", "0.55", "1", "1.0"] {
        assert_eq!(scaled(good), NOTHING, "{good}");
    }
    for bad in ["0.05", "0.099", "1.01", "-0.1", "2", ".nan", ".inf"] {
        assert_eq!(scaled(bad), ["out-of-range"], "{bad}");
    }
}

#[test]
fn g_1_2_a_single_backend_cannot_be_drained() {
    assert_eq!(backend("balancingMode: RATE, maxRate: 9, capacityScaler: 0"), ["drained-single-backend"]);
    let two = ["ig-web", "spare"]
        .map(|group| format!("{{group: {group}, balancingMode: RATE, maxRate: 9, capacityScaler: 0}}"));
    assert_eq!(codes(&with_spare(&backends(&[&two[0], &two[1]]), "")), ["all-drained"]);
}

#[test]
fn g_1_5_internet_endpoints_have_neither_mode_nor_target_nor_scaler() {
    let internet = |fields| endpoints("INTERNET_IP_PORT", "{ipAddress: 203.0.113.1, port: 80}", fields);
    for fields in
        [", balancingMode: RATE", ", maxRate: 9", ", capacityScaler: 0.5", ", maxRatePerEndpoint: 9"]
    {
        assert!(internet(fields).contains(&"forbidden-field"), "{fields}: {:?}", internet(fields));
    }
}

#[test]
fn g_1_6_a_maximum_utilization_beside_a_rate_is_refused_as_gcloud_does() {
    assert_eq!(backend("balancingMode: RATE, maxRate: 9, maxUtilization: 0.8"), ["forbidden-field"]);
}

#[test]
fn g_1_7_no_rate_with_connection_no_connections_with_rate_no_in_flight_with_either() {
    let connection = |field: &str| {
        let fields = format!("balancingMode: CONNECTION, maxConnections: 9, {field}");
        let text = backends(&[&format!("{{group: ig-web, {fields}}}")]);
        let tcp = text.replacen("healthChecks: [basic]", "healthChecks: [basic]\n    protocol: TCP", 1);
        codes(&tcp)
    };
    assert!(connection("maxRate: 9").contains(&"forbidden-field"));
    assert!(connection("maxInFlightRequests: 9").contains(&"forbidden-field"));
    for field in ["maxConnections: 9", "maxConnectionsPerInstance: 9", "maxInFlightRequests: 9"] {
        assert_eq!(
            backend(&format!("balancingMode: RATE, maxRate: 9, {field}")),
            ["forbidden-field"],
            "{field}"
        );
    }
}

#[test]
fn g_1_8_a_rate_without_a_target_is_refused() {
    assert_eq!(backend("balancingMode: RATE"), ["missing-target"]);
}

#[test]
fn g_1_12_utilization_is_for_instance_groups_only() {
    assert_eq!(zonal(", balancingMode: UTILIZATION"), ["forbidden-mode"]);
    assert_eq!(zonal(""), ["missing-field"], "there is no other default");
}

#[test]
fn g_1_13_connection_is_not_for_http_services() {
    assert_eq!(backend("balancingMode: CONNECTION, maxConnections: 9"), ["forbidden-mode"]);
}

#[test]
fn g_1_14_rate_and_in_flight_are_for_http_services() {
    for mode in ["balancingMode: RATE, maxRate: 9", "balancingMode: IN_FLIGHT, maxInFlightRequests: 9"] {
        let text = backends(&[&format!("{{group: ig-web, {mode}}}")]);
        let tcp = text.replacen("healthChecks: [basic]", "healthChecks: [basic]\n    protocol: TCP", 1);
        assert!(codes(&tcp).contains(&"forbidden-mode"), "{mode}: {:?}", codes(&tcp));
    }
}

#[test]
fn g_1c_each_mode_has_exactly_its_own_targets() {
    let good = [
        "balancingMode: RATE, maxRate: 9",
        "balancingMode: RATE, maxRatePerInstance: 9.5",
        "maxUtilization: 0.8",
        "balancingMode: IN_FLIGHT, trafficDuration: LONG, maxInFlightRequests: 9",
        "balancingMode: IN_FLIGHT, trafficDuration: LONG, maxInFlightRequestsPerInstance: 9",
        "balancingMode: CUSTOM_METRICS, customMetrics: [{name: orca.cpu_utilization}], maxRate: 9",
    ];
    for fields in good {
        let errors = backend(fields);
        assert!(errors.iter().all(|code| *code == "metrics-without-reports"), "{fields}: {errors:?}");
    }
    let bad = [
        ("balancingMode: RATE, maxRate: 9, maxRatePerInstance: 9", "two-targets"),
        ("balancingMode: RATE, maxRatePerEndpoint: 9", "forbidden-field"),
        ("maxRate: 9, maxRatePerInstance: 9", "two-targets"),
        ("balancingMode: IN_FLIGHT, trafficDuration: LONG", "missing-target"),
        (
            "balancingMode: IN_FLIGHT, trafficDuration: LONG, maxInFlightRequestsPerEndpoint: 9",
            "forbidden-field",
        ),
        ("balancingMode: CUSTOM_METRICS", "missing-target"),
        (
            "balancingMode: CUSTOM_METRICS, customMetrics: [{name: orca.cpu_utilization}], trafficDuration: LONG",
            "forbidden-field",
        ),
        (
            "balancingMode: CUSTOM_METRICS, customMetrics: [{name: orca.cpu_utilization}], maxUtilization: 0.8",
            "forbidden-field",
        ),
    ];
    for (fields, code) in bad {
        assert!(backend(fields).contains(&code), "{fields}: {:?}", backend(fields));
    }
    assert_eq!(zonal(", balancingMode: RATE, maxRatePerEndpoint: 9"), NOTHING);
    assert!(zonal(", balancingMode: RATE, maxRatePerInstance: 9").contains(&"forbidden-field"));
}

#[test]
fn g_1_16_utilization_stands_alone_or_with_one_rate() {
    let good = [
        "balancingMode: UTILIZATION",
        "maxUtilization: 0.5",
        "maxRate: 9",
        "maxRatePerInstance: 9",
        "maxUtilization: 0.5, maxRate: 9",
        "maxUtilization: 0.5, maxRatePerInstance: 9",
    ];
    for fields in good {
        assert_eq!(backend(fields), NOTHING, "{fields}");
    }
    assert_eq!(backend("maxUtilization: 0.5, maxInFlightRequests: 9"), ["forbidden-field"], "without LONG");
}

#[test]
fn g_1_18_long_traffic_is_required_by_in_flight_and_forbidden_with_rate() {
    assert_eq!(backend("balancingMode: RATE, maxRate: 9, trafficDuration: LONG").len(), 1);
    assert_eq!(backend("balancingMode: IN_FLIGHT, maxInFlightRequests: 9, trafficDuration: SHORT").len(), 1);
    assert_eq!(backend("balancingMode: RATE, maxRate: 9, trafficDuration: SHORT"), NOTHING);
}

#[test]
fn g_1_25_utilization_with_affinity_is_warned_about() {
    let text = backends(&["{group: ig-web, maxUtilization: 0.8}"]);
    let text =
        text.replacen("healthChecks: [basic]", "healthChecks: [basic]\n    sessionAffinity: CLIENT_IP", 1);
    let Resolved { config, problems } = document(&text);
    assert!(config.is_some());
    let found: Vec<_> = problems.iter().map(|problem| (problem.code, problem.severity)).collect();
    assert_eq!(found, [("utilization-affinity", Severity::Warning)]);
}

#[test]
fn g_1_29_an_instance_is_in_one_balanced_group() {
    let two = [
        "{group: ig-web, balancingMode: RATE, maxRate: 9}",
        "{group: spare, balancingMode: RATE, maxRate: 9}",
    ];
    let text = with_spare(&backends(&two), "").replacen("{name: s,", "{name: www-1,", 1);
    assert_eq!(
        codes(&text.replacen("zone: us-central1-b", "zone: us-central1-a", 1)),
        ["instance-in-two-groups"]
    );
}

#[test]
fn g_1_31_groups_do_not_mix_with_zonal_endpoints_and_no_group_stands_twice() {
    let neg = "networkEndpointGroups:\n  - {name: neg, zone: us-central1-a, networkEndpointType: GCE_VM_IP_PORT, \
               networkEndpoints: [{ipAddress: 127.0.0.1, port: 81}]}\n";
    let mixed = [
        "{group: ig-web, balancingMode: RATE, maxRate: 9}",
        "{group: neg, balancingMode: RATE, maxRatePerEndpoint: 9}",
    ];
    assert_eq!(codes(&(backends(&mixed) + neg)), ["mixed-groups"]);
    let twice = ["{group: ig-web, balancingMode: RATE, maxRate: 9}"; 2];
    assert_eq!(codes(&backends(&twice)), ["duplicate-backend"]);
}

#[test]
fn g_1_33_a_preference_is_not_for_the_classic_scheme() {
    let text = backends(&["{group: ig-web, balancingMode: RATE, maxRate: 9, preference: PREFERRED}"])
        .replacen("healthChecks: [basic]", "healthChecks: [basic]\n    loadBalancingScheme: EXTERNAL", 1)
        .replacen("target: web-proxy}", "target: web-proxy, loadBalancingScheme: EXTERNAL}", 1);
    assert_eq!(codes(&text), ["forbidden-field"]);
    let internet =
        endpoints("INTERNET_IP_PORT", "{ipAddress: 203.0.113.1, port: 80}", ", preference: PREFERRED");
    assert!(internet.contains(&"forbidden-field"), "{internet:?}");
}

#[test]
fn g_1_35_a_metrics_name_is_short_and_plain() {
    let named =
        |name: &str| backend(&format!("balancingMode: CUSTOM_METRICS, customMetrics: [{{name: {name}}}]"));
    let long = format!("a{}", "b".repeat(63));
    for good in ["q", "queue.depth_1-x", long.as_str()] {
        assert!(!named(good).contains(&"bad-name"), "{good}: {:?}", named(good));
    }
    for bad in [&format!("{long}b"), "Queue", "1queue", "queue-", "q/x", "\"\""] {
        assert!(named(bad).iter().any(|code| *code != "metrics-without-reports"), "{bad}: {:?}", named(bad));
    }
}

#[test]
fn g_1_37_at_most_two_metrics_and_one_that_counts() {
    let of = |metrics: &str| backend(&format!("balancingMode: CUSTOM_METRICS, customMetrics: [{metrics}]"));
    assert!(of("{name: a}, {name: b}, {name: c}").contains(&"too-many"));
    assert!(of("{name: a, dryRun: true}").contains(&"missing-target"));
}

#[test]
fn g_1_40_custom_metrics_are_not_for_the_classic_scheme() {
    let text = backends(&["{group: ig-web, balancingMode: CUSTOM_METRICS, customMetrics: [{name: a}]}"])
        .replacen("healthChecks: [basic]", "healthChecks: [basic]\n    loadBalancingScheme: EXTERNAL", 1)
        .replacen("target: web-proxy}", "target: web-proxy, loadBalancingScheme: EXTERNAL}", 1);
    assert!(
        codes(&text).contains(&"forbidden-scheme") || codes(&text).contains(&"forbidden-mode"),
        "{:?}",
        codes(&text)
    );
}

#[test]
fn g_2_12_a_policy_is_not_for_the_classic_scheme() {
    let text = with(
        "healthChecks: [basic]",
        "healthChecks: [basic]\n    serviceLbPolicy: policy\n    loadBalancingScheme: EXTERNAL",
    )
    .replacen("target: web-proxy}", "target: web-proxy, loadBalancingScheme: EXTERNAL}", 1)
        + "serviceLbPolicies: [{name: policy}]\n";
    assert!(codes(&text).iter().any(|code| code.starts_with("forbidden")), "{:?}", codes(&text));
}

#[test]
fn g_3_4_a_ttl_is_at_most_two_weeks() {
    let ttl =
        |secs: &str| service(&format!("sessionAffinity: GENERATED_COOKIE\n    affinityCookieTtlSec: {secs}"));
    assert_eq!(ttl("0"), NOTHING);
    assert_eq!(ttl("1209600"), NOTHING);
    assert_eq!(ttl("1209601"), ["out-of-range"]);
    assert_eq!(service("affinityCookieTtlSec: 3600"), ["ttl-without-cookie"]);
}

#[test]
fn g_3_10_the_classic_scheme_knows_three_kinds_of_affinity() {
    let classic = |affinity: &str| {
        let text = with(
            "healthChecks: [basic]",
            &format!(
                "healthChecks: [basic]\n    loadBalancingScheme: EXTERNAL\n    sessionAffinity: {affinity}"
            ),
        );
        codes(&text.replacen("target: web-proxy}", "target: web-proxy, loadBalancingScheme: EXTERNAL}", 1))
    };
    for good in ["NONE", "CLIENT_IP", "GENERATED_COOKIE"] {
        assert_eq!(classic(good), NOTHING, "{good}");
    }
    for bad in [
        "HTTP_COOKIE\n    consistentHash: {httpCookie: {name: c}}",
        "HEADER_FIELD\n    consistentHash: {httpHeaderName: x}",
        "STRONG_COOKIE_AFFINITY\n    strongSessionAffinityCookie: {name: c}",
    ] {
        assert!(!classic(bad).is_empty(), "{bad}");
    }
}

#[test]
fn g_3_11_what_gcloud_leaves_behind_is_accepted() {
    assert_eq!(service("sessionAffinity: NONE\n    affinityCookieTtlSec: 86400"), ["ttl-without-cookie"]);
    let cookie = "sessionAffinity: HTTP_COOKIE\n    affinityCookieTtlSec: 3600\n    localityLbPolicy: MAGLEV\n    \
                  consistentHash: {httpCookie: {name: c, path: /}}";
    assert_eq!(service(cookie), NOTHING);
}

#[test]
fn what_a_client_may_forge_beside_its_certificate_is_warned_of() {
    let map = "defaultService: web";
    let edits = |action: &str| codes(&with(map, &format!("{map}, headerAction: {{{action}}}")));
    let added = "{headerName: x-leaf, headerValue: 'a {client_cert_leaf}'";
    assert_eq!(edits(&format!("requestHeadersToAdd: [{added}}}]")), ["forgeable-header"]);
    assert_eq!(edits(&format!("requestHeadersToAdd: [{added}, replace: false}}]")), ["forgeable-header"]);
    assert!(edits(&format!("requestHeadersToAdd: [{added}, replace: true}}]")).is_empty());
    let removed = "requestHeadersToRemove: [X-Leaf]";
    assert!(edits(&format!("{removed}, requestHeadersToAdd: [{added}}}]")).is_empty());
    assert!(edits(&format!("responseHeadersToAdd: [{added}}}]")).is_empty(), "nobody else writes answers");
    let port = "requestHeadersToAdd: [{headerName: x-port, headerValue: '{client_port}'}]";
    assert!(edits(port).is_empty());
}
