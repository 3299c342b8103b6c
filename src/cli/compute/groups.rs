//! `overspill instance-groups` and `instances`.

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::fault::Fault;
use super::flag::{self, text, texts};
use super::format::Projection;
use super::generic::{self, named};
use super::kind::{INSTANCE_GROUPS, INSTANCES, Kind, UNMANAGED};
use super::place::{ScopeFlags, Target};
use super::rows::{self, Asked, Rows};
use super::session::Session;

/// `instance-groups` with all its verbs, and those of `instance-groups unmanaged`.
pub(super) fn command() -> Command {
    let unmanaged =
        both(Command::new("unmanaged").about("Groups whose members are listed by hand"), &UNMANAGED)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(with_name(&UNMANAGED, "create", "Create an empty group").arg(description()))
            .subcommand(with_name(&UNMANAGED, "add-instances", "Add members").arg(instances()))
            .subcommand(with_name(&UNMANAGED, "remove-instances", "Take members out").arg(instances()))
            .subcommand(generic::delete(&UNMANAGED));
    both(Command::new("instance-groups").about("Instance groups: members in a zone"), &INSTANCE_GROUPS)
        .subcommand(unmanaged)
}

/// What groups of both commands can be told.
fn both(command: Command, kind: &Kind) -> Command {
    let ports = Arg::new("named-ports").long("named-ports").value_name("NAME:PORT,…").required(true);
    let set = with_name(kind, "set-named-ports", "Say which names ports have")
        .arg(ports.action(ArgAction::Append).value_delimiter(',').help("All of them; none takes all away"));
    command
        .subcommand(generic::describe(kind))
        .subcommand(generic::list(kind))
        .subcommand(set)
        .subcommand(generic::listing(with_name(kind, "get-named-ports", "Show names of ports")))
        .subcommand(generic::listing(with_name(kind, "list-instances", "Show the members")))
}

fn with_name(kind: &Kind, verb: &'static str, about: &'static str) -> Command {
    ScopeFlags::of(kind).onto(Command::new(verb).about(about).arg(generic::name()))
}

fn description() -> Arg {
    Arg::new("description").long("description").value_name("TEXT").help("Words about it")
}

fn instances() -> Arg {
    let arg = Arg::new("instances").long("instances").value_name("A,B").required(true);
    arg.action(ArgAction::Append).value_delimiter(',').help("Instances of the same zone")
}

/// Does what `instance-groups VERB` says.
///
/// # Errors
/// [`Fault`].
pub(super) async fn run(session: &mut Session<'_>, verb: &[&str], matches: &ArgMatches) -> Result<(), Fault> {
    let (kind, verb) = match verb {
        ["unmanaged", verb] => (&UNMANAGED, *verb),
        [verb] => (&INSTANCE_GROUPS, *verb),
        _ => return Err(Fault::new("no such command")),
    };
    if matches!(verb, "describe" | "list" | "delete") {
        return super::common(session, kind, verb, matches).await;
    }
    let target = session.resolve(kind, named(matches), matches)?;
    match verb {
        "create" => create(session, &target, matches).await,
        "set-named-ports" => set_named_ports(session, &target, matches).await,
        "get-named-ports" => {
            let group = session.get(&target.path()).await?;
            let ports = group["namedPorts"].as_array().cloned().unwrap_or_default();
            let columns = columns("name,port")?;
            let shown = Rows::of(session, matches, &columns)?.chosen(session, ports, Asked::ForAll);
            generic::print(session, &shown, &columns)
        }
        "list-instances" => {
            let path = format!("{}/listInstances", target.path());
            let columns = columns("instance.basename():label=NAME,status")?;
            let rows = Rows::of(session, matches, &columns)?;
            let rows = rows::posted_list(session, &path, &rows, Asked::ForAll).await?;
            generic::print(session, &rows, &columns)
        }
        "add-instances" => members(session, &target, "addInstances", matches).await,
        "remove-instances" => members(session, &target, "removeInstances", matches).await,
        _ => Err(Fault::new(format!("no such command: {verb}"))),
    }
}

fn columns(text: &str) -> Result<Projection, Fault> {
    Projection::parse(text).map_err(Fault::new)
}

/// GET of the zone, POST, GET [G 10b].
async fn create(session: &mut Session<'_>, target: &Target, matches: &ArgMatches) -> Result<(), Fault> {
    session.get(&session.path(&target.scope.path())).await?;
    let mut body = json!({"name": target.name, "description": text(matches, "description")});
    flag::drop_nulls(&mut body);
    generic::create(session, &UNMANAGED, target, &body).await
}

/// GET for the fingerprint, POST, GET [G 10b].
async fn set_named_ports(
    session: &mut Session<'_>,
    target: &Target,
    matches: &ArgMatches,
) -> Result<(), Fault> {
    let ports = texts(matches, "named-ports").unwrap_or_default();
    let ports = ports.into_iter().filter(|text| !text.is_empty()).map(|text| {
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        match port.parse::<u16>() {
            Ok(port) => Ok(json!({"name": name, "port": port})),
            Err(_) => {
                let why = format!(
                    "the named ports must be separated by commas and of the form NAME:PORT, not [{text}]"
                );
                Err(Fault::of_flag("--named-ports", &why))
            }
        }
    });
    let ports = ports.collect::<Result<Vec<Value>, _>>()?;
    let group = session.get(&target.path()).await?;
    let mut body = json!({"namedPorts": ports, "fingerprint": group["fingerprint"]});
    flag::drop_nulls(&mut body);
    let now =
        session.change(Method::POST, &format!("{}/setNamedPorts", target.path()), &body, target).await?;
    generic::updated(session, &INSTANCE_GROUPS, target, &now)
}

async fn members(
    session: &mut Session<'_>,
    target: &Target,
    verb: &str,
    matches: &ArgMatches,
) -> Result<(), Fault> {
    let names = texts(matches, "instances").unwrap_or_default();
    let all = names.into_iter().filter(|name| !name.is_empty());
    let all: Value =
        all.map(|name| json!({"instance": session.reference(&INSTANCES, name, &target.scope)})).collect();
    let path = format!("{}/{verb}", target.path());
    let now = session.change(Method::POST, &path, &json!({"instances": all}), target).await?;
    generic::updated(session, &INSTANCE_GROUPS, target, &now)
}

/// `instances` with all its verbs.
pub(super) fn instances_command() -> Command {
    let address = Arg::new("address")
        .long("address")
        .visible_alias("private-network-ip")
        .value_name("IP")
        .required(true);
    let create = with_name(&INSTANCES, "create", "Name an address, so that groups can list it as a member")
        .arg(address.help("Address that it serves at"))
        .arg(description());
    Command::new("instances")
        .about("Instances: addresses with a name, which instance groups list")
        .subcommand(create)
        .subcommand(generic::describe(&INSTANCES))
        .subcommand(generic::list(&INSTANCES))
        .subcommand(generic::delete(&INSTANCES))
}

/// Does what `instances VERB` says.
///
/// # Errors
/// [`Fault`].
pub(super) async fn run_instances(
    session: &mut Session<'_>,
    verb: &str,
    matches: &ArgMatches,
) -> Result<(), Fault> {
    if verb != "create" {
        return super::common(session, &INSTANCES, verb, matches).await;
    }
    let target = session.resolve(&INSTANCES, named(matches), matches)?;
    let address = text(matches, "address").unwrap_or_default();
    let mut body = json!({"name": target.name, "description": text(matches, "description"),
        "networkInterfaces": [{"networkIP": address}]});
    flag::drop_nulls(&mut body);
    generic::create(session, &INSTANCES, &target, &body).await
}
