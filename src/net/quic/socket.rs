//! A socket of UDP that others may read, too, and the inbox beside it.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime as _, TokioRuntime, UdpPoller};
use tokio::io::ReadBuf;
use tokio::net::UnixDatagram;

use super::ways::{self, MESSAGE, Stand, Ways};

/// What an endpoint reads and writes.
#[derive(Debug)]
pub(super) struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    inbox: UnixDatagram,
    ways: Arc<Ways>,
    seat: usize,
    /// The socket is not read: another process does, or another endpoint.
    is_lent: AtomicBool,
    /// Nothing is read any more.
    is_left: AtomicBool,
    /// Whether the inbox is looked into first: it and the socket take turns.
    is_inboxs_turn: AtomicBool,
    /// Who reads.
    reader: Mutex<Option<Waker>>,
}

impl Socket {
    pub(super) fn new(stand: Stand) -> io::Result<Self> {
        let Stand { socket, inbox, ways, seat } = stand;
        Ok(Self {
            inner: TokioRuntime.wrap_udp_socket(socket)?,
            inbox: UnixDatagram::from_std(inbox)?,
            is_lent: AtomicBool::new(!ways.reads(seat)),
            is_left: AtomicBool::new(false),
            is_inboxs_turn: AtomicBool::new(false),
            reader: Mutex::new(None),
            ways,
            seat,
        })
    }

    /// Whether the socket itself is read from now on, or the inbox alone.
    pub(super) fn lend(&self, is_lent: bool) {
        self.is_lent.store(is_lent || !self.ways.reads(self.seat), Relaxed);
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Nothing is read any more, whoever still holds the socket.
    pub(super) fn leave(&self) {
        self.is_left.store(true, Relaxed);
    }

    fn poll_socket(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.is_lent.load(Relaxed) {
            return Poll::Pending;
        }
        let polled = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(read)) = &polled
            && self.ways.has_others()
        {
            for (buf, meta) in bufs.iter_mut().zip(meta).take(*read) {
                self.sort(buf, meta);
            }
        }
        polled
    }

    /// Passes on what is others', and keeps the rest.
    fn sort(&self, buf: &mut [u8], meta: &mut RecvMeta) {
        let (mut at, mut kept) = (0, 0);
        while at < meta.len {
            let end = (at + meta.stride.max(1)).min(meta.len);
            let Some(datagram) = buf.get(at..end) else { break };
            if !self.ways.pass_on(self.seat, meta, datagram) {
                if kept != at {
                    buf.copy_within(at..end, kept);
                }
                kept += end - at;
            }
            at = end;
        }
        meta.len = kept;
    }

    /// What others have read for this endpoint.
    fn poll_inbox(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut message = [0; MESSAGE];
        let mut read = 0;
        for (buf, meta) in bufs.iter_mut().zip(metas) {
            let mut into = ReadBuf::new(&mut message);
            match self.inbox.poll_recv(cx, &mut into) {
                Poll::Ready(Ok(())) => {}
                // It never has one; if it had, the socket itself would still be there.
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
            // What is none, or does not fit, takes a place without anything in it.
            let came = ways::read(into.filled());
            let fits =
                came.and_then(|(meta, datagram)| Some((meta, datagram, buf.get_mut(..datagram.len())?)));
            *meta = RecvMeta::default();
            if let Some((of, datagram, place)) = fits {
                place.copy_from_slice(datagram);
                *meta = of;
            } else {
                meta.len = 0;
            }
            read += 1;
        }
        if read == 0 { Poll::Pending } else { Poll::Ready(Ok(read)) }
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.is_left.load(Relaxed) {
            return Poll::Pending;
        }
        let is_inboxs_turn = self.is_inboxs_turn.fetch_xor(true, Relaxed);
        for is_inbox in [is_inboxs_turn, !is_inboxs_turn] {
            let polled =
                if is_inbox { self.poll_inbox(cx, bufs, meta) } else { self.poll_socket(cx, bufs, meta) };
            if polled.is_ready() {
                return polled;
            }
        }
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if !reader.as_ref().is_some_and(|held| held.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
