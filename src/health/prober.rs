//! Health checks of all members of all services that traffic can reach.
//!
//! One task per (service, member): a member that two services use is probed for each, as by Google, since each may
//! have a check of its own. A service without a forwarding rule is not probed [G 4.15].
//!
//! At start a member is UNKNOWN, which counts as UNHEALTHY, until it has passed `healthyThreshold` probes [G 4.13].
//! So that this takes a moment and not `healthyThreshold × checkIntervalSec`, probes of a member without a verdict
//! follow each other fast ([`schedule::QUICK_PAUSE`](super::schedule::QUICK_PAUSE)); that is ours.
//!
//! Over a reload the task of a member that stays goes on: its streak, its phase and its verdict are untouched, and a
//! changed check is handed to it. The last verdict stands until the new check has one.
//!
//! A probe that timed out while this process itself stood still (a paused machine, a starved container) is no verdict:
//! it is made again at once.
//!
//! At the limit: at most [`PROBES_AT_ONCE`] probes are under way; the rest waits its turn, and its time only starts
//! then, so that a crowd of dead members delays verdicts about the living and never falsifies them.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Interval, MissedTickBehavior};

use super::exchange::{Outcome, Tls, probe};
use super::schedule::Schedule;
use crate::balance::health::{Hysteresis, State};
use crate::clock;
use crate::ledger::member::{Health, Member, ProbeDetail};
use crate::ledger::registry::Numbered;
use crate::model::probe::HealthCheck;
use crate::model::service::Group;
use crate::model::unit::Span;
use crate::world::{LiveMember, LiveService, World};

/// Probes under way at once, each with a descriptor: enough for 1000 members that never answer within 5 s.
pub const PROBES_AT_ONCE: usize = 1024;

/// A timeout that is noticed so much too late says that this process stood still, not that the member is slow.
const STOOD_STILL: Span = Span::millis(250);

/// Probes in a row without a verdict for that reason; the next one counts, whatever it says.
const MAX_VOID: u32 = 2;
/// From a probe that could not be made, for want of descriptors, to the next try.
pub const RETRY: Span = Span::secs(1);

/// Owned by the supervisor, on the control runtime. Dropping it stops all probes.
#[derive(Debug)]
pub struct Prober {
    seed: u64,
    shared: Arc<Shared>,
    /// By the member's number.
    tasks: HashMap<u32, Task>,
    /// Verdicts of the process before, by the member's number, until the member's task starts.
    inherited: HashMap<u32, (Health, ProbeDetail)>,
}

/// Asks a member once. A value, so that tests can script the answers; boxed, so that a sleeping task is small.
type Ask =
    dyn Fn(Arc<HealthCheck>, SocketAddr) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync;

struct Shared {
    ask: Box<Ask>,
    on_change: Box<dyn Fn() + Send + Sync>,
    at_once: Semaphore,
    sweep: watch::Sender<Sweep>,
}

/// Members without their first result.
#[derive(Debug, Default)]
struct Sweep {
    open: usize,
    is_done: bool,
}

impl Prober {
    /// Probes nothing yet. `on_change` is called, on the control runtime, whenever a member has become healthy or
    /// stopped being so. `seed` sets the phases.
    #[must_use]
    pub fn new(seed: u64, on_change: impl Fn() + Send + Sync + 'static) -> Self {
        let tls = Tls::unverified();
        Self::with_ask(seed, on_change, move |check, serving| {
            let tls = tls.clone();
            Box::pin(async move { probe(&check, serving, &tls).await })
        })
    }

    fn with_ask(
        seed: u64,
        on_change: impl Fn() + Send + Sync + 'static,
        ask: impl Fn(Arc<HealthCheck>, SocketAddr) -> Pin<Box<dyn Future<Output = Outcome> + Send>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let shared = Shared {
            ask: Box::new(ask),
            on_change: Box::new(on_change),
            at_once: Semaphore::new(PROBES_AT_ONCE),
            sweep: watch::Sender::default(),
        };
        Self { seed, shared: Arc::new(shared), tasks: HashMap::new(), inherited: HashMap::new() }
    }

    /// Verdicts that another process has come to, by the member's number; call it before the first [`Self::reconcile`].
    /// Such a member has its verdict at once, and its next probe at its phase.
    pub fn inherit(&mut self, verdicts: impl IntoIterator<Item = (u32, Health, ProbeDetail)>) {
        self.inherited =
            verdicts.into_iter().map(|(number, health, detail)| (number, (health, detail))).collect();
    }

    /// Starts probes of members that are new in `world`, stops those of members that are gone, hands changed checks
    /// to the rest. Call it inside the control runtime, before traffic sees `world`.
    pub fn reconcile(&mut self, world: &World) {
        // Held until all are started, so that the sweep cannot end in between.
        let _starting = Pending::new(&self.shared);
        let reachable = || world.services.iter().filter(|s| s.config.is_reachable);
        let wanted = || reachable().filter_map(checked).flat_map(members_of);
        let unchecked = reachable().filter(|s| s.config.health_check.is_none()).flat_map(|s| s.members());
        // Those that are known by name wait for it to be resolved.
        for (.., member) in unchecked.filter(|(.., member)| member.config.host.is_none()) {
            member.numbered.member.assume_healthy();
        }
        let newcomers = wanted().filter(|(_, _, m)| !self.tasks.contains_key(&m.numbered.number)).count();
        let mut kept = HashMap::with_capacity(wanted().count());
        for ((service, check), group, member) in wanted() {
            let number = member.numbered.number;
            let task = match self.tasks.remove(&number) {
                Some(task) => task.updated(check),
                None => self.start((service, check), group, member, newcomers),
            };
            kept.insert(number, task);
        }
        self.tasks = kept;
        self.inherited.clear();
    }

    /// Whether the first sweep is over: since the first [`Self::reconcile`] there was a moment at which every member
    /// had its first verdict or had failed its first probe. Stays true: members that a reload brings do not make a
    /// running proxy unready.
    #[must_use]
    pub fn sweep_done(&self) -> bool {
        self.shared.sweep.borrow().is_done
    }

    /// Waits for [`Self::sweep_done`]. The future does not hold the prober.
    pub fn first_sweep(&self) -> impl Future<Output = ()> + Send + 'static {
        let (shared, mut sweep) = (self.shared.clone(), self.shared.sweep.subscribe());
        async move {
            // `shared` keeps the sender, so that this only ends with a finished sweep.
            let _ = sweep.wait_for(|s| s.is_done).await;
            drop(shared);
        }
    }

    fn start(
        &mut self,
        (service, check): Checked<'_>,
        group: &Group,
        member: &LiveMember,
        newcomers: usize,
    ) -> Task {
        let schedule = Schedule::new(self.seed, member.numbered.number);
        let inherited = self.inherited.remove(&member.numbered.number);
        let is_inherited = inherited.is_some();
        let mut hysteresis = Hysteresis::new(check.healthy_threshold, check.unhealthy_threshold);
        let (sender, receiver) = watch::channel(check.clone());
        if let Some((health, detail)) = inherited {
            let state = if health == Health::Healthy { State::Healthy } else { State::Unhealthy };
            hysteresis = hysteresis.resume(state, detail.succeeded, detail.streak);
            member.numbered.member.record_probe(health, detail);
        } else if member.numbered.member.health() != Health::Unknown {
            // A verdict from before a time without probes is worth nothing: the member begins anew.
            member.numbered.member.record_probe(Health::Unknown, ProbeDetail::default());
        }
        let watcher = Watcher {
            service: service.config.name.clone(),
            group: group.name.clone(),
            member: member.config.name.clone(),
            serving: member.config.address,
            numbered: member.numbered.clone(),
            shared: self.shared.clone(),
            checks: receiver,
            hysteresis,
            schedule,
            quick_left: if is_inherited { 0 } else { Schedule::quick_probes(check) },
            pending: (!is_inherited).then(|| Pending::new(&self.shared)),
        };
        let first = if is_inherited { schedule.phase(check.interval) } else { schedule.first(newcomers) };
        let handle = tokio::spawn(async move {
            tokio::time::sleep(first.to_std()).await;
            watcher.run().await;
        });
        Task { check: sender, handle: handle.abort_handle() }
    }
}

/// A service and the check of its members.
type Checked<'a> = (&'a LiveService, &'a Arc<HealthCheck>);

/// Services of internet endpoints have none [G 4.11].
fn checked(service: &Arc<LiveService>) -> Option<Checked<'_>> {
    Some((service, service.config.health_check.as_ref()?))
}

fn members_of(checked: Checked<'_>) -> impl Iterator<Item = (Checked<'_>, &Arc<Group>, &LiveMember)> {
    checked.0.members().map(move |(group, _, member)| (checked, group, member))
}

/// A running task as the prober holds it; dropping it ends the task, also in the middle of a probe.
#[derive(Debug)]
struct Task {
    check: watch::Sender<Arc<HealthCheck>>,
    handle: AbortHandle,
}

impl Task {
    fn updated(self, check: &Arc<HealthCheck>) -> Self {
        self.check.send_if_modified(|current| {
            let is_changed = current != check;
            current.clone_from(check);
            is_changed
        });
        self
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// A running task as it sees itself.
struct Watcher {
    service: Arc<str>,
    group: Arc<str>,
    member: Arc<str>,
    serving: SocketAddr,
    numbered: Arc<Numbered>,
    shared: Arc<Shared>,
    checks: watch::Receiver<Arc<HealthCheck>>,
    hysteresis: Hysteresis,
    schedule: Schedule,
    /// Fast probes that are left until the first verdict; 0 = the interval rules.
    quick_left: u32,
    /// Until this member's part of the first sweep is done.
    pending: Option<Pending>,
}

impl Watcher {
    async fn run(mut self) {
        let mut check = self.checks.borrow_and_update().clone();
        self.hysteresis.set_thresholds(check.healthy_threshold, check.unhealthy_threshold);
        let mut timer = every(&check);
        loop {
            tokio::select! {
                _ = timer.tick() => {}
                changed = self.checks.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    check = self.checks.borrow_and_update().clone();
                    self.hysteresis.set_thresholds(check.healthy_threshold, check.unhealthy_threshold);
                    timer = every(&check);
                    timer.reset_after(self.pause(&check).to_std());
                    continue;
                }
            }
            let outcome = self.ask(&check).await;
            let state = self.record(outcome);
            if self.quick_left > 0 {
                self.quick_left = if state == State::Undecided { self.quick_left - 1 } else { 0 };
                timer.reset_after(self.pause(&check).to_std());
            }
        }
    }

    fn pause(&self, check: &HealthCheck) -> Span {
        if self.quick_left > 0 {
            Schedule::quick(check.interval)
        } else {
            self.schedule.phase(check.interval)
        }
    }

    async fn ask(&self, check: &Arc<HealthCheck>) -> Outcome {
        let limit = check.timeout + STOOD_STILL;
        let mut void = 0;
        loop {
            let outcome = {
                // Never closed; were it, probing without a permit would be the lesser evil.
                let _permit = self.shared.at_once.acquire().await;
                (self.shared.ask)(check.clone(), self.serving).await
            };
            if outcome.is_ours {
                // Clients that use up our descriptors must not fell the members: the last verdict stands.
                tokio::time::sleep(RETRY.to_std()).await;
            } else if outcome.timed_out && outcome.latency >= limit && void < MAX_VOID {
                void += 1;
            } else {
                return outcome;
            }
        }
    }

    fn record(&mut self, outcome: Outcome) -> State {
        let state = self.hysteresis.record(outcome.success);
        let member = &self.numbered.member;
        let before = member.health();
        let now = detailed(state, before, &outcome);
        let detail = ProbeDetail {
            at: Some(clock::now()),
            succeeded: outcome.success,
            reason: outcome.reason,
            latency: outcome.latency,
            streak: self.hysteresis.streak(),
        };
        if is_transition(before, now) {
            self.tell(before, now, &detail.reason);
        }
        self.store(now, detail);
        if state != State::Undecided || !outcome.success || self.quick_left <= 1 {
            self.pending = None;
        }
        state
    }

    fn store(&self, health: Health, detail: ProbeDetail) {
        let member: &Member = &self.numbered.member;
        if member.record_probe(health, detail) {
            (self.shared.on_change)();
        }
    }

    fn tell(&self, before: Health, now: Health, reason: &str) {
        let (service, group, member) = (&*self.service, &*self.group, &*self.member);
        let (from, to) = (before.as_str(), now.as_str());
        if now == Health::Healthy {
            tracing::info!(service, group, member, from, to, reason, "member is healthy");
        } else {
            tracing::warn!(service, group, member, from, to, reason, "member is unhealthy");
        }
    }
}

/// The detailed state [G 4c]. While an unhealthy member works its way up, what felled it stays shown.
fn detailed(state: State, before: Health, outcome: &Outcome) -> Health {
    match state {
        State::Undecided => Health::Unknown,
        State::Healthy => Health::Healthy,
        State::Unhealthy if outcome.success && before == Health::Timeout => Health::Timeout,
        State::Unhealthy if outcome.timed_out => Health::Timeout,
        State::Unhealthy => Health::Unhealthy,
    }
}

/// Whether it is worth a line [G 4.17]: the basic state changed, or the first verdict is that the member is unhealthy.
/// Google writes no line for the latter [G 4.13]; we do, or a member that is down from the start would never be named.
fn is_transition(before: Health, now: Health) -> bool {
    before.basic() != now.basic() || (before == Health::Unknown && now != Health::Unknown)
}

/// Fires at once, then from start to start.
fn every(check: &HealthCheck) -> Interval {
    // Zero would panic in tokio; the validated range begins at a second.
    let mut timer = tokio::time::interval(check.interval.to_std().max(std::time::Duration::from_millis(1)));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

/// Counts as open in the sweep until dropped, also when its task is ended.
struct Pending(Arc<Shared>);

impl Pending {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.sweep.send_modify(|s| s.open += 1);
        Self(shared.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.sweep.send_if_modified(|s| {
            s.open = s.open.saturating_sub(1);
            let ends = s.open == 0 && !s.is_done;
            s.is_done |= ends;
            ends
        });
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("at_once", &self.at_once)
            .field("sweep", &self.sweep)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::super::fixture::{check, service, world};
    use super::super::schedule::QUICK_PAUSE;
    use super::*;
    use crate::ledger::registry::Registry;
    use crate::model::service::Service;

    /// Members that answer as scripted, and a record of who was asked when. Time is virtual.
    #[derive(Default)]
    struct Script {
        asked: Mutex<Vec<(SocketAddr, Instant)>>,
        /// Next answers of a member; when they run out, `rest`.
        answers: Mutex<HashMap<SocketAddr, VecDeque<Answer>>>,
        rest: Mutex<Answer>,
        takes: Mutex<Duration>,
        under_way: AtomicUsize,
        most_under_way: AtomicUsize,
        changes: AtomicUsize,
    }

    #[derive(Clone, Copy, PartialEq, Default)]
    enum Answer {
        #[default]
        Good,
        Bad,
        Late,
        /// Late, and found to be so only much later.
        StoodStill,
        NoDescriptor,
    }
    use Answer::{Bad, Good, Late, NoDescriptor, StoodStill};

    /// tokio's virtual time: the only clock of these tests.
    #[allow(clippy::disallowed_methods)]
    fn paused_now() -> Instant {
        Instant::now()
    }

    impl Script {
        fn prober(self: &Arc<Self>) -> Prober {
            let (asked, told) = (self.clone(), self.clone());
            Prober::with_ask(
                1,
                move || {
                    told.changes.fetch_add(1, SeqCst);
                },
                move |_, who| Box::pin(asked.clone().answer(who)),
            )
        }

        async fn answer(self: Arc<Self>, who: SocketAddr) -> Outcome {
            self.asked.lock().unwrap().push((who, paused_now()));
            let now = self.under_way.fetch_add(1, SeqCst) + 1;
            self.most_under_way.fetch_max(now, SeqCst);
            let takes = *self.takes.lock().unwrap();
            if !takes.is_zero() {
                sleep(takes).await;
            }
            self.under_way.fetch_sub(1, SeqCst);
            let next = self.answers.lock().unwrap().get_mut(&who).and_then(VecDeque::pop_front);
            let answer = next.unwrap_or(*self.rest.lock().unwrap());
            let reason = if answer == Good { "200 OK" } else { "scripted" }.to_owned();
            let latency = if answer == StoodStill { check().timeout + STOOD_STILL } else { Span::ZERO };
            Outcome {
                success: answer == Good,
                is_ours: answer == NoDescriptor,
                timed_out: matches!(answer, Late | StoodStill),
                reason,
                latency,
            }
        }

        fn will(&self, who: SocketAddr, answers: &[Answer]) {
            self.answers.lock().unwrap().entry(who).or_default().extend(answers);
        }

        fn then_all(&self, answer: Answer) {
            *self.rest.lock().unwrap() = answer;
        }

        fn starts(&self, who: SocketAddr) -> Vec<Instant> {
            self.asked.lock().unwrap().iter().filter(|(a, _)| *a == who).map(|(_, at)| *at).collect()
        }
    }

    fn address(n: usize) -> SocketAddr {
        let [.., high, low] = n.to_be_bytes();
        SocketAddr::from(([10, 0, high, low], 80))
    }

    fn addresses(count: usize) -> Vec<SocketAddr> {
        (0..count).map(address).collect()
    }

    fn web(members: &[SocketAddr]) -> Vec<Service> {
        vec![service("web", check(), members)]
    }

    fn health(world: &World, nth: usize) -> Health {
        world.services[0].backends[0].members[nth].numbered.member.health()
    }

    /// Lets virtual time pass.
    async fn pass(ms: u64) {
        sleep(Duration::from_millis(ms)).await;
    }

    /// Past the first verdict, which takes one fast pause with thresholds of 2.
    async fn first_verdict() {
        pass(QUICK_PAUSE.0 / 1_000_000 + 50).await;
    }

    /// [G 4.13]
    #[tokio::test(start_paused = true)]
    async fn a_new_member_is_unknown_until_it_has_passed_enough_probes_which_come_fast() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&[address(1)]), &mut registry);
        let mut prober = script.prober();
        assert_eq!(health(&world, 0), Health::Unknown);
        prober.reconcile(&world);
        pass(50).await;
        assert_eq!(
            (health(&world, 0), script.starts(address(1)).len()),
            (Health::Unknown, 1),
            "the first comes at once"
        );
        first_verdict().await;
        assert_eq!(health(&world, 0), Health::Healthy);
        assert_eq!(script.changes.load(SeqCst), 1);
        let detail = world.services[0].backends[0].members[0].numbered.member.probe_detail();
        assert_eq!((detail.succeeded, detail.reason.as_str(), detail.streak), (true, "200 OK", 2));
    }

    #[tokio::test(start_paused = true)]
    async fn probes_that_we_have_no_descriptor_for_decide_nothing_and_are_made_again() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&[address(1)]), &mut registry);
        let mut prober = script.prober();
        prober.reconcile(&world);
        first_verdict().await;
        script.then_all(NoDescriptor);
        pass(20_000).await;
        assert_eq!(health(&world, 0), Health::Healthy);
        let asked = script.starts(address(1)).len();
        script.then_all(Bad);
        pass(20_000).await;
        assert_eq!(health(&world, 0), Health::Unhealthy);
        assert!(asked > 8, "asked {asked} times in 20 s, {RETRY:?} apart");
    }

    #[tokio::test(start_paused = true)]
    async fn an_inherited_verdict_stands_at_once_with_its_streak_and_is_no_part_of_the_first_sweep() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&[address(1), address(2)]), &mut registry);
        let number = |nth: usize| world.services[0].backends[0].members[nth].numbered.number;
        script.then_all(Bad);
        let mut prober = script.prober();
        let well = ProbeDetail { succeeded: true, streak: 9, ..ProbeDetail::default() };
        // One more failure is the second in a row.
        let failed_once = ProbeDetail { succeeded: false, streak: 1, ..ProbeDetail::default() };
        prober.inherit([(number(0), Health::Healthy, well), (number(1), Health::Healthy, failed_once)]);
        prober.reconcile(&world);
        assert!(prober.sweep_done());
        assert_eq!([0, 1].map(|nth| health(&world, nth)), [Health::Healthy; 2]);
        // Within an interval each is asked once, at its phase.
        pass(check().interval.0 / 1_000_000).await;
        assert_eq!([1, 2].map(|n| script.starts(address(n)).len()), [1, 1]);
        assert_eq!([0, 1].map(|nth| health(&world, nth)), [Health::Healthy, Health::Unhealthy]);
    }

    /// [G 4.12]
    #[tokio::test(start_paused = true)]
    async fn results_in_a_row_change_the_state_and_an_opposite_one_starts_the_row_anew() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&[address(1)]), &mut registry);
        script.will(address(1), &[Good, Good, Bad, Good, Bad, Bad, Good, Bad, Good, Good]);
        let mut prober = script.prober();
        prober.reconcile(&world);
        let mut seen = Vec::new();
        while script.starts(address(1)).len() < 11 {
            pass(50).await;
            if seen.last() != Some(&health(&world, 0)) {
                seen.push(health(&world, 0));
            }
        }
        assert_eq!(seen, [Health::Unknown, Health::Healthy, Health::Unhealthy, Health::Healthy]);
        assert_eq!(script.changes.load(SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_while_this_process_stood_still_is_no_verdict_unless_it_goes_on() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&[address(1)]), &mut registry);
        script.will(address(1), &[Good, Good, StoodStill, StoodStill, Good, Bad, Bad]);
        let mut prober = script.prober();
        prober.reconcile(&world);
        while script.starts(address(1)).len() < 7 {
            assert_ne!(health(&world, 0), Health::Unhealthy);
            pass(50).await;
        }
        let starts = script.starts(address(1));
        assert_eq!((starts[2], starts[3]), (starts[4], starts[4]), "made again at once");
        assert_eq!(health(&world, 0), Health::Unhealthy);
        script.then_all(StoodStill);
        script.will(address(1), &[Good, Good]);
        pass(120_000).await;
        assert_eq!(health(&world, 0), Health::Timeout, "a process that always stands still has verdicts too");
    }

    /// [G 4a]
    #[tokio::test(start_paused = true)]
    async fn the_interval_runs_from_start_to_start() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&[address(1)]), &mut registry);
        *script.takes.lock().unwrap() = Duration::from_secs(2);
        let mut prober = script.prober();
        prober.reconcile(&world);
        pass(60_000).await;
        let starts = script.starts(address(1));
        assert!(starts.len() > 10);
        // After the two fast ones and the phase.
        for pair in starts[2..].windows(2) {
            assert_eq!((pair[1] - pair[0]).as_millis(), 5000);
        }
    }

    /// [G 4.15]
    #[tokio::test(start_paused = true)]
    async fn a_service_without_a_forwarding_rule_is_not_probed() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let mut services = web(&[address(1)]);
        services[0].is_reachable = false;
        let world = world(services, &mut registry);
        let mut prober = script.prober();
        prober.reconcile(&world);
        pass(60_000).await;
        assert!(script.starts(address(1)).is_empty());
        assert_eq!(health(&world, 0), Health::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_leaves_who_stays_undisturbed_starts_the_new_and_stops_the_gone() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let old = world(web(&[address(1), address(2)]), &mut registry);
        let mut prober = script.prober();
        prober.reconcile(&old);
        pass(20_000).await;
        let (stays, gone) = (script.starts(address(1)), script.starts(address(2)));
        let new = world(web(&[address(1), address(3)]), &mut registry);
        prober.reconcile(&new);
        assert_eq!(health(&new, 0), Health::Healthy);
        pass(20_000).await;
        assert_eq!(script.starts(address(2)).len(), gone.len());
        assert_eq!(health(&new, 1), Health::Healthy);
        let later = script.starts(address(1));
        assert_eq!(later.len(), stays.len() + 4);
        for pair in later[2..].windows(2) {
            assert_eq!((pair[1] - pair[0]).as_millis(), 5000, "the phase is kept");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_streak_lives_on_over_a_reload() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let old = world(web(&[address(1)]), &mut registry);
        let mut prober = script.prober();
        prober.reconcile(&old);
        first_verdict().await;
        script.then_all(Bad);
        while script.starts(address(1)).len() < 3 {
            pass(50).await;
        }
        let new = world(web(&[address(1)]), &mut registry);
        prober.reconcile(&new);
        assert_eq!(health(&new, 0), Health::Healthy, "one failure is not enough");
        pass(5000).await;
        assert_eq!(health(&new, 0), Health::Unhealthy, "the failure before the reload counts");
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_check_reaches_the_running_task_and_the_verdict_stands() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let slow = HealthCheck { interval: Span::secs(300), ..check() };
        let old = world(vec![service("web", slow, &[address(1)])], &mut registry);
        let mut prober = script.prober();
        prober.reconcile(&old);
        first_verdict().await;
        let strict = HealthCheck { interval: Span::secs(1), unhealthy_threshold: 1, ..check() };
        let new = world(vec![service("web", strict, &[address(1)])], &mut registry);
        prober.reconcile(&new);
        script.then_all(Bad);
        assert_eq!(health(&new, 0), Health::Healthy);
        pass(1001).await;
        assert_eq!(health(&new, 0), Health::Unhealthy, "one failure decides, within the new interval");
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_comes_back_begins_anew() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let with = world(web(&[address(1)]), &mut registry);
        let without = world(web(&[]), &mut registry);
        let mut prober = script.prober();
        prober.reconcile(&with);
        first_verdict().await;
        assert_eq!(health(&with, 0), Health::Healthy);
        prober.reconcile(&without);
        prober.reconcile(&with);
        assert_eq!(health(&with, 0), Health::Unknown);
        first_verdict().await;
        assert_eq!(health(&with, 0), Health::Healthy);
    }

    /// [G 4.14]
    #[tokio::test(start_paused = true)]
    async fn an_unhealthy_member_goes_on_being_probed_and_recovers_by_itself() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&[address(1)]), &mut registry);
        script.then_all(Late);
        let mut prober = script.prober();
        prober.reconcile(&world);
        first_verdict().await;
        assert_eq!(health(&world, 0), Health::Timeout);
        assert_eq!(script.changes.load(SeqCst), 0, "it was UNHEALTHY before, too");
        script.then_all(Good);
        while script.starts(address(1)).len() < 3 {
            pass(50).await;
        }
        assert_eq!(health(&world, 0), Health::Timeout, "one success is not enough");
        pass(5000).await;
        assert_eq!(health(&world, 0), Health::Healthy);
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_wavers_from_the_start_falls_back_to_its_interval() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&[address(1)]), &mut registry);
        script.will(address(1), &[Good, Bad].repeat(1000));
        let mut prober = script.prober();
        prober.reconcile(&world);
        pass(60_000).await;
        let probes = script.starts(address(1)).len();
        assert!((14..=17).contains(&probes), "4 fast ones, then one in 5 s: {probes}");
        assert!(prober.sweep_done());
    }

    #[tokio::test(start_paused = true)]
    async fn the_sweep_is_done_when_every_member_has_a_verdict_or_failed_its_first_probe() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&addresses(2)), &mut registry);
        script.will(address(0), &[Bad]);
        let mut prober = script.prober();
        assert!(!prober.sweep_done(), "nothing was asked for yet");
        prober.reconcile(&world);
        pass(50).await;
        assert!(!prober.sweep_done(), "one success of two");
        prober.first_sweep().await;
        assert!(prober.sweep_done());
        assert_eq!((health(&world, 0), health(&world, 1)), (Health::Unknown, Health::Healthy));
    }

    #[tokio::test(start_paused = true)]
    async fn the_sweep_of_nobody_is_done_and_stays_done_when_members_come() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let mut prober = script.prober();
        prober.reconcile(&world(web(&[]), &mut registry));
        assert!(prober.sweep_done());
        prober.reconcile(&world(web(&[address(1)]), &mut registry));
        assert!(prober.sweep_done());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_ends_when_the_last_open_member_leaves() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        *script.takes.lock().unwrap() = Duration::from_secs(3600);
        let mut prober = script.prober();
        prober.reconcile(&world(web(&[address(1)]), &mut registry));
        pass(1000).await;
        assert!(!prober.sweep_done());
        prober.reconcile(&world(web(&[]), &mut registry));
        prober.first_sweep().await;
        assert!(prober.sweep_done());
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_members_are_judged_within_a_second_and_never_probed_in_lockstep() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&addresses(10_000)), &mut registry);
        *script.takes.lock().unwrap() = Duration::from_millis(2);
        let mut prober = script.prober();
        let began = paused_now();
        prober.reconcile(&world);
        prober.first_sweep().await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert!((0..10_000).all(|nth| health(&world, nth) == Health::Healthy));
        pass(5000).await;
        script.asked.lock().unwrap().clear();
        let mark = paused_now();
        pass(5000).await;
        let mut tenths = [0_usize; 10];
        for (_, at) in script.asked.lock().unwrap().iter() {
            tenths[usize::try_from((*at - mark).as_millis() / 500).unwrap().min(9)] += 1;
        }
        assert!(tenths.iter().all(|n| (800..1200).contains(n)), "seed 1: {tenths:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_limit_is_under_way_at_once() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&addresses(3000)), &mut registry);
        *script.takes.lock().unwrap() = Duration::from_secs(5);
        let mut prober = script.prober();
        prober.reconcile(&world);
        pass(30_000).await;
        assert_eq!(script.most_under_way.load(SeqCst), PROBES_AT_ONCE);
        assert!(addresses(3000).iter().all(|a| !script.starts(*a).is_empty()), "everyone gets a turn");
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_prober_stops_everything() {
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&addresses(10)), &mut registry);
        let mut prober = script.prober();
        prober.reconcile(&world);
        first_verdict().await;
        drop(prober);
        script.asked.lock().unwrap().clear();
        pass(60_000).await;
        assert!(script.asked.lock().unwrap().is_empty());
    }

    /// [G 4.17]
    #[tokio::test(start_paused = true)]
    async fn one_line_is_written_per_change_of_state_and_none_in_between() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let (script, mut registry) = (Arc::new(Script::default()), Registry::new(1));
        let world = world(web(&[address(1)]), &mut registry);
        script.will(address(1), &[Good, Good, Good, Good, Late, Late, Late, Bad]);
        let mut prober = script.prober();
        prober.reconcile(&world);
        // Another test may have met the same line a moment ago, when nobody listened yet.
        tracing::callsite::rebuild_interest_cache();
        pass(120_000).await;
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let transitions: Vec<&str> =
            text.lines().filter_map(|l| l.split_once("from=")).map(|(_, t)| t).collect();
        assert_eq!(
            transitions,
            [
                "\"UNKNOWN\" to=\"HEALTHY\" reason=\"200 OK\"",
                "\"HEALTHY\" to=\"TIMEOUT\" reason=\"scripted\"",
                "\"UNHEALTHY\" to=\"HEALTHY\" reason=\"200 OK\"",
            ]
        );
        assert!(text.contains("service=\"web\" group=\"group\" member=\"10.0.0.1:80\""), "{text}");
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
