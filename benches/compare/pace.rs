//! An open-loop client: a request leaves when it is due, whether or not earlier ones have been answered, and its time
//! counts from when it was due. When all connections wait for answers it leaves with the next one that is free, and has
//! waited that long.
//!
//! The thread that calls paces and writes, with a timer of nanoseconds; another one reads. (`cli::load`, the load of
//! `demo`, has the timers of its runtime, which are of milliseconds: too coarse for latencies of tens of microseconds.)

use std::collections::VecDeque;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

/// Requests under way at most.
const CONNECTIONS: usize = 256;
/// For the last answers.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of a run, not counted.
const WARM_UP: Duration = Duration::from_millis(300);
/// More than any answer.
const BUFFER: usize = 4096;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Paced {
    /// From when a request was due to the last byte of its answer, microseconds, in order.
    latencies: Vec<f64>,
    /// From when it was due to when it was written, where a connection was free.
    lateness: Vec<f64>,
    /// Not answered with 200 in time.
    pub(crate) failed: u64,
}

impl Paced {
    /// Microseconds; of a share of 1, the longest.
    pub(crate) fn latency(&self, share: f64) -> f64 {
        quantile(&self.latencies, share)
    }

    pub(crate) fn lateness(&self, share: f64) -> f64 {
        quantile(&self.lateness, share)
    }
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len() as f64) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Both threads'.
struct Shared {
    /// The one used last comes first, so that few of them are kept warm.
    idle: Vec<usize>,
    /// What was due when no connection was idle.
    waiting: VecDeque<Instant>,
    /// By connection: when what it asks was due.
    due: Vec<Instant>,
    under_way: u64,
    counts_from: Instant,
    found: Paced,
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `GET /` at `rate` per second for so long, arriving at random from this seed.
pub(crate) fn run(at: SocketAddr, rate: f64, seconds: u64, seed: u64) -> Result<Paced, String> {
    let failed = |error: std::io::Error| format!("client: {error}");
    // Else a sleep ends 50 us late.
    let _ = fs::write("/proc/self/timerslack_ns", "1");
    let mut sockets = Vec::new();
    for _ in 0..CONNECTIONS {
        let socket = std::net::TcpStream::connect(at).map_err(failed)?;
        socket.set_nodelay(true).and_then(|()| socket.set_nonblocking(true)).map_err(failed)?;
        sockets.push(socket);
    }
    let request = format!("GET / HTTP/1.1\r\nHost: {at}\r\n\r\n").into_bytes();
    let began = Instant::now();
    let shared = Arc::new(Mutex::new(Shared {
        idle: (0..CONNECTIONS).rev().collect(),
        waiting: VecDeque::new(),
        due: vec![began; CONNECTIONS],
        under_way: 0,
        counts_from: began + WARM_UP,
        found: Paced::default(),
    }));
    let (reader, stop) = read(&sockets, &request, &shared).map_err(failed)?;
    let until = began + WARM_UP + Duration::from_secs(seconds);
    let (mut due, mut chance) = (began, Chance(seed));
    while due < until {
        let now = Instant::now();
        if due > now {
            sleep(due - now);
        }
        send(&mut sockets, &request, (&shared, due));
        due += Duration::from_secs_f64(-chance.next().ln() / rate);
    }
    let patience = Instant::now() + PATIENCE;
    while locked(&shared).under_way > 0 && Instant::now() < patience {
        sleep(Duration::from_millis(1));
    }
    drop(stop);
    reader.join().map_err(|_| "the client panicked".to_owned())?;
    let mut shared = locked(&shared);
    shared.found.failed += shared.under_way;
    let mut found = std::mem::take(&mut shared.found);
    found.latencies.sort_unstable_by(f64::total_cmp);
    found.lateness.sort_unstable_by(f64::total_cmp);
    Ok(found)
}

fn send(sockets: &mut [std::net::TcpStream], request: &[u8], (shared, due): (&Mutex<Shared>, Instant)) {
    let free = {
        let mut shared = locked(shared);
        shared.under_way += 1;
        let free = shared.idle.pop();
        match free.and_then(|place| shared.due.get_mut(place)) {
            Some(slot) => *slot = due,
            None => shared.waiting.push_back(due),
        }
        free
    };
    let Some(socket) = free.and_then(|place| sockets.get_mut(place)) else { return };
    // It fits into the socket's buffer; of a broken connection the reader hears.
    let _ = socket.write_all(request);
    let late = due.elapsed();
    let mut shared = locked(shared);
    if due >= shared.counts_from {
        shared.found.lateness.push(late.as_secs_f64() * 1e6);
    }
}

type Reader = (thread::JoinHandle<()>, tokio::sync::oneshot::Sender<()>);

/// Reads all answers, until the sender is dropped.
fn read(
    sockets: &[std::net::TcpStream],
    request: &[u8],
    shared: &Arc<Mutex<Shared>>,
) -> std::io::Result<Reader> {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let sockets = sockets.iter().map(std::net::TcpStream::try_clone).collect::<Result<Vec<_>, _>>()?;
    let (request, shared) = (Arc::<[u8]>::from(request), shared.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (ready, is_ready) = mpsc::channel();
    let reader = thread::spawn(move || {
        tokio::task::LocalSet::new().block_on(&runtime, async {
            for (place, socket) in sockets.into_iter().enumerate() {
                let Ok(stream) = TcpStream::from_std(socket) else { continue };
                tokio::task::spawn_local(answers(stream, place, request.clone(), shared.clone()));
            }
            let _ = ready.send(());
            let _ = stopped.await;
        });
    });
    let _ = is_ready.recv();
    Ok((reader, stop))
}

/// One connection's answers, and what waits for it.
async fn answers(stream: TcpStream, place: usize, request: Arc<[u8]>, shared: Arc<Mutex<Shared>>) {
    let (mut buffer, mut filled) = (vec![0_u8; BUFFER], 0);
    while stream.readable().await.is_ok() {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        match stream.try_read(room) {
            Ok(0) => return,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        }
        let Some(is_good) = whole(buffer.get(..filled).unwrap_or_default()) else { continue };
        filled = 0;
        let mut shared = locked(&shared);
        shared.under_way -= 1;
        let due = shared.due.get(place).copied().unwrap_or(shared.counts_from);
        if !is_good {
            shared.found.failed += 1;
        } else if due >= shared.counts_from {
            shared.found.latencies.push(due.elapsed().as_secs_f64() * 1e6);
        }
        match shared.waiting.pop_front() {
            None => shared.idle.push(place),
            Some(next) => {
                if let Some(slot) = shared.due.get_mut(place) {
                    *slot = next;
                }
                drop(shared);
                let _ = stream.try_write(&request);
            }
        }
    }
}

/// Whether an answer is 200, once all of it is there.
fn whole(bytes: &[u8]) -> Option<bool> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(bytes.get(..end)?).to_ascii_lowercase();
    let length = head.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.split('\r').next());
    // Without a length the rest cannot be told from the next answer.
    let Some(length) = length.and_then(|text| text.trim().parse::<usize>().ok()) else { return Some(false) };
    (bytes.len() >= end + length).then(|| head.starts_with("http/1.1 200"))
}

/// splitmix64.
struct Chance(u64);

impl Chance {
    /// In (0, 1].
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}
