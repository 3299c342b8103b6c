//! Sockets of UDP for HTTP/3, as the supervisor keeps them: one for each worker, next to those of TCP.
//!
//! The kernel deals datagrams out by addresses and by the number of sockets, so that number does not change while
//! connections live: an address that goes over to another forwarding rule keeps its sockets, and a successor is given
//! these very ones. Two processes never read the same socket: the old one ends its connections first.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::endpoints::Order;
use super::supervisor::{Opened, Supervisor, cannot_bind};
use super::worker::Command;
use crate::model::config::Front;
use crate::model::problem::Problem;
use crate::model::unit::Span;
use crate::net::listen;
use crate::world::World;

/// How long requests over HTTP/3 may go on when another process is about to serve.
pub(super) const LEAVE_GRACE: Span = Span::secs(5);

/// Forwarding rule and configured address.
type Key = (Arc<str>, SocketAddr);

/// All that are bound.
#[derive(Debug, Default)]
pub(super) struct Quic {
    pub(super) bound: HashMap<Key, Sockets>,
    /// Another process reads them: the workers get theirs when it is done.
    pub(super) is_away: bool,
}

/// Those of a front.
#[derive(Debug)]
pub(super) struct Sockets {
    listener: u32,
    pub(super) sockets: Vec<UdpSocket>,
}

/// Sockets for a change; dropping them undoes what was opened.
#[derive(Debug)]
pub(super) enum OpenedQuic {
    New(Key, Vec<UdpSocket>),
    /// Those of a rule that goes.
    TakenOver(Key, Key),
}

impl Supervisor {
    /// Opens sockets for fronts that are to speak HTTP/3 and do not yet, unless they are `held` or of a rule that goes.
    pub(super) fn open_quic(
        &self,
        fronts: &[Front],
        opened: &[Opened],
        mut held: impl FnMut(&Front) -> Option<Vec<UdpSocket>>,
    ) -> Result<Vec<OpenedQuic>, Vec<Problem>> {
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        let stays = |key: &Key| fronts.iter().any(|front| front.has_http3() && key_of(front) == *key);
        for front in fronts.iter().filter(|front| front.has_http3()) {
            let key = key_of(front);
            if self.quic.bound.contains_key(&key) {
                continue;
            }
            let leaves = |old: &&Key| old.1 == front.address && front.address.port() != 0 && !stays(old);
            if let Some(old) = self.quic.bound.keys().find(leaves) {
                all.push(OpenedQuic::TakenOver(old.clone(), key));
                continue;
            }
            let address = self.address_of(front, opened);
            match held(front).map_or_else(|| listen::bind_datagrams(address, self.count), Ok) {
                Ok(sockets) => all.push(OpenedQuic::New(key, sockets)),
                Err(error) => problems.push(cannot_bind(
                    &front.name,
                    format!("cannot listen on {address} for HTTP/3, which is UDP: {error}"),
                )),
            }
        }
        if problems.is_empty() { Ok(all) } else { Err(problems) }
    }

    /// After the swap: sockets are served under the numbers of the new world, and left where HTTP/3 is not spoken.
    pub(super) fn settle_quic(&mut self, world: &World, opened: Vec<OpenedQuic>) {
        for one in opened {
            match one {
                OpenedQuic::New(key, sockets) => {
                    let listener = self.registry.listener(&key.0, key.1);
                    self.quic.bound.insert(key.clone(), Sockets { listener, sockets });
                    self.deal_quic(&key);
                }
                OpenedQuic::TakenOver(old, key) => {
                    let to = self.registry.listener(&key.0, key.1);
                    let Some(Sockets { listener: from, sockets }) = self.quic.bound.remove(&old) else {
                        continue;
                    };
                    self.quic.bound.insert(key, Sockets { listener: to, sockets });
                    self.tell_all(|| Order::Rename { from, to });
                }
            }
        }
        let speaks = |listener| world.front(listener).is_some_and(Front::has_http3);
        let gone: Vec<_> = self
            .quic
            .bound
            .extract_if(|_, sockets| !speaks(sockets.listener))
            .map(|(_, gone)| gone)
            .collect();
        for Sockets { listener, .. } in gone {
            self.tell_all(|| Order::Retire { listener });
        }
    }

    /// Ends all connections of HTTP/3 in good order, so that another process can read the sockets; who answers when
    /// each worker has.
    pub(super) fn leave_quic(&mut self) -> Vec<oneshot::Receiver<()>> {
        let mut waiting = Vec::new();
        if self.quic.bound.is_empty() || std::mem::replace(&mut self.quic.is_away, true) {
            return waiting;
        }
        for worker in 0..self.workers.len() {
            let (done, answer) = oneshot::channel();
            self.tell(worker, Command::Quic(Order::Leave { within: LEAVE_GRACE, done }));
            waiting.push(answer);
        }
        waiting
    }

    /// No other process reads them any more, or yet.
    pub(super) fn resume_quic(&mut self) {
        if std::mem::take(&mut self.quic.is_away) {
            let keys: Vec<_> = self.quic.bound.keys().cloned().collect();
            keys.iter().for_each(|key| self.deal_quic(key));
        }
    }

    /// A worker may have several, and where another process has opened fewer than there are workers here, some have
    /// none: no socket is anybody's but one worker's.
    fn deal_quic(&mut self, key: &Key) {
        let Some(Sockets { listener, sockets }) = self.quic.bound.get(key).filter(|_| !self.quic.is_away)
        else {
            return;
        };
        let listener = *listener;
        let copies: Vec<_> = sockets.iter().map(UdpSocket::try_clone).collect();
        for (turn, copy) in copies.into_iter().enumerate() {
            match copy {
                Ok(socket) => {
                    self.tell(turn % self.count.max(1), Command::Quic(Order::Listen { listener, socket }));
                }
                Err(error) => tracing::error!(%error, "socket unusable for QUIC"),
            }
        }
    }

    fn tell_all(&mut self, order: impl Fn() -> Order) {
        if !self.quic.is_away {
            (0..self.count).for_each(|worker| self.tell(worker, Command::Quic(order())));
        }
    }
}

fn key_of(front: &Front) -> Key {
    (front.name.clone(), front.address)
}
