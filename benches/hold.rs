//! Whether targets are held over real sockets, by members that really burn CPU, with two workers.
//!
//! `cargo bench --bench hold -- --seconds 10 --windows 3`. The members of the two CPU targets are processes of their own
//! (`overspill backend --cpu 2ms`), under an open-loop load that is too much for the near one; what they use is read
//! from `/proc/PID/schedstat`, beside the balancer: UTILIZATION finds it out itself (LOCAL_PROCESS), CUSTOM_METRICS by
//! what members report with their answers. IN_FLIGHT and CONNECTION are counted at the members: the most that was ever
//! there at a time. Exit code 1 when a window is more than 5 % off its target or a count was ever exceeded. Linux only.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)]

mod balancer;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use overspill::cli::load::{Load, Options};
use overspill::cli::toy::{self, ToyBackend};

use self::balancer::Balancer;

/// A member's CPU allotment: so much of a core is utilization 1.
const CORES: f64 = 0.5;
const TARGET: f64 = 0.6;
/// Requests (or connections) at a time.
const MOST: u64 = 10;
/// From the first request to the first window.
const SETTLE: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str, or: f64| {
        let value = arguments.iter().position(|argument| argument == name).map(|at| &arguments[at + 1]);
        value.map_or(or, |value| value.parse().expect("a number"))
    };
    let window = Duration::from_secs_f64(option("--seconds", 10.0));
    let windows = option("--windows", 3.0) as usize;
    println!("mode             target     held   deviation   per window of {window:?}, 2 workers");
    let source = format!("{{source: LOCAL_PROCESS, cores: {CORES}, intervalSec: 0.5}}");
    let metric = format!("{{name: orca.cpu_utilization, maxUtilization: {TARGET}}}");
    let is_held = [
        cpu("UTILIZATION", &format!("maxUtilization: {TARGET}"), &source, (window, windows)),
        cpu(
            "CUSTOM_METRICS",
            &format!("customMetrics: [{metric}]"),
            "{source: ORCA_HEADER}",
            (window, windows),
        ),
        in_flight(window * 2),
        connection(window * 2),
    ];
    ExitCode::from(u8::from(!is_held.iter().all(|is_held| *is_held)))
}

/// Two near members that burn CPU, and a far one that takes what is over.
fn cpu(mode: &str, target: &str, source: &str, (window, windows): (Duration, usize)) -> bool {
    let near = ["near-1", "near-2"]
        .map(|name| Process::start(name, &["--cpu", "2ms", "--cores", &CORES.to_string()]));
    let far = Process::start("far", &[]);
    let near_members: Vec<_> = near.iter().map(|process| process.address).collect();
    let near_backend =
        Group { mode: format!("balancingMode: {mode}, {target}"), source, members: &near_members };
    let lb = Balancer::start(&document("HTTP", &near_backend, far.address), |_| {});
    // Twice of what the near ones can take at their target, or more: a request costs 2 ms and its handling.
    let load = Load::start(Options::new(lb.address, 4.0 * TARGET * CORES / 0.002)).unwrap();
    std::thread::sleep(SETTLE);
    let mut is_held = true;
    for _ in 0..windows {
        let cpu = || near.iter().map(Process::cpu_seconds).sum::<f64>();
        let (began, before) = (Instant::now(), cpu());
        std::thread::sleep(window);
        let held = (cpu() - before) / began.elapsed().as_secs_f64() / CORES / near.len() as f64;
        let deviation = held / TARGET - 1.0;
        println!("{mode:<16} {TARGET:>6.3} {held:>8.3} {:>+9.2} %", 100.0 * deviation);
        is_held &= deviation.abs() <= 0.05;
    }
    let stats = load.stop();
    println!(
        "{mode:<16} {} requests, {} of them far, {} failed",
        stats.sent,
        stats.backend("far"),
        stats.failed()
    );
    is_held && stats.failed() == 0 && stats.backend("far") > 0
}

fn in_flight(time: Duration) -> bool {
    let [near, far] = ["near", "far"].map(|name| {
        let mut options = toy::Options::new(name);
        options.settings.latency = Duration::from_millis(20);
        ToyBackend::start(options).unwrap()
    });
    let mode = format!("balancingMode: IN_FLIGHT, trafficDuration: LONG, maxInFlightRequests: {MOST}");
    let near_backend = Group { mode, source: "{source: ORCA_HEADER}", members: &[near.address()] };
    let lb = Balancer::start(&document("HTTP", &near_backend, far.address()), |_| {});
    let load = Load::start(Options::new(lb.address, 2_000.0)).unwrap();
    std::thread::sleep(time);
    let stats = load.stop();
    let most = near.most_under_way();
    println!(
        "{:<16} {MOST:>6} {most:>8}  most ever, of {} requests, {} far, {} failed",
        "IN_FLIGHT",
        stats.sent,
        stats.backend("far"),
        stats.failed()
    );
    most <= MOST && stats.failed() == 0 && stats.backend("far") > 0
}

/// Clients that connect, say a word, hear it again and leave, over and over.
fn connection(time: Duration) -> bool {
    let (near, far) = (Echo::start(), Echo::start());
    let mode = format!("balancingMode: CONNECTION, maxConnections: {MOST}");
    let near_backend = Group { mode, source: "{source: ORCA_HEADER}", members: &[near.address] };
    let lb = Balancer::start(&document("TCP", &near_backend, far.address), |_| {});
    let (end, address) = (Instant::now() + time, lb.address);
    let clients: Vec<_> = (0..24)
        .map(|_| {
            std::thread::spawn(move || {
                let mut failed = 0;
                while Instant::now() < end {
                    failed += u64::from(talk(address).is_err());
                }
                failed
            })
        })
        .collect();
    let failed: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    let (most, all) = (near.most.load(SeqCst), near.all.load(SeqCst));
    let away = far.all.load(SeqCst);
    println!(
        "{:<16} {MOST:>6} {most:>8}  most ever, of {} connections, {away} far, {failed} failed",
        "CONNECTION",
        all + away
    );
    most <= MOST && failed == 0 && away > 0
}

fn talk(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(b"ping")?;
    stream.read_exact(&mut [0; 4])?;
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

/// `overspill backend` as a process of its own.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(name: &str, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_overspill"))
            .args(["backend", "--listen", "127.0.0.1:0", "--name", name])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().parse().expect("an address");
        Self { child, address }
    }

    /// Of all its threads, since it began.
    fn cpu_seconds(&self) -> f64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanos = threads.flatten().filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        nanos.sum::<u64>() as f64 / 1e9
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Repeats what it hears, and counts who is there.
struct Echo {
    address: SocketAddr,
    most: Arc<AtomicU64>,
    all: Arc<AtomicU64>,
}

impl Echo {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counts: [Arc<AtomicU64>; 3] = Default::default();
        let [now, most, all] = counts.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (now, most, all) = (now.clone(), most.clone(), all.clone());
                std::thread::spawn(move || {
                    let mut bytes = [0; 1024];
                    let mut is_counted = false;
                    while let Ok(count @ 1..) = stream.read(&mut bytes) {
                        // Health checks say nothing.
                        if !std::mem::replace(&mut is_counted, true) {
                            all.fetch_add(1, SeqCst);
                            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                        }
                        let _ = stream.write_all(&bytes[..count]);
                    }
                    // Before the other side can know that this one has ended.
                    if is_counted {
                        now.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
        let [_, most, all] = counts;
        Self { address, most, all }
    }
}

/// The near backend.
struct Group<'a> {
    mode: String,
    source: &'a str,
    members: &'a [SocketAddr],
}

fn document(protocol: &str, near: &Group<'_>, far: SocketAddr) -> String {
    let (front, check) = match protocol {
        "TCP" => ("targetTcpProxies: [{name: p, service: s}]\n", "type: TCP, tcpHealthCheck: {"),
        _ => (
            "targetHttpProxies: [{name: p, urlMap: m}]\nurlMaps: [{name: m, defaultService: s}]\n",
            "type: HTTP, httpHealthCheck: {requestPath: /healthz, ",
        ),
    };
    // What the far one can take is no question here.
    let far_mode = match protocol {
        "TCP" => "balancingMode: CONNECTION, maxConnections: 1000000",
        _ => "balancingMode: RATE, maxRate: 1000000",
    };
    let mut text = format!(
        "proxy: {{zone: us-central1-a, accessLog: {{path: none}}}}\n\
         forwardingRules: [{{name: f, IPAddress: 127.0.0.1, portRange: \"0\", target: p}}]\n{front}\
         backendServices:\n\
         - name: s\n  protocol: {protocol}\n  portName: http\n  healthChecks: [c]\n  \
         backends: [{{group: near, {}}}, {{group: far, {far_mode}}}]\n\
         healthChecks:\n- {{name: c, unhealthyThreshold: 10, {check}portSpecification: USE_SERVING_PORT}}}}\n\
         instanceGroups:\n",
        near.mode
    );
    for (name, zone, source, members) in [
        ("near", "us-central1-a", near.source, near.members),
        ("far", "europe-west1-b", "{source: ORCA_HEADER}", &[far]),
    ] {
        let _ = writeln!(
            text,
            "- name: {name}\n  zone: {zone}\n  utilization: {source}\n  namedPorts: [{{name: http, port: 1}}]\n  instances:"
        );
        for (n, member) in members.iter().enumerate() {
            let (ip, port) = (member.ip(), member.port());
            let _ = writeln!(text, "  - {{name: {name}-{n}, ipAddress: {ip}, ports: {{http: {port}}}}}");
        }
    }
    text
}
