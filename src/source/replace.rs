//! Replacing a file as a whole, so that a crash at any point leaves the text before or after, never between, and an
//! edit at the same moment is found.
//!
//! The new text goes to a file of its own beside the old one (`.NAME.overspill-…`), with its mode and owner as far as
//! this process may, and to the disk; then the two change names (`RENAME_EXCHANGE`) and the one that came out is
//! compared with what was read before. If somebody has written it in the meantime, the names are changed back.
//!
//! Where names cannot be exchanged, as on NFS, the old file gets a second name right before a plain rename takes its
//! first one, and is compared in the same way: only who renames an edit over it between these two calls has lost it.
//! Where that cannot be either, there is a last look before the rename, and an edit in between is lost. Both are said
//! once in the log. Not kept: extended attributes and ACLs, and further hard links, which stay with the old text.
//!
//! Everything here blocks.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::hash::Hasher as _;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Component, Path, PathBuf};
use std::sync::Once;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use siphasher::sip::SipHasher13;

const EDITED_TWICE: &str = "it was edited twice while it was replaced";
const MOUNTED: &str = "is mounted by itself and cannot be replaced; mount its folder instead";

/// What files of ours have in their names, behind a dot and the name of the file that they are for.
const OURS: &str = ".overspill-";
/// Being written.
const NEW: &str = "new-";
/// Written and about to change names, or what came out: followed by the hashes of the old and of the new text.
const SWAP: &str = "swap-";

/// Why a file cannot be replaced; it is as it was.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// It is not for this process to replace, for this reason.
    ReadOnly(String),
    /// The system refused.
    Failed(io::Error),
}

/// How a swap ended.
#[derive(Debug)]
pub(super) enum Swapped {
    /// The new text is in its place and on the disk, or an edit that was made on it. With the old file, to which
    /// somebody who had it open may still write.
    Done(Option<File>),
    /// Somebody else has changed the file; it is theirs.
    Foreign,
}

/// Where a swap is; tests interfere there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The file is as it was.
    Looked,
    /// The names are exchanged.
    Exchanged,
    /// An edit has come out.
    Found,
}

/// How names change; tests have file systems that cannot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub(super) exchange: fn(&Path, &Path) -> Result<(), Errno>,
    pub(super) link: fn(&Path, &Path) -> io::Result<()>,
}

impl Default for Names {
    fn default() -> Self {
        Self { exchange, link: |file, name| fs::hard_link(file, name) }
    }
}

/// A new text on the disk, beside the file that it is for. Dropping it takes it away.
#[derive(Debug)]
pub(super) struct Staged {
    names: Names,
    path: PathBuf,
    place: Place,
    /// Where the new text is.
    beside: PathBuf,
    base: Vec<u8>,
    text: Vec<u8>,
}

/// The file itself, behind all links.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    file: PathBuf,
    folder: PathBuf,
    name: OsString,
}

impl Staged {
    /// Writes `text`, which is to replace `base` in the file at `path`.
    pub(super) fn write(path: &Path, base: &str, text: &str, names: Names) -> Result<Self, Obstacle> {
        let place = Place::of(path)?;
        place.allows()?;
        let beside = place.beside(&format!("{NEW}{:016x}", chance()));
        let (base, text) = (base.as_bytes().to_vec(), text.as_bytes().to_vec());
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
        let mut file = created.map_err(|error| place.obstacle(error))?;
        let mut staged = Self { names, path: path.to_owned(), place, beside, base, text };
        staged.fill(&mut file).map_err(|error| staged.place.obstacle(error))?;
        let ready = staged.swap_name();
        fs::rename(&staged.beside, &ready).map_err(|error| staged.place.obstacle(error))?;
        staged.beside = ready;
        Ok(staged)
    }

    fn fill(&self, file: &mut File) -> io::Result<()> {
        let old = fs::metadata(&self.place.file)?;
        file.write_all(&self.text)?;
        // Only root may give a file away; a group of one's own is allowed.
        if fchown(&*file, Some(old.uid()), Some(old.gid())).is_err() {
            let _ = fchown(&*file, None, Some(old.gid()));
        }
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
        file.sync_all()
    }

    /// Whether the file still says what it said.
    pub(super) fn is_due(&self) -> bool {
        Place::of(&self.path).is_ok_and(|place| place == self.place)
            && fs::read(&self.place.file).is_ok_and(|is| is == self.base)
    }

    /// Puts it in the place of the file.
    pub(super) fn swap(mut self, at: impl Fn(Moment)) -> Result<Swapped, Obstacle> {
        if !self.is_due() {
            return Ok(Swapped::Foreign);
        }
        at(Moment::Looked);
        match (self.names.exchange)(&self.beside, &self.place.file) {
            Ok(()) => {}
            // A sandbox may forbid the call alone.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => return self.rename(at),
            Err(Errno::NOENT) => return Ok(Swapped::Foreign),
            Err(error) => return Err(self.place.obstacle(error.into())),
        }
        at(Moment::Exchanged);
        if let Some(done) = self.done() {
            return Ok(done);
        }
        at(Moment::Found);
        self.put_back()
    }

    /// When it is the old text that came out.
    fn done(&mut self) -> Option<Swapped> {
        if !fs::read(&self.beside).is_ok_and(|out| out == self.base) {
            return None;
        }
        let old = File::open(&self.beside).ok();
        let _ = fs::remove_file(&self.beside);
        self.beside = PathBuf::new();
        self.place.sync();
        Some(Swapped::Done(old))
    }

    /// An edit came out: it goes back. If our text has been edited in its place meanwhile, that is the later edit, with
    /// our change in it, and the earlier one is kept aside.
    fn put_back(&mut self) -> Result<Swapped, Obstacle> {
        let exchange = self.names.exchange;
        exchange(&self.beside, &self.place.file).map_err(|error| self.keep_aside(error.into()))?;
        if fs::read(&self.beside).is_ok_and(|out| out == self.text) {
            self.place.sync();
            return Ok(Swapped::Foreign);
        }
        exchange(&self.beside, &self.place.file).map_err(|error| self.keep_aside(error.into()))?;
        self.keep_aside(io::Error::other(EDITED_TWICE));
        self.place.sync();
        Ok(Swapped::Done(None))
    }

    /// Without exchange: what the rename takes away has a second name.
    fn rename(mut self, at: impl Fn(Moment)) -> Result<Swapped, Obstacle> {
        let held = self.swap_name();
        match (self.names.link)(&self.place.file, &held) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Swapped::Foreign),
            Err(_) => return self.rename_alone(),
        }
        if let Err(error) = fs::rename(&self.beside, &self.place.file) {
            let _ = fs::remove_file(&held);
            return Err(self.place.obstacle(error));
        }
        self.beside = held;
        say_once(&self.place.file, "an edit that is moved into its place in the very moment of a change");
        at(Moment::Exchanged);
        if let Some(done) = self.done() {
            return Ok(done);
        }
        at(Moment::Found);
        if !fs::read(&self.place.file).is_ok_and(|is| is == self.text) {
            self.keep_aside(io::Error::other(EDITED_TWICE));
            self.place.sync();
            return Ok(Swapped::Done(None));
        }
        fs::rename(&self.beside, &self.place.file).map_err(|error| self.keep_aside(error))?;
        self.beside = PathBuf::new();
        self.place.sync();
        Ok(Swapped::Foreign)
    }

    /// Without second names either.
    fn rename_alone(mut self) -> Result<Swapped, Obstacle> {
        let old = File::open(&self.place.file).map_err(|error| self.place.obstacle(error))?;
        if !self.is_due() {
            return Ok(Swapped::Foreign);
        }
        fs::rename(&self.beside, &self.place.file).map_err(|error| self.place.obstacle(error))?;
        self.beside = PathBuf::new();
        say_once(&self.place.file, "an edit that is made in the very moment of a change");
        self.place.sync();
        Ok(Swapped::Done(Some(old)))
    }

    /// A name beside the file for what changes places, which tells after a crash whether it is an edit.
    fn swap_name(&self) -> PathBuf {
        let name = format!("{SWAP}{:016x}-{:016x}-{:016x}", hash(&self.base), hash(&self.text), chance());
        self.place.beside(&name)
    }

    /// What stands beside the file is somebody's edit and must not be taken away.
    fn keep_aside(&mut self, why: io::Error) -> Obstacle {
        let beside = std::mem::take(&mut self.beside);
        self.place.keep(&beside, &why.to_string());
        Obstacle::Failed(why)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.beside.as_os_str().is_empty() {
            // Gone already, after a swap.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

impl Place {
    fn of(path: &Path) -> Result<Self, Obstacle> {
        let file = fs::canonicalize(path).map_err(Obstacle::Failed)?;
        match (file.parent(), file.file_name()) {
            (Some(folder), Some(name)) => {
                let (folder, name) = (folder.to_owned(), name.to_owned());
                Ok(Self { file, folder, name })
            }
            _ => Err(Obstacle::ReadOnly(format!("{} is no file", file.display()))),
        }
    }

    /// Whether it is for this process to replace.
    fn allows(&self) -> Result<(), Obstacle> {
        let refused = |why: &str| Err(Obstacle::ReadOnly(format!("{} {why}", self.file.display())));
        let is_file = fs::metadata(&self.file).map_err(Obstacle::Failed)?.is_file();
        if !is_file {
            return refused("is no regular file");
        }
        if self.folder.components().any(is_generation) {
            return refused(
                "belongs to a mounted ConfigMap or Secret, which is replaced as a whole; change it there",
            );
        }
        if access(&self.file, Access::WRITE_OK).is_err() {
            return refused("may not be written by this process");
        }
        if is_mounted(&self.file) {
            return refused(MOUNTED);
        }
        Ok(())
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.prefix();
        name.push(suffix);
        self.folder.join(name)
    }

    fn prefix(&self) -> OsString {
        let mut prefix = OsString::from(".");
        prefix.push(&self.name);
        prefix.push(OURS);
        prefix
    }

    /// Names are on the disk. A file system that cannot do that keeps them some other way.
    fn sync(&self) {
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        if let Err(error) = synced {
            tracing::debug!(%error, folder = %self.folder.display(), "the folder cannot be synced");
        }
    }

    fn obstacle(&self, error: io::Error) -> Obstacle {
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                Obstacle::ReadOnly(format!("no file can be written in {}: {error}", self.folder.display()))
            }
            // No other name leads in there.
            ErrorKind::ResourceBusy | ErrorKind::CrossesDevices => {
                Obstacle::ReadOnly(format!("{} {MOUNTED} ({error})", self.file.display()))
            }
            _ => Obstacle::Failed(error),
        }
    }

    /// Gives an edit that has no place a name that people see.
    fn keep(&self, beside: &Path, why: &str) {
        let mut name = self.name.clone();
        name.push(format!(".edit-{:016x}", chance()));
        let kept = self.folder.join(name);
        let (file, at) = (self.file.display(), kept.display());
        match fs::rename(beside, &kept) {
            Ok(()) => tracing::error!(%file, why, "an edit of the configuration is not in it, but in {at}"),
            Err(error) => {
                let at = beside.display();
                tracing::error!(%file, why, %error, "an edit of the configuration is not in it, but in {at}");
            }
        }
    }
}

/// Takes away what a crash has left beside the file. An edit that came out of its place just then is kept.
pub(super) fn clean(path: &Path) {
    let Ok(place) = Place::of(path) else { return };
    let prefix = place.prefix();
    let Ok(entries) = fs::read_dir(&place.folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(suffix) = name.as_bytes().strip_prefix(prefix.as_bytes()).and_then(left) else {
            continue;
        };
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let is_known = match suffix {
            Left::Unfinished => true,
            Left::Swapping(hashes) => fs::read(&path).is_ok_and(|is| hashes.contains(&hash(&is))),
        };
        if is_known {
            // Another process may have been quicker.
            let _ = fs::remove_file(&path);
        } else {
            place.keep(&path, "the process ended while the file was replaced");
        }
    }
}

/// What a leftover is.
enum Left {
    Unfinished,
    /// With the texts that it may have without being an edit.
    Swapping([u64; 2]),
}

/// `None` for what we do not make.
fn left(suffix: &[u8]) -> Option<Left> {
    let suffix = std::str::from_utf8(suffix).ok()?;
    let number = |digits: &str| {
        let is_ours = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_ours.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
    };
    if let Some(rest) = suffix.strip_prefix(NEW) {
        return number(rest).map(|_| Left::Unfinished);
    }
    let mut numbers = suffix.strip_prefix(SWAP)?.split('-').map(number);
    let hashes = [numbers.next()??, numbers.next()??];
    numbers.next()??;
    numbers.next().is_none().then_some(Left::Swapping(hashes))
}

/// `..data` and the like: folders that a ConfigMap's mount replaces.
fn is_generation(component: Component<'_>) -> bool {
    matches!(component, Component::Normal(name) if name.as_bytes().starts_with(b".."))
}

/// Reads all of an open file, from its beginning.
pub(super) fn read_open(file: &File) -> io::Result<Vec<u8>> {
    use std::io::{Seek as _, SeekFrom};
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    let mut contents = Vec::new();
    file.take(super::file::LIMIT + 1).read_to_end(&mut contents)?;
    Ok(contents)
}

#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> Result<(), Errno> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// Whether it is a mount point.
#[cfg(target_os = "linux")]
fn is_mounted(file: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let Ok(seen) = statx(CWD, file, AtFlags::empty(), StatxFlags::empty()) else { return false };
    if seen.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        return seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    }
    // Before Linux 5.8.
    fs::read("/proc/self/mountinfo").is_ok_and(|mounts| is_listed(&mounts, file))
}

/// Whether a list of mounts, as the kernel writes it, has one at this path: its fifth word, blanks as `\040`.
fn is_listed(mounts: &[u8], file: &Path) -> bool {
    let mut wanted = Vec::new();
    for byte in file.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => wanted.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            other => wanted.push(*other),
        }
    }
    let point = |line: &'_ [u8]| line.split(|byte| *byte == b' ').nth(4) == Some(&*wanted);
    mounts.split(|byte| *byte == b'\n').any(point)
}

#[cfg(not(target_os = "linux"))]
fn is_mounted(_: &Path) -> bool {
    false
}

/// Of a file system that keeps us from finding every edit.
fn say_once(file: &Path, lost: &str) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let file = file.display();
        tracing::warn!(%file, "names cannot be exchanged in this file system: {lost} would be lost");
    });
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text);
    hasher.finish()
}

/// For names that nobody else has.
fn chance() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => u64::from(std::process::id()),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_known_by_the_kernels_list() {
        let mounts = b"22 1 0:20 / / rw - ext4 /dev/root rw\n\
            36 22 0:20 /a /etc/lb/a\\040b.yaml rw,relatime - ext4 /dev/root rw\n";
        assert!(is_listed(mounts, Path::new("/etc/lb/a b.yaml")) && is_listed(mounts, Path::new("/")));
        for other in ["/etc/lb/a", "/etc/lb", "/a", "", "rw"] {
            assert!(!is_listed(mounts, Path::new(other)), "{other}");
        }
    }
}
