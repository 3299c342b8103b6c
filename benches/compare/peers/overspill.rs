//! Ourselves, in any build.

use std::net::SocketAddr;
use std::path::Path;

use super::super::options::Binary;
use super::super::process::TempDir;
use super::super::secure;
use super::{Extras, Setup, log, words};

pub(crate) fn proxy(
    setup: &Setup,
    binary: &Binary,
    (dir, at): (&TempDir, SocketAddr),
) -> Result<Vec<String>, String> {
    // In a folder of its own, since we watch that: files opened there all the time would wake us.
    let name = format!("{}/overspill.yaml", binary.name);
    let config = dir.write(&name, text(setup, (dir.path(), &binary.name), at))?;
    let (program, config) = (binary.path.display().to_string(), config.display().to_string());
    Ok(words(&[&program, "serve", "--log-level", "error", "-c", &config]))
}

/// Our target proxy, and the certificate that it shows.
fn target(setup: &Setup) -> String {
    if setup.is_secured() {
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
fn text(setup: &Setup, (dir, name): (&Path, &str), at: SocketAddr) -> String {
    let (extras, [a, b]) = (setup.extras, setup.to);
    let proxy = target(setup);
    let (affinity, far, source) = match extras {
        Extras::Everything => (
            "GENERATED_COOKIE",
            "balancingMode: UTILIZATION, maxUtilization: 0.8, maxRate: 1000000",
            "\n    utilization: {source: ORCA_HEADER}",
        ),
        _ => ("NONE", "balancingMode: RATE, maxRate: 1000000", ""),
    };
    let sampled = match extras {
        Extras::None => 0.0,
        Extras::AccessLog => 1.0,
        Extras::Everything => f64::from(log::SAMPLED) / 100.0,
    };
    let (access_log, log) = if extras == Extras::None {
        (String::new(), String::new())
    } else {
        (
            format!(", accessLog: {{path: {}/{name}-access.log}}", dir.display()),
            format!("\n    logConfig: {{enable: true, sampleRate: {sampled}}}"),
        )
    };
    format!(
        "proxy: {{zone: us-central1-a, workers: {}, admin: none{access_log}}}
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
        setup.workers,
        at.ip(),
        at.port(),
        a.port(),
        b.port()
    )
}
