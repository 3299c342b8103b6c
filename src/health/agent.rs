//! Fetches the utilization of members that do not report it in response headers.
//!
//! Only for groups that a backend of a reachable service goes by, in UTILIZATION or CUSTOM_METRICS, or whose members a
//! service weighs by polled reports (WEIGHTED_ROUND_ROBIN): nobody else would read it. Load belongs
//! to the machine, so an endpoint is asked once however many services use it; if two groups want it fetched
//! differently, the first in the file wins. An endpoint that does not answer has no new report, and the
//! planner treats a report that has grown old as unknown; nothing is made up here.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::fetch::{Get, Progress, get, within};
use super::local_process::{Reading, Sampler, Target};
use super::prometheus::{Pages, Unread};
use super::schedule::Schedule;
use crate::balance::report::parse_body;
use crate::balance::weights;
use crate::clock;
use crate::ledger::endpoint::Endpoint;
use crate::ledger::gauge::{self, Metric};
use crate::ledger::member::Member;
use crate::model::policy::Locality;
use crate::model::service::{Protocol, Service, UtilizationSource};
use crate::model::unit::Span;
use crate::net::tls;
use crate::world::{LiveMember, World};

/// Longest wait for a polled report, or the interval if that is shorter.
pub const POLL_TIMEOUT: Span = Span::secs(5);

/// Largest polled report, in bytes; of a larger one the rest is not read, and it counts as malformed.
pub const REPORT_LIMIT: usize = 64 * 1024;

/// Largest metrics page, in bytes; a larger one counts as malformed.
pub const PAGE_LIMIT: usize = 4 * 1024 * 1024;

/// Polls under way at once; the rest waits its turn.
pub const POLLS_AT_ONCE: usize = 256;

/// Owned by the supervisor, on the control runtime. Dropping it stops all polling.
#[derive(Debug)]
pub struct Agents {
    seed: u64,
    started: u32,
    shared: Arc<Shared>,
    polls: HashMap<SocketAddr, Running<Poll>>,
    local: Option<Running<watch::Sender<Locals>>>,
}

#[derive(Debug)]
struct Shared {
    tls: Arc<ClientConfig>,
    at_once: Semaphore,
}

/// A task with what the owner knows of it; dropping it ends the task.
#[derive(Debug)]
struct Running<T> {
    what: T,
    handle: AbortHandle,
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// An endpoint that is polled.
#[derive(Debug, Clone)]
struct Poll {
    target: SocketAddr,
    path: Arc<str>,
    interval: Span,
    over_tls: bool,
    what: What,
    endpoint: Arc<Endpoint>,
    /// What else is read from its reports.
    metrics: Arc<[Metric]>,
    /// Who is weighed by them.
    weighed: Vec<Weighed>,
}

/// A member of a service that takes members in turn by weight, with the metrics that the service names [G 1.45].
#[derive(Debug, Clone)]
struct Weighed {
    member: Arc<Member>,
    by: Vec<Arc<str>>,
}

impl Weighed {
    fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.member, &other.member) && self.by == other.by
    }
}

/// What is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A load report.
    Report,
    /// A metrics page with this gauge, or with the counters of a node exporter.
    Page(Option<Arc<str>>),
}

impl Poll {
    fn is_same_as(&self, other: &Self) -> bool {
        let settings = |p: &Self| (p.target, p.path.clone(), p.interval, p.over_tls, p.what.clone());
        let gauges = |p: &Self| p.metrics.iter().map(|m| Arc::as_ptr(&m.gauge)).collect::<Vec<_>>();
        settings(self) == settings(other)
            && Arc::ptr_eq(&self.endpoint, &other.endpoint)
            && gauges(self) == gauges(other)
            && self.weighed.len() == other.weighed.len()
            && self.weighed.iter().zip(&other.weighed).all(|(one, other)| one.is_same_as(other))
    }
}

/// The members on this host, with where their readings go.
type Locals = Arc<Vec<(Target, Arc<Endpoint>)>>;

impl Agents {
    /// Asks nobody yet. `seed` sets the phases of the polls.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let shared = Shared { tls: tls::unverified(), at_once: Semaphore::new(POLLS_AT_ONCE) };
        Self { seed, started: 0, shared: Arc::new(shared), polls: HashMap::new(), local: None }
    }

    /// Starts, keeps and stops polls so that they fit `world`. Call it inside the control runtime.
    pub fn reconcile(&mut self, world: &World) {
        let Wanted { polls, locals } = Wanted::of(world);
        let newcomers = polls.keys().filter(|a| !self.polls.contains_key(a)).count();
        let mut kept = HashMap::with_capacity(polls.len());
        for (address, poll) in polls {
            let running = match self.polls.remove(&address) {
                Some(running) if running.what.is_same_as(&poll) => running,
                _ => self.start(poll, newcomers),
            };
            kept.insert(address, running);
        }
        self.polls = kept;
        self.watch_locals(locals.into_values().collect());
    }

    fn start(&mut self, poll: Poll, newcomers: usize) -> Running<Poll> {
        self.started = self.started.wrapping_add(1);
        let schedule = Schedule::new(self.seed, self.started);
        let task = run_poll(poll.clone(), self.shared.clone(), schedule, newcomers);
        Running { what: poll, handle: tokio::spawn(task).abort_handle() }
    }

    fn watch_locals(&mut self, locals: Vec<(Target, Arc<Endpoint>)>) {
        if locals.is_empty() {
            self.local = None;
        } else if let Some(running) = &self.local {
            running.what.send_replace(Arc::new(locals));
        } else {
            let (sender, receiver) = watch::channel(Arc::new(locals));
            self.local =
                Some(Running { what: sender, handle: tokio::spawn(run_locals(receiver)).abort_handle() });
        }
    }
}

/// What a world wants fetched.
#[derive(Debug, Default)]
struct Wanted {
    polls: HashMap<SocketAddr, Poll>,
    locals: HashMap<SocketAddr, (Target, Arc<Endpoint>)>,
}

impl Wanted {
    fn of(world: &World) -> Self {
        let mut wanted = Self::default();
        for service in world.services.iter().filter(|s| s.config.is_reachable) {
            for (backend, live) in service.config.backends.iter().zip(&service.backends) {
                let source = &backend.group.utilization;
                let is_weighed = is_weighed(&service.config, source);
                if backend.mode.is_reported() || is_weighed {
                    live.members.iter().for_each(|member| wanted.add(&service.config, source, member));
                }
            }
        }
        wanted
    }

    fn add(&mut self, service: &Service, source: &UtilizationSource, member: &LiveMember) {
        let address = member.config.address;
        if self.polls.contains_key(&address) || self.locals.contains_key(&address) {
            return self.weigh(service, source, member);
        }
        match source {
            UtilizationSource::OrcaHeader => {}
            UtilizationSource::Http { port, path, interval } => {
                let how = (path, *interval, What::Report);
                self.polls.insert(address, poll_of(service, member, *port, how));
            }
            UtilizationSource::Prometheus { port, path, metric, interval } => {
                let how = (path, *interval, What::Page(metric.clone()));
                self.polls.insert(address, poll_of(service, member, *port, how));
            }
            UtilizationSource::LocalProcess { cores, interval } => {
                let target = Target { address, cores: *cores, interval: *interval };
                self.locals.insert(address, (target, member.endpoint.clone()));
            }
        }
        self.weigh(service, source, member);
    }

    /// Has the member weighed by what its endpoint is asked for, where its service wants that.
    fn weigh(&mut self, service: &Service, source: &UtilizationSource, member: &LiveMember) {
        let poll = self.polls.get_mut(&member.config.address).filter(|_| is_weighed(service, source));
        if let Some(poll) = poll {
            let by = service.policies.weight_metrics.clone();
            poll.weighed.push(Weighed { member: member.numbered.member.clone(), by });
        }
    }
}

/// Whether polled reports weigh the service's members. A metrics page has no requests per second, which a weight needs.
fn is_weighed(service: &Service, source: &UtilizationSource) -> bool {
    service.policies.locality == Locality::WeightedRoundRobin
        && matches!(source, UtilizationSource::Http { .. })
}

/// The serving port speaks what the service speaks; a port of its own speaks plain HTTP.
fn poll_of(
    service: &Service,
    member: &LiveMember,
    port: Option<u16>,
    (path, interval, what): (&Arc<str>, Span, What),
) -> Poll {
    let serving = member.config.address;
    Poll {
        target: SocketAddr::new(serving.ip(), port.unwrap_or(serving.port())),
        path: path.clone(),
        interval,
        what,
        over_tls: port.is_none() && service.protocol == Protocol::Https,
        endpoint: member.endpoint.clone(),
        metrics: member.heard.clone(),
        weighed: Vec::new(),
    }
}

/// Polls one endpoint until it is stopped: at once, then at a phase of its own, then from start to start.
async fn run_poll(poll: Poll, shared: Arc<Shared>, schedule: Schedule, newcomers: usize) {
    tokio::time::sleep(schedule.first(newcomers).to_std()).await;
    let mut timer = tokio::time::interval(poll.interval.to_std().max(std::time::Duration::from_millis(1)));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut voice = Voice::default();
    let mut is_first = true;
    let mut pages = Pages::default();
    loop {
        timer.tick().await;
        let complaint = {
            let _permit = shared.at_once.acquire().await;
            ask(&poll, &shared.tls, &mut pages).await.err()
        };
        voice.hear(poll.target, complaint.as_deref());
        if std::mem::take(&mut is_first) {
            timer.reset_after(schedule.phase(poll.interval).to_std());
        }
    }
}

/// One poll; the error is for people.
async fn ask(poll: &Poll, tls: &Arc<ClientConfig>, pages: &mut Pages) -> Result<(), String> {
    let body_limit = match poll.what {
        What::Report => REPORT_LIMIT,
        What::Page(_) => PAGE_LIMIT,
    };
    let request = Get {
        target: poll.target,
        tls: poll.over_tls.then_some(tls),
        sends_proxy_header: false,
        host: None,
        path: &poll.path,
        body_limit,
        until: None,
    };
    let progress = Progress::default();
    let limit = POLL_TIMEOUT.min(poll.interval);
    let answer = within(limit, &progress, get(&request, &progress)).await.map_err(|f| f.reason)?;
    if answer.status != http::StatusCode::OK {
        return Err(format!("answered {}", answer.status.as_u16()));
    }
    match &poll.what {
        What::Report => take_report(poll, &answer.body),
        What::Page(metric) => take_page(poll, &answer.body, pages, metric.as_deref()),
    }
}

fn take_report(poll: &Poll, body: &[u8]) -> Result<(), String> {
    let report = std::str::from_utf8(body).ok().and_then(|text| parse_body(text).ok());
    let Some(report) = report else {
        poll.endpoint.count_malformed();
        return Err("the answer is no load report".to_owned());
    };
    let now = clock::now();
    gauge::observe(&poll.metrics, |name| report.metric(name), now);
    let utilization = report.utilization();
    poll.endpoint.hear(utilization, now);
    let mut is_heard = utilization.is_some() || poll.metrics.iter().any(|m| report.metric(&m.name).is_some());
    for weighed in &poll.weighed {
        if let Some(weight) = weights::of_report(&report, &weighed.by) {
            weighed.member.conduct.report_weight(weight, now);
            is_heard = true;
        }
    }
    if is_heard { Ok(()) } else { Err("the report has no utilization".to_owned()) }
}

fn take_page(poll: &Poll, body: &[u8], pages: &mut Pages, metric: Option<&str>) -> Result<(), String> {
    let malformed = |why: String| {
        poll.endpoint.count_malformed();
        Err(why)
    };
    if body.len() >= PAGE_LIMIT {
        return malformed(format!("the page is larger than {} MiB", PAGE_LIMIT / 1024 / 1024));
    }
    let Ok(page) = std::str::from_utf8(body) else { return malformed("the page is not text".to_owned()) };
    match pages.read(page, metric) {
        Ok(utilization) => {
            if let Some(utilization) = utilization {
                poll.endpoint.hear(Some(utilization), clock::now());
            }
            Ok(())
        }
        Err(Unread::Malformed(why)) => malformed(why),
        Err(Unread::Missing(why)) => Err(why),
    }
}

/// Reads the processes of this host's members in rounds, one thread-blocking round for all, until it is stopped.
async fn run_locals(mut locals: watch::Receiver<Locals>) {
    let mut sampler = Sampler::new();
    let mut voices: HashMap<SocketAddr, Voice> = HashMap::new();
    loop {
        let members = locals.borrow_and_update().clone();
        let pause = members.iter().map(|(t, _)| t.interval).min().unwrap_or(Span::secs(1));
        let mut timer = tokio::time::interval(pause.to_std().max(std::time::Duration::from_millis(10)));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let targets: Arc<[Target]> = members.iter().map(|(t, _)| *t).collect();
        let endpoints: HashMap<SocketAddr, &Arc<Endpoint>> =
            members.iter().map(|(t, e)| (t.address, e)).collect();
        voices.retain(|address, _| endpoints.contains_key(address));
        loop {
            tokio::select! {
                _ = timer.tick() => {}
                changed = locals.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
            }
            let (mut busy, round) = (sampler, targets.clone());
            let work = move || (busy.round(&round, clock::now), busy);
            // A panic in there loses what was known, which the next round finds again.
            let (readings, back) = tokio::task::spawn_blocking(work).await.unwrap_or_default();
            sampler = back;
            for (address, reading) in readings {
                voices.entry(address).or_default().hear(address, reading.complaint());
                if let (Reading::Used(utilization), Some(endpoint)) = (reading, endpoints.get(&address)) {
                    endpoint.hear(Some(utilization), clock::now());
                }
            }
        }
    }
}

/// Says when an endpoint's reports stop and when they come again; silent in between.
#[derive(Debug, Default)]
struct Voice {
    is_missing: bool,
}

impl Voice {
    fn hear(&mut self, endpoint: SocketAddr, complaint: Option<&str>) {
        match (complaint, self.is_missing) {
            (Some(reason), false) => tracing::warn!(%endpoint, reason, "no load report"),
            (None, true) => tracing::info!(%endpoint, "load reports come again"),
            _ => {}
        }
        self.is_missing = complaint.is_some();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixture::{by_utilization, check, scripted, service, world};
    use super::*;
    use crate::ledger::registry::Registry;
    use crate::model::service::Group;
    use crate::model::unit::Ratio;

    fn http_source(port: Option<u16>, path: &str) -> UtilizationSource {
        UtilizationSource::Http { port, path: path.into(), interval: Span::secs(1) }
    }

    fn poll(target: SocketAddr) -> Poll {
        let endpoint = Arc::new(Endpoint::default());
        Poll {
            target,
            path: "/load".into(),
            interval: Span::secs(1),
            over_tls: false,
            what: What::Report,
            endpoint,
            metrics: Arc::new([]),
            weighed: Vec::new(),
        }
    }

    /// What one poll of a member that answers so brings: the endpoint, and the complaint.
    async fn polled(answer: &'static [u8]) -> (Arc<Endpoint>, Option<String>) {
        let backend = scripted(b"\r\n\r\n", answer, false).await;
        let poll = poll(backend.address);
        let complaint = ask(&poll, &tls::unverified(), &mut Pages::default()).await.err();
        assert!(backend.heard.await.unwrap().starts_with(b"GET /load HTTP/1.1\r\n"));
        (poll.endpoint, complaint)
    }

    #[tokio::test]
    async fn a_polled_report_becomes_the_endpoints_utilization() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{\"cpu_utilization\": 0.25}";
        let (endpoint, complaint) = polled(answer).await;
        assert_eq!(complaint, None);
        let reported = endpoint.read();
        assert_eq!((reported.value, reported.reports), (Ratio::new(0.25), 1));
        assert!(reported.at.is_some());
    }

    #[tokio::test]
    async fn a_report_of_named_metrics_alone_is_a_report() {
        let body = br#"{"named_metrics": {"queue": 0.5}}"#;
        let poll = poll(SocketAddr::from(([127, 0, 0, 1], 1)));
        let metrics = Arc::new([Metric { name: "queue".into(), gauge: Arc::default() }]);
        let poll = Poll { metrics, ..poll };
        assert_eq!(take_report(&poll, body), Ok(()));
        assert_eq!((poll.endpoint.heard().0, poll.endpoint.read().at), (1, None));
        assert_eq!(poll.metrics[0].gauge.read().value, Ratio::new(0.5));
    }

    #[tokio::test]
    async fn a_body_that_is_no_report_is_counted_and_changes_nothing() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        ] {
            let (endpoint, complaint) = polled(answer).await;
            assert_eq!((endpoint.malformed(), endpoint.read().reports), (1, 0));
            assert_eq!(complaint.as_deref(), Some("the answer is no load report"));
        }
    }

    #[tokio::test]
    async fn an_error_or_silence_is_no_report_and_not_a_malformed_one() {
        let (endpoint, complaint) = polled(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!((endpoint.malformed(), endpoint.read().reports), (0, 0));
        assert_eq!(complaint.as_deref(), Some("answered 404"));
        let backend = scripted(b"\r\n\r\n", b"", true).await;
        let hasty = Poll { interval: Span::secs(1), ..poll(backend.address) };
        let complaint = ask(&hasty, &tls::unverified(), &mut Pages::default()).await.unwrap_err();
        assert_eq!(complaint, "no answer within 1 s");
    }

    /// One poll of a page.
    async fn page(answer: &'static [u8], metric: &str, pages: &mut Pages) -> (Arc<Endpoint>, Option<String>) {
        let backend = scripted(b"\r\n\r\n", answer, false).await;
        let what = What::Page((!metric.is_empty()).then(|| metric.into()));
        let poll = Poll { what, path: "/metrics".into(), ..poll(backend.address) };
        let complaint = ask(&poll, &tls::unverified(), pages).await.err();
        assert!(backend.heard.await.unwrap().starts_with(b"GET /metrics HTTP/1.1\r\n"));
        (poll.endpoint, complaint)
    }

    #[tokio::test]
    async fn a_gauge_on_a_metrics_page_becomes_the_endpoints_utilization() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n# TYPE busy\nbusy 0.25\n";
        let (endpoint, complaint) = page(answer, "busy", &mut Pages::default()).await;
        assert_eq!((complaint, endpoint.read().value), (None, Ratio::new(0.25)));
        let (endpoint, complaint) = page(answer, "gone", &mut Pages::default()).await;
        assert_eq!(complaint.as_deref(), Some("the page has no value of gone"));
        assert_eq!((endpoint.malformed(), endpoint.read().reports), (0, 0));
    }

    #[tokio::test]
    async fn busy_cpu_needs_two_pages_of_a_node_exporter() {
        let mut pages = Pages::default();
        let first = b"HTTP/1.1 200 OK\r\n\r\nnode_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 10\nnode_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 5\n";
        let second = b"HTTP/1.1 200 OK\r\n\r\nnode_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 13\nnode_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 6\n";
        let (endpoint, complaint) = page(first, "", &mut pages).await;
        assert_eq!((complaint, endpoint.read().reports), (None, 0));
        let (endpoint, complaint) = page(second, "", &mut pages).await;
        assert_eq!((complaint, endpoint.read().value), (None, Ratio::new(0.25)));
    }

    #[tokio::test]
    async fn a_page_that_cannot_be_read_is_counted_as_malformed() {
        for answer in [&b"HTTP/1.1 200 OK\r\n\r\nbusy much\n"[..], b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe"] {
            let (endpoint, complaint) = page(answer, "busy", &mut Pages::default()).await;
            assert!(complaint.is_some());
            assert_eq!((endpoint.malformed(), endpoint.read().reports), (1, 0));
        }
    }

    #[tokio::test]
    async fn only_members_of_utilization_backends_of_reachable_services_are_asked() {
        let address = |n: u8| SocketAddr::from(([10, 0, 0, n], 80));
        let mut unreachable =
            by_utilization(service("unreachable", check(), &[address(1)]), http_source(None, "/"));
        unreachable.is_reachable = false;
        let mut by_rate = by_utilization(service("by-rate", check(), &[address(2)]), http_source(None, "/"));
        by_rate.backends[0].mode = service("x", check(), &[]).backends[0].mode.clone();
        let by_header =
            by_utilization(service("by-header", check(), &[address(3)]), UtilizationSource::OrcaHeader);
        let mut tls = by_utilization(service("tls", check(), &[address(4)]), http_source(None, "/load"));
        tls.protocol = Protocol::Https;
        let twice =
            by_utilization(service("twice", check(), &[address(4), address(5)]), http_source(Some(9), "/x"));
        let local = UtilizationSource::LocalProcess { cores: 2.0, interval: Span::secs(1) };
        let here = by_utilization(service("here", check(), &[address(6)]), local);
        let services = vec![unreachable, by_rate, by_header, tls, twice, here];
        let wanted = Wanted::of(&world(services, &mut Registry::new(1)));
        let mut polls: Vec<_> =
            wanted.polls.values().map(|p| (p.target.to_string(), &*p.path, p.over_tls)).collect();
        polls.sort();
        assert_eq!(polls, [("10.0.0.4:80".into(), "/load", true), ("10.0.0.5:9".into(), "/x", false)]);
        assert_eq!(wanted.locals.keys().collect::<Vec<_>>(), [&address(6)]);
    }

    #[tokio::test]
    async fn g_1_45_polled_reports_weigh_the_members_of_services_that_ask_for_it() {
        let answer =
            b"HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\ncpu_utilization=0.25,rps_fractional=100.0";
        let backend = scripted(b"\r\n\r\n", answer, false).await;
        let mut by_rate = service("weighed", check(), &[backend.address]);
        let group = (*by_rate.backends[0].group).clone();
        by_rate.backends[0].group = Arc::new(Group { utilization: http_source(None, "/load"), ..group });
        let plain = by_utilization(service("plain", check(), &[backend.address]), http_source(None, "/load"));
        let mut weighed = by_rate;
        assert!(Wanted::of(&world(vec![weighed.clone()], &mut Registry::new(1))).polls.is_empty());
        weighed.policies.locality = Locality::WeightedRoundRobin;
        let world = world(vec![plain, weighed], &mut Registry::new(1));
        let wanted = Wanted::of(&world);
        let poll = &wanted.polls[&backend.address];
        ask(poll, &tls::unverified(), &mut Pages::default()).await.unwrap();
        let weight =
            |n: usize| world.services[n].backends[0].members[0].numbered.member.conduct.weight(clock::now());
        assert_eq!((weight(0), weight(1)), (None, Some(400.0)));
    }

    #[tokio::test]
    async fn a_reload_keeps_unchanged_polls_running_and_stops_those_that_are_gone() {
        let address = |n: u8| SocketAddr::from(([127, 0, 0, 1], u16::from(n)));
        let (mut agents, mut registry) = (Agents::new(1), Registry::new(1));
        let with = |members: &[SocketAddr], path: &str| {
            vec![by_utilization(service("web", check(), members), http_source(None, path))]
        };
        let first = world(with(&[address(1), address(2)], "/load"), &mut registry);
        agents.reconcile(&first);
        let id = |agents: &Agents, n| agents.polls.get(&address(n)).map(|r| r.handle.id());
        let before = id(&agents, 1);
        let gone = agents.polls[&address(2)].handle.clone();
        let second = world(with(&[address(1)], "/load"), &mut registry);
        agents.reconcile(&second);
        assert_eq!(id(&agents, 1), before);
        while !gone.is_finished() {
            tokio::task::yield_now().await;
        }
        agents.reconcile(&world(with(&[address(1)], "/other"), &mut registry));
        assert_ne!(id(&agents, 1), before, "a changed path is a new poll");
    }

    #[tokio::test]
    async fn readings_of_a_local_process_reach_the_endpoint() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let source = UtilizationSource::LocalProcess { cores: 1.0, interval: Span::millis(20) };
        let services = vec![by_utilization(service("web", check(), &[address]), source)];
        let world = world(services, &mut Registry::new(1));
        let mut agents = Agents::new(1);
        agents.reconcile(&world);
        let endpoint = &world.services[0].backends[0].members[0].endpoint;
        while endpoint.read().reports < 2 {
            tokio::task::yield_now().await;
        }
        assert!(endpoint.read().at.is_some());
    }
}
