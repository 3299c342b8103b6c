//! WebSocket: after a member's 101 the two connections become one tunnel. The client's side may be a stream of HTTP/2
//! [RFC 8441].
//!
//! Time limits [G 5.4]: on managed schemes an idle tunnel ends at `timeoutSec` and an active one after 24 hours; on the
//! classic one it ends at `timeoutSec`, idle or not.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};
use tokio::sync::oneshot;

use super::arriving::Arriving;
use super::body::ResponseBody;
use super::failure::{Failure, Stage};
use super::http1::inbound::Socket;
use super::http2;
use super::pool::Upstream;
use super::record::Record;
use super::respond;
use super::watch::Watched;
use crate::clock;
use crate::model::detail::StatusDetail;
use crate::model::route::action::Timeout;
use crate::model::service::Scheme;
use crate::model::unit::{Span, Tick};

/// Longest life of a tunnel on managed schemes [G 5.4].
pub(crate) const LONGEST: Span = Span::secs(24 * 3600);
/// Bytes that a tunnel holds per direction.
const BUFFER: usize = 16 * 1024;

/// Answers with the member's 101 and starts the tunnel.
pub(crate) fn open(
    record: Box<Record>,
    mut response: Response<Arriving>,
    upstream: Box<Upstream>,
    client_side: Option<ClientSide>,
) -> Response<ResponseBody> {
    let Some(client_side) = client_side else {
        let detail = StatusDetail::WebsocketHandshakeFailed;
        return respond::failure(record, Failure { stage: Stage::Answer, detail });
    };
    let is_stream = record.client.stream().is_some();
    tokio::task::spawn_local(run(record, client_side, upstream));
    let mut answer = Response::new(ResponseBody::Tunnel);
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    if is_stream {
        http2::without_handshake(answer.headers_mut());
    } else {
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    }
    answer
}

async fn run(mut record: Box<Record>, client_side: ClientSide, upstream: Box<Upstream>) {
    record.detail = Some(StatusDetail::WebsocketHandshakeFailed);
    let Some(Socket { io: client_side, early: from_early }) = client_side.ready().await else { return };
    let Some((member_side, early, _held)) = upstream.into_socket() else { return };
    record.detail = Some(StatusDetail::WebsocketClosed);
    let limits = limits(&record);
    let watched = Rc::new(Watched::new(record.client.listener));
    watched.set_served_by(record.client.watched.served_by());
    record.client.context.watch.add(watched.clone());
    let _forget = Forget(watched.clone());
    watched.set_deadline(limits.deadline(clock::now()));
    let up = Rc::new(Cell::new(from_early.len() as u64));
    let down = Rc::new(Cell::new(early.len() as u64));
    let mut from_client = Counted::new(client_side, up.clone(), watched.clone(), limits);
    let mut from_member = Counted::new(member_side, down.clone(), watched.clone(), limits);
    {
        let mut copying = pin!(async {
            from_client.write_all(&early).await?;
            from_member.write_all(&from_early).await?;
            copy_bidirectional_with_sizes(&mut from_client, &mut from_member, BUFFER, BUFFER).await
        });
        poll_fn(|cx| {
            watched.register(cx.waker());
            if copying.as_mut().poll(cx).is_ready() || watched.is_expired() || watched.kill.get() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
    record.bytes_up = up.get();
    record.bytes_down = down.get();
    record.has_ended = true;
}

/// The client's side of a tunnel, before there is one.
pub(crate) enum ClientSide {
    /// A connection of HTTP/1.1.
    Connection(oneshot::Receiver<Socket>),
    /// A stream of HTTP/2.
    Stream(http2::Tunnel),
}

impl ClientSide {
    /// Its socket, once the answer that opens the tunnel is written; `None` when it never was.
    async fn ready(self) -> Option<Socket> {
        match self {
            Self::Connection(socket) => socket.await.ok(),
            Self::Stream(tunnel) => Some(Socket { io: Box::new(tunnel.ready().await?), early: Bytes::new() }),
        }
    }
}

struct Forget(Rc<Watched>);

impl Drop for Forget {
    fn drop(&mut self) {
        self.0.forget();
    }
}

/// When a tunnel ends.
#[derive(Clone, Copy)]
struct Limits {
    end: Tick,
    idle: Option<Span>,
}

impl Limits {
    fn deadline(self, now: Tick) -> Tick {
        self.idle.map_or(self.end, |idle| (now + idle).min(self.end))
    }
}

fn limits(record: &Record) -> Limits {
    let (scheme, timeout) = record
        .live_service()
        .map_or((Scheme::ExternalManaged, Span::secs(30)), |s| (s.config.scheme, s.config.timeout));
    let timeout = record.timeout.map_or(timeout, Timeout::span);
    match scheme {
        Scheme::External => Limits { end: record.ends.min(record.started + timeout), idle: None },
        _ => Limits { end: record.ends.min(record.started + LONGEST), idle: Some(timeout) },
    }
}

/// One side of a tunnel: counts what it brings and pushes the idle deadline ahead.
struct Counted<S> {
    io: S,
    bytes: Rc<Cell<u64>>,
    watched: Rc<Watched>,
    limits: Limits,
}

impl<S> Counted<S> {
    fn new(io: S, bytes: Rc<Cell<u64>>, watched: Rc<Watched>, limits: Limits) -> Self {
        Self { io, bytes, watched, limits }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            self.bytes.set(self.bytes.get() + read as u64);
            self.watched.set_deadline(self.limits.deadline(clock::now()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
