//! Client connections with their deadlines, looked through about ten times a second.
//!
//! One pass over plain cells costs less than a timer per request, and an idle connection needs no timer at all.
//! Deadlines are therefore kept to within a tenth of a second (`STEP`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use crate::model::unit::{Span, Tick};

/// From pass to pass.
pub(crate) const STEP: Span = Span::millis(100);

/// All client connections of a worker.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    all: RefCell<Vec<Rc<Watched>>>,
}

/// One client connection, as far as the watch is concerned.
#[derive(Debug)]
pub(crate) struct Watched {
    /// The front it came in by: name of its forwarding rule and the address that was asked for.
    pub(crate) listener: u32,
    /// When something must have happened; [`NEVER`] = no deadline.
    deadline: Cell<Tick>,
    /// When a client that sends a body, or a list of headers of HTTP/2, too slowly has run out of time; [`NEVER`] = it
    /// is not waited for.
    floor: Cell<Tick>,
    /// No deadline may be later: the member that serves it has left the configuration.
    latest: Cell<Tick>,
    /// No deadline of the request under way may be later (`maxStreamDuration`).
    limit: Cell<Tick>,
    /// Number of the member that serves the request under way, and how long that may go on once the member has left
    /// (`drainingTimeoutSec`; zero = to its end).
    served_by: Cell<Option<(u32, Span)>>,
    /// The head of the answer under way is out: it can no longer say that it is the last.
    is_answering: Cell<bool>,
    /// Since when no request is known to be under way, as far as a stop has looked.
    quiet_since: Cell<Tick>,
    /// Set by the watch when the deadline or the floor has passed, cleared by [`Self::set_deadline`].
    expired: Cell<bool>,
    /// Asked to end after the request under way.
    pub(crate) drain: Cell<bool>,
    /// Asked to end now.
    pub(crate) kill: Cell<bool>,
    /// A connection of QUIC.
    pub(crate) is_quic: Cell<bool>,
    is_gone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Puts a waker where it will be looked for; one that would wake the same task stays.
pub(super) fn remember(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(held) => held.clone_from(waker),
        None => *place = Some(waker.clone()),
    }
}

/// No deadline.
pub(crate) const NEVER: Tick = Tick(u64::MAX);

impl Watched {
    pub(crate) fn new(listener: u32) -> Self {
        Self {
            listener,
            deadline: Cell::new(NEVER),
            floor: Cell::new(NEVER),
            latest: Cell::new(NEVER),
            limit: Cell::new(NEVER),
            served_by: Cell::new(None),
            is_answering: Cell::new(false),
            quiet_since: Cell::new(NEVER),
            expired: Cell::new(false),
            drain: Cell::new(false),
            kill: Cell::new(false),
            is_quic: Cell::new(false),
            is_gone: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Replaces the deadline.
    pub(crate) fn set_deadline(&self, at: Tick) {
        let at = at.min(self.latest.get()).min(self.limit.get());
        // One that cannot be put off stays passed, however busy a tunnel is.
        if self.deadline.replace(at) != at {
            self.expired.set(false);
        }
    }

    /// No deadline may be later than `at`; [`NEVER`] = any may.
    pub(crate) fn set_limit(&self, at: Tick) {
        self.limit.set(at);
        self.lower_deadline(at);
    }

    /// Replaces the time that a slow body has, or a list of headers.
    pub(crate) fn set_floor(&self, at: Tick) {
        self.floor.set(at);
    }

    /// Whether it is a slow body's time that has passed, and not the deadline.
    pub(crate) fn is_below_floor(&self) -> bool {
        self.expired.get() && self.floor.get() < self.deadline.get()
    }

    /// Who serves the request under way.
    pub(crate) fn served_by(&self) -> Option<(u32, Span)> {
        self.served_by.get()
    }

    /// The request under way is served by this member; `None` = none is.
    pub(crate) fn set_served_by(&self, member: Option<(u32, Span)>) {
        self.served_by.set(member);
        self.is_answering.set(false);
        self.latest.set(NEVER);
    }

    /// The head of the answer goes out.
    pub(crate) fn set_answering(&self) {
        self.is_answering.set(true);
    }

    /// Brings the deadline forward to `at`, if it is later.
    pub(crate) fn lower_deadline(&self, at: Tick) {
        if at < self.deadline.get() {
            self.deadline.set(at);
        }
    }

    /// The connection ends at `at` at the latest, whatever it does.
    pub(crate) fn end_by(&self, at: Tick) {
        self.latest.set(at.min(self.latest.get()));
        self.lower_deadline(at);
    }

    /// Whether [`Self::end_by`] was asked for since the last [`Self::set_served_by`].
    pub(crate) fn is_leaving(&self) -> bool {
        self.latest.get() != NEVER
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_expired(&self) -> bool {
        self.expired.get()
    }

    /// The task to wake.
    pub(crate) fn register(&self, waker: &Waker) {
        remember(&mut self.waker.borrow_mut(), waker);
    }

    /// The connection has ended.
    pub(crate) fn forget(&self) {
        self.is_gone.set(true);
        self.waker.borrow_mut().take();
    }

    /// Asks it to end after the request under way.
    pub(crate) fn ask_to_end(&self) {
        if !self.drain.replace(true) {
            self.wake();
        }
    }

    /// Asks it to end now.
    pub(crate) fn cut(&self) {
        self.kill.set(true);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

impl Watch {
    /// Adds a connection.
    pub(crate) fn add(&self, watched: Rc<Watched>) {
        self.all.borrow_mut().push(watched);
    }

    /// Connections that have not ended.
    pub(crate) fn len(&self) -> usize {
        self.all.borrow().iter().filter(|w| !w.is_gone.get()).count()
    }

    /// Wakes what has passed its deadline and forgets what has ended.
    pub(crate) fn pass(&self, now: Tick) {
        self.all.borrow_mut().retain(|watched| {
            if watched.deadline.get().min(watched.floor.get()) <= now && !watched.expired.replace(true) {
                watched.wake();
            }
            !watched.is_gone.get()
        });
    }

    /// Gives requests on members that have left the time that `drainingTimeoutSec` allows [G 4.24]. Called when the
    /// world has changed.
    pub(crate) fn drain_members(&self, now: Tick, is_member: impl Fn(u32) -> bool) {
        for watched in self.all.borrow().iter() {
            if let Some((member, limit)) = watched.served_by.get()
                && limit > Span::ZERO
                && !watched.is_leaving()
                && !is_member(member)
            {
                watched.end_by(now + limit);
            }
        }
    }

    /// Asks the connections of a listener to end after the request under way.
    pub(crate) fn drain(&self, listener: u32) {
        self.each(Some(listener), Watched::ask_to_end);
    }

    /// Asks the connections whose request is with a member to end after its answer, if that can still say so.
    pub(crate) fn drain_busy(&self) {
        for watched in self.all.borrow().iter() {
            if watched.served_by.get().is_some() && !watched.is_answering.get() {
                watched.ask_to_end();
            }
        }
    }

    /// Asks the connections to end that have had no request with a member for `linger`: a client that was not told
    /// may be sending the next. To be called again and again; the first call begins to count.
    pub(crate) fn drain_quiet(&self, now: Tick, linger: Span) {
        for watched in self.all.borrow().iter().filter(|watched| !watched.drain.get()) {
            if watched.served_by.get().is_some() || watched.quiet_since.get() == NEVER {
                watched.quiet_since.set(now);
            }
            if now.since(watched.quiet_since.get()) >= linger && watched.served_by.get().is_none() {
                watched.ask_to_end();
            }
        }
    }

    /// Asks the oldest connection that has no request with a member to end, so that another client finds room.
    pub(crate) fn give_up_idle(&self) {
        let all = self.all.borrow();
        let is_idle = |watched: &Watched| {
            // A connection of HTTP/2 with streams under way has no deadline of its own.
            watched.served_by.get().is_none()
                && watched.deadline.get() != NEVER
                && !watched.drain.get()
                && !watched.is_gone.get()
        };
        if let Some(watched) = all.iter().find(|watched| is_idle(watched)) {
            watched.ask_to_end();
        }
    }

    /// Asks all connections to end now.
    pub(crate) fn kill(&self) {
        self.each(None, Watched::cut);
    }

    /// Asks the connections of QUIC of a listener (`None`: all) to end after the requests under way.
    pub(crate) fn drain_quic(&self, listener: Option<u32>) {
        self.each(listener, |watched| {
            if watched.is_quic.get() {
                watched.ask_to_end();
            }
        });
    }

    /// Asks all connections of QUIC to end now.
    pub(crate) fn kill_quic(&self) {
        self.each(None, |watched| {
            if watched.is_quic.get() {
                watched.kill.set(true);
            }
        });
    }

    fn each(&self, listener: Option<u32>, ask: impl Fn(&Watched)) {
        for watched in self.all.borrow().iter().filter(|w| listener.is_none_or(|l| l == w.listener)) {
            ask(watched);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passed_deadline_is_told_once_and_a_new_one_clears_it() {
        let (watch, watched) = (Watch::default(), Rc::new(Watched::new(0)));
        watch.add(watched.clone());
        watched.set_deadline(Tick(100));
        watch.pass(Tick(99));
        assert!(!watched.is_expired());
        watch.pass(Tick(100));
        assert!(watched.is_expired());
        watched.set_deadline(Tick(300));
        watch.pass(Tick(200));
        assert!(!watched.is_expired());
    }

    #[test]
    fn a_deadline_that_cannot_be_put_off_stays_passed() {
        let (watch, watched) = (Watch::default(), Rc::new(Watched::new(0)));
        watch.add(watched.clone());
        watched.set_limit(Tick(100));
        watched.set_deadline(Tick(500));
        watch.pass(Tick(100));
        watched.set_deadline(Tick(600));
        assert!(watched.is_expired(), "a busy tunnel puts its own deadline off all the time");
        watched.set_limit(NEVER);
        watched.set_deadline(Tick(600));
        assert!(!watched.is_expired(), "the next request has all its time");
    }

    #[test]
    fn what_has_ended_is_forgotten_at_the_next_pass() {
        let (watch, watched) = (Watch::default(), Rc::new(Watched::new(0)));
        watch.add(watched.clone());
        watched.forget();
        assert_eq!(watch.len(), 0);
        watch.pass(Tick(1));
        assert!(watch.all.borrow().is_empty());
    }

    #[test]
    fn g_4_24_a_request_on_a_member_that_left_has_the_draining_time_and_no_more() {
        let watch = Watch::default();
        let requests: Vec<_> = [(1, 5), (1, 0), (2, 5)]
            .into_iter()
            .map(|(member, limit)| {
                let watched = Rc::new(Watched::new(0));
                watched.set_served_by(Some((member, Span(limit))));
                watch.add(watched.clone());
                watched
            })
            .collect();
        watch.drain_members(Tick(100), |member| member == 2);
        requests.iter().for_each(|request| request.set_deadline(Tick(1000)));
        watch.pass(Tick(105));
        let expired: Vec<_> = requests.iter().map(|request| request.is_expired()).collect();
        assert_eq!(expired, [true, false, false], "limit 5, no limit, still a member");
        requests.iter().for_each(|request| request.set_served_by(None));
        requests.iter().for_each(|request| request.set_deadline(Tick(2000)));
        watch.pass(Tick(1500));
        assert!(!requests.iter().any(|request| request.is_expired()), "the next request has all its time");
    }

    #[test]
    fn a_retired_listener_drains_only_its_own() {
        let watch = Watch::default();
        let (mine, other) = (Rc::new(Watched::new(1)), Rc::new(Watched::new(2)));
        watch.add(mine.clone());
        watch.add(other.clone());
        watch.drain(1);
        assert!(mine.drain.get() && !other.drain.get());
    }
}
