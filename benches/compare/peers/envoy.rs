//! Envoy.

use std::net::SocketAddr;
use std::path::Path;

use super::super::process::TempDir;
use super::super::secure;
use super::{Channel, Extras, Setup, log, words};

pub(crate) fn proxy(
    setup: &Setup,
    program: &Path,
    (dir, at): (&TempDir, SocketAddr),
) -> Result<Vec<String>, String> {
    let config = dir.write("envoy.yaml", text(setup, dir.path(), at))?;
    let (program, config) = (program.display().to_string(), config.display().to_string());
    Ok(words(&[
        &program,
        "--concurrency",
        &setup.workers.to_string(),
        "--disable-hot-restart",
        "-l",
        "error",
        "-c",
        &config,
    ]))
}

fn access_log(dir: &Path, is_sampled: bool) -> String {
    let filter = if is_sampled {
        format!(
            "\n            filter: {{runtime_filter: {{runtime_key: sampled, percent_sampled: {{numerator: {}}}}}}}",
            log::SAMPLED
        )
    } else {
        String::new()
    };
    format!(
        "
          access_log:
          - name: file{filter}
            typed_config: {{'@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: {}/envoy-access.log, log_format: {{text_format_source: {{inline_string: \"{}\"}}}}}}",
        dir.display(),
        log::envoy()
    )
}

fn text(setup: &Setup, dir: &Path, at: SocketAddr) -> String {
    let log = match setup.extras {
        Extras::None => String::new(),
        extras => access_log(dir, extras == Extras::Everything),
    };
    // The nearest that it has to sessions.
    let hashed = match setup.extras {
        Extras::Everything => ", hash_policy: [{cookie: {name: GCLB, ttl: 0s}}]",
        _ => "",
    };
    format!(
        "static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: {}, port_value: {}}}}}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: http
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          use_remote_address: true
          via: 1.1 google
          server_header_transformation: PASS_THROUGH
          stream_idle_timeout: 0s{log}
          http_filters:
          - name: router
            typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}}
          route_config:
            virtual_hosts:
            - name: web
              domains: ['*']
              request_headers_to_add:
              - {{header: {{key: X-Cloud-Trace-Context, value: '%REQ(X-REQUEST-ID)%/1;o=0'}}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}}
              routes: [{{match: {{prefix: /}}, route: {{cluster: origin, timeout: 0s{hashed}}}}}]
{}  clusters:
{}",
        at.ip(),
        at.port(),
        tls(setup.channel),
        cluster(setup)
    )
}

/// Without its breakers, which are at 1024 connections and requests.
fn cluster(setup: &Setup) -> String {
    let [a, b] = setup.to;
    let endpoint = |at: SocketAddr| {
        format!(
            "{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}",
            at.ip(),
            at.port()
        )
    };
    let (policy, endpoints) = match setup.extras {
        Extras::Everything => (
            "RING_HASH\n    health_checks: [{timeout: 5s, interval: 5s, unhealthy_threshold: 2, healthy_threshold: 1, http_health_check: {path: /}}]",
            format!("{}, {}", endpoint(a), endpoint(b)),
        ),
        _ => ("ROUND_ROBIN", endpoint(a)),
    };
    format!(
        "  - name: origin
    type: STATIC
    connect_timeout: 5s
    lb_policy: {policy}
    circuit_breakers: {{thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000, max_retries: 100}}]}}
    load_assignment:
      cluster_name: origin
      endpoints: [{{lb_endpoints: [{endpoints}]}}]
"
    )
}

fn tls(channel: Channel) -> String {
    let protocols = match channel {
        Channel::Clear => return String::new(),
        Channel::Tls => "http/1.1",
        Channel::Http2 => "h2, http/1.1",
    };
    format!(
        "      transport_socket:
        name: tls
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [{protocols}]
            tls_params: {{tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3}}
            tls_certificates: [{{certificate_chain: {{filename: {}}}, private_key: {{filename: {}}}}}]
",
        secure::file("localhost.pem").display(),
        secure::file("localhost.key").display()
    )
}
