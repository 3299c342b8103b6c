//! Children, ports and a folder for their files; all of them end with the guard that stands for them.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a server may take to listen, and to give a right answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(10);
/// How long a server may take to end that is asked to.
const GRACE: Duration = Duration::from_secs(2);

/// A folder of our own below the system's temporary one, removed at the end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("overspill-compare-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, in a folder of it where `name` says so, and returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, String> {
        let path = self.0.join(name);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        folder
            .and_then(|()| fs::write(&path, content))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `N` ports of the loopback address that nobody listens on.
pub(crate) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N], String> {
    let whole = |error| format!("no free port: {error}");
    // All are held until all are known, else the system might give one out twice.
    let mut held = Vec::new();
    for _ in 0..N {
        held.push(TcpListener::bind("127.0.0.1:0").map_err(whole)?);
    }
    let addresses = held.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>().map_err(whole)?;
    addresses.try_into().map_err(|_| "no free port".to_owned())
}

/// Whether a program is on the path, or where Debian puts servers.
pub(crate) fn is_installed(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", "PATH=$PATH:/usr/sbin:/usr/local/sbin; command -v \"$0\"", program])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A server under way. Dropping it ends it and its own children.
pub(crate) struct Server {
    child: Child,
    name: String,
    output: PathBuf,
}

impl Server {
    /// Starts `command` through a search path that has the folders of servers, and waits until it accepts on all of
    /// `addresses`. What it says goes to a file, which an error quotes; `log` takes its standard output instead.
    pub(crate) fn start(
        name: &str,
        command: &[String],
        addresses: &[SocketAddr],
        dir: &TempDir,
        log: Option<&Path>,
    ) -> Result<Self, String> {
        let output = dir.path().join(format!("{name}.out"));
        let open = |path: &Path| {
            File::create(path).map_err(|error| format!("cannot create {}: {error}", path.display()))
        };
        let (stderr, stdout) =
            (open(&output)?, open(log.unwrap_or(&dir.path().join(format!("{name}.said"))))?);
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let (program, arguments) = command.split_first().ok_or("no command")?;
        let child = Command::new(program)
            .args(arguments)
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        let mut server = Self { child, name: name.to_owned(), output };
        addresses.iter().try_for_each(|address| server.wait_for(*address))?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// It and its own children: for nginx, the worker.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.pid()];
        pids.extend(children_of(self.pid()));
        pids
    }

    /// As a crash would end it.
    #[allow(dead_code, reason = "`control`, which shares this file, kills; `compare` does not")]
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, so that nginx ends its worker too; whether it did in that time.
    pub(crate) fn end(&mut self, patience: Duration) -> bool {
        let is_running = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        if is_running(&mut self.child) {
            signal("TERM", &[self.pid()]);
        }
        let until = Instant::now() + patience;
        while is_running(&mut self.child) && Instant::now() < until {
            sleep(STEP);
        }
        !is_running(&mut self.child)
    }

    fn wait_for(&mut self, address: SocketAddr) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect_timeout(&address, STEP).is_err() {
            let has_ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if has_ended || Instant::now() > until {
                let said = fs::read_to_string(&self.output).unwrap_or_default();
                return Err(format!("{} does not listen on {address}:\n{said}", self.name));
            }
            sleep(STEP);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.end(GRACE) {
            let pids = self.pids();
            signal("KILL", pids.get(1..).unwrap_or_default());
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Std can only kill.
fn signal(name: &str, pids: &[u32]) {
    for pid in pids {
        let command = format!("kill -{name} {pid}");
        let _ = Command::new("sh").args(["-c", &command]).stderr(Stdio::null()).status();
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| stat_fields(*pid).get(1).and_then(|field| field.parse().ok()) == Some(parent)).collect()
}

/// Fields of `/proc/PID/stat` after the name, which may hold blanks: state, parent, …
fn stat_fields(pid: u32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().map(str::to_owned).collect()
}

/// User and system time of these processes with all their threads, microseconds.
pub(crate) fn cpu(pids: &[u32]) -> (f64, f64) {
    let tick = 1e6 / ticks_per_second();
    pids.iter().fold((0.0, 0.0), |(user, system), pid| {
        let fields = stat_fields(*pid);
        let time = |place: usize| fields.get(place).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0) * tick;
        (user + time(11), system + time(12))
    })
}

fn ticks_per_second() -> f64 {
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| {
        let output = Command::new("getconf").arg("CLK_TCK").output();
        output.ok().and_then(|o| String::from_utf8_lossy(&o.stdout).trim().parse().ok()).unwrap_or(100.0)
    })
}

/// Resident memory of the largest of these processes, MiB: nginx's master shares its pages with the worker.
pub(crate) fn resident(pids: &[u32]) -> f64 {
    let of = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kib.unwrap_or(0.0) / 1024.0
    };
    pids.iter().map(of).fold(0.0, f64::max)
}
