//! Medians over the rounds, as tables for people (and for the README: they are Markdown).

use std::fs;
use std::process::Command;

use super::measure::Sample;
use super::options::Options;
use super::peers::{Peer, relay};
use super::process::is_installed;

/// What all proxies of a scenario did.
pub(crate) struct Results {
    name: &'static str,
    peers: Vec<(String, Vec<Sample>)>,
}

impl Results {
    pub(crate) fn new(name: &'static str, peers: &[Peer]) -> Self {
        Self { name, peers: peers.iter().map(|peer| (peer.name.clone(), Vec::new())).collect() }
    }

    pub(crate) fn add(&mut self, place: usize, sample: Sample) {
        if let Some((_, samples)) = self.peers.get_mut(place) {
            samples.push(sample);
        }
    }

    /// Everything about this scenario. In brackets: ratios to nginx.
    pub(crate) fn print(&self) {
        println!("**{}**\n", self.name);
        println!("| | CPU per request | user + system | requests/s | p50 | p99 | memory |");
        println!("|---|---|---|---|---|---|---|");
        for (peer, samples) in &self.peers {
            let both = |of: fn(&Sample) -> f64, show: fn(f64) -> String| {
                let value = median(samples.iter().map(of));
                if value.is_nan() {
                    return String::new();
                }
                let ratio = self.ratio(peer, of).map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
                format!("{}{ratio}", show(value))
            };
            let (user, system) =
                (median(samples.iter().map(|s| s.user)), median(samples.iter().map(|s| s.system)));
            println!(
                "| {peer} | {} | {user:.1} + {system:.1} | {} | {} | {} | {} |",
                both(Sample::cpu, |us| format!("{us:.1} us")),
                both(|s| s.rate, |rate| format!("{rate:.0}")),
                both(|s| s.p50, time),
                both(|s| s.p99, time),
                both(|s| s.memory, |mib| format!("{mib:.0} MiB")),
            );
        }
        println!();
        for (peer, samples) in &self.peers {
            samples.iter().filter(|s| !s.errors.is_empty()).for_each(|s| println!("{peer}: {}", s.errors));
        }
    }

    fn samples(&self, peer: &str) -> Option<&Vec<Sample>> {
        self.peers.iter().find(|(name, _)| *name == peer).map(|(_, samples)| samples)
    }

    /// Median of the ratios to nginx within each round.
    fn ratio(&self, peer: &str, of: fn(&Sample) -> f64) -> Option<f64> {
        let samples =
            |name: &str| self.peers.iter().find(|(peer, _)| *peer == name).map(|(_, samples)| samples);
        let (ours, theirs) = (samples(peer)?, samples("nginx")?);
        Some(median(
            ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs).max(f64::MIN_POSITIVE)),
        ))
    }
}

/// CPU per request of all scenarios, as ratios to nginx.
pub(crate) fn print_summary(all: &[Results]) {
    println!("CPU per request, ratio to nginx in the same round:\n");
    let mut names: Vec<&str> = Vec::new();
    for (peer, _) in all.iter().flat_map(|results| &results.peers) {
        if !names.contains(&peer.as_str()) {
            names.push(peer);
        }
    }
    println!("| | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    for results in all {
        let cells = names.iter().map(|&peer| {
            let Some(samples) = results.samples(peer) else { return String::new() };
            let us = median(samples.iter().map(Sample::cpu));
            if us.is_nan() {
                return "failed".to_owned();
            }
            match (peer, results.ratio(peer, Sample::cpu)) {
                ("nginx", _) => format!("1.00 ({us:.1} us)"),
                (_, Some(ratio)) => format!("{ratio:.2}"),
                (_, None) => format!("{us:.1} us"),
            }
        });
        println!("| {} | {} |", results.name, cells.collect::<Vec<_>>().join(" | "));
    }
}

/// Where, when, with what.
pub(crate) fn print_machine(options: &Options) {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    println!("- {}, {cores} cores, {}", model.map_or("unknown CPU", |(_, m)| m), said("uname", &["-sr"]));
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "- {}, median of {} rounds of {} s each; load average before: {}",
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        options.rounds,
        options.seconds,
        load.split(' ').next().unwrap_or("unknown")
    );
    for binary in &options.binaries {
        let path = binary.path.display().to_string();
        println!("- {}: {} ({path})", binary.name, said(&path, &["--version"]));
    }
    for (program, argument) in [("nginx", "-v"), ("haproxy", "-v"), ("wrk", "-v"), ("h2load", "--version")] {
        if is_installed(program) {
            println!(
                "- {}",
                said("sh", &["-c", &format!("PATH=$PATH:/usr/sbin; {program} {argument} 2>&1")])
            );
        } else {
            println!("- {program}: not installed, not measured");
        }
    }
    match &options.envoy {
        Some(program) => println!("- {}", said(&program.display().to_string(), &["--version"])),
        None => {
            println!("- envoy: not installed, not measured (ENVOY=PATH names it where it is not on the path)")
        }
    }
    match &options.pingora {
        Some(program) => println!("- pingora: {}", said(&program.display().to_string(), &["--version"])),
        None => println!("- pingora: not given (--pingora PATH), not measured"),
    }
    if !relay::is_worthwhile() {
        println!("- {}: this program is a debug build, not measured", relay::NAME);
    }
}

/// First line of what a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let line = text.lines().find(|line| !line.trim().is_empty());
    line.unwrap_or("unknown").trim().to_owned()
}

pub(crate) fn time(us: f64) -> String {
    if us < 1000.0 { format!("{us:.0} us") } else { format!("{:.2} ms", us / 1000.0) }
}

/// Of an even number, the mean of the middle two; 0 of none; not a number where one is none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(0.0);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => at(n / 2),
        n => f64::midpoint(at(n / 2 - 1), at(n / 2)),
    }
}
