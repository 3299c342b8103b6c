//! Why a request goes where it goes: route, session, tiers with capacity, load and fullness, what was left and why,
//! member. Nothing is sent and no room is taken.

mod backend;
mod question;

use std::net::IpAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

pub(crate) use question::Words;

use self::question::Question;
use super::health;
use super::status::region;
use crate::balance::explain::{self, Stage, Trace};
use crate::balance::pick::{Ask, Live, NoPick, Reason, Room};
use crate::clock;
use crate::engine::handle::Handle;
use crate::model::config::{Front, HttpFront, ServiceId};
use crate::model::detail::StatusDetail;
use crate::model::place::OriginId;
use crate::model::service::Affinity;
use crate::model::unit::Tick;
use crate::proxy::session::address::client_address;
use crate::proxy::session::strong::Signer;
use crate::proxy::session::{self, Reading};
use crate::world::{LiveService, World};

/// `POST /explain`.
pub(super) async fn ask(State(handle): State<Handle>, body: Bytes) -> Response {
    let bad = |why: &str| health::error(StatusCode::BAD_REQUEST, "invalid", why);
    let words: Words = match serde_json::from_slice(&body) {
        Ok(words) => words,
        Err(why) => return bad(&format!("Invalid JSON payload received. {why}")),
    };
    match answer(&handle.world(), handle.signer(), &words) {
        Ok(value) => Json(value).into_response(),
        Err(why) => bad(&why),
    }
}

/// The explanation as JSON. `signer` reads strong cookies.
///
/// # Errors
/// What is wrong with the question.
pub(crate) fn answer(world: &World, signer: Option<&Signer>, words: &Words) -> Result<Value, String> {
    let question = Question::read(words)?;
    let (front, http) = front(world, &question)?;
    let route = http.url_map.find(question.host.as_deref().map(str::as_bytes), &question.path);
    let service = world.service(route.service).ok_or("the route leads to no service")?;
    let client = client_address(question.client, &question.headers, &world.config.proxy.trusted_proxies);
    let origin = world.config.places.origin_of(client);
    let reading = session::read(
        &service.config,
        &question.headers,
        (client, front.address.ip()),
        (signer, clock::wall),
    );
    let chosen = Chosen::new(service, origin, reading);
    Ok(json!({
        "request": {
            "method": question.method.as_str(),
            "host": question.host,
            "path": question.path,
        },
        "route": {
            "forwardingRule": &*front.name,
            "targetProxy": &*front.proxy_name,
            "urlMap": &*http.url_map.name,
            "pathMatcher": route.matcher,
            "pathRule": route.rule,
            "service": &**service.name(),
        },
        "client": client_facts(world, client, origin),
        "session": chosen.session(reading),
        "tiers": chosen.tiers(world, origin),
        "outcome": chosen.outcome(world, route.service),
    }))
}

/// The forwarding rule that the request comes in at.
fn front<'a>(world: &'a World, question: &Question) -> Result<(&'a Front, &'a HttpFront), String> {
    let fronts = || world.config.fronts.iter().filter_map(|front| Some((front, front.http()?)));
    let found = match &question.rule {
        Some(name) => fronts().find(|(front, _)| *front.name == **name),
        None => fronts()
            .find(|(front, _)| Some(front.address.port()) == question.port)
            .or_else(|| fronts().next()),
    };
    found.ok_or_else(|| match &question.rule {
        Some(name) => format!("there is no forwarding rule `{name}` for HTTP"),
        None => "no forwarding rule leads to an HTTP proxy".to_owned(),
    })
}

fn client_facts(world: &World, client: IpAddr, origin: OriginId) -> Value {
    let places = &world.config.places;
    let location = places.client_locations.iter().find(|(cidr, _)| cidr.contains(client));
    let of = places.origins.get(usize::from(origin.0)).map_or("", |id| region(places, *id));
    json!({
        "address": client.to_string(),
        "region": of,
        "because": location.map_or_else(
            || "no clientLocations entry holds the address: the proxy's own region".to_owned(),
            |(cidr, _)| format!("clientLocations {}/{}", cidr.network, cidr.prefix),
        ),
    })
}

/// The choice in a service as it is now.
struct Chosen<'a> {
    service: &'a LiveService,
    trace: Trace,
}

impl<'a> Chosen<'a> {
    fn new(service: &'a LiveService, origin: OriginId, reading: Reading) -> Self {
        let (key, pinned) = match reading {
            Reading::Key(key) => (Some(key), None),
            Reading::Named(named) => (None, service.find(named.backend, named.member)),
            Reading::Nothing | Reading::Malformed => (None, None),
        };
        let ask = Ask { origin, key, pinned, turn: service.ledger.turn.peek(), tried: &[] };
        let trace = explain::explain(&service.plan.load(), ask, &mut Peek { service, now: clock::now() });
        Self { service, trace }
    }

    fn session(&self, reading: Reading) -> Value {
        let affinity = &self.service.config.affinity;
        let is_cookie = !matches!(affinity, Affinity::None | Affinity::ClientIp | Affinity::HeaderField(_));
        let meaning = match reading {
            Reading::Key(_) => "the key is mapped to a member by consistent hashing",
            Reading::Named(named) if self.service.find(named.backend, named.member).is_some() => {
                "the cookie names its member"
            }
            Reading::Named(_) => {
                "the cookie names a member that is not there any more: a new one is given out"
            }
            Reading::Malformed => "the cookie is not of our making, or has ended: a new one is given out",
            Reading::Nothing if *affinity == Affinity::None => "members by localityLbPolicy",
            Reading::Nothing if is_cookie => "no cookie: a new session begins, anywhere",
            Reading::Nothing => "nothing to know the session by: members by localityLbPolicy",
        };
        let key = match reading {
            Reading::Key(key) => Some(format!("{key:016x}")),
            _ => None,
        };
        json!({
            "sessionAffinity": affinity.as_str(),
            "localityLbPolicy": self.service.config.policies.locality.as_str(),
            "key": key,
            "meaning": meaning,
        })
    }

    fn tiers(&self, world: &World, origin: OriginId) -> Vec<Value> {
        let plan = self.service.plan.load();
        let tiers = plan.origins.get(usize::from(origin.0)).map_or(&[][..], |order| order.tiers.as_slice());
        let places = &world.config.places;
        let from = places.origins.get(usize::from(origin.0)).copied();
        let mut seen = Vec::new();
        let tier = |(depth, (tier, stage)): (usize, (&crate::balance::plan::Tier, &Stage))| {
            let distance = from.map(|from| places.distance(from, tier.region)).filter(|km| km.is_finite());
            let backends = backend::of_tier(self.service, (tier, stage), &mut seen, places);
            json!({
                "tier": depth + 1,
                "region": region(places, tier.region),
                "distanceKm": distance.map(f64::round),
                "keeps": stage.keeps,
                "verdict": stage.verdict.as_str(),
                "backends": backends,
            })
        };
        tiers.iter().zip(&self.trace.tiers).enumerate().map(tier).collect()
    }

    fn outcome(&self, world: &World, service: ServiceId) -> Value {
        let refused = |detail: StatusDetail, why: &str| {
            let status = world.service(service).map_or(503, |s| s.config.scheme.backend_failure_status());
            let status = if detail == StatusDetail::Overloaded { 503 } else { status };
            json!({"status": status, "statusDetails": detail.as_str(), "because": why})
        };
        let pick = match self.trace.outcome {
            Ok(pick) => pick,
            Err(NoPick::Overloaded) => {
                return refused(
                    StatusDetail::Overloaded,
                    "everything is full, and the service says overload: REJECT",
                );
            }
            Err(NoPick::NoHealthyMember | NoPick::AllTried) => {
                return refused(
                    StatusDetail::FailedToPickBackend,
                    "no backend has a member that may be used",
                );
            }
        };
        let group = self.service.config.backends.get(pick.backend as usize).map(|backend| &backend.group);
        let member = self.service.member(pick.backend, pick.member);
        json!({
            "group": group.map(|group| &*group.name),
            "zone": group.map(|group| &*group.zone),
            "member": member.map(|member| &*member.config.name),
            "address": member.map(|member| member.config.place()),
            "reason": pick.reason.as_str(),
            "because": because(pick.reason),
        })
    }
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
