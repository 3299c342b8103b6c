//! What grows with the configuration, and how fast: cost of a request, of a choice, of a look-up, of a reload.
//!
//! ```text
//! cargo bench --bench growth [-- --svg benches/growth/growth.svg]     prints Markdown tables, draws the plot
//! cargo bench --bench growth -- --quick                               a tenth of the sizes: proves that all works
//! cargo bench --bench growth -- --only WORD --overspill PATH
//! ```
//!
//! The cost of a request is in instructions, by callgrind where valgrind is installed, and in CPU time of the proxy by
//! `wrk` where that is; choices, look-ups and reloads are timed in this process. All members are one origin that
//! listens on all loopback addresses.
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cost;
#[allow(dead_code, reason = "`guard` needs more of it")]
#[path = "../counting/mod.rs"]
mod counting;
mod document;
#[path = "../fleet/mod.rs"]
mod fleet;
mod origin;
mod plot;
#[allow(dead_code, reason = "`compare` needs more of it")]
#[path = "../compare/process.rs"]
mod process;
mod reload;
#[path = "../routes/mod.rs"]
mod routes;
mod timed;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use plot::Plot;
use process::TempDir;

/// What the command line says.
struct Options {
    is_quick: bool,
    only: Option<String>,
    overspill: PathBuf,
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(served) = origin::run_if_asked(&arguments) {
        return end(served);
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("growth: measures under `cargo bench --bench growth` only");
        return ExitCode::SUCCESS;
    }
    end(Options::parse(&arguments).and_then(|options| grow(&options)))
}

fn end(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("growth: {why}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let overspill = PathBuf::from(env!("CARGO_BIN_EXE_overspill"));
        let mut options = Self { is_quick: false, only: None, overspill, svg: None };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or(format!("{argument} wants a value"));
            match argument.as_str() {
                "--bench" => {}
                "--quick" => options.is_quick = true,
                "--only" => options.only = Some(value()?.clone()),
                "--overspill" => options.overspill = PathBuf::from(value()?),
                "--svg" => options.svg = Some(PathBuf::from(value()?)),
                other => {
                    let known = "--quick, --only WORD, --overspill PATH, --svg PATH";
                    return Err(format!("`{other}` is unknown; known: {known}"));
                }
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|word| name.contains(word.as_str()))
    }

    /// 1, 10, … up to `most`; in a quick run without the largest.
    fn sizes(&self, least: u32, most: u32) -> Vec<u32> {
        let most = if self.is_quick { most / 10 } else { most };
        std::iter::successors(Some(least), |size| size.checked_mul(10))
            .take_while(|size| *size <= most)
            .collect()
    }
}

fn grow(options: &Options) -> Result<(), String> {
    // Ten thousand members: a connection or two to each, for the origin and for the proxy.
    if rlimit::setrlimit(rlimit::Resource::NOFILE, 65_536, 65_536).is_err() {
        let _ = rlimit::increase_nofile_limit(65_536);
    }
    let dir = TempDir::new()?;
    if cfg!(debug_assertions) {
        println!("This is a debug build: its times are not worth reading.\n");
    }
    let mut plots: Vec<Plot> = Vec::new();
    let mut add = |plot: Plot| {
        plot.print();
        plots.push(plot);
    };
    if options.wants("request") {
        cost::measure(options, &dir)?.into_iter().for_each(&mut add);
    }
    if options.wants("pick") {
        add(timed::picks(&options.sizes(10, 10_000)));
    }
    if options.wants("route") {
        add(timed::routes(&options.sizes(1, 1_000)));
    }
    if options.wants("reload") {
        let (taken, longest) = reload::measure(&options.sizes(10, 10_000), &dir)?;
        add(taken);
        add(longest);
    }
    if let Some(path) = &options.svg {
        std::fs::write(path, plot::svg(&plots)).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("Drawn: {}", path.display());
    }
    Ok(())
}
