//! What a route's `corsPolicy` does to a request and to whatever answers it, ours or a member's [G 7c]. The rules are
//! the model's.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderMap, HeaderValue, Response, request};

use super::body::ResponseBody;
use super::handle::{Turned, keep_facts};
use super::record::Record;
use super::respond;
use crate::model::route::Route;
use crate::model::route::action::Action;
use crate::model::route::cors::CorsPolicy;

/// What a request may do by the policy of its route. Its answer says so, whoever makes it.
pub(crate) struct Granted {
    policy: Arc<CorsPolicy>,
    /// The request's, if it is allowed.
    origin: Option<HeaderValue>,
}

impl Granted {
    /// `None` where the route has no policy.
    fn of(action: &Action, head: &request::Parts) -> Option<Box<Self>> {
        let policy = action.cors.clone()?;
        let origin = policy.allowed(&head.headers).cloned();
        Some(Box::new(Self { policy, origin }))
    }

    /// Writes it into an answer.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        self.policy.write(self.origin.as_ref(), headers);
    }
}

/// Finds out what the route's policy has to say: a request that it answers goes no further. It counts for the service
/// that it would have gone to, where that is one alone.
pub(super) fn apply(record: &mut Record, route: &Route<'_>, head: &request::Parts) -> Result<(), Turned> {
    let Some(granted) = Granted::of(route.action, head) else { return Ok(()) };
    let is_ours = granted.policy.answers(head.method.as_str(), &head.headers);
    record.cors = Some(granted);
    if !is_ours {
        return Ok(());
    }
    let mut services = route.action.services();
    let world = record.world.clone();
    if let (Some((id, _)), None) = (services.next(), services.next())
        && let Some(service) = world.service(id)
    {
        record.enter(id, service);
        keep_facts(record, service, head);
    }
    Err(Turned::Preflight)
}

/// Tells a browser what it may ask for. 200 and nothing else, as Envoy does.
pub(super) fn preflight(record: Box<Record>) -> Response<ResponseBody> {
    let policy = record.cors.as_ref().map(|granted| granted.policy.clone());
    let mut answer = respond::direct(record, 200);
    let headers = answer.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.remove(REFERRER_POLICY);
    if let Some(policy) = policy {
        policy.write_preflight(headers);
    }
    answer
}
