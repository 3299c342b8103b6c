//! A toy backend: an HTTP/1.1 server with set latency, status, CPU use and load reports.
//!
//! `overspill backend` is this on the command line; `demo` and the integration tests start it as a library. Each one
//! runs on threads of its own, so that its load is not the load of what it is used to test.
//!
//! What it answers: `GET /healthz` with the health status; `GET /load` with an ORCA report as JSON; `POST /_set?…`
//! changes settings while it runs; anything else with the set status, `x-backend: NAME`, a load report [G 1.41], and a
//! body that starts with its name. `?echo` in the query sends the request's body back, streamed. Of these others, some
//! may go wrong on purpose: see [`Faults`].

mod answer;
mod cpu;
mod fault;
mod report;
mod settings;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

pub use fault::{Fault, Faults};
pub use report::Form;
pub use settings::{Settings, Utilization};

use cpu::CpuMeter;
use fault::{Order, Wire};
use report::Meter;

/// How to start one.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 asks the system for one.
    pub listen: SocketAddr,
    /// What `x-backend` says.
    pub name: String,
    /// Serving threads, at least 1.
    pub workers: usize,
    /// What may change while it runs.
    pub settings: Settings,
}

/// A running toy backend. Dropping it stops it.
#[derive(Debug)]
pub struct ToyBackend {
    address: SocketAddr,
    live: Arc<Live>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// What its threads share.
#[derive(Debug)]
pub(super) struct Live {
    name: String,
    settings: Mutex<Settings>,
    meter: Mutex<Meter>,
    cpu: Mutex<CpuMeter>,
    requests: AtomicU64,
    under_way: AtomicU64,
    most_under_way: AtomicU64,
}

impl Options {
    /// On a free port of the loopback address, one thread, answering 200 at once.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { listen, name: name.to_owned(), workers: 1, settings: Settings::default() }
    }
}

impl ToyBackend {
    /// Binds and serves.
    ///
    /// # Errors
    /// When the address cannot be bound or a thread cannot be started.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = bind(options.listen)?;
        let address = listener.local_addr()?;
        let live = Arc::new(Live {
            name: options.name,
            settings: Mutex::new(options.settings),
            meter: Mutex::default(),
            cpu: Mutex::default(),
            requests: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            most_under_way: AtomicU64::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let (ready, begun) = std::sync::mpsc::channel();
        let threads: Vec<_> = (0..options.workers.max(1))
            .map(|_| {
                let (listener, live, stopped) = (listener.try_clone()?, live.clone(), stopped.clone());
                let ready = ready.clone();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                std::thread::Builder::new().name("toy".to_owned()).spawn(move || {
                    live.cpu().add_this_thread();
                    let _ = ready.send(());
                    runtime.block_on(serve(listener, live, stopped));
                })
            })
            .collect::<io::Result<_>>()?;
        // All are measured from here on.
        let _ = begun.iter().take(threads.len()).count();
        Ok(Self { address, live, stop, threads })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `x-backend` says.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.live.name
    }

    /// Requests answered so far, health checks and polls not counted.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.live.requests.load(Relaxed)
    }

    /// Most requests that were under way at a time, health checks and polls not counted.
    #[must_use]
    pub fn most_under_way(&self) -> u64 {
        self.live.most_under_way.load(Relaxed)
    }

    /// CPU time that its serving threads have used; `None` where the system does not tell, which is all but Linux.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        self.live.cpu().used().map(Duration::from_nanos)
    }

    /// From now on `/healthz` answers this status.
    pub fn set_health(&self, status: u16) {
        self.change(|settings| settings.health_status = status);
    }

    /// Changes any setting.
    pub fn change(&self, edit: impl FnOnce(&mut Settings)) {
        edit(&mut self.live.settings());
    }

    /// Ends as a killed process does: the listener and all connections close at once.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

impl Drop for ToyBackend {
    fn drop(&mut self) {
        self.end();
    }
}

impl Live {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cpu(&self) -> MutexGuard<'_, CpuMeter> {
        self.cpu.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Backlog 1024 instead of std's 128: a load test opens many connections at once.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

async fn serve(listener: TcpListener, live: Arc<Live>, mut stopped: watch::Receiver<bool>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        tokio::select! {
            // Returning drops the runtime, and with it every connection.
            _ = stopped.wait_for(|is_stopped| *is_stopped) => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(connection(stream, live.clone()))),
                // Out of descriptors, most likely: others must end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, live: Arc<Live>) {
    let _ = stream.set_nodelay(true);
    let order = Order::default();
    let wire = TokioIo::new(Wire::new(stream, order.clone()));
    let service = service_fn(|request| answer::answer(&live, &order, request));
    let served = http1::Builder::new().timer(TokioTimer::new()).serve_connection(wire, service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "toy backend: connection ended");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::clock;

    fn ask(address: SocketAddr, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn it_answers_with_its_name_and_a_load_report_and_counts() {
        let mut options = Options::new("www-1");
        options.settings.utilization = Utilization::Fixed(0.5);
        let toy = ToyBackend::start(options).unwrap();
        let text = ask(toy.address(), "GET /x", "");
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(text.contains("x-backend: www-1\r\n"), "{text}");
        assert!(text.contains("endpoint-load-metrics: TEXT cpu_utilization=0.5,"), "{text}");
        assert!(text.contains("content-length: 128\r\n") && text.contains("\r\n\r\nwww-1\n"), "{text}");
        assert_eq!(toy.requests(), 1);
    }

    #[test]
    fn health_and_settings_change_while_it_runs() {
        let toy = ToyBackend::start(Options::new("a")).unwrap();
        assert!(ask(toy.address(), "GET /healthz", "").starts_with("HTTP/1.1 200"));
        toy.set_health(503);
        assert!(ask(toy.address(), "GET /healthz", "").starts_with("HTTP/1.1 503"));
        assert!(ask(toy.address(), "POST /_set?health=200&status=404", "").starts_with("HTTP/1.1 200"));
        assert!(ask(toy.address(), "GET /healthz", "").starts_with("HTTP/1.1 200"));
        assert!(ask(toy.address(), "GET /", "").starts_with("HTTP/1.1 404"));
        assert!(ask(toy.address(), "POST /_set?nonsense=1", "").starts_with("HTTP/1.1 400"));
        assert_eq!(toy.requests(), 1);
    }

    #[test]
    fn echo_sends_the_body_back() {
        let toy = ToyBackend::start(Options::new("a")).unwrap();
        assert!(ask(toy.address(), "POST /?echo", "hello there").ends_with("hello there"));
    }

    fn heard(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn answers_go_wrong_as_ordered_and_health_does_not() {
        let toy = ToyBackend::start(Options::new("a")).unwrap();
        let whole = heard(toy.address(), "/").unwrap().len();
        let with = |fault: &str| {
            assert!(ask(toy.address(), &format!("POST /_set?fault={fault}"), "").starts_with("HTTP/1.1 200"));
            assert!(ask(toy.address(), "GET /healthz", "").starts_with("HTTP/1.1 200"));
            heard(toy.address(), "/")
        };
        assert!(with("reset=100%").is_err());
        assert!(with("garbage=100%").unwrap().starts_with(b"\0\xff"));
        let half = with("half-close=100%").unwrap();
        assert!(half.starts_with(b"HTTP/1.1 200") && half.len() < whole, "{}", half.escape_ascii());
        assert!(with("early=100%").unwrap().ends_with(b"...."));
        let began = clock::now();
        assert_eq!(with("trickle=100%").unwrap().len(), whole);
        let pauses = u64::try_from(whole / 16).unwrap();
        assert!(clock::now().since(began).to_std() >= Duration::from_millis(5 * pauses - 5));
        assert_eq!(with("delay=1ms:100%").unwrap().len(), whole);
        assert_eq!(with("none").unwrap().len(), whole);
        assert!(ask(toy.address(), "POST /_set?fault=x", "").starts_with("HTTP/1.1 400"));
    }

    #[test]
    fn stopped_it_refuses_connections() {
        let toy = ToyBackend::start(Options::new("a")).unwrap();
        let address = toy.address();
        toy.stop();
        assert!(TcpStream::connect(address).is_err());
    }
}
