//! A document with the files that it names. Relative paths begin at the folder of the configuration file.

use std::cell::RefCell;
use std::fs::File;
use std::hash::Hasher as _;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use siphasher::sip::SipHasher13;

use crate::clock;
use crate::model::resolve::{Around, Resolved, document_in};

/// Longest file that a document may name: 1 MiB, a chain of certificates many times over.
pub const LIMIT: u64 = 1 << 20;

/// A file that a document names, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where it is.
    pub path: PathBuf,
    /// Of its contents; `None` = it could not be read.
    pub hash: Option<u64>,
}

/// Resolves `text`, which stands in the file `origin`, with all files that it names.
#[must_use]
pub fn resolve(text: &str, origin: &Path) -> (Resolved, Vec<Seen>) {
    let folder = origin.parent().unwrap_or(Path::new(""));
    let seen = RefCell::new(Vec::new());
    let read_one = |name: &str| {
        let path = folder.join(name);
        let contents = read(&path);
        let hash = contents.as_deref().ok().map(hash);
        seen.borrow_mut().push(Seen { path, hash });
        contents.map_err(|error| error.to_string())
    };
    let since = clock::wall().duration_since(std::time::UNIX_EPOCH).ok();
    let now = since.and_then(|since| i64::try_from(since.as_secs()).ok());
    let resolved = document_in(text, Around { read: &read_one, now });
    (resolved, seen.into_inner())
}

/// Whether the file is as it was seen.
#[must_use]
pub fn is_as_seen(seen: &Seen) -> bool {
    read(&seen.path).ok().as_deref().map(hash) == seen.hash
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe, or reading from a device, could wait for ever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut contents = Vec::new();
    File::open(path)?.take(LIMIT + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > LIMIT {
        return Err(io::Error::other(format!("it is longer than {} MiB", LIMIT >> 20)));
    }
    Ok(contents)
}

fn hash(contents: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(contents);
    hasher.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_stand_beside_the_document_and_every_look_at_them_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let origin = folder.path().join("lb.yaml");
        let key = include_str!("../model/testdata/one.key");
        fs::write(folder.path().join("c.pem"), include_str!("../model/testdata/one.pem")).unwrap();
        fs::write(folder.path().join("k.pem"), key).unwrap();
        let text = "sslCertificates: [{name: c, certificateFile: c.pem, privateKeyFile: k.pem}]\n\
                    proxy: {zone: us-central1-a}\n";
        let (first, seen) = resolve(text, &origin);
        assert!(first.config.is_some(), "{:?}", first.problems);
        assert!(seen.len() == 2 && seen.iter().all(is_as_seen));
        fs::write(folder.path().join("k.pem"), "other").unwrap();
        assert_eq!(seen.iter().map(is_as_seen).collect::<Vec<_>>(), [true, false]);
        let (second, _) = resolve(text, &origin);
        let code = |resolved: &Resolved| resolved.problems[0].code;
        assert_eq!(code(&second), "bad-certificate");
        fs::remove_file(folder.path().join("k.pem")).unwrap();
        let (third, seen) = resolve(text, &origin);
        assert_eq!((code(&third), seen[1].hash), ("unreadable-file", None));
        fs::write(folder.path().join("k.pem"), key.replace('\n', "\r\n")).unwrap();
        let fourth = resolve(text, &origin).0.config.unwrap();
        assert_ne!(
            fourth.fingerprint,
            first.config.unwrap().fingerprint,
            "another file, another fingerprint"
        );
    }

    #[test]
    fn a_folder_or_a_device_is_no_file() {
        assert!(read(Path::new("/")).is_err() && read(Path::new("/dev/zero")).is_err());
    }
}
