//! `explain` on a running proxy says what then happens: the same member, the same answer, the same figures.

use overspill::cli::toy::ToyBackend;
use serde_json::{Value, json};

use crate::mutate::Mutator;
use crate::support::backend::{Scripted, Valve, toy};
use crate::support::client::Client;
use crate::support::lb::Lb;
use crate::support::setup::{FAR, NEAR, Setup, group, setup};
use crate::support::wait_until;

#[track_caller]
fn explain(lb: &Lb, question: &Value) -> Value {
    let admin = lb.admin();
    let body = question.to_string();
    let answer = Client::to_admin(admin.address()).request("POST", "/explain", "", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// That of a request to the first forwarding rule with these headers.
#[track_caller]
fn explain_request(lb: &Lb, headers: &[&str]) -> Value {
    explain(lb, &json!({"request": format!("http://{}/", lb.address()), "headers": headers}))
}

/// One request with these headers: who answers.
#[track_caller]
fn served(lb: &Lb, headers: &[&str]) -> String {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let answer = lb.client().request("GET", "/", &lines, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    // The client may have the answer before the books are closed.
    wait_until("nothing is under way", || lb.in_flight() == 0);
    answer.backend().to_owned()
}

fn toys<const N: usize>(names: [&str; N]) -> Vec<ToyBackend> {
    names.map(toy).into()
}

/// Two groups, three members near and one far, whom no slow machine makes unhealthy.
fn fleet(near: &[ToyBackend], far: &[ToyBackend]) -> Setup {
    let groups = [group("ig-near", NEAR).members(near), group("ig-far", FAR).members(far)];
    setup(&groups).thresholds(1, 10)
}

/// The same text behind a target TCP proxy.
fn tcp(text: &str) -> String {
    let http = "targetHttpProxies:\n  - {name: web-proxy, urlMap: web-map}\nurlMaps:\n  - {name: web-map, defaultService: web}\n";
    assert!(text.contains(http), "{text}");
    text.replace(http, "targetTcpProxies:\n  - {name: web-proxy, service: web}\n")
        .replace("protocol: HTTP\n", "protocol: TCP\n")
}

#[test]
fn the_member_that_is_named_gets_the_next_request() {
    let (near, far) = (toys(["n1", "n2", "n3"]), toys(["f1"]));
    for policy in ["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"] {
        let lb = Lb::start(&fleet(&near, &far).service(&format!("localityLbPolicy: {policy}")).text());
        for _ in 0..8 {
            let said = explain_request(&lb, &[]);
            assert_eq!(said["outcome"]["member"], served(&lb, &[]), "{policy}: {said:#}");
        }
    }
}

#[test]
fn g_3_a_session_is_explained_as_it_is_kept() {
    let (near, far) = (toys(["n1", "n2", "n3"]), toys(["f1"]));
    let header = "sessionAffinity: HEADER_FIELD\n    consistentHash: {httpHeaderName: X-User}";
    let lb = Lb::start(&fleet(&near, &far).service(header).text());
    for user in 0..8 {
        let headers = [&*format!("x-user: {user}")];
        let said = explain_request(&lb, &headers);
        assert_eq!(said["outcome"]["member"], served(&lb, &headers), "{said:#}");
    }
    let trusted = "trustedProxies: [127.0.0.1]\n  accessLog: {path: none}";
    let lb = Lb::start(&fleet(&near, &far).proxy(trusted).service("sessionAffinity: CLIENT_IP").text());
    for last in 0..8 {
        let headers = [&*format!("x-forwarded-for: 192.0.2.{last}")];
        let said = explain_request(&lb, &headers);
        assert_eq!(said["outcome"]["member"], served(&lb, &headers), "{said:#}");
    }
}

#[test]
fn g_3_client_ip_behind_a_rule_for_all_addresses_goes_by_the_address_that_is_asked_for() {
    let near = toys(["n1", "n2", "n3"]);
    let text = fleet(&near, &[]).service("sessionAffinity: CLIENT_IP").text();
    let lb = Lb::start(&text.replace("IPAddress: 127.0.0.1", "IPAddress: 0.0.0.0"));
    let port = lb.address().port();
    for last in 1..9 {
        let to = std::net::SocketAddr::from(([127, 0, 0, last], port));
        let mut client = Client::to(to);
        let from = client.writer().local_addr().unwrap().ip();
        let question = json!({"request": format!("http://{to}/"), "clientIp": from});
        let said = explain(&lb, &question);
        assert_eq!(said["outcome"]["member"], client.get("/").backend(), "{said:#}");
        let by_option = explain(&lb, &json!({"request": "/", "clientIp": from, "to": to.ip()}));
        assert_eq!(by_option["outcome"], said["outcome"]);
    }
}

#[test]
fn g_3_6_a_strong_cookie_is_read_with_the_key_of_the_proxy() {
    let near = toys(["n1", "n2", "n3"]);
    let strong = "sessionAffinity: STRONG_COOKIE_AFFINITY\n    strongSessionAffinityCookie: {name: s}";
    let lb = Lb::start(&fleet(&near, &[]).service(strong).text());
    let answer = lb.get("/");
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let said = explain_request(&lb, &[&format!("cookie: {cookie}")]);
    assert_eq!(
        (&said["outcome"]["member"], &said["outcome"]["reason"]),
        (&answer.backend().into(), &"session".into())
    );
    assert_eq!(said["session"]["meaning"], "the cookie names its member");
    let forged = explain_request(&lb, &["cookie: s=AAAA"]);
    assert!(forged["session"]["meaning"].as_str().unwrap().contains("not of our making"), "{forged:#}");
}

#[test]
fn g_6b_what_the_proxy_answers_by_itself_is_what_is_said() {
    let near = toys(["n1"]);
    let lb = Lb::start(&fleet(&near, &[]).text());
    let upgrade = "connection: upgrade\r\nupgrade: other\r\n";
    for (method, path, headers) in
        [("GET", "/a/../b?c", ""), ("TRACE", "/", ""), ("CONNECT", "a:443", ""), ("GET", "/", upgrade)]
    {
        let lines: Vec<&str> = headers.lines().collect();
        let said = explain(&lb, &json!({"request": format!("{method} {path}"), "headers": lines}));
        let mut client = lb.client();
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n"));
        let answer = client.answer();
        let outcome = &said["outcome"];
        assert_eq!(outcome["status"], answer.status, "{said:#}");
        assert_eq!(outcome["location"].as_str(), answer.header("location"), "{said:#}");
        let detail = outcome["statusDetails"].as_str().unwrap();
        assert!(answer.status == 302 || answer.text().contains(detail), "{said:#} {}", answer.text());
        assert!(said["tiers"].is_null() && outcome["member"].is_null(), "{said:#}");
    }
    assert_eq!(near[0].requests(), 0);
}

#[test]
fn a_connection_of_a_tcp_proxy_goes_where_it_is_said_to() {
    let near = toys(["n1", "n2", "n3"]);
    let mode = "balancingMode: CONNECTION, maxConnections: 100";
    let far = toys(["f1"]);
    let groups =
        [group("ig-near", NEAR).mode(mode).members(&near), group("ig-far", FAR).mode(mode).members(&far)];
    for affinity in ["NONE", "CLIENT_IP"] {
        let setup = setup(&groups).thresholds(1, 10).service(&format!("sessionAffinity: {affinity}"));
        let lb = Lb::start(&tcp(&setup.text()));
        for _ in 0..4 {
            let said = explain(&lb, &json!({"request": format!("tcp://{}", lb.address())}));
            assert_eq!(said["route"]["forwardingRule"], "web");
            assert_eq!(said["outcome"]["member"], lb.get("/").backend(), "{affinity}: {said:#}");
        }
    }
}

#[test]
fn g_1_17_a_reported_metric_is_shown_with_what_it_is_filled_up_to_and_every_report_counts() {
    let near = Scripted::start(|conn| {
        while conn.request().is_some() {
            let report = "endpoint-load-metrics: TEXT named_metrics.queue=1.4,named_metrics.heat=0.2";
            if !conn.write(format!("HTTP/1.1 200 OK\r\n{report}\r\ncontent-length: 0\r\n\r\n")) {
                return;
            }
        }
    });
    let (health, far) = (toy("health"), toys(["f1"]));
    let mode =
        "balancingMode: CUSTOM_METRICS, customMetrics: [{name: heat}, {name: queue, maxUtilization: 0.875}]";
    let near = group("ig-near", NEAR).mode(mode).scaler("0.8").member("n1", &near);
    let setup = setup(&[near, group("ig-far", FAR).members(&far)]).thresholds(1, 10).probed_at(&health);
    let lb = Lb::start(&setup.text());
    let silent = explain_request(&lb, &[]);
    let backend = &silent["tiers"][0]["backends"][0];
    assert_eq!((&backend["state"], &backend["customMetrics"][1]["mean"]), (&"room".into(), &Value::Null));
    lb.get("/");
    let mut shown = Value::Null;
    wait_until("the report is read", || {
        shown = explain_request(&lb, &[])["tiers"][0]["backends"][0].clone();
        shown["customMetrics"][1]["mean"] == 1.4
    });
    let queue = &shown["customMetrics"][1];
    let fullness = queue["fullness"].as_f64().unwrap();
    assert!((fullness - 2.0).abs() < 1e-9, "{shown:#}");
    assert_eq!(shown["bindingTarget"], "queue", "{shown:#}");

    let status = lb.status();
    let reports = &status["services"][0]["backends"][0]["members"][0]["reports"];
    assert_eq!((&reports["count"], &reports["utilization"]), (&json!(1), &Value::Null));
    assert!(reports["ageSeconds"].is_number(), "{reports}");
    assert_eq!(lb.metrics().sum("overspill_load_reports_total", &["n1"]), 1.0);
}

#[test]
fn prequal_lies_between_the_members_that_are_shown_with_their_conduct() {
    let near = toys(["n1", "n2", "n3"]);
    let lb = Lb::start(&fleet(&near, &[]).service("localityLbPolicy: PREQUAL").text());
    let members: Vec<String> = (0..20).map(|_| served(&lb, &[])).collect();
    let said = explain_request(&lb, &[]);
    assert!(said["outcome"]["member"].is_null(), "{said:#}");
    let one_of = said["outcome"]["oneOf"].as_array().unwrap();
    let known = |name: &str| one_of.iter().find(|one| one["member"] == name).unwrap();
    for name in &members {
        assert!(known(name)["latencySeconds"].as_f64().unwrap() > 0.0, "{said:#}");
        assert_eq!(known(name)["inFlight"], 0);
    }
    assert_eq!(one_of.len(), 3);
}

#[test]
fn g_2e_a_request_that_a_circuit_breaker_refuses_is_said_to_be_refused() {
    let valve = Valve::default();
    let (health, held) = (toy("health"), Scripted::held(&valve));
    let near = group("ig-near", NEAR).member("n1", &held);
    let setup = setup(&[near]).thresholds(1, 10).probed_at(&health);
    let lb = Lb::start(&setup.service("circuitBreakers: {maxRequests: 1}").text());
    assert_eq!(explain_request(&lb, &[])["outcome"]["member"], "n1");
    let mut first = lb.sent("/slow");
    wait_until("it is under way", || lb.in_flight() == 1);
    let said = explain_request(&lb, &[]);
    let answer = lb.get("/");
    let outcome = &said["outcome"];
    assert_eq!(
        (&outcome["status"], &outcome["statusDetails"]),
        (&answer.status.into(), &"circuit_breaker_open".into()),
        "{said:#}"
    );
    valve.open();
    assert_eq!(first.answer().status, 200);
}

#[test]
fn any_words_are_explained_or_refused_with_a_sentence() {
    let (near, far) = (toys(["n1", "n2"]), toys(["f1"]));
    let lb = Lb::start(&fleet(&near, &far).service("sessionAffinity: GENERATED_COOKIE").text());
    let admin = lb.admin();
    let seeds = [
        json!({"request": format!("GET http://{}/a?b", lb.address()), "headers": ["cookie: GCLB=AAAAAAAAAAAAAAAAAAAABw", "host: x"]}),
        json!({"request": "POST http://shop.test:8080/cart", "clientIp": "192.0.2.1", "to": "::1"}),
        json!({"request": "/a", "forwardingRule": "web", "headers": ["x-forwarded-for: 1.2.3.4, 5.6.7.8"]}),
        json!({"request": "tcp://127.0.0.1:5432"}),
        json!({"request": "OPTIONS *"}),
        json!({"request": "CONNECT a:443"}),
    ];
    let seeds = seeds.map(|seed| seed.to_string().into_bytes());
    let words =
        ["[::1]:0", "http://", "ssl://", "\\u0000", "\\ud800", "transfer-encoding: chunked", "host: a:b"];
    let mut mutator = Mutator::new(&seeds, &words, 20_261_121);
    let (mut explained, mut client) = (0, Client::to_admin(admin.address()));
    for _ in 0..300 {
        let input = mutator.next();
        if input.is_empty() {
            continue;
        }
        let answer = client.request("POST", "/explain", "", &input);
        let shown = || format!("b\"{}\": {}", input.escape_ascii(), answer.text());
        assert!(matches!(answer.status, 200 | 400), "{} for {}", answer.status, shown());
        let said: Value =
            serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("no JSON: {}", shown()));
        assert!(said.is_object(), "{}", shown());
        explained += usize::from(answer.status == 200);
    }
    assert!(explained > 10, "hardly any could be read: {explained}");
    assert_eq!(near.iter().chain(&far).map(ToyBackend::requests).sum::<u64>(), 0, "nothing is sent");
}
