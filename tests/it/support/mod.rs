//! What the tests stand on: a balancer in this process, backends that behave as told, and a client that sees bytes.

pub(crate) mod backend;
pub(crate) mod client;
pub(crate) mod dns;
pub(crate) mod h2;
pub(crate) mod h3;
pub(crate) mod installed;
pub(crate) mod lb;
pub(crate) mod setup;
pub(crate) mod tls;

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use overspill::cli::load::{Load, Stats};

/// Longest wait for anything that should happen soon; only a failing test waits as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

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

/// An address that nobody else will ever bind, in this process or another: whoever connects is refused until its owner
/// listens. A port that the system has chosen may, once closed, be another test's next. All are of one host, so that
/// the health of one member can be that of another port.
pub(crate) fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 64 | (high & 63), middle, low), NEXT.fetch_add(1, SeqCst)).into()
}

/// Bytes that the sockets at both ends of a connection hold at most, in one direction.
pub(crate) fn most_in_buffers() -> usize {
    let most = |name: &str| -> Option<usize> {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?;
        text.split_whitespace().last()?.parse().ok()
    };
    most("tcp_rmem").unwrap_or(6 << 20) + most("tcp_wmem").unwrap_or(4 << 20)
}

/// So many times something is measured at most, and so many of those in which nothing stood still.
const MAX_LOOKS: usize = 8;
const MAX_STEADY_LOOKS: usize = 3;

/// Measures until nothing is off. What a load shows holds for a steady one: a look during which the machine stood still
/// shows nothing, and a machine that always does so cannot be measured, which is printed. The result is what was off
/// at the last of three looks that nothing disturbed.
pub(crate) fn measured<T: Debug>(
    load: &Load,
    members_take: Duration,
    mut look: impl FnMut() -> Vec<T>,
) -> Vec<T> {
    let mut steady = 0;
    for _ in 0..MAX_LOOKS {
        let before = load.stats();
        let off = look();
        steady += usize::from(!stood_still(&load.stats().since(&before), members_take));
        if off.is_empty() || steady == MAX_STEADY_LOOKS {
            return off;
        }
        println!("off: {off:?}, {steady} steady looks");
    }
    println!("this machine is too busy to measure");
    Vec::new()
}

/// Whether an answer took so much longer than a member does that the machine must have stood still meanwhile.
pub(crate) fn stood_still(stats: &Stats, members_take: Duration) -> bool {
    stats.latencies.quantile(1.0).is_some_and(|longest| longest > members_take + Duration::from_millis(100))
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
