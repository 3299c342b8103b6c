//! URL maps over sockets: route rules, weights, redirects, rewrites, headers, faults [G 7].

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use overspill::model::detail::StatusDetail;

use crate::support::backend::{Scripted, toy};
use crate::support::client::Client;
use crate::support::lb::Lb;
use crate::support::wait_until;

/// Services with one member each behind a map; all are as healthy as a toy elsewhere.
pub(crate) fn text(
    map: &str,
    services: &[(&str, SocketAddr, &str)],
    scheme: &str,
    health: SocketAddr,
) -> String {
    let mut out = format!(
        "proxy: {{zone: us-central1-a, accessLog: {{path: none}}}}\n\
         forwardingRules: [{{name: web, IPAddress: 127.0.0.1, portRange: \"0\", target: p{scheme}}}]\n\
         targetHttpProxies: [{{name: p, urlMap: map}}]\nurlMaps:\n  - name: map\n{map}backendServices:\n"
    );
    for (name, _, more) in services {
        let _ = writeln!(
            out,
            "  - {{name: {name}, healthChecks: [basic]{scheme}{more}, backends: [{{group: {name}, balancingMode: RATE, maxRate: 1000000}}]}}"
        );
    }
    out += "instanceGroups:\n";
    for (name, address, _) in services {
        let _ = writeln!(
            out,
            "  - {{name: {name}, zone: us-central1-a, namedPorts: [{{name: http, port: {}}}], instances: [{{name: {name}-1, ipAddress: {}}}]}}",
            address.port(),
            address.ip()
        );
    }
    let port = health.port();
    out + &format!(
        "healthChecks: [{{name: basic, type: HTTP, healthyThreshold: 1, httpHealthCheck: {{requestPath: /healthz, port: {port}}}}}]\n"
    )
}

/// A backend that answers with its own name, and with a header to be edited.
pub(crate) fn named(name: &'static str) -> Scripted {
    Scripted::start(move |conn| {
        while conn.request().is_some() {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nserver: mine\r\nx-kind: a\r\n\r\n{name}",
                name.len()
            );
            if !conn.write(answer) {
                return;
            }
        }
    })
}

const TWO: &str = "    defaultRouteAction:\n      weightedBackendServices: [{backendService: web, weight: 95}, {backendService: canary, weight: 5}]\n";

fn count(client: &mut Client, requests: usize, headers: &str) -> usize {
    let answers = (0..requests).map(|_| client.request("GET", "/", headers, b""));
    answers.filter(|answer| answer.text() == "canary").count()
}

#[test]
fn w18_weights_95_and_5_give_95_and_5_percent() {
    let (web, canary, health) = (named("web"), named("canary"), toy("health"));
    let services = [("web", web.address(), ""), ("canary", canary.address(), "")];
    let lb = Lb::start(&text(TWO, &services, "", health.address()));
    // 2,000 throws: 100 with a standard deviation of 10, and the seed is always the same.
    let found = count(&mut lb.client(), 2000, "");
    assert!((50..=150).contains(&found), "{found}");
    assert_eq!((web.requests(), canary.requests()), (2000 - found, found));
}

#[test]
fn g_3_9_a_session_by_cookie_stays_with_its_service() {
    let (web, canary, health) = (named("web"), named("canary"), toy("health"));
    let cookie = ", sessionAffinity: GENERATED_COOKIE";
    let services = [("web", web.address(), cookie), ("canary", canary.address(), cookie)];
    let map = TWO.replace("weight: 95", "weight: 1").replace("weight: 5", "weight: 1");
    let lb = Lb::start(&text(&map, &services, "", health.address()));
    let mut client = lb.client();
    let mut seen = [0, 0];
    for _ in 0..40 {
        let first = client.get("/");
        let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        seen[usize::from(first.text() == "canary")] += 1;
        for _ in 0..5 {
            let again = client.request("GET", "/", &format!("cookie: {cookie}\r\n"), b"");
            assert_eq!((again.text(), again.header("set-cookie")), (first.text(), None));
        }
    }
    assert!(seen.iter().all(|sessions| *sessions > 0), "both get sessions: {seen:?}");
}

#[test]
fn a_strong_cookie_leads_to_the_service_that_made_it() {
    let (web, canary, health) = (named("web"), named("canary"), toy("health"));
    let cookie = ", sessionAffinity: STRONG_COOKIE_AFFINITY, strongSessionAffinityCookie: {name: s, ttl: {seconds: 0}}";
    let services = [("web", web.address(), cookie), ("canary", canary.address(), cookie)];
    let map = TWO.replace("weight: 95", "weight: 1").replace("weight: 5", "weight: 1");
    let text = text(&map, &services, "", health.address())
        .replace("accessLog", &format!("sessionKey: \"{}\", accessLog", "5a".repeat(32)));
    let lb = Lb::start(&text);
    let mut client = lb.client();
    for _ in 0..20 {
        let first = client.get("/");
        let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        for _ in 0..5 {
            let again = client.request("GET", "/", &format!("cookie: {cookie}\r\n"), b"");
            assert_eq!(again.text(), first.text());
        }
    }
}

#[test]
fn a_session_by_address_or_header_stays_with_its_service() {
    let (web, canary, health) = (named("web"), named("canary"), toy("health"));
    for affinity in [
        ", sessionAffinity: CLIENT_IP",
        ", sessionAffinity: HEADER_FIELD, consistentHash: {httpHeaderName: x-user}",
    ] {
        let services = [("web", web.address(), affinity), ("canary", canary.address(), affinity)];
        let map = TWO.replace("weight: 95", "weight: 1").replace("weight: 5", "weight: 1");
        let lb = Lb::start(&text(&map, &services, "", health.address()));
        let found = count(&mut lb.client(), 50, "x-user: someone\r\n");
        assert!(found == 0 || found == 50, "{found}");
    }
}

const RULES: &str = "    defaultService: web
    hostRules: [{hosts: [\"*\"], pathMatcher: m}]
    headerAction: {requestHeadersToAdd: [{headerName: x-way, headerValue: map, replace: false}], responseHeadersToRemove: [server]}
    pathMatchers:
      - name: m
        defaultService: web
        headerAction: {requestHeadersToAdd: [{headerName: x-way, headerValue: matcher, replace: false}]}
        routeRules:
          - priority: 1
            matchRules:
              - {prefixMatch: /, headerMatches: [{headerName: x-canary, exactMatch: \"yes\"}]}
              - {prefixMatch: /, queryParameterMatches: [{name: canary, presentMatch: true}]}
            routeAction:
              weightedBackendServices:
                - backendService: canary
                  weight: 1
                  headerAction:
                    requestHeadersToRemove: [x-secret]
                    requestHeadersToAdd: [{headerName: x-way, headerValue: weight, replace: true}]
                    responseHeadersToAdd: [{headerName: x-kind, headerValue: b, replace: false}]
            headerAction: {requestHeadersToAdd: [{headerName: x-way, headerValue: rule, replace: false}]}
          - priority: 2
            matchRules: [{prefixMatch: /api/}]
            service: canary
            routeAction: {urlRewrite: {pathPrefixRewrite: /, hostRewrite: api.internal}}
          - priority: 3
            matchRules: [{pathTemplateMatch: \"/{country}/videos/{name=**}\"}]
            service: canary
            routeAction: {urlRewrite: {pathTemplateRewrite: \"/v/{country}/{name}\"}}
          - {priority: 4, matchRules: [{fullPathMatch: /old}], urlRedirect: {hostRedirect: new.test, pathRedirect: /new, redirectResponseCode: PERMANENT_REDIRECT}}
          - {priority: 5, matchRules: [{prefixMatch: /move/}], urlRedirect: {prefixRedirect: /moved/, stripQuery: true, httpsRedirect: true}}
          - {priority: 6, matchRules: [{fullPathMatch: /broken}], service: web, routeAction: {faultInjectionPolicy: {abort: {httpStatus: 418, percentage: 100}}}}
          - {priority: 7, matchRules: [{fullPathMatch: /slow}], service: web, routeAction: {faultInjectionPolicy: {delay: {fixedDelay: {nanos: 200000000}, percentage: 100}}}}
          - {priority: 8, matchRules: [{prefixMatch: /hurry}], service: stuck, routeAction: {timeout: {seconds: 2}}}
          - {priority: 9, matchRules: [{prefixMatch: /again}], service: odd, routeAction: {retryPolicy: {numRetries: 5, retryConditions: [gateway-error]}}}
          - {priority: 10, matchRules: [{prefixMatch: /patience}], service: stuck, routeAction: {retryPolicy: {perTryTimeout: {seconds: 2}, retryConditions: [5xx]}}}
";

struct Site {
    lb: Lb,
    web: Scripted,
    canary: Scripted,
    stuck: Scripted,
    odd: Scripted,
    _health: overspill::cli::toy::ToyBackend,
}

fn site(scheme: &str) -> Site {
    let (web, canary, health) = (named("web"), named("canary"), toy("health"));
    let stuck = Scripted::start(|conn| while conn.request().is_some() {});
    let odd = every_third();
    let services = [
        ("web", web.address(), ""),
        ("canary", canary.address(), ""),
        ("stuck", stuck.address(), ""),
        ("odd", odd.address(), ""),
    ];
    let lb = Lb::start(&text(RULES, &services, scheme, health.address()));
    Site { lb, web, canary, stuck, odd, _health: health }
}

#[test]
fn g_7_5_route_rules_go_by_header_and_query() {
    let site = site("");
    let mut client = site.lb.client();
    assert_eq!(client.get("/").text(), "web");
    assert_eq!(client.request("GET", "/", "x-canary: yes\r\n", b"").text(), "canary");
    assert_eq!(client.request("GET", "/", "x-canary: no\r\n", b"").text(), "web");
    assert_eq!(client.get("/?a=b&canary").text(), "canary");
}

#[test]
fn g_7c_headers_are_edited_from_the_inside_out() {
    let site = site("");
    let mut client = site.lb.client();
    let answer = client.request("GET", "/", "x-canary: yes\r\nx-secret: 1\r\nx-way: client\r\n", b"");
    let seen = &site.canary.seen()[0];
    assert_eq!(seen.all("x-way"), ["weight", "rule", "matcher", "map"]);
    assert_eq!(seen.header("x-secret"), None);
    let kinds = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-kind"));
    assert_eq!(kinds.map(|(_, value)| &**value).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(answer.header("server"), None);
    // Elsewhere, only what concerns it.
    let answer = client.get("/plain");
    assert_eq!(site.web.seen()[0].all("x-way"), ["matcher", "map"]);
    assert_eq!((answer.header("x-kind"), answer.header("server")), (Some("a"), None));
}

#[test]
fn g_7_7_a_rewritten_request_brings_the_url_that_was_asked_for() {
    let site = site("");
    let mut client = site.lb.client();
    client.get("/api/users?id=1");
    client.get("/de/videos/a/b");
    let seen = site.canary.seen();
    assert_eq!((seen[0].line(), seen[0].all("host")), ("GET /users?id=1 HTTP/1.1", vec!["api.internal"]));
    assert_eq!(seen[0].all("x-client-request-url"), ["http://test/api/users?id=1"]);
    assert_eq!((seen[1].line(), seen[1].all("host")), ("GET /v/de/a/b HTTP/1.1", vec!["test"]));
    assert_eq!(seen[1].all("x-client-request-url"), ["http://test/de/videos/a/b"]);
}

#[test]
fn g_7_7_on_products_made_of_envoy_it_is_the_original_path() {
    let site = site(", loadBalancingScheme: INTERNAL_MANAGED");
    site.lb.get("/api/users?id=1");
    let seen = &site.canary.seen()[0];
    assert_eq!(seen.all("x-envoy-original-path"), ["/api/users?id=1"]);
    assert_eq!(seen.header("x-client-request-url"), None);
}

#[test]
fn g_7c_redirects_are_answered_by_us() {
    let site = site("");
    let mut client = site.lb.client();
    let answer = client.get("/old?a=b");
    assert_eq!((answer.status, answer.header("location")), (308, Some("http://new.test/new?a=b")));
    let answer = client.request("POST", "/move/x?a=b", "", b"body");
    assert_eq!((answer.status, answer.header("location")), (301, Some("https://test/moved/x")));
    // A body that comes when the answer is out already ends its connection.
    assert_eq!((site.lb.get("/").text(), site.web.requests()), ("web".to_owned(), 1));
}

#[test]
fn g_7_8_redirects_are_not_logged_and_aborts_are() {
    let (web, canary, health) = (named("web"), named("canary"), toy("health"));
    let log = tempfile::NamedTempFile::new().unwrap();
    let at = |name| (name, canary.address(), "");
    let services = [("web", web.address(), ""), at("canary"), at("stuck"), at("odd")];
    let text = text(RULES, &services, "", health.address())
        .replace("path: none", &format!("path: {}", log.path().display()));
    let lb = Lb::start(&text);
    let mut client = lb.client();
    assert_eq!([client.get("/old").status, client.get("/broken").status], [308, 418]);
    client.get("/api/users");
    let lines = || std::fs::read_to_string(log.path()).unwrap();
    wait_until("all is written", || lines().lines().count() >= 2);
    lb.stop();
    let lines = lines();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.contains("\"fault_filter_abort\""), "{lines}");
    assert!(lines.contains("http://test/api/users"), "as the client asked: {lines}");
}

#[test]
fn g_7c_an_abort_answers_in_the_place_of_the_service() {
    let site = site("");
    let answer = site.lb.get("/broken");
    assert_eq!(answer.status, 418);
    assert!(answer.text().contains(StatusDetail::FaultFilterAbort.as_str()), "{}", answer.text());
    assert_eq!(site.web.requests(), 0);
}

#[test]
fn g_7c_a_delay_comes_before_the_service() {
    let site = site("");
    let before = std::time::Instant::now();
    assert_eq!(site.lb.get("/slow").text(), "web");
    assert!(before.elapsed() >= std::time::Duration::from_millis(200));
}

#[test]
fn g_5_2_the_timeout_of_a_route_is_for_all_attempts() {
    let site = site("");
    // The service's own is 30 s, longer than the client of this test waits.
    let answer = site.lb.get("/hurry");
    assert!(answer.status == 503 && answer.text().contains("backend_timeout"), "{answer:?}");
    assert!(site.stuck.requests() <= 1, "no time is left for a second attempt");
}

/// Two 503 and a 200, in turn.
fn every_third() -> Scripted {
    let turn = AtomicUsize::new(0);
    Scripted::start(move |conn| {
        while conn.request().is_some() {
            if turn.fetch_add(1, SeqCst) % 3 == 2 {
                conn.ok("third");
            } else {
                conn.write("HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy");
            }
        }
    })
}

#[test]
fn g_5_a_retry_policy_throws_bad_answers_away() {
    let site = site("");
    let mut client = site.lb.client();
    for _ in 0..3 {
        assert_eq!(client.get("/again").text(), "third");
    }
    assert_eq!(site.odd.requests(), 9, "a lone member is asked as often as the policy says");
    // What may not be sent twice gets the answer that there is.
    let answer = client.request("POST", "/again", "", b"body");
    assert_eq!((answer.status, answer.text(), site.odd.requests()), (503, "busy".to_owned(), 10));
}

#[test]
fn g_5_each_attempt_has_its_own_time() {
    let site = site("");
    // The service's own is 30 s for each attempt, longer than the client of this test waits.
    let answer = site.lb.get("/patience");
    assert!(answer.status == 503 && answer.text().contains("backend_timeout"), "{answer:?}");
    assert!(site.stuck.requests() <= 2, "one retry");
}

#[test]
fn a_map_of_redirects_alone_needs_no_service() {
    for scheme in ["", ", loadBalancingScheme: EXTERNAL"] {
        let map = "    defaultUrlRedirect: {httpsRedirect: true}\n";
        let (web, health) = (named("web"), toy("health"));
        let text = text(map, &[("web", web.address(), "")], scheme, health.address());
        let lb = Lb::start(&text);
        let answer = lb.get("/a?b");
        assert_eq!((answer.status, answer.header("location")), (301, Some("https://test/a?b")));
    }
}
