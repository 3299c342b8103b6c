//! Small writes in one piece: a head and a short body go out as one buffer.
//!
//! A plain `send` of 300 bytes costs the kernel less than a `writev` of two parts, and much more than copying 300 bytes.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// Up to how many bytes are copied together.
pub const JOIN_LIMIT: usize = 4096;

thread_local! {
    static JOINED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(JOIN_LIMIT));
}

/// Writes `parts`: in one piece where they are short, as they are otherwise.
///
/// # Errors
/// Those of the write.
pub fn poll_write<W: AsyncWrite + Unpin>(
    io: &mut W,
    cx: &mut Context<'_>,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let io = Pin::new(io);
    if let [part] = parts {
        return io.poll_write(cx, part);
    }
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length > JOIN_LIMIT {
        return io.poll_write_vectored(cx, parts);
    }
    JOINED.with_borrow_mut(|joined| {
        joined.clear();
        parts.iter().for_each(|part| joined.extend_from_slice(part));
        io.poll_write(cx, joined)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn written(parts: &[&[u8]]) -> (usize, Vec<u8>) {
        let mut cx = Context::from_waker(Waker::noop());
        let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut sink = Vec::new();
        let Poll::Ready(Ok(count)) = poll_write(&mut sink, &mut cx, &slices) else { return (0, sink) };
        (count, sink)
    }

    #[test]
    fn parts_arrive_in_order_whether_joined_or_not() {
        assert_eq!(written(&[b"head", b"", b"body"]), (8, b"headbody".to_vec()));
        assert_eq!(written(&[b"alone"]), (5, b"alone".to_vec()));
        assert_eq!(written(&[]), (0, Vec::new()));
        let long = vec![b'x'; JOIN_LIMIT];
        assert_eq!(written(&[b"head", &long]).0, 4 + JOIN_LIMIT);
    }
}
