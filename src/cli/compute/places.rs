//! `overspill zones`, `regions` and `operations`.

use clap::{ArgMatches, Command};
use serde_json::json;

use super::fault::Fault;
use super::format::{self, Format};
use super::generic::{self, named};
use super::kind::{Kind, OPERATIONS, REGIONS, ZONES};
use super::place::ScopeFlags;
use super::session::Session;

/// All three, with all their verbs.
pub(super) fn commands() -> Vec<Command> {
    let of = |kind: &'static Kind, about: &'static str| {
        let command = Command::new(kind.command).about(about);
        command.subcommand(generic::describe(kind)).subcommand(generic::list(kind))
    };
    let wait = Command::new("wait").about("Wait until one is done, and show it").arg(generic::name());
    vec![
        of(&OPERATIONS, "Operations: changes that were asked for")
            .subcommand(ScopeFlags::of(&OPERATIONS).onto(wait)),
        of(&ZONES, "Zones that resources can be in"),
        of(&REGIONS, "Regions that resources can be in"),
    ]
}

/// The kind of a command of these.
pub(super) fn kind_of(command: &str) -> Option<&'static Kind> {
    [&OPERATIONS, &ZONES, &REGIONS].into_iter().find(|kind| kind.command == command)
}

/// `operations wait`.
///
/// # Errors
/// [`Fault`].
pub(super) async fn wait(session: &mut Session<'_>, matches: &ArgMatches) -> Result<(), Fault> {
    let target = session.resolve(&OPERATIONS, named(matches), matches)?;
    let operation = session.post(&format!("{}/wait", target.path()), &json!({})).await?;
    let format = session.format.clone().unwrap_or(Format::Yaml);
    session.out += &format::one(&format, &operation, &generic::columns(&OPERATIONS)?);
    Ok(())
}
