//! The configuration file: read it, see that it changed, hand the text to the engine.
//!
//! Watched are the folders on the way to the file, since an editor renames over it and a ConfigMap swaps a symlink
//! (`..data`), and the file itself, since a bind-mounted one has another folder than it seems. Every 2 s its stamp is
//! looked at as well: network file systems tell nobody. Events settle for 100 ms, at most 1 s; what reads the same as
//! the last attempt is no change. A file that has vanished or cannot be read changes nothing and is reported once.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use siphasher::sip::SipHasher13;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, oneshot};

use super::beside::Beside;
use super::store::Store;
use crate::clock;
use crate::model::problem::Problem;

/// Longest file that is read: 16 MiB, some 100,000 members.
pub const LIMIT: u64 = 16 << 20;

pub(super) const SETTLE: Duration = Duration::from_millis(100);
pub(super) const SETTLE_AT_MOST: u32 = 10;
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// A file system's clock may stand still for some milliseconds; a stamp younger than this proves nothing.
const STAMP_AGE: Duration = Duration::from_secs(1);

/// Writes problems for people: problems, file name, text.
pub type Render = fn(&[Problem], &str, &str) -> String;

/// What a look at the file found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// New text.
    Text(String),
    /// It cannot be read any more, for this reason.
    Unreadable(String),
}

/// Reads the whole file.
///
/// # Errors
/// As the system says; `InvalidData` when it is longer than [`LIMIT`] or no UTF-8.
pub async fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    tokio::fs::File::open(path).await?.take(LIMIT + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is longer than {} MiB", LIMIT >> 20),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("it is no UTF-8 text (byte {at})"))
    })
}

/// Answered when the file was read anew and has its verdict.
pub type Forced = oneshot::Sender<()>;

/// Applies every change of the file until the process ends. `force` makes it read and apply at once (SIGHUP).
/// Files that it names are followed with it: when one has changed, the whole is applied once more.
pub async fn follow(store: Store, mut watch: Watch, mut force: mpsc::Receiver<Forced>) {
    let mut beside = Beside::default();
    watch.store = Some(store.clone());
    loop {
        let (seen, cause, done) = tokio::select! {
            seen = watch.changed() => (seen, Cause::Edit, None),
            () = beside.changed(store.handle().files()) => (watch.read_anew().await, Cause::NamedFile, None),
            Some(done) = force.recv() => (watch.read_anew().await, Cause::Signal, Some(done)),
        };
        store.take(seen, cause).await;
        if let Some(done) = done {
            // Whoever asked may not wait.
            let _ = done.send(());
        }
    }
}

/// Why a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It has changed.
    Edit,
    /// One that it names has changed.
    NamedFile,
    /// Somebody asked for it.
    Signal,
}

impl Cause {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Edit => "file changed",
            Self::NamedFile => "a file that it names changed",
            Self::Signal => "SIGHUP",
        }
    }
}

/// A watched file.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    /// `None` when the system offers no watch: then stamps alone tell.
    watcher: Option<RecommendedWatcher>,
    /// What was watched under each name.
    watched: BTreeMap<PathBuf, Identity>,
    events: mpsc::Receiver<()>,
    /// Hash of the text that was last handed out; `None` after trouble, so that the same text is handed out again.
    last: Option<u64>,
    stamp: Option<Stamp>,
    trouble: Option<String>,
    /// Rewrites the file as well: what was handed out last may be what somebody has gone back to since.
    store: Option<Store>,
}

/// Equal stamps, equal contents: device, inode, length, changes of data and of attributes in nanoseconds.
type Stamp = (u64, u64, u64, i128, i128);

/// What a name leads to: device, inode, and when it was made, since inodes are used again.
pub(super) type Identity = (u64, u64, Option<SystemTime>);

impl Watch {
    /// Watches `path`, whose text has been read as `text`.
    #[must_use]
    pub fn new(path: &Path, text: &str) -> Self {
        let (sender, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| is_change(event.kind)) {
                // Full means that a look is due already.
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "no file watch; looking every 2 s instead"))
            .ok();
        let last = Some(hash(text));
        let path = path.to_owned();
        let mut watch = Self {
            path,
            watcher,
            watched: BTreeMap::new(),
            events,
            last,
            stamp: None,
            trouble: None,
            store: None,
        };
        watch.watch_way();
        watch
    }

    /// Waits until the file says something new, or cannot be read any more.
    pub async fn changed(&mut self) -> Seen {
        loop {
            // Without a watcher the channel is closed, and the time-out is the rhythm.
            match tokio::time::timeout(LOOK, self.events.recv()).await {
                Ok(Some(())) => self.settle().await,
                Ok(None) => tokio::time::sleep(LOOK).await,
                Err(_) => {}
            }
            self.watch_way();
            if let Some(seen) = self.look().await {
                return seen;
            }
        }
    }

    /// Reads it now, changed or not.
    pub async fn read_anew(&mut self) -> Seen {
        self.watch_way();
        match read(&self.path).await {
            Ok(text) => {
                (self.last, self.trouble) = (Some(hash(&text)), None);
                Seen::Text(text)
            }
            Err(error) => {
                let why = error.to_string();
                (self.last, self.stamp, self.trouble) = (None, None, Some(why.clone()));
                Seen::Unreadable(why)
            }
        }
    }

    async fn settle(&mut self) {
        for _ in 0..SETTLE_AT_MOST {
            tokio::time::sleep(SETTLE).await;
            if self.events.try_recv().is_err() {
                return;
            }
        }
    }

    async fn look(&mut self) -> Option<Seen> {
        let stamp = stamp(&self.path).await;
        if stamp.is_some() && stamp == self.stamp {
            return None;
        }
        let (last, trouble) = (self.last, self.trouble.clone());
        let seen = self.read_anew().await;
        self.stamp = stamp.filter(|_| matches!(seen, Seen::Text(_)));
        let is_new = match &seen {
            Seen::Text(text) => {
                self.last != last || self.store.as_ref().is_some_and(|store| !store.knows(text))
            }
            Seen::Unreadable(why) => trouble.as_ref() != Some(why),
        };
        is_new.then_some(seen)
    }

    fn watch_way(&mut self) {
        if let Some(watcher) = &mut self.watcher {
            watch_all(watcher, &mut self.watched, way(&self.path));
        }
    }
}

/// Watches these places, every folder and link on the way to a file, and no others. A watch stays with what it was set
/// on: where a name leads elsewhere by now, as `..data` of a ConfigMap after a swap, it is set anew.
pub(super) fn watch_all(
    watcher: &mut RecommendedWatcher,
    watched: &mut BTreeMap<PathBuf, Identity>,
    places: BTreeSet<PathBuf>,
) {
    let now: BTreeMap<_, _> =
        places.into_iter().filter_map(|place| identity(&place).map(|is| (place, is))).collect();
    for (place, _) in watched.iter().filter(|(place, was)| now.get(*place) != Some(was)) {
        // What is gone has ended by itself.
        let _ = watcher.unwatch(place);
    }
    watched.retain(|place, was| now.get(place) == Some(was));
    for (place, identity) in now {
        if !watched.contains_key(&place) && watcher.watch(&place, RecursiveMode::NonRecursive).is_ok() {
            watched.insert(place, identity);
        }
    }
}

/// The folder of the file; where it is a link, also of what it points to, and so on; and the file.
pub(super) fn way(path: &Path) -> BTreeSet<PathBuf> {
    let mut way = BTreeSet::new();
    let mut at = path.to_owned();
    // As many links as Linux follows.
    for _ in 0..40 {
        let folder = folder(&at);
        way.insert(folder.clone());
        match std::fs::read_link(&at) {
            Ok(target) => at = folder.join(target),
            Err(_) => break,
        }
    }
    way.insert(at);
    way
}

fn identity(place: &Path) -> Option<Identity> {
    let found = std::fs::metadata(place).ok()?;
    Some((found.dev(), found.ino(), found.created().ok()))
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Reading and closing are no changes; our own reading must not wake us.
pub(super) const fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

/// `None` when there is none, or when it is too young to prove anything.
async fn stamp(path: &Path) -> Option<Stamp> {
    let file = tokio::fs::metadata(path).await.ok()?;
    let age = clock::wall().duration_since(file.modified().ok()?).ok()?;
    let nanos = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let stamp = (
        file.dev(),
        file.ino(),
        file.len(),
        nanos(file.mtime(), file.mtime_nsec()),
        nanos(file.ctime(), file.ctime_nsec()),
    );
    (age > STAMP_AGE).then_some(stamp)
}

fn hash(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder of its own under the system's folder for temporary files, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("overspill-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    async fn next(watch: &mut Watch) -> Seen {
        tokio::time::timeout(Duration::from_secs(20), watch.changed()).await.expect("no change was seen")
    }

    fn text(text: &str) -> Seen {
        Seen::Text(text.to_owned())
    }

    #[tokio::test]
    async fn a_write_in_place_and_a_rename_over_it_are_seen() {
        let folder = Folder::new("write");
        let file = folder.0.join("a.yaml");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(&file, "one");
        fs::write(&file, "two").unwrap();
        assert_eq!(next(&mut watch).await, text("two"));
        for content in ["three", "four"] {
            fs::write(folder.0.join("new"), content).unwrap();
            fs::rename(folder.0.join("new"), &file).unwrap();
            assert_eq!(next(&mut watch).await, text(content));
        }
    }

    #[tokio::test]
    async fn a_symlink_swap_as_of_a_configmap_is_seen() {
        let folder = Folder::new("swap");
        for (version, content) in [("..1", "one"), ("..2", "two"), ("..3", "three")] {
            fs::create_dir(folder.0.join(version)).unwrap();
            fs::write(folder.0.join(version).join("a.yaml"), content).unwrap();
        }
        std::os::unix::fs::symlink("..1", folder.0.join("..data")).unwrap();
        let file = folder.0.join("a.yaml");
        std::os::unix::fs::symlink("..data/a.yaml", &file).unwrap();
        let mut watch = Watch::new(&file, "one");
        for (version, content) in [("..2", "two"), ("..3", "three")] {
            std::os::unix::fs::symlink(version, folder.0.join("..tmp")).unwrap();
            fs::rename(folder.0.join("..tmp"), folder.0.join("..data")).unwrap();
            assert_eq!(next(&mut watch).await, text(content));
        }
    }

    #[tokio::test]
    async fn a_file_that_comes_back_in_a_swapped_folder_is_seen_at_once() {
        let folder = Folder::new("swapped");
        for (version, content) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(folder.0.join(version)).unwrap();
            fs::write(folder.0.join(version).join("a.yaml"), content).unwrap();
        }
        std::os::unix::fs::symlink("..1", folder.0.join("..data")).unwrap();
        let file = folder.0.join("a.yaml");
        std::os::unix::fs::symlink("..data/a.yaml", &file).unwrap();
        let mut watch = Watch::new(&file, "one");
        std::os::unix::fs::symlink("..2", folder.0.join("..tmp")).unwrap();
        fs::rename(folder.0.join("..tmp"), folder.0.join("..data")).unwrap();
        assert_eq!(next(&mut watch).await, text("two"));
        fs::remove_file(folder.0.join("..2/a.yaml")).unwrap();
        assert!(matches!(next(&mut watch).await, Seen::Unreadable(_)));
        watch.settle().await;
        fs::write(folder.0.join("..2/a.yaml"), "three").unwrap();
        // The event itself, not the look every 2 s.
        let event = tokio::time::timeout(Duration::from_secs(20), watch.events.recv()).await;
        assert_eq!(event.expect("nothing was told"), Some(()));
        assert_eq!(watch.look().await, Some(text("three")));
    }

    #[tokio::test]
    async fn a_vanished_file_is_said_once_and_its_return_is_news() {
        let folder = Folder::new("gone");
        let file = folder.0.join("a.yaml");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(&file, "one");
        fs::remove_file(&file).unwrap();
        assert!(matches!(next(&mut watch).await, Seen::Unreadable(_)));
        assert_eq!(watch.look().await, None);
        fs::write(&file, "one").unwrap();
        assert_eq!(next(&mut watch).await, text("one"));
        assert_eq!(watch.look().await, None);
    }

    #[tokio::test]
    async fn only_a_forced_look_hands_out_the_same_text_again() {
        let folder = Folder::new("same");
        let file = folder.0.join("a.yaml");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(&file, "one");
        fs::write(&file, "one").unwrap();
        assert_eq!(watch.look().await, None);
        assert_eq!(watch.read_anew().await, text("one"));
    }

    #[tokio::test]
    async fn what_is_too_long_or_no_text_is_refused() {
        let folder = Folder::new("bad");
        let file = folder.0.join("a.yaml");
        fs::write(&file, b"a\xff").unwrap();
        assert!(read(&file).await.unwrap_err().to_string().contains("UTF-8"));
        fs::File::create(&file).unwrap().set_len(LIMIT + 1).unwrap();
        assert!(read(&file).await.unwrap_err().to_string().contains("16 MiB"));
    }
}
