//! `export` and `import`: a resource as a YAML file, and back.

use clap::{Arg, ArgMatches, Command};
use http::Method;
use serde_json::Value;

use super::document;
use super::fault::Fault;
use super::flag;
use super::format;
use super::generic::{self, named};
use super::kind::Kind;
use super::place::ScopeFlags;
use super::prompt;
use super::session::Session;

/// Fields that only the server sets.
const OUTPUT_ONLY: &[&str] = &["creationTimestamp", "id", "kind", "region"];

/// `export NAME`.
pub(super) fn export(kind: &Kind) -> Command {
    let to = Arg::new("destination")
        .long("destination")
        .value_name("FILE")
        .help("Write it there instead of standard output");
    ScopeFlags::of(kind).onto(
        Command::new("export").about("Write one as YAML that import reads").arg(generic::name()).arg(to),
    )
}

/// `import NAME`.
pub(super) fn import(kind: &Kind) -> Command {
    let from =
        Arg::new("source").long("source").value_name("FILE").help("YAML file; standard input without it");
    ScopeFlags::of(kind)
        .onto(Command::new("import").about("Create or update one from YAML").arg(generic::name()).arg(from))
}

/// Writes the resource without what only the server sets.
///
/// # Errors
/// As the server says; when the file cannot be written.
pub(super) async fn write(session: &mut Session<'_>, kind: &Kind, matches: &ArgMatches) -> Result<(), Fault> {
    let target = session.resolve(kind, named(matches), matches)?;
    let mut resource = session.get(&target.path()).await?;
    flag::remove(&mut resource, OUTPUT_ONLY);
    let text = format::yaml_of(&resource);
    match flag::text(matches, "destination").filter(|path| *path != "-") {
        None => session.out += &text,
        Some(path) => {
            std::fs::write(path, text)
                .map_err(|why| Fault::new(format!("Unable to write file [{path}]: {why}")))?;
            session.notes += &format!("Exported [{}] to '{path}'.\n", target.name);
        }
    }
    Ok(())
}

/// What a file clears by not saying it, when PATCH puts it in the place of a resource [G 10b].
#[derive(Debug, Clone, Copy)]
pub(super) struct Cleared {
    /// Fields that become null.
    pub(super) nulls: &'static [&'static str],
    /// Fields that become an empty list.
    pub(super) empties: &'static [&'static str],
}

/// Creates the resource of a file, or makes the one that is there as the file says.
///
/// # Errors
/// What is wrong with the file; as the server says.
pub(super) async fn read(
    session: &mut Session<'_>,
    kind: &Kind,
    cleared: Cleared,
    matches: &ArgMatches,
) -> Result<(), Fault> {
    let target = session.resolve(kind, named(matches), matches)?;
    let path = flag::text(matches, "source").unwrap_or("-");
    let mut body = document::read(&document::text_of(path)?)
        .map_err(|why| Fault::new(format!("Unable to parse [{path}]: {why}")))?;
    flag::set(&mut body, "name", Value::from(target.name.as_str()));
    let Some(old) = session.find(&target.path()).await? else {
        flag::remove(&mut body, &["fingerprint"]);
        return generic::create(session, kind, &target, &body).await;
    };
    if is_within(&body, &old) && !has_more(&old, &body, cleared) {
        return Ok(());
    }
    let noun = kind.noun.trim_end_matches('s');
    let first = noun.chars().next().map(|c| c.to_ascii_uppercase()).unwrap_or_default();
    let question = format!(
        "{first}{} [{}] will be overwritten.\n\nDo you want to continue (Y/n)?  ",
        noun.get(1..).unwrap_or_default(),
        target.name
    );
    if !session.is_quiet && !prompt::is_yes(&question) {
        return Err(Fault::new("Aborted by user."));
    }
    for key in ["id", "fingerprint"] {
        if !old[key].is_null() {
            flag::set(&mut body, key, old[key].clone());
        }
    }
    for (keys, value) in [(cleared.nulls, Value::Null), (cleared.empties, Value::Array(Vec::new()))] {
        for key in keys {
            if body[*key].is_null() {
                flag::set(&mut body, key, value.clone());
            }
        }
    }
    let now = session.change(Method::PATCH, &target.path(), &body, &target).await?;
    generic::updated(session, kind, &target, &now)
}

/// Whether all that the file says is so already.
fn is_within(file: &Value, old: &Value) -> bool {
    file.as_object().is_some_and(|fields| fields.iter().all(|(key, value)| old.get(key) == Some(value)))
}

/// Whether something would be cleared.
fn has_more(old: &Value, file: &Value, cleared: Cleared) -> bool {
    let is_cleared =
        |key: &&str| file[*key].is_null() && !old[*key].is_null() && old[*key] != serde_json::json!([]);
    cleared.nulls.iter().chain(cleared.empties).any(is_cleared)
}
