//! wrk, where it is installed, as long as the process is up.

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

pub(crate) struct Wrk(Child);

/// What it has printed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
}

impl Wrk {
    pub(crate) fn start(front: SocketAddr) -> std::io::Result<Self> {
        let url = format!("http://{front}/");
        let arguments = ["-t1", "-c4", "-d86400s", "--timeout", "60s", &url];
        let child = Command::new("wrk").args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        child.map(Self)
    }

    /// Ends it as Ctrl-C does, and reads what it has counted.
    pub(crate) fn stop(mut self) -> Result<Seen, String> {
        let pid = self.0.id().to_string();
        let asked = Command::new("kill").args(["-INT", &pid]).status();
        asked.map_err(|error| format!("wrk cannot be stopped: {error}"))?;
        let mut said = String::new();
        if let Some(mut stdout) = self.0.stdout.take() {
            stdout.read_to_string(&mut said).map_err(|error| error.to_string())?;
        }
        let _ = self.0.wait();
        let number =
            |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>().parse::<u64>().ok();
        let find = |name: &str| said.lines().find(|line| line.contains(name));
        let requests = find(" requests in ").and_then(|line| number(line.trim_start().split(' ').next()?));
        let requests = requests.ok_or_else(|| format!("wrk has said nothing of use: {said}"))?;
        let errors = find("Socket errors").into_iter().flat_map(|line| line.split(',')).filter_map(number);
        let statuses = find("Non-2xx").and_then(number);
        Ok(Seen { requests, failed: errors.sum::<u64>() + statuses.unwrap_or(0) })
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
