//! What a route does to a request: chooses among services with weights, redirects, rewrites, makes faults [G 7c]. The decisions are the model's; here they meet the request's own types.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue};
use http::request;
use http::uri::{PathAndQuery, Uri};

use super::failure::{Failure, Stage};
use super::handle::Turned;
use super::serve::Client;
use super::session::split;
use crate::clock;
use crate::model::config::ServiceId;
use crate::model::detail::StatusDetail;
use crate::model::route::Route;
use crate::model::route::action::{Action, Destination, Target, Url};
use crate::model::route::edit::HeaderEdits;
use crate::model::service::{Scheme, Service};
use crate::model::unit::Span;
use crate::world::World;

/// The URL that a client asked for, where a service sees another one [G 7.7].
const CLIENT_REQUEST_URL: HeaderName = HeaderName::from_static("x-client-request-url");
/// Its path, on products made of Envoy.
const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");

/// A fault of ours, or of a `regexRewrite` that makes no path of this one: the model lets no other such text through.
const UNWRITABLE: Failure = Failure { stage: Stage::Client, detail: StatusDetail::InternalError };

/// Where a request goes.
pub(super) struct Way {
    /// The service.
    pub(super) service: ServiceId,
    /// What happens to headers there and back.
    pub(super) edits: Option<Arc<HeaderEdits>>,
    /// What a new session is made of, if that has been decided.
    pub(super) fresh: Option<u128>,
}

/// What the dice have ordered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ordered {
    /// Wait first.
    pub(crate) delay: Option<Span>,
    /// Answer with this instead of a service.
    pub(crate) status: Option<u16>,
}

/// Goes where the route leads: to a service, or back to the client.
pub(super) fn follow(
    route: &Route<'_>,
    (client, world): (&Client, &World),
    head: &request::Parts,
    address: IpAddr,
) -> Result<Way, Turned> {
    let to = |destination: &Destination, fresh| {
        Ok(Way { service: destination.service, edits: destination.edits.clone(), fresh })
    };
    match &route.action.target {
        Target::Service(destination) => to(destination, None),
        Target::Weighted(among) => {
            let services = |id| world.service(id).map(|live| &*live.config);
            let (addresses, signer) = ((address, client.local.ip()), client.context.signer.get());
            if let Some(part) =
                split::settled(among, services, &head.headers, addresses, (signer, clock::wall))
            {
                return to(&part.to, None);
            }
            let chosen = split::fresh(among, services, &mut client.context.rng.borrow_mut());
            let (part, fresh) = chosen.ok_or(Failure::client(StatusDetail::ConfigNotFound))?;
            to(&part.to, fresh)
        }
        Target::Redirect(redirect) => {
            let location = redirect.location(route, &url(client, head)?);
            Err(Turned::To(redirect.status, location))
        }
    }
}

fn url<'a>(client: &Client, head: &'a request::Parts) -> Result<Url<'a>, Failure> {
    let host = head.headers.get(HOST).map_or(Ok(""), HeaderValue::to_str);
    let host = host.map_err(|_| Failure::client(StatusDetail::InvalidRequestHeaders))?;
    Ok(Url { is_https: client.hop.is_https(), host, path: head.uri.path(), query: head.uri.query() })
}

/// Gives the head the URL that the route wants the service to see.
pub(super) fn rewrite(
    route: &Route<'_>,
    (client, service): (&Client, &Service),
    head: &mut request::Parts,
) -> Result<(), Failure> {
    let Some(rewrite) = &route.action.rewrite else { return Ok(()) };
    let before = url(client, head)?;
    let path = rewrite.path.of(route, before.path).ok_or(UNWRITABLE)?;
    let target = before.query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let target = PathAndQuery::from_maybe_shared(Bytes::from(target)).map_err(|_| UNWRITABLE)?;
    let is_envoy = service.scheme == Scheme::InternalManaged || service.region.is_some();
    let (name, text) =
        if is_envoy { (ORIGINAL_PATH, head.uri.to_string()) } else { (CLIENT_REQUEST_URL, before.text()) };
    let text = HeaderValue::from_maybe_shared(Bytes::from(text)).map_err(|_| UNWRITABLE)?;
    head.headers.insert(name, text);
    if let Some(host) = &rewrite.host {
        head.headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| UNWRITABLE)?);
    }
    head.uri = Uri::from(target);
    Ok(())
}

/// Throws the dice for `faultInjectionPolicy`.
pub(super) fn fault(action: &Action, client: &Client) -> Option<Box<Ordered>> {
    let fault = action.fault.as_ref()?;
    let mut rng = client.context.rng.borrow_mut();
    let delay = fault.delay.filter(|(share, _)| rng.unit() < *share).map(|(_, span)| span);
    let status = fault.abort.filter(|(share, _)| rng.unit() < *share).map(|(_, status)| status);
    (delay.is_some() || status.is_some()).then(|| Box::new(Ordered { delay, status }))
}
