//! An open-loop load: requests leave when they are due, whether or not earlier ones have been answered.
//!
//! That is what makes a target visible: a closed loop slows down with its server and never asks for too much. One
//! thread of its own with as many kept connections as it needs; used by `demo` and by integration tests.

mod stats;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

pub use stats::{Latencies, Stats};

use crate::clock;
use crate::model::unit::{SECOND, Span, Tick};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who is asked.
    pub address: SocketAddr,
    /// Path and query of each request.
    pub path: String,
    /// Requests per second at the start; 0 = none.
    pub rate: f64,
    /// How they are spaced.
    pub arrivals: Arrivals,
    /// A request without a whole answer by then has failed.
    pub timeout: Duration,
}

/// How requests are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly.
    Steady,
    /// At random, as independent clients arrive; the seed makes a run repeatable.
    Poisson {
        /// Any number.
        seed: u64,
    },
}

/// A running load. Dropping it stops it.
#[derive(Debug)]
pub struct Load {
    stats: Arc<Mutex<Stats>>,
    control: watch::Sender<Control>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy)]
struct Control {
    rate: f64,
    is_stopped: bool,
}

/// Requests under way at most; one that is due beyond it fails as `too many under way`.
const UNDER_WAY: usize = 2_048;

impl Options {
    /// `GET /` at `rate`, steady, with 10 s for an answer.
    #[must_use]
    pub fn new(address: SocketAddr, rate: f64) -> Self {
        let timeout = Duration::from_secs(10);
        Self { address, path: "/".to_owned(), rate, arrivals: Arrivals::Steady, timeout }
    }
}

impl Load {
    /// Starts sending.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be started.
    pub fn start(options: Options) -> io::Result<Self> {
        let stats = Arc::new(Mutex::new(Stats::default()));
        let (control, orders) = watch::channel(Control { rate: options.rate, is_stopped: false });
        let sender = Sender {
            address: options.address,
            request: Request::get(options.path)
                .header("host", options.address.to_string())
                .header("user-agent", "overspill-load")
                .body(Empty::new())
                .map_err(io::Error::other)?,
            timeout: options.timeout,
            idle: RefCell::default(),
            stats: stats.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, send_all(Rc::new(sender), orders, options.arrivals));
        })?;
        Ok(Self { stats, control, thread: Some(thread) })
    }

    /// From now on this many requests per second.
    pub fn set_rate(&self, rate: f64) {
        self.control.send_modify(|control| control.rate = rate);
    }

    /// What it has seen so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        locked(&self.stats).clone()
    }

    /// Sends no more, waits for what is under way, and returns all that it saw.
    #[must_use]
    pub fn stop(mut self) -> Stats {
        self.end();
        self.stats()
    }

    fn end(&mut self) {
        self.control.send_modify(|control| control.is_stopped = true);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

/// Lives on the load's thread.
struct Sender {
    address: SocketAddr,
    request: Request<Empty<Bytes>>,
    timeout: Duration,
    idle: RefCell<Vec<SendRequest<Empty<Bytes>>>>,
    stats: Arc<Mutex<Stats>>,
}

/// What one answer said.
struct Answer {
    status: u16,
    backend: String,
}

async fn send_all(sender: Rc<Sender>, mut orders: watch::Receiver<Control>, arrivals: Arrivals) {
    let mut spacing = Spacing::new(arrivals);
    let mut tasks = tokio::task::JoinSet::new();
    let mut due = clock::now();
    loop {
        while tasks.try_join_next().is_some() {}
        let Control { rate, is_stopped } = *orders.borrow_and_update();
        if is_stopped {
            break;
        }
        let now = clock::now();
        if rate > 0.0 {
            while due <= now {
                launch(&sender, &mut tasks, due);
                due = due + spacing.next(rate);
            }
        } else {
            due = now;
        }
        let pause = if rate > 0.0 { due.since(now) } else { Span::secs(3600) };
        let changed = tokio::time::timeout(pause.to_std(), orders.changed()).await;
        if matches!(changed, Ok(Ok(()))) {
            // A new rate holds from now on; what was due under the old one is forgotten.
            due = due.min(clock::now());
        }
    }
    while tasks.join_next().await.is_some() {}
}

fn launch(sender: &Rc<Sender>, tasks: &mut tokio::task::JoinSet<()>, due: Tick) {
    locked(&sender.stats).sent += 1;
    if tasks.len() >= UNDER_WAY {
        sender.count(due, Err("too many under way"));
        return;
    }
    let sender = sender.clone();
    tasks.spawn_local(async move {
        let answer = tokio::time::timeout(sender.timeout, sender.ask()).await;
        sender.count(due, answer.unwrap_or(Err("no answer in time")));
    });
}

impl Sender {
    async fn ask(&self) -> Result<Answer, &'static str> {
        loop {
            let kept = self.idle.borrow_mut().pop();
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            if connection.ready().await.is_err() {
                if is_kept {
                    continue;
                }
                return Err("connection closed");
            }
            let response = match connection.send_request(self.request.clone()).await {
                Ok(response) => response,
                // Not a byte was written: the server had closed a kept connection.
                Err(error) if is_kept && error.is_canceled() => continue,
                Err(_) => return Err("connection broke before an answer"),
            };
            let name = response.headers().get("x-backend").and_then(|name| name.to_str().ok());
            let answer =
                Answer { status: response.status().as_u16(), backend: name.unwrap_or("").to_owned() };
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                frame.map_err(|_| "answer broke off")?;
            }
            if !connection.is_closed() {
                self.idle.borrow_mut().push(connection);
            }
            return Ok(answer);
        }
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, &'static str> {
        let stream = tokio::net::TcpStream::connect(self.address).await.map_err(|_| "cannot connect")?;
        let _ = stream.set_nodelay(true);
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|_| "cannot connect")?;
        tokio::task::spawn_local(async move {
            // Its end shows at the sender.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn count(&self, due: Tick, answer: Result<Answer, &'static str>) {
        let mut stats = locked(&self.stats);
        match answer {
            Ok(Answer { status, backend }) => {
                *stats.statuses.entry(status).or_default() += 1;
                *stats.backends.entry(backend).or_default() += 1;
                stats.latencies.add(clock::now().since(due).to_std());
            }
            Err(why) => *stats.errors.entry(why).or_default() += 1,
        }
    }
}

/// Time from one request to the next.
struct Spacing {
    arrivals: Arrivals,
    state: u64,
}

impl Spacing {
    const fn new(arrivals: Arrivals) -> Self {
        let state = match arrivals {
            Arrivals::Steady => 0,
            Arrivals::Poisson { seed } => seed,
        };
        Self { arrivals, state }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn next(&mut self, rate: f64) -> Span {
        let units = match self.arrivals {
            Arrivals::Steady => 1.0,
            Arrivals::Poisson { .. } => -self.chance().ln(),
        };
        // At least a nanosecond: a rate beyond reason must not stand still in time.
        Span(((units * SECOND as f64 / rate) as u64).max(1))
    }

    /// In (0, 1], splitmix64.
    #[allow(clippy::cast_precision_loss)]
    fn chance(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

fn locked(stats: &Mutex<Stats>) -> MutexGuard<'_, Stats> {
    stats.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::cli::toy::{self, ToyBackend};

    fn run_until(options: Options, sent: u64) -> Stats {
        let load = Load::start(options).unwrap();
        while load.stats().sent < sent {
            std::thread::yield_now();
        }
        load.stop()
    }

    #[test]
    fn what_the_load_counts_is_what_the_backend_counts() {
        let toy = ToyBackend::start(toy::Options::new("www-1")).unwrap();
        let stats = run_until(Options::new(toy.address(), 2_000.0), 400);
        assert_eq!((stats.failed(), stats.answered()), (0, stats.sent));
        assert_eq!((stats.backend("www-1"), toy.requests()), (stats.sent, stats.sent));
    }

    #[test]
    fn a_dead_address_is_counted_as_errors() {
        // Where no other test will listen meanwhile.
        let listen = SocketAddr::from(([127, 0, 0, 77], 0));
        let toy = ToyBackend::start(toy::Options { listen, ..toy::Options::new("gone") }).unwrap();
        let address = toy.address();
        toy.stop();
        let stats = run_until(Options::new(address, 2_000.0), 20);
        assert_eq!(stats.errors.get("cannot connect"), Some(&stats.sent));
    }

    #[test]
    fn poisson_spacing_has_the_right_mean_and_spread() {
        let mut spacing = Spacing::new(Arrivals::Poisson { seed: 7 });
        let gaps: Vec<f64> = (0..20_000).map(|_| spacing.next(100.0).as_secs()).collect();
        let mean = gaps.iter().sum::<f64>() / 20_000.0;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!((mean - 0.01).abs() < 2e-4 && (variance.sqrt() - 0.01).abs() < 4e-4, "{mean} {variance}");
    }

    #[test]
    fn steady_spacing_does_not_drift() {
        let mut spacing = Spacing::new(Arrivals::Steady);
        assert_eq!((0..1000).map(|_| spacing.next(1000.0).0).sum::<u64>(), SECOND);
    }
}
