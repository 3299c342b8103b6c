//! What a client's frames of HTTP/2 cost us, counted before h2 reads them.
//!
//! h2 bounds what it must keep: header lists, CONTINUATION frames, empty and small DATA frames, streams that a client
//! makes us reset (CVE-2025-8671). It does not bound what is cheap to send and costs work without keeping anything:
//! streams that are opened and reset at once (CVE-2023-44487), PING, SETTINGS, PRIORITY, WINDOW_UPDATE, unknown
//! frames. Those are counted here, against allowances that grow with time and with the bytes of bodies.
//!
//! Pure: bytes and the time in, a verdict out. Looks at the nine bytes before each frame and skips the rest.

use crate::model::unit::{Span, Tick};

/// What a client sends first [RFC 9113 3.4].
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams that a client may reset at once.
pub(crate) const RESETS: u32 = 200;
/// And so many more each second.
pub(crate) const RESETS_PER_SECOND: u32 = 50;
/// Frames that carry nothing that a client may send at once.
pub(crate) const CONTROL_FRAMES: u32 = 10_000;
/// And so many more each second, plus one for each KiB of bodies, either way.
pub(crate) const CONTROL_FRAMES_PER_SECOND: u32 = 1_000;
/// Requests that a connection may bring each second.
pub(crate) const REQUESTS_PER_SECOND: u32 = 100_000;

/// Which allowance is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// RST_STREAM: see [`RESETS`].
    Resets,
    /// See [`CONTROL_FRAMES`].
    Control,
    /// See [`REQUESTS_PER_SECOND`].
    Requests,
}

/// Follows the frames of one connection.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Bytes of the preface that have come.
    preface: usize,
    /// What has come of a frame's header.
    header: [u8; HEADER],
    have: usize,
    /// Bytes of the frame's payload that are still to come.
    left: usize,
    /// A list of headers has begun and not ended.
    is_in_list: bool,
    /// Highest stream that the client has opened.
    last_stream: u32,
    /// Streams that the client has opened.
    opened: u64,
    /// Bytes of bodies not yet turned into allowance.
    useful: usize,
    resets: Allowance,
    control: Allowance,
    requests: Allowance,
    over: Option<Over>,
    is_over_control: bool,
}

/// Of a frame.
const HEADER: usize = 9;
/// Bytes of bodies that pay for one frame without.
const PAYS: usize = 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Frames {
    pub(crate) const fn new(now: Tick) -> Self {
        Self {
            preface: 0,
            header: [0; HEADER],
            have: 0,
            left: 0,
            is_in_list: false,
            last_stream: 0,
            opened: 0,
            useful: 0,
            resets: Allowance::new(RESETS, RESETS_PER_SECOND, now),
            control: Allowance::new(CONTROL_FRAMES, CONTROL_FRAMES_PER_SECOND, now),
            requests: Allowance::new(REQUESTS_PER_SECOND, REQUESTS_PER_SECOND, now),
            over: None,
            is_over_control: false,
        }
    }

    /// Counts bytes that have come. Gives how many of them may be passed on. The frame that is too much passes, and
    /// nothing behind it does; requests do however many they are: those that have come are served while the client is
    /// sent elsewhere.
    pub(crate) fn feed(&mut self, bytes: &[u8], now: Tick) -> usize {
        let mut at = self.skip_preface(bytes);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.left > 0 {
                let skipped = self.left.min(rest.len());
                self.left -= skipped;
                at += skipped;
                continue;
            }
            if self.is_over_control {
                break;
            }
            let Some(missing) = self.header.get_mut(self.have..) else { break };
            let taken = missing.len().min(rest.len());
            missing.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.have += taken;
            at += taken;
            if self.have == HEADER {
                self.have = 0;
                self.count(now);
            }
        }
        at
    }

    /// Which allowance was used up first.
    pub(crate) const fn over(&self) -> Option<Over> {
        self.over
    }

    /// Nothing more will pass.
    pub(crate) const fn is_stopped(&self) -> bool {
        self.is_over_control && self.is_between()
    }

    /// Bytes of bodies that went out.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.useful += bytes;
    }

    /// Whether the client owes a part of what comes before a request: of its preface, or of a list of headers.
    pub(crate) const fn is_in_head(&self) -> bool {
        let [.., kind, _, _, _, _, _] = self.header;
        let is_in_its_frame = self.left > 0 && matches!(kind, HEADERS | CONTINUATION);
        self.preface < PREFACE.len() || self.is_in_list || self.have > 0 || is_in_its_frame
    }

    /// Whether a frame has ended, so that another may stand here.
    const fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Streams that the client has opened.
    pub(crate) const fn opened(&self) -> u64 {
        self.opened
    }

    /// A bad preface is h2's to refuse.
    fn skip_preface(&mut self, bytes: &[u8]) -> usize {
        let skipped = (PREFACE.len() - self.preface).min(bytes.len());
        self.preface += skipped;
        skipped
    }

    fn count(&mut self, now: Tick) {
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = self.header;
        let length = u32::from_be_bytes([0, l2, l1, l0]);
        let stream = u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]);
        self.left = length as usize;
        let over = match kind {
            DATA if length > 0 || flags & END_STREAM != 0 => {
                self.useful += self.left;
                return;
            }
            HEADERS | CONTINUATION => {
                self.is_in_list = flags & END_HEADERS == 0;
                if kind == CONTINUATION || stream <= self.last_stream {
                    return;
                }
                self.last_stream = stream;
                self.opened += 1;
                (!self.requests.take(now)).then_some(Over::Requests)
            }
            RST_STREAM => (!self.resets.take(now)).then_some(Over::Resets),
            _ => {
                self.control.pay(self.useful / PAYS);
                self.useful %= PAYS;
                (!self.control.take(now)).then_some(Over::Control)
            }
        };
        self.is_over_control |= over.is_some_and(|over| over != Over::Requests);
        self.over = self.over.or(over);
    }
}

/// So many at once, and so many more each second.
#[derive(Debug)]
pub(in crate::proxy) struct Allowance {
    left: u32,
    most: u32,
    per_second: u32,
    since: Tick,
}

impl Allowance {
    pub(in crate::proxy) const fn new(most: u32, per_second: u32, now: Tick) -> Self {
        Self { left: most, most, per_second, since: now }
    }

    pub(in crate::proxy) fn take(&mut self, now: Tick) -> bool {
        if self.left == 0 {
            let second = Span::secs(1).0;
            let grown = now.since(self.since).0.saturating_mul(u64::from(self.per_second)) / second;
            self.left = u32::try_from(grown).unwrap_or(u32::MAX).min(self.most);
            if self.left > 0 {
                self.since = now;
            }
        }
        let has_one = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has_one
    }

    fn pay(&mut self, more: usize) {
        self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)).min(self.most);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        out.extend([kind, flags]);
        out.extend(stream.to_be_bytes());
        out.extend(payload);
        out
    }

    fn begun() -> Frames {
        let mut frames = Frames::new(Tick(0));
        assert_eq!(frames.feed(PREFACE, Tick(0)), PREFACE.len());
        frames
    }

    /// How many of these frames pass, all come at once.
    fn passing(one: impl Fn(u32) -> Vec<u8>, count: u32) -> (usize, Option<Over>) {
        let mut frames = begun();
        let bytes: Vec<u8> = (0..count).flat_map(&one).collect();
        let good = frames.feed(&bytes, Tick(0));
        assert!(frames.is_between());
        (good / one(0).len(), frames.over())
    }

    #[test]
    fn each_flood_ends_at_its_allowance() {
        let ping = |_| frame(6, 0, 0, &[0; 8]);
        let past = CONTROL_FRAMES + 1;
        assert_eq!(passing(ping, CONTROL_FRAMES), (CONTROL_FRAMES as usize, None));
        for kind in [2, 4, 6, 8, 77] {
            let flood = |_| frame(kind, 0, 1, &[0; 4]);
            assert_eq!(passing(flood, past + 5), (past as usize, Some(Over::Control)), "{kind}");
        }
        let empty = |_| frame(DATA, 0, 1, b"");
        assert_eq!(passing(empty, past + 5), (past as usize, Some(Over::Control)));
        let reset = |n| frame(RST_STREAM, 0, 2 * n + 1, &[0; 4]);
        assert_eq!(passing(reset, 300), (RESETS as usize + 1, Some(Over::Resets)));
    }

    #[test]
    fn requests_over_their_rate_are_noticed_and_pass() {
        let request = |n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, b"x");
        assert_eq!(passing(request, REQUESTS_PER_SECOND).1, None);
        let all = REQUESTS_PER_SECOND + 5;
        assert_eq!(passing(request, all), (all as usize, Some(Over::Requests)));
    }

    #[test]
    fn a_flood_that_comes_byte_by_byte_ends_at_the_same_frame() {
        let mut frames = begun();
        let flood = frame(RST_STREAM, 0, 1, &[0; 4]).repeat(300);
        let good: usize = flood.chunks(7).map(|chunk| frames.feed(chunk, Tick(0))).sum();
        assert_eq!((good / 13, frames.is_stopped()), (RESETS as usize + 1, true));
    }

    #[test]
    fn an_allowance_grows_with_time_and_with_bodies() {
        let mut frames = begun();
        let ping = frame(6, 0, 0, &[0; 8]);
        frames.feed(&ping.repeat(CONTROL_FRAMES as usize), Tick(0));
        let later = Tick(0) + Span::secs(1);
        frames.feed(&ping.repeat(CONTROL_FRAMES_PER_SECOND as usize), later);
        frames.sent(2048);
        frames.feed(&frame(DATA, 0, 1, &[0; 1024]), later);
        frames.feed(&ping.repeat(3), later);
        assert_eq!(frames.over(), None);
        frames.feed(&ping, later);
        assert_eq!(frames.over(), Some(Over::Control));
    }

    #[test]
    fn it_does_not_matter_how_bytes_arrive() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, &[0; 6]));
        bytes.extend(frame(HEADERS, 0, 1, b"part"));
        bytes.extend(frame(CONTINUATION, 0, 1, b""));
        bytes.extend(frame(CONTINUATION, END_HEADERS, 1, b"rest"));
        bytes.extend(frame(DATA, END_STREAM, 1, &[0; 300]));
        let (mut whole, mut split) = (Frames::new(Tick(0)), Frames::new(Tick(0)));
        assert_eq!(whole.feed(&bytes, Tick(0)), bytes.len());
        let mut heads = Vec::new();
        for byte in &bytes {
            assert_eq!(split.feed(&[*byte], Tick(0)), 1);
            heads.push(split.is_in_head());
        }
        assert!(whole.is_between() && split.is_between() && !split.is_in_head());
        assert_eq!((whole.opened(), split.opened()), (1, 1));
        let in_list = PREFACE.len() + 15 + 9;
        assert!(heads[..PREFACE.len() - 1].iter().all(|is| *is), "in the preface");
        assert!(heads[in_list..in_list + 12].iter().all(|is| *is), "between HEADERS and END_HEADERS");
        assert!(!heads[bytes.len() - 200], "in a body");
        let trailers = frame(HEADERS, END_HEADERS, 1, b"slow");
        split.feed(&trailers[..11], Tick(0));
        assert!(split.is_in_head(), "in the only frame of a list");
    }

    #[test]
    fn trailers_and_numbers_of_before_open_no_stream() {
        let mut frames = begun();
        for stream in [1, 1, 5, 3] {
            frames.feed(&frame(HEADERS, END_HEADERS, stream, b""), Tick(0));
        }
        assert_eq!(frames.opened(), 2);
    }
}
