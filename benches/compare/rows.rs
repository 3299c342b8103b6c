//! The table of CPU per request: closed loops, as fast as one proxy thread can.

use super::measure;
use super::options::Options;
use super::origin::Origin;
use super::peers::{self, Peer};
use super::process::{TempDir, is_installed};
use super::scenario::{self, Scenario};
use super::table::{self, Results};

pub(crate) fn measure(options: &Options, origin: &Origin, dir: &TempDir) -> Result<(), String> {
    println!("## CPU per request\n");
    println!(
        "`wrk -t1 -c CONNECTIONS -d {0}s --latency`; of HTTP/2 `h2load -t1 -c CONNECTIONS -m STREAMS -D {0}`\n",
        options.seconds
    );
    let scenarios: Vec<_> = scenario::all().into_iter().filter(|row| options.wants(row.name)).collect();
    if scenarios.is_empty() {
        let names: Vec<_> = scenario::all().iter().map(|s| s.name).collect();
        return Err(format!("no scenario has that in its name; there are: {}", names.join(", ")));
    }
    let mut all = Vec::new();
    for scenario in &scenarios {
        if scenario.needs_nginx_origin() && !origin.is_nginx() {
            println!("{}: not measured, the origin must be nginx\n", scenario.name);
            continue;
        }
        if let Some(client) = scenario.program().name().filter(|client| !is_installed(client)) {
            println!("{}: not measured, {client} is not installed\n", scenario.name);
            continue;
        }
        let results = measure_scenario(options, scenario, origin, dir)?;
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
    let peers: Vec<Peer> = peers::start(&scenario.setup(origin), options, dir)?;
    let mut runs = Vec::new();
    for peer in &peers {
        runs.push(scenario.prepare(peer, origin, dir)?);
    }
    for (peer, run) in peers.iter().zip(&runs) {
        // Connections to the origin are made, the allocator is warm, rates are known.
        run.run(peer.address(), 1)?;
    }
    let mut results = Results::new(scenario.name, &peers);
    for round in 0..options.rounds {
        for place in measure::order(peers.len(), round) {
            if let (Some(peer), Some(run)) = (peers.get(place), runs.get(place)) {
                results.add(place, measure::sample(peer, run, options.seconds)?);
            }
        }
    }
    Ok(results)
}
