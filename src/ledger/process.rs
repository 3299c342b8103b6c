//! What concerns no single service: connections, and requests that no service was found for.

use std::sync::Arc;

use super::buffers::Buffers;
use super::cell::{Cells, WorkerId};
use super::doors::Doors;
use super::handshake::Handshakes;
use super::member::Count;
use crate::model::detail::StatusDetail;

/// One per process, shared by all worlds.
#[derive(Debug)]
pub struct Process {
    /// How many workers there are.
    pub workers: usize,
    /// TLS with clients.
    pub handshakes: Handshakes,
    traffic: Cells<{ Traffic::ALL.len() }>,
    details: Cells<{ StatusDetail::ALL.len() }>,
    unrouted: Cells<6>,
    /// Who may come in.
    pub doors: Arc<Doors>,
    /// What waits for slow clients and members.
    pub buffers: Buffers,
}

/// What is counted per process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Traffic {
    /// Client connections accepted.
    Accepted,
    /// Client connections closed.
    Closed,
    /// accept() errors.
    AcceptErrors,
    /// Connections opened to members.
    BackendConnections,
    /// Access log lines dropped because the writer was behind or the disk full.
    LogLinesDropped,
    /// Panics caught in a connection.
    Panics,
    /// Client connections that had to wait because `maxConnections` were open.
    Waited,
    /// Client connections closed at once because their address had `maxConnectionsPerAddress` open.
    RefusedByAddress,
    /// Client connections of HTTP/2.
    Http2Connections,
    /// Streams that clients opened and that the protocol's own rules refused: malformed, over a limit, cut.
    Http2Refused,
    /// Connections ended for too many RST_STREAM frames.
    Http2OverResets,
    /// Connections ended for too many PING frames.
    Http2OverPings,
    /// Connections ended for too many SETTINGS frames.
    Http2OverSettings,
    /// Connections ended for too many other frames that carry nothing.
    Http2OverControl,
    /// Connections ended for too many CONTINUATION frames in one list of headers.
    Http2OverContinuations,
    /// Connections sent away for too many requests in a second.
    Http2OverRequests,
    /// Connections ended for too many streams that the client made us reset, or a list of headers that unpacks to far
    /// too much.
    Http2OverFaults,
    /// Answers that were not compressed because too many others were.
    Uncompressed,
    /// Connections from addresses that may not send a header of the PROXY protocol, where one is due.
    ProxyHeaderForbidden,
    /// Connections whose header of the PROXY protocol was malformed, or missing.
    ProxyHeaderMalformed,
    /// Connections whose header of the PROXY protocol did not come in time.
    ProxyHeaderLate,
    /// Requests whose body came too slowly.
    SlowBodies,
    /// Client connections of HTTP/3.
    Http3Connections,
    /// Streams that clients opened and that broke the rules of HTTP/3 before there was a request.
    Http3Refused,
    /// Connections ended for too many requests that were given up.
    Http3OverResets,
    /// Connections ended for too many frames that carry nothing.
    Http3OverControl,
    /// Connections sent away for too many requests in a second.
    Http3OverRequests,
    /// Connections ended for a frame that is too long, or that a stream ended in.
    Http3OverFaults,
    /// Clients of QUIC that were asked to show that their address is theirs.
    QuicRetries,
    /// Clients of QUIC that were not heard because `maxConnections` were open, or too many had come at once.
    QuicUnheard,
    /// Streams refused because as many as may be were under way.
    Http2OverStreams,
    /// Streams refused for the size of their lists of headers.
    Http2OverHeaders,
}

impl Traffic {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 32] = [
        Self::Accepted,
        Self::Closed,
        Self::AcceptErrors,
        Self::BackendConnections,
        Self::LogLinesDropped,
        Self::Panics,
        Self::Waited,
        Self::RefusedByAddress,
        Self::Http2Connections,
        Self::Http2Refused,
        Self::Http2OverResets,
        Self::Http2OverPings,
        Self::Http2OverSettings,
        Self::Http2OverControl,
        Self::Http2OverContinuations,
        Self::Http2OverRequests,
        Self::Http2OverFaults,
        Self::Uncompressed,
        Self::ProxyHeaderForbidden,
        Self::ProxyHeaderMalformed,
        Self::ProxyHeaderLate,
        Self::SlowBodies,
        Self::Http3Connections,
        Self::Http3Refused,
        Self::Http3OverResets,
        Self::Http3OverControl,
        Self::Http3OverRequests,
        Self::Http3OverFaults,
        Self::QuicRetries,
        Self::QuicUnheard,
        Self::Http2OverStreams,
        Self::Http2OverHeaders,
    ];
}

impl Process {
    /// All zero.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            handshakes: Handshakes::new(workers),
            traffic: Cells::new(workers),
            details: Cells::new(workers),
            unrouted: Cells::new(workers),
            doors: Arc::default(),
            buffers: Buffers::new(workers),
        }
    }

    /// Adds one; worker's own thread only.
    #[inline]
    pub fn count(&self, worker: WorkerId, what: Traffic) {
        self.traffic.add(worker, what as usize, 1);
    }

    /// Adds `by`; worker's own thread only.
    pub fn add(&self, worker: WorkerId, what: Traffic, by: u64) {
        self.traffic.add(worker, what as usize, by);
    }

    /// Sum over the workers.
    #[must_use]
    pub fn sum(&self, what: Traffic) -> u64 {
        self.traffic.sum(what as usize)
    }

    /// Counts a request that reached no service: unparsable, too slow, or not routed.
    pub fn count_unrouted(&self, worker: WorkerId, detail: StatusDetail, status: Option<u16>) {
        self.details.add(worker, detail as usize, 1);
        self.unrouted.add(worker, Count::class(status) as usize - Count::Class0 as usize, 1);
    }

    /// Requests without a service that ended so.
    #[must_use]
    pub fn details(&self, detail: StatusDetail) -> u64 {
        self.details.sum(detail as usize)
    }

    /// Requests without a service, by class of status (0 to 5).
    #[must_use]
    pub fn unrouted(&self) -> [u64; 6] {
        self.unrouted.sums()
    }
}
