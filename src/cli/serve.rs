//! `overspill serve`, and what `run` and it share: start, follow the file, stop.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::Pin;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::args::{Process, Serve};
use super::user::become_user;
use super::words::AdminAt;
use super::{banner, check, systemd};
use crate::admin::AdminServer;
use crate::engine::handle::{Handle, Refused};
use crate::engine::start::{Overrides, WhenBound, start};
use crate::engine::upgrade::{Inheritance, Phase, Predecessor, Program, Successor};
use crate::source::file::{self, Forced, Watch};
use crate::source::store::Store;

/// Most descriptors that are kept for other things than clients' connections and what they need.
const MOST_RESERVED: u64 = 2048;

/// What is served.
#[derive(Debug)]
pub(super) struct Document {
    /// The configuration.
    pub(super) text: String,
    /// Where it comes from, for messages.
    pub(super) origin: PathBuf,
    /// Whether `origin` is a file to follow.
    pub(super) is_file: bool,
}

/// Exit code: 0 stopped, 1 refused or failed, 2 the file cannot be read or the address is not allowed.
pub(super) fn run(serve: &Serve) -> u8 {
    crate::telemetry::log::init(serve.process.log_level.as_str());
    let beginning = match Beginning::new() {
        Ok(beginning) => beginning,
        Err(error) => {
            eprintln!("overspill: cannot start: {error}");
            return 1;
        }
    };
    on_runtime(async {
        let text = match file::read(&serve.config).await {
            Ok(text) => text,
            Err(error) => {
                eprintln!("overspill: cannot read {}: {error}", serve.config.display());
                // It was read, and is no text or too much of it.
                return if error.kind() == io::ErrorKind::InvalidData { check::BAD } else { check::USAGE };
            }
        };
        proxy(Document { text, origin: serve.config.clone(), is_file: true }, &serve.process, beginning).await
    })
}

/// Runs a command on the control runtime. What still blocks at the end, such as a read from a dead network file
/// system, does not keep the process.
pub(super) fn on_runtime(command: impl Future<Output = u8>) -> u8 {
    match super::runtime() {
        Ok(runtime) => {
            let code = runtime.block_on(command);
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("overspill: cannot start: {error}");
            1
        }
    }
}

/// What the process was started with. Made before there are threads.
pub(super) struct Beginning {
    program: Program,
    inheritance: Inheritance,
    predecessor: Option<Predecessor>,
}

impl Beginning {
    /// # Errors
    /// When what another process hands over is not understood.
    pub(super) fn new() -> io::Result<Self> {
        let (inheritance, predecessor) = Inheritance::of_this_process()?;
        Ok(Self { program: Program::of_this_process()?, inheritance, predecessor })
    }
}

/// Serves until a signal, or until a new binary does. Exit code as [`run`].
pub(super) async fn proxy(document: Document, process: &Process, beginning: Beginning) -> u8 {
    // First of all: a signal that asks for an upgrade too early is not the end.
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("overspill: cannot start: {error}");
            return 1;
        }
    };
    let descriptors = raise_descriptor_limit();
    let Beginning { program, inheritance, mut predecessor } = beginning;
    let started = begin(&document, process, inheritance, predecessor.as_mut()).await;
    let (handle, admin) = match started {
        Ok(started) => started,
        Err(why) => {
            eprint!("{why}");
            if let Some(predecessor) = predecessor {
                predecessor.fail(why.trim_end());
            }
            return 1;
        }
    };
    handle.process().doors.provide(connections_for(descriptors));
    let mut running = Running { handle, admin, program, signals, document, is_read_only: process.read_only };
    match running.attend(predecessor).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("overspill: {error}");
            running.handle.stop().await;
            1
        }
    }
}

/// Where the admin API listens: as configured, and the socket, which waits there also for a successor.
type AdminSocket = Option<(SocketAddr, TcpListener)>;

/// An engine and the admin listener, which nobody serves yet. The error is for people.
async fn begin(
    document: &Document,
    process: &Process,
    inheritance: Inheritance,
    predecessor: Option<&mut Predecessor>,
) -> Result<(Handle, AdminSocket), String> {
    let name = document.origin.display().to_string();
    let user = process.user.clone();
    let when_bound = user.map(|user| -> WhenBound { Box::new(move || become_user(&user)) });
    let overrides = Overrides { workers: process.workers, inheritance, when_bound, ..Overrides::default() };
    let handle = start(document.text.clone(), &document.origin, overrides)
        .await
        .map_err(|Refused { problems }| check::render(&problems, &name, &document.text))?;
    // The engine refuses a file that moves the admin address of a running process.
    let Some(address) = process.admin.map_or(handle.world().config.proxy.admin, AdminAt::address) else {
        return Ok((handle, None));
    };
    let inherited = predecessor.and_then(|predecessor| predecessor.take_admin(address));
    match inherited.map_or_else(|| TcpListener::bind(address), Ok) {
        Ok(listener) => Ok((handle, Some((address, listener)))),
        Err(error) => {
            handle.stop().await;
            Err(format!("overspill: admin: cannot listen on {address}: {error}\n"))
        }
    }
}

/// A process that serves.
struct Running {
    handle: Handle,
    admin: AdminSocket,
    program: Program,
    signals: Signals,
    document: Document,
    /// `--read-only`.
    is_read_only: bool,
}

/// A new process on its way; its error is why there is none.
type Raising = Pin<Box<dyn Future<Output = Result<Successor, String>>>>;

impl Running {
    /// Admin, banner, file and signals, until the engine has stopped.
    async fn attend(&mut self, predecessor: Option<Predecessor>) -> io::Result<()> {
        if let Some(predecessor) = predecessor {
            tokio::select! {
                () = relieve(&self.handle, predecessor) => self.handle.resume_quic().await,
                () = self.signals.stop() => {
                    self.handle.stop().await;
                    return Ok(());
                }
            }
        }
        let store = self.store();
        let admin = self.serve_admin(&store)?;
        greet(&self.handle, &self.document, admin.as_ref().map(AdminServer::address));
        self.handle.set_upgrade(Phase::Idle);
        tokio::spawn(systemd::keep_alive());
        let (force, forced) = mpsc::channel(1);
        let watch = self.document.is_file.then(|| Watch::new(&self.document.origin, &self.document.text));
        let follower = watch.map(|watch| tokio::spawn(file::follow(store.clone(), watch, forced)));
        let is_replaced = self.react(&store, &force).await;
        if let Some(follower) = follower {
            follower.abort();
        }
        self.end(is_replaced, admin).await;
        Ok(())
    }

    fn store(&self) -> Store {
        let (handle, text) = (self.handle.clone(), self.document.text.clone());
        let store = if self.document.is_file {
            Store::of_file(handle, &self.document.origin, text, check::render)
        } else {
            Store::in_memory(handle, &self.document.origin, text)
        };
        if self.is_read_only { store.closed("the process was started with --read-only") } else { store }
    }

    fn serve_admin(&self, store: &Store) -> io::Result<Option<AdminServer>> {
        let Some((_, listener)) = &self.admin else { return Ok(None) };
        AdminServer::on(self.handle.clone(), store.clone(), listener.try_clone()?).map(Some)
    }

    /// Answers signals and requests for an upgrade, until it is time to stop; whether another process serves then.
    async fn react(&mut self, store: &Store, force: &mpsc::Sender<Forced>) -> bool {
        let mut raising: Option<Raising> = None;
        loop {
            tokio::select! {
                told = self.signals.next() => match told {
                    Told::Stop => return false,
                    Told::Reload => self.reload(force),
                    Told::Upgrade => self.raise(store, &mut raising),
                },
                () = self.handle.upgrade_asked() => self.raise(store, &mut raising),
                raised = outcome(&mut raising) => {
                    raising = None;
                    let handed = match raised {
                        Ok(successor) => self.hand_over(successor).await,
                        Err(why) => Err(why),
                    };
                    match handed {
                        Ok(()) => return true,
                        Err(why) => {
                            tracing::error!(why, "upgrade failed; this process goes on");
                            self.handle.set_upgrade(Phase::Failed(why));
                        }
                    }
                }
            }
        }
    }

    fn reload(&self, force: &mpsc::Sender<Forced>) {
        if !self.document.is_file {
            return;
        }
        let (done, verdict) = oneshot::channel();
        // A reload that waits already will do.
        if force.try_send(done).is_ok() {
            systemd::reloading();
            let handle = self.handle.clone();
            tokio::spawn(async move {
                let _ = verdict.await;
                systemd::reloaded(handle.reload().is_ok);
            });
        }
    }

    fn raise(&self, store: &Store, raising: &mut Option<Raising>) {
        if raising.is_some() {
            tracing::warn!("an upgrade is under way already");
            return;
        }
        if !self.document.is_file && *store.text() != *self.document.text {
            let why = "a new process would not have the changes that were made through the admin API, which are in no file";
            tracing::error!(why, "upgrade failed; this process goes on");
            return self.handle.set_upgrade(Phase::Failed(why.to_owned()));
        }
        let admin = match &self.admin {
            None => None,
            Some((address, listener)) => match listener.try_clone() {
                Ok(listener) => Some((*address, listener.into())),
                Err(error) => return self.handle.set_upgrade(Phase::Failed(error.to_string())),
            },
        };
        tracing::info!("starting a new process to hand over to");
        self.handle.set_upgrade(Phase::Running);
        let (handle, store, program) = (self.handle.clone(), store.clone(), self.program.clone());
        *raising = Some(Box::pin(async move {
            // The new process reads the file with the last change of this one in it.
            store.idle().await;
            handle.raise(&program, admin).await
        }));
    }

    /// The new process is ready: it is told to go on alone.
    async fn hand_over(&self, successor: Successor) -> Result<(), String> {
        let pid = successor.pid();
        // Two processes that read one socket of UDP would each get a part of every connection.
        self.handle.leave_quic().await;
        systemd::successor(pid);
        if successor.release().is_err() {
            systemd::successor(std::process::id());
            self.handle.resume_quic().await;
            return Err("the new process ended when it was ready".to_owned());
        }
        self.handle.set_upgrade(Phase::HandedOver(pid));
        Ok(())
    }

    async fn end(&mut self, is_replaced: bool, admin: Option<AdminServer>) {
        if is_replaced {
            self.admin = None;
            eprintln!(
                "overspill: process {} has handed over; running requests may finish",
                std::process::id()
            );
            tokio::select! {
                () = retire(&self.handle, admin) => {}
                () = self.signals.stop() => {}
            }
            return;
        }
        systemd::stopping();
        eprintln!("overspill: stopping; running requests may finish (again to stop at once)");
        tokio::select! {
            () = self.handle.stop() => eprintln!("overspill: stopped"),
            () = self.signals.stop() => eprintln!("overspill: stopped at once"),
        }
    }
}

/// Says to the old process that this one is ready as soon as it is, and waits until that one steps back.
async fn relieve(handle: &Handle, predecessor: Predecessor) {
    handle.ready().await;
    // A thread that was stopped by a signal to this process has nothing to say either.
    let _ = tokio::task::spawn_blocking(move || predecessor.relieve()).await;
}

/// Both listen no more, and whoever was let in is served.
async fn retire(handle: &Handle, admin: Option<AdminServer>) {
    let admin = async {
        if let Some(admin) = admin {
            admin.retire().await;
        }
    };
    tokio::join!(handle.retire(), admin);
}

/// Ends when the new process is ready or has failed.
async fn outcome(raising: &mut Option<Raising>) -> Result<Successor, String> {
    match raising {
        Some(raising) => raising.await,
        None => pending().await,
    }
}

fn greet(handle: &Handle, document: &Document, admin: Option<SocketAddr>) {
    let world = handle.world();
    eprint!("{}", banner::start(&world, &document.origin.display().to_string(), &handle.listeners(), admin));
    if !world.config.warnings.is_empty() {
        let name = document.origin.display().to_string();
        eprint!("{}", check::render(&world.config.warnings, &name, &document.text));
    }
    let handle = handle.clone();
    tokio::spawn(async move {
        handle.ready().await;
        systemd::ready();
        eprint!("{}", banner::health(&handle.world()));
    });
}

/// What the process may be told.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    upgrade: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::Reload,
            _ = self.upgrade.recv() => Told::Upgrade,
        }
    }

    /// Waits for one that ends the process.
    async fn stop(&mut self) {
        while self.next().await != Told::Stop {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Stop,
    Reload,
    Upgrade,
}

/// Each request may hold two descriptors; the usual soft limit of 1024 is for programs that use select().
fn raise_descriptor_limit() -> u64 {
    match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(limit) => {
            tracing::debug!(limit, "file descriptors");
            limit
        }
        Err(error) => {
            tracing::warn!(%error, "the limit of file descriptors stays as it is");
            rlimit::Resource::NOFILE.get_soft().unwrap_or(0)
        }
    }
}

/// Client connections that so many descriptors suffice for: each may need one to a member, and a part is for listeners,
/// probes, files and the admin API. 0 = not known.
fn connections_for(descriptors: u64) -> u64 {
    let reserve = (descriptors / 4).min(MOST_RESERVED);
    (descriptors - reserve) / 2
}
