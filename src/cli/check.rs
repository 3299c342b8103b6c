//! `overspill check FILE`: all problems of a configuration in one pass, each with its line, a caret and what would be right.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use serde_json::json;

use crate::engine::files;
use crate::engine::start::key_problem;
use crate::model::config::{AccessLogTarget, Config};
use crate::model::problem::{Position, Problem, Severity};
use crate::model::resolve::{Resolved, locate};
use crate::source::exposed::mode_of_key;
use crate::wire::flaw::masked;
use crate::wire::yaml::MAX_BYTES;

/// How problems are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object.
    Json,
}

/// The document is good.
pub const GOOD: u8 = 0;
/// The document has errors, or warnings under `--strict`.
pub const BAD: u8 = 1;
/// There is no document: the file is missing or cannot be read. What can be read and is no text is [`BAD`].
pub const USAGE: u8 = 2;

/// Widest piece of a source line that is shown; longer ones are cut around the place.
const SHOWN_WIDTH: usize = 110;

/// Checks the file and prints what it found to standard output. Returns the exit code.
#[must_use]
pub fn run(path: &Path, format: Format, is_strict: bool) -> u8 {
    let name = path.display().to_string();
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let _ = std::io::stderr().write_all(unreadable(&name, &error).as_bytes());
            return USAGE;
        }
    };
    let (text, resolved) = match decode(bytes) {
        Ok(text) => {
            let resolved = with_surroundings(files::resolve(&text, path).0, path, &text);
            (text, resolved)
        }
        Err(broken) => {
            let (text, problem) = *broken;
            (text, Resolved { config: None, problems: vec![problem] })
        }
    };
    let is_good = is_good(&resolved.problems, is_strict);
    let out = match format {
        Format::Json => as_json(&resolved.problems, &name, is_good),
        Format::Human => {
            let good = resolved
                .config
                .as_ref()
                .filter(|_| is_good)
                .map(|config| format!("{name}: good: {}\n", counts(config)));
            render(&resolved.problems, &name, &text) + &good.unwrap_or_default()
        }
    };
    super::say(&out);
    if is_good { GOOD } else { BAD }
}

/// The configuration in a file, for commands that only look at it. Warnings stay unsaid: `check` says them.
///
/// # Errors
/// What `check` would print, and its exit code.
pub(super) fn load(path: &Path) -> Result<Config, (String, u8)> {
    let text = text(path)?;
    let resolved = files::resolve(&text, path).0;
    resolved.config.ok_or_else(|| (render(&resolved.problems, &path.display().to_string(), &text), BAD))
}

/// The text of a file.
///
/// # Errors
/// What `check` would print, and its exit code: [`USAGE`] for a file that cannot be read, [`BAD`] for what is no text.
pub(super) fn text(path: &Path) -> Result<String, (String, u8)> {
    let name = path.display().to_string();
    let bytes = read(path).map_err(|error| (unreadable(&name, &error), USAGE))?;
    decode(bytes).map_err(|broken| {
        let (text, problem) = *broken;
        (render(&[problem], &name, &text), BAD)
    })
}

fn unreadable(name: &str, error: &std::io::Error) -> String {
    format!("overspill: cannot read {name}: {error}\n")
}

/// The bytes as text. One broken byte should not hide where it stands: what is none comes as it can be shown, with the
/// problem.
fn decode(bytes: Vec<u8>) -> Result<String, Box<(String, Problem)>> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let problem = not_utf8(&shown, at);
        Box::new((shown, problem))
    })
}

/// Adds what only this machine can tell. Warnings, since it may not be the one that serves; a key that is none is one nowhere.
fn with_surroundings(mut resolved: Resolved, path: &Path, text: &str) -> Resolved {
    let key = resolved.config.as_ref().and_then(|config| key_problem(config, path));
    if let Some(mut problem) = key {
        locate(std::slice::from_mut(&mut problem), text);
        resolved.problems.push(problem);
        resolved.problems.sort_by_key(|problem| problem.position);
    }
    if let Some(mode) = mode_of_key(text, path).filter(|_| resolved.config.is_some()) {
        resolved.problems.push(Problem {
            severity: Severity::Warning,
            code: "open-private-key",
            path: "sslCertificates".to_owned(),
            position: None,
            message: format!(
                "a private key stands in this file, which has mode {mode:o}: others may read it"
            ),
            expected: Some("mode 600, or `privateKeyFile` with the path of a file that has it".to_owned()),
        });
    }
    let target = resolved.config.as_ref().map(|config| &config.proxy.access_log);
    if let Some(AccessLogTarget::File(log)) = target
        && let Some((message, expected)) = unwritable(log)
    {
        let mut problem = Problem {
            severity: Severity::Warning,
            code: "access-log",
            path: "proxy.accessLog.path".into(),
            position: None,
            message,
            expected: Some(expected.into()),
        };
        locate(std::slice::from_mut(&mut problem), text);
        resolved.problems.push(problem);
        resolved.problems.sort_by_key(|problem| problem.position);
    }
    resolved
}

/// Why the access log could not be written here, and what would help. Nothing is created to find out.
fn unwritable(log: &str) -> Option<(String, &'static str)> {
    let folder = match Path::new(log).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let shown = folder.display();
    let writable = "a file that the proxy's user may append to";
    match (fs::metadata(log), fs::metadata(folder)) {
        (Ok(file), _) if file.is_dir() => Some((format!("the access log `{log}` is a folder"), writable)),
        // Opening a pipe would wait for its reader.
        (Ok(file), _) if !file.is_file() => None,
        (Ok(_), _) => {
            let error = fs::OpenOptions::new().append(true).open(log).err()?;
            Some((format!("the access log `{log}` cannot be written here: {error}"), writable))
        }
        (Err(_), Ok(folder)) if folder.is_dir() => {
            let is_sealed = folder.permissions().readonly();
            is_sealed.then(|| {
                (
                    format!("no access log can be made here in the folder `{shown}`: nobody may write there"),
                    writable,
                )
            })
        }
        (Err(_), Ok(_)) => Some((format!("the access log's folder `{shown}` is no folder here"), writable)),
        (Err(_), Err(error)) => {
            let message = format!("the access log's folder `{shown}` cannot be reached here: {error}");
            Some((
                message,
                "a folder that is there before the proxy starts: it makes the file, not the folder",
            ))
        }
    }
}

/// Whether nothing stands against serving the document.
#[must_use]
pub fn is_good(problems: &[Problem], is_strict: bool) -> bool {
    !problems.iter().any(|problem| is_strict || problem.severity == Severity::Error)
}

/// Problems for people, in their order, and a line that counts them. Empty when there are none.
#[must_use]
pub fn render(problems: &[Problem], file_name: &str, text: &str) -> String {
    let lines = lines(text);
    let mut out = String::new();
    for problem in problems {
        one(&mut out, problem, file_name, &lines);
    }
    if !problems.is_empty() {
        let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
        let _ = writeln!(
            out,
            "{}, {}",
            plural(count(Severity::Error), "error"),
            plural(count(Severity::Warning), "warning")
        );
    }
    out
}

/// One line about a good document: `2 listeners, 1 backend service, 2 backends, 3 members`.
#[must_use]
pub fn counts(config: &Config) -> String {
    let backends = config.services.iter().flat_map(|service| &service.backends);
    let members = backends.clone().map(|backend| backend.members.len()).sum();
    [
        plural(config.fronts.len(), "listener"),
        plural(config.services.len(), "backend service"),
        plural(backends.count(), "backend"),
        plural(members, "member"),
    ]
    .join(", ")
}

fn one(out: &mut String, problem: &Problem, file_name: &str, lines: &[&str]) {
    let Problem { severity, code, message, expected, .. } = problem;
    let (severity, blank) = (severity.as_str(), "");
    match problem.position {
        None => {
            let _ = writeln!(out, "{file_name}: {severity}[{code}]: {message}");
            if !problem.path.is_empty() {
                let _ = writeln!(out, "  = at: {}", problem.path);
            }
        }
        Some(position) => {
            let Position { line, column, .. } = position;
            let _ = writeln!(out, "{file_name}:{line}:{column}: {severity}[{code}]: {message}");
            if let Some(source) = lines.get(line.saturating_sub(1)) {
                let gutter = line.to_string().len();
                let (source, carets) = excerpt(&veiled(source, lines, line), position);
                let _ = writeln!(out, "{blank:gutter$} |");
                let _ = writeln!(out, "{line} | {source}");
                let _ = writeln!(out, "{blank:gutter$} | {carets}");
            }
        }
    }
    if let Some(expected) = expected {
        let _ = writeln!(out, "  = expected: {expected}");
    }
    out.push('\n');
}

/// The line with nothing of a private key in it, and as long as it was.
fn veiled<'a>(source: &'a str, lines: &[&str], number: usize) -> Cow<'a, str> {
    // No key has more lines.
    const LONGEST_KEY: usize = 200;
    let before = lines.get(..number.saturating_sub(1)).unwrap_or_default();
    let border = before.iter().rev().take(LONGEST_KEY).find(|line| line.contains("-----"));
    if border.is_some_and(|line| is_begin(line)) && !source.contains("-----") {
        return Cow::Owned(source.chars().map(|c| if c.is_whitespace() { c } else { '*' }).collect());
    }
    masked(source)
}

/// Whether a private key begins in this line and does not end there.
fn is_begin(line: &str) -> bool {
    let last = line.rsplit("-----BEGIN").next().filter(|_| line.contains("-----BEGIN"));
    last.is_some_and(|last| last.contains("PRIVATE KEY-----") && !last.contains("-----END"))
}

/// The part of a line that is worth showing, with carets under the place. Tabs and control characters become one
/// space, so that a caret stands where it should.
fn excerpt(source: &str, position: Position) -> (String, String) {
    let chars: Vec<char> = source.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let at = position.column.saturating_sub(1).min(chars.len());
    // A third of the window before the place, the rest after it.
    let skip = if chars.len() <= SHOWN_WIDTH {
        0
    } else {
        at.saturating_sub(SHOWN_WIDTH / 3).min(chars.len() - SHOWN_WIDTH)
    };
    let mut shown: String = chars.iter().skip(skip).take(SHOWN_WIDTH).collect();
    let mut before = at - skip;
    if skip > 0 {
        shown.insert(0, '…');
        before += 1;
    }
    if skip + SHOWN_WIDTH < chars.len() {
        shown.push('…');
    }
    let width = position.width.clamp(1, shown.chars().count().saturating_sub(before).max(1));
    (shown.trim_end().to_owned(), format!("{}{}", " ".repeat(before), "^".repeat(width)))
}

/// Lines as YAML counts them: ended by `\n`, `\r\n` or `\r`.
fn lines(text: &str) -> Vec<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let split = |line: &'_ str| line.strip_suffix('\r').map_or(line.len(), str::len);
    text.split('\n').flat_map(|line| line.get(..split(line)).unwrap_or(line).split('\r')).collect()
}

fn as_json(problems: &[Problem], file: &str, is_good: bool) -> String {
    let problems: Vec<_> = problems
        .iter()
        .map(|problem| {
            json!({
                "severity": problem.severity.as_str(),
                "code": problem.code,
                "path": problem.path,
                "line": problem.position.map(|position| position.line),
                "column": problem.position.map(|position| position.column),
                "width": problem.position.map(|position| position.width),
                "message": problem.message,
                "expected": problem.expected,
            })
        })
        .collect();
    format!("{:#}\n", json!({ "file": file, "ok": is_good, "problems": problems }))
}

fn not_utf8(lossy: &str, valid: usize) -> Problem {
    // What is valid stands at the same place in the lossy text.
    let before = lossy.get(..valid).unwrap_or_default();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Problem {
        severity: Severity::Error,
        code: "not-utf8",
        path: String::new(),
        position: Some(Position { line: before.matches('\n').count() + 1, column, width: 1 }),
        message: "this is not UTF-8 text".into(),
        expected: Some("a text file in UTF-8".into()),
    }
}

/// Reads no more than can be used, so that a wrong path, to a disk image say, costs little.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::resolve::document;

    fn at(line: usize, column: usize, width: usize) -> Problem {
        Problem {
            severity: Severity::Error,
            code: "code",
            path: "a.b".into(),
            position: Some(Position { line, column, width }),
            message: "wrong".into(),
            expected: Some("right".into()),
        }
    }

    #[test]
    fn a_problem_is_shown_with_its_line_and_a_caret() {
        let out = render(&[at(2, 4, 3)], "f.yaml", "a:\n\tb: xyz\n");
        assert_eq!(
            out,
            "f.yaml:2:4: error[code]: wrong\n  |\n2 |  b: xyz\n  |    ^^^\n  = expected: right\n\n1 error, 0 warnings\n"
        );
    }

    #[test]
    fn a_line_of_a_private_key_is_not_shown_and_the_next_line_is() {
        let key = include_str!("../model/testdata/one.key");
        let text = format!("a:\n{key}b: c\nkey: \"{}\"\n", key.replace('\n', "\\n"));
        let count = text.lines().count();
        for line in 1..=count {
            let out = render(&[at(line, 1, 3)], "f", &text);
            for secret in key.lines().filter(|line| !line.contains("-----")) {
                assert!(!out.contains(secret), "{out}");
            }
        }
        assert!(render(&[at(count - 1, 1, 3)], "f", &text).contains("b: c"));
    }

    #[test]
    fn lines_are_counted_as_yaml_counts_them() {
        assert_eq!(lines("a\r\nb\rc\nd"), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}HERE{}", "x".repeat(500), "y".repeat(500));
        let out = render(&[at(1, 501, 4)], "f", &text);
        let shown: Vec<&str> = out.lines().collect();
        let column = shown[2].chars().position(|c| c == 'H').unwrap();
        assert_eq!(shown[3].chars().position(|c| c == '^').unwrap(), column);
        assert!(shown[2].chars().count() < 130);
    }

    #[test]
    fn a_place_beyond_the_text_is_no_panic() {
        for (line, column) in [(0, 0), (9, 9), (1, 99)] {
            assert!(render(&[at(line, column, 99)], "f", "a: 1\n").contains("error[code]"));
        }
    }

    #[test]
    fn json_holds_every_field() {
        let out: serde_json::Value = serde_json::from_str(&as_json(&[at(2, 4, 3)], "f", false)).unwrap();
        assert_eq!(
            out,
            json!({"file": "f", "ok": false, "problems": [{"severity": "error", "code": "code", "path": "a.b",
                "line": 2, "column": 4, "width": 3, "message": "wrong", "expected": "right"}]})
        );
    }

    #[test]
    fn an_access_log_that_cannot_be_written_here_is_a_warning_at_its_place() {
        let folder = std::env::temp_dir().join(format!("overspill-check-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let minimal = include_str!("../../config/minimal.yaml");
        assert!(!minimal.contains("\nproxy:"));
        let found = |log: &str| {
            let text = format!("proxy:\n  accessLog: {{path: {}}}\n{minimal}", folder.join(log).display());
            with_surroundings(document(&text), Path::new("lb.yaml"), &text).problems
        };
        assert_eq!(found("access.log"), []);
        assert!(!folder.join("access.log").exists(), "nothing is made");
        fs::write(folder.join("file"), "").unwrap();
        assert_eq!(found("file"), []);
        for (log, words) in [
            ("missing/access.log", "cannot be reached"),
            ("file/access.log", "is no folder"),
            (".", "is a folder"),
        ] {
            let [problem] = &found(log)[..] else { panic!("{log}: {:?}", found(log)) };
            assert_eq!((problem.severity, problem.position.unwrap().line), (Severity::Warning, 2), "{log}");
            assert!(problem.message.contains(words), "{problem:?}");
        }
        let _ = fs::remove_dir_all(&folder);
    }

    #[test]
    fn a_missing_file_is_a_usage_error() {
        assert_eq!(run(Path::new("no/such/file.yaml"), Format::Human, false), USAGE);
    }
}
