//! Certificates, TLS policies and service LB policies.

use clap::{Arg, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::document;
use super::fault::Fault;
use super::flag::{self, Flag, Form, flag as f, is_set, text};
use super::generic::{self, named};
use super::kind::{SERVICE_LB_POLICIES, SSL_CERTIFICATES, SSL_POLICIES};
use super::place::ScopeFlags;
use super::session::{Session, Wait};

const DESCRIPTION: Flag = f("description", Form::Text, "description", "Words about it");

/// `ssl-certificates` with all its verbs.
pub(super) fn certificates() -> Command {
    let kind = &SSL_CERTIFICATES;
    let file = |id: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name("FILE").required(true).help(help)
    };
    let create = Command::new("create").about("Create one from files").arg(generic::name());
    let create = flag::with(ScopeFlags::of(kind).onto(create), &[DESCRIPTION])
        .arg(file("certificate", "PEM file: the certificate, then those that vouch for it"))
        .arg(file("private-key", "PEM file: its key, which is never shown again"));
    Command::new(kind.command)
        .about("Certificates of HTTPS and SSL proxies")
        .subcommand(create)
        .subcommand(generic::describe(kind))
        .subcommand(generic::list(kind))
        .subcommand(generic::delete(kind))
}

/// Does what `ssl-certificates VERB` says.
///
/// # Errors
/// [`Fault`].
pub(super) async fn run_certificate(
    session: &mut Session<'_>,
    verb: &str,
    matches: &ArgMatches,
) -> Result<(), Fault> {
    let kind = &SSL_CERTIFICATES;
    if verb != "create" {
        return super::common(session, kind, verb, matches).await;
    }
    let target = session.resolve(kind, named(matches), matches)?;
    let read = |id: &str| document::text_of(text(matches, id).unwrap_or_default());
    let mut body =
        json!({"name": target.name, "certificate": read("certificate")?, "privateKey": read("private-key")?});
    flag::fill(&mut body, &[DESCRIPTION], matches, session, &target.scope);
    flag::compact(&mut body);
    generic::create(session, kind, &target, &body).await
}

const VERSIONS: &[(&str, &str)] =
    &[("1.0", "TLS_1_0"), ("1.1", "TLS_1_1"), ("1.2", "TLS_1_2"), ("1.3", "TLS_1_3")];
const PROFILES: &[&str] = &["COMPATIBLE", "CUSTOM", "FIPS_202205", "MODERN", "RESTRICTED"];
const SSL: &[Flag] = &[
    f("profile", Form::Word(PROFILES), "profile", "Set of ciphers [default: COMPATIBLE]"),
    f("min-tls-version", Form::Renamed(VERSIONS), "minTlsVersion", "Oldest version of TLS [default: 1.0]"),
    f("custom-features", Form::List, "customFeatures", "Ciphers, with --profile CUSTOM"),
];

/// `ssl-policies` with all its verbs.
pub(super) fn ssl() -> Command {
    let kind = &SSL_POLICIES;
    let with_name = |verb: &'static str, about: &'static str| {
        flag::with(ScopeFlags::of(kind).onto(Command::new(verb).about(about).arg(generic::name())), SSL)
    };
    Command::new(kind.command)
        .about("TLS versions and ciphers of HTTPS and SSL proxies")
        .subcommand(flag::with(with_name("create", "Create one"), &[DESCRIPTION]))
        .subcommand(with_name("update", "Change fields of one"))
        .subcommand(generic::describe(kind))
        .subcommand(generic::list(kind))
        .subcommand(generic::delete(kind))
}

/// Does what `ssl-policies VERB` says. Changes wait for their operation even when it is done, as gcloud's do.
///
/// # Errors
/// [`Fault`].
pub(super) async fn run_ssl(
    session: &mut Session<'_>,
    verb: &str,
    matches: &ArgMatches,
) -> Result<(), Fault> {
    let kind = &SSL_POLICIES;
    if !["create", "update"].contains(&verb) {
        return super::common(session, kind, verb, matches).await;
    }
    let target = session.resolve(kind, named(matches), matches)?;
    let mut body = json!({});
    let count = flag::fill(&mut body, SSL, matches, session, &target.scope);
    let operation = if verb == "create" {
        let mut whole = json!({"name": target.name, "profile": "COMPATIBLE", "minTlsVersion": "TLS_1_0"});
        flag::fill(&mut whole, SSL, matches, session, &target.scope);
        flag::fill(&mut whole, &[DESCRIPTION], matches, session, &target.scope);
        flag::compact(&mut whole);
        session.post(&target.collection_path(), &whole).await?
    } else {
        if count == 0 {
            return Err(Fault::new("At least one property must be modified."));
        }
        let old = session.get(&target.path()).await?;
        if !old["fingerprint"].is_null() {
            body["fingerprint"] = old["fingerprint"].clone();
        }
        session.patch(&target.path(), &body).await?
    };
    session.end_of(operation, &target.scope, Wait::Always).await?;
    let now = session.get(&target.path()).await?;
    session.note(if verb == "create" { "Created" } else { "Updated" }, &target);
    generic::print(session, &[now], &generic::columns(kind)?)
}

const ALGORITHMS: &[&str] =
    &["SPRAY_TO_REGION", "SPRAY_TO_WORLD", "WATERFALL_BY_REGION", "WATERFALL_BY_ZONE"];
const GRANULARITIES: &[(&str, &str)] =
    &[("region", "REGION"), ("unspecified", "ISOLATION_GRANULARITY_UNSPECIFIED")];
const MODES: &[(&str, &str)] =
    &[("nearest", "NEAREST"), ("strict", "STRICT"), ("unspecified", "ISOLATION_MODE_UNSPECIFIED")];
const LB: &[Flag] = &[
    DESCRIPTION,
    f(
        "load-balancing-algorithm",
        Form::Word(ALGORITHMS),
        "loadBalancingAlgorithm",
        "Order of places [default: waterfall-by-region]",
    ),
    f(
        "auto-capacity-drain",
        Form::YesNo("no-auto-capacity-drain"),
        "autoCapacityDrain.enable",
        "Leave out groups with less than a quarter healthy",
    ),
    f(
        "failover-health-threshold",
        Form::Whole(1, 99),
        "failoverConfig.failoverHealthThreshold",
        "Percent healthy below which traffic goes on",
    ),
    f(
        "isolation-config-granularity",
        Form::Renamed(GRANULARITIES),
        "isolationConfig.isolationGranularity",
        "Where traffic is kept",
    ),
    f("isolation-config-mode", Form::Renamed(MODES), "isolationConfig.isolationMode", "How strictly"),
];

/// `service-lb-policies` with all its verbs.
pub(super) fn lb() -> Command {
    let kind = &SERVICE_LB_POLICIES;
    let with_location = |command: Command| {
        let location = Arg::new("location").long("location").value_name("LOCATION").default_value("global");
        command.arg(location.value_parser(["global"]).help("There are only global ones"))
    };
    let with_name = |verb: &'static str, about: &'static str| {
        let command = Command::new(verb).about(about).arg(generic::name());
        flag::with(with_location(ScopeFlags::of(kind).onto(command)), LB)
    };
    Command::new(kind.command)
        .about("How services spread over their backends")
        .subcommand(with_name("create", "Create one"))
        .subcommand(with_name("update", "Change fields of one"))
        .subcommand(with_location(generic::describe(kind)))
        .subcommand(with_location(generic::list(kind)))
        .subcommand(with_location(generic::delete(kind)))
}

/// Does what `service-lb-policies VERB` says, in the networkservices API [G 10.1].
///
/// # Errors
/// [`Fault`].
pub(super) async fn run_lb(session: &mut Session<'_>, verb: &str, matches: &ArgMatches) -> Result<(), Fault> {
    let kind = &SERVICE_LB_POLICIES;
    if !["create", "update"].contains(&verb) {
        return super::common(session, kind, verb, matches).await;
    }
    let target = session.resolve(kind, named(matches), matches)?;
    let mut body: Value = json!({});
    let count = flag::fill(&mut body, LB, matches, session, &target.scope);
    if verb == "create" {
        if body["loadBalancingAlgorithm"].is_null() {
            body["loadBalancingAlgorithm"] = "WATERFALL_BY_REGION".into();
        }
        flag::compact(&mut body);
        return generic::create(session, kind, &target, &body).await;
    }
    if count == 0 {
        return Err(Fault::new("At least one property must be modified."));
    }
    // Which fields are meant is said beside the body: those that the flags set, by the way to them.
    let is_given = |one: &&Flag| {
        flag::is_given(matches, one.long) || matches!(one.form, Form::YesNo(no) if is_set(matches, no))
    };
    let fields: Vec<&str> = LB.iter().filter(is_given).map(|flag| flag.field).collect();
    flag::compact(&mut body);
    let path = generic::with_query(&target.path(), std::iter::once(("updateMask", fields.join(","))));
    let now = session.change(Method::PATCH, &path, &body, &target).await?;
    generic::updated(session, kind, &target, &now)
}
