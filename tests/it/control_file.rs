//! The API and the configuration file are one truth: a change goes into the file and touches nothing else there, and
//! what is refused touches nothing at all.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use overspill::cli::toy::ToyBackend;
use serde_json::{Value, json};

use crate::support::backend::toy;
use crate::support::client::Client;
use crate::support::{own_address, wait_until};

/// A file as people write them, odd on purpose. `FRONT_IP`, `FRONT_PORT` and the two ports are filled in.
const ODD: &str = r#"# Our edge.   Ask before you touch it.
#   (odd)
proxy:   {zone: us-central1-a,   accessLog: {path: none}}   # where we are


forwardingRules:   # the front
- name:   front
  "IPAddress":   FRONT_IP
  portRange:  'FRONT_PORT'
  target: tp
targetHttpProxies: [ {name: tp, urlMap: um} ]
urlMaps:
    -   name: um
        # everything goes there
        defaultService: web

backendServices:
# the one that earns the money
- name: web
  protocol: HTTP   # plain behind us
  timeoutSec: &slow 30     # seconds
  description: >-
    two lines
    that are one
  portName: http
  healthChecks: [ basic ]
  backends:
      - {group: ig1, balancingMode: RATE, maxRate: 100,   capacityScaler: 1.0}   # near
      -   group: ig2
          balancingMode: RATE
          maxRate: 100
- name: shadow
  timeoutSec: *slow
  healthChecks: [basic]

instanceGroups:
  - name: ig1
    zone: us-central1-a
    namedPorts: &ports
      - {name: http, port: 1}
    instances: [{name: a, ipAddress: IP_A, ports: {http: PORT_A}}]
  - name: ig2
    zone: us-central1-b
    namedPorts: *ports
    instances:
    - name: b
      ipAddress: IP_B
      ports:
        http: PORT_B

healthChecks:
- name: basic
  checkIntervalSec: 5	# a tab before this one
  timeoutSec: 5
  type: HTTP
  httpHealthCheck: {portSpecification: USE_SERVING_PORT, requestPath: "/healthz"}
# the end
"#;

/// A running `overspill serve`; killed when dropped.
struct Served {
    child: Child,
    file: PathBuf,
    front: SocketAddr,
    admin: SocketAddr,
}

impl Served {
    fn start(name: &str, toys: [&ToyBackend; 2]) -> Self {
        let (front, admin) = (own_address(), own_address());
        let folder = std::env::temp_dir().join(format!("overspill-it-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("overspill.yaml");
        std::fs::write(&file, odd(front, toys)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_overspill"))
            .args(["serve", "-c", file.to_str().unwrap(), "--admin", &admin.to_string(), "--workers", "2"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let served = Self { child, file, front, admin };
        wait_until("it is ready", || {
            let up = std::net::TcpStream::connect(served.admin).is_ok();
            up && Client::to_admin(served.admin).get("/readyz").status == 200
        });
        served
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }

    /// As editors write: a new file in the old one's place.
    fn replace(&self, text: &str) {
        let aside = self.file.with_extension("new");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(&aside, &self.file).unwrap();
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let path = format!("/compute/v1/projects/p/global/{path}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = "content-type: application/json\r\n";
        let answer = Client::to_admin(self.admin).request(method, &path, headers, body.as_bytes());
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    #[track_caller]
    fn patch(&self, path: &str, body: &Value) {
        let (status, answer) = self.call("PATCH", path, body);
        assert_eq!((status, &answer["status"]), (200, &json!("DONE")), "{answer:#}");
    }

    fn generation(&self) -> String {
        let page = Client::to_admin(self.admin).get("/metrics").text();
        page.lines().find(|line| line.starts_with("overspill_config_generation ")).unwrap().to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(self.file.parent().unwrap());
    }
}

fn odd(front: SocketAddr, toys: [&ToyBackend; 2]) -> String {
    let text = ODD.replace("FRONT_IP", &front.ip().to_string());
    let text = text.replace("FRONT_PORT", &front.port().to_string());
    let [a, b] = toys.map(ToyBackend::address);
    let text = text.replace("IP_A", &a.ip().to_string()).replace("IP_B", &b.ip().to_string());
    text.replace("PORT_A", &a.port().to_string()).replace("PORT_B", &b.port().to_string())
}

/// The lines of the one that the other has not, both ways.
fn difference(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (before.lines().collect(), after.lines().collect());
    let gone = before.lines().filter(|line| !new.contains(line)).map(str::to_owned).collect();
    let come = after.lines().filter(|line| !old.contains(line)).map(str::to_owned).collect();
    (gone, come)
}

#[test]
fn one_field_that_is_changed_leaves_every_other_line_as_it_was() {
    let (a, b) = (toy("a"), toy("b"));
    let served = Served::start("lines", [&a, &b]);
    wait_until("both serve", || {
        let got: BTreeSet<_> =
            (0..8).map(|_| Client::to(served.front).get("/").backend().to_owned()).collect();
        got.len() == 2
    });
    let changed = |path: &str, body: &Value, gone: &[&str], come: &[&str]| {
        let before = served.text();
        served.patch(path, body);
        let after = served.text();
        assert_eq!(before.lines().count() + come.len() - gone.len(), after.lines().count(), "{after}");
        let (was, is) = difference(&before, &after);
        assert_eq!(
            (was, is),
            (gone.iter().map(|s| (*s).to_owned()).collect(), come.iter().map(|s| (*s).to_owned()).collect())
        );
    };
    let web = served.call("GET", "backendServices/web", &Value::Null).1;
    // A value in the middle of comments.
    changed(
        "healthChecks/basic",
        &json!({"checkIntervalSec": 7}),
        &["  checkIntervalSec: 5\t# a tab before this one"],
        &["  checkIntervalSec: 7\t# a tab before this one"],
    );
    // One backend of a list that is written in two styles.
    let mut backends = web["backends"].clone();
    backends[0]["capacityScaler"] = json!(0.0);
    let near = |scaler: &str| {
        format!(
            "      - {{group: ig1, balancingMode: RATE, maxRate: 100,   capacityScaler: {scaler}}}   # near"
        )
    };
    let (full, none) = (near("1.0"), near("0.0"));
    served.patch("backendServices/web", &json!({"backends": backends}));
    let drained = served.text();
    assert!(drained.contains(&none) && !drained.contains(&full), "{drained}");
    wait_until("only b serves", || (0..20).all(|_| Client::to(served.front).get("/").backend() == "b"));
    backends[0]["capacityScaler"] = json!(1.0);
    served.patch("backendServices/web", &json!({"backends": backends}));
    // Fields that are new, and gone again.
    let before = served.text();
    served.patch("urlMaps/um", &json!({"description": "ours"}));
    let (was, is) = difference(&before, &served.text());
    assert_eq!((was, is.len()), (Vec::new(), 1), "{}", served.text());
    served.patch("urlMaps/um", &json!({"description": null}));
    assert_eq!(served.text(), before);
    // An echo of all that was read is no change.
    for path in ["backendServices/web", "urlMaps/um", "healthChecks/basic"] {
        let (_, whole) = served.call("GET", path, &Value::Null);
        let (status, answer) = served.call("PUT", path, &whole);
        assert_eq!(status, 200, "{answer:#}");
        assert_eq!(served.text(), before, "{path}");
    }
    // A resource that is new, and gone again.
    let (status, answer) = served.call(
        "POST",
        "healthChecks",
        &json!({"name": "more", "type": "TCP", "tcpHealthCheck": {"port": 80}}),
    );
    assert_eq!(status, 200, "{answer:#}");
    let (was, _) = difference(&before, &served.text());
    assert_eq!(was, Vec::<String>::new());
    assert_eq!(served.call("DELETE", "healthChecks/more", &Value::Null).0, 200);
    assert_eq!(served.text(), before);
}

#[test]
fn an_anchor_that_others_share_still_serves_them_what_they_had() {
    let (a, b) = (toy("a"), toy("b"));
    let served = Served::start("anchor", [&a, &b]);
    let shadow = || served.call("GET", "backendServices/shadow", &Value::Null).1;
    let before = shadow();
    assert_eq!((&before["timeoutSec"], &before["protocol"]), (&json!(30), &json!("HTTP")), "{before:#}");
    served.patch("backendServices/web", &json!({"timeoutSec": 44}));
    assert_eq!(served.call("GET", "backendServices/web", &Value::Null).1["timeoutSec"], 44);
    let after = shadow();
    assert_eq!(after["timeoutSec"], 30, "{}", served.text());
    assert_eq!(after["fingerprint"], before["fingerprint"]);
}

#[test]
fn what_is_refused_leaves_the_file_and_what_serves_untouched() {
    let (a, b) = (toy("a"), toy("b"));
    let served = Served::start("refused", [&a, &b]);
    let (text, generation) = (served.text(), served.generation());
    let number = || std::fs::metadata(&served.file).unwrap().modified().unwrap();
    let written = number();
    let backends = served.call("GET", "backendServices/web", &Value::Null).1["backends"].clone();
    let scaled = |scaler: f64| {
        let mut backends = backends.clone();
        backends[0]["capacityScaler"] = json!(scaler);
        json!({"backends": backends})
    };
    let mut lone = scaled(0.0);
    lone["backends"].as_array_mut().unwrap().truncate(1);
    let web = "backendServices/web";
    for (path, body, field) in [
        // W12 to W16.
        (web, scaled(0.05), "resource.backends[0].capacityScaler"),
        (web, lone, "resource.backends[0].capacityScaler"),
        (web, json!({"timeoutSec": 0}), "resource.timeoutSec"),
        (web, json!({"timeoutSec": 2_147_483_648_u64}), "resource.timeoutSec"),
        (
            web,
            json!({"affinityCookieTtlSec": 1_209_601, "sessionAffinity": "GENERATED_COOKIE"}),
            "resource.affinityCookieTtlSec",
        ),
        ("healthChecks/basic", json!({"timeoutSec": 6}), "resource.timeoutSec"),
        (web, json!({"colour": "blue"}), "resource.colour"),
    ] {
        let (status, answer) = served.call("PATCH", path, &body);
        assert_eq!(status, 400, "{body}: {answer:#}");
        let error = &answer["error"]["errors"][0];
        assert_eq!((&error["reason"], &error["domain"]), (&json!("invalid"), &json!("global")));
        assert_eq!(error["location"], field, "{answer:#}");
        assert!(error["message"].as_str().unwrap().contains(field), "{answer:#}");
        assert_eq!(
            (served.text(), served.generation(), number()),
            (text.clone(), generation.clone(), written)
        );
    }
    // W15, the other side of it.
    served.patch(web, &json!({"affinityCookieTtlSec": 1_209_600, "sessionAffinity": "GENERATED_COOKIE"}));
    assert_ne!(served.generation(), generation);
}

#[test]
fn an_edit_of_the_file_at_the_same_moment_is_not_lost() {
    let (a, b) = (toy("a"), toy("b"));
    let served = Served::start("both", [&a, &b]);
    for round in 1..=10 {
        // Nobody has read the edit when the change comes.
        let edited = served.text().replace("# the end\n", &format!("# edit {round}\n# the end\n"));
        let edited =
            edited.replace(&format!("maxRate: {}\n", 99 + round), &format!("maxRate: {}\n", 100 + round));
        served.replace(&edited);
        served.patch("urlMaps/um", &json!({"description": format!("change {round}")}));
        let text = served.text();
        for round in 1..=round {
            assert!(text.contains(&format!("# edit {round}\n")), "{text}");
        }
        assert!(text.contains(&format!("change {round}")), "{text}");
        let rate = &served.call("GET", "backendServices/web", &Value::Null).1["backends"][1]["maxRate"];
        assert_eq!(*rate, json!(100 + round), "the edit serves too");
    }
    // While the file is broken nothing is changed, and the edit stays to be mended.
    let good = served.text();
    let broken = good.replace("targetHttpProxies: [", "targetHttpProxies: {");
    served.replace(&broken);
    let (status, answer) = served.call("PATCH", "urlMaps/um", &json!({"description": "no"}));
    assert_eq!(status, 409, "{answer:#}");
    assert_eq!(served.text(), broken);
    served.replace(&good);
    served.patch("urlMaps/um", &json!({"description": "mended"}));
}

#[test]
fn a_quiet_log_still_tells_who_changed_what_and_that_others_may_read_a_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let (a, b) = (toy("a"), toy("b"));
    let (front, admin) = (own_address(), own_address());
    let folder = std::env::temp_dir().join(format!("overspill-it-{}-quiet", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (file, log) = (folder.join("overspill.yaml"), folder.join("log"));
    std::fs::write(&file, odd(front, [&a, &b])).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_overspill"))
        .args(["serve", "-c", file.to_str().unwrap(), "--admin", &admin.to_string(), "--workers", "1"])
        .env("OVERSPILL_LOG", "off")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let served = Served { child, file, front, admin };
    wait_until("it is ready", || {
        let up = std::net::TcpStream::connect(served.admin).is_ok();
        up && Client::to_admin(served.admin).get("/readyz").status == 200
    });
    let certificate = json!({"name": "c", "certificate": include_str!("../../config/tls/localhost.pem"),
        "privateKey": include_str!("../../config/tls/localhost.key")});
    let (status, answer) = served.call("POST", "sslCertificates", &certificate);
    assert_eq!(status, 200, "{answer:#}");
    wait_until("the change and the warning are told", || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.contains("changed through the admin API")
            && log.contains("a private key went into a file that others may read")
    });
    served.patch("urlMaps/um", &json!({"description": "no key"}));
    wait_until("the next change is told", || std::fs::read_to_string(&log).unwrap().contains("no key"));
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("others may read").count(), 1, "{log}");
}
