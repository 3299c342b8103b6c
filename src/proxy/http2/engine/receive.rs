//! Frames as they come [RFC 9113 5, 6].
//!
//! Most errors have the code PROTOCOL_ERROR, also where RFC 9113 has one of their own: `tests/corpus/http2.yaml` holds
//! which. The word in GOAWAY says what it was.

use std::rc::Rc;

use http::StatusCode;

use super::{Block, Engine, LEAVING, Leaving, Opened, Wrong};
use crate::model::unit::Tick;
use crate::proxy::http2::LEAVE;
use crate::proxy::http2::allowances::Over;
use crate::proxy::http2::frame::{self, Code, HEADER, Head, MAX_PAYLOAD, MAX_WINDOW, PREFACE};
use crate::proxy::http2::hpack::{self, Broken};
use crate::proxy::http2::list::{List, Refused};
use crate::proxy::http2::stream::Stream;

/// What has become of the bytes that came.
pub(in crate::proxy::http2) enum Step {
    /// They are no whole frame yet.
    Short,
    /// So many of them were one.
    Took(usize, Option<Box<Opened>>),
}

/// Which stream a frame is about.
enum Which {
    /// Nobody has opened it.
    Idle,
    Open(Rc<Stream>),
    /// It ended before the client had ended its side.
    Left,
    Closed,
}

const fn protocol(word: &'static str) -> Wrong {
    Wrong::Connection(Code::Protocol, word)
}

type Taken = Result<Option<Box<Opened>>, Wrong>;

impl Engine {
    /// Takes the next frame from the front of these bytes.
    pub(in crate::proxy::http2) fn step(&mut self, bytes: &[u8], now: Tick) -> Step {
        if self.has_failed {
            return Step::Took(bytes.len(), None);
        }
        if let Leaving::Told(at) = self.leaving
            && now.since(at) > LEAVE
        {
            self.know_leaving();
        }
        if self.preface < PREFACE.len() {
            return self.preface(bytes);
        }
        let Some(head) = Head::read(bytes) else { return Step::Short };
        if head.length > MAX_PAYLOAD {
            self.fail(Code::FrameSize, "a frame over 16384 bytes");
            return Step::Took(bytes.len(), None);
        }
        let end = HEADER + head.length;
        let Some(payload) = bytes.get(HEADER..end) else { return Step::Short };
        let taken = match self.allowances.count(head, now) {
            Some(over) => Err(Wrong::Over(over)),
            None => self.frame(head, payload, now),
        };
        let opened = taken.unwrap_or_else(|wrong| {
            self.wrong(wrong);
            None
        });
        Step::Took(end, opened)
    }

    fn preface(&mut self, bytes: &[u8]) -> Step {
        let missing = PREFACE.get(self.preface..).unwrap_or_default();
        let length = missing.len().min(bytes.len());
        if bytes.get(..length) != missing.get(..length) {
            self.fail(Code::Protocol, "no preface");
        }
        self.preface += length;
        if length == 0 { Step::Short } else { Step::Took(length, None) }
    }

    /// Whether a list of headers has begun in a frame before.
    pub(in crate::proxy::http2) const fn is_in_list(&self) -> bool {
        self.preface < PREFACE.len() || self.block.is_some()
    }

    /// Whether the client owes a part of what comes before a request: of its preface, or of a list of headers. `rest`:
    /// what has come of a frame.
    pub(in crate::proxy::http2) fn is_in_head(&self, rest: &[u8]) -> bool {
        let of_list = |kind: &u8| matches!(*kind, frame::HEADERS | frame::CONTINUATION);
        self.is_in_list() || !rest.is_empty() && (rest.len() < HEADER || rest.get(3).is_some_and(of_list))
    }

    fn wrong(&mut self, wrong: Wrong) {
        match wrong {
            Wrong::Stream(id, code) => {
                self.reset(id, code);
                if let Some(over) = self.allowances.fault() {
                    self.fail_over(over);
                }
            }
            Wrong::Connection(code, word) => self.fail(code, word),
            Wrong::Over(over) => self.fail_over(over),
        }
    }

    fn frame(&mut self, head: Head, payload: &[u8], now: Tick) -> Taken {
        if let Some(block) = &self.block
            && (head.kind, head.stream) != (frame::CONTINUATION, block.head.stream)
        {
            return Err(protocol("a frame within a list of headers"));
        }
        match head.kind {
            frame::HEADERS => return self.headers(head, payload, now),
            frame::CONTINUATION => return self.continuation(head, payload, now),
            frame::DATA => self.data(head, payload),
            frame::SETTINGS => self.settings(head, payload),
            frame::WINDOW_UPDATE => self.window_update(head, payload),
            frame::RST_STREAM => self.rst_stream(head, payload),
            frame::PING => self.ping(head, payload),
            frame::PRIORITY => Self::priority(head, payload),
            frame::GOAWAY => self.goaway(head, payload),
            frame::PUSH_PROMISE => Err(protocol("PUSH_PROMISE from a client")),
            _ => Ok(()),
        }?;
        Ok(None)
    }

    fn which(&self, id: u32) -> Which {
        if id > self.last || id.is_multiple_of(2) {
            return Which::Idle;
        }
        match self.find(id) {
            Some(stream) => Which::Open(stream),
            None if self.left.contains(&id) => Which::Left,
            None => Which::Closed,
        }
    }

    fn headers(&mut self, head: Head, payload: &[u8], now: Tick) -> Taken {
        if head.stream.is_multiple_of(2) {
            return Err(protocol("HEADERS on a stream that no client opens"));
        }
        let text = head.unpadded(payload).ok_or(protocol("HEADERS shorter than its padding or priority"))?;
        let is_circular = head.parent(payload) == Some(head.stream);
        if head.has(frame::END_HEADERS) {
            return self.list((head, is_circular), text, now);
        }
        self.block = Some(Block { head, is_circular, text: text.to_vec() });
        Ok(None)
    }

    fn continuation(&mut self, head: Head, payload: &[u8], now: Tick) -> Taken {
        let Some(mut block) = self.block.take() else {
            return Err(protocol("CONTINUATION of nothing"));
        };
        block.text.extend_from_slice(payload);
        if head.has(frame::END_HEADERS) {
            return self.list((block.head, block.is_circular), &block.text, now);
        }
        self.block = Some(block);
        Ok(None)
    }

    /// A whole list of headers: a request, or trailers.
    fn list(&mut self, (head, is_circular): (Head, bool), text: &[u8], now: Tick) -> Taken {
        let which = self.which(head.stream);
        match &which {
            Which::Closed => return Err(protocol("HEADERS on a stream that has ended")),
            Which::Open(stream) if stream.up.borrow().has_ended => {
                return Err(protocol("HEADERS on a stream that the client has ended"));
            }
            Which::Idle | Which::Open(_) | Which::Left => {}
        }
        // Whatever becomes of it, later ones refer to it.
        let list = self.unpack(text)?;
        match which {
            Which::Idle => self.open(head, is_circular, list, now),
            Which::Open(stream) => Self::trailers(head, list, &stream).map(|()| None),
            Which::Left | Which::Closed => Ok(None),
        }
    }

    fn unpack(&mut self, text: &[u8]) -> Result<List, Wrong> {
        let mut list = List::new(&self.scratch);
        match self.decoder.decode(text, &self.scratch, |field, size| list.take(field, size)) {
            Ok(()) => Ok(list),
            Err(Broken::Stopped) if list.is_far_too_long() => Err(Wrong::Over(Over::Faults)),
            Err(_) => Err(protocol("a list of headers that cannot be read")),
        }
    }

    fn open(&mut self, head: Head, is_circular: bool, list: List, now: Tick) -> Taken {
        let (id, is_whole) = (head.stream, head.has(frame::END_STREAM));
        self.last = id;
        if self.leaving == Leaving::Known {
            self.note_left(id);
            return Ok(None);
        }
        if self.allowances.is_over_requests(now) {
            self.over = self.over.or(Some(Over::Requests));
        }
        let taken = self.request((id, is_whole, is_circular), list);
        if !matches!(taken, Ok(Some(_))) {
            self.refused.all += 1;
            if !is_whole {
                self.note_left(id);
            }
        }
        taken
    }

    fn request(&mut self, (id, is_whole, is_circular): (u32, bool, bool), list: List) -> Taken {
        if self.streams.len() >= self.most_streams {
            self.refused.one_too_many += 1;
            return Err(Wrong::Stream(id, Code::RefusedStream));
        }
        let malformed = Wrong::Stream(id, Code::Protocol);
        match list.into_head() {
            _ if is_circular => Err(malformed),
            Ok((_, Some(1..))) if is_whole => Err(malformed),
            Ok((head, length)) => {
                Ok(Some(Box::new(Opened { id, head, length, is_whole, window: self.stream_window })))
            }
            Err(Refused::Malformed) => Err(malformed),
            Err(Refused::TooLong) => {
                self.refuse_long(id, is_whole);
                Ok(None)
            }
        }
    }

    /// Answers a list of headers that is too long with 431.
    fn refuse_long(&mut self, id: u32, is_whole: bool) {
        self.refused.too_long += 1;
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        self.write_list(frame::END_STREAM, id, |out| hpack::write_status(out, status));
        if !is_whole {
            frame::write_reset(self.out.text(), id, Code::No);
        }
    }

    fn trailers(head: Head, list: List, stream: &Stream) -> Result<(), Wrong> {
        let malformed = Wrong::Stream(head.stream, Code::Protocol);
        let trailers = list.into_trailers().map_err(|_| malformed)?;
        if !head.has(frame::END_STREAM) || !stream.up.borrow_mut().end(Some(trailers)) {
            return Err(malformed);
        }
        Ok(())
    }

    fn data(&mut self, head: Head, payload: &[u8]) -> Result<(), Wrong> {
        let length = payload.len();
        self.up_window -= i64::try_from(length).unwrap_or(i64::MAX);
        if self.up_window < 0 {
            return Err(Wrong::Connection(Code::FlowControl, "DATA beyond the connection's window"));
        }
        let data = head.unpadded(payload).ok_or(protocol("DATA shorter than its padding"))?;
        let stream = match self.which(head.stream) {
            Which::Open(stream) if !stream.up.borrow().has_ended => stream,
            Which::Left => {
                self.release(length);
                return Ok(());
            }
            Which::Idle => return Err(protocol("DATA on a stream that nobody opened")),
            Which::Open(_) | Which::Closed => return Err(protocol("DATA on a stream that has ended")),
        };
        let taken = stream.up.borrow_mut().take(data, length, head.has(frame::END_STREAM));
        match taken {
            // Padding is not kept, nor what nobody wants.
            Ok(kept) if kept < length => self.release_of(&stream, length - kept),
            Ok(_) => {}
            Err(code) => {
                self.release(length);
                return Err(Wrong::Stream(head.stream, code));
            }
        }
        self.settle(&stream);
        Ok(())
    }

    fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Wrong> {
        let is_ack = head.has(frame::ACK);
        if head.stream != 0 || is_ack && !payload.is_empty() || !payload.len().is_multiple_of(6) {
            return Err(protocol("SETTINGS that are none"));
        }
        if is_ack {
            return Ok(());
        }
        let mut window = self.stream_window;
        for setting in payload.chunks_exact(6) {
            let [n1, n0, value @ ..] = setting else { continue };
            let (name, value) = (u16::from_be_bytes([*n1, *n0]), frame::number(value).unwrap_or(0));
            if !is_in_range(name, value) {
                return Err(protocol("a setting out of its range"));
            }
            // Nothing is kept in the client's table, its lists are as long as their answers' are, and we push nothing.
            if name == frame::INITIAL_WINDOW_SIZE {
                window = value.into();
            }
        }
        self.resize_windows(window)?;
        frame::write(self.out.text(), frame::SETTINGS, frame::ACK, 0, &[]);
        Ok(())
    }

    fn resize_windows(&mut self, window: i64) -> Result<(), Wrong> {
        let more = window - std::mem::replace(&mut self.stream_window, window);
        let mut at = 0;
        while let Some((_, stream)) = self.streams.get(at).filter(|_| more != 0) {
            let stream = stream.clone();
            if !self.widen(&stream, more) {
                return Err(Wrong::Connection(Code::FlowControl, "SETTINGS take a window over 2^31-1"));
            }
            at += 1;
        }
        Ok(())
    }

    fn window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Wrong> {
        let more = match frame::number(payload) {
            Some(more) if payload.len() == 4 => i64::from(more & frame::MAX_STREAM),
            _ => return Err(protocol("WINDOW_UPDATE that is none")),
        };
        if more == 0 {
            return Err(protocol("WINDOW_UPDATE of nothing"));
        }
        if head.stream == 0 {
            self.window += more;
            if self.window > MAX_WINDOW {
                return Err(Wrong::Connection(Code::FlowControl, "a window over 2^31-1"));
            }
            return Ok(());
        }
        match self.which(head.stream) {
            Which::Open(stream) if !self.widen(&stream, more) => {
                Err(Wrong::Stream(head.stream, Code::FlowControl))
            }
            Which::Idle => Err(protocol("WINDOW_UPDATE on a stream that nobody opened")),
            Which::Open(_) | Which::Left | Which::Closed => Ok(()),
        }
    }

    fn rst_stream(&mut self, head: Head, payload: &[u8]) -> Result<(), Wrong> {
        if payload.len() != 4 || matches!(self.which(head.stream), Which::Idle) {
            return Err(protocol("RST_STREAM that is none"));
        }
        self.cut(head.stream);
        // The client knows best that nothing more comes.
        if self.left.back() == Some(&head.stream) {
            self.left.pop_back();
        }
        Ok(())
    }

    fn ping(&mut self, head: Head, payload: &[u8]) -> Result<(), Wrong> {
        if head.stream != 0 || payload.len() != LEAVING.len() {
            return Err(protocol("PING that is none"));
        }
        if !head.has(frame::ACK) {
            frame::write(self.out.text(), frame::PING, frame::ACK, 0, payload);
        } else if payload == LEAVING && matches!(self.leaving, Leaving::Told(_)) {
            self.know_leaving();
        }
        Ok(())
    }

    fn priority(head: Head, payload: &[u8]) -> Result<(), Wrong> {
        if head.stream == 0 || payload.len() != frame::PRIORITY_LENGTH {
            return Err(protocol("PRIORITY that is none"));
        }
        if head.parent(payload) == Some(head.stream) {
            return Err(Wrong::Stream(head.stream, Code::Protocol));
        }
        Ok(())
    }

    fn goaway(&mut self, head: Head, payload: &[u8]) -> Result<(), Wrong> {
        if head.stream != 0 || payload.len() < 8 {
            return Err(protocol("GOAWAY that is none"));
        }
        self.know_leaving();
        Ok(())
    }
}

const fn is_in_range(name: u16, value: u32) -> bool {
    match name {
        frame::ENABLE_PUSH | frame::ENABLE_CONNECT_PROTOCOL => value <= 1,
        frame::MAX_FRAME_SIZE => value >= 16_384 && value <= 16_777_215,
        frame::INITIAL_WINDOW_SIZE => value as i64 <= MAX_WINDOW,
        _ => true,
    }
}
