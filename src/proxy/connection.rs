//! A connection of a target TCP or SSL proxy as it is kept in the books: where it goes, how long it may last, and how
//! it ended. Whatever ends it, dropping it pays its lease back, counts the outcome, and writes the log line.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::access_log::Way;
use super::connection_log::Entry;
use super::context::Context;
use super::handle::is_logged;
use super::headers::Upgrade;
use super::live::Numbers;
use super::record::Placed;
use super::retry::MAX_CONNECT_RETRIES;
use super::session::{Claim, address};
use super::visit::Session;
use super::watch::Watched;
use crate::balance::pick::{self, Ask, NoPick};
use crate::clock;
use crate::ledger::lease::Lease;
use crate::ledger::member::Count;
use crate::ledger::process::Traffic;
use crate::ledger::service::{Extra, Loss};
use crate::model::config::{Front, ServiceId};
use crate::model::detail::StatusDetail;
use crate::model::service::Affinity;
use crate::model::unit::{Span, Tick};
use crate::world::{LiveMember, World};

/// Members that one connection may try.
const MAX_TRIED: usize = 1 + MAX_CONNECT_RETRIES as usize;

/// A connection as the process counts it, whichever way it ends.
pub(crate) struct Open {
    pub(crate) context: Rc<Context>,
    pub(crate) watched: Rc<Watched>,
}

impl Open {
    pub(crate) fn new(context: Rc<Context>, listener: u32) -> Self {
        let watched = Rc::new(Watched::new(listener));
        context.watch.add(watched.clone());
        Self { context, watched }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.watched.forget();
        let (process, worker) = (&self.context.process, self.context.worker);
        process.count(worker, Traffic::Closed);
        if std::thread::panicking() {
            process.count(worker, Traffic::Panics);
        }
    }
}

/// A connection's way and book-keeping; dropping it counts and logs how it ended.
pub(super) struct Connection<'a> {
    pub(super) open: &'a Open,
    pub(super) peer: SocketAddr,
    /// The address that the client asked for.
    pub(super) local: SocketAddr,
    /// Names of the forwarding rule and the target proxy.
    pub(super) names: (Arc<str>, Arc<str>),
    pub(super) has_proxy_header: bool,
    pub(super) session: Session,
    /// World and service, for pools of PREQUAL.
    of: (u64, ServiceId),
    pub(super) started: Tick,
    pub(super) tried: [(u32, u32); MAX_TRIED],
    pub(super) retries: u32,
    pub(super) placed: Option<Placed>,
    pub(super) attempts: u32,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    pub(super) loss: Option<Loss>,
    /// How it ended; `None` = the process did.
    pub(super) detail: Option<StatusDetail>,
    pub(super) is_logged: bool,
    /// Its forwarding rule is gone, and it has been told when to end.
    pub(super) is_retiring: Cell<bool>,
}

impl<'a> Connection<'a> {
    /// `None` when the forwarding rule does not lead to a service of connections any more.
    pub(super) fn new(
        open: &'a Open,
        (world, front): (&World, &Front),
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Option<Self> {
        let relay = front.relay()?;
        let service = world.service(relay.service)?.clone();
        let key = match service.config.affinity {
            Affinity::ClientIp => Some(address::client_ip_key(peer.ip(), local.ip())),
            _ => None,
        };
        Some(Self {
            open,
            peer,
            local,
            names: (front.name.clone(), front.proxy_name.clone()),
            has_proxy_header: relay.has_proxy_header,
            is_logged: is_logged(&open.context, &service),
            session: Session {
                service,
                origin: world.config.places.origin_of(peer.ip()),
                claim: Claim { key, ..Claim::default() },
                upgrade: Upgrade::None,
                tunnel: None,
                edits: None,
                filled: None,
                wanted: None,
                fault: None,
                retry: None,
            },
            of: (world.generation, relay.service),
            started: clock::now(),
            tried: [(u32::MAX, u32::MAX); MAX_TRIED],
            retries: 0,
            placed: None,
            attempts: 0,
            bytes_up: 0,
            bytes_down: 0,
            loss: None,
            detail: None,
            is_retiring: Cell::new(false),
        })
    }

    /// Chooses a member and takes its lease.
    pub(super) fn place(&mut self) -> Result<(), NoPick> {
        let (session, open) = (&self.session, self.open);
        let (worker, ledger) = (open.context.worker, &session.service.ledger);
        let is_first = self.retries == 0;
        let now = clock::now();
        let ask = Ask {
            origin: session.origin,
            key: session.claim.key,
            pinned: None,
            turn: ledger.turn.next(),
            tried: self.tried.get(..self.retries as usize).unwrap_or(&[]),
        };
        let backends = &session.service.backends;
        let mut numbers = Numbers { backends, now, is_first, pools: &open.context.pools, of: self.of };
        let pick = pick::choose(&session.service.plan.load(), ask, &mut numbers)?;
        // The plan is made from these very lists; one that names what is not there picks nobody.
        let backend = backends.get(pick.backend as usize).ok_or(NoPick::AllTried)?;
        let member = backend.members.get(pick.member as usize).ok_or(NoPick::AllTried)?;
        if is_first {
            backend.ledger.count_pick(worker, pick.reason);
        } else {
            ledger.count_extra(worker, Extra::Retries);
        }
        self.attempts += 1;
        open.watched.set_served_by(Some((member.numbered.number, session.service.config.draining_timeout)));
        self.is_retiring.set(false);
        let lease = Lease::take(backend.ledger.clone(), member.numbered.member.clone(), worker);
        let loss = session.loss((pick.backend, pick.member), (member, None), now);
        if let Some(loss) = loss.map(|loss| if is_first { loss } else { Loss::Failed }) {
            self.loss = Some(loss);
            ledger.count_loss(worker, loss);
        }
        self.placed = Some(Placed { backend: pick.backend, member: pick.member, reason: pick.reason, lease });
        Ok(())
    }

    /// Another member next time. The room of this one is free for the choice.
    pub(super) fn exclude(&mut self) {
        if let (Some(placed), Some(slot)) = (self.placed.take(), self.tried.get_mut(self.retries as usize)) {
            *slot = (placed.backend, placed.member);
        }
        self.retries += 1;
    }

    /// What `future` gives, unless the connection must end before.
    pub(super) async fn unless_cut<F: Future>(&self, future: F) -> Option<F::Output> {
        let watched = &self.open.watched;
        let mut future = pin!(future);
        poll_fn(|cx| {
            watched.register(cx.waker());
            self.notice_retirement();
            if watched.kill.get() || watched.is_expired() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// A forwarding rule that is gone leaves its connections the time that members which are gone leave theirs.
    fn notice_retirement(&self) {
        let watched = &self.open.watched;
        let limit = self.session.service.config.draining_timeout;
        if watched.drain.get()
            && !self.open.context.is_draining.get()
            && limit > Span::ZERO
            && !self.is_retiring.replace(true)
        {
            watched.end_by(clock::now() + limit);
        }
    }

    pub(super) fn member(&self) -> Option<&LiveMember> {
        let placed = self.placed.as_ref()?;
        self.session.service.member(placed.backend, placed.member)
    }

    pub(super) fn count(&self, what: Count, by: u64) {
        if let Some(placed) = &self.placed {
            placed.lease.member().add(self.open.context.worker, what, by);
        }
    }

    fn way(&self) -> Way<'_> {
        let (rule, proxy) = &self.names;
        let service = &self.session.service;
        let mut way =
            Way { forwarding_rule: rule, target_proxy: proxy, service: service.name(), ..Way::default() };
        if let Some(placed) = &self.placed {
            placed.show(service, &mut way);
        }
        way
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        let (context, ledger) = (&self.open.context, &self.session.service.ledger);
        let worker = context.worker;
        let detail = self.detail.unwrap_or(StatusDetail::ConnectionDrained);
        let is_good = detail == StatusDetail::ResponseSentByBackend;
        if self.attempts == 0
            && matches!(detail, StatusDetail::TlsHandshakeFailed | StatusDetail::ClientTimedOut)
        {
            context.process.count_unrouted(worker, detail, None);
        } else {
            ledger.count_detail(worker, detail);
            match &self.placed {
                Some(_) => self.count(if is_good { Count::Class2 } else { Count::Class0 }, 1),
                None => ledger.count_unplaced(worker, None),
            }
        }
        if self.is_logged {
            context.log_connection(&Entry {
                at: clock::wall(),
                duration: clock::now().since(self.started),
                client: self.peer,
                way: self.way(),
                detail,
                is_good,
                bytes_up: self.bytes_up,
                bytes_down: self.bytes_down,
                attempts: self.attempts,
                affinity_loss: self.loss,
            });
        }
    }
}
