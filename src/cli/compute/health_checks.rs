//! `overspill health-checks`, `http-health-checks` and `https-health-checks`.

use clap::{ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::fault::Fault;
use super::flag::{self, Flag, Form, INT32, flag as f, is_set};
use super::generic::{self, named};
use super::kind::{HEALTH_CHECKS, HTTP_HEALTH_CHECKS, HTTPS_HEALTH_CHECKS, Kind};
use super::place::ScopeFlags;
use super::session::Session;

/// A protocol of checks.
struct Protocol {
    /// As typed.
    word: &'static str,
    /// As the API's `type`.
    api: &'static str,
    /// The field that holds what is its own.
    field: &'static str,
    /// Port that is probed where none is said; gRPC has none [G 4b].
    port: Option<i64>,
    flags: &'static [Flag],
}

const PORT: Form = Form::Whole(-INT32, INT32);

/// What all checks have. `create` refuses nothing here, the server does; `update` has ranges [G 4.1].
const TIMES: &[Flag] = &[
    f("description", Form::Text, "description", "Words about it"),
    f(
        "check-interval",
        Form::Seconds(0, INT32),
        "checkIntervalSec",
        "Time from probe to probe [default: 5s]",
    ),
    f("timeout", Form::Seconds(0, INT32), "timeoutSec", "Time for an answer [default: 5s]"),
    f(
        "healthy-threshold",
        Form::Whole(-INT32, INT32),
        "healthyThreshold",
        "Successes in a row that make a member healthy [default: 2]",
    ),
    f(
        "unhealthy-threshold",
        Form::Whole(-INT32, INT32),
        "unhealthyThreshold",
        "Failures in a row that make it unhealthy [default: 2]",
    ),
];
const LOGGING: &[Flag] =
    &[f("enable-logging", Form::YesNo("no-enable-logging"), "logConfig.enable", "Log changes of health")];
const TIME_RANGES: &[(&str, i64)] =
    &[("check-interval", 300), ("timeout", 300), ("healthy-threshold", 10), ("unhealthy-threshold", 10)];

const PORT_FLAG: Flag = f("port", PORT, "port", "Port that is probed");
const SERVING: Flag = f("use-serving-port", Form::Yes, "", "Probe the port that serves");
const HEADER: Flag = f(
    "proxy-header",
    Form::Word(&["NONE", "PROXY_V1"]),
    "proxyHeader",
    "Line that goes before the probe [default: NONE]",
);
const RESPONSE: Flag = f("response", Form::Text, "response", "What the answer must hold");

const HTTP: &[Flag] = &[
    PORT_FLAG,
    SERVING,
    HEADER,
    RESPONSE,
    f("request-path", Form::Text, "requestPath", "Path that is asked for [default: /]"),
    f("host", Form::Text, "host", "Host header of the probe"),
];
const TCP: &[Flag] = &[
    PORT_FLAG,
    SERVING,
    HEADER,
    RESPONSE,
    f("request", Form::Text, "request", "What is sent once connected"),
];
const GRPC: &[Flag] = &[
    PORT_FLAG,
    SERVING,
    f("grpc-service-name", Form::Text, "grpcServiceName", "Service that is asked about"),
];

const PROTOCOLS: &[Protocol] = &[
    Protocol { word: "http", api: "HTTP", field: "httpHealthCheck", port: Some(80), flags: HTTP },
    Protocol { word: "https", api: "HTTPS", field: "httpsHealthCheck", port: Some(443), flags: HTTP },
    Protocol { word: "http2", api: "HTTP2", field: "http2HealthCheck", port: Some(443), flags: HTTP },
    Protocol { word: "tcp", api: "TCP", field: "tcpHealthCheck", port: Some(80), flags: TCP },
    Protocol { word: "ssl", api: "SSL", field: "sslHealthCheck", port: Some(443), flags: TCP },
    Protocol { word: "grpc", api: "GRPC", field: "grpcHealthCheck", port: None, flags: GRPC },
    Protocol {
        word: "grpc-with-tls",
        api: "GRPC_WITH_TLS",
        field: "grpcTlsHealthCheck",
        port: None,
        flags: GRPC,
    },
];

/// `health-checks` with all its verbs.
pub(super) fn command() -> Command {
    let kind = &HEALTH_CHECKS;
    let of_all = |verb: &'static str, about: &'static str| {
        let command = Command::new(verb).about(about).subcommand_required(true).arg_required_else_help(true);
        PROTOCOLS.iter().fold(command, |command, protocol| {
            let one = Command::new(protocol.word).about(protocol.api).arg(generic::name());
            let one = flag::with(flag::with(ScopeFlags::of(kind).onto(one), TIMES), LOGGING);
            command.subcommand(flag::exclusive(
                flag::with(one, protocol.flags),
                "ports",
                &["port", "use-serving-port"],
            ))
        })
    };
    Command::new(kind.command)
        .about("Health checks: how members are probed")
        .subcommand(of_all("create", "Create one"))
        .subcommand(of_all("update", "Change fields of one"))
        .subcommand(generic::describe(kind))
        .subcommand(generic::list(kind))
        .subcommand(generic::delete(kind))
}

/// Does what `health-checks VERB [PROTOCOL]` says.
///
/// # Errors
/// [`Fault`].
pub(super) async fn run(session: &mut Session<'_>, verb: &[&str], matches: &ArgMatches) -> Result<(), Fault> {
    let protocol = |word: &str| PROTOCOLS.iter().find(|protocol| protocol.word == word);
    match verb {
        ["create", word] if let Some(protocol) = protocol(word) => create(session, protocol, matches).await,
        ["update", word] if let Some(protocol) = protocol(word) => update(session, protocol, matches).await,
        [verb] => super::common(session, &HEALTH_CHECKS, verb, matches).await,
        _ => Err(Fault::new("no such command")),
    }
}

async fn create(session: &mut Session<'_>, protocol: &Protocol, matches: &ArgMatches) -> Result<(), Fault> {
    let target = session.resolve(&HEALTH_CHECKS, named(matches), matches)?;
    let mut body = json!({"name": target.name, "type": protocol.api, "checkIntervalSec": 5, "timeoutSec": 5,
        "healthyThreshold": 2, "unhealthyThreshold": 2});
    flag::fill(&mut body, TIMES, matches, session, &target.scope);
    flag::fill(&mut body, LOGGING, matches, session, &target.scope);
    let mut own = match protocol.word {
        "tcp" | "ssl" => json!({"proxyHeader": "NONE"}),
        "grpc" | "grpc-with-tls" => json!({}),
        _ => json!({"proxyHeader": "NONE", "requestPath": "/"}),
    };
    flag::fill(&mut own, protocol.flags, matches, session, &target.scope);
    if is_set(matches, "use-serving-port") {
        own["portSpecification"] = "USE_SERVING_PORT".into();
    } else {
        if own["port"].is_null() {
            own["port"] = protocol.port.map(Value::from).ok_or_else(|| {
                Fault::new("Either --port or --use-serving-port must be set for gRPC health check.")
            })?;
        }
        own["portSpecification"] = "USE_FIXED_PORT".into();
    }
    body[protocol.field] = own;
    flag::compact(&mut body);
    generic::create(session, &HEALTH_CHECKS, &target, &body).await
}

/// GET, then PUT of the whole [G 10b].
async fn update(session: &mut Session<'_>, protocol: &Protocol, matches: &ArgMatches) -> Result<(), Fault> {
    let target = session.resolve(&HEALTH_CHECKS, named(matches), matches)?;
    in_ranges(matches)?;
    let given = [TIMES, LOGGING, protocol.flags]
        .map(|flags| flag::fill(&mut json!({}), flags, matches, session, &target.scope));
    if given.iter().sum::<usize>() == 0 {
        return Err(Fault::new("At least one property must be modified."));
    }
    let mut body = session.get(&target.path()).await?;
    if body["type"] != protocol.api {
        return Err(Fault::new(format!(
            "update {} subcommand applied to health check with protocol {}",
            protocol.word,
            body["type"].as_str().unwrap_or("UNKNOWN")
        )));
    }
    flag::fill(&mut body, TIMES, matches, session, &target.scope);
    flag::fill(&mut body, LOGGING, matches, session, &target.scope);
    let mut own = body[protocol.field].take();
    flag::fill(&mut own, protocol.flags, matches, session, &target.scope);
    if is_set(matches, "use-serving-port") {
        flag::remove(&mut own, &["port", "portName"]);
        flag::set(&mut own, "portSpecification", "USE_SERVING_PORT".into());
    } else if matches.contains_id("port") {
        flag::set(&mut own, "portSpecification", "USE_FIXED_PORT".into());
    }
    body[protocol.field] = own;
    flag::compact(&mut body);
    let now = session.change(Method::PUT, &target.path(), &body, &target).await?;
    generic::updated(session, &HEALTH_CHECKS, &target, &now)
}

fn in_ranges(matches: &ArgMatches) -> Result<(), Fault> {
    for (long, most) in TIME_RANGES {
        let given = matches.get_one::<i64>(long).copied();
        if given.is_some_and(|given| !(1..=*most).contains(&given)) {
            let what = if *most == 300 { "seconds" } else { "times" };
            return Err(Fault::of_flag(
                &format!("--{long}"),
                &format!("must be between 1 and {most} {what}"),
            ));
        }
    }
    Ok(())
}

const LEGACY: &[Flag] = &[
    f("port", PORT, "port", "Port that is probed [default: 80, or 443 in TLS]"),
    f("request-path", Form::Text, "requestPath", "Path that is asked for [default: /]"),
    f("host", Form::Text, "host", "Host header of the probe"),
];

/// One of the older kinds, with all its verbs.
pub(super) fn legacy(kind: &'static Kind) -> Command {
    let of = |verb: &'static str, about: &'static str| {
        let command = ScopeFlags::of(kind).onto(Command::new(verb).about(about).arg(generic::name()));
        flag::with(flag::with(command, TIMES), LEGACY)
    };
    Command::new(kind.command)
        .about("Health checks of the older kind")
        .subcommand(of("create", "Create one"))
        .subcommand(of("update", "Change fields of one"))
        .subcommand(generic::describe(kind))
        .subcommand(generic::list(kind))
        .subcommand(generic::delete(kind))
}

/// Does what `http-health-checks VERB` or `https-health-checks VERB` says.
///
/// # Errors
/// [`Fault`].
pub(super) async fn run_legacy(
    session: &mut Session<'_>,
    kind: &'static Kind,
    verb: &str,
    matches: &ArgMatches,
) -> Result<(), Fault> {
    if !["create", "update"].contains(&verb) {
        return super::common(session, kind, verb, matches).await;
    }
    let target = session.resolve(kind, named(matches), matches)?;
    if verb == "create" {
        let port = if kind.command == HTTPS_HEALTH_CHECKS.command { 443 } else { 80 };
        let mut body = json!({"name": target.name, "port": port, "requestPath": "/", "checkIntervalSec": 5,
            "timeoutSec": 5, "healthyThreshold": 2, "unhealthyThreshold": 2});
        flag::fill(&mut body, TIMES, matches, session, &target.scope);
        flag::fill(&mut body, LEGACY, matches, session, &target.scope);
        flag::compact(&mut body);
        return generic::create(session, kind, &target, &body).await;
    }
    in_ranges(matches)?;
    let given =
        [TIMES, LEGACY].map(|flags| flag::fill(&mut json!({}), flags, matches, session, &target.scope));
    if given.iter().sum::<usize>() == 0 {
        return Err(Fault::new("At least one property must be modified."));
    }
    let mut body = session.get(&target.path()).await?;
    flag::fill(&mut body, TIMES, matches, session, &target.scope);
    flag::fill(&mut body, LEGACY, matches, session, &target.scope);
    flag::compact(&mut body);
    let now = session.change(Method::PUT, &target.path(), &body, &target).await?;
    generic::updated(session, kind, &target, &now)
}

/// Both older kinds.
pub(super) static LEGACY_KINDS: &[&Kind] = &[&HTTP_HEALTH_CHECKS, &HTTPS_HEALTH_CHECKS];
