//! `backend-services create` and `update`: flags → fields [G 10c].

use clap::{ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::{KIND, metrics};
use crate::cli::compute::fault::Fault;
use crate::cli::compute::flag::{self, Flag, Form, INT32, exclusive, flag as f, is_set};
use crate::cli::compute::generic::{self, named};
use crate::cli::compute::kind::{
    HEALTH_CHECKS, HTTP_HEALTH_CHECKS, HTTPS_HEALTH_CHECKS, SERVICE_LB_POLICIES,
};
use crate::cli::compute::place::{Scope, ScopeFlags, Target, basename};
use crate::cli::compute::session::Session;

const PROTOCOLS: &[&str] = &["GRPC", "H2C", "HTTP", "HTTP2", "HTTPS", "SSL", "TCP", "UDP", "UNSPECIFIED"];
const AFFINITIES: &[&str] = &[
    "CLIENT_IP",
    "CLIENT_IP_NO_DESTINATION",
    "CLIENT_IP_PORT_PROTO",
    "CLIENT_IP_PROTO",
    "GENERATED_COOKIE",
    "HEADER_FIELD",
    "HTTP_COOKIE",
    "NONE",
    "STRONG_COOKIE_AFFINITY",
];
const SCHEMES: &[&str] =
    &["EXTERNAL", "EXTERNAL_MANAGED", "INTERNAL", "INTERNAL_MANAGED", "INTERNAL_SELF_MANAGED"];
const LOCALITY: &[&str] = &[
    "INVALID_LB_POLICY",
    "LEAST_REQUEST",
    "MAGLEV",
    "ORIGINAL_DESTINATION",
    "RANDOM",
    "RING_HASH",
    "ROUND_ROBIN",
    "WEIGHTED_GCP_RENDEZVOUS",
    "WEIGHTED_MAGLEV",
    "WEIGHTED_ROUND_ROBIN",
];
const OPTIONAL: &[&str] = &["CUSTOM", "EXCLUDE_ALL_OPTIONAL", "INCLUDE_ALL_OPTIONAL"];
const IP_SELECTION: &[&str] = &["IPV4_ONLY", "IPV6_ONLY", "PREFER_IPV6"];

/// Flags of both.
const FLAGS: &[Flag] = &[
    f("description", Form::Text, "description", "Words about it"),
    f(
        "protocol",
        Form::Word(PROTOCOLS),
        "protocol",
        "Protocol to its members; HTTP if nothing was ever said",
    ),
    f(
        "port-name",
        Form::Text,
        "portName",
        "Named port of its instance groups; a new service has http, https or http2, as the protocol",
    ),
    f(
        "timeout",
        Form::Seconds(1, INT32),
        "timeoutSec",
        "Time for a whole answer, such as 30, 30s, 2m; 30s if nothing was ever said",
    ),
    f("session-affinity", Form::Word(AFFINITIES), "sessionAffinity", "What keeps a client on its member"),
    f(
        "affinity-cookie-ttl",
        Form::Seconds(0, 1_209_600),
        "",
        "Life of the affinity cookie; 0 for that of the browser",
    ),
    f(
        "affinity-cookie-name",
        Form::Text,
        "",
        "Name of the cookie, for http_cookie and strong_cookie_affinity",
    ),
    f(
        "affinity-cookie-path",
        Form::Text,
        "",
        "Path of the cookie, for http_cookie and strong_cookie_affinity",
    ),
    f(
        "connection-draining-timeout",
        Form::Seconds(0, 3600),
        "connectionDraining.drainingTimeoutSec",
        "Time that a member has to end what it does",
    ),
    f("health-checks", Form::ReferToAll(&HEALTH_CHECKS), "healthChecks", "Health check of its members"),
    f(
        "http-health-checks",
        Form::ReferToAll(&HTTP_HEALTH_CHECKS),
        "healthChecks",
        "Health check of the older kind",
    ),
    f(
        "https-health-checks",
        Form::ReferToAll(&HTTPS_HEALTH_CHECKS),
        "healthChecks",
        "Health check of the older kind, in TLS",
    ),
    f(
        "load-balancing-scheme",
        Form::Word(SCHEMES),
        "loadBalancingScheme",
        "Which balancer of Google's it is of [default: EXTERNAL]",
    ),
    f("locality-lb-policy", Form::Word(LOCALITY), "localityLbPolicy", "How a member of a group is chosen"),
    f(
        "custom-request-header",
        Form::Repeated,
        "customRequestHeaders",
        "'Name: value' for requests to members; several times",
    ),
    f(
        "custom-response-header",
        Form::Repeated,
        "customResponseHeaders",
        "'Name: value' for answers to clients; several times",
    ),
    f(
        "enable-logging",
        Form::YesNo("no-enable-logging"),
        "logConfig.enable",
        "Log requests; --no-enable-logging does not",
    ),
    f(
        "logging-sample-rate",
        Form::Real(0.0, 1.0),
        "logConfig.sampleRate",
        "Share of requests that is logged, 0 to 1",
    ),
    f(
        "logging-optional",
        Form::Word(OPTIONAL),
        "logConfig.optionalMode",
        "Which optional fields a log line has",
    ),
    f(
        "logging-optional-fields",
        Form::List,
        "logConfig.optionalFields",
        "The optional fields, with --logging-optional custom",
    ),
    f(
        "service-lb-policy",
        Form::Refers(&SERVICE_LB_POLICIES),
        "serviceLbPolicy",
        "How it spreads over its backends; global services only",
    ),
    f(
        "compression-mode",
        Form::Word(&["AUTOMATIC", "DISABLED"]),
        "compressionMode",
        "Whether answers are compressed",
    ),
    f(
        "enable-cdn",
        Form::YesNo("no-enable-cdn"),
        "enableCDN",
        "Google's CDN, which is not here: the server refuses it",
    ),
    f(
        "ip-address-selection-policy",
        Form::Word(IP_SELECTION),
        "ipAddressSelectionPolicy",
        "Which addresses of members are used",
    ),
    f(
        "failover-ratio",
        Form::Real(0.0, 1.0),
        "failoverPolicy.failoverRatio",
        "For passthrough balancers, which are not here",
    ),
    f(
        "drop-traffic-if-unhealthy",
        Form::YesNo("no-drop-traffic-if-unhealthy"),
        "failoverPolicy.dropTrafficIfUnhealthy",
        "For passthrough balancers, which are not here",
    ),
    f(
        "connection-drain-on-failover",
        Form::YesNo("no-connection-drain-on-failover"),
        "",
        "For passthrough balancers, which are not here",
    ),
    f("global-health-checks", Form::Yes, "", "The health checks are global, though the service is regional"),
    f("health-checks-region", Form::Text, "", "Region of the health checks"),
];

/// Flags of `update` alone.
const CLEARING: &[Flag] = &[
    f("no-health-checks", Form::Empties, "healthChecks", "Take the health checks away"),
    f("no-custom-request-headers", Form::Empties, "customRequestHeaders", "Take these headers away"),
    f("no-custom-response-headers", Form::Empties, "customResponseHeaders", "Take these headers away"),
    f("no-service-lb-policy", Form::Clears, "serviceLbPolicy", "Take the policy away"),
    f("no-locality-lb-policy", Form::Clears, "localityLbPolicy", "Take the choice of members away"),
];

const CHECKS: &[&str] = &["health-checks", "http-health-checks", "https-health-checks"];

pub(super) fn create() -> Command {
    let command = Command::new("create").about("Create one, still without backends").arg(generic::name());
    let command = flag::with(ScopeFlags::of(KIND).onto(command), FLAGS);
    metrics::onto(exclusive(command, "checks", CHECKS), false)
}

pub(super) fn update() -> Command {
    let command = Command::new("update").about("Change fields of one").arg(generic::name());
    let command = flag::with(flag::with(ScopeFlags::of(KIND).onto(command), FLAGS), CLEARING);
    let checks = [CHECKS, &["no-health-checks"]].concat();
    let command = exclusive(command, "checks", &checks);
    let command =
        exclusive(command, "request-headers", &["custom-request-header", "no-custom-request-headers"]);
    let command =
        exclusive(command, "response-headers", &["custom-response-header", "no-custom-response-headers"]);
    let command = exclusive(command, "lb-policy", &["service-lb-policy", "no-service-lb-policy"]);
    metrics::onto(exclusive(command, "locality", &["locality-lb-policy", "no-locality-lb-policy"]), true)
}

/// `create`.
pub(super) async fn make(session: &mut Session<'_>, matches: &ArgMatches) -> Result<(), Fault> {
    let target = session.resolve(KIND, named(matches), matches)?;
    let mut body = json!({"name": target.name, "protocol": "HTTP", "timeoutSec": 30});
    fill(&mut body, session, &target, matches)?;
    if body["portName"].is_null() && target.scope == Scope::Global {
        let protocol = body["protocol"].as_str().unwrap_or_default().to_ascii_lowercase();
        if ["http", "https", "http2"].contains(&protocol.as_str()) {
            if protocol != "http" {
                session.notes += &format!(
                    "Backend-services' port_name automatically resolved to {protocol} based on the service protocol.\n"
                );
            }
            body["portName"] = protocol.into();
        }
    }
    flag::compact(&mut body);
    generic::create(session, KIND, &target, &body).await
}

/// `update`: GET, then PATCH of the whole object, with null and `[]` for what is cleared [G 10b].
pub(super) async fn change(session: &mut Session<'_>, matches: &ArgMatches) -> Result<(), Fault> {
    let target = session.resolve(KIND, named(matches), matches)?;
    // A trial on nothing: whether there is anything to change, before the server is asked.
    let mut trial = json!({"sessionAffinity": "STRONG_COOKIE_AFFINITY"});
    if fill(&mut trial, session, &target, matches)? == 0 {
        return Err(Fault::new("At least one property must be modified."));
    }
    let mut body = session.get(&target.path()).await?;
    fill(&mut body, session, &target, matches)?;
    for headers in ["customRequestHeaders", "customResponseHeaders"] {
        if body[headers].is_null() {
            body[headers] = json!([]);
        }
    }
    let affinity = flag::text(matches, "session-affinity");
    if affinity.is_some_and(|affinity| affinity != "STRONG_COOKIE_AFFINITY") {
        body["strongSessionAffinityCookie"] = Value::Null;
    }
    let now = session.change(Method::PATCH, &target.path(), &body, &target).await?;
    generic::updated(session, KIND, &target, &now)
}

/// Sets what the flags say, and counts them.
fn fill(
    body: &mut Value,
    session: &Session<'_>,
    target: &Target,
    matches: &ArgMatches,
) -> Result<usize, Fault> {
    let mut given = flag::fill(body, FLAGS, matches, session, &checks_scope(target, matches))
        + flag::fill(body, CLEARING, matches, session, &target.scope);
    if flag::text(matches, "service-lb-policy").is_some() && target.scope != Scope::Global {
        return Err(Fault::of_flag("--service-lb-policy", "cannot be set with --region"));
    }
    cookie(body, matches)?;
    if let Some(metrics) = metrics::of(matches)? {
        given += 1;
        body["customMetrics"] = metrics;
    }
    let drains = ("connection-drain-on-failover", "no-connection-drain-on-failover");
    if is_set(matches, drains.0) || is_set(matches, drains.1) {
        flag::set(body, "failoverPolicy.disableConnectionDrainOnFailover", json!(is_set(matches, drains.1)));
    }
    Ok(given)
}

/// A regional service may have checks that are elsewhere.
fn checks_scope(target: &Target, matches: &ArgMatches) -> Scope {
    if is_set(matches, "global-health-checks") {
        return Scope::Global;
    }
    let region = flag::text(matches, "health-checks-region");
    region.map_or_else(|| target.scope.clone(), |region| Scope::Region(basename(region).to_owned()))
}

/// Where the cookie's name, path and life go depends on the affinity [G 3.11].
fn cookie(body: &mut Value, matches: &ArgMatches) -> Result<(), Fault> {
    let affinity = body["sessionAffinity"].as_str().unwrap_or("NONE").to_owned();
    let field = match affinity.as_str() {
        "STRONG_COOKIE_AFFINITY" => Some("strongSessionAffinityCookie"),
        "HTTP_COOKIE" => Some("consistentHash.httpCookie"),
        _ => None,
    };
    for (long, key) in [("affinity-cookie-name", "name"), ("affinity-cookie-path", "path")] {
        if let Some(text) = flag::text(matches, long) {
            let Some(field) = field else {
                let why = format!("cannot be set with {affinity} session affinity");
                return Err(Fault::of_flag(&format!("--{long}"), &why));
            };
            flag::set(body, &format!("{field}.{key}"), text.into());
        }
    }
    if let Ok(Some(ttl)) = matches.try_get_one::<i64>("affinity-cookie-ttl") {
        if affinity == "STRONG_COOKIE_AFFINITY" {
            // int64 is text in JSON.
            flag::set(body, "strongSessionAffinityCookie.ttl", json!({"seconds": ttl.to_string()}));
        } else {
            flag::set(body, "affinityCookieTtlSec", json!(ttl));
        }
    }
    Ok(())
}
