//! `overspill upgrade`: asks a running proxy to put the binary that stands at its path now into its place.

use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::args::Upgrade;
use super::client::{self, Admin, Failure};

/// From look to look while the new process starts.
const LOOK: Duration = Duration::from_millis(50);

/// Exit code: 0 done (or asked, with `--pid`), 1 refused or failed, 2 usage.
pub(super) fn run(ask: &Upgrade) -> u8 {
    if let Some(pid) = ask.pid {
        return signal(pid);
    }
    client::run(&ask.admin, "overspill: not upgraded:", async |admin| {
        let (old, new) = upgrade(admin).await?;
        Ok(format!("process {new} serves in the place of {old}\n"))
    })
}

fn signal(pid: i32) -> u8 {
    let Some(process) = rustix::process::Pid::from_raw(pid) else {
        eprintln!("error: {pid} is no number of a process");
        return 2;
    };
    match rustix::process::kill_process(process, rustix::process::Signal::USR2) {
        Ok(()) => {
            println!("process {pid} was asked; its log and /status tell how it went");
            0
        }
        Err(error) => {
            eprintln!("overspill: process {pid} cannot be asked: {error}");
            1
        }
    }
}

/// Looks in vain before it is said that nobody is there: an admin address may move with an upgrade.
const MISSES: u32 = 20;

/// The numbers of the old and of the new process.
async fn upgrade(admin: &Admin) -> Result<(u64, u64), Failure> {
    let asked = admin.ask(Method::POST, "/upgrade", &Value::Null).await?;
    let old = asked["pid"].as_u64().unwrap_or(0);
    let failed_before = asked["failed"].as_u64().unwrap_or(0);
    let mut misses = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        // The old process keeps to its limit, so that this ends too.
        let status = match admin.ask(Method::GET, "/status", &Value::Null).await {
            Ok(status) => status,
            Err(Failure::Unreachable(_)) if misses < MISSES => {
                misses += 1;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let upgrade = &status["upgrade"];
        match status["pid"].as_u64() {
            Some(new) if new != old => return Ok((old, new)),
            _ => {}
        }
        if upgrade["failed"].as_u64().unwrap_or(0) > failed_before {
            return Err(Failure::Refused(upgrade["why"].as_str().unwrap_or("it failed").to_owned()));
        }
        if let Some(new) = upgrade["pid"].as_u64() {
            return Ok((old, new));
        }
    }
}
