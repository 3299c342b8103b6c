//! Health checks [G 4a, 4b].

use super::*;
use crate::model::probe::HealthCheck;

const CHECK: &str = "type: HTTP, httpHealthCheck: {portSpecification: USE_SERVING_PORT}";

/// The check of `MINIMAL` with this type and body; its problems are the caller's.
fn text(check: &str) -> String {
    with(CHECK, check)
}

fn check(text: &str) -> Arc<HealthCheck> {
    let Resolved { config, problems } = document(text);
    assert!(problems.iter().all(|problem| problem.severity == Severity::Warning), "{problems:?}");
    config.unwrap().services[0].health_check.clone().unwrap()
}

/// [G 4b]
#[test]
fn each_type_has_its_port_and_its_probe() {
    let http = |spoken| Probe::Http { spoken, host: None, path: "/".into(), response: None };
    let tcp = |over_tls| Probe::Tcp { over_tls, request: None, response: None };
    for (said, port, probe) in [
        ("type: HTTP, httpHealthCheck: {}", 80, http(Spoken::Http)),
        ("type: HTTPS, httpsHealthCheck: {}", 443, http(Spoken::Https)),
        ("type: HTTP2, http2HealthCheck: {}", 443, http(Spoken::Http2)),
        ("type: TCP, tcpHealthCheck: {}", 80, tcp(false)),
        ("type: SSL, sslHealthCheck: {}", 443, tcp(true)),
    ] {
        let text = text(said);
        assert_eq!(codes(&text), ["probed-port"], "{said}");
        let check = check(&text);
        assert_eq!((check.port, &check.probe), (ProbePort::Fixed(port), &probe), "{said}");
        assert!(!check.sends_proxy_header);
    }
}

#[test]
fn what_is_said_is_taken_over() {
    let said = "type: HTTP2, http2HealthCheck: {port: 8443, host: a.example, requestPath: /up, response: ok, proxyHeader: PROXY_V1}";
    let http = check(&text(said));
    let (host, response) = (Some("a.example".into()), Some("ok".into()));
    let probe = Probe::Http { spoken: Spoken::Http2, host, path: "/up".into(), response };
    assert_eq!((http.port, &http.probe, http.sends_proxy_header), (ProbePort::Fixed(8443), &probe, true));
    let said = "type: SSL, sslHealthCheck: {portSpecification: USE_SERVING_PORT, request: ping, response: pong, proxyHeader: PROXY_V1}";
    let ssl = check(&text(said));
    let probe = Probe::Tcp { over_tls: true, request: Some("ping".into()), response: Some("pong".into()) };
    assert_eq!((ssl.port, &ssl.probe, ssl.sends_proxy_header), (ProbePort::Serving, &probe, true));
}

/// [G 4b]
#[test]
fn grpc_needs_a_port_and_may_name_a_service() {
    for (over_tls, word, body) in
        [(false, "GRPC", "grpcHealthCheck"), (true, "GRPC_WITH_TLS", "grpcTlsHealthCheck")]
    {
        let with_body = |fields: &str| text(&format!("type: {word}, {body}: {{{fields}}}"));
        let named = check(&with_body("port: 50051, grpcServiceName: shop.Orders"));
        let probe = Probe::Grpc { over_tls, service: "shop.Orders".into() };
        assert_eq!((named.port, &named.probe), (ProbePort::Fixed(50051), &probe));
        let whole = check(&with_body("portSpecification: USE_SERVING_PORT"));
        let probe = Probe::Grpc { over_tls, service: "".into() };
        assert_eq!((whole.port, &whole.probe), (ProbePort::Serving, &probe));
        for (fields, code) in [
            ("", "missing-field"),
            ("grpcServiceName: shop.Orders", "missing-field"),
            ("portSpecification: USE_FIXED_PORT", "missing-field"),
            ("port: 0", "out-of-range"),
            ("port: 50051, portSpecification: USE_SERVING_PORT", "forbidden-field"),
            ("port: 50051, grpcServiceName: ärger", "not-ascii"),
        ] {
            assert_eq!(codes(&with_body(fields)), [code], "{word}: {fields}");
        }
        assert_eq!(codes(&with_body("port: 50051, proxyHeader: PROXY_V1")).len(), 1);
        let long = format!("port: 50051, grpcServiceName: {}", "x".repeat(1025));
        assert_eq!(codes(&with_body(&long)).len(), 1);
    }
}

/// [G 4a]
#[test]
fn a_body_of_another_type_is_refused_and_the_own_one_must_stand() {
    for said in [
        "type: GRPC, grpcHealthCheck: {port: 1}, grpcTlsHealthCheck: {port: 1}",
        "type: HTTP2, http2HealthCheck: {port: 8081}, httpsHealthCheck: {}",
        "type: SSL, sslHealthCheck: {port: 8081}, tcpHealthCheck: {}",
    ] {
        assert_eq!(codes(&text(said)), ["forbidden-field"], "{said}");
    }
    for said in ["type: GRPC", "type: GRPC_WITH_TLS", "type: HTTP2", "type: SSL"] {
        assert_eq!(codes(&text(said)), ["missing-field"], "{said}");
    }
    let both = "type: GRPC, grpcTlsHealthCheck: {port: 1}";
    assert_eq!(codes(&text(both)), ["missing-field", "forbidden-field"]);
}
