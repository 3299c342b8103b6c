//! Why a request or a connection goes where it goes: route, session, tiers with capacity, load and fullness, what was
//! left and why, member. Nothing is sent and no room is taken.

mod backend;
mod choice;
mod front;
mod question;
mod route;

use std::net::IpAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, request};
use serde_json::{Value, json};

pub(crate) use question::Words;

use self::choice::Choice;
use self::question::{Kind, Question};
use super::health;
use super::status::region;
use crate::clock;
use crate::engine::handle::{Handle, Listening};
use crate::model::config::{Front, TcpFront};
use crate::model::detail::StatusDetail;
use crate::model::place::OriginId;
use crate::model::route::Head;
use crate::model::service::Affinity;
use crate::proxy::screen::{self, Own};
use crate::proxy::session;
use crate::proxy::session::address::client_address;
use crate::proxy::session::strong::Signer;
use crate::world::{LiveService, World};

/// Who is asked.
pub(crate) struct Asked<'a> {
    pub(crate) world: &'a World,
    /// Reads strong cookies; or the sentence that says why nobody can judge them.
    pub(crate) signer: Result<&'a Signer, &'a str>,
    /// What is bound; what is not stands as in the file.
    pub(crate) listening: &'a [Listening],
}

impl Asked<'_> {
    /// The port that a forwarding rule listens at.
    fn port(&self, front: &Front) -> u16 {
        let bound = self.listening.iter().find(|listening| listening.name == front.name);
        bound.map_or(front.address, |listening| listening.bound).port()
    }
}

/// `POST /explain`.
pub(super) async fn ask(State(handle): State<Handle>, body: Bytes) -> Response {
    let bad = |why: &str| health::error(StatusCode::BAD_REQUEST, "invalid", why);
    let words: Words = match serde_json::from_slice(&body) {
        Ok(words) => words,
        Err(why) => return bad(&format!("Invalid JSON payload received. {why}")),
    };
    let (world, listening) = (handle.world(), handle.listeners());
    let asked = Asked {
        world: &world,
        signer: handle.signer().ok_or("the cookie cannot be judged: this proxy has no key"),
        listening: &listening,
    };
    match answer(&asked, &words) {
        Ok(value) => Json(value).into_response(),
        Err(why) => bad(&why),
    }
}

/// The explanation as JSON.
///
/// # Errors
/// What is wrong with the question.
pub(crate) fn answer(asked: &Asked<'_>, words: &Words) -> Result<Value, String> {
    let question = Question::read(words)?;
    let front = front::find(asked, &question)?;
    match (&question.kind, front.relay()) {
        (Kind::Http(head), _) => of_request(asked, &question, head, front),
        (Kind::Connection, Some(relay)) => of_connection(asked, &question, front, relay),
        (Kind::Connection, None) => Err("no forwarding rule leads to a TCP or SSL proxy".to_owned()),
    }
}

fn of_request(
    asked: &Asked<'_>,
    question: &Question,
    head: &request::Parts,
    front: &Front,
) -> Result<Value, String> {
    let world = asked.world;
    let http = front.http().ok_or("the forwarding rule leads to no HTTP proxy")?;
    let mut shown = json!({
        "request": {
            "scheme": front.url_scheme(),
            "method": head.method.as_str(),
            "host": head.headers.get(HOST).and_then(|host| host.to_str().ok()),
            "path": head.uri.path(),
        },
    });
    let local = front::local(question, front);
    let mut head = head.clone();
    if !head.headers.contains_key(HOST) {
        // A client that was given an address says that address.
        let host = std::net::SocketAddr::new(local.0, asked.port(front)).to_string();
        head.headers.insert(HOST, HeaderValue::from_str(&host).map_err(|error| error.to_string())?);
    }
    if let Some(own) = screen::own_answer(&head) {
        shown["outcome"] = own_answer(&own);
        return Ok(shown);
    }
    let client = client_address(question.client, &head.headers, &world.config.proxy.trusted_proxies);
    let (route, end) =
        route::lead(world, (front, http), &Head::of(&head), (client, local.0), asked.signer.ok());
    shown["route"] = route;
    let id = match end {
        route::End::Service(id) => id,
        route::End::Answer(outcome) => {
            shown["client"] = client_facts(world, client, world.config.places.origin_of(client));
            shown["outcome"] = outcome;
            return Ok(shown);
        }
    };
    let service = world.service(id).ok_or("the route leads to no service")?;
    add_choice(&mut shown, asked, service, (client, local), &head.headers);
    Ok(shown)
}

fn of_connection(
    asked: &Asked<'_>,
    question: &Question,
    front: &Front,
    relay: TcpFront,
) -> Result<Value, String> {
    let service = asked.world.service(relay.service).ok_or("the route leads to no service")?;
    let local = front::local(question, front);
    let mut shown = json!({
        "connection": {
            "scheme": front.url_scheme(),
            "to": question.authority.as_ref().map(http::uri::Authority::as_str),
        },
        "route": {
            "forwardingRule": &*front.name,
            "targetProxy": &*front.proxy_name,
            "service": &**service.name(),
        },
    });
    // Nobody in front of us is believed: a connection has no headers to say who the client is.
    add_choice(&mut shown, asked, service, (question.client, local), &HeaderMap::new());
    Ok(shown)
}

/// Client, session, tiers and outcome, from the client's address to the local one.
fn add_choice(
    shown: &mut Value,
    asked: &Asked<'_>,
    service: &LiveService,
    (client, local): (IpAddr, (IpAddr, &str)),
    headers: &HeaderMap,
) {
    let world = asked.world;
    let origin = world.config.places.origin_of(client);
    let signer = (asked.signer.ok(), clock::wall as fn() -> _);
    let reading = session::read(&service.config, headers, (client, local.0), signer);
    let choice = Choice::new(service, origin, reading, asked.signer.err());
    shown["client"] = client_facts(world, client, origin);
    shown["session"] = choice.session();
    if service.config.affinity == Affinity::ClientIp {
        // The key is of both addresses.
        shown["session"]["to"] = local.0.to_string().into();
        shown["session"]["toBecause"] = local.1.into();
    }
    shown["tiers"] = choice.tiers(world).into();
    shown["skipped"] = choice.skipped(world).into();
    shown["outcome"] = choice.outcome();
}

fn own_answer(own: &Own) -> Value {
    let because = match own.detail {
        StatusDetail::DirectResponse => "a path with `.` or `..` is sent to its normal form [G 6b]",
        StatusDetail::UnsupportedMethod => "CONNECT and TRACE are refused [G 6b]",
        StatusDetail::UpgradeHeaderRejected => "of upgrades, only the one to WebSocket is passed on [G 6b]",
        StatusDetail::RequestLoopDetected => "by its Via, it goes round in circles [G 6b]",
        _ => own.why.unwrap_or("the proxy does not take such a request"),
    };
    json!({
        "status": own.status,
        "statusDetails": own.detail.as_str(),
        "location": own.location,
        "because": because,
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
