//! A client connection that has just come: from whom. Behind another balancer, a header of the PROXY protocol says so,
//! before anything else does, TLS included.
//!
//! Whoever connects and may not send such a header, sends none in time or one that is malformed is cut off without a
//! word: no client of ours.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::context::Context;
use super::proxy_header::{MAX_BLOCK, Malformed, Said, parse};
use super::watch::Watched;
use crate::clock;
use crate::ledger::process::Traffic;
use crate::model::unit::Span;

/// How long a header may take to come whole.
const HEADER_TIMEOUT: Span = Span::secs(5);

/// A client's connection.
#[derive(Debug)]
pub struct Arrival {
    /// Bytes from the client and to it.
    pub stream: TcpStream,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that it asked for.
    pub local: SocketAddr,
}

/// Why a connection came to nothing.
enum Fault {
    Malformed(Malformed),
    Late,
    /// It ended, or we do.
    Gone,
}

impl Arrival {
    /// As the socket has it. `None` when it has gone already.
    #[must_use]
    pub fn new(stream: TcpStream, peer: SocketAddr) -> Option<Self> {
        let local = stream.local_addr().ok()?;
        Some(Self { stream, peer, local })
    }

    /// The same as its header of the PROXY protocol has it. `None` after a fault, which is counted.
    pub async fn introduced(mut self, context: &Context, listener: u32) -> Option<Self> {
        let waiting = Waiting::new(context, listener);
        let fault = match waiting.unless_over(header(&mut self.stream)).await {
            Ok(Said::Nothing) => return Some(self),
            Ok(Said::Client { from, to }) => return Some(Self { peer: from, local: to, ..self }),
            Err(fault) => fault,
        };
        let (counted, why) = match fault {
            Fault::Malformed(Malformed(why)) => (Traffic::ProxyHeaderMalformed, why),
            Fault::Late => (Traffic::ProxyHeaderLate, "it did not come in time"),
            Fault::Gone => return None,
        };
        context.process.count(context.worker, counted);
        tracing::debug!(sender = %self.peer, why, "no header of the PROXY protocol");
        None
    }
}

/// Reads a header, and not a byte more.
async fn header(stream: &mut TcpStream) -> Result<Said, Fault> {
    let mut held = Vec::new();
    let mut seen = [0; MAX_BLOCK];
    loop {
        let count = stream.peek(&mut seen).await.map_err(gone)?;
        if count == 0 {
            return Err(Fault::Gone);
        }
        let before = held.len();
        held.extend_from_slice(seen.get(..count).unwrap_or_default());
        let parsed = parse(&held).map_err(Fault::Malformed)?;
        // Taken away, so that the next look waits for more.
        let part = parsed.map_or(held.len(), |(_, length)| length).saturating_sub(before);
        stream.read_exact(seen.get_mut(..part).unwrap_or_default()).await.map_err(gone)?;
        if let Some((said, _)) = parsed {
            return Ok(said);
        }
    }
}

fn gone(_: io::Error) -> Fault {
    Fault::Gone
}

/// A connection that has not said yet from whom it is, under the eyes of the watch: when clients must wait for room, it
/// counts as idle.
struct Waiting(Rc<Watched>);

impl Waiting {
    fn new(context: &Context, listener: u32) -> Self {
        let watched = Rc::new(Watched::new(listener));
        watched.set_deadline(clock::now() + HEADER_TIMEOUT);
        context.watch.add(watched.clone());
        Self(watched)
    }

    async fn unless_over(&self, header: impl Future<Output = Result<Said, Fault>>) -> Result<Said, Fault> {
        let mut header = pin!(header);
        poll_fn(|cx| {
            self.0.register(cx.waker());
            if let Poll::Ready(done) = header.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            match () {
                () if self.0.kill.get() || self.0.drain.get() => Poll::Ready(Err(Fault::Gone)),
                () if self.0.is_expired() => Poll::Ready(Err(Fault::Late)),
                () => Poll::Pending,
            }
        })
        .await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.forget();
    }
}
