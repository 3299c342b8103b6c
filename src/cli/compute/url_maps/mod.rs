//! `overspill url-maps`.

mod rules;

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::document;
use super::edit::{self, Sheet};
use super::exchange::{self, Cleared};
use super::fault::Fault;
use super::flag::{self, Flag, Form, exclusive, flag as f, text, texts};
use super::format::{self, Format};
use super::generic::{self, named};
use super::kind::{BACKEND_SERVICES, URL_MAPS};
use super::place::{ScopeFlags, Target};
use super::session::Session;

const KIND: &super::kind::Kind = &URL_MAPS;

const SERVICE: Flag = f(
    "default-service",
    Form::Refers(&BACKEND_SERVICES),
    "defaultService",
    "Backend service of what no rule takes",
);
const DESCRIPTION: Flag = f("description", Form::Text, "description", "Words about it");

const SHEET: Sheet = Sheet {
    fields: &["defaultService", "description", "hostRules", "pathMatchers", "tests"],
    example: r#"{
        "defaultService": "projects/local/global/backendServices/web",
        "hostRules": [{"hosts": ["*.example.com", "example.com"], "pathMatcher": "www"}],
        "pathMatchers": [{
            "defaultService": "projects/local/global/backendServices/web",
            "name": "www",
            "pathRules": [
                {"paths": ["/api", "/api/*"], "service": "projects/local/global/backendServices/api"},
                {"paths": ["/static/*"], "service": "projects/local/global/backendServices/static"}]}],
        "tests": [{"host": "example.com", "path": "/api/users",
            "service": "projects/local/global/backendServices/api"}]
    }"#,
    references,
};

const CLEARED: Cleared = Cleared {
    nulls: &["defaultRouteAction", "defaultUrlRedirect", "headerAction"],
    empties: &["hostRules", "pathMatchers", "tests"],
};

/// The command with all its verbs.
pub(super) fn command() -> Command {
    let with_name = |verb: &'static str, about: &'static str| {
        ScopeFlags::of(KIND).onto(Command::new(verb).about(about).arg(generic::name()))
    };
    let create =
        flag::with(with_name("create", "Create one that sends all to one service"), &[SERVICE, DESCRIPTION]);
    let set = flag::with(
        with_name("set-default-service", "Send what no rule takes to another service"),
        &[SERVICE],
    );
    let needed = |command: Command| command.mut_arg(SERVICE.long, |arg| arg.required(true));
    Command::new(KIND.command)
        .about("URL maps: which service answers which host and path")
        .subcommand(needed(create))
        .subcommand(needed(set))
        .subcommand(add_path_matcher(with_name("add-path-matcher", "Add paths, and hosts that they are for")))
        .subcommand(remove_path_matcher(with_name("remove-path-matcher", "Take paths and their hosts away")))
        .subcommand(add_host_rule(with_name("add-host-rule", "Add hosts to paths that are there")))
        .subcommand(remove_host_rule(with_name("remove-host-rule", "Take the rule of a host away")))
        .subcommand(edit::command(KIND))
        .subcommand(exchange::export(KIND))
        .subcommand(exchange::import(KIND))
        .subcommand(validate())
        .subcommand(generic::describe(KIND))
        .subcommand(generic::list(KIND))
        .subcommand(generic::delete(KIND))
}

fn named_arg(id: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(id).long(id).value_name(value).help(help)
}

fn several(id: &'static str, value: &'static str, help: &'static str) -> Arg {
    named_arg(id, value, help).action(ArgAction::Append).value_delimiter(',')
}

fn orphan() -> Arg {
    let help = "Take paths away that no host needs any more";
    Arg::new("delete-orphaned-path-matcher")
        .long("delete-orphaned-path-matcher")
        .action(ArgAction::SetTrue)
        .help(help)
}

fn add_path_matcher(command: Command) -> Command {
    let command =
        flag::with(command, &[SERVICE, DESCRIPTION]).mut_arg(SERVICE.long, |arg| arg.required(true));
    let command = command
        .arg(named_arg("path-matcher-name", "NAME", "What the paths are called").required(true))
        .arg(several("new-hosts", "A,B", "Hosts of a new rule [default: *]"))
        .arg(named_arg("existing-host", "HOST", "Host whose rule is to use these paths"))
        .arg(several("backend-service-path-rules", "PATH=SERVICE,…", "Paths and their services"))
        .arg(several("path-rules", "PATH=SERVICE,…", "The older word for --backend-service-path-rules"))
        .arg(orphan());
    exclusive(command, "hosts", &["new-hosts", "existing-host"])
}

fn remove_path_matcher(command: Command) -> Command {
    command.arg(named_arg("path-matcher-name", "NAME", "What the paths are called").required(true))
}

fn add_host_rule(command: Command) -> Command {
    flag::with(command, &[DESCRIPTION])
        .arg(several("hosts", "A,B", "The hosts").required(true))
        .arg(named_arg("path-matcher-name", "NAME", "Paths that are for them").required(true))
}

fn remove_host_rule(command: Command) -> Command {
    command.arg(named_arg("host", "HOST", "One of the rule's hosts").required(true)).arg(orphan())
}

fn validate() -> Command {
    let scheme = Form::Word(&["EXTERNAL", "EXTERNAL_MANAGED", "INTERNAL_MANAGED"]);
    let scheme = [f("load-balancing-scheme", scheme, "", "Scheme that it is validated for")];
    let source = named_arg("source", "FILE", "YAML file; standard input without it");
    let about = "Try a URL map with its tests, without changing anything";
    flag::with(ScopeFlags::of(KIND).onto(Command::new("validate").about(about).arg(source)), &scheme)
}

/// Does what a verb says.
///
/// # Errors
/// [`Fault`].
pub(super) async fn run(session: &mut Session<'_>, verb: &str, matches: &ArgMatches) -> Result<(), Fault> {
    match verb {
        "create" => {
            let target = session.resolve(KIND, named(matches), matches)?;
            let mut body = json!({"name": target.name});
            flag::fill(&mut body, &[SERVICE, DESCRIPTION], matches, session, &target.scope);
            flag::compact(&mut body);
            generic::create(session, KIND, &target, &body).await
        }
        "set-default-service" => {
            let fill = |map: &mut Value, session: &Session<'_>, target: &Target| {
                flag::fill(map, &[SERVICE], matches, session, &target.scope);
                Ok(())
            };
            change(session, matches, fill).await
        }
        "add-path-matcher" => {
            let add = |map: &mut Value, session: &Session<'_>, target: &Target| {
                let mut matcher = json!({"name": text(matches, "path-matcher-name")});
                flag::fill(&mut matcher, &[SERVICE, DESCRIPTION], matches, session, &target.scope);
                flag::compact(&mut matcher);
                let link = |name: &str| session.reference(&BACKEND_SERVICES, name, &target.scope);
                let paths =
                    ["path-rules", "backend-service-path-rules"].iter().flat_map(|id| texts(matches, id));
                let rules = rules::path_rules(&paths.flatten().collect::<Vec<_>>(), link)?;
                if !rules.is_empty() {
                    matcher["pathRules"] = rules.into();
                }
                let hosts = texts(matches, "new-hosts");
                let is_deleting = flag::is_set(matches, "delete-orphaned-path-matcher");
                rules::add_matcher(map, matcher, hosts, text(matches, "existing-host"), is_deleting)
            };
            change(session, matches, add).await
        }
        "remove-path-matcher" => {
            let name = text(matches, "path-matcher-name").unwrap_or_default();
            change(session, matches, |map, _, _| rules::remove_matcher(map, name)).await
        }
        "add-host-rule" => {
            let hosts = texts(matches, "hosts").unwrap_or_default();
            let matcher = text(matches, "path-matcher-name").unwrap_or_default();
            let description = text(matches, "description");
            change(session, matches, |map, _, _| {
                rules::add_host_rule(map, hosts.clone(), matcher, description)
            })
            .await
        }
        "remove-host-rule" => {
            let host = text(matches, "host").unwrap_or_default();
            let is_deleting = flag::is_set(matches, "delete-orphaned-path-matcher");
            change(session, matches, |map, _, _| rules::remove_host_rule(map, host, is_deleting)).await
        }
        "edit" => edit::run(session, KIND, SHEET, matches, &edit::in_editor).await,
        "export" => exchange::write(session, KIND, matches).await,
        "import" => exchange::read(session, KIND, CLEARED, matches).await,
        "validate" => try_out(session, matches).await,
        _ => super::common(session, KIND, verb, matches).await,
    }
}

/// GET, then PUT of the whole [G 10b].
async fn change(
    session: &mut Session<'_>,
    matches: &ArgMatches,
    make: impl FnOnce(&mut Value, &Session<'_>, &Target) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let target = session.resolve(KIND, named(matches), matches)?;
    let mut map = session.get(&target.path()).await?;
    make(&mut map, session, &target)?;
    let now = session.change(Method::PUT, &target.path(), &map, &target).await?;
    generic::updated(session, KIND, &target, &now)
}

/// POST to the name that stands in the file, which need not exist [G 7.10].
async fn try_out(session: &mut Session<'_>, matches: &ArgMatches) -> Result<(), Fault> {
    let path = text(matches, "source").unwrap_or("-");
    let map = document::read(&document::text_of(path)?)
        .map_err(|why| Fault::new(format!("Unable to parse [{path}]: {why}")))?;
    let Some(name) = map["name"].as_str() else {
        return Err(Fault::new(format!("Unable to parse [{path}]: the URL map has no name")));
    };
    let target = session.resolve(KIND, name, matches)?;
    let mut body = json!({"resource": map});
    if let Some(scheme) = text(matches, "load-balancing-scheme") {
        if target.scope.name().is_some() {
            let why = "Cannot specify load balancing scheme for regional URL maps.";
            return Err(Fault::of_flag("--load-balancing-scheme", why));
        }
        body["loadBalancingSchemes"] = json!([scheme]);
    }
    let answer = session.post(&format!("{}/validate", target.path()), &body).await?;
    let format = session.format.clone().unwrap_or(Format::Yaml);
    session.out += &format::one(&format, &answer, &generic::columns(KIND)?);
    Ok(())
}

/// Names of services become URLs, wherever they stand.
fn references(session: &Session<'_>, target: &Target, body: &mut Value) -> Result<(), Fault> {
    match body {
        Value::Object(object) => {
            for (key, value) in object {
                match value.as_str() {
                    Some(name) if matches!(key.as_str(), "defaultService" | "service" | "backendService") => {
                        *value = session.reference(&BACKEND_SERVICES, name, &target.scope).into();
                    }
                    _ => references(session, target, value)?,
                }
            }
        }
        Value::Array(list) => list.iter_mut().try_for_each(|value| references(session, target, value))?,
        _ => {}
    }
    Ok(())
}
