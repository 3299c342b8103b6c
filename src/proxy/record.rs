//! One request's book-keeping: opened when its head has come, closed exactly once, by being dropped.
//!
//! Whatever happens in between (an answer, a failure, a client that leaves, a future that is cancelled), the drop
//! counts the outcome, pays the lease back, and writes the log line.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::access_log::{self, Entry, Way};
use super::context::{Context, Current};
use super::cors::Granted;
use super::error_page::Asked;
use super::mirror::Mirror;
use super::retry::Refused;
use super::serve::Client;
use super::watch::NEVER;
use crate::balance::pick::Reason;
use crate::clock;
use crate::ledger::breaker::Permit;
use crate::ledger::budget::Retry;
use crate::ledger::lease::Lease;
use crate::ledger::member::Count;
use crate::ledger::service::Loss;
use crate::model::config::{Front, ServiceId};
use crate::model::detail::StatusDetail;
use crate::model::route::action::{Action, Timeout};
use crate::model::service::{LogFields, Service};
use crate::model::unit::{Span, Tick};
use crate::world::{LiveService, World};

/// See the module.
pub(crate) struct Record {
    /// The client's connection.
    pub(crate) client: Rc<Client>,
    /// The world that this request lives in.
    pub(crate) world: Rc<Current>,
    /// When its head had come.
    pub(crate) started: Tick,
    /// Where it was routed; `None` before, and when nothing matched.
    pub(crate) service: Option<ServiceId>,
    /// How long the route lets it take; `None` = as long as the service does, for each attempt.
    pub(crate) timeout: Option<Timeout>,
    /// When it must have ended (`maxStreamDuration`); [`NEVER`] = it need not.
    pub(crate) ends: Tick,
    /// Where its last attempt went.
    pub(crate) placed: Option<Placed>,
    /// Its room under `maxRequests` and `maxRetries`, where these are set.
    pub(crate) permits: (Option<Permit>, Option<Permit>),
    /// Its room in the retry budget, once it was sent again.
    pub(crate) retry: Option<Retry>,
    /// Why it was not sent again, if a limit stood in its way.
    pub(crate) retry_refused: Option<Refused>,
    /// What its route's `corsPolicy` allows, until there is an answer.
    pub(crate) cors: Option<Box<Granted>>,
    /// What its route's error pages are asked for with, until there is an answer.
    pub(crate) errors: Option<Box<Asked>>,
    /// Who gets a copy, until the request is made ready.
    pub(crate) mirror: Option<Box<Mirror>>,
    /// Status that the client got; `None` = none yet.
    pub(crate) status: Option<u16>,
    /// How it ended; `None` = as [`Self::has_ended`] says.
    pub(crate) detail: Option<StatusDetail>,
    /// All of the answer was handed over.
    pub(crate) has_ended: bool,
    /// Attempts sent.
    pub(crate) attempts: u32,
    /// Body bytes from the client.
    pub(crate) bytes_up: u64,
    /// Body bytes to the client.
    pub(crate) bytes_down: u64,
    /// Why its session left its member, if it did.
    pub(crate) loss: Option<Loss>,
    /// What the log line needs of the request; `None` = it is not logged.
    pub(crate) facts: Option<Box<Facts>>,
}

/// An attempt's place.
pub(crate) struct Placed {
    /// Backend index.
    pub(crate) backend: u32,
    /// Member index.
    pub(crate) member: u32,
    /// Why there.
    pub(crate) reason: Reason,
    /// Paid back when the record closes, or before the next attempt is placed.
    pub(crate) lease: Lease,
}

impl Placed {
    /// Writes the place into a log line's way.
    pub(crate) fn show<'a>(&self, service: &'a LiveService, way: &mut Way<'a>) {
        if let Some(backend) = service.config.backends.get(self.backend as usize) {
            way.backend = &backend.group.name;
            way.member = backend.members.get(self.member as usize).map(|m| (&*m.name, m.address));
            way.reason = Some(self.reason);
        }
    }
}

/// Parts of a request's head that the log line shows.
pub(crate) struct Facts {
    /// Method.
    pub(crate) method: http::Method,
    /// As the client spoke it.
    pub(crate) version: http::Version,
    /// Target as sent.
    pub(crate) uri: http::Uri,
    /// `Host`.
    pub(crate) host: Option<http::HeaderValue>,
    /// `User-Agent`.
    pub(crate) user_agent: Option<http::HeaderValue>,
    /// `Referer`.
    pub(crate) referer: Option<http::HeaderValue>,
    /// `X-Cloud-Trace-Context` as it went to the member.
    pub(crate) trace: Option<http::HeaderValue>,
}

impl Record {
    /// A request has come. Boxed: it goes from hand to hand, in futures and in the answer.
    pub(crate) fn open(client: &Rc<Client>, world: Rc<Current>, started: Tick) -> Box<Self> {
        client.begin_request(&world, started);
        Box::new(Self {
            client: client.clone(),
            world,
            started,
            service: None,
            timeout: None,
            ends: NEVER,
            placed: None,
            permits: (None, None),
            retry: None,
            retry_refused: None,
            cors: None,
            errors: None,
            mirror: None,
            status: None,
            detail: None,
            has_ended: false,
            attempts: 0,
            bytes_up: 0,
            bytes_down: 0,
            loss: None,
            facts: None,
        })
    }

    /// It is routed to this service.
    pub(crate) fn enter(&mut self, id: ServiceId, service: &LiveService) {
        self.service = Some(id);
        service.ledger.begin(self.client.context.worker);
    }

    /// The service that it was routed to.
    pub(crate) fn live_service(&self) -> Option<&Arc<LiveService>> {
        self.world.service(self.service?)
    }

    /// Takes the times that route and service allow. No deadline is later than `maxStreamDuration` from its head on,
    /// whatever it becomes: a tunnel has this end too.
    pub(crate) fn bound(&mut self, action: &Action, service: &Service) {
        self.timeout = action.timeout;
        if let Some(longest) = action.longest.or(service.longest) {
            self.ends = self.started + longest;
            self.client.watched.set_limit(self.ends);
        }
    }

    /// Whether the time that all attempts may take together is over.
    pub(crate) fn is_late(&self, now: Tick) -> bool {
        let whole = match self.timeout {
            Some(Timeout::Whole(span)) => self.started + span,
            Some(Timeout::Attempt(_)) | None => NEVER,
        };
        now >= whole.min(self.ends)
    }

    /// When an attempt that begins `now` has taken too long [G 5.1, 5.2].
    pub(crate) fn deadline(&self, of_service: Span, now: Tick) -> Tick {
        match self.timeout {
            None => now + of_service,
            Some(Timeout::Attempt(span)) => now + span,
            Some(Timeout::Whole(span)) => self.started + span,
        }
    }

    /// Counts the attempt under way as failed.
    pub(crate) fn fail_attempt(&self) {
        if let Some(placed) = &self.placed {
            placed.lease.count(Count::Failed);
        }
    }

    fn outcome(&self) -> StatusDetail {
        match (self.detail, self.status, self.has_ended) {
            (Some(detail), ..) => detail,
            (None, None, _) => StatusDetail::ClientDisconnectedBeforeAny,
            (None, Some(_), false) if self.client.watched.is_expired() => StatusDetail::ClientTimedOut,
            (None, Some(_), false) => StatusDetail::ClientDisconnectedAfterPartial,
            (None, Some(_), true) => StatusDetail::ResponseSentByBackend,
        }
    }

    fn count(&self, detail: StatusDetail, now: Tick) {
        let worker = self.client.context.worker;
        let Some(service) = self.live_service() else {
            self.client.context.process.count_unrouted(worker, detail, self.status);
            return;
        };
        service.ledger.count_detail(worker, detail);
        service.ledger.end(worker);
        let Some(placed) = &self.placed else {
            service.ledger.count_unplaced(worker, self.status);
            return;
        };
        let member = placed.lease.member();
        member.count(worker, Count::class(self.status));
        member.add(worker, Count::BytesUp, self.bytes_up);
        member.add(worker, Count::BytesDown, self.bytes_down);
        if let Some(backend) = service.backends.get(placed.backend as usize)
            && self.has_ended
        {
            backend.ledger.latency.observe(worker, now.since(self.started));
        }
    }

    fn log(&self, facts: &Facts, detail: StatusDetail, now: Tick) {
        self.client.context.log(&Entry {
            at: clock::wall(),
            latency: now.since(self.started),
            method: facts.method.as_str(),
            protocol: access_log::protocol(facts.version),
            host: bytes(facts.host.as_ref()).unwrap_or_default(),
            target: facts.uri.path_and_query().map_or("/", |target| target.as_str()).as_bytes(),
            request_size: self.bytes_up,
            response_size: self.bytes_down,
            status: self.status,
            user_agent: bytes(facts.user_agent.as_ref()),
            referer: bytes(facts.referer.as_ref()),
            remote_ip: self.client.peer.ip(),
            way: self.way(),
            detail,
            attempts: self.attempts,
            affinity_loss: self.loss,
            retry_refused: self.retry_refused,
            trace: bytes(facts.trace.as_ref()),
            secured: self.client.secured,
            fields: self.live_service().map_or(LogFields::default(), |service| service.config.log_fields),
        });
    }

    fn way(&self) -> Way<'_> {
        let mut way = front_way(&self.world, self.client.listener);
        let Some(service) = self.live_service() else { return way };
        way.service = service.name();
        if let Some(placed) = &self.placed {
            placed.show(service, &mut way);
        }
        way
    }
}

fn bytes(value: Option<&http::HeaderValue>) -> Option<&[u8]> {
    value.map(http::HeaderValue::as_bytes)
}

fn front_way(world: &World, listener: u32) -> Way<'_> {
    let front = world.front(listener);
    Way {
        forwarding_rule: front.map_or("", |f| &f.name),
        target_proxy: front.map_or("", |f| &f.proxy_name),
        url_map: front.and_then(Front::http).map_or("", |f| &f.url_map.name),
        service: "",
        backend: "",
        member: None,
        reason: None,
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let now = clock::now();
        let detail = self.outcome();
        self.count(detail, now);
        if let Some(facts) = self.facts.take() {
            self.log(&facts, detail, now);
        }
        self.placed = None;
        self.client.end_request(now);
    }
}

/// The log line of a head that was refused, or of a client that did not get so far: what it said is not repeated.
pub(crate) fn log_refusal(
    context: &Context,
    (listener, remote_ip): (u32, IpAddr),
    status: Option<u16>,
    detail: StatusDetail,
) {
    if !context.has_log() {
        return;
    }
    let world = context.world();
    context.log(&Entry {
        at: clock::wall(),
        latency: Span::ZERO,
        method: "",
        protocol: "",
        host: b"",
        target: b"",
        request_size: 0,
        response_size: 0,
        status,
        user_agent: None,
        referer: None,
        remote_ip,
        way: front_way(&world, listener),
        detail,
        attempts: 0,
        affinity_loss: None,
        retry_refused: None,
        trace: None,
        secured: None,
        fields: LogFields::default(),
    });
}
