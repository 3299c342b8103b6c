//! Clients that hold on to what they have.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use http::Request;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tokio::sync::oneshot;

use super::super::secure;

/// For one answer, and for all requests of a connection to leave.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than the small answer with its head.
const BUFFER: usize = 4096;
/// Read at a time.
const PIECE: usize = 16 * 1024;

/// Open connections, closed when dropped.
pub(crate) type Open = Vec<Box<dyn Send>>;

/// One request on each, answered to the last byte.
pub(crate) fn idle(at: SocketAddr, connections: usize, is_secured: bool) -> Result<Open, String> {
    let failed = |error: std::io::Error| format!("an idle connection: {error}");
    let config = std::sync::Arc::new(secure::config()?);
    let mut open: Open = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(at).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        if is_secured {
            let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
            let connection =
                ClientConnection::new(config.clone(), name).map_err(|error| error.to_string())?;
            let mut stream = StreamOwned::new(connection, stream);
            ask(&mut stream, at).map_err(failed)?;
            open.push(Box::new(stream));
        } else {
            ask(&mut stream, at).map_err(failed)?;
            open.push(Box::new(stream));
        }
    }
    Ok(open)
}

fn ask(stream: &mut (impl Read + Write), at: SocketAddr) -> std::io::Result<()> {
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes())?;
    let (mut buffer, mut filled) = ([0_u8; BUFFER], 0);
    loop {
        let read = stream.read(buffer.get_mut(filled..).unwrap_or_default())?;
        filled += read;
        let said = String::from_utf8_lossy(buffer.get(..filled).unwrap_or_default());
        if read == 0 || !"HTTP/1.1 200".starts_with(said.get(..12).unwrap_or(&said)) {
            return Err(std::io::Error::other(format!("not answered but with {said:?}")));
        }
        // Bodies are of `x`, with a new line at the end.
        if said.contains("\r\n\r\n") && said.ends_with("x\n") {
            return Ok(());
        }
    }
}

/// Streams under way; they end when this is dropped.
pub(crate) struct Streams {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Drop for Streams {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// So many requests for `/hold` on each of so many connections of HTTP/2, all of them sent when this returns.
pub(crate) fn streams(at: SocketAddr, connections: usize, streams: usize) -> Result<Streams, String> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let mut held = Vec::new();
            for _ in 0..connections {
                match tokio::time::timeout(PATIENCE, connection(at, streams)).await {
                    Ok(Ok(connection)) => held.push(connection),
                    Ok(Err(why)) => return Err(why),
                    Err(_) => return Err("requests did not leave in time".to_owned()),
                }
            }
            let _ = ready.send(());
            let _ = stopped.await;
            drop(held);
            Ok(())
        })
    });
    if is_ready.recv().is_err() {
        let why = thread.join().map_err(|_| "the client panicked".to_owned())?;
        return Err(why.err().unwrap_or_else(|| "streams ended".to_owned()));
    }
    Ok(Streams { stop: Some(stop), thread: Some(thread) })
}

type Held = (h2::client::SendRequest<bytes::Bytes>, Vec<h2::client::ResponseFuture>);

async fn connection(at: SocketAddr, streams: usize) -> Result<Held, String> {
    let failed = |error: &dyn std::fmt::Display| format!("HTTP/2: {error}");
    let mut config = secure::config()?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(at).await.map_err(|error| failed(&error))?;
    let name = ServerName::try_from("localhost").map_err(|error| failed(&error))?;
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) = h2::client::handshake(stream).await.map_err(|error| failed(&error))?;
    tokio::task::spawn_local(async move {
        // Its end shows at the sender.
        let _ = connection.await;
    });
    let mut held = Vec::new();
    for _ in 0..streams {
        sender = sender.ready().await.map_err(|error| failed(&error))?;
        let request = Request::get(format!("https://localhost:{}/hold", at.port())).body(());
        let request = request.map_err(|error| failed(&error))?;
        held.push(sender.send_request(request, true).map_err(|error| failed(&error))?.0);
    }
    // Everything has been answered that came before this.
    let sender = sender.ready().await.map_err(|error| failed(&error))?;
    Ok((sender, held))
}

/// Each reads `/huge` at so many bytes per second for so long.
pub(crate) fn slow_read(
    at: SocketAddr,
    connections: usize,
    (rate, time): (u64, Duration),
) -> Vec<JoinHandle<Result<(), String>>> {
    let read = move || {
        let failed = |error: std::io::Error| format!("a slow reader: {error}");
        let mut stream = TcpStream::connect(at).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let request = format!("GET /huge HTTP/1.1\r\nHost: {at}\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(failed)?;
        let (began, mut buffer, mut read) = (Instant::now(), vec![0_u8; PIECE], 0_u64);
        while began.elapsed() < time {
            match stream.read(&mut buffer).map_err(failed)? {
                0 => return Err("an answer ended early".to_owned()),
                bytes => read += bytes as u64,
            }
            let due = Duration::from_secs_f64(read as f64 / rate as f64);
            sleep(due.saturating_sub(began.elapsed()));
        }
        Ok(())
    };
    (0..connections).map(|_| thread::spawn(read)).collect()
}
