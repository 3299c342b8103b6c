//! `overspill backend-services`.

mod backends;
mod health;
mod metrics;
mod service;

use clap::{ArgMatches, Command};
use serde_json::Value;

use super::edit::{self, Sheet};
use super::exchange::{self, Cleared};
use super::fault::Fault;
use super::generic;
use super::kind::{BACKEND_SERVICES, HEALTH_CHECKS};
use super::place::Target;
use super::session::Session;
use crate::wire::backend_service::EDITED;

const KIND: &super::kind::Kind = &BACKEND_SERVICES;

/// The command with all its verbs.
pub(super) fn command() -> Command {
    Command::new(KIND.command)
        .about("Backend services: how requests spread over groups")
        .subcommand(service::create())
        .subcommand(service::update())
        .subcommand(backends::add())
        .subcommand(backends::update())
        .subcommand(backends::remove())
        .subcommand(edit::command(KIND))
        .subcommand(exchange::export(KIND))
        .subcommand(exchange::import(KIND))
        .subcommand(health::command())
        .subcommand(generic::describe(KIND))
        .subcommand(generic::list(KIND))
        .subcommand(generic::delete(KIND))
}

/// What `import` clears where the file does not say it [G 10b].
const CLEARED: Cleared = Cleared {
    nulls: &[
        "securitySettings",
        "localityLbPolicy",
        "circuitBreakers",
        "consistentHash",
        "cdnPolicy",
        "haPolicy",
    ],
    empties: &["localityLbPolicies", "customRequestHeaders", "customResponseHeaders"],
};

pub(super) const SHEET: Sheet = Sheet {
    fields: EDITED,
    example: r#"{
        "backends": [
            {"balancingMode": "RATE", "capacityScaler": 1.0, "maxRatePerInstance": 100.0,
             "group": "projects/local/zones/us-central1-a/instanceGroups/ig-near"},
            {"balancingMode": "UTILIZATION", "capacityScaler": 0.5, "maxUtilization": 0.8,
             "group": "projects/local/zones/europe-west1-b/instanceGroups/ig-far"}],
        "customRequestHeaders": ["X-Client-Region:{client_region}"],
        "customResponseHeaders": ["X-Cache-Hit:{cdn_cache_status}"],
        "description": "My backend service",
        "healthChecks": ["projects/local/global/healthChecks/basic"],
        "portName": "http",
        "protocol": "HTTP",
        "timeoutSec": 30
    }"#,
    references,
};

/// Does what a verb says.
///
/// # Errors
/// [`Fault`].
pub(super) async fn run(session: &mut Session<'_>, verb: &str, matches: &ArgMatches) -> Result<(), Fault> {
    match verb {
        "create" => service::make(session, matches).await,
        "update" => service::change(session, matches).await,
        "add-backend" => backends::run(session, matches, backends::Verb::Add).await,
        "update-backend" => backends::run(session, matches, backends::Verb::Update).await,
        "remove-backend" => backends::run(session, matches, backends::Verb::Remove).await,
        "edit" => edit::run(session, KIND, SHEET, matches, &edit::in_editor).await,
        "export" => exchange::write(session, KIND, matches).await,
        "import" => exchange::read(session, KIND, CLEARED, matches).await,
        "get-health" => health::run(session, matches).await,
        _ => super::common(session, KIND, verb, matches).await,
    }
}

/// Names of health checks become URLs; a group must say where it is.
fn references(session: &Session<'_>, target: &Target, body: &mut Value) -> Result<(), Fault> {
    if let Some(checks) = body["healthChecks"].as_array_mut() {
        for check in checks {
            if let Some(name) = check.as_str() {
                *check = session.reference(&HEALTH_CHECKS, name, &target.scope).into();
            }
        }
    }
    if let Some(backends) = body["backends"].as_array_mut() {
        for group in backends.iter_mut().filter_map(|backend| backend.get_mut("group")) {
            let Some(read) = group.as_str().and_then(|url| session.read(url)) else {
                return Err(Fault::new("[group] must be referenced using URIs."));
            };
            *group = session.link(&read).into();
        }
    }
    // Indexing an object that lacks a key adds none, but an object of ours may have gained nulls above.
    super::flag::drop_nulls(body);
    Ok(())
}
