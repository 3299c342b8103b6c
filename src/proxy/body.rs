//! Bodies in both directions. Streaming with back-pressure: never more than what one socket read brought in.

use std::cell::{Cell, OnceCell, RefCell};
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::arriving::Arriving;
use super::compress::{Compressed, Encoder};
use super::floor::Floor;
use super::hold::Hold;
use super::http1::member::Interrupted;
use super::kept::{Copying, Kept};
use super::pool::Upstream;
use super::record::Record;
use super::{http1, http2, http3};
use crate::clock;
use crate::ledger::buffers::Buffer;
use crate::model::detail::StatusDetail;

/// Bytes that are read of an answer that nobody wants, for the sake of its connection.
const MAX_DISCARDED: u64 = 64 * 1024;

/// What goes to a member.
#[derive(Default)]
pub(crate) enum RequestBody {
    /// Nothing.
    #[default]
    Empty,
    /// The client's body, as it comes. Boxed: a request without one is moved about all the same.
    Streaming(Box<(Source, Rc<Progress>)>),
    /// A body that was kept; `None` = handed on.
    Kept(Option<Kept>),
}

/// Where a client's body comes from.
pub(crate) enum Source {
    /// A connection of HTTP/1.
    Http1(http1::inbound::Body),
    /// A stream of HTTP/2.
    Http2(http2::Body),
    /// A stream of HTTP/3.
    Http3(Box<http3::Body>),
}

/// Why a client's body broke off.
pub(crate) type SourceError = Box<dyn Error + Send + Sync>;

impl Source {
    fn poll_frame(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        match self {
            Self::Http1(body) => body.poll_frame(cx).map_err(Into::into),
            Self::Http2(body) => body.poll_frame(cx).map_err(Into::into),
            Self::Http3(body) => Pin::new(&mut **body).poll_frame(cx).map_err(Into::into),
        }
    }

    /// Nothing is left.
    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Http3(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
            Self::Http3(body) => body.size_hint(),
        }
    }
}

/// How far a client's body has come. Shared between the body, which its connection owns, and the request's handler.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Bytes handed on.
    pub(crate) bytes: Cell<u64>,
    /// It was asked for at least once.
    pub(crate) is_touched: Cell<bool>,
    /// More was asked for and the client has not sent it yet: it is the client that is waited for, not the member.
    pub(crate) is_awaited: Cell<bool>,
    /// All of it has been handed on.
    pub(crate) has_ended: Cell<bool>,
    /// The client broke it off, or its framing is bad.
    pub(crate) has_failed: Cell<bool>,
    /// How slowly it may come; `None` = as slowly as it likes.
    pub(crate) floor: Option<Floor>,
    /// A copy in the making, where one is wanted.
    pub(crate) copying: OnceCell<Copying>,
    /// What a slow member has not taken yet.
    hold: RefCell<Hold>,
    buffer: Arc<Buffer>,
    /// Bytes that may be held in `buffer`.
    most: u64,
}

impl Progress {
    /// At the start of a body.
    pub(crate) fn new(buffer: Arc<Buffer>, most: u64, floor: Option<Floor>) -> Self {
        Self {
            bytes: Cell::new(0),
            is_touched: Cell::new(false),
            is_awaited: Cell::new(false),
            has_ended: Cell::new(false),
            has_failed: Cell::new(false),
            floor,
            copying: OnceCell::new(),
            hold: RefCell::default(),
            buffer,
            most,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = SourceError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        let (incoming, progress) = match self.get_mut() {
            Self::Streaming(streaming) => &mut **streaming,
            Self::Kept(kept) => return Poll::Ready(kept.take().map(|kept| Ok(Frame::data(kept.bytes())))),
            Self::Empty => return Poll::Ready(None),
        };
        progress.is_touched.set(true);
        let mut hold = progress.hold.borrow_mut();
        if hold.must_wait(|| progress.most, cx) {
            progress.is_awaited.set(false);
            return Poll::Pending;
        }
        let polled = incoming.poll_frame(cx);
        progress.is_awaited.set(polled.is_pending());
        if let Some(floor) = &progress.floor {
            if polled.is_pending() {
                floor.waits(progress.bytes.get(), clock::now)
            } else {
                floor.came(clock::now)
            }
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let len = frame.data_ref().map_or(0, Bytes::len) as u64;
                progress.bytes.set(progress.bytes.get() + len);
                progress.has_ended.set(incoming.is_end_stream());
            }
            Poll::Ready(None) => progress.has_ended.set(true),
            Poll::Ready(Some(Err(_))) => progress.has_failed.set(true),
            Poll::Pending => {}
        }
        if let Some(copying) = progress.copying.get() {
            if let Poll::Ready(Some(Ok(frame))) = &polled {
                copying.add(frame.data_ref().map_or(&[], |data| data));
            }
            if progress.has_ended.get() {
                copying.finish();
            }
        }
        polled.map_ok(|frame| frame.map_data(|bytes| hold.keep(&progress.buffer, bytes)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Kept(kept) => kept.is_none(),
            Self::Streaming(streaming) => streaming.0.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Kept(kept) => {
                SizeHint::with_exact(kept.as_ref().map_or(0, |kept| kept.bytes().len() as u64))
            }
            Self::Streaming(streaming) => streaming.0.size_hint(),
        }
    }
}

/// What goes to the client. Whichever it is, it carries the request's [`Record`], so that a request counts as running
/// until its last byte is handed over, and is counted right when the client leaves in between.
pub(crate) enum ResponseBody {
    /// An answer of our own.
    Own(Option<Bytes>, Box<Record>),
    /// A member's answer, as it comes.
    Forwarded(Forwarded),
    /// The same, made smaller on its way.
    Compressed(Box<Compressed>),
    /// None: the connection becomes a tunnel, and the record goes with that.
    Tunnel,
}

/// A member's answer under way, with the connection that brings it.
pub(crate) struct Forwarded {
    arriving: Arriving,
    /// `None` once the connection has gone back to the pool.
    upstream: Option<Box<Upstream>>,
    /// The request's own body, which may still be on its way.
    progress: Option<Rc<Progress>>,
    /// The member has broken off; whoever writes the answer is still to be told.
    is_broken: bool,
    hold: Hold,
    pub(super) record: Box<Record>,
}

/// Why a body ended early; the client's connection, or its stream, is then cut.
#[derive(Debug)]
pub(crate) struct BrokenOff(pub(crate) StatusDetail);

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Error for BrokenOff {}

impl ResponseBody {
    /// An answer of our own; over at once when empty.
    pub(crate) fn own(bytes: Option<Bytes>, mut record: Box<Record>) -> Self {
        record.has_ended = bytes.is_none();
        Self::Own(bytes, record)
    }

    /// A member's answer, through an encoder if there is one. What has no body is over at once.
    pub(crate) fn forwarded(mut forwarded: Forwarded, encoder: Option<Encoder>) -> Self {
        forwarded.record.client.watched.set_answering();
        if forwarded.arriving.is_end_stream() {
            forwarded.finish();
        }
        match encoder {
            Some(encoder) => Self::Compressed(Box::new(Compressed::new(forwarded, encoder))),
            None => Self::Forwarded(forwarded),
        }
    }

    /// Whether it is an answer of our own.
    pub(super) const fn is_own(&self) -> bool {
        matches!(self, Self::Own(..))
    }

    /// Its request's record.
    pub(super) fn record(&self) -> Option<&Record> {
        match self {
            Self::Own(_, record) => Some(record),
            Self::Forwarded(forwarded) => Some(&forwarded.record),
            Self::Compressed(compressed) => Some(&compressed.inner().record),
            Self::Tunnel => None,
        }
    }

    /// The same, to be written in.
    pub(super) fn record_mut(&mut self) -> Option<&mut Record> {
        match self {
            Self::Own(_, record) => Some(record),
            Self::Forwarded(forwarded) => Some(&mut forwarded.record),
            Self::Compressed(compressed) => Some(&mut compressed.inner_mut().record),
            Self::Tunnel => None,
        }
    }

    /// The same, for another body. What is left of this one is not read.
    pub(super) fn into_record(self) -> Result<Box<Record>, Self> {
        match self {
            Self::Own(_, record) => Ok(record),
            Self::Forwarded(forwarded) => Ok(forwarded.record),
            Self::Compressed(compressed) => Ok(compressed.into_inner().record),
            Self::Tunnel => Err(self),
        }
    }

    /// Reads on what nobody wants of a member's answer.
    pub(super) fn discard(&mut self, cx: &mut TaskContext<'_>) {
        match self {
            Self::Forwarded(forwarded) => forwarded.discard(cx),
            Self::Compressed(compressed) => compressed.inner_mut().discard(cx),
            Self::Own(..) | Self::Tunnel => {}
        }
    }
}

impl Forwarded {
    /// An answer whose head has come on this connection.
    pub(super) fn new(
        arriving: Arriving,
        upstream: Box<Upstream>,
        record: Box<Record>,
        progress: Option<Rc<Progress>>,
    ) -> Self {
        let hold = Hold::default();
        Self { arriving, upstream: Some(upstream), progress, is_broken: false, hold, record }
    }

    /// The next piece. Asking for it is what makes the connection read on.
    fn poll_arriving(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        self.arriving.poll_frame(self.upstream.as_deref_mut(), cx, &self.record.client.context.scratch)
    }

    /// All of the answer is here: the connection goes back to the pool.
    fn finish(&mut self) {
        self.record.has_ended = true;
        if let Some(progress) = self.progress.take() {
            self.record.bytes_up = progress.bytes.get();
            // A stream of HTTP/2 may end one way first, as calls of gRPC do, and its connection lives on.
            if !progress.has_ended.get() && self.upstream.as_ref().is_none_or(|one| one.seat().is_none()) {
                // The member has said all it will say: the rest of the request goes nowhere, and neither connection
                // can be used again.
                self.record.detail = Some(StatusDetail::AbortedRequestDueToEarlyResponse);
                self.upstream = None;
            }
        }
        if let Some(upstream) = self.upstream.take() {
            self.record.client.context.pool.give(upstream, self.record.started);
        }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.is_broken {
            return Poll::Ready(Some(Err(self.break_off(StatusDetail::BackendConnectionClosedAfterPartial))));
        }
        let context = &self.record.client.context;
        if self.hold.must_wait(|| context.most_buffered(&self.record.world), cx) {
            return Poll::Pending;
        }
        match self.poll_arriving(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.record.bytes_down += frame.data_ref().map_or(0, Bytes::len) as u64;
                // Behind trailers nothing comes, and nobody asks for it.
                if self.arriving.is_end_stream() || frame.is_trailers() {
                    self.finish();
                }
                let (hold, buffer) = (&mut self.hold, &self.record.client.context.buffer);
                Poll::Ready(Some(Ok(frame.map_data(|bytes| hold.keep(buffer, bytes)))))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => {
                // A failed body makes h3 drop what it has not written yet of a stream: that goes out first.
                self.is_broken = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending if self.record.client.watched.is_expired() => {
                Poll::Ready(Some(Err(self.break_off(StatusDetail::BackendTimeout))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Reads on, so that the connection can be kept; gives up on what is long or broken.
    fn discard(&mut self, cx: &mut TaskContext<'_>) {
        while self.upstream.is_some()
            && let Poll::Ready(polled) = self.poll_arriving(cx)
        {
            match polled {
                Some(Ok(frame)) => {
                    self.record.bytes_down += frame.data_ref().map_or(0, Bytes::len) as u64;
                    if self.arriving.is_end_stream() || frame.is_trailers() {
                        self.finish();
                    } else if self.record.bytes_down > MAX_DISCARDED {
                        self.upstream = None;
                    }
                }
                None => self.finish(),
                Some(Err(_)) => self.upstream = None,
            }
        }
    }

    fn break_off(&mut self, detail: StatusDetail) -> BrokenOff {
        self.record.detail = Some(detail);
        self.record.fail_attempt();
        self.upstream = None;
        BrokenOff(detail)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Own(bytes, record) => {
                record.has_ended = true;
                let frame = bytes.take();
                record.bytes_down += frame.as_ref().map_or(0, Bytes::len) as u64;
                Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Forwarded(forwarded) => forwarded.poll_frame(cx),
            Self::Compressed(compressed) => compressed.poll_frame(cx),
            Self::Tunnel => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes, _) => bytes.is_none(),
            Self::Forwarded(forwarded) => forwarded.arriving.is_end_stream(),
            Self::Compressed(compressed) => compressed.is_over(),
            Self::Tunnel => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Tunnel => SizeHint::with_exact(0),
            Self::Own(bytes, _) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Forwarded(forwarded) => forwarded.arriving.size_hint(),
            Self::Compressed(_) => SizeHint::default(),
        }
    }
}
