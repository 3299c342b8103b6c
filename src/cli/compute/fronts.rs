//! Target proxies and forwarding rules.

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::batch;
use super::fault::Fault;
use super::flag::{self, Flag, Form, INT32, exclusive, flag as f, texts};
use super::generic::{self, named};
use super::kind::{
    BACKEND_SERVICES, FORWARDING_RULES, Kind, SSL_CERTIFICATES, SSL_POLICIES, TARGET_HTTP_PROXIES,
    TARGET_HTTPS_PROXIES, TARGET_SSL_PROXIES, TARGET_TCP_PROXIES, URL_MAPS,
};
use super::place::{ScopeFlags, Target};
use super::session::Session;

const DESCRIPTION: Flag = f("description", Form::Text, "description", "Words about it");
const URL_MAP: Flag = f("url-map", Form::Refers(&URL_MAPS), "urlMap", "URL map that says where requests go");
const KEEP_ALIVE: Flag = f(
    "http-keep-alive-timeout-sec",
    Form::Whole(0, INT32),
    "httpKeepAliveTimeoutSec",
    "Seconds that an idle connection of a client stays, 5 to 1200",
);
const CERTIFICATES: Flag = f(
    "ssl-certificates",
    Form::ReferToAll(&SSL_CERTIFICATES),
    "sslCertificates",
    "Its certificates, the first one first",
);
const SSL_POLICY: Flag =
    f("ssl-policy", Form::Refers(&SSL_POLICIES), "sslPolicy", "TLS versions and ciphers");
const SERVICE: Flag =
    f("backend-service", Form::Refers(&BACKEND_SERVICES), "service", "Backend service of its connections");
const HEADER: Flag = f(
    "proxy-header",
    Form::Word(&["NONE", "PROXY_V1"]),
    "proxyHeader",
    "Line that tells a member the client [default: NONE]",
);

/// One kind of proxy.
struct Proxy {
    kind: &'static Kind,
    about: &'static str,
    flags: &'static [Flag],
    /// Flags of `update` alone, which clear.
    clears: &'static [Flag],
    /// Flags that `create` needs.
    needs: &'static [&'static str],
    /// How `update` changes: the whole object by PATCH, or a verb for each field [G 12].
    setters: &'static [(&'static str, &'static str)],
}

const PROXIES: &[Proxy] = &[
    Proxy {
        kind: &TARGET_HTTP_PROXIES,
        about: "HTTP proxies: from a forwarding rule to a URL map",
        flags: &[URL_MAP, DESCRIPTION, KEEP_ALIVE],
        clears: &[f(
            "clear-http-keep-alive-timeout-sec",
            Form::Clears,
            "httpKeepAliveTimeoutSec",
            "Back to the default",
        )],
        needs: &["url-map"],
        setters: &[],
    },
    Proxy {
        kind: &TARGET_HTTPS_PROXIES,
        about: "HTTPS proxies: from a forwarding rule to a URL map, in TLS",
        flags: &[
            URL_MAP,
            CERTIFICATES,
            DESCRIPTION,
            KEEP_ALIVE,
            SSL_POLICY,
            f(
                "quic-override",
                Form::Word(&["DISABLE", "ENABLE", "NONE"]),
                "quicOverride",
                "Whether HTTP/3 is spoken",
            ),
            f(
                "server-tls-policy",
                Form::Text,
                "serverTlsPolicy",
                "Whether clients need certificates: URL of the policy",
            ),
            f(
                "tls-early-data",
                Form::Word(&["DISABLED", "PERMISSIVE", "STRICT", "UNRESTRICTED"]),
                "tlsEarlyData",
                "Requests before the handshake is done",
            ),
            f("certificate-map", Form::Text, "certificateMap", "Map of certificates: its URL"),
        ],
        clears: &[
            f(
                "clear-http-keep-alive-timeout-sec",
                Form::Clears,
                "httpKeepAliveTimeoutSec",
                "Back to the default",
            ),
            f("clear-ssl-policy", Form::Clears, "sslPolicy", "Take the policy away"),
            f("clear-ssl-certificates", Form::Empties, "sslCertificates", "Take the certificates away"),
            f("clear-server-tls-policy", Form::Clears, "serverTlsPolicy", "Take the policy away"),
        ],
        needs: &["url-map"],
        setters: &[],
    },
    Proxy {
        kind: &TARGET_TCP_PROXIES,
        about: "TCP proxies: from a forwarding rule to a backend service",
        flags: &[SERVICE, DESCRIPTION, HEADER],
        clears: &[],
        needs: &["backend-service"],
        setters: &[("service", "setBackendService"), ("proxyHeader", "setProxyHeader")],
    },
    Proxy {
        kind: &TARGET_SSL_PROXIES,
        about: "SSL proxies: from a forwarding rule to a backend service, TLS ends here",
        flags: &[SERVICE, CERTIFICATES, DESCRIPTION, HEADER, SSL_POLICY],
        clears: &[f("clear-ssl-policy", Form::Clears, "sslPolicy", "Take the policy away")],
        needs: &["backend-service"],
        setters: &[
            ("service", "setBackendService"),
            ("sslCertificates", "setSslCertificates"),
            ("proxyHeader", "setProxyHeader"),
            ("sslPolicy", "setSslPolicy"),
        ],
    },
];

/// All kinds of proxies, with all their verbs.
pub(super) fn proxies() -> Vec<Command> {
    PROXIES.iter().map(proxy).collect()
}

fn proxy(proxy: &Proxy) -> Command {
    let kind = proxy.kind;
    let with_name = |verb: &'static str, about: &'static str| {
        flag::with(
            ScopeFlags::of(kind).onto(Command::new(verb).about(about).arg(generic::name())),
            proxy.flags,
        )
    };
    let create = with_name("create", "Create one");
    let create =
        proxy.needs.iter().fold(create, |create, flag| create.mut_arg(flag, |arg| arg.required(true)));
    let update = flag::with(with_name("update", "Change fields of one"), proxy.clears);
    let update = proxy.clears.iter().fold(update, |update, clears| {
        let set = proxy.flags.iter().find(|flag| flag.field == clears.field);
        set.map_or(update.clone(), |set| exclusive(update, clears.field, &[set.long, clears.long]))
    });
    Command::new(kind.command)
        .about(proxy.about)
        .subcommand(create)
        .subcommand(update)
        .subcommand(generic::describe(kind))
        .subcommand(generic::list(kind))
        .subcommand(generic::delete(kind))
}

/// Does what `target-…-proxies VERB` says.
///
/// # Errors
/// [`Fault`].
pub(super) async fn run_proxy(
    session: &mut Session<'_>,
    words: &[&str],
    matches: &ArgMatches,
) -> Result<(), Fault> {
    let [command, verb] = words else { return Err(Fault::new("no such command")) };
    let Some(proxy) = PROXIES.iter().find(|proxy| proxy.kind.command == *command) else {
        return Err(Fault::new(format!("no such command: {command}")));
    };
    if !["create", "update"].contains(verb) {
        return super::common(session, proxy.kind, verb, matches).await;
    }
    let target = session.resolve(proxy.kind, named(matches), matches)?;
    let mut given = json!({});
    let count = flag::fill(&mut given, proxy.flags, matches, session, &target.scope)
        + flag::fill(&mut given, proxy.clears, matches, session, &target.scope);
    if *verb == "create" {
        given["name"] = target.name.as_str().into();
        if proxy.flags.iter().any(|flag| flag.field == HEADER.field) && given["proxyHeader"].is_null() {
            given["proxyHeader"] = "NONE".into();
        }
        flag::compact(&mut given);
        return generic::create(session, proxy.kind, &target, &given).await;
    }
    if count == 0 {
        return Err(Fault::new("At least one property must be modified."));
    }
    if !proxy.setters.is_empty() {
        return set(session, proxy, &target, &given).await;
    }
    // GET, then PATCH of the whole object [G 10b].
    let mut body = session.get(&target.path()).await?;
    for (field, value) in given.as_object().into_iter().flatten() {
        body[field] = value.clone();
    }
    let now = session.change(Method::PATCH, &target.path(), &body, &target).await?;
    generic::updated(session, proxy.kind, &target, &now)
}

/// A verb for each field: one request, or a batch of them.
async fn set(session: &mut Session<'_>, proxy: &Proxy, target: &Target, given: &Value) -> Result<(), Fault> {
    let mut requests = Vec::new();
    for (field, value) in given.as_object().into_iter().flatten() {
        let Some((_, verb)) = proxy.setters.iter().find(|(setter, _)| setter == field) else {
            return Err(Fault::of_flag(&format!("--{field}"), "cannot be changed"));
        };
        // A policy is taken away by a reference to none.
        let body = if field == "sslPolicy" { json!({"sslPolicy": value}) } else { json!({field: value}) };
        requests.push((Method::POST, format!("{}/{verb}", target.path()), body));
    }
    if let [(method, path, body)] = requests.as_slice() {
        let now = session.change(method.clone(), path, body, target).await?;
        return generic::updated(session, proxy.kind, target, &now);
    }
    let targets = vec![target.clone(); requests.len()];
    let answers = batch::send(session, requests).await?;
    batch::ends(session, &targets, answers, "Updated").await
}

const TARGETS: &[Flag] = &[
    f("target-http-proxy", Form::Refers(&TARGET_HTTP_PROXIES), "target", "HTTP proxy that it leads to"),
    f("target-https-proxy", Form::Refers(&TARGET_HTTPS_PROXIES), "target", "HTTPS proxy that it leads to"),
    f("target-tcp-proxy", Form::Refers(&TARGET_TCP_PROXIES), "target", "TCP proxy that it leads to"),
    f("target-ssl-proxy", Form::Refers(&TARGET_SSL_PROXIES), "target", "SSL proxy that it leads to"),
];
const TARGET_NAMES: &[&str] =
    &["target-http-proxy", "target-https-proxy", "target-tcp-proxy", "target-ssl-proxy"];
const SCHEMES: &[&str] =
    &["EXTERNAL", "EXTERNAL_MANAGED", "INTERNAL", "INTERNAL_MANAGED", "INTERNAL_SELF_MANAGED"];
const RULE: &[Flag] = &[
    DESCRIPTION,
    f("address", Form::Text, "IPAddress", "Address that clients connect to"),
    f(
        "ip-protocol",
        Form::Word(&["TCP", "UDP"]),
        "IPProtocol",
        "TCP; for HTTP/3 the proxy's quicOverride decides",
    ),
    f(
        "load-balancing-scheme",
        Form::Word(SCHEMES),
        "loadBalancingScheme",
        "Which balancer of Google's it is of [default: EXTERNAL]",
    ),
    f("port-range", Form::Text, "portRange", "The older word for --ports"),
];

/// `forwarding-rules` with all its verbs.
pub(super) fn rules() -> Command {
    let kind = &FORWARDING_RULES;
    let with_target = |verb: &'static str, about: &'static str| {
        let command = ScopeFlags::of(kind).onto(Command::new(verb).about(about).arg(generic::name()));
        let group = clap::ArgGroup::new("target").args(TARGET_NAMES).required(true);
        flag::with(command, TARGETS).group(group)
    };
    let ports =
        Arg::new("ports").long("ports").value_name("PORT").action(ArgAction::Append).value_delimiter(',');
    let create = flag::with(with_target("create", "Create one: an address and port for clients"), RULE);
    let create = create.arg(ports.help("Port that clients connect to"));
    Command::new(kind.command)
        .about("Forwarding rules: where clients connect")
        .subcommand(exclusive(create, "where-to", &["ports", "port-range"]))
        .subcommand(with_target("set-target", "Lead it to another proxy"))
        .subcommand(generic::describe(kind))
        .subcommand(generic::list(kind))
        .subcommand(generic::delete(kind))
}

/// Does what `forwarding-rules VERB` says.
///
/// # Errors
/// [`Fault`].
pub(super) async fn run_rule(
    session: &mut Session<'_>,
    verb: &str,
    matches: &ArgMatches,
) -> Result<(), Fault> {
    let kind = &FORWARDING_RULES;
    if !["create", "set-target"].contains(&verb) {
        return super::common(session, kind, verb, matches).await;
    }
    let target = session.resolve(kind, named(matches), matches)?;
    let mut body = json!({});
    flag::fill(&mut body, TARGETS, matches, session, &target.scope);
    if verb == "set-target" {
        let path = format!("{}/setTarget", target.path());
        let now = session.change(Method::POST, &path, &body, &target).await?;
        return generic::updated(session, kind, &target, &now);
    }
    // The scheme is sent here, unlike with backend services [G 10.2a].
    body["loadBalancingScheme"] = "EXTERNAL".into();
    body["name"] = target.name.as_str().into();
    flag::fill(&mut body, RULE, matches, session, &target.scope);
    match texts(matches, "ports").as_deref() {
        Some([one]) => body["portRange"] = (*one).into(),
        Some(_) => return Err(Fault::of_flag("--ports", "a proxy takes one port, or a range such as 80-90")),
        None => {}
    }
    if body["portRange"].is_null() {
        return Err(Fault::new("Must specify --ports: the port that clients connect to"));
    }
    flag::compact(&mut body);
    generic::create(session, kind, &target, &body).await
}
