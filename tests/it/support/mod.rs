//! What the tests stand on: a balancer in this process, backends that behave as told, and a client that sees bytes.

pub(crate) mod backend;
pub(crate) mod client;
pub(crate) mod dns;
pub(crate) mod h2;
pub(crate) mod lb;
pub(crate) mod setup;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// Longest wait for anything that should happen soon; only a failing test waits as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `what` holds, looking often; panics with `name` when it never does.
#[track_caller]
pub(crate) fn wait_until(name: &str, mut what: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain until {name}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lets a measured stretch of time pass. Not a way to wait for something: a rate needs a time to be a rate.
pub(crate) fn let_pass(span: Duration) {
    std::thread::sleep(span);
}

static MACHINE: RwLock<()> = RwLock::new(());

/// Tests that measure rates may run beside each other and beside quiet ones.
pub(crate) fn measuring() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// A test that uses up the machine runs beside no measurement.
pub(crate) fn hogging() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}
