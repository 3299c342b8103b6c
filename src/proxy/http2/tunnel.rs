//! A stream as the client's side of a tunnel [RFC 8441].

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::engine::Room;
use super::frame::{Code, MAX_PAYLOAD};
use super::stream::{Piece, Stream};

/// See the module. Dropped early, the stream is reset.
pub(crate) struct Tunnel {
    stream: Rc<Stream>,
    /// Come and not taken.
    rest: Bytes,
    has_ended: bool,
}

impl Tunnel {
    pub(crate) fn new(stream: Rc<Stream>) -> Self {
        stream.want();
        Self { stream, rest: Bytes::new(), has_ended: false }
    }

    /// Itself, once the answer that opens it is sent; `None` when it never was.
    pub(crate) async fn ready(self) -> Option<Self> {
        poll_fn(|cx| self.stream.poll_tunnel(cx)).await.then_some(self)
    }
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for Tunnel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match ready!(this.stream.poll_piece(cx)) {
                Ok(Some(Piece::Data(data))) => this.rest = data,
                Ok(Some(Piece::Trailers(_))) => {}
                Ok(None) => return Poll::Ready(Ok(())),
                Err(_) => return Poll::Ready(Err(cut())),
            }
        }
        let length = this.rest.len().min(buf.remaining());
        buf.put_slice(this.rest.get(..length).unwrap_or_default());
        this.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match ready!(this.stream.connection().poll_room(&this.stream, cx)) {
            Room::Never => Poll::Ready(Err(cut())),
            Room::Some => {
                let piece = buf.get(..MAX_PAYLOAD).unwrap_or(buf);
                this.stream.connection().offer(&this.stream, Bytes::copy_from_slice(piece), false);
                Poll::Ready(Ok(piece.len()))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Its connection writes by itself.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(Ok(()));
        }
        if ready!(this.stream.connection().poll_room(&this.stream, cx)) == Room::Some {
            this.stream.connection().offer(&this.stream, Bytes::new(), true);
        }
        this.has_ended = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if self.stream.is_tunnel() && !self.has_ended {
            self.stream.connection().reset(&self.stream, Code::Cancel);
        }
        self.stream.unwant();
    }
}
