//! Sockets of UDP for HTTP/3, as the supervisor keeps them: one for each worker, next to those of TCP.
//!
//! The kernel deals datagrams out by addresses and by the number of sockets, so that number does not change while
//! connections live: an address that goes over to another forwarding rule keeps its sockets, and a successor is given
//! these very ones. Two processes never read the same socket: once the successor does, it passes on what is for
//! connections of the old one, which live on until their requests have ended.

use std::collections::HashMap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::endpoints::Order;
use super::supervisor::{Opened, Supervisor, cannot_bind};
use super::upgrade::{Key, WaysOf};
use super::worker::Command;
use crate::model::config::Front;
use crate::model::problem::Problem;
use crate::net::inherit::Inherited;
use crate::net::listen;
use crate::net::quic::ways::{Handed, Ways};
use crate::world::World;

/// All that are bound.
#[derive(Debug, Default)]
pub(super) struct Quic {
    pub(super) bound: HashMap<Key, Sockets>,
    /// Another process reads them.
    pub(super) is_away: bool,
    /// The ways to endpoints of processes before this one, until they are given to ours.
    pub(super) elders: HashMap<Key, Vec<Handed>>,
}

/// Those of a front.
#[derive(Debug)]
pub(super) struct Sockets {
    listener: u32,
    pub(super) sockets: Vec<UdpSocket>,
    /// To the workers' endpoints; `None` = they have none yet.
    pub(super) ways: Option<Arc<Ways>>,
}

/// Sockets for a change; dropping them undoes what was opened.
#[derive(Debug)]
pub(super) enum OpenedQuic {
    New(Key, Vec<UdpSocket>),
    /// Those of a rule that goes.
    TakenOver(Key, Key),
}

impl Quic {
    /// Keeps what leads to the endpoints of processes before this one.
    pub(super) fn inherit_ways(
        &mut self,
        fronts: &[Front],
        mut of: impl FnMut(&Front) -> Option<Vec<Handed>>,
    ) {
        for front in fronts.iter().filter(|front| front.has_http3()) {
            if let Some(ways) = of(front) {
                self.elders.insert(key_of(front), ways);
            }
        }
    }
}

impl Supervisor {
    /// Opens sockets for fronts that are to speak HTTP/3 and do not yet, unless they are `held` or of a rule that goes.
    pub(super) fn open_quic(
        &self,
        fronts: &[Front],
        opened: &[Opened],
        mut held: impl FnMut(&Front) -> Option<Inherited<UdpSocket>>,
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
            let why = match held(front) {
                // Other versions tell clients the port that TCP has.
                Some(held) if held.address.port() != address.port() && front.address.port() != 0 => {
                    format!("the socket that was handed over has port {}", held.address.port())
                }
                Some(held) => {
                    all.push(OpenedQuic::New(key, held.sockets));
                    continue;
                }
                None => match listen::bind_datagrams(address, self.count) {
                    Ok(sockets) => {
                        all.push(OpenedQuic::New(key, sockets));
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
            };
            let message = format!("cannot listen on {address} for HTTP/3, which is UDP: {why}");
            problems.push(cannot_bind(&front.name, message));
        }
        if problems.is_empty() { Ok(all) } else { Err(problems) }
    }

    /// After the swap: sockets are served under the numbers of the new world, and left where HTTP/3 is not spoken.
    pub(super) fn settle_quic(&mut self, world: &World, opened: Vec<OpenedQuic>) {
        for one in opened {
            match one {
                OpenedQuic::New(key, sockets) => {
                    let listener = self.registry.listener(&key.0, key.1);
                    self.quic.bound.insert(key.clone(), Sockets { listener, sockets, ways: None });
                    self.deal_quic(&key);
                }
                OpenedQuic::TakenOver(old, key) => {
                    let to = self.registry.listener(&key.0, key.1);
                    let Some(mut sockets) = self.quic.bound.remove(&old) else { continue };
                    let from = std::mem::replace(&mut sockets.listener, to);
                    self.quic.bound.insert(key, sockets);
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

    /// Sends all clients of HTTP/3 away after their requests, and leaves the sockets to another process, which reads
    /// those of `to` (`None`: all); who answers when each worker reads them no more.
    pub(super) fn leave_quic(&mut self, to: Option<&[Key]>) -> Vec<oneshot::Receiver<()>> {
        let mut waiting = Vec::new();
        if self.quic.bound.is_empty() || std::mem::replace(&mut self.quic.is_away, true) {
            return waiting;
        }
        let is_read = |key: &Key| {
            to.is_none_or(|to| to.iter().any(|one| one == key || one.1 == key.1 && key.1.port() != 0))
        };
        let lent: Arc<[u32]> =
            self.quic.bound.iter().filter(|(key, _)| is_read(key)).map(|(_, bound)| bound.listener).collect();
        for worker in 0..self.workers.len() {
            let (done, answer) = oneshot::channel();
            self.tell(worker, Command::Quic(Order::Leave { lent: lent.clone(), done }));
            waiting.push(answer);
        }
        waiting
    }

    /// The ways to the endpoints of this process, and of those before it, for a successor.
    pub(super) fn ways(&self) -> io::Result<(Vec<WaysOf>, Vec<OwnedFd>)> {
        let (mut all, mut sockets) = (Vec::new(), Vec::new());
        for ((name, configured), bound) in &self.quic.bound {
            let handed = bound.ways.as_ref().map_or(Ok(Vec::new()), |ways| ways.hand_on())?;
            let marks = handed.iter().map(|one| one.mark.0).collect();
            all.push(WaysOf { name: name.to_string(), configured: *configured, marks });
            sockets.extend(handed.into_iter().map(|one| one.inbox));
        }
        Ok((all, sockets))
    }

    /// No other process reads them any more, or yet.
    pub(super) fn resume_quic(&mut self) {
        if std::mem::take(&mut self.quic.is_away) {
            self.tell_all(|| Order::Return);
            let keys: Vec<_> = self.quic.bound.keys().cloned().collect();
            keys.iter().for_each(|key| self.deal_quic(key));
        }
    }

    /// Each worker gets an endpoint, whatever the number of sockets; where there are more sockets than workers, some
    /// get several.
    fn deal_quic(&mut self, key: &Key) {
        let is_away = self.quic.is_away;
        let bound = self.quic.bound.get_mut(key);
        let Some(bound) = bound.filter(|bound| !is_away && bound.ways.is_none()) else { return };
        let elders = self.quic.elders.remove(key).unwrap_or_default();
        let listener = bound.listener;
        match Ways::open(&bound.sockets, self.count, elders) {
            Ok((ways, stands)) => {
                bound.ways = Some(ways);
                for (turn, stand) in stands.into_iter().enumerate() {
                    let order = Order::Listen { listener, stand };
                    self.tell(turn % self.count.max(1), Command::Quic(order));
                }
            }
            Err(error) => tracing::error!(%error, "sockets unusable for QUIC"),
        }
    }

    fn tell_all(&mut self, order: impl Fn() -> Order) {
        (0..self.count).for_each(|worker| self.tell(worker, Command::Quic(order())));
    }
}

fn key_of(front: &Front) -> Key {
    (front.name.clone(), front.address)
}
