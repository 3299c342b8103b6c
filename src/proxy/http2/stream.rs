//! A stream: what its connection knows of it, and what it is to its request's handler.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::header::SEC_WEBSOCKET_ACCEPT;
use http::{HeaderMap, HeaderValue, request};

use super::frame::Code;
use super::{Connection, STREAM_WINDOW, request as canonical};
use crate::ledger::process::Traffic;
use crate::model::detail::StatusDetail;
use crate::model::unit::{Span, Tick};
use crate::proxy::watch::{Watched, remember};

/// Known to its connection until both sides have ended, to its task, and to whoever reads its body or holds its tunnel.
pub(crate) struct Stream {
    connection: Rc<Connection>,
    /// Its number.
    id: u32,
    /// Its request's deadlines.
    pub(super) watched: Rc<Watched>,
    /// The answer has no body, whatever it says.
    is_head: bool,
    /// What a member must say to the handshake of this WebSocket.
    accept: OnceCell<HeaderValue>,
    pub(super) up: RefCell<Up>,
    pub(super) down: RefCell<Down>,
    /// One side has reset it, or its connection has ended.
    is_over: Cell<bool>,
    /// The answer that makes it a tunnel is sent.
    is_tunnel: Cell<bool>,
}

/// What the client sends.
pub(super) struct Up {
    /// Come and not read.
    held: BytesMut,
    trailers: Option<HeaderMap>,
    /// The client has sent all of it.
    pub(super) has_ended: bool,
    /// Somebody reads it.
    pub(super) is_wanted: bool,
    /// Bytes still to come, where the head says.
    left: Option<u64>,
    /// Bytes that may come.
    pub(super) window: i64,
    /// Bytes that may come again, and the client was not told of.
    pub(super) released: u32,
    reader: Option<Waker>,
}

/// What the client gets.
pub(super) struct Down {
    /// Bytes that it takes.
    pub(super) window: i64,
    /// What could not be sent at once.
    pub(super) piece: Bytes,
    /// Nothing comes behind it.
    pub(super) is_last: bool,
    /// It stands in the queue of those that send.
    pub(super) is_queued: bool,
    /// It has had its turn there, and may ask for a piece.
    pub(super) is_granted: bool,
    /// All of it is sent.
    pub(super) has_ended: bool,
    writer: Option<Waker>,
}

/// What a reader gets next.
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// The client does not send the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reset;

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the stream was reset")
    }
}

impl std::error::Error for Reset {}

impl Up {
    fn new(is_whole: bool, length: Option<u64>) -> Self {
        Self {
            held: BytesMut::new(),
            trailers: None,
            has_ended: is_whole,
            is_wanted: false,
            left: length,
            window: STREAM_WINDOW as i64,
            released: 0,
            reader: None,
        }
    }

    /// Data has come, in a payload of `length` bytes. Gives how many bytes are kept, or why the stream must end.
    pub(super) fn take(&mut self, data: &[u8], length: usize, is_last: bool) -> Result<usize, Code> {
        self.window -= i64::try_from(length).unwrap_or(i64::MAX);
        if self.window < 0 {
            return Err(Code::FlowControl);
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or(Code::Protocol)?;
        }
        if self.is_wanted {
            self.held.extend_from_slice(data);
        }
        if is_last && !self.end(None) {
            self.held.truncate(self.held.len().saturating_sub(data.len()));
            return Err(Code::Protocol);
        }
        self.wake();
        Ok(if self.is_wanted { data.len() } else { 0 })
    }

    /// The client has sent all. Whether that is as much as it said.
    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) -> bool {
        if self.left.is_some_and(|left| left > 0) {
            return false;
        }
        self.trailers = trailers.filter(|trailers| self.is_wanted && !trailers.is_empty());
        self.has_ended = true;
        self.wake();
        true
    }

    /// Nothing is left to be read.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended && self.held.is_empty() && self.trailers.is_none()
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Down {
    const fn new(window: i64) -> Self {
        Self {
            window,
            piece: Bytes::new(),
            is_last: false,
            is_queued: false,
            is_granted: false,
            has_ended: false,
            writer: None,
        }
    }

    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        remember(&mut self.writer, cx.waker());
    }

    pub(super) fn grant(&mut self) {
        self.is_granted = true;
        self.wake();
    }

    pub(super) fn wake(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

impl Stream {
    pub(super) fn new(connection: Rc<Connection>, opened: &super::engine::Opened) -> Rc<Self> {
        let watched = Rc::new(Watched::new(connection.client.listener));
        Rc::new(Self {
            connection,
            id: opened.id,
            watched,
            is_head: opened.head.method == http::Method::HEAD,
            accept: OnceCell::new(),
            up: RefCell::new(Up::new(opened.is_whole, opened.length)),
            down: RefCell::new(Down::new(opened.window)),
            is_over: Cell::new(false),
            is_tunnel: Cell::new(false),
        })
    }

    pub(super) const fn id(&self) -> u32 {
        self.id
    }

    pub(super) const fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Whether nobody wants it any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Its deadlines and its end from outside.
    pub(crate) const fn watched(&self) -> &Rc<Watched> {
        &self.watched
    }

    /// Nobody wants it any more. Gives how many bytes nobody has read.
    pub(super) fn cut(&self) -> usize {
        self.is_over.set(true);
        let unread = {
            let mut up = self.up.borrow_mut();
            up.trailers = None;
            up.wake();
            std::mem::take(&mut up.held).len()
        };
        let mut down = self.down.borrow_mut();
        down.piece = Bytes::new();
        down.wake();
        self.watched.wake();
        unread
    }

    /// The next piece of what the client sends; `None` at its end.
    pub(super) fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Reset>> {
        let mut up = self.up.borrow_mut();
        if !up.held.is_empty() {
            let data = std::mem::take(&mut up.held).freeze();
            drop(up);
            self.connection.release_of(self, data.len());
            return Poll::Ready(Ok(Some(Piece::Data(data))));
        }
        if self.is_over() {
            return Poll::Ready(Err(Reset));
        }
        if let Some(trailers) = up.trailers.take() {
            return Poll::Ready(Ok(Some(Piece::Trailers(trailers))));
        }
        if up.has_ended {
            return Poll::Ready(Ok(None));
        }
        remember(&mut up.reader, cx.waker());
        Poll::Pending
    }

    /// Somebody reads what the client sends.
    pub(super) fn want(&self) {
        self.up.borrow_mut().is_wanted = true;
    }

    /// Nobody reads it any more.
    pub(super) fn unwant(&self) {
        let unread = {
            let mut up = self.up.borrow_mut();
            up.is_wanted = false;
            up.trailers = None;
            std::mem::take(&mut up.held).len()
        };
        self.connection.let_go(self, unread);
    }

    /// Ready once all of its answer is sent, or nobody wants it.
    pub(super) fn poll_sent(&self, cx: &Context<'_>) -> Poll<()> {
        let mut down = self.down.borrow_mut();
        if down.has_ended || self.is_over() {
            return Poll::Ready(());
        }
        down.wait(cx);
        Poll::Pending
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.is_tunnel.get()
    }

    /// The answer that makes it a tunnel is sent.
    pub(super) fn become_tunnel(&self) {
        self.is_tunnel.set(true);
        self.up.borrow_mut().wake();
    }

    /// Ready once it is a tunnel, with `true`; or will never be one.
    pub(super) fn poll_tunnel(&self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.is_tunnel() || self.is_over() || self.down.borrow().has_ended {
            return Poll::Ready(self.is_tunnel());
        }
        remember(&mut self.up.borrow_mut().reader, cx.waker());
        Poll::Pending
    }

    /// Its request is under way.
    pub(crate) fn begin(&self, keep_alive: Option<Span>) {
        self.connection.streams.begin(&self.connection.client, keep_alive);
    }

    /// Its answer is handed over, or nobody waits for it any more.
    pub(crate) fn end(&self, now: Tick) {
        self.connection.streams.end(&self.connection.client, now);
    }

    /// The connection is to end after the streams under way.
    pub(super) fn leave(&self) {
        self.connection.client.watched.ask_to_end();
    }

    /// The answer has no body, whatever it says.
    pub(crate) const fn is_head(&self) -> bool {
        self.is_head
    }

    /// Makes a head one of HTTP/1.1.
    ///
    /// # Errors
    /// Why the request is refused.
    pub(crate) fn canonical(&self, head: &mut request::Parts) -> Result<(), StatusDetail> {
        let context = &self.connection.client.context;
        let key = || {
            let mut rng = context.rng.borrow_mut();
            (u128::from(rng.next()) << 64 | u128::from(rng.next())).to_ne_bytes()
        };
        let made = canonical::canonical(head, self.connection.max_head, key);
        if made == Err(StatusDetail::HeadersTooLong) {
            context.process.count(context.worker, Traffic::Http2OverHeaders);
        }
        if let Some(accept) = made? {
            let _ = self.accept.set(accept);
        }
        Ok(())
    }

    /// Whether it asks for a tunnel.
    pub(crate) fn asks_for_tunnel(&self) -> bool {
        self.accept.get().is_some()
    }

    /// Whether a member's 101 is the answer to the handshake that it was shown.
    pub(crate) fn is_accepted(&self, headers: &HeaderMap) -> bool {
        self.accept.get().is_some_and(|accept| headers.get(SEC_WEBSOCKET_ACCEPT) == Some(accept))
    }
}
