//! Where a URL map leads a request, and by which of its words.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::clock;
use crate::model::config::{Front, HttpFront, ServiceId};
use crate::model::detail::StatusDetail;
use crate::model::route::action::{Split, Target, Url};
use crate::model::route::{Head, Route, Rule};
use crate::proxy::session::split;
use crate::proxy::session::strong::Signer;
use crate::world::World;

/// What a route comes to.
pub(super) enum End {
    /// A service is to serve it.
    Service(ServiceId),
    /// It is answered at once; the outcome.
    Answer(Value),
}

/// Follows the map: the facts of the route, and its end. Of services with weights, the one that the request's session
/// is with; a new session goes anywhere, and the service with the largest share is shown.
pub(super) fn lead(
    world: &World,
    (front, http): (&Front, &HttpFront),
    head: &Head<'_>,
    addresses: (IpAddr, IpAddr),
    signer: Option<&Signer>,
) -> (Value, End) {
    let route = http.url_map.find(head);
    let mut facts = json!({
        "forwardingRule": &*front.name,
        "targetProxy": &*front.proxy_name,
        "urlMap": &*http.url_map.name,
        "pathMatcher": route.matcher,
    });
    if let Some(rule) = route.rule {
        let key = if matches!(rule, Rule::Path(_)) { "pathRule" } else { "routeRule" };
        facts[key] = rule.to_string().into();
    }
    let id = match &route.action.target {
        Target::Redirect(redirect) => {
            let url = Url {
                is_https: false,
                host: head.host.and_then(|host| std::str::from_utf8(host).ok()).unwrap_or_default(),
                path: head.path,
                query: head.query,
            };
            let outcome = json!({
                "status": redirect.status,
                "statusDetails": StatusDetail::DirectResponse.as_str(),
                "location": redirect.location(&route, &url),
                "because": "the URL map redirects it [G 7c]",
            });
            return (facts, End::Answer(outcome));
        }
        Target::Service(destination) => destination.service,
        Target::Weighted(among) => {
            let services = |id| world.service(id).map(|live| &*live.config);
            let known = split::settled(among, services, head.headers, addresses, (signer, clock::wall));
            facts["weightedBackendServices"] = shares(among, world);
            facts["serviceBecause"] = if known.is_some() {
                "its session is there".into()
            } else {
                "by chance; the largest share is shown".into()
            };
            let largest = || among.parts().iter().max_by_key(|part| part.weight);
            known.or_else(largest).map_or(ServiceId(u32::MAX), |part| part.to.service)
        }
    };
    add_actions(&mut facts, &route, head);
    facts["service"] = world.service(id).map(|service| &**service.name()).into();
    (facts, End::Service(id))
}

fn shares(among: &Split, world: &World) -> Value {
    let part = |part: &crate::model::route::action::Part| {
        json!({
            "service": world.service(part.to.service).map(|service| &**service.name()),
            "weight": part.weight,
            "share": f64::from(part.weight) / f64::from(among.total()),
        })
    };
    among.parts().iter().map(part).collect()
}

/// What the service sees instead of what was asked for.
fn add_actions(facts: &mut Value, route: &Route<'_>, head: &Head<'_>) {
    let Some(rewrite) = &route.action.rewrite else { return };
    facts["rewrittenPath"] = rewrite.path.of(route, head.path).into();
    if let Some(host) = &rewrite.host {
        facts["rewrittenHost"] = (**host).into();
    }
}
