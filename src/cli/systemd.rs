//! What is said to systemd, or whoever else set `NOTIFY_SOCKET`: ready, reloading, stopping, alive, and who is in
//! charge. Without that variable nothing is said.

use std::future::pending;
use std::time::Duration;

use sd_notify::NotifyState;

/// The listeners are bound and health is known.
pub(super) fn ready() {
    say(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

/// The configuration is being read anew; [`reloaded`] ends it.
pub(super) fn reloading() {
    // A system without that clock has no systemd.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        say(&[NotifyState::Reloading, now]);
    }
}

/// Good or bad, the new configuration has its verdict.
pub(super) fn reloaded(is_ok: bool) {
    let status = if is_ok { "serving" } else { "serving; the last configuration was refused" };
    say(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Running requests may finish.
pub(super) fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// From now on the process of this number is in charge of the unit.
pub(super) fn successor(pid: u32) {
    say(&[NotifyState::MainPid(pid)]);
}

/// Says that it is alive, twice as often as systemd asks for it; ends never. Run it where a stuck process would not
/// get to it.
pub(super) async fn keep_alive() {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| *limit > Duration::ZERO) else {
        return pending().await;
    };
    loop {
        say(&[NotifyState::Watchdog]);
        tokio::time::sleep(limit / 2).await;
    }
}

fn say(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}
