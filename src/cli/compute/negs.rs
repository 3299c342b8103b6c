//! `overspill network-endpoint-groups`.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::flag::{self, Flag, Form, INT32, flag as f, texts};
use super::format::Projection;
use super::generic::{self, named};
use super::kind::NETWORK_ENDPOINT_GROUPS;
use super::place::{ScopeFlags, Target};
use super::rows::{self, Asked, Rows};
use super::session::{Session, Wait};

const KIND: &super::kind::Kind = &NETWORK_ENDPOINT_GROUPS;

const TYPES: &[(&str, &str)] = &[
    ("gce-vm-ip-port", "GCE_VM_IP_PORT"),
    ("non-gcp-private-ip-port", "NON_GCP_PRIVATE_IP_PORT"),
    ("internet-ip-port", "INTERNET_IP_PORT"),
    ("internet-fqdn-port", "INTERNET_FQDN_PORT"),
    ("gce-vm-ip", "GCE_VM_IP"),
    ("serverless", "SERVERLESS"),
    ("private-service-connect", "PRIVATE_SERVICE_CONNECT"),
];

const FLAGS: &[Flag] = &[
    f(
        "network-endpoint-type",
        Form::Renamed(TYPES),
        "networkEndpointType",
        "What its endpoints are [default: gce-vm-ip-port]",
    ),
    f("default-port", Form::Whole(-INT32, INT32), "defaultPort", "Port of endpoints that say none"),
    f("description", Form::Text, "description", "Words about it"),
];

/// The command with all its verbs.
pub(super) fn command() -> Command {
    let with_name =
        |verb: &'static str, about: &'static str| Command::new(verb).about(about).arg(generic::name());
    let endpoint = |id: &'static str, help: &'static str| {
        Arg::new(id)
            .long(id)
            .value_name("ip=IP,port=N[,instance=NAME][,fqdn=NAME]")
            .action(ArgAction::Append)
            .help(help)
    };
    let update = with_name("update", "Add or remove endpoints")
        .arg(endpoint("add-endpoint", "An endpoint to add; several times"))
        .arg(endpoint("remove-endpoint", "An endpoint to remove; several times"))
        .group(clap::ArgGroup::new("endpoints").args(["add-endpoint", "remove-endpoint"]).required(true));
    let scope = ScopeFlags::of(KIND);
    Command::new(KIND.command)
        .about("Network endpoint groups: members by address and port")
        .subcommand(flag::with(scope.onto(with_name("create", "Create an empty group")), FLAGS))
        .subcommand(scope.onto(update))
        .subcommand(generic::listing(scope.onto(with_name("list-network-endpoints", "Show the endpoints"))))
        .subcommand(generic::describe(KIND))
        .subcommand(generic::list(KIND))
        .subcommand(generic::delete(KIND))
}

/// Does what a verb says.
///
/// # Errors
/// [`Fault`].
pub(super) async fn run(session: &mut Session<'_>, verb: &str, matches: &ArgMatches) -> Result<(), Fault> {
    if matches!(verb, "describe" | "list" | "delete") {
        return super::common(session, KIND, verb, matches).await;
    }
    let target = session.resolve(KIND, named(matches), matches)?;
    match verb {
        "create" => {
            let mut body = json!({"name": target.name, "networkEndpointType": "GCE_VM_IP_PORT"});
            flag::fill(&mut body, FLAGS, matches, session, &target.scope);
            flag::compact(&mut body);
            generic::create(session, KIND, &target, &body).await?;
            session.notes += &format!("Created network endpoint group [{}].\n", target.name);
            Ok(())
        }
        "update" => update(session, &target, matches).await,
        "list-network-endpoints" => {
            let path = format!("{}/listNetworkEndpoints", target.path());
            let columns = "networkEndpoint.instance,networkEndpoint.ipAddress,networkEndpoint.ipv6Address:label=IPV6_ADDRESS,\
                           networkEndpoint.port,networkEndpoint.fqdn,networkEndpoint.clientDestinationPort";
            let columns = Projection::parse(columns).map_err(Fault::new)?;
            let rows = Rows::of(session, matches, &columns)?;
            let rows = rows::posted_list(session, &path, &rows, Asked::WithFilter).await?;
            generic::print(session, &rows, &columns)
        }
        _ => Err(Fault::new(format!("no such command: {verb}"))),
    }
}

/// POST attach or detach, then always a wait, then GET [G 10.3].
async fn update(session: &mut Session<'_>, target: &Target, matches: &ArgMatches) -> Result<(), Fault> {
    let (flag, verb, doing, side) = match texts(matches, "add-endpoint") {
        Some(_) => ("add-endpoint", "attachNetworkEndpoints", "Attaching", "to"),
        None => ("remove-endpoint", "detachNetworkEndpoints", "Detaching", "from"),
    };
    let given = texts(matches, flag).unwrap_or_default();
    let endpoints = given.into_iter().map(endpoint).collect::<Result<Vec<Value>, _>>();
    let endpoints = endpoints.map_err(|why| Fault::of_flag(&format!("--{flag}"), &why))?;
    session.notes += &format!("{doing} {} endpoints {side} [{}].\n", endpoints.len(), target.name);
    let body = json!({"networkEndpoints": endpoints});
    let operation = session.post(&format!("{}/{verb}", target.path()), &body).await?;
    session.end_of(operation, &target.scope, Wait::Always).await?;
    let now = session.get(&target.path()).await?;
    if session.format.is_some() {
        generic::print(session, &[now], &generic::columns(KIND)?)?;
    }
    Ok(())
}

/// `instance=,ip=,port=,fqdn=`.
fn endpoint(text: &str) -> Result<Value, String> {
    let mut endpoint = Map::new();
    for (key, value) in flag::pairs(text) {
        let value = value.ok_or_else(|| format!("`{key}` has no value"))?;
        let (key, value) = match key {
            "ip" => ("ipAddress", json!(value)),
            "ipv6" => ("ipv6Address", json!(value)),
            "instance" | "fqdn" => (key, json!(value)),
            "port" => ("port", json!(value.parse::<u16>().map_err(|_| format!("`{value}` is no port"))?)),
            "client-destination-port" => (
                "clientDestinationPort",
                json!(value.parse::<u16>().map_err(|_| format!("`{value}` is no port"))?),
            ),
            _ => return Err(format!("valid keys are [instance, ip, port, fqdn, ipv6]; received: {key}")),
        };
        endpoint.insert(key.to_owned(), value);
    }
    if endpoint.is_empty() { Err("it says no endpoint".to_owned()) } else { Ok(endpoint.into()) }
}
