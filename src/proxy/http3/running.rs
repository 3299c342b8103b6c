//! The task of a stream: whatever ends it early, its stream is reset and its connection knows.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Connection;
use super::signals::{End, Signals};
use crate::ledger::process::Traffic;
use crate::proxy::serve::Client;

pin_project! {
    /// A stream, from its first byte until the client has all of the answer. Dropped early, it is reset.
    pub(super) struct Running<F> {
        #[pin]
        pub(super) future: F,
        pub(super) client: Rc<Client>,
        pub(super) signals: Rc<Signals>,
        pub(super) connection: Rc<Connection>,
        // The client has all of the answer, and the future was told.
        pub(super) is_read: Cell<bool>,
    }

    impl<F> PinnedDrop for Running<F> {
        fn drop(this: Pin<&mut Self>) {
            this.client.watched.forget();
            this.signals.finish();
            this.connection.close_stream();
            if this.signals.is_given_up() {
                this.connection.given_up();
            }
            if std::thread::panicking() {
                let context = &this.client.context;
                context.process.count(context.worker, Traffic::Panics);
            }
        }
    }
}

impl<F: Future<Output = ()>> Future for Running<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let watched = &this.client.watched;
        watched.register(cx.waker());
        if watched.drain.get() {
            this.connection.leave();
        }
        if this.future.poll(cx).is_ready() || watched.is_expired() || watched.kill.get() {
            return Poll::Ready(());
        }
        this.signals.poll_rest(cx);
        // A request that is no whole one, or more than one, is the client's fault, and gets no answer.
        if this.signals.broken().is_some() {
            return Poll::Ready(());
        }
        // Whoever stops the answer wants no more of the member's work.
        match this.signals.poll_end(cx) {
            Poll::Ready(End::Unwanted) => Poll::Ready(()),
            Poll::Ready(End::Read) if !this.is_read.replace(true) => {
                // It may be the very thing that the future waits for.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(End::Read) | Poll::Pending => Poll::Pending,
        }
    }
}
