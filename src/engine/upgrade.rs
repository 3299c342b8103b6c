//! A new binary takes the place of the running one, and no client notices.
//!
//! The old process starts the new one with the same arguments and one end of a Unix socket as standard input, and sends
//! its listening sockets, the admin listener and what it knows (`estate`) over it. The new process reads the
//! configuration by itself and serves the very same sockets, so that what waits in their queues is not lost, whatever
//! the number of workers. It says that it is ready when its health is known; only then does it accept, and only then
//! does the old one stop accepting, and drain. If the new one ends or is not ready in time, the old one has given
//! nothing away and goes on.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use socket2::SockRef;

use super::estate::Estate;
use super::handle::{Change, Handle};
use crate::clock;
use crate::model::config::{Front, SessionKey};
use crate::model::unit::Span;
use crate::net::inherit::{self, Channel, Inherited};
use crate::net::quic::ways::{Handed, Mark};
use crate::net::tickets::SECRET;

/// A forwarding rule's name and configured address.
pub type Key = (Arc<str>, SocketAddr);

/// Set in the environment of a successor.
const HANDOVER: &str = "OVERSPILL_HANDOVER";

/// What concerns this process alone, and not its successor: systemd's words to the process that it started.
const OURS_ALONE: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// How long a successor waits for what the old process has to say.
const LETTER_TIME: Duration = Duration::from_secs(30);

/// How the last upgrade went.
#[derive(Debug, Clone)]
pub struct UpgradeState {
    /// What happened.
    pub phase: Phase,
    /// When.
    pub at: SystemTime,
    /// Upgrades that have failed.
    pub failed: u64,
}

/// Where an upgrade is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Nobody here could start a new process, as in a demo.
    Unavailable,
    /// None was asked for.
    Idle,
    /// A new process is starting.
    Running,
    /// The new process failed, for this reason; this one goes on.
    Failed(String),
    /// The new process serves; this one drains.
    HandedOver(u32),
}

impl Phase {
    /// The word in `/status`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Failed(_) => "failed",
            Self::HandedOver(_) => "handed-over",
        }
    }
}

impl UpgradeState {
    /// Before anybody attends to upgrades.
    pub(super) fn new() -> Self {
        Self { phase: Phase::Unavailable, at: clock::wall(), failed: 0 }
    }
}

/// What this process was started as.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// The path by which it was called, made absolute; not the file that runs, so that whatever stands at that path
    /// later, as behind a link that was moved on, is started. Call it at the start, before anybody changes the folder.
    ///
    /// # Errors
    /// When neither the first argument nor the system tells a path.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let called = PathBuf::from(arguments.next().unwrap_or_default());
        let path = match called.components().count() {
            0 => None,
            1 if !called.is_absolute() => on_path(&called),
            _ => std::path::absolute(&called).ok().filter(|path| path.is_file()),
        };
        let path = path.map_or_else(std::env::current_exe, Ok)?;
        Ok(Self { path, arguments: arguments.collect() })
    }

    fn start(&self, letters: OwnedFd) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env(HANDOVER, "1").stdin(letters);
        for name in OURS_ALONE {
            command.env_remove(name);
        }
        command.spawn()
    }
}

fn on_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// What the supervisor gives away.
#[derive(Debug)]
pub(super) struct Goods {
    pub(super) letter: Letter,
    /// Of forwarding rules, in the order of the letter.
    pub(super) sockets: Vec<OwnedFd>,
    /// To endpoints of QUIC, in the order of the letter.
    pub(super) ways: Vec<OwnedFd>,
}

/// The first frame. Unknown fields are ignored, so that a later version can add some.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Letter {
    pub(super) listeners: Vec<Listener>,
    /// Sockets for HTTP/3, which follow those of the listeners.
    #[serde(default)]
    pub(super) quic: Vec<Listener>,
    /// What QUIC endpoints sign with.
    #[serde(default)]
    pub(super) quic_key: Option<String>,
    /// The admin listener's address as configured; its socket follows those of the forwarding rules.
    #[serde(default)]
    pub(super) admin: Option<SocketAddr>,
    /// The ways to endpoints of QUIC, whose sockets are the last.
    #[serde(default)]
    pub(super) ways: Vec<WaysOf>,
    /// The key of strong cookies where it is in no file.
    #[serde(default)]
    pub(super) session_key: Option<String>,
    /// What sessions of TLS are sealed with, and for how long it has been in use, in nanoseconds.
    #[serde(default)]
    pub(super) ticket_keys: Vec<(String, u64)>,
    #[serde(default)]
    pub(super) estate: Value,
}

/// A forwarding rule's sockets.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) configured: SocketAddr,
    pub(super) sockets: usize,
}

/// The marks of the endpoints of a forwarding rule, with a socket each.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WaysOf {
    pub(super) name: String,
    pub(super) configured: SocketAddr,
    pub(super) marks: Vec<u64>,
}

/// What a process finds when it starts: sockets of its predecessor or of systemd, and what the predecessor knew.
#[derive(Debug, Default)]
pub struct Inheritance {
    pub(super) listeners: Vec<Inherited<TcpListener>>,
    pub(super) quic: Vec<Inherited<UdpSocket>>,
    /// To endpoints of processes before this one.
    pub(super) ways: Vec<Inherited<Handed>>,
    pub(super) quic_key: Option<[u8; 32]>,
    pub(super) session_key: Option<[u8; 32]>,
    pub(super) ticket_keys: Vec<([u8; SECRET], Span)>,
    pub(super) estate: Option<Estate>,
    /// Whether another process still serves the sockets: then this one accepts nothing before it is ready.
    pub(super) is_upgrade: bool,
}

impl Inheritance {
    /// Call it once, before there are threads.
    ///
    /// # Errors
    /// When the predecessor has gone, or what is handed over is not understood.
    pub fn of_this_process() -> io::Result<(Self, Option<Predecessor>)> {
        if std::env::var_os(HANDOVER).is_none() {
            let activated = inherit::from_systemd()?;
            let (listeners, quic) = (activated.listeners, activated.datagrams);
            return Ok((Self { listeners, quic, ..Self::default() }, None));
        }
        let channel = Channel::of_standard_input()?;
        channel.limit(Some(LETTER_TIME))?;
        let (letter, sockets) = channel.receive()?;
        let letter = serde_json::from_slice(&letter).map_err(io::Error::other)?;
        let (inheritance, admin) = Self::open(letter, sockets)?;
        Ok((inheritance, Some(Predecessor { channel, admin })))
    }

    fn open(letter: Letter, sockets: Vec<OwnedFd>) -> io::Result<(Self, Option<(SocketAddr, TcpListener)>)> {
        // A worker that waits in accept would serve nobody.
        sockets.iter().try_for_each(|socket| SockRef::from(socket).set_nonblocking(true))?;
        let mut rest = sockets.into_iter();
        let listeners = share_out(letter.listeners, &mut rest, TcpListener::from)?;
        let quic = share_out(letter.quic, &mut rest, UdpSocket::from)?;
        let next = |rest: &mut std::vec::IntoIter<OwnedFd>| rest.next().ok_or_else(too_few);
        let admin =
            letter.admin.map(|address| Ok::<_, io::Error>((address, next(&mut rest)?.into()))).transpose()?;
        let mut ways = Vec::new();
        for one in letter.ways {
            let marks = one.marks.into_iter();
            let sockets: io::Result<Vec<_>> =
                marks.map(|mark| Ok(Handed { mark: Mark(mark), inbox: next(&mut rest)? })).collect();
            ways.push(Inherited { name: Some(one.name), address: one.configured, sockets: sockets? });
        }
        let inheritance = Self {
            listeners,
            quic,
            ways,
            quic_key: letter.quic_key.as_deref().and_then(SessionKey::parse),
            session_key: letter.session_key.as_deref().and_then(SessionKey::parse),
            ticket_keys: letter
                .ticket_keys
                .into_iter()
                .filter_map(|(key, age)| Some((SessionKey::parse(&key)?, Span(age))))
                .collect(),
            estate: Estate::read(letter.estate),
            is_upgrade: true,
        };
        Ok((inheritance, admin))
    }

    /// The sockets of a forwarding rule.
    pub(super) fn take(&mut self, front: &Front) -> Option<Vec<TcpListener>> {
        Some(claim(&mut self.listeners, front, self.is_upgrade)?.sockets)
    }

    /// Those for HTTP/3.
    pub(super) fn take_quic(&mut self, front: &Front) -> Option<Inherited<UdpSocket>> {
        claim(&mut self.quic, front, self.is_upgrade)
    }

    /// The ways to endpoints that processes before this one have at the address of a forwarding rule.
    pub(super) fn take_ways(&mut self, front: &Front) -> Option<Vec<Handed>> {
        Some(claim(&mut self.ways, front, self.is_upgrade)?.sockets)
    }

    /// What nobody wants is closed.
    pub(super) fn discard(&mut self) {
        let names = |name: Option<String>, address| (name.unwrap_or_default(), address);
        let listeners = self.listeners.drain(..).map(|one| names(one.name, one.address));
        let quic = self.quic.drain(..).map(|one| names(one.name, one.address));
        for (name, address) in listeners.chain(quic) {
            tracing::warn!(name, %address, "a socket was handed over that no forwarding rule is for");
        }
        self.ways.clear();
    }
}

/// What is a forwarding rule's. A predecessor's must be of the address that the rule has now; of systemd's one of the
/// rule's name goes before one of its address.
fn claim<S>(all: &mut Vec<Inherited<S>>, front: &Front, is_upgrade: bool) -> Option<Inherited<S>> {
    let is_named = |one: &Inherited<S>| one.name.as_deref() == Some(&*front.name);
    let is_there = |one: &Inherited<S>| one.address == front.address;
    let place = |fits: &dyn Fn(&Inherited<S>) -> bool| all.iter().position(fits);
    let place = if is_upgrade {
        place(&|one| is_named(one) && is_there(one))
            .or_else(|| place(&|one| is_there(one) && front.address.port() != 0))
    } else {
        place(&is_named).or_else(|| place(&is_there))
    };
    Some(all.swap_remove(place?))
}

/// The next sockets by forwarding rule, as a letter has announced them.
fn share_out<S>(
    announced: Vec<Listener>,
    sockets: &mut impl Iterator<Item = OwnedFd>,
    make: impl Fn(OwnedFd) -> S,
) -> io::Result<Vec<Inherited<S>>> {
    let one = |of: Listener| {
        let mine: Vec<_> = sockets.take(of.sockets).map(&make).collect();
        let is_whole = !mine.is_empty() && mine.len() == of.sockets;
        let inherited = Inherited { name: Some(of.name), address: of.configured, sockets: mine };
        if is_whole { Ok(inherited) } else { Err(too_few()) }
    };
    announced.into_iter().map(one).collect()
}

fn too_few() -> io::Error {
    io::Error::other("fewer sockets came than the old process has announced")
}

/// The process that this one replaces; it serves until it is told.
#[derive(Debug)]
pub struct Predecessor {
    channel: Channel,
    admin: Option<(SocketAddr, TcpListener)>,
}

impl Predecessor {
    /// The admin listener, if the old process has it at this address.
    pub fn take_admin(&mut self, address: SocketAddr) -> Option<TcpListener> {
        self.admin.take_if(|(configured, _)| *configured == address).map(|(_, listener)| listener)
    }

    /// Says that this process is ready, and that it will read the sockets for HTTP/3 of `quic`, forwarding rules by name
    /// and address; returns when the old one has told systemd and stops accepting, or is gone. Blocking.
    pub fn relieve(self, quic: &[Key]) {
        let channel = &self.channel;
        let ready = json!({"ready": true, "quic": quic}).to_string();
        let released = channel.limit(None).and_then(|()| channel.send(ready.as_bytes(), &[]));
        // Gone already: then nobody else serves.
        let _ = released.and_then(|()| channel.receive());
    }

    /// Says why this process ends instead.
    pub fn fail(&self, why: &str) {
        let why: String = why.chars().take(4096).collect();
        // The old process sees the end of this one, too.
        let _ = self.channel.send(json!({"failed": why}).to_string().as_bytes(), &[]);
    }
}

/// A new process that is ready. Dropping it ends it.
#[derive(Debug)]
pub struct Successor {
    channel: Channel,
    quic: Option<Vec<Key>>,
    offspring: Offspring,
}

impl Successor {
    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.offspring.0.as_ref().map_or(0, Child::id)
    }

    /// The forwarding rules whose sockets for HTTP/3 it will read; `None` = it does not say, and may read any.
    #[must_use]
    pub fn quic(&self) -> Option<Vec<Key>> {
        self.quic.clone()
    }

    /// It may say to the world that it serves.
    ///
    /// # Errors
    /// When it has ended in the meantime.
    pub fn release(mut self) -> io::Result<()> {
        self.channel.send(br#"{"go":true}"#, &[])?;
        self.offspring.0 = None;
        Ok(())
    }
}

/// A child that does not outlive this, unless it is let go.
#[derive(Debug)]
struct Offspring(Option<Child>);

impl Offspring {
    fn end(&mut self) -> Option<std::process::ExitStatus> {
        let mut child = self.0.take()?;
        let _ = child.kill();
        child.wait().ok()
    }
}

impl Drop for Offspring {
    fn drop(&mut self) {
        self.end();
    }
}

impl Handle {
    /// How the last upgrade went.
    #[must_use]
    pub fn upgrade(&self) -> Arc<UpgradeState> {
        self.shared.upgrade.load_full()
    }

    /// Says where an upgrade is; for whoever attends to them.
    pub fn set_upgrade(&self, phase: Phase) {
        let failed = self.upgrade().failed + u64::from(matches!(phase, Phase::Failed(_)));
        self.shared.upgrade.store(Arc::new(UpgradeState { phase, at: clock::wall(), failed }));
    }

    /// Asks for an upgrade.
    ///
    /// # Errors
    /// The phase that does not allow one.
    pub fn ask_upgrade(&self) -> Result<(), Phase> {
        match &self.upgrade().phase {
            Phase::Idle | Phase::Failed(_) => {
                self.shared.upgrade_asked.notify_one();
                Ok(())
            }
            phase => Err(phase.clone()),
        }
    }

    /// Waits until somebody asks for an upgrade.
    pub async fn upgrade_asked(&self) {
        self.shared.upgrade_asked.notified().await;
    }

    /// Starts `program` and waits until it is ready, at most `upgradeTimeoutSec`. Dropping the future ends the new
    /// process.
    ///
    /// # Errors
    /// Why there is no new process; nothing has changed here.
    pub async fn raise(
        &self,
        program: &Program,
        admin: Option<(SocketAddr, OwnedFd)>,
    ) -> Result<Successor, String> {
        let limit = self.world().config.proxy.limits.upgrade_timeout.to_std();
        let failed = |error: io::Error| format!("{} cannot be started: {error}", program.path.display());
        let mut goods = self.goods().await.ok_or_else(|| "the process is stopping".to_owned())?;
        if let Some((address, socket)) = admin {
            goods.letter.admin = Some(address);
            goods.sockets.push(socket);
        }
        goods.sockets.append(&mut goods.ways);
        let (ours, theirs) = Channel::pair().map_err(failed)?;
        let mut offspring = Offspring(Some(program.start(theirs).map_err(failed)?));
        let talk = tokio::task::spawn_blocking(move || talk(ours, &goods, limit));
        match tokio::time::timeout(limit, talk).await {
            Ok(Ok(Ok((channel, quic)))) => Ok(Successor { channel, quic, offspring }),
            Ok(Ok(Err(Some(why)))) => Err(format!("the new process failed: {why}")),
            Err(_) => {
                Err(format!("the new process was not ready within {} s and was ended", limit.as_secs()))
            }
            _ => Err(match offspring.end().and_then(|status| status.code()) {
                Some(code) => format!("the new process exited with code {code} before it was ready"),
                None => "the new process ended before it was ready".to_owned(),
            }),
        }
    }

    async fn goods(&self) -> Option<Goods> {
        let (answer, goods) = tokio::sync::oneshot::channel();
        self.changes.send(Change::HandOver { answer }).await.ok()?;
        goods.await.ok()
    }
}

/// The old process's part of the talk, until the new one is ready. The error is what it says of its failure; `None`
/// when it ended without a word.
fn talk(
    channel: Channel,
    goods: &Goods,
    limit: Duration,
) -> Result<(Channel, Option<Vec<Key>>), Option<String>> {
    let letter = serde_json::to_vec(&goods.letter).map_err(|error| Some(error.to_string()))?;
    let sockets: Vec<_> = goods.sockets.iter().map(|socket| socket.as_fd()).collect();
    channel.limit(Some(limit)).map_err(|_| None)?;
    channel.send(&letter, &sockets).map_err(|_| None)?;
    let (answer, _) = channel.receive().map_err(|_| None)?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    if answer["ready"] == true {
        return Ok((channel, serde_json::from_value(answer["quic"].clone()).ok()));
    }
    Err(answer["failed"].as_str().map(str::to_owned))
}
