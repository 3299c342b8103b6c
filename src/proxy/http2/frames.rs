//! What a client's frames of HTTP/2 cost us, counted before h2 reads them.
//!
//! h2 bounds what it must keep: header lists, CONTINUATION frames, empty and small DATA frames, streams that a client
//! makes us reset (CVE-2025-8671). It does not bound what is cheap to send and costs work without keeping anything:
//! streams that are opened and reset at once (CVE-2023-44487), PING, SETTINGS, PRIORITY, WINDOW_UPDATE, unknown
//! frames. Those are counted here, against allowances that grow with time and with the bytes of bodies. So are the
//! streams that h2 refuses because too many are open, which it tells nobody but the client.
//!
//! Pure: bytes and the time in, a verdict out. Looks at the nine bytes before each frame and skips the rest.

use crate::model::config::Http2Limits;
use crate::model::unit::{Span, Tick};

/// What a client sends first [RFC 9113 3.4].
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// So many seconds' worth of RST_STREAM may come at once.
const RESETS_AT_ONCE: u32 = 4;
/// So many seconds' worth of frames that carry nothing may come at once.
const CONTROL_AT_ONCE: u32 = 10;
/// CONTINUATION frames of one list of headers before its last one: what h2 takes for lists of [`super::MAX_HEADER_LIST`].
pub(crate) const MAX_CONTINUATIONS: u32 = 5;

/// Which allowance is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// RST_STREAM: `maxResetsPerSecond`.
    Resets,
    /// `maxPingsPerSecond`.
    Pings,
    /// `maxSettingsPerSecond`.
    Settings,
    /// `maxControlFramesPerSecond`.
    Control,
    /// `maxRequestsPerSecond`.
    Requests,
    /// [`MAX_CONTINUATIONS`]; h2 ends the connection by itself.
    Continuations,
}

impl Over {
    /// As metrics name it, and what the client is told.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Resets => "over_resets",
            Self::Pings => "over_pings",
            Self::Settings => "over_settings",
            Self::Control => "over_control_frames",
            Self::Requests => "over_requests",
            Self::Continuations => "over_continuations",
        }
    }

    /// Whether we end the connection here and now.
    const fn stops(self) -> bool {
        !matches!(self, Self::Requests | Self::Continuations)
    }
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
    /// CONTINUATION frames of it.
    continuations: u32,
    /// Highest stream that the client has opened.
    last_stream: u32,
    /// Streams that the client has opened.
    opened: u64,
    /// Bytes of bodies not yet turned into allowance.
    useful: usize,
    resets: Allowance,
    pings: Allowance,
    settings: Allowance,
    control: Allowance,
    requests: Allowance,
    over: Option<Over>,
    /// Nothing behind this frame passes.
    is_stopping: bool,
}

/// Of a frame.
const HEADER: usize = 9;
/// Bytes of bodies that pay for one frame without.
const PAYS: usize = 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Frames {
    pub(crate) const fn new(limits: &Http2Limits, now: Tick) -> Self {
        Self {
            preface: 0,
            header: [0; HEADER],
            have: 0,
            left: 0,
            is_in_list: false,
            continuations: 0,
            last_stream: 0,
            opened: 0,
            useful: 0,
            resets: Allowance::new(RESETS_AT_ONCE, limits.resets, now),
            pings: Allowance::new(CONTROL_AT_ONCE, limits.pings, now),
            settings: Allowance::new(CONTROL_AT_ONCE, limits.settings, now),
            control: Allowance::new(CONTROL_AT_ONCE, limits.control, now),
            requests: Allowance::new(1, limits.requests, now),
            over: None,
            is_stopping: false,
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
            if self.is_stopping {
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
        self.is_stopping && self.is_between()
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
                let goes_on = kind == CONTINUATION && self.is_in_list;
                self.continuations = if goes_on { self.continuations.saturating_add(1) } else { 0 };
                let is_new = kind == HEADERS && stream > self.last_stream;
                if is_new {
                    self.last_stream = stream;
                    self.opened += 1;
                }
                if self.continuations > MAX_CONTINUATIONS {
                    Some(Over::Continuations)
                } else {
                    (is_new && !self.requests.take(now)).then_some(Over::Requests)
                }
            }
            RST_STREAM => (!self.resets.take(now)).then_some(Over::Resets),
            _ => self.count_control(kind, now),
        };
        self.is_stopping |= over.is_some_and(Over::stops);
        self.over = self.over.or(over);
    }

    /// A frame that carries nothing; one for each KiB of bodies is free.
    fn count_control(&mut self, kind: u8, now: Tick) -> Option<Over> {
        let (allowance, over) = match kind {
            PING => (&mut self.pings, Over::Pings),
            SETTINGS => (&mut self.settings, Over::Settings),
            _ => (&mut self.control, Over::Control),
        };
        if kind != SETTINGS {
            allowance.pay(self.useful / PAYS);
            self.useful %= PAYS;
        }
        (!allowance.take(now)).then_some(over)
    }
}

/// Follows the frames that h2 sends, for the streams that it refuses because too many are open.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    header: [u8; HEADER + CODE],
    have: usize,
    left: usize,
    refused: u64,
}

/// Of an error.
const CODE: usize = 4;
const GO_AWAY: u8 = 7;
/// Bytes before the text: the last stream, and the error.
const GO_AWAY_HEAD: usize = 8;
const REFUSED_STREAM: u32 = 7;

impl Sent {
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let wanted = if self.is_reset() { HEADER + CODE } else { HEADER };
            let Some(missing) = self.header.get_mut(self.have..wanted) else { return };
            let taken = missing.len().min(bytes.len());
            missing.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            self.have += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.have == wanted && (wanted > HEADER || !self.is_reset()) {
                self.end_header();
            }
        }
    }

    /// Puts another word into a GOAWAY that stands in `bytes`, which come next, as a whole.
    pub(crate) fn reword(&self, bytes: &mut [u8], old: &[u8], new: &[u8]) {
        let mut at = self.left;
        if self.have > 0 {
            return;
        }
        while let Some([l2, l1, l0, kind, ..]) = bytes.get(at..at.saturating_add(HEADER)) {
            let (length, kind) = (u32::from_be_bytes([0, *l2, *l1, *l0]) as usize, *kind);
            at += HEADER;
            let text = bytes.get_mut(at..at + length).and_then(|payload| payload.get_mut(GO_AWAY_HEAD..));
            if let Some(text) = text.filter(|text| kind == GO_AWAY && *text == old) {
                let padded = new.iter().copied().chain(std::iter::repeat(b' '));
                text.iter_mut().zip(padded).for_each(|(to, from)| *to = from);
            }
            at += length;
        }
    }

    /// Streams refused since the last call.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Whether the header of a reset has been seen, so that its code belongs to what is read.
    const fn is_reset(&self) -> bool {
        let [.., kind, _, _, _, _, _, _, _, _, _] = self.header;
        self.have >= HEADER && kind == RST_STREAM
    }

    fn end_header(&mut self) {
        let [l2, l1, l0, kind, _, _, _, _, _, code @ ..] = self.header;
        let length = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        self.left = if kind == RST_STREAM { length.saturating_sub(CODE) } else { length };
        self.refused += u64::from(kind == RST_STREAM && u32::from_be_bytes(code) == REFUSED_STREAM);
        self.have = 0;
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
    /// As much at once as in so many seconds.
    pub(in crate::proxy) const fn new(seconds: u32, per_second: u32, now: Tick) -> Self {
        let most = per_second.saturating_mul(seconds);
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
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        out.extend([kind, flags]);
        out.extend(stream.to_be_bytes());
        out.extend(payload);
        out
    }

    const LIMITS: Http2Limits =
        Http2Limits { streams: 100, requests: 1000, resets: 50, pings: 100, settings: 10, control: 200 };

    fn begun() -> Frames {
        let mut frames = Frames::new(&LIMITS, Tick(0));
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
        for (kind, most, over) in [
            (2, 2000, Over::Control),
            (4, 100, Over::Settings),
            (6, 1000, Over::Pings),
            (8, 2000, Over::Control),
            (77, 2000, Over::Control),
        ] {
            let flood = |_| frame(kind, 0, 1, &[0; 4]);
            assert_eq!(passing(flood, most), (most as usize, None), "{kind}");
            assert_eq!(passing(flood, most + 5), (most as usize + 1, Some(over)), "{kind}");
        }
        let empty = |_| frame(DATA, 0, 1, b"");
        assert_eq!(passing(empty, 2005), (2001, Some(Over::Control)));
        let reset = |n| frame(RST_STREAM, 0, 2 * n + 1, &[0; 4]);
        assert_eq!(passing(reset, 300), (201, Some(Over::Resets)));
    }

    #[test]
    fn requests_over_their_rate_are_noticed_and_pass() {
        let request = |n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, b"x");
        assert_eq!(passing(request, LIMITS.requests).1, None);
        let all = LIMITS.requests + 5;
        assert_eq!(passing(request, all), (all as usize, Some(Over::Requests)));
    }

    #[test]
    fn continuations_of_one_list_are_noticed_and_left_to_h2() {
        let piece = |_| frame(CONTINUATION, 0, 1, b"x");
        assert_eq!(passing(piece, MAX_CONTINUATIONS).1, None);
        assert_eq!(passing(piece, 10), (10, Some(Over::Continuations)));
        let mut frames = begun();
        for stream in 0..10 {
            frames.feed(&frame(HEADERS, 0, 2 * stream + 1, b"x"), Tick(0));
            frames.feed(&frame(CONTINUATION, END_HEADERS, 2 * stream + 1, b"x"), Tick(0));
        }
        assert_eq!(frames.over(), None);
    }

    #[test]
    fn a_flood_that_comes_byte_by_byte_ends_at_the_same_frame() {
        let mut frames = begun();
        let flood = frame(RST_STREAM, 0, 1, &[0; 4]).repeat(300);
        let good: usize = flood.chunks(7).map(|chunk| frames.feed(chunk, Tick(0))).sum();
        assert_eq!((good / 13, frames.is_stopped()), (201, true));
    }

    #[test]
    fn an_allowance_grows_with_time_and_with_bodies() {
        let mut frames = begun();
        let ping = frame(PING, 0, 0, &[0; 8]);
        frames.feed(&ping.repeat(1000), Tick(0));
        let later = Tick(0) + Span::secs(1);
        frames.feed(&ping.repeat(100), later);
        frames.sent(2048);
        frames.feed(&frame(DATA, 0, 1, &[0; 1024]), later);
        frames.feed(&ping.repeat(3), later);
        assert_eq!(frames.over(), None);
        frames.feed(&ping, later);
        assert_eq!(frames.over(), Some(Over::Pings));
    }

    #[test]
    fn a_goaway_gets_another_word_and_nothing_else_does() {
        let old = b"old-word";
        let goaway = |text: &[u8]| frame(GO_AWAY, 0, 0, &[&[0; 8][..], text].concat());
        let mut bytes = frame(DATA, 0, 1, &goaway(old));
        bytes.extend(goaway(b"another"));
        let before = bytes.clone();
        bytes.extend(goaway(old));
        let mut sent = Sent::default();
        // What is left of a frame before them.
        sent.feed(&frame(DATA, 0, 1, b"12345")[..HEADER + 2]);
        let mut said = [b"345", &bytes[..]].concat();
        sent.reword(&mut said, old, b"new");
        assert_eq!(said, [b"345", &before[..], &goaway(b"new     ")].concat());
        let cut = said.len() - 1;
        let mut cut = said[..cut].to_vec();
        sent.reword(&mut cut, b"new     ", b"x");
        assert_eq!(cut, said[..said.len() - 1], "only as a whole");
    }

    #[test]
    fn streams_that_are_refused_are_seen_however_the_bytes_are_cut() {
        let mut bytes = frame(SETTINGS, 0, 0, &[0; 12]);
        bytes.extend(frame(RST_STREAM, 0, 201, &[0, 0, 0, 7]));
        bytes.extend(frame(DATA, 0, 1, &frame(RST_STREAM, 0, 3, &[0, 0, 0, 7])));
        bytes.extend(frame(RST_STREAM, 0, 5, &[0, 0, 0, 1]));
        bytes.extend(frame(SETTINGS, 1, 0, b""));
        bytes.extend(frame(RST_STREAM, 0, 203, &[0, 0, 0, 7]));
        for size in [1, 2, 5, 9, 10, 13, bytes.len()] {
            let mut sent = Sent::default();
            bytes.chunks(size).for_each(|chunk| sent.feed(chunk));
            assert_eq!((sent.take_refused(), sent.take_refused()), (2, 0), "{size}");
        }
    }

    #[test]
    fn it_does_not_matter_how_bytes_arrive() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, &[0; 6]));
        bytes.extend(frame(HEADERS, 0, 1, b"part"));
        bytes.extend(frame(CONTINUATION, 0, 1, b""));
        bytes.extend(frame(CONTINUATION, END_HEADERS, 1, b"rest"));
        bytes.extend(frame(DATA, END_STREAM, 1, &[0; 300]));
        let (mut whole, mut split) = (Frames::new(&LIMITS, Tick(0)), Frames::new(&LIMITS, Tick(0)));
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

    proptest! {
        #[test]
        fn any_frames_are_counted_alike_however_their_bytes_are_cut(
            frames in prop::collection::vec(
                (0_u8..12, any::<u8>(), 0_u32..9, prop::collection::vec(any::<u8>(), 0..40)), 0..60,
            ),
            cut in 0_usize..2000,
            sizes in prop::collection::vec(1_usize..30, 1..8),
        ) {
            // The last one may be cut, and then garbage may stand for a frame.
            let limits = Http2Limits { streams: 1, requests: 3, resets: 1, pings: 1, settings: 1, control: 1 };
            let mut bytes = PREFACE.to_vec();
            for (kind, flags, stream, payload) in &frames {
                bytes.extend(frame(*kind, *flags, *stream, payload));
            }
            bytes.truncate(bytes.len().saturating_sub(cut).max(1));
            let (mut whole, mut split) = (Frames::new(&limits, Tick(0)), Frames::new(&limits, Tick(0)));
            let (mut sent, mut parts) = (Sent::default(), Sent::default());
            let good = whole.feed(&bytes, Tick(0));
            sent.feed(&bytes);
            let (mut at, mut passed) = (0, 0);
            for size in sizes.iter().cycle() {
                let piece = &bytes[at..(at + size).min(bytes.len())];
                passed += split.feed(piece, Tick(0));
                parts.feed(piece);
                at += piece.len();
                if piece.is_empty() {
                    break;
                }
            }
            prop_assert_eq!((good, whole.over()), (passed, split.over()));
            prop_assert_eq!((whole.opened(), whole.is_in_head()), (split.opened(), split.is_in_head()));
            prop_assert_eq!(sent.take_refused(), parts.take_refused());
        }
    }
}
