//! The single writer: one change at a time, from text to swap. Everything that can fail stands before the swap.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::estate::Estate;
use super::files;
use super::handle::{Applied, Change, Listening, Origin, Refused, ReloadState, Shared};
use super::log_writer::LogWriter;
use super::planner::{Planners, TICK};
use super::quic::Quic;
use super::session_key::{self, InMemory};
use super::upgrade::{Goods, Inheritance, Key, Letter, Listener};
use super::worker::{Command, Worker};
use crate::clock;
use crate::health::agent::Agents;
use crate::health::names::Names;
use crate::health::prober::Prober;
use crate::ledger::member::Member;
use crate::ledger::registry::Registry;
use crate::model::config::{AccessLogTarget, Config, Front, SessionKey};
use crate::model::problem::{Problem, Severity};
use crate::model::resolve;
use crate::model::unit::Span;
use crate::net::listen::{self, Beside};
use crate::net::tickets::Tickets;
use crate::world::{LiveService, World};

/// How long whoever asked for a change waits for workers to leave the addresses that it has taken away.
const RETIRE_WAIT: Span = Span::secs(5);

/// How long running requests may go on after a stop was asked for.
pub(super) const STOP_GRACE: Span = Span::secs(30);

/// Owns what only one may write.
pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) registry: Registry,
    pub(super) planners: Planners,
    pub(super) prober: Prober,
    pub(super) agents: Agents,
    pub(super) names: Names,
    pub(super) workers: Vec<Worker>,
    /// How many there are, or will be.
    pub(super) count: usize,
    /// Bound sockets by forwarding rule.
    pub(super) bound: HashMap<(Arc<str>, SocketAddr), Bound>,
    /// Sockets for HTTP/3.
    pub(super) quic: Quic,
    /// What QUIC endpoints sign with; a successor gets it.
    pub(super) quic_key: [u8; 32],
    /// What returning clients take up their sessions of TLS with; a successor gets its keys. `None` = the system has no
    /// randomness.
    pub(super) tickets: Option<Arc<Tickets>>,
    /// While another process still serves: what the workers are told once this one is ready.
    pub(super) held: Option<Vec<(usize, Command)>>,
    /// Woken when a member's health changes.
    pub(super) wake: Arc<Notify>,
    pub(super) log: Option<LogWriter>,
    /// The key of strong cookies where it is in no file.
    pub(super) memory: InMemory,
    /// `--workers` and the like cannot change while running; the file's own value is kept to warn.
    pub(super) access_log: AccessLogTarget,
    /// The configuration file.
    pub(super) origin: PathBuf,
    /// How long running requests may go on after a stop was asked for; [`STOP_GRACE`] but in tests.
    pub(super) grace: Span,
}

/// A front's listener.
#[derive(Debug)]
pub(super) struct Bound {
    listener: u32,
    address: SocketAddr,
    /// Kept for a successor; the workers have copies.
    sockets: Vec<TcpListener>,
}

/// Workers that still have a listener to leave; each answers, or drops its end, when it has.
type Retiring = Vec<oneshot::Receiver<()>>;

/// Sockets opened for a change and not yet given away; dropping them undoes the opening.
#[derive(Debug)]
pub(super) struct Opened {
    name: Arc<str>,
    configured: SocketAddr,
    sockets: Vec<TcpListener>,
    /// Copies by worker.
    dealt: Vec<(usize, TcpListener)>,
}

impl Supervisor {
    /// Changes, health changes and ticks, until stopped. Says `ready` when `first_sweep` has ended and its verdicts are
    /// in the plans.
    pub(super) async fn run(
        mut self,
        mut changes: mpsc::Receiver<Change>,
        first_sweep: impl Future<Output = ()>,
        ready: watch::Sender<bool>,
    ) {
        let mut first_sweep = std::pin::pin!(first_sweep);
        let mut is_swept = false;
        let mut ticks = tokio::time::interval(TICK.to_std());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let wake = self.wake.clone();
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tick(),
                () = wake.notified() => self.tick(),
                () = &mut first_sweep, if !is_swept => {
                    is_swept = true;
                    self.tick();
                    self.let_accept();
                    ready.send_replace(true);
                }
                change = changes.recv() => match change {
                    Some(Change::Apply { text, origin, answer }) => {
                        let (verdict, retiring) = self.apply(text, origin).await;
                        // Aside: a worker that takes its time must not hold up ticks.
                        tokio::spawn(async move {
                            let _ = tokio::time::timeout(RETIRE_WAIT.to_std(), all_left(retiring)).await;
                            // Whoever asked may have left; the change stands all the same.
                            let _ = answer.send(verdict);
                        });
                    }
                    Some(Change::HandOver { answer }) => {
                        if let Ok(goods) = self.goods() {
                            let _ = answer.send(goods);
                        }
                    }
                    Some(Change::LeaveQuic { to, answer }) => {
                        let leaving = self.leave_quic(to.as_deref());
                        // Aside: plans go on meanwhile.
                        tokio::spawn(async move {
                            all_left(leaving).await;
                            let _ = answer.send(());
                        });
                    }
                    Some(Change::ResumeQuic) => self.resume_quic(),
                    Some(Change::Stop { linger, answer }) => {
                        self.stop(linger).await;
                        let _ = answer.send(());
                        return;
                    }
                    None => return self.stop(Span::ZERO).await,
                },
            }
        }
    }

    fn tick(&mut self) {
        let world = self.shared.world.load_full();
        self.planners.tick(&world);
    }

    /// Text → verdict. Parsing runs aside, so that ticks go on meanwhile.
    async fn apply(&mut self, text: String, origin: Origin) -> (Result<Applied, Refused>, Retiring) {
        let file = self.origin.clone();
        let resolved = tokio::task::spawn_blocking(move || (files::resolve(&text, &file), text)).await;
        let (verdict, seen) = match resolved {
            Ok(((resolved, seen), text)) => {
                let verdict = match resolved.config {
                    Some(config) => match self.change(Arc::new(config)) {
                        Ok(taken) => Ok(taken),
                        Err(problems) => Err(located(problems, text).await),
                    },
                    None => Err(resolved.problems),
                };
                (verdict, Some(seen))
            }
            Err(_) => {
                (Err(vec![problem("internal-error", "the document could not be read".to_owned())]), None)
            }
        };
        let (origin, is_asked) = match origin {
            Origin::Watched(origin) => (origin, false),
            Origin::Asked(origin) => (origin, true),
        };
        if let Some(seen) = seen.filter(|_| verdict.is_ok() || !is_asked) {
            self.shared.files.store(Arc::new(seen));
        }
        match verdict {
            Ok((applied, retiring)) => {
                self.note(origin, true, applied.warnings.clone());
                (Ok(applied), retiring)
            }
            Err(problems) => {
                if !is_asked {
                    self.refuse(origin, problems.clone());
                }
                (Err(Refused { problems }), Retiring::new())
            }
        }
    }

    /// Builds, binds, swaps, retires.
    fn change(&mut self, config: Arc<Config>) -> Result<(Applied, Retiring), Vec<Problem>> {
        let old = self.shared.world.load_full();
        let warnings = config.warnings.clone();
        if old.config.fingerprint == config.fingerprint {
            return Ok((Applied { generation: old.generation, changed: false, warnings }, Retiring::new()));
        }
        self.fixed_at_start(&old.config, &config)?;
        session_key::provide((&self.shared.signer, &self.memory), &config, &self.origin)?;
        let opened = self.open(&config.fronts, |_| None)?;
        let for_quic = self.open_quic(&config.fronts, &opened, |_| None)?;
        let world = Arc::new(World::build(config, old.generation + 1, &mut self.registry));
        self.prober.reconcile(&world);
        self.names.reconcile(&world);
        self.planners.adopt(&world);
        self.shared.world.store(world.clone());
        let retiring = self.settle(&world, opened);
        self.settle_quic(&world, for_quic);
        depart(&old, &world);
        drop(old);
        self.registry.sweep();
        Ok((Applied { generation: world.generation, changed: true, warnings }, retiring))
    }

    /// After the swap nothing can fail: new sockets are served, old ones retired, probes brought in line.
    pub(super) fn settle(&mut self, world: &Arc<World>, opened: Vec<Opened>) -> Retiring {
        for Opened { name, configured, sockets, dealt } in opened {
            let listener = self.registry.listener(&name, configured);
            let address = sockets.first().and_then(|s| s.local_addr().ok()).unwrap_or(configured);
            for (worker, socket) in dealt {
                self.tell(worker, Command::Listen { listener, socket });
            }
            self.bound.insert((name, configured), Bound { listener, address, sockets });
        }
        let gone: Vec<_> = self.bound.extract_if(|_, bound| world.front(bound.listener).is_none()).collect();
        let mut retiring = Retiring::new();
        for (_, bound) in gone {
            for worker in 0..self.workers.len() {
                let (left, answer) = oneshot::channel();
                self.tell(worker, Command::Retire { listener: bound.listener, left });
                retiring.push(answer);
            }
        }
        let listening = world.config.fronts.iter().filter_map(|front| {
            let bound = self.bound.get(&(front.name.clone(), front.address))?;
            Some(Listening { name: front.name.clone(), configured: front.address, bound: bound.address })
        });
        self.shared.listeners.store(Arc::new(listening.collect()));
        self.agents.reconcile(world);
        retiring
    }

    /// What cannot change while the process runs is refused, not ignored.
    fn fixed_at_start(&self, old: &Config, new: &Config) -> Result<(), Vec<Problem>> {
        let fixed = [
            ("proxy.workers", old.proxy.workers != new.proxy.workers),
            ("proxy.admin", old.proxy.admin != new.proxy.admin),
            ("proxy.accessLog", self.access_log != new.proxy.access_log),
            ("proxy.sessionKey", old.proxy.session_key != new.proxy.session_key),
        ];
        let changed = fixed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(path, _)| Problem {
            path: path.to_owned(),
            expected: Some("the value that the process was started with, or a restart".to_owned()),
            ..problem("fixed-at-start", format!("{path} cannot change while the process runs"))
        });
        let changed: Vec<_> = changed.collect();
        if changed.is_empty() { Ok(()) } else { Err(changed) }
    }

    /// Opens the sockets of the first world, as far as they are not inherited.
    pub(super) fn open_first(
        &self,
        fronts: &[Front],
        inheritance: &mut Inheritance,
    ) -> Result<Vec<Opened>, Vec<Problem>> {
        self.open(fronts, |front| inheritance.take(front))
    }

    /// Opens the sockets of fronts that are not bound yet, unless they are `held`.
    pub(super) fn open(
        &self,
        fronts: &[Front],
        mut held: impl FnMut(&Front) -> Option<Vec<TcpListener>>,
    ) -> Result<Vec<Opened>, Vec<Problem>> {
        let mut opened = Vec::new();
        let mut problems = Vec::new();
        for front in fronts {
            if self.bound.contains_key(&(front.name.clone(), front.address)) {
                continue;
            }
            let sockets = held(front).map_or_else(|| self.bind(front), Ok);
            let dealt = sockets.and_then(|sockets| Ok((listen::deal(&sockets, self.count)?, sockets)));
            match dealt {
                Ok((dealt, sockets)) => opened.push(Opened {
                    name: front.name.clone(),
                    configured: front.address,
                    sockets,
                    dealt,
                }),
                Err(error) => problems
                    .push(cannot_bind(&front.name, format!("cannot listen on {}: {error}", front.address))),
            }
        }
        if problems.is_empty() { Ok(opened) } else { Err(problems) }
    }

    fn bind(&self, front: &Front) -> std::io::Result<Vec<TcpListener>> {
        let address = front.address;
        let is_ours = self.bound.values().any(|bound| bound.address.port() == address.port());
        let beside = if is_ours { Beside::Ourselves } else { Beside::Nobody };
        if address.port() == 0 && front.has_http3() {
            listen::bind_with_datagrams(address, self.count)
        } else {
            listen::bind(address, self.count, beside)
        }
    }

    /// Where a front listens, or is about to.
    pub(super) fn address_of(&self, front: &Front, opened: &[Opened]) -> SocketAddr {
        let bound = self.bound.get(&(front.name.clone(), front.address)).map(|bound| bound.address);
        let is_its = |one: &&Opened| one.name == front.name && one.configured == front.address;
        let opened = || opened.iter().find(is_its)?.sockets.first()?.local_addr().ok();
        bound.or_else(opened).unwrap_or(front.address)
    }

    pub(super) fn tell(&mut self, worker: usize, command: Command) {
        match (&mut self.held, self.workers.get(worker)) {
            (Some(held), _) => held.push((worker, command)),
            (None, Some(worker)) => drop(worker.commands.send(command)),
            (None, None) => {}
        }
    }

    /// What was held back is told now.
    fn let_accept(&mut self) {
        for (worker, command) in self.held.take().unwrap_or_default() {
            self.tell(worker, command);
        }
    }

    /// For a successor.
    fn goods(&self) -> std::io::Result<Goods> {
        let mut sockets = Vec::new();
        let listeners = list(&mut sockets, self.bound.iter().map(|(key, bound)| (key, &bound.sockets[..])))?;
        let of_quic = self.quic.bound.iter().map(|(key, bound)| (key, &bound.sockets[..]));
        let quic = list(&mut sockets, of_quic)?;
        let (ways, to_endpoints) = self.ways()?;
        let world = self.shared.world.load();
        let key = self.memory.get().map(SessionKey::text);
        let now = clock::now();
        let tickets = self.tickets.as_ref().map(|tickets| tickets.hand_on(now)).unwrap_or_default();
        let letter = Letter {
            listeners,
            quic,
            quic_key: Some(SessionKey::text(&self.quic_key)),
            admin: None,
            ways,
            session_key: key,
            ticket_keys: tickets.iter().map(|(key, age)| (SessionKey::text(key), age.0)).collect(),
            estate: Estate::of(&world, self.planners.ejections(&world, now), now).write(),
        };
        Ok(Goods { letter, sockets, ways: to_endpoints })
    }

    fn refuse(&self, origin: String, problems: Vec<Problem>) {
        self.note(origin, false, problems);
    }

    fn note(&self, origin: String, is_ok: bool, problems: Vec<Problem>) {
        let before = self.shared.reload.load();
        self.shared.reload.store(Arc::new(ReloadState {
            is_ok,
            at: wall(),
            origin,
            problems,
            taken: before.taken + u64::from(is_ok),
            refused: before.refused + u64::from(!is_ok),
        }));
    }

    pub(super) async fn stop(&mut self, linger: Span) {
        // Copies that are kept would let clients connect to nobody.
        self.bound.clear();
        self.quic.bound.clear();
        let mut waiting = Vec::new();
        for worker in &self.workers {
            let (done, answer) = oneshot::channel();
            if worker.commands.send(Command::Stop { linger, grace: self.grace, done }).is_ok() {
                waiting.push(answer);
            }
        }
        for answer in waiting {
            let _ = answer.await;
        }
        self.workers.clear();
        if let Some(log) = self.log.take() {
            // Joins a thread: aside, so that the runtime goes on.
            let _ = tokio::task::spawn_blocking(move || log.finish()).await;
        }
    }
}

/// Names sockets for a letter, and adds copies of them.
fn list<'a, S: AsFd + 'a>(
    copies: &mut Vec<OwnedFd>,
    all: impl Iterator<Item = (&'a Key, &'a [S])>,
) -> std::io::Result<Vec<Listener>> {
    let mut listed = Vec::new();
    for ((name, configured), sockets) in all {
        for socket in sockets {
            copies.push(socket.as_fd().try_clone_to_owned()?);
        }
        listed.push(Listener { name: name.to_string(), configured: *configured, sockets: sockets.len() });
    }
    Ok(listed)
}

async fn all_left(retiring: Retiring) {
    for left in retiring {
        // A worker that has ended has left too.
        let _ = left.await;
    }
}

/// Keeps what members have counted that the new world does not have.
fn depart(old: &World, new: &World) {
    let services: HashMap<_, _> = new.services.iter().map(|service| (service.name(), service)).collect();
    for before in &old.services {
        if let Some(now) = services.get(before.name()) {
            now.ledger.departed.change(members(before), members(now));
        }
    }
}

fn members(service: &LiveService) -> impl Iterator<Item = &Arc<Member>> {
    service.members().map(|(.., member)| &member.numbered.member)
}

/// The problems with their places in the text, which is parsed once more for it, aside.
async fn located(mut problems: Vec<Problem>, text: String) -> Vec<Problem> {
    let unlocated = problems.clone();
    let aside = tokio::task::spawn_blocking(move || {
        resolve::locate(&mut problems, &text);
        problems
    });
    aside.await.unwrap_or(unlocated)
}

fn wall() -> SystemTime {
    clock::wall()
}

pub(super) fn cannot_bind(name: &str, message: String) -> Problem {
    Problem {
        path: format!("forwardingRules[{name}]"),
        expected: Some("an address of this machine that no other process uses".to_owned()),
        ..problem("cannot-bind", message)
    }
}

fn problem(code: &'static str, message: String) -> Problem {
    Problem { severity: Severity::Error, code, path: String::new(), position: None, message, expected: None }
}
