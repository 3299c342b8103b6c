//! A data worker: one thread, one runtime, its own listeners, its own connections. A connection never changes thread.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::endpoints::{Endpoints, Order};
use crate::clock;
use crate::ledger::breaker::Limit;
use crate::ledger::doors::Place;
use crate::ledger::process::Traffic;
use crate::model::config::FrontKind;
use crate::model::unit::{Span, Tick};
use crate::net::listen::{self, Backoff};
use crate::proxy::arrival::Arrival;
use crate::proxy::context::{Context, Parts};
use crate::proxy::https;
use crate::proxy::serve::serve;
use crate::proxy::tcp;
use crate::proxy::watch::STEP;

/// Passes of the watch between two sweeps of the pool: about a second.
const PASSES_PER_SWEEP: u64 = 10;

/// Turns that connections which are cut at the end have to end by themselves.
const MAX_TURNS: u32 = 1000;

/// From look to look for room under `maxConnections`.
const LOOK_FOR_ROOM: Span = Span::millis(10);

/// What the supervisor asks of a worker.
pub(super) enum Command {
    /// Accept on this socket; the number is the listener's in the world.
    Listen { listener: u32, socket: std::net::TcpListener },
    /// Stop accepting, serve what is queued already, end idle connections and the others after their request; answer
    /// when the socket is closed and connections know.
    Retire { listener: u32, left: oneshot::Sender<()> },
    /// What concerns HTTP/3.
    Quic(Order),
    /// Retire all, idle connections after `linger`; after `grace` cut what still runs, then answer.
    Stop { linger: Span, grace: Span, done: oneshot::Sender<()> },
}

/// A running worker.
pub(super) struct Worker {
    pub(super) commands: mpsc::UnboundedSender<Command>,
}

/// Starts the thread.
///
/// # Errors
/// When the system gives no thread or no runtime.
pub(super) fn start(parts: Parts) -> std::io::Result<Worker> {
    let (commands, inbox) = mpsc::unbounded_channel();
    let name = format!("worker-{}", parts.worker.0);
    let (started, result) = std::sync::mpsc::channel();
    std::thread::Builder::new().name(name).spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            // Small: a look at the clock and the sockets after every few tasks keeps latency low under load.
            .event_interval(61)
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                let _ = started.send(Ok(()));
                runtime.block_on(run(Context::new(parts), inbox));
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    })?;
    result.recv().unwrap_or_else(|_| Err(std::io::Error::other("worker thread ended at start")))?;
    Ok(Worker { commands })
}

async fn run(context: Rc<Context>, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let mut accepting: Vec<(u32, oneshot::Sender<()>, JoinHandle<()>)> = Vec::new();
    let mut endpoints = Endpoints::new(context.clone());
    let ticking = tokio::task::spawn_local(tick(context.clone()));
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Listen { listener, socket } => match TcpListener::from_std(socket) {
                Ok(socket) => {
                    let (retire, retired) = oneshot::channel();
                    let task = tokio::task::spawn_local(accept(context.clone(), listener, socket, retired));
                    accepting.push((listener, retire, task));
                }
                Err(error) => tracing::error!(listener, %error, "listener unusable"),
            },
            Command::Retire { listener, left } => {
                for (_, retire, task) in accepting.extract_if(.., |(number, ..)| *number == listener) {
                    let _ = retire.send(());
                    let _ = task.await;
                }
                context.watch.drain(listener);
                let _ = left.send(());
            }
            Command::Quic(order) => endpoints.obey(order),
            Command::Stop { linger, grace, done } => {
                let deadline = clock::now() + grace;
                context.is_draining.set(true);
                endpoints.step_back();
                for (_, retire, task) in accepting.drain(..) {
                    let _ = retire.send(());
                    let _ = task.await;
                }
                finish(&context, linger, grace).await;
                endpoints.close(deadline).await;
                ticking.abort();
                context.flush_log();
                let _ = done.send(());
                return;
            }
        }
    }
}

/// Waits until all connections have ended, and cuts them when the grace has passed.
async fn finish(context: &Rc<Context>, linger: Span, grace: Span) {
    let start = clock::now();
    let deadline = start + grace;
    // Those that were accepted last begin now, and are in the watch.
    tokio::task::yield_now().await;
    context.watch.drain_busy();
    while context.watch.len() > 0 {
        context.watch.drain_quiet(clock::now(), linger);
        if clock::now() >= deadline {
            tracing::warn!(connections = context.watch.len(), "drain limit reached: connections cut");
            context.watch.kill();
            // Each has its turn to count itself and to write its line.
            for _ in 0..MAX_TURNS {
                if context.watch.len() == 0 {
                    return;
                }
                tokio::task::yield_now().await;
            }
            return;
        }
        tokio::time::sleep(Span::millis(20).to_std()).await;
    }
}

/// Accepts until told to stop, then takes what the kernel has queued already, so that no connection is lost.
async fn accept(
    context: Rc<Context>,
    listener: u32,
    socket: TcpListener,
    mut retired: oneshot::Receiver<()>,
) {
    let mut backoff = Backoff::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut retired => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                backoff.succeeded();
                let (place, is_retired) = find_place(&context, &mut retired).await;
                welcome(&context, (stream, peer), place, listener);
                if is_retired {
                    break;
                }
            }
            Err(error) => {
                context.process.count(context.worker, Traffic::AcceptErrors);
                let pause = backoff.failed(&error);
                if pause > Span::ZERO && context.process.doors.complaints.is_due(clock::now()) {
                    tracing::error!(%error, "cannot accept connections; trying again with pauses up to 1 s");
                }
                tokio::time::sleep(pause.to_std()).await;
            }
        }
    }
    poll_fn(|cx| {
        while let Poll::Ready(Ok(accepted)) = socket.poll_accept(cx) {
            welcome(&context, accepted, context.process.doors.enter_anyway(), listener);
        }
        Poll::Ready(())
    })
    .await;
}

/// A place under `maxConnections`. While there is none nothing more is accepted here, and idle connections are given
/// up one by one. Whether the listener was retired meanwhile, which ends the wait.
async fn find_place(context: &Context, retired: &mut oneshot::Receiver<()>) -> (Place, bool) {
    let doors = &context.process.doors;
    let enter = || doors.enter(doors.most(context.world().config.proxy.limits.max_connections));
    if let Some(place) = enter() {
        return (place, false);
    }
    context.process.count(context.worker, Traffic::Waited);
    if doors.complaints.is_due(clock::now()) {
        tracing::warn!(open = doors.open(), "maxConnections are open; new connections wait");
    }
    loop {
        context.watch.give_up_idle();
        tokio::select! {
            biased;
            _ = &mut *retired => return (doors.enter_anyway(), true),
            () = tokio::time::sleep(LOOK_FOR_ROOM.to_std()) => {}
        }
        if let Some(place) = enter() {
            return (place, false);
        }
    }
}

/// Whose it is, if that is to be found out first.
fn welcome(context: &Rc<Context>, (stream, peer): (TcpStream, SocketAddr), place: Place, listener: u32) {
    listen::prepare(&stream);
    let Some(arrival) = Arrival::new(stream, peer) else { return };
    let world = context.world();
    let Some(senders) = world.front(listener).and_then(|front| front.proxy_protocol.as_ref()) else {
        return admit(context, arrival, place, listener);
    };
    if !senders.iter().any(|cidr| cidr.contains(peer.ip())) {
        context.process.count(context.worker, Traffic::ProxyHeaderForbidden);
        tracing::debug!(%peer, "it may not send a header of the PROXY protocol");
        return;
    }
    let context = context.clone();
    tokio::task::spawn_local(Box::pin(async move {
        if let Some(arrival) = arrival.introduced(&context, listener).await {
            admit(&context, arrival, place, listener);
        }
    }));
}

fn admit(context: &Rc<Context>, arrival: Arrival, mut place: Place, listener: u32) {
    if !context.admits(arrival.peer, &mut place) {
        return;
    }
    let world = context.world();
    let context = context.clone();
    // Boxed: a task's future is moved six times on its way into the runtime.
    match world.front(listener).map(|front| &front.kind) {
        Some(FrontKind::Tcp(_) | FrontKind::Ssl(_)) => {
            tokio::task::spawn_local(Box::pin(async move {
                tcp::serve(context, arrival, listener).await;
                drop(place);
            }));
        }
        Some(FrontKind::Https(_)) => {
            tokio::task::spawn_local(Box::pin(https::serve(context, arrival, place, listener)));
        }
        Some(FrontKind::Http(_)) | None => {
            tokio::task::spawn_local(Box::pin(serve(context, arrival, place, listener)));
        }
    }
}

/// Deadlines, log lines and idle connections, about ten times a second.
async fn tick(context: Rc<Context>) {
    let mut steps = tokio::time::interval(STEP.to_std());
    steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut generation = 0;
    for pass in 0_u64.. {
        steps.tick().await;
        let now = clock::now();
        context.watch.pass(now);
        context.flush_log();
        make_room(&context);
        generation = sweep(&context, now, (pass % PASSES_PER_SWEEP, generation));
    }
}

/// Rooms under `maxConnections`: requests that wait here look again, and idle connections are given up for those that
/// wait anywhere.
fn make_room(context: &Context) {
    context.waiting.wake_all();
    if !context.pool.has_limited() {
        return;
    }
    for service in &context.world().services {
        let waiting = service.ledger.breakers.held(Limit::PendingRequests);
        if waiting > 0 {
            context.pool.evict(&service.ledger, usize::try_from(waiting).unwrap_or(usize::MAX));
        }
    }
}

/// A part of the idle connections, and members that have left since the world `generation`. The world's generation now.
fn sweep(context: &Context, now: Tick, (part, generation): (u64, u64)) -> u64 {
    let world = context.world();
    let is_member = |member: u32| world.member_numbers.contains(&member);
    let workers = context.process.workers.max(1) as u64;
    context.pool.provide(context.process.doors.spare().map(|spare| spare / workers));
    context.pool.sweep(now, (part, PASSES_PER_SWEEP), is_member);
    if world.generation != generation {
        context.watch.drain_members(now, is_member);
    }
    world.generation
}
