//! Latency when requests come at a rate of their own: at a half and at four fifths of what the slowest proxy can do.
//!
//! The client is [`pace`], open-loop and free of coordinated omission. `h2load --rps` is neither: a connection that still
//! waits for an answer sends late, and the time is counted from then.

use super::measure::{self, Program, Run};
use super::options::Options;
use super::origin::Origin;
use super::pace::{self, Paced};
use super::peers::{self, Peer, Setup};
use super::process::TempDir;
use super::table::{median, time};

/// Of the measurement of what a proxy can do.
const CONNECTIONS: usize = 64;
const SHARES: [f64; 2] = [0.5, 0.8];

pub(crate) fn measure(options: &Options, origin: &Origin, dir: &TempDir) -> Result<(), String> {
    let peers = peers::start(&Setup::plain(origin.small), options, dir)?;
    let mut slowest: Option<(f64, &Peer)> = None;
    for peer in &peers {
        let (program, headers) = (Program::Wrk, Vec::new());
        let run = Run { program, connections: CONNECTIONS, scheme: "http", path: "/", headers, script: None };
        run.run(peer.address(), 1)?;
        let rates: Result<Vec<f64>, String> = (0..options.rounds)
            .map(|_| measure::sample(peer, &run, options.seconds).map(|sample| sample.rate))
            .collect();
        let rate = median(rates?.into_iter());
        if slowest.is_none_or(|(least, _)| rate < least) {
            slowest = Some((rate, peer));
        }
    }
    let Some((peak, slowest)) = slowest else { return Ok(()) };
    println!("## Latency at a given rate\n");
    println!(
        "The slowest, {}, can do {peak:.0} requests/s by `wrk -t1 -c {CONNECTIONS}`. Requests come at random (Poisson, the same\n\
         for all), the time counts from when each was due; {} rounds of {} s, medians, and in brackets ratios to {}.\n",
        slowest.name,
        options.rounds,
        options.seconds,
        peers.first().map_or("", |first| &first.name)
    );
    for share in SHARES {
        at_rate(options, &peers, (share, share * peak))?;
    }
    Ok(())
}

fn at_rate(options: &Options, peers: &[Peer], (share, rate): (f64, f64)) -> Result<(), String> {
    let mut turns: Vec<Vec<Paced>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds {
        for place in measure::order(peers.len(), round) {
            if let (Some(peer), Some(turns)) = (peers.get(place), turns.get_mut(place)) {
                turns.push(pace::run(peer.address(), rate, options.seconds, round as u64)?);
            }
        }
    }
    println!("**{:.0} % of that, {rate:.0} requests/s**\n", 100.0 * share);
    println!("| | p50 | p99 | p99.9 | longest | failed | client late by: p50, p99 |");
    println!("|---|---|---|---|---|---|---|");
    let Some(first) = turns.first() else { return Ok(()) };
    for (peer, turns) in peers.iter().zip(&turns) {
        let both = |of: fn(&Paced) -> f64| {
            let ratios = turns.iter().zip(first).map(|(ours, theirs)| of(ours) / of(theirs));
            format!("{} ({:.2})", time(median(turns.iter().map(of))), median(ratios))
        };
        let late = |of: fn(&Paced) -> f64| time(median(turns.iter().map(of)));
        println!(
            "| {} | {} | {} | {} | {} | {} | {}, {} |",
            peer.name,
            both(|paced| paced.latency(0.5)),
            both(|paced| paced.latency(0.99)),
            both(|paced| paced.latency(0.999)),
            late(|paced| paced.latency(1.0)),
            turns.iter().map(|paced| paced.failed).sum::<u64>(),
            late(|paced| paced.lateness(0.5)),
            late(|paced| paced.lateness(0.99)),
        );
    }
    println!();
    Ok(())
}
