//! Looks up the host names of internet endpoints, and again when their TTL is over [G 1.5, 4.11].
//!
//! One task per name. What was found goes to the endpoints of all members with that name; a lookup that fails changes
//! nothing but what is shown, so that a resolver that is down takes nobody out. Members by name are not probed: one
//! gets requests as soon as its name has led somewhere, and not before.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::clock;
use crate::ledger::endpoint::Endpoint;
use crate::ledger::registry::Numbered;
use crate::model::unit::Span;
use crate::net::dns::Dns;
use crate::world::World;

/// From a lookup that failed to the next.
pub const RETRY: Span = Span::secs(5);

/// Owned by the supervisor, on the control runtime. Dropping it stops all lookups.
#[derive(Debug)]
pub struct Names {
    shared: Arc<Shared>,
    tasks: HashMap<Arc<str>, Task>,
}

struct Shared {
    dns: Dns,
    on_change: Box<dyn Fn() + Send + Sync>,
    /// Names without their first result.
    open: watch::Sender<usize>,
}

/// Members with one name.
type Targets = Vec<Target>;

#[derive(Debug)]
struct Target {
    endpoint: Arc<Endpoint>,
    member: Arc<Numbered>,
}

/// A running task as its owner holds it; dropping it ends the task.
#[derive(Debug)]
struct Task {
    targets: watch::Sender<Targets>,
    handle: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Names {
    /// Looks up nothing yet. `on_change` is called, on the control runtime, when a member's name has led somewhere for
    /// the first time.
    #[must_use]
    pub fn new(dns: Dns, on_change: impl Fn() + Send + Sync + 'static) -> Self {
        let shared = Shared { dns, on_change: Box::new(on_change), open: watch::Sender::default() };
        Self { shared: Arc::new(shared), tasks: HashMap::new() }
    }

    /// Starts, keeps and stops lookups so that they fit `world`. Call it inside the control runtime, before traffic
    /// sees `world`.
    pub fn reconcile(&mut self, world: &World) {
        let mut wanted: HashMap<Arc<str>, Targets> = HashMap::new();
        for service in world.services.iter().filter(|service| service.config.is_reachable) {
            for (.., member) in service.members() {
                let Some(host) = &member.config.host else { continue };
                let target = Target { endpoint: member.endpoint.clone(), member: member.numbered.clone() };
                // Its endpoint may be known already: from another service, or from before.
                target.admit();
                wanted.entry(host.clone()).or_default().push(target);
            }
        }
        let mut kept = HashMap::with_capacity(wanted.len());
        for (host, targets) in wanted {
            let task = match self.tasks.remove(&host) {
                Some(task) => task.updated(targets),
                None => self.start(&host, targets),
            };
            kept.insert(host, task);
        }
        self.tasks = kept;
    }

    /// Waits until each name of the first world has its first result, good or bad. The future does not hold this.
    pub fn first_round(&self) -> impl Future<Output = ()> + Send + 'static {
        let (shared, mut open) = (self.shared.clone(), self.shared.open.subscribe());
        async move {
            // `shared` keeps the sender, so that this only ends when none is open.
            let _ = open.wait_for(|open| *open == 0).await;
            drop(shared);
        }
    }

    fn start(&self, host: &Arc<str>, targets: Targets) -> Task {
        let (sender, receiver) = watch::channel(targets);
        let pending = Pending::new(&self.shared);
        let task = run(host.clone(), receiver, self.shared.clone(), pending);
        Task { targets: sender, handle: tokio::spawn(task).abort_handle() }
    }
}

impl Task {
    /// Only other members are news.
    fn updated(self, targets: Targets) -> Self {
        self.targets.send_if_modified(|current| {
            let is_same = current.len() == targets.len()
                && current.iter().zip(&targets).all(|(one, other)| one.is_same_as(other));
            *current = targets;
            !is_same
        });
        self
    }
}

impl Target {
    fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.endpoint, &other.endpoint) && Arc::ptr_eq(&self.member, &other.member)
    }

    /// Lets requests go there if the name leads somewhere; whether that is new.
    fn admit(&self) -> bool {
        let is_known = self.endpoint.resolution.as_ref().is_some_and(|resolution| resolution.is_known());
        let is_new = is_known && !self.member.member.is_healthy();
        if is_new {
            self.member.member.assume_healthy();
        }
        is_new
    }
}

/// Looks one name up until it is stopped: at once, when its answer is over, and when other members come.
async fn run(host: Arc<str>, mut targets: watch::Receiver<Targets>, shared: Arc<Shared>, pending: Pending) {
    let mut pending = Some(pending);
    let mut is_missing = false;
    loop {
        let answer = shared.dns.look_up(&host).await;
        let now = clock::now();
        let pause = answer.as_ref().map_or(RETRY, |found| found.ttl);
        let complaint = answer.as_ref().err();
        match (complaint, is_missing) {
            (Some(reason), false) => tracing::warn!(%host, reason, "host name not resolved"),
            (None, true) => tracing::info!(%host, "host name is resolved again"),
            _ => {}
        }
        is_missing = complaint.is_some();
        let mut is_new = false;
        for target in targets.borrow_and_update().iter() {
            if let Some(resolution) = &target.endpoint.resolution {
                match &answer {
                    Ok(found) => resolution.found(found.addresses.clone(), found.ttl, now),
                    Err(reason) => resolution.failed(reason.clone()),
                }
            }
            is_new |= target.admit();
        }
        if is_new {
            (shared.on_change)();
        }
        drop(pending.take());
        tokio::select! {
            () = tokio::time::sleep(pause.to_std()) => {}
            changed = targets.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Counts as open in the first round until dropped, also when its task is ended.
struct Pending(Arc<Shared>);

impl Pending {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.send_modify(|open| *open += 1);
        Self(shared.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("dns", &self.dns).field("open", &self.open).finish_non_exhaustive()
    }
}
