//! A worker's QUIC endpoints: who may come in, who is sent away, and when a socket is left.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use quinn::Incoming;
use tokio::sync::oneshot;

use crate::clock;
use crate::ledger::process::Traffic;
use crate::model::unit::{Span, Tick};
use crate::net::quic::Endpoint;
use crate::net::quic::ways::Stand;
use crate::proxy::context::Context;
use crate::proxy::http3;

/// From look to look whether all connections have ended.
const LOOK: Span = Span::millis(5);
/// Turns that endings have to leave the house.
const MAX_TURNS: u32 = 100;

/// What the supervisor asks of a worker.
#[derive(Debug)]
pub(super) enum Order {
    /// Accept here; the number is the listener's in the world.
    Listen { listener: u32, stand: Stand },
    /// The address now belongs to another forwarding rule. Connections of the old one are the old one's.
    Rename { from: u32, to: u32 },
    /// Refuse who comes, send away who is there, and let go of the socket when they have gone.
    Retire { listener: u32 },
    /// Send away who is there, after their requests. Of the listeners that are lent no socket is read any more: another
    /// process does, and passes on what is for them.
    Leave { lent: Arc<[u32]>, done: oneshot::Sender<()> },
    /// The other process has gone: read the sockets again, and accept.
    Return,
}

/// All of a worker.
pub(super) struct Endpoints {
    context: Rc<Context>,
    all: Vec<Rc<Held>>,
}

struct Held {
    listener: Cell<u32>,
    endpoint: Endpoint,
    /// The address that clients ask for.
    local: SocketAddr,
    welcome: Cell<Welcome>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Welcome {
    Come,
    Refused,
    /// Another process hears it; but who was asked by this one to show that its address is its own, and has, can show
    /// it to this one alone.
    Unheard,
}

impl Endpoints {
    pub(super) const fn new(context: Rc<Context>) -> Self {
        Self { context, all: Vec::new() }
    }

    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Listen { listener, stand } => self.listen(listener, stand),
            Order::Rename { from, to } => {
                self.all.iter().filter(|held| held.listener.get() == from).for_each(|held| {
                    held.listener.set(to);
                });
                self.context.watch.drain_quic(Some(from));
            }
            Order::Retire { listener } => {
                self.context.watch.drain_quic(Some(listener));
                for held in self.all.extract_if(.., |held| held.listener.get() == listener) {
                    held.welcome.set(Welcome::Refused);
                    tokio::task::spawn_local(outlive(held));
                }
            }
            Order::Leave { lent, done } => {
                self.lend(&lent);
                self.step_back();
                self.context.watch.drain_quic(None);
                let _ = done.send(());
            }
            Order::Return => {
                self.lend(&[]);
                self.all.iter().for_each(|held| held.welcome.set(Welcome::Come));
            }
        }
    }

    fn lend(&self, lent: &[u32]) {
        for held in &self.all {
            held.endpoint.lend(lent.contains(&held.listener.get()));
        }
    }

    /// Nobody is let in any more.
    pub(super) fn step_back(&self) {
        self.all.iter().for_each(|held| held.welcome.set(Welcome::Unheard));
    }

    /// Ends what there is, and tells whoever is there. Until `deadline` other workers' connections may need what is read
    /// here.
    pub(super) async fn close(&mut self, deadline: Tick) {
        if self.all.is_empty() {
            return;
        }
        self.all.iter().for_each(|held| held.endpoint.settle());
        while clock::now() < deadline && self.all.iter().any(|held| held.endpoint.is_needed()) {
            tokio::time::sleep(LOOK.to_std()).await;
        }
        self.context.watch.kill_quic();
        for held in &self.all {
            held.endpoint.close();
        }
        for _ in 0..MAX_TURNS {
            tokio::task::yield_now().await;
        }
        self.all.drain(..).for_each(|held| held.endpoint.leave());
    }

    fn listen(&mut self, listener: u32, stand: Stand) {
        let world = self.context.world();
        let front = world.front(listener);
        let Some((tls, http)) = front.and_then(|front| Some((front.tls()?, front.http()?))) else { return };
        let config = self.context.quic.of(tls, http.keep_alive);
        let opened = stand
            .local_addr()
            .and_then(|local| Ok((local, Endpoint::new(stand, &self.context.quic_keys, config)?)));
        match opened {
            Ok((local, endpoint)) => {
                let (listener, welcome) = (Cell::new(listener), Cell::new(Welcome::Come));
                let held = Rc::new(Held { listener, endpoint, local, welcome });
                tokio::task::spawn_local(accept(self.context.clone(), held.clone()));
                self.all.push(held);
            }
            Err(error) => tracing::error!(listener, %error, "socket unusable for QUIC"),
        }
    }
}

/// Keeps an endpoint until the last connection has ended that may need what it reads.
async fn outlive(held: Rc<Held>) {
    held.endpoint.wait_idle().await;
    while held.endpoint.is_needed() {
        tokio::time::sleep(LOOK.to_std()).await;
    }
    held.endpoint.close();
    held.endpoint.leave();
}

async fn accept(context: Rc<Context>, held: Rc<Held>) {
    while let Some(incoming) = held.endpoint.accept().await {
        match held.welcome.get() {
            Welcome::Come => welcome(&context, incoming, &held),
            Welcome::Refused => incoming.refuse(),
            Welcome::Unheard if incoming.remote_address_validated() => welcome(&context, incoming, &held),
            Welcome::Unheard => incoming.ignore(),
        }
    }
}

/// Where TCP lets clients wait, a client of QUIC is not heard: it tries again by itself, and finds the room that an idle
/// connection leaves meanwhile.
fn welcome(context: &Rc<Context>, incoming: Incoming, held: &Held) {
    let world = context.world();
    let doors = &context.process.doors;
    let Some(mut place) = doors.enter(doors.most(world.config.proxy.limits.max_connections)) else {
        context.process.count(context.worker, Traffic::QuicUnheard);
        if doors.complaints.is_due(clock::now()) {
            tracing::warn!(open = doors.open(), "maxConnections are open; new connections wait");
        }
        context.watch.give_up_idle();
        return incoming.ignore();
    };
    if !context.admits(incoming.remote_address(), &mut place) {
        return incoming.refuse();
    }
    let serving = http3::serve(context.clone(), incoming, (place, held.local), held.listener.get());
    tokio::task::spawn_local(Box::pin(serving));
}
