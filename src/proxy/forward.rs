//! One attempt: a connection, the request out, the head of the answer in, and what went wrong if it did.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::body::{Progress, RequestBody};
use super::failure::{Failure, Stage};
use super::pool::Upstream;
use super::serve::Client;
use crate::ledger::process::Traffic;
use crate::model::detail::StatusDetail;
use crate::model::service::Protocol;
use crate::net::connect::{CONNECT_TIMEOUT, connect};
use crate::world::LiveMember;

/// Largest head of an answer [G 6b: about 128 KB].
pub(crate) const MAX_RESPONSE_HEAD: usize = 128 * 1024;

/// What failed, and the request if it never went out.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) unsent: Option<Request<RequestBody>>,
}

/// A fresh connection to a member.
pub(crate) async fn connect_to(
    client: &Client,
    member: &LiveMember,
    protocol: Protocol,
) -> Result<Box<Upstream>, Failure> {
    let context = &client.context;
    let failed = |detail| Failure { stage: Stage::Connect, detail };
    let tls = matches!(protocol, Protocol::Https).then_some(&context.tls);
    let mut connecting = pin!(connect(member.config.address, tls, CONNECT_TIMEOUT));
    let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(Some(connected)),
        Poll::Pending if client.watched.is_expired() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let timeout = Failure { stage: Stage::Timeout, detail: StatusDetail::BackendTimeout };
    let stream = connected.await.ok_or(timeout)?.map_err(|error| {
        tracing::debug!(member = %member.config.name, address = %member.config.address, %error, "connect failed");
        failed(StatusDetail::FailedToConnectToBackend)
    })?;
    context.process.count(context.worker, Traffic::BackendConnections);
    let (send, conn) = http1::Builder::new()
        .max_header_size(MAX_RESPONSE_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| failed(StatusDetail::FailedToConnectToBackend))?;
    Ok(Upstream::new(conn, send, member.numbered.number))
}

/// Sends the request and waits for the head of the answer. Dropping the future closes the connection, so that a
/// client that leaves stops the member's work.
pub(crate) async fn send(
    client: &Client,
    upstream: &mut Upstream,
    request: Request<RequestBody>,
    progress: Option<&Progress>,
) -> Result<Response<Incoming>, Failed> {
    let served = upstream.served;
    let answer = {
        let mut sending = pin!(upstream.send.try_send_request(request));
        let conn = &mut upstream.conn;
        poll_fn(|cx| {
            // A connection that has ended is dropped at once: that is what makes `sending` end too.
            if conn.as_mut().is_some_and(|conn| Pin::new(conn).poll(cx).is_ready()) {
                *conn = None;
            }
            match sending.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if client.watched.is_expired() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    };
    let body_open = progress.is_some_and(|p| !p.has_ended.get());
    match answer {
        Some(Ok(response)) => Ok(response),
        Some(Err(mut refused)) => {
            let unsent = refused.take_message();
            let failure = classify(client, refused.error(), served, unsent.is_some(), progress);
            Err(Failed { failure, unsent })
        }
        None if body_open => {
            Err(Failed { failure: Failure::client(StatusDetail::ClientTimedOut), unsent: None })
        }
        None => Err(Failed {
            failure: Failure { stage: Stage::Timeout, detail: StatusDetail::BackendTimeout },
            unsent: None,
        }),
    }
}

fn classify(
    client: &Client,
    error: &hyper::Error,
    served: u64,
    is_unsent: bool,
    progress: Option<&Progress>,
) -> Failure {
    if progress.is_some_and(|p| p.has_failed.get()) {
        let detail = client.refusal().unwrap_or(StatusDetail::ClientDisconnectedBeforeAny);
        return Failure::client(detail);
    }
    let at = |stage, detail| Failure { stage, detail };
    if error.is_parse_too_large() {
        return at(Stage::Answer, StatusDetail::BackendResponseHeadersTooLong);
    }
    if error.is_parse() {
        return at(Stage::Answer, StatusDetail::BackendResponseCorrupted);
    }
    let stage = match (is_unsent, served) {
        (true, _) => Stage::Unsent,
        (false, 0) => Stage::Sent,
        (false, _) => Stage::Reused,
    };
    at(stage, StatusDetail::BackendConnectionClosedBeforeData)
}
