//! The streams of one connection of HTTP/2 or HTTP/3 that have a request under way, and the time that they leave it: none
//! while there is one, the keep-alive time after the last, and a short one once the client was sent away.

use std::cell::Cell;

use super::serve::Client;
use super::watch::{NEVER, Watched};
use crate::clock;
use crate::model::unit::{Span, Tick};

/// Of a connection.
pub(super) struct Streams {
    /// Streams with a request under way.
    under_way: Cell<u32>,
    /// GOAWAY is sent, or about to be.
    is_leaving: Cell<bool>,
    /// How long a client that was sent away may take to go, once none is under way.
    leave: Span,
}

impl Streams {
    pub(super) const fn new(leave: Span) -> Self {
        Self { under_way: Cell::new(0), is_leaving: Cell::new(false), leave }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.get()
    }

    /// Nothing new comes any more.
    pub(super) fn set_leaving(&self) {
        self.is_leaving.set(true);
    }

    /// GOAWAY goes out, if it has not. The first end of the connection's time does not end it.
    pub(super) fn leave(&self, watched: &Watched) -> bool {
        if self.is_leaving.replace(true) {
            return false;
        }
        if watched.is_expired() || self.under_way.get() == 0 {
            watched.set_deadline(clock::now() + self.leave);
        }
        true
    }

    /// A request has come on one. `keep_alive`: how long the connection may be idle after it, if that is known anew.
    pub(super) fn begin(&self, client: &Client, keep_alive: Option<Span>) {
        self.under_way.set(self.under_way.get() + 1);
        if client.context.is_draining.get() {
            client.watched.ask_to_end();
        }
        if !self.is_leaving.get() || !client.watched.is_expired() {
            client.watched.set_deadline(NEVER);
        }
        if let Some(keep_alive) = keep_alive {
            client.set_keep_alive(keep_alive);
        }
    }

    /// Its answer is handed over, or nobody waits for it any more.
    pub(super) fn end(&self, client: &Client, now: Tick) {
        self.under_way.set(self.under_way.get().saturating_sub(1));
        if self.under_way.get() == 0 {
            let idle = if self.is_leaving.get() { self.leave } else { client.keep_alive() };
            client.watched.set_deadline(now + idle);
        }
    }
}
