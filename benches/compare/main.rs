//! Overspill beside nginx and HAProxy on the same work, in the same run: CPU per request, throughput, latency, memory.
//!
//! ```text
//! cargo bench --bench compare [-- [--quick] [--rounds N] [--seconds S] [--only NAME]]
//! ```
//!
//! Every proxy has one thread and keeps its connections to the origin; `wrk` is the client, and `h2load` where HTTP/2 is
//! spoken. A scenario starts all
//! proxies afresh, checks that each one gives the origin's answer, and measures them in turn for some rounds, in
//! another order each round. The machine's other work moves all figures, so the ones to trust are the ratios to nginx
//! within a round, and of these the CPU time per request; the table shows medians over the rounds.
//!
//! What is started here ends here: children are killed and reaped by guards, on errors and panics too.
// A measuring program sleeps and reads the clock.
#![allow(missing_docs, clippy::disallowed_methods)]

mod measure;
mod peers;
mod process;
mod scenario;
mod secure;
mod table;

use std::process::ExitCode;

use measure::Sample;
use peers::{Origin, Peer};
use process::{TempDir, is_installed};
use scenario::Scenario;
use table::Results;

/// What the command line says.
struct Options {
    rounds: usize,
    /// Length of one measurement.
    seconds: u64,
    /// Measure scenarios and peers of which the name contains this.
    only: Option<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("compare: measures under `cargo bench --bench compare` only");
        return ExitCode::SUCCESS;
    }
    if let Some(missing) = missing() {
        println!("compare: not measured: {missing}");
        return ExitCode::SUCCESS;
    }
    match Options::parse(&arguments).and_then(|options| compare(&options)) {
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

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self { rounds: 5, seconds: 5, only: None };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or(format!("{argument} wants a value"));
            let number = |text: &String| text.parse::<usize>().map_err(|_| format!("`{text}` is no number"));
            match argument.as_str() {
                "--bench" => {}
                "--quick" => (options.rounds, options.seconds) = (1, 1),
                "--rounds" => options.rounds = number(value()?)?.max(1),
                "--seconds" => options.seconds = number(value()?)?.max(1) as u64,
                "--only" => options.only = Some(value()?.clone()),
                other => {
                    return Err(format!(
                        "`{other}` is unknown; known: --quick, --rounds N, --seconds S, --only NAME"
                    ));
                }
            }
        }
        Ok(options)
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        self.only.as_ref().is_none_or(|word| scenario.name.contains(word.as_str()))
    }
}

fn compare(options: &Options) -> Result<(), String> {
    let scenarios: Vec<_> = scenario::all().into_iter().filter(|s| options.wants(s)).collect();
    if scenarios.is_empty() {
        let names: Vec<_> = scenario::all().iter().map(|s| s.name).collect();
        return Err(format!("no scenario has that in its name; there are: {}", names.join(", ")));
    }
    // One client with a thousand connections, and a proxy with two thousand.
    let _ = rlimit::increase_nofile_limit(16_384);
    let dir = TempDir::new()?;
    table::print_machine(options.rounds, options.seconds);
    let origin = Origin::start(&dir)?;
    println!("- origin: {}", origin.what());
    println!("- client: `wrk -t1 -c CONNECTIONS -d {}s --latency`", options.seconds);
    println!("- of HTTP/2: `h2load -t1 -c CONNECTIONS -m STREAMS -D {}`\n", options.seconds);
    let mut all = Vec::new();
    for scenario in &scenarios {
        if scenario.needs_nginx_origin() && !origin.is_nginx() {
            println!("{}: not measured, the origin must be nginx\n", scenario.name);
            continue;
        }
        let client = scenario.program().name();
        if !is_installed(client) {
            println!("{}: not measured, {client} is not installed\n", scenario.name);
            continue;
        }
        let results = measure_scenario(options, scenario, &origin, &dir)?;
        results.print();
        all.push(results);
    }
    table::print_summary(&all);
    Ok(())
}

fn measure_scenario(
    options: &Options,
    scenario: &Scenario,
    origin: &Origin,
    dir: &TempDir,
) -> Result<Results, String> {
    let peers: Vec<Peer> = peers::start(scenario, origin, dir)?;
    let mut runs = Vec::new();
    for peer in &peers {
        runs.push(scenario.prepare(peer.name, peer.address(), origin, dir)?);
    }
    for (peer, run) in peers.iter().zip(&runs) {
        // Connections to the origin are made, the allocator is warm, rates are known.
        run.run(peer.address(), 1)?;
    }
    let mut results = Results::new(scenario, peers.iter().map(|peer| peer.name));
    for round in 0..options.rounds {
        for turn in 0..peers.len() {
            let place = (turn + round) % peers.len();
            if let (Some(peer), Some(run)) = (peers.get(place), runs.get(place)) {
                let sample: Sample = measure::sample(peer, run, options.seconds)?;
                results.add(place, sample);
            }
        }
    }
    Ok(results)
}
