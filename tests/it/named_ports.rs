//! Several numbers under one named port: each `ip:port` is a member of its own [G 1.34].

use serde_json::{Value, json};

use crate::support::backend::toy;
use crate::support::client::Client;
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, group, setup};

#[test]
fn g_1_34_each_port_is_probed_counted_and_shown_by_itself() {
    let (one, two) = (toy("one"), toy("two"));
    two.set_health(500);
    let host = one.address().ip();
    let ports = [one.address().port(), two.address().port()];
    let text = setup(&[group("ig", NEAR).mode("balancingMode: RATE, maxRatePerInstance: 100")]).text();
    let named = format!(
        "namedPorts: [{{name: http, port: {}}}, {{name: http, port: {}}}]\n    \
         instances: [{{name: app, ipAddress: {host}}}]",
        ports[0], ports[1]
    );
    let text = text.replace("namedPorts: [{name: http, port: 1}]\n    instances: []", &named);
    let lb = Lb::start(&text);
    let [name_of_one, name_of_two] = ports.map(|port| format!("app:{port}"));
    assert_eq!((lb.is_healthy(&name_of_one), lb.is_healthy(&name_of_two)), (true, false));
    assert_eq!(lb.get("/").backend(), "one");
    // Per instance means per member: two of them.
    assert_eq!(lb.metrics().sum("overspill_backend_capacity", &["ig"]), 200.0);
    two.set_health(200);
    lb.wait_health(&name_of_two, true);
    for _ in 0..10 {
        lb.get("/");
    }
    assert!(one.requests() >= 4 && two.requests() >= 4, "{} {}", one.requests(), two.requests());
    for (name, toy) in [(&name_of_one, &one), (&name_of_two, &two)] {
        let label = format!("member=\"{name}\"");
        lb.wait_sum("overspill_requests_total", &[&label], toy.requests() as f64);
    }

    let admin = lb.admin();
    let status: Value =
        serde_json::from_slice(&Client::to_admin(admin.address()).get("/status").body).unwrap();
    let members = status["services"][0]["backends"][0]["members"].as_array().unwrap();
    let shown: Vec<_> = members.iter().map(|m| (m["name"].clone(), m["address"].clone())).collect();
    let want = ports.map(|port| (json!(format!("app:{port}")), json!(format!("{host}:{port}"))));
    assert_eq!(shown, want);

    let path = "/compute/v1/projects/p/global/backendServices/web/getHealth";
    let body = json!({"group": "ig"}).to_string();
    let headers = "content-type: application/json\r\n";
    let health = Client::to_admin(admin.address()).request("POST", path, headers, body.as_bytes());
    let health: Value = serde_json::from_slice(&health.body).unwrap();
    let health = health["healthStatus"].as_array().unwrap();
    let ports_shown: Vec<_> = health.iter().map(|h| h["port"].clone()).collect();
    assert_eq!(ports_shown, ports.map(|port| json!(port)));
    // Both are of one instance.
    let instance = |h: &Value| h["instance"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert!(health.iter().all(|h| instance(h) == "app" && h["healthState"] == "HEALTHY"), "{health:?}");
}
