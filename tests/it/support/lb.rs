//! The real engine in this process, on ports that the system chooses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use overspill::admin::AdminServer;
use overspill::balance::pick::Reason;
use overspill::balance::plan::Figures;
use overspill::engine::handle::{Applied, Handle, Refused};
use overspill::engine::start::{Overrides, start_resolved};
use overspill::ledger::member::Health;
use overspill::ledger::process::Traffic;
use overspill::ledger::service::{Extra, Loss};
use overspill::model::config::Config;
use overspill::model::detail::StatusDetail;
use overspill::model::policy::Policies;
use overspill::model::resolve;
use overspill::source::store::Store;
use overspill::telemetry::metrics;
use serde_json::Value;
use tokio::runtime;
use tokio::sync::oneshot;

use super::client::{Answer, Client};
use super::wait_until;

/// A running balancer. Dropping it stops it and checks that nothing was left behind.
pub(crate) struct Lb {
    pub(crate) handle: Handle,
    /// Begins with the text that was started; knows nothing of a reload.
    pub(crate) store: Store,
    runtime: runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lb {
    /// With two workers, ready to serve: listeners bound, first health sweep done, plans made.
    #[track_caller]
    pub(crate) fn start(yaml: &str) -> Self {
        Self::with_workers(yaml, 2)
    }

    #[track_caller]
    pub(crate) fn with_workers(yaml: &str, workers: usize) -> Self {
        match Self::try_start(yaml, workers) {
            Ok(lb) => lb.when_ready(),
            Err(refused) => panic!("refused: {:#?}\n{yaml}", refused.problems),
        }
    }

    /// With other policies of all services than the text says.
    #[track_caller]
    pub(crate) fn with_policies(yaml: &str, workers: usize, edit: impl Fn(&mut Policies)) -> Self {
        let mut config = resolve::document(yaml).config.expect("a good document");
        for service in &mut config.services {
            edit(&mut Arc::make_mut(service).policies);
        }
        match Self::try_start_resolved(
            yaml,
            config,
            Overrides { workers: Some(workers), ..Overrides::default() },
        ) {
            Ok(lb) => lb.when_ready(),
            Err(refused) => panic!("refused: {:#?}\n{yaml}", refused.problems),
        }
    }

    #[track_caller]
    fn when_ready(self) -> Self {
        wait_until("the balancer is ready", || self.handle.is_ready());
        // A first probe that a busy machine let fail leaves a member without a verdict.
        if !self.all_judged() {
            wait_until("every member has its verdict", || self.all_judged());
            self.wait_tick();
        }
        self
    }

    fn all_judged(&self) -> bool {
        let world = self.handle.world();
        let probed =
            world.services.iter().filter(|s| s.config.is_reachable && s.config.health_check.is_some());
        probed.flat_map(|s| s.members()).all(|(.., m)| m.numbered.member.health() != Health::Unknown)
    }

    /// Waits until the planner has seen what is so now.
    #[track_caller]
    pub(crate) fn wait_tick(&self) {
        let world = self.handle.world();
        let Some(backend) = world.services.iter().flat_map(|s| &s.backends).next() else { return };
        // It shows new figures at each tick; the first to come may be of one that began before.
        for _ in 0..2 {
            let shown = &backend.ledger.shown;
            shown.store(Figures { rate: -1.0, ..shown.read() });
            wait_until("the planner has its turn", || shown.read().rate >= 0.0);
        }
    }

    pub(crate) fn try_start(yaml: &str, workers: usize) -> Result<Self, Refused> {
        Self::try_start_with(yaml, Overrides { workers: Some(workers), ..Overrides::default() })
    }

    pub(crate) fn try_start_with(yaml: &str, overrides: Overrides) -> Result<Self, Refused> {
        let resolved = resolve::document(yaml);
        match resolved.config {
            Some(config) => Self::try_start_resolved(yaml, config, overrides),
            None => Err(Refused { problems: resolved.problems }),
        }
    }

    fn try_start_resolved(yaml: &str, config: Config, overrides: Overrides) -> Result<Self, Refused> {
        // All tests of this process share its descriptors, and one of them holds thousands.
        rlimit::increase_nofile_limit(u64::MAX).unwrap();
        let (started, result) = mpsc::channel();
        let config = Arc::new(config);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let overrides = Overrides { seed: Some(7), ..overrides };
                runtime.block_on(async {
                    let engine = start_resolved(config, Path::new("test.yaml"), overrides).await;
                    let is_refused = engine.is_err();
                    started.send((engine, runtime.handle().clone())).unwrap();
                    if !is_refused {
                        let _ = stopped.await;
                    }
                });
            })
            .unwrap();
        let (engine, runtime) = result.recv().unwrap();
        engine.map(|handle| {
            let store = Store::in_memory(handle.clone(), Path::new("test.yaml"), yaml.to_owned());
            Self { handle, store, runtime, stop: Some(stop), thread: Some(thread) }
        })
    }

    /// Where the first forwarding rule listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.listeners().first().expect("a listener").bound
    }

    /// Where this forwarding rule listens.
    pub(crate) fn front(&self, name: &str) -> SocketAddr {
        let listeners = self.handle.listeners();
        listeners.iter().find(|l| &*l.name == name).expect("a listener of that name").bound
    }

    pub(crate) fn client(&self) -> Client {
        Client::to(self.address())
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.client().get(path)
    }

    /// A client whose request is on its way.
    pub(crate) fn sent(&self, path: &str) -> Client {
        let mut client = self.client();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        client
    }

    pub(crate) fn try_reload(&self, yaml: &str) -> Result<Applied, Refused> {
        self.runtime.block_on(self.handle.apply(yaml.to_owned(), Path::new("test.yaml")))
    }

    #[track_caller]
    pub(crate) fn reload(&self, yaml: &str) -> Applied {
        match self.try_reload(yaml) {
            Ok(applied) => applied,
            Err(refused) => panic!("refused: {:#?}\n{yaml}", refused.problems),
        }
    }

    /// Stops as SIGTERM does; returns when all running requests have ended.
    pub(crate) fn stop(&self) {
        self.runtime.block_on(self.handle.stop());
    }

    /// Stops as the old process of an upgrade does.
    pub(crate) fn retire(&self) {
        self.runtime.block_on(self.handle.retire());
    }

    /// Its admin server, on a port that the system chooses.
    pub(crate) fn admin(&self) -> AdminServer {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        self.runtime.block_on(AdminServer::start(self.handle.clone(), self.store.clone(), address)).unwrap()
    }

    /// `/status`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        serde_json::from_slice(&Client::to_admin(self.admin().address()).get("/status").body).unwrap()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&metrics::page(&self.handle))
    }

    /// Requests placed for this reason, on all groups.
    pub(crate) fn picks(&self, reason: Reason) -> f64 {
        self.metrics().sum("overspill_picks_total", &[&format!("reason=\"{}\"", reason.as_str())])
    }

    /// Requests that ended with this word, with a service and without.
    pub(crate) fn ended(&self, detail: StatusDetail) -> u64 {
        let services = self.handle.world().services.iter().map(|s| s.ledger.details(detail)).sum::<u64>();
        services + self.handle.process().details(detail)
    }

    #[track_caller]
    pub(crate) fn wait_ended(&self, detail: StatusDetail, times: u64) {
        wait_until(&format!("{times} × {}", detail.as_str()), || self.ended(detail) >= times);
        assert_eq!(self.ended(detail), times, "{}", detail.as_str());
    }

    /// Waits until samples add up to `want`, which they do when the last request is counted; more is a failure.
    #[track_caller]
    pub(crate) fn wait_sum(&self, name: &str, labels: &[&str], want: f64) {
        wait_until(&format!("{name} {labels:?} is {want}"), || self.metrics().sum(name, labels) >= want);
        assert_eq!(self.metrics().sum(name, labels), want, "{name} {labels:?}");
    }

    pub(crate) fn losses(&self, loss: Loss) -> u64 {
        self.handle.world().services.iter().map(|s| s.ledger.losses(loss)).sum()
    }

    pub(crate) fn extra(&self, what: Extra) -> u64 {
        self.handle.world().services.iter().map(|s| s.ledger.extra(what)).sum()
    }

    /// Attempts under way on all members.
    pub(crate) fn in_flight(&self) -> u64 {
        let world = self.handle.world();
        world.services.iter().flat_map(|s| s.members()).map(|(.., m)| m.numbered.member.in_flight()).sum()
    }

    pub(crate) fn panics(&self) -> u64 {
        self.handle.process().sum(Traffic::Panics)
    }

    pub(crate) fn open_connections(&self) -> u64 {
        let process = self.handle.process();
        process.sum(Traffic::Accepted).saturating_sub(process.sum(Traffic::Closed))
    }

    pub(crate) fn is_healthy(&self, member: &str) -> bool {
        let world = self.handle.world();
        world
            .services
            .iter()
            .flat_map(|s| s.members())
            .any(|(.., m)| &*m.config.name == member && m.is_healthy())
    }

    #[track_caller]
    pub(crate) fn wait_health(&self, member: &str, is_healthy: bool) {
        wait_until(&format!("{member} healthy = {is_healthy}"), || self.is_healthy(member) == is_healthy);
        // The planner is woken by a change; its plan is there when its next tick is.
        wait_until("the plan follows", || self.plan_has(member) == is_healthy);
    }

    pub(crate) fn plan_has(&self, member: &str) -> bool {
        let world = self.handle.world();
        world.services.iter().any(|service| {
            let plan = service.plan.load();
            plan.backends.iter().zip(&service.backends).any(|(planned, live)| {
                planned
                    .members
                    .iter()
                    .any(|m| live.members.get(*m as usize).is_some_and(|m| &*m.config.name == member))
            })
        })
    }
}

impl Drop for Lb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            wait_until("no attempt is under way", || self.in_flight() == 0);
            assert_eq!(self.panics(), 0, "a connection panicked");
        }
        // Without a stop the workers end when their commands' sender does: at once.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Samples of a scrape, by name with labels.
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    fn parse(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// Sum of all samples of this name whose labels contain all of `labels`, each written `name="value"`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of =
            |key: &str| key.split('{').next() == Some(name) && labels.iter().all(|label| key.contains(label));
        self.0.iter().filter(|(key, _)| of(key)).map(|(_, value)| value).sum()
    }
}
