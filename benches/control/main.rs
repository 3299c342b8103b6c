//! 1,000 random changes of a running balancer, by its API and in its file, under load, with crashes in between.
//!
//! `cargo bench --bench control [-- --steps 1000 --seed 7]`; without a seed a new one is taken and printed. A step is a
//! request of the Compute API, an edit of the file, both at the same moment, an edit that is broken and then mended, or
//! a SIGKILL: between changes, in one, or in one with an edit beside. wrk, where it is installed, and clients of this
//! process send requests all the time. What is checked after each step stands in [`torture`]. In the last third nothing
//! is killed: there memory and descriptors must not grow. Exit code 1 with the seed when anything is not as it should
//! be. Linux only.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)]

mod torture;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use overspill::cli::toy::{self, ToyBackend};

use self::torture::Torture;
use self::torture::process::{free_addresses, is_installed};

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(2);
/// Memory at the end above that at the beginning of the last third: a part of it, and KiB.
const MOST_GROWTH: (f64, f64) = (1.25, 8192.0);
/// Descriptors beyond those at the beginning of the last third.
const MOST_DESCRIPTORS: usize = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(|value| value.parse::<u64>().expect("a number"))
    };
    let steps = usize::try_from(option("--steps").unwrap_or(1000)).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = option("--seed").unwrap_or(u64::from(now.subsec_nanos()));
    println!("seed {seed}");
    match run(seed, steps) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}\nseed {seed}");
            ExitCode::FAILURE
        }
    }
}

fn run(seed: u64, steps: usize) -> Result<(), String> {
    let toys: Vec<_> =
        (0..5).map(|n| ToyBackend::start(toy::Options::new(&format!("toy-{n}"))).unwrap()).collect();
    let members: Vec<_> = toys.iter().map(ToyBackend::address).collect();
    let mut torture = Torture::start(seed, &members, free_addresses()?, (is_installed("wrk"), PAUSE))?;
    let (began, mut samples) = (Instant::now(), Vec::new());
    for turn in 1..=steps {
        let may_crash = turn <= steps * 2 / 3;
        torture.step(turn, may_crash)?;
        if let Some(pid) = torture.pid().filter(|_| !may_crash) {
            samples.push(used(pid));
        }
        if turn % 50 == 0 {
            let (answered, failed, excused) = torture.load.counts();
            println!(
                "{turn:>5} steps {:>4} s {answered:>8} answered {failed} failed {excused:>5} in crashes {:?}",
                began.elapsed().as_secs(),
                torture.counts
            );
        }
    }
    torture.finish()?;
    let (answered, failed, excused) = torture.load.counts();
    let counts = &torture.counts;
    println!(
        "{steps} steps, {} kills, {} requests, {failed} failed, {excused} in crashes, {counts:?}",
        counts.kills,
        answered + counts.wrk.requests
    );
    is_flat(&samples)
}

/// Resident KiB and descriptors.
fn used(pid: u32) -> (f64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    let resident = resident.trim().trim_end_matches(" kB").parse().unwrap_or(0.0);
    (resident, std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().count())
}

fn is_flat(samples: &[(f64, usize)]) -> Result<(), String> {
    // The first are warming up.
    let warm = &samples[samples.len() / 4..];
    let (first, second) = warm.split_at(warm.len() / 2);
    let mean =
        |part: &[(f64, usize)]| part.iter().map(|sample| sample.0).sum::<f64>() / part.len().max(1) as f64;
    let most = |part: &[(f64, usize)]| part.iter().map(|sample| sample.1).max().unwrap_or(0);
    let fifths: Vec<_> = warm.chunks(warm.len().div_ceil(5).max(1)).map(|part| mean(part).round()).collect();
    println!("resident KiB {fifths:?}; at most {} descriptors, then {}", most(first), most(second));
    if mean(second) > mean(first) * MOST_GROWTH.0 + MOST_GROWTH.1
        || most(second) > most(first) + MOST_DESCRIPTORS
    {
        return Err("it grows".to_owned());
    }
    Ok(())
}
