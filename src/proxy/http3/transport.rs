//! QUIC as h3 wants it: quinn's connection and streams, with every byte of a client followed by [`Frames`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};

use super::frames::{Fault, Frames};
use super::signals::{Shared, Signals};

/// Bytes that one look at a stream brings at most.
const CHUNK: usize = 64 * 1024;

/// A client's connection, for h3.
pub(super) struct Transport {
    conn: quinn::Connection,
    shared: Rc<Shared>,
    requests: Arrivals<(quinn::SendStream, quinn::RecvStream)>,
    others: Arrivals<quinn::RecvStream>,
    opening: Option<Opening>,
}

type Opening = Pin<Box<dyn Future<Output = Result<quinn::SendStream, ConnectionError>>>>;

impl Transport {
    pub(super) fn new(conn: &quinn::Connection, shared: &Rc<Shared>) -> Self {
        let (of_requests, of_others) = (conn.clone(), conn.clone());
        let requests = Arrivals::new(move |queue| async move {
            loop {
                match of_requests.accept_bi().await {
                    Ok(pair) => queue.borrow_mut().push_back(pair),
                    Err(error) => return error,
                }
            }
        });
        let others = Arrivals::new(move |queue| async move {
            loop {
                match of_others.accept_uni().await {
                    Ok(stream) => queue.borrow_mut().push_back(stream),
                    Err(error) => return error,
                }
            }
        });
        Self { conn: conn.clone(), shared: shared.clone(), requests, others, opening: None }
    }
}

/// Streams that a client has opened, at most as many as it may have open.
struct Arrivals<T> {
    queue: Rc<RefCell<VecDeque<T>>>,
    accepting: Pin<Box<dyn Future<Output = ConnectionError>>>,
    end: Option<ConnectionError>,
}

impl<T> Arrivals<T> {
    /// `accepting` fills the queue for as long as the connection lasts.
    fn new<F>(accepting: impl FnOnce(Rc<RefCell<VecDeque<T>>>) -> F) -> Self
    where
        F: Future<Output = ConnectionError> + 'static,
    {
        let queue = Rc::new(RefCell::new(VecDeque::new()));
        Self { accepting: Box::pin(accepting(queue.clone())), queue, end: None }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, ConnectionErrorIncoming>> {
        if self.end.is_none()
            && let Poll::Ready(error) = self.accepting.as_mut().poll(cx)
        {
            self.end = Some(error);
        }
        match (self.queue.borrow_mut().pop_front(), &self.end) {
            (Some(next), _) => Poll::Ready(Ok(next)),
            (None, Some(error)) => Poll::Ready(Err(of_connection(error.clone()))),
            (None, None) => Poll::Pending,
        }
    }
}

impl<B: Buf> quic::Connection<B> for Transport {
    type RecvStream = Incoming;
    type OpenStreams = Opener;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, ConnectionErrorIncoming>> {
        let stream = ready!(self.others.poll_next(cx))?;
        Poll::Ready(Incoming::new(stream, Frames::of_client(), (&self.shared, None)))
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both<B>, ConnectionErrorIncoming>> {
        loop {
            let (mut send, mut recv) = ready!(self.requests.poll_next(cx))?;
            if self.shared.is_leaving() {
                let _ = recv.stop(code(Code::H3_REQUEST_REJECTED));
                let _ = send.reset(code(Code::H3_REQUEST_REJECTED));
                continue;
            }
            let signals = Signals::new(&send);
            self.shared.arrive(signals.clone());
            let recv = Incoming::new(recv, Frames::of_request(), (&self.shared, Some(signals.clone())))?;
            return Poll::Ready(Ok(Both { send: Outgoing::new(send, Some(signals))?, recv }));
        }
    }

    fn opener(&self) -> Opener {
        Opener(self.conn.clone())
    }
}

impl<B: Buf> quic::OpenStreams<B> for Transport {
    type BidiStream = Both<B>;
    type SendStream = Outgoing<B>;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Both<B>, StreamErrorIncoming>> {
        Poll::Ready(Err(unheard_of()))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outgoing<B>, StreamErrorIncoming>> {
        let conn = self.conn.clone();
        let opening = self.opening.get_or_insert_with(|| Box::pin(async move { conn.open_uni().await }));
        let opened = ready!(opening.as_mut().poll(cx));
        self.opening = None;
        let lost = |connection_error| StreamErrorIncoming::ConnectionErrorIncoming { connection_error };
        Poll::Ready(
            opened.map_err(of_connection).and_then(|stream| Outgoing::new(stream, None)).map_err(lost),
        )
    }

    fn close(&mut self, why: Code, reason: &[u8]) {
        self.conn.close(code(why), reason);
    }
}

/// h3 asks for one; a server opens no streams later.
pub(super) struct Opener(quinn::Connection);

impl<B: Buf> quic::OpenStreams<B> for Opener {
    type BidiStream = Both<B>;
    type SendStream = Outgoing<B>;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Both<B>, StreamErrorIncoming>> {
        Poll::Ready(Err(unheard_of()))
    }

    fn poll_open_send(&mut self, _: &mut Context<'_>) -> Poll<Result<Outgoing<B>, StreamErrorIncoming>> {
        Poll::Ready(Err(unheard_of()))
    }

    fn close(&mut self, why: Code, reason: &[u8]) {
        self.0.close(code(why), reason);
    }
}

/// A stream with a request.
pub(super) struct Both<B: Buf> {
    send: Outgoing<B>,
    recv: Incoming,
}

impl<B: Buf> quic::BidiStream<B> for Both<B> {
    type SendStream = Outgoing<B>;
    type RecvStream = Incoming;

    fn split(self) -> (Outgoing<B>, Incoming) {
        (self.send, self.recv)
    }
}

impl<B: Buf> quic::SendStream<B> for Both<B> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.send.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

impl<B: Buf> quic::RecvStream for Both<B> {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.recv.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.recv.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

/// What goes to a client.
pub(super) struct Outgoing<B: Buf> {
    stream: quinn::SendStream,
    id: StreamId,
    writing: Option<WriteBuf<B>>,
    has_written: bool,
    has_ended: bool,
    /// Of a stream with a request.
    signals: Option<Rc<Signals>>,
}

impl<B: Buf> Outgoing<B> {
    fn new(stream: quinn::SendStream, signals: Option<Rc<Signals>>) -> Result<Self, ConnectionErrorIncoming> {
        let id = name(stream.id())?;
        Ok(Self { stream, id, writing: None, has_written: false, has_ended: false, signals })
    }
}

impl<B: Buf> quic::SendStream<B> for Outgoing<B> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(data) = &mut self.writing {
            while data.has_remaining() {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data.chunk()));
                data.advance(written.map_err(of_writing)?);
                self.has_written = true;
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            return Err(unheard_of());
        }
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.has_ended = true;
        let finished = self.stream.finish();
        Poll::Ready(finished.map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, reset_code: u64) {
        self.has_ended = true;
        let _ = self.stream.reset(VarInt::from_u64(reset_code).unwrap_or(VarInt::MAX));
    }

    fn send_id(&self) -> StreamId {
        self.id
    }
}

impl<B: Buf> Drop for Outgoing<B> {
    /// quinn would say that this was all. So it is where h3 has answered by itself, before there was a request.
    fn drop(&mut self) {
        let is_answered = |signals: &Rc<Signals>| self.has_written && !signals.has_begun();
        if let Some(signals) =
            self.signals.as_ref().filter(|signals| !self.has_ended && !is_answered(signals))
        {
            let _ = self.stream.reset(code(signals.broken().unwrap_or(Code::H3_INTERNAL_ERROR)));
        }
    }
}

/// What comes from a client.
pub(super) struct Incoming {
    stream: quinn::RecvStream,
    id: StreamId,
    frames: Frames,
    has_ended: bool,
    shared: Rc<Shared>,
    /// Of a stream with a request.
    signals: Option<Rc<Signals>>,
}

impl Incoming {
    fn new(
        stream: quinn::RecvStream,
        frames: Frames,
        (shared, signals): (&Rc<Shared>, Option<Rc<Signals>>),
    ) -> Result<Self, ConnectionErrorIncoming> {
        let id = name(stream.id())?;
        Ok(Self { stream, id, frames, has_ended: false, shared: shared.clone(), signals })
    }

    fn follow(&mut self, bytes: Option<&Bytes>) -> Result<(), StreamErrorIncoming> {
        let fault = match bytes {
            Some(bytes) => self.shared.follow(&mut self.frames, bytes).err(),
            None if self.signals.is_some() && !self.frames.is_between() => Some(Fault::Cut),
            None => None,
        };
        if let Some(signals) = &self.signals {
            signals.set_empty(self.frames.empty());
        }
        let Some(fault) = fault else { return Ok(()) };
        self.shared.fail(fault);
        Err(StreamErrorIncoming::StreamTerminated { error_code: Code::H3_FRAME_ERROR.value() })
    }
}

impl quic::RecvStream for Incoming {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        // What is made anew each time keeps nothing between two looks.
        let chunk = ready!(pin!(self.stream.read_chunk(CHUNK, true)).poll(cx));
        self.has_ended = !matches!(chunk, Ok(Some(_)));
        if let (Err(ReadError::Reset(_)), Some(signals)) = (&chunk, &self.signals) {
            signals.reset();
        }
        let bytes = chunk.map_err(of_reading)?.map(|chunk| chunk.bytes);
        self.follow(bytes.as_ref())?;
        Poll::Ready(Ok(bytes))
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.has_ended = true;
        let _ = self.stream.stop(VarInt::from_u64(error_code).unwrap_or(VarInt::MAX));
    }

    fn recv_id(&self) -> StreamId {
        self.id
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.has_ended && self.signals.is_some() {
            let _ = self.stream.stop(code(Code::H3_NO_ERROR));
        }
    }
}

/// A code as QUIC has it.
pub(super) fn code(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}

fn name(id: quinn::StreamId) -> Result<StreamId, ConnectionErrorIncoming> {
    let unknown = |_| ConnectionErrorIncoming::InternalError("a stream without a number".to_owned());
    u64::from(id).try_into().map_err(unknown)
}

fn of_connection(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        other => ConnectionErrorIncoming::Undefined(Arc::new(other)),
    }
}

fn of_reading(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        ReadError::ConnectionLost(error) => {
            StreamErrorIncoming::ConnectionErrorIncoming { connection_error: of_connection(error) }
        }
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}

fn of_writing(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        WriteError::ConnectionLost(error) => {
            StreamErrorIncoming::ConnectionErrorIncoming { connection_error: of_connection(error) }
        }
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}

/// What h3 does not do on a server.
fn unheard_of() -> StreamErrorIncoming {
    let connection_error = ConnectionErrorIncoming::InternalError("not what a server does".to_owned());
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error }
}
