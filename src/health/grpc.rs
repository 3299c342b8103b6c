//! `grpc.health.v1.Health/Check` [G 4.7]: the call and its verdict.
//!
//! The two messages are written down by hand: no compiler for two fields.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header};
use prost::Message;

use super::fetch::USER_AGENT;
use super::http2::{Answer, Call};
use crate::model::unit::Span;

/// Most that is read of an answer, in bytes; a sound one has seven.
const MOST: usize = 1024;
/// A message of gRPC begins with a flag (1 = compressed) and its length, four bytes.
const PREFIX: usize = 5;
const SERVING: i32 = 1;

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    /// Empty = the whole server.
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    /// A `ServingStatus`, see [`serving_status`].
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The call that asks `target` for the health of `service`; it tells the member how long there is time.
pub(super) fn check(
    target: SocketAddr,
    over_tls: bool,
    service: &str,
    timeout: Span,
) -> Result<Call<'static>, String> {
    let scheme = if over_tls { "https" } else { "http" };
    let request = Request::post(format!("{scheme}://{target}/grpc.health.v1.Health/Check"))
        .header(header::TE, "trailers")
        .header("grpc-timeout", format!("{}S", timeout.as_secs()))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::USER_AGENT, USER_AGENT)
        .body(())
        .map_err(|e| format!("the call cannot be sent: {e}"))?;
    let message = HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
    let mut body = BytesMut::with_capacity(PREFIX + message.len());
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put_slice(&message);
    Ok(Call { request, body: body.freeze(), most: MOST, until: None })
}

/// Healthy is gRPC status OK and SERVING [G 4.7]; the reason in words either way.
pub(super) fn judge(answer: &Answer) -> Result<String, String> {
    if answer.head.status != StatusCode::OK {
        return Err(format!("answered {}", answer.head.status.as_u16()));
    }
    if !answer.is_whole {
        return Err(format!("answer larger than {MOST} bytes"));
    }
    // An answer without a message has its status in the head.
    let trailers = answer.trailers.as_ref().unwrap_or(&answer.head.headers);
    let Some(code) = trailers.get("grpc-status") else {
        let why =
            if is_grpc(&answer.head.headers) { "answer without grpc-status" } else { "answer is not gRPC" };
        return Err(why.to_owned());
    };
    match code.to_str().ok().and_then(|code| code.parse::<u32>().ok()) {
        Some(0) => {}
        Some(code) => return Err(format!("grpc-status {code}{}", named(code))),
        None => return Err("grpc-status is no number".to_owned()),
    }
    let status = message(&answer.body)?.status;
    let words = format!("status {}", serving_status(status));
    if status == SERVING { Ok(words) } else { Err(words) }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The one message of an answer.
fn message(body: &[u8]) -> Result<HealthCheckResponse, String> {
    let Some((&[flag, length @ ..], message)) = body.split_first_chunk::<PREFIX>() else {
        return Err("answer without a message".to_owned());
    };
    if flag != 0 {
        return Err("answer is compressed, and nobody asked for that".to_owned());
    }
    if u32::try_from(message.len()) != Ok(u32::from_be_bytes(length)) {
        return Err("answer is no HealthCheckResponse".to_owned());
    }
    let message = Bytes::copy_from_slice(message);
    HealthCheckResponse::decode(message).map_err(|_| "answer is no HealthCheckResponse".to_owned())
}

/// The name of a `HealthCheckResponse.ServingStatus`.
fn serving_status(status: i32) -> String {
    match status {
        0 => "UNKNOWN".to_owned(),
        SERVING => "SERVING".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => other.to_string(),
    }
}

/// The name of a gRPC status, with a space before it; empty for numbers that have none.
fn named(code: u32) -> &'static str {
    match code {
        1 => " CANCELLED",
        2 => " UNKNOWN",
        3 => " INVALID_ARGUMENT",
        4 => " DEADLINE_EXCEEDED",
        5 => " NOT_FOUND",
        6 => " ALREADY_EXISTS",
        7 => " PERMISSION_DENIED",
        8 => " RESOURCE_EXHAUSTED",
        9 => " FAILED_PRECONDITION",
        10 => " ABORTED",
        11 => " OUT_OF_RANGE",
        12 => " UNIMPLEMENTED",
        13 => " INTERNAL",
        14 => " UNAVAILABLE",
        15 => " DATA_LOSS",
        16 => " UNAUTHENTICATED",
        _ => "",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::exchange::{Outcome, Tls, probe};
    use super::super::fixture::{self, Act, Headers, Http2, http2};
    use crate::model::probe::{HealthCheck, Probe};
    use crate::model::unit::Span;

    const H2: Option<&[&[u8]]> = Some(&[b"h2"]);
    const GRPC: Headers = &[("content-type", "application/grpc")];
    const OK: Headers = &[("grpc-status", "0")];

    fn check(over_tls: bool, service: &str) -> HealthCheck {
        HealthCheck { probe: Probe::Grpc { over_tls, service: service.into() }, ..fixture::check() }
    }

    async fn ask(check: &HealthCheck, server: &Http2) -> Outcome {
        probe(check, server.address, &Tls::unverified()).await
    }

    /// Verdict and reason of a check in clear.
    async fn against(act: Act) -> (bool, String) {
        let outcome = ask(&check(false, ""), &http2(None, act).await).await;
        assert!(!outcome.timed_out, "{}", outcome.reason);
        (outcome.success, outcome.reason)
    }

    fn status(status: u8) -> Act {
        Act::Answer(200, GRPC, vec![0, 0, 0, 0, 2, 8, status], OK)
    }

    fn body(body: &[u8]) -> Act {
        Act::Answer(200, GRPC, body.to_vec(), OK)
    }

    fn code(trailers: Headers) -> Act {
        Act::Answer(200, GRPC, Vec::new(), trailers)
    }

    /// [G 4.7]
    #[tokio::test]
    async fn serving_alone_is_healthy() {
        for (number, success, reason) in [
            (1, true, "status SERVING"),
            (2, false, "status NOT_SERVING"),
            (3, false, "status SERVICE_UNKNOWN"),
            (9, false, "status 9"),
        ] {
            assert_eq!(against(status(number)).await, (success, reason.to_owned()));
        }
        // In proto3 an empty message is one whose fields are all zero.
        assert_eq!(against(body(&[0; 5])).await, (false, "status UNKNOWN".to_owned()));
    }

    /// [G 4.7]
    #[tokio::test]
    async fn every_other_grpc_status_is_a_failure_with_its_name() {
        for (trailers, reason) in [
            (&[("grpc-status", "5")][..], "grpc-status 5 NOT_FOUND"),
            (&[("grpc-status", "12"), ("grpc-message", "no such service")], "grpc-status 12 UNIMPLEMENTED"),
            (&[("grpc-status", "77")], "grpc-status 77"),
            (&[("grpc-status", "fine")], "grpc-status is no number"),
            (&[("x-other", "1")], "answer without grpc-status"),
        ] {
            assert_eq!(against(code(trailers)).await, (false, reason.to_owned()));
        }
        // SERVING counts for nothing without OK.
        let refused = Act::Answer(200, GRPC, vec![0, 0, 0, 0, 2, 8, 1], &[("grpc-status", "14")]);
        assert_eq!(against(refused).await, (false, "grpc-status 14 UNAVAILABLE".to_owned()));
    }

    #[tokio::test]
    async fn a_status_in_the_head_of_an_answer_without_a_message_counts() {
        let head = &[("content-type", "application/grpc"), ("grpc-status", "5")];
        let bare = Act::Answer(200, head, Vec::new(), &[]);
        assert_eq!(against(bare).await, (false, "grpc-status 5 NOT_FOUND".to_owned()));
        let empty = Act::Answer(200, OK, Vec::new(), &[]);
        assert_eq!(against(empty).await, (false, "answer without a message".to_owned()));
    }

    /// [G 4.7, 4.9]
    #[tokio::test]
    async fn the_call_names_the_service_and_the_time_that_there_is() {
        let server = http2(None, status(1)).await;
        let outcome = ask(&check(false, "shop.Orders"), &server).await;
        assert!(outcome.success, "{}", outcome.reason);
        let (head, body) = server.heard.await.unwrap();
        assert_eq!(head.method, http::Method::POST);
        assert_eq!(head.uri.to_string(), format!("http://{}/grpc.health.v1.Health/Check", server.address));
        let header = |name: &str| head.headers.get(name).unwrap().to_str().unwrap();
        assert_eq!((header("te"), header("content-type")), ("trailers", "application/grpc"));
        assert_eq!((header("grpc-timeout"), header("user-agent")), ("5S", "GoogleHC/1.0"));
        assert_eq!(body, b"\0\0\0\0\x0d\x0a\x0bshop.Orders");
        let server = http2(None, status(1)).await;
        assert!(ask(&check(false, ""), &server).await.success);
        assert_eq!(server.heard.await.unwrap().1, [0; 5]);
    }

    /// [G 4.8]
    #[tokio::test]
    async fn over_tls_an_expired_certificate_passes() {
        let server = http2(H2, status(1)).await;
        let outcome = ask(&check(true, ""), &server).await;
        assert_eq!((outcome.success, outcome.reason.as_str()), (true, "status SERVING"));
        assert_eq!(server.heard.await.unwrap().0.uri.scheme_str(), Some("https"));
        let outcome = ask(&check(true, ""), &http2(H2, status(2)).await).await;
        assert_eq!((outcome.success, outcome.reason.as_str()), (false, "status NOT_SERVING"));
    }

    #[tokio::test]
    async fn garbage_is_a_failure_in_plain_words() {
        for (act, reason) in [
            (Act::Answer(503, &[], Vec::new(), &[]), "answered 503"),
            (Act::Answer(200, &[], b"hello".to_vec(), &[]), "answer is not gRPC"),
            (body(&[0, 0, 0]), "answer without a message"),
            (body(&[1, 0, 0, 0, 2, 8, 1]), "answer is compressed, and nobody asked for that"),
            (body(&[0, 0, 0, 0, 9, 8, 1]), "answer is no HealthCheckResponse"),
            (body(&[0, 0, 0, 0, 2, 0xff, 0xff]), "answer is no HealthCheckResponse"),
            (Act::Endless, "answer larger than 1024 bytes"),
            (Act::Reset(h2::Reason::REFUSED_STREAM), "stream reset by REFUSED_STREAM"),
        ] {
            assert_eq!(against(act).await, (false, reason.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_call_that_is_never_answered_times_out() {
        for over_tls in [false, true] {
            let check = HealthCheck { timeout: Span::secs(1), ..check(over_tls, "") };
            let outcome = ask(&check, &http2(over_tls.then_some(&[b"h2"]), Act::Hold).await).await;
            let expected = (false, true, "no answer within 1 s");
            assert_eq!((outcome.success, outcome.timed_out, outcome.reason.as_str()), expected);
        }
    }
}
