//! The commands against a small server in memory, which records what it is asked: sequences of [G 10b], bodies of [G 10.2a].
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use clap::Parser as _;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::admin::AdminServer;
use crate::cli::args::{Arguments, Command as Top};
use crate::cli::toy::{self, ToyBackend};
use crate::engine::start::{Overrides, start};
use crate::source::store::Store;

/// What stands in answers instead of the address.
const P: &str = "/compute/v1/projects/local";
/// The kind of all that the small server answers.
const KIND: &str = "compute#thing";

#[derive(Default)]
struct Kept {
    /// Resources by path.
    resources: BTreeMap<String, Value>,
    /// `METHOD path` → status and body, instead of what the server would do.
    said: BTreeMap<String, (u16, Value)>,
    /// `METHOD path?query body`, in order.
    seen: Vec<(String, Value)>,
}

/// A small compute server.
struct Fake {
    admin: Admin,
    address: String,
    kept: Arc<Mutex<Kept>>,
}

/// What a command left behind.
struct Ran {
    out: String,
    notes: String,
    /// The error's text.
    error: Option<String>,
    /// Requests, `…` for the server's address, bodies only where there are some.
    requests: Vec<String>,
    bodies: Vec<Value>,
}

impl Fake {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (theirs, host) = (Arc::clone(&kept), address.clone());
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (kept, host) = (Arc::clone(&theirs), host.clone());
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(|request| {
                        answer(request, Arc::clone(&kept), host.clone())
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { admin: Admin::parse(&address).unwrap(), address, kept }
    }

    /// Keeps a resource under a path below the project.
    fn keep(&self, path: &str, resource: Value) {
        let path = format!("{P}/{path}");
        let resource = finished(&self.address, &path, resource);
        self.kept.lock().unwrap().resources.insert(path, resource);
    }

    fn kept(&self, path: &str) -> Option<Value> {
        self.kept.lock().unwrap().resources.get(&format!("{P}/{path}")).cloned()
    }

    /// Answers one request otherwise.
    fn say(&self, request: &str, status: u16, body: Value) {
        self.kept.lock().unwrap().said.insert(request.to_owned(), (status, body));
    }

    async fn run(&self, line: &str) -> Ran {
        self.kept.lock().unwrap().seen.clear();
        let words = std::iter::once("overspill".to_owned()).chain(words(line));
        let Top::Compute(asked) =
            Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).command
        else {
            panic!("{line} is no such command")
        };
        let (session, result) = asked.on(&self.admin).await;
        let seen = self.kept.lock().unwrap().seen.clone();
        // What the server adds to each of its answers, and a client echoes.
        let shorten = |text: String| {
            let text =
                text.replace(&format!("\"kind\":\"{KIND}\","), "").replace(&format!("kind: {KIND}\n"), "");
            text.replace(&format!("http://{}{P}", self.address), "…").replace(P, "…")
        };
        Ran {
            out: shorten(session.out),
            notes: shorten(session.notes),
            error: result.err().map(|fault| fault.to_string()),
            requests: seen.iter().map(|(request, _)| shorten(request.clone())).collect(),
            bodies: seen
                .into_iter()
                .filter(|(_, body)| !body.is_null())
                .map(|(_, body)| serde_json::from_str(&shorten(body.to_string())).unwrap())
                .collect(),
        }
    }

    /// The last body that a command sent.
    async fn body(&self, line: &str) -> Value {
        let mut ran = self.run(line).await;
        assert_eq!(ran.error, None, "{line}");
        ran.bodies.pop().unwrap()
    }
}

/// Words of a line; what stands between single quotes is one.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted, mut was_quoted) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (is_quoted, was_quoted) = (!is_quoted, true),
            ' ' if !is_quoted => {
                if !word.is_empty() || was_quoted {
                    words.push(std::mem::take(&mut word));
                }
                was_quoted = false;
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() || was_quoted {
        words.push(word);
    }
    words
}

fn finished(address: &str, path: &str, mut resource: Value) -> Value {
    resource["selfLink"] = format!("http://{address}{path}").into();
    resource["id"] = "123".into();
    resource["fingerprint"] = "3MAw/S/hHTE=".into();
    resource
}

async fn answer(
    request: Request<Incoming>,
    kept: Arc<Mutex<Kept>>,
    address: String,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let path = parts.uri.path_and_query().unwrap().to_string();
    let mut kept = kept.lock().unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let json = |status: u16, value: &Value| {
        Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .body(Full::from(value.to_string()))
            .unwrap()
    };
    if path == "/batch/compute/v1" {
        assert!(parts.headers["content-type"].to_str().unwrap().starts_with("multipart/mixed; boundary="));
        let mut reply = String::new();
        for part in text.split("--===============overspill==\r\n").skip(1) {
            let (head, inner) = part.split_once("\r\n\r\n").unwrap();
            let id = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-ID: <"))
                .unwrap()
                .trim_end_matches('>');
            let mut line = inner.split_whitespace();
            let (method, path) = (line.next().unwrap(), line.next().unwrap());
            let body = inner.split_once("\r\n\r\n").unwrap().1.lines().next().unwrap_or_default();
            let body = serde_json::from_str(body).unwrap_or_default();
            let (status, value) = act(&mut kept, &address, ("BATCH ", method), path, body);
            reply += &format!(
                "--xx\r\nContent-Type: application/http\r\nContent-ID: <response-{id}>\r\n\r\nHTTP/1.1 {status} X\r\n\
                 content-type: application/json\r\n\r\n{value}\r\n"
            );
        }
        let kind = "multipart/mixed; boundary=xx";
        return Ok(Response::builder()
            .header("content-type", kind)
            .body(Full::from(reply + "--xx--\r\n"))
            .unwrap());
    }
    let body = serde_json::from_str(&text).unwrap_or_default();
    let (status, value) = act(&mut kept, &address, ("", parts.method.as_str()), &path, body);
    Ok(json(status, &value))
}

fn act(
    kept: &mut Kept,
    address: &str,
    (prefix, method): (&str, &str),
    full: &str,
    body: Value,
) -> (u16, Value) {
    kept.seen.push((format!("{prefix}{method} {full}"), body.clone()));
    let (status, mut value) = acted(kept, address, (method, full), body);
    if status == 200 && value.is_object() {
        let name = value["name"].as_str().unwrap_or_default().to_owned();
        if full.starts_with("/v1/") && !name.starts_with("projects/") {
            value["name"] = format!("projects/local/{name}").into();
        } else if value["kind"].is_null() {
            value["kind"] = KIND.into();
        }
    }
    (status, value)
}

fn acted(kept: &mut Kept, address: &str, (method, full): (&str, &str), body: Value) -> (u16, Value) {
    let path = full.split('?').next().unwrap();
    if let Some(said) = kept.said.get(&format!("{method} {path}").replace(P, "…")) {
        return said.clone();
    }
    let missing = || {
        let message = format!("The resource '{}' was not found", path.trim_start_matches("/compute/v1/"));
        (404, json!({"error": {"code": 404, "message": message}}))
    };
    let below = |collection: &str| -> Vec<Value> {
        let is_in =
            |path: &str| path.rsplit_once('/').is_some_and(|(parent, _)| parent.ends_with(collection));
        kept.resources.iter().filter(|(path, _)| is_in(path)).map(|(_, resource)| resource.clone()).collect()
    };
    let mut target = path.to_owned();
    match method {
        "GET" => {
            if let Some(collection) = path.strip_prefix(&format!("{P}/aggregated/")) {
                return (200, json!({"items": {"global": {collection: below(&format!("/{collection}"))}}}));
            }
            let last = path.rsplit('/').next().unwrap();
            let is_list = ["zones", "regions", "operations", "instances"].contains(&last)
                || last.contains(|c: char| c.is_ascii_uppercase());
            return match kept.resources.get(path) {
                Some(resource) => (200, resource.clone()),
                None if is_list => (200, json!({"items": below(path)})),
                None => missing(),
            };
        }
        "POST" if path.contains("/operations/") => {}
        "POST" if body["name"].is_string() || full.contains("serviceLbPolicyId=") => {
            let name =
                body["name"].as_str().or(full.split_once("serviceLbPolicyId=").map(|(_, id)| id)).unwrap();
            target = format!("{path}/{name}");
            let resource = finished(address, &target, body.clone());
            kept.resources.insert(target.clone(), resource);
        }
        "PUT" => {
            kept.resources.insert(target.clone(), finished(address, path, body));
        }
        "PATCH" => {
            let Some(resource) = kept.resources.get_mut(path) else { return missing() };
            for (key, value) in body.as_object().unwrap() {
                resource[key] = value.clone();
            }
        }
        "DELETE" if kept.resources.remove(path).is_none() => return missing(),
        _ => {}
    }
    (
        200,
        json!({"kind": "compute#operation", "name": "op-1", "status": "DONE", "targetLink": format!("http://{address}{target}")}),
    )
}

#[test]
fn words_of_a_line_are_told_apart() {
    assert_eq!(words("a 'b c' '' d"), ["a", "b c", "", "d"]);
}

async fn with_web() -> Fake {
    let fake = Fake::start().await;
    fake.keep("global/backendServices/web", json!({"name": "web", "protocol": "HTTP", "timeoutSec": 30}));
    fake
}

const IG1: &str = "…/zones/z/instanceGroups/ig1";

/// A service with one backend of the given fields.
async fn with_backend(mut backend: Value) -> Fake {
    let fake = Fake::start().await;
    backend["group"] = format!("http://{}{P}/zones/z/instanceGroups/ig1", fake.address).into();
    fake.keep(
        "global/backendServices/web",
        json!({"name": "web", "protocol": "HTTP", "backends": [backend]}),
    );
    fake
}

#[tokio::test]
async fn create_posts_what_gcloud_posts_and_reads_it_back() {
    let fake = Fake::start().await;
    let ran = fake
        .run(
            "backend-services create web --http-health-checks lhc --global --session-affinity generated_cookie \
             --affinity-cookie-ttl 86400 --connection-draining-timeout 60",
        )
        .await;
    assert_eq!(ran.error, None);
    assert_eq!(ran.requests, ["POST …/global/backendServices", "GET …/global/backendServices/web"]);
    assert_eq!(
        ran.bodies[0],
        json!({"affinityCookieTtlSec": 86400, "connectionDraining": {"drainingTimeoutSec": 60},
            "healthChecks": ["…/global/httpHealthChecks/lhc"], "name": "web", "portName": "http", "protocol": "HTTP",
            "sessionAffinity": "GENERATED_COOKIE", "timeoutSec": 30})
    );
    assert_eq!(ran.notes, "Created […/global/backendServices/web].\n");
    assert_eq!(ran.out, "NAME  BACKENDS  PROTOCOL\nweb             HTTP\n");

    let body = fake
        .body(
            "backend-services create api --load-balancing-scheme external-managed --protocol http2 --timeout 2m --enable-logging \
             --logging-sample-rate 0.5 --custom-request-header 'X-Geo: {client_region}' --global",
        )
        .await;
    assert_eq!(
        body,
        json!({"customRequestHeaders": ["X-Geo: {client_region}"], "loadBalancingScheme": "EXTERNAL_MANAGED",
            "logConfig": {"enable": true, "sampleRate": 0.5}, "name": "api", "portName": "http2", "protocol": "HTTP2",
            "timeoutSec": 120})
    );
    let body = fake
        .body("backend-services create r --region us-east1 --health-checks hc --custom-metrics name=m")
        .await;
    assert_eq!(
        body,
        json!({"name": "r", "protocol": "HTTP", "timeoutSec": 30, "customMetrics": [{"name": "m"}],
            "healthChecks": ["…/regions/us-east1/healthChecks/hc"]})
    );
}

#[tokio::test]
async fn update_patches_the_whole_object_with_nulls_for_what_is_cleared() {
    let fake = with_web().await;
    let ran = fake.run("backend-services update web --global --session-affinity none").await;
    let web = "…/global/backendServices/web";
    assert_eq!(ran.requests, [format!("GET {web}"), format!("PATCH {web}"), format!("GET {web}")]);
    let whole = json!({"name": "web", "protocol": "HTTP", "timeoutSec": 30, "selfLink": web, "id": "123",
        "fingerprint": "3MAw/S/hHTE=", "sessionAffinity": "NONE", "strongSessionAffinityCookie": null,
        "customRequestHeaders": [], "customResponseHeaders": []});
    assert_eq!(ran.bodies[0], whole);
    assert_eq!((ran.out.as_str(), ran.notes.as_str()), ("", "Updated […/global/backendServices/web].\n"));

    let strong =
        "--session-affinity strong_cookie_affinity --affinity-cookie-name S --affinity-cookie-ttl 60";
    let body = fake.body(&format!("backend-services update web --global {strong}")).await;
    assert_eq!(body["strongSessionAffinityCookie"], json!({"name": "S", "ttl": {"seconds": "60"}}));
    let body = fake
        .body("backend-services update web --global --session-affinity http_cookie --affinity-cookie-name H")
        .await;
    assert_eq!(body["consistentHash"], json!({"httpCookie": {"name": "H"}}));
    let body = fake
        .body(
            "backend-services update web --global --no-health-checks --no-service-lb-policy --description ''",
        )
        .await;
    assert_eq!(
        (&body["healthChecks"], &body["serviceLbPolicy"], &body["description"]),
        (&json!([]), &Value::Null, &Value::Null)
    );
    assert!(body.as_object().unwrap().contains_key("serviceLbPolicy"));

    let nothing = fake.run("backend-services update web --global").await;
    assert_eq!(nothing.error.unwrap(), "At least one property must be modified.");
    assert_eq!(nothing.requests, Vec::<String>::new());
    let alone = fake
        .run("backend-services update web --global --session-affinity client_ip --affinity-cookie-name x")
        .await;
    assert!(
        alone
            .error
            .unwrap()
            .starts_with("Invalid value for [--affinity-cookie-name]: cannot be set with CLIENT_IP")
    );
}

#[tokio::test]
async fn add_backend_puts_the_whole_object() {
    let fake = with_web().await;
    let add = "backend-services add-backend web --global --instance-group ig1 --instance-group-zone z";
    let ran = fake
        .run(&format!("{add} --balancing-mode UTILIZATION --max-utilization 0.8 --max-rate-per-instance 100 --capacity-scaler 0.5"))
        .await;
    let web = "…/global/backendServices/web";
    assert_eq!(ran.requests, [format!("GET {web}"), format!("PUT {web}"), format!("GET {web}")]);
    let sent = ran.bodies[0].to_string();
    assert!(sent.contains("\"maxRatePerInstance\":100.0"), "{sent}");
    assert_eq!(
        ran.bodies[0]["backends"],
        json!([{"balancingMode": "UTILIZATION", "capacityScaler": 0.5, "group": IG1, "maxRatePerInstance": 100.0,
            "maxUtilization": 0.8}])
    );
    assert_eq!(
        (&ran.bodies[0]["fingerprint"], &ran.bodies[0]["id"]),
        (&json!("3MAw/S/hHTE="), &json!("123"))
    );
    let again = fake.run(add).await;
    assert_eq!(again.error.unwrap(), "Backend [ig1] in zone [z] already exists in backend service [web].");

    for (flags, backend) in [
        ("", json!({"group": "…/zones/z/instanceGroups/ig2"})),
        (" --balancing-mode rate", json!({"balancingMode": "RATE", "group": "…/zones/z/instanceGroups/ig2"})),
    ] {
        let fake = with_web().await;
        let add = "backend-services add-backend web --global --instance-group ig2 --instance-group-zone z";
        assert_eq!(fake.body(&format!("{add}{flags}")).await["backends"], json!([backend]));
    }
}

#[tokio::test]
async fn the_client_refuses_what_gcloud_refuses() {
    let fake = with_backend(json!({"balancingMode": "RATE", "maxRate": 10})).await;
    let ig = "--global --instance-group ig1 --instance-group-zone z";
    let neg = "--global --network-endpoint-group n --network-endpoint-group-zone z";
    for (line, message) in [
        (
            format!("update-backend web {ig} --max-utilization 0.8"),
            "Invalid value for [--max-utilization]: cannot be set with RATE balancing mode",
        ),
        (
            format!("add-backend web {neg} --balancing-mode utilization"),
            "Invalid value for [--network-endpoint-group]: cannot be set with UTILIZATION balancing mode",
        ),
        (
            format!("add-backend web {neg} --max-rate-per-instance 1"),
            "Invalid value for [--max-rate-per-instance]: cannot be set with --network-endpoint-group",
        ),
        (
            format!("add-backend web {ig} --max-rate-per-endpoint 1"),
            "Invalid value for [--max-rate-per-endpoint]: cannot be set with --instance-group",
        ),
        (
            "update-backend web --global --instance-group ig9 --instance-group-zone z --max-rate 3"
                .to_owned(),
            "No backend with name [ig9] in zone [z] is part of the backend service [web].",
        ),
        (
            "remove-backend web --global --instance-group ig2 --instance-group-zone z".to_owned(),
            "Backend [ig2] in zone [z] is not a backend of backend service [web].",
        ),
        (format!("update-backend web {ig}"), "At least one property must be modified."),
        (
            "describe x".to_owned(),
            "Underspecified resource [x]. Specify one of the [--global, --region] flags.",
        ),
        (
            "remove-backend web --global --instance-group ig1".to_owned(),
            "Underspecified resource [ig1]. Specify one of the [--instance-group-region, --instance-group-zone] flags.",
        ),
    ] {
        let ran = fake.run(&format!("backend-services {line}")).await;
        assert_eq!(ran.error.as_deref(), Some(message), "{line}");
        assert!(!ran.requests.iter().any(|request| request.starts_with("PUT")), "{line}");
    }
    let neg = "backend-services add-backend web --global --network-endpoint-group n --network-endpoint-group-zone z";
    assert_eq!(
        fake.body(&format!("{neg} --balancing-mode rate --max-rate-per-endpoint 5")).await["backends"][1]["maxRatePerEndpoint"],
        5.0
    );
}

#[test]
fn what_excludes_each_other_or_is_no_choice_is_a_usage_error() {
    for line in [
        "backend-services update-backend web --instance-group a --network-endpoint-group b",
        "backend-services update-backend web --instance-group a --max-rate 1 --max-connections 1",
        "backend-services update-backend web --instance-group a --balancing-mode speed",
        "backend-services update-backend web --instance-group a --capacity-scaler 1.5",
        "backend-services update-backend web",
        "backend-services describe web --global --region r",
        "backend-services create web --protocol gopher",
        "backend-services create web --timeout 0.5s",
        "backend-services create web --connection-draining-timeout 2h",
        "backend-services list --format xml",
        "backend-services",
        "backend-services fly",
        "health-checks create",
        "health-checks create http hc --port 1 --use-serving-port",
        "forwarding-rules create fr --global --ports 80",
        "instances create a --zone z",
        "network-endpoint-groups update n --zone z",
        "service-lb-policies create p --location mars",
    ] {
        let error = Arguments::try_parse_from(std::iter::once("overspill".to_owned()).chain(words(line)))
            .unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}: {error}");
    }
}

#[tokio::test]
async fn update_backend_clears_what_the_new_mode_has_no_use_for() {
    let all = json!({"balancingMode": "UTILIZATION", "maxUtilization": 0.8, "maxRate": 9, "maxInFlightRequests": 4,
        "maxConnections": 3, "capacityScaler": 1.0, "description": "d"});
    let update = "backend-services update-backend web --global --instance-group ig1 --instance-group-zone z";
    for (flags, expected) in [
        ("--capacity-scaler 0", {
            let mut same = all.clone();
            same["capacityScaler"] = json!(0.0);
            same
        }),
        (
            "--balancing-mode rate",
            json!({"balancingMode": "RATE", "maxRate": 9, "capacityScaler": 1.0, "description": "d"}),
        ),
        (
            "--balancing-mode connection --max-connections-per-instance 7",
            json!({"balancingMode": "CONNECTION", "maxConnectionsPerInstance": 7, "capacityScaler": 1.0, "description": "d"}),
        ),
        (
            "--balancing-mode in-flight --description ''",
            json!({"balancingMode": "IN_FLIGHT", "maxUtilization": 0.8, "maxInFlightRequests": 4, "capacityScaler": 1.0}),
        ),
        (
            "--max-rate-per-instance 50 --preference preferred --traffic-duration short",
            json!({"balancingMode": "UTILIZATION", "maxUtilization": 0.8, "maxRatePerInstance": 50.0, "capacityScaler": 1.0,
                "description": "d", "preference": "PREFERRED", "trafficDuration": "SHORT"}),
        ),
    ] {
        let fake = with_backend(all.clone()).await;
        let mut body = fake.body(&format!("{update} {flags}")).await;
        let mut backend = body["backends"][0].take();
        assert_eq!(backend["group"].take(), IG1);
        flag::drop_nulls(&mut backend);
        assert_eq!(backend, expected, "{flags}");
    }
    let fake = with_backend(all.clone()).await;
    let body = fake
        .body("backend-services remove-backend web --global --instance-group zones/z/instanceGroups/ig1")
        .await;
    assert_eq!(body.get("backends"), None);
}

#[tokio::test]
async fn describe_prints_yaml_and_errors_are_those_of_the_server() {
    let fake = with_web().await;
    let ran = fake.run("backend-services describe web --global").await;
    assert_eq!(
        ran.out,
        "fingerprint: 3MAw/S/hHTE=\nid: '123'\nname: web\nprotocol: HTTP\nselfLink: …/global/backendServices/web\ntimeoutSec: 30\n"
    );
    let ran = fake.run("backend-services describe web --global --format 'value(name,timeoutSec)'").await;
    assert_eq!(ran.out, "web\t30\n");
    let ran = fake.run("backend-services describe nope --global").await;
    assert_eq!(
        ran.error.unwrap(),
        "Could not fetch resource:\n - The resource 'projects/local/global/backendServices/nope' was not found\n"
    );
    let ran = fake
        .run("backend-services describe projects/local/global/backendServices/web --format 'value(name)'")
        .await;
    assert_eq!(ran.out, "web\n");
    let ran = fake.run("url-maps delete global/backendServices/web -q").await;
    assert_eq!(
        ran.error.unwrap(),
        "[global/backendServices/web] is a resource of backendServices, not of urlMaps."
    );
    assert_eq!(ran.requests, Vec::<String>::new());
    let away = Admin::parse("127.0.0.1:1").unwrap();
    let Top::Compute(asked) = Arguments::try_parse_from(["overspill", "zones", "list"]).unwrap().command
    else {
        panic!()
    };
    let (_, result) = asked.on(&away).await;
    assert!(result.unwrap_err().to_string().starts_with("no answer from 127.0.0.1:1"));
}

#[tokio::test]
async fn list_asks_for_all_places_and_filters_here_or_for_one_and_lets_the_server_filter() {
    let fake = with_web().await;
    fake.keep("regions/r/backendServices/api", json!({"name": "api", "protocol": "TCP"}));
    let all =
        "GET …/aggregated/backendServices?includeAllScopes=True&maxResults=500&returnPartialSuccess=True";
    let ran = fake.run("backend-services list --filter protocol=TCP").await;
    assert_eq!(
        (ran.requests, ran.out.as_str()),
        (vec![all.to_owned()], "NAME  BACKENDS  PROTOCOL\napi             TCP\n")
    );
    let ran = fake.run("backend-services list --sort-by name --limit 1 --format 'value(name)'").await;
    assert_eq!((ran.requests, ran.out.as_str()), (vec![all.to_owned()], "api\n"));
    let ran = fake.run("backend-services list --sort-by=~name --format json").await;
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()[0]["name"], "web");
    let ran = fake.run("backend-services list --global --filter name=web --limit 3").await;
    let filtered = "GET …/global/backendServices?filter=name%20eq%20%22.%2A%5Cbweb%5Cb.%2A%22&maxResults=3";
    assert_eq!(ran.requests, [filtered]);
    let ran = fake.run("backend-services list --regions r --filter 'name=a OR name=api'").await;
    assert_eq!(ran.requests, ["GET …/regions/r/backendServices?maxResults=500"]);
    let ran = fake.run("url-maps list").await;
    assert_eq!((ran.out.as_str(), ran.notes.as_str()), ("", "Listed 0 items.\n"));
    fake.say(
        "GET …/aggregated/urlMaps",
        200,
        json!({"items": {"global": {"urlMaps": [{"name": "a"}]}}, "nextPageToken": "t"}),
    );
    fake.say(
        "GET …/aggregated/healthChecks",
        200,
        json!({"items": {"global": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}}),
    );
    assert_eq!(fake.run("health-checks list").await.notes, "Listed 0 items.\n");
    assert_eq!(fake.run("zones list").await.requests, ["GET …/zones?maxResults=500"]);
    assert_eq!(
        fake.run("http-health-checks list").await.requests,
        ["GET …/global/httpHealthChecks?maxResults=500"]
    );
}

#[tokio::test]
async fn one_is_deleted_by_delete_and_several_in_a_batch() {
    let fake = with_web().await;
    fake.keep("global/backendServices/api", json!({"name": "api"}));
    fake.keep("global/backendServices/old", json!({"name": "old"}));
    let ran = fake.run("backend-services delete old --global --quiet").await;
    assert_eq!(ran.requests, ["DELETE …/global/backendServices/old"]);
    assert_eq!(ran.notes, "Deleted […/global/backendServices/old].\n");
    let ran = fake.run("backend-services delete web nope api --global -q").await;
    let path = "BATCH DELETE …/global/backendServices";
    assert_eq!(ran.requests, [format!("{path}/web"), format!("{path}/nope"), format!("{path}/api")]);
    assert_eq!(
        ran.notes,
        "Deleted […/global/backendServices/web].\nDeleted […/global/backendServices/api].\n"
    );
    let expected = "Some requests did not succeed:\n - The resource 'projects/local/global/backendServices/nope' was not found\n";
    assert_eq!(ran.error.unwrap(), expected);
    assert_eq!(
        (fake.kept("global/backendServices/web"), fake.kept("global/backendServices/api")),
        (None, None)
    );
}

#[tokio::test]
async fn an_operation_that_is_open_is_waited_for_and_its_error_told() {
    let fake = with_web().await;
    fake.say("PATCH …/global/backendServices/web", 200, json!({"name": "op-7", "status": "RUNNING"}));
    let ran = fake.run("backend-services update web --global --timeout 40").await;
    assert_eq!(ran.requests[2..], ["POST …/global/operations/op-7/wait", "GET …/global/backendServices/web"]);
    let error = json!({"status": "DONE", "error": {"errors": [{"message": "no"}, {"message": "never"}]}});
    fake.say("POST …/global/operations/op-7/wait", 200, error);
    let ran = fake.run("backend-services update web --global --timeout 40").await;
    assert_eq!(ran.error.unwrap(), "Could not fetch resource:\n - no\n - never\n");
}

#[tokio::test]
async fn get_health_asks_for_each_backend() {
    let fake = with_backend(json!({})).await;
    let health = json!({"kind": "compute#backendServiceGroupHealth", "healthStatus": [
        {"healthState": "HEALTHY", "ipAddress": "127.0.0.1", "port": 8081, "instance": "http://a/instances/www-1"}]});
    fake.say("POST …/global/backendServices/web/getHealth", 200, health);
    for scope in ["--global", ""] {
        let ran = fake.run(&format!("backend-services get-health web {scope}")).await;
        assert_eq!(
            ran.requests,
            ["GET …/global/backendServices/web", "POST …/global/backendServices/web/getHealth"]
        );
        assert_eq!(ran.bodies, [json!({"group": IG1})]);
        assert_eq!(
            ran.out,
            "---\nbackend: …/zones/z/instanceGroups/ig1\nstatus:\n  healthStatus:\n  - healthState: HEALTHY\n    \
             instance: http://a/instances/www-1\n    ipAddress: 127.0.0.1\n    port: 8081\n  \
             kind: compute#backendServiceGroupHealth\n"
        );
    }
}

async fn asked(admin: &Admin, name: &str) -> Result<String, Fault> {
    let words = ["overspill", "backend-services", "get-health", name];
    let Top::Compute(asked) = Arguments::try_parse_from(words).unwrap().command else { panic!() };
    let (session, result) = asked.on(admin).await;
    result.map(|()| session.out)
}

async fn raw(admin: &AdminServer, head: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(admin.address()).await.unwrap();
    stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_running_proxy_tells_health_status_and_metrics() {
    let toy = ToyBackend::start(toy::Options::new("a")).unwrap();
    let port = toy.address().port().to_string();
    let arguments = ["overspill", "run", "--listen", "127.0.0.1:0", "--workers", "1", &port];
    let Top::Run(run) = Arguments::try_parse_from(arguments).unwrap().command else { panic!() };
    let text = super::super::run::document(&run).unwrap();
    let handle = start(text.clone(), Path::new("test"), Overrides::default()).await.unwrap();
    let store = Store::in_memory(handle.clone(), Path::new("test"), text);
    let server = AdminServer::start(handle.clone(), store, ([127, 0, 0, 1], 0).into()).await.unwrap();
    handle.ready().await;
    let admin = Admin::parse(&server.address().to_string()).unwrap();

    let health = asked(&admin, "web").await.unwrap();
    assert!(health.contains("/zones/us-central1-a/instanceGroups/ig-us-central1-a\n"), "{health}");
    assert!(
        health.contains("  - healthState: HEALTHY\n") && health.contains(&format!("port: {port}\n")),
        "{health}"
    );
    let unknown = asked(&admin, "nope").await.unwrap_err().to_string();
    assert!(unknown.contains("backendServices/nope' was not found"), "{unknown}");

    let words = json!({"request": "GET http://shop.test/", "clientIp": "192.0.2.1"});
    let explained = admin.ask(Method::POST, "/explain", &words).await.unwrap();
    assert_eq!(explained["outcome"]["address"], format!("127.0.0.1:{port}"), "{explained:#}");
    assert_eq!(explained["outcome"]["reason"], "nearest");
    let refused = admin.ask(Method::POST, "/explain", &json!({"request": "no such request"})).await;
    assert!(
        matches!(refused, Err(crate::cli::client::Failure::Refused(why)) if why.contains("no request such as"))
    );

    assert!(raw(&server, "GET /readyz HTTP/1.1\r\nhost: localhost").await.starts_with("HTTP/1.1 200"));
    let metrics = raw(&server, "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1").await;
    assert!(
        metrics.contains("text/plain; version=0.0.4") && metrics.contains("\noverspill_ready 1\n"),
        "{metrics}"
    );
    assert!(raw(&server, "GET / HTTP/1.1\r\nhost: localhost").await.contains("<title>Overspill</title>"));
    let stranger = raw(&server, "GET /status HTTP/1.1\r\nhost: evil.example").await;
    assert!(stranger.starts_with("HTTP/1.1 403"), "{stranger}");
    let nothing = raw(&server, "GET /nothing HTTP/1.1\r\nhost: localhost").await;
    assert!(nothing.starts_with("HTTP/1.1 404") && nothing.contains("\"reason\":\"notFound\""), "{nothing}");
    let long = "POST /compute/v1/projects/p/global/backendServices/web/getHealth HTTP/1.1\r\nhost: localhost\r\n\
                content-length: 1048577";
    assert!(raw(&server, long).await.starts_with("HTTP/1.1 413"));
    drop(server);
    handle.stop().await;
}

#[tokio::test]
async fn export_leaves_out_what_only_the_server_sets_and_import_clears_what_the_file_does_not_say() {
    let fake = with_web().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.yaml").display().to_string();
    let ran = fake.run(&format!("backend-services export web --global --destination {path}")).await;
    assert_eq!(
        (ran.requests.as_slice(), ran.error),
        (&["GET …/global/backendServices/web".to_owned()][..], None)
    );
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("fingerprint: 3MAw/S/hHTE=\nname: web\nprotocol: HTTP\nselfLink: "), "{text}");

    let import = format!("backend-services import web --global --source {path} -q");
    assert_eq!(fake.run(&import).await.requests, ["GET …/global/backendServices/web"]);
    std::fs::write(&path, "name: web\nprotocol: HTTPS\ncustomRequestHeaders: ['a: b']\n").unwrap();
    let ran = fake.run(&import).await;
    let web = "…/global/backendServices/web";
    assert_eq!(ran.requests, [format!("GET {web}"), format!("PATCH {web}"), format!("GET {web}")]);
    assert_eq!(
        ran.bodies[0],
        json!({"name": "web", "protocol": "HTTPS", "id": "123", "fingerprint": "3MAw/S/hHTE=", "securitySettings": null,
            "localityLbPolicy": null, "circuitBreakers": null, "consistentHash": null, "cdnPolicy": null, "haPolicy": null,
            "localityLbPolicies": [], "customRequestHeaders": ["a: b"], "customResponseHeaders": []})
    );
    let ran = fake.run(&format!("url-maps import new --source {path} -q")).await;
    assert_eq!(
        ran.requests,
        ["GET …/global/urlMaps/new", "POST …/global/urlMaps", "GET …/global/urlMaps/new"]
    );
    std::fs::write(&path, "a: [").unwrap();
    assert!(fake.run(&import).await.error.unwrap().starts_with("Unable to parse ["));
    assert!(
        fake.run("url-maps import m --source /nothing/there")
            .await
            .error
            .unwrap()
            .starts_with("Unable to read file [")
    );
}

#[tokio::test]
async fn edit_sends_the_editable_fields_and_nothing_else() {
    let fake = with_backend(json!({"balancingMode": "RATE", "maxRate": 10})).await;
    let matches = |line: &str| {
        let words = std::iter::once("overspill".to_owned()).chain(words(line));
        let Top::Compute(asked) = Arguments::try_parse_from(words).unwrap().command else { panic!() };
        asked.matches
    };
    let matches = matches("backend-services edit web --global -q");
    let edit = async |format: Option<Format>, editor: &dyn Fn(&str) -> Result<String, String>| {
        fake.kept.lock().unwrap().seen.clear();
        let mut session = Session::new(&fake.admin, "local".to_owned());
        (session.format, session.is_quiet) = (format, true);
        let sheet = backend_services::SHEET;
        let result = edit::run(&mut session, &kind::BACKEND_SERVICES, sheet, &matches, editor).await;
        let seen = fake.kept.lock().unwrap().seen.clone();
        (result.map_err(|fault| fault.to_string()), seen)
    };
    let (result, seen) = edit(None, &|text| Ok(text.to_owned())).await;
    assert_eq!((result.unwrap_err().as_str(), seen.len()), ("Edit aborted by user.", 1));

    let (result, seen) = edit(None, &|text| {
        assert!(
            text.starts_with("# You can edit the resource below.")
                && text.contains("\n#   customRequestHeaders:\n"),
            "{text}"
        );
        assert!(text.contains("\nprotocol: HTTP\n") && text.contains("\n#   selfLink: "), "{text}");
        Ok(text.replacen("maxRate: 10\n", "maxRate: 20\n", 1).replacen(
            "\nprotocol",
            "\nhealthChecks: [hc]\nprotocol",
            1,
        ))
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(seen[1].0, format!("PUT {P}/global/backendServices/web"));
    let host = format!("http://{}{P}", fake.address);
    assert_eq!(
        seen[1].1,
        json!({"name": "web", "fingerprint": "3MAw/S/hHTE=", "protocol": "HTTP",
            "healthChecks": [format!("{host}/global/healthChecks/hc")],
            "backends": [{"balancingMode": "RATE", "maxRate": 20, "group": format!("{host}/zones/z/instanceGroups/ig1")}]})
    );
    let (result, _) =
        edit(Some(Format::Json), &|text| Ok(text.replacen("\"maxRate\": 20", "\"maxRate\": 30", 1))).await;
    assert_eq!(result, Ok(()));
    for (change, problem) in [
        (("protocol: HTTP\n", "protocol: [\n"), "There was a problem parsing your changes: "),
        (
            ("protocol: HTTP\n", "timeout: 3\n"),
            "There was a problem parsing your changes: `timeout` is no field",
        ),
        (
            ("group: http", "group: ig1 # "),
            "There was a problem applying your changes: [group] must be referenced using URIs.",
        ),
    ] {
        let (result, _) = edit(None, &|text| Ok(text.replacen(change.0, change.1, 1))).await;
        let why = result.unwrap_err();
        assert!(why.starts_with(problem), "{why}");
    }
}

#[tokio::test]
async fn health_checks_are_posted_with_their_defaults_and_put_whole() {
    let fake = Fake::start().await;
    let body = fake.body("health-checks create http hc").await;
    assert_eq!(
        body,
        json!({"checkIntervalSec": 5, "timeoutSec": 5, "healthyThreshold": 2, "unhealthyThreshold": 2, "type": "HTTP",
            "name": "hc", "httpHealthCheck": {"port": 80, "portSpecification": "USE_FIXED_PORT", "proxyHeader": "NONE",
            "requestPath": "/"}})
    );
    let own = async |line: &str, field: &str| {
        fake.body(&format!("health-checks create {line}")).await[field].take()
    };
    assert_eq!(
        own("https a --use-serving-port --check-interval 1m", "httpsHealthCheck").await,
        json!({"portSpecification": "USE_SERVING_PORT", "proxyHeader": "NONE", "requestPath": "/"})
    );
    assert_eq!(
        own("tcp b --port 81 --request hi --proxy-header proxy-v1", "tcpHealthCheck").await,
        json!({"port": 81, "portSpecification": "USE_FIXED_PORT", "proxyHeader": "PROXY_V1", "request": "hi"})
    );
    assert_eq!(
        own("grpc c --port 50051 --grpc-service-name s", "grpcHealthCheck").await,
        json!({"grpcServiceName": "s", "port": 50051, "portSpecification": "USE_FIXED_PORT"})
    );
    assert!(
        fake.run("health-checks create grpc d")
            .await
            .error
            .unwrap()
            .contains("--use-serving-port must be set")
    );
    let ran = fake
        .run("health-checks update http hc --request-path /x --use-serving-port --no-enable-logging")
        .await;
    let hc = "…/global/healthChecks/hc";
    assert_eq!(ran.requests, [format!("GET {hc}"), format!("PUT {hc}"), format!("GET {hc}")]);
    assert_eq!(
        ran.bodies[0]["httpHealthCheck"],
        json!({"portSpecification": "USE_SERVING_PORT", "proxyHeader": "NONE", "requestPath": "/x"})
    );
    assert_eq!(ran.bodies[0]["logConfig"], json!({"enable": false}));
    for (line, why) in [
        ("http hc", "At least one property must be modified."),
        ("http hc --timeout 0", "Invalid value for [--timeout]: must be between 1 and 300 seconds"),
        (
            "http hc --healthy-threshold 11",
            "Invalid value for [--healthy-threshold]: must be between 1 and 10 times",
        ),
        ("tcp hc --port 1", "update tcp subcommand applied to health check with protocol HTTP"),
    ] {
        assert_eq!(fake.run(&format!("health-checks update {line}")).await.error.unwrap(), why);
    }
    // What create refuses is the server's to say.
    assert_eq!(
        fake.body("health-checks create http e --timeout 6 --healthy-threshold 11 --port 70000").await["timeoutSec"],
        6
    );
}

#[tokio::test]
async fn health_checks_of_the_older_kinds_are_flat() {
    let fake = Fake::start().await;
    let legacy = fake.body("http-health-checks create lhc --host h").await;
    assert_eq!(
        legacy,
        json!({"checkIntervalSec": 5, "timeoutSec": 5, "healthyThreshold": 2, "unhealthyThreshold": 2, "name": "lhc",
            "port": 80, "requestPath": "/", "host": "h"})
    );
    let ran = fake.run("http-health-checks update lhc --port 81").await;
    assert_eq!(
        (ran.requests[1].as_str(), &ran.bodies[0]["port"]),
        ("PUT …/global/httpHealthChecks/lhc", &json!(81))
    );
    assert_eq!(fake.body("https-health-checks create s").await["port"], 443);
}

#[tokio::test]
async fn groups_and_their_members_are_changed_by_verbs() {
    let fake = Fake::start().await;
    fake.keep("zones/z", json!({"name": "z"}));
    let ig = "…/zones/z/instanceGroups/ig1";
    let ran = fake.run("instance-groups unmanaged create ig1 --zone z").await;
    assert_eq!(ran.requests, ["GET …/zones/z", "POST …/zones/z/instanceGroups", &format!("GET {ig}")]);
    assert_eq!(ran.bodies, [json!({"name": "ig1"})]);
    assert_eq!(
        ran.out,
        "NAME  LOCATION  SCOPE   NETWORK  MANAGED  INSTANCES\nig1   global    global           No\n"
    );
    for words in ["instance-groups unmanaged", "instance-groups"] {
        let ran =
            fake.run(&format!("{words} set-named-ports ig1 --zone z --named-ports web:8080,http:80")).await;
        assert_eq!(
            ran.requests,
            [format!("GET {ig}"), format!("POST {ig}/setNamedPorts"), format!("GET {ig}")]
        );
        let ports = json!([{"name": "web", "port": 8080}, {"name": "http", "port": 80}]);
        assert_eq!(ran.bodies, [json!({"fingerprint": "3MAw/S/hHTE=", "namedPorts": ports})]);
    }
    let ran = fake.run("instance-groups unmanaged add-instances ig1 --zone z --instances vm1,vm2").await;
    assert_eq!(ran.requests, [format!("POST {ig}/addInstances"), format!("GET {ig}")]);
    let vm = |name: &str| json!({"instance": format!("…/zones/z/instances/{name}")});
    assert_eq!(ran.bodies, [json!({"instances": [vm("vm1"), vm("vm2")]})]);
    assert_eq!(ran.notes, format!("Updated [{ig}].\n"));
    let body = fake.body("instance-groups unmanaged remove-instances ig1 --zone z --instances vm1").await;
    assert_eq!(body, json!({"instances": [vm("vm1")]}));
    let members = json!({"items": [{"instance": "http://h/zones/z/instances/vm1", "status": "RUNNING"}]});
    fake.say("POST …/zones/z/instanceGroups/ig1/listInstances", 200, members);
    let ran = fake.run("instance-groups list-instances ig1 --zone z --filter status=RUNNING").await;
    assert_eq!(
        (ran.requests, ran.bodies),
        (vec![format!("POST {ig}/listInstances?maxResults=500")], vec![json!({})])
    );
    assert_eq!(ran.out, "NAME  STATUS\nvm1   RUNNING\n");
    fake.keep(
        "zones/z/instanceGroups/ig2",
        json!({"name": "ig2", "namedPorts": [{"name": "http", "port": 80}]}),
    );
    assert_eq!(fake.run("instance-groups get-named-ports ig2 --zone z").await.out, "NAME  PORT\nhttp  80\n");
    let why = |line: &'static str| async { fake.run(line).await.error.unwrap() };
    let place = "Underspecified resource [ig1]. Specify";
    assert_eq!(why("instance-groups unmanaged describe ig1").await, format!("{place} the [--zone] flag."));
    assert_eq!(
        why("instance-groups describe ig1").await,
        format!("{place} one of the [--region, --zone] flags.")
    );
    assert!(
        why("instance-groups set-named-ports ig1 --zone z --named-ports web").await.contains("NAME:PORT")
    );

    for flag in ["--address", "--private-network-ip"] {
        let body = fake.body(&format!("instances create vm1 --zone z {flag} 10.0.0.1")).await;
        assert_eq!(body, json!({"name": "vm1", "networkInterfaces": [{"networkIP": "10.0.0.1"}]}));
    }
    assert_eq!(
        fake.run("instances list --zones z").await.out,
        "NAME  ZONE  INTERNAL_IP  STATUS\nvm1         10.0.0.1\n"
    );
}

#[tokio::test]
async fn endpoints_are_attached_and_the_operation_always_waited_for() {
    let fake = Fake::start().await;
    let neg = "…/zones/z/networkEndpointGroups/neg1";
    let body = fake.body("network-endpoint-groups create neg1 --zone z --default-port 8080").await;
    assert_eq!(body, json!({"defaultPort": 8080, "name": "neg1", "networkEndpointType": "GCE_VM_IP_PORT"}));
    let endpoint = "instance=vm1,ip=10.0.0.1,port=8080";
    let ran =
        fake.run(&format!("network-endpoint-groups update neg1 --zone z --add-endpoint {endpoint}")).await;
    let wait = "POST …/zones/z/operations/op-1/wait".to_owned();
    assert_eq!(
        ran.requests,
        [format!("POST {neg}/attachNetworkEndpoints"), wait.clone(), format!("GET {neg}")]
    );
    let sent = json!({"networkEndpoints": [{"instance": "vm1", "ipAddress": "10.0.0.1", "port": 8080}]});
    assert_eq!(ran.bodies[0], sent);
    assert_eq!(ran.notes, "Attaching 1 endpoints to [neg1].\n");
    let ran =
        fake.run(&format!("network-endpoint-groups update neg1 --zone z --remove-endpoint {endpoint}")).await;
    assert_eq!(ran.requests[..2], [format!("POST {neg}/detachNetworkEndpoints"), wait]);
    let bad = fake.run("network-endpoint-groups update neg1 --zone z --add-endpoint address=1").await;
    assert!(bad.error.unwrap().starts_with("Invalid value for [--add-endpoint]: valid keys are"));
    fake.say(
        "POST …/zones/z/networkEndpointGroups/neg1/listNetworkEndpoints",
        200,
        json!({"items": [{"networkEndpoint": {"ipAddress": "10.0.0.1", "port": 81}}]}),
    );
    let ran = fake
        .run("network-endpoint-groups list-network-endpoints neg1 --zone z --filter networkEndpoint.port=81")
        .await;
    let query = "filter=networkEndpoint.port%20eq%2081&maxResults=500";
    assert_eq!(ran.requests, [format!("POST {neg}/listNetworkEndpoints?{query}")]);
    assert_eq!(
        ran.out,
        "INSTANCE  IP_ADDRESS  IPV6_ADDRESS  PORT  FQDN  CLIENT_DESTINATION_PORT\n          10.0.0.1                  81\n"
    );
    let body = fake
        .body("network-endpoint-groups create far --global --network-endpoint-type internet-fqdn-port")
        .await;
    assert_eq!(body, json!({"name": "far", "networkEndpointType": "INTERNET_FQDN_PORT"}));
}

#[tokio::test]
async fn url_maps_are_put_whole_and_leave_no_orphans() {
    let fake = Fake::start().await;
    let map = "…/global/urlMaps/m";
    let service = |name: &str| json!(format!("…/global/backendServices/{name}"));
    let body = fake.body("url-maps create m --default-service web --global").await;
    assert_eq!(body, json!({"defaultService": service("web"), "name": "m"}));
    let add = "url-maps add-path-matcher m --path-matcher-name pm --default-service web";
    let rules = "--backend-service-path-rules '/b=web,/api/*=api,/a=web'";
    let ran = fake.run(&format!("{add} --new-hosts ex.com,*.ex.com {rules}")).await;
    assert_eq!(ran.requests, [format!("GET {map}"), format!("PUT {map}"), format!("GET {map}")]);
    assert_eq!(ran.bodies[0]["hostRules"], json!([{"hosts": ["*.ex.com", "ex.com"], "pathMatcher": "pm"}]));
    assert_eq!(
        ran.bodies[0]["pathMatchers"],
        json!([{"defaultService": service("web"), "name": "pm", "pathRules": [
            {"paths": ["/api/*"], "service": service("api")}, {"paths": ["/a", "/b"], "service": service("web")}]}])
    );
    let why = fake.run(&format!("{add} --new-hosts ex.com")).await.error.unwrap();
    assert!(why.starts_with("Cannot create a new host rule with host [ex.com]"), "{why}");
    let body = fake.body("url-maps add-host-rule m --hosts b.com,a.com --path-matcher-name pm").await;
    assert_eq!(body["hostRules"][1], json!({"hosts": ["a.com", "b.com"], "pathMatcher": "pm"}));
    let body = fake.body("url-maps remove-host-rule m --host a.com").await;
    assert_eq!(body["hostRules"].as_array().unwrap().len(), 1);
    let why = fake.run("url-maps remove-host-rule m --host ex.com").await.error.unwrap();
    assert!(why.starts_with("This operation will orphan the path matcher [pm]."), "{why}");
    assert!(
        fake.run("url-maps remove-host-rule m --host x")
            .await
            .error
            .unwrap()
            .starts_with("No host rule contains")
    );
    let existing =
        "url-maps add-path-matcher m --path-matcher-name new --default-service web --existing-host ex.com";
    let body = fake.body(&format!("{existing} --delete-orphaned-path-matcher")).await;
    assert_eq!(body["hostRules"][0]["pathMatcher"], "new");
    assert_eq!(body["pathMatchers"], json!([{"defaultService": service("web"), "name": "new"}]));
    let body = fake.body("url-maps remove-path-matcher m --path-matcher-name new").await;
    assert_eq!((body.get("hostRules"), body.get("pathMatchers")), (None, None));
    let why = fake.run("url-maps remove-path-matcher m --path-matcher-name new").await.error.unwrap();
    assert_eq!(why, "No path matcher with the name [new] was found.");
    let body = fake.body("url-maps set-default-service m --default-service api").await;
    assert_eq!(body["defaultService"], service("api"));

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "name: other\ndefaultService: global/backendServices/web\n").unwrap();
    let result = json!({"result": {"loadSucceeded": true, "testPassed": true}});
    fake.say("POST …/global/urlMaps/other/validate", 200, result);
    let source = file.path().display();
    let ran = fake
        .run(&format!("url-maps validate --source {source} --load-balancing-scheme external-managed"))
        .await;
    assert_eq!(ran.requests, ["POST …/global/urlMaps/other/validate"]);
    let resource = json!({"name": "other", "defaultService": "global/backendServices/web"});
    assert_eq!(ran.bodies, [json!({"resource": resource, "loadBalancingSchemes": ["EXTERNAL_MANAGED"]})]);
    assert_eq!(ran.out, "result:\n  loadSucceeded: true\n  testPassed: true\n");
}

#[tokio::test]
async fn proxies_are_patched_whole_or_by_a_verb_for_each_field() {
    let fake = Fake::start().await;
    let body = fake.body("target-http-proxies create tp --url-map m --http-keep-alive-timeout-sec 100").await;
    assert_eq!(body, json!({"httpKeepAliveTimeoutSec": 100, "name": "tp", "urlMap": "…/global/urlMaps/m"}));
    let ran =
        fake.run("target-http-proxies update tp --url-map m2 --clear-http-keep-alive-timeout-sec").await;
    let tp = "…/global/targetHttpProxies/tp";
    assert_eq!(ran.requests, [format!("GET {tp}"), format!("PATCH {tp}"), format!("GET {tp}")]);
    assert_eq!(
        ran.bodies[0],
        json!({"name": "tp", "id": "123", "fingerprint": "3MAw/S/hHTE=", "selfLink": tp, "urlMap": "…/global/urlMaps/m2",
            "httpKeepAliveTimeoutSec": null})
    );
    let certificates = json!(["…/global/sslCertificates/c1", "…/global/sslCertificates/c2"]);
    let body = fake.body("target-https-proxies create ts --url-map m --ssl-certificates c1,c2").await;
    assert_eq!(body, json!({"name": "ts", "sslCertificates": certificates, "urlMap": "…/global/urlMaps/m"}));
    assert_eq!(
        fake.run("target-https-proxies list").await.out,
        "NAME  SSL_CERTIFICATES  URL_MAP\nts    c1,c2             m\n"
    );
    let body = fake.body("target-ssl-proxies create tss --backend-service web --ssl-certificates c1").await;
    let service = "…/global/backendServices/web";
    assert_eq!(
        body,
        json!({"name": "tss", "proxyHeader": "NONE", "service": service, "sslCertificates": [certificates[0]]})
    );
    let tss = "…/global/targetSslProxies/tss";
    let ran = fake.run("target-ssl-proxies update tss --backend-service web2").await;
    assert_eq!(ran.requests, [format!("POST {tss}/setBackendService"), format!("GET {tss}")]);
    assert_eq!(ran.bodies, [json!({"service": "…/global/backendServices/web2"})]);
    fake.body("target-tcp-proxies create ttt --backend-service web").await;
    let ran = fake.run("target-tcp-proxies update ttt --backend-service web2 --proxy-header PROXY_V1").await;
    let verb = "BATCH POST …/global/targetTcpProxies/ttt";
    assert_eq!(ran.requests, [format!("{verb}/setProxyHeader"), format!("{verb}/setBackendService")]);
    assert_eq!(ran.bodies[0], json!({"proxyHeader": "PROXY_V1"}));
    assert!(fake.run("target-tcp-proxies update ttt").await.error.unwrap().starts_with("At least one"));
}

#[tokio::test]
async fn a_forwarding_rule_is_posted_with_its_scheme() {
    let fake = Fake::start().await;
    let body = fake.body("forwarding-rules create fr --global --target-http-proxy tp --ports 80").await;
    let target = "…/global/targetHttpProxies/tp";
    assert_eq!(
        body,
        json!({"loadBalancingScheme": "EXTERNAL", "name": "fr", "portRange": "80", "target": target})
    );
    let line =
        "forwarding-rules create f2 --global --target-tcp-proxy t --port-range 1-9 --address 127.0.0.1";
    let body = fake.body(&format!("{line} --load-balancing-scheme external-managed")).await;
    assert_eq!(
        body,
        json!({"IPAddress": "127.0.0.1", "loadBalancingScheme": "EXTERNAL_MANAGED", "name": "f2", "portRange": "1-9",
            "target": "…/global/targetTcpProxies/t"})
    );
    let ran = fake.run("forwarding-rules set-target fr --global --target-http-proxy tp2").await;
    let fr = "…/global/forwardingRules/fr";
    assert_eq!(ran.requests, [format!("POST {fr}/setTarget"), format!("GET {fr}")]);
    assert_eq!(ran.bodies, [json!({"target": "…/global/targetHttpProxies/tp2"})]);
    let list = fake.run("forwarding-rules list --global").await;
    assert!(
        list.out.starts_with("NAME  REGION  IP_ADDRESS  IP_PROTOCOL  TARGET\nf2            127.0.0.1"),
        "{}",
        list.out
    );
    assert!(
        fake.run("forwarding-rules create x --target-http-proxy tp --ports 1")
            .await
            .error
            .unwrap()
            .starts_with("Underspecified")
    );
    assert!(
        fake.run("forwarding-rules create x --global --target-http-proxy t --ports 1,2")
            .await
            .error
            .is_some()
    );
}

#[tokio::test]
async fn certificates_and_policies_are_sent_as_gcloud_sends_them() {
    let fake = Fake::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("cert"), "CERT\n").unwrap();
    std::fs::write(file("key"), "KEY\n").unwrap();
    let line =
        format!("ssl-certificates create c1 --certificate {} --private-key {}", file("cert"), file("key"));
    let ran = fake.run(&line).await;
    assert_eq!(ran.bodies, [json!({"certificate": "CERT\n", "name": "c1", "privateKey": "KEY\n"})]);
    assert!(!format!("{}{}", ran.out, ran.notes).contains("KEY"));

    let ran = fake.run("ssl-policies create sp --profile modern --min-tls-version 1.2").await;
    let wait = "POST …/global/operations/op-1/wait".to_owned();
    assert_eq!(
        ran.requests,
        ["POST …/global/sslPolicies".to_owned(), wait.clone(), "GET …/global/sslPolicies/sp".to_owned()]
    );
    assert_eq!(ran.bodies[0], json!({"minTlsVersion": "TLS_1_2", "name": "sp", "profile": "MODERN"}));
    let ran = fake.run("ssl-policies update sp --profile CUSTOM --custom-features A,B").await;
    let sp = "…/global/sslPolicies/sp";
    assert_eq!(ran.requests, [format!("GET {sp}"), format!("PATCH {sp}"), wait, format!("GET {sp}")]);
    assert_eq!(
        ran.bodies[0],
        json!({"customFeatures": ["A", "B"], "fingerprint": "3MAw/S/hHTE=", "profile": "CUSTOM"})
    );

    let ran = fake.run("service-lb-policies create p --location global --auto-capacity-drain --load-balancing-algorithm spray-to-region").await;
    let base = "/v1/projects/local/locations/global/serviceLbPolicies";
    assert_eq!(ran.error, None);
    assert_eq!(ran.requests, [format!("POST {base}?serviceLbPolicyId=p"), format!("GET {base}/p")]);
    assert_eq!(
        ran.bodies,
        [json!({"autoCapacityDrain": {"enable": true}, "loadBalancingAlgorithm": "SPRAY_TO_REGION"})]
    );
    let ran = fake
        .run("service-lb-policies update p --no-auto-capacity-drain --failover-health-threshold 50")
        .await;
    let mask = "autoCapacityDrain.enable%2CfailoverConfig.failoverHealthThreshold";
    assert_eq!(ran.requests, [format!("PATCH {base}/p?updateMask={mask}"), format!("GET {base}/p")]);
    let sent =
        json!({"autoCapacityDrain": {"enable": false}, "failoverConfig": {"failoverHealthThreshold": 50}});
    assert_eq!(ran.bodies, [sent]);
    fake.say(
        "PATCH /v1/projects/local/locations/global/serviceLbPolicies/p",
        200,
        json!({"name": "projects/local/x", "done": false}),
    );
    fake.say("GET /v1/projects/local/x", 200, json!({"name": "projects/local/x", "done": true}));
    let ran = fake.run("service-lb-policies update p --description d").await;
    assert_eq!(ran.requests[1..], ["GET /v1/projects/local/x".to_owned(), format!("GET {base}/p")]);
    let body = fake.body("backend-services create web --global --service-lb-policy p").await;
    assert_eq!(body["serviceLbPolicy"], format!("http://{}{base}/p", fake.address));
}

#[tokio::test]
async fn places_and_operations_are_shown() {
    let fake = Fake::start().await;
    fake.keep("zones/z", json!({"name": "z", "region": "http://h/regions/r", "status": "UP"}));
    assert_eq!(
        fake.run("zones list --filter name=z").await.requests,
        ["GET …/zones?filter=name%20eq%20%22.%2A%5Cbz%5Cb.%2A%22&maxResults=500"]
    );
    assert_eq!(fake.run("zones describe z --format 'value(region.basename())'").await.out, "r\n");
    assert_eq!(
        fake.run("operations wait op-1 --zone z").await.requests,
        ["POST …/zones/z/operations/op-1/wait"]
    );
    fake.keep("global/operations/op-2", json!({"name": "op-2", "status": "DONE", "operationType": "insert"}));
    let ran = fake.run("operations list --global").await;
    assert_eq!(
        ran.out,
        "NAME  TYPE    TARGET  HTTP_STATUS  STATUS  TIMESTAMP\nop-2  insert                       DONE\n"
    );
    assert_eq!(fake.run("regions describe nope").await.error.unwrap().lines().count(), 2);
}

#[tokio::test]
async fn what_another_server_answers_is_no_success() {
    let fake = Fake::start().await;
    let of = async |answer: Value, line: &str| {
        fake.say("POST …/global/healthChecks", 200, answer.clone());
        fake.say("GET …/aggregated/healthChecks", 200, answer);
        let ran = fake.run(line).await;
        (ran.error.unwrap_or_default(), ran.notes)
    };
    for answer in [json!([]), json!("a page"), json!({"kind": "another#thing"})] {
        for line in ["health-checks create http h --global", "health-checks list"] {
            let (error, notes) = of(answer.clone(), line).await;
            assert!(error.contains("is not Overspill's API"), "{line}: {error}");
            assert_eq!(notes, "", "{line}");
        }
    }
    // No JSON at all.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = Admin::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 10];
        while !head.contains(&b'{') {
            assert_ne!(stream.read(&mut head).await.unwrap(), 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n<html").await.unwrap();
    });
    let failure = admin.ask(Method::POST, "/x", &json!({})).await.unwrap_err();
    assert!(format!("{failure:?}").contains("is no JSON"), "{failure:?}");
}

#[tokio::test]
async fn rows_are_sorted_by_headings_and_keys_of_nothing_are_told() {
    let fake = with_web().await;
    fake.keep("global/backendServices/api", json!({"name": "api", "protocol": "TCP"}));
    for (key, names) in [
        ("~NAME", "web\napi\n"),
        ("Name", "api\nweb\n"),
        ("PROTOCOL", "web\napi\n"),
        ("~protocol", "api\nweb\n"),
    ] {
        let ran =
            fake.run(&format!("backend-services list --sort-by={key} --format 'value(name,protocol)'")).await;
        let shown: String =
            ran.out.lines().map(|line| format!("{}\n", line.split('\t').next().unwrap())).collect();
        assert_eq!((shown.as_str(), ran.notes.as_str()), (names, ""), "{key}");
    }
    let ran = fake.run("backend-services list --filter 'nonsense=1 OR name=web' --sort-by nothing").await;
    assert_eq!(
        ran.notes,
        "WARNING: The following filter keys were not present in any resource : nonsense\n\
         WARNING: The following sort keys were not present in any resource : nothing\n"
    );
    assert!(ran.out.contains("web") && !ran.out.contains("api"), "{}", ran.out);
}

#[test]
fn help_ends_with_which_proxy_is_meant_and_shells_know_the_words() {
    use clap::CommandFactory as _;
    let mut all = Arguments::command();
    all.build();
    let services = all.find_subcommand_mut("backend-services").unwrap();
    for verb in ["update-backend", "update"] {
        let help = services.find_subcommand_mut(verb).unwrap().render_help().to_string();
        let (own, proxy) = help.split_once("\nRunning proxy:\n").unwrap();
        for flag in ["--admin", "--project", "--token-file", "--ca-file"] {
            assert!(!own.contains(&format!("{flag} <")) && proxy.contains(flag), "{flag}: {help}");
        }
        assert!(!help.contains("[default: UTILIZATION]") && !help.contains("[default: HTTP]"), "{help}");
    }
    let command = services.find_subcommand("update-backend").unwrap();
    let mode = command.get_arguments().find(|arg| arg.get_id() == "balancing-mode").unwrap();
    let words: Vec<String> =
        mode.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    assert_eq!(words, ["CONNECTION", "CUSTOM_METRICS", "IN_FLIGHT", "RATE", "UTILIZATION"]);
}

#[tokio::test]
async fn a_file_that_was_emptied_in_the_editor_changes_nothing() {
    let fake = with_web().await;
    let Top::Compute(asked) =
        Arguments::try_parse_from(["overspill", "backend-services", "edit", "web", "--global", "-q"])
            .unwrap()
            .command
    else {
        panic!()
    };
    for emptied in ["", "\n \n", "# only this\n"] {
        fake.kept.lock().unwrap().seen.clear();
        let mut session = Session::new(&fake.admin, "local".to_owned());
        session.is_quiet = true;
        let (kind, sheet) = (&kind::BACKEND_SERVICES, backend_services::SHEET);
        let edited = edit::run(&mut session, kind, sheet, &asked.matches, &|_| Ok(emptied.to_owned())).await;
        let why = edited.unwrap_err().to_string();
        assert!(why.contains("the file was emptied; nothing was changed"), "{why}");
        assert_eq!(fake.kept.lock().unwrap().seen.len(), 1, "it was only read");
    }
}
