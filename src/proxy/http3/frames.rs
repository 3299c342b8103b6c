//! A client's frames of HTTP/3 on one stream, followed before h3 reads them.
//!
//! h3 waits for a whole frame of anything but DATA, however long it says that it is, and takes a stream that ends within
//! a frame of DATA for one that ends well. So lengths are bounded here, an end within a frame is an error, and frames
//! that carry nothing are counted.
//!
//! Pure: bytes and the time in, a verdict out. Looks at type and length of each frame and skips the rest.

use crate::model::unit::Tick;
use crate::proxy::http2::allowances::Allowance;

/// Bytes of an encoded list of headers. What it decodes to has a smaller limit of its own.
pub(crate) const LONGEST_HEADERS: u64 = 128 * 1024;
/// Bytes of any other frame that is no DATA.
pub(crate) const LONGEST_OTHER: u64 = 16 * 1024;

/// What a client did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A frame that is too long.
    TooLong,
    /// Too many frames that carry nothing.
    Control,
    /// The stream ended within a frame.
    Cut,
    /// Too many requests that were given up.
    Resets,
}

/// Follows the frames of one stream.
#[derive(Debug)]
pub(crate) struct Frames {
    state: State,
    /// What has come of a number.
    number: Number,
    kind: u64,
    /// Bytes of the frame's payload that are still to come.
    left: u64,
    /// Lists of headers that have begun.
    lists: u32,
    empty: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The type of a stream of one direction.
    Stream,
    Kind,
    Length,
    Payload,
    /// No frames, or none that h3 reads.
    Other,
}

const DATA: u64 = 0;
const HEADERS: u64 = 1;
const CONTROL_STREAM: u64 = 0;

impl Frames {
    /// A stream with a request.
    pub(crate) const fn of_request() -> Self {
        Self::new(State::Kind)
    }

    /// A stream of one direction, which begins with its type.
    pub(crate) const fn of_client() -> Self {
        Self::new(State::Stream)
    }

    const fn new(state: State) -> Self {
        Self { state, number: Number { value: 0, left: 0 }, kind: 0, left: 0, lists: 0, empty: 0 }
    }

    /// Takes note of bytes that have come.
    ///
    /// # Errors
    /// What is wrong with them. Nothing more should be read then.
    pub(crate) fn feed(&mut self, bytes: &[u8], control: &mut Allowance, now: Tick) -> Result<(), Fault> {
        let mut rest = bytes;
        while let Some((first, behind)) = rest.split_first() {
            match self.state {
                State::Other => return Ok(()),
                State::Payload => {
                    let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                    self.left -= skipped as u64;
                    rest = rest.get(skipped..).unwrap_or_default();
                    if self.left == 0 {
                        self.state = State::Kind;
                    }
                    continue;
                }
                State::Stream | State::Kind | State::Length => rest = behind,
            }
            if let Some(number) = self.number.push(*first) {
                self.take(number, control, now)?;
            }
        }
        Ok(())
    }

    /// Frames of DATA without any, before trailers: h3 takes each for the end of the body.
    pub(crate) const fn empty(&self) -> u64 {
        self.empty
    }

    /// Whether a stream may end here.
    pub(crate) const fn is_between(&self) -> bool {
        self.number.left == 0 && !matches!(self.state, State::Length | State::Payload)
    }

    fn take(&mut self, number: u64, control: &mut Allowance, now: Tick) -> Result<(), Fault> {
        self.state = match self.state {
            State::Stream if number == CONTROL_STREAM => State::Kind,
            State::Kind => {
                self.kind = number;
                State::Length
            }
            State::Length => {
                self.left = number;
                let longest = match self.kind {
                    DATA => u64::MAX,
                    HEADERS => LONGEST_HEADERS,
                    _ => LONGEST_OTHER,
                };
                if number > longest {
                    return Err(Fault::TooLong);
                }
                let carries = self.kind == HEADERS || self.kind == DATA && number > 0;
                if !carries && !control.take(now) {
                    return Err(Fault::Control);
                }
                self.lists += u32::from(self.kind == HEADERS);
                self.empty += u64::from(self.kind == DATA && number == 0 && self.lists < 2);
                if number == 0 { State::Kind } else { State::Payload }
            }
            State::Stream | State::Payload | State::Other => State::Other,
        };
        Ok(())
    }
}

/// A number as QUIC writes it [RFC 9000 16].
#[derive(Debug)]
struct Number {
    value: u64,
    /// Bytes that are still to come.
    left: u8,
}

impl Number {
    /// The number, with its last byte.
    fn push(&mut self, byte: u8) -> Option<u64> {
        if self.left == 0 {
            self.left = 1 << (byte >> 6);
            self.value = u64::from(byte & 0x3f);
        } else {
            self.value = self.value << 8 | u64::from(byte);
        }
        self.left -= 1;
        (self.left == 0).then_some(self.value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn number(value: u64) -> Vec<u8> {
        match value {
            0..0x40 => vec![u8::try_from(value).unwrap()],
            0x40..0x4000 => (u16::try_from(value).unwrap() | 0x4000).to_be_bytes().to_vec(),
            0x4000..0x4000_0000 => (u32::try_from(value).unwrap() | 0x8000_0000).to_be_bytes().to_vec(),
            _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
        }
    }

    fn frame(kind: u64, payload: usize) -> Vec<u8> {
        [number(kind), number(payload as u64), vec![7; payload]].concat()
    }

    fn allowance() -> Allowance {
        Allowance::new(10, 1, Tick(0))
    }

    fn fed(frames: &mut Frames, bytes: &[u8]) -> Result<(), Fault> {
        frames.feed(bytes, &mut allowance(), Tick(0))
    }

    #[test]
    fn it_does_not_matter_how_bytes_arrive_and_a_stream_may_end_between_frames_alone() {
        let all = [frame(HEADERS, 300), frame(DATA, 70_000), frame(0x21, 5), frame(DATA, 0)];
        let ends: Vec<usize> =
            all.iter().scan(0, |at, one| Some(*at + one.len()).inspect(|n| *at = *n)).collect();
        let bytes = all.concat();
        let mut whole = Frames::of_request();
        fed(&mut whole, &bytes).unwrap();
        assert!(whole.is_between() && whole.empty() == 1);
        let (mut split, mut control) = (Frames::of_request(), allowance());
        assert!(split.is_between());
        for (at, byte) in bytes.iter().enumerate() {
            split.feed(&[*byte], &mut control, Tick(0)).unwrap();
            assert_eq!(split.is_between(), ends.contains(&(at + 1)), "{at}");
        }
    }

    #[test]
    fn a_frame_that_h3_would_wait_for_is_bounded_before_it_comes() {
        let announced = |kind: u64, length: u64| [number(kind), number(length)].concat();
        for (kind, longest) in [(HEADERS, LONGEST_HEADERS), (4, LONGEST_OTHER), (0x21, LONGEST_OTHER)] {
            assert_eq!(fed(&mut Frames::of_request(), &announced(kind, longest)), Ok(()));
            assert_eq!(fed(&mut Frames::of_request(), &announced(kind, longest + 1)), Err(Fault::TooLong));
            let on_control = [number(CONTROL_STREAM), announced(kind, longest + 1)].concat();
            assert_eq!(fed(&mut Frames::of_client(), &on_control), Err(Fault::TooLong));
        }
        assert_eq!(fed(&mut Frames::of_request(), &announced(DATA, 1 << 61)), Ok(()));
    }

    #[test]
    fn what_carries_nothing_is_counted_and_other_streams_are_nobodys_business() {
        for nothing in [frame(DATA, 0), frame(0x21, 3)] {
            assert_eq!(fed(&mut Frames::of_request(), &nothing.repeat(10)), Ok(()));
            assert_eq!(fed(&mut Frames::of_request(), &nothing.repeat(11)), Err(Fault::Control));
            let mut encoder = number(2);
            encoder.extend(nothing.repeat(50));
            assert_eq!(fed(&mut Frames::of_client(), &encoder), Ok(()));
        }
    }
}
