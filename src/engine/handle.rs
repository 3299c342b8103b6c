//! The door for edges: apply a configuration, look at the world, stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::files::Seen;
use super::upgrade::{Goods, Key, UpgradeState};
use crate::ledger::process::Process;
use crate::model::problem::{Problem, Severity};
use crate::model::unit::Span;
use crate::proxy::session::strong::Signer;
use crate::world::World;

/// How long idle connections of a process that was replaced may still send a request.
pub const LINGER: Span = Span::secs(5);

/// Cheap to clone; every clone speaks to the same engine.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) changes: mpsc::Sender<Change>,
}

/// What edges may look at.
#[derive(Debug)]
pub struct Shared {
    pub(super) world: Arc<ArcSwap<World>>,
    pub(super) reload: ArcSwap<ReloadState>,
    pub(super) listeners: ArcSwap<Vec<Listening>>,
    pub(super) files: ArcSwap<Vec<Seen>>,
    pub(super) ready: watch::Receiver<bool>,
    pub(super) upgrade: ArcSwap<UpgradeState>,
    pub(super) upgrade_asked: Notify,
    /// Strong cookies; empty until one is needed.
    pub(super) signer: Arc<OnceLock<Signer>>,
    /// Numbers of the process.
    pub process: Arc<Process>,
    /// When the process started.
    pub started: SystemTime,
}

/// A bound front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Forwarding rule.
    pub name: Arc<str>,
    /// As in the file; port 0 = any.
    pub configured: SocketAddr,
    /// As bound.
    pub bound: SocketAddr,
}

/// How the last reload went.
#[derive(Debug, Clone)]
pub struct ReloadState {
    /// Whether the last attempt was taken.
    pub is_ok: bool,
    /// When the last attempt ended.
    pub at: SystemTime,
    /// Where it came from: a file's path, `SIGHUP`, the admin API.
    pub origin: String,
    /// Problems of the last attempt, if it was refused; else its warnings.
    pub problems: Vec<Problem>,
    /// Attempts taken, the start included.
    pub taken: u64,
    /// Attempts refused.
    pub refused: u64,
}

/// Who brings a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file of this name; a refusal is for everybody to see.
    Watched(String),
    /// Somebody who waits for the verdict, by this name; a refusal is theirs alone.
    Asked(String),
}

/// A change in the queue.
#[derive(Debug)]
pub(super) enum Change {
    /// A new document.
    Apply { text: String, origin: Origin, answer: oneshot::Sender<Result<Applied, Refused>> },
    /// Give away copies of the sockets and what is known.
    HandOver { answer: oneshot::Sender<Goods> },
    /// Send the clients of HTTP/3 away, and leave the sockets of these forwarding rules (`None`: of all) to another
    /// process.
    LeaveQuic { to: Option<Vec<Key>>, answer: oneshot::Sender<()> },
    /// The sockets for HTTP/3 are ours alone.
    ResumeQuic,
    /// Stop: finish what runs, then answer. Idle connections may ask once more for `linger`.
    Stop { linger: Span, answer: oneshot::Sender<()> },
}

/// A change that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Generation of the world that now serves.
    pub generation: u64,
    /// False when the text said what the world was already.
    pub changed: bool,
    /// Warnings.
    pub warnings: Vec<Problem>,
}

/// A change that was refused; the running world is untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why. An address that cannot be bound is a problem too.
    pub problems: Vec<Problem>,
}

impl Handle {
    /// The world that serves now.
    #[must_use]
    pub fn world(&self) -> Arc<World> {
        self.shared.world.load_full()
    }

    /// How the last reload went.
    #[must_use]
    pub fn reload(&self) -> Arc<ReloadState> {
        self.shared.reload.load_full()
    }

    /// What is bound.
    #[must_use]
    pub fn listeners(&self) -> Arc<Vec<Listening>> {
        self.shared.listeners.load_full()
    }

    /// Files that the last document named, taken or refused.
    #[must_use]
    pub fn files(&self) -> Arc<Vec<Seen>> {
        self.shared.files.load_full()
    }

    /// Numbers of the process.
    #[must_use]
    pub fn process(&self) -> &Arc<Process> {
        &self.shared.process
    }

    /// What signs strong cookies; `None` while no service has had any.
    #[must_use]
    pub fn signer(&self) -> Option<&Signer> {
        self.shared.signer.get()
    }

    /// When the process started.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.shared.started
    }

    /// Whether listeners are bound and the first health sweep is done.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.shared.ready.borrow()
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        let mut ready = self.shared.ready.clone();
        // An engine that is gone will never be ready; its end is told elsewhere.
        let _ = ready.wait_for(|is_ready| *is_ready).await;
    }

    /// Queues a new document and waits for the verdict, and for workers to leave the addresses that it takes away (5 s
    /// at most): whoever has the answer may bind them. All or nothing.
    ///
    /// # Errors
    /// [`Refused`] with every problem; the running world is untouched.
    pub async fn apply(&self, text: String, origin: &Path) -> Result<Applied, Refused> {
        self.bring(text, Origin::Watched(origin.display().to_string())).await
    }

    /// The same for `who` asks and is answered: a refusal leaves no trace in [`Handle::reload`] and [`Handle::files`],
    /// which tell of the file.
    ///
    /// # Errors
    /// [`Refused`] as of [`Handle::apply`].
    pub async fn ask(&self, text: String, who: &str) -> Result<Applied, Refused> {
        self.bring(text, Origin::Asked(who.to_owned())).await
    }

    async fn bring(&self, text: String, origin: Origin) -> Result<Applied, Refused> {
        let (answer, verdict) = oneshot::channel();
        let change = Change::Apply { text, origin, answer };
        if self.changes.send(change).await.is_err() {
            return Err(Refused { problems: Vec::new() });
        }
        verdict.await.unwrap_or_else(|_| Err(Refused { problems: Vec::new() }))
    }

    /// Says in [`Handle::reload`] that the document could not even be read; counts as a refused attempt.
    pub fn report_unreadable(&self, origin: String, why: String) {
        let problem = Problem {
            severity: Severity::Error,
            code: "unreadable-file",
            path: String::new(),
            position: None,
            message: why,
            expected: None,
        };
        self.shared.reload.rcu(|last| ReloadState {
            is_ok: false,
            at: crate::clock::wall(),
            origin: origin.clone(),
            problems: vec![problem.clone()],
            taken: last.taken,
            refused: last.refused + 1,
        });
    }

    /// Sends the clients of HTTP/3 away after their requests, and reads their sockets no more: another process is about
    /// to, and passes on what is for them. `to`: the forwarding rules whose sockets it will read, if that is known.
    pub async fn leave_quic(&self, to: Option<Vec<Key>>) {
        let (answer, done) = oneshot::channel();
        if self.changes.send(Change::LeaveQuic { to, answer }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// The sockets for HTTP/3 are this process's alone: it serves them, if it did not before.
    pub async fn resume_quic(&self) {
        // An engine that has ended serves nobody.
        let _ = self.changes.send(Change::ResumeQuic).await;
    }

    /// Stops taking connections, lets running requests finish (at most the drain limit), and returns when all is done.
    pub async fn stop(&self) {
        self.end(Span::ZERO).await;
    }

    /// The same when another process serves the sockets already: connections that wait for their next request may
    /// send it for [`LINGER`], and learn with the answer that it was the last, so that none is closed in a client's
    /// face.
    pub async fn retire(&self) {
        self.end(LINGER).await;
    }

    async fn end(&self, linger: Span) {
        let (answer, done) = oneshot::channel();
        if self.changes.send(Change::Stop { linger, answer }).await.is_ok() {
            let _ = done.await;
        }
    }
}
