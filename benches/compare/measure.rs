//! One measurement: a client on one proxy for some seconds, and what that cost the proxy.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;

use overspill::balance::rng::Rng;

use super::handshakes;
use super::peers::Peer;
use super::process::{cpu, resident};

/// The client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Wrk,
    /// So many streams of HTTP/2 of a connection at a time.
    H2load {
        streams: usize,
    },
    /// Our own: every connection is a full handshake. wrk and h2load bring sessions back, and cannot be told not to.
    Handshakes,
}

impl Program {
    /// What must be installed for it.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Wrk => Some("wrk"),
            Self::H2load { .. } => Some("h2load"),
            Self::Handshakes => None,
        }
    }
}

/// What the client is told.
pub(crate) struct Run {
    pub(crate) program: Program,
    pub(crate) connections: usize,
    pub(crate) scheme: &'static str,
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<String>,
    pub(crate) script: Option<PathBuf>,
}

/// What one measurement found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// CPU time per request in user code, microseconds.
    pub(crate) user: f64,
    /// The same in the kernel.
    pub(crate) system: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    /// Latency in microseconds; NaN = the client does not say.
    pub(crate) p50: f64,
    /// The same.
    pub(crate) p99: f64,
    /// Resident memory at its highest during the run, MiB.
    pub(crate) memory: f64,
    /// What the client says of errors; empty when there were none.
    pub(crate) errors: String,
}

impl Sample {
    /// CPU time per request, microseconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// The places of so many proxies in a round: each round in another order, the same in every run.
pub(crate) fn order(count: usize, round: usize) -> Vec<usize> {
    let (mut rng, mut places) = (Rng::new(round as u64), (0..count).collect::<Vec<_>>());
    for last in (1..count).rev() {
        let chosen = rng.below(last as u64 + 1) as usize;
        places.swap(last, chosen);
    }
    places
}

/// Measures one proxy once.
pub(crate) fn sample(peer: &Peer, run: &Run, seconds: u64) -> Result<Sample, String> {
    let pids = peer.server.pids();
    let before = cpu(&pids);
    let mut memory = 0.0_f64;
    let (mut sample, requests) = thread::scope(|scope| {
        let client = scope.spawn(|| run.run(peer.address(), seconds));
        while !client.is_finished() {
            memory = memory.max(resident(&pids));
            sleep(Duration::from_millis(50));
        }
        client.join().map_err(|_| "the client panicked".to_owned())?
    })?;
    let after = cpu(&pids);
    (sample.user, sample.system) = ((after.0 - before.0) / requests, (after.1 - before.1) / requests);
    sample.memory = memory;
    if !sample.errors.is_empty() {
        // Whoever fails is fast.
        (sample.user, sample.rate, sample.p50, sample.p99) = (f64::NAN, f64::NAN, f64::NAN, f64::NAN);
    }
    Ok(sample)
}

impl Run {
    /// Runs the client: what it found, without the proxy's own figures, and how many requests it made.
    pub(crate) fn run(&self, at: SocketAddr, seconds: u64) -> Result<(Sample, f64), String> {
        match self.program {
            Program::Handshakes => handshakes::run(at, self.connections, Duration::from_secs(seconds)),
            Program::Wrk => {
                let mut command = self.command("wrk");
                command.args(["-t1", "--latency"]).arg(format!("-d{seconds}s"));
                if let Some(script) = &self.script {
                    command.arg("-s").arg(script);
                }
                read_wrk(&said(command.arg(self.url(at)))?)
            }
            Program::H2load { streams } => {
                let mut command = self.command("h2load");
                command.arg("-t1").arg(format!("-m{streams}")).arg(format!("-D{seconds}"));
                let log =
                    std::env::temp_dir().join(format!("overspill-compare-{}.h2load", std::process::id()));
                command.arg(format!("--log-file={}", log.display()));
                let said = said(command.arg(self.url(at)));
                let times = std::fs::read_to_string(&log).unwrap_or_default();
                // Appended to otherwise, at the next run.
                let _ = std::fs::remove_file(&log);
                read_h2load(&said?, &times)
            }
        }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.arg(format!("-c{}", self.connections));
        self.headers.iter().for_each(|header| {
            command.args(["-H", header]);
        });
        command
    }

    fn url(&self, at: SocketAddr) -> String {
        format!("{}://{at}{}", self.scheme, self.path)
    }
}

/// What a client says, which ends by itself.
pub(crate) fn said(command: &mut Command) -> Result<String, String> {
    let command = command.stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(format!("the client failed:\n{said}")) }
}

/// What wrk found, without the proxy's own figures; and how many requests it made.
pub(crate) fn read_wrk(said: &str) -> Result<(Sample, f64), String> {
    let wanted = |found: Option<f64>| found.ok_or(format!("wrk says something unknown:\n{said}"));
    let number = |text: &str| text.parse().ok();
    let errors = said.lines().filter(|line| line.contains("Socket errors") || line.contains("Non-2xx"));
    let sample = Sample {
        rate: wanted(field(said, "Requests/sec:", 1).and_then(number))?,
        p50: wanted(field(said, "50%", 1).and_then(micros))?,
        p99: wanted(field(said, "99%", 1).and_then(micros))?,
        errors: errors.map(str::trim).collect::<Vec<_>>().join("; "),
        ..Sample::default()
    };
    let requests: Option<f64> = field(said, "requests", 0).and_then(number);
    Ok((sample, requests.unwrap_or(0.0).max(1.0)))
}

/// The same of h2load, which tells the time of each request in a file: its third column, in microseconds.
fn read_h2load(said: &str, times: &str) -> Result<(Sample, f64), String> {
    let wanted = |found: Option<f64>| found.ok_or(format!("h2load says something unknown:\n{said}"));
    let number = |text: &str| text.parse().ok();
    let mut times: Vec<f64> = times.lines().filter_map(|line| number(line.split('\t').nth(2)?)).collect();
    times.sort_by(f64::total_cmp);
    let (done, good) = (field(said, "requests:", 5), field(said, "requests:", 7));
    let (done, good): (f64, f64) = (wanted(done.and_then(number))?, wanted(good.and_then(number))?);
    let sample = Sample {
        rate: wanted(field(said, "finished", 3).and_then(number))?,
        p50: quantile(&times, 0.5),
        p99: quantile(&times, 0.99),
        errors: if good < done { format!("{} of {done} not 2xx", done - good) } else { String::new() },
        ..Sample::default()
    };
    Ok((sample, good.max(1.0)))
}

/// Of numbers in their order; not a number where there are none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len() as f64) as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

/// The word at `place` of the first line that has the word `mark`.
pub(crate) fn field<'a>(said: &'a str, mark: &str, place: usize) -> Option<&'a str> {
    said.lines().find(|line| line.split_whitespace().any(|word| word == mark))?.split_whitespace().nth(place)
}

/// `1.25ms` and the like.
pub(crate) fn micros(text: &str) -> Option<f64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 6e7,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}
