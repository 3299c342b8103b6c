//! A routed request's attempts: pick → lease → connection → send → answer, another member, or failure.

mod again;

use std::sync::Arc;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::arriving::Arriving;
use super::body::{Forwarded, ResponseBody};
use super::breaker;
use super::custom_headers::{self, Edits, Filled};
use super::failure::{Failure, Stage};
use super::forward::{self, Failed, MISPLACED};
use super::headers::{self, Seen, Upgrade};
use super::live::Numbers;
use super::outbound::Outbound;
use super::pool::Upstream;
use super::record::{Placed, Record};
use super::route_action::Ordered;
use super::session::{self, Claim};
use super::upgrade::{self, ClientSide};
use super::{compress, respond, retry};
use crate::balance::pick::{self, Ask, NoPick, Reason};
use crate::balance::weights;
use crate::clock;
use crate::ledger::breaker::Limit;
use crate::ledger::conduct::Outcome;
use crate::ledger::lease::Lease;
use crate::ledger::member::Count;
use crate::ledger::service::{Extra, Loss};
use crate::model::compression::Wanted;
use crate::model::config::ServiceId;
use crate::model::detail::StatusDetail;
use crate::model::place::OriginId;
use crate::model::policy::Locality;
use crate::model::route::action::RetryPolicy;
use crate::model::route::edit::HeaderEdits;
use crate::model::service::UtilizationSource;
use crate::model::unit::Tick;
use crate::world::{LiveMember, LiveService};

/// Members that one request may try.
const MAX_TRIED: usize = 1 + retry::MAX_CONNECT_RETRIES as usize;

/// A routed request. Boxed: it is handed from step to step, and futures that carried it would be copied with it.
pub(crate) struct Visit {
    pub(crate) record: Box<Record>,
    pub(crate) outbound: Outbound,
    pub(crate) session: Session,
    tried: [(u32, u32); MAX_TRIED],
    retries: u32,
    /// When the attempt under way began.
    began: Tick,
}

/// What a request brings to the choice of its member, and to its answer.
pub(crate) struct Session {
    pub(crate) service: Arc<LiveService>,
    /// Where the client comes from.
    pub(crate) origin: OriginId,
    /// Its affinity.
    pub(crate) claim: Claim,
    pub(crate) upgrade: Upgrade,
    /// The client's side of a tunnel.
    pub(crate) tunnel: Option<ClientSide>,
    /// What the route does to the answer's headers.
    pub(crate) edits: Option<Arc<HeaderEdits>>,
    /// What was written down for the answer's headers when the request came.
    pub(crate) filled: Option<Box<Filled>>,
    /// What may be done with the answer's body; `None` = nothing.
    pub(crate) wanted: Option<Wanted>,
    /// What the route tries again.
    pub(crate) retry: Option<Arc<RetryPolicy>>,
    /// What the route does instead of serving at once.
    pub(crate) fault: Option<Box<Ordered>>,
}

/// An answer's head, and the connection that brings the rest.
struct Reached {
    response: Response<Arriving>,
    upstream: Box<Upstream>,
}

impl Visit {
    pub(crate) fn new(record: Box<Record>, outbound: Outbound, session: Session) -> Box<Self> {
        let (began, tried) = (record.started, [(u32::MAX, u32::MAX); MAX_TRIED]);
        Box::new(Self { record, outbound, session, tried, retries: 0, began })
    }

    /// Attempts until there is an answer or nothing more to try.
    pub(crate) async fn run(mut self: Box<Self>) -> Response<ResponseBody> {
        let mut last = None;
        if let Some(fault) = self.session.fault.take() {
            if let Some(delay) = fault.delay {
                Box::pin(self.wait(delay)).await;
            }
            if let Some(status) = fault.status {
                return respond::abort(self.record, status);
            }
        }
        if let Err(failure) = self.enter() {
            return respond::failure(self.record, failure);
        }
        loop {
            if let Err(failure) = self.place() {
                // Nobody is left to try: what the last attempt met is the better word.
                return respond::failure(self.record, last.unwrap_or(failure));
            }
            let failure = match self.attempt().await {
                Ok(reached) if self.is_unwanted(&reached) && self.may_retry_now(Stage::Answer) => {
                    self.throw_away(reached);
                    continue;
                }
                Ok(reached) => return self.answer(reached),
                Err(failure) if failure.stage == Stage::Pick => {
                    return respond::failure(self.record, failure);
                }
                Err(failure) => failure,
            };
            // What the client broke off is no failure of the member.
            if failure.stage != Stage::Client {
                self.record.fail_attempt();
                self.judge(Outcome::GatewayFailure);
            }
            self.record.bytes_up = self.outbound.bytes();
            if !self.may_try_again(failure) || !self.may_retry_now(failure.stage) {
                return respond::failure(self.record, failure);
            }
            self.exclude();
            last = Some(failure);
        }
    }

    /// Room under `maxRequests`, kept until the request's record closes.
    fn enter(&mut self) -> Result<(), Failure> {
        let service = &self.session.service;
        let most = service.config.policies.circuit_breakers.max_requests;
        self.record.permits.0 = breaker::enter(&self.record.client, service, Limit::Requests, most)?;
        Ok(())
    }

    /// Chooses a member and takes its lease.
    fn place(&mut self) -> Result<(), Failure> {
        let (record, session) = (&mut self.record, &self.session);
        let worker = record.client.context.worker;
        let is_first = self.retries == 0;
        let now = if is_first { self.began } else { clock::now() };
        let claim = &session.claim;
        let pinned = claim.named.and_then(|named| session.service.find(named.backend, named.member));
        let ask = Ask {
            origin: session.origin,
            key: claim.key,
            pinned,
            turn: session.service.ledger.turn.next(),
            tried: self.tried.get(..MAX_TRIED.min(self.retries as usize)).unwrap_or(&[]),
        };
        self.began = now;
        let backends = &session.service.backends;
        let of = (record.world.generation, record.service.unwrap_or(ServiceId(u32::MAX)));
        let pools = &record.client.context.pools;
        let mut numbers = Numbers { backends, now, is_first, pools, of };
        let plan = session.service.plan.load();
        let mut pick = pick::choose(&plan, ask, &mut numbers);
        if session.retry.is_some() && matches!(pick, Err(NoPick::AllTried)) {
            // A route that asks for more attempts than there are members wants them all the same.
            pick = pick::choose(&plan, Ask { tried: &[], ..ask }, &mut numbers);
        }
        let pick = pick.map_err(|none| Failure {
            stage: Stage::Pick,
            detail: match none {
                NoPick::NoHealthyMember => StatusDetail::FailedToPickBackend,
                NoPick::AllTried => StatusDetail::FailedToConnectToBackend,
                NoPick::Overloaded => StatusDetail::Overloaded,
            },
        })?;
        let backend = backends.get(pick.backend as usize).ok_or(MISPLACED)?;
        let member = backend.members.get(pick.member as usize).ok_or(MISPLACED)?;
        if is_first {
            backend.ledger.count_pick(worker, pick.reason);
        } else {
            session.service.ledger.count_extra(worker, Extra::Retries);
        }
        record.attempts += 1;
        let config = &session.service.config;
        record.client.watched.set_served_by(Some((member.numbered.number, config.draining_timeout)));
        let deadline = record.deadline(config.timeout, now);
        let per_try = session.retry.as_ref().and_then(|policy| policy.per_try);
        record.client.watched.set_deadline(per_try.map_or(deadline, |span| deadline.min(now + span)));
        let lease = Lease::take(backend.ledger.clone(), member.numbered.member.clone(), worker);
        record.placed =
            Some(Placed { backend: pick.backend, member: pick.member, reason: pick.reason, lease });
        let loss = session.loss((pick.backend, pick.member), (member, pinned), now);
        if let Some(loss) = loss.map(|loss| if self.retries > 0 { Loss::Failed } else { loss }) {
            record.loss = Some(loss);
            session.service.ledger.count_loss(worker, loss);
        }
        Ok(())
    }

    /// One attempt on the chosen member. A kept connection that turns out dead is replaced once by a fresh one.
    async fn attempt(&mut self) -> Result<Reached, Failure> {
        let member = self.member().ok_or(MISPLACED)?;
        let may_keep = matches!(self.session.upgrade, Upgrade::None);
        let kept = if may_keep { self.record.client.context.pool.take(member) } else { None };
        if let Some(upstream) = kept {
            match self.send_on(upstream).await {
                Err(failure) if self.may_replay(failure) => self.count_replay(),
                settled => return settled,
            }
        }
        // Boxed: seldom needed, and its state would make every request's future twice as large.
        let upstream = Box::pin(self.connect(may_keep)).await?;
        // One on a shared connection may be refused for the sake of others.
        let is_kept = upstream.served() > 0 || upstream.seat().is_some();
        match self.send_on(upstream).await {
            Err(failure) if is_kept && self.may_replay(failure) => self.count_replay(),
            settled => return settled,
        }
        let upstream = Box::pin(self.connect(false)).await?;
        self.send_on(upstream).await
    }

    /// See [`forward::fresh`].
    async fn connect(&self, may_keep: bool) -> Result<Box<Upstream>, Failure> {
        let placed = self.record.placed.as_ref().ok_or(MISPLACED)?;
        let place = (placed.backend, placed.member);
        forward::fresh(&self.record.client, &self.session.service, place, may_keep).await
    }

    fn count_replay(&self) {
        self.session.service.ledger.count_extra(self.record.client.context.worker, Extra::Replays);
    }

    fn may_replay(&self, failure: Failure) -> bool {
        retry::may_replay(failure.stage, self.outbound.state(), self.outbound.is_idempotent())
    }

    async fn send_on(&mut self, mut upstream: Box<Upstream>) -> Result<Reached, Failure> {
        if upstream.seat().is_some() {
            // Boxed, as what HTTP/1 does not need.
            return Box::pin(self.send_on_stream(upstream)).await;
        }
        let sending = {
            let client = &self.record.client;
            let (outgoing, progress) = self.outbound.next(&client.context.scratch).ok_or(MISPLACED)?;
            forward::send(client, &mut upstream, outgoing, progress).ok_or(MISPLACED)?
        };
        let sent = sending.await;
        self.settle(sent, upstream)
    }

    async fn send_on_stream(&mut self, mut upstream: Box<Upstream>) -> Result<Reached, Failure> {
        let request = self.outbound.next_request().ok_or(MISPLACED)?;
        let progress = self.outbound.progress();
        let sent = forward::send_shared(&self.record.client, &mut upstream, request, progress).await;
        self.settle(sent, upstream)
    }

    /// What never went out may go out again.
    fn settle(
        &mut self,
        sent: Result<Response<Arriving>, Failed>,
        upstream: Box<Upstream>,
    ) -> Result<Reached, Failure> {
        sent.map(|response| Reached { response, upstream }).map_err(|Failed { failure, unsent }| {
            self.outbound.restore(unsent);
            failure
        })
    }

    /// Another member next time. The room of this one is free for the choice; its name stays, for when there is no
    /// other.
    fn exclude(&mut self) {
        let slot = self.tried.get_mut(self.retries as usize);
        if let Some(placed) = &mut self.record.placed {
            if let Some(slot) = slot {
                *slot = (placed.backend, placed.member);
            }
            placed.lease.pay_back();
        }
        self.retries += 1;
    }

    /// Makes a member's answer ready for the client.
    fn answer(mut self, reached: Reached) -> Response<ResponseBody> {
        let Reached { mut response, upstream } = reached;
        let status = response.status();
        let is_tunnel = status == StatusCode::SWITCHING_PROTOCOLS;
        let seen = Seen::survey(response.headers());
        if let Some(detail) = self.fault_of(&response, seen) {
            self.record.fail_attempt();
            return respond::failure(self.record, Failure { stage: Stage::Answer, detail });
        }
        self.judge_answer(status);
        if seen.has(Seen::ORCA) {
            self.hear_report(response.headers());
        }
        headers::to_client(response.headers_mut(), seen, is_tunnel);
        let of_service = self.session.service.config.custom_headers.as_deref();
        let edits = Edits { route: self.session.edits.as_deref(), service: of_service };
        custom_headers::to_client(edits, self.session.filled.take(), response.headers_mut());
        if let Some(cors) = self.record.cors.take() {
            cors.write(response.headers_mut());
        }
        let cookie = self.cookie();
        let Self { mut record, outbound, session, .. } = self;
        record.status = Some(status.as_u16());
        record.bytes_up = outbound.bytes();
        if let Some(cookie) = cookie {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        if is_tunnel {
            return upgrade::open(record, response, upstream, session.tunnel);
        }
        if session.upgrade == Upgrade::WebSocket {
            record.detail = Some(StatusDetail::WebsocketHandshakeFailed);
        }
        let encoder = session.wanted.and_then(|wanted| compress::begin(wanted, &record, &mut response));
        let (head, arriving) = response.into_parts();
        let forwarded = Forwarded::new(arriving, upstream, record, outbound.into_progress());
        let mut answer = Response::new(ResponseBody::forwarded(forwarded, encoder));
        *answer.status_mut() = head.status;
        *answer.headers_mut() = head.headers;
        answer
    }

    /// Why an answer must not reach the client, if it must not: it could be read in two ways, opens a tunnel that
    /// nobody asked for, or would open one on a stream of HTTP/2. There any 2xx does, so that only a member's 101 to
    /// the very handshake that we have made may become one.
    fn fault_of(&self, response: &Response<Arriving>, seen: Seen) -> Option<StatusDetail> {
        let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let is_websocket = self.session.upgrade == Upgrade::WebSocket;
        if let (true, Some(stream)) = (is_websocket, self.record.client.stream())
            && if is_tunnel {
                !stream.is_accepted(response.headers())
            } else {
                response.status().is_success()
            }
        {
            return Some(StatusDetail::WebsocketHandshakeFailed);
        }
        let is_corrupted = is_tunnel && !is_websocket || headers::has_two_framings(response.headers(), seen);
        is_corrupted.then_some(StatusDetail::BackendResponseCorrupted)
    }

    /// What the client keeps of this session: a cookie that was made before the choice, or one that names the choice.
    fn cookie(&mut self) -> Option<HeaderValue> {
        let claim = &mut self.session.claim;
        if let Some(cookie) = claim.cookie.take() {
            return Some(cookie);
        }
        let placed = self.record.placed.as_ref()?;
        if placed.reason == Reason::Session {
            return None;
        }
        session::naming(&self.record.client, &self.session.service, placed.backend, self.member()?)
    }

    /// What an answer's status says about its member, whether or not the client gets to see it.
    fn judge_answer(&self, status: StatusCode) {
        self.judge(Outcome::of_status(status.as_u16()));
        if let (true, Some(placed)) = (status.is_server_error(), &self.record.placed) {
            placed.lease.count(Count::ServerErrors);
        }
    }

    /// What outlier detection and PREQUAL are to know about the attempt.
    fn judge(&self, outcome: Outcome) {
        let policies = &self.session.service.config.policies;
        let Some(placed) = &self.record.placed else { return };
        let conduct = &placed.lease.member().conduct;
        if let Some(rules) = &policies.outlier_detection {
            conduct.judge(outcome, rules);
        }
        if policies.locality == Locality::Prequal {
            let now = clock::now();
            conduct.observe(now.since(self.began), outcome, now);
        }
    }

    /// The member that the attempt under way is for.
    fn member(&self) -> Option<&LiveMember> {
        let placed = self.record.placed.as_ref()?;
        self.session.service.member(placed.backend, placed.member)
    }

    /// Hears an ORCA report in an answer's head [G 1.41, 1.42], if this member's group listens to them. The binary
    /// header wins.
    fn hear_report(&self, headers: &HeaderMap) {
        let Some((placed, member)) = self.record.placed.as_ref().zip(self.member()) else { return };
        let service = &self.session.service.config;
        let group = service.backends.get(placed.backend as usize).map(|b| &b.group);
        let is_heard = group.is_some_and(|group| group.utilization == UtilizationSource::OrcaHeader);
        let is_weighed = service.policies.locality == Locality::WeightedRoundRobin;
        if !is_heard && !is_weighed {
            return;
        }
        let Some(report) = headers::load_report(headers) else { return };
        match report {
            Ok(report) => {
                // Of now, not of the request's start: a request may take longer than a report holds.
                let now = clock::now();
                if is_heard {
                    member.hear(report.utilization(), |name| report.metric(name), now);
                }
                if is_weighed
                    && let Some(weight) = weights::of_report(&report, &service.policies.weight_metrics)
                {
                    member.numbered.member.conduct.report_weight(weight, now);
                }
            }
            Err(_) => member.endpoint.count_malformed(),
        }
    }
}

impl Session {
    /// Why the session is not served where it was, if it is not: by its cookie, or by our memory.
    pub(super) fn loss(
        &self,
        placed: (u32, u32),
        (member, pinned): (&LiveMember, Option<(u32, u32)>),
        now: Tick,
    ) -> Option<Loss> {
        if self.claim.named.is_some() {
            return match pinned {
                Some(pinned) if pinned == placed => None,
                Some((backend, member)) => Some(self.why_left(backend as usize, member as usize, now)),
                None => Some(Loss::Gone),
            };
        }
        let before = self.service.ledger.remember(self.claim.key?, member.numbered.number)?;
        let mut members = self.service.backends.iter().enumerate().flat_map(|(backend, live)| {
            live.members.iter().enumerate().map(move |(member, live)| (backend, member, live.numbered.number))
        });
        let left = members.find(|(.., number)| *number == before);
        Some(left.map_or(Loss::Gone, |(backend, member, _)| self.why_left(backend, member, now)))
    }

    /// Why a member that is still there does not serve its session.
    fn why_left(&self, backend: usize, member: usize, now: Tick) -> Loss {
        let (Some(config), Some(live)) =
            (self.service.config.backends.get(backend), self.service.backends.get(backend))
        else {
            return Loss::Gone;
        };
        match () {
            () if config.scaler.is_drained() || live.ledger.shown.read().is_auto_drained => Loss::Drained,
            () if live.members.get(member).is_none_or(LiveMember::is_shunned) => Loss::Unhealthy,
            () if live.ledger.gate.is_full(now) => Loss::Full,
            () => Loss::Rebalanced,
        }
    }
}
