//! Keep-alive clients that know when the process may be away: a request that fails while it is up is a fault.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::api;

const CLIENTS: usize = 3;
/// Requests of a connection, after which its client takes a new one.
const REQUESTS: usize = 200;
/// Failures that are told.
const TOLD: usize = 5;

/// Runs until it is dropped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Odd = the process is up; one more at each end of a crash.
    era: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    /// In the crashes.
    excused: AtomicU64,
    told: Mutex<Vec<String>>,
    is_stopped: AtomicBool,
}

impl Load {
    /// Waits for a process that is up.
    pub(crate) fn idle(front: SocketAddr, pause: Duration) -> Self {
        let shared = Arc::new(Shared {
            era: AtomicU64::default(),
            answered: AtomicU64::default(),
            failed: AtomicU64::default(),
            excused: AtomicU64::default(),
            told: Mutex::default(),
            is_stopped: AtomicBool::default(),
        });
        let client = |_| {
            let shared = shared.clone();
            thread::spawn(move || {
                while !shared.is_stopped.load(SeqCst) {
                    shared.connection(front, pause);
                    thread::sleep(pause);
                }
            })
        };
        Self { threads: (0..CLIENTS).map(client).collect(), shared }
    }

    /// From now on failures are those of the crash, also of requests that are under way.
    pub(crate) fn goes_down(&self) {
        self.shared.era.fetch_add(1, SeqCst);
    }

    pub(crate) fn is_up(&self) {
        self.shared.era.fetch_add(1, SeqCst);
    }

    /// Answered, failed while it was up, failed in a crash.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let Shared { answered, failed, excused, .. } = &*self.shared;
        (answered.load(SeqCst), failed.load(SeqCst), excused.load(SeqCst))
    }

    /// The first failures while it was up.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Requests on one connection, as long as it is of this era.
    fn connection(&self, front: SocketAddr, pause: Duration) {
        let era = self.era.load(SeqCst);
        if era.is_multiple_of(2) {
            return;
        }
        let mut reader = match api::connect(front) {
            Ok(reader) => reader,
            Err(error) => return self.failed(era, format!("connect: {error}")),
        };
        for turn in 0..REQUESTS {
            if self.is_stopped.load(SeqCst) || self.era.load(SeqCst) != era {
                return;
            }
            let path = ["/", "/ig/x"][turn % 2];
            let asked = write!(reader.get_mut(), "GET {path} HTTP/1.1\r\nhost: torture\r\n\r\n");
            match asked.and_then(|()| api::answer(&mut reader)) {
                Ok((200, _, stays)) => {
                    self.answered.fetch_add(1, SeqCst);
                    if !stays {
                        return;
                    }
                }
                Ok((status, body, _)) => return self.failed(era, format!("{path}: {status} {body}")),
                Err(error) => return self.failed(era, format!("{path}: {error}, request {turn}")),
            }
            thread::sleep(pause);
        }
    }

    fn failed(&self, era: u64, why: String) {
        if self.era.load(SeqCst) != era {
            self.excused.fetch_add(1, SeqCst);
            return;
        }
        self.failed.fetch_add(1, SeqCst);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD {
            told.push(why);
        }
    }
}
