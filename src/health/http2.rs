//! One call over a connection of HTTP/2 of its own: probes of type HTTP2 and gRPC.
//!
//! The connection is driven here and nowhere else: when the time of a probe runs out, nothing of it is left. What the
//! other side sends is limited: a head by [`HEAD_LIMIT`], a body by [`Call::most`] and by [`WINDOW`], which is never
//! opened again for what nobody reads. Pushes are refused.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::response::Parts;
use http::{HeaderMap, Request, StatusCode};

use super::fetch::{HEAD_LIMIT, Progress, Stage, io_words};
use crate::net::connect::Stream;

/// Bytes that the other side may send ahead.
const WINDOW: u32 = 16 * 1024;

/// What to ask.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// With an absolute address.
    pub(super) request: Request<()>,
    /// Sent after it; empty = there is none.
    pub(super) body: Bytes,
    /// Read at most so much of a 200's body; 0 = none of it.
    pub(super) most: usize,
    /// Read no further once the body contains this.
    pub(super) until: Option<&'a [u8]>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Parts,
    /// The beginning of the body, at most `most` bytes; empty unless the status is 200.
    pub(super) body: Vec<u8>,
    /// What came after the body; `None` also where it was not read to its end.
    pub(super) trailers: Option<HeaderMap>,
    /// Whether the body was read to its end.
    pub(super) is_whole: bool,
}

/// Asks once over `stream` and reads what is wanted of the answer.
pub(super) async fn ask(stream: Stream, call: Call<'_>, progress: &Progress) -> Result<Answer, String> {
    progress.reach(Stage::Waiting);
    let (send, connection) = h2::client::Builder::new()
        .enable_push(false)
        .max_header_list_size(u32::try_from(HEAD_LIMIT).unwrap_or(u32::MAX))
        .initial_window_size(WINDOW)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(|e| words(&e))?;
    let mut connection = pin!(connection);
    // The connection only moves frames; how it ends is seen by the exchange.
    let drive = async {
        let _ = connection.as_mut().await;
        std::future::pending::<Infallible>().await
    };
    let answer = tokio::select! {
        answer = exchange(send, call, progress) => answer?,
        never = drive => match never {},
    };
    farewell(connection).await;
    Ok(answer)
}

/// Says that nothing more comes, as far as the socket takes it at once: the other side's log stays clean, and nobody
/// waits for it.
async fn farewell<T>(mut connection: Pin<&mut impl Future<Output = T>>) {
    poll_fn(|cx| {
        let _ = connection.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

async fn exchange(send: SendRequest<Bytes>, call: Call<'_>, progress: &Progress) -> Result<Answer, String> {
    let mut send = send.ready().await.map_err(|e| words(&e))?;
    let is_bare = call.body.is_empty();
    let (answer, mut stream) = send.send_request(call.request, is_bare).map_err(|e| words(&e))?;
    if !is_bare {
        stream.send_data(call.body, true).map_err(|e| words(&e))?;
    }
    let (head, mut incoming) = answer.await.map_err(|e| words(&e))?.into_parts();
    progress.reach(Stage::Reading);
    let mut answer = Answer { head, body: Vec::new(), trailers: None, is_whole: false };
    if answer.head.status != StatusCode::OK {
        return Ok(answer);
    }
    let is_found =
        |body: &[u8]| call.until.is_some_and(|wanted| memchr::memmem::find(body, wanted).is_some());
    while answer.body.len() < call.most && !is_found(&answer.body) {
        let Some(data) = incoming.data().await else {
            answer.is_whole = true;
            answer.trailers = incoming.trailers().await.map_err(|e| words(&e))?;
            break;
        };
        let data = data.map_err(|e| words(&e))?;
        let room = call.most - answer.body.len();
        answer.body.extend_from_slice(data.get(..room).unwrap_or(&data));
        incoming.flow_control().release_capacity(data.len()).map_err(|e| words(&e))?;
    }
    Ok(answer)
}

fn words(error: &h2::Error) -> String {
    use std::io::ErrorKind as Kind;
    if let Some(error) = error.get_io() {
        // A broken pipe is how the library says that the connection was over before the stream.
        return match error.kind() {
            Kind::BrokenPipe => "connection closed before the answer was complete".to_owned(),
            _ => io_words(error),
        };
    }
    match error.reason() {
        Some(reason) if error.is_remote() && error.is_go_away() => {
            format!("connection ended by GOAWAY {reason:?}")
        }
        Some(reason) if error.is_remote() => format!("stream reset by {reason:?}"),
        Some(Reason::FRAME_SIZE_ERROR | Reason::PROTOCOL_ERROR) if error.is_go_away() => {
            "answer is not HTTP/2".to_owned()
        }
        Some(Reason::PROTOCOL_ERROR) => {
            format!(
                "answer is against the rules of HTTP/2, or its head larger than {} KiB",
                HEAD_LIMIT / 1024
            )
        }
        Some(reason) => format!("answer is against the rules of HTTP/2: {reason:?}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::exchange::{Outcome, Tls, probe};
    use super::super::fixture::{self, Act, Http2, http2, scripted};
    use crate::model::probe::{HealthCheck, Probe, Spoken};
    use crate::model::unit::Span;

    const H2: Option<&[&[u8]]> = Some(&[b"h2"]);

    fn check(host: Option<&str>, path: &str, response: Option<&str>) -> HealthCheck {
        let (host, response) = (host.map(Into::into), response.map(Into::into));
        let probe = Probe::Http { spoken: Spoken::Http2, host, path: path.into(), response };
        HealthCheck { probe, ..fixture::check() }
    }

    async fn ask(check: &HealthCheck, server: &Http2) -> Outcome {
        probe(check, server.address, &Tls::unverified()).await
    }

    fn answer(status: u16, body: &[u8]) -> Act {
        Act::Answer(status, &[], body.to_vec(), &[])
    }

    /// [G 4.3, 4.8]
    #[tokio::test]
    async fn over_http2_too_exactly_200_is_success() {
        for (status, success, reason) in
            [(200, true, "200 OK"), (204, false, "answered 204"), (301, false, "answered 301")]
        {
            let outcome = ask(&check(None, "/", None), &http2(H2, answer(status, b"")).await).await;
            assert_eq!((outcome.success, outcome.reason.as_str()), (success, reason));
        }
    }

    /// [G 4.9, 4b]
    #[tokio::test]
    async fn the_request_names_the_host_or_the_address() {
        for (host, uri) in [
            (None, "https://127.0.0.1/healthz?deep=1"),
            (Some("a.example"), "https://a.example/healthz?deep=1"),
        ] {
            let server = http2(H2, answer(200, b"")).await;
            assert!(ask(&check(host, "/healthz?deep=1", None), &server).await.success);
            let (head, body) = server.heard.await.unwrap();
            assert_eq!((head.method, head.uri.to_string()), (http::Method::GET, uri.to_owned()));
            assert_eq!(head.headers["user-agent"], "GoogleHC/1.0");
            assert!(body.is_empty() && head.headers.len() == 1, "{:?}", head.headers);
        }
    }

    /// [G 4.4]
    #[tokio::test]
    async fn the_response_string_must_be_within_the_first_1024_bytes_here_too() {
        for (offset, success) in [(0, true), (1019, true), (1020, false), (3000, false)] {
            let body = ["x".repeat(offset), "alive".to_owned(), "y".repeat(5000)].concat();
            let server = http2(H2, answer(200, body.as_bytes())).await;
            let outcome = ask(&check(None, "/", Some("alive")), &server).await;
            assert_eq!(outcome.success, success, "at {offset}: {}", outcome.reason);
        }
        let outcome = ask(&check(None, "/", Some("alive")), &http2(H2, Act::Endless).await).await;
        let expected = (false, "response string not found in the first 1024 bytes");
        assert_eq!((outcome.success, outcome.reason.as_str()), expected);
    }

    #[tokio::test]
    async fn a_server_without_http2_is_told_apart_from_one_without_tls() {
        // It ignores ALPN, or has other protocols: the one goes on in HTTP/1.1, the other ends the handshake.
        for protocols in [&[][..], &[&b"http/1.1"[..]]] {
            let server = http2(Some(protocols), Act::Hold).await;
            let outcome = ask(&check(None, "/", None), &server).await;
            assert_eq!((outcome.success, outcome.reason.as_str()), (false, "no ALPN h2"));
        }
        let plain = scripted(b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", false).await;
        let outcome = probe(&check(None, "/", None), plain.address, &Tls::unverified()).await;
        assert!(outcome.reason.starts_with("TLS handshake failed"), "{}", outcome.reason);
    }

    #[tokio::test]
    async fn a_server_that_has_no_answer_in_http2_is_told_by_what_it_did() {
        let check =
            HealthCheck { probe: Probe::Grpc { over_tls: false, service: "".into() }, ..fixture::check() };
        for (said, reason) in [
            (&b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..], "answer is not HTTP/2"),
            (b"220 smtp.example ready\r\n", "answer is not HTTP/2"),
            // SETTINGS, then GOAWAY that took no stream.
            (
                b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b",
                "connection ended by GOAWAY ENHANCE_YOUR_CALM",
            ),
        ] {
            // It stays, so that no reset can overtake what it said.
            let server = scripted(b"\r\n\r\n", said, true).await;
            let outcome = probe(&check, server.address, &Tls::unverified()).await;
            assert_eq!((outcome.success, outcome.reason.as_str()), (false, reason));
        }
        let server = scripted(b"SM\r\n\r\n", b"", false).await;
        let outcome = probe(&check, server.address, &Tls::unverified()).await;
        assert!(!outcome.success && outcome.reason.starts_with("connection"), "{}", outcome.reason);
    }

    #[tokio::test]
    async fn a_head_without_end_is_cut_off() {
        let long: &'static str = String::leak("x".repeat(60_000));
        let headers = Vec::leak(vec![("x-long", long)]);
        let server = http2(H2, Act::Answer(200, headers, Vec::new(), &[])).await;
        let outcome = ask(&check(None, "/", None), &server).await;
        let expected = "answer is against the rules of HTTP/2, or its head larger than 16 KiB";
        assert_eq!((outcome.success, outcome.reason.as_str()), (false, expected));
    }

    #[tokio::test]
    async fn a_request_that_is_never_answered_times_out() {
        let check = HealthCheck { timeout: Span::secs(1), ..check(None, "/", None) };
        let outcome = ask(&check, &http2(H2, Act::Hold).await).await;
        assert_eq!((outcome.timed_out, outcome.reason.as_str()), (true, "no answer within 1 s"));
    }
}
