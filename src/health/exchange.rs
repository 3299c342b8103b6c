//! One probe: ask a member once, and judge the answer.
//!
//! HTTP, HTTPS and HTTP2: healthy is status 200, exactly, within `timeoutSec`; redirects are not followed [G 4.3]. With
//! `response`, that string must also occur in the first 1024 bytes of the body [G 4.4]. TCP and SSL: a connection that
//! stands, or with `response` those very bytes [G 4.5]. GRPC and GRPC_WITH_TLS: the health service says SERVING [G 4.7].
//! The whole probe, from connect to verdict, has `timeoutSec`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fetch::{Get, Progress, Stage, USER_AGENT, get, host_of, io_words, reach, within};
use super::{grpc, http2};
use crate::clock;
use crate::model::probe::{HealthCheck, Probe, ProbePort, Spoken};
use crate::model::unit::Span;
use crate::net::connect::Stream;
use crate::net::tls;

/// How much of a body is searched for `response`, in bytes [G 4.4].
pub const SEARCHED: usize = 1024;

/// Result of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the member passed.
    pub success: bool,
    /// Whether it failed for want of something here, which says nothing about the member.
    pub is_ours: bool,
    /// Whether it failed by not answering in time.
    pub timed_out: bool,
    /// Why, in words for people: `200 OK`, `answered 503`, `connection refused`.
    pub reason: String,
    /// From connect to verdict.
    pub latency: Span,
}

/// The address that `check` probes of the member that serves at `serving` [G 4.2].
#[must_use]
pub const fn target(check: &HealthCheck, serving: SocketAddr) -> SocketAddr {
    match check.port {
        ProbePort::Fixed(port) => SocketAddr::new(serving.ip(), port),
        ProbePort::Serving => serving,
    }
}

/// What probes over TLS use; it verifies nothing [G 4.8]. Make one and share it: it holds the sessions.
#[derive(Debug, Clone)]
pub struct Tls {
    any: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Tls {
    /// Accepts every certificate.
    #[must_use]
    pub fn unverified() -> Self {
        let any = tls::unverified();
        Self { http2: tls::asking_for_http2(&any), any }
    }
}

/// Probes the member that serves at `serving`, once. Ends within the check's timeout, whatever the member does.
pub async fn probe(check: &HealthCheck, serving: SocketAddr, tls: &Tls) -> Outcome {
    let began = clock::now();
    let progress = Progress::default();
    let verdict = within(check.timeout, &progress, ask(check, target(check, serving), tls, &progress)).await;
    let latency = clock::now().since(began);
    match verdict {
        Ok(reason) => Outcome { success: true, is_ours: false, timed_out: false, reason, latency },
        Err(failure) => Outcome {
            success: false,
            is_ours: progress.is_ours(),
            timed_out: failure.timed_out,
            reason: failure.reason,
            latency,
        },
    }
}

async fn ask(
    check: &HealthCheck,
    target: SocketAddr,
    tls: &Tls,
    progress: &Progress,
) -> Result<String, String> {
    let proxy = check.sends_proxy_header;
    match &check.probe {
        Probe::Http { spoken: Spoken::Http2, host, path, response } => {
            let wanted = response.as_deref().unwrap_or_default().as_bytes();
            let call = page(&host.as_deref().map_or_else(|| host_of(target), str::to_owned), path, wanted)?;
            let stream = reach(target, proxy, Some(&tls.http2), progress).await?;
            let answer = http2::ask(stream, call, progress).await?;
            judge(answer.head.status, &answer.body, wanted)
        }
        Probe::Http { spoken, host, path, response } => {
            let wanted = response.as_deref().unwrap_or_default().as_bytes();
            let ask = Get {
                target,
                tls: (*spoken == Spoken::Https).then_some(&tls.any),
                sends_proxy_header: proxy,
                host: host.as_deref(),
                path,
                body_limit: searched(wanted),
                until: Some(wanted),
            };
            let answer = get(&ask, progress).await?;
            judge(answer.status, &answer.body, wanted)
        }
        Probe::Tcp { over_tls, request, response } => {
            let stream = reach(target, proxy, over_tls.then_some(&tls.any), progress).await?;
            let texts = (request.as_deref().unwrap_or_default(), response.as_deref().unwrap_or_default());
            talk(stream, texts, progress).await
        }
        Probe::Grpc { over_tls, service } => {
            let call = grpc::check(target, *over_tls, service, check.timeout)?;
            let stream = reach(target, proxy, over_tls.then_some(&tls.http2), progress).await?;
            grpc::judge(&http2::ask(stream, call, progress).await?)
        }
    }
}

/// A GET over HTTP/2, which is spoken over TLS alone.
fn page<'a>(host: &str, path: &str, wanted: &'a [u8]) -> Result<http2::Call<'a>, String> {
    let request = Request::get(format!("https://{host}{path}"))
        .header(header::USER_AGENT, USER_AGENT)
        .body(())
        .map_err(|e| format!("host or path cannot be sent: {e}"))?;
    Ok(http2::Call { request, body: Bytes::new(), most: searched(wanted), until: Some(wanted) })
}

/// How much of the body is read.
const fn searched(wanted: &[u8]) -> usize {
    if wanted.is_empty() { 0 } else { SEARCHED }
}

fn judge(status: StatusCode, body: &[u8], wanted: &[u8]) -> Result<String, String> {
    if status != StatusCode::OK {
        return Err(format!("answered {}", status.as_u16()));
    }
    if memchr::memmem::find(body, wanted).is_none() {
        return Err(format!("response string not found in the first {SEARCHED} bytes"));
    }
    Ok("200 OK".to_owned())
}

/// A TCP or SSL probe: sends `request`, then waits for `response`; either may be empty.
async fn talk(
    mut stream: Stream,
    (request, response): (&str, &str),
    progress: &Progress,
) -> Result<String, String> {
    progress.reach(Stage::Waiting);
    stream.write_all(request.as_bytes()).await.map_err(|e| io_words(&e))?;
    stream.flush().await.map_err(|e| io_words(&e))?;
    if response.is_empty() {
        return Ok("connected".to_owned());
    }
    let mut expected = response.as_bytes();
    // One more than the longest response: what comes with it and does not belong to it makes it another one.
    let mut buffer = [0; SEARCHED + 1];
    while !expected.is_empty() {
        let wanted = buffer.len().min(expected.len() + 1);
        let read = match buffer.get_mut(..wanted) {
            Some(room) => stream.read(room).await.map_err(|e| io_words(&e))?,
            None => 0,
        };
        if read == 0 {
            return Err("connection closed before the expected response".to_owned());
        }
        let Some(rest) = expected.strip_prefix(buffer.get(..read).unwrap_or_default()) else {
            return Err("other bytes than the expected response".to_owned());
        };
        expected = rest;
    }
    Ok("expected response received".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixture::{Scripted, check, http, scripted};
    use super::*;

    const HEAD_END: &[u8] = b"\r\n\r\n";

    async fn ask(check: &HealthCheck, backend: &Scripted) -> Outcome {
        probe(check, backend.address, &Tls::unverified()).await
    }

    /// Outcome of a plain HTTP check against a backend that answers so and closes.
    async fn against(answer: &'static [u8]) -> Outcome {
        ask(&check(), &scripted(HEAD_END, answer, false).await).await
    }

    fn tcp(request: Option<&str>, response: Option<&str>) -> HealthCheck {
        let probe = Probe::Tcp {
            over_tls: false,
            request: request.map(Into::into),
            response: response.map(Into::into),
        };
        HealthCheck { probe, ..check() }
    }

    fn searching(response: &str) -> HealthCheck {
        HealthCheck { probe: http("/", Some(response)), ..check() }
    }

    fn impatient(check: HealthCheck) -> HealthCheck {
        HealthCheck { timeout: Span::secs(1), ..check }
    }

    /// [G 4.3]
    #[tokio::test]
    async fn exactly_200_is_success() {
        let outcome = against(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!((outcome.success, outcome.reason.as_str()), (true, "200 OK"));
        assert!(outcome.latency > Span::ZERO);
    }

    /// [G 4.3]
    #[tokio::test]
    async fn every_other_status_fails_and_redirects_are_not_followed() {
        for (answer, reason) in [
            (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], "answered 204"),
            (b"HTTP/1.1 301 Moved Permanently\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "answered 301"),
            (
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
                "answered 302",
            ),
            (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "answered 503"),
        ] {
            let outcome = against(answer).await;
            assert_eq!((outcome.success, outcome.timed_out, outcome.reason.as_str()), (false, false, reason));
        }
    }

    /// [G 4.9, 4b]
    #[tokio::test]
    async fn the_request_names_googles_prober_and_the_address_as_host() {
        let backend = scripted(HEAD_END, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false).await;
        let check = HealthCheck { probe: http("/healthz?deep=1", None), ..check() };
        assert!(ask(&check, &backend).await.success);
        let heard = String::from_utf8(backend.heard.await.unwrap()).unwrap();
        assert_eq!(
            heard,
            "GET /healthz?deep=1 HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: GoogleHC/1.0\r\nconnection: close\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn a_host_of_the_check_is_sent_as_it_is() {
        let backend = scripted(HEAD_END, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false).await;
        let host = Some("www.example".into());
        let probe = Probe::Http { spoken: Spoken::Http, host, path: "/".into(), response: None };
        assert!(ask(&HealthCheck { probe, ..check() }, &backend).await.success);
        let heard = String::from_utf8(backend.heard.await.unwrap()).unwrap();
        assert!(heard.contains("host: www.example\r\n"), "{heard}");
    }

    /// [G 4.4]
    #[tokio::test]
    async fn the_response_string_must_be_within_the_first_1024_bytes() {
        let at = |offset: usize| -> &'static [u8] {
            let filler = "x".repeat(offset);
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
            let body = format!("{head}{filler}alive{}", "y".repeat(4995 - offset));
            Vec::leak(body.into_bytes())
        };
        for (offset, success) in [(0, true), (1019, true), (1020, false), (3000, false)] {
            let outcome = ask(&searching("alive"), &scripted(HEAD_END, at(offset), false).await).await;
            assert_eq!(outcome.success, success, "at {offset}: {}", outcome.reason);
        }
    }

    /// [G 4.4]
    #[tokio::test]
    async fn a_response_string_that_never_comes_is_named_as_the_reason() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndead"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n2\r\nad\r\n0\r\n\r\n",
        ] {
            let outcome = ask(&searching("alive"), &scripted(HEAD_END, answer, false).await).await;
            let expected = (false, "response string not found in the first 1024 bytes");
            assert_eq!((outcome.success, outcome.reason.as_str()), expected);
        }
    }

    /// [G 4.4]
    #[tokio::test]
    async fn a_response_string_counts_over_borders_of_chunks_and_ends_the_reading() {
        // The body never ends: only a probe that stops when it has seen enough succeeds.
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nali\r\n2\r\nve\r\n";
        let outcome = ask(&searching("alive"), &scripted(HEAD_END, answer, true).await).await;
        assert!(outcome.success, "{}", outcome.reason);
    }

    /// [G 4.8]
    #[tokio::test]
    async fn an_https_probe_passes_an_expired_self_signed_certificate_for_another_name() {
        use crate::net::tls::bad_servers::{EXPIRED, server};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(server(EXPIRED, &rustls::version::TLS13));
        // [G 4.6] The PROXY line comes before the handshake, in clear.
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut line = [0; 15];
            stream.read_exact(&mut line).await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            stream.flush().await.unwrap();
            line
        });
        let probe_kind = Probe::Http { spoken: Spoken::Https, host: None, path: "/".into(), response: None };
        let check = HealthCheck { probe: probe_kind, sends_proxy_header: true, ..check() };
        let outcome = probe(&check, address, &Tls::unverified()).await;
        assert!(outcome.success, "{}", outcome.reason);
        assert_eq!(&server.await.unwrap(), b"PROXY UNKNOWN\r\n");
    }

    /// [G 4.6]
    #[tokio::test]
    async fn proxy_v1_puts_its_line_before_the_request() {
        let backend = scripted(HEAD_END, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false).await;
        assert!(ask(&HealthCheck { sends_proxy_header: true, ..check() }, &backend).await.success);
        assert!(backend.heard.await.unwrap().starts_with(b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n"));
    }

    /// [G 4.5]
    #[tokio::test]
    async fn a_tcp_connection_that_stands_is_success() {
        let outcome = ask(&tcp(None, None), &scripted(b"", b"", true).await).await;
        assert_eq!((outcome.success, outcome.reason.as_str()), (true, "connected"));
    }

    /// [G 4.5, 4.6]
    #[tokio::test]
    async fn a_tcp_request_is_sent_and_its_response_must_match_exactly() {
        let check = HealthCheck { sends_proxy_header: true, ..tcp(Some("PING"), Some("PONG")) };
        for (answer, success) in
            [(&b"PONG"[..], true), (b"PONG and more", false), (b"a PONG", false), (b"PO", false)]
        {
            let backend = scripted(b"PING", answer, false).await;
            let outcome = ask(&check, &backend).await;
            assert_eq!(outcome.success, success, "{}", outcome.reason);
            assert_eq!(backend.heard.await.unwrap(), b"PROXY UNKNOWN\r\nPING");
        }
    }

    /// [G 4.5, 4.6, 4.8]
    #[tokio::test]
    async fn an_ssl_probe_talks_after_the_handshake_which_alone_is_success_too() {
        use crate::net::tls::bad_servers::{EXPIRED, server};
        for (response, said, reason) in [
            (None, &b""[..], "connected"),
            (Some("PONG"), b"PONG", "expected response received"),
            (Some("PONG"), b"GONE", "other bytes than the expected response"),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(server(EXPIRED, &rustls::version::TLS12));
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut line = [0; 15];
                stream.read_exact(&mut line).await.unwrap();
                let mut stream = acceptor.accept(stream).await.unwrap();
                let mut request = [0; 4];
                stream.read_exact(&mut request).await.unwrap();
                stream.write_all(said).await.unwrap();
                stream.flush().await.unwrap();
                (line, request)
            });
            let (request, response) = (Some("PING".into()), response.map(Into::into));
            let probe_kind = Probe::Tcp { over_tls: true, request, response };
            let check = HealthCheck { probe: probe_kind, sends_proxy_header: true, ..check() };
            let outcome = probe(&check, address, &Tls::unverified()).await;
            assert_eq!(outcome.reason, reason);
            assert_eq!(outcome.success, reason != "other bytes than the expected response");
            assert_eq!(server.await.unwrap(), (*b"PROXY UNKNOWN\r\n", *b"PING"));
        }
    }

    #[tokio::test]
    async fn an_ssl_probe_fails_where_no_tls_is_spoken_and_times_out_where_nothing_is_said() {
        let ssl =
            HealthCheck { probe: Probe::Tcp { over_tls: true, request: None, response: None }, ..check() };
        let outcome = ask(&ssl, &scripted(b"", b"220 smtp.example ready\r\n", true).await).await;
        assert!(outcome.reason.starts_with("TLS handshake failed"), "{}", outcome.reason);
        let outcome = ask(&impatient(ssl), &scripted(b"", b"", true).await).await;
        assert_eq!((outcome.timed_out, outcome.reason.as_str()), (true, "no TLS handshake within 1 s"));
    }

    /// [G 4.5]
    #[tokio::test]
    async fn a_tcp_response_without_a_request_still_waits_for_data() {
        assert!(ask(&tcp(None, Some("220 ready")), &scripted(b"", b"220 ready", true).await).await.success);
        let outcome = ask(&impatient(tcp(None, Some("220"))), &scripted(b"", b"", true).await).await;
        assert_eq!((outcome.timed_out, outcome.reason.as_str()), (true, "no answer within 1 s"));
    }

    #[tokio::test]
    async fn nothing_listening_is_a_refused_connection() {
        let backend = scripted(HEAD_END, b"", false).await;
        backend.heard.abort();
        let _ = backend.heard.await;
        let outcome = probe(&check(), backend.address, &Tls::unverified()).await;
        assert_eq!((outcome.timed_out, outcome.reason.as_str()), (false, "connection refused"));
    }

    #[tokio::test]
    async fn a_backend_that_never_answers_times_out() {
        let outcome = ask(&impatient(check()), &scripted(HEAD_END, b"", true).await).await;
        let expected = (false, true, "no answer within 1 s");
        assert_eq!((outcome.success, outcome.timed_out, outcome.reason.as_str()), expected);
    }

    #[tokio::test]
    async fn a_backend_that_stalls_in_the_head_or_in_the_body_times_out() {
        let stalled_head = scripted(HEAD_END, b"HTTP/1.1 200 OK\r\nContent-Le", true).await;
        let outcome = ask(&impatient(check()), &stalled_head).await;
        assert_eq!((outcome.timed_out, outcome.reason.as_str()), (true, "no answer within 1 s"));
        let stalled_body = scripted(HEAD_END, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nali", true).await;
        let outcome = ask(&impatient(searching("alive")), &stalled_body).await;
        assert_eq!((outcome.timed_out, outcome.reason.as_str()), (true, "no complete answer within 1 s"));
    }

    #[tokio::test]
    async fn garbage_and_early_ends_are_failures_in_plain_words() {
        for (answer, reason) in [
            (&b"220 smtp.example ready\r\n\r\n"[..], "answer is not HTTP/1.1"),
            (b"\0\x01\x02\xff\r\n\r\n", "answer is not HTTP/1.1"),
            (b"", "connection closed before the answer was complete"),
            (b"HTTP/1.1 200", "connection closed before the answer was complete"),
        ] {
            let outcome = against(answer).await;
            assert_eq!((outcome.success, outcome.reason.as_str()), (false, reason));
        }
    }

    #[tokio::test]
    async fn a_head_without_end_is_cut_off() {
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(100_000));
        let outcome = against(Vec::leak(endless.into_bytes())).await;
        assert_eq!((outcome.success, outcome.reason.as_str()), (false, "answer head larger than 16 KiB"));
    }

    /// [G 4.2]
    #[test]
    fn the_serving_port_or_the_fixed_one_is_probed() {
        let serving: SocketAddr = "10.0.0.1:8080".parse().unwrap();
        assert_eq!(target(&check(), serving), serving);
        let fixed = HealthCheck { port: ProbePort::Fixed(80), ..check() };
        assert_eq!(target(&fixed, serving), "10.0.0.1:80".parse().unwrap());
    }
}
