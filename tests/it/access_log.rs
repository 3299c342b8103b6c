//! The access log as a file: a line for each request, with Google's field names [G 8.2].

use std::path::PathBuf;

use serde_json::Value;

use crate::support::backend::toy;
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, setup};
use crate::support::wait_until;

/// A file of this test alone, gone at its end.
struct LogFile(PathBuf);

impl LogFile {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("overspill-it-{}-{name}.log", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn each_request_is_one_line_of_json_with_the_right_fields() {
    let (log, toys) = (LogFile::new("fields"), [toy("a")]);
    let setup = setup(&[group("ig", NEAR).members(&toys)])
        .proxy(&format!("accessLog: {{path: {}}}", log.0.display()));
    let lb = Lb::start(&setup.text());
    let headers = "user-agent: it \"quoted\"\r\nreferer: http://r/\r\nx-cloud-trace-context: 105445aa7843bc8bf206b12000100000/1;o=1\r\n";
    assert_eq!(lb.client().request("POST", "/p?echo", headers, b"12345").status, 200);
    assert_eq!(lb.get("/a/../b").status, 302);
    lb.client().send("GET / HTTP/1.1\r\n\r\n").answer();
    toys[0].set_health(500);
    lb.wait_health("a", false);
    assert_eq!(lb.get("/").status, 503);
    wait_until("all is written", || log.lines().len() >= 3);
    lb.stop();
    let lines = log.lines();
    let find = |word: &str| {
        let of = |line: &&Value| line["jsonPayload"]["statusDetails"] == word;
        lines.iter().find(of).unwrap_or_else(|| panic!("no line of {word}: {lines:#?}")).clone()
    };
    let served = find("response_sent_by_backend");
    let request = &served["httpRequest"];
    assert_eq!(request["requestMethod"], "POST");
    assert_eq!(request["requestUrl"], "http://test/p?echo");
    assert_eq!(
        (&request["status"], &request["requestSize"], &request["responseSize"]),
        (&200.into(), &"5".into(), &"5".into())
    );
    assert_eq!((&request["userAgent"], &request["referer"]), (&"it \"quoted\"".into(), &"http://r/".into()));
    assert_eq!(request["remoteIp"], "127.0.0.1");
    assert_eq!(request["serverIp"], toys[0].address().ip().to_string());
    assert!(request["latency"].as_str().unwrap().ends_with('s'));
    let labels = &served["resource"]["labels"];
    assert_eq!(
        (&labels["backend_service_name"], &labels["forwarding_rule_name"]),
        (&"web".into(), &"web".into())
    );
    assert_eq!(
        (&labels["target_proxy_name"], &labels["url_map_name"]),
        (&"web-proxy".into(), &"web-map".into())
    );
    let payload = &served["jsonPayload"];
    assert_eq!((&payload["backend"], &payload["member"]), (&"ig".into(), &"a".into()));
    assert_eq!((&payload["spillReason"], &payload["attempts"]), (&"nearest".into(), &1.into()));
    assert_eq!(served["trace"], "105445aa7843bc8bf206b12000100000");
    assert_eq!(served["severity"], "INFO");
    let refused = find("invalid_request_headers");
    assert_eq!((&refused["httpRequest"]["status"], &refused["severity"]), (&400.into(), &"WARNING".into()));
    let unplaced = find("failed_to_pick_backend");
    assert_eq!(
        (&unplaced["httpRequest"]["status"], &unplaced["jsonPayload"]["attempts"]),
        (&503.into(), &0.into())
    );
    // Redirects answered by the balancer are not logged [G 7.8].
    assert_eq!(lines.len(), 3, "{lines:#?}");
}

#[test]
fn every_request_of_many_has_its_line() {
    let (log, toys) = (LogFile::new("many"), [toy("a"), toy("b")]);
    let setup = setup(&[group("ig", NEAR).members(&toys)])
        .proxy(&format!("accessLog: {{path: {}}}", log.0.display()));
    let lb = Lb::start(&setup.text());
    let mut client = lb.client();
    for n in 0..500 {
        client.get(&format!("/{n}"));
    }
    drop(client);
    lb.stop();
    let mut urls: Vec<_> =
        log.lines().iter().map(|line| line["httpRequest"]["requestUrl"].to_string()).collect();
    urls.sort();
    urls.dedup();
    assert_eq!(urls.len(), 500);
    assert_eq!(log.lines().len(), 500);
}
