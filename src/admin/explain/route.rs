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
    if let Some(outcome) = preflight(&mut facts, &route, head) {
        return (facts, End::Answer(outcome));
    }
    let id = match &route.action.target {
        Target::Redirect(redirect) => {
            let url = Url {
                is_https: front.tls().is_some(),
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
    add_actions(&mut facts, (&route, world), head);
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

/// What a `corsPolicy` says of the request; the outcome, if that answers it.
fn preflight(facts: &mut Value, route: &Route<'_>, head: &Head<'_>) -> Option<Value> {
    let policy = route.action.cors.as_ref()?;
    facts["corsOriginAllowed"] = policy.allowed(head.headers).is_some().into();
    policy.answers(head.method, head.headers).then(|| {
        json!({
            "status": 200,
            "statusDetails": StatusDetail::DirectResponse.as_str(),
            "because": "its corsPolicy answers the preflight [G 7c]",
        })
    })
}

/// What the service sees instead of what was asked for, and who gets a copy of that.
fn add_actions(facts: &mut Value, (route, world): (&Route<'_>, &World), head: &Head<'_>) {
    if let Some(mirror) = &route.action.mirror {
        facts["mirroredTo"] = json!({
            "service": world.service(mirror.service).map(|service| &**service.name()),
            "percent": mirror.share * 100.0,
        });
    }
    let Some(rewrite) = &route.action.rewrite else { return };
    facts["rewrittenPath"] = rewrite.path.of(route, head.path).into();
    if let Some(host) = &rewrite.host {
        facts["rewrittenHost"] = (**host).into();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::ledger::registry::Registry;
    use crate::model::resolve::document;

    /// Of `config/routes.yaml`.
    fn led(host: &str, target: &str, lines: &[(&'static str, &'static str)]) -> (Value, Option<Value>) {
        let config = document(include_str!("../../../config/routes.yaml")).config.unwrap();
        let world = World::build(Arc::new(config), 1, &mut Registry::new(1));
        let front = world.config.fronts.first().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let head = Head { host: Some(host.as_bytes()), method: "GET", path, query, headers: &headers };
        let local = IpAddr::from([127, 0, 0, 1]);
        let (facts, end) = lead(&world, (front, front.http().unwrap()), &head, (local, local), None);
        match end {
            End::Service(_) => (facts, None),
            End::Answer(outcome) => (facts, Some(outcome)),
        }
    }

    #[test]
    fn a_route_rule_is_shown_by_its_priority_and_by_what_matched() {
        let (facts, _) = led("www.example.com", "/", &[("x-canary", "yes")]);
        let rule = "priority 10: prefixMatch /, header x-canary exactMatch yes";
        assert_eq!((&facts["routeRule"], &facts["service"]), (&rule.into(), &"canary".into()));
        let (facts, _) = led("www.example.com", "/?canary=1", &[]);
        assert_eq!(facts["routeRule"], "priority 10: prefixMatch /, query canary presentMatch");
        let (facts, _) = led("www.example.com", "/api/v1/users", &[]);
        assert_eq!(
            (&facts["rewrittenPath"], &facts["rewrittenHost"]),
            (&"/users".into(), &"api.internal".into())
        );
    }

    #[test]
    fn services_with_weights_are_shown_with_their_shares() {
        let (facts, _) = led("www.example.com", "/", &[]);
        let shares = &facts["weightedBackendServices"];
        assert_eq!((&shares[0]["share"], &shares[1]["share"]), (&0.95.into(), &0.05.into()));
        assert_eq!((&facts["service"], &shares[1]["service"]), (&"web".into(), &"canary".into()));
        assert_eq!(facts["serviceBecause"], "by chance; the largest share is shown");
        // A session that is there already goes where its key says.
        let (facts, _) = led("www.example.com", "/", &[("cookie", "GCLB=AAAAAAAAAAAAAAAAAAAAAA")]);
        assert_eq!(facts["serviceBecause"], "its session is there");
    }

    #[test]
    fn a_preflight_is_answered_and_a_copy_is_shown() {
        let config = document(include_str!("../../../config/browser.yaml")).config.unwrap();
        let world = World::build(Arc::new(config), 1, &mut Registry::new(1));
        let front = world.config.fronts.first().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("origin", HeaderValue::from_static("https://preview-7.example.net"));
        headers.insert("access-control-request-method", HeaderValue::from_static("PUT"));
        let local = IpAddr::from([127, 0, 0, 1]);
        let asked = |method| {
            let head = Head { host: Some(b"a"), method, path: "/api/x", query: None, headers: &headers };
            lead(&world, (front, front.http().unwrap()), &head, (local, local), None)
        };
        let (facts, end) = asked("OPTIONS");
        let End::Answer(outcome) = end else { panic!("{facts}") };
        assert_eq!((&outcome["status"], &facts["corsOriginAllowed"]), (&200.into(), &true.into()));
        let (facts, _) = asked("GET");
        let copied = json!({"service": "next", "percent": 10.0});
        assert_eq!((&facts["service"], &facts["mirroredTo"]), (&"web".into(), &copied));
    }

    #[test]
    fn a_redirect_is_shown_with_its_location() {
        let (facts, outcome) = led("old.example.com", "/a?b", &[]);
        let outcome = outcome.unwrap();
        assert_eq!((&facts["pathMatcher"], &facts["service"]), (&"old".into(), &Value::Null));
        let location = "https://www.example.com/a?b";
        assert_eq!((&outcome["status"], &outcome["location"]), (&308.into(), &location.into()));
    }
}
