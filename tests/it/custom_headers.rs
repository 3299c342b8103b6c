//! Headers with variables, of services and URL maps, over sockets [G 6.7–6.10, 7c].

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::backend::{Scripted, toy};
use crate::support::h2::{ask, connect, get, run};
use crate::support::lb::Lb;
use crate::support::setup::{Setup, scripted};
use crate::support::tls::{Authority, Tls, block, der, https};

/// With all variables that say something, each behind its name, in both directions.
const ALL: &str = "ip={client_ip_address} port={client_port} to={server_ip_address}:{server_port} \
    by={client_protocol} encrypted={client_encrypted} tls={tls_version}/{tls_cipher_suite}/{tls_sni_hostname} \
    cert={client_cert_present} origin={origin_request_header} region={client_region} city={client_city}";

fn with_all(backend: &Scripted, health: &overspill::cli::toy::ToyBackend) -> Setup {
    let setup = scripted(backend, health).service(&format!("customRequestHeaders: [\"X-All:{ALL}\"]"));
    setup.service(&format!("customResponseHeaders: [\"X-All:{ALL}\"]"))
}

/// Answers with headers that can be taken or overwritten.
fn talkative() -> Scripted {
    Scripted::start(|conn| {
        let answer =
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: member\r\nx-b: member\r\nx-c: member\r\n\r\nok";
        while conn.request().is_some() && conn.write(answer) {}
    })
}

#[test]
fn g_6_10_variables_say_what_is_known_in_clear() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let locations = "clientLocations: [{cidr: 127.0.0.0/8, region: europe-west1}]";
    let setup = with_all(&backend, &health).proxy(&format!("accessLog: {{path: none}}\n  {locations}"));
    let lb = Lb::start(&setup.text());
    let mut client = lb.client();
    let answer = client.request("GET", "/", "origin: https://a.test\r\nx-all: forged\r\n", b"");
    let first = backend.seen().remove(0);
    let port = first.header("x-all").unwrap().split("port=").nth(1).unwrap();
    let port: u16 = port.split(' ').next().unwrap().parse().unwrap();
    let want = format!(
        "ip=127.0.0.1 port={port} to=127.0.0.1:{} by=HTTP/1.1 encrypted=false tls=// cert=false \
         origin=https://a.test region=europe-west1 city=",
        lb.address().port()
    );
    assert_eq!(backend.seen()[0].all("x-all"), [&*want], "one of our own, and none of the client's");
    assert_eq!(answer.header("x-all"), Some(&*want));
}

#[test]
fn g_6_10_variables_say_what_is_known_of_tls() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let lb = Lb::start(&https(&with_all(&backend, &health), &[("web", &pair)], "", ""));
    let mut tls = Tls::connect(lb.address(), &Arc::new(authority.trusting(None)), "WEB.example").unwrap();
    let answer = tls.get("/").unwrap();
    let suite = tls.stream.conn.negotiated_cipher_suite().unwrap().suite();
    let tail = format!(
        "by=HTTP/1.1 encrypted=true tls=TLSv1.3/{:04X}/web.example cert=false origin= region= city=",
        u16::from(suite)
    );
    let seen = backend.seen()[0].header("x-all").unwrap().to_owned();
    assert!(seen.ends_with(&tail), "{seen}");
    assert_eq!(answer.header("x-all"), Some(&*seen));
}

#[test]
fn g_6_1_behind_a_trusted_proxy_the_client_is_the_one_it_names() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let setup = scripted(&backend, &health)
        .proxy("accessLog: {path: none}\n  trustedProxies: [127.0.0.0/8]")
        .service("customRequestHeaders: [\"X-Client:{client_ip_address}|{client_port}\"]");
    let lb = Lb::start(&setup.text());
    lb.client().request("GET", "/", "x-forwarded-for: 192.0.2.7\r\n", b"");
    assert_eq!(backend.seen()[0].all("x-client"), ["192.0.2.7|"], "its port is not known");
}

#[test]
fn g_6_9_a_header_is_overwritten_and_sent_without_a_value_too() {
    let (backend, health) = (talkative(), toy("health"));
    let setup = scripted(&backend, &health)
        .service("customRequestHeaders: [\"X-Empty:\", \"X-Braces: {{a}} \", \"Host:web.internal:81\"]")
        .service("customResponseHeaders: [\"x-a:ours\", \"X-New:{tls_version}\"]");
    let lb = Lb::start(&setup.text());
    let answer = lb.client().request("GET", "/", "x-empty: of the client\r\n", b"");
    let seen = &backend.seen()[0];
    assert_eq!(
        [seen.all("x-empty"), seen.all("x-braces"), seen.all("host")],
        [[""], ["{a}"], ["web.internal:81"]]
    );
    let all = |name: &str| {
        let lines = answer.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    assert_eq!([all("x-a"), all("x-b"), all("x-new")], [["ours"], ["member"], [""]]);
}

#[test]
fn where_url_map_and_service_set_a_header_the_url_map_s_is_taken() {
    let (backend, health) = (talkative(), toy("health"));
    let setup = scripted(&backend, &health)
        .service("customRequestHeaders: [\"X-Both:service\", \"X-Added:service\", \"X-Own:service\"]")
        .service(
            "customResponseHeaders: [\"X-A:service {client_protocol}\", \"X-B:service {client_protocol}\"]",
        );
    let action = "{name: web-map, defaultService: web, headerAction: {
      requestHeadersToRemove: [x-gone],
      requestHeadersToAdd: [{headerName: x-both, headerValue: map}, {headerName: x-added, headerValue: 'map {client_encrypted}'}],
      responseHeadersToRemove: [x-c],
      responseHeadersToAdd: [{headerName: x-a, headerValue: '{client_protocol}', replace: true}]}}";
    let text = setup.text().replace("{name: web-map, defaultService: web}", action);
    let lb = Lb::start(&text);
    let headers = "x-both: client\r\nx-added: client\r\nx-gone: 1\r\n";
    let answer = lb.client().request("GET", "/", headers, b"");
    let seen = &backend.seen()[0];
    assert_eq!(seen.all("x-both"), ["map"]);
    assert_eq!(seen.all("x-added"), ["client", "map false"], "with a variable, replace is false [G 7c]");
    assert_eq!((seen.all("x-own"), seen.header("x-gone")), (vec!["service"], None));
    let answered = ["x-a", "x-b", "x-c"].map(|name| answer.header(name));
    assert_eq!(answered, [Some("HTTP/1.1"), Some("service HTTP/1.1"), None]);
}

#[test]
fn what_a_client_sends_cannot_end_a_header() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let setup =
        scripted(&backend, &health).service("customRequestHeaders: [\"X-Origin:<{origin_request_header}>\"]");
    let lb = Lb::start(&setup.text());
    let mut client = lb.client();
    for (sent, want) in [("a\tb", "<a\tb>"), ("\u{e4}", "<>"), ("", "<>")] {
        let answer = client.request("GET", "/", &format!("origin: {sent}\r\n"), b"");
        assert_eq!(answer.status, 200);
        assert_eq!(backend.seen().last().unwrap().all("x-origin"), [want]);
    }
}

#[test]
fn a_reload_brings_and_takes_headers() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let setup = scripted(&backend, &health);
    let lb = Lb::start(&setup.text());
    let mut client = lb.client();
    client.get("/");
    lb.reload(&setup.clone().service("customRequestHeaders: [\"X-Version:2\"]").text());
    client.get("/");
    lb.reload(&setup.text());
    client.get("/");
    let versions: Vec<_> =
        backend.seen().iter().map(|seen| seen.header("x-version").map(str::to_owned)).collect();
    assert_eq!(versions, [None, Some("2".to_owned()), None]);
}

#[test]
fn g_6_10_a_client_of_http_2_is_one_for_members_of_http_1_too() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let setup = scripted(&backend, &health)
        .service("customRequestHeaders: [\"X-By:{client_protocol}\", \"Host:web.internal\"]")
        .service("customResponseHeaders: [\"X-By: {tls_version} {client_protocol} {tls_version} \"]");
    let lb = Lb::start(&setup.text());
    run(async {
        let answer = ask(&mut connect(lb.address()).await, get("/")).await.unwrap();
        // A value with space at an end would be a fault of the protocol [RFC 9113 8.2.1].
        assert_eq!((answer.status, answer.header("x-by")), (200, Some("HTTP/2")));
    });
    let seen = &backend.seen()[0];
    assert_eq!([seen.all("x-by"), seen.all("host")], [["HTTP/2"], ["web.internal"]]);
}

#[test]
fn g_6_10_a_certificate_of_the_client_s_is_told() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let authority = Authority::new("ca");
    let pair = authority.server(&["web.example"]);
    let more = format!(
        "serverTlsPolicies:\n  - {{name: mutual, mtlsPolicy: {{clientValidationMode: REJECT_INVALID, clientValidationTrustConfig: trust}}}}\n\
         trustConfigs:\n  - name: trust\n    trustStores:\n      - trustAnchors:\n          - pemCertificate: {}",
        block(&authority.pem, 14)
    );
    let text = https(&with_all(&backend, &health), &[("web", &pair)], ", serverTlsPolicy: mutual", &more);
    let lb = Lb::start(&text);
    let client = Arc::new(authority.trusting(Some(&authority.client("partner"))));
    // The second time by the ticket of the first.
    for _ in 0..2 {
        let mut tls = Tls::connect(lb.address(), &client, "web.example").unwrap();
        assert_eq!(tls.get("/").unwrap().status, 200);
    }
    for seen in backend.seen() {
        assert!(seen.header("x-all").unwrap().contains(" cert=true "), "{seen:?}");
    }
}

#[test]
fn g_6_10_what_a_certificate_says_is_told_and_whether_it_is_to_be_believed() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let (authority, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let pair = authority.server(&["web.example"]);
    let setup = scripted(&backend, &health).service(
        "customRequestHeaders: [\"X-Cert:{client_cert_present} {client_cert_chain_verified} {client_cert_error}|{client_cert_dnsname_sans}|{client_cert_sha256_fingerprint}\", \"Client-Cert:{client_cert_leaf}\"]",
    );
    let more = crate::tls_front::partners("ALLOW_INVALID_OR_MISSING_CLIENT_CERT", &authority);
    let lb = Lb::start(&https(&setup, &[("web", &pair)], crate::tls_front::ASKED, &more));
    let (good, bad) = (authority.client("partner"), stranger.client("partner"));
    // The good one twice, the second time by the ticket of the first.
    for shown in [Some(&good), Some(&good), Some(&bad), None] {
        let client = Arc::new(authority.trusting(shown));
        let mut tls = Tls::connect(lb.address(), &client, "web.example").unwrap();
        tls.send("GET / HTTP/1.1\r\nhost: a\r\nclient-cert: forged\r\nx-cert: true true\r\n\r\n").unwrap();
        assert_eq!(tls.answer().unwrap().status, 200);
    }
    let leaf = STANDARD.encode(der(&good.chain));
    let seen = backend.seen();
    for one in &seen[..2] {
        let said = one.header("x-cert").unwrap();
        assert!(said.starts_with(&format!("true true |{}|", STANDARD.encode("partner"))), "{said}");
        assert_eq!(one.all("client-cert"), [format!(":{leaf}:")]);
    }
    let said = seen[2].header("x-cert").unwrap();
    assert!(said.starts_with("true false client_cert_validation_failed|"), "{said}");
    assert_eq!((seen[2].all("client-cert"), seen[3].all("client-cert")), (vec![""], vec![""]));
    assert_eq!(seen[3].all("x-cert"), ["false false client_cert_not_provided||"]);
}
