//! What the task of a request, and the owner of a connection, must know of streams besides what h3 tells.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use h3::error::Code;
use quinn::{StoppedError, VarInt};

use super::frames::{Fault, Frames};
use super::request::Rest;
use crate::clock;
use crate::proxy::http2::allowances::Allowance;
use crate::proxy::watch::Watched;

/// Frames that carry nothing in a second, and in how many seconds as many as may come at once.
const CONTROL_PER_SECOND: u32 = 1000;
const CONTROL_AT_ONCE: u32 = 10;

/// What a connection's streams share with its owner.
pub(super) struct Shared {
    /// The owner; woken when a fault ends the connection.
    watched: Rc<Watched>,
    control: RefCell<Allowance>,
    fault: Cell<Option<Fault>>,
    /// GOAWAY is sent: streams that come now are rejected, to be sent again elsewhere.
    is_leaving: Cell<bool>,
    /// Of the stream that h3 was given last.
    arrived: RefCell<Option<Rc<Signals>>>,
}

impl Shared {
    pub(super) fn new(watched: Rc<Watched>) -> Rc<Self> {
        let control = Allowance::new(CONTROL_AT_ONCE, CONTROL_PER_SECOND, clock::now());
        Rc::new(Self {
            watched,
            control: RefCell::new(control),
            fault: Cell::new(None),
            is_leaving: Cell::new(false),
            arrived: RefCell::new(None),
        })
    }

    /// Why the connection must end.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// The connection must end.
    pub(super) fn fail(&self, fault: Fault) {
        if self.fault.get().is_none() {
            self.fault.set(Some(fault));
        }
        self.watched.wake();
    }

    /// Streams that come from now on are rejected.
    pub(super) fn leave(&self) {
        self.is_leaving.set(true);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.get()
    }

    /// A stream is given to h3.
    pub(super) fn arrive(&self, signals: Rc<Signals>) {
        *self.arrived.borrow_mut() = Some(signals);
    }

    /// Follows what has come on a stream.
    pub(super) fn follow(&self, frames: &mut Frames, bytes: &[u8]) -> Result<(), Fault> {
        frames.feed(bytes, &mut self.control.borrow_mut(), clock::now())
    }

    /// The signals of the stream that h3 has just handed on.
    pub(super) fn arrived(&self) -> Option<Rc<Signals>> {
        self.arrived.borrow_mut().take()
    }
}

/// What a request's task knows of its stream besides what h3 tells.
pub(super) struct Signals {
    ending: RefCell<Ending>,
    end: Cell<Option<End>>,
    /// There is a request: from here on, a stream that is dropped before its end is reset.
    has_begun: Cell<bool>,
    /// The client has broken off its request.
    is_reset: Cell<bool>,
    /// What the client has sent is no whole request: the stream is to be reset with this.
    broken: Cell<Option<Code>>,
    /// See [`Frames::empty`].
    empty: Cell<u64>,
    /// What is left of a request whose body is whole.
    rest: RefCell<Option<Rest>>,
    /// The task has ended.
    is_over: Cell<bool>,
    /// Who waits for that: a member's connection, with a body that broke off.
    waits: RefCell<Option<Waker>>,
}

type Ending = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>>>>;

/// How a stream ended on its way to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client has all of it.
    Read,
    /// The client does not want it, or is gone.
    Unwanted,
}

impl Signals {
    pub(super) fn new(stream: &quinn::SendStream) -> Rc<Self> {
        Rc::new(Self {
            ending: RefCell::new(Box::pin(stream.stopped())),
            end: Cell::new(None),
            has_begun: Cell::new(false),
            is_reset: Cell::new(false),
            broken: Cell::new(None),
            empty: Cell::new(0),
            rest: RefCell::new(None),
            is_over: Cell::new(false),
            waits: RefCell::new(None),
        })
    }

    pub(super) fn begin(&self) {
        self.has_begun.set(true);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// The client has broken off its request.
    pub(super) fn reset(&self) {
        self.is_reset.set(true);
    }

    pub(super) fn set_empty(&self, empty: u64) {
        self.empty.set(empty);
    }

    /// Frames of DATA without any that have come.
    pub(super) fn empty(&self) -> u64 {
        self.empty.get()
    }

    /// The request's body is not what its head says, or broke off: the task is to end.
    pub(super) fn break_off(&self, code: Code) {
        self.broken.set(Some(code));
    }

    /// What the stream is to be reset with, where the client's body is at fault.
    pub(super) fn broken(&self) -> Option<Code> {
        self.broken.get()
    }

    /// When the task has ended.
    pub(super) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_over.get() {
            return Poll::Ready(());
        }
        *self.waits.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether the client gave up, or made us do so.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_reset.get() || self.broken.get().is_some() || self.end.get() == Some(End::Unwanted)
    }

    /// The request's body is whole; who looks for more is woken.
    pub(super) fn leave_rest(&self, rest: Rest, watched: &Watched) {
        if !self.is_over.get() {
            *self.rest.borrow_mut() = Some(rest);
            watched.wake();
        }
    }

    /// Looks at what comes behind a body that is whole: only the stream's end may.
    pub(super) fn poll_rest(&self, cx: &mut Context<'_>) {
        let mut held = self.rest.borrow_mut();
        let Some(rest) = held.as_mut() else { return };
        match rest.poll_end(cx, self.empty.get()) {
            Poll::Pending => {}
            Poll::Ready(true) => *held = None,
            Poll::Ready(false) => {
                *held = None;
                self.break_off(Code::H3_MESSAGE_ERROR);
            }
        }
    }

    /// The task ends, and with it the stream.
    pub(super) fn finish(&self) {
        self.is_over.set(true);
        let rest = self.rest.borrow_mut().take();
        drop(rest);
        let waits = self.waits.borrow_mut().take();
        if let Some(waker) = waits {
            waker.wake();
        }
    }

    /// Waits until both sides have said all: the client has the answer, and its request has ended.
    pub(super) fn poll_both(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_rest(cx);
        let has_rest = self.rest.borrow().is_some();
        match ready!(self.poll_end(cx)) {
            End::Read if has_rest => Poll::Pending,
            End::Read | End::Unwanted => Poll::Ready(()),
        }
    }

    /// When and how the stream ends.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<End> {
        if let Some(end) = self.end.get() {
            return Poll::Ready(end);
        }
        let end = match ready!(self.ending.borrow_mut().as_mut().poll(cx)) {
            Ok(None) => End::Read,
            Ok(Some(_)) | Err(_) => End::Unwanted,
        };
        self.end.set(Some(end));
        Poll::Ready(end)
    }
}
