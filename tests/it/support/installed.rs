//! `overspill serve` as an installation has it: a folder, a link to the binary, a file, a log, and processes.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;

use super::client::Client;
use super::setup::Setup;
use super::{PATIENCE, wait_until};

/// A folder of its own with a link to the binary, as an installation has it.
pub(crate) struct Installation {
    pub(crate) folder: PathBuf,
    pub(crate) front: SocketAddr,
    pub(crate) admin: SocketAddr,
    successors: RefCell<Vec<u64>>,
}

/// An address of this machine that nobody else uses: a port of 127.0.0.1 could be another's client's a moment later.
pub(crate) fn free() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Relaxed));
    TcpListener::bind((own, 0)).unwrap().local_addr().unwrap()
}

impl Installation {
    pub(crate) fn new(name: &str, setup: &Setup) -> Self {
        let folder = std::env::temp_dir().join(format!("overspill-it-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let new = Self { folder, front: free(), admin: free(), successors: RefCell::default() };
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_overspill"), new.binary()).unwrap();
        new.write(&new.text(setup));
        new
    }

    pub(crate) fn binary(&self) -> PathBuf {
        self.folder.join("overspill")
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("overspill.yaml")
    }

    pub(crate) fn text(&self, setup: &Setup) -> String {
        let text = setup.clone().fronts(&[("web", &self.front.port().to_string())]).text();
        text.replace("IPAddress: 127.0.0.1", &format!("IPAddress: {}", self.front.ip()))
    }

    /// As editors write: a new file in the old one's place.
    pub(crate) fn write(&self, text: &str) {
        let aside = self.folder.join("new");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(&aside, self.file()).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// What `serve` is called with; its standard error goes to a file.
    pub(crate) fn prepare(&self, mut command: Command) -> Command {
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        command.arg("serve").arg("-c").arg(self.file()).args(["--admin", &self.admin.to_string()]);
        command.stdout(Stdio::null()).stderr(log);
        command
    }

    pub(crate) fn serve(&self) -> Served<'_> {
        self.spawn(self.prepare(Command::new(self.binary())))
    }

    /// The same behind a line of shell that ends with `exec "$0" "$@"`.
    pub(crate) fn serve_by(&self, script: &str, edit: impl FnOnce(&mut Command)) -> Served<'_> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(self.binary());
        let mut command = self.prepare(command);
        edit(&mut command);
        self.spawn(command)
    }

    pub(crate) fn spawn(&self, mut command: Command) -> Served<'_> {
        let served = self.own(command.spawn().unwrap());
        wait_until("it is ready", || self.is_ready());
        served
    }

    /// Ends with the test, however that ends.
    pub(crate) fn own(&self, child: Child) -> Served<'_> {
        Served { child, of: self }
    }

    pub(crate) fn is_ready(&self) -> bool {
        let up = std::net::TcpStream::connect(self.admin).is_ok();
        up && Client::to_admin(self.admin).get("/readyz").status == 200
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_slice(&Client::to_admin(self.admin).get("/status").body).unwrap()
    }

    pub(crate) fn pid(&self) -> u64 {
        self.status()["pid"].as_u64().unwrap()
    }

    pub(crate) fn metric(&self, line: &str) -> bool {
        Client::to_admin(self.admin).get("/metrics").text().lines().any(|l| l == line)
    }

    /// Value of the only sample of this name.
    pub(crate) fn metric_of(&self, name: &str) -> Option<u64> {
        let page = Client::to_admin(self.admin).get("/metrics").text();
        let mut lines = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        lines.next()?.rsplit(' ').next()?.parse().ok()
    }

    pub(crate) fn get(&self) -> String {
        Client::to(self.front).get("/").backend().to_owned()
    }

    /// `overspill upgrade`.
    pub(crate) fn upgrade(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_overspill"))
            .args(["upgrade", "--admin", &self.admin.to_string()])
            .output()
            .unwrap()
    }

    /// The number of the process that serves now.
    #[track_caller]
    pub(crate) fn upgraded(&self) -> u64 {
        let output = self.upgrade();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}\n{}", self.log());
        let new = String::from_utf8(output.stdout).unwrap();
        let new = new.split(' ').nth(1).unwrap().parse().unwrap();
        self.successors.borrow_mut().push(new);
        new
    }

    /// Why it was not upgraded.
    #[track_caller]
    pub(crate) fn refused(&self) -> String {
        let output = self.upgrade();
        assert_eq!(output.status.code(), Some(1), "{}", self.log());
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The first process. Whichever serves when this is dropped is ended.
pub(crate) struct Served<'a> {
    pub(crate) child: Child,
    of: &'a Installation,
}

impl Served<'_> {
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.child.id().into());
    }

    #[track_caller]
    pub(crate) fn wait_end(&mut self) -> Option<i32> {
        let mut end = None;
        // Its own limit to drain, and what a busy machine adds.
        let limit = std::time::Instant::now() + 6 * PATIENCE;
        while end.is_none() {
            assert!(std::time::Instant::now() < limit, "the process did not end\n{}", self.of.log());
            end = self.child.try_wait().unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        end.unwrap().code()
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        for pid in self.of.successors.borrow_mut().drain(..) {
            // Its number may be another's by now; its command line names this folder.
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if line.contains(&*self.of.folder.to_string_lossy()) {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(name: &str, pid: u64) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.unwrap().success(), "kill -{name} {pid}");
}
