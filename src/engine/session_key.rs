//! The secret behind strong cookies: given in the configuration, or made once and kept in a file that only its owner
//! may read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::model::config::{Config, SessionKey};
use crate::model::problem::{Problem, Severity};
use crate::model::service::Affinity;
use crate::proxy::session::strong::{KEY_LENGTH, Signer};

/// A key that is in no file; only [`provide`] and a successor see it.
pub(super) type InMemory = OnceLock<[u8; KEY_LENGTH]>;

/// Fills `signer` when a service of `config` gives out strong cookies and nobody has filled it before. `origin` is the
/// configuration file; where there is none, the key lives as long as the process, and
/// its successors: it is the one in `memory`, or put there.
///
/// # Errors
/// [`Problem`] when the key's file cannot be read or made, or holds something else.
pub(super) fn provide(
    (signer, memory): (&OnceLock<Signer>, &InMemory),
    config: &Config,
    origin: &Path,
) -> Result<(), Vec<Problem>> {
    if !wants_key(config) || signer.get().is_some() {
        return Ok(());
    }
    let session_key = &config.proxy.session_key;
    let is_beside_nothing = *session_key == SessionKey::Kept && !origin.is_file();
    let key = match (session_key, session_key.file(origin).filter(|_| !is_beside_nothing)) {
        (SessionKey::Given(key), _) => *key,
        (_, Some(path)) => kept(&path).map_err(|error| vec![problem(&path.display().to_string(), &error)])?,
        (_, None) => match memory.get() {
            Some(key) => *key,
            None => {
                let key = fresh().map_err(|error| vec![problem("", &error)])?;
                *memory.get_or_init(|| key)
            }
        },
    };
    // Of two that provide one at the same time the first stands; there is one writer anyway.
    let _ = signer.set(Signer::new(&key));
    Ok(())
}

/// What is wrong with the key's file of `config`, if there is one already. Nothing is made to find out.
pub(crate) fn problem_of_file(config: &Config, origin: &Path) -> Option<Problem> {
    let session_key = &config.proxy.session_key;
    let path = session_key.file(origin).filter(|_| *session_key != SessionKey::Kept || wants_key(config))?;
    let shown = path.display().to_string();
    match fs::metadata(&path) {
        Err(_) => None,
        Ok(file) if file.is_file() => match read_key(&path) {
            Ok(_) => open_to_others(&path).map(|mode| Problem {
                severity: Severity::Warning,
                code: "open-session-key",
                message: format!("`{shown}`, the key of strong cookies, has mode {mode:o}: others may read or change it, and forge cookies"),
                expected: Some("mode 600: for its owner alone".to_owned()),
                ..problem(&shown, &io::Error::other(""))
            }),
            // Another user than this one may be the one that serves.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some(Problem { severity: Severity::Warning, ..problem(&shown, &error) })
            }
            Err(error) => Some(problem(&shown, &error)),
        },
        Ok(_) => Some(problem(&shown, &io::Error::other("it is no file"))),
    }
}

fn wants_key(config: &Config) -> bool {
    config.services.iter().any(|service| matches!(service.affinity, Affinity::StrongCookie(_)))
}

/// The permissions of a file that its group or others may read or change.
fn open_to_others(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o066 != 0).then_some(mode)
}

/// The key in the file; a new one, if there is no such file.
fn kept(path: &Path) -> io::Result<[u8; KEY_LENGTH]> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        known => known,
    }
}

fn read(path: &Path) -> io::Result<[u8; KEY_LENGTH]> {
    let key = read_key(path)?;
    if let Some(mode) = open_to_others(path) {
        tracing::warn!(path = %path.display(), mode = %format_args!("{mode:o}"), "others may read or change the key of strong cookies, and forge them");
    }
    Ok(key)
}

fn read_key(path: &Path) -> io::Result<[u8; KEY_LENGTH]> {
    let text = fs::read_to_string(path)?;
    SessionKey::parse(text.trim())
        .ok_or_else(|| io::Error::other("it does not hold 64 hexadecimal digits, or they are all 0"))
}

/// Written whole under another name first: a full disk or a crash leaves no half key behind.
fn make(path: &Path) -> io::Result<[u8; KEY_LENGTH]> {
    let key = fresh()?;
    let text = SessionKey::text(&key);
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut file| {
            writeln!(file, "{text}")?;
            file.sync_all()
        });
    // A link, not a rename: of two processes that start at the same time the first one's key stands.
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match linked {
        Ok(()) => {
            tracing::info!(path = %path.display(), "made a key for strong cookies");
            Ok(key)
        }
        // Read once more, not made once more: a link that leads nowhere is there and cannot be read.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(error),
    }
}

pub(super) fn fresh() -> io::Result<[u8; KEY_LENGTH]> {
    let mut key = [0; KEY_LENGTH];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(key)
}

fn problem(path: &str, error: &io::Error) -> Problem {
    Problem {
        severity: Severity::Error,
        code: "no-session-key",
        path: "proxy.sessionKeyFile".to_owned(),
        position: None,
        message: format!("the key of strong cookies cannot be had from `{path}`: {error}"),
        expected: Some("a file of 64 hexadecimal digits, or a folder in which one may be made".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = SessionKey::Kept.file(&folder.path().join("lb.yaml")).unwrap();
        assert!(path.ends_with("lb.yaml.session-key"));
        let key = kept(&path).unwrap();
        assert_eq!(kept(&path).unwrap(), key);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_file_of_something_else_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "secret").unwrap();
        assert!(kept(&path).unwrap_err().to_string().contains("64 hexadecimal digits"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "secret");
        assert!(kept(&folder.path().join("no/such/folder")).is_err());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_an_error_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::os::unix::fs::symlink("/no/such/folder/key", &path).unwrap();
        assert_eq!(kept(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn check_looks_at_a_key_that_is_there_and_makes_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let yaml = format!("proxy: {{zone: us-central1-a, sessionKeyFile: {}}}\n", path.display());
        let config = crate::model::resolve::document(&yaml).config.unwrap();
        let code =
            || problem_of_file(&config, Path::new("lb.yaml")).map(|found| (found.code, found.severity));
        assert_eq!(code(), None);
        assert!(!path.exists());
        fs::write(&path, "ab".repeat(32)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(code(), Some(("open-session-key", Severity::Warning)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(code(), None);
        fs::write(&path, "0".repeat(64)).unwrap();
        assert_eq!(code(), Some(("no-session-key", Severity::Error)));
    }

    #[test]
    fn digits_are_read_in_either_case_and_nothing_else() {
        assert_eq!(SessionKey::parse(&"aB".repeat(32)), Some([0xAB; 32]));
        for bad in ["", &"a".repeat(63), &"+1".repeat(32), &"é".repeat(32), &"0".repeat(64)] {
            assert_eq!(SessionKey::parse(bad), None, "{bad}");
        }
    }
}
