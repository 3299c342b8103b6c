//! The places for connections. When all are taken, whoever has let us wait longest gives theirs up, so that no number of
//! idle or slow clients keeps others out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::clock;
use crate::model::unit::Tick;

/// How long whoever was told to go has, before another one is told.
const PATIENCE: Duration = Duration::from_millis(100);

/// All places; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Places {
    count: u32,
    free: Arc<Semaphore>,
    guests: Arc<Mutex<Guests>>,
}

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    all: BTreeMap<u64, Guest>,
}

/// One connection.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    /// Since when we wait for it; `None` while we have its whole request and no answer yet.
    waits_since: Arc<Mutex<Option<Tick>>>,
    goes: Arc<Notify>,
}

/// A place that is taken, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    guest: Guest,
    guests: Arc<Mutex<Guests>>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(count: u32) -> Self {
        Self { count, free: Arc::new(Semaphore::new(count as usize)), guests: Arc::default() }
    }

    /// A place for a connection that is there. When none is free, `on_full` hears of it.
    pub(super) async fn take(&self, on_full: impl FnOnce()) -> Place {
        let permit = match self.free.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                on_full();
                self.make_room().await
            }
        };
        let guest = Guest { waits_since: Arc::new(Mutex::new(Some(clock::now()))), goes: Arc::default() };
        let guests = self.guests.clone();
        let id = locked(&guests, |guests| {
            guests.next += 1;
            guests.all.insert(guests.next, guest.clone());
            guests.next
        });
        Place { id, guest, guests, _permit: permit }
    }

    async fn make_room(&self) -> OwnedSemaphorePermit {
        loop {
            if let Some(guest) = locked(&self.guests, |guests| guests.idlest().cloned()) {
                guest.goes.notify_one();
            }
            // Nobody closes the semaphore.
            if let Ok(Ok(permit)) = tokio::time::timeout(PATIENCE, self.free.clone().acquire_owned()).await {
                return permit;
            }
        }
    }

    /// When all places are free.
    pub(super) async fn are_free(&self) {
        let _ = self.free.acquire_many(self.count).await;
    }
}

impl Guests {
    /// Whom we wait for longest.
    fn idlest(&self) -> Option<&Guest> {
        let waiting = self.all.values().filter_map(|guest| Some((guest.since()?, guest)));
        waiting.min_by_key(|(since, _)| *since).map(|(_, guest)| guest)
    }
}

impl Place {
    pub(super) fn guest(&self) -> Guest {
        self.guest.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.guests, |guests| guests.all.remove(&self.id));
    }
}

impl Guest {
    /// When it must go. Never while a request of it is worked on: ask it in the task that does the work.
    pub(super) async fn must_go(&self) {
        loop {
            self.goes.notified().await;
            if self.since().is_some() {
                return;
            }
        }
    }

    /// Its answer is there: what comes next is its turn.
    pub(super) fn is_answered(&self) {
        locked(&self.waits_since, |since| *since = Some(clock::now()));
    }

    /// Its request is there, with or without the body.
    pub(super) fn asks(&self, body: Incoming) -> Asked {
        let asked = Asked { body, guest: self.clone() };
        asked.look();
        asked
    }

    fn since(&self) -> Option<Tick> {
        locked(&self.waits_since, |since| *since)
    }
}

/// The body of a request; once all of it is there, the client has done its part.
#[derive(Debug)]
pub(super) struct Asked {
    body: Incoming,
    guest: Guest,
}

impl Asked {
    fn look(&self) {
        if self.body.is_end_stream() {
            locked(&self.guest.waits_since, |since| *since = None);
        }
    }
}

impl Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(None) = frame {
            locked(&self.guest.waits_since, |since| *since = None);
        }
        self.look();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn locked<T, R>(shared: &Mutex<T>, with: impl FnOnce(&mut T) -> R) -> R {
    with(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whom_we_wait_for_longest_goes_and_nobody_whose_request_is_worked_on() {
        let places = Places::new(3);
        let (busy, first, second) =
            (places.take(|| ()).await, places.take(|| ()).await, places.take(|| ()).await);
        let at = |place: &Place, since| locked(&place.guest.waits_since, |at| *at = since);
        at(&busy, None);
        let now = clock::now();
        at(&second, Some(now));
        at(&first, Some(now + crate::model::unit::Span(1)));
        let mut told = false;
        let (new, ()) = tokio::join!(places.take(|| told = true), async {
            second.guest().must_go().await;
            drop(second);
        });
        assert!(told);
        assert_eq!(locked(&places.guests, |guests| guests.all.len()), 3);
        drop((busy, first, new));
        places.are_free().await;
    }
}
