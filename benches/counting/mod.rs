//! Instructions, counted by callgrind: the same on a busy machine as on a quiet one. The kernel's are not among them.

pub(crate) mod client;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::process::{Server, TempDir};

/// What callgrind says of a whole run.
const MARK: &str = "Collected :";

/// How long a counted server, fifty times slower than it is, may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// First line of `valgrind --version`; `None` = not installed.
pub(crate) fn version() -> Option<String> {
    first_line(Command::new("valgrind").arg("--version"))
}

/// First line that a program says, when it can be run.
pub(crate) fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}

/// Where and how a program is counted.
pub(crate) struct Counting<'a> {
    dir: &'a TempDir,
}

impl<'a> Counting<'a> {
    pub(crate) fn new(dir: &'a TempDir) -> Self {
        Self { dir }
    }

    /// `command` as it is to be started to be counted.
    pub(crate) fn command(&self, command: &[String]) -> Vec<String> {
        let mut counted = vec!["valgrind".to_owned(), "--tool=callgrind".to_owned()];
        counted.push(format!("--callgrind-out-file={}", self.dir.path().join("callgrind.out").display()));
        counted.push(format!("--log-file={}", self.log().display()));
        counted.extend_from_slice(command);
        counted
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("callgrind.log")
    }

    /// Instructions of the run that has just ended.
    pub(crate) fn collected(&self) -> Result<u64, String> {
        let said = fs::read_to_string(self.log()).unwrap_or_default();
        let line = said.lines().find_map(|line| line.split_once(MARK));
        let count = line.and_then(|(_, count)| count.trim().parse().ok());
        count.ok_or(format!("callgrind counted nothing:\n{said}"))
    }

    /// Of a server, from its start until it has ended after `work`.
    pub(crate) fn of_server(
        &self,
        server: impl FnOnce(&Self) -> Result<Server, String>,
        work: impl FnOnce() -> Result<(), String>,
    ) -> Result<u64, String> {
        let mut server = server(self)?;
        work()?;
        // What is killed counts nothing.
        if server.end(PATIENCE) { self.collected() } else { Err("a counted server does not end".to_owned()) }
    }

    /// Of a program that ends by itself.
    pub(crate) fn of_run(&self, command: &[String]) -> Result<u64, String> {
        let counted = self.command(command);
        let (program, arguments) = counted.split_first().ok_or("no command")?;
        let output = Command::new(program).args(arguments).output();
        let output = output.map_err(|error| format!("cannot start {program}: {error}"))?;
        if output.status.success() {
            self.collected()
        } else {
            Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)))
        }
    }
}
