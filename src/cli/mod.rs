//! The command line: one module for each command.
//!
//! [`args`] says what can be typed. `serve` starts an engine, the admin server and the watch over the file; `run`
//! writes the file that its targets stand for and does the same; `demo` does the same again over toy backends, with
//! an open-loop [`load`]. [`simulate`] plays the same balancing without sockets. [`check`] resolves a file and draws
//! what is wrong with it; [`import`] makes one of what gcloud prints. `cert` makes certificates for development. `backend` is the [`toy`] alone. `compute` has
//! gcloud's commands, which ask a running process over its admin address; `upgrade` makes it give its sockets to a new
//! binary. `systemd` is told of all that. `manual` writes completions and manual pages from [`args`].

pub mod args;
pub mod check;
pub mod import;
pub mod load;
pub mod simulate;
pub mod toy;

mod backend;
mod banner;
mod cert;
mod client;
mod compute;
mod credentials;
mod demo;
pub mod explain;
mod manual;
mod run;
mod serve;
mod systemd;
mod upgrade;
mod user;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Cert, Command, Format, LogLevel};

/// Parses the command line and does what it says. Exit codes: 0 done, 1 the input or the run was bad, 2 usage.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    credentials::set(&arguments.credentials);
    ExitCode::from(match arguments.command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Run(run) => run::run(&run),
        Command::Demo(demo) => demo::run(demo),
        Command::Check(check) => {
            let format = match check.format {
                Format::Human => check::Format::Human,
                Format::Json => check::Format::Json,
            };
            check::run(&check.file, format, check.strict)
        }
        Command::Explain(ask) => explain::run(&ask),
        Command::Simulate(simulate) => simulate::run(&simulate),
        Command::Backend(toy) => {
            crate::telemetry::log::init(LogLevel::Warn.as_str());
            backend::run(&toy)
        }
        Command::Cert(Cert::Dev(asked)) => cert::dev(&asked),
        Command::Upgrade(ask) => upgrade::run(&ask),
        Command::Import(ask) => import::run(&ask),
        Command::Completion(asked) => manual::completion(asked.shell),
        Command::Man(asked) => manual::pages(&asked.out),
        Command::Compute(asked) => compute::run(&asked),
    })
}

/// A runtime for commands: one thread, all drivers.
///
/// # Errors
/// When the system refuses what it needs.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Writes a command's result. Whoever reads it may have read enough, as `head` has.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}
