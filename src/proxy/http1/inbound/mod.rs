//! A client's connection: heads in, answers out, one after the other, until one side ends it.
//!
//! The loop is one `async fn` in the connection's task. It polls the handler's future in place, and the handler reads
//! the request's body straight from the socket, through a [`Body`]; nothing is handed over by channels. A client that
//! leaves while its answer is made or written is noticed, and all that goes on for it is dropped.
//!
//! An idle connection holds no buffer: bytes are read into the worker's own, and kept only when they cannot be used
//! at once.

mod answer;
mod body;
mod head;
#[cfg(test)]
mod tests;
mod wire;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use self::answer::{Asked, Framing};
pub(crate) use self::body::{Body, Bring};
use self::wire::{Arrival, Wire};
use super::scratch::Scratch;
use crate::clock;
use crate::model::unit::Tick;
use crate::proxy::guard::{Phase, Refusal};
use crate::proxy::out::Out;
use crate::proxy::watch::Watched;

/// What a connection, its requests' handlers and its owner know of each other.
pub(crate) struct Talk {
    phase: Cell<Phase>,
    phase_since: Cell<Tick>,
    refusal: Cell<Option<Refusal>>,
    /// Who gets the socket after a 101.
    tunnel: Cell<Option<oneshot::Sender<Socket>>>,
}

/// A client's socket that has become a tunnel's, and what it has brought already.
pub(crate) struct Socket {
    pub(crate) io: Box<dyn Duplex>,
    pub(crate) early: Bytes,
}

/// Both ways of a tunnel.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

impl Talk {
    fn new() -> Self {
        Self {
            phase: Cell::new(Phase::Idle),
            phase_since: Cell::new(clock::now()),
            refusal: Cell::new(None),
            tunnel: Cell::new(None),
        }
    }

    /// Where the client is with its requests.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// When that phase was entered. A request without a body whose head comes in one read enters none.
    pub(crate) fn phase_since(&self) -> Tick {
        self.phase_since.get()
    }

    /// Why the connection's input has ended, once somebody has met it. In a head, the owner of the connection answers;
    /// in a body ([`Refusal::is_in_body`]), the request's handler does. `None` also when the connection ended before
    /// it came to the refused bytes: then nobody waits for an answer to them.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get()
    }

    /// The socket, once the answer to the request under way, a 101, is written.
    pub(crate) fn tunnel(&self) -> oneshot::Receiver<Socket> {
        let (sender, receiver) = oneshot::channel();
        self.tunnel.set(Some(sender));
        receiver
    }

    fn enter(&self, phase: Phase) {
        if self.phase.replace(phase) != phase {
            self.phase_since.set(clock::now());
        }
    }
}

/// A connection, for its loop and for the bodies of its requests.
pub(crate) struct Inbound<S> {
    wire: RefCell<Wire<S>>,
    talk: Talk,
    /// The worker's.
    scratch: Rc<Scratch>,
}

/// How a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing is left to be said.
    Over,
    /// A head was refused ([`Talk::refusal`]): its answer is still to be written.
    Refused,
    /// It has passed its deadline.
    Expired,
}

/// What ends a connection from outside.
pub(crate) struct Reins<'a> {
    pub(crate) watched: &'a Watched,
    /// Whether a deadline has passed that ends the connection itself.
    pub(crate) is_over: &'a dyn Fn() -> bool,
}

impl Reins<'_> {
    /// What `poll` gives, unless the connection must end before.
    async fn hold<T>(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Result<T, End> {
        let mut is_registered = false;
        poll_fn(|cx| {
            if !is_registered {
                self.watched.register(cx.waker());
                is_registered = true;
            }
            if self.watched.kill.get() {
                return Poll::Ready(Err(End::Over));
            }
            match poll(cx) {
                Poll::Ready(done) => Poll::Ready(Ok(done)),
                Poll::Pending if (self.is_over)() => Poll::Ready(Err(End::Expired)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Inbound<S> {
    /// A fresh connection. A head may be `max_head` bytes long.
    pub(crate) fn new(io: S, max_head: usize, scratch: Rc<Scratch>) -> Rc<Self> {
        Rc::new(Self { wire: RefCell::new(Wire::new(io, max_head)), talk: Talk::new(), scratch })
    }

    /// The socket, and what was read from it and not used; for once, and not after a 101.
    pub(crate) fn take_rest(&self) -> Option<(S, Bytes)> {
        let (io, early) = self.wire.borrow_mut().take();
        Some((io?, early))
    }

    /// Answers requests until the connection ends.
    pub(crate) async fn serve<F, B>(
        self: &Rc<Self>,
        reins: &Reins<'_>,
        handle: impl Fn(Request<Body>) -> F,
    ) -> End
    where
        F: Future<Output = Response<B>>,
        B: http_body::Body<Data = Bytes>,
    {
        loop {
            match self.turn(reins, &handle).await {
                Ok(true) => {}
                Ok(false) => return End::Over,
                Err(end) => return end,
            }
        }
    }

    /// One request and its answer. Whether the connection goes on.
    async fn turn<F, B>(
        self: &Rc<Self>,
        reins: &Reins<'_>,
        handle: &impl Fn(Request<Body>) -> F,
    ) -> Result<bool, End>
    where
        F: Future<Output = Response<B>>,
        B: http_body::Body<Data = Bytes>,
    {
        let arrival = reins.hold(|cx| self.poll_head(cx, reins.watched)).await?;
        let Arrival::Head(head, lines) = arrival else { return self.without_head(&arrival) };
        let Some((request, asked)) = head::request(self, head, &lines) else {
            return self.without_head(&Arrival::Refused(head::UNREADABLE));
        };
        drop(lines);
        let answer = {
            let mut handling = pin!(handle(request));
            reins
                .hold(|cx| match handling.as_mut().poll(cx) {
                    Poll::Ready(answer) => Poll::Ready(Some(answer)),
                    Poll::Pending => self.poll_gone(cx).map(|()| None),
                })
                .await?
        };
        let Some(answer) = answer else { return Ok(false) };
        let is_tunnel = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        let keeps_alive = self.answer(reins, answer, asked).await?;
        if is_tunnel {
            self.hand_over();
            return Ok(false);
        }
        Ok(keeps_alive && self.is_through_with_body(reins).await?)
    }

    fn poll_head(&self, cx: &mut Context<'_>, watched: &Watched) -> Poll<Arrival> {
        let mut wire = self.wire.borrow_mut();
        if watched.drain.get() && !wire.has_begun() {
            return Poll::Ready(Arrival::End);
        }
        let polled = wire.poll_head(cx, &self.scratch);
        self.talk.enter(wire.phase());
        polled
    }

    /// What ends the connection instead of a next request.
    fn without_head(&self, arrival: &Arrival) -> Result<bool, End> {
        let Arrival::Refused(refusal) = arrival else { return Ok(false) };
        self.talk.refusal.set(Some(*refusal));
        Err(End::Refused)
    }

    /// Ready once the client has ended its side. What it sends meanwhile is kept, one piece of it.
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        // A request's body may be read at this very moment, by whoever polls us.
        self.wire.try_borrow_mut().map_or(Poll::Pending, |mut wire| wire.poll_gone(cx, &self.scratch))
    }

    /// Writes an answer. Whether the connection can go on after it.
    async fn answer<B>(&self, reins: &Reins<'_>, answer: Response<B>, mut asked: Asked) -> Result<bool, End>
    where
        B: http_body::Body<Data = Bytes>,
    {
        asked.keeps_alive &= !reins.watched.drain.get();
        let (head, body) = answer.into_parts();
        let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
        let mut out = Out::new(self.scratch.clone());
        let Some(framing) = answer::write_head(out.text(), &head, &asked, length) else {
            return Ok(false);
        };
        let keeps_alive = answer::keeps_alive(&head, &asked, framing);
        self.scratch.give_map(head.headers);
        let mut writing = Writing { out, framing, is_broken: false };
        let mut body = pin!(Some(body));
        if is_over(body.as_ref()) {
            writing.finish();
            body.set(None);
        }
        let written = reins.hold(|cx| self.poll_answer(cx, &mut writing, body.as_mut())).await?;
        Ok(written && keeps_alive && !writing.is_broken)
    }

    /// Takes what the body has, and writes it. Ready with whether all went well.
    fn poll_answer<B>(
        &self,
        cx: &mut Context<'_>,
        writing: &mut Writing,
        mut body: Pin<&mut Option<B>>,
    ) -> Poll<bool>
    where
        B: http_body::Body<Data = Bytes>,
    {
        loop {
            let mut is_waiting = false;
            while !is_waiting
                && !writing.out.is_full()
                && let Some(open) = body.as_mut().as_pin_mut()
            {
                let polled = open.poll_frame(cx);
                is_waiting = polled.is_pending();
                if let Poll::Ready(frame) = polled
                    && (writing.take(frame) || is_over(body.as_ref()))
                {
                    writing.finish();
                    body.set(None);
                }
            }
            match self.wire.borrow_mut().poll_write(cx, &mut writing.out) {
                Poll::Ready(Ok(())) if body.is_none() => return Poll::Ready(true),
                Poll::Ready(Ok(())) if !is_waiting => {}
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(())) | Poll::Pending => break,
            }
        }
        self.poll_gone(cx).map(|()| false)
    }

    /// Whether the request's body has ended, or what is left of it is here already.
    async fn is_through_with_body(&self, reins: &Reins<'_>) -> Result<bool, End> {
        if self.talk.phase() != Phase::Body {
            return Ok(true);
        }
        reins.hold(|cx| Poll::Ready(self.wire.borrow_mut().skip_body(cx, (&self.talk, &self.scratch)))).await
    }

    /// The socket goes to whoever waits for it.
    fn hand_over(self: &Rc<Self>) {
        if let Some(tunnel) = self.talk.tunnel.take()
            && let Some((io, early)) = self.take_rest()
        {
            // Nobody is there to take it when the tunnel has failed on the member's side.
            let _ = tunnel.send(Socket { io: Box::new(io), early });
        }
    }

    /// Ends our side in good order.
    pub(crate) async fn shut_down(&self) {
        let _ = poll_fn(|cx| self.wire.borrow_mut().poll_shutdown(cx)).await;
    }
}

fn is_over<B: http_body::Body>(body: Pin<&Option<B>>) -> bool {
    body.get_ref().as_ref().is_some_and(http_body::Body::is_end_stream)
}

/// An answer under way.
struct Writing {
    out: Out,
    framing: Framing,
    /// The body has broken off: what is here still goes out, and nothing after it.
    is_broken: bool,
}

impl Writing {
    /// Takes a piece of the body. Whether it was the last.
    fn take<E>(&mut self, frame: Option<Result<http_body::Frame<Bytes>, E>>) -> bool {
        match frame {
            Some(Ok(frame)) => {
                // Trailers end here: no client was told of any, since `Trailer` is a header of one hop.
                if let Ok(data) = frame.into_data() {
                    self.framing.write(&mut self.out, data);
                }
                false
            }
            Some(Err(_)) => {
                self.is_broken = true;
                true
            }
            None => true,
        }
    }

    fn finish(&mut self) {
        if !self.is_broken {
            self.is_broken = !self.framing.finish(&mut self.out);
        }
    }
}
