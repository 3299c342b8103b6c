//! The commands on resources of a running process, as `gcloud compute` has them [G 10], over its REST API.
//!
//! [`kind`] is the table of resources, [`flag`] flags as data. [`generic`] does what all kinds have in common; a file for each
//! kind does the rest. [`session`] talks with the server and keeps what is to be printed, which [`format`] writes.

mod backend_services;
mod batch;
mod document;
mod edit;
mod exchange;
mod fault;
mod filter;
mod flag;
mod format;
mod fronts;
mod generic;
mod groups;
mod health_checks;
mod kind;
mod negs;
mod place;
mod places;
mod policies;
mod prompt;
mod rows;
mod session;
#[cfg(test)]
mod tests;
mod url_maps;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, Subcommand};

use self::fault::Fault;
use self::format::Format;
use self::kind::Kind;
use self::session::Session;
use super::client::Admin;

/// A command on resources, as typed.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Such as `backend-services`, `add-backend`.
    words: Vec<String>,
    matches: ArgMatches,
}

/// All of them.
fn commands() -> Vec<Command> {
    let mut all = vec![backend_services::command(), health_checks::command()];
    all.extend(health_checks::LEGACY_KINDS.iter().map(|kind| health_checks::legacy(kind)));
    all.extend([groups::command(), groups::instances_command(), negs::command(), url_maps::command()]);
    all.extend(fronts::proxies());
    all.extend([fronts::rules(), policies::certificates(), policies::ssl(), policies::lb()]);
    all.extend(places::commands());
    all
}

/// Heading of the flags that say which proxy is meant.
const PROXY: &str = super::credentials::HEADING;

/// Flags of every one.
fn with_common(command: Command) -> Command {
    let format = ValueParser::new(|text: &str| Format::parse(text));
    command
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("admin")
                .long("admin")
                .value_name("URL")
                .default_value("http://127.0.0.1:9901")
                .help("Admin address of the running proxy")
                .help_heading(PROXY)
                .global(true),
        )
        .arg(
            Arg::new("project")
                .long("project")
                .value_name("NAME")
                .default_value("local")
                .help("Project in paths; any name will do")
                .help_heading(PROXY)
                .global(true),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .value_parser(format)
                .help("yaml, json, table(KEYS), value(KEYS), csv(KEYS) or none")
                .global(true),
        )
        .arg(
            Arg::new("quiet")
                .long("quiet")
                .short('q')
                .action(ArgAction::SetTrue)
                .help("Ask nothing: the answer is yes")
                .global(true),
        )
}

impl FromArgMatches for Asked {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (mut words, mut at) = (Vec::new(), matches);
        while let Some((word, inner)) = at.subcommand() {
            words.push(word.to_owned());
            at = inner;
        }
        Ok(Self { words, matches: at.clone() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for Asked {
    fn augment_subcommands(command: Command) -> Command {
        commands().into_iter().fold(command, |command, one| command.subcommand(with_common(one)))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        commands().iter().any(|command| command.get_name() == name)
    }
}

/// Does what was asked. Exit code: 0 done, 1 refused or no answer [G 10.4].
pub(super) fn run(asked: &Asked) -> u8 {
    let url = flag::text(&asked.matches, "admin").unwrap_or_default();
    let admin = match Admin::parse(url) {
        Ok(admin) => admin,
        Err(why) => {
            eprintln!("error: {why}");
            return 2;
        }
    };
    super::serve::on_runtime(async {
        let (session, result) = asked.on(&admin).await;
        eprint!("{}", session.notes);
        super::say(&session.out);
        match result {
            Ok(()) => 0,
            Err(fault) => {
                let text = fault.to_string();
                eprintln!("ERROR: (overspill.{}) {text}", asked.words.join("."));
                1
            }
        }
    })
}

impl Asked {
    /// Carries it out, and gives what is to be printed also when it fails.
    async fn on<'a>(&self, admin: &'a Admin) -> (Session<'a>, Result<(), Fault>) {
        let project = flag::text(&self.matches, "project").unwrap_or("local").to_owned();
        let mut session = Session::new(admin, project);
        session.format = self.matches.get_one::<Format>("format").cloned();
        session.is_quiet = flag::is_set(&self.matches, "quiet");
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let result = dispatch(&mut session, &words, &self.matches).await;
        (session, result)
    }
}

async fn dispatch(session: &mut Session<'_>, words: &[&str], matches: &ArgMatches) -> Result<(), Fault> {
    match words {
        ["backend-services", verb] => backend_services::run(session, verb, matches).await,
        ["health-checks", verb @ ..] => health_checks::run(session, verb, matches).await,
        ["instance-groups", verb @ ..] => groups::run(session, verb, matches).await,
        ["instances", verb] => groups::run_instances(session, verb, matches).await,
        ["network-endpoint-groups", verb] => negs::run(session, verb, matches).await,
        ["url-maps", verb] => url_maps::run(session, verb, matches).await,
        ["forwarding-rules", verb] => fronts::run_rule(session, verb, matches).await,
        ["ssl-certificates", verb] => policies::run_certificate(session, verb, matches).await,
        ["ssl-policies", verb] => policies::run_ssl(session, verb, matches).await,
        ["service-lb-policies", verb] => policies::run_lb(session, verb, matches).await,
        ["operations", "wait"] => places::wait(session, matches).await,
        [command, verb] => {
            if let Some(kind) = health_checks::LEGACY_KINDS.iter().find(|kind| kind.command == *command) {
                health_checks::run_legacy(session, kind, verb, matches).await
            } else if let Some(kind) = places::kind_of(command) {
                common(session, kind, verb, matches).await
            } else {
                fronts::run_proxy(session, words, matches).await
            }
        }
        _ => Err(Fault::new(format!("no such command: {}", words.join(" ")))),
    }
}

/// The verbs that every kind has.
async fn common(
    session: &mut Session<'_>,
    kind: &Kind,
    verb: &str,
    matches: &ArgMatches,
) -> Result<(), Fault> {
    match verb {
        "describe" => generic::show(session, kind, matches).await,
        "list" => generic::show_all(session, kind, matches).await,
        "delete" => generic::remove(session, kind, matches).await,
        _ => Err(Fault::new(format!("no such command: {verb}"))),
    }
}
