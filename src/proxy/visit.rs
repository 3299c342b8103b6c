//! A routed request's attempts: pick → lease → connection → send → answer, another member, or failure.

use std::sync::Arc;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, Response, request};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::body::ResponseBody;
use super::failure::{Failure, Stage};
use super::forward::{self, Failed};
use super::headers::{self, Seen, Upgrade};
use super::outbound::Outbound;
use super::pool::Upstream;
use super::record::{Placed, Record};
use super::{respond, retry, upgrade};
use crate::balance::pick::{self, Ask, NoPick, Room};
use crate::balance::report;
use crate::clock;
use crate::ledger::endpoint::Endpoint;
use crate::ledger::lease::Lease;
use crate::ledger::member::Count;
use crate::ledger::service::{Extra, Loss};
use crate::model::detail::StatusDetail;
use crate::model::place::OriginId;
use crate::model::service::{Group, UtilizationSource};
use crate::model::unit::Tick;
use crate::world::{LiveMember, LiveService};

/// Members that one request may try.
const MAX_TRIED: usize = 1 + retry::MAX_CONNECT_RETRIES as usize;

/// A routed request.
pub(crate) struct Visit {
    service: Arc<LiveService>,
    origin: OriginId,
    key: Option<u64>,
    cookie: Option<HeaderValue>,
    upgrade: Upgrade,
    tried: [(u32, u32); MAX_TRIED],
    retries: u32,
}

/// An answer's head, and the connection that brings the rest.
struct Reached {
    response: Response<Incoming>,
    upstream: Box<Upstream>,
}

impl Visit {
    pub(crate) const fn new(
        service: Arc<LiveService>,
        origin: OriginId,
        key: Option<u64>,
        cookie: Option<HeaderValue>,
        upgrade: Upgrade,
    ) -> Self {
        Self { service, origin, key, cookie, upgrade, tried: [(u32::MAX, u32::MAX); MAX_TRIED], retries: 0 }
    }

    /// Attempts until there is an answer or nothing more to try.
    pub(crate) async fn run(
        mut self,
        mut record: Record,
        mut head: request::Parts,
        incoming: Incoming,
    ) -> Response<ResponseBody> {
        let mut tunnel = head.extensions.remove::<OnUpgrade>();
        let mut outbound = Outbound::new(head, incoming);
        loop {
            let failure = match self.place(&mut record) {
                Err(failure) => failure,
                Ok(()) => match self.attempt(&mut record, &mut outbound).await {
                    Ok(reached) => {
                        record.bytes_up = outbound.bytes();
                        return self.answer(record, reached, &outbound, tunnel.take());
                    }
                    Err(failure) => {
                        record.fail_attempt();
                        failure
                    }
                },
            };
            record.bytes_up = outbound.bytes();
            let (stage, body) = (failure.stage, outbound.state());
            let may_retry = record.placed.is_some()
                && retry::may_retry(stage, body, outbound.is_idempotent(), self.retries);
            if !may_retry {
                return respond::failure(record, failure);
            }
            self.exclude(&record);
        }
    }

    /// Chooses a member and takes its lease.
    fn place(&mut self, record: &mut Record) -> Result<(), Failure> {
        let (now, worker) =
            (if self.retries == 0 { record.started } else { clock::now() }, record.client.context.worker);
        record.client.watched.set_deadline(now + self.service.config.timeout);
        let ask = Ask {
            origin: self.origin,
            key: self.key,
            turn: self.service.ledger.turn.next(),
            tried: self.tried.get(..self.retries as usize).unwrap_or(&[]),
        };
        let backends = &self.service.backends;
        let pick = pick::choose(&self.service.plan.load(), ask, |backend, room| {
            let gate = &backends.get(backend as usize)?.ledger.gate;
            match room {
                Room::IfFree => gate.admit(now),
                Room::Overfill => Some(gate.overfill()),
            }
        });
        let pick = pick.map_err(|none| Failure {
            stage: Stage::Pick,
            detail: match none {
                NoPick::NoHealthyMember => StatusDetail::FailedToPickBackend,
                NoPick::AllTried => StatusDetail::FailedToConnectToBackend,
            },
        })?;
        let missing = Failure { stage: Stage::Pick, detail: StatusDetail::InternalError };
        let backend = backends.get(pick.backend as usize).ok_or(missing)?;
        let member = backend.members.get(pick.member as usize).ok_or(missing)?;
        if self.retries == 0 {
            backend.ledger.count_pick(worker, pick.reason);
        }
        record.attempts += 1;
        let lease = Lease::take(member.numbered.member.clone(), worker);
        record.placed =
            Some(Placed { backend: pick.backend, member: pick.member, reason: pick.reason, lease });
        self.remember(record, member, pick.backend as usize);
        Ok(())
    }

    /// One attempt on the chosen member. A kept connection that turns out dead is replaced once by a fresh one.
    async fn attempt(&self, record: &mut Record, outbound: &mut Outbound) -> Result<Reached, Failure> {
        let client = record.client.clone();
        let missing = Failure { stage: Stage::Pick, detail: StatusDetail::InternalError };
        let member = record.placed.as_ref().and_then(|p| self.member(p.backend, p.member)).ok_or(missing)?;
        let kept = match self.upgrade {
            Upgrade::None => client.context.pool.take(member.numbered.number),
            _ => None,
        };
        if let Some(upstream) = kept {
            match send_on(record, upstream, outbound).await {
                Err(failure)
                    if retry::may_replay(failure.stage, outbound.state(), outbound.is_idempotent()) =>
                {
                    self.service.ledger.count_extra(client.context.worker, Extra::Replays);
                }
                settled => return settled,
            }
        }
        let upstream = forward::connect_to(&client, member, self.service.config.protocol).await?;
        send_on(record, upstream, outbound).await
    }

    /// Another member next time.
    fn exclude(&mut self, record: &Record) {
        if let (Some(placed), Some(slot)) = (&record.placed, self.tried.get_mut(self.retries as usize)) {
            *slot = (placed.backend, placed.member);
        }
        self.retries += 1;
        self.service.ledger.count_extra(record.client.context.worker, Extra::Retries);
    }

    /// Makes a member's answer ready for the client.
    fn answer(
        self,
        mut record: Record,
        reached: Reached,
        outbound: &Outbound,
        tunnel: Option<OnUpgrade>,
    ) -> Response<ResponseBody> {
        let Reached { mut response, upstream } = reached;
        let status = response.status().as_u16();
        let seen = Seen::survey(response.headers());
        if seen.has(Seen::ORCA)
            && let Some((group, member)) = self.place_of(&record)
            && group.utilization == UtilizationSource::OrcaHeader
        {
            hear_report(response.headers(), &member.endpoint, record.started);
        }
        if let (true, Some(placed)) = (status >= 500, &record.placed) {
            placed.lease.count(Count::ServerErrors);
        }
        record.status = Some(status);
        let is_tunnel = status == 101;
        headers::to_client(response.headers_mut(), seen, is_tunnel);
        if let Some(cookie) = self.cookie {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        if is_tunnel {
            return upgrade::open(record, response, upstream, tunnel);
        }
        if self.upgrade == Upgrade::WebSocket {
            record.detail = Some(StatusDetail::WebsocketHandshakeFailed);
        }
        let (head, incoming) = response.into_parts();
        let mut answer =
            Response::new(ResponseBody::forwarded(incoming, upstream, record, outbound.progress().cloned()));
        *answer.status_mut() = head.status;
        *answer.headers_mut() = head.headers;
        answer
    }

    fn member(&self, backend: u32, member: u32) -> Option<&LiveMember> {
        self.service.backends.get(backend as usize)?.members.get(member as usize)
    }

    fn place_of(&self, record: &Record) -> Option<(&Group, &LiveMember)> {
        let placed = record.placed.as_ref()?;
        let group = &self.service.config.backends.get(placed.backend as usize)?.group;
        Some((group, self.member(placed.backend, placed.member)?))
    }

    /// Notes where the session is served, and counts why it left its member, if it did.
    fn remember(&self, record: &mut Record, member: &LiveMember, _backend: usize) {
        let Some(key) = self.key else { return };
        let Some(before) = self.service.ledger.remember(key, member.numbered.number) else { return };
        let loss = if self.retries > 0 { Loss::Failed } else { self.why_left(before, record.started) };
        record.loss = Some(loss);
        self.service.ledger.count_loss(record.client.context.worker, loss);
    }

    fn why_left(&self, member: u32, now: Tick) -> Loss {
        for (config, live) in self.service.config.backends.iter().zip(&self.service.backends) {
            let Some(left) = live.members.iter().find(|m| m.numbered.number == member) else { continue };
            return match () {
                () if config.scaler.is_drained() => Loss::Drained,
                () if !left.is_healthy() => Loss::Unhealthy,
                () if live.ledger.gate.is_full(now) => Loss::Full,
                () => Loss::Rebalanced,
            };
        }
        Loss::Gone
    }
}

async fn send_on(
    record: &Record,
    mut upstream: Box<Upstream>,
    outbound: &mut Outbound,
) -> Result<Reached, Failure> {
    let progress = outbound.progress().cloned();
    let gone = Failure { stage: Stage::Sent, detail: StatusDetail::InternalError };
    let request = outbound.next().ok_or(gone)?;
    match forward::send(&record.client, &mut upstream, request, progress.as_deref()).await {
        Ok(response) => Ok(Reached { response, upstream }),
        Err(Failed { failure, unsent }) => {
            outbound.restore(unsent);
            Err(failure)
        }
    }
}

/// Hears an ORCA report in an answer's head [G 1.41, 1.42]. The binary header wins.
fn hear_report(headers: &HeaderMap, endpoint: &Endpoint, now: Tick) {
    let report = match (headers.get(headers::ORCA_BIN), headers.get(headers::ORCA)) {
        (Some(binary), _) => binary.to_str().map(report::parse_binary),
        (None, Some(text)) => text.to_str().map(report::parse_header),
        (None, None) => return,
    };
    match report {
        Ok(Ok(report)) => {
            if let Some(utilization) = report.utilization() {
                endpoint.observe(utilization, now);
            }
        }
        Ok(Err(_)) | Err(_) => endpoint.count_malformed(),
    }
}
