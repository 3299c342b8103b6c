//! The origin and the proxies before it, each with one thread, the same headers added, and keep-alive on both sides.

use std::net::SocketAddr;
use std::path::Path;

use super::process::{Server, TempDir, free_addresses, is_installed};
use super::scenario::{Channel, Extras, Scenario};
use super::secure;

/// Length of the large answer.
pub(crate) const LARGE: usize = 100 * 1024;
/// Length of the small answer.
const SMALL: usize = 128;
const OVERSPILL: &str = env!("CARGO_BIN_EXE_overspill");

/// The server behind all proxies.
pub(crate) struct Origin {
    _servers: Vec<Server>,
    /// Two addresses that give the small answer.
    small: [SocketAddr; 2],
    large: SocketAddr,
    is_nginx: bool,
}

impl Origin {
    /// nginx where it is installed, else our own toy backend.
    pub(crate) fn start(dir: &TempDir) -> Result<Self, String> {
        let [a, b, large] = free_addresses()?;
        if is_installed("nginx") {
            dir.write("large", "0123456789abcdef".repeat(LARGE / 16))?;
            let config = dir.write("origin.conf", nginx_origin(dir.path(), [a, b]))?;
            let server = Server::start("origin", &nginx(&config, dir.path()), &[a, b], dir, None)?;
            return Ok(Self { _servers: vec![server], small: [a, b], large: a, is_nginx: true });
        }
        let toy = |name: &str, at: &[SocketAddr], length: usize| {
            let mut command = words(&[OVERSPILL, "backend", "--name", "origin", "--body-bytes"]);
            command.push(length.to_string());
            command.extend(at.iter().flat_map(|address| ["--listen".to_owned(), address.to_string()]));
            Server::start(name, &command, at, dir, None)
        };
        let servers = vec![toy("origin", &[a, b], SMALL)?, toy("origin-large", &[large], LARGE)?];
        Ok(Self { _servers: servers, small: [a, b], large, is_nginx: false })
    }

    pub(crate) fn is_nginx(&self) -> bool {
        self.is_nginx
    }

    pub(crate) fn what(&self) -> &'static str {
        if self.is_nginx { "nginx, one worker" } else { "`overspill backend`, since nginx is not installed" }
    }

    /// Where proxies send the requests of a scenario.
    pub(crate) fn addresses(&self, scenario: &Scenario) -> [SocketAddr; 2] {
        if scenario.is_large() { [self.large; 2] } else { self.small }
    }
}

/// A proxy under way.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    address: SocketAddr,
}

impl Peer {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Starts all proxies that are installed; nginx, the measure of the others, first.
pub(crate) fn start(scenario: &Scenario, origin: &Origin, dir: &TempDir) -> Result<Vec<Peer>, String> {
    let to = origin.addresses(scenario);
    let [for_nginx, for_tuned, for_haproxy, for_us] = free_addresses()?;
    let mut peers = Vec::new();
    let mut add = |name, address, command: &[String], log: Option<&Path>| {
        let server = Server::start(name, command, &[address], dir, log)?;
        peers.push(Peer { name, server, address });
        Ok::<(), String>(())
    };
    if is_installed("nginx") {
        let text = nginx_proxy(scenario, BY_ITSELF, (dir.path(), for_nginx), to);
        let config = dir.write("nginx.conf", text)?;
        add("nginx", for_nginx, &nginx(&config, dir.path()), None)?;
        if scenario.has_bodies() {
            let text = nginx_proxy(scenario, TUNED, (dir.path(), for_tuned), to);
            let config = dir.write("nginx-tuned.conf", text)?;
            add("nginx, tuned", for_tuned, &nginx(&config, dir.path()), None)?;
        }
    }
    if is_installed("haproxy") {
        let bundle = secure::bundle(dir)?;
        let config = dir.write("haproxy.cfg", haproxy(scenario, &bundle, for_haproxy, to))?;
        let command = words(&["haproxy", "-db", "-q", "-f", &config.display().to_string()]);
        // It writes no files: its standard output is the log.
        let log = dir.path().join("haproxy.log");
        add("haproxy", for_haproxy, &command, Some(&log))?;
    }
    // In a folder of its own, since we watch that: files opened there all the time would wake us.
    let config = dir.write("overspill/overspill.yaml", overspill(scenario, dir.path(), for_us, to))?;
    let command = words(&[OVERSPILL, "serve", "--log-level", "error", "-c", &config.display().to_string()]);
    add("overspill", for_us, &command, None)?;
    Ok(peers)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What an nginx is told so that it works as the others do, which stream: nothing, or how to hand bodies on in larger
/// pieces than it does by itself, and requests as they come.
const BY_ITSELF: &str = "";
const TUNED: &str = "proxy_request_buffering off; proxy_buffer_size 16k; proxy_buffers 16 16k;";

fn nginx(config: &Path, dir: &Path) -> Vec<String> {
    let (config, dir) = (config.display().to_string(), dir.display().to_string());
    words(&["nginx", "-e", &format!("{dir}/nginx.err"), "-p", &dir, "-c", &config])
}

/// What an nginx needs to run as an ordinary child of an ordinary user.
fn nginx_frame(name: &str, dir: &Path, http: &str) -> String {
    let dir = dir.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {dir}/{name}-{kind};\n"))
        .collect();
    format!(
        "daemon off; master_process on; worker_processes 1; worker_rlimit_nofile 16384;\n\
         pid {dir}/{name}.pid; error_log {dir}/{name}.err;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n{temporary}  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;\n{http}}}\n"
    )
}

/// The small answer, with a load report; the large one from a file; and a sink, which reads the request's whole body
/// before it answers.
fn nginx_origin(dir: &Path, at: [SocketAddr; 2]) -> String {
    let [a, b] = at;
    let body = format!("{}\\n", "x".repeat(SMALL - 1));
    let http = format!(
        "  server {{\n    listen {a} backlog=4096; listen {b} backlog=4096;\n    \
         client_max_body_size 10m; client_body_buffer_size 1m;\n    \
         location / {{ return 200 \"{body}\"; }}\n    \
         location /report {{ add_header endpoint-load-metrics \"TEXT application_utilization=0.3\"; return 200 \"{body}\"; }}\n    \
         location /large {{ root {}; }}\n    \
         location /sink {{ proxy_pass http://{b}/; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }}\n  }}\n",
        dir.display()
    );
    nginx_frame("origin", dir, &http)
}

/// The same certificate and versions for all. wrk brings its sessions back, and all of them take them: of its new
/// connections, one in a hundred is a full handshake.
fn nginx_tls(channel: Channel) -> (&'static str, String) {
    let words = match channel {
        Channel::Clear => return ("", String::new()),
        Channel::Tls => " ssl",
        Channel::Http2 { .. } => " ssl http2",
    };
    let (certificate, key) = (secure::file("localhost.pem"), secure::file("localhost.key"));
    let text = format!(
        "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3;",
        certificate.display(),
        key.display()
    );
    (words, text)
}

fn nginx_proxy(
    scenario: &Scenario,
    more: &str,
    (dir, at): (&Path, SocketAddr),
    [a, b]: [SocketAddr; 2],
) -> String {
    let name = if more.is_empty() { "nginx" } else { "nginx-tuned" };
    let (tls, certificate) = nginx_tls(scenario.channel);
    let servers = match scenario.extras {
        // The nearest that it has to sessions.
        Extras::Everything => format!("hash $cookie_GCLB consistent; server {a}; server {b};"),
        _ => format!("server {a};"),
    };
    let log = match scenario.extras {
        Extras::AccessLog => {
            format!("  access_log {}/nginx-access.log combined buffer=64k flush=1s;\n", dir.display())
        }
        _ => String::new(),
    };
    let http = format!(
        "{log}  upstream origin {{ {servers} keepalive 1200; keepalive_requests 1000000000; }}\n  \
         server {{\n    listen {at}{tls} backlog=4096; {certificate}\n    client_max_body_size 10m; {more}\n    \
         location / {{\n      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";\n      \
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n      \
         proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header Via \"1.1 google\";\n      \
         proxy_set_header X-Cloud-Trace-Context \"$request_id/1;o=0\"; add_header Via \"1.1 google\";\n    }}\n  }}\n"
    );
    nginx_frame(name, dir, &http)
}

fn haproxy(scenario: &Scenario, bundle: &Path, at: SocketAddr, [a, b]: [SocketAddr; 2]) -> String {
    let tls = match scenario.channel {
        Channel::Clear => String::new(),
        Channel::Tls => format!(" ssl crt {} alpn http/1.1", bundle.display()),
        Channel::Http2 { .. } => format!(" ssl crt {} alpn h2,http/1.1", bundle.display()),
    };
    let scheme = if scenario.is_secured() { "https" } else { "http" };
    let (global_log, log) = match scenario.extras {
        Extras::AccessLog => ("  log stdout format raw local0\n", "  log global\n  option httplog\n"),
        _ => ("", ""),
    };
    let servers = match scenario.extras {
        Extras::Everything => format!(
            "  cookie GCLB insert indirect nocache\n  option httpchk GET /\n  \
             server a {a} cookie a check\n  server b {b} cookie b check\n"
        ),
        _ => format!("  server a {a}\n"),
    };
    format!(
        "global\n  nbthread 1\n  maxconn 8192\n{global_log}\
         defaults\n  mode http\n  timeout client 600s\n  timeout server 600s\n  timeout connect 5s\n  \
         http-reuse always\n{log}\
         frontend web\n  bind {at}{tls} backlog 4096\n  option forwardfor\n  \
         http-request set-header X-Forwarded-Proto {scheme}\n  http-request add-header Via \"1.1 google\"\n  \
         http-request set-header X-Cloud-Trace-Context \"%[uuid]/1;o=0\"\n  \
         http-response add-header Via \"1.1 google\"\n  default_backend origin\n\
         backend origin\n{servers}"
    )
}

/// Our target proxy, and the certificate that it shows.
fn overspill_proxy(scenario: &Scenario) -> String {
    if scenario.is_secured() {
        format!(
            "targetHttpsProxies:
  - {{name: web-proxy, urlMap: web-map, sslCertificates: [localhost], quicOverride: NONE}}
sslCertificates:
  - {{name: localhost, certificateFile: {}, privateKeyFile: {}}}",
            secure::file("localhost.pem").display(),
            secure::file("localhost.key").display()
        )
    } else {
        "targetHttpProxies:\n  - {name: web-proxy, urlMap: web-map}".to_owned()
    }
}

/// Two regions always: the near one is full after 100 requests per second, so that nearly every request is placed by
/// spilling.
fn overspill(scenario: &Scenario, dir: &Path, at: SocketAddr, [a, b]: [SocketAddr; 2]) -> String {
    let extras = scenario.extras;
    let proxy = overspill_proxy(scenario);
    let (affinity, far, source) = match extras {
        Extras::Everything => (
            "GENERATED_COOKIE",
            "balancingMode: UTILIZATION, maxUtilization: 0.8, maxRate: 1000000",
            "\n    utilization: {source: ORCA_HEADER}",
        ),
        _ => ("NONE", "balancingMode: RATE, maxRate: 1000000", ""),
    };
    let (access_log, log) = match extras {
        Extras::AccessLog => (
            format!(", accessLog: {{path: {}/overspill-access.log}}", dir.display()),
            "\n    logConfig: {enable: true, sampleRate: 1.0}",
        ),
        _ => (String::new(), ""),
    };
    format!(
        "proxy: {{zone: us-central1-a, workers: 1, admin: none{access_log}}}
forwardingRules:
  - {{name: web, IPAddress: {}, portRange: \"{}\", target: web-proxy}}
{proxy}
urlMaps:
  - {{name: web-map, defaultService: web}}
backendServices:
  - name: web
    protocol: HTTP
    portName: http
    healthChecks: [basic]
    sessionAffinity: {affinity}{log}
    backends:
      - {{group: ig-near, balancingMode: RATE, maxRate: 100}}
      - {{group: ig-far, {far}}}
instanceGroups:
  - name: ig-near
    zone: us-central1-a
    namedPorts: [{{name: http, port: {}}}]
    instances: [{{name: near-1, ipAddress: 127.0.0.1}}]
  - name: ig-far
    zone: europe-west1-b
    namedPorts: [{{name: http, port: {}}}]
    instances: [{{name: far-1, ipAddress: 127.0.0.1}}]{source}
healthChecks:
  - {{name: basic, type: HTTP, checkIntervalSec: 5, timeoutSec: 5, httpHealthCheck: {{requestPath: /, portSpecification: USE_SERVING_PORT}}}}
",
        at.ip(),
        at.port(),
        a.port(),
        b.port()
    )
}
