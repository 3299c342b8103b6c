//! What idle connections, open streams and slow readers take of a proxy's memory.

mod clients;
mod holding;

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use super::options::Options;
use super::origin::Origin;
use super::peers::{self, Bodies, Channel, Peer, Setup};
use super::process::{TempDir, resident};
use super::scenario;
use holding::Holding;

/// After the last connection, before the proxy's memory is read: what it frees late is freed.
const SETTLE: Duration = Duration::from_millis(500);
/// Of each slow reader, bytes per second.
const SLOW: u64 = 1_000_000;

/// One row.
struct Kind {
    name: &'static str,
    what: What,
    connections: usize,
    channel: Channel,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// One request each, then nothing.
    Idle,
    /// So many requests of a connection wait for their answers, which do not come.
    Streams(usize),
    /// A large answer is read slowly for so many seconds.
    SlowRead(u64),
}

/// What it took of one proxy.
struct Taken {
    name: String,
    /// Before, MiB.
    before: f64,
    /// At its highest, MiB.
    most: f64,
}

fn kinds() -> [Kind; 4] {
    let of = |name, what, connections, channel| Kind { name, what, connections, channel };
    [
        of("idle connections, one request each", What::Idle, 10_000, Channel::Clear),
        of("idle connections of TLS, one request each", What::Idle, 1_000, Channel::Tls),
        of(
            "connections of HTTP/2 over TLS with 100 waiting streams each",
            What::Streams(100),
            100,
            Channel::Http2,
        ),
        of("slow readers of 100 MiB, 1 MB/s each", What::SlowRead(10), 64, Channel::Clear),
    ]
}

pub(crate) fn measure(options: &Options, origin: &Origin, dir: &TempDir) -> Result<(), String> {
    println!("## Memory\n");
    println!(
        "Resident memory of the proxy, one worker: before, at most, and the difference per connection or stream.\n"
    );
    for kind in kinds().iter().filter(|kind| options.wants(kind.name)) {
        if matches!(kind.what, What::SlowRead(_)) && !origin.is_nginx() {
            println!("{}: not measured, the origin must be nginx\n", kind.name);
            continue;
        }
        let connections = options.scaled(kind.connections);
        let holding = Holding::start()?;
        let to = match kind.what {
            What::Streams(_) => [holding.address(); 2],
            What::Idle | What::SlowRead(_) => origin.small,
        };
        let bodies = if matches!(kind.what, What::SlowRead(_)) { Bodies::Streamed } else { Bodies::None };
        let setup = Setup { channel: kind.channel, bodies, room: 24_000, ..Setup::plain(to) };
        let mut rows = Vec::new();
        // One at a time, so that a port's state and the system's memory are each one's own.
        for peer in peers::start(&setup, options, dir)? {
            rows.push(taken(&peer, kind, connections, &holding)?);
        }
        print(kind, connections, &rows);
    }
    Ok(())
}

fn taken(peer: &Peer, kind: &Kind, connections: usize, holding: &Holding) -> Result<Taken, String> {
    let pids = peer.server.pids();
    let at = peer.address();
    scenario::wait_until_good(at, kind.channel != Channel::Clear, &peer.name)?;
    let before = resident(&pids);
    let most = match kind.what {
        What::Idle => {
            let open = clients::idle(at, connections, kind.channel == Channel::Tls)
                .map_err(|why| format!("{}: {why}", peer.name))?;
            sleep(SETTLE);
            let most = resident(&pids);
            drop(open);
            most
        }
        What::Streams(streams) => {
            let open = clients::streams(at, connections, streams)
                .and_then(|open| holding.wait_for(connections * streams).map(|()| open))
                .map_err(|why| format!("{}: {why}", peer.name))?;
            sleep(SETTLE);
            let most = resident(&pids);
            drop(open);
            most
        }
        What::SlowRead(seconds) => slow_read(at, connections, seconds, &pids)?,
    };
    Ok(Taken { name: peer.name.clone(), before, most })
}

fn slow_read(at: SocketAddr, connections: usize, seconds: u64, pids: &[u32]) -> Result<f64, String> {
    let mut most = 0.0_f64;
    let reading = clients::slow_read(at, connections, (SLOW, Duration::from_secs(seconds)));
    while !reading.iter().all(std::thread::JoinHandle::is_finished) {
        most = most.max(resident(pids));
        sleep(Duration::from_millis(50));
    }
    for reader in reading {
        reader.join().map_err(|_| "a reader panicked".to_owned())??;
    }
    Ok(most)
}

fn print(kind: &Kind, connections: usize, rows: &[Taken]) {
    let count = match kind.what {
        What::Streams(streams) => connections * streams,
        What::Idle | What::SlowRead(_) => connections,
    };
    println!("**{connections} {}**\n", kind.name);
    println!("| | before | at most | each (ratio to the first) |");
    println!("|---|---|---|---|");
    let each = |taken: &Taken| (taken.most - taken.before) * 1024.0 / count as f64;
    let first = rows.first().map_or(f64::NAN, each);
    for taken in rows {
        println!(
            "| {} | {:.0} MiB | {:.0} MiB | {:.1} KiB ({:.2}) |",
            taken.name,
            taken.before,
            taken.most,
            each(taken),
            each(taken) / first
        );
    }
    println!();
}
