//! nginx, as a proxy and as the origin.

use std::net::SocketAddr;
use std::path::Path;

use super::super::process::TempDir;
use super::super::secure;
use super::{Channel, Extras, Setup, log, words};

/// What it is told so that it works as the others do, which stream: nothing, or how to hand bodies on in larger
/// pieces than it does by itself, and requests as they come; and never to put on disk what a slow reader leaves.
pub(crate) const BY_ITSELF: &str = "";
pub(crate) const TUNED: &str = "proxy_request_buffering off; proxy_buffer_size 16k; proxy_buffers 16 16k;";
pub(crate) const STREAMED: &str = "proxy_max_temp_file_size 0;";

pub(crate) fn command(config: &Path, dir: &Path) -> Vec<String> {
    let (config, dir) = (config.display().to_string(), dir.display().to_string());
    words(&["nginx", "-e", &format!("{dir}/nginx.err"), "-p", &dir, "-c", &config])
}

/// What an nginx needs to run as an ordinary child of an ordinary user.
fn frame(name: &str, dir: &Path, (workers, room): (usize, usize), http: &str) -> String {
    let dir = dir.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {dir}/{name}-{kind};\n"))
        .collect();
    format!(
        "daemon off; master_process on; worker_processes {workers}; worker_rlimit_nofile {};\n\
         pid {dir}/{name}.pid; error_log {dir}/{name}.err;\n\
         events {{ worker_connections {room}; }}\n\
         http {{\n{temporary}  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;\n{http}}}\n",
        2 * room
    )
}

/// The small answer, with a load report; the large ones from files; and a sink, which reads the request's whole body
/// before it answers.
pub(crate) fn origin(dir: &Path, at: [SocketAddr; 2], small: usize) -> String {
    let [a, b] = at;
    let body = format!("{}\\n", "x".repeat(small - 1));
    let root = dir.display();
    let http = format!(
        "  server {{\n    listen {a} backlog=4096; listen {b} backlog=4096;\n    \
         client_max_body_size 10m; client_body_buffer_size 1m;\n    \
         location / {{ return 200 \"{body}\"; }}\n    \
         location /report {{ add_header endpoint-load-metrics \"TEXT application_utilization=0.3\"; return 200 \"{body}\"; }}\n    \
         location /large {{ root {root}; }}\n    \
         location /huge {{ root {root}; }}\n    \
         location /sink {{ proxy_pass http://{b}/; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }}\n  }}\n"
    );
    frame("origin", dir, (1, 8192), &http)
}

/// The same certificate and versions for all.
fn tls(channel: Channel) -> (&'static str, String) {
    let words = match channel {
        Channel::Clear => return ("", String::new()),
        Channel::Tls => " ssl",
        Channel::Http2 => " ssl http2",
    };
    let (certificate, key) = (secure::file("localhost.pem"), secure::file("localhost.key"));
    let text = format!(
        "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3;",
        certificate.display(),
        key.display()
    );
    (words, text)
}

/// What belongs outside of the server and into it, where nothing says `off`.
fn access_log(dir: &Path, is_sampled: bool) -> (String, String) {
    let (sampled, line) = (log::SAMPLED, log::nginx());
    let when = if is_sampled { " if=$is_logged" } else { "" };
    let formats = format!(
        "  split_clients $request_id $is_logged {{ {sampled}% 1; * \"\"; }}\n  \
         log_format alike escape=json '{line}';\n"
    );
    let path = dir.join("nginx-access.log");
    (formats, format!("access_log {} alike buffer=64k flush=1s{when};", path.display()))
}

pub(crate) fn proxy(
    setup: &Setup,
    more: &str,
    (dir, at): (&TempDir, SocketAddr),
) -> Result<Vec<String>, String> {
    let name = if more == TUNED { "nginx-tuned" } else { "nginx" };
    let [a, b] = setup.to;
    let (words, certificate) = tls(setup.channel);
    let servers = match setup.extras {
        // The nearest that it has to sessions.
        Extras::Everything => format!("hash $cookie_GCLB consistent; server {a}; server {b};"),
        _ => format!("server {a};"),
    };
    let (formats, log) = match setup.extras {
        Extras::None => (String::new(), String::new()),
        extras => access_log(dir.path(), extras == Extras::Everything),
    };
    let http = format!(
        "{formats}  upstream origin {{ {servers} keepalive 1200; keepalive_requests 1000000000; }}\n  \
         server {{\n    listen {at}{words} backlog=4096; {certificate}\n    client_max_body_size 10m; {log} {more}\n    \
         location / {{\n      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";\n      \
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n      \
         proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header Via \"1.1 google\";\n      \
         proxy_set_header X-Cloud-Trace-Context \"$request_id/1;o=0\"; add_header Via \"1.1 google\";\n    }}\n  }}\n"
    );
    let text = frame(name, dir.path(), (setup.workers, setup.room), &http);
    Ok(command(&dir.write(&format!("{name}.conf"), text)?, dir.path()))
}
