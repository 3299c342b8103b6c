//! `get-health`: one YAML document for each backend, as gcloud prints it [G 10.12].

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::KIND;
use crate::cli::compute::fault::Fault;
use crate::cli::compute::format::Format;
use crate::cli::compute::generic::{self, named};
use crate::cli::compute::place::{Scope, ScopeFlags};
use crate::cli::compute::session::Session;

pub(super) fn command() -> Command {
    let about = "Health of a service's members, as `gcloud compute backend-services get-health` prints it";
    ScopeFlags::of(KIND).onto(Command::new("get-health").about(about).arg(generic::name()))
}

/// GET, then one getHealth for each backend. Without a scope flag the service is global: the command was here before there
/// were regional ones.
pub(super) async fn run(session: &mut Session<'_>, matches: &ArgMatches) -> Result<(), Fault> {
    let scope = ScopeFlags::of(KIND).said(matches).unwrap_or(Scope::Global);
    let target = session.resolve_by(KIND, named(matches), Some(scope))?;
    let service = session.get(&target.path()).await?;
    let mut all = Vec::new();
    for backend in service["backends"].as_array().into_iter().flatten() {
        let group = backend["group"].clone();
        let status = session.post(&format!("{}/getHealth", target.path()), &json!({"group": group})).await?;
        let link = group.as_str().and_then(|url| session.read(url)).map(|group| session.link(&group));
        all.push(json!({"backend": link.map_or(group, Value::from), "status": status}));
    }
    session.format.get_or_insert(Format::Yaml);
    generic::print(session, &all, &generic::columns(KIND)?)
}
