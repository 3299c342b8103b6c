//! An origin that answers everything at once but `/hold`, which it never answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// For all of a proxy's requests to come.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Holding {
    address: SocketAddr,
    held: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Holding {
    pub(crate) fn start() -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("an origin that holds answers: {error}");
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let held = Arc::new(AtomicUsize::new(0));
        let counter = held.clone();
        let thread = thread::spawn(move || {
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let accepting = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::task::spawn_local(serve(stream, counter.clone()));
                    }
                };
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { address, held, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when so many requests for `/hold` have come since it last did.
    pub(crate) fn wait_for(&self, requests: usize) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while self.held.load(Relaxed) < requests {
            if Instant::now() > until {
                return Err(format!(
                    "of {requests} streams only {} reached the origin",
                    self.held.load(Relaxed)
                ));
            }
            sleep(Duration::from_millis(20));
        }
        self.held.store(0, Relaxed);
        Ok(())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(mut stream: TcpStream, held: Arc<AtomicUsize>) -> std::io::Result<()> {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 128\r\n\r\n{}\n", "x".repeat(127));
    let mut head = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        let is_whole = head.ends_with(b"\r\n\r\n");
        if is_whole && head.starts_with(b"GET /hold ") {
            held.fetch_add(1, Relaxed);
        } else if is_whole {
            stream.write_all(answer.as_bytes()).await?;
        }
        if is_whole {
            head.clear();
        }
    }
}
