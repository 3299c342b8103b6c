//! The proxies, each with so many threads, the same headers added, and keep-alive on both sides.

pub(crate) mod envoy;
pub(crate) mod haproxy;
pub(crate) mod log;
pub(crate) mod nginx;
pub(crate) mod overspill;
pub(crate) mod relay;

use std::net::SocketAddr;
use std::path::Path;

use super::options::Options;
use super::process::{Server, TempDir, free_addresses, is_installed};
use super::secure;

/// How the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// HTTP/1.1 in clear.
    Clear,
    /// HTTP/1.1 over TLS 1.3.
    Tls,
    /// HTTP/2 over TLS 1.3.
    Http2,
}

/// What is switched on in the proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extras {
    None,
    /// A line per request into a file, alike for all.
    AccessLog,
    /// Sessions, health checks, load reports, and the same log of a sample of the requests.
    Everything,
}

/// What the proxies are to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) channel: Channel,
    pub(crate) extras: Extras,
    /// How nginx is told to hand bodies on; where there are some it runs as shipped and so.
    pub(crate) bodies: Bodies,
    /// Client connections come one by one for a request each: a relay would have to connect as often.
    pub(crate) keeps_alive: bool,
    pub(crate) workers: usize,
    /// Connections that it must be able to hold, either side counted.
    pub(crate) room: usize,
    pub(crate) to: [SocketAddr; 2],
}

/// Where nginx has more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    None,
    /// As shipped, and a second time as the others do, which stream.
    Both,
    /// Streamed, and never written to disk.
    Streamed,
}

impl Setup {
    pub(crate) fn plain(to: [SocketAddr; 2]) -> Self {
        Self {
            channel: Channel::Clear,
            extras: Extras::None,
            bodies: Bodies::None,
            keeps_alive: true,
            workers: 1,
            room: 8192,
            to,
        }
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.channel != Channel::Clear
    }
}

/// A proxy under way.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) server: Server,
    address: SocketAddr,
}

impl Peer {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A relay adds no headers.
    pub(crate) fn is_relay(&self) -> bool {
        self.name == relay::NAME
    }
}

/// Starts all proxies that are there and wanted; nginx, the measure of the others, first.
pub(crate) fn start(setup: &Setup, options: &Options, dir: &TempDir) -> Result<Vec<Peer>, String> {
    let mut peers = Vec::new();
    let mut add =
        |name: &str, make: &dyn Fn(SocketAddr) -> Result<Vec<String>, String>, log: Option<&Path>| {
            let [address] = free_addresses()?;
            let server = Server::start(name, &make(address)?, &[address], dir, log)?;
            peers.push(Peer { name: name.to_owned(), server, address });
            Ok::<(), String>(())
        };
    if options.wants_peer("nginx") && is_installed("nginx") {
        if setup.bodies != Bodies::Streamed {
            add("nginx", &|at| nginx::proxy(setup, nginx::BY_ITSELF, (dir, at)), None)?;
        }
        match setup.bodies {
            Bodies::None => {}
            Bodies::Both => add("nginx, tuned", &|at| nginx::proxy(setup, nginx::TUNED, (dir, at)), None)?,
            Bodies::Streamed => add("nginx", &|at| nginx::proxy(setup, nginx::STREAMED, (dir, at)), None)?,
        }
    }
    if options.wants_peer("haproxy") && is_installed("haproxy") {
        let bundle = secure::bundle(dir)?;
        // It writes no files: its standard output is the log.
        let log = dir.path().join("haproxy.log");
        add("haproxy", &|at| haproxy::proxy(setup, &bundle, (dir, at)), Some(&log))?;
    }
    if let Some(program) = options.envoy.as_ref().filter(|_| options.wants_peer("envoy")) {
        add("envoy", &|at| envoy::proxy(setup, program, (dir, at)), None)?;
    }
    let is_plain = setup.channel == Channel::Clear && setup.extras == Extras::None;
    if let Some(program) = options.pingora.as_ref().filter(|_| options.wants_peer("pingora") && is_plain) {
        add("pingora", &|at| Ok(pingora(program, at, setup)), None)?;
    }
    if relay::is_worthwhile() && options.wants_peer("relay") && is_plain && setup.keeps_alive {
        add(relay::NAME, &|at| relay::command(at, setup.to[0]), None)?;
    }
    for binary in &options.binaries {
        add(&binary.name, &|at| overspill::proxy(setup, binary, (dir, at)), None)?;
    }
    Ok(peers)
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn pingora(program: &Path, at: SocketAddr, setup: &Setup) -> Vec<String> {
    let (program, at, to) = (program.display().to_string(), at.to_string(), setup.to[0].to_string());
    words(&[&program, "--listen", &at, "--origin", &to, "--threads", &setup.workers.to_string()])
}
