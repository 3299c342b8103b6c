//! The simplest of clients: one request after the other on one connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// For one answer of a balancer that runs fifty times slower than it would, and for it to find its members healthy.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether they are, each of which is counted.
const STEP: Duration = Duration::from_millis(200);

/// Waits until `look` finds nothing wrong.
pub(crate) fn until_healthy(look: impl Fn() -> Result<(), String>) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    while let Err(why) = look() {
        if Instant::now() > until {
            return Err(why);
        }
        sleep(STEP);
    }
    Ok(())
}

/// `more`: whole header lines.
pub(crate) fn head((method, path): (&str, &str), at: SocketAddr, more: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: {at}\r\nUser-Agent: counted\r\nAccept: */*\r\n{more}\r\n")
        .into_bytes()
}

pub(crate) fn connect(at: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(at).and_then(|stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    });
    stream.map_err(|error| format!("cannot connect: {error}"))
}

/// Sends a request and reads the whole answer, which must be 200.
pub(crate) fn exchange(stream: &mut (impl Read + Write), request: &[u8]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("no answer: {error}");
    stream.write_all(request).and_then(|()| stream.flush()).map_err(failed)?;
    let (mut answer, mut piece) = (Vec::new(), [0_u8; 16 * 1024]);
    loop {
        let read = stream.read(&mut piece).map_err(failed)?;
        answer.extend_from_slice(piece.get(..read).unwrap_or_default());
        if read == 0 {
            return Err("an answer broke off".to_owned());
        }
        if let Some(length) = length(&answer)?
            && answer.len() >= length
        {
            return Ok(());
        }
    }
}

/// Of the whole answer, once its head is there.
fn length(answer: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    match length.filter(|_| head.starts_with("http/1.1 200")) {
        Some(length) => Ok(Some(end + 4 + length)),
        None => Err(format!("not the answer that was expected:\n{}", String::from_utf8_lossy(answer))),
    }
}
