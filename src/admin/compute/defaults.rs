//! What Google's servers fill in where a resource says nothing, so that clients read what holds [G 1a, 3, 4a, 5, 10e].

use serde_json::{Map, Value as Json, json};

/// Fills the defaults in; what is said stays.
pub(super) fn fill(resource: &mut Json, collection: &str) {
    let Some(fields) = resource.as_object_mut() else { return };
    match collection {
        "backendServices" => backend_service(fields),
        "forwardingRules" => {
            let range = fields.get("portRange").and_then(Json::as_str).map(port_range);
            if let Some(range) = range {
                fields.insert("portRange".to_owned(), Json::from(range));
            }
            all(fields, &[("IPProtocol", json!("TCP")), scheme(), ("networkTier", json!("PREMIUM"))]);
        }
        "healthChecks" => health_check(fields),
        "httpHealthChecks" => {
            all(fields, &thresholds());
            all(fields, &[("port", json!(80)), ("requestPath", json!("/"))]);
        }
        "httpsHealthChecks" => {
            all(fields, &thresholds());
            all(fields, &[("port", json!(443)), ("requestPath", json!("/"))]);
        }
        "sslPolicies" => {
            all(fields, &[("profile", json!("COMPATIBLE")), ("minTlsVersion", json!("TLS_1_2"))]);
        }
        "networkEndpointGroups" => all(fields, &[("networkEndpointType", json!("GCE_VM_IP_PORT"))]),
        "sslCertificates" => all(fields, &[("type", json!("SELF_MANAGED"))]),
        _ => {}
    }
}

/// **Ours**: without a scheme in the file, the product with the most features (design.md 2).
fn scheme() -> (&'static str, Json) {
    ("loadBalancingScheme", json!("EXTERNAL_MANAGED"))
}

fn backend_service(fields: &mut Map<String, Json>) {
    all(
        fields,
        &[
            scheme(),
            ("protocol", json!("HTTP")),
            ("timeoutSec", json!(30)),
            ("sessionAffinity", json!("NONE")),
            ("affinityCookieTtlSec", json!(0)),
            ("connectionDraining", json!({"drainingTimeoutSec": 0})),
        ],
    );
    let modes = json!("UTILIZATION");
    for backend in fields.get_mut("backends").and_then(Json::as_array_mut).into_iter().flatten() {
        let Some(backend) = backend.as_object_mut() else { continue };
        all(backend, &[("balancingMode", modes.clone()), ("capacityScaler", json!(1.0))]);
        if backend.get("balancingMode") == Some(&modes) {
            all(backend, &[("maxUtilization", json!(0.8))]);
        }
        if backend.get("preference") == Some(&json!("PREFERENCE_UNSPECIFIED")) {
            backend.insert("preference".to_owned(), json!("DEFAULT"));
        }
    }
}

fn thresholds() -> [(&'static str, Json); 4] {
    [
        ("checkIntervalSec", json!(5)),
        ("timeoutSec", json!(5)),
        ("healthyThreshold", json!(2)),
        ("unhealthyThreshold", json!(2)),
    ]
}

/// The sub-object that goes with each type of health check.
const BODIES: [(&str, &str); 7] = [
    ("HTTP", "httpHealthCheck"),
    ("HTTPS", "httpsHealthCheck"),
    ("HTTP2", "http2HealthCheck"),
    ("TCP", "tcpHealthCheck"),
    ("SSL", "sslHealthCheck"),
    ("GRPC", "grpcHealthCheck"),
    ("GRPC_WITH_TLS", "grpcTlsHealthCheck"),
];

/// A health check that a client sends without the sub-object of its type has an empty one, all of defaults. A file says
/// it itself: exactly one [G 4a].
pub(super) fn complete_check(resource: &mut Json) {
    let Some(fields) = resource.as_object_mut() else { return };
    let said = fields.get("type").and_then(Json::as_str);
    let own = BODIES.iter().find(|(word, _)| said == Some(word));
    if let Some((_, body)) = own.filter(|_| !BODIES.iter().any(|(_, body)| fields.contains_key(*body))) {
        fields.insert((*body).to_owned(), json!({}));
    }
}

fn health_check(fields: &mut Map<String, Json>) {
    all(fields, &thresholds());
    for (key, port, has_path) in [
        ("httpHealthCheck", Some(80), true),
        ("httpsHealthCheck", Some(443), true),
        ("http2HealthCheck", Some(443), true),
        ("tcpHealthCheck", Some(80), false),
        ("sslHealthCheck", Some(443), false),
    ] {
        let Some(probe) = fields.get_mut(key).and_then(Json::as_object_mut) else { continue };
        let serves = probe.get("portSpecification") == Some(&json!("USE_SERVING_PORT"));
        if let Some(port) = port.filter(|_| !serves) {
            all(probe, &[("port", json!(port))]);
        }
        all(probe, &[("proxyHeader", json!("NONE"))]);
        if has_path {
            all(probe, &[("requestPath", json!("/"))]);
        }
    }
}

fn all(fields: &mut Map<String, Json>, defaults: &[(&str, Json)]) {
    for (key, value) in defaults {
        fields.entry(*key).or_insert_with(|| value.clone());
    }
}

/// One form: `80` is `80-80` [G 10.2a].
pub(super) fn port_range(text: &str) -> String {
    if text.contains('-') { text.to_owned() } else { format!("{text}-{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_4a_a_check_without_a_body_gets_that_of_its_type_and_no_second_one() {
        for (word, body) in BODIES {
            let mut check = json!({"type": word});
            complete_check(&mut check);
            assert_eq!(check, json!({"type": word, body: {}}));
        }
        for said in
            [json!({"type": "TCP", "httpHealthCheck": {}}), json!({"type": "UDP"}), json!({}), json!(1)]
        {
            let mut check = said.clone();
            complete_check(&mut check);
            assert_eq!(check, said);
        }
    }

    #[test]
    fn g_10e_what_is_not_said_is_filled_in_and_what_is_said_stays() {
        let mut service = json!({"name": "a", "timeoutSec": 5, "backends": [
            {"group": "g"}, {"group": "h", "balancingMode": "RATE", "maxRate": 3, "capacityScaler": 0.0}
        ]});
        fill(&mut service, "backendServices");
        let filled = json!({
            "name": "a", "timeoutSec": 5, "protocol": "HTTP", "loadBalancingScheme": "EXTERNAL_MANAGED",
            "sessionAffinity": "NONE", "affinityCookieTtlSec": 0, "connectionDraining": {"drainingTimeoutSec": 0},
            "backends": [
                {"group": "g", "balancingMode": "UTILIZATION", "maxUtilization": 0.8, "capacityScaler": 1.0},
                {"group": "h", "balancingMode": "RATE", "maxRate": 3, "capacityScaler": 0.0},
            ],
        });
        assert_eq!(service, filled);
        let mut rule = json!({"name": "r", "portRange": "80"});
        fill(&mut rule, "forwardingRules");
        assert_eq!((&rule["portRange"], &rule["IPProtocol"]), (&json!("80-80"), &json!("TCP")));
        let mut check = json!({"type": "HTTP", "httpHealthCheck": {"portSpecification": "USE_SERVING_PORT"}});
        fill(&mut check, "healthChecks");
        assert_eq!(check["httpHealthCheck"]["port"], Json::Null);
        assert_eq!(
            (&check["httpHealthCheck"]["requestPath"], &check["timeoutSec"]),
            (&json!("/"), &json!(5))
        );
    }
}
