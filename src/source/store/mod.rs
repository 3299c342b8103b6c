//! The one truth: the text that serves, in the process and in its file.
//!
//! Edits of the file and changes that are asked for take turns. A change starts from the newest text: what stands in
//! the file and nobody has read yet is taken first. Then: the new text goes to the disk beside the file (a full disk is
//! found here, before anything has changed), the engine takes it as a whole or refuses it, and the two files change
//! places. If that shows an edit of the same moment, the edit stays, is taken, and the change is made once more on it.

mod late;
mod outcome;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use outcome::Stop;
pub use outcome::{ChangeError, Changed};

use super::exposed::{brings_key, mode_of_key};
use super::file::{self, Cause, LIMIT, Render, SETTLE, SETTLE_AT_MOST, Seen};
use super::replace::{self, Moment, Names, Obstacle, Staged, Swapped};
use crate::engine::files;
use crate::engine::handle::{Applied, Handle, Refused};
use crate::engine::upgrade::Phase;
use crate::model::problem::{Problem, Severity};

/// How often a change is made anew because the file was edited meanwhile.
const TRIES: usize = 5;
/// One for a process; clones are the same.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    handle: Handle,
    origin: PathBuf,
    /// `None` = there is no file; changes live as long as the process.
    render: Option<Render>,
    /// Why nothing may be changed.
    closed: Option<String>,
    /// What serves.
    text: ArcSwap<Arc<str>>,
    /// Whether the file could not be read, or was refused, when it was last read.
    is_in_trouble: AtomicBool,
    /// The text that was refused last.
    refused: ArcSwapOption<String>,
    /// One place: whoever has it may read, apply and write.
    turn: Arc<Semaphore>,
    /// Places for old files.
    old_files: Arc<Semaphore>,
    /// Until a text that is being written is whole.
    settle: Duration,
    names: Names,
    #[cfg(test)]
    probe: std::sync::Mutex<Option<tests::Probe>>,
}

/// Where a change is; tests interfere there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Read,
    Made,
    Staged,
    Applied,
    Swap(Moment),
    Swapped,
}

impl Store {
    /// The truth is the file at `path`, which has been read as `text`. Files that a crash left beside it are taken
    /// away.
    #[must_use]
    pub fn of_file(handle: Handle, path: &Path, text: String, render: Render) -> Self {
        replace::clean(path);
        if let Some(mode) = mode_of_key(&text, path) {
            tracing::warn!(path = %path.display(), mode = %format_args!("{mode:o}"), "others may read the configuration, and a private key stands in it");
        }
        Self::new(handle, path, text, Some(render))
    }

    /// There is no file: changes live until the process ends.
    #[must_use]
    pub fn in_memory(handle: Handle, origin: &Path, text: String) -> Self {
        Self::new(handle, origin, text, None)
    }

    fn new(handle: Handle, origin: &Path, text: String, render: Option<Render>) -> Self {
        let shared = Shared {
            handle,
            origin: origin.to_owned(),
            render,
            closed: None,
            text: ArcSwap::from_pointee(Arc::from(text)),
            is_in_trouble: AtomicBool::new(false),
            refused: ArcSwapOption::empty(),
            turn: Arc::new(Semaphore::new(1)),
            old_files: Arc::new(Semaphore::new(late::OLD_FILES)),
            settle: SETTLE,
            names: Names::default(),
            #[cfg(test)]
            probe: std::sync::Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Refuses all changes for this reason. Edits of the file go on. For a store that nobody shares yet.
    #[must_use]
    pub fn closed(mut self, why: impl Into<String>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.closed = Some(why.into());
        }
        self
    }

    /// The text that serves now.
    #[must_use]
    pub fn text(&self) -> Arc<str> {
        (**self.shared.text.load()).clone()
    }

    /// What would be wrong with a text in the place of the one that serves; nothing is changed. Reads the files that the
    /// text names.
    #[must_use]
    pub fn judge(&self, text: &str) -> Vec<Problem> {
        files::resolve(text, &self.shared.origin).0.problems
    }

    /// The file, and its permissions, when a change from one text to another has brought a private key into it, and
    /// others may read it.
    #[must_use]
    pub fn exposed_key(&self, (before, after): (&str, &str)) -> Option<(&Path, u32)> {
        let (_, origin) = (self.shared.render.as_ref()?, &*self.shared.origin);
        let mode = mode_of_key(after, origin).filter(|_| brings_key(before, after))?;
        Some((origin, mode))
    }

    /// The engine behind it.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.shared.handle
    }

    /// Waits until no change is under way.
    pub async fn idle(&self) {
        drop(self.turn().await);
    }

    /// Why nothing may be changed now.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn allows(&self) -> Result<(), String> {
        if let Some(why) = &self.shared.closed {
            return Err(why.clone());
        }
        if self.shared.handle.world().config.proxy.admin_access.is_read_only {
            return Err("the configuration says proxy.admin.readOnly".to_owned());
        }
        match self.shared.handle.upgrade().phase {
            Phase::Running => {
                Err("a new process is starting to take over; try again when it serves".to_owned())
            }
            Phase::HandedOver(pid) => Err(format!("process {pid} has taken over; ask it")),
            Phase::Unavailable | Phase::Idle | Phase::Failed(_) => Ok(()),
        }
    }

    /// Changes the text. `make` gets the newest one and returns the new one, `None` when there is nothing to change; it
    /// is called again when the file was edited meanwhile.
    ///
    /// What has begun ends also when the future is dropped.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change<T, E>(
        &self,
        make: impl FnMut(&str) -> Result<(Option<String>, T), E>,
    ) -> Result<Changed<T>, ChangeError<E>> {
        self.change_and(make, |_, _| ()).await.map(|(changed, ())| changed)
    }

    /// The same, and `then` with the texts before and after, once, in the same turn: the next `make` comes after it.
    /// It is done for every change that was made, waited for or not.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change_and<T, E, R: Send + 'static>(
        &self,
        mut make: impl FnMut(&str) -> Result<(Option<String>, T), E>,
        then: impl Fn(&str, &str) -> R + Send + Sync + 'static,
    ) -> Result<(Changed<T>, R), ChangeError<E>> {
        let then = Arc::new(then);
        let mut turn = self.turn().await;
        for _ in 0..TRIES {
            self.allows().map_err(ChangeError::ReadOnly)?;
            self.take_unread().await?;
            self.step(Step::Read);
            let before = self.text();
            let (new, value) = make(&before).map_err(ChangeError::Made)?;
            let Some(new) = new.filter(|new| **new != *before) else {
                let done = then(&before, &before);
                return Ok((Changed { value, after: before.clone(), before, applied: None }, done));
            };
            self.step(Step::Made);
            let after: Arc<str> = Arc::from(new);
            // Aside, since whoever asks may leave.
            let (store, then, texts) = (self.clone(), then.clone(), (before.clone(), after.clone()));
            let committing = tokio::spawn(async move {
                let verdict = store.commit(texts.0.clone(), texts.1.clone()).await;
                (verdict.map(|applied| (applied, then(&texts.0, &texts.1))), turn)
            });
            let Ok((verdict, back)) = committing.await else {
                return Err(ChangeError::NotKept(io::Error::other("the change was interrupted")));
            };
            turn = back;
            match verdict {
                Ok((applied, done)) => {
                    return Ok((Changed { value, before, after, applied: Some(applied) }, done));
                }
                Err(Stop::Again) => {}
                Err(stop) => return Err(stop.into()),
            }
        }
        let why = format!("the file was edited at the same moment {TRIES} times; try again");
        Err(ChangeError::NotKept(io::Error::other(why)))
    }

    async fn commit(&self, before: Arc<str>, after: Arc<str>) -> Result<Applied, Stop> {
        if after.len() as u64 > LIMIT {
            Err(Stop::Refused(vec![too_long()]))
        } else if self.shared.render.is_some() {
            self.commit_to_file(before, after).await
        } else {
            self.ask(&after).await.inspect(|_| self.shared.text.store(Arc::new(after)))
        }
    }

    /// Stage, apply, rename.
    async fn commit_to_file(&self, before: Arc<str>, after: Arc<str>) -> Result<Applied, Stop> {
        let (path, base, new) = (self.shared.origin.clone(), before.clone(), after.clone());
        let names = self.shared.names;
        let staged = aside(move || {
            let staged = Staged::write(&path, &base, &new, names)?;
            Ok(staged.is_due().then_some(staged))
        });
        let staged = staged.await?.ok_or(Stop::Again)?;
        self.step(Step::Staged);
        let applied = self.ask(&after).await?;
        self.step(Step::Applied);
        let store = self.clone();
        match aside(move || staged.swap(|moment| store.step(Step::Swap(moment)))).await {
            Ok(Swapped::Done(old)) => {
                self.step(Step::Swapped);
                self.shared.text.store(Arc::new(after));
                self.shared.is_in_trouble.store(false, Ordering::Relaxed);
                if let Some(old) = old {
                    self.look_after(old, before);
                }
                Ok(applied)
            }
            Ok(Swapped::Foreign) => Err(self.take_instead(&before).await),
            Err(stop) => {
                self.undo(&before).await;
                Err(stop)
            }
        }
    }

    /// The engine serves a change that is not in the file, but somebody's edit is: it gets that, or what was before.
    async fn take_instead(&self, before: &str) -> Stop {
        let stop = match self.read_settled().await {
            Ok(text) => match self.apply(text, Cause::Edit).await {
                Ok(()) => return Stop::Again,
                Err(problems) => Stop::FileIsBroken(problems),
            },
            Err(error) => Stop::NotKept(error),
        };
        self.undo(before).await;
        stop
    }

    async fn undo(&self, before: &str) {
        if let Err(Stop::Refused(problems)) = self.ask(before).await {
            tracing::error!(
                ?problems,
                "a change that could not be kept cannot be undone; it serves until the next one"
            );
        }
    }

    /// Takes an edit that the watcher has not come to yet.
    async fn take_unread(&self) -> Result<(), Stop> {
        if self.shared.render.is_none() {
            return Ok(());
        }
        let text = self.read_settled().await.map_err(Stop::NotKept)?;
        if *text == *self.text() {
            return Ok(());
        }
        if self.shared.refused.load().as_deref() == Some(&text) {
            // Said before; a file that it names may have changed since.
            return match self.ask(&text).await {
                Err(Stop::Refused(problems)) => Err(Stop::FileIsBroken(problems)),
                Err(stop) => Err(stop),
                Ok(_) => self.apply(text, Cause::Edit).await.map_err(Stop::FileIsBroken),
            };
        }
        self.apply(text, Cause::Edit).await.map_err(Stop::FileIsBroken)
    }

    /// Whether the text is what serves, or was refused last.
    pub(super) fn knows(&self, text: &str) -> bool {
        *self.text() == *text || self.shared.refused.load().as_deref().is_some_and(|refused| refused == text)
    }

    /// For the watcher: what it has seen is applied, unless that is what serves.
    pub(super) async fn take(&self, seen: Seen, cause: Cause) {
        let _turn = self.turn().await;
        let seen = match seen {
            // It may be older than a change.
            Seen::Text(text) => match file::read(&self.shared.origin).await {
                Ok(now) if now == text => Seen::Text(text),
                _ => match self.read_settled().await {
                    Ok(now) => Seen::Text(now),
                    Err(error) => Seen::Unreadable(error.to_string()),
                },
            },
            unreadable @ Seen::Unreadable(_) => unreadable,
        };
        match seen {
            Seen::Text(text) => {
                let is_in_trouble = self.shared.is_in_trouble.load(Ordering::Relaxed);
                if cause != Cause::Edit || is_in_trouble || *text != *self.text() {
                    // Both are told in the log.
                    let _ = self.apply(text, cause).await;
                }
            }
            Seen::Unreadable(why) => {
                let file = self.shared.origin.display();
                let cause = cause.as_str();
                tracing::error!(%file, %why, cause, "configuration cannot be read; nothing changes");
                self.shared.is_in_trouble.store(true, Ordering::Relaxed);
                self.shared.handle.report_unreadable(file.to_string(), why);
            }
        }
    }

    /// A text of the file.
    async fn apply(&self, text: String, cause: Cause) -> Result<(), Vec<Problem>> {
        let file = self.shared.origin.display().to_string();
        let render = |problems: &[Problem]| match self.shared.render {
            Some(render) => render(problems, &file, &text),
            None => String::new(),
        };
        let cause = cause.as_str();
        match self.shared.handle.apply(text.clone(), &self.shared.origin).await {
            Ok(applied) => {
                let (generation, changed) = (applied.generation, applied.changed);
                tracing::info!(%file, generation, changed, cause, "configuration taken");
                if !applied.warnings.is_empty() {
                    tracing::warn!("{}", render(&applied.warnings).trim_end());
                }
                self.shared.is_in_trouble.store(false, Ordering::Relaxed);
                self.shared.refused.store(None);
                self.shared.text.store(Arc::new(Arc::from(text)));
                Ok(())
            }
            Err(Refused { problems }) => {
                self.shared.is_in_trouble.store(true, Ordering::Relaxed);
                // The text last: it has lines of its own.
                let said = render(&problems);
                tracing::error!("configuration refused ({cause}); nothing changes\n{}", said.trim_end());
                self.shared.refused.store(Some(Arc::new(text)));
                Err(problems)
            }
        }
    }

    /// A text that somebody asks for.
    async fn ask(&self, text: &str) -> Result<Applied, Stop> {
        match self.shared.handle.ask(text.to_owned(), "admin API").await {
            Ok(applied) => Ok(applied),
            Err(Refused { problems }) if problems.is_empty() => {
                Err(Stop::ReadOnly("the process is stopping".to_owned()))
            }
            Err(Refused { problems }) => Err(Stop::Refused(problems)),
        }
    }

    /// The file's text. What is not what serves may be half written: then it has to be the same twice.
    async fn read_settled(&self) -> io::Result<String> {
        let mut last = file::read(&self.shared.origin).await;
        if last.as_ref().is_ok_and(|text| **text == *self.text()) {
            return last;
        }
        for _ in 0..SETTLE_AT_MOST {
            tokio::time::sleep(self.shared.settle).await;
            let now = file::read(&self.shared.origin).await;
            let is_settled = matches!((&last, &now), (Ok(last), Ok(now)) if last == now);
            last = now;
            // Who moves a new file over it may do so in two steps.
            let is_gone = last.as_ref().is_err_and(|error| error.kind() != ErrorKind::NotFound);
            if is_settled || is_gone {
                break;
            }
        }
        last
    }

    async fn turn(&self) -> OwnedSemaphorePermit {
        match self.shared.turn.clone().acquire_owned().await {
            Ok(turn) => turn,
            // Nobody closes it.
            Err(_) => std::future::pending().await,
        }
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self)]
    const fn step(&self, _: Step) {}
}

/// Work with files, which blocks.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Obstacle> + Send + 'static,
) -> Result<T, Stop> {
    match spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Obstacle::ReadOnly(why))) => Err(Stop::ReadOnly(why)),
        Ok(Err(Obstacle::Failed(error))) => Err(Stop::NotKept(error)),
        Err(_) => Err(Stop::NotKept(io::Error::other("the file could not be written"))),
    }
}

fn too_long() -> Problem {
    Problem {
        severity: Severity::Error,
        code: "too-long",
        path: String::new(),
        position: None,
        message: format!("the configuration would be longer than {} MiB", LIMIT >> 20),
        expected: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
