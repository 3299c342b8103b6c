//! What a route does beside leading to a service, over sockets: retries within a budget and by their conditions, answers
//! for other origins, regular expressions, copies [G 5, 7b, 7c].

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use http::Request;
use overspill::cli::toy::ToyBackend;
use overspill::ledger::service::{Extra, Mirrored};
use overspill::model::detail::StatusDetail;

use crate::grpc::Member;
use crate::routes::{named, text};
use crate::support::backend::{Conn, Scripted, Valve, toy};
use crate::support::client::Answer;
use crate::support::h2::{connect, run, send_all, whole};
use crate::support::lb::Lb;
use crate::support::setup::{Serves, scripted};
use crate::support::wait_until;

/// The setup's text with this URL map instead.
fn mapped(text: &str, map: &str) -> String {
    text.replace("{name: web-map, defaultService: web}", &format!("{{name: web-map, {map}}}"))
}

/// Answers the first `bad` requests with 503 once `first` opens, and all others with 200 once `then` does.
fn bad_at_first(bad: usize, first: &Valve, then: &Valve) -> Scripted {
    let (first, then, turn) = (first.clone(), then.clone(), AtomicUsize::new(0));
    Scripted::start(move |conn| {
        while conn.request().is_some() {
            if turn.fetch_add(1, SeqCst) < bad {
                first.pass();
                conn.write("HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy");
            } else {
                then.pass();
                conn.ok("again");
            }
        }
    })
}

const AGAIN: &str =
    "defaultService: web, defaultRouteAction: {retryPolicy: {numRetries: 3, retryConditions: [5xx]}}";

#[test]
fn retries_take_a_fifth_of_live_requests_over_all_workers_and_give_it_back() {
    let (first, then, health) = (Valve::default(), Valve::default(), toy("health"));
    let backend = bad_at_first(30, &first, &then);
    let lb = Lb::start(&mapped(&scripted(&backend, &health).text(), AGAIN));
    let held = || lb.handle.world().services[0].ledger.budget.held();
    let mut clients: Vec<_> = (0..30).map(|n| lb.sent(&format!("/{n}"))).collect();
    wait_until("all are under way", || backend.requests() == 30);
    first.open();
    wait_until("the others are refused", || lb.extra(Extra::RetriesRefused) == 24);
    wait_until("six are sent again", || backend.requests() == 36);
    assert_eq!((held(), lb.extra(Extra::Retries)), (6, 6));
    then.open();
    let answers: Vec<_> = clients.iter_mut().map(|client| client.answer().text()).collect();
    let of = |word: &str| answers.iter().filter(|text| *text == word).count();
    assert_eq!((of("again"), of("busy")), (6, 24), "who is refused gets the answer that there is");
    wait_until("all room is given back", || held() == 0);
    assert_eq!(lb.metrics().sum("overspill_retries_refused_total", &["service=\"web\""]), 24.0);
}

#[test]
fn without_a_budget_there_is_no_retry_and_a_lone_request_always_has_one() {
    for (percent, want) in [(0, ("busy", 1)), (1, ("again", 2))] {
        let (first, then, health) = (Valve::default(), Valve::default(), toy("health"));
        let backend = bad_at_first(1, &first, &then);
        first.open();
        then.open();
        let proxy = format!("accessLog: {{path: none}}\n  retryBudgetPercent: {percent}");
        let lb = Lb::start(&mapped(&scripted(&backend, &health).proxy(&proxy).text(), AGAIN));
        assert_eq!((&*lb.get("/a").text(), backend.requests()), want);
    }
}

/// Services `web` and `canary` behind this map.
struct Pair {
    lb: Lb,
    web: Scripted,
    canary: Scripted,
    _health: ToyBackend,
}

fn pair(map: &str, scheme: &str, web: Scripted, canary: Scripted) -> Pair {
    let health = toy("health");
    let services = [("web", web.address(), ""), ("canary", canary.address(), "")];
    let lb = Lb::start(&text(map, &services, scheme, health.address()));
    Pair { lb, web, canary, _health: health }
}

const INTERNAL: &str = ", loadBalancingScheme: INTERNAL_MANAGED";

const ORIGINS: &str = "    defaultService: web
    defaultRouteAction:
      corsPolicy:
        allowOrigins: [https://shop.test]
        allowOriginRegexes: ['https://[a-z]+[.]example[.]com']
        allowMethods: [GET, PUT]
        allowHeaders: [x-one, x-two]
        exposeHeaders: [x-kind]
        maxAge: 600
        allowCredentials: true
";

fn asked(lb: &Lb, method: &str, origin: &str, more: &str) -> Answer {
    lb.client().request(method, "/", &format!("origin: {origin}\r\n{more}"), b"")
}

const PUT: &str = "access-control-request-method: PUT\r\n";

#[test]
fn g_7c_a_preflight_is_answered_by_us() {
    let pair = pair(ORIGINS, INTERNAL, named("web"), named("canary"));
    for origin in ["https://shop.test", "https://www.example.com"] {
        let answer = asked(&pair.lb, "OPTIONS", origin, PUT);
        let headers = ["origin", "methods", "headers", "credentials"]
            .map(|name| answer.header(&format!("access-control-allow-{name}")).map(str::to_owned));
        let want = [origin, "GET, PUT", "x-one, x-two", "true"].map(|text| Some(text.to_owned()));
        assert_eq!((answer.status, headers, &*answer.body), (200, want, &b""[..]));
        assert_eq!(
            (answer.header("access-control-max-age"), answer.header("vary")),
            (Some("600"), Some("Origin"))
        );
        assert_eq!(
            (answer.header("access-control-expose-headers"), answer.header("content-type")),
            (None, None)
        );
    }
    assert_eq!(pair.web.requests(), 0);
    pair.lb.wait_ended(StatusDetail::DirectResponse, 2);
    let counted =
        pair.lb.metrics().sum("overspill_requests_total", &["service=\"web\"", "code_class=\"200\""]);
    assert_eq!(counted, 2.0, "as answers of the service that it would have gone to");
}

#[test]
fn g_7c_other_requests_go_on_and_their_answers_say_who_may_read_them() {
    let says_any = Scripted::start(|conn| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\naccess-control-allow-origin: *\r\nvary: accept\r\n\r\nweb";
        while conn.request().is_some() && conn.write(head) {}
    });
    let pair = pair(ORIGINS, INTERNAL, says_any, named("canary"));
    let allowed = asked(&pair.lb, "GET", "https://shop.test", "");
    let all = |answer: &Answer, name: &str| {
        let lines = answer.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        all(&allowed, "access-control-allow-origin"),
        ["https://shop.test"],
        "in place of the service's"
    );
    assert_eq!(allowed.header("access-control-expose-headers"), Some("x-kind"));
    assert_eq!(
        (allowed.text(), all(&allowed, "vary")),
        ("web".to_owned(), vec!["accept".to_owned(), "Origin".to_owned()])
    );
    let other = asked(&pair.lb, "GET", "https://shop.test.evil", "");
    assert_eq!(all(&other, "access-control-allow-origin"), ["*"], "what the service says stays");
    // One that is not allowed, and one that is no preflight, are for the service.
    assert_eq!(asked(&pair.lb, "OPTIONS", "https://evil.test", PUT).text(), "web");
    assert_eq!(asked(&pair.lb, "OPTIONS", "https://shop.test", "").text(), "web");
    assert_eq!(pair.web.requests(), 4);
}

#[test]
fn g_7c_what_we_answer_ourselves_may_be_read_by_the_origin_too() {
    let broken = Scripted::start(|conn| drop(conn.request()));
    let pair = pair(ORIGINS, INTERNAL, broken, named("canary"));
    let answer = asked(&pair.lb, "POST", "https://shop.test", "");
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (503, Some("https://shop.test"))
    );
}

#[test]
fn g_7b_regular_expressions_match_paths_headers_and_parameters_as_a_whole() {
    let map = "    defaultService: web
    hostRules: [{hosts: [\"*\"], pathMatcher: m}]
    pathMatchers:
      - name: m
        defaultService: web
        routeRules:
          - {priority: 1, service: canary, matchRules: [{regexMatch: '/v[0-9]+/.*'}]}
          - {priority: 2, service: canary, matchRules: [{prefixMatch: /, headerMatches: [{headerName: user-agent, regexMatch: '(?i).*bot.*'}]}]}
          - {priority: 3, service: canary, matchRules: [{prefixMatch: /, queryParameterMatches: [{name: id, regexMatch: '[0-9]{3}'}]}]}
";
    let pair = pair(map, INTERNAL, named("web"), named("canary"));
    let mut client = pair.lb.client();
    let mut at = |path: &str, headers: &str| client.request("GET", path, headers, b"").text();
    for (path, headers, want) in [
        ("/v12/a/b?x", "", "canary"),
        ("/v12", "", "web"),
        ("/a/v12/b", "", "web"),
        ("/", "user-agent: a FriendlyBOT/1\r\n", "canary"),
        ("/", "user-agent: curl\r\n", "web"),
        ("/?id=123", "", "canary"),
        ("/?id=1234&id=123", "", "web"),
    ] {
        assert_eq!(at(path, headers), want, "{path} {headers}");
    }
}

#[test]
fn g_7c_a_path_is_rewritten_by_a_regular_expression_and_its_query_stays() {
    let map = r"    defaultService: web
    defaultRouteAction: {urlRewrite: {regexRewrite: {pathPattern: '^/users/([0-9]+)/(.*)$', pathSubstitution: '/\2/of/\1'}}}
    hostRules: [{hosts: [none.test], pathMatcher: m}]
    pathMatchers:
      - name: m
        defaultService: web
        defaultRouteAction: {urlRewrite: {regexRewrite: {pathPattern: '^/', pathSubstitution: ''}}}
";
    let pair = pair(map, "", named("web"), named("canary"));
    let mut client = pair.lb.client();
    for path in ["/users/17/photos?a=/users/1/b", "/other"] {
        assert_eq!(client.get(path).text(), "web");
    }
    let seen: Vec<_> = pair.web.seen().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(seen, ["GET /photos/of/17?a=/users/1/b HTTP/1.1", "GET /other HTTP/1.1"]);
    // What would be no path is not sent.
    client.send("GET /x HTTP/1.1\r\nhost: none.test\r\n\r\n");
    let answer = client.answer();
    assert!(answer.status == 500 && answer.text().contains("internal_error"), "{}", answer.text());
    assert_eq!(pair.web.requests(), 2);
}

const MIRRORED: &str = "    defaultService: web
    defaultRouteAction: {requestMirrorPolicy: {backendService: canary}, urlRewrite: {hostRewrite: \"web.internal:81\"}}
";

fn mirrored(pair: &Pair, how: Mirrored) -> u64 {
    let world = pair.lb.handle.world();
    world.services.iter().find(|service| &**service.name() == "canary").unwrap().ledger.mirrored(how)
}

#[test]
fn g_7c_a_mirrored_request_is_copied_and_what_the_copy_gets_is_nobody_s() {
    let canary = Scripted::start(|conn| {
        while conn.request().is_some() && conn.write("HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno") {}
    });
    let pair = pair(MIRRORED, "", named("web"), canary);
    let mut client = pair.lb.client();
    assert_eq!(client.request("GET", "/a?b", "x-one: 1\r\n", b"").text(), "web");
    wait_until("the first copy is answered", || mirrored(&pair, Mirrored::Answered) == 1);
    let body = "x".repeat(60_000);
    assert_eq!(client.request("POST", "/c", "", body.as_bytes()).text(), "web");
    wait_until("both copies are answered", || mirrored(&pair, Mirrored::Answered) == 2);
    let (real, copies) = (pair.web.seen(), pair.canary.seen());
    for (real, copy) in real.iter().zip(&copies) {
        assert_eq!((real.line(), &real.body), (copy.line(), &copy.body));
        assert_eq!(
            (real.all("host"), copy.all("host")),
            (vec!["web.internal:81"], vec!["web.internal-shadow:81"])
        );
        assert_eq!(real.all("x-forwarded-for"), copy.all("x-forwarded-for"));
    }
    assert_eq!((real.len(), copies.len(), copies[0].header("x-one")), (2, 2, Some("1")));
    let metrics = pair.lb.metrics();
    let of = |name: &str| metrics.sum(name, &["service=\"canary\""]);
    assert_eq!((of("overspill_requests_total"), of("overspill_attempts_total")), (0.0, 2.0));
    assert_eq!(of("overspill_mirrored_requests_total"), 2.0);
}

#[test]
fn g_7c_a_copy_never_holds_up_its_request_nor_makes_it_fail() {
    let valve = Valve::default();
    let pair = pair(MIRRORED, "", named("web"), Scripted::held(&valve));
    let mut client = pair.lb.client();
    // Each of them waits for good, and its body is too large for the last.
    assert!((0..20).all(|n| client.get(&format!("/{n}")).text() == "web"));
    let large = "x".repeat(70_000);
    assert_eq!(client.request("POST", "/large", "", large.as_bytes()).text(), "web");
    wait_until("all small ones are copied", || pair.canary.requests() == 20);
    wait_until("the large one is not", || mirrored(&pair, Mirrored::TooLarge) == 1);
    assert_eq!(pair.web.seen().last().unwrap().body.len(), 70_000);
    valve.open();
    wait_until("the copies end", || mirrored(&pair, Mirrored::Answered) == 20);
}

#[test]
fn g_7c_copies_are_made_of_a_share_of_requests_and_not_of_upgrades() {
    let map = MIRRORED.replace("backendService: canary", "backendService: canary, mirrorPercent: 25");
    let broken = Scripted::start(|conn| {
        conn.request();
        conn.reset();
    });
    let pair = pair(&map, "", named("web"), broken);
    let mut client = pair.lb.client();
    assert!((0..400).all(|_| client.get("/").text() == "web"));
    let all = || Mirrored::ALL.map(|how| mirrored(&pair, how)).iter().sum::<u64>();
    wait_until("no copy is under way", || {
        pair.lb.in_flight() == 0 && mirrored(&pair, Mirrored::Failed) == all()
    });
    // 100 with a standard deviation of 9, and the seed is always the same.
    assert!((60..=140).contains(&all()), "{}", all());
}

#[test]
fn g_7c_a_copy_goes_by_http_2_to_whoever_speaks_that() {
    let (web, next, health) = (named("web"), Member::start(), toy("health"));
    let services = [("web", web.address(), ""), ("canary", next.at(), ", protocol: H2C, portName: http")];
    // The toy is not where the other member is.
    let probed = format!(
        "type: HTTP, healthyThreshold: 1, httpHealthCheck: {{requestPath: /healthz, port: {}}}",
        health.address().port()
    );
    let text = text(MIRRORED, &services, "", health.address());
    let text = text.replace(
        &probed,
        "type: TCP, healthyThreshold: 1, tcpHealthCheck: {portSpecification: USE_SERVING_PORT}",
    );
    let lb = Lb::start(&text);
    let mut client = lb.client();
    assert!((0..10).all(|_| client.request("POST", "/unary", "", b"message").text() == "web"));
    let copies = || lb.metrics().sum("overspill_mirrored_requests_total", &["result=\"answered\""]);
    wait_until("all copies are answered", || copies() == 10.0);
    assert_eq!(next.calls(), 10);
}

#[test]
fn a_copy_on_a_kept_connection_that_was_closed_is_sent_on_a_fresh_one() {
    // One request on each connection, and then it closes without a word.
    let canary = Scripted::start(|conn| {
        if conn.request().is_some() {
            conn.ok("canary");
        }
    });
    let pair = pair(MIRRORED, "", named("web"), canary);
    let mut client = pair.lb.client();
    for n in 1..=10 {
        assert_eq!(client.get("/").text(), "web");
        wait_until("the copy is answered", || mirrored(&pair, Mirrored::Answered) == n);
        wait_until("its connection has closed", || pair.canary.ended() as u64 == n);
    }
}

#[test]
fn g_5_a_body_that_was_kept_is_sent_again_where_the_policy_asks_for_it() {
    let (first, then, health) = (Valve::default(), Valve::default(), toy("health"));
    first.open();
    then.open();
    let backend = bad_at_first(2, &first, &then);
    let lb = Lb::start(&mapped(&scripted(&backend, &health).text(), AGAIN));
    let answer = lb.client().request("PUT", "/a", "x-one: 1\r\n", b"hello");
    assert_eq!((answer.text(), backend.requests()), ("again".to_owned(), 3));
    let seen = backend.seen();
    assert!(seen.iter().all(|one| one.body == b"hello" && one.header("x-one") == Some("1")), "{seen:?}");
}

#[test]
fn g_5_a_body_over_the_bound_and_a_post_are_not_sent_again() {
    let large = "x".repeat(70_000);
    for (method, body) in [("PUT", large.as_bytes()), ("POST", b"hello")] {
        let (first, then, health) = (Valve::default(), Valve::default(), toy("health"));
        first.open();
        let backend = bad_at_first(1, &first, &then);
        let lb = Lb::start(&mapped(&scripted(&backend, &health).text(), AGAIN));
        let answer = lb.client().request(method, "/a", "", body);
        assert_eq!((answer.text(), backend.requests()), ("busy".to_owned(), 1), "{method}");
        then.open();
    }
}

/// What a member that is too busy for gRPC says, in HTTP/1.1 for once, and then a whole answer.
fn unavailable(times: usize) -> Scripted {
    let turn = AtomicUsize::new(0);
    Scripted::start(move |conn: &mut Conn| {
        while conn.request().is_some() {
            let status = if turn.fetch_add(1, SeqCst) < times { 14 } else { 0 };
            conn.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: {status}\r\ncontent-length: 0\r\n\r\n"
            ));
        }
    })
}

#[test]
fn g_5_a_call_of_grpc_is_made_again_when_its_status_says_unavailable() {
    let map = "defaultService: web, defaultRouteAction: {retryPolicy: {numRetries: 2, retryConditions: [unavailable]}}";
    for (times, want) in [(2, ("0", 3)), (9, ("14", 3))] {
        let (backend, health) = (unavailable(times), toy("health"));
        let lb = Lb::start(&mapped(&scripted(&backend, &health).text(), map));
        let status = run(async {
            let mut send = connect(lb.address()).await;
            let request = Request::post("http://test/call").header("content-type", "application/grpc");
            let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
            send_all(&mut stream, Bytes::from_static(b"message"), true).await;
            let whole = whole(answer.await.unwrap()).await.unwrap();
            whole.header("grpc-status").unwrap().to_owned()
        });
        assert_eq!((&*status, backend.requests()), want);
        assert!(backend.seen().iter().all(|one| one.body == b"message"));
    }
}
