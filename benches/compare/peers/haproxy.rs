//! HAProxy.

use std::net::SocketAddr;
use std::path::Path;

use super::super::process::TempDir;
use super::{Channel, Extras, Setup, log, words};

pub(crate) fn proxy(
    setup: &Setup,
    bundle: &Path,
    (dir, at): (&TempDir, SocketAddr),
) -> Result<Vec<String>, String> {
    let config = dir.write("haproxy.cfg", text(setup, bundle, at))?;
    // Its quiet mode throws the log away.
    Ok(words(&["haproxy", "-db", "-f", &config.display().to_string()]))
}

/// What the line of the log tells of a request's headers.
const CAPTURES: &str = "  http-request capture req.hdr(Host) len 64\n  \
                        http-request capture req.hdr(User-Agent) len 64\n";

fn line() -> String {
    format!("  log global\n  log-format '{}'\n", log::haproxy())
}

fn text(setup: &Setup, bundle: &Path, at: SocketAddr) -> String {
    let [a, b] = setup.to;
    let tls = match setup.channel {
        Channel::Clear => String::new(),
        Channel::Tls => format!(" ssl crt {} alpn http/1.1", bundle.display()),
        Channel::Http2 => format!(" ssl crt {} alpn h2,http/1.1", bundle.display()),
    };
    let scheme = if setup.is_secured() { "https" } else { "http" };
    let (global_log, log) = match setup.extras {
        Extras::None => (String::new(), String::new()),
        Extras::AccessLog => ("  log stdout format raw local0\n".to_owned(), line()),
        Extras::Everything => {
            (format!("  log stdout format raw sample {}:100 local0\n", log::SAMPLED), line())
        }
    };
    let captures = if log.is_empty() { "" } else { CAPTURES };
    let servers = match setup.extras {
        Extras::Everything => format!(
            "  cookie GCLB insert indirect nocache\n  option httpchk GET /\n  \
             server a {a} cookie a check\n  server b {b} cookie b check\n"
        ),
        _ => format!("  server a {a}\n"),
    };
    format!(
        "global\n  nbthread {}\n  maxconn {}\n  no strict-limits\n{global_log}\
         defaults\n  mode http\n  timeout client 600s\n  timeout server 600s\n  timeout connect 5s\n  \
         http-reuse always\n{log}\
         frontend web\n  bind {at}{tls} backlog 4096\n{captures}  option forwardfor\n  \
         http-request set-header X-Forwarded-Proto {scheme}\n  http-request add-header Via \"1.1 google\"\n  \
         http-request set-header X-Cloud-Trace-Context \"%[uuid]/1;o=0\"\n  \
         http-response add-header Via \"1.1 google\"\n  default_backend origin\n\
         backend origin\n{servers}",
        setup.workers, setup.room
    )
}
