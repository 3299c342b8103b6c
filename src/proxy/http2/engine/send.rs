//! Answers as they go out: heads at once, bodies as the client's windows allow, each stream a frame in its turn.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::Engine;
use crate::proxy::http2::frame::{self, MAX_PAYLOAD, MAX_WINDOW};
use crate::proxy::http2::hpack;
use crate::proxy::http2::stream::{Down, Stream};

/// Whether a stream may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy::http2) enum Room {
    Some,
    /// Its answer is not wanted any more.
    Never,
}

impl Engine {
    /// Writes a list of headers of ours.
    pub(super) fn write_list(&mut self, flags: u8, id: u32, pack: impl FnOnce(&mut Vec<u8>)) {
        let is_first = !std::mem::replace(&mut self.has_packed, true);
        frame::write_list(self.out.text(), flags, id, |out| {
            if is_first {
                out.push(hpack::NO_TABLE);
            }
            pack(out);
        });
    }

    /// Sends a head, or trailers.
    pub(in crate::proxy::http2) fn list_of(
        &mut self,
        stream: &Stream,
        is_last: bool,
        pack: impl FnOnce(&mut Vec<u8>),
    ) {
        if stream.is_over() || self.has_failed {
            return;
        }
        self.write_list(if is_last { frame::END_STREAM } else { 0 }, stream.id(), pack);
        if is_last {
            stream.down.borrow_mut().has_ended = true;
            self.settle(stream);
        }
    }

    /// Ready once it is the stream's turn to ask its body for a piece. Whether the client takes it now shows then: what
    /// ends an answer needs no window, and one piece can wait for it.
    pub(in crate::proxy::http2) fn poll_room(&mut self, stream: &Rc<Stream>, cx: &Context<'_>) -> Poll<Room> {
        if stream.is_over() {
            return Poll::Ready(Room::Never);
        }
        let mut down = stream.down.borrow_mut();
        if down.piece.is_empty() {
            let is_turn = !self.out.is_full() && self.ready.is_empty();
            if is_turn || down.is_granted {
                return Poll::Ready(Room::Some);
            }
            self.enqueue(stream, &mut down);
        }
        down.wait(cx);
        Poll::Pending
    }

    /// Sends a piece of a body; [`Self::poll_room`] was ready.
    pub(in crate::proxy::http2) fn offer(&mut self, stream: &Rc<Stream>, data: Bytes, is_last: bool) {
        if stream.is_over() || self.has_failed {
            return;
        }
        let mut down = stream.down.borrow_mut();
        let is_turn = std::mem::take(&mut down.is_granted) || self.ready.is_empty();
        let room = usize::try_from(down.window.min(self.window)).unwrap_or(0);
        let fits = data.len() <= MAX_PAYLOAD.min(room) && !self.out.is_full();
        (down.piece, down.is_last) = (data, is_last);
        if down.piece.is_empty() || is_turn && fits {
            drop(down);
            self.send_frame(stream);
        } else {
            self.enqueue(stream, &mut down);
        }
    }

    /// Gives a stream a place in the queue, if it has none.
    fn enqueue(&mut self, stream: &Rc<Stream>, down: &mut Down) {
        if !std::mem::replace(&mut down.is_queued, true) {
            self.ready.push_back(stream.clone());
        }
    }

    /// Sends what the windows allow, up to what is worth a write.
    pub(in crate::proxy::http2) fn pump(&mut self) {
        if self.has_failed {
            return;
        }
        // As many as wait for the connection's window keep their places.
        let mut waiting = 0;
        while !self.out.is_full()
            && self.ready.len() > waiting
            && let Some(stream) = self.ready.remove(waiting)
        {
            let mut down = stream.down.borrow_mut();
            down.is_queued = false;
            if down.piece.is_empty() {
                down.grant();
                continue;
            }
            if down.window <= 0 {
                // It comes back when its window opens.
                continue;
            }
            drop(down);
            let is_stuck = self.window <= 0;
            if is_stuck || !self.send_frame(&stream) {
                stream.down.borrow_mut().is_queued = true;
                let place = if is_stuck { waiting } else { self.ready.len() };
                self.ready.insert(place, stream);
                waiting += usize::from(is_stuck);
            }
        }
    }

    /// Sends a frame of a stream's piece. Whether that was all of it.
    fn send_frame(&mut self, stream: &Stream) -> bool {
        let mut down = stream.down.borrow_mut();
        let room = usize::try_from(down.window.min(self.window)).unwrap_or(0);
        let length = MAX_PAYLOAD.min(down.piece.len()).min(room);
        let data = down.piece.split_to(length);
        let is_through = down.piece.is_empty();
        let ends = is_through && down.is_last;
        if length > 0 || ends {
            let flags = if ends { frame::END_STREAM } else { 0 };
            frame::write_head(self.out.text(), frame::DATA, flags, stream.id(), length);
            self.out.push(data);
            let sent = i64::try_from(length).unwrap_or(0);
            down.window -= sent;
            self.window -= sent;
            self.allowances.sent(length);
        }
        if is_through {
            down.has_ended = ends;
            down.wake();
        }
        drop(down);
        if ends {
            self.settle(stream);
        }
        is_through
    }

    /// The client takes more of a stream, or less. Whether its window is still one.
    pub(super) fn widen(&mut self, stream: &Rc<Stream>, more: i64) -> bool {
        let mut down = stream.down.borrow_mut();
        down.window += more;
        if down.window > 0 {
            if down.piece.is_empty() {
                down.wake();
            } else {
                self.enqueue(stream, &mut down);
            }
        }
        down.window <= MAX_WINDOW
    }
}
