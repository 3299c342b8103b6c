//! A future that lives inside the tasks of others, and is polled only when something has happened for it.
//!
//! A connection to a member has no task of its own: whoever uses it polls it. It does have a waker of its own, which
//! notes that it is to be polled and wakes whoever uses it now. So a user that was woken for another reason passes it
//! by, its sockets and channels know one waker for all its life, and what the user itself does to it (hands it a
//! request, asks for a piece of a body) wakes nobody, since the user polls it right afterwards.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// See the module.
pub(crate) struct Driven<F> {
    future: F,
    bell: Arc<Bell>,
    /// The bell, as the future sees it.
    waker: Waker,
}

/// Used by one thread at a time; atomics and a lock, since a waker may be sent anywhere.
struct Bell {
    /// The future is to be polled.
    has_rung: AtomicBool,
    /// Whoever made it ring polls the future next.
    is_muted: AtomicBool,
    user: Mutex<Option<Waker>>,
}

impl<F: Future + Unpin> Driven<F> {
    pub(crate) fn new(future: F) -> Self {
        let bell = Arc::new(Bell {
            has_rung: AtomicBool::new(true),
            is_muted: AtomicBool::new(false),
            user: Mutex::new(None),
        });
        Self { future, waker: Waker::from(bell.clone()), bell }
    }

    /// Polls the future if something has happened for it. From now on `cx` is woken for it.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<F::Output> {
        self.bell.serve(cx.waker());
        if !self.bell.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let Self { future, bell, waker } = self;
        let polled = bell.muted(|| Pin::new(future).poll(&mut Context::from_waker(waker)));
        if polled.is_pending() {
            self.remind(cx);
        }
        polled
    }

    /// Does something to the future from outside, after which it is polled: nobody has to be woken for that.
    pub(crate) fn muted<T>(&self, act: impl FnOnce() -> T) -> T {
        self.bell.muted(act)
    }

    /// Wakes `cx` if the future is to be polled: for whoever does not poll it now after all.
    pub(crate) fn remind(&self, cx: &Context<'_>) {
        if self.bell.has_rung.load(Ordering::Acquire) {
            cx.waker().wake_by_ref();
        }
    }

    /// Nobody uses it any more, and nobody is woken.
    pub(crate) fn leave(&self) {
        *self.bell.user() = None;
    }

    pub(crate) fn into_inner(self) -> F {
        self.future
    }
}

impl Bell {
    fn serve(&self, waker: &Waker) {
        let mut user = self.user();
        if !user.as_ref().is_some_and(|user| user.will_wake(waker)) {
            *user = Some(waker.clone());
        }
    }

    fn muted<T>(&self, act: impl FnOnce() -> T) -> T {
        let before = self.is_muted.swap(true, Ordering::AcqRel);
        let done = act();
        self.is_muted.store(before, Ordering::Release);
        done
    }

    fn user(&self) -> MutexGuard<'_, Option<Waker>> {
        self.user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        if !self.is_muted.load(Ordering::Acquire)
            && let Some(user) = &*self.user()
        {
            user.wake_by_ref();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicU32);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Task {
        fn woken(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// Polls, and the waker of the last.
    type Seen = Arc<Mutex<(u32, Option<Waker>)>>;

    /// A future that never ends, and what it sees.
    fn counting() -> (Driven<impl Future<Output = ()> + Unpin>, Seen) {
        let seen = Seen::default();
        let of_future = seen.clone();
        let future = poll_fn(move |cx| {
            let mut seen = of_future.lock().unwrap();
            seen.0 += 1;
            seen.1 = Some(cx.waker().clone());
            Poll::Pending
        });
        (Driven::new(future), seen)
    }

    fn waker(seen: &Mutex<(u32, Option<Waker>)>) -> Waker {
        seen.lock().unwrap().1.clone().unwrap()
    }

    #[test]
    fn is_polled_once_for_each_event_however_often_its_user_is() {
        let (mut driven, seen) = counting();
        let task = Arc::new(Task::default());
        let waker_of_task = Waker::from(task.clone());
        let cx = Context::from_waker(&waker_of_task);
        for _ in 0..3 {
            assert!(driven.poll(&cx).is_pending());
        }
        assert_eq!((seen.lock().unwrap().0, task.woken()), (1, 0));
        waker(&seen).wake();
        assert_eq!(task.woken(), 1);
        for _ in 0..3 {
            assert!(driven.poll(&cx).is_pending());
        }
        assert_eq!(seen.lock().unwrap().0, 2);
    }

    #[test]
    fn what_its_user_does_to_it_wakes_nobody_and_is_not_forgotten() {
        let (mut driven, seen) = counting();
        let task = Arc::new(Task::default());
        let waker_of_task = Waker::from(task.clone());
        let cx = Context::from_waker(&waker_of_task);
        let _ = driven.poll(&cx);
        driven.muted(|| waker(&seen).wake());
        assert_eq!(task.woken(), 0);
        driven.remind(&cx);
        assert_eq!(task.woken(), 1, "for a user that does not poll it");
        let _ = driven.poll(&cx);
        assert_eq!(seen.lock().unwrap().0, 2);
        driven.remind(&cx);
        assert_eq!(task.woken(), 1);
    }

    #[test]
    fn only_the_last_user_is_woken_and_nobody_once_it_has_left() {
        let (mut driven, seen) = counting();
        let (first, second) = (Arc::new(Task::default()), Arc::new(Task::default()));
        for task in [&first, &second] {
            let _ = driven.poll(&Context::from_waker(&Waker::from(task.clone())));
        }
        waker(&seen).wake();
        assert_eq!((first.woken(), second.woken()), (0, 1));
        driven.leave();
        assert_eq!(Arc::strong_count(&second), 1, "an idle connection keeps no task in memory");
        waker(&seen).wake();
        assert_eq!((first.woken(), second.woken()), (0, 1));
        let _ = driven.poll(&Context::from_waker(Waker::noop()));
        assert_eq!(seen.lock().unwrap().0, 2, "what came meanwhile is seen by the next user");
    }

    #[test]
    fn a_future_that_wakes_itself_is_polled_again() {
        let mut polls = 0;
        let mut driven = Driven::new(poll_fn(move |cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls == 3 { Poll::Ready(polls) } else { Poll::Pending }
        }));
        let task = Arc::new(Task::default());
        let waker_of_task = Waker::from(task.clone());
        let cx = Context::from_waker(&waker_of_task);
        assert!(driven.poll(&cx).is_pending() && driven.poll(&cx).is_pending());
        assert_eq!((task.woken(), driven.poll(&cx)), (2, Poll::Ready(3)));
    }
}
