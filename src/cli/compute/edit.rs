//! `edit`: the fields of a resource that may change, in the user's editor, with an example below them.

use std::io::Write as _;

use clap::{ArgMatches, Command};
use http::Method;
use serde_json::Value;

use super::document;
use super::fault::Fault;
use super::flag;
use super::format::{self, Format};
use super::generic::{self, named};
use super::kind::Kind;
use super::place::{ScopeFlags, Target};
use super::prompt;
use super::session::Session;

/// What `edit` shows of a kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sheet {
    /// Fields that are shown and sent back; all others keep what they are, as far as the server lets them [G 10b].
    pub(super) fields: &'static [&'static str],
    /// A resource in JSON.
    pub(super) example: &'static str,
    /// Makes references of the user's into URLs.
    pub(super) references: fn(&Session<'_>, &Target, &mut Value) -> Result<(), Fault>,
}

/// How a text is shown to the user, who changes it; `Err` when there is no editor.
pub(super) type Editor<'e> = &'e dyn Fn(&str) -> Result<String, String>;

const HELP: &str = "\
You can edit the resource below. Lines that begin with \"#\" are ignored.

If you make a mistake, you are asked whether to edit the file again. Close
the file without saving it to change nothing.

Only fields that can be changed are shown. At the bottom are an example and
the resource as it is, with all of its fields.
";

/// `edit NAME`.
pub(super) fn command(kind: &Kind) -> Command {
    let about = "Change one in $EDITOR (vi without it), as YAML or with --format json";
    ScopeFlags::of(kind).onto(Command::new("edit").about(about).arg(generic::name()))
}

/// Shows the resource in the editor and sends what comes back.
///
/// # Errors
/// When nothing was changed, or what came back does not fit and there is nobody to ask again.
pub(super) async fn run(
    session: &mut Session<'_>,
    kind: &Kind,
    sheet: Sheet,
    matches: &ArgMatches,
    editor: Editor<'_>,
) -> Result<(), Fault> {
    let format = match &session.format {
        None | Some(Format::Yaml) => Format::Yaml,
        Some(Format::Json) => Format::Json,
        Some(_) => return Err(Fault::of_flag("--format", "edit works with yaml and json")),
    };
    let target = session.resolve(kind, named(matches), matches)?;
    let original = session.get(&target.path()).await?;
    let editable = only(&original, sheet.fields);
    let mut text = contents(&format, sheet, &original, &editable);
    loop {
        let edited = editor(&text).map_err(Fault::new)?;
        if edited == text {
            return Err(Fault::new("Edit aborted by user."));
        }
        text = edited;
        let problem = match attempt(session, sheet, &target, &text, (&original, &editable)).await {
            Ok(None) => {
                session.out += &format::one(&format, &original, &generic::columns(kind)?);
                return Ok(());
            }
            Ok(Some(now)) => {
                session.note("Updated", &target);
                session.out += &format::one(&format, &now, &generic::columns(kind)?);
                return Ok(());
            }
            Err(problem) => problem,
        };
        let question = format!("{problem}\n\nWould you like to edit the resource again (Y/n)?  ");
        if session.is_quiet || !prompt::can_ask() {
            return Err(Fault::new(problem));
        }
        if !prompt::is_yes(&question) {
            return Err(Fault::new("Edit aborted by user."));
        }
    }
}

/// Sends what the text says; `None` when it says what is so already.
async fn attempt(
    session: &Session<'_>,
    sheet: Sheet,
    target: &Target,
    text: &str,
    (original, editable): (&Value, &Value),
) -> Result<Option<Value>, String> {
    let parsing = |why: String| format!("There was a problem parsing your changes: {why}");
    let applying = |why: Fault| format!("There was a problem applying your changes: {why}");
    // Blank lines instead of comments, so that positions in messages stay right.
    let lines = text.lines().map(|line| if line.starts_with('#') { "" } else { line });
    if lines.clone().all(|line| line.trim().is_empty()) {
        return Err(parsing("the file was emptied; nothing was changed".to_owned()));
    }
    let mut body = document::read(&lines.collect::<Vec<_>>().join("\n")).map_err(parsing)?;
    let fields = body.as_object().into_iter().flat_map(|object| object.keys());
    if let Some(stranger) = fields.into_iter().find(|key| !sheet.fields.contains(&key.as_str())) {
        return Err(parsing(format!("`{stranger}` is no field that can be changed here")));
    }
    (sheet.references)(session, target, &mut body).map_err(applying)?;
    if body == *editable {
        return Ok(None);
    }
    flag::set(&mut body, "name", Value::from(target.name.as_str()));
    if !original["fingerprint"].is_null() {
        flag::set(&mut body, "fingerprint", original["fingerprint"].clone());
    }
    session.change(Method::PUT, &target.path(), &body, target).await.map(Some).map_err(applying)
}

fn only(original: &Value, fields: &[&str]) -> Value {
    let mut editable = original.clone();
    if let Some(object) = editable.as_object_mut() {
        object.retain(|key, _| fields.contains(&key.as_str()));
    }
    editable
}

/// Help, the fields, an example and the whole resource, all but the fields as comments.
fn contents(format: &Format, sheet: Sheet, original: &Value, editable: &Value) -> String {
    let write = |value: &Value| match format {
        Format::Json => format::json(value),
        _ => format::yaml_of(value),
    };
    let comment = |text: &str| -> String {
        text.lines()
            .map(|line| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") })
            .collect()
    };
    let example: Value = serde_json::from_str(sheet.example).unwrap_or_default();
    let below = format!(
        "Example resource:\n-----------------\n\n{}\n\nOriginal resource:\n------------------\n\n{}",
        indented(&write(&example)),
        indented(&write(original))
    );
    format!("{}\n{}\n{}", comment(HELP), write(editable), comment(&below))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// The user's editor on a temporary file: `$EDITOR`, else vi.
///
/// # Errors
/// When it cannot be started, or ends with an error.
pub(super) fn in_editor(text: &str) -> Result<String, String> {
    let editor = std::env::var("EDITOR").ok().filter(|editor| !editor.trim().is_empty());
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    let mut name = [0_u8; 8];
    getrandom::fill(&mut name).map_err(|why| why.to_string())?;
    let path = std::env::temp_dir().join(format!("overspill-edit-{:016x}.txt", u64::from_be_bytes(name)));
    let result = write_new(&path, text).and_then(|()| {
        // The shell splits what $EDITOR says, such as `code --wait`.
        let status =
            std::process::Command::new("sh").args(["-c", &format!("{editor} \"$0\"")]).arg(&path).status()?;
        if status.success() {
            std::fs::read_to_string(&path)
        } else {
            Err(std::io::Error::other(format!("it ended with {status}")))
        }
    });
    let _ = std::fs::remove_file(&path);
    result.map_err(|why| format!("the editor `{editor}` could not be used: {why}"))
}

/// For this user's eyes only.
fn write_new(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
