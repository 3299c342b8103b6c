//! What becomes of a change.

use std::io;
use std::sync::Arc;

use crate::engine::handle::Applied;
use crate::model::problem::Problem;

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed<T> {
    /// What was made beside the text.
    pub value: T,
    /// The text before.
    pub before: Arc<str>,
    /// The text that serves now.
    pub after: Arc<str>,
    /// What the engine said; `None` when there was nothing to change.
    pub applied: Option<Applied>,
}

/// Why there is no change. What serves and the file are as before, but for an edit of the file that was taken.
#[derive(Debug)]
pub enum ChangeError<E> {
    /// Whoever was to make the new text could not.
    Made(E),
    /// The new text is no configuration, or cannot be served.
    Refused(Vec<Problem>),
    /// An edit of the file that was not read before is no configuration; it has to be mended first.
    FileIsBroken(Vec<Problem>),
    /// Changes are not allowed, for this reason.
    ReadOnly(String),
    /// The file cannot be read or written.
    NotKept(io::Error),
}

/// The same without what `make` may say, and a conflict.
#[derive(Debug)]
pub(super) enum Stop {
    Refused(Vec<Problem>),
    FileIsBroken(Vec<Problem>),
    ReadOnly(String),
    NotKept(io::Error),
    /// The file was edited; it has been taken, or is about to be.
    Again,
}

impl<E> From<Stop> for ChangeError<E> {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(problems) => Self::Refused(problems),
            Stop::FileIsBroken(problems) => Self::FileIsBroken(problems),
            Stop::ReadOnly(why) => Self::ReadOnly(why),
            Stop::NotKept(error) => Self::NotKept(error),
            Stop::Again => {
                Self::NotKept(io::Error::other("the file was edited at the same moment; try again"))
            }
        }
    }
}
