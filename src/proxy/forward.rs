//! One attempt: a connection, the request out, the head of the answer in, and what went wrong if it did.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio_rustls::rustls::ClientConfig;

use super::body::{Progress, RequestBody};
use super::failure::{Failure, Stage};
use super::pool::Upstream;
use super::serve::Client;
use crate::ledger::process::Traffic;
use crate::model::detail::StatusDetail;
use crate::model::service::Protocol;
use crate::net::connect::{CONNECT_TIMEOUT, ConnectError, Stream, connect};
use crate::net::dial::dial;
use crate::world::LiveMember;

/// Largest head of an answer [G 6b: about 128 KB].
pub(crate) const MAX_RESPONSE_HEAD: usize = 128 * 1024;

/// What failed, and the request if it never went out.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) unsent: Option<Box<Request<RequestBody>>>,
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
    let mut connecting = pin!(reach(member, tls));
    let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(Some(connected)),
        Poll::Pending if client.watched.is_expired() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let timeout = Failure { stage: Stage::Timeout, detail: StatusDetail::BackendTimeout };
    let (stream, peer) = connected.await.ok_or(timeout)?.map_err(|error| {
        tracing::debug!(member = %member.config.name, address = member.config.place(), %error, "connect failed");
        failed(StatusDetail::FailedToConnectToBackend)
    })?;
    context.process.count(context.worker, Traffic::BackendConnections);
    let (send, conn) = http1::Builder::new()
        .max_header_size(MAX_RESPONSE_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| failed(StatusDetail::FailedToConnectToBackend))?;
    let mut upstream = Upstream::new(conn, send, member.numbered.number);
    upstream.peer = peer;
    Ok(upstream)
}

/// A member that is known by name is reached at one of the addresses that its name leads to.
async fn reach(
    member: &LiveMember,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<(Stream, Option<IpAddr>), ConnectError> {
    let address = member.config.address;
    match (&member.config.host, &member.endpoint.resolution) {
        (Some(host), Some(resolution)) => {
            let addresses = resolution.in_turn();
            let (stream, peer) = dial((host, address.port()), &addresses, tls, CONNECT_TIMEOUT).await?;
            Ok((stream, Some(peer)))
        }
        _ => Ok((connect(address, tls, CONNECT_TIMEOUT).await?, None)),
    }
}

pin_project! {
    /// An attempt under way: see [`send`]. Written out, since an `async` block would keep what it waits for twice.
    pub(crate) struct Sending<'a, F> {
        #[pin]
        answer: F,
        client: &'a Client,
        upstream: &'a mut Upstream,
        progress: Option<&'a Progress>,
    }
}

/// Sends the request and waits for the head of the answer. Dropping the future closes the connection, so that a
/// client that leaves stops the member's work.
pub(crate) fn send<'a>(
    client: &'a Client,
    upstream: &'a mut Upstream,
    request: Request<RequestBody>,
    progress: Option<&'a Progress>,
) -> impl Future<Output = Result<Response<Incoming>, Failed>> + 'a {
    let answer = upstream.send.try_send_request(request);
    Sending { answer, client, upstream, progress }
}

impl<F> Future for Sending<'_, F>
where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
{
    type Output = Result<Response<Incoming>, Failed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        this.upstream.drive(cx);
        let mut polled = this.answer.as_mut().poll(cx);
        if polled.is_pending() && this.upstream.bury() {
            polled = this.answer.poll(cx);
        }
        Poll::Ready(match polled {
            Poll::Ready(Ok(response)) => Ok(response),
            Poll::Ready(Err(mut refused)) => {
                let unsent = refused.take_message().map(Box::new);
                let failure = classify(
                    this.client,
                    refused.error(),
                    this.upstream.served,
                    unsent.is_some(),
                    *this.progress,
                );
                Err(Failed { failure, unsent })
            }
            Poll::Pending if this.client.watched.is_expired() => {
                Err(Failed { failure: timed_out(*this.progress), unsent: None })
            }
            Poll::Pending => return Poll::Pending,
        })
    }
}

/// Whose fault it is that time ran out: the client's while it owes a part of its request, and not while the member is
/// too slow to take what the client has.
fn timed_out(progress: Option<&Progress>) -> Failure {
    if progress.is_some_and(|progress| progress.is_awaited.get() && !progress.has_ended.get()) {
        return Failure::client(StatusDetail::ClientTimedOut);
    }
    Failure { stage: Stage::Timeout, detail: StatusDetail::BackendTimeout }
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
