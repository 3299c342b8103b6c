//! The cost of a request against members, services, rules and workers.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Options;
use super::counting::client::{connect, exchange, head, until_healthy};
use super::counting::{self, Counting};
use super::document::Shape;
use super::origin::Origin;
use super::plot::{Line, Plot};
use super::process::{Server, TempDir, cpu, free_addresses, is_installed};

/// Requests that are counted, after as many as make a connection to each member, and some.
const REQUESTS: usize = 8_000;
const WARM: usize = 500;
/// Without a request.
const IDLE: Duration = Duration::from_secs(5);
/// Of `wrk`: warming up, measured.
const SECONDS: [u64; 2] = [2, 5];
const CONNECTIONS: usize = 64;

/// A thing that grows: its name, its sizes, and what it makes of a configuration.
type Axis = (&'static str, Vec<u32>, fn(u32) -> Shape);

pub(crate) fn measure(options: &Options, dir: &TempDir) -> Result<Vec<Plot>, String> {
    let axes: [Axis; 4] = [
        ("members", options.sizes(10, 10_000), |members| Shape { members, ..Shape::ONE }),
        ("services", options.sizes(1, 1_000), |services| Shape { services, ..Shape::ONE }),
        ("rules", options.sizes(1, 1_000), |rules| Shape { rules, ..Shape::ONE }),
        ("workers", vec![1, 2], |workers| Shape { workers, ..Shape::ONE }),
    ];
    let is_counted = counting::version().is_some();
    let is_timed = is_installed("wrk");
    if !is_counted {
        println!("Instructions: not counted, valgrind is not installed\n");
    }
    if !is_timed {
        println!("CPU time: not measured, wrk is not installed\n");
    }
    let (mut counts, mut idles, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for (name, sizes, shape) in axes {
        let [mut counted, mut idle, mut timed] = [name; 3].map(Line::new);
        for size in sizes {
            let origin = Origin::start(dir)?;
            let run = Run { shape: shape(size), origin: &origin, overspill: options, dir };
            if is_counted {
                let (request, by_itself) = run.instructions()?;
                counted.add(size, request);
                idle.add(size, by_itself / 1e6);
            }
            if is_timed {
                timed.add(size, run.cpu_time()?);
            }
        }
        counts.push(counted);
        idles.push(idle);
        times.push(timed);
    }
    let mut plots = Vec::new();
    if is_counted {
        plots.push(Plot::new("A request: instructions", ("how many", "instructions"), counts));
        let y = "million instructions per second";
        plots.push(Plot::new("Idle: instructions", ("how many", y), idles));
    }
    if is_timed {
        plots.push(Plot::new("A request: CPU time", ("how many", "µs"), times));
    }
    Ok(plots)
}

struct Run<'a> {
    shape: Shape,
    origin: &'a Origin,
    overspill: &'a Options,
    dir: &'a TempDir,
}

impl Run<'_> {
    fn command(&self, at: SocketAddr) -> Result<Vec<String>, String> {
        let config =
            self.dir.write("growth/overspill.yaml", self.shape.document(at, self.origin.port, "m-0"))?;
        let mut command = vec![self.overspill.overspill.display().to_string()];
        command.extend(["serve", "--log-level", "error"].map(str::to_owned));
        command.extend(["-c".to_owned(), config.display().to_string()]);
        Ok(command)
    }

    /// Of a request, and of a second in which nothing is asked. What goes on anyhow is not the request's: under
    /// callgrind, which makes all slow, there is much more of it to a request than there would be.
    fn instructions(&self) -> Result<(f64, f64), String> {
        let warm = WARM + 2 * self.shape.members as usize;
        let (less, while_less) = self.counted(warm, Duration::ZERO)?;
        let (more, while_more) = self.counted(warm + REQUESTS, Duration::ZERO)?;
        let (idle, _) = self.counted(warm, IDLE)?;
        let by_itself = idle.saturating_sub(less) as f64 / IDLE.as_secs_f64();
        let longer = while_more.as_secs_f64() - while_less.as_secs_f64();
        let requests = more.saturating_sub(less) as f64 - by_itself * longer;
        Ok((requests / REQUESTS as f64, by_itself))
    }

    /// Instructions of a run with so many requests and then so long without any; how long the requests took.
    fn counted(&self, requests: usize, idle: Duration) -> Result<(u64, Duration), String> {
        let counting = Counting::new(self.dir);
        let [at] = free_addresses()?;
        let command = self.command(at)?;
        let mut took = Duration::ZERO;
        let count = counting.of_server(
            |counting| Server::start("overspill", &counting.command(&command), &[at], self.dir, None),
            || {
                let began = Instant::now();
                self.ask(at, requests)?;
                took = began.elapsed();
                sleep(idle);
                Ok(())
            },
        )?;
        Ok((count, took))
    }

    /// Microseconds.
    fn cpu_time(&self) -> Result<f64, String> {
        let [at] = free_addresses()?;
        let server = Server::start("overspill", &self.command(at)?, &[at], self.dir, None)?;
        self.ask(at, 1)?;
        let [warm, measured] = if self.overspill.is_quick { [1, 1] } else { SECONDS };
        self.wrk(at, warm)?;
        let pids = server.pids();
        let before = cpu(&pids);
        let requests = self.wrk(at, measured)?;
        let after = cpu(&pids);
        Ok((after.0 - before.0 + after.1 - before.1) / requests)
    }

    fn ask(&self, at: SocketAddr, requests: usize) -> Result<(), String> {
        let path = self.shape.path();
        let close = head(("GET", &path), at, "Connection: close\r\n");
        until_healthy(|| exchange(&mut connect(at)?, &close))?;
        let (mut stream, request) = (connect(at)?, head(("GET", &path), at, ""));
        (0..requests).try_for_each(|_| exchange(&mut stream, &request))
    }

    /// How many requests it made.
    fn wrk(&self, at: SocketAddr, seconds: u64) -> Result<f64, String> {
        let mut command = Command::new("wrk");
        command.arg("-t1").arg(format!("-c{CONNECTIONS}")).arg(format!("-d{seconds}s"));
        let output = command.arg(format!("http://{at}{}", self.shape.path())).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("cannot start wrk: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said.contains("Non-2xx") {
            return Err(format!("answers were not 200:\n{said}"));
        }
        let line = said.lines().find(|line| line.contains(" requests in "));
        let requests = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        requests.ok_or(format!("wrk says something unknown:\n{said}"))
    }
}
