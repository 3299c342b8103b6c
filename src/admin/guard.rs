//! Who may ask: requests whose `Host` is a loopback name or the bound address, and no longer than 10 s each.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::health::error;

/// Longest body that is read, in bytes.
pub(super) const BODY_LIMIT: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn check(State(bound): State<SocketAddr>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or(""));
    // HTTP/1.0 has no Host, and no browser that could be tricked.
    if !host.is_none_or(|host| is_ours(host, bound.ip())) {
        let message = "Host is neither a loopback name nor the address of the admin API";
        return error(StatusCode::FORBIDDEN, "forbidden", message);
    }
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > BODY_LIMIT) {
        // Said at once, not after a megabyte.
        return error(StatusCode::PAYLOAD_TOO_LARGE, "invalid", "The request is longer than 1 MiB");
    }
    match tokio::time::timeout(TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "took too long\n").into_response(),
    }
}

/// Whether `host`, with or without a port, is a loopback name or address, or the bound address.
fn is_ours(host: &str, bound: IpAddr) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    let is_ours = |ip: IpAddr| ip.to_canonical().is_loopback() || ip == bound;
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_and_the_bound_address_are_ours() {
        let bound = IpAddr::from([10, 1, 2, 3]);
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:9901", "127.9.9.9", "[::1]:80", "10.1.2.3:9901"] {
            assert!(is_ours(host, bound), "{host}");
        }
        for host in
            ["", "evil.example", "127.0.0.1.evil.example", "10.1.2.4", "[::2]", "localhost.evil.example:80"]
        {
            assert!(!is_ours(host, bound), "{host}");
        }
    }
}
