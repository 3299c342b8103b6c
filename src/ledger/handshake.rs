//! TLS handshakes with clients: how many are under way, and how the others ended.

use super::cell::{Cells, WorkerId};

/// One per process.
#[derive(Debug)]
pub struct Handshakes {
    /// The last one counts those that have begun.
    cells: Cells<{ Handshake::ALL.len() + 1 }>,
}

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Handshake {
    /// TLS 1.2, from scratch.
    Full12,
    /// TLS 1.2, a session taken up again.
    Resumed12,
    /// TLS 1.3, from scratch.
    Full13,
    /// TLS 1.3, a session taken up again.
    Resumed13,
    /// QUIC, which does not tell whether a session was taken up again.
    Quic,
    /// The client was too slow.
    TimedOut,
    /// The client went away.
    ClientClosed,
    /// The client spoke HTTP in clear.
    PlainHttp,
    /// What the client sent is no TLS.
    NotTls,
    /// The client speaks no version that we do.
    NoCommonVersion,
    /// The client has no suite, group or signature scheme that we have.
    NoCommonCipher,
    /// The client speaks no protocol inside that we do (ALPN).
    NoCommonProtocol,
    /// A certificate was asked for, and none, or a bad one, was shown.
    ClientCertificate,
    /// The client broke off with an alert, as one does that does not believe our certificate.
    AlertReceived,
    /// Cut, because too many were under way.
    TooMany,
    /// Cut, because the process stopped.
    Drained,
    /// Anything else.
    Other,
}

impl Handshake {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::Full12,
        Self::Resumed12,
        Self::Full13,
        Self::Resumed13,
        Self::Quic,
        Self::TimedOut,
        Self::ClientClosed,
        Self::PlainHttp,
        Self::NotTls,
        Self::NoCommonVersion,
        Self::NoCommonCipher,
        Self::NoCommonProtocol,
        Self::ClientCertificate,
        Self::AlertReceived,
        Self::TooMany,
        Self::Drained,
        Self::Other,
    ];

    /// Version and result of one that succeeded, as labels.
    #[must_use]
    pub const fn success(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Full12 => Some(("TLSv1.2", "full")),
            Self::Resumed12 => Some(("TLSv1.2", "resumed")),
            Self::Full13 => Some(("TLSv1.3", "full")),
            Self::Resumed13 => Some(("TLSv1.3", "resumed")),
            Self::Quic => Some(("QUIC", "any")),
            _ => None,
        }
    }

    /// Why it failed, as a label; `None` when it succeeded.
    #[must_use]
    pub const fn failure(self) -> Option<&'static str> {
        Some(match self {
            Self::Full12 | Self::Resumed12 | Self::Full13 | Self::Resumed13 | Self::Quic => {
                return None;
            }
            Self::TimedOut => "timed_out",
            Self::ClientClosed => "client_closed",
            Self::PlainHttp => "plain_http",
            Self::NotTls => "not_tls",
            Self::NoCommonVersion => "no_common_version",
            Self::NoCommonCipher => "no_common_cipher",
            Self::NoCommonProtocol => "no_common_protocol",
            Self::ClientCertificate => "client_certificate",
            Self::AlertReceived => "alert_received",
            Self::TooMany => "too_many",
            Self::Drained => "drained",
            Self::Other => "other",
        })
    }
}

impl Handshakes {
    /// None yet.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { cells: Cells::new(workers) }
    }

    /// One has begun; worker's own thread only.
    pub fn begin(&self, worker: WorkerId) {
        self.cells.add(worker, Handshake::ALL.len(), 1);
    }

    /// One that had begun has ended; worker's own thread only.
    pub fn end(&self, worker: WorkerId, how: Handshake) {
        self.cells.add(worker, how as usize, 1);
    }

    /// How many ended so.
    #[must_use]
    pub fn ended(&self, how: Handshake) -> u64 {
        self.cells.sum(how as usize)
    }

    /// Under way now.
    #[must_use]
    pub fn in_progress(&self) -> u64 {
        // Ends first: what ends in between then counts as under way, and never the other way round.
        let ended: u64 = Handshake::ALL.iter().map(|how| self.ended(*how)).sum();
        self.cells.sum(Handshake::ALL.len()).saturating_sub(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_a_success_or_a_failure_and_what_has_not_ended_is_under_way() {
        let handshakes = Handshakes::new(1);
        for (number, how) in Handshake::ALL.into_iter().enumerate() {
            assert_eq!(how as usize, number);
            assert!(how.success().is_some() != how.failure().is_some(), "{how:?}");
            handshakes.begin(WorkerId(0));
            assert_eq!(handshakes.in_progress(), 1);
            handshakes.end(WorkerId(0), how);
            assert_eq!((handshakes.in_progress(), handshakes.ended(how)), (0, 1));
        }
    }
}
