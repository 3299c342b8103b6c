//! `LOCAL_PROCESS`: utilization of members on this host, from the CPU time of the processes behind their ports.
//!
//! A member's processes are all that hold a socket on which it serves: one for most servers, parent and workers for
//! those that fork before they accept. Utilization is the CPU time that they used between two readings ÷ the time
//! between ÷ `cores`. A process that serves several members counts in full for each of them.
//!
//! Finding the processes means reading the descriptors of every process, so it is done for all members in one go, at
//! most once in [`SCAN_PAUSE`], and only when someone is missing or [`RESCAN`] has passed. In between, a reading is
//! one small file per process. Everything here blocks: it belongs on a thread of its own.
//!
//! Linux alone has these files. Elsewhere, and for processes of another user, members have no reading.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use super::proc_files::{Listening, Stat, TICKS_PER_SECOND, listening, serving, socket_inode, stat};
use crate::model::unit::{Ratio, Span, Tick};

/// Shortest time between two searches through all processes.
pub const SCAN_PAUSE: Span = Span::secs(2);

/// After this, processes are searched again though none is missing: a server may have started more workers.
pub const RESCAN: Span = Span::secs(10);

/// A member to watch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Where it serves.
    pub address: SocketAddr,
    /// How many busy cores count as utilization 1; above 0.
    pub cores: f64,
    /// From reading to reading.
    pub interval: Span,
}

/// What a round found out about a member.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// Its utilization since the last reading.
    Used(Ratio),
    /// Found; the next reading will tell, this was the first.
    Begun,
    /// Nothing on this host listens there.
    NotListening,
    /// Something listens there, and its process is not visible to this user.
    Hidden,
    /// This system has no such files.
    Unsupported,
}

impl Reading {
    /// In words, for logs; `None` when all is well.
    #[must_use]
    pub const fn complaint(self) -> Option<&'static str> {
        match self {
            Self::Used(_) | Self::Begun => None,
            Self::NotListening => Some("no process on this host listens there"),
            Self::Hidden => Some("the process that listens there belongs to another user"),
            Self::Unsupported => Some("this system has no /proc/net/tcp"),
        }
    }
}

/// Remembers who serves whom, and the last readings.
#[derive(Debug)]
pub struct Sampler {
    proc: PathBuf,
    known: HashMap<SocketAddr, Known>,
    last_scan: Option<Tick>,
}

/// What is known of one member.
#[derive(Debug, Default)]
struct Known {
    /// CPU time of its processes at the last reading, by number.
    processes: HashMap<u32, Stat>,
    read_at: Option<Tick>,
    /// Why it has none.
    missing: Option<Reading>,
    /// A process of its has ended since the last search.
    has_lost: bool,
}

impl Sampler {
    /// Reads `/proc`.
    #[must_use]
    pub fn new() -> Self {
        Self::with_root(Path::new("/proc"))
    }

    fn with_root(proc: &Path) -> Self {
        Self { proc: proc.to_owned(), known: HashMap::new(), last_scan: None }
    }

    /// Readings of the targets that are due. A target that is not named any more is forgotten. `now` is asked once
    /// per reading, since a search takes its time.
    pub fn round(&mut self, targets: &[Target], now: impl Fn() -> Tick) -> Vec<(SocketAddr, Reading)> {
        let wanted: HashSet<SocketAddr> = targets.iter().map(|t| t.address).collect();
        self.known.retain(|address, _| wanted.contains(address));
        for target in targets {
            self.known.entry(target.address).or_default();
        }
        if self.must_scan(now()) {
            self.scan();
            self.last_scan = Some(now());
        }
        let mut readings = Vec::with_capacity(targets.len());
        for target in targets {
            let Some(known) = self.known.get_mut(&target.address) else { continue };
            if known.is_due(target.interval, now()) {
                readings.push((target.address, known.read(&self.proc, target.cores, now())));
            }
        }
        readings
    }

    fn must_scan(&self, now: Tick) -> bool {
        let Some(last) = self.last_scan else { return !self.known.is_empty() };
        let since = now.since(last);
        let is_missing = |known: &Known| known.processes.is_empty() || known.has_lost;
        since >= RESCAN || (since >= SCAN_PAUSE && self.known.values().any(is_missing))
    }

    /// Finds the processes of all known members.
    fn scan(&mut self) {
        let Some(sockets) = self.sockets() else {
            for known in self.known.values_mut() {
                known.miss(Reading::Unsupported);
            }
            return;
        };
        let served: HashMap<SocketAddr, Vec<u64>> = self
            .known
            .keys()
            .map(|member| {
                (*member, if is_local(member.ip()) { serving(&sockets, *member) } else { Vec::new() })
            })
            .collect();
        let holders = self.holders(&served.values().flatten().copied().collect());
        for (member, known) in &mut self.known {
            let inodes = served.get(member).map(Vec::as_slice).unwrap_or_default();
            if inodes.is_empty() {
                known.miss(Reading::NotListening);
                continue;
            }
            let numbers: HashSet<u32> =
                inodes.iter().filter_map(|i| holders.get(i)).flatten().copied().collect();
            known.adopt(&numbers, &self.proc);
        }
    }

    /// All listening sockets; `None` when the system does not tell.
    fn sockets(&self) -> Option<Vec<Listening>> {
        let v4 = fs::read_to_string(self.proc.join("net/tcp")).ok()?;
        // Missing where IPv6 is off.
        let v6 = fs::read_to_string(self.proc.join("net/tcp6")).unwrap_or_default();
        Some(listening(&v4).chain(listening(&v6)).collect())
    }

    /// Which processes hold which of these sockets. Processes that end meanwhile and those that we may not look into
    /// are skipped.
    fn holders(&self, inodes: &HashSet<u64>) -> HashMap<u64, Vec<u32>> {
        let mut holders: HashMap<u64, Vec<u32>> = HashMap::new();
        if inodes.is_empty() {
            return holders;
        }
        let entries = fs::read_dir(&self.proc).into_iter().flatten().flatten();
        for number in entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()) {
            let links =
                fs::read_dir(self.proc.join(number.to_string()).join("fd")).into_iter().flatten().flatten();
            for link in links.filter_map(|l| fs::read_link(l.path()).ok()) {
                if let Some(inode) = link.to_str().and_then(socket_inode).filter(|i| inodes.contains(i)) {
                    holders.entry(inode).or_default().push(number);
                }
            }
        }
        holders
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self::new()
    }
}

impl Known {
    /// A little early counts as due, or a timer's jitter would skip every other reading.
    fn is_due(&self, interval: Span, now: Tick) -> bool {
        self.read_at.is_none_or(|last| now.since(last) >= Span(interval.0 / 10 * 9))
    }

    fn miss(&mut self, why: Reading) {
        self.processes.clear();
        self.missing = Some(why);
    }

    /// Takes over who was found. Those known before keep their last reading; newcomers begin with this one. When all
    /// are new, so is the member: time before them would make them look idle.
    fn adopt(&mut self, numbers: &HashSet<u32>, proc: &Path) {
        let found: HashMap<u32, Stat> =
            numbers.iter().filter_map(|n| Some((*n, read_stat(proc, *n)?))).collect();
        if found.is_empty() {
            self.miss(Reading::Hidden);
            return;
        }
        self.processes.retain(|number, before| found.get(number).is_some_and(|s| s.began == before.began));
        if self.processes.is_empty() {
            self.read_at = None;
        }
        for (number, fresh) in found {
            self.processes.entry(number).or_insert(fresh);
        }
        (self.missing, self.has_lost) = (None, false);
    }

    /// CPU time since the last reading, of the processes that were there then and are there still.
    fn read(&mut self, proc: &Path, cores: f64, now: Tick) -> Reading {
        let last = self.read_at.replace(now);
        if let Some(why) = self.missing {
            return why;
        }
        let (mut used, held) = (0_u64, self.processes.len());
        self.processes.retain(|number, before| {
            let Some(after) = read_stat(proc, *number).filter(|s| s.began == before.began) else {
                return false;
            };
            used = used.saturating_add(after.cpu.saturating_sub(before.cpu));
            *before = after;
            true
        });
        self.has_lost |= self.processes.len() < held;
        if self.processes.is_empty() {
            // Ended since the last search; the next one says what is there now.
            return Reading::NotListening;
        }
        match last {
            Some(last) => Reading::Used(utilization(used, now.since(last), cores)),
            None => Reading::Begun,
        }
    }
}

/// CPU ticks used in this time, as a part of so many cores.
#[allow(clippy::cast_precision_loss)]
fn utilization(ticks: u64, time: Span, cores: f64) -> Ratio {
    let busy = ticks as f64 / TICKS_PER_SECOND as f64;
    // No time or no cores: infinite or not a number, neither of which is a reading.
    let value = busy / (time.as_secs() * cores);
    Ratio::new(if value.is_finite() { value } else { 0.0 })
}

fn read_stat(proc: &Path, number: u32) -> Option<Stat> {
    // Bytes first: the name in it need not be UTF-8.
    let bytes = fs::read(proc.join(number.to_string()).join("stat")).ok()?;
    stat(&String::from_utf8_lossy(&bytes))
}

/// Whether this host has the address: only then may a wildcard socket of ours be the member's.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    /// A made-up `/proc`; removed when dropped.
    struct FakeProc {
        root: PathBuf,
        now: Cell<Tick>,
    }

    impl FakeProc {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let unique = format!("overspill-proc-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
            let root = std::env::temp_dir().join(unique);
            fs::create_dir_all(root.join("net")).unwrap();
            let this = Self { root, now: Cell::new(Tick(1)) };
            this.listens(&[]);
            this
        }

        /// Sockets that listen on 127.0.0.1: port and inode.
        fn listens(&self, sockets: &[(u16, u64)]) {
            let line = |(port, inode): &(u16, u64)| {
                format!("0: 0100007F:{port:04X} 0:0 0A 0:0 0:0 0 0 0 {inode} 1\n")
            };
            fs::write(self.root.join("net/tcp"), sockets.iter().map(line).collect::<String>()).unwrap();
        }

        fn process(&self, number: u32, began: u64, inodes: &[u64]) {
            let fd = self.root.join(number.to_string()).join("fd");
            fs::create_dir_all(&fd).unwrap();
            for (n, inode) in inodes.iter().enumerate() {
                std::os::unix::fs::symlink(format!("socket:[{inode}]"), fd.join(n.to_string())).unwrap();
            }
            self.has_used(number, began, 0);
        }

        fn has_used(&self, number: u32, began: u64, ticks: u64) {
            let text =
                format!("{number} (a b) c) R 1 1 1 0 -1 4 98 0 0 0 {ticks} 0 0 0 20 0 1 0 {began} 3\n");
            fs::write(self.root.join(number.to_string()).join("stat"), text).unwrap();
        }

        fn ends(&self, number: u32) {
            fs::remove_dir_all(self.root.join(number.to_string())).unwrap();
        }

        /// Lets time pass, then takes a round for one member.
        fn round(&self, sampler: &mut Sampler, after: Span) -> Reading {
            self.now.set(self.now.get() + after);
            let readings = sampler.round(&[target(8080, 1.0)], || self.now.get());
            readings.first().unwrap().1
        }
    }

    impl Drop for FakeProc {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    fn target(port: u16, cores: f64) -> Target {
        Target { address: SocketAddr::from(([127, 0, 0, 1], port)), cores, interval: Span::secs(1) }
    }

    fn used(ratio: f64) -> Reading {
        Reading::Used(Ratio::new(ratio))
    }

    #[test]
    fn utilization_is_cpu_time_by_time_by_cores() {
        for (ticks, time, cores, expected) in [
            (50, Span::secs(1), 1.0, 0.5),
            (50, Span::secs(1), 2.0, 0.25),
            (300, Span::secs(2), 1.0, 1.5),
            (5, Span::ZERO, 1.0, 0.0),
        ] {
            assert_eq!(utilization(ticks, time, cores), Ratio::new(expected));
        }
    }

    #[test]
    fn the_process_behind_the_port_is_found_and_its_cpu_read() {
        let proc = FakeProc::new();
        let mut sampler = Sampler::with_root(&proc.root);
        proc.listens(&[(8080, 7)]);
        proc.process(100, 5, &[3, 7]);
        proc.process(200, 5, &[8]);
        proc.has_used(100, 5, 1000);
        assert_eq!(proc.round(&mut sampler, Span::secs(1)), Reading::Begun);
        proc.has_used(100, 5, 1070);
        proc.has_used(200, 5, 9999);
        assert_eq!(proc.round(&mut sampler, Span::secs(1)), used(0.7));
    }

    #[test]
    fn workers_that_share_a_listener_are_summed() {
        let proc = FakeProc::new();
        let mut sampler = Sampler::with_root(&proc.root);
        proc.listens(&[(8080, 7)]);
        for number in [100, 101, 102] {
            proc.process(number, 5, &[7]);
        }
        proc.round(&mut sampler, Span::secs(1));
        proc.has_used(101, 5, 30);
        proc.has_used(102, 5, 40);
        assert_eq!(proc.round(&mut sampler, Span::secs(1)), used(0.7));
    }

    #[test]
    fn a_worker_started_later_is_found_by_and_by_and_its_past_is_not_counted() {
        let proc = FakeProc::new();
        let mut sampler = Sampler::with_root(&proc.root);
        proc.listens(&[(8080, 7)]);
        proc.process(100, 5, &[7]);
        proc.round(&mut sampler, Span::secs(1));
        proc.process(101, 6, &[7]);
        proc.has_used(101, 6, 500);
        assert_eq!(proc.round(&mut sampler, RESCAN), used(0.0));
        proc.has_used(101, 6, 550);
        assert_eq!(proc.round(&mut sampler, Span::secs(1)), used(0.5));
    }

    #[test]
    fn a_restarted_server_is_found_again_and_does_not_look_idle_meanwhile() {
        let proc = FakeProc::new();
        let mut sampler = Sampler::with_root(&proc.root);
        proc.listens(&[(8080, 7)]);
        proc.process(100, 5, &[7]);
        proc.round(&mut sampler, Span::secs(1));
        proc.ends(100);
        proc.listens(&[(8080, 9)]);
        proc.process(300, 8, &[9]);
        assert_eq!(proc.round(&mut sampler, Span::secs(1)), Reading::NotListening);
        assert_eq!(proc.round(&mut sampler, SCAN_PAUSE), Reading::Begun);
        proc.has_used(300, 8, 20);
        assert_eq!(proc.round(&mut sampler, Span::secs(1)), used(0.2));
    }

    #[test]
    fn a_number_that_another_process_got_is_not_mistaken_for_the_old_one() {
        let proc = FakeProc::new();
        let mut sampler = Sampler::with_root(&proc.root);
        proc.listens(&[(8080, 7)]);
        proc.process(100, 5, &[7]);
        proc.round(&mut sampler, Span::secs(1));
        proc.has_used(100, 9, 4000);
        assert_eq!(proc.round(&mut sampler, Span::secs(1)), Reading::NotListening);
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        let proc = FakeProc::new();
        let mut sampler = Sampler::with_root(&proc.root);
        assert_eq!(proc.round(&mut sampler, Span::secs(1)), Reading::NotListening);
        proc.listens(&[(8080, 7)]);
        assert_eq!(proc.round(&mut sampler, SCAN_PAUSE), Reading::Hidden);
        let mut elsewhere = Sampler::with_root(Path::new("/nonexistent"));
        assert_eq!(proc.round(&mut elsewhere, Span::secs(1)), Reading::Unsupported);
    }

    #[test]
    fn a_target_is_read_at_its_own_interval() {
        let proc = FakeProc::new();
        let mut sampler = Sampler::with_root(&proc.root);
        let targets = [target(8080, 1.0), Target { interval: Span::secs(5), ..target(8081, 1.0) }];
        let rounds: Vec<usize> = (0..11)
            .map(|_| {
                proc.now.set(proc.now.get() + Span::secs(1));
                sampler.round(&targets, || proc.now.get()).len()
            })
            .collect();
        assert_eq!(rounds, [2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 2]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_burns_cpu_behind_its_port_is_seen_to_do_so() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target =
            Target { interval: Span::millis(300), ..target(listener.local_addr().unwrap().port(), 1.0) };
        let mut sampler = Sampler::new();
        let mut read = || sampler.round(&[target], crate::clock::now);
        let hasty = |readings: Vec<(SocketAddr, Reading)>| readings.first().map(|r| r.1);
        let began = crate::clock::now();
        assert_eq!(hasty(read()), Some(Reading::Begun));
        // However little of a core others leave: this thread's own 400 ms of it, which take longer than the interval.
        let used = || stat(&fs::read_to_string("/proc/thread-self/stat").unwrap()).unwrap().cpu;
        let before = used();
        while used() < before + 40 {
            std::hint::spin_loop();
        }
        let seen = hasty(read());
        let took = crate::clock::now().since(began).as_secs();
        // Other tests of this process use some too; a tick more or less at each end.
        assert!(
            matches!(seen, Some(Reading::Used(ratio)) if ratio.get() * took > 0.37),
            "{seen:?} in {took} s"
        );
    }
}
