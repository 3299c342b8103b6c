//! A copy of a request's body, made as it passes: for another attempt, or for the service that mirrors it. It is bounded
//! in two ways, and over a bound there is none: the request itself never waits for its copy.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;

/// Largest body that is kept.
pub(crate) const MAX_KEPT: usize = 64 * 1024;
/// Bytes that a worker keeps, of all requests together.
pub(crate) const MAX_KEPT_ALL: usize = 16 * 1024 * 1024;

/// Bytes that a worker keeps.
#[derive(Debug, Default)]
pub(crate) struct Store(Cell<usize>);

/// Part of that, given back when dropped.
#[derive(Debug)]
struct Held {
    store: Rc<Store>,
    bytes: usize,
}

impl Held {
    fn grow(&mut self, by: usize) -> bool {
        let all = self.store.0.get() + by;
        let fits = self.bytes + by <= MAX_KEPT && all <= MAX_KEPT_ALL;
        if fits {
            self.store.0.set(all);
            self.bytes += by;
        }
        fits
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.store.0.set(self.store.0.get().saturating_sub(self.bytes));
    }
}

/// A body that has come whole. Clones share its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    bytes: Bytes,
    _held: Rc<Held>,
}

impl Kept {
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

/// What is to become of a copy: `None` when there is none.
type Then = Box<dyn FnOnce(Option<Kept>)>;

/// A copy in the making.
pub(crate) struct Copying(RefCell<State>);

enum State {
    Coming { bytes: Vec<u8>, held: Held, then: Option<Then> },
    Whole(Kept),
    None,
}

impl Copying {
    pub(crate) fn new(store: &Rc<Store>) -> Self {
        let held = Held { store: store.clone(), bytes: 0 };
        Self(RefCell::new(State::Coming { bytes: Vec::new(), held, then: None }))
    }

    /// Does `then` with the copy once the body has come whole, or without one once it is known that there is none.
    pub(crate) fn then(&self, now: Then) {
        let mut state = self.0.borrow_mut();
        match &mut *state {
            State::Coming { then, .. } => *then = Some(now),
            State::Whole(kept) => now(Some(kept.clone())),
            State::None => now(None),
        }
    }

    /// A part of the body passes.
    pub(crate) fn add(&self, part: &[u8]) {
        let mut state = self.0.borrow_mut();
        if let State::Coming { bytes, held, .. } = &mut *state {
            if held.grow(part.len()) {
                bytes.extend_from_slice(part);
            } else {
                end(&mut state, |_, _| None);
            }
        }
    }

    /// That was all of it.
    pub(crate) fn finish(&self) {
        end(&mut self.0.borrow_mut(), |bytes, held| Some(Kept { bytes: bytes.into(), _held: Rc::new(held) }));
    }

    /// The copy, if the body has come whole.
    pub(crate) fn whole(&self) -> Option<Kept> {
        match &*self.0.borrow() {
            State::Whole(kept) => Some(kept.clone()),
            State::Coming { .. } | State::None => None,
        }
    }
}

fn end(state: &mut State, make: impl FnOnce(Vec<u8>, Held) -> Option<Kept>) {
    let State::Coming { bytes, held, then } = std::mem::replace(state, State::None) else { return };
    let kept = make(bytes, held);
    if let Some(then) = then {
        then(kept.clone());
    }
    *state = kept.map_or(State::None, State::Whole);
}

impl std::fmt::Debug for Copying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copying").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_whole_is_kept_and_its_room_is_given_back() {
        let store = Rc::new(Store::default());
        let copying = Copying::new(&store);
        copying.add(b"ab");
        assert!(copying.whole().is_none(), "there may be more");
        copying.add(b"c");
        copying.finish();
        let kept = copying.whole().unwrap();
        assert_eq!((&*kept.bytes(), store.0.get()), (&b"abc"[..], 3));
        drop(copying);
        assert_eq!(store.0.get(), 3, "somebody has it");
        drop(kept);
        assert_eq!(store.0.get(), 0);
    }

    #[test]
    fn over_a_bound_there_is_no_copy_and_nothing_is_held() {
        let store = Rc::new(Store::default());
        let copying = Copying::new(&store);
        let told = Rc::new(Cell::new(None));
        let tell = told.clone();
        copying.then(Box::new(move |kept| tell.set(Some(kept.is_some()))));
        copying.add(&[0; MAX_KEPT]);
        assert_eq!((told.get(), store.0.get()), (None, MAX_KEPT));
        copying.add(b"x");
        assert_eq!((told.get(), store.0.get()), (Some(false), 0), "it is known at once");
        copying.finish();
        assert!(copying.whole().is_none());
        // All requests of a worker together.
        let all: Vec<_> = (0..MAX_KEPT_ALL / MAX_KEPT).map(|_| Copying::new(&store)).collect();
        all.iter().for_each(|one| one.add(&[0; MAX_KEPT]));
        let late = Copying::new(&store);
        late.add(b"x");
        late.finish();
        assert!(late.whole().is_none() && store.0.get() == MAX_KEPT_ALL);
        drop(all);
        assert_eq!(store.0.get(), 0);
    }

    #[test]
    fn who_asks_late_is_told_at_once() {
        let store = Rc::new(Store::default());
        let copying = Copying::new(&store);
        copying.finish();
        let told = Rc::new(Cell::new(false));
        let tell = told.clone();
        copying.then(Box::new(move |kept| tell.set(kept.is_some())));
        assert!(told.get(), "an empty body is one");
    }
}
