//! Edits of a file that was replaced just then.
//!
//! Whoever opened it before may write to it still, as editors do that save in place. Their edit is found by a few looks
//! within the next second, and put in the place of the new file, as if it had come a moment later.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::{Store, aside};
use crate::source::file::{Cause, SETTLE_AT_MOST};
use crate::source::replace::{self, Staged, Swapped};

/// Old files that are looked after at a time, for somebody who still writes to them.
pub(super) const OLD_FILES: usize = 32;
/// When they are looked at, one pause after the other.
const OLD_FILE_LOOKS: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(250), Duration::from_millis(700)];

impl Store {
    /// Somebody who opened the old file before it was replaced may write to it still: that is an edit as any other.
    pub(super) fn look_after(&self, old: File, text: Arc<str>) {
        let Ok(place) = self.shared.old_files.clone().try_acquire_owned() else { return };
        let store = self.clone();
        tokio::spawn(async move {
            let _place = place;
            let mut old = old;
            for pause in OLD_FILE_LOOKS {
                tokio::time::sleep(pause).await;
                let looked = spawn_blocking(move || (replace::read_open(&old), old)).await;
                let Ok((Ok(now), back)) = looked else { return };
                if now != text.as_bytes() {
                    return store.take_late(back, now).await;
                }
                old = back;
            }
        });
    }

    /// Puts an edit of the old file in the place of the new one.
    async fn take_late(&self, mut old: File, mut text: Vec<u8>) {
        for _ in 0..SETTLE_AT_MOST {
            tokio::time::sleep(self.shared.settle).await;
            let looked = spawn_blocking(move || (replace::read_open(&old), old)).await;
            let Ok((Ok(now), back)) = looked else { return };
            let is_settled = now == text;
            (old, text) = (back, now);
            if is_settled {
                break;
            }
        }
        let file = self.shared.origin.display();
        let Ok(text) = String::from_utf8(text) else {
            tracing::error!(%file, "an edit that was under way while the file was replaced is no text, and is lost");
            return;
        };
        let _turn = self.turn().await;
        let (path, serving, names) = (self.shared.origin.clone(), self.text(), self.shared.names);
        let swapped = aside(move || Staged::write(&path, &serving, &text, names)?.swap(drop)).await;
        match swapped {
            Ok(Swapped::Done(_)) => {
                tracing::warn!(%file, "an edit that was under way while the file was replaced is in its place now");
                if let Ok(text) = self.read_settled().await {
                    // Told in the log.
                    let _ = self.apply(text, Cause::Edit).await;
                }
            }
            Ok(Swapped::Foreign) => {
                tracing::warn!(%file, "an edit that was under way while the file was replaced gave way to a later one");
            }
            Err(_) => {
                tracing::error!(%file, "an edit that was under way while the file was replaced could not be written, and is lost");
            }
        }
    }
}
