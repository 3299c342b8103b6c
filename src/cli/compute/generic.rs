//! What every kind of resource has in common: describe, list, delete, export and import, from the table of kinds.

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use serde_json::Value;

use super::batch;
use super::fault::Fault;
use super::flag;
use super::format::{self, Format, Projection};
use super::kind::{Kind, Place};
use super::place::{Scope, ScopeFlags, Target, basename};
use super::prompt;
use super::rows::{Asked, Rows};
use super::session::Session;

/// `describe NAME`.
pub(super) fn describe(kind: &Kind) -> Command {
    ScopeFlags::of(kind).onto(Command::new("describe").about("Show one, as YAML").arg(name()))
}

/// `delete NAME…`.
pub(super) fn delete(kind: &Kind) -> Command {
    let names = Arg::new("name").value_name("NAME").required(true).num_args(1..).help("Their names");
    ScopeFlags::of(kind).onto(Command::new("delete").about("Delete one or several, after asking").arg(names))
}

/// `list`.
pub(super) fn list(kind: &Kind) -> Command {
    let command = listing(Command::new("list").about("Show all in a table"));
    kind.places.iter().filter(|_| kind.has_aggregated_list()).fold(command, |command, place| match place {
        Place::Global => command.arg(
            Arg::new("global")
                .long("global")
                .action(ArgAction::SetTrue)
                .help("Only global ones")
                .group("where"),
        ),
        Place::Region => command.arg(several("regions", "Only those of these regions").group("where")),
        Place::Zone => command.arg(several("zones", "Only those of these zones").group("where")),
    })
}

fn several(id: &'static str, help: &'static str) -> Arg {
    Arg::new(id).long(id).value_name("A,B").action(ArgAction::Append).value_delimiter(',').help(help)
}

/// The flags of all lists.
pub(super) fn listing(command: Command) -> Command {
    let limit = clap::value_parser!(u64).range(1..);
    command
        .arg(
            Arg::new("filter")
                .long("filter")
                .value_name("EXPRESSION")
                .help("Only those for which it holds, such as name~^web"),
        )
        .arg(Arg::new("limit").long("limit").value_name("N").value_parser(limit).help("So many at most"))
        .arg(
            Arg::new("page-size")
                .long("page-size")
                .value_name("N")
                .value_parser(clap::value_parser!(u64).range(1..=500))
                .help("So many in one answer of the server"),
        )
        .arg(several("sort-by", "Keys to sort by; ~KEY sorts downwards"))
}

/// The positional name.
pub(super) fn name() -> Arg {
    Arg::new("name").value_name("NAME").required(true).help("Its name")
}

/// The name that was given.
pub(super) fn named(matches: &ArgMatches) -> &str {
    flag::text(matches, "name").unwrap_or_default()
}

/// Columns of a kind's table.
pub(super) fn columns(kind: &Kind) -> Result<Projection, Fault> {
    Projection::parse(kind.columns).map_err(Fault::new)
}

/// Shows one resource; YAML unless another format is asked for.
///
/// # Errors
/// As the server says.
pub(super) async fn show(session: &mut Session<'_>, kind: &Kind, matches: &ArgMatches) -> Result<(), Fault> {
    let target = session.resolve(kind, named(matches), matches)?;
    let resource = session.get(&target.path()).await?;
    let format = session.format.clone().unwrap_or(Format::Yaml);
    session.out += &format::one(&format, &resource, &columns(kind)?);
    Ok(())
}

/// Lists a kind.
///
/// # Errors
/// As the server says, or what is wrong with a filter.
pub(super) async fn show_all(
    session: &mut Session<'_>,
    kind: &Kind,
    matches: &ArgMatches,
) -> Result<(), Fault> {
    let columns = columns(kind)?;
    let rows = Rows::of(session, matches, &columns)?;
    let mut found = Vec::new();
    let scopes = scopes(kind, matches);
    if scopes.is_empty() && kind.has_aggregated_list() {
        let path = session.path(&format!("aggregated/{}", kind.collection));
        let mut query = vec![("includeAllScopes", "True".to_owned())];
        query.extend(rows.size(Asked::ForAll));
        query.push(("returnPartialSuccess", "True".to_owned()));
        for page in pages(session, &path, &query, rows.enough(Asked::ForAll)).await? {
            let none = serde_json::Map::new();
            for scope in page["items"].as_object().unwrap_or(&none).values() {
                found.extend(scope[kind.collection].as_array().into_iter().flatten().cloned());
            }
        }
        let shown = rows.chosen(session, found, Asked::ForAll);
        return print(session, &shown, &columns);
    }
    let scopes = if scopes.is_empty() { vec![Scope::Global] } else { scopes };
    for scope in scopes {
        let path = session.target(kind, scope, "").collection_path();
        found.extend(entries(session, &path, &rows, kind).await?);
    }
    let shown = rows.chosen(session, found, Asked::WithFilter);
    print(session, &shown, &columns)
}

fn scopes(kind: &Kind, matches: &ArgMatches) -> Vec<Scope> {
    let of =
        |id: &str| flag::texts(matches, id).unwrap_or_default().into_iter().map(basename).map(str::to_owned);
    let mut scopes: Vec<Scope> =
        of("regions").map(Scope::Region).chain(of("zones").map(Scope::Zone)).collect();
    if flag::is_set(matches, "global") && kind.has_aggregated_list() {
        scopes.push(Scope::Global);
    }
    scopes
}

/// Entries of one collection, filtered by the server where it can.
async fn entries(session: &Session<'_>, path: &str, rows: &Rows, kind: &Kind) -> Result<Vec<Value>, Fault> {
    let mut query: Vec<(&str, String)> =
        rows.for_server().map(|filter| ("filter", filter)).into_iter().collect();
    query.extend(rows.size(Asked::WithFilter).map(|(_, size)| (kind.size_parameter(), size)));
    let mut found = Vec::new();
    for page in pages(session, path, &query, rows.enough(Asked::WithFilter)).await? {
        // The networkservices API names the list after the collection.
        let items = page["items"].as_array().or_else(|| page[kind.collection].as_array());
        found.extend(items.into_iter().flatten().cloned());
    }
    Ok(found)
}

/// All pages of a list, or as many as bring `enough` entries.
async fn pages(
    session: &Session<'_>,
    path: &str,
    query: &[(&str, String)],
    enough: Option<usize>,
) -> Result<Vec<Value>, Fault> {
    /// No server needs as many; one that does not end is stopped.
    const MOST: usize = 10_000;
    let mut pages: Vec<Value> = Vec::new();
    let mut entries = 0;
    let mut token: Option<String> = None;
    while pages.len() < MOST {
        let page_token = token.as_ref().map(|token| ("pageToken", token.clone()));
        let page = session.get(&with_query(path, query.iter().cloned().chain(page_token))).await?;
        entries += page["items"].as_array().map_or(0, Vec::len);
        token = page["nextPageToken"].as_str().filter(|token| !token.is_empty()).map(str::to_owned);
        pages.push(page);
        if token.is_none() || enough.is_some_and(|enough| entries >= enough) {
            break;
        }
    }
    Ok(pages)
}

/// A path with its query.
pub(super) fn with_query<'q>(path: &str, query: impl Iterator<Item = (&'q str, String)>) -> String {
    let query: Vec<String> =
        query.map(|(key, value)| format!("{key}={}", super::place::escaped(&value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// Writes rows, or that there are none [G 10.11].
///
/// # Errors
/// None; the type is that of what calls it.
pub(super) fn print(session: &mut Session<'_>, rows: &[Value], usual: &Projection) -> Result<(), Fault> {
    let format = session.format.clone().unwrap_or(Format::Table(None));
    if rows.is_empty() && matches!(format, Format::Table(_)) {
        session.notes += "Listed 0 items.\n";
    } else {
        session.out += &format::rows(&format, rows, usual);
    }
    Ok(())
}

/// Creates a resource and shows its row.
///
/// # Errors
/// As the server says.
pub(super) async fn create(
    session: &mut Session<'_>,
    kind: &Kind,
    target: &Target,
    body: &Value,
) -> Result<(), Fault> {
    let path = if kind.is_of_network_services() {
        let id = std::iter::once(("serviceLbPolicyId", target.name.clone()));
        with_query(&target.collection_path(), id)
    } else {
        target.collection_path()
    };
    let made = session.change(Method::POST, &path, body, target).await?;
    session.note("Created", target);
    print(session, &[made], &columns(kind)?)
}

/// Tells of a change, and shows the resource where a format is asked for.
///
/// # Errors
/// As [`columns`].
pub(super) fn updated(
    session: &mut Session<'_>,
    kind: &Kind,
    target: &Target,
    now: &Value,
) -> Result<(), Fault> {
    session.note("Updated", target);
    if session.format.is_some() {
        print(session, std::slice::from_ref(now), &columns(kind)?)?;
    }
    Ok(())
}

/// Deletes resources: one by DELETE, several in one batch [G 10b].
///
/// # Errors
/// As the server says; what could be deleted is deleted then.
pub(super) async fn remove(
    session: &mut Session<'_>,
    kind: &Kind,
    matches: &ArgMatches,
) -> Result<(), Fault> {
    let names = flag::texts(matches, "name").unwrap_or_default();
    let targets = names.into_iter().map(|name| session.resolve(kind, name, matches));
    let targets = targets.collect::<Result<Vec<_>, _>>()?;
    let lines: String = targets
        .iter()
        .map(|target| match target.scope.name() {
            Some(scope) => format!(" - [{}] in [{scope}]\n", target.name),
            None => format!(" - [{}]\n", target.name),
        })
        .collect();
    let question =
        format!("The following {} will be deleted:\n{lines}\nDo you want to continue (Y/n)?  ", kind.noun);
    if !session.is_quiet && !prompt::is_yes(&question) {
        return Err(Fault::new("Aborted by user."));
    }
    match targets.as_slice() {
        [one] => {
            session.delete(one).await?;
            session.note("Deleted", one);
            Ok(())
        }
        several if kind.is_of_network_services() => {
            // That API has no batch.
            for target in several {
                session.delete(target).await?;
                session.note("Deleted", target);
            }
            Ok(())
        }
        several => {
            let requests = several.iter().map(|target| (Method::DELETE, target.path(), Value::Null));
            let answers = batch::send(session, requests.collect()).await?;
            batch::ends(session, several, answers, "Deleted").await
        }
    }
}
