//! Starting an engine.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::ProducesTickets;
use tokio::sync::{Notify, mpsc, watch};

use super::files;
use super::handle::{Handle, Refused, ReloadState, Shared};
use super::log_writer::LogWriter;
use super::planner::Planners;
use super::quic::Quic;
pub(crate) use super::session_key::problem_of_file as key_problem;
use super::session_key::{self, InMemory};
use super::supervisor::{STOP_GRACE, Supervisor};
use super::upgrade::{Inheritance, UpgradeState};
use super::worker::{self, Worker};
use crate::clock;
use crate::health::agent::Agents;
use crate::health::names::Names;
use crate::health::prober::Prober;
use crate::ledger::cell::WorkerId;
use crate::ledger::process::Process;
use crate::ledger::registry::Registry;
use crate::model::config::Config;
use crate::model::problem::{Problem, Severity};
use crate::model::resolve;
use crate::net::dns::Dns;
use crate::net::quic::Keys;
use crate::net::tickets::Tickets;
use crate::net::tls;
use crate::proxy::context::Parts;
use crate::world::World;

/// Changes that may wait in the queue.
const QUEUE: usize = 16;

/// What the command line overrides, and what was there before the process.
#[derive(Default)]
pub struct Overrides {
    /// `--workers N`.
    pub workers: Option<usize>,
    /// Seed of everything that chance decides; `None` = from the system.
    pub seed: Option<u64>,
    /// The name server for host names of members; `None` = as the system is configured.
    pub name_server: Option<SocketAddr>,
    /// Sockets that are open already, and what a predecessor knew.
    pub inheritance: Inheritance,
    /// Called when all listeners are bound, before any file is made: gives up privileges.
    pub when_bound: Option<WhenBound>,
}

/// See [`Overrides::when_bound`].
pub type WhenBound = Box<dyn FnOnce() -> std::io::Result<()> + Send>;

impl std::fmt::Debug for Overrides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overrides")
            .field("workers", &self.workers)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Starts workers, planner and prober for `text`. Must be called on the control runtime (a current-thread tokio
/// runtime); returns when all listeners are bound and serving. The admin server is started by the edges.
///
/// # Errors
/// [`Refused`] when the document is bad or an address cannot be bound.
pub async fn start(text: String, origin: &Path, overrides: Overrides) -> Result<Handle, Refused> {
    begin(&text, origin, overrides).map_err(|mut refused| {
        resolve::locate(&mut refused.problems, &text);
        refused
    })
}

fn begin(text: &str, origin: &Path, overrides: Overrides) -> Result<Handle, Refused> {
    let (resolved, seen) = files::resolve(text, origin);
    let Some(config) = resolved.config.map(Arc::new) else {
        return Err(Refused { problems: resolved.problems });
    };
    let handle = launch(&config, origin, overrides)?;
    handle.shared.files.store(Arc::new(seen));
    Ok(handle)
}

/// The same for a configuration that was resolved, or made, elsewhere.
///
/// # Errors
/// [`Refused`] when an address cannot be bound.
pub async fn start_resolved(
    config: Arc<Config>,
    origin: &Path,
    overrides: Overrides,
) -> Result<Handle, Refused> {
    launch(&config, origin, overrides)
}

fn launch(config: &Arc<Config>, origin: &Path, overrides: Overrides) -> Result<Handle, Refused> {
    let workers = overrides.workers.or(config.proxy.workers).unwrap_or_else(cores);
    let seed = overrides.seed.unwrap_or_else(random_seed);
    let mut inheritance = overrides.inheritance;
    let (mut supervisor, ready) = prepare(config, workers, origin, Dns { server: overrides.name_server });
    let opened =
        supervisor.open_first(&config.fronts, &mut inheritance).map_err(|problems| Refused { problems })?;
    let for_quic = supervisor
        .open_quic(&config.fronts, &opened, |front| inheritance.take_quic(front))
        .map_err(|problems| Refused { problems })?;
    supervisor.quic.inherit_ways(&config.fronts, |front| inheritance.take_ways(front));
    inheritance.discard();
    supervisor.quic.is_away = inheritance.is_upgrade;
    // Without a source of randomness there is no TLS either, and nobody to sign for.
    supervisor.quic_key = inheritance.quic_key.unwrap_or_else(|| session_key::fresh().unwrap_or_default());
    let tickets = Tickets::inherited(&inheritance.ticket_keys, clock::now());
    supervisor.tickets = tickets.or_else(|| Tickets::new(clock::now())).map(Arc::new);
    overrides.when_bound.map_or(Ok(()), |give_up| give_up()).map_err(|error| no_user(&error))?;
    supervisor.log = Some(LogWriter::start(&config.proxy.access_log).map_err(|error| no_log(&error))?);
    supervisor.memory = inheritance.session_key.map_or_else(InMemory::new, InMemory::from);
    session_key::provide((&supervisor.shared.signer, &supervisor.memory), config, origin)
        .map_err(|problems| Refused { problems })?;
    supervisor.workers = start_workers(&supervisor, workers, seed)?;
    let world = supervisor.shared.world.load_full();
    if let Some(estate) = inheritance.estate {
        let now = clock::now();
        supervisor.planners.recall(&world, estate.outliers(&world), now);
        supervisor.prober.inherit(estate.settle(&world, now));
    }
    supervisor.prober.reconcile(&world);
    supervisor.names.reconcile(&world);
    supervisor.held = inheritance.is_upgrade.then(Vec::new);
    supervisor.settle(&world, opened);
    supervisor.settle_quic(&world, for_quic);
    let (probed, resolved) = (supervisor.prober.first_sweep(), supervisor.names.first_round());
    let first_sweep = async move {
        probed.await;
        resolved.await;
    };
    let (changes, queue) = mpsc::channel(QUEUE);
    let handle = Handle { shared: supervisor.shared.clone(), changes };
    tokio::spawn(supervisor.run(queue, first_sweep, ready));
    Ok(handle)
}

/// Everything but threads and sockets.
fn prepare(
    config: &Arc<Config>,
    workers: usize,
    origin: &Path,
    dns: Dns,
) -> (Supervisor, watch::Sender<bool>) {
    let mut registry = Registry::new(workers);
    let world = Arc::new(World::build(config.clone(), 1, &mut registry));
    let mut planners = Planners::default();
    planners.adopt(&world);
    let (ready_sender, ready) = watch::channel(false);
    let shared = Arc::new(Shared {
        world: Arc::new(ArcSwap::new(world)),
        reload: ArcSwap::from_pointee(ReloadState {
            is_ok: true,
            at: clock::wall(),
            origin: origin.display().to_string(),
            problems: config.warnings.clone(),
            taken: 1,
            refused: 0,
        }),
        listeners: ArcSwap::default(),
        files: ArcSwap::default(),
        ready,
        upgrade: ArcSwap::from_pointee(UpgradeState::new()),
        upgrade_asked: Notify::new(),
        signer: Arc::default(),
        process: Arc::new(Process::new(workers)),
        started: clock::wall(),
    });
    let wake = Arc::new(Notify::new());
    let (on_change, on_resolved) = (wake.clone(), wake.clone());
    let supervisor = Supervisor {
        shared,
        registry,
        planners,
        prober: Prober::new(random_seed(), move || on_change.notify_one()),
        agents: Agents::new(random_seed()),
        names: Names::new(dns, move || on_resolved.notify_one()),
        workers: Vec::new(),
        count: workers,
        bound: HashMap::new(),
        quic: Quic::default(),
        quic_key: [0; 32],
        tickets: None,
        held: None,
        wake,
        log: None,
        memory: InMemory::new(),
        access_log: config.proxy.access_log.clone(),
        origin: origin.to_owned(),
        grace: STOP_GRACE,
    };
    (supervisor, ready_sender)
}

fn start_workers(supervisor: &Supervisor, count: usize, seed: u64) -> Result<Vec<Worker>, Refused> {
    let tls = tls::unverified();
    let ticketer = supervisor.tickets.clone().map(|tickets| -> Arc<dyn ProducesTickets> { tickets });
    let quic_keys = Keys::new(&supervisor.quic_key);
    let parts = |number: usize| Parts {
        worker: WorkerId(number),
        world: supervisor.shared.world.clone(),
        process: supervisor.shared.process.clone(),
        tls: tls.clone(),
        ticketer: ticketer.clone(),
        quic_keys: quic_keys.clone(),
        signer: supervisor.shared.signer.clone(),
        log: supervisor.log.as_ref().and_then(LogWriter::channel),
        seed: seed.wrapping_add(number as u64),
    };
    (0..count).map(|number| worker::start(parts(number)).map_err(|error| no_thread(&error))).collect()
}

fn no_log(error: &std::io::Error) -> Refused {
    Refused {
        problems: vec![Problem {
            severity: Severity::Error,
            code: "no-access-log",
            path: "proxy.accessLog.path".to_owned(),
            position: None,
            message: format!("the access log cannot be written: {error}"),
            expected: Some("stdout, none, or a file that this user may append to".to_owned()),
        }],
    }
}

fn no_user(error: &std::io::Error) -> Refused {
    Refused {
        problems: vec![Problem {
            severity: Severity::Error,
            code: "no-user",
            path: String::new(),
            position: None,
            message: format!("cannot go on as the user of --user: {error}"),
            expected: Some("to be started as root, or as that user".to_owned()),
        }],
    }
}

fn no_thread(error: &std::io::Error) -> Refused {
    Refused {
        problems: vec![Problem {
            severity: Severity::Error,
            code: "no-thread",
            path: "proxy.workers".to_owned(),
            position: None,
            message: format!("a worker could not be started: {error}"),
            expected: Some("fewer workers, or a higher limit of threads".to_owned()),
        }],
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Unguessable, since affinity keys come from it.
fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    // Without a source of randomness the clock is the next best; keys then can be guessed, requests still flow.
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => clock::wall().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.subsec_nanos().into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::ledger::process::Traffic;
    use crate::model::config::AccessLogTarget;
    use crate::model::unit::Span;

    const FRONTS: &str = "\
        forwardingRules:\n\
        - {name: t, IPAddress: 127.0.0.1, portRange: \"0\", target: tp}\n\
        - {name: h, IPAddress: 127.0.0.1, portRange: \"0\", target: hp}\n\
        targetTcpProxies: [{name: tp, service: tcp}]\n\
        targetHttpProxies: [{name: hp, urlMap: m}]\n\
        urlMaps: [{name: m, defaultService: web}]\n";

    /// A TCP and an HTTP service of one internet endpoint, which needs no health check.
    fn document(member: SocketAddr) -> String {
        let (ip, port) = (member.ip(), member.port());
        let endpoint = format!("networkEndpoints: [{{ipAddress: {ip}, port: {port}}}]");
        format!(
            "proxy: {{zone: us-central1-a, accessLog: {{path: none}}}}\n{FRONTS}\
             backendServices:\n\
             - {{name: web, protocol: HTTP, backends: [{{group: neg}}]}}\n\
             - {{name: tcp, protocol: TCP, backends: [{{group: neg}}]}}\n\
             networkEndpointGroups:\n\
             - {{name: neg, networkEndpointType: INTERNET_IP_PORT, {endpoint}}}\n"
        )
    }

    /// An engine of one worker that is not run, so that a test may stop it with a grace of its own.
    fn engine(text: &str, grace: Span) -> Supervisor {
        let resolved = resolve::document(text);
        let config = resolved.config.map(Arc::new).unwrap_or_else(|| panic!("{:#?}", resolved.problems));
        let log = LogWriter::start(&AccessLogTarget::None).unwrap();
        let (mut supervisor, _) = prepare(&config, 1, Path::new("test"), Dns { server: None });
        supervisor.log = Some(log);
        supervisor.grace = grace;
        supervisor.workers = start_workers(&supervisor, 1, 7).unwrap();
        let opened = supervisor.open(&config.fronts, |_| None).unwrap();
        let world = supervisor.shared.world.load_full();
        supervisor.prober.reconcile(&world);
        supervisor.settle(&world, opened);
        supervisor.planners.adopt(&world);
        supervisor
    }

    #[tokio::test]
    async fn what_still_runs_when_the_grace_is_over_is_cut_and_counted() {
        use std::io::{Read as _, Write as _};
        // Takes connections and says nothing.
        let member = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut supervisor = engine(&document(member.local_addr().unwrap()), Span::millis(300));
        let fronts = supervisor.shared.listeners.load_full();
        let mut clients: Vec<_> =
            fronts.iter().map(|front| TcpStream::connect(front.bound).unwrap()).collect();
        for client in &mut clients {
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        }
        // Both have reached the member.
        let _reached = [member.accept().unwrap(), member.accept().unwrap()];
        let began = clock::now();
        supervisor.stop(Span::ZERO).await;
        assert!(clock::now().since(began) >= Span::millis(300), "it waits as long as it may");
        for (client, front) in clients.iter_mut().zip(fronts.iter()) {
            let mut rest = Vec::new();
            let end = client.read_to_end(&mut rest).map_err(|error| error.kind());
            assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
            assert!(&*front.name == "h" || end == Err(ErrorKind::ConnectionReset), "{}: {end:?}", front.name);
        }
        let process = &supervisor.shared.process;
        assert_eq!((process.sum(Traffic::Accepted), process.sum(Traffic::Closed)), (2, 2));
        let tcp =
            supervisor.shared.world.load().services.iter().find(|s| &**s.name() == "tcp").cloned().unwrap();
        assert_eq!(tcp.ledger.details(crate::model::detail::StatusDetail::ConnectionDrained), 1);
    }
}
