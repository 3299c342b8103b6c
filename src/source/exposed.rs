//! A private key in a file that others may read is no secret. It may stand there by hand, or have come by the API.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What begins and ends a private key in PEM.
const MARK: &str = "PRIVATE KEY-----";

/// The permissions of the file at `path`, when `text`, which is its content, holds a private key, and its group or others
/// may read it.
pub(crate) fn mode_of_key(text: &str, path: &Path) -> Option<u32> {
    if !text.contains(MARK) {
        return None;
    }
    let mode = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?.permissions().mode() & 0o777;
    (mode & 0o044 != 0).then_some(mode)
}

/// Whether there is a key in `after` that was not in `before`.
pub(crate) fn brings_key(before: &str, after: &str) -> bool {
    after.matches(MARK).count() > before.matches(MARK).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    const KEY: &str = "privateKey: |\n  -----BEGIN PRIVATE KEY-----\n  AAAA\n  -----END PRIVATE KEY-----\n";

    #[test]
    fn a_key_in_a_file_that_others_may_read_is_told_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lb.yaml");
        write(&path, KEY).unwrap();
        for (mode, told) in [(0o644, true), (0o640, true), (0o604, true), (0o600, false), (0o400, false)] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(mode_of_key(KEY, &path), told.then_some(mode));
            assert_eq!(mode_of_key("privateKeyFile: k.pem\n", &path), None);
        }
        assert_eq!(mode_of_key(KEY, &folder.path().join("none.yaml")), None);
        assert!(brings_key("", KEY) && !brings_key(KEY, KEY) && !brings_key(KEY, ""));
    }
}
