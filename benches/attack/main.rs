//! Known attacks, tried for real on the release binary with one worker, while an innocent client is served by it.
//!
//! `cargo bench --bench attack [-- --seconds 10 --only NAME]`. For each attack: CPU of the proxy (of one core), how far its
//! memory grew, and the innocent client's latency, before and during; how often the attacker was sent away and came back at
//! once; which limits were met. The attacker is one thread that writes as fast as the proxy reads, or as slowly as it says;
//! attacker, innocent client, member and proxy share the machine. An attack that is slow lasts 35 s, longer than any
//! deadline it could meet. Exit code 1 when the innocent client saw a failure. Linux only.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)]

mod attacks;
#[path = "../compare/process.rs"]
#[allow(dead_code)]
mod process;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use overspill::cli::load::{Load, Options, Stats};
use socket2::SockRef;

use self::attacks::{Attack, attacks};
use self::process::{Server, TempDir, cpu, free_addresses, resident};

/// Requests per second of the innocent client.
const RATE: f64 = 500.0;
const SLOW: Duration = Duration::from_secs(35);
/// Bytes of the member's large answer.
const LARGE: usize = 8 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let seconds = option("--seconds").map_or(10.0, |text| text.parse().expect("a number"));
    let only = option("--only").unwrap_or_default();
    let _ = rlimit::increase_nofile_limit(65_536);
    let (dir, member) = (TempDir::new().unwrap(), member());
    println!(
        "| attack | CPU | memory | p50 ms | p99 ms | failed | sent away | limits met |\n|---|---|---|---|---|---|---|---|"
    );
    let mut failed = 0;
    for attack in attacks().iter().filter(|attack| attack.name.contains(&only)) {
        let time = if attack.pace.is_some() { SLOW } else { Duration::from_secs_f64(seconds) };
        failed += tried(attack, time, &dir, member);
    }
    ExitCode::from(u8::from(failed > 0))
}

/// One attack on a proxy of its own: prints its line, and gives the innocent client's failures.
fn tried(attack: &Attack, time: Duration, dir: &TempDir, member: SocketAddr) -> u64 {
    let [front, admin] = free_addresses().unwrap();
    let file = dir.write("attack.yaml", document(front, admin, member)).unwrap();
    let serve = ["serve", "-c", &file.display().to_string()].map(str::to_owned);
    let command = [vec![env!("CARGO_BIN_EXE_overspill").to_owned()], serve.to_vec()].concat();
    let server = Server::start("overspill", &command, &[front, admin], dir, None).unwrap();
    while !page(admin, "/readyz").starts_with("HTTP/1.1 200") {
        thread::sleep(Duration::from_millis(50));
    }
    let innocent = Load::start(Options::new(front, RATE)).unwrap();
    // Connections are made, the allocator is warm.
    thread::sleep(Duration::from_secs(3));
    let before = Window::of(&server, &innocent, Duration::from_secs(5));
    let (stop, sent_away) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let attacker = attack.start(front, stop.clone(), sent_away.clone());
    let during = Window::of(&server, &innocent, time);
    stop.store(true, SeqCst);
    attacker.join().unwrap();
    let limits = limits(admin);
    let failed = during.stats.failed();
    drop(innocent);
    println!(
        "| {} | {:.2} → {:.2} | {:.1} → {:.1} MiB | {:.2} → {:.2} | {:.2} → {:.2} | {failed} | {:.0}/s | {limits} |",
        attack.name,
        before.cpu,
        during.cpu,
        before.memory,
        during.memory,
        before.quantile(0.5),
        during.quantile(0.5),
        before.quantile(0.99),
        during.quantile(0.99),
        sent_away.load(SeqCst) as f64 / time.as_secs_f64(),
    );
    failed
}

/// What was seen of the proxy and of the innocent client in some seconds.
struct Window {
    /// Cores.
    cpu: f64,
    /// Most MiB resident.
    memory: f64,
    stats: Stats,
}

impl Window {
    fn of(server: &Server, innocent: &Load, time: Duration) -> Self {
        let (began, cpu, seen) = (Instant::now(), cpu_seconds(server.pid()), innocent.stats());
        let mut memory: f64 = 0.0;
        while began.elapsed() < time {
            memory = memory.max(resident(&[server.pid()]));
            thread::sleep(Duration::from_millis(50));
        }
        let cpu = (cpu_seconds(server.pid()) - cpu) / began.elapsed().as_secs_f64();
        Self { cpu, memory, stats: innocent.stats().since(&seen) }
    }

    fn quantile(&self, part: f64) -> f64 {
        self.stats.latencies.quantile(part).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// User and system time together.
fn cpu_seconds(pid: u32) -> f64 {
    let (user, system) = cpu(&[pid]);
    (user + system) / 1e6
}

/// The limits that were met, by the proxy's own metrics.
fn limits(admin: SocketAddr) -> String {
    let page = page(admin, "/metrics");
    let wanted =
        ["overspill_http2_limits_total{limit=\"", "overspill_outcomes_total{service=\"\",status_details=\""];
    let of_limits = page.lines().filter_map(|line| {
        let rest = wanted.iter().find_map(|name| line.strip_prefix(name))?;
        let (name, count) = rest.split_once("\"} ")?;
        (count != "0").then(|| format!("{name} {count}"))
    });
    let waits = page.lines().filter_map(|line| line.strip_prefix("overspill_buffer_waits_total "));
    let waits = waits.filter(|count| *count != "0").map(|count| format!("buffer waits {count}"));
    of_limits.chain(waits).collect::<Vec<_>>().join(", ")
}

/// Head and body.
fn page(admin: SocketAddr, path: &str) -> String {
    let mut page = String::new();
    let mut stream = TcpStream::connect(admin).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n").unwrap();
    stream.read_to_string(&mut page).unwrap();
    page
}

fn document(front: SocketAddr, admin: SocketAddr, member: SocketAddr) -> String {
    let (port, to) = (front.port(), member.port());
    format!(
        "proxy: {{zone: us-central1-a, workers: 1, admin: {{address: \"{admin}\"}}}}\n\
         forwardingRules: [{{name: f, IPAddress: 127.0.0.1, portRange: \"{port}\", target: p}}]\n\
         targetHttpProxies: [{{name: p, urlMap: m}}]\n\
         urlMaps: [{{name: m, defaultService: s}}]\n\
         backendServices:\n\
         - {{name: s, portName: http, healthChecks: [c], backends: [{{group: g, balancingMode: RATE, maxRate: 1000000}}]}}\n\
         healthChecks:\n- {{name: c, type: HTTP, httpHealthCheck: {{portSpecification: USE_SERVING_PORT}}}}\n\
         instanceGroups:\n- name: g\n  zone: us-central1-a\n  namedPorts: [{{name: http, port: {to}}}]\n  \
         instances: [{{name: i, ipAddress: 127.0.0.1}}]\n"
    )
}

/// A member on threads: two bytes, and megabytes at `/large`. It waits for the ends of bodies, which never come.
fn member() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let large: Arc<[u8]> = vec![b'x'; LARGE].into();
        for stream in listener.incoming().flatten() {
            let large = large.clone();
            let served = thread::Builder::new().stack_size(64 * 1024).spawn(move || answer(stream, &large));
            drop(served);
        }
    });
    address
}

fn answer(mut stream: TcpStream, large: &[u8]) {
    let _ = stream.set_nodelay(true);
    // The system's memory for TCP is one for all who share the machine, which a member does not do.
    let _ = SockRef::from(&stream).set_send_buffer_size(64 * 1024);
    let (mut seen, mut bytes) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        if seen.starts_with(b"POST") {
            continue;
        }
        seen.extend_from_slice(&bytes[..count]);
        while !seen.starts_with(b"POST")
            && let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let is_large = seen.starts_with(b"GET /large");
            seen.drain(..end + 4);
            let body = if is_large { large } else { b"ok" };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            if stream.write_all(&[head.as_bytes(), if is_large { b"" } else { body }].concat()).is_err()
                || is_large && stream.write_all(body).is_err()
            {
                return;
            }
        }
    }
}

impl Attack {
    fn start(&self, at: SocketAddr, stop: Arc<AtomicBool>, sent_away: Arc<AtomicU64>) -> JoinHandle<()> {
        let Self { connections, begin, piece, pace, reads, .. } = *self;
        thread::spawn(move || {
            let mut attackers: Vec<Option<Attacker>> = (0..connections).map(|_| None).collect();
            while !stop.load(SeqCst) {
                let mut is_busy = false;
                for slot in &mut attackers {
                    let Some(attacker) = slot else {
                        *slot = Attacker::connect(at, begin());
                        continue;
                    };
                    match attacker.go_on(piece, pace, reads) {
                        Some(went) => is_busy |= went,
                        None => {
                            sent_away.fetch_add(1, SeqCst);
                            *slot = None;
                            is_busy = true;
                        }
                    }
                }
                if !is_busy {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        })
    }
}

/// One of an attacker's connections.
struct Attacker {
    stream: TcpStream,
    waiting: Vec<u8>,
    pieces: u32,
    last: Instant,
}

impl Attacker {
    fn connect(at: SocketAddr, begin: Vec<u8>) -> Option<Self> {
        let stream = TcpStream::connect(at).ok()?;
        stream.set_nonblocking(true).ok()?;
        // Nor does an attacker.
        SockRef::from(&stream).set_recv_buffer_size(64 * 1024).ok()?;
        Some(Self { stream, waiting: begin, pieces: 0, last: Instant::now() })
    }

    /// Writes and reads what is possible now. Whether that was anything; `None` when the connection has ended.
    fn go_on(&mut self, piece: fn(u32) -> Vec<u8>, pace: Option<Duration>, reads: bool) -> Option<bool> {
        let mut is_busy = false;
        if self.waiting.is_empty() && pace.is_none_or(|pace| self.last.elapsed() >= pace) {
            self.waiting = piece(self.pieces);
            self.pieces += 1;
            self.last = Instant::now();
        }
        match self.stream.write(&self.waiting) {
            Ok(count) => {
                self.waiting.drain(..count);
                is_busy |= count > 0;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
        if reads {
            match self.stream.read(&mut [0; 16 * 1024]) {
                Ok(0) => return None,
                Ok(_) => is_busy = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
        Some(is_busy)
    }
}
