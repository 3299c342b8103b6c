//! Overspill beside nginx, HAProxy, Envoy, Pingora and a plain relay on the same work, in the same run: CPU per request,
//! throughput, latency, memory. What it can be told stands in [`options::USAGE`].
//!
//! A full run of all parts takes about an hour and wants a quiet machine; `--quick` proves in minutes that all works.
//! Other binaries of ours, of before a change say, are measured beside:
//!
//! ```text
//! cargo build --profile guard --bench compare
//! target/guard/deps/compare-… --bench --given-only --overspill before=OLD --overspill after=NEW
//! ```
//!
//! Every proxy has one thread and keeps its connections to the origin; `wrk` is the client, `h2load` where HTTP/2 is
//! spoken, one of ours where every handshake is to be a full one. A scenario starts all proxies afresh, checks that each
//! one gives the origin's answer, and measures them in turn for some rounds, in another order each round. Who fails a
//! request has no figure. The machine's
//! other work moves all figures, so the ones to trust are the ratios to nginx within a round, and of these the CPU time
//! per request; the table shows medians over the rounds.
//!
//! What is started here ends here: children are killed and reaped by guards, on errors and panics too.
// A measuring program sleeps and reads the clock.
#![allow(missing_docs, clippy::disallowed_methods)]

mod few;
mod handshakes;
mod latency;
mod measure;
mod memory;
mod options;
mod origin;
mod pace;
mod peers;
mod process;
mod rows;
mod scenario;
mod secure;
mod table;

use std::process::ExitCode;

use options::{Options, Part};
use origin::Origin;
use process::{TempDir, is_installed};

/// Descriptors of this program and of each proxy: ten thousand connections on either side.
const DESCRIPTORS: u64 = 65_536;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(relayed) = peers::relay::run_if_asked(&arguments) {
        return end(relayed);
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("compare: measures under `cargo bench --bench compare` only");
        return ExitCode::SUCCESS;
    }
    if let Some(missing) = missing() {
        println!("compare: not measured: {missing}");
        return ExitCode::SUCCESS;
    }
    end(Options::parse(&arguments).and_then(|options| compare(&options)))
}

fn end(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("compare: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What this machine lacks for any measurement.
fn missing() -> Option<&'static str> {
    if !std::path::Path::new("/proc/self/stat").exists() {
        return Some("this system has no /proc, from which the CPU time of processes is read");
    }
    (!is_installed("wrk")).then_some("wrk, the client, is not installed (Debian: apt-get install wrk)")
}

fn compare(options: &Options) -> Result<(), String> {
    // Who may raises the hard limit as well.
    if rlimit::setrlimit(rlimit::Resource::NOFILE, DESCRIPTORS, DESCRIPTORS).is_err() {
        let _ = rlimit::increase_nofile_limit(DESCRIPTORS);
    }
    let dir = TempDir::new()?;
    table::print_machine(options);
    let origin = Origin::start(options, &dir)?;
    println!("- origin: {}\n", origin.what());
    for part in &options.parts {
        match part {
            Part::Rows => rows::measure(options, &origin, &dir)?,
            Part::Latency => latency::measure(options, &origin, &dir)?,
            Part::Memory => memory::measure(options, &origin, &dir)?,
            Part::Few => few::measure(options, &origin, &dir)?,
        }
    }
    Ok(())
}
