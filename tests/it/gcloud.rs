//! What gcloud sends, request by request, and what it reads of the answers [G 10b, 10.2a]. tests/clients/gcloud.py runs
//! the real one where there is one.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use overspill::admin::AdminServer;
use overspill::cli::toy::ToyBackend;
use serde_json::{Value, json};

use crate::support::backend::toy;
use crate::support::client::{Answer, Client};
use crate::support::lb::Lb;
use crate::support::setup::NEAR;
use crate::support::wait_until;

/// A balancer that has nothing but its place, and its API.
struct Api {
    lb: Lb,
    admin: AdminServer,
}

impl Api {
    fn new() -> Self {
        let lb = Lb::start(&format!("# nothing yet\nproxy:\n  zone: {NEAR}\n  accessLog: {{path: none}}\n"));
        let admin = lb.admin();
        Self { lb, admin }
    }

    /// Path behind `projects/p/`, as gcloud completes it.
    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mark = if path.contains('?') { '&' } else { '?' };
        let path = format!("/compute/v1/projects/p/{path}{mark}alt=json");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = "content-type: application/json\r\naccept: application/json\r\n";
        let answer = Client::to_admin(self.admin.address()).request(method, &path, headers, body.as_bytes());
        let json = serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()));
        (answer.status, json)
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let (status, found) = self.call("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {found:#}");
        found
    }

    /// A change: done by the time it answers [G 10.3, 12.15], and what it did is looked up.
    #[track_caller]
    fn change(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, operation) = self.call(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {operation:#}");
        assert_eq!((&operation["kind"], &operation["status"]), (&json!("compute#operation"), &json!("DONE")));
        assert!(operation.get("error").is_none(), "{operation:#}");
        let link = operation["targetLink"].as_str().unwrap();
        let (_, target) = link.split_once("/projects/p/").unwrap();
        if method == "DELETE" { operation } else { self.get(target) }
    }

    #[track_caller]
    fn refused(&self, status: u16, method: &str, path: &str, body: &Value) -> String {
        let before = self.lb.store.text();
        let (found, answer) = self.call(method, path, body);
        assert_eq!(found, status, "{method} {path}: {answer:#}");
        assert_eq!(self.lb.store.text(), before, "what is refused changes nothing");
        answer["error"]["message"].as_str().unwrap().to_owned()
    }

    /// A full URL of what stands behind `projects/p/`.
    fn link(&self, path: &str) -> String {
        format!("http://localhost/compute/v1/projects/p/{path}")
    }

    fn group(&self, name: &str) -> String {
        self.link(&format!("zones/{NEAR}/instanceGroups/{name}"))
    }

    /// Groups `ig1` and `ig2` of one machine each, that listen where the toys do; a check; a service `web`.
    fn with_groups(toys: &[ToyBackend; 2]) -> Self {
        let api = Self::new();
        for (i, toy) in (1..).zip(toys) {
            let machine =
                json!({"name": format!("vm{i}"), "networkInterfaces": [{"networkIP": toy.address().ip()}]});
            api.change("POST", &format!("zones/{NEAR}/instances"), &machine);
            let zone = api.get(&format!("zones/{NEAR}"));
            assert_eq!(zone["status"], "UP");
            api.change("POST", &format!("zones/{NEAR}/instanceGroups"), &json!({"name": format!("ig{i}")}));
            let group = format!("zones/{NEAR}/instanceGroups/ig{i}");
            let machine = api.link(&format!("zones/{NEAR}/instances/vm{i}"));
            api.change(
                "POST",
                &format!("{group}/addInstances"),
                &json!({"instances": [{"instance": machine}]}),
            );
            let ports = json!([{"name": "http", "port": toy.address().port()}]);
            let fingerprint = api.get(&group)["fingerprint"].clone();
            let named = json!({"fingerprint": fingerprint, "namedPorts": ports});
            let group = api.change("POST", &format!("{group}/setNamedPorts"), &named);
            assert_eq!((&group["namedPorts"], &group["size"]), (&ports, &json!(1)));
        }
        let check = json!({
            "name": "basic", "type": "HTTP", "checkIntervalSec": 1, "timeoutSec": 1, "unhealthyThreshold": 3,
            "httpHealthCheck": {"portSpecification": "USE_SERVING_PORT", "requestPath": "/healthz", "proxyHeader": "NONE"},
        });
        api.change("POST", "global/healthChecks", &check);
        let service = json!({
            "healthChecks": [api.link("global/healthChecks/basic")], "loadBalancingScheme": "EXTERNAL_MANAGED",
            "name": "web", "portName": "http", "protocol": "HTTP", "timeoutSec": 30,
        });
        api.change("POST", "global/backendServices", &service);
        api
    }

    /// GET, then PUT of all of it with other backends: add-backend, update-backend, remove-backend.
    #[track_caller]
    fn put_backends(&self, backends: &Value) -> Value {
        let mut service = self.get("global/backendServices/web");
        service["backends"] = backends.clone();
        self.change("PUT", "global/backendServices/web", &service)["backends"].clone()
    }

    /// A URL map, a proxy and a forwarding rule before `web`.
    fn front(&self) -> SocketAddr {
        let service = self.link("global/backendServices/web");
        self.change("POST", "global/urlMaps", &json!({"name": "um", "defaultService": service}));
        let proxy =
            json!({"httpKeepAliveTimeoutSec": 100, "name": "tp", "urlMap": self.link("global/urlMaps/um")});
        let proxy = self.change("POST", "global/targetHttpProxies", &proxy);
        assert_eq!(proxy["httpKeepAliveTimeoutSec"], 100);
        let rule = json!({
            "loadBalancingScheme": "EXTERNAL_MANAGED", "name": "fr", "portRange": "0", "target": proxy["selfLink"],
        });
        let rule = self.change("POST", "global/forwardingRules", &rule);
        assert_eq!((&rule["IPProtocol"], &rule["portRange"]), (&json!("TCP"), &json!("0-0")));
        assert_eq!(rule["IPAddress"], "127.0.0.1");
        self.lb.front("fr")
    }
}

#[test]
fn g_10_2a_bodies_of_create_are_understood_and_defaults_filled_in() {
    let api = Api::new();
    api.change(
        "POST",
        "global/httpHealthChecks",
        &json!({"name": "lhc", "requestPath": "/healthz", "port": 80}),
    );
    let web = json!({
        "affinityCookieTtlSec": 86400, "connectionDraining": {"drainingTimeoutSec": 60},
        "healthChecks": [api.link("global/httpHealthChecks/lhc")], "name": "web", "portName": "http",
        "protocol": "HTTP", "sessionAffinity": "GENERATED_COOKIE", "timeoutSec": 30,
    });
    let made = api.change("POST", "global/backendServices", &web);
    for (field, value) in web.as_object().unwrap() {
        assert_eq!(&made[field], value, "{field}");
    }
    assert_eq!(made["loadBalancingScheme"], "EXTERNAL");
    assert_eq!(made["selfLink"], api.link("global/backendServices/web"));
    let numbers = made["id"].as_str().unwrap();
    assert!(numbers.parse::<u64>().is_ok(), "{numbers}");
    let second = json!({
        "customRequestHeaders": ["X-Geo: {client_region}"], "loadBalancingScheme": "EXTERNAL_MANAGED",
        "logConfig": {"enable": true, "sampleRate": 0.5}, "name": "api", "portName": "http2",
        "protocol": "HTTP2", "timeoutSec": 120,
    });
    let made = api.change("POST", "global/backendServices", &second);
    for (field, value) in second.as_object().unwrap() {
        assert_eq!(&made[field], value, "{field}");
    }
    assert_eq!((&made["sessionAffinity"], &made["affinityCookieTtlSec"]), (&json!("NONE"), &json!(0)));
    // Not checked by gcloud [G 10.7].
    assert!(
        api.refused(400, "POST", "global/backendServices", &json!({"name": "bad_name"})).contains("bad_name")
    );
    let message = api.refused(409, "POST", "global/backendServices", &web);
    assert_eq!(message, "The resource 'projects/p/global/backendServices/web' already exists");
}

#[test]
fn g_10b_backends_are_added_changed_and_removed_by_a_put_of_the_whole() {
    let toys = [toy("a"), toy("b")];
    let api = Api::with_groups(&toys);
    let (one, two) = (api.group("ig1"), api.group("ig2"));
    let first = json!({
        "balancingMode": "UTILIZATION", "capacityScaler": 0.5, "group": one, "maxRatePerInstance": 100.0,
        "maxUtilization": 0.8,
    });
    assert_eq!(api.put_backends(&json!([first])), json!([first]));
    // No flag at all: the server fills in.
    let found = api.put_backends(&json!([first, {"group": two}]));
    let filled =
        json!({"balancingMode": "UTILIZATION", "capacityScaler": 1.0, "group": two, "maxUtilization": 0.8});
    assert_eq!(found[1], filled);
    // RATE and nothing else is refused here, not by gcloud.
    let mut wrong = api.get("global/backendServices/web");
    wrong["backends"] = json!([first, {"balancingMode": "RATE", "group": two}]);
    let message = api.refused(400, "PUT", "global/backendServices/web", &wrong);
    assert!(message.contains("resource.backends[1]"), "{message}");
    let drained = json!({
        "balancingMode": "UTILIZATION", "capacityScaler": 0.0, "group": two, "maxUtilization": 0.8,
    });
    assert_eq!(api.put_backends(&json!([first, drained]))[1]["capacityScaler"], 0.0);
    // To RATE: what belongs to the other mode is left out of the PUT [G 10.6].
    let rate = json!([
        {"balancingMode": "RATE", "capacityScaler": 1.0, "group": one, "maxRatePerInstance": 100.0},
        {"balancingMode": "RATE", "capacityScaler": 1.0, "group": two, "maxRate": 50},
    ]);
    assert_eq!(api.put_backends(&rate), rate);
    assert_eq!(api.put_backends(&json!([rate[1]])), json!([rate[1]]));
}

#[test]
fn g_10b_an_update_patches_the_whole_and_clears_with_null_and_empty_lists() {
    let toys = [toy("a"), toy("b")];
    let api = Api::with_groups(&toys);
    let path = "global/backendServices/web";
    let patched = |more: &Value| {
        let mut whole = api.get(path);
        for (key, value) in more.as_object().unwrap() {
            whole[key] = value.clone();
        }
        api.change("PATCH", path, &whole)
    };
    let strong = patched(&json!({
        "sessionAffinity": "STRONG_COOKIE_AFFINITY",
        "strongSessionAffinityCookie": {"name": "S", "ttl": {"seconds": "60"}},
        "customRequestHeaders": ["X-A: b"],
    }));
    assert_eq!(strong["strongSessionAffinityCookie"], json!({"name": "S", "ttl": {"seconds": "60"}}));
    let none = patched(&json!({
        "sessionAffinity": "NONE", "strongSessionAffinityCookie": null, "customRequestHeaders": [],
        "customResponseHeaders": [],
    }));
    assert_eq!(none["sessionAffinity"], "NONE");
    assert!(none.get("strongSessionAffinityCookie").is_none(), "{none:#}");
    assert!(none.get("customRequestHeaders").is_none_or(|list| *list == json!([])), "{none:#}");
    // `--no-enable-logging` leaves the sample rate in what it sends.
    let logged = patched(&json!({"logConfig": {"enable": true, "sampleRate": 0.5}}));
    assert_eq!(logged["logConfig"]["sampleRate"], 0.5);
    let silent = patched(&json!({"logConfig": {"enable": false, "sampleRate": 0.5}}));
    assert_eq!(silent["logConfig"]["enable"], false);
    // An import clears what it lists, whether it is there or not.
    let mut whole = api.get(path);
    for key in
        ["securitySettings", "localityLbPolicy", "circuitBreakers", "consistentHash", "cdnPolicy", "haPolicy"]
    {
        whole[key] = Value::Null;
    }
    whole["localityLbPolicies"] = json!([]);
    whole["timeoutSec"] = json!(77);
    assert_eq!(api.change("PATCH", path, &whole)["timeoutSec"], 77);
    // Of what is not there it learns so, and inserts it.
    api.refused(404, "GET", "global/backendServices/copy", &Value::Null);
    whole["name"] = json!("copy");
    let copy = api.change("POST", "global/backendServices", &whole);
    assert_eq!((&copy["name"], &copy["timeoutSec"]), (&json!("copy"), &json!(77)));
    assert_ne!(copy["id"], whole["id"], "output-only fields of a request say nothing [G 12.8]");
}

#[test]
fn g_10b_an_edit_keeps_what_the_editor_does_not_show() {
    let toys = [toy("a"), toy("b")];
    let api = Api::with_groups(&toys);
    api.put_backends(&json!([{"group": api.group("ig1"), "balancingMode": "RATE", "maxRate": 5}]));
    let path = "global/backendServices/web";
    let more = json!({"sessionAffinity": "CLIENT_IP", "description": "old", "logConfig": {"enable": true}});
    let before = api.change("PATCH", path, &more);
    let mut edited = json!({"name": "web", "timeoutSec": 9});
    for key in ["backends", "healthChecks", "portName", "protocol", "fingerprint"] {
        edited[key] = before[key].clone();
    }
    let mut after = api.change("PUT", path, &edited);
    assert_eq!(after["timeoutSec"], 9);
    assert!(after.get("description").is_none(), "it is shown, and was deleted in the editor: {after:#}");
    for key in ["timeoutSec", "description", "fingerprint"] {
        after[key] = before[key].clone();
    }
    assert_eq!(after, before);
}

#[test]
fn g_10_13_several_are_deleted_in_one_batch() {
    let api = Api::new();
    for name in ["one", "two"] {
        api.change("POST", "global/backendServices", &json!({"name": name}));
    }
    let part = |id: u32, name: &str| {
        format!(
            "--===============7330845974216740156==\r\nContent-Type: application/http\r\nMIME-Version: 1.0\r\n\
             Content-Transfer-Encoding: binary\r\nContent-ID: <9dfe4bc8+{id}>\r\n\r\n\
             DELETE /compute/v1/projects/p/global/backendServices/{name}?alt=json HTTP/1.1\r\n\
             accept: application/json\r\nContent-Length: 0\r\nHost: localhost\r\n\r\n\r\n"
        )
    };
    let body = format!(
        "{}{}{}--===============7330845974216740156==--",
        part(1, "one"),
        part(2, "two"),
        part(3, "none")
    );
    let headers = "content-type: multipart/mixed; boundary=\"===============7330845974216740156==\"\r\n";
    let mut client = Client::to_admin(api.admin.address());
    let answer: Answer = client.request("POST", "/batch/compute/v1", headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("content-type").unwrap().starts_with("multipart/mixed; boundary="));
    let text = answer.text();
    let parts: Vec<&str> = text.split("<response-").skip(1).collect();
    assert_eq!(parts.len(), 3, "{text}");
    for (i, (part, status)) in parts.iter().zip(["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 404"]).enumerate()
    {
        assert!(part.starts_with(&format!("9dfe4bc8+{}>", i + 1)) && part.contains(status), "{part}");
    }
    assert_eq!(api.get("global/backendServices").get("items"), None);
}

#[test]
fn g_10b_members_of_groups_come_and_go() {
    let toys = [toy("a"), toy("b")];
    let api = Api::with_groups(&toys);
    let group = format!("zones/{NEAR}/instanceGroups/ig1");
    let machine = json!({"name": "vm3", "networkInterfaces": [{"networkIP": "127.0.0.1"}]});
    api.change("POST", &format!("zones/{NEAR}/instances"), &machine);
    let third = api.link(&format!("zones/{NEAR}/instances/vm3"));
    let add = json!({"instances": [{"instance": third}]});
    assert_eq!(api.change("POST", &format!("{group}/addInstances"), &add)["size"], 2);
    let (status, found) = api.call("POST", &format!("{group}/listInstances?maxResults=500"), &json!({}));
    assert_eq!((status, &found["items"][1]["instance"]), (200, &json!(third)), "{found:#}");
    assert_eq!(
        (&found["items"][1]["status"], &found["kind"]),
        (&json!("RUNNING"), &json!("compute#instanceGroupsListInstances"))
    );
    assert_eq!(api.change("POST", &format!("{group}/removeInstances"), &add)["size"], 1);
    let missing = json!({"instances": [{"instance": api.link(&format!("zones/{NEAR}/instances/none"))}]});
    let message = api.refused(404, "POST", &format!("{group}/addInstances"), &missing);
    assert_eq!(message, format!("The resource 'projects/p/zones/{NEAR}/instances/none' was not found"));
    // With a stale fingerprint nothing happens [G 12.3].
    let ports = json!({"fingerprint": "AAAAAAAAAAA=", "namedPorts": []});
    api.refused(412, "POST", &format!("{group}/setNamedPorts"), &ports);
}

#[test]
fn g_10b_endpoints_are_attached_listed_and_detached() {
    let api = Api::new();
    let body = json!({"defaultPort": 8080, "name": "neg1", "networkEndpointType": "GCE_VM_IP_PORT"});
    let group = format!("zones/{NEAR}/networkEndpointGroups/neg1");
    api.change("POST", &format!("zones/{NEAR}/networkEndpointGroups"), &body);
    let endpoint = |port: u16| json!({"instance": "vm1", "ipAddress": "10.0.0.1", "port": port});
    let both = json!({"networkEndpoints": [endpoint(8080), endpoint(81)]});
    let (status, operation) = api.call("POST", &format!("{group}/attachNetworkEndpoints"), &both);
    assert_eq!(status, 200, "{operation:#}");
    // It waits always, and then looks [G 10.3].
    let wait = format!("zones/{NEAR}/operations/{}/wait", operation["name"].as_str().unwrap());
    let (status, waited) = api.call("POST", &wait, &Value::Null);
    assert_eq!((status, &waited["status"], &waited["name"]), (200, &json!("DONE"), &operation["name"]));
    assert_eq!(api.get(&group)["size"], 2);
    let list = |query: &str| {
        let (status, found) = api.call("POST", &format!("{group}/listNetworkEndpoints{query}"), &json!({}));
        assert_eq!(status, 200, "{found:#}");
        let items = found["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().map(|item| item["networkEndpoint"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(list("?maxResults=500"), [endpoint(8080), endpoint(81)]);
    assert_eq!(list("?filter=networkEndpoint.port%20eq%2081&maxResults=500"), [endpoint(81)]);
    api.change(
        "POST",
        &format!("{group}/detachNetworkEndpoints"),
        &json!({"networkEndpoints": [endpoint(81)]}),
    );
    assert_eq!(list(""), [endpoint(8080)]);
}

#[test]
fn g_10b_path_matchers_come_by_a_put_and_traffic_follows() {
    let toys = [toy("a"), toy("b")];
    let api = Api::with_groups(&toys);
    api.put_backends(&json!([{"group": api.group("ig1"), "balancingMode": "RATE", "maxRate": 500}]));
    let second = json!({
        "name": "api", "portName": "http", "loadBalancingScheme": "EXTERNAL_MANAGED",
        "healthChecks": [api.link("global/healthChecks/basic")],
        "backends": [{"group": api.group("ig2"), "balancingMode": "RATE", "maxRate": 500}],
    });
    api.change("POST", "global/backendServices", &second);
    let front = api.front();
    let mut map = api.get("global/urlMaps/um");
    let (web, other) = (api.link("global/backendServices/web"), api.link("global/backendServices/api"));
    map["hostRules"] = json!([{"hosts": ["*.ex.com", "ex.com"], "pathMatcher": "pm"}]);
    map["pathMatchers"] = json!([{
        "defaultService": web, "name": "pm",
        "pathRules": [{"paths": ["/api/*"], "service": other}, {"paths": ["/x"], "service": web}],
    }]);
    let changed = api.change("PUT", "global/urlMaps/um", &map);
    assert_eq!((&changed["hostRules"], &changed["pathMatchers"]), (&map["hostRules"], &map["pathMatchers"]));
    let backend = |path: &str| {
        let mut client = Client::to(front);
        client.send(format!("GET {path} HTTP/1.1\r\nhost: ex.com\r\n\r\n"));
        client.answer().backend().to_owned()
    };
    wait_until("both serve", || backend("/api/x") == "b" && backend("/x") == "a");
    let health = json!({"group": api.group("ig1")});
    let found = || api.call("POST", "global/backendServices/web/getHealth", &health).1;
    wait_until("it is found healthy", || found()["healthStatus"][0]["healthState"] == "HEALTHY");
    let status = found()["healthStatus"][0].clone();
    assert_eq!(status["instance"], api.link(&format!("zones/{NEAR}/instances/vm1")));
    assert_eq!(
        (&status["ipAddress"], &status["port"]),
        (&json!(toys[0].address().ip()), &json!(toys[0].address().port()))
    );
    // Nothing goes that is in use [G 12.11].
    for path in ["global/backendServices/api", "global/urlMaps/um", "global/healthChecks/basic"] {
        let message = api.refused(400, "DELETE", path, &Value::Null);
        assert!(
            message.contains(&format!("'projects/p/{path}' is already being used by 'projects/p/")),
            "{message}"
        );
    }
    let (_, unmatched) =
        (api.change("DELETE", "global/forwardingRules/fr", &Value::Null), api.get("global/urlMaps"));
    assert_eq!(unmatched["items"].as_array().unwrap().len(), 1);
}

#[test]
fn g_10_10_lists_are_filtered_here_where_gcloud_does_not() {
    let api = Api::new();
    for name in ["g1", "g2"] {
        api.change("POST", "global/backendServices", &json!({"name": name}));
    }
    let names = |query: &str| {
        let found = api.get(&format!("global/backendServices?{query}"));
        let items = found["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // `--filter=name=g1` and `--filter=name~^g`, W22.
    assert_eq!(names("filter=name+eq+%22.%2A%5Cbg1%5Cb.%2A%22&maxResults=500"), ["g1"]);
    assert_eq!(names("filter=name+eq+%22.%2A%28%5Eg%29.%2A%22&maxResults=500"), ["g1", "g2"]);
    assert_eq!(names("maxResults=1").len(), 1);
    let everywhere =
        "aggregated/backendServices?includeAllScopes=True&maxResults=500&returnPartialSuccess=True";
    let found = api.get(everywhere);
    assert_eq!(found["kind"], "compute#backendServiceAggregatedList");
    assert_eq!(found["items"]["global"]["backendServices"].as_array().unwrap().len(), 2);
    assert_eq!(found["items"]["regions/us-central1"]["warning"]["code"], "NO_RESULTS_ON_PAGE");
    // What `instance-groups list --zones` asks besides.
    let managed =
        api.get(&format!("zones/{NEAR}/instanceGroupManagers?maxResults=500&returnPartialSuccess=True"));
    assert!(managed.get("items").is_none(), "{managed:#}");
    assert_eq!(
        api.get("zones?filter=name+eq+%22.%2A%5Cbus-central1-a%5Cb.%2A%22")["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn g_10_2b_a_fingerprint_comes_back_in_the_other_alphabet() {
    let api = Api::new();
    let mut made = api.change("POST", "global/backendServices", &json!({"name": "web"}));
    let mut differing = 0;
    for timeout in 1..400 {
        let sent = made["fingerprint"].as_str().unwrap();
        let bytes = BASE64_STANDARD.decode(sent).or_else(|_| BASE64_URL_SAFE.decode(sent)).unwrap();
        let other = BASE64_URL_SAFE.encode(&bytes);
        let plain = BASE64_STANDARD.encode(&bytes);
        differing += usize::from(other != plain);
        let body =
            json!({"fingerprint": if timeout % 2 == 0 { other } else { plain }, "timeoutSec": timeout});
        made = api.change("PATCH", "global/backendServices/web", &body);
        if differing == 4 {
            return;
        }
    }
    panic!(
        "one fingerprint in three has a letter that the alphabets write differently, {differing} of 400 had"
    );
}
