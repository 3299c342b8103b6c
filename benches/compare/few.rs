//! Fewer connections than would spread evenly over two workers: nobody starves when the kernel gives one worker most of
//! them.

use std::process::Command;

use super::measure::{self, Program, Run, Sample, field, said, sample};
use super::options::Options;
use super::origin::Origin;
use super::peers::{self, Peer, Setup};
use super::process::{TempDir, is_installed};
use super::table::{median, time};

const WORKERS: usize = 2;
const CONNECTIONS: [usize; 3] = [2, 4, 8];

/// What one proxy did in one round.
struct Turn {
    sample: Sample,
    /// The slowest connection's requests, and the fastest one's, as parts of the mean.
    extremes: Option<(f64, f64)>,
}

pub(crate) fn measure(options: &Options, origin: &Origin, dir: &TempDir) -> Result<(), String> {
    println!("## Few connections on {WORKERS} workers\n");
    println!(
        "`wrk -t1 -c CONNECTIONS`; the slowest and the fastest connection by `h2load --h1 -t1 -c CONNECTIONS`, as parts of the\n\
         mean, the worst of all rounds. A proxy with one listening socket for both workers may leave one of them idle.\n"
    );
    let has_h2load = is_installed("h2load");
    if !has_h2load {
        println!("Fairness: not measured, h2load is not installed\n");
    }
    println!("| connections | | requests/s | p50 | p99 | CPU per request | slowest, fastest connection |");
    println!("|---|---|---|---|---|---|---|");
    for connections in CONNECTIONS {
        let setup = Setup { workers: WORKERS, ..Setup::plain(origin.small) };
        let peers = peers::start(&setup, options, dir)?;
        let mut turns: Vec<Vec<Turn>> = peers.iter().map(|_| Vec::new()).collect();
        for round in 0..=options.rounds {
            for place in measure::order(peers.len(), round) {
                let (Some(peer), Some(turns)) = (peers.get(place), turns.get_mut(place)) else { continue };
                let turn = turn(peer, connections, options.seconds, has_h2load)?;
                // The first one warms up.
                if round > 0 {
                    turns.push(turn);
                }
            }
        }
        for (place, peer) in peers.iter().enumerate() {
            print(connections, &peer.name, (turns.get(place), turns.first()));
        }
    }
    println!();
    Ok(())
}

fn turn(peer: &Peer, connections: usize, seconds: u64, has_h2load: bool) -> Result<Turn, String> {
    let (program, headers) = (Program::Wrk, Vec::new());
    let run = Run { program, connections, scheme: "http", path: "/", headers, script: None };
    let sample = sample(peer, &run, seconds)?;
    let extremes = if has_h2load { Some(extremes(peer, connections, seconds)?) } else { None };
    Ok(Turn { sample, extremes })
}

/// From the line `req/s : MIN MAX MEAN …`, which is about connections.
fn extremes(peer: &Peer, connections: usize, seconds: u64) -> Result<(f64, f64), String> {
    let mut command = Command::new("h2load");
    command.args(["--h1", "-t1"]).arg(format!("-c{connections}")).arg(format!("-D{seconds}"));
    let said = said(command.arg(format!("http://{}/", peer.address())))?;
    let number = |place| field(&said, "req/s", place).and_then(|word| word.parse::<f64>().ok());
    match (number(2), number(3), number(4)) {
        (Some(least), Some(most), Some(mean)) if mean > 0.0 => Ok((least / mean, most / mean)),
        _ => Err(format!("h2load says something unknown:\n{said}")),
    }
}

/// The ratios are to the first proxy, which is nginx where it is there.
fn print(connections: usize, name: &str, (turns, first): (Option<&Vec<Turn>>, Option<&Vec<Turn>>)) {
    let (Some(turns), Some(first)) = (turns, first) else { return };
    let both = |of: fn(&Sample) -> f64, show: fn(f64) -> String| {
        let ratios = turns.iter().zip(first).map(|(ours, theirs)| of(&ours.sample) / of(&theirs.sample));
        format!("{} ({:.2})", show(median(turns.iter().map(|turn| of(&turn.sample)))), median(ratios))
    };
    let extremes = turns.iter().filter_map(|turn| turn.extremes);
    let fairness = extremes.reduce(|worst, next| (worst.0.min(next.0), worst.1.max(next.1)));
    println!(
        "| {connections} | {name} | {} | {} | {} | {} | {} |",
        both(|s| s.rate, |rate| format!("{rate:.0}")),
        both(|s| s.p50, time),
        both(|s| s.p99, time),
        both(Sample::cpu, |us| format!("{us:.1} us")),
        fairness.map_or(String::new(), |(least, most)| format!("{least:.2}, {most:.2}"))
    );
}
