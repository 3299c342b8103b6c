//! The Compute API over sockets, where it takes an engine to answer.

use serde_json::Value;

use super::*;

const A: &str = "/compute/v1/projects/local/global";
const LB: &str = "/v1/projects/local/locations/global/serviceLbPolicies";

impl Stage {
    /// Status and JSON of an answer; what is no JSON is text.
    async fn call(&self, line: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, text) = self.send(line, "application/json", &body).await;
        let json = serde_json::from_str(&text).unwrap_or_else(|_| text.into());
        (status, json)
    }

    async fn send(&self, line: &str, kind: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
        let head = format!(
            "{line} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            self.server.address(),
            body.len()
        );
        stream.write_all((head + body).as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    async fn made(&self, line: &str, body: &Value) {
        let (status, answer) = self.call(line, body).await;
        assert_eq!(status, 200, "{line}: {answer:#}");
    }
}

fn message(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_service_lb_policy_with_fields_that_nobody_knows_is_refused() {
    let stage = Stage::new("readOnly: false").await;
    let create = format!("POST {LB}?serviceLbPolicyId=p");
    let (status, answer) = stage.call(&create, &json!({"nonsense": 1})).await;
    assert_eq!(status, 400);
    assert!(message(&answer).contains("nonsense"), "{answer}");
    stage.made(&create, &json!({"description": "d", "failoverConfig": {"failoverHealthThreshold": 7}})).await;
    for (mask, body, named) in [
        ("", json!({"nonsense": 1}), "nonsense"),
        ("?updateMask=description", json!({"description": "e", "nonsense": 1}), "nonsense"),
        ("?updateMask=nonsense", json!({"description": "e"}), "updateMask"),
        ("?updateMask=failoverConfig.nonsense", json!({}), "updateMask"),
    ] {
        let (status, answer) = stage.call(&format!("PATCH {LB}/p{mask}"), &body).await;
        assert_eq!((status, message(&answer).contains(named)), (400, true), "{mask}: {answer}");
    }
    let (_, policy) = stage.call(&format!("GET {LB}/p"), &Value::Null).await;
    assert_eq!(
        (&policy["description"], &policy["failoverConfig"]["failoverHealthThreshold"]),
        (&json!("d"), &json!(7))
    );
    stage.made(&format!("PATCH {LB}/p?updateMask=description"), &json!({})).await;
    let (_, policy) = stage.call(&format!("GET {LB}/p"), &Value::Null).await;
    assert_eq!(
        (&policy["description"], &policy["failoverConfig"]["failoverHealthThreshold"]),
        (&Value::Null, &json!(7))
    );
    stage.end().await;
}

#[tokio::test]
async fn g_7_10_what_came_of_a_test_is_told_in_the_forms_of_the_api() {
    let stage = Stage::new("readOnly: false").await;
    for name in ["web", "api"] {
        stage
            .made(
                &format!("POST {A}/backendServices"),
                &json!({"name": name, "loadBalancingScheme": "EXTERNAL_MANAGED"}),
            )
            .await;
    }
    let long = "x".repeat(200);
    let map = json!({
        "name": "m", "defaultService": "global/backendServices/web",
        "hostRules": [{"hosts": ["old.test"], "pathMatcher": "old"}],
        "pathMatchers": [{"name": "old", "defaultUrlRedirect": {
            "hostRedirect": "new.test", "redirectResponseCode": "FOUND"}}],
        "tests": [
            {"host": "a.test", "path": "/", "service": "global/backendServices/api"},
            {"host": "old.test", "path": format!("/{long}"), "expectedRedirectResponseCode": 301},
            {"host": "old.test", "path": "/", "expectedRedirectResponseCode": 302, "expectedOutputUrl": "http://other.test/"},
            {"host": "a.test", "path": "/", "expectedRedirectResponseCode": 301},
            {"host": "old.test", "path": "/", "service": "web"},
            {"host": "a.test", "path": "/", "service": "web", "expectedOutputUrl": "b.test/"},
        ],
    });
    let (status, answer) =
        stage.call(&format!("POST {A}/urlMaps/m/validate"), &json!({"resource": map})).await;
    assert_eq!(status, 200, "{answer:#}");
    let result = &answer["result"];
    assert_eq!(
        (&result["loadSucceeded"], &result["testPassed"]),
        (&json!(true), &json!(false)),
        "{answer:#}"
    );
    let link = |name: &str| format!("http://{}{A}/backendServices/{name}", stage.server.address());
    let expected = json!([
        {"host": "a.test", "path": "/", "expectedService": link("api"), "actualService": link("web")},
        {"host": "old.test", "path": format!("/{long}"), "expectedRedirectResponseCode": 301,
            "actualRedirectResponseCode": 302, "actualOutputUrl": format!("http://new.test/{long}")},
        {"host": "old.test", "path": "/", "expectedRedirectResponseCode": 302, "actualRedirectResponseCode": 302,
            "expectedOutputUrl": "http://other.test/", "actualOutputUrl": "http://new.test/"},
        {"host": "a.test", "path": "/", "expectedRedirectResponseCode": 301, "actualService": link("web")},
        {"host": "old.test", "path": "/", "expectedService": link("web"), "actualRedirectResponseCode": 302,
            "actualOutputUrl": "http://new.test/"},
        {"host": "a.test", "path": "/", "expectedService": link("web"), "actualService": link("web"),
            "expectedOutputUrl": "b.test/", "actualOutputUrl": "http://a.test/"},
    ]);
    assert_eq!(result["testFailures"], expected, "{:#}", result["testFailures"]);
    stage.end().await;
}

#[tokio::test]
async fn the_features_that_custom_takes_are_listed() {
    let stage = Stage::new("readOnly: false").await;
    let (_, answer) = stage.call(&format!("GET {A}/sslPolicies/listAvailableFeatures"), &Value::Null).await;
    let features = answer["features"].as_array().unwrap();
    assert!(features.contains(&json!("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")), "{answer}");
    let custom =
        json!({"name": "all", "profile": "CUSTOM", "minTlsVersion": "TLS_1_2", "customFeatures": features});
    stage.made(&format!("POST {A}/sslPolicies"), &custom).await;
    stage.end().await;
}

#[tokio::test]
async fn g_10_6_a_change_of_mode_takes_along_what_gcloud_leaves() {
    let stage = Stage::new("readOnly: false").await;
    let zone = "/compute/v1/projects/local/zones/us-central1-a";
    stage.made(&format!("POST {zone}/instanceGroups"), &json!({"name": "ig"})).await;
    let check = json!({"name": "hc", "type": "HTTP", "httpHealthCheck": {"port": 80}});
    stage.made(&format!("POST {A}/healthChecks"), &check).await;
    let group = "zones/us-central1-a/instanceGroups/ig";
    let service = json!({"name": "web", "loadBalancingScheme": "EXTERNAL_MANAGED", "healthChecks": ["global/healthChecks/hc"], "backends": [
        {"group": group, "balancingMode": "UTILIZATION", "maxUtilization": 0.5, "maxRatePerInstance": 10}]});
    stage.made(&format!("POST {A}/backendServices"), &service).await;
    // As gcloud's PUT goes: the whole, with the rates of the old mode taken away, and maxUtilization left.
    let web = format!("{A}/backendServices/web");
    let put = async |change: fn(&mut Value)| {
        let (_, mut whole) = stage.call(&format!("GET {web}"), &Value::Null).await;
        change(&mut whole["backends"][0]);
        stage.made(&format!("PUT {web}"), &whole).await;
        let (_, mut whole) = stage.call(&format!("GET {web}"), &Value::Null).await;
        whole["backends"][0].take()
    };
    let in_flight = put(|backend| {
        backend.as_object_mut().unwrap().remove("maxRatePerInstance");
        backend["balancingMode"] = json!("IN_FLIGHT");
        backend["maxInFlightRequestsPerInstance"] = json!(20);
        backend["trafficDuration"] = json!("LONG");
    })
    .await;
    assert_eq!(
        (&in_flight["maxUtilization"], &in_flight["maxInFlightRequestsPerInstance"]),
        (&Value::Null, &json!(20))
    );
    let custom = put(|backend| {
        backend["balancingMode"] = json!("CUSTOM_METRICS");
        backend["trafficDuration"] = json!("SHORT");
        backend["customMetrics"] = json!([{"name": "orca.cpu_utilization", "maxUtilization": 0.8}]);
    })
    .await;
    assert_eq!(
        (&custom["balancingMode"], &custom["maxInFlightRequestsPerInstance"]),
        (&json!("CUSTOM_METRICS"), &Value::Null)
    );
    // What is told anew does not go: it is refused.
    let (_, mut whole) = stage.call(&format!("GET {web}"), &Value::Null).await;
    whole["backends"][0]["maxUtilization"] = json!(0.7);
    assert_eq!(stage.call(&format!("PUT {web}"), &whole).await.0, 400);
    stage.end().await;
}

#[tokio::test]
async fn a_certificate_tells_when_it_ends_and_a_broken_key_is_told_at_the_key() {
    let stage = Stage::new("readOnly: false").await;
    let chain = include_str!("../../../../config/tls/localhost.pem");
    let key = include_str!("../../../../config/tls/localhost.key");
    let other = include_str!("../../../../config/tls/client.key");
    let post = format!("POST {A}/sslCertificates");
    stage.made(&post, &json!({"name": "c", "certificate": chain, "privateKey": key})).await;
    stage.made(&post, &json!({"name": "d", "selfManaged": {"certificate": chain, "privateKey": key}})).await;
    for name in ["c", "d"] {
        let (_, certificate) = stage.call(&format!("GET {A}/sslCertificates/{name}"), &Value::Null).await;
        let end = certificate["expireTime"].as_str().unwrap();
        assert!(end.len() >= 20 && end.contains('T') && end.ends_with('Z'), "{certificate}");
        assert!(certificate["subjectAlternativeNames"].as_array().unwrap().contains(&json!("localhost")));
    }
    let (_, list) = stage.call(&format!("GET {A}/sslCertificates"), &Value::Null).await;
    assert!(list["items"][0]["expireTime"].is_string(), "{list}");
    for (body, at) in [
        (json!({"name": "e", "certificate": chain, "privateKey": "none"}), "resource.privateKey"),
        (json!({"name": "e", "certificate": chain, "privateKey": other}), "resource.privateKey"),
        (
            json!({"name": "e", "selfManaged": {"certificate": chain, "privateKey": other}}),
            "resource.selfManaged.privateKey",
        ),
    ] {
        let (status, answer) = stage.call(&post, &body).await;
        assert_eq!((status, &answer["error"]["errors"][0]["location"]), (400, &json!(at)), "{answer}");
    }
    stage.end().await;
}

#[tokio::test]
async fn g_10_13_a_url_in_a_batch_is_refused_by_itself() {
    let stage = Stage::new("readOnly: false").await;
    let part = |target: &str| {
        format!("--b\r\nContent-Type: application/http\r\n\r\nGET {target} HTTP/1.1\r\n\r\n\r\n")
    };
    let path = format!("{A}/backendServices");
    let batch = part(&path) + &part(&format!("http://host{path}")) + &part(&path) + "--b--\r\n";
    let (status, answer) = stage.send("POST /batch/compute/v1", "multipart/mixed; boundary=b", &batch).await;
    let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
    assert_eq!(
        (status, lines),
        (200, vec!["HTTP/1.1 200 OK", "HTTP/1.1 400 Bad Request", "HTTP/1.1 200 OK"]),
        "{answer}"
    );
    stage.end().await;
}
