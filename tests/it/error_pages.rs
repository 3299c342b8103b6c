//! `customErrorResponsePolicy`: other pages and statuses instead of errors [G 5.9, 5.10].

use overspill::cli::toy::ToyBackend;
use overspill::ledger::service::Extra;
use overspill::model::detail::StatusDetail;

use crate::routes::text;
use crate::support::backend::{Scripted, Valve, toy};
use crate::support::client::Answer;
use crate::support::h2::{self, connect, run, whole};
use crate::support::lb::Lb;
use crate::support::wait_until;

/// Answers with the status that the path names, and says what nobody should see.
fn failing() -> Scripted {
    Scripted::start(|conn| {
        while let Some(seen) = conn.request() {
            let status =
                seen.line().split(['/', ' ']).find(|part| part.len() == 3 && part.parse::<u16>().is_ok());
            let status = status.unwrap_or("200");
            let answer = format!(
                "HTTP/1.1 {status} Oh\r\ncontent-length: 5\r\ncontent-type: text/secret\r\netag: \"a\"\r\n\
                 www-authenticate: Basic\r\nset-cookie: a=b\r\n\r\nstack"
            );
            if !conn.write(answer) {
                return;
            }
        }
    })
}

/// Has pages, and what is no page.
fn pages() -> Scripted {
    Scripted::start(|conn| {
        while let Some(seen) = conn.request() {
            let body = format!("page of {}", seen.line());
            let answer = match seen.line() {
                line if line.contains("/gone") => "HTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\nno".to_owned(),
                line if line.contains("/huge") => {
                    format!("HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n{}", "x".repeat(300_000))
                }
                line if line.contains("/cut") => {
                    conn.write("HTTP/1.1 200 OK\r\ncontent-length: 300\r\n\r\nx");
                    return;
                }
                _ => format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-type: text/html\r\nset-cookie: p=q\r\n\r\n{body}",
                    body.len()
                ),
            };
            if !conn.write(answer) {
                return;
            }
        }
    })
}

const MAP: &str = "    defaultService: web
    defaultCustomErrorResponsePolicy:
      errorService: errors
      errorResponseRules:
        - {matchResponseCodes: [5xx], path: /5xx.html}
        - {matchResponseCodes: [\"404\"], path: /404.html, overrideResponseCode: 200}
        - {matchResponseCodes: [\"410\"], path: /gone}
        - {matchResponseCodes: [\"411\"], path: /huge}
        - {matchResponseCodes: [\"412\"], path: /cut, overrideResponseCode: 499}
    hostRules: [{hosts: [\"*\"], pathMatcher: m}]
    pathMatchers:
      - name: m
        defaultService: web
        defaultCustomErrorResponsePolicy:
          errorResponseRules: [{matchResponseCodes: [\"500\"], path: /inner.html}]
        pathRules:
          - paths: [/rule/*]
            service: web
            customErrorResponsePolicy:
              errorResponseRules: [{matchResponseCodes: [\"500\", \"401\"], overrideResponseCode: 418}]
";

struct Pair {
    lb: Lb,
    web: Scripted,
    errors: Scripted,
    _health: ToyBackend,
}

fn pair(web: Scripted, errors: Scripted, of_web: &str) -> Pair {
    let health = toy("health");
    let services = [("web", web.address(), of_web), ("errors", errors.address(), "")];
    let lb = Lb::with_workers(&text(MAP, &services, "", health.address()), 1);
    Pair { lb, web, errors, _health: health }
}

fn said(answer: &Answer) -> (u16, String) {
    (answer.status, answer.text())
}

fn extra(lb: &Lb, service: &str, what: Extra) -> u64 {
    let world = lb.handle.world();
    world.services.iter().find(|one| &**one.name() == service).unwrap().ledger.extra(what)
}

#[test]
fn g_5_10_the_most_specific_level_that_covers_a_code_wins_and_a_number_goes_before_a_class() {
    let pair = pair(failing(), pages(), "");
    let mut client = pair.lb.client();
    for (path, status, text) in [
        ("/200", 200, "stack"),
        ("/503", 503, "page of GET /5xx.html HTTP/1.1"),
        ("/500", 500, "page of GET /inner.html HTTP/1.1"),
        ("/404", 200, "page of GET /404.html HTTP/1.1"),
        ("/403", 403, "stack"),
        ("/rule/500", 418, "stack"),
        ("/rule/401", 418, "stack"),
        ("/rule/404", 200, "page of GET /404.html HTTP/1.1"),
    ] {
        assert_eq!(said(&client.get(path)), (status, text.to_owned()), "{path}");
    }
    // Neither side had to connect again, and pages are nobody's requests.
    assert_eq!((pair.web.connections(), pair.errors.connections()), (1, 1));
    assert_eq!(extra(&pair.lb, "errors", Extra::Pages), 4);
    let metrics = pair.lb.metrics();
    let of = |name: &str| metrics.sum(name, &["service=\"errors\""]);
    assert_eq!((of("overspill_requests_total"), of("overspill_error_pages_total")), (0.0, 4.0));
    assert_eq!(metrics.sum("overspill_requests_total", &["code_class=\"400\""]), 3.0);
}

#[test]
fn the_head_stays_but_for_what_describes_the_body() {
    let pair = pair(failing(), pages(), "");
    let mut client = pair.lb.client();
    let answer = client.get("/503");
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert_eq!(
        (answer.header("www-authenticate"), answer.header("set-cookie")),
        (Some("Basic"), Some("a=b"))
    );
    assert_eq!(answer.header("etag"), None);
    let asked = &pair.errors.seen()[0];
    assert_eq!(asked.all("via"), ["1.1 google"]);
    assert!(asked.body.is_empty());
    // An answer to HEAD says how long the page is, and no more.
    client.send("HEAD /503 HTTP/1.1\r\nhost: a\r\n\r\n");
    let answer = client.answer_to("HEAD");
    assert_eq!((answer.status, answer.header("content-length")), (503, Some("30")));
    assert_eq!(client.get("/200").text(), "stack");
}

#[test]
fn g_5_10_a_page_that_cannot_be_had_is_a_simple_not_found_and_never_another_page() {
    let pair = pair(failing(), pages(), "");
    let mut client = pair.lb.client();
    for (path, status) in [("/410", 410), ("/411", 411), ("/412", 499)] {
        assert_eq!(said(&client.get(path)), (status, "Not Found\n".to_owned()), "{path}");
    }
    assert_eq!((pair.errors.requests(), extra(&pair.lb, "errors", Extra::PagesMissed)), (3, 3));
}

#[test]
fn g_5_9_errors_of_ours_have_pages_too_once_all_retries_have_failed() {
    // Closes without a word.
    let web = Scripted::start(|conn| drop(conn.request()));
    let pair = pair(web, pages(), "");
    let answer = pair.lb.get("/a");
    assert_eq!(said(&answer), (503, "page of GET /5xx.html HTTP/1.1".to_owned()));
    assert!(pair.web.requests() >= 1);
    pair.lb.wait_ended(StatusDetail::BackendConnectionClosedBeforeData, 1);
    // Refused before it is routed: nobody's page.
    let answer = pair.lb.client().request("TRACE", "/a", "", b"");
    assert_eq!(answer.status, 400);
    assert_eq!(pair.errors.requests(), 1);
}

#[test]
fn a_timeout_has_its_page_and_the_connection_lives_on() {
    let valve = Valve::default();
    let pair = pair(Scripted::held(&valve), pages(), ", timeoutSec: 1");
    let mut client = pair.lb.client();
    let answer = client.request("POST", "/a", "", b"x");
    assert_eq!(said(&answer), (503, "page of GET /5xx.html HTTP/1.1".to_owned()));
    pair.lb.wait_ended(StatusDetail::BackendTimeout, 1);
    valve.open();
    assert_eq!(client.get("/a").status, 200);
}

#[test]
fn a_client_that_leaves_takes_its_page_along() {
    let valve = Valve::default();
    let pair = pair(failing(), Scripted::held(&valve), "");
    let client = pair.lb.sent("/503");
    wait_until("its page is asked for", || pair.errors.requests() == 1);
    assert_eq!(pair.lb.in_flight(), 1, "on the service that has the page, and no more on the other");
    client.reset();
    wait_until("nobody waits for it", || pair.lb.in_flight() == 0);
    valve.open();
}

#[test]
fn a_page_that_does_not_come_is_not_waited_for_longer_than_its_service_allows() {
    let valve = Valve::default();
    let health = toy("health");
    let (web, errors) = (failing(), Scripted::held(&valve));
    let services = [("web", web.address(), ""), ("errors", errors.address(), ", timeoutSec: 1")];
    let lb = Lb::with_workers(&text(MAP, &services, "", health.address()), 1);
    assert_eq!(said(&lb.get("/503")), (503, "Not Found\n".to_owned()));
    valve.open();
}

#[test]
fn over_http_2_it_is_the_same() {
    let pair = pair(failing(), pages(), "");
    run(async {
        let mut send = connect(pair.lb.address()).await;
        for _ in 0..3 {
            let (answer, _) = send.send_request(h2::get("/500"), true).unwrap();
            let answer = whole(answer.await.unwrap()).await.unwrap();
            assert_eq!((answer.status, &*answer.text()), (500, "page of GET /inner.html HTTP/1.1"));
        }
    });
}

#[test]
fn a_compressed_answer_gives_way_too() {
    let web = Scripted::start(|conn| {
        while conn.request().is_some() {
            let head = "HTTP/1.1 503 Oh\r\ncontent-type: text/html\r\ncontent-length: 5000\r\n\r\n";
            if !conn.write(format!("{head}{}", "x".repeat(5000))) {
                return;
            }
        }
    });
    let pair = pair(web, pages(), ", compressionMode: AUTOMATIC");
    let mut client = pair.lb.client();
    for _ in 0..3 {
        let answer = client.request("GET", "/a", "accept-encoding: br, gzip\r\n", b"");
        assert_eq!(said(&answer), (503, "page of GET /5xx.html HTTP/1.1".to_owned()));
        assert_eq!(answer.header("content-encoding"), None);
    }
    assert_eq!(pair.web.connections(), 1);
}
