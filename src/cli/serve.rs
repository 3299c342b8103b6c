//! `overspill serve`, and what `run` and it share: start, follow the file, stop.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::args::{Process, Serve};
use super::words::AdminAt;
use super::{banner, check};
use crate::admin::AdminServer;
use crate::engine::handle::{Handle, Refused};
use crate::engine::start::{Overrides, start};
use crate::source::file::{self, Watch};

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
    on_runtime(async {
        let text = match file::read(&serve.config).await {
            Ok(text) => text,
            Err(error) => {
                eprintln!("overspill: cannot read {}: {error}", serve.config.display());
                return 2;
            }
        };
        proxy(Document { text, origin: serve.config.clone(), is_file: true }, &serve.process).await
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

/// Serves until a signal. Exit code as [`run`].
pub(super) async fn proxy(document: Document, process: &Process) -> u8 {
    raise_descriptor_limit();
    let name = document.origin.display().to_string();
    let overrides = Overrides { workers: process.workers, ..Overrides::default() };
    let handle = match start(document.text.clone(), &document.origin, overrides).await {
        Ok(handle) => handle,
        Err(Refused { problems }) => {
            eprint!("{}", check::render(&problems, &name, &document.text));
            return 1;
        }
    };
    let code = match attend(&handle, &document, process).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("overspill: {error}");
            1
        }
    };
    if code != 0 {
        handle.stop().await;
    }
    code
}

/// Admin, banner, file and signals, until the engine has stopped.
async fn attend(handle: &Handle, document: &Document, process: &Process) -> io::Result<()> {
    let mut signals = Signals::new()?;
    let mut hang_up = signal(SignalKind::hangup())?;
    // The engine refuses a file that moves the admin address of a running process.
    let admin = match process.admin.map_or(handle.world().config.proxy.admin, AdminAt::address) {
        None => None,
        Some(address) => Some(AdminServer::start(handle.clone(), address).await.map_err(|error| {
            io::Error::new(error.kind(), format!("admin: cannot listen on {address}: {error}"))
        })?),
    };
    greet(handle, document, admin.as_ref().map(AdminServer::address));
    let (force, forced) = mpsc::channel(1);
    let watch = document.is_file.then(|| Watch::new(&document.origin, &document.text));
    let follower =
        watch.map(|watch| tokio::spawn(file::follow(handle.clone(), watch, forced, check::render)));
    loop {
        tokio::select! {
            () = signals.stop() => break,
            _ = hang_up.recv() => drop(force.try_send(())),
        }
    }
    if let Some(follower) = follower {
        follower.abort();
    }
    eprintln!("overspill: stopping; running requests may finish (again to stop at once)");
    tokio::select! {
        () = handle.stop() => eprintln!("overspill: stopped"),
        () = signals.stop() => eprintln!("overspill: stopped at once"),
    }
    Ok(())
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
        eprint!("{}", banner::health(&handle.world()));
    });
}

/// Both ways to be told to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Each request may hold two descriptors; the usual soft limit of 1024 is for programs that use select().
fn raise_descriptor_limit() {
    match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(limit) => tracing::debug!(limit, "file descriptors"),
        Err(error) => tracing::warn!(%error, "the limit of file descriptors stays as it is"),
    }
}
