//! Backends: toys that answer well, and scripted ones that do to a connection whatever a test says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use overspill::cli::toy::{Options, ToyBackend};

use super::own_address;

/// A toy that answers 200 with its name at once.
pub(crate) fn toy(name: &str) -> ToyBackend {
    ToyBackend::start(Options { listen: own_address(), ..Options::new(name) }).unwrap()
}

/// Answers are held back until they are let go.
#[derive(Clone, Default)]
pub(crate) struct Valve(Arc<(Mutex<bool>, Condvar)>);

impl Valve {
    pub(crate) fn pass(&self) {
        let (is_open, changed) = &*self.0;
        drop(changed.wait_while(is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
    }

    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// A backend on raw sockets. Each connection runs the script on a thread of its own.
pub(crate) struct Scripted {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    ended: AtomicUsize,
    is_stopped: AtomicBool,
    sockets: Mutex<Vec<Weak<TcpStream>>>,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Request line and header lines.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).collect()
    }

    pub(crate) fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or("")
    }
}

/// One connection, in the hands of a script.
pub(crate) struct Conn {
    /// `None` after a reset.
    stream: Option<Arc<TcpStream>>,
    buffer: Vec<u8>,
    shared: Arc<Shared>,
}

impl Scripted {
    pub(crate) fn start(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        let address = own_address();
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Shared::default());
        let (of_thread, script) = (shared.clone(), Arc::new(script));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if of_thread.is_stopped.load(SeqCst) {
                    return;
                }
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                of_thread.connections.fetch_add(1, SeqCst);
                let stream = Arc::new(stream);
                of_thread.sockets.lock().unwrap().push(Arc::downgrade(&stream));
                let (shared, script) = (of_thread.clone(), script.clone());
                std::thread::spawn(move || {
                    let mut conn = Conn { stream: Some(stream), buffer: Vec::new(), shared };
                    script(&mut conn);
                    if let Some(stream) = conn.stream.take() {
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                    conn.shared.ended.fetch_add(1, SeqCst);
                });
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Answers every request with a small 200.
    pub(crate) fn good() -> Self {
        Self::start(|conn| while conn.request().is_some() && conn.ok("good") {})
    }

    /// Answers `/` at once, and anything else when the valve is open.
    pub(crate) fn held(valve: &Valve) -> Self {
        let valve = valve.clone();
        Self::start(move |conn| {
            while let Some(seen) = conn.request() {
                if !seen.line().starts_with("GET / ") {
                    valve.pass();
                }
                if !conn.ok("held") {
                    return;
                }
            }
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that have come whole.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Connections whose script has ended.
    pub(crate) fn ended(&self) -> usize {
        self.shared.ended.load(SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, SeqCst);
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            if let Some(socket) = socket.upgrade() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Conn {
    /// Reads a request with its body; `None` when the connection has ended before.
    pub(crate) fn request(&mut self) -> Option<Seen> {
        let mut seen = self.head()?;
        seen.body = self.body(&seen)?;
        self.shared.seen.lock().unwrap().push(seen.clone());
        Some(seen)
    }

    /// Reads a head only; it does not count as seen.
    pub(crate) fn head(&mut self) -> Option<Seen> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 4);
                return Some(Seen { head, body: Vec::new() });
            }
            self.fill()?;
        }
    }

    pub(crate) fn body(&mut self, seen: &Seen) -> Option<Vec<u8>> {
        if let Some(length) = seen.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length {
                self.fill()?;
            }
            return Some(self.buffer.drain(..length).collect());
        }
        if seen.header("transfer-encoding").is_none() {
            return Some(Vec::new());
        }
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size =
                usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16).expect("a size");
            while self.buffer.len() < size + 2 {
                if size == 0 {
                    break;
                }
                self.fill()?;
            }
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Some(body);
            }
            body.extend(self.buffer.drain(..size));
            self.buffer.drain(..2);
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Some(line);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Option<()> {
        let mut bytes = [0; 64 * 1024];
        match self.stream.as_deref()?.read(&mut bytes) {
            Ok(0) | Err(_) => None,
            Ok(read) => {
                self.buffer.extend_from_slice(&bytes[..read]);
                Some(())
            }
        }
    }

    /// Whatever comes next, at least a byte; `None` at the end.
    pub(crate) fn raw(&mut self) -> Option<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Some(std::mem::take(&mut self.buffer))
    }

    /// False when the peer has gone.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.as_deref().is_some_and(|mut stream| stream.write_all(bytes.as_ref()).is_ok())
    }

    /// A 200 with this body; false when the peer has gone.
    pub(crate) fn ok(&mut self, body: &str) -> bool {
        self.write(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-backend: {body}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Waits until the peer closes; false when it sent something instead.
    pub(crate) fn closed(&mut self) -> bool {
        self.buffer.is_empty() && self.fill().is_none()
    }

    /// Whether the peer has reset the connection, or ended it after all that was read.
    pub(crate) fn is_cut(&self) -> bool {
        let Some(stream) = self.stream.as_deref() else { return true };
        matches!(stream.take_error(), Ok(Some(_))) || stream.peer_addr().is_err()
    }

    /// Ends with a reset instead of a FIN.
    pub(crate) fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
}
