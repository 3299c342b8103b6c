//! What a document does not say itself: files that it names, and the date.
//!
//! Reading is the caller's; here stands only what was asked for, so that the fingerprint covers it.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// The surroundings of a document.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Contents of a file, or why there are none.
    pub read: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
    /// Seconds since 1970; `None` = nothing is said about dates.
    pub now: Option<i64>,
}

impl Around<'_> {
    /// No files and no date.
    pub const NOTHING: Around<'static> =
        Around { read: &|_| Err("files are not read here".to_owned()), now: None };
}

impl std::fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Around").field("now", &self.now).finish_non_exhaustive()
    }
}

/// Reads files and remembers that it has.
pub(super) struct Files<'a> {
    around: Around<'a>,
    hasher: SipHasher13,
}

impl<'a> Files<'a> {
    /// For the document `text`.
    pub(super) fn new(around: Around<'a>, text: &str) -> Self {
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        hasher.write(text.as_bytes());
        Self { around, hasher }
    }

    pub(super) fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let contents = (self.around.read)(path)?;
        self.hasher.write_usize(contents.len());
        self.hasher.write(&contents);
        Ok(contents)
    }

    pub(super) const fn now(&self) -> Option<i64> {
        self.around.now
    }

    /// Equal text and equal files, equal number, in every process.
    pub(super) fn fingerprint(&self) -> u64 {
        self.hasher.finish()
    }
}
