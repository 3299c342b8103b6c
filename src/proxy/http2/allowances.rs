//! What a client's frames of HTTP/2 cost us, counted as they come.
//!
//! What is kept is bounded where it is kept: lists of headers, bodies by their windows. What is cheap to send and costs
//! work without keeping anything is bounded here: streams that are opened and reset at once (CVE-2023-44487), streams
//! that a client makes us reset (CVE-2025-8671), CONTINUATION, PING, SETTINGS, PRIORITY, WINDOW_UPDATE, unknown frames.
//! They are counted against allowances that grow with time and with the bytes of bodies.
//!
//! Pure: heads of frames and the time in, a verdict out.

use super::frame::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Head, PING, RST_STREAM, SETTINGS};
use crate::model::config::Http2Limits;
use crate::model::unit::{Span, Tick};

/// So many seconds' worth of RST_STREAM may come at once.
const RESETS_AT_ONCE: u32 = 4;
/// So many seconds' worth of frames that carry nothing may come at once.
const CONTROL_AT_ONCE: u32 = 10;
/// CONTINUATION frames of one list of headers before its last one.
pub(crate) const MAX_CONTINUATIONS: u32 = 5;
/// Streams that a client may make us reset over the life of a connection: by breaking the rules on them, or by opening
/// more than it may, which it may do before it learns how many that are.
pub(crate) const MAX_FAULTS: u32 = 500;
/// Bytes of bodies that pay for one frame without.
const PAYS: usize = 1024;

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
    /// [`MAX_CONTINUATIONS`].
    Continuations,
    /// [`MAX_FAULTS`], or a list of headers that unpacks to far too much.
    Faults,
}

impl Over {
    /// What the client is told.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Resets => "over_resets",
            Self::Pings => "over_pings",
            Self::Settings => "over_settings",
            Self::Control => "over_control_frames",
            Self::Requests => "over_requests",
            Self::Continuations => "over_continuations",
            Self::Faults => "over_faults",
        }
    }
}

/// Those of one connection.
#[derive(Debug)]
pub(crate) struct Allowances {
    /// CONTINUATION frames of the list that has not ended.
    continuations: u32,
    /// Bytes of bodies not yet turned into allowance.
    useful: usize,
    faults: u32,
    resets: Allowance,
    pings: Allowance,
    settings: Allowance,
    control: Allowance,
    requests: Allowance,
}

impl Allowances {
    pub(crate) const fn new(limits: &Http2Limits, now: Tick) -> Self {
        Self {
            continuations: 0,
            useful: 0,
            faults: 0,
            resets: Allowance::new(RESETS_AT_ONCE, limits.resets, now),
            pings: Allowance::new(CONTROL_AT_ONCE, limits.pings, now),
            settings: Allowance::new(CONTROL_AT_ONCE, limits.settings, now),
            control: Allowance::new(CONTROL_AT_ONCE, limits.control, now),
            requests: Allowance::new(1, limits.requests, now),
        }
    }

    /// Counts a frame that has come. Which allowance it is too much for.
    pub(super) fn count(&mut self, frame: Head, now: Tick) -> Option<Over> {
        match frame.kind {
            DATA if frame.length > 0 || frame.has(END_STREAM) => {
                self.useful += frame.length;
                None
            }
            HEADERS => {
                self.continuations = 0;
                None
            }
            CONTINUATION => {
                self.continuations += u32::from(!frame.has(END_HEADERS));
                (self.continuations > MAX_CONTINUATIONS).then_some(Over::Continuations)
            }
            RST_STREAM => (!self.resets.take(now)).then_some(Over::Resets),
            _ => self.count_control(frame.kind, now),
        }
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

    /// A stream has been opened. Whether the client is to be sent elsewhere: those that have come are served.
    pub(super) fn is_over_requests(&mut self, now: Tick) -> bool {
        !self.requests.take(now)
    }

    /// The client has made us reset a stream.
    pub(super) const fn fault(&mut self) -> Option<Over> {
        self.faults += 1;
        if self.faults > MAX_FAULTS { Some(Over::Faults) } else { None }
    }

    /// Bytes of bodies that went out.
    pub(super) const fn sent(&mut self, bytes: usize) {
        self.useful += bytes;
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
    use super::super::frame::ACK;
    use super::*;

    const LIMITS: Http2Limits =
        Http2Limits { streams: 100, requests: 1000, resets: 50, pings: 100, settings: 10, control: 200 };

    const fn frame(kind: u8, flags: u8, length: usize) -> Head {
        Head { length, kind, flags, stream: 1 }
    }

    fn fresh() -> Allowances {
        Allowances::new(&LIMITS, Tick(0))
    }

    /// How many of these frames pass, all come at once, and what ends them.
    fn passing(one: Head) -> (u32, Over) {
        let mut all = fresh();
        (0..).find_map(|n| Some((n, all.count(one, Tick(0))?))).unwrap()
    }

    #[test]
    fn each_flood_ends_at_its_allowance() {
        for (kind, most, over) in [
            (2, 2000, Over::Control),
            (SETTINGS, 100, Over::Settings),
            (PING, 1000, Over::Pings),
            (8, 2000, Over::Control),
            (77, 2000, Over::Control),
            (DATA, 2000, Over::Control),
            (RST_STREAM, 200, Over::Resets),
            (CONTINUATION, MAX_CONTINUATIONS, Over::Continuations),
        ] {
            assert_eq!(passing(frame(kind, 0, 0)), (most, over), "{kind}");
        }
        assert_eq!(passing(frame(SETTINGS, ACK, 0)), (100, Over::Settings));
    }

    #[test]
    fn each_list_has_its_own_continuations() {
        let mut all = fresh();
        for _ in 0..10 {
            assert_eq!(all.count(frame(HEADERS, 0, 1), Tick(0)), None);
            for _ in 0..MAX_CONTINUATIONS {
                assert_eq!(all.count(frame(CONTINUATION, 0, 1), Tick(0)), None);
            }
            assert_eq!(all.count(frame(CONTINUATION, END_HEADERS, 1), Tick(0)), None);
        }
    }

    #[test]
    fn requests_over_their_rate_and_faults_over_their_number_are_noticed() {
        let mut all = fresh();
        assert!((0..LIMITS.requests).all(|_| !all.is_over_requests(Tick(0))));
        assert!(all.is_over_requests(Tick(0)));
        assert!((0..MAX_FAULTS).all(|_| all.fault().is_none()));
        assert_eq!(all.fault(), Some(Over::Faults));
    }

    #[test]
    fn an_allowance_grows_with_time_and_with_bodies() {
        let mut all = fresh();
        let ping = frame(PING, 0, 8);
        assert!((0..1000).all(|_| all.count(ping, Tick(0)).is_none()));
        let later = Tick(0) + Span::secs(1);
        assert!((0..100).all(|_| all.count(ping, later).is_none()));
        all.sent(2048);
        assert_eq!(all.count(frame(DATA, 0, 1024), later), None);
        assert!((0..3).all(|_| all.count(ping, later).is_none()));
        assert_eq!(all.count(ping, later), Some(Over::Pings));
    }
}
