//! One attempt: a connection, the request out, the head of the answer in, and what went wrong if it did.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use pin_project_lite::pin_project;
use tokio_rustls::rustls::ClientConfig;

use super::arriving::Arriving;
use super::body::{Progress, RequestBody};
use super::breaker::{self, Way};
use super::context::Context as Worker;
use super::failure::{Failure, Stage};
use super::http1::member::{Conn, Fault, Outgoing, Unsent};
use super::pool::Upstream;
use super::serve::Client;
use crate::ledger::process::Traffic;
use crate::model::detail::StatusDetail;
use crate::model::service::Protocol;
use crate::net::connect::{CONNECT_TIMEOUT, ConnectError, Stream, connect};
use crate::net::dial::dial;
use crate::net::tls::HTTP2;
use crate::world::{LiveMember, LiveService};

/// Largest head of an answer [G 6b: about 128 KB].
pub(crate) const MAX_RESPONSE_HEAD: usize = 128 * 1024;

/// A plan that names what is not there: a fault of ours.
pub(crate) const MISPLACED: Failure = Failure { stage: Stage::Pick, detail: StatusDetail::InternalError };

/// What failed, and a stream's request if it never went out.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) unsent: Option<Box<Request<RequestBody>>>,
}

/// A fresh connection to the member at `place`, or, where connections are limited, a kept one that has come free
/// meanwhile.
pub(crate) async fn fresh(
    client: &Rc<Client>,
    service: &Arc<LiveService>,
    place: (u32, u32),
    may_keep: bool,
) -> Result<Box<Upstream>, Failure> {
    let member = service.member(place.0, place.1).ok_or(MISPLACED)?;
    let held = match breaker::connection(client, service, (member, may_keep)).await? {
        Way::Kept(upstream) => return Ok(upstream),
        Way::New(held) => held,
    };
    if service.config.protocol.is_http2() {
        let (pool, number) = (&client.context.pool, member.numbered.number);
        pool.note_limited(held.is_some());
        return Ok(Upstream::of_seat(pool.shared.open(client, service, (place, number), held), number));
    }
    let mut upstream = connect_to(client, member, service.config.protocol).await?;
    upstream.held = held;
    let most = service.config.policies.circuit_breakers.max_requests_per_connection;
    upstream.most = most.map_or(u64::MAX, u64::from);
    Ok(upstream)
}

/// A fresh connection to a member, of its own.
async fn connect_to(
    client: &Client,
    member: &LiveMember,
    protocol: Protocol,
) -> Result<Box<Upstream>, Failure> {
    let mut connecting = pin!(open(&client.context, member, protocol));
    let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(Some(connected)),
        Poll::Pending if client.watched.is_expired() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let timeout = Failure { stage: Stage::Timeout, detail: StatusDetail::BackendTimeout };
    let (stream, peer) = connected.await.ok_or(timeout)??;
    let mut upstream = Upstream::new(Conn::new(stream), member.numbered.number);
    upstream.peer = peer;
    Ok(upstream)
}

/// A fresh connection that speaks what the service's members speak, and where it leads for a member that is known by
/// name.
pub(crate) async fn open(
    context: &Worker,
    member: &LiveMember,
    protocol: Protocol,
) -> Result<(Stream, Option<IpAddr>), Failure> {
    let failed = |detail| Failure { stage: Stage::Connect, detail };
    let tls = match protocol {
        Protocol::Https => Some(&context.tls),
        Protocol::Http2 => Some(&context.tls_http2),
        _ => None,
    };
    let (stream, peer) = reach(member, tls).await.map_err(|error| {
        tracing::debug!(member = %member.config.name, address = member.config.place(), %error, "connect failed");
        failed(match error {
            ConnectError::NoProtocol => StatusDetail::FailedToNegotiateAlpn,
            _ => StatusDetail::FailedToConnectToBackend,
        })
    })?;
    context.process.count(context.worker, Traffic::BackendConnections);
    if protocol == Protocol::Http2 && stream.protocol() != Some(HTTP2) {
        return Err(failed(StatusDetail::FailedToNegotiateAlpn));
    }
    Ok((stream, peer))
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

/// An attempt under way on a connection of its own: see [`send`].
pub(crate) struct Sending<'a> {
    client: &'a Client,
    conn: &'a mut Conn,
    /// `None` once it is under way.
    outgoing: Option<&'a mut Outgoing>,
    served: u64,
    progress: Option<&'a Progress>,
}

/// Sends the request and waits for the head of the answer. Dropping the future closes the connection, so that a
/// client that leaves stops the member's work. What was not sent is still in `outgoing`. `None` on a shared connection.
pub(crate) fn send<'a>(
    client: &'a Client,
    upstream: &'a mut Upstream,
    outgoing: &'a mut Outgoing,
    progress: Option<&'a Progress>,
) -> Option<Sending<'a>> {
    let served = upstream.served();
    let conn = upstream.own()?;
    Some(Sending { client, conn, outgoing: Some(outgoing), served, progress })
}

/// The same on a stream of a shared connection. Dropping the future resets the stream.
pub(crate) async fn send_shared(
    client: &Client,
    upstream: &mut Upstream,
    mut request: Box<Request<RequestBody>>,
    progress: Option<&Progress>,
) -> Result<Response<Arriving>, Failed> {
    let Some(seat) = upstream.seat() else { return Err(Failed { failure: MISPLACED, unsent: None }) };
    let unsent = |failure, request| Err(Failed { failure, unsent: Some(request) });
    let mut send = match seat.ready(client).await {
        Ok(send) => send,
        Err(failure) => return unsent(failure, request),
    };
    let scheme = if seat.is_tls() { Scheme::HTTPS } else { Scheme::HTTP };
    if to_http2(&mut request, scheme).is_err() {
        return unsent(Failure::client(StatusDetail::InvalidRequestHeaders), request);
    }
    let answer = send.try_send_request(*request);
    SendingShared { answer, client, upstream, progress }.await.map_err(|mut failed| {
        if let Some(request) = failed.unsent.as_deref_mut() {
            from_http2(request);
        }
        failed
    })
}

pin_project! {
    /// An attempt under way on a stream: see [`send_shared`]. Written out, since an `async` block would keep what it
    /// waits for twice.
    struct SendingShared<'a, F> {
        #[pin]
        answer: F,
        client: &'a Client,
        upstream: &'a Upstream,
        progress: Option<&'a Progress>,
    }
}

/// `Host` becomes `:authority` [RFC 9113 8.3.1].
fn to_http2(request: &mut Request<RequestBody>, scheme: Scheme) -> Result<(), http::Error> {
    let host = request.headers_mut().remove(HOST).unwrap_or(HeaderValue::from_static(""));
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(scheme).authority(host.as_bytes()).path_and_query(path).build()?;
    *request.uri_mut() = uri;
    Ok(())
}

/// As it was before.
fn from_http2(request: &mut Request<RequestBody>) {
    let uri = request.uri();
    let host = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
}

impl Future for Sending<'_> {
    type Output = Result<Response<Arriving>, Failed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { client, conn, outgoing, served, progress } = self.get_mut();
        let scratch = &client.context.scratch;
        let (polled, is_unsent) = match outgoing.take() {
            Some(outgoing) => match conn.begin(outgoing, cx, scratch) {
                Ok(()) => (Poll::Pending, false),
                Err(Unsent) => (Poll::Ready(Err(Fault::Closed)), true),
            },
            None => (conn.poll_answer(cx, scratch), false),
        };
        Poll::Ready(match polled {
            Poll::Ready(Ok(response)) => Ok(response.map(Arriving::Own)),
            Poll::Ready(Err(fault)) => {
                let failure = classify(client, fault, *served, is_unsent, *progress);
                Err(Failed { failure, unsent: None })
            }
            Poll::Pending if client.watched.is_expired() => {
                Err(Failed { failure: timed_out(client, *progress), unsent: None })
            }
            Poll::Pending => return Poll::Pending,
        })
    }
}

impl<F> Future for SendingShared<'_, F>
where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
{
    type Output = Result<Response<Arriving>, Failed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match this.answer.poll(cx) {
            Poll::Ready(Ok(response)) => Ok(response.map(Arriving::Shared)),
            Poll::Ready(Err(mut refused)) => {
                let unsent = refused.take_message().map(Box::new);
                let served = this.upstream.served();
                let error = stream_error(refused.error());
                let is_refused =
                    error.is_some_and(|error| error.reason() == Some(h2::Reason::REFUSED_STREAM));
                let is_gone = error.is_some_and(|error| error.is_go_away() && error.is_remote());
                if let (Some(seat), true) = (this.upstream.seat(), is_gone || unsent.is_some()) {
                    seat.retire();
                }
                // Refused, or sent after its GOAWAY: the member has said that it did nothing with the request.
                let is_unsent = unsent.is_some() || is_refused || is_gone;
                let fault = fault_of_stream(refused.error());
                let failure = classify(this.client, fault, served, is_unsent, *this.progress);
                Err(Failed { failure, unsent })
            }
            Poll::Pending if this.client.watched.is_expired() => {
                Err(Failed { failure: timed_out(this.client, *this.progress), unsent: None })
            }
            Poll::Pending => return Poll::Pending,
        })
    }
}

/// Whose fault it is that time ran out: the client's while it owes a part of its request, and not while the member is
/// too slow to take what the client has.
fn timed_out(client: &Client, progress: Option<&Progress>) -> Failure {
    if progress.is_some_and(|progress| progress.is_awaited.get() && !progress.has_ended.get()) {
        if client.watched.is_below_floor() {
            client.context.process.count(client.context.worker, Traffic::SlowBodies);
        }
        return Failure::client(StatusDetail::ClientTimedOut);
    }
    Failure { stage: Stage::Timeout, detail: StatusDetail::BackendTimeout }
}

/// What HTTP/2 has to say about it.
fn stream_error(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error).and_then(|source| source.downcast_ref())
}

fn fault_of_stream(error: &hyper::Error) -> Fault {
    if error.is_parse_too_large() {
        Fault::TooLarge
    } else if error.is_parse() {
        Fault::Corrupt
    } else {
        Fault::Closed
    }
}

fn classify(
    client: &Client,
    fault: Fault,
    served: u64,
    is_unsent: bool,
    progress: Option<&Progress>,
) -> Failure {
    if progress.is_some_and(|p| p.has_failed.get()) {
        let detail = client.refusal().unwrap_or(StatusDetail::ClientDisconnectedBeforeAny);
        return Failure::client(detail);
    }
    let at = |stage, detail| Failure { stage, detail };
    match fault {
        Fault::TooLarge => return at(Stage::Answer, StatusDetail::BackendResponseHeadersTooLong),
        Fault::Corrupt => return at(Stage::Answer, StatusDetail::BackendResponseCorrupted),
        Fault::Closed => {}
    }
    let stage = match (is_unsent, served) {
        (true, _) => Stage::Unsent,
        (false, 0) => Stage::Sent,
        (false, _) => Stage::Reused,
    };
    at(stage, StatusDetail::BackendConnectionClosedBeforeData)
}
