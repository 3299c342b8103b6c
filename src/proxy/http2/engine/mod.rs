//! What a connection of HTTP/2 is to both of its sides: its streams, its windows, and what is to be written.
//!
//! [`receive`] takes frames apart, [`send`] puts answers into frames. Nothing here reads or writes a socket, or knows what
//! a request is for.

mod receive;
mod send;

use std::collections::VecDeque;
use std::rc::Rc;

use http::request;

pub(super) use self::receive::Step;
pub(super) use self::send::Room;
use super::allowances::{Allowances, Over};
use super::frame::{self, Code};
use super::hpack::Decoder;
use super::stream::Stream;
use super::{CONNECTION_WINDOW, MAX_HEADER_LIST, STREAM_WINDOW};
use crate::model::config::Http2Limits;
use crate::model::unit::Tick;
use crate::proxy::http1::scratch::Scratch;
use crate::proxy::out::Out;

/// What both sides' windows are before anything is said of them [RFC 9113 6.9.2].
const FIRST_WINDOW: u32 = 65_535;
/// Streams that ended before the client had ended its side: what of it was on its way is no fault. So many of the last
/// ones are known.
const MAX_LEFT: usize = 1024;
/// Comes back from the client once it knows that we leave.
const LEAVING: [u8; 8] = *b"leaving!";

/// Of one connection, which its task and those of its streams borrow for one step at a time; it lives as long as the last
/// of them.
pub(super) struct Engine {
    scratch: Rc<Scratch>,
    /// What is to be written.
    pub(super) out: Out,
    /// Unpacks the client's lists of headers.
    decoder: Decoder,
    /// What the client may still do for nothing.
    allowances: Allowances,
    /// Bytes of the preface that have come.
    preface: usize,
    /// A list of headers that goes on in the next frame.
    block: Option<Block>,
    /// In the order of their numbers.
    streams: Vec<(u32, Rc<Stream>)>,
    /// See [`MAX_LEFT`].
    left: VecDeque<u32>,
    /// Streams that have something to send, or wait for room to, in their turn.
    ready: VecDeque<Rc<Stream>>,
    /// Bytes that the client takes on all streams.
    window: i64,
    /// Bytes that it takes on a new one.
    stream_window: i64,
    /// Bytes that it may send on all streams.
    up_window: i64,
    /// Bytes that it has sent and may send again, and was not told of.
    released: u32,
    /// `maxConcurrentStreams`.
    most_streams: usize,
    /// The client's highest stream.
    last: u32,
    /// A list of headers of ours has gone out.
    has_packed: bool,
    leaving: Leaving,
    /// Nothing that comes is looked at any more: GOAWAY says why.
    has_failed: bool,
    /// Which allowance was used up first.
    over: Option<Over>,
    /// Since somebody took them.
    pub(super) refused: Refusals,
}

/// Streams that the client has opened and that did not become requests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusals {
    pub(super) all: u64,
    /// As many were open as may be.
    pub(super) one_too_many: u64,
    /// Their lists of headers were too long.
    pub(super) too_long: u64,
}

/// A part of a list of headers.
struct Block {
    head: frame::Head,
    is_circular: bool,
    text: Vec<u8>,
}

/// How far the connection is on its way to a good end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// The client was told, at this time; streams that were on their way are served.
    Told(Tick),
    /// It knows: later ones are not.
    Known,
}

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Stream(u32, Code),
    Connection(Code, &'static str),
    Over(Over),
}

/// A request has begun.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) id: u32,
    pub(super) head: request::Parts,
    /// How long its body is, where that is said.
    pub(super) length: Option<u64>,
    /// It has none.
    pub(super) is_whole: bool,
    /// Bytes of the answer that the client takes for now.
    pub(super) window: i64,
}

impl Engine {
    pub(super) fn new(limits: &Http2Limits, scratch: Rc<Scratch>, now: Tick) -> Self {
        let mut engine = Self {
            out: Out::new(scratch.clone()),
            scratch,
            decoder: Decoder::new(),
            allowances: Allowances::new(limits, now),
            preface: 0,
            block: None,
            streams: Vec::new(),
            left: VecDeque::new(),
            ready: VecDeque::new(),
            window: FIRST_WINDOW.into(),
            stream_window: FIRST_WINDOW.into(),
            up_window: CONNECTION_WINDOW.into(),
            released: 0,
            most_streams: limits.streams as usize,
            last: 0,
            has_packed: false,
            leaving: Leaving::No,
            has_failed: false,
            over: None,
            refused: Refusals::default(),
        };
        engine.greet(limits);
        engine
    }

    fn greet(&mut self, limits: &Http2Limits) {
        let settings = [
            (frame::MAX_CONCURRENT_STREAMS, limits.streams),
            (frame::INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (frame::MAX_HEADER_LIST_SIZE, MAX_HEADER_LIST),
            (frame::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        frame::write_settings(self.out.text(), &settings);
        frame::write_window(self.out.text(), 0, CONNECTION_WINDOW - FIRST_WINDOW);
    }

    /// Which allowance was used up first.
    pub(super) const fn over(&self) -> Option<Over> {
        self.over
    }

    /// Whether the connection ends once all is written.
    pub(super) fn is_ending(&self) -> bool {
        self.has_failed || self.leaving == Leaving::Known && self.streams.is_empty()
    }

    /// A stream that is a request now.
    pub(super) fn insert(&mut self, stream: Rc<Stream>) {
        self.streams.push((stream.id(), stream));
    }

    /// The connection is to end after the streams under way, and those that are on their way [RFC 9113 6.8].
    pub(super) fn leave(&mut self, now: Tick) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Told(now);
            frame::write_goaway(self.out.text(), frame::MAX_STREAM, Code::No, "");
            frame::write(self.out.text(), frame::PING, 0, 0, &LEAVING);
        }
    }

    /// The client opens no more streams, or those that it does are not served.
    fn know_leaving(&mut self) {
        if self.leaving != Leaving::Known {
            self.leaving = Leaving::Known;
            frame::write_goaway(self.out.text(), self.last, Code::No, "");
        }
    }

    /// Ends the connection here and now.
    fn fail(&mut self, code: Code, word: &str) {
        if !self.has_failed {
            self.has_failed = true;
            frame::write_goaway(self.out.text(), self.last, code, word);
        }
    }

    fn fail_over(&mut self, over: Over) {
        self.over = self.over.or(Some(over));
        self.fail(Code::EnhanceYourCalm, over.as_str());
    }

    /// Ends all streams, with the connection.
    pub(super) fn close(&mut self) {
        self.has_failed = true;
        self.ready.clear();
        for (_, stream) in std::mem::take(&mut self.streams) {
            stream.cut();
        }
    }

    fn find(&self, id: u32) -> Option<Rc<Stream>> {
        let at = self.streams.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.streams.get(at).map(|(_, stream)| stream.clone())
    }

    /// Forgets a stream.
    fn remove(&mut self, id: u32) -> Option<Rc<Stream>> {
        let at = self.streams.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        let (_, stream) = self.streams.remove(at);
        if !stream.up.borrow().has_ended {
            self.note_left(id);
        }
        Some(stream)
    }

    fn note_left(&mut self, id: u32) {
        if self.left.len() >= MAX_LEFT {
            self.left.pop_front();
        }
        self.left.push_back(id);
    }

    /// Ends a stream for both sides.
    pub(super) fn reset(&mut self, id: u32, code: Code) {
        if !self.has_failed {
            frame::write_reset(self.out.text(), id, code);
        }
        self.cut(id);
    }

    /// Whoever works for a stream is told that nobody wants it any more.
    fn cut(&mut self, id: u32) {
        let Some(stream) = self.remove(id) else { return };
        if stream.down.borrow().is_queued {
            self.ready.retain(|one| one.id() != id);
        }
        let unread = stream.cut();
        self.release(unread);
    }

    /// The client may send so much again.
    pub(super) fn release(&mut self, bytes: usize) {
        self.released += u32::try_from(bytes).unwrap_or(0);
        if self.released >= CONNECTION_WINDOW / 2 && !self.has_failed {
            frame::write_window(self.out.text(), 0, self.released);
            self.up_window += i64::from(std::mem::take(&mut self.released));
        }
    }

    /// So much of a stream's body was read: the client may send it again.
    pub(super) fn release_of(&mut self, stream: &Stream, bytes: usize) {
        self.release(bytes);
        let mut up = stream.up.borrow_mut();
        up.released += u32::try_from(bytes).unwrap_or(0);
        if up.released >= STREAM_WINDOW / 2 && !up.has_ended && !stream.is_over() && !self.has_failed {
            frame::write_window(self.out.text(), stream.id(), up.released);
            up.window += i64::from(std::mem::take(&mut up.released));
        }
    }

    /// Forgets a stream that has ended on our side, once nobody wants the rest of the client's.
    pub(super) fn settle(&mut self, stream: &Stream) {
        let (has_ended, is_wanted) = {
            let up = stream.up.borrow();
            (up.has_ended, up.is_wanted)
        };
        let is_settled = stream.down.borrow().has_ended && (has_ended || !is_wanted);
        if is_settled && self.remove(stream.id()).is_some() && !has_ended && !self.has_failed {
            frame::write_reset(self.out.text(), stream.id(), Code::No);
        }
    }
}
