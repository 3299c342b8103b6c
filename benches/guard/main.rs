//! The guard: instructions of a proxied request and of hot functions, beside those that stand in `counts.txt`.
//!
//! ```text
//! cargo bench --profile guard --bench guard              exit code 1 when one has grown by more than TOLERANCE
//! cargo bench --profile guard --bench guard -- --renew   writes the file anew, for a change that is meant to cost so
//! cargo bench --profile guard --bench guard -- --only WORD
//! cargo bench --profile guard --bench guard -- --only request --overspill PATH
//! ```
//!
//! Counted by callgrind, which does not see the kernel: system calls that are spared or added show in `compare` alone.
//! Each figure is the difference between a run of few and one of many calls, so what a start costs is not in it.
//! The counts belong to the profile `guard`, a compiler and a valgrind; with others they are shown and nothing fails.
// A measuring program reads the clock where it waits.
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../counting/mod.rs"]
mod counting;
mod counts;
#[path = "../fleet/mod.rs"]
mod fleet;
mod functions;
#[allow(dead_code, reason = "`compare` needs more of it")]
#[path = "../compare/process.rs"]
mod process;
mod requests;
#[allow(dead_code, reason = "`route` needs more of it")]
#[path = "../routes/mod.rs"]
mod routes;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use counting::Counting;
use counts::{Counts, Made};
use process::TempDir;

/// Calls of a function: few, many.
const CALLS: [u64; 2] = [1_000, 6_000];

/// How often a thing is counted that has cost too much.
const TRIES: usize = 3;

/// What the command line says.
struct Options {
    renews: bool,
    only: Option<String>,
    /// The binary whose requests are counted.
    overspill: PathBuf,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(counted) = functions::run_if_asked(&arguments) {
        return end(counted.map(|()| true));
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("guard: counts under `cargo bench --profile guard --bench guard` only");
        return ExitCode::SUCCESS;
    }
    let Some(valgrind) = counting::version() else {
        println!("guard: NOT CHECKED, valgrind is not installed (Debian: apt-get install valgrind)");
        return ExitCode::SUCCESS;
    };
    end(Options::parse(&arguments).and_then(|options| guard(&options, valgrind)))
}

/// Whether all is well, or why that is not known.
fn end(result: Result<bool, String>) -> ExitCode {
    match result {
        Ok(is_good) => ExitCode::from(u8::from(!is_good)),
        Err(why) => {
            eprintln!("guard: {why}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options =
            Self { renews: false, only: None, overspill: PathBuf::from(env!("CARGO_BIN_EXE_overspill")) };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or(format!("{argument} wants a value"));
            match argument.as_str() {
                "--bench" => {}
                "--renew" => options.renews = true,
                "--only" => options.only = Some(value()?.clone()),
                "--overspill" => options.overspill = PathBuf::from(value()?),
                other => {
                    return Err(format!(
                        "`{other}` is unknown; known: --renew, --only WORD, --overspill PATH"
                    ));
                }
            }
        }
        if options.renews && options.only.is_some() {
            return Err("--renew renews all: without --only".to_owned());
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|word| name.contains(word.as_str()))
    }
}

fn guard(options: &Options, valgrind: String) -> Result<bool, String> {
    let dir = TempDir::new()?;
    let counting = Counting::new(&dir);
    let mut now = Counts::new(Made::here(valgrind)?);
    let stored = Counts::read()?;
    now.made.print_differences(&stored.made);
    println!("{}", counts::HEADING);
    let mut add = |name: &str, count: &dyn Fn() -> Result<u64, String>| {
        let mut least = count()?;
        // A busy machine wakes a proxy more often; what the code costs is the least of a few counts.
        for _ in 1..TRIES {
            if options.renews || !stored.is_exceeded(name, least) {
                break;
            }
            least = least.min(count()?);
        }
        now.add(name, least, &stored);
        Ok::<(), String>(())
    };
    for work in requests::ALL.iter().filter(|work| options.wants(work.name)) {
        add(work.name, &|| requests::count(work, &options.overspill, &counting, &dir))?;
    }
    for name in functions::names().filter(|name| options.wants(name)) {
        add(name, &|| count_function(name, &counting))?;
    }
    if options.renews {
        now.write()?;
        return Ok(true);
    }
    Ok(now.holds_against(&stored, options.only.is_none()))
}

fn count_function(name: &str, counting: &Counting<'_>) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let run = |times| {
        let mut command = vec![program.display().to_string()];
        command.extend(functions::arguments(name, times));
        counting.of_run(&command)
    };
    let [few, many] = CALLS;
    let (less, more) = (run(few)?, run(many)?);
    Ok(more.saturating_sub(less) / (many - few))
}
