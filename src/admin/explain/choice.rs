//! The choice in a service as it is now: session, tiers, and the member, or the members that it lies between.

use std::sync::Arc;

use serde_json::{Value, json};

use super::backend::{self, View};
use crate::admin::status::region;
use crate::balance::explain::{self, Stage, Trace, Verdict};
use crate::balance::pick::{Ask, Live, NoPick, Pick, Reason, Room};
use crate::balance::plan::{Plan, Tier};
use crate::clock;
use crate::ledger::breaker::Limit;
use crate::model::detail::StatusDetail;
use crate::model::place::{OriginId, RegionId};
use crate::model::policy::{Isolation, Locality};
use crate::model::service::{Affinity, Protocol};
use crate::model::unit::Tick;
use crate::proxy::session::Reading;
use crate::world::{LiveService, World};

/// A choice that was not made.
pub(super) struct Choice<'a> {
    service: &'a LiveService,
    plan: Arc<Plan>,
    origin: OriginId,
    reading: Reading,
    /// Why nobody can judge the strong cookie that came.
    unjudged: Option<&'a str>,
    trace: Trace,
    now: Tick,
}

impl<'a> Choice<'a> {
    /// `keyless` says why strong cookies cannot be read, if they cannot.
    pub(super) fn new(
        service: &'a LiveService,
        origin: OriginId,
        reading: Reading,
        keyless: Option<&'a str>,
    ) -> Self {
        let now = clock::now();
        let turn = service.ledger.turn.peek();
        let (key, pinned) = match reading {
            Reading::Key(key) => (Some(key), None),
            Reading::Named(named) => (None, service.find(named.backend, named.member)),
            // Any key will do to go by a session's shares: the real one is drawn when the request comes.
            Reading::Nothing | Reading::Malformed => (begins_session(service).then_some(turn), None),
        };
        let plan = service.plan.load_full();
        let ask = Ask { origin, key, pinned, turn, tried: &[] };
        let trace = explain::explain(&plan, ask, &mut Peek { service, now });
        let is_strong = matches!(service.config.affinity, Affinity::StrongCookie(_));
        let unjudged = keyless.filter(|_| is_strong && reading == Reading::Malformed);
        Self { service, plan, origin, reading, unjudged, trace, now }
    }

    pub(super) fn session(&self) -> Value {
        let affinity = &self.service.config.affinity;
        let is_cookie = !matches!(affinity, Affinity::None | Affinity::ClientIp | Affinity::HeaderField(_));
        let is_kept = self.trace.outcome.is_ok_and(|pick| pick.reason == Reason::Session);
        let meaning = match self.reading {
            Reading::Key(_) => "the key is mapped to a member by consistent hashing",
            Reading::Named(_) if is_kept => "the cookie names its member",
            Reading::Named(named) if self.service.find(named.backend, named.member).is_some() => {
                "the cookie names a member that may not be used now: a new one is given out"
            }
            Reading::Named(_) => {
                "the cookie names a member that is not there any more: a new one is given out"
            }
            Reading::Malformed => "the cookie is not of our making, or has ended: a new one is given out",
            Reading::Nothing if *affinity == Affinity::None => "members by localityLbPolicy",
            Reading::Nothing if is_cookie => "no cookie: a new session begins, anywhere",
            Reading::Nothing => "nothing to know the session by: members by localityLbPolicy",
        };
        let key = match self.reading {
            Reading::Key(key) => Some(format!("{key:016x}")),
            _ => None,
        };
        json!({
            "sessionAffinity": affinity.as_str(),
            "localityLbPolicy": self.service.config.policies.locality.as_str(),
            "key": key,
            "meaning": self.unjudged.unwrap_or(meaning),
        })
    }

    pub(super) fn tiers(&self, world: &World) -> Vec<Value> {
        let view = self.view(world);
        let tier = |(depth, (tier, stage)): (usize, (&Tier, &Stage))| {
            json!({
                "tier": depth + 1,
                "region": region(view.places, tier.region),
                "distanceKm": self.distance(world, tier.region),
                "keeps": stage.keeps,
                "verdict": stage.verdict.as_str(),
                "backends": backend::of_tier(view, stage),
            })
        };
        self.order().iter().zip(&self.trace.tiers).enumerate().map(tier).collect()
    }

    /// What is in no tier, and why.
    pub(super) fn skipped(&self, world: &World) -> Vec<Value> {
        let view = self.view(world);
        let isolation = self.service.config.policies.distribution.isolation;
        let because = match isolation {
            Some(Isolation::Strict) => "isolationMode STRICT: only the client's own region gets its requests",
            _ => "isolationMode NEAREST: only the nearest region with usable backends gets requests",
        };
        let skipped = |(id, backends): &(RegionId, Arc<[u32]>)| {
            json!({
                "region": region(view.places, *id),
                "distanceKm": self.distance(world, *id),
                "because": because,
                "backends": backend::isolated(view, backends),
            })
        };
        self.trace.isolated.iter().map(skipped).collect()
    }

    fn view<'w>(&'w self, world: &'w World) -> View<'w> {
        View { service: self.service, places: &world.config.places, now: self.now }
    }

    /// From the clients' region, in whole km.
    fn distance(&self, world: &World, to: RegionId) -> Option<f64> {
        let places = &world.config.places;
        let from = places.origins.get(usize::from(self.origin.0)).copied();
        from.map(|from| places.distance(from, to)).filter(|km| km.is_finite()).map(f64::round)
    }

    fn order(&self) -> &[Tier] {
        self.plan.origins.get(usize::from(self.origin.0)).map_or(&[], |order| order.tiers.as_slice())
    }

    pub(super) fn outcome(&self) -> Value {
        if let Some(limit) = self.open_breaker() {
            let because = format!("circuitBreakers: {limit} requests are under way");
            return self.refused(StatusDetail::CircuitBreakerOpen, &because);
        }
        match self.trace.outcome {
            Ok(pick) => self.placed(pick),
            Err(NoPick::Overloaded) if self.is_isolated() => self.refused(
                StatusDetail::Overloaded,
                "everything that isolationConfig leaves is full, and the service says overload: REJECT",
            ),
            Err(NoPick::Overloaded) => self.refused(
                StatusDetail::Overloaded,
                "everything is full, and the service says overload: REJECT",
            ),
            Err(NoPick::NoHealthyMember | NoPick::AllTried) => {
                let because = if self.is_isolated() {
                    "no backend that isolationConfig leaves has a member that may be used"
                } else {
                    "no backend has a member that may be used"
                };
                self.refused(StatusDetail::FailedToPickBackend, because)
            }
        }
    }

    /// `maxRequests`, if so many are under way.
    fn open_breaker(&self) -> Option<u32> {
        let most = self.service.config.policies.circuit_breakers.max_requests?;
        if self.is_of_connections() {
            return None;
        }
        (self.service.ledger.breakers.held(Limit::Requests) >= u64::from(most)).then_some(most)
    }

    /// Whether there are backends that isolation keeps the request from.
    fn is_isolated(&self) -> bool {
        !self.trace.isolated.is_empty()
    }

    fn is_of_connections(&self) -> bool {
        matches!(self.service.config.protocol, Protocol::Tcp | Protocol::Ssl)
    }

    /// A connection that is refused is reset, without a word.
    fn refused(&self, detail: StatusDetail, because: &str) -> Value {
        let status = match detail {
            _ if self.is_of_connections() => None,
            StatusDetail::Overloaded => Some(503),
            _ => Some(self.service.config.scheme.backend_failure_status()),
        };
        json!({"status": status, "statusDetails": detail.as_str(), "because": because})
    }

    fn placed(&self, pick: Pick) -> Value {
        let because = match pick.reason {
            Reason::Overfilled if self.is_isolated() => {
                "everything that isolationConfig leaves is full: placed above the targets, in proportion to capacity [G 2.6]"
            }
            reason => because(reason),
        };
        let mut outcome = json!({"reason": pick.reason.as_str(), "because": because});
        let (why, mut candidates) = self.candidates(pick);
        if candidates.len() < 2 {
            candidates = vec![(pick.backend, pick.member)];
        } else {
            outcome["oneOf"] = candidates.iter().filter_map(|one| self.candidate(*one)).collect();
            outcome["choice"] = why.into();
        }
        let first = candidates.first().copied().unwrap_or((pick.backend, pick.member));
        let group = |backend: u32| self.service.config.backends.get(backend as usize).map(|one| &one.group);
        if let Some(group) = group(first.0).filter(|_| candidates.iter().all(|one| one.0 == first.0)) {
            outcome["group"] = (*group.name).into();
            outcome["zone"] = (*group.zone).into();
        }
        if let ([_], Some(member)) = (candidates.as_slice(), self.service.member(first.0, first.1)) {
            outcome["member"] = (*member.config.name).into();
            outcome["address"] = member.config.place().into();
        }
        if self.unjudged.is_some() {
            outcome["provided"] = "the cookie names nobody; else it goes to the member that it names".into();
        }
        outcome
    }

    /// Members among which something decides that is not known here, and what.
    fn candidates(&self, pick: Pick) -> (&'static str, Vec<(u32, u32)>) {
        let usable = |backend: u32| {
            let members = self.plan.backends.get(backend as usize).map(|usable| usable.members.clone());
            members
                .into_iter()
                .flat_map(move |members| members.iter().map(|member| (backend, *member)).collect::<Vec<_>>())
        };
        let has_no_key = !matches!(self.reading, Reading::Key(_)) && pick.reason != Reason::Session;
        if has_no_key && begins_session(self.service) {
            let mut backends = self.backends_of(pick);
            backends.sort_unstable();
            return (
                "a new session is given a key by chance, which says who of these",
                backends.into_iter().flat_map(usable).collect(),
            );
        }
        if has_no_key && self.service.config.policies.locality == Locality::Prequal {
            return (
                "PREQUAL: each worker has its own pool of probes of these. Of those in it, the fastest that has not more in \
                 flight than most",
                usable(pick.backend).collect(),
            );
        }
        ("", Vec::new())
    }

    /// The backends that a session of any key may be placed in, as things are.
    fn backends_of(&self, pick: Pick) -> Vec<u32> {
        if pick.reason == Reason::Overfilled {
            let order = self.plan.origins.get(usize::from(self.origin.0));
            let shares =
                order.map(|order| if order.guesses.is_empty() { &order.overfill } else { &order.guesses });
            return shares.map_or(Vec::new(), |shares| shares.arcs.iter().map(|arc| arc.1).collect());
        }
        let taken = self.trace.tiers.iter().find(|stage| stage.verdict == Verdict::Taken);
        let has_room = |backend: &u32| {
            let live = self.service.backends.get(*backend as usize);
            live.is_some_and(|live| !live.ledger.gate.is_full(self.now))
        };
        let shares = taken.into_iter().flat_map(|stage| &stage.shares).map(|share| share.0);
        shares.filter(has_room).collect()
    }

    fn candidate(&self, (backend, member): (u32, u32)) -> Option<Value> {
        let group = &self.service.config.backends.get(backend as usize)?.group;
        let live = self.service.member(backend, member)?;
        let numbers = &live.numbered.member;
        let latency = numbers.conduct.latency(self.now).as_secs();
        Some(json!({
            "group": &*group.name,
            "member": &*live.config.name,
            "address": live.config.place(),
            "inFlight": numbers.in_flight(),
            // Of its answers lately; null: none came, or nobody keeps it.
            "latencySeconds": (latency > 0.0).then_some(latency),
        }))
    }
}

/// Whether a request without a session is given one whose key decides already.
fn begins_session(service: &LiveService) -> bool {
    matches!(service.config.affinity, Affinity::GeneratedCookie { .. } | Affinity::HttpCookie(_))
}

const fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::Nearest => "the first tier has room",
        Reason::Full => "spilled: nearer tiers are full",
        Reason::Unhealthy => "spilled: no healthy member nearer",
        Reason::Drained => "spilled: nearer backends are drained",
        Reason::Overfilled => {
            "everything is full: placed above the targets, in proportion to capacity [G 2.6]"
        }
        Reason::Failover => "spilled: nearer backends have too few healthy members for all of it [G 2.14]",
        Reason::Session => "its session is there [G 3.6]",
        Reason::FailOpen => "no member is healthy, and the service says failOpen",
    }
}

/// Looks at room without taking any.
struct Peek<'a> {
    service: &'a LiveService,
    now: Tick,
}

impl Live for Peek<'_> {
    fn admit(&mut self, backend: u32, room: Room) -> Option<u64> {
        let gate = &self.service.backends.get(backend as usize)?.ledger.gate;
        (room == Room::Overfill || !gate.is_full(self.now)).then(|| gate.peek())
    }

    fn in_flight(&self, backend: u32, member: u32) -> u64 {
        self.service.member(backend, member).map_or(0, |member| member.numbered.member.in_flight())
    }
}
