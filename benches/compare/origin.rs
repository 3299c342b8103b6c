//! The servers behind all proxies.

use std::fs::File;
use std::net::SocketAddr;

use super::options::Options;
use super::peers::{nginx, words};
use super::process::{Server, TempDir, free_addresses, is_installed};

/// Length of the large answer.
pub(crate) const LARGE: usize = 100 * 1024;
/// Length of the answer for slow readers.
pub(crate) const HUGE: u64 = 100 * 1024 * 1024;
/// Length of the small answer.
const SMALL: usize = 128;

pub(crate) struct Origin {
    _servers: Vec<Server>,
    /// Two addresses that give the small answer.
    pub(crate) small: [SocketAddr; 2],
    pub(crate) large: SocketAddr,
    is_nginx: bool,
}

impl Origin {
    /// nginx where it is installed, else our own toy backend.
    pub(crate) fn start(options: &Options, dir: &TempDir) -> Result<Self, String> {
        let [a, b, large] = free_addresses()?;
        if is_installed("nginx") {
            dir.write("large", "0123456789abcdef".repeat(LARGE / 16))?;
            // A hole: it takes no room.
            let huge = File::create(dir.path().join("huge")).and_then(|file| file.set_len(HUGE));
            huge.map_err(|error| format!("cannot write the answer for slow readers: {error}"))?;
            let config = dir.write("origin.conf", nginx::origin(dir.path(), [a, b], SMALL))?;
            let server = Server::start("origin", &nginx::command(&config, dir.path()), &[a, b], dir, None)?;
            return Ok(Self { _servers: vec![server], small: [a, b], large: a, is_nginx: true });
        }
        let ours = options.toy().display().to_string();
        let toy = |name: &str, at: &[SocketAddr], length: usize| {
            let mut command = words(&[&ours, "backend", "--name", "origin", "--body-bytes"]);
            command.push(length.to_string());
            command.extend(at.iter().flat_map(|address| ["--listen".to_owned(), address.to_string()]));
            Server::start(name, &command, at, dir, None)
        };
        let servers = vec![toy("origin", &[a, b], SMALL)?, toy("origin-large", &[large], LARGE)?];
        Ok(Self { _servers: servers, small: [a, b], large, is_nginx: false })
    }

    pub(crate) fn is_nginx(&self) -> bool {
        self.is_nginx
    }

    pub(crate) fn what(&self) -> &'static str {
        if self.is_nginx { "nginx, one worker" } else { "`overspill backend`, since nginx is not installed" }
    }
}
