//! The whole balancer over real sockets, in one test binary.
// Floats compared strictly are counts: whole numbers as a scrape writes them. Real time is what these tests are about.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_cmp)]
#![allow(clippy::disallowed_methods, clippy::too_many_lines)]

mod access_log;
mod addresses;
mod affinity;
mod bad_backends;
mod balancing;
mod bounded;
mod breakers;
mod chaos;
mod client_gone;
mod compression;
mod control_file;
mod control_random;
mod corpus;
mod custom_headers;
mod custom_metrics;
mod distribution;
mod error_pages;
mod explain;
mod gcloud;
mod grpc;
mod headers;
mod health;
mod http2;
mod http2_attacks;
mod http2_pieces;
mod http2_windows;
mod http3;
mod http3_ways;
mod https;
mod in_flight;
mod limits;
mod members;
mod metrics;
#[path = "../fuzz/mutate.rs"]
mod mutate;
mod named_ports;
mod names;
mod ocsp;
mod process;
mod prometheus;
mod proxy_protocol;
mod reload;
mod retries;
mod routes;
mod routes_policies;
mod sessions;
mod shared_groups;
mod slow_body;
mod smuggling;
mod stream_limits;
mod support;
mod tcp_proxy;
mod timeouts;
mod tls_front;
mod tls_http2;
mod tls_load;
#[path = "../../benches/control/torture/mod.rs"]
#[allow(dead_code)]
mod torture;
mod upgrade;
mod utilization;
mod websocket;
