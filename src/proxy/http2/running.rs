//! The task of a stream: whatever ends it early, its stream is reset.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::stream::Stream;
use crate::ledger::process::Traffic;

pin_project! {
    /// A stream, from its request to the last piece of its answer.
    pub(super) struct Running<F> {
        #[pin]
        pub(super) future: F,
        pub(super) stream: Rc<Stream>,
    }

    impl<F> PinnedDrop for Running<F> {
        fn drop(this: Pin<&mut Self>) {
            this.stream.connection().finish(&this.stream);
            if std::thread::panicking() {
                let context = &this.stream.connection().client.context;
                context.process.count(context.worker, Traffic::Panics);
            }
        }
    }
}

impl<F: Future<Output = ()>> Future for Running<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let watched = &this.stream.watched;
        watched.register(cx.waker());
        if watched.drain.get() {
            this.stream.leave();
        }
        let is_over = this.stream.is_over() || this.future.poll(cx).is_ready();
        if is_over || watched.is_expired() || watched.kill.get() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
