//! The files that a configuration names: certificates, keys and what belongs to them.
//!
//! Watched as the configuration itself is: the folders on the way to each, and a look at their contents every 2 s,
//! since not every file system tells. A certificate and its key are two files: changes settle before anyone acts, and
//! what does not fit together yet is refused and tried again with the next change.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use notify::RecommendedWatcher;
use tokio::sync::mpsc;

use super::file::{Identity, LOOK, SETTLE, SETTLE_AT_MOST, is_change, watch_all, way};
use crate::engine::files::{Seen, is_as_seen};

/// The watch over them. Costs nothing while there are none.
#[derive(Debug, Default)]
pub(super) struct Beside {
    watch: Option<Active>,
    /// What was found changed last.
    told: Option<Arc<Vec<Seen>>>,
}

#[derive(Debug)]
struct Active {
    /// `None` when the system offers no watch: then looks alone tell.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, Identity>,
    events: mpsc::Receiver<()>,
}

impl Beside {
    /// Waits until one of the files is not as it was `seen`. Says so once: what became of it will be seen anew.
    pub(super) async fn changed(&mut self, seen: Arc<Vec<Seen>>) {
        if seen.is_empty() || self.told.as_ref().is_some_and(|told| Arc::ptr_eq(told, &seen)) {
            return std::future::pending().await;
        }
        let active = self.watch.get_or_insert_with(Active::new);
        active.watch_ways(&seen);
        loop {
            // First a look: it may have changed since it was read.
            if has_changed(&seen).await {
                active.settle().await;
                self.told = Some(seen);
                return;
            }
            match tokio::time::timeout(LOOK, active.events.recv()).await {
                Ok(Some(())) => active.settle().await,
                Ok(None) => tokio::time::sleep(LOOK).await,
                Err(_) => {}
            }
            active.watch_ways(&seen);
        }
    }
}

/// Aside, since disks may be slow. Who cannot look sees no change.
async fn has_changed(seen: &Arc<Vec<Seen>>) -> bool {
    let seen = seen.clone();
    tokio::task::spawn_blocking(move || !seen.iter().all(is_as_seen)).await.unwrap_or(false)
}

impl Active {
    fn new() -> Self {
        let (sender, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| is_change(event.kind)) {
                // Full means that a look is due already.
                let _ = sender.try_send(());
            }
        });
        Self { watcher: watcher.ok(), watched: BTreeMap::new(), events }
    }

    fn watch_ways(&mut self, seen: &[Seen]) {
        if let Some(watcher) = &mut self.watcher {
            let places = seen.iter().flat_map(|seen| way(&seen.path));
            watch_all(watcher, &mut self.watched, places.collect());
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
}
