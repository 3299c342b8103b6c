//! What a request and its answer look like on the other side [G 6a], and bodies of every shape.

use crate::support::backend::{Scripted, toy};
use crate::support::client::Client;
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, scripted, setup};
use crate::support::wait_until;

#[test]
fn g_6a_a_request_gets_via_forwarded_for_proto_and_a_trace() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let answer =
        lb.client().request("GET", "/a?b=c", "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n", b"");
    assert_eq!((answer.status, answer.header("via")), (200, Some("1.1 google")));
    let seen = &backend.seen()[0];
    assert_eq!(seen.line(), "GET /a?b=c HTTP/1.1");
    assert_eq!(seen.all("host"), ["test"]);
    assert_eq!(seen.all("via"), ["1.1 google"]);
    assert_eq!(seen.all("x-forwarded-for").join(","), "9.9.9.9,127.0.0.1,127.0.0.1");
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    let trace = seen.header("x-cloud-trace-context").expect("a trace");
    let (id, span) = trace.split_once('/').expect("TRACE/SPAN");
    assert!(id.len() == 32 && span.split(';').next().unwrap().parse::<u64>().is_ok(), "{trace}");
}

#[test]
fn g_6a_a_clients_own_trace_is_kept() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    lb.client().request("GET", "/", "X-Cloud-Trace-Context: mine/1;o=1\r\n", b"");
    assert_eq!(backend.seen()[0].all("x-cloud-trace-context"), ["mine/1;o=1"]);
}

#[test]
fn g_6a_hop_by_hop_headers_and_those_named_by_connection_end_here_both_ways() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while conn.request().is_some() {
            conn.write(
                "HTTP/1.1 200 OK\r\nconnection: x-secret, keep-alive\r\nx-secret: 1\r\nkeep-alive: timeout=5\r\n\
                 proxy-authenticate: Basic\r\ntrailer: x\r\nte: x\r\nupgrade: h2c\r\nx-kept: 2\r\n\
                 content-length: 2\r\n\r\nok",
            );
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let answer = lb.client().request(
        "GET",
        "/",
        "Connection: X-Mine, keep-alive\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: x\r\n\
         Trailer: x\r\nProxy-Connection: keep-alive\r\nX-Kept: 3\r\n",
        b"",
    );
    let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    for name in ["x-secret", "keep-alive", "proxy-authenticate", "trailer", "te", "upgrade"] {
        assert!(!names.contains(&name.to_owned()), "{name} reached the client");
    }
    assert_eq!((answer.header("x-kept"), answer.text()), (Some("2"), "ok".to_owned()));
    let seen = &backend.seen()[0];
    for name in ["x-mine", "keep-alive", "te", "proxy-authorization", "trailer", "proxy-connection"] {
        assert_eq!(seen.header(name), None, "{name} reached the backend");
    }
    assert_eq!(seen.header("x-kept"), Some("3"));
}

#[test]
fn connection_cannot_take_away_what_we_add() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let names = "Connection: X-Forwarded-For, X-Forwarded-Proto, Via, Host, Content-Length\r\n";
    lb.client().request("POST", "/", names, b"body");
    let seen = &backend.seen()[0];
    assert_eq!((seen.all("via").len(), seen.all("x-forwarded-proto").len()), (1, 1));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1,127.0.0.1"));
    assert_eq!((seen.header("host"), &*seen.body), (Some("test"), &b"body"[..]));
}

#[test]
fn answers_without_a_body_end_at_their_head_and_the_connection_goes_on() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while let Some(seen) = conn.request() {
            let answer = match seen.line().split(' ').nth(1) {
                Some("/204") => "HTTP/1.1 204 No Content\r\n\r\n",
                Some("/304") => "HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\netag: \"a\"\r\n\r\n",
                Some("/head") => "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nend",
            };
            conn.write(answer);
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    assert_eq!(client.get("/204").status, 204);
    let not_modified = client.get("/304");
    assert_eq!((not_modified.status, not_modified.header("etag")), (304, Some("\"a\"")));
    let head = client.request("HEAD", "/head", "", b"");
    assert_eq!((head.status, head.header("content-length")), (200, Some("1234")));
    assert_eq!(client.get("/").text(), "end");
    drop(client);
    wait_until("the connection is closed", || lb.open_connections() == 0);
    assert_eq!(backend.connections(), 1, "one kept connection served all four");
}

#[test]
fn a_1_0_client_gets_its_answer_and_a_close() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    client.send("GET /old HTTP/1.0\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, "good".to_owned()));
    client.assert_closed();
    let seen = &backend.seen()[0];
    assert_eq!(seen.line(), "GET /old HTTP/1.1");
    assert_eq!(seen.header("host"), Some(&*lb.address().to_string()));
}

#[test]
fn a_1_0_client_never_gets_chunks() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while conn.request().is_some() {
            conn.write(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
            );
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.header("transfer-encoding"), answer.text()), (None, "hello world".to_owned()));
}

#[test]
fn a_1_0_client_that_asks_for_it_keeps_its_connection() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    for _ in 0..3 {
        client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    }
}

#[test]
fn an_absolute_target_becomes_a_path_and_its_authority_the_host() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    client.send("GET http://real.example:81/a?b HTTP/1.1\r\nHost: other.example\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.send("GET http://bare.example HTTP/1.1\r\nHost: bare.example\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    let seen = backend.seen();
    assert_eq!((seen[0].line(), seen[0].all("host")), ("GET /a?b HTTP/1.1", vec!["real.example:81"]));
    assert_eq!(seen[1].line(), "GET / HTTP/1.1");
}

#[test]
fn dots_in_a_path_are_answered_with_302_to_the_normal_form() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let answer = lb.get("/a/../b?c=/../");
    assert_eq!((answer.status, answer.header("location")), (302, Some("/b?c=/../")));
    assert_eq!(backend.requests(), 0);
}

/// Bytes that repeat at no power of two.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[test]
fn large_bodies_stream_both_ways_unchanged() {
    const LENGTH: usize = 8 << 20;
    let toys = [toy("echo")];
    let lb = Lb::start(&setup(&[group("ig", NEAR).members(&toys)]).text());
    let body = content(LENGTH);
    for framing in ["length", "chunked"] {
        let mut client = lb.client();
        let mut writer = client.writer();
        let answer = std::thread::scope(|scope| {
            scope.spawn(|| upload(&mut writer, &body, framing == "chunked"));
            client.answer()
        });
        assert_eq!(answer.status, 200);
        assert!(answer.body == body, "{framing}: {} of {LENGTH} bytes, or others", answer.body.len());
    }
    lb.wait_sum("overspill_member_sent_bytes_total", &[], 2.0 * LENGTH as f64);
    wait_until("all is counted", || {
        lb.metrics().sum("overspill_member_received_bytes_total", &[]) == 2.0 * LENGTH as f64
    });
}

fn upload(writer: &mut impl std::io::Write, body: &[u8], is_chunked: bool) {
    let framing = if is_chunked {
        "transfer-encoding: chunked".to_owned()
    } else {
        format!("content-length: {}", body.len())
    };
    write!(writer, "POST /?echo HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n").unwrap();
    if !is_chunked {
        return writer.write_all(body).unwrap();
    }
    for piece in body.chunks(70_001) {
        write!(writer, "{:x};ext=1\r\n", piece.len()).unwrap();
        writer.write_all(piece).unwrap();
        writer.write_all(b"\r\n").unwrap();
    }
    writer.write_all(b"0\r\nx-trailer: 1\r\n\r\n").unwrap();
}

#[test]
fn an_answer_that_ends_with_the_connection_arrives_whole() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        if conn.request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\n\r\n");
            conn.write(content(300_000));
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    for _ in 0..2 {
        assert!(client.get("/").body == content(300_000));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while let Some(seen) = conn.request() {
            let path = seen.line().split(' ').nth(1).unwrap().to_owned();
            conn.ok(&path);
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    let request = |n| format!("POST /{n} HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc");
    let all: String = (0..20).map(request).collect();
    client.send(all);
    for n in 0..20 {
        assert_eq!(client.answer().text(), format!("/{n}"));
    }
    assert!(backend.seen().iter().all(|seen| seen.body == b"abc"));
}

#[test]
fn expect_100_continue_is_answered_and_not_passed_on() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(client.bytes(25), b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send("late");
    assert_eq!(client.answer().status, 200);
    let seen = &backend.seen()[0];
    assert_eq!((seen.header("expect"), &*seen.body), (None, &b"late"[..]));
}

#[test]
fn interim_answers_of_a_backend_do_not_disturb_the_final_one() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while conn.request().is_some() {
            conn.write("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n");
            conn.ok("final");
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "final");
    }
}

#[test]
fn a_request_that_goes_round_in_circles_is_refused() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let answer = Client::to(lb.address()).request("GET", "/", &"Via: 1.1 google\r\n".repeat(11), b"");
    assert!(answer.status == 503 && answer.text().contains("request_loop_detected"), "{answer:?}");
    assert_eq!(backend.requests(), 0);
}

#[test]
fn a_1_0_backend_is_understood_with_and_without_a_length() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        if let Some(seen) = conn.request() {
            let length = if seen.line().contains("/length") { "content-length: 5\r\n" } else { "" };
            conn.write(format!("HTTP/1.0 200 OK\r\n{length}\r\nhello"));
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    for path in ["/length", "/none", "/length", "/none"] {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.text()), (200, "hello".to_owned()), "{path}");
    }
}

#[test]
fn headers_that_may_come_twice_come_twice() {
    let health = toy("health");
    let backend = Scripted::start(|conn| {
        while conn.request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx: \u{e4}\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let lb = Lb::start(&scripted(&backend, &health).service("sessionAffinity: GENERATED_COOKIE").text());
    let answer = lb.client().request("GET", "/", "x-mine: 1\r\nx-mine: 2\r\nx-odd: \u{fc}\r\n", b"");
    let cookies: Vec<_> =
        answer.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, v)| &**v).collect();
    assert_eq!(cookies[..2], ["a=1", "b=2"]);
    assert!(cookies.len() == 3 && cookies[2].starts_with("GCLB="), "{cookies:?}");
    assert_eq!(answer.header("x"), Some("\u{e4}"));
    let seen = &backend.seen()[0];
    assert_eq!((seen.all("x-mine"), seen.header("x-odd")), (vec!["1", "2"], Some("\u{fc}")));
}

#[test]
fn a_client_that_asks_for_a_close_gets_one() {
    let (backend, health) = (Scripted::good(), toy("health"));
    let lb = Lb::start(&scripted(&backend, &health).text());
    let mut client = lb.client();
    let answer = client.request("GET", "/", "connection: close\r\n", b"");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    client.assert_closed();
    assert_eq!(lb.get("/").status, 200);
    assert_eq!(backend.seen()[0].header("connection"), None, "the member's connection is another matter");
}
