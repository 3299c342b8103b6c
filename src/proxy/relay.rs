//! Bytes from each side of a connection to the other, with back-pressure, and each side's end passed on by itself.
//!
//! What is read goes into a buffer that all connections of a worker share, and from there straight to the other side.
//! Only what that side does not take at once is kept, at most `BUFFER` bytes, and nothing more is read until it is
//! gone: an idle connection holds no buffer, a stuck one holds one, and its sender is slowed down by TCP.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are kept for a side that does not take them, per direction.
pub(crate) const BUFFER: usize = 64 * 1024;
/// Buffers that one direction may move before others have their turn.
const BURST: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Who connected to us.
    Client,
    /// Whom we connected to.
    Member,
}

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    up: Direction,
    down: Direction,
}

/// One direction.
#[derive(Debug, Default)]
struct Direction {
    /// Read and not yet taken by the other side, from `taken` on.
    kept: Vec<u8>,
    taken: usize,
    state: State,
    needs_flush: bool,
    moved: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The reader has ended; the writer is to be told.
    Ending,
    /// It was told.
    Ended,
}

impl Relay {
    /// Moves what can be moved. Ready when both sides have ended, or with the side that failed.
    pub(crate) fn poll<C, M>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut C,
        member: &mut M,
    ) -> Poll<Result<(), Side>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        M: AsyncRead + AsyncWrite + Unpin,
    {
        let down = self.down.poll(cx, member, client).map_err(|at| at.side(Side::Member, Side::Client));
        if let Poll::Ready(Err(failed)) = down {
            return Poll::Ready(Err(failed));
        }
        let up = self.up.poll(cx, client, member).map_err(|at| at.side(Side::Client, Side::Member));
        match (up, down) {
            (Poll::Ready(Err(failed)), _) => Poll::Ready(Err(failed)),
            (Poll::Ready(Ok(())), Poll::Ready(_)) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    /// Bytes moved up and down since the last call.
    pub(crate) fn take_moved(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.up.moved), std::mem::take(&mut self.down.moved))
    }
}

/// Which end of a direction failed.
#[derive(Debug, Clone, Copy)]
enum End {
    Reader,
    Writer,
}

impl End {
    const fn side(self, reader: Side, writer: Side) -> Side {
        match self {
            Self::Reader => reader,
            Self::Writer => writer,
        }
    }
}

impl Direction {
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<Result<(), End>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..BURST {
            match self.drain(cx, to) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Writer)),
                Poll::Pending => return self.flush(cx, to),
            }
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Ending => {
                    // Flushes before it closes.
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| End::Writer)?;
                    self.state = State::Ended;
                    return Poll::Ready(Ok(()));
                }
                State::Open => match self.pass(cx, from, to) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(end)) => return Poll::Ready(Err(end)),
                    Poll::Pending => return self.flush(cx, to),
                },
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once and writes what the other side takes.
    fn pass<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<Result<(), End>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(BUFFER, 0);
            let mut buffer = ReadBuf::new(scratch);
            match ready!(Pin::new(from).poll_read(cx, &mut buffer)) {
                Ok(()) => {}
                // A TLS peer that closes without saying so in TLS: common, and no reason to throw away what came.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => buffer.clear(),
                Err(_) => return Poll::Ready(Err(End::Reader)),
            }
            let mut rest: &[u8] = buffer.filled();
            if rest.is_empty() {
                self.state = State::Ending;
            }
            while !rest.is_empty() {
                match Pin::new(&mut *to).poll_write(cx, rest) {
                    Poll::Ready(Ok(count @ 1..)) => {
                        self.count(count);
                        rest = rest.get(count..).unwrap_or_default();
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(End::Writer)),
                    Poll::Pending => {
                        self.kept.extend_from_slice(rest);
                        break;
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Writes what was kept; ready when nothing is left, and then without its memory.
    fn drain<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<io::Result<()>> {
        while let Some(rest) = self.kept.get(self.taken..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *to).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.taken += count;
                    self.count(count);
                }
            }
        }
        if self.taken > 0 {
            self.kept = Vec::new();
            self.taken = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing can be moved now; what TLS holds back goes out.
    fn flush<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<Result<(), End>> {
        if self.needs_flush {
            ready!(Pin::new(to).poll_flush(cx)).map_err(|_| End::Writer)?;
            self.needs_flush = false;
        }
        Poll::Pending
    }

    fn count(&mut self, bytes: usize) {
        self.moved += bytes as u64;
        self.needs_flush = true;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    type Outcome = (Result<(), Side>, (u64, u64));

    /// The far ends of a relay's two sides, which each hold `room` bytes.
    fn relay(room: usize) -> (DuplexStream, DuplexStream, impl Future<Output = Outcome>) {
        let (client, mut near) = duplex(room);
        let (member, mut far) = duplex(room);
        let run = async move {
            let mut relay = Relay::default();
            let ended = poll_fn(|cx| relay.poll(cx, &mut near, &mut far)).await;
            (ended, relay.take_moved())
        };
        (client, member, run)
    }

    #[tokio::test]
    async fn each_direction_ends_by_itself() {
        let (mut client, mut member, run) = relay(64);
        let talk = async {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut question = Vec::new();
            member.read_to_end(&mut question).await.unwrap();
            assert_eq!(question, b"question");
            member.write_all(b"an answer after the other's end").await.unwrap();
            member.shutdown().await.unwrap();
        };
        let (outcome, ()) = tokio::join!(run, talk);
        assert_eq!(outcome, (Ok(()), (8, 31)));
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"an answer after the other's end");
    }

    #[tokio::test]
    async fn a_side_that_takes_nothing_slows_the_other_down_and_bounded_bytes_are_kept() {
        let (mut client, member, run) = relay(1024);
        let mut run = Box::pin(run);
        let mut sent = 0;
        let bytes = vec![7; 16 * 1024];
        let pushing = poll_fn(|cx| {
            for _ in 0..10_000 {
                let _ = run.as_mut().poll(cx);
                match Pin::new(&mut client).poll_write(cx, &bytes) {
                    Poll::Ready(written) => sent += written.unwrap(),
                    Poll::Pending => return Poll::Ready(()),
                }
            }
            Poll::Ready(())
        });
        pushing.await;
        assert!(sent <= BUFFER + 3 * 1024, "{sent}");
        drop(member);
        assert_eq!(run.await.0, Err(Side::Member));
    }
}
