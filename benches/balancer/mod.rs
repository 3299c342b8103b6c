//! A balancer of two workers in this process, for benches that send it real traffic.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use overspill::engine::start::{Overrides, start_resolved};
use overspill::model::config::Config;
use overspill::model::resolve;
use tokio::sync::oneshot;

/// Stops when dropped.
pub(crate) struct Balancer {
    /// Of its first listener.
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Balancer {
    /// Starts by this document, with `edit` applied to what it says, and waits until it is ready.
    pub(crate) fn start(document: &str, edit: impl FnOnce(&mut Config)) -> Self {
        let resolved = resolve::document(document);
        let mut config = resolved.config.unwrap_or_else(|| panic!("{:#?}\n{document}", resolved.problems));
        edit(&mut config);
        let (started, result) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let overrides = Overrides { workers: Some(2), seed: Some(7), ..Overrides::default() };
                let handle = start_resolved(Arc::new(config), Path::new("bench"), overrides).await.unwrap();
                handle.ready().await;
                started.send(handle.listeners()[0].bound).unwrap();
                let _ = stopped.await;
                handle.stop().await;
            });
        });
        Self { address: result.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
