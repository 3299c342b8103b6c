//! `overspill demo`: two regions of toy backends, a load, and what happens to it, in a minute.
//!
//! Nothing is staged: the engine runs from a file as `serve` does, the load comes over sockets, and the drain is an
//! edit of that file.

mod config;
mod frame;
mod scene;
mod script;

use std::io::{self, IsTerminal as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::args;
use super::check;
use super::load::{self, Load};
use super::serve::on_runtime;
use super::toy::{self, ToyBackend};
use crate::admin::AdminServer;
use crate::clock;
use crate::engine::handle::{Handle, Refused};
use crate::engine::start::{Overrides, start};
use crate::model::unit::Tick;
use crate::source::file::{self, Watch};
use crate::source::store::Store;

use config::Addresses;
use frame::Frame;
use scene::Window;
use script::{Action, Phase};

/// Redraws per second.
const REDRAWS: u64 = 5;

/// Exit code: 0 without errors, or when it was interrupted; 1 with errors, or when it could not start.
pub(super) fn run(demo: args::Demo) -> u8 {
    // Log lines would run over the screen; a refused edit is shown in it.
    crate::telemetry::log::init("off");
    on_runtime(async move {
        match play(demo).await {
            Ok(code) => code,
            Err(error) => {
                eprintln!("overspill demo: {error}");
                1
            }
        }
    })
}

async fn play(demo: args::Demo) -> io::Result<u8> {
    let mut stage = Stage::build().await?;
    let mut screen = Screen::open(demo.plain || !io::stdout().is_terminal());
    let ended = tokio::select! {
        ended = stage.perform(demo.seconds, &mut screen) => ended.map(|()| Ended::Itself),
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| Ended::Interrupted),
    };
    screen.close();
    let ended = ended?;
    let (frame, served) = stage.clear().await;
    print!("{}", frame::summary(&frame, &served));
    Ok(u8::from(ended == Ended::Itself && frame.clients.errors > 0))
}

#[derive(Debug, PartialEq)]
enum Ended {
    Itself,
    Interrupted,
}

/// Everything that runs.
struct Stage {
    toys: Vec<ToyBackend>,
    handle: Handle,
    follower: JoinHandle<()>,
    admin: AdminServer,
    load: Load,
    window: Window,
    file: TemporaryFile,
    front: SocketAddr,
}

impl Stage {
    async fn build() -> io::Result<Self> {
        // Latencies as of a neighbour and of the other side of an ocean, scaled down.
        let toys: Vec<_> = [4, 4, 40, 40]
            .into_iter()
            .zip(1..)
            .map(|(latency, n)| toy(n, Duration::from_millis(latency)))
            .collect::<io::Result<_>>()?;
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| toys.get(n).map_or(unbound(), ToyBackend::address));
        let addresses =
            Addresses { front: free_address(8080)?, admin: free_address(9901)?, near: [a, b], far: [c, d] };
        let text = config::text(&addresses);
        let file = TemporaryFile::write(&text)?;
        let handle = start(text.clone(), &file.path, Overrides::default()).await.map_err(|refused| {
            let Refused { problems } = refused;
            io::Error::other(check::render(&problems, &file.path.display().to_string(), &text))
        })?;
        let store = Store::of_file(handle.clone(), &file.path, text.clone(), check::render);
        let admin = AdminServer::start(handle.clone(), store.clone(), addresses.admin).await?;
        // Nobody forces a look here.
        let forced = mpsc::channel(1).1;
        let follower = tokio::spawn(file::follow(store, Watch::new(&file.path, &text), forced));
        let ready = tokio::time::timeout(Duration::from_secs(15), handle.ready()).await;
        ready.map_err(|_| io::Error::other("the health checks did not end within 15 s"))?;
        let load = Load::start(load::Options::new(addresses.front, 0.0))?;
        let (window, front) = (Window::default(), addresses.front);
        Ok(Self { toys, handle, follower, admin, load, window, file, front })
    }

    async fn perform(&mut self, seconds: u64, screen: &mut Screen) -> io::Result<()> {
        let total = Duration::from_secs(seconds).as_secs_f64();
        let phases = script::phases(total);
        let began = clock::now();
        let mut rhythm = tokio::time::interval(Duration::from_millis(1000 / REDRAWS));
        let mut last_phase = None;
        loop {
            rhythm.tick().await;
            let now = clock::now();
            let elapsed = now.since(began).as_secs();
            let number = script::current(&phases, elapsed);
            let Some(phase) = phases.get(number) else { return Ok(()) };
            if last_phase != Some(number) {
                last_phase = Some(number);
                self.act(phase)?;
                screen.announce(number + 1, phase.sentence);
            }
            let mut frame = self.frame(now);
            (frame.elapsed, frame.total) = (elapsed, total);
            (frame.phase, frame.sentence) = ((number + 1, phases.len()), phase.sentence);
            screen.show(&frame)?;
            if elapsed >= total {
                return Ok(());
            }
        }
    }

    fn act(&self, phase: &Phase) -> io::Result<()> {
        self.load.set_rate(phase.rate);
        match phase.action {
            Action::None => {}
            Action::Health(status) => {
                if let Some(toy) = self.toys.first() {
                    toy.set_health(status);
                }
            }
            Action::Scaler(scaler) => {
                let text = std::fs::read_to_string(&self.file.path)?;
                // The user may have edited the line away: then it is theirs.
                if let Some(text) = config::with_scaler(&text, scaler) {
                    std::fs::write(&self.file.path, text)?;
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, now: Tick) -> Frame {
        let world = self.handle.world();
        self.window.look(now, self.load.stats(), &world);
        let reload = self.handle.reload();
        let refusal = reload.problems.first().filter(|_| !reload.is_ok).map(|problem| {
            let line = problem.position.map_or(String::new(), |position| format!("line {}: ", position.line));
            format!("{line}{} {}", problem.path, problem.message)
        });
        Frame {
            groups: self.window.groups(&world),
            clients: self.window.clients(),
            file: self.file.path.display().to_string(),
            generation: world.generation,
            refusal,
            proxy: format!("http://{}/", self.front),
            admin: format!("http://{}/", self.admin.address()),
            ..Frame::default()
        }
    }

    /// Ends the load first, then the proxy, then the backends. Returns the last figures, and requests by group.
    async fn clear(mut self) -> (Frame, Vec<(String, u64)>) {
        self.follower.abort();
        let mut frame = self.frame(clock::now());
        let stats = tokio::task::spawn_blocking(move || self.load.stop()).await.unwrap_or_default();
        (frame.clients.requests, frame.clients.errors) = (stats.sent, stats.failed());
        self.handle.stop().await;
        let served = frame.groups.iter().map(|group| {
            (group.name.clone(), group.members.iter().map(|member| stats.backend(&member.name)).sum())
        });
        let served = served.collect();
        (frame, served)
    }
}

fn toy(number: usize, latency: Duration) -> io::Result<ToyBackend> {
    let mut options = toy::Options::new(&format!("www-{number}"));
    (options.settings.latency, options.settings.has_jitter) = (latency, true);
    ToyBackend::start(options)
}

const fn unbound() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0)
}

/// The address with the usual port, or another if that is taken.
fn free_address(port: u16) -> io::Result<SocketAddr> {
    let at = |port| TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).and_then(|l| l.local_addr());
    at(port).or_else(|_| at(0))
}

/// Removed at the end.
struct TemporaryFile {
    path: PathBuf,
}

impl TemporaryFile {
    fn write(text: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("overspill-demo-{}.yaml", std::process::id()));
        std::fs::write(&path, text)?;
        Ok(Self { path })
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // If it is gone already, so much the better.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where frames go: a live screen, or a line per second.
struct Screen {
    is_plain: bool,
    frames: u64,
    is_open: bool,
}

impl Screen {
    fn open(is_plain: bool) -> Self {
        if !is_plain {
            // The other screen, without a cursor.
            print!("\x1b[?1049h\x1b[?25l\x1b[2J");
        }
        Self { is_plain, frames: 0, is_open: !is_plain }
    }

    fn announce(&self, number: usize, sentence: &str) {
        if self.is_plain {
            println!("\n{number}. {sentence}");
        }
    }

    fn show(&mut self, frame: &Frame) -> io::Result<()> {
        self.frames += 1;
        let mut out = io::stdout().lock();
        if !self.is_plain {
            // Home; clear behind each line and below the last: nothing flickers.
            write!(out, "\x1b[H{}\x1b[J", frame::live(frame).replace('\n', "\x1b[K\r\n"))?;
        } else if self.frames.is_multiple_of(REDRAWS) {
            writeln!(out, "{}", frame::plain(frame))?;
        } else if self.frames == 1 {
            writeln!(
                out,
                "Edit it while it runs: {}\nDashboard {}   Proxy {}",
                frame.file, frame.admin, frame.proxy
            )?;
        }
        out.flush()
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            print!("\x1b[?25h\x1b[?1049l");
            let _ = io::stdout().flush();
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}
