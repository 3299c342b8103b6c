//! `add-backend`, `update-backend`, `remove-backend`: one group of a service, sent back as a whole service by PUT [G 10b].

use clap::{Arg, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::{KIND, metrics};
use crate::cli::compute::fault::Fault;
use crate::cli::compute::flag::{self, Flag, Form, INT32, exclusive, flag as f, text};
use crate::cli::compute::generic::{self, named};
use crate::cli::compute::kind::{INSTANCE_GROUPS, Kind, NETWORK_ENDPOINT_GROUPS, Place};
use crate::cli::compute::place::{ScopeFlags, Target};
use crate::cli::compute::session::Session;

/// What is done with the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Update,
    Remove,
}

const MODES: &[&str] = &["CONNECTION", "CUSTOM_METRICS", "IN_FLIGHT", "RATE", "UTILIZATION"];
const WHOLE: Form = Form::Whole(0, INT32);
const PER_MEMBER: Form = Form::Real(0.0, f64::MAX);

/// Flags of `add-backend` and `update-backend`, each with the field that it sets.
const FLAGS: &[Flag] = &[
    f(
        "balancing-mode",
        Form::Word(MODES),
        "balancingMode",
        "What the target is counted in; UTILIZATION if nothing was ever said",
    ),
    f(
        "capacity-scaler",
        Form::Real(0.0, 1.0),
        "capacityScaler",
        "Share of the target that is used: 0 drains, else 0.1 to 1",
    ),
    f("max-utilization", Form::Real(0.0, 1.0), "maxUtilization", "Target utilization, 0 to 1"),
    f("max-rate", WHOLE, "maxRate", "Target of the group in requests per second"),
    f(
        "max-rate-per-instance",
        PER_MEMBER,
        "maxRatePerInstance",
        "Target of each instance in requests per second",
    ),
    f(
        "max-rate-per-endpoint",
        PER_MEMBER,
        "maxRatePerEndpoint",
        "Target of each endpoint in requests per second",
    ),
    f("max-connections", WHOLE, "maxConnections", "Target of the group in connections"),
    f(
        "max-connections-per-instance",
        WHOLE,
        "maxConnectionsPerInstance",
        "Target of each instance in connections",
    ),
    f(
        "max-connections-per-endpoint",
        WHOLE,
        "maxConnectionsPerEndpoint",
        "Target of each endpoint in connections",
    ),
    f("max-in-flight-requests", WHOLE, "maxInFlightRequests", "Target of the group in requests at a time"),
    f(
        "max-in-flight-requests-per-instance",
        WHOLE,
        "maxInFlightRequestsPerInstance",
        "Target of each instance in requests at a time",
    ),
    f(
        "max-in-flight-requests-per-endpoint",
        WHOLE,
        "maxInFlightRequestsPerEndpoint",
        "Target of each endpoint in requests at a time",
    ),
    f(
        "preference",
        Form::Word(&["DEFAULT", "PREFERRED"]),
        "preference",
        "PREFERRED is filled before DEFAULT",
    ),
    f(
        "traffic-duration",
        Form::Word(&["LONG", "SHORT"]),
        "trafficDuration",
        "Whether its requests mostly last longer than a second",
    ),
    f("failover", Form::YesNo("no-failover"), "failover", "For passthrough balancers, which are not here"),
    f("description", Form::Text, "description", "Words about it"),
];

/// At most one of these flags in one command.
const TARGETS: &[&str] = &[
    "max-rate",
    "max-rate-per-instance",
    "max-rate-per-endpoint",
    "max-connections",
    "max-connections-per-instance",
    "max-connections-per-endpoint",
    "max-in-flight-requests",
    "max-in-flight-requests-per-instance",
    "max-in-flight-requests-per-endpoint",
];

/// The fields of a backend that [`TARGETS`] set, in the same order.
const TARGET_FIELDS: &[&str] = &[
    "maxRate",
    "maxRatePerInstance",
    "maxRatePerEndpoint",
    "maxConnections",
    "maxConnectionsPerInstance",
    "maxConnectionsPerEndpoint",
    "maxInFlightRequests",
    "maxInFlightRequestsPerInstance",
    "maxInFlightRequestsPerEndpoint",
];

const IG: ScopeFlags = ScopeFlags {
    places: &[Place::Region, Place::Zone],
    names: ["", "instance-group-region", "instance-group-zone"],
    group: "instance-group-scope",
};
const NEG: ScopeFlags = ScopeFlags {
    places: &[Place::Global, Place::Region, Place::Zone],
    names: ["global-network-endpoint-group", "network-endpoint-group-region", "network-endpoint-group-zone"],
    group: "network-endpoint-group-scope",
};

pub(super) fn add() -> Command {
    let command = with_group(Command::new("add-backend").about("Add a group to a service"));
    metrics::onto(exclusive(flag::with(command, FLAGS), "target", TARGETS), false)
}

pub(super) fn update() -> Command {
    let command = with_group(
        Command::new("update-backend").about("Change mode, target or scaler of a service's group"),
    );
    metrics::onto(exclusive(flag::with(command, FLAGS), "target", TARGETS), true)
}

pub(super) fn remove() -> Command {
    with_group(Command::new("remove-backend").about("Take a group out of a service"))
}

fn with_group(command: Command) -> Command {
    let arg = |id: &'static str, help: &'static str| Arg::new(id).long(id).value_name("NAME").help(help);
    let command = ScopeFlags::of(KIND).onto(command.arg(generic::name()));
    NEG.onto(IG.onto(command))
        .arg(arg("instance-group", "The instance group"))
        .arg(arg("network-endpoint-group", "The network endpoint group"))
        .group(clap::ArgGroup::new("group").args(["instance-group", "network-endpoint-group"]).required(true))
}

/// Does it.
pub(super) async fn run(session: &mut Session<'_>, matches: &ArgMatches, verb: Verb) -> Result<(), Fault> {
    let target = session.resolve(KIND, named(matches), matches)?;
    let mut given = json!({});
    let mut count = 0;
    if verb != Verb::Remove {
        count = flag::fill(&mut given, FLAGS, matches, session, &target.scope);
        if let Some(metrics) = metrics::of(matches)? {
            count += 1;
            given["customMetrics"] = metrics;
        }
    }
    if verb == Verb::Update && count == 0 {
        return Err(Fault::new("At least one property must be modified."));
    }
    let group = group(session, matches)?;
    fits_group(matches)?;
    let mut service = session.get(&target.path()).await?;
    let backends = backends(session, &service, &group);
    let before = backends.iter().position(|(_, is_it)| *is_it);
    let mut backends: Vec<Value> = backends.into_iter().map(|(backend, _)| backend).collect();
    let (name, place, service_name) = (&group.name, group.scope.words(), &target.name);
    match (verb, before) {
        (Verb::Add, Some(_)) => {
            return Err(Fault::new(format!(
                "Backend [{name}] in {place} already exists in backend service [{service_name}]."
            )));
        }
        (Verb::Update, None) => {
            return Err(Fault::new(format!(
                "No backend with name [{name}] in {place} is part of the backend service [{service_name}]."
            )));
        }
        (Verb::Remove, None) => {
            return Err(Fault::new(format!(
                "Backend [{name}] in {place} is not a backend of backend service [{service_name}]."
            )));
        }
        (Verb::Add, None) => {
            fits_mode(matches, given["balancingMode"].as_str())?;
            flag::compact(&mut given);
            given["group"] = session.link(&group).into();
            backends.push(given);
        }
        (Verb::Update, Some(at)) => {
            if let Some(backend) = backends.get_mut(at) {
                update_one(backend, given, matches)?;
            }
        }
        (Verb::Remove, Some(at)) => {
            backends.remove(at);
        }
    }
    service["backends"] = backends.into();
    if service["backends"] == json!([]) {
        // gcloud sends no empty list here; to PUT both are the same.
        flag::remove(&mut service, &["backends"]);
    }
    let now = session.change(Method::PUT, &target.path(), &service, &target).await?;
    generic::updated(session, KIND, &target, &now)
}

/// The service's backends, each with whether it is this group.
fn backends(session: &Session<'_>, service: &Value, group: &Target) -> Vec<(Value, bool)> {
    let is_it = |backend: &Value| {
        let read = backend["group"].as_str().and_then(|url| session.read(url));
        read.is_some_and(|read| read.is_same_as(group))
    };
    let list = service["backends"].as_array().into_iter().flatten();
    list.map(|backend| (backend.clone(), is_it(backend))).collect()
}

fn group(session: &Session<'_>, matches: &ArgMatches) -> Result<Target, Fault> {
    let (kind, flags, name): (&Kind, _, _) = match text(matches, "instance-group") {
        Some(name) => (&INSTANCE_GROUPS, IG, name),
        None => (&NETWORK_ENDPOINT_GROUPS, NEG, text(matches, "network-endpoint-group").unwrap_or_default()),
    };
    match (session.read(name), flags.said(matches)) {
        (Some(target), _) => Ok(target),
        (None, Some(scope)) => Ok(session.target(kind, scope, name)),
        (None, None) => Err(flags.underspecified(name)),
    }
}

/// Targets per instance are for instance groups, per endpoint for endpoint groups [G 10.5].
fn fits_group(matches: &ArgMatches) -> Result<(), Fault> {
    let (suffix, group) = if text(matches, "instance-group").is_some() {
        ("-per-endpoint", "--instance-group")
    } else {
        ("-per-instance", "--network-endpoint-group")
    };
    refuse(matches, |long| long.ends_with(suffix), &format!("cannot be set with {group}"))
}

/// What a mode has no use for [G 1.6, 1.7, 1.12].
fn fits_mode(matches: &ArgMatches, mode: Option<&str>) -> Result<(), Fault> {
    let Some(mode) = mode else { return Ok(()) };
    let with = format!("cannot be set with {mode} balancing mode");
    if mode == "UTILIZATION" && text(matches, "network-endpoint-group").is_some() {
        return Err(Fault::of_flag("--network-endpoint-group", &with));
    }
    let strangers: &[&str] = match mode {
        "RATE" => &["max-utilization", "max-connections", "max-in-flight"],
        "CONNECTION" => &["max-utilization", "max-rate", "max-in-flight"],
        "IN_FLIGHT" => &["max-utilization", "max-rate", "max-connections"],
        _ => &[],
    };
    refuse(matches, |long| strangers.iter().any(|stranger| long.starts_with(stranger)), &with)
}

fn refuse(matches: &ArgMatches, is_wrong: impl Fn(&str) -> bool, why: &str) -> Result<(), Fault> {
    let all = std::iter::once("max-utilization").chain(TARGETS.iter().copied());
    match all.into_iter().find(|long| is_wrong(long) && flag::is_given(matches, long)) {
        Some(long) => Err(Fault::of_flag(&format!("--{long}"), why)),
        None => Ok(()),
    }
}

/// Clears what the new mode or the new target leaves no room for [G 10.6], then sets what was given.
fn update_one(backend: &mut Value, given: Value, matches: &ArgMatches) -> Result<(), Fault> {
    let mode = given["balancingMode"].as_str();
    fits_mode(matches, mode.or(backend["balancingMode"].as_str()))?;
    let starts = |field: &str, starts: &[&str]| starts.iter().any(|start| field.starts_with(start));
    let cleared: &[&str] = match mode {
        Some("RATE") => &["maxUtilization", "maxConnections", "maxInFlight"],
        Some("CONNECTION") => &["maxUtilization", "maxRate", "maxInFlight"],
        Some("IN_FLIGHT") => &["maxRate", "maxConnections"],
        _ => &[],
    };
    let sets_target = TARGET_FIELDS.iter().any(|field| !given[*field].is_null());
    if let Some(object) = backend.as_object_mut() {
        object.retain(|field, _| {
            !(starts(field, cleared) || sets_target && TARGET_FIELDS.contains(&field.as_str()))
        });
        for (field, value) in given.as_object().into_iter().flatten() {
            if value.is_null() || *value == json!([]) {
                object.remove(field);
            } else {
                object.insert(field.clone(), value.clone());
            }
        }
    }
    Ok(())
}
