//! A client of TLS that greets anew each time: a connection per request, and never a session resumed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::measure::Sample;
use super::secure;

/// For one connection with its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// `connections` at a time for so long: what was found, and how many requests were made.
pub(crate) fn run(at: SocketAddr, connections: usize, time: Duration) -> Result<(Sample, f64), String> {
    let mut config = secure::config()?;
    config.resumption = Resumption::disabled();
    let config = Arc::new(config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("client: {error}"))?;
    let began = Instant::now();
    let (mut latencies, mut errors) = (Vec::new(), Vec::new());
    LocalSet::new().block_on(&runtime, async {
        let clients: Vec<_> = (0..connections)
            .map(|_| tokio::task::spawn_local(client(at, config.clone(), began + time)))
            .collect();
        for client in clients {
            match client.await {
                Ok(Ok(found)) => latencies.extend(found),
                Ok(Err(why)) => errors.push(why),
                Err(error) => errors.push(error.to_string()),
            }
        }
    });
    let (requests, seconds) = (latencies.len() as f64, began.elapsed().as_secs_f64());
    latencies.sort_unstable();
    let at = |share: f64| latencies.get((share * requests) as usize).map_or(f64::NAN, |us| *us as f64);
    let (p50, p99) = (at(0.5), at(0.99));
    errors.truncate(1);
    let sample = Sample { rate: requests / seconds, p50, p99, errors: errors.join(""), ..Sample::default() };
    Ok((sample, requests.max(1.0)))
}

/// Latencies in microseconds, from before the connection to the last byte.
async fn client(at: SocketAddr, config: Arc<ClientConfig>, until: Instant) -> Result<Vec<u64>, String> {
    let connector = TlsConnector::from(config);
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        timeout(PATIENCE, ask(at, &connector)).await.map_err(|_| "no answer in time".to_owned())??;
        latencies.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(latencies)
}

async fn ask(at: SocketAddr, connector: &TlsConnector) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("a connection failed: {error}");
    let stream = TcpStream::connect(at).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
    let mut stream = connector.connect(name, stream).await.map_err(failed)?;
    // Without X25519 at the server, a second try is as full.
    if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
        return Err("a session was resumed".to_owned());
    }
    let request = format!("GET / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::with_capacity(1024);
    // Not every server says goodbye in TLS.
    let _ = stream.read_to_end(&mut answer).await;
    if answer.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err("an answer was not 200".to_owned()) }
}
